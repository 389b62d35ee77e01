use std::collections::BTreeMap;

use super::{
    error::nearest,
    limits::{LIST_VALUE_BYTES_MAX, LIST_VALUES_MAX, LISTS_BYTES_MAX, LISTS_MAX},
    text::is_name,
    yaml::{self, Value},
};

/// Lists that the built-in rules ask.
const BUILT_IN: &str = include_str!("../../pipelines/lists.yml");

/// What stands for `%NAME%` where a rule says `expand`. There are always those that come with the program, unless others
/// have their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lists {
    values: BTreeMap<String, Vec<String>>,
    bytes: usize,
}

impl Default for Lists {
    fn default() -> Self {
        Self::new([]).unwrap_or_else(|_broken| Self::empty())
    }
}

impl Lists {
    fn empty() -> Self {
        Self { values: BTreeMap::new(), bytes: 0 }
    }

    /// Puts lists together. A value that is `%OTHER%` stands for the values of that list. Tells all that is wrong.
    pub fn new(
        written: impl IntoIterator<Item = (String, Vec<String>)>,
    ) -> Result<Self, Vec<String>> {
        let mut wrong = Vec::new();
        let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, values) in written {
            if !is_name(&name) {
                wrong.push(format!("list `{name}`: a name has letters, digits, `_`, `-` and `.`"));
            }
            if all.len() == LISTS_MAX {
                wrong.push(format!("there are more than {LISTS_MAX} lists"));
                return Err(wrong);
            }
            all.insert(name, values);
        }
        match built_in() {
            Ok(built_in) => built_in.into_iter().for_each(|(name, values)| {
                all.entry(name).or_insert(values);
            }),
            Err(error) => wrong.push(error),
        }
        let mut lists = Self::empty();
        for name in all.keys() {
            if let Err(error) = lists.resolve(name, &all, &mut Vec::new()) {
                wrong.push(error);
            }
        }
        if wrong.is_empty() { Ok(lists) } else { Err(wrong) }
    }

    /// Fills in one list, those that it names first. `inside` are the lists that are being filled.
    fn resolve<'l>(
        &mut self,
        name: &'l str,
        all: &'l BTreeMap<String, Vec<String>>,
        inside: &mut Vec<&'l str>,
    ) -> Result<(), String> {
        if self.values.contains_key(name) {
            return Ok(());
        }
        if let Some(start) = inside.iter().position(|it| *it == name) {
            let ring: Vec<&str> = inside.iter().skip(start).copied().chain([name]).collect();
            return Err(format!("list `{name}` holds itself: {}", ring.join(" → ")));
        }
        if inside.len() > LIST_NESTING_MAX {
            return Err(format!(
                "list `{name}` is the {LIST_NESTING_MAX}th in a row that others hold"
            ));
        }
        let Some(written) = all.get(name) else {
            let known = all.keys().map(String::as_str);
            let hint = nearest(name, known).map(|it| format!(" (did you mean `{it}`?)"));
            let holder = inside.last().copied().unwrap_or_default();
            return Err(format!(
                "list `{holder}` holds %{name}%: there is no list `{name}`{}",
                hint.unwrap_or_default()
            ));
        };
        inside.push(name);
        let mut values: Vec<String> = Vec::new();
        for value in written {
            if value.len() > LIST_VALUE_BYTES_MAX {
                return Err(format!(
                    "list `{name}`: a value has at most {LIST_VALUE_BYTES_MAX} bytes"
                ));
            }
            match value
                .strip_prefix('%')
                .and_then(|it| it.strip_suffix('%'))
                .filter(|it| is_name(it))
            {
                Some(other) => {
                    self.resolve(other, all, inside)?;
                    values.extend(self.values.get(other).into_iter().flatten().cloned());
                }
                None => values.push(value.clone()),
            }
            if values.len() > LIST_VALUES_MAX {
                return Err(format!("list `{name}` has more than {LIST_VALUES_MAX} values"));
            }
        }
        inside.pop();
        self.bytes += values.iter().map(String::len).sum::<usize>();
        if self.bytes > LISTS_BYTES_MAX {
            return Err(format!("list `{name}`: all lists have at most {LISTS_BYTES_MAX} bytes"));
        }
        self.values.insert(name.to_owned(), values);
        Ok(())
    }

    /// The values of a list.
    pub(super) fn get(&self, name: &str) -> Result<&[String], String> {
        self.values.get(name).map(Vec::as_slice).ok_or_else(|| {
            let near = nearest(name, self.values.keys().map(String::as_str));
            match near {
                Some(near) => format!("there is no list `{name}` (did you mean `{near}`?)"),
                None => {
                    format!("there is no list `{name}`: give it in the configuration, rules.lists")
                }
            }
        })
    }

    /// Reads the file of a list: a YAML list, or a value a line, where empty lines and what is behind `#` at the start
    /// of a line or behind a blank are left out.
    pub fn read(text: &str, is_yaml: bool) -> Result<Vec<String>, String> {
        if !is_yaml {
            return Ok(text
                .split(['\n', '\r'])
                .map(without_comment)
                .filter(|it| !it.is_empty())
                .map(str::to_owned)
                .collect());
        }
        let wrong = |it: yaml::Wrong| format!("{}:{}: {}", it.at.line, it.at.column, it.reason);
        let documents = yaml::read(text).map_err(wrong)?;
        let list = match documents.as_slice() {
            [] => return Ok(Vec::new()),
            [one] => match &one.root.value {
                Value::List(list) => list,
                _ => return Err(wrong(one.root.wrong("it must be a list of texts"))),
            },
            [_, second, ..] => return Err(wrong(second.root.wrong("it must be one list"))),
        };
        let text = |it: &yaml::Node| match it.scalar() {
            Some(text) => Ok(text.to_owned()),
            None => Err(wrong(it.wrong("it must be a list of texts"))),
        };
        list.iter().map(text).collect()
    }
}

fn built_in() -> Result<BTreeMap<String, Vec<String>>, String> {
    yaml_serde::from_str(BUILT_IN).map_err(|error| format!("lists.yml: {error}"))
}

/// Longest way from a list over those that it names.
const LIST_NESTING_MAX: usize = 32;

fn without_comment(line: &str) -> &str {
    let line = line.trim();
    if line.starts_with('#') {
        return "";
    }
    let start = line
        .match_indices('#')
        .find(|(at, _)| line.get(..*at).is_some_and(|before| before.ends_with([' ', '\t'])));
    start.and_then(|(at, _)| line.get(..at)).unwrap_or(line).trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lists(all: &[(&str, &[&str])]) -> Result<Lists, Vec<String>> {
        let owned = |it: &&str| (*it).to_owned();
        Lists::new(
            all.iter()
                .map(|(name, values)| ((*name).to_owned(), values.iter().map(owned).collect())),
        )
    }

    #[test]
    fn lists_hold_lists() {
        let all =
            lists(&[("a", &["1", "%b%", "4"]), ("b", &["2", "%c%"]), ("c", &["3", "5%"])]).unwrap();
        assert_eq!(all.get("a").unwrap(), ["1", "2", "3", "5%", "4"]);
        assert!(all.get("aa").unwrap_err().contains("did you mean `a`?"));
        assert!(all.get("servers").unwrap_err().contains("rules.lists"));
    }

    #[test]
    fn built_in_lists_give_way() {
        let names: Vec<String> = built_in().unwrap().into_keys().collect();
        assert_eq!(names, ["allowed_images", "allowed_users", "bad_addresses", "trusted_images"]);
        assert_eq!(Lists::default().get("allowed_users").unwrap(), ["?*"]);
        let own = lists(&[("allowed_users", &["alice"]), ("a", &["%trusted_images%"])]).unwrap();
        assert_eq!(own.get("allowed_users").unwrap(), ["alice"]);
        assert!(own.get("a").unwrap().is_empty());
    }

    #[test]
    fn what_cannot_be() {
        let ring = lists(&[("a", &["%b%"]), ("b", &["%c%"]), ("c", &["%a%"]), ("d", &["%e%"])]);
        let ring = ring.unwrap_err();
        assert!(ring[0].contains("list `a` holds itself: a → b → c → a"), "{ring:?}");
        assert!(ring.iter().any(|it| it.contains("list `d` holds %e%: there is no list `e`")));
        assert!(lists(&[("a b", &[])]).unwrap_err()[0].contains("a name has letters"));
        let long = "x".repeat(LIST_VALUE_BYTES_MAX + 1);
        assert!(lists(&[("a", &[&long])]).unwrap_err()[0].contains("4096 bytes"));
        let many = vec!["x"; LIST_VALUES_MAX];
        assert!(lists(&[("a", &many)]).is_ok());
        let doubled = lists(&[("a", &many), ("b", &["%a%", "%a%"])]).unwrap_err();
        assert!(doubled[0].contains("list `b` has more than 10000 values"));
        let names: Vec<String> = (0..=LIST_NESTING_MAX + 1).map(|it| format!("l{it:03}")).collect();
        let row = names.windows(2).map(|it| (it[0].clone(), vec![format!("%{}%", it[1])]));
        let deep = Lists::new(row.chain([(names.last().unwrap().clone(), vec![])])).unwrap_err();
        assert!(deep[0].contains("in a row"), "{deep:?}");
        let heavy = vec!["x".repeat(LIST_VALUE_BYTES_MAX); LIST_VALUES_MAX];
        let all = ["a", "b"].map(|it| (it.to_owned(), heavy.clone()));
        assert!(Lists::new(all).unwrap_err()[0].contains("list `b`: all lists have at most"));
        let too_many = (0..=LISTS_MAX).map(|it| (it.to_string(), vec![]));
        assert!(Lists::new(too_many).unwrap_err()[0].contains("more than 1000 lists"));
    }

    #[test]
    fn files() {
        let text = "# those who may\nalice\n\n  system:serviceaccount:ci:*  # builds\nb#c\r\n";
        assert_eq!(
            Lists::read(text, false).unwrap(),
            ["alice", "system:serviceaccount:ci:*", "b#c"]
        );
        assert_eq!(Lists::read("- a\n- 7\n- '# c'\n", true).unwrap(), ["a", "7", "# c"]);
        assert!(Lists::read("", true).unwrap().is_empty());
        assert_eq!(Lists::read("a: 1", true).unwrap_err(), "1:1: it must be a list of texts");
        assert_eq!(Lists::read("- a\n- [b]", true).unwrap_err(), "2:3: it must be a list of texts");
    }
}

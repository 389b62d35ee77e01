use super::{
    error::nearest,
    limits::{CONDITION_DEPTH_MAX, CONDITION_TERMS_MAX},
};

/// A condition over the searches of one rule, by their place in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// One search.
    Search(usize),
    /// All of these.
    All(Vec<Condition>),
    /// One of these, or more.
    Any(Vec<Condition>),
    /// Not this.
    Not(Box<Condition>),
}

impl Condition {
    /// Understands a Sigma condition. `names` are the searches of the rule in their order.
    pub(super) fn parse(text: &str, names: &[String]) -> Result<Self, String> {
        let spaced = text.replace('(', " ( ").replace(')', " ) ");
        let tokens: Vec<&str> = spaced.split_whitespace().collect();
        let mut parser = Parser { tokens: &tokens, names, terms: 0 };
        let condition = parser.any(0)?;
        match parser.tokens.first() {
            None => Ok(condition),
            Some(token) if token.starts_with('|') => Err(
                "the condition should end before `|`: counting is the work of a correlation, a document of its own (event_count, value_count, temporal)"
                    .into(),
            ),
            Some(token) if token.eq_ignore_ascii_case("near") => {
                Err("`near` is the work of a correlation, a document of its own (temporal)".into())
            }
            Some(token) => Err(format!("the condition should end before `{token}`")),
        }
    }

    /// The same over searches that stand so many places later.
    pub(super) fn moved(self, by: usize) -> Self {
        let all = |parts: Vec<Self>| parts.into_iter().map(|it| it.moved(by)).collect();
        match self {
            Self::Search(index) => Self::Search(index + by),
            Self::All(parts) => Self::All(all(parts)),
            Self::Any(parts) => Self::Any(all(parts)),
            Self::Not(part) => Self::Not(Box::new(part.moved(by))),
        }
    }

    /// Calls `take` with each search that it asks, as often as it asks it.
    pub(super) fn each_search(&self, take: &mut dyn FnMut(usize)) {
        match self {
            Self::Search(index) => take(*index),
            Self::All(parts) | Self::Any(parts) => parts.iter().for_each(|it| it.each_search(take)),
            Self::Not(part) => part.each_search(take),
        }
    }
}

struct Parser<'a> {
    tokens: &'a [&'a str],
    names: &'a [String],
    /// Searches asked so far.
    terms: usize,
}

impl<'a> Parser<'a> {
    fn take(&mut self) -> Option<&'a str> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(first)
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = self.tokens.first().is_some_and(|it| it.eq_ignore_ascii_case(word));
        if found {
            self.take();
        }
        found
    }

    fn any(&mut self, depth: usize) -> Result<Condition, String> {
        let mut parts = vec![self.all(depth)?];
        while self.take_word("or") {
            parts.push(self.all(depth)?);
        }
        Ok(one_or(parts, Condition::Any))
    }

    fn all(&mut self, depth: usize) -> Result<Condition, String> {
        let mut parts = vec![self.not(depth)?];
        while self.take_word("and") {
            parts.push(self.not(depth)?);
        }
        Ok(one_or(parts, Condition::All))
    }

    fn not(&mut self, depth: usize) -> Result<Condition, String> {
        if depth > CONDITION_DEPTH_MAX {
            return Err(format!(
                "the condition is nested deeper than {CONDITION_DEPTH_MAX} levels"
            ));
        }
        if self.take_word("not") {
            return Ok(Condition::Not(Box::new(self.not(depth + 1)?)));
        }
        self.term(depth)
    }

    fn term(&mut self, depth: usize) -> Result<Condition, String> {
        let token = self.take().ok_or("the condition ends where a selection is expected")?;
        if token == "(" {
            let inner = self.any(depth + 1)?;
            return match self.take() {
                Some(")") => Ok(inner),
                _ => Err("a parenthesis is not closed".into()),
            };
        }
        let many = if token == "1" || token.eq_ignore_ascii_case("any") {
            Some(Condition::Any as fn(Vec<Condition>) -> Condition)
        } else if token.eq_ignore_ascii_case("all") {
            Some(Condition::All as fn(Vec<Condition>) -> Condition)
        } else {
            None
        };
        let is_of = self.tokens.first().is_some_and(|it| it.eq_ignore_ascii_case("of"));
        match many {
            Some(many) if self.take_word("of") => self.of(many),
            _ if is_of => Err(format!("no `{token} of`: there are `1 of`, `any of` and `all of`")),
            _ => self.named(token),
        }
    }

    fn named(&mut self, name: &str) -> Result<Condition, String> {
        self.count(1)?;
        let index = self.names.iter().position(|it| it == name);
        index.map(Condition::Search).ok_or_else(|| {
            let near = nearest(name, self.names.iter().map(String::as_str));
            let hint = match near {
                Some(near) => format!("did you mean `{near}`?"),
                None if self.names.is_empty() => "there are none".to_owned(),
                None => format!("there are: {}", self.names.join(", ")),
            };
            format!("the condition names `{name}`, and there is no such selection ({hint})")
        })
    }

    fn count(&mut self, more: usize) -> Result<(), String> {
        self.terms += more;
        match self.terms > CONDITION_TERMS_MAX {
            true => Err(format!("the condition asks more than {CONDITION_TERMS_MAX} selections")),
            false => Ok(()),
        }
    }

    fn of(&mut self, many: fn(Vec<Condition>) -> Condition) -> Result<Condition, String> {
        let pattern = self.take().ok_or("`of` needs a name, a name with *, or `them`")?;
        let them = pattern.eq_ignore_ascii_case("them");
        // Sigma leaves names that start with an underscore out, unless the pattern says it.
        let fits = |name: &String| {
            (pattern.starts_with('_') || !name.starts_with('_')) && (them || like(pattern, name))
        };
        let found: Vec<_> = self
            .names
            .iter()
            .enumerate()
            .filter(|(_, name)| fits(name))
            .map(|(index, _)| Condition::Search(index))
            .collect();
        if found.is_empty() {
            return Err(format!("the condition names `{pattern}`, and no selection fits it"));
        }
        self.count(found.len())?;
        Ok(one_or(found, many))
    }
}

/// Whether a name is as the pattern has it, in which `*` is any text.
fn like(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else {
        return false;
    };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

fn one_or(mut parts: Vec<Condition>, many: fn(Vec<Condition>) -> Condition) -> Condition {
    match (parts.len(), parts.pop()) {
        (1, Some(only)) => only,
        (_, last) => {
            parts.extend(last);
            many(parts)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(condition: &Condition) -> String {
        let list = |parts: &[Condition]| parts.iter().map(shown).collect::<Vec<_>>().join(" ");
        match condition {
            Condition::Search(index) => index.to_string(),
            Condition::All(parts) => format!("(and {})", list(parts)),
            Condition::Any(parts) => format!("(or {})", list(parts)),
            Condition::Not(part) => format!("(not {})", shown(part)),
        }
    }

    fn parse(text: &str) -> Result<String, String> {
        let names = ["sel_a", "sel_b", "filter", "_hidden"].map(String::from);
        Condition::parse(text, &names).map(|it| shown(&it))
    }

    #[test]
    fn conditions() {
        for (text, expected) in [
            ("sel_a", "0"),
            ("sel_a and not filter", "(and 0 (not 2))"),
            ("sel_a or sel_b and filter", "(or 0 (and 1 2))"),
            ("(sel_a or sel_b) and filter", "(and (or 0 1) 2)"),
            ("1 of sel_*", "(or 0 1)"),
            ("all of sel_* and not 1 of filter", "(and (and 0 1) (not 2))"),
            ("any of them", "(or 0 1 2)"),
            ("1 of *_b", "1"),
            ("1 of s*_*b", "1"),
            ("1 of *l*", "(or 0 1 2)"),
            ("All Of sel_* And Not 1 Of Them", "(and (and 0 1) (not (or 0 1 2)))"),
            ("1 of _*", "3"),
            ("_hidden", "3"),
            ("NOT (sel_a AND sel_b) OR filter", "(or (not (and 0 1)) 2)"),
            ("not not sel_a", "(not (not 0))"),
        ] {
            assert_eq!(parse(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn mistakes() {
        for (text, expected) in [
            ("", "ends where"),
            ("x", "no such selection (there are: sel_a, sel_b, filter, _hidden)"),
            ("filters", "did you mean `filter`?"),
            ("sel_a sel_b", "should end before `sel_b`"),
            ("(sel_a", "not closed"),
            ("sel_a)", "should end before `)`"),
            ("1 of x*", "no selection fits"),
            ("1 of", "`of` needs"),
            ("2 of sel_*", "no `2 of`: there are `1 of`"),
            ("sel_a | count() > 5", "the work of a correlation"),
            ("sel_a near sel_b", "the work of a correlation"),
            (&["sel_a"; 5000].join(" or "), "asks more than 4096 selections"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
        assert!(parse(&"not ".repeat(10_000)).unwrap_err().contains("nested deeper"));
    }
}

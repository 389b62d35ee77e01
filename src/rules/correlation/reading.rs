//! Reads correlation documents.

use serde::Deserialize;
use yaml_serde::{Mapping, Value};

use super::*;
use crate::rules::{Document, RuleError};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "Sigma's other fields are allowed, so that a misspelt one is not")]
struct Raw {
    title: String,
    id: Option<String>,
    name: Option<String>,
    related: Option<Value>,
    taxonomy: Option<Value>,
    status: Option<Value>,
    #[serde(default)]
    description: String,
    license: Option<Value>,
    #[serde(default)]
    references: Vec<String>,
    #[serde(default)]
    author: String,
    date: Option<Value>,
    modified: Option<Value>,
    #[serde(default)]
    tags: Vec<String>,
    scope: Option<Value>,
    fields: Option<Value>,
    falsepositives: Option<Value>,
    level: Option<Level>,
    generate: Option<bool>,
    correlation: RawCorrelation,
    #[serde(default)]
    k8scop: RawExtra,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCorrelation {
    #[serde(rename = "type")]
    kind: String,
    rules: Vec<String>,
    #[serde(rename = "group-by", default)]
    group_by: Vec<String>,
    timespan: String,
    learn: Option<String>,
    #[serde(default)]
    aliases: Mapping,
    condition: Option<Value>,
    generate: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawExtra {
    reason: Option<String>,
    advice: Option<String>,
    detects: Vec<String>,
    examples: RawExamples,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawExamples {
    #[serde(rename = "match")]
    matching: Vec<Stream>,
    no_match: Vec<Stream>,
}

const KINDS: &[&str] = &[
    "event_count",
    "value_count",
    "value_sum",
    "value_avg",
    "value_percentile",
    "value_median",
    "value_min",
    "value_max",
    "temporal",
    "temporal_ordered",
    "first_seen",
    "absence",
];

/// Most fields of one `group-by`.
const GROUP_BY_MAX: usize = 16;
/// Longest timespan (seconds): 366 days.
const TIMESPAN_MAX_S: u32 = 366 * 24 * 3600;
/// `first_seen` tells nothing for so long at first, or for a timespan if that is shorter (seconds).
const LEARN_DEFAULT_S: u32 = 24 * 3600;

/// Reads one correlation document.
pub fn read(document: &Document) -> Result<Correlation, RuleError> {
    let Document { file, text, lines_before, .. } = document;
    match parse(file, text) {
        Ok(it) => Ok(Correlation { line: it.line + lines_before, ..it }),
        Err(error) => Err(RuleError { line: error.line + lines_before, ..error }),
    }
}

/// Reads one correlation document, the only one in its text. `file` is its name for errors.
pub fn parse(file: &str, text: &str) -> Result<Correlation, RuleError> {
    let source = Source { file, text };
    let raw: Raw = yaml_serde::from_str(text).map_err(|error| source.yaml(&error))?;
    let wrong = |token: &str, reason: String| source.error("correlation", token, reason);
    let it = &raw.correlation;
    if raw.title.trim().is_empty() {
        return Err(source.error("title", "title", "`title` is empty"));
    }
    if !KINDS.contains(&it.kind.as_str()) {
        let reason = format!("no type `{}` (there are: {})", it.kind, KINDS.join(", "));
        return Err(wrong(&it.kind, reason));
    }
    let timespan_s = timespan(&it.timespan).map_err(|reason| wrong("timespan", reason))?;
    let rules_are_right = match it.kind.as_str() {
        "absence" => it.rules.len() == 2,
        "temporal_ordered" => (2..=RULES_MAX).contains(&it.rules.len()),
        _ => (1..=RULES_MAX).contains(&it.rules.len()),
    };
    if !rules_are_right {
        let reason = format!(
            "{} cannot be about {} rules: absence needs 2, temporal_ordered 2 to {RULES_MAX}, others 1 to {RULES_MAX}",
            it.kind,
            it.rules.len()
        );
        return Err(wrong("rules", reason));
    }
    if let Some((_, twice)) = it
        .rules
        .iter()
        .enumerate()
        .find(|(at, rule)| it.rules.iter().take(*at).any(|it| it == *rule))
    {
        return Err(wrong(twice, format!("`{twice}` stands twice in rules")));
    }
    let kind = kind(it).map_err(|reason| wrong("condition", reason))?;
    let learn_s = match (&it.learn, &kind) {
        (None, _) => LEARN_DEFAULT_S.min(timespan_s),
        (Some(text), Kind::FirstSeen(_)) => {
            timespan(text).map_err(|reason| wrong("learn", reason))?
        }
        (Some(_), _) => return Err(wrong("learn", "learn is for first_seen only".into())),
    };
    if it.group_by.len() > GROUP_BY_MAX {
        return Err(wrong("group-by", format!("group-by has more than {GROUP_BY_MAX} fields")));
    }
    let group_by = it
        .group_by
        .iter()
        .map(|name| grouping(name, it).map_err(|reason| wrong(name, reason)))
        .collect::<Result<Vec<_>, _>>()?;
    let unused = it.aliases.iter().filter_map(|(name, _)| name.as_str());
    if let Some(unused) = unused.into_iter().find(|name| !it.group_by.iter().any(|it| it == name)) {
        return Err(wrong(unused, format!("the alias `{unused}` is not in group-by")));
    }
    let reason = raw.k8scop.reason.as_deref().map(|it| reason(it, &group_by)).transpose();
    Ok(Correlation {
        file: file.to_owned(),
        line: wrong("rules", String::new()).line,
        id: raw.id.clone().or_else(|| raw.name.clone()).unwrap_or_else(|| raw.title.clone()),
        name: raw.name,
        title: raw.title,
        description: raw.description.trim_end().to_owned(),
        author: raw.author,
        level: raw.level,
        references: raw.references,
        tags: raw.tags,
        kind,
        group_by,
        timespan_s,
        learn_s,
        generate: raw.generate.or(it.generate),
        reason: reason.map_err(|error| source.error("k8scop", "reason", error))?,
        advice: raw.k8scop.advice,
        detects: raw.k8scop.detects,
        matching: raw.k8scop.examples.matching,
        not_matching: raw.k8scop.examples.no_match,
        rules: raw.correlation.rules,
    })
}

/// Finds the places of what is wrong.
struct Source<'a> {
    file: &'a str,
    text: &'a str,
}

impl Source<'_> {
    /// An error about `token`, which stands in the text as it is here. It is looked for from the first line on that
    /// starts the section `after`.
    fn error(&self, after: &str, token: &str, reason: impl Into<String>) -> RuleError {
        let lines = || self.text.lines().enumerate();
        let section = lines().find(|(_, line)| line.trim_start().starts_with(after));
        let section = section.map_or(0, |(index, _)| index);
        let found = lines().skip(section).find_map(|(index, line)| {
            let column = line.get(..line.find(token)?)?.chars().count();
            Some((index, column))
        });
        let (line, column) = found.unwrap_or((section, 0));
        let (line, column) = (line + 1, column + 1);
        RuleError { file: self.file.to_owned(), line, column, reason: reason.into() }
    }

    /// An error that the YAML reader found, in its own words.
    fn yaml(&self, error: &yaml_serde::Error) -> RuleError {
        let (line, column) = error.location().map_or((1, 1), |it| (it.line(), it.column()));
        RuleError { file: self.file.to_owned(), line, column, reason: error.to_string() }
    }
}

/// `90s`, `10m`, `1h`, `7d`, `2w`.
fn timespan(text: &str) -> Result<u32, String> {
    let wrong =
        || format!("`{text}` is no timespan: a number and one of s, m, h, d, w; at most 366d");
    let unit = text.chars().next_back().ok_or_else(wrong)?;
    let unit_s = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 24 * 3600,
        'w' => 7 * 24 * 3600,
        _ => return Err(wrong()),
    };
    let digits = text.trim_end_matches(unit);
    let count = Some(digits).filter(|it| it.bytes().all(|it| it.is_ascii_digit()));
    let count: Option<u32> = count.and_then(|it| it.parse().ok());
    let seconds = count.and_then(|it| it.checked_mul(unit_s));
    seconds.filter(|it| (1..=TIMESPAN_MAX_S).contains(it)).ok_or_else(wrong)
}

fn kind(it: &RawCorrelation) -> Result<Kind, String> {
    let kind = it.kind.as_str();
    let temporal_of = match (&it.condition, kind) {
        (Some(Value::String(text)), "temporal") => Some(Condition::parse(text, &it.rules)?),
        (Some(Value::String(text)), "temporal_ordered") => {
            let all = Condition::parse(text, &it.rules)?;
            let in_order = Condition::All((0..it.rules.len()).map(Condition::Search).collect());
            if all != in_order {
                return Err("temporal_ordered needs all of its rules, in their order".into());
            }
            None
        }
        _ => None,
    };
    let Numbers { bounds, fields, percentile } = match &it.condition {
        Some(Value::Mapping(map)) => numbers(map)?,
        Some(Value::String(_)) if kind.starts_with("temporal") => Numbers::default(),
        None => Numbers::default(),
        Some(_) => return Err("condition must be a map: gte: 10".into()),
    };
    let needs_bounds = !matches!(kind, "temporal" | "temporal_ordered" | "first_seen" | "absence");
    let has_bounds = !bounds.0.is_empty();
    if needs_bounds && !has_bounds {
        return Err(format!("{kind} needs a condition with one of gt, gte, lt, lte, eq, neq"));
    }
    if has_bounds && matches!(kind, "first_seen" | "absence" | "temporal_ordered") {
        return Err(format!("{kind} counts nothing: its condition can only hold a field"));
    }
    let is_count = matches!(kind, "event_count" | "value_count");
    if needs_bounds && !bounds.can_hold(is_count) {
        return Err("no number fits the condition".into());
    }
    let takes_field = kind.starts_with("value_") || kind == "first_seen";
    if !takes_field && !fields.is_empty() {
        return Err(format!("{kind} looks at no field: take `field` away"));
    }
    if percentile.is_some() != (kind == "value_percentile") {
        return Err(
            "value_percentile needs `percentile` in its condition, and others have none".into()
        );
    }
    let one = || match fields.as_slice() {
        [field] => Ok(field.clone()),
        _ => Err(format!("{kind} needs one `field` in its condition")),
    };
    let counted = |bounds: Bounds| {
        let least = bounds.least_count();
        if bounds.only_rise() && least > COUNT_MAX {
            return Err(format!(
                "the condition waits for {least}: at most {COUNT_MAX} are counted"
            ));
        }
        Ok(bounds)
    };
    Ok(match kind {
        "event_count" => Kind::EventCount(counted(bounds)?),
        "value_count" if fields.is_empty() => {
            return Err("value_count needs `field` in its condition".into());
        }
        "value_count" => Kind::ValueCount(fields, counted(bounds)?),
        "value_sum" => Kind::Sum(one()?, bounds),
        "value_avg" => Kind::Average(one()?, bounds),
        "value_percentile" => Kind::Percentile(one()?, percentile.unwrap_or(100), bounds),
        "value_median" => Kind::Percentile(one()?, 50, bounds),
        "value_min" => Kind::Percentile(one()?, 0, bounds),
        "value_max" => Kind::Percentile(one()?, 100, bounds),
        "temporal" => match temporal_of {
            Some(condition) => Kind::TemporalOf(condition),
            None if has_bounds => {
                let all = i128::try_from(it.rules.len()).unwrap_or(i128::MAX);
                if !(1..=all).any(|it| bounds.hold(it * i128::from(THOUSAND))) {
                    return Err(format!("no count of {all} rules can fit the condition"));
                }
                Kind::Temporal(bounds)
            }
            None => Kind::Temporal(Bounds::at_least(it.rules.len())),
        },
        "temporal_ordered" => Kind::Ordered,
        "first_seen" => Kind::FirstSeen(fields),
        _ => Kind::Absence,
    })
}

/// What a condition says that is a map.
#[derive(Default)]
struct Numbers {
    bounds: Bounds,
    fields: Vec<Field>,
    percentile: Option<u8>,
}

fn numbers(map: &Mapping) -> Result<Numbers, String> {
    let mut numbers = Numbers::default();
    for (key, value) in map {
        let key = key.as_str().unwrap_or_default();
        let compare = match key {
            "gt" => Compare::Gt,
            "gte" => Compare::Gte,
            "lt" => Compare::Lt,
            "lte" => Compare::Lte,
            "eq" => Compare::Eq,
            "neq" => Compare::Neq,
            "field" => {
                let names: Option<Vec<&str>> = match value {
                    Value::Sequence(list) => list.iter().map(Value::as_str).collect(),
                    one => one.as_str().map(|it| vec![it]),
                };
                let names = names.ok_or("`field` must be a field's name, or a list of these")?;
                numbers.fields = names.into_iter().map(Field::parse).collect::<Result<_, _>>()?;
                continue;
            }
            "percentile" => {
                let percentile = value.as_u64().filter(|it| *it <= 100);
                numbers.percentile = percentile.and_then(|it| u8::try_from(it).ok());
                if numbers.percentile.is_none() {
                    return Err("`percentile` must be a number from 0 to 100".into());
                }
                continue;
            }
            other => {
                return Err(format!(
                    "no condition `{other}` (there are: gt, gte, lt, lte, eq, neq, field, percentile)"
                ));
            }
        };
        let bound = value.as_f64().and_then(thousandths);
        let bound = bound.ok_or_else(|| format!("`{key}` must be a number"))?;
        numbers.bounds.0.push((compare, bound));
    }
    Ok(numbers)
}

fn grouping(name: &str, it: &RawCorrelation) -> Result<Grouping, String> {
    let Some(alias) = it.aliases.get(name) else {
        let field = Field::parse(name)?;
        return Ok(Grouping { name: name.to_owned(), fields: vec![field; it.rules.len()] });
    };
    let of_rule = alias
        .as_mapping()
        .ok_or_else(|| format!("the alias `{name}` must be a map of rules and their fields"))?;
    let strange = of_rule.iter().filter_map(|(rule, _)| rule.as_str());
    if let Some(rule) = strange.into_iter().find(|rule| !it.rules.iter().any(|it| it == rule)) {
        return Err(format!("the alias `{name}` names `{rule}`, which is not one of rules"));
    }
    let field = |rule: &String| {
        let field = of_rule.get(rule.as_str()).and_then(Value::as_str);
        let missing = || format!("the alias `{name}` says no field for `{rule}`");
        field.ok_or_else(missing).and_then(Field::parse)
    };
    let fields = it.rules.iter().map(field).collect::<Result<_, _>>()?;
    Ok(Grouping { name: name.to_owned(), fields })
}

fn reason(text: &str, group_by: &[Grouping]) -> Result<Reason, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, behind) =
            after.split_once('}').ok_or_else(|| format!("`{{{after}` is not closed by a brace"))?;
        if !before.is_empty() {
            parts.push(ReasonPart::Text(before.to_owned()));
        }
        parts.push(match (name, group_by.iter().position(|it| it.name == name)) {
            (_, Some(place)) => ReasonPart::Group(place),
            ("count", _) => ReasonPart::Count,
            ("values", _) => ReasonPart::Values,
            ("timespan", _) => ReasonPart::Timespan,
            _ => {
                return Err(format!(
                    "no `{{{name}}}` here: there are {{count}}, {{values}}, {{timespan}} and the names of group-by"
                ));
            }
        });
        rest = behind;
    }
    if !rest.is_empty() {
        parts.push(ReasonPart::Text(rest.to_owned()));
    }
    Ok(Reason { parts })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "\
title: Many secrets
id: 6e5f9d1e-0000-4000-8000-000000000101
name: many_secrets
correlation:
  type: value_count
  rules: [secret_read, other_read]
  group-by: [who, user.uid]
  timespan: 10m
  aliases:
    who:
      secret_read: user.username
      other_read: impersonatedUser.username
  condition:
    field: objectRef.name
    gte: 5
level: high
k8scop:
  reason: '{who} read {count} within {timespan}: {values}'
  advice: Ask them.
  detects: [D098]
  examples:
    match:
      - name: x
        events: [{verb: get}]
";

    #[test]
    fn a_correlation() {
        let it = parse("a.yml", GOOD).unwrap();
        assert_eq!((it.timespan_s, it.rules.len(), it.group_by.len()), (600, 2, 2));
        assert_eq!(it.group_by[0].fields[1].to_string(), "impersonatedUser.username");
        assert_eq!(it.group_by[1].fields[1].to_string(), "user.uid");
        let Kind::ValueCount(fields, bounds) = &it.kind else { panic!("{:?}", it.kind) };
        assert_eq!((fields.len(), bounds.only_rise(), bounds.least_count()), (1, true, 5));
        assert_eq!(it.reason.unwrap().parts[0], ReasonPart::Group(0));
        assert_eq!((it.advice.as_deref(), it.detects.len()), (Some("Ask them."), 1));
        assert_eq!(it.matching[0].events.len(), 1);
    }

    #[track_caller]
    fn broken(change: (&str, &str), line: usize, reason: &str) {
        assert!(GOOD.contains(change.0), "{change:?}");
        let error = parse("a.yml", &GOOD.replace(change.0, change.1)).unwrap_err();
        assert!(error.reason.contains(reason), "{error}");
        assert_eq!((error.file.as_str(), error.line), ("a.yml", line), "{error}");
    }

    #[test]
    fn a_broken_correlation_names_its_line() {
        broken(("title:", "titel:"), 1, "titel");
        broken(("type: value_count", "type: value_cout"), 5, "no type `value_cout`");
        broken(("timespan: 10m", "timespan: 10"), 8, "no timespan");
        broken(("timespan: 10m", "timespan: 0s"), 8, "no timespan");
        broken(("timespan: 10m", "timespan: 99999d"), 8, "at most 366d");
        broken(("[secret_read, other_read]", "[]"), 6, "cannot be about 0 rules");
        broken(("[secret_read, other_read]", "[secret_read, secret_read]"), 6, "stands twice");
        broken(("      other_read: imp", "      else_read: imp"), 7, "not one of rules");
        broken(
            ("      other_read: impersonatedUser.username\n", ""),
            7,
            "no field for `other_read`",
        );
        broken(("[who, user.uid]", "[user.uid]"), 10, "is not in group-by");
        broken(("user.uid", "user.uidd"), 7, "did you mean");
        broken(("objectRef.name", "objectRef.kind"), 13, "no field");
        broken(("    gte: 5", "    ge: 5"), 13, "no condition `ge`");
        broken(("    gte: 5", "    gte: x"), 13, "must be a number");
        broken(("    gte: 5", "    gte: 100000"), 13, "at most 10000");
        broken(("    gte: 5\n", ""), 13, "needs a condition");
        for never in
            ["gte: 5\n    lt: 3", "gt: 5\n    lt: 6", "lt: 1", "eq: 2.5", "eq: 2\n    neq: 2"]
        {
            broken(("    gte: 5", &format!("    {never}")), 13, "no number fits");
        }
        broken(("title: Many secrets", "title: ' '"), 1, "`title` is empty");
        broken(("    field: objectRef.name\n", ""), 13, "needs `field`");
        broken(("{count}", "{cout}"), 18, "{count}, {values}");
        broken(("timespan: 10m", "timespan: 10m\n  learn: 1d"), 9, "first_seen only");
    }

    #[track_caller]
    fn kind_of(correlation: &str) -> Result<Kind, String> {
        let text = format!("title: t\ncorrelation:\n  timespan: 1h\n{correlation}\n");
        parse("a.yml", &text).map(|it| it.kind).map_err(|error| error.reason)
    }

    #[test]
    fn kinds() {
        let kind = kind_of("  type: temporal\n  rules: [a, b]").unwrap();
        assert_eq!(kind, Kind::Temporal(Bounds::at_least(2)));
        let kind = kind_of("  type: temporal\n  rules: [a, b, c]\n  condition: (a or b) and c");
        assert!(matches!(kind, Ok(Kind::TemporalOf(Condition::All(_)))));
        let error = kind_of("  type: temporal\n  rules: [a, b]\n  condition: a and x").unwrap_err();
        assert!(error.contains("names `x`"), "{error}");
        let error =
            kind_of("  type: temporal\n  rules: [a, b]\n  condition: {gte: 3}").unwrap_err();
        assert!(error.contains("no count of 2 rules"), "{error}");
        let ordered = "  type: temporal_ordered\n  rules: [a, b]\n  condition:";
        assert_eq!(kind_of(&format!("{ordered} a and b")), Ok(Kind::Ordered));
        assert!(kind_of(&format!("{ordered} a or b")).is_err());
        assert!(kind_of("  type: absence\n  rules: [a]").is_err());
        let range = "  type: event_count\n  rules: [a]\n  condition: {gt: 100, lte: 200}";
        let Ok(Kind::EventCount(bounds)) = kind_of(range) else { panic!() };
        let hold = |count: i128| bounds.hold(count * 1000);
        assert_eq!([100, 101, 200, 201].map(hold), [false, true, true, false]);
        assert!(!bounds.only_rise());
        let percentile = "  type: value_percentile\n  rules: [a]\n  condition: {field: responseStatus.code, gte: 1.5";
        assert!(kind_of(&format!("{percentile}}}")).unwrap_err().contains("needs `percentile`"));
        assert!(kind_of(&format!("{percentile}, percentile: 95}}")).is_ok());
    }
}

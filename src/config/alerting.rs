use super::raw::{RawAlerts, RawRate, RawSuppress};
use crate::{
    alerts::{Fits, Glob, Override, Policy, Rate, Route, Suppress},
    rules::Template,
};

/// Longest time for which alerts that say the same are suppressed (seconds): a day.
const FOR_S_MAX: u32 = 24 * 60 * 60;
/// Most alerts a minute that can be set.
const RATE_MAX: u32 = 1_000_000;
/// Most entries of each list of `alerts`: all of them are tried for each alert.
const ENTRIES_MAX: usize = 1000;
/// Most fields by which alerts are suppressed.
const FIELDS_MAX: usize = 10;
/// Longest name of an index (bytes): Elasticsearch 8.19, `MetadataCreateIndexService.MAX_INDEX_NAME_BYTES`.
const INDEX_BYTES_MAX: usize = 255;

/// What becomes of alerts.
pub(super) fn alerting(raw: &RawAlerts, wrong: &mut Vec<String>) -> Policy {
    for (name, count) in [
        ("overrides", raw.overrides.len()),
        ("routes", raw.routes.len()),
        ("suppress", raw.suppress.len()),
    ] {
        if count > ENTRIES_MAX {
            wrong.push(format!("alerts.{name}: has more than {ENTRIES_MAX} entries"));
        }
    }
    let mut overrides = Vec::new();
    for (place, it) in raw.overrides.iter().enumerate() {
        let name = format!("alerts.overrides[{place}]");
        if it.level.is_none() && it.risk_score.is_none() {
            wrong.push(format!("{name}: give a level, a risk_score, or both"));
        }
        if it.risk_score.is_some_and(|it| it > 100) {
            wrong.push(format!("{name}.risk_score: must be from 0 to 100"));
        }
        let fits = fits(&it.rules, &it.namespaces, &it.clusters);
        overrides.push(Override { fits, level: it.level, risk_score: it.risk_score });
    }
    let mut routes = Vec::new();
    for (place, it) in raw.routes.iter().enumerate() {
        if !is_index(&it.index) {
            wrong.push(format!(
                "alerts.routes[{place}].index: `{}` cannot be the name of an index or data stream",
                it.index
            ));
        }
        routes.push(Route { min_level: it.min_level, index: it.index.clone() });
    }
    let suppress = raw.suppress.iter().enumerate();
    let suppress = suppress
        .map(|(place, it)| self::suppress(&format!("alerts.suppress[{place}]"), it, wrong))
        .collect();
    Policy { overrides, min_level: raw.min_level, routes, suppress, rate: rate(&raw.rate, wrong) }
}

fn fits(rules: &[String], namespaces: &[String], clusters: &[String]) -> Fits {
    let globs = |all: &[String]| all.iter().map(|it| Glob::new(it)).collect();
    Fits { rules: globs(rules), namespaces: globs(namespaces), clusters: globs(clusters) }
}

fn suppress(name: &str, raw: &RawSuppress, wrong: &mut Vec<String>) -> Suppress {
    if raw.rules.is_empty() {
        wrong.push(format!("{name}.rules: is empty; \"*\" would be all"));
    }
    if raw.by.len() > FIELDS_MAX {
        wrong.push(format!("{name}.by: has more than {FIELDS_MAX} fields"));
    }
    let mut fields = Vec::new();
    for field in &raw.by {
        match Template::parse(&format!("{{{field}}}")) {
            Ok(template) => fields.push(template),
            Err(reason) => wrong.push(format!("{name}.by: {reason}")),
        }
    }
    let for_s = seconds(&raw.for_time).filter(|it| (1..=FOR_S_MAX).contains(it));
    if for_s.is_none() {
        wrong.push(format!(
            "{name}.for: `{}` is no time from 1s to 24h, such as 90s, 15m or 1h",
            raw.for_time
        ));
    }
    Suppress {
        fits: fits(&raw.rules, &raw.namespaces, &raw.clusters),
        by: raw.by.clone(),
        fields,
        for_s: for_s.unwrap_or(1),
        max_level: raw.max_level,
    }
}

fn seconds(text: &str) -> Option<u32> {
    let units = [('s', 1), ('m', 60), ('h', 60 * 60)];
    let (number, unit) =
        units.iter().find_map(|(it, unit)| Some((text.strip_suffix(*it)?, unit)))?;
    if !number.bytes().all(|it| it.is_ascii_digit()) {
        return None;
    }
    number.parse::<u32>().ok()?.checked_mul(*unit)
}

fn rate(raw: &RawRate, wrong: &mut Vec<String>) -> Rate {
    for (name, value) in [("per_rule", raw.per_rule), ("total", raw.total)] {
        if !(1..=RATE_MAX).contains(&value) {
            wrong.push(format!("alerts.rate.{name}: must be from 1 to {RATE_MAX}"));
        }
    }
    Rate { per_rule: raw.per_rule, total: raw.total, max_level: raw.max_level }
}

/// Elasticsearch's rules for names of indices and data streams (8.19, `MetadataCreateIndexService`). What starts with a
/// dot belongs to the system.
fn is_index(name: &str) -> bool {
    let is_allowed = |it: char| {
        !it.is_uppercase()
            && !it.is_whitespace()
            && !it.is_control()
            && !"\\/*?\"<>|,#:".contains(it)
    };
    !name.is_empty()
        && name.len() <= INDEX_BYTES_MAX
        && !name.starts_with(['-', '_', '+', '.'])
        && name.chars().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Overrides, meant, parse};
    use crate::rules::Level;

    fn read(text: &str) -> Result<Policy, String> {
        let raw = parse(&format!("alerts:\n  {}\n", text.replace('\n', "\n  ")));
        let raw = raw.map_err(|(line, reason)| format!("line {line}: {reason}"))?;
        let config = meant(raw, Overrides::default()).map_err(|error| error.to_string())?;
        Ok(config.policy.alerting)
    }

    #[track_caller]
    fn wrong(text: &str, expected: &[&str]) {
        let error = read(text).unwrap_err();
        for expected in expected {
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn by_default_nothing_is_suppressed_and_what_is_high_is_not_capped() {
        let policy = read("prefix: alerts").unwrap();
        assert!(policy.suppress.is_empty() && policy.overrides.is_empty());
        assert_eq!((policy.min_level, policy.rate.max_level), (Level::Low, Level::Medium));
        assert_eq!((policy.rate.per_rule, policy.rate.total), (100, 1000));
    }

    #[test]
    fn all_of_it() {
        let policy = read(
            "min_level: medium\n\
             overrides:\n- {rules: [attack.*, 'Pod created'], namespaces: [dev-*], clusters: [''], level: low, risk_score: 30}\n\
             routes:\n- {min_level: high, index: logs-k8scop.alerts-pager}\n\
             suppress:\n- {rules: ['*'], by: [user.username, k8scop.peer_ip], for: 1h, max_level: critical}\n- {rules: [a], for: 90s}\n\
             rate: {per_rule: 5, total: 6, max_level: low}",
        )
        .unwrap();
        let [first, second] = policy.suppress.as_slice() else { panic!("{policy:?}") };
        assert_eq!((first.for_s, first.fields.len(), first.max_level), (3600, 2, Level::Critical));
        assert_eq!((second.for_s, second.fields.len(), second.max_level), (90, 0, Level::Medium));
        assert_eq!(policy.route(Level::Critical), Some("logs-k8scop.alerts-pager"));
        assert_eq!(policy.route(Level::Medium), None);
        assert_eq!(policy.overrides[0].risk_score, Some(30));
        assert_eq!((policy.rate.per_rule, policy.rate.total), (5, 6));
    }

    #[test]
    fn mistakes_are_told_all_at_once() {
        wrong(
            "overrides:\n- {rules: [a]}\n- {rules: [a], risk_score: 101}\n\
             routes:\n- {min_level: low, index: ../x}\n- {min_level: low, index: .x}\n\
             suppress:\n- {rules: [], for: 1h}\n- {rules: [a], by: [user.nam], for: 1h}\n- {rules: [a], for: 25h}\n- {rules: [a], for: -1s}\n\
             rate: {per_rule: 0}",
            &[
                "alerts.overrides[0]: give a level",
                "alerts.overrides[1].risk_score",
                "alerts.routes[0].index",
                "alerts.routes[1].index",
                "alerts.suppress[0].rules",
                "alerts.suppress[1].by: ",
                "did you mean `user.name`",
                "alerts.suppress[2].for: `25h`",
                "alerts.suppress[3].for: `-1s`",
                "alerts.rate.per_rule",
            ],
        );
        wrong("min_level: huge", &["huge"]);
        wrong("overrides:\n- {rule: [a], level: low}", &["unknown field `rule`"]);
        for bad in ["1", "h", "", "1 h", "+1h", "99999999999h", "0s", "1d"] {
            assert!(seconds(bad).is_none_or(|it| it == 0), "{bad}");
        }
    }
}

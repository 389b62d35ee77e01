use serde_json::{Value, json};

use super::{
    engine::{Engine, Lifecycle},
    template::{Kind, Piece, Rule, meta},
};

/// The policy of data streams, in ILM and ISM.
pub(super) const POLICY: &str = "k8scop";
/// That of daily indices, which need no rollover.
pub(super) const POLICY_DAILY: &str = "k8scop-daily";
/// The component template that says how long data streams keep what they have.
pub(super) const COMPONENT: &str = "k8scop@lifecycle";
/// That of daily indices.
pub(super) const COMPONENT_DAILY: &str = "k8scop-daily@lifecycle";
/// Above the policies that others have for `logs-*`.
const ISM_PRIORITY: u32 = 250;
/// Size at which a new index is started: Elasticsearch's own for data streams, `cluster.lifecycle.default.rollover`.
const ROLLOVER_SIZE: &str = "50gb";

/// How long documents are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    hours: u64,
    text: String,
}

impl Retention {
    /// Reads `90d` or `36h`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (number, hours) = match (text.strip_suffix('d'), text.strip_suffix('h')) {
            (Some(days), _) => (days, 24),
            (_, Some(hours)) => (hours, 1),
            _ => return Err("needs days or hours, such as 90d or 36h".into()),
        };
        let is_number = number.bytes().all(|it| it.is_ascii_digit());
        match number.parse::<u64>() {
            // A century: more is a mistake, and Elasticsearch counts nanoseconds in 63 bits.
            Ok(count @ 1..=36_500) if is_number => {
                Ok(Self { hours: count * hours, text: text.to_owned() })
            }
            _ => Err("needs a number from 1 to 36500 before the unit".into()),
        }
    }

    /// As it was typed.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Age at which a new index is started. As Elasticsearch chooses it for data streams (8.19,
    /// `RolloverConfiguration.evaluateMaxAgeCondition`): an index goes as a whole, so it must be young enough.
    fn rollover_age(&self) -> &'static str {
        match self.hours {
            ..=24 => "1h",
            25..=336 => "1d",
            337..=2160 => "7d",
            _ => "30d",
        }
    }
}

/// What makes a cluster delete what is old. `patterns`: of the data streams; `daily`: of the daily indices, if they are
/// used. Policies come first: OpenSearch attaches one only to what is made after it.
pub(super) fn pieces(
    engine: Engine,
    retention: &Retention,
    patterns: &[String],
    daily: Option<&str>,
) -> Vec<Piece> {
    let named =
        |policy: &str| json!({ "settings": { "index": { "lifecycle": { "name": policy } } } });
    let mut pieces = match engine.lifecycle() {
        Lifecycle::Stream => {
            let template = json!({ "lifecycle": { "data_retention": retention.text } });
            vec![component(COMPONENT, template)]
        }
        Lifecycle::Ilm => {
            vec![
                policy(Kind::Ilm, POLICY, ilm(retention, true)),
                component(COMPONENT, named(POLICY)),
            ]
        }
        Lifecycle::Ism => vec![policy(Kind::Ism, POLICY, ism(retention, true, patterns))],
    };
    match (daily, engine.lifecycle()) {
        (None, _) => (),
        (Some(pattern), Lifecycle::Ism) => {
            let body = ism(retention, false, &[pattern.to_owned()]);
            pieces.push(policy(Kind::Ism, POLICY_DAILY, body));
        }
        // A daily index is no data stream, which alone could do without a policy.
        (Some(_), Lifecycle::Stream | Lifecycle::Ilm) => {
            pieces.push(policy(Kind::Ilm, POLICY_DAILY, ilm(retention, false)));
            pieces.push(component(COMPONENT_DAILY, named(POLICY_DAILY)));
        }
    }
    pieces
}

/// How long a data stream that is there already keeps what it has.
pub(super) fn of_stream(name: &str, retention: &Retention) -> Piece {
    let body = json!({ "data_retention": retention.text });
    Piece { kind: Kind::StreamLifecycle, name: name.to_owned(), body, rule: Rule::Members }
}

fn policy(kind: Kind, name: &str, body: Value) -> Piece {
    Piece { kind, name: name.to_owned(), body, rule: Rule::Members }
}

fn component(name: &str, template: Value) -> Piece {
    let body = json!({
        "template": template,
        "_meta": meta("How long k8scop's documents are kept: k8scop setup --retention."),
    });
    Piece { kind: Kind::Component, name: name.to_owned(), body, rule: Rule::Whole }
}

fn ilm(retention: &Retention, rolls_over: bool) -> Value {
    let delete = json!({ "min_age": retention.text, "actions": { "delete": {} } });
    let phases = if rolls_over {
        let rollover = json!({
            "max_age": retention.rollover_age(),
            "max_primary_shard_size": ROLLOVER_SIZE,
        });
        json!({ "hot": { "actions": { "rollover": rollover } }, "delete": delete })
    } else {
        json!({ "delete": delete })
    };
    json!({ "policy": { "phases": phases } })
}

fn ism(retention: &Retention, rolls_over: bool, patterns: &[String]) -> Value {
    let rollover = json!([{ "rollover": {
        "min_index_age": retention.rollover_age(),
        "min_primary_shard_size": ROLLOVER_SIZE,
    } }]);
    let (actions, age) = match rolls_over {
        true => (rollover, "min_rollover_age"),
        false => (json!([]), "min_index_age"),
    };
    let transition = json!({ "state_name": "delete", "conditions": { age: retention.text } });
    json!({ "policy": {
        "description": "How long k8scop's documents are kept: k8scop setup --retention.",
        "default_state": "hot",
        "states": [
            { "name": "hot", "actions": actions, "transitions": [transition] },
            { "name": "delete", "actions": [{ "delete": {} }], "transitions": [] },
        ],
        "ism_template": [{ "index_patterns": patterns, "priority": ISM_PRIORITY }],
    } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (text, rollover) in [
            ("1h", "1h"),
            ("24h", "1h"),
            ("1d", "1h"),
            ("25h", "1d"),
            ("14d", "1d"),
            ("15d", "7d"),
            ("90d", "7d"),
            ("91d", "30d"),
            ("36500d", "30d"),
        ] {
            let retention = Retention::parse(text).unwrap();
            assert_eq!((retention.rollover_age(), retention.text()), (rollover, text));
        }
        for wrong in
            ["", "d", "90", "0d", "-1d", "+1d", "1.5d", "90D", "1w", "99999999999999999999d"]
        {
            assert!(Retention::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn each_engine_in_its_own_way() {
        let retention = Retention::parse("90d").unwrap();
        let names = |engine: &str, daily: Option<&str>| -> Vec<String> {
            let engine = Engine::typed(engine).unwrap();
            pieces(engine, &retention, &["logs-a-*".into()], daily)
                .iter()
                .map(|it| it.kind.path(&it.name))
                .collect()
        };
        assert_eq!(names("elasticsearch-8.19", None), ["/_component_template/k8scop@lifecycle"]);
        assert_eq!(
            names("elasticsearch-8.19", Some("alerts-*")),
            [
                "/_component_template/k8scop@lifecycle",
                "/_ilm/policy/k8scop-daily",
                "/_component_template/k8scop-daily@lifecycle"
            ]
        );
        assert_eq!(
            names("elasticsearch-7.17", None),
            ["/_ilm/policy/k8scop", "/_component_template/k8scop@lifecycle"]
        );
        assert_eq!(
            names("opensearch-3.6", Some("alerts-*")),
            ["/_plugins/_ism/policies/k8scop", "/_plugins/_ism/policies/k8scop-daily"]
        );
    }

    #[test]
    fn policies() {
        let retention = Retention::parse("30d").unwrap();
        let rollover = json!({ "max_age": "7d", "max_primary_shard_size": "50gb" });
        let policy = ilm(&retention, true);
        assert_eq!(policy["policy"]["phases"]["hot"]["actions"]["rollover"], rollover);
        assert_eq!(policy["policy"]["phases"]["delete"]["min_age"], "30d");
        let daily = ilm(&retention, false);
        assert_eq!(daily["policy"]["phases"]["hot"], Value::Null);

        let states =
            |rolls_over| ism(&retention, rolls_over, &["logs-a-*".into()])["policy"].clone();
        let policy = states(true);
        assert_eq!(policy["states"][0]["actions"][0]["rollover"]["min_index_age"], "7d");
        let when = |policy: &Value| policy["states"][0]["transitions"][0]["conditions"].clone();
        assert_eq!(when(&policy), json!({ "min_rollover_age": "30d" }));
        assert_eq!(when(&states(false)), json!({ "min_index_age": "30d" }));
        assert_eq!(policy["ism_template"][0]["index_patterns"], json!(["logs-a-*"]));
    }
}

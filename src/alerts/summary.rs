use std::{fmt, sync::Arc};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Reason;
use crate::{
    rules::{Level, Rule},
    unwrap,
};

/// Most users that a summary names.
pub(super) const USERS_MAX: usize = 10;
/// Longest text of an event that is kept for a summary (bytes).
const TEXT_BYTES_MAX: usize = 256;
/// Longest credentials that are kept (bytes). A summary of who sends longer ones goes without.
const CREDENTIALS_BYTES_MAX: usize = 4096;

/// With whose credentials a summary is stored, where we have none of our own: those of the request whose alerts were
/// held.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Sender(Option<Arc<[u8]>>);

impl Sender {
    /// `authorization` is the header of that name.
    #[must_use]
    pub fn new(authorization: Option<&[u8]>) -> Self {
        Self(authorization.filter(|it| it.len() <= CREDENTIALS_BYTES_MAX).map(Arc::from))
    }

    /// The header.
    #[must_use]
    pub fn authorization(&self) -> Option<&[u8]> {
        self.0.as_deref()
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Tells how many alerts were held.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Its `_id`.
    pub id: String,
    /// Where it goes.
    pub index: String,
    /// Title of the rule.
    pub title: String,
    /// How many alerts were held.
    pub count: u64,
    /// How often it could not be stored.
    pub tries: u32,
    /// Who may store it.
    pub sender: Sender,
    pub(super) rule: RuleNote,
    pub(super) reason: Reason,
    pub(super) level: Level,
    pub(super) risk_score: u8,
    pub(super) cluster: String,
    /// What they have in common: fields and values.
    pub(super) by: Vec<(String, String)>,
    pub(super) users: Users,
    pub(super) first_ms: i64,
    pub(super) last_ms: i64,
}

/// What of a rule stands in a summary.
#[derive(Clone, Debug)]
pub(super) struct RuleNote {
    id: String,
    description: String,
    author: String,
    tags: Vec<String>,
    reference: Option<String>,
}

impl RuleNote {
    pub(super) fn of(rule: &Rule) -> Self {
        Self {
            id: rule.id.clone(),
            description: rule.description.clone(),
            author: rule.author.clone(),
            tags: rule.tags.clone(),
            reference: rule.references.first().cloned(),
        }
    }
}

/// Some of the users whose alerts were held.
#[derive(Clone, Debug, Default)]
pub(super) struct Users {
    names: Vec<String>,
    has_more: bool,
}

impl Users {
    pub(super) fn add(&mut self, name: &str) {
        let name = short(name);
        if name.is_empty() || self.names.iter().any(|it| it == name) {
            return;
        }
        if self.names.len() < USERS_MAX {
            self.names.push(name.to_owned());
        } else {
            self.has_more = true;
        }
    }

    pub(super) fn add_all(&mut self, others: &Self) {
        others.names.iter().for_each(|it| self.add(it));
        self.has_more |= others.has_more;
    }
}

/// As much of a text as is kept.
pub(super) fn short(text: &str) -> &str {
    text.get(..text.floor_char_boundary(TEXT_BYTES_MAX)).unwrap_or_default()
}

impl Summary {
    /// Appends its two lines of a bulk body.
    pub fn write(&self, now: Timestamp, out: &mut String) {
        let action = json!({"create": {"_index": self.index, "_id": self.id}});
        out.push_str(&format!("{action}\n{}\n", self.document(now)));
    }

    fn document(&self, now: Timestamp) -> Value {
        let (first, last) = (time(self.first_ms), time(self.last_ms));
        let mut document = json!({
            "@timestamp": last,
            "message": format!("{} more of {}", self.count, self.title),
            "ecs": {"version": "8.17.0"},
            "event": {
                "kind": "alert",
                "severity": self.level.severity(),
                "risk_score": self.risk_score,
                "reason": unwrap::cut(&self.sentence(&first, &last)),
                "module": "k8scop",
                "dataset": "k8scop.alerts",
                "start": first,
                "end": last,
                "ingested": now.to_string(),
            },
            "rule": {
                "id": self.rule.id,
                "name": self.title,
                "ruleset": "k8scop",
                "category": "kubernetes",
            },
            "orchestrator": {"type": "kubernetes"},
            "k8scop": {"held": {"count": self.count, "reason": self.reason.name()}},
        });
        let mut put = |path: &str, value: Value| {
            if let Some(place) = document.pointer_mut(path) {
                *place = value;
            } else if let Some((parent, name)) = path.rsplit_once('/')
                && let Some(Value::Object(parent)) = document.pointer_mut(parent)
            {
                parent.insert(name.into(), value);
            }
        };
        let RuleNote { description, author, reference, .. } = &self.rule;
        let reference = reference.as_deref().unwrap_or_default();
        for (name, text) in [
            ("description", unwrap::cut(description)),
            ("author", author),
            ("reference", reference),
        ] {
            if !text.is_empty() {
                put(&format!("/rule/{name}"), json!(text));
            }
        }
        if !self.rule.tags.is_empty() {
            put("/tags", json!(self.rule.tags));
        }
        if let [user] = self.users.names.as_slice()
            && !self.users.has_more
        {
            put("/user", json!({"name": user}));
        }
        if !self.users.names.is_empty() {
            put("/related", json!({"user": self.users.names}));
        }
        if !self.cluster.is_empty() {
            put("/orchestrator/cluster", json!({"name": self.cluster}));
        }
        if !self.by.is_empty() {
            put("/k8scop/held/by", json!(self.common()));
        }
        let stream = self.index.strip_prefix("logs-").and_then(|it| it.split_once('-'));
        if let Some((dataset, namespace)) = stream {
            let stream = json!({"type": "logs", "dataset": dataset, "namespace": namespace});
            put("/data_stream", stream);
        }
        document
    }

    fn common(&self) -> Vec<String> {
        self.by.iter().map(|(field, value)| format!("{field}: {value}")).collect()
    }

    fn sentence(&self, first: &str, last: &str) -> String {
        let why = match self.reason {
            Reason::Suppress if self.by.is_empty() => "suppressed".to_owned(),
            Reason::Suppress => format!("suppressed, all with {}", self.common().join(", ")),
            Reason::RatePerRule => "too many of this rule in a minute".to_owned(),
            Reason::RateTotal | Reason::MinLevel => "too many alerts in a minute".to_owned(),
        };
        let mut users = self.users.names.join(", ");
        if self.users.has_more {
            users.push_str(" and others");
        }
        let by = if users.is_empty() { String::new() } else { format!(", by {users}") };
        format!("{} more of {}, from {first} to {last}{by} ({why})", self.count, self.title)
    }
}

fn time(ms: i64) -> String {
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH).to_string()
}

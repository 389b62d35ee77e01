//! What rules and correlations have in common.

use crate::rules::{Level, Node, Rule, Value, correlation::Correlation};

/// A rule or a correlation, as lists show it.
#[derive(Clone, Debug)]
pub(super) struct Head {
    /// `rule` or `correlation`.
    pub(super) kind: &'static str,
    pub(super) id: String,
    pub(super) title: String,
    pub(super) level: Level,
    pub(super) tags: Vec<String>,
    pub(super) description: String,
    pub(super) advice: Option<String>,
    pub(super) detects: Vec<String>,
    pub(super) file: String,
}

impl From<&Rule> for Head {
    fn from(it: &Rule) -> Self {
        Self {
            kind: "rule",
            id: it.id.clone(),
            title: it.title.clone(),
            level: it.level,
            tags: it.tags.clone(),
            description: it.description.clone(),
            advice: it.advice.clone(),
            detects: it.detects.clone(),
            file: it.file.clone(),
        }
    }
}

impl Head {
    /// Of a correlation whose document is `root`.
    pub(super) fn of(it: &Correlation, root: &Node) -> Self {
        let own = |name: &str| root.get("k8scop").and_then(|it| it.get(name));
        let texts = |it: &Node| match &it.value {
            Value::List(all) => all.iter().filter_map(Node::scalar).map(str::to_owned).collect(),
            _ => it.scalar().into_iter().map(str::to_owned).collect(),
        };
        Self {
            kind: "correlation",
            id: it.id.clone(),
            title: it.title.clone(),
            // What it alerts as without one, unless another correlation refers to it.
            level: it.level.unwrap_or(Level::Medium),
            tags: it.tags.clone(),
            description: it.description.clone(),
            advice: own("advice").and_then(Node::scalar).map(str::to_owned),
            detects: own("detects").map(texts).unwrap_or_default(),
            file: it.file.clone(),
        }
    }
}

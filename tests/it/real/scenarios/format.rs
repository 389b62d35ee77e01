//! How scenarios are written.

use std::{collections::BTreeMap, fs};

use serde::{Deserialize, Deserializer, de::DeserializeOwned, de::Error};
use serde_json::Value;

use crate::real::parts::root;

/// Requests, and what is answered to them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it shows. No two have the same.
    pub name: String,
    /// Engines that have what it needs; all, if none is named.
    #[serde(default)]
    pub engines: Engines,
    /// `all`: it makes calls that k8scop passes through only where it is told to (`pass_through.allow: all`).
    #[serde(default)]
    pub pass_through: PassThrough,
    /// k8scop tries again, and takes the engine for broken: it gets another one than the rest.
    #[serde(default)]
    pub alone: bool,
    /// Sent to the engine itself, once for each way: `METHOD PATH BODY`.
    #[serde(default)]
    pub setup: Vec<String>,
    /// Sent in this order, each way.
    pub requests: Vec<Request>,
}

/// Names of engines (`es7`, `es8`, `es9`, `os2`, `os3`), or what they begin with (`es`).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(transparent)]
pub struct Engines(Vec<String>);

impl Engines {
    pub fn have(&self, engine: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|it| engine.starts_with(it.as_str()))
    }
}

/// What k8scop passes through.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum PassThrough {
    /// What shippers need.
    #[default]
    Usual,
    All,
}

/// One request.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Method, path and query.
    #[serde(default = "bulk")]
    pub send: String,
    /// Added to those of every request, or left out of them (null).
    #[serde(default)]
    pub headers: BTreeMap<String, Option<String>>,
    /// The body as it is. A bulk body is best written as a YAML block: its lines are those of the body.
    pub body: Option<String>,
    /// A body that is no text.
    pub base64: Option<String>,
    /// How the body is encoded. `Content-Encoding` is told with the same word.
    pub encode: Option<Encode>,
    /// `1.0` instead of `1.1`.
    pub http: Option<String>,
    /// The body is sent in chunks, without its length.
    #[serde(default)]
    pub chunked: bool,
    /// Sent together with the next request, on the same connection.
    #[serde(default)]
    pub pipelined: bool,
    /// Sent to the engine itself in both ways: what is stored there must be the same.
    #[serde(default)]
    pub direct: bool,
    /// The answer must also be laid out the same: the same lines.
    #[serde(default)]
    pub layout: bool,
    /// What is answered, both ways.
    #[serde(deserialize_with = "one_or_more")]
    pub expect: Vec<Expect>,
    /// What we chose to answer otherwise.
    #[serde(default, deserialize_with = "one_or_more")]
    pub differs: Vec<Differs>,
}

fn bulk() -> String {
    "POST /_bulk".into()
}

/// How a body is encoded.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encode {
    Gzip,
    Deflate,
}

impl Encode {
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        }
    }
}

/// What is answered. Of several, the first one for the engine counts.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    #[serde(default)]
    pub when: Engines,
    #[serde(default = "ok")]
    pub status: u16,
    /// For each item `OPERATION INDEX/ID STATUS RESULT`, or the type of the error in place of the result. An id
    /// that the engine made is `*`, the day in the name of a backing index `{date}`, what is not there `-`.
    pub items: Option<Vec<String>>,
    /// `error.type`, or `error` where that is a text.
    pub error: Option<String>,
    /// Members of the answer, by their path (`items.0.index._version`). Null: not there.
    #[serde(default)]
    pub json: BTreeMap<String, Value>,
    /// The whole body.
    pub text: Option<String>,
    /// Headers. Null: not there.
    #[serde(default)]
    pub headers: BTreeMap<String, Option<String>>,
}

fn ok() -> u16 {
    200
}

/// A difference that we chose.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Differs {
    /// Its row in `docs/differences.md`.
    pub id: String,
    #[serde(default)]
    pub when: Engines,
    /// What k8scop answers.
    pub k8scop: Option<Expect>,
    /// Members and headers that differ, whatever they hold; all else is equal.
    #[serde(default)]
    pub only: Vec<String>,
}

/// One of them, or a list.
fn one_or_more<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    let value = yaml_serde::Value::deserialize(deserializer)?;
    let many = match value {
        yaml_serde::Value::Sequence(many) => many,
        one => vec![one],
    };
    many.into_iter().map(|it| yaml_serde::from_value(it).map_err(Error::custom)).collect()
}

/// All scenarios, with the names of their files.
pub fn load() -> Vec<(String, Scenario)> {
    let mut files: Vec<_> = fs::read_dir(root().join("tests/scenarios"))
        .unwrap()
        .map(|it| it.unwrap().path())
        .filter(|it| it.extension().is_some_and(|it| it == "yml"))
        .collect();
    files.sort();
    let mut all = Vec::new();
    for file in files {
        let theme = file.file_stem().unwrap().to_str().unwrap().to_owned();
        let scenarios: Vec<Scenario> = yaml_serde::from_str(&fs::read_to_string(&file).unwrap())
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        all.extend(scenarios.into_iter().map(|it| (theme.clone(), it)));
    }
    all
}

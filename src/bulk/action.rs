use std::borrow::Cow;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::{Refusal, Shown};
use crate::json::{self, Kind, Member};

/// Longest `_id` in bytes (Elasticsearch 8.19, `IndexRequest.MAX_DOCUMENT_ID_LENGTH_IN_BYTES`).
const ID_BYTES_MAX: usize = 512;
/// An action line is flat but for `dynamic_templates` and an update's `_source`.
const ACTION_DEPTH_MAX: usize = 16;

/// What an item asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Store, replacing what has the same `_id`.
    Index,
    /// Store, unless something has the same `_id`.
    Create,
    /// Change part of a document.
    Update,
    /// Remove a document.
    Delete,
}

impl Op {
    /// The name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Index => "index",
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::Index, Self::Create, Self::Update, Self::Delete]
            .into_iter()
            .find(|it| it.name() == name)
    }

    /// Whether a document line follows the action line.
    #[must_use]
    pub fn has_source(self) -> bool {
        self != Self::Delete
    }
}

/// What the URL of a bulk request says for every item that does not say it itself: `/{index}/_bulk` and the
/// parameters of the same names.
///
/// They are written into the action lines of the client's items instead of the outgoing URL, because the
/// outgoing request also holds alerts, which they must not touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Defaults {
    /// `/{index}/_bulk`
    pub index: Option<String>,
    /// `/{index}/{type}/_bulk`, of Elasticsearch 7 and before.
    pub kind: Option<String>,
    /// `?pipeline=`
    pub pipeline: Option<String>,
    /// `?routing=`
    pub routing: Option<String>,
    /// `?require_alias=`
    pub require_alias: Option<bool>,
    /// `?require_data_stream=`
    pub require_data_stream: Option<bool>,
}

impl Defaults {
    /// The parameters as they stand in a URL; empty if there are none.
    #[must_use]
    pub fn query(&self) -> String {
        let mut query = String::new();
        let mut add = |name: &str, value: Option<&str>| {
            if let Some(value) = value {
                let value = utf8_percent_encode(value, NON_ALPHANUMERIC);
                let joint = if query.is_empty() { "" } else { "&" };
                query.push_str(&format!("{joint}{name}={value}"));
            }
        };
        let flag = |value: Option<bool>| value.map(|it| if it { "true" } else { "false" });
        add("pipeline", self.pipeline.as_deref());
        add("routing", self.routing.as_deref());
        add("require_alias", flag(self.require_alias));
        add("require_data_stream", flag(self.require_data_stream));
        query
    }

    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// One action line, understood.
#[derive(Clone, Debug)]
pub struct Action<'a> {
    /// What is asked.
    pub op: Op,
    /// Where to; from the line, else from the URL.
    pub index: Cow<'a, str>,
    /// The client's `_id`, if it gave one.
    pub id: Option<Cow<'a, str>>,
    line: &'a str,
    /// Parameters that are not null. Logstash writes `"_id":null,"routing":null` into every action.
    params: Vec<Member<'a>>,
}

impl<'a> Action<'a> {
    /// Understands an action line, or says why Elasticsearch would not. Elasticsearch refuses the whole request
    /// for most of these; here they cost one item.
    pub(super) fn parse(line: &'a str, defaults: &Defaults) -> Result<Self, Refusal> {
        let mut outer = Vec::with_capacity(1);
        if let Err(error) = json::object(line, ACTION_DEPTH_MAX, &mut outer) {
            return Err(malformed(format!("the action line is no action: {error}")));
        }
        let [only] = outer.as_slice() else {
            return Err(malformed("the action line must be an object with one member".into()));
        };
        let op = only.key().and_then(|name| Op::from_name(&name));
        let Some(op) = op else {
            return Err(malformed(format!(
                "unknown action [{}]: use create, index, update or delete",
                only.raw_key
            )));
        };
        if json::kind(only.value) != Kind::Object {
            return Err(malformed(format!("the value of [{}] must be an object", op.name())));
        }
        let params: Vec<_> =
            json::members(only.value).filter(|it| json::kind(it.value) != Kind::Null).collect();
        for (index, param) in params.iter().enumerate() {
            check_param(param)?;
            if params.iter().take(index).any(|it| it.raw_key == param.raw_key) {
                let reason = format!("the action line has [{}] twice", param.raw_key);
                return Err(malformed(reason));
            }
        }
        let index = match param(&params, &["_index", "index"]) {
            Some(index) => index,
            None => defaults.index.clone().map(Cow::Owned).unwrap_or_default(),
        };
        // Elasticsearch looks at it in `index` only (8.19, `BulkRequestParser`).
        let op = match (op, param(&params, &["op_type"]).as_deref()) {
            (Op::Index, Some("create")) => Op::Create,
            _ => op,
        };
        let action = Self { op, index, id: param(&params, &["_id"]), line, params };
        action.check_rules()?;
        Ok(action)
    }

    /// Rules that Elasticsearch 8.19 checks for the request as a whole (`IndexRequest.validate` and its
    /// siblings), so that one item breaking them would fail all.
    fn check_rules(&self) -> Result<(), Refusal> {
        if self.index.is_empty() {
            return Err(validation("index is missing: name it as _index or in the URL"));
        }
        match &self.id {
            Some(id) if id.is_empty() => {
                return Err(malformed("_id must not be empty: leave it out".into()));
            }
            Some(id) if id.len() > ID_BYTES_MAX => {
                return Err(validation(&format!(
                    "_id is {} bytes long, no more than {ID_BYTES_MAX} are allowed",
                    id.len()
                )));
            }
            None if matches!(self.op, Op::Update | Op::Delete) => {
                return Err(validation("_id is missing: update and delete need one"));
            }
            _ => (),
        }
        if self.op == Op::Create && self.has_version() {
            return Err(validation("create takes no version: leave it out or use index"));
        }
        Ok(())
    }

    fn has_version(&self) -> bool {
        let names = [
            "version",
            "_version",
            "version_type",
            "_version_type",
            "if_seq_no",
            "if_primary_term",
        ];
        self.params.iter().any(|it| names.contains(&it.raw_key))
    }

    /// Whether doing it twice is as good as once. A script may count up, and a condition on a version that was
    /// met the first time is not met the second time.
    #[must_use]
    pub fn is_repeatable(&self) -> bool {
        self.op != Op::Update && !self.has_version()
    }

    /// Appends the action line as it goes to Elasticsearch when the item stays what the client asked for.
    pub fn write(&self, defaults: &Defaults, out: &mut String) {
        if defaults.is_empty() {
            out.push_str(self.line);
            return;
        }
        self.write_as(self.op, &self.index, self.id.as_deref(), defaults, out, |_| true);
    }

    /// Appends a `create` line for `index`, keeping of the client's parameters only what has a meaning there:
    /// its `_id` (or `id`), its pipeline, its dynamic templates.
    pub fn write_rerouted(
        &self,
        index: &str,
        id: Option<&str>,
        defaults: &Defaults,
        out: &mut String,
    ) {
        let defaults = Defaults { pipeline: defaults.pipeline.clone(), ..Defaults::default() };
        self.write_as(Op::Create, index, id, &defaults, out, |name| {
            matches!(name, "pipeline" | "dynamic_templates")
        });
    }

    /// Appends the line as the client wrote it, but with `id`, which we made.
    pub fn write_with_id(&self, op: Op, id: &str, defaults: &Defaults, out: &mut String) {
        self.write_as(op, &self.index, Some(id), defaults, out, |_| true);
    }

    /// Appends the line as the client wrote it, but without an `_id`: for one of several documents.
    pub fn write_without_id(&self, defaults: &Defaults, out: &mut String) {
        self.write_as(self.op, &self.index, None, defaults, out, |_| true);
    }

    fn write_as(
        &self,
        op: Op,
        index: &str,
        id: Option<&str>,
        defaults: &Defaults,
        out: &mut String,
        keep: impl Fn(&str) -> bool,
    ) {
        out.push_str("{\"");
        out.push_str(op.name());
        out.push_str("\":{\"_index\":");
        json::push_string(out, index);
        if let Some(id) = id {
            out.push_str(",\"_id\":");
            json::push_string(out, id);
        }
        for param in &self.params {
            if matches!(param.raw_key, "_index" | "index" | "_id" | "op_type")
                || !keep(param.raw_key)
            {
                continue;
            }
            out.push_str(",\"");
            out.push_str(param.raw_key);
            out.push_str("\":");
            out.push_str(param.value);
        }
        let says = |names: &[&str]| self.params.iter().any(|it| names.contains(&it.raw_key));
        let mut default_text = |name: &str, names: &[&str], value: Option<&str>| {
            if let Some(value) = value.filter(|_| !says(names)) {
                out.push_str(",\"");
                out.push_str(name);
                out.push_str("\":");
                json::push_string(out, value);
            }
        };
        if op.has_source() && op != Op::Update {
            default_text("pipeline", &["pipeline"], defaults.pipeline.as_deref());
        }
        default_text("_type", &["_type"], defaults.kind.as_deref().filter(|it| *it != "_doc"));
        default_text("routing", &["routing", "_routing"], defaults.routing.as_deref());
        let mut default_flag = |name: &str, value: Option<bool>| {
            if let Some(value) = value.filter(|_| op.has_source() && !says(&[name])) {
                out.push_str(",\"");
                out.push_str(name);
                out.push_str(if value { "\":true" } else { "\":false" });
            }
        };
        default_flag("require_alias", defaults.require_alias);
        default_flag("require_data_stream", defaults.require_data_stream);
        out.push_str("}}");
    }
}

/// Whether a line is an action beyond doubt: one of the four names, with nothing but known parameters.
pub(super) fn is_action(line: &str) -> bool {
    let placeholder = Defaults { index: Some("i".into()), ..Defaults::default() };
    Action::parse(line, &placeholder).is_ok()
}

/// What an answer can repeat of an action line that is refused: the client's name for the action, if it shows
/// one, its `_index` and its `_id`.
pub(super) fn shown<'a>(line: &'a str, defaults: &Defaults) -> (Option<Cow<'a, str>>, Shown<'a>) {
    let mut outer = Vec::with_capacity(1);
    let known = json::object(line, ACTION_DEPTH_MAX, &mut outer).is_ok();
    let [only] = outer.as_slice() else { return (None, Shown::default()) };
    let params: Vec<_> = json::members(only.value)
        .filter(|it| !matches!(json::kind(it.value), Kind::Null | Kind::Object | Kind::Array))
        .collect();
    let index = param(&params, &["_index", "index"]);
    let index = index.or_else(|| defaults.index.clone().map(Cow::Owned));
    (only.key().filter(|_| known), Shown { index, id: param(&params, &["_id"]) })
}

fn param<'a>(params: &[Member<'a>], names: &[&str]) -> Option<Cow<'a, str>> {
    let value = params.iter().rev().find(|it| names.contains(&it.raw_key))?.value;
    // Elasticsearch takes a number or a boolean for a text, as it is written.
    Some(json::string(value).unwrap_or(Cow::Borrowed(value)))
}

/// Parameters of Elasticsearch 6.8 to 9.4 (`BulkRequestParser`). An unknown one fails the whole request there.
fn check_param(param: &Member<'_>) -> Result<(), Refusal> {
    let nested = match param.raw_key {
        "_index"
        | "index"
        | "_id"
        | "_type"
        | "routing"
        | "_routing"
        | "version"
        | "_version"
        | "version_type"
        | "_version_type"
        | "pipeline"
        | "op_type"
        | "if_seq_no"
        | "if_primary_term"
        | "retry_on_conflict"
        | "_retry_on_conflict"
        | "require_alias"
        | "require_data_stream"
        | "list_executed_pipelines"
        | "parent"
        | "_parent" => false,
        "dynamic_templates" | "_source" | "fields" => true,
        unknown => {
            return Err(malformed(format!("the action line has an unknown parameter [{unknown}]")));
        }
    };
    match json::kind(param.value) {
        Kind::Object | Kind::Array if !nested => Err(malformed(format!(
            "the value of [{}] in the action line must be a plain value",
            param.raw_key
        ))),
        Kind::String if json::string(param.value).is_none() => Err(malformed(format!(
            "the value of [{}] in the action line holds half a surrogate pair",
            param.raw_key
        ))),
        _ => Ok(()),
    }
}

fn malformed(reason: String) -> Refusal {
    Refusal { status: 400, kind: "illegal_argument_exception", reason }
}

fn validation(reason: &str) -> Refusal {
    Refusal { status: 400, kind: "action_request_validation_exception", reason: reason.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn parsed(line: &str) -> Action<'_> {
        Action::parse(line, &Defaults::default()).unwrap()
    }

    #[track_caller]
    fn refused(line: &str, reason: &str) {
        let refusal = Action::parse(line, &Defaults::default()).unwrap_err();
        assert_eq!(refusal.status, 400);
        assert!(refusal.reason.contains(reason), "{line}: {}", refusal.reason);
    }

    #[test]
    fn lines_of_real_clients() {
        let filebeat = parsed(r#"{"create":{"_index":"filebeat-7.17.29"}}"#);
        assert_eq!(
            (filebeat.op, filebeat.index.as_ref(), filebeat.id),
            (Op::Create, "filebeat-7.17.29", None)
        );
        let logstash =
            parsed(r#"{"create":{"_id":null,"_index":"logs-generic-default","routing":null}}"#);
        assert_eq!((logstash.index.as_ref(), logstash.id), ("logs-generic-default", None));
        let rsyslog = parsed(r#" {"index":{"_index": "logs-x", "_id": 7}} "#);
        assert_eq!((rsyslog.op, rsyslog.id.as_deref()), (Op::Index, Some("7")));
        let defaults = Defaults { index: Some("logs-x".into()), ..Defaults::default() };
        assert_eq!(Action::parse(r#"{"create":{}}"#, &defaults).unwrap().index, "logs-x");
    }

    #[test]
    fn what_would_fail_the_whole_request_costs_one_item() {
        refused("hello", "no action");
        refused("[]", "no action");
        refused("{}", "one member");
        refused(r#"{"frobnicate":{"_index":"x"}}"#, "unknown action [frobnicate]");
        refused(r#"{"index":1}"#, "must be an object");
        refused(r#"{"index":{"_index":"x","color":"red"}}"#, "unknown parameter [color]");
        refused(r#"{"index":{"_index":["x"]}}"#, "plain value");
        refused(r#"{"index":{}}"#, "index is missing");
        refused(r#"{"index":{"_index":"x","_index":"y"}}"#, "[_index] twice");
        refused(r#"{"index":{"\u005findex":"x"}}"#, "unknown parameter");
        refused(r#"{"index":{"_index":"x","_id":""}}"#, "must not be empty");
        refused(
            &format!(r#"{{"index":{{"_index":"x","_id":"{}"}}}}"#, "i".repeat(513)),
            "513 bytes",
        );
        refused(r#"{"delete":{"_index":"x"}}"#, "_id is missing");
        refused(r#"{"create":{"_index":"x","version":3}}"#, "no version");
        refused(r#"{"index":{"_index":"x","_id":"\ud800"}}"#, "half a surrogate");
    }

    #[test]
    fn a_create_by_another_name_stays_one() {
        let action = parsed(r#"{"index":{"_index":"i","_id":"1","op_type":"create"}}"#);
        assert_eq!(action.op, Op::Create);
        let mut out = String::new();
        let defaults = Defaults { routing: Some("r".into()), ..Defaults::default() };
        action.write(&defaults, &mut out);
        assert_eq!(out, r#"{"create":{"_index":"i","_id":"1","routing":"r"}}"#);
        assert_eq!(parsed(r#"{"index":{"_index":"i","op_type":"index"}}"#).op, Op::Index);
    }

    #[test]
    fn an_untouched_line_is_written_as_it_came() {
        let line = r#"{"index":{"_index": "logs-x", "routing":null}}"#;
        let mut out = String::new();
        parsed(line).write(&Defaults::default(), &mut out);
        assert_eq!(out, line);
    }

    #[test]
    fn parameters_of_the_url_move_into_the_line() {
        let defaults = Defaults {
            index: Some("logs-x".into()),
            pipeline: Some("p\"1".into()),
            routing: Some("r".into()),
            require_alias: Some(true),
            ..Defaults::default()
        };
        let mut out = String::new();
        Action::parse(r#"{"create":{"_id":"a","routing":"own"}}"#, &defaults)
            .unwrap()
            .write(&defaults, &mut out);
        let expected = concat!(
            r#"{"create":{"_index":"logs-x","_id":"a","routing":"own","#,
            r#""pipeline":"p\"1","require_alias":true}}"#
        );
        assert_eq!(out, expected);
        out.clear();
        Action::parse(r#"{"delete":{"_id":"a"}}"#, &defaults).unwrap().write(&defaults, &mut out);
        assert_eq!(out, r#"{"delete":{"_index":"logs-x","_id":"a","routing":"r"}}"#);
    }

    #[test]
    fn a_rerouted_line_keeps_what_has_a_meaning_there() {
        let line = r#"{"index":{"_index":"a","_id":"i","routing":"r","require_alias":true,"pipeline":"p","version":3}}"#;
        let mut out = String::new();
        parsed(line).write_rerouted("logs-b", Some("i"), &Defaults::default(), &mut out);
        assert_eq!(out, r#"{"create":{"_index":"logs-b","_id":"i","pipeline":"p"}}"#);
    }
}

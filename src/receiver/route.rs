use hyper::Method;
use percent_encoding::percent_decode_str;
use serde::Deserialize;

use super::Input;
use crate::bulk::{Defaults, Op};

/// Which requests that are no bulk requests are passed on to Elasticsearch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Passing {
    /// All of them.
    pub all: bool,
    /// Besides those of shippers.
    pub also: Vec<Pattern>,
}

/// See [`Passing`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PassThrough {
    /// What shippers ask when they start and when they write.
    #[default]
    Shippers,
    /// Everything.
    All,
}

/// A method and a path in which `*` stands for any text: `DELETE /my-*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    method: String,
    path: String,
}

impl Pattern {
    /// Reads `METHOD /path`; `None` if it is something else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (method, path) = text.trim().split_once(' ')?;
        let is_method = !method.is_empty() && method.bytes().all(|it| it.is_ascii_uppercase());
        let path = path.trim();
        (is_method && path.starts_with('/'))
            .then(|| Self { method: method.to_owned(), path: path.to_owned() })
    }

    fn matches(&self, method: &Method, path: &str) -> bool {
        self.method == method.as_str() && like(&self.path, path)
    }
}

/// Whether a text is like a pattern with `*` for any text. Takes time in proportion to both together.
fn like(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else { return false };
        rest = rest.get(at + part.len()..).unwrap_or_default();
    }
    true
}

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// `/_bulk`, `/{index}/_bulk`, `/{index}/{type}/_bulk`
    Bulk(Defaults),
    /// One document to be stored.
    Document(Document),
    /// Events that are pushed to us.
    Push(PushTarget),
    /// To Elasticsearch as it is.
    Pass(Pass),
    /// Nowhere.
    Refused,
    /// The path cannot be read.
    Malformed,
}

/// `/{index}/_doc`, `/{index}/_doc/{id}`, `/{index}/_create/{id}`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Document {
    pub(super) op: Op,
    pub(super) index: String,
    pub(super) id: Option<String>,
}

/// POST `/audit`, `/firehose`, `/pubsub`, each also with `/{cluster}`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PushTarget {
    pub(super) input: Input,
    /// The name of the cluster.
    pub(super) cluster: Option<String>,
}

/// What a request that is passed on is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pass {
    /// Asks what stays the same for a while: its answer is kept for when Elasticsearch is down.
    Steady,
    /// Asks for the nodes' addresses, which lead round us.
    Nodes,
    /// Asks for something else.
    Read,
    /// Changes something that shippers set up.
    SetUp,
    /// Changes a document.
    Write,
    /// Allowed by the configuration.
    Other,
}

/// Finds out where a request goes. The parts of its path are read as Elasticsearch reads them: decoded, the empty
/// ones left out.
pub(super) fn route(method: &Method, path: &str, passing: &Passing) -> Route {
    // `OPTIONS *` and `CONNECT host:port` name nothing that Elasticsearch has.
    if !path.starts_with('/') {
        return Route::Refused;
    }
    let decoded = |part| Some(percent_decode_str(part).decode_utf8().ok()?.into_owned());
    let parts: Option<Vec<String>> =
        path.split('/').filter(|it| !it.is_empty()).map(decoded).collect();
    let Some(parts) = parts.filter(|_| !has_broken_percent(path)) else { return Route::Malformed };
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let puts = matches!(*method, Method::POST | Method::PUT);
    if puts && let Some(route) = written(method, &parts) {
        return route;
    }
    if let Some(pass) = of_shippers(method, &parts) {
        return Route::Pass(pass);
    }
    let plain = format!("/{}", parts.join("/"));
    if passing.all || passing.also.iter().any(|it| it.matches(method, &plain)) {
        return Route::Pass(Pass::Other);
    }
    Route::Refused
}

/// Whether a percent sign stands for nothing: two programs may read such a path in two ways.
fn has_broken_percent(path: &str) -> bool {
    path.split('%')
        .skip(1)
        .any(|it| !it.bytes().take(2).all(|it| it.is_ascii_hexdigit()) || it.len() < 2)
}

/// The indices, aliases and data streams that a path names.
pub(super) fn names(path: &str) -> Vec<String> {
    let decoded = |part| percent_decode_str(part).decode_utf8_lossy().into_owned();
    let parts: Vec<String> = path.split('/').filter(|it| !it.is_empty()).map(decoded).collect();
    let names: &[&String] = match parts.as_slice() {
        [first, name, ..] if first == "_data_stream" => &[name],
        [index, what, alias] if is_name(index) && what.starts_with("_alias") => &[index, alias],
        // What they change or tell is not in the path: only for who may write everything.
        [first, ..] if first == "_aliases" => &[first],
        [first, what, ..] if first == "_cat" && what != "health" => &[first],
        [index, ..] if is_name(index) => &[index],
        _ => &[],
    };
    names.iter().map(|it| (*it).clone()).collect()
}

fn is_name(part: &str) -> bool {
    !part.starts_with('_')
}

fn written(method: &Method, parts: &[&str]) -> Option<Route> {
    let bulk = |index: Option<&str>, kind: Option<&str>| {
        Route::Bulk(Defaults {
            index: index.map(str::to_owned),
            kind: kind.map(str::to_owned),
            ..Defaults::default()
        })
    };
    let document = |op, index: &str, id: Option<&str>| {
        Route::Document(Document { op, index: index.to_owned(), id: id.map(str::to_owned) })
    };
    match parts {
        ["_bulk"] => Some(bulk(None, None)),
        [index, "_bulk"] if is_name(index) => Some(bulk(Some(index), None)),
        [index, kind, "_bulk"] if is_name(index) => Some(bulk(Some(index), Some(kind))),
        [index, "_doc"] if is_name(index) && *method == Method::POST => {
            Some(document(Op::Index, index, None))
        }
        [index, "_doc", id] if is_name(index) => Some(document(Op::Index, index, Some(id))),
        [index, "_create", id] if is_name(index) => Some(document(Op::Create, index, Some(id))),
        [first] => push(method, first, None),
        [first, cluster] if is_name(cluster) => push(method, first, Some(cluster)),
        _ => None,
    }
}

/// Elasticsearch since 8 has nothing at such a path: an index is made with PUT, a document is stored with `_doc`. In
/// one of 7, an index called so cannot be given documents with types, one at a time, through us.
fn push(method: &Method, first: &str, cluster: Option<&str>) -> Option<Route> {
    let input = match first {
        "audit" => Input::Webhook,
        "firehose" => Input::Firehose,
        "pubsub" => Input::Pubsub,
        _ => return None,
    };
    let cluster = cluster.map(str::to_owned);
    (*method == Method::POST).then_some(Route::Push(PushTarget { input, cluster }))
}

/// The requests of shippers: `CLIENTS` of the README names those that were looked at.
fn of_shippers(method: &Method, parts: &[&str]) -> Option<Pass> {
    match *method {
        Method::GET | Method::HEAD => match parts {
            [] | ["_license" | "_xpack"] => Some(Pass::Steady),
            ["_nodes", ..] => {
                matches!(parts, [_] | [_, "http"] | [_, _, "http"]).then_some(Pass::Nodes)
            }
            ["_index_template" | "_template" | "_component_template" | "_data_stream", ..]
            | ["_alias" | "_aliases", ..]
            | ["_ingest", "pipeline", ..]
            | ["_ilm", "policy" | "status", ..]
            | ["_logstash", "pipeline", ..]
            | ["_plugins" | "_opendistro", "_ism", "policies", ..] => Some(Pass::Steady),
            ["_cluster", "health", ..] | ["_cat", ..] | ["_security", "_authenticate"] => {
                Some(Pass::Read)
            }
            [index] if is_name(index) => Some(Pass::Steady),
            [index, "_alias" | "_aliases" | "_mapping" | "_mappings" | "_settings", ..]
                if is_name(index) =>
            {
                Some(Pass::Steady)
            }
            _ => None,
        },
        Method::PUT | Method::POST => match parts {
            ["_index_template" | "_template" | "_component_template" | "_data_stream", _]
            | ["_ingest", "pipeline", _]
            | ["_ilm", "policy", _]
            | ["_plugins" | "_opendistro", "_ism", "policies", _]
            | ["_aliases"] => Some(Pass::SetUp),
            [index] if is_name(index) && *method == Method::PUT => Some(Pass::SetUp),
            [index, "_alias" | "_aliases", _] | [index, "_mapping" | "_mappings"]
                if is_name(index) =>
            {
                Some(Pass::SetUp)
            }
            [index, "_rollover", ..] if is_name(index) => Some(Pass::SetUp),
            [index, "_refresh" | "_flush"] if is_name(index) => Some(Pass::Write),
            [index, "_update", _] if is_name(index) => Some(Pass::Write),
            // Elasticsearch 6 and 7: documents with types. Later ones refuse them.
            [index, kind] | [index, kind, _] | [index, kind, _, "_create" | "_update"]
                if is_name(index) && is_name(kind) =>
            {
                Some(Pass::Write)
            }
            _ => None,
        },
        Method::DELETE => {
            matches!(parts, [index, "_doc", _] if is_name(index)).then_some(Pass::Write)
        }
        Method::OPTIONS => Some(Pass::Read),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(method: Method, path: &str) -> Route {
        route(&method, path, &Passing::default())
    }

    #[test]
    fn bulk_requests_however_they_are_spelled() {
        let bulk = |path| match of(Method::PUT, path) {
            Route::Bulk(defaults) => Some((defaults.index, defaults.kind)),
            _ => None,
        };
        for path in ["/_bulk", "/_bulk/", "//_bulk", "/%5fbulk"] {
            assert_eq!(bulk(path), Some((None, None)), "{path}");
        }
        assert_eq!(bulk("/logs-x/_bulk"), Some((Some("logs-x".into()), None)));
        assert_eq!(bulk("/logs-x/_doc/_bulk"), Some((Some("logs-x".into()), Some("_doc".into()))));
        let dated = Some("<logs-{now/d}>".to_owned());
        assert_eq!(bulk("/%3Clogs-%7Bnow%2Fd%7D%3E/_bulk"), Some((dated, None)));
        for path in ["/a%zz/_bulk", "/%ff/_bulk", "/a%4/_bulk", "/_bulk%"] {
            assert_eq!(of(Method::POST, path), Route::Malformed, "{path}");
        }
        for path in ["/", "/_bulk/x", "/_all/_bulk"] {
            assert_eq!(bulk(path), None, "{path}");
        }
        assert_eq!(of(Method::GET, "/_bulk"), Route::Refused);
    }

    #[test]
    fn documents() {
        let document = |op, id: Option<&str>| {
            Route::Document(Document { op, index: "a".into(), id: id.map(str::to_owned) })
        };
        assert_eq!(of(Method::POST, "/a/_doc"), document(Op::Index, None));
        assert_eq!(of(Method::PUT, "/a/_doc/1%2F2"), document(Op::Index, Some("1/2")));
        assert_eq!(of(Method::POST, "/a/_create/1"), document(Op::Create, Some("1")));
        assert_eq!(of(Method::POST, "/a/_update/1"), Route::Pass(Pass::Write));
        assert_eq!(of(Method::DELETE, "/a/_doc/1"), Route::Pass(Pass::Write));
    }

    #[test]
    fn shippers_start() {
        for (method, path, expected) in [
            ("GET", "/", Pass::Steady),
            ("HEAD", "/", Pass::Steady),
            ("GET", "/_license", Pass::Steady),
            ("GET", "/_ilm/policy/filebeat", Pass::Steady),
            ("PUT", "/_ilm/policy/filebeat", Pass::SetUp),
            ("HEAD", "/_index_template/filebeat-7.17.29", Pass::Steady),
            ("PUT", "/_index_template/filebeat-7.17.29", Pass::SetUp),
            ("GET", "/_alias/filebeat-7.17.29", Pass::Steady),
            ("HEAD", "/filebeat-7.17.29", Pass::Steady),
            ("PUT", "/%3Cfilebeat-7.17.29-%7Bnow%2Fd%7D-000001%3E", Pass::SetUp),
            ("PUT", "/_ingest/pipeline/filebeat-x", Pass::SetUp),
            ("GET", "/_nodes/http", Pass::Nodes),
            ("GET", "/_nodes/_all/http", Pass::Nodes),
            ("GET", "/_cluster/health", Pass::Read),
            ("GET", "/_cat/health", Pass::Read),
        ] {
            let method: Method = method.parse().unwrap();
            assert_eq!(of(method.clone(), path), Route::Pass(expected), "{method} {path}");
        }
    }

    #[test]
    fn what_is_no_path_goes_nowhere() {
        let all = Passing { all: true, also: vec![Pattern::parse("OPTIONS /*").unwrap()] };
        for (method, path) in [(Method::OPTIONS, "*"), (Method::CONNECT, ""), (Method::GET, "")] {
            assert_eq!(route(&method, path, &all), Route::Refused, "{method} {path}");
        }
    }

    #[test]
    fn nothing_else_passes_unless_it_is_configured() {
        for (method, path) in [
            ("DELETE", "/logs-x"),
            ("DELETE", "/_index_template/x"),
            ("PUT", "/_snapshot/x"),
            ("PUT", "/%5Fsnapshot/x"),
            ("PUT", "//_security/user/x"),
            ("POST", "/_security/api_key"),
            ("PUT", "/_scripts/x"),
            ("POST", "/_reindex"),
            ("POST", "/a/_delete_by_query"),
            ("POST", "/a/_search"),
            ("GET", "/a/_search"),
            ("GET", "/_search"),
            ("GET", "/a/_doc/1"),
            ("GET", "/_nodes/stats"),
            ("POST", "/_cluster/reroute"),
            ("PUT", "/_cluster/settings"),
            ("POST", "/_all/_doc"),
            ("CONNECT", "/"),
        ] {
            let method: Method = method.parse().unwrap();
            assert_eq!(of(method.clone(), path), Route::Refused, "{method} {path}");
            let all = Passing { all: true, also: Vec::new() };
            assert_eq!(route(&method, path, &all), Route::Pass(Pass::Other));
        }
        let also = |text| Passing { all: false, also: vec![Pattern::parse(text).unwrap()] };
        let asked =
            |text, method: Method, path| route(&method, path, &also(text)) != Route::Refused;
        assert!(asked("DELETE /my-*", Method::DELETE, "/my%2Dindex"));
        assert!(!asked("DELETE /my-*", Method::DELETE, "/your-index"));
        assert!(!asked("DELETE /my-*", Method::POST, "/my-a/_search"));
        assert!(asked("POST /*/_search", Method::POST, "/a/_search"));
        assert_eq!(Pattern::parse("delete /x"), None);
        assert_eq!(Pattern::parse("GET x"), None);
    }

    #[test]
    fn pushes() {
        for (path, input, cluster) in [
            ("/audit", Input::Webhook, None),
            ("/audit/", Input::Webhook, None),
            ("/audit/prod%20eu%2F1", Input::Webhook, Some("prod eu/1")),
            ("/firehose", Input::Firehose, None),
            ("/firehose/demo", Input::Firehose, Some("demo")),
            ("/pubsub/demo", Input::Pubsub, Some("demo")),
        ] {
            let target = PushTarget { input, cluster: cluster.map(str::to_owned) };
            assert_eq!(of(Method::POST, path), Route::Push(target), "{path}");
        }
        // Indices may be called so.
        assert!(matches!(of(Method::POST, "/audit/_bulk"), Route::Bulk(_)));
        assert!(matches!(of(Method::POST, "/audit/_doc"), Route::Document(_)));
        assert_eq!(of(Method::PUT, "/audit"), Route::Pass(Pass::SetUp));
        assert_eq!(of(Method::GET, "/audit"), Route::Pass(Pass::Steady));
        for (method, path) in
            [(Method::PUT, "/audit/a"), (Method::POST, "/audit/a/b"), (Method::POST, "/audits")]
        {
            assert!(!matches!(of(method, path), Route::Push(_)), "{path}");
        }
    }

    #[test]
    fn patterns() {
        for (pattern, text, expected) in [
            ("/a", "/a", true),
            ("/a", "/ab", false),
            ("/a*", "/a", true),
            ("*", "", true),
            ("/*/_doc/*", "/x/_doc/1", true),
            ("/a*a", "/a", false),
            ("/*b*b", "/b", false),
        ] {
            assert_eq!(like(pattern, text), expected, "{pattern} {text}");
        }
    }
}

use hyper::{HeaderMap, Method};

use super::{Reply, respond};

/// Answers in Elasticsearch's place when the output is a file: enough for shippers to start. Templates,
/// policies and pipelines mean nothing to a file, so they are acknowledged and not kept.
pub(super) fn answer(method: &Method, path: &str, headers: &HeaderMap) -> Reply {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    let (status, body) = match path.trim_end_matches('/') {
        "" if reads => (200, ROOT),
        "/_license" if reads => (200, LICENSE),
        "/_xpack" if reads => (200, XPACK),
        "/_cluster/health" | "/_cat/health" if reads => (200, HEALTH),
        "/_nodes/http" if reads => (200, r#"{"nodes":{}}"#),
        _ if reads => (404, NOT_FOUND),
        path if *method == Method::PUT && is_setup(path) => (200, r#"{"acknowledged":true}"#),
        _ => (400, NO_CLUSTER),
    };
    respond::json(status, if *method == Method::HEAD { "" } else { body }, headers)
}

fn is_setup(path: &str) -> bool {
    let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    matches!(
        first,
        "_template"
            | "_index_template"
            | "_component_template"
            | "_ilm"
            | "_ingest"
            | "_data_stream"
    ) || !first.starts_with('_') && path.trim_matches('/') == first
}

const ROOT: &str = concat!(
    r#"{"name":"k8scop","cluster_name":"k8scop","cluster_uuid":"k8scop-file-output-00","version":{"number":"8.19.0","#,
    r#""build_flavor":"default","build_type":"k8scop","build_hash":"unknown","build_date":"2026-01-01T00:00:00.000Z","#,
    r#""build_snapshot":false,"lucene_version":"9.12.2","minimum_wire_compatibility_version":"7.17.0","#,
    r#""minimum_index_compatibility_version":"7.0.0"},"tagline":"You Know, for Search"}"#
);
const LICENSE: &str = r#"{"license":{"status":"active","uid":"00000000-0000-4000-8000-000000000000","type":"basic","issue_date":"2026-01-01T00:00:00.000Z","issue_date_in_millis":1767225600000,"max_nodes":1000,"issued_to":"k8scop","issuer":"k8scop","start_date_in_millis":-1}}"#;
const XPACK: &str = r#"{"build":{},"license":{"uid":"00000000-0000-4000-8000-000000000000","type":"basic","mode":"basic","status":"active"},"features":{"ilm":{"available":false,"enabled":false}},"tagline":"You know, for X"}"#;
const HEALTH: &str = r#"{"cluster_name":"k8scop","status":"green","timed_out":false,"number_of_nodes":1,"number_of_data_nodes":1}"#;
const NOT_FOUND: &str = r#"{"error":{"root_cause":[],"type":"resource_not_found_exception","reason":"the output of k8scop is a file: nothing else is here"},"status":404}"#;
const NO_CLUSTER: &str = r#"{"error":{"root_cause":[],"type":"illegal_argument_exception","reason":"the output of k8scop is a file: it takes bulk requests only"},"status":400}"#;

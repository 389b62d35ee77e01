use crate::json::{self, Kind};

/// Deepest answer that is read (levels).
const DEPTH_MAX: usize = 32;

/// The answer to `GET /_nodes/http` with one node in it, which is at `address`: ours, as the client spells it. A
/// client that sniffs would otherwise go round us.
///
/// What is no such answer stays as it is, but without any address of Elasticsearch.
pub(super) fn as_ours(body: &[u8], address: &str) -> String {
    let text = String::from_utf8_lossy(body);
    if json::check(&text, DEPTH_MAX) != Ok(Kind::Object) {
        return String::from("{}");
    }
    let nodes = json::get(&text, "nodes").unwrap_or("{}");
    let of_data = |value: &str| {
        let roles = json::get(value, "roles").unwrap_or("[]");
        json::elements(roles).any(|it| it.contains("data") || it.contains("ingest"))
    };
    // Clients leave out nodes that are masters only.
    let node =
        json::members(nodes).find(|it| of_data(it.value)).or_else(|| json::members(nodes).next());
    let mut out = String::from("{\"_nodes\":{\"total\":1,\"successful\":1,\"failed\":0}");
    if let Some(name) = json::get(&text, "cluster_name") {
        out.push_str(",\"cluster_name\":");
        out.push_str(name);
    }
    out.push_str(",\"nodes\":{");
    if let Some(node) = node.filter(|_| !address.is_empty()) {
        out.push('"');
        out.push_str(node.raw_key);
        out.push_str("\":{\"name\":\"k8scop\"");
        for name in ["version", "build_flavor", "build_type", "build_hash", "roles"] {
            if let Some(value) = json::get(node.value, name) {
                out.push_str(",\"");
                out.push_str(name);
                out.push_str("\":");
                out.push_str(value);
            }
        }
        out.push_str(",\"http\":{\"bound_address\":[");
        json::push_string(&mut out, address);
        out.push_str("],\"publish_address\":");
        json::push_string(&mut out, address);
        let http = json::get(node.value, "http").unwrap_or("{}");
        if let Some(value) = json::get(http, "max_content_length_in_bytes") {
            out.push_str(",\"max_content_length_in_bytes\":");
            out.push_str(value);
        }
        out.push_str("}}");
    }
    out.push_str("}}");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_node_at_our_address() {
        let answer = br#"{"_nodes":{"total":2},"cluster_name":"c","nodes":{
            "m":{"name":"m","transport_address":"10.0.0.1:9300","host":"10.0.0.1","ip":"10.0.0.1","roles":["master"],"http":{"publish_address":"10.0.0.1:9200"}},
            "d":{"name":"d","transport_address":"10.0.0.2:9300","version":"8.19.21","roles":["data_hot"],"http":{"bound_address":["[::]:9200"],"publish_address":"es/10.0.0.2:9200","max_content_length_in_bytes":1}}}}"#;
        assert_eq!(
            as_ours(answer, "k8scop:9250"),
            concat!(
                r#"{"_nodes":{"total":1,"successful":1,"failed":0},"cluster_name":"c","nodes":{"d":{"name":"k8scop","version":"8.19.21","roles":["data_hot"],"#,
                r#""http":{"bound_address":["k8scop:9250"],"publish_address":"k8scop:9250","max_content_length_in_bytes":1}}}}"#
            )
        );
        assert!(!as_ours(answer, "").contains("10.0.0"));
        assert_eq!(as_ours(b"<html>10.0.0.1", "a:1"), "{}");
        assert!(as_ours(b"{}", "a:1").ends_with(r#""nodes":{}}"#));
    }
}

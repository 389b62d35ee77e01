//! Files for others that lead to us: what an API server needs to push its audit events. No I/O.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Url;
use thiserror::Error;

use crate::json;

/// An audit policy (`audit.k8s.io/v1`) that logs what the rules read.
pub const AUDIT_POLICY: &str = include_str!("../pipelines/samples/audit-policy.yaml");

/// What a name may hold as it is in a path (RFC 3986, 2.3).
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Where an API server is to push to, and how it shows who it is. Files are named as they lie on the API server's
/// machine; nothing of them is read here.
#[derive(Clone, Debug, Default)]
pub struct WebhookOptions {
    /// Our address.
    pub url: String,
    /// What the cluster is called in its events.
    pub cluster: Option<String>,
    /// The authority of our certificate, unless the system's will do.
    pub ca_file: Option<String>,
    /// A bearer token.
    pub token_file: Option<String>,
    /// A client certificate.
    pub client_certificate: Option<String>,
    /// Its key.
    pub client_key: Option<String>,
}

/// Options that cannot be meant.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ExportError {
    /// Where to.
    #[error("--url: needs http:// or https:// and a host, such as https://k8scop.example:9250")]
    Url,
    /// A credential in it would be shown.
    #[error("--url: must hold no user and no password: give --token-file or --client-certificate")]
    Credentials,
    /// They would not be sent.
    #[error("--url: an API server shows a token or a certificate over https:// only")]
    NeedsTls,
    /// It would stand there twice.
    #[error("--url: leave /audit out: it is added, and --cluster names the cluster")]
    Path,
    /// No name of a cluster.
    #[error(
        "--cluster: a name has 1 to 256 bytes, does not begin with `_`, and has no control characters"
    )]
    Cluster,
}

/// A kubeconfig for `--audit-webhook-config-file` (Kubernetes 1.35, `pkg/util/webhook`, `LoadKubeconfig`): the path of
/// its server is asked as it is.
pub fn webhook_kubeconfig(options: &WebhookOptions) -> Result<String, ExportError> {
    let mut url = Url::parse(&options.url).map_err(|_no_url| ExportError::Url)?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(ExportError::Url);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(ExportError::Credentials);
    }
    let own = [&options.token_file, &options.client_certificate, &options.client_key];
    // Not even tried over HTTP (client-go 0.35, `tools/clientcmd/client_config.go`, `ClientConfig`).
    if url.scheme() == "http" && own.iter().any(|it| it.is_some()) {
        return Err(ExportError::NeedsTls);
    }
    if url.path_segments().is_some_and(|mut it| it.any(|part| part == "audit")) {
        return Err(ExportError::Path);
    }
    let mut path = format!("{}/audit", url.path().trim_end_matches('/'));
    if let Some(cluster) = &options.cluster {
        let is_good = (1..=256).contains(&cluster.len())
            && !cluster.starts_with('_')
            && !cluster.chars().any(char::is_control);
        if !is_good {
            return Err(ExportError::Cluster);
        }
        path.push('/');
        path.extend(utf8_percent_encode(cluster, IN_PATH));
    }
    url.set_path(&path);
    url.set_query(None);
    url.set_fragment(None);
    let mut out = String::from(
        "# For kube-apiserver, as the file of --audit-webhook-config-file. Events of some seconds go together:\n\
        # --audit-webhook-batch-max-wait says of how many (30 s). What k8scop cannot store it refuses, and the API server\n\
        # sends it again, 5 times in all.\n\
        apiVersion: v1\nkind: Config\nclusters:\n- name: k8scop\n  cluster:\n",
    );
    line(&mut out, "    server", Some(url.as_str()));
    line(&mut out, "    certificate-authority", options.ca_file.as_deref());
    out.push_str("users:\n- name: apiserver\n");
    let credentials = [
        ("    tokenFile", options.token_file.as_deref()),
        ("    client-certificate", options.client_certificate.as_deref()),
        ("    client-key", options.client_key.as_deref()),
    ];
    if credentials.iter().all(|(_, value)| value.is_none()) {
        out.push_str("  user: {}\n");
    } else {
        out.push_str("  user:\n");
        for (name, value) in credentials {
            line(&mut out, name, value);
        }
    }
    out.push_str(
        "contexts:\n- name: k8scop\n  context: {cluster: k8scop, user: apiserver}\ncurrent-context: k8scop\n",
    );
    Ok(out)
}

/// A member with a text; a JSON string is one of YAML, too.
fn line(out: &mut String, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        out.push_str(name);
        out.push_str(": ");
        json::push_string(out, value);
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn server(url: &str, cluster: Option<&str>) -> Result<String, ExportError> {
        let cluster = cluster.map(str::to_owned);
        let options = WebhookOptions { url: url.into(), cluster, ..WebhookOptions::default() };
        let config: Value = yaml_serde::from_str(&webhook_kubeconfig(&options)?).unwrap();
        assert_eq!(config["users"][0]["user"], json!({}));
        Ok(config["clusters"][0]["cluster"]["server"].as_str().unwrap().to_owned())
    }

    #[test]
    fn servers() {
        for (url, cluster, expected) in [
            ("https://k8scop.example:9250", Some("prod"), "https://k8scop.example:9250/audit/prod"),
            ("http://127.0.0.1:9250/", None, "http://127.0.0.1:9250/audit"),
            ("https://a/logs/?x#y", Some("a b/\"ü"), "https://a/logs/audit/a%20b%2F%22%C3%BC"),
        ] {
            assert_eq!(server(url, cluster).as_deref(), Ok(expected));
        }
        for url in ["", "k8scop.example", "ftp://a", "https://", "file:///a"] {
            assert_eq!(server(url, None), Err(ExportError::Url), "{url}");
        }
        assert_eq!(server("https://a/audit/prod", None), Err(ExportError::Path));
        assert_eq!(server("https://a:b@c", None), Err(ExportError::Credentials));
        for cluster in ["", "_bulk", "a\n", &"a".repeat(257)] {
            assert_eq!(server("https://a", Some(cluster)), Err(ExportError::Cluster), "{cluster}");
        }
    }

    #[test]
    fn credentials() {
        let options = WebhookOptions {
            url: "https://a".into(),
            ca_file: Some("/etc/ca \"1\".pem".into()),
            token_file: Some("/etc/token".into()),
            client_certificate: Some("/etc/a.crt".into()),
            client_key: Some("/etc/a.key".into()),
            ..WebhookOptions::default()
        };
        let plain = WebhookOptions { url: "http://a".into(), ..options.clone() };
        assert_eq!(webhook_kubeconfig(&plain), Err(ExportError::NeedsTls));
        let config: Value = yaml_serde::from_str(&webhook_kubeconfig(&options).unwrap()).unwrap();
        assert_eq!(config["clusters"][0]["cluster"]["certificate-authority"], "/etc/ca \"1\".pem");
        let expected = json!({"tokenFile": "/etc/token", "client-certificate": "/etc/a.crt", "client-key": "/etc/a.key"});
        assert_eq!(config["users"][0]["user"], expected);
    }

    /// Which level the policy has for a request of a user in no special group.
    fn level(policy: &Value, verb: &str, group: &str, resource: &str) -> String {
        let has = |list: &Value, text: &str| {
            list.as_array().is_none_or(|it| it.iter().any(|it| it == text))
        };
        let fits = |rule: &Value| {
            let named = rule["resources"].as_array().is_none_or(|it| {
                it.iter().any(|it| it["group"] == group && has(&it["resources"], resource))
            });
            let is_anybodys = rule.get("users").or(rule.get("userGroups")).is_none();
            let is_resource = rule.get("nonResourceURLs").is_none();
            named && is_anybodys && is_resource && has(&rule["verbs"], verb)
        };
        let rule = policy["rules"].as_array().unwrap().iter().find(|it| fits(it)).unwrap();
        rule["level"].as_str().unwrap().to_owned()
    }

    #[test]
    fn the_policy_logs_what_the_rules_read() {
        let policy: Value = yaml_serde::from_str(AUDIT_POLICY).unwrap();
        assert_eq!(
            (&policy["kind"], &policy["apiVersion"]),
            (&json!("Policy"), &json!("audit.k8s.io/v1"))
        );
        for (verb, group, resource, expected) in [
            ("get", "", "secrets", "Metadata"),
            ("create", "", "secrets", "Metadata"),
            ("watch", "", "secrets", "Metadata"),
            ("patch", "", "configmaps", "Metadata"),
            ("create", "", "serviceaccounts/token", "Metadata"),
            ("create", "authentication.k8s.io", "tokenreviews", "Metadata"),
            ("create", "", "pods/exec", "Request"),
            ("get", "", "pods/exec", "Request"),
            ("get", "", "nodes/proxy", "Request"),
            ("create", "", "pods", "Request"),
            ("delete", "apps", "daemonsets", "Request"),
            ("list", "", "pods", "Metadata"),
            ("list", "apps", "daemonsets", "Metadata"),
            ("create", "rbac.authorization.k8s.io", "clusterrolebindings", "RequestResponse"),
            (
                "patch",
                "admissionregistration.k8s.io",
                "mutatingwebhookconfigurations",
                "RequestResponse",
            ),
            ("create", "", "events", "None"),
            ("deletecollection", "", "events", "Metadata"),
            ("delete", "events.k8s.io", "events", "Metadata"),
            ("update", "coordination.k8s.io", "leases", "Metadata"),
            ("create", "example.com", "things", "Metadata"),
        ] {
            assert_eq!(
                level(&policy, verb, group, resource),
                expected,
                "{verb} {group}/{resource}"
            );
        }
    }
}

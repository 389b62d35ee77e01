//! What no audit event ever has: values that are allowed in a rule, and with which it cannot fire.

use super::{
    Field,
    error::nearest,
    modifiers::{Modifiers, Reading},
    pattern::Place,
    yaml::{Node, Value, Wrong},
};

/// What the API server writes, by field (Kubernetes 1.35). Anything else never stands there.
const CLOSED: &[(&str, &[&str])] = &[
    ("level", &["None", "Metadata", "Request", "RequestResponse"]),
    ("stage", &["RequestReceived", "ResponseStarted", "ResponseComplete", "Panic"]),
    // Of requests for resources, then of others: HTTP methods in small letters.
    (
        "verb",
        &[
            "get",
            "list",
            "watch",
            "create",
            "update",
            "patch",
            "delete",
            "deletecollection",
            "proxy",
            "post",
            "put",
            "head",
            "options",
            "trace",
            "connect",
        ],
    ),
    ("annotations.authorization.k8s.io/decision", &["allow", "forbid"]),
    ("kind", &["Event"]),
    ("k8scop.actor", &["person", "service_account", "controller", "platform", "node", "anonymous"]),
    ("k8scop.truncated", &["api_server", "transport"]),
    ("event.outcome", &["success", "failure", "unknown"]),
    ("event.type", &["creation", "change", "deletion", "access", "denied", "allowed", "info"]),
    ("event.category", &["process", "authentication", "iam", "configuration"]),
];

/// Words that people use for a verb of the API.
const VERBS: &[(&str, &str)] = &[
    ("replace", "update"),
    ("edit", "patch"),
    ("apply", "patch"),
    ("remove", "delete"),
    ("read", "get"),
    ("exec", "create (and get) with objectRef.subresource: exec"),
    ("impersonate", "impersonatedUser.username|exists: true"),
];

/// Resources of Kubernetes whose singular people write.
const RESOURCES: &[&str] = &[
    "pods",
    "secrets",
    "configmaps",
    "services",
    "nodes",
    "namespaces",
    "events",
    "endpoints",
    "serviceaccounts",
    "deployments",
    "daemonsets",
    "statefulsets",
    "replicasets",
    "jobs",
    "cronjobs",
    "roles",
    "rolebindings",
    "clusterroles",
    "clusterrolebindings",
    "ingresses",
    "networkpolicies",
    "persistentvolumes",
    "persistentvolumeclaims",
    "podtemplates",
    "certificatesigningrequests",
    "mutatingwebhookconfigurations",
    "validatingwebhookconfigurations",
    "customresourcedefinitions",
    "storageclasses",
    "leases",
    "tokenreviews",
    "subjectaccessreviews",
    "selfsubjectaccessreviews",
    "selfsubjectrulesreviews",
];

/// Values of a line that the field never has.
pub(super) fn warnings(field: &Field, modifiers: &Modifiers, value: &Node) -> Vec<Wrong> {
    if modifiers.reading != Reading::Text(Place::Whole) || !modifiers.steps.is_empty() {
        return Vec::new();
    }
    let values = match &value.value {
        Value::List(list) => list.as_slice(),
        _ => std::slice::from_ref(value),
    };
    let name = field.to_string();
    let told = |value: &Node| {
        let text = value.scalar().filter(|it| !it.contains(['*', '?', '\\']))?;
        let why = why(&name, text)?;
        Some(value.wrong(format!("`{name}` is never `{text}`: {why}")))
    };
    values.iter().filter_map(told).collect()
}

fn why(field: &str, text: &str) -> Option<String> {
    if let Some((_, known)) = CLOSED.iter().find(|(name, _)| *name == field) {
        if known.iter().any(|it| it.eq_ignore_ascii_case(text)) {
            return None;
        }
        let verb = || VERBS.iter().find(|(said, _)| said.eq_ignore_ascii_case(text));
        if let Some((_, meant)) = (field == "verb").then(verb).flatten() {
            return Some(format!("in audit events it is {meant}"));
        }
        return Some(match nearest(text, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("it is one of {}", known.join(", ")),
        });
    }
    match field {
        "responseStatus.code" => match text.parse::<u16>() {
            Ok(100..=599) => None,
            _ => Some("it is an HTTP status, a number from 100 to 599".into()),
        },
        "objectRef.resource" => resource(text),
        "objectRef.apiGroup" => match text {
            "" | "core" | "v1" => Some("the core group has none: say null".into()),
            _ if text.contains('/') => Some("the version stands in objectRef.apiVersion".into()),
            _ => None,
        },
        "objectRef.subresource" | "objectRef.namespace" | "objectRef.name" if text.is_empty() => {
            Some("it is absent instead: say null".into())
        }
        _ => None,
    }
}

fn resource(text: &str) -> Option<String> {
    if let Some((resource, subresource)) = text.split_once('/') {
        return Some(format!("it is `{resource}`, and objectRef.subresource is `{subresource}`"));
    }
    let text = text.to_ascii_lowercase();
    let plural = RESOURCES.iter().find(|it| {
        **it != text
            && (it.strip_suffix('s') == Some(&text)
                || it.strip_suffix("es") == Some(&text)
                || it.strip_suffix("ies").is_some_and(|stem| text.strip_suffix('y') == Some(stem)))
    })?;
    Some(format!("resources are in the plural: `{plural}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_is() {
        for (field, text, expected) in [
            ("verb", "replace", Some("it is update")),
            ("verb", "LIST", None),
            ("verb", "lists", Some("did you mean `list`?")),
            ("responseStatus.code", "ALLOW", Some("an HTTP status")),
            ("responseStatus.code", "403", None),
            ("objectRef.resource", "Pod", Some("`pods`")),
            ("objectRef.resource", "networkpolicy", Some("`networkpolicies`")),
            ("objectRef.resource", "ingress", Some("`ingresses`")),
            ("objectRef.resource", "pods/exec", Some("objectRef.subresource is `exec`")),
            ("objectRef.resource", "endpoints", None),
            ("objectRef.resource", "widgets", None),
            ("objectRef.apiGroup", "core", Some("say null")),
            ("objectRef.apiGroup", "apps/v1", Some("objectRef.apiVersion")),
            ("stage", "ResponseCompleted", Some("did you mean `ResponseComplete`?")),
            ("userAgent", "x", None),
        ] {
            let why = why(field, text);
            match expected {
                None => assert_eq!(why, None, "{field} {text}"),
                Some(expected) => {
                    assert!(why.as_ref().is_some_and(|it| it.contains(expected)), "{why:?}");
                }
            }
        }
    }
}

//! Rules alike and all different: what an organisation has for its own names.

/// What such a rule looks for: the lines that many have in common, and the one that is its own.
pub(super) fn lines(at: usize) -> (String, String) {
    let (verb, resource) = verb_and_resource(at);
    let own = match at % 5 {
        0 => format!("objectRef.name: app-{at}"),
        1 => format!("user.username: user-{at}@example.com"),
        2 => format!("userAgent|contains: tool-{at}/"),
        3 => format!("requestURI|contains: /namespaces/team-{at}/"),
        _ => format!("k8scop.container.image|startswith: registry.example/team-{at}/"),
    };
    (format!("verb: {verb}, objectRef.resource: {resource}"), own)
}

pub(super) fn verb_and_resource(at: usize) -> (&'static str, &'static str) {
    const VERBS: [&str; 7] = ["get", "list", "create", "delete", "patch", "update", "watch"];
    const RESOURCES: [&str; 8] = [
        "secrets",
        "pods",
        "configmaps",
        "deployments",
        "rolebindings",
        "nodes",
        "leases",
        "events",
    ];
    let of = |all: &[&'static str], at: usize| all.get(at % all.len()).copied().unwrap_or_default();
    (of(&VERBS, at), of(&RESOURCES, at / VERBS.len()))
}

/// A rule of such a kind with this detection.
pub(super) fn rule(at: usize, detection: &str) -> String {
    format!(
        "title: Rule {at}\nid: {at:08x}-0000-4000-8000-000000000000\nlevel: low\nlogsource: {{product: kubernetes, service: audit}}\ndetection:\n{detection}\n"
    )
}

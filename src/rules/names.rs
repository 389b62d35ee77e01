//! Other names of fields: those of ECS, under which events are stored; those of `kubernetes.audit`; and the short ones
//! that rules of SigmaHQ use.

use std::borrow::Cow;

use super::Field;

/// What stands before the paths of an audit event in stored documents.
pub(super) const AUDIT: &str = "kubernetes.audit.";

/// ECS field, path in the audit event. Documents have the first from the second.
const ECS: &[(&str, &str)] = &[
    ("@timestamp", "stageTimestamp"),
    ("client.ip", "sourceIPs"),
    ("event.action", "verb"),
    ("event.end", "stageTimestamp"),
    ("event.reason", "annotations.authorization.k8s.io/reason"),
    ("event.start", "requestReceivedTimestamp"),
    ("http.response.status_code", "responseStatus.code"),
    ("orchestrator.api_version", "apiVersion"),
    ("orchestrator.namespace", "objectRef.namespace"),
    ("orchestrator.resource.name", "objectRef.name"),
    ("orchestrator.resource.type", "objectRef.resource"),
    ("related.ip", "sourceIPs"),
    ("source.address", "sourceIPs"),
    ("source.ip", "sourceIPs"),
    ("url.original", "requestURI"),
    ("user.effective.name", "impersonatedUser.username"),
    ("user.email", "user.username"),
    ("user.id", "user.uid"),
    ("user.name", "user.username"),
    ("user.roles", "user.groups"),
    ("user_agent.original", "userAgent"),
];

/// Names that are neither: what rules of SigmaHQ call so, and the ECS fields that are made of several.
const OTHERS: [&str; 8] = [
    "apiGroup",
    "capabilities",
    "hostPath",
    "container.image.name",
    "event.category",
    "event.outcome",
    "event.type",
    "url.path",
];

/// Fields of documents that rules cannot use, and why.
const NOT: &[(&str, &str)] = &[
    (
        "orchestrator.cluster.",
        "the cluster is not in the event; a filter or an index tells clusters apart",
    ),
    ("orchestrator.type", "it is `kubernetes` in all of them"),
    ("url.query", "use k8scop.query.NAME, which is decoded"),
    ("related.user", "use user.name, user.id or user.effective.name"),
    ("event.id", "use auditID and stage"),
    ("event.original", "list words without a field: they are looked for in the whole event"),
    ("cloud.", "the cloud is not in the event"),
    ("data_stream.", "it is where the event is stored, not in it"),
];

/// The path in the event that a name with `kubernetes.audit.` means. Stored annotation keys have `_` for `.`.
pub(super) fn audit_path(name: &str) -> Cow<'_, str> {
    let Some(path) = name.strip_prefix(AUDIT) else { return Cow::Borrowed(name) };
    match path.strip_prefix("annotations.").and_then(|it| it.split_once('/')) {
        Some((domain, rest)) => {
            Cow::Owned(format!("annotations.{}/{rest}", domain.replace('_', ".")))
        }
        None => Cow::Borrowed(path),
    }
}

/// What another name means.
pub(super) fn alias(name: &str) -> Option<Field> {
    if let Some((_, path)) = ECS.iter().find(|(ecs, _)| *ecs == name) {
        return Some(Field::Path((*path).to_owned()));
    }
    Some(match name {
        "apiGroup" => Field::Path("objectRef.apiGroup".into()),
        "hostPath" => Field::HostPath,
        "capabilities" => Field::Container("securityContext.capabilities.add".into()),
        "container.image.name" => Field::Container("image".into()),
        "event.category" => Field::Category,
        "event.outcome" => Field::Outcome,
        "event.type" => Field::Type,
        "url.path" => Field::UriPath,
        _ => return None,
    })
}

/// Why documents have a field that rules cannot use.
pub(super) fn why_not(name: &str) -> Option<&'static str> {
    let fits = |of: &str| of == name || of.ends_with('.') && name.starts_with(of);
    NOT.iter().find(|(of, _)| fits(of)).map(|(_, why)| *why)
}

/// All of them.
pub(super) fn all<'n>() -> impl Iterator<Item = &'n str> {
    ECS.iter().map(|(name, _)| *name).chain(OTHERS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_means_a_field() {
        for name in all() {
            let field = Field::parse(name).unwrap();
            if let Field::Path(path) = &field {
                assert_eq!(Field::parse(path).as_ref(), Ok(&field), "{name}");
            }
        }
        for (name, path) in [
            ("kubernetes.audit.verb", "verb"),
            ("kubernetes.audit.requestObject.spec.hostPID", "requestObject.spec.hostPID"),
            (
                "kubernetes.audit.annotations.authorization_k8s_io/decision",
                "annotations.authorization.k8s.io/decision",
            ),
            ("source.ip", "sourceIPs"),
        ] {
            assert_eq!(Field::parse(name), Ok(Field::Path(path.into())), "{name}");
        }
        assert_eq!(Field::parse("hostPath"), Ok(Field::HostPath));
    }
}

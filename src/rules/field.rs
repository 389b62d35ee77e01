use std::fmt;

/// A field of an audit event that a rule can name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    /// A path in the event: `objectRef.resource`, `requestObject.spec.containers.image`. Arrays are gone
    /// through; a key with dots in it is found too.
    Path(String),
    /// `k8scop.path`: the path of `requestURI`.
    UriPath,
    /// `k8scop.query.NAME`: a query parameter of `requestURI`, decoded.
    Query(String),
    /// `k8scop.command`: the container command of an exec or attach, decoded.
    Command,
    /// `k8scop.kubectl`: the kubectl command behind the event.
    Kubectl,
    /// `k8scop.peer_ip`: the last of `sourceIPs`.
    PeerIp,
    /// `k8scop.actor`: what kind of user it is, by its name: `person`, `service_account`, `controller` (the control
    /// plane, the built-in controllers, the cloud's own), `node` or `anonymous`. Of an impersonation, the one behind it.
    Actor,
    /// `k8scop.object.PATH`: in the object as it is written: `requestObject` and, where the request made the object,
    /// `responseObject`, which holds what admission added. The operations of a JSON patch count as the object that
    /// they name.
    Object(String),
    /// `k8scop.pod.PATH`: in the pod or the pod template (`metadata`, `spec`) of that object: a Deployment's,
    /// a CronJob's, that of any kind that has one.
    Pod(String),
    /// `k8scop.container.PATH`: in a container of that pod, init and ephemeral ones too.
    Container(String),
    /// `k8scop.host_path`: paths of the node that the pod, or the PersistentVolume, mounts; `//etc/`, `/etc/.` and
    /// `/var/../etc` are `/etc`.
    HostPath,
    /// `k8scop.csr.common_name`: who the certificate of a CertificateSigningRequest is for.
    CsrCommonName,
    /// `k8scop.csr.organization`: its groups.
    CsrOrganization,
    /// Keywords: any value in the event.
    Any,
}

/// As a rule writes it.
impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => f.write_str(path),
            Self::UriPath => f.write_str("k8scop.path"),
            Self::Query(name) => write!(f, "k8scop.query.{name}"),
            Self::Command => f.write_str("k8scop.command"),
            Self::Kubectl => f.write_str("k8scop.kubectl"),
            Self::PeerIp => f.write_str("k8scop.peer_ip"),
            Self::Actor => f.write_str("k8scop.actor"),
            Self::Object(path) => write!(f, "k8scop.object.{path}"),
            Self::Pod(path) => write!(f, "k8scop.pod.{path}"),
            Self::Container(path) => write!(f, "k8scop.container.{path}"),
            Self::HostPath => f.write_str("k8scop.host_path"),
            Self::CsrCommonName => f.write_str("k8scop.csr.common_name"),
            Self::CsrOrganization => f.write_str("k8scop.csr.organization"),
            Self::Any => f.write_str("any field"),
        }
    }
}

/// Members of an audit event and, where they are fixed, their members (`audit.k8s.io/v1`, Kubernetes 1.35).
/// `None`: anything may follow.
const KNOWN: &[(&str, Option<&[&str]>)] = &[
    ("level", Some(&[])),
    ("auditID", Some(&[])),
    ("stage", Some(&[])),
    ("requestURI", Some(&[])),
    ("verb", Some(&[])),
    ("user", Some(&["username", "uid", "groups", "extra."])),
    ("impersonatedUser", Some(&["username", "uid", "groups", "extra."])),
    ("authenticationMetadata", None),
    ("sourceIPs", Some(&[])),
    ("userAgent", Some(&[])),
    (
        "objectRef",
        Some(&[
            "resource",
            "namespace",
            "name",
            "uid",
            "apiGroup",
            "apiVersion",
            "resourceVersion",
            "subresource",
        ]),
    ),
    ("responseStatus", Some(&["status", "message", "reason", "code", "details.", "metadata."])),
    ("requestObject", None),
    ("responseObject", None),
    ("requestReceivedTimestamp", Some(&[])),
    ("stageTimestamp", Some(&[])),
    ("annotations", None),
];

impl Field {
    /// Understands a field name, or says why no audit event can have it. A rule on a field that does not exist
    /// would never fire and nobody would know.
    pub(super) fn parse(name: &str) -> Result<Self, String> {
        if let Some(own) = name.strip_prefix("k8scop.") {
            return match own.split_once('.') {
                None if own == "path" => Ok(Self::UriPath),
                None if own == "command" => Ok(Self::Command),
                None if own == "kubectl" => Ok(Self::Kubectl),
                None if own == "peer_ip" => Ok(Self::PeerIp),
                None if own == "actor" => Ok(Self::Actor),
                None if own == "host_path" => Ok(Self::HostPath),
                Some(("csr", "common_name")) => Ok(Self::CsrCommonName),
                Some(("csr", "organization")) => Ok(Self::CsrOrganization),
                Some(("object", path)) if !path.is_empty() => Ok(Self::Object(path.to_owned())),
                Some(("pod", path)) if !path.is_empty() => Ok(Self::Pod(path.to_owned())),
                Some(("container", path)) if !path.is_empty() => {
                    Ok(Self::Container(path.to_owned()))
                }
                Some(("query", parameter)) if !parameter.is_empty() => {
                    Ok(Self::Query(parameter.to_owned()))
                }
                _ => Err(format!(
                    "no field `{name}`: there are k8scop.path, k8scop.query.NAME, k8scop.command, k8scop.kubectl, k8scop.peer_ip, k8scop.actor, k8scop.object.PATH, k8scop.pod.PATH, k8scop.container.PATH, k8scop.host_path, k8scop.csr.common_name, k8scop.csr.organization"
                )),
            };
        }
        let (first, rest) =
            name.split_once('.').map_or((name, None), |(first, rest)| (first, Some(rest)));
        let known = KNOWN.iter().find(|(known, _)| *known == first).map(|(_, members)| *members);
        let fits = match (known, rest) {
            (None, _) => false,
            (Some(None), _) => true,
            (Some(Some(members)), None) => members.is_empty(),
            (Some(Some(members)), Some(rest)) => members.iter().any(|it| {
                *it == rest || (it.ends_with('.') && rest.starts_with(it) && rest.len() > it.len())
            }),
        };
        if fits {
            return Ok(Self::Path(name.to_owned()));
        }
        Err(match nearest(name) {
            Some(nearest) => {
                format!("an audit event has no field `{name}`: did you mean `{nearest}`?")
            }
            None => format!("an audit event has no field `{name}`"),
        })
    }
}

/// The field that was meant, most likely: the same letters in another case, the same first part and a member
/// that contains the last, or the same last part elsewhere.
fn nearest(name: &str) -> Option<String> {
    let first = name.split('.').next().unwrap_or(name);
    let last = name.rsplit('.').next().unwrap_or(name);
    let member_that = |wanted: &dyn Fn(&str, &str) -> bool| {
        KNOWN.iter().find_map(|(known, members)| {
            let mut members = (*members)?.iter().map(|it| it.trim_end_matches('.'));
            Some(format!("{known}.{}", members.find(|it| wanted(known, it))?))
        })
    };
    KNOWN
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(known, _)| (*known).to_owned())
        .or_else(|| member_that(&|known, member| known == first && member.contains(last)))
        .or_else(|| member_that(&|_, member| member.eq_ignore_ascii_case(last)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_fields() {
        for name in [
            "verb",
            "objectRef.resource",
            "user.extra.authentication.kubernetes.io/pod-name",
            "requestObject.spec.hostPID",
            "annotations.authorization.k8s.io/decision",
        ] {
            assert_eq!(Field::parse(name), Ok(Field::Path(name.into())));
        }
        assert_eq!(Field::parse("k8scop.query.limit"), Ok(Field::Query("limit".into())));
    }

    #[test]
    fn fields_that_no_event_has() {
        for (name, hint) in [
            ("apiGroup", "did you mean `objectRef.apiGroup`?"),
            ("requesturi", "did you mean `requestURI`?"),
            ("user.name", "did you mean `user.username`?"),
            ("objectRef.kind", "no field"),
            ("objectRef", "no field"),
            ("hostPath", "no field"),
            ("k8scop.x", "k8scop.query.NAME"),
        ] {
            let error = Field::parse(name).unwrap_err();
            assert!(error.contains(hint), "{error}");
        }
    }
}

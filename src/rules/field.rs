use std::fmt;

use super::{Mode, error, names};

/// A field of an audit event that a rule can name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    /// A path in the event: `objectRef.resource`, `requestObject.spec.containers.image`. Arrays are gone
    /// through; a key with dots in it is found too.
    Path(String),
    /// `k8scop.path`: the path of `requestURI`, decoded; where that can be decoded again, so, too.
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
    /// plane, the built-in controllers, the cloud's own), `platform` (service accounts of OpenShift's own parts), `node` or
    /// `anonymous`. Of an impersonation, the one behind it.
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
    /// `k8scop.script`: what these containers run (command and arguments, hooks, probes), each command in one line.
    Script,
    /// `k8scop.host_path`: paths of the node that the pod, or the PersistentVolume, mounts; `//etc/`, `/etc/.` and
    /// `/var/../etc` are `/etc`.
    HostPath,
    /// `k8scop.removed`: the paths that a patch removes.
    Removed,
    /// `k8scop.copied`: the paths that a JSON patch writes with what stands elsewhere in the object.
    Copied,
    /// `k8scop.truncated`: why a part of the event is missing: `api_server` (it left the bodies out for their size) or
    /// `transport` (the event was cut on its way).
    Truncated,
    /// `k8scop.csr.common_name`: who the certificate of a CertificateSigningRequest is for.
    CsrCommonName,
    /// `k8scop.csr.organization`: its groups.
    CsrOrganization,
    /// `event.outcome`: `success`, `failure` or `unknown`, as it is stored with the event.
    Outcome,
    /// `event.category`, as it is stored with the event.
    Category,
    /// `event.type`, as it is stored with the event.
    Type,
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
            Self::Script => f.write_str("k8scop.script"),
            Self::HostPath => f.write_str("k8scop.host_path"),
            Self::Removed => f.write_str("k8scop.removed"),
            Self::Copied => f.write_str("k8scop.copied"),
            Self::Truncated => f.write_str("k8scop.truncated"),
            Self::CsrCommonName => f.write_str("k8scop.csr.common_name"),
            Self::CsrOrganization => f.write_str("k8scop.csr.organization"),
            Self::Outcome => f.write_str("event.outcome"),
            Self::Category => f.write_str("event.category"),
            Self::Type => f.write_str("event.type"),
            Self::Any => f.write_str("any field"),
        }
    }
}

/// Members of an audit event and, where they are fixed, their members (`audit.k8s.io/v1`, Kubernetes 1.35).
/// `None`: anything may follow.
const KNOWN: &[(&str, Option<&[&str]>)] = &[
    ("kind", Some(&[])),
    ("apiVersion", Some(&[])),
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

/// What stands before our own fields.
const OURS: &str = "k8scop.";

/// Our own fields; what ends in a dot goes on with a name or a path.
pub(super) const OWN: &[&str] = &[
    "path",
    "query.",
    "command",
    "kubectl",
    "peer_ip",
    "actor",
    "object.",
    "pod.",
    "container.",
    "script",
    "host_path",
    "removed",
    "copied",
    "truncated",
    "csr.common_name",
    "csr.organization",
];

impl Field {
    /// Understands a field name, or says why no audit event can have it. A rule on a field that does not exist
    /// would never fire and nobody would know.
    pub(super) fn parse(name: &str) -> Result<Self, String> {
        stars(name)?;
        if let Some(own) = name.strip_prefix(OURS) {
            return Self::own(own).ok_or_else(|| no_own(own));
        }
        if name.is_empty() {
            return Err("a field needs a name".into());
        }
        let audit = names::audit_path(name);
        if is_known(&audit) {
            return Ok(Self::Path(audit.into_owned()));
        }
        names::alias(name).ok_or_else(|| {
            match names::why_not(name).map(str::to_owned).or_else(|| nearest(name)) {
                Some(hint) => format!("an audit event has no field `{name}`: {hint}"),
                None => format!("an audit event has no field `{name}`"),
            }
        })
    }

    /// The same; where any log is meant, what is not ours is a path in it.
    pub(super) fn parse_as(name: &str, mode: Mode) -> Result<Self, String> {
        match mode {
            Mode::Any if !name.is_empty() && !name.starts_with(OURS) => {
                Ok(Self::Path(name.to_owned()))
            }
            _ => Self::parse(name),
        }
    }

    fn own(name: &str) -> Option<Self> {
        Some(match name.split_once('.') {
            None if name == "path" => Self::UriPath,
            None if name == "command" => Self::Command,
            None if name == "kubectl" => Self::Kubectl,
            None if name == "peer_ip" => Self::PeerIp,
            None if name == "actor" => Self::Actor,
            None if name == "script" => Self::Script,
            None if name == "host_path" => Self::HostPath,
            None if name == "removed" => Self::Removed,
            None if name == "copied" => Self::Copied,
            None if name == "truncated" => Self::Truncated,
            Some(("csr", "common_name")) => Self::CsrCommonName,
            Some(("csr", "organization")) => Self::CsrOrganization,
            Some(("object", path)) if is_path(path) => Self::Object(path.to_owned()),
            Some(("pod", path)) if is_path(path) => Self::Pod(path.to_owned()),
            Some(("container", path)) if is_path(path) => Self::Container(path.to_owned()),
            Some(("query", parameter)) if !parameter.is_empty() => {
                Self::Query(parameter.to_owned())
            }
            _ => return None,
        })
    }
}

/// A `*` in a path is any key, as a whole. A key of a query has no `*`.
fn stars(name: &str) -> Result<(), String> {
    let is_odd = |it: &str| it.contains('*') && it != "*";
    let is_first = name.starts_with('*') || name.starts_with("k8scop.query.") && name.contains('*');
    match is_first || name.split('.').any(is_odd) {
        true => Err(format!(
            "no field `{name}`: `*` stands for a whole key below others, as in metadata.annotations.*"
        )),
        false => Ok(()),
    }
}

fn is_path(text: &str) -> bool {
    !text.is_empty() && !text.starts_with('.') && !text.ends_with('.')
}

fn no_own(name: &str) -> String {
    let known = OWN.iter().copied().filter(|it| !it.ends_with('.'));
    if let Some(near) = error::nearest(name, known) {
        return format!("no field `k8scop.{name}` (did you mean `k8scop.{near}`?)");
    }
    let shown = |it: &&str| match *it {
        "query." => "k8scop.query.NAME".to_owned(),
        it if it.ends_with('.') => format!("k8scop.{it}PATH"),
        it => format!("k8scop.{it}"),
    };
    let all: Vec<_> = OWN.iter().map(shown).collect();
    format!("no field `k8scop.{name}` (there are: {})", all.join(", "))
}

fn is_known(name: &str) -> bool {
    let (first, rest) =
        name.split_once('.').map_or((name, None), |(first, rest)| (first, Some(rest)));
    let known = KNOWN.iter().find(|(known, _)| *known == first).map(|(_, members)| *members);
    match (known, rest) {
        (None, _) | (Some(_), Some("")) => false,
        (Some(None), _) => true,
        (Some(Some(members)), None) => members.is_empty(),
        (Some(Some(members)), Some(rest)) => members.iter().any(|it| {
            *it == rest || (it.ends_with('.') && rest.starts_with(it) && rest.len() > it.len())
        }),
    }
}

/// What was meant, most likely: the same letters in another case or nearly the same, the same first part and a member
/// that contains the last, or the same last part elsewhere.
fn nearest(name: &str) -> Option<String> {
    let bare = name.strip_prefix(names::AUDIT).unwrap_or(name);
    let all: Vec<String> = KNOWN
        .iter()
        .flat_map(|(first, members)| {
            let members = members.unwrap_or_default();
            let alone = members.is_empty().then(|| (*first).to_owned());
            let below =
                members.iter().map(move |it| format!("{first}.{}", it.trim_end_matches('.')));
            below.chain(alone)
        })
        .collect();
    let first = bare.split('.').next().unwrap_or(bare);
    let last = bare.rsplit('.').next().unwrap_or(bare);
    let member_of = |it: &str| it.split_once('.').map(|(a, b)| (a.to_owned(), b.to_owned()));
    let meant = all
        .iter()
        .find(|it| it.eq_ignore_ascii_case(bare))
        .map(String::as_str)
        .or_else(|| error::nearest(bare, all.iter().map(String::as_str).chain(names::all())))
        .or_else(|| {
            let same_first = |it: &&String| {
                member_of(it).is_some_and(|(known, member)| known == first && member.contains(last))
            };
            all.iter().find(same_first).map(String::as_str)
        })
        .or_else(|| {
            let same_last = |it: &&String| {
                member_of(it).is_some_and(|(_, member)| member.eq_ignore_ascii_case(last))
            };
            all.iter().find(same_last).map(String::as_str)
        })?;
    Some(format!("did you mean `{meant}`?"))
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
            "requestObject.metadata.annotations.*",
            "user.extra.*",
        ] {
            assert_eq!(Field::parse(name), Ok(Field::Path(name.into())));
        }
        assert_eq!(Field::parse("k8scop.query.limit"), Ok(Field::Query("limit".into())));
        assert_eq!(
            Field::parse_as("CommandLine", Mode::Any),
            Ok(Field::Path("CommandLine".into()))
        );
    }

    #[test]
    fn fields_that_no_event_has() {
        for (name, hint) in [
            ("requesturi", "did you mean `requestURI`?"),
            ("verbs", "did you mean `verb`?"),
            ("user.nam", "did you mean `user.name`?"),
            ("impersonatedUser.name", "did you mean `impersonatedUser.username`?"),
            ("kubernetes.audit.verbs", "did you mean `verb`?"),
            ("subresource", "did you mean `objectRef.subresource`?"),
            ("objectRef.kind", "no field"),
            ("objectRef", "no field"),
            ("requestObject.", "no field"),
            ("orchestrator.cluster.name", "is not in the event"),
            ("", "needs a name"),
            ("k8scop.x", "k8scop.query.NAME"),
            ("k8scop.pod.", "no field"),
            ("*.name", "stands for a whole key"),
            ("requestObject.meta*.name", "stands for a whole key"),
            ("k8scop.query.*", "stands for a whole key"),
            ("objectRef.*", "no field"),
            ("verb.*", "no field"),
            ("k8scop.hostpath", "did you mean `k8scop.host_path`?"),
        ] {
            let error = Field::parse(name).unwrap_err();
            assert!(error.contains(hint), "{error}");
        }
    }
}

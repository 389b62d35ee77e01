//! Falco's fields of Kubernetes audit events (plugin k8saudit, `pkg/k8saudit/fields.go` and `extract.go`, August 2026), and ours.

/// What a field of Falco's is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ours {
    /// The field.
    pub(super) name: String,
    pub(super) shape: Shape,
    /// What the values are of.
    pub(super) of: Of,
    /// A line that has to hold for the same element: `subjects.kind` is `User`.
    pub(super) beside: Option<(&'static str, &'static str)>,
}

/// How many values there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// One.
    One,
    /// One for each object of an array.
    Elements,
    /// An array of texts.
    Texts,
}

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    /// The value of the field.
    Value,
    /// An image without tag and digest.
    Repository,
    /// `true`, if this is in the field.
    Holds,
    /// The name of a member below the field, which must be there.
    Member,
}

const ONE: &[(&str, &str)] = &[
    ("ka.auditid", "auditID"),
    ("ka.stage", "stage"),
    ("ka.auth.decision", "annotations.authorization.k8s.io/decision"),
    ("ka.auth.reason", "annotations.authorization.k8s.io/reason"),
    ("ka.auth.openshift.decision", "annotations.authentication.openshift.io/decision"),
    ("ka.auth.openshift.username", "annotations.authentication.openshift.io/username"),
    (
        "ka.validations.admission.policy.failure",
        "annotations.validation.policy.admission.k8s.io/validation_failure",
    ),
    ("ka.security.pod.violations", "annotations.pod-security.kubernetes.io/audit-violations"),
    ("ka.user.name", "user.username"),
    ("ka.impuser.name", "impersonatedUser.username"),
    ("ka.verb", "verb"),
    ("ka.uri", "requestURI"),
    ("ka.target.name", "objectRef.name"),
    ("ka.target.namespace", "objectRef.namespace"),
    ("ka.target.resource", "objectRef.resource"),
    ("ka.target.subresource", "objectRef.subresource"),
    ("ka.target.pod.name", "responseObject.metadata.name"),
    ("ka.req.binding.role", "requestObject.roleRef.name"),
    ("ka.req.configmap.name", "objectRef.name"),
    ("ka.req.pod.host_ipc", "k8scop.pod.spec.hostIPC"),
    ("ka.req.pod.host_network", "k8scop.pod.spec.hostNetwork"),
    ("ka.req.container.host_network", "k8scop.pod.spec.hostNetwork"),
    ("ka.req.pod.host_pid", "k8scop.pod.spec.hostPID"),
    ("ka.req.pod.run_as_user", "k8scop.pod.spec.securityContext.runAsUser"),
    ("ka.req.pod.run_as_group", "k8scop.pod.spec.securityContext.runAsGroup"),
    ("ka.req.pod.fs_group", "k8scop.pod.spec.securityContext.fsGroup"),
    ("ka.req.service.type", "requestObject.spec.type"),
    ("ka.resp.name", "responseObject.metadata.name"),
    ("ka.response.code", "responseStatus.code"),
    ("ka.response.reason", "responseStatus.reason"),
    ("ka.useragent", "userAgent"),
    ("ka.cluster.name", "annotations.cluster_name"),
];

const TEXTS: &[(&str, &str)] = &[
    ("ka.user.groups", "user.groups"),
    ("ka.sourceips", "sourceIPs"),
    ("ka.req.role.rules.apiGroups", "requestObject.rules.apiGroups"),
    ("ka.req.role.rules.nonResourceURLs", "requestObject.rules.nonResourceURLs"),
    ("ka.req.role.rules.verbs", "requestObject.rules.verbs"),
    ("ka.req.role.rules.resources", "requestObject.rules.resources"),
    ("ka.req.pod.supplemental_groups", "k8scop.pod.spec.securityContext.supplementalGroups"),
];

const ELEMENTS: &[(&str, &str)] = &[
    ("ka.req.container.image", "k8scop.pod.spec.containers.image"),
    ("ka.req.service.ports", "requestObject.spec.ports.port"),
    ("ka.req.pod.volumes.flexvolume_driver", "k8scop.pod.spec.volumes.flexVolume.driver"),
];

/// Of a container, below `ka.req.pod.containers`, `initContainers` and `ephemeralContainers`.
const CONTAINER: &[(&str, &str, Shape)] = &[
    ("name", "name", Shape::Elements),
    ("image", "image", Shape::Elements),
    ("args", "args", Shape::Texts),
    ("command", "command", Shape::Texts),
    ("host_port", "ports.hostPort", Shape::Texts),
    ("privileged", "securityContext.privileged", Shape::Elements),
    ("allow_privilege_escalation", "securityContext.allowPrivilegeEscalation", Shape::Elements),
    ("read_only_fs", "securityContext.readOnlyRootFilesystem", Shape::Elements),
    ("run_as_user", "securityContext.runAsUser", Shape::Elements),
    ("run_as_group", "securityContext.runAsGroup", Shape::Elements),
    ("proc_mount", "securityContext.procMount", Shape::Elements),
    ("add_capabilities", "securityContext.capabilities.add", Shape::Texts),
];

/// Of a binding, and what kind of subject each is of.
const SUBJECTS: [(&str, &str); 3] = [
    ("ka.req.binding.subjects.user_names", "User"),
    ("ka.req.binding.subjects.serviceaccount_names", "ServiceAccount"),
    ("ka.req.binding.subjects.group_names", "Group"),
];

/// Our field for one of Falco's, or why there is none.
pub(super) fn ours(field: &str, argument: Option<&str>) -> Result<Ours, String> {
    let found = |name: &str, shape, of| Ok(Ours { name: name.to_owned(), shape, of, beside: None });
    match (field, argument) {
        ("ka.uri.param", Some(name)) => {
            return found(&format!("k8scop.query.{name}"), Shape::One, Of::Value);
        }
        ("ka.req.volume.hostpath", Some(_)) => {
            return found("k8scop.host_path", Shape::Elements, Of::Holds);
        }
        ("jevt.value", Some(pointer)) => {
            return found(&path(pointer)?, Shape::One, Of::Value);
        }
        (_, Some(argument)) => {
            return Err(format!("`{field}[{argument}]`: a place in an array cannot be asked for"));
        }
        _ => (),
    }
    if let Some((_, kind)) = SUBJECTS.iter().find(|it| it.0 == field) {
        return Ok(Ours {
            name: "requestObject.subjects.name".into(),
            shape: Shape::Elements,
            of: Of::Value,
            beside: Some(("requestObject.subjects.kind", kind)),
        });
    }
    match field {
        "ka.req.container.privileged" => {
            let name = "k8scop.pod.spec.containers.securityContext.privileged";
            return found(name, Shape::Elements, Of::Value);
        }
        "ka.req.container.image.repository" => {
            return found("k8scop.pod.spec.containers.image", Shape::Elements, Of::Repository);
        }
        "ka.req.pod.volumes.hostpath" => {
            return found("k8scop.host_path", Shape::Texts, Of::Value);
        }
        "ka.req.pod.volumes.volume_type" => {
            return found("k8scop.pod.spec.volumes", Shape::Texts, Of::Member);
        }
        _ => (),
    }
    let container = field.strip_prefix("ka.req.pod.").and_then(|it| it.split_once('.'));
    if let Some((list @ ("containers" | "initContainers" | "ephemeralContainers"), of)) = container
    {
        if of == "image.repository" {
            let name = format!("k8scop.pod.spec.{list}.image");
            return found(&name, Shape::Elements, Of::Repository);
        }
        if let Some((_, path, shape)) = CONTAINER.iter().find(|it| it.0 == of) {
            return found(&format!("k8scop.pod.spec.{list}.{path}"), *shape, Of::Value);
        }
    }
    for (names, shape) in [(ONE, Shape::One), (TEXTS, Shape::Texts), (ELEMENTS, Shape::Elements)] {
        if let Some((_, name)) = names.iter().find(|it| it.0 == field) {
            return found(name, shape, Of::Value);
        }
    }
    Err(match field {
        "ka.req.configmap.obj" | "ka.req.binding.subjects" | "ka.req.role.rules" => {
            format!("`{field}` is the text of an object, in which nothing can be looked for here")
        }
        _ if field.contains(".eff_run_as_") => {
            format!("`{field}` is made of two fields, of the container and of the pod")
        }
        "ka.req.binding.subjects.serviceaccount_ns_names" => {
            format!("`{field}` is made of two fields, namespace and name")
        }
        _ => format!("there is no field for `{field}`"),
    })
}

/// The path of a JSON pointer: `/objectRef/name` is `objectRef.name`.
fn path(pointer: &str) -> Result<String, String> {
    let names =
        pointer.strip_prefix('/').ok_or_else(|| format!("`{pointer}` is no JSON pointer"))?;
    let names: Vec<_> =
        names.split('/').map(|it| it.replace("~1", "/").replace("~0", "~")).collect();
    let is_number = |it: &String| !it.is_empty() && it.bytes().all(|it| it.is_ascii_digit());
    if names.iter().any(is_number) {
        return Err(format!("`jevt.value[{pointer}]`: a place in an array cannot be asked for"));
    }
    Ok(names.join("."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules;

    /// Fields that this plugin has and that are here, too.
    const TAKEN: &str = "ka.auditid ka.stage ka.auth.decision ka.auth.reason ka.auth.openshift.decision \
        ka.validations.admission.policy.failure ka.security.pod.violations ka.auth.openshift.username ka.user.name \
        ka.user.groups ka.impuser.name ka.verb ka.uri ka.target.name ka.target.namespace ka.target.resource \
        ka.target.subresource ka.target.pod.name ka.req.binding.subjects.user_names \
        ka.req.binding.subjects.serviceaccount_names ka.req.binding.subjects.group_names ka.req.binding.role \
        ka.req.configmap.name ka.req.pod.containers.args ka.req.pod.containers.command ka.req.pod.containers.name \
        ka.req.pod.containers.image ka.req.container.image ka.req.pod.containers.image.repository \
        ka.req.container.image.repository ka.req.pod.host_ipc ka.req.pod.host_network ka.req.container.host_network \
        ka.req.pod.host_pid ka.req.pod.containers.host_port ka.req.pod.containers.privileged ka.req.container.privileged \
        ka.req.pod.containers.allow_privilege_escalation ka.req.pod.containers.read_only_fs ka.req.pod.run_as_user \
        ka.req.pod.containers.run_as_user ka.req.pod.run_as_group ka.req.pod.containers.run_as_group \
        ka.req.pod.containers.proc_mount ka.req.role.rules.apiGroups ka.req.role.rules.nonResourceURLs \
        ka.req.role.rules.verbs ka.req.role.rules.resources ka.req.pod.fs_group ka.req.pod.supplemental_groups \
        ka.req.pod.containers.add_capabilities ka.req.service.type ka.req.service.ports ka.req.pod.volumes.hostpath \
        ka.req.pod.volumes.flexvolume_driver ka.req.pod.volumes.volume_type ka.resp.name ka.response.code \
        ka.response.reason ka.useragent ka.sourceips ka.cluster.name ka.req.pod.initContainers.privileged \
        ka.req.pod.ephemeralContainers.image.repository";

    #[test]
    fn every_field_is_one_of_ours() {
        for field in TAKEN.split_whitespace() {
            let name = ours(field, None).unwrap().name;
            let rule = format!(
                "title: t\nid: i\nlevel: low\nlogsource: {{product: kubernetes, service: audit}}\ndetection:\n  a: {{'{name}': x}}\n  condition: a\n"
            );
            rules::parse("t.yml", &rule).unwrap();
        }
        assert_eq!(ours("ka.uri.param", Some("limit")).unwrap().name, "k8scop.query.limit");
        assert_eq!(ours("jevt.value", Some("/annotations/a~1b")).unwrap().name, "annotations.a/b");
    }

    #[test]
    fn what_there_is_not_says_why() {
        for (field, argument, why) in [
            ("ka.req.configmap.obj", None, "text of an object"),
            ("ka.req.pod.containers.eff_run_as_user", None, "two fields"),
            ("ka.req.pod.containers.image", Some("0"), "a place in an array"),
            ("jevt.value", Some("/requestObject/spec/containers/0/name"), "a place in an array"),
            ("ka.x", None, "no field for `ka.x`"),
            ("proc.name", None, "no field for"),
        ] {
            let error = ours(field, argument).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}

use crate::event::AuditEvent;

/// Resources that live in a namespace: without one in the request, it was for all.
const NAMESPACED: [&str; 26] = [
    "configmaps",
    "controllerrevisions",
    "cronjobs",
    "daemonsets",
    "deployments",
    "endpoints",
    "endpointslices",
    "events",
    "horizontalpodautoscalers",
    "ingresses",
    "jobs",
    "leases",
    "limitranges",
    "networkpolicies",
    "persistentvolumeclaims",
    "poddisruptionbudgets",
    "pods",
    "podtemplates",
    "replicasets",
    "replicationcontrollers",
    "resourcequotas",
    "rolebindings",
    "roles",
    "secrets",
    "serviceaccounts",
    "services",
];

/// The arguments of the `kubectl` command behind an event, as K8sCop labelled them; `None` where no command
/// does this.
///
/// A request for one object is told as `describe`, for one secret as `get secret details`: the API server does
/// not see which of the two it was. The command that made a write is read from `fieldManager`, which kubectl
/// fills with its own name (kubectl 1.35, `pkg/cmd/*`).
#[must_use]
pub fn kubectl(event: &AuditEvent<'_>) -> Option<String> {
    let object = &event.object;
    let resource = object.resource.as_deref()?;
    let verb = event.verb.as_deref()?;
    let command = match object.subresource.as_deref().unwrap_or_default() {
        "" => return plain(event, verb, resource),
        "exec" => return Some(exec(event, "exec")),
        "attach" => return Some(exec(event, "attach")),
        "portforward" => "port-forward",
        "log" => "logs",
        "ephemeralcontainers" => "debug",
        "scale" if matches!(verb, "update" | "patch") => {
            return Some(target(event, &format!("scale {}", short(resource))));
        }
        "token" if verb == "create" => "create token",
        _ => return None,
    };
    Some(target(event, command))
}

fn plain(event: &AuditEvent<'_>, verb: &str, resource: &str) -> Option<String> {
    let name = short(resource);
    let manager = event.query_values("fieldManager").next();
    let manager = manager.as_deref().and_then(|it| it.strip_prefix("kubectl"));
    Some(match verb {
        "create" => match (resource, manager) {
            ("selfsubjectaccessreviews", _) => "auth can-i".into(),
            ("selfsubjectrulesreviews", _) => "auth can-i --list".into(),
            ("pods", Some("-run")) => target(event, "run"),
            (_, Some("-client-side-apply")) => "apply -f".into(),
            (_, Some("-expose")) => "expose".into(),
            _ => "create -f".into(),
        },
        "get" if resource == "secrets" => "get secret details".into(),
        "get" => target(event, &format!("describe {name}")),
        "list" => {
            let describes = event.query_values("includeUninitialized").any(|it| it == "true");
            listed(
                event,
                &format!("{} {name}", if describes { "describe" } else { "get" }),
                resource,
            )
        }
        "watch" => listed(event, &format!("get {name} --watch"), resource),
        "delete" => target(event, &format!("delete {name}")),
        "deletecollection" => listed(event, &format!("delete {name} --all"), resource),
        "update" if manager.is_some() => "replace -f".into(),
        "patch" => match manager {
            Some("" | "-client-side-apply" | "-last-applied") => "apply -f".into(),
            Some(command) => target(event, &format!("{} {name}", command.trim_start_matches('-'))),
            None => target(event, &format!("patch {name}")),
        },
        _ => return None,
    })
}

fn short(resource: &str) -> &str {
    match resource {
        "services" => "svc",
        "daemonsets" => "ds",
        other => other,
    }
}

/// `COMMAND NAME --namespace NAMESPACE`
fn target(event: &AuditEvent<'_>, command: &str) -> String {
    let mut out = command.to_owned();
    if let Some(name) = event.object.name.as_deref() {
        out.push(' ');
        out.push_str(&quoted(name));
    }
    out.push_str(&namespace(event));
    out
}

fn listed(event: &AuditEvent<'_>, command: &str, resource: &str) -> String {
    let namespace = namespace(event);
    if namespace.is_empty() && NAMESPACED.contains(&resource) {
        return format!("{command} --all-namespaces");
    }
    format!("{command}{namespace}")
}

/// The namespace; not for namespaces themselves, which the API server logs as being in themselves.
fn namespace(event: &AuditEvent<'_>) -> String {
    match event.object.namespace.as_deref() {
        Some(namespace) if event.object.resource.as_deref() != Some("namespaces") => {
            format!(" --namespace {}", quoted(namespace))
        }
        _ => String::new(),
    }
}

fn exec(event: &AuditEvent<'_>, command: &str) -> String {
    let mut out = target(event, command);
    if let Some(container) = event.query_values("container").next() {
        out.push_str(" --container ");
        out.push_str(&quoted(&container));
    }
    for (index, word) in event.query_values("command").enumerate() {
        out.push_str(if index == 0 { " -- " } else { " " });
        out.push_str(&quoted(&word));
    }
    out
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |it: char| it.is_ascii_alphanumeric() || "_@%+=:,./-".contains(it);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    #[track_caller]
    fn check(verb: &str, uri: &str, object: &str, expected: &str) {
        let text = format!(r#"{{"verb":"{verb}","requestURI":"{uri}","objectRef":{{{object}}}}}"#);
        let event = AuditEvent::new(&text, json::members(&text).collect());
        assert_eq!(kubectl(&event).unwrap_or_default(), expected, "{uri}");
    }

    /// K8sCop's table: path and command.
    #[test]
    fn k8scops_table() {
        let pods = r#""resource":"pods""#;
        let in_ns = |resource: &str, namespace: &str| {
            format!(r#""resource":"{resource}","namespace":"{namespace}""#)
        };
        check("list", "/api/v1/pods", pods, "get pods --all-namespaces");
        check(
            "list",
            "/api/v1/namespaces/kube-system/pods",
            &in_ns("pods", "kube-system"),
            "get pods --namespace kube-system",
        );
        check(
            "get",
            "/api/v1/namespaces/default/pods/busybox-test",
            &format!(r#"{},"name":"busybox-test""#, in_ns("pods", "default")),
            "describe pods busybox-test --namespace default",
        );
        check(
            "list",
            "/api/v1/pods?limit=500&includeUninitialized=true",
            pods,
            "describe pods --all-namespaces",
        );
        check(
            "list",
            "/api/v1/namespaces/default/secrets?includeUninitialized=true",
            &in_ns("secrets", "default"),
            "describe secrets --namespace default",
        );
        check(
            "get",
            "/api/v1/namespaces/default/secrets/exec-token-qjp9l",
            &format!(r#"{},"name":"exec-token-qjp9l""#, in_ns("secrets", "default")),
            "get secret details",
        );
        check("create", "/api/v1/namespaces/default/pods", &in_ns("pods", "default"), "create -f");
        check(
            "list",
            "/api/v1/services?limit=500",
            r#""resource":"services""#,
            "get svc --all-namespaces",
        );
        check(
            "list",
            "/apis/apps/v1/daemonsets",
            r#""resource":"daemonsets""#,
            "get ds --all-namespaces",
        );
        check(
            "list",
            "/apis/extensions/v1beta1/namespaces/kube-system/daemonsets",
            &in_ns("daemonsets", "kube-system"),
            "get ds --namespace kube-system",
        );
    }

    #[test]
    fn what_kubectl_does_besides() {
        let pod = r#""resource":"pods","namespace":"n","name":"p""#;
        let sub = |name: &str| format!(r#"{pod},"subresource":"{name}""#);
        check(
            "get",
            "/x/exec?command=sh&command=-c&command=id%3B+echo+it%27s&container=c",
            &sub("exec"),
            r"exec p --namespace n --container c -- sh -c 'id; echo it'\''s'",
        );
        check("create", "/x/attach?stdin=true", &sub("attach"), "attach p --namespace n");
        check("get", "/x/log", &sub("log"), "logs p --namespace n");
        check("patch", "/x/status", &sub("status"), "");
        check("delete", "/x", pod, "delete pods p --namespace n");
        check("create", "/x?fieldManager=kubectl-run", pod, "run p --namespace n");
        check("patch", "/x?fieldManager=kubectl-client-side-apply", pod, "apply -f");
        check("patch", "/x?fieldManager=kubectl-edit", pod, "edit pods p --namespace n");
        check("patch", "/x", pod, "patch pods p --namespace n");
        check("update", "/x", pod, "");
        check("list", "/api/v1/nodes", r#""resource":"nodes""#, "get nodes");
        check(
            "get",
            "/x",
            r#""resource":"namespaces","namespace":"n","name":"n""#,
            "describe namespaces n",
        );
        check("create", "/x", r#""resource":"selfsubjectrulesreviews""#, "auth can-i --list");
        check("get", "/healthz", "", "");
    }
}

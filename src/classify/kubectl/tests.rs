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

/// What a real kubectl sends is in `tests/data/kubectl/typed.ndjson`. Here stands what it cannot show.
#[track_caller]
fn told(event: &str, expected: &str) {
    json::check(event, 64).unwrap();
    let event = AuditEvent::new(event, json::members(event).collect());
    assert_eq!(kubectl(&event).unwrap_or_default(), expected, "{}", event.text);
}

/// An event of kubectl's: verb, path and query below `/x`, the object, the body.
fn typed(verb: &str, query: &str, object: &str, body: &str) -> String {
    format!(
        r#"{{"verb":"{verb}","requestURI":"/x{query}","user":{{"username":"alice"}},
            "userAgent":"kubectl/v1.35.0","objectRef":{{{object}}},"requestObject":{body}}}"#
    )
}

const WEB: &str = r#""resource":"deployments","apiGroup":"apps","namespace":"shop","name":"web","apiVersion":"v1""#;

#[test]
fn commands_that_leave_no_field_manager() {
    let cases = [
        (
            "patch",
            WEB,
            r#"[{"op":"replace","path":"/spec/template","value":{}},{"op":"replace","path":"/metadata/annotations","value":{}}]"#,
            "rollout undo deployments web --namespace shop",
        ),
        (
            "patch",
            r#""resource":"daemonsets","apiGroup":"apps","namespace":"shop","name":"a""#,
            r#"{"spec":{"template":{"$patch":"replace","spec":{}}}}"#,
            "rollout undo ds a --namespace shop",
        ),
        ("patch", WEB, r#"{"spec":{"template":{}}}"#, "patch deployments web --namespace shop"),
        (
            "patch",
            r#""resource":"nodes","name":"n""#,
            r#"{"spec":{"unschedulable":true}}"#,
            "cordon n",
        ),
        (
            "patch",
            r#""resource":"nodes","name":"n""#,
            r#"{"spec":{"unschedulable":null}}"#,
            "uncordon n",
        ),
        (
            "patch",
            r#""resource":"nodes","name":"n""#,
            r#"{"spec":{"unschedulable":true,"taints":[]}}"#,
            "patch nodes n",
        ),
        (
            "patch",
            r#""resource":"nodes","name":"n""#,
            r#"{"spec":{"unschedulable":true},"metadata":{"labels":{"a":"b"}}}"#,
            "patch nodes n",
        ),
        // Before 1.18 kubectl did not name itself.
        ("update", WEB, "{}", "replace -f"),
        ("create", WEB, "{}", "create -f"),
        (
            "update",
            r#""resource":"roles","apiGroup":"rbac.authorization.k8s.io","namespace":"n","name":"r""#,
            "{}",
            "auth reconcile -f",
        ),
        (
            "update",
            r#""resource":"namespaces","namespace":"n","name":"n","subresource":"finalize""#,
            "{}",
            "replace --raw /x",
        ),
        (
            "update",
            r#""resource":"certificatesigningrequests","name":"c","subresource":"status""#,
            "{}",
            "replace --raw /x",
        ),
    ];
    for (verb, object, body, expected) in cases {
        told(&typed(verb, "", object, body), expected);
    }
}

#[test]
fn a_plain_create_is_told_whole_and_no_other() {
    let plain = r#""containers":[{"name":"c","image":"i:1","resources":{},"imagePullPolicy":"Always"}],"securityContext":{}"#;
    let of = |pod: &str, more: &str| {
        let body = format!(
            r#"{{"kind":"Deployment","metadata":{{"name":"web","creationTimestamp":null{more}}},
                "spec":{{"replicas":1,"template":{{"spec":{{{pod}}}}}}},"status":{{}}}}"#
        );
        typed("create", "?fieldManager=kubectl-create", WEB, &body)
    };
    let said = "create deployment web --image i:1 --replicas 1 --namespace shop";
    told(&of(plain, ""), said);
    told(&of(plain, r#","annotations":{}"#), said);
    told(&of(plain, r#","annotations":{"a":"b"}"#), "create -f");
    for more in [
        r#","hostPID":true"#,
        r#","serviceAccountName":"admin""#,
        r#","volumes":[{"name":"v","emptyDir":{}}]"#,
        r#","initContainers":[{"image":"i:1"}]"#,
        r#","securityContext":{"runAsUser":0}"#,
    ] {
        told(&of(&format!("{plain}{more}"), ""), "create -f");
    }
    let deep = format!("{}1{}", r#"{"a":"#.repeat(40), "}".repeat(40));
    told(&of(&format!(r#"{plain},"x":{deep}"#), ""), "create -f");
    // At the level Metadata nobody knows.
    let none = typed("create", "?fieldManager=kubectl-create", WEB, "null");
    told(&none, "create -f");

    let role = |rules: &str| {
        let object =
            r#""resource":"clusterroles","apiGroup":"rbac.authorization.k8s.io","name":"r""#;
        let body = format!(r#"{{"metadata":{{"name":"r"}},"rules":[{rules}]}}"#);
        typed("create", "?fieldManager=kubectl-create", object, &body)
    };
    let all = r#"{"verbs":["*"],"apiGroups":["*"],"resources":["*"]}"#;
    told(&role(all), "create clusterrole r --verb '*' --resource '*.*'");
    told(
        &role(&format!(r#"{all},{{"verbs":["get"],"apiGroups":[""],"resources":["a"]}}"#)),
        "create -f",
    );
    told(
        &role(r#"{"verbs":["get"],"apiGroups":[""],"resources":["a"],"resourceNames":["x"]}"#),
        "create -f",
    );
    told(&role(""), "create -f");
}

/// A client may call itself by any field manager, and may put any body behind it.
#[test]
fn what_is_more_than_the_command_is_not_told_as_it() {
    let cases = [
        (
            "-label",
            r#"{"metadata":{"labels":{"a":"b","c":null}}}"#,
            "label deployments web a=b c- --namespace shop",
        ),
        ("-label", "null", "label deployments web --namespace shop"),
        ("-label", r#"{"metadata":{"labels":{"a":"b"},"finalizers":null}}"#, ""),
        (
            "-label",
            r#"{"metadata":{"labels":{"a":"b"}},"spec":{"template":{"spec":{"hostPID":true}}}}"#,
            "",
        ),
        ("-annotate", r#"{"metadata":{"labels":{"a":"b"}}}"#, ""),
        (
            "-rollout",
            r#"{"spec":{"paused":true}}"#,
            "rollout pause deployments web --namespace shop",
        ),
        (
            "-rollout",
            r#"{"spec":{"paused":null}}"#,
            "rollout resume deployments web --namespace shop",
        ),
        ("-rollout", r#"{"spec":{"paused":null,"replicas":0}}"#, ""),
        ("-rollout", "null", "rollout deployments web --namespace shop"),
        ("-set", "null", "set deployments web --namespace shop"),
        (
            "-set",
            r#"{"spec":{"template":{"spec":{"containers":[{"name":"c","image":"i:2"},{"name":"d"}]}}}}"#,
            "set image deployments web c=i:2 --namespace shop",
        ),
        (
            "-set",
            r#"{"spec":{"template":{"spec":{"containers":[{"name":"c","image":"i:2","securityContext":{"privileged":true}}]}}}}"#,
            "",
        ),
        (
            "-set",
            r#"{"spec":{"template":{"spec":{"containers":[{"name":"c","env":[{"name":"A","value":"1"},{"name":"B","$patch":"delete"}]}]}}}}"#,
            "set env deployments web A=1 B- --namespace shop",
        ),
        ("-unheard-of", "{}", ""),
    ];
    for (manager, body, expected) in cases {
        let event = typed("patch", &format!("?fieldManager=kubectl{manager}"), WEB, body);
        let patch = "patch deployments web --namespace shop";
        told(&event, if expected.is_empty() { patch } else { expected });
    }
    let pod = r#""resource":"pods","namespace":"n","name":"p""#;
    let run = |spec: &str| {
        let body =
            format!(r#"{{"metadata":{{"name":"p","labels":{{"run":"p"}}}},"spec":{{{spec}}}}}"#);
        typed("create", "?fieldManager=kubectl-run", pod, &body)
    };
    let container = r#""containers":[{"name":"p","image":"i","args":["id"]}]"#;
    told(&run(container), "run p --image i --namespace n -- id");
    told(
        &run(&format!(r#"{container},"hostPID":true"#)),
        "run p --image i --overrides … --namespace n",
    );

    let exec = r#""resource":"pods","namespace":"n","name":"p","subresource":"exec""#;
    let words = |words: &[&str]| format!("?command={}", words.join("&command="));
    let cases: [(&[&str], &str); 5] = [
        (&["tar", "cf", "-", "/etc"], "cp p:/etc . --namespace n"),
        (&["tar", "-xmf", "-", "-C", "/bin"], "cp . p:/bin --namespace n"),
        (&["tar", "cf", "-", "/etc", "/home"], "exec p --namespace n -- tar cf - /etc /home"),
        (
            &["tar", "cf", "-", "--use-compress-program=x"],
            "exec p --namespace n -- tar cf - --use-compress-program=x",
        ),
        (&["tar", "cf", "-"], "exec p --namespace n -- tar cf -"),
    ];
    for (command, expected) in cases {
        check("get", &format!("/x{}", words(command)), exec, expected);
    }
}

#[test]
fn who_is_a_person() {
    let cases = [
        ("alice", "kubectl/v1.35.0 (linux/amd64) kubernetes/6645204", true),
        ("alice", "kubectl.exe/v1.29.0", true),
        ("alice", "kubectl-dispatcher/v1.0 (linux/amd64)", false),
        ("alice", "", true),
        ("alice", "Go-http-client/2.0", true),
        ("alice", "Helm/3.16", true),
        ("alice", "kube-scheduler/v1.35.0 (linux/amd64) kubernetes/6645204/leader-election", false),
        ("alice", "flux-operator/v0.1", false),
        ("system:admin", "", true),
        ("system:anonymous", "curl/8.5.0", true),
        ("system:anonymous", "kube-probe/1.35", false),
        ("system:apiserver", "kube-apiserver/v1.35.0", false),
        ("system:kube-controller-manager", "", false),
        ("system:node:worker-1", "kubelet/v1.35.0", false),
        // Stolen credentials.
        ("system:node:worker-1", "kubectl/v1.35.0", true),
        ("system:serviceaccount:shop:checkout", "curl/8.5.0", true),
        ("system:serviceaccount:kube-system:replicaset-controller", "kubectl/v1.35.0", true),
        ("system:serviceaccount:kube-system:replicaset-controller", "", false),
        ("system:serviceaccount:shop:checkout", "", true),
        ("system:serviceaccount:monitoring:prometheus", "Prometheus/2.53.0", false),
        (
            "system:serviceaccount:shop:checkout",
            "checkout/v1 (linux/amd64) kubernetes/$Format",
            false,
        ),
        ("eks:node-manager", "vpcLambda/v0.0.0", false),
    ];
    for (user, agent, expected) in cases {
        let event = format!(
            r#"{{"verb":"list","user":{{"username":"{user}"}},"userAgent":"{agent}","objectRef":{{"resource":"pods"}}}}"#
        );
        told(&event, if expected { "get pods --all-namespaces" } else { "" });
    }
}

#[test]
fn what_only_leaders_and_programs_do_is_no_command() {
    let by = |verb: &str, resource: &str, agent: &str| {
        format!(
            r#"{{"verb":"{verb}","requestURI":"/x","userAgent":"{agent}","objectRef":{{"resource":"{resource}","namespace":"n","name":"l"}}}}"#
        )
    };
    told(&by("get", "leases", "app/v1"), "");
    told(&by("get", "leases", "kubectl/v1"), "describe leases l --namespace n");
    told(&by("create", "events", "app/v1"), "");
    told(&by("patch", "events", "app/v1"), "");
    told(&by("create", "tokenreviews", "app/v1"), "");
    told(&by("create", "tokenreviews", "kubectl/v1"), "create -f");
    told(&by("", "pods", "kubectl/v1"), "");
    let path = |verb: &str, uri: &str, agent: &str| {
        format!(r#"{{"verb":"{verb}","requestURI":"{uri}","userAgent":"{agent}"}}"#)
    };
    told(&path("get", "/readyz", "kube-probe/1.35"), "");
    told(&path("get", "/readyz", "app/v1"), "");
    told(&path("get", "/readyz", "curl/8"), "get --raw /readyz");
    told(&path("post", "/x y", "curl/8"), "create --raw '/x y'");
    told(&path("propfind", "/x", "curl/8"), "");
    told(&path("get", "/openapi/v2", "kubectl/v1"), "");
    told(&path("get", "/version?timeout=32s", "kubectl/v1"), "version");
    told(&path("get", "/versions", "curl/8"), "get --raw /versions");
}

#[test]
fn impersonation() {
    let as_user = |user: &str| {
        format!(
            r#"{{"verb":"delete","requestURI":"/x?dryRun=All","user":{{"username":"alice"}},"impersonatedUser":{user},
                "objectRef":{{"resource":"pods","namespace":"n","name":"p"}}}}"#
        )
    };
    let cases = [
        (r#"{"username":"bob"}"#, "--as bob"),
        (
            r#"{"username":"o'neill","uid":"7","groups":["devs","system:masters","system:authenticated"]}"#,
            r"--as 'o'\''neill' --as-group devs --as-group system:masters --as-uid 7",
        ),
        (
            r#"{"username":"system:serviceaccount:a:b","groups":["system:serviceaccounts","system:serviceaccounts:a","ops"]}"#,
            "--as system:serviceaccount:a:b --as-group ops",
        ),
        // Whoever asks for these as somebody else asks for more.
        (
            r#"{"username":"bob","groups":["system:serviceaccounts"]}"#,
            "--as bob --as-group system:serviceaccounts",
        ),
    ];
    for (user, flags) in cases {
        told(&as_user(user), &format!("delete pods p --namespace n --dry-run=server {flags}"));
    }
}

#[test]
fn resources_and_scopes() {
    let cases = [
        ("list", r#""resource":"pods","apiGroup":"metrics.k8s.io""#, "top pods --all-namespaces"),
        ("get", r#""resource":"nodes","apiGroup":"metrics.k8s.io","name":"n""#, "top nodes n"),
        (
            "get",
            r#""resource":"secrets","apiGroup":"example.com","namespace":"n","name":"s""#,
            "get secrets.example.com s --namespace n",
        ),
        ("list", r#""resource":"daemonsets","apiGroup":"extensions""#, "get ds --all-namespaces"),
        (
            "watch",
            r#""resource":"pods","namespace":"n","name":"p""#,
            "get pods p --watch --namespace n",
        ),
        (
            "deletecollection",
            r#""resource":"widgets","apiGroup":"example.com""#,
            "delete widgets.example.com --all --all-namespaces",
        ),
        ("get", r#""resource":"pods","namespace":"n","name":"p","subresource":"status""#, ""),
    ];
    for (verb, object, expected) in cases {
        check(verb, "/x", object, expected);
    }
    check(
        "deletecollection",
        "/x?labelSelector=a%3Db",
        r#""resource":"pods","namespace":"n""#,
        "delete pods --namespace n --selector a=b",
    );
}

#[test]
fn hostile_bodies_do_not_grow_a_label_nor_stop_it() {
    let pod = r#""resource":"pods","namespace":"n","name":"p""#;
    let labels = |body: &str| typed("patch", "?fieldManager=kubectl-label", pod, body);
    let long = "é".repeat(1 << 20);
    told(
        &labels(&format!(r#"{{"metadata":{{"labels":{{"a":"{long}"}}}}}}"#)),
        &format!("label pods p 'a={}…' --namespace n", "é".repeat(127)),
    );
    let many: Vec<String> = (0..100_000).map(|it| format!(r#""k{it}":"v""#)).collect();
    let event = labels(&format!(r#"{{"metadata":{{"labels":{{{}}}}}}}"#, many.join(",")));
    let event = AuditEvent::new(&event, json::members(&event).collect());
    let label = kubectl(&event).unwrap();
    assert!(label.len() < 4096 && label.ends_with(" k306=v … --namespace n"), "{label}");
    for body in ["null", "[]", "[[[]]]", "7", r#""x""#, r#"{"metadata":[{"labels":7}]}"#] {
        for manager in
            ["", "-run", "-set", "-create", "-expose", "-autoscale", "-rollout", "-taint"]
        {
            for verb in ["create", "update", "patch", "delete"] {
                for resource in [
                    "pods",
                    "roles",
                    "rolebindings",
                    "services",
                    "deployments",
                    "jobs",
                    "selfsubjectaccessreviews",
                ] {
                    let query = format!("?fieldManager=kubectl{manager}");
                    let text = typed(verb, &query, &format!(r#""resource":"{resource}""#), body);
                    let event = AuditEvent::new(&text, json::members(&text).collect());
                    assert!(kubectl(&event).is_some(), "{text}");
                }
            }
        }
    }
}

/// A row behind one that takes all that it takes is never reached.
#[test]
fn no_row_stands_behind_one_that_takes_all() {
    for verb in ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"]
    {
        let rows = table::rows(verb);
        assert!(!rows.is_empty(), "{verb}");
        for (index, row) in rows.iter().enumerate() {
            let earlier = &rows[..index];
            let hides = |it: &Row| {
                it.when.is_empty()
                    && it.sub == row.sub
                    && (it.on.is_empty()
                        || (!row.on.is_empty() && row.on.iter().all(|on| it.on.contains(on))))
            };
            assert!(!earlier.iter().any(hides), "{verb}: {row:?}");
        }
    }
}

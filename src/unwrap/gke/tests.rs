use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// An entry as GKE writes it: a pod was created.
fn entry() -> Value {
    json!({
        "insertId": "0b7c-1",
        "labels": {
            "authorization.k8s.io/decision": "allow",
            "authorization.k8s.io/reason": "access granted by IAM permissions.",
        },
        "logName": "projects/shop-1/logs/cloudaudit.googleapis.com%2Factivity",
        "operation": {"id": "0b7c-1", "producer": "k8s.io", "first": true, "last": true},
        "protoPayload": {
            "@type": AUDIT_LOG,
            "authenticationInfo": {"principalEmail": "alice@example.com"},
            "authorizationInfo": [{
                "granted": true,
                "permission": "io.k8s.core.v1.pods.create",
                "resource": "core/v1/namespaces/shop/pods/db",
            }],
            "methodName": "io.k8s.core.v1.pods.create",
            "requestMetadata": {"callerIp": "192.0.2.7", "callerSuppliedUserAgent": "kubectl/v1.33.0"},
            "resourceName": "core/v1/namespaces/shop/pods/db",
            "serviceName": "k8s.io",
            "status": {"code": 0},
            "request": {"@type": "core.k8s.io/v1.Pod", "kind": "Pod", "spec": {"hostPID": true}},
            "response": {"@type": "core.k8s.io/v1.Pod", "kind": "Pod"},
        },
        "receiveTimestamp": "2026-03-01T10:00:03.123456789Z",
        "resource": {
            "type": "k8s_cluster",
            "labels": {"cluster_name": "demo", "location": "europe-west1", "project_id": "shop-1"},
        },
        "timestamp": "2026-03-01T10:00:02.040000Z",
    })
}

/// The entry with values put in, or taken out with `null`, at JSON pointers.
fn entry_with(changes: &[(&str, Value)]) -> Value {
    let mut entry = entry();
    for (pointer, value) in changes {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        let parent = entry.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        let key = key.replace("~1", "/");
        if value.is_null() {
            parent.shift_remove(&key);
        } else {
            parent.insert(key, value.clone());
        }
    }
    entry
}

fn converted(text: &str) -> Option<(Value, String)> {
    let mut members = Vec::new();
    json::object(text, json::DEPTH_MAX, &mut members).unwrap();
    let mut out = String::from("before ");
    let found = convert(&members, &mut out).is_some();
    let event = out.strip_prefix("before ").unwrap().to_owned();
    assert_eq!(found, !event.is_empty());
    found.then(|| (serde_json::from_str(&event).expect(&event), event))
}

#[track_caller]
fn event_with(changes: &[(&str, Value)]) -> Value {
    converted(&entry_with(changes).to_string()).expect("an event").0
}

#[test]
fn an_entry_becomes_an_event_of_the_api_server() {
    let text = entry().to_string();
    let expected = json!({
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "RequestResponse",
        "auditID": "0b7c-1",
        "stage": "ResponseComplete",
        "requestURI": "/api/v1/namespaces/shop/pods",
        "verb": "create",
        "user": {"username": "alice@example.com"},
        "sourceIPs": ["192.0.2.7"],
        "userAgent": "kubectl/v1.33.0",
        "objectRef": {"resource": "pods", "namespace": "shop", "name": "db", "apiVersion": "v1"},
        "responseStatus": {"metadata": {}, "status": "Success", "code": 201},
        "requestObject": {"kind": "Pod", "spec": {"hostPID": true}},
        "responseObject": {"kind": "Pod"},
        "requestReceivedTimestamp": "2026-03-01T10:00:02.040000Z",
        "stageTimestamp": "2026-03-01T10:00:02.040000Z",
        "annotations": {
            "authorization.k8s.io/decision": "allow",
            "authorization.k8s.io/reason": "access granted by IAM permissions.",
        },
        "protoPayload": {
            "methodName": "io.k8s.core.v1.pods.create",
            "resourceName": "core/v1/namespaces/shop/pods/db",
            "serviceName": "k8s.io",
            "status": {"code": 0},
            "authorizationInfo": entry()["protoPayload"]["authorizationInfo"],
        },
        "operation": {"id": "0b7c-1", "producer": "k8s.io", "first": true, "last": true},
        "logName": "projects/shop-1/logs/cloudaudit.googleapis.com%2Factivity",
        "insertId": "0b7c-1",
    });
    assert_eq!(converted(&text).unwrap().1, expected.to_string(), "in this order");

    let mut members = Vec::new();
    json::object(&text, 100, &mut members).unwrap();
    assert!(is_entry(&members));
    let told = convert(&members, &mut String::new()).unwrap();
    let expected = Entry {
        cluster: Some("demo".into()),
        location: Some("europe-west1".into()),
        project: Some("shop-1".into()),
        received: Some("2026-03-01T10:00:03.123456789Z".into()),
        log_name: Some("projects/shop-1/logs/cloudaudit.googleapis.com%2Factivity".into()),
        insert_id: Some("0b7c-1".into()),
    };
    assert_eq!(told, expected);
}

#[test]
fn values_are_copied_as_they_stand_and_lines_are_joined() {
    let text = entry_with(&[("/protoPayload/request", json!({"n": 1, "s": "é"}))]);
    let text = serde_json::to_string_pretty(&text).unwrap();
    let text = text.replace("\"n\": 1", "\"n\":\r1.50e3").replace('é', "\\u00e9");
    let (event, out) = converted(&text).unwrap();
    assert_eq!(event["requestObject"], json!({"n": 1500.0, "s": "é"}));
    assert!(out.contains("1.50e3") && out.contains("\\u00e9"), "{out}");
    assert!(!out.contains(['\n', '\r']), "{out}");
}

#[test]
fn resources_are_read_from_the_resource_name() {
    // method, resource name, path, resource, subresource, namespace, name, group
    let ns = "core/v1/namespaces";
    let rbac = "rbac.authorization.k8s.io/v1";
    let cases = [
        ("pods.list", format!("{ns}/a/pods"), "/api/v1/namespaces/a/pods", "pods - a - -"),
        ("pods.get", format!("{ns}/a/pods/p"), "/api/v1/namespaces/a/pods/p", "pods - a p -"),
        ("pods.create", format!("{ns}/a/pods/p"), "/api/v1/namespaces/a/pods", "pods - a p -"),
        ("pods.create", format!("{ns}/a/pods"), "/api/v1/namespaces/a/pods", "pods - a - -"),
        ("pods.watch", format!("{ns}/a/pods/p"), "/api/v1/namespaces/a/pods", "pods - a p -"),
        ("pods.delete", format!("{ns}/a/pods/p"), "/api/v1/namespaces/a/pods/p", "pods - a p -"),
        (
            "pods.deletecollection",
            format!("{ns}/a/pods"),
            "/api/v1/namespaces/a/pods",
            "pods - a - -",
        ),
        (
            "pods.exec.create",
            format!("{ns}/a/pods/p/exec"),
            "/api/v1/namespaces/a/pods/p/exec",
            "pods exec a p -",
        ),
        (
            "pods.status.patch",
            format!("{ns}/a/pods/p/status"),
            "/api/v1/namespaces/a/pods/p/status",
            "pods status a p -",
        ),
        (
            "services.proxy.get",
            format!("{ns}/a/services/s/proxy/x/y"),
            "/api/v1/namespaces/a/services/s/proxy/x/y",
            "services proxy a s -",
        ),
        ("nodes.list", "core/v1/nodes".into(), "/api/v1/nodes", "nodes - - - -"),
        ("nodes.get", "core/v1/nodes/n1".into(), "/api/v1/nodes/n1", "nodes - - n1 -"),
        (
            "nodes.proxy.get",
            "core/v1/nodes/n1/proxy/run/x".into(),
            "/api/v1/nodes/n1/proxy/run/x",
            "nodes proxy - n1 -",
        ),
        ("namespaces.list", ns.into(), "/api/v1/namespaces", "namespaces - - - -"),
        ("namespaces.create", format!("{ns}/a"), "/api/v1/namespaces", "namespaces - - a -"),
        ("namespaces.delete", format!("{ns}/a"), "/api/v1/namespaces/a", "namespaces - a a -"),
        (
            "namespaces.finalize.update",
            format!("{ns}/a/finalize"),
            "/api/v1/namespaces/a/finalize",
            "namespaces finalize a a -",
        ),
        (
            "namespaces.status.patch",
            format!("{ns}/a/status"),
            "/api/v1/namespaces/a/status",
            "namespaces status a a -",
        ),
        (
            "clusterroles.list",
            format!("{rbac}/clusterroles"),
            "/apis/rbac.authorization.k8s.io/v1/clusterroles",
            "clusterroles - - - rbac.authorization.k8s.io",
        ),
        (
            "roles.get",
            format!("{rbac}/namespaces/a/roles/system:r"),
            "/apis/rbac.authorization.k8s.io/v1/namespaces/a/roles/system:r",
            "roles - a system:r rbac.authorization.k8s.io",
        ),
        (
            "nodes.get",
            "core/v1/nodes/n 1?x%/".into(),
            "/api/v1/nodes/n%201%3Fx%25",
            "nodes - - n 1?x% -",
        ),
    ];
    for (method, name, path, object) in cases {
        let method = format!("io.k8s.any.v1.{method}");
        let event = event_with(&[
            ("/protoPayload/methodName", json!(method)),
            ("/protoPayload/resourceName", json!(name)),
        ]);
        assert_eq!(event["requestURI"], path, "{method} {name}");
        assert_eq!(event["verb"], method.rsplit('.').next().unwrap(), "{method} {name}");
        let fields = ["resource", "subresource", "namespace", "name", "apiGroup"]
            .map(|it| event["objectRef"].get(it).map_or("-", |it| it.as_str().unwrap()));
        // A name may have a blank in it.
        assert_eq!(fields.join(" "), object, "{method} {name}");
    }
}

#[test]
fn methods_that_name_no_resource() {
    let cases = [
        ("io.k8s.get", Some("readyz"), Some("/readyz"), "get"),
        ("io.k8s.get", Some("/api/v1"), Some("/api/v1"), "get"),
        ("io.k8s.get", Some("core"), Some("/core"), "get"),
        (
            "io.k8s.post",
            Some("apis/apps/v1/deployments"),
            Some("/apis/apps/v1/deployments"),
            "post",
        ),
        ("io.k8s.readyz", Some("readyz"), Some("/readyz"), "get"),
        ("io.k8s.get", Some("a b?c"), Some("/a%20b%3Fc"), "get"),
    ];
    for (method, name, uri, verb) in cases {
        let event = event_with(&[
            ("/protoPayload/methodName", json!(method)),
            ("/protoPayload/resourceName", json!(name)),
            ("/protoPayload/authorizationInfo", Value::Null),
        ]);
        assert_eq!(event.get("requestURI").and_then(Value::as_str), uri, "{method} {name:?}");
        assert_eq!((&event["verb"], event.get("objectRef")), (&json!(verb), None), "{method}");
    }
}

#[test]
fn without_a_resource_name_the_permission_tells() {
    let review = "authorization.k8s.io/v1/subjectaccessreviews";
    for name in [json!(""), Value::Null] {
        let event = event_with(&[
            (
                "/protoPayload/methodName",
                json!("io.k8s.authorization.v1.subjectaccessreviews.create"),
            ),
            ("/protoPayload/resourceName", name),
            ("/protoPayload/authorizationInfo", json!([{"granted": true, "resource": review}])),
        ]);
        assert_eq!(event["objectRef"]["resource"], "subjectaccessreviews");
        assert_eq!(event["requestURI"], format!("/apis/{review}"));
    }
    for name in ["", "pods", "core/v1", "core//pods", "/v1/pods", "core/v1/namespaces/a//b"] {
        let event = event_with(&[
            ("/protoPayload/resourceName", json!(name)),
            ("/protoPayload/authorizationInfo", Value::Null),
        ]);
        assert_eq!((event.get("objectRef"), event.get("requestURI")), (None, None), "{name:?}");
        assert_eq!(event["verb"], "create");
    }
    let path = event_with(&[
        ("/protoPayload/methodName", json!("io.k8s.get")),
        ("/protoPayload/resourceName", json!("")),
        ("/protoPayload/authorizationInfo", Value::Null),
    ]);
    assert_eq!(path["requestURI"], "/");
}

#[test]
fn the_command_of_an_exec_is_in_the_request_uri() {
    let exec = |method: &str, subresource: &str| {
        let event = event_with(&[
            ("/labels/command.gke.io~1command", json!("sh -c id; cat /etc/passwd & é+")),
            (
                "/protoPayload/methodName",
                json!(format!("io.k8s.core.v1.pods.{subresource}.{method}")),
            ),
            (
                "/protoPayload/resourceName",
                json!(format!("core/v1/namespaces/a/pods/p/{subresource}")),
            ),
        ]);
        assert_eq!(event["verb"], method);
        event
    };
    for (method, subresource) in [("create", "exec"), ("get", "exec"), ("get", "attach")] {
        let event = exec(method, subresource);
        let query = "command=sh+-c+id%3B+cat+%2Fetc%2Fpasswd+%26+%C3%A9%2B";
        let uri = format!("/api/v1/namespaces/a/pods/p/{subresource}?{query}");
        assert_eq!(event["requestURI"], uri);
        assert_eq!(event["responseStatus"]["code"], 101);
        let text = event.to_string();
        let read = crate::event::AuditEvent::new(&text, json::members(&text).collect());
        assert_eq!(read.container_command().unwrap(), "sh -c id; cat /etc/passwd & é+");
    }
    assert_eq!(exec("get", "log")["requestURI"], "/api/v1/namespaces/a/pods/p/log");
}

#[test]
fn codes_become_those_of_http() {
    let expected =
        [200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401];
    for (code, http) in expected.into_iter().enumerate() {
        let event = event_with(&[
            ("/protoPayload/methodName", json!("io.k8s.core.v1.pods.delete")),
            ("/protoPayload/status", json!({"code": code, "message": "m"})),
        ]);
        let status = if code == 0 { "Success" } else { "Failure" };
        let expected = json!({"metadata": {}, "status": status, "message": "m", "code": http});
        assert_eq!(event["responseStatus"], expected, "{code}");
    }
    let cases = [
        (json!({}), json!({"metadata": {}, "status": "Success", "code": 201})),
        (json!({"code": 99}), json!({"metadata": {}, "status": "Failure"})),
        (json!({"code": "7"}), json!({"metadata": {}})),
        (Value::Null, Value::Null),
    ];
    for (status, expected) in cases {
        let event = event_with(&[("/protoPayload/status", status.clone())]);
        assert_eq!(event["responseStatus"], expected, "{status}");
    }
}

#[test]
fn the_answer_of_the_api_server_says_more_than_the_code() {
    let answer = |status: &str, code: Value| {
        json!({"@type": "core.k8s.io/v1.Status", "status": status, "reason": "Invalid",
            "message": "spec: no", "code": code})
    };
    let status = |response| {
        let changes =
            [("/protoPayload/status", json!({"code": 3})), ("/protoPayload/response", response)];
        event_with(&changes)["responseStatus"].clone()
    };
    let whole = json!({"metadata": {}, "status": "Failure", "message": "spec: no",
        "reason": "Invalid", "code": 422});
    assert_eq!(status(answer("Failure", json!(422))), whole);
    for (name, code) in [("Success", json!(200)), ("Failure", json!("422")), ("Failure", json!(1))]
    {
        assert_eq!(status(answer(name, code))["code"], 400);
    }
}

#[test]
fn who_it_was() {
    let anonymous = Some("system:anonymous");
    let agent = "system:serviceaccount:proxy:agent";
    let cases = [
        (json!({"principalEmail": "a@example.com"}), true, Some("a@example.com"), None),
        // Whom the caller acted as is the selector.
        (
            json!({"principalEmail": agent, "authoritySelector": "admin"}),
            true,
            Some(agent),
            Some("admin"),
        ),
        (json!({"principalEmail": agent, "authoritySelector": ""}), true, Some(agent), None),
        (
            json!({"principalSubject": "principal://pool/bob"}),
            true,
            Some("principal://pool/bob"),
            None,
        ),
        (json!({"principalEmail": ""}), true, anonymous, None),
        (Value::Null, true, anonymous, None),
        (json!({}), false, None, None),
    ];
    for (info, granted, user, impersonated) in cases {
        let decision = if granted { "allow" } else { "forbid" };
        let event = event_with(&[
            ("/protoPayload/authenticationInfo", info.clone()),
            ("/labels/authorization.k8s.io~1decision", json!(decision)),
        ]);
        let name = |key: &str| event.get(key).map(|it| it["username"].as_str().unwrap());
        assert_eq!((name("user"), name("impersonatedUser")), (user, impersonated), "{info}");
    }
}

#[test]
fn decisions() {
    let label = |it: &str| json!({"authorization.k8s.io/decision": it});
    let granted = |it: Value| json!([it]);
    let cases = [
        (label("forbid"), granted(json!({"granted": true})), Some("forbid")),
        (json!({"a": "b"}), granted(json!({"granted": true})), Some("allow")),
        (Value::Null, granted(json!({"granted": true})), Some("allow")),
        // What is false is left out.
        (Value::Null, granted(json!({"permission": "p"})), Some("forbid")),
        (json!({DECISION: 7}), granted(json!({"granted": true})), Some("allow")),
        (Value::Null, json!([]), None),
        (Value::Null, Value::Null, None),
        (json!({"a": "b"}), Value::Null, None),
    ];
    for (labels, authorized, decision) in cases {
        let entry = entry_with(&[
            ("/labels", labels.clone()),
            ("/protoPayload/authorizationInfo", authorized.clone()),
        ]);
        let (event, text) = converted(&entry.to_string()).unwrap();
        let annotations = event.get("annotations");
        let count = annotations.map_or(0, |it| it.as_object().unwrap().len());
        assert_eq!(keys(json::get(&text, "annotations").unwrap_or_default()).len(), count);
        let told = annotations.and_then(|it| it.get(DECISION)).and_then(Value::as_str);
        assert_eq!(told, decision, "{labels} {authorized}");
        let other = labels.get("a").and_then(Value::as_str);
        let kept = annotations.and_then(|it| it.get("a")).and_then(Value::as_str);
        assert_eq!(kept, other, "{labels} {authorized}");
    }
}

#[test]
fn stages_levels_and_ids() {
    let stages = [
        (json!({"first": true, "last": true}), Some("ResponseComplete")),
        (json!({"last": true}), Some("ResponseComplete")),
        (json!({"first": true}), Some("ResponseStarted")),
        (json!({"first": true, "last": false}), Some("ResponseStarted")),
        (json!({"id": "x"}), None),
        (Value::Null, None),
    ];
    for (operation, stage) in stages {
        let event = event_with(&[("/operation", operation.clone())]);
        assert_eq!(event.get("stage").and_then(Value::as_str), stage, "{operation}");
    }
    let pod = json!({"@type": "core.k8s.io/v1.Pod", "kind": "Pod"});
    let empty = json!({"@type": "meta.k8s.io/v1.DeleteOptions"});
    let levels = [
        (pod.clone(), pod.clone(), "RequestResponse"),
        (Value::Null, pod.clone(), "RequestResponse"),
        (pod, Value::Null, "Request"),
        (empty, Value::Null, "Request"),
        (Value::Null, Value::Null, "Metadata"),
    ];
    for (request, response, level) in levels {
        let has = [!request.is_null(), !response.is_null()];
        let event =
            event_with(&[("/protoPayload/request", request), ("/protoPayload/response", response)]);
        assert_eq!(event["level"], level);
        let bodies = ["requestObject", "responseObject"].map(|it| event.get(it));
        assert_eq!(bodies.map(|it| it.is_some()), has, "{level}");
        assert!(bodies.into_iter().flatten().all(|it| it.get("@type").is_none()));
    }
    assert_eq!(event_with(&[("/insertId", Value::Null)])["auditID"], "0b7c-1", "of the operation");
}

#[test]
fn what_is_no_address_stays_a_source() {
    for address in ["::1", "private", "gce-internal-ip"] {
        let event = event_with(&[("/protoPayload/requestMetadata/callerIp", json!(address))]);
        assert_eq!(event["sourceIPs"], json!([address]));
    }
    let event = event_with(&[("/protoPayload/requestMetadata", Value::Null)]);
    assert_eq!((event.get("sourceIPs"), event.get("userAgent")), (None, None));
}

#[test]
fn other_entries_are_none() {
    let cases = [
        (true, vec![]),
        (true, vec![("/resource", Value::Null)]),
        (true, vec![("/protoPayload/serviceName", Value::Null)]),
        (true, vec![("/protoPayload/@type", Value::Null)]),
        // A cluster that is registered from elsewhere.
        (true, vec![("/protoPayload/serviceName", json!("anthosgke.googleapis.com"))]),
        (
            false,
            vec![
                ("/protoPayload/serviceName", Value::Null),
                ("/resource/type", json!("gke_cluster")),
            ],
        ),
        (
            false,
            vec![
                ("/protoPayload/serviceName", json!("container.googleapis.com")),
                (
                    "/protoPayload/methodName",
                    json!("google.container.v1.ClusterManager.CreateCluster"),
                ),
                ("/resource/type", json!("gke_cluster")),
            ],
        ),
        (
            false,
            vec![
                ("/protoPayload/serviceName", json!("container.googleapis.com")),
                (
                    "/protoPayload/methodName",
                    json!("google.container.v1.ClusterManager.CreateCluster"),
                ),
            ],
        ),
        (false, vec![("/protoPayload", Value::Null)]),
        (false, vec![("/protoPayload", json!("io.k8s.core.v1.pods.create"))]),
        (
            false,
            vec![("/protoPayload/methodName", Value::Null), ("/protoPayload/@type", json!("x"))],
        ),
    ];
    for (expected, changes) in cases {
        let text = entry_with(&changes).to_string();
        let members: Vec<_> = json::members(&text).collect();
        assert_eq!(is_entry(&members), expected, "{changes:?}");
    }
    let nameless = entry_with(&[("/protoPayload/methodName", Value::Null)]);
    assert!(converted(&nameless.to_string()).is_none(), "there is no event without a verb");
}

/// Texts that are keys or values of entries, and some that are not.
const WORDS: [&str; 40] = [
    "insertId",
    "labels",
    "logName",
    "operation",
    "protoPayload",
    "resource",
    "timestamp",
    "id",
    "first",
    "last",
    "authenticationInfo",
    "principalEmail",
    "authoritySelector",
    "authorizationInfo",
    "granted",
    "methodName",
    "resourceName",
    "serviceName",
    "status",
    "code",
    "message",
    "request",
    "response",
    "@type",
    "kind",
    "Status",
    "requestMetadata",
    "callerIp",
    DECISION,
    COMMAND,
    "allow",
    "k8s.io",
    "k8s_cluster",
    "io.k8s.get",
    "io.k8s.core.v1.pods.exec.create",
    "core/v1/namespaces/a/pods/p/exec",
    "core/v1/namespaces/a/finalize",
    "type",
    "\\ud800",
    "\\n\\\"é😀",
];

/// JSON text of any shape: keys may be there twice, blanks and line ends anywhere between tokens.
fn any_json() -> impl Strategy<Value = String> {
    let word = prop::sample::select(&WORDS[..]).prop_map(|it| format!("\"{it}\""));
    let other =
        prop::sample::select(vec!["0", "7", "-1.5e9", "true", "false", "null", "[]", "{}", "\"\""]);
    prop_oneof![3 => word.clone(), 2 => other.prop_map(str::to_owned)].prop_recursive(5, 60, 8, move |inner| {
        let pair = (word.clone(), inner.clone()).prop_map(|(key, value)| format!("{key}\n: {value}"));
        prop_oneof![
            1 => prop::collection::vec(inner, 0..3).prop_map(|it| format!("[{}]", it.join(" ,\r\n"))),
            3 => prop::collection::vec(pair, 0..8).prop_map(|it| format!("{{ {} }}", it.join(",\n"))),
        ]
    })
}

/// An object in which `protoPayload` and what is in it occur often enough.
fn any_entry() -> impl Strategy<Value = String> {
    let payload = prop::collection::vec((prop::sample::select(&WORDS[10..30]), any_json()), 0..10);
    let root = prop::collection::vec((prop::sample::select(&WORDS[..]), any_json()), 0..8);
    let method =
        prop::sample::select(vec!["io.k8s.get", "io.k8s.core.v1.pods.exec.create", "a.list", "."]);
    (root, payload, method).prop_map(|(root, payload, method)| {
        let join = |pairs: &[(&str, String)]| -> String {
            pairs.iter().map(|(key, value)| format!("\"{key}\":{value},")).collect()
        };
        format!(
            "{{{}\"protoPayload\":{{{}\"methodName\":\"{method}\"}}}}",
            join(&root),
            join(&payload)
        )
    })
}

/// Keys of an object, as they are decoded.
pub(in crate::unwrap) fn keys(object: &str) -> Vec<String> {
    json::members(object).map(|it| it.key().unwrap().into_owned()).collect()
}

/// What is true of each event that was appended to `out`.
pub(in crate::unwrap) fn check_event(out: &str) {
    assert_eq!(json::check(out, json::DEPTH_MAX), Ok(Kind::Object), "{out}");
    assert!(!out.contains(['\n', '\r']), "{out}");
    let built = ["user", "impersonatedUser", "objectRef", "responseStatus", "protoPayload"];
    let inner = built.iter().filter_map(|name| json::get(out, name));
    for object in [out].into_iter().chain(inner) {
        let mut keys = keys(object);
        let count = keys.len();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), count, "a key is there twice: {object}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn any_object_gives_one_event_on_one_line_or_none(text in prop_oneof![3 => any_entry(), 1 => any_json()]) {
        prop_assert!(json::check(&text, json::DEPTH_MAX).is_ok(), "{}", text);
        let members: Vec<_> = json::members(&text).collect();
        let (mut out, mut again) = (String::new(), String::new());
        is_entry(&members);
        let found = convert(&members, &mut out).is_some();
        prop_assert_eq!(found, convert(&members, &mut again).is_some());
        prop_assert_eq!(&out, &again);
        prop_assert_eq!(found, !out.is_empty());
        if found {
            check_event(&out);
        }
    }
}

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{super::gke::tests::check_event, *};

fn parsed(text: &str) -> Vec<Member<'_>> {
    let mut members = Vec::new();
    json::object(text, json::DEPTH_MAX, &mut members).unwrap();
    members
}

fn converted(document: &Value) -> Option<(Schema, Value)> {
    let text = document.to_string();
    let members = parsed(&text);
    let schema = schema(&members)?;
    let mut out = String::from("before ");
    let found = convert(schema, &members, &mut out);
    let event = out.strip_prefix("before ").unwrap();
    assert_eq!(found, !event.is_empty());
    found.then(|| {
        check_event(event);
        (schema, serde_json::from_str(event).unwrap())
    })
}

/// An event of the API server.
fn event() -> Value {
    json!({
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "Metadata",
        "auditID": "a-1",
        "stage": "ResponseComplete",
        "requestURI": "/api/v1/namespaces/shop/secrets/s",
        "verb": "get",
        "user": {"username": "alice", "groups": ["system:authenticated"]},
        "sourceIPs": ["192.0.2.7"],
        "objectRef": {"resource": "secrets", "namespace": "shop", "name": "s", "apiVersion": "v1"},
        "responseStatus": {"metadata": {}, "code": 200},
        "requestReceivedTimestamp": "2026-03-01T10:00:00.123456Z",
        "stageTimestamp": "2026-03-01T10:00:00.130000Z",
        "annotations": {"authorization.k8s.io/decision": "allow"},
    })
}

/// The event as the integration for EKS leaves it, members in the order of Elasticsearch's answers.
fn eks() -> Value {
    json!({
        "@timestamp": "2026-03-01T10:00:00.123Z",
        "aws": {
            "cloudwatch": {"log_group": "/aws/eks/demo/cluster"},
            "eks": {
                "audit": {
                    "annotations": {"authorization_k8s_io/decision": "allow"},
                    "apiVersion": "audit.k8s.io/v1",
                    "auditID": "a-1",
                    "kind": "Event",
                    "objectRef": {"apiGroup": "core", "name": "s", "namespace": "shop", "resource": "secrets"},
                    "verb": "get",
                },
                "cluster": {"name": "demo"},
                "log_type": "audit",
            },
        },
        "event": {"action": "get", "dataset": "aws.eks_audit", "id": "a-1"},
    })
}

#[test]
fn eks_events_get_their_order_and_the_core_group_back() {
    let (schema, found) = converted(&eks()).unwrap();
    assert_eq!(schema, Schema::Eks);
    let expected = json!({
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "auditID": "a-1",
        "verb": "get",
        "objectRef": {"name": "s", "namespace": "shop", "resource": "secrets"},
        "annotations": {"authorization_k8s_io/decision": "allow"},
    });
    assert_eq!(found.to_string(), expected.to_string());

    let mut other = eks();
    other["aws"]["eks"]["audit"]["objectRef"]["apiGroup"] = json!("apps");
    assert_eq!(converted(&other).unwrap().1["objectRef"]["apiGroup"], "apps");
    other["aws"]["eks"]["audit"]["kind"] = json!("EventList");
    assert_eq!(converted(&other), None);
}

#[test]
fn of_a_key_that_is_there_twice_the_last_counts() {
    let text = r#"{"x":1,"verb":"get","kind":"Event","\u0078":2,"apiVersion":"audit.k8s.io/v1beta1",
        "verb":"list","auditID":"a","stage":"Panic"}"#;
    let mut out = String::new();
    assert!(write_event(text, &mut out));
    let expected = concat!(
        r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1beta1","auditID":"a","stage":"Panic","#,
        r#""verb":"list","\u0078":2}"#
    );
    assert_eq!(out, expected);
}

#[test]
fn the_original_text_is_preferred() {
    let mut eks = eks();
    eks["event"]["original"] = json!(event().to_string());
    assert_eq!(converted(&eks).unwrap().1.to_string(), event().to_string());
    let kind_only = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1"}"#;
    for broken in ["", "{", "[]", "{}", kind_only] {
        eks["event"]["original"] = json!(broken);
        assert_eq!(converted(&eks).unwrap().1["verb"], "get", "{broken}");
    }

    let mut gcp = gcp();
    let mut entry = log_entry();
    entry["timestamp"] = json!("2026-03-01T10:00:02.040123Z");
    gcp["event"]["original"] = json!(entry.to_string());
    let mut expected = String::new();
    assert!(write_entry(&entry.to_string(), &mut expected));
    assert_eq!(converted(&gcp).unwrap().1.to_string(), expected);
    gcp["event"]["original"] = json!("{\"protoPayload\":");
    assert_eq!(converted(&gcp).unwrap().1["verb"], "create");
}

/// An entry of Cloud Logging: an exec started.
fn log_entry() -> Value {
    json!({
        "insertId": "i-1",
        "labels": {
            "authorization.k8s.io/decision": "allow",
            "command.gke.io/command": "sh -c id",
        },
        "logName": "projects/shop-1/logs/cloudaudit.googleapis.com%2Factivity",
        "operation": {"id": "o-1", "first": true},
        "protoPayload": {
            "@type": "type.googleapis.com/google.cloud.audit.AuditLog",
            "authenticationInfo": {"principalEmail": "alice@example.com", "authoritySelector": "admin"},
            "authorizationInfo": [{
                "granted": true,
                "permission": "io.k8s.core.v1.pods.exec.create",
                "resource": "core/v1/namespaces/shop/pods/db/exec",
            }],
            "methodName": "io.k8s.core.v1.pods.exec.create",
            "requestMetadata": {"callerIp": "192.0.2.7", "callerSuppliedUserAgent": "kubectl/v1.33.0"},
            "resourceName": "core/v1/namespaces/shop/pods/db/exec",
            "serviceName": "k8s.io",
            "status": {"code": 0},
            "request": {"@type": "core.k8s.io/v1.PodExecOptions", "container": "db"},
        },
        "receiveTimestamp": "2026-03-01T10:00:03.123Z",
        "resource": {
            "type": "k8s_cluster",
            "labels": {"cluster_name": "demo", "location": "europe-west1", "project_id": "shop-1"},
        },
        "timestamp": "2026-03-01T10:00:02.040Z",
    })
}

/// The same as the integration for Google Cloud leaves it.
fn gcp() -> Value {
    json!({
        "@timestamp": "2026-03-01T10:00:02.040Z",
        "client": {"user": {"email": "alice@example.com"}},
        "cloud": {"availability_zone": "europe-west1", "project": {"id": "shop-1"}, "provider": "gcp"},
        "event": {
            "action": "io.k8s.core.v1.pods.exec.create",
            "category": ["session", "network", "configuration"],
            "id": "i-1",
            "outcome": "success",
            "type": ["start", "access", "allowed"],
        },
        "gcp": {"audit": {
            "authentication_info": {"authority_selector": "admin"},
            "authorization_info": [{
                "granted": true,
                "permission": "io.k8s.core.v1.pods.exec.create",
                "resource": "core/v1/namespaces/shop/pods/db/exec",
            }],
            "labels": {
                "authorization.k8s.io/decision": "allow",
                "command.gke.io/command": "sh -c id",
            },
            "logentry_operation": {"id": "o-1"},
            "receive_timestamp": "2026-03-01T10:00:03.123Z",
            "request": {"@type": "core.k8s.io/v1.PodExecOptions", "container": "db"},
            "resource": {"type": "k8s_cluster"},
            "resource_name": "core/v1/namespaces/shop/pods/db/exec",
            "status": {"code": 0},
            "type": "type.googleapis.com/google.cloud.audit.AuditLog",
        }},
        "log": {"logger": "projects/shop-1/logs/cloudaudit.googleapis.com%2Factivity"},
        "orchestrator": {"cluster": {"name": "demo"}, "type": "kubernetes"},
        "service": {"name": "k8s.io"},
        "source": {"ip": "192.0.2.7"},
        "user_agent": {"original": "kubectl/v1.33.0", "name": "Other"},
    })
}

#[test]
fn gcp_entries_are_put_together_again() {
    let mut expected = String::new();
    assert!(write_entry(&log_entry().to_string(), &mut expected));
    let (schema, found) = converted(&gcp()).unwrap();
    assert_eq!((schema, found.to_string()), (Schema::Gcp, expected));
    let read = |document: &Value| {
        let text = document.to_string();
        let mut entry = String::new();
        let members = parsed(&text);
        let audit = listed(object_at(&members, "gcp.audit").unwrap());
        write_log_entry(&Document { members: &members, audit: &audit }, &mut entry);
        serde_json::from_str::<Value>(&entry).unwrap()
    };
    let whole = read(&gcp());
    assert_eq!(whole["resource"], log_entry()["resource"]);
    assert_eq!(whole["receiveTimestamp"], log_entry()["receiveTimestamp"]);

    // An earlier pipeline: other places, and no resource name.
    let mut old = gcp();
    let audit = old["gcp"]["audit"].as_object_mut().unwrap();
    audit.remove("resource_name");
    audit.insert("method_name".into(), json!("io.k8s.core.v1.pods.exec.create"));
    audit.insert("service_name".into(), json!("k8s.io"));
    audit.insert(
        "authentication_info".into(),
        json!({"principal_email": "alice@example.com", "authority_selector": "admin"}),
    );
    audit.insert(
        "request_metadata".into(),
        json!({"caller_ip": "192.0.2.7", "caller_supplied_user_agent": "kubectl/v1.33.0"}),
    );
    audit.insert("logentry_operation".into(), json!({"id": "o-1", "first": true}));
    for name in ["client", "service", "source", "user_agent"] {
        old.as_object_mut().unwrap().remove(name);
    }
    old["event"].as_object_mut().unwrap().remove("action");
    let same = |name: &str, found: &Value| found[name] == converted(&gcp()).unwrap().1[name];
    let found = converted(&old).unwrap().1;
    for name in [
        "requestURI",
        "verb",
        "stage",
        "user",
        "impersonatedUser",
        "sourceIPs",
        "userAgent",
        "objectRef",
    ] {
        assert!(same(name, &found), "{name}: {}", found[name]);
    }
}

#[test]
fn gcp_stages_and_failures() {
    let stages = [
        (json!(["network"]), json!(["access"]), Some("ResponseComplete")),
        (Value::Null, Value::Null, Some("ResponseComplete")),
        (json!(["session"]), json!(["start"]), Some("ResponseStarted")),
        (json!(["session"]), json!(["end"]), Some("ResponseComplete")),
        (json!(["session"]), json!(["access"]), None),
    ];
    for (category, types, stage) in stages {
        let mut document = gcp();
        document["event"]["category"] = category.clone();
        document["event"]["type"] = types.clone();
        let found = converted(&document).unwrap().1;
        assert_eq!(found.get("stage").and_then(Value::as_str), stage, "{category} {types}");
    }
    let mut document = gcp();
    document["gcp"]["audit"]["status"] = json!({"code": 7, "message": "Forbidden"});
    document["gcp"]["audit"]["response"] = json!({"@type": "core.k8s.io/v1.Status", "code": 403,
        "message": "denied by a webhook", "reason": "Forbidden", "status_value": "Failure"});
    let expected = json!({"metadata": {}, "status": "Failure", "message": "denied by a webhook",
        "reason": "Forbidden", "code": 403});
    let found = converted(&document).unwrap().1;
    assert_eq!(found["responseStatus"], expected);
    assert_eq!(found["responseObject"]["status"], "Failure");
}

fn azure(log: Value) -> Value {
    json!({
        "azure": {
            "platformlogs": {"category": "kube-audit", "properties": {"log": log, "pod": "p"}},
            "resource": {"name": "DEMO"},
        },
        "event": {"action": "Microsoft.ContainerService/managedClusters/diagnosticLogs/Read"},
    })
}

#[test]
fn azure_events_are_found_in_any_form() {
    let text = format!("{}\n", event());
    let mut moved = azure(Value::Null);
    moved["message"] = json!(text);
    let record = |log: Value| {
        let record = json!({"category": "kube-audit", "properties": {"log": log}, "time": "x"});
        let mut document = azure(json!({"kind": "Event"}));
        document["event"]["original"] = json!(record.to_string());
        document
    };
    let mut admin = azure(event());
    admin["azure"]["platformlogs"]["category"] = json!("KUBE-AUDIT-ADMIN");
    for document in
        [azure(event()), azure(json!(text)), moved, record(event()), record(json!(text)), admin]
    {
        let (schema, found) = converted(&document).expect("an event");
        assert_eq!((schema, found.to_string()), (Schema::Azure, event().to_string()), "{document}");
    }
    for none in
        [json!("I0301 10:00:00.000000       1 x.go:1] x"), json!({"kind": "Event"}), json!(7)]
    {
        assert_eq!(converted(&azure(none.clone())), None, "{none}");
    }
}

#[test]
fn keys_with_dots_are_the_same() {
    let flat = json!({
        "aws.eks": {"audit": event()},
        "event.original": "x",
    });
    assert_eq!(converted(&flat), Some((Schema::Eks, event())));
    let text = r#"{"a.b":{"c":1},"a":{"b.c":2,"x":3},"ab":{"c":4},"a":{"x":5}}"#;
    let members = parsed(text);
    assert_eq!(at(&members, "a.b.c"), Some("2"), "the last that has it");
    assert_eq!(at(&members, "abc"), None);
    assert_eq!(
        (at(&members, "a.x"), at(&members, "a.b"), at(&members, "a.c")),
        (Some("5"), Some("{\"c\":1}"), None)
    );
}

#[test]
fn other_documents_are_none() {
    let mut cloud = gcp();
    cloud["service"]["name"] = json!("container.googleapis.com");
    cloud["event"]["action"] = json!("google.container.v1.ClusterManager.CreateCluster");
    let mut scheduler = azure(event());
    scheduler["azure"]["platformlogs"]["category"] = json!("kube-scheduler");
    for document in [
        json!({}),
        json!({"message": event().to_string()}),
        json!({"kubernetes": {"audit": event()}}),
        json!({"aws": {"cloudwatch": {}, "eks": {"audit": "text", "log_type": "audit"}}}),
        json!({"gcp": {"audit": {}}, "event": {"action": "v1.compute.images.insert"}}),
        json!({"azure": {"activitylogs": {"category": "kube-audit"}}}),
        cloud,
        scheduler,
    ] {
        let text = document.to_string();
        assert_eq!(schema(&parsed(&text)), None, "{text}");
    }
}

/// A document in which values of a real one are replaced by others, wherever they stand.
fn any_document() -> impl Strategy<Value = Value> {
    let samples = [eks(), gcp(), azure(event()), azure(json!(event().to_string()))];
    let values = [
        json!(null),
        json!(7),
        json!(true),
        json!(""),
        json!("io.k8s.get"),
        json!([]),
        json!(["x", {}]),
        json!({}),
        json!({"a": {"b": "c"}}),
        event(),
        json!(event().to_string()),
        json!(log_entry().to_string()),
        json!("{\"protoPayload\": {"),
    ];
    let changes = prop::collection::vec(
        (any::<prop::sample::Index>(), prop::sample::select(values.to_vec())),
        0..6,
    );
    (prop::sample::select(samples.to_vec()), changes).prop_map(|(mut document, changes)| {
        for (index, value) in changes {
            let mut paths = Vec::new();
            list_paths(&document, "", &mut paths);
            if let Some(place) = document.pointer_mut(&paths[index.index(paths.len())]) {
                *place = value;
            }
        }
        document
    })
}

fn list_paths(value: &Value, path: &str, out: &mut Vec<String>) {
    if !path.is_empty() {
        out.push(path.to_owned());
    }
    for (key, value) in value.as_object().into_iter().flatten() {
        let key = key.replace('~', "~0").replace('/', "~1");
        list_paths(value, &format!("{path}/{key}"), out);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn any_document_gives_one_event_on_one_line_or_none(document in any_document(), pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_string_pretty(&document).unwrap() } else { document.to_string() };
        let members = parsed(&text);
        for schema in [Schema::Eks, Schema::Gcp, Schema::Azure] {
            let (mut out, mut again) = (String::new(), String::new());
            let found = convert(schema, &members, &mut out);
            prop_assert_eq!(found, convert(schema, &members, &mut again));
            prop_assert_eq!(&out, &again);
            prop_assert_eq!(found, !out.is_empty());
            if found {
                check_event(&out);
            }
        }
    }
}

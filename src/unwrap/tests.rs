use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Value, json};

use super::*;

const AUDIT: &str = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Request","auditID":"a-1","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/shop/pods/db-0/exec?command=sh\u0026command=-c\u0026command=id&container=db","verb":"get","user":{"username":"mallory@example.com","uid":"u-9","groups":["devs","system:authenticated"],"extra":{"authentication.kubernetes.io/credential-id":["X509SHA256=ab"]}},"impersonatedUser":{"username":"root"},"sourceIPs":["10.0.0.1","not an ip","203.0.113.7"],"userAgent":"kubectl/v1.35.0","objectRef":{"resource":"pods","namespace":"shop","name":"db-0","apiVersion":"v1","subresource":"exec"},"responseStatus":{"metadata":{},"code":101},"requestReceivedTimestamp":"2026-03-01T10:00:00.123456Z","stageTimestamp":"2026-03-01T10:00:02.000001Z","annotations":{"authorization.k8s.io/decision":"allow","authorization.k8s.io/reason":"RBAC: \"dev\""}}"#;

fn settings() -> Settings {
    Settings {
        preserve_original: false,
        objects: Objects::DropMetadata,
        depth_max: 100,
        cluster: None,
        from_containers: true,
    }
}

fn now() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

/// What becomes of a document: a name for each part, and its text.
fn parts_of(document: &str, settings: &Settings) -> Vec<(&'static str, String)> {
    let mut members = Vec::new();
    let depth = json::object(document, json::DEPTH_MAX, &mut members).unwrap();
    let labels = Labels {
        data_stream: Some(("kubernetes.audit_logs", "prod")),
        kubectl: Some("exec db-0"),
        rules: &["Exec into a pod"],
    };
    let lines = Labels { data_stream: Some(("lines", "prod")), ..Labels::default() };
    let (mut parts, mut scratch) = (Vec::new(), Scratch::default());
    let mut buffers = Buffers::new(1 << 20);
    each(document, &members, depth, settings, &mut buffers, &mut |part| {
        let mut out = String::new();
        let name = match part {
            Part::Audit(found) => {
                write(&found, &labels, settings, now(), &mut scratch, &mut out);
                match found.way.taken {
                    Some(peel::Taken::Keys([])) => "decoded",
                    Some(peel::Taken::Keys([key, ..])) if *key == "kind" => "root",
                    _ => "message",
                }
            }
            Part::Line(line) => {
                write_line(&line, &lines, settings, now(), &mut scratch, &mut out);
                "line"
            }
            Part::Piece(piece) => {
                write_piece(&piece, now(), &mut scratch, &mut out);
                "piece"
            }
            Part::Broken(unread) => {
                write_broken(&unread, &mut scratch, &mut out);
                "broken"
            }
            Part::Dropped(_) => "dropped",
            Part::Other => "other",
        };
        parts.push((name, out));
        Flow::Continue(())
    });
    parts
}

/// The only part, if it is an audit event: where it stood, its document, and its text.
fn unwrapped_with(document: &str, settings: &Settings) -> Option<(&'static str, Value, String)> {
    let [(name, out)] = <[_; 1]>::try_from(parts_of(document, settings)).unwrap();
    matches!(name, "decoded" | "root" | "message")
        .then(|| (name, serde_json::from_str(&out).expect(&out), out))
}

#[track_caller]
fn unwrapped(document: &Value) -> Value {
    unwrapped_with(&document.to_string(), &settings()).expect("an audit event").1
}

/// The fields that are the same whatever carried the event, and the event.
#[track_caller]
fn check_event(out: &Value) {
    check_event_fields(out);
    let mut audit: Value = serde_json::from_str(AUDIT).unwrap();
    audit["annotations"] = json!({"authorization_k8s_io/decision": "allow", "authorization_k8s_io/reason": "RBAC: \"dev\""});
    audit["peer_ip"] = json!("203.0.113.7");
    assert_eq!(out["kubernetes"]["audit"], audit);
}

#[track_caller]
fn check_event_fields(out: &Value) {
    let expected = json!({
        "@timestamp": "2026-03-01T10:00:02.000001Z",
        "user": {"name": "mallory@example.com", "email": "mallory@example.com", "id": "u-9",
                 "roles": ["devs", "system:authenticated"], "effective": {"name": "root"}},
        "source": {"ip": ["10.0.0.1", "203.0.113.7"], "address": "not an ip"},
        "client": {"ip": ["10.0.0.1", "203.0.113.7"]},
        "related": {"user": ["mallory@example.com", "u-9", "root"], "ip": ["10.0.0.1", "203.0.113.7"]},
        "user_agent": {"original": "kubectl/v1.35.0"},
        "url": {"original": "/api/v1/namespaces/shop/pods/db-0/exec?command=sh&command=-c&command=id&container=db",
                "path": "/api/v1/namespaces/shop/pods/db-0/exec",
                "query": "command=sh&command=-c&command=id&container=db"},
        "http": {"response": {"status_code": 101}},
        "k8scop": {"kubectl": "exec db-0", "command": "sh -c id", "rules": ["Exec into a pod"]},
        "data_stream": {"type": "logs", "dataset": "kubernetes.audit_logs", "namespace": "prod"},
    });
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&out[key], value, "{key}");
    }
    let event = &out["event"];
    for (key, value) in [
        ("kind", json!("event")),
        ("action", json!("get")),
        ("outcome", json!("success")),
        ("category", json!(["process"])),
        ("type", json!(["access"])),
        ("id", json!("a-1/ResponseComplete")),
        ("reason", json!("RBAC: \"dev\"")),
        ("start", json!("2026-03-01T10:00:00.123456Z")),
        ("end", json!("2026-03-01T10:00:02.000001Z")),
        ("duration", json!(1_876_545_000)),
        ("dataset", json!("kubernetes.audit_logs")),
    ] {
        assert_eq!(event[key], value, "event.{key}");
    }
    assert_eq!(out["orchestrator"]["resource"], json!({"type": "pods", "name": "db-0"}));
    assert_eq!(out["orchestrator"]["namespace"], "shop");
    assert!(out.get("message").is_none());
}

const GROUP: &str = "/aws/eks/demo/cluster";

#[test]
fn filebeat_before_9_2() {
    let out = unwrapped(&json!({
        "@timestamp": "2026-03-01T10:00:02.000Z", "message": AUDIT,
        "log.file.path": "/aws/eks/demo/cluster/kube-apiserver-audit-01",
        "event": {"id": "3790", "ingested": "x"},
        "awscloudwatch": {"log_group": GROUP, "log_stream": "s", "ingestion_time": "2026-03-01T10:00:05.000Z"},
        "aws.cloudwatch": {"log_group": GROUP, "log_stream": "s", "ingestion_time": "2026-03-01T10:00:05.000Z"},
        "cloud": {"provider": "aws", "region": "eu-west-1"}, "agent": {"type": "filebeat"},
        "data_stream": {"type": "logs", "dataset": "aws.cloudwatch_logs", "namespace": "old"},
    }));
    check_event(&out);
    assert_eq!(out["orchestrator"]["cluster"]["name"], "demo");
    assert_eq!(out["aws"]["cloudwatch"]["log_stream"], "s");
    assert_eq!(out["log"]["file"]["path"], "/aws/eks/demo/cluster/kube-apiserver-audit-01");
    assert_eq!(out["event"]["created"], "2026-03-01T10:00:05.000Z");
    assert_eq!(out["event"]["ingested"], "2026-03-01T12:00:00Z");
    assert_eq!(out["cloud"], json!({"provider": "aws", "region": "eu-west-1"}));
    for gone in ["awscloudwatch", "aws.cloudwatch", "log.file.path"] {
        assert!(out.get(gone).is_none(), "{gone}");
    }
}

#[test]
fn agent_since_9_2() {
    let out = unwrapped(&json!({
        "@timestamp": "2026-03-01T10:00:02.000Z", "message": format!(" {AUDIT}\n"),
        "log": {"file": {"path": "p"}, "offset": 7}, "aws": {"cloudwatch": {"log_group": GROUP}, "x": 1},
    }));
    check_event(&out);
    assert_eq!(out["orchestrator"]["cluster"]["name"], "demo");
    assert_eq!(out["log"], json!({"file": {"path": "p"}, "offset": 7}));
    assert_eq!(out["aws"], json!({"cloudwatch": {"log_group": GROUP}, "x": 1}));
    assert_eq!(out["cloud"]["provider"], "aws");
}

#[test]
fn an_event_of_several_lines_goes_out_on_one() {
    let audit: Value = serde_json::from_str(AUDIT).unwrap();
    let pretty = serde_json::to_string_pretty(&audit).unwrap();
    for message in [pretty.replace('\n', "\r\n"), format!("\n{pretty}\n"), pretty] {
        let document = json!({"@timestamp": "x", "message": message}).to_string();
        let (_, out, text) = unwrapped_with(&document, &settings()).unwrap();
        check_event(&out);
        assert!(!text.contains(['\n', '\r']), "{text}");
    }
    // A line end inside a string is no JSON, and is not mended.
    let broken = json!({"message": AUDIT.replace("mallory", "mal\nlory")}).to_string();
    assert!(unwrapped_with(&broken, &settings()).is_none());
}

#[test]
fn decoded_by_the_shipper() {
    let audit: Value = serde_json::from_str(AUDIT).unwrap();
    let out = unwrapped(
        &json!({"@timestamp": "x", "kubernetes": {"audit": audit, "pod": {"name": "p"}}}),
    );
    check_event(&out);
    assert_eq!(out["kubernetes"]["pod"]["name"], "p");
}

#[test]
fn logstash_cloudwatch_logs() {
    let out = unwrapped(&json!({"@timestamp": "x", "@version": "1", "message": AUDIT,
        "cloudwatch_logs": {"log_group": GROUP, "log_stream": "s", "event_id": "e"}}));
    check_event(&out);
    assert_eq!(out["aws"]["cloudwatch"]["event_id"], "e");
    assert_eq!(out["orchestrator"]["cluster"]["name"], "demo");
    assert!(out.get("cloudwatch_logs").is_none());
}

#[test]
fn a_raw_line_and_keys_at_the_root() {
    check_event(&unwrapped(
        &json!({"message": AUDIT, "log": {"file": {"path": "/var/log/audit.log"}}}),
    ));
    let mut root: Value = serde_json::from_str(AUDIT).unwrap();
    root["host"] = json!({"name": "cp-1"});
    root["@timestamp"] = json!("2026-03-01T10:00:02.000Z");
    let out = unwrapped(&root);
    check_event(&out);
    assert_eq!(out["host"]["name"], "cp-1");
    for gone in ["verb", "auditID", "kind", "annotations", "objectRef"] {
        assert!(out.get(gone).is_none(), "{gone}");
    }
}

#[test]
fn other_members_that_hold_the_event() {
    let audit: Value = serde_json::from_str(AUDIT).unwrap();
    for document in [
        json!({"kubernetes": {"audit": AUDIT}}),
        json!({"kubernetes.audit": audit}),
        json!({"audit": audit}),
        json!({"message": AUDIT, "audit": audit}),
        json!({"message": audit}),
        json!({"log": format!("{AUDIT}\n")}),
        json!({"log": format!("2026-03-01T10:00:02.000000001Z stdout F {AUDIT}")}),
        json!({"event": {"original": AUDIT}}),
        json!({"msg": format!("\u{feff}{AUDIT}")}),
    ] {
        let out = unwrapped(&document);
        check_event(&out);
        for gone in ["audit", "log", "msg", "kubernetes.audit"] {
            assert!(out.get(gone).is_none(), "{gone} of {document}");
        }
        assert!(out["event"].get("original").is_none(), "{document}");
    }
}

#[test]
fn what_was_written_once_is_found_again_where_it_was_put() {
    let event = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","stage":"Panic","user":{"username":"u"}}"#;
    let root = event.replacen('{', &format!("{{\"message\":{},", json!(AUDIT)), 1);
    let (place, _, written) = unwrapped_with(&root, &settings()).unwrap();
    assert_eq!(place, "root");
    let (again, ..) = unwrapped_with(&written, &settings()).unwrap();
    assert_eq!(again, "decoded", "{written}");
}

#[test]
fn bytes_of_the_event_are_spliced_not_encoded_again() {
    let inner = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","auditID":"a","x":[1.0E+2, 1e40,"\u00e9\/"],"stage":"s"}"#;
    let document = json!({"message": inner}).to_string();
    let (_, _, out) = unwrapped_with(&document, &settings()).unwrap();
    assert!(out.contains(&format!(r#""audit":{inner}"#)), "{out}");
}

#[test]
fn the_original_is_kept_on_demand() {
    let kept = Settings { preserve_original: true, cluster: Some("c".into()), ..settings() };
    let (place, out, _) = unwrapped_with(&json!({"message": AUDIT}).to_string(), &kept).unwrap();
    assert_eq!((place, out["event"]["original"].as_str()), ("message", Some(AUDIT)));
    assert_eq!(out["orchestrator"]["cluster"]["name"], "c");
}

#[test]
fn a_second_k8scop_keeps_the_original() {
    let settings = Settings { preserve_original: true, ..settings() };
    let event =
        AUDIT.replace("\"annotations\"", r#""requestObject":{"metadata":{"a":1}},"annotations""#);
    let document = json!({ "message": event }).to_string();
    let (_, first, text) = unwrapped_with(&document, &settings).unwrap();
    assert_eq!(first["event"]["original"], event);
    let (_, second, _) = unwrapped_with(&text, &settings).unwrap();
    assert_eq!(second["event"]["original"], event);
}

#[test]
fn times_that_cannot_be_trusted() {
    let future = AUDIT.replace("2026-03-01T10:00:0", "2027-03-01T10:00:0");
    let out =
        unwrapped(&json!({"@timestamp": "2026-03-01T10:00:02Z", "message": future, "tags": ["x"]}));
    assert_eq!(out["@timestamp"], "2026-03-01T10:00:02Z");
    assert_eq!(out["tags"], json!(["x", TAG_FUTURE]));
    let broken = AUDIT.replace("2026-03-01T10:00:0", "yesterday");
    assert_eq!(unwrapped(&json!({"message": broken}))["@timestamp"], "2026-03-01T12:00:00Z");
    // A time that Elasticsearch would refuse is written in a form that it takes.
    for (odd, told) in [
        ("2026-03-01 10:00:02.000001Z", "2026-03-01T10:00:02.000001Z"),
        ("2026-03-01T11:00:02+01:00", "2026-03-01T10:00:02Z"),
        ("2026-03-01T10:00:02z", "2026-03-01T10:00:02Z"),
    ] {
        let odd = AUDIT.replace("2026-03-01T10:00:02.000001Z", odd);
        assert_eq!(unwrapped(&json!({"message": odd}))["@timestamp"], told);
    }
    let only_received = AUDIT.replace(r#""stageTimestamp":"2026-03-01T10:00:02.000001Z","#, "");
    assert_eq!(
        unwrapped(&json!({"message": only_received}))["@timestamp"],
        "2026-03-01T10:00:00.123456Z"
    );
}

#[test]
fn a_reduced_document_holds_the_event_as_text() {
    let event =
        AUDIT.replace("\"annotations\"", r#""requestObject":{"a":1,"a":2,"b":{}},"annotations""#);
    let (_, _, whole) =
        unwrapped_with(&json!({"message": event, "tags": ["x"]}).to_string(), &settings()).unwrap();
    let mut out = String::new();
    write_reduced(&whole, Reduced::WithoutObjects, false, "mapper said \"no\"", &mut out);
    let reduced: Value = serde_json::from_str(&out).unwrap();
    check_event_fields(&reduced);
    assert!(reduced["kubernetes"]["audit"].get("requestObject").is_none());
    assert_eq!(reduced["kubernetes"]["audit"]["auditID"], "a-1");
    assert!(
        reduced["event"]["original"]
            .as_str()
            .unwrap()
            .contains(r#""requestObject":{"a":1,"a":2,"b":{}}"#)
    );
    assert_eq!(reduced["error"]["message"], "mapper said \"no\"");
    assert_eq!(reduced["tags"], json!(["x", TAG_REDUCED]));
    out.clear();
    write_reduced(&whole, Reduced::TextOnly, false, "no", &mut out);
    let text_only: Value = serde_json::from_str(&out).unwrap();
    let mut names: Vec<_> = text_only.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["@timestamp", "data_stream", "error", "event", "tags"]);
    assert_eq!(text_only["event"]["original"], reduced["event"]["original"]);
}

#[test]
fn a_deep_body_hides_nothing() {
    for depth in [200, 100_000] {
        let deep = format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
        let event =
            AUDIT.replace("\"annotations\"", &format!("\"requestObject\":{deep},\"annotations\""));
        let document = format!("{{\"message\":{}}}", json!(event));
        let (_, out, _) = unwrapped_with(&document, &settings()).expect("still an audit event");
        check_event_fields(&out);
        assert!(out["kubernetes"]["audit"].get("requestObject").is_none());
        assert_eq!(out["event"]["original"], event);
        assert_eq!(out["tags"], json!([TAG_REDUCED]));
        // Reduced further, it still has the whole of its text.
        for form in [Reduced::WithoutObjects, Reduced::TextOnly] {
            let mut further = String::new();
            write_reduced(&out.to_string(), form, true, "no", &mut further);
            let further: Value = serde_json::from_str(&further).unwrap();
            assert_eq!(further["event"]["original"], event);
        }
        let root = event.replacen('{', "{\"host\":1,", 1);
        let (place, out, _) = unwrapped_with(&root, &settings()).unwrap();
        assert_eq!((place, &out["tags"]), ("root", &json!([TAG_REDUCED])));
    }
}

#[test]
fn tags_in_odd_forms() {
    for (tags, expected) in [
        ("[[\"a\"]]", json!([["a"], TAG_UNWRAP_FAILED])),
        ("[ ]", json!([TAG_UNWRAP_FAILED])),
        ("[\"k8scop_unwrap_failed\", \"b\"]", json!([TAG_UNWRAP_FAILED, "b"])),
    ] {
        let mut out = String::new();
        let document = format!("{{\"tags\":{tags}}}");
        let members: Vec<_> = json::members(&document).collect();
        let unread = Unread::new(&members, Broken::Json);
        write_broken(&unread, &mut Scratch::default(), &mut out);
        assert_eq!(serde_json::from_str::<Value>(&out).expect(&out)["tags"], expected);
    }
}

#[test]
fn what_is_no_audit_event_is_not_touched() {
    let event_list =
        json!({"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "items": []}).to_string();
    for message in [
        "I0301 10:00:00.000001       1 flags.go:64] FLAG: --v=\"2\"",
        "time=\"2026-03-01T10:00:00Z\" level=info msg=\"access granted audit.k8s.io\"",
        "{\"kind\":\"Event\",\"apiVersion\":\"v1\",\"stage\":\"x\"}",
        "{\"kind\":\"Event\",\"apiVersion\":\"audit.k8s.io/v1\"}",
        "{not json audit.k8s.io}",
        &event_list,
        "",
    ] {
        let document = json!({"message": message}).to_string();
        assert!(unwrapped_with(&document, &settings()).is_none(), "{message}");
    }
    assert!(unwrapped_with(r#"{"message":7}"#, &settings()).is_none());
    assert!(
        unwrapped_with(r#"{"kubernetes":{"audit":{"protoPayload":{},"verb":"x"}}}"#, &settings())
            .is_none()
    );
    // Half a surrogate pair in the message: no text, so no event; the document itself is sound.
    let half = format!(
        r#"{{"message":"{{\"kind\":\"Event\",\"apiVersion\":\"audit.k8s.io/v1\",\"stage\":\"{}\"}}"}}"#,
        r"\ud800"
    );
    assert!(unwrapped_with(&half, &settings()).is_none());
}

#[test]
fn an_event_that_cannot_be_read_is_marked_and_kept() {
    let broken = AUDIT.replace("\"verb\"", "verb");
    let document = json!({"message": broken, "tags": "t"}).to_string();
    let [(name, out)] = <[_; 1]>::try_from(parts_of(&document, &settings())).unwrap();
    assert_eq!(name, "broken");
    let out: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(out["message"], broken);
    assert_eq!(out["tags"], json!(["t", TAG_UNWRAP_FAILED]));
    let other = r#"{"kind":"Event","apiVersion":"events.k8s.io/v1","note":"of audit.k8s.io"}"#;
    for message in [other, "I0301 audit.k8s.io"] {
        let document = json!({ "message": message }).to_string();
        assert_eq!(parts_of(&document, &settings()), [("other", String::new())]);
    }
}

#[test]
fn carriers_in_each_other_have_an_end() {
    const LEVELS: usize = 5_000;
    for (open, close) in [
        (r#"{"message":"#, "}"),
        (r#"{"records":["#, "]}"),
        (r#"{"kind":"EventList","apiVersion":"audit.k8s.io/v1","items":["#, "]}"),
        (
            r#"{"messageType":"DATA_MESSAGE","logGroup":"/aws/eks/c/cluster","logEvents":[{"message":"#,
            "}]}",
        ),
    ] {
        let document = format!("{}{AUDIT}{}", open.repeat(LEVELS), close.repeat(LEVELS));
        let [(name, out)] = <[_; 1]>::try_from(parts_of(&document, &settings())).unwrap();
        let is_kept = out.contains(TAG_UNWRAP_FAILED) && out.contains("a-1");
        assert!(name == "other" || matches!(name, "broken" | "piece") && is_kept, "{open}: {name}");
        let document = format!("{}{AUDIT}{}", open.repeat(8), close.repeat(8));
        // Records of nobody known are left alone.
        let is_left = open.starts_with("{\"records\"");
        let name = parts_of(&document, &settings())[0].0;
        assert!(matches!(name, "message" | "root") || is_left && name == "other", "{open}");
    }
}

#[test]
fn an_event_goes_out_on_one_line_whatever_is_around_it() {
    let value: Value = serde_json::from_str(AUDIT).unwrap();
    let pretty = serde_json::to_string_pretty(&value).unwrap();
    let (first, rest) = pretty.split_at(pretty.len() / 2);
    for document in [
        json!({"message": format!("\u{feff}{pretty}")}),
        json!({"message": format!("2026-03-01T10:00:00.000000000Z stdout F {pretty}")}),
        json!({"message": format!("{pretty}\n{pretty} and more")}),
        json!({"messageType": "DATA_MESSAGE", "logGroup": GROUP, "logStream": "kube-apiserver-audit-0",
            "logEvents": [{"id": "1", "timestamp": 1, "message": first}, {"id": "2", "timestamp": 1, "message": rest}]}),
    ] {
        let parts = parts_of(&document.to_string(), &settings());
        let (_, out) = &parts[0];
        assert!(!out.contains('\n') && out.contains("\"audit\":"), "{out}");
    }
}

#[test]
fn what_carries_nothing_passes_as_it_came() {
    for document in [
        json!({"resourceLogs": [{"resource": {"attributes": [{"key": "k8s.io"}]}, "scopeLogs": []}], "x": 1}),
        json!({"messageType": "DATA_MESSAGE", "logGroup": GROUP, "logEvents": [], "x": 1}),
    ] {
        assert_eq!(parts_of(&document.to_string(), &settings()), [("other", String::new())]);
    }
}

#[test]
fn a_converted_entry_without_a_path_is_not_converted_again() {
    let entry = json!({"protoPayload": {"methodName": "io.k8s.core.v1.pods.get", "serviceName": "k8s.io",
        "authenticationInfo": {"principalEmail": "alice@example.com"}}, "insertId": "i"});
    let (_, first, text) = unwrapped_with(&entry.to_string(), &settings()).unwrap();
    assert_eq!(first["user"]["name"], "alice@example.com");
    assert_eq!(unwrapped_with(&text, &settings()).unwrap().1, first);
}

#[test]
fn keys_with_dots_beside_a_carrier_hide_nothing() {
    let data = BASE64_STANDARD.encode(AUDIT);
    let document = json!({"awslogs": {"data": data}, "a.b": 1});
    check_event_fields(&unwrapped(&document));
}

#[test]
fn what_is_too_deep_in_carriers_is_kept() {
    let event = AUDIT.replacen("\"kind\":\"Event\",\"apiVersion\":\"audit.k8s.io/v1\",", "", 1);
    let mut text = format!("[{event},{AUDIT}]");
    for _ in 0..peel::BUFFERS {
        text = json!({ "message": text }).to_string();
    }
    let parts = parts_of(&text, &settings());
    assert!(
        parts.iter().all(|(name, out)| *name == "piece" && out.contains("mallory")),
        "{parts:?}"
    );
}

#[test]
fn looking_into_records_is_bounded() {
    let zeros = {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut out, &vec![b'0'; 1 << 19]).unwrap();
        BASE64_STANDARD.encode(out.finish().unwrap())
    };
    let records =
        |count: usize| json!({"records": vec![json!({"data": zeros}); count]}).to_string();
    assert_eq!(parts_of(&records(2), &settings()), [("other", String::new())]);
    let [(name, out)] = <[_; 1]>::try_from(parts_of(&records(3), &settings())).unwrap();
    assert!(name == "broken" && out.contains(TAG_UNWRAP_FAILED));
}

#[test]
fn a_second_k8scop_leaves_lines_as_they_are() {
    for (stream, line) in [
        ("kube-apiserver-0", "E0301 10:00:00.200000 10 trace.go:236] \"Trace\" err=\"no\""),
        ("authenticator-0", "time=\"2026-03-01T10:00:00Z\" level=info msg=\"access granted\""),
        ("kube-scheduler-0", "  the rest of an entry"),
        ("unknown-0", "I0301 10:00:00.200000 10 trace.go:236] text"),
    ] {
        let document = json!({"message": line, "aws": {"cloudwatch": {"log_group": GROUP, "log_stream": stream}}});
        let first = parts_of(&document.to_string(), &settings());
        assert_eq!(first[0].0, "line");
        assert_eq!(parts_of(&first[0].1, &settings()), [("other", String::new())], "{line}");
    }
}

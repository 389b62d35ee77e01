use proptest::{collection::vec, prelude::*, test_runner::Config};
use serde_json::{Value, json};

use super::*;
use crate::{bulk::AnswerItem, json, rules};

pub(super) fn policy() -> Policy {
    Policy {
        route: Route::Reroute,
        namespace: "default".into(),
        drop: Vec::new(),
        lines: LineRoute::Reroute,
        lines_of: Vec::new(),
        ids: Ids::Audit,
        alerts: AlertTarget::DataStream,
        alerting: alerts::Policy::default(),
        unwrap: unwrap::Settings {
            preserve_original: false,
            objects: unwrap::Objects::DropMetadata,
            depth_max: 1000,
            cluster: Some("c".into()),
            from_containers: true,
        },
        items_max: 1000,
        depth_max: 1000,
        batch_bytes_max: 1 << 30,
        inflated_bytes_max: 1 << 20,
    }
}

/// Rules enough for these tests: all of them take long to compile.
const RULES: [&str; 6] = [
    "secrets_listed_everywhere.",
    "secrets_listed_in_namespace.",
    "secret_read.",
    "exec_in_container.",
    "pod_created.",
    "events_deleted.",
];

fn preparer(policy: Policy) -> Preparer {
    let is_wanted = |file: &str| {
        let name = file.rsplit('/').next().unwrap_or_default();
        RULES.iter().any(|it| name.starts_with(it))
    };
    let wanted = rules::BUILT_IN.iter().filter(|(file, _)| is_wanted(file));
    let rules = wanted.map(|(file, text)| rules::parse(file, text).unwrap()).collect();
    Preparer::new(policy, Classifier::new(rules).unwrap())
}

fn now() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

fn prepared(preparer: &Preparer, body: &[u8]) -> Prepared {
    preparer.prepare(body, &Defaults::default(), now()).unwrap()
}

/// An event that raises one alert if it lists secrets, and none if it lists nodes.
fn audit(id: &str, resource: &str) -> String {
    json!({"kind": "Event", "apiVersion": "audit.k8s.io/v1", "auditID": id, "stage": "ResponseComplete", "verb": "list",
        "requestURI": format!("/api/v1/{resource}"), "user": {"username": "mallory"}, "objectRef": {"resource": resource},
        "responseStatus": {"code": 200}, "stageTimestamp": "2026-03-01T10:00:00.000001Z"})
    .to_string()
}

fn in_message(event: &str) -> String {
    json!({"@timestamp": "2026-03-01T10:00:00.000Z", "message": event}).to_string()
}

/// Pairs of action and document that went out.
fn outgoing(prepared: &Prepared) -> Vec<(Value, Value)> {
    let all: Vec<usize> = (0..prepared.batch.slot_count()).collect();
    let body = String::from_utf8(prepared.batch.body_of(&all).to_vec()).unwrap();
    let lines: Vec<Value> = body.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
    lines.chunks(2).map(|it| (it[0].clone(), it[1].clone())).collect()
}

pub(super) fn answers(statuses: &[u16]) -> Vec<AnswerItem> {
    let object = |status: &u16| match status {
        200..300 => format!("{{\"_index\":\".ds-x\",\"_id\":\"es\",\"status\":{status}}}"),
        _ => format!(
            "{{\"_index\":\".ds-x\",\"_id\":\"es\",\"status\":{status},\"error\":{{\"type\":\"t\",\"reason\":\"r\"}}}}"
        ),
    };
    statuses.iter().map(|it| AnswerItem { status: *it, object: object(it) }).collect()
}

fn reply(prepared: &Prepared, statuses: &[u16]) -> (Value, Tally) {
    let (text, tally) = prepared.reply(&answers(statuses), &[], 1, &|rule| format!("rule {rule}"));
    (serde_json::from_str(&text).unwrap(), tally)
}

#[test]
fn an_event_is_rerouted_with_an_id_of_its_own_and_its_alerts() {
    let body = format!(
        "{{\"index\":{{\"_index\":\"logs-aws.cloudwatch_logs-prod\"}}}}\n{}\n",
        in_message(&audit("a", "secrets"))
    );
    let prepared = prepared(&preparer(policy()), body.as_bytes());
    let out = outgoing(&prepared);
    let [(event_action, event), (alert_action, alert)] = out.as_slice() else { panic!("{out:?}") };
    assert_eq!(event_action["create"]["_index"], "logs-kubernetes.audit_logs-prod");
    let id = event_action["create"]["_id"].as_str().unwrap();
    assert_eq!(id.len(), 32);
    assert_eq!(event["data_stream"]["namespace"], "prod");
    assert_eq!(event["k8scop"]["rules"], json!(["All secrets of the cluster read"]));
    assert_eq!(alert_action["create"]["_index"], "logs-k8scop.alerts-prod");
    assert_ne!(alert_action["create"]["_id"], id);
    assert_eq!(
        alert["k8scop"]["event"],
        json!({"index": "logs-kubernetes.audit_logs-prod", "id": id})
    );
    assert_eq!(alert["event"]["severity"], 73);
    assert_eq!(alert["message"], "All secrets of the cluster read");
    assert_eq!(alert["@timestamp"], "2026-03-01T10:00:00.000001Z");
    let (answer, _) = reply(&prepared, &[201, 201]);
    assert_eq!(
        answer["items"][0]["index"]["_index"], "logs-aws.cloudwatch_logs-prod",
        "the client's own name"
    );
}

/// An event that was cut has lost its own times: then both have that of the shipper.
#[test]
fn an_alert_has_the_time_of_its_event() {
    let whole = audit("a", "secrets");
    let mut event: Value = serde_json::from_str(&whole).unwrap();
    event.as_object_mut().unwrap().remove("stageTimestamp");
    for (shown, expected) in
        [(whole, "2026-03-01T10:00:00.000001Z"), (event.to_string(), "2026-03-01T10:00:00.000Z")]
    {
        let body = format!("{{\"index\":{{\"_index\":\"x\"}}}}\n{}\n", in_message(&shown));
        let prepared = prepared(&preparer(policy()), body.as_bytes());
        let out = outgoing(&prepared);
        let times: Vec<_> = out.iter().map(|(_, document)| &document["@timestamp"]).collect();
        assert_eq!(times, [expected, expected]);
    }
}

/// No shipper named an index for them: `audit.route: keep` is not for them.
#[test]
fn pushed_events_go_to_their_data_stream() {
    let body =
        format!("{{\"create\":{{\"_index\":\"logs-k8scop.push-a\"}}}}\n{}\n", audit("a", "nodes"));
    let preparer = preparer(Policy { route: Route::Keep, ..policy() });
    let pushed =
        preparer.prepare_pushed(&|_| true, body.as_bytes(), &Defaults::default(), now()).unwrap();
    let (action, event) = &outgoing(&pushed)[0];
    assert_eq!(action["create"]["_index"], "logs-kubernetes.audit_logs-a");
    assert_eq!(event["data_stream"]["namespace"], "a");
}

/// A data stream takes no document without a time.
#[test]
fn what_is_pushed_has_a_time() {
    let broken = json!({"message": "{\"kind\":\"Event\",\"apiVersion\":\"audit.k8s.io/v1\",x"});
    for (document, expected) in [
        ("{}".to_owned(), "2026-03-01T12:00:00Z"),
        ("{\"message\":\"hello\"}".to_owned(), "2026-03-01T12:00:00Z"),
        ("{\"a\":1,\"@timestamp\":\"2026-01-01T00:00:00Z\"}".to_owned(), "2026-01-01T00:00:00Z"),
        (broken.to_string(), "2026-03-01T12:00:00Z"),
    ] {
        let body = format!("{{\"create\":{{\"_index\":\"x\"}}}}\n{document}\n");
        let pushed = preparer(policy())
            .prepare_pushed(&|_| true, body.as_bytes(), &Defaults::default(), now())
            .unwrap();
        assert_eq!(outgoing(&pushed)[0].1["@timestamp"], expected, "{document}");
        let shipped = outgoing(&prepared(&preparer(policy()), body.as_bytes()));
        assert_eq!(
            shipped[0].1["@timestamp"].is_null(),
            !document.contains("@timestamp"),
            "a shipper's document is not touched: {document}"
        );
    }
}

/// The `_id`s of a request that is pushed are ours: a conflict says that it is stored, and an event has the one that it
/// has on every other road.
#[test]
fn what_is_pushed_has_ids_of_ours() {
    let line = "{\"create\":{\"_id\":\"0a\"}}\n{\"message\":\"a line\"}\n";
    let event =
        format!("{{\"create\":{{\"_id\":\"0b\"}}}}\n{}\n", in_message(&audit("a", "nodes")));
    let defaults = Defaults { index: Some("logs-k8scop.push-shop".into()), ..Defaults::default() };
    let pushed = |ids: Ids| {
        let preparer = preparer(Policy { ids, ..policy() });
        let body = line.to_owned() + &event;
        let pushed = preparer.prepare_pushed(&|_| true, body.as_bytes(), &defaults, now()).unwrap();
        let plain =
            prepared(&preparer, event.replace("\"_id\":\"0b\"", "\"_index\":\"x\"").as_bytes());
        let id = |(action, _): &(Value, Value)| action["create"]["_id"].clone();
        let (ours, its) = (outgoing(&pushed), outgoing(&plain));
        let (answer, tally) = reply(&pushed, &[409, 409]);
        assert_eq!((tally.duplicate, tally.rejected, &answer["errors"]), (2, 0, &json!(false)));
        assert_eq!(ours[0].0["create"]["_index"], "logs-k8scop.push-shop");
        assert_eq!(ours[1].0["create"]["_index"], "logs-kubernetes.audit_logs-shop");
        (id(&ours[0]), id(&ours[1]), id(&its[0]))
    };
    let (line_id, event_id, its_own) = pushed(Ids::Audit);
    assert_eq!((line_id, &event_id), (json!("0a"), &its_own));
    assert_eq!(pushed(Ids::Elasticsearch), (json!("0a"), json!("0b"), Value::Null));
}

#[test]
fn a_dead_letter_does_not_stand_for_the_alert() {
    let body =
        format!("{{\"create\":{{\"_index\":\"a\"}}}}\n{}\n", in_message(&audit("a", "secrets")));
    let prepared = prepared(&preparer(policy()), body.as_bytes());
    let told = |alert| {
        let dead = [(0, Letter::Kept)];
        let (text, tally) = prepared.reply(&answers(&[400, alert]), &dead, 1, &|_| "rule".into());
        let answer: Value = serde_json::from_str(&text).unwrap();
        (answer["items"][0]["create"]["status"].as_u64(), tally.dead_lettered, tally.returned)
    };
    assert_eq!(told(201), (Some(201), 1, 0));
    assert_eq!(told(503), (Some(503), 0, 1), "the alert is not stored: to be sent again");
}

#[test]
fn an_event_of_several_lines_brings_no_actions() {
    let event = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","auditID":"a","requestObject":[
{"index":{"_index":"x"}}
,
{"delete":{"_index":"victim","_id":"1"}}
]}"#;
    let body = format!("{{\"create\":{{\"_index\":\"i\"}}}}\n{}\n", in_message(event));
    let prepared = prepared(&preparer(policy()), body.as_bytes());
    let text = String::from_utf8(prepared.batch.body_of(&[0]).to_vec()).unwrap();
    assert_eq!((prepared.batch.slot_count(), text.lines().count()), (1, 2), "{text}");
}

#[test]
fn ids_are_made_from_cluster_audit_id_and_stage() {
    let preparer = preparer(policy());
    let id_of = |event: &str, cluster: Option<&str>| {
        let document = json!({"message": event, "orchestrator": {"cluster": {"name": cluster.unwrap_or("c")}}});
        let body = format!("{{\"create\":{{\"_index\":\"x\"}}}}\n{document}\n");
        let out = outgoing(&prepared(&preparer, body.as_bytes()));
        let ids: Vec<String> =
            out.iter().map(|(it, _)| it["create"]["_id"].as_str().unwrap().to_owned()).collect();
        ids
    };
    let secrets = audit("a", "secrets");
    assert_eq!(id_of(&secrets, None), id_of(&secrets, None));
    assert_ne!(id_of(&secrets, None)[0], id_of(&audit("b", "secrets"), None)[0]);
    assert_ne!(id_of(&secrets, None)[0], id_of(&secrets, Some("d"))[0]);
    let timed = secrets.replacen('{', r#"{"requestReceivedTimestamp":"2026-03-01T10:00:00Z","#, 1);
    let started = timed.replace("ResponseComplete", "ResponseStarted");
    assert_ne!(id_of(&timed, None)[0], id_of(&started, None)[0], "each stage is a document");
    assert_eq!(id_of(&timed, None)[1], id_of(&started, None)[1], "both are one alert");
    let nameless = secrets.replace("\"auditID\":\"a\",", "");
    assert_ne!(id_of(&nameless, None)[0], id_of(&nameless.replace("mallory", "eve"), None)[0]);
}

#[test]
fn an_event_stays_where_it_is_when_told_so() {
    let keep =
        Policy { route: Route::Keep, alerts: AlertTarget::Daily("alerts".into()), ..policy() };
    let body = format!(
        "{{\"index\":{{\"_index\":\"filebeat-x\",\"routing\":\"r\"}}}}\n{}\n",
        in_message(&audit("a", "secrets"))
    );
    let out = outgoing(&prepared(&preparer(keep), body.as_bytes()));
    assert_eq!(
        out[0].0["create"]["_index"], "filebeat-x",
        "nothing is replaced under an id of ours"
    );
    assert_eq!(out[0].0["create"]["routing"], "r");
    assert!(out[0].0["create"]["_id"].is_string());
    assert!(out[0].1.get("data_stream").is_none());
    assert_eq!(out[1].0["create"]["_index"], "alerts-2026.03.01");
    let own = Policy { route: Route::Keep, ids: Ids::Elasticsearch, ..policy() };
    let out = outgoing(&prepared(&preparer(own), body.as_bytes()));
    assert_eq!(out[0].0, json!({"index": {"_index": "filebeat-x", "routing": "r"}}));
}

#[test]
fn a_request_that_ends_after_midnight_is_one_alert_of_one_day() {
    let daily = Policy { alerts: AlertTarget::Daily("alerts".into()), ..policy() };
    let preparer = preparer(daily);
    let day_of = |stage: &str, time: &str| {
        let event = audit("a", "secrets")
            .replace("ResponseComplete", stage)
            .replace("\"stageTimestamp\":\"2026-03-01T10:00:00.000001Z\"", &format!("\"requestReceivedTimestamp\":\"2026-02-28T23:59:00Z\",\"stageTimestamp\":\"{time}\""));
        let body = format!("{{\"create\":{{\"_index\":\"x\"}}}}\n{}\n", in_message(&event));
        outgoing(&prepared(&preparer, body.as_bytes()))[1].0.clone()
    };
    let started = day_of("ResponseStarted", "2026-02-28T23:59:01Z");
    assert_eq!(started["create"]["_index"], "alerts-2026.02.28");
    assert_eq!(started, day_of("ResponseComplete", "2026-03-01T00:03:00Z"));
}

#[test]
fn namespaces() {
    let of = |index: &str, document: &str| {
        namespace(index, &json::members(document).collect::<Vec<_>>()).map(Cow::into_owned)
    };
    assert_eq!(
        of("logs-aws.cloudwatch_logs-kubernetes-eks", "{}").as_deref(),
        Some("kubernetes-eks")
    );
    assert_eq!(
        of("filebeat-7.17.29", r#"{"data_stream":{"namespace":"prod"}}"#).as_deref(),
        Some("prod")
    );
    assert_eq!(of("filebeat-7.17.29", "{}"), None);
    assert_eq!(of("logs-x", "{}"), None);
    for hostile in ["../x", "A", "a b", "a/b", "a\"b", "", "a,b", "a*", "a\u{1}"] {
        let document = json!({"data_stream": {"namespace": hostile}}).to_string();
        assert_eq!(of("x", &document), None, "{hostile}");
        assert_eq!(of(&format!("logs-a-{hostile}"), "{}"), None, "{hostile}");
    }
}

#[test]
fn an_item_is_stored_when_its_alerts_are() {
    let body =
        format!("{{\"create\":{{\"_index\":\"x\"}}}}\n{}\n", in_message(&audit("a", "secrets")));
    let prepared = prepared(&preparer(policy()), body.as_bytes());
    for (statuses, status, word) in [
        ([201, 201], 201, "stored"),
        ([201, 409], 201, "stored"),
        ([409, 201], 200, "duplicate"),
        ([409, 409], 200, "duplicate"),
        ([201, 429], 429, "returned"),
        ([409, 503], 503, "returned"),
        ([201, 400], 400, "rejected"),
        ([400, 201], 400, "rejected"),
        ([429, 201], 429, "returned"),
        ([503, 429], 503, "returned"),
    ] {
        let (answer, tally) = reply(&prepared, &statuses);
        assert_eq!(answer["items"][0]["create"]["status"], status, "{statuses:?}");
        assert_eq!(answer["errors"], status >= 300, "{statuses:?}");
        let counts = [
            ("stored", tally.stored),
            ("duplicate", tally.duplicate),
            ("rejected", tally.rejected),
            ("returned", tally.returned),
        ];
        for (name, count) in counts {
            assert_eq!(count, u64::from(name == word), "{statuses:?} {name}");
        }
    }
    let (answer, _) = reply(&prepared, &[201, 400]);
    let reason = answer["items"][0]["create"]["error"]["reason"].as_str().unwrap();
    assert!(reason.starts_with("the document is stored, its alert [rule "), "{reason}");
    assert_eq!(
        reply(&prepared, &[201]).0["items"][0]["create"]["status"],
        503,
        "an answer that is too short"
    );
    assert_eq!(reply(&prepared, &[]).0["items"][0]["create"]["status"], 503);
}

#[test]
fn a_conflict_on_the_clients_own_id_is_the_clients() {
    let body = |op: &str| {
        format!(
            "{{\"{op}\":{{\"_index\":\"x\",\"_id\":\"own\"}}}}\n{}\n",
            in_message(&audit("a", "nodes"))
        )
    };
    let preparer = preparer(policy());
    let (answer, tally) = reply(&prepared(&preparer, body("create").as_bytes()), &[409]);
    assert_eq!((&answer["items"][0]["create"]["status"], tally.duplicate), (&json!(409), 1));
    // An `index` that is rerouted becomes a `create` under an `_id` of ours: two documents that the client keeps
    // apart by their index stay two, and the client sees its own `_id`.
    let indexed = prepared(&preparer, body("index").as_bytes());
    let other = prepared(
        &preparer,
        body("index").replace("audit-", "b-").replace("\\\"a\\\"", "\\\"b\\\"").as_bytes(),
    );
    let id_of = |it: &Prepared| outgoing(it)[0].0["create"]["_id"].as_str().unwrap().to_owned();
    assert_ne!(id_of(&indexed), "own");
    assert_ne!(id_of(&indexed), id_of(&other));
    for (status, told) in [(201, 201), (409, 200)] {
        let (answer, _) = reply(&indexed, &[status]);
        assert_eq!(answer["items"][0]["index"]["status"], told);
        assert_eq!(answer["items"][0]["index"]["_id"], "own");
    }
}

#[test]
fn an_audit_id_that_a_client_chose_hides_nothing() {
    let preparer = preparer(policy());
    let ids = |event: &str| -> Vec<String> {
        let body = format!("{{\"create\":{{\"_index\":\"x\"}}}}\n{}\n", in_message(event));
        let out = outgoing(&prepared(&preparer, body.as_bytes()));
        out.iter().map(|(it, _)| it["create"]["_id"].as_str().unwrap().to_owned()).collect()
    };
    let at = |time: &str| {
        audit("chosen", "secrets").replacen(
            '{',
            &format!("{{\"requestReceivedTimestamp\":\"{time}\","),
            1,
        )
    };
    let (first, second) =
        (ids(&at("2026-03-01T10:00:00.000001Z")), ids(&at("2026-03-01T10:00:00.000002Z")));
    assert_eq!(first, ids(&at("2026-03-01T10:00:00.000001Z")));
    assert_ne!(first[0], second[0], "the event");
    assert_ne!(first[1], second[1], "its alert");
}

#[test]
fn a_batch_does_not_grow_beyond_measure() {
    let small = Policy { batch_bytes_max: 5000, ..policy() };
    let body =
        format!("{{\"create\":{{\"_index\":\"x\"}}}}\n{}\n", in_message(&audit("a", "secrets")));
    let refused = preparer(small).prepare(body.repeat(5).as_bytes(), &Defaults::default(), now());
    assert_eq!(refused.unwrap_err(), TooLarge::Batch { limit: 5000 });
}

/// A message of CloudWatch to a subscription, with an event on secrets, one on leases and a line of klog.
fn subscription() -> String {
    let event = |id: u32, message: &str| json!({"id": format!("cw-{id}"), "timestamp": 1_772_359_200_000_u64, "message": message});
    json!({"messageType": "DATA_MESSAGE", "owner": "111122223333", "logGroup": "/aws/eks/demo/cluster",
        "logStream": "kube-apiserver-audit-0123", "logEvents": [
            event(1, &audit("a", "secrets")),
            event(2, &audit("b", "leases")),
            event(3, "I0301 10:00:00.200000      10 trace.go:236] Trace[1]: slow"),
        ]})
    .to_string()
}

fn one_item(preparer: &Preparer, action: &str, document: &str) -> Prepared {
    prepared(preparer, format!("{action}\n{document}\n").as_bytes())
}

const CREATE: &str = r#"{"create":{"_index":"logs-x-prod","_id":"own"}}"#;

#[test]
fn an_item_becomes_many_documents_and_has_one_answer() {
    let preparer = preparer(policy());
    let wrapped = json!({"@timestamp": "x", "message": subscription()}).to_string();
    for document in [subscription(), wrapped] {
        let prepared = one_item(&preparer, CREATE, &document);
        let out = outgoing(&prepared);
        let indices: Vec<_> =
            out.iter().map(|(it, _)| it["create"]["_index"].as_str().unwrap()).collect();
        assert_eq!(
            indices,
            [
                "logs-kubernetes.audit_logs-prod",
                "logs-k8scop.alerts-prod",
                "logs-kubernetes.audit_logs-prod",
                "logs-kubernetes.control_plane_logs-prod"
            ]
        );
        let ids: Vec<_> = out.iter().map(|(it, _)| it["create"]["_id"].clone()).collect();
        assert!(ids.iter().all(|it| it.as_str().unwrap().len() == 32), "{ids:?}");
        let again = one_item(&preparer, &CREATE.replace("own", "other"), &document);
        let again: Vec<_> =
            outgoing(&again).iter().map(|(it, _)| it["create"]["_id"].clone()).collect();
        assert_eq!(ids, again, "sent again under another id, it is there already");
        assert_eq!(out[2].1["aws"]["cloudwatch"]["event_id"], "cw-2");
        for (statuses, status) in [
            ([201, 201, 201, 201], 201),
            ([409, 201, 201, 409], 201),
            ([409, 409, 409, 409], 200),
            ([201, 201, 201, 400], 400),
            ([400, 201, 201, 503], 503),
            ([201, 429, 201, 201], 429),
            ([201, 400, 400, 201], 400),
        ] {
            let (answer, tally) = reply(&prepared, &statuses);
            let items = answer["items"].as_array().unwrap();
            assert_eq!(items.len(), 1, "{statuses:?}");
            assert_eq!(items[0]["create"]["status"], status, "{statuses:?}");
            assert_eq!(items[0]["create"]["_index"], "logs-x-prod");
            assert_eq!(items[0]["create"]["_id"], "own");
            let sum = tally.stored + tally.duplicate + tally.rejected + tally.returned;
            assert_eq!(sum, 1, "{statuses:?}");
        }
    }
}

#[test]
fn an_item_may_become_none() {
    let check = json!({"messageType": "CONTROL_MESSAGE", "owner": "CloudwatchLogs", "logGroup": "", "logStream": "",
        "logEvents": [{"id": "", "timestamp": 1, "message": "CWL CONTROL MESSAGE: Checking health of destination."}]});
    let prepared = one_item(&preparer(policy()), CREATE, &check.to_string());
    assert_eq!((prepared.batch.slot_count(), prepared.counts.dropped), (0, [1, 0, 0]));
    let (answer, tally) = reply(&prepared, &[]);
    assert_eq!(answer["errors"], false);
    assert_eq!(answer["items"][0]["create"]["result"], "noop");
    assert_eq!((&answer["items"][0]["create"]["status"], tally.dropped), (&json!(200), 1));
}

#[test]
fn more_parts_than_items_are_allowed() {
    let small = Policy { items_max: 2, ..policy() };
    let prepared = one_item(&preparer(small), CREATE, &subscription());
    let out = outgoing(&prepared);
    let [(action, document)] = out.as_slice() else { panic!("{out:?}") };
    assert_eq!(action["create"]["_index"], "logs-x-prod");
    assert_eq!(document["tags"], json!([unwrap::TAG_UNWRAP_FAILED]));
    assert_eq!(document["logEvents"].as_array().unwrap().len(), 3, "nothing is lost");
    assert_eq!(prepared.counts.audit_sum(), 0, "nothing is counted twice");
    assert!(prepared.counts.hits.is_empty());
}

#[test]
fn parts_of_one_record_do_not_hide_each_other() {
    let event = audit("a", "nodes");
    let preparer = preparer(policy());
    let cloudwatch = json!({"log_group": "/aws/eks/demo/cluster", "log_stream": "kube-apiserver-audit-0", "event_id": "7"});
    let one =
        |message: &str| json!({"message": message, "aws": {"cloudwatch": cloudwatch}}).to_string();
    let ids = |documents: &[String]| -> Vec<String> {
        let body: String = documents
            .iter()
            .map(|it| format!("{{\"create\":{{\"_index\":\"x\"}}}}\n{it}\n"))
            .collect();
        let prepared = prepared(&preparer, body.as_bytes());
        outgoing(&prepared).iter().map(|(action, _)| action["create"]["_id"].to_string()).collect()
    };
    // Several in one record, two of them the same; and lines that a shipper took out of one record.
    let several = one(&json!([event, "one", "two", "one"]).to_string());
    let lines =
        [one("I0301 10:00:00.000000 1 a.go:1] x"), one("I0301 10:00:00.000000 1 a.go:1] y")];
    for documents in [&[several][..], &lines] {
        let mut all = ids(documents);
        assert_eq!(all, ids(documents), "sent again, they are the same");
        all.sort();
        all.dedup();
        assert_eq!(all.len(), if documents.len() == 1 { 4 } else { 2 });
    }
}

#[test]
fn nothing_deeper_than_allowed_goes_out() {
    let preparer = preparer(Policy { depth_max: 20, ..policy() });
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let event = audit("a", "nodes");
    let beside = in_message(&event).replacen('{', &format!("{{\"x\":{},", deep(30)), 1);
    let inside = in_message(&event.replacen('{', &format!("{{\"x\":{},", deep(2000)), 1));
    for document in [beside, inside] {
        let prepared = one_item(&preparer, r#"{"create":{"_index":"x"}}"#, &document);
        assert_eq!(prepared.batch.slot_count(), 0);
        assert_eq!(reply(&prepared, &[]).0["items"][0]["create"]["status"], 400);
    }
    // A deep body hides nothing.
    let body = event.replacen('{', &format!("{{\"requestObject\":{},", deep(2000)), 1);
    for document in [in_message(&body), body] {
        let prepared = one_item(&preparer, r#"{"create":{"_index":"x"}}"#, &document);
        assert_eq!(outgoing(&prepared)[0].1["kubernetes"]["audit"]["auditID"], "a");
    }
}

#[test]
fn what_is_not_wanted_is_dropped_unless_it_failed() {
    let map = "{objectRef.resource: [leases, secrets], user.username: mallory}";
    let drop = vec![rules::selection("d", &yaml_serde::from_str(map).unwrap()).unwrap()];
    let lines_of = vec![(Component::Other, LineRoute::Drop)];
    let policy = Policy { drop, lines_of, ..policy() };
    let preparer = preparer(policy);
    let prepared = one_item(&preparer, CREATE, &subscription());
    assert_eq!((prepared.batch.slot_count(), prepared.counts.dropped), (0, [0, 1, 2]));
    let denied = audit("a", "secrets").replace("200", "403");
    assert_eq!(one_item(&preparer, CREATE, &in_message(&denied)).counts.dropped, [0; 3]);
    let other = audit("a", "secrets").replace("mallory", "eve");
    assert_eq!(one_item(&preparer, CREATE, &in_message(&other)).counts.dropped, [0; 3]);
}

#[test]
fn lines_that_are_to_stay_stay() {
    let preparer = preparer(Policy { lines: LineRoute::Keep, ..policy() });
    let out = outgoing(&one_item(&preparer, CREATE, &subscription()));
    let (action, document) = out.last().unwrap();
    assert_eq!(action["create"]["_index"], "logs-x-prod");
    assert_eq!(document["message"], "I0301 10:00:00.200000      10 trace.go:236] Trace[1]: slow");
    let alone = json!({"message": "I0301 10:00:00.200000      10 trace.go:236] x",
        "aws": {"cloudwatch": {"log_group": "/aws/eks/demo/cluster", "log_stream": "kube-apiserver-01"}}});
    let out = outgoing(&one_item(&preparer, CREATE, &alone.to_string()));
    assert_eq!((&out[0].0["create"]["_id"], &out[0].1), (&json!("own"), &alone));
}

#[test]
fn what_a_container_prints_is_marked_or_left() {
    let document = json!({"message": audit("a", "nodes"), "kubernetes": {"pod": {"name": "p"}}});
    let out = outgoing(&one_item(&preparer(policy()), CREATE, &document.to_string()));
    assert_eq!(out[0].1["tags"], json!([unwrap::TAG_FROM_CONTAINER]));
    let mut careful = policy();
    careful.unwrap.from_containers = false;
    let out = outgoing(&one_item(&preparer(careful), CREATE, &document.to_string()));
    assert_eq!(out[0].1, document);
}

/// A piece of a bulk body and what must become of it.
#[derive(Clone, Debug)]
enum Piece {
    Plain(u8),
    Event { id: u8, own_id: bool, index: bool, alert: bool },
    Delete(u8),
    Update(u8),
    Bad(Bad),
}

#[derive(Clone, Copy, Debug)]
enum Bad {
    NotJson,
    Array,
    Deep,
    NotUtf8,
    Cut,
    BlankDocument,
    UnknownAction,
    UnknownParameter,
    GarbageLine,
    NoIndex,
    DeleteWithoutId,
    BrokenUpdate,
}

/// Name, `_index` and `_id` that the answer must show; `_id` is free where it is made.
type Shown = (&'static str, &'static str, Option<String>);

impl Piece {
    fn is_good(&self) -> bool {
        !matches!(self, Self::Bad(_))
    }

    fn slots(&self) -> usize {
        match self {
            Self::Bad(_) => 0,
            Self::Event { alert: true, .. } => 2,
            _ => 1,
        }
    }

    fn shown(&self) -> Shown {
        let id = |it: &u8| Some(format!("id-{it}"));
        match self {
            Self::Plain(n) => ("create", "plain", id(n)),
            Self::Event { id: n, own_id, index, .. } => (
                if *index { "index" } else { "create" },
                "events",
                own_id.then(|| format!("id-{n}")),
            ),
            Self::Delete(n) => ("delete", "plain", id(n)),
            Self::Update(n) => ("update", "plain", id(n)),
            Self::Bad(Bad::UnknownAction) => ("frobnicate", "bad", None),
            Self::Bad(Bad::GarbageLine) => ("index", "", None),
            Self::Bad(Bad::NoIndex) => ("create", "", None),
            Self::Bad(Bad::DeleteWithoutId) => ("delete", "bad", None),
            Self::Bad(Bad::BrokenUpdate) => ("update", "bad", Some("1".into())),
            Self::Bad(_) => ("create", "bad", None),
        }
    }

    fn render(&self, end: &str, out: &mut Vec<u8>) {
        let bad = "{\"create\":{\"_index\":\"bad\"}}";
        let lines: Vec<Vec<u8>> = match self {
            Self::Plain(n) => vec![
                format!("{{\"create\":{{\"_index\":\"plain\",\"_id\":\"id-{n}\"}}}}").into(),
                format!("{{\"message\":\"I0301 line {n}\",\"x\":[{n}, {{}}]}}").into(),
            ],
            Self::Event { id, own_id, index, alert } => {
                let op = if *index { "index" } else { "create" };
                let own = if *own_id { format!(",\"_id\":\"id-{id}\"") } else { String::new() };
                let event = audit(&format!("audit-{id}"), if *alert { "secrets" } else { "nodes" });
                vec![
                    format!("{{\"{op}\":{{\"_index\":\"events\"{own}}}}}").into(),
                    in_message(&event).into(),
                ]
            }
            Self::Delete(n) => {
                vec![format!("{{\"delete\":{{\"_index\":\"plain\",\"_id\":\"id-{n}\"}}}}").into()]
            }
            Self::Update(n) => vec![
                format!("{{\"update\":{{\"_index\":\"plain\",\"_id\":\"id-{n}\"}}}}").into(),
                b"{\"doc\":{}}".to_vec(),
            ],
            Self::Bad(kind) => match kind {
                Bad::NotJson => vec![bad.into(), b"not json".to_vec()],
                Bad::Array => vec![bad.into(), b"[{\"a\":1}]".to_vec()],
                Bad::Deep => vec![
                    bad.into(),
                    [b"{\"a\":".repeat(2000), b"1".to_vec(), b"}".repeat(2000)].concat(),
                ],
                Bad::NotUtf8 => vec![bad.into(), b"{\"a\":\"\xff\xfe\"}".to_vec()],
                Bad::Cut => vec![bad.into(), b"{\"message\":\"{\\\"kind\\\":".to_vec()],
                // What stands between an action and the next action is all the document there is.
                Bad::BlankDocument => vec![bad.into(), b" ".to_vec()],
                Bad::UnknownAction => {
                    vec![b"{\"frobnicate\":{\"_index\":\"bad\"}}".to_vec(), b"{\"a\":1}".to_vec()]
                }
                Bad::UnknownParameter => vec![
                    b"{\"create\":{\"_index\":\"bad\",\"colour\":1}}".to_vec(),
                    b"{\"a\":1}".to_vec(),
                ],
                Bad::GarbageLine => vec![b"\x00garbage".to_vec()],
                Bad::NoIndex => vec![b"{\"create\":{}}".to_vec(), b"{\"a\":1}".to_vec()],
                Bad::DeleteWithoutId => vec![b"{\"delete\":{\"_index\":\"bad\"}}".to_vec()],
                Bad::BrokenUpdate => vec![
                    b"{\"update\":{\"_index\":\"bad\",\"_id\":\"1\"}}".to_vec(),
                    b"{\"a\":1}".to_vec(),
                ],
            },
        };
        for line in lines {
            out.extend_from_slice(&line);
            out.extend_from_slice(end.as_bytes());
        }
    }
}

fn bad() -> impl Strategy<Value = Bad> {
    use Bad::{
        Array, BlankDocument, BrokenUpdate, Cut, Deep, DeleteWithoutId, GarbageLine, NoIndex,
        NotJson, NotUtf8, UnknownAction, UnknownParameter,
    };
    prop::sample::select(vec![
        NotJson,
        Array,
        Deep,
        NotUtf8,
        Cut,
        BlankDocument,
        UnknownAction,
        UnknownParameter,
        GarbageLine,
        NoIndex,
        DeleteWithoutId,
        BrokenUpdate,
    ])
}

fn piece() -> impl Strategy<Value = Piece> {
    prop_oneof![
        2 => any::<u8>().prop_map(Piece::Plain),
        3 => (any::<u8>(), any::<bool>(), any::<bool>(), any::<bool>())
            .prop_map(|(id, own_id, index, alert)| Piece::Event { id, own_id, index, alert }),
        1 => any::<u8>().prop_map(Piece::Delete),
        1 => any::<u8>().prop_map(Piece::Update),
        3 => bad().prop_map(Piece::Bad),
    ]
}

fn render(pieces: &[Piece], ends: &[bool], blanks: &[bool], last_end: bool) -> Vec<u8> {
    let mut body = Vec::new();
    for (index, piece) in pieces.iter().enumerate() {
        let end = if ends[index % ends.len()] { "\r\n" } else { "\n" };
        piece.render(end, &mut body);
        let open = matches!(piece, Piece::Bad(Bad::BlankDocument | Bad::GarbageLine));
        if blanks[index % blanks.len()] && !open {
            body.extend_from_slice(b"\n \r\n");
        }
    }
    if !last_end && pieces.last().is_some_and(|it| !matches!(it, Piece::Bad(Bad::BlankDocument))) {
        while matches!(body.last(), Some(b'\n' | b'\r' | b' ')) {
            body.pop();
        }
    }
    body
}

/// What the item must say, by what was said of its document and of its alert.
fn expected_status(piece: &Piece, statuses: &[u16]) -> u16 {
    let Some((&document, alerts)) = statuses.split_first() else { return 400 };
    // The `_id` is ours: where the client gave none, and where its `index` had to become a `create`.
    let forgiven = matches!(piece, Piece::Event { own_id, index, .. } if !own_id || *index);
    let document = if document == 409 && forgiven { 200 } else { document };
    match alerts.first() {
        Some(&alert) if document < 300 && alert >= 300 && alert != 409 => alert,
        _ => document,
    }
}

proptest! {
    #![proptest_config(Config { cases: 10_000, failure_persistence: None, ..Config::default() })]

    /// Whatever a body is made of: one item for each action, in order, under the client's names; a bad document
    /// costs its own item and changes nothing of what goes out for the others.
    #[test]
    fn every_item_is_answered_in_its_place(
        mut pieces in vec(piece(), 1..12),
        ends in vec(any::<bool>(), 1..4),
        blanks in vec(prop::bool::weighted(0.2), 1..4),
        last_end in any::<bool>(),
        seed in vec(prop::sample::select(vec![200_u16, 201, 201, 201, 400, 404, 409, 429, 503]), 1..30),
    ) {
        // A line that is no action may belong to a document that is missing before it; nobody can tell.
        for index in 1..pieces.len() {
            let (before, here) = (pieces[index - 1].clone(), pieces[index].clone());
            if matches!(before, Piece::Bad(Bad::BlankDocument | Bad::GarbageLine | Bad::DeleteWithoutId)) && !here.is_good() {
                pieces[index] = Piece::Plain(0);
            }
        }
        let preparer = preparer_once();
        let body = render(&pieces, &ends, &blanks, last_end);
        let mixed = prepared(preparer, &body);
        prop_assert_eq!(mixed.item_count(), pieces.len(), "{:?}", String::from_utf8_lossy(&body));

        let good: Vec<Piece> = pieces.iter().filter(|it| it.is_good()).cloned().collect();
        let alone = prepared(preparer, &render(&good, &[false], &[false], true));
        prop_assert_eq!(mixed.batch.slot_count(), alone.batch.slot_count());
        for slot in 0..mixed.batch.slot_count() {
            prop_assert_eq!(mixed.batch.slot(slot), alone.batch.slot(slot));
        }

        let statuses: Vec<u16> = seed.iter().cycle().take(mixed.batch.slot_count()).copied().collect();
        let (answer, tally) = reply(&mixed, &statuses);
        let items = answer["items"].as_array().unwrap();
        prop_assert_eq!(items.len(), pieces.len());
        let (mut left, mut any_error) = (statuses.as_slice(), false);
        for (piece, item) in pieces.iter().zip(items) {
            let (name, index, id) = piece.shown();
            let (got_name, got) = item.as_object().unwrap().iter().next().unwrap();
            prop_assert_eq!(got_name, name);
            prop_assert_eq!(&got["_index"], index);
            let of_piece = left.split_off(..piece.slots()).unwrap();
            let status = expected_status(piece, of_piece);
            prop_assert_eq!(&got["status"], status, "{:?} {:?}", piece, of_piece);
            // Where Elasticsearch's own item is passed on, so is its `_id`; it is "es" here.
            if !piece.is_good() || id.is_some() {
                prop_assert_eq!(&got["_id"], &json!(id));
            }
            prop_assert_eq!(got.get("error").is_some(), status >= 300);
            any_error |= status >= 300;
        }
        prop_assert_eq!(&answer["errors"], any_error);
        let sum = tally.stored + tally.duplicate + tally.rejected + tally.returned;
        prop_assert_eq!(sum, pieces.len() as u64);
    }

    /// Any bytes at all: no panic, and as many answers as items.
    #[test]
    fn any_bytes_are_answered(body in vec(any::<u8>(), 0..400), glue in vec(prop::sample::select(vec!["\n", "{\"create\":{\"_index\":\"x\"}}\n", "{\"message\":\"", "\\\"audit.k8s.io\\\"", "{", "}", "\"", "\\"]), 0..20)) {
        let mut text = body;
        for (index, piece) in glue.iter().enumerate() {
            let at = (index * 7919) % (text.len() + 1);
            text.splice(at..at, piece.bytes());
        }
        let prepared = prepared(preparer_once(), &text);
        let statuses = vec![201; prepared.batch.slot_count()];
        let (answer, _) = reply(&prepared, &statuses);
        prop_assert_eq!(answer["items"].as_array().unwrap().len(), prepared.item_count());
    }
}

proptest! {
    #![proptest_config(Config { cases: 1000, failure_persistence: None, ..Config::default() })]

    /// Where only alerts go out, they are those that go out with the documents.
    #[test]
    fn alerts_alone_are_the_same(pieces in vec(piece(), 1..12)) {
        alike_with_alerts_alone(preparer_once(), &render(&pieces, &[false], &[false], true));
    }
}

#[track_caller]
fn alike_with_alerts_alone(preparer: &Preparer, body: &[u8]) {
    let noted = |alerts_only| {
        preparer.prepare_noted(alerts_only, body, &Defaults::default(), now()).unwrap()
    };
    let (all, alone) = (noted(false), noted(true));
    assert_eq!(all.counts, alone.counts);
    assert_eq!(format!("{:?}", all.notes()), format!("{:?}", alone.notes()));
    assert_eq!(format!("{:?}", all.refusals(&[])), format!("{:?}", alone.refusals(&[])));
    assert_eq!(all.batch.slot_count(), alone.batch.slot_count());
    let alerts = all.made_slots(false);
    assert_eq!(alerts, alone.made_slots(false));
    for slot in 0..all.batch.slot_count() {
        match alerts.contains(&slot) {
            true => assert_eq!(all.batch.slot(slot), alone.batch.slot(slot)),
            false => assert!(alone.batch.slot(slot).is_empty()),
        }
    }
}

#[test]
fn alerts_alone_are_the_same_of_all_envelopes() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/envelopes");
    let files = std::fs::read_dir(folder).unwrap().map(|it| it.unwrap().path());
    let bulk = files.filter(|it| it.to_string_lossy().ends_with(".in.bulk.ndjson"));
    let bodies: Vec<_> = bulk.map(|it| std::fs::read(it).unwrap()).collect();
    assert!(bodies.len() > 5);
    for body in bodies {
        alike_with_alerts_alone(preparer_once(), &body);
    }
}

#[test]
fn what_is_refused_for_its_depth_raises_no_alert_alone_either() {
    let mut deep: Value = serde_json::from_str(&audit("a", "secrets")).unwrap();
    deep["more"] = json!([[[[[[1]]]]]]);
    let body = [json!({"message": "x", "more": [[[[[[1]]]]]]}), deep]
        .map(|it| format!("{{\"index\":{{\"_index\":\"i\",\"_id\":\"1\"}}}}\n{it}\n"))
        .concat();
    for depth_max in 4..12 {
        let preparer = preparer(Policy { depth_max, ..policy() });
        alike_with_alerts_alone(&preparer, body.as_bytes());
    }
}

fn preparer_once() -> &'static Preparer {
    static PREPARER: std::sync::OnceLock<Preparer> = std::sync::OnceLock::new();
    PREPARER.get_or_init(|| preparer(policy()))
}

/// What stands in others, as deep as anybody likes, costs neither the stack nor much time.
#[test]
fn carriers_in_each_other() {
    let event = audit("a", "secrets");
    let nested = |open: &str, close: &str, depth: usize| {
        format!("{}{event}{}", open.repeat(depth), close.repeat(depth))
    };
    let list = r#"{"kind":"EventList","apiVersion":"audit.k8s.io/v1","items":["#;
    for (open, close) in [
        ("{\"message\":", "}"),
        (list, "]}"),
        ("{\"records\":[", "]}"),
        ("{\"log\":", "}"),
        ("[", "]"),
        ("{\"message\":[", "]}"),
        (
            "{\"messageType\":\"DATA_MESSAGE\",\"logGroup\":\"/aws/eks/c/cluster\",\"logEvents\":[{\"message\":",
            "}]}",
        ),
        ("{\"kubernetes\":{\"audit\":", "}}"),
        (
            "{\"category\":\"a\",\"time\":\"b\",\"resourceId\":\"/x/MICROSOFT.CONTAINERSERVICE/c\",\"properties\":{\"log\":",
            "}}",
        ),
        (
            "{\"resourceLogs\":[{\"scopeLogs\":[{\"logRecords\":[{\"body\":{\"stringValue\":",
            "}}]}]}]}",
        ),
    ] {
        for depth in [2, 20, 3_000] {
            let text = nested(open, close, depth);
            for document in [in_message(&text), format!("{{\"message\":{text}}}")] {
                let body = format!("{{\"create\":{{\"_index\":\"i\"}}}}\n{document}\n");
                let started = std::time::Instant::now();
                let out = prepared(&preparer(policy()), body.as_bytes());
                assert!(started.elapsed() < std::time::Duration::from_secs(5), "{open} {depth}");
                assert!(out.batch.slot_count() <= 2, "{open} {depth}");
            }
        }
    }
}

/// Different records never share an `_id`, whatever one message of CloudWatch holds.
#[test]
fn pieces_of_one_record() {
    let event = audit("a", "nodes");
    for message in [
        format!("{event}{{\"x\":1}}{{\"x\":2}}"),
        format!("[{event},{{\"x\":1}},{{\"x\":2}}]"),
        format!(
            "{{\"kind\":\"EventList\",\"apiVersion\":\"audit.k8s.io/v1\",\"items\":[{event},{{\"x\":1}},{{\"x\":2}}]}}"
        ),
    ] {
        let item = json!({"messageType": "DATA_MESSAGE", "owner": "1", "logGroup": "/aws/eks/demo/cluster", "logStream": "own",
            "logEvents": [{"id": "7", "timestamp": 1_772_359_200_000_u64, "message": message}]});
        let body = format!("{{\"create\":{{\"_index\":\"i\"}}}}\n{item}\n");
        let out = outgoing(&prepared(&preparer(policy()), body.as_bytes()));
        let mut ids: Vec<_> = out.iter().map(|it| it.0["create"]["_id"].to_string()).collect();
        assert_eq!(ids.len(), 3, "{message}");
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 3, "{message}");
    }
}

/// A container in which somebody prints is one however its output came: Firehose brings it as text.
#[test]
fn output_of_containers_in_a_text() {
    let output = json!({"log": audit("a", "secrets"), "kubernetes": {"pod_name": "p", "namespace_name": "n"}});
    let subscription = json!({"messageType": "DATA_MESSAGE", "owner": "1",
        "logGroup": "/aws/containerinsights/demo/application", "logStream": "s",
        "logEvents": [{"id": "7", "timestamp": 1_772_359_200_000_u64, "message": output.to_string()}]});
    for document in [output.clone(), json!({"message": output.to_string()}), subscription] {
        let body = format!("{{\"create\":{{\"_index\":\"i\"}}}}\n{document}\n");
        let out = outgoing(&prepared(&preparer(policy()), body.as_bytes()));
        assert_eq!(out[0].1["tags"], json!(["k8scop_from_container"]), "{document}");
        let settings = unwrap::Settings { from_containers: false, ..policy().unwrap };
        let strict = preparer(Policy { unwrap: settings, ..policy() });
        let prepared = prepared(&strict, body.as_bytes());
        assert_eq!((prepared.counts.audit_sum(), prepared.batch.slot_count()), (0, 1));
    }
}

/// Whoever prints what an event will look like does not take its place, or that of its alert.
#[test]
fn what_a_container_prints_hides_nothing() {
    let document = |agent: &str, around: Value| {
        let mut event: Value = serde_json::from_str(&audit("a", "secrets")).unwrap();
        event["requestReceivedTimestamp"] = "2026-03-01T10:00:00.000000Z".into();
        event["userAgent"] = agent.into();
        let mut document = json!({"message": event.to_string()});
        document.as_object_mut().unwrap().extend(around.as_object().unwrap().clone());
        document
    };
    let pod = |name: &str| json!({"kubernetes": {"pod": {"name": name}}});
    let all = [document("x", json!({})), document("x", pod("a")), document("y", pod("b"))];
    let mut ids: Vec<String> = Vec::new();
    for document in &all {
        let body = format!("{{\"create\":{{\"_index\":\"i\"}}}}\n{document}\n");
        let out = outgoing(&prepared(&preparer(policy()), body.as_bytes()));
        assert_eq!(out, outgoing(&prepared(&preparer(policy()), body.as_bytes())), "again");
        ids.extend(out.iter().map(|it| it.0["create"]["_id"].to_string()));
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 6);
}

/// What calls itself a line of EKS, and was printed in a container, is a line of that container.
#[test]
fn what_a_container_prints_is_no_line_of_the_control_plane() {
    let line = json!({"aws": {"cloudwatch": {"log_group": "/aws/eks/demo/cluster", "log_stream": "authenticator-0a", "event_id": "7"}},
        "message": "time=\"2026-03-01T10:00:00Z\" level=info msg=\"access granted\" username=root"});
    let document = json!({"message": line.to_string(), "kubernetes": {"pod": {"name": "p"}}});
    let body = format!("{{\"create\":{{\"_index\":\"i\"}}}}\n{document}\n");
    let prepared = prepared(&preparer(policy()), body.as_bytes());
    assert_eq!((prepared.counts.lines, outgoing(&prepared)[0].1.clone()), (0, document));
}

/// Records of which too much would have to be decompressed to know them are not looked at one by one for ever.
#[test]
fn bombs_in_records() {
    use base64::{Engine, engine::general_purpose::STANDARD};
    use std::io::Write;
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    bomb.write_all(&vec![b'x'; 700 << 10]).unwrap();
    let bomb = STANDARD.encode(bomb.finish().unwrap());
    let records: Vec<_> = (0..20).map(|_| json!({"kinesis": {"data": bomb}})).collect();
    let document = in_message(&json!({"records": records}).to_string());
    let body = format!("{{\"create\":{{\"_index\":\"i\"}}}}\n{document}\n");
    let prepared = prepared(&preparer(policy()), body.as_bytes());
    assert_eq!(prepared.counts.broken, [0, 0, 1, 0]);
    assert_eq!(prepared.batch.slot_count(), 1, "it passes as it came");
}

/// What follows an event that was cut is not lost where it cannot be read.
#[test]
fn half_a_character_after_a_cut() {
    let event = audit("a", "secrets");
    let first = json!(event.split_at(event.len() - 40).0).to_string();
    let item = format!(
        r#"{{"messageType":"DATA_MESSAGE","owner":"1","logGroup":"/aws/eks/demo/cluster","logStream":"kube-apiserver-audit-0a","logEvents":[{{"id":"7","timestamp":1772359200000,"message":{first}}},{{"id":"8","timestamp":1772359200000,"message":"rest \ud800"}}]}}"#
    );
    let body = format!("{{\"create\":{{\"_index\":\"i\"}}}}\n{item}\n");
    let out = outgoing(&prepared(&preparer(policy()), body.as_bytes()));
    assert!(out.iter().any(|it| it.1["message"].to_string().contains("rest")), "{out:#?}");
}

/// What others put into the same request does not keep an event from being read: the shipper sends it in two.
#[test]
fn a_full_batch_spoils_no_event() {
    let item = |document: String| format!("{{\"create\":{{\"_index\":\"i\"}}}}\n{document}\n");
    let event = item(in_message(&audit("a", "secrets")));
    let alone = prepared(&preparer(policy()), event.as_bytes()).batch.len_bytes();
    let filler = item(json!({"x": "y".repeat(alone)}).to_string());
    for more in (0..alone).step_by(97) {
        let small = preparer(Policy { batch_bytes_max: filler.len() + more, ..policy() });
        if let Ok(prepared) =
            small.prepare((filler.clone() + &event).as_bytes(), &Defaults::default(), now())
        {
            assert_eq!(
                (prepared.counts.audit_sum(), prepared.counts.broken),
                (1, [0; 4]),
                "{more}"
            );
        }
    }
}

/// What is no event of a list has an `_id` of ours, though its shipper gave none: the list comes again, if a part of it
/// is not stored.
#[test]
fn parts_without_an_id() {
    let list = |more: &str| {
        let items = format!("[{},{{\"x\":1}},{{\"x\":1}}]", audit("a", "nodes"));
        let message = format!(
            "{{\"kind\":\"EventList\",\"apiVersion\":\"audit.k8s.io/v1\",\"items\":{items}}}"
        );
        let document = json!({"message": message, "note": more});
        format!("{{\"create\":{{\"_index\":\"i\"}}}}\n{document}\n")
    };
    let ids = |policy: Policy, body: &str| -> Vec<Value> {
        let out = outgoing(&prepared(&preparer(policy), body.as_bytes()));
        out.iter().map(|it| it.0["create"]["_id"].clone()).collect()
    };
    let [one, other] = [ids(policy(), &list("a")), ids(policy(), &list("b"))];
    assert_eq!(one, ids(policy(), &list("a")), "again");
    assert_eq!(one[0], other[0], "the same event");
    let mut all: Vec<_> = one.iter().chain(&other[1..]).map(Value::to_string).collect();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 5, "{all:?}");
    let without = ids(Policy { ids: Ids::Elasticsearch, ..policy() }, &list("a"));
    assert!(without.iter().all(Value::is_null), "{without:?}");
}

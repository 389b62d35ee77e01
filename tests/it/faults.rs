//! What shippers hear, and what is sent again, when Elasticsearch has a bad day.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    fake::{Fake, Reaction, items},
    harness::{K8scop, SOON, client, wait_for},
};

const QUICK: &str = "limits: {request_deadline_s: 4}\nretry: {first_ms: 5, longest_ms: 40}\n";

async fn behind(fake: &Fake) -> K8scop {
    K8scop::start(&format!("output: {}\n{QUICK}", fake.url())).await
}

fn creates(ids: &[&str]) -> String {
    ids.iter()
        .map(|id| {
            format!(
                "{{\"create\":{{\"_index\":\"logs-a\",\"_id\":\"{id}\"}}}}\n{{\"id\":\"{id}\"}}\n"
            )
        })
        .collect()
}

/// An audit event without an `_id`, that raises one alert.
fn event(audit_id: &str) -> String {
    let event = json!({"kind": "Event", "apiVersion": "audit.k8s.io/v1", "auditID": audit_id, "stage": "ResponseComplete",
        "verb": "list", "requestURI": "/api/v1/secrets", "user": {"username": "mallory"},
        "objectRef": {"resource": "secrets"}, "responseStatus": {"code": 200}});
    format!(
        "{{\"create\":{{\"_index\":\"filebeat\"}}}}\n{}\n",
        json!({"message": event.to_string()})
    )
}

fn statuses(answer: &Value) -> Vec<u64> {
    let status =
        |it: &Value| it.as_object().unwrap().values().next().unwrap()["status"].as_u64().unwrap();
    answer["items"].as_array().unwrap().iter().map(status).collect()
}

#[tokio::test]
async fn only_items_that_may_pass_later_are_sent_again() {
    let fake = Fake::start(|number, _| {
        Reaction::Items(match number {
            0 => vec![201, 429, 400, 503, 409],
            1 => vec![429, 201],
            _ => vec![201],
        })
    })
    .await;
    let k8scop = behind(&fake).await;
    let (status, answer) = k8scop.bulk("/_bulk", creates(&["a", "b", "c", "d", "e"])).await;
    assert_eq!((status, statuses(&answer)), (200, vec![201, 201, 400, 201, 409]));
    assert_eq!(answer["errors"], true);
    let sent: Vec<_> = fake.asked().iter().map(|it| it.actions().len()).collect();
    assert_eq!(sent, [5, 2, 1]);
    assert_eq!(fake.asked()[1].body, creates(&["b", "d"]));
    assert_eq!(fake.asked()[2].body, creates(&["b"]));
    let metrics = k8scop.metrics().await;
    assert_eq!(metrics[r#"k8scop_settled_items_total{result="stored"}"#], 3.0);
    assert_eq!(metrics[r#"k8scop_settled_items_total{result="duplicate"}"#], 1.0);
    assert_eq!(metrics[r#"k8scop_settled_items_total{result="rejected"}"#], 1.0);
    assert_eq!(metrics[r#"k8scop_bulk_items_total{result="retried",target="elasticsearch"}"#], 3.0);
    k8scop.check_balance().await;
}

#[tokio::test]
async fn at_the_deadline_each_item_is_told_as_it_is() {
    let fake = Fake::start(|number, _| {
        Reaction::Items(if number == 0 { vec![201, 429] } else { vec![429] })
    })
    .await;
    let k8scop = behind(&fake).await;
    let (status, answer) = k8scop.bulk("/_bulk", creates(&["a", "b"])).await;
    assert_eq!((status, statuses(&answer)), (200, vec![201, 429]));
    assert_eq!(answer["items"][1]["create"]["error"]["type"], "fake", "Elasticsearch's own words");
    assert_eq!(k8scop.metrics().await[r#"k8scop_settled_items_total{result="returned"}"#], 1.0);
    k8scop.check_balance().await;
}

#[tokio::test]
async fn a_refusal_of_the_whole_is_tried_again_or_passed_on() {
    let fake = Fake::start(|number, _| match number {
        0 => Reaction::Answer(503, vec![], "{}".into()),
        1 => Reaction::Answer(429, vec![("retry-after", "1".into())], "{}".into()),
        2 => Reaction::Items(vec![201]),
        _ => Reaction::Answer(
            401,
            vec![],
            r#"{"error":{"type":"security_exception"},"status":401}"#.into(),
        ),
    })
    .await;
    let k8scop = behind(&fake).await;
    let started = std::time::Instant::now();
    let (status, answer) = k8scop.bulk("/_bulk", creates(&["a"])).await;
    assert_eq!((status, statuses(&answer)), (200, vec![201]));
    assert!(started.elapsed() >= Duration::from_secs(1), "Retry-After is honoured");
    let (status, answer) = k8scop.bulk("/_bulk", creates(&["a"])).await;
    assert_eq!((status, &answer["error"]["type"]), (401, &json!("security_exception")));
    assert_eq!(fake.asked().len(), 4, "401 is not tried again");
    k8scop.check_balance().await;
}

#[tokio::test]
async fn an_answer_that_cannot_be_believed_is_never_success() {
    let broken = |number: usize, asked: &crate::fake::Asked| {
        let good = items(asked, &[201]);
        match number % 8 {
            0 => Reaction::Close,
            1 => Reaction::CutAfter(40),
            2 => Reaction::CutAfter(usize::MAX),
            3 => Reaction::Answer(200, vec![], String::new()),
            4 => Reaction::Answer(200, vec![], "<html>".into()),
            5 => Reaction::Answer(200, vec![], r#"{"took":1,"errors":false,"items":[]}"#.into()),
            6 => Reaction::Answer(200, vec![], good[..good.len() - 2].into()),
            _ => Reaction::Answer(200, vec![], good.replace("201", "\"ok\"")),
        }
    };
    let fake = Fake::start(broken).await;
    let k8scop = behind(&fake).await;
    let (status, answer) = k8scop.bulk("/_bulk", creates(&["a", "b"])).await;
    assert_eq!(status, 503, "{answer}");
    assert!(fake.asked().len() > 16, "all of them were met");
    assert_eq!(k8scop.metrics().await[r#"k8scop_settled_items_total{result="returned"}"#], 2.0);
    k8scop.check_balance().await;
}

#[tokio::test]
async fn a_lost_answer_is_harmless_for_events_because_their_ids_are_made() {
    // Stored, but the answer is lost; the second time everything is there already.
    let fake = Fake::start(
        |number, _| if number == 0 { Reaction::Close } else { Reaction::Items(vec![409]) },
    )
    .await;
    let k8scop = behind(&fake).await;
    let (status, answer) = k8scop.bulk("/_bulk", event("a") + &event("b")).await;
    assert_eq!((status, statuses(&answer)), (200, vec![200, 200]));
    assert_eq!(answer["errors"], false);
    let asked = fake.asked();
    assert_eq!(asked[0].body, asked[1].body);
    assert_eq!(asked[0].actions().len(), 4, "two events and two alerts");
    let metrics = k8scop.metrics().await;
    assert_eq!(metrics[r#"k8scop_settled_items_total{result="duplicate"}"#], 2.0);
    assert_eq!(metrics[r#"k8scop_settled_alerts_total{result="duplicate"}"#], 2.0);
    k8scop.check_balance().await;
}

#[tokio::test]
async fn an_event_is_not_acknowledged_without_its_alert() {
    let fake = Fake::start(|number, _| {
        Reaction::Items(if number == 0 { vec![201, 201, 429] } else { vec![429] })
    })
    .await;
    let k8scop = behind(&fake).await;
    let (_, answer) = k8scop.bulk("/_bulk", creates(&["x"]) + &event("a")).await;
    assert_eq!(statuses(&answer), [201, 429]);
    let reason = answer["items"][1]["create"]["error"]["reason"].as_str().unwrap();
    assert!(reason.contains("All secrets of the cluster read"), "{reason}");
    assert!(
        fake.asked()[1..].iter().all(|it| it.actions().len() == 1),
        "only the alert is sent again"
    );
    k8scop.check_balance().await;
}

#[tokio::test]
async fn an_event_that_elasticsearch_cannot_hold_is_stored_without_its_objects() {
    let fake = Fake::start(|number, _| {
        Reaction::Items(if number == 0 { vec![400, 201] } else { vec![201] })
    })
    .await;
    let k8scop = behind(&fake).await;
    let (_, answer) = k8scop.bulk("/_bulk", event("a")).await;
    assert_eq!(statuses(&answer), [201], "{answer}");
    let asked = fake.asked();
    let (first, second) = (&asked[0], &asked[1]);
    assert_eq!(second.actions(), first.actions()[..1], "the same place and _id");
    let document: Value = serde_json::from_str(second.body.lines().nth(1).unwrap()).unwrap();
    assert_eq!(document["kubernetes"]["audit"]["auditID"], "a");
    assert_eq!(document["error"]["message"], "fake: told to");
    assert!(document["event"]["original"].as_str().unwrap().contains("mallory"));
    assert_eq!(k8scop.metrics().await["k8scop_reduced_events_total"], 1.0);
    k8scop.check_balance().await;
    // What is no audit event is the shipper's: it hears of it.
    let fake = Fake::start(|_, _| Reaction::Items(vec![400])).await;
    let k8scop = behind(&fake).await;
    assert_eq!(statuses(&k8scop.bulk("/_bulk", creates(&["a"])).await.1), [400]);
    assert_eq!(statuses(&k8scop.bulk("/_bulk", event("a")).await.1), [400]);
    assert_eq!(fake.asked().len(), 4, "the event is tried in both reduced forms");
    k8scop.check_balance().await;
}

#[tokio::test]
async fn an_event_that_could_not_be_tried_in_a_reduced_form_is_not_refused_for_good() {
    let fake = Fake::start(|number, _| match number {
        0 => Reaction::Items(vec![201, 400, 201]),
        _ => Reaction::Answer(503, vec![], "{}".into()),
    })
    .await;
    let k8scop = behind(&fake).await;
    let (_, answer) = k8scop.bulk("/_bulk", creates(&["x"]) + &event("a")).await;
    assert_eq!(statuses(&answer), [201, 503], "{answer}");
    k8scop.check_balance().await;
}

#[tokio::test]
async fn an_event_is_stored_as_text_when_nothing_else_is_taken() {
    let fake = Fake::start(|number, _| {
        Reaction::Items(if number < 2 { vec![400, 201] } else { vec![201] })
    })
    .await;
    let k8scop = behind(&fake).await;
    assert_eq!(statuses(&k8scop.bulk("/_bulk", event("a")).await.1), [201]);
    let document: Value =
        serde_json::from_str(fake.asked()[2].body.lines().nth(1).unwrap()).unwrap();
    assert!(document.get("kubernetes").is_none());
    assert!(document["event"]["original"].as_str().unwrap().contains("mallory"));
    k8scop.check_balance().await;
}

#[tokio::test]
async fn what_stands_between_us_and_elasticsearch_is_not_believed() {
    for status in [201, 204, 302, 307] {
        let fake = Fake::start(move |_, _| Reaction::Answer(status, vec![], "{}".into())).await;
        let k8scop = behind(&fake).await;
        assert_eq!(k8scop.bulk("/_bulk", creates(&["a"])).await.0, 503, "{status}");
    }
    let endless = format!("{}", u64::MAX);
    let fake = Fake::start(move |_, _| {
        Reaction::Answer(429, vec![("retry-after", endless.clone())], "{}".into())
    })
    .await;
    let k8scop = behind(&fake).await;
    assert_eq!(k8scop.bulk("/_bulk", creates(&["a"])).await.0, 429);
    k8scop.check_balance().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_scrape_balances_while_items_come_and_go() {
    let fake = Fake::start(|_, _| Reaction::Items(vec![201, 409, 400])).await;
    let k8scop = behind(&fake).await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let url = k8scop.url("/_bulk");
        tasks.spawn(async move {
            let client = client();
            for _ in 0..100 {
                client.post(&url).body(creates(&["a", "b", "c"])).send().await.unwrap();
            }
        });
    }
    while tasks.try_join_next().is_some() || !tasks.is_empty() {
        k8scop.check_balance().await;
    }
    let metrics = k8scop.metrics().await;
    assert_eq!(metrics[r#"k8scop_received_items_total{input="bulk"}"#], 2400.0);
}

#[tokio::test]
async fn a_time_to_come_back_is_passed_on() {
    let fake =
        Fake::start(|_, _| Reaction::Answer(429, vec![("retry-after", "17".into())], "{}".into()))
            .await;
    let k8scop = behind(&fake).await;
    let answer = client().post(k8scop.url("/_bulk")).body(creates(&["a"])).send().await.unwrap();
    assert_eq!(answer.status(), 429);
    assert_eq!(answer.headers()["retry-after"], "17");
}

#[tokio::test]
async fn no_answer_at_all_is_503_and_a_time_to_come_back() {
    let fake = Fake::start(|_, _| Reaction::Hang).await;
    let k8scop = behind(&fake).await;
    let request = client().post(k8scop.url("/_bulk")).body(creates(&["a"]));
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after"));
    assert_eq!(answer.headers()["x-elastic-product"], "Elasticsearch");
    let nowhere = K8scop::start(&format!("output: http://127.0.0.1:1\n{QUICK}")).await;
    let (status, answer) = nowhere.bulk("/_bulk", creates(&["a"])).await;
    assert_eq!(status, 503);
    let reason = answer["error"]["reason"].as_str().unwrap();
    assert!(reason.starts_with("Elasticsearch cannot be reached"), "{reason}");
    nowhere.check_balance().await;
}

#[tokio::test]
async fn a_node_that_fails_is_left_for_the_next() {
    let good = Fake::start(|_, _| Reaction::Items(vec![201])).await;
    let k8scop =
        K8scop::start(&format!("output: 'http://127.0.0.1:1,{}'\n{QUICK}", good.url())).await;
    for _ in 0..3 {
        let (status, _) = k8scop.bulk("/_bulk", creates(&["a"])).await;
        assert_eq!(status, 200);
    }
    assert_eq!(good.asked().len(), 3);
}

#[tokio::test]
async fn a_client_that_leaves_does_not_stop_its_delivery() {
    let fake = Fake::start(
        |number, _| if number == 0 { Reaction::Hang } else { Reaction::Items(vec![201]) },
    )
    .await;
    let k8scop = K8scop::start(&format!(
        "output: {}\nelasticsearch: {{request_timeout_s: 2}}\n{QUICK}",
        fake.url()
    ))
    .await;
    let request = client()
        .post(k8scop.url("/_bulk"))
        .body(creates(&["a", "b"]))
        .timeout(Duration::from_millis(500));
    assert!(request.send().await.unwrap_err().is_timeout());
    wait_for("both items to be settled", SOON, async || {
        (k8scop.metrics().await[r#"k8scop_settled_items_total{result="stored"}"#] > 1.5)
            .then_some(())
    })
    .await;
    k8scop.check_balance().await;
}

#[tokio::test]
async fn credentials_are_passed_on_or_replaced_and_never_shown() {
    let canary = "c4n4ry-5ecret";
    let fake = Fake::start(|_, _| Reaction::Items(vec![201])).await;
    let send = async |k8scop: &K8scop| {
        let request = client()
            .post(k8scop.url("/_bulk"))
            .header("authorization", format!("ApiKey client-{canary}"));
        assert_eq!(request.body(creates(&["a"])).send().await.unwrap().status(), 200);
        let get = client()
            .get(k8scop.url("/_cat/x"))
            .header("authorization", format!("ApiKey client-{canary}"));
        get.send().await.unwrap();
    };
    let k8scop = behind(&fake).await;
    send(&k8scop).await;
    let expected = format!("ApiKey client-{canary}");
    assert!(fake.asked().iter().all(|it| it.header("authorization") == Some(&expected)));
    let config = format!("output: {}\nelasticsearch: {{api_key: ours-{canary}}}\n", fake.url());
    let own = K8scop::start(&config).await;
    send(&own).await;
    let expected = format!("ApiKey ours-{canary}");
    assert!(fake.asked()[2..].iter().all(|it| it.header("authorization") == Some(&expected)));
    let refusing =
        K8scop::start(&format!("output: http://user:{canary}@127.0.0.1:1\n{QUICK}")).await;
    let (_, answer) = refusing.bulk("/_bulk", creates(&["a"])).await;
    assert!(!answer.to_string().contains(canary));
    for one in [&k8scop, &own, &refusing] {
        let metrics = client()
            .get(format!("http://{}/metrics", one.admin))
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        assert!(!one.log().contains(canary) && !metrics.contains(canary));
    }
}

#[tokio::test]
async fn what_is_no_bulk_request_passes_through_as_it_came() {
    let fake = Fake::start(|_, _| {
        Reaction::Answer(418, vec![("x-own", "yes".into())], r#"{"a":1}"#.into())
    })
    .await;
    let k8scop = behind(&fake).await;
    let path = "/%3Cfilebeat-7.17.29-%7Bnow%2Fd%7D-000001%3E?wait=a%20b&x";
    let request = client().put(k8scop.url(path)).header("x-client", "1").body("{\"settings\": {}}");
    let answer = request.send().await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), answer.headers()["x-own"].to_str().unwrap()),
        (418, "yes")
    );
    assert_eq!(answer.text().await.unwrap(), r#"{"a":1}"#);
    let asked = fake.asked();
    assert_eq!(asked[0].line, format!("PUT {path} HTTP/1.1"));
    assert_eq!(
        (asked[0].header("x-client"), asked[0].body.as_str()),
        (Some("1"), "{\"settings\": {}}")
    );
    assert_eq!(asked[0].header("host"), Some(fake.address.to_string().as_str()));
    for dots in ["/%2E%2e", "/_cat/%2e%2e/admin"] {
        let request = format!("GET {dots} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let mut stream = tokio::net::TcpStream::connect(k8scop.data).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    }
    let head = client().head(k8scop.url("/logs-x")).send().await.unwrap();
    assert_eq!(
        (head.status().as_u16(), head.headers()["content-length"].to_str().unwrap()),
        (418, "7")
    );
    assert_eq!(fake.asked()[1].line, "HEAD /logs-x HTTP/1.1");
}

#[tokio::test]
async fn parameters_of_the_url_reach_the_items_and_not_the_alerts() {
    let fake = Fake::start(|_, _| Reaction::Items(vec![201])).await;
    let k8scop = behind(&fake).await;
    let path = "/logs-mine/_bulk?pipeline=p1&refresh=wait_for&filter_path=errors,items.*._index&require_alias=true";
    let body = format!("{{\"index\":{{}}}}\n{{\"a\":1}}\n{}", event("a"));
    let (_, answer) = k8scop.bulk(path, body).await;
    assert_eq!(answer["items"][0]["index"]["_index"], "logs-mine");
    let asked = fake.asked();
    assert_eq!(asked[0].line, "POST /_bulk?refresh=wait_for&timeout=20000ms HTTP/1.1");
    let actions = asked[0].actions();
    assert_eq!(
        actions[0],
        r#"{"index":{"_index":"logs-mine","pipeline":"p1","require_alias":true}}"#
    );
    assert!(
        actions[1].contains(r#""pipeline":"p1""#) && !actions[1].contains("require_alias"),
        "{}",
        actions[1]
    );
    assert!(!actions[2].contains("pipeline"), "{}", actions[2]);
}

#[tokio::test]
async fn shippers_can_start_while_elasticsearch_is_down() {
    let root = r#"{"name":"real","version":{"number":"8.19.21","build_flavor":"default"}}"#;
    let up = Arc::new(AtomicBool::new(true));
    let (is_up, was_put) = (Arc::clone(&up), AtomicBool::new(false));
    let fake = Fake::start(move |_, asked| {
        let answer = |status, body: &str| Reaction::Answer(status, vec![], body.into());
        if !is_up.load(Ordering::SeqCst) {
            return Reaction::Close;
        }
        match asked.line.as_str() {
            "GET / HTTP/1.1" => answer(200, root),
            "PUT /_ilm/policy/filebeat HTTP/1.1" => {
                was_put.store(true, Ordering::SeqCst);
                answer(200, "{}")
            }
            "GET /_ilm/policy/filebeat HTTP/1.1" if was_put.load(Ordering::SeqCst) => {
                answer(200, r#"{"filebeat":{}}"#)
            }
            "GET /_cluster/health HTTP/1.1" => answer(200, "{}"),
            _ => answer(404, "{}"),
        }
    })
    .await;
    let k8scop = behind(&fake).await;
    let ask = async |method: &str, path: &str, who: Option<&str>| {
        let mut request = client().request(method.parse().unwrap(), k8scop.url(path));
        if let Some(who) = who {
            request = request.header("authorization", who);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.headers()["x-elastic-product"], "Elasticsearch");
        let is_copy = answer.headers().contains_key("x-k8scop-copy");
        (answer.status().as_u16(), is_copy, answer.text().await.unwrap())
    };
    let policy = "/_ilm/policy/filebeat";
    assert_eq!(ask("GET", "/", None).await, (200, false, root.into()));
    assert_eq!(ask("GET", "/_cluster/health", None).await.0, 200);
    assert_eq!(ask("GET", policy, None).await.0, 404);
    assert_eq!(ask("PUT", policy, None).await.0, 200);
    wait_for("what was missing to be asked for again", SOON, async || {
        let asked = fake.asked();
        (asked.iter().filter(|it| it.line.starts_with("GET /_ilm")).count() == 2).then_some(())
    })
    .await;
    up.store(false, Ordering::SeqCst);
    assert_eq!(ask("GET", "/", None).await, (200, true, root.into()));
    wait_for("the new answer to be kept", SOON, async || {
        (ask("GET", policy, None).await == (200, true, r#"{"filebeat":{}}"#.into())).then_some(())
    })
    .await;
    assert_eq!(ask("GET", "/", Some("ApiKey other")).await.0, 503, "it is another client's");
    assert_eq!(ask("GET", "/_cluster/health", None).await.0, 503, "health is never old");
    assert_eq!(ask("GET", "/_license", None).await.0, 503, "nobody had asked");
    assert_eq!(k8scop.bulk("/_bulk", creates(&["a"])).await.0, 503);
    k8scop.check_balance().await;
}

#[tokio::test]
async fn clients_that_sniff_stay_here() {
    let nodes = r#"{"cluster_name":"c","nodes":{"n":{"roles":["data"],"http":{"publish_address":"10.1.2.3:9200"}}}}"#;
    let fake = Fake::start(move |_, _| Reaction::Answer(200, vec![], nodes.into())).await;
    let k8scop = behind(&fake).await;
    for path in ["/_nodes/http", "/_nodes/_all/http"] {
        let answer = client().get(k8scop.url(path)).send().await.unwrap();
        let answer: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        assert_eq!(answer["nodes"]["n"]["http"]["publish_address"], k8scop.data.to_string());
        assert!(!answer.to_string().contains("10.1.2.3"));
    }
}

#[tokio::test]
async fn documents_of_audit_events_are_classified_on_every_road() {
    let fake = Fake::start(|_, asked| {
        if asked.line.contains("/_bulk") {
            Reaction::Items(vec![201])
        } else {
            Reaction::Answer(201, vec![], r#"{"result":"created"}"#.into())
        }
    })
    .await;
    let k8scop = behind(&fake).await;
    let audit = event("a").lines().nth(1).unwrap().to_owned();
    let put = async |path: &str, body: String| {
        let answer = client().put(k8scop.url(path)).body(body).send().await.unwrap();
        let location = answer.headers().get("location").map(|it| it.to_str().unwrap().to_owned());
        let status = answer.status().as_u16();
        (status, location, serde_json::from_str::<Value>(&answer.text().await.unwrap()).unwrap())
    };
    let (status, location, answer) = put("/logs-x/_create/7?refresh=true", audit.clone()).await;
    assert_eq!((status, location.as_deref()), (201, Some("/logs%2Dx/_doc/7")));
    assert_eq!((&answer["_index"], &answer["_id"]), (&json!("logs-x"), &json!("7")));
    assert!(answer.get("status").is_none(), "{answer}");
    let asked = fake.asked();
    assert_eq!(asked[0].line, "POST /_bulk?refresh=true&timeout=20000ms HTTP/1.1");
    assert_eq!(asked[0].actions().len(), 2, "the event and its alert");
    // Spread over lines, as people write JSON.
    let pretty =
        serde_json::to_string_pretty(&serde_json::from_str::<Value>(&audit).unwrap()).unwrap();
    assert_eq!(put("/logs-x/_doc/8", pretty).await.0, 201);
    assert_eq!(fake.asked()[1].actions().len(), 2);
    // What is no audit event goes as it came.
    let (status, _, answer) = put("/logs-x/_doc/9?refresh=true", "{\"a\": 1}".into()).await;
    assert_eq!((status, &answer["result"]), (201, &json!("created")));
    let last = fake.asked().pop().unwrap();
    assert_eq!(last.line, "PUT /logs-x/_doc/9?refresh=true HTTP/1.1");
    assert_eq!(last.body, "{\"a\": 1}");
    k8scop.check_balance().await;
}

/// What bulk requests do not store is not stored as a single document either, and several events in one are taken apart.
#[tokio::test]
async fn documents_are_dropped_and_split_as_in_bulk_requests() {
    let fake = Fake::start(|_, asked| Reaction::Items(vec![201; asked.actions().len()])).await;
    let line = event("a").lines().nth(1).unwrap().to_owned();
    let two = {
        let event: Value = serde_json::from_str(&line).unwrap();
        let event: Value = serde_json::from_str(event["message"].as_str().unwrap()).unwrap();
        let mut other = event.clone();
        other["auditID"] = json!("b");
        json!({"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "items": [event, other]})
    };
    for (drop, document, sent) in
        [("[{objectRef.resource: secrets}]", line, 0), ("[]", two.to_string(), 4)]
    {
        let config = format!("output: {}\naudit: {{drop: {drop}}}\n{QUICK}", fake.url());
        let k8scop = K8scop::start(&config).await;
        let before = fake.asked().len();
        let post = client().post(k8scop.url("/filebeat/_doc")).body(document);
        assert!(post.send().await.unwrap().status().is_success());
        let asked = fake.asked().split_off(before);
        assert!(asked.iter().all(|it| it.line.starts_with("POST /_bulk")), "{drop}");
        let actions: usize = asked.iter().map(|it| it.actions().len()).sum();
        assert_eq!(actions, sent, "events and their alerts: {drop}");
        k8scop.check_balance().await;
    }
}

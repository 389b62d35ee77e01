use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    elasticsearch::{Elasticsearch, all},
    parts::{ELASTICSEARCH, fresh, part},
    stored::same,
    stream::{Event, alerts, kept_story, story},
};
use crate::harness::K8scop;

/// How an item names its document.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Named {
    /// `create` without `_id`, as Filebeat does.
    CreateByUs,
    /// `index` without `_id`.
    IndexByUs,
    /// `create` with the client's `_id`.
    Create,
    /// `index` with the client's `_id`.
    Index,
}

const NAMES: [Named; 4] = [Named::CreateByUs, Named::Create, Named::IndexByUs, Named::Index];

impl Named {
    fn of(number: usize) -> Self {
        NAMES[number % NAMES.len()]
    }

    fn op(self) -> &'static str {
        if matches!(self, Self::CreateByUs | Self::Create) { "create" } else { "index" }
    }

    fn by_client(self) -> bool {
        matches!(self, Self::Create | Self::Index)
    }
}

/// One item: the action, and what becomes of it the first and the second time.
fn action(index: &str, number: usize) -> Value {
    let named = Named::of(number);
    let mut action = json!({ "_index": index });
    if named.by_client() {
        action["_id"] = json!(format!("mine-{number}"));
    }
    json!({ named.op(): action })
}

fn day(event: &Event) -> String {
    event.time.parse::<Timestamp>().unwrap().strftime("%Y.%m.%d").to_string()
}

/// The items of an answer: op, what it says.
fn items(answer: &Value) -> Vec<(String, &Value)> {
    let items = answer["items"].as_array().unwrap_or_else(|| panic!("{answer}"));
    items
        .iter()
        .map(|it| {
            it.as_object().unwrap().iter().next().map(|(op, said)| (op.clone(), said)).unwrap()
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_keep_and_daily_alerts() {
    let test = "routes_keep_and_daily_alerts";
    let Some(url) = part(test, ELASTICSEARCH) else { return };
    let elasticsearch = Elasticsearch::new(&url);
    elasticsearch.put_templates().await;
    // `alerts-*` is what the template of daily alerts is for.
    let (index, prefix) = (fresh("kept-"), fresh("alerts-"));
    let mapping =
        json!({ "mappings": { "dynamic": false }, "settings": { "number_of_replicas": 0 } });
    elasticsearch.did(Method::PUT, &format!("/{index}"), &mapping).await;
    let k8scop = K8scop::start(&format!(
        "output: {url}\naudit: {{ route: keep }}\nalerts: {{ target: daily, prefix: {prefix} }}\n"
    ))
    .await;

    // The story again, on the last three days; all stages of a request on the same day.
    let (now, story) = (Timestamp::now(), story(&kept_story()));
    let told = |it: &Event| {
        let first = story.iter().position(|first| first.audit_id == it.audit_id).unwrap();
        let at = now - SignedDuration::from_hours(24) * i32::try_from(first / 12).unwrap();
        it.retold(&it.audit_id, at, at)
    };
    let events: Vec<Event> = story.iter().map(told).collect();
    let mut body = String::new();
    for (number, event) in events.iter().enumerate() {
        let document = json!({ "@timestamp": "2026-11-22T06:15:31.000Z", "message": event.text, "agent": { "type": "filebeat" } });
        body += &format!("{}\n{document}\n", action(&index, number));
    }
    let (status, answer) = k8scop.bulk("/_bulk", body.clone()).await;
    assert_eq!((status, &answer["errors"]), (200, &json!(false)), "{answer}");
    let first = items(&answer);
    assert_eq!(first.len(), events.len());
    for (number, (op, said)) in first.iter().enumerate() {
        assert_eq!(
            (op.as_str(), &said["status"], &said["_index"]),
            (Named::of(number).op(), &json!(201), &json!(index)),
            "{said}"
        );
    }
    let ids: Vec<&str> = first.iter().map(|(_, said)| said["_id"].as_str().unwrap()).collect();

    // Where the shipper wanted them, under its names and ours.
    check_kept(&elasticsearch, &index, &events, &ids).await;
    let raised = check_alerts(&elasticsearch, &prefix, &index, &events, &ids).await;

    // The shipper did not hear the answer and sends it all again.
    let (status, again) = k8scop.bulk("/_bulk", body).await;
    assert_eq!(status, 200, "{again}");
    for (number, (op, said)) in items(&again).into_iter().enumerate() {
        assert_eq!(
            (op.as_str(), &said["_id"], &said["_index"]),
            (Named::of(number).op(), &json!(ids[number]), &json!(index)),
            "{said}"
        );
        match Named::of(number) {
            Named::CreateByUs => {
                assert_eq!((&said["status"], &said["error"]), (&json!(200), &Value::Null), "{said}")
            }
            // The client's own words mean what they mean to Elasticsearch.
            Named::Create => assert_eq!(
                (&said["status"], &said["error"]["type"]),
                (&json!(409), &json!("version_conflict_engine_exception")),
                "{said}"
            ),
            Named::IndexByUs | Named::Index => {
                assert!(said["status"] == 200 && said["error"].is_null(), "{said}");
            }
        }
    }
    check_kept(&elasticsearch, &index, &events, &ids).await;
    assert_eq!(
        check_alerts(&elasticsearch, &prefix, &index, &events, &ids).await,
        raised,
        "the same alerts as before"
    );
    k8scop.check_balance().await;
}

async fn check_kept(elasticsearch: &Elasticsearch, index: &str, events: &[Event], ids: &[&str]) {
    elasticsearch.refresh(index).await;
    let stored = elasticsearch.hits(index, &all()).await;
    let by_id: BTreeMap<&str, &Value> =
        stored.iter().map(|it| (it["_id"].as_str().unwrap(), &it["_source"])).collect();
    same("documents", ids.iter().copied(), stored.iter().map(|it| it["_id"].as_str().unwrap()));
    for (number, (event, id)) in events.iter().zip(ids).enumerate() {
        let document = by_id[id];
        assert_eq!(document["kubernetes"]["audit"]["auditID"], event.audit_id, "{document}");
        assert_eq!(document["kubernetes"]["audit"]["stage"], event.stage, "{document}");
        assert_eq!(document["@timestamp"], event.time, "{document}");
        assert!(document["data_stream"].is_null(), "it goes to none: {document}");
        match Named::of(number).by_client() {
            true => assert_eq!(*id, format!("mine-{number}")),
            false => assert!(id.len() == 32 && id.chars().all(|it| it.is_ascii_hexdigit()), "{id}"),
        }
    }
}

/// Checks each day's alerts and gives back their ids.
async fn check_alerts(
    elasticsearch: &Elasticsearch,
    prefix: &str,
    index: &str,
    events: &[Event],
    ids: &[&str],
) -> Vec<String> {
    let pattern = format!("{prefix}-*");
    elasticsearch.refresh(&pattern).await;
    let stored = elasticsearch.hits(&pattern, &all()).await;
    let mut expected = Vec::new();
    for (audit_id, title) in alerts(events) {
        let event = events.iter().find(|it| it.audit_id == audit_id).unwrap();
        expected.push((format!("{prefix}-{}", day(event)), audit_id, title));
    }
    let days: Vec<&String> = expected.iter().map(|(day, ..)| day).collect();
    assert!(days.iter().any(|it| *it != days[0]), "more than one day");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let found = stored.iter().map(|it| {
        let alert = &it["_source"];
        (
            text(&it["_index"]),
            text(&alert["kubernetes"]["audit"]["auditID"]),
            text(&alert["message"]),
        )
    });
    same("alerts", expected, found);
    for hit in &stored {
        let alert = &hit["_source"];
        assert!(alert["data_stream"].is_null(), "it goes to none: {hit}");
        assert_eq!(alert["k8scop"]["event"]["index"], index, "{hit}");
        let place = ids.iter().position(|it| alert["k8scop"]["event"]["id"] == **it);
        let event = &events[place.unwrap_or_else(|| panic!("no event of {hit}"))];
        assert_eq!(alert["kubernetes"]["audit"]["auditID"], event.audit_id, "{hit}");
    }
    let mut ids: Vec<String> = stored.iter().map(|it| text(&it["_id"])).collect();
    ids.sort_unstable();
    ids
}

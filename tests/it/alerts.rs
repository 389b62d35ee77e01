//! How loud alerts are: how bad, where they go, and how many of those that say the same.

use std::{fs, time::Duration};

use serde_json::{Value, json};

use crate::{
    fake::{Asked, Fake, Reaction, items},
    harness::{CANARY, Folder, K8scop, SOON, client, wait_for},
};

const EXEC: &str = "Command run in a container";

/// The only rule.
const RULE: &str = "title: Command run in a container\nid: 7f3c1a52-9d10-4b6e-8a20-000000000014\nlevel: medium\ntags: [attack.t1609]\n\
    logsource: {product: kubernetes, service: audit}\ndetection: {selection: {objectRef.subresource: exec}, condition: selection}\n";

/// Starts it with the rule, which is in the folder.
async fn started(config: &str) -> (K8scop, Folder) {
    let rules = Folder::new("alerts");
    fs::write(rules.0.join("exec.yml"), RULE).unwrap();
    let path = rules.0.display();
    let config = format!("{config}rules: {{built_in: false, paths: ['{path}']}}\n");
    (K8scop::start(&config).await, rules)
}

/// One audit event: a command in a container, by this user in this namespace.
fn exec(id: &str, user: &str, namespace: &str, second: usize) -> Value {
    json!({"kind": "Event", "apiVersion": "audit.k8s.io/v1", "auditID": id, "stage": "ResponseComplete", "verb": "create",
        "requestURI": format!("/api/v1/namespaces/{namespace}/pods/p/exec?command=id"), "user": {"username": user},
        "objectRef": {"resource": "pods", "namespace": namespace, "name": "p", "subresource": "exec"},
        "responseStatus": {"code": 101}, "requestReceivedTimestamp": "2026-03-01T10:00:00.000001Z",
        "stageTimestamp": format!("2026-03-01T10:{:02}:{:02}.000001Z", second / 60, second % 60)})
}

fn body(events: impl IntoIterator<Item = Value>) -> String {
    let line = |it: Value| {
        format!(
            "{{\"create\":{{\"_index\":\"logs-a\"}}}}\n{}\n",
            json!({"message": it.to_string()})
        )
    };
    events.into_iter().map(line).collect()
}

/// What stands in one of the files.
fn documents(k8scop: &K8scop, index: &str) -> Vec<Value> {
    let file = k8scop.folder().join(format!("data/{index}.ndjson"));
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().skip(1).step_by(2).map(|it| serde_json::from_str(it).unwrap()).collect()
}

const ALERTS: &str = "logs-k8scop.alerts-default";
const EVENTS: &str = "logs-kubernetes.audit_logs-default";

async fn sum(k8scop: &K8scop, name: &str) -> f64 {
    let metrics = k8scop.metrics().await;
    metrics.iter().filter(|(it, _)| it.starts_with(name)).map(|(_, value)| value).sum()
}

fn suppressed(reason: &str) -> String {
    format!(
        "k8scop_alerts_suppressed_total{{reason=\"{reason}\",rule=\"{EXEC}\",severity=\"medium\"}}"
    )
}

/// The words of alerts, and how many each tells of.
fn told(alerts: &[Value]) -> Vec<(&str, Option<u64>)> {
    let one = |it: &'_ Value| it["k8scop"]["held"]["count"].as_u64();
    alerts.iter().map(|it| (it["message"].as_str().unwrap(), one(it))).collect()
}

#[tokio::test]
async fn of_alerts_that_say_the_same_one_is_told_and_then_how_many_there_were() {
    let config = "output: file:./data\nalerts:\n  suppress:\n  - {rules: [attack.t1609], by: [user.username, objectRef.namespace], for: 2s}\n";
    let (k8scop, _rules) = started(config).await;
    let all = (0..300).map(|it| exec(&format!("a{it}"), "alice", "shop", 0));
    let others = [exec("b", "bob", "shop", 0), exec("c", "alice", "prod", 1)];
    let sent = body(all.chain(others));
    let (status, answer) = k8scop.bulk("/_bulk", sent.clone()).await;
    assert_eq!((status, &answer["errors"]), (200, &json!(false)), "{answer}");
    let alerts = documents(&k8scop, ALERTS);
    assert_eq!(told(&alerts), [(EXEC, None); 3]);
    assert_eq!(k8scop.metrics().await[&suppressed("suppress")], 299.0);
    // Sent again, nothing changes: the first is known, the others are not counted again.
    let (_, answer) = k8scop.bulk("/_bulk", sent).await;
    assert_eq!(answer["errors"], false);
    assert_eq!(k8scop.metrics().await[&suppressed("suppress")], 299.0);
    let alerts = wait_for("the summary", SOON, async || {
        let alerts = documents(&k8scop, ALERTS);
        (alerts.len() > 3).then_some(alerts)
    })
    .await;
    let summary = &alerts[3];
    assert_eq!(told(&alerts[3..]), [("299 more of Command run in a container", Some(299))]);
    assert_eq!(
        summary["k8scop"]["held"]["by"],
        json!(["user.username: alice", "objectRef.namespace: shop"])
    );
    assert_eq!(summary["rule"], alerts[0]["rule"]);
    assert_eq!(summary["event"]["severity"], 47);
    assert_eq!(summary["data_stream"], alerts[0]["data_stream"]);
    // Every event is there, with the rule's name.
    let events = documents(&k8scop, EVENTS);
    assert_eq!(events.len(), 302);
    assert!(events.iter().all(|it| it["k8scop"]["rules"] == json!([EXEC])));
    wait_for("the count", SOON, async || {
        let stored = "k8scop_alert_summaries_total{result=\"stored\"}";
        (k8scop.metrics().await[stored] == 1.0).then_some(())
    })
    .await;
    k8scop.check_balance().await;
}

#[tokio::test]
async fn levels_scores_and_routes_follow_the_configuration() {
    let config = "output: file:./data\nalerts:\n  min_level: medium\n  overrides:\n  \
        - {rules: ['Command *'], namespaces: [prod-*], level: critical, risk_score: 88}\n  \
        - {rules: [7f3c1a52-9d10-4b6e-8a20-000000000014], namespaces: [dev], level: low}\n  \
        - {rules: [attack.t1609], clusters: [quiet], level: informational}\n  \
        routes:\n  - {min_level: high, index: logs-k8scop.alerts-pager}\n";
    let (k8scop, _rules) = started(config).await;
    let events =
        [exec("1", "a", "prod-eu", 0), exec("2", "a", "dev", 1), exec("3", "a", "other", 2)];
    assert_eq!(k8scop.bulk("/_bulk", body(events)).await.1["errors"], false);
    let url = k8scop.url("/audit/quiet");
    let list = json!({"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "items": [exec("4", "a", "other", 3)]});
    let answer = client()
        .post(url)
        .header("content-type", "application/json")
        .body(list.to_string())
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    let seen = |alerts: &[Value]| -> Vec<_> {
        alerts
            .iter()
            .map(|it| {
                let id = it["kubernetes"]["audit"]["auditID"].as_str().unwrap().to_owned();
                (id, it["event"]["severity"].as_u64(), it["event"]["risk_score"].as_u64())
            })
            .collect()
    };
    let pager = documents(&k8scop, "logs-k8scop.alerts-pager");
    assert_eq!(seen(&pager), [("1".into(), Some(99), Some(88))]);
    assert_eq!(pager[0]["data_stream"]["namespace"], "pager");
    assert_eq!(seen(&documents(&k8scop, ALERTS)), [("3".into(), Some(47), Some(47))]);
    assert_eq!(documents(&k8scop, EVENTS).len(), 4, "all events are there");
    let metrics = k8scop.metrics().await;
    let count = |name: &str, labels: &str| metrics[&format!("{name}{{{labels}}}")];
    let of = |level: &str| format!("rule=\"{EXEC}\",severity=\"{level}\"");
    assert_eq!(count("k8scop_alerts_total", &of("critical")), 1.0);
    assert_eq!(count("k8scop_alerts_total", &of("medium")), 1.0);
    for level in ["low", "informational"] {
        let labels = format!("reason=\"min_level\",{}", of(level));
        assert_eq!(count("k8scop_alerts_suppressed_total", &labels), 1.0);
    }
    assert_eq!(count("k8scop_rule_matches_total", &of("medium")), 4.0);
}

#[tokio::test]
async fn a_storm_is_capped_and_its_summary_is_told_when_it_stops() {
    let (mut k8scop, _rules) = started("output: file:./data\n").await;
    let storm = (0..500).map(|it| exec(&it.to_string(), "alice", "shop", it % 30));
    let sent = body(storm.chain([exec("m", "mallory", "shop", 20)]));
    assert_eq!(k8scop.bulk("/_bulk", sent).await.1["errors"], false);
    let alerts = documents(&k8scop, ALERTS);
    assert_eq!(alerts.len(), 101);
    assert!(alerts.iter().any(|it| it["user"]["name"] == "mallory"), "a storm hides nobody");
    assert_eq!(k8scop.metrics().await[&suppressed("rate_per_rule")], 400.0);
    k8scop.term();
    assert!(k8scop.ended().await.success());
    let alerts = documents(&k8scop, ALERTS);
    assert_eq!(told(&alerts[101..]), [("400 more of Command run in a container", Some(400))]);
    assert_eq!(alerts[101]["related"]["user"], json!(["alice"]));
}

fn is_summary(asked: &Asked) -> bool {
    asked.body.contains("\"held\"")
}

/// Statuses for events and alerts of a bulk request.
fn by_kind(asked: &Asked, event: u16, alert: u16) -> Reaction {
    let actions = asked.body.lines().step_by(2);
    let statuses = actions.map(|it| if it.contains("k8scop.alerts") { alert } else { event });
    let statuses: Vec<u16> = statuses.collect();
    Reaction::Answer(200, Vec::new(), items(asked, &statuses))
}

/// The first alert is not stored: it and those that are held for it are sent again by the shipper, and then told.
#[tokio::test]
async fn a_first_alert_that_is_not_stored_is_not_lost() {
    let fake = Fake::start(|number, asked| match number {
        0 => by_kind(asked, 201, 429),
        1 => by_kind(asked, 409, 201),
        _ => by_kind(asked, 201, 201),
    })
    .await;
    let config = format!(
        "output: {}\nlimits: {{request_deadline_s: 1}}\nretry: {{first_ms: 60000, longest_ms: 60000}}\nalerts:\n  suppress:\n  - {{rules: ['*'], by: [user.username], for: 1h}}\n",
        fake.url()
    );
    let (mut k8scop, _rules) = started(&config).await;
    let sent = body((0..3).map(|it| exec(&it.to_string(), "alice", "shop", it)));
    let (status, answer) = k8scop.bulk("/_bulk", sent.clone()).await;
    assert_eq!(status, 429, "all of it is to come again: {answer}");
    assert_eq!(sum(&k8scop, "k8scop_alerts_suppressed_total").await, 0.0);
    let (status, answer) = k8scop.bulk("/_bulk", sent).await;
    assert_eq!((status, &answer["errors"]), (200, &json!(false)));
    assert_eq!(k8scop.metrics().await[&suppressed("suppress")], 2.0);
    let asked = fake.asked();
    let alerts = |it: &Asked| it.actions().iter().filter(|it| it.contains("k8scop.alerts")).count();
    assert_eq!((asked.len(), alerts(&asked[0]), alerts(&asked[1])), (2, 1, 1));
    k8scop.term();
    assert!(k8scop.ended().await.success());
    let last = fake.asked().pop().unwrap();
    assert!(is_summary(&last) && last.body.contains("2 more of"), "{}", last.body);
}

/// Summaries go with the credentials of who sent the events, and are tried until they are stored.
#[tokio::test]
async fn a_summary_is_tried_until_it_is_stored() {
    let fake = Fake::start(|number, asked| match (is_summary(asked), number) {
        (false, _) => by_kind(asked, 201, 201),
        (true, 1) => Reaction::Answer(503, Vec::new(), "{}".into()),
        (true, 2) => Reaction::Close,
        (true, 3) => by_kind(asked, 201, 429),
        (true, _) => by_kind(asked, 201, 201),
    })
    .await;
    let config = format!(
        "output: {}\nretry: {{first_ms: 5, longest_ms: 50}}\nalerts:\n  suppress:\n  - {{rules: ['*'], for: 1s}}\n",
        fake.url()
    );
    let (mut k8scop, _rules) = started(&config).await;
    let sent = body((0..3).map(|it| exec(&it.to_string(), "alice", "shop", 0)));
    assert_eq!(k8scop.bulk("/_bulk", sent).await.1["errors"], false);
    wait_for("the summary to be stored", SOON, async || {
        let stored = "k8scop_alert_summaries_total{result=\"stored\"}";
        (k8scop.metrics().await[stored] == 1.0).then_some(())
    })
    .await;
    let summaries: Vec<_> = fake.asked().into_iter().filter(is_summary).collect();
    assert_eq!(summaries.len(), 4);
    let actions: Vec<_> = summaries.iter().map(Asked::actions).collect();
    assert!(actions.windows(2).all(|it| it[0] == it[1]), "one _id: {actions:?}");
    let key = format!("ApiKey {CANARY}-of-a-client");
    assert!(summaries.iter().all(|it| it.header("authorization") == Some(&key)));
    k8scop.term();
    assert!(k8scop.ended().await.success());
    assert_eq!(fake.asked().len(), 5, "nothing is told twice");
}

/// Nothing is stored any more: the stop does not wait for ever, and says what is not told.
#[tokio::test]
async fn a_stop_tells_what_could_not_be_told() {
    let fake = Fake::start(|_, asked| match is_summary(asked) {
        false => by_kind(asked, 201, 201),
        true => Reaction::Answer(503, Vec::new(), "{}".into()),
    })
    .await;
    let config = format!(
        "output: {}\nlimits: {{shutdown_grace_s: 1}}\nalerts:\n  suppress:\n  - {{rules: ['*'], for: 1h}}\n",
        fake.url()
    );
    let (mut k8scop, _rules) = started(&config).await;
    let sent = body((0..4).map(|it| exec(&it.to_string(), "alice", "shop", 0)));
    assert_eq!(k8scop.bulk("/_bulk", sent).await.1["errors"], false);
    k8scop.term();
    let ended = tokio::time::timeout(Duration::from_secs(30), k8scop.ended()).await.unwrap();
    assert!(ended.success(), "what was in flight was answered");
    let log = k8scop.log();
    let lines = log.lines().map(|it| serde_json::from_str::<Value>(it).unwrap());
    let lost: Vec<_> = lines.filter(|it| it["level"] == "ERROR").collect();
    assert!(lost.len() == 1 && lost[0]["alerts"] == 3, "{lost:?}");
}

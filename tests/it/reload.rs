//! Rules change while it runs: at once, or not at all.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    fake::{Fake, Reaction},
    harness::{Folder, K8scop, SOON, client, wait_for},
};

/// A rule that every event with the verb `list` hits.
fn rule(id: &str, title: &str) -> String {
    format!(
        "title: {title}\nid: {id}\nlevel: high\nlogsource: {{product: kubernetes, service: audit}}\n\
         detection: {{selection: {{verb: list}}, condition: selection}}\n"
    )
}

/// A folder of rules.
struct Rules(Folder);

impl Rules {
    fn new() -> Self {
        Self(Folder::new("rules"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.0.join(name)
    }

    /// Replaces a file as editors do: no one sees half of it.
    fn put(&self, name: &str, text: &str) {
        let (path, new) = (self.path(name), self.path(".new"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&new, text).unwrap();
        fs::rename(new, path).unwrap();
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).unwrap();
    }

    fn config(&self, output: &str, reload_s: u64) -> String {
        format!(
            "output: {output}\nreload_s: {reload_s}\nrules: {{built_in: false, paths: ['{}']}}\n",
            self.0.0.display()
        )
    }
}

impl K8scop {
    async fn asked(&self, method: &str, path: &str) -> (u16, String) {
        let url = format!("http://{}{path}", self.admin);
        let answer = client().request(method.parse().unwrap(), url).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    async fn reload(&self) -> (u16, String) {
        self.asked("POST", "/-/reload").await
    }

    async fn metric(&self, name: &str) -> Option<f64> {
        self.metrics().await.get(name).copied()
    }

    async fn knows(&self, title: &str) -> bool {
        let name = format!("k8scop_rule_matches_total{{rule=\"{title}\",severity=\"high\"}}");
        self.metric(&name).await.is_some()
    }
}

const NEVER: u64 = 86_400;

/// One bulk request of this many events; its number is in the ids.
fn request(number: usize, events: usize) -> String {
    let event = |place: usize| {
        let event = json!({"kind": "Event", "apiVersion": "audit.k8s.io/v1", "auditID": format!("{number}-{place}"),
            "stage": "ResponseComplete", "verb": "list", "requestURI": "/api/v1/pods", "user": {"username": "alice"},
            "objectRef": {"resource": "pods"}, "responseStatus": {"code": 200},
            "requestReceivedTimestamp": "2026-03-01T10:00:00.000001Z"});
        format!(
            "{{\"create\":{{\"_index\":\"logs-a\"}}}}\n{}\n",
            json!({"message": event.to_string()})
        )
    };
    (0..events).map(event).collect()
}

/// What was stored of one request.
#[derive(Default)]
struct Stored {
    events: BTreeSet<String>,
    alerts: usize,
    /// The first letters of the titles on its events and alerts.
    sets: BTreeSet<char>,
}

#[tokio::test]
async fn under_load_each_request_is_judged_by_one_set_of_rules_and_none_is_lost() {
    const EVENTS: usize = 40;
    const SWAPS: usize = 100;
    let rules = Rules::new();
    let sets = ["A", "B"].map(|set| [format!("{set} one"), format!("{set} two")]);
    for (place, title) in sets[0].iter().enumerate() {
        rules.put(&format!("{place}.yml"), &rule(&place.to_string(), title));
    }
    let stored: Arc<Mutex<BTreeMap<String, Stored>>> = Arc::default();
    let seen = Arc::clone(&stored);
    let fake = Fake::start_forgetful(move |asked| {
        let mut seen = seen.lock().unwrap();
        for line in asked.body.lines().skip(1).step_by(2) {
            let document: Value = serde_json::from_str(line).unwrap();
            let id = document["kubernetes"]["audit"]["auditID"].as_str().unwrap();
            let (request, _) = id.split_once('-').unwrap();
            let stored = seen.entry(request.to_owned()).or_default();
            let titles: Vec<&str> = if document["event"]["kind"] == "alert" {
                stored.alerts += 1;
                vec![document["message"].as_str().unwrap()]
            } else {
                stored.events.insert(id.to_owned());
                let titles = document["k8scop"]["rules"].as_array().unwrap();
                titles.iter().map(|it| it.as_str().unwrap()).collect()
            };
            stored.sets.extend(titles.iter().map(|it| it.chars().next().unwrap()));
        }
        Reaction::Items(vec![201])
    })
    .await;
    let k8scop = K8scop::start(&rules.config(&fake.url(), NEVER)).await;
    let done = Arc::new(AtomicBool::new(false));
    let mut senders = JoinSet::new();
    for sender in 0..8 {
        let (url, done) = (k8scop.url("/_bulk"), Arc::clone(&done));
        senders.spawn(async move {
            let (client, mut sent) = (client(), 0);
            while !done.load(Ordering::Relaxed) {
                let body = request(sender + 8 * sent, EVENTS);
                let answer = client.post(&url).body(body).send().await.unwrap();
                assert_eq!(answer.status(), 200);
                let answer: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
                assert_eq!(
                    (&answer["errors"], answer["items"].as_array().unwrap().len()),
                    (&json!(false), EVENTS)
                );
                sent += 1;
            }
            sent
        });
    }
    for swap in 1..=SWAPS {
        for (place, title) in sets[swap % 2].iter().enumerate() {
            rules.put(&format!("{place}.yml"), &rule(&place.to_string(), title));
        }
        assert_eq!(k8scop.reload().await.0, 200);
    }
    done.store(true, Ordering::Relaxed);
    let sent: usize = senders.join_all().await.into_iter().sum();
    let stored = std::mem::take(&mut *stored.lock().unwrap());
    assert_eq!(stored.len(), sent, "of every request something is stored");
    let mut all_sets: BTreeSet<char> = BTreeSet::new();
    for (request, it) in stored.iter() {
        assert_eq!((it.events.len(), it.alerts), (EVENTS, 2 * EVENTS), "request {request}");
        assert_eq!(it.sets.len(), 1, "request {request} is judged by one set");
        all_sets.extend(&it.sets);
    }
    assert_eq!(all_sets.len(), 2, "both sets were used");
    k8scop.check_balance().await;
    // The watch of the files may have been faster once.
    let reloads = k8scop.metric("k8scop_rules_reloads_total{result=\"success\"}").await;
    assert!(reloads >= Some(SWAPS as f64), "{reloads:?}");
    let metrics = k8scop.metrics().await;
    let counted: f64 = sets
        .iter()
        .flatten()
        .map(|it| metrics[&format!("k8scop_alerts_total{{rule=\"{it}\",severity=\"high\"}}")])
        .sum();
    assert_eq!(counted, (2 * EVENTS * sent) as f64, "each alert is counted by its own rule");
}

#[tokio::test]
async fn sighup_a_change_and_a_post_each_put_new_rules_to_use() {
    let rules = Rules::new();
    rules.put("a.yml", &rule("1", "first"));
    let k8scop = K8scop::start(&rules.config("file:./data", NEVER)).await;
    rules.put("a.yml", &rule("1", "second"));
    let status = Command::new("kill").args(["-HUP", &k8scop.pid().to_string()]).status().unwrap();
    assert!(status.success());
    wait_for("SIGHUP to be heard", SOON, async || k8scop.knows("second").await.then_some(())).await;

    rules.put("team/deep/b.yml", &rule("2", "third"));
    assert!(!k8scop.knows("third").await, "nothing was said");
    let (status, said) = k8scop.reload().await;
    assert_eq!(
        (status, said.as_str()),
        (200, "2 rules are in use: 1 of them are new, 0 are gone\n")
    );
    assert!(k8scop.knows("third").await && k8scop.knows("second").await);
    assert_eq!(k8scop.metric("k8scop_rules_loaded").await, Some(2.0));
    let (status, said) = k8scop.reload().await;
    assert_eq!((status, said.as_str()), (200, "2 rules are in use, as before\n"));
    let many = "title: Many\nid: many\nlevel: high\ncorrelation: {type: event_count, rules: ['1'], timespan: 1m, condition: {gte: 9}}\n";
    rules.put("many.yml", many);
    assert_eq!(
        k8scop.reload().await,
        (200, "2 rules and 1 correlations are in use: 1 of them are new, 0 are gone\n".to_owned())
    );
    rules.remove("many.yml");
    assert_eq!(
        k8scop.reload().await,
        (200, "2 rules are in use: 0 of them are new, 1 are gone\n".to_owned())
    );
    assert_eq!(k8scop.asked("GET", "/-/reload").await.0, 405);
    assert_eq!(k8scop.asked("POST", "/metrics").await.0, 405);

    let watching = K8scop::start(&rules.config("file:./data", 1)).await;
    assert_eq!(watching.metric("k8scop_rules_loaded").await, Some(2.0));
    let loaded = async |count: f64| {
        wait_for("a change to be seen", SOON, async || {
            (watching.metric("k8scop_rules_loaded").await == Some(count)).then_some(())
        })
        .await;
    };
    rules.put("team/other/c.yml", &rule("3", "fourth"));
    loaded(3.0).await;
    assert!(watching.knows("fourth").await);
    rules.remove("team/deep/b.yml");
    loaded(2.0).await;
    rules.put("a.yml", &rule("1", "fifth"));
    wait_for("a change to be seen", SOON, async || watching.knows("fifth").await.then_some(()))
        .await;
    assert_eq!(watching.metric("k8scop_rules_reloads_total{result=\"success\"}").await, Some(3.0));
    assert_eq!(watching.metric("k8scop_rules_reloads_total{result=\"failure\"}").await, Some(0.0));
}

#[tokio::test]
async fn rules_that_cannot_be_used_leave_the_old_ones_and_are_told_everywhere() {
    let rules = Rules::new();
    rules.put("a.yml", &rule("1", "old"));
    let k8scop = K8scop::start(&rules.config("file:./data", 1)).await;
    assert_eq!(k8scop.asked("GET", "/readyz").await, (200, "ok\n".into()));
    let started = k8scop.metric("k8scop_rules_last_reload_timestamp_seconds").await.unwrap();
    assert!(started > 1.7e9);
    assert_eq!(k8scop.metric("k8scop_rules_last_reload_success").await, Some(1.0));

    rules.put("sub/b.yml", &rule("2", "new").replace("verb: list", "verbs: list"));
    rules.put("sub/c.yml", "title: [");
    wait_for("the failure to be seen", SOON, async || {
        (k8scop.metric("k8scop_rules_last_reload_success").await == Some(0.0)).then_some(())
    })
    .await;
    let expected = [
        format!("{}:5:25: ", rules.path("sub/b.yml").display()),
        format!("{}:", rules.path("sub/c.yml").display()),
        "no field `verbs`".into(),
    ];
    let tells = |text: &str| expected.iter().all(|it| text.contains(it));
    let (status, said) = k8scop.asked("GET", "/readyz").await;
    assert!(status == 200 && said.contains("cannot be used") && tells(&said), "{said}");
    let log = k8scop.log();
    let told: Vec<Value> = log
        .lines()
        .map(|it| serde_json::from_str(it).unwrap())
        .filter(|it: &Value| it["level"] == "ERROR")
        .collect();
    assert!(told.len() == 1 && tells(told[0]["error"].as_str().unwrap()), "told once: {told:?}");
    assert_eq!(k8scop.metric("k8scop_rules_reloads_total{result=\"failure\"}").await, Some(1.0));
    assert_eq!(k8scop.metric("k8scop_rules_loaded").await, Some(1.0));
    let (status, said) = k8scop.reload().await;
    assert!(status == 400 && tells(&said), "{said}");
    // The old rules still find what they look for, also in the sub-folder's place.
    assert_eq!(k8scop.bulk("/_bulk", request(1, 1)).await.1["errors"], false);
    let alerts = "k8scop_alerts_total{rule=\"old\",severity=\"high\"}";
    assert_eq!(k8scop.metric(alerts).await, Some(1.0));

    rules.put("sub/b.yml", &rule("2", "new"));
    rules.remove("sub/c.yml");
    wait_for("the rules to be in use", SOON, async || {
        (k8scop.metric("k8scop_rules_loaded").await == Some(2.0)).then_some(())
    })
    .await;
    assert_eq!(k8scop.asked("GET", "/readyz").await, (200, "ok\n".into()));
    assert_eq!(k8scop.metric("k8scop_rules_last_reload_success").await, Some(1.0));
    assert_eq!(k8scop.metric(alerts).await, Some(1.0), "what was counted stays");
    let new = "k8scop_rule_matches_total{rule=\"new\",severity=\"high\"}";
    assert_eq!(k8scop.metric(new).await, Some(0.0), "it starts at 0");
}

#[tokio::test]
async fn a_folder_that_is_gone_or_empty_takes_no_rule_away() {
    let rules = Rules::new();
    rules.put("a.yml", &rule("1", "old"));
    let k8scop = K8scop::start(&rules.config("file:./data", NEVER)).await;
    rules.remove("a.yml");
    let (status, said) = k8scop.reload().await;
    assert!(status == 400 && said.contains("there are no rules"), "{said}");
    fs::remove_dir(&rules.0.0).unwrap();
    let (status, said) = k8scop.reload().await;
    assert!(status == 500 && said.contains("No such file"), "{said}");
    assert_eq!(k8scop.metric("k8scop_rules_loaded").await, Some(1.0));
    assert_eq!(k8scop.metric("k8scop_rules_reloads_total{result=\"failure\"}").await, Some(2.0));
    fs::create_dir(&rules.0.0).unwrap();
    // Two swaps later, the counters of a rule are gone: there is no end to names.
    for title in ["second", "third"] {
        rules.put("a.yml", &rule("1", title));
        assert_eq!(k8scop.reload().await.0, 200);
        assert_eq!(k8scop.knows("old").await, title == "second");
    }
}

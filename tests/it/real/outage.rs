use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use reqwest::Method;

use super::{
    elasticsearch::Elasticsearch,
    filebeat::Filebeat,
    parts::{ELASTICSEARCH, FILEBEAT, Node, fresh, part, tell, total},
    stored,
    stream::Stream,
};
use crate::harness::{K8scop, SOON, wait_for};

/// How often the 57 real events are told.
const COPIES: usize = 30;
/// How long Elasticsearch is down at least.
const OUTAGE: Duration = Duration::from_secs(20);
/// Lines of one step; the steps follow one another as k8scop is killed.
const STEP: usize = 300;
/// Short waits of Filebeat, so that the test ends soon.
const FILEBEAT_MORE: &str =
    r#", "output.elasticsearch": { "backoff": { "init": "0.2s", "max": "1s" } }"#;

/// What the test has on its hands.
struct Scene {
    elasticsearch: Elasticsearch,
    namespace: String,
    config: String,
    k8scop: K8scop,
    filebeat: Filebeat,
    /// Items of all its lives that had been stored by an earlier try.
    duplicates: f64,
    kills: usize,
}

impl Scene {
    /// Kills k8scop and starts it again on its ports.
    async fn kill(&mut self) {
        self.count_duplicates().await;
        self.k8scop.kill();
        self.kills += 1;
        self.k8scop = K8scop::start_on(self.k8scop.data, self.k8scop.admin, &self.config).await;
    }

    /// Waits until k8scop's metrics tell it. Asks again at once: some facts are short.
    async fn until(&mut self, what: &str, fact: impl Fn(&BTreeMap<String, f64>) -> bool) {
        let deadline = Instant::now() + SOON;
        loop {
            let metrics = self.k8scop.metrics().await;
            if fact(&metrics) {
                return;
            }
            self.filebeat.assert_runs();
            assert!(Instant::now() < deadline, "waited for {what}: {metrics:#?}");
        }
    }

    /// How many documents Elasticsearch has written by now: those of a request that it has not answered, too.
    async fn written(&self) -> u64 {
        let path = format!(
            "/{}/_stats/indexing?ignore_unavailable=true",
            stored::events_of(&self.namespace)
        );
        let (_, stats) = self.elasticsearch.ask(Method::GET, &path, "").await;
        stats["_all"]["total"]["indexing"]["index_total"].as_u64().unwrap_or_default()
    }

    /// Waits until Elasticsearch has written more than that for this life of k8scop: it is at work, and a kill
    /// costs k8scop the answer.
    async fn at_work(&mut self, before: u64) {
        self.until("items to come in", |it| total(it, "k8scop_received_items_total") > 0.0).await;
        let deadline = Instant::now() + SOON;
        while self.written().await <= before {
            self.filebeat.assert_runs();
            assert!(Instant::now() < deadline, "nothing was written any more");
        }
    }

    /// Kills k8scop while Elasticsearch writes for it.
    async fn kill_at_work(&mut self, before: u64) {
        self.at_work(before).await;
        self.kill().await;
    }

    async fn count_duplicates(&mut self) {
        self.duplicates +=
            self.k8scop.metrics().await["k8scop_settled_items_total{result=\"duplicate\"}"];
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_and_nothing_doubled_in_an_outage() {
    let test = "nothing_is_lost_and_nothing_doubled_in_an_outage";
    let (Some(_), Some(binary)) = (part(test, ELASTICSEARCH), part(test, FILEBEAT)) else { return };
    // Not the one that the other tests share: this one is stopped.
    let node = Node::start().await;
    let elasticsearch = Elasticsearch::new(&node.url);
    elasticsearch.put_templates().await;

    let namespace = fresh("outage");
    let stream = Stream::new(&namespace, COPIES);
    let lines = stream.lines();
    let mut steps = lines.chunks(STEP);
    assert!(stream.events.len() > 1500 && steps.len() >= 7);
    // The deadline is longer than Elasticsearch takes to stop, so that what k8scop holds then, it holds.
    let config = format!(
        "output: {}\naudit: {{ namespace: {namespace} }}\nlimits: {{ request_deadline_s: 75 }}\n",
        node.url
    );
    let k8scop = K8scop::start(&config).await;
    let filebeat = Filebeat::start(&binary, &k8scop.url(""), FILEBEAT_MORE);
    let mut scene =
        Scene { elasticsearch, namespace, config, k8scop, filebeat, duplicates: 0.0, kills: 0 };
    let mut write = |scene: &Scene| scene.filebeat.write(steps.next().unwrap());

    // All is well, but for k8scop, which is killed twice while Elasticsearch writes for it.
    for _ in 0..2 {
        let before = scene.written().await;
        write(&scene);
        scene.kill_at_work(before).await;
    }

    // Elasticsearch stops in the middle of it, and k8scop is killed while it holds what cannot be delivered.
    let before = scene.written().await;
    write(&scene);
    scene.at_work(before).await;
    node.stop().await;
    let stopped = Instant::now();
    write(&scene);
    scene.until("items to be held", |it| it["k8scop_items_in_flight"] > 0.0).await;
    scene.kill().await;
    // Filebeat greets the new one, and hears that Elasticsearch is down.
    let refused = "k8scop_http_requests_total{code=\"503\",input=\"pass\"}";
    scene
        .until("Filebeat to hear of the outage", |it| it.get(refused).is_some_and(|it| *it > 0.0))
        .await;
    scene.k8scop.check_balance().await;
    wait_for("the rest of the outage", OUTAGE * 2, async || {
        (stopped.elapsed() > OUTAGE).then_some(())
    })
    .await;

    // It comes back, and k8scop is killed as soon as the first documents are written.
    node.again().await;
    // It counts anew.
    scene.kill_at_work(0).await;

    // And once more.
    let before = scene.written().await;
    write(&scene);
    scene.kill_at_work(before).await;
    steps.for_each(|step| scene.filebeat.write(step));

    wait_for("everything to arrive", SOON, async || {
        scene.filebeat.assert_runs();
        let idle = scene.k8scop.metrics().await["k8scop_items_in_flight"] == 0.0;
        (idle && stored::is_all(&scene.elasticsearch, &scene.namespace, &stream).await)
            .then_some(())
    })
    .await;
    scene.count_duplicates().await;
    stored::check(&scene.elasticsearch, &scene.namespace, &stream).await;
    stored::check_texts(&scene.elasticsearch, &scene.namespace, &stream).await;
    scene.k8scop.check_balance().await;
    assert_eq!(scene.kills, 5);
    assert!(scene.duplicates > 0.0, "no answer was lost, so nothing was shown");
    tell(format_args!(
        "{test}: {} kills; {} items came twice and were stored once",
        scene.kills, scene.duplicates
    ));
}

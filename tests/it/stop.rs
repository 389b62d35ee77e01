//! A stop finishes what is in flight and refuses what is new.

use std::time::Duration;

use crate::{
    fake::{Fake, Reaction},
    harness::{K8scop, SOON, client, wait_for},
};

const BODY: &str = "{\"create\":{\"_index\":\"logs-a\"}}\n{\"a\":1}\n";

#[tokio::test]
async fn what_is_in_flight_is_answered() {
    let fake = Fake::start(
        |number, _| if number == 0 { Reaction::Hang } else { Reaction::Items(vec![201]) },
    )
    .await;
    let config = format!(
        "output: {}\nelasticsearch: {{request_timeout_s: 2}}\nretry: {{first_ms: 5, longest_ms: 10}}\n",
        fake.url()
    );
    let mut k8scop = K8scop::start(&config).await;
    let mut tasks = tokio::task::JoinSet::new();
    let url = k8scop.url("/_bulk");
    tasks.spawn(
        async move { client().post(url).body(BODY).send().await.unwrap().status().as_u16() },
    );
    wait_for("the item to be in flight", SOON, async || {
        (k8scop.metrics().await["k8scop_items_in_flight"] > 0.5).then_some(())
    })
    .await;
    k8scop.term();
    let (ready, live) =
        (format!("http://{}/readyz", k8scop.admin), format!("http://{}/livez", k8scop.admin));
    wait_for("readyz to say so", SOON, async || {
        (client().get(&ready).send().await.ok()?.status() == 503).then_some(())
    })
    .await;
    assert_eq!(client().get(&live).send().await.unwrap().status(), 200);
    let new =
        client().post(k8scop.url("/_bulk")).body(BODY).timeout(Duration::from_secs(1)).send().await;
    assert!(new.is_err(), "nothing new is taken");
    assert_eq!(tasks.join_all().await, [200]);
    assert!(k8scop.ended().await.success());
    assert!(k8scop.log().contains("everything in flight was answered"));
}

#[tokio::test]
async fn a_stop_does_not_wait_for_ever() {
    let fake = Fake::start(|_, _| Reaction::Hang).await;
    let config = format!(
        "output: {}\nlimits: {{shutdown_grace_s: 1, request_deadline_s: 60}}\n",
        fake.url()
    );
    let mut k8scop = K8scop::start(&config).await;
    let url = k8scop.url("/_bulk");
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move { client().post(url).body(BODY).send().await.is_ok() });
    wait_for("the item to be in flight", SOON, async || {
        (k8scop.metrics().await["k8scop_items_in_flight"] > 0.5).then_some(())
    })
    .await;
    k8scop.term();
    assert_eq!(k8scop.ended().await.code(), Some(70));
    assert_eq!(tasks.join_all().await, [false], "never answered as stored");
}

#[tokio::test]
async fn idle_connections_do_not_hold_it_up() {
    let mut k8scop = K8scop::start("").await;
    let keeper = client();
    assert_eq!(keeper.get(k8scop.url("/")).send().await.unwrap().status(), 200);
    k8scop.term();
    assert!(k8scop.ended().await.success());
}

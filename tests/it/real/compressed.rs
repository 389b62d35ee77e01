//! `elasticsearch.compression_level`: what is sent compressed is stored as what is not.

use super::{
    elasticsearch::{Elasticsearch, all},
    parts::{ELASTICSEARCH, fresh, part},
};
use crate::{
    fake::{Fake, Reaction},
    harness::K8scop,
};

const ITEMS: usize = 500;

fn request(index: &str) -> String {
    let item = |it| {
        format!("{{\"create\":{{\"_index\":\"{index}\",\"_id\":\"{it}\"}}}}\n{{\"n\":{it}}}\n")
    };
    (0..ITEMS).map(item).collect()
}

async fn compressing(output: &str) -> K8scop {
    K8scop::start(&format!("output: {output}\nelasticsearch: {{compression_level: 1}}\n")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn all_is_stored() {
    let Some(url) = part("compressed", ELASTICSEARCH) else { return };
    let elasticsearch = Elasticsearch::new(&url);
    let index = fresh("compressed-");
    let (status, answer) = compressing(&url).await.bulk("/_bulk", request(&index)).await;
    assert_eq!((status, &answer["errors"]), (200, &false.into()), "{answer}");
    elasticsearch.refresh(&index).await;
    assert_eq!(elasticsearch.count(&index, &all()).await, ITEMS as u64);
}

#[tokio::test]
async fn only_what_is_large_is_compressed() {
    let fake = Fake::start(|_, asked| {
        // What is compressed is no text here: all of it was stored.
        let item = |_| "{\"create\":{\"_index\":\"i\",\"_id\":\"1\",\"status\":201}}";
        let count = if asked.header("content-encoding").is_some() { ITEMS } else { 1 };
        let items: Vec<&str> = (0..count).map(item).collect();
        let text = format!("{{\"took\":1,\"errors\":false,\"items\":[{}]}}", items.join(","));
        Reaction::Answer(200, Vec::new(), text)
    })
    .await;
    let k8scop = compressing(&fake.url()).await;
    let small = "{\"create\":{\"_index\":\"i\"}}\n{}\n".to_owned();
    assert_eq!(k8scop.bulk("/_bulk", small).await.0, 200);
    assert_eq!(k8scop.bulk("/_bulk", request("i")).await.0, 200);
    let asked = fake.asked();
    let encodings: Vec<_> = asked.iter().map(|it| it.header("content-encoding")).collect();
    assert_eq!(encodings, [None, Some("gzip")]);
    k8scop.check_balance().await;
}

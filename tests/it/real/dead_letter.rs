use reqwest::Method;
use serde_json::{Value, json};

use super::{
    elasticsearch::{Elasticsearch, all},
    parts::{ELASTICSEARCH, fresh, part, root},
};
use crate::{
    dead_letter::{letters, listed},
    harness::K8scop,
    setup::said,
};

fn create(index: &str, document: &Value) -> String {
    format!("{}\n{document}\n", json!({ "create": { "_index": index } }))
}

/// Puts the templates; this one even into Elasticsearch 7.17 without x-pack, which has no data streams.
async fn put_template(elasticsearch: &Elasticsearch) {
    let (status, text) = said(&["--output", &elasticsearch.url, "--yes"]).await;
    if status == 0 {
        return;
    }
    assert!(text.contains("unknown field [data_stream]"), "{text}");
    let file = root().join("pipelines/templates/k8scop.dead_letter.json");
    let mut template: Value =
        serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    template.as_object_mut().unwrap().remove("data_stream");
    elasticsearch.did(Method::PUT, "/_index_template/k8scop-k8scop.dead_letter", &template).await;
}

async fn map(elasticsearch: &Elasticsearch, index: &str, kind: &str) {
    let mapping = json!({
        "mappings": { "properties": { "n": { "type": kind }, "text": { "type": "text" } } },
        "settings": { "number_of_replicas": 0 }
    });
    elasticsearch.did(Method::PUT, &format!("/{index}"), &mapping).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_mapping_refuses_is_kept_and_stored_when_it_is_mended() {
    let test = "what_a_mapping_refuses_is_kept_and_stored_when_it_is_mended";
    let Some(url) = part(test, ELASTICSEARCH) else { return };
    let elasticsearch = Elasticsearch::new(&url);
    put_template(&elasticsearch).await;
    let (index, namespace) = (fresh("app-"), fresh("letters"));
    map(&elasticsearch, &index, "long").await;
    let k8scop = K8scop::start(&format!(
        "output: {url}\non_reject: dead_letter\naudit: {{ namespace: {namespace} }}\n"
    ))
    .await;

    let large = "ä \"x\"\t".repeat(25_000);
    let documents = [
        json!({ "n": "no number" }),
        json!({ "n": 1 }),
        json!({ "n": "no number either", "text": large }),
    ];
    let texts: String = documents.iter().map(|it| create(&index, it)).collect();
    assert!(texts.len() > 200_000);
    let not_utf8 = [
        json!({ "create": { "_index": index } }).to_string().as_bytes(),
        b"\n{\"text\":\"\xff\"}\n",
    ]
    .concat();
    let body = [texts.as_bytes(), &not_utf8].concat();
    for _ in 0..2 {
        // The second time nothing more is kept.
        let (status, answer) = k8scop.bulk("/_bulk", body.clone()).await;
        assert_eq!((status, &answer["errors"]), (200, &json!(false)), "{answer}");
        let kept: Vec<_> = answer["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["create"]["failure_store"] == "used")
            .collect();
        assert_eq!(kept, [true, false, true, true], "{answer}");
    }
    k8scop.check_balance().await;

    let stream = format!("logs-k8scop.dead_letter-{namespace}");
    elasticsearch.refresh(&stream).await;
    let refused = json!({ "bool": { "filter": [
        // As Elasticsearch calls it since 8.8, and before.
        { "terms": { "error.type": ["document_parsing_exception", "mapper_parsing_exception"] } },
        { "term": { "k8scop.dead_letter.index": index } },
        { "range": { "k8scop.dead_letter.status": { "gte": 400 } } },
        { "match": { "error.message": "field" } }
    ] } });
    assert_eq!(elasticsearch.count(&stream, &refused).await, 2);
    let file = k8scop.folder().join("k8scop.yaml");
    let which = ["--index", index.as_str()];
    let shown = listed(&file, &which).await;
    let mut lines: Vec<_> = shown.iter().filter_map(|it| it["lines"].as_str()).collect();
    lines.sort_unstable_by_key(|it| it.len());
    assert_eq!(lines, [create(&index, &documents[0]), create(&index, &documents[2])]);
    assert_eq!(shown.iter().filter(|it| it["lines_base64"].is_string()).count(), 1);

    let later = listed(&file, &[&which[..], &["--since", "2100-01-01T00:00:00.5Z"]].concat()).await;
    assert!(later.is_empty());
    let first = listed(&file, &[&which[..], &["--limit", "1"]].concat()).await;
    assert_eq!(first, shown[..1]);

    let listen = k8scop.data.to_string();
    let args = [&which[..], &["--listen", &listen]].concat();
    let early = letters(&file, "replay", &args).await;
    assert_eq!(
        (early.status, early.last()),
        (1, "0 replayed, 3 refused again, 0 not sent"),
        "{}",
        early.err
    );

    elasticsearch.did(Method::DELETE, &format!("/{index}"), &Value::Null).await;
    map(&elasticsearch, &index, "keyword").await;
    let mended = letters(&file, "replay", &args).await;
    assert_eq!(
        (mended.status, mended.last()),
        (1, "2 replayed, 1 refused again, 0 not sent"),
        "{}",
        mended.err
    );
    elasticsearch.refresh(&index).await;
    let stored = elasticsearch.hits(&index, &all()).await;
    assert_eq!(stored.len(), 2);
    for document in [&documents[0], &documents[2]] {
        assert!(stored.iter().any(|it| it["_source"] == *document), "{document}");
    }
    elasticsearch.refresh(&stream).await;
    let left = listed(&file, &which).await;
    assert_eq!(left.len(), 1);
    assert!(left[0]["lines_base64"].is_string());
    assert_eq!(elasticsearch.count(&stream, &all()).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_letters_of_one_moment_and_large_ones_are_all_found() {
    let test = "many_letters_of_one_moment_and_large_ones_are_all_found";
    let Some(url) = part(test, ELASTICSEARCH) else { return };
    let elasticsearch = Elasticsearch::new(&url);
    put_template(&elasticsearch).await;
    let (index, namespace) = (fresh("app-"), fresh("letters"));
    map(&elasticsearch, &index, "long").await;
    let k8scop = K8scop::start(&format!(
        "output: {url}\non_reject: dead_letter\naudit: {{ namespace: {namespace} }}\n"
    ))
    .await;
    // More than two pages, all with the same time, and more than is fetched at once.
    let mut body: String =
        (0..1_100).map(|n| create(&index, &json!({ "n": format!("no {n}") }))).collect();
    let large = "x".repeat(3 << 20);
    body.extend(
        (0..8).map(|n| create(&index, &json!({ "n": format!("large {n}"), "text": large }))),
    );
    let (status, answer) = k8scop.bulk("/_bulk", body).await;
    assert_eq!((status, &answer["errors"]), (200, &json!(false)));
    let metrics = k8scop.metrics().await;
    let kept = metrics[r#"k8scop_settled_items_total{result="dead_lettered"}"#];
    assert!((kept - 1_108.).abs() < 0.5, "{kept}");

    let stream = format!("logs-k8scop.dead_letter-{namespace}");
    elasticsearch.refresh(&stream).await;
    let file = k8scop.folder().join("k8scop.yaml");
    let which = ["--index", index.as_str()];
    let table = letters(&file, "list", &[&which[..], &["--limit", "0"]].concat()).await;
    assert!(table.last().starts_with("1108 dead letters"), "{} {}", table.out, table.err);

    elasticsearch.did(Method::DELETE, &format!("/{index}"), &Value::Null).await;
    map(&elasticsearch, &index, "keyword").await;
    // Straight to Elasticsearch.
    let mended = letters(&file, "replay", &[&which[..], &["--to", &url]].concat()).await;
    assert_eq!(
        (mended.status, mended.last()),
        (0, "1108 replayed, 0 refused again, 0 not sent"),
        "{}",
        mended.err
    );
    elasticsearch.refresh(&index).await;
    assert_eq!(elasticsearch.count(&index, &all()).await, 1_108);
    elasticsearch.refresh(&stream).await;
    assert_eq!(elasticsearch.count(&stream, &all()).await, 0);
}

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use serde_json::{Value, json};

use super::{
    elasticsearch::{Elasticsearch, all},
    parts::{ELASTICSEARCH, fresh, part, root, tell, total},
    stored::{alerts_of, events_of},
};
use crate::harness::K8scop;

/// Events of one bulk request.
const REQUEST: usize = 500;
/// Severity from which an alert wakes somebody up.
const HIGH: u64 = 73;

/// Events of a cluster at ordinary work, if this checkout has such data beside it: too large for the repository.
pub fn healthy() -> Vec<(String, String)> {
    let folder = root().join("..").join("shared").join("data").join("kube-healthy");
    let files = fs::read_dir(folder).into_iter().flatten().map(|it| it.unwrap().path());
    let files = files.filter(|it| it.extension().is_some_and(|it| it == "ndjson"));
    let named = files.map(|it| {
        (it.file_stem().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(it).unwrap())
    });
    named.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn real_events_are_all_stored() {
    let test = "real_events_are_all_stored";
    let Some(url) = part(test, ELASTICSEARCH) else { return };
    let files = healthy();
    if files.is_empty() {
        tell(format_args!(
            "SKIPPED {test}: there are no events of a healthy cluster beside this checkout"
        ));
        return;
    }
    let elasticsearch = Elasticsearch::new(&url);
    elasticsearch.put_templates().await;
    for (name, text) in files {
        check(&elasticsearch, &name, &text).await;
    }
}

async fn check(elasticsearch: &Elasticsearch, name: &str, text: &str) {
    let namespace = fresh("healthy");
    let k8scop = K8scop::start(&format!(
        "output: {}\naudit: {{ namespace: {namespace} }}\n",
        elasticsearch.url
    ))
    .await;
    let lines: Vec<&str> = text.lines().collect();
    let mut keys = BTreeSet::new();
    for lines in lines.chunks(REQUEST) {
        let mut body = String::new();
        for line in lines {
            let event: Value = serde_json::from_str(line).unwrap();
            keys.insert((event["auditID"].to_string(), event["stage"].to_string()));
            let place = json!({ "log_group": format!("/aws/eks/{name}/cluster"), "log_stream": "kube-apiserver-audit-0a1b" });
            let document = json!({ "@timestamp": event["stageTimestamp"], "message": line, "aws.cloudwatch": place });
            body += &format!(
                "{{\"create\":{{\"_index\":\"logs-aws.cloudwatch_logs-{namespace}\"}}}}\n{document}\n"
            );
        }
        let (status, answer) = k8scop.bulk("/_bulk", body).await;
        let items = answer["items"].as_array().unwrap_or_else(|| panic!("{status} {answer}"));
        let refused =
            items.iter().find(|it| !matches!(it["create"]["status"].as_u64(), Some(200 | 201)));
        assert_eq!((items.len(), refused), (lines.len(), None), "{name}");
        assert_eq!(answer["errors"], false, "{name}");
    }
    k8scop.check_balance().await;
    let metrics = k8scop.metrics().await;
    assert_eq!(total(&metrics, "k8scop_unwrapped_events_total"), lines.len() as f64, "{name}");
    assert_eq!(
        total(&metrics, "k8scop_reduced_events_total"),
        0.0,
        "{name}: each with its objects"
    );

    elasticsearch.refresh(&events_of(&namespace)).await;
    elasticsearch.refresh(&alerts_of(&namespace)).await;
    assert_eq!(
        elasticsearch.count(&events_of(&namespace), &all()).await,
        keys.len() as u64,
        "{name}"
    );
    let mut by_rule: BTreeMap<String, u64> = BTreeMap::new();
    let raised = elasticsearch.hits(&alerts_of(&namespace), &all()).await;
    for alert in &raised {
        let alert = &alert["_source"];
        let line =
            format!("{:>2} {}", alert["event"]["severity"], alert["message"].as_str().unwrap());
        *by_rule.entry(line).or_default() += 1;
    }
    let mut said = format!("{name}: {} events, all stored; {} alerts", lines.len(), raised.len());
    for (line, count) in &by_rule {
        said += &format!("\n  {count:>5} of severity {line}");
    }
    tell(said);
    let high: Vec<_> = raised
        .iter()
        .filter(|it| it["_source"]["event"]["severity"].as_u64().unwrap() >= HIGH)
        .collect();
    assert!(high.is_empty(), "{name}: nobody attacks here: {high:#?}");
}

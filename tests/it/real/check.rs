use reqwest::Method;

use super::{
    elasticsearch::Elasticsearch,
    parts::{ELASTICSEARCH, fresh, part},
};
use crate::{check::check, harness::K8scop};

#[tokio::test(flavor = "multi_thread")]
async fn elasticsearch_breaks_for_nobody() {
    let test = "elasticsearch_breaks_for_nobody";
    let Some(url) = part(test, ELASTICSEARCH) else { return };
    let k8scop = K8scop::start(&format!("output: {url}\n")).await;
    for target in [url.clone(), k8scop.url("")] {
        let index = fresh("check-");
        let output = check(&target, &["--index", &index]).await;
        let out = String::from_utf8_lossy(&output.stdout);
        let said = format!("{out}{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert!(out.contains(" 0 break, "), "{said}");
        // k8scop need not let itself be read.
        let there = out.lines().find(|it| it.contains("what was answered as stored is there"));
        let is_read = there.is_some_and(|it| it.contains("  ok  "));
        assert!(is_read || target != url, "{said}");
        let elasticsearch = Elasticsearch::new(&url);
        let path = format!("/{index}");
        let (status, _) = elasticsearch.ask(Method::HEAD, &path, "").await;
        assert_eq!(
            status == 404,
            said.contains(&format!("the index {index} is deleted")),
            "{said}"
        );
        elasticsearch.ask(Method::DELETE, &path, "").await;
    }
}

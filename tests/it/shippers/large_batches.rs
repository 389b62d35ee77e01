//! Logstash cuts a batch into requests of 20 MiB, uncompressed, and ends the gzip stream of the last one only: of the
//! others it sends what a flush of the writer gave, without a last block and without a trailer (`bulk` in
//! `http_client.rb`, since 10.8.6). Elasticsearch 8.19 takes that.

use super::{ELASTICSEARCH, Elasticsearch, Scene, Shipper, documents, logstash::Logstash, part};

/// Where the batches here are cut: about five documents.
const CUT_BYTES: usize = 6000;
const DOCUMENTS: usize = 60;

#[tokio::test(flavor = "multi_thread")]
async fn logstash_cuts_large_batches() {
    let test = "logstash_cuts_large_batches";
    for real in [None, part(test, ELASTICSEARCH)] {
        if let Some(url) = &real {
            Elasticsearch::new(url).put_templates().await;
        }
        let scene = Scene::start(real.as_deref()).await;
        let mut logstash = Logstash::data_stream(&scene.place()).cutting_at(CUT_BYTES);
        logstash.start().await.unwrap();
        let batch = documents(DOCUMENTS);
        let told = logstash.deliver(&batch).await;
        assert_eq!((told.acked.len(), told.tries), (DOCUMENTS, 1), "{:?}", logstash.wire().said);
        let bulks = logstash.wire().said.iter().filter(|it| it.line.contains("/_bulk")).count();
        assert!(bulks >= 5, "{bulks} requests");
        scene.check(&batch).await;
    }
}

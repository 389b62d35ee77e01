//! Stands for Elasticsearch: counts what it is sent, and has stored all of it at once.

use super::*;

/// What came, by the index that it was meant for.
#[derive(Default)]
struct Seen {
    audit: AtomicU64,
    alerts: AtomicU64,
    others: AtomicU64,
    requests: AtomicU64,
}

pub(super) async fn run() -> anyhow::Result<()> {
    let seen = Arc::new(Seen::default());
    serve(move |request| {
        let seen = Arc::clone(&seen);
        async move {
            if request.method() == Method::GET {
                let count = |it: &AtomicU64| it.load(Relaxed);
                let counts = [&seen.audit, &seen.alerts, &seen.others, &seen.requests].map(count);
                return reply(StatusCode::OK, counts.map(|it| it.to_string()).join(" "));
            }
            match stored(request, &seen).await {
                Ok(answer) => reply(StatusCode::OK, answer),
                Err(error) => reply(StatusCode::BAD_REQUEST, format!("{error:#}")),
            }
        }
    })
    .await
}

async fn stored(request: Request<Incoming>, seen: &Seen) -> anyhow::Result<String> {
    let gzip = request.headers().contains_key(header::CONTENT_ENCODING);
    let mut body = gathered(request.into_body()).await?;
    if gzip {
        let mut decoder = GzDecoder::new(Vec::new());
        decoder.write_all(&body)?;
        body = decoder.finish()?.into();
    }
    answer(std::str::from_utf8(&body)?, seen)
}

/// As Elasticsearch 8 answers for a data stream: its backing index, and about 270 bytes an item.
fn answer(body: &str, seen: &Seen) -> anyhow::Result<String> {
    let mut out = String::with_capacity(body.len() / 8);
    out.push_str("{\"took\":5,\"errors\":false,\"items\":[");
    let (mut audit, mut alerts, mut others) = (0, 0, 0);
    let mut lines = body.lines();
    while let Some(action) = lines.next() {
        let index =
            value(action, "{\"create\":{\"_index\":\"").context("a line that is no action")?;
        ensure!(
            lines.next().is_some_and(|it| it.starts_with("{\"") && it.ends_with('}')),
            "a line that is no document"
        );
        if index.starts_with("logs-kubernetes.audit_logs-") {
            audit += 1;
        } else if index.starts_with("logs-k8scop.alerts-") {
            alerts += 1;
        } else {
            others += 1;
        }
        let id = value(action, ",\"_id\":\"").unwrap_or("AZql0pYBxA0hG8tUr4Wk");
        if audit + alerts + others > 1 {
            out.push(',');
        }
        for part in [
            "{\"create\":{\"_index\":\".ds-",
            index,
            "-2026.11.22-000001\",\"_id\":\"",
            id,
            "\",\"_version\":1,\"result\":\"created\",\"_shards\":{\"total\":2,\"successful\":2,\"failed\":0},\"_seq_no\":1234567,\"_primary_term\":1,\"status\":201}}",
        ] {
            out.push_str(part);
        }
    }
    out.push_str("]}");
    seen.audit.fetch_add(audit, Relaxed);
    seen.alerts.fetch_add(alerts, Relaxed);
    seen.others.fetch_add(others, Relaxed);
    seen.requests.fetch_add(1, Relaxed);
    Ok(out)
}

/// The text behind `before`; neither driver nor k8scop writes one with escapes.
fn value<'a>(action: &'a str, before: &str) -> Option<&'a str> {
    let (_, rest) = action.split_once(before)?;
    rest.split_once('"').map(|(value, _)| value)
}

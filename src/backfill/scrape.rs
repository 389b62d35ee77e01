//! `/metrics` while it runs.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use hyper::{Method, Request, StatusCode, body::Incoming};
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::BackfillError;
use crate::{
    metrics::Metrics,
    receiver::{Connections, Reply, serve, text},
};

/// Most who look at once.
const CONNECTIONS_MAX: usize = 64;
/// Longest wait for a request, and for somebody to read its answer.
const TIME: Duration = Duration::from_secs(30);

/// Serves metrics until it is dropped.
#[derive(Debug)]
pub(super) struct Scrape(CancellationToken);

impl Drop for Scrape {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl Scrape {
    /// Listens, and tells where.
    pub(super) async fn listen(
        address: SocketAddr,
        metrics: &Arc<Metrics>,
        tell: &mut dyn FnMut(&str),
    ) -> Result<Self, BackfillError> {
        let failed = |error| BackfillError::Usage(format!("--metrics-listen {address}: {error}"));
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        tell(&format!("metrics: http://{}/metrics", listener.local_addr().map_err(failed)?));
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let connections = Connections {
            connections_max: CONNECTIONS_MAX,
            header_read_timeout: TIME,
            write_timeout: TIME,
            tls: None,
            tasks: tasks.clone(),
            stop: stop.clone(),
        };
        let metrics = Arc::clone(metrics);
        let answer = move |request: Request<Incoming>| {
            let reply = answer(&metrics, request.method(), request.uri().path());
            async { reply }
        };
        tasks.spawn(serve(listener, connections, answer));
        Ok(Self(stop))
    }
}

fn answer(metrics: &Metrics, method: &Method, path: &str) -> Reply {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "use GET\n");
    }
    match path {
        "/metrics" => match metrics.text() {
            Ok(metrics) => text(StatusCode::OK, metrics),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        },
        _ => text(StatusCode::NOT_FOUND, "/metrics\n"),
    }
}

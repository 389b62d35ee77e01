//! The operator's port: metrics and health.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use hyper::{Method, Request, StatusCode, body::Incoming};

use crate::{
    metrics::Metrics,
    receiver::{Reply, text},
};

const INDEX: &str = "k8scop\n\n/metrics  for Prometheus\n/livez    200 while the process works\n/readyz   200 while it takes requests, 503 while it stops\n";

/// What the operator's port tells.
#[derive(Debug)]
pub struct Admin {
    metrics: Arc<Metrics>,
    draining: AtomicBool,
}

impl Admin {
    /// Ready from the start: both ports are bound before the first question can come.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics, draining: AtomicBool::new(false) }
    }

    /// From now on `/readyz` says 503.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Answers one request.
    #[must_use]
    pub fn answer(&self, request: &Request<Incoming>) -> Reply {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "use GET\n");
        }
        match request.uri().path() {
            "/metrics" => match self.metrics.text() {
                Ok(metrics) => text(StatusCode::OK, metrics),
                Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
            },
            "/livez" => text(StatusCode::OK, "ok\n"),
            // An output that is down does not make us unready: without us, shippers would hear nothing at all
            // instead of 503 and when to come back.
            "/readyz" if self.draining.load(Ordering::Relaxed) => {
                text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n")
            }
            "/readyz" => text(StatusCode::OK, "ok\n"),
            "/" => text(StatusCode::OK, INDEX),
            _ => text(StatusCode::NOT_FOUND, INDEX),
        }
    }
}

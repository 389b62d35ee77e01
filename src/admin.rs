//! The operator's port: metrics and health, and rules that are read again.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use hyper::{
    Method, Request, StatusCode,
    body::Incoming,
    header::{self, HeaderValue},
};

use crate::{
    metrics::Metrics,
    receiver::{Reply, text},
    reload::{ReloadError, RuleReload},
};

const INDEX: &str = "k8scop

/metrics   for Prometheus
/livez     200 while the process works
/readyz    200 while it takes requests, 503 while it stops
/-/reload  POST: reads the rules again
";

/// What the operator's port tells.
#[derive(Debug)]
pub struct Admin {
    metrics: Arc<Metrics>,
    rules: Arc<RuleReload>,
    draining: AtomicBool,
}

impl Admin {
    /// Ready from the start: both ports are bound before the first question can come.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>, rules: Arc<RuleReload>) -> Self {
        Self { metrics, rules, draining: AtomicBool::new(false) }
    }

    /// From now on `/readyz` says 503.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Answers one request.
    pub async fn answer(&self, request: &Request<Incoming>) -> Reply {
        let path = request.uri().path();
        if path == "/-/reload" {
            return match *request.method() {
                Method::POST => self.reload().await,
                _ => not_allowed("POST"),
            };
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return not_allowed("GET");
        }
        match path {
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
            // Nor do rules that cannot be used: those before are.
            "/readyz" => match self.rules.failure() {
                None => text(StatusCode::OK, "ok\n"),
                Some(error) => text(StatusCode::OK, format!("ok, but {KEPT}:\n{error}\n")),
            },
            "/" => text(StatusCode::OK, INDEX),
            _ => text(StatusCode::NOT_FOUND, INDEX),
        }
    }

    async fn reload(&self) -> Reply {
        match self.rules.reload().await {
            Ok(said) => text(StatusCode::OK, format!("{said}\n")),
            Err(error) => {
                let status = match error {
                    ReloadError::Rules(_) => StatusCode::BAD_REQUEST,
                    ReloadError::Unreadable(_) => StatusCode::INTERNAL_SERVER_ERROR,
                };
                text(status, format!("{KEPT}:\n{error}\n"))
            }
        }
    }
}

const KEPT: &str = "the rules on disk cannot be used, those before stay in use";

fn not_allowed(method: &'static str) -> Reply {
    let mut reply = text(StatusCode::METHOD_NOT_ALLOWED, format!("use {method}\n"));
    reply.headers_mut().insert(header::ALLOW, HeaderValue::from_static(method));
    reply
}

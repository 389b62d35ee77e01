//! The HTTP face towards the shippers: takes bulk requests in within its limits and answers them, passes all
//! else through to Elasticsearch. Never looks inside documents.
//!
//! A request is refused at the door or seen through to its end: over the budget it is answered 429 before its
//! body is read; once its body is in, it is delivered and settled even if the client goes away.

mod body;
mod budget;
mod bulk;
mod copies;
mod document;
mod encoding;
mod guard;
mod local;
mod nodes;
mod params;
mod pass;
mod respond;
mod route;
mod serve;

use std::{sync::Arc, time::Duration};

use hyper::{Request, body::Incoming, header};
use tokio_util::task::TaskTracker;

pub use self::{
    budget::Budget,
    respond::{Body, Reply, text},
    route::{PassThrough, Passing, Pattern},
    serve::{Connections, serve},
};
use self::{copies::Copies, route::Route};
use crate::{forward::Forwarder, metrics::Metrics, prepare::Preparer};

/// Limits of the receiver.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Largest body as it comes (bytes).
    pub body_bytes_max: u64,
    /// Largest body once it is decompressed (bytes).
    pub decoded_bytes_max: u64,
    /// Longest silence while a body comes in.
    pub body_idle_timeout: Duration,
    /// Slowest body, once it had that time (bytes a second).
    pub body_bytes_per_s_min: u64,
    /// Longest time from a whole body to its answer; the output is tried as long.
    pub request_deadline: Duration,
}

/// Everything that a request needs.
#[derive(Debug)]
pub struct Receiver {
    /// Turns bodies into batches.
    pub(crate) preparer: Arc<Preparer>,
    /// Delivers them.
    pub(crate) forwarder: Arc<Forwarder>,
    /// What is allowed.
    limits: Limits,
    /// What is passed on.
    passing: Passing,
    /// Bytes of bodies at once.
    budget: Budget,
    /// What is counted.
    metrics: Arc<Metrics>,
    /// Deliveries, which outlive their connections.
    deliveries: TaskTracker,
    /// What shippers were told when they started.
    copies: Copies,
}

/// What a receiver is made of.
#[derive(Debug)]
pub struct Parts {
    /// Turns bodies into batches.
    pub preparer: Preparer,
    /// Delivers them.
    pub forwarder: Forwarder,
    /// What is allowed.
    pub limits: Limits,
    /// What is passed on.
    pub passing: Passing,
    /// Bytes of bodies at once.
    pub budget: Budget,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Where deliveries run, so that the end can be waited for.
    pub deliveries: TaskTracker,
}

impl Receiver {
    /// Puts it together.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts { preparer, forwarder, limits, passing, budget, metrics, deliveries } = parts;
        Self {
            preparer: Arc::new(preparer),
            forwarder: Arc::new(forwarder),
            limits,
            passing,
            budget,
            metrics,
            deliveries,
            copies: Copies::default(),
        }
    }

    /// Answers one request.
    pub async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Reply {
        let route = route::route(request.method(), request.uri().path(), &self.passing);
        let input = match &route {
            Route::Bulk(_) => "bulk",
            Route::Document(_) => "document",
            Route::Pass(_) | Route::Refused => "pass",
        };
        let in_flight = self.metrics.http_requests_in_flight.with_label_values(&[input]);
        let timer = self.metrics.http_request_duration.with_label_values(&[input]).start_timer();
        in_flight.inc();
        let reply = self.routed(request, route).await;
        in_flight.dec();
        timer.observe_duration();
        self.metrics.http_requests.with_label_values(&[input, reply.status().as_str()]).inc();
        reply
    }

    async fn routed(self: &Arc<Self>, request: Request<Incoming>, route: Route) -> Reply {
        let headers = request.headers();
        if headers.contains_key(header::TRANSFER_ENCODING)
            && headers.contains_key(header::CONTENT_LENGTH)
        {
            // Whoever stands before us may have read the other one, and seen another request.
            let reason = "a request has either Content-Length or Transfer-Encoding".into();
            return respond::close(respond::refuse(
                &respond::refusal(400, "parse_exception", reason),
                headers,
            ));
        }
        match route {
            Route::Bulk(defaults) => bulk::answer(self, request, defaults).await,
            Route::Document(document) => document::answer(self, request, document).await,
            Route::Pass(pass) => pass::answer(self, request, pass).await,
            Route::Refused => {
                let reason = format!(
                    "k8scop does not pass [{} {}] on: shippers do not ask for it; allow it with pass_through.allow or pass_through.also",
                    request.method(),
                    request.uri().path()
                );
                let refusal = respond::refusal(403, "security_exception", reason);
                respond::close(respond::refuse(&refusal, headers))
            }
        }
    }
}

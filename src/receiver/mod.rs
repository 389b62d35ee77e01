//! The HTTP face towards the shippers: takes bulk requests in within its limits and answers them, passes all
//! else through to Elasticsearch. Never looks inside documents.
//!
//! A request is refused at the door or seen through to its end: over the budget it is answered 429 before its
//! body is read; once its body is in, it is delivered and settled even if the client goes away.

mod body;
mod budget;
mod bulk;
mod local;
mod pass;
mod respond;
mod serve;

use std::{sync::Arc, time::Duration};

use hyper::{Method, Request, body::Incoming};
use tokio_util::task::TaskTracker;

pub use self::{
    budget::Budget,
    respond::{Body, Reply, text},
    serve::{Connections, serve},
};
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
    /// Longest time from a whole body to its answer; the output is tried as long.
    pub request_deadline: Duration,
}

/// Everything that a request needs.
#[derive(Debug)]
pub struct Receiver {
    /// Turns bodies into batches.
    pub preparer: Arc<Preparer>,
    /// Delivers them.
    pub forwarder: Arc<Forwarder>,
    /// What is allowed.
    pub limits: Limits,
    /// Bytes of bodies at once.
    pub budget: Budget,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Deliveries, which outlive their connections.
    pub deliveries: TaskTracker,
}

impl Receiver {
    /// Answers one request.
    pub async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Reply {
        let is_write = matches!(*request.method(), Method::POST | Method::PUT);
        let target = is_write.then(|| bulk::target(request.uri().path())).flatten();
        let input = if target.is_some() { "bulk" } else { "pass" };
        let in_flight = self.metrics.http_requests_in_flight.with_label_values(&[input]);
        let timer = self.metrics.http_request_duration.with_label_values(&[input]).start_timer();
        in_flight.inc();
        let reply = match target {
            Some(target) => bulk::answer(&self, request, target).await,
            None => pass::answer(&self, request).await,
        };
        in_flight.dec();
        timer.observe_duration();
        self.metrics.http_requests.with_label_values(&[input, reply.status().as_str()]).inc();
        reply
    }
}

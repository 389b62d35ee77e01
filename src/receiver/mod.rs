//! The HTTP face towards the shippers: takes bulk requests in within its limits and answers them, passes all
//! else through to Elasticsearch. Never looks inside documents.
//!
//! A request is refused at the door or seen through to its end: over the budget it is answered 429 before its
//! body is read; once its body is in, it is delivered and settled even if the client goes away.

mod auth;
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
mod push;
mod respond;
mod route;
mod serve;
mod tls;

use std::{sync::Arc, time::Duration};

use hyper::{
    HeaderMap, Request,
    body::{Body as _, Incoming},
    header,
};
use tokio_util::task::TaskTracker;

pub use self::{
    auth::{Auth, AuthError, CredentialSettings, Proof, Unauthorized, Who},
    budget::Budget,
    push::{PubsubSettings, Push, PushError, PushSettings},
    respond::{Body, Reply, text},
    route::{PassThrough, Passing, Pattern},
    serve::{ClientSubject, Connections, serve},
    tls::{ClientAuth, Tls, TlsError, TlsSettings},
};
use self::{copies::Copies, guard::Activity, route::Route};
use crate::{
    bulk::Refusal, correlator::Correlator, forward::Forwarder, metrics::Metrics, prepare::Preparer,
};

/// Where a request comes in: values of the label `input`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// Shippers, in Elasticsearch's bulk protocol.
    Bulk,
    /// API servers' audit webhook.
    Webhook,
    /// Amazon Data Firehose.
    Firehose,
    /// Google Pub/Sub.
    Pubsub,
}

impl Input {
    /// The label: one of [`crate::metrics::INPUTS`].
    fn name(self) -> &'static str {
        match self {
            Self::Bulk => "bulk",
            Self::Webhook => "webhook",
            Self::Firehose => "firehose",
            Self::Pubsub => "pubsub",
        }
    }
}

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
    /// Longest time that Elasticsearch may wait for a shard. Less than our wait for its answer, so that it is heard
    /// which items were stored.
    pub shard_timeout: Duration,
}

/// Everything that a request needs.
#[derive(Debug)]
pub struct Receiver {
    /// Turns bodies into batches.
    pub(crate) preparer: Arc<Preparer>,
    /// Delivers them.
    pub(crate) forwarder: Arc<Forwarder>,
    /// Who is let in; everybody, if it is absent.
    auth: Option<Arc<Auth>>,
    /// Who pushes, and where to.
    push: Arc<Push>,
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
    /// Where documents are kept that are refused for good.
    dead_letters: Option<DeadLetterOffice>,
    /// Sees what is stored.
    correlator: Arc<Correlator>,
}

/// Keeps documents that are refused for good.
#[derive(Debug)]
pub struct DeadLetterOffice {
    /// Stores them.
    pub forwarder: Arc<Forwarder>,
    /// Namespace of their data stream.
    pub namespace: String,
}

/// What a receiver is made of.
#[derive(Debug)]
pub struct Parts {
    /// Turns bodies into batches.
    pub preparer: Arc<Preparer>,
    /// Delivers them.
    pub forwarder: Arc<Forwarder>,
    /// Where documents are kept that are refused for good; if it is absent, the client hears of them.
    pub dead_letters: Option<DeadLetterOffice>,
    /// Sees what is stored.
    pub correlator: Arc<Correlator>,
    /// Who is let in; everybody, if it is absent.
    pub auth: Option<Arc<Auth>>,
    /// Who pushes, and where to.
    pub push: Arc<Push>,
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
        let Parts {
            preparer,
            forwarder,
            dead_letters,
            correlator,
            auth,
            push,
            limits,
            passing,
            budget,
            metrics,
            deliveries,
        } = parts;
        Self {
            preparer,
            forwarder,
            dead_letters,
            correlator,
            auth,
            push,
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
            Route::Push(target) => target.input.name(),
            Route::Pass(_) | Route::Refused | Route::Malformed => "pass",
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

    async fn routed(self: &Arc<Self>, mut request: Request<Incoming>, route: Route) -> Reply {
        let headers = request.headers();
        let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
        let is_chunked =
            codings.next().is_some_and(|it| it.as_bytes().eq_ignore_ascii_case(b"chunked"));
        let is_doubtful = headers.contains_key(header::TRANSFER_ENCODING)
            && (!is_chunked
                || codings.next().is_some()
                || headers.contains_key(header::CONTENT_LENGTH))
            || request.extensions().get::<Arc<Activity>>().is_some_and(|it| it.has_two_lengths());
        if is_doubtful {
            // Whoever stands before us may have read it in another way, and seen another request.
            let reason =
                "a request has either Content-Length or one Transfer-Encoding, which is chunked"
                    .into();
            return respond::close(respond::refuse(
                &respond::refusal(400, "parse_exception", reason),
                headers,
            ));
        }
        if headers
            .get(header::EXPECT)
            .is_some_and(|it| !it.as_bytes().eq_ignore_ascii_case(b"100-continue"))
        {
            let reason = "of Expect only 100-continue is known".into();
            let refusal = respond::refusal(417, "illegal_argument_exception", reason);
            return respond::close(respond::refuse(&refusal, headers));
        }
        let who = match self.who(&mut request, &route) {
            Ok(who) => who,
            Err(reply) => {
                let reply = match &route {
                    Route::Push(target) => {
                        push::turned_away(target.input, *reply, request.headers())
                    }
                    _ => *reply,
                };
                return self.turned_away(request, reply);
            }
        };
        match route {
            Route::Bulk(defaults) => bulk::answer(self, request, defaults, who).await,
            Route::Document(document) => document::answer(self, request, document).await,
            Route::Push(target) => push::answer(self, request, target).await,
            Route::Pass(pass) => pass::answer(self, request, pass).await,
            Route::Malformed => {
                let reason = format!("the path [{}] has a broken escape", request.uri().path());
                let refusal = respond::refusal(400, "illegal_argument_exception", reason);
                let reply = respond::refuse(&refusal, request.headers());
                self.turned_away(request, reply)
            }
            Route::Refused => {
                let reason = format!(
                    "k8scop does not pass [{} {}] on: shippers do not ask for it; allow it with pass_through.allow or pass_through.also",
                    request.method(),
                    request.uri().path()
                );
                let refusal = respond::refusal(403, "security_exception", reason);
                let reply = respond::refuse(&refusal, request.headers());
                self.turned_away(request, reply)
            }
        }
    }

    /// Answers a request whose body nobody wants.
    fn turned_away(&self, request: Request<Incoming>, reply: Reply) -> Reply {
        let (parts, body) = request.into_parts();
        let activity = parts.extensions.get::<Arc<Activity>>().cloned();
        self.discard(&parts.headers, body, activity);
        reply
    }

    /// Refuses a body, which may be on its way.
    fn refuse_body(
        &self,
        refusal: &Refusal,
        request: &HeaderMap,
        body: Incoming,
        activity: Option<Arc<Activity>>,
    ) -> Reply {
        let reply = respond::refuse(refusal, request);
        if refusal.status == 408 {
            return respond::close(reply);
        }
        self.discard(request, body, activity);
        reply
    }

    fn discard(&self, request: &HeaderMap, body: Incoming, activity: Option<Arc<Activity>>) {
        // Who asks whether it may send is answered that it may not; reading would say that it may.
        if !body.is_end_stream() && !request.contains_key(header::EXPECT) {
            let limits = self.limits.clone();
            // At once: what comes in before the task begins is no head either.
            if let Some(activity) = &activity {
                activity.discards(true);
            }
            self.deliveries.spawn(async move {
                body::drain(body, limits).await;
                if let Some(activity) = activity {
                    activity.discards(false);
                }
            });
        }
    }

    /// Who sends a request, if that is asked, and whether it may. What says so is taken out of the request.
    fn who(
        &self,
        request: &mut Request<Incoming>,
        route: &Route,
    ) -> Result<Option<Who>, Box<Reply>> {
        let Some(known) = &self.auth else { return Ok(None) };
        if matches!(route, Route::Push(target) if self.push.asks(target.input)) {
            // It has a proof of its own.
            return Ok(None);
        }
        let subject = request.extensions().get::<ClientSubject>().map(|it| it.0.as_ref());
        let path = request.uri().path_and_query().map_or("/", |it| it.as_str());
        let who = known.check(request.headers(), subject).map_err(|error| {
            self.metrics.unauthorized_requests.with_label_values(&[error.reason()]).inc();
            Box::new(error.reply(path, request.headers()))
        })?;
        let may = match route {
            Route::Bulk(_) | Route::Refused | Route::Malformed => true,
            Route::Document(document) => who.may_write(&document.index),
            Route::Push(_) => self.push.writes().iter().all(|it| who.may_write(it)),
            Route::Pass(pass) => who.may_pass(*pass, &route::names(request.uri().path())),
        };
        if !may {
            self.metrics.unauthorized_requests.with_label_values(&["forbidden"]).inc();
            let reason = format!(
                "[{} {}] is unauthorized for [{}] of k8scop: its indices or set_up in auth do not allow it",
                request.method(),
                request.uri().path(),
                who.name
            );
            let refusal = respond::refusal(403, "security_exception", reason);
            return Err(Box::new(respond::refuse(&refusal, request.headers())));
        }
        remove_identity(request.headers_mut());
        Ok(Some(who))
    }
}

/// Removes what says who the client is: it is ours.
fn remove_identity(headers: &mut HeaderMap) {
    let ours: Vec<_> = headers.keys().filter(|it| auth::is_identity(it)).cloned().collect();
    for name in ours {
        headers.remove(name);
    }
}

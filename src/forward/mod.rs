//! Sends batches to the output and settles every slot of them: tried again as long as that can help and the
//! request has time, then told as it is. Knows nothing of rules or audit events.

mod blocks;
mod client;
mod elasticsearch;
mod file;
mod nodes;
mod settle;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use hyper::{
    HeaderMap,
    header::{self, HeaderValue},
};
use thiserror::Error;
use tokio::time::{Instant, sleep, timeout};

pub(crate) use self::settle::whole_of;
pub use self::{
    client::{ClientCert, Credentials, ElasticsearchSettings, Secret, SettingsError},
    elasticsearch::{Elasticsearch, Product, hop_by_hop},
    file::{FileError, FileOutput, FileSettings},
    settle::{Backoff, Delivery, Forwarder},
};
use crate::{bulk::BulkAnswer, metrics::Metrics};

/// Where documents are stored.
#[derive(Clone, Debug)]
pub enum Output {
    /// A cluster.
    Elasticsearch(Arc<Elasticsearch>),
    /// Files.
    File(Arc<FileOutput>),
}

/// What of the client's request goes along with every try.
#[derive(Clone, Debug, Default)]
pub struct Passed {
    /// Its headers from end to end.
    pub headers: HeaderMap,
    /// Its query, without what is answered or placed by us; empty if there is none.
    pub query: String,
    /// Nothing in headers and query can make Elasticsearch refuse the request: if it does, it is for an item.
    pub sound: bool,
}

/// The answer to a request as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whole {
    /// HTTP status.
    pub status: u16,
    /// Its body: JSON.
    pub body: Bytes,
    /// How long to wait before the next try, where the other side said so (seconds).
    pub retry_after_s: Option<u64>,
    /// Headers that go along.
    pub heads: Heads,
}

/// What of Elasticsearch's headers belongs to its answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heads {
    /// `Content-Type`, if it is Elasticsearch's answer.
    pub media: Option<HeaderValue>,
    /// `Warning`
    pub warnings: Vec<HeaderValue>,
}

/// Most warnings that are passed on.
const WARNINGS_MAX: usize = 16;

impl Heads {
    fn of(headers: &HeaderMap) -> Self {
        let warnings = headers.get_all(header::WARNING).iter().take(WARNINGS_MAX);
        Self {
            media: headers.get(header::CONTENT_TYPE).cloned(),
            warnings: warnings.cloned().collect(),
        }
    }

    /// Adds those of a later answer.
    fn add(&mut self, later: Self) {
        self.media = later.media.or_else(|| self.media.take());
        for warning in later.warnings {
            if self.warnings.len() < WARNINGS_MAX && !self.warnings.contains(&warning) {
                self.warnings.push(warning);
            }
        }
    }
}

/// What one try brought.
#[derive(Debug)]
enum Attempt {
    /// An answer for each slot.
    Answered(BulkAnswer, Heads),
    /// An answer to the request as a whole: nothing was stored.
    Refused(Whole),
    /// No answer, or none that can be believed. What was stored is not known.
    Failed(AttemptError),
}

/// Why a try brought nothing.
#[derive(Debug, Default, Error)]
#[error("{reason}")]
pub struct AttemptError {
    /// For the log and the client; without addresses' credentials.
    pub reason: String,
    /// The request may have been done all the same.
    pub in_doubt: bool,
    /// There was no answer in time.
    pub is_late: bool,
    /// There was a whole answer, which cannot be believed.
    pub is_answer: bool,
}

impl Output {
    async fn attempt(
        &self,
        body: Bytes,
        slots: usize,
        passed: &Passed,
        until: Instant,
        metrics: &Metrics,
    ) -> Attempt {
        let target = match self {
            Self::Elasticsearch(_) => "elasticsearch",
            Self::File(_) => "file",
        };
        metrics.bulk_sent_bytes.with_label_values(&[target]).inc_by(body.len() as u64);
        let timer = metrics.bulk_request_duration.with_label_values(&[target]).start_timer();
        let attempt = match self {
            Self::Elasticsearch(output) => output.bulk(body, slots, passed, until).await,
            Self::File(output) => FileOutput::bulk(output, body, slots).await,
        };
        timer.observe_duration();
        count(&attempt, slots, target, metrics);
        attempt
    }

    /// Waits before another try: not longer than `at_least` when a node that failed works again.
    async fn recovery(&self, wait: Duration, at_least: Duration) {
        match self {
            Self::Elasticsearch(output) if !output.works() => {
                sleep(at_least).await;
                // Either it works again, or it is time to try.
                timeout(wait.saturating_sub(at_least), output.recovered()).await.ok();
            }
            _ => sleep(wait).await,
        }
    }
}

fn count(attempt: &Attempt, slots: usize, target: &str, metrics: &Metrics) {
    let code = match attempt {
        Attempt::Answered(..) => 200,
        Attempt::Refused(whole) => whole.status,
        Attempt::Failed(_) => 0,
    };
    metrics.bulk_requests.with_label_values(&[target, code.to_string().as_str()]).inc();
    let mut results = [("created", 0_u64), ("duplicate", 0), ("rejected", 0), ("retried", 0)];
    let [created, duplicate, rejected, retried] = &mut results;
    match attempt {
        Attempt::Answered(answer, _) => {
            for item in &answer.items {
                let result = match item.status {
                    200..300 => &mut *created,
                    409 => &mut *duplicate,
                    status if may_pass_later(status) => &mut *retried,
                    _ => &mut *rejected,
                };
                result.1 += 1;
            }
        }
        Attempt::Refused(whole) if !may_pass_later(whole.status) => rejected.1 = slots as u64,
        Attempt::Refused(_) | Attempt::Failed(_) => retried.1 = slots as u64,
    }
    for (result, count) in results {
        metrics.bulk_items.with_label_values(&[target, result]).inc_by(count);
    }
}

/// 429 and 5xx say that the same may pass later; other errors will not pass by themselves.
pub(crate) fn may_pass_later(status: u16) -> bool {
    status == 429 || (500..600).contains(&status)
}

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use hyper::{
    HeaderMap, Method,
    header::{self, HeaderName, HeaderValue},
};
use reqwest::{Client, Response, Url};
use tokio::time::{Instant, timeout_at};

use super::{Attempt, AttemptError, ElasticsearchSettings, Passed, SettingsError, Whole, client};
use crate::bulk::BulkAnswer;

/// Largest answer to a bulk request that is read (bytes). An item's answer has about 200 bytes, its error at
/// most a few thousand.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// A cluster, by one or more of its nodes.
#[derive(Debug)]
pub struct Elasticsearch {
    client: Client,
    urls: Vec<Url>,
    authorization: Option<HeaderValue>,
    request_timeout: Duration,
    /// The node that is asked next. A node that failed is left for the following one.
    next: AtomicUsize,
}

/// Headers that belong to one connection (RFC 9110, 7.6.1) and never to the next.
#[must_use]
pub fn hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "host"
            | "expect"
            | "content-length"
    )
}

impl Elasticsearch {
    /// Makes the client. Nothing is asked of the cluster yet: it may be down while we start.
    pub fn new(settings: &ElasticsearchSettings) -> Result<Self, SettingsError> {
        Ok(Self {
            client: client::build(settings)?,
            urls: settings.urls.clone(),
            authorization: settings
                .credentials
                .as_ref()
                .map(client::Credentials::header)
                .transpose()?,
            request_timeout: settings.request_timeout,
            next: AtomicUsize::new(0),
        })
    }

    /// The address of a node for a path and a query.
    fn url(&self, path_and_query: &str) -> Option<Url> {
        let index = self.next.load(Ordering::Relaxed) % self.urls.len().max(1);
        let node = self.urls.get(index)?;
        let base = node.as_str().trim_end_matches('/');
        Url::parse(&format!("{base}{path_and_query}")).ok()
    }

    fn leave_node(&self) {
        self.next.fetch_add(1, Ordering::Relaxed);
    }

    /// Sends a bulk body once.
    pub(super) async fn bulk(
        &self,
        body: Bytes,
        slots: usize,
        passed: &Passed,
        until: Instant,
    ) -> Attempt {
        let until = until.min(Instant::now() + self.request_timeout);
        let result = timeout_at(until, self.ask(body, slots, passed)).await;
        let attempt = result.unwrap_or_else(|_elapsed| {
            Attempt::Failed(AttemptError { reason: "Elasticsearch did not answer in time".into() })
        });
        if matches!(&attempt, Attempt::Failed(_))
            || matches!(&attempt, Attempt::Refused(it) if it.status >= 500)
        {
            self.leave_node();
        }
        attempt
    }

    async fn ask(&self, body: Bytes, slots: usize, passed: &Passed) -> Attempt {
        let query =
            if passed.query.is_empty() { String::new() } else { format!("?{}", passed.query) };
        let response = match self
            .send(
                Method::POST,
                &format!("/_bulk{query}"),
                passed.headers.clone(),
                Some(body.into()),
            )
            .await
        {
            Ok(response) => response,
            Err(error) => return Attempt::Failed(error),
        };
        let status = response.status().as_u16();
        let retry_after_s = response
            .headers()
            .get(header::RETRY_AFTER)
            .and_then(|it| it.to_str().ok()?.trim().parse().ok());
        let body = match read(response).await {
            Ok(body) => body,
            Err(error) => return Attempt::Failed(error),
        };
        if status < 400 && status != 200 {
            // Something between us and Elasticsearch answered. What became of the items is not known.
            let reason = format!("Elasticsearch answered a bulk request with status {status}");
            return Attempt::Failed(AttemptError { reason });
        }
        if status != 200 {
            return Attempt::Refused(Whole { status, body, retry_after_s });
        }
        match BulkAnswer::parse(&body, slots) {
            Ok(answer) => Attempt::Answered(answer),
            Err(error) => Attempt::Failed(AttemptError {
                reason: format!("Elasticsearch gave no usable answer: {error}"),
            }),
        }
    }

    /// Sends any request to the cluster. `path_and_query` starts with a slash.
    pub async fn send(
        &self,
        method: Method,
        path_and_query: &str,
        mut headers: HeaderMap,
        body: Option<reqwest::Body>,
    ) -> Result<Response, AttemptError> {
        let url = self
            .url(path_and_query)
            .ok_or_else(|| AttemptError { reason: "the path is no URL".into() })?;
        if let Some(authorization) = &self.authorization {
            headers.insert(header::AUTHORIZATION, authorization.clone());
        }
        let mut request = self.client.request(method, url).headers(headers);
        if let Some(body) = body {
            request = request.body(body);
        }
        request.send().await.map_err(|error| failed(&error))
    }

    /// As [`Self::send`], for requests that are passed through: within the time limit to the answer's head.
    pub async fn pass(
        &self,
        method: Method,
        path_and_query: &str,
        headers: HeaderMap,
        body: Option<reqwest::Body>,
    ) -> Result<Response, AttemptError> {
        let asked = self.send(method, path_and_query, headers, body);
        let result =
            tokio::time::timeout(self.request_timeout, asked).await.unwrap_or_else(|_elapsed| {
                Err(AttemptError { reason: "Elasticsearch did not answer in time".into() })
            });
        if result.is_err() {
            self.leave_node();
        }
        result
    }
}

async fn read(mut response: Response) -> Result<Bytes, AttemptError> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| failed(&error))? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(AttemptError {
                reason: format!("Elasticsearch's answer is larger than {ANSWER_BYTES_MAX} bytes"),
            });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// Says what failed, down to the cause, without the URL: it may hold a password.
fn failed(error: &reqwest::Error) -> AttemptError {
    let mut reason = String::from(if error.is_connect() {
        "Elasticsearch cannot be reached"
    } else if error.is_timeout() {
        "Elasticsearch did not answer in time"
    } else {
        "the connection to Elasticsearch failed"
    });
    let mut source = std::error::Error::source(error);
    let mut last = String::new();
    while let Some(cause) = source {
        last = cause.to_string();
        source = cause.source();
    }
    if !last.is_empty() {
        reason.push_str(": ");
        reason.push_str(&last);
    }
    AttemptError { reason }
}

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::{
    HeaderMap, Method,
    header::{self, HeaderValue},
};
use reqwest::Response;
use serde_json::Value;

use super::{Options, SetupError, engine::Engine};
use crate::{
    config::{Config, OutputConfig},
    forward::{Credentials, Elasticsearch, Secret},
};

/// Largest answer that is read (bytes): a template has some 30 KB.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// Longest wait for an answer to come whole.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest reason that is shown (characters).
const REASON_CHARS_MAX: usize = 300;

/// The cluster that is set up.
#[derive(Debug)]
pub(super) struct Target {
    output: Elasticsearch,
    /// Without credentials.
    pub(super) url: String,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Value,
    told: String,
}

impl Answer {
    pub(super) fn is_good(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Why it is no good one.
    pub(super) fn reason(&self) -> String {
        format!("{}: {}", self.status, self.told)
    }

    /// Whether the cluster has no such request: seen with Elasticsearch 8.19.21 and OpenSearch 3.6.0 without the
    /// modules that have it.
    pub(super) fn is_unknown_request(&self) -> bool {
        let is_told = self.told.contains("no handler found");
        self.status == 405 || self.status == 400 && is_told
    }
}

impl Target {
    pub(super) fn new(config: &Config, options: &Options) -> Result<Self, SetupError> {
        let OutputConfig::Elasticsearch(settings) = &config.output else {
            return Err(SetupError::Settings(
                "output: a folder needs no templates; name a cluster in the configuration, or with --output URL".into(),
            ));
        };
        let mut settings = settings.clone();
        if let Some(written) = &options.api_key {
            settings.credentials = Some(Credentials::ApiKey(secret(written)?));
        }
        let ca_file = options.ca_file.is_some();
        settings.ca_file = options.ca_file.clone().or(settings.ca_file);
        let output = Elasticsearch::new(&settings, config.backoff).map_err(|error| {
            let text = error.to_string();
            let text =
                if ca_file { text.replace("elasticsearch.ca_file", "--ca-file") } else { text };
            SetupError::Settings(text)
        })?;
        let url = settings.urls.first().map(ToString::to_string).unwrap_or_default();
        Ok(Self { output, url: url.trim_end_matches('/').to_owned() })
    }

    /// What it is.
    pub(super) async fn engine(&self) -> Result<Engine, SetupError> {
        let answer = self.ask(Method::GET, "/", None).await?;
        let url = &self.url;
        if !answer.is_good() {
            return Err(SetupError::Failed(format!(
                "{url}: GET / is answered {}",
                answer.reason()
            )));
        }
        let engine = Engine::read(&answer.body).ok_or_else(|| {
            SetupError::Failed(format!(
                "{url}: GET / does not say which Elasticsearch or OpenSearch it is; --engine says it instead"
            ))
        })?;
        engine.known().map_err(|reason| SetupError::Failed(format!("{url}: {reason}")))
    }

    /// Asks. An error only where there is no answer: then there will be none to what follows.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, SetupError> {
        let mut headers = HeaderMap::new();
        if body.is_some() {
            let json = HeaderValue::from_static("application/json");
            headers.insert(header::CONTENT_TYPE, json);
        }
        let sent = body.map(|it| it.to_string().into());
        let failed =
            |reason: String| SetupError::Failed(reason.replacen("Elasticsearch", &self.url, 1));
        let answer = self.output.pass(method, path, headers, sent).await;
        let answer = answer.map_err(|error| failed(error.to_string()))?;
        let status = answer.status().as_u16();
        let bytes = tokio::time::timeout(ANSWER_TIMEOUT, read(answer))
            .await
            .unwrap_or_else(|_elapsed| Err("Elasticsearch did not answer in time".into()))
            .map_err(failed)?;
        let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let told = match reason(&body) {
            Some(told) => told,
            None => String::from_utf8_lossy(&bytes).into_owned(),
        };
        let mut shown: String = told.trim().chars().take(REASON_CHARS_MAX).collect();
        if shown.len() < told.trim().len() {
            shown.push('…');
        }
        Ok(Answer { status, body, told: shown })
    }
}

/// What an error says: its reason, and that of the innermost cause, which names what is wrong with a template.
fn reason(body: &Value) -> Option<String> {
    let error = body.get("error")?;
    if let Some(text) = error.as_str() {
        return Some(text.to_owned());
    }
    let text = |it: &Value| it.get("reason").and_then(Value::as_str).map(str::to_owned);
    let mut innermost = error;
    while let Some(cause) = innermost.get("caused_by") {
        innermost = cause;
    }
    let (outer, inner) = (text(error)?, text(innermost)?);
    Some(if outer == inner { outer } else { format!("{outer}: {inner}") })
}

async fn read(mut answer: Response) -> Result<Bytes, String> {
    let mut body = BytesMut::new();
    loop {
        match answer.chunk().await {
            Ok(None) => return Ok(body.freeze()),
            Ok(Some(chunk)) if body.len() + chunk.len() > ANSWER_BYTES_MAX => {
                return Err("Elasticsearch answers with more than 16 MiB".into());
            }
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            // Its text would show the URL.
            Err(_cut) => return Err("Elasticsearch broke its answer off".into()),
        }
    }
}

fn secret(written: &str) -> Result<Secret, SetupError> {
    if let Some(name) = written.strip_prefix("env:") {
        return std::env::var(name).map(Secret::new).map_err(|_absent| {
            SetupError::Settings(format!("--api-key: the environment has no variable {name}"))
        });
    }
    Ok(match written.strip_prefix("file:") {
        Some(path) => Secret::file(path.into()),
        None => Secret::new(written.to_owned()),
    })
}

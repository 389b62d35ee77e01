use std::{env, path::PathBuf, time::Duration};

use bytes::{Bytes, BytesMut};
use hyper::{
    HeaderMap, Method,
    header::{self, HeaderValue},
};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use reqwest::{Response, Url};

use super::{
    DeadLetterError,
    letter::{Letter, cut},
};
use crate::{
    bulk::{AnswerItem, BulkAnswer},
    config::{Config, OutputConfig},
    forward::{Credentials, Elasticsearch, ElasticsearchSettings, Secret},
};

/// Largest answer to a bulk request that is read (bytes): 500 items with long reasons are far below.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for an answer. A k8scop tries its output for `limits.request_deadline_s`, 30 by default.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(90);
/// Waits before a request that found the other side busy or away is sent again.
pub(super) const WAITS: [Duration; 3] =
    [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];

/// Where letters are sent.
#[derive(Clone, Default)]
pub struct TargetOptions {
    /// URL, perhaps with user and password; the address of the configuration, if there is none.
    pub url: Option<String>,
    /// `env:NAME`, `file:PATH`, or the key.
    pub api_key: Option<String>,
    /// Certificates of authorities to trust besides the system's (PEM).
    pub ca_file: Option<PathBuf>,
}

/// Without the URL and the key, which may be secret.
impl std::fmt::Debug for TargetOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TargetOptions").finish_non_exhaustive()
    }
}

/// What takes letters: a k8scop, or what else speaks the bulk protocol.
#[derive(Debug)]
pub(super) struct Target {
    /// Without credentials.
    url: String,
    output: Elasticsearch,
}

/// What a request brought.
#[derive(Debug)]
pub(super) enum Heard {
    /// An answer for each item.
    Items(Vec<AnswerItem>),
    /// The request is refused for what is in it.
    Refused(AnswerItem),
    /// No request is taken now.
    Stopped(String),
}

impl Target {
    pub(super) fn new(config: &Config, options: &TargetOptions) -> Result<Self, DeadLetterError> {
        let text = match &options.url {
            Some(text) => text.clone(),
            None => own(config)?,
        };
        let mut url = Url::parse(&text)
            .ok()
            .filter(|it| matches!(it.scheme(), "http" | "https") && it.has_host())
            // The text is not shown: it may hold a password.
            .ok_or_else(|| wrong("--to: needs http://host:9250 or https://host:9250"))?;
        let part = |it: &str| percent_decode_str(it).decode_utf8_lossy().into_owned();
        let (username, password) = (part(url.username()), url.password().map(part));
        // Neither can fail for a URL with a host.
        url.set_username("").ok();
        url.set_password(None).ok();
        url.set_query(None);
        url.set_fragment(None);
        let credentials = match (&options.api_key, username.is_empty()) {
            (Some(_), false) => return Err(wrong("give either --api-key or a user in --to")),
            (Some(written), true) => Some(Credentials::ApiKey(secret(written)?)),
            (None, false) => {
                let password = Secret::new(password.unwrap_or_default());
                Some(Credentials::Basic { username, password })
            }
            (None, true) => None,
        };
        let mut settings = match output(config, &url) {
            Some(settings) => ElasticsearchSettings { urls: vec![url.clone()], ..settings.clone() },
            // The credentials of the configuration are for the output only.
            None => ElasticsearchSettings {
                urls: vec![url.clone()],
                credentials: None,
                ca_file: None,
                client_cert: None,
                connect_timeout: CONNECT_TIMEOUT,
                request_timeout: REQUEST_TIMEOUT,
                compression_level: 0,
            },
        };
        settings.credentials = credentials.or(settings.credentials);
        let ca_file = options.ca_file.is_some();
        settings.ca_file = options.ca_file.clone().or(settings.ca_file);
        let output = Elasticsearch::new(&settings, config.backoff).map_err(|error| {
            let text = error.to_string();
            wrong(&if ca_file { text.replace("elasticsearch.ca_file", "--ca-file") } else { text })
        })?;
        Ok(Self { url: url.as_str().trim_end_matches('/').to_owned(), output })
    }

    /// Where letters of this path go, for people.
    pub(super) fn shown(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// Sends letters in one request, again if that can help.
    pub(super) async fn send(&self, path: &str, letters: &[Letter]) -> Heard {
        let mut body = BytesMut::new();
        for letter in letters {
            body.extend_from_slice(&letter.lines);
            if !letter.lines.ends_with(b"\n") {
                body.extend_from_slice(b"\n");
            }
        }
        let (body, mut waits) = (body.freeze(), WAITS.into_iter());
        let mut first = None;
        loop {
            let stopped = match self.ask(path, body.clone(), letters.len()).await {
                Ok(heard) => return heard,
                Err(stopped) => stopped,
            };
            let may_pass = stopped.may_pass;
            // Later ones may only say that a node which failed is left alone.
            let first = first.get_or_insert(stopped.reason);
            match waits.next().filter(|_| may_pass) {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return Heard::Stopped(cut(first, 500)),
            }
        }
    }

    async fn ask(&self, path: &str, body: Bytes, sent: usize) -> Result<Heard, Stop> {
        let answer = asked(&self.output, Method::POST, path, LINES, body, ANSWER_BYTES_MAX).await;
        let (status, body) = match answer {
            Ok((status, Some(body))) => (status, body),
            Ok((_, None)) => return Err(self.stop(false, "its answer is too large")),
            // All that `forward` says of it begins with, or has, this name.
            Err(reason) => {
                let reason = reason.replacen("Elasticsearch", &self.url, 1);
                return Err(Stop { may_pass: true, reason });
            }
        };
        match status {
            200 => match BulkAnswer::parse(&body, sent) {
                Ok(answer) => Ok(Heard::Items(answer.items)),
                Err(error) => Err(self.stop(false, &error.to_string())),
            },
            400 | 413 => Ok(Heard::Refused(AnswerItem::told(status, &body))),
            _ => {
                let told = AnswerItem::told(status, &body).error();
                let may_pass = matches!(status, 429 | 502..=504);
                Err(self.stop(may_pass, &format!("it answers {status}: {told}")))
            }
        }
    }

    fn stop(&self, may_pass: bool, reason: &str) -> Stop {
        Stop { may_pass, reason: format!("{}: {reason}", self.url) }
    }
}

struct Stop {
    /// Another try can help.
    may_pass: bool,
    reason: String,
}

const LINES: &str = "application/x-ndjson";

/// Asks, and reads the answer within the time and the size that are allowed for it; `None` if it is larger.
pub(super) async fn asked(
    output: &Elasticsearch,
    method: Method,
    path: &str,
    media: &'static str,
    body: Bytes,
    bytes_max: usize,
) -> Result<(u16, Option<Bytes>), String> {
    let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(media))]);
    let answer = output.pass(method, path, headers, Some(body.into())).await;
    let answer = answer.map_err(|error| error.to_string())?;
    let status = answer.status().as_u16();
    tokio::time::timeout(REQUEST_TIMEOUT, read(answer, bytes_max))
        .await
        .unwrap_or_else(|_elapsed| Err("Elasticsearch did not answer in time".into()))
        .map(|body| (status, body))
}

async fn read(mut answer: Response, bytes_max: usize) -> Result<Option<Bytes>, String> {
    let mut body = BytesMut::new();
    loop {
        match answer.chunk().await {
            Ok(None) => return Ok(Some(body.freeze())),
            Ok(Some(chunk)) if body.len() + chunk.len() > bytes_max => return Ok(None),
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            // Its text would show the URL.
            Err(_cut) => return Err("Elasticsearch broke its answer off".into()),
        }
    }
}

/// The path to which a letter goes, with its parameters.
pub(super) fn path(letter: &Letter) -> String {
    let mut path = String::new();
    if let Some(index) = &letter.default_index {
        path.push('/');
        path.extend(utf8_percent_encode(index, NON_ALPHANUMERIC));
    }
    path.push_str("/_bulk");
    if let Some(parameters) = &letter.parameters {
        path.push('?');
        // They are encoded already; what is not is no parameter of ours.
        path.extend(parameters.chars().filter(|it| it.is_ascii_graphic() && *it != '#'));
    }
    path
}

/// The address of the configured server.
fn own(config: &Config) -> Result<String, DeadLetterError> {
    let mut address = config.listen;
    if address.port() == 0 {
        return Err(wrong("--to: is needed, because `listen` names no port"));
    }
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() {
            std::net::Ipv4Addr::LOCALHOST.into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        });
    }
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    Ok(format!("{scheme}://{address}"))
}

/// How the output is reached, if it is what is sent to.
fn output<'c>(config: &'c Config, url: &Url) -> Option<&'c ElasticsearchSettings> {
    match &config.output {
        OutputConfig::Elasticsearch(settings) => settings.urls.contains(url).then_some(settings),
        OutputConfig::File(_) => None,
    }
}

fn secret(written: &str) -> Result<Secret, DeadLetterError> {
    if let Some(name) = written.strip_prefix("env:") {
        return env::var(name).map(Secret::new).map_err(|_absent| {
            wrong(&format!("--api-key: the environment has no variable {name}"))
        });
    }
    Ok(match written.strip_prefix("file:") {
        Some(path) => Secret::file(path.into()),
        None => Secret::new(written.to_owned()),
    })
}

fn wrong(reason: &str) -> DeadLetterError {
    DeadLetterError::Settings(reason.to_owned())
}

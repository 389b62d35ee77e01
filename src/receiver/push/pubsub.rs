use std::{
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use hyper::{
    HeaderMap,
    header::{self, HeaderName},
};
use jiff::Timestamp;
use reqwest::{Client, Url, redirect::Policy};
use tokio::sync::Mutex;

use super::{
    super::{auth::BASE64, respond::refusal},
    Unknown,
    jwt::{self, Expected, Keys, Refused},
    lines::{self, Lines},
};
use crate::{
    bulk::Refusal,
    json::{self, Kind},
    pem,
    prepare::hashed,
};

// Forms are those of "Push subscriptions", "Payload unwrapping" and "Authentication for push subscriptions" (Google
// Cloud Pub/Sub).

/// Where a request without wrapper says which message it is, if the subscription writes metadata.
const MESSAGE_ID: HeaderName = HeaderName::from_static("x-goog-pubsub-message-id");
/// And of which subscription.
const SUBSCRIPTION: HeaderName = HeaderName::from_static("x-goog-pubsub-subscription-name");

/// Turns a Pub/Sub push into a bulk body: one document, the message's data. It is a JSON object, as Cloud Logging
/// writes them, or it stands as text in `message`. The `_id` is made of subscription and message id.
///
/// The data is the body itself where the subscription has payload unwrapping enabled.
pub(super) fn translate(
    body: &[u8],
    headers: &HeaderMap,
    cluster: Option<&str>,
    lines: &mut Lines,
) -> Result<(), Refusal> {
    if let Some((message, subscription)) = wrapped(body) {
        let text = |name| json::get(message, name).and_then(json::string);
        let message_id = text("messageId").or_else(|| text("message_id")).unwrap_or_default();
        // Without an id all would be one.
        let id = (!message_id.is_empty()).then(|| hashed(&["pubsub", &subscription, &message_id]));
        let id = id.as_deref();
        let data = text("data").unwrap_or_default();
        if data.is_empty() {
            // A message has data or attributes.
            return match json::get(message, "attributes") {
                Some(attributes) => lines.message(id, attributes, cluster),
                None => Ok(()),
            };
        }
        let Ok(data) = BASE64.decode(data.as_bytes()) else {
            let reason = "the data of the message is no base64".into();
            return Err(refusal(400, "illegal_argument_exception", reason));
        };
        return document(&data, id, cluster, lines);
    }
    let told = |name| headers.get(name).and_then(|it: &header::HeaderValue| it.to_str().ok());
    let id = told(MESSAGE_ID)
        .map(|message_id| hashed(&["pubsub", told(SUBSCRIPTION).unwrap_or_default(), message_id]));
    document(body, id.as_deref(), cluster, lines)
}

/// The message of a request with wrapper, and its subscription.
fn wrapped(body: &[u8]) -> Option<(&str, String)> {
    let push = lines::object(body, "push").ok()?;
    let subscription = json::string(json::member(&push, "subscription")?)?;
    let message = json::member(&push, "message").filter(|it| json::kind(it) == Kind::Object)?;
    let has_id = json::members(message).any(|it| it.is("messageId") || it.is("message_id"));
    has_id.then(|| (message, subscription.into_owned()))
}

fn document(
    data: &[u8],
    id: Option<&str>,
    cluster: Option<&str>,
    lines: &mut Lines,
) -> Result<(), Refusal> {
    if data.trim_ascii().is_empty() {
        return Ok(());
    }
    match std::str::from_utf8(data) {
        Ok(text) => match json::check(text, json::DEPTH_MAX) {
            Ok(Kind::Object) => lines.object(id, text.trim(), cluster),
            _ => lines.message(id, text.trim_end(), cluster),
        },
        Err(_bytes) => {
            let reason = "the data of a Pub/Sub message is no UTF-8";
            lines.broken(id, &STANDARD.encode(data), reason, cluster)
        }
    }
}

/// Which tokens Pub/Sub shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PubsubSettings {
    /// `aud`: the audience of the subscription.
    pub audience: String,
    /// `email`: its service account.
    pub email: String,
    /// Where the keys are: `file:PATH` or a URL.
    pub jwks: String,
}

impl PubsubSettings {
    /// The file with the keys, if they are in one.
    pub(super) fn path(&self) -> Option<PathBuf> {
        self.jwks.strip_prefix("file:").map(PathBuf::from)
    }
}

/// Least time between two requests for keys.
const REFRESH_EVERY: Duration = Duration::from_secs(60);
/// Keys older than this are asked for again, so that one that is withdrawn is forgotten.
const KEYS_AGE_MAX: Duration = Duration::from_secs(6 * 60 * 60);
/// Longest wait for keys. Pub/Sub waits 10 s for an answer by default.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest document with keys (bytes). Google's has about 1.5 kB.
const KEYS_BYTES_MAX: usize = 256 << 10;

/// Checks the tokens of Pub/Sub. Keys from a file are read again when it changes; keys from a URL, when a token names
/// one that is not known, at most once a minute.
#[derive(Debug)]
pub(super) struct Tokens {
    settings: PubsubSettings,
    keys: RwLock<Arc<Keys>>,
    remote: Option<Remote>,
}

#[derive(Debug)]
struct Remote {
    url: Url,
    client: Client,
    /// Held by whoever fetches.
    fetched: Mutex<Fetched>,
}

#[derive(Debug, Default)]
struct Fetched {
    tried: Option<Instant>,
    succeeded: Option<Instant>,
}

impl Tokens {
    pub(super) fn new(settings: PubsubSettings) -> Result<Self, String> {
        let mut tokens = Self { settings, keys: RwLock::default(), remote: None };
        if tokens.settings.path().is_some() {
            tokens.reload()?;
            return Ok(tokens);
        }
        let wrong = |error: String| format!("push.pubsub.jwks: {error}");
        let url = Url::parse(&tokens.settings.jwks).map_err(|error| wrong(error.to_string()))?;
        let mut builder = Client::builder().timeout(FETCH_TIMEOUT).redirect(Policy::none());
        if url.scheme() == "http" {
            // On loopback: no proxy stands before that.
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| wrong(error.to_string()))?;
        tokens.remote = Some(Remote { url, client, fetched: Mutex::default() });
        Ok(tokens)
    }

    /// Reads a file with keys again.
    pub(super) fn reload(&self) -> Result<(), String> {
        let Some(path) = self.settings.path() else { return Ok(()) };
        let wrong = |error: String| format!("push.pubsub.jwks: {}: {error}", path.display());
        let text = pem::read(&path).map_err(|error| wrong(error.to_string()))?;
        self.keep(Keys::parse(&text).map_err(|error| wrong(error.into()))?);
        Ok(())
    }

    fn keep(&self, keys: Keys) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
    }

    fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether the request has a good token.
    pub(super) async fn admit(&self, headers: &HeaderMap, now: Timestamp) -> Result<(), Unknown> {
        let mut all = headers.get_all(header::AUTHORIZATION).iter();
        let (first, None) = (all.next(), all.next()) else { return Err(Unknown::Malformed) };
        let text = first.ok_or(Unknown::Missing)?.to_str().map_err(|_bytes| Unknown::Malformed)?;
        let (scheme, token) = text.split_once(' ').ok_or(Unknown::Malformed)?;
        if !scheme.eq_ignore_ascii_case("Bearer") {
            return Err(Unknown::Malformed);
        }
        let PubsubSettings { audience, email, .. } = &self.settings;
        let expected = Expected { audience, email, now_s: now.as_second() };
        let check = || jwt::check(token.trim(), &self.keys(), &expected);
        let mut checked = check();
        let mut can_check = true;
        if let Some(remote) = &self.remote {
            let is_new = checked == Err(Refused::UnknownKey);
            // A token that is no good for other reasons makes nobody ask.
            if (checked.is_ok() || is_new) && remote.is_due(is_new).await {
                can_check = remote.refresh(self, is_new).await;
                checked = check();
            }
        }
        checked.map_err(|refused| match refused {
            Refused::Malformed => Unknown::Malformed,
            Refused::UnknownKey if !can_check || self.keys().is_empty() => Unknown::Unchecked,
            Refused::UnknownKey | Refused::Wrong => Unknown::Other,
        })
    }
}

impl Fetched {
    fn is_due(&self, is_new: bool) -> bool {
        let is_old = self.succeeded.is_none_or(|it| it.elapsed() > KEYS_AGE_MAX);
        (is_new || is_old) && self.tried.is_none_or(|it| it.elapsed() > REFRESH_EVERY)
    }
}

impl Remote {
    async fn is_due(&self, is_new: bool) -> bool {
        if is_new {
            return self.fetched.lock().await.is_due(true);
        }
        // A good token does not wait for the keys of others.
        self.fetched.try_lock().is_ok_and(|it| it.is_due(false))
    }

    /// Asks for the keys, unless another request has just done so. False if they cannot be had: the old ones stay.
    async fn refresh(&self, tokens: &Tokens, is_new: bool) -> bool {
        let mut fetched = self.fetched.lock().await;
        if !fetched.is_due(is_new) {
            return true;
        }
        fetched.tried = Some(Instant::now());
        match self.fetch().await {
            Ok(keys) => {
                tracing::info!(part = "push.pubsub.jwks", "keys were read");
                tokens.keep(keys);
                fetched.succeeded = fetched.tried;
                true
            }
            Err(error) => {
                tracing::warn!(%error, "push.pubsub.jwks cannot be read: tokens with new keys are refused");
                false
            }
        }
    }

    async fn fetch(&self) -> Result<Keys, String> {
        let told = |error: reqwest::Error| error.without_url().to_string();
        let mut answer = self.client.get(self.url.clone()).send().await.map_err(told)?;
        if answer.status() != reqwest::StatusCode::OK {
            return Err(format!("status {}", answer.status().as_u16()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(told)? {
            body.extend_from_slice(&chunk);
            if body.len() > KEYS_BYTES_MAX {
                return Err(format!("it has more than {KEYS_BYTES_MAX} bytes"));
            }
        }
        Keys::parse(&body).map_err(str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;
    use proptest::prelude::*;

    use super::{super::lines::tests::lines, *};

    fn translated(body: &[u8], headers: &HeaderMap) -> Result<Vec<String>, Refusal> {
        let mut lines = lines();
        translate(body, headers, Some("c"), &mut lines)?;
        Ok(lines.end().0.lines().map(str::to_owned).collect())
    }

    fn push(message: &str) -> String {
        format!(r#"{{"message":{message},"subscription":"projects/p/subscriptions/s"}}"#)
    }

    fn data(text: &[u8], id: &str) -> String {
        let data = STANDARD.encode(text);
        push(&format!(
            r#"{{"data":"{data}","messageId":"{id}","message_id":"{id}","attributes":{{}}}}"#
        ))
    }

    #[test]
    fn wrapped_messages() {
        let none = HeaderMap::new();
        let one = |body: &str| {
            let lines = translated(body.as_bytes(), &none).unwrap();
            let [action, document] = lines.as_slice() else { panic!("{lines:?}") };
            (action.clone(), document.clone())
        };
        let (id, document) = one(&data(b" {\"insertId\":\n\"i\"}\n", "1"));
        assert_eq!(document, r#"{"insertId": "i","orchestrator":{"cluster":{"name":"c"}}}"#);
        assert_eq!(one(&data(b"{}", "1")).0, id, "the same message");
        assert_ne!(one(&data(b"{}", "2")).0, id);
        for none in [data(b"{}", ""), push(r#"{"data":"e30=","messageId":7}"#)] {
            assert_eq!(one(&none).0, r#"{"create":{}}"#, "{none}");
        }
        let (_, document) = one(&data(b"text\n", "1"));
        assert_eq!(document, r#"{"message":"text","orchestrator":{"cluster":{"name":"c"}}}"#);
        let (_, document) = one(&data(b"[1]", "1"));
        assert!(document.starts_with(r#"{"message":"[1]","#), "{document}");
        let (_, document) = one(&data(b"\xff", "1"));
        assert!(document.contains("no UTF-8") && document.contains("\"/w==\""), "{document}");
        let (_, document) = one(&push(r#"{"messageId":"1","attributes":{"a":"b"}}"#));
        assert!(document.starts_with(r#"{"message":"{\"a\":\"b\"}","#), "{document}");
        assert!(translated(push(r#"{"messageId":"1"}"#).as_bytes(), &none).unwrap().is_empty());
        let wrong = push(r#"{"messageId":"1","data":"!"}"#);
        assert_eq!(translated(wrong.as_bytes(), &none).unwrap_err().status, 400);
    }

    #[test]
    fn messages_without_wrapper() {
        let mut headers = HeaderMap::new();
        let event = br#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","auditID":"a"}"#;
        let lines = translated(event, &headers).unwrap();
        assert_eq!(lines[0], r#"{"create":{}}"#);
        assert!(lines[1].starts_with(r#"{"kind":"Event","#), "{lines:?}");
        headers.insert(MESSAGE_ID, HeaderValue::from_static("1"));
        headers.insert(SUBSCRIPTION, HeaderValue::from_static("projects/p/subscriptions/s"));
        let lines = translated(event, &headers).unwrap();
        assert_eq!(lines[0], translated(data(event, "1").as_bytes(), &headers).unwrap()[0]);
        assert!(translated(b" \n", &headers).unwrap().is_empty());
        // Other JSON with a message is no wrapper.
        let log = br#"{"message":{"text":1},"subscription":"x"}"#;
        assert!(translated(log, &headers).unwrap()[1].starts_with(r#"{"message":{"text":1},"#));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever it is, it is one document on one line, or nothing.
        #[test]
        fn any_bytes(body in any::<Vec<u8>>()) {
            for body in [body.clone(), data(&body, "1").into_bytes()] {
                let lines = translated(&body, &HeaderMap::new()).unwrap();
                prop_assert!(lines.len() == 2 || lines.is_empty());
                for line in lines {
                    prop_assert_eq!(json::check(&line, 100), Ok(Kind::Object), "{}", line);
                }
            }
        }
    }
}

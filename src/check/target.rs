//! The target: how it is reached, and what comes back from it.

use std::{
    env, fs,
    io::Read,
    path::PathBuf,
    time::{Duration, Instant},
};

use reqwest::{
    Certificate, Client, Method, Url,
    header::{AUTHORIZATION, CONTENT_ENCODING, HeaderMap, HeaderName, HeaderValue},
    redirect::Policy,
};
use serde_json::Value;

use super::CheckError;

/// Longest answer that is read (bytes).
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// How the target is reached.
#[derive(Debug)]
pub(super) struct Target {
    base: String,
    url: Url,
    client: Client,
    timeout: Duration,
}

/// An answer, with its body as a client sees it.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    pub(super) json: Option<Value>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Nothing came in time.
    Hang(Duration),
    /// The connection could not be made, or ended without an answer.
    Ended(String),
    /// The answer came and cannot be looked into.
    Unreadable(String),
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The type of its error, as Elasticsearch names it. The reason is never shown: it may repeat what was sent.
    pub(super) fn error_type(&self) -> &str {
        let error = self.json.as_ref().and_then(|it| it.pointer("/error/type"));
        let text = error.and_then(Value::as_str).unwrap_or_default();
        let is_name = text.len() <= 80
            && text.bytes().all(|it| it.is_ascii_alphanumeric() || b"_-.".contains(&it));
        if is_name { text } else { "" }
    }
}

impl Target {
    pub(super) fn new(options: &super::Options) -> Result<Self, CheckError> {
        // Fails only where another part of the process has chosen already.
        rustls::crypto::ring::default_provider().install_default().ok();
        let mut url = Url::parse(&options.url)
            .ok()
            .filter(|it| matches!(it.scheme(), "http" | "https") && it.has_host())
            // The text is not shown: it may hold a password.
            .ok_or_else(|| usage("the URL must be like http://host:9200 or https://host:9200"))?;
        let part =
            |it: &str| percent_encoding::percent_decode_str(it).decode_utf8_lossy().into_owned();
        let (username, password) = (part(url.username()), url.password().map(part));
        // Neither can fail for a URL with a host.
        url.set_username("").ok();
        url.set_password(None).ok();
        url.set_query(None);
        url.set_fragment(None);
        let mut headers = HeaderMap::new();
        match (&options.api_key, username.is_empty()) {
            (Some(_), false) => return Err(usage("give either --api-key or a user in the URL")),
            (Some(written), true) => {
                headers.insert(AUTHORIZATION, api_key(&resolve(written)?)?);
            }
            (None, false) => {
                headers.insert(AUTHORIZATION, basic(&username, password.as_deref())?);
            }
            (None, true) => {}
        }
        let mut builder = Client::builder()
            .connect_timeout(options.timeout)
            .timeout(options.timeout)
            .redirect(Policy::none())
            .no_proxy()
            .tcp_nodelay(true)
            .http1_only()
            .default_headers(headers)
            .tls_danger_accept_invalid_certs(options.insecure);
        if let Some(path) = &options.ca_file {
            builder = builder.tls_certs_merge(certificates(path)?);
        }
        let client = builder.build().map_err(|error| usage(&format!("{error}")))?;
        let base = url.as_str().trim_end_matches('/').to_owned();
        Ok(Self { base, url, client, timeout: options.timeout })
    }

    /// The URL, without credentials.
    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    pub(super) async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, String)],
        body: Vec<u8>,
    ) -> Result<Answer, Trouble> {
        let method = Method::from_bytes(method.as_bytes()).unwrap_or(Method::GET);
        let mut request = self.client.request(method.clone(), format!("{}{path}", self.base));
        for (name, value) in headers {
            if let (Ok(name), Ok(value)) =
                (HeaderName::try_from(*name), HeaderValue::try_from(value.as_str()))
            {
                request = request.header(name, value);
            }
        }
        if !body.is_empty() || !matches!(method, Method::GET | Method::HEAD) {
            request = request.body(body);
        }
        let started = Instant::now();
        let mut response = request.send().await.map_err(|error| self.trouble(&error, started))?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let mut body = Vec::new();
        while let Some(chunk) =
            response.chunk().await.map_err(|error| self.trouble(&error, started))?
        {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(too_long());
            }
            body.extend_from_slice(&chunk);
        }
        match headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes) {
            None | Some(b"" | b"identity") => {}
            Some(_) if body.is_empty() => {}
            Some(b"gzip") => body = inflated(&body, ANSWER_BYTES_MAX)?,
            Some(_) => {
                return Err(Trouble::Unreadable(format!("{status} in another encoding than gzip")));
            }
        }
        let json = serde_json::from_slice(&body).ok();
        Ok(Answer { status, headers, body, json })
    }

    fn trouble(&self, error: &reqwest::Error, started: Instant) -> Trouble {
        if error.is_timeout() || started.elapsed() >= self.timeout {
            return Trouble::Hang(self.timeout);
        }
        let mut cause: &dyn std::error::Error = error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        let what = if error.is_connect() {
            "cannot connect"
        } else {
            "the connection ended without a whole answer"
        };
        Trouble::Ended(format!("{what}: {cause}"))
    }
}

fn too_long() -> Trouble {
    Trouble::Unreadable(format!("an answer of more than {ANSWER_BYTES_MAX} bytes"))
}

fn inflated(body: &[u8], bytes_max: usize) -> Result<Vec<u8>, Trouble> {
    let mut out = Vec::new();
    // Capped by `take`: a small answer may inflate without end.
    let decoder = flate2::bufread::MultiGzDecoder::new(body);
    decoder.take(bytes_max as u64 + 1).read_to_end(&mut out).map_err(|error| {
        Trouble::Unreadable(format!("an answer that is no whole gzip: {error}"))
    })?;
    if out.len() > bytes_max { Err(too_long()) } else { Ok(out) }
}

fn usage(text: &str) -> CheckError {
    CheckError::Usage(text.to_owned())
}

/// A secret as it is typed: `env:NAME`, `file:PATH`, or the text itself. The error never holds the text.
fn resolve(written: &str) -> Result<String, CheckError> {
    if let Some(name) = written.strip_prefix("env:") {
        return env::var(name).map_err(|_absent| {
            usage(&format!("--api-key: the environment has no variable {name}"))
        });
    }
    if let Some(path) = written.strip_prefix("file:") {
        let text = fs::read_to_string(path)
            .map_err(|error| usage(&format!("--api-key: {path}: {error}")))?;
        return Ok(text.trim_end_matches(['\n', '\r']).to_owned());
    }
    Ok(written.to_owned())
}

/// The base64 form of an API key as it is, or `id:key`.
fn api_key(key: &str) -> Result<HeaderValue, CheckError> {
    let encoded = match key.split_once(':') {
        Some((id, key)) => {
            let basic = basic(id, Some(key))?;
            basic.to_str().unwrap_or_default().trim_start_matches("Basic ").to_owned()
        }
        None => key.to_owned(),
    };
    sensitive(&format!("ApiKey {encoded}"))
}

fn basic(username: &str, password: Option<&str>) -> Result<HeaderValue, CheckError> {
    let wrong = || usage("the credentials cannot stand in an HTTP header");
    let client = Client::builder().no_proxy().build().map_err(|_error| wrong())?;
    let request = client.get("http://localhost/").basic_auth(username, password).build();
    let header = request.ok().and_then(|mut it| it.headers_mut().remove(AUTHORIZATION));
    sensitive(header.ok_or_else(wrong)?.to_str().unwrap_or_default())
}

fn sensitive(text: &str) -> Result<HeaderValue, CheckError> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_invalid| usage("the credentials cannot stand in an HTTP header"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn certificates(path: &PathBuf) -> Result<Vec<Certificate>, CheckError> {
    let wrong = |reason: String| usage(&format!("--ca-file {}: {reason}", path.display()));
    let pem = fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let all = Certificate::from_pem_bundle(&pem).map_err(|error| wrong(error.to_string()))?;
    if all.is_empty() { Err(wrong("no certificate in PEM form".into())) } else { Ok(all) }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn answers_that_inflate_without_end_are_given_up() {
        let gzip = |len: usize| {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&vec![0; len]).unwrap();
            encoder.finish().unwrap()
        };
        assert_eq!(inflated(&gzip(100), 100).unwrap().len(), 100);
        assert!(inflated(&gzip(101), 100).is_err());
        assert!(inflated(&gzip(1 << 20), 100).is_err());
        assert!(inflated(b"no gzip", 100).is_err());
    }

    #[test]
    fn keys_as_they_are_handed_out() {
        rustls::crypto::ring::default_provider().install_default().ok();
        let header = |key: &str| api_key(key).unwrap().to_str().unwrap().to_owned();
        assert_eq!(header("id:key"), "ApiKey aWQ6a2V5");
        assert_eq!(header("aWQ6a2V5"), "ApiKey aWQ6a2V5");
        assert!(api_key("a\nb").is_err());
    }
}

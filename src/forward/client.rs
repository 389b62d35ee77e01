use std::{fmt, fs, path::PathBuf, time::Duration};

use hyper::header::HeaderValue;
use reqwest::{Certificate, Client, Url, redirect::Policy};
use thiserror::Error;

/// A text that is never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text` from being shown.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Who we are to Elasticsearch, instead of the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// The base64 form of an API key, as Elasticsearch hands it out in `encoded`, or `id:key`.
    ApiKey(Secret),
    /// Basic authentication.
    Basic {
        /// The user.
        username: String,
        /// Its password.
        password: Secret,
    },
}

impl Credentials {
    /// The `Authorization` header, marked so that no log shows it.
    pub(super) fn header(&self) -> Result<HeaderValue, SettingsError> {
        let text = match self {
            Self::ApiKey(key) if key.expose().contains(':') => {
                format!("ApiKey {}", base64(key.expose()))
            }
            Self::ApiKey(key) => format!("ApiKey {}", key.expose()),
            Self::Basic { username, password } => {
                format!("Basic {}", base64(&format!("{username}:{}", password.expose())))
            }
        };
        let mut header =
            HeaderValue::from_str(&text).map_err(|_invalid| SettingsError::Credentials)?;
        header.set_sensitive(true);
        Ok(header)
    }
}

fn base64(text: &str) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in text.as_bytes().chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let six = (bits >> (18 - 6 * place)) & 63;
            let sign = ALPHABET.get(six as usize).copied().unwrap_or(b'=');
            out.push(if place <= chunk.len() { char::from(sign) } else { '=' });
        }
    }
    out
}

/// How to reach Elasticsearch.
#[derive(Clone, Debug)]
pub struct ElasticsearchSettings {
    /// One URL a node: `https://es-1:9200`, with a path where a proxy wants one.
    pub urls: Vec<Url>,
    /// Ours; the client's own are passed on where there are none.
    pub credentials: Option<Credentials>,
    /// Certificates of the authorities to trust besides the system's (PEM).
    pub ca_file: Option<PathBuf>,
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// Longest wait for an answer.
    pub request_timeout: Duration,
}

/// Settings that cannot work.
#[derive(Debug, Error)]
pub enum SettingsError {
    /// The file with certificates.
    #[error("elasticsearch.ca_file {}: {source}", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: std::io::Error,
    },
    /// Its content.
    #[error("elasticsearch.ca_file {} holds no certificate in PEM form: {reason}", path.display())]
    CaText {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A line break in a key or a password.
    #[error("the credentials for Elasticsearch hold a character that no HTTP header can hold")]
    Credentials,
    /// The HTTP client.
    #[error("the HTTP client cannot be made: {0}")]
    Client(#[source] reqwest::Error),
}

/// Most idle connections to one node.
const IDLE_PER_NODE_MAX: usize = 64;
/// Idle connections are closed before Elasticsearch or a load balancer does (60 s is a common default).
const IDLE_TIMEOUT: Duration = Duration::from_secs(45);

/// The one HTTP client: with time limits, without redirects, proxies from the environment, or decompression.
pub(super) fn build(settings: &ElasticsearchSettings) -> Result<Client, SettingsError> {
    let mut builder = Client::builder()
        .connect_timeout(settings.connect_timeout)
        .pool_max_idle_per_host(IDLE_PER_NODE_MAX)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .tcp_nodelay(true)
        .redirect(Policy::none())
        .no_proxy();
    if let Some(path) = &settings.ca_file {
        let pem = fs::read(path)
            .map_err(|source| SettingsError::CaFile { path: path.clone(), source })?;
        let certificates = Certificate::from_pem_bundle(&pem).map_err(|error| {
            SettingsError::CaText { path: path.clone(), reason: error.to_string() }
        })?;
        if certificates.is_empty() {
            return Err(SettingsError::CaText {
                path: path.clone(),
                reason: "the file has none".into(),
            });
        }
        builder = builder.tls_certs_merge(certificates);
    }
    builder.build().map_err(SettingsError::Client)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers() {
        for (text, expected) in
            [("", ""), ("a", "YQ=="), ("ab", "YWI="), ("abc", "YWJj"), ("a:\u{ff}?", "YTrDvz8=")]
        {
            assert_eq!(base64(text), expected);
        }
        let key = |text: &str| Credentials::ApiKey(Secret::new(text.into())).header();
        assert_eq!(key("id:key").unwrap().to_str().unwrap(), "ApiKey aWQ6a2V5");
        assert_eq!(key("aWQ6a2V5").unwrap().to_str().unwrap(), "ApiKey aWQ6a2V5");
        assert!(key("a\nb").is_err());
        assert!(!format!("{:?}", key("aWQ6a2V5")).contains("aWQ6"));
        assert_eq!(format!("{:?}", Secret::new("x".into())), "***");
    }
}

use std::{fmt, path::PathBuf, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use hyper::header::HeaderValue;
use reqwest::{Certificate, Client, Identity, Url, redirect::Policy};
use thiserror::Error;

use crate::pem::{self, PemFile};

/// A text that is never shown, or the file in which it stands.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Source);

#[derive(Clone, PartialEq, Eq)]
enum Source {
    Text(String),
    File(PathBuf),
}

impl Secret {
    /// Keeps `text` from being shown.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Source::Text(text))
    }

    /// A secret that is read from a file whenever it is needed anew.
    #[must_use]
    pub fn file(path: PathBuf) -> Self {
        Self(Source::File(path))
    }

    /// The file, if it is in one.
    #[must_use]
    pub fn path(&self) -> Option<&PathBuf> {
        match &self.0 {
            Source::Text(_) => None,
            Source::File(path) => Some(path),
        }
    }

    /// The text, as it is now. The error never holds it.
    pub fn read(&self) -> Result<String, String> {
        match &self.0 {
            Source::Text(text) => Ok(text.clone()),
            Source::File(path) => {
                let wrong = |reason: String| format!("{}: {reason}", path.display());
                let text = pem::read(path).map_err(|error| wrong(error.to_string()))?;
                let text = String::from_utf8(text).map_err(|_hidden| wrong("no UTF-8".into()))?;
                Ok(text.trim_end_matches(['\n', '\r']).to_owned())
            }
        }
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
        let read = |secret: &Secret| secret.read().map_err(SettingsError::Secret);
        let text = match self {
            Self::ApiKey(key) => match read(key)? {
                key if key.contains(':') => format!("ApiKey {}", STANDARD.encode(&key)),
                key => format!("ApiKey {key}"),
            },
            Self::Basic { username, password } => {
                format!("Basic {}", STANDARD.encode(format!("{username}:{}", read(password)?)))
            }
        };
        let mut header =
            HeaderValue::from_str(&text).map_err(|_invalid| SettingsError::Credentials)?;
        header.set_sensitive(true);
        Ok(header)
    }
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
    /// The certificate that we show (PEM), and its key.
    pub client_cert: Option<ClientCert>,
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// Longest wait for an answer.
    pub request_timeout: Duration,
    /// How bulk requests are compressed (gzip): from 1 to 9; 0: not at all.
    pub compression_level: u32,
}

/// What we show to Elasticsearch (mTLS).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCert {
    /// The certificate, and those between it and its authority (PEM).
    pub cert_file: PathBuf,
    /// Its key (PEM).
    pub key_file: PathBuf,
}

impl ElasticsearchSettings {
    /// All files that are read.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let secret = match &self.credentials {
            Some(Credentials::ApiKey(secret) | Credentials::Basic { password: secret, .. }) => {
                secret.path()
            }
            None => None,
        };
        let client = self.client_cert.as_ref();
        [
            self.ca_file.as_ref(),
            client.map(|it| &it.cert_file),
            client.map(|it| &it.key_file),
            secret,
        ]
        .into_iter()
        .flatten()
        .cloned()
        .collect()
    }
}

/// Settings that cannot work.
#[derive(Debug, Error)]
pub enum SettingsError {
    /// Certificates and keys: all that is wrong with them, one a line.
    #[error("{}", .0.join("\n"))]
    Certificates(Vec<String>),
    /// A file with a key or a password.
    #[error("the credentials for Elasticsearch: {0}")]
    Secret(String),
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

/// All that is read anew when files change.
#[derive(Debug)]
pub(super) struct Reached {
    /// The one HTTP client, with its connections.
    pub(super) client: Client,
    /// Ours, instead of the client's.
    pub(super) authorization: Option<HeaderValue>,
}

/// Reads all files and makes the one HTTP client: with time limits, without redirects, proxies from the environment,
/// or decompression.
pub(super) fn build(settings: &ElasticsearchSettings) -> Result<Reached, SettingsError> {
    let mut builder = Client::builder()
        .connect_timeout(settings.connect_timeout)
        .pool_max_idle_per_host(IDLE_PER_NODE_MAX)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .tcp_nodelay(true)
        .redirect(Policy::none())
        .no_proxy();
    let mut wrong = Vec::new();
    if let Some(path) = &settings.ca_file {
        let file = PemFile { option: "elasticsearch.ca_file", path };
        match authorities(file) {
            Ok(certificates) => builder = builder.tls_certs_merge(certificates),
            Err(reason) => wrong.push(reason),
        }
    }
    if let Some(files) = &settings.client_cert {
        let cert = PemFile { option: "elasticsearch.client_cert_file", path: &files.cert_file };
        let key = PemFile { option: "elasticsearch.client_key_file", path: &files.key_file };
        match identity(cert, key) {
            Ok(identity) => builder = builder.identity(identity),
            Err(reasons) => wrong.extend(reasons),
        }
    }
    if !wrong.is_empty() {
        return Err(SettingsError::Certificates(wrong));
    }
    let authorization = settings.credentials.as_ref().map(Credentials::header).transpose()?;
    let client = builder.build().map_err(SettingsError::Client)?;
    Ok(Reached { client, authorization })
}

fn authorities(file: PemFile<'_>) -> Result<Vec<Certificate>, String> {
    file.authorities()?;
    let certificates = file.certificates()?;
    let all: Result<_, _> = certificates.iter().map(|it| Certificate::from_der(it)).collect();
    all.map_err(|error: reqwest::Error| error.to_string())
}

fn identity(cert: PemFile<'_>, key: PemFile<'_>) -> Result<Identity, Vec<String>> {
    pem::certified_key(cert, key)?;
    let read = |file: PemFile<'_>| {
        pem::read(file.path)
            .map_err(|error| vec![format!("{} {}: {error}", file.option, file.path.display())])
    };
    let one = cert.path == key.path;
    let text = [read(cert)?, b"\n".to_vec(), if one { Vec::new() } else { read(key)? }].concat();
    Identity::from_pem(&text).map_err(|error| vec![format!("{}: {error}", cert.option)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers() {
        let key = |text: &str| Credentials::ApiKey(Secret::new(text.into())).header();
        assert_eq!(key("id:key").unwrap().to_str().unwrap(), "ApiKey aWQ6a2V5");
        assert_eq!(key("aWQ6a2V5").unwrap().to_str().unwrap(), "ApiKey aWQ6a2V5");
        assert!(key("a\nb").is_err());
        assert!(!format!("{:?}", key("aWQ6a2V5")).contains("aWQ6"));
        assert_eq!(format!("{:?}", Secret::new("x".into())), "***");
    }
}

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use hyper::{
    HeaderMap,
    header::{self, HeaderName, HeaderValue},
};
use sha2::{Digest, Sha256};
use subtle::{ConditionallySelectable, ConstantTimeEq};
use thiserror::Error;

use super::{Reply, respond, route::Pass};
use crate::{
    bulk::{IndexPatterns, Refusal, Writer},
    forward::Secret,
    json,
};

/// Base64 with or without padding, as Elasticsearch 8.19 takes it.
pub(super) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A credential as it is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialSettings {
    /// Shown in logs; the user of basic authentication.
    pub name: String,
    /// How a client proves that it has it.
    pub proof: Proof,
    /// Patterns of the indices that may be written.
    pub indices: Vec<String>,
    /// Whether templates, policies and pipelines may be put.
    pub set_up: bool,
}

/// How a client proves who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Basic authentication.
    Password(Secret),
    /// An API key: `id:key`, or the base64 form of that.
    ApiKey(Secret),
    /// A bearer token.
    Bearer(Secret),
    /// A certificate with this subject.
    Certificate(String),
}

/// Credentials that cannot be used: all that is wrong with them, one a line.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{}", .0.join("\n"))]
pub struct AuthError(Vec<String>);

/// Knows the clients.
#[derive(Debug)]
pub struct Auth {
    known: RwLock<Arc<Known>>,
}

/// A client that is known, and what it may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    /// The name of its credential.
    pub name: Arc<str>,
    /// What it may write.
    pub indices: Arc<IndexPatterns>,
    /// Whether it may put templates, policies and pipelines.
    pub set_up: bool,
}

/// Why a client is not known. Holds nothing of what it sent but the name of its user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unauthorized {
    cause: Cause,
    challenges: &'static [&'static str],
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Cause {
    Missing,
    Several,
    Encoding,
    Value,
    User(String),
    Other,
}

/// All credentials. Secrets are kept as digests only.
#[derive(Clone, Debug, Default)]
struct Known(Vec<Credential>);

#[derive(Clone, Debug)]
struct Credential {
    kind: Kind,
    digest: Digested,
    /// Where the secret is read again.
    file: Option<Secret>,
    who: Who,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Password,
    ApiKey,
    Bearer,
    Certificate,
}

/// A SHA-256: digests are equally long, so that comparing them takes equal time. Never shown: a short secret can be
/// found by trying.
#[derive(Clone, Copy)]
pub(super) struct Digested(pub(super) [u8; 32]);

impl Digested {
    pub(super) fn of(text: &[u8]) -> Self {
        Self(Sha256::digest(text).into())
    }
}

impl fmt::Debug for Digested {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Auth {
    /// Reads the credentials.
    pub fn new(settings: &[CredentialSettings]) -> Result<Self, AuthError> {
        let mut known = Known::default();
        all(settings, |it| it.name.as_str(), |it| known.add(it))?;
        Ok(Self { known: RwLock::new(Arc::new(known)) })
    }

    /// Reads secrets that are in files again. If one cannot be used, nothing changes.
    pub fn reload(&self) -> Result<(), AuthError> {
        let old = Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner));
        let mut known = Known::default();
        all(&old.0, |it| &it.who.name, |it| known.push(it.read_again()?))?;
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(known);
        Ok(())
    }

    /// Who sends a request, by its headers, or by its certificate where it has no `Authorization`.
    pub fn check(
        &self,
        headers: &HeaderMap,
        client_cert_subject: Option<&str>,
    ) -> Result<Who, Unauthorized> {
        let known = Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner));
        let mut all = headers.get_all(header::AUTHORIZATION).iter();
        let found = match all.next() {
            None => known.certified(client_cert_subject),
            // The same twice is taken as one, as Elasticsearch does.
            Some(first) if all.all(|it| it == first) => {
                known.authorized(first.as_bytes(), client_cert_subject)
            }
            Some(_) => Err(Cause::Several),
        };
        found.map_err(|cause| Unauthorized { cause, challenges: known.challenges() })
    }
}

/// Does something with all credentials and tells what is wrong with each.
fn all<'c, C>(
    credentials: &'c [C],
    name: impl Fn(&'c C) -> &'c str,
    mut each: impl FnMut(&'c C) -> Result<(), String>,
) -> Result<(), AuthError> {
    let wrong: Vec<_> = credentials
        .iter()
        .filter_map(|it| each(it).err().map(|reason| format!("auth {}: {reason}", name(it))))
        .collect();
    if wrong.is_empty() { Ok(()) } else { Err(AuthError(wrong)) }
}

impl Credential {
    fn read_again(&self) -> Result<Self, String> {
        let mut new = self.clone();
        if let Some(file) = &self.file {
            new.digest = digest(self.kind, &self.who.name, &file.read()?)?;
        }
        Ok(new)
    }
}

impl Known {
    fn add(&mut self, settings: &CredentialSettings) -> Result<(), String> {
        let CredentialSettings { name, proof, indices, set_up } = settings;
        if name.is_empty() || name.contains(|it: char| it.is_control() || it == ':') {
            return Err("a name is not empty and has no colon and no control character".into());
        }
        if self.0.iter().any(|it| *it.who.name == **name) {
            return Err("the name is taken".into());
        }
        let indices = IndexPatterns::new(indices).map_err(|error| error.to_string())?;
        let who = Who { name: name.as_str().into(), indices: Arc::new(indices), set_up: *set_up };
        let (kind, secret) = match proof {
            Proof::Password(secret) => (Kind::Password, secret),
            Proof::ApiKey(secret) => (Kind::ApiKey, secret),
            Proof::Bearer(secret) => (Kind::Bearer, secret),
            Proof::Certificate(subject) => (Kind::Certificate, &Secret::new(subject.clone())),
        };
        let digest = digest(kind, name, &secret.read()?)?;
        let file = secret.path().is_some().then(|| secret.clone());
        self.push(Credential { kind, digest, file, who })
    }

    fn push(&mut self, new: Credential) -> Result<(), String> {
        let same = |it: &Credential| it.kind == new.kind && it.digest.0 == new.digest.0;
        if let Some(other) = self.0.iter().find(|it| same(it)) {
            return Err(format!("what proves it is that of {} already", other.who.name));
        }
        self.0.push(new);
        Ok(())
    }

    fn authorized(&self, value: &[u8], subject: Option<&str>) -> Result<Who, Cause> {
        let value = value.trim_ascii();
        let end = memchr::memchr(b' ', value).unwrap_or(value.len());
        let (scheme, given) = value.split_at_checked(end).unwrap_or_default();
        let given = given.trim_ascii();
        let is = |name: &[u8]| scheme.eq_ignore_ascii_case(name) && !given.is_empty();
        if is(b"Basic") {
            let given = BASE64.decode(given).map_err(|_malformed| Cause::Encoding)?;
            let colon = memchr::memchr(b':', &given).ok_or(Cause::Value)?;
            self.find(Kind::Password, &given).ok_or_else(|| {
                let user = given.get(..colon).unwrap_or_default();
                Cause::User(String::from_utf8_lossy(user).into_owned())
            })
        } else if is(b"ApiKey") {
            let given = BASE64.decode(given).map_err(|_malformed| Cause::Other)?;
            self.find(Kind::ApiKey, &given).ok_or(Cause::Other)
        } else if is(b"Bearer") {
            self.find(Kind::Bearer, given).ok_or(Cause::Other)
        } else {
            // A scheme that nobody knows is no try.
            self.certified(subject)
        }
    }

    fn certified(&self, subject: Option<&str>) -> Result<Who, Cause> {
        let subject = subject.ok_or(Cause::Missing)?;
        self.find(Kind::Certificate, subject.as_bytes()).ok_or(Cause::Missing)
    }

    /// Compares with all credentials of the kind, whichever it is.
    fn find(&self, kind: Kind, given: &[u8]) -> Option<Who> {
        let given = Digested::of(given);
        let mut found = u32::MAX;
        for (index, known) in (0_u32..).zip(&self.0).filter(|(_, it)| it.kind == kind) {
            found.conditional_assign(&index, known.digest.0.ct_eq(&given.0));
        }
        self.0.get(usize::try_from(found).ok()?).map(|it| it.who.clone())
    }

    /// What a client could try, in Elasticsearch's order.
    fn challenges(&self) -> &'static [&'static str] {
        const BASIC: &str = r#"Basic realm="security", charset="UTF-8""#;
        const BEARER: &str = r#"Bearer realm="security""#;
        const API_KEY: &str = "ApiKey";
        let has = |kind| self.0.iter().any(|it| it.kind == kind);
        match (has(Kind::Password), has(Kind::Bearer), has(Kind::ApiKey)) {
            (true, true, true) => &[BASIC, BEARER, API_KEY],
            (true, true, false) => &[BASIC, BEARER],
            (true, false, false) => &[BASIC],
            (false, true, true) => &[BEARER, API_KEY],
            (false, true, false) => &[BEARER],
            (false, false, true) => &[API_KEY],
            // Elasticsearch's own; a 401 names at least one (RFC 9110, 15.5.2).
            (true, false, true) | (false, false, false) => &[BASIC, API_KEY],
        }
    }
}

/// The digest of what a client has to show.
fn digest(kind: Kind, name: &str, secret: &str) -> Result<Digested, String> {
    if secret.is_empty() {
        return Err("the secret or subject is empty".into());
    }
    Ok(match kind {
        Kind::Password => Digested::of(format!("{name}:{secret}").as_bytes()),
        Kind::ApiKey => Digested::of(&id_and_key(secret)?),
        Kind::Bearer | Kind::Certificate => Digested::of(secret.as_bytes()),
    })
}

/// An API key as it is hashed: `id:key`. It is configured like that or as its base64 form, `encoded`.
fn id_and_key(written: &str) -> Result<Vec<u8>, String> {
    if written.contains(':') {
        return Ok(written.as_bytes().to_owned());
    }
    let decoded = BASE64.decode(written).unwrap_or_default();
    if !decoded.contains(&b':') {
        return Err("an API key is `id:key`, or the base64 form of that".into());
    }
    Ok(decoded)
}

/// Whether a header says who the client is, or whom it stands for. Where we know the clients such a header is
/// ours; with our credentials it would mean somebody else (`es-security-runas-user`, Elasticsearch 8.19).
pub(super) fn is_identity(name: &HeaderName) -> bool {
    *name == header::AUTHORIZATION || name.as_str().starts_with("es-")
}

impl Unauthorized {
    /// For a metric's label.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self.cause {
            Cause::Missing => "missing",
            Cause::Several | Cause::Encoding | Cause::Value => "malformed",
            Cause::User(_) | Cause::Other => "unknown",
        }
    }

    /// The answer, in Elasticsearch's form and words (8.19.21). `path` is the request's path with its query.
    #[must_use]
    pub fn reply(&self, path: &str, request: &HeaderMap) -> Reply {
        let reason = match &self.cause {
            Cause::Several => {
                let reason = "multiple values for single-valued header [Authorization].".into();
                let kind = "illegal_argument_exception";
                return respond::refuse(&Refusal { status: 400, kind, reason }, request);
            }
            Cause::Missing => {
                format!("missing authentication credentials for REST request [{path}]")
            }
            Cause::Encoding => "invalid basic authentication header encoding".into(),
            Cause::Value => "invalid basic authentication header value".into(),
            Cause::User(user) => {
                format!("unable to authenticate user [{user}] for REST request [{path}]")
            }
            Cause::Other => {
                "unable to authenticate with provided credentials and anonymous access is not allowed for this request".into()
            }
        };
        let mut error = String::from("\"type\":\"security_exception\",\"reason\":");
        json::push_string(&mut error, &reason);
        error.push_str(",\"header\":{\"WWW-Authenticate\":[");
        for (index, challenge) in self.challenges.iter().enumerate() {
            if index > 0 {
                error.push(',');
            }
            json::push_string(&mut error, challenge);
        }
        error.push_str("]}");
        let body = format!("{{\"error\":{{\"root_cause\":[{{{error}}}],{error}}},\"status\":401}}");
        let mut reply = respond::json(401, body, request);
        for challenge in self.challenges {
            let challenge = HeaderValue::from_static(challenge);
            reply.headers_mut().append(header::WWW_AUTHENTICATE, challenge);
        }
        reply
    }
}

impl Who {
    /// Whether it may write this index, alias or data stream.
    #[must_use]
    pub fn may_write(&self, index: &str) -> bool {
        self.indices.contain(index)
    }

    /// The same for the items of a bulk request.
    #[must_use]
    pub fn writer(&self) -> Writer<'_> {
        Writer { name: &self.name, indices: &self.indices }
    }

    /// Whether it may send a request that is passed on, which names these indices.
    pub(super) fn may_pass(&self, pass: Pass, names: &[String]) -> bool {
        let may_write = names.iter().all(|it| self.may_write(it));
        match pass {
            Pass::Steady | Pass::Nodes | Pass::Read => may_write,
            Pass::SetUp => self.set_up && may_write,
            Pass::Write => !names.is_empty() && may_write,
            Pass::Other => self.set_up,
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use hyper::Method;

    use super::{
        super::route::{Passing, Route, names, route},
        *,
    };

    const MISSING: &str = "missing authentication credentials for REST request [/_bulk]";
    const OTHER: &str = "unable to authenticate with provided credentials";

    fn secret(text: &str) -> Secret {
        Secret::new(text.into())
    }

    fn credential(name: &str, proof: Proof) -> CredentialSettings {
        CredentialSettings { name: name.into(), proof, indices: vec!["*".into()], set_up: true }
    }

    fn auth() -> Auth {
        Auth::new(&[
            credential("beats", Proof::Password(secret("pa:ss wörd"))),
            credential("other", Proof::Password(secret("second"))),
            credential("vector", Proof::ApiKey(secret("id:k3y"))),
            credential("agent", Proof::ApiKey(secret("aWQyOmtleTI="))),
            credential("fluent", Proof::Bearer(secret("token"))),
            credential("mesh", Proof::Certificate("CN of it".into())),
        ])
        .unwrap()
    }

    fn headers(values: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, HeaderValue::from_bytes(value).unwrap());
        }
        headers
    }

    fn basic(text: impl AsRef<[u8]>) -> String {
        format!("Basic {}", BASE64.encode(text))
    }

    #[track_caller]
    fn known(value: &str, name: &str) {
        let who = auth().check(&headers(&[value.as_bytes()]), None);
        assert_eq!(who.as_ref().map(|it| &*it.name), Ok(name), "{value}");
    }

    async fn refused(values: &[&[u8]], subject: Option<&str>) -> (u16, String) {
        let error = auth().check(&headers(values), subject).unwrap_err();
        let reply = error.reply("/_bulk", &HeaderMap::new());
        let status = reply.status().as_u16();
        let body = reply.into_body().collect().await.unwrap().to_bytes();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["status"], status);
        (status, body["error"]["reason"].as_str().unwrap().to_owned())
    }

    #[test]
    fn every_kind() {
        known(&basic("beats:pa:ss wörd"), "beats");
        known(&basic("other:second"), "other");
        known(basic("other:second").trim_end_matches('='), "other");
        known("ApiKey aWQ6azN5", "vector");
        known("ApiKey aWQyOmtleTI=", "agent");
        known("Bearer token", "fluent");
        for scheme in ["basic", "BASIC", "bAsIc", "Basic  "] {
            known(&basic("other:second").replace("Basic", scheme), "other");
        }
        known("apikey aWQ6azN5", "vector");
        known("BEARER token ", "fluent");
        let by_certificate = auth().check(&HeaderMap::new(), Some("CN of it")).unwrap();
        assert_eq!(&*by_certificate.name, "mesh");
    }

    #[tokio::test]
    async fn whatever_else() {
        for (value, reason) in [
            (basic("beats:wrong"), "unable to authenticate user [beats] for REST request [/_bulk]"),
            (basic("beats:"), "unable to authenticate user [beats]"),
            (basic("beats:pa:ss wörd "), "unable to authenticate user [beats]"),
            (basic("BEATS:pa:ss wörd"), "unable to authenticate user [BEATS]"),
            (basic("beats:second"), "unable to authenticate user [beats]"),
            (basic("id:k3y"), "unable to authenticate user [id]"),
            (basic(b"\xff\"\n:x"), "unable to authenticate user [\u{fffd}\"\n]"),
            (basic("beats"), "invalid basic authentication header value"),
            ("Basic !!!".into(), "invalid basic authentication header encoding"),
            ("Basic b=b=".into(), "invalid basic authentication header encoding"),
            ("Basic".into(), MISSING),
            ("".into(), MISSING),
            ("Negotiate x".into(), MISSING),
            ("token".into(), MISSING),
            ("ApiKey id:k3y".into(), OTHER),
            ("ApiKey aWQ6a2V6".into(), OTHER),
            ("ApiKey !".into(), OTHER),
            ("Bearer aWQ6azN5".into(), OTHER),
            ("Bearer token2".into(), OTHER),
            ("Bearer toke".into(), OTHER),
            (format!("Bearer {}", "x".repeat(100_000)), OTHER),
        ] {
            let (status, got) = refused(&[value.as_bytes()], None).await;
            assert_eq!(status, 401, "{value}");
            assert!(got.starts_with(reason), "{value}: {got}");
        }
        for value in [&b"Basic \xff\xfe"[..], b"\xff\xfe x", b"Bearer \xf0\x28"] {
            assert_eq!(refused(&[value], None).await.0, 401, "{value:?}");
        }
        assert_eq!(refused(&[], None).await, (401, MISSING.into()));
        assert_eq!(refused(&[], Some("another")).await, (401, MISSING.into()));
        assert_eq!(refused(&[], Some("")).await, (401, MISSING.into()));
        let good = basic("other:second");
        assert!(auth().check(&headers(&[good.as_bytes(), good.as_bytes()]), None).is_ok());
        for others in [&b"Bearer wrong"[..], b"Bearer token", b""] {
            let (status, reason) = refused(&[good.as_bytes(), others], Some("CN of it")).await;
            assert_eq!(status, 400, "{reason}");
            assert_eq!(reason, "multiple values for single-valued header [Authorization].");
        }
        // A wrong proof is not mended by a right one.
        assert_eq!(refused(&[b"Bearer wrong"], Some("CN of it")).await.0, 401);
    }

    /// As Elasticsearch 8.19.21 with `xpack.security.enabled: true` answers `POST /_bulk` without credentials.
    #[tokio::test]
    async fn the_answer_is_elasticsearchs() {
        let one = |proof| Auth::new(&[credential("a", proof)]).unwrap();
        let auth = Auth::new(&[
            credential("a", Proof::Password(secret("p"))),
            credential("b", Proof::ApiKey(secret("i:k"))),
        ])
        .unwrap();
        let reply =
            auth.check(&HeaderMap::new(), None).unwrap_err().reply("/_bulk", &HeaderMap::new());
        let challenges: Vec<_> = reply.headers().get_all(header::WWW_AUTHENTICATE).iter().collect();
        assert_eq!(challenges, [r#"Basic realm="security", charset="UTF-8""#, "ApiKey"]);
        let body = reply.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(
            body,
            r#"{"error":{"root_cause":[{"type":"security_exception","reason":"missing authentication credentials for REST request [/_bulk]","header":{"WWW-Authenticate":["Basic realm=\"security\", charset=\"UTF-8\"","ApiKey"]}}],"type":"security_exception","reason":"missing authentication credentials for REST request [/_bulk]","header":{"WWW-Authenticate":["Basic realm=\"security\", charset=\"UTF-8\"","ApiKey"]}},"status":401}"#
        );
        let of = |auth: Auth| auth.check(&HeaderMap::new(), None).unwrap_err().challenges;
        assert_eq!(of(one(Proof::Bearer(secret("t")))), [r#"Bearer realm="security""#]);
        assert_eq!(of(one(Proof::Certificate("c".into()))).len(), 2);
    }

    #[test]
    fn mistakes_are_told_all_at_once_and_without_secrets() {
        let mut patterns = credential("patterns", Proof::Bearer(secret("canary-1")));
        patterns.indices = vec!["a,b".into()];
        let error = Auth::new(&[
            credential("twice", Proof::Bearer(secret("canary-2"))),
            credential("twice", Proof::Password(secret("canary-3"))),
            credential("same", Proof::Bearer(secret("canary-2"))),
            credential("empty", Proof::Password(secret(""))),
            credential("key", Proof::ApiKey(secret("canary-4"))),
            credential("a:b", Proof::Password(secret("canary-5"))),
            credential("file", Proof::Password(Secret::file("/not/there".into()))),
            patterns,
        ])
        .unwrap_err();
        let expected = [
            "auth twice: the name is taken",
            "auth same: what proves it is that of twice already",
            "auth empty: the secret or subject is empty",
            "auth key: an API key is",
            "auth a:b: a name",
            "auth file: /not/there",
            "auth patterns: `a,b`",
        ];
        assert_eq!(error.0.len(), expected.len(), "{error}");
        for (line, expected) in error.0.iter().zip(expected) {
            assert!(line.starts_with(expected), "{line}");
        }
        let shown = format!("{error:?} {:?} {:?}", auth(), auth().known);
        for hidden in ["canary", "pa:ss", "second", "k3y", "aWQ6", "198, 49, 145", "token"] {
            assert!(!shown.contains(hidden), "{hidden}: {shown}");
        }
    }

    #[test]
    fn a_secret_in_a_file_is_read_again() {
        let path = std::env::temp_dir().join(format!("k8scop-auth-{:016x}", fastrand::u64(..)));
        std::fs::write(&path, "first\n").unwrap();
        let auth = Auth::new(&[
            credential("a", Proof::Bearer(Secret::file(path.clone()))),
            credential("b", Proof::Bearer(secret("fixed"))),
        ])
        .unwrap();
        let name = |token: &str| {
            let who = auth.check(&headers(&[format!("Bearer {token}").as_bytes()]), None);
            who.ok().map(|it| it.name.to_string())
        };
        assert_eq!((name("first"), name("fixed")), (Some("a".into()), Some("b".into())));
        std::fs::write(&path, "next\n").unwrap();
        auth.reload().unwrap();
        assert_eq!(
            (name("first"), name("next"), name("fixed")),
            (None, Some("a".into()), Some("b".into()))
        );
        for bad in ["", "fixed"] {
            std::fs::write(&path, bad).unwrap();
            assert!(auth.reload().is_err(), "{bad}");
            assert_eq!((name("next"), name("fixed")), (Some("a".into()), Some("b".into())));
        }
        std::fs::remove_file(&path).unwrap();
        assert!(auth.reload().is_err());
    }

    #[test]
    fn what_may_pass() {
        let who = |set_up| Who {
            name: "n".into(),
            indices: Arc::new(IndexPatterns::new(&["logs-*", "one"]).unwrap()),
            set_up,
        };
        #[track_caller]
        fn check(who: &Who, line: &str, expected: bool) {
            let (method, path) = line.split_once(' ').unwrap();
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let may = match route(&method, path, &Passing::default()) {
                Route::Pass(pass) => who.may_pass(pass, &names(path)),
                Route::Document(document) => who.may_write(&document.index),
                Route::Bulk(_) | Route::Push(_) | Route::Refused | Route::Malformed => false,
            };
            assert_eq!(may, expected, "{line}");
        }
        for line in [
            "GET /",
            "HEAD /",
            "GET /_license",
            "GET /_xpack",
            "GET /_cluster/health",
            "GET /_nodes/http",
            "GET /_cat/health",
            "GET /_ilm/policy/filebeat",
            "HEAD /_index_template/filebeat-9",
            "GET /_alias/filebeat",
            "HEAD /logs-a",
            "POST /logs-a/_doc",
            "PUT /logs-a/_doc/1",
            "PUT //logs-a//_create/1",
            "DELETE /one/_doc/1",
            "POST /%6fne/_update/1",
            "GET /one/_mapping",
        ] {
            check(&who(false), line, true);
        }
        for line in [
            "PUT /_ilm/policy/filebeat",
            "PUT /_index_template/filebeat-9",
            "PUT /_template/x",
            "PUT /_component_template/x",
            "PUT /_ingest/pipeline/x",
            "PUT /_data_stream/logs-a",
            "PUT /one",
            "PUT /%3Clogs-%7Bnow%2Fd%7D-000001%3E",
            "PUT /one/_alias/logs-all",
        ] {
            check(&who(true), line, true);
            check(&who(false), line, false);
        }
        for line in [
            "PUT /two",
            "PUT /_data_stream/two",
            "PUT /one/_alias/two",
            "PUT /two/_alias/one",
            "POST /two/_doc",
            "POST /logs-a,two/_doc",
            "PUT /%3Clogs-%7Bnow%7D%3E,%3C.security-%7Bnow%7D%3E",
            "HEAD /logs-a,.security",
            "HEAD /*",
            "GET /logs-a/_search",
            "GET /logs-a/_doc/1",
            "POST /_search",
            "POST /_reindex",
            "POST /_bulk",
            "DELETE /logs-a",
            "DELETE /_index_template/x",
            "PUT /_security/user/x",
            "GET /_security/user",
            "PUT /_cluster/settings",
            "PUT /_scripts/x",
            "POST /logs-a/_update_by_query",
            "GET /_cat/indices",
            "GET /_all",
            "PUT /_ilm/start",
            "POST /_aliases",
            "GET /%ff",
        ] {
            check(&who(true), line, false);
        }
    }

    #[test]
    fn headers_that_say_who_somebody_is() {
        for name in ["authorization", "es-security-runas-user", "es-secondary-authorization"] {
            assert!(is_identity(&HeaderName::from_static(name)), "{name}");
        }
        assert!(!is_identity(&HeaderName::from_static("x-opaque-id")));
    }
}

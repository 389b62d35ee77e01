use std::{
    io,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
};

use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::CertificateDer,
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::SingleCertAndKey,
};
use serde::Deserialize;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::pem::{self, PemFile};

/// What is spoken behind TLS.
const PROTOCOL: &[u8] = b"http/1.1";

/// What a port needs to speak TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// The section of the configuration, for messages.
    pub section: &'static str,
    /// Our certificate, and those between it and its authority (PEM).
    pub cert_file: PathBuf,
    /// Its key (PEM).
    pub key_file: PathBuf,
    /// Authorities of client certificates (PEM). Without it no client is asked for one.
    pub client_ca_file: Option<PathBuf>,
    /// Whether a client must show one.
    pub client_auth: ClientAuth,
}

/// Whether a client must show a certificate. One that is shown must be good in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuth {
    /// It must.
    #[default]
    Required,
    /// It may.
    Optional,
}

/// Files that cannot be used: all that is wrong with them, one a line.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{}", .0.join("\n"))]
pub struct TlsError(Vec<String>);

/// TLS on one port.
#[derive(Debug)]
pub struct Tls {
    settings: TlsSettings,
    /// Replaced as a whole, so that no session of the old authorities can be taken up again. Connections keep
    /// the one that they began with.
    config: RwLock<Arc<ServerConfig>>,
}

impl TlsSettings {
    /// All files that are read.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let files = [Some(&self.cert_file), Some(&self.key_file), self.client_ca_file.as_ref()];
        files.into_iter().flatten().cloned().collect()
    }
}

impl Tls {
    /// Reads the files.
    pub fn new(settings: &TlsSettings) -> Result<Arc<Self>, TlsError> {
        let config = RwLock::new(config(settings)?);
        Ok(Arc::new(Self { settings: settings.clone(), config }))
    }

    /// Reads the files again. New connections get what they hold now; if that cannot be used, nothing changes.
    pub fn reload(&self) -> Result<(), TlsError> {
        let new = config(&self.settings)?;
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    /// Shakes hands. Without a time limit of its own: the caller has one.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let config = Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner));
        TlsAcceptor::from(config).accept(stream).await
    }
}

/// Whom the client's certificate names, if it showed one: it is verified by then.
pub(super) fn client_subject(stream: &TlsStream<TcpStream>) -> Option<String> {
    subject(stream.get_ref().1.peer_certificates()?.first()?)
}

fn config(settings: &TlsSettings) -> Result<Arc<ServerConfig>, TlsError> {
    let option = |name: &str| format!("{}.{name}", settings.section);
    let (cert, key, ca) = (option("cert_file"), option("key_file"), option("client_ca_file"));
    let certified = pem::certified_key(
        PemFile { option: &cert, path: &settings.cert_file },
        PemFile { option: &key, path: &settings.key_file },
    );
    let verifier = settings
        .client_ca_file
        .as_ref()
        .map(|path| verifier(PemFile { option: &ca, path }, settings.client_auth))
        .transpose();
    let (certified, verifier) = match (certified, verifier) {
        (Ok(certified), Ok(verifier)) => (certified, verifier),
        (certified, verifier) => {
            let mut wrong = certified.err().unwrap_or_default();
            wrong.extend(verifier.err());
            return Err(TlsError(wrong));
        }
    };
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError(vec![format!("{}: {error}", settings.section)]))?;
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    Ok(Arc::new(config))
}

fn verifier(
    file: PemFile<'_>,
    client_auth: ClientAuth,
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let roots = Arc::new(file.authorities()?);
    let provider = Arc::new(ring::default_provider());
    let mut builder = WebPkiClientVerifier::builder_with_provider(roots, provider);
    if client_auth == ClientAuth::Optional {
        builder = builder.allow_unauthenticated();
    }
    builder.build().map_err(|error| format!("{} {}: {error}", file.option, file.path.display()))
}

/// The common name; where there is none, the first DNS name or URI of the certificate (a SPIFFE id, say). A subject
/// with two common names has none: it could be taken for either.
fn subject(certificate: &CertificateDer<'_>) -> Option<String> {
    let certificate = webpki::EndEntityCert::try_from(certificate).ok()?;
    let mut names = common_names(certificate.subject())?.into_iter();
    match (names.next(), names.next()) {
        (Some(only), None) => Some(only),
        (Some(_), Some(_)) => None,
        (None, _) => certificate
            .valid_dns_names()
            .chain(certificate.valid_uri_names())
            .next()
            .map(str::to_owned),
    }
}

/// The common names (2.5.4.3) of an X.501 name, given without its outermost tag. `None` if it is not well made or
/// one of them is in an encoding that is not read.
fn common_names(mut name: &[u8]) -> Option<Vec<String>> {
    const SEQUENCE: u8 = 0x30;
    const SET: u8 = 0x31;
    const OBJECT_ID: u8 = 0x06;
    const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
    /// UTF8String, PrintableString, IA5String: all of them are UTF-8.
    const TEXTS: [u8; 3] = [0x0c, 0x13, 0x16];

    let mut found = Vec::new();
    while !name.is_empty() {
        let (SET, mut attributes, rest) = tlv(name)? else { return None };
        name = rest;
        while !attributes.is_empty() {
            let (SEQUENCE, attribute, rest) = tlv(attributes)? else { return None };
            attributes = rest;
            let (OBJECT_ID, kind, value) = tlv(attribute)? else { return None };
            if kind == COMMON_NAME {
                let (tag, text, []) = tlv(value)? else { return None };
                let text = TEXTS.contains(&tag).then(|| std::str::from_utf8(text).ok())??;
                found.push(text.to_owned());
            }
        }
    }
    Some(found)
}

/// The first value of some DER: its tag, its content, and what follows.
fn tlv(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = der.split_first()?;
    let (short, rest) = rest.split_first()?;
    let (len, rest) = match short {
        0..=0x7f => (usize::from(*short), rest),
        0x81 => rest.split_first().map(|(len, rest)| (usize::from(*len), rest))?,
        0x82 => rest
            .split_first_chunk()
            .map(|(len, rest)| (usize::from(u16::from_be_bytes(*len)), rest))?,
        // No name is that long.
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(len)?;
    Some((*tag, content, rest))
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use rcgen::{CertificateParams, DnType, DnValue, Issuer, KeyPair, SanType};

    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            let dir = std::env::temp_dir().join(format!("k8scop-tls-{:016x}", fastrand::u64(..)));
            fs::create_dir_all(&dir).unwrap();
            Self(dir)
        }

        fn write(&self, name: &str, text: &str) -> PathBuf {
            let path = self.0.join(name);
            fs::write(&path, text).unwrap();
            path
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).ok();
        }
    }

    /// A certificate and its key (PEM).
    fn made() -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    fn settings(cert: &Path, key: &Path, ca: Option<&Path>) -> TlsSettings {
        TlsSettings {
            section: "tls",
            cert_file: cert.to_owned(),
            key_file: key.to_owned(),
            client_ca_file: ca.map(Path::to_owned),
            client_auth: ClientAuth::Required,
        }
    }

    #[track_caller]
    fn wrong(settings: &TlsSettings, expected: &[&str]) {
        let error = Tls::new(settings).unwrap_err().to_string();
        assert_eq!(error.lines().count(), expected.len(), "{error}");
        for (line, expected) in error.lines().zip(expected) {
            assert!(line.contains(expected), "{line}");
        }
    }

    #[test]
    fn every_mistake_is_told_with_its_file() {
        let folder = Folder::new();
        let ((cert, key), (other_cert, other_key)) = (made(), made());
        let good = folder.write("cert.pem", &cert);
        let good_key = folder.write("key.pem", &key);
        let other = folder.write("other.pem", &other_key);
        let empty = folder.write("empty.pem", "");
        let cut = folder.write("cut.pem", cert.split_at(cert.len() / 2).0);
        let locked = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
        let locked = folder.write("locked.pem", &locked);
        let odd = folder.write("odd.pem", &key.replacen("\nM", "\n!", 1));
        let noise = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let noise = folder.write("noise.pem", noise);
        let absent = folder.0.join("absent.pem");
        assert!(Tls::new(&settings(&good, &good_key, Some(&good))).is_ok());
        let both = folder.write("both.pem", &format!("{key}{cert}{other_cert}"));
        assert!(Tls::new(&settings(&both, &both, None)).is_ok(), "one file, with a chain");

        wrong(
            &settings(&absent, &absent, Some(&absent)),
            &["tls.cert_file", "tls.key_file", "tls.client_ca_file"],
        );
        wrong(
            &settings(&empty, &empty, Some(&empty)),
            &["no certificate", "no private key", "no certificate"],
        );
        wrong(
            &settings(&good, &other, None),
            &["other.pem: the key is not that of the certificate in"],
        );
        wrong(&settings(&cut, &good_key, None), &["cut.pem: a PEM section has no end"]);
        wrong(
            &settings(&noise, &good_key, None),
            &["noise.pem: the first certificate cannot be used"],
        );
        wrong(
            &settings(&good, &good_key, Some(&noise)),
            &["noise.pem: certificate 1 cannot be an authority"],
        );
        wrong(&settings(&good, &locked, None), &["locked.pem: the key is encrypted"]);
        wrong(&settings(&good, &odd, None), &["odd.pem: a PEM section holds what is no base64"]);
        wrong(&settings(&good, &good, None), &["cert.pem: the file holds no private key"]);
        wrong(&settings(&good, &folder.0, None), &["tls.key_file"]);
    }

    #[test]
    fn what_cannot_be_used_changes_nothing() {
        let folder = Folder::new();
        let ((cert, key), (other_cert, other_key)) = (made(), made());
        let (cert, key) = (folder.write("cert.pem", &cert), folder.write("key.pem", &key));
        let tls = Tls::new(&settings(&cert, &key, None)).unwrap();
        let config = || Arc::as_ptr(&tls.config.read().unwrap());
        let first = config();
        folder.write("cert.pem", &other_cert);
        assert!(tls.reload().is_err());
        assert_eq!(config(), first);
        folder.write("key.pem", &other_key);
        let held = Arc::clone(&tls.config.read().unwrap());
        tls.reload().unwrap();
        assert_ne!(config(), Arc::as_ptr(&held));
    }

    fn subject_of(change: impl FnOnce(&mut CertificateParams)) -> Option<String> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        subject(params.self_signed(&key).unwrap().der())
    }

    #[test]
    fn subjects() {
        let named = |value: DnValue| {
            subject_of(|it| {
                it.distinguished_name.push(DnType::OrganizationName, "filebeat");
                it.distinguished_name.push(DnType::CommonName, value);
                it.subject_alt_names = vec![SanType::DnsName("alt".try_into().unwrap())];
            })
        };
        assert_eq!(named(DnValue::Utf8String("bäcker".into())).as_deref(), Some("bäcker"));
        let printable = DnValue::PrintableString("agent-1".try_into().unwrap());
        assert_eq!(named(printable).as_deref(), Some("agent-1"));
        let bmp = DnValue::BmpString("agent-1".try_into().unwrap());
        assert_eq!(named(bmp), None, "an encoding that is not read is no name, not another name");
        let long = "x".repeat(300);
        assert_eq!(named(DnValue::Utf8String(long.clone())), Some(long));
        let alternative = subject_of(|it| {
            let uri = "spiffe://cluster.local/ns/a/sa/b";
            it.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
        });
        assert_eq!(alternative.as_deref(), Some("spiffe://cluster.local/ns/a/sa/b"));
        assert_eq!(subject_of(|_| ()), None);
        let twice = [0x31, 10, 0x30, 8, 6, 3, 0x55, 4, 3, 0x0c, 1, b'a'].repeat(2);
        assert_eq!(common_names(&twice), Some(vec!["a".into(), "a".into()]));
    }

    #[test]
    fn broken_names_have_no_subject() {
        let whole = [0x31, 10, 0x30, 8, 6, 3, 0x55, 4, 3, 0x0c, 1, b'a'];
        for end in 1..whole.len() {
            assert_eq!(common_names(&whole[..end]), None, "cut at {end}");
        }
        for at in 0..whole.len() {
            for value in 0..=u8::MAX {
                let mut changed = whole;
                changed[at] = value;
                common_names(&changed);
            }
        }
        assert_eq!(tlv(&[4, 0x83, 0, 0, 1, 9]), None);
        assert_eq!(tlv(&[4, 0x82, 0, 1, 9, 8]), Some((4, &[9][..], &[8][..])));
    }

    #[test]
    fn chains_of_an_authority_are_read() {
        let folder = Folder::new();
        let ca_key = KeyPair::generate().unwrap();
        let mut ca = CertificateParams::default();
        ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let ca_cert = ca.self_signed(&ca_key).unwrap();
        let issuer = Issuer::new(ca, ca_key);
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        let cert =
            CertificateParams::new(["a".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        let chain = folder.write("chain.pem", &format!("{}{}", cert.pem(), ca_cert.pem()));
        let key = folder.write("key.pem", &key.serialize_pem());
        assert!(Tls::new(&settings(&chain, &key, Some(&chain))).is_ok());
    }
}

//! Certificates and keys in PEM files, and what is wrong with them. No error holds anything of a file's content.

use std::{
    fs,
    io::{self, Read},
    path::Path,
};

use rustls::{
    Error, InconsistentKeys, RootCertStore,
    crypto::ring,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    sign::CertifiedKey,
};

/// Largest file (bytes): the system's own collection of authorities has about 200 kB.
const BYTES_MAX: u64 = 4 << 20;

/// A file that an option names.
#[derive(Clone, Copy, Debug)]
pub struct PemFile<'p> {
    /// The option, as `tls.cert_file`.
    pub option: &'p str,
    /// The file.
    pub path: &'p Path,
}

impl PemFile<'_> {
    fn wrong(&self, reason: &str) -> String {
        format!("{} {}: {reason}", self.option, self.path.display())
    }

    fn read(&self) -> Result<Vec<u8>, String> {
        read(self.path).map_err(|error| self.wrong(&error.to_string()))
    }

    /// The certificates in it: at least one.
    pub fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, String> {
        let text = self.read()?;
        let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
        let all = all.map_err(|error| self.wrong(reason(&error)))?;
        if all.is_empty() {
            return Err(self.wrong("the file holds no certificate in PEM form"));
        }
        Ok(all)
    }

    /// The certificates in it as authorities.
    pub fn authorities(&self) -> Result<RootCertStore, String> {
        let mut roots = RootCertStore::empty();
        for (index, certificate) in self.certificates()?.into_iter().enumerate() {
            roots.add(certificate).map_err(|error| {
                self.wrong(&format!("certificate {} cannot be an authority: {error}", index + 1))
            })?;
        }
        Ok(roots)
    }

    fn key(&self) -> Result<PrivateKeyDer<'static>, String> {
        let text = self.read()?;
        PrivateKeyDer::from_pem_slice(&text).map_err(|error| {
            let encrypted = memchr::memmem::find(&text, b"ENCRYPTED").is_some();
            self.wrong(match error {
                pem::Error::NoItemsFound if encrypted => {
                    "the key is encrypted: give it without a password"
                }
                pem::Error::NoItemsFound => "the file holds no private key in PEM form",
                other => reason(&other),
            })
        })
    }
}

/// A certificate with its chain, and the key that belongs to it. Tells everything that is wrong with both files.
pub fn certified_key(cert: PemFile<'_>, key: PemFile<'_>) -> Result<CertifiedKey, Vec<String>> {
    let (chain, private) = match (cert.certificates(), key.key()) {
        (Ok(chain), Ok(private)) => (chain, private),
        (chain, private) => {
            return Err([chain.err(), private.err()].into_iter().flatten().collect());
        }
    };
    // The first of the chain is what the other side sees.
    let first = chain.first().map(webpki::EndEntityCert::try_from);
    if let Some(Err(error)) = first {
        return Err(vec![cert.wrong(&format!("the first certificate cannot be used: {error}"))]);
    }
    CertifiedKey::from_der(chain, private, &ring::default_provider()).map_err(|error| {
        vec![match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => key.wrong(&format!(
                "the key is not that of the certificate in {}",
                cert.path.display()
            )),
            other => key.wrong(&format!("the key cannot be used: {other}")),
        }]
    })
}

/// The content of a small file.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    fs::File::open(path)?.take(BYTES_MAX + 1).read_to_end(&mut content)?;
    if content.len() as u64 > BYTES_MAX {
        return Err(io::Error::other(format!("the file has more than {BYTES_MAX} bytes")));
    }
    Ok(content)
}

/// What is wrong, without the line in which it stands: that may be one of a key.
fn reason(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::MissingSectionEnd { .. } => "a PEM section has no end: the file may be cut",
        pem::Error::IllegalSectionStart { .. } => "a PEM section has a broken first line",
        pem::Error::Base64Decode(_) => "a PEM section holds what is no base64",
        _ => "the file is no PEM file",
    }
}

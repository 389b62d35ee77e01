//! Who a certificate is for: the subject of the PKCS #10 request in a CertificateSigningRequest. What the API server
//! takes is read, and more (it takes one PEM block and DER only), so that nothing it takes is missed.

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

/// Longest request that is looked at (bytes). The API server refuses what does not fit into etcd.
const REQUEST_BYTES_MAX: usize = 1 << 21;
/// Most requests in one.
const BLOCKS_MAX: usize = 16;
/// Most names of all subjects together.
const NAMES_MAX: usize = 1024;

const BEGIN: &str = "-----BEGIN CERTIFICATE REQUEST-----";
const END: &str = "-----END";

/// As lenient as Go's, which does not look at the bits behind the last byte.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const ORGANIZATION: &[u8] = &[0x55, 0x04, 0x0a];

/// Names of a subject.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Subject {
    /// For whom: the user's name.
    pub(super) common_names: Vec<String>,
    /// The user's groups.
    pub(super) organizations: Vec<String>,
}

impl Subject {
    /// Adds those of `spec.request`: Base64 of PEM of DER.
    pub(super) fn add(&mut self, request: &str) {
        if request.len() > REQUEST_BYTES_MAX {
            return;
        }
        let Some(pem) = decoded(request) else { return };
        let pem = String::from_utf8_lossy(&pem);
        for block in pem.split(BEGIN).skip(1).take(BLOCKS_MAX) {
            let body = block.split_once(END).map_or(block, |(body, _)| body);
            // Headers are lines with a colon; no line of Base64 has one.
            let lines: String = body.lines().filter(|it| !it.contains(':')).collect();
            if let Some(der) = decoded(&lines) {
                self.read(&der);
            }
        }
    }

    /// Adds what stands in a `CertificationRequest` (RFC 2986): `{{version, subject, …}, …}`.
    fn read(&mut self, der: &[u8]) -> Option<()> {
        let (request, _) = value(der, SEQUENCE)?;
        let (info, _) = value(request, SEQUENCE)?;
        let (_version, rest) = value(info, INTEGER)?;
        let (mut names, _) = value(rest, SEQUENCE)?;
        while let Some((mut set, rest)) = value(names, SET) {
            names = rest;
            while let Some((attribute, rest)) = value(set, SEQUENCE) {
                set = rest;
                self.take(attribute);
            }
        }
        Some(())
    }

    /// Adds one `AttributeTypeAndValue`.
    fn take(&mut self, attribute: &[u8]) -> Option<()> {
        let (kind, rest) = value(attribute, OBJECT_IDENTIFIER)?;
        let (tag, bytes, _) = element(rest)?;
        let names = match kind {
            COMMON_NAME => &mut self.common_names,
            ORGANIZATION => &mut self.organizations,
            _ => return None,
        };
        if names.len() < NAMES_MAX {
            names.push(text(tag, bytes));
        }
        Some(())
    }
}

/// Base64 with blanks and line ends in it.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let bare: Vec<u8> = text.bytes().filter(|it| !it.is_ascii_whitespace()).collect();
    BASE64.decode(bare).ok()
}

const INTEGER: u8 = 0x02;
const OBJECT_IDENTIFIER: u8 = 0x06;
const BMP_STRING: u8 = 0x1e;
const UNIVERSAL_STRING: u8 = 0x1c;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;

/// What is in the element that comes first, if it is of this kind, and what is behind it.
fn value(der: &[u8], wanted: u8) -> Option<(&[u8], &[u8])> {
    element(der).filter(|(tag, ..)| *tag == wanted).map(|(_, value, rest)| (value, rest))
}

/// Tag, content and what is behind.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        // Four bytes say more than a request has.
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (bytes.iter().fold(0, |length, it| length << 8 | usize::from(*it)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// A text of any of ASN.1's kinds. What it cannot hold is replaced.
fn text(tag: u8, bytes: &[u8]) -> String {
    match tag {
        BMP_STRING => {
            let units = bytes.as_chunks::<2>().0.iter().map(|it| u16::from_be_bytes(*it));
            char::decode_utf16(units).map(|it| it.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
        }
        UNIVERSAL_STRING => {
            let chars = bytes.as_chunks::<4>().0.iter().map(|it| u32::from_be_bytes(*it));
            chars.map(|it| char::from_u32(it).unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
        }
        _ => String::from_utf8_lossy(bytes).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, KeyPair};

    use super::*;

    fn subject(request: &str) -> Subject {
        let mut subject = Subject::default();
        subject.add(request);
        subject
    }

    fn pem(names: &[(DnType, DnValue)]) -> String {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (kind, name) in names {
            params.distinguished_name.push(kind.clone(), name.clone());
        }
        params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap()
    }

    fn masters() -> String {
        pem(&[
            (DnType::CommonName, DnValue::from("mallory")),
            (DnType::CountryName, DnValue::from("DE")),
            (DnType::OrganizationName, DnValue::from("system:masters")),
        ])
    }

    fn is_masters(request: &str) -> bool {
        let expected = Subject {
            common_names: vec!["mallory".into()],
            organizations: vec!["system:masters".into()],
        };
        subject(request) == expected
    }

    #[test]
    fn who_it_is_for() {
        let pem = masters();
        assert!(is_masters(&BASE64.encode(&pem)));
        // What Go takes, too: other texts around it, headers, long lines, other line ends.
        let (head, body) = pem.split_once('\n').unwrap();
        for other in [
            format!("x\n{pem}y"),
            format!("{head}\nA: b\nProc-Type: 4\n\n{body}"),
            format!("{head}\n{}", body.replacen('\n', "", 3)),
            pem.replace('\n', "\r\n"),
            format!("{BEGIN}\nAAAA\n{END} CERTIFICATE REQUEST-----\n{pem}"),
        ] {
            assert!(is_masters(&BASE64.encode(&other)), "{other}");
        }
        let wide = DnValue::BmpString("système:masters".try_into().unwrap());
        let bmp = self::pem(&[(DnType::OrganizationName, wide)]);
        assert_eq!(subject(&BASE64.encode(bmp)).organizations, ["système:masters"]);
    }

    #[test]
    fn bits_behind_the_last_byte_hide_nothing() {
        let pem = masters();
        for behind in ["x", "xy", "xyz"] {
            let encoded = BASE64.encode(format!("{pem}{behind}"));
            let bare = encoded.trim_end_matches('=');
            let padding = "=".repeat(encoded.len() - bare.len());
            if padding.is_empty() {
                continue;
            }
            let (start, last) = bare.split_at(bare.len() - 1);
            let next = char::from(last.as_bytes()[0] + 1);
            assert!(is_masters(&format!("{start}{next}{padding}")), "{behind}");
        }
    }

    #[test]
    fn hostile_bytes() {
        let pem = masters();
        let der =
            decoded(&pem.lines().filter(|it| !it.starts_with('-')).collect::<String>()).unwrap();
        for end in 0..der.len() {
            Subject::default().read(&der[..end]);
            for value in [0, 0x30, 0x7f, 0x80, 0x84, 0xff] {
                let mut other = der.clone();
                other[end] = value;
                Subject::default().read(&other);
            }
        }
        assert_eq!(subject("%%"), Subject::default());
        assert_eq!(subject(&BASE64.encode(BEGIN.repeat(100_000))), Subject::default());
        assert_eq!(subject(&"A".repeat(REQUEST_BYTES_MAX + 1)), Subject::default());
        let many: Vec<u8> = [&der_of(SET, &der_of(SEQUENCE, &[0x06, 3, 0x55, 4, 10, 12, 1, b'x']))
            [..]; 3000]
            .concat();
        let info = [&[2, 1, 0][..], &der_of(SEQUENCE, &many)].concat();
        let mut all = Subject::default();
        all.read(&der_of(SEQUENCE, &der_of(SEQUENCE, &info)));
        assert_eq!(all.organizations.len(), NAMES_MAX);
    }

    fn der_of(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u32::try_from(content.len()).unwrap().to_be_bytes();
        [&[tag, 0x84][..], &length, content].concat()
    }
}

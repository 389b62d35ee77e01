use std::{fmt, fmt::Write, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

/// What tells things apart: 16 bytes of a SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key(pub [u8; 16]);

impl Key {
    /// The key of these parts.
    #[must_use]
    pub fn of(parts: &[&str]) -> Self {
        Self::of_bytes(parts.iter().map(|it| it.as_bytes()))
    }

    /// The checksum of bytes.
    #[must_use]
    pub fn of_content(content: &[u8]) -> Self {
        Self::of_bytes([content])
    }

    pub(super) fn of_bytes<'p>(parts: impl IntoIterator<Item = &'p [u8]>) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        let mut key = [0; 16];
        for (byte, of_hash) in key.iter_mut().zip(hash.finalize()) {
            *byte = of_hash;
        }
        Self(key)
    }
}

/// As 32 hex digits.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|it| write!(f, "{it:02x}"))
    }
}

/// One audit event that hit a rule which a correlation is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When it happened (microseconds since 1970).
    pub at_us: i64,
    /// The same for an event that comes again, and for no other.
    pub key: Key,
    /// The cluster: groups of several are kept apart.
    pub cluster: Box<str>,
    /// What it means to correlations.
    pub inputs: Box<[Input]>,
    /// What an alert says of it.
    pub evidence: Evidence,
}

/// What an event means to one correlation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// The correlation, by what its state depends on: it is found again whatever else changes.
    pub correlation: Key,
    /// Which of its rules it is.
    pub reference: u16,
    /// It counts only if it makes the correlation match that the reference means.
    pub is_chained: bool,
    /// The values of `group-by`; a list is one value.
    pub group: Box<[Option<Box<str>>]>,
    /// The values that are counted.
    pub values: Box<[Box<str>]>,
}

/// What an alert says of an event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// `auditID`
    pub audit_id: Box<str>,
    /// The user.
    pub user: Box<str>,
    /// The verb.
    pub verb: Box<str>,
    /// `requestURI`
    pub uri: Box<str>,
    /// Where its document is.
    pub index: Box<str>,
    /// The `_id` of its document, if we know it.
    pub id: Box<str>,
}

/// Longest text that is kept of an event (bytes).
const TEXT_BYTES_MAX: usize = 256;
/// Most values of one field that are counted.
pub const VALUES_MAX: usize = 64;

/// A text that is not too long to be kept. Of what is longer, the end is its key: no two become the same.
#[must_use]
pub fn kept(text: &str) -> Box<str> {
    if text.len() <= TEXT_BYTES_MAX {
        return text.into();
    }
    let start = text.get(..text.floor_char_boundary(TEXT_BYTES_MAX - 40)).unwrap_or_default();
    let mut out = start.to_owned();
    // Writing to a String cannot fail.
    write!(out, "…{}", Key::of(&[text])).ok();
    out.into()
}

impl Event {
    /// About how much memory it takes (bytes).
    pub(super) fn weight_bytes(&self) -> usize {
        /// What an allocation costs besides its bytes.
        const ALLOCATION_BYTES: usize = 16;
        let text = |it: &str| it.len() + ALLOCATION_BYTES;
        let input = |it: &Input| {
            let group = it.group.iter().map(|it| 16 + it.as_deref().map_or(0, text));
            let values = it.values.iter().map(|it| 16 + text(it));
            size_of::<Input>() + group.sum::<usize>() + values.sum::<usize>()
        };
        let Evidence { audit_id, user, verb, uri, index, id } = &self.evidence;
        let texts = [audit_id, user, verb, uri, index, id, &self.cluster];
        size_of::<Self>()
            + ALLOCATION_BYTES
            + texts.into_iter().map(|it| text(it)).sum::<usize>()
            + self.inputs.iter().map(input).sum::<usize>()
    }
}

/// An event that several groups hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shared(pub(super) Arc<Event>);

impl Serialize for Shared {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Shared {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Event::deserialize(deserializer).map(|it| Self(Arc::new(it)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_and_stays_apart() {
        let (one, other) = ("é".repeat(4000) + "a", "é".repeat(4000) + "b");
        assert!(kept(&one).len() <= TEXT_BYTES_MAX);
        assert_ne!(kept(&one), kept(&other));
        assert_eq!(kept("a").as_ref(), "a");
    }
}

//! What several fuzz targets ask. Answers come from `serde_json` and from plain loops, never from the code under
//! test.

pub mod parts;

use std::io::Read;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Value, value::RawValue};

/// Whether `text` is one JSON value by its grammar. `serde_json` looks at nothing else when the value is
/// ignored: neither at the range of numbers nor at halves of surrogate pairs, and at any depth (1.0,
/// `Deserializer::ignore_value`).
#[must_use]
pub fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// The value, where `serde_json` can hold it.
#[must_use]
pub fn value(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok()
}

/// How deep arrays and objects of a JSON text are nested.
#[must_use]
pub fn depth(text: &str) -> usize {
    let (mut now, mut most, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in text.bytes() {
        match (in_string, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => in_string = !in_string,
            (false, b'{' | b'[') => {
                now += 1;
                most = most.max(now);
            }
            (false, b'}' | b']') => now -= 1,
            _ => (),
        }
    }
    most
}

/// Whether some object in `text` has a key twice, for which Elasticsearch refuses a document; `None` where
/// `serde_json` cannot hold the text.
#[must_use]
pub fn has_key_twice(text: &str) -> Option<bool> {
    serde_json::from_str::<Keys>(text).ok().map(|it| it.twice)
}

/// Whether no object in `text`, nor in what its strings hold as JSON, base64 or gzip, has a key twice. False where
/// nobody can tell.
#[must_use]
pub fn is_unique(text: &str) -> bool {
    let values = serde_json::Deserializer::from_str(text).into_iter::<Box<RawValue>>();
    // What stands behind the last whole value is no JSON, or was cut.
    values.map_while(Result::ok).all(|it| {
        has_key_twice(it.get()) == Some(false)
            && value(it.get()).is_some_and(|it| has_unique_texts(&it))
    })
}

fn has_unique_texts(value: &Value) -> bool {
    match value {
        Value::String(text) => is_unique_inside(text),
        Value::Array(all) => all.iter().all(has_unique_texts),
        Value::Object(all) => all.values().all(has_unique_texts),
        _ => true,
    }
}

/// Whether the texts inside a string are unique.
fn is_unique_inside(text: &str) -> bool {
    let open = |it: &str| it.find(['{', '[']).is_none_or(|at| is_unique(&it[at..]));
    if text.len() < 16 || text.contains([' ', '{']) {
        return open(text);
    }
    let Ok(bytes) = BASE64_STANDARD.decode(text) else { return open(text) };
    let mut out = Vec::new();
    // What cannot be read to its end is not read by others either.
    flate2::read::MultiGzDecoder::new(&bytes[..]).take(1 << 22).read_to_end(&mut out).ok();
    let out = if out.is_empty() { bytes } else { out };
    open(&String::from_utf8_lossy(&out))
}

/// The members of an object in order, with those that are there twice; `None` for any other text.
#[must_use]
pub fn pairs(text: &str) -> Option<Vec<(String, Box<RawValue>)>> {
    struct Pairs;
    impl<'de> Visitor<'de> for Pairs {
        type Value = Vec<(String, Box<RawValue>)>;

        fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            out.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut all = Vec::new();
            while let Some(pair) = map.next_entry()? {
                all.push(pair);
            }
            Ok(all)
        }
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    let pairs = reader.deserialize_map(Pairs).ok()?;
    reader.end().ok().map(|()| pairs)
}

struct Keys {
    twice: bool,
}

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        reader.deserialize_any(KeysOf)
    }
}

struct KeysOf;

impl<'de> Visitor<'de> for KeysOf {
    type Value = Keys;

    fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Keys, A::Error> {
        let (mut seen, mut twice) = (std::collections::HashSet::new(), false);
        while let Some((key, value)) = map.next_entry::<String, Keys>()? {
            twice |= value.twice || !seen.insert(key);
        }
        Ok(Keys { twice })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Keys, A::Error> {
        let mut twice = false;
        while let Some(value) = list.next_element::<Keys>()? {
            twice |= value.twice;
        }
        Ok(Keys { twice })
    }

    fn visit_bool<E>(self, _: bool) -> Result<Keys, E> {
        Ok(Keys { twice: false })
    }

    fn visit_u64<E>(self, _: u64) -> Result<Keys, E> {
        Ok(Keys { twice: false })
    }

    fn visit_i64<E>(self, _: i64) -> Result<Keys, E> {
        Ok(Keys { twice: false })
    }

    fn visit_f64<E>(self, _: f64) -> Result<Keys, E> {
        Ok(Keys { twice: false })
    }

    fn visit_str<E>(self, _: &str) -> Result<Keys, E> {
        Ok(Keys { twice: false })
    }

    fn visit_unit<E>(self) -> Result<Keys, E> {
        Ok(Keys { twice: false })
    }
}

/// The last line that an error in a YAML text may name. The reader (libyaml) also ends lines at NEL, LS and PS, and
/// calls the end of a text that lacks its last line end a line of its own.
#[must_use]
pub fn last_line(text: &str) -> usize {
    2 + text.matches(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']).count()
}

/// The rules that come with the program.
///
/// # Panics
///
/// Where one of them cannot be read.
#[must_use]
pub fn built_in_rules() -> Vec<k8scop::rules::Rule> {
    k8scop::config::built_in_rules().expect("they are good").rules
}

/// The clock of all targets: the same input must do the same twice.
///
/// # Panics
///
/// Never: the text is a time.
#[must_use]
pub fn now() -> jiff::Timestamp {
    "2026-03-01T12:00:00Z".parse().expect("a time")
}

/// The first byte, which chooses a variant, and the rest.
#[must_use]
pub fn chosen(data: &[u8]) -> Option<(u8, &[u8])> {
    data.split_first().map(|(first, rest)| (*first, rest))
}

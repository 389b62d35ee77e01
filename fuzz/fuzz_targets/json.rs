//! The JSON scanner against `serde_json`: what is accepted, how deep it is, where members and elements stand, and
//! what strings say.

#![no_main]

use k8scop::json::{self, JsonError, Kind, Member};
use k8scop_fuzz::{depth, is_json};
use serde_json::Value;

/// Levels of a text that are looked at one by one.
const LEVELS: usize = 12;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut out = String::new();
    json::unescape_into(text, &mut out);
    json::push_string(&mut out, text);
    writes_what_is_read(text);
    match json::check(text, json::DEPTH_MAX) {
        Ok(_) => good(text),
        Err(error) => {
            assert!(!is_json(text), "refused what is JSON: {error}");
            if let JsonError::Unexpected { at } | JsonError::Cut { at } = error {
                assert!(at <= text.len(), "{error} of {} bytes", text.len());
            }
            assert_eq!(json::object(text, json::DEPTH_MAX, &mut Vec::new()), Err(error));
        }
    }
});

fn good(text: &str) {
    assert!(is_json(text), "accepted what is no JSON");
    if let Err(error) = serde_json::from_str::<Value>(text) {
        let reason = error.to_string();
        // What a tree cannot hold and a text can.
        let excused = reason.starts_with("number out of range")
            || reason.starts_with("recursion limit") && depth(text) >= 128
            || reason.contains("hex escape") && text.to_ascii_lowercase().contains("\\ud");
        assert!(excused, "serde_json: {reason}");
    }
    let depth = depth(text);
    assert!(json::check(text, depth).is_ok());
    if depth > 0 {
        let too_deep = json::check(text, depth - 1);
        assert!(matches!(too_deep, Err(JsonError::TooDeep { .. })), "{too_deep:?}");
    }
    let blanks = [' ', '\t', '\n', '\r'];
    let value = text.trim_matches(blanks);
    let mut members = Vec::new();
    match json::object(text, json::DEPTH_MAX, &mut members) {
        Ok(told) => {
            assert_eq!(told, depth);
            // The same members, whichever way they are asked for.
            assert_eq!(members, json::members(value).collect::<Vec<_>>());
            for member in &members {
                if let Some(key) = member.key() {
                    assert!(member.is(&key));
                    assert_eq!(json::get(value, &key), json::member(&members, &key));
                    assert!(json::member(&members, &key).is_some());
                }
            }
        }
        Err(error) => {
            assert_eq!(error, JsonError::NotAnObject);
            assert!(!value.starts_with('{'));
        }
    }
    parts(value, LEVELS);
}

/// The parts of a value lie side by side: between them stands nothing but what JSON puts there.
fn parts(value: &str, levels: usize) {
    let kind = json::kind(value);
    assert_eq!(json::check(value, json::DEPTH_MAX), Ok(kind));
    assert!(kind == Kind::Object || json::members(value).next().is_none());
    assert!(kind == Kind::Array || json::elements(value).next().is_none());
    match kind {
        Kind::Object => {
            let mut pieces = Vec::new();
            for Member { raw_key, value } in json::members(value) {
                pieces.extend([raw_key, value]);
            }
            let between: Vec<&str> = match pieces.len() / 2 {
                0 => vec!["{}"],
                count => (0..count * 2 + 1)
                    .map(|it| match it {
                        0 => "{\"",
                        last if last == count * 2 => "}",
                        key if key % 2 == 1 => "\":",
                        _ => ",\"",
                    })
                    .collect(),
            };
            cover(value, &pieces, &between);
            for Member { raw_key, value } in json::members(value) {
                string(&format!("\"{raw_key}\""));
                if levels > 0 {
                    parts(value, levels - 1);
                }
            }
        }
        Kind::Array => {
            let pieces: Vec<&str> = json::elements(value).collect();
            let between: Vec<&str> = match pieces.len() {
                0 => vec!["[]"],
                count => (0..=count)
                    .map(|it| match it {
                        0 => "[",
                        last if last == count => "]",
                        _ => ",",
                    })
                    .collect(),
            };
            cover(value, &pieces, &between);
            if levels > 0 {
                pieces.iter().for_each(|it| parts(it, levels - 1));
            }
        }
        Kind::String => string(value),
        Kind::Number | Kind::Bool | Kind::Null => assert_eq!(json::string(value), None),
    }
}

/// `value` is its pieces in order, with `between` around them, blanks aside.
fn cover(value: &str, pieces: &[&str], between: &[&str]) {
    let mut at = value.as_ptr() as usize;
    let end = at + value.len();
    let gap = |from: usize, to: usize| -> String {
        let start = from - value.as_ptr() as usize;
        let text = &value[start..start + (to - from)];
        text.chars().filter(|it| !it.is_ascii_whitespace()).collect()
    };
    for (piece, expected) in pieces.iter().zip(between) {
        let start = piece.as_ptr() as usize;
        assert!(start >= at && start + piece.len() <= end, "a piece lies outside its value");
        assert_eq!(gap(at, start), *expected, "in {value}");
        at = start + piece.len();
    }
    assert_eq!(between.len(), pieces.len() + 1);
    assert_eq!(Some(gap(at, end).as_str()), between.last().copied(), "in {value}");
}

fn string(value: &str) {
    let (ours, theirs) = (json::string(value), serde_json::from_str::<String>(value).ok());
    assert_eq!(ours.as_deref(), theirs.as_deref(), "{value}");
    let mut out = String::new();
    let whole = json::unescape_into(&value[1..value.len() - 1], &mut out);
    assert_eq!(whole.then_some(out), theirs);
}

fn writes_what_is_read(text: &str) {
    let mut out = String::new();
    json::push_string(&mut out, text);
    assert_eq!(json::check(&out, 1), Ok(Kind::String));
    assert_eq!(serde_json::from_str::<String>(&out).ok().as_deref(), Some(text));
    assert_eq!(json::string(&out).as_deref(), Some(text));
    assert!(!out.contains(['\n', '\r', '\0']), "a string must stay on its line");
}

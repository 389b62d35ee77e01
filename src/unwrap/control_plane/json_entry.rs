//! Entries that are JSON objects: klog's with `--logging-format=json` (component-base 0.35, `logs/json/json.go`,
//! where `ts` is milliseconds and only errors have no verbosity `v`), those that the client of etcd writes with
//! zap between the lines of the API server, and logrus' JSON.

use std::borrow::Cow;

use jiff::Timestamp;

use super::{Line, fields::Fields, level, origin};
use crate::json::{self, Kind};

/// Reads an object with a time and a message; `None` for all others. Where zap writes a name twice, the first is
/// its own and the other a value that somebody gave it.
pub(super) fn parse(text: &str) -> Option<Line<'_>> {
    let mut members = Vec::new();
    json::object(text, json::DEPTH_MAX, &mut members).ok()?;
    let first = |name| members.iter().find(|it| it.is(name)).map(|it| it.value);
    let said = first("msg")?;
    let time = first("ts").or_else(|| first("time"))?;
    let mut line = Line { message: json::string(said)?, at: at(time), ..Line::default() };
    let told = first("level");
    line.level = match told.and_then(json::string) {
        Some(name) => level(&name),
        None if json::kind(time) != Kind::Number => None,
        None if first("v").is_some() => Some("info"),
        None => Some("error"),
    };
    let caller = first("caller");
    if let Some(Cow::Borrowed(place)) = caller.and_then(json::string) {
        (line.file, line.line) = origin(place).unzip();
    }
    let read = [
        Some(said),
        Some(time),
        told.filter(|_| line.level.is_some()),
        caller.filter(|_| line.file.is_some()),
    ];
    let mut fields = Fields { incomplete: line.at.is_none(), ..Fields::default() };
    for member in &members {
        if read.iter().flatten().any(|it| std::ptr::eq(*it, member.value)) {
            continue;
        }
        match (member.key(), value(member.value)) {
            (Some(key), Some(value)) => fields.push(key, value),
            _ => fields.incomplete = true,
        }
    }
    if fields.incomplete {
        line.message = Cow::Borrowed(text);
    }
    line.fields = fields.list;
    Some(line)
}

/// A string decoded, anything else as it stands there; `None` for a string with half a surrogate pair.
fn value(raw: &str) -> Option<Cow<'_, str>> {
    match json::kind(raw) {
        Kind::String => json::string(raw),
        _ => Some(Cow::Borrowed(raw)),
    }
}

/// Below it a number is seconds, as in examples of the first releases; as milliseconds it is in 1973.
const SECONDS_BELOW: u64 = 100_000_000_000;

fn at(value: &str) -> Option<Timestamp> {
    if let Some(text) = json::string(value) {
        return text.parse().ok();
    }
    // By digits: a float has none to spare for nanoseconds.
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    let whole_number: i128 = super::digits(whole)?.into();
    let unit = if whole_number < SECONDS_BELOW.into() { 9_usize } else { 6 };
    let digits: String = fraction.chars().chain("000000000".chars()).take(unit).collect();
    let nanos: i128 = super::digits(&digits)?.into();
    let scale = 10_i128.checked_pow(u32::try_from(unit).ok()?)?;
    Timestamp::from_nanosecond(whole_number.checked_mul(scale)?.checked_add(nanos)?).ok()
}

//! klog's text: `Lmmdd hh:mm:ss.uuuuuu threadid file:line] text` (klog 2.140, `internal/buffer/buffer.go`), and
//! what its structured calls write as text: `"message" key="value" …` (`internal/serialize/keyvalues.go`).

use std::borrow::Cow;

use jiff::{SignedDuration, Timestamp, civil::DateTime, tz::Offset};

use super::{Line, digits, fields::Fields, origin, quoted};

/// What stands before the text of an entry.
#[derive(Debug)]
pub(super) struct Header<'a> {
    level: &'static str,
    month: i8,
    day: i8,
    hour: i8,
    minute: i8,
    second: i8,
    micros: i32,
    thread: u64,
    file: &'a str,
    line: u64,
    text: &'a str,
}

/// Reads a header. It may be of any day of any year: 30 February has the form and is no time.
pub(super) fn header(line: &str) -> Option<Header<'_>> {
    let bytes = line.as_bytes();
    let level = match bytes.first()? {
        b'I' => "info",
        b'W' => "warning",
        b'E' => "error",
        b'F' => "fatal",
        _ => return None,
    };
    for (at, expected) in [(5, b' '), (8, b':'), (11, b':'), (14, b'.'), (21, b' ')] {
        if *bytes.get(at)? != expected {
            return None;
        }
    }
    let two = |from: usize, low: i8, high: i8| {
        let number = i8::try_from(digits(line.get(from..from + 2)?)?).ok()?;
        (low..=high).contains(&number).then_some(number)
    };
    let (thread, rest) = line.get(22..)?.trim_start_matches(' ').split_once(' ')?;
    // Text that is empty may have lost the blank before it.
    let (place, text) = rest.split_once(' ').unwrap_or((rest, ""));
    let (file, number) = origin(place.strip_suffix(']')?)?;
    Some(Header {
        level,
        month: two(1, 1, 12)?,
        day: two(3, 1, 31)?,
        hour: two(6, 0, 23)?,
        minute: two(9, 0, 59)?,
        second: two(12, 0, 59)?,
        micros: i32::try_from(digits(line.get(15..21)?)?).ok()?,
        thread: digits(thread)?,
        file,
        line: number,
        text,
    })
}

/// An entry cannot be farther from its envelope's time than half a year, unless there is no such day in the years
/// around it (29 February): no time is better than one that is years off.
const FARTHEST: SignedDuration = SignedDuration::from_hours(184 * 24);

impl Header<'_> {
    fn at(&self, hint: Timestamp) -> Option<Timestamp> {
        let year = Offset::UTC.to_datetime(hint).year();
        let in_year = |year| {
            let nanos = self.micros * 1000;
            let (hour, minute, second) = (self.hour, self.minute, self.second);
            let civil =
                DateTime::new(year, self.month, self.day, hour, minute, second, nanos).ok()?;
            Offset::UTC.to_timestamp(civil).ok()
        };
        let distance = |it: &Timestamp| it.duration_since(hint).abs();
        (year.saturating_sub(1)..=year.saturating_add(1))
            .filter_map(in_year)
            .min_by_key(distance)
            .filter(|it| distance(it) <= FARTHEST)
    }
}

/// Reads a line with a header. Allocates for structured values only.
pub(super) fn parse(line: &str, hint: Option<Timestamp>) -> Option<Line<'_>> {
    let header = header(line)?;
    let mut fields = Fields::default();
    if let Some((_, rest)) = quoted::cut(header.text) {
        read_pairs(rest, &mut fields);
    }
    Some(Line {
        level: Some(header.level),
        at: hint.and_then(|hint| header.at(hint)),
        message: Cow::Borrowed(header.text),
        file: Some(header.file),
        line: Some(header.line),
        thread: Some(header.thread),
        fields: fields.list,
        continuation: false,
    })
}

/// Reads ` key=value` as often as it stands there. What follows stays in the message only: a text that happened
/// to begin with a quote, or a value whose lines come as lines of their own.
fn read_pairs<'a>(mut rest: &'a str, fields: &mut Fields<'a>) {
    while let Some((key, value, tail)) = pair(rest) {
        fields.push(Cow::Borrowed(key), value);
        rest = tail;
    }
}

fn pair(text: &str) -> Option<(&str, Cow<'_, str>, &str)> {
    let (key, rest) = text.strip_prefix(' ')?.split_once('=')?;
    if key.is_empty() || key.contains([' ', '"', '\n']) {
        return None;
    }
    let (value, tail) = match rest.as_bytes().first() {
        Some(b'"') => quoted::cut(rest).map(|(inside, tail)| (quoted::decode(inside), tail))?,
        Some(b'<') if rest.starts_with("<\n") => lines(rest)?,
        // Its lines come as lines of their own.
        Some(b'<') if rest == "<" => return None,
        _ => {
            let (value, tail) = rest.split_at_checked(bare_len(rest)?)?;
            (Cow::Borrowed(value), tail)
        }
    };
    (tail.is_empty() || tail.starts_with(' ')).then_some((key, value, tail))
}

/// A value of several lines, each after a tab, between `<` and ` >`.
fn lines(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let (inside, tail) = text.strip_prefix("<\n")?.split_once("\n >")?;
    let mut value = String::with_capacity(inside.len());
    for (number, line) in inside.split('\n').enumerate() {
        if number > 0 {
            value.push('\n');
        }
        value.push_str(line.strip_prefix('\t')?);
    }
    Some((Cow::Owned(value), tail))
}

/// How long a value without quotes is: up to a blank outside of brackets and strings. `None` if it was cut.
fn bare_len(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(byte) = text.as_bytes().get(at) {
        match byte {
            b'"' => {
                let rest = text.get(at..)?;
                at += rest.len() - quoted::cut(rest)?.1.len();
                continue;
            }
            b'{' | b'[' | b'(' => depth += 1,
            b'}' | b']' | b')' => depth = depth.saturating_sub(1),
            b' ' if depth == 0 => break,
            _ => (),
        }
        at += 1;
    }
    (depth == 0).then_some(at)
}

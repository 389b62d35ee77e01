//! logfmt as logrus writes it (1.9, `text_formatter.go`): `time`, `level`, `msg`, then the others by name; in
//! quotes what has more than letters, digits and `-._/@^+`.

use std::borrow::Cow;

use super::{Line, fields::Fields, level, quoted};

/// Reads a line that begins with its time.
pub(super) fn parse(text: &str) -> Line<'_> {
    let mut line = Line::default();
    let mut message = None;
    let mut fields = Fields::default();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(' ');
        if rest.is_empty() {
            break;
        }
        let Some((key, value, tail)) = pair(rest) else {
            fields.incomplete = true;
            break;
        };
        rest = tail;
        match key {
            "time" if line.at.is_none() => {
                line.at = value.parse().ok();
                fields.incomplete |= line.at.is_none();
            }
            "level" if line.level.is_none() => {
                line.level = level(&value);
                fields.incomplete |= line.level.is_none();
            }
            "msg" if message.is_none() => message = Some(value),
            _ => fields.push(Cow::Borrowed(key), value),
        }
    }
    line.message = message.filter(|_| !fields.incomplete).unwrap_or(Cow::Borrowed(text));
    line.fields = fields.list;
    line
}

fn pair(text: &str) -> Option<(&str, Cow<'_, str>, &str)> {
    let (key, rest) = text.split_once('=')?;
    if key.is_empty() || key.contains([' ', '"']) {
        return None;
    }
    let (value, tail) = if rest.starts_with('"') {
        let (inside, tail) = quoted::cut(rest)?;
        (quoted::decode(inside), tail)
    } else {
        let (value, tail) = rest.split_at(rest.find(' ').unwrap_or(rest.len()));
        (Cow::Borrowed(value), tail)
    };
    (tail.is_empty() || tail.starts_with(' ')).then_some((key, value, tail))
}

use std::borrow::Cow;

use super::{avx512::Avx512, block};

/// How many bytes at the start of `bytes` a JSON string can hold as they are: up to the first quote, backslash
/// or control character.
#[inline]
pub(super) fn plain_len(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(lane) = bytes.get(at..).and_then(|it| it.first_chunk()) {
        let [_, stops] = block::stops(lane);
        if stops != 0 {
            return at + stops.trailing_zeros() as usize;
        }
        at += block::LANE;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().position(|&it| it == b'"' || it == b'\\' || it < 0x20).unwrap_or(rest.len())
}

/// Whether a string, the inside of which this is, has escapes.
#[inline]
#[must_use]
pub fn has_escapes(raw: &str) -> bool {
    let (lanes, rest) = raw.as_bytes().as_chunks();
    let (words, rest) = rest.as_chunks();
    lanes.iter().any(|it| block::backslashes(it) != 0)
        || words.iter().any(block::has_backslash)
        || rest.contains(&b'\\')
}

/// Decodes the escapes of `raw`, the inside of a checked JSON string. Borrows when there is none; `None` for
/// half a surrogate pair, which no text can hold.
#[must_use]
pub fn decode(raw: &str) -> Option<Cow<'_, str>> {
    if !has_escapes(raw) {
        return Some(Cow::Borrowed(raw));
    }
    let mut out = String::new();
    unescape_into(raw, &mut out).then_some(Cow::Owned(out))
}

/// The text of a checked JSON value that is a string; `None` for any other value.
#[must_use]
pub fn string(value: &str) -> Option<Cow<'_, str>> {
    decode(value.strip_prefix('"')?.strip_suffix('"')?)
}

/// Appends the decoded inside of a checked JSON string to `out`. False, with `out` cut short, where an escape
/// names half a surrogate pair.
pub fn unescape_into(raw: &str, out: &mut String) -> bool {
    if !out.is_empty() || raw.len() < block::BLOCK {
        return unescape_plainly(raw, out);
    }
    let mut bytes = std::mem::take(out).into_bytes();
    bytes.resize(raw.len() + block::BLOCK, 0);
    let (len, is_whole) = unescape(raw, Avx512::here(), &mut bytes);
    bytes.truncate(len);
    // Every piece of it was a text.
    String::from_utf8(bytes).map(|it| *out = it).is_ok() && is_whole
}

/// The plain twin of [`unescape_into`].
fn unescape_plainly(raw: &str, out: &mut String) -> bool {
    out.reserve(raw.len());
    let mut rest = raw;
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        let (plain, escape) = rest.split_at(at);
        out.push_str(plain);
        let Some((decoded, len)) = escape_at(escape) else { return false };
        out.push(decoded);
        rest = escape.get(len..).unwrap_or_default();
    }
    out.push_str(rest);
    true
}

/// Writes what `raw` stands for to the start of `out`: how many bytes, and whether all of it. An escape is longer than
/// what it stands for, and `out` has a block more than `raw`: so lanes and blocks are written whole, whatever of them
/// counts.
fn unescape(raw: &str, avx512: Option<Avx512>, out: &mut [u8]) -> (usize, bool) {
    let bytes = raw.as_bytes();
    let (mut at, mut len) = (0, 0);
    while at < bytes.len() {
        if let Some(avx512) = avx512
            && let (Some(bytes), Some(out)) = (bytes.get(at..), out.get_mut(len..))
        {
            let (read, written) = avx512.unescape(bytes, out);
            (at, len) = (at + read, len + written);
        }
        let mut plain = 0;
        if let (Some(lane), Some(room)) = (chunk(bytes, at), chunk_mut(out, len)) {
            *room = *lane;
            let backslashes = block::backslashes(lane);
            if backslashes == 0 {
                (at, len) = (at + block::LANE, len + block::LANE);
                continue;
            }
            plain = backslashes.trailing_zeros() as usize;
            let (Some(code), Some(place)) = (bytes.get(at + plain + 1), room.get_mut(plain)) else {
                return (len + plain, false);
            };
            if matches!(code, b'"' | b'\\' | b'/') {
                *place = *code;
                (at, len) = (at + plain + 2, len + plain + 1);
                continue;
            }
        }
        (at, len) = (at + plain, len + plain);
        match bytes.get(at) {
            Some(b'\\') => {
                let Some((decoded, taken)) = raw.get(at..).and_then(escape_at) else {
                    return (len, false);
                };
                let Some(room) = out.get_mut(len..len + 4) else { return (len, false) };
                (at, len) = (at + taken, len + decoded.encode_utf8(room).len());
            }
            Some(byte) => {
                let Some(place) = out.get_mut(len) else { return (len, false) };
                *place = *byte;
                (at, len) = (at + 1, len + 1);
            }
            None => break,
        }
    }
    (len, true)
}

#[inline]
fn chunk(bytes: &[u8], at: usize) -> Option<&[u8; block::LANE]> {
    bytes.get(at..)?.first_chunk()
}

#[inline]
fn chunk_mut(bytes: &mut [u8], at: usize) -> Option<&mut [u8; block::LANE]> {
    bytes.get_mut(at..)?.first_chunk_mut()
}

/// A checked JSON text with as few escapes as can be: its strings are written as [`written`] writes them. `None` where
/// an escape names half a surrogate pair.
#[must_use]
pub fn plainest(text: &str) -> Option<Cow<'_, str>> {
    let is_plain =
        |at: usize| matches!(text.as_bytes().get(at + 1), Some(b'"' | b'\\' | b'n' | b'r' | b't'));
    let mut escapes = memchr::memchr_iter(b'\\', text.as_bytes());
    let mut last = None;
    let mut first_other = None;
    for at in &mut escapes {
        // The second of two is no escape.
        if last.is_some_and(|it| it + 1 == at) {
            last = None;
        } else if is_plain(at) {
            last = Some(at);
        } else {
            first_other = Some(at);
            break;
        }
    }
    let Some(first) = first_other else { return Some(Cow::Borrowed(text)) };
    let (before, mut rest) = text.split_at(first);
    let mut out = String::with_capacity(text.len());
    out.push_str(before);
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        let (plain, escape) = rest.split_at(at);
        out.push_str(plain);
        let (decoded, len) = escape_at(escape)?;
        push_char(&mut out, decoded);
        rest = escape.get(len..).unwrap_or_default();
    }
    out.push_str(rest);
    Some(Cow::Owned(out))
}

/// A text as it stands in JSON, without the quotes around it.
#[must_use]
pub fn written(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    text.chars().for_each(|it| push_char(&mut out, it));
    out
}

/// Decodes the escape at the start of `text`; gives the character and the bytes that it took.
fn escape_at(text: &str) -> Option<(char, usize)> {
    let simple = match text.as_bytes().get(1)? {
        b'n' => '\n',
        b't' => '\t',
        b'r' => '\r',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'u' => return unicode_at(text),
        &other => char::from(other),
    };
    Some((simple, 2))
}

fn unicode_at(text: &str) -> Option<(char, usize)> {
    let unit = |from: usize| u32::from_str_radix(text.get(from..from + 4)?, 16).ok();
    let high = unit(2)?;
    if !(0xd800..0xe000).contains(&high) {
        return Some((char::from_u32(high)?, 6));
    }
    if high >= 0xdc00 || text.get(6..8)? != "\\u" {
        return None;
    }
    let low = unit(8)?.checked_sub(0xdc00).filter(|it| *it < 0x400)?;
    Some((char::from_u32(0x10000 + ((high - 0xd800) << 10) + low)?, 12))
}

/// Appends `value` to `out` as a JSON string with its quotes.
pub fn push_string(out: &mut String, value: &str) {
    out.push('"');
    let mut rest = value;
    loop {
        let (plain, tail) = rest.split_at(plain_len(rest.as_bytes()));
        out.push_str(plain);
        let mut chars = tail.chars();
        match chars.next() {
            None => break,
            Some(special) => push_char(out, special),
        }
        rest = chars.as_str();
    }
    out.push('"');
}

/// Appends a character as it stands in a JSON string.
fn push_char(out: &mut String, it: char) {
    const HEX: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    match it {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        control if control < ' ' => {
            out.push_str("\\u00");
            let code = control as usize;
            out.extend(HEX.get(code / 16 % 16));
            out.extend(HEX.get(code % 16));
        }
        it => out.push(it),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escapes() {
        assert_eq!(decode("plain"), Some(Cow::Borrowed("plain")));
        assert_eq!(decode(r#"\"\\\/\b\f\n\r\t\u0041\u00e9"#).unwrap(), "\"\\/\u{8}\u{c}\n\r\tAé");
        assert_eq!(decode(r"\ud83d\ude00!").unwrap(), "😀!");
        for half in [r"\ud83d", r"\ud83dx", r"\ude00", r"\ud83d\u0041", r"\ud83d\ud83d"] {
            assert_eq!(decode(half), None, "{half}");
        }
    }

    #[test]
    fn as_few_escapes_as_can_be() {
        for (text, expected) in [
            (r#"{"a\"b":"c\\d\n"}"#, r#"{"a\"b":"c\\d\n"}"#),
            (r#"["\u0041\/\u0022\u005c\u000a\b\\u0041\t"]"#, r#"["A/\"\\\n\u0008\\u0041\t"]"#),
            (r#"["\\\u0041"]"#, r#"["\\A"]"#),
        ] {
            assert_eq!(plainest(text).unwrap(), expected);
        }
        assert_eq!(plainest(r#""\ud83d""#), None);
        assert_eq!(written("a\"\\\n\u{8}/"), r#"a\"\\\n\u0008/"#);
    }

    #[test]
    fn the_stop_is_found_at_every_offset() {
        for stop in [b'"', b'\\', 0x1f, 0] {
            for at in 0..20 {
                let mut bytes = vec![b' '; 24];
                bytes[at] = stop;
                assert_eq!(plain_len(&bytes), at, "{stop}");
            }
        }
        assert_eq!(plain_len("é\u{7f}😀 !#[]^".as_bytes()), "é\u{7f}😀 !#[]^".len());
    }

    proptest! {
        #[test]
        fn written_strings_are_read_back(text in any::<String>()) {
            let mut out = String::new();
            push_string(&mut out, &text);
            prop_assert_eq!(&serde_json::from_str::<String>(&out).unwrap(), &text);
            prop_assert_eq!(string(&out).unwrap(), text);
        }

        #[test]
        fn unescaping_agrees_with_its_plain_twin(inside in super::super::scan::tests::insides()) {
            let (mut fast, mut plain) = (String::new(), String::new());
            let is_whole = unescape_into(&inside, &mut fast);
            prop_assert_eq!(is_whole, unescape_plainly(&inside, &mut plain));
            prop_assert_eq!(&fast, &plain);
            // As on a processor without AVX-512.
            let mut bytes = vec![0; inside.len() + block::BLOCK];
            let (len, is_whole_too) = unescape(&inside, None, &mut bytes);
            prop_assert_eq!(is_whole, is_whole_too);
            prop_assert_eq!(&bytes[..len], plain.as_bytes());
        }

        #[test]
        fn unescape_agrees_with_serde_json(text in any::<String>()) {
            let quoted = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(string(&quoted).unwrap(), text);
        }
    }
}

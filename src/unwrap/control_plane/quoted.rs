use std::borrow::Cow;

/// Cuts a string quoted as Go's `%q` does from the start of `text`: its inside and what follows the closing quote.
pub(super) fn cut(text: &str) -> Option<(&str, &str)> {
    let inside = text.strip_prefix('"')?;
    let bytes = inside.as_bytes();
    let mut at = 0;
    loop {
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes.get(at) == Some(&b'"') {
            return Some((inside.get(..at)?, inside.get(at + 1..)?));
        }
        at += 2;
    }
}

/// Decodes the inside of a quoted string (the Go specification, "Rune literals"). One with an escape that Go
/// does not write stays as it is.
pub(super) fn decode(inside: &str) -> Cow<'_, str> {
    let Some(first) = memchr::memchr(b'\\', inside.as_bytes()) else {
        return Cow::Borrowed(inside);
    };
    let mut out = String::with_capacity(inside.len());
    let (plain, mut rest) = inside.split_at(first);
    out.push_str(plain);
    while !rest.is_empty() {
        let Some((decoded, len)) = escape(rest) else { return Cow::Borrowed(inside) };
        out.push(decoded);
        rest = rest.get(len..).unwrap_or_default();
        let (plain, tail) =
            rest.split_at(memchr::memchr(b'\\', rest.as_bytes()).unwrap_or(rest.len()));
        out.push_str(plain);
        rest = tail;
    }
    Cow::Owned(out)
}

/// The escape at the start of `text`: the character and the bytes that it took.
fn escape(text: &str) -> Option<(char, usize)> {
    let code = |len: usize| {
        let hex = text.get(2..2 + len).filter(|it| it.bytes().all(|it| it.is_ascii_hexdigit()))?;
        u32::from_str_radix(hex, 16).ok()
    };
    let simple = match text.as_bytes().get(1)? {
        b'n' => '\n',
        b't' => '\t',
        b'r' => '\r',
        b'a' => '\x07',
        b'b' => '\x08',
        b'f' => '\x0c',
        b'v' => '\x0b',
        &quote @ (b'"' | b'\\' | b'\'') => char::from(quote),
        // Above 7f it is a byte that was no UTF-8.
        b'x' => {
            return Some((
                char::from_u32(code(2)?).filter(char::is_ascii).unwrap_or('\u{fffd}'),
                4,
            ));
        }
        b'u' => return Some((char::from_u32(code(4)?)?, 6)),
        b'U' => return Some((char::from_u32(code(8)?)?, 10)),
        _ => return None,
    };
    Some((simple, 2))
}

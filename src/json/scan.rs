use std::borrow::Cow;

use thiserror::Error;

use super::{block, fast::Fast, text};

/// Deepest nesting that can be asked for. Each level costs a bit. Jackson, which Elasticsearch parses with, stops at
/// 1,000 (`StreamReadConstraints.DEFAULT_MAX_DEPTH`, jackson-core 2.15).
pub const DEPTH_MAX: usize = 1 << 20;
/// Most members that [`object`] notes: they cost 32 bytes each, so that a body of tiny members would grow six
/// times. Elasticsearch indexes 1,000 fields by default (`index.mapping.total_fields.limit`).
pub const MEMBERS_MAX: usize = 65_536;

/// One `"key": value` of an object, as it stands in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member<'a> {
    /// Between the quotes, escapes not decoded.
    pub raw_key: &'a str,
    /// The value without the blanks around it.
    pub value: &'a str,
}

impl<'a> Member<'a> {
    /// The key with its escapes decoded; `None` where it names half a surrogate pair.
    #[must_use]
    pub fn key(&self) -> Option<Cow<'a, str>> {
        text::decode(self.raw_key)
    }

    /// Whether the decoded key is `name`. A key may be written with escapes to hide from a plain comparison.
    #[inline]
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        // What differs in its first character does not begin with an escape.
        let first = self.raw_key.as_bytes().first();
        if first != name.as_bytes().first() && first != Some(&b'\\') {
            return false;
        }
        // An escape is longer than what it stands for.
        self.raw_key == name || self.raw_key.len() > name.len() && self.is_escaped(name)
    }

    #[inline(never)]
    fn is_escaped(&self, name: &str) -> bool {
        text::has_escapes(self.raw_key) && self.key().is_some_and(|key| key == name)
    }
}

/// The kind of a JSON value, told from its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `{…}`
    Object,
    /// `[…]`
    Array,
    /// `"…"`
    String,
    /// `12.5`
    Number,
    /// `true` or `false`
    Bool,
    /// `null`
    Null,
}

/// Why a text is not one JSON value.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum JsonError {
    /// A byte that cannot stand where it stands.
    #[error("not JSON: unexpected character at byte {at}")]
    Unexpected {
        /// Offset in bytes, from 0.
        at: usize,
    },
    /// The text ends inside a value.
    #[error("not JSON: the text ends inside a value, after {at} bytes")]
    Cut {
        /// Length of the text in bytes.
        at: usize,
    },
    /// More nested arrays and objects than allowed.
    #[error("nested deeper than {limit} levels at byte {at}")]
    TooDeep {
        /// Levels allowed.
        limit: usize,
        /// Offset in bytes, from 0.
        at: usize,
    },
    /// More members at the root than [`MEMBERS_MAX`].
    #[error("the object has more than {limit} members")]
    TooManyMembers {
        /// Members allowed.
        limit: usize,
    },
    /// A JSON value, but no object.
    #[error("a JSON object is expected, this is another value")]
    NotAnObject,
}

/// Tells the kind of a value from its first byte. Takes a value that was checked, without blanks before it.
#[must_use]
pub fn kind(value: &str) -> Kind {
    match value.as_bytes().first() {
        Some(b'{') => Kind::Object,
        Some(b'[') => Kind::Array,
        Some(b'"') => Kind::String,
        Some(b't' | b'f') => Kind::Bool,
        Some(b'n') | None => Kind::Null,
        Some(_) => Kind::Number,
    }
}

/// Checks that `text` is exactly one JSON value (RFC 8259), at most `depth_max` (≤ [`DEPTH_MAX`]) levels deep.
pub fn check(text: &str, depth_max: usize) -> Result<Kind, JsonError> {
    let depth_max = depth_max.min(DEPTH_MAX);
    let start = match Fast::new(text, depth_max).check() {
        Some(start) => start,
        None => Scanner::new(text, depth_max).check()?,
    };
    Ok(kind(text.get(start..).unwrap_or_default()))
}

/// Checks that `text` is exactly one JSON object and notes its members in `out`, in the order of the text. Gives
/// back how deep it is (levels).
pub fn object<'a>(
    text: &'a str,
    depth_max: usize,
    out: &mut Vec<Member<'a>>,
) -> Result<usize, JsonError> {
    let (before, depth_max) = (out.len(), depth_max.min(DEPTH_MAX));
    if let Some(depth) = Fast::new(text, depth_max).object(out) {
        return Ok(depth);
    }
    out.truncate(before);
    Scanner::new(text, depth_max).object(out)
}

/// The first JSON value of `text`, which may have more after it, and what is left then.
pub fn first(text: &str, depth_max: usize) -> Result<(&str, &str), JsonError> {
    let depth_max = depth_max.min(DEPTH_MAX);
    let (start, end) = match Fast::new(text, depth_max).first() {
        Some(found) => found,
        None => Scanner::new(text, depth_max).first()?,
    };
    Ok((text.get(start..end).unwrap_or_default(), text.get(end..).unwrap_or_default()))
}

/// Steps over the JSON value that `text` begins with, and gives it and what is left. Only its end is looked for: it is
/// not checked, and `None` says no more than that it has no end.
pub(super) fn step(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start_matches([' ', '\t', '\n', '\r']);
    text.split_at_checked(Checked { text, at: 0 }.end(0)?)
}

/// Goes through the members of an object that was checked before; none for any other value.
pub fn members(object_text: &str) -> Members<'_> {
    Members { checked: Checked::open(object_text, b'{') }
}

/// Goes through the elements of an array that was checked before; none for any other value.
pub fn elements(array_text: &str) -> Elements<'_> {
    Elements { checked: Checked::open(array_text, b'[') }
}

/// Behind the value that begins at `at` in a text that was checked before.
#[must_use]
pub fn value_end(text: &str, at: usize) -> Option<usize> {
    Checked { text, at }.end(at)
}

/// Behind the string whose inside begins at `at` in a text that was checked before.
#[inline]
#[must_use]
pub fn string_end(text: &str, at: usize) -> Option<usize> {
    Checked { text, at }.string_end(at)
}

/// The value of the last member called `name` of an object that was checked before.
#[must_use]
pub fn get<'a>(object_text: &'a str, name: &str) -> Option<&'a str> {
    let [value] = get_each(object_text, [name]);
    value
}

/// The values of the last members that are called so, of an object that was checked before.
#[must_use]
pub fn get_each<'a, const N: usize>(
    object_text: &'a str,
    names: [&str; N],
) -> [Option<&'a str>; N] {
    let mut values = [None; N];
    for member in members(object_text) {
        for (value, name) in values.iter_mut().zip(names) {
            if member.is(name) {
                *value = Some(member.value);
            }
        }
    }
    values
}

/// See [`members`].
#[derive(Debug)]
pub struct Members<'a> {
    checked: Checked<'a>,
}

impl<'a> Iterator for Members<'a> {
    type Item = Member<'a>;

    #[inline]
    fn next(&mut self) -> Option<Member<'a>> {
        self.checked.member()
    }
}

/// See [`elements`].
#[derive(Debug)]
pub struct Elements<'a> {
    checked: Checked<'a>,
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a str;

    #[inline]
    fn next(&mut self) -> Option<&'a str> {
        self.checked.element()
    }
}

/// Goes through what was checked before: only where values end has to be found. Any other text makes it end early.
#[derive(Debug)]
struct Checked<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Checked<'a> {
    fn open(text: &'a str, opening: u8) -> Self {
        match text.as_bytes().first() == Some(&opening) {
            true => Self { text, at: 1 },
            false => Self { text: "", at: 0 },
        }
    }

    #[inline]
    fn member(&mut self) -> Option<Member<'a>> {
        let start = self.next_value().filter(|it| self.byte(*it) == Some(b'"'))?;
        let end = self.string_end(start + 1)?;
        let raw_key = self.text.get(start + 1..end - 1)?;
        let value = self.blanks(self.blanks(end) + 1);
        self.at = self.end(value)?;
        Some(Member { raw_key, value: self.text.get(value..self.at)? })
    }

    #[inline]
    fn element(&mut self) -> Option<&'a str> {
        let start = self.next_value()?;
        self.at = self.end(start)?;
        self.text.get(start..self.at)
    }

    /// Where the next member or element begins.
    #[inline]
    fn next_value(&self) -> Option<usize> {
        let at = self.blanks(self.at);
        match self.byte(at)? {
            b',' => Some(self.blanks(at + 1)),
            b'}' | b']' => None,
            _ => Some(at),
        }
    }

    #[inline]
    fn byte(&self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    #[inline]
    fn blanks(&self, mut at: usize) -> usize {
        while matches!(self.byte(at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            at += 1;
        }
        at
    }

    /// Behind the value that begins at `at`.
    fn end(&self, at: usize) -> Option<usize> {
        let bytes = self.text.as_bytes();
        match *bytes.get(at)? {
            b'"' => self.string_end(at + 1),
            b'{' | b'[' => {
                let (mut at, mut depth) = (at + 1, 1);
                loop {
                    match *bytes.get(at)? {
                        b'"' => {
                            at = self.string_end(at + 1)?;
                            continue;
                        }
                        b'{' | b'[' => depth += 1,
                        b'}' | b']' => {
                            depth -= 1;
                            if depth == 0 {
                                return Some(at + 1);
                            }
                        }
                        _ => (),
                    }
                    at += 1;
                }
            }
            b',' | b'}' | b']' | b':' => None,
            _ => {
                let rest = bytes.get(at..)?;
                let ends =
                    |it: &u8| matches!(it, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r');
                Some(at + rest.iter().position(ends).unwrap_or(rest.len()))
            }
        }
    }

    /// Behind the quote that closes the string whose inside begins at `at`.
    #[inline]
    fn string_end(&self, mut at: usize) -> Option<usize> {
        let bytes = self.text.as_bytes();
        while let Some(lane) = bytes.get(at..)?.first_chunk() {
            let [quotes, stops] = block::quotes(lane);
            let first = stops & stops.wrapping_neg();
            if quotes & first != 0 {
                return Some(at + first.trailing_zeros() as usize + 1);
            }
            // What stands behind a backslash is no quote that closes.
            at += if first == 0 { block::LANE } else { first.trailing_zeros() as usize + 2 };
        }
        let mut rest = bytes.iter().enumerate().skip(at);
        while let Some((at, byte)) = rest.next() {
            match byte {
                b'"' => return Some(at + 1),
                b'\\' => _ = rest.next(),
                _ => (),
            }
        }
        None
    }
}

/// The value of the last member called `name`, as Elasticsearch's and Go's parsers take the last.
#[must_use]
pub fn member<'a>(members: &[Member<'a>], name: &str) -> Option<&'a str> {
    members.iter().rev().find(|it| it.is(name)).map(|it| it.value)
}

/// Reads byte by byte, and tells what is wrong: the plain twin of [`Fast`].
#[derive(Debug)]
struct Scanner<'a> {
    text: &'a str,
    at: usize,
    depth_max: usize,
    deepest: usize,
    open: Nesting,
}

impl<'a> Scanner<'a> {
    fn new(text: &'a str, depth_max: usize) -> Self {
        Self { text, at: 0, depth_max, deepest: 0, open: Nesting::default() }
    }

    /// Where the first value begins, and where it ends.
    fn first(&mut self) -> Result<(usize, usize), JsonError> {
        self.blanks();
        let start = self.at;
        self.value(1)?;
        Ok((start, self.at))
    }

    fn check(&mut self) -> Result<usize, JsonError> {
        let (start, _) = self.first()?;
        self.end()?;
        Ok(start)
    }

    fn object(&mut self, out: &mut Vec<Member<'a>>) -> Result<usize, JsonError> {
        self.blanks();
        if self.peek() != Some(b'{') {
            self.check()?;
            return Err(JsonError::NotAnObject);
        }
        self.at += 1;
        self.blanks();
        if self.peek() == Some(b'}') {
            self.at += 1;
            self.end()?;
            return Ok(1);
        }
        loop {
            let raw_key = self.key()?;
            let start = self.at;
            self.value(2)?;
            if out.len() == MEMBERS_MAX {
                return Err(JsonError::TooManyMembers { limit: MEMBERS_MAX });
            }
            let value = self.text.get(start..self.at).unwrap_or_default();
            out.push(Member { raw_key, value });
            self.blanks();
            match self.next()? {
                b',' => self.blanks(),
                b'}' => {
                    self.end()?;
                    return Ok(self.deepest.max(1));
                }
                _ => return Err(self.unexpected_before()),
            }
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn next(&mut self) -> Result<u8, JsonError> {
        let byte = self.peek().ok_or(JsonError::Cut { at: self.at })?;
        self.at += 1;
        Ok(byte)
    }

    fn unexpected_before(&self) -> JsonError {
        JsonError::Unexpected { at: self.at.saturating_sub(1) }
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn end(&mut self) -> Result<(), JsonError> {
        self.blanks();
        if self.at == self.text.len() {
            return Ok(());
        }
        Err(JsonError::Unexpected { at: self.at })
    }

    /// Reads `"key" :` and the blanks after it; the cursor then stands on the value.
    fn key(&mut self) -> Result<&'a str, JsonError> {
        if self.next()? != b'"' {
            return Err(self.unexpected_before());
        }
        let start = self.at;
        self.string_rest()?;
        let raw_key = self.text.get(start..self.at - 1).unwrap_or_default();
        self.blanks();
        if self.next()? != b':' {
            return Err(self.unexpected_before());
        }
        self.blanks();
        Ok(raw_key)
    }

    /// Reads one value that stands at nesting level `level` when it is an array or an object.
    fn value(&mut self, level: usize) -> Result<(), JsonError> {
        loop {
            // One value starts here.
            match self.next()? {
                b'"' => self.string_rest()?,
                opening @ (b'{' | b'[') => {
                    if level + self.open.len > self.depth_max {
                        return Err(JsonError::TooDeep { limit: self.depth_max, at: self.at - 1 });
                    }
                    let is_object = opening == b'{';
                    self.open.push(is_object);
                    self.deepest = self.deepest.max(level + self.open.len - 1);
                    self.blanks();
                    if self.peek() == Some(if is_object { b'}' } else { b']' }) {
                        self.at += 1;
                        self.open.pop();
                    } else {
                        if is_object {
                            self.key()?;
                        }
                        continue;
                    }
                }
                b't' => self.word("rue")?,
                b'f' => self.word("alse")?,
                b'n' => self.word("ull")?,
                first @ (b'-' | b'0'..=b'9') => self.number_rest(first)?,
                _ => return Err(self.unexpected_before()),
            }
            // One value ends here: close what it closes, or go on to its sibling.
            loop {
                let Some(in_object) = self.open.last() else { return Ok(()) };
                self.blanks();
                match self.next()? {
                    b',' => {
                        self.blanks();
                        if in_object {
                            self.key()?;
                        }
                        break;
                    }
                    b'}' if in_object => self.open.pop(),
                    b']' if !in_object => self.open.pop(),
                    _ => return Err(self.unexpected_before()),
                }
            }
        }
    }

    fn word(&mut self, rest: &str) -> Result<(), JsonError> {
        for expected in rest.bytes() {
            if self.next()? != expected {
                return Err(self.unexpected_before());
            }
        }
        Ok(())
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        self.at - start
    }

    fn number_rest(&mut self, first: u8) -> Result<(), JsonError> {
        let leading = if first == b'-' { self.next()? } else { first };
        match leading {
            b'0' => (),
            b'1'..=b'9' => {
                self.digits();
            }
            _ => return Err(self.unexpected_before()),
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.at_least_one_digit()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.at_least_one_digit()?;
        }
        Ok(())
    }

    fn at_least_one_digit(&mut self) -> Result<(), JsonError> {
        if self.digits() > 0 {
            return Ok(());
        }
        self.next()?;
        Err(self.unexpected_before())
    }

    /// Reads to behind the closing quote.
    fn string_rest(&mut self) -> Result<(), JsonError> {
        loop {
            match self.next()? {
                b'"' => return Ok(()),
                b'\\' => self.escape_rest()?,
                0..0x20 => return Err(self.unexpected_before()),
                _ => (),
            }
        }
    }

    /// Reads what stands behind a backslash.
    fn escape_rest(&mut self) -> Result<(), JsonError> {
        match self.next()? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(()),
            b'u' => {
                for _ in 0..4 {
                    if !self.next()?.is_ascii_hexdigit() {
                        return Err(self.unexpected_before());
                    }
                }
                Ok(())
            }
            _ => Err(self.unexpected_before()),
        }
    }
}

/// Which of the open brackets are objects: one bit a level, so that hostile depth costs no stack.
#[derive(Debug, Default)]
pub(super) struct Nesting {
    /// The innermost 64 levels, the last one lowest.
    word: u64,
    /// Those further out.
    more: Vec<u64>,
    len: usize,
}

impl Nesting {
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(super) fn push(&mut self, is_object: bool) {
        if self.len > 0 && self.len.is_multiple_of(64) {
            self.more.push(self.word);
        }
        self.word = self.word << 1 | u64::from(is_object);
        self.len += 1;
    }

    #[inline]
    pub(super) fn pop(&mut self) {
        self.len = self.len.saturating_sub(1);
        self.word >>= 1;
        if self.len > 0 && self.len.is_multiple_of(64) {
            self.word = self.more.pop().unwrap_or_default();
        }
    }

    #[inline]
    pub(super) fn last(&self) -> Option<bool> {
        (self.len > 0).then_some(self.word & 1 == 1)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn good(text: &str) {
        assert!(check(text, 64).is_ok(), "{text}: {:?}", check(text, 64));
        assert!(serde_json::from_str::<serde_json::Value>(text).is_ok(), "{text}");
    }

    #[track_caller]
    fn bad(text: &str, expected: JsonError) {
        assert_eq!(check(text, 64), Err(expected), "{text}");
        assert!(serde_json::from_str::<serde_json::Value>(text).is_err(), "{text}");
    }

    #[test]
    fn what_is_json() {
        for text in [
            "0",
            "-0",
            "-1.5e+3",
            "1E5",
            " true ",
            "null",
            r#""""#,
            r#""a\"\\\/\b\f\n\r\té""#,
            "[]",
            "[ ]",
            "{}",
            "{ }",
            r#"{"a":[1,{"b":[]},{}],"c":null}"#,
            "\"\u{7f}é😀\"",
            r#"{"long string to pass the eight byte steps":"0123456789012345\"6789"}"#,
        ] {
            good(text);
        }
    }

    #[test]
    fn what_is_not() {
        bad("", JsonError::Cut { at: 0 });
        bad("{", JsonError::Cut { at: 1 });
        bad(r#"{"a":1"#, JsonError::Cut { at: 6 });
        bad("\"abcdefghi", JsonError::Cut { at: 10 });
        bad("01", JsonError::Unexpected { at: 1 });
        bad("1.", JsonError::Cut { at: 2 });
        bad("1.x", JsonError::Unexpected { at: 2 });
        bad("-", JsonError::Cut { at: 1 });
        bad("+1", JsonError::Unexpected { at: 0 });
        bad("[1,]", JsonError::Unexpected { at: 3 });
        bad("[1}", JsonError::Unexpected { at: 2 });
        bad(r#"{"a":1,}"#, JsonError::Unexpected { at: 7 });
        bad(r#"{"a" 1}"#, JsonError::Unexpected { at: 5 });
        bad("{1:2}", JsonError::Unexpected { at: 1 });
        bad("tru", JsonError::Cut { at: 3 });
        bad("nul1", JsonError::Unexpected { at: 3 });
        bad("\"a\nb\"", JsonError::Unexpected { at: 2 });
        bad("\"12345678\u{1}\"", JsonError::Unexpected { at: 9 });
        bad(r#""\x""#, JsonError::Unexpected { at: 2 });
        bad(r#""\u12g4""#, JsonError::Unexpected { at: 5 });
        bad("1 2", JsonError::Unexpected { at: 2 });
    }

    #[test]
    fn depth_is_counted_and_costs_no_stack() {
        let nested = |n: usize| "[".repeat(n) + &"]".repeat(n);
        assert!(check(&nested(64), 64).is_ok());
        assert_eq!(check(&nested(65), 64), Err(JsonError::TooDeep { limit: 64, at: 64 }));
        assert_eq!(
            check(&nested(100_000), 1000),
            Err(JsonError::TooDeep { limit: 1000, at: 1000 })
        );
        let objects = r#"{"a":"#.repeat(3) + "1" + &"}".repeat(3);
        let mut out = Vec::new();
        assert!(object(&objects, 3, &mut out).is_ok());
        assert_eq!(object(&objects, 2, &mut out), Err(JsonError::TooDeep { limit: 2, at: 10 }));
    }

    #[test]
    fn members_are_slices_in_order() {
        let mut out = Vec::new();
        object(r#" { "a" : [1, 2] , "b":"x","\u0061":{} } "#, 10, &mut out).unwrap();
        let pairs: Vec<_> = out.iter().map(|it| (it.raw_key, it.value)).collect();
        assert_eq!(pairs, [("a", "[1, 2]"), ("b", "\"x\""), (r"\u0061", "{}")]);
        assert_eq!(member(&out, "a"), Some("{}"), "the last one wins, however it is spelled");
        assert_eq!(object("[1]", 10, &mut out), Err(JsonError::NotAnObject));
    }

    #[test]
    fn a_value_is_stepped_over() {
        for (text, value, left) in [
            (r#" {"a":"}\"]","b":[{}]} ,1"#, r#"{"a":"}\"]","b":[{}]}"#, " ,1"),
            (r#""a\\",2"#, r#""a\\""#, ",2"),
            ("\n12.5e3}", "12.5e3", "}"),
            ("null", "null", ""),
        ] {
            assert_eq!(step(text), Some((value, left)), "{text}");
        }
        for bad in ["", " ", "{", r#"{"a":"}"#, r#""a\""#, ",1", "]", r#"[{"a":[1]}"#] {
            assert_eq!(step(bad), None, "{bad}");
        }
    }

    #[test]
    fn elements_are_slices() {
        let all: Vec<_> = elements(r#"[ 1, "a,b" ,{"c":[2,3]} ]"#).collect();
        assert_eq!(all, ["1", "\"a,b\"", r#"{"c":[2,3]}"#]);
        assert_eq!(elements("[]").count() + elements("{}").count() + elements("7").count(), 0);
    }

    #[test]
    fn members_are_counted() {
        let many = |n: usize| format!("{{{}\"z\":1}}", "\"a\":1,".repeat(n - 1));
        let mut out = Vec::new();
        let (most, more) = (many(MEMBERS_MAX), many(MEMBERS_MAX + 1));
        assert!(object(&most, 10, &mut out).is_ok());
        assert_eq!(get(&more, "z"), Some("1"));
        out.clear();
        let refused = object(&more, 10, &mut out);
        assert_eq!(refused, Err(JsonError::TooManyMembers { limit: MEMBERS_MAX }));
    }

    /// What strings are made of.
    fn piece() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec![
            "\\\"",
            "\\\\",
            "\\n",
            "\\/",
            "\\u00e9",
            "\\ud83d\\ude00",
            "\\ud83d",
            "é",
            "a",
            "/",
            "\u{7f}",
            "0123456789abcdef",
        ])
    }

    /// The insides of strings.
    pub(in crate::json) fn insides() -> impl Strategy<Value = String> {
        prop::collection::vec(piece(), 0..80).prop_map(|it| it.concat())
    }

    /// The same, and what breaks them.
    fn pieces() -> impl Strategy<Value = String> {
        let bad = prop::sample::select(vec!["\"", "\\", "\n", "\0", "\\u12", "\\x"]);
        prop::collection::vec(prop_oneof![40 => piece(), 1 => bad], 0..80)
            .prop_map(|it| it.concat())
    }

    /// What texts are made of, good ones and bad ones.
    fn texts() -> impl Strategy<Value = String> {
        let tokens = [
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "\"a\"",
            "\"b\":",
            "\"\"",
            "1",
            "-0.5e+3",
            "01",
            "true",
            "nul",
            "null",
            " ",
            "\n",
            "\"",
            "{\"a\":{\"b\":[1,[]]}}",
            "[[[[1]]]]",
            "x",
        ];
        let token = prop_oneof![
            3 => prop::sample::select(tokens.to_vec()).prop_map(str::to_owned),
            1 => pieces().prop_map(|it| format!("\"{it}\"")),
        ];
        let good = any::<i16>().prop_map(|it| it.to_string()).prop_recursive(6, 60, 5, |inner| {
            let string =
                pieces().prop_map(|it| format!("\"{}\"", it.replace(['"', '\\'], ""))).boxed();
            let member =
                (string.clone(), inner.clone()).prop_map(|(key, it)| format!("{key}: {it}"));
            prop_oneof![
                string,
                prop::collection::vec(inner, 0..5).prop_map(|it| format!("[{}]", it.join(","))),
                prop::collection::vec(member, 0..5).prop_map(|it| format!("{{{}}}", it.join(" ,"))),
            ]
        });
        prop_oneof![good, prop::collection::vec(token, 0..30).prop_map(|it| it.concat())]
    }

    proptest! {
        #[test]
        fn what_is_right_is_read_as_its_plain_twin_reads_it(text in texts(), depth_max in 1..7_usize) {
            let fast = || Fast::new(&text, depth_max);
            let plain = || Scanner::new(&text, depth_max);
            prop_assert_eq!(fast().check(), plain().check().ok());
            prop_assert_eq!(fast().first(), plain().first().ok());
            let (mut members, mut expected) = (Vec::new(), Vec::new());
            let depth = fast().object(&mut members);
            prop_assert_eq!(depth, plain().object(&mut expected).ok());
            if depth.is_some() {
                prop_assert_eq!(&members, &expected);
                prop_assert_eq!(super::members(text.trim()).collect::<Vec<_>>(), expected);
            }
        }

        #[test]
        fn strings_end_where_their_plain_twin_says(inside in pieces(), more in "[\"a]{0,70}") {
            let text = format!("{inside}{more}");
            let mut plain = Scanner::new(&text, 1);
            let expected = plain.string_rest().is_ok().then_some(plain.at);
            prop_assert_eq!(Fast::new(&text, 1).string(0), expected);
            if expected.is_some() {
                prop_assert_eq!(string_end(&text, 0), expected);
            }
        }
    }
}

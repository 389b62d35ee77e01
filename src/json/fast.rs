//! Checks JSON that is right, fast. What may be wrong is left to the plain scanner, which also tells why.

use super::{
    block::{self, BLOCK, LANE},
    scan::{MEMBERS_MAX, Member, Nesting},
};

/// Reads one text. Every function takes where it begins and gives where it ended; `None` where something may be wrong.
#[derive(Debug)]
pub(super) struct Fast<'a> {
    text: &'a str,
    bytes: &'a [u8],
    depth_max: usize,
    deepest: usize,
}

impl<'a> Fast<'a> {
    pub(super) fn new(text: &'a str, depth_max: usize) -> Self {
        Self { text, bytes: text.as_bytes(), depth_max, deepest: 0 }
    }

    /// Behind the first value of the text, and where it begins.
    pub(super) fn first(&mut self) -> Option<(usize, usize)> {
        let start = self.blanks(0);
        Some((start, self.value(start, 1)?))
    }

    /// The text is one value; where it begins.
    pub(super) fn check(&mut self) -> Option<usize> {
        let (start, end) = self.first()?;
        self.is_end(end).then_some(start)
    }

    /// The text is one object; notes its members. Gives its levels.
    pub(super) fn object(&mut self, out: &mut Vec<Member<'a>>) -> Option<usize> {
        let start = self.blanks(0);
        if self.byte(start)? != b'{' || self.depth_max == 0 {
            return None;
        }
        self.deepest = 1;
        let mut at = self.blanks(start + 1);
        if self.byte(at)? == b'}' {
            return self.is_end(at + 1).then_some(1);
        }
        loop {
            let (key_end, value) = self.key(at)?;
            let end = self.value(value, 2)?;
            if out.len() == MEMBERS_MAX {
                return None;
            }
            let raw_key = self.text.get(at + 1..key_end - 1)?;
            out.push(Member { raw_key, value: self.text.get(value..end)? });
            at = self.blanks(end);
            match self.byte(at)? {
                b',' => at = self.blanks(at + 1),
                b'}' => return self.is_end(at + 1).then_some(self.deepest),
                _ => return None,
            }
        }
    }

    #[inline]
    fn byte(&self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }

    #[inline]
    fn blanks(&self, at: usize) -> usize {
        // Most shippers write none.
        match self.byte(at) {
            Some(0..=b' ') => self.some_blanks(at),
            _ => at,
        }
    }

    #[inline(never)]
    fn some_blanks(&self, mut at: usize) -> usize {
        while matches!(self.byte(at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            at += 1;
        }
        at
    }

    fn is_end(&self, at: usize) -> bool {
        self.blanks(at) == self.bytes.len()
    }

    /// Reads `"key" :` and the blanks after it: behind the key's quote, and where the value begins.
    #[inline]
    fn key(&self, at: usize) -> Option<(usize, usize)> {
        if self.byte(at)? != b'"' {
            return None;
        }
        let end = self.string(at + 1)?;
        let colon = self.blanks(end);
        (self.byte(colon)? == b':').then(|| (end, self.blanks(colon + 1)))
    }

    #[inline]
    fn value(&mut self, at: usize, level: usize) -> Option<usize> {
        match self.byte(at)? {
            b'"' => self.string(at + 1),
            b'{' | b'[' => self.nested(at, level),
            _ => self.scalar(at),
        }
    }

    /// Reads the array or object that begins at `at`.
    fn nested(&mut self, mut at: usize, level: usize) -> Option<usize> {
        let mut open = Nesting::default();
        loop {
            // One value starts here.
            at = match self.byte(at)? {
                b'"' => self.string(at + 1)?,
                opening @ (b'{' | b'[') => {
                    let deep = level + open.len();
                    if deep > self.depth_max {
                        return None;
                    }
                    self.deepest = self.deepest.max(deep);
                    let inside = self.blanks(at + 1);
                    // `{` and `}` differ as `[` and `]` do.
                    if self.byte(inside)? == opening + 2 {
                        inside + 1
                    } else {
                        let is_object = opening == b'{';
                        open.push(is_object);
                        at = if is_object { self.key(inside)?.1 } else { inside };
                        continue;
                    }
                }
                _ => self.scalar(at)?,
            };
            // One value ends here: close what it closes, or go on to its sibling.
            loop {
                let Some(in_object) = open.last() else { return Some(at) };
                at = self.blanks(at);
                match self.byte(at)? {
                    b',' => {
                        at = self.blanks(at + 1);
                        if in_object {
                            at = self.key(at)?.1;
                        }
                        break;
                    }
                    closing if closing == if in_object { b'}' } else { b']' } => {
                        open.pop();
                        at += 1;
                    }
                    _ => return None,
                }
            }
        }
    }

    fn scalar(&self, at: usize) -> Option<usize> {
        let rest = self.bytes.get(at..)?;
        let word = |word: &[u8]| rest.starts_with(word).then_some(at + word.len());
        match rest.first()? {
            b't' => word(b"true"),
            b'f' => word(b"false"),
            b'n' => word(b"null"),
            _ => self.number(at),
        }
    }

    fn number(&self, start: usize) -> Option<usize> {
        let at = start + usize::from(self.byte(start)? == b'-');
        let mut end = match self.byte(at)? {
            b'0' => at + 1,
            _ => self.some_digits(at)?,
        };
        if self.byte(end) == Some(b'.') {
            end = self.some_digits(end + 1)?;
        }
        if let Some(b'e' | b'E') = self.byte(end) {
            let sign = usize::from(matches!(self.byte(end + 1), Some(b'+' | b'-')));
            end = self.some_digits(end + 1 + sign)?;
        }
        Some(end)
    }

    fn some_digits(&self, at: usize) -> Option<usize> {
        Some(self.digits(at)).filter(|it| *it > at)
    }

    fn digits(&self, mut at: usize) -> usize {
        while self.byte(at).is_some_and(|it| it.is_ascii_digit()) {
            at += 1;
        }
        at
    }

    /// Reads to behind the quote that closes the string whose inside begins at `at`.
    #[inline]
    pub(super) fn string(&self, mut at: usize) -> Option<usize> {
        while let Some(lane) = self.bytes.get(at..)?.first_chunk() {
            let [quotes, stops] = block::stops(lane);
            let first = stops & stops.wrapping_neg();
            if quotes & first != 0 {
                return Some(at + first.trailing_zeros() as usize + 1);
            }
            if first != 0 {
                break;
            }
            at += LANE;
        }
        self.escaped(at)
    }

    /// The same where the string has escapes, is wrong, or the text ends soon.
    #[inline(never)]
    fn escaped(&self, mut at: usize) -> Option<usize> {
        let mut is_escaped = false;
        while let Some(bytes) = self.bytes.get(at..)?.first_chunk() {
            let found = block::block(bytes);
            let escaped = block::escaped(found.backslashes, &mut is_escaped);
            let ends = found.quotes & !escaped;
            let first_end = ends & ends.wrapping_neg();
            let inside = first_end.wrapping_sub(1);
            if found.controls & inside != 0 {
                return None;
            }
            // Most escapes are of quotes and backslashes: the event is JSON itself.
            let mut others = escaped & inside & !(found.quotes | found.backslashes);
            while others != 0 {
                self.escape(at + others.trailing_zeros() as usize)?;
                others &= others - 1;
            }
            if first_end != 0 {
                return Some(at + first_end.trailing_zeros() as usize + 1);
            }
            at += BLOCK;
        }
        if is_escaped {
            at = self.escape(at)?;
        }
        self.near_the_end(at)
    }

    fn near_the_end(&self, mut at: usize) -> Option<usize> {
        loop {
            match self.byte(at)? {
                b'"' => return Some(at + 1),
                b'\\' => at = self.escape(at + 1)?,
                0..0x20 => return None,
                _ => at += 1,
            }
        }
    }

    /// Behind what stands behind a backslash.
    fn escape(&self, at: usize) -> Option<usize> {
        match self.byte(at)? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(at + 1),
            b'u' => {
                let code = self.bytes.get(at + 1..at + 5)?;
                code.iter().all(u8::is_ascii_hexdigit).then_some(at + 5)
            }
            _ => None,
        }
    }
}

//! What stands before the cut of an audit event that lost its end on the way: CloudWatch's lines end in
//! `[Truncated...]` (falcosecurity/plugins#299), AKS cuts `properties.log` at 16 KiB (Azure/AKS#4635). The API
//! server writes who, what and where before the bodies (Kubernetes 1.35, `apis/audit/v1/types.go`), so a large
//! body costs the event its end, not its author.

use std::ops::Range;

use crate::json::{self, DEPTH_MAX};

/// What CloudWatch's EKS lines end in where they were cut.
const MARKER: &str = "[Truncated...]";
/// Stands behind what is left of a cut string, so that half a value equals nothing: no rule takes the path
/// `/api/v1/secrets…` for `/api/v1/secrets`, nor the role `cluster-admin…` for `cluster-admin`.
const CUT: char = '…';

/// Appends to `out` everything of a cut audit event that stands before the cut, as one JSON object on one line.
/// False, with nothing appended, if `text` does not begin as an audit event (kind, apiVersion and one of auditID,
/// stage and verb before the cut, in any order), is no JSON up to the cut, or is not cut.
///
/// Of an object or array that the cut goes through, the whole members and elements stay, if there is one. Whole
/// or not at all: `sourceIPs`, because its last address is taken for the only true one, and `objectRef`, because
/// its `subresource` comes last: without it an `exec` into a pod reads as the creation of the pod.
///
/// A cut string stays only where half of it is of use and cannot be taken for all of it, with `…` at its end:
/// `requestURI`, `userAgent` and the message of the status (a client may have made them long in order to hide),
/// and strings of the bodies (the long one is what the event was cut for). All others are names or times: gone.
/// So is a number at the cut, which may lack digits.
pub(super) fn salvage(text: &str, out: &mut String) -> bool {
    let (text, marked) = unmarked(text);
    let mut walk = Walk::new(text);
    let cut = match walk.run() {
        Ok(()) => marked,
        Err(Stop::Cut) => true,
        Err(Stop::Broken) => false,
    };
    if !cut || !walk.head.is_event() || !walk.head.is_named {
        return false;
    }
    let (end, open) = walk.kept();
    push_on_one_line(text.get(..end).unwrap_or_default(), out);
    if walk.half.is_some() {
        out.push(CUT);
        out.push('"');
    }
    let closing = walk.open.iter().take(open).rev();
    out.extend(closing.map(|it| char::from(*it)));
    true
}

/// How a text ends that may be the first part of an audit event that CloudWatch split into consecutive ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Inside an audit event, without a mark that says that it was cut.
    Open,
    /// With the event, or with such a mark.
    Closed,
    /// It is no audit event.
    Broken,
}

/// How `text` ends.
pub(super) fn end(text: &str) -> End {
    let (text, marked) = unmarked(text);
    let mut walk = Walk::new(text);
    match walk.run() {
        Err(Stop::Cut) if !walk.head.is_event() => End::Broken,
        Err(Stop::Cut) if !marked => End::Open,
        Ok(()) | Err(Stop::Cut) => End::Closed,
        Err(Stop::Broken) => End::Broken,
    }
}

/// The text without what carriers put around it, and whether it is marked as cut. Spaces at the end stay: they
/// may be part of a string that was cut, which line ends and tabs cannot.
fn unmarked(text: &str) -> (&str, bool) {
    let text = text.trim_ascii_start();
    let unmarked = text.trim_ascii_end().strip_suffix(MARKER);
    let (text, marked) = (unmarked.unwrap_or(text), unmarked.is_some());
    (text.trim_end_matches(['\r', '\n', '\t']), marked)
}

/// In JSON a line end stands between tokens only, so that a blank says the same.
fn push_on_one_line(json: &str, out: &mut String) {
    for (place, line) in json.split(['\r', '\n']).enumerate() {
        if place > 0 {
            out.push(' ');
        }
        out.push_str(line);
    }
}

/// Why the text cannot be read further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    /// It ends here.
    Cut,
    /// What stands here is no JSON.
    Broken,
}

/// What the members at the root that are whole tell.
#[derive(Default)]
struct Head {
    has_kind: bool,
    has_version: bool,
    is_named: bool,
}

impl Head {
    fn read(&mut self, raw_key: &str, value: &str) {
        match json::decode(raw_key).as_deref() {
            Some("kind") => self.has_kind = json::string(value).is_some_and(|it| it == "Event"),
            Some("apiVersion") => {
                let version = json::string(value);
                self.has_version = version.is_some_and(|it| it.starts_with("audit.k8s.io/"));
            }
            Some("auditID" | "stage" | "verb") => self.is_named = true,
            _ => (),
        }
    }

    fn is_event(&self) -> bool {
        self.has_kind && self.has_version
    }
}

/// What may be kept of the member at the root through which the cut goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keeps {
    /// What is whole inside it.
    WholeParts,
    /// Nothing.
    Nothing,
    /// The string itself, by half.
    HalfString,
    /// What is whole, and half of its `message`.
    HalfMessage,
    /// What is whole, and half of any string.
    HalfStrings,
}

fn keeps(raw_key: &str) -> Keeps {
    match json::decode(raw_key).as_deref() {
        Some("sourceIPs" | "objectRef") => Keeps::Nothing,
        Some("requestURI" | "userAgent") => Keeps::HalfString,
        Some("responseStatus") => Keeps::HalfMessage,
        Some("requestObject" | "responseObject") => Keeps::HalfStrings,
        _ => Keeps::WholeParts,
    }
}

/// One pass over the text. Depth costs a byte, not a stack frame.
struct Walk<'a> {
    text: &'a str,
    at: usize,
    /// What closes the brackets that are open, outermost first.
    open: Vec<u8>,
    /// End of the last value that is whole and may stay, and how many brackets are open there.
    ///
    /// Invariant: that many of `open` are still the brackets that were open there.
    whole: (usize, usize),
    /// What may stay of the string through which the cut goes.
    half: Option<Range<usize>>,
    /// Key and start of the value of the member at the root.
    root: (&'a str, usize),
    keeps: Keeps,
    is_message: bool,
    head: Head,
}

impl<'a> Walk<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            text,
            at: 0,
            open: Vec::new(),
            whole: (0, 0),
            half: None,
            root: ("", 0),
            keeps: Keeps::WholeParts,
            is_message: false,
            head: Head::default(),
        }
    }

    /// Where the text that stays ends, and how many brackets are open there.
    fn kept(&self) -> (usize, usize) {
        match &self.half {
            Some(half) => (half.end, self.open.len()),
            None => self.whole,
        }
    }

    /// Reads the object to its end.
    fn run(&mut self) -> Result<(), Stop> {
        if self.peek()? != b'{' {
            return Err(Stop::Broken);
        }
        loop {
            if self.opens_or_ends()? {
                continue;
            }
            // One value ends here: close what it closes, or go on to its sibling.
            loop {
                if self.open.is_empty() {
                    self.blanks();
                    return if self.at == self.text.len() { Ok(()) } else { Err(Stop::Broken) };
                }
                self.blanks();
                let byte = self.next()?;
                if byte == b',' {
                    self.blanks();
                    self.key_if_object()?;
                    break;
                }
                if self.open.last() != Some(&byte) {
                    return Err(Stop::Broken);
                }
                self.open.pop();
                self.ended();
            }
        }
    }

    /// Reads the start of an array or object that is not empty (true), or the whole of any other value (false).
    fn opens_or_ends(&mut self) -> Result<bool, Stop> {
        match self.peek()? {
            opening @ (b'{' | b'[') => {
                if self.open.len() == DEPTH_MAX {
                    // What is deeper cannot be written; it is as good as cut here.
                    return Err(Stop::Cut);
                }
                self.at += 1;
                let closing = if opening == b'{' { b'}' } else { b']' };
                self.open.push(closing);
                self.blanks();
                if self.peek()? != closing {
                    self.key_if_object()?;
                    return Ok(true);
                }
                self.at += 1;
                self.open.pop();
            }
            b'"' => self.string_value()?,
            b't' => self.word("true")?,
            b'f' => self.word("false")?,
            b'n' => self.word("null")?,
            b'-' | b'0'..=b'9' => self.number()?,
            _ => return Err(Stop::Broken),
        }
        self.ended();
        Ok(false)
    }

    /// Notes that a value ends here.
    fn ended(&mut self) {
        if self.open.len() <= 1 || self.keeps != Keeps::Nothing {
            self.whole = (self.at, self.open.len());
        }
        if self.open.len() == 1 {
            let (key, start) = self.root;
            self.head.read(key, self.text.get(start..self.at).unwrap_or_default());
        }
    }

    /// Reads the key of the next member, if this is an object, to the start of the value.
    fn key_if_object(&mut self) -> Result<(), Stop> {
        if self.open.last() != Some(&b'}') {
            return Ok(());
        }
        if self.peek()? != b'"' {
            return Err(Stop::Broken);
        }
        let start = self.at + 1;
        self.string()?;
        let raw_key = self.text.get(start..self.at - 1).unwrap_or_default();
        self.blanks();
        if self.next()? != b':' {
            return Err(Stop::Broken);
        }
        self.blanks();
        match self.open.len() {
            1 => {
                self.root = (raw_key, self.at);
                self.keeps = keeps(raw_key);
            }
            2 if self.keeps == Keeps::HalfMessage => {
                self.is_message = json::decode(raw_key).is_some_and(|it| it == "message");
            }
            _ => (),
        }
        Ok(())
    }

    fn string_value(&mut self) -> Result<(), Stop> {
        let start = self.at + 1;
        let Err((stop, end)) = self.read_string() else { return Ok(()) };
        let stays = match self.keeps {
            Keeps::WholeParts | Keeps::Nothing => false,
            Keeps::HalfString => self.open.len() == 1,
            Keeps::HalfMessage => self.open.len() == 2 && self.is_message,
            Keeps::HalfStrings => true,
        };
        // Half a character may have become a replacement character on the way.
        let half = self.text.get(start..end).unwrap_or_default().trim_end_matches('\u{fffd}');
        if stop == Stop::Cut && stays && !half.is_empty() {
            self.half = Some(start..start + half.len());
        }
        Err(stop)
    }

    fn string(&mut self) -> Result<(), Stop> {
        self.read_string().map_err(|(stop, _)| stop)
    }

    /// Reads a string from its opening quote to behind the closing one. With the reason why it has none comes
    /// the end of what is before: whole characters and escapes, and no first half of a surrogate pair.
    fn read_string(&mut self) -> Result<(), (Stop, usize)> {
        self.at += 1;
        let mut end = self.at;
        loop {
            let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
            let plain = memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
            if rest.iter().take(plain).any(|it| *it < b' ') {
                return Err((Stop::Broken, end));
            }
            self.at += plain;
            if plain > 0 {
                end = self.at;
            }
            match rest.get(plain) {
                None => return Err((Stop::Cut, end)),
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(_) => {
                    let is_first_half = self.escape().map_err(|stop| (stop, end))?;
                    if !is_first_half {
                        end = self.at;
                    }
                }
            }
        }
    }

    /// Reads an escape; whether it is the first half of a surrogate pair.
    fn escape(&mut self) -> Result<bool, Stop> {
        self.at += 1;
        match self.next()? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(false),
            b'u' => {
                let mut unit = 0;
                for _ in 0..4 {
                    let digit = char::from(self.next()?).to_digit(16).ok_or(Stop::Broken)?;
                    unit = unit * 16 + digit;
                }
                Ok((0xd800..0xdc00).contains(&unit))
            }
            _ => Err(Stop::Broken),
        }
    }

    fn word(&mut self, word: &str) -> Result<(), Stop> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        if rest.starts_with(word) {
            self.at += word.len();
            Ok(())
        } else if word.starts_with(rest) {
            Err(Stop::Cut)
        } else {
            Err(Stop::Broken)
        }
    }

    /// A number has no end of its own: at the end of the text it may lack digits.
    fn number(&mut self) -> Result<(), Stop> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let is_part = |it: &u8| matches!(it, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        let len = rest.bytes().position(|it| !is_part(&it)).ok_or(Stop::Cut)?;
        if json::check(rest.get(..len).unwrap_or_default(), 1).is_err() {
            return Err(Stop::Broken);
        }
        self.at += len;
        Ok(())
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Ok(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Result<u8, Stop> {
        self.text.as_bytes().get(self.at).copied().ok_or(Stop::Cut)
    }

    fn next(&mut self) -> Result<u8, Stop> {
        let byte = self.peek()?;
        self.at += 1;
        Ok(byte)
    }
}

#[cfg(test)]
mod tests;

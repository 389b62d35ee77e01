//! Splits what a file holds into documents, line by line: NDJSON, bulk bodies, audit logs, klog, one JSON value over
//! many lines, arrays, exports of CloudWatch and answers of Elasticsearch. No I/O.
//!
//! What a shipper would send as an object stays one; any other line becomes `{"message":LINE}`, as shippers do it.

use jiff::Timestamp;

use crate::json::{self, JsonError, Kind, Member};

/// A document of the input.
#[derive(Clone, Copy, Debug)]
pub(super) struct Document<'d> {
    /// The line on which it begins, from 1.
    pub(super) line: u64,
    /// One JSON object on one line.
    pub(super) text: &'d str,
    /// Its root members.
    pub(super) members: &'d [Member<'d>],
    /// How deep it is (levels).
    pub(super) depth: usize,
    /// What the input was.
    pub(super) form: Form,
    /// The action line above it.
    pub(super) action: &'d Action,
}

/// What a document was in the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A JSON object.
    Object,
    /// A line of text; if it opens like a JSON object, why it is none.
    Line(Option<JsonError>),
    /// A line of a CloudWatch export: its time, a blank, the text.
    Export(Option<JsonError>),
}

/// What an action line of a bulk request says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Action {
    /// `_index`
    pub(super) index: Option<String>,
    /// `_id`
    pub(super) id: Option<String>,
    /// Whether it is `index`, which replaces what is there.
    pub(super) replaces: bool,
}

/// A part of the input that is no document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bad {
    /// The line, from 1.
    pub(super) line: u64,
    /// What is wrong.
    pub(super) reason: String,
}

/// Takes what the input holds, in order.
pub(super) type Sink<'s> = dyn FnMut(Result<Document<'_>, Bad>) + 's;

/// Takes the lines of an input and gives its documents.
#[derive(Debug)]
pub(super) struct Splitter {
    /// Most bytes of one JSON value.
    bytes_max: usize,
    /// Lines taken so far.
    lines: u64,
    /// The line on which the array opened whose elements are read.
    array: Option<u64>,
    open: Option<Open>,
    action: Option<(u64, Action)>,
    buffer: String,
}

/// A JSON value over several lines, as far as it was read.
#[derive(Debug)]
struct Open {
    line: u64,
    text: Vec<u8>,
    scan: Scan,
    /// It is too large, and only its end is looked for.
    is_skipped: bool,
}

impl Splitter {
    pub(super) fn new(bytes_max: usize) -> Self {
        let buffer = String::new();
        Self { bytes_max, lines: 0, array: None, open: None, action: None, buffer }
    }

    /// Lines taken so far.
    pub(super) fn lines(&self) -> u64 {
        self.lines
    }

    /// Takes the next line, without its end.
    pub(super) fn line(&mut self, line: &[u8], take: &mut Sink<'_>) {
        self.lines += 1;
        let bom = "\u{feff}".as_bytes();
        let line = line.strip_prefix(bom).filter(|_| self.lines == 1).unwrap_or(line);
        self.part(line, take);
    }

    /// Takes a line that is longer than may be.
    pub(super) fn long_line(&mut self, take: &mut Sink<'_>) {
        self.lines += 1;
        // What it belonged to cannot be whole.
        (self.array, self.open) = (None, None);
        let reason = format!("longer than {} bytes (limits.decoded_bytes_max)", self.bytes_max);
        take(Err(Bad { line: self.lines, reason }));
    }

    /// Takes the end of the input.
    pub(super) fn end(&mut self, take: &mut Sink<'_>) {
        if let Some(open) = self.open.take().filter(|it| !it.is_skipped) {
            let reason = "the input ends inside the JSON value that begins here".into();
            take(Err(Bad { line: open.line, reason }));
        } else if let Some(line) = self.array.take() {
            let reason = "the input ends inside the array that begins here".into();
            take(Err(Bad { line, reason }));
        }
        if let Some((line, _)) = self.action.take() {
            take(Err(Bad { line, reason: "the document of this action line is missing".into() }));
        }
    }

    /// A line, or what is left of it behind a value.
    fn part(&mut self, mut part: &[u8], take: &mut Sink<'_>) {
        loop {
            if let Some(open) = self.open.take() {
                match self.more(open, part, take) {
                    Some(rest) => part = rest,
                    None => return,
                }
            }
            part = part.trim_ascii();
            if part.is_empty() {
                return;
            }
            let Some(line) = self.array else { break };
            match part.split_first() {
                Some((b',', rest)) => part = rest,
                Some((b']', rest)) => (self.array, part) = (None, rest),
                Some((b'{', _)) => self.open = Some(Open::new(self.lines)),
                _ => {
                    self.array = None;
                    let reason = format!("no object of the array that begins at line {line}");
                    return take(Err(Bad { line: self.lines, reason }));
                }
            }
        }
        match part {
            // Only so does a value begin that goes over several lines: what else is not whole was cut.
            b"{" => {
                self.open = Some(Open::new(self.lines));
                self.part(part, take);
            }
            b"[" => self.array = Some(self.lines),
            _ if opens_array(part) => {
                self.array = Some(self.lines);
                self.part(part.get(1..).unwrap_or_default(), take);
            }
            _ => self.whole(part, self.lines, take),
        }
    }

    /// Goes on with a value over several lines, and gives what is left of the line behind it.
    fn more<'p>(
        &mut self,
        mut open: Open,
        part: &'p [u8],
        take: &mut Sink<'_>,
    ) -> Option<&'p [u8]> {
        let step = open.scan.step(part);
        let used = if let Step::Done(len) = step { len } else { part.len() };
        let (of_value, rest) = part.split_at_checked(used)?;
        if !open.is_skipped && open.text.len() + used >= self.bytes_max {
            let reason = format!(
                "the JSON value that begins here has more than {} bytes (limits.decoded_bytes_max)",
                self.bytes_max
            );
            take(Err(Bad { line: open.line, reason }));
            open.is_skipped = true;
            open.text = Vec::new();
        }
        if !open.is_skipped {
            // A line end stands between tokens only, so a blank says the same.
            open.text.extend_from_slice(of_value);
            open.text.push(b' ');
        }
        match step {
            Step::More => {
                self.open = Some(open);
                None
            }
            Step::Done(_) => {
                if !open.is_skipped {
                    self.whole(open.text.trim_ascii(), open.line, take);
                }
                Some(rest)
            }
            Step::Wrong => {
                let reason = match open.line == self.lines {
                    true => "not JSON".to_owned(),
                    false => {
                        format!("the JSON value that begins here breaks off at line {}", self.lines)
                    }
                };
                take(Err(Bad { line: open.line, reason }));
                self.array = None;
                // The line that does not fit may be good by itself.
                (open.line != self.lines).then_some(part)
            }
        }
    }

    /// A whole line, or a whole value.
    fn whole(&mut self, bytes: &[u8], line: u64, take: &mut Sink<'_>) {
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                let reason = format!("not UTF-8 at byte {}", error.valid_up_to());
                return take(Err(Bad { line, reason }));
            }
        };
        match text.as_bytes().first() {
            Some(b'{') => self.object(text, false, line, take),
            Some(b'[') if json::check(text, json::DEPTH_MAX).is_ok() => {
                json::elements(text).for_each(|it| self.element(it, false, line, take));
            }
            _ => self.text(text, None, line, take),
        }
    }

    /// One of several. `is_answered`: of an answer of some tool, which is not looked for in another.
    fn element(&mut self, value: &str, is_answered: bool, line: u64, take: &mut Sink<'_>) {
        match json::kind(value) {
            Kind::Object => self.object(value, is_answered, line, take),
            Kind::String => match json::string(value) {
                Some(text) => self.text(&text, None, line, take),
                None => take(Err(Bad { line, reason: "a string that is none".into() })),
            },
            _ => take(Err(Bad { line, reason: "an element that is no object".into() })),
        }
    }

    fn object(&mut self, text: &str, is_answered: bool, line: u64, take: &mut Sink<'_>) {
        let mut members = Vec::with_capacity(20);
        let error = match json::object(text, json::DEPTH_MAX, &mut members) {
            Ok(_) if !is_answered && self.action.is_none() && self.answer(&members, line, take) => {
                return;
            }
            Ok(depth) => return self.read(text, &members, depth, line, take),
            Err(error) => error,
        };
        // Firehose puts one after the other into a file, with nothing between.
        let mut rest = text;
        while let Ok((one, after)) = json::first(rest, json::DEPTH_MAX) {
            self.element(one, is_answered, line, take);
            rest = after.trim_ascii();
        }
        if rest.len() == text.len() {
            self.text(rest, Some(error), line, take);
        } else if !rest.is_empty() {
            let wrong = json::check(rest, json::DEPTH_MAX).err().filter(|_| rest.starts_with('{'));
            self.text(rest, wrong, line, take);
        }
    }

    /// The documents in the answer of some tool; false if it is none.
    fn answer(&mut self, members: &[Member<'_>], line: u64, take: &mut Sink<'_>) -> bool {
        if let Some(events) = cloudwatch_answer(members) {
            json::elements(events).for_each(|it| self.element(it, true, line, take));
            return true;
        }
        let Some(hits) = search_answer(members) else { return false };
        for hit in json::elements(hits) {
            let text = |name| json::get(hit, name).and_then(json::string).map(Into::into);
            let action = Action { index: text("_index"), id: text("_id"), replaces: false };
            self.action = Some((line, action));
            self.element(json::get(hit, "_source").unwrap_or("{}"), true, line, take);
        }
        true
    }

    /// An object: an action line, or a document.
    fn read(
        &mut self,
        text: &str,
        members: &[Member<'_>],
        depth: usize,
        line: u64,
        take: &mut Sink<'_>,
    ) {
        if self.action.is_none()
            && let Some((has_document, action)) = action(members)
        {
            self.action = has_document.then_some((line, action));
            return;
        }
        let action = self.action.take().map(|(_, it)| it).unwrap_or_default();
        take(Ok(Document { line, text, members, depth, form: Form::Object, action: &action }));
    }

    /// A line of text, and why it is no object if it opens like one.
    fn text(&mut self, text: &str, wrong: Option<JsonError>, line: u64, take: &mut Sink<'_>) {
        let (time, message) = exported(text).map_or((None, text), |(time, it)| (Some(time), it));
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        buffer.push('{');
        let form = match time {
            Some(time) => {
                buffer.push_str("\"@timestamp\":");
                json::push_string(&mut buffer, time);
                buffer.push(',');
                Form::Export(json::check(message, json::DEPTH_MAX).err())
            }
            None => Form::Line(wrong),
        };
        buffer.push_str("\"message\":");
        json::push_string(&mut buffer, message);
        buffer.push('}');
        let mut members = Vec::with_capacity(2);
        if let Ok(depth) = json::object(&buffer, json::DEPTH_MAX, &mut members) {
            let action = self.action.take().map(|(_, it)| it).unwrap_or_default();
            let (text, members) = (buffer.as_str(), members.as_slice());
            take(Ok(Document { line, text, members, depth, form, action: &action }));
        }
        drop(members);
        self.buffer = buffer;
    }
}

/// Whether a line opens an array of objects that ends on a later one.
fn opens_array(line: &[u8]) -> bool {
    line.first() == Some(&b'[')
        && line.get(1..).is_some_and(|it| it.trim_ascii_start().first() == Some(&b'{'))
        && std::str::from_utf8(line)
            .is_ok_and(|it| matches!(json::check(it, json::DEPTH_MAX), Err(JsonError::Cut { .. })))
}

/// What an action line of a bulk request says, and whether a document follows.
fn action(members: &[Member<'_>]) -> Option<(bool, Action)> {
    let [only] = members else { return None };
    let name = ["index", "create", "update", "delete"].into_iter().find(|it| only.is(it))?;
    let known = |it: Member<'_>| it.raw_key.starts_with('_') || !it.value.starts_with(['{', '[']);
    if json::kind(only.value) != Kind::Object || !json::members(only.value).all(known) {
        return None;
    }
    let text = |name| json::get(only.value, name).and_then(json::string).map(Into::into);
    let action = Action { index: text("_index"), id: text("_id"), replaces: name == "index" };
    Some((name != "delete", action))
}

/// The events in an answer of `aws logs filter-log-events` or `get-log-events` (AWS CLI 2).
fn cloudwatch_answer<'a>(members: &[Member<'a>]) -> Option<&'a str> {
    let events = json::member(members, "events").filter(|it| json::kind(it) == Kind::Array)?;
    let first = json::elements(events).next()?;
    let has = |name| json::get(first, name).is_some();
    (has("message") && has("timestamp")).then_some(events)
}

/// The hits in an answer of `_search` (Elasticsearch 8.19).
fn search_answer<'a>(members: &[Member<'a>]) -> Option<&'a str> {
    let hits = json::get(json::member(members, "hits")?, "hits")?;
    let first = json::elements(hits).next().filter(|_| json::kind(hits) == Kind::Array)?;
    json::get(first, "_source").is_some().then_some(hits)
}

/// Time and message of a line that `aws logs create-export-task` wrote to S3 (`TIME MESSAGE`) or `aws logs tail` printed
/// (`TIME STREAM MESSAGE`), if the message opens like JSON.
fn exported(line: &str) -> Option<(&str, &str)> {
    let (time, rest) = line.split_once(' ')?;
    if !time.starts_with(|it: char| it.is_ascii_digit()) || !time.contains('T') {
        return None;
    }
    let message = match rest.split_once(' ') {
        _ if rest.starts_with('{') => rest,
        Some((_, message)) if message.starts_with('{') => message,
        _ => return None,
    };
    time.parse::<Timestamp>().ok().map(|_| (time, message))
}

/// Finds the end of a JSON value without reading it.
#[derive(Debug, Default)]
struct Scan {
    /// The brackets that are open.
    open: Vec<u8>,
    in_string: bool,
    is_escaped: bool,
    /// The last byte of a token; 0 before the first.
    last: u8,
}

/// How far it got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The value goes on behind the line.
    More,
    /// It ends before this byte.
    Done(usize),
    /// It is no JSON.
    Wrong,
}

impl Open {
    fn new(line: u64) -> Self {
        Self { line, text: Vec::new(), scan: Scan::default(), is_skipped: false }
    }
}

impl Scan {
    /// Takes one line of the value.
    fn step(&mut self, line: &[u8]) -> Step {
        for (at, byte) in line.iter().enumerate() {
            if self.in_string {
                match byte {
                    _ if self.is_escaped => self.is_escaped = false,
                    b'\\' => self.is_escaped = true,
                    b'"' => self.in_string = false,
                    _ => (),
                }
                continue;
            }
            if byte.is_ascii_whitespace() {
                continue;
            }
            let in_object = self.open.last() == Some(&b'{');
            let before_key = in_object && matches!(self.last, b'{' | b',');
            match byte {
                b'"' => self.in_string = true,
                b'}' if in_object && self.last != b',' => drop(self.open.pop()),
                b']' if self.open.last() == Some(&b'[') => drop(self.open.pop()),
                _ if before_key => return Step::Wrong,
                b'{' | b'[' if matches!(self.last, 0 | b'[' | b':' | b',') => self.open.push(*byte),
                b'{' | b'[' | b'}' | b']' => return Step::Wrong,
                _ => (),
            }
            self.last = *byte;
            if self.open.is_empty() {
                return Step::Done(at + 1);
            }
        }
        // A string ends on its line.
        if self.in_string { Step::Wrong } else { Step::More }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(input: &[u8], bytes_max: usize) -> Vec<String> {
        let mut out = Vec::new();
        let mut take = |it: Result<Document<'_>, Bad>| {
            out.push(match it {
                Ok(it) => {
                    let index = it.action.index.as_deref().unwrap_or_default();
                    let form = match it.form {
                        Form::Object => "",
                        Form::Line(None) => "line ",
                        Form::Line(Some(_)) => "broken ",
                        Form::Export(_) => "export ",
                    };
                    format!("{} {form}{index}{}", it.line, it.text)
                }
                Err(bad) => format!("{} ! {}", bad.line, bad.reason),
            });
        };
        let mut splitter = Splitter::new(bytes_max);
        for line in input.split(|it| *it == b'\n') {
            splitter.line(line, &mut take);
        }
        splitter.end(&mut take);
        out
    }

    #[track_caller]
    fn check(input: &str, expected: &[&str]) {
        assert_eq!(split(input.as_bytes(), 1000), expected, "{input}");
    }

    #[test]
    fn lines() {
        check("", &[]);
        check("{\"a\":1}\r\n\n {\"b\":2} ", &[r#"1 {"a":1}"#, r#"3 {"b":2}"#]);
        check("\u{feff}{\"a\":1}", &[r#"1 {"a":1}"#]);
        check("I0301 x", &[r#"1 line {"message":"I0301 x"}"#]);
        check("{\"kind\":\"Ev\n{}", &[r#"1 broken {"message":"{\"kind\":\"Ev"}"#, "2 {}"]);
        check(
            "{\"a\":1}{\"b\":2} x",
            &[r#"1 {"a":1}"#, r#"1 {"b":2}"#, r#"1 line {"message":"x"}"#],
        );
        check(
            "2026-03-01T10:00:00.130Z {\"a\":1}",
            &[r#"1 export {"@timestamp":"2026-03-01T10:00:00.130Z","message":"{\"a\":1}"}"#],
        );
        check(
            "2026-03-01T10:00:00+00:00 kube-apiserver-audit-0 {}",
            &[r#"1 export {"@timestamp":"2026-03-01T10:00:00+00:00","message":"{}"}"#],
        );
        check(
            "2026-03-01T10:00:00Z stdout F {}",
            &[r#"1 line {"message":"2026-03-01T10:00:00Z stdout F {}"}"#],
        );
    }

    #[test]
    fn bulk_bodies() {
        let body = "{\"create\":{\"_index\":\"logs-x-y\"}}\n{\"a\":1}\n{\"delete\":{\"_index\":\"i\",\"_id\":\"1\"}}\n{\"index\":{}}\n{\"index\":{}}";
        check(body, &[r#"2 logs-x-y{"a":1}"#, r#"5 {"index":{}}"#]);
        check("{\"create\":{}}", &["1 ! the document of this action line is missing"]);
        check(r#"{"index":{"kind":{}}}"#, &[r#"1 {"index":{"kind":{}}}"#]);
    }

    #[test]
    fn values_over_several_lines() {
        check("{\n  \"a\": [\n    1\n  ]\n}\n{}", &[r#"1 {   "a": [     1   ] }"#, "6 {}"]);
        check("[\n{\"a\":1},\n{\"b\":\n2}\n]\n{}", &[r#"2 {"a":1}"#, r#"3 {"b": 2}"#, "6 {}"]);
        check("[{\"a\":1},\n {\"b\":2}]", &[r#"1 {"a":1}"#, r#"2 {"b":2}"#]);
        check(
            "[{\"a\":1},\"x\",3]",
            &[r#"1 {"a":1}"#, r#"1 line {"message":"x"}"#, "1 ! an element that is no object"],
        );
        check("[2026] text", &[r#"1 line {"message":"[2026] text"}"#]);
    }

    #[test]
    fn broken_values_cost_no_neighbours() {
        let breaks = "1 ! the JSON value that begins here breaks off at line 2";
        check("{\n{\"a\":1}", &[breaks, r#"2 {"a":1}"#]);
        check("{\nI0301 x\n{}", &[breaks, r#"2 line {"message":"I0301 x"}"#, "3 {}"]);
        check("{\n\"a\": \"x\n{}", &[breaks, r#"2 line {"message":"\"a\": \"x"}"#, "3 {}"]);
        check("{\n\"a\": 1", &["1 ! the input ends inside the JSON value that begins here"]);
        check("{\n\"a\" 1\n}\n{}", &[r#"1 broken {"message":"{ \"a\" 1 }"}"#, "4 {}"]);
        check(
            "[\n{},\nx\n{}",
            &["2 {}", "3 ! no object of the array that begins at line 1", "4 {}"],
        );
        check("[\n{}", &["2 {}", "1 ! the input ends inside the array that begins here"]);
    }

    #[test]
    fn answers_of_tools() {
        check(
            r#"{"events":[{"timestamp":1,"message":"m"}],"searchedLogStreams":[]}"#,
            &[r#"1 {"timestamp":1,"message":"m"}"#],
        );
        check(
            r#"{"took":1,"hits":{"hits":[{"_index":"i","_id":"1","_source":{"a":1}}]}}"#,
            &[r#"1 i{"a":1}"#],
        );
        // One in another is none: they could go as deep as the file is long.
        let deep = format!(
            "{}{}",
            "{\"events\":[{\"timestamp\":1,\"message\":1},".repeat(100_000),
            "]}".repeat(100_000)
        );
        let deep = deep.replace(",]", "]");
        assert_eq!(split(deep.as_bytes(), 10 << 20).len(), 2);
    }

    #[test]
    fn limits() {
        let large = format!("{{\n\"a\": [\n{}\n]\n}}\n{{}}", "1,\n".repeat(500));
        let told = "1 ! the JSON value that begins here has more than 100 bytes (limits.decoded_bytes_max)";
        assert_eq!(split(large.as_bytes(), 100), [told, "506 {}"]);
        let array = format!("[\n{}{{}}]", "{\"a\":1},\n".repeat(500));
        assert_eq!(split(array.as_bytes(), 100).len(), 501);
        assert_eq!(split(b"{}\n\"\xff\"\n{}", 100), ["1 {}", "2 ! not UTF-8 at byte 1", "3 {}"]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        /// Any bytes: no panic, and no document that is no object.
        #[test]
        fn total(input in prop::collection::vec(
            prop::sample::select(b"{}[]\",:\n \\a1\xff".to_vec()), 0..200)) {
            let mut splitter = Splitter::new(64);
            let mut take = |it: Result<Document<'_>, Bad>| {
                if let Ok(it) = it {
                    assert!(json::check(it.text, json::DEPTH_MAX) == Ok(Kind::Object));
                    assert!(!it.text.contains('\n'));
                }
            };
            input.split(|it| *it == b'\n').for_each(|it| splitter.line(it, &mut take));
            splitter.end(&mut take);
        }
    }
}

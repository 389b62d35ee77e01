//! Turns an entry of the list into a request.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use serde_json::Value;

use super::{
    list::{Check, Form, Group},
    target::{Answer, Target, Trouble},
    want::Action,
};

const LONG_BYTES: usize = 300 << 10;
const DEEP_LEVELS: usize = 100_000;

/// Sends requests, each with `_id`s of its own.
#[derive(Debug)]
pub(super) struct Sender<'a> {
    pub(super) target: &'a Target,
    index: &'a str,
    run: u64,
    count: usize,
}

/// What was sent, and what came back.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) actions: Vec<Action>,
    pub(super) answer: Result<Answer, Trouble>,
}

impl<'a> Sender<'a> {
    pub(super) fn new(target: &'a Target, index: &'a str) -> Self {
        Self { target, index, run: fastrand::u64(..1 << 40), count: 0 }
    }

    pub(super) async fn send(&mut self, group: &Group, check: &Check) -> Sent {
        self.count += 1;
        let lines: Vec<String> = check.lines.iter().map(|it| self.filled(it)).collect();
        let lines: Vec<&str> = lines.iter().flat_map(|it| it.split('\n')).collect();
        let length = lines.iter().map(|it| it.len() + 1).sum::<usize>().to_string();
        let mut headers: Vec<(&str, String)> = Vec::new();
        let encoding = match check.form {
            Form::Gzip(_) | Form::CutGzip => Some("gzip"),
            Form::Garbled => Some("x-k8scop"),
            Form::Plain | Form::Crlf | Form::Unended => None,
        };
        let own = [
            ("content-encoding", encoding),
            ("content-type", check.writes().then_some(group.media)),
        ];
        let own = own.into_iter().filter_map(|(name, value)| Some((name, value?)));
        for (name, value) in
            check.headers.iter().copied().chain(group.headers.iter().copied()).chain(own)
        {
            // The check's own come first and win.
            if !headers.iter().any(|(it, _)| *it == name) {
                headers.push((name, value.replace("{length}", &length)));
            }
        }
        let path = check.path.replace("{i}", self.index);
        let body = body(&lines, check.form);
        let answer = self.target.ask(check.method, &path, &headers, body).await;
        Sent { actions: lines.iter().filter_map(|it| action(it)).collect(), answer }
    }

    fn filled(&self, line: &str) -> String {
        const GOOD: &str = r##"{"create":{"_index":"{i}","_id":"{u}#"}}
{"n":1,"message":"k8scop check #"}"##;
        match line {
            "{doc}" => r#"{"n":1,"message":"k8scop check"}"#.to_owned(),
            "{bad}" => self.filled(r#"{"create":{"_index":"{i}","_id":"{u}bad"}}"#),
            "{1}" | "{2}" | "{3}" => self.filled(&GOOD.replace('#', line.trim_matches(['{', '}']))),
            _ => line
                .replace("{i}", self.index)
                .replace("{u}", &format!("{:010x}-{}-", self.run, self.count))
                .replace("{long}", &"k8scop check ".repeat(LONG_BYTES / 13))
                .replace("{deep}", &("[".repeat(DEEP_LEVELS) + &"]".repeat(DEEP_LEVELS))),
        }
    }
}

/// The action of a line, if it is one: an object with one member, an object.
fn action(line: &str) -> Option<Action> {
    let Ok(Value::Object(members)) = serde_json::from_str(line) else { return None };
    let (op, members) = members.into_iter().next().filter(|(_, it)| it.is_object())?;
    Some(Action { op, members })
}

fn body(lines: &[&str], form: Form) -> Vec<u8> {
    let end = if matches!(form, Form::Crlf) { "\r\n" } else { "\n" };
    let mut plain: String = lines.iter().flat_map(|it| [*it, end]).collect();
    match form {
        Form::Plain | Form::Crlf => plain.into_bytes(),
        Form::Unended => {
            plain.truncate(plain.trim_end().len());
            plain.into_bytes()
        }
        Form::Gzip(level) => gzip(plain.as_bytes(), level),
        Form::CutGzip => {
            let mut whole = gzip(plain.as_bytes(), 6);
            whole.truncate(whole.len() / 2);
            whole
        }
        Form::Garbled => plain.bytes().map(|it| it ^ 0x55).collect(),
    }
}

fn gzip(plain: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(level));
    // Neither fails: what is written to is memory.
    encoder.write_all(plain).ok();
    encoder.finish().unwrap_or_default()
}

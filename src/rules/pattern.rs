use std::fmt;

use ipnet::IpNet;
use regex::{Regex, RegexBuilder};

/// Largest compiled form of one regex (bytes). Its length says little: counted repetition multiplies.
pub(crate) const REGEX_BYTES_MAX: usize = 1 << 20;

/// What one value of a field is compared with. Texts compare without regard to ASCII case, as Sigma has it.
#[derive(Clone, Debug)]
pub enum Pattern {
    /// The whole value. Numbers and booleans compare as they are written.
    Exact(String),
    /// Its start.
    StartsWith(String),
    /// Its end.
    EndsWith(String),
    /// Any part of it.
    Contains(String),
    /// A regex that matches somewhere in it; also what becomes of other wildcards. `literal` is a part that
    /// every match contains (may be empty).
    Regex {
        /// As the rule has it: `/REGEX/`, or a text with wildcards.
        written: String,
        /// The compiled regex.
        regex: Regex,
        /// A part of every match.
        literal: String,
    },
    /// An address in this network.
    Cidr(IpNet),
    /// Absent, or JSON `null`.
    Null,
    /// Any value at all.
    Present,
}

/// How a modifier widens a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Widen {
    No,
    Start,
    End,
    Both,
}

#[derive(PartialEq, Eq, Debug)]
enum Piece {
    Text(String),
    /// `*`
    Any,
    /// `?`
    One,
}

impl Pattern {
    /// Understands a Sigma text: `*` and `?` are wildcards unless a backslash stands before them.
    pub(super) fn text(text: &str, widen: Widen) -> Result<Self, String> {
        let mut pieces = pieces(text);
        if matches!(widen, Widen::End | Widen::Both) && pieces.first() != Some(&Piece::Any) {
            pieces.insert(0, Piece::Any);
        }
        if matches!(widen, Widen::Start | Widen::Both) && pieces.last() != Some(&Piece::Any) {
            pieces.push(Piece::Any);
        }
        Ok(match pieces.as_slice() {
            [] => Self::Exact(String::new()),
            [Piece::Any] => Self::Present,
            [Piece::Text(text)] => Self::Exact(text.clone()),
            [Piece::Text(text), Piece::Any] => Self::StartsWith(text.clone()),
            [Piece::Any, Piece::Text(text)] => Self::EndsWith(text.clone()),
            [Piece::Any, Piece::Text(text), Piece::Any] => Self::Contains(text.clone()),
            many => wildcard(many)?,
        })
    }

    /// Understands a regex. Unlike texts it looks at the case, unless it says `(?i)`.
    pub(super) fn regex(text: &str) -> Result<Self, String> {
        let regex = RegexBuilder::new(text)
            .size_limit(REGEX_BYTES_MAX)
            .build()
            .map_err(|error| format!("the regex cannot be used: {error}"))?;
        Ok(Self::Regex { written: format!("/{text}/"), regex, literal: String::new() })
    }

    /// Understands a network: `10.0.0.0/8`.
    pub(super) fn cidr(text: &str) -> Result<Self, String> {
        text.parse().map(Self::Cidr).map_err(|error| format!("`{text}` is no network: {error}"))
    }

    /// Whether a value that is there matches.
    #[must_use]
    pub fn matches(&self, value: &str) -> bool {
        let (bytes, no_case) = (value.as_bytes(), <[u8]>::eq_ignore_ascii_case);
        match self {
            Self::Exact(text) => value.eq_ignore_ascii_case(text),
            Self::StartsWith(text) => {
                bytes.get(..text.len()).is_some_and(|it| no_case(it, text.as_bytes()))
            }
            Self::EndsWith(text) => {
                let start = bytes.len().checked_sub(text.len());
                start.and_then(|it| bytes.get(it..)).is_some_and(|it| no_case(it, text.as_bytes()))
            }
            Self::Contains(text) => {
                bytes.windows(text.len().max(1)).any(|it| no_case(it, text.as_bytes()))
            }
            Self::Regex { regex, .. } => regex.is_match(value),
            Self::Cidr(network) => {
                value.parse().is_ok_and(|ip: std::net::IpAddr| network.contains(&ip))
            }
            Self::Null => false,
            Self::Present => true,
        }
    }

    /// A text that stands, in some case, in every value that matches; `None` if there is no such text.
    #[must_use]
    pub fn literal(&self) -> Option<&str> {
        match self {
            Self::Exact(text)
            | Self::StartsWith(text)
            | Self::EndsWith(text)
            | Self::Contains(text) => Some(text),
            Self::Regex { literal, .. } => Some(literal),
            Self::Cidr(_) | Self::Null | Self::Present => None,
        }
        .filter(|it| !it.is_empty())
        .map(String::as_str)
    }
}

fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        let wildcard = match char {
            '*' => Piece::Any,
            '?' => Piece::One,
            // A backslash is itself unless it stands before a wildcard or another backslash.
            '\\' if matches!(chars.peek(), Some('*' | '?' | '\\')) => {
                plain.extend(chars.next());
                continue;
            }
            other => {
                plain.push(other);
                continue;
            }
        };
        if !plain.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut plain)));
        }
        if wildcard == Piece::One || pieces.last() != Some(&Piece::Any) {
            pieces.push(wildcard);
        }
    }
    if !plain.is_empty() {
        pieces.push(Piece::Text(plain));
    }
    pieces
}

fn wildcard(pieces: &[Piece]) -> Result<Pattern, String> {
    let mut text = String::from("(?s)^");
    let mut literal = "";
    for piece in pieces {
        match piece {
            Piece::Any => text.push_str(".*"),
            Piece::One => text.push('.'),
            Piece::Text(plain) => {
                push_no_case(plain, &mut text);
                if plain.len() > literal.len() {
                    literal = plain;
                }
            }
        }
    }
    text.push('$');
    match Pattern::regex(&text)? {
        Pattern::Regex { regex, .. } => Ok(Pattern::Regex {
            written: pieces.iter().map(Piece::written).collect(),
            regex,
            literal: literal.to_owned(),
        }),
        other => Ok(other),
    }
}

impl Piece {
    fn written(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Any => "*",
            Self::One => "?",
        }
    }
}

/// As a rule writes it, with wildcards for the modifiers.
impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(text) => f.write_str(text),
            Self::StartsWith(text) => write!(f, "{text}*"),
            Self::EndsWith(text) => write!(f, "*{text}"),
            Self::Contains(text) => write!(f, "*{text}*"),
            Self::Regex { written, .. } => f.write_str(written),
            Self::Cidr(network) => network.fmt(f),
            Self::Null => f.write_str("null"),
            Self::Present => f.write_str("*"),
        }
    }
}

/// Folds ASCII only, as the other patterns and the prefilter do; by Unicode's rules `ſ` is an `s`.
fn push_no_case(plain: &str, out: &mut String) {
    for char in plain.chars() {
        let escaped = regex::escape(char.encode_utf8(&mut [0; 4]));
        match char.is_ascii_alphabetic() {
            true => out.push_str(&format!("(?i-u:{escaped})")),
            false => out.push_str(&escaped),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, widen: Widen, yes: &[&str], no: &[&str]) {
        let pattern = Pattern::text(text, widen).unwrap();
        for value in yes {
            assert!(pattern.matches(value), "{text} should match {value}: {pattern:?}");
            if let Some(literal) = pattern.literal() {
                assert!(
                    value.to_ascii_lowercase().contains(&literal.to_ascii_lowercase()),
                    "{literal}"
                );
            }
        }
        for value in no {
            assert!(!pattern.matches(value), "{text} should not match {value}: {pattern:?}");
        }
    }

    #[test]
    fn texts() {
        check("get", Widen::No, &["get", "GET"], &["", "gets", "forget"]);
        check("", Widen::No, &[""], &["x"]);
        check("kube", Widen::Start, &["kubectl", "KUBE"], &["xkube", "k"]);
        check("ctl", Widen::End, &["kubectl", "ctl"], &["ctlx", "tl"]);
        check("bec", Widen::Both, &["kubectl"], &["kub", ""]);
        check("*", Widen::No, &["", "x"], &[]);
        check("a*c?e", Widen::No, &["acde", "abbbCxE", "a\nc.e"], &["ace", "acdef"]);
        check(r"a\*b\?c\\d\e", Widen::No, &[r"a*b?c\d\e"], &["axbyc"]);
        check("*x*", Widen::Both, &["x", "axb"], &["ab"]);
        check("sec*ret", Widen::No, &["SECrRET"], &["\u{17f}ecret"]);
    }

    #[test]
    fn networks_and_regexes() {
        assert!(Pattern::cidr("10.0.0.0/8").unwrap().matches("10.1.2.3"));
        assert!(!Pattern::cidr("10.0.0.0/8").unwrap().matches("::ffff:11.0.0.1"));
        assert!(Pattern::cidr("10.0.0.0").is_err());
        assert!(Pattern::regex("^a.c$").unwrap().matches("abc"));
        assert!(!Pattern::regex("^a.c$").unwrap().matches("ABC"));
        assert!(Pattern::regex("(").is_err());
        assert!(Pattern::regex("(a{1000}){1000}").unwrap_err().contains("size limit"));
    }
}

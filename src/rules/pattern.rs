use std::fmt;

use ipnet::IpNet;
use regex::{Regex, RegexBuilder};

use super::Field;

/// Largest compiled form of one regex (bytes). Its length says little: counted repetition multiplies.
pub(crate) const REGEX_BYTES_MAX: usize = 1 << 20;

/// What one value of a field is compared with.
#[derive(Clone, Debug)]
pub enum Pattern {
    /// A text at a place in it. Numbers and booleans compare as they are written.
    Text {
        /// Where it has to stand.
        place: Place,
        /// The text.
        text: String,
        /// Whether ASCII case counts. By default it does not, as Sigma has it.
        cased: bool,
    },
    /// A regex that matches somewhere in it; also what becomes of other wildcards. `literal` is a part that
    /// every match contains in some case (may be empty).
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
    /// A number, compared with this one. What is no number never fits.
    Number(Order, f64),
    /// What another field of the event has.
    SameAs {
        /// The other field: one of its values.
        field: Field,
        /// Where in the value it has to stand.
        place: Place,
        /// Whether ASCII case counts.
        cased: bool,
    },
    /// Absent, or JSON `null`.
    Null,
    /// Any value at all.
    Present,
}

/// Where a text stands in a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// It is the value.
    Whole,
    /// At its start.
    Start,
    /// At its end.
    End,
    /// Anywhere.
    Within,
}

/// How a number stands to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// Less.
    Lt,
    /// Less or the same.
    Lte,
    /// More.
    Gt,
    /// More or the same.
    Gte,
}

impl Place {
    /// Whether `text` stands there in `value`.
    #[must_use]
    pub fn fits(self, value: &str, text: &str, cased: bool) -> bool {
        let (value, text) = (value.as_bytes(), text.as_bytes());
        let same = |it: &[u8]| if cased { it == text } else { it.eq_ignore_ascii_case(text) };
        let end = || value.len().checked_sub(text.len()).and_then(|it| value.get(it..));
        match self {
            Self::Whole => same(value),
            Self::Start => value.get(..text.len()).is_some_and(same),
            Self::End => end().is_some_and(same),
            Self::Within => text.is_empty() || value.windows(text.len()).any(same),
        }
    }
}

impl Order {
    fn fits(self, value: f64, than: f64) -> bool {
        match self {
            Self::Lt => value < than,
            Self::Lte => value <= than,
            Self::Gt => value > than,
            Self::Gte => value >= than,
        }
    }
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
    /// Understands a Sigma text: `*` and `?` are wildcards unless a backslash stands before them. `place` is what
    /// the modifier says.
    pub(super) fn text(text: &str, place: Place, cased: bool) -> Result<Self, String> {
        let mut pieces = pieces(text);
        if matches!(place, Place::End | Place::Within) && pieces.first() != Some(&Piece::Any) {
            pieces.insert(0, Piece::Any);
        }
        if matches!(place, Place::Start | Place::Within) && pieces.last() != Some(&Piece::Any) {
            pieces.push(Piece::Any);
        }
        let plain = |place, text: &str| Self::Text { place, text: text.to_owned(), cased };
        Ok(match pieces.as_slice() {
            [] => plain(Place::Whole, ""),
            [Piece::Any] => Self::Present,
            [Piece::Text(text)] => plain(Place::Whole, text),
            [Piece::Text(text), Piece::Any] => plain(Place::Start, text),
            [Piece::Any, Piece::Text(text)] => plain(Place::End, text),
            [Piece::Any, Piece::Text(text), Piece::Any] => plain(Place::Within, text),
            many => wildcard(many, cased)?,
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

    /// Whether a value that is there matches. [`Self::SameAs`] and [`Self::Null`] do not: they need the event.
    #[must_use]
    pub fn matches(&self, value: &str) -> bool {
        match self {
            Self::Text { place, text, cased } => place.fits(value, text, *cased),
            Self::Regex { regex, .. } => regex.is_match(value),
            Self::Cidr(network) => {
                value.parse().is_ok_and(|ip: std::net::IpAddr| network.contains(&ip))
            }
            Self::Number(order, than) => {
                value.parse().is_ok_and(|value: f64| order.fits(value, *than))
            }
            Self::SameAs { .. } | Self::Null => false,
            Self::Present => true,
        }
    }

    /// A text that stands, in some case, in every value that matches; `None` if there is no such text.
    #[must_use]
    pub fn literal(&self) -> Option<&str> {
        match self {
            Self::Text { text, .. } => Some(text),
            Self::Regex { literal, .. } => Some(literal),
            _ => None,
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

fn wildcard(pieces: &[Piece], cased: bool) -> Result<Pattern, String> {
    let mut text = String::from("(?s)^");
    let mut literal = "";
    for piece in pieces {
        match piece {
            Piece::Any => text.push_str(".*"),
            Piece::One => text.push('.'),
            Piece::Text(plain) => {
                match cased {
                    true => text.push_str(&regex::escape(plain)),
                    false => push_no_case(plain, &mut text),
                }
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
            Self::Text { place, text, .. } => match place {
                Place::Whole => f.write_str(text),
                Place::Start => write!(f, "{text}*"),
                Place::End => write!(f, "*{text}"),
                Place::Within => write!(f, "*{text}*"),
            },
            Self::Number(order, than) => {
                let sign = match order {
                    Order::Lt => "<",
                    Order::Lte => "≤",
                    Order::Gt => ">",
                    Order::Gte => "≥",
                };
                write!(f, "{sign} {than}")
            }
            Self::SameAs { field, .. } => write!(f, "what {field} has"),
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
    fn check(text: &str, place: Place, yes: &[&str], no: &[&str]) {
        let pattern = Pattern::text(text, place, false).unwrap();
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
        check("get", Place::Whole, &["get", "GET"], &["", "gets", "forget"]);
        check("", Place::Whole, &[""], &["x"]);
        check("kube", Place::Start, &["kubectl", "KUBE"], &["xkube", "k"]);
        check("ctl", Place::End, &["kubectl", "ctl"], &["ctlx", "tl"]);
        check("bec", Place::Within, &["kubectl"], &["kub", ""]);
        check("*", Place::Whole, &["", "x"], &[]);
        check("a*c?e", Place::Whole, &["acde", "abbbCxE", "a\nc.e"], &["ace", "acdef"]);
        check(r"a\*b\?c\\d\e", Place::Whole, &[r"a*b?c\d\e"], &["axbyc"]);
        check("*x*", Place::Within, &["x", "axb"], &["ab"]);
        check("sec*ret", Place::Whole, &["SECrRET"], &["\u{17f}ecret"]);
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

use std::{fmt, net::IpAddr};

use ipnet::IpNet;
use regex::{Regex, RegexBuilder};

use jiff::{Timestamp, civil, tz::TimeZone};

use super::{
    Field,
    limits::{REGEX_BYTES_MAX, REGEX_CACHE_BYTES_MAX},
    text::{DASHES, Piece},
};

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
        /// No more than so many bytes is its compiled form.
        bytes: usize,
    },
    /// An address in this network.
    Cidr(IpNet),
    /// A number, compared with this one. What is no number never fits.
    Number(Order, f64),
    /// A part of a time in UTC, compared with this number. What is no time never fits.
    Time(TimePart, Order, i64),
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
    /// The same.
    Eq,
}

/// A part of a time, as Sigma's time modifiers name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimePart {
    /// From 0 to 59.
    Minute,
    /// From 0 to 23.
    Hour,
    /// Of the month, from 1.
    Day,
    /// Of the year, by ISO 8601: from 1 to 53.
    Week,
    /// From 1 to 12.
    Month,
    /// With its century.
    Year,
}

impl TimePart {
    /// The part of a time that is written by RFC 3339; without an offset it is taken for UTC.
    fn of(self, text: &str) -> Option<i64> {
        let time = match text.parse::<Timestamp>() {
            Ok(it) => it.to_zoned(TimeZone::UTC).datetime(),
            Err(_) => text.parse::<civil::DateTime>().ok()?,
        };
        Some(match self {
            Self::Minute => time.minute().into(),
            Self::Hour => time.hour().into(),
            Self::Day => time.day().into(),
            Self::Week => time.date().iso_week_date().week().into(),
            Self::Month => time.month().into(),
            Self::Year => time.year().into(),
        })
    }

    /// As a rule writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Year => "year",
        }
    }
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
    fn fits<T: PartialOrd>(self, value: T, than: T) -> bool {
        match self {
            Self::Lt => value < than,
            Self::Lte => value <= than,
            Self::Gt => value > than,
            Self::Gte => value >= than,
            Self::Eq => value == than,
        }
    }

    fn sign(self) -> &'static str {
        match self {
            Self::Lt => "<",
            Self::Lte => "≤",
            Self::Gt => ">",
            Self::Gte => "≥",
            Self::Eq => "=",
        }
    }
}

/// `i`, `m` and `s` behind `re`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flags {
    /// The case does not count.
    pub(super) any_case: bool,
    /// `^` and `$` are the ends of lines, too.
    pub(super) lines: bool,
    /// A dot is a line's end, too.
    pub(super) dot_all: bool,
}

/// As they stand in a regex.
impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (is_set, flag) in
            [(self.any_case, "(?i)"), (self.lines, "(?m)"), (self.dot_all, "(?s)")]
        {
            f.write_str(if is_set { flag } else { "" })?;
        }
        Ok(())
    }
}

impl Pattern {
    /// Makes one of a text. `place` is what the modifier says.
    pub(super) fn text(mut pieces: Vec<Piece>, place: Place, cased: bool) -> Result<Self, String> {
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

    /// Understands a regex. Unlike texts it looks at the case.
    pub(super) fn regex(text: &str, flags: Flags) -> Result<Self, String> {
        // Most are small, and what all of them come to is bounded: the least bound that holds is near enough.
        let mut bytes = 1 << 12;
        let whole = format!("{flags}{text}");
        loop {
            let built = RegexBuilder::new(&whole)
                .size_limit(bytes)
                .dfa_size_limit(REGEX_CACHE_BYTES_MAX)
                .build();
            match built {
                Ok(regex) => {
                    let (written, literal) = (format!("/{whole}/"), String::new());
                    return Ok(Self::Regex { written, regex, literal, bytes });
                }
                Err(regex::Error::CompiledTooBig(_)) if bytes < REGEX_BYTES_MAX => bytes *= 4,
                Err(regex::Error::CompiledTooBig(_)) => {
                    return Err(format!(
                        "the regex is compiled to more than the size limit of {REGEX_BYTES_MAX} bytes"
                    ));
                }
                Err(error) => return Err(format!("the regex cannot be used: {}", cause(&error))),
            }
        }
    }

    /// Understands a network: `10.0.0.0/8`.
    pub(super) fn cidr(text: &str) -> Result<Self, String> {
        // A lone address is a network of one.
        let one = || text.parse::<IpAddr>().ok().map(IpNet::from);
        let network = text.parse::<IpNet>();
        let network = network.or_else(|error| one().ok_or(error));
        network.map(Self::Cidr).map_err(|error| format!("`{text}` is no network: {error}"))
    }

    /// Whether a value that is there matches. [`Self::SameAs`] and [`Self::Null`] do not: they need the event.
    #[must_use]
    pub fn matches(&self, value: &str) -> bool {
        match self {
            Self::Text { place, text, cased } => place.fits(value, text, *cased),
            Self::Regex { regex, .. } => regex.is_match(value),
            Self::Cidr(network) => value.parse().is_ok_and(|ip: IpAddr| network.contains(&ip)),
            Self::Number(order, than) => {
                value.parse().is_ok_and(|value: f64| order.fits(value, *than))
            }
            Self::Time(part, order, than) => {
                part.of(value).is_some_and(|value| order.fits(value, *than))
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

/// What a regex's error says, on one line. Looking around and back is named: other engines can do it.
fn cause(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

fn wildcard(pieces: &[Piece], cased: bool) -> Result<Pattern, String> {
    let mut text = String::from("(?s)^");
    let mut literal = "";
    for piece in pieces {
        match piece {
            Piece::Any => text.push_str(".*"),
            Piece::One => text.push('.'),
            Piece::Dash => {
                text.push('[');
                text.extend(DASHES.iter().map(|it| regex::escape(it.encode_utf8(&mut [0; 4]))));
                text.push(']');
            }
            Piece::List(name) => return Err(format!("%{name}% has no meaning here")),
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
    match Pattern::regex(&text, Flags::default())? {
        Pattern::Regex { regex, bytes, .. } => Ok(Pattern::Regex {
            written: pieces.iter().map(Piece::written).collect(),
            regex,
            literal: literal.to_owned(),
            bytes,
        }),
        other => Ok(other),
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
                write!(f, "{} {than}", order.sign())
            }
            Self::Time(part, order, than) => {
                write!(f, "{} {} {than}", part.name(), order.sign())
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
    use crate::rules::text::pieces;

    #[track_caller]
    fn check(text: &str, place: Place, yes: &[&str], no: &[&str]) {
        let pattern = Pattern::text(pieces(text, false), place, false).unwrap();
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
    fn parts_of_times() {
        for (part, expected) in [
            (TimePart::Minute, 59),
            (TimePart::Hour, 22),
            (TimePart::Day, 31),
            (TimePart::Week, 1),
            (TimePart::Month, 12),
            (TimePart::Year, 2024),
        ] {
            let pattern = Pattern::Time(part, Order::Eq, expected);
            for text in
                ["2024-12-31T22:59:08.123456Z", "2025-01-01T00:59:08+02:00", "2024-12-31T22:59:08"]
            {
                assert!(pattern.matches(text), "{part:?} of {text}");
            }
            assert!(!pattern.matches("22"));
        }
        assert!(Pattern::Time(TimePart::Hour, Order::Gte, 22).matches("2024-12-31T22:00:00Z"));
        assert!(!Pattern::Time(TimePart::Hour, Order::Gt, 22).matches("2024-12-31T22:00:00Z"));
    }

    #[test]
    fn networks_and_regexes() {
        assert!(Pattern::cidr("10.0.0.0/8").unwrap().matches("10.1.2.3"));
        assert!(!Pattern::cidr("10.0.0.0/8").unwrap().matches("::ffff:11.0.0.1"));
        assert!(Pattern::cidr("10.0.0").is_err());
        assert!(Pattern::cidr("10.0.0.0").unwrap().matches("10.0.0.0"));
        let regex = |text| Pattern::regex(text, Flags::default());
        assert!(regex("^a.c$").unwrap().matches("abc"));
        assert!(!regex("^a.c$").unwrap().matches("ABC"));
        assert!(!regex("^a.c$").unwrap().matches("x\na\nc"));
        let all = Flags { any_case: true, lines: true, dot_all: true };
        assert!(Pattern::regex("^a.c$", all).unwrap().matches("x\nA\nC\ny"));
        for (text, reason) in [
            ("(", "unclosed group"),
            ("(a{1000}){1000}", "size limit"),
            ("(?!a)b", "look-around"),
            (r"(a)\1", "backreferences are not supported"),
        ] {
            let error = regex(text).unwrap_err();
            assert!(error.contains(reason) && !error.contains('\n'), "{error}");
        }
    }
}

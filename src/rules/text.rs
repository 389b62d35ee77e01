//! Sigma's texts: wildcards, escapes, placeholders, and what modifiers make of them before they are compared.

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{Lists, limits::VALUES_MAX};

/// A part of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Text(String),
    /// `*`
    Any,
    /// `?`
    One,
    /// `windash`: any of [`DASHES`].
    Dash,
    /// `%NAME%`
    List(String),
}

/// What Windows takes for the dash of an option.
pub(super) const DASHES: [char; 5] = ['-', '/', '\u{2013}', '\u{2014}', '\u{2015}'];

impl Piece {
    pub(super) fn written(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Any => "*".into(),
            Self::One => "?".into(),
            Self::Dash => "-".into(),
            Self::List(name) => format!("%{name}%"),
        }
    }
}

/// Splits a text. A backslash before `*`, `?` or another backslash takes their meaning; before anything else it is
/// itself. `%NAME%` is a placeholder where `expand` is said, and then `\%` is a percent sign.
pub(super) fn pieces(text: &str, expands: bool) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(char) = rest.chars().next() {
        rest = rest.get(char.len_utf8()..).unwrap_or_default();
        let special = match char {
            '*' => Piece::Any,
            '?' => Piece::One,
            '\\' => {
                let escaped = rest
                    .chars()
                    .next()
                    .filter(|it| matches!(it, '*' | '?' | '\\') || (expands && *it == '%'));
                rest = rest.get(usize::from(escaped.is_some())..).unwrap_or_default();
                plain.push(escaped.unwrap_or('\\'));
                continue;
            }
            '%' if expands => match rest.split_once('%').filter(|(name, _)| is_name(name)) {
                Some((name, after)) => {
                    rest = after;
                    Piece::List(name.to_owned())
                }
                None => {
                    plain.push('%');
                    continue;
                }
            },
            other => {
                plain.push(other);
                continue;
            }
        };
        if !plain.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut plain)));
        }
        if special != Piece::Any || pieces.last() != Some(&Piece::Any) {
            pieces.push(special);
        }
    }
    if !plain.is_empty() {
        pieces.push(Piece::Text(plain));
    }
    pieces
}

/// Whether a text names a list where `expand` is said.
pub(super) fn names_list(text: &str) -> bool {
    pieces(text, true).iter().any(|it| matches!(it, Piece::List(_)))
}

/// Whether it can name a list.
pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|it| it.is_alphanumeric() || matches!(it, '_' | '-' | '.'))
}

/// A dash that begins an option: no letter or digit before it, one behind it.
pub(super) fn with_dashes(pieces: Vec<Piece>) -> Vec<Piece> {
    let is_word = |it: char| it.is_alphanumeric() || it == '_';
    let mut out = Vec::new();
    for piece in pieces {
        let Piece::Text(text) = piece else {
            out.push(piece);
            continue;
        };
        let (mut plain, mut before) = (String::new(), None);
        let mut chars = text.chars().peekable();
        while let Some(char) = chars.next() {
            let begins = DASHES.contains(&char)
                && !before.is_some_and(is_word)
                && chars.peek().copied().is_some_and(is_word);
            if begins {
                if !plain.is_empty() {
                    out.push(Piece::Text(std::mem::take(&mut plain)));
                }
                out.push(Piece::Dash);
            } else {
                plain.push(char);
            }
            before = Some(char);
        }
        if !plain.is_empty() {
            out.push(Piece::Text(plain));
        }
    }
    out
}

/// Puts the values of lists in the place of their names: every combination, if there are several.
pub(super) fn expanded(pieces: &[Piece], lists: &Lists) -> Result<Vec<Vec<Piece>>, String> {
    let mut all: Vec<Vec<Piece>> = vec![Vec::new()];
    for piece in pieces {
        let Piece::List(name) = piece else {
            all.iter_mut().for_each(|it| joined(it, piece.clone()));
            continue;
        };
        let values = lists.get(name)?;
        if all.len().saturating_mul(values.len()) > VALUES_MAX {
            return Err(format!("%{name}% makes more than {VALUES_MAX} values of one line"));
        }
        let with = |before: &Vec<Piece>, value: &String| {
            let mut whole = before.clone();
            self::pieces(value, false).into_iter().for_each(|it| joined(&mut whole, it));
            whole
        };
        all = all.iter().flat_map(|it| values.iter().map(move |value| with(it, value))).collect();
    }
    Ok(all)
}

fn joined(pieces: &mut Vec<Piece>, more: Piece) {
    match (pieces.last_mut(), more) {
        (Some(Piece::Text(text)), Piece::Text(more)) => text.push_str(&more),
        (Some(Piece::Any), Piece::Any) => (),
        (_, more) => pieces.push(more),
    }
}

/// The text itself, if nothing in it has a meaning of its own.
pub(super) fn plain(pieces: &[Piece]) -> Option<&str> {
    match pieces {
        [] => Some(""),
        [Piece::Text(text)] => Some(text),
        _ => None,
    }
}

/// How characters become bytes before `base64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Utf8,
    /// `utf16le`, `wide`
    Utf16Le,
    /// `utf16be`
    Utf16Be,
    /// `utf16`: little end first, with the mark that says so.
    Utf16,
}

impl Encoding {
    fn bytes(self, text: &str) -> Vec<u8> {
        let units = || text.encode_utf16();
        match self {
            Self::Utf8 => text.as_bytes().to_vec(),
            Self::Utf16Le => units().flat_map(u16::to_le_bytes).collect(),
            Self::Utf16Be => units().flat_map(u16::to_be_bytes).collect(),
            Self::Utf16 => {
                [0xff, 0xfe].into_iter().chain(units().flat_map(u16::to_le_bytes)).collect()
            }
        }
    }

    pub(super) fn base64(self, text: &str) -> String {
        STANDARD.encode(self.bytes(text))
    }

    /// What stands for the text in Base64 of something longer: it depends on its place modulo 3. Characters that its
    /// neighbours have a part in are left out.
    pub(super) fn base64_at_any_offset(self, text: &str) -> impl Iterator<Item = String> {
        let bytes = self.bytes(text);
        (0..3).map(move |before| {
            let shifted = [&vec![0; before], bytes.as_slice()].concat();
            let encoded = STANDARD.encode(&shifted);
            let start = [0, 2, 3].get(before).copied().unwrap_or_default();
            let end = shifted.len() * 8 / 6;
            encoded.get(start..end).unwrap_or_default().to_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(pieces: &[Piece]) -> String {
        pieces
            .iter()
            .map(|it| match it {
                Piece::Text(text) => text.clone(),
                Piece::Any => "<any>".into(),
                Piece::One => "<one>".into(),
                Piece::Dash => "<dash>".into(),
                Piece::List(name) => format!("<{name}>"),
            })
            .collect()
    }

    #[test]
    fn escapes() {
        for (text, expected) in [
            (r"a*b?c", "a<any>b<one>c"),
            (r"C:\Windows\x", r"C:\Windows\x"),
            (r"C:\\Windows", r"C:\Windows"),
            (r"\*\?", "*?"),
            (r"a\\*", r"a\<any>"),
            (r"a\\\*", r"a\*"),
            (r"\\\", r"\\"),
            (r"\\\\", r"\\"),
            ("**", "<any>"),
            ("%a%", "%a%"),
            ("", ""),
        ] {
            assert_eq!(shown(&pieces(text, false)), expected, "{text}");
        }
        for (text, expected) in
            [("%a%x", "<a>x"), (r"\%plain%name%", "%plain<name>"), ("50% of %a", "50% of %a")]
        {
            assert_eq!(shown(&pieces(text, true)), expected, "{text}");
        }
    }

    #[test]
    fn dashes() {
        for (text, expected) in [
            ("-a", "<dash>a"),
            (" /param-name", " <dash>param-name"),
            ("a-b", "a-b"),
            ("--x", "-<dash>x"),
            ("- x", "- x"),
            ("*\u{2013}c*", "<any><dash>c<any>"),
        ] {
            assert_eq!(shown(&with_dashes(pieces(text, false))), expected, "{text}");
        }
    }

    #[test]
    fn lists() {
        let lists = Lists::new([
            ("a".to_owned(), vec!["x".to_owned(), "y*".to_owned()]),
            ("b".to_owned(), vec!["1".to_owned(), "2".to_owned()]),
            ("none".to_owned(), vec![]),
        ])
        .unwrap();
        let shown = |text: &str| {
            let all = expanded(&pieces(text, true), &lists)?;
            Ok::<_, String>(all.iter().map(|it| shown(it)).collect::<Vec<_>>())
        };
        assert_eq!(shown("p-%a%-%b%").unwrap(), ["p-x-1", "p-x-2", "p-y<any>-1", "p-y<any>-2"]);
        assert!(shown("%none%").unwrap().is_empty());
        assert_eq!(shown("plain").unwrap(), ["plain"]);
        assert!(shown("%bb%").unwrap_err().contains("no list `bb`"));
    }

    #[test]
    fn base64_of_a_part() {
        for text in ["a", "ab", "abc", "https://", "é"] {
            for encoding in [Encoding::Utf8, Encoding::Utf16Le, Encoding::Utf16Be, Encoding::Utf16]
            {
                let offsets: Vec<_> = encoding.base64_at_any_offset(text).collect();
                for (before, part) in offsets.iter().enumerate() {
                    for (first, last) in [(0x00, 0x00), (0xff, 0xff), (0x55, 0xaa)] {
                        let mut whole = vec![first; before + 3];
                        whole.extend(encoding.bytes(text));
                        whole.extend([last; 4]);
                        assert!(STANDARD.encode(whole).contains(part.as_str()), "{text} {before}");
                    }
                }
            }
        }
        assert_eq!(
            Encoding::Utf8.base64_at_any_offset("foobar").collect::<Vec<_>>(),
            ["Zm9vYmFy", "Zvb2Jhc", "mb29iYX"]
        );
        assert_eq!(Encoding::Utf16.base64("cmd"), "//5jAG0AZAA=");
    }
}

//! Whether what stands at a place of a JSON text is in a value.

use crate::json;

/// Where a text stands that was found in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stands {
    /// In the name of a member: that is no value.
    InName,
    /// In a value that is a string, whose text holds it as it was found.
    InValue,
    /// What it stands in has to be looked at.
    Perhaps,
}

/// Whether every occurrence of a text in JSON is within one string: it has something that stands nowhere else, and
/// nothing that could be an escape or end a string.
pub(super) fn is_of_strings(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let is_bare = |word: &str| {
        ["true", "false", "null"].iter().any(|it| it.contains(word))
            || word.bytes().all(|it| it.is_ascii_digit() || b"+-.e".contains(&it))
    };
    !text.bytes().any(|it| it == b'"' || it == b'\\' || it < 0x20)
        && !text.split(['{', '}', '[', ']', ':', ',', ' ']).all(is_bare)
}

/// Looks at what is around places in a JSON text whose escapes are as [`json::plainest`] leaves them. For places in
/// their order it costs one look at each byte, however many they are.
pub(super) struct Around<'t> {
    text: &'t str,
    /// What stands from here ...
    from: usize,
    /// ... to this quote, that has no backslash before it ...
    quote: usize,
    /// ... is followed by a colon.
    is_name: bool,
}

impl<'t> Around<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, from: 0, quote: 0, is_name: false }
    }

    /// Says it of the text that stands from `start` to `end`. `is_of_strings`: see there.
    pub(super) fn stands(&mut self, start: usize, end: usize, is_of_strings: bool) -> Stands {
        if !is_of_strings {
            return Stands::Perhaps;
        }
        if end < self.from || end > self.quote {
            let Some(behind) = json::string_end(self.text, end) else { return Stands::Perhaps };
            let is_name = json::is_name(self.text.get(behind..).unwrap_or_default());
            *self = Self { text: self.text, from: end, quote: behind - 1, is_name };
        }
        // An escape that goes on into it is another character.
        let before = self.text.as_bytes().get(start.saturating_sub(ESCAPE_MAX)..start);
        if before.is_none_or(|it| it.contains(&b'\\')) {
            Stands::Perhaps
        } else if self.is_name {
            Stands::InName
        } else {
            Stands::InValue
        }
    }
}

/// Longest escape, less its last character (bytes): `\u001`.
const ESCAPE_MAX: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(json: &str, text: &str, expected: &[Stands]) {
        let mut around = Around::new(json);
        let stands = json
            .match_indices(text)
            .map(|(start, it)| around.stands(start, start + it.len(), is_of_strings(text)));
        assert_eq!(stands.collect::<Vec<_>>(), expected, "{text} in {json}");
    }

    #[test]
    fn names_and_values() {
        use Stands::{InName, InValue, Perhaps};
        let json = r#"{"pods" : "my pods, your pods","x":["pods",{"podsa\"":1}],"y":"\"pods\"\\u0001pods"}"#;
        check(json, "pods", &[InName, InValue, InValue, InValue, InName, Perhaps, InValue]);
        check(r#"["\u0001pods"]"#, "1pods", &[Perhaps]);
        check(r#"{"a":"x:y","x:y":1}"#, "x:y", &[InValue, InName]);
        // May stand outside of strings, or be written in another way.
        for text in ["true", "1", "e", ":", "a\"b", r"\n", "", "\n"] {
            assert!(!is_of_strings(text), "{text}");
        }
    }

    #[test]
    fn many_places_in_one_string_cost_no_more() {
        let json = format!(r#"{{"a":"{}"}}"#, "pod".repeat(1 << 20));
        let mut around = Around::new(&json);
        let all = json.match_indices("pod");
        let sure = all.filter(|(at, _)| around.stands(*at, at + 3, true) == Stands::InValue);
        assert_eq!(sure.count(), 1 << 20);
    }
}

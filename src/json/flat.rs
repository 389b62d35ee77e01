//! All that stands in a JSON text, however deep, one after the other.

use super::scan::string_end;

/// The texts, numbers and booleans in a checked JSON value, as they are written: no names of members, no `null`.
/// However deep they stand, it costs one look at each byte and no stack.
#[must_use]
pub fn scalars(text: &str) -> Scalars<'_> {
    Scalars { text, at: 0 }
}

/// See [`scalars`].
#[derive(Clone, Debug)]
pub struct Scalars<'a> {
    text: &'a str,
    at: usize,
}

/// Whether what stands behind a string makes it the name of a member.
#[must_use]
pub fn is_name(behind: &str) -> bool {
    let blanks = behind.bytes().take_while(|it| matches!(it, b' ' | b'\t' | b'\n' | b'\r'));
    behind.as_bytes().get(blanks.count()) == Some(&b':')
}

impl<'a> Iterator for Scalars<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        loop {
            let start = self.at;
            match self.text.as_bytes().get(start)? {
                b'"' => {
                    self.at = string_end(self.text, start + 1)?;
                    if !is_name(self.text.get(self.at..)?) {
                        return self.text.get(start..self.at);
                    }
                }
                first @ (b'-' | b'0'..=b'9' | b't' | b'f' | b'n') => {
                    let rest = self.text.as_bytes().get(start..)?.iter();
                    let goes_on = |it: &&u8| it.is_ascii_alphanumeric() || b"+-.".contains(it);
                    self.at += rest.take_while(goes_on).count();
                    if *first != b'n' {
                        return self.text.get(start..self.at);
                    }
                }
                _ => self.at += 1,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_nothing_are_no_scalars() {
        let text = r#" { "a" : "b\"\\", "c":[ 1.5e+3 ,-2,true,{"d" : false,"e":null}], "\":":"" ,"f":"x:" } "#;
        let all: Vec<&str> = scalars(text).collect();
        assert_eq!(all, [r#""b\"\\""#, "1.5e+3", "-2", "true", "false", r#""""#, r#""x:""#]);
        assert_eq!(scalars(r#""a""#).collect::<Vec<_>>(), [r#""a""#]);
        assert_eq!(scalars("7").collect::<Vec<_>>(), ["7"]);
        assert_eq!(scalars("null").count() + scalars("[]").count(), 0);
    }

    #[test]
    fn depth_costs_no_stack() {
        let text = format!("{}1{}", "[".repeat(1 << 20), "]".repeat(1 << 20));
        assert_eq!(scalars(&text).collect::<Vec<_>>(), ["1"]);
    }
}

//! What stands behind a field's name: `contains`, `re`, `cidr`, … and in which order they may.

use super::{
    error::hint,
    pattern::{Flags, Order, Place, TimePart},
    text::Encoding,
};

/// How the values of a line are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    Text(Place),
    Regex(Flags),
    Cidr,
    Exists,
    Number(Order),
    Time(TimePart, Order),
    Field(Place),
}

/// What is made of a text before it is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Dashes,
    Lists,
    Base64(Encoding),
    Base64Offset(Encoding),
}

/// All modifiers of a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Modifiers {
    pub(super) reading: Reading,
    pub(super) steps: Vec<Step>,
    pub(super) all: bool,
    pub(super) cased: bool,
    pub(super) negated: bool,
}

pub(super) const NAMES: &[&str] = &[
    "contains",
    "startswith",
    "endswith",
    "re",
    "i",
    "m",
    "s",
    "cidr",
    "exists",
    "all",
    "cased",
    "neq",
    "lt",
    "lte",
    "gt",
    "gte",
    "fieldref",
    "expand",
    "windash",
    "base64",
    "base64offset",
    "wide",
    "utf16",
    "utf16le",
    "utf16be",
    "minute",
    "hour",
    "day",
    "week",
    "month",
    "year",
];

/// How values are read, while it is not known whole.
#[derive(Default)]
struct Kind {
    /// The modifier that said so.
    by: Option<&'static str>,
    reading: Option<Reading>,
    fieldref: bool,
    time: Option<TimePart>,
    encoding: Option<Encoding>,
}

impl Modifiers {
    /// Reads the modifiers of a line, in their order.
    pub(super) fn parse<'m>(words: impl Iterator<Item = &'m str>) -> Result<Self, String> {
        let mut out = Self {
            reading: Reading::Text(Place::Whole),
            steps: Vec::new(),
            all: false,
            cased: false,
            negated: false,
        };
        let mut kind = Kind::default();
        for word in words {
            if word.is_empty() {
                return Err("a modifier is missing behind `|`".into());
            }
            let Some(name) = NAMES.iter().copied().find(|it| *it == long(word)) else {
                return Err(format!("no modifier `{word}`{}", hint(word, NAMES)));
            };
            out.take(name, &mut kind)?;
        }
        out.finish(kind)
    }

    fn take(&mut self, name: &'static str, kind: &mut Kind) -> Result<(), String> {
        match name {
            "all" => self.all = true,
            "cased" => self.cased = true,
            "neq" => self.negated = true,
            "fieldref" => kind.fieldref = true,
            "contains" => kind.is(name, Reading::Text(Place::Within))?,
            "startswith" => kind.is(name, Reading::Text(Place::Start))?,
            "endswith" => kind.is(name, Reading::Text(Place::End))?,
            "re" => kind.is(name, Reading::Regex(Flags::default()))?,
            "cidr" => kind.is(name, Reading::Cidr)?,
            "exists" => kind.is(name, Reading::Exists)?,
            "lt" => kind.is(name, Reading::Number(Order::Lt))?,
            "lte" => kind.is(name, Reading::Number(Order::Lte))?,
            "gt" => kind.is(name, Reading::Number(Order::Gt))?,
            "gte" => kind.is(name, Reading::Number(Order::Gte))?,
            "i" | "m" | "s" => {
                let Some(Reading::Regex(flags)) = &mut kind.reading else {
                    return Err(format!("`{name}` stands behind `re` only"));
                };
                match name {
                    "i" => flags.any_case = true,
                    "m" => flags.lines = true,
                    _ => flags.dot_all = true,
                }
            }
            "minute" => kind.part(name, TimePart::Minute)?,
            "hour" => kind.part(name, TimePart::Hour)?,
            "day" => kind.part(name, TimePart::Day)?,
            "week" => kind.part(name, TimePart::Week)?,
            "month" => kind.part(name, TimePart::Month)?,
            "year" => kind.part(name, TimePart::Year)?,
            "windash" => self.steps.push(Step::Dashes),
            "expand" => self.steps.push(Step::Lists),
            "wide" | "utf16le" => kind.encoded(name, Encoding::Utf16Le)?,
            "utf16be" => kind.encoded(name, Encoding::Utf16Be)?,
            "utf16" => kind.encoded(name, Encoding::Utf16)?,
            _ => {
                if let Some(before) = kind.by {
                    return Err(format!("`{name}` must stand before `{before}`"));
                }
                if self.steps.contains(&Step::Dashes) {
                    return Err(format!("`{name}` cannot follow `windash`"));
                }
                let encoding = kind.encoding.take().unwrap_or(Encoding::Utf8);
                self.steps.push(match name {
                    "base64" => Step::Base64(encoding),
                    _ => Step::Base64Offset(encoding),
                });
            }
        }
        Ok(())
    }

    fn finish(mut self, kind: Kind) -> Result<Self, String> {
        if kind.encoding.is_some() {
            return Err(
                "`wide` and `utf16` must be followed by `base64` or `base64offset`: no field holds their bytes"
                    .into(),
            );
        }
        self.reading = match (kind.time, kind.reading) {
            (None, None) => Reading::Text(Place::Whole),
            (None, Some(reading)) => reading,
            (Some(part), None) => Reading::Time(part, Order::Eq),
            (Some(part), Some(Reading::Number(order))) => Reading::Time(part, order),
            (Some(part), Some(_)) => {
                return Err(format!("`{}` goes with lt, lte, gt and gte only", part.name()));
            }
        };
        if kind.fieldref {
            self.reading = match self.reading {
                Reading::Text(place) => Reading::Field(place),
                _ => {
                    return Err(
                        "`fieldref` goes with contains, startswith and endswith only".into()
                    );
                }
            };
        }
        let fit = |step: &Step| match self.reading {
            Reading::Text(_) => true,
            Reading::Cidr => *step == Step::Lists,
            _ => false,
        };
        if let Some(step) = self.steps.iter().find(|it| !fit(it)) {
            let name = match step {
                Step::Dashes => "windash",
                Step::Lists => "expand",
                Step::Base64(_) => "base64",
                Step::Base64Offset(_) => "base64offset",
            };
            return Err(format!("`{name}` goes with texts only"));
        }
        Ok(self)
    }
}

impl Kind {
    fn is(&mut self, name: &'static str, reading: Reading) -> Result<(), String> {
        if let Some(before) = self.by {
            return Err(format!(
                "`{name}` cannot follow `{before}`: one of them says how to compare"
            ));
        }
        (self.by, self.reading) = (Some(name), Some(reading));
        Ok(())
    }

    fn part(&mut self, name: &str, part: TimePart) -> Result<(), String> {
        match self.time.replace(part) {
            Some(before) => Err(format!("`{name}` cannot follow `{}`", before.name())),
            None => Ok(()),
        }
    }

    fn encoded(&mut self, name: &str, encoding: Encoding) -> Result<(), String> {
        match self.encoding.replace(encoding) {
            Some(_) => Err(format!("`{name}` cannot follow another encoding")),
            None => Ok(()),
        }
    }
}

/// pySigma's long names of the flags of a regex.
fn long(word: &str) -> &str {
    match word {
        "ignorecase" => "i",
        "multiline" => "m",
        "dotall" => "s",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings() {
        let flags = |any_case, lines, dot_all| Flags { any_case, lines, dot_all };
        for (text, expected) in [
            ("", Reading::Text(Place::Whole)),
            ("contains|all", Reading::Text(Place::Within)),
            ("neq|endswith", Reading::Text(Place::End)),
            ("re", Reading::Regex(flags(false, false, false))),
            ("re|i|s", Reading::Regex(flags(true, false, true))),
            ("re|multiline", Reading::Regex(flags(false, true, false))),
            ("hour", Reading::Time(TimePart::Hour, Order::Eq)),
            ("hour|gte", Reading::Time(TimePart::Hour, Order::Gte)),
            ("lt|week", Reading::Time(TimePart::Week, Order::Lt)),
            ("fieldref|startswith", Reading::Field(Place::Start)),
            ("cidr|expand", Reading::Cidr),
        ] {
            let words = text.split('|').filter(|it| !it.is_empty());
            assert_eq!(Modifiers::parse(words).unwrap().reading, expected, "{text}");
        }
        let all = Modifiers::parse("wide|base64offset|contains".split('|')).unwrap();
        assert_eq!(all.steps, [Step::Base64Offset(Encoding::Utf16Le)]);
    }

    #[test]
    fn mistakes() {
        for (text, expected) in [
            ("", "a modifier is missing"),
            ("begins", "no modifier `begins` (there are: contains, "),
            ("contain", "did you mean `contains`?"),
            ("startwith", "did you mean `startswith`?"),
            ("re|contains", "`contains` cannot follow `re`"),
            ("lt|gt", "`gt` cannot follow `lt`"),
            ("contains|base64", "`base64` must stand before `contains`"),
            ("windash|base64", "cannot follow `windash`"),
            ("wide", "must be followed by `base64`"),
            ("wide|contains", "must be followed by `base64`"),
            ("wide|utf16|base64", "cannot follow another encoding"),
            ("contains|i", "`i` stands behind `re` only"),
            ("hour|contains", "`hour` goes with lt"),
            ("hour|day", "`day` cannot follow `hour`"),
            ("cidr|fieldref", "`fieldref` goes with contains"),
            ("re|expand", "`expand` goes with texts only"),
            ("cidr|base64", "must stand before `cidr`"),
            ("lt|windash", "`windash` goes with texts only"),
            ("fieldref|windash", "`windash` goes with texts only"),
        ] {
            let error = Modifiers::parse(text.split('|')).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}

use thiserror::Error;

/// A rule that cannot be used.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{file}:{line}: {reason}")]
pub struct RuleError {
    /// The rule file, as it was named.
    pub file: String,
    /// The line in it, from 1.
    pub line: usize,
    /// What is wrong and how to mend it.
    pub reason: String,
}

/// Finds the lines of what is wrong in one file.
pub(super) struct Source<'a> {
    pub(super) file: &'a str,
    pub(super) text: &'a str,
}

impl Source<'_> {
    /// An error about `token`, which stands in the file as it is here. It is looked for from the first line on
    /// that starts the section `after`.
    pub(super) fn error(&self, after: &str, token: &str, reason: impl Into<String>) -> RuleError {
        RuleError {
            file: self.file.to_owned(),
            line: self.line_of(after, token),
            reason: reason.into(),
        }
    }

    /// An error that the YAML reader found, in its own words.
    pub(super) fn yaml(&self, error: &yaml_serde::Error) -> RuleError {
        let line = error.location().map_or(1, |it| it.line());
        RuleError { file: self.file.to_owned(), line, reason: error.to_string() }
    }

    fn line_of(&self, after: &str, token: &str) -> usize {
        let section =
            self.text.lines().position(|it| it.trim_start().starts_with(after)).unwrap_or(0);
        let found =
            self.text.lines().enumerate().skip(section).find(|(_, line)| line.contains(token));
        found.map_or(section, |(index, _)| index) + 1
    }
}

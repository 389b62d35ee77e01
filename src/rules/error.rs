use thiserror::Error;

use super::yaml::Wrong;

/// A rule that cannot be used.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{file}:{line}:{column}: {reason}")]
pub struct RuleError {
    /// The rule file, as it was named.
    pub file: String,
    /// The line in it, from 1.
    pub line: usize,
    /// The character in the line, from 1.
    pub column: usize,
    /// What is wrong and how to mend it.
    pub reason: String,
}

impl RuleError {
    pub(super) fn new(file: &str, wrong: Wrong) -> Self {
        let Wrong { at, reason } = wrong;
        Self { file: file.to_owned(), line: at.line, column: at.column, reason }
    }
}

/// The one of `names` that was meant by `word`, most likely: few letters are other ones.
pub(super) fn nearest<'n>(word: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let word = word.to_ascii_lowercase();
    let far = (word.chars().count() / 3).clamp(1, 3);
    let near =
        names.into_iter().map(|it| (strsim::osa_distance(&word, &it.to_ascii_lowercase()), it));
    near.filter(|(distance, _)| *distance <= far)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, it)| it)
}

/// ` (did you mean `NAME`?)`, or what there is if nothing is near.
pub(super) fn hint(word: &str, names: &[&str]) -> String {
    match nearest(word, names.iter().copied()) {
        Some(near) => format!(" (did you mean `{near}`?)"),
        None => format!(" (there are: {})", names.join(", ")),
    }
}

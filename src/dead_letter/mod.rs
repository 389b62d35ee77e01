//! `k8scop dead-letter`: shows what was refused for good and kept (`on_reject: dead_letter`), and sends it again once
//! the cause is mended. What a letter looks like is told in `prepare`, which writes them.
//!
//! A letter is removed only after an answer said that its document is stored. Whoever interrupts a replay has the
//! same letters again; what was stored in between is found there by its `_id`, if it has one.

mod cluster;
mod files;
mod letter;
mod list;
mod replay;
mod target;

use std::{collections::HashSet, path::Path};

use jiff::Timestamp;
use thiserror::Error;

use self::{cluster::Cluster, files::Files, letter::Letter};
pub use self::{list::list, replay::replay, target::TargetOptions};
use crate::config::{Config, DeadLetters, OutputConfig};

/// Most letters at once, in memory and in a request.
const PORTION_LETTERS_MAX: usize = 500;
/// Most bytes of lines at once, unless one letter alone has more.
const PORTION_BYTES_MAX: usize = 5 << 20;

/// Which letters are meant.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Those for an index of this name; `*` is any text.
    pub index: Option<String>,
    /// Those kept since.
    pub since: Option<Timestamp>,
    /// These; all, if there is none.
    pub ids: HashSet<String>,
}

/// What `k8scop dead-letter list` is told.
#[derive(Clone, Debug)]
pub struct ListOptions {
    /// Which are shown.
    pub filter: Filter,
    /// Most that are shown.
    pub limit: usize,
    /// One JSON object a letter, with its lines, instead of a table.
    pub json: bool,
}

/// What `k8scop dead-letter replay` is told.
#[derive(Clone, Debug)]
pub struct ReplayOptions {
    /// Which are sent.
    pub filter: Filter,
    /// Where to.
    pub target: TargetOptions,
    /// Only tell what would be sent.
    pub dry_run: bool,
    /// Remove nothing.
    pub keep: bool,
}

/// How a replay ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replayed {
    /// Every letter that was meant is stored.
    All,
    /// Some are left.
    Some,
    /// Some are left, because the target did not answer as it should.
    Stopped,
}

/// Why letters cannot be read or sent.
#[derive(Debug, Error)]
pub enum DeadLetterError {
    /// What was typed or written cannot be meant.
    #[error("{0}")]
    Settings(String),
    /// Something did not work.
    #[error("{0}")]
    Failed(String),
}

/// Where text goes: data, and what is said about the run.
pub struct Voices<'a> {
    /// Standard output.
    pub print: &'a mut dyn FnMut(&str),
    /// Standard error.
    pub tell: &'a mut dyn FnMut(&str),
}

impl Filter {
    fn takes(&self, letter: &Letter) -> bool {
        let index = letter.index.as_deref();
        let kept: Option<Timestamp> = letter.time.parse().ok();
        (self.ids.is_empty() || self.ids.contains(&letter.id))
            && self.index.as_ref().is_none_or(|it| index.is_some_and(|index| matches(it, index)))
            && self.since.is_none_or(|it| kept.is_none_or(|kept| kept >= it))
    }
}

/// Whether a name is meant by a pattern in which `*` is any text. Not the patterns of `bulk`: letters have names, too,
/// that no index can have.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut left) = name.strip_prefix(start) else { return false };
    let (middle, end) = rest.rsplit_once('*').unwrap_or(("", rest));
    for part in middle.split('*') {
        let Some((_, behind)) = left.split_once(part).filter(|_| !part.is_empty()) else {
            if part.is_empty() {
                continue;
            }
            return false;
        };
        left = behind;
    }
    left.ends_with(end)
}

/// Where letters are kept, read from the oldest on.
#[derive(Debug)]
enum Source {
    Files(Box<Files>),
    Cluster(Box<Cluster>),
}

impl Source {
    /// `with_lines`: the lines are wanted, too.
    fn new(
        config: &Config,
        filter: &Filter,
        with_lines: bool,
        voices: &mut Voices<'_>,
    ) -> Result<Self, DeadLetterError> {
        let filter = filter.clone();
        match (&config.dead_letters, &config.output) {
            (DeadLetters::File(settings), _) => Self::in_files(&settings.dir, filter),
            (kept, output) => {
                if matches!(kept, DeadLetters::Report) {
                    (voices.tell)(
                        "on_reject is `report`: looking for former letters in the output",
                    );
                }
                match output {
                    OutputConfig::File(settings) => Self::in_files(&settings.dir, filter),
                    OutputConfig::Elasticsearch(settings) => {
                        let cluster = Cluster::new(settings, config.backoff, filter, with_lines)?;
                        Ok(Self::Cluster(Box::new(cluster)))
                    }
                }
            }
        }
    }

    fn in_files(dir: &Path, filter: Filter) -> Result<Self, DeadLetterError> {
        Ok(Self::Files(Box::new(Files::open(dir, filter)?)))
    }

    /// Makes sure that no other replay is at work, as far as that can be known. Before the first letter is read.
    fn claim(&mut self) -> Result<(), DeadLetterError> {
        match self {
            Self::Files(files) if files.has_any() => files.claim(),
            Self::Files(_) | Self::Cluster(_) => Ok(()),
        }
    }

    /// The next letters that are meant; `None` after the last.
    async fn next(&mut self) -> Result<Option<Vec<Letter>>, DeadLetterError> {
        match self {
            Self::Files(files) => files.next(),
            Self::Cluster(cluster) => cluster.next().await,
        }
    }

    /// From here on letters are only counted.
    fn only_count(&mut self) {
        if let Self::Cluster(cluster) = self {
            cluster.with_lines = false;
        }
    }

    /// Sees to it that letters are not read again. Gives back how many could not be removed.
    async fn remove(&mut self, letters: &[Letter]) -> Result<usize, DeadLetterError> {
        match self {
            Self::Files(files) => files.remove(letters).map(|()| 0),
            Self::Cluster(cluster) => cluster.remove(letters).await,
        }
    }

    /// The end of reading. Tells of documents that stand among the letters and are none.
    async fn end(&mut self, voices: &mut Voices<'_>) {
        let unreadable = match self {
            Self::Files(files) => files.unreadable,
            Self::Cluster(cluster) => {
                cluster.end().await;
                cluster.unreadable
            }
        };
        if unreadable > 0 {
            (voices.tell)(&format!("{unreadable} documents among the letters are no dead letters"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, name, expected) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("a*c", "ac", true),
            ("a*a", "a", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("**x**", "axb", true),
            ("logs-*-PROD", "logs-App-PROD", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}

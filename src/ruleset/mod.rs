//! What people do with rules: `k8scop rules …`. They are listed, shown, checked, tested, counted against a survey,
//! taken from others and compared. What a rule means is decided elsewhere ([`crate::rules`], [`crate::classify`]).

mod attack;
mod coverage;
mod diff;
mod head;
mod import;
mod lint;
mod list;
mod set;
mod show;
mod test;
mod words;

use std::{io, path::PathBuf};

use thiserror::Error;

pub use self::{
    coverage::{CoverageOptions, coverage},
    diff::{DiffOptions, diff},
    import::{ImportOptions, import},
    lint::{LintOptions, lint},
    list::{ListOptions, list},
    set::{Sources, find},
    show::{ShowOptions, show},
    test::{TestFormat, test},
};
use crate::config::ConfigError;

/// The JSON Schema of a rule file, for editors.
pub const SCHEMA: &str = include_str!("../../pipelines/rule.schema.json");

/// What a command has to say.
#[derive(Debug, Default)]
pub struct Report {
    /// The data, for standard output.
    pub text: String,
    /// What is told beside it, a line each.
    pub notes: Vec<String>,
    /// Whether all was well: a test failed, or a rule is wrong, if not.
    pub is_good: bool,
}

/// Why a command said nothing.
#[derive(Debug, Error)]
pub enum RulesetError {
    /// The rules, or the configuration that names them, cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// What was typed makes no sense.
    #[error("{0}")]
    Usage(String),
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The rules have too many texts.
    #[error("the rules have too many texts: {0}")]
    Texts(#[from] aho_corasick::BuildError),
    /// Events, or a survey, could not be understood.
    #[error("{0}")]
    Content(String),
}

/// Text of JSON, for a person too.
fn json_text(value: &serde_json::Value) -> String {
    format!("{value:#}\n")
}

/// Text for a terminal: what a rule of others says does not move the cursor there.
fn clean(text: &str) -> String {
    text.split('\n').map(crate::report::plain).collect::<Vec<_>>().join("\n")
}

/// A table without lines.
fn table(header: &[&str], rows: Vec<Vec<String>>) -> String {
    use comfy_table::{ContentArrangement, Table, presets::NOTHING};
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header.to_vec());
    rows.into_iter().for_each(|it| {
        table.add_row(it);
    });
    let text = table.to_string();
    text.lines().map(|it| format!("{}\n", it.trim_end())).collect()
}

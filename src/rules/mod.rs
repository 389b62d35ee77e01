//! Rule files: Sigma YAML, read, checked and turned into what [`crate::classify`] matches with. No matching, and
//! no opening of files.
//!
//! The language is told in `docs/rules.md`. What is not understood is an error with its file, line and column, never
//! a rule that does not fire; what can be read and can hardly be meant is a warning.

mod assemble;
mod condition;
pub mod correlation;
mod cost;
mod detection;
mod document;
mod error;
mod field;
mod filter;
pub mod limits;
mod lists;
mod members;
mod modifiers;
mod names;
mod never;
mod options;
mod pattern;
mod sigma;
mod template;
mod text;
mod yaml;

pub use assemble::{RuleSet, assemble};
pub use condition::Condition;
pub use document::{Document, DocumentKind, documents};
pub use error::RuleError;
pub use field::Field;
pub use lists::Lists;
pub use options::{Mode, Options};
pub use pattern::{Order, Pattern, Place, TimePart};
pub use sigma::{Example, FieldTest, Level, OncePer, Rule, Search, parse, rule, selection};
pub use template::{Part, Template};
pub use yaml::{At, Node, Value};

#[cfg(test)]
mod tests;

/// The rule files that come with the program, all of `pipelines/rules`: name and text, in the order of their names.
pub const BUILT_IN: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/rules.rs"));

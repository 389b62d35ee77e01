//! Rule files: Sigma YAML, read, checked and turned into what [`crate::classify`] matches with. No matching, and
//! no opening of files.
//!
//! Understood of Sigma 2.1: `logsource`, selections of maps, lists of maps and lists of values, the modifiers
//! `contains startswith endswith re all cidr exists`, conditions with `and or not`, `1 of`, `all of` and
//! parentheses. What is not understood is an error with its file and line, never a rule that does not fire.
//! Beyond Sigma stands the section `k8scop`: the sentence of the alert, how often to say it, and examples.

mod condition;
mod error;
mod field;
mod pattern;
mod sigma;
mod template;

pub use condition::Condition;
pub use error::RuleError;
pub use field::Field;
pub use pattern::{Order, Pattern, Place};
pub use sigma::{Example, FieldTest, Level, OncePer, Rule, Search, parse, selection};
pub use template::{Part, Template};

/// The rule files that come with the program, all of `pipelines/rules`: name and text, in the order of their names.
pub const BUILT_IN: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/rules.rs"));

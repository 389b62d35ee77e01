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

macro_rules! built_in {
    ($name:literal) => {
        (concat!("pipelines/rules/", $name), include_str!(concat!("../../pipelines/rules/", $name)))
    };
}

pub use condition::Condition;
pub use error::RuleError;
pub use field::Field;
pub use pattern::Pattern;
pub use sigma::{Example, FieldTest, Level, OncePer, Rule, Search, parse, selection};
pub use template::{Part, Template};

/// The rules that come with the program: file name and text.
pub const BUILT_IN: &[(&str, &str)] = &[
    built_in!("attach_to_container.yml"),
    built_in!("daemonsets_listed_everywhere.yml"),
    built_in!("daemonsets_listed_in_namespace.yml"),
    built_in!("events_deleted.yml"),
    built_in!("exec_in_container.yml"),
    built_in!("pod_created.yml"),
    built_in!("pod_deleted.yml"),
    built_in!("pod_described.yml"),
    built_in!("pod_privileged_created.yml"),
    built_in!("pods_listed_everywhere.yml"),
    built_in!("pods_listed_in_namespace.yml"),
    built_in!("secret_read.yml"),
    built_in!("secrets_denied.yml"),
    built_in!("secrets_listed_everywhere.yml"),
    built_in!("secrets_listed_in_namespace.yml"),
    built_in!("services_listed_everywhere.yml"),
    built_in!("services_listed_in_namespace.yml"),
];

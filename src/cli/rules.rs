//! `k8scop rules …`

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand, ValueEnum};

use super::{Format, say, told};
use crate::{
    rules::Level,
    ruleset::{self, Report, RulesetError, Sources, TestFormat},
};

#[derive(Debug, Subcommand)]
pub(super) enum RulesCommand {
    /// Show which rules there are
    #[command(after_help = "Example:\n  k8scop rules list --level high --tactic execution")]
    List(ListArgs),
    /// Show all of one rule: what it looks for, in words, and its examples with the kubectl command behind each
    #[command(after_help = "Example:\n  k8scop rules show 'Secret read'")]
    Show(ShowArgs),
    /// Check rules: what is wrong with them, and what they lack
    #[command(after_help = LINT_HELP)]
    Lint(LintArgs),
    /// Run every rule on its own examples, those that must hit it and those that must not
    #[command(after_help = TEST_HELP)]
    Test(TestArgs),
    /// Count which ideas of a survey of detections the rules cover
    #[command(after_help = COVERAGE_HELP)]
    Coverage(CoverageArgs),
    /// Take rules of others: a folder of Sigma rules, or a rules file of Falco's for k8s_audit
    #[command(after_help = IMPORT_HELP)]
    Import(ImportArgs),
    /// Tell what differs between two sets of rules and, with events, which of them hit other rules
    #[command(after_help = "Example:\n  k8scop rules diff built-in my-rules audit.ndjson")]
    Diff(DiffArgs),
    /// Print the JSON Schema of a rule file, for editors
    #[command(after_help = "Example:\n  k8scop rules schema > rule.schema.json")]
    Schema,
}

const LINT_HELP: &str = "\
An error is a rule that cannot be used. A warning names what is missing or odd: no_match_example, no_no_match_example, \
no_advice, no_false_positives, no_description, unknown_tag (ATT&CK has no such tactic or technique), title_twice, \
always_tried (nothing by which it can be passed over: it costs time with every event), odd (what the reader of rules says).

Example:
  k8scop rules lint my-rules --strict

Exit status: 0 done; 1 there is an error or, with --strict, a warning; 2 wrong usage; 4 the configuration cannot be used.";

const TEST_HELP: &str = "\
A rule without examples is told, and fails only with --strict: those that were imported have none.

Example:
  k8scop rules test my-rules --format junit > rules.xml

Exit status: 0 done; 1 an example failed or, with --strict, is missing; 2 wrong usage; 3 a rule cannot be used; 4 the \
configuration cannot be used.";

const COVERAGE_HELP: &str = "\
The survey has a row for each idea and the columns id, idea, tactic, technique, kind and, for each set of rules that was \
read, in_NAME: y… it has the idea, p… a part of it, - not. A rule covers the ideas whose ids it names in \
k8scop.detects. Ideas that no audit event shows are counted apart.

Example:
  k8scop rules coverage --against survey.csv --format json

Exit status: 0 done; 2 wrong usage; 3 a rule cannot be used; 4 the configuration cannot be used; 70 the survey cannot be \
read.";

const IMPORT_HELP: &str = "\
Of Sigma is taken what has `product: kubernetes`, `service: audit`; fields that no audit event has are put right where \
it is clear what was meant. Of Falco is taken what has `source: k8s_audit`: lists, macros, conditions, exceptions, \
append and override. What cannot be taken is told with its reason. No file is overwritten. Licences stay those of \
the source.

Example:
  k8scop rules import k8s_audit_rules.yaml --to my-rules --dry-run

Exit status: 0 done; 1 a rule was left; 2 wrong usage; 70 stopped by an error.";

#[derive(Debug, Args)]
pub(super) struct SourceArgs {
    /// Rule files or folders in place of all others; `built-in` are those that come with the program
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Configuration file: the rules that it names
    #[arg(short, long, value_name = "FILE", env = "K8SCOP_CONFIG")]
    config: Option<PathBuf>,
}

impl SourceArgs {
    fn sources(&self) -> Sources {
        Sources { config: self.config.clone(), paths: self.paths.clone() }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum RuleLevel {
    Informational,
    Low,
    Medium,
    High,
    Critical,
}

impl RuleLevel {
    fn level(self) -> Level {
        match self {
            Self::Informational => Level::Informational,
            Self::Low => Level::Low,
            Self::Medium => Level::Medium,
            Self::High => Level::High,
            Self::Critical => Level::Critical,
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    sources: SourceArgs,
    /// Only of this level; may be given again
    #[arg(long, value_enum, value_name = "LEVEL")]
    level: Vec<RuleLevel>,
    /// Only of this tactic of ATT&CK: credential-access
    #[arg(long, value_name = "TACTIC")]
    tactic: Option<String>,
    /// Only with this tag: attack.t1552 (its sub-techniques, too)
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,
    /// Only where this stands in title, description, id, file or advice
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,
    /// A table, or an array of JSON objects
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// An id, a title (or a part of one title only), or a file
    #[arg(value_name = "ID|TITLE|FILE")]
    name: String,
    /// Rule file or folder, in place of all other rules; may be given again
    #[arg(long, value_name = "PATH")]
    rules: Vec<PathBuf>,
    /// Configuration file: the rules that it names
    #[arg(short, long, value_name = "FILE", env = "K8SCOP_CONFIG")]
    config: Option<PathBuf>,
    /// For a person, or an array of JSON objects
    #[arg(long, value_enum, default_value_t = TextFormat::Text)]
    format: TextFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum TextFormat {
    Text,
    Json,
}

#[derive(Debug, Args)]
pub(super) struct LintArgs {
    #[command(flatten)]
    sources: SourceArgs,
    /// Exit with status 1 on warnings, too
    #[arg(long)]
    strict: bool,
    /// A line each, or JSON
    #[arg(long, value_enum, default_value_t = TextFormat::Text)]
    format: TextFormat,
}

#[derive(Debug, Args)]
pub(super) struct TestArgs {
    #[command(flatten)]
    sources: SourceArgs,
    /// Exit with status 1 where a rule has not enough examples, too
    #[arg(long)]
    strict: bool,
    /// For a person, JSON, or JUnit's XML
    #[arg(long, value_enum, default_value_t = TestOutput::Text)]
    format: TestOutput,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum TestOutput {
    Text,
    Json,
    Junit,
}

#[derive(Debug, Args)]
pub(super) struct CoverageArgs {
    #[command(flatten)]
    sources: SourceArgs,
    /// The survey
    #[arg(long, value_name = "CSV")]
    against: PathBuf,
    /// Tables, or JSON with all rows
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// Configuration file: the lists that the rules may ask
    #[arg(short, long, value_name = "FILE", env = "K8SCOP_CONFIG")]
    config: Option<PathBuf>,
    /// A folder of Sigma rules, a Sigma rule, or a rules file of Falco's
    #[arg(value_name = "SOURCE")]
    source: PathBuf,
    /// The folder that they are written to; it is made if it is not there
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Only tell what would be taken
    #[arg(long)]
    dry_run: bool,
    /// For a person, or JSON
    #[arg(long, value_enum, default_value_t = TextFormat::Text)]
    format: TextFormat,
}

#[derive(Debug, Args)]
pub(super) struct DiffArgs {
    /// The old rules: a file, a folder, `built-in`, or `configured`: those of the configuration
    old: PathBuf,
    /// The new ones
    new: PathBuf,
    /// A file of events, as `k8scop explain` reads them; - is standard input
    #[arg(value_name = "EVENTS")]
    events: Option<PathBuf>,
    /// Configuration file: its lists, and the rules that are `configured`
    #[arg(short, long, value_name = "FILE", env = "K8SCOP_CONFIG")]
    config: Option<PathBuf>,
    /// For a person, or JSON
    #[arg(long, value_enum, default_value_t = TextFormat::Text)]
    format: TextFormat,
}

/// Does what was typed behind `rules`.
pub(super) fn run(command: &RulesCommand) -> ExitCode {
    let outcome = match command {
        RulesCommand::Schema => {
            say(ruleset::SCHEMA);
            return ExitCode::SUCCESS;
        }
        RulesCommand::List(args) => ruleset::list(&ruleset::ListOptions {
            sources: args.sources.sources(),
            levels: args.level.iter().map(|it| it.level()).collect(),
            tactic: args.tactic.clone(),
            tag: args.tag.clone(),
            text: args.text.clone(),
            json: args.format == Format::Json,
        }),
        RulesCommand::Show(args) => ruleset::show(&ruleset::ShowOptions {
            sources: Sources { config: args.config.clone(), paths: args.rules.clone() },
            name: args.name.clone(),
            json: args.format == TextFormat::Json,
        }),
        RulesCommand::Lint(args) => ruleset::lint(&ruleset::LintOptions {
            sources: args.sources.sources(),
            strict: args.strict,
            json: args.format == TextFormat::Json,
        }),
        RulesCommand::Test(args) => {
            let format = match args.format {
                TestOutput::Text => TestFormat::Text,
                TestOutput::Json => TestFormat::Json,
                TestOutput::Junit => TestFormat::Junit,
            };
            ruleset::test(&args.sources.sources(), format, args.strict)
        }
        RulesCommand::Coverage(args) => ruleset::coverage(&ruleset::CoverageOptions {
            sources: args.sources.sources(),
            against: args.against.clone(),
            json: args.format == Format::Json,
        }),
        RulesCommand::Import(args) => ruleset::import(&ruleset::ImportOptions {
            source: args.source.clone(),
            to: args.to.clone(),
            config: args.config.clone(),
            dry_run: args.dry_run,
            json: args.format == TextFormat::Json,
        }),
        RulesCommand::Diff(args) => ruleset::diff(&ruleset::DiffOptions {
            old: args.old.clone(),
            new: args.new.clone(),
            events: args.events.clone(),
            config: args.config.clone(),
            json: args.format == TextFormat::Json,
        }),
    };
    match outcome {
        Ok(Report { text, notes, is_good }) => {
            say(&text);
            notes.iter().for_each(|it| eprintln!("{it}"));
            if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => failed(&error),
    }
}

/// Tells why a command on rules said nothing.
pub(super) fn failed(error: &RulesetError) -> ExitCode {
    if let RulesetError::Config(error) = error {
        return told(error);
    }
    eprintln!("error: {error}");
    ExitCode::from(if matches!(error, RulesetError::Usage(_)) { 2 } else { 70 })
}

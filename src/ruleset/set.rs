//! Where rules come from, and which one is meant.

use std::path::{Path, PathBuf};

use super::{RulesetError, head::Head};
use crate::{
    config::{self, Compiled, ConfigError, Raw, RuleSources},
    correlate::{BaseRule, Plan},
    rules::{
        Lists, Node, Rule, RuleError, RuleSet,
        correlation::{self, Correlation},
    },
};

/// Where rules come from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// A configuration: the rules that it names.
    pub config: Option<PathBuf>,
    /// Rule files or folders, in place of all others. [`BUILT_IN`] are those that come with the program.
    pub paths: Vec<PathBuf>,
}

/// What stands for the rules that come with the program.
pub(super) const BUILT_IN: &str = "built-in";

/// What stands for the rules that a configuration names.
pub(super) const CONFIGURED: &str = "configured";

/// Rule files as they were read.
#[derive(Debug)]
pub(super) struct Set {
    /// Name and text of each.
    pub(super) files: Vec<(String, String)>,
    /// What is in them.
    pub(super) set: RuleSet,
    /// The correlations in them, and their documents.
    pub(super) correlations: Vec<(Correlation, Node)>,
    /// What is wrong with others.
    pub(super) errors: Vec<RuleError>,
}

impl Sources {
    /// Those of one path, or word, with the lists of a configuration.
    pub(super) fn of(path: &Path, config: Option<&Path>) -> Result<Self, RulesetError> {
        let config = config.map(Path::to_owned);
        let paths = match path.as_os_str() == CONFIGURED {
            true if config.is_none() => {
                return Err(RulesetError::Usage(format!(
                    "`{CONFIGURED}` are the rules of a configuration: name it with -c"
                )));
            }
            true => Vec::new(),
            false => vec![path.to_owned()],
        };
        Ok(Self { config, paths })
    }

    /// The lists of the configuration.
    pub(super) fn lists(&self) -> Result<Lists, RulesetError> {
        let Some(path) = &self.config else { return Ok(Lists::default()) };
        Ok(RuleSources::new(&config::read(path)?.rules).lists()?)
    }

    pub(super) fn read(&self) -> Result<Set, RulesetError> {
        let mut raw = match &self.config {
            None => Raw::default(),
            Some(path) => config::read(path)?,
        };
        if !self.paths.is_empty() {
            let is_built_in = |it: &PathBuf| it.as_os_str() == BUILT_IN;
            raw.rules.built_in = self.paths.iter().any(is_built_in);
            raw.rules.paths = self.paths.iter().filter(|it| !is_built_in(it)).cloned().collect();
            raw.rules.named_in = None;
        }
        let mut texts = RuleSources::new(&raw.rules).read()?;
        let files = texts.files().to_vec();
        let errors = match texts.assemble() {
            Ok(_) if files.is_empty() => {
                return Err(RulesetError::Usage("there are no rules (*.yml, *.yaml) in it".into()));
            }
            Ok(set) => return Ok(Set::new(files, set, Vec::new())),
            Err(ConfigError::Rules(errors)) => errors,
            Err(error) => return Err(error.into()),
        };
        // What can be said of the others is said all the same.
        texts.leave_out(&errors.iter().map(|it| it.file.clone()).collect());
        let set = texts.assemble().unwrap_or_default();
        Ok(Set::new(files, set, errors))
    }

    /// All of them; an error if one of them cannot be used.
    pub(super) fn good(&self) -> Result<Set, RulesetError> {
        let set = self.read()?;
        match set.errors.is_empty() {
            true => Ok(set),
            false => Err(ConfigError::Rules(set.errors).into()),
        }
    }

    /// The rules and the correlations over them; an error if one of them cannot be used.
    pub(super) fn compiled(&self) -> Result<Compiled, RulesetError> {
        Ok(config::plan_rules(self.good()?.set)?)
    }
}

impl Set {
    fn new(files: Vec<(String, String)>, set: RuleSet, mut errors: Vec<RuleError>) -> Self {
        let mut correlations = Vec::new();
        for document in &set.correlations {
            match correlation::read(document) {
                Ok(it) => correlations.push((it, document.root.clone())),
                Err(error) => errors.push(error),
            }
        }
        // What they name must be there, where all can be read.
        if errors.is_empty() {
            let base: Vec<_> = set.rules.iter().map(base_rule).collect();
            let all = correlations.iter().map(|(it, _)| it.clone()).collect();
            errors.extend(Plan::new(all, &base).err());
        }
        Self { files, set, correlations, errors }
    }

    /// Rules and correlations.
    pub(super) fn heads(&self) -> Vec<Head> {
        let correlations = self.correlations.iter().map(|(it, root)| Head::of(it, root));
        self.set.rules.iter().map(Head::from).chain(correlations).collect()
    }
}

pub(super) fn base_rule(rule: &Rule) -> BaseRule {
    BaseRule { id: rule.id.clone(), name: rule.name.clone(), file: rule.file.clone() }
}

/// The place of the rule that is called so: by its id or its title, or by a part of one title only. A correlation has
/// none: it looks at several events.
pub fn find(rules: &[Rule], plan: &Plan, name: &str) -> Result<usize, RulesetError> {
    let wanted = name.trim().to_lowercase();
    let is_it = |it: &Rule| it.id.to_lowercase() == wanted || it.title.to_lowercase() == wanted;
    let exact = rules.iter().position(is_it);
    let near: Vec<usize> = rules
        .iter()
        .enumerate()
        .filter(|(_, it)| !wanted.is_empty() && it.title.to_lowercase().contains(&wanted))
        .map(|(place, _)| place)
        .collect();
    match (exact, near.as_slice()) {
        (Some(place), _) => Ok(place),
        (None, [place]) => Ok(*place),
        (None, []) => Err(RulesetError::Usage(not_found(plan, name, &wanted))),
        (None, many) => {
            let titles = many.iter().filter_map(|it| rules.get(*it)).map(|it| it.title.as_str());
            Err(RulesetError::Usage(format!(
                "`{name}` is in several titles: {}",
                titles.collect::<Vec<_>>().join("; ")
            )))
        }
    }
}

fn not_found(plan: &Plan, name: &str, wanted: &str) -> String {
    let mut correlations = plan.correlations().iter().map(|it| &it.correlation);
    let fits = |it: &&Correlation| {
        let title = it.title.to_lowercase();
        it.id.to_lowercase() == wanted || !wanted.is_empty() && title.contains(wanted)
    };
    match correlations.find(fits) {
        Some(it) => format!(
            "`{}` looks at several events: `k8scop scan` tells its alerts, and here can be asked for its rules: {}",
            it.title,
            it.rules.join(", ")
        ),
        None => format!("no rule has the id or title `{name}`: `k8scop rules list` shows all"),
    }
}

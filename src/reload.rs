//! Puts the rules on disk to use while the program runs. They are read and compiled first, and swapped at once; if
//! they cannot be used, those before stay in use, and log, `/readyz` and `/metrics` say so.

use std::{
    collections::HashSet,
    sync::{Arc, PoisonError, RwLock},
};

use jiff::Timestamp;
use thiserror::Error;
use tokio::sync::Mutex;

use crate::{
    classify::Classifier,
    config::{Compiled, ConfigError, Look, RuleSources, RuleTexts, RulesDigest},
    correlator::Correlator,
    metrics::Metrics,
    prepare::Preparer,
};

/// Longest text of what is wrong with rules (bytes).
const FAILURE_BYTES_MAX: usize = 8 << 10;

/// Why rules on disk are not put to use.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ReloadError {
    /// What is wrong with them: `file:line: reason`, a line each.
    #[error("{0}")]
    Rules(String),
    /// They cannot be read.
    #[error("{0}")]
    Unreadable(String),
}

/// Reads rules again and puts them to use.
#[derive(Debug)]
pub struct RuleReload {
    sources: RuleSources,
    preparer: Arc<Preparer>,
    correlator: Arc<Correlator>,
    metrics: Arc<Metrics>,
    /// Held while rules are read: one after the other.
    turn: Arc<Mutex<Turn>>,
    /// What is wrong with the rules on disk.
    failure: RwLock<Option<ReloadError>>,
}

#[derive(Debug)]
struct Turn {
    in_use: RulesDigest,
    /// What was read last; `None` if it could not be.
    tried: Option<RulesDigest>,
}

impl RuleReload {
    /// `digest` is that of the rules in use.
    #[must_use]
    pub fn new(
        sources: RuleSources,
        digest: RulesDigest,
        preparer: Arc<Preparer>,
        correlator: Arc<Correlator>,
        metrics: Arc<Metrics>,
    ) -> Self {
        metrics.rules_last_reload_success.set(1);
        metrics.rules_last_reload_timestamp.set(Timestamp::now().as_second());
        let turn = Turn { in_use: digest, tried: Some(digest) };
        let turn = Arc::new(Mutex::new(turn));
        Self { sources, preparer, correlator, metrics, turn, failure: RwLock::new(None) }
    }

    /// What is wrong with the rules on disk, if they cannot be used.
    #[must_use]
    pub fn failure(&self) -> Option<ReloadError> {
        self.failure.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the rules now. Gives back a sentence about what is in use.
    pub async fn reload(self: &Arc<Self>) -> Result<String, ReloadError> {
        // Waited for here: threads that wait would be missing where requests are prepared.
        let mut turn = Arc::clone(&self.turn).lock_owned().await;
        let own = Arc::clone(self);
        let work = tokio::task::spawn_blocking(move || {
            let texts = own.sources.read();
            turn.tried = digest(&texts);
            let used = own.swapped(texts, &mut turn);
            own.told(used)
        });
        work.await.unwrap_or_else(|error| Err(ReloadError::Unreadable(error.to_string())))
    }

    /// Tells how it went.
    fn told(&self, used: Result<String, ReloadError>) -> Result<String, ReloadError> {
        let result = if used.is_ok() { "success" } else { "failure" };
        self.metrics.rules_reloads.with_label_values(&[result]).inc();
        self.metrics.rules_last_reload_success.set(i64::from(used.is_ok()));
        match &used {
            Ok(said) => {
                self.metrics.rules_last_reload_timestamp.set(Timestamp::now().as_second());
                tracing::info!("rules were read again: {said}");
            }
            Err(error) => {
                let error = error.to_string().replace('\n', "; ");
                tracing::error!(%error, "the rules on disk cannot be used: those before stay in use");
            }
        }
        *self.failure.write().unwrap_or_else(PoisonError::into_inner) =
            used.as_ref().err().cloned();
        used
    }

    /// Puts rules to use.
    fn swapped(
        &self,
        texts: Result<RuleTexts, ConfigError>,
        turn: &mut Turn,
    ) -> Result<String, ReloadError> {
        let texts = texts.map_err(|error| ReloadError::Unreadable(cut(error.to_string())))?;
        let (digest, before) = (texts.digest(), self.preparer.classifier());
        if digest == turn.in_use {
            // Every swap keeps a set alive for as long as a request is judged by it.
            return Ok(format!("{}, as before", in_use(&before)));
        }
        let wrong = |reason: String| ReloadError::Rules(cut(reason));
        let compiled = texts.compile().map_err(|error| wrong(error.to_string()))?;
        let Compiled { rules, plan } = compiled;
        if rules.is_empty() && !before.rules().is_empty() {
            // More likely a folder that was not mounted than somebody who wants to see nothing.
            return Err(wrong("there are no rules: start anew, if none are wanted".into()));
        }
        let classifier =
            Classifier::new(rules).map_err(|error| wrong(error.to_string()))?.with_plan(plan);
        let classifier = Arc::new(classifier);
        // First, so that nothing comes to it that it does not know.
        self.correlator.uses(classifier.plan());
        // First, so that no request counts what is not there yet.
        self.metrics.uses_rules(classifier.rules(), before.rules());
        let said = difference(&classifier, &before);
        self.preparer.swap(classifier);
        turn.in_use = digest;
        Ok(said)
    }
}

impl Look for Arc<RuleReload> {
    fn look(&mut self, asked: bool, last_try: bool) -> bool {
        if !asked && !self.sources.has_files() {
            return true;
        }
        let mut turn = self.turn.blocking_lock();
        let texts = self.sources.read();
        let digest = digest(&texts);
        if !asked && digest == turn.tried {
            return true;
        }
        let used = self.swapped(texts, &mut turn);
        if used.is_err() && !last_try {
            // They may be half written: they are read once more before that is told.
            return false;
        }
        turn.tried = digest;
        self.told(used).is_ok()
    }
}

fn digest(texts: &Result<RuleTexts, ConfigError>) -> Option<RulesDigest> {
    texts.as_ref().ok().map(RuleTexts::digest)
}

fn in_use(all: &Classifier) -> String {
    let (rules, correlations) = (all.rules().len(), all.plan().correlations().len());
    match correlations {
        0 => format!("{rules} rules are in use"),
        _ => format!("{rules} rules and {correlations} correlations are in use"),
    }
}

fn difference(now: &Classifier, before: &Classifier) -> String {
    let (ids, ids_before) = (ids(now), ids(before));
    let (added, gone) = (ids.difference(&ids_before).count(), ids_before.difference(&ids).count());
    format!("{}: {added} of them are new, {gone} are gone", in_use(now))
}

fn ids(all: &Classifier) -> HashSet<&str> {
    let correlations = all.plan().correlations().iter().map(|it| it.correlation.id.as_str());
    all.rules().iter().map(|it| it.id.as_str()).chain(correlations).collect()
}

fn cut(mut text: String) -> String {
    if text.len() > FAILURE_BYTES_MAX {
        text.truncate(text.floor_char_boundary(FAILURE_BYTES_MAX));
        text.push_str(" …");
    }
    text
}

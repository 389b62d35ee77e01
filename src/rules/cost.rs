//! What a rule can cost at most, told when it is loaded.

use super::{
    Field, FieldTest, Pattern, Rule,
    limits::{RULE_COST_MAX, RULES_COST_MAX, RULES_REGEX_BYTES_MAX},
};

/// Values of an event that words without a field are looked for in, as far as the cost goes.
const KEYWORD_FACTOR: u64 = 16;
/// Bytes of a compiled regex that cost a step for each byte of a value, when no faster way of matching is left.
const REGEX_BYTES_PER_STEP: usize = 64;

/// Steps for each byte of the values that the rule looks at, at worst: when each part of its condition is asked, and
/// each of its patterns compared in vain.
pub(super) fn of(rule: &Rule) -> u64 {
    let searches: Vec<u64> = rule
        .searches
        .iter()
        .map(|it| it.alternatives.iter().flatten().map(of_test).fold(0, u64::saturating_add))
        .collect();
    let mut cost: u64 = 0;
    rule.condition.each_search(&mut |it| {
        cost = cost.saturating_add(searches.get(it).copied().unwrap_or_default());
    });
    cost
}

/// Steps of one pattern.
pub(super) fn of_pattern(pattern: &Pattern) -> u64 {
    match pattern {
        Pattern::Regex { bytes, .. } => (bytes / REGEX_BYTES_PER_STEP).max(1) as u64,
        _ => 1,
    }
}

fn of_test(test: &FieldTest) -> u64 {
    let cost = 1 + test.patterns.iter().map(of_pattern).sum::<u64>();
    if test.field == Field::Any { cost.saturating_mul(KEYWORD_FACTOR) } else { cost }
}

fn regex_bytes(rule: &Rule) -> usize {
    let tests = rule.searches.iter().flat_map(|it| it.alternatives.iter().flatten());
    let bytes = |it: &Pattern| match it {
        Pattern::Regex { bytes, .. } => *bytes,
        _ => 0,
    };
    tests.flat_map(|it| &it.patterns).map(bytes).sum()
}

/// Whether one rule stays below its limit.
pub(super) fn check(rule: &Rule) -> Result<(), String> {
    bounded(of(rule))
}

/// Whether a rule may cost so much.
pub(super) fn bounded(cost: u64) -> Result<(), String> {
    match cost > RULE_COST_MAX {
        true => Err(format!(
            "it could cost {cost} steps for each byte of an event, more than {RULE_COST_MAX}: use fewer or simpler regexes, or ask a selection once"
        )),
        false => Ok(()),
    }
}

/// What all rules come to.
#[derive(Default)]
pub(super) struct Sum {
    steps: u64,
    regex_bytes: usize,
}

impl Sum {
    /// Adds a rule; says so if it was too much.
    pub(super) fn add(&mut self, rule: &Rule) -> Result<(), String> {
        self.steps = self.steps.saturating_add(of(rule));
        self.regex_bytes = self.regex_bytes.saturating_add(regex_bytes(rule));
        if self.steps > RULES_COST_MAX {
            return Err(format!(
                "up to here the rules could cost {} steps for each byte of an event, more than {RULES_COST_MAX}",
                self.steps
            ));
        }
        if self.regex_bytes > RULES_REGEX_BYTES_MAX {
            return Err(format!(
                "up to here the regexes are compiled to {} bytes, more than {RULES_REGEX_BYTES_MAX}",
                self.regex_bytes
            ));
        }
        Ok(())
    }
}

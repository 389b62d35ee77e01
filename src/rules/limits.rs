//! How much rules may ask for. Each bound is far above what rules of people reach, and keeps what a hostile or broken
//! file can cost small.

/// Largest rule file (bytes).
pub const FILE_BYTES_MAX: usize = 1 << 20;
/// Most values in one file, those that aliases repeat counted each time.
pub(super) const YAML_NODES_MAX: usize = 1 << 18;
/// Most bytes of texts in one file, counted so.
pub(super) const YAML_BYTES_MAX: usize = 1 << 24;
/// Deepest nesting of lists and maps.
pub(super) const YAML_DEPTH_MAX: usize = 64;
/// Largest compiled form of one regex (bytes). Its length says little: counted repetition multiplies.
pub(super) const REGEX_BYTES_MAX: usize = 1 << 22;
/// Largest cache of one regex in one thread (bytes); without room in it a regex is slower, not wrong.
pub(super) const REGEX_CACHE_BYTES_MAX: usize = 1 << 18;
/// Most values of one line of a selection, those of lists counted.
pub(super) const VALUES_MAX: usize = 10_000;
/// Most values in all lines of one rule.
pub(super) const RULE_VALUES_MAX: usize = 50_000;
/// Most searches that a condition asks, each place of it counted.
pub(super) const CONDITION_TERMS_MAX: usize = 4096;
/// Deepest nesting of parentheses and `not`.
pub(super) const CONDITION_DEPTH_MAX: usize = 32;
/// Most lists.
pub(super) const LISTS_MAX: usize = 1000;
/// Most values of one list, with those of the lists that it names.
pub(super) const LIST_VALUES_MAX: usize = 10_000;
/// Longest value in a list (bytes).
pub(super) const LIST_VALUE_BYTES_MAX: usize = 4096;
/// Most bytes of the values of all lists.
pub(super) const LISTS_BYTES_MAX: usize = 1 << 26;
/// Most selections that filters add to all rules: one filter for any rule adds its own to each.
pub(super) const FILTERED_MAX: usize = 200_000;
/// Most that one rule can cost: steps for each byte of an event, at worst.
pub(super) const RULE_COST_MAX: u64 = 100_000;
/// Most that all rules can cost so.
pub(super) const RULES_COST_MAX: u64 = 10_000_000;
/// Most bytes that all regexes are compiled to.
pub(super) const RULES_REGEX_BYTES_MAX: usize = 1 << 27;
/// Most documents of all files.
pub(super) const RULES_MAX: usize = 20_000;
/// Most errors that are told.
pub(super) const ERRORS_MAX: usize = 1000;

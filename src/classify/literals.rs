//! Which rules an event may hit by the texts in it.
//!
//! For each rule a *witness* is chosen: texts in one field, of which one stands there whenever the rule is hit. Whole
//! values are looked up, parts of values are looked for all at once by one automaton a field. Witnesses only ever get
//! weaker on the way (case is dropped, a regex becomes a part of its matches), so that a rule that is hit is never left
//! out. Rules without a witness are left to the others.

use std::{borrow::Cow, collections::HashMap};

use aho_corasick::{AhoCorasick, AhoCorasickBuilder, AhoCorasickKind, BuildError, MatchKind};
use foldhash::fast::FixedState;
use regex_syntax::hir::{Class, Hir, HirKind};

use super::{
    bits::Bits,
    fields::{Found, visit},
    view::View,
};
use crate::rules::{Condition, Field, FieldTest, Pattern, Place, Rule, Search};

/// How a path begins, and how the key begins that it goes through: keys may hold dots, and `_` for them.
fn head(path: &str) -> &str {
    path.split(['.', '_']).next().unwrap_or(path)
}

/// Shortest text that is worth an entry (bytes).
const TEXT_MIN: usize = 2;
/// Most texts of one witness: a rule that names more is tried instead.
const TEXTS_MAX: usize = 4096;
/// Literals of a regex, at most.
const REGEX_TEXTS_MAX: usize = 64;

#[derive(Debug)]
pub(super) struct Literals {
    fields: Vec<FieldLiterals>,
    /// Those of the fields whose path begins so; what an event has no member for is not asked for.
    by_head: HashMap<Box<str>, Vec<usize>, FixedState>,
    /// Those that are made of the event.
    made: Vec<usize>,
    /// Rules without a witness.
    others: Bits,
}

#[derive(Debug)]
struct FieldLiterals {
    field: Field,
    /// The rules that have their witness here.
    rules: Bits,
    /// Rules of which is only known that the field must be there.
    present: Vec<u32>,
    /// Whole values in lower case, and the rules of each.
    whole: HashMap<Box<[u8]>, Vec<u32>, FixedState>,
    longest: usize,
    parts: Option<Parts>,
}

#[derive(Debug)]
struct Parts {
    automaton: AhoCorasick,
    /// Of each text of the automaton: where it has to stand, and its rules.
    texts: Vec<(Place, Vec<u32>)>,
}

/// A text and where it stands in the field.
type Text = (Place, String);

/// Texts and the fields that they stand in: one of them does.
type Witness<'r> = Vec<(&'r Field, Text)>;

impl Literals {
    pub(super) fn new(rules: &[Rule]) -> Result<Self, BuildError> {
        let mut others = Bits::none(rules.len());
        let mut by_field: Vec<(Field, Vec<(Text, usize)>)> = Vec::new();
        let mut places: HashMap<Field, usize> = HashMap::new();
        for (index, rule) in rules.iter().enumerate() {
            let Some(witness) = of_condition(&rule.condition, &rule.searches) else {
                others.insert(index);
                continue;
            };
            for (field, text) in witness {
                let place = *places.entry(field.clone()).or_insert_with(|| {
                    by_field.push((field.clone(), Vec::new()));
                    by_field.len() - 1
                });
                if let Some((_, all)) = by_field.get_mut(place) {
                    all.push((text, index));
                }
            }
        }
        let fields = by_field
            .into_iter()
            .map(|(field, texts)| FieldLiterals::new(field, texts, rules.len()));
        let fields: Vec<FieldLiterals> = fields.collect::<Result<_, _>>()?;
        let mut by_head: HashMap<Box<str>, Vec<usize>, FixedState> = HashMap::default();
        let mut made = Vec::new();
        for (place, of_field) in fields.iter().enumerate() {
            match &of_field.field {
                Field::Path(path) => by_head.entry(head(path).into()).or_default().push(place),
                _ => made.push(place),
            }
        }
        Ok(Self { fields, by_head, made, others })
    }

    /// Takes from `alive` the rules that the event cannot hit.
    pub(super) fn cut(&self, view: &View<'_>, alive: &mut Bits, rules: usize) {
        let mut found = None;
        let mut look = |place: usize| {
            let Some(field) = self.fields.get(place) else { return };
            if alive.meets(&field.rules) {
                field.find(view, found.get_or_insert_with(|| Bits::none(rules)));
            }
        };
        let mut seen = Bits::none(self.fields.len());
        for member in &view.event.members {
            // Of the common keys none is written with escapes.
            let key = match member.raw_key.contains('\\') {
                false => Some(Cow::Borrowed(member.raw_key)),
                true => member.key(),
            };
            let Some(key) = key else { continue };
            for place in self.by_head.get(head(&key)).into_iter().flatten() {
                if seen.insert(*place) {
                    look(*place);
                }
            }
        }
        self.made.iter().for_each(|it| look(*it));
        match found {
            Some(found) => alive.keep_either(&found, &self.others),
            None => alive.keep(&self.others),
        }
    }
}

impl FieldLiterals {
    fn new(field: Field, texts: Vec<(Text, usize)>, rules: usize) -> Result<Self, BuildError> {
        let mut all = Bits::none(rules);
        let mut present = Vec::new();
        let mut whole: HashMap<Box<[u8]>, Vec<u32>, FixedState> = HashMap::default();
        let mut parts: Vec<(Text, Vec<u32>)> = Vec::new();
        let mut places: HashMap<Text, usize> = HashMap::new();
        for (text, rule) in texts {
            all.insert(rule);
            let number = u32::try_from(rule).unwrap_or(u32::MAX);
            let (place, text) = text;
            let text = text.to_ascii_lowercase();
            let of_text = if place == Place::Within && text.is_empty() {
                &mut present
            } else if place == Place::Whole {
                whole.entry(text.into_bytes().into()).or_default()
            } else {
                let at = *places.entry((place, text.clone())).or_insert_with(|| {
                    parts.push(((place, text), Vec::new()));
                    parts.len() - 1
                });
                match parts.get_mut(at) {
                    Some((_, rules)) => rules,
                    None => continue,
                }
            };
            if of_text.last() != Some(&number) {
                of_text.push(number);
            }
        }
        let longest = whole.keys().map(|it| it.len()).max().unwrap_or_default();
        let parts = if parts.is_empty() {
            None
        } else {
            let size: usize = parts.iter().map(|((_, text), _)| text.len()).sum();
            // A table is faster to go through than a graph, and far larger.
            let kind = match size < 4096 {
                true => AhoCorasickKind::DFA,
                false => AhoCorasickKind::ContiguousNFA,
            };
            let automaton = AhoCorasickBuilder::new()
                .ascii_case_insensitive(true)
                .match_kind(MatchKind::Standard)
                .kind(Some(kind))
                .build(parts.iter().map(|((_, text), _)| text))?;
            let texts = parts.into_iter().map(|((place, _), rules)| (place, rules)).collect();
            Some(Parts { automaton, texts })
        };
        Ok(Self { field, rules: all, present, whole, longest, parts })
    }

    /// Puts the rules into `found` whose texts stand in the field.
    fn find(&self, view: &View<'_>, found: &mut Bits) {
        if self.field == Field::Any && !view.event.text.contains('\\') {
            // Texts are written here as they are read: one look at all of them, and at what stands between.
            self.find_parts(view.event.text, true, found);
            return;
        }
        let mut is_there = false;
        visit(view, &self.field, &mut |value| {
            is_there = true;
            if let Found::Text(text) = value {
                self.find_whole(text, found);
                self.find_parts(text, false, found);
            }
            // Where nothing is looked for, one value says all.
            self.whole.is_empty() && self.parts.is_none()
        });
        if is_there {
            found.insert_all(&self.present);
        }
    }

    fn find_whole(&self, text: &str, found: &mut Bits) {
        if self.whole.is_empty() || text.len() > self.longest {
            return;
        }
        let mut short = [0; 128];
        let rules = match short.get_mut(..text.len()) {
            Some(lower) => {
                lower.copy_from_slice(text.as_bytes());
                lower.make_ascii_lowercase();
                self.whole.get(&*lower)
            }
            None => self.whole.get(text.to_ascii_lowercase().as_bytes()),
        };
        found.insert_all(rules.map_or(&[], Vec::as_slice));
    }

    fn find_parts(&self, text: &str, anywhere: bool, found: &mut Bits) {
        let Some(parts) = &self.parts else { return };
        for hit in parts.automaton.find_overlapping_iter(text) {
            let Some((place, rules)) = parts.texts.get(hit.pattern().as_usize()) else { continue };
            let stands = match place {
                _ if anywhere => true,
                Place::Start => hit.start() == 0,
                Place::End => hit.end() == text.len(),
                _ => true,
            };
            if stands {
                found.insert_all(rules);
            }
        }
    }
}

fn of_condition<'r>(condition: &Condition, searches: &'r [Search]) -> Option<Witness<'r>> {
    match condition {
        Condition::Search(index) => {
            let each = searches.get(*index)?.alternatives.iter();
            one_of(each.map(|tests| best(tests.iter().map(of_test))))
        }
        Condition::All(parts) => best(parts.iter().map(|it| of_condition(it, searches))),
        Condition::Any(parts) => one_of(parts.iter().map(|it| of_condition(it, searches))),
        Condition::Not(_) => None,
    }
}

/// All of them hold, so any one's witness will do: the one that fewest events have.
fn best<'r>(witnesses: impl Iterator<Item = Option<Witness<'r>>>) -> Option<Witness<'r>> {
    witnesses.flatten().min_by_key(|witness| {
        // How common it is: by the text that says least. A whole value says most.
        let common = |(_, (place, text)): &(&Field, Text)| match place {
            Place::Whole => 0,
            _ => 64usize.saturating_sub(text.len()).max(1),
        };
        let cost = witness.iter().map(|(field, _)| cost(field)).max();
        (witness.iter().map(common).max(), cost, witness.len())
    })
}

/// One of them holds, so all their texts are needed.
fn one_of<'r>(witnesses: impl Iterator<Item = Option<Witness<'r>>>) -> Option<Witness<'r>> {
    let mut all = Vec::new();
    for witness in witnesses {
        all.extend(witness?);
        if all.len() > TEXTS_MAX {
            return None;
        }
    }
    (!all.is_empty()).then_some(all)
}

/// What a look at the field costs, in no unit.
fn cost(field: &Field) -> u8 {
    match field {
        Field::Path(path) if path.starts_with("requestObject") => 2,
        Field::Path(path) if path.starts_with("responseObject") => 2,
        Field::Path(_) | Field::PeerIp | Field::UriPath | Field::Query(_) | Field::Command => 0,
        Field::Kubectl | Field::Any => 3,
        _ => 2,
    }
}

fn of_test(test: &FieldTest) -> Option<Witness<'_>> {
    if test.negated || is_shape(&test.field) {
        return None;
    }
    let is_there = || vec![(&test.field, (Place::Within, String::new()))];
    if let Some(exists) = test.exists {
        return (exists && test.field != Field::Any).then(is_there);
    }
    let each = test.patterns.iter().map(|it| {
        let texts = match of_pattern(it) {
            Some(texts) => texts.into_iter(),
            // Whatever is looked for, there must be something to look at.
            None if matches!(it, Pattern::Null) || test.field == Field::Any => return None,
            None => return Some(is_there()),
        };
        Some(
            texts
                .map(|(place, text)| match &test.field {
                    // Where one value ends and the next begins is not known there.
                    Field::Any => (&test.field, (Place::Within, text)),
                    field => (field, (place, text)),
                })
                .collect(),
        )
    });
    if test.all { best(each) } else { one_of(each) }
}

/// Fields that [`super::shape`] has looked at already, when a rule names whole values of them.
fn is_shape(field: &Field) -> bool {
    matches!(field, Field::Actor)
        || matches!(field, Field::Path(path) if matches!(path.as_str(),
            "verb" | "stage" | "responseStatus.code" | "objectRef.resource" | "objectRef.subresource" | "objectRef.apiGroup"))
}

/// Texts of which one is in every value that matches.
fn of_pattern(pattern: &Pattern) -> Option<Vec<Text>> {
    match pattern {
        Pattern::Text { place: Place::Whole, text, .. } => Some(vec![(Place::Whole, text.clone())]),
        Pattern::Text { place, text, .. } if text.len() >= TEXT_MIN => {
            Some(vec![(*place, text.clone())])
        }
        Pattern::Regex { regex, .. } => {
            let hir = regex_syntax::parse(regex.as_str()).ok()?;
            let texts = of_hir(&hir)?;
            Some(texts.into_iter().map(|it| (Place::Within, it)).collect())
        }
        _ => None,
    }
}

/// Texts of which one, in some case, is in every match.
fn of_hir(hir: &Hir) -> Option<Vec<String>> {
    match hir.kind() {
        HirKind::Literal(literal) => {
            let text = std::str::from_utf8(&literal.0).ok()?;
            (text.len() >= TEXT_MIN).then(|| vec![text.to_owned()])
        }
        HirKind::Capture(capture) => of_hir(&capture.sub),
        HirKind::Repetition(repetition) if repetition.min > 0 => of_hir(&repetition.sub),
        HirKind::Alternation(parts) => {
            let mut all = Vec::new();
            for part in parts {
                all.extend(of_hir(part)?);
                if all.len() > REGEX_TEXTS_MAX {
                    return None;
                }
            }
            Some(all)
        }
        HirKind::Concat(parts) => {
            // Letters side by side are a text, whatever their case: `(?i)ab` is [Aa][Bb].
            let (mut runs, mut run) = (Vec::new(), String::new());
            for part in parts {
                match letters(part) {
                    Some(text) => run.push_str(&text),
                    None => {
                        runs.push(vec![std::mem::take(&mut run)]);
                        runs.extend(of_hir(part));
                    }
                }
            }
            runs.push(vec![run]);
            let shortest = |it: &Vec<String>| it.iter().map(String::len).min().unwrap_or_default();
            runs.into_iter().max_by_key(shortest).filter(|it| shortest(it) >= TEXT_MIN)
        }
        _ => None,
    }
}

/// The one text that it stands for, in some case.
fn letters(hir: &Hir) -> Option<String> {
    match hir.kind() {
        HirKind::Literal(literal) => std::str::from_utf8(&literal.0).ok().map(str::to_owned),
        HirKind::Class(Class::Unicode(class)) => {
            let chars: Vec<char> =
                class.iter().flat_map(|it| it.start()..=it.end()).take(3).collect();
            one_letter(&chars)
        }
        HirKind::Class(Class::Bytes(class)) => {
            let bytes = class.iter().flat_map(|it| it.start()..=it.end()).take(3);
            one_letter(&bytes.map(char::from).collect::<Vec<_>>())
        }
        _ => None,
    }
}

fn one_letter(chars: &[char]) -> Option<String> {
    match chars {
        [upper, lower] if upper.is_ascii() && upper.to_ascii_lowercase() == *lower => {
            Some(lower.to_string())
        }
        [one] if one.is_ascii() => Some(one.to_string()),
        _ => None,
    }
}

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
    around::{Around, Stands, is_of_strings},
    bits::Bits,
    fields::{Found, visit},
    grams::{Grams, is_usual},
    key, plain,
    sure::{self, LineAt},
    tree::{Take, Tree},
    view::View,
};
use crate::json;
use crate::rules::{Condition, Field, FieldTest, Pattern, Place, Rule};

/// How a path begins, and how the key begins that it goes through: keys may hold dots, and `_` for them.
fn head(path: &str) -> &str {
    path.split(['.', '_']).next().unwrap_or(path)
}

/// Shortest text that is worth an entry (bytes).
const TEXT_MIN: usize = 2;
/// Texts that are looked up in a table (bytes). It takes some 250 times as much.
const TABLE_TEXTS_BYTES_MAX: usize = 16 << 10;
/// Most texts of one witness: a rule that names more is tried instead.
const TEXTS_MAX: usize = 4096;
/// Literals of a regex, at most.
const REGEX_TEXTS_MAX: usize = 64;

/// Which fields witnesses are in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    /// In those that the event's key decides.
    Key,
    /// In the others; that the key's lines do not hold is taken for granted.
    Event,
}

#[derive(Debug)]
pub(super) struct Literals {
    looks: Vec<Look>,
    /// Those of the fields whose path begins so; what an event has no member for is not asked for.
    by_head: HashMap<Box<str>, Vec<usize>, FixedState>,
    /// Those that are made of the event.
    made: Vec<usize>,
    /// Of each rule: where its witness is. Nothing: it has none.
    witnesses: Vec<Watch>,
    /// Rules without a witness.
    others: Bits,
}

/// What is looked for to know whether a rule may be hit.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Places for [`Literals::find`].
    pub(super) looks: Box<[u32]>,
    /// The lines of which one holds if the rule is hit.
    pub(super) lines: Box<[LineAt]>,
}

/// What is looked at in one go.
#[derive(Debug)]
enum Look {
    Field(FieldLiterals),
    Tree(Tree),
}

#[derive(Debug)]
pub(super) struct FieldLiterals {
    field: Field,
    /// All rules that have their witness here.
    rules: Vec<u32>,
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
    /// The same for all of an event at once.
    grams: Option<Grams>,
    /// In the automaton's order.
    texts: Vec<Part>,
}

#[derive(Debug)]
struct Part {
    place: Place,
    rules: Vec<u32>,
    /// Bytes of the text.
    length: usize,
    /// See [`is_of_strings`].
    is_of_strings: bool,
}

/// A text and where it stands in the field.
type Text = (Place, String);

/// Texts, the fields that they stand in and the lines that ask for them: one of them does.
type Texts<'r> = Vec<(LineAt, &'r Field, Text)>;

/// What is known to be in an event when a part of a rule holds.
#[derive(Debug)]
enum Witness<'r> {
    /// One of these texts.
    Texts(Texts<'r>),
    /// Nothing, but whether the part holds is known already.
    Decided,
    /// Nothing.
    None,
}

impl Literals {
    pub(super) fn new(rules: &[Rule], of: Of) -> Result<Self, BuildError> {
        let mut others = Bits::none(rules.len());
        let mut by_field: Vec<(Field, Vec<(Text, u32)>)> = Vec::new();
        let mut places: HashMap<Field, usize> = HashMap::new();
        let mut watches = Vec::with_capacity(rules.len());
        for (index, rule) in rules.iter().enumerate() {
            let mut watch = (Vec::new(), Vec::new());
            match (Search { rule, of }).of_condition(&rule.condition) {
                Witness::Texts(texts) => {
                    for (line, field, text) in texts {
                        let place = *places.entry(field.clone()).or_insert_with(|| {
                            by_field.push((field.clone(), Vec::new()));
                            by_field.len() - 1
                        });
                        if let Some((_, all)) = by_field.get_mut(place) {
                            all.push((text, number(index)));
                        }
                        watch.0.push(place);
                        watch.1.push(line);
                    }
                }
                Witness::Decided | Witness::None => {
                    others.insert(index);
                }
            }
            watches.push(watch);
        }
        let (mut looks, mut look_of) = (Vec::new(), Vec::new());
        for (field, texts) in by_field {
            // A tree knows its paths by names, and `*` is none.
            let root = plain::root(&field).filter(|(_, path)| !path.contains('*'));
            let root = root.map(|(root, _)| root);
            let field = FieldLiterals::new(field, texts)?;
            let of_root = |it: &Look| matches!(it, Look::Tree(tree) if Some(tree.root()) == root);
            let place = looks.iter().position(of_root).unwrap_or(looks.len());
            look_of.push(number(place));
            match (looks.get_mut(place), root) {
                (Some(Look::Tree(tree)), _) => tree.add(field),
                (_, Some(root)) => {
                    let mut tree = Tree::new(root);
                    tree.add(field);
                    looks.push(Look::Tree(tree));
                }
                (_, None) => looks.push(Look::Field(field)),
            }
        }
        let witnesses = watches.into_iter().map(|(fields, mut lines)| {
            let looks = fields.iter().filter_map(|it: &usize| look_of.get(*it));
            let mut looks: Vec<u32> = looks.copied().collect();
            looks.sort_unstable();
            looks.dedup();
            lines.sort_unstable();
            lines.dedup();
            Watch { looks: looks.into(), lines: lines.into() }
        });
        let witnesses = witnesses.collect();
        let mut by_head: HashMap<Box<str>, Vec<usize>, FixedState> = HashMap::default();
        let mut made = Vec::new();
        for (place, look) in looks.iter().enumerate() {
            match look {
                Look::Field(FieldLiterals { field: Field::Path(path), .. }) => {
                    by_head.entry(head(path).into()).or_default().push(place);
                }
                _ => made.push(place),
            }
        }
        Ok(Self { looks, by_head, made, witnesses, others })
    }

    /// What is looked for to know whether the rule may be hit.
    pub(super) fn watch(&self, rule: usize) -> Option<&Watch> {
        self.witnesses.get(rule)
    }

    /// Takes from `alive` the rules that no event of this one's key can hit.
    pub(super) fn cut(&self, view: &View<'_>, alive: &mut Bits, rules: usize) {
        let mut found = Bits::none(rules);
        let mut seen = Bits::none(self.looks.len());
        for member in &view.event.members {
            // Of the common keys none is written with escapes.
            let key = match member.raw_key.contains('\\') {
                false => Some(Cow::Borrowed(member.raw_key)),
                true => member.key(),
            };
            let Some(key) = key else { continue };
            for place in self.by_head.get(head(&key)).into_iter().flatten() {
                if seen.insert(*place) {
                    self.find_decided(*place, view, &mut found);
                }
            }
        }
        self.made.iter().for_each(|it| self.find_decided(*it, view, &mut found));
        alive.keep_either(&found, &self.others);
    }

    fn find_decided(&self, place: usize, view: &View<'_>, found: &mut Bits) {
        match self.looks.get(place) {
            Some(Look::Field(field)) if key::decides_field(view, &field.field) => {
                field.find(view, &mut |rules, _| found.insert_all(rules));
            }
            Some(Look::Field(field)) => found.insert_all(&field.rules),
            // Trees are of bodies, which no key has.
            Some(Look::Tree(_)) | None => (),
        }
    }

    /// Calls `take` with the rules whose texts stand there.
    pub(super) fn find(&self, look: u32, view: &View<'_>, take: Take<'_>) {
        match self.looks.get(look as usize) {
            Some(Look::Field(field)) => field.find(view, take),
            Some(Look::Tree(tree)) => tree.find(view, take),
            None => (),
        }
    }
}

/// Rules and fields are counted so.
pub(super) fn number(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

impl FieldLiterals {
    fn new(field: Field, texts: Vec<(Text, u32)>) -> Result<Self, BuildError> {
        let (mut all, mut present) = (Vec::new(), Vec::new());
        let mut whole: HashMap<Box<[u8]>, Vec<u32>, FixedState> = HashMap::default();
        let mut parts: Vec<(Text, Vec<u32>)> = Vec::new();
        let mut places: HashMap<Text, usize> = HashMap::new();
        for ((place, text), rule) in texts {
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
            for rules in [of_text, &mut all] {
                if rules.last() != Some(&rule) {
                    rules.push(rule);
                }
            }
        }
        let longest = whole.keys().map(|it| it.len()).max().unwrap_or_default();
        let parts = if parts.is_empty() {
            None
        } else {
            let size: usize = parts.iter().map(|((_, text), _)| text.len()).sum();
            // A table is faster to go through than a graph, and far larger.
            let kind = match size < TABLE_TEXTS_BYTES_MAX {
                true => AhoCorasickKind::DFA,
                false => AhoCorasickKind::ContiguousNFA,
            };
            let automaton = AhoCorasickBuilder::new()
                .ascii_case_insensitive(true)
                .match_kind(MatchKind::Standard)
                .kind(Some(kind))
                .build(parts.iter().map(|((_, text), _)| text))?;
            let grams = match field {
                Field::Any => Grams::new(parts.iter().map(|((_, text), _)| text.as_str())),
                _ => None,
            };
            let part = |((place, text), rules): (Text, _)| Part {
                place,
                rules,
                length: text.len(),
                is_of_strings: is_of_strings(&text),
            };
            let texts = parts.into_iter().map(part).collect();
            Some(Parts { automaton, grams, texts })
        };
        Ok(Self { field, rules: all, present, whole, longest, parts })
    }

    /// Calls `take` with the rules whose texts stand in the field.
    pub(super) fn find(&self, view: &View<'_>, take: Take<'_>) {
        if self.field == Field::Any
            && let Some(text) = json::plainest(view.event.text)
        {
            // One look at all of it.
            self.find_in_all(&text, take);
            return;
        }
        visit(view, &self.field, &mut |value| {
            match value {
                Found::Text(text) => self.found(Some(text), take),
                Found::Other => self.found(None, take),
            }
            // Where nothing is looked for, one value says all.
            self.whole.is_empty() && self.parts.is_none()
        });
    }

    /// The same for one value: a text, or something else.
    pub(super) fn found(&self, value: Option<&str>, take: Take<'_>) {
        if !self.present.is_empty() {
            take(&self.present, false);
        }
        if let Some(text) = value {
            self.find_whole(text, take);
            self.find_parts(text, take);
        }
    }

    pub(super) fn field(&self) -> &Field {
        &self.field
    }

    fn find_whole(&self, text: &str, take: Take<'_>) {
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
        if let Some(rules) = rules {
            take(rules, false);
        }
    }

    /// A text has to stand at its place in `text`.
    fn find_parts(&self, text: &str, take: Take<'_>) {
        let Some(parts) = &self.parts else { return };
        for hit in parts.automaton.find_overlapping_iter(text) {
            let Some(found) = parts.texts.get(hit.pattern().as_usize()) else { continue };
            let stands = match found.place {
                Place::Start => hit.start() == 0,
                Place::End => hit.end() == text.len(),
                Place::Whole | Place::Within => true,
            };
            if stands {
                take(&found.rules, false);
            }
        }
    }

    /// A text has to stand in a value of `text`, which is all of an event; what stands in a name only does not count.
    fn find_in_all(&self, text: &str, take: Take<'_>) {
        let Some(parts) = &self.parts else { return };
        let mut around = Around::new(text);
        let mut hit = |number: usize, start: usize| {
            if let Some(found) = parts.texts.get(number) {
                match around.stands(start, start + found.length, found.is_of_strings) {
                    Stands::InName => (),
                    Stands::InValue => take(&found.rules, true),
                    Stands::Perhaps => take(&found.rules, false),
                }
            }
        };
        match &parts.grams {
            Some(grams) => grams.find(text, &mut hit),
            None => parts
                .automaton
                .find_overlapping_iter(text)
                .for_each(|it| hit(it.pattern().as_usize(), it.start())),
        }
    }
}

/// Looks for the witness of a rule.
struct Search<'r> {
    rule: &'r Rule,
    of: Of,
}

impl<'r> Search<'r> {
    fn of_condition(&self, condition: &Condition) -> Witness<'r> {
        match condition {
            Condition::Search(index) => self.of_search(*index),
            Condition::All(parts) => best(parts.iter().map(|it| self.of_condition(it))),
            Condition::Any(parts) => one_of(parts.iter().map(|it| self.of_condition(it))),
            Condition::Not(part) => match self.of_condition(part) {
                Witness::Decided => Witness::Decided,
                Witness::Texts(_) | Witness::None => Witness::None,
            },
        }
    }

    fn of_search(&self, index: usize) -> Witness<'r> {
        let alternatives = self.rule.searches.get(index).map_or(&[][..], |it| &it.alternatives);
        one_of(alternatives.iter().enumerate().map(|(alternative, tests)| {
            best(
                tests
                    .iter()
                    .enumerate()
                    .map(|(at, test)| self.of_test(test, sure::place(index, alternative, at))),
            )
        }))
    }

    fn of_test(&self, test: &'r FieldTest, line: LineAt) -> Witness<'r> {
        match (self.of, key::is_common(&test.field)) {
            (Of::Event, true) => return Witness::Decided,
            (Of::Key, false) => return Witness::None,
            _ => (),
        }
        if test.negated || self.of == Of::Key && is_shape(&test.field) {
            return Witness::None;
        }
        let is_there = || Witness::Texts(vec![(line, &test.field, (Place::Within, String::new()))]);
        if let Some(exists) = test.exists {
            return if exists && test.field != Field::Any { is_there() } else { Witness::None };
        }
        let each = test.patterns.iter().map(|it| match of_pattern(it) {
            // Where one value ends and the next begins is not known there.
            Some(texts) if test.field == Field::Any => {
                let within = |(_, text): Text| (line, &test.field, (Place::Within, text));
                let written = texts.iter().map(|(place, text)| (*place, json::written(text)));
                let written: Vec<Text> = written.filter(|it| !texts.contains(it)).collect();
                Witness::Texts(texts.into_iter().chain(written).map(within).collect())
            }
            Some(texts) => {
                Witness::Texts(texts.into_iter().map(|it| (line, &test.field, it)).collect())
            }
            // Whatever is looked for, there must be something to look at.
            None if matches!(it, Pattern::Null) || test.field == Field::Any => Witness::None,
            None => is_there(),
        });
        if test.all { best(each) } else { one_of(each) }
    }
}

/// All of them hold, so any one's witness will do: the one that fewest events have.
fn best<'r>(witnesses: impl Iterator<Item = Witness<'r>>) -> Witness<'r> {
    let (mut best, mut is_decided) = (None, true);
    for witness in witnesses {
        match witness {
            Witness::Texts(texts) => {
                let rank = rank(&texts);
                if best.as_ref().is_none_or(|(least, _)| rank < *least) {
                    best = Some((rank, texts));
                }
            }
            Witness::Decided => (),
            Witness::None => is_decided = false,
        }
    }
    match best {
        Some((_, texts)) => Witness::Texts(texts),
        None if is_decided => Witness::Decided,
        None => Witness::None,
    }
}

/// How common a witness is: by the text that says least. A whole value says most.
fn rank(texts: &Texts<'_>) -> (usize, u8, usize) {
    let common = texts.iter().map(|(_, _, (place, text))| match place {
        Place::Whole => 0,
        _ => 64usize.saturating_sub(text.len()).max(1),
    });
    let cost = texts.iter().map(|(_, field, _)| cost(field));
    (common.max().unwrap_or_default(), cost.max().unwrap_or_default(), texts.len())
}

/// One of them holds, so all their texts are needed.
fn one_of<'r>(witnesses: impl Iterator<Item = Witness<'r>>) -> Witness<'r> {
    let mut all = Vec::new();
    for witness in witnesses {
        match witness {
            Witness::Texts(texts) => all.extend(texts),
            Witness::Decided => (),
            Witness::None => return Witness::None,
        }
        if all.len() > TEXTS_MAX {
            return Witness::None;
        }
    }
    if all.is_empty() { Witness::Decided } else { Witness::Texts(all) }
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
            let is_usual = |it: &Vec<String>| it.iter().any(|it| is_usual(it.as_bytes()));
            let best = runs.into_iter().filter(|it| shortest(it) >= TEXT_MIN);
            best.max_by_key(|it| (!is_usual(it), shortest(it)))
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

//! Which rules an event may hit by what it is: its verb, resource, stage and the like.
//!
//! Each of these fields has few values. For each value that some rule names there is a set of the rules that it leaves
//! possible, and one for all other values; the sets of an event's values are cut with each other.

use std::collections::{HashMap, HashSet};

use foldhash::fast::FixedState;

use super::{bits::Bits, fields::visit, view::View};
use crate::rules::{Condition, Field, FieldTest, Pattern, Place, Rule, Search};

/// The fields, and how they are named in rules.
const FIELDS: [&str; 7] = [
    "objectRef.resource",
    "verb",
    "objectRef.subresource",
    "stage",
    "responseStatus.code",
    "objectRef.apiGroup",
    "k8scop.actor",
];
/// Longest value that has a set of its own (bytes).
const VALUE_MAX: usize = 64;

#[derive(Debug)]
pub(super) struct Shape {
    fields: Vec<ShapeField>,
}

#[derive(Debug)]
struct ShapeField {
    field: usize,
    /// Values in lower case, and the place of their set.
    values: HashMap<Box<[u8]>, usize, FixedState>,
    /// The sets: for no value, for any other value, and for each of [`Self::values`].
    sets: Vec<Bits>,
}

const ABSENT: usize = 0;
const OTHER: usize = 1;

/// The values of one field with which a rule can be hit.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Allowed {
    absent: bool,
    /// In lower case; `None`: any.
    values: Option<HashSet<String>>,
}

impl Allowed {
    const ALL: Self = Self { absent: true, values: None };

    fn or(self, other: Self) -> Self {
        let values = match (self.values, other.values) {
            (Some(mut a), Some(b)) => {
                a.extend(b);
                Some(a)
            }
            _ => None,
        };
        Self { absent: self.absent || other.absent, values }
    }

    fn and(self, other: Self) -> Self {
        let values = match (self.values, other.values) {
            (Some(a), Some(b)) => Some(a.intersection(&b).cloned().collect()),
            (a, b) => a.or(b),
        };
        Self { absent: self.absent && other.absent, values }
    }

    fn takes(&self, value: &str) -> bool {
        self.values.as_ref().is_none_or(|it| it.contains(value))
    }
}

impl Shape {
    pub(super) fn new(rules: &[Rule]) -> Self {
        let field = |field: usize| {
            let allowed: Vec<Allowed> =
                rules.iter().map(|it| of_condition(&it.condition, &it.searches, field)).collect();
            let named = allowed.iter().filter_map(|it| it.values.as_ref()).flatten();
            let names: HashSet<&String> = named.filter(|it| it.len() <= VALUE_MAX).collect();
            let set = |takes: &dyn Fn(&Allowed) -> bool| {
                let mut set = Bits::none(rules.len());
                let fits = allowed.iter().enumerate().filter(|(_, it)| takes(it));
                for (rule, _) in fits {
                    set.insert(rule);
                }
                set
            };
            // A value that is too long to be named here may be in any rule that names one as long.
            let is_long = |it: &Allowed| it.values.iter().flatten().any(|it| it.len() > VALUE_MAX);
            let mut sets =
                vec![set(&|it| it.absent), set(&|it| it.values.is_none() || is_long(it))];
            let mut values = HashMap::with_hasher(FixedState::default());
            for name in names {
                values.insert(name.as_bytes().into(), sets.len());
                sets.push(set(&|it| it.takes(name)));
            }
            ShapeField { field, values, sets }
        };
        let fields = (0..FIELDS.len()).map(field);
        Self { fields: fields.filter(|it| !it.says_nothing(rules.len())).collect() }
    }

    /// Takes from `alive` the rules that the event cannot hit.
    pub(super) fn cut(&self, view: &View<'_>, alive: &mut Bits) {
        for field in &self.fields {
            if let Some(set) = field.set(view) {
                alive.keep(set);
            }
        }
    }
}

impl ShapeField {
    /// Whether no rule names the field.
    fn says_nothing(&self, rules: usize) -> bool {
        self.sets.iter().all(|it| it.count() == rules)
    }

    /// The rules that the event's value leaves possible; `None` if it may have several values.
    fn set(&self, view: &View<'_>) -> Option<&Bits> {
        let event = view.event;
        let code;
        let value = match self.field {
            0 => event.object.resource.as_deref(),
            1 => event.verb.as_deref(),
            2 => event.object.subresource.as_deref(),
            3 => event.stage.as_deref(),
            4 => {
                code = event.code.map(Code::new);
                code.as_ref().map(Code::text)
            }
            5 => event.object.api_group.as_deref(),
            _ => Some(view.actor()),
        };
        let at = match value {
            Some(value) => self.place(value),
            None => {
                // It may be there as something else than it should be.
                let name = FIELDS.get(self.field).copied().unwrap_or_default();
                let may_be_odd = event.is_odd || event.has_others || self.field == 4;
                if may_be_odd && visit(view, &Field::Path(name.to_owned()), &mut |_| true) {
                    return None;
                }
                ABSENT
            }
        };
        self.sets.get(at)
    }

    fn place(&self, value: &str) -> usize {
        let mut lower = [0; VALUE_MAX];
        let Some(lower) = lower.get_mut(..value.len()) else { return OTHER };
        lower.copy_from_slice(value.as_bytes());
        lower.make_ascii_lowercase();
        self.values.get(&*lower).copied().unwrap_or(OTHER)
    }
}

/// A status as text, without an allocation.
pub(super) struct Code([u8; 5], usize);

impl Code {
    pub(super) fn new(code: u16) -> Self {
        let (mut digits, mut at, mut left) = ([0; 5], 5, code);
        loop {
            at -= 1;
            if let (Some(digit), Ok(value)) = (digits.get_mut(at), u8::try_from(left % 10)) {
                *digit = b'0' + value;
            }
            left /= 10;
            if left == 0 {
                return Self(digits, at);
            }
        }
    }

    pub(super) fn text(&self) -> &str {
        let digits = self.0.get(self.1..).unwrap_or_default();
        std::str::from_utf8(digits).unwrap_or_default()
    }
}

fn of_condition(condition: &Condition, searches: &[Search], field: usize) -> Allowed {
    let of = |it| of_condition(it, searches, field);
    match condition {
        Condition::Search(index) => match searches.get(*index) {
            Some(search) => {
                let each = search.alternatives.iter().map(|it| of_tests(it, field));
                each.reduce(Allowed::or).unwrap_or(Allowed::ALL)
            }
            None => Allowed::ALL,
        },
        Condition::All(parts) => parts.iter().map(of).fold(Allowed::ALL, Allowed::and),
        Condition::Any(parts) => parts.iter().map(of).reduce(Allowed::or).unwrap_or(Allowed::ALL),
        Condition::Not(_) => Allowed::ALL,
    }
}

fn of_tests(tests: &[FieldTest], field: usize) -> Allowed {
    let name = FIELDS.get(field).copied().unwrap_or_default();
    let of_field = tests.iter().filter(|it| match &it.field {
        Field::Path(path) => path == name,
        Field::Actor => name == "k8scop.actor",
        _ => false,
    });
    of_field.map(of_test).fold(Allowed::ALL, Allowed::and)
}

fn of_test(test: &FieldTest) -> Allowed {
    let some = Allowed { absent: false, values: None };
    let none = Allowed { absent: true, values: Some(HashSet::new()) };
    if test.negated {
        return Allowed::ALL;
    }
    if let Some(exists) = test.exists {
        return if exists { some } else { none };
    }
    let each = test.patterns.iter().map(|it| match it {
        Pattern::Null => none.clone(),
        Pattern::Text { place: Place::Whole, text, .. } => {
            Allowed { absent: false, values: Some([text.to_ascii_lowercase()].into()) }
        }
        _ => some.clone(),
    });
    match (test.all, test.patterns.len()) {
        // All of several values: the field is a list then, of which a shape knows nothing.
        (true, 2..) => Allowed::ALL,
        _ => each.reduce(Allowed::or).unwrap_or(Allowed::ALL),
    }
}

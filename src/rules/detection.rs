//! The section `detection`: selections, and the condition over them.

use super::{
    Condition, Field, FieldTest, Lists, Mode, Options, Pattern, Search, cost,
    limits::{RULE_VALUES_MAX, VALUES_MAX},
    modifiers::{Modifiers, Reading, Step},
    never,
    pattern::{Order, Place},
    text::{self, Piece},
    yaml::{Node, Value, Wrong},
};

/// What is read with, and what is told beside.
pub(super) struct Reader<'r> {
    pub(super) options: &'r Options,
    pub(super) lists: &'r Lists,
    /// What is allowed, and can hardly be meant.
    pub(super) warnings: Vec<Wrong>,
    values: usize,
    /// What its patterns cost, each counted once.
    steps: u64,
}

/// Selections and a condition over them.
pub(super) type Detection = (Vec<Search>, Condition);

impl<'r> Reader<'r> {
    pub(super) fn new(options: &'r Options, lists: &'r Lists) -> Self {
        Self { options, lists, warnings: Vec::new(), values: 0, steps: 0 }
    }

    /// Reads selections and their condition; members whose names are in `others` are not theirs.
    pub(super) fn detection(&mut self, node: &Node, others: &[&str]) -> Result<Detection, Wrong> {
        let Value::Map(members) = &node.value else {
            return Err(node.wrong("it must be a map of selections and a condition"));
        };
        let (mut searches, mut places, mut condition) = (Vec::new(), Vec::new(), None);
        for (key, value) in members {
            match key.scalar() {
                Some("condition") => condition = Some(value),
                Some("timeframe") => {
                    return Err(key.wrong(
                        "a rule sees one event: `timeframe` is the work of a correlation, a document of its own",
                    ));
                }
                Some(name) if others.contains(&name) => (),
                Some(name) => {
                    searches.push(self.search(name, key, value)?);
                    places.push(key);
                }
                None => return Err(key.wrong("a selection needs a name")),
            }
        }
        let names: Vec<_> = searches.iter().map(|it| it.name.clone()).collect();
        let Some(written) = condition else {
            return Err(node.wrong("there is no `condition`"));
        };
        let condition = conditions(written, &names)?;
        let mut used = vec![false; names.len()];
        condition.each_search(&mut |it| {
            if let Some(used) = used.get_mut(it) {
                *used = true;
            }
        });
        for (key, _) in places.iter().zip(used).filter(|(_, used)| !used) {
            let name = key.scalar().unwrap_or_default();
            self.warnings.push(key.wrong(format!("the condition does not ask `{name}`")));
        }
        Ok((searches, condition))
    }

    /// Reads one selection: a map of fields, or alternatives: maps and words. Words stand anywhere in the event.
    pub(super) fn search(&mut self, name: &str, key: &Node, node: &Node) -> Result<Search, Wrong> {
        let alternatives = match &node.value {
            Value::List(list) => {
                list.iter().map(|it| self.alternative(name, it)).collect::<Result<_, _>>()?
            }
            Value::Null => Vec::new(),
            _ => vec![self.alternative(name, node)?],
        };
        match alternatives.is_empty() {
            true => Err(key.wrong(format!("`{name}` is empty"))),
            false => Ok(Search { name: name.to_owned(), alternatives }),
        }
    }

    fn alternative(&mut self, name: &str, node: &Node) -> Result<Vec<FieldTest>, Wrong> {
        match &node.value {
            Value::Map(members) if members.is_empty() => {
                Err(node.wrong(format!("`{name}` is empty: it would fit every event")))
            }
            Value::Map(members) => {
                members.iter().map(|(key, value)| self.test(key, value)).collect()
            }
            Value::Null | Value::List(_) => {
                Err(node.wrong(format!("`{name}` must list maps of fields, or words")))
            }
            _ => {
                let modifiers = Modifiers::parse(std::iter::empty());
                let modifiers = modifiers.map_err(|error| node.wrong(error))?;
                Ok(vec![self.line(Field::Any, modifiers, node)?])
            }
        }
    }

    /// Reads one line: `FIELD|MODIFIER: VALUES`.
    fn test(&mut self, key: &Node, value: &Node) -> Result<FieldTest, Wrong> {
        let Some(written) = key.scalar() else {
            return Err(key.wrong("a field needs a name"));
        };
        if let Value::Map(_) = value.value {
            return Err(
                value.wrong("it must be a value: name what is inside with dots, FIELD.MEMBER")
            );
        }
        let mut words = written.split('|');
        let name = words.next().unwrap_or_default();
        let modifiers =
            Modifiers::parse(words).map_err(|error| key.wrong(format!("`{written}`: {error}")))?;
        let field = match name {
            "" if written.starts_with('|') => Field::Any,
            name => self.field(name).map_err(|error| key.wrong(error))?,
        };
        let warnings = match self.options.mode {
            Mode::Audit => never::warnings(&field, &modifiers, value),
            Mode::Any => Vec::new(),
        };
        self.warnings.extend(warnings);
        self.line(field, modifiers, value)
    }

    fn field(&self, name: &str) -> Result<Field, String> {
        Field::parse_as(name, self.options.mode)
    }

    fn line(
        &mut self,
        field: Field,
        modifiers: Modifiers,
        value: &Node,
    ) -> Result<FieldTest, Wrong> {
        let Modifiers { reading, ref steps, mut all, negated, .. } = modifiers;
        if reading == Reading::Exists {
            let Value::Bool(exists) = value.value else {
                return Err(value.wrong("`exists` is true or false"));
            };
            if field == Field::Any {
                return Err(value.wrong("`exists` needs a field"));
            }
            return Ok(FieldTest {
                field,
                patterns: Vec::new(),
                all,
                exists: Some(exists),
                negated,
            });
        }
        let values = match &value.value {
            Value::List(list) if list.is_empty() => return Err(value.wrong("the list is empty")),
            Value::List(list) if list.len() > VALUES_MAX => {
                return Err(value.wrong(format!("a line has at most {VALUES_MAX} values")));
            }
            Value::List(list) => list.as_slice(),
            _ => std::slice::from_ref(value),
        };
        let names_list = |it: &Node| it.scalar().is_some_and(text::names_list);
        if steps.contains(&Step::Lists) && !values.iter().any(names_list) {
            return Err(value.wrong("`expand` needs the name of a list: %NAME%"));
        }
        let mut patterns = Vec::with_capacity(values.len());
        for value in values {
            let read = self.patterns(&field, &modifiers, value)?;
            // Told here, and not of the whole rule: what is too much is not compiled first.
            self.steps += read.iter().map(cost::of_pattern).sum::<u64>();
            cost::bounded(self.steps).map_err(|reason| value.wrong(reason))?;
            patterns.extend(read);
            if patterns.len() > VALUES_MAX {
                return Err(value.wrong(format!("a line has at most {VALUES_MAX} values")));
            }
        }
        self.values += patterns.len();
        if self.values > RULE_VALUES_MAX {
            return Err(value.wrong(format!("a rule has at most {RULE_VALUES_MAX} values")));
        }
        if patterns.is_empty() {
            // Lists without values: nothing fits, and `all` of nothing would be anything.
            all = false;
        }
        debug_assert!(
            !patterns.is_empty() || steps.contains(&Step::Lists),
            "no pattern for a value"
        );
        Ok(FieldTest { field, patterns, all, exists: None, negated })
    }

    /// Reads one value. Lists in it make several of it.
    fn patterns(
        &self,
        field: &Field,
        modifiers: &Modifiers,
        value: &Node,
    ) -> Result<Vec<Pattern>, Wrong> {
        let one =
            |it: Result<Pattern, String>| it.map(|it| vec![it]).map_err(|error| value.wrong(error));
        let Some(written) = value.scalar() else {
            return one(match value.value {
                Value::Null if *field == Field::Any => Err("a word is missing".into()),
                Value::Null
                    if modifiers.reading == Reading::Text(Place::Whole)
                        && modifiers.steps.is_empty() =>
                {
                    Ok(Pattern::Null)
                }
                Value::Null => Err("null goes without modifiers, or with `neq` and `all`".into()),
                Value::Map(_) => {
                    Err("it must be a value: name what is inside with dots, FIELD.MEMBER".into())
                }
                _ => {
                    Err("it must be a text, a number, true, false, null or a list of these".into())
                }
            });
        };
        let number = || written.parse::<f64>().ok().filter(|it| it.is_finite());
        match modifiers.reading {
            Reading::Text(place) => self.texts(field, modifiers, place, value, written),
            Reading::Regex(flags) => one(Pattern::regex(written, flags)),
            Reading::Cidr => {
                if modifiers.steps.is_empty() {
                    return one(Pattern::cidr(written));
                }
                let expanded = text::expanded(&text::pieces(written, true), self.lists);
                let network = |pieces: &Vec<Piece>| match text::plain(pieces) {
                    Some(text) => Pattern::cidr(text),
                    None => Err("a network has no wildcards".into()),
                };
                let all = expanded.and_then(|it| it.iter().map(network).collect());
                all.map_err(|error| value.wrong(error))
            }
            Reading::Number(order) => {
                let number = number().ok_or_else(|| format!("`{written}` is no number"));
                one(number.map(|it| Pattern::Number(order, it)))
            }
            Reading::Time(part, order) => {
                let number = written.parse().ok();
                let number = number.ok_or_else(|| format!("`{written}` is no whole number"));
                one(number.map(|it| Pattern::Time(part, order, it)))
            }
            Reading::Field(place) => {
                let cased = modifiers.cased;
                one(self.field(written).map(|field| Pattern::SameAs { field, place, cased }))
            }
            Reading::Exists => one(Ok(Pattern::Present)),
        }
    }

    fn texts(
        &self,
        field: &Field,
        modifiers: &Modifiers,
        place: Place,
        value: &Node,
        written: &str,
    ) -> Result<Vec<Pattern>, Wrong> {
        let is_keyword = *field == Field::Any;
        let place = if is_keyword && place == Place::Whole { Place::Within } else { place };
        if let Value::Number(text) = &value.value {
            // A fraction can be written in several ways.
            let fraction = text.parse().ok().filter(|_| text.contains(['.', 'e', 'E']));
            if let (Some(number), Place::Whole) = (fraction, place) {
                return Ok(vec![Pattern::Number(Order::Eq, number)]);
            }
        }
        let wrong = |error: String| value.wrong(error);
        let expands = modifiers.steps.contains(&Step::Lists);
        let mut all = vec![text::pieces(written, expands)];
        for step in &modifiers.steps {
            let mut next = Vec::new();
            for pieces in all {
                next.extend(stepped(*step, pieces, self.lists).map_err(wrong)?);
            }
            all = next;
        }
        if is_keyword && all.iter().any(Vec::is_empty) {
            return Err(wrong("an empty word stands in every event".into()));
        }
        let pattern = |pieces| Pattern::text(pieces, place, modifiers.cased).map_err(wrong);
        all.into_iter().map(pattern).collect()
    }
}

fn stepped(step: Step, pieces: Vec<Piece>, lists: &Lists) -> Result<Vec<Vec<Piece>>, String> {
    let plain = || {
        let plain = text::plain(&pieces).filter(|it| !it.is_empty());
        plain.ok_or("what is encoded must be a text without wildcards")
    };
    Ok(match step {
        Step::Dashes => vec![text::with_dashes(pieces)],
        Step::Lists => text::expanded(&pieces, lists)?,
        Step::Base64(encoding) => vec![vec![Piece::Text(encoding.base64(plain()?))]],
        Step::Base64Offset(encoding) => {
            let parts: Vec<_> = encoding.base64_at_any_offset(plain()?).collect();
            if parts.iter().any(String::is_empty) {
                return Err("it is too short for `base64offset`: nothing of it is sure".into());
            }
            parts.into_iter().map(|it| vec![Piece::Text(it)]).collect()
        }
    })
}

/// A condition, or several of which one is enough.
fn conditions(node: &Node, names: &[String]) -> Result<Condition, Wrong> {
    let one = |it: &Node| match it.text() {
        Some(text) => Condition::parse(text, names).map_err(|error| it.wrong(error)),
        None => Err(it.wrong("a condition must be a text")),
    };
    match &node.value {
        Value::List(list) if list.is_empty() => Err(node.wrong("the condition is empty")),
        Value::List(list) => {
            let mut all = list.iter().map(one).collect::<Result<Vec<_>, _>>()?;
            Ok(if all.len() == 1 { all.remove(0) } else { Condition::Any(all) })
        }
        _ => one(node),
    }
}

/// A condition over the searches of one rule, by their place in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// One search.
    Search(usize),
    /// All of these.
    All(Vec<Condition>),
    /// One of these, or more.
    Any(Vec<Condition>),
    /// Not this.
    Not(Box<Condition>),
}

/// Deepest nesting of parentheses and `not`.
const DEPTH_MAX: usize = 32;

impl Condition {
    /// Understands a Sigma condition. `names` are the searches of the rule in their order.
    pub(super) fn parse(text: &str, names: &[String]) -> Result<Self, String> {
        let spaced = text.replace('(', " ( ").replace(')', " ) ");
        let tokens: Vec<&str> = spaced.split_whitespace().collect();
        let mut parser = Parser { tokens: &tokens, names };
        let condition = parser.any(0)?;
        match parser.tokens.first() {
            None => Ok(condition),
            Some(token) => Err(format!("the condition should end before `{token}`")),
        }
    }
}

struct Parser<'a> {
    tokens: &'a [&'a str],
    names: &'a [String],
}

impl<'a> Parser<'a> {
    fn take(&mut self) -> Option<&'a str> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(first)
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = self.tokens.first().is_some_and(|it| it.eq_ignore_ascii_case(word));
        if found {
            self.take();
        }
        found
    }

    fn any(&mut self, depth: usize) -> Result<Condition, String> {
        let mut parts = vec![self.all(depth)?];
        while self.take_word("or") {
            parts.push(self.all(depth)?);
        }
        Ok(one_or(parts, Condition::Any))
    }

    fn all(&mut self, depth: usize) -> Result<Condition, String> {
        let mut parts = vec![self.not(depth)?];
        while self.take_word("and") {
            parts.push(self.not(depth)?);
        }
        Ok(one_or(parts, Condition::All))
    }

    fn not(&mut self, depth: usize) -> Result<Condition, String> {
        if depth > DEPTH_MAX {
            return Err(format!("the condition is nested deeper than {DEPTH_MAX} levels"));
        }
        if self.take_word("not") {
            return Ok(Condition::Not(Box::new(self.not(depth + 1)?)));
        }
        self.term(depth)
    }

    fn term(&mut self, depth: usize) -> Result<Condition, String> {
        let token = self.take().ok_or("the condition ends where a selection is expected")?;
        if token == "(" {
            let inner = self.any(depth + 1)?;
            return match self.take() {
                Some(")") => Ok(inner),
                _ => Err("a parenthesis is not closed".into()),
            };
        }
        let many = if token == "1" || token.eq_ignore_ascii_case("any") {
            Some(Condition::Any as fn(Vec<Condition>) -> Condition)
        } else if token.eq_ignore_ascii_case("all") {
            Some(Condition::All as fn(Vec<Condition>) -> Condition)
        } else {
            None
        };
        match many {
            Some(many) if self.take_word("of") => self.of(many),
            _ => self.named(token),
        }
    }

    fn named(&self, name: &str) -> Result<Condition, String> {
        let index = self.names.iter().position(|it| it == name);
        index.map(Condition::Search).ok_or_else(|| {
            format!(
                "the condition names `{name}`, and there is no such selection (there are: {})",
                self.names.join(", ")
            )
        })
    }

    fn of(&mut self, many: fn(Vec<Condition>) -> Condition) -> Result<Condition, String> {
        let pattern = self.take().ok_or("`of` needs a name, a name with *, or `them`")?;
        let fits = |name: &String| match pattern.strip_suffix('*') {
            // Sigma leaves names that start with an underscore out of `them`.
            _ if pattern.eq_ignore_ascii_case("them") => !name.starts_with('_'),
            Some(prefix) => name.starts_with(prefix),
            None => name == pattern,
        };
        let found: Vec<_> = self
            .names
            .iter()
            .enumerate()
            .filter(|(_, name)| fits(name))
            .map(|(index, _)| Condition::Search(index))
            .collect();
        if found.is_empty() {
            return Err(format!("the condition names `{pattern}`, and no selection fits it"));
        }
        Ok(one_or(found, many))
    }
}

fn one_or(mut parts: Vec<Condition>, many: fn(Vec<Condition>) -> Condition) -> Condition {
    match (parts.len(), parts.pop()) {
        (1, Some(only)) => only,
        (_, last) => {
            parts.extend(last);
            many(parts)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(condition: &Condition) -> String {
        let list = |parts: &[Condition]| parts.iter().map(shown).collect::<Vec<_>>().join(" ");
        match condition {
            Condition::Search(index) => index.to_string(),
            Condition::All(parts) => format!("(and {})", list(parts)),
            Condition::Any(parts) => format!("(or {})", list(parts)),
            Condition::Not(part) => format!("(not {})", shown(part)),
        }
    }

    fn parse(text: &str) -> Result<String, String> {
        let names = ["sel_a", "sel_b", "filter", "_hidden"].map(String::from);
        Condition::parse(text, &names).map(|it| shown(&it))
    }

    #[test]
    fn conditions() {
        for (text, expected) in [
            ("sel_a", "0"),
            ("sel_a and not filter", "(and 0 (not 2))"),
            ("sel_a or sel_b and filter", "(or 0 (and 1 2))"),
            ("(sel_a or sel_b) and filter", "(and (or 0 1) 2)"),
            ("1 of sel_*", "(or 0 1)"),
            ("all of sel_* and not 1 of filter", "(and (and 0 1) (not 2))"),
            ("any of them", "(or 0 1 2)"),
            ("NOT (sel_a AND sel_b) OR filter", "(or (not (and 0 1)) 2)"),
            ("not not sel_a", "(not (not 0))"),
        ] {
            assert_eq!(parse(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn mistakes() {
        for (text, expected) in [
            ("", "ends where"),
            ("sel_c", "no such selection (there are: sel_a, sel_b, filter, _hidden)"),
            ("sel_a sel_b", "should end before `sel_b`"),
            ("(sel_a", "not closed"),
            ("sel_a)", "should end before `)`"),
            ("1 of x*", "no selection fits"),
            ("1 of", "`of` needs"),
            ("2 of sel_*", "no such selection"),
            ("sel_a | count() > 5", "should end before `|`"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
        assert!(parse(&"not ".repeat(10_000)).unwrap_err().contains("nested deeper"));
    }
}

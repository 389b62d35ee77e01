//! Falco's conditions: `kevt and not ka.user.name in (admins)`.

/// A condition, as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expr {
    All(Vec<Expr>),
    Any(Vec<Expr>),
    Not(Box<Expr>),
    Macro(String),
    Check(Check),
}

/// A field, an operator and values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Check {
    /// `ka.user.name`
    pub(super) field: String,
    /// What stands in brackets behind it.
    pub(super) argument: Option<String>,
    /// Its case is folded first (`tolower(…)`).
    pub(super) folded: bool,
    /// The operator, as it is written.
    pub(super) operator: String,
    pub(super) values: Vec<Word>,
}

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    /// What is quoted is never the name of a list.
    pub(super) is_quoted: bool,
}

/// Deepest nesting of parentheses and `not`.
const DEPTH_MAX: usize = 64;

/// Longest first, where one begins with another.
const SIGNS: [&str; 7] = ["!=", "==", "<=", ">=", "=", "<", ">"];
const WORDS: [&str; 12] = [
    "contains",
    "icontains",
    "bcontains",
    "startswith",
    "bstartswith",
    "endswith",
    "glob",
    "iglob",
    "regex",
    "in",
    "intersects",
    "pmatch",
];

/// Understands a condition.
pub(super) fn parse(text: &str) -> Result<Expr, String> {
    let mut parser = Parser { rest: text };
    let expr = parser.any(0)?;
    parser.skip();
    match parser.rest.is_empty() {
        true => Ok(expr),
        false => Err(format!("the condition should end before {}", parser.here())),
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn skip(&mut self) {
        self.rest = self.rest.trim_start();
    }

    /// The next few characters, for errors.
    fn here(&self) -> String {
        match self.rest.trim_start() {
            "" => "its end".to_owned(),
            rest => format!("`{}`", rest.chars().take(24).collect::<String>()),
        }
    }

    fn take(&mut self, text: &str) -> bool {
        self.skip();
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// Takes a word, if it stands here as a whole.
    fn take_word(&mut self, word: &str) -> bool {
        self.skip();
        match self.rest.strip_prefix(word) {
            Some(rest) if !rest.starts_with(is_name) => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// Takes what is as asked, of the start.
    fn run(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|it| !wanted(it)).unwrap_or(self.rest.len());
        let (run, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, ""));
        self.rest = rest;
        run
    }

    fn any(&mut self, depth: usize) -> Result<Expr, String> {
        let mut parts = vec![self.all(depth)?];
        while self.take_word("or") {
            parts.push(self.all(depth)?);
        }
        Ok(one_or(parts, Expr::Any))
    }

    fn all(&mut self, depth: usize) -> Result<Expr, String> {
        let mut parts = vec![self.not(depth)?];
        while self.take_word("and") {
            parts.push(self.not(depth)?);
        }
        Ok(one_or(parts, Expr::All))
    }

    fn not(&mut self, depth: usize) -> Result<Expr, String> {
        if depth > DEPTH_MAX {
            return Err(format!("the condition is nested deeper than {DEPTH_MAX} levels"));
        }
        if self.take_word("not") {
            return Ok(Expr::Not(Box::new(self.not(depth + 1)?)));
        }
        if self.take("(") {
            let inner = self.any(depth + 1)?;
            return match self.take(")") {
                true => Ok(inner),
                false => Err(format!("a parenthesis is not closed before {}", self.here())),
            };
        }
        self.check()
    }

    /// A macro, or a field with what is asked of it.
    fn check(&mut self) -> Result<Expr, String> {
        self.skip();
        let start = self.here();
        let name = self.run(is_name);
        if name.is_empty() {
            return Err(format!("a field or a macro is expected before {start}"));
        }
        if matches!(name, "tolower" | "toupper") && self.take("(") {
            self.skip();
            let field = self.run(is_name).to_owned();
            let argument = self.argument()?;
            if !self.take(")") {
                return Err(format!("a parenthesis is not closed before {}", self.here()));
            }
            return self.asked(field, argument, true);
        }
        if self.rest.starts_with('(') {
            return Err(format!("there is no `{name}(…)` here"));
        }
        match name.contains('.') {
            true => {
                let argument = self.argument()?;
                self.asked(name.to_owned(), argument, false)
            }
            false => Ok(Expr::Macro(name.to_owned())),
        }
    }

    fn argument(&mut self) -> Result<Option<String>, String> {
        let Some(rest) = self.rest.strip_prefix('[') else { return Ok(None) };
        let (argument, rest) =
            rest.split_once(']').ok_or_else(|| format!("`[{rest}` is not closed"))?;
        self.rest = rest;
        Ok(Some(argument.trim().trim_matches(['"', '\'']).to_owned()))
    }

    fn asked(
        &mut self,
        field: String,
        argument: Option<String>,
        folded: bool,
    ) -> Result<Expr, String> {
        let check = |operator: &str, values| {
            let operator = operator.to_owned();
            Ok(Expr::Check(Check { field, argument, folded, operator, values }))
        };
        if self.take_word("exists") {
            return check("exists", Vec::new());
        }
        if let Some(sign) = SIGNS.into_iter().find(|it| self.take(it)) {
            let value = self.value()?;
            return check(sign, vec![value]);
        }
        let Some(word) = WORDS.into_iter().find(|it| self.take_word(it)) else {
            return Err(format!("an operator is expected before {}", self.here()));
        };
        if !matches!(word, "in" | "intersects" | "pmatch") {
            let value = self.value()?;
            return check(word, vec![value]);
        }
        if !self.take("(") {
            let list = self.value()?;
            return check(word, vec![list]);
        }
        let mut values = Vec::new();
        while !self.take(")") {
            values.push(self.value()?);
            if !self.take(",") && !self.rest.trim_start().starts_with(')') {
                return Err(format!("a list is not closed before {}", self.here()));
            }
        }
        check(word, values)
    }

    fn value(&mut self) -> Result<Word, String> {
        self.skip();
        let quote = self.rest.chars().next().filter(|it| matches!(it, '"' | '\''));
        if let Some(quote) = quote {
            let (mut text, mut is_escaped) = (String::new(), false);
            for (at, char) in self.rest.char_indices().skip(1) {
                match char {
                    _ if is_escaped => {
                        if !matches!(char, '"' | '\'' | '\\') {
                            text.push('\\');
                        }
                        text.push(char);
                        is_escaped = false;
                    }
                    '\\' => is_escaped = true,
                    it if it == quote => {
                        self.rest = self.rest.get(at + 1..).unwrap_or_default();
                        return Ok(Word { text, is_quoted: true });
                    }
                    other => text.push(other),
                }
            }
            return Err(format!("a quote is not closed: {}", self.here()));
        }
        let text = self.run(|it| !it.is_whitespace() && !"()\"'=,".contains(it));
        match text.is_empty() {
            true => Err(format!("a value is expected before {}", self.here())),
            false => Ok(Word { text: text.to_owned(), is_quoted: false }),
        }
    }
}

fn is_name(it: char) -> bool {
    it.is_ascii_alphanumeric() || matches!(it, '_' | '.')
}

fn one_or(mut parts: Vec<Expr>, many: fn(Vec<Expr>) -> Expr) -> Expr {
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

    fn shown(it: &Expr) -> String {
        let list = |parts: &[Expr]| parts.iter().map(shown).collect::<Vec<_>>().join(" ");
        match it {
            Expr::All(parts) => format!("(and {})", list(parts)),
            Expr::Any(parts) => format!("(or {})", list(parts)),
            Expr::Not(part) => format!("(not {})", shown(part)),
            Expr::Macro(name) => name.clone(),
            Expr::Check(it) => {
                let values: Vec<_> = it.values.iter().map(|it| it.text.as_str()).collect();
                let argument = it.argument.as_ref().map_or(String::new(), |it| format!("[{it}]"));
                format!("<{}{argument} {} {}>", it.field, it.operator, values.join("|"))
            }
        }
    }

    #[test]
    fn conditions() {
        for (text, expected) in [
            ("a and not b or c", "(or (and a (not b)) c)"),
            ("not(a or b) and c", "(and (not (or a b)) c)"),
            ("ka.verb=get", "<ka.verb = get>"),
            ("ka.verb in (get, \"li st\",)", "<ka.verb in get|li st>"),
            ("ka.verb in ()", "<ka.verb in >"),
            ("(jevt.value[/stage] in (stages))", "<jevt.value[/stage] in stages>"),
            ("ka.uri.param[\"a b\"] exists and x", "(and <ka.uri.param[a b] exists > x)"),
            ("ka.response.code >= 400", "<ka.response.code >= 400>"),
            ("tolower(ka.user.name) startswith 'sys'", "<ka.user.name startswith sys>"),
            ("ka.uri startswith /healthz? and a", "(and <ka.uri startswith /healthz?> a)"),
            (r#"ka.user.name = "a\"b\c""#, r#"<ka.user.name = a"b\c>"#),
            ("note and order", "(and note order)"),
        ] {
            assert_eq!(parse(text).map(|it| shown(&it)).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn mistakes() {
        for (text, expected) in [
            ("", "a field or a macro is expected"),
            ("a b", "should end before `b`"),
            ("(a", "not closed"),
            ("ka.verb like x", "an operator is expected before `like x`"),
            ("ka.verb in (a b", "a list is not closed"),
            ("ka.verb = ", "a value is expected"),
            ("ka.verb = \"a", "a quote is not closed"),
            ("b64(ka.uri) = x", "no `b64(…)`"),
            ("jevt.value[/a = 1", "not closed"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
        assert!(parse(&"not ".repeat(100_000)).unwrap_err().contains("nested deeper"));
        assert!(parse(&"(".repeat(100_000)).unwrap_err().contains("nested deeper"));
    }
}

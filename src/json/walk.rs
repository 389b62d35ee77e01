use super::scan::step;

/// Goes into a text of JSON step by step. What is not gone into is stepped over, once, and not checked: `None` is told of
/// what does not fit as far as it was gone.
#[derive(Debug)]
pub struct Walk<'a> {
    rest: &'a str,
}

impl<'a> Walk<'a> {
    /// Stands before the value of `text`.
    #[must_use]
    pub fn new(text: &'a str) -> Self {
        Self { rest: text }
    }

    /// Goes through the members of an object: `each` is told a name, as it stands between its quotes, and takes the value.
    pub fn members(
        &mut self,
        mut each: impl FnMut(&'a str, &mut Self) -> Option<()>,
    ) -> Option<()> {
        self.list(['{', '}'], |walk| {
            let name = walk.value()?.strip_prefix('"')?.strip_suffix('"')?;
            walk.takes(':').then_some(())?;
            each(name, walk)
        })
    }

    /// Goes through the elements of an array: `each` takes one.
    pub fn elements(&mut self, each: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.list(['[', ']'], each)
    }

    /// Takes a value.
    pub fn value(&mut self) -> Option<&'a str> {
        let (value, rest) = step(self.rest)?;
        self.rest = rest;
        Some(value)
    }

    /// What is gone through by `go`, as it stands in the text.
    pub fn text_of(&mut self, go: impl FnOnce(&mut Self) -> Option<()>) -> Option<&'a str> {
        self.blanks();
        let before = self.rest;
        go(self)?;
        before.get(..before.len() - self.rest.len())
    }

    /// Whether nothing is left.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        self.rest.trim_end_matches(BLANKS).is_empty()
    }

    fn list(
        &mut self,
        [open, close]: [char; 2],
        mut each: impl FnMut(&mut Self) -> Option<()>,
    ) -> Option<()> {
        self.takes(open).then_some(())?;
        if self.takes(close) {
            return Some(());
        }
        loop {
            each(self)?;
            if !self.takes(',') {
                return self.takes(close).then_some(());
            }
        }
    }

    fn takes(&mut self, mark: char) -> bool {
        self.blanks();
        let rest = self.rest.strip_prefix(mark);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn blanks(&mut self) {
        self.rest = self.rest.trim_start_matches(BLANKS);
    }
}

const BLANKS: [char; 4] = [' ', '\t', '\n', '\r'];

#[cfg(test)]
mod tests {
    use super::*;

    /// Members of the objects in a list, and where these stand.
    fn walked(text: &str) -> Option<Vec<(String, String, String)>> {
        let (mut walk, mut all) = (Walk::new(text), Vec::new());
        walk.elements(|walk| {
            let start = all.len();
            let text = walk.text_of(|walk| {
                walk.members(|name, walk| {
                    all.push((name.to_owned(), walk.value()?.to_owned(), String::new()));
                    Some(())
                })
            })?;
            all.iter_mut().skip(start).for_each(|it| it.2 = text.to_owned());
            Some(())
        })?;
        walk.is_at_end().then_some(all)
    }

    #[test]
    fn what_is_gone_into_has_to_fit() {
        let text = "[ {\"a\" : [1,{\"b\":\"]}\"}] , \"c\":null}\n,{}] \n";
        let object = r#"{"a" : [1,{"b":"]}"}] , "c":null}"#;
        let expected = [("a", r#"[1,{"b":"]}"}]"#), ("c", "null")];
        let expected = expected.map(|(a, b)| (a.to_owned(), b.to_owned(), object.to_owned()));
        assert_eq!(walked(text).unwrap(), expected);
        for (end, _) in text.trim_end().char_indices() {
            assert_eq!(walked(text.get(..end).unwrap()), None, "{end}");
        }
        for bad in ["{}", "[{}]]", "[{}{}]", "[{},]", r#"[{"a"1}]"#, "[{a:1}]", r#"[{"a":}]"#] {
            assert_eq!(walked(bad), None, "{bad}");
        }
    }

    /// What is checked elsewhere is gone through as the checked readers do.
    #[test]
    fn as_members_and_elements() {
        let text = r#"[{"x":{"y":[1,2,{"z":"\\\"}"}]},"w":-1.5e3},{"x":true}]"#;
        let all: Vec<_> = super::super::elements(text)
            .flat_map(|it| super::super::members(it).map(move |one| (it, one)))
            .map(|(it, one)| (one.raw_key.to_owned(), one.value.to_owned(), it.to_owned()))
            .collect();
        assert_eq!(walked(text).unwrap(), all);
    }
}

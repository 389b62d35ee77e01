use super::{
    error::{hint, nearest},
    yaml::{At, Node, Value, Wrong},
};

/// Members that rules and filters both have: those of Sigma that say what a document is.
pub(super) const HEAD: &[&str] = &[
    "title",
    "id",
    "name",
    "related",
    "taxonomy",
    "status",
    "description",
    "license",
    "references",
    "author",
    "date",
    "modified",
    "tags",
    "scope",
    "logsource",
    "falsepositives",
    "level",
];

/// The members of a map whose names are known.
pub(super) struct Members<'n> {
    pub(super) at: At,
    what: &'static str,
    members: &'n [(Node, Node)],
}

impl<'n> Members<'n> {
    /// Reads a map. A name that it cannot have is an error.
    pub(super) fn of(node: &'n Node, what: &'static str, names: &[&str]) -> Result<Self, Wrong> {
        let all = Self::open(node, what)?;
        for (key, _) in all.members {
            let name = key.scalar().unwrap_or("null");
            if !names.contains(&name) {
                return Err(key.wrong(format!("{what} has no `{name}`{}", hint(name, names))));
            }
        }
        Ok(all)
    }

    /// Reads a map that may have other names. One that looks like a known one misspelt is an error; the others are
    /// given to `ignored`.
    pub(super) fn with_others(
        node: &'n Node,
        what: &'static str,
        names: &[&str],
        mut ignored: impl FnMut(&Node),
    ) -> Result<Self, Wrong> {
        let all = Self::open(node, what)?;
        for (key, _) in all.members {
            let name = key.scalar().unwrap_or("null");
            if names.contains(&name) {
                continue;
            }
            if let Some(near) = nearest(name, names.iter().copied()) {
                let reason = format!("{what} has no `{name}` (did you mean `{near}`?)");
                return Err(key.wrong(reason));
            }
            ignored(key);
        }
        Ok(all)
    }

    fn open(node: &'n Node, what: &'static str) -> Result<Self, Wrong> {
        match &node.value {
            Value::Map(members) => Ok(Self { at: node.at, what, members }),
            _ => Err(node.wrong(format!("{what} must be a map of names and values"))),
        }
    }

    /// A member. `null` is none.
    pub(super) fn get(&self, name: &str) -> Option<&'n Node> {
        let found = self.members.iter().find(|(key, _)| key.scalar() == Some(name));
        found.map(|(_, value)| value).filter(|it| it.value != Value::Null)
    }

    pub(super) fn required(&self, name: &str) -> Result<&'n Node, Wrong> {
        let reason = || format!("{} needs `{name}`", self.what);
        self.get(name).ok_or_else(|| Wrong { at: self.at, reason: reason() })
    }

    /// A text; a number or a boolean as it is written.
    pub(super) fn text(&self, name: &str) -> Result<Option<&'n str>, Wrong> {
        let text = |node: &'n Node| {
            node.scalar().ok_or_else(|| node.wrong(format!("`{name}` must be a text")))
        };
        self.get(name).map(text).transpose()
    }

    /// A list of texts; one text is a list of one.
    pub(super) fn texts(&self, name: &str) -> Result<Vec<String>, Wrong> {
        let list = match self.get(name).map(|it| &it.value) {
            None => return Ok(Vec::new()),
            Some(Value::List(list)) => list.as_slice(),
            Some(_) => return Ok(self.text(name)?.into_iter().map(str::to_owned).collect()),
        };
        let text = |it: &Node| match it.scalar() {
            Some(text) => Ok(text.to_owned()),
            None => Err(it.wrong(format!("`{name}` must be a list of texts"))),
        };
        list.iter().filter(|it| it.value != Value::Null).map(text).collect()
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(
        &self,
        name: &str,
        words: &[(&str, T)],
    ) -> Result<Option<T>, Wrong> {
        let Some(node) = self.get(name) else { return Ok(None) };
        let text = node.scalar().unwrap_or_default();
        match words.iter().find(|(word, _)| *word == text) {
            Some((_, meant)) => Ok(Some(*meant)),
            None => {
                let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
                Err(node.wrong(format!("`{name}` is never `{text}`{}", hint(text, &names))))
            }
        }
    }
}

use super::{Field, Mode};

/// A sentence with fields of the event in braces: `{user.username} read {objectRef.name}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// Texts and fields in order.
    pub parts: Vec<Part>,
}

/// A piece of a [`Template`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Stands as it is.
    Text(String),
    /// Is replaced by the field's value.
    Field(Field),
}

impl Template {
    /// Reads a sentence, or says which of its fields no audit event can have.
    pub fn parse(text: &str) -> Result<Self, String> {
        Self::parse_as(text, Mode::Audit)
    }

    pub(super) fn parse_as(text: &str, mode: Mode) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, behind) = after
                .split_once('}')
                .ok_or_else(|| format!("`{{{after}` is not closed by a brace"))?;
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            parts.push(Part::Field(Field::parse_as(name, mode)?));
            rest = behind;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self { parts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences() {
        let template = Template::parse("{user.username} ran {k8scop.command}.").unwrap();
        assert_eq!(template.parts.len(), 4);
        assert!(Template::parse("{user.nam}").is_err());
        assert!(Template::parse("a {verb").unwrap_err().contains("not closed"));
    }
}

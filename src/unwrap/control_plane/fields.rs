use std::borrow::Cow;

/// Most structured values that are taken from a line. In logs of Kubernetes 1.35 with `--v=2` no line has more
/// than 9.
pub(super) const FIELDS_MAX: usize = 64;
/// Longest name of a value (bytes).
const NAME_BYTES_MAX: usize = 64;

/// Structured values of a line, each name once.
#[derive(Debug, Default)]
pub(super) struct Fields<'a> {
    pub(super) list: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// Something of the line is not in `list`.
    pub(super) incomplete: bool,
}

impl<'a> Fields<'a> {
    /// Takes a value. The last one of a name stays, as in klog's text format and in Go's JSON parser.
    pub(super) fn push(&mut self, key: Cow<'a, str>, value: Cow<'a, str>) {
        let Some(name) = name(key) else {
            self.incomplete = true;
            return;
        };
        if let Some((_, old)) = self.list.iter_mut().find(|(known, _)| *known == name) {
            self.incomplete |= *old != value;
            *old = value;
        } else if self.list.len() < FIELDS_MAX {
            self.list.push((name, value));
        } else {
            self.incomplete = true;
        }
    }
}

/// The name under which a value goes into a document: `_` for everything that could mean something to
/// Elasticsearch (a dot is a level there) or is no name in a query.
fn name(key: Cow<'_, str>) -> Option<Cow<'_, str>> {
    let plain = |it: char| it.is_ascii_alphanumeric() || matches!(it, '_' | '-' | '/');
    if key.is_empty() || key.len() > NAME_BYTES_MAX {
        return None;
    }
    if key.chars().all(plain) {
        return Some(key);
    }
    Some(Cow::Owned(key.chars().map(|it| if plain(it) { it } else { '_' }).collect()))
}

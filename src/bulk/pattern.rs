use thiserror::Error;

use super::{Op, Refusal};

/// Which indices somebody may write: Elasticsearch's patterns, in which `*` is any text.
///
/// A name that starts with a dot belongs to the system, or is a backing index of a data stream; only a pattern that
/// starts with a dot means it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexPatterns(Vec<Pattern>);

/// Who writes, where that limits what is written.
#[derive(Clone, Copy, Debug)]
pub struct Writer<'w> {
    /// For the reason.
    pub name: &'w str,
    /// What may be written.
    pub indices: &'w IndexPatterns,
}

impl Writer<'_> {
    /// Refuses an item for another index, as Elasticsearch 8.19 refuses it.
    pub fn check(&self, op: Op, index: &str) -> Result<(), Refusal> {
        if self.indices.contain(index) {
            return Ok(());
        }
        let reason = format!(
            "action [indices:data/write/{}] is unauthorized for [{}] of k8scop on indices [{index}]: its auth.indices do not contain them",
            op.name(),
            self.name
        );
        Err(Refusal { status: 403, kind: "security_exception", reason })
    }
}

/// A pattern that cannot be meant.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("`{pattern}` is no pattern of index names: {reason}")]
pub struct PatternError {
    pattern: String,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    /// What stands before the first `*`; the whole name if there is none.
    start: String,
    /// What stands behind each `*`, if there is one. The last of these ends the name.
    rest: Vec<String>,
}

/// Longest name (bytes): Elasticsearch 8.19 refuses longer ones, `MetadataCreateIndexService.MAX_INDEX_NAME_BYTES`.
const NAME_BYTES_MAX: usize = 255;

impl IndexPatterns {
    /// Reads patterns. A name that one of them matches is meant.
    pub fn new<S: AsRef<str>>(patterns: &[S]) -> Result<Self, PatternError> {
        patterns.iter().map(|it| Pattern::new(it.as_ref())).collect::<Result<_, _>>().map(Self)
    }

    /// Whether the name of an index, alias or data stream, as a client wrote it, is meant for certain.
    ///
    /// Linear in the length of the name. A name with date math (`<logs-{now/d}>`) is meant where everything that it
    /// can become is, as far as what stands before its first brace tells.
    #[must_use]
    pub fn contain(&self, name: &str) -> bool {
        match name.strip_prefix('<').and_then(|it| it.strip_suffix('>')) {
            Some(math) => {
                let start = math.split('{').next().unwrap_or_default();
                // Several names at once are no name.
                let plain = !start.is_empty() && !start.contains(is_alien);
                plain
                    && !math.contains([',', '<', '>'])
                    && self.0.iter().any(|it| it.contains_all(start))
            }
            None => !name.contains(is_alien) && self.0.iter().any(|it| it.contains(name)),
        }
    }
}

/// What no name has (Elasticsearch 8.19, `MetadataCreateIndexService.validateIndexOrAliasName`), and a request could
/// mean otherwise.
fn is_alien(it: char) -> bool {
    it.is_whitespace() || it.is_control() || "\\/*?\"<>|,#:".contains(it)
}

impl Pattern {
    fn new(pattern: &str) -> Result<Self, PatternError> {
        let wrong = |reason| Err(PatternError { pattern: pattern.to_owned(), reason });
        if pattern.is_empty() {
            return wrong("it is empty");
        }
        if pattern.len() > NAME_BYTES_MAX {
            return wrong("no name is that long");
        }
        if pattern.starts_with(['-', '+', '_']) {
            return wrong("no name starts like this, and there are no exceptions");
        }
        if pattern.contains(|it| is_alien(it) && it != '*') {
            return wrong("it has a character that no name has");
        }
        let mut parts = pattern.split('*').map(str::to_owned);
        Ok(Self { start: parts.next().unwrap_or_default(), rest: parts.collect() })
    }

    fn contains(&self, name: &str) -> bool {
        let Some(mut left) = name.strip_prefix(self.start.as_str()) else { return false };
        if name.starts_with('.') && self.start.is_empty() {
            return false;
        }
        let Some((end, middle)) = self.rest.split_last() else { return left.is_empty() };
        // The leftmost place is as good as any: what it leaves to the parts behind it holds all that others leave.
        for part in middle {
            let Some((_, behind)) = left.split_once(part.as_str()) else { return false };
            left = behind;
        }
        left.ends_with(end.as_str())
    }

    /// Whether it contains every name that starts like this.
    fn contains_all(&self, start: &str) -> bool {
        let open = matches!(self.rest.as_slice(), [end] if end.is_empty());
        open && start.starts_with(self.start.as_str())
            && !(start.starts_with('.') && self.start.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(pattern: &str, yes: &[&str], no: &[&str]) {
        let patterns = IndexPatterns::new(&[pattern]).unwrap();
        for name in yes {
            assert!(patterns.contain(name), "{pattern} must contain {name}");
        }
        for name in no {
            assert!(!patterns.contain(name), "{pattern} must not contain {name}");
        }
    }

    #[test]
    fn names() {
        check("logs", &["logs"], &["log", "logs-a", "", "<logs>", "<logs{now}>"]);
        check("*", &["a", "logs-x", "ä"], &[".security", ".", ".ds-logs-x-000001"]);
        check("logs-*", &["logs-", "logs-a-b"], &["logs", "xlogs-a", ".logs-a", "LOGS-a"]);
        check("*-dev", &["a-dev", "-dev"], &["a-devs", "dev", ".a-dev"]);
        check("a*b*c", &["abc", "axbxc", "abcbc", "abbcc"], &["ac", "acb", "abcx", "ab"]);
        check("a*a", &["aa", "aba", "aaa"], &["a"]);
        check("a**b", &["ab", "axb"], &["a", "b"]);
        check(".ds-*", &[".ds-logs"], &["ds-logs", ".security"]);
        check(".*", &[".security"], &["security"]);
    }

    #[test]
    fn names_with_date_math() {
        check(
            "logs-*",
            &["<logs-{now/d}>", "<logs-a-{now/M{yyyy}}>"],
            &["<log{now/d}>", "<{now/d}>"],
        );
        check("*", &["<a{now/d}>"], &["<{now/d{'.'}}>", "<.a{now/d}>", "<\\.a{now}>", "<>"]);
        // What the braces become is not known here.
        check("logs-*-dev", &["logs-x-dev"], &["<logs-{now/d}-dev>"]);
        check("logs-2026", &[], &["<logs-{now/y{yyyy}}>"]);
    }

    #[test]
    fn several_names_are_no_name() {
        let several =
            ["a,b", "a*", "*", "a,-b", "cluster:a", "<a{now}>,<b{now}>", "<a{now}>,.b>", "a b"];
        check("*", &[], &several);
        check("a*", &[], &several);
    }

    #[test]
    fn what_cannot_be_meant() {
        for pattern in ["", "-logs", "_all", "a,b", "a b", "a:b", "<a>", &"a".repeat(256)] {
            assert!(IndexPatterns::new(&[pattern]).is_err(), "{pattern}");
        }
        assert!(!IndexPatterns::new::<&str>(&[]).unwrap().contain("a"));
    }

    #[test]
    fn a_hostile_name_costs_its_length() {
        let patterns = IndexPatterns::new(&["a*".repeat(100) + "b"]).unwrap();
        assert!(!patterns.contain(&"a".repeat(1 << 20)));
    }

    /// By definition, in exponential time.
    fn slow(pattern: &str, name: &str) -> bool {
        match (pattern.split_at_checked(1), name.split_at_checked(1)) {
            (None, _) => name.is_empty(),
            (Some(("*", rest)), None) => slow(rest, name),
            (Some(("*", rest)), Some((_, behind))) => slow(rest, name) || slow(pattern, behind),
            (Some((one, rest)), Some((same, behind))) => one == same && slow(rest, behind),
            (Some(_), None) => false,
        }
    }

    proptest! {
        #[test]
        fn as_by_definition(pattern in "[ab*]{1,8}", name in "[ab]{0,10}") {
            let patterns = IndexPatterns::new(&[&pattern]).unwrap();
            prop_assert_eq!(patterns.contain(&name), slow(&pattern, &name));
        }
    }
}

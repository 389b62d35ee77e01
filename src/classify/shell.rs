//! A command line as a shell would have it, roughly, so that who spells it in another way hides nothing: `c''at`,
//! `/e$@tc`, `a=/etc; cat $a/shadow`, `/etc/{shadow,x}`, `/etc/sh?dow`.
//!
//! More is expanded than a shell would (what stands in quotes, too), for a rule sees the line as it was sent besides.
//! What only a run can tell (the output of programs, arithmetic, arrays) stays as it is.

use std::{borrow::Cow, collections::HashMap};

/// What a line grows to at most by what is expanded (bytes); from there on it is taken as it is.
const GROWTH_BYTES_MAX: usize = 256 << 10;
/// Most variables, and most values of each, that are followed.
const VARIABLES_MAX: usize = 4096;
const VALUES_MAX: usize = 8;
/// Longest value of one (bytes).
const VALUE_BYTES_MAX: usize = 4096;
/// Longest path whose wildcards are looked at (bytes).
const PATTERN_BYTES_MAX: usize = 512;
/// How deep expansions stand in each other.
const DEPTH_MAX: usize = 4;
/// Longest `${…}` and `$(…)` that is looked into (bytes).
const INSIDE_BYTES_MAX: usize = 256;

/// What is in the environment of most containers. Letters are cut out of these: `${PATH:0:1}` is a slash.
const ENVIRONMENT: [(&str, &str); 6] = [
    ("0", "sh"),
    ("HOME", "/root"),
    ("IFS", " "),
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("PWD", "/"),
    ("SHELL", "/bin/sh"),
];

/// What wildcards are written for by those who hide it.
const SOUGHT: [&str; 12] = [
    "/etc/shadow",
    "/etc/gshadow",
    "/etc/sudoers",
    "/etc/kubernetes/admin.conf",
    "/proc/self/environ",
    "/root/.ssh/id_rsa",
    "/root/.ssh/id_ed25519",
    "/root/.kube/config",
    "/root/.aws/credentials",
    "/run/secrets/kubernetes.io/serviceaccount/token",
    "/var/run/secrets/kubernetes.io/serviceaccount/token",
    "/var/run/docker.sock",
];

/// A name and a value.
pub(super) type Variable<'v> = (Cow<'v, str>, Cow<'v, str>);

/// The line of these words, expanded: words stand apart by one blank. `variables` are what is in the environment besides.
pub(super) fn plain(words: &[Cow<'_, str>], variables: &[Variable<'_>]) -> String {
    let line = words.join(" ");
    let mut shell = Shell { variables: HashMap::new(), room: GROWTH_BYTES_MAX };
    for (name, value) in variables {
        shell.set(name, value);
    }
    for (number, word) in arguments(words).enumerate() {
        shell.set(&number.to_string(), word);
    }
    let mut text = String::with_capacity(line.len());
    shell.expand(&line, 0, &mut text);
    let mut all = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        shell.each_brace(word, DEPTH_MAX, &mut |word| {
            all.push_str(if all.is_empty() { "" } else { " " });
            let word = without_detours(word);
            all.push_str(&word);
            for path in sought(&word) {
                all.push(' ');
                all.push_str(path);
            }
        });
    }
    all
}

/// What `$0`, `$1`, … are in the script of `sh -c SCRIPT ZERO ONE …`.
fn arguments<'w>(words: &'w [Cow<'_, str>]) -> impl Iterator<Item = &'w str> {
    let is_script = |it: &&str| it.len() > 1 && it.starts_with('-') && it.ends_with('c');
    let mut words = words.iter().map(|it| &**it);
    // The words before the script, and itself.
    words.by_ref().find(is_script);
    words.skip(1).take(10)
}

struct Shell {
    variables: HashMap<Box<str>, Vec<Box<str>>>,
    /// How much more may be written, or looked at again, than was read.
    room: usize,
}

impl Shell {
    /// A value more: whether an assignment was reached is not known.
    fn set(&mut self, name: &str, value: &str) {
        if value.len() > VALUE_BYTES_MAX
            || self.variables.len() >= VARIABLES_MAX && !self.variables.contains_key(name)
        {
            return;
        }
        let values = self.variables.entry(name.into()).or_default();
        if !values.iter().any(|it| **it == *value) {
            if values.len() == VALUES_MAX {
                values.remove(0);
            }
            values.push(value.into());
        }
    }

    /// What a variable is: of several values, all, as braces.
    fn get(&self, name: &str) -> Option<Cow<'_, str>> {
        let Some(values) = self.variables.get(name) else {
            let known = ENVIRONMENT.iter().find(|it| it.0 == name);
            return known.map(|it| Cow::Borrowed(it.1));
        };
        let is_word = |it: &&str| !it.contains([' ', ',', '{', '}', '\t', '\n']);
        let words: Vec<&str> = values.iter().map(|it| &**it).filter(is_word).collect();
        match (words.as_slice(), values.last()) {
            ([], last) => last.map(|it| Cow::Borrowed(&**it)),
            ([one], _) => Some(Cow::Borrowed(one)),
            (words, _) => Some(Cow::Owned(format!("{{{}}}", words.join(",")))),
        }
    }

    fn write(&mut self, text: &str, to: &mut String) {
        if self.takes(text.len()) {
            to.push_str(text);
        }
    }

    /// Whether there is room for so much more. If not, there is none any more.
    fn takes(&mut self, bytes: usize) -> bool {
        let left = self.room.checked_sub(bytes);
        self.room = left.unwrap_or_default();
        left.is_some()
    }

    /// Writes `text` with its variables, escapes and small commands expanded, without quotes.
    fn expand(&mut self, text: &str, depth: usize, to: &mut String) {
        let mut rest = text;
        let mut is_start = true;
        while let Some(first) = rest.chars().next() {
            if is_start && depth == 0 {
                self.note(rest);
            }
            let after = rest.get(first.len_utf8()..).unwrap_or_default();
            is_start =
                matches!(first, ' ' | '\t' | '\n' | ';' | '&' | '|' | '(' | '{' | '\'' | '"');
            rest = match first {
                '\'' | '"' => after,
                '\\' => escape(after, to),
                '$' if depth < DEPTH_MAX && self.room > 0 => self.dollar(after, depth, to),
                '`' if depth < DEPTH_MAX => {
                    let inside = after.split_once('`').filter(|it| it.0.len() <= INSIDE_BYTES_MAX);
                    let said = inside.and_then(|(inside, rest)| Some((output(inside)?, rest)));
                    match said {
                        Some((said, rest)) => {
                            self.expand(said, depth + 1, to);
                            rest
                        }
                        None => after,
                    }
                }
                '`' => after,
                other => {
                    to.push(other);
                    after
                }
            };
        }
    }

    /// Takes note of variables that are set where `text` begins.
    fn note(&mut self, text: &str) {
        if let Some((name, is_more, value)) = assignment(text) {
            if !self.takes(value.len()) {
                return;
            }
            let before = self.variables.get(name).and_then(|it| it.last()).filter(|_| is_more);
            let mut expanded = before.map(|it| it.to_string()).unwrap_or_default();
            self.expand(value, 1, &mut expanded);
            self.set(name, &expanded);
        } else if let Some(list) = text.strip_prefix("for ") {
            let list = list.split([';', '\n']).next().unwrap_or_default();
            let mut words = list.split_whitespace();
            let (name, is_list) = (words.next(), words.next() == Some("in"));
            if let Some(name) = name.filter(|_| is_list) {
                self.set_each(words.take(VALUES_MAX).map(|it| (name.to_owned(), it)));
            }
        } else if let Some(list) = text.strip_prefix("set -- ") {
            let list = list.split([';', '\n', '&']).next().unwrap_or_default();
            let words = list.split_whitespace().take(VALUES_MAX).enumerate();
            self.set_each(words.map(|(place, it)| ((place + 1).to_string(), it)));
        }
    }

    fn set_each<'t>(&mut self, all: impl Iterator<Item = (String, &'t str)>) {
        for (name, value) in all {
            let mut expanded = String::new();
            self.expand(value, 1, &mut expanded);
            self.set(&name, &expanded);
        }
    }

    /// Writes what begins with a dollar, and gives back what stands behind it.
    fn dollar<'t>(&mut self, after: &'t str, depth: usize, to: &mut String) -> &'t str {
        let mut chars = after.chars();
        let rest = |bytes: usize| after.get(bytes..).unwrap_or_default();
        match chars.next() {
            Some('\'' | '"') => return rest(1),
            Some('@' | '*' | '!' | '-') => return rest(1),
            Some(digit @ '0'..='9') => {
                let value = self.get(digit.encode_utf8(&mut [0; 4])).map(Cow::into_owned);
                self.write(value.as_deref().unwrap_or_default(), to);
                return rest(1);
            }
            Some('{') => {
                if let Some((inside, behind)) = closed(rest(1), '{', '}') {
                    let value = self.parameter(inside, depth);
                    self.write(&value, to);
                    return behind;
                }
                self.takes(INSIDE_BYTES_MAX);
            }
            Some('(') => {
                if let Some((inside, behind)) = closed(rest(1), '(', ')') {
                    // In a pod, `$(NAME)` is a variable, which is put in before a shell reads the line.
                    let value = self.variables.get(inside).and_then(|it| it.last()).cloned();
                    let said = value.as_deref().filter(|it| self.takes(it.len()));
                    if let Some(said) = said.or_else(|| output(inside)) {
                        self.expand(said, depth + 1, to);
                        return behind;
                    }
                }
                self.takes(INSIDE_BYTES_MAX);
            }
            _ => {
                let name = name_of(after);
                if !name.is_empty() {
                    let value = self.get(name).map(Cow::into_owned);
                    self.write(value.as_deref().unwrap_or_default(), to);
                    return rest(name.len());
                }
            }
        }
        to.push('$');
        after
    }

    /// What `${…}` is.
    fn parameter(&mut self, inside: &str, depth: usize) -> String {
        let inside = inside.strip_prefix('#').unwrap_or(inside);
        let (is_indirect, inside) = match inside.strip_prefix('!') {
            Some(inside) => (true, inside),
            None => (false, inside),
        };
        let name = match inside.chars().next() {
            Some('@' | '*' | '0'..='9') => inside.get(..1).unwrap_or_default(),
            _ => name_of(inside),
        };
        let operation = inside.get(name.len()..).unwrap_or_default();
        let mut value = self.get(name).map(Cow::into_owned);
        if is_indirect {
            value = value.and_then(|it| self.get(&it).map(Cow::into_owned));
        }
        if name == "IFS" {
            return " ".to_owned();
        }
        let mut word = String::new();
        let operator = operation.strip_prefix(':').unwrap_or(operation);
        match operator.chars().next() {
            Some('-' | '=') => {
                if let Some(value) = value {
                    return value;
                }
                self.expand(operator.get(1..).unwrap_or_default(), depth + 1, &mut word);
                if operator.starts_with('=') {
                    self.set(name, &word);
                }
                word
            }
            Some('+') => {
                self.expand(operator.get(1..).unwrap_or_default(), depth + 1, &mut word);
                word
            }
            Some(_) if operation.starts_with(':') => slice(&value.unwrap_or_default(), operator),
            Some('/') => {
                let pattern = operator.trim_start_matches('/');
                let (from, by) = pattern.split_once('/').unwrap_or((pattern, ""));
                let value = value.unwrap_or_default();
                if from.is_empty() { value } else { value.replace(from, by) }
            }
            Some('#') => {
                let prefix = operator.trim_start_matches('#');
                let value = value.unwrap_or_default();
                value.strip_prefix(prefix).unwrap_or(&value).to_owned()
            }
            Some('%') => {
                let suffix = operator.trim_start_matches('%');
                let value = value.unwrap_or_default();
                // All from there on: `${PATH%%u*}` is a slash.
                match suffix.strip_suffix('*').filter(|it| !it.is_empty()) {
                    Some(start) => value.split(start).next().unwrap_or_default().to_owned(),
                    None => value.strip_suffix(suffix).unwrap_or(&value).to_owned(),
                }
            }
            _ => value.unwrap_or_default(),
        }
    }

    /// Calls `take` with each word that the braces of a word make.
    fn each_brace(&mut self, word: &str, depth: usize, take: &mut dyn FnMut(&str)) {
        if depth == 0 || self.room == 0 || !word.contains('{') {
            return take(word);
        }
        let Some((before, inside, after)) = brace(word) else {
            self.takes(INSIDE_BYTES_MAX);
            return take(word);
        };
        for part in alternatives(inside) {
            let made = format!("{before}{part}{after}");
            if !self.takes(made.len()) {
                return take(word);
            }
            // Braces side by side are expanded together; only those within each other are deeper.
            self.each_brace(&made, depth - usize::from(part.contains('{')), take);
        }
    }
}

/// The variable that is set where `text` begins, whether to more than it is, and to what.
fn assignment(text: &str) -> Option<(&str, bool, &str)> {
    let name = name_of(text);
    let rest = text.get(name.len()..).filter(|_| !name.is_empty())?;
    let more = rest.strip_prefix('+');
    let value = more.unwrap_or(rest).strip_prefix('=')?;
    let value = value.get(..VALUE_BYTES_MAX).unwrap_or(value);
    let end = match value.chars().next() {
        Some(quote @ ('"' | '\'')) => value.get(1..)?.find(quote).map(|it| it + 2),
        _ => value.find([' ', '\t', '\n', ';', '&', '|']),
    };
    Some((name, more.is_some(), value.get(..end.unwrap_or(value.len()))?))
}

/// The name that a text begins with.
fn name_of(text: &str) -> &str {
    let is_name = |it: char| it.is_ascii_alphanumeric() || it == '_';
    let end = text.find(|it| !is_name(it)).unwrap_or(text.len());
    let name = text.get(..end).unwrap_or_default();
    if name.starts_with(|it: char| it.is_ascii_digit()) { "" } else { name }
}

/// What stands up to the sign that closes, and what stands behind it.
fn closed(text: &str, open: char, close: char) -> Option<(&str, &str)> {
    let mut depth = 1;
    for (at, sign) in text.char_indices().take(INSIDE_BYTES_MAX) {
        if sign == open {
            depth += 1;
        } else if sign == close {
            depth -= 1;
            if depth == 0 {
                return Some((text.get(..at)?, text.get(at + 1..)?));
            }
        }
    }
    None
}

/// What a small command prints, where that is clear: nothing, or its words.
fn output(command: &str) -> Option<&str> {
    let command = command.trim();
    if matches!(command, "" | "true" | ":" | "echo" | "printf") {
        return Some("");
    }
    let said = command.strip_prefix("echo ").or_else(|| command.strip_prefix("printf "))?;
    let mut said = said.trim_start();
    while let Some(rest) =
        ["-n ", "-e ", "-ne ", "-en ", "-- ", "%s "].iter().find_map(|it| said.strip_prefix(it))
    {
        said = rest.trim_start();
    }
    (!said.contains(['|', ';', '&', '<', '>', '(', ')'])).then_some(said)
}

/// Writes what an escape is, and gives back what stands behind it.
fn escape<'t>(after: &'t str, to: &mut String) -> &'t str {
    let number = |from: usize, least: usize, most: usize, radix: u32| {
        let digits = after.get(from..)?;
        let count = digits.chars().take(most).take_while(|it| it.is_digit(radix)).count();
        let code =
            u32::from_str_radix(digits.get(..count).filter(|it| it.len() >= least)?, radix).ok()?;
        Some((char::from_u32(code).filter(|it| *it != '\0')?, digits.get(count..)?))
    };
    let found = match after.chars().next() {
        Some('x') => number(1, 1, 2, 16),
        Some('u') => number(1, 2, 4, 16),
        // A line that goes on.
        Some('\n') => return after.get(1..).unwrap_or_default(),
        _ => number(0, 2, 3, 8),
    };
    match found {
        Some((sign, rest)) => {
            to.push(sign);
            rest
        }
        None => {
            // A quote, or a dollar, that is itself is nothing here.
            let sign = after.chars().next().filter(|it| *it == '\\');
            after.get(sign.map_or(0, char::len_utf8)..).unwrap_or_default()
        }
    }
}

/// `OFFSET` or `OFFSET:LENGTH` of a value.
fn slice(value: &str, places: &str) -> String {
    let (offset, length) = places.split_once(':').unwrap_or((places, ""));
    let offset: usize = offset.trim().parse().unwrap_or_default();
    let length: usize = length.trim().parse().unwrap_or(usize::MAX);
    value.chars().skip(offset).take(length).collect()
}

/// The first braces of a word that stand for several words: what is before, within and behind them.
fn brace(word: &str) -> Option<(&str, &str, &str)> {
    word.match_indices('{').take(DEPTH_MAX * 2).find_map(|(at, _)| {
        let (inside, after) = closed(word.get(at + 1..)?, '{', '}')?;
        let is_list = inside.contains(',') || inside.contains("..");
        is_list.then_some((word.get(..at)?, inside, after))
    })
}

/// `a,b{c,d}` are `a` and `b{c,d}`; `a..c` are `a`, `b`, `c`.
fn alternatives(inside: &str) -> Vec<Cow<'_, str>> {
    if let Some((from, to)) = inside.split_once("..").filter(|_| !inside.contains(',')) {
        let (mut from, mut to) = (from.chars(), to.chars());
        if let (Some(from), None, Some(to), None) = (from.next(), from.next(), to.next(), to.next())
            && from.is_ascii()
            && to.is_ascii()
        {
            return (from.min(to)..=from.max(to)).map(|it| Cow::Owned(it.to_string())).collect();
        }
    }
    let (mut all, mut depth, mut start) = (Vec::new(), 0usize, 0);
    for (at, sign) in inside.char_indices() {
        match sign {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                all.extend(inside.get(start..at).map(Cow::Borrowed));
                start = at + 1;
            }
            _ => (),
        }
    }
    all.extend(inside.get(start..).map(Cow::Borrowed));
    all
}

/// What is sought and fits the wildcards of a word. A bare `*` hides nothing: who writes `/etc/*` means all of it.
fn sought(word: &str) -> Vec<&'static str> {
    let path = word.find('/').and_then(|at| word.get(at..)).unwrap_or_default();
    let path = path.split([';', '&', '|', ')', '<', '>']).next().unwrap_or_default();
    let hides = |name: &str| name.contains(['*', '?', '[']) && name != "*";
    if path.len() > PATTERN_BYTES_MAX || !path.split('/').any(hides) {
        return Vec::new();
    }
    let pattern = without_classes(path);
    let is_sought = |sought: &&str| {
        let mut names = pattern.split('/').skip(1);
        let mut wanted = sought.split('/').skip(1);
        let fit =
            wanted.all(|name| names.next().is_some_and(|it| fits(it.as_bytes(), name.as_bytes())));
        fit && names.next().is_none()
    };
    SOUGHT.into_iter().filter(is_sought).collect()
}

/// Whether a name fits a pattern with `*` and `?`.
fn fits(mut pattern: &[u8], mut name: &[u8]) -> bool {
    // What stands behind the last star, and what was left for it.
    let mut again: Option<(&[u8], &[u8])> = None;
    loop {
        match (pattern, name) {
            ([], []) => return true,
            ([b'*', rest @ ..], _) => {
                (pattern, again) = (rest, Some((rest, name)));
            }
            ([wanted, rest @ ..], [sign, behind @ ..]) if *wanted == b'?' || wanted == sign => {
                (pattern, name) = (rest, behind);
            }
            // The star takes one sign more.
            _ => match again {
                Some((rest, [_, behind @ ..])) => {
                    (pattern, name, again) = (rest, behind, Some((rest, behind)));
                }
                _ => return false,
            },
        }
    }
}

/// The pattern with `?` for `[…]`.
fn without_classes(pattern: &str) -> String {
    let (mut plain, mut rest) = (String::new(), pattern);
    while let Some((before, class)) = rest.split_once('[') {
        // What closes at once is one of its signs.
        let end = class.char_indices().skip(1).find(|it| it.1 == ']');
        let Some((end, _)) = end else { break };
        plain.push_str(before);
        plain.push('?');
        rest = class.get(end + 1..).unwrap_or_default();
    }
    plain + rest
}

/// A word in which `[x]` is `x`, and paths are straight. What stands before a path (`if=`, `@`) stays.
fn without_detours(word: &str) -> Cow<'_, str> {
    let word = bare_classes(word);
    if !(word.contains("//") || word.contains("/.")) || word.contains("://") {
        return word;
    }
    match word.split_at_checked(word.find('/').unwrap_or_default()) {
        Some((before, path)) => Cow::Owned(format!("{before}{}", straight(path))),
        None => word,
    }
}

/// `[x]` is `x`.
fn bare_classes(word: &str) -> Cow<'_, str> {
    if !word.contains('[') {
        return Cow::Borrowed(word);
    }
    let (mut plain, mut rest) = (String::with_capacity(word.len()), word);
    while let Some((before, class)) = rest.split_once('[') {
        plain.push_str(before);
        rest = match (class.get(..1), class.get(1..2)) {
            (Some(sign), Some("]")) => {
                plain.push_str(sign);
                class.get(2..).unwrap_or_default()
            }
            _ => {
                plain.push('[');
                class
            }
        };
    }
    Cow::Owned(plain + rest)
}

/// A path without detours: `//etc/`, `/etc/.` and `/var/../etc` are `/etc`.
pub(super) fn straight(path: &str) -> String {
    let mut names: Vec<&str> = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => (),
            ".." => {
                names.pop();
            }
            name => names.push(name),
        }
    }
    let root = if path.starts_with('/') { "/" } else { "" };
    format!("{root}{}", names.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(script: &str, expected: &str) {
        let words = ["sh", "-c", script].map(Cow::Borrowed);
        assert_eq!(plain(&words, &[]), format!("sh -c {expected}"), "{script}");
    }

    #[test]
    fn paths_without_detours() {
        for path in ["/etc", "/etc/", "//etc", "/var/../etc", "/./etc/."] {
            assert_eq!(straight(path), "/etc");
        }
        assert_eq!(straight("/"), "/");
        check("curl https://a.example//x", "curl https://a.example//x");
        check("dd if=//etc/./shadow", "dd if=/etc/shadow");
    }

    #[test]
    fn words_in_other_spellings() {
        for script in [
            r#"c""at${IFS}/e'tc'//shadow"#,
            "cat /e$@tc/sha\\\ndow$*",
            r"c\at /etc/sha\dow",
            "cat$IFS$9/etc/sha${x}dow",
            "cat /etc/sha$1dow",
            "cat /etc/sha${x:-d}ow",
            "cat /etc/$(echo shadow)",
            "cat /etc/`printf shadow`",
            "cat /etc/sha$()d$(true)ow",
            r"cat $'\57etc\x2fshadow'",
            r"cat $(printf '\x2fetc\057shadow')",
            "{cat,/etc/shadow}",
            "cat ${PATH:0:1}etc${HOME%root}shadow",
            "cat /etc/s{h..h}adow",
            "cat /etc/[s]hadow",
            "$'cat' $\"/etc/shadow\"",
        ] {
            check(script, "cat /etc/shadow");
        }
    }

    #[test]
    fn variables_have_all_their_values() {
        for script in [
            "a=/etc;cat $a/shadow",
            "a='/etc'; cat \"${a}/shadow\"",
            "export a=/etc && cat $a/shadow",
            "a=/et; a+=c; b=${a}; cat ${b}c/shadow $b/shadow",
            "a=/etc; false && a=/x; cat $a/shadow",
            "for d in /var /etc; do cat $d/shadow; done",
            "set -- /etc shadow; cat $1/$2",
            "b=a; a=/etc; cat ${!b}/shadow",
            "a=/eQtc; cat ${a/Q/}/shadow",
            "a=xx/etc; cat ${a#xx}/shadow ${a:2}/shadow",
            "a=/etc/shadow.x; cat ${a%.x}",
            "cat ${d:=/etc}/x $d/shadow",
        ] {
            let words = ["sh", "-c", script].map(Cow::Borrowed);
            assert!(plain(&words, &[]).contains("/etc/shadow"), "{script}: {}", plain(&words, &[]));
        }
        let words = ["sh", "-c", "cat $1/$2", "x", "/etc", "shadow"].map(Cow::Borrowed);
        assert!(plain(&words, &[]).contains("cat /etc/shadow"), "{}", plain(&words, &[]));
    }

    #[test]
    fn variables_of_a_pod() {
        let variables =
            [("A", "c''at /etc/$B"), ("B", "shadow")].map(|it| (it.0.into(), it.1.into()));
        for script in ["$(A)", "cat /etc/$B", "cat /etc/$(B)"] {
            let words = ["$0", "-c", script].map(Cow::Borrowed);
            assert_eq!(plain(&words, &variables), "sh -c cat /etc/shadow", "{script}");
        }
    }

    #[test]
    fn wildcards_that_hide_what_is_sought() {
        for (script, path) in [
            ("cat /etc/sh?dow", "/etc/shadow"),
            ("cat /e*/sha*", "/etc/shadow"),
            ("cat </???/??????", "/etc/shadow"),
            ("cat /etc/[r-t]hado[a-z]", "/etc/shadow"),
            ("cat /var/r*/s*/k*/s*/t*", "/var/run/secrets/kubernetes.io/serviceaccount/token"),
        ] {
            check(script, &format!("{script} {path}"));
        }
        for script in ["ls /etc/*", "ls /*/*", "cat /etc/nginx/*.conf", "ls /e*", "rm -r /tmp/x-*"]
        {
            check(script, script);
        }
    }

    #[test]
    fn what_nothing_is_hidden_in_stays() {
        for script in [
            "ls -la /app",
            "echo $((1+2)) $(date +%F)",
            "awk {print}",
            "x=",
            "${",
            "$(",
            "$",
            "é{",
            "a[bc]d[[",
            "{a",
        ] {
            check(script, script);
        }
        assert_eq!(plain(&[], &[]), "");
    }

    #[test]
    fn patterns() {
        for (pattern, name, expected) in [
            ("", "", true),
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*b*c", "abcbc", true),
            ("a*b?", "abab", false),
            ("?", "", false),
            ("**?*", "a", true),
            ("ab", "a", false),
        ] {
            assert_eq!(fits(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
        assert_eq!(without_classes("[]a]b[c-e]f[g"), "?b?f[g");
    }

    /// Each of these took seconds when it was looked at from its start again and again.
    #[test]
    fn long_lines_are_gone_through_once() {
        for part in
            ["[a]", "a=$a$a;", "`$(", "${", "{a,b}", "/*?*?*?", "'a='", "$a ", "/../a", "{{{{ "]
        {
            let script = part.repeat((2 << 20) / part.len());
            let words = ["sh", "-c", &script].map(Cow::Borrowed);
            assert!(plain(&words, &[]).len() <= script.len() + 4 * GROWTH_BYTES_MAX, "{part}");
        }
    }

    #[test]
    fn what_it_grows_to_has_a_bound() {
        let room = GROWTH_BYTES_MAX + 1024;
        let braces = "{a,b}".repeat(50);
        let doubled: String =
            (0..40).map(|it| format!("a{it}=$a{}$a{};", it - 1, it - 1)).collect();
        let nested = format!("a={}", "${a:-".repeat(1000));
        let stars = format!("cat /etc/{}x", "*?".repeat(400));
        for script in [&braces, &doubled, &nested, &stars, &"`$(".repeat(1000)] {
            let words = ["sh", "-c", script].map(Cow::Borrowed);
            assert!(plain(&words, &[]).len() < 3 * script.len() + room, "{script}");
        }
    }
}

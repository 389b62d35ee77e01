use std::{
    collections::HashSet,
    fs, io,
    io::Read,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::{
    Compiled, ConfigError, plan_rules,
    raw::{RawList, RawRules},
};
use crate::rules::{self, Lists, Node, Options, RuleError, RuleSet};

/// Largest rule file, and largest file of a list (bytes).
const RULE_BYTES_MAX: u64 = rules::limits::FILE_BYTES_MAX as u64;
/// Most bytes of all rule files.
const RULES_BYTES_MAX: usize = 64 << 20;
/// Most rule files.
const RULE_FILES_MAX: usize = 10_000;
/// Most names that are looked at in one of `rules.paths`: it is a folder of rules, not of everything.
const ENTRIES_MAX: usize = 100_000;
/// Most folders in each other.
const FOLDER_DEPTH_MAX: usize = 16;

/// Where rules are read, again and again.
#[derive(Clone, Debug)]
pub struct RuleSources {
    built_in: bool,
    paths: Vec<PathBuf>,
    lists: Vec<(String, RawList)>,
    /// The configuration file that names them.
    named_in: Option<PathBuf>,
}

/// Rule files as they were read.
#[derive(Debug)]
pub struct RuleTexts {
    /// Name and text of each.
    files: Vec<(String, String)>,
    /// Name and values of each list.
    lists: Vec<(String, Vec<String>)>,
    /// Files of a folder that could not be read, and why: told with what is wrong in the others.
    unreadable: Vec<RuleError>,
}

/// Tells whether rule files changed.
pub type RulesDigest = [u8; 32];

impl RuleSources {
    /// What a configuration names.
    #[must_use]
    pub fn new(raw: &RawRules) -> Self {
        let lists = raw.lists.iter().map(|(name, list)| (name.clone(), list.clone()));
        Self {
            built_in: raw.built_in,
            paths: raw.paths.clone(),
            lists: lists.collect(),
            named_in: raw.named_in.clone(),
        }
    }

    /// Whether there is anything that can change.
    #[must_use]
    pub fn has_files(&self) -> bool {
        !self.paths.is_empty() || self.lists.iter().any(|(_, it)| matches!(it, RawList::File(_)))
    }

    /// Reads all rule files, always in the same order.
    pub fn read(&self) -> Result<RuleTexts, ConfigError> {
        let (mut files, mut unreadable) = (Vec::new(), Vec::new());
        if self.built_in {
            let built_in = rules::BUILT_IN.iter();
            files.extend(built_in.map(|(name, text)| ((*name).to_owned(), (*text).to_owned())));
        }
        let mut bytes: usize = 0;
        for path in &self.paths {
            for file in Walk::files(path)? {
                let text = match read(&file) {
                    Ok(text) => text,
                    Err(source) if file == *path => {
                        return Err(failed(&file, self.placed("rules.paths", source)));
                    }
                    Err(error) => {
                        let (file, reason) = (file.display().to_string(), error.to_string());
                        unreadable.push(RuleError { file, line: 1, column: 1, reason });
                        continue;
                    }
                };
                bytes = bytes.saturating_add(text.len());
                if bytes > RULES_BYTES_MAX {
                    return Err(too_many(&file, "bytes of rule files", RULES_BYTES_MAX));
                }
                files.push((file.display().to_string(), text));
            }
        }
        Ok(RuleTexts { files, lists: self.read_lists()?, unreadable })
    }

    /// The lists by themselves.
    pub fn lists(&self) -> Result<Lists, ConfigError> {
        lists(&self.read_lists()?)
    }

    fn read_lists(&self) -> Result<Vec<(String, Vec<String>)>, ConfigError> {
        let mut lists = Vec::new();
        for (name, list) in &self.lists {
            let values = match list {
                RawList::Values(values) => {
                    let text = |it: &yaml_serde::Value| Node::from(it).scalar().map(str::to_owned);
                    let all: Option<Vec<String>> = values.iter().map(text).collect();
                    all.ok_or_else(|| list_error(name, "its values must be texts"))?
                }
                RawList::File(path) => {
                    let text = read(path)
                        .map_err(|source| failed(path, self.placed("rules.lists", source)))?;
                    let is_yaml = path.extension().is_some_and(|it| it == "yml" || it == "yaml");
                    Lists::read(&text, is_yaml)
                        .map_err(|error| failed(path, io::Error::other(error)))?
                }
            };
            lists.push((name.clone(), values));
        }
        Ok(lists)
    }

    /// Why a file cannot be read, with the place where it is named.
    fn placed(&self, option: &str, source: io::Error) -> io::Error {
        match &self.named_in {
            Some(file) if source.kind() == io::ErrorKind::NotFound => io::Error::other(format!(
                "{source}: {option} of {} names it, and what is relative there begins at the folder of that file",
                file.display()
            )),
            _ => source,
        }
    }
}

fn lists(named: &[(String, Vec<String>)]) -> Result<Lists, ConfigError> {
    Lists::new(named.iter().cloned()).map_err(|wrong| {
        let named = |it: String| format!("rules.lists: {it}");
        ConfigError::Options(wrong.into_iter().map(named).collect())
    })
}

fn list_error(name: &str, reason: &str) -> ConfigError {
    ConfigError::Options(vec![format!("rules.lists.{name}: {reason}")])
}

impl RuleTexts {
    /// Name and text of each file.
    #[must_use]
    pub fn files(&self) -> &[(String, String)] {
        &self.files
    }

    /// Leaves out the files with these names.
    pub fn leave_out(&mut self, names: &HashSet<String>) {
        self.files.retain(|(name, _)| !names.contains(name));
        self.unreadable.retain(|it| !names.contains(&it.file));
    }

    /// What they hold, and in which order.
    #[must_use]
    pub fn digest(&self) -> RulesDigest {
        let mut all = Sha256::new();
        for (name, text) in &self.files {
            all.update(Sha256::digest(name));
            all.update(Sha256::digest(text));
        }
        for it in &self.unreadable {
            all.update(Sha256::digest(it.to_string()));
        }
        for (name, values) in &self.lists {
            all.update(Sha256::digest(name));
            values.iter().for_each(|it| all.update(Sha256::digest(it)));
        }
        all.finalize().into()
    }

    /// What is in them, or all that is wrong with them.
    pub fn compile(&self) -> Result<Compiled, ConfigError> {
        plan_rules(self.assemble()?)
    }

    /// All that is in them, or all that is wrong with them.
    pub fn assemble(&self) -> Result<RuleSet, ConfigError> {
        let lists = lists(&self.lists)?;
        let set = rules::assemble(&self.files, &Options::default(), &lists);
        if self.unreadable.is_empty() {
            return set.map_err(ConfigError::Rules);
        }
        let unreadable = self.unreadable.iter().cloned();
        Err(ConfigError::Rules(unreadable.chain(set.err().unwrap_or_default()).collect()))
    }
}

fn failed(path: &Path, source: io::Error) -> ConfigError {
    ConfigError::Read { path: path.to_owned(), source }
}

fn too_many(path: &Path, what: &str, limit: usize) -> ConfigError {
    failed(path, io::Error::other(format!("there are more than {limit} {what}")))
}

fn read(path: &Path) -> io::Result<String> {
    // A pipe would be waited for.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("is no file"));
    }
    let mut text = String::new();
    fs::File::open(path)?.take(RULE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > RULE_BYTES_MAX {
        return Err(io::Error::other(format!("a rule file has at most {RULE_BYTES_MAX} bytes")));
    }
    Ok(text)
}

/// A way through a folder and all that are in it, by name.
///
/// Names that begin with a dot are left out: a ConfigMap's volume holds each file a second time in such
/// (Kubernetes 1.35, `pkg/volume/util/atomic_writer.go`), and what stands under its own name is a link there. So links
/// to files are followed, and those to folders as long as they stay in the folder that was named; each folder is
/// read once.
struct Walk {
    root: PathBuf,
    seen: HashSet<PathBuf>,
    entries: usize,
    files: Vec<PathBuf>,
}

impl Walk {
    /// The rule files at a path: itself, unless it is a folder.
    fn files(path: &Path) -> Result<Vec<PathBuf>, ConfigError> {
        if !path.is_dir() {
            return Ok(vec![path.to_owned()]);
        }
        let root = path.canonicalize().map_err(|source| failed(path, source))?;
        let mut walk = Self { root, seen: HashSet::new(), entries: 0, files: Vec::new() };
        walk.folder(path, 1)?;
        Ok(walk.files)
    }

    fn folder(&mut self, folder: &Path, depth: usize) -> Result<(), ConfigError> {
        let failed = |source| failed(folder, source);
        let real = folder.canonicalize().map_err(failed)?;
        if !real.starts_with(&self.root) {
            let reason =
                "is a link that leads elsewhere: name in rules.paths the folder that it leads to";
            return Err(failed(io::Error::other(reason)));
        }
        if !self.seen.insert(real) {
            return Ok(());
        }
        if depth > FOLDER_DEPTH_MAX {
            return Err(too_many(folder, "folders in each other", FOLDER_DEPTH_MAX));
        }
        let mut inside = Vec::new();
        for entry in fs::read_dir(folder).map_err(failed)? {
            self.entries += 1;
            if self.entries > ENTRIES_MAX {
                return Err(too_many(folder, "names in a folder of rules", ENTRIES_MAX));
            }
            let entry = entry.map_err(failed)?;
            if !entry.file_name().as_encoded_bytes().starts_with(b".") {
                inside.push(entry.path());
            }
        }
        inside.sort();
        for path in inside {
            if path.is_dir() {
                self.folder(&path, depth + 1)?;
            } else if path.extension().is_some_and(|it| it == "yml" || it == "yaml") {
                if self.files.len() == RULE_FILES_MAX {
                    return Err(too_many(folder, "rule files", RULE_FILES_MAX));
                }
                self.files.push(path);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            let path =
                std::env::temp_dir().join(format!("k8scop-rules-{:016x}", fastrand::u64(..)));
            fs::create_dir(&path).unwrap();
            Self(path)
        }

        fn put(&self, path: &str, text: &str) {
            let path = self.0.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn read(&self) -> Result<RuleTexts, ConfigError> {
            RuleSources {
                built_in: false,
                paths: vec![self.0.clone()],
                lists: Vec::new(),
                named_in: None,
            }
            .read()
        }

        fn texts(&self) -> String {
            let files = self.read().unwrap().files;
            files.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join(" ")
        }

        #[track_caller]
        fn fails(&self, reason: &str) {
            let error = self.read().and_then(|it| it.assemble()).unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains("k8scop-rules-"), "{error}");
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn folders_are_read_with_all_that_are_in_them_in_the_order_of_their_names() {
        let folder = Folder::new();
        for (path, text) in [
            ("b.yml", "3"),
            ("a/z.yaml", "2"),
            ("a/b/c.yml", "1"),
            ("c/x.yml", "4"),
            ("d.txt", "no"),
        ] {
            folder.put(path, text);
        }
        assert_eq!(folder.texts(), "1 2 3 4");
        let before = folder.read().unwrap().digest();
        assert_eq!(before, folder.read().unwrap().digest());
        fs::rename(folder.0.join("c/x.yml"), folder.0.join("c/y.yml")).unwrap();
        assert_ne!(before, folder.read().unwrap().digest(), "its name is in errors");
    }

    /// As Kubernetes mounts a ConfigMap: the files are in a hidden folder, and links lead to them through another.
    #[test]
    fn the_volume_of_a_config_map_is_read_once() {
        let folder = Folder::new();
        folder.put("..2026_11_22/a.yml", "1");
        folder.put("..2026_11_22/team/b.yml", "2");
        symlink("..2026_11_22", folder.0.join("..data")).unwrap();
        symlink("..data/a.yml", folder.0.join("a.yml")).unwrap();
        symlink("..data/team", folder.0.join("team")).unwrap();
        assert_eq!(folder.texts(), "1 2");
    }

    #[test]
    fn links_lead_neither_round_in_circles_nor_out() {
        let (folder, other) = (Folder::new(), Folder::new());
        folder.put("a/x.yml", "1");
        symlink("..", folder.0.join("a/up")).unwrap();
        symlink(folder.0.join("a"), folder.0.join("again")).unwrap();
        assert_eq!(folder.texts(), "1");
        other.put("y.yml", "2");
        symlink(other.0.join("y.yml"), folder.0.join("y.yml")).unwrap();
        assert_eq!(folder.texts(), "1 2", "a file is what it is");
        symlink(&other.0, folder.0.join("out")).unwrap();
        folder.fails("is a link that leads elsewhere");
    }

    #[test]
    fn limits() {
        let deep = Folder::new();
        deep.put(&format!("{}x.yml", "a/".repeat(FOLDER_DEPTH_MAX - 1)), "1");
        assert_eq!(deep.texts(), "1");
        deep.put(&format!("{}x.yml", "a/".repeat(FOLDER_DEPTH_MAX)), "2");
        deep.fails("more than 16 folders in each other");
        let large = Folder::new();
        large.put("x.yml", &"#".repeat(1 << 20));
        assert_eq!(large.texts().len(), 1 << 20);
        large.put("y.yml", &"#".repeat((1 << 20) + 1));
        large.fails("at most 1048576 bytes");
        let long = Folder::new();
        long.put("x.yml", &"#".repeat(1 << 20));
        for place in 1..64 {
            fs::hard_link(long.0.join("x.yml"), long.0.join(format!("{place}.yml"))).unwrap();
        }
        assert_eq!(long.read().unwrap().files.len(), 64);
        long.put("y.yml", "1");
        long.fails("more than 67108864 bytes");
        let many = Folder::new();
        for place in 0..RULE_FILES_MAX {
            fs::write(many.0.join(format!("{place}.yml")), "").unwrap();
        }
        assert_eq!(many.read().unwrap().files.len(), RULE_FILES_MAX);
        many.put("y.yml", "1");
        many.fails("more than 10000 rule files");
    }

    #[test]
    fn lists_come_from_values_and_files_and_are_read_again() {
        let folder = Folder::new();
        folder.put("people.txt", "# on call\nalice\n%robots%\n");
        folder.put("robots.yml", "- bot-1\n- 7\n");
        folder.put(
            "r.yml",
            "title: t\nid: i\nlevel: low\nlogsource: {product: kubernetes, service: audit}\n\
             detection: {a: {user.username|expand: ['%people%', '%more%']}, condition: a}",
        );
        let raw = |more: &str| -> RawRules {
            let path = folder.0.display();
            let text = format!(
                "{{built_in: false, paths: ['{path}/r.yml'], lists: {{people: {path}/people.txt, robots: {path}/robots.yml, more: {more}}}}}"
            );
            yaml_serde::from_str(&text).unwrap()
        };
        let sources = RuleSources::new(&raw("[bob, 403, true]"));
        let before = sources.read().unwrap();
        let rules = before.compile().unwrap();
        let patterns = &rules.rules[0].searches[0].alternatives[0][0].patterns;
        let shown: Vec<_> = patterns.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["alice", "bot-1", "7", "bob", "403", "true"]);
        folder.put("robots.yml", "- bot-2\n");
        assert_ne!(before.digest(), sources.read().unwrap().digest());
        let only_list: RawRules = yaml_serde::from_str("{lists: {a: b.txt}}").unwrap();
        assert!(RuleSources::new(&only_list).has_files());

        let compiled = |more: &str| {
            let read = RuleSources::new(&raw(more)).read();
            read.and_then(|it| it.compile()).unwrap_err().to_string()
        };
        assert!(compiled("['%more%']").contains("rules.lists: list `more` holds itself"));
        assert!(compiled("[[x]]").contains("rules.lists.more: its values must be texts"));
        assert!(compiled("/not/there").contains("/not/there: "));
        folder.put("robots.yml", "a: 1");
        assert!(compiled("[]").contains("robots.yml: 1:1: it must be a list of texts"));
    }

    #[test]
    fn what_is_no_file_is_not_waited_for() {
        let folder = Folder::new();
        let _listener = std::os::unix::net::UnixListener::bind(folder.0.join("x.yml")).unwrap();
        folder.fails("is no file");
        fs::remove_file(folder.0.join("x.yml")).unwrap();
        symlink("nowhere", folder.0.join("x.yml")).unwrap();
        folder.fails("No such file");
        // It does not hide what is wrong in the others.
        folder.put("bad.yml", "title: [");
        fs::write(folder.0.join("binary.yml"), [0xff, 0xfe]).unwrap();
        for reason in ["No such file", "bad.yml:1:", "valid UTF-8"] {
            folder.fails(reason);
        }
    }
}

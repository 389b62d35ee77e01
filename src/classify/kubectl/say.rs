//! What a row says: words, and where the rest of the words stands in the event.

use std::borrow::Cow;

use super::{Request, each, scalar, table};
use crate::json::{self, Kind};

/// Bytes of a word that comes from a body. (What comes from the path and the query is as long as a URI may be.)
const WORD_BYTES_MAX: usize = 256;
/// No more words come from a body once a label is as long as this; a `…` says so.
const LABEL_BYTES_MAX: usize = 2048;

/// One part of a command. Paths name keys of the body, with blanks between them.
pub(super) enum Say {
    /// As it stands.
    Words(&'static str),
    /// The resource.
    Resource,
    /// The object's name.
    Name,
    /// `--namespace NAMESPACE`, or `--all-namespaces` of what lives in one.
    Scope,
    /// `--selector`, `--field-selector`.
    Selectors,
    /// `--subresource SUBRESOURCE`.
    Subresource,
    /// Path and query as they were sent.
    Uri,
    /// A flag with the value of a query parameter.
    Query(&'static str, &'static str),
    /// The same, with a unit after it.
    Cut(&'static str, &'static str, &'static str),
    /// A flag, if a query parameter is true.
    Switch(&'static str, &'static str),
    /// A flag with each text at a path; without a flag the text alone.
    Body(&'static str, &'static str),
    /// The texts at a path, after these words.
    Fields(&'static str, &'static str),
    /// The members of the object at a path: `key=value`, `key-` for `null`. After a flag with commas between.
    Pairs(&'static str, &'static str),
    /// What runs in the container.
    Command,
    /// What needs a function.
    Special(fn(&Request<'_>, &mut Label<'_>)),
}

impl std::fmt::Debug for Say {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Words(words) => f.write_str(words),
            _ => f.write_str("…"),
        }
    }
}

/// The command that a row says.
pub(super) fn label(request: &Request<'_>, say: &[Say]) -> String {
    let mut label = Label::new(request);
    for part in say {
        label.say(part);
    }
    label.done()
}

/// A command as it grows.
pub(super) struct Label<'r> {
    request: &'r Request<'r>,
    out: String,
    /// What stands after `--` is no flag of kubectl's.
    has_ended: bool,
}

impl<'r> Label<'r> {
    pub(super) fn new(request: &'r Request<'r>) -> Self {
        Self { request, out: String::new(), has_ended: false }
    }

    /// The command, with the flags that every command has.
    pub(super) fn done(mut self) -> String {
        self.end();
        self.out
    }

    /// Words of ours.
    pub(super) fn words(&mut self, words: &str) {
        if !self.out.is_empty() {
            self.out.push(' ');
        }
        self.out.push_str(words);
    }

    /// A word of the event's, as a shell takes it.
    pub(super) fn word(&mut self, word: &str) {
        self.words("");
        quote(word, &mut self.out);
    }

    fn flag(&mut self, flag: &str, value: &str) {
        if !flag.is_empty() {
            self.words(flag);
        }
        self.word(value);
    }

    /// A word out of a body, if there is room.
    fn body_word(&mut self, word: &str) {
        self.body_flag("", word);
    }

    fn body_flag(&mut self, flag: &str, value: &str) {
        if self.out.len() < LABEL_BYTES_MAX {
            self.flag(flag, &shortened(value));
        } else if !self.out.ends_with(" …") {
            self.words("…");
        }
    }

    fn say(&mut self, part: &Say) {
        let request = self.request;
        match *part {
            Say::Words(words) => self.words(words),
            Say::Resource => self.resource(),
            Say::Name => {
                if let Some(name) = request.name() {
                    self.word(&name);
                }
            }
            Say::Scope => self.scope(),
            Say::Selectors => {
                for (flag, name) in
                    [("--selector", "labelSelector"), ("--field-selector", "fieldSelector")]
                {
                    if let Some(value) = request.query(name).filter(|it| !it.is_empty()) {
                        self.flag(flag, &value);
                    }
                }
            }
            Say::Subresource => self.flag("--subresource", request.sub),
            Say::Uri => self.word(request.event.request_uri.as_deref().unwrap_or_default()),
            Say::Query(flag, name) => {
                if let Some(value) = request.query(name) {
                    self.flag(flag, &value);
                }
            }
            Say::Cut(flag, name, unit) => {
                if let Some(value) = request.query(name) {
                    self.flag(flag, &format!("{value}{unit}"));
                }
            }
            Say::Switch(flag, name) => {
                if request.query(name).as_deref() == Some("true") {
                    self.words(flag);
                }
            }
            Say::Body(flag, path) => {
                for value in request.values(path).into_iter().filter_map(scalar) {
                    self.body_flag(flag, &value);
                }
            }
            Say::Fields(words, path) => {
                for (index, value) in
                    request.values(path).into_iter().filter_map(scalar).enumerate()
                {
                    if index == 0 {
                        self.end();
                        self.words(words);
                    }
                    self.body_word(&value);
                }
            }
            Say::Pairs(flag, path) => self.pairs(flag, path),
            Say::Command => {
                for (index, word) in request.event.query_values("command").enumerate() {
                    if index == 0 {
                        self.end();
                        self.words("--");
                    }
                    self.word(&word);
                }
            }
            Say::Special(special) => special(request, self),
        }
    }

    fn resource(&mut self) {
        let request = self.request;
        // As K8sCop has them.
        let name = match request.resource {
            "services" => "svc",
            "daemonsets" => "ds",
            other => other,
        };
        if request.is_custom() {
            self.word(&format!("{name}.{}", request.group));
        } else {
            self.word(name);
        }
    }

    fn scope(&mut self) {
        let request = self.request;
        // The API server logs namespaces as being in themselves.
        let is_namespace = request.resource == "namespaces" && request.group.is_empty();
        let many = matches!(request.verb, "list" | "watch" | "deletecollection");
        match request.event.object.namespace.as_deref().filter(|it| !it.is_empty()) {
            Some(namespace) if !is_namespace => self.flag("--namespace", namespace),
            None if many && !is_namespace && request.lives_in_namespace() => {
                self.words("--all-namespaces");
            }
            _ => (),
        }
    }

    fn pairs(&mut self, flag: &str, path: &str) {
        let mut pairs = Vec::new();
        each(self.request.body(), path, &mut |object| {
            for member in json::members(object) {
                let Some(key) = member.key() else { continue };
                match scalar(member.value) {
                    Some(value) => pairs.push(format!("{key}={value}")),
                    None if flag.is_empty() && json::kind(member.value) == Kind::Null => {
                        pairs.push(format!("{key}-"));
                    }
                    None => (),
                }
            }
        });
        if flag.is_empty() {
            for pair in pairs {
                self.body_word(&pair);
            }
        } else if !pairs.is_empty() {
            self.body_flag(flag, &pairs.join(","));
        }
    }

    /// The flags that every command has.
    fn end(&mut self) {
        if self.has_ended {
            return;
        }
        self.has_ended = true;
        let request = self.request;
        let deletes = request.verb.starts_with("delete");
        let is_dry = request.query("dryRun").as_deref() == Some("All")
            || (deletes && request.text("dryRun").as_deref() == Some("All"));
        if is_dry && !self.out.starts_with("diff ") {
            self.words("--dry-run=server");
        }
        self.impersonated();
    }

    fn impersonated(&mut self) {
        let event = self.request.event;
        let Some(user) = event.impersonated_user.as_deref() else { return };
        self.flag("--as", user);
        let Some(member) = event.members.iter().find(|it| it.is("impersonatedUser")) else {
            return;
        };
        let mut groups = Vec::new();
        each(member.value, "groups", &mut |it| groups.extend(json::string(it)));
        // The API server adds these (apiserver 1.35, `endpoints/filters/impersonation`).
        let account = user.starts_with("system:serviceaccount:");
        let added = |it: &str| {
            it == "system:authenticated"
                || (account
                    && (it == "system:serviceaccounts"
                        || it.starts_with("system:serviceaccounts:")))
        };
        for group in groups.iter().filter(|it| !added(it)) {
            self.body_flag("--as-group", group);
        }
        if let Some(uid) = json::get(member.value, "uid").and_then(json::string) {
            self.body_flag("--as-uid", &uid);
        }
    }
}

impl Request<'_> {
    fn lives_in_namespace(&self) -> bool {
        // Nobody knows of custom resources; the flag is right for both.
        self.is_custom() || table::NAMESPACED.contains(&self.resource)
    }
}

/// `POD:PATH` of a copy out of a container.
pub(super) fn copied_from(request: &Request<'_>, label: &mut Label<'_>) {
    copied(request, label, 3);
}

/// The same of a copy into one.
pub(super) fn copied_to(request: &Request<'_>, label: &mut Label<'_>) {
    copied(request, label, 4);
}

fn copied(request: &Request<'_>, label: &mut Label<'_>, place: usize) {
    let path = request.event.query_values("command").nth(place).unwrap_or_default();
    label.word(&format!("{}:{path}", request.name().unwrap_or_default()));
}

/// The node whose file system a pod of `kubectl debug` has.
pub(super) fn debugged_node(request: &Request<'_>, label: &mut Label<'_>) {
    let node = request.text("spec nodeName").unwrap_or_default();
    label.body_word(&format!("nodes/{node}"));
}

/// What is scaled by a horizontal pod autoscaler.
pub(super) fn scaled(request: &Request<'_>, label: &mut Label<'_>) {
    if let Some(kind) = request.text("spec scaleTargetRef kind") {
        label.body_word(&format!("{}s", kind.to_lowercase()));
    }
    if let Some(name) = request.text("spec scaleTargetRef name") {
        label.body_word(&name);
    }
}

/// What somebody asks whether he may.
pub(super) fn question(request: &Request<'_>, label: &mut Label<'_>) {
    let of = |name: &str| request.text(&format!("spec resourceAttributes {name}"));
    if let Some(path) = request.text("spec nonResourceAttributes path") {
        label.body_word(&request.text("spec nonResourceAttributes verb").unwrap_or_default());
        label.body_word(&path);
    } else if let (Some(verb), Some(resource)) = (of("verb"), of("resource")) {
        label.body_word(&verb);
        let mut what = resource.into_owned();
        let group = of("group").unwrap_or_default();
        if !table::GROUPS.contains(&&*group) {
            what += &format!(".{group}");
        }
        if let Some(name) = of("name") {
            what += &format!("/{name}");
        }
        label.body_word(&what);
        if let Some(sub) = of("subresource") {
            label.body_flag("--subresource", &sub);
        }
        match of("namespace") {
            Some(namespace) => label.body_flag("--namespace", &namespace),
            None if what == "*" || table::NAMESPACED.contains(&&*what) => {
                label.words("--all-namespaces");
            }
            None => (),
        }
    }
}

/// The cron job of which a job was made.
pub(super) fn from_cron_job(request: &Request<'_>, label: &mut Label<'_>) {
    let name = request.text("metadata ownerReferences name").unwrap_or_default();
    label.body_flag("--from", &format!("cronjob/{name}"));
}

/// What a role is for.
pub(super) fn rules(request: &Request<'_>, label: &mut Label<'_>) {
    let mut resources = Vec::new();
    let mut verbs = Vec::new();
    for (index, rule) in request.values("rules").into_iter().enumerate() {
        if index == 0 {
            each(rule, "verbs", &mut |it| verbs.extend(json::string(it)));
        }
        let mut groups = Vec::new();
        each(rule, "apiGroups", &mut |it| groups.extend(json::string(it)));
        each(rule, "resources", &mut |it| {
            let Some(resource) = json::string(it) else { return };
            for group in &groups {
                let dot = if group.is_empty() { "" } else { "." };
                resources.push(Cow::Owned(format!("{resource}{dot}{group}")));
            }
        });
    }
    label.body_flag("--verb", &verbs.join(","));
    label.body_flag("--resource", &resources.join(","));
}

/// Which role is bound, and to whom.
pub(super) fn bound(request: &Request<'_>, label: &mut Label<'_>) {
    let role = request.text("roleRef name").unwrap_or_default();
    let is_cluster = request.text("roleRef kind").as_deref() == Some("ClusterRole");
    label.body_flag(if is_cluster { "--clusterrole" } else { "--role" }, &role);
    for subject in request.values("subjects") {
        let of = |name: &str| json::get(subject, name).and_then(json::string).unwrap_or_default();
        match &*of("kind") {
            "User" => label.body_flag("--user", &of("name")),
            "Group" => label.body_flag("--group", &of("name")),
            _ => {
                label.body_flag("--serviceaccount", &format!("{}:{}", of("namespace"), of("name")))
            }
        }
    }
}

/// Kind, name and ports of a service.
pub(super) fn service(request: &Request<'_>, label: &mut Label<'_>) {
    label.body_word(&request.text("spec type").unwrap_or_default().to_lowercase());
    label.body_word(&request.name().unwrap_or_default());
    for port in request.values("spec ports") {
        let of = |name: &str| json::get(port, name).and_then(scalar).unwrap_or_default();
        label.body_flag("--tcp", &format!("{}:{}", of("port"), of("targetPort")));
    }
}

/// The variables that `set env` sets and removes.
pub(super) fn environment(request: &Request<'_>, label: &mut Label<'_>) {
    for variable in request.values("spec template spec containers env") {
        let of = |name: &str| json::get(variable, name).and_then(json::string);
        let name = of("name").unwrap_or_default();
        if of("$patch").as_deref() == Some("delete") {
            label.body_word(&format!("{name}-"));
        } else {
            label.body_word(&format!("{name}={}", of("value").unwrap_or_default()));
        }
    }
}

/// `CONTAINER=IMAGE` of each that `set image` changes.
pub(super) fn images(request: &Request<'_>, label: &mut Label<'_>) {
    for container in request.values("spec template spec containers") {
        let of = |name: &str| json::get(container, name).and_then(json::string);
        if let (Some(name), Some(image)) = (of("name"), of("image")) {
            label.body_word(&format!("{name}={image}"));
        }
    }
}

/// How an object is to go.
pub(super) fn how_deleted(request: &Request<'_>, label: &mut Label<'_>) {
    match request.text("propagationPolicy").as_deref() {
        Some("Orphan") => label.words("--cascade=orphan"),
        Some("Foreground") => label.words("--cascade=foreground"),
        _ => (),
    }
    if let Some(seconds) = request.text("gracePeriodSeconds") {
        label.body_flag("--grace-period", &seconds);
        if seconds == "0" {
            label.words("--force");
        }
    }
}

fn shortened(word: &str) -> Cow<'_, str> {
    if word.len() <= WORD_BYTES_MAX {
        return Cow::Borrowed(word);
    }
    let end = word.floor_char_boundary(WORD_BYTES_MAX);
    Cow::Owned(format!("{}…", word.get(..end).unwrap_or_default()))
}

/// A word as a shell takes it.
fn quote(word: &str, out: &mut String) {
    let plain = |it: char| it.is_ascii_alphanumeric() || "_@%+=:,./-".contains(it);
    if !word.is_empty() && word.chars().all(plain) {
        out.push_str(word);
        return;
    }
    out.push('\'');
    out.push_str(&word.replace('\'', r"'\''"));
    out.push('\'');
}

//! What a row asks of a request.

use super::{Request, each, scalar, table};
use crate::json::{self, Kind};

/// One test. Paths name keys of the body, with blanks between them.
#[derive(Debug)]
pub(super) enum When {
    /// kubectl sent it.
    Kubectl,
    /// Something else did.
    NotKubectl,
    /// A program that people type into sent it.
    Hand,
    /// `fieldManager` is `kubectl` and this.
    Manager(&'static str),
    /// `fieldManager` is anything else, or missing.
    NotManager(&'static str),
    /// `fieldManager` is any of kubectl's.
    AnyManager,
    /// There is no `fieldManager`.
    NoManager,
    /// The API group.
    Group(&'static str),
    /// The namespace.
    Namespace(&'static str),
    /// The API group does not come with Kubernetes.
    Custom,
    /// It is about one object.
    Named,
    /// A query parameter has this value.
    QueryIs(&'static str, &'static str),
    /// There is such a query parameter.
    HasQuery(&'static str),
    /// There is none.
    NoQuery(&'static str),
    /// It names labels or fields.
    HasSelector,
    /// The body has this path, if only with `null`.
    HasBody(&'static str),
    /// The body has this value there, or one of its values is this.
    BodyIs(&'static str, &'static str),
    /// The body has a text there that begins with this.
    BodyBegins(&'static str, &'static str),
    /// Nothing is in the body but names and these paths, or what begins like those that end with `*`; and, below
    /// the path that ends with a blank, a pod as plain as [`table::POD`]. Without a body nobody knows.
    Only(&'static [&'static str], &'static str),
    /// The same without a pod; and what is not known counts as nothing else.
    NothingBut(&'static [&'static str]),
    /// The event does not hold the body.
    NoBody,
    /// All rules of a role are for the same verbs.
    SameVerbs,
    /// The body is a JSON patch with this path in it.
    JsonPatch(&'static str),
    /// The command in the container is these words and one more, which is no option.
    Command(&'static [&'static str]),
}

/// What every object says of itself.
const NAMES: [&str; 4] = ["apiVersion", "kind", "metadata name", "metadata namespace"];
/// A plain object is not deeper.
const DEPTH_MAX: usize = 16;

impl When {
    pub(super) fn holds(&self, request: &Request<'_>) -> bool {
        let manager = request.manager.as_deref().and_then(|it| it.strip_prefix("kubectl"));
        match *self {
            Self::Kubectl => request.is_kubectl,
            Self::NotKubectl => !request.is_kubectl,
            Self::Hand => request.is_hand,
            Self::Manager(name) => manager == Some(name),
            Self::NotManager(name) => manager != Some(name),
            Self::AnyManager => manager.is_some(),
            Self::NoManager => request.manager.is_none(),
            Self::Group(name) => request.group == name,
            Self::Namespace(name) => request.event.object.namespace.as_deref() == Some(name),
            Self::Custom => request.is_custom(),
            Self::Named => request.event.object.name.is_some(),
            Self::QueryIs(name, value) => request.query(name).as_deref() == Some(value),
            Self::HasQuery(name) => request.query(name).is_some(),
            Self::NoQuery(name) => request.query(name).is_none(),
            Self::HasSelector => ["labelSelector", "fieldSelector"]
                .iter()
                .any(|it| request.query(it).is_some_and(|it| !it.is_empty())),
            Self::HasBody(path) => any(request.body(), path, |_| true),
            Self::BodyIs(path, value) => {
                any(request.body(), path, |it| scalar(it).as_deref() == Some(value))
            }
            Self::BodyBegins(path, start) => {
                any(request.body(), path, |it| scalar(it).is_some_and(|it| it.starts_with(start)))
            }
            Self::Only(paths, pod) => only(request, |path| {
                let in_pod = |rest: &str| !pod.is_empty() && table::POD.contains(&rest);
                listed(paths, path) || path.strip_prefix(pod).is_some_and(in_pod)
            }),
            Self::NothingBut(paths) => {
                has_no_body(request) || only(request, |path| listed(paths, path))
            }
            Self::NoBody => has_no_body(request),
            Self::SameVerbs => {
                let mut rules =
                    request.values("rules").into_iter().map(|it| json::get(it, "verbs"));
                let first = rules.next();
                first.is_some() && rules.all(|it| Some(it) == first)
            }
            Self::JsonPatch(path) => {
                json::kind(request.body()) == Kind::Array
                    && any(request.body(), "path", |it| scalar(it).as_deref() == Some(path))
            }
            Self::Command(words) => {
                let mut command = request.event.query_values("command");
                words.iter().all(|word| command.next().is_some_and(|it| it == *word))
                    && command.next().is_some_and(|it| !it.starts_with('-'))
                    && command.next().is_none()
            }
        }
    }
}

fn has_no_body(request: &Request<'_>) -> bool {
    json::kind(request.body()) == Kind::Null
}

fn listed(paths: &[&str], path: &str) -> bool {
    paths.iter().any(|it| it.strip_suffix('*').map_or(*it == path, |start| path.starts_with(start)))
}

fn any(body: &str, path: &str, test: impl Fn(&str) -> bool) -> bool {
    let mut found = false;
    each(body, path, &mut |it| found |= test(it));
    found
}

fn only(request: &Request<'_>, allowed: impl Fn(&str) -> bool) -> bool {
    let body = request.body();
    let allowed = |path: &str| NAMES.contains(&path) || allowed(path);
    // In a patch what is empty or `null` takes something away; in a new object it says nothing.
    let says_nothing = request.verb == "create";
    let empty = |path: &str| says_nothing || allowed(path);
    json::kind(body) == Kind::Object
        && leaves(body, &mut String::new(), DEPTH_MAX, &allowed, &empty)
}

/// Whether `allowed` takes the path of every value below, and `empty` that of what has none.
fn leaves(
    text: &str,
    path: &mut String,
    depth: usize,
    allowed: &dyn Fn(&str) -> bool,
    empty: &dyn Fn(&str) -> bool,
) -> bool {
    let Some(depth) = depth.checked_sub(1) else { return false };
    match json::kind(text) {
        Kind::Null => empty(path),
        Kind::Array if json::elements(text).next().is_none() => empty(path),
        Kind::Object if json::members(text).next().is_none() => empty(path),
        Kind::Array => json::elements(text).all(|it| leaves(it, path, depth, allowed, empty)),
        Kind::Object => json::members(text).all(|member| {
            let Some(key) = member.key() else { return false };
            let length = path.len();
            if length > 0 {
                path.push(' ');
            }
            path.push_str(&key);
            let fine = leaves(member.value, path, depth, allowed, empty);
            path.truncate(length);
            fine
        }),
        Kind::String | Kind::Number | Kind::Bool => allowed(path),
    }
}

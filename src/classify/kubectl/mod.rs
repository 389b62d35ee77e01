//! The `kubectl` command behind an event.
//!
//! What is said is a normal form, so that the same request is always told in the same words: resources in the
//! plural (`svc` and `ds` as K8sCop has them, `widgets.example.com` for custom ones), long flags, the namespace
//! always named, one command for each object. Where several commands send the same request it is the simplest
//! of them, but K8sCop's words win: a GET of one object is told as `describe`, that of a secret as `get secret
//! details`. Which of the two it was cannot be seen: kubectl says it in headers, which no event holds. A create
//! is `create -f`, unless its body holds nothing but what `kubectl create KIND` would write.
//!
//! [`table`] says which request is which command; here is what reads it.

mod person;
mod say;
mod table;
#[cfg(test)]
mod tests;
mod when;

use std::borrow::Cow;

use self::{say::Label, table::Row};
use crate::{
    event::AuditEvent,
    json::{self, Kind},
};

/// A request, and what most rows ask of it.
struct Request<'e> {
    event: &'e AuditEvent<'e>,
    verb: &'e str,
    /// Empty for paths that are no resource.
    resource: &'e str,
    sub: &'e str,
    /// Empty for the core group.
    group: &'e str,
    /// kubectl sent it, says the user agent.
    is_kubectl: bool,
    /// A program that people type into sent it.
    is_hand: bool,
    /// `fieldManager`, which kubectl fills with `kubectl-` and the name of its command since 1.18.
    manager: Option<Cow<'e, str>>,
}

/// The arguments of the `kubectl` command that a person would have typed for this event; `None` where no command
/// does this, or where no person did it: the control plane, nodes, controllers.
#[must_use]
pub fn kubectl(event: &AuditEvent<'_>) -> Option<String> {
    let verb = event.verb.as_deref()?;
    if !person::is_person(event) {
        return None;
    }
    let request = Request::new(event, verb);
    if request.resource.is_empty() {
        return path(&request);
    }
    let row = table::rows(verb).iter().find(|it| it.fits(&request))?;
    (!row.say.is_empty()).then(|| say::label(&request, row.say))
}

/// A path that is no resource, asked for by a program that people type into.
fn path(request: &Request<'_>) -> Option<String> {
    let path = request.event.path();
    if !request.is_hand || path.is_empty() {
        return None;
    }
    let command = match request.verb {
        "get" => "get --raw",
        "post" => "create --raw",
        "put" => "replace --raw",
        "delete" => "delete --raw",
        _ => return None,
    };
    let fits =
        |known: &str| if known.ends_with('/') { path.starts_with(known) } else { path == known };
    let known = table::PATHS.iter().find(|(known, _)| request.verb == "get" && fits(known));
    let mut label = Label::new(request);
    match known {
        Some((_, "")) => return None,
        Some((_, words)) => label.words(words),
        None => {
            label.words(command);
            label.word(request.event.request_uri.as_deref().unwrap_or_default());
        }
    }
    Some(label.done())
}

impl Row {
    fn fits(&self, request: &Request<'_>) -> bool {
        let sub = match self.sub {
            "*" => !request.sub.is_empty(),
            sub => sub == request.sub,
        };
        sub && (self.on.is_empty() || self.on.contains(&request.resource))
            && self.when.iter().all(|it| it.holds(request))
    }
}

impl<'e> Request<'e> {
    fn new(event: &'e AuditEvent<'e>, verb: &'e str) -> Self {
        let object = &event.object;
        let agent = event.user_agent.as_deref().unwrap_or_default();
        Self {
            event,
            verb,
            resource: object.resource.as_deref().unwrap_or_default(),
            sub: object.subresource.as_deref().unwrap_or_default(),
            group: object.api_group.as_deref().unwrap_or_default(),
            is_kubectl: person::is_kubectl(agent),
            is_hand: person::is_hand(agent),
            manager: event.query_values("fieldManager").next(),
        }
    }

    fn query(&self, name: &'e str) -> Option<Cow<'e, str>> {
        self.event.query_values(name).next()
    }

    fn body(&self) -> &'e str {
        self.event.request_object.unwrap_or_default()
    }

    /// The values at a path of keys in the body.
    fn values(&self, path: &str) -> Vec<&'e str> {
        let mut found = Vec::new();
        each(self.body(), path, &mut |it| found.push(it));
        found
    }

    /// The first text at a path of the body.
    fn text(&self, path: &str) -> Option<Cow<'e, str>> {
        let mut found = None;
        each(self.body(), path, &mut |it| {
            if found.is_none() {
                found = scalar(it);
            }
        });
        found
    }

    /// The object's name. A create has it in its body only, before it is admitted.
    fn name(&self) -> Option<Cow<'e, str>> {
        let named = self.event.object.name.as_deref().map(Cow::Borrowed);
        named.or_else(|| (self.verb == "create").then(|| self.text("metadata name")).flatten())
    }

    /// Whether it lives in a group that does not come with Kubernetes.
    fn is_custom(&self) -> bool {
        !table::GROUPS.contains(&self.group)
    }
}

/// Calls `take` with each value at a path of keys, which stand between blanks; goes into arrays, not into arrays
/// in arrays. Recursion ends with the path.
fn each<'b>(text: &'b str, path: &str, take: &mut dyn FnMut(&'b str)) {
    if json::kind(text) == Kind::Array {
        for element in json::elements(text).filter(|it| json::kind(it) != Kind::Array) {
            each(element, path, take);
        }
    } else if path.is_empty() {
        take(text);
    } else {
        let (key, rest) = path.split_once(' ').unwrap_or((path, ""));
        if let Some(value) = json::get(text, key) {
            each(value, rest, take);
        }
    }
}

/// A text, or a number or boolean as it is written.
fn scalar(value: &str) -> Option<Cow<'_, str>> {
    match json::kind(value) {
        Kind::String => json::string(value),
        Kind::Number | Kind::Bool => Some(Cow::Borrowed(value)),
        Kind::Object | Kind::Array | Kind::Null => None,
    }
}

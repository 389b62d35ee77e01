use super::{
    Component, Line,
    authenticator::{self, NAMES},
};
use crate::{
    json::{self, Kind, Member},
    unwrap::{
        ecs::cut,
        overlay::{Comma, Overlay},
    },
};

/// Puts what a line says into a document: all fields of the tables of [`super`] and [`authenticator`] but
/// `data_stream`, which is the caller's. A line without a time leaves `@timestamp` as it is.
pub(crate) fn fill(component: Component, line: &Line<'_>, overlay: &mut Overlay) {
    if let Some(at) = line.at {
        overlay.text(&["@timestamp"], &at.to_string());
    }
    overlay.text(&["message"], &line.message);
    overlay.text(&["event", "kind"], "event");
    overlay.text(&["event", "module"], "kubernetes");
    overlay.text(&["event", "dataset"], component.dataset());
    overlay.text(&["process", "name"], component.name());
    let error = if line.field("err").is_some() { "err" } else { "error" };
    let texts: [(&'static [&'static str], Option<&str>); 4] = [
        (&["log", "level"], line.level),
        (&["log", "origin", "file", "name"], line.file),
        (&["log", "logger"], line.field("logger")),
        (&["error", "message"], line.field(error)),
    ];
    for (path, text) in texts {
        if let Some(text) = text {
            overlay.text(path, text);
        }
    }
    if line.continuation {
        overlay.texts(&["log", "flags"], ["continuation"]);
    }
    let numbers: [(&'static [&'static str], Option<u64>); 2] = [
        (&["log", "origin", "file", "line"], line.line),
        (&["process", "thread", "id"], line.thread),
    ];
    for (path, number) in numbers {
        // Elasticsearch has no room for more in a `long`.
        if let Some(number) = number.filter(|it| i64::try_from(*it).is_ok()) {
            overlay.raw(path, &number.to_string());
        }
    }
    let authenticator = component == Component::Authenticator;
    let special = |name: &str| authenticator && NAMES.contains(&name);
    if authenticator {
        authentication(line, overlay);
        object(&["aws", "eks", "authenticator"], line, special, overlay);
    }
    let said = |name: &str| name == "logger" || name == error;
    object(&["k8scop", "fields"], line, |name| !special(name) && !said(name), overlay);
}

/// Objects that the index template has at the root. Elasticsearch refuses a document that has something else there.
const OBJECTS: [&str; 11] = [
    "aws",
    "data_stream",
    "error",
    "event",
    "k8scop",
    "log",
    "orchestrator",
    "process",
    "related",
    "source",
    "user",
];

/// Whether a root member of a shipper's document has to go for the document to be taken: old Filebeats write the
/// path of the file as `source`, other programs `log` or `error` as a text.
pub(crate) fn clashes(member: &Member<'_>) -> bool {
    let object = matches!(json::kind(member.value), Kind::Object | Kind::Null);
    !object && OBJECTS.iter().any(|name| member.is(name))
}

/// Writes the structured values that `wanted` chooses as one object of strings.
fn object(
    path: &'static [&'static str],
    line: &Line<'_>,
    wanted: impl Fn(&str) -> bool,
    overlay: &mut Overlay,
) {
    let mut fields = line.fields.iter().filter(|(name, _)| wanted(name)).peekable();
    if fields.peek().is_none() {
        return;
    }
    overlay.write(path, |out| {
        out.push('{');
        let mut comma = Comma(false);
        for (name, value) in fields {
            comma.put(out);
            json::push_string(out, name);
            out.push(':');
            json::push_string(out, value);
        }
        out.push('}');
    });
}

fn authentication(line: &Line<'_>, overlay: &mut Overlay) {
    let Some(said) = authenticator::authentication(line) else { return };
    overlay.texts(&["event", "category"], ["authentication"]);
    overlay.texts(&["event", "type"], [if said.outcome.is_some() { "start" } else { "info" }]);
    overlay.text(&["event", "action"], cut(&line.message));
    let texts: [(&'static [&'static str], Option<&str>); 4] = [
        (&["event", "outcome"], said.outcome),
        (&["user", "name"], said.user_name),
        (&["user", "id"], said.user_id.as_deref()),
        (&["source", "address"], said.address),
    ];
    for (path, text) in texts {
        if let Some(text) = text {
            overlay.text(path, cut(text));
        }
    }
    if !said.groups.is_empty() {
        overlay.texts(&["user", "roles"], said.groups.iter().map(|it| cut(it)));
    }
    let related: Vec<&str> = said.user_name.into_iter().chain(said.user_id.as_deref()).collect();
    if !related.is_empty() {
        overlay.texts(&["related", "user"], related.into_iter().map(cut));
    }
    if let Some(ip) = said.ip {
        let ip = ip.to_string();
        overlay.text(&["source", "ip"], &ip);
        overlay.texts(&["related", "ip"], [ip.as_str()]);
    }
    if let Some(port) = said.port {
        overlay.raw(&["source", "port"], &port.to_string());
    }
}

use super::{
    shape::Code,
    view::{View, expanded},
};
use crate::{
    event::AuditEvent,
    json::{self, Kind},
    rules::Field,
    unwrap,
};

/// Arrays directly in arrays that are gone into. Kubernetes objects have none; each level would be read again.
pub(super) const NESTED_ARRAYS_MAX: usize = 4;

/// One value that a field has.
pub(super) enum Found<'v> {
    /// A text; numbers and booleans as they are written.
    Text(&'v str),
    /// An object or an empty array: it is there, and no text compares with it.
    Other,
}

/// Calls `take` with the values of `field`, until it says that it has enough. Gives back whether it did.
/// A JSON `null` is no value.
pub(super) fn visit(
    view: &View<'_>,
    field: &Field,
    take: &mut dyn FnMut(Found<'_>) -> bool,
) -> bool {
    let event = view.event;
    let mut text = |it: Option<&str>| it.is_some_and(|it| take(Found::Text(it)));
    let mut texts = |all: &[String]| all.iter().any(|it| text(Some(it)));
    match field {
        Field::UriPath => view.paths().any(|it| text(Some(&it))),
        // The API server takes the first of several (apimachinery, `Convert_Slice_string_To_string`).
        Field::Query(name) => text(event.query_values(name).next().as_deref()),
        Field::Command => texts(view.commands()),
        Field::Script => texts(view.scripts()),
        Field::Kubectl => text(view.kubectl()),
        Field::PeerIp => text(event.peer_ip.as_deref()),
        Field::Actor => text(Some(view.actor())),
        Field::HostPath => texts(view.host_paths()),
        Field::Removed => view.removed(&mut |it| text(Some(it))),
        Field::Copied => view.copied(&mut |it| text(Some(it))),
        Field::Truncated => view.truncated().any(|it| text(Some(it))),
        Field::CsrCommonName => texts(&view.csr().common_names),
        Field::CsrOrganization => texts(&view.csr().organizations),
        Field::Outcome => text(Some(unwrap::outcome(event))),
        Field::Category => text(Some(unwrap::category(event))),
        Field::Type => unwrap::types(event).any(|it| text(Some(it))),
        Field::Object(path) => {
            view.objects().iter().any(|it| walk(it, path, NESTED_ARRAYS_MAX, take))
        }
        Field::Pod(path) => view.pods().iter().any(|it| walk(it, path, NESTED_ARRAYS_MAX, take)),
        Field::Container(path) => {
            view.containers().iter().any(|it| walk(it, path, NESTED_ARRAYS_MAX, take))
        }
        Field::Any => event.members.iter().any(|it| everything(it.value, take)),
        Field::Path(path) if path == "responseStatus.code" && event.code.is_some() => {
            text(event.code.map(Code::new).as_ref().map(Code::text))
        }
        Field::Path(path) => match typed(event, path) {
            // What is read already needs no second walk.
            Some(known) => text(Some(known)),
            None => event.members.iter().any(|it| {
                // Most members are others, which one letter tells.
                let (first, own) = (path.as_bytes().first(), it.raw_key.as_bytes().first());
                if own != first && own != Some(&b'\\') {
                    return false;
                }
                it.key().is_some_and(|key| {
                    below(path, &key).is_some_and(|rest| {
                        let is_body = matches!(key.as_ref(), "requestObject" | "responseObject");
                        match is_body && !rest.is_empty() {
                            true => expanded(it.value)
                                .iter()
                                .any(|it| walk(it, rest, NESTED_ARRAYS_MAX, take)),
                            false => walk(it.value, rest, NESTED_ARRAYS_MAX, take),
                        }
                    })
                })
            }),
        },
    }
}

/// A field that was read as the text that it should be. What is of another type is looked for as all other fields are.
pub(super) fn typed<'e>(event: &'e AuditEvent<'_>, path: &str) -> Option<&'e str> {
    match path {
        "verb" => event.verb.as_deref(),
        "stage" => event.stage.as_deref(),
        "requestURI" => event.request_uri.as_deref(),
        "userAgent" => event.user_agent.as_deref(),
        "user.username" => event.user_name.as_deref(),
        "objectRef.resource" => event.object.resource.as_deref(),
        "objectRef.subresource" => event.object.subresource.as_deref(),
        "objectRef.namespace" => event.object.namespace.as_deref(),
        "objectRef.name" => event.object.name.as_deref(),
        "objectRef.apiGroup" => event.object.api_group.as_deref(),
        _ => None,
    }
}

/// All texts, numbers and booleans of a value.
fn everything(value: &str, take: &mut dyn FnMut(Found<'_>) -> bool) -> bool {
    json::scalars(value).any(|it| match json::kind(it) {
        Kind::String => json::string(it).is_some_and(|it| take(Found::Text(&it))),
        _ => take(Found::Text(it)),
    })
}

/// What is left of `path` below `key`; `None` if it does not go through it. Keys may hold dots themselves, and
/// may have been written with `_` for `.` by an ingest pipeline. A `*` in the path is any key.
pub(super) fn below<'p>(path: &'p str, key: &str) -> Option<&'p str> {
    if let Some(rest) = path.strip_prefix('*') {
        return if rest.is_empty() { Some(rest) } else { rest.strip_prefix('.') };
    }
    let rest = path.get(key.len()..).filter(|_| !key.is_empty())?;
    let same = path
        .bytes()
        .zip(key.bytes())
        .all(|(path, key)| path == key || (path == b'.' && key == b'_'));
    if !same {
        return None;
    }
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('.') }
}

pub(super) fn walk(
    value: &str,
    path: &str,
    arrays_left: usize,
    take: &mut dyn FnMut(Found<'_>) -> bool,
) -> bool {
    match json::kind(value) {
        Kind::Object if path.is_empty() => take(Found::Other),
        Kind::Object => json::members(value).any(|it| {
            it.key().is_some_and(|key| {
                below(path, &key).is_some_and(|rest| walk(it.value, rest, NESTED_ARRAYS_MAX, take))
            })
        }),
        Kind::Array => {
            let mut elements = json::elements(value).peekable();
            if elements.peek().is_none() && path.is_empty() {
                return take(Found::Other);
            }
            arrays_left > 0 && elements.any(|it| walk(it, path, arrays_left - 1, take))
        }
        Kind::Null => false,
        _ if !path.is_empty() => false,
        Kind::String => match json::string(value) {
            Some(text) => take(Found::Text(&text)),
            None => take(Found::Other),
        },
        Kind::Number | Kind::Bool => take(Found::Text(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = r#"{"verb":"get","level":"Request","user":{"username":"a","extra":{"x.y/z":["1","2"]}},
        "annotations":{"authorization_k8s_io/decision":"allow"},"responseStatus":{"code":200},
        "requestObject":{"spec":{"containers":[{"image":"i1","privileged":true},{"image":"i2"}],"empty":[],"null":null}}}"#;

    #[track_caller]
    fn check(path: &str, expected: &[&str]) {
        let event = AuditEvent::new(EVENT, json::members(EVENT).collect());
        let mut values = Vec::new();
        visit(&View::new(&event), &Field::Path(path.into()), &mut |found| {
            values.push(match found {
                Found::Text(text) => text.to_owned(),
                Found::Other => "…".to_owned(),
            });
            false
        });
        assert_eq!(values, expected, "{path}");
    }

    #[test]
    fn paths() {
        check("verb", &["get"]);
        check("level", &["Request"]);
        check("user.username", &["a"]);
        check("user.extra.x.y/z", &["1", "2"]);
        check("annotations.authorization.k8s.io/decision", &["allow"]);
        check("responseStatus.code", &["200"]);
        check("requestObject.spec.containers.image", &["i1", "i2"]);
        check("requestObject.spec.containers.privileged", &["true"]);
        check("requestObject.spec.containers", &["…", "…"]);
        check("requestObject.spec.empty", &["…"]);
        check("requestObject.spec.null", &[]);
        check("requestObject.spec.containersx", &[]);
        check("requestObject.spec", &["…"]);
        check("verb.x", &[]);
        check("annotations.*", &["allow"]);
        check("requestObject.spec.*.image", &["i1", "i2"]);
        check("user.*", &["a", "…"]);
    }
}

//! Lists of the API server's audit webhook: `EventList` (Kubernetes 1.35, `staging/src/k8s.io/apiserver/pkg/apis/audit`).

use super::super::{
    peel::{Flow, Levels, Sink, Taken, Way, value_of},
    root::Root,
};
use crate::json::{self, Kind};

const KEYS: [&str; 4] = ["kind", "apiVersion", "metadata", "items"];

pub(in super::super) fn is_list(root: &Root<'_>) -> bool {
    let text = |it: Option<&str>, wanted: &dyn Fn(&str) -> bool| {
        it.and_then(json::string).is_some_and(|it| wanted(&it))
    };
    text(root.kind, &|it| it == "EventList")
        && text(root.api_version, &|it| it.starts_with("audit.k8s.io/"))
        && root.items.is_some_and(|it| json::kind(it) == Kind::Array)
}

/// Each event of the list. The API server leaves `kind` and `apiVersion` out of them.
pub(in super::super) fn each(
    text: &str,
    root: &Root<'_>,
    way: &Way<'_>,
    levels: &mut Levels<'_>,
    sink: &mut Sink<'_>,
) -> Flow {
    let items = root.items.unwrap_or("[]");
    if json::elements(items).next().is_none() {
        return way.other(text, sink);
    }
    let way = way.into(Taken::Keys(&KEYS)).split();
    json::elements(items).try_for_each(|it| value_of(it, &way, levels, sink))
}

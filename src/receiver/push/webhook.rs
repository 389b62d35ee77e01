use super::{
    super::respond::refusal,
    lines::{self, Lines, Tells},
};
use crate::{
    bulk::Refusal,
    json::{self, Kind},
    prepare::hashed,
};

/// Turns the body of an API server's audit webhook, an `EventList`, into a bulk body: one document for each event.
///
/// What apiserver 1.35 sends (`plugin/pkg/audit/webhook/webhook.go`): up to 400 events a request by default, in any
/// order, several requests at once, not compressed; the same list again, 5 times in all, whatever the error was.
/// What is no event is kept as well: a list is stored as a whole or not at all, so one odd item must not keep the
/// others from being stored. Nor must a byte: the body of a patch stands in its event as the client sent it
/// (`pkg/audit/request.go`, `LogRequestPatch`), and Go's JSON takes strings that are no UTF-8.
pub(super) fn translate(
    body: &[u8],
    cluster: Option<&str>,
    lines: &mut Lines,
) -> Result<(), Refusal> {
    let text = String::from_utf8_lossy(body);
    let list = lines::object_in(&text, "EventList")?;
    let value = |name| json::member(&list, name).unwrap_or("null");
    let text = |name| json::string(value(name)).unwrap_or_default();
    if text("kind") != "EventList" || !text("apiVersion").starts_with("audit.k8s.io/") {
        let reason = "the body is no EventList of audit.k8s.io: this is for the audit webhook of an API server";
        return Err(refusal(400, "illegal_argument_exception", reason.into()));
    }
    let items = value("items");
    if !matches!(json::kind(items), Kind::Array | Kind::Null) {
        let reason = "items of the EventList is no list".into();
        return Err(refusal(400, "illegal_argument_exception", reason));
    }
    for item in json::elements(items) {
        match (json::kind(item), event(item)) {
            (_, Some(tells)) => lines.event(item, tells, value("apiVersion"), cluster)?,
            (Kind::Object, None) => lines.object(Some(&id(item, cluster)), item, cluster)?,
            _ => lines.message(Some(&id(item, cluster)), item, cluster)?,
        }
    }
    Ok(())
}

/// The `_id` of what is no event: nothing in a list names it, and a list comes again until all of it is stored.
fn id(item: &str, cluster: Option<&str>) -> String {
    hashed(&["webhook", cluster.unwrap_or_default(), item])
}

/// What an audit event says of itself, if the item is one. In a list it need not say so.
fn event(item: &str) -> Option<Tells> {
    let (mut tells, mut has_id) = (Tells::default(), false);
    for member in json::members(item) {
        has_id |= member.is("auditID") || member.is("stage");
        tells.version |= member.is("apiVersion");
        tells.orchestrator |= member.is("orchestrator");
        if member.is("kind") {
            tells.kind = true;
            json::string(member.value).filter(|it| it == "Event")?;
        }
    }
    has_id.then_some(tells)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::lines::tests::lines, *};

    fn translated(body: &str, cluster: Option<&str>) -> Result<Vec<String>, Refusal> {
        let mut lines = lines();
        translate(body.as_bytes(), cluster, &mut lines)?;
        Ok(lines.end().0.lines().map(str::to_owned).collect())
    }

    fn list(items: &str) -> String {
        format!(
            r#"{{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{{}},"items":{items}}}"#
        )
    }

    #[track_caller]
    fn check(item: &str, cluster: Option<&str>, expected: &str) {
        let lines = translated(&list(&format!("[{item}]")), cluster).unwrap();
        let [action, document] = lines.as_slice() else { panic!("{lines:?}") };
        let is_event = item.contains("auditID") || item.contains("Panic");
        assert_eq!((action == r#"{"create":{}}"#, document.as_str()), (is_event, expected));
    }

    #[test]
    fn items() {
        let full = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1beta1","auditID":"a"}"#;
        check(full, None, full);
        check(
            r#"{"level":"Metadata","auditID":"a"}"#,
            Some("c"),
            concat!(
                r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"a","#,
                r#""orchestrator":{"cluster":{"name":"c"}}}"#
            ),
        );
        // Whoever wrote it does not choose the cluster.
        check(
            r#"{"kind":"Event","apiVersion":"x","orchestrator":{"cluster":{"name":"b"}}, "stage":"Panic","\u006frchestrator":1}"#,
            Some("c"),
            r#"{"kind":"Event","apiVersion":"x","stage":"Panic","orchestrator":{"cluster":{"name":"c"}}}"#,
        );
        check(
            r#"{"kind":"Event","apiVersion":"x","orchestrator":1,"stage":"Panic"}"#,
            None,
            r#"{"kind":"Event","apiVersion":"x","stage":"Panic"}"#,
        );
        check("{\"kind\":\"Pod\",\n\"stage\":1}", None, r#"{"kind":"Pod", "stage":1}"#);
        check("\"x\"", Some("c"), r#"{"message":"\"x\"","orchestrator":{"cluster":{"name":"c"}}}"#);
        check("7", None, r#"{"message":"7"}"#);
    }

    /// A client chooses the bytes of a patch, and must not lose the events of others.
    #[test]
    fn bytes_that_are_no_utf8() {
        let list = list(r#"[{"auditID":"a","requestObject":{"x":"@"}},{"auditID":"b"}]"#);
        let (before, after) = list.split_once('@').unwrap();
        let body = [before.as_bytes(), b"\xff\xc3", after.as_bytes()].concat();
        let mut lines = lines();
        translate(&body, None, &mut lines).unwrap();
        let out = lines.end().0;
        assert_eq!(out.lines().count(), 4);
        assert!(out.contains("{\"x\":\"\u{fffd}\u{fffd}\"}"), "{out}");
    }

    #[test]
    fn lists() {
        for empty in [
            list("[]"),
            list("null"),
            r#"{"kind":"EventList","apiVersion":"audit.k8s.io/v1"}"#.into(),
        ] {
            assert_eq!(translated(&empty, None), Ok(Vec::new()), "{empty}");
        }
        assert_eq!(
            translated(&list(r#"[{"auditID":"a"},{"auditID":"b"}]"#), None).unwrap().len(),
            4
        );
        for wrong in [
            "",
            "{",
            "[]",
            "{}",
            "\u{0}",
            r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","auditID":"a"}"#,
            r#"{"kind":"EventList","apiVersion":"v1","items":[]}"#,
            &list("{}"),
            &list("1"),
            &format!("{}x", list("[]")),
        ] {
            assert_eq!(translated(wrong, None).unwrap_err().status, 400, "{wrong}");
        }
        let mut lines = lines();
        assert_eq!(translate(b"{\"kind\":\"\xff\"", None, &mut lines).unwrap_err().status, 400);
        let many = list(&format!("[{}1]", "1,".repeat(100)));
        assert_eq!(translated(&many, None).unwrap_err().status, 413);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_bytes(body in any::<Vec<u8>>()) {
            let mut lines = lines();
            prop_assert!(translate(&body, Some("c"), &mut lines).is_err());
        }

        /// Every item is one document on one line, whatever it is.
        #[test]
        fn any_items(items in prop::collection::vec("\\{?[\"\\\\a-z0-9:,{}\\[\\] \n]{0,12}\\}?", 0..8)) {
            let good: Vec<_> = items.into_iter().filter(|it| json::check(it, 100).is_ok()).collect();
            let lines = translated(&list(&format!("[{}]", good.join(","))), Some("c")).unwrap();
            prop_assert_eq!(lines.len(), 2 * good.len());
            for line in lines {
                prop_assert_eq!(json::check(&line, 100), Ok(Kind::Object), "{}", line);
            }
        }
    }
}

use proptest::{collection::vec, prelude::*, sample::select, test_runner::Config};
use serde_json::{Map, Value};

use super::*;
use crate::json::Member;

/// Keys in the order of the API server.
const EVENT: &str = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"RequestResponse","auditID":"a-1","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/shop/pods/db-0/exec?command=sh\u0026container=db","verb":"create","user":{"username":"system:serviceaccount:shop:till","uid":"u-9","groups":["system:serviceaccounts","system:authenticated"],"extra":{"authentication.kubernetes.io/pod-name":["till-1"]}},"impersonatedUser":{"username":"root"},"sourceIPs":["10.0.0.1","192.0.2.7"],"userAgent":"kubectl/v1.35.0 \ud83d\ude00","objectRef":{"resource":"pods","namespace":"shop","name":"db-0","apiVersion":"v1","subresource":"exec"},"responseStatus":{"metadata":{},"status":"Failure","message":"pods \"db-0\" is forbidden: é","reason":"Forbidden","code":403},"requestObject":{"kind":"Pod","metadata":{"labels":{"app":"till"},"managedFields":[{"manager":"kubectl"}]},"spec":{"hostPID":true,"containers":[{"name":"c","image":"192.0.2.7/x:1"},{"name":"d","args":["-n",12,null,1.5e3]}]}},"responseObject":{"kind":"Status","code":403},"requestReceivedTimestamp":"2026-03-01T10:00:00.123456Z","stageTimestamp":"2026-03-01T10:00:02.000001Z","annotations":{"authorization.k8s.io/decision":"forbid","authorization.k8s.io/reason":""}}"#;
const HEAD: &str = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","auditID":"a""#;

fn salvaged(text: &str) -> Option<String> {
    let mut out = String::from("before");
    let done = salvage(text, &mut out);
    let text = out.strip_prefix("before").unwrap().to_owned();
    assert_eq!(done, !text.is_empty());
    done.then_some(text)
}

/// What stands behind [`HEAD`] before the cut, and what of it stays.
#[track_caller]
fn check(rest: &str, expected: &str) {
    let out = salvaged(&format!("{HEAD}{rest}")).expect(rest);
    assert_eq!(out, format!("{HEAD}{expected}}}"), "{rest}");
    assert!(json::check(&out, 100).is_ok(), "{out}");
}

#[test]
fn whole_members_stay() {
    check("", "");
    check(",", "");
    check(r#","verb"#, "");
    check(r#","verb":"#, "");
    check(r#","verb":"get""#, r#","verb":"get""#);
    check(r#","user":{"#, "");
    check(r#","user":{"username":"alice"#, "");
    check(r#","user":{"username":"alice","uid":"u"#, r#","user":{"username":"alice"}"#);
    check(r#","user":{"groups":["a","b"#, r#","user":{"groups":["a"]}"#);
    check(r#","user":{},"x"#, r#","user":{}"#);
    check(r#","code":20"#, "");
    check(r#","code":200,"#, r#","code":200"#);
    check(r#","a":tru"#, "");
    check(r#","a":true"#, r#","a":true"#);
    check(r#", "a" : null , "b" :"#, r#", "a" : null"#);
    check("\r\n,\n\"a\": [1,\n[ ],", "  , \"a\": [1, [ ]]");
}

#[test]
fn names_and_times_are_not_halved() {
    for key in ["verb", "stage", "auditID", "level", "requestReceivedTimestamp", "sourceIPs"] {
        check(&format!(r#","{key}":"half"#), "");
    }
    check(r#","impersonatedUser":{"uid":"u","username":"ro"#, r#","impersonatedUser":{"uid":"u"}"#);
    check(r#","annotations":{"authorization.k8s.io/decision":"allo"#, "");
    check(
        r#","responseStatus":{"status":"Failure","reason":"Forb"#,
        r#","responseStatus":{"status":"Failure"}"#,
    );
    check(r#","responseStatus":{"details":{"message":"half"#, "");
}

#[test]
fn what_misleads_when_something_is_missing_is_whole_or_gone() {
    check(r#","sourceIPs":["10.0.0.1","#, "");
    check(r#","sourceIPs":["10.0.0.1"],"#, r#","sourceIPs":["10.0.0.1"]"#);
    check(r#","objectRef":{"resource":"pods","name":"db-0""#, "");
    check(r#","objectRef":{"resource":"pods","x":{"y":[1],"#, "");
    check(r#","objectR\u0065f":{"resource":"pods","name":"#, "");
    check(r#","objectRef":{"resource":"pods"},"#, r#","objectRef":{"resource":"pods"}"#);
}

#[test]
fn half_a_string_is_marked_where_it_is_of_use() {
    for key in ["requestURI", "userAgent", "requestObject", r"request\u0055RI"] {
        check(&format!(r#","{key}":"/api/v1/x"#), &format!(r#","{key}":"/api/v1/x…""#));
    }
    check(r#","requestURI":["half"#, "");
    check(r#","responseStatus":{"message":"no"#, r#","responseStatus":{"message":"no…"}"#);
    check(r#","requestObject":[{"op":"a"#, r#","requestObject":[{"op":"a…"}]"#);
    check(
        r#","responseObject":{"data":{"a":"b","c":["d"]},"e":["x"#,
        r#","responseObject":{"data":{"a":"b","c":["d"]},"e":["x…"]}"#,
    );
    check(r#","responseObject":{"data":{"half key"#, "");
    check(r#","requestURI":""#, "");
}

#[test]
fn half_a_string_ends_at_a_character() {
    for (half, kept) in [
        (r"a\", "a…"),
        (r"a\u", "a…"),
        (r"a\u00e", "a…"),
        (r"a\u00e9", r"a\u00e9…"),
        (r"a\ud83d", "a…"),
        (r"a\ud83d\", "a…"),
        (r"a\ud83d\ude0", "a…"),
        (r"a\ud83d\ude00", r"a\ud83d\ude00…"),
        (r"a\\ud83d", r"a\\ud83d…"),
        ("a\u{fffd}", "a…"),
        ("a é😀 ", "a é😀 …"),
    ] {
        check(&format!(r#","userAgent":"{half}"#), &format!(r#","userAgent":"{kept}""#));
        for end in [MARKER, "\n", "\r\n[Truncated...]\n"] {
            check(&format!(r#","userAgent":"{half}{end}"#), &format!(r#","userAgent":"{kept}""#));
        }
    }
    for nothing in [r"\", r"\ud83d", "\u{fffd}"] {
        check(&format!(r#","userAgent":"{nothing}"#), "");
    }
}

#[test]
fn what_is_not_salvaged() {
    for text in [
        "",
        "{",
        "[Truncated...]",
        EVENT,
        &format!("{EVENT} {{"),
        &EVENT.replace("audit.k8s.io/v1", "v1"),
        r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1"#,
        r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","audit"#,
        r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","auditID":"a"#,
        r#"{"kind":"Event","apiVersion":"events.k8s.io/v1","auditID":"a","#,
        r#"{"kind":"EventList","apiVersion":"audit.k8s.io/v1","auditID":"a","#,
        r#"{"spec":{"kind":"Event","apiVersion":"audit.k8s.io/v1","auditID":"a","#,
        r#"[{"kind":"Event","apiVersion":"audit.k8s.io/v1","auditID":"a","#,
        r#"I0301 10:00:00.000001 1 x.go:1] {"kind":"Event","apiVersion":"audit.k8s.io/v1","verb":"a","#,
        &format!("{HEAD} no JSON"),
        &format!("{HEAD},}}"),
        &format!("{HEAD},\"a\":01,"),
        &format!("{HEAD},\"a\":[}}"),
        &format!("{HEAD},\"a\":\"line\nend"),
        &format!("{HEAD},\"a\":\"\\x"),
    ] {
        assert_eq!(salvaged(text), None, "{text}");
    }
    // It says that it was cut, and nothing is missing.
    assert_eq!(salvaged(&format!("{EVENT}{MARKER}")).as_deref(), Some(EVENT));
}

#[test]
fn the_first_part_of_a_split_event_is_open() {
    for open in [HEAD, r#" {"apiVersion":"audit.k8s.io/v1","kind":"Event","#, EVENT.split_at(700).0]
    {
        assert!((end(open) == End::Open), "{open}");
    }
    let (second, marked) = (EVENT.split_at(700).1, format!("{HEAD}{MARKER}"));
    for other in [EVENT, second, &marked, "{", "", r#"{"kind":"Event","apiVersion":"v1","#] {
        assert!(end(other) != End::Open, "{other}");
    }
}

#[test]
fn depth_costs_no_stack() {
    for depth in [1000, DEPTH_MAX + 5] {
        let deep = format!("{HEAD},\"requestObject\":{}1,", "[".repeat(depth));
        let out = salvaged(&deep).unwrap();
        assert!(json::check(&out, DEPTH_MAX).is_ok());
        assert!(out.starts_with(HEAD));
    }
    let kept = salvaged(&format!("{HEAD},\"requestObject\":{}1,", "[".repeat(1000))).unwrap();
    assert_eq!(
        kept,
        format!("{HEAD},\"requestObject\":{}1{}}}", "[".repeat(1000), "]".repeat(1000))
    );
}

/// A cut value says nothing that the whole does not say. `may_be_half`: whether a string may end in `…`.
fn agrees(cut: &Value, whole: &Value, may_be_half: bool) -> bool {
    match (cut, whole) {
        (Value::Object(cut), Value::Object(whole)) => cut
            .iter()
            .all(|(key, value)| whole.get(key).is_some_and(|it| agrees(value, it, may_be_half))),
        (Value::Array(cut), Value::Array(whole)) => {
            cut.len() <= whole.len()
                && cut.iter().zip(whole).all(|(a, b)| agrees(a, b, may_be_half))
        }
        (Value::String(cut), Value::String(whole)) if cut != whole => {
            may_be_half && cut.strip_suffix(CUT).is_some_and(|it| whole.starts_with(it))
        }
        _ => cut == whole,
    }
}

/// Cuts `text`, a whole event, at byte `at`.
fn check_cut(text: &str, at: usize) {
    let whole: Value = serde_json::from_str(text).unwrap();
    let before = text.split_at(at).0;
    let is_whole = |it: &Member<'_>| {
        let end = it.value.as_ptr() as usize + it.value.len() - text.as_ptr() as usize;
        // A number at the cut may lack digits.
        end < at || (end == at && json::kind(it.value) != json::Kind::Number)
    };
    let members: Vec<_> = json::members(text).collect();
    let has = |names: &[&str]| {
        members.iter().filter(|it| is_whole(it)).any(|it| names.iter().any(|name| it.is(name)))
    };
    let is_event = has(&["kind"]) && has(&["apiVersion"]);
    assert_eq!(end(before) == End::Open, is_event, "{before}");
    let Some(out) = salvaged(before) else {
        assert!(!(is_event && has(&["auditID", "stage", "verb"])), "{before}");
        return;
    };
    assert!(is_event, "{before}");
    assert!(json::check(&out, 100).is_ok() && !out.contains('\n'), "{out}");
    let cut: Value = serde_json::from_str(&out).unwrap();
    for (place, member) in json::members(&out).enumerate() {
        // Every whole member is there, and nothing but the last is not whole.
        let original = members[place];
        assert_eq!(member.raw_key, original.raw_key, "{before}");
        if is_whole(&original) {
            assert_eq!(member.value, original.value, "{before}");
        }
        let key = member.key().unwrap();
        let half =
            matches!(key.as_ref(), "requestURI" | "userAgent" | "requestObject" | "responseObject");
        let (value, all) = (&cut[key.as_ref()], &whole[key.as_ref()]);
        let mut rest = value.clone();
        if key == "responseStatus" && value.get("message").is_some_and(|it| *it != all["message"]) {
            assert!(agrees(&value["message"], &all["message"], true), "{before}");
            rest.as_object_mut().unwrap().remove("message");
        }
        assert!(agrees(&rest, all, half), "{before}\n{out}");
        if matches!(key.as_ref(), "sourceIPs" | "objectRef") {
            assert_eq!(value, all, "{before}");
        }
    }
    let kept = json::members(&out).count();
    assert!(kept >= members.iter().filter(|it| is_whole(it)).count(), "{before}\n{out}");
}

#[test]
fn an_event_cut_anywhere() {
    let salvageable = EVENT.find(r#","stage""#).unwrap();
    for at in (0..EVENT.len()).filter(|it| EVENT.is_char_boundary(*it)) {
        check_cut(EVENT, at);
        assert_eq!(salvaged(EVENT.split_at(at).0).is_some(), at >= salvageable, "{at}");
    }
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[a-z\"\\\\ 😀é\u{1}]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let key = prop_oneof![
            any::<String>(),
            select(vec!["message", "username", "."]).prop_map(str::to_owned)
        ];
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((key, inner), 0..4)
                .prop_map(|it| Value::from(it.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// Events with their members in any order.
fn event() -> impl Strategy<Value = Value> {
    let names = vec![
        "level",
        "auditID",
        "stage",
        "requestURI",
        "verb",
        "user",
        "sourceIPs",
        "userAgent",
        "objectRef",
        "responseStatus",
        "requestObject",
        "responseObject",
        "annotations",
        "stageTimestamp",
        "other",
    ];
    let members = vec((select(names), value()), 0..8);
    (members, any::<[prop::sample::Index; 2]>()).prop_map(|(members, places)| {
        let mut members: Vec<(String, Value)> =
            members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        for (place, (key, value)) in
            places.iter().zip([("kind", "Event"), ("apiVersion", "audit.k8s.io/v1beta1")])
        {
            members.insert(place.index(members.len() + 1), (key.to_owned(), value.into()));
        }
        Value::from(members.into_iter().collect::<Map<_, _>>())
    })
}

proptest! {
    #![proptest_config(Config { cases: 64, ..Config::default() })]

    #[test]
    fn any_event_cut_anywhere(event in event()) {
        let text = event.to_string();
        for at in (0..text.len()).filter(|it| text.is_char_boundary(*it)) {
            check_cut(&text, at);
        }
    }

    #[test]
    fn any_text(
        head in select(vec!["", HEAD, EVENT.split_at(900).0]),
        tail in "([\\[\\]{}:,\"\\\\u0-9d tfn\n.…😀-]|true|null|\"a\":|\\\\ud83d){0,40}",
        bytes in vec(any::<u8>(), 0..40),
    ) {
        for tail in [tail.as_str(), &String::from_utf8_lossy(&bytes)] {
            let text = format!("{head}{tail}");
            end(&text);
            if let Some(out) = salvaged(&text) {
                prop_assert!(json::check(&out, 100).is_ok() && !out.contains('\n'), "{}", out);
                prop_assert!(out.starts_with(head.split_once("\"sourceIPs").map_or(head, |it| it.0)));
            }
        }
    }
}

use proptest::{collection::vec, prelude::*, sample::select, test_runner::Config};
use serde_json::{Map, Value};

use super::*;

/// What is written for a `requestObject`, between the braces of its event, and whether it is tagged.
fn body(objects: Objects, value: &str) -> (String, bool) {
    let mut out = String::from("{");
    let has_text = write(&BODIES[0], "requestObject", value, objects, &mut out);
    out.push('}');
    assert!(json::check(&out, json::DEPTH_MAX).is_ok(), "{value}\n{out}");
    (out, has_text)
}

#[track_caller]
fn check(objects: Objects, value: &str, expected: &str) {
    let expected = format!("{{\"requestObject\":{expected}}}");
    assert_eq!(body(objects, value), (expected, false), "{objects:?} of {value}");
}

/// The body as a whole became a string.
#[track_caller]
fn check_raw(objects: Objects, value: &str, expected: &str) {
    let (out, has_text) = body(objects, value);
    let text = json::string(json::get(&out, "requestObject_raw").expect(&out)).unwrap();
    assert_eq!((text.as_ref(), json::members(&out).count()), (expected, 1));
    assert_eq!(has_text, objects != Objects::String);
}

const MENDED: [Objects; 3] = [Objects::DropMetadata, Objects::Slim, Objects::Flattened];

const POD: &str = r#"{"kind":"Pod","metadata":{"name":"db-0","uid":"u","labels":{"app":"db"},"managedFields":[{"fieldsV1":{"f:a":{".":{}}}}],"annotations":{"a.b/c":"d"}},"spec":{"metadata":{"a":1},"status":2},"status":{"phase":"Running"}}"#;

#[test]
fn what_each_form_keeps() {
    let spec = r#""spec":{"metadata":{"a":1},"status":2}"#;
    let status = r#""status":{"phase":"Running"}"#;
    let metadata = r#""name":"db-0","uid":"u","labels":{"app":"db"},"annotations":{"a.b/c":"d"}"#;
    let slim = r#""name":"db-0","labels":{"app":"db"},"annotations":{"a.b/c":"d"}"#;
    check(Objects::DropMetadata, POD, &format!(r#"{{"kind":"Pod",{spec},{status}}}"#));
    check(Objects::Slim, POD, &format!(r#"{{"kind":"Pod","metadata":{{{slim}}},{spec}}}"#));
    let whole = format!(r#"{{"kind":"Pod","metadata":{{{metadata}}},{spec},{status}}}"#);
    check(Objects::Flattened, POD, &whole);
    check_raw(Objects::String, POD, &whole);
    check(Objects::Full, POD, POD);
}

#[test]
fn items_of_lists() {
    let list = format!(
        r#"{{"metadata":{{"resourceVersion":"1"}},"items":[{POD},{{"items":[{{"status":1}}]}}]}}"#
    );
    let slim = r#"{"kind":"Pod","metadata":{"name":"db-0","labels":{"app":"db"},"annotations":{"a.b/c":"d"}},"spec":{"metadata":{"a":1},"status":2}}"#;
    check(
        Objects::Slim,
        &list,
        &format!(r#"{{"metadata":{{}},"items":[{slim},{{"items":[{{"status":1}}]}}]}}"#),
    );
    // As Elastic's pipeline does: the items keep theirs.
    let (out, _) = body(Objects::DropMetadata, &list);
    assert!(
        out.starts_with(r#"{"requestObject":{"items":[{"kind":"Pod","metadata":{"name":"db-0""#)
    );
    assert!(!out.contains("managedFields"), "{out}");
}

#[test]
fn bytes_around_what_goes() {
    for (value, expected) in [
        (r#"{"managedFields":1}"#, "{}"),
        (r#"{ "managedFields" : [ ] , "metadata" : { } }"#, "{}"),
        (r#"{"a":1,"managedFields":1}"#, r#"{"a":1}"#),
        (r#"{"managedFields":"}\"","a":1}"#, r#"{"a":1}"#),
        (r#"{"a":1 , "managedFields":1, "metadata":2 , "b": 2 }"#, r#"{"a":1, "b": 2 }"#),
        (r#"{"metadata":1,"a":{"managedFields":{"a":[{}]}},"b":2}"#, r#"{"a":{},"b":2}"#),
        (
            r#"{"manag\u0065dFields":1,"m\u0065tadata":1,"a":[ 1.50 , null,true ]}"#,
            r#"{"a":[ 1.50 , null,true ]}"#,
        ),
        (
            r#"{"a":"managedFields","b":["managedFields"]}"#,
            r#"{"a":"managedFields","b":["managedFields"]}"#,
        ),
        (
            r#"[{"op":"add","value":{"managedFields":1}},{"op":"x","value":3}]"#,
            r#"[{"op":"add","value":{}},{"op":"x","value":3}]"#,
        ),
        ("{}", "{}"),
        ("[]", "[]"),
        ("null", "null"),
    ] {
        check(Objects::DropMetadata, value, expected);
    }
}

#[test]
fn keys_that_elasticsearch_refuses() {
    for (key, new) in [
        ("", "_"),
        (" ", "_"),
        (".", "_"),
        ("..", "__"),
        (".dockerconfigjson", "_dockerconfigjson"),
        ("a.", "a_"),
        ("a..b", "a__b"),
        ("a. .b", "a_ _b"),
        (r"\u002ea", "_a"),
        (r"a\u0000\n\u0000", r"a_\n_"),
        ("\u{3000}", "_"),
    ] {
        for objects in MENDED {
            let (with, without) = (
                format!(r#"{{"x":{{"{key}":{{"{key}":1}}}}}}"#),
                format!(r#"{{"x":{{"{new}":{{"{new}":1}}}}}}"#),
            );
            check(objects, &with, &without);
        }
        let value = format!(r#"{{"{key}":1}}"#);
        check(Objects::Full, &value, &value);
        check_raw(Objects::String, &value, &value);
    }
    for key in ["a.b", "app.kubernetes.io/name", "a b", " a", "é", r"\ud800", r"a\\b", "_"] {
        let value = format!(r#"{{"{key}":1}}"#);
        MENDED.into_iter().for_each(|it| check(it, &value, &value));
    }
}

#[test]
fn two_keys_do_not_become_one() {
    for value in [
        r#"{"x":{".a":1,"_a":{"_a":1}}}"#,
        r#"{"x":{"_\u0061":1,".a":2}}"#,
        r#"{"x":{"":1," ":2}}"#,
        r#"{"x":{"a..":1,"a._":2,"a_.":3}}"#,
    ] {
        MENDED.into_iter().for_each(|it| check_raw(it, value, value));
    }
    check(Objects::Slim, r#"{".a":{"_a":1},"b":{"_a":2}}"#, r#"{"_a":{"_a":1},"b":{"_a":2}}"#);
    let many = |count: usize| {
        let members: Vec<_> = (0..count).map(|it| format!("\".{it}\":1")).collect();
        format!("{{{}}}", members.join(","))
    };
    check(Objects::Slim, &many(RENAMED_MAX), &many(RENAMED_MAX).replace('.', "_"));
    check_raw(Objects::Slim, &many(RENAMED_MAX + 1), &many(RENAMED_MAX + 1));
}

#[test]
fn a_body_that_is_no_object() {
    for objects in MENDED {
        check_raw(objects, r#""skipped \" too big""#, "skipped \" too big");
        check_raw(objects, "7", "7");
        check_raw(objects, r#"["a",{"managedFields":1}]"#, r#"["a",{}]"#);
        check_raw(objects, "[[1]]", "[[1]]");
    }
    check_raw(Objects::String, r#""none""#, "none");
    check_raw(Objects::String, "null", "null");
}

fn nested(depth: usize, inside: &str) -> String {
    format!("{}{inside}{}", r#"{"a":"#.repeat(depth), "}".repeat(depth))
}

#[test]
fn what_is_deep_becomes_a_string() {
    for (objects, most) in [
        (Objects::DropMetadata, LEVELS_MAX),
        (Objects::Slim, LEVELS_MAX),
        (Objects::Flattened, FLATTENED_OBJECTS_MAX),
    ] {
        check(objects, &nested(most, "1"), &nested(most, "1"));
        for deep in [1, 5, 2000] {
            let (out, has_text) = body(objects, &nested(most + deep, "1"));
            assert!(has_text);
            assert!(json::check(&out, most + 1).is_ok());
            let mut value = json::get(&out, "requestObject").unwrap();
            for _ in 0..most {
                value = json::get(value, "a").unwrap();
            }
            assert_eq!(json::string(value).unwrap(), nested(deep, "1"));
        }
    }
    // Lists have no depth under `flattened`.
    let lists = format!("{{\"a\":{}{}}}", "[".repeat(40), "]".repeat(40));
    check(Objects::Flattened, &lists, &lists);
    let deep = nested(20_000, "1");
    check(Objects::Full, &deep, &deep);
    check_raw(Objects::String, &deep, &deep);
}

#[test]
fn paths_under_flattened() {
    let path = |len: usize| format!(r#"{{"a":{{"{}":"v"}}}}"#, "k".repeat(len - 3));
    let (most, more) = (path(FLATTENED_PATH_BYTES_MAX), path(FLATTENED_PATH_BYTES_MAX + 1));
    check(Objects::Flattened, &most, &most);
    check_raw(Objects::Flattened, &more, &more);
    check(Objects::Slim, &more, &more);
}

/// What must hold of a body that Elasticsearch is to take.
fn check_taken(value: &Value, levels: usize, objects: usize, is_flattened: bool) {
    assert!(levels <= LEVELS_MAX && (!is_flattened || objects <= FLATTENED_OBJECTS_MAX));
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                assert!(!is_refused(key) && key != "managedFields", "{key}");
                check_taken(value, levels + 1, objects + 1, is_flattened);
            }
        }
        Value::Array(values) => {
            values.iter().for_each(|it| check_taken(it, levels + 1, objects, is_flattened));
        }
        _ => (),
    }
}

fn value() -> impl Strategy<Value = Value> {
    let names = select(vec![
        "metadata",
        "managedFields",
        "status",
        "items",
        "name",
        "labels",
        ".",
        "",
        ".a",
        "_a",
        "a",
        "a.b",
        "b..c",
    ]);
    let key = prop_oneof![4 => names.prop_map(str::to_owned), 1 => any::<String>()];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(30, 64, 4, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((key.clone(), inner), 0..4)
                .prop_map(|it| Value::from(it.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

proptest! {
    #![proptest_config(Config { cases: 256, ..Config::default() })]

    #[test]
    fn any_body(value in value(), pretty in any::<bool>()) {
        let text = if pretty { format!("{value:#}") } else { value.to_string() };
        for objects in MENDED {
            let (out, _) = body(objects, &text);
            let written: Value = serde_json::from_str(&out).unwrap();
            match &written["requestObject"] {
                Value::Null => prop_assert!(written["requestObject_raw"].is_string() || value.is_null()),
                body => check_taken(body, 0, 0, objects == Objects::Flattened),
            }
            // Written again, it is the same.
            if let Some(once) = json::get(&out, "requestObject") {
                prop_assert_eq!(&body(objects, once).0, &out);
            }
        }
        let (out, _) = body(Objects::Full, &text);
        prop_assert_eq!(json::get(&out, "requestObject").unwrap(), text);
    }

    #[test]
    fn any_text(text in any::<String>()) {
        // Not checked, it may become anything, but comes to an end.
        for objects in MENDED {
            write(&BODIES[1], "responseObject", &text, objects, &mut String::new());
        }
    }
}

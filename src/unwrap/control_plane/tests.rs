use std::{fmt::Write as _, fs, path::Path};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    authenticator::{Authentication, authentication},
    *,
};
use crate::{json as text, unwrap::overlay::Overlay};

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn hint() -> Option<Timestamp> {
    Some(time("2026-03-01T10:00:05Z"))
}

fn document(component: Component, line: &str) -> Value {
    serde_json::from_str(&document_text(component, line)).unwrap()
}

fn document_text(component: Component, line: &str) -> String {
    let mut overlay = Overlay::default();
    fill(component, &parse(line, hint()), &mut overlay);
    let mut out = String::new();
    overlay.merge(text::members(r#"{"@timestamp":"2026-03-01T10:00:05.000Z"}"#), &mut out);
    out
}

#[test]
fn components_by_stream_and_category() {
    let streams = [
        ("kube-apiserver-audit-0123456789abcdef0123456789abcdef", None),
        ("kube-apiserver-0123456789abcdef0123456789abcdef", Some(Component::Apiserver)),
        ("authenticator-0123456789abcdef0123456789abcdef", Some(Component::Authenticator)),
        ("kube-controller-manager-01", Some(Component::ControllerManager)),
        ("cloud-controller-manager-01", Some(Component::CloudControllerManager)),
        ("kube-scheduler-01", Some(Component::Scheduler)),
        ("scheduler-01", Some(Component::Scheduler)),
        ("kube-apiserver", None),
        ("my-kube-apiserver-01", None),
        ("", None),
    ];
    for (stream, expected) in streams {
        assert_eq!(Component::of_eks_stream(stream), expected, "{stream}");
    }
    let categories = [
        ("kube-audit", None),
        ("kube-audit-admin", None),
        ("kube-apiserver", Some(Component::Apiserver)),
        ("GUARD", Some(Component::Guard)),
        ("cluster-autoscaler", Some(Component::ClusterAutoscaler)),
        ("csi-azuredisk-controller", Some(Component::CsiAzuredisk)),
        ("csi-azurefile-controller", Some(Component::CsiAzurefile)),
        ("csi-snapshot-controller", Some(Component::CsiSnapshot)),
        ("csi-aksarcsmb-controller", Some(Component::Other)),
        ("AllMetrics", None),
    ];
    for (category, expected) in categories {
        assert_eq!(Component::of_aks_category(category), expected, "{category}");
    }
}

const COMPONENTS: [Component; 11] = [
    Component::Apiserver,
    Component::ControllerManager,
    Component::CloudControllerManager,
    Component::Scheduler,
    Component::Authenticator,
    Component::ClusterAutoscaler,
    Component::Guard,
    Component::CsiAzuredisk,
    Component::CsiAzurefile,
    Component::CsiSnapshot,
    Component::Other,
];

#[test]
fn the_template_has_exactly_these_datasets_and_fields() {
    let file = root().join("pipelines/templates/kubernetes.control_plane_logs.json");
    let template: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let patterns: Vec<_> = COMPONENTS.iter().map(|it| format!("logs-{}-*", it.dataset())).collect();
    assert_eq!(template["index_patterns"], json!(patterns));
    let properties = &template["template"]["mappings"]["properties"];
    let said = &properties["aws"]["properties"]["eks"]["properties"]["authenticator"]["properties"];
    let names: Vec<_> = said.as_object().unwrap().keys().collect();
    assert_eq!(names, authenticator::NAMES);
    // What may not be a text in a document is what is an object in the template.
    for (name, mapping) in properties.as_object().unwrap() {
        let raw = format!(r#"{{"{name}":"text"}}"#);
        let member = text::members(&raw).next().unwrap();
        assert_eq!(clashes(&member), mapping.get("properties").is_some(), "{name}");
    }
}

#[test]
fn forms() {
    let forms = [
        ("I0630 23:59:59.999999       1 flags.go:64] FLAG: --v=\"2\"", true),
        ("W0701 00:00:00.000000   25160 warnings.go:110] unknown field", true),
        ("E1231 23:59:59.999999 1234567 a/b-c_d.go:1] x", true),
        ("F0101 00:00:00.000000       1 ???:1] exiting", true),
        // Its text was empty, and the blank before it went with the end of the line.
        ("I0101 00:00:00.000000       1 a.go:1]", true),
        ("I0230 00:00:00.000000       1 a.go:1] no such day", true),
        (r#"{"ts":1700000000000.1,"caller":"x.go:1","msg":"m","v":0}"#, true),
        (r#"{"ts":17000000"#, true),
        (r#"time="2022-05-26T18:55:30Z" level=info msg=x"#, true),
        ("I1301 00:00:00.000000       1 a.go:1] month 13", false),
        ("I0001 00:00:00.000000       1 a.go:1] month 0", false),
        ("I0132 00:00:00.000000       1 a.go:1] day 32", false),
        ("I0101 24:00:00.000000       1 a.go:1] hour 24", false),
        ("D0101 00:00:00.000000       1 a.go:1] no such severity", false),
        ("I0101 00:00:00.00000        1 a.go:1] five digits", false),
        ("I0101 00:00:00.000000         a.go:1] no thread", false),
        ("I0101 00:00:00.000000      +1 a.go:1] sign", false),
        ("I0101 00:00:00.000000       1 a.go] no line", false),
        ("I0101 00:00:00.000000       1 :1] no file", false),
        ("I0101 00:00:00.000000       1 a.go:1 no bracket", false),
        ("I0101 00:00:00.000000       1 99999999999999999999.go:99999999999999999999] x", false),
        (" I0101 00:00:00.000000       1 a.go:1] indented", false),
        ("INFO: it begins like one", false),
        ("E", false),
        ("", false),
        ("\tapiVersion: kubescheduler.config.k8s.io/v1", false),
        (r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1"}"#, false),
        (r#"{"level":"info","ts":1,"msg":"any program that uses zap"}"#, false),
    ];
    for (line, expected) in forms {
        assert_eq!(has_form(line), expected, "{line}");
        assert!(!(parse(line, hint()).continuation && has_form(line)), "{line}");
    }
}

#[test]
fn headers_of_every_day_of_two_years() {
    for year in [2027_i16, 2028] {
        let mut day = jiff::civil::date(year, 1, 1);
        while day.year() == year {
            let line =
                format!("W{:02}{:02} 06:30:00.000125      42 x.go:7] text", day.month(), day.day());
            let at = time(&format!("{day}T06:30:00.000125Z"));
            for hours in [-24 * 180, -25, 0, 1, 24 * 180] {
                let hint = at + jiff::SignedDuration::from_hours(hours);
                let read = parse(&line, Some(hint));
                assert_eq!(read.at, Some(at), "{line} {hint}");
                assert_eq!((read.level, read.thread), (Some("warning"), Some(42)));
                assert_eq!((read.file, read.line), (Some("x.go"), Some(7)));
                assert_eq!(read.message, "text");
            }
            day = day.tomorrow().unwrap();
        }
    }
}

#[test]
fn the_year_is_the_nearest() {
    let years = [
        ("1231 23:59:59.999999", "2027-01-01T00:00:03Z", Some("2026-12-31T23:59:59.999999Z")),
        ("0101 00:00:00.000001", "2026-12-31T23:59:58Z", Some("2027-01-01T00:00:00.000001Z")),
        ("0229 12:00:00.000000", "2028-03-01T00:00:00Z", Some("2028-02-29T12:00:00Z")),
        ("0229 12:00:00.000000", "2027-12-31T00:00:00Z", Some("2028-02-29T12:00:00Z")),
        ("0229 12:00:00.000000", "2026-03-01T00:00:00Z", None),
        ("0230 12:00:00.000000", "2026-03-01T00:00:00Z", None),
        ("0101 00:00:00.000000", "9999-12-30T00:00:00Z", None),
        ("1231 00:00:00.000000", "-009999-01-03T00:00:00Z", None),
    ];
    for (stamp, hint, expected) in years {
        let line = format!("I{stamp}       1 a.go:1] x");
        assert_eq!(parse(&line, Some(time(hint))).at, expected.map(time), "{stamp} {hint}");
        assert_eq!(parse(&line, None).at, None);
    }
}

/// Checks the structured values of a klog text.
#[track_caller]
fn check_fields(said: &str, expected: &[(&str, &str)]) {
    let line = format!("I0301 10:00:00.000000       1 a.go:1] {said}");
    let read = parse(&line, hint());
    assert_eq!(read.message, said);
    let fields: Vec<_> = read.fields.iter().map(|(key, it)| (key.as_ref(), it.as_ref())).collect();
    assert_eq!(fields, expected, "{said}");
}

#[test]
fn structured_values_of_klog() {
    check_fields(r#"FLAG: --v="2""#, &[]);
    check_fields(r#""Started""#, &[]);
    check_fields(
        r#""Started" pod="shop/db-0" ready=true"#,
        &[("pod", "shop/db-0"), ("ready", "true")],
    );
    check_fields(
        r#""It said \"no\"" err="a \"quoted\" one\n\twith é and \u00e9 \xff\x01" n=-1.5"#,
        &[("err", "a \"quoted\" one\n\twith é and é \u{fffd}\u{1}"), ("n", "-1.5")],
    );
    check_fields(
        r#""x" ips={"IPv4":"10.0.0.1 ]"} pods=["a/b" "c d/e"] none=<nil> z="" "#,
        &[
            ("ips", r#"{"IPv4":"10.0.0.1 ]"}"#),
            ("pods", r#"["a/b" "c d/e"]"#),
            ("none", "<nil>"),
            ("z", ""),
        ],
    );
    check_fields(
        "\"x\" config=<\n\t\n\ta: 1\n\t >\n > b=2",
        &[("config", "\na: 1\n >"), ("b", "2")],
    );
    // Where values are cut, or are none, what stands before them is kept.
    check_fields(r#""x" a=1 config=<"#, &[("a", "1")]);
    check_fields(r#""x" a=1 b="cut"#, &[("a", "1")]);
    check_fields(r#""x" a=1 b=["cut""#, &[("a", "1")]);
    check_fields(r#""x" a="1"b=2"#, &[]);
    check_fields(r#""x" is no key=value"#, &[]);
    check_fields(r#""x" =1"#, &[]);
    // Names that Elasticsearch would take apart, and one that is there twice.
    check_fields(r#""x" a.b=1 .=2 a_b=3"#, &[("a_b", "3"), ("_", "2")]);
    check_fields(&format!("\"x\" {}=1 b=2", "k".repeat(65)), &[("b", "2")]);
}

#[test]
fn values_are_bounded_in_number() {
    let mut said = r#""x""#.to_owned();
    for number in 0..1000 {
        write!(said, " k{number}={number}").unwrap();
    }
    let line = format!("I0301 10:00:00.000000       1 a.go:1] {said}");
    let read = parse(&line, hint());
    assert_eq!(read.fields.len(), fields::FIELDS_MAX);
    assert_eq!(read.message, said);
    // In a form whose message has no values in it, the whole line is the message then.
    let line = said.replacen(r#""x""#, r#"time="2026-03-01T10:00:00Z" level=info msg=x"#, 1);
    let read = parse(&line, hint());
    assert_eq!((read.message, read.fields.len()), (line.as_str().into(), fields::FIELDS_MAX));
}

#[test]
fn plain_klog_is_borrowed() {
    let line = "I0301 10:00:00.000000       1 a.go:1] synced\r\n";
    let read = parse(line, hint());
    assert!(matches!(read.message, Cow::Borrowed("synced")));
    assert_eq!(read.fields.capacity(), 0);
}

#[derive(Default)]
struct Expected<'e> {
    level: Option<&'e str>,
    at: Option<&'e str>,
    message: &'e str,
    origin: Option<(&'e str, u64)>,
    fields: &'e [(&'e str, &'e str)],
}

#[track_caller]
fn check_entry(line: &str, expected: &Expected<'_>) {
    let read = parse(line, hint());
    let fields: Vec<_> = read.fields.iter().map(|(key, it)| (key.as_ref(), it.as_ref())).collect();
    assert_eq!(read.level, expected.level, "{line}");
    assert_eq!(read.at, expected.at.map(time), "{line}");
    assert_eq!(read.message, expected.message, "{line}");
    assert_eq!(read.file.zip(read.line), expected.origin, "{line}");
    assert_eq!(fields, expected.fields, "{line}");
    assert!(!read.continuation, "{line}");
}

#[test]
fn entries_in_json() {
    check_entry(
        r#"{"ts":1772359200123.4567,"caller":"cache/reflector.go:289","msg":"Caches \"populated\"","v":2,"pod":{"name":"db-0","namespace":"shop"}}"#,
        &Expected {
            level: Some("info"),
            at: Some("2026-03-01T10:00:00.1234567Z"),
            message: "Caches \"populated\"",
            origin: Some(("cache/reflector.go", 289)),
            fields: &[("v", "2"), ("pod", r#"{"name":"db-0","namespace":"shop"}"#)],
        },
    );
    check_entry(
        r#"{"ts":1772359200000,"logger":"gc","caller":"a.go:1","msg":"failed","err":"no"}"#,
        &Expected {
            level: Some("error"),
            at: Some("2026-03-01T10:00:00Z"),
            message: "failed",
            origin: Some(("a.go", 1)),
            fields: &[("logger", "gc"), ("err", "no")],
        },
    );
    check_entry(
        r#"{"ts":1772359200.04728,"caller":"undefined","msg":"in seconds","v":0}"#,
        &Expected {
            level: Some("info"),
            at: Some("2026-03-01T10:00:00.04728Z"),
            message: "in seconds",
            fields: &[("caller", "undefined"), ("v", "0")],
            ..Expected::default()
        },
    );
    check_entry(
        r#"{"level":"warn","ts":"2026-03-01T10:00:00.123456Z","logger":"etcd-client","caller":"v3@v3.6.5/retry_interceptor.go:65","msg":"retrying","attempt":0,"msg":"given"}"#,
        &Expected {
            level: Some("warning"),
            at: Some("2026-03-01T10:00:00.123456Z"),
            message: "retrying",
            origin: Some(("v3@v3.6.5/retry_interceptor.go", 65)),
            fields: &[("logger", "etcd-client"), ("attempt", "0"), ("msg", "given")],
        },
    );
    check_entry(
        r#"{"level":"loud","msg":"logrus","time":"2026-03-01T10:00:00Z"}"#,
        &Expected {
            at: Some("2026-03-01T10:00:00Z"),
            message: "logrus",
            fields: &[("level", "loud")],
            ..Expected::default()
        },
    );
}

#[test]
fn entries_that_do_not_fit_stay_whole() {
    // A name twice (zap writes that), half a surrogate pair, text that is cut.
    for (line, level, fields) in [
        (r#"{"ts":1,"msg":"m","v":0,"a":"1","a":"2"}"#, Some("info"), 2),
        (r#"{"ts":1,"msg":"m","v":0,"a":"\ud800"}"#, Some("info"), 1),
        (r#"{"ts":1,"msg":"m","v":0,"":"a"}"#, Some("info"), 1),
        (r#"{"ts":1772359200000,"msg":"m"#, None, 0),
    ] {
        let read = parse(line, hint());
        assert_eq!((read.message.as_ref(), read.level, read.fields.len()), (line, level, fields));
        assert!(!read.continuation);
    }
    for time in ["1e12", "-1", "1.2e3", "99999999999999999999", "null", "{}", "\"now\""] {
        let line = format!(r#"{{"ts":{time},"msg":"m","v":0}}"#);
        let read = parse(&line, hint());
        assert_eq!((read.at, read.message.as_ref()), (None, line.as_str()));
        assert!(!read.continuation);
    }
}

#[test]
fn entries_in_logfmt() {
    check_entry(
        r#"time="2026-03-01T11:00:00+01:00" level=warning msg="access denied" client="[::1]:57586" error="input \"tok\\en\" is not\tvalid" method=POST path=/authenticate"#,
        &Expected {
            level: Some("warning"),
            at: Some("2026-03-01T10:00:00Z"),
            message: "access denied",
            origin: None,
            fields: &[
                ("client", "[::1]:57586"),
                ("error", "input \"tok\\en\" is not\tvalid"),
                ("method", "POST"),
                ("path", "/authenticate"),
            ],
        },
    );
    // What has no place of its own keeps its place in the line.
    for line in [
        r#"time="yesterday" level=info msg=x"#,
        r#"time="2026-03-01T10:00:00Z" level=loud msg=x"#,
        r#"time="2026-03-01T10:00:00Z" level=info msg=x cut="he"#,
        r#"time="2026-03-01T10:00:00Z" level=info msg=x stray words"#,
        r#"time="2026-03-01T10:00:00Z" level=info http=error"#,
    ] {
        assert_eq!(parse(line, hint()).message, line);
        assert!(!parse(line, hint()).continuation);
    }
}

#[test]
fn continuation_lines() {
    for line in [
        "",
        "\tclientConnection:",
        "[-]poststarthook/rbac/bootstrap-roles failed: not finished",
        "goroutine 1 [running]:",
        "Trace[1190205520]: [501.9ms] [501.9ms] END",
        " >",
        "{}",
        "{\"Addr\": \"127.0.0.1:2379\", }. Err: connection error",
        "Error: unknown flag",
        "time to go",
    ] {
        let read = parse(line, hint());
        assert!(read.continuation, "{line}");
        assert_eq!((read.message, read.level, read.at), (line.into(), None, None));
    }
}

#[test]
fn authentications() {
    let head = r#"time="2026-03-01T10:00:00Z" level=info"#;
    let granted = format!(
        r#"{head} msg="access granted" arn="arn:aws:iam::111122223333:role/dev" client="127.0.0.1:57586" groups="[system:masters devs]" method=POST path=/authenticate stsendpoint=sts.eu-west-1.amazonaws.com uid="aws-iam-authenticator:111122223333:AROAEXAMPLEEXAMPLE" username=alice"#
    );
    let read = document(Component::Authenticator, &granted);
    for (pointer, expected) in [
        ("/message", json!("access granted")),
        ("/event/action", json!("access granted")),
        ("/event/outcome", json!("success")),
        ("/event/category", json!(["authentication"])),
        ("/event/type", json!(["start"])),
        ("/event/dataset", json!("kubernetes.authenticator_logs")),
        ("/user/name", json!("alice")),
        ("/user/id", json!("aws-iam-authenticator:111122223333:AROAEXAMPLEEXAMPLE")),
        ("/user/roles", json!(["system:masters", "devs"])),
        ("/source", json!({"address": "127.0.0.1:57586", "ip": "127.0.0.1", "port": 57586})),
        ("/aws/eks/authenticator/arn", json!("arn:aws:iam::111122223333:role/dev")),
        ("/aws/eks/authenticator/groups", json!("[system:masters devs]")),
        ("/k8scop", Value::Null),
    ] {
        assert_eq!(read.pointer(pointer).unwrap_or(&Value::Null), &expected, "{pointer}");
    }
    let line = format!(
        r#"{head} msg="STS response" accesskeyid=ASIAEXAMPLE accountid=111122223333 arn="arn:aws:sts::111122223333:assumed-role/dev/s" client="[2001:db8::1]:443" method=POST path=/authenticate session=s stsendpoint=x userid=AROAEXAMPLEEXAMPLE"#
    );
    let (line, granted) = (parse(&line, None), parse(&granted, None));
    let response = authentication(&line).unwrap();
    assert_eq!(response.outcome, None);
    assert_eq!(response.user_id, authentication(&granted).unwrap().user_id);
    assert_eq!(response.ip, Some("2001:db8::1".parse().unwrap()));
    let denied = parse(
        r#"time="2026-03-01T10:00:00Z" level=warning msg="access denied" client=@ error="identity is not mapped" method=POST path=/authenticate"#,
        None,
    );
    let expected = Authentication {
        outcome: Some("failure"),
        address: Some("@"),
        ..Authentication::default()
    };
    assert_eq!(authentication(&denied), Some(expected));
    let other = format!(r#"{head} msg="listening on https://127.0.0.1:21362""#);
    assert_eq!(authentication(&parse(&other, None)), None);
    // A client that is told in another component's line is nobody's authentication.
    let read = document(
        Component::Apiserver,
        r#"time="2026-03-01T10:00:00Z" level=info msg="access granted" client=c path=/p username=u"#,
    );
    assert_eq!((&read["user"], &read["k8scop"]["fields"]["username"]), (&Value::Null, &json!("u")));
}

#[test]
fn documents() {
    let read = document(
        Component::Scheduler,
        r#"E0301 10:00:01.000200       1 schedule_one.go:1] "No fit" logger="sched" pod="shop/db-0" err="0/3 nodes" error=x"#,
    );
    assert_eq!(
        read,
        json!({
            "@timestamp": "2026-03-01T10:00:01.0002Z",
            "message": r#""No fit" logger="sched" pod="shop/db-0" err="0/3 nodes" error=x"#,
            "event": {"kind": "event", "module": "kubernetes", "dataset": "kubernetes.scheduler_logs"},
            "process": {"name": "kube-scheduler", "thread": {"id": 1}},
            "log": {"level": "error", "logger": "sched", "origin": {"file": {"name": "schedule_one.go", "line": 1}}},
            "error": {"message": "0/3 nodes"},
            "k8scop": {"fields": {"pod": "shop/db-0", "error": "x"}},
        })
    );
    let read = document(Component::Other, "\tat a line of a trace");
    assert_eq!(read["@timestamp"], "2026-03-01T10:00:05.000Z");
    assert_eq!(read["process"]["name"], "control-plane");
    let read = document(Component::Other, "I0301 10:00:00.000000 18446744073709551615 a.go:1] x");
    assert_eq!(read["process"], json!({"name": "control-plane"}));
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Each line of `tests/data/control_plane/COMPONENT.txt` gives the document in the same line of
/// `COMPONENT.ndjson`. `UPDATE_EXPECT=1` writes these anew.
#[test]
fn golden() {
    let folder = root().join("tests/data/control_plane");
    for component in COMPONENTS {
        let file = folder.join(component.name());
        let log = fs::read_to_string(file.with_extension("txt")).unwrap();
        let mut documents = String::new();
        for line in log.lines() {
            documents.push_str(&document_text(component, line));
            documents.push('\n');
        }
        let file = file.with_extension("ndjson");
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            fs::write(&file, &documents).unwrap();
        }
        let expected = fs::read_to_string(&file).unwrap_or_default();
        for (number, (got, expected)) in documents.lines().zip(expected.lines()).enumerate() {
            assert_eq!(got, expected, "{}:{}", file.display(), number + 1);
        }
        assert_eq!(documents.lines().count(), expected.lines().count(), "{}", file.display());
    }
}

/// What looks like a line: pieces of real ones in any order.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "I0301 10:00:00.000000       1 a.go:1] ",
        "E0229 ",
        "\"x\"",
        " k=",
        "=<\n\t",
        "\n >",
        "\"",
        "\\",
        "\\x",
        "\\u12",
        "é",
        "{\"ts\":",
        "1.5,\"msg\":\"m\"",
        "{",
        "}",
        "[",
        ",",
        "time=\"2026-03-01T10:00:00Z\"",
        " level=info",
        " msg=",
        " ",
        ":",
        "]",
        "client=1 path=",
    ]);
    prop::collection::vec(piece, 0..12).prop_map(|it| it.concat())
}

proptest! {
    #[test]
    fn any_text_is_read(line in prop_oneof![any::<String>(), pieces()]) {
        let read = parse(&line, hint());
        match &read.message {
            Cow::Borrowed(message) => prop_assert!(line.contains(message)),
            // Decoded from the escapes of the line.
            Cow::Owned(message) => prop_assert!(line.contains('\\') && message.len() <= 3 * line.len()),
        }
        prop_assert!(read.fields.len() <= fields::FIELDS_MAX);
        prop_assert!(!(read.continuation && has_form(&line)));
        for component in [Component::Apiserver, Component::Authenticator] {
            let text = document_text(component, &line);
            let names: Value = serde_json::from_str(&text).unwrap();
            prop_assert!(!text.contains('\n') && names.is_object());
        }
    }
}

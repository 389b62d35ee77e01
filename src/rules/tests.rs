//! All documents of all files together: filters, lists, limits.

use super::{
    limits::{
        CONDITION_TERMS_MAX, FILE_BYTES_MAX, FILTERED_MAX, RULE_COST_MAX, RULE_VALUES_MAX,
        RULES_COST_MAX, RULES_MAX, RULES_REGEX_BYTES_MAX, VALUES_MAX,
    },
    *,
};
use crate::{classify::Classifier, event::AuditEvent, json};

const HEAD: &str = "level: low\nlogsource: {product: kubernetes, service: audit}\n";

fn rule(id: &str, detection: &str) -> String {
    format!("title: T{id}\nid: {id}\nname: name_{id}\n{HEAD}detection:\n{detection}\n")
}

fn filter(rules: &str, rest: &str) -> String {
    format!(
        "title: F\nlogsource: {{product: kubernetes, service: audit}}\nfilter:\n  rules: {rules}\n{rest}\n"
    )
}

fn files(all: &[&str]) -> Vec<(String, String)> {
    let named = |(at, text): (usize, &&str)| (format!("{at}.yml"), (*text).to_owned());
    all.iter().enumerate().map(named).collect()
}

fn assembled(all: &[&str], lists: &[(&str, &[&str])]) -> Result<RuleSet, Vec<String>> {
    let owned = |(name, values): &(&str, &[&str])| {
        ((*name).to_owned(), values.iter().map(|it| (*it).to_owned()).collect())
    };
    let lists = Lists::new(lists.iter().map(owned)).unwrap();
    let set = assemble(&files(all), &Options::default(), &lists);
    set.map_err(|wrong| wrong.iter().map(ToString::to_string).collect())
}

/// The ids of the rules that an event hits.
fn hits(set: &RuleSet, event: &str) -> Vec<String> {
    let classifier = Classifier::new(set.rules.clone()).unwrap();
    let event = AuditEvent::new(event, json::members(event).collect());
    let verdict = classifier.classify(&event);
    assert_eq!(verdict, classifier.classify_plain(&event));
    verdict.hits.iter().map(|it| classifier.rules()[*it].id.clone()).collect()
}

#[track_caller]
fn fails(all: &[&str], expected: &str) {
    let wrong = assembled(all, &[]).unwrap_err();
    assert!(wrong.iter().any(|it| it.contains(expected)), "{wrong:?}");
}

const GET: &str = "  a: {verb: get}\n  condition: a";

#[test]
fn filters_leave_out_what_they_describe() {
    let rules = [rule("1", GET), rule("2", GET), rule("3", GET)];
    let of = |rules_of: &str, rest: &str| {
        let filter = filter(rules_of, rest);
        assembled(&[&rules[0], &filter, &rules[1], &rules[2]], &[]).unwrap()
    };
    let adm = r#"{"verb":"get","user":{"username":"adm_x"}}"#;
    let other = r#"{"verb":"get","user":{"username":"x"}}"#;
    for (condition, left_out) in [
        ("adm", true),
        // As pySigma has it.
        ("not adm", true),
        ("not 1 of adm*", true),
        ("not adm and not never", true),
        ("adm and not never", true),
        ("adm and never", false),
    ] {
        let set = of(
            "[1, name_2]",
            &format!(
                "  adm: {{user.username|startswith: adm_}}\n  never: {{verb: list}}\n  condition: {condition}"
            ),
        );
        assert_eq!(set.filters, 1);
        assert_eq!(hits(&set, other), ["1", "2", "3"], "{condition}");
        let expected: &[&str] = if left_out { &["3"] } else { &["1", "2", "3"] };
        assert_eq!(hits(&set, adm), expected, "{condition}");
    }
    let all = of("any", "  adm: {user.username|startswith: adm_}\n  condition: adm");
    assert!(hits(&all, adm).is_empty());
    assert_eq!(all.rules[0].searches[1].name, "F: adm");
}

#[test]
fn filters_that_cannot_be_used() {
    let rule = rule("1", GET);
    for (text, expected) in [
        (
            filter("[1, 7]", "  a: {verb: get}\n  condition: a"),
            "1.yml:4:14: there is no rule with the id or name `7`",
        ),
        (filter("[]", "  a: {verb: get}\n  condition: a"), "`rules` is empty"),
        (filter("[1]", "  a: {verb: get}"), "there is no `condition`"),
        (
            filter("[1]", "  a: {vrb: get}\n  condition: a"),
            "1.yml:5:7: an audit event has no field `vrb`: did you mean `verb`?",
        ),
        (
            filter("[1]", "  condition: a").replace("service: audit", "service: x"),
            "it is for kubernetes/x",
        ),
        (
            filter("[1]", "  a: {verb|expand: get}\n  condition: a"),
            "`expand` needs the name of a list",
        ),
        (filter("[1]", GET).replace("rules: [1]", ""), "a filter needs `rules`"),
    ] {
        fails(&[&rule, &text], expected);
    }
}

#[test]
fn all_that_is_wrong_is_told() {
    let wrong = assembled(
        &[
            &rule("1", "  a: {vrb: get}\n  condition: a"),
            "title: [",
            &rule("2", GET),
            &rule("2", GET),
        ],
        &[],
    )
    .unwrap_err();
    assert_eq!(wrong.len(), 4, "{wrong:?}");
    assert!(wrong.iter().any(|it| it.contains("3.yml:2:5: the id 2 is that of 2.yml already")));
    assert!(wrong.iter().any(|it| it.contains("the name name_2 is that of 2.yml already")));
    fails(&[&rule("1", GET), &rule("name_1", GET)], "the id name_1 is that of 0.yml already");
    let twice = format!("{}---\n{}", rule("1", GET), rule("1", GET));
    fails(&[&twice], "the id 1 is that of line 2 already");
}

#[test]
fn several_documents_in_a_file() {
    let correlation = "title: c\ncorrelation: {type: event_count}";
    let text = format!("{}---\n{correlation}\n---\n{}", rule("1", GET), rule("2", GET));
    let set = assembled(&[&text], &[]).unwrap();
    assert_eq!(set.rules.len(), 2);
    assert_eq!(set.correlations[0].lines_before, 8);
    let wrong = text.replace("title: T2", "titel: T2");
    fails(&[&wrong], "0.yml:13:1: a rule has no `titel`");
}

#[test]
fn lists_stand_for_their_values() {
    let rules = [
        rule("in", "  a: {user.username|expand: '%people%'}\n  condition: a"),
        rule("not_in", "  a: {user.username|expand|neq: ['%people%', 'root']}\n  condition: a"),
        rule("part", "  a: {userAgent|contains|expand: 'x-%people%'}\n  condition: a"),
        rule("none", "  a: {user.username|expand: '%nobody%'}\n  condition: a"),
        rule("all_of_none", "  a: {user.username|expand|all: '%nobody%'}\n  condition: a"),
        rule("net", "  a: {sourceIPs|cidr|expand: '%nets%'}\n  condition: a"),
    ];
    let texts: Vec<&str> = rules.iter().map(String::as_str).collect();
    let lists: &[(&str, &[&str])] = &[
        ("people", &["alice", "%robots%"]),
        ("robots", &["bot-*"]),
        ("nobody", &[]),
        ("nets", &["10.0.0.0/8"]),
    ];
    let set = assembled(&texts, lists).unwrap();
    let event = |user: &str| format!(r#"{{"user":{{"username":"{user}"}}}}"#);
    assert_eq!(hits(&set, &event("alice")), ["in"]);
    assert_eq!(hits(&set, &event("bot-7")), ["in"]);
    assert_eq!(hits(&set, &event("mallory")), ["not_in"]);
    assert!(hits(&set, &event("root")).is_empty());
    assert_eq!(
        hits(&set, r#"{"userAgent":"a x-alice b","sourceIPs":["10.1.1.1"]}"#),
        ["not_in", "part", "net"]
    );
    let wrong = assembled(&texts, &lists[..3]).unwrap_err();
    assert!(wrong[0].contains("5.yml:7:30: there is no list `nets`"), "{wrong:?}");
}

#[test]
fn modifiers_on_events() {
    for (line, yes, no) in [
        ("userAgent|re|i: '^KUBECTL'", "kubectl/v1", "xkubectl"),
        ("userAgent|re|s: 'a.c'", "a\\nc", "ab"),
        ("userAgent|re|m: '^b$'", "a\\nb", "ab"),
        ("userAgent|base64: foobar", "Zm9vYmFy", "zm9vymf"),
        ("userAgent|base64offset|contains: foobar", "x mb29iYX y", "foobar"),
        ("userAgent|wide|base64offset|contains: cmd", "//5jAG0AZAA=", "Y21k"),
        ("userAgent|contains|windash: ' -enc'", "x \u{2014}Enc y", "x +enc"),
        ("userAgent|contains|windash: ' -enc'", "x /enc y", "x enc"),
        ("userAgent|hour|lt: 6", "2026-11-22T05:59:59.000001Z", "2026-11-22T06:00:00Z"),
        ("userAgent|week: 47", "2026-11-22T05:59:59Z", "2026-11-23T00:00:00Z"),
        ("userAgent: 1.5", "1.50", "1.6"),
        ("userAgent: 403", "403", "4030"),
        ("userAgent: ''", "", "x"),
        (r"userAgent: 'a\*b?'", "a*bc", "axbc"),
        ("user_agent.original: x", "X", "y"),
    ] {
        let set =
            assembled(&[&rule("1", &format!("  a: {{{line}}}\n  condition: a"))], &[]).unwrap();
        let event = |value: &str| format!(r#"{{"userAgent":"{value}"}}"#);
        assert_eq!(hits(&set, &event(yes)).len(), 1, "{line} on {yes}");
        assert!(hits(&set, &event(no)).is_empty(), "{line} on {no}");
    }
}

#[test]
fn words_stand_anywhere() {
    let event =
        r#"{"verb":"get","user":{"groups":["x Mimikatz y"]},"requestObject":{"a":[{"b":4656}]}}"#;
    for (selection, expected) in [
        ("[mimikatz, other]", true),
        ("[other]", false),
        ("'mimi*tz'", true),
        ("{'|all': [mimikatz, 465]}", true),
        ("{'|all': [mimikatz, other]}", false),
        ("{'|re': 'Mimi.atz'}", true),
        ("{'|contains|all': [mimi, katz]}", true),
        ("[other, {verb: get}]", true),
        ("[4656]", true),
    ] {
        let text = rule("1", &format!("  a: {selection}\n  condition: a"));
        let set = assembled(&[&text], &[]).unwrap();
        assert_eq!(!hits(&set, event).is_empty(), expected, "{selection}");
    }
    for (selection, expected) in [
        ("['']", "an empty word"),
        ("[null]", "must list maps of fields, or words"),
        ("{'|exists': true}", "`exists` needs a field"),
        ("{'|all': [null]}", "a word is missing"),
        ("{}", "would fit every event"),
        ("[]", "`a` is empty"),
    ] {
        fails(&[&rule("1", &format!("  a: {selection}\n  condition: a"))], expected);
    }
}

#[test]
fn conditions_in_a_list_are_alternatives() {
    let text = rule("1", "  a: {verb: get}\n  b: {verb: list}\n  condition: [a, b]");
    let set = assembled(&[&text], &[]).unwrap();
    assert_eq!(hits(&set, r#"{"verb":"list"}"#).len(), 1);
    assert_eq!(hits(&set, r#"{"verb":"get"}"#).len(), 1);
    assert!(hits(&set, r#"{"verb":"x"}"#).is_empty());
}

#[test]
fn any_log_can_be_read_where_it_is_asked() {
    let text = "title: t\nid: 1\nlevel: low\nlogsource: {category: process_creation, product: windows}\ndetection:\n  a: {Image|endswith: '\\cmd.exe'}\n  condition: a";
    fails(&[text], "it is for process_creation/windows, not for Kubernetes audit logs");
    let any = Options { mode: Mode::Any };
    assert_eq!(assemble(&files(&[text]), &any, &Lists::default()).unwrap().rules.len(), 1);
}

#[test]
fn limits_are_told() {
    let values = |count: usize| format!("[{}]", vec!["x"; count].join(","));
    let line = |count| rule("1", &format!("  a: {{userAgent: {}}}\n  condition: a", values(count)));
    assert!(assembled(&[&line(VALUES_MAX)], &[]).is_ok());
    fails(&[&line(VALUES_MAX + 1)], "a line has at most 10000 values");
    let lines: String = (0..=RULE_VALUES_MAX / VALUES_MAX)
        .map(|it| format!("  a{it}: {{userAgent: {}}}\n", values(VALUES_MAX)))
        .collect();
    fails(
        &[&rule("1", &format!("{lines}  condition: 1 of a*"))],
        "a rule has at most 50000 values",
    );
    fails(&[&"#".repeat(FILE_BYTES_MAX + 1)], "a rule file has at most");
    let terms = vec!["a"; CONDITION_TERMS_MAX + 1].join(" or ");
    fails(
        &[&rule("1", &format!("  a: {{verb: get}}\n  condition: {terms}"))],
        "asks more than 4096",
    );
    fails(
        &[&rule("1", "  a: {userAgent|re: '(a{1000}){1000}'}\n  condition: a")],
        "the size limit of 4194304 bytes",
    );
}

#[test]
fn filters_for_any_rule_are_bounded() {
    let rules: Vec<String> = (0..500).map(|it| rule(&it.to_string(), GET)).collect();
    let any = filter("any", GET);
    let with = |filters: usize| {
        let all = rules.iter().map(String::as_str).chain(vec![any.as_str(); filters]);
        assembled(&all.collect::<Vec<_>>(), &[])
    };
    assert_eq!(with(FILTERED_MAX / 500).unwrap().rules.len(), 500);
    let wrong = with(FILTERED_MAX / 500 + 1).unwrap_err();
    assert_eq!(wrong.len(), 1, "{wrong:?}");
    assert!(wrong[0].contains("900.yml:1:1: up to here filters add more than 200000 selections"));
}

#[test]
fn what_rules_cost_is_bounded() {
    // So many are not compiled first.
    let large = "      - '[a-z]{1,4000}x'\n".repeat(VALUES_MAX);
    let start = std::time::Instant::now();
    fails(
        &[&rule("1", &format!("  a:\n    userAgent|re:\n{large}  condition: a"))],
        &format!("more than {RULE_COST_MAX}: use fewer"),
    );
    assert!(start.elapsed().as_secs() < 30, "{:?}", start.elapsed());
    // The same large selection asked again and again.
    let list = vec!["x"; 100].join(",");
    let often = vec!["a"; 1000].join(" or ");
    let costly = rule("1", &format!("  a: {{userAgent: [{list}]}}\n  condition: {often}"));
    fails(&[&costly], &format!("more than {RULE_COST_MAX}: use fewer"));
    let near = |at: usize| {
        rule(
            &at.to_string(),
            &format!("  a: {{userAgent: [{list}]}}\n  condition: {}", vec!["a"; 900].join(" or ")),
        )
    };
    let many: Vec<String> = (0..200).map(near).collect();
    fails(
        &many.iter().map(String::as_str).collect::<Vec<_>>(),
        &format!("more than {RULES_COST_MAX}"),
    );
    let large =
        |at: usize| rule(&at.to_string(), "  a: {userAgent|re: '[a-z]{1,4000}x'}\n  condition: a");
    let one = assembled(&[&large(0)], &[]).unwrap();
    let Pattern::Regex { bytes, .. } = one.rules[0].searches[0].alternatives[0][0].patterns[0]
    else {
        panic!("{one:?}")
    };
    let many: Vec<String> = (0..=RULES_REGEX_BYTES_MAX / bytes).map(large).collect();
    fails(
        &many.iter().map(String::as_str).collect::<Vec<_>>(),
        &format!("more than {RULES_REGEX_BYTES_MAX}"),
    );
}

#[test]
fn a_hundred_thousand_rules_are_refused_at_once() {
    let one = rule("1", GET);
    let file = vec![one.as_str(); 5000].join("---\n");
    assert!(file.len() < FILE_BYTES_MAX);
    let all = vec![file.as_str(); 20];
    let start = std::time::Instant::now();
    let wrong = assembled(&all, &[]).unwrap_err();
    assert_eq!(wrong.len(), 1);
    assert!(wrong[0].contains(&format!("more than {RULES_MAX}")), "{wrong:?}");
    assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
}

/// Every rule that comes with the program, changed at random: told with a place that is there, or read.
#[test]
fn broken_texts_are_told_with_a_place_in_them() {
    let rounds = std::env::var("K8SCOP_TEST_ROUNDS").ok().and_then(|it| it.parse().ok());
    let mut random = fastrand::Rng::with_seed(7);
    let parts = [
        "[", "]", "{", "}", ":", "\n", "  ", "- ", "|", "&a ", "*a", "'", "\"", "#", "!!x ", "%",
        "?", "\t", "---\n", ">", "é", "\0", "@", "`", ",",
    ];
    for round in 0..rounds.unwrap_or(500) {
        let (_, text) = BUILT_IN[round % BUILT_IN.len()];
        let mut text: Vec<char> = text.chars().collect();
        for _ in 0..random.usize(1..4) {
            let at = random.usize(..text.len());
            match random.u8(..3) {
                0 => drop(text.drain(at..text.len().min(at + random.usize(1..40)))),
                1 => {
                    let part = parts[random.usize(..parts.len())].chars();
                    drop(text.splice(at..at, part));
                }
                _ => text.truncate(at + 1),
            }
            if text.is_empty() {
                text.push(' ');
            }
        }
        let text: String = text.into_iter().collect();
        if let Err(wrong) =
            assemble(&[("r.yml".into(), text.clone())], &Options::default(), &Lists::default())
        {
            for error in wrong {
                let line = text.lines().nth(error.line - 1).unwrap_or_default();
                let last = text.lines().count().max(1);
                assert!((1..=last).contains(&error.line), "{error} of {last} lines\n{text}");
                assert!((1..=line.chars().count() + 2).contains(&error.column), "{error}: {line}");
            }
        }
    }
}

#[test]
fn texts_made_to_be_slow_are_not() {
    let start = std::time::Instant::now();
    let size = FILE_BYTES_MAX / 4;
    for (before, part) in [
        ("a: ", "["),
        ("a: ", "{"),
        ("", "- "),
        ("", "? "),
        ("a: ", "{a: "),
        ("a: \"", "\\n"),
        ("a: '", "''"),
        ("a: |\n", "\n"),
        ("a: >\n", " x\n"),
        ("a: ", "x y "),
        ("a: ", "x:"),
        ("a: [", "x,"),
        ("a: [", "&a x,"),
        ("a: &a x\nb: [", "*a,"),
        ("", "---\n"),
        ("", "a\n"),
        ("", "%A b\n"),
        ("a: !", "!"),
        ("# ", "#"),
        ("a: [", "\"a\":b,"),
        ("", "\t"),
        ("a: ", "\u{feff}"),
    ] {
        let text = format!("{before}{}", part.repeat(size / part.len()));
        drop(assemble(&[("r.yml".into(), text)], &Options::default(), &Lists::default()));
    }
    let keys: String = (0..20_000).map(|it| format!("k{it}: 1\n")).collect();
    assemble(&[("r.yml".into(), keys)], &Options::default(), &Lists::default()).unwrap_err();
    assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
}

#[test]
fn the_reference_tells_all_of_it() {
    let text = include_str!("../../docs/rules.md");
    let names = names::all().chain(modifiers::NAMES.iter().copied());
    let own = field::OWN.iter().map(|it| it.trim_end_matches('.'));
    let missing: Vec<&str> = names
        .filter(|it| !text.contains(&format!("`{it}`")))
        .chain(own.filter(|it| !text.contains(&format!("`k8scop.{it}"))))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
    for limit in [
        VALUES_MAX,
        RULE_VALUES_MAX,
        CONDITION_TERMS_MAX,
        RULES_MAX,
        limits::YAML_NODES_MAX,
        limits::LIST_VALUES_MAX,
        limits::LISTS_MAX,
        FILTERED_MAX,
    ] {
        let shown = match (limit / 1000, limit % 1000) {
            (0, ones) => ones.to_string(),
            (thousands, ones) => format!("{thousands},{ones:03}"),
        };
        assert!(text.contains(&shown), "{shown}");
    }
}

#[test]
fn built_in_rules_ask_lists() {
    let names = ["image_not_on_list", "person_not_on_list", "request_from_bad_address"];
    let is_it = |it: &&(&str, &str)| names.iter().any(|name| it.0.contains(name));
    let texts: Vec<&str> = BUILT_IN.iter().filter(is_it).map(|it| it.1).collect();
    let event = r#"{"stage":"ResponseComplete","verb":"create","user":{"username":"bob"},"sourceIPs":["192.0.2.9","10.0.0.1"],
        "objectRef":{"resource":"pods"},"responseStatus":{"code":201},"requestObject":{"spec":{"containers":[{"image":"a/b"},{"image":"c/d"}]}}}"#;
    let count = |lists: &[(&str, &[&str])]| hits(&assembled(&texts, lists).unwrap(), event).len();
    assert_eq!(count(&[]), 0);
    assert_eq!(count(&[("allowed_users", &["alice", "b*"])]), 0);
    assert_eq!(count(&[("allowed_users", &["alice"])]), 1);
    assert_eq!(count(&[("allowed_images", &["a/*", "c/*"])]), 0);
    assert_eq!(count(&[("allowed_images", &["a/*"])]), 1);
    assert_eq!(count(&[("bad_addresses", &["203.0.113.0/24", "2001:db8::1", "192.0.2.9"])]), 1);
}

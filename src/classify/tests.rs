//! The compiled way against the plain one, on random rules and random events.

use fastrand::Rng;

use super::Classifier;
use crate::{
    event::AuditEvent,
    json,
    rules::{self, Rule},
};

/// Pairs of a set of rules and an event. `K8SCOP_TEST_PAIRS` makes it more: a million take a minute or two.
const PAIRS: usize = 100_000;
const EVENTS_OF_A_SET: usize = 200;
/// So many have what is remembered in common.
const EVENTS_ALIKE: usize = 8;

const FIELDS: [&str; 41] = [
    "level",
    "event.outcome",
    "event.category",
    "event.type",
    "responseStatus.reason",
    "verb",
    "objectRef.resource",
    "objectRef.subresource",
    "objectRef.apiGroup",
    "objectRef.name",
    "objectRef.namespace",
    "stage",
    "responseStatus.code",
    "user.username",
    "user.groups",
    "userAgent",
    "requestURI",
    "sourceIPs",
    "annotations.a.b/c",
    "impersonatedUser.username",
    "requestObject.spec.containers.image",
    "requestObject.spec.containers.name",
    "requestObject.rules.verbs",
    "responseObject.spec.containers.image",
    "k8scop.object.spec.replicas",
    "k8scop.pod.spec.hostPID",
    "k8scop.container.image",
    "k8scop.container.name",
    "k8scop.host_path",
    "k8scop.actor",
    "k8scop.command",
    "k8scop.peer_ip",
    "k8scop.query.command",
    "k8scop.path",
    "k8scop.removed",
    "k8scop.copied",
    "k8scop.truncated",
    "annotations.*",
    "requestObject.spec.*",
    "requestObject.spec.containers.*",
    "k8scop.object.*.image",
];

const WORDS: [&str; 16] = [
    "get",
    "patch",
    "transport",
    "pods",
    "exec",
    "ab",
    "abc",
    "Ba",
    "b",
    "200",
    "403",
    "person",
    "/etc",
    "10.0.0.1",
    "system:node:a",
    "true",
];

fn pick<'t>(random: &mut Rng, from: &[&'t str]) -> &'t str {
    from.get(random.usize(..from.len())).copied().unwrap_or_default()
}

fn line(random: &mut Rng) -> String {
    let field = pick(random, &FIELDS);
    let negated = if random.u8(..6) == 0 { "|neq" } else { "" };
    let word = |random: &mut Rng| {
        let word = pick(random, &WORDS);
        match random.u8(..8) {
            0 => format!("'*{word}'"),
            1 => format!("'{word}?*b'"),
            _ => format!("'{word}'"),
        }
    };
    let list = |random: &mut Rng| {
        let words: Vec<_> = (0..random.usize(1..4)).map(|_| word(random)).collect();
        format!("[{}]", words.join(", "))
    };
    let (modifier, value) = match random.u8(..16) {
        0 => ("|exists", random.bool().to_string()),
        1 => ("", "null".to_owned()),
        2 => ("", "[null, ab]".to_owned()),
        3 => ("|contains|all", list(random)),
        4 => ("|cidr", "10.0.0.0/8".to_owned()),
        5 => (
            "|re",
            pick(random, &["'^a.*b'", "'(?i)AB|ge'", "'[ab]{2,}'", "'(pods|exec)$'", "'e'", "''"])
                .to_owned(),
        ),
        6 => ("|gte", "200".to_owned()),
        7 => ("|fieldref", pick(random, &["objectRef.name", "verb"]).to_owned()),
        8 => ("|cased", word(random)),
        9 => ("|startswith", list(random)),
        10 => ("|endswith", list(random)),
        11 => ("|contains", list(random)),
        12 => ("", "'*'".to_owned()),
        13 => ("", "''".to_owned()),
        _ => ("", list(random)),
    };
    format!("{field}{modifier}{negated}: {value}")
}

fn selection(random: &mut Rng) -> String {
    if random.u8(..10) == 0 {
        let words = [
            "pods",
            "b",
            "'a*c'",
            "200",
            "'b\"a'",
            "'/etc'",
            "command",
            "'x\\\\y'",
            "Person",
            "transport",
            "tru",
        ];
        return format!("[{}, {}]", pick(random, &words), pick(random, &words));
    }
    let map = |random: &mut Rng| {
        let mut lines: Vec<_> = (0..random.usize(1..4)).map(|_| line(random)).collect();
        lines.sort();
        lines.dedup_by_key(|it| it.split(": ").next().unwrap_or_default().to_owned());
        format!("{{{}}}", lines.join(", "))
    };
    let maps: Vec<_> = (0..random.usize(1..3)).map(|_| map(random)).collect();
    format!("[{}]", maps.join(", "))
}

fn condition(random: &mut Rng, depth: usize) -> String {
    match random.u8(..if depth == 0 { 2 } else { 6 }) {
        0..=2 => pick(random, &["a", "b", "c"]).to_owned(),
        3 => format!("not ({})", condition(random, depth - 1)),
        4 => format!("({}) and {}", condition(random, depth - 1), condition(random, depth - 1)),
        _ => format!("({}) or {}", condition(random, depth - 1), condition(random, depth - 1)),
    }
}

fn rule(random: &mut Rng) -> Rule {
    let text = format!(
        "title: t\nid: i\nlevel: low\nlogsource: {{product: kubernetes, service: audit}}\ndetection:\n  a: {}\n  b: {}\n  c: {}\n  condition: {}\n",
        selection(random),
        selection(random),
        selection(random),
        condition(random, 2)
    );
    rules::parse("t.yml", &text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// A text, or what stands where a text should.
fn value(random: &mut Rng) -> String {
    let word = pick(random, &WORDS);
    match random.u8(..14) {
        0 => format!("[\"{word}\"]"),
        1 => format!("[\"x\",\"{word}\"]"),
        2 => "null".to_owned(),
        3 => "{}".to_owned(),
        4 => pick(random, &["403", "200"]).to_owned(),
        5 => word.bytes().map(|it| format!("\\u{it:04x}")).collect::<String>().join_quoted(),
        6 => format!("\"{}{word}\"", pick(random, &WORDS)),
        7 => {
            pick(random, &["true", "\"b\\\"a\"", "\"\\/etc\"", "\"\\u0062\\u0022a\"", "\"x\\\\y\""])
                .to_owned()
        }
        8 => format!("\"{}\"", word.to_uppercase()),
        _ => format!("\"{word}\""),
    }
}

trait Quoted {
    fn join_quoted(self) -> String;
}

impl Quoted for String {
    fn join_quoted(self) -> String {
        format!("\"{self}\"")
    }
}

fn object(random: &mut Rng, keys: &[&str], count: usize) -> String {
    let member = |random: &mut Rng| format!("\"{}\":{}", pick(random, keys), value(random));
    let members: Vec<_> = (0..random.usize(..=count)).map(|_| member(random)).collect();
    format!("{{{}}}", members.join(","))
}

fn body(random: &mut Rng) -> String {
    let containers = |random: &mut Rng| {
        let all: Vec<_> =
            (0..random.usize(..4)).map(|_| object(random, &["image", "name", ":b"], 3)).collect();
        format!("[{}]", all.join(","))
    };
    let spec = format!(
        r#"{{"containers":{},"initContainers":{},"hostPID":{},"replicas":{},"volumes":[{{"hostPath":{{"path":"//etc"}}}}]}}"#,
        containers(random),
        containers(random),
        value(random),
        value(random)
    );
    match random.u8(..8) {
        0 => format!(r#"{{"spec":{{"template":{{"spec":{spec}}}}}}}"#),
        1 => format!(
            r#"[{{"op":"add","path":"/spec/containers/0/image","value":{}}},{{"op":"add","path":"/spec","value":{spec}}}]"#,
            value(random)
        ),
        2 => format!(
            r#"{{"rules":[{},{}]}}"#,
            object(random, &["verbs", "resources"], 2),
            object(random, &["verbs"], 1)
        ),
        3 => format!(r#"{{"spec":{spec},"spec":{{}},"spec.containers":{}}}"#, containers(random)),
        4 => value(random),
        5 => format!(
            r#"[{{"op":"remove","path":"/{}"}},{{"op":"copy","from":"/spec/containers/0/image","path":"/spec/replicas"}},{{"op":"add","path":"/ab","value":{spec}}}]"#,
            pick(random, &WORDS)
        ),
        6 => format!(r#"{{"get":null,"spec":{spec},"ab":{{"$patch":"delete","b":null}}}}"#),
        _ => format!(r#"{{"spec":{spec}}}"#),
    }
}

/// Members that many events have in common, and those of their `objectRef`.
struct Common {
    members: Vec<String>,
    object: String,
}

fn common(random: &mut Rng) -> Common {
    let mut members = Vec::new();
    for key in ["verb", "stage", "userAgent", "level"] {
        // What is odd is not remembered: most are not.
        let text = match random.u8(..8) {
            0 => continue,
            1 => value(random),
            _ => format!("\"{}\"", pick(random, &WORDS)),
        };
        members.push(format!("\"{key}\":{text}"));
    }
    members.push(format!("\"user\":{}", object(random, &["username", "groups"], 3)));
    members.push(format!("\"responseStatus\":{}", object(random, &["code", "reason"], 3)));
    members.push(format!("\"sourceIPs\":{}", value(random)));
    members.push(format!("\"annotations\":{}", object(random, &["a.b/c", "a_b/c", "a"], 3)));
    members.push(format!("\"impersonatedUser\":{}", object(random, &["username"], 1)));
    let mut reference = Vec::new();
    for key in ["resource", "subresource", "apiGroup", "namespace"] {
        if random.bool() {
            reference.push(format!("\"{key}\":\"{}\"", pick(random, &WORDS)));
        }
    }
    if random.u8(..6) == 0 {
        reference.push(format!("\"resourc\\u0065\":{}", value(random)));
    }
    if random.u8(..8) == 0 {
        members.push(format!("\"objectRef\":{}", object(random, &["resource", "name"], 2)));
        members.push(format!("\"objectRef.subresource\":{}", value(random)));
    }
    if random.u8(..6) == 0 {
        members.push(format!("\"user.username\":{}", value(random)));
    }
    Common { members, object: reference.join(",") }
}

fn event(random: &mut Rng, alike: &Common) -> String {
    let mut members = alike.members.clone();
    // Some are alike in all but one.
    if random.u8(..4) == 0
        && let Some(place) = members.len().checked_sub(1).map(|it| random.usize(..=it))
        && let (Some(name), Some(member)) = (
            members.get(place).and_then(|it| it.split(':').next().map(str::to_owned)),
            members.get_mut(place),
        )
    {
        let other = common(random).members;
        if let Some(other) = other.into_iter().find(|it| it.starts_with(&name)) {
            *member = other;
        }
    }
    let uri =
        pick(random, &["/api/v1/pods?command=ab", "/x/exec?command=get&command=%62", "/%2561b"]);
    members.push(format!("\"requestURI\":\"{uri}\""));
    if random.u8(..12) == 0 {
        members.push(format!("\"requestURI\":{}", value(random)));
    }
    let comma = if alike.object.is_empty() { "" } else { "," };
    members.push(format!("\"objectRef\":{{\"name\":{}{comma}{}}}", value(random), alike.object));
    if random.bool() {
        members.push(format!("\"requestObject\":{}", body(random)));
    }
    if random.u8(..3) == 0 {
        members.push(format!("\"responseObject\":{}", body(random)));
    }
    random.shuffle(&mut members);
    format!("{{{}}}", members.join(","))
}

#[test]
fn the_compiled_way_says_what_the_plain_one_says() {
    let asked = std::env::var("K8SCOP_TEST_PAIRS").ok().and_then(|it| it.parse().ok());
    let sets = asked.unwrap_or(PAIRS).div_ceil(EVENTS_OF_A_SET);
    let mut hits = 0;
    for seed in 0..sets as u64 {
        let mut random = Rng::with_seed(seed);
        let rules = (0..random.usize(1..6)).map(|_| rule(&mut random)).collect();
        let classifier = Classifier::new(rules).unwrap();
        let mut alike = common(&mut random);
        for number in 0..EVENTS_OF_A_SET {
            if number % EVENTS_ALIKE == 0 {
                alike = common(&mut random);
            }
            let text = event(&mut random, &alike);
            json::check(&text, 32).unwrap();
            let is_cut = random.u8(..4) == 0;
            let event =
                AuditEvent { is_cut, ..AuditEvent::new(&text, json::members(&text).collect()) };
            let (fast, plain) = (classifier.classify(&event), classifier.classify_plain(&event));
            if fast != plain {
                panic!("seed {seed}: {fast:?}, plain {plain:?}\n{text}\n{:#?}", classifier.rules());
            }
            hits += plain.hits.len();
        }
    }
    // Rules that nothing hits prove nothing.
    assert!(hits > sets * EVENTS_OF_A_SET / 4, "{hits} hits");
}

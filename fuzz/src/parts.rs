//! What becomes of a document: its parts, written, and what must be true of them whatever the document was.

use std::{ops::ControlFlow, sync::LazyLock};

use k8scop::{
    classify::{self, Classifier},
    json,
    unwrap::{
        self, Buffers, Found, Labels, Line, Objects, Part, Piece, Provider, Reduced, Scratch,
        Settings, TAG_REDUCED, TAG_UNWRAP_FAILED, Unread,
    },
};
use serde_json::Value;

use crate::{built_in_rules, has_key_twice, is_json, is_unique, now, value};

static RULES: LazyLock<Classifier> =
    LazyLock::new(|| Classifier::new(built_in_rules()).expect("the rules that are built in"));

/// Forms of bodies.
pub const OBJECTS: [Objects; 5] =
    [Objects::DropMetadata, Objects::Slim, Objects::String, Objects::Flattened, Objects::Full];

/// What is decompressed of one document, where the input does not ask for less (bytes).
pub const INFLATED_BYTES_MAX: usize = 1 << 20;

/// Settings that a byte chooses.
#[must_use]
pub fn settings(flags: u8) -> Settings {
    Settings {
        preserve_original: flags & 1 != 0,
        objects: OBJECTS[usize::from(flags >> 1) % OBJECTS.len()],
        depth_max: if flags & 8 == 0 { 1000 } else { 8 },
        cluster: (flags & 16 == 0).then(|| "c".into()),
        from_containers: flags & 32 == 0,
    }
}

/// What a part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An audit event.
    Audit,
    /// An audit event that was cut on its way.
    Cut,
    /// A line of the control plane.
    Line,
    /// One of several.
    Piece,
    /// The document, with a tag.
    Broken,
    /// Nothing.
    Dropped,
    /// The document as it is.
    Other,
}

/// A part and the document that it becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// What it is.
    pub kind: Kind,
    /// Its own text; empty where it is the document.
    pub text: String,
    /// What is sent.
    pub out: String,
}

/// All parts of a document, after everything was looked at that can be wrong with them.
///
/// # Panics
///
/// Where something is.
#[must_use]
pub fn checked(document: &str, settings: &Settings, inflated_max: usize) -> Vec<Written> {
    let unique = is_unique(document);
    let mut buffers = Buffers::new(inflated_max);
    let all = parts(document, settings, &mut buffers, usize::MAX, unique);
    assert!(!all.is_empty(), "nothing became of {document}");
    let alone = |it: &Written| matches!(it.kind, Kind::Broken | Kind::Other);
    assert!(all.len() == 1 || !all.iter().any(alone), "the document beside parts of it");

    // Every part is at least one letter and a comma of something.
    let source = document.len() + inflated_max;
    assert!(all.len() <= source / 2 + 1, "{} parts of {source} bytes", all.len());
    let bytes: usize = all.iter().map(|it| it.text.len()).sum();
    // A converted event repeats its times, and what it has beside.
    assert!(bytes <= source * 6 + all.len() * 2048, "{bytes} of {source} bytes");

    // Whoever has enough is given no more, and buffers that were used before make no difference.
    for enough in [1, 2] {
        if all.len() >= enough {
            let mut buffers = Buffers::new(inflated_max);
            let few = parts(document, settings, &mut buffers, enough, false);
            assert_eq!(few[..], all[..enough]);
        }
    }
    let mut buffers = Buffers::new(inflated_max * 8);
    let first = parts(document, settings, &mut buffers, usize::MAX, false);
    let second = parts(document, settings, &mut buffers, usize::MAX, false);
    assert_eq!(first, second, "used buffers");
    let is_broken = |it: &Written| it.out.contains(TAG_UNWRAP_FAILED);
    assert!(first == all || all.iter().any(is_broken), "too much, and nothing says so");
    all
}

/// What a second k8scop makes of what a first wrote is the same.
///
/// # Panics
///
/// Where it is not.
pub fn again(all: &[Written], settings: &Settings) {
    for it in all.iter().filter(|it| it.kind == Kind::Line) {
        let twice = checked_once(&it.out, settings);
        // What is left of a line may hold an event.
        let kinds: Vec<_> = twice.iter().map(|it| it.kind).collect();
        assert!(!kinds.contains(&Kind::Line), "a line twice: {}", it.out);
    }
    for it in all.iter().filter(|it| matches!(it.kind, Kind::Audit | Kind::Cut)) {
        let twice = checked_once(&it.out, settings);
        let [twice] = &twice[..] else { panic!("{} parts of {}", twice.len(), it.out) };
        if twice.kind != Kind::Audit {
            // What stands in `kubernetes.audit` is asked for more than what is an entry of Cloud Logging.
            let audit = audit(&it.out).unwrap_or_default();
            let told =
                ["auditID", "verb", "stage"].iter().any(|key| json::get(audit, key).is_some());
            assert!(!told, "the event is not found again: {}", it.out);
            continue;
        }
        let (mut first, mut second) = (value(&it.out), value(&twice.out));
        // Its depth may say more of it now: the whole document's, where it was the event's.
        for document in [&mut first, &mut second].into_iter().flatten() {
            document.as_object_mut().map(|it| it.remove("tags"));
        }
        if has_key_twice(&it.text) != Some(false) {
            // Which of two bodies stays is for the reader to choose.
            continue;
        }
        let event = |it: &Option<Value>| it.as_ref().map(|it| it["kubernetes"]["audit"].clone());
        assert_eq!(event(&second), event(&first), "the event is another");
        // A key with dots becomes an object where the event shows, which base64 may have hidden before.
        let root = first.as_ref().and_then(Value::as_object);
        if !root.is_some_and(|it| it.keys().any(|key| key.contains('.'))) {
            assert_eq!(second, first, "the document is another");
        }
    }
}

fn checked_once(document: &str, settings: &Settings) -> Vec<Written> {
    parts(
        document,
        settings,
        &mut Buffers::new(INFLATED_BYTES_MAX),
        usize::MAX,
        is_unique(document),
    )
}

fn parts(
    document: &str,
    settings: &Settings,
    buffers: &mut Buffers,
    enough: usize,
    unique: bool,
) -> Vec<Written> {
    let mut members = Vec::new();
    let depth = json::object(document, json::DEPTH_MAX, &mut members).expect("an object");
    let mut all: Vec<Written> = Vec::new();
    unwrap::each(document, &members, depth, settings, buffers, &mut |part| {
        assert!(all.len() < enough, "a part for who has enough");
        let (kind, text, out) = match part {
            Part::Audit(found) => {
                let kind = if found.is_cut() { Kind::Cut } else { Kind::Audit };
                let unique = unique && has_key_twice(found.event.text) == Some(false);
                (kind, found.event.text, audited(&found, settings, unique))
            }
            Part::Line(line) => (Kind::Line, line.text, lined(&line, settings, unique)),
            Part::Piece(piece) => (Kind::Piece, piece.text, pieced(&piece, unique)),
            Part::Broken(unread) => (Kind::Broken, "", broken(&unread, unique)),
            Part::Dropped(_) => (Kind::Dropped, "", String::new()),
            Part::Other => (Kind::Other, "", String::new()),
        };
        all.push(Written { kind, text: text.into(), out });
        if all.len() == enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    all
}

fn audited(found: &Found<'_>, settings: &Settings, unique: bool) -> String {
    let event = found.event;
    assert!(is_json(event.text) && !event.text.contains('\n'), "{}", event.text);
    assert_eq!(RULES.classify(event), RULES.classify_plain(event), "{}", event.text);
    for rule in RULES.rules() {
        std::hint::black_box(classify::sentence(event, &rule.reason));
    }
    assert!(Provider::ALL.contains(&found.provider()));
    let kubectl = classify::kubectl(event);
    let labels = Labels {
        data_stream: Some(("kubernetes.audit_logs", "prod")),
        kubectl: kubectl.as_deref(),
        rules: &["a \"rule\""],
    };
    let mut out = String::new();
    unwrap::write(found, &labels, settings, now(), &mut Scratch::default(), &mut out);
    sound(&out, unique);
    if let (Some(written), true) = (value(&out), unique) {
        let audit = &written["kubernetes"]["audit"];
        assert!(audit.is_object() && written["@timestamp"] != Value::Null);
        if let Some(came) = value(event.text) {
            for key in ["auditID", "stage", "verb", "user", "requestURI", "objectRef"] {
                assert_eq!(audit.get(key), came.get(key), "{key}");
            }
        }
        assert_eq!(written["data_stream"]["dataset"], "kubernetes.audit_logs");
        assert!(!found.is_cut() || has_tag(&written, unwrap::TAG_TRUNCATED));
        if found.keeps_text(settings) {
            // Of what was read before, the text may be there already.
            let original = &written["event"]["original"];
            let had = found.members().iter().find(|it| it.is("event"));
            let had = had.and_then(|it| json::get(it.value, "original")).and_then(json::string);
            assert!(original == event.text || had.is_some_and(|it| original == &*it), "{original}");
        }
    }
    for form in [Reduced::WithoutObjects, Reduced::TextOnly] {
        reduced(&out, form, found.keeps_text(settings), unique);
    }
    out
}

fn reduced(out: &str, form: Reduced, has_text: bool, unique: bool) {
    let mut reduced = String::new();
    unwrap::write_reduced(out, form, has_text, "why \"\n", &mut reduced);
    sound(&reduced, unique);
    assert!(reduced.contains(TAG_REDUCED));
    if let (Some(reduced), Some(out), true) = (value(&reduced), value(out), unique) {
        let audit = &reduced["kubernetes"]["audit"];
        assert!(audit["requestObject"].is_null() && audit["responseObject"].is_null());
        assert_eq!(audit.is_null(), form == Reduced::TextOnly);
        assert!(reduced["event"]["original"].is_string());
        assert_eq!(reduced["@timestamp"], out["@timestamp"]);
    }
}

fn lined(line: &Line<'_>, settings: &Settings, unique: bool) -> String {
    assert!(!line.text.is_empty());
    assert_eq!(line.as_piece().is_some(), line.is_split());
    let labels =
        Labels { data_stream: Some((line.component.dataset(), "prod")), ..Labels::default() };
    let mut out = String::new();
    unwrap::write_line(line, &labels, settings, now(), &mut Scratch::default(), &mut out);
    sound(&out, unique);
    if let (Some(written), true) = (value(&out), unique) {
        assert!(written["message"].is_string());
        assert_eq!(written["data_stream"]["dataset"], line.component.dataset());
        assert_eq!(written["process"]["name"], line.component.name());
        assert_ne!(written["@timestamp"], Value::Null);
        if let Some(fields) = written["k8scop"].get("fields").and_then(Value::as_object) {
            assert!(fields.values().all(Value::is_string) && fields.len() <= 64);
        }
        if settings.preserve_original {
            assert_eq!(written["event"]["original"], line.text);
        }
    }
    if let Some(piece) = line.as_piece() {
        pieced(&piece, unique);
    }
    out
}

fn pieced(piece: &Piece<'_>, unique: bool) -> String {
    let mut out = String::new();
    unwrap::write_piece(piece, now(), &mut Scratch::default(), &mut out);
    sound(&out, unique);
    assert!(piece.broken.is_none() || !piece.text.is_empty(), "what is broken is lost");
    if let (Some(written), true) = (value(&out), unique) {
        assert_eq!(written["message"], piece.text);
        assert!(piece.broken.is_none() || has_tag(&written, TAG_UNWRAP_FAILED));
    }
    out
}

fn broken(unread: &Unread<'_>, unique: bool) -> String {
    let mut out = String::new();
    unwrap::write_broken(unread, &mut Scratch::default(), &mut out);
    sound(&out, unique);
    assert!(out.contains(TAG_UNWRAP_FAILED));
    out
}

/// The event in a document that was written.
#[must_use]
pub fn audit(written: &str) -> Option<&str> {
    json::get(json::get(written, "kubernetes")?, "audit")
}

/// Whether a document has a tag.
#[must_use]
pub fn has_tag(written: &Value, tag: &str) -> bool {
    written["tags"].as_array().is_some_and(|it| it.iter().any(|it| it == tag))
}

/// What goes out is one line of JSON, and has no key twice unless it came with one: Elasticsearch would refuse it.
fn sound(out: &str, unique: bool) {
    assert!(!out.contains('\n'), "more than one line: {out}");
    assert!(is_json(out) && out.starts_with('{'), "no JSON: {out}");
    if unique {
        assert_ne!(has_key_twice(out), Some(true), "a key twice: {out}");
    }
}

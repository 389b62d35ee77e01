//! Finding the audit event in a document and writing the document anew, as often as it comes by. Byte 0 chooses
//! the settings, the rest is the document.

#![no_main]

use std::sync::LazyLock;

use k8scop::{
    classify::{self, Classifier},
    json,
    unwrap::{
        self, Labels, Objects, Place, Reduced, Scratch, Settings, TAG_REDUCED, TAG_UNWRAP_FAILED,
    },
};
use k8scop_fuzz::{built_in_rules, chosen, has_key_twice, is_json, now, value};

static RULES: LazyLock<Classifier> =
    LazyLock::new(|| Classifier::new(built_in_rules()).expect("the rules that are built in"));

const OBJECTS: [Objects; 5] =
    [Objects::DropMetadata, Objects::Slim, Objects::String, Objects::Flattened, Objects::Full];

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((flags, document)) = chosen(data) else { return };
    // A line of a bulk body.
    let Some(document) = std::str::from_utf8(document).ok().filter(|it| !it.contains('\n')) else {
        return;
    };
    let settings = Settings {
        preserve_original: flags & 1 != 0,
        objects: OBJECTS[usize::from(flags >> 1) % OBJECTS.len()],
        depth_max: if flags & 8 == 0 { 1000 } else { 8 },
        cluster: (flags & 16 == 0).then(|| "c".into()),
    };
    if let Some((place, written)) = unwrapped(document, &settings) {
        // A second k8scop, or the same one behind a retry, sees its own document.
        match unwrapped(&written, &settings) {
            Some((again, twice)) => {
                assert_eq!(again, Place::Decoded, "first {place:?}");
                assert_eq!(audit(&twice), audit(&written), "the event is another");
            }
            // More is asked of an object than of a text: it may be another's.
            None => assert!(!is_native(&written), "the event is no longer found: {written}"),
        }
    }
});

fn unwrapped(document: &str, settings: &Settings) -> Option<(Place, String)> {
    let mut members = Vec::new();
    let depth = json::object(document, json::DEPTH_MAX, &mut members).ok()?;
    let mut buffer = String::new();
    let Some(found) = unwrap::find(&members, depth, settings, &mut buffer) else {
        if unwrap::is_broken(&members) {
            let mut out = String::new();
            unwrap::write_broken(&members, &mut Scratch::default(), &mut out);
            sound(&out, has_key_twice(document) == Some(false));
            assert!(out.contains(TAG_UNWRAP_FAILED));
        }
        return None;
    };
    let event = &found.event;
    assert!(is_json(event.text));
    assert_eq!(RULES.classify(event), RULES.classify_unfiltered(event), "{}", event.text);
    for rule in RULES.rules() {
        std::hint::black_box(classify::sentence(event, &rule.reason));
    }
    let kubectl = classify::kubectl(event);
    let labels = Labels {
        data_stream: Some(("kubernetes.audit_logs", "prod")),
        kubectl: kubectl.as_deref(),
        rules: &["a \"rule\""],
    };
    let mut out = String::new();
    unwrap::write(&members, &found, &labels, settings, now(), &mut Scratch::default(), &mut out);
    let unique = has_key_twice(document) == Some(false) && has_key_twice(event.text) == Some(false);
    sound(&out, unique);
    if let (Some(written), true) = (value(&out), unique) {
        let audit = &written["kubernetes"]["audit"];
        assert!(audit.is_object() && written["@timestamp"] != serde_json::Value::Null);
        if let Some(came) = value(event.text) {
            for key in ["auditID", "stage", "verb", "user", "requestURI", "objectRef"] {
                assert_eq!(audit.get(key), came.get(key), "{key}");
            }
        }
        let dataset = &written["data_stream"]["dataset"];
        assert_eq!(dataset, "kubernetes.audit_logs");
        if found.keeps_text(settings) {
            assert_eq!(written["event"]["original"], event.text);
        }
    }
    for form in [Reduced::WithoutObjects, Reduced::TextOnly] {
        let mut reduced = String::new();
        unwrap::write_reduced(&out, form, found.keeps_text(settings), "why \"\n", &mut reduced);
        sound(&reduced, unique);
        assert!(reduced.contains(TAG_REDUCED));
        if let (Some(reduced), true) = (value(&reduced), unique) {
            let audit = &reduced["kubernetes"]["audit"];
            assert!(audit["requestObject"].is_null() && audit["responseObject"].is_null());
            assert_eq!(audit.is_null(), form == Reduced::TextOnly);
            assert!(reduced["event"]["original"].is_string());
        }
    }
    Some((found.place, out))
}

fn audit(written: &str) -> Option<&str> {
    json::get(json::get(written, "kubernetes")?, "audit")
}

/// Whether `kubernetes.audit` has what tells an event of the API server.
fn is_native(written: &str) -> bool {
    let has = |name| audit(written).is_some_and(|it| json::get(it, name).is_some());
    (has("auditID") || has("verb")) && !has("protoPayload") && !has("properties")
}

/// What goes out is one line of JSON, and has no key twice unless it came with one: Elasticsearch would refuse
/// it.
fn sound(out: &str, unique: bool) {
    assert!(!out.contains('\n'), "more than one line: {out}");
    assert!(is_json(out) && out.starts_with('{'), "no JSON: {out}");
    if unique {
        assert_ne!(has_key_twice(out), Some(true), "a key twice: {out}");
    }
}

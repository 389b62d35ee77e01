//! What becomes of every envelope: golden files, `tests/data/envelopes/NAME.in.*` and `NAME.out.ndjson`. With
//! `UPDATE_EXPECT=1` the latter are written.

use std::{
    fs,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use k8scop::{
    bulk::Defaults,
    classify::Classifier,
    config::{self, Overrides},
    prepare::Preparer,
    rules,
};
use serde_json::{Value, json};

fn preparer() -> Preparer {
    let config = config::meant(config::Raw::default(), Overrides::default()).unwrap();
    let rules =
        rules::BUILT_IN.iter().map(|(name, text)| rules::parse(name, text).unwrap()).collect();
    Preparer::new(config.policy, Classifier::new(rules).unwrap())
}

fn now() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

/// A bulk body of a file: as it is, or with each of its JSON values as a document.
fn body_of(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    if path.to_string_lossy().contains(".bulk.") {
        return text;
    }
    let documents = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
    documents
        .map(|it| {
            format!("{}\n{}\n", json!({"create": {"_index": "logs-in-default"}}), it.unwrap())
        })
        .collect()
}

/// Actions and documents that go out, one JSON object a line.
fn outgoing(preparer: &Preparer, body: &str) -> Vec<Value> {
    let prepared = preparer.prepare(body.as_bytes(), &Defaults::default(), now()).unwrap();
    let all: Vec<usize> = (0..prepared.batch.slot_count()).collect();
    let body = String::from_utf8(prepared.batch.body_of(&all).to_vec()).unwrap();
    let lines: Vec<Value> = body.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
    lines.chunks(2).map(|it| json!({"action": it[0], "document": it[1]})).collect()
}

/// Whether what goes out is what `expected` holds; what differs first, if not.
fn check(expected: &Path, outgoing: &[Value]) {
    let text: String = outgoing.iter().map(|it| format!("{it}\n")).collect();
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(expected, &text).unwrap();
    }
    let golden = fs::read_to_string(expected).unwrap_or_default();
    for (number, (is, should)) in text.lines().zip(golden.lines()).enumerate() {
        assert_eq!(is, should, "{}:{}", expected.display(), number + 1);
    }
    assert_eq!(text.lines().count(), golden.lines().count(), "{}", expected.display());
}

#[test]
fn golden() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/envelopes");
    let mut files: Vec<PathBuf> = fs::read_dir(&dir)
        .unwrap()
        .map(|it| it.unwrap().path())
        .filter(|it| it.to_string_lossy().contains(".in."))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no files in {}", dir.display());
    let preparer = preparer();
    for file in files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let (stem, _) = name.split_once(".in.").unwrap();
        check(&dir.join(format!("{stem}.out.ndjson")), &outgoing(&preparer, &body_of(&file)));
    }
}

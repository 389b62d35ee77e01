//! A bulk request from its bytes to the batch, and from made-up answers back to the reply.
//!
//! Byte 0 chooses the policy and what the URL says, byte 1 what is answered. Where the URL says something, its
//! text stands before the first NUL; the rest is the body.

#![no_main]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use k8scop::{
    bulk::{AnswerItem, Defaults, Item, Items, Op, OutgoingBatch, TooManyItems},
    classify::Classifier,
    json::Member,
    prepare::{
        AlertTarget, DATASET_ALERTS, DATASET_LOGS, Ids, LineRoute, Policy, Prepared, Preparer,
        Route, Tally, TooLarge, is_namespace,
    },
    unwrap::{self, Component, Reduced, TAG_UNWRAP_FAILED},
};
use k8scop_fuzz::{built_in_rules, chosen, depth, is_json, now, pairs, parts::OBJECTS, value};

/// Most items of a request here.
const ITEMS_MAX: usize = 40;
/// Deepest document.
const DEPTH_MAX: usize = 20;
/// Slots that are made to fail one after the other.
const FAILING_MAX: usize = 6;
/// Lines after each of which the body is cut.
const CUTS_MAX: usize = 10;
const STATUSES: [u16; 10] = [201, 200, 409, 429, 400, 404, 403, 500, 503, 201];

static PREPARERS: LazyLock<Vec<Preparer>> = LazyLock::new(|| (0..8).map(preparer).collect());

fn preparer(variant: u8) -> Preparer {
    let policy = Policy {
        route: if variant & 1 == 0 { Route::Reroute } else { Route::Keep },
        namespace: "default".into(),
        drop: Vec::new(),
        lines: [LineRoute::Reroute, LineRoute::Keep, LineRoute::Drop][usize::from(variant) % 3],
        lines_of: vec![(Component::Scheduler, LineRoute::Reroute)],
        ids: if variant & 2 == 0 { Ids::Audit } else { Ids::Elasticsearch },
        alerts: match variant & 4 {
            0 => AlertTarget::DataStream,
            _ => AlertTarget::Daily("alerts".into()),
        },
        unwrap: unwrap::Settings {
            preserve_original: variant & 3 == 3,
            objects: OBJECTS[usize::from(variant) % OBJECTS.len()],
            depth_max: DEPTH_MAX,
            cluster: (variant & 1 == 0).then(|| "c\"\n".into()),
            from_containers: variant != 5,
        },
        items_max: ITEMS_MAX,
        depth_max: DEPTH_MAX,
        batch_bytes_max: 1 << 24,
        inflated_bytes_max: 1 << 20,
    };
    Preparer::new(policy, Classifier::new(built_in_rules()).expect("the rules that are built in"))
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((flags, data)) = chosen(data) else { return };
    let Some((answers, data)) = chosen(data) else { return };
    let (defaults, body) = defaults(flags >> 3, data);
    split(body, &defaults);
    let preparer = &PREPARERS[usize::from(flags & 7)];
    let items = match items(body, &defaults, ITEMS_MAX) {
        Ok(items) => items,
        Err(error) => {
            let refused = preparer.prepare(body, &defaults, now());
            assert_eq!(refused.err(), Some(TooLarge::Items(error)));
            return;
        }
    };
    let prepared = preparer.prepare(body, &defaults, now()).expect("a batch");
    assert_eq!(prepared.item_count(), items.len());
    batch_is_sound(&prepared.batch, &items, flags & 7);
    let again = preparer.prepare(body, &defaults, now()).expect("a batch");
    assert_eq!(whole(&again.batch), whole(&prepared.batch), "the same twice");
    beside_another(preparer, body, &defaults, &prepared);
    replies(&prepared, &items, answers);
    for form in [Reduced::WithoutObjects, Reduced::TextOnly] {
        let refused: Vec<_> = (0..prepared.batch.slot_count()).map(|_| answer(400)).collect();
        let Some((batch, slots)) = prepared.reduced(&refused, form) else { continue };
        assert_eq!(batch.slot_count(), slots.len());
        batch_is_sound(&batch, &items, flags & 7);
        for (position, slot) in slots.iter().enumerate() {
            let line = |it: &OutgoingBatch, at| text(it, at).lines().next().map(str::to_owned);
            assert_eq!(line(&batch, position), line(&prepared.batch, *slot), "another action");
        }
    }
});

/// What became of the items does not depend on those before them.
fn beside_another(preparer: &Preparer, body: &[u8], defaults: &Defaults, prepared: &Prepared) {
    const OTHER: &[u8] = b"{\"create\":{\"_index\":\"s\"}}\n{\"s\":1}\n";
    if body.starts_with("\u{feff}".as_bytes()) || prepared.item_count() >= ITEMS_MAX {
        return;
    }
    let with = |body: &[u8]| preparer.prepare(body, defaults, now()).expect("a batch");
    let both = with(&[OTHER, body].concat());
    let expected = [whole(&with(OTHER).batch), whole(&prepared.batch)].concat();
    assert_eq!(whole(&both.batch), expected, "other items before");
}

fn defaults(kind: u8, data: &[u8]) -> (Defaults, &[u8]) {
    let (said, body) = match data.iter().position(|it| *it == 0).filter(|_| kind & 3 > 1) {
        Some(end) => (String::from_utf8_lossy(&data[..end]).into_owned(), &data[end + 1..]),
        None => (String::new(), data),
    };
    let defaults = match kind & 3 {
        0 => Defaults::default(),
        1 => Defaults { index: Some("logs-x-prod".into()), ..Defaults::default() },
        2 => Defaults { index: Some(said), ..Defaults::default() },
        _ => Defaults {
            index: Some("i".into()),
            pipeline: Some(said.clone()),
            routing: Some(said),
            require_alias: Some(kind & 4 != 0),
            require_data_stream: Some(kind & 8 != 0),
            ..Defaults::default()
        },
    };
    (defaults, body)
}

/// An item without its lifetime.
#[derive(Clone, Debug, PartialEq)]
struct Shape {
    name: String,
    index: Option<String>,
    id: Option<String>,
    action: Result<(Op, String, Option<String>), (u16, String)>,
    source: String,
    depth: usize,
    /// Where the document stands in the body.
    at: Option<usize>,
}

fn shape(item: &Item<'_>, members: &[Member<'_>], body: &[u8]) -> Shape {
    if !item.source.is_empty() {
        assert!(is_json(item.source) && !item.source.contains('\n'));
        for member in members {
            assert!(item.source.contains(member.value) && item.source.contains(member.raw_key));
        }
    }
    Shape {
        name: item.name.to_string(),
        index: item.shown.index.as_deref().map(str::to_owned),
        id: item.shown.id.as_deref().map(str::to_owned),
        action: match &item.action {
            Ok(it) => Ok((it.op, it.index.to_string(), it.id.as_deref().map(str::to_owned))),
            Err(it) => Err((it.status, it.reason.clone())),
        },
        source: item.source.to_owned(),
        depth: item.depth,
        at: (!item.source.is_empty())
            .then(|| item.source.as_ptr() as usize - body.as_ptr() as usize),
    }
}

fn items(body: &[u8], defaults: &Defaults, max: usize) -> Result<Vec<Shape>, TooManyItems> {
    let (mut items, mut members, mut all) =
        (Items::new(body, defaults, max), Vec::new(), Vec::new());
    while let Some(item) = items.next_into(&mut members)? {
        all.push(shape(&item, &members, body));
    }
    Ok(all)
}

/// Every line belongs to one item, and no line changes what another item is.
fn split(body: &[u8], defaults: &Defaults) {
    // A byte order mark is passed over where a body begins, and only there.
    let body = body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body);
    if body.starts_with("\u{feff}".as_bytes()) {
        return;
    }
    let unlimited = |body: &[u8]| items(body, defaults, usize::MAX).expect("no limit");
    let all = unlimited(body);
    if all.len() > ITEMS_MAX {
        assert_eq!(items(body, defaults, ITEMS_MAX), Err(TooManyItems { limit: ITEMS_MAX }));
    }
    assert_eq!(items(body, defaults, all.len()).as_ref(), Ok(&all));
    let filled = |it: &&[u8]| !it.trim_ascii().is_empty();
    let lines = body.split(|it| *it == b'\n').filter(filled).count();
    assert!(all.len() <= lines && lines <= all.len() * 2, "{lines} lines, {} items", all.len());
    let places: Vec<_> = all.iter().filter_map(|it| it.at).collect();
    assert!(places.windows(2).all(|it| it[0] < it[1]), "documents in order");

    // Line by line: each begins an item or belongs to the one before.
    let ends = body.iter().enumerate().filter(|(_, it)| **it == b'\n').map(|(at, _)| at + 1);
    let ends: Vec<usize> = ends.chain([body.len()]).take(CUTS_MAX).collect();
    let mut count = 0;
    for end in &ends {
        let now = unlimited(&body[..*end]);
        assert!(now.len() == count || now.len() == count + 1, "{count} items, then {}", now.len());
        count = now.len();
        // All but the last are what they stay.
        let settled = count.saturating_sub(1);
        same(&now[..settled], &all[..settled], 0);
    }

    const GOOD: &[u8] = b"{\"create\":{\"_index\":\"s\"}}\n{\"s\":1}\n";
    let good = unlimited(GOOD);
    assert_eq!(good.len(), 1);
    let behind = unlimited(&[GOOD, body].concat());
    same(&behind[..1], &good, 0);
    same(&behind[1..], &all, GOOD.len());
    let before = unlimited(&[body, b"\n", GOOD, GOOD].concat());
    assert_eq!(before.len(), all.len() + 2, "what comes behind is not swallowed");
    let settled = all.len().saturating_sub(1);
    same(&before[..settled], &all[..settled], 0);
    same(&before[all.len() + 1..], &good, body.len() + 1 + GOOD.len());
}

#[track_caller]
fn same(here: &[Shape], there: &[Shape], further: usize) {
    assert_eq!(here.len(), there.len());
    for (here, there) in here.iter().zip(there) {
        let moved = Shape { at: there.at.map(|it| it + further), ..there.clone() };
        assert_eq!(here, &moved);
    }
}

fn whole(batch: &OutgoingBatch) -> Vec<u8> {
    let all: Vec<usize> = (0..batch.slot_count()).collect();
    batch.body_of(&all).to_vec()
}

fn text(batch: &OutgoingBatch, slot: usize) -> String {
    String::from_utf8(batch.slot(slot).to_vec()).expect("UTF-8")
}

/// Every slot is one action and its document, on lines of their own, and goes where the client or we chose.
fn batch_is_sound(batch: &OutgoingBatch, items: &[Shape], variant: u8) {
    let named: BTreeSet<&str> =
        items.iter().filter_map(|it| it.action.as_ref().ok()).map(|it| it.1.as_str()).collect();
    let ours = |index: &str| {
        let stream = |set: &str| {
            let namespace = index.strip_prefix(&format!("logs-{set}-"));
            namespace.is_some_and(is_namespace)
        };
        let daily = index.strip_prefix("alerts-").is_some_and(|it| {
            it.len() == 10 && it.chars().all(|it| it.is_ascii_digit() || it == '.')
        });
        (variant & 1 == 0 && stream(DATASET_LOGS))
            || Component::ALL.iter().any(|it| stream(it.dataset()))
            || if variant & 4 == 0 { stream(DATASET_ALERTS) } else { daily }
    };
    let mut bytes = Vec::new();
    for slot in 0..batch.slot_count() {
        let text = text(batch, slot);
        bytes.extend_from_slice(text.as_bytes());
        assert!(text.ends_with('\n'), "a slot ends with its line");
        let lines: Vec<&str> = text[..text.len() - 1].split('\n').collect();
        let Some(action) = pairs(lines[0]) else {
            // Halves of surrogate pairs, which Elasticsearch reads and `serde_json` does not.
            assert!(is_json(lines[0]) && lines[0].to_ascii_lowercase().contains("\\ud"));
            continue;
        };
        assert_eq!(action.len(), 1, "{}", lines[0]);
        let (name, target) = (action[0].0.as_str(), action[0].1.get());
        let expected = match name {
            "index" | "create" | "update" => 2,
            "delete" => 1,
            other => panic!("no action: {other}"),
        };
        assert_eq!(lines.len(), expected, "lines of {text}");
        if let Some(document) = lines.get(1) {
            assert!(
                document.starts_with(['{', ' ', '\t', '\r']) && is_json(document),
                "{document}"
            );
            if name != "update" {
                assert!(depth(document) <= DEPTH_MAX, "too deep: {document}");
            }
        }
        if let Some(target) = value(target) {
            let keys = pairs(lines[0]).map(|it| it.len());
            assert_eq!(keys, Some(1));
            let index = target.get("_index").or(target.get("index")).expect("an index");
            let index = index.as_str().map_or_else(|| index.to_string(), str::to_owned);
            assert!(named.contains(index.as_str()) || ours(&index), "nobody named {index}");
        }
    }
    assert_eq!(bytes, whole(batch), "the slots are the body");
    ids_are_own(batch, items);
}

/// No line has the `_id` of another one: what is told as there already would be lost. Ids of clients are theirs.
fn ids_are_own(batch: &OutgoingBatch, items: &[Shape]) {
    if items.iter().any(|it| it.id.is_some()) {
        return;
    }
    let mut all = BTreeMap::new();
    for slot in 0..batch.slot_count() {
        let text = text(batch, slot);
        let Some((action, document)) = text.split_once('\n') else { continue };
        let is_event = document.contains("\"audit\":") || action.contains(DATASET_ALERTS);
        if is_event || !action.contains("\"_id\":") {
            continue;
        }
        let Some(document) = value(document) else { continue };
        let message = document["message"].to_string();
        let first = all.entry(action.to_owned()).or_insert_with(|| message.clone());
        assert_eq!(*first, message, "two documents are {action}");
    }
}

fn answer(status: u16) -> AnswerItem {
    let error = if status < 300 { "" } else { r#","error":{"type":"t\"","reason":"r\n"}"# };
    AnswerItem {
        status,
        object: format!("{{\"_index\":\".ds-x\",\"_id\":\"es\",\"status\":{status}{error}}}"),
    }
}

struct Replied {
    tally: Tally,
    statuses: Vec<u64>,
}

/// The client's answer: an item for each of its own, under its names, and counts that agree.
fn reply(prepared: &Prepared, items: &[Shape], answers: &[AnswerItem]) -> Replied {
    let (text, tally) = prepared.reply(answers, &[], 7, &|rule| format!("rule \"{rule}\""));
    let flag = ["true", "false"]
        .iter()
        .any(|it| text.starts_with(&format!("{{\"took\":7,\"errors\":{it},\"items\":[")));
    assert!(flag && text.ends_with("]}"), "{text}");
    let root = value(&text).expect("JSON");
    let shown = root["items"].as_array().expect("items");
    assert_eq!(shown.len(), items.len());
    let (mut statuses, mut errors) = (Vec::new(), false);
    for (item, shown) in items.iter().zip(shown) {
        let shown = shown.as_object().expect("an object");
        let (name, shown) = shown.iter().next().filter(|_| shown.len() == 1).expect("one member");
        assert_eq!(*name, item.name);
        assert_eq!(shown["_index"].as_str(), Some(item.index.as_deref().unwrap_or_default()));
        if item.id.is_some() {
            assert_eq!(shown["_id"].as_str(), item.id.as_deref());
        }
        let status = shown["status"].as_u64().expect("a status");
        errors |= shown.get("error").is_some_and(|it| !it.is_null());
        if let Err((refused, _)) = &item.action {
            assert_eq!(status, u64::from(*refused));
        }
        statuses.push(status);
    }
    assert_eq!(root["errors"].as_bool(), Some(errors));
    let count =
        |wanted: &dyn Fn(u64) -> bool| statuses.iter().filter(|it| wanted(**it)).count() as u64;
    assert!(!text.contains("cannot be written on one line"), "the last line of defence: {text}");
    let all = tally.stored + tally.duplicate + tally.rejected + tally.returned + tally.dropped;
    assert_eq!(all, items.len() as u64, "{tally:?}");
    assert_eq!(tally.returned, count(&|it| it == 429 || it >= 500));
    let told = count(&|it| it < 300);
    let stored = tally.stored + tally.dropped;
    assert!(stored <= told && told <= stored + tally.duplicate, "{tally:?}");
    Replied { tally, statuses }
}

fn replies(prepared: &Prepared, items: &[Shape], seed: u8) {
    let slots = prepared.batch.slot_count();
    let good: Vec<_> = (0..slots).map(|_| answer(201)).collect();
    let stored = reply(prepared, items, &good);
    assert_eq!(stored.tally.alerts_failed + stored.tally.alerts_duplicate, 0);

    // Each slot has one item that is not stored without it.
    let mut owners = Vec::new();
    for slot in 0..slots.min(FAILING_MAX) {
        let mut answers = good.clone();
        answers[slot] = answer(503);
        let failed = reply(prepared, items, &answers);
        let changed: Vec<usize> =
            (0..items.len()).filter(|it| failed.statuses[*it] != stored.statuses[*it]).collect();
        let [owner] = changed[..] else { panic!("slot {slot} belongs to {changed:?}") };
        assert_eq!(failed.statuses[owner], 503);
        assert_eq!(failed.tally.returned, 1);
        if owners.last() != Some(&owner) {
            document(&prepared.batch, slot, &items[owner]);
        }
        owners.push(owner);
    }
    assert!(owners.is_sorted());
    if slots <= FAILING_MAX {
        owners.dedup();
        let told: Vec<usize> = (0..items.len()).filter(|it| stored.statuses[*it] < 300).collect();
        assert!(owners.iter().all(|it| told.contains(it)), "what was sent is told as stored");
        assert_eq!(
            told.len() as u64,
            owners.len() as u64 + stored.tally.dropped,
            "what is told as stored was sent, or not wanted"
        );
    }

    let pick = |slot: usize| {
        let mixed = (slot * 7 + usize::from(seed)) * (usize::from(seed) + 3);
        answer(STATUSES[mixed % STATUSES.len()])
    };
    let mixed: Vec<_> = (0..slots).map(pick).collect();
    reply(prepared, items, &mixed);
    // An answer that is not there is no success.
    let short = reply(prepared, items, &good[..slots / 2]);
    assert!(short.tally.stored <= stored.tally.stored);
    let none = reply(prepared, items, &[]);
    assert_eq!((none.tally.stored, none.tally.duplicate), (0, 0));
}

/// The first slot of an item holds its document: as it came, as an audit event, or with a tag.
fn document(batch: &OutgoingBatch, slot: usize, item: &Shape) {
    let (op, ..) = item.action.as_ref().expect("what is refused is not sent");
    let text = text(batch, slot);
    let document = text.split('\n').nth(1).unwrap_or_default();
    if document == item.source {
        return;
    }
    assert!(matches!(op, Op::Index | Op::Create), "{op:?} became {document}");
    let told = ["\"audit\":", TAG_UNWRAP_FAILED, "\"message\":"];
    let found = told.iter().any(|it| document.contains(it));
    assert!(found, "{} became {document}", item.source);
}

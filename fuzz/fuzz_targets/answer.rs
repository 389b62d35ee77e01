//! Elasticsearch's answers: an answer is believed only when it is whole and says of every action whether it is
//! stored. The first byte is the number of actions sent.

#![no_main]

use k8scop::bulk::{AnswerItem, BulkAnswer};
use k8scop_fuzz::{chosen, depth, is_json, pairs, value};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((sent, body)) = chosen(data) else { return };
    let sent = usize::from(sent % 16);
    told(400 + u16::from(data[0]) % 200, body);
    let Ok(text) = std::str::from_utf8(body) else {
        assert!(BulkAnswer::parse(body, sent).is_err());
        return;
    };
    match BulkAnswer::parse(body, sent) {
        Ok(answer) => {
            assert!(is_json(text), "believed what is no JSON");
            assert_eq!(answer.items.len(), sent);
            for item in &answer.items {
                assert!(matches!(item.status, 200..300 | 400..600), "{}", item.status);
                assert!(is_json(&item.object) && text.contains(&item.object));
            }
            if let Some(expected) = statuses(text) {
                let got: Vec<u16> = answer.items.iter().map(|it| it.status).collect();
                assert_eq!(Some(got), expected, "believed what does not say it");
            }
            no_other_count(body, sent);
            no_prefix(text, sent);
        }
        Err(error) => {
            if let Some(Some(expected)) = statuses(text) {
                let possible = depth(text) <= 512 && expected.len() == sent;
                assert!(!possible, "refused a whole answer: {error}");
            }
        }
    }
});

fn no_other_count(body: &[u8], sent: usize) {
    assert!(BulkAnswer::parse(body, sent + 1).is_err());
    assert!(sent == 0 || BulkAnswer::parse(body, sent - 1).is_err());
}

/// An answer that was cut off is no answer, wherever it was cut.
fn no_prefix(text: &str, sent: usize) {
    let whole = text.trim_end_matches([' ', '\t', '\n', '\r']).len();
    let step = (whole / 256).max(1);
    for cut in (0..whole).step_by(step).chain(whole.saturating_sub(64)..whole) {
        assert!(BulkAnswer::parse(&text.as_bytes()[..cut], sent).is_err(), "believed {cut} bytes");
    }
}

/// The statuses that the answer tells, read another way: `None` where `serde_json` cannot hold it, `Some(None)`
/// where it is no answer.
fn statuses(text: &str) -> Option<Option<Vec<u16>>> {
    value(text)?;
    let Some(root) = pairs(text) else { return Some(None) };
    let last = |pairs: &[(String, Box<serde_json::value::RawValue>)], name: &str| {
        pairs.iter().rev().find(|(key, _)| key == name).map(|(_, it)| it.get().to_owned())
    };
    let Some(items) = last(&root, "items") else { return Some(None) };
    let Ok(items) = serde_json::from_str::<Vec<Box<serde_json::value::RawValue>>>(&items) else {
        return Some(None);
    };
    let status = |item: &str| {
        let outer = pairs(item).filter(|it| it.len() == 1)?;
        let status = last(&pairs(outer[0].1.get())?, "status")?;
        let number: u16 = serde_json::from_str(&status).ok()?;
        matches!(number, 200..300 | 400..600).then_some(number)
    };
    Some(items.iter().map(|it| status(it.get())).collect())
}

/// What we say in Elasticsearch's place is an answer too, whatever the output said.
fn told(status: u16, body: &[u8]) {
    let item = AnswerItem::told(status, body);
    let shown = value(&item.object).expect("our own words are JSON");
    assert_eq!((item.status, &shown["status"]), (status, &status.into()));
    assert!(shown["error"]["type"].is_string() && shown["error"]["reason"].is_string());
    let whole =
        format!("{{\"took\":0,\"errors\":true,\"items\":[{{\"create\":{}}}]}}", item.object);
    assert_eq!(BulkAnswer::parse(whole.as_bytes(), 1).map(|it| it.items.len()), Ok(1));
}

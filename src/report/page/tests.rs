use std::time::Duration;

use super::*;
use crate::{
    report::{About, Event, Raised, Summary},
    rules::Level,
};

/// What somebody can call himself to run a script, load a picture, end the style or leave an attribute.
const HOSTILE: &str =
    "</style></title><script>alert(1)</script><img src=x onerror=alert(1)>\"'>&lt;\u{202e}";

fn page(name: &str) -> String {
    let mut summary = Summary::default();
    let alerts = [Raised { id: name, title: name, level: Level::High }];
    for time in ["2019-03-01T10:00:00Z", "2019-03-04T10:00:00Z"] {
        let about = About {
            time: time.parse().ok(),
            user: Some(name),
            cluster: Some(name),
            namespace: Some(name),
        };
        summary.document(Some(name));
        summary.event(&Event {
            index: Some(name),
            about,
            alerts: &alerts,
            repeated: 1,
            is_cut: true,
            ..Event::default()
        });
    }
    summary.other("not_kubernetes");
    summary.unreadable(name, || name.to_owned());
    let about = vec![("source", name.to_owned())];
    let page = Page { title: name.to_owned(), about, now: "2026-11-22T12:00:00Z".parse().unwrap() };
    summary.told(Duration::from_secs(1)).page(&page)
}

/// All elements and attributes, as a browser would see them.
fn tags(page: &str) -> Vec<String> {
    page.split('<').skip(1).map(|it| it.split('>').next().unwrap().to_owned()).collect()
}

#[test]
fn names_are_nothing_but_text() {
    let (hostile, harmless) = (page(HOSTILE), page("alice"));
    assert!(
        !hostile.contains("<script") && !hostile.contains("<img") && !hostile.contains('\u{202e}')
    );
    assert_eq!(hostile.matches("&lt;script&gt;").count(), harmless.matches("alice").count());
    let names = |page: &str| -> Vec<String> {
        tags(page)
            .iter()
            .map(|it| it.split_whitespace().next().unwrap_or_default().to_owned())
            .collect()
    };
    assert_eq!(names(&hostile), names(&harmless), "the same elements whatever the names");
}

#[test]
fn it_loads_and_runs_nothing() {
    let page = page("alice");
    for what in [
        "http:", "https:", "//", "url(", "@import", "src=", "href=", "<script", "<link", " on",
        " style=",
    ] {
        let is_text = |it: &str| it.contains(what);
        assert!(!tags(&page).iter().any(|it| is_text(it)), "{what}");
    }
    assert!(!STYLE.contains("url(") && !STYLE.contains("@import") && !STYLE.contains('<'));
    assert!(page.contains("default-src 'none'"));
}

#[test]
fn it_tells_all_that_the_text_tells() {
    let page = page("alice");
    for text in [
        "Users",
        "Namespaces",
        "Clusters",
        "Indices",
        "Unreadable documents",
        "Beside the events",
        "3 d",
        "not_kubernetes",
        "2019-03-01 10:00:00: 1 events, 1 high",
    ] {
        assert!(page.contains(text), "{text}\n{page}");
    }
    let empty = Summary::default().told(Duration::ZERO);
    let empty =
        empty.page(&Page { title: "t".into(), about: Vec::new(), now: Timestamp::UNIX_EPOCH });
    assert!(empty.contains("No event says when it happened.") && empty.contains("None."));
}

#[test]
fn numbers_have_commas() {
    for (count, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
        assert_eq!(grouped(count), text);
    }
}

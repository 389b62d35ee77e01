//! One item for which Elasticsearch refuses the whole request is found, and its neighbours are stored.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard},
};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    fake::{Asked, Fake, Reaction, items},
    harness::{K8scop, client},
};

const MIB: usize = 1 << 20;
/// What a poisonous document holds. In a text within a document its quotes are escaped.
const POISON: &str = r#""poison":true"#;
const REASON: &str = "[3:9] [poison] is not taken";

fn refusal(kind: &str) -> Reaction {
    let error = json!({"type": kind, "reason": REASON});
    let body =
        json!({"error": {"root_cause": [error], "type": kind, "reason": REASON}, "status": 400});
    Reaction::Answer(400, vec![], body.to_string())
}

/// What became of the requests for one index.
#[derive(Clone, Default)]
struct Case {
    requests: usize,
    /// Bytes of each that was refused.
    refused: Vec<usize>,
    /// What each document was made, in order.
    stored: BTreeMap<String, Vec<String>>,
}

/// Stores what it is sent, case by case: the case is the `_index` of the first action.
#[derive(Clone, Default)]
struct Ledger(Arc<Mutex<HashMap<String, Case>>>);

impl Ledger {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Case>> {
        self.0.lock().unwrap()
    }

    fn of(&self, index: &str) -> Case {
        self.lock().get(index).cloned().unwrap_or_default()
    }

    fn refuse(&self, asked: &Asked, reaction: Reaction) -> Reaction {
        let mut cases = self.lock();
        let case = cases.entry(first_index(asked)).or_default();
        case.requests += 1;
        case.refused.push(asked.body.len());
        reaction
    }

    /// Stores each document, unless `status` says that it is not taken.
    fn take(&self, asked: &Asked, status: impl Fn(&str, &Case) -> u16) -> Reaction {
        let mut cases = self.lock();
        let case = cases.entry(first_index(asked)).or_default();
        case.requests += 1;
        let mut statuses = Vec::new();
        let mut lines = asked.body.lines();
        while let (Some(action), Some(document)) = (lines.next(), lines.next()) {
            let status = status(document, case);
            if status < 300 {
                case.stored.entry(id(action).to_owned()).or_default().push(document.to_owned());
            }
            statuses.push(status);
        }
        Reaction::Answer(200, vec![], items(asked, &statuses))
    }

    /// Refuses every request with poison in it.
    fn but_poison(&self, asked: &Asked) -> Reaction {
        if asked.body.contains(POISON) {
            self.refuse(asked, refusal("x_content_parse_exception"))
        } else {
            self.take(asked, |_, _| 201)
        }
    }
}

fn after<'t>(text: &'t str, what: &str) -> &'t str {
    text.split_once(what).unwrap().1.split('"').next().unwrap()
}

fn first_index(asked: &Asked) -> String {
    after(&asked.body, r#""_index":""#).to_owned()
}

fn id(action: &str) -> &str {
    after(action, r#""_id":""#)
}

/// `count` documents for an index, with poison at some places.
fn body(index: &str, count: usize, culprits: &[usize]) -> String {
    let mut out = String::new();
    for place in 0..count {
        let more = if culprits.contains(&place) { format!(",{POISON}") } else { String::new() };
        out.push_str(&format!("{{\"create\":{{\"_index\":\"{index}\",\"_id\":\"{place}\"}}}}\n"));
        out.push_str(&format!("{{\"n\":{place}{more}}}\n"));
    }
    out
}

async fn behind(fake: &Fake, more: &str) -> K8scop {
    let quick = "retry: {first_ms: 1, longest_ms: 5}\nlimits: {request_deadline_s: 60}\n";
    K8scop::start(&format!("output: {}\n{quick}{more}", fake.url())).await
}

async fn post(url: String, body: String) -> (u16, Value) {
    let answer = client().post(url).body(body).send().await.unwrap();
    let status = answer.status().as_u16();
    (status, serde_json::from_str(&answer.text().await.unwrap()).unwrap())
}

fn statuses(answer: &Value) -> Vec<u64> {
    let status =
        |it: &Value| it.as_object().unwrap().values().next().unwrap()["status"].as_u64().unwrap();
    answer["items"].as_array().unwrap().iter().map(status).collect()
}

/// ⌈log₂ n⌉
fn halvings(count: usize) -> usize {
    count.next_power_of_two().trailing_zeros() as usize
}

/// What a search may cost, and what it is about.
struct Search {
    index: String,
    count: usize,
    culprits: Vec<usize>,
    /// Requests besides the first.
    extra_max: usize,
}

/// Runs searches side by side and gives back how many requests each took besides the first.
async fn search(ledger: &Ledger, k8scop: &K8scop, searches: Vec<Search>) -> Vec<usize> {
    let mut tasks = JoinSet::new();
    let mut extras = Vec::new();
    for search in searches {
        if tasks.len() >= 4 {
            extras.push(tasks.join_next().await.unwrap().unwrap());
        }
        let (url, ledger) = (k8scop.url("/_bulk"), ledger.clone());
        tasks.spawn(async move {
            let Search { index, count, culprits, extra_max } = search;
            let about = format!("{index}: {count} documents, culprits at {culprits:?}");
            let (status, answer) = post(url, body(&index, count, &culprits)).await;
            assert_eq!(status, 200, "{about}: {answer}");
            let expected: Vec<_> =
                (0..count).map(|it| if culprits.contains(&it) { 400 } else { 201 }).collect();
            assert_eq!(statuses(&answer), expected, "{about}");
            for place in culprits {
                let item = &answer["items"][place]["create"];
                assert_eq!(item["_id"], place.to_string(), "{about}");
                assert_eq!(item["error"]["reason"], REASON, "{about}: Elasticsearch's own words");
            }
            let case = ledger.of(&index);
            let good = expected.iter().filter(|it| **it == 201).count();
            assert_eq!(case.stored.len(), good, "{about}");
            assert!(case.stored.values().all(|it| it.len() == 1), "{about}: nothing twice");
            let extra = case.requests - 1;
            assert!(extra <= extra_max, "{about}: {extra} requests more, {extra_max} allowed");
            extra
        });
    }
    while let Some(extra) = tasks.join_next().await {
        extras.push(extra.unwrap());
    }
    extras
}

#[tokio::test(flavor = "multi_thread")]
async fn one_culprit_is_found_in_few_requests() {
    let ledger = Ledger::default();
    let fake = Fake::start_forgetful({
        let ledger = ledger.clone();
        move |asked| ledger.but_poison(asked)
    })
    .await;
    let k8scop = behind(&fake, "").await;
    let mut searches = Vec::new();
    let mut add = |count: usize, place: usize| {
        let extra_max = if count == 5000 { 14 } else { halvings(count) + 2 };
        let index = format!("one-{count}-{place}");
        searches.push(Search { index, count, culprits: vec![place], extra_max });
    };
    for count in [1, 2, 3, 5, 16, 17, 100] {
        (0..count).for_each(|place| add(count, place));
    }
    for place in [0, 1, 48, 97, 194, 387, 388, 389, 582, 679, 728, 775, 776] {
        add(777, place);
    }
    // Both sides of the cuts, and both ends.
    for place in [0, 1, 624, 625, 937, 1249, 1250, 2499, 2500, 3124, 3125, 4374, 4687, 4998, 4999] {
        add(5000, place);
    }
    for _ in 0..5 {
        add(5000, fastrand::usize(..5000));
    }
    let extras = search(&ledger, &k8scop, searches).await;
    assert!(extras.len() > 150 && extras.iter().max() <= Some(&14), "{extras:?}");
    k8scop.check_balance().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_culprits_are_found() {
    let ledger = Ledger::default();
    let fake = Fake::start_forgetful({
        let ledger = ledger.clone();
        move |asked| ledger.but_poison(asked)
    })
    .await;
    let k8scop = behind(&fake, "").await;
    let mut searches = Vec::new();
    for count in [2, 8, 100, 777] {
        for culprits in [2, 5, 8] {
            for spread in 0..3 {
                let mut places: Vec<_> = match spread {
                    // All over, side by side, anywhere.
                    0 => (0..culprits).map(|it| it * count / culprits).collect(),
                    1 => (count / 2..).take(culprits).collect(),
                    _ => {
                        std::iter::repeat_with(|| fastrand::usize(..count)).take(culprits).collect()
                    }
                };
                places.sort_unstable();
                places.dedup();
                if places.len() < count && places.last() < Some(&count) {
                    let extra_max = (places.len() + 1) * (halvings(count) + 2);
                    let index = format!("several-{count}-{culprits}-{spread}");
                    searches.push(Search { index, count, culprits: places, extra_max });
                }
            }
        }
    }
    let done = searches.len();
    assert_eq!(search(&ledger, &k8scop, searches).await.len(), done);
    k8scop.check_balance().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_all_are_culprits_it_is_the_request_that_is_refused() {
    let ledger = Ledger::default();
    let fake = Fake::start_forgetful({
        let ledger = ledger.clone();
        move |asked| ledger.but_poison(asked)
    })
    .await;
    let k8scop = behind(&fake, "").await;
    for count in [20, 1000] {
        let index = format!("all-{count}");
        let all: Vec<_> = (0..count).collect();
        let (status, answer) = k8scop.bulk("/_bulk", body(&index, count, &all)).await;
        assert_eq!((status, &answer["error"]["reason"]), (400, &json!(REASON)));
        let requests = ledger.of(&index).requests;
        assert!(requests <= 9 * (halvings(count) + 2), "{requests} requests for {count}");
    }
    // Many among what is good are found all the same.
    let culprits: Vec<_> = (0..1000).step_by(83).collect();
    let extra_max = 3 * culprits.len() * halvings(1000);
    let many = Search { index: "many".into(), count: 1000, culprits, extra_max };
    search(&ledger, &k8scop, vec![many]).await;
    k8scop.check_balance().await;
}

/// Sent again after a lost answer: every document is there already, and many culprits are among them.
#[tokio::test]
async fn what_is_there_already_shows_that_the_request_is_sound() {
    let ledger = Ledger::default();
    let fake = Fake::start_forgetful({
        let ledger = ledger.clone();
        move |asked| {
            if asked.body.contains(POISON) {
                ledger.refuse(asked, refusal("x_content_parse_exception"))
            } else {
                ledger.take(asked, |_, _| 409)
            }
        }
    })
    .await;
    let k8scop = behind(&fake, "").await;
    let culprits: Vec<_> = (0..200).step_by(20).collect();
    let (status, answer) = k8scop.bulk("/_bulk", body("there", 200, &culprits)).await;
    assert_eq!(status, 200, "{answer}");
    let expected: Vec<_> =
        (0..200).map(|it| if culprits.contains(&it) { 400 } else { 409 }).collect();
    assert_eq!(statuses(&answer), expected);
    k8scop.check_balance().await;
}

fn indexed(index: &str, id: &str, document: &str) -> String {
    format!("{{\"index\":{{\"_index\":\"{index}\",\"_id\":\"{id}\"}}}}\n{document}\n")
}

/// Two items for one document, in one request with poison: the later one is what remains, also where the earlier
/// one was told to come back.
#[tokio::test]
async fn two_items_for_one_document_keep_their_order() {
    let ledger = Ledger::default();
    let fake = Fake::start_forgetful({
        let ledger = ledger.clone();
        move |asked| {
            if asked.body.contains(POISON) {
                return ledger.refuse(asked, refusal("x_content_parse_exception"));
            }
            ledger.take(asked, |document, case| {
                // Busy, the first time that an early one is there to be stored.
                let is_early = document.contains("\"early\":\"busy\"");
                if is_early && !case.stored.values().flatten().any(|it| it.contains("\"late\"")) {
                    429
                } else {
                    201
                }
            })
        }
    })
    .await;
    let k8scop = behind(&fake, "").await;
    for early in ["free", "busy"] {
        for poison in [0, 5, 50, 94, 99] {
            let index = format!("twins-{early}-{poison}");
            let mut request = String::new();
            for place in 0..100 {
                request += &match place {
                    place if place == poison => indexed(&index, "x", &format!("{{{POISON}}}")),
                    10 => indexed(&index, "twin", &format!("{{\"early\":\"{early}\"}}")),
                    90 => indexed(&index, "twin", "{\"late\":1}"),
                    _ => indexed(&index, &place.to_string(), "{}"),
                };
            }
            let (_, answer) = k8scop.bulk("/_bulk", request).await;
            let statuses = statuses(&answer);
            let first = if early == "free" { 201 } else { 429 };
            assert_eq!(
                (statuses[poison], statuses[10], statuses[90]),
                (400, first, 201),
                "{index}"
            );
            assert_eq!(
                statuses.iter().filter(|it| **it == 201).count(),
                98 + usize::from(first == 201)
            );
            let twin = &ledger.of(&index).stored["twin"];
            assert_eq!(twin.last().unwrap(), "{\"late\":1}", "{index}: {twin:?}");
        }
    }
    k8scop.check_balance().await;
}

/// The same where a large batch goes in several requests.
#[tokio::test]
async fn two_items_for_one_document_keep_their_order_in_several_requests() {
    let ledger = Ledger::default();
    let fake = Fake::start_forgetful({
        let ledger = ledger.clone();
        move |asked| {
            ledger.take(asked, |document, case| {
                let is_early = document.contains("\"early\"");
                let is_busy = is_early && !case.stored.contains_key("twin");
                if is_busy { 429 } else { 201 }
            })
        }
    })
    .await;
    let k8scop = behind(&fake, "elasticsearch: {bulk_bytes_max: 1000}\n").await;
    let mut request = indexed("twins", "twin", "{\"early\":1}");
    (0..50).for_each(|it| request += &indexed("twins", &it.to_string(), "{}"));
    request += &indexed("twins", "twin", "{\"late\":1}");
    let (_, answer) = k8scop.bulk("/_bulk", request).await;
    let statuses = statuses(&answer);
    let case = ledger.of("twins");
    assert!(case.requests > 2, "it went in several requests");
    assert_eq!((statuses[0], statuses[51]), (429, 201), "the first one was overtaken");
    assert_eq!(case.stored["twin"], ["{\"late\":1}"]);
    k8scop.check_balance().await;
}

/// A delete that finds nothing (404) is done all the same: what came before it must not come after it.
#[tokio::test]
async fn a_delete_of_nothing_keeps_its_place() {
    let fake = Fake::start(|number, _| {
        Reaction::Items(if number == 0 { vec![429, 404] } else { vec![201] })
    })
    .await;
    let k8scop = behind(&fake, "").await;
    let request =
        indexed("twins", "1", "{}") + "{\"delete\":{\"_index\":\"twins\",\"_id\":\"1\"}}\n";
    let (_, answer) = k8scop.bulk("/_bulk", request).await;
    assert_eq!(statuses(&answer), [429, 404]);
    assert_eq!(fake.asked().len(), 1, "sent again, it would be there after its delete");
    k8scop.check_balance().await;
}

fn large(index: &str, id: &str, bytes: usize) -> String {
    indexed(index, id, &format!("{{\"text\":\"{}\"}}", "x".repeat(bytes)))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_stored_in_smaller_requests() {
    let ledger = Ledger::default();
    let limit = 3 * MIB / 2;
    let fake = Fake::start_forgetful({
        let ledger = ledger.clone();
        move |asked| {
            if asked.body.len() > limit {
                ledger.refuse(asked, Reaction::Answer(413, vec![], String::new()))
            } else {
                ledger.take(asked, |_, _| 201)
            }
        }
    })
    .await;
    let k8scop = behind(&fake, "").await;
    let send = async |index: &str, sizes: &[usize]| {
        let bodies =
            sizes.iter().enumerate().map(|(place, size)| large(index, &place.to_string(), *size));
        let (status, answer) = k8scop.bulk("/_bulk", bodies.collect::<String>()).await;
        assert_eq!(status, 200, "{answer}");
        (answer, ledger.of(index))
    };
    let (answer, case) = send("first", &[MIB / 16; 80]).await;
    assert_eq!(statuses(&answer), [201; 80]);
    assert_eq!(case.stored.len(), 80);
    assert!(case.refused.len() <= 3 && case.stored.values().all(|it| it.len() == 1));
    // The limit is learned.
    let (answer, case) = send("next", &[MIB / 16; 80]).await;
    assert_eq!((statuses(&answer), case.refused), (vec![201; 80], vec![]));
    // One document over the limit is refused alone, and not with 413: Logstash would try it for ever.
    let sizes = [100, MIB / 4, 2 * MIB, 100, MIB];
    let (answer, case) = send("alone", &sizes).await;
    assert_eq!(statuses(&answer), [201, 201, 400, 201, 201]);
    let error = &answer["items"][2]["index"]["error"];
    assert_eq!(error["type"], "content_too_long_exception", "{error}");
    assert_eq!(case.stored.len(), 4);
    let (answer, _) = send("single", &[2 * MIB]).await;
    assert_eq!(statuses(&answer), [400]);
    // It did not make requests smaller than needed.
    let (_, case) = send("last", &[MIB / 16; 80]).await;
    assert!(case.refused.is_empty() && case.requests <= 8, "{} requests", case.requests);
    k8scop.check_balance().await;
}

#[tokio::test]
async fn what_the_client_says_beside_its_items_is_not_searched_for() {
    let fake = Fake::start(|_, asked| {
        refusal(if asked.line.contains("colour=red") {
            "illegal_argument_exception"
        } else {
            "media_type_header_exception"
        })
    })
    .await;
    let k8scop = behind(&fake, "").await;
    for (path, kind) in [
        ("/_bulk?colour=red", "illegal_argument_exception"),
        ("/_bulk", "media_type_header_exception"),
    ] {
        let before = fake.asked().len();
        let (status, answer) = k8scop.bulk(path, body("a", 100, &[])).await;
        assert_eq!((status, &answer["error"]["type"]), (400, &json!(kind)));
        assert_eq!(answer["error"]["reason"], REASON);
        assert_eq!(fake.asked().len() - before, 1, "{path}: one request is enough");
    }
    k8scop.check_balance().await;
}

/// Something before Elasticsearch refuses everything: no document is to blame, and none is to be given up.
#[tokio::test]
async fn a_refusal_that_is_not_elasticsearchs_is_not_searched_for() {
    let fake = Fake::start(|_, _| Reaction::Answer(400, vec![], "<html>Bad Request".into())).await;
    let k8scop = behind(&fake, "").await;
    let (status, _) = k8scop.bulk("/_bulk", body("a", 5, &[])).await;
    assert_eq!((status, fake.asked().len()), (400, 1));
    k8scop.check_balance().await;
}

#[tokio::test]
async fn an_audit_event_that_is_the_culprit_is_stored_in_its_reduced_form() {
    let ledger = Ledger::default();
    let fake = Fake::start_forgetful({
        let ledger = ledger.clone();
        move |asked| ledger.but_poison(asked)
    })
    .await;
    let k8scop = behind(&fake, "").await;
    let event = |place: usize| {
        let event = json!({"kind": "Event", "apiVersion": "audit.k8s.io/v1", "auditID": format!("a-{place}"),
            "stage": "ResponseComplete", "verb": "create", "requestURI": "/api/v1/namespaces/x/configmaps",
            "user": {"username": "mallory"}, "objectRef": {"resource": "configmaps"},
            "requestObject": {"data": {"poison": place == 41}}, "responseStatus": {"code": 201}});
        let message = json!({"message": event.to_string()});
        format!("{{\"create\":{{\"_index\":\"filebeat\"}}}}\n{message}\n")
    };
    let (status, answer) = k8scop.bulk("/_bulk", (0..100).map(event).collect::<String>()).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(statuses(&answer), [201; 100]);
    let case = ledger.of("logs-kubernetes.audit_logs-default");
    assert_eq!(case.stored.len(), 100);
    let reduced: Vec<_> =
        case.stored.values().flatten().filter(|it| it.contains("k8scop_reduced")).collect();
    assert!(reduced.len() == 1 && reduced[0].contains("a-41"), "{reduced:?}");
    assert!(reduced[0].contains(REASON) && reduced[0].contains("poison"), "{}", reduced[0]);
    assert_eq!(k8scop.metrics().await["k8scop_reduced_events_total"], 1.0);
    k8scop.check_balance().await;
}

use serde_json::{Value, json};

use super::{ledger::*, summary::USERS_MAX, *};
use crate::{
    correlate::{BaseRule, Plan},
    event::AuditEvent,
    json,
    rules::{self, Level, Rule, Template},
};

fn rule(level: &str) -> Rule {
    let text = format!(
        "title: T\nid: i\nlevel: {level}\ntags: [attack.t1609]\nlogsource: {{product: kubernetes, service: audit}}\n\
         detection: {{a: {{verb: get}}, condition: a}}"
    );
    rules::parse("t.yml", &text).unwrap()
}

fn by_user(for_s: u32) -> Policy {
    let suppress = Suppress {
        fits: Fits { rules: vec![Glob::new("*")], ..Fits::default() },
        by: vec!["user.username".into()],
        fields: vec![Template::parse("{user.username}").unwrap()],
        for_s,
        max_level: Level::Medium,
    };
    Policy { suppress: vec![suppress], ..Policy::default() }
}

/// A ledger, and a request that is asked about.
struct Desk {
    ledger: Ledger,
    rules: Vec<Rule>,
    draft: Draft,
    outcome: Vec<(AlertId, Vec<Claim>)>,
    held: Vec<Held>,
    cluster: &'static str,
}

impl Desk {
    fn new(policy: Policy, level: &str) -> Self {
        let (rules, draft) = (vec![rule(level)], Draft::default());
        let ledger = Ledger::new(policy);
        Self { ledger, rules, draft, outcome: Vec::new(), held: Vec::new(), cluster: "" }
    }

    /// Whether the alert of a user's event at this second is told.
    fn ask(&mut self, id: AlertId, user: &str, at_s: i64) -> bool {
        let text = json!({"verb": "get", "user": {"username": user}}).to_string();
        let event = AuditEvent::new(&text, json::members(&text).collect());
        let rule = &self.rules[0];
        let asked = Asked {
            id,
            at_ms: at_s * 1000,
            event: &event,
            rule,
            rule_place: 0,
            grade: self.ledger.policy().grade(rule, "", self.cluster),
            cluster: self.cluster,
            index: "logs-k8scop.alerts-default",
            slot: self.outcome.len(),
        };
        match self.ledger.ask(&mut self.draft, &asked) {
            Ruling::Tell(claims) => {
                self.outcome.push((id, claims));
                true
            }
            Ruling::Hold(held) => {
                self.held.push(held);
                false
            }
        }
    }

    /// Ends the request: of its alerts those are stored that `stored` says. Gives back how many were counted.
    fn settle(&mut self, now_s: i64, stored: impl Fn(AlertId) -> bool) -> u64 {
        let groups = std::mem::take(&mut self.draft).into_groups();
        let told = self.outcome.iter().filter(|it| stored(it.0));
        let outcome = Outcome {
            told: told.map(|(id, claims)| (*id, claims.as_slice())).collect(),
            held: std::mem::take(&mut self.held),
            groups: &groups,
        };
        let counted = self.ledger.settle(&outcome, &self.rules, &Sender::default(), now_s * 1000);
        self.outcome.clear();
        counted.iter().map(|it| it.count).sum()
    }

    fn due(&self, now_s: i64) -> Vec<Value> {
        let due = self.ledger.due(now_s.saturating_mul(1000), usize::MAX);
        let written = |it: &Summary| {
            let mut out = String::new();
            it.write("2026-03-01T12:00:00Z".parse().unwrap(), &mut out);
            let lines: Vec<&str> = out.lines().collect();
            assert_eq!(lines.len(), 2, "{out}");
            let action: Value = serde_json::from_str(lines[0]).unwrap();
            assert_eq!(action["create"]["_index"], "logs-k8scop.alerts-default");
            assert_eq!(action["create"]["_id"].as_str().unwrap().len(), 32);
            serde_json::from_str(lines[1]).unwrap()
        };
        due.iter().map(written).collect()
    }
}

#[test]
fn one_of_those_that_say_the_same_is_told_and_a_summary_tells_of_the_others() {
    let mut desk = Desk::new(by_user(60), "medium");
    assert!(desk.ask(1, "alice", 100) && !desk.ask(2, "alice", 110) && desk.ask(3, "bob", 110));
    assert_eq!(desk.settle(200, |_| true), 1);
    assert!(!desk.ask(4, "alice", 159) && !desk.ask(5, "alice", 41), "a minute before and after");
    assert!(desk.ask(6, "alice", 160) && desk.ask(7, "alice", 40), "and no more");
    assert!(!desk.ask(2, "alice", 110), "again");
    assert!(desk.ask(1, "alice", 100), "its event came again");
    assert_eq!(desk.settle(200, |_| true), 2, "nothing is counted twice");
    assert!(desk.due(259).is_empty());
    let due = desk.due(260);
    let [summary] = due.as_slice() else { panic!("{due:?}") };
    assert_eq!(summary["message"], "3 more of T");
    assert_eq!(summary["@timestamp"], "1970-01-01T00:02:39Z");
    assert_eq!(summary["event"]["start"], "1970-01-01T00:00:41Z");
    assert_eq!(
        (&summary["event"]["kind"], &summary["event"]["severity"]),
        (&json!("alert"), &json!(47))
    );
    assert_eq!(summary["rule"]["name"], "T");
    assert_eq!(summary["user"], json!({"name": "alice"}));
    assert_eq!(summary["data_stream"]["namespace"], "default");
    let held = json!({"count": 3, "reason": "suppress", "by": ["user.username: alice"]});
    assert_eq!(summary["k8scop"]["held"], held);
    let reason = summary["event"]["reason"].as_str().unwrap();
    assert!(reason.contains("3 more of T, from 1970") && reason.contains("by alice"), "{reason}");
    assert!(desk.ask(8, "alice", 150), "the window is closed: better told twice than not");
}

#[test]
fn until_one_is_stored_the_next_ones_are_told_too() {
    let mut desk = Desk::new(by_user(60), "medium");
    assert!(desk.ask(1, "alice", 100));
    desk.draft = Draft::default();
    assert!(desk.ask(2, "alice", 100), "another request at the same time");
    desk.settle(200, |_| false);
    assert!(desk.ask(2, "alice", 100), "it was not stored");
    assert!(!desk.ask(3, "alice", 101));
    desk.settle(200, |_| true);
    assert!(!desk.ask(4, "alice", 102));
    assert!(desk.ask(2, "alice", 100), "its event came again");
}

#[test]
fn what_is_held_for_an_alert_that_is_refused_is_told_at_once() {
    let mut desk = Desk::new(by_user(3600), "medium");
    assert!(desk.ask(1, "alice", 100) && !desk.ask(2, "alice", 100));
    assert_eq!(desk.settle(200, |_| false), 1);
    assert_eq!(desk.due(200)[0]["message"], "1 more of T");
    assert!(desk.ask(3, "alice", 100));
}

#[test]
fn what_is_undone_is_not_told() {
    let mut desk = Desk::new(by_user(60), "medium");
    let mark = desk.draft.mark();
    assert!(desk.ask(1, "alice", 100) && !desk.ask(2, "alice", 100));
    desk.draft.undo(mark);
    (desk.outcome, desk.held) = Default::default();
    assert!(desk.ask(3, "alice", 100), "the first is gone");
    let mark = desk.draft.mark();
    assert!(!desk.ask(4, "alice", 100) && desk.ask(5, "bob", 100));
    desk.draft.undo(mark);
    assert!(!desk.ask(4, "alice", 100) && desk.ask(6, "bob", 100));
    let group = &desk.draft.into_groups()[desk.held.last().unwrap().group];
    assert_eq!(group.leader, Some(0));
}

#[test]
fn what_is_high_is_neither_suppressed_nor_capped_unless_that_is_written() {
    for level in ["high", "critical"] {
        let mut policy = by_user(60);
        let mut desk = Desk::new(policy.clone(), level);
        assert!((0..2000).all(|it| desk.ask(it, "alice", 100)));
        assert_eq!(desk.settle(200, |_| true), 0);
        policy.suppress[0].max_level = Level::Critical;
        let mut desk = Desk::new(policy, level);
        assert!(desk.ask(1, "alice", 100) && !desk.ask(2, "alice", 100));
    }
}

#[test]
fn a_storm_is_capped_and_hides_no_user() {
    let mut desk = Desk::new(Policy::default(), "medium");
    let told = (0..150).filter(|it| desk.ask(*it, "alice", 100)).count();
    assert_eq!(told, 100);
    assert!(desk.ask(1000, "mallory", 100) && !desk.ask(1001, "mallory", 100));
    assert_eq!(desk.settle(200, |_| true), 51);
    assert!(!desk.ask(1002, "mallory", 101) && desk.ask(1003, "eve", 101));
    desk.cluster = "other";
    assert!(desk.ask(1004, "alice", 100), "another cluster");
    desk.cluster = "";
    assert!(desk.ask(1005, "alice", 160), "another minute");
    assert_eq!(desk.settle(201, |_| true), 1);
    // Two were spared. So many more, and it ends.
    let spared = (0..100).filter(|it| desk.ask(2000 + it, &format!("u{it}"), 100)).count();
    assert_eq!(spared, SPARED_USERS_MAX - 3);
    desk.settle(202, |_| true);
    let due = desk.due(260);
    let [summary] = due.as_slice() else { panic!("{due:?}") };
    assert_eq!(summary["k8scop"]["held"]["reason"], "rate_per_rule");
    assert_eq!(summary["k8scop"]["held"]["count"], 52 + 53);
    let users = summary["related"]["user"].as_array().unwrap();
    assert!(users.len() == USERS_MAX && users.contains(&json!("mallory")), "{users:?}");
    assert!(summary["event"]["reason"].as_str().unwrap().contains("and others"));
    assert!(summary.get("user").is_none());
}

#[test]
fn all_rules_together_are_capped() {
    let rate = Rate { per_rule: 1000, total: 3, max_level: Level::Medium };
    let mut desk = Desk::new(Policy { rate, ..Policy::default() }, "low");
    assert_eq!((0..10).filter(|it| desk.ask(*it, "a", 100)).count(), 3);
    assert_eq!(desk.settle(200, |_| true), 7);
    desk.rules[0].id = "other".into();
    assert!(desk.ask(10, "a", 100) && !desk.ask(11, "a", 100), "the first of another rule passes");
    assert_eq!(desk.settle(200, |_| true), 1);
    let due = desk.due(260);
    assert_eq!(due.len(), 2, "each rule has a summary of its own");
    assert_eq!(due[0]["k8scop"]["held"]["reason"], "rate_total");
}

#[test]
fn what_is_forgotten_is_told_again() {
    let mut desk = Desk::new(by_user(3600), "medium");
    desk.ledger = Ledger::new(Policy {
        rate: Rate { per_rule: u32::MAX, total: u32::MAX, max_level: Level::Informational },
        ..by_user(3600)
    });
    for it in 0..=WINDOWS_MAX {
        assert!(desk.ask(it as AlertId, &format!("u{it}"), 100));
        desk.settle(200 + it as i64, |_| true);
    }
    assert_eq!(desk.ledger.sizes(), (WINDOWS_MAX, 1, 0));
    assert!(!desk.ask(1 << 70, "u1", 100) && desk.ask(1 << 71, "u0", 100));
}

#[test]
fn more_summaries_than_there_is_room_for_become_one_for_each_rule() {
    let mut desk = Desk::new(by_user(3600), "medium");
    let many = SUMMARIES_MAX + 100;
    for it in 0..many {
        let (user, id) = (format!("u{it}"), 2 * it as AlertId);
        desk.ask(id, &user, 100 + 120 * it as i64);
        desk.ask(id + 1, &user, 100 + 120 * it as i64);
    }
    assert_eq!(desk.settle(200, |_| true), many as u64);
    assert_eq!(desk.ledger.sizes().2, SUMMARIES_MAX + 1);
    let due = desk.due(i64::MAX);
    let counts = due.iter().map(|it| it["k8scop"]["held"]["count"].as_u64().unwrap());
    assert_eq!((counts.clone().sum::<u64>(), counts.max()), (many as u64, Some(100)));
}

#[test]
fn a_summary_that_is_not_stored_stays_as_it_is() {
    let mut desk = Desk::new(by_user(60), "medium");
    desk.ask(1, "alice", 100);
    desk.ask(2, "alice", 100);
    desk.settle(200, |_| true);
    assert!(!desk.ask(3, "alice", 100));
    let summary = desk.ledger.due(260_000, 1).pop().unwrap();
    let id = summary.id.clone();
    desk.ledger.put_back(summary, 300_000);
    assert_eq!(desk.settle(270, |_| true), 1);
    let mut again = desk.ledger.due(300_000, 5);
    again.sort_by_key(|it| it.tries);
    let [new, old] = again.as_slice() else { panic!("{again:?}") };
    assert_eq!((old.id.as_str(), old.count, old.tries), (id.as_str(), 1, 1));
    assert!(new.id != id && new.count == 1, "what came later is told in another");
}

#[test]
fn grades_routes_and_names() {
    let mut policy = Policy::default();
    let fits = |rules: &str, namespaces: &str, clusters: &str| {
        let globs = |it: &str| it.split_whitespace().map(Glob::new).collect();
        Fits { rules: globs(rules), namespaces: globs(namespaces), clusters: globs(clusters) }
    };
    let mut add = |fits, level, risk_score| {
        policy.overrides.push(Override { fits, level, risk_score });
    };
    add(fits("i", "dev-*", ""), Some(Level::Low), None);
    add(fits("attack.t16*", "", "prod"), None, Some(90));
    add(fits("U T", "", ""), Some(Level::Informational), None);
    add(fits("nobody", "", ""), Some(Level::Critical), None);
    policy.routes.push(Route { min_level: Level::High, index: "pager".into() });
    let rule = rule("high");
    let grade = |namespace, cluster| {
        let it = policy.grade(&rule, namespace, cluster);
        (it.level, it.risk_score)
    };
    assert_eq!(grade("dev-a", "prod"), (Level::Low, 21), "the first that fits");
    assert_eq!(grade("a", "prod"), (Level::High, 90));
    assert_eq!(grade("", ""), (Level::Informational, 1));
    assert!(!policy.is_alert(Level::Informational) && policy.is_alert(Level::Low));
    assert_eq!((policy.route(Level::High), policy.route(Level::Medium)), (Some("pager"), None));
    assert_eq!(
        policy.strangers(&[rule], &[]),
        ["alerts.overrides: no rule is called `U`", "alerts.overrides: no rule is called `nobody`"]
    );
}

#[test]
fn correlations_are_told_as_alerts_are() {
    let correlation = |id: &str, level: &str| {
        let text = format!(
            "{{title: t, id: {id}, level: {level}, tags: [attack.t1], correlation: {{type: event_count, rules: [r], timespan: 10s, condition: {{gte: 3}}}}}}"
        );
        rules::correlation::parse("c.yml", &text).unwrap()
    };
    let all = [("a", "informational"), ("b", "medium"), ("c", "high")];
    let all = all.map(|(id, level)| correlation(id, level)).to_vec();
    let base = BaseRule { id: "r".into(), name: None, file: "c.yml".into() };
    let plan = Plan::new(all, &[base]).unwrap();
    let fits = |rules: &str| Fits { rules: vec![Glob::new(rules)], ..Fits::default() };
    let one_cluster = Fits { clusters: vec![Glob::new("x")], ..fits("*") };
    let suppress = |fits: Fits, for_s| Suppress {
        fits,
        by: Vec::new(),
        fields: Vec::new(),
        for_s,
        max_level: Level::Medium,
    };
    let raise = Override { fits: one_cluster.clone(), level: Some(Level::High), risk_score: None };
    let policy = Policy {
        overrides: vec![
            Override { fits: fits("b"), level: Some(Level::Informational), risk_score: Some(5) },
            raise,
        ],
        suppress: vec![suppress(one_cluster, 50), suppress(fits("attack.t1"), 60)],
        ..Policy::default()
    };
    let told = policy.adjusted(&plan);
    let of = |plan: &Plan| {
        let each = plan.correlations().iter().map(|it| (it.is_told, it.quiet_us / 1_000_000));
        each.collect::<Vec<_>>()
    };
    assert_eq!(of(&plan), [(false, 10), (true, 10), (true, 10)]);
    assert_eq!(of(&told), [(true, 60), (true, 60), (true, 10)], "what is high is told");
    let grade = |place: usize, cluster| {
        let it = policy.grade(&plan.correlations()[place], "", cluster);
        (it.level, it.risk_score)
    };
    assert_eq!(grade(0, "x"), (Level::High, 73));
    assert_eq!(grade(0, "y"), (Level::Informational, 1));
    assert_eq!(grade(1, "x"), (Level::Informational, 5));
    assert_eq!(policy.strangers(&[], plan.correlations()), Vec::<String>::new());
}

#[test]
fn correlations_are_quiet_by_their_own_groups() {
    let text = "{title: Many, id: many, level: low, correlation: {type: event_count, rules: [r], group-by: [user.username, objectRef.namespace], timespan: 10s, condition: {gte: 3}}}";
    let correlation = rules::correlation::parse("c.yml", text).unwrap();
    let base = BaseRule { id: "r".into(), name: None, file: "c.yml".into() };
    let plan = Plan::new(vec![correlation], &[base]).unwrap();
    let said = |rules: &str, by: &[&str]| {
        let suppress = Suppress {
            fits: Fits { rules: vec![Glob::new(rules)], ..Fits::default() },
            by: by.iter().map(|it| (*it).to_owned()).collect(),
            fields: Vec::new(),
            for_s: 60,
            max_level: Level::Medium,
        };
        let policy = Policy { suppress: vec![suppress], ..Policy::default() };
        policy.other_groups(plan.correlations())
    };
    let expected = "alerts.suppress: `by` says nothing to the correlation `Many`: it is quiet for each of its groups, by objectRef.namespace, user.username";
    assert_eq!(said("many", &["user.username"]), [expected]);
    assert_eq!(said("Many", &["k8scop.peer_ip"]), [expected]);
    for (rules, by) in [
        ("many", &["objectRef.namespace", "user.username"][..]),
        ("many", &[]),
        ("*", &["user.username"]),
        ("other", &["user.username"]),
    ] {
        assert!(said(rules, by).is_empty(), "{rules} {by:?}");
    }
}

#[test]
fn credentials_are_never_shown() {
    let sender = Sender::new(Some(b"ApiKey s3cret"));
    assert_eq!(
        (format!("{sender:?}").as_str(), sender.authorization()),
        ("***", Some(&b"ApiKey s3cret"[..]))
    );
    assert_eq!(Sender::new(Some(&[b'a'; 5000])), Sender::default());
}

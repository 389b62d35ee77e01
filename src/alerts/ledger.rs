use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use sha2::{Digest, Sha256};

use super::{
    Grade, Policy, Reason, Sender, Summary, Suppress,
    draft::{Claim, Draft, Group, Held, Window, add},
    recent::{Fate, Recent},
    summary::{RuleNote, Users},
};
use crate::{
    classify::sentence,
    event::AuditEvent,
    rules::{Level, Rule},
};

/// Most windows that are known. One more makes the one that closes first forgotten: its alerts are told again.
pub(super) const WINDOWS_MAX: usize = 10_000;
/// Most summaries that are waiting. What is held beyond is counted in one summary for each rule.
pub(super) const SUMMARIES_MAX: usize = 5_000;
/// Most alerts of which is known what became of them.
const RECENT_MAX: usize = 100_000;
/// Most users in one window whose first alert passes though there are too many.
pub(super) const SPARED_USERS_MAX: usize = 50;
/// What a rate is counted in.
const MINUTE_MS: i64 = 60_000;

/// The number in an alert's `_id`.
pub type AlertId = u128;

/// Remembers which alerts were told, and how many are held.
#[derive(Debug)]
pub struct Ledger {
    policy: Policy,
    state: Mutex<State>,
}

/// An alert that could be told.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Its number.
    pub id: AlertId,
    /// When its event happened (milliseconds since 1970).
    pub at_ms: i64,
    /// Its event.
    pub event: &'a AuditEvent<'a>,
    /// Its rule.
    pub rule: &'a Rule,
    /// The place of the rule among all.
    pub rule_place: usize,
    /// How bad it is.
    pub grade: Grade,
    /// The cluster, empty where it is not known.
    pub cluster: &'a str,
    /// Where it would go.
    pub index: &'a str,
    /// The slot that it would get in its batch.
    pub slot: usize,
}

/// What becomes of it.
#[derive(Debug)]
pub enum Ruling {
    /// It is told, and takes its place in these windows.
    Tell(Vec<Claim>),
    /// It is held.
    Hold(Held),
}

/// What came of a request.
#[derive(Debug, Default)]
pub struct Outcome<'p> {
    /// Alerts that are stored.
    pub told: Vec<(AlertId, &'p [Claim])>,
    /// Alerts that are held.
    pub held: Vec<Held>,
    /// The groups of these.
    pub groups: &'p [Group],
}

/// How many alerts are held now for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// The rule's place.
    pub rule: usize,
    /// Their level.
    pub level: Level,
    /// Why.
    pub reason: Reason,
    /// How many.
    pub count: u64,
}

/// A window as it is known.
#[derive(Debug)]
struct Known {
    told: u32,
    /// The first that was told: it is told again when its event comes again.
    leader: AlertId,
    users: Vec<u64>,
    closes_ms: i64,
}

/// What may let an alert pass or hold it.
pub(super) struct Gate<'p> {
    pub(super) reason: Reason,
    key: u128,
    length_ms: i64,
    told_max: u32,
    /// Whoever is behind it: the first of each passes.
    spared: Option<u64>,
    pub(super) suppress: Option<(&'p Suppress, Vec<String>)>,
}

#[derive(Debug)]
struct State {
    windows: BTreeMap<Window, Known>,
    closing: BTreeSet<(i64, Window)>,
    evicted: u64,
    recent: Recent,
    /// Summaries in the making, and those that could not be stored.
    piles: BTreeMap<u128, Summary>,
    /// When each is to be told.
    due: BTreeSet<(i64, u128)>,
}

impl Ledger {
    /// Nothing is told yet.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        let state = State {
            windows: BTreeMap::new(),
            closing: BTreeSet::new(),
            evicted: 0,
            recent: Recent::new(RECENT_MAX),
            piles: BTreeMap::new(),
            due: BTreeSet::new(),
        };
        Self { policy, state: Mutex::new(state) }
    }

    /// What it goes by.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an alert is told.
    #[must_use]
    pub fn ask(&self, draft: &mut Draft, asked: &Asked<'_>) -> Ruling {
        let gates = self.gates(asked);
        if gates.is_empty() {
            return Ruling::Tell(Vec::new());
        }
        let state = self.state();
        if state.recent.get(asked.id) == Some(Fate::Told) {
            return Ruling::Tell(Vec::new());
        }
        let mut claims = Vec::with_capacity(gates.len());
        for gate in gates {
            let window = match (gate.find(&state.windows, asked), gate.find(&draft.windows, asked))
            {
                (Some(window), _) | (None, Some(window)) => window,
                (None, None) => Window { key: gate.key, start_ms: asked.at_ms },
            };
            let (known, local) = (state.windows.get(&window), draft.windows.get(&window));
            if known.is_some_and(|it| it.leader == asked.id) {
                return Ruling::Tell(Vec::new());
            }
            let told = known.map_or(0, |it| it.told) + local.map_or(0, |it| it.told);
            let users = || {
                let of_known = known.iter().flat_map(|it| &it.users);
                of_known.chain(local.iter().flat_map(|it| &it.users))
            };
            let is_spared = gate.spared.is_some_and(|it| !users().any(|user| *user == it))
                && users().count() < SPARED_USERS_MAX;
            if told >= gate.told_max && !is_spared {
                let leader = local.filter(|_| known.is_none()).map(|it| it.leader);
                drop(state);
                return Ruling::Hold(draft.hold(asked, gate, window, leader));
            }
            claims.push(Claim { window, length_ms: gate.length_ms, user: gate.spared });
        }
        drop(state);
        for claim in &claims {
            draft.claim(claim, asked.slot);
        }
        Ruling::Tell(claims)
    }

    fn gates(&self, asked: &Asked<'_>) -> Vec<Gate<'_>> {
        let (rule, level) = (asked.rule, asked.grade.level);
        let namespace = asked.event.object.namespace.as_deref().unwrap_or_default();
        let mut gates = Vec::new();
        let suppress = self
            .policy
            .suppress
            .iter()
            .find(|it| level <= it.max_level && it.fits.alert(rule, namespace, asked.cluster));
        if let Some(suppress) = suppress {
            let values: Vec<_> =
                suppress.fields.iter().map(|it| sentence(asked.event, it)).collect();
            let mut parts = vec!["suppress", asked.index, &rule.id];
            parts.extend(values.iter().map(String::as_str));
            gates.push(Gate {
                reason: Reason::Suppress,
                key: hash(&parts),
                length_ms: i64::from(suppress.for_s) * 1000,
                told_max: 1,
                spared: None,
                suppress: Some((suppress, values)),
            });
        }
        let rate = &self.policy.rate;
        if level <= rate.max_level {
            let gate = |reason, key, told_max, spared| Gate {
                reason,
                key,
                length_ms: MINUTE_MS,
                told_max,
                spared: Some(spared),
                suppress: None,
            };
            let user = asked.event.user_name.as_deref().unwrap_or_default();
            let key = hash(&["rule", asked.index, &rule.id, asked.cluster]);
            gates.push(gate(Reason::RatePerRule, key, rate.per_rule, short_hash(&[user])));
            // Storms of some rules must not hide what another one tells.
            let (key, who) = (hash(&["total", asked.index]), short_hash(&[&rule.id, user]));
            gates.push(gate(Reason::RateTotal, key, rate.total, who));
        }
        gates
    }

    /// Takes what came of a request. Gives back what is held and was not counted before.
    pub fn settle(
        &self,
        outcome: &Outcome<'_>,
        rules: &[Rule],
        sender: &Sender,
        now_ms: i64,
    ) -> Vec<Counted> {
        let mut counted = Vec::new();
        if outcome.told.is_empty() && outcome.held.is_empty() {
            return counted;
        }
        let mut state = self.state();
        for (id, claims) in &outcome.told {
            if !claims.is_empty() && state.recent.get(*id) != Some(Fate::Told) {
                state.recent.put(*id, Fate::Told);
                claims.iter().for_each(|it| state.tell(*id, it, now_ms));
            }
        }
        for held in &outcome.held {
            let group = outcome.groups.get(held.group);
            let Some((group, rule)) = group.and_then(|it| Some((it, rules.get(it.rule)?))) else {
                continue;
            };
            if state.recent.put(held.id, Fate::Counted) {
                state.count(held, group, rule, sender, now_ms);
                count(&mut counted, held, group);
            }
        }
        counted
    }

    /// Summaries that are to be told now, and are forgotten here.
    #[must_use]
    pub fn due(&self, now_ms: i64, count_max: usize) -> Vec<Summary> {
        let mut state = self.state();
        state.forget_closed(now_ms);
        let mut due = Vec::new();
        while due.len() < count_max
            && let Some((due_ms, key)) = state.due.first().copied()
            && due_ms <= now_ms
        {
            state.due.pop_first();
            due.extend(state.piles.remove(&key));
        }
        due
    }

    /// Takes back a summary that could not be stored, until then.
    pub fn put_back(&self, mut summary: Summary, due_ms: i64) {
        summary.tries += 1;
        // It stays as it is: it may be stored all the same, and would be there already under its id.
        let key = hash(&["again", &summary.id]);
        let mut state = self.state();
        state.due.insert((due_ms, key));
        state.piles.insert(key, summary);
    }

    /// Windows that are known, those that were forgotten for want of room, and summaries that are waiting.
    #[must_use]
    pub fn sizes(&self) -> (usize, u64, usize) {
        let state = self.state();
        (state.windows.len(), state.evicted, state.piles.len())
    }
}

fn count(counted: &mut Vec<Counted>, held: &Held, group: &Group) {
    let (rule, level, reason) = (group.rule, held.grade.level, group.reason);
    let same = |it: &&mut Counted| (it.rule, it.level, it.reason) == (rule, level, reason);
    match counted.iter_mut().find(same) {
        Some(known) => known.count += 1,
        None => counted.push(Counted { rule, level, reason, count: 1 }),
    }
}

impl Gate<'_> {
    /// The window that the alert falls into: that of an earlier alert, or one of a later that came first.
    fn find<T>(&self, windows: &BTreeMap<Window, T>, asked: &Asked<'_>) -> Option<Window> {
        let at = |start_ms: i64| Window { key: self.key, start_ms };
        let (first, last) = (
            asked.at_ms.saturating_sub(self.length_ms - 1),
            asked.at_ms.saturating_add(self.length_ms - 1),
        );
        let earlier = windows.range(at(first)..=at(asked.at_ms)).next_back();
        let found = earlier.or_else(|| windows.range(at(asked.at_ms)..=at(last)).next());
        found.map(|(window, _)| *window)
    }
}

impl State {
    fn tell(&mut self, id: AlertId, claim: &Claim, now_ms: i64) {
        if !self.windows.contains_key(&claim.window) {
            if self.windows.len() >= WINDOWS_MAX
                && let Some((_, first)) = self.closing.pop_first()
            {
                self.windows.remove(&first);
                self.evicted += 1;
            }
            let closes_ms = now_ms.saturating_add(claim.length_ms);
            self.closing.insert((closes_ms, claim.window));
            let known = Known { told: 0, leader: id, users: Vec::new(), closes_ms };
            self.windows.insert(claim.window, known);
        }
        if let Some(known) = self.windows.get_mut(&claim.window) {
            known.told = known.told.saturating_add(1);
            add(&mut known.users, claim.user);
        }
    }

    fn forget_closed(&mut self, now_ms: i64) {
        while let Some((closes_ms, window)) = self.closing.first().copied()
            && closes_ms <= now_ms
        {
            self.closing.pop_first();
            self.windows.remove(&window);
        }
    }

    fn count(&mut self, held: &Held, group: &Group, rule: &Rule, sender: &Sender, now_ms: i64) {
        let Window { key, start_ms } = group.window;
        let parts = [&key.to_string(), &start_ms.to_string(), rule.id.as_str()];
        let (mut key, mut is_rest) = (hash(&parts), false);
        if self.piles.len() >= SUMMARIES_MAX && !self.piles.contains_key(&key) {
            (key, is_rest) = (hash(&["rest", rule.id.as_str()]), true);
        }
        let summary = self.piles.entry(key).or_insert_with(|| {
            let due_ms = match self.windows.get(&group.window) {
                _ if is_rest => now_ms.saturating_add(MINUTE_MS),
                Some(known) => known.closes_ms,
                // What was told for them is not known: it is for the summary to tell.
                None => now_ms,
            };
            self.due.insert((due_ms, key));
            first(key, held, group, rule, now_ms, is_rest)
        });
        summary.count += 1;
        summary.first_ms = summary.first_ms.min(held.at_ms);
        summary.last_ms = summary.last_ms.max(held.at_ms);
        summary.level = summary.level.max(held.grade.level);
        summary.risk_score = summary.risk_score.max(held.grade.risk_score);
        if summary.sender != *sender {
            summary.sender = sender.clone();
        }
        if !is_rest {
            summary.users.add_all(&group.users);
        }
    }
}

/// An empty summary.
fn first(
    key: u128,
    held: &Held,
    group: &Group,
    rule: &Rule,
    now_ms: i64,
    is_rest: bool,
) -> Summary {
    // No alert is counted twice, so no two summaries begin with the same.
    let id = hash(&["summary", &key.to_string(), &held.id.to_string(), &now_ms.to_string()]);
    let (cluster, by) = match is_rest {
        true => (String::new(), Vec::new()),
        false => (group.cluster.clone(), group.by.clone()),
    };
    Summary {
        id: format!("{id:032x}"),
        index: group.index.clone(),
        title: rule.title.clone(),
        count: 0,
        tries: 0,
        sender: Sender::default(),
        rule: RuleNote::of(rule),
        reason: group.reason,
        level: held.grade.level,
        risk_score: held.grade.risk_score,
        cluster,
        by,
        users: Users::default(),
        first_ms: held.at_ms,
        last_ms: held.at_ms,
    }
}

fn hash(parts: &[&str]) -> u128 {
    let mut all = Sha256::new();
    for part in parts {
        all.update((part.len() as u64).to_le_bytes());
        all.update(part);
    }
    all.finalize().iter().take(16).fold(0, |number, byte| number << 8 | u128::from(*byte))
}

fn short_hash(parts: &[&str]) -> u64 {
    u64::try_from(hash(parts) >> 64).unwrap_or_default()
}

use std::collections::BTreeMap;

use super::{
    AlertId, Asked, Grade, Reason,
    ledger::{Gate, SPARED_USERS_MAX},
    summary::{Users, short},
};

/// About how much memory a group takes: its texts are short.
const GROUP_BYTES: usize = 2048;

/// What a request would do to the ledger once it is stored. In it, what is told first counts at once: if that is not
/// stored, what was held for it is not done with.
#[derive(Debug, Default)]
pub struct Draft {
    pub(super) windows: BTreeMap<Window, Local>,
    steps: Vec<Step>,
    groups: Vec<Group>,
    places: BTreeMap<(Window, usize), usize>,
    /// About how much memory the groups take, and what is held.
    bytes: usize,
}

/// A place in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    pub(super) window: Window,
    pub(super) length_ms: i64,
    pub(super) user: Option<u64>,
}

/// An alert that is held.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    /// Its number.
    pub id: AlertId,
    /// What it is counted with: its place in [`Draft::groups`].
    pub group: usize,
    pub(super) at_ms: i64,
    pub(super) grade: Grade,
}

/// Alerts of one request that are counted together.
#[derive(Clone, Debug)]
pub struct Group {
    /// The rule's place.
    pub rule: usize,
    /// The slot of the alert in the same batch that is told for them; `None` if one was told before.
    pub leader: Option<usize>,
    pub(super) window: Window,
    pub(super) reason: Reason,
    pub(super) index: String,
    pub(super) cluster: String,
    pub(super) by: Vec<(String, String)>,
    pub(super) users: Users,
}

/// What says the same, from when on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Window {
    pub(super) key: u128,
    pub(super) start_ms: i64,
}

/// A window in a draft.
#[derive(Debug)]
pub(super) struct Local {
    pub(super) told: u32,
    pub(super) users: Vec<u64>,
    pub(super) leader: usize,
}

/// What a claim changed in a draft.
#[derive(Debug)]
struct Step {
    window: Window,
    is_new: bool,
    adds_user: bool,
}

impl Draft {
    /// About how much memory it takes for what is held (bytes).
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.bytes
    }

    /// The groups, when all is asked.
    #[must_use]
    pub fn into_groups(self) -> Vec<Group> {
        self.groups
    }

    /// How far it is; for [`Self::undo`].
    #[must_use]
    pub fn mark(&self) -> usize {
        self.steps.len()
    }

    /// Goes back to a mark: what was asked since is not going to be told.
    pub fn undo(&mut self, mark: usize) {
        while self.steps.len() > mark
            && let Some(step) = self.steps.pop()
        {
            if step.is_new {
                self.windows.remove(&step.window);
                let places = (step.window, 0)..=(step.window, usize::MAX);
                let places: Vec<_> = self.places.range(places).map(|(place, _)| *place).collect();
                for place in places {
                    self.places.remove(&place);
                }
            } else if let Some(local) = self.windows.get_mut(&step.window) {
                local.told = local.told.saturating_sub(1);
                if step.adds_user {
                    local.users.pop();
                }
            }
        }
    }

    pub(super) fn claim(&mut self, claim: &Claim, slot: usize) {
        let is_new = !self.windows.contains_key(&claim.window);
        let local = self.windows.entry(claim.window).or_insert(Local {
            told: 0,
            users: Vec::new(),
            leader: slot,
        });
        local.told += 1;
        let adds_user = add(&mut local.users, claim.user);
        self.steps.push(Step { window: claim.window, is_new, adds_user });
    }

    pub(super) fn hold(
        &mut self,
        asked: &Asked<'_>,
        gate: Gate<'_>,
        window: Window,
        leader: Option<usize>,
    ) -> Held {
        self.bytes += size_of::<Held>();
        let group = *self.places.entry((window, asked.rule_place)).or_insert_with(|| {
            self.bytes += GROUP_BYTES;
            let by = gate.suppress.map(|(suppress, values)| {
                let values = values.iter().map(|it| short(it).to_owned());
                suppress.by.iter().cloned().zip(values).collect()
            });
            self.groups.push(Group {
                rule: asked.rule_place,
                leader,
                window,
                reason: gate.reason,
                index: asked.index.to_owned(),
                cluster: short(asked.cluster).to_owned(),
                by: by.unwrap_or_default(),
                users: Users::default(),
            });
            self.groups.len() - 1
        });
        if let (Some(group), Some(user)) = (self.groups.get_mut(group), &asked.event.user_name) {
            group.users.add(user);
        }
        Held { id: asked.id, group, at_ms: asked.at_ms, grade: asked.grade }
    }
}

/// Adds a user, if there is room. Whether it is new.
pub(super) fn add(users: &mut Vec<u64>, user: Option<u64>) -> bool {
    match user {
        Some(user) if users.len() < SPARED_USERS_MAX && !users.contains(&user) => {
            users.push(user);
            true
        }
        _ => false,
    }
}

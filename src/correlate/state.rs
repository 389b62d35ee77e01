use std::{borrow::Cow, collections::HashMap, sync::Arc};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{
    engine::{Engine, Memory},
    event::Key,
    limits::Limits,
    plan::Plan,
    table::Table,
};

/// A snapshot that cannot be read. What it held is gone.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum BrokenState {
    /// It is something else, or of another version.
    #[error("it is no snapshot of this version")]
    Version,
    /// It was cut or changed.
    #[error("its checksum is wrong")]
    Checksum,
    /// It does not fit together.
    #[error("it cannot be read")]
    Content,
}

/// What a snapshot begins with: this form of it, and no other.
const MAGIC: &[u8; 16] = b"k8scop-correl-03";

#[derive(Serialize, Deserialize)]
struct Snapshot<'m> {
    /// Id and content of each correlation, in the order of their places.
    plan: Vec<(String, Key)>,
    memory: Cow<'m, Memory>,
}

impl Engine {
    /// All that is remembered, to be restored by [`Self::restore`].
    pub fn snapshot(&self) -> Result<Vec<u8>, BrokenState> {
        let snapshot = Snapshot { plan: names(&self.plan), memory: Cow::Borrowed(&self.memory) };
        let Ok(content) = postcard::to_allocvec(&snapshot) else {
            return Err(BrokenState::Content);
        };
        let mut bytes = Vec::with_capacity(MAGIC.len() + 16 + content.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&Key::of_bytes([content.as_slice()]).0);
        bytes.extend_from_slice(&content);
        Ok(bytes)
    }

    /// Takes up what a snapshot holds. A correlation that was changed starts afresh, and so does a new one; the others
    /// go on.
    pub fn restore(plan: Arc<Plan>, limits: Limits, bytes: &[u8]) -> Result<Self, BrokenState> {
        let content = bytes.strip_prefix(MAGIC).ok_or(BrokenState::Version)?;
        let (sum, content) = content.split_at_checked(16).ok_or(BrokenState::Checksum)?;
        if Key::of_bytes([content]).0 != sum {
            return Err(BrokenState::Checksum);
        }
        let Ok(snapshot) = postcard::from_bytes::<Snapshot<'_>>(content) else {
            return Err(BrokenState::Content);
        };
        let Snapshot { plan: before, memory } = snapshot;
        let memory = memory.into_owned();
        if memory.tables.len() != before.len() {
            return Err(BrokenState::Content);
        }
        let mut engine = Self::new(plan, limits);
        engine.memory = fitted(memory, &before, &engine.plan);
        Ok(engine)
    }

    /// Goes on with other correlations, as [`Self::restore`] does. What is remembered is moved, not copied: it can be
    /// most of what the process has.
    #[must_use]
    pub fn with_plan(mut self, plan: Arc<Plan>) -> Self {
        self.memory = fitted(self.memory, &names(&self.plan), &plan);
        self.plan = plan;
        self
    }
}

/// What is remembered of those correlations that are the same, in their new places.
fn fitted(mut memory: Memory, before: &[(String, Key)], plan: &Plan) -> Memory {
    let places = Places::new(before, plan);
    let mut tables: Vec<Table> = vec![Table::default(); plan.planned.len()];
    for (table, place) in memory.tables.into_iter().zip(&places.0) {
        if let Some(new) = place.and_then(|it| tables.get_mut(it as usize)) {
            *new = table;
        }
    }
    memory.tables = tables;
    for clock in memory.clocks.all() {
        let timers = std::mem::take(&mut clock.timers).into_iter();
        let moved = timers.filter_map(|(at, place, key)| Some((at, places.get(place)?, key)));
        clock.timers = moved.collect();
    }
    memory
}

fn names(plan: &Plan) -> Vec<(String, Key)> {
    plan.planned.iter().map(|it| (it.correlation.id.clone(), it.hash)).collect()
}

/// Where correlations stand now; `None` for those that are gone or not the same.
struct Places(Vec<Option<u32>>);

impl Places {
    fn new(before: &[(String, Key)], plan: &Plan) -> Self {
        let now: HashMap<(String, Key), u32> = names(plan).into_iter().zip(0..).collect();
        Self(before.iter().map(|it| now.get(it).copied()).collect())
    }

    fn get(&self, place: u32) -> Option<u32> {
        self.0.get(place as usize).copied().flatten()
    }
}

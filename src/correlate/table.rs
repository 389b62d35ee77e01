use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::{
    clock::name_in,
    event::{Input, Key},
    generations::Generations,
    group::Group,
    plan::Planned,
    quota::Quota,
};

/// What one correlation remembers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Table {
    groups: HashMap<Key, Group>,
    /// The groups in the order in which they were touched.
    order: BTreeMap<u64, Key>,
    bytes: usize,
    /// `first_seen`: what was seen when.
    pub(super) seen: Generations,
    /// `first_seen`: until when nothing is told of a cluster.
    learns_until_us: BTreeMap<Box<str>, i64>,
    quotas: BTreeMap<Box<str>, Quota>,
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.groups.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Lets a group be changed, and keeps the account of its memory.
    pub(super) fn with<R>(&mut self, key: &Key, change: impl FnOnce(&mut Group) -> R) -> Option<R> {
        let group = self.groups.get_mut(key)?;
        let before = group.bytes();
        let result = change(group);
        self.bytes = (self.bytes + group.bytes()).saturating_sub(before);
        Some(result)
    }

    /// Makes the group if it is not there, or remembers nothing that counts at this time. Gives back the deadline
    /// that it had then.
    pub(super) fn touch(
        &mut self,
        key: Key,
        planned: &Planned,
        cluster: &str,
        input: &Input,
        at_us: i64,
        touch: u64,
    ) -> Option<i64> {
        let is_over = self.groups.get(&key).is_some_and(|it| it.over_us(planned) <= at_us);
        let deadline_us =
            if is_over { self.remove(&key).and_then(|it| it.deadline_us) } else { None };
        match self.groups.get_mut(&key) {
            Some(group) => {
                self.order.remove(&group.touch);
                group.touch = touch;
            }
            None => {
                let group = Group::new(planned, cluster, &input.group, touch);
                self.bytes += group.bytes();
                self.groups.insert(key, group);
            }
        }
        self.order.insert(touch, key);
        deadline_us
    }

    pub(super) fn remove(&mut self, key: &Key) -> Option<Group> {
        let group = self.groups.remove(key)?;
        self.order.remove(&group.touch);
        self.bytes = self.bytes.saturating_sub(group.bytes());
        Some(group)
    }

    /// The group that was not touched for longest, and when that was.
    pub(super) fn oldest(&self) -> Option<(u64, Key)> {
        self.order.first_key_value().map(|(touch, key)| (*touch, *key))
    }

    /// Takes the oldest group out if nothing of it counts at the time of its cluster.
    pub(super) fn pop_over(
        &mut self,
        planned: &Planned,
        now_us: impl Fn(&str) -> i64,
    ) -> Option<(Key, Group)> {
        let (_, key) = self.oldest()?;
        self.groups.get(&key).filter(|it| it.over_us(planned) <= now_us(&it.cluster))?;
        Some((key, self.remove(&key)?))
    }

    /// Until when nothing is told of a cluster: for a time from its first event on.
    pub(super) fn learns_until_us(&mut self, cluster: &str, at_us: i64, learn_us: i64) -> i64 {
        let name = name_in(&self.learns_until_us, cluster);
        let until_us = self.learns_until_us.entry(name.into());
        *until_us.or_insert(at_us.saturating_add(learn_us))
    }

    pub(super) fn quota(&mut self, cluster: &str) -> &mut Quota {
        let name = name_in(&self.quotas, cluster);
        self.quotas.entry(name.into()).or_default()
    }

    pub(super) fn cluster_of(&self, key: &Key) -> Option<Box<str>> {
        self.groups.get(key).map(|it| it.cluster.clone())
    }
}

use std::time::Duration;

use super::{Heard, Round, Run};
use crate::forward::Whole;

/// Slots that make Elasticsearch refuse the whole request, after which it is the request that is refused, if
/// nothing of it was taken.
const CULPRITS_MAX: usize = 8;

/// Tells a wait that is needed from none.
const SHORTEST: Duration = Duration::from_millis(1);

impl Run<'_> {
    /// Finds the slots for which Elasticsearch refuses this group, and delivers the others.
    ///
    /// The suspects are halved: one half is sent, together with what is clear of suspicion. If it is taken, the
    /// culprit is in the other half, else in this one, and the other half is clear. The last suspect is refused
    /// only when it was sent alone. One culprit among n costs at most ⌈log₂ n⌉ + 2 requests: 14 for 5,000.
    ///
    /// Where there are several, what is clear of suspicion is not: sent along, it would have every half refused. So
    /// from then on it waits until a culprit is found, which costs as much for each.
    pub(super) async fn find(&mut self, group: Vec<usize>, first: Whole) -> Round {
        if group.len() == 1 {
            self.open.condemn(group.into_iter().map(|slot| (slot, first.clone())).collect());
            return Round::Again { at_least: Duration::ZERO };
        }
        if self.open.has_twins(&group) {
            return self.find_in_order(group, first).await;
        }
        let (mut suspects, mut clear) = (group, Vec::new());
        let mut culprits = Vec::new();
        let mut several = false;
        loop {
            let alone = suspects.len() == 1;
            let test = if alone {
                suspects.clone()
            } else {
                let half = suspects.len() / 2;
                let mut test = suspects.get(..half).unwrap_or_default().to_vec();
                if !several {
                    test.extend(&clear);
                    test.sort_unstable();
                }
                test
            };
            match self.send(&test).await {
                Heard::Items if alone => suspects.clear(),
                Heard::Items => {
                    suspects.drain(..suspects.len() / 2);
                    if !several {
                        clear.clear();
                    }
                    continue;
                }
                Heard::Refused(whole) if !self.may_be_one_slot(&whole) => {
                    self.open.refuse(whole);
                    return Round::Done;
                }
                Heard::Refused(whole) if test.len() == 1 => {
                    clear.extend(suspects.drain(..).filter(|it| !test.contains(it)));
                    culprits.extend(test.iter().map(|slot| (*slot, whole.clone())));
                }
                Heard::Refused(_) => {
                    clear.extend(suspects.drain(suspects.len() / 2..));
                    continue;
                }
                Heard::Later { at_least } => {
                    self.open.condemn(culprits);
                    return Round::Again { at_least: at_least.max(SHORTEST) };
                }
            }
            if culprits.len() >= CULPRITS_MAX && !self.open.answered_something {
                self.open.refuse(first);
                return Round::Done;
            }
            // What was thought clear may not be: it is sent, and if it is refused the search goes on in it.
            clear.sort_unstable();
            if clear.is_empty() {
                break;
            }
            match self.send(&clear).await {
                Heard::Items => break,
                Heard::Refused(whole) if self.may_be_one_slot(&whole) => {
                    suspects = std::mem::take(&mut clear);
                    several = true;
                    if suspects.len() == 1 {
                        culprits.extend(suspects.iter().map(|slot| (*slot, whole.clone())));
                        break;
                    }
                    if culprits.len() >= CULPRITS_MAX {
                        self.open.condemn(culprits);
                        return self.find_in_order(suspects, first).await;
                    }
                }
                Heard::Refused(whole) => {
                    self.open.refuse(whole);
                    return Round::Done;
                }
                Heard::Later { at_least } => {
                    self.open.condemn(culprits);
                    return Round::Again { at_least: at_least.max(SHORTEST) };
                }
            }
        }
        self.open.condemn(culprits);
        Round::Again { at_least: Duration::ZERO }
    }

    /// As [`Self::find`], from the first slot to the last: where several slots mean the same document, they must
    /// be done in their order, and where culprits are many, halving both halves costs less.
    async fn find_in_order(&mut self, group: Vec<usize>, first: Whole) -> Round {
        let mut culprits = Vec::new();
        let half = group.len() / 2;
        let (left, right) = group.split_at_checked(half).unwrap_or_default();
        let mut stack = vec![right.to_vec(), left.to_vec()];
        while let Some(mut part) = stack.pop() {
            if part.is_empty() {
                continue;
            }
            match self.send(&part).await {
                Heard::Items => (),
                Heard::Refused(whole) if self.may_be_one_slot(&whole) => {
                    if let [slot] = part.as_slice() {
                        culprits.push((*slot, whole));
                    } else {
                        stack.push(part.split_off(part.len() / 2));
                        stack.push(part);
                    }
                }
                Heard::Refused(whole) => {
                    self.open.refuse(whole);
                    return Round::Done;
                }
                Heard::Later { at_least } => {
                    self.open.condemn(culprits);
                    return Round::Again { at_least: at_least.max(SHORTEST) };
                }
            }
            if culprits.len() >= CULPRITS_MAX && !self.open.answered_something {
                self.open.refuse(first);
                return Round::Done;
            }
        }
        self.open.condemn(culprits);
        Round::Again { at_least: Duration::ZERO }
    }
}

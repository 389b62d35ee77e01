use std::ops::Range;

use bytes::{Bytes, BytesMut};

use super::{Action, Defaults};

/// One bulk body on its way to Elasticsearch, with the place of every action in it.
///
/// A slot is one action and its document. Retrying copies the bytes of the slots that are left; nothing is
/// encoded again.
#[derive(Debug, Default)]
pub struct OutgoingBatch {
    body: Bytes,
    slots: Vec<Range<usize>>,
}

impl OutgoingBatch {
    /// Takes a body and the places of its slots, in order.
    #[must_use]
    pub fn new(body: String, slots: Vec<Range<usize>>) -> Self {
        debug_assert_eq!(slots.last().map_or(0, |it| it.end), body.len(), "slots cover the body");
        Self { body: Bytes::from(body), slots }
    }

    /// The whole body, in bytes.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.body.len()
    }

    /// Slots in the batch.
    #[must_use]
    pub fn slot_count(&self) -> usize {
        self.slots.len()
    }

    /// How long one slot is, in bytes.
    #[must_use]
    pub fn slot_len_bytes(&self, index: usize) -> usize {
        self.slots.get(index).map_or(0, Range::len)
    }

    /// What one slot asks for, read from its action line.
    #[must_use]
    pub fn action(&self, index: usize) -> Option<Action<'_>> {
        let lines = self.body.get(self.slots.get(index)?.clone())?;
        let end = memchr::memchr(b'\n', lines)?;
        let line = std::str::from_utf8(lines.get(..end)?).ok()?;
        Action::parse(line, &Defaults::default()).ok()
    }

    /// The lines of one slot.
    #[must_use]
    pub fn slot(&self, index: usize) -> Bytes {
        self.slots.get(index).map(|it| self.body.slice(it.clone())).unwrap_or_default()
    }

    /// A batch of these slots alone.
    #[must_use]
    pub fn of(&self, slots: &[usize]) -> Self {
        let mut end = 0;
        let place = |slot: &usize| {
            let start = end;
            end += self.slot_len_bytes(*slot);
            start..end
        };
        Self { slots: slots.iter().map(place).collect(), body: self.body_of(slots) }
    }

    /// The body of these slots alone; the whole body is not copied.
    #[must_use]
    pub fn body_of(&self, slots: &[usize]) -> Bytes {
        if slots.len() == self.slots.len() {
            return self.body.clone();
        }
        let mut body = BytesMut::new();
        for index in slots {
            body.extend_from_slice(&self.slot(*index));
        }
        body.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_of_slots() {
        let batch = OutgoingBatch::new("a\nb\nc\n".into(), vec![0..2, 2..4, 4..6]);
        assert_eq!(batch.body_of(&[0, 1, 2]), "a\nb\nc\n");
        assert_eq!(batch.body_of(&[0, 2]), "a\nc\n");
        assert_eq!(batch.slot(1), "b\n");
        let part = batch.of(&[1, 2]);
        assert_eq!((part.slot_count(), part.len_bytes()), (2, 4));
        assert_eq!(part.slot(1), "c\n");
    }

    #[test]
    fn what_a_slot_asks_for() {
        let lines = [
            "{\"index\":{\"_index\":\"a\",\"_id\":\"1\"}}\n{}\n",
            "{\"delete\":{\"_index\":\"a\",\"_id\":\"2\"}}\n",
        ];
        let batch = OutgoingBatch::new(
            lines.concat(),
            vec![0..lines[0].len(), lines[0].len()..lines.concat().len()],
        );
        assert_eq!(batch.slot_len_bytes(0), lines[0].len());
        let id = |slot| batch.action(slot).unwrap().id.unwrap().into_owned();
        assert_eq!((id(0), id(1)), ("1".into(), "2".into()));
        assert!(batch.action(2).is_none());
    }
}

/// A set of rules, one bit each.
#[derive(Clone, Debug)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    /// The empty set, with room for `count` rules.
    pub(super) fn none(count: usize) -> Self {
        Self(vec![0; count.div_ceil(64)])
    }

    /// Whether it is new there.
    pub(super) fn insert(&mut self, index: usize) -> bool {
        let Some(word) = self.0.get_mut(index / 64) else { return false };
        let is_new = *word & (1 << (index % 64)) == 0;
        *word |= 1 << (index % 64);
        is_new
    }

    pub(super) fn insert_all(&mut self, rules: &[u32]) {
        for rule in rules {
            self.insert(*rule as usize);
        }
    }

    pub(super) fn contains(&self, index: usize) -> bool {
        self.0.get(index / 64).is_some_and(|it| it & (1 << (index % 64)) != 0)
    }

    /// Takes out what is in `other`.
    pub(super) fn drop_all(&mut self, other: &Self) {
        for (word, other) in self.0.iter_mut().zip(&other.0) {
            *word &= !other;
        }
    }

    /// Takes out what is not in `other`.
    pub(super) fn keep(&mut self, other: &Self) {
        for (word, other) in self.0.iter_mut().zip(&other.0) {
            *word &= other;
        }
    }

    /// Takes out what is in neither.
    pub(super) fn keep_either(&mut self, one: &Self, other: &Self) {
        for ((word, one), other) in self.0.iter_mut().zip(&one.0).zip(&other.0) {
            *word &= one | other;
        }
    }

    pub(super) fn count(&self) -> usize {
        self.0.iter().map(|it| it.count_ones() as usize).sum()
    }

    /// Its rules in their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = usize> {
        self.0.iter().enumerate().flat_map(|(at, word)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                (left != 0).then(|| {
                    let bit = left.trailing_zeros() as usize;
                    left &= left - 1;
                    at * 64 + bit
                })
            })
        })
    }
}

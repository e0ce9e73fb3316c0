//! Sets of indexes, kept as the stretches that they are.
//!
//! Memory: about 20 bytes for each stretch.

use countersign_record::body::IndexRange;
use std::collections::BTreeMap;

/// Stretches of indexes, none of which touches another: first to last.
#[derive(Debug, Default)]
pub(super) struct Stretches(BTreeMap<u64, u64>);

impl Stretches {
    /// Whether an index is in one.
    pub(super) fn has(&self, index: u64) -> bool {
        let before = self.0.range(..=index).next_back();
        before.is_some_and(|(_, last)| index <= *last)
    }

    /// Adds a stretch; gives the parts of it that are new, in order.
    pub(super) fn add(&mut self, range: &IndexRange) -> Vec<IndexRange> {
        let (mut first, mut last) = (range.first, range.last);
        let mut at = Some(range.first);
        let mut new = Vec::new();
        let before = self.0.range(..=range.first).next_back();
        let begin = before.map_or(range.first, |(first, _)| *first);
        let touched: Vec<(u64, u64)> = self
            .0
            .range(begin..=range.last)
            .map(|(f, l)| (*f, *l))
            .collect();
        for (f, l) in touched {
            if l < range.first {
                continue;
            }
            if let Some(from) = at.filter(|from| *from < f) {
                let gap = f.checked_sub(1);
                new.extend(gap.map(|last| IndexRange { first: from, last }));
            }
            at = l.checked_add(1);
            first = first.min(f);
            last = last.max(l);
            self.0.remove(&f);
        }
        if let Some(from) = at.filter(|from| *from <= range.last) {
            new.push(IndexRange {
                first: from,
                last: range.last,
            });
        }
        self.0.insert(first, last);
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range(first: u64, last: u64) -> IndexRange {
        IndexRange { first, last }
    }

    #[test]
    fn what_is_added_twice_is_new_once() {
        let mut stretches = Stretches::default();
        assert_eq!(stretches.add(&range(3, 5)), [range(3, 5)]);
        assert_eq!(stretches.add(&range(3, 5)), []);
        assert_eq!(stretches.add(&range(0, 9)), [range(0, 2), range(6, 9)]);
        assert_eq!(stretches.add(&range(9, u64::MAX)), [range(10, u64::MAX)]);
        assert!(stretches.has(0) && stretches.has(u64::MAX));
    }

    proptest! {
        #[test]
        fn stretches_have_what_a_set_has(ranges in prop::collection::vec((0u64..40, 0u64..8), 0..12)) {
            let mut stretches = Stretches::default();
            let mut set = std::collections::BTreeSet::new();
            for (first, more) in ranges {
                let range = range(first, first.saturating_add(more));
                let new: Vec<u64> = stretches.add(&range).iter().flat_map(|r| r.first..=r.last).collect();
                let expected: Vec<u64> = (range.first..=range.last).filter(|i| set.insert(*i)).collect();
                prop_assert_eq!(new, expected);
            }
            for index in 0..50 {
                prop_assert_eq!(stretches.has(index), set.contains(&index));
            }
        }
    }
}

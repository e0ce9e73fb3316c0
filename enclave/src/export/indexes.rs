//! A set of leaf indexes: a bit for each entry of the log up to the largest that is in it.

/// Leaf indexes.
#[derive(Debug, Default)]
pub(super) struct Indexes(Vec<u64>);

impl Indexes {
    pub(super) fn has(&self, index: u64) -> bool {
        let (word, bit) = place(index);
        self.0.get(word).is_some_and(|w| w & bit != 0)
    }

    pub(super) fn add(&mut self, index: u64) {
        let (word, bit) = place(index);
        if self.0.len() <= word {
            self.0.resize(word.saturating_add(1), 0);
        }
        if let Some(slot) = self.0.get_mut(word) {
            *slot |= bit;
        }
    }
}

fn place(index: u64) -> (usize, u64) {
    let word = usize::try_from(index / 64).unwrap_or(usize::MAX);
    let shift = u32::try_from(index % 64).unwrap_or(0);
    (word, 1u64.checked_shl(shift).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_what_was_added_and_nothing_else() {
        let mut set = Indexes::default();
        let added = [0, 63, 64, 1000];
        added.iter().for_each(|i| set.add(*i));
        let found: Vec<u64> = (0..2000).filter(|i| set.has(*i)).collect();
        assert_eq!(found, added);
    }
}

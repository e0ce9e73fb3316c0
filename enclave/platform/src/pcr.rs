//! Sets of PCRs and their values, SHA-256 bank only.
//!
//! In: indices and digests. Out: `TPML_PCR_SELECTION` and the composite digest that quotes and
//! policies contain. Values are kept by index, never by position.

use crate::policy::ALG_SHA256;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;

/// PCRs that anything in the running system may reset, and that therefore say nothing.
/// Source: TCG PC Client Platform TPM Profile, "PCR Attributes" (debug and application support).
const RESETTABLE: [u8; 2] = [16, 23];

/// A set of PCR indices, 0 to 23 without the resettable 16 and 23; never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PcrSet(u32);

/// A set of PCRs that cannot be quoted to any purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PcrError {
    /// No PCR at all.
    #[error("a set of pcrs is empty")]
    Empty,
    /// An index beyond 23.
    #[error("pcr {index} does not exist, highest is 23")]
    OutOfRange {
        /// The index given.
        index: u8,
    },
    /// PCR 16 or 23.
    #[error("pcr {index} can be reset by software and proves nothing")]
    Resettable {
        /// The index given.
        index: u8,
    },
    /// The same index twice.
    #[error("pcr {index} is given twice")]
    Twice {
        /// The index given.
        index: u8,
    },
}

impl PcrSet {
    /// The set of the hardware and software TPM profiles: 4 (boot loader or unified kernel image),
    /// 7 (Secure Boot), 11, 12, 13 (sections of the image, its command line, its extensions).
    pub const PROFILE: Self = Self((1 << 4) | (1 << 7) | (1 << 11) | (1 << 12) | (1 << 13));

    /// A set of these indices.
    ///
    /// # Errors
    /// When there is none, or one is out of range, resettable or doubled.
    pub fn new(indices: impl IntoIterator<Item = u8>) -> Result<Self, PcrError> {
        let mut bits = 0u32;
        for index in indices {
            if index > 23 {
                return Err(PcrError::OutOfRange { index });
            }
            if RESETTABLE.contains(&index) {
                return Err(PcrError::Resettable { index });
            }
            let bit = 1u32.rotate_left(u32::from(index));
            if bits & bit != 0 {
                return Err(PcrError::Twice { index });
            }
            bits |= bit;
        }
        if bits == 0 {
            Err(PcrError::Empty)
        } else {
            Ok(Self(bits))
        }
    }

    /// The indices, ascending.
    pub fn iter(self) -> impl Iterator<Item = u8> {
        (0u8..24).filter(move |index| self.contains(*index))
    }

    /// Whether an index is in the set.
    #[must_use]
    pub fn contains(self, index: u8) -> bool {
        index < 24 && self.0 & 1u32.rotate_left(u32::from(index)) != 0
    }

    /// `TPML_PCR_SELECTION` with one entry of three octets. SPEC: Part 2, 10.6.2 and 10.9.7.
    #[must_use]
    pub fn selection(self) -> [u8; 10] {
        let [low, middle, high, _] = self.0.to_le_bytes();
        let [a, b] = ALG_SHA256.to_be_bytes();
        [0, 0, 0, 1, a, b, 3, low, middle, high]
    }

    /// The set of a selection's three octets.
    pub(crate) fn from_octets([low, middle, high]: [u8; 3]) -> Option<Self> {
        let bits = u32::from_le_bytes([low, middle, high, 0]);
        (bits != 0).then_some(Self(bits))
    }

    /// Those of this set that are not in another; `None` when nothing is left.
    pub(crate) fn without(self, other: Self) -> Option<Self> {
        let bits = self.0 & !other.0;
        (bits != 0).then_some(Self(bits))
    }
}

/// Values of a set of PCRs, each 32 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PcrValues {
    set: PcrSet,
    values: BTreeMap<u8, [u8; 32]>,
}

impl PcrValues {
    /// Values by index.
    ///
    /// # Errors
    /// When the indices are not a [`PcrSet`].
    pub fn new(values: impl IntoIterator<Item = (u8, [u8; 32])>) -> Result<Self, PcrError> {
        let pairs: Vec<(u8, [u8; 32])> = values.into_iter().collect();
        let set = PcrSet::new(pairs.iter().map(|(index, _)| *index))?;
        Ok(Self {
            set,
            values: pairs.into_iter().collect(),
        })
    }

    /// Which PCRs these are values of.
    #[must_use]
    pub fn set(&self) -> PcrSet {
        self.set
    }

    /// Index and value, ascending by index.
    pub fn iter(&self) -> impl Iterator<Item = (u8, &[u8; 32])> {
        self.values.iter().map(|(index, value)| (*index, value))
    }

    /// The composite digest: SHA-256 over the values, ascending by index. SPEC: Part 1, 17.5.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        self.values.values().for_each(|value| hash.update(value));
        hash.finalize().into()
    }

    /// Indices at which another set of values differs, or that it lacks.
    #[must_use]
    pub fn differing(&self, other: &Self) -> Vec<u8> {
        self.values
            .iter()
            .filter(|(index, value)| other.values.get(*index) != Some(*value))
            .map(|(i, _)| *i)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profile_selects_its_five_pcrs() {
        assert_eq!(
            PcrSet::PROFILE.iter().collect::<Vec<_>>(),
            [4, 7, 11, 12, 13]
        );
        // count 1 · sha256 · 3 octets · 1001_0000 (4, 7) · 0011_1000 (11, 12, 13) · 0
        assert_eq!(
            PcrSet::PROFILE.selection(),
            [0, 0, 0, 1, 0, 11, 3, 0x90, 0x38, 0]
        );
    }

    #[test]
    fn a_resettable_pcr_is_refused() {
        assert_eq!(
            PcrSet::new([4, 16]),
            Err(PcrError::Resettable { index: 16 })
        );
    }

    #[test]
    fn an_index_given_twice_is_refused() {
        assert_eq!(PcrSet::new([4, 4]), Err(PcrError::Twice { index: 4 }));
    }

    #[test]
    fn an_index_beyond_the_last_is_refused() {
        assert_eq!(PcrSet::new([24]), Err(PcrError::OutOfRange { index: 24 }));
    }

    #[test]
    fn an_empty_set_is_refused() {
        assert_eq!(PcrSet::new([]), Err(PcrError::Empty));
    }

    #[test]
    fn values_are_matched_by_index_and_not_by_position() {
        let one = PcrValues::new([(4, [1; 32]), (7, [2; 32])]).unwrap();
        let other = PcrValues::new([(7, [2; 32]), (4, [3; 32])]).unwrap();
        assert_eq!(one.differing(&other), [4]);
    }
}

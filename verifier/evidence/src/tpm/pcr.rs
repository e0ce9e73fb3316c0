//! Sets of PCRs, and values by index.

use std::collections::BTreeMap;

use thiserror::Error;

/// PCRs of one bank that a quote must cover, exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PcrSet(u32);

/// Why indices are not a set that evidence may rest on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PcrSetError {
    /// No index at all: a quote over nothing.
    #[error("pcr set is empty")]
    Empty,
    /// Not below 24.
    #[error("pcr {index} does not exist")]
    NoSuchPcr {
        /// The index.
        index: u8,
    },
    /// PCR 16 or 23, which software resets at will.
    #[error("pcr {index} can be reset by software and proves nothing")]
    Resettable {
        /// The index.
        index: u8,
    },
    /// An index given twice.
    #[error("pcr {index} is given twice")]
    Twice {
        /// The index.
        index: u8,
    },
}

impl PcrSet {
    /// A set from indices in any order.
    pub fn new(indices: impl IntoIterator<Item = u8>) -> Result<Self, PcrSetError> {
        let mut bits = 0_u32;
        for index in indices {
            if matches!(index, 16 | 23) {
                return Err(PcrSetError::Resettable { index });
            }
            let bit = 1_u32
                .checked_shl(index.into())
                .filter(|bit| *bit < 1 << PCR_COUNT);
            let bit = bit.ok_or(PcrSetError::NoSuchPcr { index })?;
            if bits & bit != 0 {
                return Err(PcrSetError::Twice { index });
            }
            bits |= bit;
        }
        if bits == 0 {
            Err(PcrSetError::Empty)
        } else {
            Ok(Self(bits))
        }
    }

    /// Indices, ascending.
    pub fn iter(self) -> impl Iterator<Item = u8> {
        (0..PCR_COUNT).filter(move |index| self.0 >> index & 1 == 1)
    }

    /// From the three bytes of a `TPMS_PCR_SELECTION` (bit 0 of byte 0 is PCR 0). SPEC: Part 2, 10.6.2
    pub(crate) fn from_selection(octets: [u8; 3]) -> Result<Self, PcrSetError> {
        let [low, middle, high] = octets;
        let bits = u32::from_le_bytes([low, middle, high, 0]);
        Self::new((0..PCR_COUNT).filter(|index| bits >> index & 1 == 1))
    }
}

impl core::fmt::Display for PcrSet {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let indices: Vec<String> = self.iter().map(|index| index.to_string()).collect();
        f.write_str(&indices.join(", "))
    }
}

/// Values by index.
pub type PcrValues = BTreeMap<u8, [u8; 32]>;

/// PCRs of a PC Client TPM.
const PCR_COUNT: u8 = 24;

//! The two NV indexes: release floor and epoch counter. Pure; no TPM.
//!
//! In: a release key. Out: `TPMS_NV_PUBLIC` and the name of each index, which a verifier
//! recomputes: an index with other attributes or another policy has another name.
//!
//! | index | kind | write | read |
//! |---|---|---|---|
//! | [`FLOOR_HANDLE`] | 8 ordinary bytes, big-endian | seal policy; the first write by anyone | anyone: `PolicyNV` must read it |
//! | [`COUNTER_HANDLE`] | counter | seal policy | seal policy |
//!
//! The floor's seal policy itself compares the floor, and an unwritten index compares with
//! nothing; therefore its write policy is `PolicyOR(seal policy, PolicyNvWritten(NO))`.
//! Neither index has owner or password rights, and neither counts against dictionary attacks.

use crate::policy::{ALG_SHA256, NvName, PolicyDigest, ReleaseKey, name_of};

/// Handle of the release floor.
pub const FLOOR_HANDLE: u32 = 0x0150_0010;

/// Handle of the epoch counter.
pub const COUNTER_HANDLE: u32 = 0x0150_0020;

/// `POLICYWRITE | AUTHREAD | NO_DA`, ordinary. Source: Part 2, table 204 (`TPMA_NV`).
pub const FLOOR_ATTRIBUTES: u32 = 0x0204_0008;

/// `POLICYWRITE | TPM_NT_COUNTER | POLICYREAD | NO_DA`. Source: Part 2, table 204 (`TPMA_NV`).
pub const COUNTER_ATTRIBUTES: u32 = 0x0208_0018;

/// `TPMA_NV_WRITTEN`: set by the TPM at the first write, and part of the name.
pub const WRITTEN_ATTRIBUTE: u32 = 0x2000_0000;

/// Whether an index has been written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// At least once.
    Yes,
    /// Never.
    No,
}

/// The definition of an index of 8 bytes with a write policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NvIndex {
    handle: u32,
    attributes: u32,
    policy: PolicyDigest,
}

impl NvIndex {
    /// The release floor under a release key.
    #[must_use]
    pub fn floor(key: &ReleaseKey) -> Self {
        let policy = PolicyDigest::either(&floor_branches(key));
        Self {
            handle: FLOOR_HANDLE,
            attributes: FLOOR_ATTRIBUTES,
            policy,
        }
    }

    /// The epoch counter under a release key.
    #[must_use]
    pub fn counter(key: &ReleaseKey) -> Self {
        Self {
            handle: COUNTER_HANDLE,
            attributes: COUNTER_ATTRIBUTES,
            policy: key.seal_policy(),
        }
    }

    /// Handle of the index.
    #[must_use]
    pub fn handle(&self) -> u32 {
        self.handle
    }

    /// `TPMS_NV_PUBLIC`, 46 bytes: index, name algorithm, attributes, policy, size.
    #[must_use]
    pub fn public(&self, written: Written) -> [u8; 46] {
        let attributes = match written {
            Written::Yes => self.attributes | WRITTEN_ATTRIBUTE,
            Written::No => self.attributes,
        };
        let (handle, attributes) = (self.handle.to_be_bytes(), attributes.to_be_bytes());
        let parts: [&[u8]; 6] = [
            &handle,
            &ALG_SHA256.to_be_bytes(),
            &attributes,
            &[0, 32],
            &self.policy.0,
            &[0, 8],
        ];
        let mut out = [0u8; 46];
        out.iter_mut()
            .zip(parts.iter().flat_map(|part| part.iter()))
            .for_each(|(to, from)| *to = *from);
        out
    }

    /// Name of the index.
    #[must_use]
    pub fn name(&self, written: Written) -> NvName {
        NvName(name_of(&self.public(written)))
    }
}

/// The branches of the floor's write policy, in the order in which `PolicyOR` hashes them.
#[must_use]
pub(crate) fn floor_branches(key: &ReleaseKey) -> [PolicyDigest; 2] {
    [key.seal_policy(), PolicyDigest::EMPTY.and_not_yet_written()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: ReleaseKey = ReleaseKey {
        x: [1; 32],
        y: [2; 32],
    };

    #[test]
    fn the_counter_has_no_owner_or_password_rights() {
        // PPWRITE, OWNERWRITE, AUTHWRITE, PPREAD, OWNERREAD, AUTHREAD
        assert_eq!(
            COUNTER_ATTRIBUTES & (0x1 | 0x2 | 0x4 | 0x1_0000 | 0x2_0000 | 0x4_0000),
            0
        );
    }

    #[test]
    fn the_floor_cannot_be_written_by_owner_or_password() {
        assert_eq!(FLOOR_ATTRIBUTES & (0x1 | 0x2 | 0x4), 0);
    }

    #[test]
    fn writing_an_index_changes_its_name() {
        let counter = NvIndex::counter(&KEY);
        assert_ne!(counter.name(Written::Yes), counter.name(Written::No));
    }

    #[test]
    fn another_release_key_gives_another_counter() {
        let other = ReleaseKey {
            x: [3; 32],
            y: [2; 32],
        };
        assert_ne!(
            NvIndex::counter(&KEY).name(Written::Yes),
            NvIndex::counter(&other).name(Written::Yes)
        );
    }
}

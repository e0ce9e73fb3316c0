//! The NV indexes: release floor, epoch counter, and two slots for secrets of the storage ring. Pure; no TPM.
//!
//! In: a release key. Out: `TPMS_NV_PUBLIC` and the name of each index, which a verifier
//! recomputes: an index with other attributes or another policy has another name.
//!
//! | index | kind | write | read |
//! |---|---|---|---|
//! | [`FLOOR_HANDLE`] | 8 ordinary bytes, big-endian | seal policy; the first write by anyone | anyone: `PolicyNV` must read it |
//! | [`COUNTER_HANDLE`] | counter | seal policy | seal policy |
//! | [`RING_HANDLES`] | 40 ordinary bytes each: version (8, big-endian; 0 where empty), secret (32) | seal policy | seal policy |
//!
//! The floor's seal policy itself compares the floor, and an unwritten index compares with
//! nothing; therefore its write policy is `PolicyOR(seal policy, PolicyNvWritten(NO))`.
//! No index has owner or password rights, and none counts against dictionary attacks.
//!
//! There are two slots because the secret of the next version has to be safe before the one before
//! is overwritten: version `v` is in slot `v mod 2`. Overwriting is what makes an erasure final: no
//! copy of a disk brings the secret back.

use crate::policy::{ALG_SHA256, NvName, PolicyDigest, ReleaseKey, name_of};

/// Handle of the release floor.
pub const FLOOR_HANDLE: u32 = 0x0150_0010;

/// Handle of the epoch counter.
pub const COUNTER_HANDLE: u32 = 0x0150_0020;

/// Handles of the slots for secrets of the storage ring: of even versions, and of odd ones.
pub const RING_HANDLES: [u32; 2] = [0x0150_0030, 0x0150_0031];

/// Length of a slot, in bytes: a version of 8 and a secret of 32.
pub const RING_SLOT_BYTES: u16 = 40;

/// `POLICYWRITE | AUTHREAD | NO_DA`, ordinary. Source: Part 2, table 204 (`TPMA_NV`).
pub const FLOOR_ATTRIBUTES: u32 = 0x0204_0008;

/// `POLICYWRITE | TPM_NT_COUNTER | POLICYREAD | NO_DA`. Source: Part 2, table 204 (`TPMA_NV`).
pub const COUNTER_ATTRIBUTES: u32 = 0x0208_0018;

/// `POLICYWRITE | POLICYREAD | NO_DA`, ordinary. Source: Part 2, table 204 (`TPMA_NV`).
pub const RING_ATTRIBUTES: u32 = 0x0208_0008;

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

/// The definition of an index with a write policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NvIndex {
    handle: u32,
    attributes: u32,
    policy: PolicyDigest,
    size: u16,
}

/// Bytes of floor and counter.
const NUMBER_BYTES: u16 = 8;

impl NvIndex {
    /// The release floor under a release key.
    #[must_use]
    pub fn floor(key: &ReleaseKey) -> Self {
        let policy = PolicyDigest::either(&floor_branches(key));
        Self {
            handle: FLOOR_HANDLE,
            attributes: FLOOR_ATTRIBUTES,
            policy,
            size: NUMBER_BYTES,
        }
    }

    /// The epoch counter under a release key.
    #[must_use]
    pub fn counter(key: &ReleaseKey) -> Self {
        Self {
            handle: COUNTER_HANDLE,
            attributes: COUNTER_ATTRIBUTES,
            policy: key.seal_policy(),
            size: NUMBER_BYTES,
        }
    }

    /// The slots for secrets of the storage ring under a release key: of even versions, and of odd ones.
    #[must_use]
    pub fn ring(key: &ReleaseKey) -> [Self; 2] {
        RING_HANDLES.map(|handle| Self {
            handle,
            attributes: RING_ATTRIBUTES,
            policy: key.seal_policy(),
            size: RING_SLOT_BYTES,
        })
    }

    /// The slot of one version.
    #[must_use]
    pub fn ring_of(key: &ReleaseKey, version: u32) -> Self {
        let [even, odd] = Self::ring(key);
        if version.is_multiple_of(2) { even } else { odd }
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
            &self.size.to_be_bytes(),
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
    fn the_ring_has_no_owner_or_password_rights() {
        assert_eq!(
            RING_ATTRIBUTES & (0x1 | 0x2 | 0x4 | 0x1_0000 | 0x2_0000 | 0x4_0000),
            0
        );
    }

    #[test]
    fn one_version_and_the_next_have_different_slots() {
        assert_ne!(NvIndex::ring_of(&KEY, 1), NvIndex::ring_of(&KEY, 2));
        assert_eq!(NvIndex::ring_of(&KEY, 1), NvIndex::ring_of(&KEY, 3));
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

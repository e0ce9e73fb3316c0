//! Bodies about the gateway: [`Enrol`], [`Base`], [`Renewal`], [`Close`], [`Adopt`], [`Gap`].

use crate::binding::LogHead;
use crate::cbor::{Bytes, Cbor};
use crate::cbor_map;
use crate::digest::{ArtifactDigest, EntryDigest, GatewayId, KeyId, NodeHash, Signature, TenantId};
use crate::merkle::{Frontier, Nodes, ProofError, inclusion_proof, leaf_hash, verify_inclusion};
use std::collections::HashMap;

cbor_map! {
    /// A fleet statement that names this gateway is in force.
    pub struct Enrol {
        /// Number of the statement.
        1 => number: u64,
        /// The signed [`crate::statement::FleetStatement`].
        2 => statement: Bytes,
    }
}

cbor_map! {
    /// Evidence that travels beside the log.
    pub struct EvidenceRef {
        /// Media type, such as `application/countersign.tpm-evidence+cbor`.
        1 => kind: String,
        /// Digest of its bytes.
        2 => digest: ArtifactDigest,
    }
}

/// Kind of a [`crate::evidence::TpmEvidence`] in an [`EvidenceRef`].
pub const TPM_EVIDENCE_KIND: &str = "application/countersign.tpm-evidence+cbor";
/// Kind of a [`crate::evidence::PlatformEvidence`] in an [`EvidenceRef`].
pub const PLATFORM_EVIDENCE_KIND: &str = "application/countersign.platform-evidence+cbor";

cbor_map! {
    /// A step of the counter that was announced and came to nothing: an opening that never became
    /// an epoch, or a renewal of the epoch before that never became an entry.
    pub struct AbandonedOpening {
        /// The counter value that was to be reached.
        1 => counter: u64,
        /// The epoch key that was never used; for a renewal, the key of the epoch before.
        2 => epoch_key: KeyId,
    }
}

cbor_map! {
    /// An epoch opens: hardware vouches for a key, and the key for all that follows.
    pub struct Base {
        /// The encoded [`crate::binding::Binding`], exactly as hashed into the anchor.
        1 => binding: Bytes,
        /// The identity key's signature over [`crate::binding::epoch_message`].
        2 => identity_signature: Signature,
        /// The evidence, exactly the set that the profile names.
        3 => evidence: Vec<EvidenceRef>,
        /// Number of the epoch, from 1.
        4 => epoch: u64,
        /// The last entry of the log before this epoch.
        5 => previous: Option<EntryDigest>,
        /// Value of the counter that the log before this epoch explains.
        6 => explained: u64,
        /// Openings since then that came to nothing.
        7 => abandoned: Vec<AbandonedOpening>,
        /// Key that the storage key is also wrapped to; absent in development only.
        8 => recovery_key: Option<KeyId>,
        /// Name and version of the gateway's program.
        9 => software: String,
    }
}

cbor_map! {
    /// The platform vouches for a checkpoint, and new calls may be accepted for a while.
    pub struct Renewal {
        /// The encoded [`crate::binding::RenewalStatement`].
        1 => statement: Bytes,
        /// The evidence.
        2 => evidence: Vec<EvidenceRef>,
    }
}

cbor_map! {
    /// An epoch ends in good order; no entry of it follows.
    pub struct Close {
        /// The encoded [`crate::binding::CloseStatement`].
        1 => statement: Bytes,
        /// The evidence.
        2 => evidence: Vec<EvidenceRef>,
    }
}

cbor_map! {
    /// This gateway continues another's work.
    pub struct Adopt {
        /// The other gateway.
        1 => predecessor: GatewayId,
        /// Its log, as far as known.
        2 => head: LogHead,
        /// The signed [`crate::statement::AdoptStatement`].
        3 => statement: Bytes,
    }
}

cbor_map! {
    /// Entries are missing, and the governance key let the gateway go on.
    pub struct Gap {
        /// The counter that the log explains.
        1 => explained: u64,
        /// The counter that the TPM showed.
        2 => found: u64,
        /// The signed [`crate::statement::RecoverStatement`].
        3 => statement: Bytes,
        /// Entries that a witness had seen, where it had seen more, or others, than the log has.
        4 => witnessed: Option<u64>,
    }
}

cbor_map! {
    /// A tenant's last sequence number.
    pub struct TenantHead {
        /// Which tenant.
        1 => tenant: TenantId,
        /// Its last number.
        2 => seq: u64,
    }
}

cbor_map! {
    /// A tenant's last number, as the renewal or close before this item covers it.
    pub struct TenantProof {
        /// Which tenant, and its last number.
        1 => head: TenantHead,
        /// Its position among the tenants, in order of tenant.
        2 => position: u64,
        /// Inclusion proof in the tree of the tenants' last numbers, from the leaf upwards.
        3 => path: Vec<NodeHash>,
    }
}

impl TenantProof {
    /// Checks that this is the word of a statement that covers `count` tenants under `root`.
    ///
    /// # Errors
    /// Why the proof does not show that.
    pub fn verify(&self, root: NodeHash, count: u64) -> Result<(), ProofError> {
        let leaf = leaf_hash(&self.head.to_bytes());
        verify_inclusion(leaf, self.position, count, &self.path, root)
    }
}

/// The root over every tenant's last sequence number, in order of tenant.
///
/// A Merkle tree as in [`crate::merkle`] over encoded [`TenantHead`]s, so that one tenant's
/// last number can be proved without the others'.
#[must_use]
pub fn tenants_root(heads: &[TenantHead]) -> NodeHash {
    tenants_tree(heads, |_, _, _| ()).root()
}

/// The proof of a tenant's last number in [`tenants_root`]; absent if the tenant is none of them.
#[must_use]
pub fn tenant_proof(heads: &[TenantHead], tenant: TenantId) -> Option<TenantProof> {
    let head = heads.iter().find(|h| h.tenant == tenant)?.clone();
    let before = heads.iter().filter(|h| h.tenant < tenant).count();
    let position = u64::try_from(before).ok()?;
    let mut nodes = HashMap::new();
    let size = tenants_tree(heads, |level, index, hash| {
        nodes.insert((level, index), hash);
    })
    .size();
    let path = inclusion_proof(&Kept(nodes), position, size).ok()?;
    Some(TenantProof {
        head,
        position,
        path,
    })
}

fn tenants_tree(heads: &[TenantHead], mut store: impl FnMut(u8, u64, NodeHash)) -> Frontier {
    let mut sorted: Vec<&TenantHead> = heads.iter().collect();
    sorted.sort_by_key(|h| h.tenant);
    let mut frontier = Frontier::new();
    for head in sorted {
        frontier.append(leaf_hash(&head.to_bytes()), &mut store);
    }
    frontier
}

/// Nodes of a small tree, all of them.
struct Kept(HashMap<(u8, u64), NodeHash>);

impl Nodes for Kept {
    fn node(&self, level: u8, index: u64) -> Option<NodeHash> {
        self.0.get(&(level, index)).copied()
    }
}

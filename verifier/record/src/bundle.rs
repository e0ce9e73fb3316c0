//! The outside of a policy bundle: who may do what is inside; this is what an auditor's
//! verifier reads of it without a policy engine.
//!
//! In: bytes. Out: [`SignedBundle`] (payload and its signers' statements) and the
//! [`Registry`] of callers and approvers. `rules` are opaque here; `countersign-policies` reads them.
//!
//! Spec: `docs/spec/bundle.md`; CDDL `signed-bundle`, `bundle`.

use crate::cbor::{Bytes, Cbor};
use crate::cbor_map;
use crate::digest::{ArtifactDigest, KeyId, PublicKey, TenantId};

/// Version of the bundle that this code reads, in [`BundlePayload::format`].
pub const BUNDLE_FORMAT: u64 = 1;

/// Type of a [`BundleStatement`].
pub const BUNDLE_TYP: &str = "application/countersign.bundle+cose";

/// Largest signed bundle, in bytes (16 MiB). Ten thousand policies of 1 KiB are 10 MiB.
pub const MAX_BUNDLE_BYTES: usize = 16 * 1024 * 1024;

cbor_map! {
    /// A tenant.
    pub struct TenantEntry {
        /// Pseudonym that stands in entries.
        1 => id: TenantId,
        /// Name.
        2 => name: String,
    }
}

cbor_map! {
    /// An agent that may call.
    pub struct AgentEntry {
        /// `agent:<namespace>/<name>@<version>`.
        1 => urn: String,
        /// Name of its tenant.
        2 => tenant: String,
        /// Its Ed25519 key, for callers that sign.
        3 => key: Option<PublicKey>,
        /// SHA-256 of its token (see `countersign_signatures::token`), for callers that do not.
        4 => token: Option<[u8; 32]>,
        /// The person it acts for, if that is fixed.
        5 => user: Option<String>,
    }
}

cbor_map! {
    /// A person who may approve.
    pub struct ApproverEntry {
        /// Short identifier.
        1 => id: String,
        /// Name for people.
        2 => name: String,
        /// Ed25519 key.
        3 => key: PublicKey,
        /// Groups that policies name, such as `privacy`.
        4 => groups: Vec<String>,
        /// Names of the tenants whose actions the person may approve.
        5 => tenants: Vec<String>,
        /// Identifiers of the capabilities that the person may approve; empty means all of those tenants.
        6 => capabilities: Vec<String>,
    }
}

cbor_map! {
    /// Who may call and who may approve.
    pub struct Registry {
        /// Tenants.
        1 => tenants: Vec<TenantEntry>,
        /// Agents.
        2 => agents: Vec<AgentEntry>,
        /// Approvers.
        3 => approvers: Vec<ApproverEntry>,
    }
}

cbor_map! {
    /// A bundle's payload.
    pub struct BundlePayload {
        /// Format version, 1.
        1 => format: u64,
        /// Name of the site.
        2 => name: String,
        /// Environment that it is for, such as `production`.
        3 => environment: String,
        /// Version; a gateway takes none lower than the one in force.
        4 => version: u64,
        /// Callers and approvers.
        5 => registry: Registry,
        /// Adapters, capabilities, policies and schema, encoded by `countersign-policies`.
        6 => rules: Bytes,
    }
}

cbor_map! {
    /// What a bundle signer signs.
    pub struct BundleStatement {
        /// Digest of the payload.
        1 => digest: ArtifactDigest,
        /// Name of the site.
        2 => name: String,
        /// Environment.
        3 => environment: String,
        /// Version.
        4 => version: u64,
    }
}

cbor_map! {
    /// A bundle with its signatures.
    pub struct SignedBundle {
        /// An encoded [`BundlePayload`].
        1 => payload: Bytes,
        /// Signed [`BundleStatement`]s, one a signer.
        2 => signatures: Vec<Bytes>,
    }
}

impl BundlePayload {
    /// The statement that signers of this bundle sign.
    #[must_use]
    pub fn statement(&self) -> BundleStatement {
        BundleStatement {
            digest: ArtifactDigest::of(&self.to_bytes()),
            name: self.name.clone(),
            environment: self.environment.clone(),
            version: self.version,
        }
    }
}

impl Registry {
    /// The approver with this key.
    #[must_use]
    pub fn approver(&self, kid: KeyId) -> Option<&ApproverEntry> {
        self.approvers.iter().find(|a| a.key.id() == kid)
    }

    /// The agent with this key.
    #[must_use]
    pub fn agent_by_key(&self, kid: KeyId) -> Option<&AgentEntry> {
        self.agents
            .iter()
            .find(|a| a.key.is_some_and(|k| k.id() == kid))
    }
}

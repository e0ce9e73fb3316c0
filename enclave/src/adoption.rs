//! What people hand to each other when one gateway continues another's work.
//!
//! In: what a gateway found of the other's log, and its own transport key. Out: an [`AdoptRequest`],
//! signed by its identity key; and [`HandedStorage`], the other's storage key wrapped for it.
//! Whoever has the recovery key wraps for a key that this request names, so the request is worth
//! its signature, and the gateway's name is worth what the governance key says of it.

use anyhow::{Context as _, bail};
use countersign_platform::recovery::{EphemeralSeed, RecoveryKey, RecoveryWrap};
use countersign_record::binding::LogHead;
use countersign_record::cbor::{Bytes, Cbor as _};
use countersign_record::cbor_map;
use countersign_record::digest::{
    EntryDigest, GatewayId, PublicKey, Signature, UnixMillis, sha256_in,
};
use countersign_record::statement::{AdoptStatement, Stored};
use countersign_signatures::ed25519;
use zeroize::Zeroizing;

cbor_map! {
    /// What a gateway asks to continue.
    pub struct AdoptRequest {
        /// The gateway that asks.
        1 => gateway: GatewayId,
        /// The gateway that is gone.
        2 => predecessor: GatewayId,
        /// Its log, as it was found.
        3 => head: LogHead,
        /// Last entry of that log.
        4 => last: EntryDigest,
        /// When that was written, as claimed.
        5 => last_at: UnixMillis,
        /// Whether its last epoch was closed.
        6 => closed: bool,
        /// Calls that were sealed and never settled.
        7 => open_calls: u64,
        /// X25519 key that the storage key is to be wrapped to.
        8 => transport: [u8; 32],
        /// Logs that the other gateway had itself adopted; they do not come with its own.
        9 => left_behind: u64,
    }
}

cbor_map! {
    /// An [`AdoptRequest`] with the identity key's signature.
    pub struct SignedAdoptRequest {
        /// The encoded request.
        1 => request: Bytes,
        /// Over [`message`].
        2 => signature: Signature,
    }
}

cbor_map! {
    /// A storage key on its way from one gateway to another.
    pub struct HandedStorage {
        /// Whose values it opens.
        1 => predecessor: GatewayId,
        /// For whom it is wrapped.
        2 => gateway: GatewayId,
        /// The wrap.
        3 => wrap: Bytes,
    }
}

/// What the identity key signs: 32 bytes, as an epoch message is, under a domain of its own.
#[must_use]
pub fn message(request: &[u8]) -> [u8; 32] {
    sha256_in("countersign/adopt-request/v1", &[request])
}

impl AdoptRequest {
    /// Signs the request.
    #[must_use]
    pub fn signed(&self, sign: impl FnOnce(&[u8]) -> Signature) -> SignedAdoptRequest {
        let request = self.to_bytes();
        let signature = sign(&message(&request));
        SignedAdoptRequest {
            request: Bytes(request),
            signature,
        }
    }

    /// What the governance key is asked to say.
    #[must_use]
    pub fn statement(self, reason: String, stored: Stored, issued: UnixMillis) -> AdoptStatement {
        let Self {
            gateway,
            predecessor,
            head,
            last,
            last_at: _,
            closed: _,
            open_calls: _,
            transport: _,
            left_behind: _,
        } = self;
        AdoptStatement {
            gateway,
            predecessor,
            head,
            last,
            reason,
            issued,
            stored,
        }
    }
}

impl SignedAdoptRequest {
    /// The request, once the identity key's signature holds.
    ///
    /// # Errors
    /// If it is malformed, of another gateway, or the signature does not hold.
    pub fn verified(&self, identity: PublicKey) -> anyhow::Result<AdoptRequest> {
        let message = message(&self.request.0);
        ed25519::PublicKey::parse(&identity.0)?
            .verify(ed25519::Signed {
                message: &message,
                signature: &self.signature.0,
            })
            .context("the request to adopt is not signed by the gateway that asks")?;
        let request =
            AdoptRequest::from_bytes(&self.request.0).context("the request is malformed")?;
        let (found, expected) = (request.gateway, identity.gateway());
        if found != expected {
            bail!("the request to adopt is of gateway {found}, it was signed by {expected}");
        }
        Ok(request)
    }
}

/// What the holder of the recovery key has at hand.
pub struct HandOver<'a> {
    /// The request, verified.
    pub request: &'a AdoptRequest,
    /// The governance key's word, verified.
    pub statement: &'a AdoptStatement,
    /// The other gateway's `storage.recovery`.
    pub wrap: &'a RecoveryWrap,
}

impl HandOver<'_> {
    /// Wraps the storage key anew, for the gateway that governance named.
    ///
    /// # Errors
    /// If governance named another gateway or log, the recovery key is another, or the wrap was altered.
    pub fn wrap(
        &self,
        recovery: &Zeroizing<[u8; 32]>,
        seed: EphemeralSeed,
    ) -> anyhow::Result<HandedStorage> {
        let Self {
            request,
            statement,
            wrap,
        } = self;
        let asked = (
            request.gateway,
            request.predecessor,
            &request.head,
            request.last,
        );
        let said = (
            statement.gateway,
            statement.predecessor,
            &statement.head,
            statement.last,
        );
        if asked != said {
            bail!("the adopt statement is about another gateway or log than the request");
        }
        if statement.stored == Stored::Lost {
            bail!(
                "the adopt statement says that the values are lost; have one signed that says recovered"
            );
        }
        let storage = wrap
            .unwrap_with(recovery)
            .context("the storage key stays wrapped")?;
        let wrapped = RecoveryWrap::wrap(&storage, RecoveryKey(request.transport), seed)?;
        Ok(HandedStorage {
            predecessor: request.predecessor,
            gateway: request.gateway,
            wrap: Bytes(wrapped.to_bytes()),
        })
    }
}

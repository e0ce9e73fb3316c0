//! The policy of the epoch counter: whatever the release key approves.

use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::structures::{EccPublic, EccPublicError, TpmName};

/// The policy reference under which a release key approves.
pub const POLICY_REF: &[u8] = b"countersign-seal-v1";

/// A policy digest of SHA-256 sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PolicyDigest(pub [u8; 32]);

/// A release key as a TPM loads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReleaseKey {
    name: TpmName,
}

/// Why a public area is not that of a release key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ReleaseKeyError {
    /// Not an ECDSA P-256 key.
    #[error("release key: {0}")]
    Public(#[from] EccPublicError),
    /// Its attributes are others than `userWithAuth | sign`, or it has a policy.
    #[error(
        "release key has attributes {found:#010x}, expected {RELEASE_KEY_ATTRIBUTES:#010x}, and no policy"
    )]
    Attributes {
        /// Its attributes.
        found: u32,
    },
}

/// `userWithAuth | sign`: the attributes under which release keys are loaded. They are part of the
/// key's name, hence of the policy.
pub const RELEASE_KEY_ATTRIBUTES: u32 = 0x0004_0040;

impl ReleaseKey {
    /// Reads the `TPMT_PUBLIC` of a release key.
    pub fn parse(tpmt_public: &[u8]) -> Result<Self, ReleaseKeyError> {
        let public = EccPublic::parse(tpmt_public)?;
        if public.attributes != RELEASE_KEY_ATTRIBUTES || public.auth_policy_bytes != 0 {
            return Err(ReleaseKeyError::Attributes {
                found: public.attributes,
            });
        }
        Ok(Self { name: public.name })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> TpmName {
        self.name
    }
}

/// The digest of `TPM2_PolicyAuthorize(key, "countersign-seal-v1")`, which only this key's
/// approvals satisfy. SPEC: Part 3, 23.16
#[must_use]
pub fn policy_authorize_digest(key: &ReleaseKey) -> PolicyDigest {
    let with_key = Sha256::new()
        .chain_update([0; 32])
        .chain_update(CC_POLICY_AUTHORIZE.to_be_bytes())
        .chain_update(key.name.0)
        .finalize();
    PolicyDigest(
        Sha256::new()
            .chain_update(with_key)
            .chain_update(POLICY_REF)
            .finalize()
            .into(),
    )
}

/// `TPM_CC_PolicyAuthorize`. SPEC: Part 2, 6.5.2
const CC_POLICY_AUTHORIZE: u32 = 0x0000_016a;

//! The seal policy: who may unseal, advance the counter and raise the floor. Pure; no TPM.
//!
//! In: PCR values, a release sequence, a release key. Out: the policy digests that a TPM
//! computes for the same policy commands (TCG "TPM 2.0 Library" Part 3, section 23), the bytes a
//! release key signs, and [`ReleasePolicy`], which is what a release ships with.
//! A build host can therefore sign a release without a TPM.
//!
//! ```text
//! approved = PolicyPCR(sha256: set, values) ∧ PolicyNV(floor index ≤ sequence)
//! signed   = ECDSA P-256 by the release key over SHA-256(approved || "countersign-seal-v1")
//! seal     = PolicyAuthorize(name of the release key, "countersign-seal-v1")
//! ```
//!
//! The seal policy names the release key only, so a later release with other PCR values opens
//! the same blob; the floor keeps an earlier one out once it is raised.

use crate::nv::{NvIndex, Written};
use crate::pcr::PcrValues;
use crate::wire::Writer;
use sha2::{Digest as _, Sha256};

/// The policy reference under which a release key approves; separates these signatures from
/// anything else that key may sign.
pub const POLICY_REF: &[u8] = b"countersign-seal-v1";

/// `TPM_ALG_SHA256`. Source: TPM 2.0 Part 2, table 9.
pub(crate) const ALG_SHA256: u16 = 0x000B;

/// `TPM_EO_UNSIGNED_LE`: the stored value is at most the operand. Source: Part 2, table 18.
pub(crate) const EO_UNSIGNED_LE: u16 = 0x0009;

/// Command codes that policy digests hash. Source: Part 2, table 12.
const CC_POLICY_NV: u32 = 0x149;
const CC_POLICY_AUTHORIZE: u32 = 0x16A;
const CC_POLICY_OR: u32 = 0x171;
const CC_POLICY_PCR: u32 = 0x17F;
const CC_POLICY_NV_WRITTEN: u32 = 0x18F;

/// A policy digest in the SHA-256 bank of policy sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PolicyDigest(pub [u8; 32]);

impl PolicyDigest {
    /// The digest of a session in which no policy command has run yet.
    pub const EMPTY: Self = Self([0; 32]);

    /// After `TPM2_PolicyPCR` over these values. SPEC: Part 3, 23.7.
    #[must_use]
    pub fn and_pcrs(self, values: &PcrValues) -> Self {
        Self(
            Sha256::new()
                .chain_update(self.0)
                .chain_update(CC_POLICY_PCR.to_be_bytes())
                .chain_update(values.set().selection())
                .chain_update(values.digest())
                .finalize()
                .into(),
        )
    }

    /// After `TPM2_PolicyNV` demanding that the index holds at most `sequence`. SPEC: Part 3, 23.9.
    #[must_use]
    pub fn and_floor_at_most(self, floor: &NvName, sequence: u64) -> Self {
        let arguments = Sha256::new()
            .chain_update(sequence.to_be_bytes())
            .chain_update(0u16.to_be_bytes())
            .chain_update(EO_UNSIGNED_LE.to_be_bytes())
            .finalize();
        Self(
            Sha256::new()
                .chain_update(self.0)
                .chain_update(CC_POLICY_NV.to_be_bytes())
                .chain_update(arguments)
                .chain_update(floor.0)
                .finalize()
                .into(),
        )
    }

    /// After `TPM2_PolicyAuthorize`, which replaces what was there. SPEC: Part 3, 23.16.
    #[must_use]
    pub fn authorized_by(key: &ReleaseKey) -> Self {
        let with_key = Sha256::new()
            .chain_update(Self::EMPTY.0)
            .chain_update(CC_POLICY_AUTHORIZE.to_be_bytes())
            .chain_update(key.name())
            .finalize();
        Self(
            Sha256::new()
                .chain_update(with_key)
                .chain_update(POLICY_REF)
                .finalize()
                .into(),
        )
    }

    /// After `TPM2_PolicyNvWritten(NO)`: holds only while the index was never written. SPEC: Part 3, 23.20.
    #[must_use]
    pub fn and_not_yet_written(self) -> Self {
        Self(
            Sha256::new()
                .chain_update(self.0)
                .chain_update(CC_POLICY_NV_WRITTEN.to_be_bytes())
                .chain_update([0])
                .finalize()
                .into(),
        )
    }

    /// After `TPM2_PolicyOR` of two branches, which replaces what was there. SPEC: Part 3, 23.6.
    #[must_use]
    pub fn either(branches: &[Self; 2]) -> Self {
        let mut hash = Sha256::new()
            .chain_update(Self::EMPTY.0)
            .chain_update(CC_POLICY_OR.to_be_bytes());
        branches.iter().for_each(|branch| hash.update(branch.0));
        Self(hash.finalize().into())
    }
}

/// Name of an NV index: algorithm and digest of its public area.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NvName(pub [u8; 34]);

/// Name of a key: algorithm and digest of its public area.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyName(pub [u8; 34]);

/// `TPM_ALG_SHA256 || SHA-256(public area)`. SPEC: Part 1, section 16.
#[must_use]
pub(crate) fn name_of(public_area: &[u8]) -> [u8; 34] {
    let mut name = [0u8; 34];
    let (algorithm, digest) = name.split_at_mut(2);
    algorithm.copy_from_slice(&ALG_SHA256.to_be_bytes());
    digest.copy_from_slice(&Sha256::digest(public_area));
    name
}

/// The name of a key, from its `TPMT_PUBLIC` with SHA-256 as name algorithm.
#[must_use]
pub fn key_name(tpmt_public: &[u8]) -> KeyName {
    KeyName(name_of(tpmt_public))
}

/// An ECDSA P-256 release key: affine coordinates, big-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReleaseKey {
    /// x coordinate.
    pub x: [u8; 32],
    /// y coordinate.
    pub y: [u8; 32],
}

/// Bytes that are not a P-256 public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an uncompressed P-256 public key on the curve ({found} bytes, expected 65)")]
pub struct ReleaseKeyError {
    /// Length of what was given, in bytes.
    pub found: usize,
}

impl ReleaseKey {
    /// Reads an uncompressed SEC1 point (`04 || x || y`, 65 bytes) and checks that it is on the curve.
    ///
    /// # Errors
    /// When the bytes are anything else.
    pub fn parse(sec1: &[u8]) -> Result<Self, ReleaseKeyError> {
        let error = ReleaseKeyError { found: sec1.len() };
        let _on_curve = p256::PublicKey::from_sec1_bytes(sec1).map_err(|_| error)?;
        let (Some(4), Some(x), Some(y), 65) =
            (sec1.first(), sec1.get(1..33), sec1.get(33..65), sec1.len())
        else {
            return Err(error);
        };
        match (x.try_into(), y.try_into()) {
            (Ok(x), Ok(y)) => Ok(Self { x, y }),
            (Err(_), _) | (_, Err(_)) => Err(error),
        }
    }

    /// The uncompressed SEC1 point.
    #[must_use]
    pub fn to_sec1(&self) -> [u8; 65] {
        let mut point = [4u8; 65];
        let (_, coordinates) = point.split_at_mut(1);
        let (x, y) = coordinates.split_at_mut(32);
        x.copy_from_slice(&self.x);
        y.copy_from_slice(&self.y);
        point
    }

    /// `TPMT_PUBLIC` under which a TPM loads this key, 88 bytes. Its digest is in the policy, so
    /// every field is part of the format: ECC, SHA-256, `userWithAuth | sign`, no policy, no
    /// symmetric cipher, ECDSA with SHA-256, P-256, no KDF.
    #[must_use]
    pub fn tpmt_public(&self) -> [u8; 88] {
        const HEAD: [u8; 20] = [
            0x00, 0x23, // type: TPM_ALG_ECC
            0x00, 0x0B, // nameAlg: SHA-256
            0x00, 0x04, 0x00, 0x40, // objectAttributes: sign, userWithAuth
            0x00, 0x00, // authPolicy: empty
            0x00, 0x10, // symmetric: null
            0x00, 0x18, 0x00, 0x0B, // scheme: ECDSA with SHA-256
            0x00, 0x03, // curve: NIST P-256
            0x00, 0x10, // kdf: null
        ];
        const LENGTH: [u8; 2] = [0, 32];
        let mut out = [0u8; 88];
        let parts: [&[u8]; 5] = [&HEAD, &LENGTH, &self.x, &LENGTH, &self.y];
        let fields = parts.iter().flat_map(|part| part.iter());
        out.iter_mut()
            .zip(fields)
            .for_each(|(to, from)| *to = *from);
        out
    }

    /// The key's name.
    #[must_use]
    pub fn name(&self) -> [u8; 34] {
        name_of(&self.tpmt_public())
    }

    /// The policy of sealed blobs and of the counter: whatever this key approved.
    #[must_use]
    pub fn seal_policy(&self) -> PolicyDigest {
        PolicyDigest::authorized_by(self)
    }
}

/// What a release key approves: these PCR values, while the floor is at most this sequence.
///
/// The digest covers the name of the floor index, which covers the release key.
#[must_use]
pub fn approved_policy(pcrs: &PcrValues, sequence: u64, key: &ReleaseKey) -> PolicyDigest {
    let floor = NvIndex::floor(key).name(Written::Yes);
    PolicyDigest::EMPTY
        .and_pcrs(pcrs)
        .and_floor_at_most(&floor, sequence)
}

/// The digest a release key signs (`aHash` of `TPM2_PolicyAuthorize`): SHA-256 of the approved
/// policy and [`POLICY_REF`]. It is signed as it is; hashing it again gives a signature no TPM accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApprovalDigest(pub [u8; 32]);

impl ApprovalDigest {
    /// Of an approved policy.
    #[must_use]
    pub fn of(approved: &PolicyDigest) -> Self {
        Self(
            Sha256::new()
                .chain_update(approved.0)
                .chain_update(POLICY_REF)
                .finalize()
                .into(),
        )
    }
}

/// An ECDSA P-256 signature, both scalars big-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReleaseSignature {
    /// r.
    pub r: [u8; 32],
    /// s.
    pub s: [u8; 32],
}

/// What a release ships with: the PCR values it boots to, its sequence, and the release key's
/// approval of both. All of it is public.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleasePolicy {
    /// PCR values of the SHA-256 bank that this release boots to.
    pub pcrs: PcrValues,
    /// Number of this release; a floor above it shuts it out.
    pub sequence: u64,
    /// The key that approves releases.
    pub release_key: ReleaseKey,
    /// Its approval.
    pub signature: ReleaseSignature,
}

impl ReleasePolicy {
    /// Makes a policy; `sign` signs the 32-byte digest it is given, as it is.
    ///
    /// # Errors
    /// Those of `sign`.
    pub fn approve<E>(
        pcrs: PcrValues,
        sequence: u64,
        release_key: ReleaseKey,
        sign: impl FnOnce(&ApprovalDigest) -> Result<ReleaseSignature, E>,
    ) -> Result<Self, E> {
        let approved = approved_policy(&pcrs, sequence, &release_key);
        let signature = sign(&ApprovalDigest::of(&approved))?;
        Ok(Self {
            pcrs,
            sequence,
            release_key,
            signature,
        })
    }

    /// The policy digest that the signature approves.
    #[must_use]
    pub fn approved(&self) -> PolicyDigest {
        approved_policy(&self.pcrs, self.sequence, &self.release_key)
    }

    /// `TPMT_SIGNATURE` of the approval.
    pub(crate) fn tpmt_signature(&self) -> Writer {
        Writer::new()
            .u16(0x0018)
            .u16(ALG_SHA256)
            .sized(&self.signature.r)
            .sized(&self.signature.s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pcr::PcrSet;

    fn key() -> ReleaseKey {
        // The generator of P-256: a point on the curve that anybody can check.
        let generator = p256::SecretKey::from_slice(&{
            let mut one = [0u8; 32];
            one[31] = 1;
            one
        })
        .unwrap()
        .public_key();
        ReleaseKey::parse(&p256_sec1(&generator)).unwrap()
    }

    fn p256_sec1(key: &p256::PublicKey) -> Vec<u8> {
        use p256::elliptic_curve::sec1::ToSec1Point as _;
        key.to_sec1_point(false).as_bytes().to_vec()
    }

    #[test]
    fn a_release_key_reads_back_what_it_writes() {
        assert_eq!(ReleaseKey::parse(&key().to_sec1()), Ok(key()));
    }

    #[test]
    fn a_point_off_the_curve_is_no_release_key() {
        let mut point = key().to_sec1();
        point[64] ^= 1;
        assert_eq!(
            ReleaseKey::parse(&point),
            Err(ReleaseKeyError { found: 65 })
        );
    }

    #[test]
    fn a_compressed_point_is_no_release_key() {
        let mut point = key().to_sec1()[..33].to_vec();
        point[0] = 3;
        assert_eq!(
            ReleaseKey::parse(&point),
            Err(ReleaseKeyError { found: 33 })
        );
    }

    #[test]
    fn every_input_of_the_approved_policy_changes_it() {
        let values =
            |first: u8| PcrValues::new(PcrSet::PROFILE.iter().map(|i| (i, [first; 32]))).unwrap();
        let base = approved_policy(&values(1), 7, &key());
        let other = {
            let secret = p256::SecretKey::from_slice(&[7; 32]).unwrap();
            ReleaseKey::parse(&p256_sec1(&secret.public_key())).unwrap()
        };
        let fewer = PcrValues::new(PcrSet::PROFILE.iter().skip(1).map(|i| (i, [1; 32]))).unwrap();
        assert_ne!(base, approved_policy(&values(2), 7, &key()));
        assert_ne!(base, approved_policy(&values(1), 8, &key()));
        assert_ne!(base, approved_policy(&values(1), 7, &other));
        assert_ne!(base, approved_policy(&fewer, 7, &key()));
    }
}

//! Digests, each with a domain of its own, and the newtypes that keep them apart.
//!
//! In: encodings. Out: 32- or 64-byte values that cannot be mistaken for one another.
//! Every digest that is not fixed by another standard (RFC 9162, C2SP, TPM 2.0) is
//! `H(domain text || 0x00 || bytes)`, where the domain text has no zero byte.
//!
//! Spec: `docs/spec/record.md`, "Digests".

use crate::cbor::{Cbor, CborError, Reader, Writer};
use sha2::{Digest as _, Sha256, Sha512};

/// Domain of artifacts.
const ARTIFACT: &str = "countersign/artifact/v1";
/// Bytes of a large artifact that are held at a time.
const PIECE: usize = 1 << 16;

/// SHA-256 of `domain || 0x00 || parts…`.
#[must_use]
pub fn sha256_in(domain: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut h = begun(domain);
    parts.iter().for_each(|p| h.update(p));
    h.finalize().into()
}

/// SHA-256 that has taken `domain || 0x00`.
fn begun(domain: &str) -> Sha256 {
    let mut h = Sha256::new();
    h.update(domain.as_bytes());
    h.update([0]);
    h
}

/// SHA-512 of `domain || 0x00 || bytes`.
#[must_use]
pub fn sha512_in(domain: &str, bytes: &[u8]) -> [u8; 64] {
    let mut h = Sha512::new();
    h.update(domain.as_bytes());
    h.update([0]);
    h.update(bytes);
    h.finalize().into()
}

/// Plain SHA-256, for what other standards hash.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Declares a fixed-size value with its own type.
macro_rules! fixed {
    ($($(#[$meta:meta])* $name:ident [$n:literal]),* $(,)?) => { $(
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub [u8; $n]);

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str(&hex::encode(self.0)) }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str(&hex::encode(self.0)) }
        }
        impl $name {
            /// Reads lower- or upper-case hexadecimal.
            #[must_use]
            pub fn from_hex(s: &str) -> Option<Self> {
                let mut out = [0u8; $n];
                hex::decode_to_slice(s, &mut out).ok().map(|()| Self(out))
            }
        }
        impl Cbor for $name {
            fn write(&self, w: &mut Writer) { w.bytes(&self.0); }
            fn read(r: &mut Reader<'_>) -> Result<Self, CborError> { r.bytes_exact().map(Self) }
        }
    )* };
}

fixed! {
    /// Digest of a complete signed entry; what entries refer to one another by.
    EntryDigest[32],
    /// RFC 9162 hash of a leaf or an inner node.
    NodeHash[32],
    /// Digest of an artifact that travels beside the log: evidence, a bundle, a statement, a configuration.
    ArtifactDigest[32],
    /// Salted commitment to one value (see [`crate::commitment`]).
    Commitment[32],
    /// An Ed25519 public key.
    PublicKey[32],
    /// SHA-256 of an Ed25519 public key.
    KeyId[32],
    /// SHA-256 of the gateway's identity key: the name of a gateway, and the origin of its log.
    GatewayId[32],
    /// Digest of what is about to be done; what an approver signs.
    ActionDigest[32],
    /// One call, assigned by the gateway.
    CallId[16],
    /// One run, assigned by the gateway.
    RunId[16],
    /// Pseudonym of a tenant.
    TenantId[16],
    /// Pseudonym of a subject: a user, or an agent that acts for itself; unlinkable once the subject's key is destroyed.
    SubjectId[32],
    /// Unpredictable bytes of a commitment.
    Salt[16],
    /// What a TPM signs in: `TPMS_ATTEST.extraData`.
    Qualifying[32],
    /// What a platform binds its report to: 64 bytes of report data.
    Anchor[64],
    /// An Ed25519 signature.
    Signature[64],
    /// A caller's or verifier's challenge.
    Nonce[32],
    /// Name of one TLS connection, which its two ends can compute and nobody else (RFC 9266, `tls-exporter`).
    ChannelBinding[32],
}

impl PublicKey {
    /// The key's identifier.
    #[must_use]
    pub fn id(&self) -> KeyId {
        KeyId(sha256(&self.0))
    }

    /// The gateway that this identity key makes.
    #[must_use]
    pub fn gateway(&self) -> GatewayId {
        GatewayId(sha256(&self.0))
    }
}

impl ArtifactDigest {
    /// The digest of an artifact's bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha256_in(ARTIFACT, &[bytes]))
    }

    /// The digest of an artifact that is too large to be held: all that `reader` has, a piece at a time.
    ///
    /// # Errors
    /// If it cannot be read to its end.
    pub fn of_reader(reader: &mut impl std::io::Read) -> std::io::Result<Self> {
        let mut h = begun(ARTIFACT);
        let mut piece = vec![0; PIECE];
        loop {
            let read = match reader.read(&mut piece) {
                Ok(0) => return Ok(Self(h.finalize().into())),
                Ok(read) => read,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            };
            h.update(piece.get(..read).unwrap_or_default());
        }
    }
}

/// Milliseconds since 1970-01-01T00:00:00Z, without leap seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMillis(pub u64);

impl Cbor for UnixMillis {
    fn write(&self, w: &mut Writer) {
        w.uint(self.0);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CborError> {
        r.uint().map(Self)
    }
}

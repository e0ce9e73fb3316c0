//! The signature rule: which Ed25519 signatures this format accepts.
//!
//! In: 32 key bytes, a message, 64 signature bytes. Out: nothing but success, or the reason.
//! Relies on `ed25519-zebra` for decoding points and for the equation.
//!
//! Implementations of Ed25519 differ on edge cases, and most differ between one signature and a
//! batch. Here an entry is valid for everybody or for nobody, alone or among others, so the rule
//! is written out (spec: `docs/spec/record.md`, "Signatures"):
//!
//! 1. the key A is a canonical encoding (RFC 8032 §5.1.3: y < p, no sign on x = 0) of a point of
//!    the curve, and not of small order;
//! 2. R is a canonical encoding of a point of the curve (a small order of R is allowed);
//! 3. S < L;
//! 4. \[8\]\[S\]B = \[8\]R + \[8\]\[k\]A, the cofactored equation of RFC 8032 §5.1.7, with
//!    k = SHA-512(R ‖ A ‖ M) over the bytes that arrived.
//!
//! Rules 1 to 3 are decided on bytes before any equation, for a batch as for a single signature.
//! A batch then checks a sum of equation 4 with 128-bit coefficients. These are derived from a hash
//! of the whole batch, so nobody can choose items that cancel each other, and no randomness is
//! needed. A batch that fails is halved until the bad items are named.

use core::convert::Infallible;

use ed25519_zebra::{Signature, VerificationKey, VerificationKeyBytes, batch};
use sha2::{Digest as _, Sha256, Sha512};
use thiserror::Error;

/// Length of a public key, in bytes (RFC 8032 §5.1.5).
pub const PUBLIC_KEY_BYTES: usize = 32;

/// Length of a signature, in bytes (RFC 8032 §5.1.6): R, then S.
pub const SIGNATURE_BYTES: usize = 64;

/// The name of a public key: SHA-256 of its 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub [u8; 32]);

impl core::fmt::Debug for KeyId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Display::fmt(self, f)
    }
}

/// Lower-case hexadecimal, 64 digits.
impl core::fmt::Display for KeyId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A public key that satisfies rule 1, decoded once.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey {
    decoded: VerificationKey,
    bytes: [u8; PUBLIC_KEY_BYTES],
}

/// A message and the signature that is claimed over it.
#[derive(Clone, Copy)]
pub struct Signed<'a> {
    /// The bytes that were signed, as they arrived.
    pub message: &'a [u8],
    /// R, then S.
    pub signature: &'a [u8; SIGNATURE_BYTES],
}

/// Why 32 bytes are not a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum KeyError {
    /// y is not below p, or x is zero and has a sign.
    #[error("ed25519 key is not in its canonical encoding")]
    NonCanonical,
    /// One of the eight points whose order divides 8; under them signatures bind nothing.
    #[error("ed25519 key is a point of small order")]
    SmallOrder,
    /// No point of the curve has this y.
    #[error("ed25519 key is not a point of the curve")]
    NotOnCurve,
}

/// Why a signature does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SignatureError {
    /// R breaks rule 2.
    #[error("ed25519 signature has an R that is not in its canonical encoding")]
    NonCanonicalR,
    /// S is not below L.
    #[error("ed25519 signature has an S that is not below the group order")]
    NonCanonicalS,
    /// The equation does not hold, or R is not a point of the curve: another key, another message, or altered.
    #[error("ed25519 signature does not hold for this key and message")]
    Mismatch,
}

/// The items of a batch whose signatures do not hold.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{} of {total} signatures do not hold, the first at position {}", positions.len(), positions.first().copied().unwrap_or_default())]
pub struct BadSignatures {
    /// Positions in the order of [`Batch::push`], from 0, ascending, never empty.
    pub positions: Vec<usize>,
    /// How many items the batch had.
    pub total: usize,
}

impl PublicKey {
    /// Reads a key; refuses what rule 1 refuses.
    pub fn parse(bytes: &[u8; PUBLIC_KEY_BYTES]) -> Result<Self, KeyError> {
        if !is_canonical(bytes) {
            return Err(KeyError::NonCanonical);
        }
        if SMALL_ORDER.contains(bytes) {
            return Err(KeyError::SmallOrder);
        }
        let decoded = VerificationKey::try_from(*bytes).map_err(|_| KeyError::NotOnCurve)?;
        Ok(Self {
            decoded,
            bytes: *bytes,
        })
    }

    /// The 32 bytes that were parsed.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; PUBLIC_KEY_BYTES] {
        &self.bytes
    }

    /// The key's name.
    #[must_use]
    pub fn id(&self) -> KeyId {
        KeyId(Sha256::digest(self.bytes).into())
    }

    /// Checks one signature by rules 2 to 4.
    pub fn verify(&self, signed: Signed<'_>) -> Result<(), SignatureError> {
        precheck(signed.signature)?;
        self.decoded
            .verify(&Signature::from_bytes(signed.signature), signed.message)
            .map_err(|_| SignatureError::Mismatch)
    }
}

impl core::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "PublicKey({})", self.id())
    }
}

/// Signatures that are checked together.
///
/// Faster than one by one, most of all when many are by one key: equal keys are collected into one
/// term, and only the R of each signature is decoded. The messages need not outlive [`Batch::push`].
#[derive(Default)]
pub struct Batch {
    items: Vec<Item>,
    refused: Vec<usize>,
}

struct Item {
    position: usize,
    digest: [u8; 32],
    equation: batch::Item,
}

impl Batch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a signature; its position is the number of items pushed before it.
    pub fn push(&mut self, key: &PublicKey, signed: Signed<'_>) {
        let position = self.len();
        if precheck(signed.signature).is_err() {
            self.refused.push(position);
            return;
        }
        let key_bytes = VerificationKeyBytes::from(key.bytes);
        let signature = Signature::from_bytes(signed.signature);
        self.items.push(Item {
            position,
            digest: item_digest(key, signed),
            equation: batch::Item::from((key_bytes, signature, signed.message)),
        });
    }

    /// How many signatures were pushed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len().saturating_add(self.refused.len())
    }

    /// Whether nothing was pushed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Checks all; on failure names each item that [`PublicKey::verify`] would refuse.
    ///
    /// An empty batch holds: there is no signature that does not.
    pub fn verify(self) -> Result<(), BadSignatures> {
        let total = self.len();
        let Self {
            items,
            refused: mut positions,
        } = self;
        let mut open = vec![items.as_slice()];
        while let Some(part) = open.pop() {
            if part.len() <= BISECTION_FLOOR {
                let bad = part
                    .iter()
                    .filter(|item| item.equation.clone().verify_single().is_err());
                positions.extend(bad.map(|item| item.position));
            } else if !holds_together(part) {
                let (left, right) = part.split_at(part.len().div_ceil(2));
                open.extend([left, right]);
            }
        }
        if positions.is_empty() {
            return Ok(());
        }
        positions.sort_unstable();
        Err(BadSignatures { positions, total })
    }
}

/// The batch equation over `part`, with coefficients from a hash of `part`.
fn holds_together(part: &[Item]) -> bool {
    let mut hash = Sha512::new_with_prefix(BATCH_DOMAIN);
    let mut verifier = batch::Verifier::new();
    for item in part {
        hash.update(item.digest);
        verifier.queue(item.equation.clone());
    }
    verifier
        .verify(Coefficients::new(hash.finalize().into()))
        .is_ok()
}

/// What an item contributes to the hash of its batch: fixed lengths first, the message last.
fn item_digest(key: &PublicKey, signed: Signed<'_>) -> [u8; 32] {
    Sha256::new()
        .chain_update(key.bytes)
        .chain_update(signed.signature)
        .chain_update(signed.message)
        .finalize()
        .into()
}

/// Rules 2 and 3, as far as bytes show them.
fn precheck(signature: &[u8; SIGNATURE_BYTES]) -> Result<(), SignatureError> {
    let (r, s) = halves(signature);
    if !is_canonical(&r) {
        return Err(SignatureError::NonCanonicalR);
    }
    // Little-endian numbers compare as their reversed bytes do.
    if s.iter().rev().ge(GROUP_ORDER.iter().rev()) {
        return Err(SignatureError::NonCanonicalS);
    }
    Ok(())
}

fn halves(signature: &[u8; SIGNATURE_BYTES]) -> ([u8; 32], [u8; 32]) {
    let mut halves = ([0; 32], [0; 32]);
    let (r, s) = signature.split_at(32);
    halves.0.copy_from_slice(r);
    halves.1.copy_from_slice(s);
    halves
}

/// Whether an encoded point is canonical: y < p, and no sign bit where x is zero.
fn is_canonical(encoded: &[u8; 32]) -> bool {
    let mut y = *encoded;
    let [.., last] = &mut y;
    let sign = *last & 0x80;
    *last &= 0x7f;
    let below_p = y.iter().rev().lt(FIELD_PRIME.iter().rev());
    // x is zero exactly where y is 1 or -1.
    let x_is_zero = y == ONE || y == MINUS_ONE;
    below_p && !(x_is_zero && sign != 0)
}

/// Batch coefficients: SHA-512 of a seed and a counter, 64 bytes at a time.
struct Coefficients {
    seed: [u8; 64],
    counter: u64,
    block: [u8; 64],
    used: usize,
}

impl Coefficients {
    fn new(seed: [u8; 64]) -> Self {
        Self {
            seed,
            counter: 0,
            block: [0; 64],
            used: 64,
        }
    }

    fn next_byte(&mut self) -> u8 {
        if let Some(byte) = self.block.get(self.used).copied() {
            self.used = self.used.saturating_add(1);
            return byte;
        }
        self.block = Sha512::new()
            .chain_update(self.seed)
            .chain_update(self.counter.to_le_bytes())
            .finalize()
            .into();
        self.counter = self.counter.wrapping_add(1);
        self.used = 1;
        let [first, ..] = self.block;
        first
    }

    fn next<const N: usize>(&mut self) -> [u8; N] {
        core::array::from_fn(|_| self.next_byte())
    }
}

impl rand_core::TryRng for Coefficients {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(u32::from_le_bytes(self.next()))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from_le_bytes(self.next()))
    }

    fn try_fill_bytes(&mut self, destination: &mut [u8]) -> Result<(), Infallible> {
        destination.fill_with(|| self.next_byte());
        Ok(())
    }
}

// The output is a hash of the batch: unpredictable to whoever chose the batch before it was fixed.
impl rand_core::TryCryptoRng for Coefficients {}

/// Separates the hash of a batch from every other hash of the format.
const BATCH_DOMAIN: &[u8] = b"countersign/ed25519-batch/v1";

/// Parts of at most this many items are checked one by one: halving further saves nothing.
const BISECTION_FLOOR: usize = 4;

/// y = 1, little-endian.
const ONE: [u8; 32] = {
    let mut y = [0; 32];
    y[0] = 1;
    y
};

/// y = -1 = p - 1, little-endian.
const MINUS_ONE: [u8; 32] = ends_of_field(0xec);

/// p = 2^255 - 19, little-endian.
const FIELD_PRIME: [u8; 32] = ends_of_field(0xed);

/// The little-endian number 0x7fff…ff`lowest`.
const fn ends_of_field(lowest: u8) -> [u8; 32] {
    let mut number = [0xff; 32];
    number[0] = lowest;
    number[31] = 0x7f;
    number
}

/// L = 2^252 + 27742317777372353535851937790883648493, little-endian (RFC 8032 §5.1).
const GROUP_ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// The canonical encodings of the eight points whose order divides 8.
///
/// Source: C2SP/CCTV, `ed25519/README.md`, "Low-order edwards25519 point encodings"; the
/// non-canonical ones are refused before by [`is_canonical`].
const SMALL_ORDER: [[u8; 32]; 8] = [
    [0; 32],
    with_sign([0; 32]),
    ONE,
    ORDER_8_A,
    with_sign(ORDER_8_A),
    ORDER_8_B,
    with_sign(ORDER_8_B),
    MINUS_ONE,
];

const fn with_sign(mut y: [u8; 32]) -> [u8; 32] {
    y[31] |= 0x80;
    y
}

const ORDER_8_A: [u8; 32] = [
    0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
    0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
];

const ORDER_8_B: [u8; 32] = [
    0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
    0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
];

#[cfg(test)]
mod tests;

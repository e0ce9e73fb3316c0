//! Wraps the storage key to a recovery key that the customer holds, and unwraps it. Pure.
//!
//! In: a 32-byte storage key, an X25519 public key, an ephemeral seed. Out: a [`RecoveryWrap`] of
//! 113 bytes that only the recovery key opens; it may lie on the operator's disk.
//!
//! ```text
//! shared = X25519(ephemeral, recovery)
//! key ‖ nonce = HKDF-SHA-256(salt: none, shared,
//!               info: "countersign/recovery-wrap/v1" ‖ 00 ‖ ephemeral public ‖ recovery public), 32 + 12 bytes
//! wrap = 01 ‖ recovery public ‖ ephemeral public ‖ AES-256-GCM(key, nonce, storage key; AAD: the 65 bytes before)
//! ```
//! The nonce may be derived because each wrap has a fresh ephemeral key, hence a fresh key.

use aes_gcm::aead::{Aead as _, Payload};
use aes_gcm::{Aes256Gcm, KeyInit as _};
use hkdf::Hkdf;
use sha2::Sha256;
use x25519_dalek::{PublicKey, SharedSecret, StaticSecret};
use zeroize::{Zeroize as _, Zeroizing};

/// Separates this use of the recovery key from any other.
const DOMAIN: &[u8] = b"countersign/recovery-wrap/v1\0";

/// Separates the transport key from every other use of the identity's seed.
const TRANSPORT_DOMAIN: &[u8] = b"countersign/adopt-transport/v1\0";

/// Version byte of the format.
const VERSION: u8 = 1;

/// Length of an encoded wrap: version, two keys, ciphertext, tag.
pub const RECOVERY_WRAP_BYTES: usize = 113;

/// A customer's X25519 recovery public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecoveryKey(pub [u8; 32]);

impl RecoveryKey {
    /// The public key of a private one.
    #[must_use]
    pub fn of(private: &Zeroizing<[u8; 32]>) -> Self {
        Self(PublicKey::from(&StaticSecret::from(**private)).to_bytes())
    }
}

/// The private half of the key to which other gateways' storage keys are wrapped for this one.
///
/// It is derived from the identity's seed, which the TPM seals: whoever is this gateway can open
/// what is wrapped for it, and nobody else. The derivation is one-way and has a domain of its own.
pub struct TransportKey(Zeroizing<[u8; 32]>);

impl TransportKey {
    /// The key of the gateway with this identity seed.
    ///
    /// # Errors
    /// Never, in practice: the derivation fails for longer outputs only.
    pub fn of_identity(seed: &[u8; 32]) -> Result<Self, WrapError> {
        let mut key = Zeroizing::new([0u8; 32]);
        Hkdf::<Sha256>::new(None, seed)
            .expand(TRANSPORT_DOMAIN, key.as_mut_slice())
            .map_err(|_| WrapError::Cipher)?;
        Ok(Self(key))
    }

    /// The public half, to which a wrap is made.
    #[must_use]
    pub fn public(&self) -> RecoveryKey {
        RecoveryKey::of(&self.0)
    }

    /// Opens a wrap that was made to it.
    ///
    /// # Errors
    /// When it is for another key or was altered.
    pub fn open(&self, wrap: &RecoveryWrap) -> Result<Zeroizing<[u8; 32]>, UnwrapError> {
        wrap.unwrap_with(&self.0)
    }
}

/// Fresh random bytes for one wrap; spent by it.
pub struct EphemeralSeed(Zeroizing<[u8; 32]>);

impl EphemeralSeed {
    /// Of bytes that are random and used nowhere else.
    #[must_use]
    pub fn new(random: Zeroizing<[u8; 32]>) -> Self {
        Self(random)
    }
}

/// A storage key wrapped to a recovery key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveryWrap {
    recipient: RecoveryKey,
    ephemeral: [u8; 32],
    sealed: [u8; 48],
}

/// A storage key was not wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WrapError {
    /// The recovery key is a point of small order, which everybody shares a secret with.
    #[error("recovery key is a point of small order")]
    WeakRecoveryKey,
    /// The cipher failed.
    #[error("encryption failed")]
    Cipher,
}

/// A wrap was not opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnwrapError {
    /// Not the length of a wrap.
    #[error("recovery wrap is {found} bytes, expected {RECOVERY_WRAP_BYTES}")]
    Length {
        /// Bytes given.
        found: usize,
    },
    /// A version we do not know.
    #[error("recovery wrap has version {found}, expected {VERSION}")]
    Version {
        /// Version given.
        found: u8,
    },
    /// Made for another recovery key.
    #[error("recovery wrap is for another recovery key than the one given")]
    OtherKey {
        /// Whom it is for.
        recipient: RecoveryKey,
    },
    /// Changed, or never made by us.
    #[error("recovery wrap was altered")]
    Altered,
}

impl RecoveryWrap {
    /// Wraps a storage key.
    ///
    /// # Errors
    /// When the recovery key is of small order.
    pub fn wrap(
        storage_key: &Zeroizing<[u8; 32]>,
        recipient: RecoveryKey,
        seed: EphemeralSeed,
    ) -> Result<Self, WrapError> {
        let secret = StaticSecret::from(*seed.0);
        let ephemeral = PublicKey::from(&secret).to_bytes();
        let shared = secret.diffie_hellman(&PublicKey::from(recipient.0));
        let (cipher, nonce) =
            derive(&shared, ephemeral, recipient).ok_or(WrapError::WeakRecoveryKey)?;
        let header = header(recipient, ephemeral);
        let payload = Payload {
            msg: storage_key.as_slice(),
            aad: &header,
        };
        let sealed = cipher
            .encrypt((&nonce).into(), payload)
            .map_err(|_| WrapError::Cipher)?;
        let sealed = sealed.try_into().map_err(|_| WrapError::Cipher)?;
        Ok(Self {
            recipient,
            ephemeral,
            sealed,
        })
    }

    /// Opens the wrap with the recovery private key.
    ///
    /// # Errors
    /// When it is for another key or was altered.
    pub fn unwrap_with(
        &self,
        private: &Zeroizing<[u8; 32]>,
    ) -> Result<Zeroizing<[u8; 32]>, UnwrapError> {
        let Self {
            recipient,
            ephemeral,
            sealed,
        } = self;
        if RecoveryKey::of(private) != *recipient {
            return Err(UnwrapError::OtherKey {
                recipient: *recipient,
            });
        }
        let shared = StaticSecret::from(**private).diffie_hellman(&PublicKey::from(*ephemeral));
        let (cipher, nonce) =
            derive(&shared, *ephemeral, *recipient).ok_or(UnwrapError::Altered)?;
        let payload = Payload {
            msg: sealed.as_slice(),
            aad: &header(*recipient, *ephemeral),
        };
        let opened = cipher
            .decrypt((&nonce).into(), payload)
            .map_err(|_| UnwrapError::Altered)?;
        let opened = Zeroizing::new(opened);
        let mut key = Zeroizing::new([0u8; 32]);
        match <&[u8; 32]>::try_from(opened.as_slice()) {
            Ok(bytes) => key.copy_from_slice(bytes),
            Err(_) => return Err(UnwrapError::Altered),
        }
        Ok(key)
    }

    /// Whom the wrap is for.
    #[must_use]
    pub fn recipient(&self) -> RecoveryKey {
        self.recipient
    }

    /// The bytes to keep.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        [
            header(self.recipient, self.ephemeral).as_slice(),
            &self.sealed,
        ]
        .concat()
    }

    /// Reads a wrap; all bytes must be used.
    ///
    /// # Errors
    /// When length or version is another.
    pub fn parse(bytes: &[u8]) -> Result<Self, UnwrapError> {
        let length = || UnwrapError::Length { found: bytes.len() };
        let (version, rest) = bytes.split_first_chunk::<1>().ok_or_else(length)?;
        let (recipient, rest) = rest.split_first_chunk::<32>().ok_or_else(length)?;
        let (ephemeral, rest) = rest.split_first_chunk::<32>().ok_or_else(length)?;
        let sealed: [u8; 48] = rest.try_into().map_err(|_| length())?;
        match version {
            [VERSION] => Ok(Self {
                recipient: RecoveryKey(*recipient),
                ephemeral: *ephemeral,
                sealed,
            }),
            [found] => Err(UnwrapError::Version { found: *found }),
        }
    }
}

/// What the tag covers besides the key.
fn header(recipient: RecoveryKey, ephemeral: [u8; 32]) -> Vec<u8> {
    [[VERSION].as_slice(), &recipient.0, &ephemeral].concat()
}

/// Cipher and nonce of one wrap; `None` if the shared secret does not depend on our key.
fn derive(
    shared: &SharedSecret,
    ephemeral: [u8; 32],
    recipient: RecoveryKey,
) -> Option<(Aes256Gcm, [u8; 12])> {
    if !shared.was_contributory() {
        return None;
    }
    let mut material = Zeroizing::new([0u8; 44]);
    let info = [DOMAIN, ephemeral.as_slice(), &recipient.0];
    Hkdf::<Sha256>::new(None, shared.as_bytes())
        .expand_multi_info(&info, material.as_mut_slice())
        .ok()?;
    let (key, nonce) = material.split_first_chunk::<32>()?;
    let mut key = *key;
    let cipher = Aes256Gcm::new((&key).into());
    key.zeroize();
    Some((cipher, nonce.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn private() -> Zeroizing<[u8; 32]> {
        Zeroizing::new([5; 32])
    }

    fn wrapped() -> RecoveryWrap {
        let seed = EphemeralSeed::new(Zeroizing::new([9; 32]));
        RecoveryWrap::wrap(&Zeroizing::new([7; 32]), RecoveryKey::of(&private()), seed).unwrap()
    }

    fn open(bytes: &[u8]) -> Result<Zeroizing<[u8; 32]>, UnwrapError> {
        RecoveryWrap::parse(bytes)?.unwrap_with(&private())
    }

    #[test]
    fn the_recovery_key_opens_what_was_wrapped_to_it() {
        assert_eq!(*open(&wrapped().to_bytes()).unwrap(), [7; 32]);
    }

    #[test]
    fn a_wrap_is_as_long_as_documented() {
        assert_eq!(wrapped().to_bytes().len(), RECOVERY_WRAP_BYTES);
    }

    #[test]
    fn another_private_key_is_refused_by_name() {
        let other = Zeroizing::new([6; 32]);
        let recipient = RecoveryKey::of(&private());
        assert_eq!(
            wrapped().unwrap_with(&other).err(),
            Some(UnwrapError::OtherKey { recipient })
        );
    }

    /// Flips one bit at an offset and opens.
    fn flipped(offset: usize) -> Option<UnwrapError> {
        let mut bytes = wrapped().to_bytes();
        bytes[offset] ^= 1;
        open(&bytes).err()
    }

    #[test]
    fn another_version_is_refused() {
        assert_eq!(flipped(0), Some(UnwrapError::Version { found: 0 }));
    }

    #[test]
    fn an_altered_recipient_is_refused() {
        assert!(matches!(flipped(1), Some(UnwrapError::OtherKey { .. })));
    }

    #[test]
    fn an_altered_ephemeral_key_is_refused() {
        assert_eq!(flipped(33), Some(UnwrapError::Altered));
    }

    #[test]
    fn an_altered_ciphertext_is_refused() {
        assert_eq!(flipped(65), Some(UnwrapError::Altered));
    }

    #[test]
    fn an_altered_tag_is_refused() {
        assert_eq!(flipped(112), Some(UnwrapError::Altered));
    }

    #[test]
    fn a_cut_wrap_is_refused() {
        assert_eq!(
            open(&wrapped().to_bytes()[..112]).err(),
            Some(UnwrapError::Length { found: 112 })
        );
    }

    #[test]
    fn a_lengthened_wrap_is_refused() {
        let bytes = [wrapped().to_bytes(), vec![0]].concat();
        assert_eq!(open(&bytes).err(), Some(UnwrapError::Length { found: 114 }));
    }

    #[test]
    fn a_recovery_key_of_small_order_is_refused() {
        let seed = EphemeralSeed::new(Zeroizing::new([9; 32]));
        let wrapped = RecoveryWrap::wrap(&Zeroizing::new([7; 32]), RecoveryKey([0; 32]), seed);
        assert_eq!(wrapped, Err(WrapError::WeakRecoveryKey));
    }

    #[test]
    fn what_is_wrapped_for_a_gateway_opens_with_its_identity_and_no_other() {
        let gateway = |seed| TransportKey::of_identity(&[seed; 32]).unwrap();
        let fresh = EphemeralSeed::new(Zeroizing::new([9; 32]));
        let wrap =
            RecoveryWrap::wrap(&Zeroizing::new([7; 32]), gateway(1).public(), fresh).unwrap();
        assert_eq!(*gateway(1).open(&wrap).unwrap(), [7; 32]);
        let recipient = gateway(1).public();
        assert_eq!(
            gateway(2).open(&wrap).err(),
            Some(UnwrapError::OtherKey { recipient })
        );
    }

    #[test]
    fn the_transport_key_is_not_the_identity_key() {
        let key = TransportKey::of_identity(&[1; 32]).unwrap();
        assert_ne!(key.public(), RecoveryKey::of(&Zeroizing::new([1; 32])));
    }

    #[test]
    fn an_ephemeral_key_of_small_order_is_refused() {
        let mut wrap = wrapped();
        wrap.ephemeral = [0; 32];
        assert_eq!(
            wrap.unwrap_with(&private()).err(),
            Some(UnwrapError::Altered)
        );
    }
}

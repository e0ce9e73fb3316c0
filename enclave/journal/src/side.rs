//! What stands beside the log, encrypted: opened commitments, and rows that precede an epoch.
//!
//! In: values and the storage key ring. Out: sealed bytes, or why they do not open.
//! Each value has a random data key of its own (AES-256-GCM, used once), wrapped under the
//! storage key with XAES-256-GCM, whose 24-byte random nonces have no practical limit
//! (plain AES-GCM allows 2³² random nonces a key: one day at 40,000 entries/s).
//! Destroying the wrapped key erases the value. Wrapping it anew under the storage key's next version leaves the value's
//! own bytes as they are, so that it costs as little for a large value as for a small one.
//!
//! A sealed value that is moved to another entry still decrypts; it then opens none of
//! that entry's commitments, which [`opens`] finds.
//!
//! ```text
//! version of storage key (4, big endian) || nonce (24) || wrapped data key (32 + 16) || ciphertext || tag (16)
//! ```
//!
//! Spec: C2SP XAES-256-GCM; SP 800-38D.

use crate::error::SideError;
use crate::written;
use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::aes::Aes256;
use aes_gcm::aes::cipher::BlockCipherEncrypt;
use aes_gcm::{AeadInOut as _, Aes256Gcm, Nonce};
use countersign_record::commitment::Disclosure;
use countersign_record::digest::{Commitment, GatewayId};
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use zeroize::Zeroizing;

const NONCE: usize = 24;
const WRAPPED: usize = 48;

/// What stands before a value's own bytes: version, nonce, wrapped key.
pub(crate) const PREFIX: usize = 4 + NONCE + WRAPPED;

/// Bytes that sealing adds to a value.
pub(crate) const OVERHEAD: usize = 4 + NONCE + WRAPPED + 16;

/// A key that wraps data keys.
pub struct StorageKey(Zeroizing<[u8; 32]>);

impl StorageKey {
    /// Takes a key over.
    #[must_use]
    pub fn new(key: Zeroizing<[u8; 32]>) -> Self {
        Self(key)
    }
}

/// Storage keys by version; the highest seals.
#[derive(Default)]
pub struct KeyRing {
    keys: BTreeMap<u32, Arc<StorageKey>>,
    /// A key whose version nobody told us; it is tried where there is no other.
    recovered: Option<Arc<StorageKey>>,
}

impl KeyRing {
    /// A ring of one key.
    #[must_use]
    pub fn new(version: u32, key: StorageKey) -> Self {
        Self::without_keys().with(version, key)
    }

    /// A ring with which nothing opens and nothing is sealed: the log's proofs are there, its values are not.
    #[must_use]
    pub fn without_keys() -> Self {
        Self::default()
    }

    /// A ring of one key that somebody recovered, of whatever version. Nothing is sealed with it.
    #[must_use]
    pub fn recovered(key: StorageKey) -> Self {
        Self {
            keys: BTreeMap::new(),
            recovered: Some(Arc::new(key)),
        }
    }

    /// Whether anything can open with it.
    #[must_use]
    pub fn has_keys(&self) -> bool {
        !self.keys.is_empty() || self.recovered.is_some()
    }

    /// Adds a key; the one with the highest version seals from now on.
    #[must_use]
    pub fn with(mut self, version: u32, key: StorageKey) -> Self {
        self.keys.entry(version).or_insert(Arc::new(key));
        self
    }

    fn get(&self, version: u32) -> Result<Arc<StorageKey>, SideError> {
        let key = self.keys.get(&version).or(self.recovered.as_ref());
        key.map(Arc::clone).ok_or(SideError::NoKey { version })
    }

    fn newest(&self) -> Result<(u32, Arc<StorageKey>), SideError> {
        let newest = self.keys.last_key_value();
        newest
            .map(|(version, key)| (*version, Arc::clone(key)))
            .ok_or(SideError::NoKey { version: 0 })
    }
}

/// What a sealed value is for; part of what is authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Disclosures of an entry.
    Disclosures,
    /// A row that precedes an entry.
    Pending,
    /// The secret of a subject.
    Subject,
}

/// Seals and opens for one gateway.
pub(crate) struct Side {
    ring: RwLock<KeyRing>,
    gateway: GatewayId,
}

impl Side {
    pub(crate) fn new(ring: KeyRing, gateway: GatewayId) -> Self {
        Self {
            ring: RwLock::new(ring),
            gateway,
        }
    }

    /// A panic elsewhere leaves the ring as it was: it is only ever replaced key by key.
    fn ring(&self) -> RwLockReadGuard<'_, KeyRing> {
        self.ring.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn has_keys(&self) -> bool {
        self.ring().has_keys()
    }

    pub(crate) fn newest_version(&self) -> Option<u32> {
        self.ring().newest().ok().map(|(version, _)| version)
    }

    /// Adds a key; the newest seals.
    pub(crate) fn add(&self, version: u32, key: StorageKey) {
        let mut ring = self.ring.write().unwrap_or_else(PoisonError::into_inner);
        ring.keys.entry(version).or_insert(Arc::new(key));
    }

    /// Drops every key but the newest.
    pub(crate) fn retire(&self) {
        let mut ring = self.ring.write().unwrap_or_else(PoisonError::into_inner);
        while ring.keys.len() > 1 {
            ring.keys.pop_first();
        }
    }

    fn aad(&self, purpose: Purpose) -> Vec<u8> {
        let text: &[u8] = match purpose {
            Purpose::Disclosures => b"countersign/side/disclosures/v1\0",
            Purpose::Pending => b"countersign/side/pending/v1\0",
            Purpose::Subject => b"countersign/side/subject/v1\0",
        };
        [text, &self.gateway.0].concat()
    }

    pub(crate) fn seal(&self, purpose: Purpose, value: &[u8]) -> Result<Vec<u8>, SideError> {
        let (version, key) = self.ring().newest()?;
        let mut random = Zeroizing::new([0u8; NONCE + 32]);
        getrandom::fill(random.as_mut()).map_err(|_| SideError::Random)?;
        let (nonce, data_key) = random
            .split_first_chunk::<NONCE>()
            .ok_or(SideError::Random)?;
        let data_key: &[u8; 32] = data_key.try_into().map_err(|_| SideError::Random)?;
        let aad = self.aad(purpose);
        let wrapped = Xaes { key: &key.0, nonce }.seal(Payload {
            msg: data_key.as_ref(),
            aad: &aad,
        })?;
        // One buffer, encrypted where it stands: the value is copied once and nowhere left behind.
        let mut sealed = Vec::with_capacity(value.len().saturating_add(OVERHEAD));
        sealed.extend_from_slice(&version.to_be_bytes());
        sealed.extend_from_slice(nonce);
        sealed.extend_from_slice(&wrapped);
        let from = sealed.len();
        sealed.extend_from_slice(value);
        let within = sealed.get_mut(from..).ok_or(SideError::Short)?;
        // The data key is used for this one message, so its nonce is fixed.
        let tag = Aes256Gcm::new(data_key.into())
            .encrypt_inout_detached(&Nonce::default(), &aad, within.into())
            .map_err(|_| SideError::Decrypt)?;
        sealed.extend_from_slice(&tag);
        Ok(sealed)
    }

    pub(crate) fn open(
        &self,
        purpose: Purpose,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SideError> {
        let (version, rest) = sealed.split_first_chunk::<4>().ok_or(SideError::Short)?;
        let (nonce, rest) = rest.split_first_chunk::<NONCE>().ok_or(SideError::Short)?;
        let (wrapped, sealed) = rest
            .split_first_chunk::<WRAPPED>()
            .ok_or(SideError::Short)?;
        let key = self.ring().get(u32::from_be_bytes(*version))?;
        let aad = self.aad(purpose);
        let data_key = Xaes { key: &key.0, nonce }.open(Payload {
            msg: wrapped,
            aad: &aad,
        })?;
        let data_key: &[u8; 32] = data_key
            .as_slice()
            .try_into()
            .map_err(|_| SideError::Decrypt)?;
        Aes256Gcm::new(data_key.into())
            .decrypt(
                &Nonce::default(),
                Payload {
                    msg: sealed,
                    aad: &aad,
                },
            )
            .map(Zeroizing::new)
            .map_err(|_| SideError::Decrypt)
    }

    /// The same data key, wrapped under the newest version; nothing if it is already. Looks at the first bytes alone.
    pub(crate) fn wrap_anew(
        &self,
        purpose: Purpose,
        sealed: &[u8],
    ) -> Result<Option<Vec<u8>>, SideError> {
        let (version, rest) = sealed.split_first_chunk::<4>().ok_or(SideError::Short)?;
        let (nonce, rest) = rest.split_first_chunk::<NONCE>().ok_or(SideError::Short)?;
        let (wrapped, _) = rest
            .split_first_chunk::<WRAPPED>()
            .ok_or(SideError::Short)?;
        let version = u32::from_be_bytes(*version);
        let ring = self.ring();
        let (newest, key) = ring.newest()?;
        if version == newest {
            return Ok(None);
        }
        let old = ring.get(version)?;
        drop(ring);
        let aad = self.aad(purpose);
        let data_key = Xaes { key: &old.0, nonce }.open(Payload {
            msg: wrapped,
            aad: &aad,
        })?;
        let mut nonce = [0u8; NONCE];
        getrandom::fill(&mut nonce).map_err(|_| SideError::Random)?;
        let anew = Xaes {
            key: &key.0,
            nonce: &nonce,
        }
        .seal(Payload {
            msg: &data_key,
            aad: &aad,
        })?;
        Ok(Some(
            [newest.to_be_bytes().as_slice(), &nonce, &anew].concat(),
        ))
    }

    pub(crate) fn seal_disclosures(
        &self,
        disclosures: &[Disclosure],
    ) -> Result<Vec<u8>, SideError> {
        let plain = written::write(disclosures);
        self.seal(Purpose::Disclosures, &plain)
    }

    pub(crate) fn open_disclosures(&self, sealed: &[u8]) -> Result<Vec<Disclosure>, SideError> {
        let plain = self.open(Purpose::Disclosures, sealed)?;
        Ok(written::read(&plain)?)
    }
}

/// One use of XAES-256-GCM.
struct Xaes<'a> {
    key: &'a [u8; 32],
    nonce: &'a [u8; NONCE],
}

impl Xaes<'_> {
    /// SPEC: C2SP XAES-256-GCM: the first 12 bytes of the nonce derive a key, by CMAC in counter mode.
    fn derive(&self) -> Option<(Aes256Gcm, &[u8; 12])> {
        let (salt, nonce) = self.nonce.split_first_chunk::<12>()?;
        let cipher = Aes256::new(self.key.into());
        let encrypt = |block: u128| {
            let mut b = block.to_be_bytes().into();
            cipher.encrypt_block(&mut b);
            u128::from_be_bytes(b.into())
        };
        let l = encrypt(0);
        let k1 = (l << 1) ^ if l >> 127 == 1 { 0b1000_0111 } else { 0 };
        let mut key = Zeroizing::new([0u8; 32]);
        for (half, counter) in key.chunks_exact_mut(16).zip(1u8..) {
            let mut m = [0, counter, b'X', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            m.iter_mut()
                .skip(4)
                .zip(salt)
                .for_each(|(to, from)| *to = *from);
            half.copy_from_slice(&encrypt(u128::from_be_bytes(m) ^ k1).to_be_bytes());
        }
        let nonce: &[u8; 12] = nonce.try_into().ok()?;
        Some((Aes256Gcm::new((&*key).into()), nonce))
    }

    fn seal(&self, value: Payload<'_, '_>) -> Result<Vec<u8>, SideError> {
        let (cipher, nonce) = self.derive().ok_or(SideError::Short)?;
        cipher
            .encrypt(nonce.into(), value)
            .map_err(|_| SideError::Decrypt)
    }

    fn open(&self, value: Payload<'_, '_>) -> Result<Zeroizing<Vec<u8>>, SideError> {
        let (cipher, nonce) = self.derive().ok_or(SideError::Short)?;
        cipher
            .decrypt(nonce.into(), value)
            .map(Zeroizing::new)
            .map_err(|_| SideError::Decrypt)
    }
}

/// The first disclosure that opens no commitment of an encoded payload or entry.
///
/// A commitment stands in the encoding as a byte string of 32 bytes (`58 20 …`), also inside
/// an embedded encoding; it covers the field, so it is enough that it stands there at all.
pub(crate) fn opens(encoding: &[u8], disclosures: &[Disclosure]) -> Result<(), usize> {
    if disclosures.is_empty() {
        return Ok(());
    }
    let found: Vec<Commitment> = strings_of_32(encoding).collect();
    match disclosures
        .iter()
        .position(|d| !found.contains(&d.commitment()))
    {
        Some(number) => Err(number),
        None => Ok(()),
    }
}

fn strings_of_32(encoding: &[u8]) -> impl Iterator<Item = Commitment> {
    encoding
        .windows(34)
        .filter_map(|w| match w.split_first_chunk::<2>() {
            Some(([0x58, 0x20], value)) => value.try_into().ok().map(Commitment),
            _ => None,
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_record::cbor::{Bytes, Cbor as _, Writer};
    use countersign_record::commitment::Field;
    use countersign_record::digest::Salt;

    fn side(key: u8) -> Side {
        Side::new(
            KeyRing::new(1, StorageKey::new(Zeroizing::new([key; 32]))),
            GatewayId([9; 32]),
        )
    }

    /// C2SP XAES-256-GCM, "Test vectors".
    #[test]
    fn published_vectors_of_xaes_256_gcm_hold() {
        let nonce = b"ABCDEFGHIJKLMNOPQRSTUVWX";
        for (key, aad, expected) in [
            (
                [1u8; 32],
                "",
                "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271",
            ),
            (
                [3u8; 32],
                "c2sp.org/XAES-256-GCM",
                "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d",
            ),
        ] {
            let payload = Payload {
                msg: b"XAES-256-GCM",
                aad: aad.as_bytes(),
            };
            let sealed = Xaes { key: &key, nonce }.seal(payload).unwrap();
            assert_eq!(hex::encode(sealed), expected);
        }
    }

    #[test]
    fn a_sealed_value_opens_and_every_changed_byte_is_found() {
        let side = side(7);
        let sealed = side.seal(Purpose::Pending, b"value").unwrap();
        assert_eq!(sealed.len(), 5 + OVERHEAD);
        assert_eq!(&*side.open(Purpose::Pending, &sealed).unwrap(), b"value");
        for i in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[i] ^= 1;
            assert!(side.open(Purpose::Pending, &changed).is_err(), "byte {i}");
        }
        for n in 0..sealed.len() {
            assert!(
                side.open(Purpose::Pending, &sealed[..n]).is_err(),
                "first {n} bytes"
            );
        }
    }

    #[test]
    fn a_value_sealed_for_one_purpose_does_not_open_for_another() {
        let side = side(7);
        let sealed = side.seal(Purpose::Pending, b"value").unwrap();
        assert_eq!(
            side.open(Purpose::Disclosures, &sealed),
            Err(SideError::Decrypt)
        );
    }

    #[test]
    fn a_value_sealed_under_an_older_key_opens_while_the_ring_has_it() {
        let sealed = side(7).seal(Purpose::Pending, b"value").unwrap();
        let key = |n| StorageKey::new(Zeroizing::new([n; 32]));
        let both = Side::new(KeyRing::new(1, key(7)).with(2, key(8)), GatewayId([9; 32]));
        assert_eq!(&*both.open(Purpose::Pending, &sealed).unwrap(), b"value");
        let newer = both.seal(Purpose::Pending, b"value").unwrap();
        assert_eq!(
            side(7).open(Purpose::Pending, &newer),
            Err(SideError::NoKey { version: 2 })
        );
    }

    #[test]
    fn a_value_that_is_wrapped_anew_opens_under_the_new_key_alone() {
        let key = |n| StorageKey::new(Zeroizing::new([n; 32]));
        let both = side(7);
        let sealed = both.seal(Purpose::Pending, b"value").unwrap();
        both.add(2, key(8));
        let anew = both.wrap_anew(Purpose::Pending, &sealed).unwrap().unwrap();
        let sealed = [&anew, &sealed[PREFIX..]].concat();
        assert_eq!(both.wrap_anew(Purpose::Pending, &sealed), Ok(None));
        both.retire();
        assert_eq!(&*both.open(Purpose::Pending, &sealed).unwrap(), b"value");
        assert_eq!(
            side(7).open(Purpose::Pending, &sealed),
            Err(SideError::NoKey { version: 2 })
        );
    }

    #[test]
    fn what_an_earlier_key_sealed_does_not_open_once_it_is_retired() {
        let side = side(7);
        let sealed = side.seal(Purpose::Pending, b"value").unwrap();
        side.add(2, StorageKey::new(Zeroizing::new([8; 32])));
        side.retire();
        assert_eq!(
            side.open(Purpose::Pending, &sealed),
            Err(SideError::NoKey { version: 1 })
        );
    }

    #[test]
    fn a_recovered_key_opens_whatever_version_sealed() {
        let sealed = side(7).seal(Purpose::Pending, b"value").unwrap();
        let recovered = KeyRing::recovered(StorageKey::new(Zeroizing::new([7; 32])));
        let side = Side::new(recovered, GatewayId([9; 32]));
        assert_eq!(&*side.open(Purpose::Pending, &sealed).unwrap(), b"value");
    }

    #[test]
    fn a_disclosure_that_opens_no_commitment_is_named() {
        let disclosure = |value: &[u8]| Disclosure {
            field: Field::Agent,
            salt: Salt([1; 16]),
            value: Bytes(value.to_vec()),
        };
        let mut w = Writer::new();
        disclosure(b"a").commitment().write(&mut w);
        let encoding = w.into_bytes();
        assert_eq!(opens(&encoding, &[disclosure(b"a")]), Ok(()));
        assert_eq!(
            opens(&encoding, &[disclosure(b"a"), disclosure(b"b")]),
            Err(1)
        );
    }
}

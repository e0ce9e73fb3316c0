//! The storage key, by version: from a root that the TPM seals and a secret that it keeps. On a machine without one both are
//! in memory, and "TPM" here is to be read as [`crate::keeper::Keeper`].
//!
//! In: the vault's root, the keeper's secrets, the log. Out: keys for the log's values, a wrap of the
//! newest for the customer's recovery key, and the next version when an erasure asks for one.
//!
//! ```text
//! storage key v = HKDF-SHA-256(salt: none, root || secret v, info: "countersign/storage-key/v1" || 00 || v (4, big endian))
//! ```
//!
//! The root is on the disk, sealed, and in every copy of it. The secret is in the TPM alone; when
//! it is overwritten there, no copy of a disk opens what was sealed under that version. A version
//! is taken up in steps, and the process may end after each of them:
//!
//! 1. the wrap of the next version for the recovery key; the one before is kept beside it
//! 2. the next secret, in the TPM's other slot: from here on there are two
//! 3. the log seals under the next version, and an erasure's rows go
//! 4. every other data key is wrapped anew, some at a time
//! 5. the earlier secret is overwritten; 6. its wrap is removed
//!
//! [`StorageRing::finish`] does what is left of 4 to 6, at a start or at the next erasure.

use crate::boot::tracing_line;
use crate::boot::vault::Vault;
use crate::keeper::Keeper;
use crate::site::{StateDir, StateFile};
use anyhow::{Context as _, bail};
use countersign_journal::{Journal, KeyRing, StorageKey};
use countersign_platform::RingSecret;
use countersign_platform::recovery::{EphemeralSeed, RecoveryKey, RecoveryWrap};
use hkdf::Hkdf;
use sha2::Sha256;
use std::sync::Arc;
use zeroize::Zeroizing;

/// What a ring is made of.
pub struct Parts {
    /// Keeps its secrets.
    pub keeper: Arc<dyn Keeper>,
    /// The gateway's keys.
    pub vault: Arc<Vault>,
    /// The customer's recovery key.
    pub recovery: [u8; 32],
    /// Where wraps for it lie.
    pub state: StateDir,
}

/// The storage key, by version.
pub struct StorageRing(Parts);

impl StorageRing {
    /// Finds the ring in the TPM, or begins one on a gateway's first start.
    ///
    /// # Errors
    /// If the TPM does not give its secrets, or has none although the gateway has been started before.
    pub fn open(parts: Parts) -> anyhow::Result<Self> {
        let ring = Self(parts);
        let secrets = ring.secrets()?;
        match secrets.last() {
            // A value that nobody could recover is never sealed.
            Some(newest) if ring.0.state.read(StateFile::Recovery)?.is_none() => {
                ring.write_wrap(newest)?;
            }
            Some(_) => (),
            None if !ring.0.state.file(StateFile::Log).exists() => {
                let first = RingSecret {
                    version: 1,
                    secret: ring.0.keeper.random()?,
                };
                ring.write_wrap(&first)?;
                ring.write_secret(first)?;
            }
            None => bail!(
                "the TPM has no secret of the storage ring any more; stored values open with the recovery key only"
            ),
        }
        Ok(ring)
    }

    /// The keys that open and seal values of the log.
    ///
    /// # Errors
    /// If the TPM does not give its secrets.
    pub fn keys(&self) -> anyhow::Result<KeyRing> {
        let mut keys = KeyRing::without_keys();
        for secret in self.secrets()? {
            keys = keys.with(secret.version, StorageKey::new(self.key(&secret)?));
        }
        Ok(keys)
    }

    /// Takes up the next version, and gives its number. What was sealed before still opens until [`Self::finish`].
    ///
    /// # Errors
    /// If the TPM or the disk stands in the way; the next attempt or start goes on from there.
    pub fn advance(&self, journal: &Journal) -> anyhow::Result<u32> {
        self.finish(journal)?;
        let newest = self.secrets()?.pop().context("the storage ring is empty")?;
        let version = newest
            .version
            .checked_add(1)
            .context("the storage ring is at its end")?;
        let next = RingSecret {
            version,
            secret: self.0.keeper.random()?,
        };
        let key = self.key(&next)?;
        // ORDER: the wraps of both before the secret, the secret before anything is sealed under it.
        let before = self.0.state.read(StateFile::Recovery)?;
        let before = before.context("storage.recovery is missing")?;
        self.0.state.write(StateFile::RecoveryBefore, &before)?;
        self.write_wrap(&next)?;
        self.write_secret(next)?;
        journal.advance_ring(version, StorageKey::new(key));
        Ok(version)
    }

    /// Completes an advance: every data key is wrapped anew, then the earlier secret is gone. Nothing to do otherwise.
    ///
    /// # Errors
    /// If a row does not open, or the TPM or the disk stands in the way.
    pub fn finish(&self, journal: &Journal) -> anyhow::Result<()> {
        let mut secrets = self.secrets()?;
        let newest = secrets.pop().context("the storage ring is empty")?;
        if !secrets.is_empty() {
            journal
                .wrap_anew()
                .context("values are not wrapped anew yet")?;
            for earlier in secrets {
                self.0
                    .keeper
                    .clear_ring(earlier.version)
                    .context("an earlier secret of the storage ring is not gone yet")?;
            }
            journal.retire();
            tracing_line(&format!("storage key version {}", newest.version));
        }
        if self.0.state.read(StateFile::RecoveryBefore)?.is_some() {
            // An advance may have ended before its secret was written; then the newest wrap is of a key that never was.
            self.write_wrap(&newest)?;
            self.0.state.remove(StateFile::RecoveryBefore)?;
        }
        Ok(())
    }

    /// A key that is the same for the gateway's life, for finding rows by what must not stand in them.
    ///
    /// # Errors
    /// Never, in practice: the derivation fails for longer outputs only.
    pub fn lookup_key(&self) -> anyhow::Result<Zeroizing<[u8; 32]>> {
        derive(self.0.vault.root(), &[b"countersign/subject-lookup/v1\0"])
    }

    fn secrets(&self) -> anyhow::Result<Vec<RingSecret>> {
        self.0
            .keeper
            .ring_secrets()
            .context("the secrets of the storage ring cannot be read")
    }

    fn write_secret(&self, secret: RingSecret) -> anyhow::Result<()> {
        self.0
            .keeper
            .write_ring(secret)
            .context("the storage ring cannot be written")
    }

    fn key(&self, secret: &RingSecret) -> anyhow::Result<Zeroizing<[u8; 32]>> {
        let mut material = Zeroizing::new(Vec::with_capacity(64));
        material.extend_from_slice(self.0.vault.root());
        material.extend_from_slice(secret.secret.as_slice());
        let version = secret.version.to_be_bytes();
        derive(&material, &[b"countersign/storage-key/v1\0", &version])
    }

    fn write_wrap(&self, secret: &RingSecret) -> anyhow::Result<()> {
        let wrap = RecoveryWrap::wrap(
            &self.key(secret)?,
            RecoveryKey(self.0.recovery),
            EphemeralSeed::new(self.0.keeper.random()?),
        )?;
        self.0.state.write(StateFile::Recovery, &wrap.to_bytes())
    }
}

fn derive(material: &[u8], info: &[&[u8]]) -> anyhow::Result<Zeroizing<[u8; 32]>> {
    let mut key = Zeroizing::new([0u8; 32]);
    Hkdf::<Sha256>::new(None, material)
        .expand_multi_info(info, key.as_mut_slice())
        .map_err(|_| anyhow::anyhow!("the storage key cannot be derived"))?;
    Ok(key)
}

//! What a gateway's keys and its count rest on: a TPM that lasts, or this one boot.
//!
//! In: a TPM with the release policy in force, or nothing. Out: a [`Keeper`], which counts steps, keeps the secrets of the
//! storage ring and gives random bytes. The vault, the ring, openings and renewals know no more of it than that.
//!
//! | | [`InTpm`] | [`InMemory`] |
//! |---|---|---|
//! | lasts | as long as the TPM | until the process ends |
//! | its count | the TPM certifies it | nobody certifies it: a verifier cannot tell |
//! | a secret that is overwritten | is gone from the TPM | is gone from locked memory |
//! | random bytes | of TPM and system, combined | of the system alone |
//!
//! `docs/decisions/0046-a-gateway-for-one-boot.md`.

use crate::keys::random;
use anyhow::{Context as _, bail};
use countersign_platform::policy::ReleasePolicy;
use countersign_platform::{LockedSecret, RingSecret, Tpm};
use std::sync::{Mutex, MutexGuard, PoisonError};
use zeroize::Zeroizing;

/// Secrets of the storage ring that there are at a time: the newest, and the one before while an erasure is carried out.
const SLOTS: usize = 2;

/// Counts, and keeps secrets.
pub trait Keeper: Send + Sync {
    /// What the epoch counter holds.
    ///
    /// # Errors
    /// If it cannot be read.
    fn counter(&self) -> anyhow::Result<u64>;

    /// Moves the epoch counter by one; what it holds then.
    ///
    /// # Errors
    /// If it does not move.
    fn increment(&self) -> anyhow::Result<u64>;

    /// 32 random bytes, of every source that there is.
    ///
    /// # Errors
    /// If a source gives none.
    fn random(&self) -> anyhow::Result<Zeroizing<[u8; 32]>>;

    /// The secrets of the storage ring, ascending by version.
    ///
    /// # Errors
    /// If they cannot be read.
    fn ring_secrets(&self) -> anyhow::Result<Vec<RingSecret>>;

    /// Keeps the next secret of the storage ring.
    ///
    /// # Errors
    /// If it is not kept.
    fn write_ring(&self, secret: RingSecret) -> anyhow::Result<()>;

    /// Overwrites a secret of the storage ring. Nothing to do if there is none of this version.
    ///
    /// # Errors
    /// If it is not overwritten.
    fn clear_ring(&self, version: u32) -> anyhow::Result<()>;
}

/// A TPM, under the release policy in force.
pub struct InTpm {
    tpm: Tpm,
    release: ReleasePolicy,
}

impl InTpm {
    /// Joins both.
    #[must_use]
    pub fn new(tpm: Tpm, release: ReleasePolicy) -> Self {
        Self { tpm, release }
    }
}

impl Keeper for InTpm {
    fn counter(&self) -> anyhow::Result<u64> {
        Ok(self.tpm.counter(&self.release)?)
    }

    fn increment(&self) -> anyhow::Result<u64> {
        Ok(self.tpm.increment(&self.release)?)
    }

    fn random(&self) -> anyhow::Result<Zeroizing<[u8; 32]>> {
        mixed(&self.tpm)
    }

    fn ring_secrets(&self) -> anyhow::Result<Vec<RingSecret>> {
        Ok(self.tpm.ring_secrets(&self.release)?)
    }

    fn write_ring(&self, secret: RingSecret) -> anyhow::Result<()> {
        Ok(self.tpm.write_ring(&self.release, secret)?)
    }

    fn clear_ring(&self, version: u32) -> anyhow::Result<()> {
        Ok(self.tpm.clear_ring(&self.release, version)?)
    }
}

/// Random bytes of two sources: neither the TPM nor the host alone knows them.
pub(crate) fn mixed(tpm: &Tpm) -> anyhow::Result<Zeroizing<[u8; 32]>> {
    let host = random::<32>()?;
    let device = tpm.random(32).context("the TPM gives no random bytes")?;
    let mut out = Zeroizing::new([0u8; 32]);
    for (byte, (a, b)) in out.iter_mut().zip(host.iter().zip(device.iter())) {
        *byte = a ^ b;
    }
    Ok(out)
}

/// This process alone. Nothing of it is ever written.
#[derive(Default)]
pub struct InMemory(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    counter: u64,
    ring: Vec<(u32, LockedSecret<32>)>,
}

impl InMemory {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keeper for InMemory {
    fn counter(&self) -> anyhow::Result<u64> {
        Ok(self.kept().counter)
    }

    fn increment(&self) -> anyhow::Result<u64> {
        let mut kept = self.kept();
        kept.counter = kept.counter.checked_add(1).context("it is at its end")?;
        Ok(kept.counter)
    }

    fn random(&self) -> anyhow::Result<Zeroizing<[u8; 32]>> {
        random()
    }

    fn ring_secrets(&self) -> anyhow::Result<Vec<RingSecret>> {
        let kept = self.kept();
        let secrets = kept.ring.iter().map(|(version, secret)| RingSecret {
            version: *version,
            secret: Zeroizing::new(*secret.expose()),
        });
        Ok(secrets.collect())
    }

    fn write_ring(&self, RingSecret { version, secret }: RingSecret) -> anyhow::Result<()> {
        let mut kept = self.kept();
        let newest = kept.ring.last().map(|(newest, _)| *newest);
        if newest.is_some_and(|newest| version <= newest) {
            bail!("version {version} does not come after the newest");
        }
        if kept.ring.len() >= SLOTS {
            bail!("an earlier secret is not overwritten yet");
        }
        let secret = LockedSecret::copied(&secret)?;
        kept.ring.push((version, secret));
        Ok(())
    }

    fn clear_ring(&self, version: u32) -> anyhow::Result<()> {
        // What is dropped is overwritten: see `LockedSecret`.
        self.kept().ring.retain(|(kept, _)| *kept != version);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(version: u32, byte: u8) -> RingSecret {
        RingSecret {
            version,
            secret: Zeroizing::new([byte; 32]),
        }
    }

    fn versions(memory: &InMemory) -> Vec<(u32, u8)> {
        let secrets = memory.ring_secrets().unwrap();
        secrets.iter().map(|s| (s.version, s.secret[0])).collect()
    }

    #[test]
    fn a_count_in_memory_goes_up_by_one_and_begins_anew_with_each_boot() {
        let memory = InMemory::default();
        assert_eq!(memory.counter().unwrap(), 0);
        assert_eq!(memory.increment().unwrap(), 1);
        assert_eq!(memory.increment().unwrap(), 2);
        assert_eq!(memory.counter().unwrap(), 2);
        assert_eq!(InMemory::default().counter().unwrap(), 0);
        memory.kept().counter = u64::MAX;
        assert!(memory.increment().is_err());
    }

    #[test]
    fn a_ring_in_memory_has_the_newest_secret_and_the_one_before_until_that_is_overwritten() {
        let memory = InMemory::default();
        assert_eq!(versions(&memory), []);
        memory.write_ring(secret(1, 11)).unwrap();
        memory.write_ring(secret(2, 22)).unwrap();
        assert_eq!(versions(&memory), [(1, 11), (2, 22)]);
        // A third would be one erasure within another; an older one would open what was erased.
        assert!(memory.write_ring(secret(3, 33)).is_err());
        memory.clear_ring(1).unwrap();
        memory.clear_ring(1).unwrap();
        assert_eq!(versions(&memory), [(2, 22)]);
        assert!(memory.write_ring(secret(2, 44)).is_err());
        assert!(memory.write_ring(secret(1, 44)).is_err());
        memory.write_ring(secret(3, 33)).unwrap();
        assert_eq!(versions(&memory), [(2, 22), (3, 33)]);
    }

    #[test]
    fn two_boots_have_nothing_in_common() {
        let (one, other) = (InMemory::default(), InMemory::default());
        assert_ne!(*one.random().unwrap(), *other.random().unwrap());
        one.write_ring(secret(1, 1)).unwrap();
        assert_eq!(versions(&other), []);
    }
}

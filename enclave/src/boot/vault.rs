//! The gateway's keys: sealed in the TPM, open in locked memory; or made for one boot, and in locked memory alone.
//!
//! In: sealed files of the state directory. Out: the identity key, which signs but is never
//! shown, and the storage root, from which [`crate::ring`] makes the storage key. On a first start
//! both are made inside, and at each start where no TPM lasts. Neither is ever written in the clear.

use crate::keeper::{Keeper, mixed};
use crate::site::{StateDir, StateFile};
use anyhow::{Context as _, bail};
use countersign_platform::policy::ReleasePolicy;
use countersign_platform::recovery::TransportKey;
use countersign_platform::{LockedSecret, SealLabel, SealedBlob, Tpm};
use countersign_policies::site::settings::Settings;
use countersign_record::digest::{PublicKey, Signature};
use ed25519_dalek::{Signer as _, SigningKey};
use zeroize::Zeroizing;

const KEYS: SealLabel = SealLabel("gateway-keys");

/// Seed, storage root, counter value: what is sealed, in bytes.
const SEALED_BYTES: usize = 32 + 32 + 8;

/// The gateway's long-lived keys.
pub struct Vault {
    seed: LockedSecret<32>,
    public: PublicKey,
    root: LockedSecret<32>,
    counter_at_creation: u64,
    created: bool,
}

impl Vault {
    /// Opens the sealed keys, or makes them on a first start.
    ///
    /// # Errors
    /// Why the TPM does not open them: another machine, other PCRs, a floor above this release, a changed file.
    pub fn open(
        tpm: &Tpm,
        release: &ReleasePolicy,
        settings: &Settings,
        state: &StateDir,
    ) -> anyhow::Result<Self> {
        if release.release_key.to_sec1().as_slice() != settings.release.key.as_slice() {
            bail!("release policy is signed by another release key than the one in the settings");
        }
        if release.sequence != settings.release.sequence {
            let (found, expected) = (release.sequence, settings.release.sequence);
            bail!("release policy is of release {found}, the settings name release {expected}");
        }
        match state.read(StateFile::Keys)? {
            Some(sealed) => Self::unseal(tpm, release, &sealed),
            None => Self::create(tpm, release, state),
        }
    }

    fn unseal(tpm: &Tpm, release: &ReleasePolicy, sealed: &[u8]) -> anyhow::Result<Self> {
        let blob = SealedBlob::parse(sealed).context("keys.sealed")?;
        let keys = tpm
            .unseal(&blob, KEYS, release)
            .context("the gateway's keys stay sealed")?;
        if keys.len() != SEALED_BYTES {
            bail!(
                "keys.sealed holds {} bytes, expected {SEALED_BYTES}",
                keys.len()
            );
        }
        let (seed, rest) = keys
            .split_first_chunk::<32>()
            .context("keys.sealed is too short")?;
        let (root, rest) = rest
            .split_first_chunk::<32>()
            .context("keys.sealed is too short")?;
        let (counter, _) = rest
            .split_first_chunk::<8>()
            .context("keys.sealed is too short")?;
        Self::of(
            &Zeroizing::new(*seed),
            &Zeroizing::new(*root),
            u64::from_be_bytes(*counter),
            false,
        )
    }

    fn create(tpm: &Tpm, release: &ReleasePolicy, state: &StateDir) -> anyhow::Result<Self> {
        if state.file(StateFile::Log).exists() {
            bail!("the state directory has a log but no sealed keys; it is not this gateway's");
        }
        tpm.provision(release, release.sequence)
            .context("the TPM cannot be provisioned")?;
        let counter = tpm
            .counter(release)
            .context("the epoch counter cannot be read")?;
        let (seed, root) = (mixed(tpm)?, mixed(tpm)?);
        // One blob: whoever could exchange the storage root alone could read what the gateway keeps.
        let mut keys = Zeroizing::new(Vec::with_capacity(SEALED_BYTES));
        keys.extend_from_slice(seed.as_slice());
        keys.extend_from_slice(root.as_slice());
        keys.extend_from_slice(&counter.to_be_bytes());
        let sealed = tpm.seal(keys, KEYS, &release.release_key)?;
        // ORDER: with the keys the gateway exists; no value is sealed before its recovery wrap is there.
        state.write(StateFile::Keys, &sealed.to_bytes())?;
        Self::of(&seed, &root, counter, true)
    }

    /// Makes keys that live as long as this process: nothing is sealed, nothing is written.
    ///
    /// # Errors
    /// If there are no random bytes, or memory cannot be locked.
    pub fn for_one_boot(keeper: &dyn Keeper) -> anyhow::Result<Self> {
        let (seed, root) = (keeper.random()?, keeper.random()?);
        Self::of(&seed, &root, keeper.counter()?, true)
    }

    fn of(
        seed: &Zeroizing<[u8; 32]>,
        root: &Zeroizing<[u8; 32]>,
        counter_at_creation: u64,
        created: bool,
    ) -> anyhow::Result<Self> {
        let public = PublicKey(SigningKey::from_bytes(seed).verifying_key().to_bytes());
        let (seed, root) = (LockedSecret::copied(seed)?, LockedSecret::copied(root)?);
        Ok(Self {
            seed,
            public,
            root,
            counter_at_creation,
            created,
        })
    }

    /// The identity key's public half.
    #[must_use]
    pub fn identity(&self) -> PublicKey {
        self.public
    }

    /// Whether this start made the keys.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.created
    }

    /// Signs with the identity key.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Signature {
        Signature(
            SigningKey::from_bytes(self.seed.expose())
                .sign(message)
                .to_bytes(),
        )
    }

    /// The storage root. By itself it opens nothing.
    pub(crate) fn root(&self) -> &[u8; 32] {
        self.root.expose()
    }

    /// The key to which another gateway's storage key is wrapped when this one continues its work.
    ///
    /// # Errors
    /// Never, in practice; see [`TransportKey::of_identity`].
    pub fn transport_key(&self) -> anyhow::Result<TransportKey> {
        Ok(TransportKey::of_identity(self.seed.expose())?)
    }

    /// Value of the epoch counter when the identity was made; what an empty log explains.
    #[must_use]
    pub fn counter_at_creation(&self) -> u64 {
        self.counter_at_creation
    }
}

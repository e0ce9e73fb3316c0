//! The handle to a TPM, and the one thread that owns it.
//!
//! In: calls from any thread. Out: answers, in the order of the queue. Handles and sessions
//! belong to one connection, and a TPM does one thing at a time anyway; one thread makes that
//! plain. After a broken connection the next request connects again, and refuses to go on if
//! another TPM answers than at the start.

use crate::attester::{Qualifying, TpmEvidence};
use crate::blob::{SealLabel, SealedBlob};
use crate::commands::TpmClock;
use crate::device::{Device, NvCertification, Provisioned, Quote, RingSecret, TpmIdentity};
use crate::error::{PolicyError, SealError, TpmError, UnsealError};
use crate::pcr::{PcrSet, PcrValues};
use crate::policy::{ReleaseKey, ReleasePolicy};
use crate::transport::TpmAddress;
use crate::vouching::{GoogleWord, PlatformWord};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};
use zeroize::Zeroizing;

/// Requests that may wait; the next caller then waits for a place. A renewal is one request, so
/// the queue holds what a burst of evidence requests may leave, and no more.
const QUEUE: usize = 64;

type Job = Box<dyn FnOnce(&mut Worker) + Send>;

/// A handle to a TPM; clones share it. The TPM is let go when the last clone is dropped.
#[derive(Clone)]
pub struct Tpm {
    shared: Arc<Shared>,
}

struct Shared {
    identity: TpmIdentity,
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // Waiting means that whoever opens the TPM next finds it free. A panic there has
            // nothing left to tell.
            let _ended = thread.join();
        }
    }
}

/// The thread's state.
struct Worker {
    address: TpmAddress,
    device: Option<Device>,
    identity: TpmIdentity,
}

impl Worker {
    /// The connected device; connects again after a broken connection.
    fn device(&mut self) -> Result<&mut Device, TpmError> {
        let device = match self.device.take() {
            Some(device) => device,
            None => {
                let device = Device::open(&self.address)?;
                if *device.identity() != self.identity {
                    return Err(TpmError::Replaced);
                }
                device
            }
        };
        Ok(self.device.insert(device))
    }
}

/// Whether an error means that the connection is of no further use.
trait Breaks {
    fn breaks(&self) -> bool;
}

impl Breaks for TpmError {
    fn breaks(&self) -> bool {
        match self {
            // A forged or malformed answer leaves the stream and the sessions in an unknown state.
            Self::Transport { .. } | Self::Forged { .. } | Self::Malformed { .. } => true,
            Self::Unreachable { .. }
            | Self::Refused { .. }
            | Self::ForeignStorageKey { .. }
            | Self::Replaced
            | Self::Entropy
            | Self::Stopped
            | Self::TooManyBytes { .. } => false,
        }
    }
}

impl Breaks for PolicyError {
    fn breaks(&self) -> bool {
        if let Self::Tpm(error) = self {
            error.breaks()
        } else {
            false
        }
    }
}

impl Breaks for SealError {
    fn breaks(&self) -> bool {
        if let Self::Tpm(error) = self {
            error.breaks()
        } else {
            false
        }
    }
}

impl Breaks for UnsealError {
    fn breaks(&self) -> bool {
        if let Self::Policy(error) = self {
            error.breaks()
        } else {
            false
        }
    }
}

impl Tpm {
    /// Connects to a TPM, finds or makes its storage key, makes the attestation key.
    ///
    /// # Errors
    /// When nothing answers, or what answers is not a TPM we can use.
    pub fn open(address: TpmAddress) -> Result<Self, TpmError> {
        let device = Device::open(&address)?;
        let identity = device.identity().clone();
        let mut worker = Worker {
            address,
            device: Some(device),
            identity: identity.clone(),
        };
        let (jobs, queue): (SyncSender<Job>, Receiver<Job>) = sync_channel(QUEUE);
        let thread = Builder::new()
            .name("tpm".into())
            .spawn(move || queue.into_iter().for_each(|job| job(&mut worker)))
            .map_err(|_| TpmError::Stopped)?;
        let shared = Shared {
            identity,
            jobs: Some(jobs),
            thread: Some(thread),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Who this TPM is.
    #[must_use]
    pub fn identity(&self) -> &TpmIdentity {
        &self.shared.identity
    }

    /// Has the thread do something and waits for it.
    fn ask<T, E>(
        &self,
        run: impl FnOnce(&mut Device) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<TpmError> + Breaks + Send + 'static,
    {
        let (answer, wait) = sync_channel(1);
        let job: Job = Box::new(move |worker| {
            let result = worker.device().map_err(E::from).and_then(run);
            if result.as_ref().is_err_and(Breaks::breaks) {
                worker.device = None;
            }
            // A caller that no longer waits has no use for the answer.
            let _heard = answer.send(result);
        });
        let jobs = self.shared.jobs.as_ref().ok_or(TpmError::Stopped)?;
        jobs.send(job).map_err(|_| TpmError::Stopped)?;
        wait.recv().map_err(|_| TpmError::Stopped)?
    }

    /// Random bytes of the TPM, at most 1024, encrypted on the bus.
    ///
    /// # Errors
    /// When the TPM cannot be asked.
    pub fn random(&self, count: usize) -> Result<Zeroizing<Vec<u8>>, TpmError> {
        self.ask(move |device| device.random(count))
    }

    /// The report of Azure's paravisor, from the index in which it keeps it; nothing on other platforms.
    ///
    /// # Errors
    /// When the TPM cannot be asked, or does not let the owner read it.
    pub fn paravisor_report(&self) -> Result<Option<Vec<u8>>, TpmError> {
        self.ask(Device::paravisor_report)
    }

    /// What a key of the platform's says of the attestation key; nothing where there is no such key.
    ///
    /// # Errors
    /// When the TPM cannot be asked, or the key does not sign.
    pub fn platform_word(
        &self,
        signer: u32,
        qualifying: Qualifying,
    ) -> Result<Option<PlatformWord>, TpmError> {
        self.ask(move |device| device.platform_word(signer, qualifying))
    }

    /// What a key of Google's says of the attestation key, with its certificate; nothing where the TPM keeps neither.
    ///
    /// # Errors
    /// When the TPM cannot be asked, or the key does not sign.
    pub fn google_word(&self, qualifying: Qualifying) -> Result<Option<GoogleWord>, TpmError> {
        self.ask(move |device| device.google_word(qualifying))
    }

    /// Clock, reset and restart counts of the TPM.
    ///
    /// # Errors
    /// When the TPM cannot be asked.
    pub fn clock(&self) -> Result<TpmClock, TpmError> {
        self.ask(Device::clock)
    }

    /// Values of PCRs, SHA-256 bank.
    ///
    /// # Errors
    /// When the TPM cannot be asked or has no such bank.
    pub fn pcrs(&self, set: PcrSet) -> Result<PcrValues, PolicyError> {
        self.ask(move |device| device.pcrs(set))
    }

    /// Makes release floor and epoch counter where they are missing, and changes nothing that is
    /// there. `floor` is what a floor made now holds; a floor that was found keeps its value.
    ///
    /// # Errors
    /// When the policy is not satisfied, an index at our handles is not ours, or the owner
    /// authorization keeps us from making one.
    pub fn provision(
        &self,
        release: &ReleasePolicy,
        floor: u64,
    ) -> Result<Provisioned, PolicyError> {
        let release = release.clone();
        self.ask(move |device| device.provision(&release, floor))
    }

    /// Seals a secret of 32 to 112 bytes for whatever the release key approves, now or later.
    ///
    /// # Errors
    /// When the secret's length is out of bounds or the TPM cannot be asked.
    pub fn seal(
        &self,
        secret: Zeroizing<Vec<u8>>,
        label: SealLabel,
        release_key: &ReleaseKey,
    ) -> Result<SealedBlob, SealError> {
        let release_key = *release_key;
        self.ask(move |device| device.seal(&secret, label, &release_key))
    }

    /// Opens a blob.
    ///
    /// # Errors
    /// Named by cause: another TPM, another release key, altered, another label, or what keeps
    /// the release policy from being satisfied.
    pub fn unseal(
        &self,
        blob: &SealedBlob,
        label: SealLabel,
        release: &ReleasePolicy,
    ) -> Result<Zeroizing<Vec<u8>>, UnsealError> {
        let (blob, release) = (blob.clone(), release.clone());
        self.ask(move |device| device.unseal(&blob, label, &release))
    }

    /// What the release floor holds.
    ///
    /// # Errors
    /// When the index is missing, foreign or unwritten.
    pub fn floor(&self, release_key: &ReleaseKey) -> Result<u64, PolicyError> {
        let release_key = *release_key;
        self.ask(move |device| device.floor(&release_key))
    }

    /// Raises the release floor to at most this release's sequence; never lowers it.
    ///
    /// # Errors
    /// When it would fall, would shut this release out, or the policy is not satisfied.
    pub fn raise_floor(&self, release: &ReleasePolicy, floor: u64) -> Result<(), PolicyError> {
        let release = release.clone();
        self.ask(move |device| device.raise_floor(&release, floor))
    }

    /// Certifies the release floor, so that a verifier can see one that was made anew and lower.
    ///
    /// # Errors
    /// When the index is missing, foreign or unwritten.
    pub fn certify_floor(
        &self,
        release_key: &ReleaseKey,
        qualifying: Qualifying,
    ) -> Result<NvCertification, PolicyError> {
        let release_key = *release_key;
        self.ask(move |device| device.certify_floor(&release_key, qualifying))
    }

    /// What the epoch counter holds.
    ///
    /// # Errors
    /// When the policy is not satisfied or the index is missing, foreign or unwritten.
    pub fn counter(&self, release: &ReleasePolicy) -> Result<u64, PolicyError> {
        let release = release.clone();
        self.ask(move |device| device.counter(&release))
    }

    /// Advances the epoch counter by one; what it holds then.
    ///
    /// # Errors
    /// When the policy is not satisfied or the index is missing or foreign.
    pub fn increment(&self, release: &ReleasePolicy) -> Result<u64, PolicyError> {
        let release = release.clone();
        self.ask(move |device| device.increment(&release))
    }

    /// Secrets of the storage ring, the oldest first: one, or two while a version replaces another, or none.
    ///
    /// # Errors
    /// When the policy is not satisfied or a slot is missing or foreign.
    pub fn ring_secrets(&self, release: &ReleasePolicy) -> Result<Vec<RingSecret>, PolicyError> {
        let release = release.clone();
        self.ask(move |device| device.ring_secrets(&release))
    }

    /// Writes the secret of a version of the storage ring; that of the version two before is gone then.
    ///
    /// # Errors
    /// When the policy is not satisfied or the slot is missing or foreign.
    pub fn write_ring(
        &self,
        release: &ReleasePolicy,
        secret: RingSecret,
    ) -> Result<(), PolicyError> {
        let release = release.clone();
        self.ask(move |device| device.write_ring(&release, &secret))
    }

    /// Overwrites the secret of a version of the storage ring.
    ///
    /// # Errors
    /// When the policy is not satisfied or the slot is missing or foreign.
    pub fn clear_ring(&self, release: &ReleasePolicy, version: u32) -> Result<(), PolicyError> {
        let release = release.clone();
        self.ask(move |device| device.clear_ring(&release, version))
    }

    /// Certifies the epoch counter. Counts only beside a quote with the same qualifying data
    /// and reset count; [`Tpm::evidence`] gives both.
    ///
    /// # Errors
    /// When the policy is not satisfied or the index is missing, foreign or unwritten.
    pub fn certify_counter(
        &self,
        release: &ReleasePolicy,
        qualifying: Qualifying,
    ) -> Result<NvCertification, PolicyError> {
        let release = release.clone();
        self.ask(move |device| device.certify_counter(&release, qualifying))
    }

    /// Quotes PCRs; needs no release policy.
    ///
    /// # Errors
    /// When the TPM cannot be asked or PCRs keep changing.
    pub fn quote(&self, set: PcrSet, qualifying: Qualifying) -> Result<Quote, PolicyError> {
        self.ask(move |device| device.quote(set, qualifying))
    }

    /// Quote and certified counter over the same qualifying data, and the event log.
    ///
    /// # Errors
    /// When the policy is not satisfied, an index is missing, or the TPM was reset in between.
    pub fn evidence(
        &self,
        release: &ReleasePolicy,
        qualifying: Qualifying,
    ) -> Result<TpmEvidence, PolicyError> {
        let release = release.clone();
        self.ask(move |device| device.evidence(&release, qualifying))
    }

    /// Advances the counter and gives evidence of it, without anything in between.
    ///
    /// # Errors
    /// As [`Tpm::increment`] and [`Tpm::evidence`]. After an error the counter may have moved.
    pub fn advance(
        &self,
        release: &ReleasePolicy,
        qualifying: Qualifying,
    ) -> Result<(u64, TpmEvidence), PolicyError> {
        let release = release.clone();
        self.ask(move |device| device.advance(&release, qualifying))
    }

    /// Has a test talk to the TPM as another program on it would.
    #[cfg(test)]
    pub(crate) fn as_stranger<T: Send + 'static>(
        &self,
        run: impl FnOnce(&mut crate::connection::Connection) -> Result<T, TpmError> + Send + 'static,
    ) -> Result<T, TpmError> {
        self.ask(move |device| run(&mut device.connection))
    }
}

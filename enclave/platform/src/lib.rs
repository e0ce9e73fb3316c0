//! TPM devices: keys, sealing, counter, evidence; reports of processors; and the memory and wraps that keep keys.
//!
//! This package may know devices and their commands. It must never know requests, policies of
//! agents, or the log; and it decides nothing about trust: what it gives is evidence, which the
//! verifier judges from the bytes alone.
//!
//! Start at [`Tpm`], the handle. [`policy`] and [`nv`] are pure and say exactly what is sealed to
//! what; a build host uses them to sign a release. [`Attester`] is what platforms implement, [`processor`] the device
//! of a processor that reports by itself. `docs/decisions/0002-tpm-commands.md` says why commands are sent as bytes.
//!
//! ```text
//! Tpm (handle, any thread) → one thread → Device (operations) → commands → Connection → /dev/tpmrm0
//!                                            policy, nv, pcr (pure)   session (salt, HMAC, CFB)
//! ```

mod attester;
mod blob;
mod commands;
mod connection;
mod device;
mod error;
#[expect(
    unsafe_code,
    reason = "ioctl(2) on /dev/sev-guest; no safe wrapper in our dependencies"
)]
mod ioctl;
#[expect(
    unsafe_code,
    reason = "mmap(2), mlock(2) and madvise(2) on memory of our own; no safe wrapper exists"
)]
mod locked;
pub mod nv;
mod pcr;
pub mod policy;
pub mod processor;
pub mod recovery;
mod session;
mod survey;
pub mod swtpm;
mod tpm;
mod transport;
mod vouching;
mod wire;

pub use attester::{
    Advanced, AttestError, AttestationKey, Attester, Beside, Detected, Evidence, Machine,
    NoProfile, NoQuote, PlatformReport, ProcessorAttester, Profile, ProfileUpgrade, Qualifying,
    Quotes, TpmAttester, TpmEvidence,
};
pub use blob::{BlobError, MAX_SECRET_BYTES, MIN_SECRET_BYTES, SealLabel, SealedBlob};
pub use commands::TpmClock;
pub use device::{IndexState, NvCertification, Provisioned, Quote, RingSecret, TpmIdentity};
pub use error::{PolicyError, SealError, TpmError, UnsealError};
pub use locked::{LockError, LockedSecret};
pub use pcr::{PcrError, PcrSet, PcrValues};
pub use policy::{ReleaseKey, ReleasePolicy, ReleaseSignature};
pub use survey::{Kept, Survey};
pub use tpm::Tpm;
pub use transport::TpmAddress;
pub use vouching::{GoogleWord, PARAVISOR_KEY, PARAVISOR_REPORT_INDEX, PlatformWord};
pub use wire::WireError;

#[cfg(test)]
mod tests;

//! Vendor evidence: layouts, signatures, and what they say. Pure Rust, no C.
//!
//! Chains of vendors are read by `countersign-certificates`. What is here: AMD SEV-SNP reports ([`snp`]), quotes of
//! Intel TDX ([`tdx`]), TPM 2.0 quotes and certified counters ([`tpm`]), the boot event logs of the TCG
//! ([`eventlog`]), what Azure's paravisor says of its guest's TPM ([`azure`]), and what Google says of its firmware
//! ([`gcp`]). Layouts are read from the bytes as received, never from something re-encoded.
//!
//! What it may know: bytes of evidence and what they are expected to say, both given by the caller.
//! What it must never know: a device, a clock, a file, or whether the answer is welcome.
//!
//! Start reading at [`snp::appraise_snp`], [`tdx::appraise_tdx`] or [`tpm::appraise_tpm`]; outcomes are [`appraisal::Check`]s.

pub mod appraisal;
pub mod azure;
#[cfg(test)]
mod captures;
pub mod chains;
pub mod eventlog;
pub mod gcp;
mod hex;
mod json;
mod moment;
pub mod party;
mod reader;
pub mod snp;
#[cfg(test)]
mod spec;
pub mod tdx;
pub mod tpm;

pub use chains::Chains;
pub use json::JsonError;
pub use moment::Moment;
pub use reader::FormError;

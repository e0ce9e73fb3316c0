//! # countersign-record: the format
//!
//! The bytes of a gateway's log and of what leaves with it: entries, digests, proofs,
//! checkpoints, receipts, the export container. The producer and the auditor share this
//! code, so each anchor, leaf hash and digest is computed by one function.
//!
//! **May know:** bytes. **Must never know:** keys, clocks, devices, files, the network,
//! whether a signature is good, whether a call was wise.
//!
//! **Start reading** at [`entry`], which shows what every entry shares; then [`body`] for
//! what each kind says, [`binding`] for how hardware vouches for a key, [`export`] for the
//! file an auditor gets. `docs/spec/record.md` and `record.cddl` are the contract; a test
//! compares them with this code.

pub mod binding;
pub mod body;
pub mod bundle;
pub mod cbor;
pub mod channel;
pub mod checkpoint;
pub mod claims;
pub mod commitment;
pub mod cose;
pub mod digest;
pub mod egress;
pub mod entry;
pub mod evidence;
pub mod export;
pub mod merkle;
pub mod note;
pub mod preview;
pub mod profile;
pub mod receipt;
pub mod statement;
pub mod time;

#[cfg(test)]
mod testdata;
#[cfg(test)]
mod tests;

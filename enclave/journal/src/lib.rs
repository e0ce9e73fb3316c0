//! # countersign-journal: the durable log
//!
//! One writer takes drafts from any thread, gives each its place in three gapless sequences
//! (leaves, tenant, run), signs it with the epoch key, and makes it durable together with
//! whatever else waits. A draft's callback runs after its flush and never before. Beside the
//! entries stand their encrypted disclosures, tiles of the Merkle tree, checkpoints with tokens of
//! outside clocks, and artifacts.
//!
//! **May know:** the epoch key, storage keys, one directory. **Must never know:** why a call
//! was decided, clocks (times are arguments), the network.
//!
//! **What is kept:** an entry that was acknowledged is in the log after any crash. An entry
//! that was not may be in it or not; it is then a genuine entry that nobody acted upon. The
//! disk is the operator's: a log that was changed is named on opening and never repaired; a
//! log that was rolled back as a whole looks whole here, and is found by the epoch counter.
//!
//! **Start reading** at [`Journal`]; then `sequence` for the rules of order, `commit` for the
//! flush, `open` for what is checked on opening, [`Archive`] for a log of a gateway that is gone.

mod append;
mod archive;
mod command;
mod commit;
mod erase;
mod error;
mod journal;
mod lookup;
mod open;
mod read;
mod sequence;
mod side;
mod store;
mod tree;
mod written;

pub use append::{Appended, Done, Draft};
pub use archive::Archive;
pub use command::{Cosigned, Keep, Stamp};
pub use erase::{SubjectName, SubjectSecret};
pub use error::{
    AppendError, Fault, NoSuchEntry, OpenError, ReadError, Refusal, SideError, StoreError,
};
pub use journal::{Alone, EpochSigner, Health, IdentitySigner, Journal, Limits, Options, Snapshot};
pub use open::{
    Disclosures, Fold, Found, FoundEntry, OpenIntent, OpenRun, PendingOpening, PendingRenewal,
};
pub use read::{Entries, Reader, StoredEntry};
pub use side::{KeyRing, StorageKey};

#[cfg(test)]
mod tests;

//! What can go wrong, one closed enum an operation.

use countersign_record::cbor::CborError;
use countersign_record::checkpoint::CheckpointError;
use countersign_record::digest::{ArtifactDigest, CallId, EntryDigest, GatewayId, NodeHash};
use countersign_record::entry::EntryError;
use countersign_record::merkle::ProofError;
use std::path::PathBuf;
use thiserror::Error;

/// What is wrong with the store underneath.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Fault {
    /// No space is left.
    #[error("disk is full")]
    DiskFull,
    /// The file or its file system cannot be written.
    #[error("store is read-only")]
    ReadOnly,
    /// A read or write failed; SQLite's extended code.
    #[error("disk i/o failed, sqlite code {code}")]
    Io {
        /// Extended result code.
        code: i32,
    },
    /// The database file is no longer where it was.
    #[error("database file was deleted while in use")]
    Deleted,
    /// Another file stands where the database was.
    #[error("database file was replaced while in use")]
    Replaced,
    /// The file is no longer a well-formed database.
    #[error("database is malformed")]
    Malformed,
    /// Anything else that SQLite reports.
    #[error("database failed, sqlite code {code}")]
    Database {
        /// Extended result code, 0 if the error did not come from SQLite.
        code: i32,
    },
    /// The journal has stopped.
    #[error("journal has stopped")]
    Stopped,
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "sqlite's list is open; what we do not tell apart keeps its code"
)]
impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode as Code;
        let Some(found) = error.sqlite_error() else {
            return Self::Database { code: 0 };
        };
        let code = found.extended_code;
        match found.code {
            Code::DiskFull => Self::DiskFull,
            Code::ReadOnly | Code::PermissionDenied => Self::ReadOnly,
            Code::SystemIoFailure | Code::CannotOpen => Self::Io { code },
            Code::DatabaseCorrupt | Code::NotADatabase => Self::Malformed,
            _ => Self::Database { code },
        }
    }
}

/// Why an entry cannot stand where it is or is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// No epoch is open: no base yet, or a close.
    #[error("no epoch is open")]
    NoEpoch,
    /// A base inside an epoch that is open.
    #[error("an epoch is open already")]
    EpochOpen,
    /// A base that does not bind this epoch's key.
    #[error("base binds another epoch key than the one that signs")]
    EpochKey,
    /// An entry that another key than the epoch's is said to have signed.
    #[error("entry names another key than the epoch's")]
    WrongKey,
    /// A base of another gateway.
    #[error("base is of gateway {found}, this log is of {expected}")]
    Gateway {
        /// Whose log this is.
        expected: GatewayId,
        /// Whom the base names.
        found: GatewayId,
    },
    /// A base or close that stands for another log than the one it would join.
    #[error("entry stands for a log of {claimed} entries, this log has {size} or another root")]
    Head {
        /// Size that the entry names.
        claimed: u64,
        /// Size of the log.
        size: u64,
    },
    /// A body inside which an encoding is malformed.
    #[error("encoding inside the body is malformed: {0}")]
    Body(#[from] CborError),
    /// A run without a tenant.
    #[error("entry belongs to a run but to no tenant")]
    RunWithoutTenant,
    /// A run that belongs to another tenant.
    #[error("run belongs to another tenant")]
    RunOfOtherTenant,
    /// A run that was closed.
    #[error("run was closed; its identifier is spent")]
    RunClosed,
    /// A run that is not open.
    #[error("run is not open")]
    RunUnknown,
    /// A run with calls that are not settled.
    #[error("run has {calls} calls that are not settled")]
    RunBusy {
        /// How many.
        calls: u32,
    },
    /// The summary of a run is not what its entries say.
    #[error("summary of the run differs from its entries")]
    RunSummary,
    /// A call that is open already.
    #[error("call {call} has an intent already")]
    DuplicateCall {
        /// The call.
        call: CallId,
    },
    /// A settlement without an open intent, or a second one.
    #[error("call {call} has no open intent")]
    NoIntent {
        /// The call.
        call: CallId,
    },
    /// A settlement that names another intent, tenant or run than the call has.
    #[error("settlement of call {call} names another intent, tenant or run")]
    WrongIntent {
        /// The call.
        call: CallId,
    },
    /// A decision about a call with an open intent, which it does not name.
    #[error("decision on call {call} does not name the call's open intent")]
    IntentNotNamed {
        /// The call.
        call: CallId,
    },
    /// Calls are not settled, so the epoch cannot be closed.
    #[error("{calls} calls are not settled")]
    Unsettled {
        /// How many.
        calls: usize,
    },
    /// Too many runs are open.
    #[error("{limit} runs are open, which is the limit")]
    TooManyRuns {
        /// The limit.
        limit: usize,
    },
    /// Too many tenants have entries.
    #[error("{limit} tenants have entries, which is the limit")]
    TooManyTenants {
        /// The limit.
        limit: usize,
    },
    /// A counter reached its end.
    #[error("a sequence has reached its end")]
    Exhausted,
}

/// Why an entry was not appended. Nothing of it is in the log.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AppendError {
    /// The queue is full, or room for settlements is used up.
    #[error("journal takes no more: {waiting} entries wait, {open} calls are open")]
    Backpressure {
        /// Entries that wait.
        waiting: usize,
        /// Calls whose settlement has room reserved.
        open: usize,
    },
    /// The store failed earlier, and only settlements are taken.
    #[error("journal takes settlements only: {0}")]
    Refusing(Fault),
    /// The entry could not be made durable.
    #[error("entry is not durable: {0}")]
    NotDurable(Fault),
    /// The entry cannot stand here.
    #[error("entry refused: {0}")]
    Refused(#[from] Refusal),
    /// The entry is larger than the format allows.
    #[error("entry is {found} bytes, limit is {limit}")]
    TooLarge {
        /// Its size, in bytes.
        found: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// A disclosure opens no commitment of the entry.
    #[error("disclosure {number} opens no commitment of the entry")]
    Disclosure {
        /// Which, from 0.
        number: usize,
    },
    /// Disclosures could not be encrypted.
    #[error("disclosures cannot be encrypted: {0}")]
    Side(#[from] SideError),
}

/// Why disclosures cannot be encrypted or read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SideError {
    /// The system gives no random bytes.
    #[error("no random bytes")]
    Random,
    /// Encryption failed, or what is stored was changed.
    #[error("stored disclosures do not decrypt")]
    Decrypt,
    /// The storage key of that version is not in the ring.
    #[error("storage key {version} is not in the ring")]
    NoKey {
        /// Version of the key.
        version: u32,
    },
    /// What was decrypted is not what was written.
    #[error("stored disclosures are malformed: {0}")]
    Malformed(#[from] CborError),
    /// A stored value has no room for its own header.
    #[error("stored disclosures are cut short")]
    Short,
}

/// Why something could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReadError {
    /// The entry is not in the log.
    #[error("entry {index} is not in a log of {size}")]
    OutOfRange {
        /// Its index.
        index: u64,
        /// Size of the durable log.
        size: u64,
    },
    /// The row of an entry is gone.
    #[error("entry {index} is missing from the store")]
    Missing {
        /// Its index.
        index: u64,
    },
    /// An entry is not what was appended.
    #[error("stored entry {index} is malformed: {source}")]
    Entry {
        /// Its index.
        index: u64,
        /// What is wrong.
        source: EntryError,
    },
    /// Disclosures that were stored are gone.
    #[error("disclosures of entry {index} are missing from the store")]
    DisclosuresMissing {
        /// Index of the entry.
        index: u64,
    },
    /// Disclosures belong to another entry.
    #[error("disclosure {number} of entry {index} opens no commitment of it")]
    DisclosureForeign {
        /// Index of the entry.
        index: u64,
        /// Which disclosure, from 0.
        number: usize,
    },
    /// Disclosures cannot be decrypted.
    #[error("disclosures of entry {index}: {source}")]
    Side {
        /// Index of the entry.
        index: u64,
        /// What is wrong.
        source: SideError,
    },
    /// An artifact's bytes do not have its digest.
    #[error("stored artifact {digest} was changed")]
    ArtifactChanged {
        /// Digest under which it is stored.
        digest: ArtifactDigest,
    },
    /// A proof cannot be made.
    #[error("proof cannot be made: {0}")]
    Proof(#[from] ProofError),
    /// The store failed.
    #[error("store failed: {0}")]
    Store(#[from] Fault),
}

/// Why a row beside the log was not stored, or a checkpoint not made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StoreError {
    /// There is no key to sign with.
    #[error("no epoch is open, so there is no key to sign with")]
    NoEpoch,
    /// What was given to sign as the gateway's identity does not.
    #[error("signature over the checkpoint is not of this gateway's identity key")]
    IdentitySignature,
    /// The row could not be encrypted.
    #[error("row cannot be encrypted: {0}")]
    Side(#[from] SideError),
    /// The store failed.
    #[error("store failed: {0}")]
    Store(#[from] Fault),
}

/// Why a log cannot be used. Nothing is ever repaired.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("log in {dir} is in use by another process")]
    Locked {
        /// The directory.
        dir: PathBuf,
    },
    /// The directory cannot be used.
    #[error("directory {dir} cannot be used: {reason}")]
    Directory {
        /// The directory.
        dir: PathBuf,
        /// The system's words.
        reason: String,
    },
    /// No room could be set aside for settlements.
    #[error("{bytes} bytes of room for settlements cannot be set aside: {reason}")]
    Room {
        /// How much was wanted, in bytes.
        bytes: u64,
        /// The system's words.
        reason: String,
    },
    /// The file is a database, but no log of ours.
    #[error("database has application id {found:#x}, a log has {expected:#x}")]
    NotALog {
        /// Identifier of our files.
        expected: i64,
        /// Identifier of this file.
        found: i64,
    },
    /// The file was written by another version.
    #[error("log has layout {found}, this program knows {expected}")]
    Layout {
        /// What this program knows.
        expected: i64,
        /// What the file has.
        found: i64,
    },
    /// The store failed; a truncated file shows as malformed.
    #[error("store failed: {0}")]
    Store(#[from] Fault),
    /// An entry is missing.
    #[error("entry {index} is missing")]
    MissingEntry {
        /// Its index.
        index: u64,
    },
    /// An entry is malformed.
    #[error("entry {index} is malformed: {source}")]
    Entry {
        /// Index of its row.
        index: u64,
        /// What is wrong.
        source: EntryError,
    },
    /// An entry stands in another's row.
    #[error("row {index} holds entry {found}")]
    Misplaced {
        /// Index of the row.
        index: u64,
        /// Index that the entry names.
        found: u64,
    },
    /// An entry differs from its stored hash.
    #[error("entry {index} was changed: it does not have its stored hash")]
    Changed {
        /// Its index.
        index: u64,
    },
    /// The stored root is not the root over the entries.
    #[error("root over {size} entries is {computed}, stored is {stored}")]
    Root {
        /// How many entries.
        size: u64,
        /// Over the entries found.
        computed: NodeHash,
        /// As stored.
        stored: NodeHash,
    },
    /// The log is shorter than a stored head or checkpoint says.
    #[error("log has {found} entries, a stored head has {stored}")]
    Shorter {
        /// How many were found.
        found: u64,
        /// How many there were.
        stored: u64,
    },
    /// The log is longer than its stored head.
    #[error("log has entry {index}, its stored head has {stored}")]
    Longer {
        /// Index of the entry too many.
        index: u64,
        /// How many there were.
        stored: u64,
    },
    /// A tile of hashes is missing or not what the entries give.
    #[error("tile {number} of level {level} is missing or was changed")]
    Tile {
        /// Level of the tile.
        level: u8,
        /// Its number within the level.
        number: u64,
    },
    /// An index row is missing or not what the entries give.
    #[error("index of segment {segment} is missing or was changed")]
    Index {
        /// Which segment.
        segment: u64,
    },
    /// A row points to an erasure where the log has none, or the log has one without a row.
    #[error("what is known of erasures does not agree with entry {index}")]
    Erasures {
        /// Which entry.
        index: u64,
    },
    /// Claimed time runs backwards.
    #[error("time of entry {index} is before that of the entry before")]
    Time {
        /// Its index.
        index: u64,
    },
    /// An entry names another base, tenant number, run number or previous entry than its place has.
    #[error("entry {index} is out of sequence: {what}")]
    Sequence {
        /// Its index.
        index: u64,
        /// Which sequence.
        what: &'static str,
    },
    /// An entry cannot stand where it stands.
    #[error("entry {index} cannot stand there: {refusal}")]
    Refused {
        /// Its index.
        index: u64,
        /// Why.
        refusal: Refusal,
    },
    /// The log is another gateway's.
    #[error("log is of gateway {found}, this is gateway {expected}")]
    ForeignGateway {
        /// This gateway.
        expected: GatewayId,
        /// The log's gateway.
        found: GatewayId,
    },
    /// A signature after the newest checkpoint does not hold.
    #[error("signature of entry {index} does not hold")]
    Signature {
        /// Its index.
        index: u64,
    },
    /// A stored checkpoint is malformed.
    #[error("stored checkpoint over {size} entries is malformed: {source}")]
    Checkpoint {
        /// Its size, as stored.
        size: u64,
        /// What is wrong.
        source: CheckpointError,
    },
    /// A stored checkpoint is not signed by this gateway.
    #[error("stored checkpoint over {size} entries is not signed by this gateway")]
    CheckpointSignature {
        /// Its size.
        size: u64,
    },
    /// A row beside the log is not ours.
    #[error("row {id} beside the log was changed: {source}")]
    Pending {
        /// Which row.
        id: i64,
        /// What is wrong.
        source: SideError,
    },
    /// The one who folds the log does not accept an entry.
    #[error("entry {index} is not acceptable: {reason}")]
    Fold {
        /// Its index.
        index: u64,
        /// Why.
        reason: String,
    },
    /// Disclosures or something else beside an entry cannot be read.
    #[error("reading failed: {0}")]
    Read(#[from] ReadError),
    /// A thread cannot be started.
    #[error("thread cannot be started: {reason}")]
    Thread {
        /// The system's words.
        reason: String,
    },
}

/// An entry whose reference names a digest that the store does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("no entry has digest {0}")]
pub struct NoSuchEntry(pub EntryDigest);

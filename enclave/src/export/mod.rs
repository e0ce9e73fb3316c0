//! The export: what of the log leaves, and how it is written.
//!
//! In: a [`Selection`], an [`Opening`] and a [`Source`]. Out: a [`Plan`] (one pass over the log), and the
//! file as a stream of pieces (a second pass over what the plan wants). The records are the same under
//! every profile. Nothing here decides who may have it; that is [`crate::doors`]'. Memory: a bit for each
//! entry, another for each classification that the profile asks for, and one piece.
//!
//! Spec: `docs/spec/export.md`.

mod genuine;
mod indexes;
mod opening;
mod plan;
mod source;

pub use opening::Opening;
pub use plan::{Plan, Selection};
pub use source::Source;

use crate::boot::epoch::SOFTWARE;
use countersign_journal::{ReadError, Reader, StoredEntry};
use countersign_record::cbor::Bytes;
use countersign_record::checkpoint::CheckpointError;
use countersign_record::commitment::Disclosure;
use countersign_record::digest::ArtifactDigest;
use countersign_record::entry::{Entry, EntryError, Kind};
use countersign_record::export::{Artifact, EXPORT_FORMAT, ExportWriter, Manifest, Timestamp};
use opening::Fields;
use plan::Piece;
use thiserror::Error;

/// How much is handed on at a time, in bytes (64 KiB).
const CHUNK_BYTES: usize = 64 * 1024;

/// Pieces whose hashes are asked for at a time.
const PIECES: usize = 512;

/// Why there is no export, or no more of it.
#[derive(Debug, Error)]
pub enum ExportFault {
    /// The log cannot be read.
    #[error("the log cannot be read: {0}")]
    Read(#[from] ReadError),
    /// The log has no checkpoint yet.
    #[error("there is no checkpoint")]
    NoCheckpoint,
    /// The log does not sign a checkpoint.
    #[error("no checkpoint is made: {0}")]
    Refused(String),
    /// The stored checkpoint is none.
    #[error("the checkpoint is malformed: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// A stored entry is none.
    #[error("entry {index} is malformed: {source}")]
    Entry {
        /// Its leaf index.
        index: u64,
        /// What is wrong.
        source: EntryError,
    },
    /// A stored entry is not the one that the gateway signed, although the log was genuine when the gateway started.
    #[error("entry {index} was changed on disk")]
    Changed {
        /// Its leaf index.
        index: u64,
    },
    /// An entry of another tenant than the one whose values the export may have.
    #[error("entry {index} belongs to another tenant")]
    Foreign {
        /// Its leaf index.
        index: u64,
    },
    /// A statement inside a stored entry is none.
    #[error("the statement in entry {index} is malformed")]
    Statement {
        /// Its leaf index.
        index: u64,
    },
    /// Something that entries name is not stored.
    #[error("artifact {digest} is missing")]
    ArtifactMissing {
        /// Which.
        digest: ArtifactDigest,
    },
    /// Values were destroyed while the export was written, by an erasure that is not in it.
    #[error("values were erased while the export was written; ask for it again")]
    Erased,
    /// Whoever asked went away.
    #[error("the receiver went away")]
    Gone,
}

/// Takes the file, piece by piece; fails when nobody wants more.
pub type Sink<'a> = &'a mut dyn FnMut(Vec<u8>) -> Result<(), ExportFault>;

/// Writes what is planned: manifest, bundles, entries with evidence and disclosures and hashes of the others, checkpoints
/// with timestamps, trailer.
///
/// # Errors
/// If the log cannot be read, or nobody wants more.
pub fn write(source: Source<'_>, plan: &Plan, sink: Sink<'_>) -> Result<(), ExportFault> {
    let Selection {
        tenant,
        run,
        period,
    } = plan.selection();
    let manifest = Manifest {
        format: EXPORT_FORMAT,
        gateway: source.identity().gateway(),
        identity_key: source.identity(),
        first: 0,
        end: plan.end(),
        scope: plan.selection().scope(),
        profile: plan.opening().profile().to_owned(),
        created: source.now(),
        software: SOFTWARE.to_owned(),
        period: period.clone(),
        disclosed: plan.opening().disclosed().clone(),
        tenant: *tenant,
        run: *run,
    };
    let (mut writer, bytes) = ExportWriter::start(&manifest);
    let mut out = Chunks { ready: bytes, sink };
    let log = source.log();
    if let Some(word) = source.word() {
        out.add(writer.artifact(&word))?;
    }
    for digest in plan.artifacts() {
        out.add(writer.artifact(&stored_artifact(log, *digest)?))?;
    }
    let mut pieces = plan.pieces();
    let mut notes = Notes {
        log,
        plan,
        next: plan.note_after(log, 0)?,
    };
    loop {
        let some: Vec<Piece> = pieces.by_ref().take(PIECES).collect();
        if some.is_empty() {
            break;
        }
        let withheld: Vec<_> = some.iter().filter_map(Piece::withheld).collect();
        let mut spans = log.spans(&withheld)?.into_iter();
        for piece in some {
            match piece {
                Piece::Entries(range) => {
                    for stored in log.entries(range)? {
                        let stored = stored?;
                        entry(source, plan, &mut writer, &mut out, &stored)?;
                        notes.write(stored.index.saturating_add(1), &mut writer, &mut out)?;
                    }
                }
                Piece::Withheld(range) => {
                    match spans.next() {
                        Some(span) if span.count > 1 => out.add(writer.span(&span))?,
                        span => {
                            for root in span.iter().flat_map(|s| &s.roots) {
                                out.add(writer.leaf(root))?;
                            }
                        }
                    }
                    notes.write(range.end, &mut writer, &mut out)?;
                }
            }
        }
    }
    // What is missing by an erasure that the export does not have would look like a breach of its promise.
    if source.erasures() != plan.erasures() {
        return Err(ExportFault::Erased);
    }
    out.add(writer.finish())?;
    out.flush()
}

/// Checkpoints, each of which stands where its last entry does: those that witnesses cosigned or outside clocks saw, and
/// the newest. Tokens of the clocks come directly after.
struct Notes<'a> {
    log: &'a Reader,
    plan: &'a Plan,
    next: Option<(u64, String)>,
}

impl Notes<'_> {
    /// Writes the one over exactly `size` entries, if there is one.
    fn write(
        &mut self,
        size: u64,
        writer: &mut ExportWriter,
        out: &mut Chunks<'_>,
    ) -> Result<(), ExportFault> {
        if let Some((_, note)) = self.next.take_if(|(at, _)| *at == size) {
            out.add(writer.checkpoint(note.as_bytes()))?;
            self.next = self.plan.note_after(self.log, size)?;
        } else if let Some(note) = self.plan.checkpoint_at(size) {
            out.add(writer.checkpoint(note.as_bytes()))?;
        } else {
            return Ok(());
        }
        for token in self.log.stamps_over(size)? {
            let token = Bytes(token);
            out.add(writer.timestamp(&Timestamp { size, token }))?;
        }
        Ok(())
    }
}

fn entry(
    source: Source<'_>,
    plan: &Plan,
    writer: &mut ExportWriter,
    out: &mut Chunks<'_>,
    stored: &StoredEntry,
) -> Result<(), ExportFault> {
    for artifact in evidence(source.log(), stored)? {
        out.add(writer.artifact(&artifact))?;
    }
    out.add(writer.entry(&stored.bytes))?;
    let disclosures = disclosures(source, plan, stored)?;
    if !disclosures.is_empty() {
        out.add(writer.disclosures(&disclosures))?;
    }
    if let Some(proof) = plan.proof_after(stored.index) {
        out.add(writer.tenant_proof(proof))?;
    }
    Ok(())
}

/// The evidence that an entry names. It stands directly before it, so that no reader has to keep it.
fn evidence(log: &Reader, stored: &StoredEntry) -> Result<Vec<Artifact>, ExportFault> {
    let kinds = [Kind::Base, Kind::Renewal, Kind::Close];
    if !plan::is_of(&kinds, &stored.bytes) {
        return Ok(Vec::new());
    }
    let entry = Entry::parse(&stored.bytes).map_err(|source| ExportFault::Entry {
        index: stored.index,
        source,
    })?;
    let named = entry.body().evidence().iter();
    named.map(|e| stored_artifact(log, e.digest)).collect()
}

fn stored_artifact(log: &Reader, digest: ArtifactDigest) -> Result<Artifact, ExportFault> {
    let artifact = log.artifact(digest)?;
    artifact.ok_or(ExportFault::ArtifactMissing { digest })
}

/// What opens those of an entry's commitments that the profile opens. What was erased is not there.
fn disclosures(
    source: Source<'_>,
    plan: &Plan,
    stored: &StoredEntry,
) -> Result<Vec<Disclosure>, ExportFault> {
    if stored.disclosures == 0 {
        return Ok(Vec::new());
    }
    let fields = plan.fields(stored.index, &stored.bytes)?;
    if matches!(fields, Fields::None) {
        return Ok(Vec::new());
    }
    let mut opened = source.log().opened(stored)?;
    opened.retain(|d| fields.has(d.field));
    Ok(opened)
}

/// Collects small items into larger pieces.
struct Chunks<'a> {
    ready: Vec<u8>,
    sink: Sink<'a>,
}

impl Chunks<'_> {
    fn add(&mut self, bytes: Vec<u8>) -> Result<(), ExportFault> {
        if self.ready.is_empty() {
            self.ready = bytes;
        } else {
            self.ready.extend(bytes);
        }
        if self.ready.len() >= CHUNK_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ExportFault> {
        if self.ready.is_empty() {
            return Ok(());
        }
        let next = Vec::with_capacity(CHUNK_BYTES.saturating_mul(2));
        (self.sink)(std::mem::replace(&mut self.ready, next))
    }
}

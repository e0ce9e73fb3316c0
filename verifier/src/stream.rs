//! From bytes to a report: reads an export as a stream and lets every check see it once.
//!
//! In: a [`Read`], a [`Trust`], [`Options`], a time. Out: a [`Report`], whatever happens.
//! Memory is bounded by the largest item, the bundles, open runs, unsettled intents, the leaves
//! since the last renewal (48 bytes each), 24 bytes for each entry with commitments and 16 for
//! each call and closed run; not by the size of the export.

use crate::checks::Checks;
use crate::codes::Code;
use crate::parallel::{JOB_BYTES, JOB_LEAVES, Keyring, Leaf, Pool, RING_KEYS};
use crate::progress::Progress;
use crate::query::Query;
use crate::report::Report;
use crate::today::Today;
use crate::trust::{Reference, Trust};
use countersign_record::binding::Binding;
use countersign_record::body::TenantProof;
use countersign_record::body::lifecycle::{PLATFORM_EVIDENCE_KIND, TPM_EVIDENCE_KIND};
use countersign_record::cbor::Cbor as _;
use countersign_record::checkpoint::MAX_CHECKPOINT_BYTES;
use countersign_record::cose::Sign1;
use countersign_record::digest::{NodeHash, UnixMillis};
use countersign_record::entry::{Body, Entry, Kind};
use countersign_record::export::{
    Artifact, Frame, Framer, ItemKind, MAX_EVIDENCE, Manifest, Span, Timestamp, Trailer,
};
use countersign_record::merkle::subtrees;
use countersign_signatures::ed25519;
use countersign_timestamps::MAX_TOKEN_BYTES;
use serde::Serialize;
use std::collections::VecDeque;
use std::io::Read;
use std::ops::Range;
use std::sync::Arc;

/// How much is read at once, in bytes.
const READ_BYTES: usize = 256 * 1024;

/// Most checkpoints that an auditor may bring.
pub const MAX_GIVEN: usize = 1024;

/// How much of an export is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Depth {
    /// All of it.
    #[default]
    Full,
    /// What the gateway says of itself, and the hashes of everything else. There is no verdict then.
    TreeOnly,
}

/// What a verification is done with, besides trust.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Path of the trust file, for the report's head.
    pub trust_path: String,
    /// Reference values of their own; they replace those of the trust file.
    pub reference: Option<Reference>,
    /// Path of the file with reference values, for the report's head.
    pub reference_path: Option<String>,
    /// Signed receipts.
    pub receipts: Vec<Vec<u8>>,
    /// Checkpoints that the auditor has from elsewhere, each with the path of its file.
    pub checkpoints: Vec<(String, Vec<u8>)>,
    /// What vendors say today, as the auditor fetched it.
    pub today: Today,
    /// A question about calls.
    pub query: Option<Query>,
    /// Sizes at which another export of the same gateway ends.
    pub sizes: Vec<u64>,
    /// How many threads verify signatures; 0 means 1.
    pub threads: usize,
    /// How much is looked at.
    pub depth: Depth,
    /// Where to count what was read, for whoever waits.
    pub progress: Option<Arc<Progress>>,
}

/// Checks an export.
///
/// Every outcome is a report: bytes that cannot be read, or are no export, are findings of check `framing`.
#[must_use]
pub fn verify(export: impl Read, trust: &Trust, options: &Options, now: UnixMillis) -> Report {
    let checks = Checks::new(trust, options, now);
    std::thread::scope(|scope| {
        let threads = match options.depth {
            Depth::Full => options.threads.max(1),
            // To hash an entry takes less than to hand it to another thread.
            Depth::TreeOnly => 0,
        };
        let pool = Pool::start(scope, threads);
        let mut stream = Stream::new(checks, pool, options);
        if stream.read(export) {
            stream.checks.ledger.held(Code::Framing);
        }
        stream.settle();
        stream.checks.finish()
    })
}

/// How far an export was read. Items come in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Start,
    Artifacts,
    Leaves,
    End,
}

struct Stream<'a> {
    checks: Checks<'a>,
    pool: Pool,
    stage: Stage,
    /// Index of the first leaf, as the manifest says, and of the next.
    first: u64,
    next: u64,
    /// The job that is being filled.
    leaves: Vec<Leaf>,
    content: Vec<u8>,
    bytes: usize,
    keys: Keyring,
    /// What was read last.
    last: Last,
    /// Evidence that was read since the last leaf: the next entry's.
    evidence: Vec<Artifact>,
    /// Leaves read so far.
    read: u64,
    /// Leaves that every check has seen.
    seen: u64,
    /// Notes that wait for the leaves before them, with how many those are.
    notes: VecDeque<(u64, Note)>,
    depth: Depth,
    progress: Option<Arc<Progress>>,
}

/// What was read last, as far as something may belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    /// An entry, or what belongs to one.
    Entry,
    /// A checkpoint, or a timestamp over one.
    Checkpoint,
    Other,
}

/// What is judged with the leaves before it.
#[derive(Debug)]
enum Note {
    Checkpoint(Vec<u8>),
    Timestamp(Timestamp),
}

impl Note {
    /// Whether it is larger than one that holds can be. Such a one does not wait: an item may be 32 MiB.
    fn is_large(&self) -> bool {
        match self {
            Self::Checkpoint(bytes) => bytes.len() > MAX_CHECKPOINT_BYTES,
            Self::Timestamp(timestamp) => timestamp.token.0.len() > MAX_TOKEN_BYTES,
        }
    }
}

/// Notes that may wait for leaves; beyond that, reading waits.
const MAX_NOTES: usize = 64;

impl<'a> Stream<'a> {
    /// Before the first byte.
    fn new(checks: Checks<'a>, pool: Pool, options: &Options) -> Self {
        Self {
            checks,
            pool,
            stage: Stage::Start,
            first: 0,
            next: 0,
            leaves: Vec::new(),
            content: Vec::new(),
            bytes: 0,
            keys: Keyring::default(),
            last: Last::Other,
            evidence: Vec::new(),
            read: 0,
            seen: 0,
            notes: VecDeque::new(),
            depth: options.depth,
            progress: options.progress.clone(),
        }
    }
}

impl Stream<'_> {
    /// Reads all; whether the file is whole and well formed.
    fn read(&mut self, mut export: impl Read) -> bool {
        let mut framer = Framer::new();
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let count = match export.read(&mut buffer) {
                Ok(count) => count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    let text = format!("the file could not be read: {error}");
                    self.checks.ledger.unknown(Code::Framing, None, text);
                    return false;
                }
            };
            if let Some(progress) = &self.progress {
                progress.read(count);
            }
            framer.push(buffer.get(..count).unwrap_or_default());
            loop {
                match framer.next_frame() {
                    Ok(None) => break,
                    Ok(Some(frame)) => {
                        if let Err(text) = self.frame(frame, &framer) {
                            self.checks.ledger.fail(Code::Framing, None, text);
                            return false;
                        }
                    }
                    Err(error) => {
                        self.checks
                            .ledger
                            .fail(Code::Framing, None, error.to_string());
                        return false;
                    }
                }
            }
            if count == 0 {
                let end = framer.finish();
                return end
                    .map_err(|e| self.checks.ledger.fail(Code::Framing, None, e.to_string()))
                    .is_ok();
            }
        }
    }

    fn frame(&mut self, frame: Frame, framer: &Framer) -> Result<(), String> {
        let Frame {
            kind,
            content,
            offset,
        } = frame;
        let malformed = |e| format!("the {kind} at byte {offset} is malformed: {e}");
        if !self.evidence.is_empty() && !matches!(kind, ItemKind::Artifact | ItemKind::Entry) {
            return Err(format!(
                "the {kind} at byte {offset} stands between evidence and its entry"
            ));
        }
        match kind {
            ItemKind::Manifest => {
                self.enter(Stage::Artifacts, kind, offset)?;
                let manifest = Manifest::from_bytes(&content).map_err(malformed)?;
                (self.first, self.next) = (manifest.first, manifest.first);
                self.checks.manifest(manifest);
            }
            ItemKind::Artifact => {
                self.artifact(Artifact::from_bytes(&content).map_err(malformed)?, offset)?;
            }
            ItemKind::Entry => {
                self.advance(Stage::Leaves, kind, offset)?;
                if let Some(progress) = &self.progress {
                    progress.entry();
                }
                self.entry(content);
                self.count(1, kind, offset)?;
            }
            ItemKind::Leaf => {
                self.advance(Stage::Leaves, kind, offset)?;
                let hash = <[u8; 32]>::try_from(content.as_slice());
                let hash =
                    hash.map_err(|_| format!("the leaf at byte {offset} is not 32 bytes"))?;
                self.withheld(0, NodeHash(hash));
                self.count(1, kind, offset)?;
            }
            ItemKind::Span => {
                self.advance(Stage::Leaves, kind, offset)?;
                self.span(Span::from_bytes(&content).map_err(malformed)?, offset)?;
            }
            ItemKind::TenantProof => {
                self.stay(Stage::Leaves, kind, offset)?;
                let proof = TenantProof::from_bytes(&content).map_err(malformed)?;
                self.proof(proof, offset)?;
            }
            ItemKind::Disclosures => {
                self.stay(Stage::Leaves, kind, offset)?;
                self.disclosures(&content, offset)?;
            }
            ItemKind::Checkpoint => {
                self.advance(Stage::Leaves, kind, offset)?;
                self.note(Note::Checkpoint(content));
            }
            ItemKind::Timestamp => {
                if self.last != Last::Checkpoint {
                    return Err(format!("the {kind} at byte {offset} is over no checkpoint"));
                }
                let timestamp = Timestamp::from_bytes(&content).map_err(malformed)?;
                self.note(Note::Timestamp(timestamp));
            }
            ItemKind::Trailer => {
                if self.stage < Stage::Artifacts {
                    return Err("the export has no manifest".to_owned());
                }
                self.stage = Stage::End;
                self.settle();
                let digest = framer.finish().map_err(|e| e.to_string())?;
                self.checks
                    .trailer(&Trailer::from_bytes(&content).map_err(malformed)?, digest);
            }
        }
        Ok(())
    }

    fn enter(&mut self, next: Stage, kind: ItemKind, offset: u64) -> Result<(), String> {
        if self.stage != Stage::Start {
            return Err(format!("there is a second {kind}, at byte {offset}"));
        }
        self.stage = next;
        Ok(())
    }

    fn stay(&self, stage: Stage, kind: ItemKind, offset: u64) -> Result<(), String> {
        if self.stage == stage {
            Ok(())
        } else {
            Err(format!("the {kind} at byte {offset} is out of place"))
        }
    }

    fn advance(&mut self, next: Stage, kind: ItemKind, offset: u64) -> Result<(), String> {
        if self.stage < Stage::Artifacts || self.stage > next {
            return Err(format!("the {kind} at byte {offset} is out of place"));
        }
        self.stage = next;
        Ok(())
    }

    /// Evidence goes with the entry after it; what may serve many entries stands before the first.
    fn artifact(&mut self, artifact: Artifact, offset: u64) -> Result<(), String> {
        let evidence =
            [TPM_EVIDENCE_KIND, PLATFORM_EVIDENCE_KIND].contains(&artifact.kind.as_str());
        if self.stage != Stage::Artifacts && !(evidence && self.stage == Stage::Leaves) {
            return Err(format!("the artifact at byte {offset} is out of place"));
        }
        self.checks.artifact_seen(&artifact);
        if !evidence {
            self.checks.artifact(artifact);
            return Ok(());
        }
        self.evidence.push(artifact);
        if self.evidence.len() > MAX_EVIDENCE {
            return Err(format!(
                "the artifact at byte {offset} is more evidence than an entry can name"
            ));
        }
        Ok(())
    }

    fn entry(&mut self, bytes: Vec<u8>) {
        let kind = Sign1::parse(&bytes).ok();
        let kind = kind.and_then(|s| Kind::from_typ(s.typ()));
        if kind == Some(Kind::Base) {
            self.learn_key(&bytes);
        }
        let evidence = std::mem::take(&mut self.evidence);
        let size = evidence
            .iter()
            .fold(bytes.len(), |sum, e| sum.saturating_add(e.bytes.0.len()));
        self.make_room();
        let bytes = self.put(&bytes);
        let leaf = match (self.depth, kind) {
            (Depth::TreeOnly, Some(kind)) if is_of_calls(kind) => Leaf::Unread {
                bytes,
                disclosures: None,
            },
            (Depth::TreeOnly | Depth::Full, _) => Leaf::Entry {
                bytes,
                evidence,
                disclosures: None,
                proof: None,
            },
        };
        self.leaf(size, leaf);
    }

    /// The key of an epoch is needed by the threads before its base is judged. What it is worth is decided later.
    fn learn_key(&mut self, bytes: &[u8]) {
        let Ok(entry) = Entry::parse(bytes) else {
            return;
        };
        let Body::Base(base) = entry.body() else {
            return;
        };
        let Ok(binding) = Binding::from_bytes(&base.binding.0) else {
            return;
        };
        if let Ok(key) = ed25519::PublicKey::parse(&binding.epoch_key.0) {
            // What stands before the base is judged by the keys before it.
            self.dispatch();
            let skip = self.keys.len().saturating_add(1).saturating_sub(RING_KEYS);
            let mut keys: Vec<_> = self.keys.iter().skip(skip).copied().collect();
            keys.push((binding.epoch_key.id(), key));
            self.keys = Arc::new(keys);
        }
    }

    /// A note is judged when the checks have seen exactly the leaves that stand before it.
    fn note(&mut self, note: Note) {
        self.last = Last::Checkpoint;
        let large = note.is_large();
        self.notes.push_back((self.read, note));
        if large || self.notes.len() >= MAX_NOTES {
            self.settle();
        }
    }

    fn due_notes(&mut self) {
        while let Some((after, _)) = self.notes.front() {
            if *after > self.seen {
                return;
            }
            match self.notes.pop_front() {
                Some((_, Note::Checkpoint(content))) => self.checks.checkpoint(&content),
                Some((_, Note::Timestamp(timestamp))) => self.checks.timestamp(&timestamp),
                None => return,
            }
        }
    }

    /// The last leaf, if what is read now can belong to it.
    fn last_entry(&mut self) -> Option<&mut Leaf> {
        self.leaves.last_mut().filter(|_| self.last == Last::Entry)
    }

    /// Begins the next job if this one is full.
    fn make_room(&mut self) {
        if self.leaves.len() >= JOB_LEAVES || self.bytes >= JOB_BYTES {
            self.dispatch();
        }
    }

    /// Adds bytes to this job's content; where they are.
    fn put(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.content.len();
        self.content.extend_from_slice(bytes);
        start..self.content.len()
    }

    fn leaf(&mut self, size: usize, leaf: Leaf) {
        self.last = Last::Entry;
        self.read = self.read.saturating_add(1);
        self.leaves.push(leaf);
        self.bytes = self.bytes.saturating_add(size);
    }

    fn withheld(&mut self, level: u8, hash: NodeHash) {
        self.make_room();
        self.leaf(32, Leaf::Withheld { level, hash });
    }

    /// A stretch has exactly the hashes that its place and length ask for.
    fn span(&mut self, span: Span, offset: u64) -> Result<(), String> {
        let Span { count, roots } = span;
        if count < 2 {
            return Err(format!("the span at byte {offset} is of {count} entries"));
        }
        if self.first > 0 {
            return Err(format!(
                "there is a span at byte {offset}, in an export that does not start at entry 0"
            ));
        }
        let parts = subtrees(self.next, count).unwrap_or_default();
        if parts.len() != roots.len() {
            return Err(format!(
                "the span at byte {offset} has {} hashes, {} belong to {count} entries from {}",
                roots.len(),
                parts.len(),
                self.next
            ));
        }
        for (part, root) in parts.into_iter().zip(roots) {
            self.withheld(part.level, root);
        }
        self.count(count, ItemKind::Span, offset)
    }

    fn count(&mut self, leaves: u64, kind: ItemKind, offset: u64) -> Result<(), String> {
        let next = self.next.checked_add(leaves);
        self.next =
            next.ok_or_else(|| format!("the {kind} at byte {offset} ends after the last index"))?;
        Ok(())
    }

    fn proof(&mut self, given: TenantProof, offset: u64) -> Result<(), String> {
        match self.last_entry() {
            Some(Leaf::Entry {
                proof: slot @ None, ..
            }) => {
                *slot = Some(given);
                Ok(())
            }
            Some(Leaf::Entry { .. } | Leaf::Unread { .. } | Leaf::Withheld { .. }) | None => Err(
                format!("the tenant's proof at byte {offset} belongs to no entry"),
            ),
        }
    }

    fn disclosures(&mut self, content: &[u8], offset: u64) -> Result<(), String> {
        let size = content.len();
        let range = self.put(content);
        match self.last_entry() {
            Some(
                Leaf::Entry {
                    disclosures: slot @ None,
                    ..
                }
                | Leaf::Unread {
                    disclosures: slot @ None,
                    ..
                },
            ) => *slot = Some(range),
            Some(Leaf::Entry { .. } | Leaf::Unread { .. } | Leaf::Withheld { .. }) | None => {
                return Err(format!(
                    "the disclosures at byte {offset} belong to no entry"
                ));
            }
        }
        self.bytes = self.bytes.saturating_add(size);
        Ok(())
    }

    fn dispatch(&mut self) {
        if !self.leaves.is_empty() {
            let leaves = std::mem::take(&mut self.leaves);
            let content = std::mem::take(&mut self.content);
            self.content = self.pool.send(leaves, content, Arc::clone(&self.keys));
            self.bytes = 0;
        }
        while self.pool.is_full() && self.fold() {}
    }

    fn fold(&mut self) -> bool {
        let Some(mut batch) = self.pool.take() else {
            return false;
        };
        for leaf in &mut batch.0 {
            self.due_notes();
            self.checks.leaf(leaf);
            self.seen = self.seen.saturating_add(1);
        }
        self.pool.give_back(batch);
        true
    }

    /// Waits until every leaf was seen by every check.
    fn settle(&mut self) {
        self.dispatch();
        while self.fold() {}
        self.due_notes();
    }
}

/// Whether entries of this kind are of calls: the many, as against what the gateway says of itself.
fn is_of_calls(kind: Kind) -> bool {
    match kind {
        Kind::Intent | Kind::Decision | Kind::Approval | Kind::Run => true,
        Kind::Enrol
        | Kind::Base
        | Kind::Change
        | Kind::Event
        | Kind::Renewal
        | Kind::Adopt
        | Kind::Gap
        | Kind::Erasure
        | Kind::Hold
        | Kind::Stop
        | Kind::Close => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_record::cbor::Bytes;

    /// A stream to which something is given, without threads.
    fn with(test: impl FnOnce(&mut Stream<'_>)) {
        let trust = Trust::parse(b"version = 1").unwrap();
        let options = Options::default();
        std::thread::scope(|scope| {
            let checks = Checks::new(&trust, &options, UnixMillis(0));
            test(&mut Stream::new(checks, Pool::start(scope, 0), &options));
        });
    }

    fn leaf(stream: &mut Stream<'_>, size: usize) {
        let (level, hash) = (0, NodeHash([0; 32]));
        stream.make_room();
        stream.leaf(size, Leaf::Withheld { level, hash });
    }

    #[test]
    fn a_job_has_256_leaves_or_4_mebibytes() {
        with(|stream| {
            for number in 1..=256 {
                leaf(stream, 0);
                assert_eq!(stream.leaves.len(), number);
            }
            leaf(stream, 0);
            assert_eq!(stream.leaves.len(), 1);
        });
        for (size, waiting) in [(4_194_303, 2), (4_194_304, 1)] {
            with(|stream| {
                leaf(stream, size);
                leaf(stream, 0);
                assert_eq!(stream.leaves.len(), waiting, "{size}");
            });
        }
    }

    #[test]
    fn sixty_four_checkpoints_and_timestamps_wait_unless_they_are_too_large_to_hold() {
        let timestamp = |bytes: usize| {
            let token = Bytes(vec![0; bytes]);
            Note::Timestamp(Timestamp { size: 0, token })
        };
        with(|stream| {
            for number in 1..=63 {
                stream.note(timestamp(1));
                assert_eq!(stream.notes.len(), number);
            }
            stream.note(timestamp(1));
            assert!(stream.notes.is_empty());
        });
        for (note, waiting) in [
            (Note::Checkpoint(vec![0; MAX_CHECKPOINT_BYTES]), 1),
            (Note::Checkpoint(vec![0; MAX_CHECKPOINT_BYTES + 1]), 0),
            (timestamp(MAX_TOKEN_BYTES), 1),
            (timestamp(MAX_TOKEN_BYTES + 1), 0),
        ] {
            with(|stream| {
                stream.note(note);
                assert_eq!(stream.notes.len(), waiting);
            });
        }
    }
}

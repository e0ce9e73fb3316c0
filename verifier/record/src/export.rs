//! The export: one file that an auditor gets, a CBOR sequence read and written as a stream.
//!
//! In: items, or bytes from anywhere. Out: framed items in a fixed order:
//! manifest, artifacts, then for each leaf in order either the entry (followed by its
//! disclosures or by a tenant's proof) or, where entries are withheld, the leaf's hash or the
//! hashes of a stretch, a checkpoint where its last entry stands, with timestamps over it, then
//! the trailer. Nothing in an export is trusted because it is in the export.
//!
//! Spec: `docs/spec/export.md`; CDDL `export-item`.

use crate::body::TenantProof;
use crate::cbor::{Bytes, Cbor, CborError, Reader, Writer};
use crate::commitment::Disclosure;
use crate::digest::{ArtifactDigest, GatewayId, NodeHash, PublicKey, RunId, TenantId, UnixMillis};
use crate::profile::Disclosed;
use crate::{cbor_enum, cbor_map};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

/// Largest item, in bytes (32 MiB): a bundle of the largest size, twice.
pub const MAX_ITEM_BYTES: usize = 32 * 1024 * 1024;

/// Most pieces of evidence before one entry. No profile has more than eight.
pub const MAX_EVIDENCE: usize = 16;

/// Version of the export that this code writes, in [`Manifest::format`].
pub const EXPORT_FORMAT: u64 = 1;

/// First bytes of every export: tag 55799 around the text `countersign-export-1`, so that tools tell the file.
pub const MAGIC: &[u8] = b"\xd9\xd9\xf7\x74countersign-export-1";

cbor_enum! {
    /// What an item is.
    pub enum ItemKind ("kind of item") {
        /// A [`Manifest`].
        Manifest = 0: "manifest",
        /// An [`Artifact`].
        Artifact = 1: "artifact",
        /// A signed entry.
        Entry = 2: "entry",
        /// The hash of a leaf whose entry is withheld.
        Leaf = 3: "leaf",
        /// Opened commitments of the entry before.
        Disclosures = 4: "disclosures",
        /// A checkpoint.
        Checkpoint = 5: "checkpoint",
        /// A [`Trailer`].
        Trailer = 6: "trailer",
        /// A [`Span`].
        Span = 7: "span",
        /// A [`TenantProof`].
        TenantProof = 8: "tenant-proof",
        /// A [`Timestamp`] over the checkpoint before.
        Timestamp = 9: "timestamp",
    }
}

cbor_enum! {
    /// Which entries an export is said to have.
    pub enum Scope ("scope") {
        /// Every entry of the range, or of a period.
        Whole = 1: "whole",
        /// Entries of one tenant; other leaves by hash.
        Tenant = 2: "tenant",
        /// Entries of one run; other leaves by hash.
        Run = 3: "run",
    }
}

cbor_map! {
    /// A stretch of time, by the entries' claims.
    pub struct Period {
        /// From when, inclusive.
        1 => from: UnixMillis,
        /// Until when, exclusive.
        2 => until: UnixMillis,
    }
}

impl Period {
    /// Whether a time lies in it.
    #[must_use]
    pub fn contains(&self, at: UnixMillis) -> bool {
        self.from <= at && at < self.until
    }
}

cbor_map! {
    /// What an export is said to be.
    pub struct Manifest {
        /// Format version, 1.
        1 => format: u64,
        /// Which gateway.
        2 => gateway: GatewayId,
        /// Its identity key.
        3 => identity_key: PublicKey,
        /// Index of the first leaf.
        4 => first: u64,
        /// Index after the last leaf.
        5 => end: u64,
        /// Which entries of the range are there.
        6 => scope: Scope,
        /// Name of the disclosure profile.
        7 => profile: String,
        /// When it was made.
        8 => created: UnixMillis,
        /// By which program.
        9 => software: String,
        /// The time to which the entries are limited; others may be there.
        10 => period: Option<Period>,
        /// Which values it opens.
        11 => disclosed: Disclosed,
        /// The tenant of scopes tenant and run.
        12 => tenant: Option<TenantId>,
        /// The run of scope run.
        13 => run: Option<RunId>,
    }
}

cbor_map! {
    /// A stretch of withheld entries.
    pub struct Span {
        /// How many entries, at least 2.
        1 => count: u64,
        /// Roots of the full subtrees that make it up, from left to right (see [`crate::merkle::subtrees`]).
        2 => roots: Vec<NodeHash>,
    }
}

cbor_map! {
    /// Something that entries refer to by digest: evidence, a bundle.
    pub struct Artifact {
        /// Media type.
        1 => kind: String,
        /// Its bytes; [`ArtifactDigest::of`] them is what entries hold.
        2 => bytes: Bytes,
    }
}

impl Artifact {
    /// What entries hold.
    #[must_use]
    pub fn digest(&self) -> ArtifactDigest {
        ArtifactDigest::of(&self.bytes.0)
    }
}

/// Kind of a [`crate::bundle::SignedBundle`]'s payload as an artifact.
pub const BUNDLE_KIND: &str = "application/countersign.bundle+cbor";
/// Kind of a [`crate::bundle::SignedBundle`] as an artifact.
pub const SIGNED_BUNDLE_KIND: &str = "application/countersign.signed-bundle+cbor";

/// Kind of a signed [`crate::statement::AdoptStatement`] as an artifact: the word by which a log was handed over.
pub const ADOPT_KIND: &str = crate::statement::ADOPT_TYP;

cbor_map! {
    /// An outside clock's word about a checkpoint.
    pub struct Timestamp {
        /// Size of the checkpoint that it is over.
        1 => size: u64,
        /// A `TimeStampToken` of RFC 3161, DER, as received.
        2 => token: Bytes,
    }
}

cbor_map! {
    /// What an export must turn out to hold.
    pub struct Trailer {
        /// Items of kind entry.
        1 => entries: u64,
        /// Withheld entries, by themselves or in spans.
        2 => leaves: u64,
        /// Items of kind artifact.
        3 => artifacts: u64,
        /// Opened commitments.
        4 => disclosures: u64,
        /// Items of kind checkpoint.
        5 => checkpoints: u64,
        /// SHA-256 of all bytes before the trailer's item.
        6 => digest: [u8; 32],
        /// Items of kind timestamp.
        9 => timestamps: u64,
    }
}

/// Why bytes are not an export.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ExportError {
    /// Not an export at all.
    #[error("file does not start as an export does")]
    Magic,
    /// An item is malformed.
    #[error("item {number} at byte {offset} is malformed: {source}")]
    Item {
        /// Number of the item, from 0.
        number: u64,
        /// Where it starts, in bytes from the start of the file.
        offset: u64,
        /// What is wrong; offsets count from the start of the item or of its content.
        source: CborError,
    },
    /// An item is too large.
    #[error("item {number} at byte {offset} is {found} bytes, limit is {MAX_ITEM_BYTES}")]
    TooLarge {
        /// Number of the item, from 0.
        number: u64,
        /// Where it starts.
        offset: u64,
        /// Its size, in bytes.
        found: u64,
    },
    /// The file ends inside an item, or before the trailer.
    #[error("file ends at byte {offset}, before its trailer")]
    Truncated {
        /// Where it ends.
        offset: u64,
    },
    /// Bytes follow the trailer. How many is not said: it would depend on how many had been read.
    #[error("bytes follow the trailer, which ends at byte {offset}")]
    Trailing {
        /// Where the trailer ends.
        offset: u64,
    },
}

/// Writes items and keeps count.
#[derive(Debug)]
pub struct ExportWriter {
    trailer: Trailer,
    hash: Sha256,
}

impl ExportWriter {
    /// Starts an export; the bytes are its beginning.
    #[must_use]
    pub fn start(manifest: &Manifest) -> (Self, Vec<u8>) {
        let trailer = Trailer {
            entries: 0,
            leaves: 0,
            artifacts: 0,
            disclosures: 0,
            checkpoints: 0,
            digest: [0; 32],
            timestamps: 0,
        };
        let mut writer = Self {
            trailer,
            hash: Sha256::new(),
        };
        writer.hash.update(MAGIC);
        let mut bytes = MAGIC.to_vec();
        bytes.extend(writer.item(ItemKind::Manifest, &manifest.to_bytes()));
        (writer, bytes)
    }

    /// An artifact.
    pub fn artifact(&mut self, artifact: &Artifact) -> Vec<u8> {
        self.trailer.artifacts = self.trailer.artifacts.saturating_add(1);
        self.item(ItemKind::Artifact, &artifact.to_bytes())
    }

    /// A signed entry.
    pub fn entry(&mut self, entry: &[u8]) -> Vec<u8> {
        self.trailer.entries = self.trailer.entries.saturating_add(1);
        self.item(ItemKind::Entry, entry)
    }

    /// The hash of a leaf whose entry is withheld.
    pub fn leaf(&mut self, hash: &NodeHash) -> Vec<u8> {
        self.trailer.leaves = self.trailer.leaves.saturating_add(1);
        self.item(ItemKind::Leaf, &hash.0)
    }

    /// A stretch of withheld entries.
    pub fn span(&mut self, span: &Span) -> Vec<u8> {
        self.trailer.leaves = self.trailer.leaves.saturating_add(span.count);
        self.item(ItemKind::Span, &span.to_bytes())
    }

    /// A tenant's last number, as the renewal or close before covers it.
    pub fn tenant_proof(&mut self, proof: &TenantProof) -> Vec<u8> {
        self.item(ItemKind::TenantProof, &proof.to_bytes())
    }

    /// Opened commitments of the entry before.
    pub fn disclosures(&mut self, disclosures: &[Disclosure]) -> Vec<u8> {
        let n = u64::try_from(disclosures.len()).unwrap_or(u64::MAX);
        self.trailer.disclosures = self.trailer.disclosures.saturating_add(n);
        let mut w = Writer::new();
        w.array(disclosures.len());
        disclosures.iter().for_each(|d| d.write(&mut w));
        self.item(ItemKind::Disclosures, &w.into_bytes())
    }

    /// A checkpoint.
    pub fn checkpoint(&mut self, note: &[u8]) -> Vec<u8> {
        self.trailer.checkpoints = self.trailer.checkpoints.saturating_add(1);
        self.item(ItemKind::Checkpoint, note)
    }

    /// An outside clock's word about the checkpoint before.
    pub fn timestamp(&mut self, timestamp: &Timestamp) -> Vec<u8> {
        self.trailer.timestamps = self.trailer.timestamps.saturating_add(1);
        self.item(ItemKind::Timestamp, &timestamp.to_bytes())
    }

    /// The trailer; nothing may follow.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.trailer.digest = self.hash.clone().finalize().into();
        let trailer = self.trailer.clone();
        self.item(ItemKind::Trailer, &trailer.to_bytes())
    }

    fn item(&mut self, kind: ItemKind, content: &[u8]) -> Vec<u8> {
        let mut w = Writer::new();
        w.array(2);
        kind.write(&mut w);
        w.bytes(content);
        let bytes = w.into_bytes();
        self.hash.update(&bytes);
        bytes
    }
}

/// One framed item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What it is.
    pub kind: ItemKind,
    /// Its content.
    pub content: Vec<u8>,
    /// Where the item starts in the file, in bytes.
    pub offset: u64,
}

/// Cuts a stream into items. Memory is bounded by the largest item.
#[derive(Debug)]
pub struct Framer {
    buffer: Vec<u8>,
    start: usize,
    offset: u64,
    number: u64,
    hash: Sha256,
    state: FramerState,
}

#[derive(Debug, PartialEq, Eq)]
enum FramerState {
    Magic,
    Items,
    Ended { before_trailer: [u8; 32] },
}

impl Default for Framer {
    fn default() -> Self {
        Self::new()
    }
}

impl Framer {
    /// Before the first byte.
    #[must_use]
    pub fn new() -> Self {
        Self {
            buffer: Vec::new(),
            start: 0,
            offset: 0,
            number: 0,
            hash: Sha256::new(),
            state: FramerState::Magic,
        }
    }

    /// Adds bytes of the file.
    pub fn push(&mut self, bytes: &[u8]) {
        // Moves what is left only when it is no more than what goes: each byte moves once on average.
        if self.start >= self.buffer.len() / 2 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next item, if all of it has arrived.
    ///
    /// # Errors
    /// If the bytes are not an export.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, ExportError> {
        if self.state == FramerState::Magic {
            match self.rest().get(..MAGIC.len()) {
                None => return Ok(None),
                Some(found) if found != MAGIC => return Err(ExportError::Magic),
                Some(_) => self.consume(MAGIC.len()),
            }
            self.state = FramerState::Items;
        }
        if matches!(self.state, FramerState::Ended { .. }) {
            return if self.rest().is_empty() {
                Ok(None)
            } else {
                Err(ExportError::Trailing {
                    offset: self.offset,
                })
            };
        }
        let Some((kind, content, length)) = self.cut()? else {
            return Ok(None);
        };
        let frame = Frame {
            kind,
            content,
            offset: self.offset,
        };
        if kind == ItemKind::Trailer {
            self.state = FramerState::Ended {
                before_trailer: self.hash.clone().finalize().into(),
            };
        }
        self.consume(length);
        self.number = self.number.saturating_add(1);
        Ok(Some(frame))
    }

    /// Ends the reading: SHA-256 of all bytes before the trailer.
    ///
    /// # Errors
    /// If no trailer was seen.
    pub fn finish(&self) -> Result<[u8; 32], ExportError> {
        match self.state {
            FramerState::Ended { before_trailer } => Ok(before_trailer),
            FramerState::Magic | FramerState::Items => {
                let left = u64::try_from(self.rest().len()).unwrap_or(u64::MAX);
                Err(ExportError::Truncated {
                    offset: self.offset.saturating_add(left),
                })
            }
        }
    }

    fn rest(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or(&[])
    }

    fn consume(&mut self, n: usize) {
        let end = self.start.saturating_add(n);
        if let Some(taken) = self.buffer.get(self.start..end) {
            self.hash.update(taken);
        }
        self.start = end;
        self.offset = self
            .offset
            .saturating_add(u64::try_from(n).unwrap_or(u64::MAX));
    }

    fn cut(&self) -> Result<Option<(ItemKind, Vec<u8>, usize)>, ExportError> {
        let item = |source| ExportError::Item {
            number: self.number,
            offset: self.offset,
            source,
        };
        let rest = self.rest();
        // The head of an item takes at most 1 + 1 + 9 bytes.
        let mut r = Reader::new(rest);
        let head = (|| {
            let at = r.position();
            if r.array_head()? != 2 {
                return Err(CborError::OutOfRange {
                    at,
                    what: "length of an item",
                });
            }
            Ok((ItemKind::read(&mut r)?, r.bytes_head()?))
        })();
        let (kind, length) = match head {
            Ok(head) => head,
            Err(CborError::Truncated { .. }) if rest.len() < 11 => return Ok(None),
            Err(source) => return Err(item(source)),
        };
        let found = usize::try_from(length).unwrap_or(usize::MAX);
        if found > MAX_ITEM_BYTES {
            return Err(ExportError::TooLarge {
                number: self.number,
                offset: self.offset,
                found: length,
            });
        }
        let start = r.position();
        let end = start.saturating_add(found);
        Ok(rest
            .get(start..end)
            .map(|content| (kind, content.to_vec(), end)))
    }
}

#[cfg(test)]
mod tests {
    use super::{ExportWriter, Framer, Manifest};

    fn manifest() -> Manifest {
        crate::tests::schema::full("Manifest")
    }

    #[test]
    fn memory_does_not_grow_with_the_number_of_items() {
        let (mut writer, mut file) = ExportWriter::start(&manifest());
        let item = writer.entry(&[0; 1000]);
        let most = file.len() + 2 * item.len();
        let mut framer = Framer::new();
        for _ in 0..1000 {
            file.extend(&item);
            framer.push(&std::mem::take(&mut file));
            while framer.next_frame().unwrap().is_some() {}
            assert!(framer.buffer.len() <= most, "{}", framer.buffer.len());
        }
    }

    #[test]
    fn what_is_left_is_not_moved_for_each_piece_that_arrives() {
        let (mut writer, file) = ExportWriter::start(&manifest());
        let mut framer = Framer::new();
        framer.push(&file);
        framer.push(&writer.entry(&vec![0; 10 * file.len()]));
        assert!(framer.next_frame().unwrap().is_some());
        let start = framer.start;
        framer.push(&[0]);
        assert_eq!((start > 0, framer.start), (true, start));
    }
}

//! Reading what is durable: entries, disclosures, proofs, artifacts, checkpoints.
//!
//! In: indexes and digests. Out: what is stored, compared where a digest is at hand. Reads
//! run on connections of their own, in the caller's thread, and never wait for the writer.

use crate::error::{Fault, ReadError};
use crate::journal::{Shared, locked};
use crate::lookup::{Key, Keyed, SEGMENT, call_of, find_in_row, row_of};
use crate::side::{Side, opens};
use crate::store::{one, sql, unsql};
use crate::tree::{Tree, View, tile_hashes};
use countersign_record::cbor::Bytes;
use countersign_record::commitment::Disclosure;
use countersign_record::digest::{ArtifactDigest, CallId, EntryDigest, NodeHash, PublicKey};
use countersign_record::entry::Entry;
use countersign_record::export::{Artifact, Span};
use countersign_record::merkle::{
    Head, Nodes as _, ProofError, consistency_proof, entry_digest, inclusion_proof, root_at,
    subtrees,
};
use rusqlite::{Connection, OptionalExtension};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

/// Entries that are read at a time.
const BATCH: u64 = 256;

/// An entry as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEntry {
    /// Its leaf index.
    pub index: u64,
    /// The signed entry.
    pub bytes: Vec<u8>,
    /// How many disclosures were stored with it.
    pub disclosures: u64,
}

/// A row of the log.
pub(crate) struct Row<'a> {
    pub(crate) index: u64,
    pub(crate) bytes: &'a [u8],
    pub(crate) opened: u64,
    pub(crate) erased: bool,
}

/// Reads a durable log: this gateway's own, or one that it keeps for another.
pub struct Reader {
    pub(crate) shared: Arc<Shared>,
}

impl Reader {
    /// Size and root of the durable log.
    #[must_use]
    pub fn head(&self) -> Head {
        locked(&self.shared.durable).tree.head()
    }

    /// Whose log it is.
    #[must_use]
    pub fn identity(&self) -> PublicKey {
        self.shared.identity
    }

    /// The entry at `index`.
    ///
    /// # Errors
    /// If it is not there.
    pub fn entry(&self, index: u64) -> Result<StoredEntry, ReadError> {
        self.within(index)?;
        self.shared.readers.with(|conn| read_entry(conn, index))
    }

    /// The entry with this digest.
    ///
    /// # Errors
    /// If the store fails. `None` if no durable entry has the digest.
    pub fn find(&self, digest: EntryDigest) -> Result<Option<StoredEntry>, ReadError> {
        for index in self.candidates(Keyed::Digest, Key::of_digest(&digest))? {
            let entry = self.entry(index)?;
            if entry_digest(&entry.bytes) == digest {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    /// Intents, approvals and decisions of a call, oldest first.
    ///
    /// # Errors
    /// If the store fails.
    pub fn entries_of_call(&self, call: CallId) -> Result<Vec<StoredEntry>, ReadError> {
        let mut entries = Vec::new();
        for index in self.candidates(Keyed::Call, Key::of_call(&call))? {
            let entry = self.entry(index)?;
            let body =
                Entry::parse(&entry.bytes).map_err(|source| ReadError::Entry { index, source })?;
            if call_of(&body.payload().body) == Some(call) {
                entries.push(entry);
            }
        }
        entries.sort_by_key(|e| e.index);
        Ok(entries)
    }

    fn candidates(&self, keyed: Keyed, key: Key) -> Result<Vec<u64>, ReadError> {
        let durable = locked(&self.shared.durable);
        let mut found = durable.recent.find(keyed, key);
        let segments = durable.tree.size().checked_div(SEGMENT).unwrap_or(0);
        drop(durable);
        self.shared.readers.with(|conn| {
            let mut statement = conn
                .prepare("SELECT keys FROM lookup WHERE id = ?1")
                .map_err(Fault::from)?;
            for segment in (0..segments).rev() {
                let row = statement.query_row([row_of(keyed, segment, key)], |row| {
                    row.get::<_, Vec<u8>>(0)
                });
                if let Some(row) = row.optional().map_err(Fault::from)? {
                    found.extend(find_in_row(&row, segment, key));
                }
            }
            Ok(found)
        })
    }

    /// Entries of a range, read a few hundred at a time.
    ///
    /// # Errors
    /// If the range ends after the durable log.
    pub fn entries(&self, range: Range<u64>) -> Result<Entries<'_>, ReadError> {
        if let Some(last) = range.end.checked_sub(1) {
            self.within(last)?;
        }
        Ok(Entries {
            shared: &self.shared,
            range,
            ready: VecDeque::new(),
        })
    }

    /// Disclosures that were stored with an entry, each compared with the entry's commitments; none if they were erased.
    ///
    /// # Errors
    /// If they are gone, or not what was written.
    pub fn disclosures(&self, index: u64) -> Result<Vec<Disclosure>, ReadError> {
        self.within(index)?;
        self.shared.readers.with(|conn| {
            let StoredEntry {
                index,
                bytes,
                disclosures,
            } = read_entry(conn, index)?;
            // ORDER: asked before the rows are read, and again after: an erasure is known before its rows go.
            let row = Row {
                index,
                bytes: &bytes,
                opened: disclosures,
                erased: false,
            };
            let erased = || locked(&self.shared.durable).erased.covers(index);
            if erased() {
                return Ok(Vec::new());
            }
            match disclosures_of(conn, &self.shared.side, &row) {
                Err(ReadError::DisclosuresMissing { .. }) if erased() => Ok(Vec::new()),
                result => result,
            }
        })
    }

    /// Disclosures that were stored with an entry that was read before, each compared with its commitments.
    ///
    /// # Errors
    /// If they are gone, or not what was written.
    pub fn opened(&self, entry: &StoredEntry) -> Result<Vec<Disclosure>, ReadError> {
        // ORDER: asked before the rows are read, and again after: an erasure is known before its rows go.
        let index = entry.index;
        let row = Row {
            index,
            bytes: &entry.bytes,
            opened: entry.disclosures,
            erased: false,
        };
        let erased = || locked(&self.shared.durable).erased.covers(index);
        if erased() {
            return Ok(Vec::new());
        }
        let read = self
            .shared
            .readers
            .with(|conn| disclosures_of(conn, &self.shared.side, &row));
        match read {
            Err(ReadError::DisclosuresMissing { .. }) if erased() => Ok(Vec::new()),
            result => result,
        }
    }

    /// Stretches of the log by the roots of their full subtrees.
    ///
    /// # Errors
    /// If one ends after the durable log, or a tile is missing.
    pub fn spans(&self, stretches: &[Range<u64>]) -> Result<Vec<Span>, ReadError> {
        let tree = self.tree();
        self.viewed(&tree, |view| {
            stretches
                .iter()
                .map(|stretch| {
                    let outside = ReadError::OutOfRange {
                        index: stretch.end,
                        size: tree.size(),
                    };
                    let count = stretch.end.saturating_sub(stretch.start);
                    let parts = subtrees(stretch.start, count).ok_or(outside)?;
                    let roots = parts.iter().map(|part| {
                        let missing = ProofError::Missing {
                            level: part.level,
                            index: part.index,
                        };
                        view.node(part.level, part.index).ok_or(missing)
                    });
                    Ok(Span {
                        count,
                        roots: roots.collect::<Result<_, _>>()?,
                    })
                })
                .collect()
        })
    }

    /// Leaf hashes of a range.
    ///
    /// # Errors
    /// If the range ends after the durable log, or a tile is missing.
    pub fn leaf_hashes(&self, range: Range<u64>) -> Result<Vec<NodeHash>, ReadError> {
        let tree = self.tree();
        self.viewed(&tree, |view| {
            range
                .map(|index| {
                    view.leaf(index).ok_or(ReadError::OutOfRange {
                        index,
                        size: tree.size(),
                    })
                })
                .collect()
        })
    }

    /// A proof that entry `index` is in the first `size` entries, from the leaf upwards.
    ///
    /// # Errors
    /// If it is not, or hashes are missing.
    pub fn inclusion(&self, index: u64, size: u64) -> Result<Vec<NodeHash>, ReadError> {
        let tree = self.sized(size)?;
        self.viewed(&tree, |view| Ok(inclusion_proof(view, index, size)?))
    }

    /// A proof that the first `second` entries extend the first `first`.
    ///
    /// # Errors
    /// If the sizes are out of order, or hashes are missing.
    pub fn consistency(&self, first: u64, second: u64) -> Result<Vec<NodeHash>, ReadError> {
        let tree = self.sized(second)?;
        self.viewed(&tree, |view| Ok(consistency_proof(view, first, second)?))
    }

    /// Size and root of the first `size` entries.
    ///
    /// # Errors
    /// If there are fewer, or hashes are missing.
    pub fn head_at(&self, size: u64) -> Result<Head, ReadError> {
        let tree = self.sized(size)?;
        self.viewed(&tree, |view| {
            Ok(Head {
                size,
                root: root_at(view, size)?,
            })
        })
    }

    /// The newest checkpoint, if there is one.
    ///
    /// # Errors
    /// If the store fails.
    pub fn latest_checkpoint(&self) -> Result<Option<String>, ReadError> {
        self.shared.readers.with(|conn| {
            let query = "SELECT note FROM note ORDER BY size DESC LIMIT 1";
            Ok(conn
                .query_row(query, [], |row| row.get(0))
                .optional()
                .map_err(Fault::from)?)
        })
    }

    /// The smallest checkpoint over at least `size` entries, if there is one.
    ///
    /// # Errors
    /// If the store fails.
    pub fn checkpoint_over(&self, size: u64) -> Result<Option<String>, ReadError> {
        let size = sql(size)?;
        self.shared.readers.with(|conn| {
            Ok(one(
                conn,
                "SELECT note FROM note WHERE size >= ?1 ORDER BY size LIMIT 1",
                size,
            )?)
        })
    }

    /// The smallest checkpoint over more than `size` entries that has a line of a witness, with its size.
    ///
    /// # Errors
    /// If the store fails.
    pub fn cosigned_after(&self, size: u64) -> Result<Option<(u64, String)>, ReadError> {
        let size = sql(size)?;
        self.shared.readers.with(|conn| {
            // Our own lines are two; a dash begins each line.
            let query = "SELECT size, note FROM note WHERE size > ?1
                         AND length(note) - length(replace(note, char(8212), '')) > 2 ORDER BY size LIMIT 1";
            let row: Option<(i64, String)> = conn
                .query_row(query, [size], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()
                .map_err(Fault::from)?;
            row.map(|(size, note)| Ok((unsql(size)?, note))).transpose()
        })
    }

    /// The smallest checkpoint over more than `size` entries that somebody else stands behind, with its size: it has a line
    /// of a witness, or a token of an outside clock is over it.
    ///
    /// # Errors
    /// If the store fails.
    pub fn vouched_after(&self, size: u64) -> Result<Option<(u64, String)>, ReadError> {
        let size = sql(size)?;
        self.shared.readers.with(|conn| {
            let query = "SELECT size, note FROM note WHERE size > ?1
                         AND (length(note) - length(replace(note, char(8212), '')) > 2
                              OR EXISTS (SELECT 1 FROM stamp WHERE stamp.size = note.size)) ORDER BY size LIMIT 1";
            let row: Option<(i64, String)> = conn
                .query_row(query, [size], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()
                .map_err(Fault::from)?;
            row.map(|(size, note)| Ok((unsql(size)?, note))).transpose()
        })
    }

    /// Tokens of outside clocks over the checkpoint of this size, in the order of the authorities' names.
    ///
    /// # Errors
    /// If the store fails.
    pub fn stamps_over(&self, size: u64) -> Result<Vec<Vec<u8>>, ReadError> {
        let size = sql(size)?;
        self.shared.readers.with(|conn| {
            let query = "SELECT token FROM stamp WHERE size = ?1 ORDER BY authority";
            let mut statement = conn.prepare(query).map_err(Fault::from)?;
            let rows = statement
                .query_map([size], |row| row.get(0))
                .map_err(Fault::from)?;
            Ok(rows.collect::<Result<_, _>>().map_err(Fault::from)?)
        })
    }

    /// Sizes below `size` of all checkpoints that tokens of outside clocks are over, ascending.
    ///
    /// # Errors
    /// If the store fails.
    pub fn stamped_before(&self, size: u64) -> Result<Vec<u64>, ReadError> {
        let size = sql(size)?;
        self.shared.readers.with(|conn| {
            let query = "SELECT DISTINCT size FROM stamp WHERE size < ?1 ORDER BY size";
            let mut statement = conn.prepare(query).map_err(Fault::from)?;
            let rows = statement
                .query_map([size], |row| row.get(0))
                .map_err(Fault::from)?;
            let sizes: Vec<i64> = rows.collect::<Result<_, _>>().map_err(Fault::from)?;
            Ok(sizes.into_iter().map(unsql).collect::<Result<_, _>>()?)
        })
    }

    /// Size of the largest checkpoint over fewer than `size` entries that has a line of a witness.
    ///
    /// # Errors
    /// If the store fails.
    pub fn cosigned_before(&self, size: u64) -> Result<Option<u64>, ReadError> {
        let size = sql(size)?;
        self.shared.readers.with(|conn| {
            let query = "SELECT size FROM note WHERE size < ?1
                         AND length(note) - length(replace(note, char(8212), '')) > 2 ORDER BY size DESC LIMIT 1";
            let found: Option<i64> = one(conn, query, size)?;
            Ok(found.map(unsql).transpose()?)
        })
    }

    /// The artifact with this digest, if it is stored.
    ///
    /// # Errors
    /// If its bytes were changed, or the store fails.
    pub fn artifact(&self, digest: ArtifactDigest) -> Result<Option<Artifact>, ReadError> {
        let row: Option<(String, Vec<u8>)> = self.shared.readers.with(|conn| {
            let query = "SELECT kind, bytes FROM artifact WHERE digest = ?1";
            conn.query_row(query, [digest.0], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()
                .map_err(Fault::from)
        })?;
        match row {
            None => Ok(None),
            Some((_, bytes)) if ArtifactDigest::of(&bytes) != digest => {
                Err(ReadError::ArtifactChanged { digest })
            }
            Some((kind, bytes)) => Ok(Some(Artifact {
                kind,
                bytes: Bytes(bytes),
            })),
        }
    }

    /// Digests of all artifacts of a kind, ascending.
    ///
    /// # Errors
    /// If the store fails.
    pub fn artifacts_of(&self, kind: &str) -> Result<Vec<ArtifactDigest>, ReadError> {
        let found = self.shared.readers.with(|conn| {
            let query = "SELECT digest FROM artifact WHERE kind = ?1 ORDER BY digest";
            let mut statement = conn.prepare(query).map_err(Fault::from)?;
            let rows = statement
                .query_map([kind], |row| row.get(0))
                .map_err(Fault::from)?;
            rows.collect::<Result<Vec<[u8; 32]>, _>>()
                .map_err(Fault::from)
        })?;
        Ok(found.into_iter().map(ArtifactDigest).collect())
    }

    pub(crate) fn within(&self, index: u64) -> Result<(), ReadError> {
        let size = locked(&self.shared.durable).tree.size();
        if index < size {
            Ok(())
        } else {
            Err(ReadError::OutOfRange { index, size })
        }
    }

    fn tree(&self) -> Tree {
        locked(&self.shared.durable).tree.clone()
    }

    fn sized(&self, size: u64) -> Result<Tree, ReadError> {
        let tree = self.tree();
        match size.checked_sub(1) {
            Some(index) if index >= tree.size() => Err(ReadError::OutOfRange {
                index,
                size: tree.size(),
            }),
            Some(_) | None => Ok(tree),
        }
    }

    fn viewed<T>(
        &self,
        tree: &Tree,
        f: impl FnOnce(
            &View<'_, &dyn Fn(crate::tree::TileId) -> Option<Vec<NodeHash>>>,
        ) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        self.shared.readers.with(|conn| {
            // A tile that cannot be read is a hash that is missing, which the proof names.
            let load = |id: crate::tree::TileId| -> Option<Vec<NodeHash>> {
                let bytes: Vec<u8> =
                    one(conn, "SELECT hashes FROM tile WHERE id = ?1", id.row()).ok()??;
                tile_hashes(&bytes)
            };
            let load: &dyn Fn(crate::tree::TileId) -> Option<Vec<NodeHash>> = &load;
            f(&View::new(tree, load))
        })
    }
}

/// Entries of a range, in order.
pub struct Entries<'j> {
    shared: &'j Shared,
    range: Range<u64>,
    ready: VecDeque<StoredEntry>,
}

impl Iterator for Entries<'_> {
    type Item = Result<StoredEntry, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.range.is_empty() {
            return None;
        }
        if self.ready.is_empty() {
            let end = self.range.end.min(self.range.start.saturating_add(BATCH));
            match self
                .shared
                .readers
                .with(|conn| read_entries(conn, self.range.start..end))
            {
                Ok(ready) => self.ready = ready,
                Err(error) => {
                    self.range.start = self.range.end;
                    return Some(Err(error));
                }
            }
        }
        let index = self.range.start;
        self.range.start = index.saturating_add(1);
        match self.ready.pop_front() {
            Some(entry) if entry.index == index => Some(Ok(entry)),
            Some(_) | None => {
                self.range.start = self.range.end;
                Some(Err(ReadError::Missing { index }))
            }
        }
    }
}

fn read_entries(conn: &Connection, range: Range<u64>) -> Result<VecDeque<StoredEntry>, ReadError> {
    let query = "SELECT idx, opened, bytes FROM entry WHERE idx >= ?1 AND idx < ?2 ORDER BY idx";
    let mut statement = conn.prepare(query).map_err(Fault::from)?;
    let mut rows = statement
        .query([sql(range.start)?, sql(range.end)?])
        .map_err(Fault::from)?;
    let mut entries = VecDeque::new();
    while let Some(row) = rows.next().map_err(Fault::from)? {
        entries.push_back(StoredEntry {
            index: unsql(row.get(0).map_err(Fault::from)?)?,
            disclosures: unsql(row.get(1).map_err(Fault::from)?)?,
            bytes: row.get(2).map_err(Fault::from)?,
        });
    }
    Ok(entries)
}

fn read_entry(conn: &Connection, index: u64) -> Result<StoredEntry, ReadError> {
    read_entries(conn, index..index.saturating_add(1))?
        .pop_front()
        .ok_or(ReadError::Missing { index })
}

/// Disclosures of a row, compared with its commitments.
pub(crate) fn disclosures_of(
    conn: &Connection,
    side: &Side,
    row: &Row<'_>,
) -> Result<Vec<Disclosure>, ReadError> {
    let index = row.index;
    if row.opened == 0 || row.erased {
        return Ok(Vec::new());
    }
    let query = "SELECT wrapped, sealed FROM wrap JOIN side USING(idx) WHERE idx = ?1";
    let row_of = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let found: Option<(Vec<u8>, Vec<u8>)> = conn
        .query_row(query, [sql(index)?], row_of)
        .optional()
        .map_err(Fault::from)?;
    let (wrapped, sealed) = found.ok_or(ReadError::DisclosuresMissing { index })?;
    let sealed = [wrapped, sealed].concat();
    let disclosures = side
        .open_disclosures(&sealed)
        .map_err(|source| ReadError::Side { index, source })?;
    opens(row.bytes, &disclosures)
        .map_err(|number| ReadError::DisclosureForeign { index, number })?;
    if u64::try_from(disclosures.len()) == Ok(row.opened) {
        Ok(disclosures)
    } else {
        Err(ReadError::DisclosuresMissing { index })
    }
}

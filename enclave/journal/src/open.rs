//! Opening: the whole log is read once, compared with everything stored beside it, and folded.
//!
//! In: the database, the gateway's identity key. Out: the sequences, the tree and what was
//! found; or the first thing that is not as it was written, by name. Memory is bounded by
//! open runs, open calls, tenants and one segment of keys.
//!
//! For each entry, in order: (1) its row follows the last; (2) it parses strictly and names
//! the row's index; (3) its place is the one that the sequences give; (4) after the newest
//! checkpoint, its signature holds; (5) it has its stored hash, once its tile is full.
//! At each stored checkpoint the root is compared; at the end the stored head.

use crate::erase::Erased;
use crate::error::{Fault, OpenError, ReadError, Refusal};
use crate::journal::{Durable, Limits};
use crate::lookup::{EntryKeys, Key, Recent, SEGMENT, call_of};
use crate::read::disclosures_of;
use crate::sequence::{Bounds, Moment, Owner, Sequence, claimed_head};
use crate::side::{Purpose, Side};
use crate::store::{one, unsql};
use crate::tree::{Tile, Tree, tile_hashes};
use countersign_record::binding::{Binding, epoch_message};
use countersign_record::body::{Base, Intent, Renewal};
use countersign_record::cbor::{Cbor, CborError, Reader, Writer};
use countersign_record::checkpoint::{Checkpoint, origin};
use countersign_record::commitment::Disclosure;
use countersign_record::digest::{
    CallId, EntryDigest, KeyId, NodeHash, PublicKey, RunId, Signature, TenantId, UnixMillis,
};
use countersign_record::entry::{Body, Entry, Place};
use countersign_record::merkle::{Head, empty_root};
use ed25519_dalek::VerifyingKey;
use rusqlite::{Connection, OptionalExtension};
use std::collections::HashMap;

/// Gets every entry in order, with access to its disclosures; an error keeps the log closed.
pub type Fold<'f> = &'f mut dyn FnMut(&Entry<'_>, &Disclosures<'_>) -> Result<(), String>;

/// Access to the disclosures of one entry while the log is opened.
pub struct Disclosures<'a> {
    conn: &'a Connection,
    side: &'a Side,
    index: u64,
    bytes: &'a [u8],
    opened: u64,
    erased: bool,
}

impl Disclosures<'_> {
    /// Reads them, and compares them with the entry's commitments; there are none if they were erased.
    ///
    /// # Errors
    /// If they are gone, or not what was written.
    pub fn read(&self) -> Result<Vec<Disclosure>, ReadError> {
        disclosures_of(
            self.conn,
            self.side,
            &crate::read::Row {
                index: self.index,
                bytes: self.bytes,
                opened: self.opened,
                erased: self.erased,
            },
        )
    }
}

/// An entry, by place and time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundEntry {
    /// Its leaf index.
    pub index: u64,
    /// Its digest.
    pub digest: EntryDigest,
    /// Its time.
    pub at: UnixMillis,
}

/// A call whose settlement is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenIntent {
    /// The intent's entry.
    pub entry: FoundEntry,
    /// The call.
    pub call: CallId,
    /// Its tenant.
    pub tenant: Option<TenantId>,
    /// Its run.
    pub run: Option<RunId>,
    /// The intent.
    pub intent: Intent,
}

/// A run that was not closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenRun {
    /// The run.
    pub run: RunId,
    /// Its tenant.
    pub tenant: TenantId,
    /// How many entries it has.
    pub count: u64,
}

/// An epoch that was to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PendingOpening {
    /// Value that the counter was to reach.
    pub counter: u64,
    /// The epoch key.
    pub epoch_key: KeyId,
}

/// A renewal that was to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PendingRenewal {
    /// Value that the counter was to reach.
    pub counter: u64,
    /// Number of the renewal within its epoch.
    pub number: u64,
}

impl PendingOpening {
    pub(crate) const KIND: i64 = 1;

    pub(crate) fn to_row(self, size: u64) -> Vec<u8> {
        let mut w = Writer::new();
        w.array(4);
        w.text("opening");
        w.uint(self.counter);
        self.epoch_key.write(&mut w);
        w.uint(size);
        w.into_bytes()
    }
}

impl PendingRenewal {
    pub(crate) const KIND: i64 = 2;

    pub(crate) fn to_row(self, size: u64) -> Vec<u8> {
        let mut w = Writer::new();
        w.array(4);
        w.text("renewal");
        w.uint(self.counter);
        w.uint(self.number);
        w.uint(size);
        w.into_bytes()
    }
}

/// What was in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// There was no log, and an empty one was made.
    pub created: bool,
    /// The last process did not end in good order; its write-ahead log was replayed.
    pub wal_recovered: bool,
    /// Size and root.
    pub head: Head,
    /// The last entry.
    pub last: Option<FoundEntry>,
    /// The last base.
    pub base: Option<(FoundEntry, Base)>,
    /// The last renewal since that base.
    pub renewal: Option<(FoundEntry, Renewal)>,
    /// The close of that epoch; absent if it ended otherwise.
    pub close: Option<FoundEntry>,
    /// Calls without a settlement, oldest first.
    pub open_intents: Vec<OpenIntent>,
    /// Runs that were not closed.
    pub open_runs: Vec<OpenRun>,
    /// Epochs announced since the last base, oldest first. What was announced when the log was longer is not among
    /// them: its row was kept from before the log was put back, and explains nothing of the log as it is.
    pub pending_openings: Vec<PendingOpening>,
    /// Renewals announced since the last one, oldest first; as with openings, none of a longer log.
    pub pending_renewals: Vec<PendingRenewal>,
    /// The newest checkpoint.
    pub checkpoint: Option<Head>,
}

/// Whose log is read, and what for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    /// The gateway's own, to go on with, within limits.
    Own(Limits),
    /// Another gateway's, to be kept as it is. What it announced beside its log concerns its own TPM alone.
    Kept,
}

/// The result of reading a log.
pub(crate) struct Scan {
    pub(crate) sequence: Sequence,
    pub(crate) durable: Durable,
    pub(crate) found: Found,
}

pub(crate) fn scan(
    conn: &Connection,
    identity: PublicKey,
    side: &Side,
    whose: Whose,
    fold: Fold<'_>,
) -> Result<Scan, OpenError> {
    let limits = match whose {
        Whose::Own(limits) => limits,
        Whose::Kept => Limits::default(),
    };
    expect_own(conn, identity)?;
    let notes = Notes::read(conn, identity)?;
    let (erased, erasures) = Erased::read(conn)?;
    let bounds = Bounds {
        runs: limits.open_runs,
        tenants: limits.tenants,
    };
    let mut scanner = Scanner {
        conn,
        identity,
        head: stored_head(conn)?,
        notes,
        sequence: Sequence::new(identity.gateway(), bounds),
        tree: Tree::default(),
        recent: Recent::default(),
        unchecked: Vec::new(),
        epoch_key: None,
        open: HashMap::new(),
        last: None,
        base: None,
        renewal: None,
        close: None,
        erasures,
        erasures_met: 0,
    };
    let mut statement = conn
        .prepare("SELECT idx, opened, bytes FROM entry ORDER BY idx")
        .map_err(Fault::from)?;
    let mut rows = statement.query([]).map_err(Fault::from)?;
    while let Some(row) = rows.next().map_err(Fault::from)? {
        let index = unsql(row.get(0).map_err(Fault::from)?)?;
        let opened = unsql(row.get(1).map_err(Fault::from)?)?;
        let bytes = row
            .get_ref(2)
            .map_err(Fault::from)?
            .as_blob()
            .map_err(|_| Fault::Malformed)?;
        let entry = scanner.entry(index, bytes)?;
        let disclosures = Disclosures {
            conn,
            side,
            index,
            bytes,
            opened,
            erased: erased.covers(index),
        };
        fold(&entry, &disclosures).map_err(|reason| OpenError::Fold { index, reason })?;
    }
    let pending = |size| match whose {
        Whose::Own(_) => read_pending(conn, side, size),
        Whose::Kept => Ok(PendingRows::default()),
    };
    scanner.finish(erased, pending)
}

/// A log of another gateway is told apart before its checkpoints are looked at.
fn expect_own(conn: &Connection, identity: PublicKey) -> Result<(), OpenError> {
    let first: Option<Vec<u8>> = one(conn, "SELECT bytes FROM entry WHERE idx = ?1", 0)?;
    let first = first.as_deref().and_then(|bytes| Entry::parse(bytes).ok());
    if let Some(Body::Base(base)) = first.as_ref().map(|e| &e.payload().body) {
        let expected = identity.gateway();
        match Binding::from_bytes(&base.binding.0).map(|b| b.identity_key.gateway()) {
            Ok(found) if found != expected => {
                return Err(OpenError::ForeignGateway { expected, found });
            }
            Ok(_) | Err(_) => {}
        }
    }
    Ok(())
}

struct Scanner<'c> {
    conn: &'c Connection,
    identity: PublicKey,
    head: Head,
    notes: Notes,
    sequence: Sequence,
    tree: Tree,
    recent: Recent,
    /// Entries of the tile that is not full yet.
    unchecked: Vec<u64>,
    epoch_key: Option<PublicKey>,
    open: HashMap<CallId, OpenIntent>,
    last: Option<FoundEntry>,
    base: Option<(FoundEntry, Base)>,
    renewal: Option<(FoundEntry, Renewal)>,
    close: Option<FoundEntry>,
    /// Erasures that rows point to, and how many of them were met.
    erasures: Vec<u64>,
    erasures_met: usize,
}

impl Scanner<'_> {
    fn entry<'e>(&mut self, index: u64, bytes: &'e [u8]) -> Result<Entry<'e>, OpenError> {
        let expected = self.sequence.next_index();
        if index != expected {
            return Err(OpenError::MissingEntry { index: expected });
        }
        if index >= self.head.size {
            return Err(OpenError::Longer {
                index,
                stored: self.head.size,
            });
        }
        let entry = Entry::parse(bytes).map_err(|source| OpenError::Entry { index, source })?;
        let found = entry.place().index;
        if found != index {
            return Err(OpenError::Misplaced { index, found });
        }
        let digest = entry.digest();
        self.place(&entry, digest)?;
        if index >= self.notes.trusted {
            self.signature(&entry)?;
        }
        self.hash(index, digest)?;
        let call = call_of(&entry.payload().body);
        self.recent.push(EntryKeys {
            index,
            digest: Key::of_digest(&digest),
            call: call.as_ref().map(Key::of_call),
        });
        self.segment()?;
        self.erasure(&entry)?;
        self.remember(&entry, digest);
        Ok(entry)
    }

    /// The entry stands where the sequences would have put it.
    fn place(&mut self, entry: &Entry<'_>, digest: EntryDigest) -> Result<(), OpenError> {
        let Place {
            index,
            base,
            at,
            since_boot,
            tenant,
            run,
        } = entry.place();
        let (index, body) = (*index, &entry.payload().body);
        let refused = |refusal: Refusal| {
            if let Refusal::Gateway { expected, found } = refusal {
                return OpenError::ForeignGateway { expected, found };
            }
            OpenError::Refused { index, refusal }
        };
        if let Body::Base(_) = body {
            // An epoch may have ended without a close; whether that is acceptable is the verifier's to say.
            self.sequence.end();
            self.sequence.begin(entry.kid()).map_err(refused)?;
        }
        let owner = Owner {
            tenant: tenant.as_ref().map(|t| t.tenant),
            run: run.as_ref().map(|r| r.run),
        };
        self.sequence.admit(owner, body).map_err(refused)?;
        if self.sequence.kid() != Some(entry.kid()) {
            return Err(refused(Refusal::WrongKey));
        }
        if let Some(claimed) = claimed_head(body).map_err(refused)? {
            let head = self.tree.head();
            if claimed.size != head.size || claimed.root != head.root {
                return Err(refused(Refusal::Head {
                    claimed: claimed.size,
                    size: head.size,
                }));
            }
        }
        let expected = self
            .sequence
            .place(
                owner,
                Moment {
                    at: *at,
                    since_boot: *since_boot,
                },
            )
            .map_err(refused)?;
        let sequence = |what| OpenError::Sequence { index, what };
        if *base != expected.base {
            return Err(sequence("base"));
        }
        if *at != expected.at || *since_boot != expected.since_boot {
            return Err(OpenError::Time { index });
        }
        if *tenant != expected.tenant {
            return Err(sequence("tenant"));
        }
        if *run != expected.run {
            return Err(sequence("run"));
        }
        self.sequence
            .advance(&expected, body, digest)
            .map_err(refused)?;
        Ok(())
    }

    /// The signature holds; for a base also the identity's word for the key.
    fn signature(&mut self, entry: &Entry<'_>) -> Result<(), OpenError> {
        let index = entry.place().index;
        let failed = OpenError::Signature { index };
        if let Body::Base(base) = &entry.payload().body {
            let message = epoch_message(&base.binding.0);
            if !Signer(self.identity).signed(&message, base.identity_signature) {
                return Err(failed);
            }
        }
        let key = match (&entry.payload().body, self.epoch_key) {
            (Body::Base(base), _) => epoch_key(base),
            (_, key) => key,
        };
        match key {
            Some(key) if Signer(key).signed(&entry.to_be_signed(), entry.signature()) => Ok(()),
            _ => Err(failed),
        }
    }

    /// The entry has its stored hash, and the tree its stored roots.
    fn hash(&mut self, index: u64, digest: EntryDigest) -> Result<(), OpenError> {
        self.unchecked.push(index);
        let mut full: Vec<Tile> = Vec::new();
        self.tree.append(NodeHash(digest.0), |tile| full.push(tile));
        for tile in &full {
            let missing = OpenError::Tile {
                level: tile.id.level,
                number: tile.id.number,
            };
            let stored: Option<Vec<u8>> = one(
                self.conn,
                "SELECT hashes FROM tile WHERE id = ?1",
                tile.id.row(),
            )?;
            let stored = stored
                .as_deref()
                .and_then(tile_hashes)
                .ok_or(missing.clone())?;
            let different = tile.hashes.iter().zip(&stored).position(|(a, b)| a != b);
            match (different, tile.id.level) {
                (None, _) => {}
                (Some(at), 0) => {
                    let index = self.unchecked.get(at).copied().unwrap_or(index);
                    return Err(OpenError::Changed { index });
                }
                (Some(_), _) => return Err(missing),
            }
        }
        if !full.is_empty() {
            self.unchecked.clear();
        }
        self.notes.compare(&self.tree)
    }

    /// A segment that is full has its index rows.
    fn segment(&mut self) -> Result<(), OpenError> {
        let size = self.tree.size();
        if size.checked_rem(SEGMENT) != Some(0) {
            return Ok(());
        }
        let segment = size.checked_div(SEGMENT).unwrap_or(0).saturating_sub(1);
        for (id, expected) in self.recent.rows(segment, &[]) {
            let stored: Option<Vec<u8>> =
                one(self.conn, "SELECT keys FROM lookup WHERE id = ?1", id)?;
            if stored != Some(expected) {
                return Err(OpenError::Index { segment });
            }
        }
        self.recent.clear();
        Ok(())
    }

    /// Each erasure has its row, or what it destroyed would seem to be missing.
    fn erasure(&mut self, entry: &Entry<'_>) -> Result<(), OpenError> {
        let index = entry.place().index;
        if !matches!(entry.body(), Body::Erasure(_)) {
            return Ok(());
        }
        if self.erasures.get(self.erasures_met) != Some(&index) {
            return Err(OpenError::Erasures { index });
        }
        self.erasures_met = self.erasures_met.saturating_add(1);
        Ok(())
    }

    fn remember(&mut self, entry: &Entry<'_>, digest: EntryDigest) {
        let place = entry.place();
        let found = FoundEntry {
            index: place.index,
            digest,
            at: place.at,
        };
        self.last = Some(found);
        match &entry.payload().body {
            Body::Base(base) => {
                self.epoch_key = epoch_key(base);
                self.base = Some((found, base.clone()));
                self.renewal = None;
                self.close = None;
            }
            Body::Renewal(renewal) => self.renewal = Some((found, renewal.clone())),
            Body::Close(_) => self.close = Some(found),
            Body::Intent(intent) => {
                let open = OpenIntent {
                    entry: found,
                    call: intent.call,
                    tenant: place.tenant.as_ref().map(|t| t.tenant),
                    run: place.run.as_ref().map(|r| r.run),
                    intent: intent.clone(),
                };
                self.open.insert(intent.call, open);
            }
            Body::Decision(decision) => {
                self.open.remove(&decision.call);
            }
            Body::Enrol(_)
            | Body::Approval(_)
            | Body::Run(_)
            | Body::Change(_)
            | Body::Event(_)
            | Body::Adopt(_)
            | Body::Gap(_)
            | Body::Erasure(_)
            | Body::Hold(_)
            | Body::Stop(_) => {}
        }
    }

    fn finish(
        self,
        erased: Erased,
        pending: impl FnOnce(u64) -> Result<PendingRows, OpenError>,
    ) -> Result<Scan, OpenError> {
        if let Some(index) = self.erasures.get(self.erasures_met) {
            return Err(OpenError::Erasures { index: *index });
        }
        let head = self.tree.head();
        if head.size < self.head.size {
            return Err(OpenError::MissingEntry { index: head.size });
        }
        if head.root != self.head.root {
            return Err(OpenError::Root {
                size: head.size,
                computed: head.root,
                stored: self.head.root,
            });
        }
        if let Some(note) = self.notes.heads.get(self.notes.next) {
            return Err(OpenError::Shorter {
                found: head.size,
                stored: note.size,
            });
        }
        let mut open_intents: Vec<OpenIntent> = self.open.into_values().collect();
        open_intents.sort_by_key(|i| i.entry.index);
        let open_runs = self.sequence.runs();
        let mut open_runs: Vec<OpenRun> = open_runs
            .map(|(run, r)| OpenRun {
                run: *run,
                tenant: r.tenant,
                count: r.count,
            })
            .collect();
        open_runs.sort_by_key(|r| r.run);
        let (pending_openings, pending_renewals) = pending(head.size)?;
        let checkpoint = self.notes.heads.last().copied();
        let durable = Durable {
            tenants: self
                .sequence
                .tenant_heads()
                .map(|h| (h.tenant, h.seq))
                .collect(),
            tree: self.tree,
            last: self.last,
            base: self.base.as_ref().map(|(found, _)| found.digest),
            recent: self.recent,
            erased,
            signer: None,
            noted: checkpoint,
        };
        let found = Found {
            created: false,
            wal_recovered: false,
            head,
            last: self.last,
            base: self.base,
            renewal: self.renewal,
            close: self.close,
            open_intents,
            open_runs,
            pending_openings,
            pending_renewals,
            checkpoint,
        };
        Ok(Scan {
            sequence: self.sequence,
            durable,
            found,
        })
    }
}

/// Heads of the stored checkpoints, ascending; each signed by this gateway.
struct Notes {
    heads: Vec<Head>,
    /// The next to compare.
    next: usize,
    /// Entries below this index are under a checkpoint.
    trusted: u64,
}

impl Notes {
    fn read(conn: &Connection, identity: PublicKey) -> Result<Self, OpenError> {
        let gateway = identity.gateway();
        let mut statement = conn
            .prepare("SELECT size, note FROM note ORDER BY size")
            .map_err(Fault::from)?;
        let mut rows = statement.query([]).map_err(Fault::from)?;
        let mut heads = Vec::new();
        while let Some(row) = rows.next().map_err(Fault::from)? {
            let size = unsql(row.get(0).map_err(Fault::from)?)?;
            let note: String = row.get(1).map_err(Fault::from)?;
            let malformed = |source| OpenError::Checkpoint { size, source };
            let note = Checkpoint::parse(note.as_bytes(), &gateway).map_err(malformed)?;
            let signature = note
                .signature(&origin(&gateway), &identity, "identity")
                .map_err(malformed)?;
            if note.head().size != size
                || !Signer(identity).signed(note.text().as_bytes(), signature)
            {
                return Err(OpenError::CheckpointSignature { size });
            }
            heads.push(note.head());
        }
        let trusted = heads.last().map_or(0, |h: &Head| h.size);
        Ok(Self {
            heads,
            next: 0,
            trusted,
        })
    }

    fn compare(&mut self, tree: &Tree) -> Result<(), OpenError> {
        match self.heads.get(self.next) {
            Some(stored) if stored.size == tree.size() => {
                let computed = tree.head().root;
                if computed != stored.root {
                    return Err(OpenError::Root {
                        size: stored.size,
                        computed,
                        stored: stored.root,
                    });
                }
                self.next = self.next.saturating_add(1);
                Ok(())
            }
            Some(_) | None => Ok(()),
        }
    }
}

fn stored_head(conn: &Connection) -> Result<Head, OpenError> {
    let row = conn
        .query_row("SELECT size, root FROM head WHERE id = 1", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()
        .map_err(Fault::from)?;
    Ok(match row {
        None => Head {
            size: 0,
            root: empty_root(),
        },
        Some((size, root)) => Head {
            size: unsql(size)?,
            root: NodeHash(root),
        },
    })
}

type PendingRows = (Vec<PendingOpening>, Vec<PendingRenewal>);

/// Rows that only this gateway's storage key can have made, so nobody can explain a counter with rows of his own.
///
/// A row also says over how long a log it was made. Whoever keeps every row as it passes and puts the
/// log back could otherwise put all rows beside the shorter log, and so explain each later step of the counter.
fn read_pending(conn: &Connection, side: &Side, size: u64) -> Result<PendingRows, OpenError> {
    let mut statement = conn
        .prepare("SELECT id, kind, sealed FROM pending ORDER BY id")
        .map_err(Fault::from)?;
    let mut rows = statement.query([]).map_err(Fault::from)?;
    let (mut openings, mut renewals) = (Vec::new(), Vec::new());
    while let Some(row) = rows.next().map_err(Fault::from)? {
        let id: i64 = row.get(0).map_err(Fault::from)?;
        let kind: i64 = row.get(1).map_err(Fault::from)?;
        let sealed: Vec<u8> = row.get(2).map_err(Fault::from)?;
        let changed = |source| OpenError::Pending { id, source };
        let plain = side.open(Purpose::Pending, &sealed).map_err(changed)?;
        let (row, over) = parse_pending(&plain).map_err(|e| changed(e.into()))?;
        if over > size {
            continue;
        }
        match row {
            PendingRow::Opening(opening) if kind == PendingOpening::KIND => openings.push(opening),
            PendingRow::Renewal(renewal) if kind == PendingRenewal::KIND => renewals.push(renewal),
            PendingRow::Opening(_) | PendingRow::Renewal(_) => {
                return Err(changed(
                    CborError::OutOfRange {
                        at: 0,
                        what: "kind of row",
                    }
                    .into(),
                ));
            }
        }
    }
    Ok((openings, renewals))
}

enum PendingRow {
    Opening(PendingOpening),
    Renewal(PendingRenewal),
}

/// A row, and the size of the log over which it was made.
fn parse_pending(bytes: &[u8]) -> Result<(PendingRow, u64), CborError> {
    let mut r = Reader::new(bytes);
    let row = r.tuple(4, |r| {
        let at = r.position();
        let row = match r.text()? {
            "opening" => PendingRow::Opening(PendingOpening {
                counter: r.uint()?,
                epoch_key: KeyId::read(r)?,
            }),
            "renewal" => PendingRow::Renewal(PendingRenewal {
                counter: r.uint()?,
                number: r.uint()?,
            }),
            _ => {
                return Err(CborError::OutOfRange {
                    at,
                    what: "kind of row",
                });
            }
        };
        Ok((row, r.uint()?))
    })?;
    r.finish()?;
    Ok(row)
}

fn epoch_key(base: &Base) -> Option<PublicKey> {
    Binding::from_bytes(&base.binding.0)
        .ok()
        .map(|b| b.epoch_key)
}

/// A key of ours whose signatures are verified. What we sign passes the strictest rule.
struct Signer(PublicKey);

impl Signer {
    fn signed(&self, message: &[u8], signature: Signature) -> bool {
        VerifyingKey::from_bytes(&self.0.0)
            .and_then(|key| {
                key.verify_strict(message, &ed25519_dalek::Signature::from_bytes(&signature.0))
            })
            .is_ok()
    }
}

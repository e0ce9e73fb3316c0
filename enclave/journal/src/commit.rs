//! The flush: signed entries become durable, together with everything that belongs to them.
//!
//! In: signed entries, in order. Out: a committed transaction, then the callers' callbacks.
//! One transaction has the entries, their disclosures, the tiles and index rows that they
//! fill, and the new head. Memory follows the disk: tree, tenants and index change only
//! after the commit.
//!
//! An idle journal flushes at once. Under load the committer waits until everything that has arrived is signed, and for
//! a moment until half of the open calls have brought something, so that one flush carries it all.

use crate::append::{Appended, Awaited, ENOUGH, Failed, Signed, sequence};
use crate::erase::{SubjectName, destroy, wrap_rows, wrap_some};
use crate::error::{Fault, StoreError};
use crate::journal::{Durable, EpochSigner, Health, Shared, locked};
use crate::lookup::{EntryKeys, Key, SEGMENT, call_of};
use crate::side::{PREFIX, Purpose};
use crate::store::{Ballast, Watch, sql};
use crate::tree::{Tile, Tree};
use countersign_record::checkpoint::{epoch_name, note_text, origin, signature_line};
use countersign_record::digest::{ArtifactDigest, NodeHash, Signature};
use countersign_record::entry::{Body, Payload};
use countersign_record::merkle::Head;
use ed25519_dalek::{Signer as _, VerifyingKey};
use rusqlite::{Connection, Statement, params};
use std::sync::PoisonError;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

/// Most entries of one flush.
const MAX_BATCH: usize = 1024;
/// A flush of so many entries says that more are on their way: the next one gathers them.
const BUSY: usize = 4;
/// How long the entries of a busy log are gathered at most.
const GATHERING: Duration = Duration::from_millis(1);
/// Milliseconds between checkpoints while entries arrive, and how long an idle journal waits before one.
const CHECKPOINT_EVERY: u64 = 1000;

/// Something for the writer besides entries.
pub(crate) enum Command {
    /// Make a checkpoint.
    Checkpoint(Keep, SyncSender<Result<String, StoreError>>),
    /// Put a witness's line under a checkpoint.
    Cosigned(Cosigned, SyncSender<Result<(), StoreError>>),
    /// Keep an outside clock's token over a checkpoint.
    Stamped(Stamp, SyncSender<Result<(), StoreError>>),
    /// Store a row that precedes an entry.
    Pending {
        kind: i64,
        sealed: Vec<u8>,
        reply: SyncSender<Result<(), StoreError>>,
    },
    /// Store an artifact.
    Artifact {
        digest: ArtifactDigest,
        kind: String,
        bytes: Vec<u8>,
        reply: SyncSender<Result<(), StoreError>>,
    },
    /// Keep a subject's secret, if there is none under that name.
    Subject {
        name: SubjectName,
        sealed: Vec<u8>,
        reply: SyncSender<Result<(), StoreError>>,
    },
    /// Destroy a subject's secret.
    Forget {
        name: SubjectName,
        reply: SyncSender<Result<(), StoreError>>,
    },
    /// Wrap data keys of a few rows anew.
    WrapSome {
        after: i64,
        reply: SyncSender<Result<Option<i64>, StoreError>>,
    },
    /// Wrap data keys of the rows anew that belong to no entry.
    WrapRows(SyncSender<Result<(), StoreError>>),
    /// Try to write again after a fault.
    Resume(SyncSender<Result<(), StoreError>>),
    /// Break something.
    #[cfg(test)]
    Sql(&'static str, SyncSender<Result<(), StoreError>>),
}

impl Command {
    /// Answers a command that will not be carried out.
    pub(crate) fn refuse(self, fault: Fault) {
        let error = StoreError::Store(fault);
        // Whoever asked may have gone away.
        match self {
            Self::Checkpoint(_, reply) => drop(reply.send(Err(error))),
            Self::WrapSome { reply, .. } => drop(reply.send(Err(error))),
            Self::Pending { reply, .. }
            | Self::Artifact { reply, .. }
            | Self::Cosigned(_, reply)
            | Self::Stamped(_, reply)
            | Self::Subject { reply, .. }
            | Self::Forget { reply, .. }
            | Self::WrapRows(reply)
            | Self::Resume(reply) => {
                drop(reply.send(Err(error)));
            }
            #[cfg(test)]
            Self::Sql(_, reply) => drop(reply.send(Err(error))),
        }
    }
}

/// How long a checkpoint stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// For good.
    Always,
    /// Until the next one; with a witness's line, until [`COSIGNED_KEPT`] newer ones have one.
    UntilNext,
}

/// A witness's line, and the checkpoint that it belongs under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cosigned {
    /// Size of the checkpoint.
    pub size: u64,
    /// The checkpoint as it was submitted.
    pub note: String,
    /// The line, whose signature holds.
    pub line: String,
    /// How long it stays.
    pub keep: Keep,
}

/// An outside clock's token, and the checkpoint that it is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// Size of the checkpoint.
    pub size: u64,
    /// The checkpoint as it was when it was shown.
    pub note: String,
    /// Whose clock.
    pub authority: String,
    /// The token as it arrived, which holds.
    pub token: Vec<u8>,
}

/// Checkpoints with lines of witnesses that stay although nothing asks for it: so many witnesses may be behind one another.
const COSIGNED_KEPT: i64 = 16;

/// Longest checkpoint that another line is put under, in bytes. A reader takes twice as much.
const MAX_COSIGNED_BYTES: usize = countersign_record::checkpoint::MAX_CHECKPOINT_BYTES / 2;

/// Column `kept`: until the next, for good, or until enough newer ones have lines of witnesses.
const UNTIL_NEXT: i64 = 0;
const FOR_GOOD: i64 = 1;
const WHILE_NEWEST: i64 = 2;

/// The files as the writer holds them.
pub(crate) struct Files {
    pub(crate) conn: Connection,
    pub(crate) watch: Watch,
    pub(crate) ballast: Ballast,
}

/// The thread that flushes, until the journal stops.
pub(crate) fn run_committer(shared: &Shared, files: &Files) {
    match Statements::prepare(&files.conn) {
        Ok(statements) => Committer {
            shared,
            files,
            statements,
            noted: None,
            flushed: 0,
        }
        .run(),
        Err(error) => {
            fail(shared, Vec::new(), error.into());
            drain(shared);
        }
    }
}

struct Statements<'c> {
    begin: Statement<'c>,
    commit: Statement<'c>,
    entry: Statement<'c>,
    side: Statement<'c>,
    wrap: Statement<'c>,
    tile: Statement<'c>,
    lookup: Statement<'c>,
    head: Statement<'c>,
}

impl<'c> Statements<'c> {
    fn prepare(conn: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            begin: conn.prepare("BEGIN IMMEDIATE")?,
            commit: conn.prepare("COMMIT")?,
            entry: conn.prepare("INSERT INTO entry(idx, opened, bytes) VALUES (?1, ?2, ?3)")?,
            side: conn.prepare("INSERT INTO side(idx, sealed) VALUES (?1, ?2)")?,
            wrap: conn.prepare("INSERT INTO wrap(idx, wrapped) VALUES (?1, ?2)")?,
            tile: conn.prepare("INSERT INTO tile(id, hashes) VALUES (?1, ?2)")?,
            lookup: conn.prepare("INSERT INTO lookup(id, keys) VALUES (?1, ?2)")?,
            head: conn.prepare("INSERT OR REPLACE INTO head(id, size, root) VALUES (1, ?1, ?2)")?,
        })
    }
}

enum Work {
    Flush(Vec<Signed>),
    Obey(Command),
    Sequence,
    Idle,
    Stop,
}

struct Committer<'c> {
    shared: &'c Shared,
    files: &'c Files,
    statements: Statements<'c>,
    /// Milliseconds since boot of the newest entry when the newest checkpoint was made.
    noted: Option<u64>,
    /// Entries of the last flush.
    flushed: usize,
}

impl Committer<'_> {
    fn run(mut self) {
        loop {
            match self.next_work() {
                Work::Flush(batch) => self.flush(batch),
                Work::Obey(command) => self.obey(command),
                Work::Sequence => sequence(self.shared),
                Work::Idle => self.note_if_behind(),
                Work::Stop => return self.note_if_behind(),
            }
        }
    }

    fn next_work(&self) -> Work {
        let mut queue = locked(&self.shared.queue);
        let mut gathered = false;
        loop {
            if let Some(command) = queue.commands.pop_front() {
                return Work::Obey(command);
            }
            let settled = queue.drafts.is_empty() && !queue.sequencing;
            let some = !queue.signed.is_empty() && settled;
            let worth = self.worth_a_flush(queue.reserved);
            let many = queue.signed.len() >= worth;
            if (some && (many || gathered)) || queue.signed.len() >= ENOUGH {
                let count = batch_length(&queue.signed);
                let rest = queue.signed.split_off(count);
                let batch = std::mem::replace(&mut queue.signed, rest);
                return Work::Flush(batch);
            }
            if queue.is_left() {
                return Work::Sequence;
            }
            if queue.is_over() {
                return Work::Stop;
            }
            // What waits to be signed is signed by a thread that is at it, and wakes this one.
            let (wait, count) = if some {
                (GATHERING, worth)
            } else {
                (Duration::from_millis(CHECKPOINT_EVERY), 1)
            };
            queue.awaited = Awaited::Signed(count);
            let (woken, timeout) = self
                .shared
                .to_commit
                .wait_timeout(queue, wait)
                .unwrap_or_else(PoisonError::into_inner);
            queue = woken;
            queue.awaited = Awaited::Nothing;
            gathered = some;
            if timeout.timed_out()
                && queue.signed.is_empty()
                && queue.commands.is_empty()
                && !queue.is_left()
                && !queue.is_over()
            {
                return Work::Idle;
            }
        }
    }

    /// How many entries are flushed without waiting for more. A log that is not busy waits for none: calls may be open for
    /// long, and say nothing of what is to come.
    fn worth_a_flush(&self, open: usize) -> usize {
        if self.flushed < BUSY { 1 } else { open / 2 }
    }

    fn flush(&mut self, batch: Vec<Signed>) {
        self.flushed = batch.len();
        let mut tree = locked(&self.shared.durable).tree.clone();
        let keys: Vec<EntryKeys> = batch.iter().map(keys_of).collect();
        // ORDER: known as erased before the rows go, so that nobody takes them for missing.
        let mut added = 0usize;
        for signed in &batch {
            if let Body::Erasure(erasure) = &signed.payload.body {
                locked(&self.shared.durable).erased.add(erasure);
                added = added.saturating_add(1);
            }
        }
        match self.write(&batch, &keys, &mut tree) {
            Ok(()) => self.release(batch, keys, tree),
            Err(fault) => {
                rollback(&self.files.conn);
                let mut durable = locked(&self.shared.durable);
                (0..added).for_each(|_| durable.erased.take_back());
                drop(durable);
                // A full disk, or any write that failed, may be helped by the room that was set aside.
                if fault.passes() {
                    self.files.ballast.release();
                }
                fail(self.shared, batch, fault);
            }
        }
    }

    fn write(
        &mut self,
        batch: &[Signed],
        keys: &[EntryKeys],
        tree: &mut Tree,
    ) -> Result<(), Fault> {
        let Statements {
            begin,
            commit,
            entry,
            side,
            wrap,
            tile,
            lookup,
            head,
        } = &mut self.statements;
        begin.execute([])?;
        let mut tiles: Vec<Tile> = Vec::new();
        for signed in batch {
            let index = sql(signed.payload.place.index)?;
            entry.execute(params![
                index,
                sql(len(signed.disclosures.len()))?,
                signed.bytes
            ])?;
            if let Some(sealed) = &signed.sealed {
                let (wrapped, value) = sealed.split_at_checked(PREFIX).ok_or(Fault::Malformed)?;
                // The storage key may have advanced while the entry waited; nothing is written under an earlier one.
                let anew = self.shared.side.wrap_anew(Purpose::Disclosures, wrapped);
                let anew = anew.map_err(|_| Fault::Malformed)?;
                wrap.execute(params![index, anew.as_deref().unwrap_or(wrapped)])?;
                side.execute(params![index, value])?;
            }
            tree.append(NodeHash(signed.digest.0), |t| tiles.push(t));
            self.files.spend_pending(&signed.payload.body)?;
            if let Body::Erasure(erasure) = &signed.payload.body {
                destroy(&self.files.conn, signed.payload.place.index, erasure)?;
            }
        }
        for full in &tiles {
            tile.execute(params![full.id.row(), full.bytes()])?;
        }
        if let Some(segment) = filled_segment(tree.size()) {
            let rows = locked(&self.shared.durable).recent.rows(segment, keys);
            for (id, row) in rows {
                lookup.execute(params![id, row])?;
            }
        }
        let now = tree.head();
        head.execute(params![sql(now.size)?, now.root.0])?;
        commit.execute([])?;
        self.files.watch.look()
    }

    /// The batch is durable: memory follows, then the callers are told.
    fn release(&mut self, batch: Vec<Signed>, keys: Vec<EntryKeys>, tree: Tree) {
        let settled = batch.iter().filter(|s| s.role.settles()).count();
        let closes = batch
            .iter()
            .any(|s| matches!(s.payload.body, Body::Close(_)));
        let newest = batch.last().map(|s| s.payload.place.since_boot);
        locked(&self.shared.durable).follow(&batch, keys, tree);
        self.recover(settled);
        if closes {
            // A close is the last of its epoch; its checkpoint stays, and the keys go.
            drop(self.checkpoint(Keep::Always));
            locked(&self.shared.durable).signer = None;
            locked(&self.shared.sequencing).signer = None;
        }
        for signed in batch {
            let Signed {
                payload,
                bytes,
                digest,
                disclosures,
                done,
                ..
            } = signed;
            let Payload { place, body, .. } = *payload;
            done(Ok(Appended {
                index: place.index,
                digest,
                at: place.at,
                bytes,
                body,
                disclosures,
            }));
        }
        let due = match (newest, self.noted) {
            (Some(newest), Some(noted)) => {
                newest.saturating_sub(noted) >= CHECKPOINT_EVERY || newest < noted
            }
            (Some(_), None) => true,
            (None, _) => false,
        };
        if due && !closes {
            self.noted = newest;
            self.note_if_behind();
        }
    }

    /// Settlements free their room; a disk that takes them again, and has room to set aside, takes new calls again.
    fn recover(&self, settled: usize) {
        let mut queue = locked(&self.shared.queue);
        queue.reserved = queue.reserved.saturating_sub(settled);
        let refusing = matches!(queue.health, Health::Refusing(_));
        drop(queue);
        if refusing && self.files.ballast.fill().is_ok() {
            locked(&self.shared.queue).health = Health::Open;
        }
    }

    fn obey(&mut self, command: Command) {
        // Whoever asked may have gone away.
        match command {
            Command::Checkpoint(keep, reply) => drop(reply.send(self.checkpoint(keep))),
            Command::Cosigned(cosigned, reply) => drop(reply.send(self.cosigned(&cosigned))),
            Command::Stamped(stamp, reply) => drop(reply.send(self.stamped(&stamp))),
            Command::Pending {
                kind,
                sealed,
                reply,
            } => {
                let stored = self.transact(|c| {
                    c.execute(
                        "INSERT INTO pending(kind, sealed) VALUES (?1, ?2)",
                        params![kind, sealed],
                    )
                });
                drop(reply.send(stored));
            }
            Command::Artifact {
                digest,
                kind,
                bytes,
                reply,
            } => {
                let stored = self.transact(|c| {
                    c.execute(
                        "INSERT OR IGNORE INTO artifact(digest, kind, bytes) VALUES (?1, ?2, ?3)",
                        params![digest.0, kind, bytes],
                    )
                });
                drop(reply.send(stored));
            }
            Command::Subject {
                name,
                sealed,
                reply,
            } => {
                let stored = self.transact(|c| {
                    c.execute(
                        "INSERT OR IGNORE INTO subject(name, sealed) VALUES (?1, ?2)",
                        params![name, sealed],
                    )
                });
                drop(reply.send(stored));
            }
            Command::Forget { name, reply } => {
                let gone = self
                    .transact(|c| c.execute("DELETE FROM subject WHERE name = ?1", params![name]));
                drop(reply.send(gone));
            }
            Command::WrapSome { after, reply } => {
                let side = &self.shared.side;
                drop(reply.send(wrap_some(&self.files.conn, side, after)));
            }
            Command::WrapRows(reply) => {
                drop(reply.send(wrap_rows(&self.files.conn, &self.shared.side)));
            }
            Command::Resume(reply) => drop(reply.send(self.resume())),
            #[cfg(test)]
            Command::Sql(text, reply) => {
                drop(
                    reply.send(
                        self.files
                            .conn
                            .execute_batch(text)
                            .map_err(|e| StoreError::Store(e.into())),
                    ),
                );
            }
        }
    }

    /// One row in a transaction of its own, durable on return.
    fn transact(
        &self,
        write: impl FnOnce(&Connection) -> rusqlite::Result<usize>,
    ) -> Result<(), StoreError> {
        if let Health::Stopped(fault) = locked(&self.shared.queue).health {
            return Err(fault.into());
        }
        write(&self.files.conn).map_err(Fault::from)?;
        Ok(self.files.watch.look()?)
    }

    fn resume(&mut self) -> Result<(), StoreError> {
        let head = locked(&self.shared.durable).tree.head();
        let size = sql(head.size)?;
        self.transact(|c| {
            c.execute(
                "INSERT OR REPLACE INTO head(id, size, root) VALUES (1, ?1, ?2)",
                params![size, head.root.0],
            )
        })?;
        self.files.ballast.fill().map_err(|_| Fault::DiskFull)?;
        let mut queue = locked(&self.shared.queue);
        if let Health::Refusing(_) = queue.health {
            queue.health = Health::Open;
        }
        Ok(())
    }

    fn note_if_behind(&self) {
        let durable = locked(&self.shared.durable);
        let behind = durable
            .noted
            .is_none_or(|head| head.size < durable.tree.size());
        let can = durable.signer.is_some() && durable.tree.size() > 0;
        drop(durable);
        if behind && can {
            // The next flush or checkpoint reports a fault; entries lose nothing by this one.
            drop(self.checkpoint(Keep::UntilNext));
        }
    }

    // ORDER: a head is signed only once it is durable, so that no fault makes us sign two logs.
    fn checkpoint(&self, keep: Keep) -> Result<String, StoreError> {
        let durable = locked(&self.shared.durable);
        let signer = durable.signer.clone().ok_or(StoreError::NoEpoch)?;
        let head = durable.tree.head();
        drop(durable);
        let note = sign_note(self.shared, &signer, &head)?;
        let size = sql(head.size)?;
        self.transact(|c| {
            let tx = c.unchecked_transaction()?;
            tx.execute("DELETE FROM note WHERE kept = ?1", [UNTIL_NEXT])?;
            let kept = match keep {
                Keep::Always => FOR_GOOD,
                Keep::UntilNext => UNTIL_NEXT,
            };
            // What stands there already says the same, and may have lines of witnesses.
            tx.execute(
                "INSERT INTO note(size, kept, note) VALUES (?1, ?2, ?3)
                 ON CONFLICT(size) DO UPDATE SET kept =
                 CASE WHEN kept = 1 OR excluded.kept = 1 THEN 1 ELSE max(kept, excluded.kept) END",
                params![size, kept, note],
            )?;
            tx.commit().map(|()| 1)
        })?;
        let note = stored_note(&self.files.conn, size)?.unwrap_or(note);
        let mut durable = locked(&self.shared.durable);
        durable.noted = Some(head);
        Ok(note)
    }

    /// Puts a witness's line under a checkpoint; each witness has one there.
    fn cosigned(&self, cosigned: &Cosigned) -> Result<(), StoreError> {
        let Cosigned {
            size,
            note,
            line,
            keep,
        } = cosigned;
        let size = sql(*size)?;
        let stored = stored_note(&self.files.conn, size)?;
        let mut note = stored.unwrap_or_else(|| note.clone());
        let name = line.rsplit_once(' ').map_or("", |(name, _)| name);
        let there = note
            .lines()
            .any(|l| l.rsplit_once(' ').is_some_and(|(n, _)| n == name));
        if !there && note.len().saturating_add(line.len()) <= MAX_COSIGNED_BYTES {
            note.push_str(line);
        }
        let kept = match keep {
            Keep::Always => FOR_GOOD,
            Keep::UntilNext => WHILE_NEWEST,
        };
        self.transact(|c| {
            let tx = c.unchecked_transaction()?;
            tx.execute(
                "INSERT INTO note(size, kept, note) VALUES (?1, ?2, ?3)
                 ON CONFLICT(size) DO UPDATE SET note = excluded.note, kept =
                 CASE WHEN kept = 1 OR excluded.kept = 1 THEN 1 ELSE max(kept, excluded.kept) END",
                params![size, kept, note],
            )?;
            tx.execute(
                "DELETE FROM note WHERE kept = ?1 AND size NOT IN
                 (SELECT size FROM note WHERE kept = ?1 ORDER BY size DESC LIMIT ?2)",
                params![WHILE_NEWEST, COSIGNED_KEPT],
            )?;
            tx.commit().map(|()| 1)
        })
    }

    /// Keeps a token, and its checkpoint for good. The first of an authority over a checkpoint stays: a later one bounds no better.
    fn stamped(&self, stamp: &Stamp) -> Result<(), StoreError> {
        let Stamp {
            size,
            note,
            authority,
            token,
        } = stamp;
        // An extra takes no room of what settlements live off on a full disk.
        if let Health::Refusing(fault) = locked(&self.shared.queue).health {
            return Err(fault.into());
        }
        let size = sql(*size)?;
        self.transact(|c| {
            let tx = c.unchecked_transaction()?;
            // What stands there already says the same, and may have lines of witnesses.
            tx.execute(
                "INSERT INTO note(size, kept, note) VALUES (?1, ?2, ?3)
                 ON CONFLICT(size) DO UPDATE SET kept = excluded.kept",
                params![size, FOR_GOOD, note],
            )?;
            tx.execute(
                "INSERT OR IGNORE INTO stamp(size, authority, token) VALUES (?1, ?2, ?3)",
                params![size, authority, token],
            )?;
            tx.commit().map(|()| 1)
        })
    }
}

fn stored_note(conn: &Connection, size: i64) -> Result<Option<String>, StoreError> {
    Ok(crate::store::one(
        conn,
        "SELECT note FROM note WHERE size = ?1",
        size,
    )?)
}

impl Files {
    /// An entry that was announced takes the announcement's place.
    fn spend_pending(&self, body: &Body) -> Result<(), Fault> {
        let sql = match body {
            Body::Base(_) => "DELETE FROM pending",
            Body::Renewal(_) | Body::Close(_) => "DELETE FROM pending WHERE kind = 2",
            Body::Enrol(_)
            | Body::Intent(_)
            | Body::Decision(_)
            | Body::Approval(_)
            | Body::Run(_)
            | Body::Change(_)
            | Body::Event(_)
            | Body::Adopt(_)
            | Body::Gap(_)
            | Body::Erasure(_)
            | Body::Hold(_)
            | Body::Stop(_) => return Ok(()),
        };
        self.conn.execute(sql, [])?;
        Ok(())
    }
}

fn sign_note(shared: &Shared, signer: &EpochSigner, head: &Head) -> Result<String, StoreError> {
    let text = note_text(&shared.gateway, head);
    let identity = (signer.identity)(text.as_bytes());
    // A note that our identity did not sign would keep the log from opening again.
    VerifyingKey::from_bytes(&shared.identity.0)
        .and_then(|key| {
            key.verify_strict(
                text.as_bytes(),
                &ed25519_dalek::Signature::from_bytes(&identity.0),
            )
        })
        .map_err(|_| StoreError::IdentitySignature)?;
    let epoch = Signature(signer.epoch.sign(text.as_bytes()).to_bytes());
    let identity = signature_line(&origin(&shared.gateway), &shared.identity, &identity);
    let epoch = signature_line(&epoch_name(&shared.gateway), &signer.public, &epoch);
    Ok(format!("{text}\n{identity}{epoch}"))
}

impl Durable {
    fn follow(&mut self, batch: &[Signed], keys: Vec<EntryKeys>, tree: Tree) {
        self.tree = tree;
        for signed in batch {
            let place = &signed.payload.place;
            if let Some(tenant) = &place.tenant {
                self.tenants.insert(tenant.tenant, tenant.seq);
            }
            if let Body::Base(_) = signed.payload.body {
                self.base = Some(signed.digest);
            }
            self.last = Some(crate::open::FoundEntry {
                index: place.index,
                digest: signed.digest,
                at: place.at,
            });
        }
        keys.into_iter().for_each(|k| self.recent.push(k));
        if filled_segment(self.tree.size()).is_some() {
            self.recent.clear();
        }
    }
}

/// How many signed entries one flush takes: it never crosses the end of a segment.
fn batch_length(signed: &[Signed]) -> usize {
    let first = signed.first().map_or(0, |s| s.payload.place.index);
    let left = SEGMENT.saturating_sub(first.checked_rem(SEGMENT).unwrap_or(0));
    signed
        .len()
        .min(MAX_BATCH)
        .min(usize::try_from(left).unwrap_or(MAX_BATCH))
}

/// The segment that a log of this size has just filled.
fn filled_segment(size: u64) -> Option<u64> {
    let number = size.checked_div(SEGMENT)?;
    (size > 0 && number.checked_mul(SEGMENT)? == size).then(|| number.saturating_sub(1))
}

fn keys_of(signed: &Signed) -> EntryKeys {
    EntryKeys {
        index: signed.payload.place.index,
        digest: Key::of_digest(&signed.digest),
        call: call_of(&signed.payload.body).as_ref().map(Key::of_call),
    }
}

fn rollback(conn: &Connection) {
    if !conn.is_autocommit() {
        // If even this fails, the next BEGIN does and reports it.
        let _ = conn.execute_batch("ROLLBACK");
    }
}

/// Hands a failed batch, and all that was signed on top of it, back to whoever gives out places.
fn fail(shared: &Shared, mut entries: Vec<Signed>, fault: Fault) {
    let mut queue = locked(&shared.queue);
    entries.append(&mut queue.signed);
    queue.health = match queue.health {
        Health::Stopped(fault) => Health::Stopped(fault),
        Health::Open | Health::Refusing(_) if fault.passes() => Health::Refusing(fault),
        Health::Open | Health::Refusing(_) => Health::Stopped(fault),
    };
    queue.failed = Some(Failed { entries, fault });
    drop(queue);
    sequence(shared);
}

/// Keeps answering when there is no way to write.
fn drain(shared: &Shared) {
    let mut queue = locked(&shared.queue);
    while !queue.is_over() {
        if let Some(command) = queue.commands.pop_front() {
            command.refuse(Fault::Stopped);
            continue;
        }
        if !queue.signed.is_empty() {
            let entries = std::mem::take(&mut queue.signed);
            let fault = Fault::Stopped;
            queue.failed = Some(Failed { entries, fault });
        }
        if queue.is_left() {
            drop(queue);
            sequence(shared);
            queue = locked(&shared.queue);
            continue;
        }
        queue.awaited = Awaited::Signed(1);
        queue = shared
            .to_commit
            .wait(queue)
            .unwrap_or_else(PoisonError::into_inner);
    }
}

fn len(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

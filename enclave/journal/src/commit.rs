//! The flush: signed entries become durable, together with everything that belongs to them.
//!
//! In: signed entries, in order. Out: a committed transaction, then the callers' callbacks.
//! One transaction has the entries, their disclosures, the tiles and index rows that they
//! fill, and the new head. Memory follows the disk: tree, tenants and index change only
//! after the commit.
//!
//! One at a time commits, whoever holds [`Files`]. Under load that is the journal's thread, which waits until everything that
//! has arrived is signed, and for a moment until half of the open calls have brought something, so that one flush carries
//! it all. While that thread waits and the disk is quick, a caller whose entry is alone commits it: to wake a thread and to
//! be woken by it takes as long as the flush.

use crate::append::{Appended, Awaited, ENOUGH, Failed, Queue, Signed, sequence};
use crate::command::{Command, Keep};
use crate::erase::destroy;
use crate::error::Fault;
use crate::journal::{Alone, Durable, Health, Shared, locked};
use crate::lookup::{EntryKeys, Key, SEGMENT, call_of};
use crate::side::{PREFIX, Purpose};
use crate::store::{Ballast, Watch, sql};
use crate::tree::{Tile, Tree};
use countersign_record::digest::NodeHash;
use countersign_record::entry::{Body, Payload};
use rusqlite::{Connection, params};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::PoisonError;
use std::time::{Duration, Instant};

/// Most entries of one flush.
const MAX_BATCH: usize = 1024;
/// A flush of so many entries says that more are on their way: the next one gathers them.
const BUSY: usize = 4;
/// How long the entries of a busy log are gathered at most.
const GATHERING: Duration = Duration::from_millis(1);
/// Milliseconds between checkpoints while entries arrive, and how long an idle journal waits before one.
const CHECKPOINT_EVERY: u64 = 1000;
/// A flush that took no longer says that a caller may wait for the next one without harm to what else its thread has to do.
const QUICK: Duration = Duration::from_millis(1);

/// The files as whoever commits holds them.
pub(crate) struct Files {
    pub(crate) conn: Connection,
    pub(crate) watch: Watch,
    pub(crate) ballast: Ballast,
    /// Milliseconds since boot of the newest entry that was flushed since the start.
    pub(crate) newest: Option<u64>,
    /// The same, when a checkpoint was last due.
    pub(crate) noted: Option<u64>,
}

/// The thread that commits, until the journal stops. Then the database is closed.
pub(crate) fn run_committer(shared: &Shared) {
    loop {
        let work = next_work(shared);
        let last = matches!(work, Work::Stop);
        // A callback that panics stops the journal; whoever waits for it is still told so.
        if catch_unwind(AssertUnwindSafe(|| carry_out(shared, work))).is_err() {
            give_up(&mut locked(&shared.queue));
        }
        if last {
            drop(locked(&shared.files).take());
            return;
        }
    }
}

fn carry_out(shared: &Shared, work: Work) {
    match work {
        Work::Flush(batch) => commit(shared, batch),
        Work::Obey(command) => obey(shared, command),
        Work::Sequence => sequence(shared),
        Work::Note | Work::Stop => note_if_behind(shared),
    }
}

/// A panic may have left a batch between disk and memory: nothing more is taken, and what was signed on top of it is
/// taken back.
fn give_up(queue: &mut Queue) {
    let fault = Fault::Stopped;
    queue.health = Health::Stopped(fault);
    let mut entries = queue.failed.take().map_or_else(Vec::new, |f| f.entries);
    entries.append(&mut queue.signed);
    queue.failed = Some(Failed { entries, fault });
}

enum Work {
    Flush(Vec<Signed>),
    Obey(Command),
    Sequence,
    Note,
    Stop,
}

fn next_work(shared: &Shared) -> Work {
    let mut queue = locked(&shared.queue);
    let mut gathered = false;
    loop {
        if let Some(work) = queue.work(gathered) {
            return work;
        }
        // What waits to be signed is signed by a thread that is at it, and wakes this one.
        let some = queue.has_settled();
        let (wait, count) = if some {
            (GATHERING, queue.worth_a_flush())
        } else {
            (Duration::from_millis(CHECKPOINT_EVERY), 1)
        };
        queue.awaited = Awaited::Signed(count);
        let (woken, timeout) = shared
            .to_commit
            .wait_timeout(queue, wait)
            .unwrap_or_else(PoisonError::into_inner);
        queue = woken;
        queue.awaited = Awaited::Nothing;
        gathered = some;
        if timeout.timed_out() && queue.is_idle() {
            return Work::Note;
        }
    }
}

impl Queue {
    /// What there is to do for the journal's thread.
    fn work(&mut self, gathered: bool) -> Option<Work> {
        if self.helped {
            return None;
        }
        if let Some(command) = self.commands.pop_front() {
            return Some(Work::Obey(command));
        }
        if std::mem::take(&mut self.behind) {
            return Some(Work::Note);
        }
        let many = self.signed.len() >= self.worth_a_flush();
        if (self.has_settled() && (many || gathered)) || self.signed.len() >= ENOUGH {
            return Some(Work::Flush(self.take_batch()));
        }
        if self.is_left() {
            return Some(Work::Sequence);
        }
        self.is_over().then_some(Work::Stop)
    }

    /// Whether entries wait for their flush, and nobody is about to sign more.
    fn has_settled(&self) -> bool {
        !self.signed.is_empty() && self.drafts.is_empty() && !self.sequencing
    }

    fn is_idle(&self) -> bool {
        let nothing = self.signed.is_empty() && self.commands.is_empty() && !self.behind;
        nothing && !self.helped && !self.is_left() && !self.is_over()
    }

    /// How many entries are flushed without waiting for more. A log that is not busy waits for none: calls may be open for
    /// long, and say nothing of what is to come.
    fn worth_a_flush(&self) -> usize {
        if self.flushed < BUSY {
            1
        } else {
            (self.reserved / 2).max(1)
        }
    }

    fn take_batch(&mut self) -> Vec<Signed> {
        let count = batch_length(&self.signed);
        let rest = self.signed.split_off(count);
        self.flushed = count;
        std::mem::replace(&mut self.signed, rest)
    }

    /// What whoever has just signed it is to commit in the thread's stead: it is alone, the disk is quick, and the thread
    /// waits. Asked when a turn ends.
    pub(crate) fn take_alone(&mut self) -> Option<Vec<Signed>> {
        let waits = matches!(self.awaited, Awaited::Signed(_)) && !self.helped;
        let few = |count| count < BUSY;
        let alone = self.has_settled() && few(self.signed.len()) && few(self.flushed);
        let nothing_else = self.commands.is_empty() && self.failed.is_none() && !self.stopping;
        let quick = self.quick && self.health == Health::Open;
        (waits && alone && nothing_else && quick).then(|| {
            self.helped = true;
            self.take_batch()
        })
    }
}

/// Commits in the thread's stead.
pub(crate) fn help(shared: &Shared, batch: Vec<Signed>) {
    let _helping = Helping { shared };
    commit(shared, batch);
}

/// A caller commits; when it has, the thread sees to what has come meanwhile.
struct Helping<'s> {
    shared: &'s Shared,
}

impl Drop for Helping<'_> {
    fn drop(&mut self) {
        let mut queue = locked(&self.shared.queue);
        queue.helped = false;
        if std::thread::panicking() {
            give_up(&mut queue);
        }
        let idle = queue.is_idle();
        if !idle {
            queue.awaited = Awaited::Nothing;
        }
        drop(queue);
        if !idle {
            self.shared.to_commit.notify_one();
        }
    }
}

fn commit(shared: &Shared, batch: Vec<Signed>) {
    match locked(&shared.files).as_mut() {
        Some(files) => Committer { shared, files }.flush(batch),
        None => fail(shared, batch, Fault::Stopped),
    }
}

fn obey(shared: &Shared, command: Command) {
    match locked(&shared.files).as_mut() {
        Some(files) => Committer { shared, files }.obey(command),
        None => command.refuse(Fault::Stopped),
    }
}

fn note_if_behind(shared: &Shared) {
    if let Some(files) = locked(&shared.files).as_mut() {
        files.noted = files.newest;
        Committer { shared, files }.note_if_behind();
    }
}

/// Whoever commits, at it.
pub(crate) struct Committer<'c> {
    pub(crate) shared: &'c Shared,
    pub(crate) files: &'c mut Files,
}

impl Committer<'_> {
    fn flush(&mut self, batch: Vec<Signed>) {
        #[expect(
            clippy::disallowed_methods,
            reason = "how long a flush takes says who commits the next one, and nothing that is recorded"
        )]
        let began = Instant::now();
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
            Ok(()) => self.release(batch, (keys, tree), began.elapsed()),
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

    fn write(&self, batch: &[Signed], keys: &[EntryKeys], tree: &mut Tree) -> Result<(), Fault> {
        let conn = &self.files.conn;
        let mut entry =
            conn.prepare_cached("INSERT INTO entry(idx, opened, bytes) VALUES (?1, ?2, ?3)")?;
        let mut side = conn.prepare_cached("INSERT INTO side(idx, sealed) VALUES (?1, ?2)")?;
        let mut wrap = conn.prepare_cached("INSERT INTO wrap(idx, wrapped) VALUES (?1, ?2)")?;
        conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
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
                destroy(conn, signed.payload.place.index, erasure)?;
            }
        }
        let mut tile = conn.prepare_cached("INSERT INTO tile(id, hashes) VALUES (?1, ?2)")?;
        for full in &tiles {
            tile.execute(params![full.id.row(), full.bytes()])?;
        }
        if let Some(segment) = filled_segment(tree.size()) {
            let rows = locked(&self.shared.durable).recent.rows(segment, keys);
            let mut lookup = conn.prepare_cached("INSERT INTO lookup(id, keys) VALUES (?1, ?2)")?;
            for (id, row) in rows {
                lookup.execute(params![id, row])?;
            }
        }
        let now = tree.head();
        conn.prepare_cached("INSERT OR REPLACE INTO head(id, size, root) VALUES (1, ?1, ?2)")?
            .execute(params![sql(now.size)?, now.root.0])?;
        conn.prepare_cached("COMMIT")?.execute([])?;
        self.files.watch.look()
    }

    /// The batch is durable: memory follows, then the callers are told.
    fn release(
        &mut self,
        batch: Vec<Signed>,
        (keys, tree): (Vec<EntryKeys>, Tree),
        took: Duration,
    ) {
        let settled = batch.iter().filter(|s| s.role.settles()).count();
        let closes = batch
            .iter()
            .any(|s| matches!(s.payload.body, Body::Close(_)));
        let newest = batch.last().map(|s| s.payload.place.since_boot);
        locked(&self.shared.durable).follow(&batch, keys, tree);
        self.files.newest = newest.or(self.files.newest);
        let due = self.files.is_due() && !closes;
        self.recover(settled, took, due);
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
    }

    /// Settlements free their room; a disk that takes them again, and has room to set aside, takes new calls again.
    fn recover(&self, settled: usize, took: Duration, due: bool) {
        let mut queue = locked(&self.shared.queue);
        queue.reserved = queue.reserved.saturating_sub(settled);
        queue.quick = self.shared.alone == Alone::ByCaller && took <= QUICK;
        queue.behind |= due;
        let refusing = matches!(queue.health, Health::Refusing(_));
        drop(queue);
        if refusing && self.files.ballast.fill().is_ok() {
            locked(&self.shared.queue).health = Health::Open;
        }
    }
}

impl Files {
    /// Whether it is time for a checkpoint.
    fn is_due(&self) -> bool {
        match (self.newest, self.noted) {
            (Some(newest), Some(noted)) => {
                newest.saturating_sub(noted) >= CHECKPOINT_EVERY || newest < noted
            }
            (Some(_), None) => true,
            (None, _) => false,
        }
    }

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

fn len(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

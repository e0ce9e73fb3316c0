//! From a draft to a signed entry: the queue, and the part of giving out places.
//!
//! In: drafts from any thread. Out: signed entries for the committer, in order. Disclosures
//! are compared with their commitments and encrypted before the queue. Places are given out,
//! and entries signed, by one thread at a time: whoever adds a draft takes that part if it is
//! free, so that nobody has to be woken for it. When a flush fails, the committer hands back what
//! was signed on top of it; every place is taken back in reverse order before anything else is signed.

use crate::command::Command;
use crate::commit::help;
use crate::error::{AppendError, Fault, Refusal};
use crate::journal::{EpochSigner, Health, Shared, locked};
use crate::sequence::{Moment, Owner, Sequence, Undo, claimed_head};
use crate::side::opens;
use countersign_record::commitment::Disclosure;
use countersign_record::digest::{EntryDigest, RunId, Signature, TenantId, UnixMillis};
use countersign_record::entry::{Body, MAX_ENTRY_BYTES, Payload, Place};
use countersign_record::merkle::entry_digest;
use ed25519_dalek::Signer as _;
use std::collections::VecDeque;
use std::sync::{Arc, MutexGuard};

/// Entries signed before the committer is offered them. Larger keeps it waiting, smaller makes it flush too often.
const CHUNK: usize = 32;
/// Chunks that a thread signs in a row; then the next one who adds a draft, or the committer, goes on. A caller has other work.
const CHUNKS_IN_A_ROW: usize = 8;
/// Entries that may be signed and not flushed. Bounds what a failed flush takes back.
const MAX_SIGNED: usize = 1024;
/// Signed entries that are flushed although more are being signed.
pub(crate) const ENOUGH: usize = 128;

/// What is to be recorded.
#[derive(Debug)]
pub struct Draft {
    /// The tenant it belongs to.
    pub tenant: Option<TenantId>,
    /// The run it belongs to; needs a tenant.
    pub run: Option<RunId>,
    /// What it says. An intent reserves room for its settlement; a decision that names an intent uses it.
    pub body: Body,
    /// Claimed time; an entry's time is never before that of the entry before.
    pub at: UnixMillis,
    /// Milliseconds since the process started.
    pub since_boot: u64,
    /// Opened commitments of the body, to be kept beside it.
    pub disclosures: Vec<Disclosure>,
}

/// An entry that is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// Its leaf index.
    pub index: u64,
    /// Its digest.
    pub digest: EntryDigest,
    /// Its time.
    pub at: UnixMillis,
    /// The signed entry.
    pub bytes: Vec<u8>,
    /// What it says, as it was drafted.
    pub body: Body,
    /// Opened commitments of the body, as they were drafted.
    pub disclosures: Vec<Disclosure>,
}

/// Called once, after the flush or when there will be none. Runs on the journal's thread or that of a caller, this one or
/// another, so it must not block, and whoever appends holds no lock that it takes.
pub type Done = Box<dyn FnOnce(Result<Appended, AppendError>) + Send>;

/// How an entry uses room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Not at all.
    Plain,
    /// Reserves room for a settlement.
    Intent,
    /// Uses reserved room.
    Settlement,
    /// A settlement whose first flush failed.
    Retried,
}

impl Role {
    fn of(body: &Body) -> Self {
        match body {
            Body::Intent(_) => Self::Intent,
            Body::Decision(d) if d.intent.is_some() => Self::Settlement,
            Body::Decision(_)
            | Body::Enrol(_)
            | Body::Base(_)
            | Body::Approval(_)
            | Body::Run(_)
            | Body::Change(_)
            | Body::Event(_)
            | Body::Renewal(_)
            | Body::Adopt(_)
            | Body::Gap(_)
            | Body::Erasure(_)
            | Body::Hold(_)
            | Body::Stop(_)
            | Body::Close(_) => Self::Plain,
        }
    }

    pub(crate) fn settles(self) -> bool {
        matches!(self, Self::Settlement | Self::Retried)
    }
}

/// What a draft wants to become.
enum Wanted {
    Entry(Box<Payload>),
    CloseRun(RunId),
}

/// A draft in the queue.
pub(crate) struct Pending {
    wanted: Wanted,
    owner: Owner,
    moment: Moment,
    pub(crate) role: Role,
    pub(crate) sealed: Option<Vec<u8>>,
    pub(crate) disclosures: Vec<Disclosure>,
    pub(crate) done: Done,
}

/// An entry that waits for its flush.
pub(crate) struct Signed {
    pub(crate) payload: Box<Payload>,
    pub(crate) bytes: Vec<u8>,
    pub(crate) digest: EntryDigest,
    pub(crate) role: Role,
    pub(crate) sealed: Option<Vec<u8>>,
    pub(crate) disclosures: Vec<Disclosure>,
    pub(crate) done: Done,
    owner: Owner,
    moment: Moment,
    undo: Undo,
}

/// Entries that a failed flush takes back.
pub(crate) struct Failed {
    pub(crate) entries: Vec<Signed>,
    pub(crate) fault: Fault,
}

/// What sits between callers and the committer.
#[derive(Default)]
pub(crate) struct Queue {
    pub(crate) drafts: VecDeque<Pending>,
    /// Drafts that are no settlements.
    pub(crate) waiting: usize,
    /// Calls that are open or about to be.
    pub(crate) reserved: usize,
    /// Somebody gives out places.
    pub(crate) sequencing: bool,
    pub(crate) signed: Vec<Signed>,
    /// What the committer waits for, if it waits.
    pub(crate) awaited: Awaited,
    /// A caller commits in its stead.
    pub(crate) helped: bool,
    /// Entries of the last flush.
    pub(crate) flushed: usize,
    /// The last flush took so little that a caller may wait for the next one.
    pub(crate) quick: bool,
    /// A checkpoint is due.
    pub(crate) behind: bool,
    pub(crate) failed: Option<Failed>,
    pub(crate) commands: VecDeque<Command>,
    pub(crate) health: Health,
    pub(crate) stopping: bool,
}

/// What the committer is woken for. To wake a thread that does not wait costs a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Awaited {
    /// Nothing: it is at work, and looks again before it waits.
    #[default]
    Nothing,
    /// So many signed entries, or anything else there is to do.
    Signed(usize),
}

impl Queue {
    /// Whether the committer is to be woken now. Asked when a turn ends.
    fn wakes_committer(&mut self) -> bool {
        let Awaited::Signed(count) = self.awaited else {
            return false;
        };
        let some = self.signed.len() >= count || self.is_left() || self.is_over();
        // Whoever commits in its stead wakes it when that is done.
        let wakes = some && !self.helped;
        if wakes {
            self.awaited = Awaited::Nothing;
        }
        wakes
    }

    /// Takes a draft, or says why not.
    fn push(
        &mut self,
        pending: Pending,
        limits: &crate::journal::Limits,
    ) -> Result<(), (Done, AppendError)> {
        let refused = match self.health {
            Health::Stopped(fault) => Some(AppendError::NotDurable(fault)),
            Health::Open | Health::Refusing(_) if self.stopping => {
                Some(AppendError::NotDurable(Fault::Stopped))
            }
            _ if pending.role.settles() => None,
            Health::Refusing(fault) => Some(AppendError::Refusing(fault)),
            Health::Open => {
                let full = self.waiting >= limits.waiting
                    || (pending.role == Role::Intent && self.reserved >= limits.open_calls);
                full.then_some(AppendError::Backpressure {
                    waiting: self.waiting,
                    open: self.reserved,
                })
            }
        };
        if let Some(error) = refused {
            return Err((pending.done, error));
        }
        if !pending.role.settles() {
            self.waiting = self.waiting.saturating_add(1);
        }
        if pending.role == Role::Intent {
            self.reserved = self.reserved.saturating_add(1);
        }
        self.drafts.push_back(pending);
        Ok(())
    }

    /// Whether there is something to sign or to take back, and nobody does it.
    pub(crate) fn is_left(&self) -> bool {
        !self.sequencing && (self.failed.is_some() || self.can_sign())
    }

    fn can_sign(&self) -> bool {
        !self.drafts.is_empty() && self.signed.len() < MAX_SIGNED
    }

    /// Whether everything has been flushed or refused, and nothing will come any more.
    pub(crate) fn is_over(&self) -> bool {
        let empty = self.drafts.is_empty() && self.signed.is_empty() && self.failed.is_none();
        self.stopping && empty && !self.sequencing
    }

    fn pop(&mut self) -> Option<Pending> {
        let pending = self.drafts.pop_front()?;
        if !pending.role.settles() {
            self.waiting = self.waiting.saturating_sub(1);
        }
        Some(pending)
    }
}

/// The sequences and the key; held while signing.
pub(crate) struct Sequencing {
    pub(crate) sequence: Sequence,
    pub(crate) signer: Option<Arc<EpochSigner>>,
}

/// Makes a draft ready for the queue, in the caller's thread.
pub(crate) fn prepare(
    shared: &Shared,
    draft: Draft,
    done: Done,
) -> Result<Pending, (Done, AppendError)> {
    let Draft {
        tenant,
        run,
        body,
        at,
        since_boot,
        disclosures,
    } = draft;
    let role = Role::of(&body);
    let nowhere = Place {
        index: 0,
        base: None,
        at,
        since_boot,
        tenant: None,
        run: None,
    };
    let payload = Box::new(Payload::new(nowhere, body));
    let sealed = match seal(shared, &payload, &disclosures) {
        Ok(sealed) => sealed,
        Err(error) => return Err((done, error)),
    };
    Ok(Pending {
        wanted: Wanted::Entry(payload),
        owner: Owner { tenant, run },
        moment: Moment { at, since_boot },
        role,
        sealed,
        disclosures,
        done,
    })
}

fn seal(
    shared: &Shared,
    payload: &Payload,
    disclosures: &[Disclosure],
) -> Result<Option<Vec<u8>>, AppendError> {
    if disclosures.is_empty() {
        return Ok(None);
    }
    opens(&payload.to_bytes(), disclosures).map_err(|number| AppendError::Disclosure { number })?;
    Ok(Some(shared.side.seal_disclosures(disclosures)?))
}

/// A draft that closes a run with whatever its summary then is.
pub(crate) fn closing(owner: Owner, run: RunId, moment: Moment, done: Done) -> Pending {
    Pending {
        wanted: Wanted::CloseRun(run),
        owner,
        moment,
        role: Role::Plain,
        sealed: None,
        disclosures: Vec::new(),
        done,
    }
}

/// Puts a draft into the queue, or tells its caller why not.
pub(crate) fn submit(shared: &Shared, pending: Pending) {
    let pushed = locked(&shared.queue).push(pending, &shared.limits);
    match pushed {
        Ok(()) => sequence(shared),
        Err((done, error)) => done(Err(error)),
    }
}

/// Gives out places and signs, unless somebody does: they look once more before they end.
pub(crate) fn sequence(shared: &Shared) {
    let Some(turn) = Turn::take(shared) else {
        return;
    };
    let mut chunk = Vec::new();
    for _ in 0..CHUNKS_IN_A_ROW {
        match turn.next_work(&mut chunk) {
            Some(Work::TakeBack(failed)) => take_back(shared, failed),
            Some(Work::Sign(health)) => {
                let (signed, refused) = sign_all(shared, &mut chunk, health);
                publish(shared, signed, refused);
            }
            Some(Work::Commit(batch)) => {
                // ORDER: the turn has ended, and another thread may be at its own.
                drop(turn);
                return help(shared, batch);
            }
            None => return,
        }
    }
    turn.end();
}

enum Work {
    TakeBack(Failed),
    Sign(Health),
    /// The turn has ended; this is the caller's to commit.
    Commit(Vec<Signed>),
}

/// The part of giving out places, which one thread has at a time.
struct Turn<'s> {
    shared: &'s Shared,
}

impl<'s> Turn<'s> {
    fn take(shared: &'s Shared) -> Option<Self> {
        let mut queue = locked(&shared.queue);
        if !queue.is_left() {
            return None;
        }
        queue.sequencing = true;
        Some(Self { shared })
    }

    /// What is to be done next. If there is nothing, the turn has ended, under the same lock: what is added later is seen
    /// by whoever adds it.
    fn next_work(&self, chunk: &mut Vec<Pending>) -> Option<Work> {
        let mut queue = locked(&self.shared.queue);
        if let Some(failed) = queue.failed.take() {
            return Some(Work::TakeBack(failed));
        }
        if queue.can_sign() {
            while chunk.len() < CHUNK {
                let Some(pending) = queue.pop() else { break };
                chunk.push(pending);
            }
            return Some(Work::Sign(queue.health));
        }
        queue.sequencing = false;
        if let Some(batch) = queue.take_alone() {
            return Some(Work::Commit(batch));
        }
        wake(self.shared, queue);
        None
    }

    /// Gives the part up although there may be more to do, which the committer sees to.
    fn end(&self) {
        let mut queue = locked(&self.shared.queue);
        queue.sequencing = false;
        wake(self.shared, queue);
    }
}

/// Wakes the committer if there is what it waits for.
fn wake(shared: &Shared, mut queue: MutexGuard<'_, Queue>) {
    let wakes = queue.wakes_committer();
    drop(queue);
    if wakes {
        shared.to_commit.notify_one();
    }
}

impl Drop for Turn<'_> {
    /// A panic may have left places given out for entries that nobody has: nothing more is taken.
    fn drop(&mut self) {
        if std::thread::panicking() {
            locked(&self.shared.queue).health = Health::Stopped(Fault::Stopped);
            self.end();
        }
    }
}

type Refused = (Done, Role, AppendError);

fn sign_all(
    shared: &Shared,
    chunk: &mut Vec<Pending>,
    health: Health,
) -> (Vec<Signed>, Vec<Refused>) {
    let mut sequencing = locked(&shared.sequencing);
    let mut signed = Vec::with_capacity(chunk.len());
    let mut refused = Vec::new();
    for pending in chunk.drain(..) {
        let refused_by = match health {
            Health::Stopped(fault) => Some(AppendError::NotDurable(fault)),
            Health::Refusing(fault) if !pending.role.settles() => {
                Some(AppendError::Refusing(fault))
            }
            Health::Refusing(_) | Health::Open => None,
        };
        if let Some(error) = refused_by {
            refused.push((pending.done, pending.role, error));
            continue;
        }
        match sign(shared, &mut sequencing, pending) {
            Ok(entry) => signed.push(entry),
            Err(r) => refused.push(r),
        }
    }
    (signed, refused)
}

fn sign(shared: &Shared, sequencing: &mut Sequencing, pending: Pending) -> Result<Signed, Refused> {
    let Pending {
        wanted,
        owner,
        moment,
        role,
        sealed,
        disclosures,
        done,
    } = pending;
    let refuse = |error: AppendError, done: Done| (done, role, error);
    let mut payload = match wanted {
        Wanted::Entry(payload) => payload,
        Wanted::CloseRun(run) => match sequencing.sequence.summary(run) {
            Ok(summary) => {
                let nowhere = Place {
                    index: 0,
                    base: None,
                    at: moment.at,
                    since_boot: moment.since_boot,
                    tenant: None,
                    run: None,
                };
                Box::new(Payload::new(nowhere, Body::Run(summary)))
            }
            Err(refusal) => return Err(refuse(refusal.into(), done)),
        },
    };
    match place_and_sign(shared, sequencing, &mut payload, Wish { owner, moment }) {
        Ok((bytes, digest, undo)) => Ok(Signed {
            payload,
            bytes,
            digest,
            role,
            sealed,
            disclosures,
            done,
            owner,
            moment,
            undo,
        }),
        Err(error) => Err(refuse(error, done)),
    }
}

struct Wish {
    owner: Owner,
    moment: Moment,
}

fn place_and_sign(
    shared: &Shared,
    sequencing: &mut Sequencing,
    payload: &mut Payload,
    wish: Wish,
) -> Result<(Vec<u8>, EntryDigest, Undo), AppendError> {
    let Sequencing { sequence, signer } = sequencing;
    let signer = signer.as_ref().ok_or(Refusal::NoEpoch)?;
    sequence.admit(wish.owner, &payload.body)?;
    if let Some(claimed) = claimed_head(&payload.body)? {
        let head = locked(&shared.durable).tree.head();
        let size = sequence.next_index();
        if head.size != size || claimed.size != size || claimed.root != head.root {
            return Err(Refusal::Head {
                claimed: claimed.size,
                size,
            }
            .into());
        }
    }
    payload.place = sequence.place(wish.owner, wish.moment)?;
    let unsigned = payload.unsigned(signer.kid);
    let signature = Signature(signer.epoch.sign(&unsigned.to_be_signed()).to_bytes());
    let bytes = unsigned.with_signature(signature);
    if bytes.len() > MAX_ENTRY_BYTES {
        return Err(AppendError::TooLarge {
            found: bytes.len(),
            limit: MAX_ENTRY_BYTES,
        });
    }
    let digest = entry_digest(&bytes);
    let undo = sequence.advance(&payload.place, &payload.body, digest)?;
    Ok((bytes, digest, undo))
}

/// Offers signed entries to the committer, unless what they build on has failed meanwhile.
fn publish(shared: &Shared, signed: Vec<Signed>, refused: Vec<Refused>) {
    let mut queue = locked(&shared.queue);
    for (_, role, _) in &refused {
        if *role == Role::Intent {
            queue.reserved = queue.reserved.saturating_sub(1);
        }
    }
    match queue.failed.as_mut() {
        Some(failed) => failed.entries.extend(signed),
        None => queue.signed.extend(signed),
    }
    if queue.signed.len() >= ENOUGH {
        wake(shared, queue);
    } else {
        drop(queue);
    }
    for (done, _, error) in refused {
        done(Err(error));
    }
}

/// Takes back places in reverse order. Settlements get a second try on the room reserved for them.
fn take_back(shared: &Shared, failed: Failed) {
    let Failed { entries, fault } = failed;
    let mut sequencing = locked(&shared.sequencing);
    let mut again = Vec::new();
    let mut lost = Vec::new();
    for entry in entries.into_iter().rev() {
        let Signed {
            payload,
            role,
            sealed,
            disclosures,
            done,
            owner,
            moment,
            undo,
            ..
        } = entry;
        sequencing.sequence.undo(undo);
        match role {
            Role::Settlement if fault.passes() => again.push(Pending {
                wanted: Wanted::Entry(payload),
                owner,
                moment,
                role: Role::Retried,
                sealed,
                disclosures,
                done,
            }),
            Role::Plain | Role::Intent | Role::Settlement | Role::Retried => {
                lost.push((done, role))
            }
        }
    }
    drop(sequencing);
    let mut queue = locked(&shared.queue);
    // `again` is newest first, so the oldest ends up in front.
    again
        .into_iter()
        .for_each(|pending| queue.drafts.push_front(pending));
    let intents = lost
        .iter()
        .filter(|(_, role)| *role == Role::Intent)
        .count();
    queue.reserved = queue.reserved.saturating_sub(intents);
    drop(queue);
    for (done, _) in lost.into_iter().rev() {
        done(Err(AppendError::NotDurable(fault)));
    }
}

impl Fault {
    /// Whether a second try can succeed.
    pub(crate) fn passes(self) -> bool {
        match self {
            Self::DiskFull | Self::ReadOnly | Self::Io { .. } | Self::Database { .. } => true,
            Self::Deleted | Self::Replaced | Self::Malformed | Self::Stopped => false,
        }
    }
}

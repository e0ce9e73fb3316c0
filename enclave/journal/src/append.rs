//! From a draft to a signed entry: the queue, and the thread that gives out places.
//!
//! In: drafts from any thread. Out: signed entries for the committer, in order. Disclosures
//! are compared with their commitments and encrypted in the caller's thread, so that the
//! writer only signs. When a flush fails, the committer hands back what was signed on top of
//! it; every place is taken back in reverse order before anything else is signed.

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
use std::sync::{Arc, PoisonError};

/// Entries signed before the committer is offered them. Larger keeps it waiting, smaller makes it flush too often.
const CHUNK: usize = 32;
/// Entries that may be signed and not flushed. Bounds what a failed flush takes back.
const MAX_SIGNED: usize = 1024;

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

/// Called once, after the flush or when there will be none. Runs on the journal's threads, so it must not block.
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

/// What sits between callers and the two threads.
#[derive(Default)]
pub(crate) struct Queue {
    pub(crate) drafts: VecDeque<Pending>,
    /// Drafts that are no settlements.
    pub(crate) waiting: usize,
    /// Calls that are open or about to be.
    pub(crate) reserved: usize,
    pub(crate) signing: bool,
    pub(crate) committing: bool,
    pub(crate) signed: Vec<Signed>,
    pub(crate) failed: Option<Failed>,
    pub(crate) commands: VecDeque<crate::commit::Command>,
    pub(crate) health: Health,
    pub(crate) stopping: bool,
    pub(crate) sequencer_gone: bool,
}

impl Queue {
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
        Ok(()) => shared.to_sign.notify_one(),
        Err((done, error)) => done(Err(error)),
    }
}

/// The thread that gives out places and signs, until the journal stops.
pub(crate) fn run_sequencer(shared: &Shared) {
    let mut chunk = Vec::with_capacity(CHUNK);
    loop {
        let Some(work) = next_work(shared, &mut chunk) else {
            return;
        };
        match work {
            Work::TakeBack(failed) => take_back(shared, failed),
            Work::Sign(health) => {
                let (signed, refused) = sign_all(shared, &mut chunk, health);
                publish(shared, signed, refused);
            }
        }
    }
}

enum Work {
    TakeBack(Failed),
    Sign(Health),
}

fn next_work(shared: &Shared, chunk: &mut Vec<Pending>) -> Option<Work> {
    let mut queue = locked(&shared.queue);
    loop {
        if let Some(failed) = queue.failed.take() {
            return Some(Work::TakeBack(failed));
        }
        if !queue.drafts.is_empty() && queue.signed.len() < MAX_SIGNED {
            while chunk.len() < CHUNK {
                let Some(pending) = queue.pop() else { break };
                chunk.push(pending);
            }
            queue.signing = true;
            return Some(Work::Sign(queue.health));
        }
        if queue.stopping && queue.drafts.is_empty() && queue.signed.is_empty() && !queue.committing
        {
            queue.sequencer_gone = true;
            drop(queue);
            shared.to_commit.notify_one();
            return None;
        }
        queue = shared
            .to_sign
            .wait(queue)
            .unwrap_or_else(PoisonError::into_inner);
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
        if let (Health::Refusing(fault) | Health::Stopped(fault), false) =
            (health, pending.role.settles())
        {
            refused.push((pending.done, pending.role, AppendError::Refusing(fault)));
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
    queue.signing = false;
    for (_, role, _) in &refused {
        if *role == Role::Intent {
            queue.reserved = queue.reserved.saturating_sub(1);
        }
    }
    match queue.failed.as_mut() {
        Some(failed) => failed.entries.extend(signed),
        None => queue.signed.extend(signed),
    }
    drop(queue);
    shared.to_commit.notify_one();
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

//! The part of the work that needs no order: parsing, hashing, signatures, disclosures.
//!
//! In: leaves with their disclosures, and the epoch keys seen so far. Out: [`Judged`] leaves in
//! the order in which they came. Entries of one job are verified as one batch, so equal keys
//! cost little; a failed batch names its bad members. What depends on order is in [`crate::checks`].

use crate::checks::Committed;
use countersign_record::body::{Action, Caller, TenantProof};
use countersign_record::cbor::{Cbor as _, CborError, Reader};
use countersign_record::commitment::{CallerProof, Disclosure, Field};
use countersign_record::cose::Sign1;
use countersign_record::digest::{Commitment, EntryDigest, KeyId, NodeHash, sha256};
use countersign_record::entry::{Body, Entry, EntryError, Payload};
use countersign_record::export::Artifact;
use countersign_record::merkle::leaf_hash;
use countersign_signatures::ed25519::{self, Batch, Signed};
use countersign_signatures::http::{SignedBase, verify_base};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError, mpsc};

/// Leaves of one job. Batches of one key gain little beyond this.
pub(crate) const JOB_LEAVES: usize = 256;

/// Content of one job, in bytes (4 MiB): bounds memory where disclosures are large.
pub(crate) const JOB_BYTES: usize = 4 * 1024 * 1024;

/// Keys of the newest epochs, by name, newest last. More than the newest is kept only so that an
/// entry signed by an older epoch's key is told from one signed by nobody's.
pub(crate) type Keyring = Arc<Vec<(KeyId, ed25519::PublicKey)>>;

/// Most keys of a ring.
pub(crate) const RING_KEYS: usize = 8;

/// A leaf as it stands in an export. Ranges are of its job's content.
#[derive(Debug)]
pub(crate) enum Leaf {
    /// A signed entry and the bytes of its disclosures.
    Entry {
        /// The entry.
        bytes: Range<usize>,
        /// The evidence that stands before it.
        evidence: Vec<Artifact>,
        /// An encoded array of disclosures, where there are any.
        disclosures: Option<Range<usize>>,
        /// A tenant's last number, where the entry covers it.
        proof: Option<TenantProof>,
    },
    /// An entry that is taken by its hash, and its disclosures, which are counted.
    Unread {
        /// The entry.
        bytes: Range<usize>,
        /// An encoded array of disclosures, where there are any.
        disclosures: Option<Range<usize>>,
    },
    /// The root of a full subtree of withheld entries; of one entry at level 0.
    Withheld {
        /// Level of the root above the leaves.
        level: u8,
        /// The root.
        hash: NodeHash,
    },
}

/// Leaves in order, to be judged together.
#[derive(Debug)]
pub(crate) struct Job {
    /// Number of the job, from 0.
    pub(crate) number: u64,
    /// Its leaves.
    pub(crate) leaves: Vec<Leaf>,
    /// The bytes of all of them, in one piece: so much less is asked for by one thread and given back by another.
    pub(crate) content: Vec<u8>,
    /// Keys of all epochs up to the last of the leaves.
    pub(crate) keys: Keyring,
}

/// A leaf after all that needs no order.
#[derive(Debug)]
pub(crate) struct Judged {
    /// The leaf's hash, or the root of a subtree of withheld leaves.
    pub(crate) leaf: NodeHash,
    /// What it is.
    pub(crate) outcome: Outcome,
    /// How many disclosures came with it, whatever they are worth.
    pub(crate) disclosed: u64,
}

impl Judged {
    /// The digest that other entries know this one by.
    pub(crate) fn digest(&self) -> EntryDigest {
        EntryDigest(self.leaf.0)
    }
}

/// What a leaf turned out to be.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Only the hash is known, of a full subtree of this level.
    Withheld(u8),
    /// It is an entry, of which only the hash was taken.
    Unread,
    /// It is no entry that this version knows; the signature is there if it is a signed statement at all.
    Malformed(EntryError, Option<SignatureState>),
    /// It is an entry.
    Entry(Box<Parsed>),
}

/// An entry, with the result of its signature.
#[derive(Debug)]
pub(crate) struct Parsed {
    /// What it says.
    pub(crate) payload: Payload,
    /// The key that is said to have signed.
    pub(crate) kid: KeyId,
    /// Whether it did.
    pub(crate) signature: SignatureState,
    /// The evidence that stands before it.
    pub(crate) evidence: Vec<Artifact>,
    /// What its disclosures open.
    pub(crate) opened: Opened,
    /// A tenant's last number, where it covers it.
    pub(crate) proof: Option<TenantProof>,
}

/// Result of an entry's signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SignatureState {
    /// It holds, by a key of an epoch of this export.
    Holds,
    /// It does not hold.
    Broken,
    /// No epoch of this export up to here has that key.
    UnknownKey,
}

/// What an entry's disclosures open.
#[derive(Debug, Default)]
pub(crate) struct Opened {
    /// How many opened a commitment of the entry.
    pub(crate) matched: u64,
    /// Those that did not.
    pub(crate) mismatched: Vec<String>,
    /// Values of field agent.
    pub(crate) agents: Vec<Vec<u8>>,
    /// The key that signed the request, and the digest of the content that it signed.
    pub(crate) proof: Option<(KeyId, Result<[u8; 32], String>)>,
    /// SHA-256 of the request as received.
    pub(crate) received: Option<[u8; 32]>,
    /// The signed approval statement.
    pub(crate) approval: Option<Vec<u8>>,
    /// The signed statement of an erasure or a hold.
    pub(crate) statement: Option<Vec<u8>>,
    /// Every commitment of the entry once, and whether it was opened.
    pub(crate) committed: Vec<Committed>,
}

/// Judges the leaves of a job; its content is left to be filled again.
fn judge(job: Job) -> Done {
    let Job {
        number,
        leaves,
        content,
        keys,
    } = job;
    let bytes_of = |range: Range<usize>| content.get(range).unwrap_or_default();
    let mut batch = Batch::new();
    // Where each signature of the batch belongs.
    let mut places = Vec::with_capacity(leaves.len());
    let mut judged = Vec::with_capacity(leaves.len());
    for leaf in leaves {
        let (bytes, evidence, disclosures, proof) = match leaf {
            Leaf::Withheld { level, hash } => {
                judged.push(Judged {
                    leaf: hash,
                    outcome: Outcome::Withheld(level),
                    disclosed: 0,
                });
                continue;
            }
            Leaf::Unread { bytes, disclosures } => {
                judged.push(Judged {
                    leaf: leaf_hash(bytes_of(bytes)),
                    outcome: Outcome::Unread,
                    disclosed: disclosures.map_or(0, |range| items(bytes_of(range))),
                });
                continue;
            }
            Leaf::Entry {
                bytes,
                evidence,
                disclosures,
                proof,
            } => (bytes_of(bytes), evidence, disclosures, proof),
        };
        // A signature is judged even where the entry cannot be, so that nothing hides behind a newer format.
        let signature = Sign1::parse(bytes).ok().map(|statement| {
            match keys.iter().find(|(kid, _)| *kid == statement.kid()) {
                None => SignatureState::UnknownKey,
                Some((_, key)) => {
                    let message = statement.to_be_signed();
                    batch.push(
                        key,
                        Signed {
                            message: &message,
                            signature: &statement.signature().0,
                        },
                    );
                    places.push(judged.len());
                    SignatureState::Holds
                }
            }
        });
        let disclosures = disclosures
            .map(bytes_of)
            .map_or_else(|| Ok(Vec::new()), Vec::<Disclosure>::from_bytes);
        let disclosed = disclosures
            .as_ref()
            .map_or(0, |d| u64::try_from(d.len()).unwrap_or(u64::MAX));
        let outcome = match Entry::parse(bytes) {
            Err(error) => Outcome::Malformed(error, signature),
            Ok(entry) => {
                let signature = signature.unwrap_or(SignatureState::Broken);
                let kid = entry.kid();
                let payload = entry.into_payload();
                let opened = open(&payload, disclosures);
                Outcome::Entry(Box::new(Parsed {
                    payload,
                    kid,
                    signature,
                    evidence,
                    opened,
                    proof,
                }))
            }
        };
        judged.push(Judged {
            leaf: leaf_hash(bytes),
            outcome,
            disclosed,
        });
    }
    // ORDER: `Holds` above is provisional until here.
    if let Err(bad) = batch.verify() {
        for position in bad.positions {
            let place = places.get(position).and_then(|p| judged.get_mut(*p));
            match place.map(|p| &mut p.outcome) {
                Some(Outcome::Entry(parsed)) => parsed.signature = SignatureState::Broken,
                Some(Outcome::Malformed(_, signature)) => *signature = Some(SignatureState::Broken),
                Some(Outcome::Withheld(_) | Outcome::Unread) | None => {}
            }
        }
    }
    let mut content = content;
    content.clear();
    Done {
        number,
        judged,
        content,
        by: None,
    }
}

/// How many items an encoded array says it has; none if it is no array.
fn items(bytes: &[u8]) -> u64 {
    Reader::new(bytes).array_head().unwrap_or(0)
}

fn open(payload: &Payload, disclosures: Result<Vec<Disclosure>, CborError>) -> Opened {
    let mut opened = Opened::default();
    for (field, commitment) in commitments(&payload.body) {
        let once = (field, commitment, false);
        if !opened.committed.contains(&once) {
            opened.committed.push(once);
        }
    }
    let disclosures = match disclosures {
        Ok(list) => list,
        Err(error) => {
            opened.mismatched.push(format!(
                "the disclosures of this entry are malformed: {error}"
            ));
            return opened;
        }
    };
    for disclosure in disclosures {
        let (field, commitment) = (disclosure.field, disclosure.commitment());
        let place = opened
            .committed
            .iter_mut()
            .find(|(f, c, _)| *f == field && *c == commitment);
        if let Some((_, _, is_open)) = place {
            *is_open = true;
        } else {
            opened.mismatched.push(format!(
                "the disclosed {} is not the one that the entry committed to",
                disclosure.field
            ));
            continue;
        }
        opened.matched = opened.matched.saturating_add(1);
        keep(&mut opened, disclosure);
    }
    opened
}

/// Keeps what later checks need; everything else is dropped here, so that memory stays small.
fn keep(opened: &mut Opened, disclosure: Disclosure) {
    let Disclosure {
        field,
        salt: _,
        value,
    } = disclosure;
    match field {
        Field::Agent => opened.agents.push(value.0),
        Field::Received => opened.received = Some(sha256(&value.0)),
        Field::ApprovalStatement => opened.approval = Some(value.0),
        Field::ErasureStatement | Field::HoldStatement | Field::StopStatement => {
            opened.statement = Some(value.0);
        }
        Field::CallerProof => match CallerProof::from_bytes(&value.0) {
            Err(error) => opened
                .mismatched
                .push(format!("the caller's proof is malformed: {error}")),
            Ok(proof) => opened.proof = Some((proof.key.id(), signed_content(&proof))),
        },
        Field::User
        | Field::Session
        | Field::Forwarded
        | Field::RawResult
        | Field::Released
        | Field::Transcript
        | Field::Facts
        | Field::Idempotency
        | Field::Preview
        | Field::EventDetail
        | Field::Tenant
        | Field::Claims
        | Field::PrincipalChain
        | Field::Egress => {}
    }
}

/// The digest of the content that a caller signed, if it did.
fn signed_content(proof: &CallerProof) -> Result<[u8; 32], String> {
    let key = ed25519::PublicKey::parse(&proof.key.0).map_err(|e| e.to_string())?;
    let signed = SignedBase {
        base: &proof.signature_base.0,
        signature: &proof.signature.0,
    };
    verify_base(signed, &key)
        .map(|call| *call.content_digest())
        .map_err(|e| e.to_string())
}

/// Every commitment of an entry, with the field it stands for.
pub(crate) fn commitments(body: &Body) -> Vec<(Field, Commitment)> {
    let mut out = Vec::with_capacity(16);
    let mut some = |field, value: Option<Commitment>| out.extend(value.map(|v| (field, v)));
    match body {
        Body::Intent(b) => {
            caller(&b.caller, &mut some);
            some(Field::Facts, Some(b.facts));
            some(Field::Received, Some(b.received));
            some(Field::Idempotency, b.idempotency);
            if let Ok(action) = Action::from_bytes(&b.action.0) {
                some(Field::Agent, Some(action.agent));
                some(Field::Forwarded, Some(action.forwarded));
                some(Field::Preview, Some(action.preview));
            }
        }
        Body::Decision(b) => {
            caller(&b.caller, &mut some);
            some(Field::Facts, b.facts);
            some(Field::Received, Some(b.received));
            some(Field::Forwarded, b.forwarded);
            some(Field::RawResult, b.raw_result);
            some(Field::Released, b.released);
            some(Field::Transcript, b.transcript);
            some(Field::Idempotency, b.idempotency);
            some(Field::Egress, b.egress);
            some(Field::Preview, b.preview);
        }
        Body::Approval(b) => some(Field::ApprovalStatement, Some(b.statement)),
        Body::Event(b) => some(Field::EventDetail, b.detail),
        Body::Erasure(b) => some(Field::ErasureStatement, Some(b.statement)),
        Body::Hold(b) => some(Field::HoldStatement, Some(b.statement)),
        Body::Stop(b) => {
            some(Field::Agent, b.agent);
            some(Field::StopStatement, Some(b.statement));
        }
        Body::Enrol(_)
        | Body::Base(_)
        | Body::Run(_)
        | Body::Change(_)
        | Body::Renewal(_)
        | Body::Adopt(_)
        | Body::Gap(_)
        | Body::Close(_) => {}
    }
    out
}

fn caller(caller: &Caller, some: &mut impl FnMut(Field, Option<Commitment>)) {
    let Caller {
        assurance: _,
        key: _,
        agent,
        user,
        session,
        proof,
        claims,
        principal_chain,
        subject: _,
    } = caller;
    some(Field::Agent, Some(*agent));
    some(Field::User, *user);
    some(Field::Session, *session);
    some(Field::CallerProof, *proof);
    some(Field::Claims, *claims);
    some(Field::PrincipalChain, *principal_chain);
}

/// A job that was judged.
#[derive(Debug)]
struct Done {
    /// Number of the job.
    number: u64,
    /// Its leaves.
    judged: Vec<Judged>,
    /// Its content, empty: for the next job.
    content: Vec<u8>,
    /// Which thread judged it, if one did.
    by: Option<usize>,
}

/// Leaves that were judged, and the thread that judged them, if one did.
pub(crate) type Batched = (Vec<Judged>, Option<usize>);

/// Hands out jobs to threads and takes results back in order.
///
/// What was judged goes back to the thread that made it, once it is of no more use: memory that one thread asks for and
/// another gives back makes the two wait for each other.
#[derive(Debug)]
pub(crate) struct Pool {
    jobs: mpsc::Sender<Job>,
    results: mpsc::Receiver<Done>,
    waiting: HashMap<u64, Done>,
    sent: u64,
    taken: u64,
    limit: u64,
    /// The way back to each thread.
    back: Vec<mpsc::Sender<Vec<Judged>>>,
    /// Room for the content of jobs to come.
    room: Vec<Vec<u8>>,
    /// Jobs for whoever takes results, where there is no thread.
    own: Option<Arc<Mutex<mpsc::Receiver<Job>>>>,
}

impl Pool {
    /// Starts up to `threads` threads in `scope`, as many as the system gives. They end when the pool is dropped.
    /// Without any, whoever takes results makes them.
    pub(crate) fn start<'scope>(
        scope: &'scope std::thread::Scope<'scope, '_>,
        threads: usize,
    ) -> Self {
        let (jobs, queue) = mpsc::channel::<Job>();
        let (answers, results) = mpsc::channel();
        let queue = Arc::new(Mutex::new(queue));
        let mut back = Vec::new();
        for by in 0..threads {
            let (queue, answers) = (Arc::clone(&queue), answers.clone());
            let (spent, used) = mpsc::channel::<Vec<Judged>>();
            let thread = std::thread::Builder::new().spawn_scoped(scope, move || {
                loop {
                    // The lock is held while waiting for a job, never while judging one.
                    let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(job) = job else { return };
                    used.try_iter().for_each(drop);
                    let done = Done {
                        by: Some(by),
                        ..judge(job)
                    };
                    if answers.send(done).is_err() {
                        return;
                    }
                }
            });
            // Fewer threads are slower, and no reason to give no report.
            if thread.is_err() {
                break;
            }
            back.push(spent);
        }
        let started = u64::try_from(back.len()).unwrap_or(u64::MAX);
        Self {
            jobs,
            results,
            waiting: HashMap::new(),
            sent: 0,
            taken: 0,
            limit: started.saturating_mul(2).saturating_add(1),
            own: back.is_empty().then_some(queue),
            back,
            room: Vec::new(),
        }
    }

    /// Adds a job. The queue is kept short by [`Self::take`]. Gives room for the content of the next one.
    pub(crate) fn send(&mut self, leaves: Vec<Leaf>, content: Vec<u8>, keys: Keyring) -> Vec<u8> {
        let job = Job {
            number: self.sent,
            leaves,
            content,
            keys,
        };
        // Threads live as long as the pool; if they did not, `take` would find nothing and say so.
        if self.jobs.send(job).is_ok() {
            self.sent = self.sent.saturating_add(1);
        }
        self.room.pop().unwrap_or_default()
    }

    /// Whether as many jobs are under way as memory is meant for.
    pub(crate) fn is_full(&self) -> bool {
        self.sent.saturating_sub(self.taken) >= self.limit
    }

    /// The next result in order; nothing if no job is under way.
    pub(crate) fn take(&mut self) -> Option<Batched> {
        if self.taken >= self.sent {
            return None;
        }
        loop {
            if let Some(done) = self.waiting.remove(&self.taken) {
                self.taken = self.taken.saturating_add(1);
                self.room.push(done.content);
                return Some((done.judged, done.by));
            }
            let done = match &self.own {
                Some(queue) => {
                    let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    job.map(judge).ok()?
                }
                None => self.results.recv().ok()?,
            };
            self.waiting.insert(done.number, done);
        }
    }

    /// Gives back what [`Self::take`] gave.
    pub(crate) fn give_back(&self, (judged, by): Batched) {
        // A thread that has ended leaves it to be dropped here.
        if let Some(thread) = by.and_then(|by| self.back.get(by)) {
            drop(thread.send(judged));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_jobs_for_each_thread_and_one_more_are_under_way_at_most() {
        for (threads, most) in [(0, 1), (1, 3), (2, 5)] {
            std::thread::scope(|scope| {
                let mut pool = Pool::start(scope, threads);
                for sent in 0..most {
                    assert!(!pool.is_full(), "{sent} of {most}");
                    pool.send(vec![], vec![], Keyring::default());
                }
                assert!(pool.is_full());
                assert!(pool.take().is_some());
                assert!(!pool.is_full());
            });
        }
    }
}

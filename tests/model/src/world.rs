//! What there is, at one moment.
//!
//! The operator forgets nothing: every log that ever stood on a disk stays in [`World::logs`], as
//! long as it became, and every announcement that was ever written in [`World::announced`]. An export
//! is any prefix of any log, because a genuine checkpoint over each was made at its time.

use crate::Bounds;
use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

/// A value of the counter.
pub type Counter = u8;

/// An epoch's key. Each start makes a new one.
pub type Key = u8;

/// What a log is, to whoever hashes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Head {
    /// How many entries.
    pub size: usize,
    /// Which.
    pub root: u64,
}

impl Head {
    /// The head of a log.
    #[must_use]
    pub fn of(log: &[Entry]) -> Self {
        // Its keys are constants, so that equal logs have equal heads in every run.
        let mut hasher = DefaultHasher::new();
        log.hash(&mut hasher);
        Self {
            size: log.len(),
            root: hasher.finish(),
        }
    }
}

/// An entry, signed with the key of its epoch.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Entry {
    /// The key.
    pub key: Key,
    /// What it says.
    pub body: Body,
}

/// What an entry says.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Body {
    /// An epoch opens.
    Base {
        /// What the step claims and what the TPM certified.
        step: Step,
        /// Up to where the log before explains the counter.
        explained: Counter,
        /// Announced steps that came to nothing, by the key of the epoch that would have used them or used them.
        abandoned: Vec<(Counter, Key)>,
    },
    /// Governance lets the gateway go on.
    Gap {
        /// Up to where the log explained the counter.
        explained: Counter,
        /// What the TPM showed.
        found: Counter,
    },
    /// Hardware vouches for the log so far, and calls are accepted for a while.
    Renewal(Step),
    /// Renewals that moved the counter and came to nothing, told by the running gateway.
    Failed(u8),
    /// The epoch ends in good order.
    Close(Step),
    /// A call, durable, acknowledged to its caller.
    Call {
        /// Which; none is served twice.
        id: u8,
        /// The counter value of the lease under which it was accepted.
        lease: Counter,
    },
}

/// A step of the counter, as an entry tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Step {
    /// The value that the gateway says it reached.
    pub claimed: Counter,
    /// The value that the TPM certified.
    pub certified: Counter,
    /// The log up to this entry.
    pub over: Head,
}

/// What is announced beside the log before the counter moves. Sealed, so that nobody else can write one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Announcement {
    /// Of an opening with this key, or of a renewal or close.
    pub opening: Option<Key>,
    /// The value to come.
    pub counter: Counter,
    /// How long the log was.
    pub size: usize,
}

/// A disk.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Disk {
    /// Which log.
    pub log: usize,
    /// How much of it.
    pub size: usize,
    /// What is announced beside it.
    pub announced: BTreeSet<Announcement>,
}

/// A gateway that runs, on the disk of the same number.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Process {
    /// Its key, in memory only.
    pub key: Key,
    /// Where it stands.
    pub phase: Phase,
    /// Up to where it explains the counter.
    pub counter: Counter,
    /// Steps that it tried since then.
    pub attempts: u8,
    /// The lease under which it accepts calls.
    pub lease: Option<Counter>,
}

/// Where a gateway stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Phase {
    /// It is about to open an epoch.
    Opening {
        /// What its base will say.
        abandoned: Vec<(Counter, Key)>,
        /// What governance signed, if the counter is not explained.
        recovered: Option<Counter>,
        /// Whether the counter has moved.
        moved: bool,
    },
    /// It serves.
    Serving,
    /// It renews, or closes.
    Stepping {
        /// Which.
        close: bool,
        /// The value to come.
        next: Counter,
        /// Whether the counter has moved.
        moved: bool,
    },
}

/// A witness.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Witness {
    /// What it cosigned, as prefixes of logs; the last is what it remembers.
    pub cosigned: Vec<Prefix>,
    /// What passed its comparison and is not yet cosigned: only a witness that is not atomic has such.
    pub compared: Vec<Prefix>,
}

/// The first entries of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Prefix {
    /// Which log.
    pub log: usize,
    /// How many.
    pub size: usize,
}

/// Everything.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    /// The TPM.
    pub counter: Counter,
    /// Every log that ever was.
    pub logs: Vec<Rc<Vec<Entry>>>,
    /// Every announcement that ever was.
    pub announced: BTreeSet<Announcement>,
    /// The first machine's disk, and one that the operator may fill.
    pub disks: [Option<Disk>; 2],
    /// The processes on them.
    pub processes: [Option<Process>; 2],
    /// An independent witness.
    pub witness: Witness,
    /// The next key.
    pub next_key: Key,
    /// Whether the operator did more than to crash processes and drop answers.
    pub meddled: bool,
    /// Whether a gateway was held.
    pub held: bool,
    /// What may still happen.
    pub left: Bounds,
}

impl World {
    /// A new gateway: an empty log, a counter at 0.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self {
            counter: 0,
            logs: vec![Rc::default()],
            announced: BTreeSet::new(),
            disks: [
                Some(Disk {
                    log: 0,
                    size: 0,
                    announced: BTreeSet::new(),
                }),
                None,
            ],
            processes: [None, None],
            witness: Witness::default(),
            next_key: 1,
            meddled: false,
            held: false,
            left: bounds,
        }
    }

    /// The entries of a prefix.
    #[must_use]
    pub fn entries(&self, prefix: Prefix) -> &[Entry] {
        &self.logs[prefix.log][..prefix.size]
    }

    /// Every export that the operator can hand over, each once: what two logs share counts as the first's.
    pub fn exports(&self) -> impl Iterator<Item = Prefix> + '_ {
        self.logs.iter().enumerate().flat_map(|(log, entries)| {
            let shared = self.logs[..log].iter().map(|other| {
                let same = other.iter().zip(entries.iter()).take_while(|(a, b)| a == b);
                same.count()
            });
            let from = shared.max().unwrap_or(0) + 1;
            (from..=entries.len()).map(move |size| Prefix { log, size })
        })
    }

    /// The log on a disk.
    #[must_use]
    pub fn log_on(&self, disk: &Disk) -> &[Entry] {
        &self.logs[disk.log][..disk.size]
    }
}

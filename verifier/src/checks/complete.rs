//! Whether anything is missing: leaf indexes, tenants' sequences, runs' chains, roots.
//!
//! In: leaves in order. Out: observations, and roots at the sizes that matter. A root at an
//! earlier size is computed from the leaves since the last one that hardware quoted, so memory
//! is bounded by one lease, not by the log.

use super::{At, Checks, count, that};
use crate::codes::Code;
use countersign_record::body::{RunClosed, TenantHead, tenants_root};
use countersign_record::digest::{EntryDigest, NodeHash, RunId, TenantId};
use countersign_record::entry::{Body, RunPlace, TenantPlace};
use countersign_record::export::Scope;
use countersign_record::merkle::Frontier;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

/// What is known of a tenant's sequence.
#[derive(Debug)]
struct Tenant {
    id: TenantId,
    /// The number that must come next.
    next: u64,
    /// The same, at the size that was quoted last.
    quoted: u64,
}

/// An open run.
#[derive(Debug)]
struct Run {
    next: u64,
    head: EntryDigest,
    count: u64,
    first: u64,
    last: u64,
}

/// The log as far as it was read.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// Index of the export's first leaf.
    first: u64,
    /// The index that must come next, as entries claim it.
    next: u64,
    frontier: Frontier,
    /// The tree at the last quoted size.
    quoted: Frontier,
    /// Leaves since then, with the tenant each belongs to.
    pending: VecDeque<(NodeHash, Option<usize>)>,
    /// Roots at sizes that something refers to.
    roots: BTreeMap<u64, NodeHash>,
    tenants: Vec<Tenant>,
    tenant_places: HashMap<TenantId, usize>,
    runs: HashMap<RunId, Run>,
    closed: HashSet<RunId>,
    /// Digest of the last leaf.
    pub(super) last: Option<EntryDigest>,
    /// The counter's last certified value.
    pub(super) counter: Option<u64>,
    /// Steps since then that entries of the log explain.
    pub(super) counter_steps: u64,
}

/// What the log was at a size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Past {
    pub(super) root: NodeHash,
    pub(super) tenants: NodeHash,
    pub(super) tenant_count: u64,
}

impl Log {
    pub(super) fn start(&mut self, first: u64) {
        self.first = first;
        self.next = first;
    }

    /// Index of the next leaf, by position.
    pub(super) fn position(&self) -> u64 {
        self.first.saturating_add(self.frontier.size())
    }

    /// Whether leaves before the export's first are not in it.
    pub(super) fn starts_late(&self) -> bool {
        self.first > 0
    }

    /// A leaf that says no index took the next one.
    pub(super) fn skip_index(&mut self) {
        self.next = self.next.saturating_add(1);
    }

    pub(super) fn append(&mut self, leaf: NodeHash, tenant: Option<usize>) {
        self.frontier.append(leaf, |_, _, _| ());
        self.pending.push_back((leaf, tenant));
    }

    pub(super) fn root(&self) -> NodeHash {
        self.frontier.root()
    }

    /// The root at a size, if it is the present one or was quoted.
    pub(super) fn root_at(&self, size: u64) -> Option<NodeHash> {
        if size == self.frontier.size() {
            Some(self.frontier.root())
        } else {
            self.roots.get(&size).copied()
        }
    }

    /// Moves what counts as quoted forward to `size`.
    pub(super) fn quote(&mut self, size: u64) -> Result<Past, String> {
        if size < self.quoted.size() {
            return Err(format!(
                "it covers {size} entries, fewer than the {} before it",
                self.quoted.size()
            ));
        }
        if size > self.frontier.size() {
            return Err(format!(
                "it covers {size} entries, of which {} stand before it",
                self.frontier.size()
            ));
        }
        while self.quoted.size() < size {
            let Some((leaf, tenant)) = self.pending.pop_front() else {
                break;
            };
            self.quoted.append(leaf, |_, _, _| ());
            if let Some(tenant) = tenant.and_then(|t| self.tenants.get_mut(t)) {
                tenant.quoted = tenant.quoted.saturating_add(1);
            }
        }
        let root = self.quoted.root();
        self.roots.insert(size, root);
        let heads: Vec<TenantHead> = self
            .tenants
            .iter()
            .filter_map(|t| {
                t.quoted
                    .checked_sub(1)
                    .map(|seq| TenantHead { tenant: t.id, seq })
            })
            .collect();
        Ok(Past {
            root,
            tenants: tenants_root(&heads),
            tenant_count: count(heads.len()),
        })
    }
}

impl Checks<'_> {
    /// The index that an entry claims.
    pub(super) fn leaf_index(&mut self, at: At, claimed: u64) {
        let expected = self.log.next;
        let result = match claimed.checked_sub(expected) {
            Some(0) => Ok(()),
            Some(1) => Err(format!(
                "entry {expected} is missing: entry {claimed} stands in its place"
            )),
            Some(_) => Err(format!(
                "entries {expected} to {} are missing: entry {claimed} stands in their place",
                claimed.saturating_sub(1)
            )),
            None => Err(format!(
                "entry {claimed} stands where entry {expected} belongs: it is doubled or out of order"
            )),
        };
        self.ledger.observe(Code::Leaves, Some(at.index), result);
        // One missing entry is one finding: what follows is counted from here.
        self.log.next = claimed.saturating_add(1).max(expected);
    }

    /// The number within the tenant; gives the tenant's place.
    pub(super) fn tenant_place(&mut self, at: At, place: &TenantPlace) -> Option<usize> {
        let known = self.log.tenant_places.get(&place.tenant).copied();
        let slot = match known {
            Some(slot) => slot,
            None => {
                if self.scope() == Scope::Tenant && !self.log.tenants.is_empty() {
                    let text = "the export is said to be of one tenant, and has entries of two";
                    self.ledger.fail(Code::Scope, Some(at.index), text);
                }
                let slot = self.log.tenants.len();
                // A tenant's first number is 0 in a log that is there from its beginning.
                let next = if self.log.starts_late() { place.seq } else { 0 };
                self.log.tenants.push(Tenant {
                    id: place.tenant,
                    next,
                    quoted: 0,
                });
                self.log.tenant_places.insert(place.tenant, slot);
                slot
            }
        };
        let tenant = self.log.tenants.get_mut(slot)?;
        let expected = tenant.next;
        tenant.next = place.seq.saturating_add(1);
        if self.scope() == Scope::Run {
            return Some(slot);
        }
        let text = || {
            format!(
                "tenant {} goes on with number {}, where {expected} is next",
                place.tenant, place.seq
            )
        };
        self.ledger.observe(
            Code::TenantSequences,
            Some(at.index),
            that(place.seq == expected, text),
        );
        Some(slot)
    }

    /// The place in the run's chain.
    pub(super) fn run_place(&mut self, at: At, place: &RunPlace, body: &Body) {
        let known = self.log.runs.get(&place.run);
        let fresh = self.log.starts_late() && known.is_none();
        let (next, head) = known.map_or((0, None), |r| (r.next, Some(r.head)));
        let result = that(!self.log.closed.contains(&place.run), || {
            format!("run {} is closed already", place.run)
        })
        .and_then(|()| {
            that(fresh || place.seq == next, || {
                format!(
                    "run {} goes on with number {}, where {next} is next",
                    place.run, place.seq
                )
            })
        })
        .and_then(|()| {
            that(fresh || place.previous == head, || {
                format!(
                    "run {}: it follows another entry than the one before",
                    place.run
                )
            })
        });
        self.ledger.observe(Code::RunChains, Some(at.index), result);
        if let Body::Run(closed) = body {
            self.run_closed(at, place, closed);
            self.log.runs.remove(&place.run);
            self.log.closed.insert(place.run);
            return;
        }
        let run = self.log.runs.entry(place.run).or_insert_with(|| {
            self.counts.runs = self.counts.runs.saturating_add(1);
            Run {
                next: 0,
                head: at.digest,
                count: 0,
                first: at.index,
                last: at.index,
            }
        });
        run.next = place.seq.saturating_add(1);
        run.head = at.digest;
        run.count = run.count.saturating_add(1);
        run.last = at.index;
    }

    fn run_closed(&mut self, at: At, place: &RunPlace, closed: &RunClosed) {
        let RunClosed {
            run,
            head,
            count,
            first,
            last,
        } = closed;
        let result = match self.log.runs.get(&place.run) {
            None => Err("it closes a run of which no entry is there".to_owned()),
            Some(known) => that(*run == place.run, || {
                "it closes another run than the one it stands in".to_owned()
            })
            .and_then(|()| {
                that(*count == known.count, || {
                    format!(
                        "the run has {} entries here, its close says {count}",
                        known.count
                    )
                })
            })
            .and_then(|()| {
                that(
                    (*head, *first, *last) == (known.head, known.first, known.last),
                    || {
                        "the run's first and last entries are not those that its close says"
                            .to_owned()
                    },
                )
            }),
        };
        self.ledger.observe(Code::RunCloses, Some(at.index), result);
    }

    /// What can be said at the end of the leaves.
    pub(super) fn complete_end(&mut self) {
        let Some(manifest) = self.manifest.clone() else {
            return;
        };
        if self.log.position() == manifest.first {
            // An export without entries shows nothing, and is never a success.
            self.ledger
                .unknown(Code::Entries, None, "the export has no entries");
            return;
        }
        let found = self.log.position();
        let text = || {
            format!(
                "the export is said to end before entry {}, and ends before entry {found}",
                manifest.end
            )
        };
        self.ledger
            .observe(Code::Leaves, None, that(manifest.end == found, text));
        if manifest.first > 0 {
            let text = format!(
                "the export starts at entry {}; nothing is known of the entries before",
                manifest.first
            );
            self.ledger.unknown(Code::Scope, None, text);
        }
        let withheld = self.counts.withheld;
        match manifest.scope {
            Scope::Whole => {
                let text = || {
                    format!(
                        "the export is said to be whole, and {withheld} entries are given by hash only"
                    )
                };
                self.ledger
                    .observe(Code::Scope, None, that(withheld == 0, text));
            }
            Scope::Tenant | Scope::Run => {
                self.ledger.held(Code::Scope);
                let text = format!(
                    "{withheld} entries of others are given by hash only; whether the newest entries of this {} are among them is not provable",
                    manifest.scope
                );
                self.ledger.note(Code::Scope, text);
            }
        }
        if self.items.covered != Some(found)
            && self.items.checkpoints > 0
            && !self.log.starts_late()
        {
            let text = format!(
                "no genuine checkpoint covers all {found} entries; the last covers {}",
                self.items.covered.unwrap_or(0)
            );
            self.ledger.fail(Code::Root, None, text);
        }
    }
}

//! Whether anything is missing: leaf indexes, tenants' sequences, runs' chains, roots.
//!
//! In: leaves in order. Out: observations, and roots at the sizes that matter. Which numbers may
//! be left out where entries are withheld is said in [`super::period`]. A root at an earlier size is computed from the leaves since the last one that hardware quoted, so memory
//! is bounded by one lease, not by the log.

use super::period::{Absent, Step, Stepped};
use super::tenant::Tenants;
use super::tenant_tree::TenantTree;
use super::{At, Checks, that};
use crate::codes::Code;
use countersign_record::body::RunClosed;
use countersign_record::digest::{EntryDigest, NodeHash, RunId, TenantId, UnixMillis};
use countersign_record::entry::{Body, RunPlace, TenantPlace};
use countersign_record::export::Scope;
use countersign_record::merkle::{Frontier, ProofError};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

/// What is known of a tenant's sequence.
#[derive(Debug)]
struct Tenant {
    id: TenantId,
    members: Members,
    /// The last number up to the size that was quoted last.
    quoted: Option<u64>,
}

/// The members of a sequence as far as they were seen.
#[derive(Debug, Clone, Copy)]
struct Members {
    /// The number that must come next.
    next: u64,
    /// Time of the last one.
    at: Option<UnixMillis>,
    /// Entries that had been withheld by then.
    withheld: u64,
    /// First and last number that count.
    counted: Option<(u64, u64)>,
    /// Whether one stands after the period.
    fenced: bool,
}

/// An open run.
#[derive(Debug)]
struct Run {
    members: Members,
    head: EntryDigest,
    count: u64,
    first: u64,
    last: u64,
    /// Whether all of its entries were seen.
    whole: bool,
}

/// What stands before the next leaf.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Last {
    /// Nothing: the log begins.
    #[default]
    Start,
    /// The entry with this digest.
    Entry(EntryDigest),
    /// An entry whose own hash is not there.
    Hidden,
}

/// A leaf, or a full subtree of withheld ones, after the size that was quoted last.
#[derive(Debug, Clone, Copy)]
struct Pending {
    hash: NodeHash,
    level: u8,
    /// Place of its tenant, and its number there.
    tenant: Option<(u32, u64)>,
    withheld: bool,
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
    /// Leaves since then.
    pending: VecDeque<Pending>,
    /// Withheld entries, in all and up to the last quoted size.
    withheld: u64,
    quoted_withheld: u64,
    /// Index of the first entry of the last withheld subtree.
    last_withheld: Option<u64>,
    /// Roots at sizes that something refers to.
    roots: BTreeMap<u64, NodeHash>,
    tenants: Vec<Tenant>,
    /// Their last numbers up to the last quoted size.
    quoted_tenants: TenantTree,
    tenant_places: HashMap<TenantId, u32>,
    runs: HashMap<RunId, Run>,
    closed: HashSet<RunId>,
    /// First and last number, and time of the last entry, of the run that the export is of.
    of_run: Option<Members>,
    /// The last leaf.
    pub(super) last: Last,
    /// The counter's last certified value.
    pub(super) counter: Option<u64>,
    /// Steps since then that entries of the log explain.
    pub(super) counter_steps: u64,
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

    pub(super) fn append(&mut self, leaf: NodeHash, tenant: Option<(u32, u64)>) {
        self.frontier.append(leaf, |_, _, _| ());
        self.last = Last::Entry(EntryDigest(leaf.0));
        self.pending.push_back(Pending {
            hash: leaf,
            level: 0,
            tenant,
            withheld: false,
        });
    }

    /// A full subtree of withheld entries; gives how many.
    pub(super) fn append_withheld(&mut self, level: u8, root: NodeHash) -> Result<u64, ProofError> {
        let before = self.frontier.size();
        self.frontier.append_subtree(level, root)?;
        let count = self.frontier.size().saturating_sub(before);
        self.next = self.next.saturating_add(count);
        self.withheld = self.withheld.saturating_add(count);
        self.last_withheld = Some(self.first.saturating_add(before));
        self.last = match level {
            0 => Last::Entry(EntryDigest(root.0)),
            _ => Last::Hidden,
        };
        self.pending.push_back(Pending {
            hash: root,
            level,
            tenant: None,
            withheld: true,
        });
        Ok(count)
    }

    /// Entries that were withheld up to the size that was quoted last.
    pub(super) fn quoted_withheld(&self) -> u64 {
        self.quoted_withheld
    }

    /// Whether an entry after this one was withheld.
    pub(super) fn withheld_after(&self, index: u64) -> bool {
        self.last_withheld.is_some_and(|last| last > index)
    }

    fn tenant(&self, id: TenantId) -> Option<&Tenant> {
        let slot = self.tenant_places.get(&id)?;
        self.tenants.get(usize::try_from(*slot).ok()?)
    }

    /// The tenant's last number up to the size that was quoted last.
    pub(super) fn quoted_number(&self, id: TenantId) -> Option<u64> {
        self.tenant(id)?.quoted
    }

    /// First and last number of the tenant that count.
    pub(super) fn numbers_of(&self, id: TenantId) -> Option<(u64, u64)> {
        self.tenant(id)?.members.counted
    }

    /// Whether an entry of the tenant stands after the period.
    pub(super) fn is_fenced(&self, id: TenantId) -> bool {
        self.tenant(id).is_some_and(|t| t.members.fenced)
    }

    /// First and last number of the export's run that count.
    pub(super) fn numbers_of_run(&self) -> Option<(u64, u64)> {
        self.of_run.and_then(|m| m.counted)
    }

    /// Whether an entry of the export's run stands after the period; nothing if none was seen.
    pub(super) fn run_is_fenced(&self) -> Option<bool> {
        self.of_run.map(|m| m.fenced)
    }

    pub(super) fn is_closed(&self, run: RunId) -> bool {
        self.closed.contains(&run)
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

    /// Every root that was computed, by size; none if the log's beginning is not there.
    pub(super) fn known_roots(&self) -> BTreeMap<u64, NodeHash> {
        if self.starts_late() {
            return BTreeMap::new();
        }
        let mut roots = self.roots.clone();
        roots.insert(self.frontier.size(), self.frontier.root());
        roots
    }

    /// Remembers the present root.
    pub(super) fn keep_root(&mut self) {
        let root = self.frontier.root();
        self.roots.insert(self.frontier.size(), root);
    }

    /// All tenants' last numbers up to the size that was quoted last; nothing if they are too many to keep up with.
    pub(super) fn quoted_tenants(&mut self) -> Option<Tenants> {
        let (root, count) = self.quoted_tenants.root()?;
        Some(Tenants { root, count })
    }

    /// Moves what counts as quoted forward to `size`; gives the root there.
    pub(super) fn quote(&mut self, size: u64) -> Result<NodeHash, String> {
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
            let Some(part) = self.pending.pop_front() else {
                break;
            };
            let width = 1u64.checked_shl(u32::from(part.level)).unwrap_or(0);
            let reached = self.quoted.size().saturating_add(width);
            if reached > size {
                self.pending.push_front(part);
                return Err(format!(
                    "it covers {size} entries, which ends inside a stretch of withheld ones"
                ));
            }
            self.quoted
                .append_subtree(part.level, part.hash)
                .map_err(|e| e.to_string())?;
            if part.withheld {
                self.quoted_withheld = self.quoted_withheld.saturating_add(width);
            }
            let tenant = part.tenant.and_then(|(slot, seq)| {
                let slot = usize::try_from(slot).ok()?;
                Some((self.tenants.get_mut(slot)?, seq))
            });
            if let Some((tenant, seq)) = tenant {
                tenant.quoted = Some(seq);
                self.quoted_tenants.note(tenant.id, seq);
            }
        }
        let root = self.quoted.root();
        self.roots.insert(size, root);
        Ok(root)
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

    /// The number within the tenant; gives the tenant's place and the number.
    pub(super) fn tenant_place(&mut self, at: At, place: &TenantPlace) -> Option<(u32, u64)> {
        let scope = self.scope();
        let asked = self.manifest.as_ref().and_then(|m| m.tenant);
        if scope != Scope::Whole && asked.is_some_and(|asked| asked != place.tenant) {
            let text = "it is of another tenant than the one that the export is said to be of";
            self.ledger.fail(Code::Scope, Some(at.index), text);
        }
        let known = self.log.tenant_places.get(&place.tenant).copied();
        let slot = match known {
            Some(slot) => slot,
            None => {
                let slot = u32::try_from(self.log.tenants.len()).ok()?;
                // A tenant's first number is 0 in a log that is there from its beginning.
                let next = if self.log.starts_late() { place.seq } else { 0 };
                self.log.tenants.push(Tenant {
                    id: place.tenant,
                    members: Members::from(next),
                    quoted: None,
                });
                self.log.tenant_places.insert(place.tenant, slot);
                slot
            }
        };
        let position = usize::try_from(slot).ok()?;
        let mut members = self.log.tenants.get(position)?.members;
        let step = members.step(place.seq, self.log.withheld);
        self.member(&mut members, at, place.seq);
        self.log.tenants.get_mut(position)?.members = members;
        if scope != Scope::Run {
            let rule = self.may_lack(scope == Scope::Tenant);
            let stepped = self.stepped(rule, step, at);
            self.sequence(Code::TenantSequences, at, stepped, || {
                (
                    format!("tenant {}", place.tenant),
                    step.expected,
                    step.found,
                )
            });
        }
        Some((slot, place.seq))
    }

    /// Which numbers of a sequence may be left out. `subject` says whether the export is of it.
    fn may_lack(&self, subject: bool) -> Absent {
        match (self.scope(), self.period(), subject) {
            (Scope::Whole | Scope::Tenant, None, _) | (Scope::Run, None, true) => Absent::Nothing,
            (Scope::Tenant | Scope::Run, Some(_), true) => Absent::Outside,
            (Scope::Whole, Some(_), _) | (Scope::Tenant | Scope::Run, _, false) => Absent::Withheld,
        }
    }

    /// Takes note of a member.
    fn member(&self, members: &mut Members, at: At, seq: u64) {
        members.next = seq.saturating_add(1);
        members.at = Some(at.time);
        members.withheld = self.log.withheld;
        if self.counts_at(at.time) {
            let first = members.counted.map_or(seq, |(first, _)| first);
            members.counted = Some((first, seq));
        }
        members.fenced |= self.period().is_some_and(|p| at.time >= p.until);
    }

    fn sequence(
        &mut self,
        code: Code,
        at: At,
        stepped: Stepped,
        about: impl FnOnce() -> (String, u64, u64),
    ) {
        match stepped {
            Stepped::On | Stepped::Over => self.ledger.held(code),
            Stepped::OverPeriod => {
                let (who, expected, found) = about();
                let text = format!(
                    "{who} goes on with number {found}, where {expected} is next; nothing shows that those between lie outside of the period"
                );
                self.ledger.fail(Code::Period, Some(at.index), text);
            }
            Stepped::Wrongly => {
                let (who, expected, found) = about();
                let text = format!("{who} goes on with number {found}, where {expected} is next");
                self.ledger.fail(code, Some(at.index), text);
            }
        }
    }

    /// The place in the run's chain.
    pub(super) fn run_place(&mut self, at: At, place: &RunPlace, body: &Body) {
        let known = self.log.runs.get(&place.run);
        let fresh = self.log.starts_late() && known.is_none();
        let head = known.map(|r| r.head);
        let whole = known.is_none_or(|r| r.whole);
        let next = if fresh { place.seq } else { 0 };
        let mut members = known.map_or(Members::from(next), |r| r.members);
        let step = members.step(place.seq, self.log.withheld);
        self.member(&mut members, at, place.seq);
        let subject = self.manifest.as_ref().and_then(|m| m.run) == Some(place.run);
        if subject {
            self.log.of_run = Some(members);
        }
        let rule = self.may_lack(subject);
        let stepped = if self.log.closed.contains(&place.run) {
            let text = format!("run {} is closed already", place.run);
            self.ledger.fail(Code::RunChains, Some(at.index), text);
            Stepped::Wrongly
        } else if stepped_on_other(head, place, step, fresh) {
            let text = format!(
                "run {}: it follows another entry than the one before",
                place.run
            );
            self.ledger.fail(Code::RunChains, Some(at.index), text);
            Stepped::On
        } else {
            let stepped = self.stepped(rule, step, at);
            self.sequence(Code::RunChains, at, stepped, || {
                (format!("run {}", place.run), step.expected, step.found)
            });
            stepped
        };
        let whole = whole && stepped == Stepped::On;
        if let Body::Run(closed) = body {
            self.run_closed(at, place, closed, whole);
            self.log.runs.remove(&place.run);
            self.log.closed.insert(place.run);
            return;
        }
        let run = self.log.runs.entry(place.run).or_insert_with(|| {
            self.counts.runs = self.counts.runs.saturating_add(1);
            Run {
                members,
                head: at.digest,
                count: 0,
                first: at.index,
                last: at.index,
                whole,
            }
        });
        run.members = members;
        run.whole = whole;
        run.head = at.digest;
        run.count = run.count.saturating_add(1);
        run.last = at.index;
    }

    fn run_closed(&mut self, at: At, place: &RunPlace, closed: &RunClosed, whole: bool) {
        let RunClosed {
            run,
            head,
            count,
            first,
            last,
        } = closed;
        let result = that(*run == place.run, || {
            "it closes another run than the one it stands in".to_owned()
        })
        .and_then(|()| match self.log.runs.get(&place.run) {
            None if whole => Err("it closes a run of which no entry is there".to_owned()),
            Some(known) if whole => that(*count == known.count, || {
                format!(
                    "the run has {} entries here, its close says {count}",
                    known.count
                )
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
            // Where some of the run's entries are left out, the close still has to agree with its own place.
            Some(_) | None => that(*count == place.seq && Some(*head) == place.previous, || {
                "the close does not agree with its place in the run".to_owned()
            }),
        });
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
        if manifest.scope == Scope::Whole && manifest.period.is_none() {
            let text = || {
                format!(
                    "the export is said to be whole, and {withheld} entries are given by hash only"
                )
            };
            self.ledger
                .observe(Code::Scope, None, that(withheld == 0, text));
        } else {
            self.ledger.held(Code::Scope);
            let text = format!("{withheld} entries are given by hash only");
            self.ledger.note(Code::Scope, text);
        }
        self.period_end();
        self.tenant_end();
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

impl Members {
    fn from(next: u64) -> Self {
        Self {
            next,
            at: None,
            withheld: 0,
            counted: None,
            fenced: false,
        }
    }

    fn step(&self, found: u64, withheld: u64) -> Step {
        Step {
            expected: self.next,
            found,
            before: self.at,
            withheld: withheld.saturating_sub(self.withheld),
        }
    }
}

/// Whether an entry that is the next of its run follows another one than the last.
fn stepped_on_other(head: Option<EntryDigest>, place: &RunPlace, step: Step, fresh: bool) -> bool {
    !fresh && step.expected == step.found && place.previous != head
}

//! Which entries an export of a tenant, run or period has: one pass over the log.
//!
//! In: a [`Selection`], an [`Opening`], the log. Out: a [`Plan`]. Wanted are the selection's own entries, everything
//! about the gateway itself, the entries at the edges of a period that show where it begins and
//! ends, and what wanted entries refer to. The rest is withheld, in stretches that end where
//! something refers to a size of the log.

use super::ExportFault;
use super::indexes::Indexes;
use super::opening::{Fields, Opener, Opening};
use super::source::{Extent, Source};
use countersign_journal::Reader;
use countersign_record::binding::{Binding, CloseStatement, RenewalStatement};
use countersign_record::body::{TenantHead, TenantProof, tenant_proof};
use countersign_record::cbor::Cbor as _;
use countersign_record::cose::Sign1;
use countersign_record::digest::{ArtifactDigest, CallId, RunId, TenantId};
use countersign_record::entry::{Body, Entry, EntryRef, Kind};
use countersign_record::export::{Period, SIGNED_BUNDLE_KIND, Scope};
use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::ops::Range;

/// Which entries are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Those of one tenant.
    pub tenant: Option<TenantId>,
    /// Those of one run. Its tenant is found in the log.
    pub run: Option<RunId>,
    /// Those of a period.
    pub period: Option<Period>,
}

impl Selection {
    /// What the export is called.
    #[must_use]
    pub fn scope(&self) -> Scope {
        match (self.run, self.tenant) {
            (Some(_), _) => Scope::Run,
            (None, Some(_)) => Scope::Tenant,
            (None, None) => Scope::Whole,
        }
    }
}

/// What an export will have.
#[derive(Debug)]
pub struct Plan {
    selection: Selection,
    extent: Extent,
    wanted: Wanted,
    /// Sizes at which a withheld stretch ends.
    cuts: BTreeSet<u64>,
    /// Sizes whose cosigned or stamped checkpoints go along; of a whole log all do.
    noted: BTreeSet<u64>,
    artifacts: BTreeSet<ArtifactDigest>,
    proof: Option<(u64, TenantProof)>,
    opener: Opener,
    found: bool,
    /// How many erasures had been begun.
    erasures: u64,
}

/// Entries next to one another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// In full.
    Entries(Range<u64>),
    /// By hashes.
    Withheld(Range<u64>),
}

impl Piece {
    pub(super) fn withheld(&self) -> Option<Range<u64>> {
        match self {
            Self::Entries(_) => None,
            Self::Withheld(range) => Some(range.clone()),
        }
    }
}

impl Plan {
    /// Reads the log up to its newest checkpoint, and decides what belongs to the selection. Of a log whose values are
    /// lost nothing is opened, whatever was asked.
    ///
    /// # Errors
    /// If the log cannot be read, or has no checkpoint.
    pub fn make(
        source: Source<'_>,
        selection: Selection,
        opening: Opening,
    ) -> Result<Self, ExportFault> {
        let (erasures, extent) = {
            let _no_erasure_is_under_way = source.still();
            (source.erasures(), source.extent()?)
        };
        let log = source.log();
        let opening = if source.has_values() {
            opening
        } else {
            Opening::nothing()
        };
        let mut scan = Scan::of(selection, Opener::new(opening, source.identity()));
        for stored in log.entries(0..extent.end)? {
            let stored = stored?;
            scan.entry(stored.index, &stored.bytes)?;
        }
        scan.finish(log)?;
        // A checkpoint stands where its last entry does.
        scan.cuts.insert(extent.covered);
        // Entries name a bundle's payload alone; its signatures are in the signed form, of every bundle that was in force.
        scan.artifacts.extend(log.artifacts_of(SIGNED_BUNDLE_KIND)?);
        let proof = scan.proof();
        let noted = scan.noted(log, extent.covered)?;
        scan.cuts.extend(&noted);
        let Scan {
            selection,
            wanted,
            cuts,
            artifacts,
            opener,
            found,
            ..
        } = scan;
        Ok(Self {
            selection,
            extent,
            wanted,
            cuts,
            noted,
            artifacts,
            proof,
            opener,
            found,
            erasures,
        })
    }

    /// What was asked for; of a run with its tenant.
    #[must_use]
    pub fn selection(&self) -> &Selection {
        &self.selection
    }

    /// Whether the log has any entry of the tenant or run, at any time.
    #[must_use]
    pub fn found(&self) -> bool {
        self.found
    }

    /// What is opened, and its name.
    pub(super) fn opening(&self) -> &Opening {
        self.opener.opening()
    }

    /// Which fields of an entry are opened.
    pub(super) fn fields(&self, index: u64, bytes: &[u8]) -> Result<Fields<'_>, ExportFault> {
        let theirs = match self.selection.scope() {
            Scope::Whole => None,
            Scope::Tenant | Scope::Run => self.selection.tenant,
        };
        self.opener.fields(theirs, index, bytes)
    }

    pub(super) fn erasures(&self) -> u64 {
        self.erasures
    }

    pub(super) fn end(&self) -> u64 {
        self.extent.end
    }

    /// The checkpoint, if it covers the log up to this size.
    pub(super) fn checkpoint_at(&self, size: u64) -> Option<&str> {
        (size == self.extent.covered).then_some(self.extent.checkpoint.as_str())
    }

    pub(super) fn artifacts(&self) -> &BTreeSet<ArtifactDigest> {
        &self.artifacts
    }

    pub(super) fn proof_after(&self, index: u64) -> Option<&TenantProof> {
        self.proof
            .as_ref()
            .filter(|(at, _)| *at == index)
            .map(|(_, proof)| proof)
    }

    /// The next checkpoint over more than `size` entries that goes along because others stand behind it. The last one of
    /// the export is not among them.
    pub(super) fn note_after(
        &self,
        log: &Reader,
        size: u64,
    ) -> Result<Option<(u64, String)>, ExportFault> {
        if matches!(self.wanted, Wanted::All) {
            let next = log.vouched_after(size)?;
            return Ok(next.filter(|(size, _)| *size < self.extent.covered));
        }
        // One that newer ones have replaced since the plan was made is left out.
        for noted in self.noted.range(size.saturating_add(1)..) {
            let found = log.vouched_after(noted.saturating_sub(1))?;
            if let Some(found) = found.filter(|(size, _)| size == noted) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The log in pieces, in order.
    pub(super) fn pieces(&self) -> impl Iterator<Item = Piece> {
        let mut at = 0;
        std::iter::from_fn(move || {
            if at >= self.extent.end {
                return None;
            }
            let (start, wanted) = (at, self.wanted.has(at));
            let limit = match wanted {
                true => self.extent.end,
                false => {
                    let next = self.cuts.range(at.saturating_add(1)..).next();
                    next.copied()
                        .unwrap_or(self.extent.end)
                        .min(self.extent.end)
                }
            };
            while at < limit && self.wanted.has(at) == wanted {
                at = at.saturating_add(1);
            }
            Some(match wanted {
                true => Piece::Entries(start..at),
                false => Piece::Withheld(start..at),
            })
        })
    }
}

/// Which entries are wanted.
#[derive(Debug)]
enum Wanted {
    All,
    Some(Indexes),
}

impl Wanted {
    fn has(&self, index: u64) -> bool {
        match self {
            Self::All => true,
            Self::Some(indexes) => indexes.has(index),
        }
    }

    fn add(&mut self, index: u64) {
        if let Self::Some(indexes) = self {
            indexes.add(index);
        }
    }
}

/// The pass over the log.
struct Scan {
    selection: Selection,
    wanted: Wanted,
    cuts: BTreeSet<u64>,
    artifacts: BTreeSet<ArtifactDigest>,
    /// The selection's last entry before its period.
    before: Option<u64>,
    /// Whether an entry of it after the period was seen.
    after: bool,
    /// Calls of wanted intents; their outcome is wanted, too.
    calls: HashSet<CallId>,
    /// Earlier entries that wanted ones refer to.
    referred: Vec<u64>,
    /// Intents and outcomes of wanted calls that were witnessed: a checkpoint between them shows it.
    witnessed: Vec<Range<u64>>,
    heads: Heads,
    opener: Opener,
    found: bool,
}

/// The tenants' last numbers as renewals and closes cover them.
#[derive(Default)]
struct Heads {
    /// Numbers after the last covered size.
    pending: VecDeque<(u64, TenantHead)>,
    covered: BTreeMap<TenantId, u64>,
    /// The renewal or close whose proof goes along, with what it covers.
    chosen: Option<(u64, Vec<TenantHead>)>,
    /// Index of the first wanted entry that is not before the end of the period.
    late: Option<u64>,
    /// Whether the chosen one covers all of the period.
    reaches: bool,
}

impl Scan {
    fn of(selection: Selection, opener: Opener) -> Self {
        let wanted = match (selection.scope(), &selection.period) {
            (Scope::Whole, None) => Wanted::All,
            (Scope::Whole | Scope::Tenant | Scope::Run, _) => Wanted::Some(Indexes::default()),
        };
        Self {
            found: selection.scope() == Scope::Whole,
            selection,
            wanted,
            cuts: BTreeSet::new(),
            artifacts: BTreeSet::new(),
            before: None,
            after: false,
            calls: HashSet::new(),
            referred: Vec::new(),
            witnessed: Vec::new(),
            heads: Heads::default(),
            opener,
        }
    }

    fn entry(&mut self, index: u64, bytes: &[u8]) -> Result<(), ExportFault> {
        // Of a whole log only what names artifacts is looked into, and what the profile asks about.
        let asked = self.opener.asks() && is_of(&[Kind::Decision], bytes);
        if matches!(self.wanted, Wanted::All) && !is_of(&NAMING, bytes) && !asked {
            return Ok(());
        }
        let entry = Entry::parse(bytes).map_err(|source| ExportFault::Entry { index, source })?;
        self.names(&entry)?;
        if let Body::Base(base) = entry.body() {
            self.opener.learn(index, base)?;
        }
        if matches!(self.wanted, Wanted::Some(_)) {
            self.select(index, &entry);
            self.covers(index, &entry)?;
        }
        // A record that the export will not have tells a reader of it nothing, so it does not count here either.
        if self.wanted.has(index) {
            self.opener.note(index, &entry)?;
        }
        Ok(())
    }

    /// What an entry names by digest, and the sizes that it refers to.
    fn names(&mut self, entry: &Entry<'_>) -> Result<(), ExportFault> {
        let index = entry.place().index;
        match entry.body() {
            Body::Base(base) => {
                let binding = Binding::from_bytes(&base.binding.0)
                    .map_err(|_| ExportFault::Statement { index })?;
                self.artifacts.extend(binding.bundles);
                // The entry before a base stands alone: the base holds its hash.
                self.cuts.extend([index.saturating_sub(1), index]);
            }
            Body::Change(change) => {
                self.artifacts.insert(change.digest);
            }
            Body::Enrol(_)
            | Body::Intent(_)
            | Body::Decision(_)
            | Body::Approval(_)
            | Body::Run(_)
            | Body::Event(_)
            | Body::Adopt(_)
            | Body::Gap(_)
            | Body::Renewal(_)
            | Body::Close(_)
            | Body::Erasure(_)
            | Body::Hold(_)
            | Body::Stop(_) => (),
        }
        Ok(())
    }

    fn select(&mut self, index: u64, entry: &Entry<'_>) {
        let place = entry.place();
        let tenant = place.tenant.as_ref().map(|t| t.tenant);
        let run = place.run.as_ref().map(|r| r.run);
        let own = match self.selection.scope() {
            Scope::Whole => true,
            Scope::Tenant => tenant == self.selection.tenant,
            Scope::Run => run == self.selection.run,
        };
        if own && self.selection.scope() == Scope::Run {
            self.selection.tenant = tenant;
        }
        self.found |= own;
        let (inside, late) = match &self.selection.period {
            None => (true, false),
            Some(period) => (period.contains(place.at), place.at >= period.until),
        };
        let edge = own && late && !self.after;
        self.after |= own && late;
        if own && !inside && !late {
            self.before = Some(index);
        }
        let outcome = match entry.body() {
            Body::Decision(decision) => self.calls.remove(&decision.call),
            Body::Intent(intent) if own && inside => {
                self.calls.insert(intent.call);
                false
            }
            Body::Enrol(_)
            | Body::Base(_)
            | Body::Intent(_)
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
            | Body::Close(_) => false,
        };
        if tenant.is_none() || (own && inside) || edge || outcome {
            self.wanted.add(index);
            self.referred.extend(refers(entry.body()));
            if let Body::Decision(decision) = entry.body()
                && let Some(intent) = decision.intent.as_ref().filter(|_| decision.witnessed)
            {
                self.witnessed.push(intent.index..index);
            }
            if late {
                self.heads.late.get_or_insert(index);
            }
        }
        if let Some(place) = &place.tenant {
            let head = TenantHead {
                tenant: place.tenant,
                seq: place.seq,
            };
            self.heads.pending.push_back((index, head));
        }
    }

    /// A renewal or close ends stretches at the size that it covers, and may prove a tenant's last number.
    fn covers(&mut self, index: u64, entry: &Entry<'_>) -> Result<(), ExportFault> {
        let malformed = |_| ExportFault::Statement { index };
        let size = match entry.body() {
            Body::Renewal(renewal) => {
                RenewalStatement::from_bytes(&renewal.statement.0)
                    .map_err(malformed)?
                    .head
                    .size
            }
            Body::Close(close) => {
                CloseStatement::from_bytes(&close.statement.0)
                    .map_err(malformed)?
                    .head
                    .size
            }
            Body::Enrol(_)
            | Body::Base(_)
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
        self.cuts.insert(size);
        self.heads.cover(size);
        if self.selection.scope() == Scope::Tenant && !self.heads.reaches {
            let all = self.heads.covered.iter();
            let heads = all.map(|(tenant, seq)| TenantHead {
                tenant: *tenant,
                seq: *seq,
            });
            self.heads.chosen = Some((index, heads.collect()));
            self.heads.reaches = self.heads.late.is_some_and(|late| late <= size);
        }
        Ok(())
    }

    /// Adds what stands before the period, and what wanted entries refer to.
    fn finish(&mut self, log: &Reader) -> Result<(), ExportFault> {
        self.referred.extend(self.before);
        while let Some(index) = self.referred.pop() {
            if self.wanted.has(index) {
                continue;
            }
            self.wanted.add(index);
            let stored = log.entry(index)?;
            let entry = Entry::parse(&stored.bytes)
                .map_err(|source| ExportFault::Entry { index, source })?;
            self.opener.note(index, &entry)?;
            self.referred.extend(refers(entry.body()));
        }
        Ok(())
    }

    /// Sizes of the checkpoints that a part of the log needs: of those that witnesses cosigned the newest, and those that
    /// show that its calls were witnessed; all that outside clocks saw, since each bounds the times before it.
    fn noted(&self, log: &Reader, covered: u64) -> Result<BTreeSet<u64>, ExportFault> {
        let mut noted = BTreeSet::new();
        if matches!(self.wanted, Wanted::All) {
            return Ok(noted);
        }
        for Range { start, end } in &self.witnessed {
            let mut at = *start;
            while let Some((size, _)) = log
                .cosigned_after(at)?
                .filter(|(s, _)| s <= end && *s < covered)
            {
                noted.insert(size);
                at = size;
            }
        }
        let newest = log.cosigned_before(covered)?;
        noted.extend(newest);
        noted.extend(log.stamped_before(covered)?);
        Ok(noted)
    }

    fn proof(&self) -> Option<(u64, TenantProof)> {
        // An own entry after the period shows by its number that nothing is missing before it.
        let tenant = self.selection.tenant.filter(|_| !self.after)?;
        let (index, heads) = self.heads.chosen.as_ref()?;
        Some((*index, tenant_proof(heads, tenant)?))
    }
}

impl Heads {
    fn cover(&mut self, size: u64) {
        while self.pending.front().is_some_and(|(at, _)| *at < size) {
            if let Some((_, head)) = self.pending.pop_front() {
                self.covered.insert(head.tenant, head.seq);
            }
        }
    }
}

/// Kinds of entries that name what stands before the first entry.
const NAMING: [Kind; 2] = [Kind::Base, Kind::Change];

/// Whether an entry is of one of these kinds.
pub(super) fn is_of(kinds: &[Kind], bytes: &[u8]) -> bool {
    // What cannot be read is looked at more closely, and named.
    Sign1::parse(bytes).map_or(true, |s| kinds.iter().any(|k| k.typ() == s.typ()))
}

/// Earlier entries without which this one cannot be judged.
fn refers(body: &Body) -> Vec<u64> {
    let indexes = |refs: &[EntryRef]| refs.iter().map(|r| r.index).collect::<Vec<_>>();
    match body {
        Body::Intent(intent) => indexes(&intent.approvals),
        Body::Decision(decision) => {
            let mut out = indexes(&decision.approvals);
            out.extend(decision.intent.as_ref().map(|i| i.index));
            out
        }
        Body::Enrol(_)
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
        | Body::Close(_) => Vec::new(),
    }
}

//! What is not shown: withheld by the profile, erased, or missing.
//!
//! In: the commitments of every entry, and which of them were opened. Out: observations and counts.
//! An erasure stands after what it covers, so whether a value was erased or is missing is decided at
//! the end; [`super::privacy`] says what erasures cover.
//!
//! Memory: 24 bytes for each entry with commitments, and about 100 for each commitment of a call that is not settled.
//!
//! Spec: `docs/spec/verification.md`, `missing-disclosures`.

use super::{At, Checks};
use crate::codes::Code;
use crate::parallel::Opened;
use countersign_record::body::Classification;
use countersign_record::commitment::Field;
use countersign_record::digest::{CallId, Commitment, SubjectId, TenantId};
use countersign_record::entry::Body;
use countersign_record::profile::About;
use std::collections::HashMap;
use std::ops::RangeInclusive;

/// A commitment of an entry, and whether a disclosure opened it.
pub(crate) type Committed = (Field, Commitment, bool);

/// What an erasure asks of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// An intent or a decision.
    Call,
    /// An event.
    Event,
    /// Anything else: people's signed words, which stay.
    Word,
}

/// An entry with commitments.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub(super) index: u64,
    pub(super) kind: Kind,
    /// Whether a value of it is opened.
    pub(super) opened: bool,
    /// Place of its tenant and subject.
    owner: u32,
    /// Promised commitments that nothing opens.
    absent: u32,
}

/// An intent whose call is not settled yet.
#[derive(Debug)]
struct Pending {
    /// Its place among what was seen.
    place: Option<usize>,
    subject: Option<SubjectId>,
    committed: Vec<Committed>,
}

/// Whose an entry is.
type Owner = (Option<TenantId>, Option<SubjectId>);

/// Everything about what is shown.
#[derive(Debug, Default)]
pub(super) struct Values {
    /// By index.
    seen: Vec<Seen>,
    owners: Vec<Owner>,
    places: HashMap<Owner, u32>,
    pending: HashMap<CallId, Pending>,
}

impl Values {
    /// Keeps an entry; what it lacks is said later. Gives its place.
    fn keep(
        &mut self,
        index: u64,
        kind: Kind,
        owner: Owner,
        committed: &[Committed],
    ) -> Option<usize> {
        if committed.is_empty() {
            return None;
        }
        let owners = &mut self.owners;
        let next = u32::try_from(owners.len()).unwrap_or(u32::MAX);
        let owner = *self.places.entry(owner).or_insert_with(|| {
            owners.push(owner);
            next
        });
        self.seen.push(Seen {
            index,
            kind,
            opened: committed.iter().any(|(_, _, is_open)| *is_open),
            owner,
            absent: 0,
        });
        self.seen.len().checked_sub(1)
    }

    /// Entries of a stretch, in order.
    pub(super) fn within(&self, range: RangeInclusive<u64>) -> &[Seen] {
        let from = self.seen.partition_point(|s| s.index < *range.start());
        let to = self.seen.partition_point(|s| s.index <= *range.end());
        self.seen.get(from..to).unwrap_or_default()
    }

    /// Whose an entry is.
    pub(super) fn owner(&self, seen: Seen) -> Owner {
        let place = usize::try_from(seen.owner).ok();
        place
            .and_then(|p| self.owners.get(p))
            .copied()
            .unwrap_or_default()
    }
}

impl Checks<'_> {
    /// Why a value is not there, in words.
    pub(super) fn undisclosed(&self, what: &str, field: Field) -> String {
        match &self.manifest {
            Some(m) if !m.disclosed.fields.contains(&field) => {
                format!("{what} is withheld by profile {}", m.profile)
            }
            Some(_) | None => format!("{what} is not disclosed"),
        }
    }

    /// What of an entry is opened, withheld, and not there although it was promised.
    pub(super) fn shown(&mut self, at: At, body: &Body, opened: &Opened) {
        self.counts.values_opened = self.counts.values_opened.saturating_add(opened.matched);
        let committed = opened.committed.as_slice();
        let (kind, subject) = match (body, About::of(body, None)) {
            (_, About::Call { subject, .. }) => (Kind::Call, subject),
            (Body::Event(_), About::Other) => (Kind::Event, None),
            (_, About::Other) => (Kind::Word, None),
        };
        let place = self
            .values
            .keep(at.index, kind, (at.tenant, subject), committed);
        match body {
            // The classification of the call stands in its Decision Record.
            Body::Intent(b) => {
                let pending = Pending {
                    place,
                    subject,
                    committed: committed.to_vec(),
                };
                if let Some(before) = self.values.pending.insert(b.call, pending) {
                    self.settle_shown(&before, None);
                }
            }
            Body::Decision(b) => {
                let classification = b.handling.as_ref().map(|h| h.classification);
                let sealed = b
                    .intent
                    .as_ref()
                    .and_then(|_| self.values.pending.remove(&b.call));
                let about = About::of(body, classification);
                match sealed {
                    None => self.judge(place, about, committed),
                    Some(sealed) => {
                        self.settle_shown(&sealed, classification);
                        // What the intent committed to is opened there, and counts there alone.
                        let own = |(field, commitment, is_open): &&Committed| {
                            *is_open
                                || !sealed
                                    .committed
                                    .iter()
                                    .any(|(f, c, _)| f == field && c == commitment)
                        };
                        let own: Vec<Committed> = committed.iter().filter(own).copied().collect();
                        self.judge(place, about, &own);
                    }
                }
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
            | Body::Close(_)
            | Body::Hold(_)
            | Body::Stop(_) => self.judge(place, About::Other, committed),
        }
    }

    fn settle_shown(&mut self, pending: &Pending, classification: Option<Classification>) {
        let about = About::Call {
            classification,
            subject: pending.subject,
        };
        self.judge(pending.place, about, &pending.committed);
    }

    /// What of an entry's commitments is promised, and what of that is not there.
    fn judge(&mut self, place: Option<usize>, about: About, committed: &[Committed]) {
        let profile = self.manifest.as_ref().map(|m| &m.disclosed);
        let (mut absent, mut withheld, mut promised) = (0u32, 0u64, false);
        for (field, _, is_open) in committed {
            let due = profile.is_some_and(|p| p.opens(*field, about));
            promised |= due;
            match (is_open, due) {
                (true, _) => {}
                (false, true) => absent = absent.saturating_add(1),
                (false, false) => withheld = withheld.saturating_add(1),
            }
        }
        self.counts.values_withheld = self.counts.values_withheld.saturating_add(withheld);
        if promised && absent == 0 {
            self.ledger.held(Code::MissingDisclosures);
        }
        if let Some(seen) = place.and_then(|p| self.values.seen.get_mut(p)) {
            seen.absent = absent;
        }
    }

    /// What is erased and what is missing can be told once all entries were seen.
    pub(super) fn shown_end(&mut self) {
        for pending in std::mem::take(&mut self.values.pending).into_values() {
            self.settle_shown(&pending, None);
        }
        let (mut erased, mut missing) = (0u64, 0u64);
        for seen in std::mem::take(&mut self.values.seen) {
            let absent = u64::from(seen.absent);
            if absent == 0 {
                continue;
            }
            if self.privacy.is_erased(seen.index) {
                erased = erased.saturating_add(absent);
                continue;
            }
            missing = missing.saturating_add(absent);
            let text = format!(
                "{absent} values that the export's profile promises are not there, and no erasure covers the entry"
            );
            self.ledger
                .fail(Code::MissingDisclosures, Some(seen.index), text);
        }
        self.counts.values_erased = erased;
        self.counts.values_missing = missing;
        if erased > 0 && missing == 0 {
            self.ledger.held(Code::MissingDisclosures);
        }
    }
}

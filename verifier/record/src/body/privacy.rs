//! Bodies about what is forgotten and what must be kept: [`Erasure`], [`Hold`].
//!
//! In: indexes, pseudonyms. Out: what an entry covers. Nothing here names a person: subjects
//! stand as pseudonyms, reasons in the signed statements that these entries commit to.
//!
//! Spec: `docs/spec/record.md`, "Erasure and holds".

use crate::digest::{Commitment, KeyId, SubjectId, TenantId, UnixMillis};
use crate::{cbor_enum, cbor_map};

/// Most ranges of one erasure. An encoded range takes at most 21 bytes, so an erasure fits into an entry.
pub const MAX_RANGES: usize = 3_000;

cbor_map! {
    /// Entries from one index to another, both included.
    pub struct IndexRange {
        /// The first.
        1 => first: u64,
        /// The last.
        2 => last: u64,
    }
}

impl IndexRange {
    /// Whether an entry is in it.
    #[must_use]
    pub fn contains(&self, index: u64) -> bool {
        self.first <= index && index <= self.last
    }

    /// How many entries it has; none if it is turned round.
    #[must_use]
    pub fn count(&self) -> u64 {
        match self.last.checked_sub(self.first) {
            Some(more) => more.saturating_add(1),
            None => 0,
        }
    }
}

/// The ranges of ascending indexes, in the one form that an erasure has. Indexes that do not ascend are left out.
#[must_use]
pub fn ranges_of(indexes: impl IntoIterator<Item = u64>) -> Vec<IndexRange> {
    let mut out: Vec<IndexRange> = Vec::new();
    for index in indexes {
        match out.last_mut() {
            Some(last) if index <= last.last => {}
            Some(last) if last.last.checked_add(1) == Some(index) => last.last = index,
            Some(_) | None => out.push(IndexRange {
                first: index,
                last: index,
            }),
        }
    }
    out
}

/// Whether ranges are in their one form: each in order, ascending, with at least one entry between two.
#[must_use]
pub fn in_order(ranges: &[IndexRange]) -> bool {
    ranges.iter().all(|r| r.first <= r.last)
        && ranges
            .windows(2)
            .all(|w| !matches!(w, [a, b] if a.last.saturating_add(1) >= b.first))
}

cbor_map! {
    /// Disclosures were destroyed; every proof still holds.
    pub struct Erasure {
        /// Entries whose disclosures are gone: ascending, with at least one entry between two ranges.
        1 => entries: Vec<IndexRange>,
        /// Why: a code such as `gdpr-17`.
        2 => basis: String,
        /// The key of the person who ordered it.
        3 => ordered_by: KeyId,
        /// Version of the storage key since then; what earlier versions wrapped is wrapped anew or gone.
        4 => ring: u64,
        /// The person's signed statement (see [`crate::statement::ErasureStatement`]).
        5 => statement: Commitment,
        /// The subject whose own key was destroyed too.
        6 => subject: Option<SubjectId>,
        /// Whether the key before depended on a secret in the TPM that was overwritten there.
        7 => anchored: bool,
    }
}

impl Erasure {
    /// Whether an entry's disclosures are gone.
    #[must_use]
    pub fn covers(&self, index: u64) -> bool {
        self.entries.iter().any(|r| r.contains(index))
    }
}

cbor_enum! {
    /// What was done with a hold.
    pub enum HoldAct ("act on a hold") {
        /// From here on, what it covers must be kept.
        Placed = 1: "placed",
        /// No longer.
        Lifted = 2: "lifted",
    }
}

cbor_map! {
    /// Disclosures must be kept, or need not be kept any more.
    pub struct Hold {
        /// What was done.
        1 => act: HoldAct,
        /// Name of the hold, used once in a log.
        2 => id: String,
        /// If given: it covers entries of this subject alone.
        3 => subject: Option<SubjectId>,
        /// If given: it covers entries of this tenant alone.
        4 => tenant: Option<TenantId>,
        /// If given: it covers these entries alone.
        5 => entries: Option<IndexRange>,
        /// If given: it ends by itself at this time.
        6 => until: Option<UnixMillis>,
        /// The key of the person who ordered it.
        7 => ordered_by: KeyId,
        /// The person's signed statement (see [`crate::statement::HoldStatement`]), which has the reason.
        8 => statement: Commitment,
    }
}

/// What is known of an entry when one asks whether a hold covers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holdable {
    /// Its leaf index.
    pub index: u64,
    /// Its tenant.
    pub tenant: Option<TenantId>,
    /// Its subject.
    pub subject: Option<SubjectId>,
}

impl Hold {
    /// Whether the hold covers an entry. Of what it names, all must fit; a hold that names nothing covers everything.
    #[must_use]
    pub fn covers(&self, entry: Holdable) -> bool {
        self.subject.is_none_or(|s| entry.subject == Some(s))
            && self.tenant.is_none_or(|t| entry.tenant == Some(t))
            && self
                .entries
                .as_ref()
                .is_none_or(|range| range.contains(entry.index))
    }

    /// Whether it has ended by itself at this time.
    #[must_use]
    pub fn is_over(&self, at: UnixMillis) -> bool {
        self.until.is_some_and(|until| at >= until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: u64, last: u64) -> IndexRange {
        IndexRange { first, last }
    }

    #[test]
    fn neighbouring_indexes_become_one_range() {
        assert_eq!(
            ranges_of([2, 3, 4, 7, 9, 10]),
            [range(2, 4), range(7, 7), range(9, 10)]
        );
    }

    #[test]
    fn ranges_of_indexes_are_in_order() {
        assert!(in_order(&ranges_of([0, 5, 5, 3, 6, 9, u64::MAX])));
    }

    #[test]
    fn ranges_that_touch_overlap_or_are_turned_round_are_not_in_order() {
        for wrong in [
            vec![range(1, 2), range(3, 4)],
            vec![range(1, 4), range(3, 9)],
            vec![range(5, 6), range(1, 2)],
            vec![range(2, 1)],
            vec![range(1, u64::MAX), range(u64::MAX, u64::MAX)],
        ] {
            assert!(!in_order(&wrong), "{wrong:?}");
        }
    }

    #[test]
    fn a_range_has_as_many_entries_as_it_covers() {
        assert_eq!(range(3, 5).count(), 3);
        assert_eq!(range(5, 3).count(), 0);
        assert_eq!(range(0, u64::MAX).count(), u64::MAX);
    }

    fn hold() -> Hold {
        Hold {
            act: HoldAct::Placed,
            id: "1".to_owned(),
            subject: None,
            tenant: None,
            entries: None,
            until: None,
            ordered_by: KeyId([0; 32]),
            statement: Commitment([0; 32]),
        }
    }

    const ENTRY: Holdable = Holdable {
        index: 7,
        tenant: Some(TenantId([1; 16])),
        subject: Some(SubjectId([2; 32])),
    };

    #[test]
    fn a_hold_that_names_nothing_covers_everything() {
        assert!(hold().covers(ENTRY));
    }

    #[test]
    fn of_what_a_hold_names_all_must_fit() {
        let all = Hold {
            subject: ENTRY.subject,
            tenant: ENTRY.tenant,
            entries: Some(range(7, 9)),
            ..hold()
        };
        assert!(all.covers(ENTRY));
        for other in [
            Holdable {
                subject: None,
                ..ENTRY
            },
            Holdable {
                tenant: Some(TenantId([9; 16])),
                ..ENTRY
            },
            Holdable { index: 6, ..ENTRY },
        ] {
            assert!(!all.covers(other), "{other:?}");
        }
    }

    #[test]
    fn a_hold_ends_at_its_time_and_not_before() {
        let until = Hold {
            until: Some(UnixMillis(10)),
            ..hold()
        };
        assert!(!until.is_over(UnixMillis(9)));
        assert!(until.is_over(UnixMillis(10)));
        assert!(!hold().is_over(UnixMillis(u64::MAX)));
    }
}

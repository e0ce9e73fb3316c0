//! What was erased, and what must be kept: erasures and legal holds.
//!
//! In: `erasure` and `hold` entries with the statements of the people who ordered them, and what
//! [`super::values`] saw. Out: observations, and which entries erasures cover.
//!
//! Memory: the ranges of erasures, joined, and the holds.
//!
//! Spec: `docs/spec/verification.md`, `erasures`, `holds`.

use super::stretches::Stretches;
use super::values::{Kind, Seen};
use super::{At, Checks, count, that};
use crate::codes::Code;
use crate::keys;
use crate::parallel::Opened;
use countersign_record::body::privacy::in_order;
use countersign_record::body::{Erasure, Hold, HoldAct, Holdable, IndexRange};
use countersign_record::cbor::Cbor as _;
use countersign_record::commitment::Field;
use countersign_record::digest::{KeyId, SubjectId, TenantId, UnixMillis};
use countersign_record::statement::{ERASURE_TYP, ErasureStatement, HOLD_TYP, HoldStatement};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// How long an erasure may take to reach the log after its statement was accepted, in milliseconds.
const IN_FLIGHT: u64 = 60_000;

/// Groups of the people who may order erasures and holds.
const PRIVACY: &str = "privacy";
const LEGAL: &str = "legal";

/// A hold that was placed.
#[derive(Debug)]
struct Placed {
    hold: Hold,
    lifted: bool,
}

/// Everything about erasures and holds.
#[derive(Debug, Default)]
pub(super) struct Privacy {
    erased: Stretches,
    ring: u64,
    holds: Holds,
}

impl Privacy {
    /// Whether an erasure covers an entry.
    pub(super) fn is_erased(&self, index: u64) -> bool {
        self.erased.has(index)
    }
}

/// What a hold names of subject and tenant.
type Names = (Option<SubjectId>, Option<TenantId>);

/// Legal holds, so that one over an entry is found without asking every one.
#[derive(Debug, Default)]
struct Holds {
    placed: BTreeMap<String, Placed>,
    /// Those that are not lifted.
    kept: HashMap<Names, BTreeSet<String>>,
}

impl Holds {
    /// Enters a hold. What is wrong with it has its effect all the same.
    fn apply(&mut self, hold: &Hold, at: UnixMillis) -> Result<(), String> {
        let id = &hold.id;
        match (hold.act, self.placed.get_mut(id)) {
            (HoldAct::Placed, Some(_)) => Err(format!("hold {id} was placed before")),
            (HoldAct::Placed, None) => {
                let names = (hold.subject, hold.tenant);
                self.kept.entry(names).or_default().insert(id.clone());
                let placed = Placed {
                    hold: hold.clone(),
                    lifted: false,
                };
                self.placed.insert(id.clone(), placed);
                Ok(())
            }
            (HoldAct::Lifted, Some(placed)) if placed.is_in_force(at) => {
                placed.lifted = true;
                let before = &placed.hold;
                let names = (before.subject, before.tenant);
                if let Some(kept) = self.kept.get_mut(&names) {
                    kept.remove(id);
                }
                let same = names == (hold.subject, hold.tenant)
                    && before.entries == hold.entries
                    && before.until == hold.until;
                that(same, || {
                    format!("hold {id} covered something else when it was placed")
                })
            }
            (HoldAct::Lifted, Some(_) | None) => {
                Err(format!("no hold {id} was in force to be lifted"))
            }
        }
    }

    /// A hold in force that covers an entry.
    fn over(&self, entry: Holdable, at: UnixMillis) -> Option<&str> {
        let names = [
            (entry.subject, entry.tenant),
            (entry.subject, None),
            (None, entry.tenant),
            (None, None),
        ];
        let kept = names.iter().filter_map(|n| self.kept.get(n)).flatten();
        let placed = kept.filter_map(|id| self.placed.get(id));
        let found = placed
            .filter(|p| p.is_in_force(at))
            .find(|p| p.hold.covers(entry));
        found.map(|p| p.hold.id.as_str())
    }

    fn in_force(&self, at: UnixMillis) -> impl Iterator<Item = &str> {
        let placed = self.placed.values().filter(move |p| p.is_in_force(at));
        placed.map(|p| p.hold.id.as_str())
    }
}

impl Placed {
    fn is_in_force(&self, at: UnixMillis) -> bool {
        !self.lifted && !self.hold.is_over(at)
    }
}

impl Checks<'_> {
    /// Values were destroyed.
    pub(super) fn erasure(&mut self, at: At, erasure: &Erasure, opened: &Opened) {
        let last = erasure.entries.last().map(|r| r.last);
        let placed = in_order(&erasure.entries) && last.is_none_or(|last| last < at.index);
        let formed = that(placed, || {
            "its entries are not in order, or do not all stand before it".to_owned()
        })
        .and_then(|()| {
            that(erasure.ring >= self.privacy.ring, || {
                format!(
                    "the storage key goes back from version {} to {}",
                    self.privacy.ring, erasure.ring
                )
            })
        });
        self.privacy.ring = self.privacy.ring.max(erasure.ring);
        let statement = opened.statement.as_deref();
        let signed = statement.map(|bytes| self.erasure_signed(at, erasure, bytes));
        let result = formed.map(|()| signed).and_then(Option::transpose);
        self.ordered((Code::Erasures, Field::ErasureStatement), at, result);
        let entries = erasure.entries.iter().map(IndexRange::count);
        self.calls.erased = entries.fold(self.calls.erased, u64::saturating_add);
        // What a badly formed erasure says is no excuse for anything.
        if placed {
            self.destroyed(at, erasure);
        }
    }

    /// What an erasure newly covers was its to cover, is gone, and was not held.
    fn destroyed(&mut self, at: At, erasure: &Erasure) {
        let new = erasure
            .entries
            .iter()
            .flat_map(|range| self.privacy.erased.add(range));
        let new: Vec<IndexRange> = new.collect();
        let covered = new
            .iter()
            .flat_map(|range| self.values.within(range.first..=range.last));
        let mut held = None;
        for &seen in covered {
            let Seen { index, opened, .. } = seen;
            let (tenant, subject) = self.values.owner(seen);
            let whose = match seen.kind {
                Kind::Word => Some("it is of a kind whose values stay: people's signed words"),
                Kind::Call | Kind::Event if erasure.subject.is_none() => None,
                Kind::Call if erasure.subject == subject => None,
                Kind::Call | Kind::Event => Some("it is not of that subject"),
            };
            if let Some(why) = whose {
                let text = format!("the erasure of entry {} covers it, and {why}", at.index);
                self.ledger.fail(Code::Erasures, Some(index), text);
            }
            if opened {
                let text = format!(
                    "the erasure of entry {} covers it, and the export opens values of it",
                    at.index
                );
                self.ledger.fail(Code::Erasures, Some(index), text);
            }
            let entry = Holdable {
                index,
                tenant,
                subject,
            };
            let over = || self.privacy.holds.over(entry, at.time);
            held = held.or_else(|| Some((index, over()?.to_owned())));
        }
        if self.privacy.holds.placed.is_empty() {
            return;
        }
        let held = held.map(|(entry, id)| {
            format!("hold {id} was in force over entry {entry}, which was erased")
        });
        self.ledger
            .observe(Code::Holds, Some(at.index), held.map_or(Ok(()), Err));
    }

    /// Whether a person of the group ordered what an erasure says.
    fn erasure_signed(&self, at: At, erasure: &Erasure, bytes: &[u8]) -> Result<(), String> {
        let payload = self.person_of(erasure.ordered_by, PRIVACY, (bytes, ERASURE_TYP))?;
        let statement = ErasureStatement::from_bytes(&payload)
            .map_err(|e| format!("the statement is malformed: {e}"))?;
        let ErasureStatement {
            gateway,
            subject,
            entries,
            basis,
            signer,
            issued: _,
            expires,
            nonce: _,
        } = &statement;
        let same = Some(*gateway) == self.gateway()
            && *subject == erasure.subject
            && *basis == erasure.basis
            && *signer == erasure.ordered_by;
        that(same, || {
            "the person signed something else than the entry says".to_owned()
        })?;
        that(subject.is_some() == entries.is_empty(), || {
            "the person's statement names neither or both of subject and entries".to_owned()
        })?;
        let within = |range: &IndexRange| {
            let place = entries.partition_point(|e| e.last < range.first);
            entries
                .get(place)
                .is_some_and(|e| e.first <= range.first && range.last <= e.last)
        };
        that(in_order(entries), || {
            "the entries of the person's statement are not in order".to_owned()
        })?;
        that(
            subject.is_some() || erasure.entries.iter().all(within),
            || "it covers entries that the person did not name".to_owned(),
        )?;
        self.in_time(at, *expires)
    }

    /// A hold is placed or lifted.
    pub(super) fn hold(&mut self, at: At, hold: &Hold, opened: &Opened) {
        let placed = self.privacy.holds.apply(hold, at.time);
        let statement = opened.statement.as_deref();
        let signed = statement.map(|bytes| self.hold_signed(at, hold, bytes));
        let result = placed.map(|()| signed).and_then(Option::transpose);
        self.ordered((Code::Holds, Field::HoldStatement), at, result);
    }

    /// One observation of what a person ordered; nothing is known of the order if it is not disclosed.
    pub(super) fn ordered(
        &mut self,
        (code, field): (Code, Field),
        at: At,
        result: Result<Option<()>, String>,
    ) {
        let index = Some(at.index);
        match result {
            Ok(Some(())) => self.ledger.held(code),
            Ok(None) => {
                let text = self.undisclosed("the person's signed statement", field);
                self.ledger.skipped(code, index, text);
            }
            Err(text) => self.ledger.fail(code, index, text),
        }
    }

    fn hold_signed(&self, at: At, hold: &Hold, bytes: &[u8]) -> Result<(), String> {
        let payload = self.person_of(hold.ordered_by, LEGAL, (bytes, HOLD_TYP))?;
        let statement = HoldStatement::from_bytes(&payload)
            .map_err(|e| format!("the statement is malformed: {e}"))?;
        let HoldStatement {
            gateway,
            act,
            id,
            subject,
            tenant,
            entries,
            until,
            reason: _,
            signer,
            issued: _,
            expires,
            nonce: _,
        } = &statement;
        let same = Some(*gateway) == self.gateway()
            && *act == hold.act
            && *id == hold.id
            && *subject == hold.subject
            && *tenant == hold.tenant
            && *entries == hold.entries
            && *until == hold.until
            && *signer == hold.ordered_by;
        that(same, || {
            "the person signed something else than the entry says".to_owned()
        })?;
        self.in_time(at, *expires)
    }

    pub(super) fn in_time(&self, at: At, expires: UnixMillis) -> Result<(), String> {
        that(at.time.0 <= expires.0.saturating_add(IN_FLIGHT), || {
            "the person's statement had expired".to_owned()
        })
    }

    /// The payload of a statement by a person of a group, by the bundle in force.
    pub(super) fn person_of(
        &self,
        person: KeyId,
        group: &str,
        (bytes, typ): (&[u8], &str),
    ) -> Result<Vec<u8>, String> {
        let registry = self
            .registry_in_force()
            .ok_or("the bundle that lists the people is not in the export")?;
        let known = registry
            .approver(person)
            .ok_or("no person of the bundle in force has the key that is named")?;
        that(known.groups.iter().any(|g| g == group), || {
            format!("the person who ordered it is not of group {group}")
        })?;
        let (payload, _) = keys::statement(bytes, typ, &[known.key])?;
        Ok(payload.to_vec())
    }

    /// Says which holds are in force.
    pub(super) fn holds_end(&mut self) {
        let in_force: Vec<&str> = self.privacy.holds.in_force(self.now).collect();
        if let [first, more @ ..] = in_force.as_slice() {
            let others = match more.len() {
                0 => String::new(),
                n => format!(" and {} more", count(n)),
            };
            let text = format!("in force at the end: {first}{others}");
            self.ledger.note(Code::Holds, text);
        }
    }
}

//! Whether what is withheld lies outside of the period that the export is of.
//!
//! In: full entries and withheld stretches in order. Out: observations. Times never fall along a
//! log, so what stands before an entry is not later than it, and what follows is not earlier. A
//! withheld stretch is therefore outside if the next full entry is earlier than the period begins,
//! or the one before it not earlier than the period ends. The same holds for numbers that a
//! tenant's or a run's sequence leaves out.
//!
//! Spec: `docs/spec/verification.md`, "Completeness".

use super::{At, Checks, that};
use crate::codes::Code;
use crate::time;
use countersign_record::digest::UnixMillis;
use countersign_record::export::{Period, Scope};

/// Where the log was seen in relation to the period.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// The latest time that a full entry claims, and its index.
    latest: Option<(u64, UnixMillis)>,
    /// Withheld entries since the last full one.
    open: Option<Stretch>,
    /// First and last full entry within the period.
    pub(super) entries: Option<(u64, u64)>,
    /// How many of those belong to a tenant.
    pub(super) calls: u64,
    /// Index of the first full entry that is not earlier than the period ends.
    pub(super) after: Option<u64>,
}

/// Withheld entries that stand next to one another.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    first: u64,
    end: u64,
    /// Time of the full entry before it.
    before: Option<UnixMillis>,
}

/// Which numbers of a sequence may be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Absent {
    /// None.
    Nothing,
    /// As many as entries were withheld: the leaves themselves show what those may be.
    Withheld,
    /// Those that lie outside of the period.
    Outside,
}

/// A sequence goes on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    /// The number that is next.
    pub(super) expected: u64,
    /// The number that came.
    pub(super) found: u64,
    /// Time of the member before, if one was seen.
    pub(super) before: Option<UnixMillis>,
    /// Entries that were withheld since then.
    pub(super) withheld: u64,
}

/// How a sequence went on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stepped {
    /// By one.
    On,
    /// Over numbers that may be left out.
    Over,
    /// Over numbers that may belong to the period.
    OverPeriod,
    /// Not as a sequence does.
    Wrongly,
}

impl Checks<'_> {
    /// The period that the export is limited to.
    pub(super) fn period(&self) -> Option<&Period> {
        self.manifest.as_ref().and_then(|m| m.period.as_ref())
    }

    /// Whether an entry counts: it lies in the period, or there is none.
    pub(super) fn counts_at(&self, at: UnixMillis) -> bool {
        self.period().is_none_or(|p| p.contains(at))
    }

    /// A full entry: times do not fall, and the stretch before it ends.
    pub(super) fn timed(&mut self, at: At) {
        let before = self.window.latest;
        let text = || {
            format!(
                "it claims {}, entry {} before it claims a later time",
                time::format(at.time),
                before.map_or(0, |(index, _)| index)
            )
        };
        let ordered = before.is_none_or(|(_, latest)| latest <= at.time);
        self.ledger
            .observe(Code::ClockOrder, Some(at.index), that(ordered, text));
        self.stretch_ends(Some(at.time));
        if before.is_none_or(|(_, latest)| latest <= at.time) {
            self.window.latest = Some((at.index, at.time));
        }
        let Some(period) = self.period().cloned() else {
            return;
        };
        if period.contains(at.time) {
            let first = self.window.entries.map_or(at.index, |(first, _)| first);
            self.window.entries = Some((first, at.index));
            if at.tenant.is_some() {
                self.window.calls = self.window.calls.saturating_add(1);
            }
        } else if at.time >= period.until {
            self.window.after.get_or_insert(at.index);
        }
    }

    /// Withheld entries from `index` on.
    pub(super) fn withheld(&mut self, index: u64, count: u64) {
        let end = index.saturating_add(count);
        let before = self.window.latest.map(|(_, at)| at);
        let stretch = self.window.open.get_or_insert(Stretch {
            first: index,
            end,
            before,
        });
        stretch.end = end;
    }

    fn stretch_ends(&mut self, next: Option<UnixMillis>) {
        let Some(stretch) = self.window.open.take() else {
            return;
        };
        if self.scope() != Scope::Whole {
            return;
        }
        let Some(period) = self.period() else {
            return;
        };
        let outside = is_outside(period, stretch.before, next);
        let text = || {
            format!(
                "entries {} to {} are withheld, and nothing shows that they lie outside of the period",
                stretch.first,
                stretch.end.saturating_sub(1)
            )
        };
        self.ledger
            .observe(Code::Period, Some(stretch.first), that(outside, text));
    }

    /// How a sequence goes on.
    pub(super) fn stepped(&self, rule: Absent, step: Step, at: At) -> Stepped {
        let Step {
            expected,
            found,
            before,
            withheld,
        } = step;
        match (found.checked_sub(expected), rule) {
            (Some(0), _) => Stepped::On,
            (Some(missing), Absent::Withheld) if missing <= withheld => Stepped::Over,
            (Some(missing), Absent::Outside) if missing <= withheld => match self.period() {
                Some(period) if is_outside(period, before, Some(at.time)) => Stepped::Over,
                Some(_) | None => Stepped::OverPeriod,
            },
            (Some(_) | None, Absent::Nothing | Absent::Withheld | Absent::Outside) => {
                Stepped::Wrongly
            }
        }
    }

    /// What can be said of the period at the end of the leaves.
    pub(super) fn period_end(&mut self) {
        if !self.reads_calls() {
            return;
        }
        self.stretch_ends(None);
        if self.period().is_none() {
            return;
        }
        let any = match self.scope() {
            Scope::Whole => self.window.calls > 0,
            Scope::Tenant | Scope::Run => self.numbers().is_some(),
        };
        if any {
            self.ledger.held(Code::Period);
        } else {
            let text = "no call of the export lies in the period";
            self.ledger.unknown(Code::Period, None, text);
        }
        if self.window.after.is_none() {
            let text = format!(
                "the log ends at {}, before the period does",
                time::format(self.window.latest.map_or(UnixMillis(0), |(_, at)| at))
            );
            self.ledger.note(Code::Period, text);
        }
    }
}

/// Whether all that stands between two entries lies outside of a period, by their times.
fn is_outside(period: &Period, before: Option<UnixMillis>, next: Option<UnixMillis>) -> bool {
    next.is_some_and(|n| n < period.from) || before.is_some_and(|b| b >= period.until)
}

//! Whether all of one tenant's or one run's entries are there, without the others'.
//!
//! In: what renewals and closes say of every tenant's last number, whole or by a proof of one
//! tenant's, and what was shown. Out: observations. A tenant's numbers have no gap, so its entries
//! are complete up to a renewal or close that proves the last of them; a run's, up to its close.
//!
//! Spec: `docs/spec/verification.md`, "Completeness".

use super::{At, Checks, that};
use crate::codes::{Code, Section, Severity};
use crate::ledger::State;
use crate::time;
use countersign_record::body::TenantProof;
use countersign_record::digest::{NodeHash, TenantId, UnixMillis};
use countersign_record::export::{Period, Scope};

/// The tenants' last numbers, as a renewal or close covers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tenants {
    pub(super) root: NodeHash,
    pub(super) count: u64,
}

/// What was proved of the export's tenant.
#[derive(Debug, Default)]
pub(super) struct Heads {
    /// The renewal or close that came last, whether or not it has a proof.
    last: Option<u64>,
    /// The newest proof, or the first that reaches the end of the period.
    proved: Option<Proved>,
}

/// A tenant's last number at some size of the log.
#[derive(Debug, Clone, Copy)]
struct Proved {
    /// The renewal or close.
    index: u64,
    /// The size that it covers.
    size: u64,
    /// The tenant's last number.
    seq: u64,
    /// The last number that was shown up to there.
    shown: Option<u64>,
    /// Entries that were withheld up to there.
    withheld: u64,
    /// Whether all of the period stands before that size.
    reaches: bool,
}

impl Checks<'_> {
    /// What a renewal or close says of the tenants.
    pub(super) fn tenant_heads(&mut self, at: At, size: u64, said: Tenants) {
        self.heads.last = Some(at.index);
        let proof = self.proof.take();
        if !self.reads_calls() {
            return;
        }
        if self.counts.withheld == 0 {
            let found = self.log.quoted_tenants();
            let same = found == Some(said);
            if found.is_some() {
                let text = || "the tenants' last numbers are not those that it covers".to_owned();
                self.ledger
                    .observe(Code::TenantHeads, Some(at.index), that(same, text));
            } else {
                let text = "too many tenants came one after the other for their last numbers to be compared";
                self.ledger.unknown(Code::TenantHeads, Some(at.index), text);
            }
            let shown = self.tenant_asked().and_then(|t| self.log.quoted_number(t));
            if let Some(seq) = shown.filter(|_| same) {
                self.proved(at, size, seq);
            }
        }
        if let Some(proof) = proof {
            self.tenant_proved(at, size, said, &proof);
        }
    }

    fn tenant_asked(&self) -> Option<TenantId> {
        self.manifest.as_ref().and_then(|m| m.tenant)
    }

    fn tenant_proved(&mut self, at: At, size: u64, said: Tenants, proof: &TenantProof) {
        let index = Some(at.index);
        if let Err(error) = proof.verify(said.root, said.count) {
            let text = format!("the tenant's last number is not proved: {error}");
            return self.ledger.fail(Code::TenantHeads, index, text);
        }
        if self
            .tenant_asked()
            .is_none_or(|asked| asked != proof.head.tenant)
        {
            let text = "the proof is of another tenant than the export";
            return self.ledger.fail(Code::TenantHeads, index, text);
        }
        self.proved(at, size, proof.head.seq);
    }

    /// A tenant's last number is known at some size.
    fn proved(&mut self, at: At, size: u64, seq: u64) {
        if self.heads.proved.is_some_and(|p| p.reaches) {
            return;
        }
        let shown = self
            .tenant_asked()
            .and_then(|tenant| self.log.quoted_number(tenant));
        let new = Proved {
            index: at.index,
            size,
            seq,
            shown,
            withheld: self.log.quoted_withheld(),
            reaches: self.window.after.is_some_and(|after| after <= size),
        };
        match self.period() {
            // Without a period each proof is about all that stands before it.
            None => {
                if let Some(before) = self.heads.proved.replace(new) {
                    self.reaches_number(before);
                }
            }
            // What came before the period may be left out, and a proof from then says nothing of it.
            Some(period) if at.time < period.from => {}
            Some(_) => self.heads.proved = Some(new),
        }
    }

    /// Whether what was shown reaches a proved number.
    fn reaches_number(&mut self, proved: Proved) {
        let seq = proved.seq;
        let text = || match proved.shown {
            Some(shown) => {
                format!("the tenant's last number was {seq}; its entries up to {shown} are there")
            }
            None => format!("the tenant's last number was {seq}; none of its entries is there"),
        };
        let same = proved.shown == Some(seq);
        self.ledger
            .observe(Code::TenantHeads, Some(proved.index), that(same, text));
    }

    /// A proof that stands after an entry that covers no tenants.
    pub(super) fn stray_proof(&mut self, at: At) {
        if self.proof.take().is_some() {
            let text = "a tenant's proof follows an entry that is neither renewal nor close";
            self.ledger.fail(Code::TenantHeads, Some(at.index), text);
        }
    }

    /// What can be said of the export's tenant or run at the end of the leaves.
    pub(super) fn tenant_end(&mut self) {
        if !self.reads_calls() {
            return;
        }
        match self.scope() {
            Scope::Whole => {}
            Scope::Tenant => self.one_tenant_end(),
            Scope::Run => self.one_run_end(),
        }
    }

    fn one_tenant_end(&mut self) {
        let Some(tenant) = self.tenant_asked() else {
            return;
        };
        if self.log.is_fenced(tenant) {
            // An own entry after the period ends it: every number up to there is accounted for.
            return self.ledger.held(Code::TenantHeads);
        }
        let last = self.heads.last;
        let Some(proved) = self
            .heads
            .proved
            .filter(|p| p.reaches || Some(p.index) == last)
        else {
            let text = "not provable: no proof of the tenant's last number comes with the last renewal or close";
            return self.ledger.unknown(Code::TenantHeads, None, text);
        };
        if proved.shown.is_none() && self.period().is_some() {
            // The entries up to that number may all stand before the period.
            let text =
                "no entry of the tenant is there: whether one lies in the period is not provable";
            return self.ledger.unknown(Code::TenantHeads, None, text);
        }
        self.reaches_number(proved);
        let after = self.counts.withheld.saturating_sub(proved.withheld);
        if !proved.reaches && after > 0 {
            let text = format!(
                "proved up to number {} and entry {}; whether newer entries of the tenant are among the {after} withheld ones after it is not provable",
                proved.seq,
                proved.size.saturating_sub(1)
            );
            self.ledger.note(Code::TenantHeads, text);
        }
    }

    fn one_run_end(&mut self) {
        let Some(run) = self.manifest.as_ref().and_then(|m| m.run) else {
            return;
        };
        if self.log.is_closed(run) {
            return self.ledger.held(Code::RunCloses);
        }
        match self.log.run_is_fenced() {
            None => {
                let text = "no entry of the run is there: the log has none, or they are withheld";
                self.ledger.unknown(Code::RunCloses, None, text);
            }
            Some(true) => self.ledger.held(Code::RunCloses),
            Some(false) => {
                let text =
                    "the run is not closed: whether more of its entries follow is not provable";
                self.ledger.unknown(Code::RunCloses, None, text);
            }
        }
    }

    /// First and last number of the export's tenant or run that count.
    pub(super) fn numbers(&self) -> Option<(u64, u64)> {
        match self.scope() {
            Scope::Whole => None,
            Scope::Tenant => self.tenant_asked().and_then(|t| self.log.numbers_of(t)),
            Scope::Run => self.log.numbers_of_run(),
        }
    }

    /// The first check that stands in the way of a word about completeness.
    pub(super) fn incomplete(&self) -> Option<Code> {
        let matters = |c: &Code| {
            let info = c.info();
            info.severity == Severity::Untrusted
                && matches!(info.section, Section::Unaltered | Section::Complete)
                && !matches!(c, Code::Query | Code::Fleet | Code::Histories)
        };
        Code::ALL.iter().copied().filter(matters).find(|c| {
            matches!(self.ledger.state(*c), State::Fail | State::CannotTell)
                || self.ledger.lacks(*c)
        })
    }

    /// What the export shows to be complete, in a sentence.
    pub(super) fn completeness(&self) -> String {
        if let Some(code) = self.incomplete() {
            return format!("completeness is not shown: see {}", code.info().name);
        }
        let limits = self.period().map(of_period).unwrap_or_default();
        let whole = (0, self.log.position().saturating_sub(1));
        let (what, (first, last)) = match self.scope() {
            Scope::Whole => ("entries", self.window.entries.unwrap_or(whole)),
            Scope::Tenant => ("the tenant's entries", self.numbers().unwrap_or_default()),
            Scope::Run => ("the run's entries", self.numbers().unwrap_or_default()),
        };
        format!("{what} {first} to {last}{limits}, none missing")
    }
}

fn of_period(period: &Period) -> String {
    let from = time::format(period.from);
    match period.until {
        UnixMillis(u64::MAX) => format!(" of the time from {from} on"),
        until => format!(" of the period from {from} to {}", time::format(until)),
    }
}

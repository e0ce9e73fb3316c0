//! Epochs: openings, renewals, closes, the counter, gaps, and the end that nobody vouches for yet.
//!
//! An epoch is quoted up to the head of its last renewal. What follows is signed only. An
//! epoch that ends without a close is complete up to its last renewal; how much came after
//! is known by time, not by number.

use super::complete::Last;
use super::tenant::Tenants;
use super::{At, Checks, that};
use crate::codes::Code;
use crate::hardware::{Facts, TpmFacts};
use crate::keys;
use crate::time;
use countersign_record::binding::{Binding, CloseStatement, LogHead, RenewalStatement};
use countersign_record::body::{Base, Close, Gap, Renewal};
use countersign_record::cbor::Cbor as _;
use countersign_record::digest::{EntryDigest, UnixMillis};
use countersign_record::statement::{RECOVER_TYP, RecoverStatement};

/// Tolerated difference between the gateway's claims and the verifier's clock, in milliseconds (5 minutes).
const CLOCK_SKEW: u64 = 300_000;

/// How long a call that was accepted in time may take to be sealed, in milliseconds.
const SEALING: u64 = 10_000;

/// Gaps that are printed. The rest is counted.
const GAPS_KEPT: usize = 64;

/// An epoch of this export.
#[derive(Debug)]
pub(super) struct Epoch {
    /// Leaf index of its base.
    pub(super) index: u64,
    /// Digest of its base.
    pub(super) digest: EntryDigest,
    pub(super) binding: Binding,
    /// Latest claimed time of its entries.
    pub(super) last_time: UnixMillis,
    /// Digest of its close.
    closed: Option<EntryDigest>,
    renewals: u64,
    /// The last renewal, or the base.
    link: EntryDigest,
    /// How many leaves hardware vouches for.
    pub(super) quoted: u64,
    /// When it last did, as claimed.
    pub(super) quoted_at: UnixMillis,
    /// How long calls may be accepted since then, in milliseconds, once a renewal said so.
    lease: Option<u64>,
    /// The latest call that was accepted before a lease was known.
    before_lease: Option<At>,
    /// What its base's evidence showed.
    pub(super) facts: Option<Facts>,
    /// Steps of the counter before its base that nothing explains, until a gap does.
    unexplained: Option<(u64, u64)>,
    /// Steps of the counter before its base that were announced and came to nothing.
    abandoned: u64,
}

impl Epoch {
    /// Whether the epoch was closed by another entry than the one with this digest.
    pub(super) fn ended(&self, by: EntryDigest) -> bool {
        self.closed.is_some_and(|c| c != by)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.is_some()
    }
}

impl Checks<'_> {
    /// An epoch opens. Called before its leaf is part of the log.
    pub(super) fn base(&mut self, at: At, base: &Base) {
        let binding = match Binding::from_bytes(&base.binding.0) {
            Ok(binding) => binding,
            Err(error) => {
                return self.ledger.fail(
                    Code::Identity,
                    Some(at.index),
                    format!("the binding is malformed: {error}"),
                );
            }
        };
        self.identity(at, base, &binding);
        self.continues(at, base, &binding);
        let facts = self.base_evidence(at, base, &binding);
        let unexplained = facts
            .as_ref()
            .and_then(|f| self.opening_counter(at, base, &binding, f));
        if let Some(facts) = &facts {
            self.boot_order(at, facts);
            self.registers(at, facts);
            self.platform(at, facts);
        }
        self.base_rules(at, base, &binding);
        self.counts.epochs = self.counts.epochs.saturating_add(1);
        self.epochs.push(Epoch {
            index: at.index,
            digest: at.digest,
            binding,
            last_time: at.time,
            closed: None,
            renewals: 0,
            link: at.digest,
            quoted: at.index,
            quoted_at: at.time,
            lease: None,
            before_lease: None,
            facts,
            unexplained,
            abandoned: super::count(base.abandoned.len()),
        });
    }

    /// Whether the epoch goes on where the log before it ended.
    fn continues(&mut self, at: At, base: &Base, binding: &Binding) {
        let index = Some(at.index);
        if self.log.starts_late() && self.epochs.is_empty() {
            let text = "the epoch before is not in the export";
            self.ledger.unknown(Code::Epochs, index, text);
            return;
        }
        let number = super::count(self.epochs.len()).saturating_add(1);
        let text = || {
            format!(
                "epoch {} follows epoch {}",
                base.epoch,
                number.saturating_sub(1)
            )
        };
        self.ledger
            .observe(Code::Epochs, index, that(base.epoch == number, text));
        let before = match self.log.last {
            Last::Start => Some(None),
            Last::Entry(digest) => Some(Some(digest)),
            Last::Hidden => None,
        };
        match before {
            Some(before) => {
                let text = || "it follows another entry than the one before it".to_owned();
                self.ledger
                    .observe(Code::Epochs, index, that(base.previous == before, text));
            }
            None => {
                let text = "the entry before it is withheld without a hash of its own";
                self.ledger.unknown(Code::Epochs, index, text);
            }
        }
        let text = || {
            format!(
                "it was opened over a log of {} entries, {} stand before it",
                binding.previous.size, at.index
            )
        };
        self.ledger.observe(
            Code::Epochs,
            index,
            that(binding.previous.size == at.index, text),
        );
        let agrees = binding.previous.root == self.log.root();
        let text = || "the log before it is not the one over which it was opened".to_owned();
        self.ledger.observe(Code::Epochs, index, that(agrees, text));
        // The binding is quoted, and with it the log before the epoch.
        let quoted = self.log.quote(at.index);
        self.ledger.observe(Code::Epochs, index, quoted.map(|_| ()));
    }

    /// Whether the counter's step to this opening is explained; gives the step if it is not.
    fn opening_counter(
        &mut self,
        at: At,
        base: &Base,
        binding: &Binding,
        facts: &Facts,
    ) -> Option<(u64, u64)> {
        let index = Some(at.index);
        let Some(facts) = &facts.tpm else {
            let text = "the platform has no counter that lasts: whether an epoch was left out, or ran twice, nobody certifies";
            self.ledger.unknown(Code::Counter, index, text);
            return None;
        };
        let certified = facts.counter == binding.counter;
        let text = || {
            format!(
                "the chip certified {}, the opening claims {}",
                facts.counter, binding.counter
            )
        };
        self.ledger
            .observe(Code::Counter, index, that(certified, text));
        if let Some(last) = self.log.counter {
            let most = last.saturating_add(self.log.counter_steps);
            let known = (last..=most).contains(&base.explained);
            let text = || {
                format!(
                    "the log explains the counter up to {most}, the opening claims {}",
                    base.explained
                )
            };
            self.ledger.observe(Code::Counter, index, that(known, text));
        }
        let mut expected = base.explained;
        let ordered = base.abandoned.iter().all(|a| {
            let later = a.counter > expected && a.counter < binding.counter;
            expected = a.counter;
            later
        });
        let text = || {
            "the openings that came to nothing are not between the last epoch and this one"
                .to_owned()
        };
        self.ledger
            .observe(Code::Counter, index, that(ordered, text));
        self.log.counter = Some(facts.counter);
        self.log.counter_steps = 0;
        let explained = base
            .explained
            .saturating_add(super::count(base.abandoned.len()))
            .saturating_add(1);
        match binding.counter.checked_sub(explained) {
            Some(0) => {
                self.ledger.held(Code::Counter);
                None
            }
            Some(steps) => Some((base.explained, steps)),
            None => {
                let text = format!(
                    "the counter stands at {}, below what the log explains",
                    binding.counter
                );
                self.ledger.fail(Code::Counter, index, text);
                None
            }
        }
    }

    /// Whether the chip's restart counts go forward.
    fn boot_order(&mut self, at: At, facts: &Facts) {
        let Some(facts) = &facts.tpm else {
            return self.ledger.held(Code::Resets);
        };
        // A few epochs back is far enough; an export may have very many without evidence.
        let before = self
            .epochs
            .iter()
            .rev()
            .take(16)
            .find_map(|e| e.facts.as_ref()?.tpm.as_ref());
        let result = match before {
            Some(before) if before.ak_name == facts.ak_name => {
                that(before.resets <= facts.resets, || {
                    "the chip's count of restarts is lower than in the epoch before".to_owned()
                })
                .and_then(|()| {
                    that(
                        before.resets != facts.resets || before.clock <= facts.clock,
                        || "the chip's clock is behind that of the epoch before".to_owned(),
                    )
                })
            }
            Some(_) | None => Ok(()),
        };
        self.ledger.observe(Code::Resets, Some(at.index), result);
        if let Some(before) = before.filter(|b| b.ak_name == facts.ak_name) {
            let same = before.counter_name == facts.counter_name;
            let text = || "the counter is not the one of the epoch before".to_owned();
            self.ledger
                .observe(Code::Counter, Some(at.index), that(same, text));
        }
    }

    /// The platform vouches for the log so far.
    pub(super) fn renewal(&mut self, at: At, renewal: &Renewal) {
        let index = Some(at.index);
        let statement = match RenewalStatement::from_bytes(&renewal.statement.0) {
            Ok(statement) => statement,
            Err(error) => {
                return self.ledger.fail(
                    Code::Renewals,
                    index,
                    format!("the statement is malformed: {error}"),
                );
            }
        };
        let Some(epoch) = self.epochs.last() else {
            return;
        };
        let (digest, link, number) = (epoch.digest, epoch.link, epoch.renewals.saturating_add(1));
        let linked = that(statement.base == digest, || {
            "it renews another epoch".to_owned()
        })
        .and_then(|()| {
            that(statement.number == number, || {
                format!("it is renewal {}, where {number} is next", statement.number)
            })
        })
        .and_then(|()| {
            that(statement.previous == link, || {
                "it follows another renewal than the one before".to_owned()
            })
        });
        self.ledger.observe(Code::Renewals, index, linked);
        self.covers(
            at,
            &statement.head,
            Tenants {
                root: statement.tenants,
                count: statement.tenant_count,
            },
        );
        if let Some(facts) = self.later_evidence(at, &renewal.evidence, statement.qualifying()) {
            self.next_counter(at, statement.counter, &facts);
        }
        if let Some(epoch) = self.epochs.last_mut() {
            epoch.renewals = number;
            epoch.link = at.digest;
            epoch.quoted = statement.head.size;
            epoch.lease = Some(statement.lease);
            let first = epoch.before_lease.take();
            let opened = epoch.quoted_at;
            epoch.quoted_at = statement.at;
            if let Some(call) = first {
                self.lease(call, opened, statement.lease);
            }
        }
    }

    /// An epoch ends in good order.
    pub(super) fn close(&mut self, at: At, close: &Close) {
        let index = Some(at.index);
        let statement = match CloseStatement::from_bytes(&close.statement.0) {
            Ok(statement) => statement,
            Err(error) => {
                return self.ledger.fail(
                    Code::Renewals,
                    index,
                    format!("the statement is malformed: {error}"),
                );
            }
        };
        let Some(epoch) = self.epochs.last() else {
            return;
        };
        let (digest, link) = (epoch.digest, epoch.link);
        let linked = that(statement.base == digest, || {
            "it closes another epoch".to_owned()
        })
        .and_then(|()| {
            that(statement.previous == link, || {
                "it follows another renewal than the last".to_owned()
            })
        })
        .and_then(|()| {
            that(statement.head.size == at.index, || {
                format!(
                    "it closes a log of {} entries, {} stand before it",
                    statement.head.size, at.index
                )
            })
        });
        self.ledger.observe(Code::Renewals, index, linked);
        self.covers(
            at,
            &statement.head,
            Tenants {
                root: statement.tenants,
                count: statement.tenant_count,
            },
        );
        if let Some(facts) = self.later_evidence(at, &close.evidence, statement.qualifying()) {
            self.next_counter(at, statement.counter, &facts);
        }
        if let Some(epoch) = self.epochs.last_mut() {
            epoch.closed = Some(at.digest);
            epoch.quoted = statement.head.size;
            epoch.quoted_at = statement.at;
        }
    }

    /// Whether a quoted head is the log's.
    fn covers(&mut self, at: At, head: &LogHead, tenants: Tenants) {
        let index = Some(at.index);
        if self.log.starts_late() {
            return self.ledger.unknown(
                Code::Renewals,
                index,
                "the log before the export's first entry is not known",
            );
        }
        let root = match self.log.quote(head.size) {
            Ok(root) => root,
            Err(text) => return self.ledger.fail(Code::Renewals, index, text),
        };
        let text = || {
            format!(
                "the first {} entries are not the log that it covers",
                head.size
            )
        };
        self.ledger
            .observe(Code::Renewals, index, that(root == head.root, text));
        self.tenant_heads(at, head.size, tenants);
    }

    /// Whether the counter moved by one, in the same boot.
    fn next_counter(&mut self, at: At, claimed: u64, facts: &Facts) {
        let Some(facts) = &facts.tpm else {
            return self.same_launch(at, facts);
        };
        self.counter_moved(at, claimed, facts);
        self.same_boot(at, facts);
    }

    /// Without a TPM there is no key that ties later evidence to the opening's: it is of the same launch, or somebody else's.
    fn same_launch(&mut self, at: At, facts: &Facts) {
        let opening = self.epochs.last().and_then(|e| e.facts.as_ref());
        let Some(opening) = opening.and_then(|f| f.platform.as_ref()) else {
            return;
        };
        let same = facts
            .platform
            .as_ref()
            .is_some_and(|later| later.is_of(opening));
        let text = || "it is evidence of another launch than the opening's".to_owned();
        self.ledger
            .observe(Code::Evidence, Some(at.index), that(same, text));
    }

    fn counter_moved(&mut self, at: At, claimed: u64, facts: &TpmFacts) {
        let index = Some(at.index);
        let text = || {
            format!(
                "the chip certified {}, the statement claims {claimed}",
                facts.counter
            )
        };
        self.ledger
            .observe(Code::Counter, index, that(facts.counter == claimed, text));
        if let Some(last) = self.log.counter {
            let first = last.saturating_add(1);
            let most = first.saturating_add(self.log.counter_steps);
            let text = || match facts.counter.checked_sub(most) {
                Some(steps) => format!(
                    "the counter moved from {last} to {}: {steps} steps are unexplained",
                    facts.counter
                ),
                None => format!(
                    "the counter stands at {}, it stood at {last} before",
                    facts.counter
                ),
            };
            self.ledger.observe(
                Code::Counter,
                index,
                that((first..=most).contains(&facts.counter), text),
            );
        }
        self.log.counter = Some(facts.counter);
        self.log.counter_steps = 0;
    }

    fn same_boot(&mut self, at: At, facts: &TpmFacts) {
        let index = Some(at.index);
        let opening = self.epochs.last().and_then(|e| e.facts.as_ref());
        let Some(opening) = opening.and_then(|f| f.tpm.as_ref()) else {
            return;
        };
        let result = that(opening.resets == facts.resets, || {
            "the chip was restarted since the epoch opened".to_owned()
        })
        .and_then(|()| {
            that(opening.clock <= facts.clock, || {
                "the chip's clock runs behind the opening's".to_owned()
            })
        });
        let same = opening.counter_name == facts.counter_name;
        let same_registers = opening.pcrs == facts.pcrs;
        self.ledger.observe(Code::Resets, index, result);
        self.ledger.observe(
            Code::Counter,
            index,
            that(same, || "the counter is not the opening's".to_owned()),
        );
        let text = || "the boot registers changed since the epoch opened".to_owned();
        self.ledger
            .observe(Code::Resets, index, that(same_registers, text));
    }

    /// A call was accepted.
    pub(super) fn accepted(&mut self, at: At) {
        let Some(epoch) = self.epochs.last_mut() else {
            return;
        };
        match epoch.lease {
            Some(lease) => {
                let from = epoch.quoted_at;
                self.lease(at, from, lease);
            }
            None => {
                if epoch.before_lease.is_none_or(|b| b.time <= at.time) {
                    epoch.before_lease = Some(at);
                }
            }
        }
    }

    fn lease(&mut self, call: At, from: UnixMillis, lease: u64) {
        let until = UnixMillis(from.0.saturating_add(lease).saturating_add(SEALING));
        let text = || {
            format!(
                "a call was accepted {} after the hardware's word had expired",
                time::span(call.time.0.saturating_sub(until.0))
            )
        };
        self.ledger.observe(
            Code::Leases,
            Some(call.index),
            that(call.time <= until, text),
        );
    }

    /// Governance let the gateway go on although entries are missing.
    pub(super) fn gap(&mut self, at: At, gap: &Gap) {
        let index = Some(at.index);
        self.counts.gaps = self.counts.gaps.saturating_add(1);
        let signed = keys::statement(&gap.statement.0, RECOVER_TYP, &self.trust.governance)
            .and_then(|(payload, _)| {
                RecoverStatement::from_bytes(payload)
                    .map_err(|e| format!("the statement is malformed: {e}"))
            });
        let statement = match signed {
            Ok(statement) => statement,
            Err(text) => {
                return self.ledger.fail(
                    Code::Epochs,
                    index,
                    format!("the gap is not signed for: {text}"),
                );
            }
        };
        let step = self.epochs.last_mut().and_then(|e| e.unexplained.take());
        let opening = self.epochs.last().map_or(0, |e| e.binding.counter);
        let about = that(Some(statement.gateway) == self.gateway(), || {
            "the statement is of another gateway".to_owned()
        })
        .and_then(|()| {
            that(
                (statement.explained, statement.found, statement.witnessed)
                    == (gap.explained, gap.found, gap.witnessed),
                || "the statement and the entry name different counters or sizes".to_owned(),
            )
        })
        .and_then(|()| {
            that(
                // Steps beyond those that governance saw are not those that it accepted.
                step.is_none_or(|(explained, steps)| {
                    explained == gap.explained && steps <= gap.found.saturating_sub(gap.explained)
                }) && gap.found <= opening,
                || "the statement is about another step of the counter".to_owned(),
            )
        });
        if let Err(text) = about {
            if let Some(epoch) = self.epochs.last_mut() {
                epoch.unexplained = step;
            }
            return self.ledger.fail(Code::Epochs, index, text);
        }
        let steps = step.map_or(0, |(_, steps)| steps);
        let seen = gap.witnessed.map_or(String::new(), |size| {
            format!(" and {size} entries that a witness had cosigned of a log that this one does not continue,")
        });
        let said = format!(
            "entry {}: governance accepted {steps} unexplained steps of the counter, each of which may hide the calls of one lease,{seen} on {}: {}",
            at.index,
            time::format(statement.issued),
            statement.reason
        );
        if self.subject.gaps.len() < GAPS_KEPT {
            self.subject.gaps.push(said);
        }
        let text = || {
            format!(
                "{steps} unexplained steps of the counter, your trust file allows {}",
                self.trust.log.max_gap
            )
        };
        let allowed = that(steps <= self.trust.log.max_gap, text);
        self.ledger.observe(Code::Gaps, index, allowed);
        if let Some(size) = gap.witnessed {
            // What a witness saw is missing whatever the counter says; only who accepts any gap accepts this one.
            let text = || {
                format!(
                    "a witness had cosigned {size} entries that the log does not continue, your trust file allows no gap"
                )
            };
            let allowed = that(self.trust.log.max_gap > 0, text);
            self.ledger.observe(Code::Gaps, index, allowed);
        }
    }

    /// What can be said of epochs at the end of the leaves.
    pub(super) fn epochs_end(&mut self) {
        let steps: Vec<(u64, u64)> = self
            .epochs
            .iter()
            .filter_map(|e| e.unexplained.map(|(_, steps)| (e.index, steps)))
            .collect();
        for (index, steps) in steps {
            let text = format!(
                "the counter moved {steps} steps that no entry explains: entries are missing, or a copy of the gateway ran"
            );
            self.ledger.fail(Code::Counter, Some(index), text);
        }
        let most = self.trust.log.max_tail_seconds.saturating_mul(1000);
        self.ends(most);
        self.tail(most);
        self.freshness();
    }

    /// What may be missing before each epoch: the rest of the lease that was running, and a lease for each announced step
    /// that came to nothing. Whoever announced a step need not be who made it: another copy's renewal may hide behind it.
    fn ends(&mut self, most: u64) {
        // The longest lease of this log stands for one that no renewal names.
        let longest = self.epochs.iter().filter_map(|e| e.lease).max();
        let longest = longest.unwrap_or(most);
        let ends: Vec<Result<(), (String, u64)>> = self
            .epochs
            .iter()
            .scan(None, |before: &mut Option<&Epoch>, epoch| {
                Some((before.replace(epoch), epoch))
            })
            .filter_map(|(before, epoch)| match before {
                Some(before) => Some(end(before, epoch, longest)),
                // Before the log's first epoch there was nothing to end.
                None if epoch.abandoned == 0 => None,
                None => Some(Err((
                    "before the first epoch, announced steps of the counter came to nothing: of calls there, missing may be".to_owned(),
                    longest.saturating_mul(epoch.abandoned),
                ))),
            })
            .collect();
        for end in ends {
            let Err((what, unseen)) = end else {
                self.ledger.held(Code::EpochEnds);
                continue;
            };
            let said = format!(
                "{what} up to {}, unknown number of entries",
                time::span(unseen)
            );
            self.ledger
                .observe(Code::EpochEnds, None, that(unseen <= most, || said.clone()));
            self.ledger.note(Code::EpochEnds, said);
        }
    }

    fn tail(&mut self, most: u64) {
        let Some(epoch) = self.epochs.last() else {
            return;
        };
        if epoch.is_closed() {
            self.ledger.held(Code::Tail);
            return self.ledger.note(
                Code::Tail,
                "the last epoch is closed: hardware vouches for all of it",
            );
        }
        let entries = self.log.position().saturating_sub(epoch.quoted);
        let lasted = epoch.last_time.0.saturating_sub(epoch.quoted_at.0);
        let said = format!(
            "signed but not yet quoted: {entries} entries, {} s",
            lasted.div_ceil(1000)
        );
        self.ledger
            .observe(Code::Tail, None, that(lasted <= most, || said.clone()));
        self.ledger.note(Code::Tail, said);
    }

    fn freshness(&mut self) {
        let Some(epoch) = self.epochs.last() else {
            return;
        };
        let (quoted, last) = (epoch.quoted_at, epoch.last_time);
        if last.0 > self.now.0.saturating_add(CLOCK_SKEW) {
            let text = format!(
                "the last entry claims {}, which is in the future",
                time::format(last)
            );
            return self.ledger.fail(Code::Freshness, None, text);
        }
        match self.trust.log.max_age_seconds {
            None => {
                let text = "your trust file sets no max_age_seconds in [log]";
                self.ledger.skipped(Code::Freshness, None, text);
            }
            Some(limit) => {
                let age = self.now.0.saturating_sub(quoted.0);
                let text = || {
                    format!(
                        "the hardware's last word is {} old, your limit is {limit} s",
                        time::span(age)
                    )
                };
                self.ledger.observe(
                    Code::Freshness,
                    None,
                    that(age <= limit.saturating_mul(1000), text),
                );
            }
        }
    }
}

/// How an epoch ended, as the opening of the next one shows: in good order, or with what is said of its end and the
/// longest time of calls that may be missing there, in milliseconds.
fn end(before: &Epoch, after: &Epoch, longest: u64) -> Result<(), (String, u64)> {
    let counter = before.binding.counter;
    let lost = longest.saturating_mul(after.abandoned);
    match (before.is_closed(), after.abandoned) {
        (true, 0) => Ok(()),
        (true, steps) => Err((
            format!(
                "after the close of the epoch that opened at counter {counter}, {steps} announced steps of the counter came to nothing: of calls there, missing may be"
            ),
            lost,
        )),
        // Calls are accepted from the first renewal on: without one, there was no lease that could be running.
        (false, _) => Err((
            format!(
                "the epoch that opened at counter {counter} ended without a close: it is complete up to its last renewal; after that"
            ),
            before.lease.unwrap_or(0).saturating_add(lost),
        )),
    }
}

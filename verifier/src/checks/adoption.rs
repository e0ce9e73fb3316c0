//! One gateway continues another's work, by the governance key's word: seen from the log that
//! goes on, and from the log that was handed over.
//!
//! In: `adopt` entries; the adopt statement that travels with a log which was handed over. Out:
//! observations, and what [`crate::handover`] compares when both logs are at hand. A log alone
//! shows that governance let it continue another; what stood in that other log it cannot show.

use super::complete::Last;
use super::{At, Checks, that};
use crate::codes::Code;
use crate::handover::{Continues, HandedOver};
use crate::keys;
use crate::time;
use countersign_record::body::Adopt;
use countersign_record::cbor::Cbor as _;
use countersign_record::digest::UnixMillis;
use countersign_record::statement::{ADOPT_TYP, AdoptStatement, Stored};

/// Tolerated difference between the clocks of gateway and governance, in milliseconds (5 minutes).
const CLOCK_SKEW: u64 = 300_000;

/// Adoptions that are kept. More are counted as what cannot be told.
const KEPT: usize = 64;

/// What is known of adoptions.
#[derive(Debug, Default)]
pub(super) struct Adoptions {
    /// What this log continues.
    continues: Vec<Continues>,
    /// The word by which this log was handed over.
    handed: Option<AdoptStatement>,
    /// Whether it was handed over as it stands here, once that is known.
    agrees: bool,
    /// Entries after those that were handed over, and the time of the last.
    after: u64,
    last: Option<UnixMillis>,
}

impl Checks<'_> {
    /// The gateway goes on with another's work.
    pub(super) fn adopt(&mut self, at: At, adopt: &Adopt) {
        let index = Some(at.index);
        if self.trust.governance.is_empty() {
            let text = "your trust file names no governance key, so nobody says whose work may be continued";
            return self.ledger.skipped(Code::Adoption, index, text);
        }
        let read = self.adopt_statement(&adopt.statement.0).and_then(|s| {
            let same = Some(s.gateway) == self.gateway()
                && s.predecessor == adopt.predecessor
                && s.head == adopt.head;
            that(same, || {
                "the statement is about other gateways, or another log".to_owned()
            })?;
            that(s.predecessor != s.gateway, || {
                "the gateway is said to continue its own work".to_owned()
            })?;
            that(s.head.size > 0, || {
                "the log that it continues has no entries".to_owned()
            })?;
            let twice = self
                .adoptions
                .continues
                .iter()
                .any(|c| c.predecessor == s.predecessor);
            that(!twice, || {
                format!("gateway {} was adopted before", s.predecessor)
            })?;
            Ok(s)
        });
        let statement = match read {
            Ok(statement) => statement,
            Err(text) => return self.ledger.fail(Code::Adoption, index, text),
        };
        if self.adoptions.continues.len() >= KEPT {
            let text = format!("more than {KEPT} gateways are adopted");
            return self.ledger.unknown(Code::Adoption, index, text);
        }
        let AdoptStatement {
            gateway: _,
            predecessor,
            head,
            last,
            reason,
            issued,
            stored,
        } = statement;
        let values = match stored {
            Stored::Recovered => "its values were recovered",
            Stored::Lost => {
                "its values are LOST, so which of its calls must not be repeated was not known"
            }
        };
        self.subject.handovers.push(format!(
            "entry {}: continues gateway {predecessor}'s log of {} entries (root {}), by governance's word of {}: {reason}; {values}; lost tail: whatever that gateway recorded after its entry {}",
            at.index,
            head.size,
            head.root,
            time::format(issued),
            head.size.saturating_sub(1),
        ));
        self.adoptions.continues.push(Continues {
            entry: at.index,
            predecessor,
            size: head.size,
            root: head.root,
            last,
            issued,
        });
    }

    fn adopt_statement(&self, bytes: &[u8]) -> Result<AdoptStatement, String> {
        let (payload, _) = keys::statement(bytes, ADOPT_TYP, &self.trust.governance)?;
        AdoptStatement::from_bytes(payload).map_err(|e| format!("the statement is malformed: {e}"))
    }

    /// The word by which this log was handed over, from among the artifacts.
    pub(super) fn handed(&mut self, bytes: &[u8]) {
        if self.trust.governance.is_empty() {
            let text = "your trust file names no governance key, so nobody says to whom the log was handed over";
            return self.ledger.skipped(Code::Adoption, None, text);
        }
        let read = self.adopt_statement(bytes).and_then(|s| {
            that(Some(s.predecessor) == self.gateway(), || {
                "the statement hands over another log than this".to_owned()
            })?;
            that(self.adoptions.handed.is_none(), || {
                "two statements hand over this log".to_owned()
            })?;
            Ok(s)
        });
        match read {
            Ok(statement) => self.adoptions.handed = Some(statement),
            Err(text) => self.ledger.fail(Code::Adoption, None, text),
        }
    }

    /// Compares the log as it is now, `size` leaves long, with what was handed over.
    pub(super) fn handed_at(&mut self, size: u64) {
        let Some(statement) = &self.adoptions.handed else {
            return;
        };
        if size > statement.head.size {
            self.adoptions.after = size.saturating_sub(statement.head.size);
            let last = self.epochs.last().map(|epoch| epoch.last_time);
            self.adoptions.last = self.adoptions.last.max(last);
        }
        if size != statement.head.size || self.log.starts_late() {
            return;
        }
        self.log.keep_root();
        let root = self.log.root();
        let said = statement.head.root;
        let text = || {
            format!(
                "the first {size} entries lead to root {root}, governance handed over a log with root {said}: two histories"
            )
        };
        let result = that(root == said, text).and_then(|()| {
            that(self.log.last == Last::Entry(statement.last), || {
                "the last entry that was handed over is another".to_owned()
            })
        });
        if result.is_ok() {
            self.adoptions.agrees = true;
            // Nobody can make a checkpoint of that gateway any more; governance's word stands for the last entries.
            self.items.covered = self.items.covered.max(Some(size));
            self.ledger.held(Code::Root);
        }
        self.ledger.observe(Code::Adoption, None, result);
    }

    /// What can be said of adoptions at the end of the leaves.
    pub(super) fn adoptions_end(&mut self) {
        self.handed_end();
        for at in 0..self.adoptions.continues.len() {
            let Some(one) = self.adoptions.continues.get(at) else {
                continue;
            };
            let (entry, predecessor, size) = (one.entry, one.predecessor, one.size);
            let listed = self
                .enrolment
                .latest()
                .filter(|fleet| {
                    let mut members = fleet.members.iter();
                    members.any(|m| m.gateway == predecessor && m.until.is_none())
                })
                .map(|fleet| fleet.number);
            if let Some(number) = listed {
                let text = format!(
                    "fleet statement {number} still lists gateway {predecessor}, whose work is continued here"
                );
                self.ledger.fail(Code::Adoption, Some(entry), text);
                continue;
            }
            let text = format!(
                "governance let it continue gateway {predecessor}'s log of {size} entries, whose export was not given: what stands in that log is not shown here"
            );
            self.ledger.skipped(Code::Adoption, Some(entry), text);
        }
    }

    fn handed_end(&mut self) {
        let Some(statement) = self.adoptions.handed.clone() else {
            return;
        };
        let (size, found) = (statement.head.size, self.log.position());
        if found < size && !self.log.starts_late() {
            let text = format!(
                "governance handed over {size} entries of this log, the export ends after {found}: its end was cut off"
            );
            return self.ledger.fail(Code::Leaves, None, text);
        }
        if !self.adoptions.agrees {
            let text = "whether it is the log that was handed over cannot be computed";
            return self.ledger.unknown(Code::Adoption, None, text);
        }
        self.subject.handovers.push(format!(
            "its first {size} entries were handed over to gateway {}, by governance's word of {}: {}; nothing is known of what it recorded after them",
            statement.gateway,
            time::format(statement.issued),
            statement.reason
        ));
        let after = self.adoptions.after;
        let text = || format!("{after} entries follow the {size} that were handed over");
        self.ledger
            .observe(Code::HandedOver, None, that(after == 0, text));
        let issued = statement.issued;
        let late = issued.0.saturating_add(CLOCK_SKEW);
        if let Some(last) = self.adoptions.last.filter(|last| last.0 > late) {
            let text = format!(
                "it went on until {}, after it had been handed over on {}: two gateways continue one log",
                time::format(last),
                time::format(issued)
            );
            self.ledger.fail(Code::Adoption, None, text);
        }
    }

    /// What is compared when the other log is at hand, too.
    pub(super) fn handover(&mut self) -> (Vec<Continues>, Option<HandedOver>) {
        let handed = self
            .adoptions
            .handed
            .take()
            .filter(|_| self.adoptions.agrees);
        let handed = handed.map(|s| HandedOver {
            gateway: s.gateway,
            size: s.head.size,
            root: s.head.root,
        });
        (std::mem::take(&mut self.adoptions.continues), handed)
    }
}

//! Whether anybody else knows this log: cosignatures of witnesses that the trust file names.
//!
//! In: genuine checkpoints in order, decisions, and checkpoints that the auditor has from
//! elsewhere. Out: which organisation has seen how much, whether calls that had to be witnessed
//! were, and whether somebody knows a longer or another log. A checkpoint stands in an export
//! where its last entry does, so what counts for an entry has been read before it.

use super::outside::Sighting;
use super::{At, Checks, count, that};
use crate::codes::Code;
use crate::keys::{self, Claim};
use crate::trust::{Standing, WitnessPin};
use countersign_record::body::{Decision, Effect};
use countersign_record::checkpoint::{Checkpoint, epoch_name, origin};
use countersign_record::digest::{PublicKey, UnixMillis};
use countersign_record::note::{UnixSeconds, cosigned};
use std::collections::BTreeMap;

/// A checkpoint from elsewhere.
#[derive(Debug, Clone)]
struct Given {
    path: String,
    checkpoint: Checkpoint,
}

/// What witnesses have seen so far.
#[derive(Debug, Default)]
pub(super) struct Witnessed {
    /// The largest size that each organisation cosigned; the operator's own are not among them.
    organisations: BTreeMap<String, u64>,
    /// Lines of nobody whom the trust file names.
    strangers: u64,
    /// Checkpoints that the auditor brought, by size.
    given: BTreeMap<u64, Vec<Given>>,
}

impl Checks<'_> {
    /// Reads the checkpoints that the auditor brought, once it is known of which gateway the export is.
    pub(super) fn checkpoints_given(&mut self) {
        let (Some(gateway), Some(identity)) = (self.gateway(), self.identity_key()) else {
            return;
        };
        for (path, bytes) in &self.options.checkpoints {
            let genuine = Checkpoint::parse(bytes, &gateway)
                .map_err(|e| e.to_string())
                .and_then(|c| by_identity(&c, &origin(&gateway), &identity).map(|()| c));
            match genuine {
                Ok(checkpoint) => {
                    let size = checkpoint.head().size;
                    let path = path.clone();
                    self.witnessed
                        .given
                        .entry(size)
                        .or_default()
                        .push(Given { path, checkpoint });
                }
                Err(text) => {
                    let text = format!("{path} proves nothing about this log: {text}");
                    self.ledger.unknown(Code::Cosignatures, None, text);
                }
            }
        }
        self.given_at(0);
    }

    /// Compares the checkpoints that the auditor brought with the log as it is now, `size` leaves long.
    pub(super) fn given_at(&mut self, size: u64) {
        if self.witnessed.given.is_empty() {
            return;
        }
        for Given { path, checkpoint } in self.witnessed.given.remove(&size).unwrap_or_default() {
            if self.log.starts_late() {
                let text = format!("{path}: the log's root cannot be computed");
                self.ledger.unknown(Code::Root, None, text);
                continue;
            }
            let (root, claimed) = (self.log.root(), checkpoint.head().root);
            let text = || {
                format!(
                    "{path} covers {size} entries with root {claimed}, the entries lead to {root}: the gateway signed two histories"
                )
            };
            let same = that(root == claimed, text);
            if same.is_ok() {
                self.cosignatures(&checkpoint);
            }
            self.ledger.observe(Code::Root, None, same);
        }
    }

    /// Cosignatures under a checkpoint that is genuine and has the log's own root.
    pub(super) fn cosignatures(&mut self, checkpoint: &Checkpoint) {
        let Some(gateway) = self.gateway() else {
            return;
        };
        let own = [origin(&gateway), epoch_name(&gateway)];
        for line in checkpoint.lines() {
            if own.iter().any(|name| name == line.name()) {
                continue;
            }
            let pin = self.trust.witnesses.iter().find(|p| line.is_of(&p.key));
            let Some(pin) = pin else {
                self.witnessed.strangers = self.witnessed.strangers.saturating_add(1);
                continue;
            };
            let held = line
                .cosignature()
                .map_err(|e| e.to_string())
                .and_then(|cosignature| {
                    let message = cosigned(cosignature.time, checkpoint.text());
                    let claim = Claim {
                        message: message.as_bytes(),
                        signature: cosignature.signature,
                    };
                    keys::verify(pin.key.key(), claim).map(|()| cosignature.time)
                })
                .map_err(|text| {
                    format!(
                        "the line of {} under the checkpoint over {} does not hold: {text}",
                        pin.key.name(),
                        checkpoint.head().size
                    )
                });
            if let Ok(time) = held {
                self.seen_by(pin, checkpoint.head().size, time);
            }
            self.ledger
                .observe(Code::Cosignatures, None, held.map(drop));
        }
    }

    fn seen_by(&mut self, pin: &WitnessPin, size: u64, time: UnixSeconds) {
        if pin.standing == Standing::Own {
            return;
        }
        let seen = self
            .witnessed
            .organisations
            .entry(pin.organisation.clone())
            .or_default();
        *seen = size.max(*seen);
        // Claimed times of the entries below are known where the checkpoint stands at its place.
        if self.log.position() != size || size == 0 {
            return;
        }
        // A cosignature has whole seconds, of which any part may have passed.
        let before = time.0.saturating_add(1).saturating_mul(1000);
        self.seen_outside(Sighting {
            before: UnixMillis(before),
            by: &pin.organisation,
        });
    }

    /// How many independent organisations have to have seen something.
    fn enough(&self) -> u64 {
        self.trust.log.min_witnesses.unwrap_or(1)
    }

    /// A call that says that it was witnessed, or that policy demanded it.
    pub(super) fn witnessed_call(&mut self, at: At, decision: &Decision) {
        let index = Some(at.index);
        if !decision.witnessed {
            let demanded = decision
                .policy
                .as_ref()
                .is_some_and(|p| p.obligations.iter().any(|o| o == "witnessed"));
            // What a restart settled says nothing about the time before the call left.
            let left = match decision.effect {
                Effect::Dispatched | Effect::Confirmed => true,
                Effect::None | Effect::Unknown => false,
            };
            if demanded && left {
                let text = "policy demanded witnesses before this call, and its record names none";
                self.ledger.fail(Code::WitnessedCalls, index, text);
            }
            return;
        }
        let Some(intent) = &decision.intent else {
            let text = "it says that it was witnessed, and was never sealed";
            return self.ledger.fail(Code::WitnessedCalls, index, text);
        };
        if self.independent() == 0 {
            let text =
                "it says that it was witnessed; your trust file names no independent witness";
            return self.ledger.skipped(Code::WitnessedCalls, index, text);
        }
        if self.log.starts_late() {
            let text = "it says that it was witnessed; the log's root cannot be computed";
            return self.ledger.skipped(Code::WitnessedCalls, index, text);
        }
        let sealed = intent.index;
        let seen = self.witnessed.organisations.values();
        let seen = count(seen.filter(|size| **size > sealed).count());
        let enough = self.enough();
        let text = || {
            format!(
                "it says that it was witnessed; {seen} of your witnesses' organisations had cosigned its intent, entry {sealed}, by then, {enough} are needed"
            )
        };
        self.ledger
            .observe(Code::WitnessedCalls, index, that(seen >= enough, text));
    }

    /// How many organisations of the trust file are not the operator's own.
    fn independent(&self) -> u64 {
        let mut names: Vec<&str> = self
            .trust
            .witnesses
            .iter()
            .filter(|w| w.standing == Standing::Independent)
            .map(|w| w.organisation.as_str())
            .collect();
        names.sort_unstable();
        names.dedup();
        count(names.len())
    }

    /// The largest size that enough organisations have seen, if there is one.
    fn witnessed_size(&self) -> Option<u64> {
        let mut sizes: Vec<u64> = self.witnessed.organisations.values().copied().collect();
        sizes.sort_unstable_by(|a, b| b.cmp(a));
        let place = usize::try_from(self.enough().saturating_sub(1)).unwrap_or(usize::MAX);
        sizes.get(place).copied()
    }

    /// What can be said of witnesses at the end.
    pub(super) fn witnesses_end(&mut self) {
        let position = self.log.position();
        for given in std::mem::take(&mut self.witnessed.given)
            .into_values()
            .flatten()
        {
            let size = given.checkpoint.head().size;
            if size <= position {
                // Others were compared where they stand.
                let text = format!(
                    "{} covers {size} entries, and ends inside a stretch that is withheld",
                    given.path
                );
                self.ledger.unknown(Code::Root, None, text);
                continue;
            }
            let text = format!(
                "{} covers {size} entries, the export ends after {position}: its end was cut off, or it is older than that checkpoint",
                given.path
            );
            self.ledger.fail(Code::Leaves, None, text);
        }
        if self.witnessed.strangers > 0 {
            let text = format!(
                "{} signature lines are of nobody whom your trust file names",
                self.witnessed.strangers
            );
            self.ledger.skipped(Code::Cosignatures, None, text);
        }
        let independent = self.independent();
        let seen = count(self.witnessed.organisations.len());
        match (independent, self.trust.log.min_witnesses) {
            (0, None) => {
                let text = "your trust file names no independent witness";
                self.ledger.skipped(Code::Witnesses, None, text);
            }
            (_, None) if seen == 0 => {
                let text = "none of your witnesses has cosigned a checkpoint of this log";
                self.ledger.skipped(Code::Witnesses, None, text);
            }
            (_, rule) => {
                let enough = rule.unwrap_or(1);
                let text = || {
                    format!(
                        "{seen} of your witnesses' organisations have cosigned a checkpoint of this log, your trust file demands {enough}"
                    )
                };
                self.ledger
                    .observe(Code::Witnesses, None, that(seen >= enough, text));
            }
        }
        if let Some(note) = self.witness_note() {
            self.ledger.note(Code::Witnesses, note);
        }
    }

    /// How much of the log was seen, and how much was not.
    fn witness_note(&self) -> Option<String> {
        let size = self.witnessed_size()?;
        let position = self.log.position();
        Some(match position.checked_sub(size) {
            Some(0) | None => format!("all {position} entries were cosigned"),
            Some(rest) => {
                format!("{size} entries were cosigned, the last {rest} were not")
            }
        })
    }

    /// `WITNESSED k of n by …`.
    pub(super) fn witnessed_axis(&self) -> String {
        let names: Vec<&str> = self
            .witnessed
            .organisations
            .keys()
            .map(String::as_str)
            .collect();
        let by = if names.is_empty() {
            String::new()
        } else {
            format!(" by {}", names.join(", "))
        };
        format!("WITNESSED {} of {}{by}", names.len(), self.independent())
    }

    /// What nobody but witnesses could tell, as far as they did not.
    pub(super) fn not_witnessed(&self) -> Option<String> {
        match self.witnessed_size() {
            None => Some(
                "that the log is the only one: no independent witness compared copies".to_owned(),
            ),
            Some(size) if size < self.log.position() => Some(format!(
                "that the log is the only one beyond its first {size} entries: no independent witness compared what follows"
            )),
            Some(_) => None,
        }
    }

    /// Organisations whose witnesses were relied on.
    pub(super) fn witness_party(&self) -> Option<String> {
        let names: Vec<&str> = self
            .witnessed
            .organisations
            .keys()
            .map(String::as_str)
            .collect();
        (!names.is_empty()).then(|| {
            format!(
                "whoever runs the witnesses, {}: each cosigns one history of this log only",
                names.join(", ")
            )
        })
    }
}

fn by_identity(checkpoint: &Checkpoint, name: &str, key: &PublicKey) -> Result<(), String> {
    let signature = checkpoint
        .signature(name, key, "identity")
        .map_err(|e| e.to_string())?;
    let message = checkpoint.text().as_bytes();
    keys::verify(key, Claim { message, signature })
}

//! What the verifier says of a log: the rules of checks `base-reference`, `epochs`, `counter`,
//! `renewals`, `gaps` and `epoch-ends`, in the model's words.

use crate::world::{Body, Counter, Entry, Head, Key, Step};
use crate::{Counted, Rules};

/// Why a log is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// An entry stands in another epoch than its own, or before or after every epoch.
    Membership,
    /// An opening, renewal or close is over another log than the one before it.
    Over,
    /// The TPM certified another value than the entry claims.
    Certified,
    /// A step of the counter is not explained.
    Counter,
    /// A gap is about another step than the one before it.
    Gap,
}

/// What the verifier claims of a log that it does not refuse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The last certified value: what was accepted under earlier leases is there, but for [`Self::ends`].
    pub upto: Counter,
    /// The ends of epochs, each up to the base after it.
    pub ends: Vec<End>,
}

/// Between two epochs: what may be missing there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// The last value before.
    pub from: Counter,
    /// The value of the base after.
    pub until: Counter,
    /// During how many leases calls may have been accepted that are not there.
    pub leases: u8,
    /// Of these, how many governance signed for.
    pub signed_for: u8,
}

/// What is known while reading.
struct Reading {
    key: Option<Key>,
    closed: bool,
    renewed: bool,
    counter: Counter,
    told: u8,
    /// A step between epochs that nothing explains, until a gap does.
    open: Option<(Counter, u8)>,
    ends: Vec<End>,
}

/// Reads a log.
///
/// # Errors
/// Why it is refused.
pub fn verify(log: &[Entry], rules: &Rules) -> Result<Claim, Refused> {
    let mut reading = Reading {
        key: None,
        closed: true,
        renewed: false,
        counter: 0,
        told: 0,
        open: None,
        ends: Vec::new(),
    };
    for (index, entry) in log.iter().enumerate() {
        reading.entry(&log[..index], entry, rules)?;
    }
    if reading.open.is_some() {
        return Err(Refused::Counter);
    }
    Ok(Claim {
        upto: reading.counter,
        ends: reading.ends,
    })
}

impl Reading {
    fn entry(&mut self, before: &[Entry], entry: &Entry, rules: &Rules) -> Result<(), Refused> {
        let base = matches!(entry.body, Body::Base { .. });
        if !base && (self.key != Some(entry.key) || self.closed) {
            return Err(Refused::Membership);
        }
        match &entry.body {
            Body::Base {
                step,
                explained,
                abandoned,
            } => {
                covers(step, before)?;
                self.base(entry.key, step.claimed, *explained, abandoned, rules)
            }
            Body::Gap { explained, found } => self.gap(*explained, *found, rules),
            Body::Renewal(step) => {
                covers(step, before)?;
                self.step(step.claimed, rules)?;
                self.renewed = true;
                Ok(())
            }
            Body::Close(step) => {
                covers(step, before)?;
                self.step(step.claimed, rules)?;
                self.closed = true;
                Ok(())
            }
            Body::Failed(steps) => {
                self.told += steps;
                Ok(())
            }
            Body::Call { .. } => Ok(()),
        }
    }

    fn step(&mut self, claimed: Counter, rules: &Rules) -> Result<(), Refused> {
        let first = self.counter + 1;
        if rules.steps_within_an_epoch_are_counted
            && !(first..=first + self.told).contains(&claimed)
        {
            return Err(Refused::Counter);
        }
        (self.counter, self.told) = (claimed, 0);
        Ok(())
    }

    fn base(
        &mut self,
        key: Key,
        claimed: Counter,
        explained: Counter,
        abandoned: &[(Counter, Key)],
        rules: &Rules,
    ) -> Result<(), Refused> {
        if self.open.is_some() {
            return Err(Refused::Counter);
        }
        if rules.steps_between_epochs_are_counted {
            if !(self.counter..=self.counter + self.told).contains(&explained) {
                return Err(Refused::Counter);
            }
            let ascending = abandoned.iter().try_fold(explained, |last, (counter, _)| {
                (*counter > last && *counter < claimed).then_some(*counter)
            });
            if ascending.is_none() {
                return Err(Refused::Counter);
            }
            let reached = explained + abandoned.len() as u8 + 1;
            match claimed.checked_sub(reached) {
                Some(0) => {}
                Some(steps) => self.open = Some((explained, steps)),
                None => return Err(Refused::Counter),
            }
        }
        // Whoever announced a step need not be who made it, so any of them may stand for a lease.
        let lost = match rules.abandoned_steps_are_counted {
            Counted::All => abandoned.len() as u8,
            Counted::RenewalsOnly if self.closed => 0,
            Counted::RenewalsOnly => abandoned
                .iter()
                .filter(|(_, k)| Some(*k) == self.key)
                .count() as u8,
            Counted::None => 0,
        };
        // Hardware's word ends with a close; without one, its last lease may hold more, once it gave one.
        let running = u8::from(!self.closed && self.renewed);
        let leases = running + lost;
        self.ends.push(End {
            from: self.counter,
            until: claimed,
            leases,
            signed_for: 0,
        });
        (self.key, self.closed, self.renewed) = (Some(key), false, false);
        (self.counter, self.told) = (claimed, 0);
        Ok(())
    }

    fn gap(&mut self, explained: Counter, found: Counter, rules: &Rules) -> Result<(), Refused> {
        let Some((from, steps)) = self.open.take() else {
            return Err(Refused::Gap);
        };
        if from != explained || found > self.counter {
            return Err(Refused::Gap);
        }
        if let Some(end) = self
            .ends
            .last_mut()
            .filter(|_| rules.unexplained_steps_are_counted)
        {
            end.leases += steps;
            end.signed_for = steps;
        }
        Ok(())
    }
}

fn covers(step: &Step, before: &[Entry]) -> Result<(), Refused> {
    if step.over != Head::of(before) {
        return Err(Refused::Over);
    }
    if step.certified != step.claimed {
        return Err(Refused::Certified);
    }
    Ok(())
}

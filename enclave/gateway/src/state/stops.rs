//! Stops: calls that a person put an end to.
//!
//! In: `stop` entries with what opens their agent, and stops that are on their way into the log.
//! Out: whether one covers a call. An identifier is used once, so that a person's word cannot resume
//! or stop what it was not about.
//!
//! A stop counts as soon as its signature held, before its entry is durable: [`super::State::stop`]. From
//! then on no call is admitted that it covers; once it is folded, it is part of what decides.
//!
//! Stops of a gateway whose work this one continues count in the same way, until a person orders them here, by the same
//! name and over the same calls: this log says then who stopped what, and who may resume it.

use super::opened;
use countersign_record::body::{Stop, StopAct};
use countersign_record::commitment::{Disclosure, Field};
use countersign_record::digest::{KeyId, TenantId, UnixMillis};
use countersign_record::entry::EntryRef;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Most identifiers of a log, resumed ones included. Each takes about 400 bytes: 4 MB.
pub const MAX_STOPS: usize = 10_000;

/// Which calls. Of what is named, all must fit; what names nothing covers every call.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Covers {
    /// Calls of this tenant.
    pub tenant: Option<TenantId>,
    /// Calls of this capability.
    pub capability: Option<String>,
    /// Calls of this agent.
    pub agent: Option<String>,
}

/// A call, as stops see it.
#[derive(Debug, Clone, Copy)]
pub struct Called<'a> {
    /// Its tenant.
    pub tenant: TenantId,
    /// Its capability.
    pub capability: &'a str,
    /// Its agent.
    pub agent: &'a str,
}

impl Covers {
    /// Whether a call is among them.
    #[must_use]
    pub fn has(&self, call: Called<'_>) -> bool {
        self.tenant.is_none_or(|t| t == call.tenant)
            && self
                .capability
                .as_ref()
                .is_none_or(|c| c == call.capability)
            && self.agent.as_ref().is_none_or(|a| a == call.agent)
    }
}

/// A stop that was ordered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ordered {
    /// What it covers.
    pub covers: Covers,
    /// Its entry.
    pub entry: EntryRef,
    /// When it was ordered.
    pub at: UnixMillis,
    /// By whose key.
    pub ordered_by: KeyId,
    /// Whether it was resumed.
    pub resumed: bool,
}

/// All stops of a log, by identifier.
#[derive(Debug, Default)]
pub struct Stops {
    ordered: BTreeMap<String, Ordered>,
    /// Identifiers of those in force, by what they cover: a call asks for its own eight names, however many stops there are.
    in_force: HashMap<Covers, BTreeSet<String>>,
    /// Beside the fold: those whose entries are not durable yet.
    entering: BTreeMap<String, Covers>,
    /// In force at gateways whose work this one continues, and not ordered here.
    taken_over: BTreeMap<String, BTreeSet<Covers>>,
}

impl Stops {
    pub(super) fn apply(
        &mut self,
        stop: &Stop,
        (entry, at): (&EntryRef, UnixMillis),
        disclosures: &[Disclosure],
    ) {
        match stop.act {
            StopAct::Stopped => {
                self.entering.remove(&stop.id);
                if self.ordered.contains_key(&stop.id) {
                    return;
                }
                // An agent that cannot be read stands for every agent: a stop never covers less than was ordered.
                let named = stop.agent.and_then(|_| opened(disclosures, Field::Agent));
                let covers = Covers {
                    tenant: stop.tenant,
                    capability: stop.capability.clone(),
                    agent: named.map(|a| String::from_utf8_lossy(a).into_owned()),
                };
                self.ordered_here(&stop.id, &covers);
                let ids = self.in_force.entry(covers.clone()).or_default();
                ids.insert(stop.id.clone());
                let ordered = Ordered {
                    covers,
                    entry: entry.clone(),
                    at,
                    ordered_by: stop.ordered_by,
                    resumed: false,
                };
                self.ordered.insert(stop.id.clone(), ordered);
            }
            StopAct::Resumed => {
                let Some(ordered) = self.ordered.get_mut(&stop.id) else {
                    return;
                };
                ordered.resumed = true;
                if let Some(ids) = self.in_force.get_mut(&ordered.covers) {
                    ids.remove(&stop.id);
                    if ids.is_empty() {
                        self.in_force.remove(&ordered.covers);
                    }
                }
            }
        }
    }

    /// Takes over what is in force in another gateway's log.
    pub(super) fn take_over(&mut self, theirs: &Self) {
        for (id, ordered) in theirs.in_force() {
            let known = self.taken_over.entry(id.to_owned()).or_default();
            known.insert(ordered.covers.clone());
        }
    }

    fn ordered_here(&mut self, id: &str, covers: &Covers) {
        if let Some(known) = self.taken_over.get_mut(id) {
            known.remove(covers);
            if known.is_empty() {
                self.taken_over.remove(id);
            }
        }
    }

    /// What stops of this name cover that were taken over.
    #[must_use]
    pub fn taken_over_as(&self, id: &str) -> Option<&BTreeSet<Covers>> {
        self.taken_over.get(id)
    }

    /// Stops that were taken over, by name.
    pub fn taken_over(&self) -> impl Iterator<Item = (&str, &Covers)> {
        let named = self.taken_over.iter();
        named.flat_map(|(id, known)| known.iter().map(move |covers| (id.as_str(), covers)))
    }

    /// A stop counts from now on, whatever becomes of its entry. Whether it is one of a kind, or the same again.
    pub(super) fn begin(&mut self, id: &str, covers: &Covers) -> bool {
        let known = self.entering.entry(id.to_owned());
        known.or_insert_with(|| covers.clone()) == covers
    }

    /// Whether a stop covers a call that is not yet part of what decides: it is on its way into the log, or taken over.
    #[must_use]
    pub fn entering_over(&self, call: Called<'_>) -> bool {
        let taken_over = self.taken_over.values().flatten();
        let mut all = self.entering.values().chain(taken_over);
        all.any(|covers| covers.has(call))
    }

    /// The identifier of a folded stop that covers a call.
    #[must_use]
    pub fn over(&self, call: Called<'_>) -> Option<&str> {
        if self.in_force.is_empty() {
            return None;
        }
        (0..8u8).find_map(|names| {
            let named = |bit: u8| names & bit != 0;
            let covers = Covers {
                tenant: named(1).then_some(call.tenant),
                capability: named(2).then(|| call.capability.to_owned()),
                agent: named(4).then(|| call.agent.to_owned()),
            };
            self.in_force.get(&covers)?.first().map(String::as_str)
        })
    }

    /// The stop of that name, whether it is in force or not.
    #[must_use]
    pub fn named(&self, id: &str) -> Option<&Ordered> {
        self.ordered.get(id)
    }

    /// Whether there is room for another.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.ordered.len().saturating_add(self.entering.len()) < MAX_STOPS
    }

    /// Stops in force, by name.
    pub fn in_force(&self) -> impl Iterator<Item = (&str, &Ordered)> {
        let ordered = self.ordered.iter().filter(|(_, o)| !o.resumed);
        ordered.map(|(id, o)| (id.as_str(), o))
    }

    #[cfg(test)]
    pub(super) fn folded(&self) -> String {
        format!("{:?}", self.ordered)
    }
}

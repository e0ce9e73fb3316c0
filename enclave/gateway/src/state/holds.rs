//! Legal holds: what must be kept.
//!
//! In: `hold` entries. Out: the holds in force at a time, and which of them cover an entry. An
//! identifier is used once, so that a person's word cannot lift or place what it was not about.

use countersign_record::body::{Hold, HoldAct, Holdable};
use countersign_record::digest::UnixMillis;
use countersign_record::entry::EntryRef;
use std::collections::BTreeMap;

/// Most identifiers of a log, lifted ones included. Each takes about 300 bytes: 30 MB.
pub const MAX_HOLDS: usize = 100_000;

/// A hold that was placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// What it says.
    pub hold: Hold,
    /// Its entry.
    pub entry: EntryRef,
    /// When it was placed.
    pub at: UnixMillis,
    /// Whether it was lifted.
    pub lifted: bool,
}

impl Placed {
    /// Whether it is in force at a time.
    #[must_use]
    pub fn is_in_force(&self, at: UnixMillis) -> bool {
        !self.lifted && !self.hold.is_over(at)
    }
}

/// All holds of a log, by identifier.
#[derive(Debug, Default)]
pub struct Holds(BTreeMap<String, Placed>);

impl Holds {
    pub(crate) fn apply(&mut self, hold: &Hold, entry: &EntryRef, at: UnixMillis) {
        match hold.act {
            HoldAct::Placed => {
                self.0.entry(hold.id.clone()).or_insert_with(|| Placed {
                    hold: hold.clone(),
                    entry: entry.clone(),
                    at,
                    lifted: false,
                });
            }
            HoldAct::Lifted => {
                if let Some(placed) = self.0.get_mut(&hold.id) {
                    placed.lifted = true;
                }
            }
        }
    }

    /// The hold of that name, whether it is in force or not.
    #[must_use]
    pub fn named(&self, id: &str) -> Option<&Placed> {
        self.0.get(id)
    }

    /// Whether there is room for another.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.0.len() < MAX_HOLDS
    }

    /// Holds in force at a time, by name.
    pub fn in_force(&self, at: UnixMillis) -> impl Iterator<Item = &Placed> {
        self.0.values().filter(move |p| p.is_in_force(at))
    }

    /// Names of the holds in force that cover an entry.
    pub fn covering(&self, entry: Holdable, at: UnixMillis) -> impl Iterator<Item = &str> {
        self.in_force(at)
            .filter(move |p| p.hold.covers(entry))
            .map(|p| p.hold.id.as_str())
    }

    #[cfg(test)]
    pub(super) fn folded(&self) -> String {
        format!("{:?}", self.0)
    }
}

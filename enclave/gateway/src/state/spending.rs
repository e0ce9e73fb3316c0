//! What runs have spent: calls, tokens, time.
//!
//! In: entries that stand in a run, and calls that are about to. Out: what a run has spent, those calls
//! included. A run is forgotten when its closing entry comes; nothing of it follows.
//!
//! Memory: 48 bytes for each open run, which [`super::runs`] bounds by agent.

use countersign_record::body::{Decision, Intent};
use countersign_record::digest::{RunId, UnixMillis};
use countersign_record::entry::Body;
use std::collections::HashMap;

/// Begins the control of a record that says how many tokens its client declares.
pub const TOKENS: &str = "tokens:";

/// What a run has spent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spent {
    /// Calls that were sealed, or are about to be.
    pub calls: u64,
    /// Tokens that its client declared, with calls that were refused too.
    pub tokens: u64,
    /// When its first call was settled or sealed.
    pub since: Option<UnixMillis>,
}

/// What calls of a run that are about to be sealed will have spent.
#[derive(Debug, Clone, Copy, Default)]
struct Reserved {
    calls: u64,
    tokens: u64,
}

/// What each open run has spent.
#[derive(Debug, Default)]
pub(super) struct Spending {
    folded: HashMap<RunId, Spent>,
    /// Beside the fold: calls that are about to be sealed.
    reserved: HashMap<RunId, Reserved>,
}

impl Spending {
    pub(super) fn apply(&mut self, run: RunId, body: &Body, at: UnixMillis) {
        if matches!(body, Body::Run(_)) {
            self.folded.remove(&run);
            return;
        }
        // What settles an intent was counted with it.
        let (calls, controls) = if let Body::Intent(Intent { controls, .. }) = body {
            (1, controls)
        } else if let Body::Decision(Decision {
            intent: None,
            controls,
            ..
        }) = body
        {
            (0, controls)
        } else {
            return;
        };
        let spent = self.folded.entry(run).or_default();
        spent.calls = spent.calls.saturating_add(calls);
        spent.tokens = spent.tokens.saturating_add(tokens(controls));
        spent.since.get_or_insert(at);
    }

    pub(super) fn of(&self, run: RunId) -> Spent {
        let mut spent = self.folded.get(&run).copied().unwrap_or_default();
        let Reserved { calls, tokens } = self.reserved.get(&run).copied().unwrap_or_default();
        spent.calls = spent.calls.saturating_add(calls);
        spent.tokens = spent.tokens.saturating_add(tokens);
        spent
    }

    pub(super) fn reserve(&mut self, run: RunId, tokens: u64) {
        let reserved = self.reserved.entry(run).or_default();
        reserved.calls = reserved.calls.saturating_add(1);
        reserved.tokens = reserved.tokens.saturating_add(tokens);
    }

    pub(super) fn give_back(&mut self, run: RunId, tokens: u64) {
        if let Some(reserved) = self.reserved.get_mut(&run) {
            reserved.calls = reserved.calls.saturating_sub(1);
            reserved.tokens = reserved.tokens.saturating_sub(tokens);
            if reserved.calls == 0 {
                self.reserved.remove(&run);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn folded(&self) -> String {
        let ordered: std::collections::BTreeMap<_, _> = self.folded.iter().collect();
        format!("{ordered:?}")
    }
}

/// What a record's controls say of tokens.
fn tokens(controls: &[String]) -> u64 {
    let said = controls.iter().filter_map(|c| c.strip_prefix(TOKENS));
    said.filter_map(|n| n.parse::<u64>().ok())
        .fold(0, u64::saturating_add)
}

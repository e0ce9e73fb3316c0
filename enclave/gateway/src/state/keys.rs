//! Idempotency keys and what became of their first calls.
//!
//! In: intents and Decision Records of calls with a key. Out: [`Earlier`]. Bounded: when
//! there are too many, the agent with the most loses its oldest, so that no agent can make
//! the gateway forget another's. Keys of open calls are never forgotten.

use super::{MatchKey, lengths_hash};
use crate::refusal::Code;
use countersign_record::digest::{CallId, TenantId};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

/// Keys of settled calls that are remembered.
///
/// One takes about 250 bytes, so this is 50 MB. At 10 keyed calls a second it is 5.5 hours.
pub const MAX_IDEMPOTENCY_KEYS: usize = 200_000;

/// Whose keys these are: an agent of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Owner([u8; 32]);

impl Owner {
    pub(crate) fn new(tenant: TenantId, agent: &str) -> Self {
        Self(lengths_hash(
            "countersign/owner/v1",
            &[&tenant.0, agent.as_bytes()],
        ))
    }
}

/// What is known of an idempotency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Earlier {
    /// Its first call is running.
    Running,
    /// Its first call was settled by the Decision Record at this leaf, with an answer.
    Settled(u64),
    /// Its first call was carried out, and its answer was withheld for this reason.
    Withheld(Code),
    /// Its first call has an unknown outcome.
    Unknown,
}

#[derive(Debug, Clone)]
struct Keyed {
    request: MatchKey,
    earlier: Earlier,
    owner: Owner,
    /// Leaf index of the intent of its first call, if that stands in this log.
    intent: Option<u64>,
}

/// All keys.
#[derive(Debug, Default)]
pub(super) struct Keys {
    keyed: HashMap<[u8; 32], Keyed>,
    /// Keys of settled calls, the oldest first.
    settled: BTreeMap<Owner, VecDeque<[u8; 32]>>,
    count: usize,
    /// Calls with a key whose intent is not settled.
    open: HashMap<CallId, [u8; 32]>,
}

impl Keys {
    /// The first call with a key is about to be carried out.
    pub(super) fn open(
        &mut self,
        call: CallId,
        slot: [u8; 32],
        request: MatchKey,
        (owner, intent): (Owner, Option<u64>),
    ) {
        let keyed = Keyed {
            request,
            earlier: Earlier::Running,
            owner,
            intent,
        };
        self.keyed.insert(slot, keyed);
        self.open.insert(call, slot);
    }

    /// The call is over; without an outcome the key is free again.
    pub(super) fn settle(&mut self, call: CallId, outcome: Option<Earlier>) {
        let Some(slot) = self.open.remove(&call) else {
            return;
        };
        let Some(outcome) = outcome else {
            self.keyed.remove(&slot);
            return;
        };
        let Some(keyed) = self.keyed.get_mut(&slot) else {
            return;
        };
        keyed.earlier = outcome;
        self.settled.entry(keyed.owner).or_default().push_back(slot);
        self.count = self.count.saturating_add(1);
        if self.count > MAX_IDEMPOTENCY_KEYS {
            self.forget_one();
        }
    }

    /// No open call will be settled any more: their outcomes are unknown.
    pub(super) fn abandon(&mut self) {
        let open: BTreeSet<CallId> = self.open.keys().copied().collect();
        for call in open {
            self.settle(call, Some(Earlier::Unknown));
        }
    }

    /// Forgets keys of calls whose intents were erased: what they were made of is gone, and a restart could not know them.
    pub(super) fn erase(&mut self, covers: impl Fn(u64) -> bool) {
        let gone: HashSet<[u8; 32]> = self
            .keyed
            .iter()
            .filter(|(_, k)| k.intent.is_some_and(&covers))
            .map(|(slot, _)| *slot)
            .collect();
        if gone.is_empty() {
            return;
        }
        self.keyed.retain(|slot, _| !gone.contains(slot));
        self.open.retain(|_, slot| !gone.contains(slot));
        let count = &mut self.count;
        self.settled.retain(|_, slots| {
            let before = slots.len();
            slots.retain(|slot| !gone.contains(slot));
            *count = count.saturating_sub(before.saturating_sub(slots.len()));
            !slots.is_empty()
        });
    }

    fn forget_one(&mut self) {
        let most = self
            .settled
            .iter_mut()
            .max_by_key(|(owner, keys)| (keys.len(), **owner));
        let Some((owner, keys)) = most else { return };
        let (owner, slot, left) = (*owner, keys.pop_front(), keys.len());
        if let Some(slot) = slot {
            self.keyed.remove(&slot);
            self.count = self.count.saturating_sub(1);
        }
        if left == 0 {
            self.settled.remove(&owner);
        }
    }

    pub(super) fn earlier(&self, slot: &[u8; 32], request: &MatchKey) -> Option<(Earlier, bool)> {
        self.keyed
            .get(slot)
            .map(|k| (k.earlier, k.request == *request))
    }

    #[cfg(test)]
    pub(super) fn folded(&self) -> String {
        let keyed: BTreeMap<_, _> = self.keyed.iter().collect();
        let open: BTreeMap<_, _> = self.open.iter().collect();
        format!("{keyed:?} {:?} {} {open:?}", self.settled, self.count)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::as_conversions, reason = "numbers of a test")]

    use super::*;

    fn slot(n: usize) -> [u8; 32] {
        let mut slot = [0; 32];
        slot.iter_mut()
            .zip(n.to_be_bytes())
            .for_each(|(s, b)| *s = b);
        slot
    }

    fn settle(keys: &mut Keys, n: usize, owner: Owner) {
        let call = CallId((n as u128).to_be_bytes());
        keys.open(call, slot(n), MatchKey([0; 32]), (owner, None));
        keys.settle(call, Some(Earlier::Settled(1)));
    }

    #[test]
    fn an_agent_with_many_keys_does_not_displace_those_of_another() {
        let (busy, quiet) = (Owner([1; 32]), Owner([2; 32]));
        let mut keys = Keys::default();
        settle(&mut keys, 0, quiet);
        for n in 1..=MAX_IDEMPOTENCY_KEYS + 10 {
            settle(&mut keys, n, busy);
        }
        assert_eq!(keys.keyed.len(), MAX_IDEMPOTENCY_KEYS);
        assert!(keys.earlier(&slot(0), &MatchKey([0; 32])).is_some());
        assert!(keys.earlier(&slot(1), &MatchKey([0; 32])).is_none());
    }

    #[test]
    fn the_key_of_an_open_call_is_never_forgotten() {
        let owner = Owner([1; 32]);
        let mut keys = Keys::default();
        keys.open(CallId([9; 16]), slot(0), MatchKey([0; 32]), (owner, None));
        for n in 1..=MAX_IDEMPOTENCY_KEYS + 10 {
            settle(&mut keys, n, owner);
        }
        assert_eq!(
            keys.earlier(&slot(0), &MatchKey([0; 32])),
            Some((Earlier::Running, true))
        );
    }
}

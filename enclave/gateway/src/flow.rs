//! Which later arguments repeat what a tool gave back: traces of results, and what of them is in a call.
//!
//! In: texts of results that a site wants traced, whose they were, and what they are classified as. Out: a
//! [`FlowFact`] for a call's arguments, which policy sees as `context.flow`.
//!
//! **A heuristic.** It finds values that come back as they were: whole (from [`MIN_BYTES`] on, anywhere inside an
//! argument), or in part (any [`PART_BYTES`] bytes in a row). Values are the texts and numbers of a result in JSON, also of
//! one inside a text, and words of a longer text that have a digit or an `@` in them. It does not find what was transformed: encoded,
//! translated, summed up, cut into short pieces. It never allows anything; it lets a policy forbid.
//!
//! Scope is one party (an agent, and for whom it acts), across its runs: what one party read says nothing of
//! another's arguments, so that nobody learns from a refusal what somebody else has read. Traces are kept in
//! memory: [`FlowFact::since`] says from when on, and [`FlowFact::dropped`] that there was no room for all.
//!
//! How: of a text of up to [`PART_BYTES`] bytes all of it is kept as a hash, found by the hash of its first
//! [`MIN_BYTES`]; of a longer one hashes of [`GRAM_BYTES`] in a row, of which winnowing keeps at least one in
//! every [`PART_BYTES`] (Schleimer, Wilkerson, Aiken, "Winnowing", SIGMOD 2003). Hashes are keyed, so whoever writes a
//! result cannot choose what collides.

use countersign_policies::decision::FlowFact;
use countersign_policies::site::capability::Capability;
use countersign_record::body::Classification;
use countersign_record::digest::{TenantId, UnixMillis};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

mod marks;

pub use marks::{Key, Marks};
use marks::{Mark, gram_hash, hash};

/// Shortest text that is traced, in bytes. Shorter ones (`true`, `yes`, a small number) are in everything.
pub const MIN_BYTES: usize = 6;

/// Length of what is hashed of a long text, in bytes.
pub const GRAM_BYTES: usize = 16;

/// Every part of a traced text that is this long is found, in bytes.
pub const PART_BYTES: usize = 24;

/// Most hashes that one party has. At about 32 bytes each, 2 MiB.
const MAX_MARKS: usize = 65_536;

/// Most parties that have any. Beyond, the one that was longest silent loses its own, of the tenant that has most: a
/// tenant with many agents takes no traces from one with few.
const MAX_PARTIES: usize = 1_024;

/// How much of one call's arguments is looked at, and of one text of a result kept, in bytes. More would not leave more
/// marks than there is room for, and somebody else's call waits meanwhile.
const MAX_LOOKED_AT: usize = 256 * 1024;

/// Most sources that a fact names.
const MAX_SOURCES: usize = 16;

/// Traces of all parties.
#[derive(Debug)]
pub struct Traces {
    key: Key,
    since: UnixMillis,
    parties: HashMap<(TenantId, String), Trail>,
    /// Counts what was looked at, to know who was longest silent.
    clock: u64,
    /// Tenants of which a whole party was dropped. One tenant learns nothing of another's.
    dropped: BTreeSet<TenantId>,
}

/// By a hash that needs no other.
type Hashed<T> = HashMap<u64, T, BuildHasherDefault<AsItIs>>;

/// Hashes that are keys already.
#[derive(Debug, Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// Where a mark comes from: a place in [`Trail::sources`].
type SourceId = u16;

/// Traces of one party.
#[derive(Debug, Default)]
struct Trail {
    last: u64,
    sources: Vec<Source>,
    /// Whole short texts: by the hash of their beginning, length and hash of all.
    whole: Hashed<Vec<(u8, u64, SourceId)>>,
    /// Parts of long texts.
    grams: Hashed<SourceId>,
    /// Order in which marks came, so that the oldest go first.
    order: VecDeque<Mark>,
    dropped: bool,
}

/// Whose result it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Id of the capability.
    pub capability: String,
    /// Its classification.
    pub classification: Classification,
}

impl Source {
    /// Of a capability.
    #[must_use]
    pub fn of(capability: &Capability) -> Self {
        Self {
            capability: capability.id.clone(),
            classification: capability.classification,
        }
    }
}

impl Traces {
    /// None yet. `key` is that of all marks which are kept.
    #[must_use]
    pub fn new(key: Key, since: UnixMillis) -> Self {
        Self {
            key,
            since,
            parties: HashMap::new(),
            clock: 0,
            dropped: BTreeSet::new(),
        }
    }

    /// Keeps what a result says.
    pub fn keep(&mut self, tenant: TenantId, party: &str, from: Source, marks: &Marks) {
        let trail = self.trail(tenant, party);
        let source = trail.source(from);
        trail.dropped |= marks.dropped;
        for mark in &marks.marks {
            trail.mark(*mark, source);
        }
    }

    /// What of it is in these arguments.
    pub fn find(
        &mut self,
        tenant: TenantId,
        party: &str,
        arguments: &serde_json::Map<String, Value>,
    ) -> FlowFact {
        let (key, since, lost) = (self.key, self.since, self.dropped.contains(&tenant));
        self.clock = self.clock.saturating_add(1);
        let now = self.clock;
        let mut sources: BTreeSet<SourceId> = BTreeSet::new();
        let mut named: BTreeSet<String> = BTreeSet::new();
        let (mut room, mut unseen) = (MAX_LOOKED_AT, false);
        let trail = self.parties.get_mut(&(tenant, party.to_owned()));
        if let Some(trail) = &trail {
            for (name, value) in arguments {
                let mut hit = false;
                leaves(value, &mut |text| {
                    unseen |= text.len() > room;
                    let seen = text.get(..room).unwrap_or(text);
                    room = room.saturating_sub(seen.len());
                    hit |= trail.hits(key, seen, &mut sources);
                });
                if hit {
                    named.insert(name.clone());
                }
            }
        }
        let of = |id: &SourceId| trail.as_ref()?.sources.get(usize::from(*id));
        let labels: BTreeSet<&str> = sources
            .iter()
            .filter_map(of)
            .map(|s| s.classification.name())
            .collect();
        let from: BTreeSet<&str> = sources
            .iter()
            .filter_map(of)
            .map(|s| s.capability.as_str())
            .collect();
        let fact = FlowFact {
            labels: labels.into_iter().map(str::to_owned).collect(),
            sources: from
                .into_iter()
                .take(MAX_SOURCES)
                .map(str::to_owned)
                .collect(),
            arguments: named.into_iter().collect(),
            since,
            dropped: lost || unseen || trail.as_ref().is_some_and(|trail| trail.dropped),
        };
        if let Some(trail) = trail {
            trail.last = now;
        }
        fact
    }

    fn trail(&mut self, tenant: TenantId, party: &str) -> &mut Trail {
        self.clock = self.clock.saturating_add(1);
        let whose = (tenant, party.to_owned());
        if !self.parties.contains_key(&whose) && self.parties.len() >= MAX_PARTIES {
            self.drop_a_party();
        }
        let trail = self.parties.entry(whose).or_default();
        trail.last = self.clock;
        trail
    }

    fn drop_a_party(&mut self) {
        let mut sizes: BTreeMap<TenantId, usize> = BTreeMap::new();
        for (tenant, _) in self.parties.keys() {
            let size = sizes.entry(*tenant).or_default();
            *size = size.saturating_add(1);
        }
        let largest = sizes.into_iter().max_by_key(|(_, size)| *size);
        let theirs = self
            .parties
            .iter()
            .filter(|((tenant, _), _)| largest.is_some_and(|(largest, _)| largest == *tenant));
        let silent = theirs.min_by_key(|(_, trail)| trail.last);
        if let Some(whose) = silent.map(|(whose, _)| whose.clone()) {
            self.dropped.insert(whose.0);
            self.parties.remove(&whose);
        }
    }
}

impl Trail {
    fn source(&mut self, source: Source) -> SourceId {
        let known = self.sources.iter().position(|s| *s == source);
        let place = known.unwrap_or_else(|| {
            self.sources.push(source);
            self.sources.len().saturating_sub(1)
        });
        // A site has fewer capabilities than this, and each has one classification.
        SourceId::try_from(place).unwrap_or(SourceId::MAX)
    }

    fn rank(&self, source: SourceId) -> Option<Classification> {
        let source = self.sources.get(usize::from(source));
        source.map(|source| source.classification)
    }

    fn mark(&mut self, mark: Mark, source: SourceId) {
        let new = match mark {
            Mark::Whole { head, all, length } => {
                let same = self.whole.entry(head).or_default();
                let new = !same.iter().any(|(_, a, by)| (*a, *by) == (all, source));
                if new {
                    same.push((length, all, source));
                }
                new
            }
            Mark::Gram(gram) => match self.grams.get(&gram).copied() {
                // What several sources share counts as that of the most sensitive one.
                Some(known) => {
                    if known != source && self.rank(known) < self.rank(source) {
                        self.grams.insert(gram, source);
                    }
                    false
                }
                None => {
                    self.grams.insert(gram, source);
                    true
                }
            },
        };
        if new {
            self.order.push_back(mark);
        }
        while self.order.len() > MAX_MARKS {
            self.forget();
        }
    }

    fn forget(&mut self) {
        self.dropped = true;
        match self.order.pop_front() {
            None => {}
            Some(Mark::Gram(gram)) => {
                self.grams.remove(&gram);
            }
            Some(Mark::Whole { head, all, .. }) => {
                if let Some(same) = self.whole.get_mut(&head) {
                    if let Some(place) = same.iter().position(|(_, known, _)| *known == all) {
                        same.remove(place);
                    }
                    if same.is_empty() {
                        self.whole.remove(&head);
                    }
                }
            }
        }
    }

    /// Whether a text repeats something; adds from where.
    fn hits(&self, key: Key, text: &[u8], sources: &mut BTreeSet<SourceId>) -> bool {
        let mut hit = false;
        if !self.whole.is_empty() {
            for (at, head) in text.windows(MIN_BYTES).enumerate() {
                for (length, all, source) in self.whole.get(&hash(key, head)).into_iter().flatten()
                {
                    let there = text.get(at..at.saturating_add(usize::from(*length)));
                    if there.is_some_and(|part| hash(key, part) == *all) {
                        hit = true;
                        sources.insert(*source);
                    }
                }
            }
        }
        if !self.grams.is_empty() {
            for gram in text.windows(GRAM_BYTES) {
                if let Some(source) = self.grams.get(&gram_hash(key, gram)) {
                    hit = true;
                    sources.insert(*source);
                }
            }
        }
        hit
    }
}

/// Every text inside: strings, and numbers as they are written. Names of members are the tool's, not data.
fn leaves(value: &Value, with: &mut dyn FnMut(&[u8])) {
    match value {
        Value::String(text) => with(text.as_bytes()),
        Value::Number(number) => with(number.as_str().as_bytes()),
        Value::Array(items) => items.iter().for_each(|item| leaves(item, with)),
        Value::Object(members) => members.values().for_each(|member| leaves(member, with)),
        Value::Null | Value::Bool(_) => {}
    }
}

#[cfg(test)]
mod tests;

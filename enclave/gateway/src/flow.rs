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

/// Grams whose smallest hash is kept: any `PART_BYTES` bytes have so many of them.
const WINDOW: usize = PART_BYTES - GRAM_BYTES + 1;

/// Traces of all parties.
#[derive(Debug)]
pub struct Traces {
    key: u64,
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
    whole: Hashed<Vec<(usize, u64, SourceId)>>,
    /// Parts of long texts.
    grams: Hashed<SourceId>,
    /// Order in which marks came, so that the oldest go first.
    order: VecDeque<Mark>,
    dropped: bool,
}

#[derive(Debug, Clone, Copy)]
enum Mark {
    Whole { head: u64, all: u64 },
    Gram(u64),
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
    /// None yet. `key` is secret to whoever writes results.
    #[must_use]
    pub fn new(key: u64, since: UnixMillis) -> Self {
        Self {
            key,
            since,
            parties: HashMap::new(),
            clock: 0,
            dropped: BTreeSet::new(),
        }
    }

    /// Keeps what a result says. What is no JSON is kept as one text.
    pub fn keep(&mut self, tenant: TenantId, party: &str, from: Source, result: &[u8]) {
        let key = self.key;
        let trail = self.trail(tenant, party);
        let source = trail.source(from);
        match serde_json::from_slice::<Value>(result) {
            Ok(value) => values(&value, NESTED, &mut |text| trail.mark(key, text, source)),
            Err(_) => trail.mark(key, result, source),
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

    fn mark(&mut self, key: u64, text: &[u8], source: SourceId) {
        let text = text.trim_ascii();
        if text.len() < MIN_BYTES {
            return;
        }
        self.dropped |= text.len() > MAX_LOOKED_AT;
        let text = text.get(..MAX_LOOKED_AT).unwrap_or(text);
        if text.len() < PART_BYTES {
            let head = hash(key, text.get(..MIN_BYTES).unwrap_or_default());
            let all = hash(key, text);
            let same = self.whole.entry(head).or_default();
            if !same
                .iter()
                .any(|(_, known, by)| (*known, *by) == (all, source))
            {
                same.push((text.len(), all, source));
                self.order.push_back(Mark::Whole { head, all });
            }
        } else {
            for gram in winnowed(key, text) {
                match self.grams.get(&gram) {
                    None => {
                        self.grams.insert(gram, source);
                        self.order.push_back(Mark::Gram(gram));
                    }
                    // What several sources share counts as that of the most sensitive one.
                    Some(known) if self.rank(*known) < self.rank(source) => {
                        self.grams.insert(gram, source);
                    }
                    Some(_) => {}
                }
            }
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
            Some(Mark::Whole { head, all }) => {
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
    fn hits(&self, key: u64, text: &[u8], sources: &mut BTreeSet<SourceId>) -> bool {
        let mut hit = false;
        if !self.whole.is_empty() {
            for (at, head) in text.windows(MIN_BYTES).enumerate() {
                for (length, all, source) in self.whole.get(&hash(key, head)).into_iter().flatten()
                {
                    let there = text.get(at..at.saturating_add(*length));
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

/// How deep JSON inside texts of JSON is looked for. Tools put their results into one text.
const NESTED: u8 = 2;

/// Every text inside, what a text holds that is JSON itself, and its telling words.
fn values(value: &Value, nested: u8, with: &mut dyn FnMut(&[u8])) {
    leaves(value, &mut |text| {
        with(text);
        let inner = match text.trim_ascii().first() {
            Some(b'{' | b'[') if nested > 0 => serde_json::from_slice::<Value>(text).ok(),
            Some(_) | None => None,
        };
        match inner {
            Some(inner) => values(&inner, nested.saturating_sub(1), with),
            None => words(text).for_each(&mut *with),
        }
    });
}

/// Words that tell something: with a digit or an `@`. Others are in every text.
fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| byte.is_ascii_whitespace() || b"\"'`,;|()[]{}<>=".contains(byte))
        .map(|word| word.trim_ascii())
        .filter(|word| word.len() >= MIN_BYTES && word.len() < PART_BYTES)
        .filter(|word| word.iter().any(|b| b.is_ascii_digit() || *b == b'@'))
}

/// Of each window of grams the smallest hash, once.
fn winnowed(key: u64, text: &[u8]) -> Vec<u64> {
    let hashes: Vec<u64> = text
        .windows(GRAM_BYTES)
        .map(|gram| gram_hash(key, gram))
        .collect();
    let width = WINDOW.min(hashes.len().max(1));
    let mut out: Vec<u64> = Vec::new();
    // The smallest hash, and for how many more windows it is among them: looked for again only when it has left.
    let (mut smallest, mut left) = (u64::MAX, 0usize);
    for window in hashes.windows(width) {
        let newest = window.last().copied().unwrap_or(u64::MAX);
        if left == 0 {
            let last = window.iter().enumerate().rev();
            let last = last.min_by_key(|(_, hash)| **hash);
            (smallest, left) = last.map_or((u64::MAX, 0), |(place, hash)| (*hash, place));
        } else if newest <= smallest {
            (smallest, left) = (newest, width.saturating_sub(1));
        } else {
            left = left.saturating_sub(1);
        }
        if out.last() != Some(&smallest) {
            out.push(smallest);
        }
    }
    out
}

/// An odd number without a pattern: the golden ratio, in 64 bits.
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// Keyed by multiplication and folding, eight bytes at a time. No secret is protected by it but which texts collide.
fn hash(key: u64, bytes: &[u8]) -> u64 {
    let start = key ^ u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let (whole, rest) = bytes.as_chunks::<8>();
    let state = whole.iter().fold(start, |state, chunk| {
        mixed(key, state, u64::from_le_bytes(*chunk))
    });
    if rest.is_empty() {
        return state;
    }
    let mut word = [0; 8];
    word.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    mixed(key, state, u64::from_le_bytes(word))
}

/// Another of [`GRAM_BYTES`] bytes, in one step: there are as many of these as a text has bytes.
fn gram_hash(key: u64, gram: &[u8]) -> u64 {
    let half = |half: Option<&[u8; 8]>| half.map_or(0, |half| u64::from_le_bytes(*half));
    let (first, last) = (half(gram.first_chunk()), half(gram.last_chunk()));
    folded(first ^ key, last ^ MULTIPLIER ^ key.rotate_left(32))
}

fn mixed(key: u64, state: u64, word: u64) -> u64 {
    folded(state ^ word, MULTIPLIER ^ key.rotate_left(32)).wrapping_add(MULTIPLIER)
}

/// Both halves of a product.
fn folded(a: u64, b: u64) -> u64 {
    let product = u128::from(a).wrapping_mul(u128::from(b));
    let [low, high] = [product, product >> 64].map(|part| part & u128::from(u64::MAX));
    u64::try_from(low ^ high).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;

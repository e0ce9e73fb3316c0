//! What is kept of a result: hashes of its texts, which say nothing of them to whoever has not the key.
//!
//! *In:* the bytes of a result. *Out:* [`Marks`]. Pure, and the longest part of tracing, so it is done before anybody's
//! traces are locked.

use super::{GRAM_BYTES, MAX_LOOKED_AT, MAX_MARKS, MIN_BYTES, PART_BYTES};
use countersign_json::texts::each_value;
use serde::de::IgnoredAny;

/// Grams whose smallest hash is kept: any [`PART_BYTES`] bytes have so many of them.
const WINDOW: usize = PART_BYTES - GRAM_BYTES + 1;

/// Most marks of one result, those included that it leaves twice. At 24 bytes each, 6 MiB for as long as it is read.
pub(super) const MAX_OF_A_RESULT: usize = 4 * MAX_MARKS;

/// How deep JSON inside texts of JSON is looked for. Tools put their results into one text.
const NESTED: u8 = 2;

/// Secret to whoever writes results, who cannot choose then what collides.
#[derive(Clone, Copy)]
pub struct Key(u64);

impl Key {
    /// From random bytes.
    #[must_use]
    pub fn new(random: [u8; 8]) -> Self {
        Self(u64::from_le_bytes(random))
    }
}

/// Without the key.
impl std::fmt::Debug for Key {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Key")
    }
}

/// One thing that is looked for in arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// A text of less than [`PART_BYTES`].
    Whole {
        /// Hash of its first [`MIN_BYTES`].
        head: u64,
        /// Hash of all of it.
        all: u64,
        /// Its length in bytes.
        length: u8,
    },
    /// A part of a longer one, by its hash.
    Gram(u64),
}

/// What is kept of one result.
#[derive(Debug, Default)]
pub struct Marks {
    pub(super) marks: Vec<Mark>,
    /// A text was longer than what is looked at, or there are more of them.
    pub(super) dropped: bool,
    /// Hashes of the text in hand; kept for its room.
    hashes: Vec<u64>,
}

impl Marks {
    /// Of a result. What is no JSON counts as one text.
    #[must_use]
    pub fn of(key: Key, result: &[u8]) -> Self {
        let mut marks = Self {
            marks: Vec::with_capacity((result.len() / 4).min(MAX_OF_A_RESULT)),
            ..Self::default()
        };
        match json(result) {
            Some(json) => marks.values(key, json, NESTED),
            None => marks.text(key, result),
        }
        marks
    }

    /// Every text inside, what a text holds that is JSON itself, and its telling words.
    fn values(&mut self, key: Key, json_text: &str, nested: u8) {
        each_value(json_text, |text| {
            self.text(key, text.as_bytes());
            let inner = match text.trim_ascii().as_bytes().first() {
                Some(b'{' | b'[') if nested > 0 => json(text.as_bytes()),
                Some(_) | None => None,
            };
            match inner {
                Some(inner) => self.values(key, inner, nested.saturating_sub(1)),
                None => words(text.as_bytes()).for_each(|word| self.text(key, word)),
            }
        });
    }

    fn text(&mut self, key: Key, text: &[u8]) {
        let text = text.trim_ascii();
        if text.len() < MIN_BYTES {
            return;
        }
        if self.marks.len() >= MAX_OF_A_RESULT {
            self.dropped = true;
            return;
        }
        self.dropped |= text.len() > MAX_LOOKED_AT;
        let text = text.get(..MAX_LOOKED_AT).unwrap_or(text);
        match u8::try_from(text.len()) {
            Ok(length) if text.len() < PART_BYTES => self.marks.push(Mark::Whole {
                head: hash(key, text.get(..MIN_BYTES).unwrap_or_default()),
                all: hash(key, text),
                length,
            }),
            Ok(_) | Err(_) => {
                let grams = text.windows(GRAM_BYTES);
                self.hashes.clear();
                self.hashes.extend(grams.map(|gram| gram_hash(key, gram)));
                let marks = &mut self.marks;
                winnowed(&self.hashes, |gram| marks.push(Mark::Gram(gram)));
            }
        }
    }
}

/// A text that is one JSON value. Keys that stand twice do not matter here: all their values are kept.
fn json(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    let read = serde_json::from_str::<IgnoredAny>(text);
    read.is_ok().then_some(text)
}

/// Words that tell something: with a digit or an `@`. Others are in every text.
fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| byte.is_ascii_whitespace() || b"\"'`,;|()[]{}<>=".contains(byte))
        .filter(|word| word.len() >= MIN_BYTES && word.len() < PART_BYTES)
        .filter(|word| word.iter().any(|b| b.is_ascii_digit() || *b == b'@'))
}

/// Of each window of hashes the smallest, once in a row.
pub(super) fn winnowed(hashes: &[u64], mut with: impl FnMut(u64)) {
    let width = WINDOW.min(hashes.len().max(1));
    // The smallest hash, and for how many more windows it is among them: looked for again only when it has left.
    let (mut smallest, mut left, mut told) = (u64::MAX, 0usize, None);
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
        if told != Some(smallest) {
            with(smallest);
            told = Some(smallest);
        }
    }
}

/// An odd number without a pattern: the golden ratio, in 64 bits.
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// Keyed by multiplication and folding, eight bytes at a time. No secret is protected by it but which texts collide.
pub(super) fn hash(key: Key, bytes: &[u8]) -> u64 {
    let start = key.0 ^ u64::try_from(bytes.len()).unwrap_or(u64::MAX);
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
pub(super) fn gram_hash(key: Key, gram: &[u8]) -> u64 {
    let half = |half: Option<&[u8; 8]>| half.map_or(0, |half| u64::from_le_bytes(*half));
    let (first, last) = (half(gram.first_chunk()), half(gram.last_chunk()));
    folded(first ^ key.0, last ^ MULTIPLIER ^ key.0.rotate_left(32))
}

fn mixed(key: Key, state: u64, word: u64) -> u64 {
    folded(state ^ word, MULTIPLIER ^ key.0.rotate_left(32)).wrapping_add(MULTIPLIER)
}

/// Both halves of a product.
fn folded(a: u64, b: u64) -> u64 {
    let (low, high) = a.carrying_mul(b, 0);
    low ^ high
}

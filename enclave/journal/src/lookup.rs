//! Finding entries by digest or call, without an index that random keys would scatter.
//!
//! In: keys in the order of the log. Out: where an entry may be; the caller reads it and
//! compares. Keys of the newest segment of 16,384 entries are in memory; when it is full it
//! is written once, as 64 sorted rows of about 256 keys. A look-up reads one row a segment.
//! (A B-tree over digests would dirty a page for nearly every entry.)

use countersign_record::digest::{CallId, EntryDigest};
use countersign_record::entry::Body;

/// Entries of a segment. A row then has about 256 keys of 10 bytes.
pub(crate) const SEGMENT: u64 = 16_384;
const BUCKETS: u8 = 64;
const KEY: usize = 10;

/// What a key stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keyed {
    Digest,
    Call,
}

/// Eight bytes of a digest or call, which are as good as random.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key(u64);

impl Key {
    pub(crate) fn of_digest(digest: &EntryDigest) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = digest.0;
        Self(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
    }

    pub(crate) fn of_call(call: &CallId) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = call.0;
        Self(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
    }

    fn bucket(self) -> u8 {
        u8::try_from(self.0 >> 58).unwrap_or(0)
    }
}

/// The call that an entry is about.
pub(crate) fn call_of(body: &Body) -> Option<CallId> {
    match body {
        Body::Intent(b) => Some(b.call),
        Body::Decision(b) => Some(b.call),
        Body::Approval(b) => Some(b.call),
        Body::Enrol(_)
        | Body::Base(_)
        | Body::Run(_)
        | Body::Change(_)
        | Body::Event(_)
        | Body::Renewal(_)
        | Body::Adopt(_)
        | Body::Gap(_)
        | Body::Erasure(_)
        | Body::Hold(_)
        | Body::Stop(_)
        | Body::Close(_) => None,
    }
}

/// Keys of one entry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EntryKeys {
    pub(crate) index: u64,
    pub(crate) digest: Key,
    pub(crate) call: Option<Key>,
}

/// Keys of the newest segment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recent(Vec<EntryKeys>);

impl Recent {
    pub(crate) fn push(&mut self, keys: EntryKeys) {
        self.0.push(keys);
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Indexes under which `key` stands, newest first.
    pub(crate) fn find(&self, keyed: Keyed, key: Key) -> Vec<u64> {
        let matches = |k: &&EntryKeys| match keyed {
            Keyed::Digest => k.digest == key,
            Keyed::Call => k.call == Some(key),
        };
        self.0
            .iter()
            .rev()
            .filter(matches)
            .map(|k| k.index)
            .collect()
    }

    /// The rows of a full segment; `more` are keys that are not among these yet.
    pub(crate) fn rows(&self, segment: u64, more: &[EntryKeys]) -> Vec<(i64, Vec<u8>)> {
        let all = || self.0.iter().chain(more);
        let offset =
            |index: u64| u16::try_from(index.checked_rem(SEGMENT).unwrap_or(0)).unwrap_or(u16::MAX);
        let digests = all().map(|k| (k.digest, offset(k.index))).collect();
        let calls = all()
            .filter_map(|k| Some((k.call?, offset(k.index))))
            .collect();
        let mut rows = sorted_rows(Keyed::Digest, segment, digests);
        rows.extend(sorted_rows(Keyed::Call, segment, calls));
        rows
    }
}

fn sorted_rows(keyed: Keyed, segment: u64, mut keys: Vec<(Key, u16)>) -> Vec<(i64, Vec<u8>)> {
    keys.sort_unstable();
    (0..BUCKETS)
        .map(|bucket| {
            let bytes = keys
                .iter()
                .filter(|(key, _)| key.bucket() == bucket)
                .flat_map(|(key, offset)| {
                    key.0.to_be_bytes().into_iter().chain(offset.to_be_bytes())
                })
                .collect();
            (row_id(keyed, segment, bucket), bytes)
        })
        .collect()
}

/// The row of one bucket of a segment. Segments are below 2⁴⁸.
fn row_id(keyed: Keyed, segment: u64, bucket: u8) -> i64 {
    let kind = match keyed {
        Keyed::Digest => 1u64,
        Keyed::Call => 2,
    };
    i64::try_from((kind << 56) | (segment << 8) | u64::from(bucket)).unwrap_or(i64::MAX)
}

/// The row in which `key` of a segment stands.
pub(crate) fn row_of(keyed: Keyed, segment: u64, key: Key) -> i64 {
    row_id(keyed, segment, key.bucket())
}

/// Indexes under which `key` stands in a row, newest first.
pub(crate) fn find_in_row(row: &[u8], segment: u64, key: Key) -> Vec<u64> {
    let (keys, _) = row.as_chunks::<KEY>();
    let mut found: Vec<u64> = keys
        .iter()
        .filter_map(|k| {
            let (value, offset) = k.split_first_chunk::<8>()?;
            let offset = u64::from(u16::from_be_bytes(offset.try_into().ok()?));
            (u64::from_be_bytes(*value) == key.0)
                .then(|| segment.saturating_mul(SEGMENT).saturating_add(offset))
        })
        .collect();
    found.reverse();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_a_segment_is_found_in_its_row() {
        let digest = |i: u64| Key(i.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let keys = |i| EntryKeys {
            index: i,
            digest: digest(i),
            call: (i % 3 == 0).then(|| digest(i / 6)),
        };
        let mut recent = Recent::default();
        let first = 2 * SEGMENT;
        (first..first + SEGMENT - 10).for_each(|i| recent.push(keys(i)));
        let more: Vec<_> = (first + SEGMENT - 10..first + SEGMENT).map(keys).collect();
        let rows: std::collections::HashMap<i64, Vec<u8>> =
            recent.rows(2, &more).into_iter().collect();
        for i in first..first + SEGMENT {
            let row = &rows[&row_of(Keyed::Digest, 2, digest(i))];
            assert_eq!(find_in_row(row, 2, digest(i)), [i]);
        }
        let call = digest(first / 6 + 1);
        let row = &rows[&row_of(Keyed::Call, 2, call)];
        let expected: Vec<u64> = (first..first + SEGMENT)
            .rev()
            .filter(|i| i % 3 == 0 && digest(i / 6) == call)
            .collect();
        assert_eq!(expected.len(), 2);
        assert_eq!(find_in_row(row, 2, call), expected);
        assert_eq!(recent.find(Keyed::Call, call), expected);
    }
}

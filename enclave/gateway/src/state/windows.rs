//! Counting calls over windows that slide, in bounded memory.
//!
//! In: times of calls. Out: how many lie within a window, never too few. A counter keeps
//! `LEVELS` rows of at most `BUCKETS` buckets; each row reaches four times as far back as
//! the one before, with buckets four times as wide. A call counts until its whole bucket has
//! left the window: at most 1/64 of the window longer than exact counting would, never shorter.

use countersign_record::digest::UnixMillis;
use std::collections::VecDeque;

/// Rows of a counter. The last reaches 4 ms × 4^13 × 256 back: more than two years.
const LEVELS: u32 = 14;

/// Buckets of a row. A full counter takes 14 × 257 × 16 bytes = 58 KB.
const BUCKETS: u64 = 256;

/// Width of the first row's buckets, in milliseconds.
const FIRST_WIDTH: u64 = 4;

/// Longest window that calls are counted over: two years of 365 days, in milliseconds.
pub const MAX_WINDOW_MILLIS: u64 = 2 * 365 * 24 * 60 * 60 * 1000;

/// Calls by their times.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counter {
    rows: Vec<Row>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Row {
    width: u64,
    /// Number of a bucket (its start divided by the width), and its calls; ascending.
    buckets: VecDeque<(u64, u64)>,
}

impl Counter {
    /// Counts a call.
    pub fn add(&mut self, at: UnixMillis) {
        if self.rows.is_empty() {
            self.rows = (0..LEVELS)
                .map(|level| Row {
                    width: FIRST_WIDTH.saturating_mul(4u64.saturating_pow(level)),
                    buckets: VecDeque::new(),
                })
                .collect();
        }
        self.rows.iter_mut().for_each(|row| row.add(at));
    }

    /// Calls within the window that ends at `now`, and when the oldest of them leaves it.
    #[must_use]
    pub fn within(&self, window_millis: u64, now: UnixMillis) -> (u64, Option<UnixMillis>) {
        let window = window_millis.min(MAX_WINDOW_MILLIS);
        let reaches = |row: &&Row| row.width.saturating_mul(BUCKETS) >= window;
        let Some(row) = self.rows.iter().find(reaches) else {
            return (0, None);
        };
        let from = now.0.saturating_sub(window).checked_div(row.width);
        let mut inside = row
            .buckets
            .iter()
            .filter(|(bucket, _)| Some(*bucket) >= from)
            .peekable();
        let free_at = inside.peek().map(|(bucket, _)| {
            let end = bucket.saturating_add(1).saturating_mul(row.width);
            UnixMillis(end.saturating_add(window))
        });
        (
            inside.fold(0, |n, (_, calls)| n.saturating_add(*calls)),
            free_at,
        )
    }

    /// Whether nothing was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

impl Row {
    fn add(&mut self, at: UnixMillis) {
        let bucket = at.0.checked_div(self.width).unwrap_or_default();
        // Entries come in order of time; a late one by a little, so the search is short.
        let later = self
            .buckets
            .iter()
            .rev()
            .take_while(|(b, _)| *b > bucket)
            .count();
        let place = self.buckets.len().saturating_sub(later);
        match place
            .checked_sub(1)
            .and_then(|before| self.buckets.get_mut(before))
        {
            Some((b, calls)) if *b == bucket => *calls = calls.saturating_add(1),
            _ => self.buckets.insert(place, (bucket, 1)),
        }
        let newest = self.buckets.back().map_or(0, |(b, _)| *b);
        while self
            .buckets
            .front()
            .is_some_and(|(b, _)| b.saturating_add(BUCKETS) < newest)
        {
            self.buckets.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::arithmetic_side_effects, reason = "numbers of tests are small")]

    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_call_leaves_its_window_and_says_when() {
        let mut counter = Counter::default();
        counter.add(UnixMillis(1_000_000));
        let (calls, free_at) = counter.within(60_000, UnixMillis(1_059_000));
        let free_at = free_at.unwrap();
        assert_eq!(calls, 1);
        assert!(free_at.0 >= 1_060_000 && free_at.0 <= 1_060_000 + 60_000 / 64);
        assert_eq!(counter.within(60_000, free_at).0, 0);
    }

    #[test]
    fn a_window_of_a_year_counts_a_year() {
        let year = 365 * 24 * 3600 * 1000;
        let mut counter = Counter::default();
        counter.add(UnixMillis(1));
        counter.add(UnixMillis(year));
        assert_eq!(counter.within(year, UnixMillis(year)).0, 2);
    }

    #[test]
    fn a_million_calls_take_a_bounded_number_of_buckets() {
        let mut counter = Counter::default();
        for i in 0..1_000_000u64 {
            counter.add(UnixMillis(i * 7));
        }
        assert!(counter.rows.iter().all(|r| r.buckets.len() <= 257));
    }

    proptest! {
        #[test]
        fn never_fewer_than_exact_counting_and_never_beyond_a_64th_of_the_window(
            mut times in proptest::collection::vec(0u64..100_000_000, 1..200),
            window in 1u64..50_000_000,
            late in 0u64..1_000_000,
        ) {
            times.sort_unstable();
            let mut counter = Counter::default();
            times.iter().for_each(|t| counter.add(UnixMillis(*t)));
            let now = times.last().unwrap() + late;
            let exact = |window: u64| times.iter().filter(|t| **t + window > now).count();
            let (found, _) = counter.within(window, UnixMillis(now));
            let found = usize::try_from(found).unwrap();
            prop_assert!(found >= exact(window));
            prop_assert!(found <= exact(window + window / 64 + FIRST_WIDTH + 1));
        }
    }
}

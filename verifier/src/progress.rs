//! How far a verification is, for whoever waits for it.
//!
//! In: bytes and leaves as they are read. Out: counts that another thread may look at, and a line of
//! text made of them. No verdict depends on it; clocks are the caller's.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Counts of one verification.
#[derive(Debug, Default)]
pub struct Progress {
    bytes: AtomicU64,
    entries: AtomicU64,
}

/// What was read so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Seen {
    /// Bytes of the export.
    pub bytes: u64,
    /// Entries that were given to the checks.
    pub entries: u64,
}

impl Progress {
    pub(crate) fn read(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn entry(&self) {
        self.entries.fetch_add(1, Ordering::Relaxed);
    }

    /// What was read so far.
    #[must_use]
    pub fn seen(&self) -> Seen {
        Seen {
            bytes: self.bytes.load(Ordering::Relaxed),
            entries: self.entries.load(Ordering::Relaxed),
        }
    }
}

/// A line for people. `size` is that of the export in bytes, where it is known.
///
/// It says that there is no verdict yet: it may be the last that is seen of an interrupted run.
#[must_use]
pub fn line(seen: Seen, size: Option<u64>, elapsed: Duration) -> String {
    let Seen { bytes, entries } = seen;
    let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    let rate = entries
        .saturating_mul(1000)
        .checked_div(millis)
        .unwrap_or(0);
    let mut out = match size.filter(|s| *s > 0) {
        None => format!("checking: {}", mebibytes(bytes)),
        Some(size) => {
            let share = bytes.min(size).saturating_mul(100).checked_div(size);
            let share = share.unwrap_or(0);
            format!("checking: {share} % of {}", mebibytes(size))
        }
    };
    out.push_str(&format!(", {entries} entries, {rate} entries/s"));
    if let Some(left) = left(bytes, size, millis) {
        out.push_str(&format!(", about {left} s left"));
    }
    out.push_str("; no verdict yet");
    out
}

/// Seconds that the rest takes if it goes on like this; nothing where that cannot be told.
fn left(bytes: u64, size: Option<u64>, millis: u64) -> Option<u64> {
    // Before a second has passed, an estimate would be a guess.
    let rest = size?.checked_sub(bytes).filter(|_| millis >= 1000)?;
    let millis = u128::from(rest)
        .checked_mul(u128::from(millis))?
        .checked_div(u128::from(bytes))?;
    u64::try_from(millis.div_ceil(1000)).ok()
}

fn mebibytes(bytes: u64) -> String {
    const MEBIBYTE: u64 = 1024 * 1024;
    format!("{} MiB", bytes.div_ceil(MEBIBYTE))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEBIBYTE: u64 = 1024 * 1024;

    #[test]
    fn a_file_of_known_size_has_a_share_and_an_estimate() {
        let seen = Seen {
            bytes: 30 * MEBIBYTE,
            entries: 60_000,
        };
        assert_eq!(
            line(seen, Some(120 * MEBIBYTE), Duration::from_secs(2)),
            "checking: 25 % of 120 MiB, 60000 entries, 30000 entries/s, about 6 s left; no verdict yet"
        );
    }

    #[test]
    fn a_stream_of_unknown_size_has_no_estimate() {
        let seen = Seen {
            bytes: 1,
            entries: 5,
        };
        assert_eq!(
            line(seen, None, Duration::from_secs(5)),
            "checking: 1 MiB, 5 entries, 1 entries/s; no verdict yet"
        );
    }

    #[test]
    fn nothing_read_is_no_division_by_nothing() {
        assert_eq!(
            line(Seen::default(), Some(0), Duration::ZERO),
            "checking: 0 MiB, 0 entries, 0 entries/s; no verdict yet"
        );
    }

    #[test]
    fn a_file_that_grew_is_not_more_than_whole() {
        let seen = Seen {
            bytes: 3,
            entries: 0,
        };
        assert!(line(seen, Some(2), Duration::from_secs(9)).starts_with("checking: 100 % of"));
    }
}

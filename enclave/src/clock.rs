//! The one place that reads clocks.
//!
//! In: the system's wall clock, which the operator can set, and a clock that only advances.
//! Out: [`Moment`]s that never run behind the log, and word of a wall clock that steps.

use countersign_gateway::call::Moment;
use countersign_record::digest::UnixMillis;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How far the wall clock may step against the advancing one before calls are refused (60 s).
pub const MAX_DRIFT_MILLIS: u64 = 60_000;

/// The gateway's clocks.
#[derive(Debug)]
pub struct Clock {
    started: Instant,
    wall_at_start: u64,
    /// Time of the newest entry; decisions never run behind it.
    floor: AtomicU64,
}

impl Clock {
    /// Starts at this moment.
    #[must_use]
    pub fn start() -> Self {
        Self {
            started: monotonic(),
            wall_at_start: wall(),
            floor: AtomicU64::new(0),
        }
    }

    /// Now. Never behind the newest entry, and never further ahead of the advancing clock than is tolerated: a wall
    /// clock that jumps for a moment must not leave an entry from the future, behind which every later one would stand.
    #[must_use]
    pub fn now(&self) -> Moment {
        let most = self.expected().saturating_add(MAX_DRIFT_MILLIS);
        let at = wall().min(most).max(self.floor.load(Ordering::Relaxed));
        Moment {
            at: UnixMillis(at),
            since_boot: self.since_boot(),
        }
    }

    /// Milliseconds since the start, by the clock that only advances.
    #[must_use]
    pub fn since_boot(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Microseconds since the start, by the clock that only advances.
    #[must_use]
    pub fn micros(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Microseconds since 1970 by the wall clock, for what is no evidence.
    #[must_use]
    pub fn unix_micros(&self) -> u64 {
        u64::try_from(since_1970().as_micros()).unwrap_or(u64::MAX)
    }

    /// Takes note of an entry's time.
    pub fn not_before(&self, at: UnixMillis) {
        self.floor.fetch_max(at.0, Ordering::Relaxed);
    }

    /// What the wall clock would show if it had not stepped since the start.
    fn expected(&self) -> u64 {
        self.wall_at_start.saturating_add(self.since_boot())
    }

    /// Whether the wall clock disagrees with the advancing one, or stands behind the log, by more than is tolerated.
    #[must_use]
    pub fn drifts(&self) -> bool {
        let wall = wall();
        let behind_log = self.floor.load(Ordering::Relaxed).saturating_sub(wall);
        wall.abs_diff(self.expected()) > MAX_DRIFT_MILLIS || behind_log > MAX_DRIFT_MILLIS
    }
}

fn wall() -> u64 {
    u64::try_from(since_1970().as_millis()).unwrap_or(u64::MAX)
}

#[expect(
    clippy::disallowed_methods,
    reason = "this module is the shell's clock"
)]
fn since_1970() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

#[expect(
    clippy::disallowed_methods,
    reason = "this module is the shell's clock"
)]
fn monotonic() -> Instant {
    Instant::now()
}

//! When a failing upstream may be tried again.
//!
//! *In:* failures, successes and the time. *Out:* whether to try now. There is no timer: the
//! next call tries, so a dead upstream costs nothing while nobody calls it. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// Counts failures in a row and doubles the pause after each.
#[derive(Debug)]
pub(crate) struct Breaker {
    first: Duration,
    most: Duration,
    failures: u32,
    closed_until: Option<Instant>,
}

impl Breaker {
    pub(crate) fn new(first: Duration, most: Duration) -> Self {
        Self {
            first,
            most,
            failures: 0,
            closed_until: None,
        }
    }

    /// The pause that is left, if there is one.
    pub(crate) fn pause(&self, now: Instant) -> Option<Duration> {
        self.closed_until
            .map(|until| until.saturating_duration_since(now))
            .filter(|left| !left.is_zero())
    }

    /// Notes a failure. Failures during a pause are of the same cause and count once.
    pub(crate) fn failed(&mut self, now: Instant) {
        if self.pause(now).is_some() {
            return;
        }
        let factor = 2u32.saturating_pow(self.failures);
        let pause = self.first.saturating_mul(factor).min(self.most);
        self.failures = self.failures.saturating_add(1);
        self.closed_until = now.checked_add(pause);
    }

    /// Notes an answered request.
    pub(crate) fn answered(&mut self) {
        self.failures = 0;
        self.closed_until = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_millis(100);

    #[test]
    fn each_failure_doubles_the_pause_up_to_the_most() {
        let mut now = Instant::now();
        let mut breaker = Breaker::new(STEP, STEP * 5);
        for pause in [STEP, STEP * 2, STEP * 4, STEP * 5, STEP * 5] {
            breaker.failed(now);
            assert_eq!(breaker.pause(now), Some(pause));
            now += pause;
            assert_eq!(breaker.pause(now), None);
        }
    }

    #[test]
    fn many_failures_at_once_count_as_one() {
        let now = Instant::now();
        let mut breaker = Breaker::new(STEP, STEP * 5);
        (0..64).for_each(|_| breaker.failed(now));
        assert_eq!(breaker.pause(now), Some(STEP));
    }

    #[test]
    fn an_answer_ends_the_pause() {
        let now = Instant::now();
        let mut breaker = Breaker::new(STEP, STEP * 5);
        breaker.failed(now);
        breaker.answered();
        assert_eq!(breaker.pause(now), None);
        breaker.failed(now);
        assert_eq!(breaker.pause(now), Some(STEP));
    }

    #[test]
    fn failures_without_end_do_not_overflow() {
        let mut now = Instant::now();
        let mut breaker = Breaker::new(STEP, STEP * 5);
        for _ in 0..100 {
            breaker.failed(now);
            now += STEP * 5;
        }
        breaker.failed(now);
        assert_eq!(breaker.pause(now), Some(STEP * 5));
    }
}

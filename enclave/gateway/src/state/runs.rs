//! Runs: which calls belong together.
//!
//! In: an agent, what it calls its run, the time. Out: an identifier that the gateway chose.
//! Bounded by agent. Not folded: a start closes every run and begins new ones.

use super::lengths_hash;
use countersign_record::digest::{RunId, TenantId, UnixMillis};
use std::collections::HashMap;

/// Silence after which a run that the gateway chose for a caller ends (30 minutes).
pub const RUN_IDLE_MILLIS: u64 = 30 * 60 * 1000;

/// Silence after which a run that a client named ends (a day).
pub const NAMED_RUN_IDLE_MILLIS: u64 = 24 * 60 * 60 * 1000;

/// Silence after which no call of a run can still be under way (5 minutes; calls take at most one).
pub const RUN_QUIET_MILLIS: u64 = 5 * 60 * 1000;

/// Runs that one agent may have open. Beyond, its quietest one ends; if none is quiet, new names share 16 runs.
pub const MAX_RUNS_PER_AGENT: usize = 256;

/// A run that a call belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// Its identifier.
    pub id: RunId,
    /// A silent run that this one replaces, to be closed.
    pub ended: Option<RunId>,
}

#[derive(Debug, Clone)]
struct OpenRun {
    id: RunId,
    last: UnixMillis,
}

impl OpenRun {
    fn silence(&self, now: UnixMillis) -> u64 {
        now.0.saturating_sub(self.last.0)
    }
}

/// Open runs, by agent and by what the client calls them.
#[derive(Debug, Default)]
pub(super) struct Runs {
    open: HashMap<(TenantId, String), HashMap<Option<String>, OpenRun>>,
    /// Runs that were begun, so that no two identifiers are the same.
    begun: u64,
}

impl Runs {
    pub(super) fn of_call(
        &mut self,
        in_force: [u8; 32],
        tenant: TenantId,
        agent: &str,
        label: Option<&str>,
        now: UnixMillis,
    ) -> Run {
        let runs = self.open.entry((tenant, agent.to_owned())).or_default();
        let mut name = label.map(str::to_owned);
        if let Some(open) = runs.get_mut(&name)
            && (name.is_some() || open.silence(now) <= RUN_IDLE_MILLIS)
        {
            open.last = now.max(open.last);
            return Run {
                id: open.id,
                ended: None,
            };
        }
        let mut ended = runs.remove(&name).map(|old| old.id);
        if ended.is_none() && runs.len() >= MAX_RUNS_PER_AGENT {
            match quietest(runs, now) {
                Some(quiet) => ended = runs.remove(&quiet).map(|old| old.id),
                None => name = name.map(|label| shared(&label)),
            }
        }
        if let Some(open) = runs.get_mut(&name) {
            open.last = now.max(open.last);
            return Run { id: open.id, ended };
        }
        self.begun = self.begun.saturating_add(1);
        let digest = lengths_hash(
            "countersign/run/v1",
            &[
                &in_force,
                &tenant.0,
                agent.as_bytes(),
                &self.begun.to_be_bytes(),
                &now.0.to_be_bytes(),
            ],
        );
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ..] = digest;
        let id = RunId([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]);
        runs.insert(name, OpenRun { id, last: now });
        Run { id, ended }
    }

    pub(super) fn close(&mut self, run: RunId) {
        for runs in self.open.values_mut() {
            runs.retain(|_, open| open.id != run);
        }
        self.open.retain(|_, runs| !runs.is_empty());
    }

    pub(super) fn idle(&mut self, now: UnixMillis) -> Vec<(TenantId, RunId)> {
        let mut out = Vec::new();
        for ((tenant, _), runs) in &mut self.open {
            runs.retain(|name, open| {
                let limit = match name {
                    Some(_) => NAMED_RUN_IDLE_MILLIS,
                    None => RUN_IDLE_MILLIS,
                };
                let idle = open.silence(now) > limit;
                if idle {
                    out.push((*tenant, open.id));
                }
                !idle
            });
        }
        self.open.retain(|_, runs| !runs.is_empty());
        out.sort();
        out
    }
}

/// A run under whose name no call can still be under way.
fn quietest(runs: &HashMap<Option<String>, OpenRun>, now: UnixMillis) -> Option<Option<String>> {
    runs.iter()
        .filter(|(name, open)| name.is_some() && open.silence(now) > RUN_QUIET_MILLIS)
        .min_by_key(|(_, open)| (open.last, open.id))
        .map(|(name, _)| name.clone())
}

/// One of 16 names that labels share when an agent has too many.
fn shared(label: &str) -> String {
    let [first, ..] = lengths_hash("countersign/run-label/v1", &[label.as_bytes()]);
    format!("\u{0}shared-{:x}", first >> 4)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::arithmetic_side_effects, reason = "numbers of tests are small")]

    use super::*;

    const TENANT: TenantId = TenantId([1; 16]);
    const START: u64 = 1_000_000_000;

    fn run(runs: &mut Runs, agent: &str, label: Option<&str>, at: u64) -> Run {
        runs.of_call([0; 32], TENANT, agent, label, UnixMillis(START + at))
    }

    #[test]
    fn calls_without_a_name_share_a_run_until_there_is_silence() {
        let mut runs = Runs::default();
        let first = run(&mut runs, "a", None, 0);
        let second = run(&mut runs, "a", None, RUN_IDLE_MILLIS);
        let third = run(&mut runs, "a", None, 2 * RUN_IDLE_MILLIS + 1);
        assert_eq!((second.id, second.ended), (first.id, None));
        assert_ne!(third.id, first.id);
        assert_eq!(third.ended, Some(first.id));
    }

    #[test]
    fn two_agents_never_share_a_run() {
        let mut runs = Runs::default();
        let one = run(&mut runs, "a", Some("r"), 0);
        let other = run(&mut runs, "b", Some("r"), 0);
        assert_ne!(one.id, other.id);
    }

    #[test]
    fn an_agent_that_names_ever_new_runs_ends_its_quiet_ones() {
        let mut runs = Runs::default();
        let first = run(&mut runs, "a", Some("0"), 0);
        for i in 1..MAX_RUNS_PER_AGENT {
            run(&mut runs, "a", Some(&i.to_string()), 1);
        }
        let next = run(&mut runs, "a", Some("next"), RUN_QUIET_MILLIS + 1);
        assert_eq!(next.ended, Some(first.id));
    }

    #[test]
    fn an_agent_with_too_many_busy_runs_ends_none_and_is_bounded() {
        let mut runs = Runs::default();
        for i in 0..10_000 {
            assert_eq!(run(&mut runs, "a", Some(&i.to_string()), 0).ended, None);
        }
        let open: usize = runs.open.values().map(HashMap::len).sum();
        assert!(open <= MAX_RUNS_PER_AGENT + 16);
    }

    #[test]
    fn a_closed_run_is_not_continued() {
        let mut runs = Runs::default();
        let first = run(&mut runs, "a", Some("r"), 0);
        runs.close(first.id);
        assert_ne!(run(&mut runs, "a", Some("r"), 0).id, first.id);
    }

    #[test]
    fn silent_runs_are_taken_out_once() {
        let mut runs = Runs::default();
        let first = run(&mut runs, "a", None, 0);
        let later = UnixMillis(START + RUN_IDLE_MILLIS + 1);
        assert_eq!(runs.idle(later), vec![(TENANT, first.id)]);
        assert_eq!(runs.idle(later), Vec::new());
    }
}

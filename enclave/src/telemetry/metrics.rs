//! What is counted and timed, by capability.
//!
//! In: calls that have ended. Out: numbers that only grow. Labels come from the bundle and from closed lists, never
//! from a request, so that nobody outside can make them many, or write into them.

use super::Ended;
use countersign_gateway::refusal::Code;
use countersign_policies::Content;
use countersign_policies::site::method::Method;
use countersign_record::body::Verdict;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

/// Upper edges of the histograms' buckets, in microseconds: six a decade from 10 µs to 7 s, then up to a minute, the
/// longest that a call takes. A quantile that is read between two edges is off by less than a quarter.
pub(super) const EDGES_MICROS: [u64; 40] = [
    10, 15, 20, 30, 50, 70, //
    100, 150, 200, 300, 500, 700, //
    1_000, 1_500, 2_000, 3_000, 5_000, 7_000, //
    10_000, 15_000, 20_000, 30_000, 50_000, 70_000, //
    100_000, 150_000, 200_000, 300_000, 500_000, 700_000, //
    1_000_000, 1_500_000, 2_000_000, 3_000_000, 5_000_000, 7_000_000, //
    10_000_000, 15_000_000, 30_000_000, 60_000_000,
];

/// Times, counted by buckets.
#[derive(Debug)]
pub(super) struct Histogram {
    buckets: [AtomicU64; EDGES_MICROS.len()],
    above: AtomicU64,
    sum_micros: AtomicU64,
}

/// What a histogram held at a moment. The last count is of what lies above all edges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) buckets: Vec<u64>,
    pub(super) sum_micros: u64,
}

impl Counts {
    pub(super) fn total(&self) -> u64 {
        self.buckets.iter().fold(0, |sum, n| sum.saturating_add(*n))
    }
}

impl Histogram {
    fn new() -> Self {
        Self {
            buckets: [const { AtomicU64::new(0) }; EDGES_MICROS.len()],
            above: AtomicU64::new(0),
            sum_micros: AtomicU64::new(0),
        }
    }

    fn record(&self, micros: u64) {
        let at = EDGES_MICROS.partition_point(|edge| *edge < micros);
        self.buckets
            .get(at)
            .unwrap_or(&self.above)
            .fetch_add(1, Ordering::Relaxed);
        self.sum_micros.fetch_add(micros, Ordering::Relaxed);
    }

    pub(super) fn counts(&self) -> Counts {
        let all = self.buckets.iter().chain([&self.above]);
        Counts {
            buckets: all.map(|b| b.load(Ordering::Relaxed)).collect(),
            sum_micros: self.sum_micros.load(Ordering::Relaxed),
        }
    }
}

/// The numbers of one capability.
#[derive(Debug)]
pub(super) struct Series {
    /// Its id; empty for calls of what there is not.
    pub(super) capability: String,
    /// The method that it is called by.
    pub(super) method: &'static str,
    /// The upstream's name for the tool; empty for what is no tool.
    pub(super) tool: String,
    /// The whole call.
    pub(super) whole: Histogram,
    /// The call without its upstream.
    pub(super) ours: Histogram,
    /// The upstream, where there was one.
    pub(super) upstream: Histogram,
    verdicts: Vec<AtomicU64>,
    refusals: Vec<AtomicU64>,
    /// Answers in which the tool says that it failed.
    pub(super) tool_errors: AtomicU64,
}

impl Series {
    fn new(capability: String, method: Method, tool: String) -> Self {
        let zeros = |n: usize| (0..n).map(|_| AtomicU64::new(0)).collect();
        Self {
            capability,
            method: method.name(),
            tool,
            whole: Histogram::new(),
            ours: Histogram::new(),
            upstream: Histogram::new(),
            verdicts: zeros(Verdict::ALL.len()),
            refusals: zeros(Code::ALL.len()),
            tool_errors: AtomicU64::new(0),
        }
    }

    /// How often each verdict was reached.
    pub(super) fn verdicts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let names = Verdict::ALL.iter().map(|v| v.name());
        names.zip(self.verdicts.iter().map(|n| n.load(Ordering::Relaxed)))
    }

    /// How often each code was given, of those that were.
    pub(super) fn refusals(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let names = Code::ALL.iter().map(|c| c.name());
        let counts = self.refusals.iter().map(|n| n.load(Ordering::Relaxed));
        names.zip(counts).filter(|(_, n)| *n > 0)
    }
}

/// The numbers of all capabilities, and of what belongs to none.
#[derive(Debug)]
pub(super) struct Metrics {
    known: BTreeMap<String, Series>,
    unknown: Series,
    /// Requests that were refused before their caller was known.
    pub(super) strangers: AtomicU64,
}

impl Metrics {
    /// For the capabilities of a bundle.
    pub(super) fn new(content: &Content) -> Self {
        let series = |(id, c): (&String, &std::sync::Arc<countersign_policies::Capability>)| {
            let tool = if c.method == Method::CallTool {
                c.tool.clone()
            } else {
                String::new()
            };
            (id.clone(), Series::new(id.clone(), c.method, tool))
        };
        Self {
            known: content.capabilities.iter().map(series).collect(),
            unknown: Series::new(String::new(), Method::CallTool, String::new()),
            strangers: AtomicU64::new(0),
        }
    }

    /// The numbers of a capability; of a call that got to none, those of no capability.
    pub(super) fn series(&self, capability: Option<&str>) -> &Series {
        capability
            .and_then(|id| self.known.get(id))
            .unwrap_or(&self.unknown)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Series> {
        self.known.values().chain([&self.unknown])
    }

    pub(super) fn count(&self, ended: &Ended) {
        let series = self.series(ended.capability.as_deref());
        let upstream = ended.timings.upstream;
        series.whole.record(ended.total);
        series.ours.record(ended.total.saturating_sub(upstream));
        if ended.left {
            series.upstream.record(upstream);
        }
        let one = |numbers: &[AtomicU64], at: Option<usize>| {
            if let Some(number) = at.and_then(|at| numbers.get(at)) {
                number.fetch_add(1, Ordering::Relaxed);
            }
        };
        let verdict = Verdict::ALL.iter().position(|v| *v == ended.verdict);
        one(&series.verdicts, verdict);
        let code = ended.code.as_deref().and_then(Code::from_name);
        one(
            &series.refusals,
            code.and_then(|code| Code::ALL.iter().position(|c| *c == code)),
        );
        if ended.tool_error {
            series.tool_errors.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_edges_rise() {
        assert!(EDGES_MICROS.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn a_time_is_counted_in_the_bucket_whose_edge_it_does_not_pass() {
        let histogram = Histogram::new();
        for micros in [0, 10, 11, 60_000_000, 60_000_001] {
            histogram.record(micros);
        }
        let Counts {
            buckets,
            sum_micros,
        } = histogram.counts();
        assert_eq!(buckets[..2], [2, 1]);
        assert_eq!(buckets[EDGES_MICROS.len() - 1..], [1, 1]);
        assert_eq!(sum_micros, 120_000_022);
    }
}

//! The numbers of a moment, in one form for OTLP and for Prometheus.
//!
//! In: the running gateway. Out: a [`View`].

use super::metrics::{Counts, Series};
use crate::serve::Gateway;
use std::sync::atomic::Ordering;

/// All numbers of a moment.
#[derive(Debug)]
pub(super) struct View(pub(super) Vec<Metric>);

/// One metric.
#[derive(Debug)]
pub(super) struct Metric {
    /// Its name, parts joined by dots.
    pub(super) name: &'static str,
    /// Unit, in the Unified Code for Units of Measure.
    pub(super) unit: &'static str,
    /// What it says.
    pub(super) about: &'static str,
    /// Its values.
    pub(super) data: Data,
}

/// Values by labels.
#[derive(Debug)]
pub(super) enum Data {
    /// Numbers that only grow.
    Sum(Vec<Point<u64>>),
    /// Numbers of this moment.
    Gauge(Vec<Point<u64>>),
    /// Times.
    Histogram(Vec<Point<Counts>>),
}

/// A value and what it is of.
#[derive(Debug)]
pub(super) struct Point<T> {
    /// Names and values.
    pub(super) labels: Vec<(&'static str, String)>,
    /// The value.
    pub(super) value: T,
}

impl<T> Point<T> {
    fn new(labels: &[(&'static str, &str)], value: T) -> Self {
        let owned = |(name, value): &(&'static str, &str)| (*name, (*value).to_owned());
        Self {
            labels: labels.iter().map(owned).collect(),
            value,
        }
    }
}

/// Label of a capability's id.
pub(crate) const CAPABILITY: &str = "countersign.capability";
const TOOL: &str = "gen_ai.tool.name";
const VERDICT: &str = "countersign.decision.verdict";
const CODE: &str = "countersign.decision.code";
const ADAPTER: &str = "countersign.adapter";
const SIGNAL: &str = "countersign.signal";

/// What the whole call took.
pub(crate) const WHOLE: &str = "mcp.server.operation.duration";
/// What the gateway took of it.
pub(crate) const OURS: &str = "countersign.call.ours.duration";
/// What the upstream took of it.
pub(crate) const UPSTREAM: &str = "countersign.call.upstream.duration";
/// Verdicts.
pub(crate) const VERDICTS: &str = "countersign.call.verdicts";

impl View {
    /// The numbers of this moment.
    pub(super) fn of(gateway: &Gateway) -> Self {
        let mut metrics = calls(gateway);
        metrics.extend(state(gateway));
        Self(metrics)
    }
}

/// Numbers of calls. A capability that nobody called has none.
fn calls(gateway: &Gateway) -> Vec<Metric> {
    let all: Vec<(&Series, Counts)> = gateway
        .telemetry
        .metrics
        .all()
        .map(|s| (s, s.whole.counts()))
        .filter(|(_, whole)| whole.total() > 0)
        .collect();
    let times = |of: fn(&Series) -> Counts| {
        let points = all.iter().map(|(s, _)| {
            let labels = [(CAPABILITY, s.capability.as_str())];
            Point::new(&labels, of(s))
        });
        Data::Histogram(points.collect())
    };
    let whole = all.iter().map(|(s, whole)| {
        let mut labels = vec![
            ("mcp.method.name", s.method),
            (CAPABILITY, s.capability.as_str()),
        ];
        if !s.tool.is_empty() {
            labels.push(("gen_ai.operation.name", "execute_tool"));
            labels.push((TOOL, &s.tool));
        }
        Point::new(&labels, whole.clone())
    });
    let verdicts = all.iter().flat_map(|(s, _)| {
        let reached = s.verdicts().filter(|(_, n)| *n > 0);
        reached.map(|(name, n)| Point::new(&[(CAPABILITY, &s.capability), (VERDICT, name)], n))
    });
    let refusals = all.iter().flat_map(|(s, _)| {
        let given = s.refusals();
        given.map(|(name, n)| Point::new(&[(CAPABILITY, &s.capability), (CODE, name)], n))
    });
    let failures = all.iter().map(|(s, _)| {
        let n = s.tool_errors.load(Ordering::Relaxed);
        Point::new(&[(CAPABILITY, s.capability.as_str())], n)
    });
    vec![
        Metric {
            name: WHOLE,
            unit: "s",
            about: "Time from a request's arrival to its durable Decision Record",
            data: Data::Histogram(whole.collect()),
        },
        Metric {
            name: OURS,
            unit: "s",
            about: "The same without the upstream's part",
            data: times(|s| s.ours.counts()),
        },
        Metric {
            name: UPSTREAM,
            unit: "s",
            about: "The upstream's part, of calls that were sent to it",
            data: times(|s| s.upstream.counts()),
        },
        Metric {
            name: VERDICTS,
            unit: "{call}",
            about: "Calls by verdict",
            data: Data::Sum(verdicts.collect()),
        },
        Metric {
            name: "countersign.call.refusals",
            unit: "{call}",
            about: "Calls that got no result, by code",
            data: Data::Sum(refusals.collect()),
        },
        Metric {
            name: "countersign.call.tool_errors",
            unit: "{call}",
            about: "Answers in which the tool says that it failed",
            data: Data::Sum(failures.collect()),
        },
    ]
}

/// Numbers of the gateway itself.
fn state(gateway: &Gateway) -> Vec<Metric> {
    let plain = |value: u64| vec![Point::new(&[], value)];
    let size = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    let lease = gateway.lease.left(gateway.clock.since_boot()) / 1000;
    let listed = gateway.upstreams.names().map(|adapter| {
        let listed = gateway.upstreams.listing(adapter).is_some();
        Point::new(&[(ADAPTER, adapter)], u64::from(listed))
    });
    let dropped = gateway.telemetry.dropped();
    let dropped = dropped
        .into_iter()
        .map(|(signal, n)| Point::new(&[(SIGNAL, signal)], n));
    let gauge = |name, unit, about, data| Metric {
        name,
        unit,
        about,
        data: Data::Gauge(data),
    };
    let sum = |name, unit, about, data| Metric {
        name,
        unit,
        about,
        data: Data::Sum(data),
    };
    vec![
        sum(
            "countersign.unknown_callers",
            "{request}",
            "Requests that were refused before their caller was known",
            plain(gateway.telemetry.metrics.strangers.load(Ordering::Relaxed)),
        ),
        gauge(
            "countersign.calls.open",
            "{call}",
            "Calls whose intent is in the log and whose outcome is not",
            plain(size(gateway.journal.open_calls())),
        ),
        gauge(
            "countersign.log.entries",
            "{entry}",
            "Entries of the log",
            plain(gateway.journal.size()),
        ),
        gauge(
            "countersign.lease.left",
            "s",
            "Time until new calls are refused unless the platform vouches again",
            plain(lease),
        ),
        gauge(
            "countersign.serving",
            "1",
            "1 while a call would be taken, as /readyz says",
            plain(u64::from(crate::doors::is_serving(gateway))),
        ),
        gauge(
            "countersign.upstream.listed",
            "1",
            "1 while an upstream lists its tools",
            listed.collect(),
        ),
        sum(
            "countersign.telemetry.dropped",
            "{item}",
            "Spans and log records that were not sent, because too many waited or the endpoint refused them",
            dropped.collect(),
        ),
    ]
}

//! `countersign top`: where the time of calls goes, ours beside the upstream's, by capability.
//!
//! In: the gateway's metrics, as text, twice or more. Out: a table of what came between two readings; the first shows
//! what came since the gateway started.

use super::client::{Ask, Reach, ask, block_on};
use crate::keys::read_signing_key;
use crate::telemetry::prometheus::name_of;
use crate::telemetry::view::{CAPABILITY, OURS, UPSTREAM, VERDICTS};
use anyhow::{Context as _, ensure};
use clap::Args;
use countersign_record::body::Verdict;
use http_body_util::{BodyExt as _, Limited};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::time::Duration;

/// Longest text that is read, in bytes (16 MiB): a thousand capabilities in use have some 10 MiB.
const MAX_TEXT_BYTES: usize = 16 * 1024 * 1024;

/// Show where the time of calls goes.
#[derive(Debug, Args)]
pub(crate) struct Top {
    #[command(flatten)]
    reach: Reach,
    /// Key of a person of group `operator`. Not needed at the address that `telemetry.scrape` names.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Show what came since the gateway started, once.
    #[arg(long)]
    once: bool,
    /// Seconds between two readings, 1 to 3600.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
}

impl Top {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let key = self.key.as_deref().map(read_signing_key).transpose()?;
        block_on(async {
            let mut before = Numbers::default();
            loop {
                let what = Ask {
                    method: "GET",
                    path: "/metrics",
                    query: None,
                    body: Vec::new(),
                    key: key.as_ref(),
                };
                let response = ask(&self.reach, what).await?;
                let body = Limited::new(response.into_body(), MAX_TEXT_BYTES);
                let body = body.collect().await.map_err(|_| {
                    anyhow::anyhow!(
                        "the gateway's metrics break off, or are over {MAX_TEXT_BYTES} bytes"
                    )
                })?;
                let now = Numbers::parse(&String::from_utf8_lossy(&body.to_bytes()))?;
                let since = (before != Numbers::default()).then_some(self.seconds);
                show(&table(&now, &before, since), self.once)?;
                if self.once {
                    return Ok(());
                }
                before = now;
                tokio::time::sleep(Duration::from_secs(self.seconds)).await;
            }
        })
    }
}

/// Writes a table; on a terminal, in the place of the one before.
fn show(table: &str, once: bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    if out.is_terminal() && !once {
        // SPEC: ECMA-48, cursor to the top left, and all below it erased.
        write!(out, "\x1b[H\x1b[2J")?;
    }
    writeln!(out, "{table}").context("cannot write")
}

/// What the metrics say, as far as the table needs it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Numbers {
    capabilities: BTreeMap<String, Row>,
    /// Metrics without labels.
    plain: BTreeMap<String, u64>,
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Row {
    ours: Times,
    upstream: Times,
    verdicts: BTreeMap<String, u64>,
}

/// Calls at or below each edge, in microseconds; above all edges at the highest number.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Times(BTreeMap<u64, u64>);

/// A line of the text: name, labels, value.
struct Line<'t> {
    name: &'t str,
    labels: BTreeMap<&'t str, String>,
    value: u64,
}

impl Numbers {
    /// Reads the text. Lines of other metrics are passed over.
    fn parse(text: &str) -> anyhow::Result<Self> {
        let bucket = |name| format!("{}_bucket", name_of(name, "s"));
        let (ours, upstream) = (bucket(OURS), bucket(UPSTREAM));
        let verdicts = format!("{}_total", name_of(VERDICTS, "{call}"));
        let capability = name_of(CAPABILITY, "");
        let mut out = Self::default();
        for line in text.lines().filter_map(line) {
            let Line {
                name,
                mut labels,
                value,
            } = line;
            if labels.is_empty() {
                out.plain.insert(name.to_owned(), value);
                continue;
            }
            let Some(of) = labels.remove(capability.as_str()) else {
                continue;
            };
            let row = out.capabilities.entry(of).or_default();
            if name == ours || name == upstream {
                let edge = labels.get("le").and_then(|le| micros(le));
                let times = if name == ours {
                    &mut row.ours
                } else {
                    &mut row.upstream
                };
                times.0.insert(edge.context("a bucket has no edge")?, value);
            } else if name == verdicts {
                row.verdicts
                    .extend(labels.into_values().map(|v| (v, value)));
            }
        }
        ensure!(!out.plain.is_empty(), "the gateway gives no metrics");
        Ok(out)
    }
}

/// Reads a line that has a whole number as its value; the table needs no others.
fn line(text: &str) -> Option<Line<'_>> {
    if text.starts_with('#') {
        return None;
    }
    let (head, value) = text.rsplit_once(' ')?;
    let value = value.parse().ok()?;
    let Some((name, rest)) = head.split_once('{') else {
        return Some(Line {
            name: head,
            labels: BTreeMap::new(),
            value,
        });
    };
    let mut labels = BTreeMap::new();
    for pair in rest.strip_suffix("\"}")?.split("\",") {
        let (name, value) = pair.split_once("=\"")?;
        labels.insert(name, value.to_owned());
    }
    Some(Line {
        name,
        labels,
        value,
    })
}

/// The edge of a bucket, in microseconds.
fn micros(seconds: &str) -> Option<u64> {
    if seconds == "+Inf" {
        return Some(u64::MAX);
    }
    let duration = Duration::try_from_secs_f64(seconds.parse().ok()?).ok()?;
    // Rounded: a decimal of seconds is not always exact.
    u64::try_from(duration.as_nanos().saturating_add(500) / 1000).ok()
}

impl Times {
    /// What came since an earlier reading. A gateway that started anew in between counts from its start.
    fn since(&self, before: &Self) -> Self {
        let differences = self.0.iter().map(|(edge, now)| {
            let then = before.0.get(edge).copied().unwrap_or(0);
            (*edge, now.checked_sub(then))
        });
        let all: Option<BTreeMap<u64, u64>> =
            differences.map(|(edge, n)| Some((edge, n?))).collect();
        all.map_or_else(|| self.clone(), Self)
    }

    fn count(&self) -> u64 {
        self.0.values().next_back().copied().unwrap_or(0)
    }

    /// The time that so many of a hundred calls did not pass, in microseconds, read between two edges.
    fn percentile(&self, percent: u64) -> Option<u64> {
        let count = self.count();
        let rank = count.saturating_mul(percent).div_ceil(100).max(1);
        let (mut low, mut passed) = (0_u64, 0_u64);
        for (edge, below) in &self.0 {
            if *below >= rank && count > 0 {
                let width = if *edge == u64::MAX {
                    0
                } else {
                    edge.saturating_sub(low)
                };
                let within = below.saturating_sub(passed).max(1);
                let part = width
                    .saturating_mul(rank.saturating_sub(passed))
                    .checked_div(within)?;
                return Some(low.saturating_add(part));
            }
            (low, passed) = (*edge, *below);
        }
        None
    }
}

/// The table: of what came in the last `since` seconds, or since the gateway started.
fn table(now: &Numbers, before: &Numbers, since: Option<u64>) -> String {
    let plain = |name: &str| now.plain.get(name).copied().unwrap_or(0);
    let state = match plain("countersign_serving") {
        0 => "takes no calls",
        _ => "serving",
    };
    let period = since.map_or_else(
        || "since it started".to_owned(),
        |seconds| format!("in the last {seconds} s"),
    );
    let mut out = format!(
        "{state}, {} entries, {} calls open, lease {} s; {period}\n\n",
        plain("countersign_log_entries"),
        plain("countersign_calls_open"),
        plain("countersign_lease_left_seconds"),
    );
    let mut put = |text: String| {
        // Writing into a String cannot fail.
        let _infallible = writeln!(out, "{}", text.trim_end());
    };
    put(format!(
        "{:<36} {:>8} {:>19} {:>19}  verdicts",
        "capability", "calls", "ours p50 / p99 ms", "upstream p50 / p99"
    ));
    let nothing = Row::default();
    for (capability, row) in &now.capabilities {
        let then = before.capabilities.get(capability).unwrap_or(&nothing);
        let (ours, upstream) = (
            row.ours.since(&then.ours),
            row.upstream.since(&then.upstream),
        );
        let name = match capability.as_str() {
            "" => "(no such tool)",
            name => name,
        };
        put(format!(
            "{name:<36} {:>8} {:>19} {:>19}  {}",
            ours.count(),
            pair(&ours),
            pair(&upstream),
            verdicts(row, then),
        ));
    }
    out
}

/// Two percentiles, in milliseconds.
fn pair(times: &Times) -> String {
    match (times.percentile(50), times.percentile(99)) {
        (Some(half), Some(most)) => format!("{} / {}", ms(half), ms(most)),
        (_, _) => "-".to_owned(),
    }
}

fn ms(micros: u64) -> String {
    format!("{}.{:02}", micros / 1000, micros % 1000 / 10)
}

/// Counts of verdicts, in the order of the record.
fn verdicts(row: &Row, then: &Row) -> String {
    let counts = Verdict::ALL.iter().filter_map(|verdict| {
        let of = |row: &Row| row.verdicts.get(verdict.name()).copied().unwrap_or(0);
        let (now, then) = (of(row), of(then));
        let count = now.checked_sub(then).unwrap_or(now);
        (count > 0).then(|| format!("{} {count}", verdict.name()))
    });
    counts.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP x y\n\
        countersign_serving 1\n\
        countersign_log_entries 12\n\
        countersign_lease_left_seconds 1199\n\
        countersign_calls_open 0\n\
        countersign_call_ours_duration_seconds_bucket{countersign_capability=\"a.b\",le=\"0.0001\"} 0\n\
        countersign_call_ours_duration_seconds_bucket{countersign_capability=\"a.b\",le=\"0.0003\"} 98\n\
        countersign_call_ours_duration_seconds_bucket{countersign_capability=\"a.b\",le=\"0.002\"} 100\n\
        countersign_call_ours_duration_seconds_bucket{countersign_capability=\"a.b\",le=\"+Inf\"} 100\n\
        countersign_call_ours_duration_seconds_sum{countersign_capability=\"a.b\"} 0.03\n\
        countersign_call_verdicts_total{countersign_capability=\"a.b\",countersign_decision_verdict=\"deny\"} 3\n\
        countersign_call_verdicts_total{countersign_capability=\"a.b\",countersign_decision_verdict=\"allow\"} 97\n";

    #[test]
    fn percentiles_are_read_between_the_edges_of_their_bucket() {
        let numbers = Numbers::parse(TEXT).unwrap();
        let ours = &numbers.capabilities["a.b"].ours;
        assert_eq!(ours.count(), 100);
        // The 50th of 98 between 100 and 300 µs; the 1st of 2 between 300 and 2000 µs.
        assert_eq!(ours.percentile(50), Some(202));
        assert_eq!(ours.percentile(99), Some(1150));
        assert_eq!(Times::default().percentile(50), None);
    }

    #[test]
    fn the_table_has_a_row_for_each_capability_that_was_called() {
        let numbers = Numbers::parse(TEXT).unwrap();
        let shown = table(&numbers, &Numbers::default(), None);
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(
            lines[0],
            "serving, 12 entries, 0 calls open, lease 1199 s; since it started"
        );
        let row: Vec<&str> = lines[3].split_whitespace().collect();
        assert_eq!(row.join(" "), "a.b 100 0.20 / 1.15 - allow 97, deny 3");
    }

    #[test]
    fn what_came_before_does_not_count_unless_the_gateway_started_anew() {
        let now = Numbers::parse(TEXT).unwrap();
        let ours = &now.capabilities["a.b"].ours;
        assert_eq!(ours.since(ours).count(), 0);
        let more = Times(ours.0.iter().map(|(edge, n)| (*edge, n + 1)).collect());
        assert_eq!(more.since(ours).count(), 1);
        assert_eq!(ours.since(&more), *ours);
        let shown = table(&now, &now, Some(2));
        assert!(shown.contains("in the last 2 s"), "{shown}");
    }

    #[test]
    fn a_text_without_metrics_is_refused() {
        assert!(Numbers::parse("<html>").is_err());
    }
}

//! Metrics as text, for Prometheus and for `countersign top`.
//!
//! In: a [`View`]. Out: the text exposition format, version 0.0.4. Names follow OpenTelemetry's rule for Prometheus:
//! dots become underlines, the unit and `_total` end a name.

use super::metrics::{Counts, EDGES_MICROS};
use super::view::{Data, Metric, Point, View};
use std::fmt::Write as _;
use std::time::Duration;

/// Media type of the text.
pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The text.
pub(super) fn text(view: &View) -> String {
    let mut out = String::new();
    for metric in &view.0 {
        write_metric(&mut out, metric);
    }
    out
}

/// A metric's name for Prometheus, without what its kind adds.
#[must_use]
pub(crate) fn name_of(name: &str, unit: &str) -> String {
    let unit = if unit == "s" { "_seconds" } else { "" };
    format!("{}{unit}", name.replace('.', "_"))
}

fn write_metric(out: &mut String, metric: &Metric) {
    let Metric {
        name,
        unit,
        about,
        data,
    } = metric;
    let name = name_of(name, unit);
    let (name, kind) = match data {
        Data::Sum(_) => (format!("{name}_total"), "counter"),
        Data::Gauge(_) => (name, "gauge"),
        Data::Histogram(_) => (name, "histogram"),
    };
    line(out, &format!("# HELP {name} {about}"));
    line(out, &format!("# TYPE {name} {kind}"));
    match data {
        Data::Sum(points) | Data::Gauge(points) => {
            for Point { labels, value } in points {
                line(out, &format!("{name}{} {value}", braces(labels, None)));
            }
        }
        Data::Histogram(points) => {
            for point in points {
                write_histogram(out, &name, point);
            }
        }
    }
}

fn write_histogram(out: &mut String, name: &str, point: &Point<Counts>) {
    let Point { labels, value } = point;
    let mut below = 0_u64;
    let edges = EDGES_MICROS.iter().map(|e| seconds(*e));
    let edges = edges.chain(["+Inf".to_owned()]);
    for (count, edge) in value.buckets.iter().zip(edges) {
        below = below.saturating_add(*count);
        line(
            out,
            &format!("{name}_bucket{} {below}", braces(labels, Some(&edge))),
        );
    }
    let labels = braces(labels, None);
    line(
        out,
        &format!("{name}_sum{labels} {}", seconds(value.sum_micros)),
    );
    line(out, &format!("{name}_count{labels} {below}"));
}

fn line(out: &mut String, text: &str) {
    // Writing into a String cannot fail.
    let _infallible = writeln!(out, "{text}");
}

/// Microseconds as seconds.
fn seconds(micros: u64) -> String {
    Duration::from_micros(micros).as_secs_f64().to_string()
}

fn braces(labels: &[(&'static str, String)], edge: Option<&str>) -> String {
    let named = labels
        .iter()
        .map(|(name, value)| (name.replace('.', "_"), value.as_str()));
    let edge = edge.map(|edge| ("le".to_owned(), edge));
    let all: Vec<String> = named
        .chain(edge)
        .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)))
        .collect();
    if all.is_empty() {
        String::new()
    } else {
        format!("{{{}}}", all.join(","))
    }
}

fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metric(data: Data) -> Metric {
        Metric {
            name: "countersign.a.b",
            unit: "s",
            about: "What it says",
            data,
        }
    }

    #[test]
    fn a_histogram_counts_upwards_and_ends_with_sum_and_count() {
        let mut buckets = vec![0; EDGES_MICROS.len() + 1];
        (buckets[0], buckets[2], buckets[EDGES_MICROS.len()]) = (1, 2, 3);
        let labels = vec![("countersign.capability", "a\"b".to_owned())];
        let value = Counts {
            buckets,
            sum_micros: 1_500_000,
        };
        let text = text(&View(vec![metric(Data::Histogram(vec![Point {
            labels,
            value,
        }]))]));
        let lines: Vec<&str> = text.lines().collect();
        let name = "countersign_a_b_seconds";
        assert_eq!(lines[0], format!("# HELP {name} What it says"));
        assert_eq!(lines[1], format!("# TYPE {name} histogram"));
        let bucket = |edge: &str, n: u64| {
            format!("{name}_bucket{{countersign_capability=\"a\\\"b\",le=\"{edge}\"}} {n}")
        };
        assert_eq!(lines[2], bucket("0.00001", 1));
        assert_eq!(lines[4], bucket("0.00002", 3));
        assert_eq!(lines[EDGES_MICROS.len() + 1], bucket("60", 3));
        assert_eq!(lines[EDGES_MICROS.len() + 2], bucket("+Inf", 6));
        let labels = "{countersign_capability=\"a\\\"b\"}";
        assert_eq!(
            lines[EDGES_MICROS.len() + 3],
            format!("{name}_sum{labels} 1.5")
        );
        assert_eq!(
            lines[EDGES_MICROS.len() + 4],
            format!("{name}_count{labels} 6")
        );
    }

    #[test]
    fn what_only_grows_is_a_total_and_what_has_no_labels_has_no_braces() {
        let point = |value| Point {
            labels: Vec::new(),
            value,
        };
        let both = View(vec![
            metric(Data::Sum(vec![point(7)])),
            metric(Data::Gauge(vec![point(8)])),
        ]);
        let text = text(&both);
        assert!(
            text.contains("\ncountersign_a_b_seconds_total 7\n"),
            "{text}"
        );
        assert!(text.contains("\ncountersign_a_b_seconds 8\n"), "{text}");
    }
}

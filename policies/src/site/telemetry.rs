//! `[telemetry]` of `countersign.toml`: where traces, metrics and logs go.
//!
//! In: the section, if there is one. Out: [`TelemetrySettings`]. What leaves in the clear leaves to this machine only:
//! it says which tools are called, how often and with what verdict.

use crate::problem::{Problem, Report, Source};
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use toml::Spanned;

/// Where traces, metrics and logs go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TelemetrySettings {
    /// Who takes them by OTLP, if anybody does.
    pub collector: Option<Collector>,
    /// Where metrics can be fetched without showing who one is; a loopback address.
    pub scrape: Option<SocketAddr>,
}

/// A program that takes OTLP over HTTP.
///
/// INVARIANT: a plain one is on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collector {
    url: String,
    path: String,
    ca: Option<PathBuf>,
    headers: Option<PathBuf>,
    interval: Duration,
}

impl Collector {
    /// Scheme, host and port, such as `http://127.0.0.1:4318`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Empty, or what comes before `/v1/traces`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// PEM file of certificates that its own must lead to, for `https`; begins at the site directory if not absolute.
    #[must_use]
    pub fn ca(&self) -> Option<&PathBuf> {
        self.ca.as_ref()
    }

    /// File of the headers that it wants, such as one with a key; begins at the site directory if not absolute.
    #[must_use]
    pub fn headers(&self) -> Option<&PathBuf> {
        self.headers.as_ref()
    }

    /// Time between two sets of metrics.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.interval
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TelemetrySection {
    endpoint: Option<Spanned<String>>,
    ca: Option<Spanned<String>>,
    headers: Option<Spanned<String>>,
    interval_seconds: Option<Spanned<u64>>,
    scrape: Option<Spanned<String>>,
}

/// Time between two sets of metrics, in seconds, and what it may be set to.
const INTERVAL_SECONDS: u64 = 15;
const INTERVAL_RANGE: std::ops::RangeInclusive<u64> = 1..=600;

/// Reads the section.
pub(crate) fn telemetry(
    source: Source<'_>,
    section: Option<&TelemetrySection>,
    report: &mut Report,
) -> TelemetrySettings {
    let Some(section) = section else {
        return TelemetrySettings::default();
    };
    let collector = match &section.endpoint {
        Some(endpoint) => collector(source, endpoint, section, report),
        None => {
            without_endpoint(source, section, report);
            None
        }
    };
    let scrape = section
        .scrape
        .as_ref()
        .and_then(|text| scrape(source, text, report));
    TelemetrySettings { collector, scrape }
}

fn without_endpoint(source: Source<'_>, section: &TelemetrySection, report: &mut Report) {
    let file = section.ca.as_ref().or(section.headers.as_ref());
    let lonely = match (file, &section.interval_seconds, &section.scrape) {
        (Some(file), _, _) => file.span(),
        (None, Some(interval), _) => interval.span(),
        (None, None, None) => 0..0,
        (None, None, Some(_)) => return,
    };
    let expected = "http://127.0.0.1:4318 or another place that takes OTLP over HTTP".to_owned();
    let key = "telemetry.endpoint".to_owned();
    report.at(source, lonely, Problem::Missing { key, expected });
}

fn collector(
    source: Source<'_>,
    endpoint: &Spanned<String>,
    section: &TelemetrySection,
    report: &mut Report,
) -> Option<Collector> {
    let before = report.count();
    let text = endpoint.get_ref();
    let wrong = |report: &mut Report, expected: &str| {
        report.value(
            source,
            endpoint.span(),
            "telemetry.endpoint",
            text,
            expected,
        );
    };
    let parsed = parse(text);
    match &parsed {
        None => wrong(
            report,
            "http://<host>:<port> or https://<host>, and a path where there is one",
        ),
        Some((Way::Plain, authority, _)) if !is_loopback(authority) => {
            wrong(
                report,
                "https://, because what is sent in the clear stays on this machine",
            );
        }
        Some((Way::Tls, _, _)) if section.ca.is_none() => {
            let key = "telemetry.ca".to_owned();
            let expected =
                "a PEM file of certificates that the endpoint's own must lead to".to_owned();
            report.at(source, endpoint.span(), Problem::Missing { key, expected });
        }
        Some((_, _, _)) => (),
    }
    if let (Some((Way::Plain, _, _)), Some(ca)) = (&parsed, &section.ca) {
        let expected = "nothing, because an http endpoint has no certificate";
        report.value(source, ca.span(), "telemetry.ca", ca.get_ref(), expected);
    }
    let files = [
        ("telemetry.ca", &section.ca, "path of a PEM file"),
        (
            "telemetry.headers",
            &section.headers,
            "path of a file of headers",
        ),
    ];
    for (key, file, expected) in files {
        if let Some(file) = file.as_ref().filter(|file| file.get_ref().is_empty()) {
            report.value(source, file.span(), key, "", expected);
        }
    }
    let interval = section.interval_seconds.as_ref();
    if let Some(seconds) = interval.filter(|s| !INTERVAL_RANGE.contains(s.get_ref())) {
        let expected = format!(
            "{} to {} seconds",
            INTERVAL_RANGE.start(),
            INTERVAL_RANGE.end()
        );
        let found = seconds.get_ref().to_string();
        report.value(
            source,
            seconds.span(),
            "telemetry.interval_seconds",
            &found,
            expected,
        );
    }
    let (way, authority, path) = parsed?;
    (report.count() == before).then(|| Collector {
        url: format!("{}{authority}", way.prefix()),
        path: path.trim_end_matches('/').to_owned(),
        ca: section.ca.as_ref().map(|ca| PathBuf::from(ca.get_ref())),
        headers: section
            .headers
            .as_ref()
            .map(|headers| PathBuf::from(headers.get_ref())),
        interval: Duration::from_secs(interval.map_or(INTERVAL_SECONDS, |s| *s.get_ref())),
    })
}

#[derive(Clone, Copy)]
enum Way {
    Plain,
    Tls,
}

impl Way {
    fn prefix(self) -> &'static str {
        match self {
            Self::Plain => "http://",
            Self::Tls => "https://",
        }
    }
}

/// Scheme, authority and path of an address in which nothing else stands.
fn parse(url: &str) -> Option<(Way, &str, &str)> {
    let (way, rest) = match (url.strip_prefix("http://"), url.strip_prefix("https://")) {
        (Some(rest), _) => (Way::Plain, rest),
        (None, Some(rest)) => (Way::Tls, rest),
        (None, None) => return None,
    };
    let at = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(at)?;
    let plain = |text: &str, more: &str| {
        text.chars()
            .all(|c| c.is_ascii_alphanumeric() || more.contains(c))
    };
    let port = match authority.rsplit_once(':') {
        Some((_, port)) => port.parse::<u16>().is_ok(),
        None => matches!(way, Way::Tls),
    };
    let good = !authority.is_empty() && port && plain(authority, ".-_[]:") && plain(path, "/.-_~%");
    good.then_some((way, authority, path))
}

fn is_loopback(authority: &str) -> bool {
    let address = authority.parse::<SocketAddr>();
    let named = authority.strip_prefix("localhost:").is_some();
    named || address.is_ok_and(|a| a.ip().is_loopback())
}

fn scrape(source: Source<'_>, text: &Spanned<String>, report: &mut Report) -> Option<SocketAddr> {
    let address = text.get_ref().parse::<SocketAddr>().ok();
    let address = address.filter(|a| a.ip().is_loopback());
    if address.is_none() {
        let expected = "a loopback address and a port, such as 127.0.0.1:9464: whoever asks there shows nothing";
        report.value(
            source,
            text.span(),
            "telemetry.scrape",
            text.get_ref(),
            expected,
        );
    }
    address
}

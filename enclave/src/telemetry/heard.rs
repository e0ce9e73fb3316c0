//! What came with a request beside the call, for its span alone.
//!
//! In: headers and members of `_meta`, all chosen by the client. Out: [`Heard`], whose texts can carry no words: a
//! name, a token or an argument that a client puts in such a place must not leave by it.

use countersign_gateway::mcp::Passed;
use countersign_gateway::request::parse_traceparent;
use countersign_json::{Json, Limits};
use countersign_record::body::Trace;
use countersign_record::digest::{CallId, sha256_in};

/// What came with a request beside the call.
#[derive(Debug, Clone, Default)]
pub struct Heard {
    started: u64,
    pub(super) mcp: Option<Mcp>,
    pub(super) ambient: Option<Trace>,
    pub(super) passed: Passed,
}

/// The MCP message that asked.
#[derive(Debug, Clone)]
pub(super) struct Mcp {
    pub(super) method: &'static str,
    pub(super) version: &'static str,
    pub(super) session: Option<Plain>,
    pub(super) request: Option<Plain>,
}

/// A text without words: at most 36 digits, letters `a` to `f` and hyphens, as a UUID has. A token is longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plain(String);

impl Plain {
    fn parse(text: &str) -> Option<Self> {
        let plain = |c: char| c.is_ascii_hexdigit() || c == '-';
        let good = (1..=36).contains(&text.len()) && text.chars().all(plain);
        good.then(|| Self(text.to_owned()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Heard {
    /// A request that began to come at `started`, in microseconds since the start.
    #[must_use]
    pub fn at(started: u64) -> Self {
        Self {
            started,
            ..Self::default()
        }
    }

    /// When it began to come, in microseconds since the start.
    #[must_use]
    pub fn started(&self) -> u64 {
        self.started
    }

    /// The trace context of the HTTP request.
    #[must_use]
    pub fn ambient(mut self, traceparent: Option<&str>) -> Self {
        self.ambient = traceparent.and_then(parse_traceparent);
        self
    }

    /// An MCP request: its method and revision, and what the client calls session and message (as JSON text).
    #[must_use]
    pub fn mcp(
        mut self,
        method: &'static str,
        version: &'static str,
        session: Option<&str>,
        id: &str,
    ) -> Self {
        self.mcp = Some(Mcp {
            method,
            version,
            session: session.and_then(Plain::parse),
            request: Plain::parse(id.trim_matches('"')),
        });
        self
    }

    /// What goes on to the upstream as it came.
    #[must_use]
    pub fn passed(mut self, passed: &Passed) -> Self {
        self.passed = passed.clone();
        self
    }
}

/// A span's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SpanId(pub(super) [u8; 8]);

impl SpanId {
    /// The identifier of a call's span. It follows from the call's, so whoever has the record finds the spans.
    pub(super) fn of(call: CallId, part: Part) -> Self {
        let [a, b, c, d, e, f, g, h, ..] =
            sha256_in("countersign/span/v1", &[&call.0, part.name().as_bytes()]);
        Self([a, b, c, d, e, f, g, h])
    }
}

/// The spans of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Call,
    Decide,
    Seal,
    Upstream,
    Release,
}

impl Part {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Decide => "decide",
            Self::Seal => "seal",
            Self::Upstream => "upstream",
            Self::Release => "release",
        }
    }
}

/// The trace of a call: the client's, or one that has the call's own identifier.
pub(super) fn trace_id(call: CallId, claimed: Option<&Trace>, ambient: Option<&Trace>) -> [u8; 16] {
    claimed.or(ambient).map_or(call.0, |t| t.id)
}

/// Entries of `_meta` that go to the upstream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Onward {
    traceparent: Option<String>,
    passed: Passed,
}

impl Onward {
    /// Our upstream span as the parent of whatever the upstream does.
    pub(super) fn under_our_span(call: CallId, claimed: Option<&Trace>, heard: &Heard) -> Self {
        let trace = Trace {
            id: trace_id(call, claimed, heard.ambient.as_ref()),
            span: SpanId::of(call, Part::Upstream).0,
        };
        Self {
            traceparent: Some(traceparent(&trace)),
            passed: heard.passed.clone(),
        }
    }

    /// The client's trace, where there are no spans of ours. Without a trace there is no state of one.
    pub(super) fn as_it_came(claimed: Option<&Trace>, heard: &Heard) -> Self {
        let Passed {
            tracestate,
            baggage,
        } = heard.passed.clone();
        Self {
            traceparent: claimed.map(traceparent),
            passed: Passed {
                tracestate: tracestate.filter(|_| claimed.is_some()),
                baggage,
            },
        }
    }

    /// The entries.
    #[must_use]
    pub fn meta(&self) -> Vec<(String, Json)> {
        let Passed {
            tracestate,
            baggage,
        } = &self.passed;
        let all = [
            ("traceparent", &self.traceparent),
            ("tracestate", tracestate),
            ("baggage", baggage),
        ];
        all.into_iter()
            .filter_map(|(name, text)| Some((name.to_owned(), quoted(text.as_ref()?)?)))
            .collect()
    }
}

fn quoted(text: &str) -> Option<Json> {
    let json = serde_json::Value::String(text.to_owned()).to_string();
    let limits = Limits::of_bytes(json.len());
    Json::parse(json.into_bytes().into(), &limits).ok()
}

/// SPEC: W3C Trace Context §3.2. Always sampled: a caller cannot switch its trace off.
fn traceparent(trace: &Trace) -> String {
    format!(
        "00-{}-{}-01",
        hex::encode(trace.id),
        hex::encode(trace.span)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLAIMED: Trace = Trace {
        id: [0xab; 16],
        span: [0xcd; 8],
    };

    fn texts(onward: &Onward) -> Vec<(String, String)> {
        onward
            .meta()
            .into_iter()
            .map(|(name, json)| (name, String::from_utf8(json.as_bytes().to_vec()).unwrap()))
            .collect()
    }

    #[test]
    fn a_text_that_could_be_words_is_no_identifier() {
        for good in [
            "7",
            "550e8400-e29b-41d4-a716-446655440000",
            &"0f".repeat(16),
        ] {
            assert!(Plain::parse(good).is_some(), "{good}");
        }
        for wrong in [
            "",
            "maria@example.com",
            "delete Maria",
            "1.5",
            "\u{661}",
            &"0".repeat(37),
        ] {
            assert_eq!(Plain::parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn the_upstream_gets_our_span_within_the_clients_trace() {
        let passed = Passed {
            tracestate: Some("a=1".to_owned()),
            baggage: Some("k=\"v\"".to_owned()),
        };
        let heard = Heard::at(0).passed(&passed);
        let call = CallId([7; 16]);
        let onward = Onward::under_our_span(call, Some(&CLAIMED), &heard);
        let span = hex::encode(SpanId::of(call, Part::Upstream).0);
        assert_eq!(
            texts(&onward),
            [
                (
                    "traceparent".to_owned(),
                    format!("\"00-{}-{span}-01\"", "ab".repeat(16))
                ),
                ("tracestate".to_owned(), "\"a=1\"".to_owned()),
                ("baggage".to_owned(), "\"k=\\\"v\\\"\"".to_owned()),
            ]
        );
    }

    #[test]
    fn without_spans_of_ours_the_clients_trace_goes_on_as_it_came() {
        let heard = Heard::at(0);
        let onward = Onward::as_it_came(Some(&CLAIMED), &heard);
        let expected = format!("\"00-{}-{}-01\"", "ab".repeat(16), "cd".repeat(8));
        assert_eq!(texts(&onward), [("traceparent".to_owned(), expected)]);
        assert_eq!(texts(&Onward::as_it_came(None, &heard)), []);
    }

    #[test]
    fn a_call_without_a_trace_is_a_trace_of_its_own() {
        let call = CallId([7; 16]);
        assert_eq!(trace_id(call, None, None), [7; 16]);
        assert_eq!(trace_id(call, Some(&CLAIMED), None), [0xab; 16]);
        assert_eq!(trace_id(call, None, Some(&CLAIMED)), [0xab; 16]);
    }

    #[test]
    fn the_spans_of_a_call_differ() {
        let parts = [
            Part::Call,
            Part::Decide,
            Part::Seal,
            Part::Upstream,
            Part::Release,
        ];
        let ids: std::collections::HashSet<[u8; 8]> = parts
            .into_iter()
            .map(|p| SpanId::of(CallId([7; 16]), p).0)
            .collect();
        assert_eq!(ids.len(), parts.len());
    }
}

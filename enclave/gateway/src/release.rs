//! Stage 9: what came back is judged before anyone sees it.
//!
//! In: [`Outcome`]. Out: [`Settled`], with the raw result, what may be released of it, and
//! which redaction rules changed it. A failure here withholds the result; the call is
//! settled all the same.

use crate::execute::{NoAnswer, NotSent, Outcome, Report, ToolError};
use crate::refusal::{Code, Refusal, Retry};
use crate::seal::Committed;
use bytes::Bytes;
use countersign_policies::site::capability::Redaction;
use countersign_record::body::Effect;
use countersign_record::digest::UnixMillis;
use std::borrow::Cow;

/// Largest result that is released, in bytes (4 MiB). What a model reads is far smaller.
pub const MAX_RESULT_BYTES: usize = 4 * 1024 * 1024;

/// Seconds after which a tool that could not be reached may be tried again.
const UPSTREAM_RETRY_SECONDS: u64 = 5;

/// A call that is over, not yet recorded.
#[derive(Debug)]
#[must_use = "a settled call has to be recorded before its result is seen"]
pub struct Settled {
    pub(crate) committed: Committed,
    pub(crate) dispatched: UnixMillis,
    pub(crate) effect: Effect,
    pub(crate) raw: Option<Bytes>,
    pub(crate) released: Result<Bytes, Refusal>,
    pub(crate) transcript: Vec<Bytes>,
    pub(crate) redactions: Vec<String>,
    pub(crate) cancelled: Option<&'static str>,
}

impl Outcome {
    /// Decides what may be seen of the result.
    pub fn release(self) -> Settled {
        let Self {
            committed,
            dispatched,
            report,
        } = self;
        let effect = report.effect();
        let dispatched = dispatched.at;
        let (raw, transcript, released, redactions, cancelled) = match report {
            Report::Answered {
                result,
                tool_error: ToolError::No | ToolError::Yes,
                transcript,
            } => {
                let (released, redactions) = releasable(&committed, &result);
                (Some(result), transcript, released, redactions, None)
            }
            Report::NotSent { cause } => (None, Vec::new(), Err(not_sent(cause)), Vec::new(), None),
            Report::NoAnswer { cause } => (
                None,
                Vec::new(),
                Err(no_answer(cause)),
                Vec::new(),
                Some(cause.name()),
            ),
        };
        Settled {
            committed,
            dispatched,
            effect,
            raw,
            released,
            transcript,
            redactions,
            cancelled,
        }
    }
}

fn releasable(committed: &Committed, raw: &Bytes) -> (Result<Bytes, Refusal>, Vec<String>) {
    let withheld = |code| (Err(Refusal::never(code)), Vec::new());
    if raw.len() > MAX_RESULT_BYTES {
        return withheld(Code::ResultTooLarge);
    }
    if committed.approved.is_restricted() {
        return withheld(Code::RestrictedResult);
    }
    let rules: Vec<&Redaction> = committed.approved.redactions().collect();
    if rules.is_empty() {
        return (Ok(raw.clone()), Vec::new());
    }
    match redact(&rules, raw) {
        None => withheld(Code::RedactionFailed),
        Some((_, fired)) if fired.is_empty() => (Ok(raw.clone()), fired),
        Some((bytes, fired)) => (Ok(bytes), fired),
    }
}

/// Applies the rules to every text inside the result, keys excepted.
fn redact(rules: &[&Redaction], raw: &[u8]) -> Option<(Bytes, Vec<String>)> {
    let mut value: serde_json::Value = serde_json::from_slice(raw).ok()?;
    let mut fired = Vec::new();
    redact_value(rules, &mut value, &mut fired);
    fired.sort();
    fired.dedup();
    serde_json::to_vec(&value)
        .ok()
        .map(|bytes| (Bytes::from(bytes), fired))
}

fn redact_value(rules: &[&Redaction], value: &mut serde_json::Value, fired: &mut Vec<String>) {
    match value {
        serde_json::Value::String(text) => {
            for rule in rules {
                if let Cow::Owned(redacted) = rule.apply(text) {
                    *text = redacted;
                    fired.push(rule.name.clone());
                }
            }
        }
        serde_json::Value::Array(items) => {
            items.iter_mut().for_each(|v| redact_value(rules, v, fired))
        }
        serde_json::Value::Object(members) => {
            members
                .values_mut()
                .for_each(|v| redact_value(rules, v, fired));
        }
        serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Number(_) => (),
    }
}

fn not_sent(cause: NotSent) -> Refusal {
    match cause {
        NotSent::Unavailable => Refusal::new(
            Code::UpstreamUnavailable,
            Retry::After(UPSTREAM_RETRY_SECONDS),
        ),
        NotSent::Cancelled => Refusal::never(Code::Cancelled),
    }
}

fn no_answer(cause: NoAnswer) -> Refusal {
    Refusal::never(match cause {
        NoAnswer::Timeout | NoAnswer::Crashed | NoAnswer::Restarted => Code::OutcomeUnknown,
        NoAnswer::Malformed => Code::UpstreamMalformed,
        NoAnswer::TooLarge => Code::ResultTooLarge,
        NoAnswer::Cancelled => Code::Cancelled,
    })
}

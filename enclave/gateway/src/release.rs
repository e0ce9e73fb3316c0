//! Stage 9: what came back is judged before anyone sees it.
//!
//! In: [`Outcome`]. Out: [`Settled`], with the raw result, what may be released of it, and
//! which redaction rules changed it. A failure here withholds the result; the call is
//! settled all the same.

use crate::execute::{Around, NoAnswer, NotSent, Outcome, Report, ToolError};
use crate::refusal::{Code, Refusal, Retry};
use crate::seal::Committed;
use bytes::Bytes;
use countersign_json::texts::any_text;
use countersign_json::{Limits, scan};
use countersign_policies::site::capability::{Capability, Redaction};
use countersign_record::body::{Classification, Effect};
use countersign_record::digest::UnixMillis;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeSet;

/// Largest result that is released, in bytes (4 MiB). What a model reads is far smaller.
pub const MAX_RESULT_BYTES: usize = 4 * 1024 * 1024;

/// Seconds after which a tool or a witness that could not be reached may be tried again.
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
    pub(crate) around: Around,
}

impl Outcome {
    /// Decides what may be seen of the result.
    pub fn release(self) -> Settled {
        let Self {
            committed,
            dispatched,
            report,
            around,
        } = self;
        let effect = report.effect();
        let dispatched = dispatched.at;
        let (raw, transcript, released, redactions, cancelled) = match report {
            Report::Answered {
                result,
                tool_error: ToolError::No | ToolError::Yes,
                transcript,
            } => {
                let approved = &committed.approved;
                let (released, redactions) =
                    releasable(approved.capability(), approved.redact(), &result);
                (Some(result), transcript, released, redactions, None)
            }
            Report::NotSent { cause } => (None, Vec::new(), Err(not_sent(cause)), Vec::new(), None),
            Report::NoAnswer { cause, transcript } => (
                None,
                transcript,
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
            around,
        }
    }
}

/// What may be seen of a result, and the names of the redaction rules that changed it. It decides nothing else: only a
/// [`Settled`] call is recorded and answered.
pub fn releasable(
    capability: &Capability,
    redact: &BTreeSet<String>,
    raw: &Bytes,
) -> (Result<Bytes, Refusal>, Vec<String>) {
    let withheld = |code| (Err(Refusal::never(code)), Vec::new());
    if raw.len() > MAX_RESULT_BYTES {
        return withheld(Code::ResultTooLarge);
    }
    if capability.classification == Classification::Restricted {
        return withheld(Code::RestrictedResult);
    }
    if redact.is_empty() {
        return (Ok(raw.clone()), Vec::new());
    }
    // A rule that the capability does not have cannot be applied, so nothing is released.
    let rules: Option<Vec<&Redaction>> = redact
        .iter()
        .map(|name| capability.redaction(name))
        .collect();
    match rules.and_then(|rules| redacted(capability, &rules, raw)) {
        None => withheld(Code::RedactionFailed),
        Some(None) => (Ok(raw.clone()), Vec::new()),
        Some(Some((bytes, fired))) => (Ok(bytes), fired.into_iter().collect()),
    }
}

/// The bytes of a result that rules changed, and which did.
type Redacted = (Bytes, BTreeSet<String>);

/// Applies the rules to every text inside the result: strings, names of members, and numbers as they are written.
/// `None` if it cannot be done; nothing, if no rule changes anything.
fn redacted(capability: &Capability, rules: &[&Redaction], raw: &[u8]) -> Option<Option<Redacted>> {
    let limits = Limits {
        members: usize::MAX,
        ..Limits::of_bytes(MAX_RESULT_BYTES)
    };
    // A name that comes twice would hide the first value from the rules.
    let document = scan(raw, &limits).ok()?;
    // Most results have nothing to redact: one pass for all rules tells, and nothing is built.
    if !any_text(&document, |text| capability.is_touched(text)) {
        return Some(None);
    }
    let mut value: Value = serde_json::from_slice(raw).ok()?;
    let mut redactor = Redactor {
        rules,
        fired: BTreeSet::new(),
    };
    redactor.value(&mut value)?;
    if redactor.fired.is_empty() {
        return Some(None);
    }
    let bytes = serde_json::to_vec(&value).ok()?;
    Some(Some((Bytes::from(bytes), redactor.fired)))
}

struct Redactor<'r> {
    rules: &'r [&'r Redaction],
    fired: BTreeSet<String>,
}

impl Redactor<'_> {
    /// The text with all rules applied, if any changed it.
    fn text(&mut self, text: &str) -> Option<String> {
        let mut changed: Option<String> = None;
        for rule in self.rules {
            if let Cow::Owned(redacted) = rule.apply(changed.as_deref().unwrap_or(text)) {
                self.fired.insert(rule.name.clone());
                changed = Some(redacted);
            }
        }
        changed
    }

    /// `None` if two members get the same name, so that one of them would be lost.
    fn value(&mut self, value: &mut Value) -> Option<()> {
        match value {
            Value::String(text) => {
                if let Some(redacted) = self.text(text) {
                    *text = redacted;
                }
                Some(())
            }
            Value::Number(number) => {
                if let Some(redacted) = self.text(number.as_str()) {
                    *value = Value::String(redacted);
                }
                Some(())
            }
            Value::Array(items) => items.iter_mut().try_for_each(|item| self.value(item)),
            Value::Object(members) => {
                let mut kept = serde_json::Map::new();
                for (name, mut member) in std::mem::take(members) {
                    self.value(&mut member)?;
                    let name = self.text(&name).unwrap_or(name);
                    if kept.insert(name, member).is_some() {
                        return None;
                    }
                }
                *members = kept;
                Some(())
            }
            Value::Null | Value::Bool(_) => Some(()),
        }
    }
}

fn not_sent(cause: NotSent) -> Refusal {
    match cause {
        NotSent::Unavailable => Refusal::new(
            Code::UpstreamUnavailable,
            Retry::After(UPSTREAM_RETRY_SECONDS),
        ),
        NotSent::Cancelled => Refusal::never(Code::Cancelled),
        NotSent::Barred => Refusal::never(Code::EgressDenied),
        NotSent::Unsandboxed => Refusal::never(Code::SandboxUnavailable),
        NotSent::Untrusted => Refusal::never(Code::UpstreamUntrusted),
        NotSent::Stopped => Refusal::never(Code::Stopped),
        NotSent::Unwitnessed => {
            Refusal::new(Code::NotWitnessed, Retry::After(UPSTREAM_RETRY_SECONDS))
        }
    }
}

fn no_answer(cause: NoAnswer) -> Refusal {
    Refusal::never(match cause {
        NoAnswer::Timeout | NoAnswer::Crashed | NoAnswer::Restarted => Code::OutcomeUnknown,
        NoAnswer::Malformed => Code::UpstreamMalformed,
        NoAnswer::TooLarge => Code::ResultTooLarge,
        NoAnswer::Cancelled => Code::Cancelled,
        NoAnswer::Redirected => Code::RedirectRefused,
        NoAnswer::Stopped => Code::StoppedRunning,
    })
}

//! Stage 7: an approved call becomes a signed, durable intent; only then may it leave.
//!
//! In: [`Approved`], and after that the journal's word. Out: the intent's body to append,
//! then [`Committed`], the right to carry the call out once. Where policy obliges to it, there is
//! a step between: [`Unwitnessed`] becomes that right only by the word of witnesses.

use crate::approval::Approved;
use crate::call::{Moment, Progress};
use crate::execute::{NotSent, Outcome, Report};
use crate::policy::Duty;
use bytes::Bytes;
use countersign_record::body::{Action, Intent, Verdict};
use countersign_record::cbor::{self, Cbor};
use countersign_record::commitment::{Disclosure, Field};
use countersign_record::digest::CallId;
use countersign_record::entry::EntryRef;
use std::collections::HashSet;
use thiserror::Error;

/// An intent that is not yet durable.
#[derive(Debug)]
#[must_use = "a sealed intent does nothing until the journal has it"]
pub struct Sealed {
    pub(crate) approved: Approved,
    pub(crate) action: Action,
}

/// The journal's word that an intent is durable.
#[derive(Debug, Clone)]
pub struct IntentReceipt {
    /// The call whose intent it is.
    pub call: CallId,
    /// Where the intent stands.
    pub entry: EntryRef,
}

/// The journal's word is about another call.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("receipt is for call {acknowledged}, the sealed call is {sealed}")]
pub struct WrongReceipt {
    /// The sealed call.
    pub sealed: CallId,
    /// The call in the receipt.
    pub acknowledged: CallId,
}

/// A call whose intent is durable: the right to carry it out, once.
#[derive(Debug)]
#[must_use = "a committed call has to be carried out or settled"]
pub struct Committed {
    pub(crate) approved: Approved,
    pub(crate) action: Action,
    pub(crate) intent: EntryRef,
    pub(crate) witnessed: bool,
}

/// A call whose intent is durable, and may leave only once witnesses have seen that.
#[derive(Debug)]
#[must_use = "a call that waits for witnesses has to be carried out or settled"]
pub struct Unwitnessed(Committed);

/// What a durable intent gives a right to.
#[derive(Debug)]
pub enum Durable {
    /// To carry the call out.
    Committed(Box<Committed>),
    /// To ask witnesses first.
    Unwitnessed(Box<Unwitnessed>),
}

/// Word of a quorum of witnesses: each has cosigned a checkpoint of at least this size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CosignedSize(pub u64);

/// What witnesses have seen does not reach the intent.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("witnesses have cosigned {size} entries, the intent is entry {index}")]
pub struct NotWitnessed {
    /// What they have cosigned.
    pub size: u64,
    /// Where the intent stands.
    pub index: u64,
}

impl Sealed {
    /// Seals a call: the body of its intent and what opens its commitments.
    pub fn new(approved: Approved, in_force: EntryRef) -> (Self, Intent, Vec<Disclosure>) {
        let (action, mut open) = approved.action();
        let progress = approved.progress();
        let caller = progress.caller(&mut open);
        let judged = approved.judged();
        let intent = Intent {
            call: progress.call,
            in_force,
            action: cbor::Bytes(action.to_bytes()),
            caller,
            verdict: judged.verdict,
            policy: judged.outcome.clone(),
            facts: progress.put(&mut open, Field::Facts, &judged.facts),
            received: progress.put(&mut open, Field::Received, &progress.received),
            approvals: progress.approvals.clone(),
            idempotency: progress
                .idempotency
                .as_ref()
                .map(|key| progress.put(&mut open, Field::Idempotency, key.as_bytes())),
            controls: progress.controls.clone(),
            parent: progress.parent,
            // The state was asked for the budget before anything could be approved.
            basis: progress.basis.unwrap_or_default(),
        };
        keep_once(&mut open);
        (Self { approved, action }, intent, open)
    }

    /// The call.
    #[must_use]
    pub fn call(&self) -> CallId {
        self.approved.progress().call
    }

    /// What has to happen between the durable intent and the call.
    #[must_use]
    pub fn duty(&self) -> Duty {
        self.approved.duty()
    }

    /// Trades the journal's word for the right to carry the call out, or to ask witnesses first.
    ///
    /// # Errors
    /// If the word is about another call.
    pub fn commit(self, receipt: IntentReceipt) -> Result<Durable, WrongReceipt> {
        let sealed = self.call();
        if receipt.call != sealed {
            return Err(WrongReceipt {
                sealed,
                acknowledged: receipt.call,
            });
        }
        let duty = self.duty();
        let committed = Committed {
            approved: self.approved,
            action: self.action,
            intent: receipt.entry,
            witnessed: false,
        };
        Ok(match duty {
            Duty::None => Durable::Committed(Box::new(committed)),
            Duty::Witnessed => Durable::Unwitnessed(Box::new(Unwitnessed(committed))),
        })
    }

    /// Gives up a call whose intent the journal did not take: nothing has left.
    #[must_use]
    pub fn abandon(self) -> Box<Progressed> {
        let mut progress = self.approved.into_progress();
        // Nothing was taken up and no approval was used: both are there for the next call.
        progress.approvals.clear();
        progress.parent = None;
        Box::new(Progressed(progress))
    }
}

/// An action and its call share commitments; each is opened once.
fn keep_once(open: &mut Vec<Disclosure>) {
    let mut seen = HashSet::new();
    open.retain(|d| seen.insert((d.field.code(), d.salt)));
}

/// What is known of a call that was given up before anything left.
#[derive(Debug)]
pub struct Progressed(pub(crate) Progress);

impl Unwitnessed {
    /// The intent.
    #[must_use]
    pub fn intent(&self) -> &EntryRef {
        &self.0.intent
    }

    /// Trades the witnesses' word for the right to carry the call out.
    ///
    /// # Errors
    /// If what they have cosigned does not reach the intent; the call comes back, to be settled.
    pub fn witness(self, word: CosignedSize) -> Result<Committed, Box<(Self, NotWitnessed)>> {
        let index = self.0.intent.index;
        if word.0 > index {
            Ok(Committed {
                witnessed: true,
                ..self.0
            })
        } else {
            Err(Box::new((
                self,
                NotWitnessed {
                    size: word.0,
                    index,
                },
            )))
        }
    }

    /// Gives up a call that was not witnessed in time: nothing has left.
    pub fn give_up(self, at: Moment) -> Outcome {
        self.0.give_up(at, NotSent::Unwitnessed)
    }
}

impl Committed {
    /// The call.
    #[must_use]
    pub fn call(&self) -> CallId {
        self.approved.progress().call
    }

    /// The intent.
    #[must_use]
    pub fn intent(&self) -> &EntryRef {
        &self.intent
    }

    /// Gives up a call that may not leave any more: nothing has left.
    pub fn give_up(self, at: Moment, cause: NotSent) -> Outcome {
        let (_unsent, dispatched) = self.dispatch(at);
        dispatched.outcome(Report::NotSent { cause })
    }

    pub(crate) fn verdict(&self) -> Verdict {
        self.approved.judged().verdict
    }

    pub(crate) fn arguments(&self) -> Bytes {
        self.approved.arguments()
    }
}

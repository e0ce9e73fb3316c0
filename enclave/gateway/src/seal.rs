//! Stage 7: an approved call becomes a signed, durable intent; only then may it leave.
//!
//! In: [`Approved`], and after that the journal's word. Out: the intent's body to append,
//! then [`Committed`], the right to carry the call out once.

use crate::approval::Approved;
use crate::call::Progress;
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

    /// Trades the journal's word for the right to carry the call out.
    ///
    /// # Errors
    /// If the word is about another call.
    pub fn commit(self, receipt: IntentReceipt) -> Result<Committed, WrongReceipt> {
        let sealed = self.call();
        if receipt.call != sealed {
            return Err(WrongReceipt {
                sealed,
                acknowledged: receipt.call,
            });
        }
        Ok(Committed {
            approved: self.approved,
            action: self.action,
            intent: receipt.entry,
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

    pub(crate) fn verdict(&self) -> Verdict {
        self.approved.judged().verdict
    }

    pub(crate) fn arguments(&self) -> Bytes {
        self.approved.arguments()
    }
}

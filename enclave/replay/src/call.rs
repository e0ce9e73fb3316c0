//! A settled call as its records and disclosures show it.
//!
//! In: an intent and a Decision Record, each with what opens it. Out: a [`Recorded`], in which
//! each value stands under the commitment that it opens. What is not opened is named.

use bytes::Bytes;
use countersign_gateway::call::RecordedSalts;
use countersign_policies::decision::Facts;
use countersign_record::body::{Action, Caller, Decision, Intent};
use countersign_record::cbor::{Cbor as _, Reader};
use countersign_record::commitment::{Disclosure, Field};
use countersign_record::digest::{Commitment, RunId, TenantId, UnixMillis};
use countersign_record::entry::EntryRef;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// An intent, where it stands and when it was written.
#[derive(Debug, Clone)]
pub struct Sealed {
    /// The intent.
    pub intent: Intent,
    /// Where it stands.
    pub entry: EntryRef,
    /// Its claimed time.
    pub at: UnixMillis,
}

/// A settled call.
#[derive(Debug)]
pub struct Recorded {
    /// Tenant in whose sequence the records stand.
    pub tenant: Option<TenantId>,
    /// The intent, if anything was to leave.
    pub sealed: Option<Sealed>,
    /// The Decision Record.
    pub decision: Decision,
    /// Leaf index of the Decision Record.
    pub index: u64,
    /// The run in whose chain the records stand.
    pub run: Option<RunId>,
    opened: HashMap<(Field, Commitment), Disclosure>,
}

impl Recorded {
    /// Puts a call together.
    #[must_use]
    pub fn new(
        tenant: Option<TenantId>,
        sealed: Option<Sealed>,
        decision: Decision,
        index: u64,
        disclosures: Vec<Disclosure>,
    ) -> Self {
        let opened = disclosures
            .into_iter()
            .map(|d| ((d.field, d.commitment()), d))
            .collect();
        Self {
            tenant,
            sealed,
            decision,
            index,
            run: None,
            opened,
        }
    }

    /// The value under a commitment.
    #[must_use]
    pub fn value(&self, field: Field, commitment: Commitment) -> Option<&[u8]> {
        self.opened
            .get(&(field, commitment))
            .map(|d| d.value.0.as_slice())
    }

    /// The value under a commitment, as text.
    #[must_use]
    pub fn text(&self, field: Field, commitment: Commitment) -> Option<&str> {
        self.value(field, commitment)
            .and_then(|bytes| std::str::from_utf8(bytes).ok())
    }

    /// The value under a commitment, in a buffer of its own.
    #[must_use]
    pub fn bytes(&self, field: Field, commitment: Option<Commitment>) -> Option<Bytes> {
        self.value(field, commitment?).map(Bytes::copy_from_slice)
    }

    /// The agent's name.
    #[must_use]
    pub fn agent(&self) -> Option<&str> {
        self.text(Field::Agent, self.decision.caller.agent)
    }

    /// The facts that policy was given.
    #[must_use]
    pub fn facts(&self) -> Option<Facts> {
        self.value(Field::Facts, self.decision.facts?)
            .and_then(|bytes| Facts::from_bytes(bytes).ok())
    }

    /// Interim messages.
    #[must_use]
    pub fn transcript(&self) -> Option<Vec<Bytes>> {
        let bytes = self.value(Field::Transcript, self.decision.transcript?)?;
        let mut reader = Reader::new(bytes);
        let messages = reader
            .array(|r, n| {
                (0..n)
                    .map(|_| r.bytes().map(Bytes::copy_from_slice))
                    .collect()
            })
            .ok()?;
        reader.finish().ok().map(|()| messages)
    }

    /// What opens these commitments, of this call or of the one that it waits with.
    #[must_use]
    pub fn opens(&self, commitments: &[Commitment]) -> Vec<Disclosure> {
        let mut out: Vec<Disclosure> = self
            .opened
            .values()
            .filter(|d| commitments.contains(&d.commitment()))
            .cloned()
            .collect();
        out.sort_by_key(|d| d.field);
        out
    }

    /// The salts of the call's own commitments.
    #[must_use]
    pub fn salts(&self) -> RecordedSalts {
        let mut salts = BTreeMap::new();
        for (field, commitment) in self.commitments() {
            if let Some(d) = self.opened.get(&(field, commitment)) {
                salts.entry(field).or_insert(d.salt);
            }
        }
        RecordedSalts {
            call: self.decision.call,
            salts,
        }
    }

    /// Fields of which a value is committed to and not opened here.
    #[must_use]
    pub fn withheld(&self) -> BTreeSet<Field> {
        self.commitments()
            .into_iter()
            .filter(|key| !self.opened.contains_key(key))
            .map(|(field, _)| field)
            .collect()
    }

    /// Every commitment of the call: the caller's own first, those of an action that it shares with another call last.
    fn commitments(&self) -> Vec<(Field, Commitment)> {
        let d = &self.decision;
        let mut out = Vec::new();
        of_caller(&d.caller, &mut out);
        if let Some(sealed) = &self.sealed {
            of_caller(&sealed.intent.caller, &mut out);
        }
        let mut put = |field, commitment: Option<Commitment>| {
            out.extend(commitment.map(|c| (field, c)));
        };
        put(Field::Received, Some(d.received));
        put(Field::Facts, d.facts);
        put(Field::Idempotency, d.idempotency);
        put(Field::RawResult, d.raw_result);
        put(Field::Released, d.released);
        put(Field::Transcript, d.transcript);
        put(Field::Egress, d.egress);
        put(Field::Forwarded, d.forwarded);
        put(Field::Preview, d.preview);
        let action = self
            .sealed
            .as_ref()
            .and_then(|s| Action::from_bytes(&s.intent.action.0).ok());
        if let Some(action) = action {
            put(Field::Agent, Some(action.agent));
            put(Field::Forwarded, Some(action.forwarded));
            put(Field::Preview, Some(action.preview));
        }
        out
    }
}

fn of_caller(caller: &Caller, out: &mut Vec<(Field, Commitment)>) {
    let Caller {
        assurance: _,
        key: _,
        agent,
        user,
        session,
        proof,
        claims,
        principal_chain,
        subject: _,
    } = caller;
    out.push((Field::Agent, *agent));
    let optional = [
        (Field::User, user),
        (Field::Session, session),
        (Field::CallerProof, proof),
        (Field::Claims, claims),
        (Field::PrincipalChain, principal_chain),
    ];
    out.extend(optional.into_iter().filter_map(|(f, c)| Some((f, (*c)?))));
}

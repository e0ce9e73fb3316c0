//! What is known of a call so far, and the salts of its commitments.
//!
//! In: what each stage learned. Out: the parts of a Decision Record. A `Progress` grows
//! from stage to stage; whatever ends the call, the record says all that was known then.

use bytes::Bytes;
use countersign_policies::decision::TokenFact;
use countersign_record::body::{
    Caller, CapabilityRef, Handling, Lineage, Mode, PolicyOutcome, Trace, Verdict,
};
use countersign_record::cbor;
use countersign_record::commitment::{Disclosure, Field, commit};
use countersign_record::digest::{
    ActionDigest, CallId, Commitment, KeyId, RunId, Salt, SubjectId, TenantId, UnixMillis,
    sha256_in,
};
use countersign_record::entry::EntryRef;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Unpredictable bytes of one call, from the shell. All its salts come from them.
#[derive(Clone)]
pub struct Seed(Source);

/// Where identifier and salts of a call come from.
#[derive(Clone)]
enum Source {
    Fresh([u8; 32]),
    /// From a record; see [`crate::recall`].
    Recorded(Arc<RecordedSalts>),
}

/// Identifier and salts of a call as its record shows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedSalts {
    /// The call.
    pub call: CallId,
    /// The salts of its fields.
    pub salts: BTreeMap<Field, Salt>,
}

impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seed(..)")
    }
}

impl Seed {
    /// Bytes that nobody could predict.
    #[must_use]
    pub fn fresh(bytes: [u8; 32]) -> Self {
        Self(Source::Fresh(bytes))
    }

    pub(crate) fn recorded(salts: RecordedSalts) -> Self {
        Self(Source::Recorded(Arc::new(salts)))
    }

    /// The salt of one field. Whoever learns one learns nothing of the others.
    #[must_use]
    pub fn salt(&self, field: Field) -> Salt {
        let seed = match &self.0 {
            Source::Fresh(seed) => seed,
            // A field that the record does not have gets a salt that no record has.
            Source::Recorded(recorded) => {
                return recorded.salts.get(&field).copied().unwrap_or(Salt([0; 16]));
            }
        };
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ..] =
            sha256_in("countersign/salt/v1", &[seed, &field.code().to_be_bytes()]);
        Salt([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p])
    }

    /// The identifier of the call.
    #[must_use]
    pub fn call_id(&self) -> CallId {
        let seed = match &self.0 {
            Source::Fresh(seed) => seed,
            Source::Recorded(recorded) => return recorded.call,
        };
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ..] =
            sha256_in("countersign/call/v1", &[seed]);
        CallId([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p])
    }

    /// Opens a commitment to `value`.
    #[must_use]
    pub fn disclose(&self, field: Field, value: &[u8]) -> Disclosure {
        Disclosure {
            field,
            salt: self.salt(field),
            value: cbor::Bytes(value.to_vec()),
        }
    }

    /// Commits to `value`.
    #[must_use]
    pub fn commit(&self, field: Field, value: &[u8]) -> Commitment {
        commit(field, self.salt(field), value)
    }
}

/// The moment of a stage, from the shell's clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Wall clock, never behind the log.
    pub at: UnixMillis,
    /// Milliseconds since the process started.
    pub since_boot: u64,
}

/// Who called, with what the record needs of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    /// Tenant's pseudonym.
    pub tenant: TenantId,
    /// Tenant's name.
    pub tenant_name: String,
    /// The agent's URN.
    pub agent: String,
    /// The person it acts for.
    pub user: Option<String>,
    /// 0 static token, 1 token of an issuer, 2 one that is bound to what the caller holds, 3 signed request.
    pub assurance: u8,
    /// The key that signed.
    pub key: Option<KeyId>,
    /// An encoded `CallerProof`, for callers that sign.
    pub proof: Option<Vec<u8>>,
    /// An encoded `CallerClaims`, for callers that show a token of an issuer.
    pub claims: Option<Vec<u8>>,
    /// An encoded `PrincipalChain`, where the token says who stands behind the call.
    pub chain: Option<Vec<u8>>,
    /// What policy is told of the token.
    pub token: Option<TokenFact>,
    /// Pseudonym of the person, or of the agent where it acts for nobody; absent before a call is identified.
    pub subject: Option<SubjectId>,
}

/// What the registry says about the capability.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct What {
    /// The capability.
    pub capability: CapabilityRef,
    /// How its data is handled.
    pub handling: Handling,
}

/// What policy said and what it was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Judged {
    pub(crate) outcome: PolicyOutcome,
    pub(crate) facts: Vec<u8>,
    pub(crate) verdict: Verdict,
}

/// What is known of a call.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    pub(crate) call: CallId,
    pub(crate) seed: Seed,
    pub(crate) received_at: UnixMillis,
    pub(crate) decided_at: Option<UnixMillis>,
    pub(crate) received: Bytes,
    pub(crate) trace: Option<Trace>,
    pub(crate) lineage: Option<Lineage>,
    pub(crate) session: Option<String>,
    pub(crate) idempotency: Option<String>,
    pub(crate) requested_mode: Option<Mode>,
    /// The run that the gateway put the call into.
    pub(crate) run: Option<RunId>,
    /// Tokens that the client says it spent since the run's last call.
    pub(crate) tokens: Option<u64>,
    pub(crate) who: Option<Arc<Who>>,
    pub(crate) what: Option<What>,
    pub(crate) judged: Option<Arc<Judged>>,
    pub(crate) controls: Vec<String>,
    pub(crate) parent: Option<CallId>,
    pub(crate) action: Option<ActionDigest>,
    pub(crate) approvals: Vec<EntryRef>,
    /// How many leaves the control state had taken in, once it was asked.
    pub(crate) basis: Option<u64>,
}

impl Who {
    /// Whose call it is: the person, or the agent itself where it acts for nobody.
    #[must_use]
    pub fn subject_name(&self) -> &str {
        self.user.as_deref().unwrap_or(&self.agent)
    }

    /// Whose call it is among those of one tenant: the agent, for whom it acts. What one party halted, repeats or runs
    /// is never another's, also where one agent serves many people.
    #[must_use]
    pub fn party(&self) -> String {
        party(&self.agent, self.user.as_deref())
    }
}

/// Agent and person as one name. Neither has control characters in it, so no two parties share one.
pub(crate) fn party(agent: &str, user: Option<&str>) -> String {
    user.map_or_else(|| agent.to_owned(), |user| format!("{agent}\n{user}"))
}

impl Progress {
    /// The part of the record about the caller. Who is not known has an empty name.
    pub(crate) fn caller(&self, open: &mut Vec<Disclosure>) -> Caller {
        let mut put = |field, value: &[u8]| {
            let disclosure = self.seed.disclose(field, value);
            let commitment = disclosure.commitment();
            open.push(disclosure);
            commitment
        };
        let who = self.who.as_ref();
        Caller {
            assurance: who.map_or(0, |w| w.assurance),
            key: who.and_then(|w| w.key),
            agent: put(
                Field::Agent,
                who.map_or("", |w| w.agent.as_str()).as_bytes(),
            ),
            user: who
                .and_then(|w| w.user.as_ref())
                .map(|u| put(Field::User, u.as_bytes())),
            session: self
                .session
                .as_ref()
                .map(|s| put(Field::Session, s.as_bytes())),
            proof: who
                .and_then(|w| w.proof.as_ref())
                .map(|p| put(Field::CallerProof, p)),
            claims: who
                .and_then(|w| w.claims.as_ref())
                .map(|c| put(Field::Claims, c)),
            principal_chain: who
                .and_then(|w| w.chain.as_ref())
                .map(|c| put(Field::PrincipalChain, c)),
            subject: who.and_then(|w| w.subject),
        }
    }

    /// Commits to `value` and keeps what opens it.
    pub(crate) fn put(&self, open: &mut Vec<Disclosure>, field: Field, value: &[u8]) -> Commitment {
        let disclosure = self.seed.disclose(field, value);
        let commitment = disclosure.commitment();
        open.push(disclosure);
        commitment
    }
}

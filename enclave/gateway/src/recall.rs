//! What a replay puts in the place of the world: inputs of stages that come from a record.
//!
//! In: values that a record committed to. Out: what the shell made of sockets, credentials and
//! random bytes when the call was live, and what other calls held at that moment. Nothing here
//! was proved by whoever calls it, so the constructors are called `danger_…`, and `clippy.toml`
//! keeps all code but the replay from them. A stage that runs on them does what it always does.

use crate::call::{RecordedSalts, Seed, Who};
use crate::identity::issued::{accounts, apply};
use crate::identity::{
    ASSURANCE_BOUND, ASSURANCE_ISSUED, ASSURANCE_SIGNED, ASSURANCE_TOKEN, Identified, known,
};
use crate::request::{MAX_TOKENS, Request};
use crate::state::{Behind, Halted, MatchKey, State, idempotency_slot};
use crate::surface::Surfaced;
use countersign_policies::Content;
use countersign_policies::site::people::{Agent, Credential};
use countersign_record::body::Action;
use countersign_record::bundle::AgentEntry;
use countersign_record::cbor::Cbor;
use countersign_record::claims::{CallerClaims, PrincipalChain};
use countersign_record::commitment::{CallerProof, Disclosure};
use countersign_record::digest::{
    CallId, KeyId, RunId, SubjectId, TenantId, UnixMillis, sha256_in,
};
use countersign_signatures::ed25519;
use countersign_tokens::dpop::kept;
use countersign_tokens::svid;
use thiserror::Error;

/// Calls that can hold a place in one budget at one time. More than a gateway can have under way.
pub const MAX_HELD: u64 = 65_536;

/// Salts as a record shows them.
#[must_use]
pub fn danger_seed(salts: RecordedSalts) -> Seed {
    Seed::recorded(salts)
}

/// What a record says that its caller presented. With none of it: a static token, of which nothing is kept.
#[derive(Debug, Clone, Copy)]
pub struct Presented<'a> {
    /// A signature of the request, as an encoded [`CallerProof`].
    pub proof: Option<&'a [u8]>,
    /// What a token or a certificate said, as encoded [`CallerClaims`].
    pub claims: Option<&'a [u8]>,
    /// Who stood behind it, as an encoded [`PrincipalChain`].
    pub chain: Option<&'a [u8]>,
}

/// Why a record's caller is none of a registry's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NotRecalled {
    /// The agent has no token.
    #[error("the agent has no token in the bundle")]
    NoToken,
    /// The agent has no key.
    #[error("the agent has no key in the bundle")]
    NoKey,
    /// The proof is malformed.
    #[error("the proof of who called is malformed")]
    Malformed,
    /// The claims are malformed, or contradict themselves.
    #[error("the claims of the caller's token are malformed")]
    Claims,
    /// No such issuer.
    #[error("the token is of an issuer that the bundle does not have")]
    NoIssuer,
    /// The token is another agent's.
    #[error("the token is of another client than the agent's in the bundle")]
    OtherClient,
    /// The certificate is another workload's, or of none.
    #[error("the certificate does not name the agent's workload in the bundle")]
    OtherWorkload,
    /// The token is about somebody else.
    #[error("the token is about another person than the agent acts for")]
    OtherPerson,
    /// The proof of possession does not hold.
    #[error("the proof of possession does not hold for the token")]
    BadPossession,
    /// The proof is by another key than the agent's.
    #[error("the request is signed by key {found}, the agent's key is {expected}")]
    OtherKey {
        /// The agent's.
        expected: KeyId,
        /// The proof's.
        found: KeyId,
    },
    /// The signature does not hold.
    #[error("the signature of the request does not hold")]
    BadSignature,
}

/// Stage 2 from a record: the agent is the bundle's, a signature and a proof of possession hold, and agent, person and
/// facts are what the bundle makes of the kept claims. A token, its issuer's signature, its time and a nonce were judged once.
///
/// # Errors
/// Why this agent did not make the call.
pub fn danger_identify(
    request: Request,
    content: &Content,
    (agent, tenant): (&AgentEntry, TenantId),
    (presented, subject): (Presented<'_>, Option<SubjectId>),
) -> Result<Identified, NotRecalled> {
    let mut who = Who {
        tenant,
        tenant_name: agent.tenant.clone(),
        agent: agent.urn.clone(),
        user: agent.user.clone(),
        assurance: ASSURANCE_TOKEN,
        key: None,
        proof: None,
        claims: None,
        chain: None,
        token: None,
        subject,
    };
    let Presented {
        proof,
        claims,
        chain,
    } = presented;
    if let Some(claims) = claims {
        recall_claims(&mut who, content, claims, chain)?;
    }
    match (proof, claims) {
        (None, None) => {
            agent.token.ok_or(NotRecalled::NoToken)?;
        }
        // Whoever has a key of its own does not call by a token alone.
        (None, Some(_)) if agent.key.is_some() || agent.token.is_some() => {
            return Err(NotRecalled::OtherClient);
        }
        (None, Some(_)) => {}
        (Some(bytes), _) => {
            let key = agent.key.ok_or(NotRecalled::NoKey)?;
            let proof = CallerProof::from_bytes(bytes).map_err(|_| NotRecalled::Malformed)?;
            if proof.key != key {
                let (expected, found) = (key.id(), proof.key.id());
                return Err(NotRecalled::OtherKey { expected, found });
            }
            let signed = ed25519::Signed {
                message: &proof.signature_base.0,
                signature: &proof.signature.0,
            };
            ed25519::PublicKey::parse(&key.0)
                .ok()
                .and_then(|key| key.verify(signed).ok())
                .ok_or(NotRecalled::BadSignature)?;
            who.assurance = ASSURANCE_SIGNED;
            who.key = Some(key.id());
            who.proof = Some(bytes.to_vec());
        }
    }
    Ok(known(request, who))
}

fn recall_claims(
    who: &mut Who,
    content: &Content,
    claims: &[u8],
    chain: Option<&[u8]>,
) -> Result<(), NotRecalled> {
    let claims = CallerClaims::from_bytes(claims).map_err(|_| NotRecalled::Claims)?;
    let chain = match chain {
        None => Vec::new(),
        Some(bytes) => {
            let chain = PrincipalChain::from_bytes(bytes).map_err(|_| NotRecalled::Claims)?;
            chain.principals
        }
    };
    let agent = content.agents.get(&who.agent);
    let by_certificate = recall_certificate(agent, &claims)?;
    let Some(token) = &claims.token else {
        if !by_certificate || claims.dpop.is_some() || !chain.is_empty() {
            return Err(NotRecalled::Claims);
        }
        who.assurance = ASSURANCE_BOUND;
        return apply(who, &claims, chain, ("", &accounts(content)))
            .map_err(|_| NotRecalled::OtherPerson);
    };
    let issuer = content.issuers.values().find(|i| i.url == token.issuer);
    let issuer = issuer.ok_or(NotRecalled::NoIssuer)?;
    let client = agent.and_then(|a| a.oauth.as_ref());
    let client = client
        .filter(|c| c.issuer == issuer.name && c.client == token.client)
        .ok_or(NotRecalled::OtherClient)?;
    let own = token.subject == token.client || Some(&token.subject) == client.own_subject.as_ref();
    if own != token.user.is_none() {
        return Err(NotRecalled::Claims);
    }
    who.assurance = ASSURANCE_ISSUED;
    if let Some(dpop) = &claims.dpop {
        kept(dpop, token.token).map_err(|_| NotRecalled::BadPossession)?;
        who.assurance = ASSURANCE_BOUND;
    }
    if claims.certificate.is_some() {
        who.assurance = ASSURANCE_BOUND;
    }
    apply(who, &claims, chain, (&issuer.name, &accounts(content)))
        .map_err(|_| NotRecalled::OtherPerson)
}

/// Whether the agent is a workload and its certificate was kept. Who issued that is not looked at again: issuers between
/// it and a root are not kept.
fn recall_certificate(agent: Option<&Agent>, claims: &CallerClaims) -> Result<bool, NotRecalled> {
    let Some(Credential::Workload(id)) = agent.map(|a| &a.credential) else {
        return Ok(false);
    };
    let kept = claims.certificate.as_ref();
    let named = kept.and_then(|c| svid::named(&c.0).ok());
    match named.is_some_and(|named| named == *id) {
        true => Ok(true),
        false => Err(NotRecalled::OtherWorkload),
    }
}

/// What other calls held at the moment of a decision, before anything of it stood in the log.
#[derive(Debug, Default)]
pub struct Held(Vec<CallId>);

impl Held {
    /// `count` calls of a capability were about to be sealed; at most [`MAX_HELD`].
    pub fn calls(&mut self, state: &mut State, tenant: TenantId, capability: &str, count: u64) {
        for _ in 0..count.min(MAX_HELD) {
            let other = self.other();
            state.reserve_call(tenant, capability, other);
        }
    }

    /// `count` calls of a run were about to be sealed; at most [`MAX_HELD`].
    pub fn run(&mut self, state: &mut State, run: Option<RunId>, count: u64) {
        let Some(run) = run else { return };
        for _ in 0..count.min(MAX_HELD) {
            let other = self.other();
            // Tokens of calls that were under way are in no entry yet, and made the run's end come no later.
            state.reserve_run(run, MAX_TOKENS, other);
        }
    }

    /// Another call with the same idempotency key was about to be sealed.
    pub fn key(&mut self, state: &mut State, surfaced: &Surfaced) {
        let (who, capability) = (&surfaced.who, &surfaced.capability.id);
        let Some(key) = &surfaced.progress.idempotency else {
            return;
        };
        let slot = idempotency_slot(who.tenant, &who.party(), capability, key.as_bytes());
        let other = self.other();
        state.reserve_key(slot, other, match_key(surfaced));
    }

    /// Another call was about to spend the approvals of an action.
    pub fn approvals(&mut self, state: &mut State, action: &Action) {
        let other = self.other();
        // Whether there was anything to spend shows when the stage runs.
        let _taken = state.spend(action.digest(), other);
    }

    /// Another call was being halted with this action.
    pub fn action(
        &mut self,
        state: &mut State,
        surfaced: &Surfaced,
        action: Action,
        disclosures: Vec<Disclosure>,
        at: UnixMillis,
    ) {
        let who = &surfaced.who;
        self.0.push(action.call);
        let halted = Halted {
            digest: action.digest(),
            call: action.call,
            at,
            disclosures,
            approvals: Vec::new(),
            refused: false,
            given_back: 0,
            behind: Behind::of(who),
            owner: crate::state::keys::Owner::new(who.tenant, &who.agent),
            action,
        };
        state.halt(match_key(surfaced), halted);
    }

    /// Gives everything back.
    pub fn release(self, state: &mut State) {
        self.0.into_iter().for_each(|call| state.release(call));
    }

    fn other(&mut self) -> CallId {
        let number = u64::try_from(self.0.len()).unwrap_or(u64::MAX);
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ..] =
            sha256_in("countersign/replay/held/v1", &[&number.to_be_bytes()]);
        let call = CallId([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]);
        self.0.push(call);
        call
    }
}

fn match_key(surfaced: &Surfaced) -> MatchKey {
    let who = &surfaced.who;
    MatchKey::new(
        who.tenant,
        &who.party(),
        &surfaced.capability.id,
        &surfaced.arguments,
    )
}

//! Stage 2: who is calling, and how sure that is.
//!
//! In: a [`Request`] and what was presented with it. Out: [`Identified`]: tenant, agent,
//! user, assurance, by which key. A signed request keeps its signature base, so that the
//! auditor's verifier checks the same signature again.
//!
//! | assurance | what was presented |
//! |---|---|
//! | 0 | a static token, compared with its hash |
//! | 1 | an access token of an issuer that the bundle pins ([`issued`]) |
//! | 2 | one that is bound to a key, with a proof by that key (DPoP) or the certificate of that key |
//! | 2 | the certificate of a workload (SPIFFE), whose key the handshake showed ([`Workloads`]) |
//! | 3 | an HTTP message signature (RFC 9421) over method, target and body digest |
//!
//! A signed request, or one of a workload, may carry an access token of the same agent: it then says for whom the agent
//! acts. A certificate that is shown beside anything else says nothing, unless that asks for it.

pub(crate) mod issued;

use crate::call::Who;
use crate::refusal::{Code, Refusal, Refused};
use crate::request::{Arguments, Request, Tool};
use crate::state::State;
use crate::state::spending::TOKENS;
use bytes::Bytes;
use countersign_policies::Content;
use countersign_policies::site::people::Credential;
use countersign_record::body::Trace;
use countersign_record::bundle::{AgentEntry, Registry};
use countersign_record::cbor::{self, Cbor};
use countersign_record::commitment::CallerProof;
use countersign_record::digest::{
    CallId, PublicKey, RunId, Signature, SubjectId, TenantId, UnixMillis,
};
use countersign_signatures::ed25519;
use countersign_signatures::http::{HttpRequest, SignedRequest, UnixSeconds, VerifiedCall, Window};
use countersign_signatures::token::TokenHash;
use countersign_tokens::dpop::{Proof, signed_part};
use countersign_tokens::jwk::ed25519_thumbprint;
use countersign_tokens::jws::has_three_parts;
use countersign_tokens::svid::Workloads;
use issued::{Freshness, Issued, Scheme, Sent};
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

/// Assurance of a static token.
pub const ASSURANCE_TOKEN: u8 = 0;
/// Assurance of a token of an issuer.
pub const ASSURANCE_ISSUED: u8 = 1;
/// Assurance of a token that is bound to a key which the caller showed to hold.
pub const ASSURANCE_BOUND: u8 = 2;
/// Assurance of a signed request.
pub const ASSURANCE_SIGNED: u8 = 3;

/// How far a signature's time may be from now.
const WINDOW: Window = Window::MINUTE;

/// Nonces that are remembered. At 65 bytes each this is 65 MB, and 8,000 signed calls a second for two minutes.
pub const MAX_NONCES: usize = 1_000_000;

/// Agents by what they present.
#[derive(Debug)]
pub struct Callers {
    agents: Vec<(AgentEntry, TenantId)>,
    by_token: HashMap<[u8; 32], usize>,
    by_key: HashMap<String, (usize, ed25519::PublicKey)>,
    by_workload: HashMap<String, usize>,
    workloads: Workloads,
    issued: Issued,
}

/// What came with a request. Not printable: it has a credential.
#[derive(Clone, Copy)]
pub struct Presented<'p> {
    /// The request.
    pub request: &'p HttpRequest<'p>,
    /// The certificates that the client showed in its handshake, its own first, in DER. It holds the key of the first;
    /// nothing else of them was judged.
    pub certificates: &'p [&'p [u8]],
}

impl<'p> Presented<'p> {
    /// A request of a client that showed no certificate.
    #[must_use]
    pub fn without_certificates(request: &'p HttpRequest<'p>) -> Self {
        Self {
            request,
            certificates: &[],
        }
    }
}

impl Callers {
    /// The callers of a bundle: those of its registry, and those for whom issuers vouch.
    #[must_use]
    pub fn of_content(content: &Content) -> Self {
        let mut out = Self::new(&content.registry());
        let places = out.agents.iter().zip(0..);
        let places: HashMap<&str, usize> = places
            .map(|((agent, _), at)| (agent.urn.as_str(), at))
            .collect();
        out.issued = Issued::new(content, &places);
        let workloads = content.agents.values().filter_map(|agent| {
            let Credential::Workload(id) = &agent.credential else {
                return None;
            };
            Some((id.to_string(), *places.get(agent.urn.as_str())?))
        });
        out.by_workload = workloads.collect();
        out.workloads = Workloads::new(content.trust_domains.values().cloned());
        out
    }

    /// The callers of a registry. Agents of tenants that do not exist, keys that are no keys, and what two agents
    /// share, call nobody.
    #[must_use]
    pub fn new(registry: &Registry) -> Self {
        let tenant_of = |name: &str| {
            registry
                .tenants
                .iter()
                .find(|t| t.name == name)
                .map(|t| t.id)
        };
        let agents: Vec<_> = registry
            .agents
            .iter()
            .filter_map(|a| Some((a.clone(), tenant_of(&a.tenant)?)))
            .collect();
        let mut by_token = HashMap::new();
        let mut by_key = HashMap::new();
        let (mut shared_tokens, mut shared_keys) = (Vec::new(), Vec::new());
        for (i, (agent, _)) in agents.iter().enumerate() {
            if let Some(token) = agent.token
                && by_token.insert(token, i).is_some()
            {
                shared_tokens.push(token);
            }
            if let Some(key) = agent.key
                && let Ok(parsed) = ed25519::PublicKey::parse(&key.0)
            {
                let id = key.id().to_string();
                if by_key.insert(id.clone(), (i, parsed)).is_some() {
                    shared_keys.push(id);
                }
            }
        }
        for token in &shared_tokens {
            by_token.remove(token);
        }
        for key in &shared_keys {
            by_key.remove(key);
        }
        Self {
            agents,
            by_token,
            by_key,
            by_workload: HashMap::new(),
            workloads: Workloads::default(),
            issued: Issued::default(),
        }
    }

    /// The agent that the certificates of a handshake name.
    fn workload(&self, certificates: &[&[u8]], now: UnixMillis) -> Result<usize, Refusal> {
        let refused = |why: String| Refusal::never(Code::CertificateInvalid).by_rule(why);
        let svid = self
            .workloads
            .judge(certificates, now.0)
            .map_err(|e| refused(e.to_string()))?;
        let agent = self.by_workload.get(svid.id().as_str());
        agent
            .copied()
            .ok_or_else(|| refused(format!("no agent is the workload {}", svid.id())))
    }

    fn who(&self, index: usize, assurance: u8) -> Option<Who> {
        let (agent, tenant) = self.agents.get(index)?;
        Some(Who {
            tenant: *tenant,
            tenant_name: agent.tenant.clone(),
            agent: agent.urn.clone(),
            user: agent.user.clone(),
            assurance,
            key: None,
            proof: None,
            claims: None,
            chain: None,
            token: None,
            subject: None,
        })
    }
}

/// Nonces of signed requests that were used. One request is one call, however often it is sent.
#[derive(Debug, Default)]
pub struct Nonces {
    seen: HashSet<[u8; 32]>,
    order: VecDeque<([u8; 32], u64)>,
    /// Signatures of the log's newest calls: the log remembers what a restart forgets.
    of_log: HashSet<[u8; 32]>,
    /// The latest time that was seen. What is forgotten by a clock stays stale by the same clock.
    latest: u64,
}

impl Nonces {
    /// What is used already after a start: the signatures of the newest calls in the log.
    #[must_use]
    pub fn of_log(state: &State) -> Self {
        Self {
            of_log: state.signatures().map(|(_, slot)| *slot).collect(),
            ..Self::default()
        }
    }

    /// What proofs of possession are held against.
    fn fresh(&mut self, clock: Clock) -> Freshness<'_> {
        Freshness {
            now: self.now(clock.now),
            epoch_opened: UnixSeconds(clock.epoch_opened.0 / 1000),
            nonces: self,
        }
    }

    /// The time by which signatures are fresh; it never runs backwards.
    fn now(&mut self, now: UnixMillis) -> UnixSeconds {
        self.latest = self.latest.max(now.0 / 1000);
        UnixSeconds(self.latest)
    }

    /// Takes a nonce, once.
    fn take(&mut self, call: &VerifiedCall, now: UnixSeconds) -> bool {
        let slot = countersign_record::digest::sha256_in(
            "countersign/nonce/v1",
            &[&call.key().0, call.nonce().as_bytes()],
        );
        self.take_slot(slot, signature_slot(call.signature()), now)
    }

    /// Takes a proof of possession, once.
    fn take_proof(&mut self, proof: &Proof, text: &str, now: UnixSeconds) -> bool {
        let slot = countersign_record::digest::sha256_in(
            "countersign/dpop/v1",
            &[&proof.thumbprint(), proof.id().as_bytes()],
        );
        let signed = signed_part(text).map(|signed| proof_slot(&signed));
        signed.is_some_and(|of_log| self.take_slot(slot, of_log, now))
    }

    /// Takes a slot, once. Used ones are forgotten when their time window is long over. `of_log` is where the log
    /// remembers the same.
    fn take_slot(&mut self, slot: [u8; 32], of_log: [u8; 32], now: UnixSeconds) -> bool {
        let Window {
            past_seconds,
            future_seconds,
        } = WINDOW;
        let long_over = now
            .0
            .saturating_sub(past_seconds.saturating_add(future_seconds));
        while self.order.front().is_some_and(|(_, at)| *at < long_over) {
            if let Some((old, _)) = self.order.pop_front() {
                self.seen.remove(&old);
            }
        }
        // A full memory refuses rather than forgets: forgetting would let a request be sent twice.
        let full = self.seen.len() >= MAX_NONCES;
        if full || self.of_log.contains(&of_log) {
            return false;
        }
        if !self.seen.insert(slot) {
            return false;
        }
        self.order.push_back((slot, now.0));
        true
    }
}

/// Where a signature of the log is remembered. Ed25519 as verified here has one signature for one nonce.
pub(crate) fn signature_slot(signature: &[u8; 64]) -> [u8; 32] {
    countersign_record::digest::sha256_in("countersign/signature/v1", &[signature])
}

/// Where a proof of possession of the log is remembered, by the digest of what it signs.
pub(crate) fn proof_slot(signed: &[u8; 32]) -> [u8; 32] {
    countersign_record::digest::sha256_in("countersign/proof/v1", &[signed])
}

/// A request of a known caller.
#[derive(Debug)]
pub struct Identified {
    pub(crate) progress: crate::call::Progress,
    pub(crate) who: Arc<Who>,
    pub(crate) tool: Tool,
    pub(crate) arguments: Bytes,
    pub(crate) value: Arguments,
    pub(crate) answers: Option<Bytes>,
    pub(crate) run: Option<String>,
}

impl Identified {
    /// Who calls.
    #[must_use]
    pub fn who(&self) -> &Who {
        &self.who
    }

    /// The run that the client names.
    #[must_use]
    pub fn run(&self) -> Option<&str> {
        self.run.as_deref()
    }

    /// Puts the call into a run, which the shell chose.
    #[must_use]
    pub fn in_run(mut self, run: RunId) -> Self {
        self.progress.run = Some(run);
        self
    }

    /// The call.
    #[must_use]
    pub fn call(&self) -> CallId {
        self.progress.call
    }

    /// The trace that the call belongs to, as the client claims.
    #[must_use]
    pub fn trace(&self) -> Option<&Trace> {
        self.progress.trace.as_ref()
    }

    /// Refuses the call of a known caller before it is looked at.
    #[must_use]
    pub fn refuse(self, refusal: Refusal) -> Box<Refused> {
        Box::new(Refused {
            progress: self.progress,
            refusal,
        })
    }

    /// Which tool is asked for.
    #[must_use]
    pub fn tool(&self) -> &Tool {
        &self.tool
    }
}

/// When signatures are fresh: not older than the epoch, so that a restart forgets no nonce that matters.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// The moment of the call.
    pub now: UnixMillis,
    /// When the epoch opened.
    pub epoch_opened: UnixMillis,
}

/// A caller that was found out; [`recognize`] alone makes one.
#[derive(Debug)]
pub struct Recognized(Who);

impl Recognized {
    /// Who calls.
    #[must_use]
    pub fn who(&self) -> &Who {
        &self.0
    }

    /// Who calls, where it is no call: for a list, or a person's request.
    #[must_use]
    pub fn into_who(self) -> Who {
        self.0
    }
}

/// Finds out who calls; for a `tools/list` as well as for a call.
///
/// # Errors
/// Why the caller is not known.
pub fn recognize(
    presented: Presented<'_>,
    callers: &Callers,
    nonces: &mut Nonces,
    clock: Clock,
) -> Result<Recognized, Refusal> {
    let headers = presented.request.headers.iter();
    let has = |name: &str| headers.clone().any(|h| h.name.eq_ignore_ascii_case(name));
    let by_certificate = !presented.certificates.is_empty() && !callers.by_workload.is_empty();
    let who = if has("signature-input") || has("signature") {
        signed(presented, callers, nonces, clock)
    } else if by_certificate && !has("authorization") {
        workload(presented, callers, clock)
    } else {
        unsigned(presented, callers, nonces, clock)
    };
    who.map(Recognized)
}

/// Stage 2. `subject` looks up the pseudonym of whom the call is about.
///
/// # Errors
/// A refusal, if the caller is not known or has no pseudonym. It is counted, not recorded, so that a stranger cannot fill the log.
pub fn identify(
    request: Request,
    presented: Presented<'_>,
    callers: &Callers,
    nonces: &mut Nonces,
    clock: Clock,
    subject: impl FnOnce(&Who) -> Option<SubjectId>,
) -> Result<Identified, Box<Refused>> {
    match recognize(presented, callers, nonces, clock) {
        Ok(recognized) => {
            let subject = subject(recognized.who());
            request.of(recognized, subject)
        }
        Err(refusal) => Err(request.refuse(refusal)),
    }
}

impl Request {
    /// Stage 2 for a shell that has to wait for the pseudonym of whom the call is about.
    ///
    /// # Errors
    /// A refusal, if there is no pseudonym.
    pub fn of(
        self,
        recognized: Recognized,
        subject: Option<SubjectId>,
    ) -> Result<Identified, Box<Refused>> {
        let Recognized(mut who) = recognized;
        who.subject = subject;
        let identified = known(self, who);
        match subject {
            Some(_) => Ok(identified),
            // A call that could not be found again by whom it is about is not taken.
            None => Err(identified.refuse(Refusal::never(Code::AuditUnavailable))),
        }
    }

    /// Refuses the request of an unknown caller.
    #[must_use]
    pub fn refuse(self, refusal: Refusal) -> Box<Refused> {
        Box::new(Refused {
            progress: self.progress,
            refusal,
        })
    }
}

/// A request whose caller was found out.
pub(crate) fn known(request: Request, who: Who) -> Identified {
    let Request {
        mut progress,
        tool,
        arguments,
        value,
        answers,
        run,
    } = request;
    let who = Arc::new(who);
    progress.who = Some(Arc::clone(&who));
    let chosen = if run.is_some() {
        "run:client"
    } else {
        "run:gateway"
    };
    progress.controls.push(chosen.to_owned());
    if let Some(tokens) = progress.tokens {
        progress.controls.push(format!("{TOKENS}{tokens}"));
    }
    Identified {
        progress,
        who,
        tool,
        arguments,
        value,
        answers,
        run,
    }
}

/// The token of a request; `None` if there is none, or it is of a scheme that is not in use here.
fn sent<'p>(presented: &HttpRequest<'p>) -> Result<Option<Sent<'p>>, Refusal> {
    let mut values = presented
        .headers
        .iter()
        .filter(|h| h.name.eq_ignore_ascii_case("authorization"));
    let header = match (values.next(), values.next()) {
        (None, _) => return Ok(None),
        (Some(header), None) => header,
        (Some(_), Some(_)) => return Err(Refusal::never(Code::Unauthenticated)),
    };
    let words = std::str::from_utf8(header.value).ok();
    Ok(words
        .and_then(|t| t.split_once(' '))
        .and_then(|(scheme, text)| {
            let scheme = if scheme.eq_ignore_ascii_case("bearer") {
                Scheme::Bearer
            } else if scheme.eq_ignore_ascii_case("dpop") {
                Scheme::Dpop
            } else {
                return None;
            };
            Some(Sent { scheme, text })
        }))
}

/// A caller that shows nothing but the certificate of a workload.
fn workload(presented: Presented<'_>, callers: &Callers, clock: Clock) -> Result<Who, Refusal> {
    let index = callers.workload(presented.certificates, clock.now)?;
    let who = callers.who(index, ASSURANCE_BOUND);
    let mut who = who.ok_or_else(|| Refusal::never(Code::Unauthenticated))?;
    who.claims = Some(issued::claims_of_certificate(presented.certificates).to_bytes());
    Ok(who)
}

/// A caller that signs nothing: by a static token, or by one of an issuer, which may need a certificate beside it.
fn unsigned(
    presented: Presented<'_>,
    callers: &Callers,
    nonces: &mut Nonces,
    clock: Clock,
) -> Result<Who, Refusal> {
    let unknown = || Refusal::never(Code::Unauthenticated);
    let sent = sent(presented.request)?.ok_or_else(unknown)?;
    let hash = TokenHash::of(sent.text).ok();
    // The lookup is by hash: its time says nothing about a token that nobody knows.
    let index = hash.and_then(|hash| callers.by_token.get(hash.as_bytes()));
    if let Some(index) = index.filter(|_| sent.scheme == Scheme::Bearer) {
        return callers.who(*index, ASSURANCE_TOKEN).ok_or_else(unknown);
    }
    if !callers.issued.any() || !has_three_parts(sent.text) {
        return Err(unknown());
    }
    let mut shown = callers
        .issued
        .verify(presented, sent, None, nonces.fresh(clock))?;
    let (agent, assurance) = match callers.issued.agent_alone(&shown) {
        Some(agent) if shown.is_bound() => (agent, ASSURANCE_BOUND),
        Some(agent) => (agent, ASSURANCE_ISSUED),
        None if callers.issued.needs_certificate(&shown) => {
            let agent = callers.workload(presented.certificates, clock.now)?;
            if !callers.issued.is_for(&shown, agent) {
                return Err(Refusal::never(Code::TokenInvalid)
                    .by_rule("the token is of another agent than the certificate".to_owned()));
            }
            shown.by_certificate(presented.certificates);
            (agent, ASSURANCE_BOUND)
        }
        None => return Err(unknown()),
    };
    let mut who = callers.who(agent, assurance).ok_or_else(unknown)?;
    callers.issued.act(&mut who, shown)?;
    Ok(who)
}

fn signed(
    presented: Presented<'_>,
    callers: &Callers,
    nonces: &mut Nonces,
    clock: Clock,
) -> Result<Who, Refusal> {
    let invalid = || Refusal::never(Code::SignatureInvalid);
    let stale = || Refusal::never(Code::SignatureStale);
    let request = SignedRequest::parse(presented.request).map_err(|_| invalid())?;
    let (index, key) = callers
        .by_key
        .get(request.claimed_key_id())
        .ok_or_else(|| Refusal::never(Code::Unauthenticated))?;
    let call = request.verify(key).map_err(|_| invalid())?;
    let now = nonces.now(clock.now);
    call.appraise_freshness(now, WINDOW).map_err(|_| stale())?;
    // Seconds are rounded down on both sides, so a signature of the epoch's first second is refused too.
    if call.created().0 <= clock.epoch_opened.0 / 1000 || !nonces.take(&call, now) {
        return Err(stale());
    }
    let mut who = callers.who(*index, ASSURANCE_SIGNED).ok_or_else(invalid)?;
    let proof = CallerProof {
        key: PublicKey(*key.as_bytes()),
        signature_base: cbor::Bytes(call.base().to_vec()),
        signature: Signature(*call.signature()),
    };
    who.key = Some(proof.key.id());
    who.proof = Some(proof.to_bytes());
    // Anything else in this header is covered by the signature and says nothing.
    let token =
        sent(presented.request)?.filter(|t| callers.issued.any() && has_three_parts(t.text));
    if let Some(token) = token {
        let signer = Some(ed25519_thumbprint(key.as_bytes()));
        let shown = callers
            .issued
            .verify(presented, token, signer, nonces.fresh(clock))?;
        if !callers.issued.is_for(&shown, *index) {
            return Err(Refusal::never(Code::TokenInvalid)
                .by_rule("the token is of another agent than the one that signed".to_owned()));
        }
        callers.issued.act(&mut who, shown)?;
    }
    Ok(who)
}

//! Callers by the word of an issuer, and people for whom they act.
//!
//! In: an access token as it was sent, with what else the request shows, and the issuers, clients and accounts of
//! the bundle. Out: the agent whose client the token is for, and what its claims make of a [`Who`]; or a refusal
//! with the reason as its rule. The claims are kept for the record, the token never is.
//!
//! | the token | it needs | assurance |
//! |---|---|---|
//! | free | `Bearer` | 1 |
//! | bound to a key (`cnf.jkt`) | `DPoP` and a fresh proof by that key, or a request signed by it | 2, 3 |
//! | bound to a certificate (`cnf.x5t#S256`) | `Bearer` over a connection whose client showed that certificate | 2 |
//! | of an agent that is a workload | the certificate of that workload | 2 |
//! | of an agent that has a key of its own | a request signed by that key | 3 |
//!
//! [`apply`] is what a replay calls, too, on the claims that were kept.

use super::{Nonces, Presented};
use crate::call::Who;
use crate::refusal::{Code, Refusal};
use countersign_policies::Content;
use countersign_policies::decision::TokenFact;
use countersign_policies::site::people::{Client, Credential};
use countersign_record::cbor::{Bytes, Cbor as _};
use countersign_record::claims::{CallerClaims, Principal, PrincipalChain};
use countersign_record::digest::sha256;
use countersign_signatures::http::{HttpRequest, UnixSeconds};
use countersign_tokens::access::{AccessToken, Expected, Issuer, TokenError};
use countersign_tokens::dpop::{Asked, Proof};
use std::collections::HashMap;

/// Issuers, their clients among the agents, and the accounts of people.
#[derive(Debug, Default)]
pub(super) struct Issued {
    issuers: Vec<Issuer>,
    clients: HashMap<(String, String), Known>,
    accounts: HashMap<String, String>,
}

/// A client that is an agent.
#[derive(Debug)]
struct Known {
    agent: usize,
    client: Client,
    alone: Alone,
}

/// What a client's token is worth without anything else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Alone {
    /// It calls.
    Calls,
    /// The agent has a key or a token of its own; its tokens only say for whom it acts.
    Never,
    /// The agent is a workload; its tokens only say for whom it acts.
    WithCertificate,
}

/// How a token was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    Bearer,
    Dpop,
}

/// A token as it was sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent<'p> {
    pub(super) scheme: Scheme,
    pub(super) text: &'p str,
}

/// A token that holds, and what was shown with it.
#[derive(Debug)]
pub(super) struct Shown<'i> {
    token: AccessToken<'i>,
    dpop: Option<String>,
    /// The client's own certificate, where the call rests on it.
    certificate: Option<Bytes>,
}

/// The moment and the memory that a proof is held against.
pub(super) struct Freshness<'n> {
    pub(super) nonces: &'n mut Nonces,
    pub(super) now: UnixSeconds,
    pub(super) epoch_opened: UnixSeconds,
}

impl Issued {
    /// Those of a bundle, whose agents have these places.
    pub(super) fn new(content: &Content, places: &HashMap<&str, usize>) -> Self {
        let known = content.agents.values().filter_map(|agent| {
            let (client, place) = (agent.oauth.clone()?, places.get(agent.urn.as_str())?);
            let name = (client.issuer.clone(), client.client.clone());
            let alone = match agent.credential {
                Credential::Client => Alone::Calls,
                Credential::Token(_) | Credential::Key(_) => Alone::Never,
                Credential::Workload(_) => Alone::WithCertificate,
            };
            let agent = *place;
            Some((
                name,
                Known {
                    agent,
                    client,
                    alone,
                },
            ))
        });
        Self {
            issuers: content.issuers.values().cloned().collect(),
            clients: known.collect(),
            accounts: accounts(content),
        }
    }

    /// Whether any issuer's tokens count.
    pub(super) fn any(&self) -> bool {
        !self.issuers.is_empty()
    }

    /// Verifies a token and what it is bound to. `signer` is the thumbprint of the key that signed the whole request.
    pub(super) fn verify(
        &self,
        presented: Presented<'_>,
        sent: Sent<'_>,
        signer: Option<[u8; 32]>,
        fresh: Freshness<'_>,
    ) -> Result<Shown<'_>, Refusal> {
        let Presented {
            request,
            certificates,
        } = presented;
        let expected = Expected {
            path: resource_path(request.path),
            now: fresh.now,
        };
        let token =
            AccessToken::verify(sent.text, &self.issuers, expected).map_err(token_refusal)?;
        let bound = token.confirmation();
        // SPEC: RFC 8705 3.1. The handshake showed that the client holds its key; who issued it does not matter.
        let certificate = match bound.certificate {
            Some(digest) => Some(confirmed(digest, certificates)?),
            None => None,
        };
        let dpop = match (bound.key, sent.scheme) {
            (None, Scheme::Bearer) => None,
            (Some(key), Scheme::Bearer | Scheme::Dpop) if Some(key) == signer => None,
            (Some(key), Scheme::Dpop) => Some(prove(request, &token, key, fresh)?),
            // A bound token that is sent as a free one was stolen, or is used by a client that lost its key.
            (Some(_), Scheme::Bearer) => {
                return Err(proof_refusal(
                    "the token is bound to a key and came without a proof",
                ));
            }
            (None, Scheme::Dpop) => {
                return Err(proof_refusal("the token is bound to no key"));
            }
        };
        Ok(Shown {
            token,
            dpop,
            certificate,
        })
    }

    /// Which agent the token is for; `None` if no agent has this client, or the agent needs more than a token.
    pub(super) fn agent_alone(&self, shown: &Shown<'_>) -> Option<usize> {
        self.known(shown)
            .filter(|k| k.alone == Alone::Calls)
            .map(|k| k.agent)
    }

    /// Whether the token is of an agent that is a workload.
    pub(super) fn needs_certificate(&self, shown: &Shown<'_>) -> bool {
        let known = self.known(shown);
        known.is_some_and(|k| k.alone == Alone::WithCertificate)
    }

    /// Whether the token is this agent's.
    pub(super) fn is_for(&self, shown: &Shown<'_>, agent: usize) -> bool {
        self.known(shown).is_some_and(|k| k.agent == agent)
    }

    /// What the token makes of its agent's call.
    pub(super) fn act(&self, who: &mut Who, shown: Shown<'_>) -> Result<(), Refusal> {
        let known = self
            .known(&shown)
            .ok_or_else(|| Refusal::never(Code::Unauthenticated))?;
        let own = known.client.own_subject.as_deref();
        let Shown {
            token,
            dpop,
            certificate,
        } = shown;
        let issuer = token.issuer().name.clone();
        let (claims, chain) = token.into_claims(own).map_err(token_refusal)?;
        let claims = CallerClaims {
            token: Some(claims),
            dpop,
            certificate,
        };
        apply(who, &claims, chain, (&issuer, &self.accounts))
    }

    fn known(&self, shown: &Shown<'_>) -> Option<&Known> {
        let name = (
            shown.token.issuer().name.clone(),
            shown.token.client().to_owned(),
        );
        self.clients.get(&name)
    }
}

impl Shown<'_> {
    /// Whether the caller showed that it holds the key that the token is bound to.
    pub(super) fn is_bound(&self) -> bool {
        self.dpop.is_some() || self.certificate.is_some()
    }

    /// Says that the call rests on the certificate of the connection.
    pub(super) fn by_certificate(&mut self, certificates: &[&[u8]]) {
        self.certificate = own(certificates);
    }
}

/// What is kept of a caller that showed a certificate and nothing else.
pub(super) fn claims_of_certificate(certificates: &[&[u8]]) -> CallerClaims {
    CallerClaims {
        token: None,
        dpop: None,
        certificate: own(certificates),
    }
}

/// The client's own certificate.
fn own(certificates: &[&[u8]]) -> Option<Bytes> {
    certificates.first().map(|c| Bytes(c.to_vec()))
}

/// The certificate of that digest, if it is the client's own.
fn confirmed(digest: [u8; 32], certificates: &[&[u8]]) -> Result<Bytes, Refusal> {
    // SPEC: RFC 8705 3: 401 and invalid_token.
    let refused = |why: &str| Refusal::never(Code::TokenInvalid).by_rule(why.to_owned());
    let own = certificates
        .first()
        .ok_or_else(|| refused("the token is bound to a certificate and none was shown"))?;
    if sha256(own) == digest {
        Ok(Bytes(own.to_vec()))
    } else {
        Err(refused(
            "the token is bound to another certificate than was shown",
        ))
    }
}

/// People by the names that issuers give them.
pub(crate) fn accounts(content: &Content) -> HashMap<String, String> {
    let people = content.approvers.values();
    people
        .flat_map(|p| p.accounts.iter().map(|name| (name.clone(), p.id.clone())))
        .collect()
}

/// What verified claims make of a caller: the person for whom it acts, what policy is told, what is kept.
pub(crate) fn apply(
    who: &mut Who,
    claims: &CallerClaims,
    chain: Vec<Principal>,
    (issuer, accounts): (&str, &HashMap<String, String>),
) -> Result<(), Refusal> {
    if let Some(token) = &claims.token {
        if let Some(user) = &token.user {
            let account = format!("{issuer}:{user}");
            let person = accounts.get(&account).unwrap_or(&account).clone();
            if who.user.as_ref().is_some_and(|fixed| *fixed != person) {
                let other = "the token is about another person than the agent acts for";
                return Err(Refusal::never(Code::TokenInvalid).by_rule(other.to_owned()));
            }
            who.user = Some(person);
        }
        who.token = Some(TokenFact {
            issuer: issuer.to_owned(),
            client: token.client.clone(),
            scopes: token.scopes.clone(),
            principals: chain
                .iter()
                .map(|p| format!("{}#{}", p.issuer, p.subject))
                .collect(),
        });
    }
    who.claims = Some(claims.to_bytes());
    if !chain.is_empty() {
        who.chain = Some(PrincipalChain { principals: chain }.to_bytes());
    }
    Ok(())
}

/// The path of a resource: the header-only twin of a door is the same resource.
fn resource_path(path: &str) -> &str {
    path.strip_prefix("/key")
        .filter(|p| p.starts_with('/'))
        .unwrap_or(path)
}

fn prove(
    presented: &HttpRequest<'_>,
    token: &AccessToken<'_>,
    key: [u8; 32],
    fresh: Freshness<'_>,
) -> Result<String, Refusal> {
    let mut proofs = presented
        .headers
        .iter()
        .filter(|h| h.name.eq_ignore_ascii_case("dpop"));
    let (Some(header), None) = (proofs.next(), proofs.next()) else {
        return Err(proof_refusal("there is not exactly one proof"));
    };
    let text =
        std::str::from_utf8(header.value).map_err(|_| proof_refusal("the proof is not text"))?;
    let scheme = match presented.scheme {
        countersign_signatures::http::Scheme::Http => "http",
        countersign_signatures::http::Scheme::Https => "https",
    };
    let asked = Asked {
        method: presented.method,
        url: &format!("{scheme}://{}{}", presented.authority, presented.path),
        token: token.digest(),
        now: fresh.now,
        window: super::WINDOW,
    };
    let proof = Proof::verify(text, &asked).map_err(|e| proof_refusal(&e.to_string()))?;
    if proof.thumbprint() != key {
        return Err(proof_refusal(
            "the proof is by another key than the token is bound to",
        ));
    }
    // As for signatures: what was made in the second in which the epoch opened may have been used before it.
    if proof.made() <= fresh.epoch_opened || !fresh.nonces.take_proof(&proof, text, fresh.now) {
        return Err(proof_refusal(
            "the proof was used before, or made before this gateway started",
        ));
    }
    Ok(text.to_owned())
}

fn token_refusal(error: TokenError) -> Refusal {
    let code = match error {
        TokenError::Scope => Code::InsufficientScope,
        TokenError::Form(_)
        | TokenError::Issuer
        | TokenError::Algorithm
        | TokenError::Key
        | TokenError::Signature
        | TokenError::Type
        | TokenError::Audience
        | TokenError::Expired
        | TokenError::NotYet
        | TokenError::Lifetime
        | TokenError::Missing { .. }
        | TokenError::Malformed { .. }
        | TokenError::TooManyActors
        | TokenError::Confirmation => Code::TokenInvalid,
    };
    Refusal::never(code).by_rule(error.to_string())
}

fn proof_refusal(why: &str) -> Refusal {
    Refusal::never(Code::ProofInvalid).by_rule(why.to_owned())
}

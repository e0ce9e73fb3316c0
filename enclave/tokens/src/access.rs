//! Access tokens: who a caller is by the word of an issuer, and for whom it acts.
//!
//! In: a token as it was sent, the issuers that the bundle pins, and which resource is asked for, at which
//! time. Out: an [`AccessToken`], which only [`AccessToken::verify`] makes, or the first thing that is wrong.
//! Relies on [`crate::jws`].
//!
//! Steps of [`AccessToken::verify`]:
//!
//! 1. form and limits; `iss` names a pinned issuer, `kid` a key of it, `alg` is one that it may use;
//! 2. the signature holds over the bytes that arrived;
//! 3. `typ` says that it is an access token; `aud` names this gateway, or the very resource;
//! 4. `exp`, `nbf`, `iat` by the gateway's time; it lives no longer than the issuer's tokens may;
//! 5. client, `sub`, scopes, `act`, `cnf` are well formed, and the issuer's scope is there.
//!
//! Spec: RFC 9068 (tokens), 8707 (audience), 8693 (`act`), 9449 and 8705 (`cnf`).

use crate::json::{self, Object, Wrong};
use crate::jwk::JwkSet;
use crate::jws::{Algorithm, Compact, JwsError};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_record::claims::{Principal, TokenClaims};
use countersign_record::digest::UnixMillis;
use countersign_signatures::http::UnixSeconds;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::time::Duration;
use thiserror::Error;

/// Most scopes of a token.
pub const MAX_SCOPES: usize = 64;

/// Most audiences of a token.
pub const MAX_AUDIENCES: usize = 8;

/// Most actors behind a token, one inside the other.
pub const MAX_ACTORS: usize = 8;

/// Longest time that an issuer may give its tokens (24 hours). What cannot be called back must end soon.
pub const MAX_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// Longest time that an issuer's clock may be off (60 s).
pub const MAX_LEEWAY: Duration = Duration::from_secs(60);

/// An issuer whose tokens count, as the bundle pins it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    /// Short name; stands before the names of its people.
    pub name: String,
    /// What its tokens say in `iss`.
    pub url: String,
    /// What they say in `aud`: the gateway's resource identifier, without a slash at the end.
    pub audience: String,
    /// Its keys.
    pub keys: JwkSet,
    /// How they may be used.
    pub algorithms: Vec<Algorithm>,
    /// What its tokens say that they are.
    pub typ: TokenType,
    /// Which claim names the client.
    pub client_claim: ClientClaim,
    /// Which claim names the person whom a client acts for.
    pub user_claim: UserClaim,
    /// A scope that every token has to have.
    pub required_scope: Option<String>,
    /// How far its clock may be off.
    pub leeway: Duration,
    /// Longest time from `iat` to `exp`.
    pub max_lifetime: Duration,
}

/// What tokens say that they are, in the header's `typ`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenType {
    /// `at+jwt`, RFC 9068.
    AccessToken,
    /// `JWT`, or nothing: issuers from before RFC 9068. Only the audience then tells an access token from others.
    Jwt,
}

/// Which claim names the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientClaim {
    /// `client_id`, RFC 9068.
    ClientId,
    /// `azp`.
    Azp,
    /// `sub`: issuers of workloads, whose tokens are always the client's own.
    Sub,
}

/// Which claim names the person whom a client acts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserClaim {
    /// `sub`.
    Sub,
    /// `preferred_username`.
    PreferredUsername,
    /// `email`.
    Email,
    /// `upn`.
    Upn,
    /// `oid`.
    Oid,
}

impl TokenType {
    /// By the words of a site.
    pub const WORDS: [(&'static str, Self); 2] =
        [("at+jwt", Self::AccessToken), ("JWT", Self::Jwt)];

    fn holds(self, typ: Option<&str>) -> bool {
        match self {
            Self::AccessToken => typ == Some("at+jwt"),
            Self::Jwt => matches!(typ, None | Some("jwt")),
        }
    }
}

impl ClientClaim {
    /// By the words of a site.
    pub const WORDS: [(&'static str, Self); 3] = [
        ("client_id", Self::ClientId),
        ("azp", Self::Azp),
        ("sub", Self::Sub),
    ];

    fn name(self) -> &'static str {
        match self {
            Self::ClientId => "client_id",
            Self::Azp => "azp",
            Self::Sub => "sub",
        }
    }
}

impl UserClaim {
    /// By the words of a site.
    pub const WORDS: [(&'static str, Self); 5] = [
        ("sub", Self::Sub),
        ("preferred_username", Self::PreferredUsername),
        ("email", Self::Email),
        ("upn", Self::Upn),
        ("oid", Self::Oid),
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Sub => "sub",
            Self::PreferredUsername => "preferred_username",
            Self::Email => "email",
            Self::Upn => "upn",
            Self::Oid => "oid",
        }
    }
}

/// Why a token does not count. Says nothing that stands in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TokenError {
    /// It cannot be looked into.
    #[error("the token cannot be read: {0}")]
    Form(JwsError),
    /// No issuer of this name is pinned.
    #[error("the token is of no issuer that is accepted here")]
    Issuer,
    /// The issuer may not use this algorithm.
    #[error("the token is signed with an algorithm that its issuer does not use here")]
    Algorithm,
    /// No key of this name is pinned.
    #[error("the token names no key of its issuer")]
    Key,
    /// The signature does not hold.
    #[error("the signature of the token does not hold")]
    Signature,
    /// It is something else than an access token.
    #[error("the token is not of the type of access tokens")]
    Type,
    /// It is meant for somebody else.
    #[error("the token is meant for another resource")]
    Audience,
    /// It has ended.
    #[error("the token has expired")]
    Expired,
    /// It has not begun, or comes from the future.
    #[error("the token is not valid yet")]
    NotYet,
    /// It lives longer than its issuer's tokens may.
    #[error("the token lives longer than tokens of its issuer may")]
    Lifetime,
    /// A claim is missing.
    #[error("the token has no {claim}")]
    Missing {
        /// The claim.
        claim: &'static str,
    },
    /// A claim is not what it should be.
    #[error("the claim {claim} of the token is malformed")]
    Malformed {
        /// The claim.
        claim: &'static str,
    },
    /// Too many actors.
    #[error("more than 8 actors stand behind the token")]
    TooManyActors,
    /// It lacks the scope that every token of its issuer needs here.
    #[error("the token lacks the scope that is needed here")]
    Scope,
    /// It is bound to something that cannot be shown here.
    #[error("the token is bound in a way that cannot be checked here")]
    Confirmation,
}

/// What the caller has to hold besides the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Confirmation {
    /// The key of this thumbprint: `cnf.jkt`.
    pub key: Option<[u8; 32]>,
    /// The certificate of this digest: `cnf.x5t#S256`.
    pub certificate: Option<[u8; 32]>,
}

/// What a token is held against.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The path of the resource that is asked for, such as `/mcp/customers`.
    pub path: &'a str,
    /// The gateway's time.
    pub now: UnixSeconds,
}

/// A token whose signature, issuer, audience and times hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessToken<'i> {
    issuer: &'i Issuer,
    claims: TokenClaims,
    user: Option<String>,
    actors: Vec<Principal>,
    confirmation: Confirmation,
}

impl<'i> AccessToken<'i> {
    /// Verifies a token as it was sent.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn verify<'a>(
        text: &str,
        issuers: impl IntoIterator<Item = &'i Issuer>,
        expected: Expected<'a>,
    ) -> Result<Self, TokenError> {
        let token = Compact::parse(text).map_err(TokenError::Form)?;
        let claims = token.claims();
        let iss = required(claims, "iss")?;
        let issuer = issuers
            .into_iter()
            .find(|i| i.url == iss)
            .ok_or(TokenError::Issuer)?;
        if !issuer.algorithms.contains(&token.algorithm()) {
            return Err(TokenError::Algorithm);
        }
        let kid = token.kid().ok_or(TokenError::Key)?;
        let key = issuer.keys.key(kid).ok_or(TokenError::Key)?;
        if !token.is_signed_by(key) {
            return Err(TokenError::Signature);
        }
        if !issuer.typ.holds(token.typ().as_deref()) {
            return Err(TokenError::Type);
        }
        let audience = audiences(claims)?;
        if !audience.iter().any(|a| issuer.is_ours(a, expected.path)) {
            return Err(TokenError::Audience);
        }
        let (issued, expires) = issuer.times(claims, expected.now)?;
        let scopes = scopes(claims)?;
        if issuer
            .required_scope
            .as_ref()
            .is_some_and(|s| !scopes.contains(s))
        {
            return Err(TokenError::Scope);
        }
        let id = optional(claims, "jti")?;
        Ok(Self {
            issuer,
            user: optional(claims, issuer.user_claim.name())?.map(str::to_owned),
            actors: actors(claims, issuer)?,
            confirmation: confirmation(claims)?,
            claims: TokenClaims {
                issuer: issuer.url.clone(),
                key: kid.to_owned(),
                algorithm: token.algorithm().name().to_owned(),
                token: digest(text),
                id: id.map(digest),
                client: required(claims, issuer.client_claim.name())?.to_owned(),
                subject: required(claims, "sub")?.to_owned(),
                user: None,
                scopes,
                audience,
                issued: millis(issued),
                expires: millis(expires),
            },
        })
    }

    /// Its issuer.
    #[must_use]
    pub fn issuer(&self) -> &'i Issuer {
        self.issuer
    }

    /// The client that it was issued to.
    #[must_use]
    pub fn client(&self) -> &str {
        &self.claims.client
    }

    /// What the caller has to hold besides.
    #[must_use]
    pub fn confirmation(&self) -> Confirmation {
        self.confirmation
    }

    /// Digest of its text, as a proof of possession names it.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        self.claims.token
    }

    /// What is kept of it, with the person whom the client acts for, and who stands behind the call.
    /// `own_subject` is what the token says in `sub` where the client acts for itself, besides the client's name.
    ///
    /// # Errors
    /// If it is about a person whom it does not name.
    pub fn into_claims(
        self,
        own_subject: Option<&str>,
    ) -> Result<(TokenClaims, Vec<Principal>), TokenError> {
        let Self {
            issuer,
            mut claims,
            user,
            actors,
            confirmation: _,
        } = self;
        let own = claims.subject == claims.client || Some(claims.subject.as_str()) == own_subject;
        if !own {
            // A person without a name would make a call of the agent's own out of a call for somebody.
            let claim = issuer.user_claim.name();
            claims.user = Some(user.ok_or(TokenError::Missing { claim })?);
        }
        let mut chain = Vec::new();
        if !own || !actors.is_empty() {
            chain.push(Principal {
                issuer: claims.issuer.clone(),
                subject: claims.subject.clone(),
            });
            chain.extend(actors);
        }
        Ok((claims, chain))
    }
}

impl Issuer {
    /// Whether an audience is this gateway, with or without a slash, or the resource that is asked for.
    fn is_ours(&self, audience: &str, path: &str) -> bool {
        let rest = audience.strip_prefix(&self.audience);
        rest.is_some_and(|rest| rest.is_empty() || rest == "/" || rest == path)
    }

    /// `iat` and `exp`.
    fn times(&self, claims: &Object, now: UnixSeconds) -> Result<(u64, u64), TokenError> {
        let seconds = |claim| json::seconds(claims, claim).map_err(|w| wrong(w, claim));
        let needed = |claim| seconds(claim)?.ok_or(TokenError::Missing { claim });
        let (issued, expires) = (needed("iat")?, needed("exp")?);
        let begins = seconds("nbf")?.unwrap_or(issued).max(issued);
        let leeway = self.leeway.as_secs();
        if expires.saturating_add(leeway) <= now.0 {
            return Err(TokenError::Expired);
        }
        if begins > now.0.saturating_add(leeway) {
            return Err(TokenError::NotYet);
        }
        if expires.saturating_sub(issued) > self.max_lifetime.as_secs() {
            return Err(TokenError::Lifetime);
        }
        Ok((issued, expires))
    }
}

/// Digest of a text, as RFC 9449 makes it of tokens.
pub(crate) fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

fn millis(seconds: u64) -> UnixMillis {
    UnixMillis(seconds.saturating_mul(1000))
}

fn wrong(wrong: Wrong, claim: &'static str) -> TokenError {
    match wrong {
        Wrong::Missing => TokenError::Missing { claim },
        Wrong::Malformed => TokenError::Malformed { claim },
    }
}

fn required<'o>(claims: &'o Object, claim: &'static str) -> Result<&'o str, TokenError> {
    json::required(claims, claim).map_err(|w| wrong(w, claim))
}

fn optional<'o>(claims: &'o Object, claim: &'static str) -> Result<Option<&'o str>, TokenError> {
    json::optional(claims, claim).map_err(|w| wrong(w, claim))
}

/// `aud`: a text or a list of texts.
fn audiences(claims: &Object) -> Result<Vec<String>, TokenError> {
    let claim = "aud";
    let value = claims.get(claim).ok_or(TokenError::Missing { claim })?;
    texts(value, MAX_AUDIENCES).ok_or(TokenError::Malformed { claim })
}

fn texts(value: &Value, most: usize) -> Option<Vec<String>> {
    match value {
        Value::String(_) => Some(vec![json::text(value)?.to_owned()]),
        Value::Array(all) if all.len() <= most => all
            .iter()
            .map(|v| json::text(v).map(str::to_owned))
            .collect(),
        Value::Array(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
            None
        }
    }
}

/// `scope` (RFC 8693 4.2), or `scp`, which some issuers write as a list; ascending, each once.
fn scopes(claims: &Object) -> Result<Vec<String>, TokenError> {
    let (claim, value) = match (claims.get("scope"), claims.get("scp")) {
        (Some(value), _) => ("scope", value),
        (None, Some(value)) => ("scp", value),
        (None, None) => return Ok(Vec::new()),
    };
    let malformed = TokenError::Malformed { claim };
    let mut all: Vec<String> = match value {
        Value::String(text) => text
            .split(' ')
            .filter(|s| !s.is_empty())
            .map(str::to_owned)
            .collect(),
        Value::Array(_) if claim == "scp" => texts(value, MAX_SCOPES).ok_or(malformed)?,
        Value::Array(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
            return Err(malformed);
        }
    };
    let is_scope = |s: &String| json::is_text(s) && s.bytes().all(|b| b.is_ascii_graphic());
    if all.len() > MAX_SCOPES || !all.iter().all(is_scope) {
        return Err(malformed);
    }
    all.sort();
    all.dedup();
    Ok(all)
}

/// `act`, from the inside out: the earliest actor first.
fn actors(claims: &Object, issuer: &Issuer) -> Result<Vec<Principal>, TokenError> {
    let claim = "act";
    let malformed = TokenError::Malformed { claim };
    let mut out = Vec::new();
    let mut next = claims.get(claim);
    while let Some(actor) = next {
        if out.len() >= MAX_ACTORS {
            return Err(TokenError::TooManyActors);
        }
        let actor = actor.as_object().ok_or(malformed)?;
        let named = json::optional(actor, "iss").map_err(|_| malformed)?;
        out.push(Principal {
            issuer: named.unwrap_or(&issuer.url).to_owned(),
            subject: json::required(actor, "sub")
                .map_err(|_| malformed)?
                .to_owned(),
        });
        next = actor.get(claim);
    }
    out.reverse();
    Ok(out)
}

/// `cnf`. What it says and we cannot check would be a bound token that is used as a free one.
fn confirmation(claims: &Object) -> Result<Confirmation, TokenError> {
    let mut out = Confirmation {
        key: None,
        certificate: None,
    };
    let Some(cnf) = claims.get("cnf") else {
        return Ok(out);
    };
    let cnf = cnf.as_object().ok_or(TokenError::Confirmation)?;
    for (name, value) in cnf {
        let digest = value
            .as_str()
            .and_then(|t| URL_SAFE_NO_PAD.decode(t).ok())
            .and_then(|b| b.try_into().ok());
        match name.as_str() {
            "jkt" => out.key = Some(digest.ok_or(TokenError::Confirmation)?),
            "x5t#S256" => out.certificate = Some(digest.ok_or(TokenError::Confirmation)?),
            _ => return Err(TokenError::Confirmation),
        }
    }
    if out.key.is_none() && out.certificate.is_none() {
        return Err(TokenError::Confirmation);
    }
    Ok(out)
}

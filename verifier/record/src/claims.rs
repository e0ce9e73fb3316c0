//! What a caller's token and certificate said, kept without what would make either usable.
//!
//! In: claims that the gateway verified. Out: the values of the fields `claims` and
//! `principal-chain`. A token's signature is never kept, so nobody who reads a log or an export
//! can send the token again; its digest is, so that an issuer can find it among its own. A proof of
//! possession (RFC 9449) counts once and is no secret, so it is kept whole and holds offline.
//!
//! Spec: `docs/spec/record.md`, "Claims"; CDDL `caller-claims`, `principal-chain`.

use crate::cbor::Bytes;
use crate::cbor_map;
use crate::digest::UnixMillis;

cbor_map! {
    /// What an access token said.
    pub struct TokenClaims {
        /// Who issued it: `iss`.
        1 => issuer: String,
        /// The issuer's key that signed it: `kid`.
        2 => key: String,
        /// How it is signed: `alg`.
        3 => algorithm: String,
        /// SHA-256 of the token as it was sent, what RFC 9449 calls `ath`.
        4 => token: [u8; 32],
        /// SHA-256 of its identifier, `jti`, if it has one.
        5 => id: Option<[u8; 32]>,
        /// The client that it was issued to.
        6 => client: String,
        /// Whom it is about: `sub`.
        7 => subject: String,
        /// The person whom the client acts for, as the issuer names them, if there is one.
        8 => user: Option<String>,
        /// What it may be used for, ascending: `scope`.
        9 => scopes: Vec<String>,
        /// Whom it is meant for: `aud`.
        10 => audience: Vec<String>,
        /// When it was issued.
        11 => issued: UnixMillis,
        /// Until when it may be used.
        12 => expires: UnixMillis,
    }
}

cbor_map! {
    /// What a caller showed besides, or in place of, a signature of the request.
    pub struct CallerClaims {
        /// The access token.
        1 => token: Option<TokenClaims>,
        /// The proof that the caller holds the key that the token is bound to: a DPoP proof as it was sent.
        2 => dpop: Option<String>,
        /// The certificate that the caller showed in the handshake, DER.
        3 => certificate: Option<Bytes>,
    }
}

cbor_map! {
    /// Somebody on whose behalf a call is made.
    pub struct Principal {
        /// Who names them.
        1 => issuer: String,
        /// Their name there.
        2 => subject: String,
    }
}

cbor_map! {
    /// The chain of principals behind a caller: first whom it is about, then who acted for them, the latest last.
    pub struct PrincipalChain {
        /// The principals.
        1 => principals: Vec<Principal>,
    }
}

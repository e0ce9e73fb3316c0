//! # countersign-tokens: what issuers vouch for
//!
//! Access tokens of OAuth 2.1 issuers ([`access`], RFC 9068 and 8693) and the proofs that a caller
//! holds the key that a token is bound to ([`dpop`], RFC 9449), over keys that a site pinned ([`jwk`],
//! [`jws`]); certificates of workloads ([`svid`], SPIFFE). Pure: every input is hostile until a function here returns
//! a verified type.
//!
//! **May know:** bytes, public keys that a signed bundle pinned, a time, what a request was. **Must
//! never know:** a clock, the network (no key is ever fetched: whoever owns the wire would choose it), a
//! policy, which agents there are, the secrets of anybody.
//!
//! **Start reading** at [`access::AccessToken::verify`], then [`dpop::Proof::verify`] and
//! [`svid::Workloads::judge`].

pub mod access;
pub mod dpop;
mod json;
pub mod jwk;
pub mod jws;
mod pss;
pub mod svid;

#[cfg(test)]
mod tests;

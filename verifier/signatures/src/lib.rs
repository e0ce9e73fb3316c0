//! Signatures, checked in the gateway and offline by one code.
//!
//! What is here: the signature rule of the format ([`ed25519`]), signed HTTP requests of callers at
//! assurance 3 ([`http`]), and static bearer tokens of callers at assurance 0 ([`token`]).
//!
//! What it may know: bytes, public keys and a time, all given by the caller. What it must never
//! know: a clock, a source of randomness, a file, a socket, or a policy. Every input is hostile
//! until a function here returns a verified type; those have private fields and one constructor.
//!
//! Start reading at [`ed25519::PublicKey`], then [`http::SignedRequest`].

pub mod ed25519;
pub mod http;
pub mod token;

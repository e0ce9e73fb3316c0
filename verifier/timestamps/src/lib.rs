//! Outside clocks: timestamp tokens of RFC 3161, verified against roots that the caller pins.
//! Pure Rust, no C.
//!
//! In: bytes of a token, the digest that it has to be over, [`Authority`]s. Out: [`Stamped`], which
//! only [`Token::verify`] makes, or the first thing that is wrong. A token is strict DER throughout; every
//! signature is checked over the bytes that arrived.
//!
//! What a token shows: somebody with the authority's key saw this digest at that time. It does not
//! show that nothing else was stamped as well.
//!
//! What it may know: bytes. What it must never know: a clock, a file, a network, what a log is, or
//! whether the answer is welcome. Revocation is not looked up.
//!
//! Start reading at [`Token`]; [`exchange`] is for whoever asks for tokens.
//! Spec: `docs/spec/timestamp.md`; RFC 3161, 5816, 5652 and 5280.

mod authority;
mod chain;
mod error;
pub mod exchange;
mod purpose;
mod token;

pub use authority::{Authority, RootError};
pub use countersign_certificates::{CertificateError, DerError};
pub use error::TimestampError;
pub use token::{Imprint, MAX_TOKEN_BYTES, Stamped, Token};

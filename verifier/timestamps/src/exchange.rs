//! Asking an authority: the request, and what of its answer is a token for it.
//!
//! In: an imprint and a nonce of the caller's. Out: DER to send; from the answer, a token that is over
//! that imprint and answers that nonce. Nothing is said here about who signed it: whoever asks is not
//! whoever has to believe the token.
//!
//! Spec: RFC 3161 2.4.1 and 2.4.2.

use crate::error::TimestampError;
use crate::token::{Imprint, MAX_TOKEN_BYTES, Token, sha256_identifier};
use countersign_certificates::der::{BOOLEAN, INTEGER, OCTET_STRING, Reader, SEQUENCE};
use thiserror::Error;

/// Media type of a request.
pub const QUERY_TYPE: &str = "application/timestamp-query";
/// Media type of an answer.
pub const REPLY_TYPE: &str = "application/timestamp-reply";

/// Longest answer that is read, in bytes: a token, and some words of the authority.
pub const MAX_REPLY_BYTES: usize = MAX_TOKEN_BYTES + 4096;

/// A number that ties an answer to a question, drawn at random.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nonce(pub [u8; 16]);

impl Nonce {
    /// Its bytes without leading zeros, as DER has them.
    fn magnitude(&self) -> &[u8] {
        let zeros = self.0.iter().take_while(|b| **b == 0).count();
        // A nonce of zeros is the number 0, which has one byte.
        self.0.get(zeros.min(15)..).unwrap_or(&self.0)
    }
}

/// Why an answer brings no token for the question.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReplyError {
    /// Longer than an answer may be.
    #[error("answer is {found} bytes, limit is {MAX_REPLY_BYTES}")]
    TooLarge {
        /// Its length, in bytes.
        found: usize,
    },
    /// The authority refused.
    #[error("the authority refused, with status {status}")]
    Refused {
        /// Its `PKIStatus`.
        status: u64,
    },
    /// It granted, and sent none.
    #[error("the answer has no token")]
    NoToken,
    /// It is not what an answer is, or what it brings is no token.
    #[error("{0}")]
    Token(#[from] TimestampError),
    /// The token is over something else.
    #[error("the token is over other bytes than were asked for")]
    Imprint,
    /// The token answers another question.
    #[error("the token does not carry the nonce of the question")]
    Nonce,
}

/// A request for a token, with the certificates that whoever verifies it will need.
#[must_use]
pub fn request(imprint: &Imprint, nonce: &Nonce) -> Vec<u8> {
    let message = element(
        SEQUENCE,
        &[sha256_identifier(), element(OCTET_STRING, &imprint.0)].concat(),
    );
    let magnitude = nonce.magnitude();
    let sign = magnitude.first().is_some_and(|b| *b >= 0x80);
    let number = [if sign { &[0][..] } else { &[] }, magnitude].concat();
    let parts = [
        element(INTEGER, &[1]),
        message,
        element(INTEGER, &number),
        element(BOOLEAN, &[0xff]),
    ];
    element(SEQUENCE, &parts.concat())
}

/// The token of an answer, as it arrived.
///
/// # Errors
/// Why there is none that answers the question.
pub fn token_of(reply: &[u8], imprint: &Imprint, nonce: &Nonce) -> Result<Vec<u8>, ReplyError> {
    if reply.len() > MAX_REPLY_BYTES {
        return Err(ReplyError::TooLarge { found: reply.len() });
    }
    let (status, bytes) = parts(reply).map_err(TimestampError::Form)?;
    // 0 is granted, 1 granted with changes; what was changed shows in the token.
    if status > 1 {
        return Err(ReplyError::Refused { status });
    }
    let bytes = bytes.ok_or(ReplyError::NoToken)?;
    let token = Token::parse(bytes)?;
    if token.imprint() != *imprint {
        return Err(ReplyError::Imprint);
    }
    if token.nonce() != Some(nonce.magnitude()) {
        return Err(ReplyError::Nonce);
    }
    Ok(bytes.to_vec())
}

fn parts(reply: &[u8]) -> Result<(u64, Option<&[u8]>), countersign_certificates::DerError> {
    let mut outer = Reader::new(reply);
    let mut r = outer.sequence("TimeStampResp")?;
    outer.end("TimeStampResp")?;
    // What else stands in the status is words for people.
    let status = r
        .sequence("TimeStampResp.status")?
        .number("PKIStatusInfo.status")?;
    let token = r.optional(SEQUENCE, "TimeStampResp.timeStampToken")?;
    r.end("TimeStampResp")?;
    Ok((status, token.map(|t| t.whole)))
}

/// An element of less than 128 bytes, which is all that a request has.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).unwrap_or(u8::MAX);
    [&[tag, length], content].concat()
}

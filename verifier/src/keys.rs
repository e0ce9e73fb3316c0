//! Signatures of keys that are known by other means.
//!
//! In: 32 bytes of a key and a message. Out: success, or a reason in words. Keys that the
//! signature rule refuses vouch for nothing.

use countersign_record::cose::Sign1;
use countersign_record::digest::{PublicKey, Signature};
use countersign_signatures::ed25519;

/// A message and the signature that is claimed over it.
#[derive(Clone, Copy)]
pub(crate) struct Claim<'a> {
    /// The bytes that were signed.
    pub(crate) message: &'a [u8],
    /// The signature.
    pub(crate) signature: Signature,
}

/// Whether `key` signed.
pub(crate) fn verify(key: &PublicKey, claim: Claim<'_>) -> Result<(), String> {
    ed25519::PublicKey::parse(&key.0)
        .map_err(|e| e.to_string())?
        .verify(ed25519::Signed {
            message: claim.message,
            signature: &claim.signature.0,
        })
        .map_err(|e| e.to_string())
}

/// A statement of type `typ` signed by one of `keys`: its payload and the key.
pub(crate) fn statement<'a>(
    bytes: &'a [u8],
    typ: &str,
    keys: &[PublicKey],
) -> Result<(&'a [u8], PublicKey), String> {
    let statement = Sign1::parse(bytes).map_err(|e| format!("the statement is malformed: {e}"))?;
    if statement.typ() != typ {
        return Err(format!("the statement is not of type {typ}"));
    }
    let key = keys
        .iter()
        .find(|k| k.id() == statement.kid())
        .ok_or_else(|| {
            format!(
                "signed by key {}, which is none of the accepted ones",
                statement.kid()
            )
        })?;
    let message = statement.to_be_signed();
    verify(
        key,
        Claim {
            message: &message,
            signature: statement.signature(),
        },
    )
    .map_err(|e| format!("the signature of key {} does not hold: {e}", key.id()))?;
    Ok((statement.payload(), *key))
}

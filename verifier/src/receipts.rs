//! Files of receipts, as callers keep them.
//!
//! In: bytes of a file. Out: single receipts, unread, or why there are none in it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use countersign_record::cbor::Reader;

/// Cuts a file into receipts: binary ones after one another, or lines of base64.
///
/// # Errors
/// In words, if it has none, or something else.
pub fn split(bytes: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let text = std::str::from_utf8(bytes).ok().filter(|t| t.is_ascii());
    if let Some(text) = text {
        let lines = text.lines().map(str::trim).filter(|l| !l.is_empty());
        let receipts: Result<Vec<_>, _> = lines.map(|l| STANDARD.decode(l)).collect();
        return receipts
            .map_err(|_| "a line is not base64".to_owned())
            .and_then(some);
    }
    let mut out = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let length = receipt_length(rest).ok_or("what is in the file is no receipt")?;
        let (receipt, after) = rest
            .split_at_checked(length)
            .ok_or("the file ends inside a receipt")?;
        out.push(receipt.to_vec());
        rest = after;
    }
    some(out)
}

fn some(receipts: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>, String> {
    if receipts.is_empty() {
        Err("the file has no receipt".to_owned())
    } else {
        Ok(receipts)
    }
}

/// Length of the tagged value at the start, in bytes.
fn receipt_length(bytes: &[u8]) -> Option<usize> {
    let mut reader = Reader::new(bytes);
    // COSE_Sign1, RFC 9052 4.2.
    reader.tag(18).ok()?;
    reader.any().ok()?;
    Some(reader.position())
}

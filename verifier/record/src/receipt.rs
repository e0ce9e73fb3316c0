//! Receipts: what a caller keeps, so that its call cannot be left out of an export unnoticed.
//!
//! Spec: `docs/spec/record.md`, "Receipts"; CDDL `receipt`.

use crate::body::Verdict;
use crate::cbor_map;
use crate::digest::{CallId, EntryDigest, GatewayId, UnixMillis};

/// Type of a signed receipt.
pub const RECEIPT_TYP: &str = "application/countersign.receipt+cose";

cbor_map! {
    /// The gateway's word that a call's Decision Record stands in its log.
    pub struct Receipt {
        /// Which log.
        1 => gateway: GatewayId,
        /// Base of the epoch whose key signs the receipt.
        2 => base: EntryDigest,
        /// Leaf index of the Decision Record.
        3 => index: u64,
        /// Its digest.
        4 => digest: EntryDigest,
        /// The call.
        5 => call: CallId,
        /// What was decided.
        6 => verdict: Verdict,
        /// When the call was settled.
        7 => at: UnixMillis,
    }
}

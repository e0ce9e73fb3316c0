//! Receipts that callers kept: each must be in the export, as it says.

use super::{At, Checks};
use crate::codes::Code;
use crate::keys::{self, Claim};
use countersign_record::body::Verdict;
use countersign_record::cbor::Cbor as _;
use countersign_record::cose::Sign1;
use countersign_record::digest::{CallId, EntryDigest, KeyId, Signature};
use countersign_record::entry::Body;
use countersign_record::receipt::{RECEIPT_TYP, Receipt};
use std::collections::{BTreeMap, HashMap};

/// A receipt that waits for its entry.
#[derive(Debug, Clone)]
struct Held {
    receipt: Receipt,
    kid: KeyId,
    message: Vec<u8>,
    signature: Signature,
    found: Option<Found>,
}

/// What stands where a receipt says its entry is.
#[derive(Debug, Clone)]
enum Found {
    /// The entry, as the receipt says.
    Same,
    /// Something else, in words.
    Other(String),
    /// An entry that is not in the export, under a hash that does not speak against it.
    Withheld,
}

/// Receipts, by the index they name.
#[derive(Debug, Default)]
pub(super) struct Receipts(BTreeMap<u64, Vec<Held>>);

impl Checks<'_> {
    /// Reads the receipts that were given.
    pub(super) fn receipts_given(&mut self) {
        for bytes in &self.options.receipts {
            match read(bytes) {
                Ok(held) => self
                    .receipts
                    .0
                    .entry(held.receipt.index)
                    .or_default()
                    .push(held),
                Err(text) => self.ledger.unknown(Code::Receipts, None, text),
            }
        }
    }

    /// Compares the receipts for an entry with it.
    pub(super) fn receipt_at(&mut self, at: At, body: &Body) {
        let Some(list) = self.receipts.0.get_mut(&at.index) else {
            return;
        };
        let decision = if let Body::Decision(decision) = body {
            Some(decision)
        } else {
            None
        };
        for held in list {
            let same = decision
                .is_some_and(|d| d.call == held.receipt.call && d.verdict == held.receipt.verdict);
            held.found = Some(if at.digest == held.receipt.digest && same {
                Found::Same
            } else {
                another(&held.receipt)
            });
        }
    }

    /// Compares the receipts for withheld entries with what is known of them: the hash, if it is one entry's.
    pub(super) fn receipts_withheld(
        &mut self,
        first: u64,
        count: u64,
        digest: Option<EntryDigest>,
    ) {
        let range = first..first.saturating_add(count);
        for held in self.receipts.0.range_mut(range).flat_map(|(_, list)| list) {
            held.found = Some(match digest {
                Some(digest) if digest != held.receipt.digest => another(&held.receipt),
                Some(_) | None => Found::Withheld,
            });
        }
    }

    /// What can be said of receipts at the end of the leaves.
    pub(super) fn receipts_end(&mut self) {
        let mut all: Vec<Held> = std::mem::take(&mut self.receipts.0)
            .into_values()
            .flatten()
            .collect();
        all.sort_by_key(|h| (h.receipt.index, h.receipt.digest));
        let mut outcomes: HashMap<CallId, (EntryDigest, Verdict)> = HashMap::new();
        for held in all {
            let index = Some(held.receipt.index);
            if Some(held.receipt.gateway) != self.gateway() {
                self.ledger.unknown(
                    Code::Receipts,
                    index,
                    "the receipt is of another gateway than this export",
                );
                continue;
            }
            let epoch = self.epochs.iter().find(|e| e.digest == held.receipt.base);
            let Some(epoch) = epoch else {
                let text = format!(
                    "your receipt for call {} is of an epoch that is not in the export",
                    held.receipt.call
                );
                self.ledger.fail(Code::ReceiptMissing, index, text);
                continue;
            };
            let key = epoch.binding.epoch_key;
            let claim = Claim {
                message: &held.message,
                signature: held.signature,
            };
            if key.id() != held.kid || keys::verify(&key, claim).is_err() {
                self.ledger.unknown(
                    Code::Receipts,
                    index,
                    "the receipt is not signed by the key of its epoch",
                );
                continue;
            }
            self.ledger.held(Code::Receipts);
            let outcome = (held.receipt.digest, held.receipt.verdict);
            if outcomes
                .insert(held.receipt.call, outcome)
                .is_some_and(|before| before != outcome)
            {
                let text = format!(
                    "you hold receipts with two outcomes of call {}",
                    held.receipt.call
                );
                self.ledger.fail(Code::SettledTwice, index, text);
            }
            match held.found {
                Some(Found::Same) => self.ledger.held(Code::ReceiptMissing),
                Some(Found::Other(text)) => self.ledger.fail(Code::ReceiptMissing, index, text),
                Some(Found::Withheld) => {
                    let text = format!(
                        "the record of call {} is withheld from this export: ask for one that has it",
                        held.receipt.call
                    );
                    self.ledger.skipped(Code::ReceiptMissing, index, text);
                }
                None => {
                    let text = format!(
                        "the call {} that you hold a receipt for is not in the export",
                        held.receipt.call
                    );
                    self.ledger.fail(Code::ReceiptMissing, index, text);
                }
            }
        }
    }
}

/// Another entry stands where the receipt says.
fn another(receipt: &Receipt) -> Found {
    Found::Other(format!(
        "your receipt for call {} says {} in entry {}; another entry stands there",
        receipt.call, receipt.verdict, receipt.index
    ))
}

fn read(bytes: &[u8]) -> Result<Held, String> {
    let statement = Sign1::parse(bytes).map_err(|e| format!("a receipt is malformed: {e}"))?;
    if statement.typ() != RECEIPT_TYP {
        return Err("a file given as a receipt is none".to_owned());
    }
    let receipt = Receipt::from_bytes(statement.payload())
        .map_err(|e| format!("a receipt is malformed: {e}"))?;
    Ok(Held {
        receipt,
        kid: statement.kid(),
        message: statement.to_be_signed(),
        signature: statement.signature(),
        found: None,
    })
}

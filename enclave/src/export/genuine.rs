//! Whether an entry is still the one that the gateway signed.
//!
//! In: entries as they are read for an export, bases first. Out: nothing, or why an entry does not count.
//! The log was checked when the gateway started; its file is the operator's since then. Who may have
//! a value can hang on what an entry says of itself (its tenant, its subject, its call's classification), so
//! an entry is asked only after its signature: otherwise an operator who changes a row could show a limited
//! exporter what is not theirs. The export would be worthless, and the value out all the same.
//!
//! Cost: one Ed25519 verification for each entry of which something is opened, in exports that are limited.

use super::ExportFault;
use countersign_record::binding::{Binding, epoch_message};
use countersign_record::body::Base;
use countersign_record::cbor::Cbor as _;
use countersign_record::digest::{KeyId, PublicKey, Signature};
use countersign_record::entry::Entry;
use countersign_signatures::ed25519;
use std::collections::HashMap;

/// The epoch keys of a log, as far as its identity key vouched for them.
#[derive(Debug)]
pub(super) struct Signers {
    identity: PublicKey,
    epochs: HashMap<KeyId, PublicKey>,
}

impl Signers {
    pub(super) fn new(identity: PublicKey) -> Self {
        Self {
            identity,
            epochs: HashMap::new(),
        }
    }

    /// Takes the key of an epoch that its base opens.
    ///
    /// # Errors
    /// If the identity key did not sign for it.
    pub(super) fn learn(&mut self, index: u64, base: &Base) -> Result<(), ExportFault> {
        let message = epoch_message(&base.binding.0);
        if !holds(self.identity, &message, base.identity_signature) {
            return Err(ExportFault::Changed { index });
        }
        let binding =
            Binding::from_bytes(&base.binding.0).map_err(|_| ExportFault::Statement { index })?;
        let key = binding.epoch_key;
        self.epochs.insert(key.id(), key);
        Ok(())
    }

    /// Whether the entry was signed, and for this place.
    ///
    /// # Errors
    /// If it was not.
    pub(super) fn verify(&self, index: u64, entry: &Entry<'_>) -> Result<(), ExportFault> {
        let signed = |key: &PublicKey| holds(*key, &entry.to_be_signed(), entry.signature());
        let genuine = self.epochs.get(&entry.kid()).is_some_and(signed);
        if genuine && entry.place().index == index {
            Ok(())
        } else {
            Err(ExportFault::Changed { index })
        }
    }
}

fn holds(key: PublicKey, message: &[u8], signature: Signature) -> bool {
    let signed = ed25519::Signed {
        message,
        signature: &signature.0,
    };
    ed25519::PublicKey::parse(&key.0).is_ok_and(|key| key.verify(signed).is_ok())
}

//! Whether anything was changed: signatures, places in epochs, extensions, disclosures, checkpoints, the trailer.

use super::{At, Checks, that};
use crate::codes::Code;
use crate::keys::{self, Claim};
use crate::parallel::{Opened, SignatureState};
use countersign_record::body::EventKind;
use countersign_record::checkpoint::{Checkpoint, epoch_name, origin};
use countersign_record::digest::{EntryDigest, KeyId, PublicKey};
use countersign_record::entry::Extensions;
use countersign_record::export::Trailer;

/// What the trailer is compared with.
#[derive(Debug, Default)]
pub(super) struct Items {
    pub(super) artifacts: u64,
    pub(super) disclosures: u64,
    pub(super) checkpoints: u64,
    pub(super) timestamps: u64,
    /// The largest size that a good checkpoint covers.
    pub(super) covered: Option<u64>,
}

impl Checks<'_> {
    /// Keys that this version does not know.
    pub(super) fn extensions(
        &mut self,
        index: u64,
        critical: Option<&Extensions>,
        optional: Option<&Extensions>,
    ) {
        if let Some(extensions) = critical {
            let keys: Vec<String> = extensions
                .pairs()
                .iter()
                .map(|(k, _)| k.to_string())
                .collect();
            let text = format!(
                "critical extension {} is not known: a newer verifier is needed",
                keys.join(", ")
            );
            self.ledger.unknown(Code::Extensions, Some(index), text);
        } else {
            self.ledger.held(Code::Extensions);
        }
        for (key, value) in optional.map(Extensions::pairs).unwrap_or_default() {
            if self.subject.extensions.len() < crate::ledger::MAX_FINDINGS {
                let shown = hex::encode(value.0.get(..32).unwrap_or(&value.0));
                self.subject
                    .extensions
                    .push(format!("entry {index}: {key} = {shown}"));
            }
        }
    }

    /// Whether the entry's signature held.
    pub(super) fn signature(&mut self, at: At, state: SignatureState) {
        let result = match state {
            SignatureState::Holds => Ok(()),
            SignatureState::Broken => Err(
                "its signature does not hold: it was altered, or is not the gateway's".to_owned(),
            ),
            SignatureState::UnknownKey => {
                Err("it is signed by a key that no epoch of this export vouches for".to_owned())
            }
        };
        self.ledger
            .observe(Code::Signatures, Some(at.index), result);
    }

    /// Whether the entry belongs to the epoch in which it stands.
    pub(super) fn membership(&mut self, at: At, kid: KeyId, base: Option<EntryDigest>) {
        let result = match self.epochs.last() {
            None => Err("it stands before the opening of any epoch".to_owned()),
            Some(epoch) => {
                let expected = (epoch.digest != at.digest).then_some(epoch.digest);
                that(kid == epoch.binding.epoch_key.id(), || {
                    "it is signed by the key of another epoch".to_owned()
                })
                .and_then(|()| {
                    that(base == expected, || {
                        "it names another epoch than the one it stands in".to_owned()
                    })
                })
                .and_then(|()| {
                    that(!epoch.ended(at.digest), || {
                        "it stands after the close of its epoch".to_owned()
                    })
                })
            }
        };
        self.ledger
            .observe(Code::BaseReference, Some(at.index), result);
    }

    /// What was disclosed.
    pub(super) fn disclosures(&mut self, at: At, opened: &Opened) {
        self.ledger.held_times(Code::Disclosures, opened.matched);
        for text in &opened.mismatched {
            self.ledger
                .fail(Code::Disclosures, Some(at.index), text.clone());
        }
        let differing = opened
            .agents
            .windows(2)
            .any(|w| !matches!(w, [a, b] if a == b));
        if differing {
            let text = "the agent that asked and the agent of the action are not the same";
            self.ledger.fail(Code::Disclosures, Some(at.index), text);
        }
    }

    /// A checkpoint, after all leaves that stand before it.
    pub(crate) fn checkpoint(&mut self, note: &[u8]) {
        self.items.checkpoints = self.items.checkpoints.saturating_add(1);
        self.outside.no_checkpoint();
        let (Some(gateway), Some(identity)) = (self.gateway(), self.identity_key()) else {
            return;
        };
        let checkpoint = match Checkpoint::parse(note, &gateway) {
            Ok(checkpoint) => checkpoint,
            Err(error) => {
                return self
                    .ledger
                    .fail(Code::CheckpointSignatures, None, error.to_string());
            }
        };
        let head = checkpoint.head();
        self.outside.checkpoint(&checkpoint);
        let signed = self.epoch_key_at(head.size).and_then(|epoch| {
            signed_by(&checkpoint, &origin(&gateway), &identity, "identity")
                .and_then(|()| signed_by(&checkpoint, &epoch_name(&gateway), &epoch, "epoch"))
        });
        let genuine = signed.is_ok();
        self.ledger
            .observe(Code::CheckpointSignatures, None, signed);
        match self.log.root_at(head.size) {
            _ if self.log.starts_late() => {
                let text = "the export does not start at the log's first entry, so the log's root cannot be computed";
                self.ledger.unknown(Code::Root, None, text);
            }
            Some(root) => {
                let text = || {
                    format!(
                        "the entries lead to root {root}, the checkpoint over {} says {}",
                        head.size, head.root
                    )
                };
                let agrees = that(root == head.root, text);
                if genuine && agrees.is_ok() {
                    self.items.covered = self.items.covered.max(Some(head.size));
                    if head.size == self.log.position() {
                        self.outside.stands_here();
                    }
                    self.cosignatures(&checkpoint);
                }
                self.ledger.observe(Code::Root, None, agrees);
            }
            None if head.size > self.log.position() => {
                let text = format!(
                    "the checkpoint covers {} entries, the export ends after {}: its end was cut off",
                    head.size,
                    self.log.position()
                );
                self.ledger.fail(Code::Leaves, None, text.clone());
                self.ledger.fail(Code::Root, None, text);
            }
            None => {
                let text = format!(
                    "the checkpoint over {} is not compared: it lies inside the log",
                    head.size
                );
                self.ledger.skipped(Code::Root, None, text);
            }
        }
    }

    fn epoch_key_at(&self, size: u64) -> Result<PublicKey, String> {
        // A checkpoint of this size has a last leaf in the epoch that signs it.
        // Epochs stand in order, and there may be as many of them as of checkpoints.
        let opened = self.epochs.partition_point(|e| e.index < size);
        opened
            .checked_sub(1)
            .and_then(|last| self.epochs.get(last))
            .map(|e| e.binding.epoch_key)
            .ok_or_else(|| {
                format!("no epoch of this export has signed a checkpoint over {size} entries")
            })
    }

    /// The file's own counts.
    pub(crate) fn trailer(&mut self, trailer: &Trailer, digest: [u8; 32]) {
        let Trailer {
            entries,
            leaves,
            artifacts,
            disclosures,
            checkpoints,
            digest: claimed,
            timestamps,
        } = trailer;
        let pairs = [
            ("entries", *entries, self.counts.entries),
            ("withheld leaves", *leaves, self.counts.withheld),
            ("artifacts", *artifacts, self.items.artifacts),
            ("disclosures", *disclosures, self.items.disclosures),
            ("checkpoints", *checkpoints, self.items.checkpoints),
            ("timestamps", *timestamps, self.items.timestamps),
        ];
        for (what, claimed, found) in pairs {
            let text = || format!("the trailer counts {claimed} {what}, the file has {found}");
            self.ledger
                .observe(Code::Trailer, None, that(claimed == found, text));
        }
        let text = || "the file's checksum is not the one in its trailer".to_owned();
        self.ledger
            .observe(Code::Trailer, None, that(*claimed == digest, text));
    }

    /// Something that happened outside of calls.
    pub(super) fn event(&mut self, event: &countersign_record::body::Event) {
        match event.kind {
            // A renewal that failed half way has moved the counter; the entry explains the step.
            EventKind::RenewalFailed => {
                self.log.counter_steps = self.log.counter_steps.saturating_add(event.count)
            }
            EventKind::Unauthenticated
            | EventKind::Recovered
            | EventKind::Clock
            | EventKind::Descriptor
            | EventKind::Upstream
            | EventKind::Exported
            | EventKind::Security
            | EventKind::Witness
            | EventKind::Restored
            | EventKind::Timestamp => {}
        }
    }
}

fn signed_by(
    checkpoint: &Checkpoint,
    name: &str,
    key: &PublicKey,
    who: &'static str,
) -> Result<(), String> {
    let signature = checkpoint
        .signature(name, key, who)
        .map_err(|e| e.to_string())?;
    keys::verify(
        key,
        Claim {
            message: checkpoint.text().as_bytes(),
            signature,
        },
    )
    .map_err(|e| format!("the checkpoint's signature by the {who} key does not hold: {e}"))
}

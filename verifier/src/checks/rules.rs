//! Which code and rules: programs, configurations, boot registers, policy bundles.

use super::{At, Checks, that};
use crate::codes::Code;
use crate::hardware::Facts;
use crate::keys;
use countersign_record::binding::Binding;
use countersign_record::body::{Base, Change, ChangeKind};
use countersign_record::bundle::{
    BUNDLE_FORMAT, BUNDLE_TYP, BundlePayload, BundleStatement, Registry, SignedBundle,
};
use countersign_record::cbor::{Cbor as _, Reader};
use countersign_record::digest::{ArtifactDigest, PublicKey};
use countersign_record::export::{ADOPT_KIND, Artifact, BUNDLE_KIND, SIGNED_BUNDLE_KIND};
use std::collections::{HashMap, HashSet};

/// What an auditor's verifier keeps of a bundle.
#[derive(Debug)]
pub(super) struct Bundle {
    pub(super) registry: Registry,
    version: u64,
    name: String,
    environment: String,
    /// Signers of the trust file that signed it.
    signers: HashSet<PublicKey>,
}

/// Artifacts of the export, by digest.
#[derive(Debug, Default)]
pub(super) struct Artifacts {
    bundles: HashMap<ArtifactDigest, Bundle>,
    /// Bundles of a format that this version does not know.
    newer: HashSet<ArtifactDigest>,
}

impl Artifacts {
    pub(super) fn bundle(&self, digest: &ArtifactDigest) -> Option<&Bundle> {
        self.bundles.get(digest)
    }
}

impl Checks<'_> {
    /// An artifact of any kind, wherever it stands.
    pub(crate) fn artifact_seen(&mut self, artifact: &Artifact) {
        self.items.artifacts = self.items.artifacts.saturating_add(1);
        if contains(&artifact.bytes.0, &self.trust.source) {
            let text =
                "the export contains your trust file: whoever made the export wrote or saw it";
            self.ledger.fail(Code::TrustSource, None, text);
        }
    }

    /// Something before the first leaf that entries refer to by digest. What nothing can refer to is not kept.
    pub(crate) fn artifact(&mut self, artifact: Artifact) {
        let Artifact { kind, bytes } = artifact;
        let result = if kind == SIGNED_BUNDLE_KIND {
            self.signed_bundle(&bytes.0)
        } else if kind == BUNDLE_KIND {
            self.bundle_payload(&bytes.0, HashSet::new())
        } else if kind == ADOPT_KIND {
            self.handed(&bytes.0);
            Ok(())
        } else {
            Ok(())
        };
        if let Err(text) = result {
            self.ledger.fail(Code::Bundle, None, text);
        }
    }

    fn signed_bundle(&mut self, bytes: &[u8]) -> Result<(), String> {
        let SignedBundle {
            payload,
            signatures,
        } = SignedBundle::from_bytes(bytes).map_err(|e| format!("a bundle is malformed: {e}"))?;
        if self.is_newer(&payload.0)? {
            return Ok(());
        }
        let parsed = BundlePayload::from_bytes(&payload.0)
            .map_err(|e| format!("a bundle is malformed: {e}"))?;
        let expected = BundleStatement {
            digest: ArtifactDigest::of(&payload.0),
            ..parsed.statement()
        };
        let keys = self
            .trust
            .bundles
            .as_ref()
            .map(|b| b.signers.clone())
            .unwrap_or_default();
        let signers = signatures
            .iter()
            .filter_map(|s| keys::statement(&s.0, BUNDLE_TYP, &keys).ok())
            .filter(|(payload, _)| BundleStatement::from_bytes(payload).as_ref() == Ok(&expected))
            .map(|(_, key)| key)
            .collect();
        self.bundle_payload(&payload.0, signers)
    }

    /// Whether a payload has a format that this version does not know; if so, that is said.
    fn is_newer(&mut self, payload: &[u8]) -> Result<bool, String> {
        let mut reader = Reader::new(payload);
        let format = reader
            .map(|m| {
                let format = m.get::<u64>(1)?;
                m.skip_rest()?;
                Ok(format)
            })
            .and_then(|format| reader.finish().map(|()| format))
            .map_err(|e| format!("a bundle is malformed: {e}"))?;
        let newer = format != BUNDLE_FORMAT;
        if newer {
            let text = format!("a bundle has format version {format}: a newer verifier is needed");
            self.ledger.unknown(Code::Bundle, None, text);
            self.artifacts.newer.insert(ArtifactDigest::of(payload));
        }
        Ok(newer)
    }

    fn bundle_payload(
        &mut self,
        payload: &[u8],
        signers: HashSet<PublicKey>,
    ) -> Result<(), String> {
        if self.is_newer(payload)? {
            return Ok(());
        }
        let parsed = BundlePayload::from_bytes(payload)
            .map_err(|e| format!("a bundle is malformed: {e}"))?;
        let BundlePayload {
            format: _,
            name,
            environment,
            version,
            registry,
            rules: _,
        } = parsed;
        let slot = self.artifacts.bundles.entry(ArtifactDigest::of(payload));
        let bundle = slot.or_insert(Bundle {
            registry,
            version,
            name,
            environment,
            signers: HashSet::new(),
        });
        bundle.signers.extend(signers);
        Ok(())
    }

    /// Program, configuration and bundles of an opening.
    pub(super) fn base_rules(&mut self, at: At, base: &Base, binding: &Binding) {
        let index = Some(at.index);
        match &self.reference.build {
            None => self.ledger.skipped(
                Code::Build,
                index,
                "no reference value for the program was given",
            ),
            Some(known) => {
                let text = || {
                    format!(
                        "program {} ({}) is none that you know",
                        binding.build, base.software
                    )
                };
                self.ledger.observe(
                    Code::Build,
                    index,
                    that(known.contains(&binding.build), text),
                );
            }
        }
        self.configuration(at, binding.configuration);
        for digest in &binding.bundles {
            self.bundle_in_force(at, *digest);
        }
        self.calls.opened(at, binding.bundles.clone());
    }

    fn configuration(&mut self, at: At, digest: ArtifactDigest) {
        let index = Some(at.index);
        match &self.reference.configuration {
            None => self.ledger.skipped(
                Code::Configuration,
                index,
                "no reference value for the configuration was given",
            ),
            Some(known) => {
                let text = || format!("configuration {digest} is none that you know");
                self.ledger.observe(
                    Code::Configuration,
                    index,
                    that(known.contains(&digest), text),
                );
            }
        }
    }

    /// The registers that the chip signed.
    pub(super) fn registers(&mut self, at: At, facts: &Facts) {
        let index = Some(at.index);
        // Without a TPM there are none; what was launched is the processor's word.
        let Some(facts) = &facts.tpm else {
            return self.ledger.held(Code::Registers);
        };
        let Some(reference) = &self.reference.pcrs else {
            return self.ledger.skipped(
                Code::Registers,
                index,
                "no reference values for boot registers were given",
            );
        };
        for (register, value) in &facts.pcrs {
            match reference.get(register) {
                None => {
                    let text = format!("there is no reference value for register {register}");
                    self.ledger.unknown(Code::Registers, index, text);
                }
                Some(known) => {
                    let text = || {
                        format!(
                            "register {register} is {}, which is none that you know",
                            hex::encode(value)
                        )
                    };
                    self.ledger
                        .observe(Code::Registers, index, that(known.contains(value), text));
                }
            }
        }
    }

    /// A bundle came into force.
    fn bundle_in_force(&mut self, at: At, digest: ArtifactDigest) {
        let index = Some(at.index);
        if self.artifacts.newer.contains(&digest) {
            let text = format!("bundle {digest} was in force, and needs a newer verifier");
            for code in [Code::Bundle, Code::BundleSigners] {
                self.ledger.unknown(code, index, text.clone());
            }
            return;
        }
        let Some(bundle) = self.artifacts.bundle(&digest) else {
            let text = format!("bundle {digest} was in force, and is not in the export");
            return self.ledger.fail(Code::Bundle, index, text);
        };
        let label = format!(
            "bundle {} for {}, version {}",
            bundle.name, bundle.environment, bundle.version
        );
        let signed = super::count(bundle.signers.len());
        self.ledger.held(Code::Bundle);
        match &self.trust.bundles {
            None => self.ledger.skipped(
                Code::BundleSigners,
                index,
                "your trust file does not say who may sign bundles",
            ),
            Some(rule) => {
                // An empty list accepts nothing, whatever the threshold.
                let enough = signed >= rule.threshold && !rule.signers.is_empty();
                let text = || {
                    format!(
                        "{label} has {signed} signatures of yours, {} are needed",
                        rule.threshold
                    )
                };
                self.ledger
                    .observe(Code::BundleSigners, index, that(enough, text));
            }
        }
        match self.trust.bundles.as_ref().and_then(|r| r.pinned.as_ref()) {
            None => self
                .ledger
                .skipped(Code::BundlePins, index, "your trust file pins no bundles"),
            Some(pins) => {
                let text = || format!("{label} ({digest}) is none that you pinned");
                self.ledger
                    .observe(Code::BundlePins, index, that(pins.contains(&digest), text));
            }
        }
    }

    /// Something in force changed.
    pub(super) fn change(&mut self, at: At, change: &Change) {
        match change.kind {
            ChangeKind::Bundle => self.bundle_in_force(at, change.digest),
            ChangeKind::Configuration => self.configuration(at, change.digest),
            ChangeKind::Pack
            | ChangeKind::Registry
            | ChangeKind::Roles
            | ChangeKind::Key
            | ChangeKind::Kill => {}
        }
        let version = self.artifacts.bundle(&change.digest).map(|b| b.version);
        let result = self.calls.changed(at, change, version);
        self.ledger.observe(Code::InForce, Some(at.index), result);
    }
}

/// Whether `haystack` has `needle` in it. Short trust files say too little to be looked for.
fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    let Some(first) = needle.first() else {
        return false;
    };
    needle.len() >= 16
        && haystack
            .iter()
            .enumerate()
            .filter(|(_, byte)| *byte == first)
            .any(|(at, _)| {
                haystack
                    .get(at..)
                    .is_some_and(|rest| rest.starts_with(needle))
            })
}

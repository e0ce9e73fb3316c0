//! An export taken apart and put together again, as whoever hands it over can; and trust files of other shapes.

use countersign_record::body::TenantProof;
use countersign_record::cbor::{Cbor as _, Reader};
use countersign_record::commitment::Disclosure;
use countersign_record::cose::Sign1;
use countersign_record::digest::{ArtifactDigest, NodeHash};
use countersign_record::entry::{Body, Entry, Kind};
use countersign_record::export::{
    Artifact, ExportWriter, Framer, ItemKind, Manifest, Span, Timestamp,
};
use countersign_tests::auditor::Verdict;
use countersign_tests::machine::Machine;
use countersign_tests::process::outcome;
use countersign_tests::{program, unique};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A leaf of an export.
#[derive(Clone)]
pub(crate) enum Leaf {
    /// An entry, with what opens it.
    Entry(Vec<u8>, Vec<Disclosure>),
    /// The hash of an entry that is withheld.
    Hash(NodeHash),
    /// A stretch of withheld entries.
    Span(Span),
}

/// All parts of an export.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) manifest: Manifest,
    pub(crate) artifacts: Vec<Artifact>,
    pub(crate) leaves: Vec<Leaf>,
    /// Tenants' proofs, each with the place of the leaf that it follows.
    pub(crate) proofs: Vec<(usize, TenantProof)>,
    pub(crate) checkpoints: Vec<Vec<u8>>,
    /// Each with the number of the checkpoint before it.
    pub(crate) timestamps: Vec<(usize, Timestamp)>,
}

impl Parts {
    pub(crate) fn read(export: &Path) -> Self {
        let mut framer = Framer::new();
        framer.push(&fs::read(export).unwrap());
        let (mut manifest, mut artifacts) = (None, Vec::new());
        let (mut leaves, mut checkpoints) = (Vec::new(), Vec::new());
        let (mut proofs, mut timestamps) = (Vec::new(), Vec::new());
        while let Some(frame) = framer.next_frame().unwrap() {
            let content = frame.content;
            match frame.kind {
                ItemKind::Manifest => manifest = Some(Manifest::from_bytes(&content).unwrap()),
                ItemKind::Artifact => artifacts.push(Artifact::from_bytes(&content).unwrap()),
                ItemKind::Entry => leaves.push(Leaf::Entry(content, Vec::new())),
                ItemKind::Leaf => leaves.push(Leaf::Hash(NodeHash(content.try_into().unwrap()))),
                ItemKind::Span => leaves.push(Leaf::Span(Span::from_bytes(&content).unwrap())),
                ItemKind::TenantProof => {
                    let proof = TenantProof::from_bytes(&content).unwrap();
                    proofs.push((leaves.len() - 1, proof));
                }
                ItemKind::Disclosures => {
                    let Some(Leaf::Entry(_, opened)) = leaves.last_mut() else {
                        panic!("disclosures follow an entry");
                    };
                    *opened = Vec::read(&mut Reader::new(&content)).unwrap();
                }
                ItemKind::Checkpoint => checkpoints.push(content),
                ItemKind::Timestamp => {
                    let timestamp = Timestamp::from_bytes(&content).unwrap();
                    timestamps.push((checkpoints.len() - 1, timestamp));
                }
                ItemKind::Trailer => (),
            }
        }
        Self {
            manifest: manifest.expect("an export has a manifest"),
            artifacts,
            leaves,
            proofs,
            checkpoints,
            timestamps,
        }
    }

    /// Writes them as a well-formed export, with a manifest and trailer that fit.
    pub(crate) fn write(mut self, beside: &Path) -> PathBuf {
        let count = |leaf: &Leaf| match leaf {
            Leaf::Entry(..) | Leaf::Hash(_) => 1,
            Leaf::Span(span) => span.count,
        };
        self.manifest.end = self.manifest.first + self.leaves.iter().map(count).sum::<u64>();
        let (mut writer, mut bytes) = ExportWriter::start(&self.manifest);
        let named: Vec<Vec<ArtifactDigest>> = self.leaves.iter().map(evidence).collect();
        let is_named = |a: &&Artifact| named.iter().flatten().any(|d| *d == a.digest());
        for artifact in self.artifacts.iter().filter(|a| !is_named(a)) {
            bytes.extend(writer.artifact(artifact));
        }
        for (place, leaf) in self.leaves.iter().enumerate() {
            match leaf {
                Leaf::Entry(entry, opened) => {
                    let own = |a: &&Artifact| named[place].contains(&a.digest());
                    for artifact in self.artifacts.iter().filter(own) {
                        bytes.extend(writer.artifact(artifact));
                    }
                    bytes.extend(writer.entry(entry));
                    if !opened.is_empty() {
                        bytes.extend(writer.disclosures(opened));
                    }
                }
                Leaf::Hash(hash) => bytes.extend(writer.leaf(hash)),
                Leaf::Span(span) => bytes.extend(writer.span(span)),
            }
            for (_, proof) in self.proofs.iter().filter(|(at, _)| *at == place) {
                bytes.extend(writer.tenant_proof(proof));
            }
        }
        for (number, checkpoint) in self.checkpoints.iter().enumerate() {
            bytes.extend(writer.checkpoint(checkpoint));
            for (_, timestamp) in self.timestamps.iter().filter(|(n, _)| *n == number) {
                bytes.extend(writer.timestamp(timestamp));
            }
        }
        bytes.extend(writer.finish());
        let path = beside
            .with_file_name(unique("forged"))
            .with_extension("cbor");
        fs::write(&path, bytes).unwrap();
        path
    }

    /// Place among the artifacts of the evidence of the `number`th renewal (from 0).
    pub(crate) fn evidence_of_renewal(&self, number: usize) -> usize {
        let Leaf::Entry(bytes, _) = &self.leaves[self.all(Kind::Renewal)[number]] else {
            panic!("it is an entry");
        };
        let entry = Entry::parse(bytes).unwrap();
        let Body::Renewal(renewal) = entry.body() else {
            panic!("it is a renewal");
        };
        let digest = renewal.evidence[0].digest;
        self.artifacts
            .iter()
            .position(|a| a.digest() == digest)
            .unwrap()
    }

    /// Kind of each leaf, in order.
    pub(crate) fn kinds(&self) -> Vec<Option<Kind>> {
        self.leaves.iter().map(kind).collect()
    }

    /// Places of the entries of a kind.
    pub(crate) fn all(&self, wanted: Kind) -> Vec<usize> {
        let kinds = self.kinds();
        (0..kinds.len())
            .filter(|i| kinds[*i] == Some(wanted))
            .collect()
    }
}

/// Nothing, of what is withheld.
fn kind(leaf: &Leaf) -> Option<Kind> {
    let Leaf::Entry(bytes, _) = leaf else {
        return None;
    };
    let typ = Sign1::parse(bytes).unwrap().typ().to_owned();
    Kind::ALL.iter().copied().find(|k| k.typ() == typ)
}

/// Judges with a trust file that `change` has changed.
pub(crate) fn verify_with_trust(
    machine: &Machine,
    export: &Path,
    change: impl FnOnce(String) -> String,
) -> Verdict {
    let (trust, reference) = machine.auditor().files();
    let text = change(fs::read_to_string(&trust).unwrap());
    fs::write(&trust, text).unwrap();
    verify_by(export, &trust, &reference)
}

/// Judges with these files.
pub(crate) fn verify_by(export: &Path, trust: &Path, reference: &Path) -> Verdict {
    let mut command = Command::new(program("countersign-verify"));
    command.arg(export).arg("--trust").arg(trust);
    let (status, out, err) = outcome(command.arg("--reference").arg(reference).arg("--json"));
    Verdict {
        exit_code: status.code().unwrap(),
        report: serde_json::from_str(&out).unwrap_or_default(),
        text: out + &err,
    }
}

/// Digests of the evidence that a leaf names.
fn evidence(leaf: &Leaf) -> Vec<ArtifactDigest> {
    let Leaf::Entry(bytes, _) = leaf else {
        return Vec::new();
    };
    let entry = Entry::parse(bytes).ok();
    let body = entry.as_ref().map(Entry::body);
    let refs = body.map(Body::evidence).unwrap_or_default();
    refs.iter().map(|r| r.digest).collect()
}

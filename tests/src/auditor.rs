//! The auditor: trust and reference values of its own, the real verifier, and an export read by hand.
//!
//! In: an export. Out: a [`Verdict`], or every entry with what opens it ([`Log`]).

use crate::machine::Machine;
use crate::process::outcome;
use crate::program;
use countersign_record::binding::Binding;
use countersign_record::body::{Decision, Intent};
use countersign_record::cbor::{Cbor as _, Reader};
use countersign_record::claims::CallerClaims;
use countersign_record::commitment::{Disclosure, Field};
use countersign_record::digest::{ArtifactDigest, EntryDigest};
use countersign_record::entry::{Body, Entry, Payload};
use countersign_record::export::{Framer, ItemKind, Manifest};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// Digest of the gateway's program, which each test would otherwise read anew.
static BUILD: LazyLock<String> = LazyLock::new(|| {
    let read = fs::File::open(program("countersign"))
        .and_then(|mut program| ArtifactDigest::of_reader(&mut program));
    read.expect("the gateway's program can be read").to_string()
});

/// Somebody who trusts a machine's governance and bundle keys, and has copies of its files.
#[derive(Debug, Clone)]
pub struct Auditor {
    directory: PathBuf,
    governance: String,
    bundle_signer: String,
    build: String,
    configurations: BTreeSet<String>,
    extra: String,
    /// Of the processors that are believed in; none means software TPMs.
    processors: Option<Processors>,
    now: Option<u64>,
}

/// Processors without a TPM that an auditor believes in.
#[derive(Debug, Clone)]
struct Processors {
    /// Tables of the trust file.
    trust: String,
    /// The launch measurement that they know.
    launch: String,
}

/// What the verifier said.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// Exit code of the command.
    pub exit_code: i32,
    /// The report, as JSON; null if there is none.
    pub report: Value,
    /// All that was printed.
    pub text: String,
}

impl Verdict {
    /// The verdict in a sentence.
    #[must_use]
    pub fn headline(&self) -> &str {
        self.report["headline"].as_str().unwrap_or_default()
    }

    /// The check that catches the first failure most directly; empty if none failed.
    #[must_use]
    pub fn first_failure(&self) -> &str {
        self.report["first_failure"].as_str().unwrap_or_default()
    }

    fn check(&self, code: &str) -> &Value {
        let checks = self.report["checks"].as_array();
        checks
            .and_then(|c| c.iter().find(|c| c["code"] == code))
            .unwrap_or_else(|| panic!("there is no check {code}:\n{}", self.text))
    }

    /// State of a check: `pass`, `fail`, `cannot-tell`, `not-checked`.
    #[must_use]
    pub fn state(&self, code: &str) -> &str {
        self.check(code)["state"].as_str().unwrap_or_default()
    }

    /// What the report says of a check.
    #[must_use]
    pub fn reason(&self, code: &str) -> &str {
        self.check(code)["reason"].as_str().unwrap_or_default()
    }

    /// A count of the report, such as `epochs`.
    #[must_use]
    pub fn count(&self, name: &str) -> u64 {
        let count = self.report["counts"][name].as_u64();
        count.unwrap_or_else(|| panic!("there is no count {name}:\n{}", self.text))
    }

    /// Every check that did not pass, with its reason, for messages.
    #[must_use]
    pub fn complaints(&self) -> String {
        let mut out = format!("exit code {}: {}\n", self.exit_code, self.headline());
        for check in self.report["checks"].as_array().into_iter().flatten() {
            if !["pass", "not-checked"].contains(&check["state"].as_str().unwrap_or_default()) {
                out.push_str(&format!(
                    "{} {}: {}\n",
                    check["state"], check["code"], check["reason"]
                ));
            }
        }
        if self.report.is_null() {
            out.push_str(&self.text);
        }
        out
    }

    /// Fails the test unless the export is verified.
    ///
    /// # Panics
    /// If it is not.
    #[track_caller]
    pub fn assert_verified(&self) {
        assert_eq!(self.exit_code, 0, "{}", self.complaints());
    }
}

impl Auditor {
    /// Takes copies of what the machine's people publish.
    pub(crate) fn new(machine: &Machine) -> Self {
        let site = machine.site();
        let read =
            |path: &Path| fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let digest = |bytes: &[u8]| ArtifactDigest::of(bytes).to_string();
        let settings = [read(&site.settings())];
        let settings = machine.earlier_settings().iter().chain(&settings);
        Self {
            directory: machine.path().to_owned(),
            governance: site.public_key("governance.key").to_string(),
            bundle_signer: site.public_key("bundle.key").to_string(),
            build: BUILD.clone(),
            configurations: settings.map(|s| digest(s)).collect(),
            extra: String::new(),
            processors: None,
            now: None,
        }
    }

    /// Knows the settings of another time, too.
    #[must_use]
    pub fn knowing(mut self, other: &Self) -> Self {
        self.configurations
            .extend(other.configurations.iter().cloned());
        self
    }

    /// Knows these settings, too.
    #[must_use]
    pub fn knowing_settings(mut self, settings: &[u8]) -> Self {
        self.configurations
            .insert(ArtifactDigest::of(settings).to_string());
        self
    }

    /// Adds lines to the trust file, such as `[log]\nmax_gap = …`.
    #[must_use]
    pub fn trusting(mut self, lines: &str) -> Self {
        self.extra.push_str(lines);
        self.extra.push('\n');
        self
    }

    /// Believes in processors by themselves, of the vendor that made this chip, and in no TPM.
    #[must_use]
    pub fn believing_in(mut self, chip: &crate::chip::Chip) -> Self {
        self.processors = Some(Processors {
            trust: chip.trust(),
            launch: chip.launch(),
        });
        self
    }

    /// Judges at this time, in milliseconds since 1970, instead of now.
    #[must_use]
    pub fn judging_at(mut self, now: u64) -> Self {
        self.now = Some(now);
        self
    }

    /// Writes trust and reference files; their paths.
    ///
    /// # Panics
    /// If they cannot be written.
    #[must_use]
    pub fn files(&self) -> (PathBuf, PathBuf) {
        let name = crate::unique("auditor");
        let directory = self.directory.join(name);
        fs::create_dir(&directory).expect("a directory can be made");
        let (trust, reference) = (
            directory.join("trust.toml"),
            directory.join("reference.toml"),
        );
        let text = format!(
            "version = 1\n[governance]\nkeys = [\"{}\"]\n[bundles]\nsigners = [\"{}\"]\nthreshold = 1\n\
             [evidence]\n{}{}",
            self.governance,
            self.bundle_signer,
            match &self.processors {
                None => "accept = [\"software\"]\n".to_owned(),
                Some(of) => format!(
                    "accept = [\"processor\"]\nparties = [\"amd\"]\n{}",
                    of.trust
                ),
            },
            self.extra
        );
        fs::write(&trust, text).expect("a file can be written");
        let zero = "00".repeat(32);
        let configurations: Vec<_> = self.configurations.iter().collect();
        let mut text = format!(
            "version = 1\nbuild = [\"{}\"]\nconfiguration = {configurations:?}\n",
            self.build
        );
        if let Some(of) = &self.processors {
            text.push_str(&format!("[launch]\nsnp = [\"{}\"]\n", of.launch));
        } else {
            text.push_str("[pcrs]\n");
            for register in [4, 7, 11, 12, 13] {
                text.push_str(&format!("{register} = [\"{zero}\"]\n"));
            }
        }
        fs::write(&reference, text).expect("a file can be written");
        (trust, reference)
    }

    /// Runs the verifier.
    #[must_use]
    pub fn verify(&self, export: &Path) -> Verdict {
        self.verify_with(export, &[])
    }

    /// Runs the verifier with receipts, each as base64.
    ///
    /// # Panics
    /// If the verifier cannot be run.
    #[must_use]
    pub fn verify_with(&self, export: &Path, receipts: &[String]) -> Verdict {
        self.verify_given(export, receipts, &[])
    }

    /// Runs the verifier on several exports, with a fleet statement that the auditor has.
    ///
    /// # Panics
    /// If the verifier cannot be run.
    #[must_use]
    pub fn verify_fleet(&self, exports: &[PathBuf], statement: &Path) -> Verdict {
        let (trust, reference) = self.files();
        let mut command = Command::new(program("countersign-verify"));
        command.args(exports).arg("--trust").arg(&trust);
        command.arg("--reference").arg(&reference);
        command.arg("--fleet").arg(statement).arg("--json");
        let (status, out, err) = outcome(&mut command);
        Verdict {
            exit_code: status.code().expect("the verifier ends by itself"),
            report: serde_json::from_str(&out).unwrap_or_default(),
            text: out + &err,
        }
    }

    /// Runs the verifier with receipts and with checkpoints that the auditor has from elsewhere.
    ///
    /// # Panics
    /// If the verifier cannot be run.
    #[must_use]
    pub fn verify_given(
        &self,
        export: &Path,
        receipts: &[String],
        checkpoints: &[PathBuf],
    ) -> Verdict {
        let (trust, reference) = self.files();
        let mut command = Command::new(program("countersign-verify"));
        command.arg(export).arg("--trust").arg(&trust);
        command.arg("--reference").arg(&reference).arg("--json");
        if let Some(now) = self.now {
            command.args(["--now", &now.to_string()]);
        }
        for checkpoint in checkpoints {
            command.arg("--checkpoint").arg(checkpoint);
        }
        if !receipts.is_empty() {
            let path = trust.with_file_name("receipts.txt");
            fs::write(&path, receipts.join("\n") + "\n").expect("a file can be written");
            command.arg("--receipts").arg(&path);
        }
        let (status, out, err) = outcome(&mut command);
        Verdict {
            exit_code: status.code().expect("the verifier ends by itself"),
            report: serde_json::from_str(&out).unwrap_or_default(),
            text: out + &err,
        }
    }
}

/// An entry of an export, with what opens it.
#[derive(Debug, Clone)]
pub struct Logged {
    /// Digest.
    pub digest: EntryDigest,
    /// Place and body.
    pub payload: Payload,
    /// What opens its commitments.
    pub disclosures: Vec<Disclosure>,
}

impl Logged {
    /// What its caller's token and certificate said.
    ///
    /// # Panics
    /// If that is not disclosed.
    #[must_use]
    pub fn claims(&self) -> CallerClaims {
        let disclosed = self.disclosures.iter().find(|d| d.field == Field::Claims);
        CallerClaims::from_bytes(&disclosed.expect("claims").value.0).expect("claims")
    }

    /// A disclosed value as text.
    #[must_use]
    pub fn disclosed(&self, field: Field) -> Option<String> {
        let found = self.disclosures.iter().find(|d| d.field == field)?;
        Some(String::from_utf8_lossy(&found.value.0).into_owned())
    }

    /// The argument `line` that was forwarded to the tool.
    #[must_use]
    pub fn line(&self) -> Option<String> {
        let text = self.disclosed(Field::Forwarded)?;
        let value: Value = serde_json::from_str(&text).ok()?;
        Some(value["line"].as_str()?.to_owned())
    }

    /// The intent, if it is one.
    #[must_use]
    pub fn intent(&self) -> Option<&Intent> {
        if let Body::Intent(intent) = &self.payload.body {
            return Some(intent);
        }
        None
    }

    /// The Decision Record, if it is one.
    #[must_use]
    pub fn decision(&self) -> Option<&Decision> {
        if let Body::Decision(decision) = &self.payload.body {
            return Some(decision);
        }
        None
    }
}

/// The manifest of an export.
///
/// # Panics
/// If the export is malformed.
#[must_use]
pub fn manifest(export: &Path) -> Manifest {
    let mut framer = Framer::new();
    framer.push(&fs::read(export).expect("an export is there"));
    let frame = framer.next_frame().expect("an export is well formed");
    let frame = frame.expect("an export has a manifest");
    Manifest::from_bytes(&frame.content).expect("a manifest is well formed")
}

/// Every entry of an export.
#[derive(Debug, Clone)]
pub struct Log(pub Vec<Logged>);

impl Log {
    /// Reads an export; checks nothing but its form.
    ///
    /// # Panics
    /// If it is malformed.
    #[must_use]
    pub fn read(export: &Path) -> Self {
        let mut framer = Framer::new();
        framer.push(&fs::read(export).expect("an export is there"));
        let mut out: Vec<Logged> = Vec::new();
        while let Some(frame) = framer.next_frame().expect("an export is well formed") {
            if frame.kind == ItemKind::Entry {
                let entry = Entry::parse(&frame.content).expect("an entry is well formed");
                out.push(Logged {
                    digest: entry.digest(),
                    payload: entry.payload().clone(),
                    disclosures: Vec::new(),
                });
            } else if frame.kind == ItemKind::Disclosures {
                let mut reader = Reader::new(&frame.content);
                let disclosures = Vec::read(&mut reader).expect("disclosures are well formed");
                out.last_mut()
                    .expect("disclosures follow an entry")
                    .disclosures = disclosures;
            }
        }
        framer.finish().expect("an export is whole");
        Self(out)
    }

    /// All intents.
    pub fn intents(&self) -> impl Iterator<Item = (&Logged, &Intent)> {
        self.0.iter().filter_map(|e| Some((e, e.intent()?)))
    }

    /// All Decision Records.
    pub fn decisions(&self) -> impl Iterator<Item = (&Logged, &Decision)> {
        self.0.iter().filter_map(|e| Some((e, e.decision()?)))
    }

    /// Bindings of all bases.
    ///
    /// # Panics
    /// If one is malformed.
    #[must_use]
    pub fn bindings(&self) -> Vec<Binding> {
        let base = |e: &Logged| {
            if let Body::Base(base) = &e.payload.body {
                return Some(Binding::from_bytes(&base.binding.0).expect("a binding"));
            }
            None
        };
        self.0.iter().filter_map(base).collect()
    }

    /// Openings that came to nothing, as bases tell.
    #[must_use]
    pub fn abandoned_openings(&self) -> usize {
        let base = |e: &Logged| {
            if let Body::Base(base) = &e.payload.body {
                return base.abandoned.len();
            }
            0
        };
        self.0.iter().map(base).sum()
    }
}

//! `countersign appraise`: who is at an address, before anybody speaks to it.

use super::client::{Reach, block_on};
use crate::clock::Clock;
use crate::transport::attested;
use anyhow::Context as _;
use clap::Args;
use countersign_verify::counterpart::Counterpart;
use countersign_verify::trust::{EvidenceClass, Reference, Trust};
use std::fs;
use std::path::{Path, PathBuf};

/// Say which gateway is at an address, by its evidence and this very connection, or why nobody should speak to it.
#[derive(Debug, Args)]
pub(super) struct Appraise {
    #[command(flatten)]
    reach: Reach,
    #[command(flatten)]
    trusted: Trusted,
}

/// Whom and what a client trusts: the files that `countersign-verify` takes.
#[derive(Debug, Clone, Args)]
pub(super) struct Trusted {
    /// Whom and what you trust, the file that countersign-verify takes. Yours, not the operator's.
    #[arg(long, value_name = "FILE")]
    pub(super) trust: Option<PathBuf>,
    /// Values you expect: program, configuration, boot registers; replaces [reference] of the trust file.
    #[arg(long, value_name = "FILE", requires = "trust")]
    pub(super) reference: Option<PathBuf>,
}

impl Trusted {
    /// Reads both files.
    pub(super) fn read(&self) -> anyhow::Result<Trust> {
        let path = self.trust.as_deref();
        let path = path.context("say with --trust FILE whom and what you trust")?;
        let shown = |path: &Path| path.display().to_string();
        let bytes = |path: &Path| fs::read(path).with_context(|| shown(path));
        let mut trust = Trust::parse(&bytes(path)?).with_context(|| shown(path))?;
        if let Some(path) = &self.reference {
            trust.reference = Reference::parse(&bytes(path)?).with_context(|| shown(path))?;
        }
        Ok(trust)
    }
}

/// Who somebody is, in a sentence.
pub(super) fn sentence(counterpart: &Counterpart) -> String {
    let class = match counterpart.class() {
        EvidenceClass::HardwareTpm => "a TPM that was checked vouches for it",
        EvidenceClass::Processor => "its processor vouches for it",
        EvidenceClass::ParavisorTpm => {
            "its processor vouches for the paravisor, and a TPM there for it"
        }
        EvidenceClass::HypervisorTpm => {
            "its processor vouches for its memory, and a TPM in the hypervisor for what booted"
        }
        EvidenceClass::UnendorsedTpm => "a TPM that nobody checked vouches for it",
        EvidenceClass::Software => "on a software TPM: no hardware vouches for it",
    };
    let name = counterpart.name();
    let name = name
        .map(|n| format!(" ({n:?} of its fleet)"))
        .unwrap_or_default();
    format!(
        "this connection ends in gateway {}{name}; {class}",
        counterpart.gateway()
    )
}

impl Appraise {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let trust = self.trusted.read()?;
        let target = self.reach.target()?;
        let now = Clock::start().now().at;
        let attested = block_on(attested::connect(&target, &trust, now))?;
        println!("{}", sentence(&attested.counterpart));
        Ok(())
    }
}

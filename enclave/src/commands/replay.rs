//! `countersign replay`: the gateway's stages again, on what an export recorded.
//!
//! Offline: no gateway, no TPM. Exit codes are the replay's own; what keeps it from running is 4.

use crate::clock::Clock;
use crate::site::SiteDir;
use anyhow::{Context as _, bail};
use clap::Args;
use countersign_policies::bundle::{Bundle, UnsignedBundle};
use countersign_record::digest::UnixMillis;
use countersign_replay::whatif::Candidate;
use countersign_replay::{Options, Progress, Replay as Replayed, replay};
use countersign_verify::text::neutralize;
use countersign_verify::trust::Trust;
use std::fs::{self, File};
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Exit code for a replay that cannot be done as asked.
pub(super) const USAGE: u8 = 4;

/// A trust file that names nobody: the export is checked against itself.
const NOBODY: &[u8] = b"version = 1\n";

/// Calls between two words of progress.
const STEP: u64 = 1000;

/// Run the gateway's stages again on what an export recorded.
#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// The export.
    export: PathBuf,
    /// Whom and what you trust; without it nobody says whose the export is.
    #[arg(long, value_name = "FILE")]
    trust: Option<PathBuf>,
    /// Also say what this bundle would have said; signed or not.
    #[arg(long, value_name = "FILE", conflicts_with = "site")]
    bundle: Option<PathBuf>,
    /// Also say what the bundle of this site directory would have said.
    #[arg(long, value_name = "DIR")]
    site: Option<PathBuf>,
    /// Only the call with this identifier, or beginning of one.
    #[arg(long, value_name = "ID")]
    call: Option<String>,
    /// Print the result as JSON ("replay": 1).
    #[arg(long)]
    json: bool,
}

impl Replay {
    pub(super) fn run(self) -> ExitCode {
        match self.replayed() {
            Ok(code) => ExitCode::from(code),
            Err(error) => {
                let text = neutralize(&format!("{error:#}"));
                // Nothing is left to do if standard error is gone.
                let _ = writeln!(std::io::stderr(), "countersign: {text}");
                ExitCode::from(USAGE)
            }
        }
    }

    fn replayed(self) -> anyhow::Result<u8> {
        let named = |path: &Path| path.display().to_string();
        let trust_bytes = match &self.trust {
            Some(path) => fs::read(path).with_context(|| named(path))?,
            None => NOBODY.to_vec(),
        };
        let trust = Trust::parse(&trust_bytes)?;
        if let Some(call) = &self.call
            && !call.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'))
        {
            bail!("--call takes hexadecimal digits");
        }
        let signers = trust.bundles.as_ref().map(|b| b.signers.clone());
        let bundle = match (&self.bundle, &self.site) {
            (Some(path), _) => {
                let bytes = fs::read(path).with_context(|| named(path))?;
                Some(UnsignedBundle::parse(&bytes).with_context(|| named(path))?)
            }
            (None, Some(directory)) => Some(Bundle::build(&SiteDir::new(directory).parse()?)?),
            (None, None) => None,
        };
        let options = Options {
            trust_path: self.trust.as_deref().map(named).unwrap_or_default(),
            call: self.call.clone(),
            against: bundle.map(|bundle| Candidate {
                bundle,
                signers: signers.unwrap_or_default(),
            }),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
        };
        let file = File::open(&self.export).with_context(|| named(&self.export))?;
        let now: UnixMillis = Clock::start().now().at;
        let replayed = replay(file, &trust, &options, now, &mut told())
            .with_context(|| named(&self.export))?;
        let text = if self.json {
            replayed.to_json()?
        } else {
            replayed.to_text()
        };
        std::io::stdout().write_all(text.as_bytes())?;
        let Replayed { exit_code, .. } = replayed;
        Ok(exit_code)
    }
}

/// Tells people how far it has come; a pipe gets nothing of it.
fn told() -> impl FnMut(Progress) {
    let mut out = std::io::stderr();
    let shown = out.is_terminal();
    move |progress| {
        let text = match progress {
            Progress::Verifying => "verifying the export".to_owned(),
            Progress::Reading => "reading the export".to_owned(),
            Progress::Calls { done, of } if done == of || done.is_multiple_of(STEP) => {
                format!("{done} of {of} calls")
            }
            Progress::Calls { .. } => return,
        };
        if shown {
            // Progress is a courtesy.
            let _ = writeln!(out, "{text}");
        }
    }
}

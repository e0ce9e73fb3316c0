//! `countersign doctor`: what is missing on this machine.
//!
//! Asks the TPM, the kernel and the files of the site, and judges nothing itself: see [`crate::doctor`].

use super::SiteArgument;
use crate::clock::Clock;
use crate::collateral::Collateral;
use crate::doctor::machine::{self, Machine};
use crate::doctor::tpm::{self, Asked};
use crate::doctor::vendors::{self, Vendors};
use crate::doctor::{Code, Report, site};
use crate::site::{tpm_address, tpm_address_text};
use anyhow::Context as _;
use clap::Args;
use countersign_platform::policy::ReleaseKey;
use countersign_platform::processor::{Places, Processor as _, ReportData};
use countersign_platform::{Profile, Survey, TpmAddress, TpmError};
use countersign_policies::site::settings::Settings;
use countersign_verify::text::neutralize;
use countersign_verify::trust::Trust;
use rustix::fs::{Access, access};
use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The exit code for a file of the command line that cannot be read.
const USAGE: u8 = 2;

/// Say what is missing on this machine, and what to do. Changes nothing.
#[derive(Debug, Args)]
pub(super) struct Doctor {
    #[command(flatten)]
    site: SiteArgument,
    /// State directory of the gateway; without it nothing is said about keys, log and room.
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Trust file of whoever verifies: how far the machine's TCB is from its floor.
    #[arg(long, value_name = "FILE")]
    trust: Option<PathBuf>,
    /// Print the findings as JSON ("doctor": 1).
    #[arg(long)]
    json: bool,
}

impl Doctor {
    pub(super) fn run(self) -> ExitCode {
        match self.looked() {
            Ok(code) => ExitCode::from(code),
            Err(error) => {
                let text = neutralize(&format!("{error:#}"));
                // Nothing is left to do if standard error is gone.
                let _ = writeln!(std::io::stderr(), "countersign: {text}");
                ExitCode::from(USAGE)
            }
        }
    }

    fn looked(self) -> anyhow::Result<u8> {
        let trust = self.trust.as_deref().map(read_trust).transpose()?;
        let report = look(&self.site.site, self.state.as_deref(), trust.as_ref());
        let text = if self.json {
            report.to_json()?
        } else {
            report.to_text()
        };
        std::io::stdout().write_all(text.as_bytes())?;
        Ok(report.exit_code())
    }
}

fn read_trust(path: &Path) -> anyhow::Result<(String, Trust)> {
    let shown = path.display().to_string();
    let bytes = fs::read(path).with_context(|| shown.clone())?;
    let trust = Trust::parse(&bytes).with_context(|| shown.clone())?;
    Ok((shown, trust))
}

/// Looks at everything.
fn look(directory: &Path, state: Option<&Path>, trust: Option<&(String, Trust)>) -> Report {
    let now = Clock::start().now().at;
    let site = site::site(directory, now);
    let state = state.map(site::state);
    let running = state.as_ref().map(|s| s.running);
    let asked = ask(site.settings.as_ref(), running);
    let survey = asked.survey();
    let places = Places::default();
    let machine = places.machine();
    let alone = asked.without_tpm(machine);
    let profile = survey.map(|s| s.detected).or(alone).map(|d| d.profile);
    let mut found = site.findings;
    if alone.is_some() {
        let release = found.iter_mut().filter(|f| f.code == Code::SiteRelease);
        // Without a TPM nothing is sealed under it, and a start does not look for it.
        release.for_each(|f| *f = Code::SiteRelease.ok("not needed: there is no TPM"));
    }
    let mut sealed = false;
    match state {
        Some(state) => {
            sealed = state.sealed;
            found.push(state.keys(survey));
            found.extend(state.findings);
        }
        None => found.extend(site::no_state()),
    }
    found.extend(tpm::findings(
        &asked,
        site.release.as_ref(),
        sealed,
        machine,
    ));
    found.extend(machine::findings(&this_machine(), profile));
    let collateral = Collateral::read(directory).map_err(|e| format!("{e:#}"));
    let report = survey.and_then(|s| s.paravisor.as_ref().ok());
    let processor = trust.and_then(|_| report_of(&places, profile));
    found.extend(vendors::findings(&Vendors {
        profile,
        paravisor: report.and_then(Option::as_deref),
        processor: processor.as_ref(),
        collateral: collateral.as_ref().map_err(Clone::clone),
        trust,
        now,
    }));
    Report::of(found)
}

/// A report of the processor, on platforms where the gateway asks it. It is over nothing, and the kernel keeps nothing of it.
fn report_of(places: &Places, profile: Option<Profile>) -> Option<Result<Vec<u8>, String>> {
    match profile? {
        Profile::Tpm | Profile::Swtpm | Profile::AzureSnp | Profile::AzureTdx => return None,
        Profile::Snp | Profile::Tdx | Profile::GcpSnp | Profile::GcpTdx => {}
    }
    let report = places.processor()?.report(ReportData([0; 64]));
    Some(report.map(|r| r.bytes).map_err(|e| e.to_string()))
}

/// Asks the TPM that the settings name, unless a gateway has it for itself; `running` if that is known.
fn ask(settings: Option<&Settings>, running: Option<bool>) -> Asked {
    let Some(settings) = settings else {
        return Asked::NoAddress;
    };
    // The settings' parser has been over it; one that this program cannot read has the address of nothing.
    let Ok(address) = tpm_address(&settings.tpm) else {
        return Asked::NoAddress;
    };
    let shown = tpm_address_text(&address);
    let alone = matches!(address, TpmAddress::Tcp { .. });
    if alone && running == Some(true) {
        return Asked::Held { address: shown };
    }
    let key = ReleaseKey::parse(&settings.release.key).ok();
    match Survey::of(&address, key.as_ref()) {
        Ok(survey) => Asked::Found {
            address: shown,
            survey: Box::new(survey),
        },
        Err(TpmError::Transport {
            cause: ErrorKind::WouldBlock | ErrorKind::TimedOut,
            ..
        }) if alone && running.is_none() => Asked::Busy { address: shown },
        Err(error) => Asked::Failed {
            address: shown,
            error,
        },
    }
}

/// What of this machine could report beside the TPM.
fn this_machine() -> Machine {
    let tsm = Path::new("/sys/kernel/config/tsm/report");
    let there = |path: &str| Path::new(path).exists();
    let mut providers = Vec::new();
    // Entries are other programs'; making one would change something.
    for entry in fs::read_dir(tsm).into_iter().flatten().flatten() {
        if let Ok(provider) = fs::read_to_string(entry.path().join("provider")) {
            providers.push(provider.trim().to_owned());
        }
    }
    providers.sort_unstable();
    providers.dedup();
    Machine {
        kernel: rustix::system::uname()
            .release()
            .to_string_lossy()
            .into_owned(),
        configfs: is_configfs(),
        tsm: tsm.is_dir(),
        may_make_entries: access(tsm, Access::WRITE_OK).is_ok(),
        providers,
        sev_guest: there("/dev/sev-guest"),
        may_open_sev_guest: access("/dev/sev-guest", Access::READ_OK | Access::WRITE_OK).is_ok(),
        tdx_guest: there("/dev/tdx_guest"),
    }
}

/// Whether configfs is mounted where it belongs.
fn is_configfs() -> bool {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    mounts.lines().any(|line| {
        let mut words = line.split(' ').skip(1);
        (words.next(), words.next()) == (Some("/sys/kernel/config"), Some("configfs"))
    })
}

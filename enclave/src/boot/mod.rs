//! From a machine to an open epoch, or to a gateway that is held.
//!
//! ```text
//! site → TPM → vault (unseal) → log (checked, folded) → witnesses asked → counter
//!      → opening (durable) → increment → evidence → base → enrol, change → settle what was open
//!      → first renewal → serve
//! ```
//!
//! The first renewal moves the counter before the first call is served. So an opening that came
//! to nothing explains exactly one step of the counter, and that no call was served in it; an
//! operator who restores the disk to an opening, after calls were served, is found out.
//!
//! [`vault`] has the sealed keys, [`ledger`] what the log says about counter and bundle,
//! [`epoch`] the opening of an epoch, [`platform`] what stands beside its evidence on confidential machines, [`held`] what happens instead, [`adopted`] the logs of
//! gateways whose work this one continues, which are read before its own.

pub mod adopted;
pub mod epoch;
pub mod held;
pub mod ledger;
pub mod platform;
pub mod vault;

use crate::azure::HostQuotes;
use crate::boot::adopted::Adopted;
use crate::clock::Clock;
use crate::ring::{Parts, StorageRing};
use crate::site::{SiteDir, StateDir, StateFile};
use anyhow::Context as _;
use countersign_gateway::state::State;
use countersign_journal::{Found, Journal, Limits, Options};
use countersign_platform::processor::{Places, Processor};
use countersign_platform::{
    Attester, Beside, Detected, Profile, Tpm, TpmAddress, TpmAttester, TpmError,
};
use countersign_policies::bundle::{Bundle, Pins};
use countersign_policies::site::settings::Settings;
use countersign_record::digest::{ArtifactDigest, GatewayId, PublicKey};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vault::Vault;

/// A machine whose keys are open and whose log is read; no epoch is open yet.
pub struct Opened {
    /// Settings.
    pub settings: Settings,
    /// Digest of the settings' file.
    pub configuration: ArtifactDigest,
    /// The signed bundle, and its file's bytes.
    pub bundle: (Bundle, Vec<u8>),
    /// The platform.
    pub attester: Arc<TpmAttester>,
    /// The TPM behind it.
    pub tpm: Tpm,
    /// The gateway's keys.
    pub vault: Arc<Vault>,
    /// The log.
    pub journal: Arc<Journal>,
    /// What was found in it.
    pub found: Found,
    /// What the log says about counter, enrolment and bundle.
    pub ledger: ledger::Ledger,
    /// What the log means for calls.
    pub state: State,
    /// Logs of gateways whose work this one continues.
    pub adopted: Vec<Adopted>,
    /// Clocks.
    pub clock: Arc<Clock>,
    /// State directory.
    pub state_dir: StateDir,
    /// The release policy in force.
    pub release: countersign_platform::policy::ReleasePolicy,
    /// The storage key, by version.
    pub ring: StorageRing,
    /// The site directory, where paths of the settings begin.
    pub site: PathBuf,
}

/// Where a boot finds its things.
#[derive(Debug, Clone)]
pub struct Place<'a> {
    /// The site directory.
    pub site: &'a Path,
    /// The state directory.
    pub state: &'a Path,
    /// A TPM other than the settings' (development only: a software TPM that was just started).
    pub tpm: Option<TpmAddress>,
    /// The platform profile that somebody asks for; never more than what is found.
    pub platform: Option<Profile>,
}

impl Opened {
    /// The gateway.
    #[must_use]
    pub fn gateway(&self) -> GatewayId {
        self.vault.identity().gateway()
    }

    /// The identity key.
    #[must_use]
    pub fn identity(&self) -> PublicKey {
        self.vault.identity()
    }
}

/// A machine whose keys are open; no log is read yet.
pub struct Unsealed {
    /// Settings.
    pub settings: Settings,
    /// Digest of the settings' file.
    pub configuration: ArtifactDigest,
    /// The signed bundle, and its file's bytes.
    pub bundle: (Bundle, Vec<u8>),
    /// The TPM.
    pub tpm: Tpm,
    /// The gateway's keys.
    pub vault: Arc<Vault>,
    /// State directory.
    pub state_dir: StateDir,
    /// The release policy in force.
    pub release: countersign_platform::policy::ReleasePolicy,
}

/// Opens the keys, or makes them on a first start.
///
/// # Errors
/// What is missing or refused, or that another process has the log.
pub fn unseal(place: &Place<'_>) -> anyhow::Result<Unsealed> {
    let site = SiteDir::new(place.site);
    let (settings, configuration) = site.settings()?;
    let bundle = site.bundle(&Pins::of_settings(&settings))?;
    let release = site.release()?;
    let state_dir = StateDir::open(place.state)?;
    let log = state_dir.file(StateFile::Log);
    // A TPM may have one client at a time: whoever has the log has the TPM too, and waiting for it would not say so.
    Journal::refuse_if_in_use(&log).context("the log cannot be opened")?;
    let address = place
        .tpm
        .clone()
        .map_or_else(|| crate::site::tpm_address(&settings.tpm), Ok)?;
    let tpm = open_tpm(address, &Places::default())?;
    let vault = Arc::new(Vault::open(&tpm, &release, &settings, &state_dir)?);
    Ok(Unsealed {
        settings,
        configuration,
        bundle,
        tpm,
        vault,
        state_dir,
        release,
    })
}

/// Opens the TPM. A machine without one whose processor reports is named, and refused: without a TPM that lasts nothing here
/// keeps keys, and nobody certifies the counter.
fn open_tpm(address: TpmAddress, places: &Places) -> anyhow::Result<Tpm> {
    let error = match Tpm::open(address.clone()) {
        Ok(tpm) => return Ok(tpm),
        Err(error) => error,
    };
    let missing = matches!(
        &error,
        TpmError::Unreachable {
            cause: ErrorKind::NotFound,
            ..
        }
    );
    let alone = Profile::without_tpm(places.machine());
    let alone = alone.filter(|_| missing && matches!(address, TpmAddress::Device(_)));
    let error = anyhow::Error::new(error);
    Err(match alone {
        Some(Detected { profile, why }) => error.context(format!(
            "platform {profile}: {why}; this version serves on no platform without a TPM that lasts, since keys, log and \
             counter would end with each boot: use a machine with one (Azure, Google Cloud, or hardware)"
        )),
        None => error.context("the TPM cannot be used"),
    })
}

/// Opens keys and log; changes nothing but what a first start makes.
///
/// # Errors
/// What is missing, refused, or not as it was written.
pub fn open(place: &Place<'_>) -> anyhow::Result<Opened> {
    let Unsealed {
        settings,
        configuration,
        bundle,
        tpm,
        vault,
        state_dir,
        release,
    } = unseal(place)?;
    let log = state_dir.file(StateFile::Log);
    let clock = Arc::new(Clock::start());
    let ring = StorageRing::open(Parts {
        tpm: tpm.clone(),
        release: release.clone(),
        vault: Arc::clone(&vault),
        recovery: settings.recovery,
        state: state_dir.clone(),
    })?;
    let mut state = State::new(vault.identity().gateway());
    let adopted = adopted::open(&state_dir, &vault, settings.governance, &mut state)?;
    let mut ledger = ledger::Ledger::new(vault.counter_at_creation());
    let options = Options {
        identity: vault.identity(),
        ring: ring.keys()?,
        limits: Limits::default(),
    };
    let (journal, found) = Journal::open(&log, options, &mut |entry, disclosures| {
        let opened = if ledger::concerns_calls(entry.body()) {
            disclosures.read().map_err(|e| e.to_string())?
        } else {
            Vec::new()
        };
        ledger.apply(entry)?;
        state.apply(entry, &opened);
        clock.not_before(entry.place().at);
        Ok(())
    })
    .context("the log cannot be opened")?;
    // What an erasure had begun when the process ended is completed before anything else happens.
    ring.finish(&journal)?;
    ledger.forbid_downgrade(&bundle.0)?;
    adopted::expect_all(&ledger, &adopted)?;
    let attester = TpmAttester::new(tpm.clone(), release.clone(), place.platform)?;
    let attester = Arc::new(attester.beside(beside()));
    let Detected { profile, why } = tpm.identity().detected;
    tracing_line(&format!("platform {profile}: {why}"));
    if attester.profile() != profile {
        tracing_line(&format!("--platform has it claim {}", attester.profile()));
    }
    if settings.profiles != bundle.0.content().head.profiles {
        tracing_line(
            "the profiles in countersign.toml are not those of the signed bundle, which count",
        );
    }
    Ok(Opened {
        settings,
        configuration,
        bundle,
        attester,
        tpm,
        vault,
        journal: Arc::new(journal),
        found,
        ledger,
        state,
        adopted,
        clock,
        state_dir,
        release,
        ring,
        site: place.site.to_owned(),
    })
}

/// What this machine has that reports beside its TPM.
fn beside() -> Beside {
    let processor = Places::default().processor();
    Beside {
        processor: processor.map(|p| -> Arc<dyn Processor> { Arc::new(p) }),
        quotes: Some(Arc::new(HostQuotes::default())),
    }
}

/// One line of the gateway's log. It leaves the enclave, so it is public: no arguments, results, tokens or names.
pub(crate) fn tracing_line(line: &str) {
    eprintln!("countersign: {line}");
    crate::telemetry::line(line);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_a_tpm_whose_processor_reports_is_refused_by_name() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        let places = Places {
            configfs: at("config"),
            sev_guest: at("sev-guest"),
            tdx_guest: at("tdx_guest"),
            product: at("product_name"),
        };
        let open = |address: TpmAddress| {
            let opened = open_tpm(address, &places);
            format!("{:#}", opened.map(|_| ()).unwrap_err())
        };
        let device = || TpmAddress::Device(at("tpmrm0"));
        let plain = open(device());
        assert!(plain.starts_with("the TPM cannot be used"), "{plain}");
        std::fs::write(at("tdx_guest"), "").unwrap();
        let tdx = open(device());
        assert!(tdx.starts_with("platform tdx: there is no TPM"), "{tdx}");
        std::fs::write(at("sev-guest"), "").unwrap();
        let snp = open(device());
        assert!(snp.starts_with("platform snp: there is no TPM"), "{snp}");
        assert!(
            snp.contains("no platform without a TPM that lasts"),
            "{snp}"
        );
        // A software TPM that was configured and does not run is another matter.
        let tcp = open(TpmAddress::Tcp {
            host: "127.0.0.1".to_owned(),
            port: 1,
        });
        assert!(tcp.starts_with("the TPM cannot be used"), "{tcp}");
    }
}

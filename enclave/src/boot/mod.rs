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
//! A machine without a TPM whose processor reports has a shorter way: keys are made and not unsealed, the log is new, and its
//! count begins ([`crate::keeper`]); each start is a gateway of its own, and takes calls once it is enrolled ([`crate::enrolment`]).
//!
//! [`vault`] has the gateway's keys, [`ledger`] what the log says about counter and bundle,
//! [`epoch`] the opening of an epoch, [`platform`] its evidence, [`held`] what happens instead, [`adopted`] the logs of
//! gateways whose work this one continues, which are read before its own, [`boots`] those of earlier starts without a TPM.

pub mod adopted;
pub mod boots;
pub mod epoch;
pub mod held;
pub mod ledger;
pub mod platform;
pub mod vault;

use crate::azure::HostQuotes;
use crate::boot::adopted::Adopted;
use crate::boot::boots::Boots;
use crate::boot::platform::Platform;
use crate::clock::Clock;
use crate::keeper::{InMemory, InTpm, Keeper};
use crate::output;
use crate::ring::{Parts, StorageRing};
use crate::site::{SiteDir, StateDir, StateFile};
use anyhow::{Context as _, bail};
use countersign_gateway::state::State;
use countersign_journal::{Alone, Found, Journal, Limits, Options};
use countersign_platform::policy::ReleaseKey;
use countersign_platform::processor::{Places, Processor};
use countersign_platform::{
    Beside, Detected, ProcessorAttester, Profile, Tpm, TpmAddress, TpmAttester,
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
    pub platform: Platform,
    /// What the gateway's count and its storage rest on.
    pub keeper: Arc<dyn Keeper>,
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
    /// Where this gateway's own files are.
    pub state_dir: StateDir,
    /// Where people put what they signed for it: the state directory that was named.
    pub people: StateDir,
    /// Logs of earlier starts, where each start is a gateway of its own.
    pub earlier: Option<Boots>,
    /// The release key, whose word unseals keys where a TPM keeps them.
    pub release_key: ReleaseKey,
    /// Name of the TPM's attestation key; empty where there is no TPM.
    pub attestation_key: Vec<u8>,
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
/// What is missing or refused, or that another process has the log; on a machine without a TPM, that keys there are made by
/// `serve` and live in it alone.
pub fn unseal(place: &Place<'_>) -> anyhow::Result<Unsealed> {
    let (settings, _) = SiteDir::new(place.site).settings()?;
    if let Some((Detected { profile, why }, _)) = alone(&address(place, &settings)?, &places()) {
        bail!(
            "platform {profile}: {why}; keys live for one boot, in the gateway that serves: start it, and enrol it by the \
             enrol-request.cbor that it writes; it continues no other gateway's work"
        );
    }
    unseal_in_tpm(place)
}

/// Where the TPM is, by the settings or by whoever starts.
fn address(place: &Place<'_>, settings: &Settings) -> anyhow::Result<TpmAddress> {
    place
        .tpm
        .clone()
        .map_or_else(|| crate::site::tpm_address(&settings.tpm), Ok)
}

/// This machine's devices.
fn places() -> Places {
    Places::default()
}

/// The processor on which a gateway stands by itself: the TPM's device is not there, and one of a processor that reports is.
/// Whoever takes the TPM away gets another gateway, which nobody has enrolled, under a profile that says so.
fn alone(address: &TpmAddress, places: &Places) -> Option<(Detected, Arc<dyn Processor>)> {
    let TpmAddress::Device(path) = address else {
        // A software TPM that was asked for and does not run is another matter.
        return None;
    };
    match path.symlink_metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Ok(_) | Err(_) => return None,
    }
    let detected = Profile::without_tpm(places.machine())?;
    Some((detected, Arc::new(places.processor()?)))
}

fn unseal_in_tpm(place: &Place<'_>) -> anyhow::Result<Unsealed> {
    let site = SiteDir::new(place.site);
    let (settings, configuration) = site.settings()?;
    let bundle = site.bundle(&Pins::of_settings(&settings))?;
    let release = site.release()?;
    let state_dir = StateDir::open(place.state)?;
    let log = state_dir.file(StateFile::Log);
    // A TPM may have one client at a time: whoever has the log has the TPM too, and waiting for it would not say so.
    Journal::refuse_if_in_use(&log).context("the log cannot be opened")?;
    let tpm = Tpm::open(address(place, &settings)?).context("the TPM cannot be used")?;
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

/// What a gateway stands on, before its log is read.
struct Footing {
    settings: Settings,
    configuration: ArtifactDigest,
    bundle: (Bundle, Vec<u8>),
    platform: Platform,
    /// What was found, and why it is that.
    detected: Detected,
    keeper: Arc<dyn Keeper>,
    vault: Arc<Vault>,
    state_dir: StateDir,
    people: StateDir,
    earlier: Option<Boots>,
    release_key: ReleaseKey,
    attestation_key: Vec<u8>,
}

impl Footing {
    fn of(place: &Place<'_>) -> anyhow::Result<Self> {
        let (settings, _) = SiteDir::new(place.site).settings()?;
        match alone(&address(place, &settings)?, &places()) {
            Some((detected, processor)) => Self::on_processor(place, detected, processor),
            None => Self::on_tpm(place),
        }
    }

    fn on_tpm(place: &Place<'_>) -> anyhow::Result<Self> {
        let Unsealed {
            settings,
            configuration,
            bundle,
            tpm,
            vault,
            state_dir,
            release,
        } = unseal_in_tpm(place)?;
        let attester = TpmAttester::new(tpm.clone(), release.clone(), place.platform)?;
        let attester = Arc::new(attester.beside(beside()));
        let identity = tpm.identity();
        Ok(Self {
            settings,
            configuration,
            bundle,
            platform: Platform::new(attester, place.site.to_owned()),
            detected: identity.detected,
            attestation_key: identity.attestation_key.name.to_vec(),
            release_key: release.release_key,
            keeper: Arc::new(InTpm::new(tpm, release)),
            vault,
            people: state_dir.clone(),
            state_dir,
            earlier: None,
        })
    }

    /// Everything that lasts no longer than this process.
    fn on_processor(
        place: &Place<'_>,
        detected: Detected,
        processor: Arc<dyn Processor>,
    ) -> anyhow::Result<Self> {
        let site = SiteDir::new(place.site);
        let (settings, configuration) = site.settings()?;
        let bundle = site.bundle(&Pins::of_settings(&settings))?;
        let attester = Arc::new(ProcessorAttester::new(processor, place.platform)?);
        let platform = Platform::new(attester, place.site.to_owned());
        // ORDER: a start that cannot show evidence leaves nothing behind.
        platform.later([0; 32])?;
        let people = StateDir::open(place.state)?;
        let boots = Boots::open(&people)?;
        let keeper: Arc<dyn Keeper> = Arc::new(InMemory::default());
        let vault = Arc::new(Vault::for_one_boot(keeper.as_ref())?);
        if boots.count() > 0 {
            tracing_line(&format!(
                "logs of {} earlier boots are kept; what they say of stops, approvals, budgets and idempotency keys is not \
                 known to this one",
                boots.count()
            ));
        }
        Ok(Self {
            platform,
            detected,
            keeper,
            state_dir: boots.begin(vault.identity().gateway())?,
            vault,
            people,
            earlier: Some(boots),
            release_key: ReleaseKey::parse(&settings.release.key)?,
            attestation_key: Vec::new(),
            settings,
            configuration,
            bundle,
        })
    }
}

/// Opens keys and log; changes nothing but what a first start makes.
///
/// # Errors
/// What is missing, refused, or not as it was written.
pub fn open(place: &Place<'_>) -> anyhow::Result<Opened> {
    let Footing {
        settings,
        configuration,
        bundle,
        platform,
        detected: Detected { profile, why },
        keeper,
        vault,
        state_dir,
        people,
        earlier,
        release_key,
        attestation_key,
    } = Footing::of(place)?;
    let log = state_dir.file(StateFile::Log);
    let clock = Arc::new(Clock::start());
    let ring = StorageRing::open(Parts {
        keeper: Arc::clone(&keeper),
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
        alone: Alone::on_this_machine(),
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
    tracing_line(&format!("platform {profile}: {why}"));
    if platform.profile() != profile {
        tracing_line(&format!("--platform has it claim {}", platform.profile()));
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
        platform,
        keeper,
        vault,
        journal: Arc::new(journal),
        found,
        ledger,
        state,
        adopted,
        clock,
        state_dir,
        people,
        earlier,
        release_key,
        attestation_key,
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
    output::line(format_args!("countersign: {line}"));
    crate::telemetry::line(line);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_stands_on_the_processor_alone_where_the_tpms_device_is_not_there() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        let places = Places {
            configfs: at("config"),
            sev_guest: at("sev-guest"),
            tdx_guest: at("tdx_guest"),
            product: at("product_name"),
        };
        let device = TpmAddress::Device(at("tpmrm0"));
        let found = |address: &TpmAddress| alone(address, &places).map(|(found, _)| found.profile);
        // Nobody reports.
        assert_eq!(found(&device), None);
        std::fs::write(at("tdx_guest"), "").unwrap();
        assert_eq!(found(&device), Some(Profile::Tdx));
        std::fs::write(at("sev-guest"), "").unwrap();
        assert_eq!(found(&device), Some(Profile::Snp));
        // A software TPM that was configured and does not run.
        let tcp = TpmAddress::Tcp {
            host: "127.0.0.1".to_owned(),
            port: 1,
        };
        assert_eq!(found(&tcp), None);
        // A TPM is there, whatever comes of it: a link that leads nowhere, too.
        std::os::unix::fs::symlink(at("nowhere"), at("tpmrm0")).unwrap();
        assert_eq!(found(&device), None);
    }
}

//! `countersign collateral …`: what vendors say of a machine's platform.
//!
//! In: files of vendors, or a report of the machine. Out: `collateral/` of a site. Only `pull` asks a network, and only the
//! vendors' services.

use super::SiteArgument;
use crate::azure::HostQuotes;
use crate::clock::Clock;
use crate::collateral::Collateral;
use crate::pull::{Judge, Network, Services, Shown, pull};
use crate::site::{SiteDir, tpm_address};
use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use countersign_platform::processor::{Places, Processor as _, ReportData};
use countersign_platform::{Profile, Quotes as _, Survey};
use countersign_verify::trust::Trust;
use std::fs;
use std::path::{Path, PathBuf};

/// Keep certificates and lists of hardware vendors, which go into the evidence of each opening.
#[derive(Debug, Subcommand)]
pub(crate) enum CollateralCommand {
    /// Take files in: certificates (DER, PEM, the host's table), revocation lists, answers of Intel's service.
    Import {
        #[command(flatten)]
        site: SiteArgument,
        /// Files; what each holds shows in its content.
        #[arg(required = true, value_name = "FILE")]
        file: Vec<PathBuf>,
    },
    /// Fetch what belongs to this machine from its processor's vendor. It replaces what is there once it was appraised.
    Pull(Pull),
    /// Show what a site has.
    List {
        #[command(flatten)]
        site: SiteArgument,
    },
}

impl CollateralCommand {
    pub(super) fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Import { site, file } => {
                for kind in Collateral::import(&site.site, &file)? {
                    println!("kept    {kind}");
                }
                println!("goes into the next opening: restart the gateway");
                Ok(())
            }
            Self::Pull(pull) => pull.run(),
            Self::List { site } => {
                let collateral = Collateral::read(&site.site)?;
                let mut any = false;
                for (kind, bytes) in collateral.iter() {
                    any = true;
                    println!("{kind}  {} bytes", bytes.len());
                }
                if !any {
                    println!("none in {}", Collateral::directory(&site.site).display());
                }
                Ok(())
            }
        }
    }
}

/// Fetch collateral.
#[derive(Debug, Args)]
pub(crate) struct Pull {
    #[command(flatten)]
    site: SiteArgument,
    /// A report of the machine whose collateral is wanted: an SEV-SNP report, a TDX quote, or a paravisor's report. Left out:
    /// this machine is asked.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// PEM file of certificates that those of services over https must lead to, such as the system's own collection.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// AMD's key server, or one of yours that speaks as it does.
    #[arg(long, value_name = "URL", default_value = "https://kdsintf.amd.com")]
    amd: String,
    /// Intel's service of collateral, or one of yours that speaks as it does (PCCS).
    #[arg(
        long,
        value_name = "URL",
        default_value = "https://api.trustedservices.intel.com"
    )]
    intel: String,
    /// The revocation list of Intel's root, with its path.
    #[arg(
        long,
        value_name = "URL",
        default_value = "https://certificates.trustedservices.intel.com/IntelSGXRootCA.der"
    )]
    intel_root_crl: String,
    /// Trust file of whoever verifies: its roots count, and what breaks its rules is said. Left out: the vendors' own roots.
    #[arg(long, value_name = "FILE")]
    trust: Option<PathBuf>,
}

impl Pull {
    fn run(self) -> anyhow::Result<()> {
        let site = &self.site.site;
        let mut kept = Collateral::read(site)?;
        let shown = match &self.report {
            Some(path) => {
                let name = path.display().to_string();
                let bytes = fs::read(path).with_context(|| name.clone())?;
                Shown::read(&bytes).context(name)?
            }
            None => this_machine(site, &mut kept)?,
        };
        let trust = self.trust.as_deref().map(read_trust).transpose()?;
        let net = Network {
            ca: self.ca.as_deref(),
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?,
        };
        let services = Services {
            amd: self.amd.trim_end_matches('/'),
            intel: self.intel.trim_end_matches('/'),
            intel_root_crl: &self.intel_root_crl,
        };
        let judge = Judge {
            trust: trust.as_ref(),
            now: Clock::start().now().at,
        };
        let pulled = pull(&net, services, &shown, &kept, &judge)?;
        Collateral::keep(site, &pulled.endorsed)?;
        for kind in pulled.endorsed.keys() {
            println!("kept    {kind}");
        }
        for broken in &pulled.against {
            println!("against {broken}");
        }
        println!("goes into the next opening: restart the gateway");
        Ok(())
    }
}

fn read_trust(path: &Path) -> anyhow::Result<(String, Trust)> {
    let name = path.display().to_string();
    let bytes = fs::read(path).with_context(|| name.clone())?;
    let trust = Trust::parse(&bytes).with_context(|| name.clone())?;
    Ok((name, trust))
}

/// What this machine says of its processor: by the TPM's paravisor, or the processor itself, whose host may give certificates.
fn this_machine(site: &Path, kept: &mut Collateral) -> anyhow::Result<Shown> {
    let (settings, _) = SiteDir::new(site).settings()?;
    let surveyed = Survey::of(&tpm_address(&settings.tpm)?, None);
    let detected = surveyed.as_ref().ok().map(|survey| survey.detected);
    match (detected.map(|d| d.profile), surveyed) {
        (Some(Profile::AzureSnp), Ok(survey)) => {
            let report = survey
                .paravisor?
                .context("the paravisor's report is gone")?;
            Shown::in_paravisor(&report)
        }
        (Some(Profile::AzureTdx), Ok(survey)) => {
            let report = survey
                .paravisor?
                .context("the paravisor's report is gone")?;
            let of_domain = report.get(32..).and_then(|rest| rest.get(..1024));
            let of_domain = of_domain.context("the paravisor's report is too short")?;
            Ok(Shown::Tdx(HostQuotes::default().quote(of_domain)?))
        }
        (_, surveyed) => {
            let Some(processor) = Places::default().processor() else {
                let seen = match surveyed {
                    Ok(survey) => format!("{}: {}", survey.detected.profile, survey.detected.why),
                    Err(error) => error.to_string(),
                };
                bail!(
                    "this machine has no processor that reports, so it needs no collateral ({seen}); name another machine's \
                     report with --report"
                );
            };
            let report = processor.report(ReportData([0; 64]))?;
            if let Err(error) = kept.take_host_table(&report.host_table) {
                println!("the host's certificates are left aside: {error}");
            }
            Shown::read(&report.bytes)
        }
    }
}

//! `countersign collateral …`: what vendors say of a machine's platform.
//!
//! In: files of vendors. Out: `collateral/` of a site. Works without a network, so it serves sites that have none.

use super::SiteArgument;
use crate::collateral::Collateral;
use clap::Subcommand;
use std::path::PathBuf;

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

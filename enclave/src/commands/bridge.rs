//! `countersign bridge`: what an MCP client starts instead of a server.

use super::appraise::{Trusted, sentence};
use crate::bridge::{self, Trusting, Way};
use crate::keys::{make_signing_key, read_signing_key};
use crate::output;
use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Serve MCP over stdio, and pass each message on to a gateway as a signed request.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct Bridge {
    #[command(subcommand)]
    what: Option<What>,
    /// The gateway with the path of a server, such as https://gateway.example:8480/mcp/customers.
    #[arg(long, value_name = "URL", required = true)]
    gateway: Option<String>,
    /// Key file of the agent; nobody else may be able to read it.
    #[arg(long, value_name = "FILE", required = true)]
    key: Option<PathBuf>,
    /// PEM file of certificates that the gateway's own must lead to; needed for https.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    #[command(flatten)]
    trusted: Trusted,
    /// Speak in the clear, to a gateway on this machine alone: for development.
    #[arg(long, conflicts_with_all = ["ca", "trust"])]
    plain_http: bool,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make a key file for an agent, and say what the gateway's site needs to know of it.
    Keygen {
        /// File to make; there must be none yet.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

impl Bridge {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let Self {
            what,
            gateway,
            key,
            ca,
            trusted,
            plain_http,
        } = self;
        if let Some(What::Keygen { file }) = what {
            let public = make_signing_key(&file)?;
            println!("in agents/<name>.toml of the gateway's site:");
            println!("key = \"{public}\"");
            println!("(key id {})", public.id());
            return Ok(());
        }
        let (Some(gateway), Some(key)) = (gateway, key) else {
            bail!("--gateway and --key are needed");
        };
        let key = read_signing_key(&key)?;
        let trusting = if plain_http {
            Trusting::Loopback
        } else {
            let trust = trusted.read();
            let trust = trust.context("the bridge speaks to nobody whom it cannot appraise")?;
            Trusting::Evidence(Box::new(trust))
        };
        let way = Way::new(&gateway, ca, trusting, key, |counterpart| {
            output::line(format_args!(
                "countersign bridge: {}",
                sentence(counterpart)
            ));
        })?;
        if plain_http {
            output::line(
                "countersign bridge: in the clear on this machine: nothing vouches for the gateway",
            );
        }
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?
            .block_on(bridge::run(way))
    }
}

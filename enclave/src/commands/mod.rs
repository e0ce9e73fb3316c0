//! The command line.
//!
//! | command | who runs it | what it does |
//! |---|---|---|
//! | `init` | anyone, once | makes a site that runs, with development keys |
//! | `bundle …` | policy authors and signers | builds, signs, checks, explains the policy bundle |
//! | `release sign` | the vendor | approves what may unseal |
//! | `enrol …` | operator, then governance | makes a gateway one of the fleet |
//! | `collateral …` | operator | keeps what hardware vendors say of the machine |
//! | `doctor` | operator | says what is missing on this machine |
//! | `serve` | operator | runs the gateway |
//! | `recover …` | governance | lets a held gateway go on |
//! | `adopt …` | governance, the recovery key's holder, then operator | lets a gateway continue the work of one that is gone |
//! | `recovery-key …` | the recovery key's holder | makes the key, and tries whether it opens a gateway's wrap |
//! | `approve …` | approvers | lists, shows and answers actions that wait |
//! | `appraise` | clients | says which gateway is at an address, by its evidence and the very connection |
//! | `bridge` | agents | an MCP server over stdio, whose every message goes to a gateway, signed |
//! | `export` | exporters | fetches the log |
//! | `top` | people of group `operator` | shows where the time of calls goes |
//! | `replay` | auditors, policy authors | runs the gateway's stages again on what an export recorded |
//! | `metrics` | auditors, operators | computes from an export how the controls worked |
//! | `sandbox-exec` | the gateway | confines itself and becomes an upstream's program |
//! | `tools …` | people of group `operator` | shows tools that changed, and pins what was seen |
//! | `erase` | people of group `privacy` | has values destroyed |
//! | `hold …` | people of group `legal` | has values kept |
//! | `stop`, `resume`, `stops` | people of group `stop` | stops calls at once, and lets them go on |
//! | `dev`, `swtpm` | developers | everything on a software TPM, which vouches for nothing |
//!
//! `bundle`, `enrol` and `adopt` also work detached: `digest` prints what to sign, `attach` takes the signature.

mod adopt;
mod appraise;
mod approve;
mod bridge;
mod bundle;
mod client;
mod collateral;
mod dev;
mod doctor;
mod enrol;
mod export;
mod init;
mod metrics;
mod privacy;
mod recovery;
mod release;
mod replay;
mod sandbox;
mod serve;
mod stop;
mod tools;
mod top;

use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// Countersign: a gateway between AI agents and their tools, whose decisions anyone can check.
#[derive(Debug, Parser)]
#[command(name = "countersign", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a site directory that runs, with development keys.
    Init(init::Init),
    /// Build, sign, check and explain the policy bundle.
    #[command(subcommand)]
    Bundle(bundle::Bundle),
    /// Approve what a release boots to, so that its keys unseal.
    #[command(subcommand)]
    Release(release::Release),
    /// Make a gateway one of a customer's fleet.
    #[command(subcommand)]
    Enrol(enrol::Enrol),
    /// Let a held gateway go on, by the governance key.
    #[command(subcommand)]
    Recover(enrol::Recover),
    /// Let a gateway continue the work of one that is gone.
    #[command(subcommand)]
    Adopt(adopt::Adopt),
    /// Make and try the key that recovers stored values when a machine is gone.
    #[command(subcommand)]
    RecoveryKey(recovery::RecoveryKeyCommand),
    /// Keep certificates and lists of hardware vendors, which go into the evidence of each opening.
    #[command(subcommand)]
    Collateral(collateral::CollateralCommand),
    /// Say what is missing on this machine, and what to do. Changes nothing.
    Doctor(doctor::Doctor),
    /// Run the gateway.
    Serve(serve::Serve),
    /// Run everything on a private software TPM. For development: no hardware vouches for it.
    Dev(dev::Dev),
    /// Run a software TPM in the foreground. For development: it vouches for nothing.
    Swtpm(serve::SoftwareTpm),
    /// Say which gateway is at an address, by its evidence and this very connection.
    Appraise(appraise::Appraise),
    /// Serve MCP over stdio for any client, and pass each message on to a gateway as a signed request.
    Bridge(bridge::Bridge),
    /// List, show and answer actions that wait for a person.
    #[command(subcommand)]
    Approve(approve::Approve),
    /// Fetch the log as one file that `countersign-verify` checks.
    Export(export::Export),
    /// Show where the time of calls goes: ours beside the upstream's, by capability.
    Top(top::Top),
    /// Run the gateway's stages again on what an export recorded, and compare; also with another bundle.
    Replay(replay::Replay),
    /// Compute from an export how the controls worked.
    Metrics(metrics::Metrics),
    /// Confine this process and become a program. The gateway runs it; nobody else has to.
    SandboxExec(sandbox::SandboxExec),
    /// See which tools changed, and pin what you have seen.
    #[command(subcommand)]
    Tools(tools::Tools),
    /// Have values destroyed, of a subject, a call or named entries.
    Erase(privacy::Erase),
    /// Place, lift and list legal holds.
    #[command(subcommand)]
    Hold(privacy::HoldCommand),
    /// Stop calls at once: an agent's, a capability's, a tenant's, or all.
    Stop(stop::Order),
    /// Let stopped calls go on.
    Resume(stop::Resume),
    /// List the stops in force.
    Stops(stop::Listing),
}

/// A site directory.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct SiteArgument {
    /// Site directory.
    #[arg(long, value_name = "DIR")]
    pub(crate) site: PathBuf,
}

/// The exit code for a command line that cannot be read. For `replay` 2 means something else.
#[must_use]
pub fn unreadable(arguments: &[std::ffi::OsString]) -> ExitCode {
    match arguments.get(1).and_then(|a| a.to_str()) {
        Some("replay") => ExitCode::from(replay::USAGE),
        Some(_) | None => ExitCode::from(2),
    }
}

/// Runs a command; its exit code.
///
/// # Errors
/// Whatever keeps the command from doing what it says.
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Replay(command) => return Ok(command.run()),
        Command::Doctor(command) => return Ok(command.run()),
        Command::SandboxExec(command) => return Ok(command.run()),
        Command::Init(command) => command.run(),
        Command::Bundle(command) => command.run(),
        Command::Release(command) => command.run(),
        Command::Enrol(command) => command.run(),
        Command::Recover(command) => command.run(),
        Command::Adopt(command) => command.run(),
        Command::RecoveryKey(command) => command.run(),
        Command::Collateral(command) => command.run(),
        Command::Serve(command) => command.run(),
        Command::Dev(command) => command.run(),
        Command::Swtpm(command) => command.run(),
        Command::Appraise(command) => command.run(),
        Command::Bridge(command) => command.run(),
        Command::Approve(command) => command.run(),
        Command::Export(command) => command.run(),
        Command::Top(command) => command.run(),
        Command::Metrics(command) => command.run(),
        Command::Erase(command) => command.run(),
        Command::Hold(command) => command.run(),
        Command::Stop(command) => command.run(),
        Command::Resume(command) => command.run(),
        Command::Stops(command) => command.run(),
        Command::Tools(command) => command.run(),
    }
    .map(|()| ExitCode::SUCCESS)
}

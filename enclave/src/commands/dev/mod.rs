//! `countersign dev`: everything on a private software TPM, for development.
//!
//! | module | what it does |
//! |---|---|
//! | [`server`] | the server that a developer names, and the tools that it lists |
//! | [`confine`] | a sandbox for its program |
//! | [`draft`] | from those to a site that can be tried |
//! | [`show`] | what the developer is told |
//!
//! In: a server's command or address, or a site with development keys. Out: a running gateway in front of it, and at the
//! end its record with the files to check it. It needs no rights that its developer does not have.
//! No evidence of it looks like hardware: the platform says that it is software, and the verifier's first line does.

mod confine;
mod draft;
mod server;
mod show;

use super::init::release_key;
use super::serve::{Around, serve};
use crate::boot::epoch::build_digest;
use crate::boot::{self, Place};
use crate::export::{self, Opening, Plan, Selection, Source};
use crate::keys::{make_signing_key, random, read_signing_key, sign_statement, write_secret};
use crate::serve::Gateway;
use crate::site::{SiteDir, StateFile, write_release};
use anyhow::{Context as _, bail, ensure};
use clap::Args;
use countersign_platform::recovery::RecoveryKey;
use countersign_platform::swtpm::Swtpm;
use countersign_platform::{PcrSet, Profile, Tpm, TpmAddress};
use countersign_policies::site::profiles::EVERYTHING;
use countersign_record::cbor::{Bytes, Cbor as _};
use countersign_record::digest::TenantId;
use countersign_record::statement::{FLEET_TYP, FleetMember, FleetStatement};
use countersign_signatures::token::TokenHash;
use draft::{Draft, Keys, Reached, draft};
use server::Server;
use show::{Output, Ready};
use std::collections::BTreeSet;
use std::fs;
use std::io::{IsTerminal as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Where a gateway for development listens, unless somebody else does.
const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8480);

/// Run everything on a private software TPM.
#[derive(Debug, Args)]
pub(crate) struct Dev {
    /// Site directory with its development keys, as `countersign init` makes it.
    #[arg(
        long,
        value_name = "DIR",
        requires = "state",
        conflicts_with_all = ["url", "keep", "name", "listen", "permit", "sandbox", "command"]
    )]
    site: Option<PathBuf>,
    /// State directory; the software TPM's state is kept there too.
    #[arg(long, value_name = "DIR", requires = "site")]
    state: Option<PathBuf>,
    /// An MCP server that runs already, over HTTP on this machine.
    #[arg(long, value_name = "URL", conflicts_with = "command")]
    url: Option<String>,
    /// Directory to make, for site, keys, state and record; a temporary one by default.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// What the server is called here; guessed from the command by default.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Socket address to listen on: a loopback address.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Let calls of this tool through, whatever it says of itself. May be given several times.
    #[arg(long, value_name = "TOOL")]
    permit: Vec<String>,
    /// Confine the program: it reads itself and the system's programs, changes the directories that its command names, and
    /// has no network. The profile is a file of the site.
    #[arg(long, conflicts_with = "url")]
    sandbox: bool,
    /// The command that starts an MCP server on its standard streams, after `--`.
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

impl Dev {
    pub(super) fn run(self) -> anyhow::Result<()> {
        if let (Some(site), Some(state)) = (&self.site, &self.state) {
            let around = Around {
                ready: &|_| (),
                ended: &|_| Ok(()),
            };
            return on_a_software_tpm(site, state, around);
        }
        let name = self.name.as_deref();
        let server = match (&self.url, self.command.as_slice()) {
            (Some(url), _) => Server::at(url, name)?,
            (None, []) => bail!(
                "say which MCP server: countersign dev -- COMMAND, or --url URL; or --site and --state of a site"
            ),
            (None, command) => Server::of_command(command, name)?,
        };
        self.try_out(&server)
    }

    /// A site for one server, a gateway in front of it, and at the end its record.
    fn try_out(&self, server: &Server) -> anyhow::Result<()> {
        // ORDER: before anything is made. What is missing most often is said first.
        ensure_software_tpm()?;
        let tools = super::client::block_on(server.tools())?;
        let permitted: BTreeSet<String> = self.permit.iter().cloned().collect();
        let listed = |tool: &&String| tools.iter().all(|t| t.name() != tool.as_str());
        if let Some(unknown) = permitted.iter().find(listed) {
            bail!("--permit {unknown}: the server lists no such tool");
        }
        let directory = made(self.keep.as_deref())?;
        let site = directory.join("site");
        let (keys, token) = make_keys(&site.join("keys"), self.listen)?;
        let profile = match &server.reached {
            Reached::Program {
                program, arguments, ..
            } if self.sandbox => {
                let user = rustix::process::getuid().as_raw();
                Some(confine::profile(&server.name, program, arguments, user))
            }
            Reached::Program { .. } | Reached::Url(_) => None,
        };
        let Draft { files, tools } = draft(
            (&server.name, &server.reached, profile),
            &keys,
            &tools,
            &permitted,
        );
        for (path, text) in files {
            let path = site.join(path);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        let output = if std::io::stdout().is_terminal() {
            Output::Terminal
        } else {
            Output::File
        };
        say(&show::tools(&server.name, &tools, output));
        let around = Around {
            ready: &|url| {
                say(&show::ready(&Ready {
                    url,
                    name: &server.name,
                    token: &token,
                    tools: &tools,
                    directory: &directory,
                    output,
                }));
            },
            ended: &|gateway| {
                write_record(gateway, &directory)?;
                say(&show::ended(&directory, output));
                Ok(())
            },
        };
        on_a_software_tpm(&site, &directory.join("state"), around)
    }
}

/// Writes to standard output. A reader that is gone does not stop a gateway.
fn say(text: &str) {
    let mut out = std::io::stdout();
    let _gone = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// Says so at once if there is no software TPM, and how to get one.
fn ensure_software_tpm() -> anyhow::Result<()> {
    let version = std::process::Command::new("swtpm")
        .arg("--version")
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status();
    ensure!(
        version.is_ok(),
        "swtpm is not installed, and a gateway cannot do without a TPM. Debian and Ubuntu: apt-get install swtpm. \
         Fedora: dnf install swtpm. Arch: pacman -S swtpm. It needs no root once it is there"
    );
    Ok(())
}

/// A new directory that is its owner's alone.
fn made(keep: Option<&Path>) -> anyhow::Result<PathBuf> {
    let directory = match keep {
        Some(directory) if directory.join("site").exists() => bail!(
            "{0} is there already. Go on with it: countersign dev --site {0}/site --state {0}/state",
            directory.display()
        ),
        Some(directory) => std::path::absolute(directory)?,
        None => {
            let name = format!("countersign-dev-{}", hex::encode(*random::<4>()?));
            std::env::temp_dir().join(name)
        }
    };
    fs::DirBuilder::new()
        .recursive(keep.is_some())
        .mode(0o700)
        .create(&directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    Ok(directory)
}

/// All keys of a site for development, and the client's token.
fn make_keys(
    directory: &Path,
    listen: Option<SocketAddr>,
) -> anyhow::Result<(Keys, Zeroizing<String>)> {
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    let file = |name: &str| directory.join(name);
    let recovery = random::<32>()?;
    write_secret(
        &file("recovery.key"),
        &format!("{}\n", hex::encode(*recovery)),
    )?;
    let token = Zeroizing::new(hex::encode(*random::<32>()?));
    write_secret(&file("client.token"), &format!("{}\n", *token))?;
    let keys = Keys {
        tenant: TenantId(*random::<16>()?),
        listen: address(listen)?.to_string(),
        release: release_key(&file("release.key"))?.to_sec1(),
        governance: make_signing_key(&file("governance.key"))?,
        bundle: make_signing_key(&file("bundle.key"))?,
        recovery: RecoveryKey::of(&recovery).0,
        token: *TokenHash::of(&token)?.as_bytes(),
        person: make_signing_key(&file("you.key"))?,
    };
    Ok((keys, token))
}

/// Where to listen: as asked, or at the usual place, or where there is room.
fn address(asked: Option<SocketAddr>) -> anyhow::Result<SocketAddr> {
    let Some(asked) = asked else {
        let free = TcpListener::bind(LISTEN)
            .or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
            .context("no port of 127.0.0.1 is free")?;
        return Ok(free.local_addr()?);
    };
    ensure!(
        asked.ip().is_loopback(),
        "--listen {asked}: dev speaks plain HTTP, so it listens on loopback only"
    );
    Ok(asked)
}

/// Writes the whole log of a gateway that has stopped, and what checks it.
fn write_record(gateway: &Gateway, directory: &Path) -> anyhow::Result<()> {
    let content = gateway.engine.content();
    let profile = content
        .profile(EVERYTHING)
        .context("there is no profile that opens everything")?;
    let whole = Selection {
        tenant: None,
        run: None,
        period: None,
    };
    let source = || Source::of(gateway, None).context("the gateway has no log");
    let plan = Plan::make(source()?, whole, Opening::of(&profile, None)?)?;
    let partial = directory.join("record.partial");
    let mut file = fs::File::create(&partial).with_context(|| partial.display().to_string())?;
    let mut sink = |bytes: Vec<u8>| {
        file.write_all(&bytes)
            .map_err(|_| export::ExportFault::Gone)
    };
    export::write(source()?, &plan, &mut sink).context("the record cannot be written")?;
    file.sync_all()?;
    fs::rename(&partial, directory.join("record.cbor"))?;
    write_auditors_files(directory)
}

/// Trust and reference files for trying: whoever writes them for oneself shows nobody anything.
fn write_auditors_files(directory: &Path) -> anyhow::Result<()> {
    const NOTE: &str =
        "# Written by `countersign dev` about itself, for trying. An auditor writes their own.\n";
    let site = SiteDir::new(&directory.join("site"));
    let (settings, configuration) = site.settings()?;
    let signers: Vec<String> = settings
        .bundle
        .signers
        .iter()
        .map(ToString::to_string)
        .collect();
    let trust = format!(
        "{NOTE}version = 1\n[governance]\nkeys = [\"{}\"]\n[bundles]\nsigners = {signers:?}\nthreshold = {}\n\
         [evidence]\naccept = [\"software\"]   # no hardware vouches for this\n",
        settings.governance, settings.bundle.threshold
    );
    let mut reference = format!(
        "{NOTE}version = 1\nbuild = [\"{}\"]\nconfiguration = [\"{configuration}\"]\n[pcrs]\n",
        build_digest()?
    );
    for (register, value) in site.release()?.pcrs.iter() {
        reference.push_str(&format!("{register} = [\"{}\"]\n", hex::encode(value)));
    }
    for (name, text) in [("trust.toml", trust), ("reference.toml", reference)] {
        let path = directory.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Signs bundle and release, enrols the gateway once, and serves.
fn on_a_software_tpm(site: &Path, state: &Path, around: Around<'_>) -> anyhow::Result<()> {
    let tpm = Swtpm::start(&state.join("swtpm"))?;
    let address = tpm.address();
    let directory = SiteDir::new(site);
    prepare(&directory, &address)?;
    let place = Place {
        site,
        state,
        tpm: Some(address),
        platform: None,
    };
    enrol_here(&directory, &place)?;
    serve(&place, around)
}

/// Builds and signs with the development keys whatever is not there yet.
fn prepare(site: &SiteDir, address: &TpmAddress) -> anyhow::Result<()> {
    let keys = site.path().join("keys");
    fs::create_dir_all(site.path().join("build"))?;
    let parsed = site.parse()?;
    let mut bundle = countersign_policies::Bundle::build(&parsed)?;
    let key = read_signing_key(&keys.join("bundle.key"))?;
    bundle.sign(crate::keys::public(&key), |message| {
        use ed25519_dalek::Signer as _;
        countersign_record::digest::Signature(key.sign(message).to_bytes())
    })?;
    fs::write(site.bundle_file(), bundle.to_bytes())?;
    let tpm = Tpm::open(address.clone())?;
    anyhow::ensure!(
        tpm.identity().detected.profile == Profile::Swtpm,
        "dev runs on a software TPM only"
    );
    let secret = p256::SecretKey::from_slice(
        crate::keys::read_secret(&keys.join("release.key"))?.as_slice(),
    )?;
    let sequence = parsed.settings.release.sequence;
    let policy = super::release::approve(&secret, tpm.pcrs(PcrSet::PROFILE)?, sequence)?;
    fs::write(site.release_file(), write_release(&policy))?;
    Ok(())
}

/// Enrols this gateway as the only one of a fleet named `dev`, once.
fn enrol_here(site: &SiteDir, place: &Place<'_>) -> anyhow::Result<()> {
    let opened = boot::open(place)?;
    if opened.ledger.fleet.is_some() || opened.state_dir.read(StateFile::Fleet)?.is_some() {
        return Ok(());
    }
    let issued = opened.clock.now().at;
    let member = FleetMember {
        gateway: opened.gateway(),
        name: "dev".to_owned(),
        from: issued,
        until: None,
        ak_name: Some(Bytes(opened.attestation_key.clone())),
    };
    let statement = FleetStatement {
        fleet: "dev".to_owned(),
        number: 1,
        issued,
        members: vec![member],
    };
    let key = read_signing_key(&governance_key(site.path()))?;
    opened.state_dir.write(
        StateFile::Fleet,
        &sign_statement(&key, FLEET_TYP, statement.to_bytes()),
    )
}

fn governance_key(site: &Path) -> PathBuf {
    site.join("keys").join("governance.key")
}

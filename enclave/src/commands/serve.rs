//! `countersign serve`, `dev` and `swtpm`.

use crate::boot::{self, Opened, Place, tracing_line};
use crate::keys::{read_signing_key, sign_statement};
use crate::serve::{Gateway, run};
use crate::site::{SiteDir, StateFile, tpm_address_text, write_release};
use crate::transport::Transport;
use crate::witnesses;
use anyhow::Context as _;
use clap::Args;
use countersign_platform::swtpm::Swtpm;
use countersign_platform::{PcrSet, Profile, Tpm, TpmAddress};
use countersign_record::cbor::{Bytes, Cbor as _};
use countersign_record::statement::{FLEET_TYP, FleetMember, FleetStatement};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Run the gateway.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Site directory.
    #[arg(long)]
    site: PathBuf,
    /// State directory; a gateway keeps its sealed keys and its log there.
    #[arg(long)]
    state: PathBuf,
}

impl Serve {
    pub(super) fn run(self) -> anyhow::Result<()> {
        serve(&Place {
            site: &self.site,
            state: &self.state,
            tpm: None,
        })
    }
}

fn serve(place: &Place<'_>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let mut opened = boot::open(place)?;
    let listen = opened.settings.listen.address();
    // ORDER: before an epoch is opened that could serve nobody.
    let transport = Transport::open(&opened.settings.listen, place.site).context("[tls]")?;
    if countersign_platform::Attester::profile(opened.attester.as_ref()) == Profile::Swtpm {
        tracing_line("on a software TPM: no hardware vouches for this gateway");
    }
    // ORDER: before anything is opened that a witness would have to explain.
    let asked = runtime.block_on(witnesses::ask(&opened));
    let epoch = boot::epoch::begin(&mut opened, &asked)?;
    if let Err(held) = &epoch {
        tracing_line(&held.to_string());
        tracing_line("see recover-request.cbor in the state directory and `countersign recover`");
    }
    announce(&opened);
    let (gateway, mut renewer) = Gateway::new(opened, epoch, asked, transport)?;
    if let Some(renewer) = &mut renewer {
        // ORDER: the first renewal moves the counter before the first call is served.
        renewer.renew().context("the first renewal failed")?;
    }
    let gateway = Arc::new(gateway);
    runtime.block_on(async {
        let listener = TcpListener::bind(listen)
            .await
            .with_context(|| format!("cannot listen on {listen}"))?;
        // ORDER: before anybody is told that we are there, so that whoever says stop is heard.
        let stop = stop_signal()?;
        let word = if gateway.held.is_some() {
            "held"
        } else {
            "ready"
        };
        println!(
            "{word} {}{} gateway {}",
            gateway.transport.prefix(),
            listener.local_addr()?,
            gateway.id
        );
        run(gateway, renewer, listener, stop).await
    })
}

fn announce(opened: &Opened) {
    let found = &opened.found;
    tracing_line(&format!("gateway {}", opened.gateway()));
    tracing_line(&format!(
        "log has {} entries; {}",
        found.head.size,
        if found.created {
            "it is new"
        } else if opened.ledger.closed {
            "its last epoch was closed"
        } else {
            "its last epoch was not closed"
        }
    ));
}

/// Says `true` on SIGTERM or SIGINT.
fn stop_signal() -> anyhow::Result<watch::Receiver<bool>> {
    let (say, hear) = watch::channel(false);
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        tokio::select! { _ = term.recv() => (), _ = int.recv() => () }
        tracing_line("stopping");
        // Nobody listens only if the gateway has stopped already.
        let _unheard = say.send(true);
        // Keeps the channel open, so that the word stays said.
        say.closed().await;
    });
    Ok(hear)
}

/// Run a software TPM in the foreground.
#[derive(Debug, Args)]
pub(crate) struct SoftwareTpm {
    /// Directory of its state, made if it is missing.
    #[arg(long)]
    dir: PathBuf,
    /// TCP port on 127.0.0.1; the next one is used too. Any free pair by default.
    #[arg(long)]
    port: Option<u16>,
}

impl SoftwareTpm {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let tpm = match self.port {
            Some(port) => Swtpm::start_at(&self.dir, port)?,
            None => Swtpm::start(&self.dir)?,
        };
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?
            .block_on(async {
                let mut stop = stop_signal()?;
                println!("ready {}", tpm_address_text(&tpm.address()));
                let _gone = stop.wait_for(|stopped| *stopped).await;
                anyhow::Ok(())
            })
    }
}

/// Run everything on a private software TPM.
#[derive(Debug, Args)]
pub(crate) struct Dev {
    /// Site directory with its development keys, as `countersign init` makes it.
    #[arg(long)]
    site: PathBuf,
    /// State directory; the software TPM's state is kept there too.
    #[arg(long)]
    state: PathBuf,
}

impl Dev {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let tpm = Swtpm::start(&self.state.join("swtpm"))?;
        let address = tpm.address();
        let site = SiteDir::new(&self.site);
        prepare(&site, &address)?;
        let place = Place {
            site: &self.site,
            state: &self.state,
            tpm: Some(address),
        };
        enrol_here(&site, &place)?;
        serve(&place)
    }
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
        tpm.identity().profile == Profile::Swtpm,
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
        ak_name: Some(Bytes(opened.tpm.identity().attestation_key.name.to_vec())),
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

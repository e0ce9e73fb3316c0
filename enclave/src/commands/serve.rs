//! `countersign serve` and `swtpm`.

use crate::boot::{self, Opened, Place, tracing_line};
use crate::output;
use crate::serve::{Gateway, run};
use crate::site::tpm_address_text;
use crate::transport::Transport;
use crate::witnesses;
use anyhow::Context as _;
use clap::Args;
use countersign_platform::Profile;
use countersign_platform::swtpm::Swtpm;
use std::path::PathBuf;
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
    /// Claim this platform profile, and no other than what is found: tpm, swtpm, snp, tdx, azure-snp, azure-tdx, gcp-snp or
    /// gcp-tdx. `swtpm` claims less on every machine with a TPM; nothing claims more.
    #[arg(long, value_name = "PROFILE")]
    platform: Option<Profile>,
}

impl Serve {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let place = Place {
            site: &self.site,
            state: &self.state,
            tpm: None,
            platform: self.platform,
        };
        serve(
            &place,
            Around {
                ready: &|_| (),
                ended: &|_| Ok(()),
            },
        )
    }
}

/// What a command adds to serving.
#[derive(Clone, Copy)]
pub(super) struct Around<'a> {
    /// Is told the gateway's address, once it takes requests.
    pub(super) ready: &'a dyn Fn(&str),
    /// Is given the gateway once it has stopped.
    pub(super) ended: &'a dyn Fn(&Gateway) -> anyhow::Result<()>,
}

/// Boots the gateway and serves until it is told to stop.
pub(super) fn serve(place: &Place<'_>, around: Around<'_>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let mut opened = boot::open(place)?;
    let listen = opened.settings.listen.address();
    // ORDER: before an epoch is opened that could serve nobody.
    let transport = Transport::open(&opened.settings.listen, place.site).context("[tls]")?;
    if opened.platform.profile() == Profile::Swtpm {
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
        let gateway = Arc::clone(&gateway);
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
        let url = format!("{}{}", gateway.transport.prefix(), listener.local_addr()?);
        output::word(format_args!("{word} {url} gateway {}", gateway.id));
        (around.ready)(&url);
        run(gateway, renewer, listener, stop).await
    })?;
    (around.ended)(&gateway)
}

fn announce(opened: &Opened) {
    let found = &opened.found;
    tracing_line(&format!("gateway {}", opened.gateway()));
    tracing_line(&format!(
        "log has {} entries; {}",
        found.head.size,
        if found.head.size == 0 {
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
                output::word(format_args!("ready {}", tpm_address_text(&tpm.address())));
                let _gone = stop.wait_for(|stopped| *stopped).await;
                anyhow::Ok(())
            })
    }
}

//! The command line. The only place that reads the clock.

use crate::config::Config;
use crate::door::{Witness, router};
use crate::store::Store;
use anyhow::{Context as _, bail};
use clap::{Args, Parser, Subcommand};
use countersign_record::digest::PublicKey;
use countersign_record::note::{Note, NoteKey, Role, UnixSeconds};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// A witness of logs: cosigns one history of each.
#[derive(Debug, Parser)]
#[command(name = "countersign-witness", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a witness: its key and its file. Prints the text that others configure it by.
    Init(Init),
    /// Tell the witness of a log. It counts from the next start.
    AddLog(AddLog),
    /// Print what was signed last, of each log.
    List(List),
    /// Run the witness.
    Serve(Serve),
}

#[derive(Debug, Args)]
struct Init {
    /// Directory to make.
    #[arg(long)]
    dir: PathBuf,
    /// Name that stands in its signatures, such as auditor.example/w1.
    #[arg(long)]
    name: String,
    /// Socket address to listen on.
    #[arg(long, default_value = "127.0.0.1:8490")]
    listen: SocketAddr,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// Identity key of a Countersign gateway, 64 hexadecimal digits; its log is named after it.
    #[arg(long)]
    identity: Option<String>,
    /// Key of any log: <name>+<key hash>+<base64>.
    #[arg(long)]
    key: Option<String>,
}

#[derive(Debug, Args)]
struct AddLog {
    /// Directory of the witness.
    #[arg(long)]
    dir: PathBuf,
    #[command(flatten)]
    which: Which,
    /// First line of the log's checkpoints. Default: the name of the key.
    #[arg(long)]
    origin: Option<String>,
}

#[derive(Debug, Args)]
struct List {
    /// Directory of the witness.
    #[arg(long)]
    dir: PathBuf,
}

#[derive(Debug, Args)]
struct Serve {
    /// Directory of the witness.
    #[arg(long)]
    dir: PathBuf,
}

/// Runs a command.
///
/// # Errors
/// Why it could not be done.
pub fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Init(init) => {
            let witness = Config::make(&init.dir, &init.name, init.listen)?;
            println!("{witness}");
            Ok(())
        }
        Command::AddLog(add) => add_log(add),
        Command::List(list) => print_list(&list),
        Command::Serve(serve) => serve_from(&serve),
    }
}

fn add_log(add: AddLog) -> anyhow::Result<()> {
    let AddLog { dir, which, origin } = add;
    let key = match (which.identity, which.key) {
        (Some(identity), None) => {
            let key = PublicKey::from_hex(&identity)
                .context("--identity is not 64 hexadecimal digits")?;
            let name = countersign_record::checkpoint::origin(&key.gateway());
            NoteKey::new(&name, Role::Log, key)?
        }
        (None, Some(text)) => NoteKey::parse(&text).context("--key")?,
        (Some(_), Some(_)) | (None, None) => bail!("give either --identity or --key"),
    };
    let origin = origin.unwrap_or_else(|| key.name().to_owned());
    Config::add_log(&dir, &origin, &key)?;
    println!("{origin}");
    Ok(())
}

fn print_list(list: &List) -> anyhow::Result<()> {
    let config = Config::read(&list.dir)?;
    let store = Store::look(&list.dir);
    println!("witness {}", config.witness);
    for origin in config.logs.keys() {
        let last = match store.last(origin)? {
            Some(kept) => {
                let note = Note::parse(kept.note.as_bytes())?;
                let line = note.lines().iter().find(|l| l.is_of(&config.witness));
                let time = line.and_then(|l| l.cosignature().ok());
                format!(
                    "size {} root {} signed at {} s",
                    kept.head.size,
                    kept.head.root,
                    time.map_or(0, |c| c.time.0)
                )
            }
            None => "nothing signed yet".to_owned(),
        };
        let conflict = if store.has_conflict(origin) {
            "; TWO HISTORIES: see `conflict` beside its checkpoint"
        } else {
            ""
        };
        println!("{origin}: {last}{conflict}");
    }
    Ok(())
}

fn serve_from(serve: &Serve) -> anyhow::Result<()> {
    let config = Config::read(&serve.dir)?;
    let store = Store::open(&serve.dir)?;
    let (listen, name) = (config.listen, config.witness.to_string());
    let logs = config.logs.len();
    let witness = Arc::new(Witness::new(config, store, Box::new(now))?);
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(async {
            let listener = TcpListener::bind(listen)
                .await
                .with_context(|| format!("cannot listen on {listen}"))?;
            let mut term = signal(SignalKind::terminate())?;
            let mut int = signal(SignalKind::interrupt())?;
            println!(
                "ready http://{} witness {name} logs {logs}",
                listener.local_addr()?
            );
            axum::serve(listener, router(witness))
                .with_graceful_shutdown(async move {
                    tokio::select! { _ = term.recv() => (), _ = int.recv() => () }
                })
                .await?;
            anyhow::Ok(())
        })
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the clock"
)]
fn now() -> UnixSeconds {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    // A clock before 1970 says nothing; 0 is refused by whoever compares it with a log's times.
    UnixSeconds(since.map_or(0, |d| d.as_secs()))
}

//! `countersign adopt …`: one gateway continues the work of another, which is gone.
//!
//! Four people, who need not trust each other's machines:
//!
//! 1. the operator copies the old log to the new machine (`enrol request --adopt`),
//! 2. governance reads what was found, and signs (`adopt sign`, and `enrol sign`),
//! 3. the holder of the recovery key wraps the old storage key for the new gateway (`adopt storage`),
//! 4. the operator puts both in place (`adopt install`), and starts the gateway, which checks it all.
//!
//! Each command prints what it is about, line by line, as a protocol to keep; with `--dry-run` it
//! does all of its work and writes nothing.

use super::recovery::read_wrap;
use crate::adoption::{AdoptRequest, HandOver, SignedAdoptRequest};
use crate::boot::Unsealed;
use crate::boot::adopted::statement as verified;
use crate::enrolment::EnrolRequest;
use crate::keys::{public, random, read_secret, read_signing_key, sign_statement};
use crate::site::{StateDir, StateFile};
use anyhow::{Context as _, bail};
use clap::{Subcommand, ValueEnum};
use countersign_journal::{Archive, KeyRing};
use countersign_platform::recovery::EphemeralSeed;
use countersign_record::binding::LogHead;
use countersign_record::cbor::Cbor as _;
use countersign_record::cose::{Sign1, Unsigned};
use countersign_record::digest::{GatewayId, PublicKey, Signature};
use countersign_record::statement::{ADOPT_TYP, AdoptStatement, Stored};
use std::fs;
use std::path::{Path, PathBuf};

/// What governance says of the old log's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Values {
    /// The recovery key makes them readable.
    Recovered,
    /// Nobody can read them any more: the new gateway does not know which calls must not be repeated.
    Lost,
}

impl Values {
    fn stored(self) -> Stored {
        match self {
            Self::Recovered => Stored::Recovered,
            Self::Lost => Stored::Lost,
        }
    }
}

/// Let a gateway continue the work of one that is gone.
#[derive(Debug, Subcommand)]
pub(crate) enum Adopt {
    /// With the governance key: show what was found of the old log, and sign that the gateway continues it.
    Sign {
        /// The gateway's request, made with `enrol request --adopt`.
        #[arg(long)]
        request: PathBuf,
        /// The governance key's file.
        #[arg(long)]
        key: PathBuf,
        /// Why, in words; it stands in the log.
        #[arg(long)]
        reason: String,
        /// What became of the old log's values.
        #[arg(long, value_enum, default_value = "recovered")]
        values: Values,
        /// File to write.
        #[arg(long)]
        out: PathBuf,
        /// Show everything and write nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Print the bytes that the governance key signs, and keep the statement for `attach`.
    Digest {
        /// The unsigned statement to write.
        #[arg(long)]
        out: PathBuf,
        /// The gateway's request, made with `enrol request --adopt`.
        #[arg(long)]
        request: PathBuf,
        /// Why, in words; it stands in the log.
        #[arg(long)]
        reason: String,
        /// What became of the old log's values.
        #[arg(long, value_enum, default_value = "recovered")]
        values: Values,
        /// The governance key's public half, 64 hexadecimal digits.
        #[arg(long)]
        public_key: String,
    },
    /// Join a statement and a signature that was made elsewhere.
    Attach {
        /// The unsigned statement.
        #[arg(long)]
        statement: PathBuf,
        /// The governance key's public half, 64 hexadecimal digits.
        #[arg(long)]
        public_key: String,
        /// The signature, 128 hexadecimal digits.
        #[arg(long)]
        signature: String,
        /// File to write.
        #[arg(long)]
        out: PathBuf,
    },
    /// With the recovery key: wrap the old storage key for the gateway that governance named.
    Storage {
        /// The gateway's request.
        #[arg(long)]
        request: PathBuf,
        /// The signed adopt statement.
        #[arg(long)]
        statement: PathBuf,
        /// The governance key's public half, 64 hexadecimal digits, from your own records.
        #[arg(long)]
        governance: String,
        /// `storage.recovery` of the old state directory.
        #[arg(long)]
        wrap: PathBuf,
        /// The recovery key's file.
        #[arg(long)]
        key: PathBuf,
        /// File to write.
        #[arg(long)]
        out: PathBuf,
        /// Do everything and write nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// On the gateway: put statement and storage key in place; they are checked, and enter the log, at the next start.
    Install {
        /// State directory.
        #[arg(long)]
        state: PathBuf,
        /// The signed adopt statement.
        statement: PathBuf,
        /// What `adopt storage` wrote; needed unless the values are lost.
        #[arg(long)]
        storage: Option<PathBuf>,
        /// Show everything and write nothing.
        #[arg(long)]
        dry_run: bool,
    },
}

impl Adopt {
    pub(super) fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Sign {
                request,
                key,
                reason,
                values,
                out,
                dry_run,
            } => {
                let asked = adoption(&request)?;
                protocol_of_request(&asked);
                let statement = asked.statement(reason, values.stored(), now());
                protocol_of_statement(&statement);
                let key = read_signing_key(&key)?;
                let signed = sign_statement(&key, ADOPT_TYP, statement.to_bytes());
                println!("signed by     {}", public(&key).id());
                finish(dry_run, &out, &signed)
            }
            Self::Digest {
                out,
                request,
                reason,
                values,
                public_key,
            } => {
                let key = parse_key(&public_key)?;
                let asked = adoption(&request)?;
                protocol_of_request(&asked);
                let statement = asked.statement(reason, values.stored(), now());
                protocol_of_statement(&statement);
                let payload = statement.to_bytes();
                let unsigned = Unsigned::new(ADOPT_TYP, key.id(), payload.clone());
                println!("sign          {}", hex::encode(unsigned.to_be_signed()));
                Ok(fs::write(&out, payload)?)
            }
            Self::Attach {
                statement,
                public_key,
                signature,
                out,
            } => {
                let key = parse_key(&public_key)?;
                let signature = Signature::from_hex(&signature)
                    .context("signature is not 128 hexadecimal digits")?;
                let signed = Unsigned::new(ADOPT_TYP, key.id(), fs::read(&statement)?)
                    .with_signature(signature);
                verified(&signed, key)?;
                Ok(fs::write(&out, signed)?)
            }
            Self::Storage {
                request,
                statement,
                governance,
                wrap,
                key,
                out,
                dry_run,
            } => {
                let asked = adoption(&request)?;
                let signed =
                    fs::read(&statement).with_context(|| statement.display().to_string())?;
                let statement = verified(&signed, parse_key(&governance)?)?;
                protocol_of_request(&asked);
                protocol_of_statement(&statement);
                let hand_over = HandOver {
                    request: &asked,
                    statement: &statement,
                    wrap: &read_wrap(&wrap)?,
                };
                let seed = EphemeralSeed::new(random::<32>()?);
                let handed = hand_over.wrap(&read_secret(&key)?, seed)?;
                println!("wrapped for   {}", hex::encode(asked.transport));
                finish(dry_run, &out, &handed.to_bytes())
            }
            Self::Install {
                state,
                statement,
                storage,
                dry_run,
            } => install(&state, &statement, storage.as_deref(), dry_run),
        }
    }
}

/// Copies the old log into the gateway's own state directory, checks it, and signs what was found.
pub(super) fn request(unsealed: &Unsealed, old: &Path) -> anyhow::Result<SignedAdoptRequest> {
    let own = unsealed.vault.identity().gateway();
    let from = StateFile::Log.below(old);
    let fresh = unsealed.state_dir.file(StateFile::Adopting);
    if fresh.exists() {
        // A copy that was broken off; nothing refers to it.
        fs::remove_dir_all(&fresh).with_context(|| fresh.display().to_string())?;
    }
    let copy = StateDir::open(&fresh)?;
    Archive::copy(&from, &copy.file(StateFile::Log))
        .with_context(|| format!("the log in {} cannot be copied", from.display()))?;
    let predecessor = Archive::gateway_of(&copy.file(StateFile::Log))
        .context("the old log does not say whose it is")?;
    if predecessor == own {
        bail!("{} is this gateway's own state", old.display());
    }
    let mut asked = read_log(&copy, predecessor, unsealed)?;
    asked.left_behind = match fs::read_dir(StateFile::Adopted.below(old)) {
        Ok(entries) => u64::try_from(entries.count()).unwrap_or(u64::MAX),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => 0,
        Err(e) => return Err(e).with_context(|| old.display().to_string()),
    };
    let wrap = StateFile::Recovery.below(old);
    match fs::read(&wrap) {
        Ok(bytes) => copy.write(StateFile::Recovery, &bytes)?,
        // Then its values are lost, which governance has to say.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(e) => return Err(e).with_context(|| wrap.display().to_string()),
    }
    let adopted = StateDir::open(&unsealed.state_dir.file(StateFile::Adopted))?;
    let place = adopted.path().join(predecessor.to_string());
    if StateFile::Adopt.below(&place).exists() {
        bail!("gateway {predecessor} is adopted already");
    }
    if place.exists() {
        fs::remove_dir_all(&place).with_context(|| place.display().to_string())?;
    }
    fs::rename(&fresh, &place).with_context(|| place.display().to_string())?;
    protocol_of_request(&asked);
    Ok(asked.signed(|message| unsealed.vault.sign(message)))
}

/// Reads the whole copy by the rules for a log of one's own.
fn read_log(
    copy: &StateDir,
    predecessor: GatewayId,
    unsealed: &Unsealed,
) -> anyhow::Result<AdoptRequest> {
    let ring = KeyRing::without_keys();
    let log = copy.file(StateFile::Log);
    let (_, found) = Archive::open(&log, predecessor, ring, &mut |_, _| Ok(()))
        .context("the old log cannot be read")?;
    let last = found.last.context("the old log has no entries")?;
    Ok(AdoptRequest {
        gateway: unsealed.vault.identity().gateway(),
        predecessor,
        head: LogHead {
            size: found.head.size,
            root: found.head.root,
        },
        last: last.digest,
        last_at: last.at,
        closed: found.close.is_some(),
        open_calls: u64::try_from(found.open_intents.len()).unwrap_or(u64::MAX),
        transport: unsealed.vault.transport_key()?.public().0,
        left_behind: 0,
    })
}

fn adoption(path: &Path) -> anyhow::Result<AdoptRequest> {
    EnrolRequest::read(path)?
        .adoption()?
        .context("the request asks to adopt nothing; make one with `enrol request --adopt`")
}

fn install(
    state: &Path,
    statement: &Path,
    storage: Option<&Path>,
    dry_run: bool,
) -> anyhow::Result<()> {
    let signed = fs::read(statement).with_context(|| statement.display().to_string())?;
    // Whose word it is, is for the gateway to judge, at its start.
    let said = AdoptStatement::from_bytes(Sign1::parse(&signed)?.payload())
        .context("the adopt statement is malformed")?;
    protocol_of_statement(&said);
    let storage = match (said.stored, storage) {
        (Stored::Recovered, Some(path)) => {
            Some(fs::read(path).with_context(|| path.display().to_string())?)
        }
        (Stored::Recovered, None) => {
            bail!("the values were recovered; give --storage, as `adopt storage` wrote it")
        }
        (Stored::Lost, None) => None,
        (Stored::Lost, Some(_)) => {
            bail!("the statement says that the values are lost; --storage has no place")
        }
    };
    let place = StateDir::open(state)?.file(StateFile::Adopted);
    let place = place.join(said.predecessor.to_string());
    if !StateFile::Log.below(&place).is_dir() {
        bail!(
            "the log of gateway {} is not here; copy it with `enrol request --adopt`",
            said.predecessor
        );
    }
    let place = StateDir::open(&place)?;
    if place
        .read(StateFile::Adopt)?
        .is_some_and(|before| before != signed)
    {
        bail!(
            "gateway {} is adopted already, by another statement",
            said.predecessor
        );
    }
    if dry_run {
        println!("dry run: nothing was written");
        return Ok(());
    }
    if let Some(bytes) = storage {
        place.write(StateFile::AdoptStorage, &bytes)?;
    }
    // ORDER: the word last; with it the log counts.
    place.write(StateFile::Adopt, &signed)?;
    println!("installed; it enters the log at the next start");
    Ok(())
}

fn protocol_of_request(asked: &AdoptRequest) {
    let AdoptRequest {
        gateway,
        predecessor,
        head,
        last,
        last_at,
        closed,
        open_calls,
        transport: _,
        left_behind,
    } = asked;
    println!("gateway       {gateway}");
    println!("continues     {predecessor}");
    println!("its log       {} entries, root {}", head.size, head.root);
    println!("last entry    {last}, at {} ms (claimed)", last_at.0);
    if *closed {
        println!("its end       its last epoch was closed");
    } else {
        println!("its end       its last epoch was not closed");
    }
    println!(
        "lost tail     whatever it recorded after that entry is not in this copy, and is not continued"
    );
    println!(
        "open calls    {open_calls} sealed and never settled; they are never carried out again"
    );
    if *left_behind > 0 {
        println!(
            "LEFT BEHIND   {left_behind} logs that it had adopted itself; what they forbid to repeat is not known any more"
        );
    }
}

fn protocol_of_statement(said: &AdoptStatement) {
    let AdoptStatement {
        gateway,
        predecessor,
        head,
        last,
        reason,
        issued,
        stored,
    } = said;
    println!("statement     gateway {gateway} continues gateway {predecessor}");
    println!(
        "of            {} entries, root {}, last {last}",
        head.size, head.root
    );
    println!("reason        {reason}");
    println!("issued        {} ms", issued.0);
    match stored {
        Stored::Recovered => println!("values        recovered by the recovery key"),
        Stored::Lost => println!(
            "values        LOST: the gateway will not know which calls must not be repeated"
        ),
    }
}

fn finish(dry_run: bool, out: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    if dry_run {
        println!("dry run: nothing was written");
        return Ok(());
    }
    fs::write(out, bytes).with_context(|| out.display().to_string())?;
    println!("written       {}", out.display());
    Ok(())
}

fn parse_key(hex: &str) -> anyhow::Result<PublicKey> {
    PublicKey::from_hex(hex).context("public key is not 64 hexadecimal digits")
}

fn now() -> countersign_record::digest::UnixMillis {
    crate::clock::Clock::start().now().at
}

//! `witness.toml` and the key: who this witness is, and which logs it knows.
//!
//! In: a directory. Out: [`Config`], or what is wrong with it. Unknown keys are refused.
//!
//! ```toml
//! name = "witness.example/w1"             # stands in each of its signatures
//! key = "witness.key"                     # a file beside this one: 64 hexadecimal digits, mode 600
//! listen = "127.0.0.1:8490"
//!
//! [[logs]]
//! origin = "countersign/<gateway id>"     # first line of the log's checkpoints
//! keys = ["countersign/<gateway id>+<key hash>+<base64>"]
//! ```

use crate::protocol::Log;
use anyhow::{Context as _, bail, ensure};
use countersign_record::digest::PublicKey;
use countersign_record::note::{NoteKey, Role};
use ed25519_dalek::SigningKey;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Name of the file.
pub const CONFIG_FILE: &str = "witness.toml";

/// Name of the key's file that `init` makes.
pub const KEY_FILE: &str = "witness.key";

/// A witness as it is configured.
#[derive(Debug)]
pub struct Config {
    /// Its name and public key.
    pub witness: NoteKey,
    /// Its key.
    pub key: SigningKey,
    /// Where it listens.
    pub listen: SocketAddr,
    /// Logs that it knows, by origin.
    pub logs: BTreeMap<String, Log>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    key: String,
    listen: String,
    #[serde(default)]
    logs: Vec<LogTable>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct LogTable {
    origin: String,
    keys: Vec<String>,
}

fn read_file(directory: &Path) -> anyhow::Result<(PathBuf, File)> {
    let path = directory.join(CONFIG_FILE);
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let file = toml::from_str(&text).with_context(|| path.display().to_string())?;
    Ok((path, file))
}

impl Config {
    /// Reads the directory of a witness.
    ///
    /// # Errors
    /// What is missing or wrong.
    pub fn read(directory: &Path) -> anyhow::Result<Self> {
        let (
            path,
            File {
                name,
                key,
                listen,
                logs,
            },
        ) = read_file(directory)?;
        let shown = path.display();
        let key = read_key(&directory.join(key))?;
        let witness = NoteKey::new(&name, Role::Witness, public(&key))
            .with_context(|| format!("{shown}: name"))?;
        let mut known = BTreeMap::new();
        for table in logs {
            let log = log(&table).with_context(|| format!("{shown}: log {:?}", table.origin))?;
            let twice = known.insert(log.origin.clone(), log);
            ensure!(
                twice.is_none(),
                "{shown}: log {:?} stands twice",
                table.origin
            );
        }
        Ok(Self {
            witness,
            key,
            listen: listen
                .parse()
                .with_context(|| format!("{shown}: listen is {listen:?}"))?,
            logs: known,
        })
    }

    /// Makes the directory of a new witness; its name and public key.
    ///
    /// # Errors
    /// If there is one already, or the name cannot stand in a signature.
    pub fn make(directory: &Path, name: &str, listen: SocketAddr) -> anyhow::Result<NoteKey> {
        let path = directory.join(CONFIG_FILE);
        ensure!(!path.exists(), "{} is there already", path.display());
        NoteKey::new(name, Role::Witness, PublicKey([0; 32])).context("--name")?;
        fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
        let mut seed = Zeroizing::new([0u8; 32]);
        getrandom::fill(seed.as_mut())
            .map_err(|e| anyhow::anyhow!("no random bytes from the system: {e}"))?;
        write_secret(
            &directory.join(KEY_FILE),
            &Zeroizing::new(format!("{}\n", hex::encode(*seed))),
        )?;
        let file = File {
            name: name.to_owned(),
            key: KEY_FILE.to_owned(),
            listen: listen.to_string(),
            logs: Vec::new(),
        };
        write(&path, &file)?;
        let key = SigningKey::from_bytes(&seed);
        Ok(NoteKey::new(name, Role::Witness, public(&key))?)
    }

    /// Adds a log, or a key of one that is known. It counts from the next start.
    ///
    /// # Errors
    /// If the key is no log's, stands there already, or the file cannot be written.
    pub fn add_log(directory: &Path, origin: &str, key: &NoteKey) -> anyhow::Result<()> {
        let (path, mut file) = read_file(directory)?;
        if !file.logs.iter().any(|l| l.origin == origin) {
            file.logs.push(LogTable {
                origin: origin.to_owned(),
                keys: Vec::new(),
            });
        }
        let table = file
            .logs
            .iter_mut()
            .find(|l| l.origin == origin)
            .context("the log is not there")?;
        let text = key.to_string();
        ensure!(!table.keys.contains(&text), "this key stands there already");
        table.keys.push(text);
        log(table)?;
        write(&path, &file)
    }
}

fn log(table: &LogTable) -> anyhow::Result<Log> {
    let LogTable { origin, keys } = table;
    ensure!(
        !origin.is_empty() && !origin.contains(char::is_control),
        "the origin is not one line of text"
    );
    ensure!(!keys.is_empty(), "it has no key");
    let keys = keys
        .iter()
        .map(|text| {
            let key = NoteKey::parse(text)?;
            ensure!(
                key.role() == Role::Log,
                "{} is a witness's key, not a log's",
                key.name()
            );
            countersign_signatures::ed25519::PublicKey::parse(&key.key().0)?;
            Ok(key)
        })
        .collect::<anyhow::Result<_>>()?;
    Ok(Log {
        origin: origin.clone(),
        keys,
    })
}

/// The public half.
fn public(key: &SigningKey) -> PublicKey {
    PublicKey(key.verifying_key().to_bytes())
}

fn read_key(path: &Path) -> anyhow::Result<SigningKey> {
    let shown = path.display();
    let mode = fs::metadata(path)
        .with_context(|| shown.to_string())?
        .permissions()
        .mode();
    if mode & 0o077 != 0 {
        bail!(
            "{shown} is readable by others (mode {:o}); expected mode 600",
            mode & 0o777
        );
    }
    let text = Zeroizing::new(fs::read_to_string(path).with_context(|| shown.to_string())?);
    let mut seed = Zeroizing::new([0u8; 32]);
    hex::decode_to_slice(text.trim(), seed.as_mut())
        .map_err(|_| anyhow::anyhow!("{shown} is not one line of 64 hexadecimal digits"))?;
    Ok(SigningKey::from_bytes(&seed))
}

fn write_secret(path: &Path, text: &str) -> anyhow::Result<()> {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot create {}", path.display()))?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .with_context(|| path.display().to_string())
}

/// Replaces the file: a crash leaves the old one or the new one.
fn write(path: &Path, file: &File) -> anyhow::Result<()> {
    let beside = path.with_extension("new");
    fs::write(&beside, toml::to_string(file)?)
        .and_then(|()| fs::File::open(&beside)?.sync_all())
        .and_then(|()| fs::rename(&beside, path))
        .with_context(|| path.display().to_string())
}

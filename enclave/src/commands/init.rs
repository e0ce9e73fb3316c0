//! `countersign init`: a site that runs.

use crate::keys::{make_signing_key, random, write_secret};
use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use countersign_platform::policy::ReleaseKey;
use countersign_platform::recovery::RecoveryKey;
use countersign_policies::example::{ExampleCredential, ExampleKeys, files};
use countersign_record::digest::TenantId;
use countersign_signatures::token::TokenHash;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Which example to write.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Example {
    /// Erasure requests against a database of customers.
    Customers,
}

/// Make a site directory that runs, with development keys under `keys/`.
#[derive(Debug, Args)]
pub(crate) struct Init {
    /// Directory to make.
    directory: PathBuf,
    /// Which example.
    #[arg(long, value_enum, default_value = "customers")]
    example: Example,
    /// Python that has `mcp-server-sqlite`.
    #[arg(long, default_value = "/usr/bin/python3")]
    python: String,
    /// SQLite database that the tools work on.
    #[arg(long)]
    database: PathBuf,
    /// Socket address to listen on: a loopback address.
    #[arg(long, default_value = "127.0.0.1:8480")]
    listen: SocketAddr,
    /// Address of the TPM: device:<path> or swtpm:<host>:<port>.
    #[arg(long, default_value = "device:/dev/tpmrm0")]
    tpm: String,
}

impl Init {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let Self {
            directory,
            example: Example::Customers,
            python,
            database,
            listen,
            tpm,
        } = self;
        if directory.exists() {
            bail!("{} is there already", directory.display());
        }
        if !listen.ip().is_loopback() {
            bail!(
                "the example speaks plain HTTP, so it listens on loopback only; {listen} is not. \
                 Make it on loopback, then set [listen] and [tls] in its countersign.toml"
            );
        }
        let listen = listen.to_string();
        let database = std::path::absolute(&database)?;
        let keys = directory.join("keys");
        fs::create_dir_all(&keys).with_context(|| format!("cannot make {}", keys.display()))?;
        let example = example_keys(&keys, python, &database, listen, tpm)?;
        for (path, text) in files(&example) {
            let path = directory.join(path);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        fs::write(directory.join(".gitignore"), "/keys/\n/build/\n")?;
        println!("site    {}", directory.display());
        println!(
            "keys    {} (for development; in production each stays with its holder)",
            keys.display()
        );
        println!(
            "next    countersign bundle build --site {}",
            directory.display()
        );
        Ok(())
    }
}

fn example_keys(
    keys: &Path,
    python: String,
    database: &Path,
    listen: String,
    tpm: String,
) -> anyhow::Result<ExampleKeys> {
    let release = release_key(&keys.join("release.key"))?;
    let recovery = random::<32>()?;
    write_secret(
        &keys.join("recovery.key"),
        &format!("{}\n", hex::encode(*recovery)),
    )?;
    let token = Zeroizing::new(hex::encode(*random::<32>()?));
    write_secret(&keys.join("agent-reader.token"), &format!("{}\n", *token))?;
    let tenant = random::<16>()?;
    Ok(ExampleKeys {
        tenant: TenantId(*tenant),
        listen,
        tpm,
        release: release.to_sec1(),
        governance: make_signing_key(&keys.join("governance.key"))?,
        bundle_signer: make_signing_key(&keys.join("bundle.key"))?,
        recovery: RecoveryKey::of(&recovery).0,
        reader_token: *TokenHash::of(&token)?.as_bytes(),
        erasure: ExampleCredential::Key(make_signing_key(&keys.join("agent-erasure.key"))?),
        approver: make_signing_key(&keys.join("approver-privacy.key"))?,
        python,
        database: database.display().to_string(),
        entry_sha256: None,
    })
}

/// Makes a P-256 release key file.
pub(super) fn release_key(path: &Path) -> anyhow::Result<ReleaseKey> {
    loop {
        let scalar = random::<32>()?;
        // Not every 32 bytes are a scalar of the curve; the chance of a second turn is 2^-32.
        if let Ok(secret) = p256::SecretKey::from_slice(scalar.as_slice()) {
            write_secret(path, &format!("{}\n", hex::encode(*scalar)))?;
            return super::release::public_half(&secret);
        }
    }
}

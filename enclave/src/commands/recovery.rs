//! `countersign recovery-key …`: the key that recovers stored values when a machine is gone.
//!
//! In and out: files of its holder. The private half is never on a gateway: what a gateway needs
//! of it is done elsewhere, by `countersign adopt storage`.

use crate::keys::{random, read_secret, write_secret};
use anyhow::Context as _;
use clap::Subcommand;
use countersign_platform::recovery::{RecoveryKey, RecoveryWrap};
use std::fs;
use std::path::{Path, PathBuf};

/// Make and try the key that recovers stored values when a machine is gone.
#[derive(Debug, Subcommand)]
pub(crate) enum RecoveryKeyCommand {
    /// Make a key, and print the public half for `[recovery]` of `countersign.toml`.
    New {
        /// File to make; it must not be there.
        #[arg(long)]
        out: PathBuf,
    },
    /// Print a key's public half.
    Show {
        /// The recovery key's file.
        #[arg(long)]
        key: PathBuf,
    },
    /// Try whether a key opens a gateway's wrap. Writes nothing, and shows nothing of what is in it.
    Check {
        /// `storage.recovery` of the gateway's state directory.
        #[arg(long)]
        wrap: PathBuf,
        /// The recovery key's file.
        #[arg(long)]
        key: PathBuf,
    },
}

impl RecoveryKeyCommand {
    pub(super) fn run(self) -> anyhow::Result<()> {
        match self {
            Self::New { out } => {
                let private = random::<32>()?;
                write_secret(&out, &format!("{}\n", hex::encode(*private)))?;
                println!("public  {}", hex::encode(RecoveryKey::of(&private).0));
                println!("written {}; keep it offline, in two places", out.display());
                Ok(())
            }
            Self::Show { key } => {
                let private = read_secret(&key)?;
                println!("public  {}", hex::encode(RecoveryKey::of(&private).0));
                Ok(())
            }
            Self::Check { wrap, key } => {
                let wrap = read_wrap(&wrap)?;
                wrap.unwrap_with(&read_secret(&key)?)
                    .context("the storage key stays wrapped")?;
                println!("the recovery key opens the wrap; nothing was written");
                Ok(())
            }
        }
    }
}

/// Reads a gateway's `storage.recovery`.
pub(super) fn read_wrap(path: &Path) -> anyhow::Result<RecoveryWrap> {
    let bytes = fs::read(path).with_context(|| path.display().to_string())?;
    RecoveryWrap::parse(&bytes).with_context(|| path.display().to_string())
}

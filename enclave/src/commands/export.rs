//! `countersign export`: the log as one file.

use super::client::{Ask, ask, block_on};
use crate::keys::read_signing_key;
use anyhow::Context as _;
use clap::Args;
use http_body_util::BodyExt as _;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;

/// Fetch the log as one file that `countersign-verify` checks.
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// The gateway, such as http://127.0.0.1:8480.
    #[arg(long)]
    url: String,
    /// Key file of a person of group `exporter`.
    #[arg(long)]
    key: PathBuf,
    /// File to write.
    #[arg(long)]
    out: PathBuf,
}

impl Export {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let key = read_signing_key(&self.key)?;
        // A file that is only half there must not look like a whole one: it gets its name at the end.
        let partial = self.out.with_extension("partial");
        let bytes = block_on(async {
            let request = Ask {
                method: "GET",
                path: "/v1/export",
                body: Vec::new(),
                key: Some(&key),
            };
            let mut body = ask(&self.url, request).await?.into_body();
            let mut file =
                fs::File::create(&partial).with_context(|| partial.display().to_string())?;
            let mut total = 0u64;
            while let Some(frame) = body.frame().await {
                if let Ok(data) = frame.context("the export broke off")?.into_data() {
                    file.write_all(&data)?;
                    total = total.saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX));
                }
            }
            file.sync_all()?;
            Ok(total)
        })?;
        fs::rename(&partial, &self.out)?;
        println!("written {} ({bytes} bytes)", self.out.display());
        println!(
            "next    countersign-verify {} --trust trust.toml",
            self.out.display()
        );
        Ok(())
    }
}

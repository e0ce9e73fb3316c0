//! `countersign export`: the log, or a part of it, as one file.

use super::client::{Ask, Reach, ask, block_on};
use crate::keys::read_signing_key;
use anyhow::Context as _;
use clap::Args;
use countersign_record::time;
use http_body_util::BodyExt as _;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;

/// Fetch the log as one file that `countersign-verify` checks.
#[derive(Debug, Args)]
pub(crate) struct Export {
    #[command(flatten)]
    gateway: Reach,
    /// Key file of a person of group `exporter`.
    #[arg(long)]
    key: PathBuf,
    /// File to write.
    #[arg(long)]
    out: PathBuf,
    /// The log of this gateway, which is gone: the one at `--url` continues its work, or was started after it on a machine
    /// without a TPM. 64 hexadecimal digits.
    #[arg(long, value_name = "GATEWAY")]
    of: Option<String>,
    /// Only the entries of this tenant, by its name in the site.
    #[arg(long)]
    tenant: Option<String>,
    /// Only the entries of this run: 32 hexadecimal digits.
    #[arg(long)]
    run: Option<String>,
    /// Only entries from this time on: RFC 3339, or milliseconds since 1970.
    #[arg(long)]
    from: Option<String>,
    /// Only entries before this time.
    #[arg(long)]
    until: Option<String>,
    /// What is opened: `everything` (default), `auditor-soc2`, `incident`, `data-subject`, `nothing`, or a profile of the site.
    #[arg(long)]
    profile: Option<String>,
    /// Of `data-subject`: the subject's name, a user or the URN of an agent that acts for nobody. Needs `--tenant`.
    #[arg(long, requires = "tenant")]
    subject: Option<String>,
}

impl Export {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let key = read_signing_key(&self.key)?;
        // A file that is only half there must not look like a whole one: it gets its name at the end.
        let partial = self.out.with_extension("partial");
        let query = self.query()?;
        let bytes = block_on(async {
            let request = Ask {
                method: "GET",
                path: "/v1/export",
                query: query.as_deref(),
                body: Vec::new(),
                key: Some(&key),
            };
            let mut body = ask(&self.gateway, request).await?.into_body();
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

    /// The part of the log that is asked for; nothing if it is all.
    fn query(&self) -> anyhow::Result<Option<String>> {
        let mut parts = Vec::new();
        for (name, value) in [("from", &self.from), ("until", &self.until)] {
            if let Some(text) = value {
                let at =
                    time::parse(text).with_context(|| format!("--{name}: {text} is no time"))?;
                parts.push(format!("{name}={}", at.0));
            }
        }
        let named = [
            ("gateway", &self.of),
            ("tenant", &self.tenant),
            ("run", &self.run),
            ("profile", &self.profile),
        ];
        for (name, value) in named {
            if let Some(text) = value {
                let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
                anyhow::ensure!(text.chars().all(plain), "--{name}: {text} is no name");
                parts.push(format!("{name}={text}"));
            }
        }
        if let Some(subject) = &self.subject {
            parts.push(format!("subject={}", escaped(subject)));
        }
        Ok((!parts.is_empty()).then(|| parts.join("&")))
    }
}

/// A value as it may stand in a query.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        let c = char::from(byte);
        if c.is_ascii_alphanumeric() || "-_.~".contains(c) {
            out.push(c);
        } else {
            let _infallible = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_signs_is_escaped_byte_by_byte() {
        assert_eq!(escaped("agent:demo/a@1"), "agent%3Ademo%2Fa%401");
        assert_eq!(escaped("Zo\u{eb} & co=1"), "Zo%C3%AB%20%26%20co%3D1");
    }
}

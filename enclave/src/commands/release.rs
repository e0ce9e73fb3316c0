//! `countersign release sign`: what may unseal.

use super::SiteArgument;
use crate::keys::read_secret;
use crate::site::{SiteDir, tpm_address, write_release};
use anyhow::Context as _;
use clap::Subcommand;
use countersign_platform::policy::{ApprovalDigest, ReleaseKey, ReleasePolicy, ReleaseSignature};
use countersign_platform::{PcrSet, PcrValues, Tpm};
use p256::ecdsa::signature::hazmat::PrehashSigner as _;
use p256::ecdsa::{Signature, SigningKey};
use std::fs;
use std::path::PathBuf;

/// Approve what a release boots to, so that its keys unseal.
#[derive(Debug, Subcommand)]
pub(crate) enum Release {
    /// Sign the PCR values of this machine, or given ones, for the release that the site names.
    Sign {
        #[command(flatten)]
        site: SiteArgument,
        /// The release key's file.
        #[arg(long)]
        key: PathBuf,
        /// PCR values that the image boots to, as `index=hex`; without any, those of the TPM at hand.
        #[arg(long = "pcr", value_name = "INDEX=HEX")]
        pcrs: Vec<String>,
    },
}

impl Release {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let Self::Sign { site, key, pcrs } = self;
        let site = SiteDir::new(&site.site);
        let (settings, _) = site.settings()?;
        let values = if pcrs.is_empty() {
            let tpm = Tpm::open(tpm_address(&settings.tpm)?).context("the TPM cannot be read")?;
            tpm.pcrs(PcrSet::PROFILE)?
        } else {
            given(&pcrs)?
        };
        let secret = p256::SecretKey::from_slice(read_secret(&key)?.as_slice())
            .with_context(|| format!("{} is no P-256 key", key.display()))?;
        let policy = approve(&secret, values, settings.release.sequence)?;
        fs::create_dir_all(site.path().join("build"))?;
        fs::write(site.release_file(), write_release(&policy))?;
        println!("release {} approved for PCRs:", policy.sequence);
        for (index, value) in policy.pcrs.iter() {
            println!("  {index:2}  {}", hex::encode(value));
        }
        println!("written {}", site.release_file().display());
        Ok(())
    }
}

/// Approves PCR values.
pub(super) fn approve(
    secret: &p256::SecretKey,
    values: PcrValues,
    sequence: u64,
) -> anyhow::Result<ReleasePolicy> {
    let key = SigningKey::from(secret);
    ReleasePolicy::approve(
        values,
        sequence,
        public_half(secret)?,
        |digest: &ApprovalDigest| {
            let signature: Signature = key.sign_prehash(&digest.0)?;
            let (r, s) = signature.split_bytes();
            Ok(ReleaseSignature {
                r: r.into(),
                s: s.into(),
            })
        },
    )
}

/// The public half of a release key.
pub(super) fn public_half(secret: &p256::SecretKey) -> anyhow::Result<ReleaseKey> {
    use p256::elliptic_curve::sec1::ToSec1Point as _;
    Ok(ReleaseKey::parse(
        secret.public_key().to_sec1_point(false).as_bytes(),
    )?)
}

fn given(pcrs: &[String]) -> anyhow::Result<PcrValues> {
    let parsed = pcrs
        .iter()
        .map(|text| {
            let (index, value) = text
                .split_once('=')
                .context("a PCR is given as index=hex")?;
            let mut out = [0u8; 32];
            hex::decode_to_slice(value, &mut out)
                .map_err(|_| anyhow::anyhow!("PCR {index} is not 64 hexadecimal digits"))?;
            Ok((
                index
                    .parse::<u8>()
                    .with_context(|| format!("{index} is no PCR"))?,
                out,
            ))
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    Ok(PcrValues::new(parsed)?)
}

//! `countersign bundle …`: from a site directory to a signed bundle.

use super::SiteArgument;
use crate::keys::{public, read_signing_key};
use crate::site::SiteDir;
use anyhow::Context as _;
use clap::Subcommand;
use countersign_policies::bundle::{Bundle as Opened, Pins, UnsignedBundle};
use countersign_policies::inspect::inspect;
use countersign_policies::words::words;
use countersign_record::digest::{PublicKey, Signature};
use ed25519_dalek::Signer as _;
use std::fs;
use std::path::PathBuf;

/// Build, sign, check and explain the policy bundle.
#[derive(Debug, Subcommand)]
pub(crate) enum Bundle {
    /// Check the site and build an unsigned bundle from it.
    Build(SiteArgument),
    /// Sign the built bundle with a key file.
    Sign {
        #[command(flatten)]
        site: SiteArgument,
        /// A bundle signer's key file.
        #[arg(long)]
        key: PathBuf,
    },
    /// Print what a signer signs, in words and bytes, for a key that is kept elsewhere.
    Digest {
        #[command(flatten)]
        site: SiteArgument,
        /// The signer's public key, 64 hexadecimal digits.
        #[arg(long)]
        public_key: String,
    },
    /// Add a signature that was made elsewhere.
    Attach {
        #[command(flatten)]
        site: SiteArgument,
        /// The signer's public key, 64 hexadecimal digits.
        #[arg(long)]
        public_key: String,
        /// The signature, 128 hexadecimal digits.
        #[arg(long)]
        signature: String,
    },
    /// Check that the gateway of this site would take the bundle.
    Check(SiteArgument),
    /// Say in sentences who may do what.
    Inspect(SiteArgument),
}

impl Bundle {
    pub(super) fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Build(site) => build(&SiteDir::new(&site.site)),
            Self::Sign { site, key } => {
                let key = read_signing_key(&key)?;
                attach(&SiteDir::new(&site.site), public(&key), |m| {
                    Signature(key.sign(m).to_bytes())
                })
            }
            Self::Digest { site, public_key } => {
                let bundle = read(&SiteDir::new(&site.site))?;
                let message = bundle.to_be_signed(parse_key(&public_key)?);
                println!("bundle  {}", bundle.digest());
                println!("words   {}", words(&bundle.digest().0));
                println!("sign    {}", hex::encode(message));
                Ok(())
            }
            Self::Attach {
                site,
                public_key,
                signature,
            } => {
                let signature = Signature::from_hex(&signature)
                    .context("signature is not 128 hexadecimal digits")?;
                attach(&SiteDir::new(&site.site), parse_key(&public_key)?, |_| {
                    signature
                })
            }
            Self::Check(site) => check(&SiteDir::new(&site.site)),
            Self::Inspect(site) => {
                let site = SiteDir::new(&site.site);
                let lines = if site.bundle_file().exists() {
                    inspect(&read(&site)?.content()?)
                } else {
                    inspect(&site.parse()?.content)
                };
                lines.iter().for_each(|line| println!("{line}"));
                Ok(())
            }
        }
    }
}

fn build(site: &SiteDir) -> anyhow::Result<()> {
    let parsed = site.parse()?;
    let bundle = Opened::build(&parsed)?;
    fs::create_dir_all(site.path().join("build"))?;
    fs::write(site.bundle_file(), bundle.to_bytes())?;
    println!("bundle  {}", bundle.digest());
    println!("words   {}", words(&bundle.digest().0));
    println!("written {} (unsigned)", site.bundle_file().display());
    Ok(())
}

fn read(site: &SiteDir) -> anyhow::Result<UnsignedBundle> {
    let path = site.bundle_file();
    let bytes = fs::read(&path).with_context(|| {
        format!(
            "no bundle at {}; run `countersign bundle build`",
            path.display()
        )
    })?;
    Ok(UnsignedBundle::parse(&bytes)?)
}

fn attach(
    site: &SiteDir,
    key: PublicKey,
    signer: impl FnOnce(&[u8]) -> Signature,
) -> anyhow::Result<()> {
    let mut bundle = read(site)?;
    bundle.sign(key, signer)?;
    fs::write(site.bundle_file(), bundle.to_bytes())?;
    println!("signed  {} by key {}", bundle.digest(), key.id());
    Ok(())
}

fn check(site: &SiteDir) -> anyhow::Result<()> {
    let (settings, _) = site.settings()?;
    let (bundle, _) = site.bundle(&Pins::of_settings(&settings))?;
    countersign_policies::Engine::compile(&bundle)?;
    let head = &bundle.content().head;
    println!(
        "bundle {} version {} is what this site's gateway takes:",
        bundle.digest(),
        head.version
    );
    println!(
        "  signed by {} of {} required keys",
        bundle.signers().len(),
        settings.bundle.threshold
    );
    println!(
        "  environment {}, not below version {}",
        head.environment, settings.bundle.minimum_version
    );
    Ok(())
}

fn parse_key(text: &str) -> anyhow::Result<PublicKey> {
    PublicKey::from_hex(text).context("public key is not 64 hexadecimal digits")
}

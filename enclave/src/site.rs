//! The site directory on disk, and the state directory beside it.
//!
//! ```text
//! SITE/  countersign.toml, adapters/, capabilities/, agents/, approvers/, policies/   in git
//!        build/bundle.cbor     the signed bundle           build/release.cbor  the release policy
//! STATE/ keys.sealed, storage.recovery, log/, fleet.cose, recover.cose
//!        adopted/<gateway>/    log/, storage.recovery, adopt.cose, adopt.storage of one that is gone
//!        boots/<gateway>/      log/, storage.recovery of each start, where there is no TPM that lasts
//! ```
//!
//! Everything here is on the operator's disk: what is read is checked against signatures,
//! the TPM or the log before it counts.

use anyhow::{Context as _, bail};
use countersign_platform::policy::{ReleaseKey, ReleasePolicy, ReleaseSignature};
use countersign_platform::{PcrValues, TpmAddress};
use countersign_policies::bundle::{Bundle, Pins};
use countersign_policies::site::settings::{SETTINGS_FILE, Settings};
use countersign_policies::site::{self};
use countersign_record::cbor::Bytes;
use countersign_record::cbor::Cbor as _;
use countersign_record::cbor_map;
use countersign_record::digest::ArtifactDigest;
use countersign_record::evidence::PcrValue;
use std::fs;
use std::path::{Path, PathBuf};

/// Files of a site that are built from it.
const BUNDLE_FILE: &str = "build/bundle.cbor";
const RELEASE_FILE: &str = "build/release.cbor";

/// A site directory.
#[derive(Debug, Clone)]
pub struct SiteDir(PathBuf);

impl SiteDir {
    /// The directory at this path.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The signed bundle's file.
    #[must_use]
    pub fn bundle_file(&self) -> PathBuf {
        self.0.join(BUNDLE_FILE)
    }

    /// The release policy's file.
    #[must_use]
    pub fn release_file(&self) -> PathBuf {
        self.0.join(RELEASE_FILE)
    }

    /// Reads and parses everything that people wrote.
    ///
    /// # Errors
    /// Every problem, with file and line.
    pub fn parse(&self) -> anyhow::Result<site::Site> {
        let files = site::read(&self.0).context("cannot read the site")?;
        site::Site::parse(&files).map_err(|problems| anyhow::anyhow!("{problems}"))
    }

    /// Reads the settings alone, with the digest of their file.
    ///
    /// # Errors
    /// Every problem, with file and line.
    pub fn settings(&self) -> anyhow::Result<(Settings, ArtifactDigest)> {
        let path = self.0.join(SETTINGS_FILE);
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let settings =
            site::parse_settings(&text).map_err(|problems| anyhow::anyhow!("{problems}"))?;
        Ok((settings, ArtifactDigest::of(text.as_bytes())))
    }

    /// Opens the signed bundle: signatures, pins and contents.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn bundle(&self, pins: &Pins) -> anyhow::Result<(Bundle, Vec<u8>)> {
        let path = self.bundle_file();
        let bytes = fs::read(&path).with_context(|| {
            format!(
                "no signed bundle at {}; run `countersign bundle build` and `bundle sign`",
                path.display()
            )
        })?;
        let bundle =
            Bundle::open(&bytes, pins).with_context(|| format!("{} is refused", path.display()))?;
        Ok((bundle, bytes))
    }

    /// Reads the release policy.
    ///
    /// # Errors
    /// If there is none, or it is malformed.
    pub fn release(&self) -> anyhow::Result<ReleasePolicy> {
        let path = self.release_file();
        let bytes = fs::read(&path).with_context(|| {
            format!(
                "no release policy at {}; run `countersign release sign`",
                path.display()
            )
        })?;
        read_release(&bytes).with_context(|| format!("{} is refused", path.display()))
    }
}

cbor_map! {
    /// A release policy as a file.
    pub struct ReleaseFile {
        /// PCR values that the release boots to.
        1 => pcrs: Vec<PcrValue>,
        /// Number of the release.
        2 => sequence: u64,
        /// The release key, an uncompressed SEC1 point of 65 bytes.
        3 => key: Bytes,
        /// r of the signature.
        4 => r: [u8; 32],
        /// s of the signature.
        5 => s: [u8; 32],
    }
}

fn read_release(bytes: &[u8]) -> anyhow::Result<ReleasePolicy> {
    let file = ReleaseFile::from_bytes(bytes)?;
    Ok(ReleasePolicy {
        pcrs: PcrValues::new(file.pcrs.iter().map(|p| (p.index, p.value)))?,
        sequence: file.sequence,
        release_key: ReleaseKey::parse(&file.key.0)?,
        signature: ReleaseSignature {
            r: file.r,
            s: file.s,
        },
    })
}

/// The bytes of a release policy's file.
#[must_use]
pub fn write_release(policy: &ReleasePolicy) -> Vec<u8> {
    let pcrs = policy
        .pcrs
        .iter()
        .map(|(index, value)| PcrValue {
            index,
            value: *value,
        })
        .collect();
    ReleaseFile {
        pcrs,
        sequence: policy.sequence,
        key: Bytes(policy.release_key.to_sec1().to_vec()),
        r: policy.signature.r,
        s: policy.signature.s,
    }
    .to_bytes()
}

/// Reads a TPM's address: `device:<path>` or `swtpm:<host>:<port>`.
///
/// # Errors
/// If it is neither.
pub fn tpm_address(text: &str) -> anyhow::Result<TpmAddress> {
    match text.split_once(':') {
        Some(("device", path)) => Ok(TpmAddress::Device(path.into())),
        Some(("swtpm", rest)) => {
            let (host, port) = rest.rsplit_once(':').context("swtpm address has no port")?;
            Ok(TpmAddress::Tcp {
                host: host.to_owned(),
                port: port.parse().context("port is no number")?,
            })
        }
        _ => bail!("TPM address {text:?} is neither device:<path> nor swtpm:<host>:<port>"),
    }
}

/// The text of a TPM's address.
#[must_use]
pub fn tpm_address_text(address: &TpmAddress) -> String {
    match address {
        TpmAddress::Device(path) => format!("device:{}", path.display()),
        TpmAddress::Tcp { host, port } => format!("swtpm:{host}:{port}"),
    }
}

/// A state directory: what a gateway keeps between boots.
#[derive(Debug, Clone)]
pub struct StateDir(PathBuf);

impl StateDir {
    /// The directory at this path, made if it is missing, open to its owner only.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        use std::os::unix::fs::DirBuilderExt as _;
        if !path.is_dir() {
            let made = fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path);
            made.with_context(|| format!("cannot make {}", path.display()))?;
        }
        Ok(Self(path.to_owned()))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A file in it.
    #[must_use]
    pub fn file(&self, name: StateFile) -> PathBuf {
        self.0.join(name.name())
    }

    /// Reads a file in it; absent is absent.
    ///
    /// # Errors
    /// If it is there and cannot be read.
    pub fn read(&self, name: StateFile) -> anyhow::Result<Option<Vec<u8>>> {
        let path = self.file(name);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Removes a file in it, durably.
    ///
    /// # Errors
    /// If it is there and cannot be removed.
    pub fn remove(&self, name: StateFile) -> anyhow::Result<()> {
        let path = self.file(name);
        let remove = || -> std::io::Result<()> {
            match fs::remove_file(&path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
                Ok(()) | Err(_) => (),
            }
            fs::File::open(&self.0)?.sync_all()
        };
        remove().with_context(|| format!("cannot remove {}", path.display()))
    }

    /// Replaces a file in it, durably: a crash leaves the old one or the new one.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, name: StateFile, bytes: &[u8]) -> anyhow::Result<()> {
        let path = self.file(name);
        let beside = path.with_extension("new");
        let write = || -> std::io::Result<()> {
            let mut file = fs::File::create(&beside)?;
            std::io::Write::write_all(&mut file, bytes)?;
            file.sync_all()?;
            fs::rename(&beside, &path)?;
            fs::File::open(&self.0)?.sync_all()
        };
        write().with_context(|| format!("cannot write {}", path.display()))
    }
}

/// Files of a state directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateFile {
    /// Identity and storage key, sealed as one.
    Keys,
    /// The storage key, wrapped to the recovery key.
    Recovery,
    /// The log's directory.
    Log,
    /// The installed fleet statement.
    Fleet,
    /// The installed recover statement.
    Recover,
    /// What the governance key has to sign to let a held gateway go on.
    RecoverRequest,
    /// Logs of gateways whose work this one continues: a directory with a state directory for each.
    Adopted,
    /// A copy of such a log that is being made.
    Adopting,
    /// In one of those: the governance key's word.
    Adopt,
    /// In one of those: the storage key, wrapped for this gateway.
    AdoptStorage,
    /// The storage key before the newest, wrapped to the recovery key, while an erasure is carried out.
    RecoveryBefore,
    /// Gateways whose keys lived for one boot: a directory with a state directory for each.
    Boots,
    /// What governance needs to enrol a gateway that was made at this start.
    EnrolRequest,
}

impl StateFile {
    /// Where it is below a directory that need not be this gateway's.
    #[must_use]
    pub fn below(self, directory: &Path) -> PathBuf {
        directory.join(self.name())
    }

    fn name(self) -> &'static str {
        match self {
            Self::Keys => "keys.sealed",
            Self::Recovery => "storage.recovery",
            Self::Log => "log",
            Self::Fleet => "fleet.cose",
            Self::Recover => "recover.cose",
            Self::RecoverRequest => "recover-request.cbor",
            Self::Adopted => "adopted",
            Self::Adopting => "adopting",
            Self::Adopt => "adopt.cose",
            Self::AdoptStorage => "adopt.storage",
            Self::RecoveryBefore => "storage-before.recovery",
            Self::Boots => "boots",
            Self::EnrolRequest => "enrol-request.cbor",
        }
    }
}

//! What an auditor trusts: the verifier's own file, and reference values.
//!
//! In: TOML that the auditor wrote. Out: a [`Trust`] with typed values. Unknown keys are
//! refused, so that a misspelt rule is not a missing one. A list that is written and empty
//! accepts nothing; a list that is not written leaves its check undone.
//!
//! ```toml
//! version = 1
//! [governance]
//! keys = ["<64 hex digits>"]              # Ed25519 keys that sign fleet statements
//! [gateways]
//! ids = ["<64 hex digits>"]               # gateways pinned by name, instead or besides
//! [evidence]
//! accept = ["hardware-tpm"]               # this is the default; every other class must be written
//! parties = ["amd"]                       # on whom evidence of processors may rest
//! [[evidence.attestation_keys]]
//! name = "000b<64 hex digits>"            # TPM name of a plain TPM's attestation key
//! checked_by = "J. Doe, 2026-03-04, endorsement certificate compared on site"
//! [release]
//! keys = ["<SHA-256 of the key's TPMT_PUBLIC, or all of it>"]
//! [bundles]
//! signers = ["<64 hex digits>"]           # Ed25519 keys
//! threshold = 1
//! pinned = ["<64 hex digits>"]            # digests of bundles, optional
//! [[witnesses]]
//! key = "auditor.example/w1+<8 hex digits>+<base64>"   # what the witness publishes
//! organisation = "Auditor Ltd"            # witnesses of one organisation count once
//! own = false                             # true: the operator's own, which never count
//! [log]
//! min_witnesses = 1                       # optional: how many organisations must have cosigned
//! max_unquoted_tail_seconds = 1200
//! max_gap = 0                             # accepted unexplained steps of the counter
//! max_age_seconds = 3600                  # optional: how old the hardware's last word may be
//! max_unseen_seconds = 86400              # optional: longest time that no outside clock saw
//! [[timestamping]]                        # outside clocks (RFC 3161)
//! name = "Example Time"
//! root = """-----BEGIN CERTIFICATE-----…"""
//! [reference]                             # or a file of its own, given with --reference
//! build = ["<64 hex digits>"]
//! configuration = ["<64 hex digits>"]
//! [reference.pcrs]
//! 7 = ["<64 hex digits>"]
//! [reference.launch]                      # by profile: launch measurement of SEV-SNP, MRTD of TDX
//! azure-snp = ["<96 hex digits>"]
//! [reference.rtmrs]
//! 1 = ["<96 hex digits>"]
//! ```
//!
//! What processors have to be like stands in `[snp]`, `[tdx]`, `[azure]` and `[gcp]`: [`platform`].

pub mod platform;

use countersign_evidence::party::Party;
use countersign_record::digest::{ArtifactDigest, GatewayId, PublicKey, sha256};
use countersign_record::note::{NoteKey, Role};
use countersign_timestamps::{Authority, RootError};
use platform::{
    AzureRule, AzureTable, GcpRule, GcpTable, LaunchValues, RtmrValues, SnpRule, SnpTable, TdxRule,
    TdxTable,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use thiserror::Error;

/// Version of the trust file that this code reads.
pub const TRUST_VERSION: u64 = 1;

/// Longest time between the hardware's last word and the last entry, where the file says nothing, in seconds.
///
/// A gateway renews every 10 minutes, and accepts calls for one interval longer.
pub const DEFAULT_MAX_TAIL_SECONDS: u64 = 1200;

/// How well evidence is vouched for. Derived by the verifier, never read from an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EvidenceClass {
    /// A TPM whose attestation key was checked by people: pinned here, or in the signed fleet statement.
    HardwareTpm,
    /// A processor alone: its report is over the gateway's keys, which are in the memory that it encrypts.
    Processor,
    /// A processor, and a TPM in the paravisor that runs above the guest.
    ParavisorTpm,
    /// A processor, and a TPM in the hypervisor; only the anchor joins them.
    HypervisorTpm,
    /// It may be a TPM; nobody vouches that its attestation key is inside one.
    UnendorsedTpm,
    /// A software TPM.
    Software,
}

impl EvidenceClass {
    /// The word in trust files and reports.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::HardwareTpm => "hardware-tpm",
            Self::Processor => "processor",
            Self::ParavisorTpm => "paravisor-tpm",
            Self::HypervisorTpm => "hypervisor-tpm",
            Self::UnendorsedTpm => "unendorsed-tpm",
            Self::Software => "software",
        }
    }

    /// Of a TPM without a processor's report.
    pub(crate) fn of_tpm(software: bool, pinned: bool) -> Self {
        match (software, pinned) {
            (true, _) => Self::Software,
            (false, true) => Self::HardwareTpm,
            (false, false) => Self::UnendorsedTpm,
        }
    }
}

/// An attestation key that people checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AkPin {
    /// Its TPM name: algorithm identifier and digest, 34 bytes.
    pub name: Vec<u8>,
    /// Who checked it, when, how.
    pub checked_by: String,
}

/// A key that may decide what unseals a gateway's keys, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReleasePin {
    /// SHA-256 of its `TPMT_PUBLIC`.
    Digest([u8; 32]),
    /// All of its `TPMT_PUBLIC`.
    Public(Vec<u8>),
}

impl ReleasePin {
    /// Whether this is the key with that public area.
    #[must_use]
    pub fn names(&self, public: &[u8]) -> bool {
        match self {
            Self::Digest(digest) => *digest == sha256(public),
            Self::Public(bytes) => bytes == public,
        }
    }
}

/// Who may sign policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleRule {
    /// Their keys.
    pub signers: Vec<PublicKey>,
    /// How many of them must have signed.
    pub threshold: u64,
    /// Bundles that were reviewed, if any are pinned.
    pub pinned: Option<Vec<ArtifactDigest>>,
}

/// Whether a witness says anything against the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Others run it.
    Independent,
    /// The operator runs it; it never counts.
    Own,
}

/// A witness whose signatures are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessPin {
    /// Its name and key.
    pub key: NoteKey,
    /// Who runs it.
    pub organisation: String,
    /// Whose it is.
    pub standing: Standing,
}

/// What is accepted of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRule {
    /// Longest time without the hardware's word, in seconds.
    pub max_tail_seconds: u64,
    /// Accepted unexplained steps of the counter, where governance signed for them.
    pub max_gap: u64,
    /// How old the hardware's last word may be, in seconds.
    pub max_age_seconds: Option<u64>,
    /// How many independent organisations must have cosigned the log.
    pub min_witnesses: Option<u64>,
    /// Longest stretch that no outside clock saw, in seconds.
    pub max_unseen_seconds: Option<u64>,
}

/// Authorities whose timestamps count, each under its name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Clocks {
    names: Vec<String>,
    authorities: Vec<Authority>,
}

impl Clocks {
    /// Their roots.
    #[must_use]
    pub fn authorities(&self) -> &[Authority] {
        &self.authorities
    }

    /// The name of the one in that place.
    #[must_use]
    pub fn name(&self, place: usize) -> &str {
        self.names.get(place).map_or("", String::as_str)
    }
}

/// Values that an auditor expects. A list that is absent leaves its check undone; an empty one accepts nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reference {
    /// Digests of programs.
    pub build: Option<Vec<ArtifactDigest>>,
    /// Digests of configurations.
    pub configuration: Option<Vec<ArtifactDigest>>,
    /// Values of boot registers, SHA-256 bank.
    pub pcrs: Option<BTreeMap<u8, Vec<[u8; 32]>>>,
    /// Measurements of what was launched.
    pub launch: Option<LaunchValues>,
    /// Values of trust domains' registers.
    pub rtmrs: Option<RtmrValues>,
}

/// What an auditor trusts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust {
    /// Keys that sign fleet statements.
    pub governance: Vec<PublicKey>,
    /// Gateways pinned by name.
    pub gateways: Vec<GatewayId>,
    /// Classes of evidence that are accepted.
    pub accept: Vec<EvidenceClass>,
    /// On whom evidence of processors may rest, if the file says so.
    pub parties: Option<Vec<Party>>,
    /// What is accepted of AMD's processors.
    pub snp: Option<SnpRule>,
    /// What is accepted of Intel's processors.
    pub tdx: Option<TdxRule>,
    /// What is accepted of Azure's paravisor.
    pub azure: Option<AzureRule>,
    /// What is accepted of Google's machines.
    pub gcp: Option<GcpRule>,
    /// Attestation keys that were checked.
    pub attestation_keys: Vec<AkPin>,
    /// Release keys, if any are pinned.
    pub release: Option<Vec<ReleasePin>>,
    /// Rule for bundles, if there is one.
    pub bundles: Option<BundleRule>,
    /// Witnesses whose signatures count.
    pub witnesses: Vec<WitnessPin>,
    /// Rule for the log.
    pub log: LogRule,
    /// Outside clocks.
    pub clocks: Clocks,
    /// Expected values.
    pub reference: Reference,
    /// The file's own bytes; what an export is searched for.
    pub source: Vec<u8>,
}

/// Why a file is no trust file, or no file of reference values.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TrustError {
    /// Not UTF-8.
    #[error("file is not utf-8")]
    NotText,
    /// Not TOML of this shape.
    #[error("{0}")]
    Form(String),
    /// Another version.
    #[error("file has version {found}, this verifier reads version {TRUST_VERSION}")]
    Version {
        /// The file's version.
        found: u64,
    },
    /// A value that is not what its key needs.
    #[error("{key}: {found:?} is not {expected}")]
    Value {
        /// Where in the file.
        key: &'static str,
        /// What stands there.
        found: String,
        /// What should.
        expected: &'static str,
    },
    /// Digits that are none, or of another number.
    #[error("{key}: {found:?} is not {digits} hexadecimal digits")]
    Digits {
        /// Where in the file.
        key: &'static str,
        /// What stands there.
        found: String,
        /// How many there should be.
        digits: usize,
    },
    /// A number of witnesses that can never be met, or always is.
    #[error(
        "[log] min_witnesses is {found}, with {most} independent organisations in [[witnesses]] it has to be 1 to {most}"
    )]
    Witnesses {
        /// What stands there.
        found: u64,
        /// How many organisations there are.
        most: u64,
    },
    /// A root that no clock can have.
    #[error("[[timestamping]] {name:?}: {reason}")]
    Root {
        /// Name of the authority.
        name: String,
        /// What is wrong with its root.
        reason: String,
    },
    /// A rule that can never be met.
    #[error(
        "[bundles] threshold is {threshold}, with {signers} different signers it has to be 1 to {signers}"
    )]
    Threshold {
        /// What stands there.
        threshold: u64,
        /// How many keys there are.
        signers: u64,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TrustFile {
    version: u64,
    #[serde(default)]
    governance: KeysTable,
    #[serde(default)]
    gateways: IdsTable,
    #[serde(default)]
    evidence: EvidenceTable,
    snp: Option<SnpTable>,
    tdx: Option<TdxTable>,
    azure: Option<AzureTable>,
    gcp: Option<GcpTable>,
    release: Option<KeysTable>,
    bundles: Option<BundlesTable>,
    #[serde(default)]
    witnesses: Vec<WitnessTable>,
    #[serde(default)]
    log: LogTable,
    #[serde(default)]
    timestamping: Vec<AuthorityTable>,
    #[serde(default)]
    reference: ReferenceTable,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct KeysTable {
    keys: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct IdsTable {
    ids: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct EvidenceTable {
    accept: Option<Vec<EvidenceClass>>,
    parties: Option<Vec<String>>,
    #[serde(default)]
    attestation_keys: Vec<AkTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AkTable {
    name: String,
    checked_by: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BundlesTable {
    signers: Vec<String>,
    #[serde(default = "one")]
    threshold: u64,
    pinned: Option<Vec<String>>,
}

fn one() -> u64 {
    1
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct LogTable {
    max_unquoted_tail_seconds: Option<u64>,
    max_gap: Option<u64>,
    max_age_seconds: Option<u64>,
    min_witnesses: Option<u64>,
    max_unseen_seconds: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AuthorityTable {
    name: String,
    root: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WitnessTable {
    key: String,
    organisation: String,
    #[serde(default)]
    own: bool,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct ReferenceTable {
    build: Option<Vec<String>>,
    configuration: Option<Vec<String>>,
    launch: Option<BTreeMap<String, Vec<String>>>,
    pcrs: Option<BTreeMap<String, Vec<String>>>,
    rtmrs: Option<BTreeMap<String, Vec<String>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReferenceFile {
    version: u64,
    build: Option<Vec<String>>,
    configuration: Option<Vec<String>>,
    launch: Option<BTreeMap<String, Vec<String>>>,
    pcrs: Option<BTreeMap<String, Vec<String>>>,
    rtmrs: Option<BTreeMap<String, Vec<String>>>,
}

impl Trust {
    /// Reads a trust file.
    ///
    /// # Errors
    /// Why it is none.
    pub fn parse(bytes: &[u8]) -> Result<Self, TrustError> {
        let TrustFile {
            version,
            governance,
            gateways,
            evidence,
            snp,
            tdx,
            azure,
            gcp,
            release,
            bundles,
            witnesses,
            log,
            timestamping,
            reference,
        } = read(bytes)?;
        expect_version(version)?;
        let witnesses = witness_pins(&witnesses)?;
        expect_reachable(log.min_witnesses, &witnesses)?;
        Ok(Self {
            governance: keys("[governance] keys", &governance.keys)?,
            gateways: gateways
                .ids
                .iter()
                .map(|s| hex32("[gateways] ids", s).map(GatewayId))
                .collect::<Result<_, _>>()?,
            accept: evidence
                .accept
                .unwrap_or_else(|| vec![EvidenceClass::HardwareTpm]),
            parties: evidence
                .parties
                .as_deref()
                .map(platform::parties)
                .transpose()?,
            snp: snp.map(platform::snp_rule).transpose()?,
            tdx: tdx.map(platform::tdx_rule).transpose()?,
            azure: azure.as_ref().map(platform::azure_rule),
            gcp: gcp.map(platform::gcp_rule).transpose()?,
            attestation_keys: evidence
                .attestation_keys
                .iter()
                .map(ak_pin)
                .collect::<Result<_, _>>()?,
            release: release
                .map(|t| t.keys.iter().map(|s| release_pin(s)).collect())
                .transpose()?,
            bundles: bundles.map(bundle_rule).transpose()?,
            log: LogRule {
                max_tail_seconds: log
                    .max_unquoted_tail_seconds
                    .unwrap_or(DEFAULT_MAX_TAIL_SECONDS),
                max_gap: log.max_gap.unwrap_or(0),
                max_age_seconds: log.max_age_seconds,
                min_witnesses: log.min_witnesses,
                max_unseen_seconds: log.max_unseen_seconds,
            },
            clocks: clocks(&timestamping)?,
            witnesses,
            reference: reference_values(reference)?,
            source: bytes.to_vec(),
        })
    }
}

impl Reference {
    /// Reads a file of reference values.
    ///
    /// # Errors
    /// Why it is none.
    pub fn parse(bytes: &[u8]) -> Result<Self, TrustError> {
        let ReferenceFile {
            version,
            build,
            configuration,
            launch,
            pcrs,
            rtmrs,
        } = read(bytes)?;
        expect_version(version)?;
        reference_values(ReferenceTable {
            build,
            configuration,
            launch,
            pcrs,
            rtmrs,
        })
    }
}

fn read<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> Result<T, TrustError> {
    let text = std::str::from_utf8(bytes).map_err(|_| TrustError::NotText)?;
    toml::from_str(text).map_err(|e| TrustError::Form(e.to_string().trim_end().to_owned()))
}

fn expect_version(found: u64) -> Result<(), TrustError> {
    if found == TRUST_VERSION {
        Ok(())
    } else {
        Err(TrustError::Version { found })
    }
}

fn hex32(key: &'static str, text: &str) -> Result<[u8; 32], TrustError> {
    let mut out = [0; 32];
    hex::decode_to_slice(text, &mut out)
        .map(|()| out)
        .map_err(|_| TrustError::Value {
            key,
            found: text.to_owned(),
            expected: "64 hexadecimal digits",
        })
}

fn keys(key: &'static str, texts: &[String]) -> Result<Vec<PublicKey>, TrustError> {
    texts
        .iter()
        .map(|text| {
            let bytes = hex32(key, text)?;
            countersign_signatures::ed25519::PublicKey::parse(&bytes).map_err(|_| {
                TrustError::Value {
                    key,
                    found: text.clone(),
                    expected: "an Ed25519 public key",
                }
            })?;
            Ok(PublicKey(bytes))
        })
        .collect()
}

fn ak_pin(table: &AkTable) -> Result<AkPin, TrustError> {
    let wrong = |found: &str, expected| TrustError::Value {
        key: "[[evidence.attestation_keys]]",
        found: found.to_owned(),
        expected,
    };
    let name = hex::decode(&table.name).ok().filter(|n| n.len() == 34);
    let name = name.ok_or_else(|| wrong(&table.name, "the 68 hexadecimal digits of a TPM name"))?;
    if table.checked_by.trim().is_empty() {
        return Err(wrong(
            &table.checked_by,
            "a note who checked the key, and how",
        ));
    }
    Ok(AkPin {
        name,
        checked_by: table.checked_by.clone(),
    })
}

fn release_pin(text: &str) -> Result<ReleasePin, TrustError> {
    if text.len() == 64 {
        return hex32("[release] keys", text).map(ReleasePin::Digest);
    }
    hex::decode(text)
        .ok()
        .filter(|b| b.len() > 32)
        .map(ReleasePin::Public)
        .ok_or_else(|| TrustError::Value {
            key: "[release] keys",
            found: text.to_owned(),
            expected: "hexadecimal digits of a TPMT_PUBLIC or of its SHA-256",
        })
}

fn bundle_rule(table: BundlesTable) -> Result<BundleRule, TrustError> {
    let BundlesTable {
        signers,
        threshold,
        pinned,
    } = table;
    let signers = keys("[bundles] signers", &signers)?;
    let mut distinct: Vec<_> = signers.iter().map(|k| k.0).collect();
    distinct.sort_unstable();
    distinct.dedup();
    let count = u64::try_from(distinct.len()).unwrap_or(u64::MAX);
    // An empty list accepts nothing; that is a rule one may write.
    if threshold == 0 || (count > 0 && threshold > count) {
        return Err(TrustError::Threshold {
            threshold,
            signers: count,
        });
    }
    let pinned = pinned
        .map(|list| {
            list.iter()
                .map(|s| hex32("[bundles] pinned", s).map(ArtifactDigest))
                .collect()
        })
        .transpose()?;
    Ok(BundleRule {
        signers,
        threshold,
        pinned,
    })
}

fn clocks(tables: &[AuthorityTable]) -> Result<Clocks, TrustError> {
    let mut out = Clocks::default();
    for AuthorityTable { name, root } in tables {
        let wrong = |found: &str, expected| TrustError::Value {
            key: "[[timestamping]]",
            found: found.to_owned(),
            expected,
        };
        if name.trim().is_empty() {
            return Err(wrong(name, "the name of an authority"));
        }
        let authority = Authority::from_text(root).map_err(|error| match error {
            RootError::Text => wrong(
                root,
                "one certificate, in pem or the hexadecimal digits of its der",
            ),
            RootError::Certificate(reason) => TrustError::Root {
                name: name.clone(),
                reason: reason.to_string(),
            },
        })?;
        out.names.push(name.clone());
        out.authorities.push(authority);
    }
    Ok(out)
}

fn witness_pins(tables: &[WitnessTable]) -> Result<Vec<WitnessPin>, TrustError> {
    let mut pins: Vec<WitnessPin> = Vec::new();
    for WitnessTable {
        key,
        organisation,
        own,
    } in tables
    {
        let wrong = |found: &str, expected| TrustError::Value {
            key: "[[witnesses]]",
            found: found.to_owned(),
            expected,
        };
        let pinned = NoteKey::parse(key)
            .ok()
            .filter(|k| k.role() == Role::Witness)
            .filter(|k| countersign_signatures::ed25519::PublicKey::parse(&k.key().0).is_ok())
            .ok_or_else(|| {
                wrong(
                    key,
                    "the text of a witness's key, <name>+<key hash>+<base64>",
                )
            })?;
        if organisation.trim().is_empty() {
            return Err(wrong(organisation, "the name of whoever runs the witness"));
        }
        // One key under two organisations would count twice.
        if pins
            .iter()
            .any(|p| p.key.key() == pinned.key() || p.key.name() == pinned.name())
        {
            return Err(wrong(key, "a witness that stands there once"));
        }
        pins.push(WitnessPin {
            key: pinned,
            organisation: organisation.trim().to_owned(),
            standing: if *own {
                Standing::Own
            } else {
                Standing::Independent
            },
        });
    }
    Ok(pins)
}

/// A rule that can never be met, or always is, is a mistake of whoever wrote it.
fn expect_reachable(minimum: Option<u64>, witnesses: &[WitnessPin]) -> Result<(), TrustError> {
    let organisations: std::collections::BTreeSet<&str> = witnesses
        .iter()
        .filter(|w| w.standing == Standing::Independent)
        .map(|w| w.organisation.as_str())
        .collect();
    let most = u64::try_from(organisations.len()).unwrap_or(u64::MAX);
    match minimum {
        Some(found) if found == 0 || found > most => Err(TrustError::Witnesses { found, most }),
        Some(_) | None => Ok(()),
    }
}

fn reference_values(table: ReferenceTable) -> Result<Reference, TrustError> {
    let ReferenceTable {
        build,
        configuration,
        launch,
        pcrs,
        rtmrs,
    } = table;
    let digests = |key, list: Option<Vec<String>>| {
        list.map(|l| {
            l.iter()
                .map(|s| hex32(key, s).map(ArtifactDigest))
                .collect::<Result<Vec<_>, _>>()
        })
        .transpose()
    };
    let registers = |map: BTreeMap<String, Vec<String>>| {
        map.iter()
            .map(|(index, values)| {
                let number = index
                    .parse::<u8>()
                    .ok()
                    .filter(|i| *i < 24 && i.to_string() == *index)
                    .ok_or_else(|| TrustError::Value {
                        key: "pcrs",
                        found: index.clone(),
                        expected: "the number of a register, 0 to 23",
                    })?;
                let values = values
                    .iter()
                    .map(|v| hex32("pcrs", v))
                    .collect::<Result<Vec<_>, _>>()?;
                Ok((number, values))
            })
            .collect::<Result<BTreeMap<_, _>, TrustError>>()
    };
    Ok(Reference {
        build: digests("build", build)?,
        configuration: digests("configuration", configuration)?,
        pcrs: pcrs.map(registers).transpose()?,
        launch: launch.as_ref().map(platform::launch).transpose()?,
        rtmrs: rtmrs.as_ref().map(platform::rtmrs).transpose()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The generator's encoding: a valid Ed25519 key.
    const KEY: &str = "5866666666666666666666666666666666666666666666666666666666666666";

    #[test]
    fn the_default_accepts_hardware_only() {
        let trust = Trust::parse(b"version = 1").unwrap();
        assert_eq!(trust.accept, [EvidenceClass::HardwareTpm]);
    }

    #[test]
    fn a_misspelt_key_is_refused() {
        assert!(matches!(
            Trust::parse(b"version = 1\n[log]\nmax_gaps = 9"),
            Err(TrustError::Form(_))
        ));
    }

    #[test]
    fn another_version_is_refused() {
        assert_eq!(
            Trust::parse(b"version = 2"),
            Err(TrustError::Version { found: 2 })
        );
    }

    #[test]
    fn a_pinned_attestation_key_needs_a_note_who_checked_it() {
        let name = format!("000b{}", "ab".repeat(32));
        let file = format!(
            "version = 1\n[[evidence.attestation_keys]]\nname = \"{name}\"\nchecked_by = \" \""
        );
        assert!(matches!(
            Trust::parse(file.as_bytes()),
            Err(TrustError::Value { .. })
        ));
    }

    #[test]
    fn a_threshold_above_the_number_of_signers_is_refused() {
        let file =
            format!("version = 1\n[bundles]\nsigners = [\"{KEY}\", \"{KEY}\"]\nthreshold = 2");
        assert_eq!(
            Trust::parse(file.as_bytes()),
            Err(TrustError::Threshold {
                threshold: 2,
                signers: 1
            })
        );
    }

    #[test]
    fn a_key_of_small_order_is_refused() {
        let file = format!(
            "version = 1\n[governance]\nkeys = [\"{}\"]",
            "00".repeat(32)
        );
        assert!(matches!(
            Trust::parse(file.as_bytes()),
            Err(TrustError::Value { .. })
        ));
    }

    #[test]
    fn an_empty_list_is_not_an_absent_one() {
        let reference = Reference::parse(b"version = 1\nbuild = []").unwrap();
        assert_eq!(
            (reference.build, reference.configuration),
            (Some(vec![]), None)
        );
    }

    #[test]
    fn a_register_has_one_name() {
        assert!(Reference::parse(b"version = 1\n[pcrs]\n07 = []").is_err());
    }

    #[test]
    fn a_register_that_does_not_exist_is_refused() {
        assert!(Reference::parse(b"version = 1\n[pcrs]\n24 = []").is_err());
    }

    fn parsed(text: &str) -> Result<Trust, TrustError> {
        Trust::parse(format!("version = 1\n{text}").as_bytes())
    }

    /// A table `[snp]` with more in it.
    fn snp(more: &str) -> Result<countersign_evidence::snp::Policy, TrustError> {
        let products =
            "[{ name = \"Milan\", floor = { bootloader = 3, tee = 0, snp = 8, microcode = 115 } }]";
        let trust = parsed(&format!("[snp]\nproducts = {products}\n{more}"))?;
        Ok(trust.snp.unwrap().policy)
    }

    #[test]
    fn each_demand_on_azures_paravisor_is_made_unless_it_is_dropped() {
        use countersign_evidence::azure::{Demand, Hardware, KeyOperationPolicy};
        let policy = |text: &str| {
            let trust = parsed(&format!("[azure]\n{text}")).unwrap();
            let policy = trust.azure.unwrap().policy(Hardware::Snp);
            (
                policy.secure_boot,
                policy.tpm_persisted,
                policy.console_off,
                policy.key_operation,
            )
        };
        let (asked, any) = (Demand::Required, Demand::Any);
        let strict = policy("").3;
        assert_eq!(policy(""), (asked, asked, asked, strict));
        assert_eq!(policy("secure_boot = false"), (any, asked, asked, strict));
        assert_eq!(policy("tpm_persisted = false"), (asked, any, asked, strict));
        assert_eq!(policy("console_off = false"), (asked, asked, any, strict));
        let old = policy("old_key_operation = true");
        assert_eq!(old, (asked, asked, asked, KeyOperationPolicy::EncryptToo));
        assert_ne!(strict, KeyOperationPolicy::EncryptToo);
    }

    #[test]
    fn numbers_with_full_stops_have_one_form() {
        let abi = |text: &str| snp(&format!("guest_abi = \"{text}\"")).map(|p| p.guest_abi);
        assert_eq!(abi("1.55"), Ok(Some((1, 55))));
        assert_eq!(abi("0.255"), Ok(Some((0, 255))));
        for wrong in ["1", "1.55.0", "01.55", "1.+5", "1.256", "1.", ""] {
            assert!(abi(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn chips_are_named_by_all_of_their_digits() {
        let denied =
            |digits: &str| snp(&format!("denied_chips = [\"{digits}\"]")).map(|p| p.denied_chips);
        let chip = countersign_evidence::snp::ChipId([0xab; 64]);
        assert_eq!(denied(&"ab".repeat(64)), Ok(vec![chip]));
        assert!(denied(&"ab".repeat(63)).is_err());
    }

    #[test]
    fn a_platform_that_was_revoked_cannot_be_accepted() {
        let statuses = |status: &str| parsed(&format!("[tdx]\nstatuses = [\"{status}\"]"));
        assert!(statuses("UpToDate").is_ok() && statuses("OutOfDate").is_ok());
        assert!(statuses("Revoked").is_err() && statuses("Splendid").is_err());
    }

    #[test]
    fn registers_of_a_trust_domain_are_0_to_3() {
        let of = |index: &str| {
            let value = "ab".repeat(48);
            parsed(&format!("[reference.rtmrs]\n{index} = [\"{value}\"]"))
        };
        assert!(of("0").is_ok() && of("3").is_ok());
        assert!(of("4").is_err() && of("03").is_err() && of("x").is_err());
    }
}

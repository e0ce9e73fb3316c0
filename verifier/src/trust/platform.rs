//! What an auditor accepts of processors: tables `[snp]`, `[tdx]`, `[azure]` and `[gcp]` of the trust file.
//!
//! In: the tables. Out: policies of `countersign-evidence`, without the report data, which come from what is
//! verified, and without measurements, which are reference values; and the roots that chains have to end in.
//! A table that is absent leaves its rules unchecked, and a verdict about such a platform is not possible.
//!
//! ```toml
//! [evidence]
//! parties = ["amd", "microsoft-paravisor"]   # on whom evidence may rest; see docs/spec/evidence.md
//! [snp]
//! revocation = "required"                    # this is the default; or "optional"
//! vmpl = 0                                   # lowest privilege that may have asked
//! providers = []                             # whose VLEKs are accepted
//! platform_required = ["alias-check"]        # this is the default
//! [[snp.products]]                           # a product that is not here is refused
//! name = "Genoa"
//! floor = { bootloader = 10, tee = 0, snp = 23, microcode = 84 }
//! firmware = "1.55.40"
//! [tdx]
//! statuses = ["UpToDate"]                    # this is the default
//! grace_days = 30
//! evaluation_floor = 17
//! [azure]
//! secure_boot = true                         # the default of this and the next two
//! tpm_persisted = true
//! console_off = true
//! [gcp]
//! instances = [{ project = "acme", id = 4711 }]   # optional: machines that are accepted
//! [gcp.endorsement]                          # optional: Google's statement about the firmware has to be there
//! roots = ["<96 hex digits>"]                # SHA-384 of the key that may make it; none is built in
//! svn_floor = 5
//! stands_for_launch = true                   # in place of a reference value; false otherwise
//! ```

use super::TrustError;
use countersign_evidence::azure::{AzurePolicy, Demand, Hardware, KeyOperationPolicy};
use countersign_evidence::gcp::EndorsementPolicy;
use countersign_evidence::party::{Party, PartyName};
use countersign_evidence::tpm::{AkRoot, AkRootKind, AkRoots, InstanceId};
use countersign_evidence::{snp, tdx};
use countersign_record::binding::Profile;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// What is accepted of AMD's processors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnpRule {
    /// The policy, without report data and measurements.
    pub policy: snp::Policy,
    /// Where chains have to end.
    pub roots: Pinned<snp::Roots>,
}

/// What is accepted of Intel's processors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TdxRule {
    /// The policy, without report data and measurements.
    pub policy: tdx::Policy,
    /// Where chains have to end.
    pub roots: Pinned<tdx::Roots>,
}

/// Whose roots count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pinned<R> {
    /// The vendor's, as this verifier carries them.
    Vendor,
    /// Those that the trust file names instead. What stands under them is no vendor's word, and reports say so.
    TrustFile(R),
}

/// What is accepted of Azure's paravisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AzureRule {
    secure_boot: Demand,
    tpm_persisted: Demand,
    console_off: Demand,
    key_operation: KeyOperationPolicy,
}

impl AzureRule {
    /// The policy for that hardware.
    #[must_use]
    pub fn policy(&self, hardware: Hardware) -> AzurePolicy {
        AzurePolicy {
            secure_boot: self.secure_boot,
            tpm_persisted: self.tpm_persisted,
            console_off: self.console_off,
            key_operation: self.key_operation,
            ..AzurePolicy::strict(hardware)
        }
    }
}

/// What is accepted of Google's machines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GcpRule {
    /// Machines that are accepted, if any are named.
    pub instances: Option<Vec<InstanceId>>,
    /// Who certifies keys of their TPMs.
    pub roots: Pinned<AkRoots>,
    /// What a statement about the firmware has to be, if one has to be there.
    pub endorsement: Option<EndorsementRule>,
}

/// What a statement of Google's about the firmware has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndorsementRule {
    /// Who may make it, about what.
    pub policy: EndorsementPolicy,
    /// Whether it stands for a reference value of what was launched.
    pub stands_for_launch: bool,
}

/// Measurements of what was launched, SHA-384, each for the profile on which it may have been.
///
/// What Azure launches is its paravisor, what Google launches its firmware, and a value that is right for one says nothing on
/// another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LaunchValues(BTreeMap<Profile, Vec<[u8; 48]>>);

impl LaunchValues {
    /// Those of a profile, if there are any.
    #[must_use]
    pub fn of(&self, profile: Profile) -> Option<&[[u8; 48]]> {
        self.0.get(&profile).map(Vec::as_slice)
    }

    /// Those of any of these profiles, if there are any.
    #[must_use]
    pub fn of_any(&self, profiles: &[Profile]) -> Option<Vec<[u8; 48]>> {
        let lists: Vec<_> = profiles.iter().filter_map(|p| self.of(*p)).collect();
        (!lists.is_empty()).then(|| lists.concat())
    }
}

/// Registers of trust domains, by number.
pub type RtmrValues = BTreeMap<u8, Vec<[u8; 48]>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SnpTable {
    products: Vec<ProductTable>,
    revocation: Option<Revocation>,
    vmpl: Option<u32>,
    #[serde(default)]
    providers: Vec<String>,
    #[serde(default)]
    denied_chips: Vec<String>,
    guest_abi: Option<String>,
    #[serde(default)]
    guest_required: Vec<GuestWord>,
    #[serde(default)]
    guest_forbidden: Vec<GuestWord>,
    platform_required: Option<Vec<PlatformWord>>,
    #[serde(default)]
    platform_forbidden: Vec<PlatformWord>,
    host_data: Option<String>,
    id_keys: Option<Vec<String>>,
    author_keys: Option<Vec<String>>,
    guest_svn: Option<u32>,
    roots: Option<Vec<SnpRootTable>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProductTable {
    name: String,
    floor: Option<TcbTable>,
    firmware: Option<String>,
    mitigations: Option<String>,
    chips: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TcbTable {
    fmc: Option<u8>,
    bootloader: u8,
    tee: u8,
    snp: u8,
    microcode: u8,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SnpRootTable {
    product: String,
    key: String,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum Revocation {
    Required,
    Optional,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
enum GuestWord {
    Smt,
    SingleSocket,
    Cxl,
    #[serde(rename = "aes-256")]
    Aes256,
    RaplOff,
    CiphertextHiding,
    PageSwapOff,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
enum PlatformWord {
    Smt,
    Tsme,
    Ecc,
    RaplOff,
    CiphertextHiding,
    AliasCheck,
    Tio,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TdxTable {
    statuses: Option<Vec<String>>,
    #[serde(default)]
    grace_days: u32,
    #[serde(default)]
    denied_advisories: Vec<String>,
    evaluation_floor: Option<u32>,
    tee_tcb_floor: Option<String>,
    mrseam: Option<Vec<String>>,
    #[serde(default)]
    features: Vec<FeatureWord>,
    #[serde(default)]
    flags: Vec<FlagWord>,
    sept_ve: Option<SeptVeWord>,
    xfam: Option<String>,
    mrconfigid: Option<Vec<String>>,
    mrowner: Option<Vec<String>>,
    mrownerconfig: Option<Vec<String>>,
    platforms: Option<Vec<String>>,
    #[serde(default)]
    denied_platforms: Vec<String>,
    roots: Option<Vec<String>>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum FeatureWord {
    Lass,
    Pks,
    KeyLocker,
    Perfmon,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum FlagWord {
    DynamicPlatform,
    CachedKeys,
    Smt,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
enum SeptVeWord {
    MustBeDisabled,
    AzureParavisor,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AzureTable {
    #[serde(default = "yes")]
    secure_boot: bool,
    #[serde(default = "yes")]
    tpm_persisted: bool,
    #[serde(default = "yes")]
    console_off: bool,
    #[serde(default)]
    old_key_operation: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GcpTable {
    instances: Option<Vec<InstanceTable>>,
    roots: Option<Vec<String>>,
    endorsement: Option<EndorsementTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InstanceTable {
    project: String,
    id: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EndorsementTable {
    roots: Vec<String>,
    firmware: Option<Vec<String>>,
    svn_floor: Option<u32>,
    #[serde(default)]
    stands_for_launch: bool,
}

fn yes() -> bool {
    true
}

/// Parties on whom evidence may rest.
pub(super) fn parties(list: &[String]) -> Result<Vec<Party>, TrustError> {
    let read = |text: &String| {
        text.parse()
            .map_err(|_| wrong("[evidence] parties", text, "a party of evidence.md"))
    };
    list.iter().map(read).collect()
}

pub(super) fn snp_rule(table: SnpTable) -> Result<SnpRule, TrustError> {
    let SnpTable {
        products,
        revocation,
        vmpl,
        providers,
        denied_chips,
        guest_abi,
        guest_required,
        guest_forbidden,
        platform_required,
        platform_forbidden,
        host_data,
        id_keys,
        author_keys,
        guest_svn,
        roots,
    } = table;
    let key_digests = |key, list: Option<Vec<String>>| {
        list.map(|l| {
            l.iter()
                .map(|t| digits(key, t).map(snp::KeyDigest))
                .collect()
        })
        .transpose()
    };
    let policy = snp::Policy {
        products: products_of(products)?,
        providers: providers
            .iter()
            .map(|t| {
                PartyName::parse(t).map_err(|_| wrong("[snp] providers", t, "the id of a provider"))
            })
            .collect::<Result<_, _>>()?,
        denied_chips: chips("[snp] denied_chips", &denied_chips)?,
        revocation: match revocation {
            Some(Revocation::Optional) => snp::Requirement::Optional,
            Some(Revocation::Required) | None => snp::Requirement::Required,
        },
        vmpl: snp::Vmpl(vmpl.unwrap_or(0)),
        report_data: None,
        guest_abi: guest_abi
            .map(|t| {
                numbers(&t)
                    .ok_or_else(|| wrong("[snp] guest_abi", &t, "two numbers such as 1.55"))
                    .map(|[major, minor]| (major, minor))
            })
            .transpose()?,
        guest_required: guest_required.into_iter().map(guest).collect(),
        guest_forbidden: guest_forbidden.into_iter().map(guest).collect(),
        platform_required: platform_required.map_or_else(
            || vec![snp::PlatformFeature::AliasCheck],
            |words| words.into_iter().map(platform).collect(),
        ),
        platform_forbidden: platform_forbidden.into_iter().map(platform).collect(),
        measurements: None,
        host_data: host_data
            .map(|t| digits("[snp] host_data", &t).map(snp::HostData))
            .transpose()?,
        id_keys: key_digests("[snp] id_keys", id_keys)?,
        author_keys: key_digests("[snp] author_keys", author_keys)?,
        image: None,
        guest_svn,
    };
    let roots = match roots {
        None => Pinned::Vendor,
        Some(list) => Pinned::TrustFile(snp::Roots::of(
            list.iter().map(snp_root).collect::<Result<_, _>>()?,
        )),
    };
    Ok(SnpRule { policy, roots })
}

fn products_of(
    tables: Vec<ProductTable>,
) -> Result<BTreeMap<snp::Product, snp::ProductPolicy>, TrustError> {
    let mut out = BTreeMap::new();
    for ProductTable {
        name,
        floor,
        firmware,
        mitigations,
        chips: only,
    } in tables
    {
        let product = product(&name)?;
        let policy = snp::ProductPolicy {
            floor: floor.map(|t| snp::Tcb {
                fmc: t.fmc,
                bootloader: t.bootloader,
                tee: t.tee,
                snp: t.snp,
                microcode: t.microcode,
            }),
            firmware: firmware
                .map(|t| {
                    numbers(&t)
                        .map(|[major, minor, build]| snp::Firmware {
                            major,
                            minor,
                            build,
                        })
                        .ok_or_else(|| {
                            wrong(
                                "[[snp.products]] firmware",
                                &t,
                                "three numbers such as 1.55.40",
                            )
                        })
                })
                .transpose()?,
            mitigations: mitigations
                .map(|t| {
                    digits("[[snp.products]] mitigations", &t)
                        .map(|bytes| snp::MitigationBits(u64::from_be_bytes(bytes)))
                })
                .transpose()?,
            chips: only
                .map(|list| chips("[[snp.products]] chips", &list))
                .transpose()?,
        };
        if out.insert(product, policy).is_some() {
            return Err(wrong(
                "[[snp.products]]",
                &name,
                "a product that stands there once",
            ));
        }
    }
    Ok(out)
}

fn product(name: &str) -> Result<snp::Product, TrustError> {
    name.parse()
        .map_err(|_| wrong("[snp] product", name, "Milan, Genoa or Turin"))
}

fn snp_root(table: &SnpRootTable) -> Result<snp::Root, TrustError> {
    Ok(snp::Root {
        product: product(&table.product)?,
        key: snp::SpkiDigest(digits("[[snp.roots]] key", &table.key)?),
    })
}

fn chips(key: &'static str, list: &[String]) -> Result<Vec<snp::ChipId>, TrustError> {
    list.iter()
        .map(|t| digits(key, t).map(snp::ChipId))
        .collect()
}

fn guest(word: GuestWord) -> snp::GuestFeature {
    use snp::GuestFeature as F;
    match word {
        GuestWord::Smt => F::Smt,
        GuestWord::SingleSocket => F::SingleSocket,
        GuestWord::Cxl => F::Cxl,
        GuestWord::Aes256 => F::Aes256,
        GuestWord::RaplOff => F::RaplOff,
        GuestWord::CiphertextHiding => F::CiphertextHiding,
        GuestWord::PageSwapOff => F::PageSwapOff,
    }
}

fn platform(word: PlatformWord) -> snp::PlatformFeature {
    use snp::PlatformFeature as F;
    match word {
        PlatformWord::Smt => F::Smt,
        PlatformWord::Tsme => F::Tsme,
        PlatformWord::Ecc => F::Ecc,
        PlatformWord::RaplOff => F::RaplOff,
        PlatformWord::CiphertextHiding => F::CiphertextHiding,
        PlatformWord::AliasCheck => F::AliasCheck,
        PlatformWord::Tio => F::Tio,
    }
}

pub(super) fn tdx_rule(table: TdxTable) -> Result<TdxRule, TrustError> {
    let TdxTable {
        statuses,
        grace_days,
        denied_advisories,
        evaluation_floor,
        tee_tcb_floor,
        mrseam,
        features,
        flags,
        sept_ve,
        xfam,
        mrconfigid,
        mrowner,
        mrownerconfig,
        platforms,
        denied_platforms,
        roots,
    } = table;
    // The report data are put in where something is verified.
    let strict = tdx::Policy::strict(tdx::ReportData::ZERO);
    let measured = |key, list: Option<Vec<String>>, default: &Option<Vec<tdx::Measurement>>| {
        list.map_or_else(
            || Ok(default.clone()),
            |l| measurements(key, &l).map(|l| Some(l.into_iter().map(tdx::Measurement).collect())),
        )
    };
    let ppids = |key, list: &[String]| {
        list.iter()
            .map(|t| digits(key, t).map(tdx::Ppid))
            .collect::<Result<Vec<_>, _>>()
    };
    let flag = |word| {
        if flags.contains(&word) {
            tdx::Flag::MayBeOn
        } else {
            tdx::Flag::MustBeOff
        }
    };
    let policy = tdx::Policy {
        report_data: None,
        mrseam: measured("[tdx] mrseam", mrseam, &strict.mrseam)?,
        mrtd: None,
        mrconfigid: measured("[tdx] mrconfigid", mrconfigid, &strict.mrconfigid)?,
        mrowner: measured("[tdx] mrowner", mrowner, &strict.mrowner)?,
        mrownerconfig: measured("[tdx] mrownerconfig", mrownerconfig, &strict.mrownerconfig)?,
        rtmrs: [None, None, None, None],
        features: features.into_iter().map(feature).collect(),
        sept_ve: match sept_ve {
            Some(SeptVeWord::AzureParavisor) => tdx::SeptVe::AzureParavisor,
            Some(SeptVeWord::MustBeDisabled) | None => tdx::SeptVe::MustBeDisabled,
        },
        xfam: xfam
            .map(|t| digits("[tdx] xfam", &t).map(|b| tdx::Xfam(u64::from_be_bytes(b))))
            .transpose()?
            .unwrap_or(strict.xfam),
        statuses: statuses
            .map(|l| l.iter().map(|t| status(t)).collect::<Result<_, _>>())
            .transpose()?
            .unwrap_or(strict.statuses),
        grace: Duration::from_secs(u64::from(grace_days).saturating_mul(86_400)),
        denied_advisories,
        evaluation_floor,
        tee_tcb_floor: tee_tcb_floor
            .map(|t| digits("[tdx] tee_tcb_floor", &t).map(tdx::TeeTcbSvn))
            .transpose()?,
        flags: tdx::Flags {
            dynamic_platform: flag(FlagWord::DynamicPlatform),
            cached_keys: flag(FlagWord::CachedKeys),
            smt: flag(FlagWord::Smt),
        },
        platforms: platforms
            .map(|l| ppids("[tdx] platforms", &l))
            .transpose()?,
        denied_platforms: ppids("[tdx] denied_platforms", &denied_platforms)?,
    };
    let roots = match roots {
        None => Pinned::Vendor,
        Some(list) => Pinned::TrustFile(tdx::Roots::of(
            list.iter()
                .map(|t| digits("[tdx] roots", t).map(tdx::RootDigest))
                .collect::<Result<_, _>>()?,
        )),
    };
    Ok(TdxRule { policy, roots })
}

fn feature(word: FeatureWord) -> tdx::Features {
    match word {
        FeatureWord::Lass => tdx::Features::Lass,
        FeatureWord::Pks => tdx::Features::Pks,
        FeatureWord::KeyLocker => tdx::Features::KeyLocker,
        FeatureWord::Perfmon => tdx::Features::Perfmon,
    }
}

fn status(text: &str) -> Result<tdx::TcbStatus, TrustError> {
    tdx::TcbStatus::parse(text)
        .filter(|s| *s != tdx::TcbStatus::Revoked)
        .ok_or_else(|| wrong("[tdx] statuses", text, "a status of Intel's but Revoked"))
}

pub(super) fn azure_rule(table: &AzureTable) -> AzureRule {
    let demand = |asked| if asked { Demand::Required } else { Demand::Any };
    AzureRule {
        secure_boot: demand(table.secure_boot),
        tpm_persisted: demand(table.tpm_persisted),
        console_off: demand(table.console_off),
        key_operation: if table.old_key_operation {
            KeyOperationPolicy::EncryptToo
        } else {
            KeyOperationPolicy::SignOnly
        },
    }
}

pub(super) fn gcp_rule(table: GcpTable) -> Result<GcpRule, TrustError> {
    let GcpTable {
        instances,
        roots,
        endorsement,
    } = table;
    let instance = |InstanceTable { project, id }| InstanceId {
        project,
        instance: id,
    };
    let google = |key| AkRoot {
        key,
        kind: AkRootKind::Google,
    };
    Ok(GcpRule {
        instances: instances.map(|list| list.into_iter().map(instance).collect()),
        roots: match roots {
            None => Pinned::Vendor,
            Some(list) => Pinned::TrustFile(AkRoots::of(
                measurements("[gcp] roots", &list)?
                    .into_iter()
                    .map(google)
                    .collect(),
            )),
        },
        endorsement: endorsement.map(endorsement_rule).transpose()?,
    })
}

fn endorsement_rule(table: EndorsementTable) -> Result<EndorsementRule, TrustError> {
    let EndorsementTable {
        roots,
        firmware,
        svn_floor,
        stands_for_launch,
    } = table;
    Ok(EndorsementRule {
        policy: EndorsementPolicy {
            roots: measurements("[gcp.endorsement] roots", &roots)?,
            firmware: firmware
                .map(|list| measurements("[gcp.endorsement] firmware", &list))
                .transpose()?,
            svn_floor,
        },
        stands_for_launch,
    })
}

/// Measurements of what was launched, by the names of profiles that have a processor's report.
pub(super) fn launch(table: &BTreeMap<String, Vec<String>>) -> Result<LaunchValues, TrustError> {
    let values = table.iter().map(|(name, values)| {
        let profile = Profile::from_name(name)
            .filter(|profile| profile.has_report())
            .ok_or_else(|| {
                wrong(
                    "launch",
                    name,
                    "a platform profile with a processor's report",
                )
            })?;
        Ok((profile, measurements("launch", values)?))
    });
    values.collect::<Result<_, _>>().map(LaunchValues)
}

fn measurements(key: &'static str, list: &[String]) -> Result<Vec<[u8; 48]>, TrustError> {
    list.iter().map(|t| digits(key, t)).collect()
}

/// Registers of trust domains.
pub(super) fn rtmrs(table: &BTreeMap<String, Vec<String>>) -> Result<RtmrValues, TrustError> {
    table
        .iter()
        .map(|(index, values)| {
            let number = index
                .parse::<u8>()
                .ok()
                .filter(|i| *i < 4 && i.to_string() == *index)
                .ok_or_else(|| wrong("rtmrs", index, "the number of a register, 0 to 3"))?;
            Ok((number, measurements("rtmrs", values)?))
        })
        .collect()
}

/// Hexadecimal digits of exactly so many bytes.
fn digits<const N: usize>(key: &'static str, text: &str) -> Result<[u8; N], TrustError> {
    let mut out = [0; N];
    match hex::decode_to_slice(text, &mut out) {
        Ok(()) => Ok(out),
        Err(_) => Err(TrustError::Digits {
            key,
            found: text.to_owned(),
            digits: N.saturating_mul(2),
        }),
    }
}

/// Numbers from 0 to 255 with full stops between them.
fn numbers<const N: usize>(text: &str) -> Option<[u8; N]> {
    let list: Option<Vec<u8>> = text
        .split('.')
        .map(|part| part.parse().ok().filter(|n: &u8| n.to_string() == part))
        .collect();
    list?.try_into().ok()
}

fn wrong(key: &'static str, found: &str, expected: &'static str) -> TrustError {
    TrustError::Value {
        key,
        found: found.to_owned(),
        expected,
    }
}

//! `countersign.toml`: where this gateway listens, which keys it obeys, who its tenants are.
//!
//! In: the text of the file. Out: [`Settings`], units in the types, nothing that can be
//! switched off. All sections are required but those marked; unknown keys are refused.
//! Plain HTTP has to be asked for, and is only for loopback.

use crate::problem::{Problem, Report, Source};
use crate::site::egress::{EgressSection, EgressSettings, egress};
use crate::site::profiles::{Profile, ProfileSection, profiles};
use crate::site::telemetry::{TelemetrySection, TelemetrySettings, telemetry};
use crate::site::text::{hex_array, key, plain_name, toml_file};
use countersign_record::digest::{ArtifactDigest, PublicKey, TenantId};
use countersign_record::note::{NoteKey, Role};
use countersign_timestamps::Authority;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use toml::Spanned;

/// Name of the file.
pub const SETTINGS_FILE: &str = "countersign.toml";

/// A gateway's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Name of the site; every bundle carries it.
    pub name: String,
    /// Tenants, in the order of the file.
    pub tenants: Vec<Tenant>,
    /// Where agents and people reach the gateway.
    pub listen: Listen,
    /// The TPM: `device:<path>` or `swtpm:<host>:<port>`.
    pub tpm: String,
    /// What may unseal.
    pub release: Release,
    /// The customer's key over enrolment and recovery.
    pub governance: PublicKey,
    /// Which bundles are accepted, and what the next one is called.
    pub bundle: BundleSettings,
    /// Time between two renewals of the epoch's evidence; a lease.
    pub renewal_interval: Duration,
    /// X25519 key that the storage keys are also wrapped to.
    pub recovery: [u8; 32],
    /// Witnesses, in the order of the file.
    pub witnesses: Vec<WitnessSettings>,
    /// What is asked of them.
    pub witness_rule: WitnessRule,
    /// Timestamping authorities, in the order of the file.
    pub timestamping: Vec<AuthoritySettings>,
    /// Its own disclosure profiles, by name, for the next bundle.
    pub profiles: Vec<Profile>,
    /// Where traces, metrics and logs go; nowhere, if left out.
    pub telemetry: TelemetrySettings,
    /// How addresses of names are found.
    pub egress: EgressSettings,
}

/// Where agents and people reach the gateway, and what protects the way there.
///
/// INVARIANT: a plain one is on loopback, and was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    address: SocketAddr,
    protection: Protection,
}

impl Listen {
    /// The address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What protects the way there.
    #[must_use]
    pub fn protection(&self) -> &Protection {
        &self.protection
    }
}

/// What protects the way to the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Protection {
    /// That nobody else can go it: plain HTTP on a loopback address.
    Loopback,
    /// TLS.
    Tls(TlsFiles),
}

/// The files that TLS is made from. A path that is not absolute begins at the site directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The gateway's certificate, and after it those that lead to an authority, in PEM.
    pub certificate: PathBuf,
    /// Its key, in PEM.
    pub key: PathBuf,
}

/// A program of somebody else that is reached over plain HTTP: what it says is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlainAddress {
    /// Host and port.
    pub authority: String,
    /// Empty, or a path that begins with a slash.
    pub path: String,
}

/// An outside clock that is asked to stamp checkpoints (RFC 3161).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthoritySettings {
    /// Who it is; each has a name of its own.
    pub name: String,
    /// Where requests are sent.
    pub address: PlainAddress,
    /// What its tokens have to lead to before they are kept.
    pub root: Authority,
}

/// Somebody who cosigns checkpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessSettings {
    /// Where it is; the protocol's paths come after the path.
    pub address: PlainAddress,
    /// Name and key of its signatures.
    pub key: NoteKey,
    /// Who runs it.
    pub organisation: String,
    /// Whose it is.
    pub standing: Standing,
}

/// Whether a witness says anything against the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Others run it.
    Independent,
    /// The operator runs it; it never counts.
    Own,
}

/// What is asked of witnesses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WitnessRule {
    /// Independent organisations that must have cosigned the intent of a call under `witnessed`.
    pub quorum: usize,
    /// Independent organisations that must have cosigned this epoch before the first call.
    pub start_requires: usize,
    /// How long a call waits for them.
    pub wait: Duration,
}

/// Independent organisations among witnesses.
#[must_use]
pub fn independent(witnesses: &[WitnessSettings]) -> BTreeSet<&str> {
    witnesses
        .iter()
        .filter(|w| w.standing == Standing::Independent)
        .map(|w| w.organisation.as_str())
        .collect()
}

/// A tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// Pseudonym that stands in entries.
    pub id: TenantId,
    /// Name in this site.
    pub name: String,
}

/// Who signs releases, and which release this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Release {
    /// The vendor's key: an uncompressed P-256 point (SEC1), because TPMs verify with it.
    pub key: [u8; 65],
    /// Number of this release; below the floor of the TPM, nothing unseals.
    pub sequence: u64,
}

/// Which bundles are accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleSettings {
    /// Keys whose signatures count.
    pub signers: Vec<PublicKey>,
    /// How many of them must sign.
    pub threshold: usize,
    /// Environment, such as `production`.
    pub environment: String,
    /// Version of the bundle that is built from this directory.
    pub version: u64,
    /// Lowest version that is accepted.
    pub minimum_version: u64,
    /// The one bundle that is accepted, where it is pinned.
    pub pinned: Option<ArtifactDigest>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    site: SiteSection,
    #[serde(default)]
    tenants: Vec<TenantSection>,
    listen: ListenSection,
    tls: Option<TlsSection>,
    tpm: Address,
    release: ReleaseSection,
    governance: Key,
    bundle: BundleSection,
    renewal: Renewal,
    recovery: Key,
    #[serde(default)]
    witnesses: Vec<WitnessSection>,
    witness_rule: Option<WitnessRuleSection>,
    #[serde(default)]
    timestamping: Vec<AuthoritySection>,
    #[serde(default)]
    profiles: BTreeMap<String, ProfileSection>,
    telemetry: Option<TelemetrySection>,
    egress: Option<EgressSection>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SiteSection {
    name: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TenantSection {
    id: Spanned<String>,
    name: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListenSection {
    address: Spanned<String>,
    plain_http: Option<Spanned<bool>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TlsSection {
    certificate: Spanned<String>,
    key: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Address {
    address: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReleaseSection {
    public_key: Spanned<String>,
    sequence: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Key {
    public_key: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BundleSection {
    signers: Vec<Spanned<String>>,
    threshold: Spanned<u64>,
    environment: Spanned<String>,
    version: Spanned<u64>,
    minimum_version: u64,
    pinned_digest: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Renewal {
    interval_seconds: Spanned<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WitnessSection {
    url: Spanned<String>,
    key: Spanned<String>,
    organisation: Spanned<String>,
    #[serde(default)]
    own: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AuthoritySection {
    name: Spanned<String>,
    url: Spanned<String>,
    root: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WitnessRuleSection {
    quorum: Spanned<u64>,
    start_requires: Option<Spanned<u64>>,
    wait_seconds: Option<Spanned<u64>>,
}

/// How long a call waits for witnesses, in seconds, and what it may be set to. A submission takes two round trips.
const WAIT_SECONDS: u64 = 5;
const WAIT_RANGE: std::ops::RangeInclusive<u64> = 1..=60;

/// Shortest and longest time between renewals, in seconds: a TPM takes about a second for one, and a
/// cut of the log loses at most one interval.
const RENEWAL_SECONDS: std::ops::RangeInclusive<u64> = 5..=3600;

impl Settings {
    /// Reads the file; problems go to the report.
    pub(crate) fn parse(text: &str, report: &mut Report) -> Option<Self> {
        let source = Source {
            file: SETTINGS_FILE,
            text,
        };
        let file: File = toml_file(source, report)?;
        let before = report.count();
        let name = plain_name(source, "site.name", &file.site.name, report);
        let tenants = tenants(source, &file.tenants, report);
        let listen = listen(source, &file.listen, file.tls.as_ref(), report);
        let tpm = tpm(source, &file.tpm.address, report);
        let release_key = hex_array(
            source,
            "release.public_key",
            &file.release.public_key,
            report,
        );
        let governance = key(
            source,
            "governance.public_key",
            &file.governance.public_key,
            report,
        );
        let recovery = hex_array(
            source,
            "recovery.public_key",
            &file.recovery.public_key,
            report,
        );
        let bundle = bundle(source, &file.bundle, report);
        let seconds = file.renewal.interval_seconds;
        if !RENEWAL_SECONDS.contains(seconds.get_ref()) {
            let expected = format!(
                "{} to {} seconds",
                RENEWAL_SECONDS.start(),
                RENEWAL_SECONDS.end()
            );
            let found = seconds.get_ref().to_string();
            report.value(
                source,
                seconds.span(),
                "renewal.interval_seconds",
                &found,
                expected,
            );
        }
        let witnesses = witnesses(source, &file.witnesses, report);
        let witness_rule = witness_rule(source, file.witness_rule.as_ref(), &witnesses, report);
        let timestamping = timestamping(source, &file.timestamping, report);
        let profiles = profiles(source, &file.profiles, report);
        let telemetry = telemetry(source, file.telemetry.as_ref(), report);
        let egress = egress(source, file.egress.as_ref(), report);
        if report.count() > before {
            return None;
        }
        Some(Self {
            name: name?,
            tenants,
            listen: listen?,
            tpm,
            release: Release {
                key: release_key?,
                sequence: file.release.sequence,
            },
            governance: governance?,
            bundle: bundle?,
            renewal_interval: Duration::from_secs(seconds.into_inner()),
            recovery: recovery?,
            witnesses,
            witness_rule,
            timestamping,
            profiles,
            telemetry,
            egress,
        })
    }
}

fn witnesses(
    source: Source<'_>,
    sections: &[WitnessSection],
    report: &mut Report,
) -> Vec<WitnessSettings> {
    let mut out: Vec<WitnessSettings> = Vec::new();
    for w in sections {
        let Some(address) = plain_address(source, "witnesses.url", &w.url, report) else {
            continue;
        };
        // The protocol's paths begin with a slash.
        let address = PlainAddress {
            path: address.path.trim_end_matches('/').to_owned(),
            ..address
        };
        let key = NoteKey::parse(w.key.get_ref())
            .ok()
            .filter(|k| k.role() == Role::Witness);
        let Some(key) = key else {
            let expected = "the text of a witness's key: <name>+<key hash>+<base64>";
            let found = w.key.get_ref();
            report.value(source, w.key.span(), "witnesses.key", found, expected);
            continue;
        };
        if w.organisation.get_ref().trim().is_empty() {
            let (span, expected) = (w.organisation.span(), "who runs the witness");
            report.value(source, span, "witnesses.organisation", "", expected);
        }
        // One key is one witness, whatever names it has.
        let same = |other: &&WitnessSettings| {
            other.key.name() == key.name() || other.key.key() == key.key()
        };
        if out.iter().any(|other| same(&other)) {
            report.at(
                source,
                w.key.span(),
                Problem::Duplicate {
                    what: "witness",
                    name: key.name().to_owned(),
                    first: SETTINGS_FILE.to_owned(),
                },
            );
        }
        out.push(WitnessSettings {
            address,
            key,
            organisation: w.organisation.get_ref().trim().to_owned(),
            standing: if w.own {
                Standing::Own
            } else {
                Standing::Independent
            },
        });
    }
    out
}

fn timestamping(
    source: Source<'_>,
    sections: &[AuthoritySection],
    report: &mut Report,
) -> Vec<AuthoritySettings> {
    let mut out: Vec<AuthoritySettings> = Vec::new();
    for AuthoritySection { name, url, root } in sections {
        let address = plain_address(source, "timestamping.url", url, report);
        let parsed = Authority::from_text(root.get_ref())
            .map_err(|why| {
                let expected =
                    format!("a root certificate, in pem or its der in hexadecimal: {why}");
                report.value(source, root.span(), "timestamping.root", "", expected);
            })
            .ok();
        let text = name.get_ref().trim();
        if text.is_empty() {
            let (span, expected) = (name.span(), "who the authority is");
            report.value(source, span, "timestamping.name", "", expected);
        }
        // Its tokens are kept under its name.
        if out.iter().any(|other| other.name == text) {
            report.at(
                source,
                name.span(),
                Problem::Duplicate {
                    what: "timestamping authority",
                    name: text.to_owned(),
                    first: SETTINGS_FILE.to_owned(),
                },
            );
        }
        if let (Some(address), Some(root)) = (address, parsed) {
            out.push(AuthoritySettings {
                name: text.to_owned(),
                address,
                root,
            });
        }
    }
    out
}

/// An address over plain HTTP; nothing else may stand in it.
fn plain_address(
    source: Source<'_>,
    key: &str,
    url: &Spanned<String>,
    report: &mut Report,
) -> Option<PlainAddress> {
    let address = parse_plain(url.get_ref());
    if address.is_none() {
        let expected = "http://<host>:<port>, and a path where there is one";
        report.value(source, url.span(), key, url.get_ref(), expected);
    }
    address
}

fn parse_plain(url: &str) -> Option<PlainAddress> {
    let rest = url.strip_prefix("http://")?;
    let at = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(at)?;
    let (host, port) = authority.rsplit_once(':')?;
    let plain = |text: &str, more: &str| {
        text.chars()
            .all(|c| c.is_ascii_alphanumeric() || more.contains(c))
    };
    let good = !host.is_empty()
        && plain(host, ".-_[]:")
        && port.parse::<u16>().is_ok()
        && plain(path, "/.-_~%");
    good.then(|| PlainAddress {
        authority: authority.to_owned(),
        path: path.to_owned(),
    })
}

fn witness_rule(
    source: Source<'_>,
    section: Option<&WitnessRuleSection>,
    witnesses: &[WitnessSettings],
    report: &mut Report,
) -> WitnessRule {
    let most = u64::try_from(independent(witnesses).len()).unwrap_or(u64::MAX);
    let mut number = |key: &str, value: &Spanned<u64>, range: std::ops::RangeInclusive<u64>| {
        if !range.contains(value.get_ref()) {
            let expected = format!("{} to {}", range.start(), range.end());
            let found = value.get_ref().to_string();
            report.value(source, value.span(), key, &found, expected);
        }
        *value.get_ref()
    };
    let (mut quorum, mut start, mut wait) = (1, 0, WAIT_SECONDS);
    if let Some(section) = section {
        quorum = number("witness_rule.quorum", &section.quorum, 1..=most.max(1));
        if let Some(value) = &section.start_requires {
            start = number("witness_rule.start_requires", value, 0..=most);
        }
        if let Some(value) = &section.wait_seconds {
            wait = number("witness_rule.wait_seconds", value, WAIT_RANGE);
        }
    }
    let size = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    WitnessRule {
        quorum: size(quorum),
        start_requires: size(start),
        wait: Duration::from_secs(wait),
    }
}

fn tenants(source: Source<'_>, sections: &[TenantSection], report: &mut Report) -> Vec<Tenant> {
    if sections.is_empty() {
        let expected = "at least one [[tenants]] with id and name".to_owned();
        report.at(
            source,
            0..0,
            Problem::Missing {
                key: "tenants".to_owned(),
                expected,
            },
        );
    }
    let mut seen = BTreeMap::new();
    let mut out = Vec::new();
    for t in sections {
        let id = hex_array(source, "tenants.id", &t.id, report).map(TenantId);
        let name = plain_name(source, "tenants.name", &t.name, report);
        let (Some(id), Some(name)) = (id, name) else {
            continue;
        };
        for (what, text, span) in [
            ("tenant", &name, t.name.span()),
            ("tenant id", &id.to_string(), t.id.span()),
        ] {
            if seen.insert((what, text.clone()), ()).is_some() {
                let first = SETTINGS_FILE.to_owned();
                report.at(
                    source,
                    span,
                    Problem::Duplicate {
                        what,
                        name: text.clone(),
                        first,
                    },
                );
            }
        }
        out.push(Tenant { id, name });
    }
    out
}

fn listen(
    source: Source<'_>,
    section: &ListenSection,
    tls: Option<&TlsSection>,
    report: &mut Report,
) -> Option<Listen> {
    let text = section.address.get_ref();
    let mut at_address = |expected: &str| {
        let span = section.address.span();
        report.value(source, span, "listen.address", text, expected);
    };
    let Ok(address) = text.parse::<SocketAddr>() else {
        at_address("an IP address and a port, such as 127.0.0.1:8443");
        return None;
    };
    let plain = section.plain_http.as_ref().filter(|p| *p.get_ref());
    let protection = match (plain, tls) {
        (None, Some(tls)) => Protection::Tls(tls_files(source, tls, report)?),
        (Some(_), None) if address.ip().is_loopback() => Protection::Loopback,
        (Some(_), None) => {
            at_address(
                "a loopback address such as 127.0.0.1:8443, because plain HTTP is served nowhere else; \
                 for any other put [tls] with certificate and key in the place of plain_http",
            );
            return None;
        }
        (Some(plain), Some(_)) => {
            let expected = "false or nothing, because there is [tls]: it is one or the other";
            report.value(source, plain.span(), "listen.plain_http", "true", expected);
            return None;
        }
        (None, None) => {
            let problem = Problem::Missing {
                key: "tls".to_owned(),
                expected: "[tls] with certificate and key, two PEM files; or, on a loopback address alone, \
                           plain_http = true below [listen]"
                    .to_owned(),
            };
            report.at(source, section.address.span(), problem);
            return None;
        }
    };
    Some(Listen {
        address,
        protection,
    })
}

fn tls_files(
    source: Source<'_>,
    TlsSection { certificate, key }: &TlsSection,
    report: &mut Report,
) -> Option<TlsFiles> {
    let mut path = |name: &str, text: &Spanned<String>| {
        if text.get_ref().is_empty() {
            report.value(source, text.span(), name, "", "path of a PEM file");
            return None;
        }
        Some(PathBuf::from(text.get_ref()))
    };
    let certificate = path("tls.certificate", certificate);
    let key = path("tls.key", key);
    Some(TlsFiles {
        certificate: certificate?,
        key: key?,
    })
}

fn tpm(source: Source<'_>, address: &Spanned<String>, report: &mut Report) -> String {
    let known = ["device:", "swtpm:"];
    if !known.iter().any(|k| {
        address
            .get_ref()
            .strip_prefix(k)
            .is_some_and(|rest| !rest.is_empty())
    }) {
        let expected = "device:<path> or swtpm:<host>:<port>";
        report.value(
            source,
            address.span(),
            "tpm.address",
            address.get_ref(),
            expected,
        );
    }
    address.get_ref().clone()
}

fn bundle(
    source: Source<'_>,
    section: &BundleSection,
    report: &mut Report,
) -> Option<BundleSettings> {
    let before = report.count();
    let signers: Vec<PublicKey> = section
        .signers
        .iter()
        .filter_map(|s| key(source, "bundle.signers", s, report))
        .collect();
    let mut sorted = signers.clone();
    sorted.sort_unstable();
    sorted.dedup();
    let threshold = usize::try_from(*section.threshold.get_ref()).unwrap_or(usize::MAX);
    if threshold == 0 || threshold > sorted.len() {
        let expected = format!("1 to {}, the number of different signers", sorted.len());
        let found = section.threshold.get_ref().to_string();
        report.value(
            source,
            section.threshold.span(),
            "bundle.threshold",
            &found,
            expected,
        );
    }
    if *section.version.get_ref() < section.minimum_version {
        let expected = format!("at least minimum_version, {}", section.minimum_version);
        let found = section.version.get_ref().to_string();
        report.value(
            source,
            section.version.span(),
            "bundle.version",
            &found,
            expected,
        );
    }
    let environment = plain_name(source, "bundle.environment", &section.environment, report);
    let pinned = section
        .pinned_digest
        .as_ref()
        .and_then(|p| hex_array(source, "bundle.pinned_digest", p, report))
        .map(ArtifactDigest);
    (report.count() == before).then_some(BundleSettings {
        signers: sorted,
        threshold,
        environment: environment?,
        version: *section.version.get_ref(),
        minimum_version: section.minimum_version,
        pinned,
    })
}

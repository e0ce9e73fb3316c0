//! Certificates for attestation keys: a cloud, or whoever certified the key, vouches for it.
//!
//! In: [`AkEvidence`]: the key's certificate, those of its issuers and revocation lists, as received, and
//! [`AkPolicy`]. Out: [`AkAppraisal`]: every check by name, and, only if none failed, the key
//! ([`VerifiedAk`]) with what evidence under it is worth and who has to be trusted. Relies on
//! `countersign-certificates` for X.509, and on [`Chains`] to verify no signature twice.
//!
//! What it shows: the holder of a pinned root says that this is an attestation key of a TPM that it runs
//! or made. Google's certificates are for TPMs that its hypervisor runs, and say which machine
//! ([`Instance`]). Google gives endorsement and attestation keys the same purpose; what tells them apart
//! is that an attestation key's certificate is for signatures.
//!
//! Checks, numbered as in `docs/spec/tpm-keys.md`:
//!
//! 1. each certificate is well formed, at most [`MAX_ISSUERS`] issuers and as many lists;
//! 2. the issuers are in order, each issued the one before, the last one itself, whose key is pinned;
//! 3. all were valid at the time;
//! 4. where the policy asks: a current list of each issuer, which does not name what it issued;
//! 5. the key is for signatures, its purpose is a TPM's, it issues nothing, nothing critical is unknown;
//! 6. the certificate names the TPM's maker;
//! 7. where the policy names machines: the certificate is of one of them;
//! 8. the attestation key is accepted; where the certificate is of the endorsement key, the policy says
//!    that this attestation key was activated under it.
//!
//! Source: TCG "EK Credential Profile" 2.5, 3.1 and 3.2 (names, purposes); google/go-tpm-tools,
//! `server/instance_info.go` (machine).

use countersign_certificates::der::{INTEGER, Reader, SEQUENCE, SET};
use countersign_certificates::{Certificate, CertificateError, Crl, DerError};
use sha2::{Digest as _, Sha384};
use thiserror::Error;

use super::key::{KeyError, KeyName, PlainKey, TpmKey};
use super::vouched::{WrongAttributes, appraise_attributes};
use super::{EvidenceClass, VouchedKey};
use crate::Moment;
use crate::appraisal::{Check, Ledger, Outcome};
use crate::azure::Demand;
use crate::chains::{Chains, Link, LinkKind};
use crate::hex::Hex;
use crate::party::{Party, PartyError, PartyName};

/// Most issuers of a chain, the root among them.
pub const MAX_ISSUERS: usize = 4;

/// What a machine presented, untouched.
#[derive(Debug, Clone)]
pub struct AkEvidence<'a> {
    /// Certificate of the attestation key or of its TPM's endorsement key, DER.
    pub certificate: &'a [u8],
    /// Which of both it is of.
    pub subject: CertifiedKey<'a>,
    /// Certificates of its issuers, from the key's own to the root's.
    pub issuers: Vec<&'a [u8]>,
    /// Revocation lists of issuers, in any order.
    pub lists: Vec<&'a [u8]>,
}

/// Whose certificate it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertifiedKey<'a> {
    /// The attestation key's own.
    Attestation,
    /// The endorsement key's, which cannot sign. That this attestation key (`TPMT_PUBLIC`) is of the same
    /// TPM showed when a credential for it was activated, to him who made the credential: so it is taken
    /// from the policy alone ([`Activation`]).
    Endorsement(&'a [u8]),
}

/// At enrolment somebody made a credential for an attestation key under an endorsement key, and the TPM
/// activated it. Whoever writes this into a policy says that he saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Activation {
    /// SHA-384 of the endorsement key's `SubjectPublicKeyInfo`.
    pub endorsement_key: [u8; 48],
    /// Name of the attestation key.
    pub attestation_key: KeyName,
}

/// What evidence has to say. None of it may come from the evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AkPolicy {
    /// Attestation keys that were activated under endorsement keys.
    pub activated: Vec<Activation>,
    /// Whether every issuer has to have a current list.
    pub lists: Demand,
    /// Machines that are accepted; `None` checks nothing, an empty list accepts none.
    pub instances: Option<Vec<InstanceId>>,
}

impl AkPolicy {
    /// Everything that can be asked of every machine is asked.
    #[must_use]
    pub fn strict() -> Self {
        Self {
            activated: Vec::new(),
            lists: Demand::Required,
            instances: None,
        }
    }
}

/// A machine as Google names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceId {
    /// Name of the project.
    pub project: String,
    /// Number of the machine.
    pub instance: u64,
}

/// Pinned keys of those who certify attestation keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AkRoots(Vec<AkRoot>);

/// A pinned key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AkRoot {
    /// SHA-384 of its `SubjectPublicKeyInfo`.
    pub key: [u8; 48],
    /// Whose TPMs it certifies.
    pub kind: AkRootKind,
}

/// Whose TPMs a root certifies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AkRootKind {
    /// Google's hypervisor runs them.
    Google,
    /// Makers of chips, or somebody who checked theirs.
    Manufacturer,
}

impl AkRoots {
    /// Google's: `EK/AK CA Root` and the root before it.
    #[must_use]
    pub fn google() -> Self {
        let kind = AkRootKind::Google;
        Self(GOOGLE.map(|key| AkRoot { key, kind }).to_vec())
    }

    /// Others, for a trust file or a test. None accepts nothing.
    #[must_use]
    pub fn of(roots: Vec<AkRoot>) -> Self {
        Self(roots)
    }

    fn kind_of(&self, spki: &[u8]) -> Option<AkRootKind> {
        let key: [u8; 48] = Sha384::digest(spki).into();
        self.0
            .iter()
            .find(|root| root.key == key)
            .map(|root| root.kind)
    }
}

/// What a certificate of Google's says of its machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Zone.
    pub zone: String,
    /// Name of the project.
    pub project: String,
    /// Number of the project.
    pub project_number: u64,
    /// Name of the machine.
    pub name: String,
    /// Number of the machine.
    pub instance: u64,
}

/// Everything that came of an appraisal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AkAppraisal {
    checks: Vec<Check<AkCheck>>,
    verified: Option<VerifiedAk>,
}

impl AkAppraisal {
    /// All checks, each once, in the order of [`AkCheck::ALL`].
    #[must_use]
    pub fn checks(&self) -> &[Check<AkCheck>] {
        &self.checks
    }

    /// What is known now. `None` if any check failed, or one that is needed could not run.
    #[must_use]
    pub fn verified(&self) -> Option<&VerifiedAk> {
        self.verified.as_ref()
    }

    /// The checks that failed, in order.
    pub fn failures(&self) -> impl Iterator<Item = &Check<AkCheck>> {
        self.checks
            .iter()
            .filter(|check| check.outcome == Outcome::Fail)
    }
}

/// A key that a certificate vouches for, all checks passed. Only [`appraise_ak`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedAk {
    key: VouchedKey,
    instance: Option<Instance>,
}

impl VerifiedAk {
    /// The key.
    #[must_use]
    pub fn key(&self) -> &VouchedKey {
        &self.key
    }

    /// The machine, where the certificate says which.
    #[must_use]
    pub fn instance(&self) -> Option<&Instance> {
        self.instance.as_ref()
    }
}

crate::appraisal::checks! {
    /// The checks of [`appraise_ak`]. Their texts are stable: reports and tools rely on them.
    AkCheck {
        /// Certificates and lists are well formed, and not too many.
        Structure = "tpm.chain.structure",
        /// Each issuer issued the one before.
        Path = "tpm.chain.path",
        /// The last issuer's key is pinned.
        Root = "tpm.chain.root",
        /// All certificates were valid at the time.
        Validity = "tpm.chain.validity",
        /// A current list of each issuer does not name what it issued.
        Revocation = "tpm.chain.revocation",
        /// The certificate is for an attestation key of a TPM, and for nothing else.
        Purpose = "tpm.chain.purpose",
        /// It names the TPM's maker.
        Maker = "tpm.chain.maker",
        /// It is of a machine that the policy names.
        Instance = "tpm.chain.instance",
        /// The attestation key is of a kind that is accepted; beside an endorsement key's certificate it has
        /// the attributes of an attestation key.
        Key = "tpm.chain.key",
        /// Beside an endorsement key's certificate: the policy says that the attestation key was activated.
        Activation = "tpm.chain.activation",
    }
}

/// Why a check fails. Every variant carries what was expected and what was found.
#[derive(Debug, PartialEq, Eq, Error)]
enum Finding {
    #[error("{what}: {error}")]
    Form {
        what: &'static str,
        error: CertificateError,
    },
    #[error("{error}")]
    Certificate {
        #[from]
        error: CertificateError,
    },
    #[error("{what} are {found}, limit is {MAX_ISSUERS}")]
    TooMany { what: &'static str, found: usize },
    #[error("there is no issuer's certificate")]
    NoIssuer,
    #[error("key of the last issuer hashes to {}, which is not pinned", Hex(found))]
    NotPinned { found: Vec<u8> },
    #[error("there is no current list of issuer {number} that it signed")]
    NoList { number: usize },
    #[error("certificate {number} was revoked")]
    Revoked { number: usize },
    #[error("certificate of the key {0}")]
    Purpose(&'static str),
    #[error("certificate names no maker of a tpm: {0}")]
    Maker(&'static str),
    #[error("name of the maker: {0}")]
    MakerName(#[from] PartyError),
    #[error("certificate says of its machine: {0}")]
    Instance(DerError),
    #[error("certificate does not say of which machine it is")]
    NoInstance,
    #[error("machine is {instance} of project {project:?}, which the policy does not name")]
    OtherInstance { project: String, instance: u64 },
    #[error("{0}")]
    Key(#[from] KeyError),
    #[error("{0}")]
    Attributes(#[from] WrongAttributes),
    #[error("nobody says that {found} was activated under this endorsement key")]
    NotActivated { found: KeyName },
}

/// Runs every check on a certificate of an attestation key, at a time.
#[must_use]
pub fn appraise_ak(
    evidence: &AkEvidence<'_>,
    policy: &AkPolicy,
    roots: &AkRoots,
    at: Moment,
    chains: &mut Chains,
) -> AkAppraisal {
    let mut ledger = Ledger(Vec::new());
    let parsed = Parsed::of(evidence);
    let parsed = ledger.note(AkCheck::Structure, parsed, |it| {
        format!("{} issuers, {} lists", it.issuers.len(), it.lists.len())
    });
    let Some(parsed) = parsed else {
        for code in AkCheck::ALL.iter().skip(1) {
            ledger.skip(*code, "a certificate or list is malformed");
        }
        return AkAppraisal {
            checks: ledger.0,
            verified: None,
        };
    };
    let path = parsed.path(chains);
    ledger.note(AkCheck::Path, path, |()| {
        "each issued the one before".into()
    });
    let kind = parsed.root(roots);
    let kind = ledger.note(AkCheck::Root, kind, |_| {
        "the last issuer's key is pinned".into()
    });
    ledger.note(AkCheck::Validity, parsed.valid(at), |()| {
        format!("all certificates were valid at {at}")
    });
    match policy.lists {
        Demand::Any if parsed.lists.is_empty() => {
            ledger.skip(AkCheck::Revocation, "nobody asks for lists, and none came");
        }
        Demand::Any | Demand::Required => {
            let lists = parsed.unrevoked(at, policy.lists, chains);
            ledger.note(AkCheck::Revocation, lists, |count| {
                format!("{count} current lists name none of the certificates")
            });
        }
    }
    let purpose = purpose(&parsed.leaf, evidence.subject);
    ledger.note(AkCheck::Purpose, purpose, |what| {
        format!("{what} key of a tpm, and for nothing else")
    });
    let maker = maker(&parsed.leaf);
    let maker = ledger.note(AkCheck::Maker, maker, |maker| maker.as_str().to_owned());
    let instance = appraise_instance(&mut ledger, &parsed.leaf, policy);
    let key = appraise_certified_key(&mut ledger, &parsed.leaf, evidence.subject, policy);

    let all_hold = ledger.0.iter().all(|check| match check.outcome {
        Outcome::Pass => true,
        Outcome::Fail => false,
        Outcome::NotChecked => match check.code {
            AkCheck::Revocation | AkCheck::Instance => true,
            AkCheck::Activation => evidence.subject == CertifiedKey::Attestation,
            AkCheck::Structure
            | AkCheck::Path
            | AkCheck::Root
            | AkCheck::Validity
            | AkCheck::Purpose
            | AkCheck::Maker
            | AkCheck::Key => false,
        },
    });
    let verified = kind
        .zip(maker)
        .zip(key)
        .filter(|_| all_hold)
        .map(|((kind, maker), key)| {
            let (class, party) = match kind {
                AkRootKind::Google => (EvidenceClass::HypervisorTpm, Party::GoogleHypervisor),
                AkRootKind::Manufacturer => {
                    (EvidenceClass::DiscreteTpm, Party::TpmManufacturer(maker))
                }
            };
            let vouched = VouchedKey::new(key.plain, class, vec![party]);
            VerifiedAk {
                key: match &key.named {
                    Some(named) => vouched.passes_on_to(named),
                    None => vouched,
                },
                instance,
            }
        });
    AkAppraisal {
        checks: ledger.0,
        verified,
    }
}

struct Parsed<'a> {
    leaf: Certificate<'a>,
    issuers: Vec<Certificate<'a>>,
    lists: Vec<(&'a [u8], Crl<'a>)>,
}

impl<'a> Parsed<'a> {
    fn of(evidence: &AkEvidence<'a>) -> Result<Self, Finding> {
        for (what, found) in [
            ("issuers", evidence.issuers.len()),
            ("lists", evidence.lists.len()),
        ] {
            if found > MAX_ISSUERS {
                return Err(Finding::TooMany { what, found });
            }
        }
        let form = |what| move |error| Finding::Form { what, error };
        let certificates = evidence.issuers.iter().map(|it| Certificate::parse(it));
        let lists = evidence.lists.iter().map(|it| Ok((*it, Crl::parse(it)?)));
        Ok(Self {
            leaf: Certificate::parse(evidence.certificate).map_err(form("certificate"))?,
            issuers: certificates
                .collect::<Result<_, _>>()
                .map_err(form("issuer"))?,
            lists: lists.collect::<Result<_, _>>().map_err(form("list"))?,
        })
    }

    /// Each issuer beside what it issued, from the key's certificate on.
    fn pairs(&self) -> impl Iterator<Item = (&Certificate<'a>, &Certificate<'a>)> {
        let issued = core::iter::once(&self.leaf).chain(&self.issuers);
        self.issuers.iter().zip(issued)
    }

    /// The root beside itself: its key is pinned, and this holds the rest of its certificate to that key.
    fn itself(&self) -> impl Iterator<Item = (&Certificate<'a>, &Certificate<'a>)> {
        self.issuers
            .iter()
            .next_back()
            .map(|it| (it, it))
            .into_iter()
    }

    fn path(&self, chains: &mut Chains) -> Result<(), Finding> {
        if self.issuers.is_empty() {
            return Err(Finding::NoIssuer);
        }
        let last = self.issuers.len().saturating_sub(1);
        for (below, (issuer, issued)) in (0_usize..).zip(self.pairs().chain(self.itself())) {
            // The root's own signature adds no issuer below it.
            let below = u8::try_from(below.min(last)).unwrap_or(u8::MAX);
            let link = Link {
                kind: LinkKind::Certificate { below },
                issuer: issuer.whole(),
                subject: issued.whole(),
                signature: &[],
            };
            chains.verify(link, || issuer.issued(issued, below.into()))?;
        }
        Ok(())
    }

    fn root(&self, roots: &AkRoots) -> Result<AkRootKind, Finding> {
        let root = self.issuers.last().ok_or(Finding::NoIssuer)?;
        roots
            .kind_of(root.spki())
            .ok_or_else(|| Finding::NotPinned {
                found: Sha384::digest(root.spki()).to_vec(),
            })
    }

    fn valid(&self, at: Moment) -> Result<(), CertificateError> {
        self.leaf.valid(at.0, "the key's certificate")?;
        self.issuers
            .iter()
            .try_for_each(|it| it.valid(at.0, "an issuer's certificate"))
    }

    /// A list counts if it names an issuer of the chain, is current, and is signed by it. One that is not
    /// fails, even where nobody asks for lists: it came to say something.
    fn unrevoked(&self, at: Moment, demand: Demand, chains: &mut Chains) -> Result<usize, Finding> {
        let mut count: usize = 0;
        for (number, (issuer, issued)) in self.pairs().enumerate() {
            let mut of_issuer = self
                .lists
                .iter()
                .filter(|(_, list)| list.issuer() == issuer.subject())
                .peekable();
            if demand == Demand::Required && of_issuer.peek().is_none() {
                return Err(Finding::NoList { number });
            }
            for (bytes, list) in of_issuer {
                let link = Link {
                    kind: LinkKind::List,
                    issuer: issuer.whole(),
                    subject: bytes,
                    signature: &[],
                };
                chains.verify(link, || list.verify(issuer))?;
                list.current(at.0)?;
                if list.revoked(issued.serial()).is_some() {
                    return Err(Finding::Revoked { number });
                }
                count = count.saturating_add(1);
            }
        }
        Ok(count)
    }
}

/// The attestation key, and its public area where the machine presented it.
struct Vouched {
    plain: PlainKey,
    named: Option<TpmKey>,
}

fn appraise_certified_key(
    ledger: &mut Ledger<AkCheck>,
    leaf: &Certificate<'_>,
    subject: CertifiedKey<'_>,
    policy: &AkPolicy,
) -> Option<Vouched> {
    let public = match subject {
        CertifiedKey::Attestation => {
            let key = PlainKey::spki(leaf.spki()).map_err(Finding::from);
            let key = ledger.note(AkCheck::Key, key, PlainKey::kind);
            let reason = "the certificate is the attestation key's own";
            ledger.skip(AkCheck::Activation, reason);
            return key.map(|plain| Vouched { plain, named: None });
        }
        CertifiedKey::Endorsement(public) => public,
    };
    let key = TpmKey::parse(public).map_err(Finding::from);
    let key = key.and_then(|key| {
        appraise_attributes(&key)?;
        Ok(key)
    });
    let key = ledger.note(AkCheck::Key, key, |key| key.plain().kind());
    let Some(key) = key else {
        ledger.skip(AkCheck::Activation, "the attestation key is malformed");
        return None;
    };
    let found = key.name();
    let endorsement_key: [u8; 48] = Sha384::digest(leaf.spki()).into();
    let pair = Activation {
        endorsement_key,
        attestation_key: found,
    };
    let result = if policy.activated.contains(&pair) {
        Ok(())
    } else {
        Err(Finding::NotActivated { found })
    };
    ledger.note(AkCheck::Activation, result, |()| {
        format!("the policy says that {found} was activated under this endorsement key")
    });
    Some(Vouched {
        plain: key.plain().clone(),
        named: Some(key),
    })
}

fn purpose(leaf: &Certificate<'_>, subject: CertifiedKey<'_>) -> Result<&'static str, Finding> {
    let extensions = leaf.extensions();
    let purposes = extensions
        .purposes
        .as_ref()
        .map(|it| it.list.as_slice())
        .unwrap_or_default();
    let (what, usage_fits, purpose_fits) = match subject {
        CertifiedKey::Attestation => (
            "an attestation",
            extensions.usage == Some(DIGITAL_SIGNATURE) && !extensions.decipher_only,
            matches!(purposes, [EK | AIK]),
        ),
        // SPEC: EK Credential Profile 3.2.11: RSA keys encipher, ECC keys agree.
        CertifiedKey::Endorsement(_) => (
            "an endorsement",
            matches!(extensions.usage, Some(KEY_ENCIPHERMENT | KEY_AGREEMENT))
                && !extensions.decipher_only,
            matches!(purposes, [EK]),
        ),
    };
    let why = if leaf.critical_besides(&[SUBJECT_ALT_NAME]) {
        "has a critical extension that is not known"
    } else if extensions.constraints.as_ref().is_some_and(|it| it.issuer) {
        "may issue certificates"
    } else if !usage_fits {
        "has another key usage than such a key has"
    } else if !purpose_fits {
        "has another purpose than such a key has"
    } else {
        return Ok(what);
    };
    Err(Finding::Purpose(why))
}

/// The maker in the subject's alternative name. SPEC: EK Credential Profile 3.2.9: a directory name.
fn maker(leaf: &Certificate<'_>) -> Result<PartyName, Finding> {
    let extension = leaf
        .extension(SUBJECT_ALT_NAME)
        .ok_or(Finding::Maker("it has no alternative name"))?;
    let value = maker_of(extension.value)
        .map_err(|_| Finding::Maker("its alternative name is malformed"))?
        .ok_or(Finding::Maker(
            "its alternative name has no manufacturer, or two",
        ))?;
    let text =
        core::str::from_utf8(value).map_err(|_| Finding::Maker("the manufacturer is not utf-8"))?;
    Ok(PartyName::parse(text)?)
}

fn maker_of(value: &[u8]) -> Result<Option<&[u8]>, DerError> {
    let mut outer = Reader::new(value);
    let mut names = outer.sequence("GeneralNames")?;
    outer.end("GeneralNames")?;
    let mut directory = names.expect(DIRECTORY_NAME, "directoryName")?.inside();
    names.end("GeneralNames")?;
    let mut parts = directory.expect(SEQUENCE, "Name")?.inside();
    directory.end("directoryName")?;
    let (mut found, mut twice) = (None, false);
    while !parts.is_empty() {
        let mut set = parts.expect(SET, "RelativeDistinguishedName")?.inside();
        while !set.is_empty() {
            let mut pair = set.sequence("AttributeTypeAndValue")?;
            let kind = pair.oid("type")?;
            let text = pair.any("value")?;
            pair.end("AttributeTypeAndValue")?;
            if kind == TPM_MANUFACTURER {
                twice |= found.replace(text.content).is_some();
            }
        }
    }
    Ok(found.filter(|_| !twice))
}

fn appraise_instance(
    ledger: &mut Ledger<AkCheck>,
    leaf: &Certificate<'_>,
    policy: &AkPolicy,
) -> Option<Instance> {
    let said = leaf
        .extension(GCE_INSTANCE)
        .map(|it| instance_of(it.value).map_err(Finding::Instance))
        .transpose();
    let Some(named) = &policy.instances else {
        return match said {
            // What is malformed fails although nobody asks.
            Err(error) => ledger.note(AkCheck::Instance, Err::<Instance, _>(error), |_| {
                String::new()
            }),
            Ok(None) => {
                let reason = "nobody named machines; the certificate says nothing of it";
                ledger.skip(AkCheck::Instance, reason);
                None
            }
            Ok(Some(it)) => {
                let reason = format!(
                    "nobody named machines; it is {} of project {}",
                    it.instance, it.project
                );
                ledger.skip(AkCheck::Instance, reason);
                Some(it)
            }
        };
    };
    let result = said.and_then(|said| {
        let it = said.ok_or(Finding::NoInstance)?;
        let fits = |id: &InstanceId| id.project == it.project && id.instance == it.instance;
        if named.iter().any(fits) {
            Ok(it)
        } else {
            Err(Finding::OtherInstance {
                project: it.project,
                instance: it.instance,
            })
        }
    });
    ledger.note(AkCheck::Instance, result, |it| {
        format!("{} of project {}, as named", it.instance, it.project)
    })
}

/// Zone, number and name of the project, number and name of the machine, and what Google says of its
/// security, of which nothing is judged here.
fn instance_of(value: &[u8]) -> Result<Instance, DerError> {
    let mut outer = Reader::new(value);
    let mut fields = outer.sequence("GCEInstanceInfo")?;
    outer.end("GCEInstanceInfo")?;
    let text = |fields: &mut Reader<'_>, field| -> Result<String, DerError> {
        let element = fields.expect(UTF8_STRING, field)?;
        core::str::from_utf8(element.content)
            .map(str::to_owned)
            .map_err(|_| element.wrong(field))
    };
    let number = |fields: &mut Reader<'_>, field| -> Result<u64, DerError> {
        let element = fields.expect(INTEGER, field)?;
        countersign_certificates::der::number(element, field)
    };
    let zone = text(&mut fields, "zone")?;
    let project_number = number(&mut fields, "projectNumber")?;
    let project = text(&mut fields, "projectID")?;
    let instance = number(&mut fields, "instanceID")?;
    let name = text(&mut fields, "instanceName")?;
    fields.optional(0xa0, "securityProperties")?;
    fields.end("GCEInstanceInfo")?;
    Ok(Instance {
        zone,
        project,
        project_number,
        name,
        instance,
    })
}

/// Keys of `gcp_ek_ak_ca_root.crt` and `tpm_ek_root_1.cer` in `measurements/roots/google`, which a test
/// compares.
const GOOGLE: [[u8; 48]; 2] = [
    [
        0x13, 0x04, 0x9d, 0x8f, 0x88, 0x16, 0xca, 0xa7, 0x94, 0x82, 0x17, 0xe9, 0x34, 0x2e, 0x41,
        0x3a, 0xed, 0x87, 0xe7, 0x4b, 0x83, 0x83, 0x5b, 0xdf, 0xd0, 0x69, 0x7c, 0xbe, 0x48, 0x03,
        0x2a, 0x4e, 0xf6, 0x08, 0x1f, 0xb3, 0x11, 0x4c, 0x72, 0xc6, 0x45, 0xf1, 0xf4, 0x63, 0x3d,
        0x42, 0x0f, 0xfb,
    ],
    [
        0x28, 0x09, 0x14, 0x46, 0x8f, 0x41, 0x37, 0xce, 0xb7, 0xd0, 0x7a, 0x0d, 0x4d, 0xe6, 0x78,
        0x25, 0xab, 0xa5, 0x69, 0xf6, 0x5f, 0xd7, 0xaa, 0x5c, 0x05, 0x6f, 0xa7, 0x3e, 0xaa, 0x63,
        0x09, 0x9d, 0x85, 0x24, 0x20, 0x45, 0x48, 0xbc, 0x3a, 0x7f, 0x15, 0x95, 0xb0, 0x59, 0x2b,
        0x0d, 0x5a, 0xde,
    ],
];

/// KeyUsage with `digitalSignature` alone. SPEC: RFC 5280 4.2.1.3
const DIGITAL_SIGNATURE: u8 = 0x80;
/// KeyUsage with `keyEncipherment` alone.
const KEY_ENCIPHERMENT: u8 = 0x20;
/// KeyUsage with `keyAgreement` alone.
const KEY_AGREEMENT: u8 = 0x08;

/// 2.23.133.8.1, `tcg-kp-EKCertificate`: what Google writes for attestation keys too.
const EK: &[u8] = b"\x67\x81\x05\x08\x01";
/// 2.23.133.8.3, `tcg-kp-AIKCertificate`.
const AIK: &[u8] = b"\x67\x81\x05\x08\x03";
/// 2.5.29.17
const SUBJECT_ALT_NAME: &[u8] = b"\x55\x1d\x11";
/// 2.23.133.2.1, `tcg-at-tpmManufacturer`.
const TPM_MANUFACTURER: &[u8] = b"\x67\x81\x05\x02\x01";
/// 1.3.6.1.4.1.11129.2.1.21
const GCE_INSTANCE: &[u8] = b"\x2b\x06\x01\x04\x01\xd6\x79\x02\x01\x15";
/// `directoryName [4]` of a GeneralName.
const DIRECTORY_NAME: u8 = 0xa4;
const UTF8_STRING: u8 = 0x0c;

#[cfg(test)]
mod tests;

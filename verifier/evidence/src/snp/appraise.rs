//! The checks themselves. Each says in one sentence what it found; none stops another that can run.

use countersign_certificates::algorithm::Key;
use countersign_certificates::{Certificate, CertificateError, Crl, Validity};
use p384::ecdsa::signature::hazmat::PrehashVerifier as _;
use sha2::{Digest as _, Sha384};
use thiserror::Error;

use super::key::{COMMON_NAME, EndorsementKey, text};
use super::policy::{
    GuestFeature, KeyDigest, LaunchMeasurement, PlatformFeature, Policy, ProductPolicy, Requirement,
};
use super::product::{Product, RawTcb, Tcb};
use super::report::{ChipId, Firmware, Layout, Mitigations, Processor, Report, SigningKey};
use super::roots::{Roots, SpkiDigest};
use super::{SnpAppraisal, SnpCheck, SnpEvidence, TcbVersions, VerifiedSnp};
use crate::Moment;
use crate::appraisal::{Ledger, Outcome};
use crate::chains::{Chains, Link, LinkKind};
use crate::hex::Hex;
use crate::party::{Party, PartyName};
use crate::reader::FormError;

/// Runs every check on evidence. `at` is the moment for which certificates and lists are judged.
#[must_use]
pub fn appraise_snp(
    evidence: &SnpEvidence<'_>,
    policy: &Policy,
    roots: &Roots,
    at: Moment,
    chains: &mut Chains,
) -> SnpAppraisal {
    let mut ledger = Ledger(Vec::new());
    let layout = appraise_form(&mut ledger, evidence);
    let chain = Chain::appraise(&mut ledger, evidence, roots, chains);
    chain.appraise_time(&mut ledger, evidence, policy, at, chains);

    let report = layout.as_ref().map(|layout| &layout.report);
    let key = chain.key.as_ref();
    let pair = report.zip(key);
    appraise_key(&mut ledger, &chain, pair);
    appraise_signature(&mut ledger, layout.as_ref().zip(key), chains);
    appraise_accepted(&mut ledger, pair, policy);
    let tcb = match report {
        Some(report) => {
            appraise_guest(&mut ledger, report, policy);
            let tcb = appraise_versions(&mut ledger, report, key.map(|key| key.product), policy);
            appraise_request(&mut ledger, report, policy);
            appraise_image(&mut ledger, report, policy);
            tcb
        }
        None => {
            for check in OF_THE_REPORT {
                ledger.skip(check, NO_REPORT);
            }
            None
        }
    };

    let all_hold = ledger.0.iter().all(|check| match check.outcome {
        Outcome::Pass => true,
        Outcome::Fail => false,
        Outcome::NotChecked => check.code.is_optional(),
    });
    let verified = pair.zip(tcb).filter(|_| all_hold);
    SnpAppraisal {
        claimed: report.copied(),
        parties: key.map(parties).unwrap_or_else(|| vec![Party::Amd]),
        verified: verified.map(|((report, key), tcb)| VerifiedSnp {
            report: *report,
            product: key.product,
            tcb,
            parties: parties(key),
        }),
        checks: ledger.0,
    }
}

fn parties(key: &EndorsementKey<'_>) -> Vec<Party> {
    let provider = key.provider.clone().map(Party::CloudProvider);
    [Party::Amd].into_iter().chain(provider).collect()
}

/// Why a check of values fails. Every variant carries what was expected and what was found.
#[derive(Debug, PartialEq, Eq, Error)]
enum Finding {
    #[error("version is {0}, expected 2 to 5")]
    Version(u32),
    #[error("signature algorithm is {0}, expected 1, ecdsa p-384 with sha-384")]
    Algorithm(u32),
    #[error("{0}")]
    Certificate(#[from] CertificateError),
    #[error("{whose} is valid from {from} to {until}, the moment is {at}")]
    Validity {
        whose: &'static str,
        from: Moment,
        until: Moment,
        at: Moment,
    },
    #[error("{name}: {error}")]
    TcbForm {
        name: &'static str,
        error: FormError,
    },
    #[error("the root's key is {0}, which is not pinned")]
    NotPinned(SpkiDigest),
    #[error("{whose} has {found}, expected a key of rsa 4096")]
    NotRsa4096 {
        whose: &'static str,
        found: &'static str,
    },
    #[error("the issuer's common name is {0:?}, expected SEV- or SEV-VLEK- and a product")]
    IssuerName(String),
    #[error("the root's list took back {whose} at {at}")]
    Revoked { whose: &'static str, at: Moment },
    #[error("the evidence has no revocation list, and the policy asks for one")]
    NoList,
    #[error("the report says that key {0} signed it, expected 0 (vcek) or 1 (vlek)")]
    SigningKey(u32),
    #[error("the report says {}, the certificate {}, its issuer is for {}", report.as_str(), certificate.as_str(), issuer.as_str())]
    OtherKind {
        report: SigningKey,
        certificate: SigningKey,
        issuer: SigningKey,
    },
    #[error("the report says that the chip's key is masked, so a vcek cannot have signed it")]
    Masked,
    #[error("root is of {root}, issuer of {issuer}, certificate of {certificate}")]
    OtherProducts {
        root: Product,
        issuer: Product,
        certificate: Product,
    },
    #[error("the processor is of {found}, the certificate of {certificate}")]
    OtherProcessor {
        found: Processor,
        certificate: Product,
    },
    #[error("a report of version 2 does not name its processor, which has to be known for {0}")]
    NoProcessor(Product),
    #[error("the key is that of tcb {certificate}, the report has {report}")]
    OtherTcb { certificate: RawTcb, report: RawTcb },
    #[error("the report names no chip, a vcek belongs to one")]
    NoChip,
    #[error(
        "the key is that of chip {}, the report names {report}",
        Hex(certificate)
    )]
    OtherChip {
        certificate: Vec<u8>,
        report: ChipId,
    },
    #[error("the signature does not hold under the key in the certificate")]
    NotSigned,
    #[error("product is {found}, the policy accepts {}", list(accepted))]
    Product {
        found: Product,
        accepted: Vec<Product>,
    },
    #[error("a vlek of {:?} signed, the policy accepts {}", found.as_str(), names(accepted))]
    Provider {
        found: PartyName,
        accepted: Vec<PartyName>,
    },
    #[error("chip is {0}, which the policy denies")]
    ChipDenied(ChipId),
    #[error("the report names no chip, so it can be one that the policy denies")]
    ChipHidden,
    #[error("chip is {found}, not one of the {count} that the policy accepts for its product")]
    ChipUnknown { found: ChipId, count: usize },
    #[error("the guest policy is {0:#x}: the host may debug the guest")]
    Debug(u64),
    #[error("the guest policy is {0:#x}: a migration agent may have the guest")]
    MigrationAllowed(u64),
    #[error("migration agent is {}, expected all ones, which is none", Hex(.0))]
    MigrationAgent([u8; 32]),
    #[error("the guest allows firmware interface {}.{}, the policy asks for {}.{}", found.0, found.1, floor.0, floor.1)]
    Abi { found: (u8, u8), floor: (u8, u8) },
    #[error("{what} is {found:#x}: {why}")]
    Features {
        what: &'static str,
        found: u64,
        why: String,
    },
    #[error("{lower} is {found}, above {upper}, which is {limit}")]
    Order {
        lower: &'static str,
        found: String,
        upper: &'static str,
        limit: String,
    },
    #[error("tcb is {found}; the policy accepts {floor} and later")]
    Tcb { found: Tcb, floor: Tcb },
    #[error("committed firmware is {found}, the policy accepts {floor} and later")]
    Firmware { found: Firmware, floor: Firmware },
    #[error("a report of version {0} does not say which mitigations were in force")]
    NoMitigations(u32),
    #[error(
        "mitigations are {launch:#x} at launch and {current:#x} now, the policy asks for {wanted:#x}"
    )]
    Mitigations {
        launch: u64,
        current: u64,
        wanted: u64,
    },
    #[error("the report was asked for at level {found}, the policy accepts 0 to {highest}")]
    Vmpl { found: u32, highest: u32 },
    #[error("expected report data is zero, which binds nothing")]
    NothingBound,
    #[error("{what} is {}, expected {}", Hex(found), Hex(expected))]
    Bytes {
        what: &'static str,
        found: Vec<u8>,
        expected: Vec<u8>,
    },
    #[error("{what} is {}, not one of the {count} that are accepted", Hex(found))]
    NotListed {
        what: &'static str,
        found: Vec<u8>,
        count: usize,
    },
    #[error("no author's key is enabled")]
    NoAuthor,
    #[error("security version of the guest is {found}, the policy accepts {floor} and later")]
    GuestSvn { found: u32, floor: u32 },
}

fn list(products: &[Product]) -> String {
    let names: Vec<&str> = products.iter().map(|product| product.as_str()).collect();
    or_none(&names.join(", "))
}

fn names(providers: &[PartyName]) -> String {
    let names: Vec<&str> = providers.iter().map(PartyName::as_str).collect();
    or_none(&names.join(", "))
}

fn or_none(text: &str) -> String {
    if text.is_empty() { "none" } else { text }.into()
}

fn appraise_form<'a>(
    ledger: &mut Ledger<SnpCheck>,
    evidence: &SnpEvidence<'a>,
) -> Option<Layout<'a>> {
    let layout = ledger.note(
        SnpCheck::ReportStructure,
        Layout::parse(evidence.report),
        |_| "1184 bytes".into(),
    );
    let Some(layout) = layout else {
        ledger.skip(SnpCheck::ReportVersion, NO_REPORT);
        ledger.skip(SnpCheck::ReportReserved, NO_REPORT);
        ledger.skip(SnpCheck::ReportAlgorithm, NO_REPORT);
        return None;
    };
    let version = match layout.report.version() {
        known @ 2..=5 => Ok(known),
        other => Err(Finding::Version(other)),
    };
    ledger.note(SnpCheck::ReportVersion, version, |version| {
        format!("version {version}")
    });
    ledger.note(SnpCheck::ReportReserved, layout.expect_reserved(), |()| {
        "all that is reserved is as the layout says".into()
    });
    let algorithm = match layout.report.signature_algorithm() {
        1 => Ok(()),
        other => Err(Finding::Algorithm(other)),
    };
    ledger.note(SnpCheck::ReportAlgorithm, algorithm, |()| {
        "ecdsa p-384 with sha-384".into()
    });
    Some(layout)
}

/// The three certificates, as far as each could be read.
struct Chain<'a> {
    root: Option<Certificate<'a>>,
    /// Of the pin.
    root_product: Option<Product>,
    issuer: Option<Certificate<'a>>,
    /// What the issuer is for, by its name.
    issuer_kind: Option<(SigningKey, Product)>,
    certificate: Option<Certificate<'a>>,
    key: Option<EndorsementKey<'a>>,
}

impl<'a> Chain<'a> {
    /// What depends on neither time nor policy.
    fn appraise(
        ledger: &mut Ledger<SnpCheck>,
        evidence: &SnpEvidence<'a>,
        roots: &Roots,
        chains: &mut Chains,
    ) -> Self {
        let root = Certificate::parse(evidence.root);
        let pinned = root.as_ref().map_err(|e| Finding::Certificate(e.clone()));
        let pinned = pinned.and_then(|root| {
            let key = SpkiDigest::of(root.spki());
            roots.product_of(key).ok_or(Finding::NotPinned(key))
        });
        let root_product = ledger.note(SnpCheck::RootPinned, pinned, |product| {
            format!("pinned root of {product}")
        });
        let root = root.ok();
        match &root {
            Some(root) => {
                let result = expect_rsa_4096(root, "the root").and_then(|()| {
                    issued(
                        chains,
                        Issue {
                            issuer: root,
                            subject: root,
                            below: 1,
                        },
                    )
                });
                ledger.note(SnpCheck::RootSignature, result, |()| {
                    "signed by its own key, rsa 4096".into()
                });
            }
            None => ledger.skip(SnpCheck::RootSignature, NO_ROOT),
        }

        let issuer = Certificate::parse(evidence.issuer);
        match (&root, &issuer) {
            (Some(root), Ok(issuer)) => {
                let result = expect_rsa_4096(issuer, "the issuer").and_then(|()| {
                    issued(
                        chains,
                        Issue {
                            issuer: root,
                            subject: issuer,
                            below: 1,
                        },
                    )
                });
                ledger.note(SnpCheck::IssuerSignature, result, |()| {
                    "the root issued it, rsa 4096".into()
                });
            }
            (_, Err(error)) => {
                ledger.note(SnpCheck::IssuerSignature, Err::<(), _>(error), |()| {
                    String::new()
                });
            }
            (None, Ok(_)) => ledger.skip(SnpCheck::IssuerSignature, NO_ROOT),
        }
        let issuer = issuer.ok();
        let issuer_kind = match &issuer {
            Some(issuer) => {
                let kind = issuer_kind(issuer);
                ledger.note(SnpCheck::IssuerKind, kind, |(kind, product)| {
                    format!("for {}s of {product}", kind.as_str())
                })
            }
            None => {
                ledger.skip(SnpCheck::IssuerKind, NO_ISSUER);
                None
            }
        };

        let certificate = Certificate::parse(evidence.key);
        let key = certificate
            .as_ref()
            .map_err(|error| error.clone().into())
            .and_then(EndorsementKey::of);
        let key = ledger.note(SnpCheck::KeyForm, key, |key| {
            format!("{} of {}", key.kind.as_str(), key.product)
        });
        let certificate = certificate.ok();
        match (&issuer, &certificate) {
            (Some(issuer), Some(certificate)) => {
                let result = issued(
                    chains,
                    Issue {
                        issuer,
                        subject: certificate,
                        below: 0,
                    },
                );
                ledger.note(SnpCheck::KeySignature, result, |()| {
                    "the issuer issued it".into()
                });
            }
            (None, _) => ledger.skip(SnpCheck::KeySignature, NO_ISSUER),
            (Some(_), None) => ledger.skip(SnpCheck::KeySignature, NO_KEY),
        }
        Self {
            root,
            root_product,
            issuer,
            issuer_kind,
            certificate,
            key,
        }
    }

    fn appraise_time(
        &self,
        ledger: &mut Ledger<SnpCheck>,
        evidence: &SnpEvidence<'_>,
        policy: &Policy,
        at: Moment,
        chains: &mut Chains,
    ) {
        match (&self.root, &self.issuer, &self.certificate) {
            (Some(root), Some(issuer), Some(key)) => {
                let result = valid(root, "the root", at)
                    .and_then(|()| valid(issuer, "the issuer", at))
                    .and_then(|()| valid(key, "the signing key", at));
                ledger.note(SnpCheck::ChainValidity, result, |()| {
                    format!("all three at {at}")
                });
            }
            _ => ledger.skip(SnpCheck::ChainValidity, "a certificate is malformed"),
        }
        match (&self.root, &self.issuer, evidence.crl, policy.revocation) {
            (Some(root), Some(issuer), Some(crl), _) => {
                let result = not_revoked(crl, root, issuer, at, chains);
                ledger.note(SnpCheck::ChainRevocation, result, |until| {
                    format!("neither issuer nor root is on the root's list, which is current until {until}")
                });
            }
            (_, _, None, Requirement::Required) => {
                ledger.note(
                    SnpCheck::ChainRevocation,
                    Err::<(), _>(Finding::NoList),
                    |()| String::new(),
                );
            }
            (_, _, None, Requirement::Optional) => ledger.skip(
                SnpCheck::ChainRevocation,
                "the evidence has no revocation list, and the policy asks for none",
            ),
            (_, _, Some(_), _) => {
                ledger.skip(SnpCheck::ChainRevocation, "a certificate is malformed");
            }
        }
    }
}

/// One certificate that has to have issued another, with so many issuers below it.
struct Issue<'c, 'a> {
    issuer: &'c Certificate<'a>,
    subject: &'c Certificate<'a>,
    below: u8,
}

fn issued(chains: &mut Chains, issue: Issue<'_, '_>) -> Result<(), Finding> {
    let Issue {
        issuer,
        subject,
        below,
    } = issue;
    let link = Link {
        kind: LinkKind::Certificate { below },
        issuer: issuer.whole(),
        subject: subject.whole(),
        signature: &[],
    };
    chains
        .verify(link, || issuer.issued(subject, below.into()))
        .map_err(Finding::Certificate)
}

fn valid(certificate: &Certificate<'_>, whose: &'static str, at: Moment) -> Result<(), Finding> {
    let Validity { from, until } = certificate.validity();
    certificate
        .valid(at.0, whose)
        .map_err(|_| Finding::Validity {
            whose,
            from: Moment(from),
            until: Moment(until),
            at,
        })
}

fn expect_rsa_4096(certificate: &Certificate<'_>, whose: &'static str) -> Result<(), Finding> {
    let found = match certificate.key(whose)? {
        Key::Rsa(key) if key.bits() == 4096 => return Ok(()),
        Key::Rsa(_) => "another length of rsa",
        Key::P256(_) | Key::P384(_) => "an elliptic curve",
    };
    Err(Finding::NotRsa4096 { whose, found })
}

/// `SEV-Milan` issues VCEKs, `SEV-VLEK-Milan` VLEKs.
fn issuer_kind(issuer: &Certificate<'_>) -> Result<(SigningKey, Product), Finding> {
    let name = issuer.named(COMMON_NAME).unwrap_or_default();
    let parse = || {
        let rest = name.strip_prefix(b"SEV-")?;
        let (kind, product) = match rest.strip_prefix(b"VLEK-") {
            Some(product) => (SigningKey::Vlek, product),
            None => (SigningKey::Vcek, rest),
        };
        let exact = |p: &Product| p.as_str().as_bytes() == product;
        Product::ALL.into_iter().find(exact).map(|p| (kind, p))
    };
    parse().ok_or_else(|| Finding::IssuerName(text(name)))
}

/// Until when the list is current.
///
/// Signing keys all have the serial number 0, so no list can name one of them; what it can take back is
/// their issuer. Chips are taken back by the policy's list of denied chips, and by floors.
fn not_revoked(
    bytes: &[u8],
    root: &Certificate<'_>,
    issuer: &Certificate<'_>,
    at: Moment,
    chains: &mut Chains,
) -> Result<Moment, Finding> {
    let crl = Crl::parse(bytes)?;
    let link = Link {
        kind: LinkKind::List,
        issuer: root.whole(),
        subject: bytes,
        signature: &[],
    };
    chains.verify(link, || crl.verify(root))?;
    crl.current(at.0).map_err(|_| Finding::Validity {
        whose: "the root's list",
        from: Moment(crl.this_update()),
        until: Moment(crl.next_update()),
        at,
    })?;
    for (whose, certificate) in [("the issuer", issuer), ("the root", root)] {
        if let Some(at) = crl.revoked(certificate.serial()) {
            return Err(Finding::Revoked {
                whose,
                at: Moment(at),
            });
        }
    }
    Ok(Moment(crl.next_update()))
}

fn appraise_key(
    ledger: &mut Ledger<SnpCheck>,
    chain: &Chain<'_>,
    pair: Option<(&Report, &EndorsementKey<'_>)>,
) {
    let Some((report, key)) = pair else {
        for check in [
            SnpCheck::KeyKind,
            SnpCheck::KeyProduct,
            SnpCheck::KeyTcb,
            SnpCheck::KeyChip,
        ] {
            ledger.skip(check, NO_PAIR);
        }
        return;
    };
    match chain.issuer_kind {
        Some((issuer, _)) => {
            ledger.note(SnpCheck::KeyKind, one_kind(report, key, issuer), |()| {
                format!("all say {}", key.kind.as_str())
            });
        }
        None => ledger.skip(SnpCheck::KeyKind, "the issuer's kind is not known"),
    }
    match (chain.root_product, chain.issuer_kind) {
        (Some(root), Some((_, issuer))) => {
            let products = [root, issuer, key.product];
            let result = one_product(report, products);
            ledger.note(SnpCheck::KeyProduct, result, |()| {
                match report.processor() {
                    Some(processor) => format!("all say {}; {processor}", key.product),
                    None => format!("all say {}; the report does not name it", key.product),
                }
            });
        }
        (None, _) => ledger.skip(SnpCheck::KeyProduct, "the root is not pinned"),
        (Some(_), None) => ledger.skip(SnpCheck::KeyProduct, "the issuer's product is not known"),
    }
    let (certificate, reported) = (key.tcb, report.reported_tcb());
    let tcb = if certificate == reported {
        Ok(())
    } else {
        Err(Finding::OtherTcb {
            certificate,
            report: reported,
        })
    };
    ledger.note(SnpCheck::KeyTcb, tcb, |()| {
        format!("{reported}, as reported")
    });
    ledger.note(SnpCheck::KeyChip, one_chip(report, key), Clone::clone);
}

fn one_kind(report: &Report, key: &EndorsementKey<'_>, issuer: SigningKey) -> Result<(), Finding> {
    let number = report.signing_key_number();
    let claimed = report.signing_key().ok_or(Finding::SigningKey(number))?;
    if claimed != key.kind || issuer != key.kind {
        return Err(Finding::OtherKind {
            report: claimed,
            certificate: key.kind,
            issuer,
        });
    }
    match key.kind {
        SigningKey::Vcek if report.masks_chip_key() => Err(Finding::Masked),
        SigningKey::Vcek | SigningKey::Vlek => Ok(()),
    }
}

fn one_product(report: &Report, products: [Product; 3]) -> Result<(), Finding> {
    let [root, issuer, certificate] = products;
    if root != certificate || issuer != certificate {
        return Err(Finding::OtherProducts {
            root,
            issuer,
            certificate,
        });
    }
    match (report.processor(), certificate) {
        (Some(found), _) if Product::of_processor(found) != Some(certificate) => {
            Err(Finding::OtherProcessor { found, certificate })
        }
        (Some(_), _) | (None, Product::Milan | Product::Genoa) => Ok(()),
        // Turin's firmware never wrote version 2; what its bytes would mean is not known.
        (None, Product::Turin) => Err(Finding::NoProcessor(certificate)),
    }
}

fn one_chip(report: &Report, key: &EndorsementKey<'_>) -> Result<String, Finding> {
    let chip = report.chip_id();
    let Some(certificate) = key.chip else {
        return Ok("a vlek is no chip's own; the report names whatever the firmware does".into());
    };
    if chip.0 == [0; 64] {
        return Err(Finding::NoChip);
    }
    let rest = chip.0.strip_prefix(certificate);
    if rest.is_some_and(|rest| rest.iter().all(|byte| *byte == 0)) {
        Ok(format!("chip {}", Hex(certificate)))
    } else {
        Err(Finding::OtherChip {
            certificate: certificate.to_vec(),
            report: *chip,
        })
    }
}

fn appraise_signature(
    ledger: &mut Ledger<SnpCheck>,
    pair: Option<(&Layout<'_>, &EndorsementKey<'_>)>,
    chains: &mut Chains,
) {
    let Some((layout, key)) = pair else {
        return ledger.skip(SnpCheck::ReportSignature, NO_PAIR);
    };
    let link = Link {
        kind: LinkKind::Statement,
        issuer: key.spki,
        subject: layout.signed,
        signature: layout.signature,
    };
    let result = chains.verify(link, || {
        let signature = layout.p384_signature().ok_or(Finding::NotSigned)?;
        key.key
            .verify_prehash(&Sha384::digest(layout.signed), &signature)
            .map_err(|_| Finding::NotSigned)
    });
    ledger.note(SnpCheck::ReportSignature, result, |()| {
        "holds under the key in the certificate".into()
    });
}

fn appraise_accepted(
    ledger: &mut Ledger<SnpCheck>,
    pair: Option<(&Report, &EndorsementKey<'_>)>,
    policy: &Policy,
) {
    let Some((report, key)) = pair else {
        ledger.skip(SnpCheck::ProductAccepted, NO_PAIR);
        ledger.skip(SnpCheck::ProviderAccepted, NO_PAIR);
        return ledger.skip(SnpCheck::ChipAccepted, NO_PAIR);
    };
    let of_product = policy.products.get(&key.product);
    let product = of_product.ok_or_else(|| Finding::Product {
        found: key.product,
        accepted: policy.products.keys().copied().collect(),
    });
    ledger.note(SnpCheck::ProductAccepted, product, |_| {
        format!("{}", key.product)
    });
    let provider = match &key.provider {
        None => Ok("none: the chip's own key signed".into()),
        Some(found) if policy.providers.contains(found) => Ok(found.as_str().to_owned()),
        Some(found) => Err(Finding::Provider {
            found: found.clone(),
            accepted: policy.providers.clone(),
        }),
    };
    ledger.note(SnpCheck::ProviderAccepted, provider, Clone::clone);

    let chip = *report.chip_id();
    let accepted = of_product.and_then(|of_product| of_product.chips.as_ref());
    let result = match accepted {
        _ if policy.denied_chips.contains(&chip) => Err(Finding::ChipDenied(chip)),
        _ if chip.0 == [0; 64] && !policy.denied_chips.is_empty() => Err(Finding::ChipHidden),
        None if policy.denied_chips.is_empty() => {
            return ledger.skip(SnpCheck::ChipAccepted, "the policy names no chips");
        }
        None => Ok(()),
        // Whoever hides the chip's identity, or holds a key that is no chip's, cannot have one that is listed.
        Some(chips) if chip.0 != [0; 64] && chips.contains(&chip) => Ok(()),
        Some(chips) => Err(Finding::ChipUnknown {
            found: chip,
            count: chips.len(),
        }),
    };
    ledger.note(SnpCheck::ChipAccepted, result, |()| format!("chip {chip}"));
}

fn appraise_guest(ledger: &mut Ledger<SnpCheck>, report: &Report, policy: &Policy) {
    let guest = report.policy();
    let debug = if guest.allows_debugging() {
        Err(Finding::Debug(guest.0))
    } else {
        Ok(())
    };
    ledger.note(SnpCheck::GuestDebug, debug, |()| "off".into());
    let migration = if guest.allows_migration() {
        Err(Finding::MigrationAllowed(guest.0))
    } else if *report.report_id_ma() != [0xff; 32] {
        Err(Finding::MigrationAgent(*report.report_id_ma()))
    } else {
        Ok(())
    };
    ledger.note(SnpCheck::GuestMigration, migration, |()| "none".into());

    let found = (guest.abi_major(), guest.abi_minor());
    match policy.guest_abi {
        None => ledger.skip(SnpCheck::GuestAbi, "the policy names no lowest interface"),
        Some(floor) => {
            let result = if found >= floor {
                Ok(())
            } else {
                Err(Finding::Abi { found, floor })
            };
            ledger.note(SnpCheck::GuestAbi, result, |()| {
                format!("{}.{} and later", found.0, found.1)
            });
        }
    }
    let named = |features: &[GuestFeature]| -> Vec<(u64, &'static str)> {
        features.iter().map(|f| (f.bit(), f.as_str())).collect()
    };
    let features = Features {
        what: "guest policy",
        found: guest.0,
        required: named(&policy.guest_required),
        forbidden: named(&policy.guest_forbidden),
    };
    features.appraise(ledger, SnpCheck::GuestFeatures);
    let named = |features: &[PlatformFeature]| -> Vec<(u64, &'static str)> {
        features.iter().map(|f| (f.bit(), f.as_str())).collect()
    };
    let features = Features {
        what: "platform",
        found: report.platform().0,
        required: named(&policy.platform_required),
        forbidden: named(&policy.platform_forbidden),
    };
    features.appraise(ledger, SnpCheck::PlatformFeatures);
}

/// Bits with their names, some of which have to be there, and some not.
struct Features {
    what: &'static str,
    found: u64,
    required: Vec<(u64, &'static str)>,
    forbidden: Vec<(u64, &'static str)>,
}

impl Features {
    fn appraise(&self, ledger: &mut Ledger<SnpCheck>, check: SnpCheck) {
        if self.required.is_empty() && self.forbidden.is_empty() {
            return ledger.skip(check, "the policy names no features");
        }
        let missing = self
            .required
            .iter()
            .filter(|(bit, _)| self.found & bit == 0)
            .map(|(_, name)| format!("{name} is missing"));
        let unwanted = self
            .forbidden
            .iter()
            .filter(|(bit, _)| self.found & bit != 0)
            .map(|(_, name)| format!("{name} is forbidden"));
        let wrong: Vec<String> = missing.chain(unwanted).collect();
        let result = if wrong.is_empty() {
            Ok(())
        } else {
            Err(Finding::Features {
                what: self.what,
                found: self.found,
                why: wrong.join(", "),
            })
        };
        ledger.note(check, result, |()| {
            format!("{} is {:#x}", self.what, self.found)
        });
    }
}

fn appraise_versions(
    ledger: &mut Ledger<SnpCheck>,
    report: &Report,
    product: Option<Product>,
    policy: &Policy,
) -> Option<TcbVersions> {
    let Some(product) = product else {
        for check in [
            SnpCheck::TcbOrder,
            SnpCheck::TcbReported,
            SnpCheck::TcbCommitted,
            SnpCheck::TcbLaunch,
            SnpCheck::Firmware,
            SnpCheck::Mitigations,
        ] {
            ledger.skip(check, NO_PRODUCT);
        }
        return None;
    };
    let read =
        |name, raw| Tcb::parse(raw, product).map_err(|error| Finding::TcbForm { name, error });
    let read = || {
        Ok(TcbVersions {
            reported: read("reported tcb", report.reported_tcb())?,
            committed: read("committed tcb", report.committed_tcb())?,
            current: read("current tcb", report.current_tcb())?,
            launch: read("tcb at launch", report.launch_tcb())?,
        })
    };
    let tcb: Result<TcbVersions, Finding> = read();
    let known = tcb.as_ref().ok().copied();
    let order = tcb.and_then(|tcb| {
        in_order(report, &tcb)?;
        Ok(tcb)
    });
    ledger.note(SnpCheck::TcbOrder, order, |tcb| {
        format!("current is {}", tcb.current)
    });
    let tcb = known;
    let of_product = policy.products.get(&product);
    let floor = of_product.and_then(|of_product| of_product.floor);
    for (check, found) in [
        (SnpCheck::TcbReported, tcb.map(|tcb| tcb.reported)),
        (SnpCheck::TcbCommitted, tcb.map(|tcb| tcb.committed)),
        (SnpCheck::TcbLaunch, tcb.map(|tcb| tcb.launch)),
    ] {
        match (found, floor) {
            (None, _) => ledger.skip(check, "the versions are malformed"),
            (Some(_), None) => ledger.skip(check, "the policy names no floor for this product"),
            (Some(found), Some(floor)) => {
                let result = if found.reaches(&floor) {
                    Ok(())
                } else {
                    Err(Finding::Tcb { found, floor })
                };
                ledger.note(check, result, |()| format!("{found}"));
            }
        }
    }
    appraise_firmware(ledger, report, of_product);
    tcb
}

/// Each part of a version counts alone. Versions need not be equal: hosts report and commit later than they load.
fn in_order(report: &Report, tcb: &TcbVersions) -> Result<(), Finding> {
    for (lower, found, upper, limit) in [
        ("reported tcb", tcb.reported, "committed tcb", tcb.committed),
        ("committed tcb", tcb.committed, "current tcb", tcb.current),
    ] {
        if !limit.reaches(&found) {
            return Err(Finding::Order {
                lower,
                found: found.to_string(),
                upper,
                limit: limit.to_string(),
            });
        }
    }
    let (found, limit) = (report.committed_firmware(), report.current_firmware());
    if found > limit {
        return Err(Finding::Order {
            lower: "committed firmware",
            found: found.to_string(),
            upper: "current firmware",
            limit: limit.to_string(),
        });
    }
    Ok(())
}

fn appraise_firmware(
    ledger: &mut Ledger<SnpCheck>,
    report: &Report,
    of_product: Option<&ProductPolicy>,
) {
    let found = report.committed_firmware();
    match of_product.and_then(|of_product| of_product.firmware) {
        None => ledger.skip(
            SnpCheck::Firmware,
            "the policy names no lowest firmware for this product",
        ),
        Some(floor) => {
            let result = if found >= floor {
                Ok(())
            } else {
                Err(Finding::Firmware { found, floor })
            };
            ledger.note(SnpCheck::Firmware, result, |()| format!("{found}"));
        }
    }
    match of_product.and_then(|of_product| of_product.mitigations) {
        None => ledger.skip(
            SnpCheck::Mitigations,
            "the policy names no mitigations for this product",
        ),
        Some(wanted) => {
            let result = report
                .mitigations()
                .ok_or(Finding::NoMitigations(report.version()))
                .and_then(|Mitigations { launch, current }| {
                    if launch & current & wanted.0 == wanted.0 {
                        Ok(())
                    } else {
                        Err(Finding::Mitigations {
                            launch,
                            current,
                            wanted: wanted.0,
                        })
                    }
                });
            ledger.note(SnpCheck::Mitigations, result, |()| {
                format!("{:#x}", wanted.0)
            });
        }
    }
}

fn appraise_request(ledger: &mut Ledger<SnpCheck>, report: &Report, policy: &Policy) {
    let (found, highest) = (report.vmpl().0, policy.vmpl.0);
    let vmpl = if found <= highest {
        Ok(())
    } else {
        Err(Finding::Vmpl { found, highest })
    };
    ledger.note(SnpCheck::Vmpl, vmpl, |()| {
        format!("level {found}, accepted are 0 to {highest}")
    });
    match policy.report_data {
        None => ledger.skip(
            SnpCheck::ReportData,
            "nothing is expected: the report can be anybody's",
        ),
        Some(expected) => {
            let result = if expected.0 == [0; 64] {
                Err(Finding::NothingBound)
            } else {
                same("report data", report.report_data(), &expected.0)
            };
            ledger.note(SnpCheck::ReportData, result, |()| {
                format!("{}, all 64 bytes", Hex(expected.0))
            });
        }
    }
}

fn appraise_image(ledger: &mut Ledger<SnpCheck>, report: &Report, policy: &Policy) {
    let measurement = LaunchMeasurement(*report.measurement());
    match &policy.measurements {
        None => ledger.skip(
            SnpCheck::Measurement,
            "there are no reference values for launch measurements",
        ),
        Some(accepted) => {
            let is_listed = accepted.contains(&measurement);
            let result = listed(
                "launch measurement",
                &measurement.0,
                is_listed,
                accepted.len(),
            );
            ledger.note(SnpCheck::Measurement, result, |()| {
                Hex(measurement.0).to_string()
            });
        }
    }
    match policy.host_data {
        None => ledger.skip(SnpCheck::HostData, "no host data is expected"),
        Some(expected) => {
            let result = same("host data", report.host_data(), &expected.0);
            ledger.note(SnpCheck::HostData, result, |()| Hex(expected.0).to_string());
        }
    }
    let id_key = KeyDigest(*report.id_key_digest());
    match &policy.id_keys {
        None => ledger.skip(SnpCheck::IdKey, "the policy names no keys of identities"),
        Some(accepted) => {
            let result = listed_key("key of the identity", id_key, accepted);
            ledger.note(SnpCheck::IdKey, result, |()| Hex(id_key.0).to_string());
        }
    }
    let author_key = KeyDigest(*report.author_key_digest());
    match &policy.author_keys {
        None => ledger.skip(SnpCheck::AuthorKey, "the policy names no keys of authors"),
        Some(accepted) => {
            let result = if report.has_author_key() {
                listed_key("key of the author", author_key, accepted)
            } else {
                Err(Finding::NoAuthor)
            };
            ledger.note(SnpCheck::AuthorKey, result, |()| {
                Hex(author_key.0).to_string()
            });
        }
    }
    match &policy.image {
        None => ledger.skip(SnpCheck::Image, "no family and image are expected"),
        Some((family, image)) => {
            let result = same("family", report.family_id(), family)
                .and_then(|()| same("image", report.image_id(), image));
            ledger.note(SnpCheck::Image, result, |()| {
                format!("family {}, image {}", Hex(family), Hex(image))
            });
        }
    }
    let found = report.guest_svn();
    match policy.guest_svn {
        None => ledger.skip(SnpCheck::GuestSvn, "the policy names no floor"),
        Some(floor) => {
            let result = if found >= floor {
                Ok(())
            } else {
                Err(Finding::GuestSvn { found, floor })
            };
            ledger.note(SnpCheck::GuestSvn, result, |()| {
                format!("{found}, floor is {floor}")
            });
        }
    }
}

/// Bytes that have to be equal, all of them.
fn same<const N: usize>(
    what: &'static str,
    found: &[u8; N],
    expected: &[u8; N],
) -> Result<(), Finding> {
    if found == expected {
        Ok(())
    } else {
        Err(Finding::Bytes {
            what,
            found: found.to_vec(),
            expected: expected.to_vec(),
        })
    }
}

/// Zeros stand for no key, so they are no key that could be listed.
fn listed_key(what: &'static str, found: KeyDigest, accepted: &[KeyDigest]) -> Result<(), Finding> {
    let is_listed = found.0 != [0; 48] && accepted.contains(&found);
    listed(what, &found.0, is_listed, accepted.len())
}

fn listed(
    what: &'static str,
    found: &[u8; 48],
    is_listed: bool,
    count: usize,
) -> Result<(), Finding> {
    if is_listed {
        Ok(())
    } else {
        Err(Finding::NotListed {
            what,
            found: found.to_vec(),
            count,
        })
    }
}

/// Checks that read nothing but the report and the policy, in their order.
const OF_THE_REPORT: [SnpCheck; 19] = [
    SnpCheck::GuestDebug,
    SnpCheck::GuestMigration,
    SnpCheck::GuestAbi,
    SnpCheck::GuestFeatures,
    SnpCheck::PlatformFeatures,
    SnpCheck::TcbOrder,
    SnpCheck::TcbReported,
    SnpCheck::TcbCommitted,
    SnpCheck::TcbLaunch,
    SnpCheck::Firmware,
    SnpCheck::Mitigations,
    SnpCheck::Vmpl,
    SnpCheck::ReportData,
    SnpCheck::Measurement,
    SnpCheck::HostData,
    SnpCheck::IdKey,
    SnpCheck::AuthorKey,
    SnpCheck::Image,
    SnpCheck::GuestSvn,
];

const NO_REPORT: &str = "the report is malformed";
const NO_ROOT: &str = "the root's certificate is malformed";
const NO_ISSUER: &str = "the issuer's certificate is malformed";
const NO_KEY: &str = "the signing key's certificate is malformed";
const NO_PAIR: &str = "the report, or the signing key's certificate, is malformed";
const NO_PRODUCT: &str = "the signing key's certificate is malformed, so its product is not known";

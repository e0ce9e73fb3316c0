//! AMD SEV-SNP evidence: an attestation report, the key that signed it, and the chain to AMD's root.
//!
//! In: [`SnpEvidence`], the bytes as received; [`Policy`], what they have to say; [`Roots`], whom AMD's
//! chain has to end in; a [`Moment`](crate::Moment). Out: [`SnpAppraisal`]: every check by name, and, only if none
//! failed and none that is needed was left out, what is now known ([`VerifiedSnp`]).
//!
//! What it shows: the firmware of an AMD processor of this product, at this version, launched a guest with
//! this measurement, under this guest policy, and that guest asked it to sign this report data. Who says
//! so is [`VerifiedSnp::parties`]: AMD alone for a key of the chip (VCEK); with a loaded key (VLEK) also the
//! provider who holds it, and then no chip is named.
//!
//! What depends neither on the time nor on the policy is remembered in [`Chains`](crate::Chains), so a second report under
//! the same chain costs its own signature, and a second moment costs none.
//!
//! Spec: `docs/spec/snp.md`. Source: AMD 56860 (SEV-SNP firmware ABI), 57230 (VCEK certificates and key
//! distribution), 58369 (VLEK).

mod appraise;
mod certificates;
mod key;
mod policy;
mod product;
mod report;
mod roots;
mod vendor;

pub use appraise::appraise_snp;
pub use certificates::{
    CertificateTable, Guid, MAX_TABLE_BYTES, SnpCertificates, SnpCertificatesError, TableError,
};
pub use policy::{
    GuestFeature, HostData, KeyDigest, LaunchMeasurement, MitigationBits, PlatformFeature, Policy,
    ProductPolicy, ReportData, Requirement,
};
pub use product::{Product, ProductError, RawTcb, Tcb};
pub use report::{
    ChipId, Firmware, GuestPolicy, Mitigations, PlatformInfo, Processor, Report, SNP_REPORT_BYTES,
    SigningKey, Vmpl,
};
pub use roots::{Root, Roots, SpkiDigest};
pub use vendor::VENDOR_CERTIFICATES;

use crate::appraisal::{Check, Outcome};
use crate::party::Party;

/// What a guest presented, untouched.
#[derive(Debug, Clone, Copy)]
pub struct SnpEvidence<'a> {
    /// The report, as the firmware gave it: 1184 bytes.
    pub report: &'a [u8],
    /// Certificate of the key that signed it (VCEK or VLEK), in DER.
    pub key: &'a [u8],
    /// Certificate of who issued that one (ASK or ASVK), in DER.
    pub issuer: &'a [u8],
    /// Certificate of AMD's root (ARK), in DER.
    pub root: &'a [u8],
    /// The root's revocation list, in DER, where there is one.
    pub crl: Option<&'a [u8]>,
}

/// Everything that came of an appraisal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnpAppraisal {
    checks: Vec<Check<SnpCheck>>,
    claimed: Option<Report>,
    parties: Vec<Party>,
    verified: Option<VerifiedSnp>,
}

impl SnpAppraisal {
    /// All checks, each once, in the order of [`SnpCheck::ALL`].
    #[must_use]
    pub fn checks(&self) -> &[Check<SnpCheck>] {
        &self.checks
    }

    /// What the report says, whether or not anything holds: for display, never for a decision.
    #[must_use]
    pub fn claimed(&self) -> Option<&Report> {
        self.claimed.as_ref()
    }

    /// On whom it rests, as far as the certificate of the signing key says: also where a policy refuses them.
    #[must_use]
    pub fn rests_on(&self) -> &[Party] {
        &self.parties
    }

    /// What is known now. `None` if any check failed, or one that is needed could not run.
    #[must_use]
    pub fn verified(&self) -> Option<&VerifiedSnp> {
        self.verified.as_ref()
    }

    /// The checks that failed, in order.
    pub fn failures(&self) -> impl Iterator<Item = &Check<SnpCheck>> {
        self.checks
            .iter()
            .filter(|check| check.outcome == Outcome::Fail)
    }
}

/// What evidence says, all checks passed. Only [`appraise_snp`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedSnp {
    report: Report,
    product: Product,
    tcb: TcbVersions,
    parties: Vec<Party>,
}

/// The four versions of a report, read as its product has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcbVersions {
    /// What the host lets the guest see; the signing key is derived from it.
    pub reported: Tcb,
    /// What the processor cannot go back behind.
    pub committed: Tcb,
    /// What runs.
    pub current: Tcb,
    /// What ran when the guest was launched.
    pub launch: Tcb,
}

impl VerifiedSnp {
    /// The report, field by field.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Generation of the processor.
    #[must_use]
    pub fn product(&self) -> Product {
        self.product
    }

    /// Versions of what has to be trusted on the processor.
    #[must_use]
    pub fn tcb(&self) -> &TcbVersions {
        &self.tcb
    }

    /// Who has to be trusted for this to mean anything.
    #[must_use]
    pub fn parties(&self) -> &[Party] {
        &self.parties
    }
}

macro_rules! checks {
    ($($(#[$doc:meta])* $variant:ident = $text:literal,)*) => {
        /// The checks of [`appraise_snp`]. Their texts are stable: reports and tools rely on them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum SnpCheck { $($(#[$doc])* $variant,)* }

        impl SnpCheck {
            /// Every check, in the order in which an appraisal lists them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The stable text.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

checks! {
    /// The report is exactly as long as a report is.
    ReportStructure = "snp.report.structure",
    /// Its layout is one of those known here, 2 to 5.
    ReportVersion = "snp.report.version",
    /// What the layout reserves is as the layout says, around the signature's numbers too.
    ReportReserved = "snp.report.reserved",
    /// It is signed by ECDSA P-384 with SHA-384.
    ReportAlgorithm = "snp.report.algorithm",
    /// The root's key is pinned.
    RootPinned = "snp.root.pinned",
    /// The root's certificate is signed by that key, of RSA 4096.
    RootSignature = "snp.root.signature",
    /// The root issued the issuer of the signing key, whose key is RSA 4096 too.
    IssuerSignature = "snp.issuer.signature",
    /// The issuer is AMD's for one kind of key of one product.
    IssuerKind = "snp.issuer.kind",
    /// The signing key's certificate is that of a VCEK or VLEK, a P-384 key that issues nothing.
    KeyForm = "snp.key.form",
    /// The issuer issued it.
    KeySignature = "snp.key.signature",
    /// All three certificates are valid at the moment of the appraisal.
    ChainValidity = "snp.chain.validity",
    /// The root's list is genuine and current, and names neither issuer nor root.
    ChainRevocation = "snp.chain.revocation",
    /// Report, certificate and issuer agree on the kind of the signing key.
    KeyKind = "snp.key.kind",
    /// Root, issuer, certificate and processor agree on the product.
    KeyProduct = "snp.key.product",
    /// The signing key is that of the reported TCB.
    KeyTcb = "snp.key.tcb",
    /// A VCEK is that of the chip that the report names.
    KeyChip = "snp.key.chip",
    /// The key signed the report.
    ReportSignature = "snp.report.signature",
    /// The policy accepts the product.
    ProductAccepted = "snp.product.accepted",
    /// The policy accepts the provider that holds a VLEK.
    ProviderAccepted = "snp.provider.accepted",
    /// The policy accepts the chip.
    ChipAccepted = "snp.chip.accepted",
    /// Nobody may debug the guest.
    GuestDebug = "snp.guest.debug",
    /// No migration agent holds the guest's secrets.
    GuestMigration = "snp.guest.migration",
    /// The guest asks for firmware of this interface version at least.
    GuestAbi = "snp.guest.abi",
    /// The guest policy has the features, and none of those, that the policy names.
    GuestFeatures = "snp.guest.features",
    /// The platform has the features, and none of those, that the policy names.
    PlatformFeatures = "snp.platform.features",
    /// No version is above one that it cannot be above.
    TcbOrder = "snp.tcb.order",
    /// The reported TCB is at the floor of its product.
    TcbReported = "snp.tcb.reported",
    /// The committed TCB is at the floor of its product.
    TcbCommitted = "snp.tcb.committed",
    /// The TCB at launch is at the floor of its product.
    TcbLaunch = "snp.tcb.launch",
    /// The committed firmware is at the floor of its product.
    Firmware = "snp.firmware",
    /// Mitigations were in force at launch, and are.
    Mitigations = "snp.mitigations",
    /// The report was asked for at this privilege level, or a higher one.
    Vmpl = "snp.vmpl",
    /// All 64 bytes of report data are the expected ones, and not zero.
    ReportData = "snp.report.data",
    /// The launch measurement is one of the reference values.
    Measurement = "snp.measurement",
    /// The host's data is the expected one.
    HostData = "snp.host-data",
    /// The key that signed the identity of the guest's image is one of those named.
    IdKey = "snp.id-key",
    /// The key that signed that key is one of those named.
    AuthorKey = "snp.author-key",
    /// Family and image are the expected ones.
    Image = "snp.image",
    /// The guest's own security version is at its floor.
    GuestSvn = "snp.guest.svn",
}

impl SnpCheck {
    /// Whether an auditor may see it one way or the other: a failure is against a policy, and no sign of forgery.
    #[must_use]
    pub fn is_rule(self) -> bool {
        match self {
            Self::ProductAccepted
            | Self::ProviderAccepted
            | Self::ChipAccepted
            | Self::GuestAbi
            | Self::GuestFeatures
            | Self::PlatformFeatures
            | Self::TcbReported
            | Self::TcbCommitted
            | Self::TcbLaunch
            | Self::Firmware
            | Self::Mitigations
            | Self::Vmpl
            | Self::Measurement
            | Self::HostData
            | Self::IdKey
            | Self::AuthorKey
            | Self::Image
            | Self::GuestSvn => true,
            Self::ReportStructure
            | Self::ReportVersion
            | Self::ReportReserved
            | Self::ReportAlgorithm
            | Self::RootPinned
            | Self::RootSignature
            | Self::IssuerSignature
            | Self::IssuerKind
            | Self::KeyForm
            | Self::KeySignature
            | Self::ChainValidity
            | Self::ChainRevocation
            | Self::KeyKind
            | Self::KeyProduct
            | Self::KeyTcb
            | Self::KeyChip
            | Self::ReportSignature
            | Self::GuestDebug
            | Self::GuestMigration
            | Self::TcbOrder
            | Self::ReportData => false,
        }
    }

    /// Whether evidence can hold without it: only where a policy names nothing to compare with.
    fn is_optional(self) -> bool {
        match self {
            Self::ChainRevocation
            | Self::ChipAccepted
            | Self::GuestAbi
            | Self::GuestFeatures
            | Self::PlatformFeatures
            | Self::TcbReported
            | Self::TcbCommitted
            | Self::TcbLaunch
            | Self::Firmware
            | Self::Mitigations
            | Self::Measurement
            | Self::HostData
            | Self::IdKey
            | Self::AuthorKey
            | Self::Image
            | Self::GuestSvn => true,
            Self::ReportStructure
            | Self::ReportVersion
            | Self::ReportReserved
            | Self::ReportAlgorithm
            | Self::RootPinned
            | Self::RootSignature
            | Self::IssuerSignature
            | Self::IssuerKind
            | Self::KeyForm
            | Self::KeySignature
            | Self::ChainValidity
            | Self::KeyKind
            | Self::KeyProduct
            | Self::KeyTcb
            | Self::KeyChip
            | Self::ReportSignature
            | Self::ProductAccepted
            | Self::ProviderAccepted
            | Self::GuestDebug
            | Self::GuestMigration
            | Self::TcbOrder
            | Self::Vmpl
            | Self::ReportData => false,
        }
    }
}

impl core::fmt::Display for SnpCheck {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests;

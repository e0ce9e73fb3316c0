//! What evidence has to say. None of it may come from the evidence.

use std::collections::BTreeMap;

use super::product::{Product, Tcb};
use super::report::{ChipId, Firmware, Vmpl};
use crate::party::PartyName;

/// What is accepted. `None` means that nobody named a value, so there is nothing to compare with, and the
/// verdict says so; a list that is empty accepts nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Accepted products, and what each has to have. One that is not there is refused.
    pub products: BTreeMap<Product, ProductPolicy>,
    /// Providers whose VLEKs are accepted, by the id in their certificates. VCEKs need none.
    pub providers: Vec<PartyName>,
    /// Chips that are never accepted.
    pub denied_chips: Vec<ChipId>,
    /// Whether the root's revocation list has to be there. One that is there always has to hold.
    pub revocation: Requirement,
    /// Lowest privilege (highest number) that may have asked for the report.
    pub vmpl: Vmpl,
    /// What the report has to be over. Without it nothing is ever verified: a report that is over nothing
    /// known can be anybody's.
    pub report_data: Option<ReportData>,
    /// Lowest firmware interface, major and minor number, that the guest policy may allow.
    pub guest_abi: Option<(u8, u8)>,
    /// Features that the guest policy has to have.
    pub guest_required: Vec<GuestFeature>,
    /// Features that the guest policy must not have.
    pub guest_forbidden: Vec<GuestFeature>,
    /// Features that the platform has to have.
    pub platform_required: Vec<PlatformFeature>,
    /// Features that the platform must not have.
    pub platform_forbidden: Vec<PlatformFeature>,
    /// Accepted launch measurements.
    pub measurements: Option<Vec<LaunchMeasurement>>,
    /// What the host has to have given at launch.
    pub host_data: Option<HostData>,
    /// Accepted keys that sign identities of images.
    pub id_keys: Option<Vec<KeyDigest>>,
    /// Accepted keys that sign those keys.
    pub author_keys: Option<Vec<KeyDigest>>,
    /// Family and image that the guest's owner named.
    pub image: Option<([u8; 16], [u8; 16])>,
    /// Lowest security version of the guest's image.
    pub guest_svn: Option<u32>,
}

impl Policy {
    /// Accepts reports over these bytes by these products, of chips' own keys, asked for at the highest
    /// privilege, with a revocation list, and with memory that was checked for aliases (AMD-SB-3015).
    #[must_use]
    pub fn strict(report_data: ReportData, products: BTreeMap<Product, ProductPolicy>) -> Self {
        Self {
            products,
            providers: vec![],
            denied_chips: vec![],
            revocation: Requirement::Required,
            vmpl: Vmpl(0),
            report_data: Some(report_data),
            guest_abi: None,
            guest_required: vec![],
            guest_forbidden: vec![],
            platform_required: vec![PlatformFeature::AliasCheck],
            platform_forbidden: vec![],
            measurements: None,
            host_data: None,
            id_keys: None,
            author_keys: None,
            image: None,
            guest_svn: None,
        }
    }
}

impl Policy {
    /// Asks nothing of what an auditor may see one way or the other; for the genuine alone. Whoever decides by it says so.
    #[must_use]
    pub fn open() -> Self {
        let products = Product::ALL
            .map(|product| (product, ProductPolicy::default()))
            .into();
        Self {
            revocation: Requirement::Optional,
            vmpl: Vmpl(3),
            platform_required: vec![],
            report_data: None,
            ..Self::strict(ReportData([0; 64]), products)
        }
    }
}

/// What a product has to have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProductPolicy {
    /// Lowest reported, committed and launch TCB.
    pub floor: Option<Tcb>,
    /// Lowest committed firmware.
    pub firmware: Option<Firmware>,
    /// Mitigations that have to be in force, at launch and now.
    pub mitigations: Option<MitigationBits>,
    /// The only chips that are accepted.
    pub chips: Option<Vec<ChipId>>,
}

/// Whether something has to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requirement {
    /// It has to.
    Required,
    /// It may be absent; the verdict says so.
    Optional,
}

/// All 64 bytes that a guest had signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportData(pub [u8; 64]);

/// Launch measurement of a guest, SHA-384.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaunchMeasurement(pub [u8; 48]);

/// What a host gave at launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostData(pub [u8; 32]);

/// SHA-384 of a key, as the firmware computes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyDigest(pub [u8; 48]);

/// Bits of mitigations; what each means is AMD's to say, by product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MitigationBits(pub u64);

/// Bits of a guest policy that a policy may ask for or forbid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuestFeature {
    /// Bit 16: may run beside another thread of the core.
    Smt,
    /// Bit 20: may run on one socket only.
    SingleSocket,
    /// Bit 21: may have memory behind CXL.
    Cxl,
    /// Bit 22: memory is encrypted with AES-256-XTS.
    Aes256,
    /// Bit 23: measurement of power is off.
    RaplOff,
    /// Bit 24: the host does not see ciphertext.
    CiphertextHiding,
    /// Bit 25: the host may not move pages.
    PageSwapOff,
}

impl GuestFeature {
    /// Every one that is known.
    pub const ALL: [Self; 7] = [
        Self::Smt,
        Self::SingleSocket,
        Self::Cxl,
        Self::Aes256,
        Self::RaplOff,
        Self::CiphertextHiding,
        Self::PageSwapOff,
    ];

    /// Its bit of `POLICY`.
    #[must_use]
    pub fn bit(self) -> u64 {
        match self {
            Self::Smt => 1 << 16,
            Self::SingleSocket => 1 << 20,
            Self::Cxl => 1 << 21,
            Self::Aes256 => 1 << 22,
            Self::RaplOff => 1 << 23,
            Self::CiphertextHiding => 1 << 24,
            Self::PageSwapOff => 1 << 25,
        }
    }

    /// Its name, in a trust policy and in reasons.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Smt => "smt",
            Self::SingleSocket => "single-socket",
            Self::Cxl => "cxl",
            Self::Aes256 => "aes-256",
            Self::RaplOff => "rapl-off",
            Self::CiphertextHiding => "ciphertext-hiding",
            Self::PageSwapOff => "page-swap-off",
        }
    }

    /// The one of that name.
    #[must_use]
    pub fn named(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|feature| feature.as_str() == text)
    }
}

/// Bits of `PLATFORM_INFO` that a policy may ask for or forbid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlatformFeature {
    /// Bit 0: cores have two threads.
    Smt,
    /// Bit 1: all memory is encrypted.
    Tsme,
    /// Bit 2: memory has error correction.
    Ecc,
    /// Bit 3: measurement of power is off.
    RaplOff,
    /// Bit 4: hosts do not see ciphertext.
    CiphertextHiding,
    /// Bit 5: memory was checked for addresses that mean the same cells.
    AliasCheck,
    /// Bit 7: trusted devices may be attached.
    Tio,
}

impl PlatformFeature {
    /// Every one that is known.
    pub const ALL: [Self; 7] = [
        Self::Smt,
        Self::Tsme,
        Self::Ecc,
        Self::RaplOff,
        Self::CiphertextHiding,
        Self::AliasCheck,
        Self::Tio,
    ];

    /// Its bit of `PLATFORM_INFO`.
    #[must_use]
    pub fn bit(self) -> u64 {
        match self {
            Self::Smt => 1,
            Self::Tsme => 1 << 1,
            Self::Ecc => 1 << 2,
            Self::RaplOff => 1 << 3,
            Self::CiphertextHiding => 1 << 4,
            Self::AliasCheck => 1 << 5,
            Self::Tio => 1 << 7,
        }
    }

    /// Its name, in a trust policy and in reasons.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Smt => "smt",
            Self::Tsme => "tsme",
            Self::Ecc => "ecc",
            Self::RaplOff => "rapl-off",
            Self::CiphertextHiding => "ciphertext-hiding",
            Self::AliasCheck => "alias-check",
            Self::Tio => "tio",
        }
    }

    /// The one of that name.
    #[must_use]
    pub fn named(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|feature| feature.as_str() == text)
    }
}

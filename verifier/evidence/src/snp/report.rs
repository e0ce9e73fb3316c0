//! The attestation report, read from the bytes that arrived.
//!
//! Source: AMD 56860 (SEV-SNP firmware ABI), "ATTESTATION_REPORT", versions 2 to 5. Integers are
//! little-endian. All versions are 1184 bytes: 672 that are signed, then 512 of signature.

use core::fmt;

use super::policy::{GuestFeature, PlatformFeature};
use super::product::RawTcb;
use crate::reader::{FormError, Reader, expect};

/// Length of a report, in bytes.
pub const SNP_REPORT_BYTES: usize = 1184;

/// Length of the signed part, in bytes: 0x2A0.
const SIGNED_BYTES: usize = 672;

/// Bytes of each of the two numbers of a signature, little-endian; P-384 needs 48 of them.
const NUMBER_BYTES: usize = 72;

/// Bytes of a number of P-384.
const P384_BYTES: usize = 48;

/// Every field of a report. That somebody signed it is not said here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    version: u32,
    guest_svn: u32,
    policy: GuestPolicy,
    family_id: [u8; 16],
    image_id: [u8; 16],
    vmpl: Vmpl,
    signature_algorithm: u32,
    current_tcb: RawTcb,
    platform: PlatformInfo,
    flags: u32,
    report_data: [u8; 64],
    measurement: [u8; 48],
    host_data: [u8; 32],
    id_key_digest: [u8; 48],
    author_key_digest: [u8; 48],
    report_id: [u8; 32],
    report_id_ma: [u8; 32],
    reported_tcb: RawTcb,
    processor: Option<Processor>,
    chip_id: ChipId,
    committed_tcb: RawTcb,
    current_firmware: Firmware,
    committed_firmware: Firmware,
    launch_tcb: RawTcb,
    mitigations: Option<Mitigations>,
}

/// Identity of a chip. Turin uses 8 bytes of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChipId(pub [u8; 64]);

impl fmt::Debug for ChipId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::hex::write(f, &self.0)
    }
}

impl fmt::Display for ChipId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::hex::write(f, &self.0)
    }
}

/// Privilege level within a guest: 0 is the highest, 3 the lowest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Vmpl(pub u32);

/// `POLICY`: what the guest's owner let the host do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuestPolicy(pub u64);

impl GuestPolicy {
    /// Major number of the lowest firmware interface that may run the guest.
    #[must_use]
    pub fn abi_major(self) -> u8 {
        let [_, major, ..] = self.0.to_le_bytes();
        major
    }

    /// Minor number of the lowest firmware interface that may run the guest.
    #[must_use]
    pub fn abi_minor(self) -> u8 {
        let [minor, ..] = self.0.to_le_bytes();
        minor
    }

    /// Whether a migration agent may be given the guest (bit 18).
    #[must_use]
    pub fn allows_migration(self) -> bool {
        self.0 & POLICY_MIGRATE_MA != 0
    }

    /// Whether the host may read and write the guest (bit 19).
    #[must_use]
    pub fn allows_debugging(self) -> bool {
        self.0 & POLICY_DEBUG != 0
    }

    /// Whether it has a feature.
    #[must_use]
    pub fn has(self, feature: GuestFeature) -> bool {
        self.0 & feature.bit() != 0
    }
}

/// `PLATFORM_INFO`: how the host set up the processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlatformInfo(pub u64);

impl PlatformInfo {
    /// Whether it has a feature.
    #[must_use]
    pub fn has(self, feature: PlatformFeature) -> bool {
        self.0 & feature.bit() != 0
    }
}

/// `SIGNING_KEY`: which key signed a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SigningKey {
    /// 0, that of the chip and its TCB.
    Vcek,
    /// 1, one that AMD made for a provider, loaded into the chip.
    Vlek,
}

impl SigningKey {
    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Vcek => "vcek",
            Self::Vlek => "vlek",
        }
    }
}

/// Family, model and stepping as CPUID has them; reports say so from version 3 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Processor {
    /// Family, base and extension added.
    pub family: u8,
    /// Model, extension in the high half.
    pub model: u8,
    /// Stepping.
    pub stepping: u8,
}

impl fmt::Display for Processor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            family,
            model,
            stepping,
        } = self;
        write!(
            f,
            "family {family:#x}, model {model:#x}, stepping {stepping}"
        )
    }
}

/// Version of the SNP firmware.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Firmware {
    /// Major number of the interface.
    pub major: u8,
    /// Minor number of the interface.
    pub minor: u8,
    /// Build.
    pub build: u8,
}

impl fmt::Display for Firmware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            major,
            minor,
            build,
        } = self;
        write!(f, "{major}.{minor}.{build}")
    }
}

/// Bits of mitigations that were in force; reports say so from version 5 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mitigations {
    /// When the guest was launched.
    pub launch: u64,
    /// When the report was made.
    pub current: u64,
}

/// A report beside what it was read from.
pub(crate) struct Layout<'a> {
    pub(crate) report: Report,
    /// What the signature is over.
    pub(crate) signed: &'a [u8],
    /// All 512 bytes of it.
    pub(crate) signature: &'a [u8],
    numbers: [&'a [u8]; 2],
    reserved: Vec<(&'static str, &'a [u8])>,
}

impl<'a> Layout<'a> {
    /// Reads every field of a report; its version decides which of them there are.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, FormError> {
        let mut r = Reader::new(bytes);
        let mut reserved = Vec::new();
        let version = r.u32_le("VERSION")?;
        let report = Report {
            version,
            guest_svn: r.u32_le("GUEST_SVN")?,
            policy: GuestPolicy(r.u64_le("POLICY")?),
            family_id: r.array("FAMILY_ID")?,
            image_id: r.array("IMAGE_ID")?,
            vmpl: Vmpl(r.u32_le("VMPL")?),
            signature_algorithm: r.u32_le("SIGNATURE_ALGO")?,
            current_tcb: RawTcb(r.array("CURRENT_TCB")?),
            platform: PlatformInfo(r.u64_le("PLATFORM_INFO")?),
            flags: r.u32_le("flags of the signing key")?,
            report_data: {
                reserved.push(("bytes 0x04c to 0x04f", r.take(4, "reserved")?));
                r.array("REPORT_DATA")?
            },
            measurement: r.array("MEASUREMENT")?,
            host_data: r.array("HOST_DATA")?,
            id_key_digest: r.array("ID_KEY_DIGEST")?,
            author_key_digest: r.array("AUTHOR_KEY_DIGEST")?,
            report_id: r.array("REPORT_ID")?,
            report_id_ma: r.array("REPORT_ID_MA")?,
            reported_tcb: RawTcb(r.array("REPORTED_TCB")?),
            processor: if version < 3 {
                reserved.push(("bytes 0x188 to 0x18a", r.take(3, "reserved")?));
                None
            } else {
                Some(Processor {
                    family: r.u8("CPUID_FAM_ID")?,
                    model: r.u8("CPUID_MOD_ID")?,
                    stepping: r.u8("CPUID_STEP")?,
                })
            },
            chip_id: {
                reserved.push(("bytes 0x18b to 0x19f", r.take(21, "reserved")?));
                ChipId(r.array("CHIP_ID")?)
            },
            committed_tcb: RawTcb(r.array("COMMITTED_TCB")?),
            current_firmware: firmware(&mut r, "CURRENT_BUILD")?,
            committed_firmware: {
                reserved.push(("byte 0x1eb", r.take(1, "reserved")?));
                firmware(&mut r, "COMMITTED_BUILD")?
            },
            launch_tcb: {
                reserved.push(("byte 0x1ef", r.take(1, "reserved")?));
                RawTcb(r.array("LAUNCH_TCB")?)
            },
            mitigations: if version < 5 {
                reserved.push(("bytes 0x1f8 to 0x207", r.take(16, "reserved")?));
                None
            } else {
                Some(Mitigations {
                    launch: r.u64_le("LAUNCH_MIT_VECTOR")?,
                    current: r.u64_le("CURRENT_MIT_VECTOR")?,
                })
            },
        };
        reserved.push(("bytes 0x208 to 0x29f", r.take(152, "reserved")?));
        let signature = r.rest();
        let mut number = |field| {
            let number = r.take(P384_BYTES, field)?;
            reserved.push((
                field,
                r.take(NUMBER_BYTES.saturating_sub(P384_BYTES), field)?,
            ));
            Ok(number)
        };
        let numbers = [
            number("end of the signature's r")?,
            number("end of the signature's s")?,
        ];
        reserved.push(("bytes 0x330 to 0x49f", r.take(368, "reserved")?));
        r.end()?;
        let signed = bytes.get(..SIGNED_BYTES).ok_or(FormError::Truncated {
            field: "report",
            at: 0,
        })?;
        Ok(Self {
            report,
            signed,
            signature,
            numbers,
            reserved,
        })
    }

    /// Whether all that is reserved is as the layout says. Bits that are not known yet could mean anything.
    pub(crate) fn expect_reserved(&self) -> Result<(), FormError> {
        for (field, bytes) in &self.reserved {
            if let Some(found) = bytes.iter().copied().find(|byte| *byte != 0) {
                expect(field, found.into(), 0)?;
            }
        }
        let Report {
            policy,
            platform,
            flags,
            ..
        } = self.report;
        let one = policy.0 & POLICY_RESERVED_ONE;
        expect("bit 17 of POLICY", one, POLICY_RESERVED_ONE)?;
        expect("bits 26 to 63 of POLICY", policy.0 & !POLICY_KNOWN, 0)?;
        expect(
            "unknown bits of PLATFORM_INFO",
            platform.0 & !PLATFORM_KNOWN,
            0,
        )?;
        expect(
            "bits 5 to 31 of the signing key's flags",
            (flags & !FLAGS_KNOWN).into(),
            0,
        )
    }

    /// The two numbers of the signature, big-endian; `None` if one is zero or not below the curve's order.
    pub(crate) fn p384_signature(&self) -> Option<p384::ecdsa::Signature> {
        let mut both = Vec::with_capacity(P384_BYTES.saturating_mul(2));
        for number in self.numbers {
            both.extend(number.iter().rev());
        }
        p384::ecdsa::Signature::from_slice(&both).ok()
    }
}

/// Build, minor and major number stand in this order.
fn firmware(r: &mut Reader<'_>, field: &'static str) -> Result<Firmware, FormError> {
    let [build, minor, major] = r.array(field)?;
    Ok(Firmware {
        major,
        minor,
        build,
    })
}

impl Report {
    /// Reads a report, without a word on whether anything in it holds.
    ///
    /// # Errors
    /// If it is not 1184 bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormError> {
        Layout::parse(bytes).map(|layout| layout.report)
    }

    /// Version of the layout.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Security version that the guest's owner gave its image.
    #[must_use]
    pub fn guest_svn(&self) -> u32 {
        self.guest_svn
    }

    /// The guest policy.
    #[must_use]
    pub fn policy(&self) -> GuestPolicy {
        self.policy
    }

    /// Family of the guest's image, as its owner named it.
    #[must_use]
    pub fn family_id(&self) -> &[u8; 16] {
        &self.family_id
    }

    /// The guest's image, as its owner named it.
    #[must_use]
    pub fn image_id(&self) -> &[u8; 16] {
        &self.image_id
    }

    /// Privilege level of whoever asked for the report; 4294967295 is the host.
    #[must_use]
    pub fn vmpl(&self) -> Vmpl {
        self.vmpl
    }

    /// How the report is signed; 1 is ECDSA P-384 with SHA-384.
    #[must_use]
    pub fn signature_algorithm(&self) -> u32 {
        self.signature_algorithm
    }

    /// What runs.
    #[must_use]
    pub fn current_tcb(&self) -> RawTcb {
        self.current_tcb
    }

    /// How the host set up the processor.
    #[must_use]
    pub fn platform(&self) -> PlatformInfo {
        self.platform
    }

    /// `AUTHOR_KEY_EN`: whether the digest of an author's key is there.
    #[must_use]
    pub fn has_author_key(&self) -> bool {
        self.flags & FLAG_AUTHOR_KEY != 0
    }

    /// `MASK_CHIP_KEY`: whether the host forbids the use of the chip's own key.
    #[must_use]
    pub fn masks_chip_key(&self) -> bool {
        self.flags & FLAG_MASK_CHIP_KEY != 0
    }

    /// Which key signed; `None` if none did (7), or one that is not known.
    #[must_use]
    pub fn signing_key(&self) -> Option<SigningKey> {
        match self.signing_key_number() {
            0 => Some(SigningKey::Vcek),
            1 => Some(SigningKey::Vlek),
            _ => None,
        }
    }

    /// `SIGNING_KEY`, 0 to 7.
    #[must_use]
    pub fn signing_key_number(&self) -> u32 {
        (self.flags & FLAGS_SIGNING_KEY).wrapping_shr(2)
    }

    /// What the guest asked to have signed.
    #[must_use]
    pub fn report_data(&self) -> &[u8; 64] {
        &self.report_data
    }

    /// Launch measurement: SHA-384 over what the guest's memory held at first.
    #[must_use]
    pub fn measurement(&self) -> &[u8; 48] {
        &self.measurement
    }

    /// What the host gave at launch; the host can give anything.
    #[must_use]
    pub fn host_data(&self) -> &[u8; 32] {
        &self.host_data
    }

    /// SHA-384 of the key that signed the image's identity; zeros if none did.
    #[must_use]
    pub fn id_key_digest(&self) -> &[u8; 48] {
        &self.id_key_digest
    }

    /// SHA-384 of the key that signed that key; zeros if none did.
    #[must_use]
    pub fn author_key_digest(&self) -> &[u8; 48] {
        &self.author_key_digest
    }

    /// Random identity of this run of the guest.
    #[must_use]
    pub fn report_id(&self) -> &[u8; 32] {
        &self.report_id
    }

    /// Identity of the migration agent; all ones if there is none.
    #[must_use]
    pub fn report_id_ma(&self) -> &[u8; 32] {
        &self.report_id_ma
    }

    /// What the host lets guests see; the signing key is derived from it.
    #[must_use]
    pub fn reported_tcb(&self) -> RawTcb {
        self.reported_tcb
    }

    /// Family and model, from version 3 on.
    #[must_use]
    pub fn processor(&self) -> Option<Processor> {
        self.processor
    }

    /// The chip; zeros if the host hides it.
    #[must_use]
    pub fn chip_id(&self) -> &ChipId {
        &self.chip_id
    }

    /// What the processor cannot go back behind.
    #[must_use]
    pub fn committed_tcb(&self) -> RawTcb {
        self.committed_tcb
    }

    /// The firmware that runs.
    #[must_use]
    pub fn current_firmware(&self) -> Firmware {
        self.current_firmware
    }

    /// The firmware that the processor cannot go back behind.
    #[must_use]
    pub fn committed_firmware(&self) -> Firmware {
        self.committed_firmware
    }

    /// What ran when the guest was launched.
    #[must_use]
    pub fn launch_tcb(&self) -> RawTcb {
        self.launch_tcb
    }

    /// Mitigations in force, from version 5 on.
    #[must_use]
    pub fn mitigations(&self) -> Option<Mitigations> {
        self.mitigations
    }
}

const POLICY_RESERVED_ONE: u64 = 1 << 17;
const POLICY_MIGRATE_MA: u64 = 1 << 18;
const POLICY_DEBUG: u64 = 1 << 19;

/// Bits 0 to 25.
const POLICY_KNOWN: u64 = 0x03ff_ffff;

/// Bits 0 to 5: SMT, TSME, ECC, RAPL off, ciphertext hiding, alias check; bit 7: TIO.
const PLATFORM_KNOWN: u64 = 0xbf;

const FLAG_AUTHOR_KEY: u32 = 1;
const FLAG_MASK_CHIP_KEY: u32 = 1 << 1;
const FLAGS_SIGNING_KEY: u32 = 0b111 << 2;
const FLAGS_KNOWN: u32 = 0b1_1111;

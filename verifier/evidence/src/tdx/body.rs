//! The report on a trust domain, as a quote carries it.
//!
//! In: the body's bytes. Out: [`TdBody`], every field by name. All integers are little-endian.
//!
//! Source: Intel TDX DCAP Quoting Library API, "TD Quote Body"; `sgx_quote_4.h` and `sgx_quote_5.h` of
//! Intel's DCAP. Attributes and XFAM: Intel TDX Module ABI, `ATTRIBUTES` and `XFAM`.

use core::fmt;

use super::types::{CpuSvn, Measurement, ReportData, TdId, TeeTcbSvn};
use crate::reader::{FormError, Reader};

/// Length of the report of TDX 1.0 (body type 2, and of every quote of version 4), in bytes.
pub(super) const TD10_BYTES: usize = 584;

/// Length of the report of TDX 1.5 (body type 3): 584 + 16 + 48.
pub(super) const TD15_BYTES: usize = 648;

/// Length of the extended report of TDX 1.5 (body type 4): 648 + 1 + 32 + 48 + 48 + 8 + 16 + 16 + 12 + 48 + 8.
pub(super) const TD15_EXTENDED_BYTES: usize = 885;

/// The report on a trust domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TdBody {
    tee_tcb_svn: TeeTcbSvn,
    mrseam: Measurement,
    mrsignerseam: Measurement,
    seam_attributes: [u8; 8],
    attributes: TdAttributes,
    xfam: Xfam,
    mrtd: Measurement,
    mrconfigid: Measurement,
    mrowner: Measurement,
    mrownerconfig: Measurement,
    rtmrs: [Measurement; 4],
    report_data: ReportData,
    later: Option<LaterBody>,
    extended: Option<ExtendedBody>,
}

/// What TDX 1.5 adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaterBody {
    /// Versions of the TDX module that runs now; those of the launch stand in the first field.
    pub tee_tcb_svn_2: TeeTcbSvn,
    /// Hash of the service domains that are bound to this one; zero if none is.
    pub mrservicetd: Measurement,
}

/// What the extended report of TDX 1.5 adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExtendedBody {
    /// 0 for the trust domain itself, else the number of a guest within it.
    pub vmid: u8,
    /// Made at random at launch; kept through migration.
    pub td_id: TdId,
    /// Hash of the devices assigned to it.
    pub device_info: Measurement,
    /// Service domains bound at launch.
    pub initial_servicetd: Measurement,
    /// Their attributes.
    pub initial_servicetd_attributes: [u8; 8],
    /// Processor on which it was launched.
    pub initial_cpu_svn: CpuSvn,
    /// Module under which it was launched.
    pub initial_tee_tcb_svn: TeeTcbSvn,
    /// Platform on which it was launched.
    pub initial_fmspc: [u8; 12],
    /// Service domains bound now.
    pub current_servicetd: Measurement,
    /// Their attributes.
    pub current_servicetd_attributes: [u8; 8],
}

/// Which layout a body has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyKind {
    Td10,
    Td15,
    Td15Extended,
}

impl BodyKind {
    /// Of a quote of version 5. Body type 1 is of an enclave.
    pub(super) fn of_type(number: u16) -> Option<Self> {
        match number {
            2 => Some(Self::Td10),
            3 => Some(Self::Td15),
            4 => Some(Self::Td15Extended),
            _ => None,
        }
    }

    pub(super) fn bytes(self) -> usize {
        match self {
            Self::Td10 => TD10_BYTES,
            Self::Td15 => TD15_BYTES,
            Self::Td15Extended => TD15_EXTENDED_BYTES,
        }
    }
}

impl TdBody {
    pub(super) fn parse(bytes: &[u8], kind: BodyKind) -> Result<Self, FormError> {
        let mut r = Reader::new(bytes);
        let measurement = |r: &mut Reader<'_>, field| r.array(field).map(Measurement);
        let mut body = Self {
            tee_tcb_svn: TeeTcbSvn(r.array("TEE_TCB_SVN")?),
            mrseam: measurement(&mut r, "MRSEAM")?,
            mrsignerseam: measurement(&mut r, "MRSIGNERSEAM")?,
            seam_attributes: r.array("SEAMATTRIBUTES")?,
            attributes: TdAttributes(u64::from_le_bytes(r.array("TDATTRIBUTES")?)),
            xfam: Xfam(u64::from_le_bytes(r.array("XFAM")?)),
            mrtd: measurement(&mut r, "MRTD")?,
            mrconfigid: measurement(&mut r, "MRCONFIGID")?,
            mrowner: measurement(&mut r, "MROWNER")?,
            mrownerconfig: measurement(&mut r, "MROWNERCONFIG")?,
            rtmrs: [
                measurement(&mut r, "RTMR0")?,
                measurement(&mut r, "RTMR1")?,
                measurement(&mut r, "RTMR2")?,
                measurement(&mut r, "RTMR3")?,
            ],
            report_data: ReportData(r.array("REPORTDATA")?),
            later: None,
            extended: None,
        };
        if matches!(kind, BodyKind::Td15 | BodyKind::Td15Extended) {
            body.later = Some(LaterBody {
                tee_tcb_svn_2: TeeTcbSvn(r.array("TEE_TCB_SVN_2")?),
                mrservicetd: measurement(&mut r, "MRSERVICETD")?,
            });
        }
        if kind == BodyKind::Td15Extended {
            body.extended = Some(ExtendedBody {
                vmid: r.u8("VMID")?,
                td_id: TdId(r.array("TD_ID")?),
                device_info: measurement(&mut r, "DEVINFO")?,
                initial_servicetd: measurement(&mut r, "INIT_SERVTD_HASH")?,
                initial_servicetd_attributes: r.array("INIT_SERVTD_ATTR")?,
                initial_cpu_svn: CpuSvn(r.array("INIT_CPUSVN")?),
                initial_tee_tcb_svn: TeeTcbSvn(r.array("INIT_TEE_TCB_SVN")?),
                initial_fmspc: r.array("INIT_TEE_FMSPC")?,
                current_servicetd: measurement(&mut r, "CURR_SERVTD_HASH")?,
                current_servicetd_attributes: r.array("CURR_SERVTD_ATTR")?,
            });
        }
        r.end()?;
        Ok(body)
    }

    /// Versions of the TDX module under which the trust domain was launched.
    #[must_use]
    pub fn tee_tcb_svn(&self) -> TeeTcbSvn {
        self.tee_tcb_svn
    }

    /// Measurement of the TDX module.
    #[must_use]
    pub fn mrseam(&self) -> Measurement {
        self.mrseam
    }

    /// Who signed the TDX module; zero for Intel.
    #[must_use]
    pub fn mrsignerseam(&self) -> Measurement {
        self.mrsignerseam
    }

    /// Attributes of the TDX module.
    #[must_use]
    pub fn seam_attributes(&self) -> [u8; 8] {
        self.seam_attributes
    }

    /// Attributes of the trust domain.
    #[must_use]
    pub fn attributes(&self) -> TdAttributes {
        self.attributes
    }

    /// Extended state that it may use.
    #[must_use]
    pub fn xfam(&self) -> Xfam {
        self.xfam
    }

    /// Measurement of its initial memory: the firmware.
    #[must_use]
    pub fn mrtd(&self) -> Measurement {
        self.mrtd
    }

    /// What whoever launched it says about its configuration.
    #[must_use]
    pub fn mrconfigid(&self) -> Measurement {
        self.mrconfigid
    }

    /// What whoever launched it says about its owner.
    #[must_use]
    pub fn mrowner(&self) -> Measurement {
        self.mrowner
    }

    /// What whoever launched it says about its owner's configuration.
    #[must_use]
    pub fn mrownerconfig(&self) -> Measurement {
        self.mrownerconfig
    }

    /// Registers 0 to 3, which grow while it runs.
    #[must_use]
    pub fn rtmrs(&self) -> &[Measurement; 4] {
        &self.rtmrs
    }

    /// What it asked to have signed.
    #[must_use]
    pub fn report_data(&self) -> ReportData {
        self.report_data
    }

    /// What TDX 1.5 adds, where the report is of it.
    #[must_use]
    pub fn later(&self) -> Option<&LaterBody> {
        self.later.as_ref()
    }

    /// What the extended report of TDX 1.5 adds, where it is one.
    #[must_use]
    pub fn extended(&self) -> Option<&ExtendedBody> {
        self.extended.as_ref()
    }
}

/// `ATTRIBUTES` of a trust domain: what whoever launched it allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TdAttributes(pub u64);

macro_rules! attributes {
    ($($(#[$doc:meta])* $variant:ident = $bit:literal, $text:literal;)*) => {
        /// The attributes that have a meaning; every other bit is reserved.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum AttributeBit { $($(#[$doc])* $variant,)* }

        impl AttributeBit {
            /// All of them, by bit.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its bit, from 0.
            #[must_use]
            pub fn bit(self) -> u32 {
                match self { $(Self::$variant => $bit,)* }
            }

            /// Its name in the specification.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

attributes! {
    /// The host can read memory and state.
    Debug = 0, "DEBUG";
    /// The host gets hardware's guidance on how it runs.
    HardwareGuide = 4, "HGS_PLUS_PROF";
    /// The host sees performance counters of it.
    Performance = 5, "PERF_PROF";
    /// The host sees telemetry of it.
    Telemetry = 6, "PMT_PROF";
    /// It uses linear address space separation.
    Lass = 27, "LASS";
    /// Memory that the host takes away is fatal, not a fault that it handles.
    SeptVeDisable = 28, "SEPT_VE_DISABLE";
    /// It can be moved to another platform by a service domain.
    Migratable = 29, "MIGRATABLE";
    /// It uses supervisor protection keys.
    Pks = 30, "PKS";
    /// It uses Key Locker.
    KeyLocker = 31, "KL";
    /// It uses performance counters.
    Perfmon = 63, "PERFMON";
}

impl AttributeBit {
    pub(super) fn mask(self) -> u64 {
        1_u64.wrapping_shl(self.bit())
    }
}

impl TdAttributes {
    /// Whether one is set.
    #[must_use]
    pub fn has(self, bit: AttributeBit) -> bool {
        self.0 & bit.mask() != 0
    }

    /// Bits that are set and have no meaning here.
    #[must_use]
    pub fn reserved(self) -> u64 {
        AttributeBit::ALL
            .iter()
            .fold(self.0, |left, bit| left & !bit.mask())
    }
}

impl fmt::Display for TdAttributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#018x}", self.0)
    }
}

/// `XFAM`: extended state that a trust domain may use, as `XCR0` and `IA32_XSS` count it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Xfam(pub u64);

impl Xfam {
    /// x87 and SSE, which every trust domain has. Source: Intel TDX Module ABI, `XFAM_FIXED1`.
    pub const ALWAYS: Self = Self(0x3);

    /// What TDX modules of today allow: x87, SSE, AVX, AVX-512, PT, PKRU, CET, user interrupts, LBR, AMX.
    /// Source: Intel TDX Module ABI, `XFAM_FIXED0`.
    pub const POSSIBLE: Self = Self(0x0006_dbe7);
}

impl fmt::Display for Xfam {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#018x}", self.0)
    }
}

//! Reports of the processor: SEV-SNP reports and TDX quotes over 64 bytes of the caller's.
//!
//! In: the machine's devices ([`Places`]) and 64 bytes. Out: a [`ProcessorReport`], as the device gave it, with the
//! table of certificates that a host may have put beside it, unread. Nothing is judged here but that it is an answer to
//! what was asked; a verifier judges the bytes.
//!
//! | module | device |
//! |---|---|
//! | [`tsm`] | configfs-tsm, `/sys/kernel/config/tsm/report`, since Linux 6.7 |
//! | [`sev_guest`] | `/dev/sev-guest`, where configfs-tsm is missing; SEV-SNP alone |
//!
//! `docs/decisions/0034-attesters.md` says why. Never run on a confidential machine: see `docs/coverage.md`, PLAT-1.

mod ask;
pub(crate) mod sev_guest;
pub(crate) mod tsm;

use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

pub use ask::Places;

/// Length of an SEV-SNP report, in bytes. Source: AMD 56860, `ATTESTATION_REPORT`.
pub const SNP_REPORT_BYTES: usize = 1184;

/// Longest quote that is taken, in bytes (64 KiB); the verifier takes none that is longer.
pub const MAX_QUOTE_BYTES: usize = 64 * 1024;

/// Longest table of the host's that is taken, in bytes (64 KiB). The kernel takes 16 KiB from a host.
pub const MAX_TABLE_BYTES: usize = 64 * 1024;

/// What makes reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Technology {
    /// AMD SEV-SNP.
    SevSnp,
    /// Intel TDX.
    Tdx,
}

impl Technology {
    /// Its device; it is there in guests of this technology alone.
    #[must_use]
    pub fn device(self) -> &'static str {
        match self {
            Self::SevSnp => "/dev/sev-guest",
            Self::Tdx => "/dev/tdx_guest",
        }
    }

    /// What configfs-tsm calls it. Source: `drivers/virt/coco`, `tsm_report_ops.name`.
    pub(crate) fn provider(self) -> &'static str {
        match self {
            Self::SevSnp => "sev_guest",
            Self::Tdx => "tdx_guest",
        }
    }

    /// The kernel module that offers its reports.
    pub(crate) fn module(self) -> &'static str {
        match self {
            Self::SevSnp => "sev-guest",
            Self::Tdx => "tdx-guest",
        }
    }
}

impl fmt::Display for Technology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SevSnp => "SEV-SNP",
            Self::Tdx => "TDX",
        })
    }
}

/// 64 bytes that a report is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportData(pub [u8; 64]);

/// A report, as the device gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessorReport {
    /// Of which kind.
    pub technology: Technology,
    /// An SEV-SNP report, or a TDX quote.
    pub bytes: Vec<u8>,
    /// The host's table of certificates (AMD 56421, `cert_table`); empty where it gave none. Anybody's bytes.
    pub host_table: Vec<u8>,
}

/// The device that makes reports. Fakes in tests replace it, and nothing behind it.
pub trait Processor: Send + Sync {
    /// Of which kind its reports are.
    fn technology(&self) -> Technology;

    /// A report over these bytes.
    ///
    /// # Errors
    /// Why there is none, with what to do.
    fn report(&self, data: ReportData) -> Result<ProcessorReport, ReportError>;
}

/// There is no report. Every message says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// Nothing is mounted where configfs belongs.
    #[error(
        "configfs is not mounted at {}: `mount -t configfs none {}`, or start sys-kernel-config.mount",
        at.display(), at.display()
    )]
    NoConfigfs {
        /// Where it belongs.
        at: PathBuf,
    },
    /// The kernel has no configfs-tsm, or it is not loaded.
    #[error(
        "the kernel offers no reports at {}: it came with linux 6.7 (CONFIG_TSM_REPORTS); \
         load the module {module}, or boot a newer kernel", at.display()
    )]
    NoTsm {
        /// Where it belongs.
        at: PathBuf,
        /// What to load.
        module: &'static str,
    },
    /// Configfs-tsm is there, and nobody makes reports.
    #[error(
        "no driver makes reports at {}: load the module {module}; in a guest that is not confidential it does not load",
        at.display()
    )]
    NoProvider {
        /// Where.
        at: PathBuf,
        /// What to load.
        module: &'static str,
    },
    /// Another driver than the machine's device says.
    #[error("reports are made by {found:?}, and not by {wanted}: this is no guest of {technology}")]
    OtherProvider {
        /// What the machine has.
        technology: Technology,
        /// Who should make them.
        wanted: &'static str,
        /// Who does.
        found: String,
    },
    /// The device is not there.
    #[error("{} is not there: load the module {module}; in a guest that is not confidential it does not load", at.display())]
    NoDevice {
        /// Where it belongs.
        at: PathBuf,
        /// What to load.
        module: &'static str,
    },
    /// The gateway's user may not.
    #[error("{} may not be used: {step} is refused; reports are given to root, or to whom the device's owner lets in", at.display())]
    Forbidden {
        /// Where.
        at: PathBuf,
        /// Which step.
        step: &'static str,
    },
    /// Somebody else is served.
    #[error(
        "the processor is busy at {step}: another program asks for reports; try again, and have one program ask"
    )]
    Busy {
        /// Which step.
        step: &'static str,
    },
    /// The host did not answer in time.
    #[error(
        "the host did not answer at {step}: it limits how often reports are made; try again later, or ask the provider"
    )]
    Throttled {
        /// Which step.
        step: &'static str,
    },
    /// The kernel or the host has nothing of the kind.
    #[error(
        "{step} is not supported here: the kernel is too old, or the host offers no such report; ask the provider"
    )]
    Unsupported {
        /// Which step.
        step: &'static str,
    },
    /// Something changed the entry each time.
    #[error("another program wrote into this report's entry {tries} times: have one program ask")]
    Raced {
        /// How often it was tried.
        tries: u32,
    },
    /// The processor's firmware refused.
    #[error(
        "the processor's firmware refused with {status:#x}: update the host's firmware, or ask the provider"
    )]
    Refused {
        /// Its status. Source: AMD 56860, "Status Codes".
        status: u32,
    },
    /// The answer is of another length than any.
    #[error("the {what} has {found} bytes, {limit} are the most")]
    TooLong {
        /// Which part.
        what: &'static str,
        /// Bytes that were read, at least.
        found: usize,
        /// Most that are taken.
        limit: usize,
    },
    /// The answer is none.
    #[error("the {what} is malformed: {why}")]
    Malformed {
        /// Which part.
        what: &'static str,
        /// How.
        why: &'static str,
    },
    /// The answer is one to somebody else.
    #[error("the report is over other bytes than were asked for: another program was answered")]
    OtherData,
    /// Anything else the operating system says.
    #[error("{step} at {} failed: {cause}", at.display())]
    Io {
        /// Where.
        at: PathBuf,
        /// Which step.
        step: &'static str,
        /// What the operating system said.
        cause: ErrorKind,
    },
    /// The system's random source failed.
    #[error("the system gave no random bytes")]
    Entropy,
}

impl ReportError {
    /// Whether configfs-tsm is missing altogether, so that an older device may be asked.
    pub(crate) fn is_absence(&self) -> bool {
        match self {
            Self::NoConfigfs { .. } | Self::NoTsm { .. } | Self::NoProvider { .. } => true,
            Self::OtherProvider { .. }
            | Self::NoDevice { .. }
            | Self::Forbidden { .. }
            | Self::Busy { .. }
            | Self::Throttled { .. }
            | Self::Unsupported { .. }
            | Self::Raced { .. }
            | Self::Refused { .. }
            | Self::TooLong { .. }
            | Self::Malformed { .. }
            | Self::OtherData
            | Self::Io { .. }
            | Self::Entropy => false,
        }
    }

    /// What the operating system means.
    pub(crate) fn of(at: &Path, step: &'static str, error: &std::io::Error) -> Self {
        use rustix::io::Errno;
        match Errno::from_io_error(error) {
            Some(Errno::ACCESS | Errno::PERM) => Self::Forbidden {
                at: at.to_owned(),
                step,
            },
            Some(Errno::BUSY) => Self::Busy { step },
            Some(Errno::TIMEDOUT) => Self::Throttled { step },
            Some(Errno::OPNOTSUPP | Errno::NOTTY | Errno::NOSYS) => Self::Unsupported { step },
            _ => Self::Io {
                at: at.to_owned(),
                step,
                cause: error.kind(),
            },
        }
    }
}

/// Whether an answer is a report of its kind, over what was asked. This shows no more than that the device answered
/// this question; who made the report, a verifier says.
pub(crate) fn expect_answer(
    technology: Technology,
    bytes: &[u8],
    ReportData(asked): ReportData,
) -> Result<(), ReportError> {
    let malformed = |why| ReportError::Malformed {
        what: "report",
        why,
    };
    let at = match technology {
        Technology::SevSnp if bytes.len() == SNP_REPORT_BYTES => 0x50,
        Technology::SevSnp => return Err(malformed("it does not have 1184 bytes")),
        // Version, then the body: after 48 bytes, or after the 6 more that say of which type it is.
        Technology::Tdx => match bytes {
            [4, 0, ..] => 48 + TD_REPORT_DATA_AT,
            [5, 0, ..] => 54 + TD_REPORT_DATA_AT,
            _ => return Err(malformed("it is a quote neither of version 4 nor 5")),
        },
    };
    let data = bytes.get(at..).and_then(|rest| rest.first_chunk::<64>());
    match data {
        None => Err(malformed("it ends before its report data")),
        Some(data) if *data != asked => Err(ReportError::OtherData),
        Some(_) => Ok(()),
    }
}

/// Where REPORTDATA stands in the body of a quote, in bytes. Source: `docs/spec/tdx.md`.
const TD_REPORT_DATA_AT: usize = 520;

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: ReportData = ReportData([0x5a; 64]);

    fn quote(version: u8) -> Vec<u8> {
        let at = if version == 4 { 568 } else { 574 };
        let mut quote = vec![0; 1000];
        quote[0] = version;
        quote[at..]
            .iter_mut()
            .take(64)
            .for_each(|byte| *byte = 0x5a);
        quote
    }

    #[test]
    fn an_answer_is_over_what_was_asked() {
        let mut report = vec![0; SNP_REPORT_BYTES];
        report[0x50..0x90].fill(0x5a);
        assert_eq!(expect_answer(Technology::SevSnp, &report, ASKED), Ok(()));
        for version in [4, 5] {
            let mut quote = quote(version);
            assert_eq!(expect_answer(Technology::Tdx, &quote, ASKED), Ok(()));
            let last = if version == 4 { 631 } else { 637 };
            quote[last] ^= 1;
            let other = expect_answer(Technology::Tdx, &quote, ASKED);
            assert_eq!(other, Err(ReportError::OtherData));
        }
        report[0x8f] ^= 1;
        let other = expect_answer(Technology::SevSnp, &report, ASKED);
        assert_eq!(other, Err(ReportError::OtherData));
    }

    #[test]
    fn an_answer_of_another_form_is_none() {
        let malformed = |technology, bytes: &[u8]| {
            let found = expect_answer(technology, bytes, ASKED);
            assert!(
                matches!(found, Err(ReportError::Malformed { .. })),
                "{found:?}"
            );
        };
        malformed(Technology::SevSnp, &[0x5a; SNP_REPORT_BYTES - 1]);
        malformed(Technology::SevSnp, &[0x5a; SNP_REPORT_BYTES + 1]);
        malformed(Technology::Tdx, &[]);
        malformed(Technology::Tdx, &quote(3));
        malformed(Technology::Tdx, &quote(4)[..631]);
        malformed(Technology::Tdx, &quote(5)[..637]);
    }
}

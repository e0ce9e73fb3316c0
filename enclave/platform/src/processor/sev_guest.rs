//! SEV-SNP reports by `/dev/sev-guest`, for kernels before 6.7, which have no configfs-tsm.
//!
//! In: the device, 64 bytes. Out: the report, and the host's table. The calls themselves are in [`crate::ioctl`].
//!
//! Which privilege level the guest runs at, the device does not say, and the firmware refuses a report of a higher one:
//! levels are tried from the highest on. Where the host's certificates do not come, the report is asked for alone.
//!
//! Source: Linux, `include/uapi/linux/sev-guest.h`; AMD 56860, `MSG_REPORT_RSP`.

use super::{ReportData, ReportError, SNP_REPORT_BYTES, Technology};
use crate::ioctl::{self, Refusal};
use std::fs::{File, OpenOptions};
use std::path::Path;

/// Bytes in which the firmware answers.
pub(crate) const RESPONSE_BYTES: usize = 4000;

/// Bytes for the host's table: the most that the kernel takes. Source: `SEV_FW_BLOB_MAX_SIZE`.
pub(crate) const TABLE_BYTES: usize = 0x4000;

/// Where the report stands in an answer: after status, length and 24 bytes that are reserved.
const REPORT_AT: usize = 32;

/// The firmware's word that a parameter was none that it takes. Source: AMD 56860, `MSG_REPORT_RSP`.
const INVALID_PARAMETERS: u32 = 0x16;

/// The device. Fakes in tests stand behind it.
pub(crate) trait Guest {
    /// A report at a level, and the host's table.
    fn extended(&self, data: &[u8; 64], level: u32) -> Result<(Vec<u8>, Vec<u8>), Refusal>;
    /// A report at a level.
    fn plain(&self, data: &[u8; 64], level: u32) -> Result<Vec<u8>, Refusal>;
}

impl Guest for File {
    fn extended(&self, data: &[u8; 64], level: u32) -> Result<(Vec<u8>, Vec<u8>), Refusal> {
        ioctl::snp_extended_report(self, data, level)
    }

    fn plain(&self, data: &[u8; 64], level: u32) -> Result<Vec<u8>, Refusal> {
        ioctl::snp_report(self, data, level)
    }
}

/// Opens the device.
pub(crate) fn open(at: &Path) -> Result<File, ReportError> {
    let opened = OpenOptions::new().read(true).write(true).open(at);
    opened.map_err(|error| {
        if error.kind() == std::io::ErrorKind::NotFound {
            ReportError::NoDevice {
                at: at.to_owned(),
                module: Technology::SevSnp.module(),
            }
        } else {
            ReportError::of(at, "opening the device", &error)
        }
    })
}

/// Asks for a report.
pub(crate) fn report(
    guest: &impl Guest,
    at: &Path,
    ReportData(data): ReportData,
) -> Result<super::tsm::Given, ReportError> {
    let mut last = INVALID_PARAMETERS;
    for level in 0..=3 {
        let (response, table) = match guest.extended(&data, level) {
            Ok(both) => both,
            Err(refusal) if refusal.is_about_level() => continue,
            Err(refusal) if refusal.is_about_host() => match guest.plain(&data, level) {
                Ok(response) => (response, Vec::new()),
                Err(refusal) if refusal.is_about_level() => continue,
                Err(refusal) => return Err(refusal.told(at)),
            },
            Err(refusal) => return Err(refusal.told(at)),
        };
        match read(&response)? {
            Ok(report) => return Ok(super::tsm::Given { report, table }),
            Err(status) if status == INVALID_PARAMETERS => last = status,
            Err(status) => return Err(ReportError::Refused { status }),
        }
    }
    Err(ReportError::Refused { status: last })
}

/// The report in an answer, or the firmware's status.
fn read(response: &[u8]) -> Result<Result<Vec<u8>, u32>, ReportError> {
    let malformed = |why| ReportError::Malformed {
        what: "answer of the processor's firmware",
        why,
    };
    let number = |at: usize| {
        let bytes = response.get(at..).and_then(|rest| rest.first_chunk());
        bytes.map(|bytes| u32::from_le_bytes(*bytes))
    };
    let (Some(status), Some(size)) = (number(0), number(4)) else {
        return Err(malformed("it is too short"));
    };
    if status != 0 {
        return Ok(Err(status));
    }
    if usize::try_from(size) != Ok(SNP_REPORT_BYTES) {
        return Err(malformed("its report does not have 1184 bytes"));
    }
    let report = response
        .get(REPORT_AT..)
        .and_then(|r| r.get(..SNP_REPORT_BYTES));
    report
        .map(|report| Ok(report.to_vec()))
        .ok_or_else(|| malformed("it is too short"))
}

impl Refusal {
    /// The firmware does not report at this level.
    fn is_about_level(&self) -> bool {
        self.firmware == INVALID_PARAMETERS
    }

    /// The host does not give certificates, or more than fit. Source: AMD 56421, `SNP_GUEST_VMM_ERR_INVALID_LEN`.
    fn is_about_host(&self) -> bool {
        self.host == 1 || self.errno == rustix::io::Errno::OPNOTSUPP
    }

    fn told(&self, at: &Path) -> ReportError {
        match (self.host, self.firmware) {
            // `SNP_GUEST_VMM_ERR_BUSY`.
            (2, _) => ReportError::Throttled {
                step: "making the report",
            },
            (_, 0) => ReportError::of(at, "making the report", &self.errno.into()),
            (_, status) => ReportError::Refused { status },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;
    use std::cell::RefCell;

    const DATA: ReportData = ReportData([0x5a; 64]);

    /// A guest at a level, whose host and firmware may refuse.
    #[derive(Default)]
    struct Fake {
        level: u32,
        extended: Option<Refusal>,
        plain: Option<Refusal>,
        status: u32,
        short: usize,
        size: Option<u32>,
        asked: RefCell<Vec<&'static str>>,
    }

    fn refusal(errno: Errno, host: u32, firmware: u32) -> Refusal {
        Refusal {
            errno,
            host,
            firmware,
        }
    }

    impl Fake {
        fn answer(&self, data: &[u8; 64], level: u32) -> Vec<u8> {
            let refused = level < self.level;
            let status = if refused {
                INVALID_PARAMETERS
            } else {
                self.status
            };
            let size = self.size.unwrap_or(1184);
            let mut answer = [status.to_le_bytes(), size.to_le_bytes()].concat();
            answer.resize(RESPONSE_BYTES, 0);
            answer[REPORT_AT + 0x30] = u8::try_from(level).unwrap();
            answer[REPORT_AT + 0x50..REPORT_AT + 0x90].copy_from_slice(data);
            answer.truncate(RESPONSE_BYTES.saturating_sub(self.short));
            answer
        }
    }

    impl Guest for Fake {
        fn extended(&self, data: &[u8; 64], level: u32) -> Result<(Vec<u8>, Vec<u8>), Refusal> {
            self.asked.borrow_mut().push("extended");
            match self.extended {
                Some(refusal) => Err(refusal),
                None => Ok((self.answer(data, level), b"table".to_vec())),
            }
        }

        fn plain(&self, data: &[u8; 64], level: u32) -> Result<Vec<u8>, Refusal> {
            self.asked.borrow_mut().push("plain");
            match self.plain {
                Some(refusal) => Err(refusal),
                None => Ok(self.answer(data, level)),
            }
        }
    }

    fn asked(fake: &Fake) -> Result<(Vec<u8>, Vec<u8>), ReportError> {
        let given = report(fake, Path::new("/dev/sev-guest"), DATA)?;
        assert_eq!(given.report[0x50..0x90], DATA.0);
        Ok((given.report, given.table))
    }

    #[test]
    fn a_report_is_asked_for_at_the_highest_level_that_the_firmware_gives() {
        for level in 0..=3_u8 {
            let fake = Fake {
                level: level.into(),
                ..Fake::default()
            };
            let (report, table) = asked(&fake).unwrap();
            assert_eq!(report[0x30], level);
            assert_eq!(table, b"table");
            assert_eq!(fake.asked.borrow().len(), usize::from(level) + 1);
        }
        let none = Fake {
            level: 4,
            ..Fake::default()
        };
        assert_eq!(asked(&none), Err(ReportError::Refused { status: 0x16 }));
    }

    #[test]
    fn a_host_without_certificates_still_reports() {
        for refused in [refusal(Errno::NOSPC, 1, 0), refusal(Errno::OPNOTSUPP, 0, 0)] {
            let fake = Fake {
                extended: Some(refused),
                ..Fake::default()
            };
            let (_, table) = asked(&fake).unwrap();
            assert_eq!(table, b"");
            assert_eq!(*fake.asked.borrow(), ["extended", "plain"]);
        }
    }

    #[test]
    fn every_refusal_is_told_and_nothing_else_is_asked() {
        for (refused, told) in [
            (refusal(Errno::IO, 2, 0), "limits how often"),
            (refusal(Errno::IO, 0, 0x27), "0x27"),
            (refusal(Errno::NOTTY, 0, 0), "not supported here"),
            (refusal(Errno::PERM, 0, 0), "given to root"),
            (refusal(Errno::IO, 0, 0), "making the report at"),
        ] {
            let fake = Fake {
                extended: Some(refused),
                ..Fake::default()
            };
            let text = asked(&fake).unwrap_err().to_string();
            assert!(text.contains(told), "{text}");
            assert_eq!(fake.asked.borrow().len(), 1);
            let fake = Fake {
                extended: Some(refusal(Errno::NOSPC, 1, 0)),
                plain: Some(refused),
                ..Fake::default()
            };
            let text = asked(&fake).unwrap_err().to_string();
            assert!(text.contains(told), "{text}");
        }
    }

    #[test]
    fn an_answer_without_a_report_is_refused() {
        let status = Fake {
            status: 0x27,
            ..Fake::default()
        };
        assert_eq!(asked(&status), Err(ReportError::Refused { status: 0x27 }));
        for (short, size) in [
            (RESPONSE_BYTES - 7, None),
            (RESPONSE_BYTES - 1000, None),
            (0, Some(1183)),
        ] {
            let fake = Fake {
                short,
                size,
                ..Fake::default()
            };
            let wrong = read(&fake.answer(&DATA.0, 0));
            assert!(matches!(wrong, Err(ReportError::Malformed { .. })));
        }
    }

    #[test]
    fn a_device_that_is_not_there_or_is_another_is_told() {
        let nothing = tempfile::tempdir().unwrap();
        let missing = open(&nothing.path().join("sev-guest")).unwrap_err();
        assert!(matches!(missing, ReportError::NoDevice { .. }), "{missing}");
        let null = open(Path::new("/dev/null")).unwrap();
        let other = report(&null, Path::new("/dev/null"), DATA).unwrap_err();
        assert!(matches!(other, ReportError::Unsupported { .. }), "{other}");
    }
}

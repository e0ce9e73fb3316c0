//! Where the machine's devices are, and whichever of them reports.

use super::{Processor, ProcessorReport, ReportData, ReportError, Technology};
use super::{expect_answer, sev_guest, tsm};
use crate::attester::Machine;
use std::path::PathBuf;

/// Where devices are. Tests have them elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// Where configfs is mounted.
    pub configfs: PathBuf,
    /// The device of SEV-SNP guests.
    pub sev_guest: PathBuf,
    /// The device of TDX guests.
    pub tdx_guest: PathBuf,
    /// Who made the machine, as its firmware says: a name of nobody's who would have to be believed.
    pub product: PathBuf,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            configfs: "/sys/kernel/config".into(),
            sev_guest: Technology::SevSnp.device().into(),
            tdx_guest: Technology::Tdx.device().into(),
            product: "/sys/class/dmi/id/product_name".into(),
        }
    }
}

impl Places {
    /// What could report here, by its device: nothing is asked.
    #[must_use]
    pub fn technology(&self) -> Option<Technology> {
        if self.sev_guest.exists() {
            Some(Technology::SevSnp)
        } else if self.tdx_guest.exists() {
            Some(Technology::Tdx)
        } else {
            None
        }
    }

    /// Whether the firmware says that this is a machine of Google's. It chooses where to look; what is found there has to
    /// hold.
    #[must_use]
    pub fn is_google(&self) -> bool {
        let product = std::fs::read_to_string(&self.product).unwrap_or_default();
        product.trim_end() == "Google Compute Engine"
    }

    /// What the machine shows of itself.
    #[must_use]
    pub fn machine(&self) -> Machine {
        Machine {
            technology: self.technology(),
            google: self.is_google(),
        }
    }

    /// The processor of this machine, if it could report.
    #[must_use]
    pub fn processor(&self) -> Option<ThisProcessor> {
        self.technology().map(|technology| ThisProcessor {
            places: self.clone(),
            technology,
        })
    }
}

/// The processor of this machine.
#[derive(Debug, Clone)]
pub struct ThisProcessor {
    places: Places,
    technology: Technology,
}

impl Processor for ThisProcessor {
    fn technology(&self) -> Technology {
        self.technology
    }

    fn report(&self, data: ReportData) -> Result<ProcessorReport, ReportError> {
        let configfs = &self.places.configfs;
        let given = match tsm::report(&tsm::Kernel, configfs, self.technology, data) {
            Err(error) if error.is_absence() && self.technology == Technology::SevSnp => {
                let at = &self.places.sev_guest;
                sev_guest::report(&sev_guest::open(at)?, at, data)?
            }
            other => other?,
        };
        read(self.technology, given, data)
    }
}

/// What was given, if it answers what was asked.
fn read(
    technology: Technology,
    given: tsm::Given,
    data: ReportData,
) -> Result<ProcessorReport, ReportError> {
    let tsm::Given { report, table } = given;
    expect_answer(technology, &report, data)?;
    // A table ends with an entry of zeros: one that begins with it has nothing.
    let is_empty = table.iter().take(16).all(|byte| *byte == 0);
    Ok(ProcessorReport {
        technology,
        bytes: report,
        host_table: if is_empty { Vec::new() } else { table },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    const DATA: ReportData = ReportData([0x5a; 64]);

    fn places(root: &Path) -> Places {
        Places {
            configfs: root.join("config"),
            sev_guest: root.join("sev-guest"),
            tdx_guest: root.join("tdx_guest"),
            product: root.join("product_name"),
        }
    }

    #[test]
    fn a_machine_is_what_its_devices_say() {
        let root = tempfile::tempdir().unwrap();
        let places = places(root.path());
        assert_eq!(places.technology(), None);
        assert!(places.processor().is_none());
        assert!(!places.is_google());
        fs::write(&places.tdx_guest, "").unwrap();
        assert_eq!(places.technology(), Some(Technology::Tdx));
        fs::write(&places.sev_guest, "").unwrap();
        assert_eq!(places.technology(), Some(Technology::SevSnp));
        fs::write(&places.product, "Google Compute Engine\n").unwrap();
        assert!(places.is_google());
        fs::write(&places.product, "Google Compute Engine of mine\n").unwrap();
        assert!(!places.is_google());
    }

    #[test]
    fn without_configfs_an_snp_guest_asks_its_device_and_a_trust_domain_says_what_is_missing() {
        let root = tempfile::tempdir().unwrap();
        let places = places(root.path());
        fs::write(&places.tdx_guest, "").unwrap();
        let quote = places.processor().unwrap().report(DATA).unwrap_err();
        assert!(matches!(quote, ReportError::NoConfigfs { .. }), "{quote}");
        fs::write(&places.sev_guest, "").unwrap();
        // A file is no such device: the kernel does not know the call.
        let report = places.processor().unwrap().report(DATA).unwrap_err();
        assert!(
            matches!(report, ReportError::Unsupported { .. }),
            "{report}"
        );
    }

    #[test]
    fn an_answer_to_something_else_is_none_and_an_empty_table_says_nothing() {
        let mut report = vec![0; 1184];
        report[0x50..0x90].copy_from_slice(&DATA.0);
        let given = |report: &[u8], table: &[u8]| tsm::Given {
            report: report.to_vec(),
            table: table.to_vec(),
        };
        let read = |g| read(Technology::SevSnp, g, DATA);
        let good = read(given(&report, b"a table")).unwrap();
        assert_eq!(good.bytes, report);
        assert_eq!(good.host_table, b"a table");
        for none in [0, 0x4000] {
            let good = read(given(&report, &vec![0; none])).unwrap();
            assert_eq!(good.host_table, b"");
        }
        assert!(read(given(&report[1..], b"")).is_err());
        report[0x50] ^= 1;
        assert_eq!(read(given(&report, b"")), Err(ReportError::OtherData));
    }
}

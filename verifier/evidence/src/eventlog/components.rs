//! What a boot log is about: firmware, Secure Boot, boot applications, kernel, command line.
//!
//! In: a well-formed log ([`EventLog`]), and the quoted values that it has to lead to. Events of PCRs that
//! were not quoted are not read at all: anybody could have written them. Out: [`Components`]: each with the
//! digest that was measured, and with its data only where the digest is of that data. Of each event one of
//! two things is true:
//!
//! - **hashed** ([`Data::Hashed`]): SHA-256 of the data, or of the part of it that the format names, is the
//!   digest. If the log leads to quoted values, the firmware or loader measured exactly these bytes;
//! - **claimed** ([`Data::Claimed`]): the digest is of something else, such as a file, and the data merely
//!   describe it. Anybody could have written another description beside the same digest.
//!
//! A digest that *should* be of its data and is not makes the log refuse ([`ComponentsError`]): whoever
//! reads such data would believe them.
//!
//! What is checked of the order: the separators of those of PCR 0 to 7 that were quoted, each at least once,
//! at most twice and never an error; and, if PCR 5 was quoted, that nothing the firmware measures comes after
//! it handed over (`Exit Boot Services`).
//!
//! Source: TCG PC Client Platform Firmware Profile 1.06, 3.3.4 (PCR use), 10.4 (events); UEFI 2.10, 3.3
//! and 8.2 (variables); systemd, "TPM2 PCR Measurements Made by systemd"; Linux,
//! `drivers/firmware/efi/libstub/efi-stub-helper.c` (events of the EFI stub).

use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::{Event, EventLog, OtherValues};
use crate::reader::{FormError, Reader};
use crate::tpm::PcrValues;

/// What a log says was measured, in the order of the boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Components<'a> {
    /// Version of the firmware, `EV_S_CRTM_VERSION`: hashed.
    pub firmware_version: Option<Measured<'a>>,
    /// Parts of the firmware: digests of blobs; the data claim where they lie.
    pub firmware: Vec<Measured<'a>>,
    /// What Google's firmware says of the machine, `EV_NONHOST_INFO`: hashed.
    pub non_host_info: Option<Measured<'a>>,
    /// Secure Boot.
    pub secure_boot: SecureBoot<'a>,
    /// Applications and drivers that the firmware started, digests by Authenticode; the data claim where
    /// they came from. Of PCR 4 the loader, the UKI and its kernel; of PCR 2 option ROMs.
    pub applications: Vec<Application<'a>>,
    /// Sections of a unified kernel image that systemd's stub measured into PCR 11.
    pub sections: Vec<Section>,
    /// What the kernel's EFI stub or the loader measured of command lines and initial file systems, PCR 8,
    /// 9 and 12; digests, with what the data claim they are of.
    pub boot_inputs: Vec<BootInput<'a>>,
    /// PCRs of 0 to 7 that were quoted; each has its separator.
    pub separated: Vec<u8>,
    /// Whether the firmware says that it handed over to the kernel; needs PCR 5.
    pub exited: bool,
}

/// A digest, and the data beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measured<'a> {
    /// Which PCR.
    pub pcr: u32,
    /// What was measured, SHA-256.
    pub digest: [u8; 32],
    /// What stands beside it.
    pub data: Data<'a>,
}

/// Data of an event, by what they are worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Data<'a> {
    /// The digest is of these bytes.
    Hashed(&'a [u8]),
    /// The digest is of something else.
    Claimed(&'a [u8]),
}

/// What the firmware measured of Secure Boot, PCR 7. All variables are hashed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SecureBoot<'a> {
    /// Whether it is enforced; `None` if the firmware did not measure it.
    pub enabled: Option<bool>,
    /// The platform key: contents of the variable.
    pub pk: Option<Variable<'a>>,
    /// Keys that may change the lists.
    pub kek: Option<Variable<'a>>,
    /// What may run.
    pub db: Option<Variable<'a>>,
    /// What may not.
    pub dbx: Option<Variable<'a>>,
    /// Entries by which something was allowed to run, `EV_EFI_VARIABLE_AUTHORITY`.
    pub authorities: Vec<Variable<'a>>,
}

/// A UEFI variable, hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variable<'a> {
    /// Its vendor, as it stands in the event.
    pub vendor: [u8; 16],
    /// Its name, UTF-16.
    pub name: &'a [u8],
    /// Its contents, or for an authority the entry that was used.
    pub contents: &'a [u8],
    /// Digest of the event: of vendor, lengths, name and contents.
    pub digest: [u8; 32],
}

/// Something that the firmware started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Application<'a> {
    /// 4 for applications, 2 for drivers of cards.
    pub pcr: u32,
    /// Its Authenticode hash.
    pub digest: [u8; 32],
    /// Where it is said to come from: a device path, claimed.
    pub device_path: &'a [u8],
}

/// A section of a unified kernel image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Section {
    /// Which; hashed.
    pub name: SectionName,
    /// SHA-256 of its contents.
    pub digest: [u8; 32],
}

/// Sections that systemd's stub measures, each by its name with a zero at its end, then its contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SectionName {
    /// The kernel.
    Linux,
    /// `os-release`.
    Osrel,
    /// The command line.
    Cmdline,
    /// The initial file system.
    Initrd,
    /// Microcode.
    Ucode,
    /// A splash image.
    Splash,
    /// A device tree.
    Dtb,
    /// `uname -r` of the kernel.
    Uname,
    /// A revocation level.
    Sbat,
    /// A key for PCR signatures.
    Pcrpkey,
}

impl SectionName {
    const ALL: [Self; 10] = [
        Self::Linux,
        Self::Osrel,
        Self::Cmdline,
        Self::Initrd,
        Self::Ucode,
        Self::Splash,
        Self::Dtb,
        Self::Uname,
        Self::Sbat,
        Self::Pcrpkey,
    ];

    /// As it stands in the image.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Linux => ".linux",
            Self::Osrel => ".osrel",
            Self::Cmdline => ".cmdline",
            Self::Initrd => ".initrd",
            Self::Ucode => ".ucode",
            Self::Splash => ".splash",
            Self::Dtb => ".dtb",
            Self::Uname => ".uname",
            Self::Sbat => ".sbat",
            Self::Pcrpkey => ".pcrpkey",
        }
    }

    /// The section whose name, with a zero at its end, hashes to this.
    fn of_digest(digest: [u8; 32]) -> Option<Self> {
        Self::ALL.into_iter().find(|name| {
            let text = [name.as_str().as_bytes(), &[0]].concat();
            <[u8; 32]>::from(Sha256::digest(text)) == digest
        })
    }
}

/// A command line, an initial file system, or another thing that a loader measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BootInput<'a> {
    /// 8, 9, 12 or 13.
    pub pcr: u32,
    /// What the data say it is; a claim, whatever the digest.
    pub claimed: BootInputKind,
    /// What was measured.
    pub measured: Measured<'a>,
}

/// What an event's data say that was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BootInputKind {
    /// The options that the kernel's EFI stub was started with.
    LoadOptions,
    /// The initial file system that the kernel's EFI stub loaded.
    LinuxInitrd,
    /// Something else, which the data describe.
    Other,
}

/// Why the events of a log cannot be what they are called.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ComponentsError {
    /// The log does not lead to the quoted values.
    #[error("{0}")]
    OtherValues(#[from] OtherValues),
    /// An event's data are not of their format.
    #[error("event {event} of the log: {error}")]
    Form {
        /// Which event, from 1.
        event: usize,
        /// What is wrong.
        error: FormError,
    },
    /// An event whose digest is of its data by definition, and is not.
    #[error("event {event} of the log has a digest that is not that of its data")]
    NotHashed {
        /// Which event.
        event: usize,
    },
    /// A variable or version that stands twice.
    #[error("event {event} of the log measures for the second time what is measured once")]
    Twice {
        /// Which event.
        event: usize,
    },
    /// A separator that says that the firmware failed, or has no known value.
    #[error("event {event} of the log is a separator that tells of an error")]
    Separator {
        /// Which event.
        event: usize,
    },
    /// A firmware's measurement after it handed over to the kernel.
    #[error("event {event} of the log is the firmware's, after it handed over to the kernel")]
    AfterExit {
        /// Which event.
        event: usize,
    },
    /// Contents of a section without its name, or a name without contents.
    #[error("event {event} of the log measures a section without its name or its contents")]
    Section {
        /// Which event.
        event: usize,
    },
    /// A PCR of the firmware that has no separator.
    #[error("log has no separator of pcr {pcr}")]
    NoSeparator {
        /// Which PCR.
        pcr: u8,
    },
}

impl<'a> Components<'a> {
    /// Reads what quoted values show of a log: those of its events that lead to one of them.
    pub fn of(log: &EventLog<'a>, quoted: &PcrValues) -> Result<Self, ComponentsError> {
        log.appraise(quoted)?;
        let mut reading = Reading::default();
        for (number, event) in (1..).zip(log.events()) {
            let covered = u8::try_from(event.pcr).is_ok_and(|pcr| quoted.contains_key(&pcr));
            if covered {
                reading.read(event, number)?;
            }
        }
        reading.finish(quoted)
    }
}

#[derive(Default)]
struct Reading<'a> {
    firmware_version: Option<Measured<'a>>,
    firmware: Vec<Measured<'a>>,
    non_host_info: Option<Measured<'a>>,
    secure_boot: SecureBoot<'a>,
    applications: Vec<Application<'a>>,
    sections: Vec<Section>,
    /// A name of a section that waits for its contents, and where it stands.
    section: Option<(SectionName, usize)>,
    boot_inputs: Vec<BootInput<'a>>,
    separators: [u8; 8],
    exited: bool,
}

impl<'a> Reading<'a> {
    fn read(&mut self, event: &Event<'a>, number: usize) -> Result<(), ComponentsError> {
        let (kind, pcr) = (event.event_type, event.pcr);
        if let (Some((_, at)), false) = (self.section, (kind, pcr) == (EV_IPL, 11)) {
            return Err(ComponentsError::Section { event: at });
        }
        if self.exited && is_firmwares(event) {
            return Err(ComponentsError::AfterExit { event: number });
        }
        match (kind, pcr) {
            (EV_S_CRTM_VERSION, 0) => {
                let measured = hashed(event, number)?;
                set(&mut self.firmware_version, measured, number)?;
            }
            (EV_NONHOST_INFO, 0) => {
                let measured = hashed(event, number)?;
                set(&mut self.non_host_info, measured, number)?;
            }
            (
                EV_S_CRTM_CONTENTS | EV_POST_CODE | EV_EFI_FIRMWARE_BLOB | EV_EFI_FIRMWARE_BLOB2,
                0,
            ) => {
                self.firmware.push(measured(event));
            }
            (EV_EFI_VARIABLE_DRIVER_CONFIG, 7) => self.read_variable(event, number)?,
            (EV_EFI_VARIABLE_AUTHORITY, 7) => {
                let variable = parse_variable(event, number, Padding::Perhaps)?;
                self.secure_boot.authorities.push(variable);
            }
            (EV_EFI_APPLICATION | EV_EFI_DRIVER | EV_EFI_RUNTIME_DRIVER, 2 | 4) => {
                self.applications.push(application(event, number)?);
            }
            (EV_SEPARATOR, 0..=7) => self.read_separator(event, number)?,
            (EV_EFI_ACTION, _) => {
                hashed(event, number)?;
                self.exited |= event.data == EXIT_SUCCEEDED;
            }
            (EV_IPL, 11) => self.read_section(event, number)?,
            (EV_IPL | EV_EVENT_TAG, 8 | 9 | 12 | 13) => {
                self.boot_inputs.push(BootInput {
                    pcr,
                    claimed: boot_input(event),
                    measured: measured(event),
                });
            }
            _ => {}
        }
        Ok(())
    }

    fn read_variable(&mut self, event: &Event<'a>, number: usize) -> Result<(), ComponentsError> {
        let variable = parse_variable(event, number, Padding::Never)?;
        let secure_boot = &mut self.secure_boot;
        let place = match (variable.vendor, narrow(variable.name).as_deref()) {
            (GLOBAL, Some("SecureBoot")) => {
                let enabled = match variable.contents {
                    // UEFI 3.3: absent or zero is off.
                    [] | [0] => false,
                    [1] => true,
                    [other, ..] => {
                        return Err(ComponentsError::Form {
                            event: number,
                            error: FormError::Value {
                                field: "SecureBoot",
                                found: (*other).into(),
                                expected: 1,
                            },
                        });
                    }
                };
                return set(&mut secure_boot.enabled, enabled, number);
            }
            (GLOBAL, Some("PK")) => &mut secure_boot.pk,
            (GLOBAL, Some("KEK")) => &mut secure_boot.kek,
            (IMAGE_SECURITY, Some("db")) => &mut secure_boot.db,
            (IMAGE_SECURITY, Some("dbx")) => &mut secure_boot.dbx,
            _ => return Ok(()),
        };
        set(place, variable, number)
    }

    fn read_separator(&mut self, event: &Event<'a>, number: usize) -> Result<(), ComponentsError> {
        hashed(event, number)?;
        // SPEC: 3.3.2.1: zeros or ones; 1 tells of an error.
        if !matches!(event.data, [0, 0, 0, 0] | [0xff, 0xff, 0xff, 0xff]) {
            return Err(ComponentsError::Separator { event: number });
        }
        let place = usize::try_from(event.pcr)
            .ok()
            .and_then(|pcr| self.separators.get_mut(pcr));
        if let Some(count) = place {
            // Firmware of some clouds writes one twice.
            if *count >= 2 {
                return Err(ComponentsError::Twice { event: number });
            }
            *count = count.saturating_add(1);
        }
        Ok(())
    }

    fn read_section(&mut self, event: &Event<'a>, number: usize) -> Result<(), ComponentsError> {
        match (self.section.take(), SectionName::of_digest(event.digest)) {
            (None, Some(name)) => self.section = Some((name, number)),
            (Some((name, _)), None) => self.sections.push(Section {
                name,
                digest: event.digest,
            }),
            (None, None) | (Some(_), Some(_)) => {
                return Err(ComponentsError::Section { event: number });
            }
        }
        Ok(())
    }

    fn finish(self, quoted: &PcrValues) -> Result<Components<'a>, ComponentsError> {
        if let Some((_, event)) = self.section {
            return Err(ComponentsError::Section { event });
        }
        let mut separated = Vec::new();
        for (pcr, count) in (0_u8..).zip(self.separators) {
            if !quoted.contains_key(&pcr) {
                continue;
            }
            if count == 0 {
                return Err(ComponentsError::NoSeparator { pcr });
            }
            separated.push(pcr);
        }
        Ok(Components {
            firmware_version: self.firmware_version,
            firmware: self.firmware,
            non_host_info: self.non_host_info,
            secure_boot: self.secure_boot,
            applications: self.applications,
            sections: self.sections,
            boot_inputs: self.boot_inputs,
            separated,
            exited: self.exited,
        })
    }
}

/// What only firmware measures, into its own PCRs.
fn is_firmwares(event: &Event<'_>) -> bool {
    let before_exit = event.event_type != EV_EFI_ACTION;
    before_exit && event.event_type != super::EV_NO_ACTION && event.pcr <= 7
}

/// An event whose digest has to be of its data.
fn hashed<'a>(event: &Event<'a>, number: usize) -> Result<Measured<'a>, ComponentsError> {
    match measured(event) {
        it @ Measured {
            data: Data::Hashed(_),
            ..
        } => Ok(it),
        Measured {
            data: Data::Claimed(_),
            ..
        } => Err(ComponentsError::NotHashed { event: number }),
    }
}

fn measured<'a>(event: &Event<'a>) -> Measured<'a> {
    let is_of_data = <[u8; 32]>::from(Sha256::digest(event.data)) == event.digest;
    Measured {
        pcr: event.pcr,
        digest: event.digest,
        data: if is_of_data {
            Data::Hashed(event.data)
        } else {
            Data::Claimed(event.data)
        },
    }
}

/// Whether bytes may stand after a variable.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Padding {
    Never,
    /// Older shims take the size of a C structure, its padding among it, for that of its fields: they write
    /// six bytes too many, of whatever lay in memory there, and hash all but the last. All are dropped.
    Perhaps,
}

/// `UEFI_VARIABLE_DATA` (10.2.6): vendor 16, length of the name in characters 8, of the contents 8.
fn parse_variable<'a>(
    event: &Event<'a>,
    number: usize,
    padding: Padding,
) -> Result<Variable<'a>, ComponentsError> {
    let form = |error| ComponentsError::Form {
        event: number,
        error,
    };
    let is_of = |bytes: &[u8]| <[u8; 32]>::from(Sha256::digest(bytes)) == event.digest;
    let data = match event.data {
        whole if is_of(whole) => whole,
        [rest @ .., _] if padding == Padding::Perhaps && is_of(rest) => rest,
        _ => return Err(ComponentsError::NotHashed { event: number }),
    };
    let mut reader = Reader::new(data);
    let vendor = reader.array("variableName").map_err(form)?;
    let characters = reader.u64_le("unicodeNameLength").map_err(form)?;
    let length = reader.u64_le("variableDataLength").map_err(form)?;
    let too_large = |field, found| {
        form(FormError::TooLarge {
            field,
            found,
            limit: u64::try_from(event.data.len()).unwrap_or(u64::MAX),
        })
    };
    let name = characters
        .checked_mul(2)
        .and_then(|bytes| usize::try_from(bytes).ok())
        .ok_or(too_large("unicodeNameLength", characters))?;
    let name = reader.take(name, "unicodeName").map_err(form)?;
    let length = usize::try_from(length).map_err(|_| too_large("variableDataLength", length))?;
    let contents = reader.take(length, "variableData").map_err(form)?;
    if padding == Padding::Never || reader.rest().len() > MAX_PADDING_BYTES {
        reader.end().map_err(form)?;
    }
    Ok(Variable {
        vendor,
        name,
        contents,
        digest: event.digest,
    })
}

/// `UEFI_IMAGE_LOAD_EVENT` (10.2.3): address, length and link address 8 each, length of the path 8, path.
fn application<'a>(event: &Event<'a>, number: usize) -> Result<Application<'a>, ComponentsError> {
    let form = |error| ComponentsError::Form {
        event: number,
        error,
    };
    let mut reader = Reader::new(event.data);
    reader.take(24, "imageLocationInMemory").map_err(form)?;
    let length = reader.u64_le("lengthOfDevicePath").map_err(form)?;
    // A description that is malformed is a claim all the same; the digest is what counts. shim's has a
    // wrong length and text at its end.
    let path = usize::try_from(length)
        .ok()
        .and_then(|length| reader.rest().get(..length));
    Ok(Application {
        pcr: event.pcr,
        digest: event.digest,
        device_path: path.unwrap_or(reader.rest()),
    })
}

/// The kernel's EFI stub tags its events: tag 4, length 4, text (`efistub`).
fn boot_input(event: &Event<'_>) -> BootInputKind {
    if event.event_type != EV_EVENT_TAG {
        return BootInputKind::Other;
    }
    match event.data.get(8..) {
        Some(b"LOADED_IMAGE::LoadOptions\0") => BootInputKind::LoadOptions,
        Some(b"Linux initrd\0") => BootInputKind::LinuxInitrd,
        Some(_) | None => BootInputKind::Other,
    }
}

/// A name of characters below 256; those that are asked for have no others.
fn narrow(utf16: &[u8]) -> Option<String> {
    utf16
        .chunks(2)
        .map(|pair| match pair {
            [low, 0] => Some(char::from(*low)),
            _ => None,
        })
        .collect()
}

fn set<T>(place: &mut Option<T>, value: T, event: usize) -> Result<(), ComponentsError> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(ComponentsError::Twice { event }),
    }
}

/// Bytes that older shims hash after an authority: from 35 bytes of fields up to 40, the size of their structure.
const MAX_PADDING_BYTES: usize = 5;

/// Types of events. SPEC: 10.4.1
const EV_POST_CODE: u32 = 1;
const EV_SEPARATOR: u32 = 4;
const EV_EVENT_TAG: u32 = 6;
const EV_S_CRTM_CONTENTS: u32 = 7;
const EV_S_CRTM_VERSION: u32 = 8;
const EV_IPL: u32 = 0xd;
const EV_NONHOST_INFO: u32 = 0x11;
const EV_EFI_VARIABLE_DRIVER_CONFIG: u32 = 0x8000_0001;
const EV_EFI_APPLICATION: u32 = 0x8000_0003;
const EV_EFI_DRIVER: u32 = 0x8000_0004;
const EV_EFI_RUNTIME_DRIVER: u32 = 0x8000_0005;
const EV_EFI_ACTION: u32 = 0x8000_0007;
const EV_EFI_FIRMWARE_BLOB: u32 = 0x8000_0008;
const EV_EFI_FIRMWARE_BLOB2: u32 = 0x8000_000a;
const EV_EFI_VARIABLE_AUTHORITY: u32 = 0x8000_00e0;

/// Text of the action by which the firmware hands over. SPEC: 10.4.4
const EXIT_SUCCEEDED: &[u8] = b"Exit Boot Services Returned with Success";

/// `EFI_GLOBAL_VARIABLE`, 8be4df61-93ca-11d2-aa0d-00e098032b8c, as it stands in memory.
const GLOBAL: [u8; 16] = [
    0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c,
];

/// `EFI_IMAGE_SECURITY_DATABASE`, d719b2cb-3d3a-4596-a3bc-dad00e67656f, as it stands in memory.
const IMAGE_SECURITY: [u8; 16] = [
    0xcb, 0xb2, 0x19, 0xd7, 0x3a, 0x3d, 0x96, 0x45, 0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65, 0x6f,
];

#[cfg(test)]
mod tests;

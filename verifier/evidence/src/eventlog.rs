//! The boot event log (TCG crypto-agile format): parsed, and replayed into PCR values.
//!
//! In: the log as the firmware left it; anybody may have changed it. Out: the PCR values it leads
//! to, and what was measured. Only the comparison with quoted values makes it trustworthy
//! ([`EventLog::appraise`]): then each digest was extended in this order. Event *data* stays a
//! claim, for a digest need not be over the data that stands beside it.
//!
//! Source: TCG PC Client Platform Firmware Profile 1.06, section 10. Rules:
//!
//! 1. the first event has the old layout and is `Spec ID Event03`, which declares the banks;
//! 2. every event has one digest for each bank, among them the one that is replayed;
//! 3. `EV_NO_ACTION` extends nothing; `StartupLocality` sets where PCR 0 starts, before its first extension;
//! 4. after the last event come only 0xff or only 0x00, the padding of the firmware's table.
//!
//! The log of a trust domain has the same format and other registers: [`CcLog`].

mod ccel;

mod components;
mod signatures;

pub use components::{
    Application, BootInput, BootInputKind, Components, ComponentsError, Data, Measured, Section,
    SectionName, SecureBoot, Variable,
};

pub use signatures::{SignatureEntry, SignatureKind, SignatureListError, signature_entries};

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::reader::{FormError, Reader};

pub use ccel::{CcEvent, CcLog, RTMR_COUNT};

/// Largest log, in bytes (4 MiB). Logs seen are 5 to 120 KiB.
pub const MAX_LOG_BYTES: usize = 4 * 1024 * 1024;

/// Most banks that a log may declare; a TPM has at most five hash algorithms in common use.
const MAX_BANKS: u32 = 8;

/// `EV_NO_ACTION`.
pub const EV_NO_ACTION: u32 = 3;

/// One measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event<'a> {
    /// Which PCR.
    pub pcr: u32,
    /// `EV_…`.
    pub event_type: u32,
    /// Digest in the SHA-256 bank.
    pub digest: [u8; 32],
    /// What the firmware says it measured; a claim.
    pub data: &'a [u8],
}

/// A log of well-formed events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventLog<'a> {
    events: Vec<Event<'a>>,
    pcrs: BTreeMap<u8, [u8; 32]>,
}

/// Why a log is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum EventLogError {
    /// Longer than [`MAX_LOG_BYTES`].
    #[error("event log is {bytes} bytes, limit is {MAX_LOG_BYTES}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// A field is malformed.
    #[error("event {event} of the log: {error}")]
    Form {
        /// Which event, from 0.
        event: usize,
        /// What is wrong.
        error: FormError,
    },
    /// The first event is not `Spec ID Event03`.
    #[error("event log is not in the crypto-agile format")]
    NotCryptoAgile,
    /// The declared banks are not what they are called, repeated, or lack the one that is replayed.
    #[error("event log declares bank {algorithm:#06x} wrongly, or lacks it")]
    Banks {
        /// The bank in question (`TPM_ALG_ID`).
        algorithm: u16,
    },
    /// An event's digests are not one for each declared bank.
    #[error("event {event} of the log does not have one digest for each bank")]
    Digests {
        /// Which event.
        event: usize,
    },
    /// An event extends a PCR that does not exist.
    #[error("event {event} of the log extends pcr {pcr}, which does not exist")]
    NoSuchPcr {
        /// Which event.
        event: usize,
        /// The PCR.
        pcr: u32,
    },
    /// An event of a trust domain extends a register that does not exist.
    #[error("event {event} of the log extends register {register}, expected 1 to 4 (rtmr 0 to 3)")]
    NoSuchRegister {
        /// Which event.
        event: usize,
        /// The register, as the log counts.
        register: u32,
    },
    /// `StartupLocality` is malformed, repeated, or after PCR 0 was extended.
    #[error("event {event} of the log states a startup locality that cannot be")]
    StartupLocality {
        /// Which event.
        event: usize,
    },
}

/// Why a log does not explain a quote.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("event log does not lead to the quoted values of pcr {}", list(pcrs))]
pub struct OtherValues {
    /// PCRs that differ, ascending, never empty.
    pub pcrs: Vec<u8>,
}

struct Bank {
    algorithm: u16,
    digest_bytes: usize,
}

/// An event as it stands in a log, with its digest in the bank that is replayed.
struct RawEvent<'a> {
    register: u32,
    event_type: u32,
    digest: &'a [u8],
    data: &'a [u8],
}

/// What differs between the logs of a TPM and of a trust domain.
#[derive(Clone, Copy)]
struct LogKind {
    /// The bank that is replayed.
    bank: u16,
    /// The register that the first event names, although it extends none.
    header_register: u32,
}

/// Reads a log, and hands on each event with its number, from 1.
fn read_events<'a>(
    bytes: &'a [u8],
    kind: LogKind,
    mut take: impl FnMut(usize, RawEvent<'a>) -> Result<(), EventLogError>,
) -> Result<(), EventLogError> {
    if bytes.len() > MAX_LOG_BYTES {
        return Err(EventLogError::TooLong { bytes: bytes.len() });
    }
    let mut reader = Reader::new(bytes);
    let banks = parse_header(&mut reader, kind)?;
    let mut number: usize = 0;
    while !is_padding(reader.rest()) {
        number = number.saturating_add(1);
        take(number, parse_event(&mut reader, &banks, number, kind.bank)?)?;
    }
    Ok(())
}

impl<'a> EventLog<'a> {
    /// Reads and replays a log.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, EventLogError> {
        let mut log = Self {
            events: Vec::new(),
            pcrs: BTreeMap::new(),
        };
        let mut locality_stated = false;
        read_events(bytes, TPM_LOG, |number, raw| {
            let event = Event {
                pcr: raw.register,
                event_type: raw.event_type,
                digest: raw
                    .digest
                    .try_into()
                    .map_err(|_| EventLogError::Digests { event: number })?,
                data: raw.data,
            };
            if let Some(locality) = startup_locality(&event) {
                let wrong = EventLogError::StartupLocality { event: number };
                let locality = locality.ok_or(wrong)?;
                if locality_stated || log.pcrs.contains_key(&0) {
                    return Err(wrong);
                }
                locality_stated = true;
                log.pcrs.insert(0, starting_at(locality));
            } else if event.event_type != EV_NO_ACTION {
                log.extend(&event, number)?;
            }
            log.events.push(event);
            Ok(())
        })?;
        Ok(log)
    }

    /// All events after the header, in order.
    #[must_use]
    pub fn events(&self) -> &[Event<'a>] {
        &self.events
    }

    /// The value of a PCR after the last event, in the SHA-256 bank.
    #[must_use]
    pub fn pcr(&self, index: u8) -> [u8; 32] {
        self.pcrs
            .get(&index)
            .copied()
            .unwrap_or(initial_value(index))
    }

    /// Whether the log leads to quoted values.
    pub fn appraise(&self, quoted: &BTreeMap<u8, [u8; 32]>) -> Result<(), OtherValues> {
        let pcrs: Vec<u8> = quoted
            .iter()
            .filter(|(index, value)| self.pcr(**index) != **value)
            .map(|(index, _)| *index)
            .collect();
        if pcrs.is_empty() {
            Ok(())
        } else {
            Err(OtherValues { pcrs })
        }
    }

    // SPEC: TPM 2.0 Part 1, 17.2: new = H(old || digest)
    fn extend(&mut self, event: &Event<'_>, number: usize) -> Result<(), EventLogError> {
        let index = u8::try_from(event.pcr)
            .ok()
            .filter(|index| *index < PCR_COUNT);
        let index = index.ok_or(EventLogError::NoSuchPcr {
            event: number,
            pcr: event.pcr,
        })?;
        let value = self.pcrs.entry(index).or_insert(initial_value(index));
        *value = Sha256::new()
            .chain_update(*value)
            .chain_update(event.digest)
            .finalize()
            .into();
        Ok(())
    }
}

/// `TCG_PCClientPCREvent` with `TCG_EfiSpecIDEvent` (10.2.1, 10.4.5.1). Little-endian, as is all of it.
fn parse_header(reader: &mut Reader<'_>, kind: LogKind) -> Result<Vec<Bank>, EventLogError> {
    let form = |error| EventLogError::Form { event: 0, error };
    let pcr = reader.u32_le("pcrIndex").map_err(form)?;
    let event_type = reader.u32_le("eventType").map_err(form)?;
    let digest: [u8; 20] = reader.array("digest").map_err(form)?;
    let data = sized_data(reader).map_err(form)?;
    let mut data = Reader::new(data);
    let signature: Result<[u8; 16], _> = data.array("signature");
    let expected = (
        kind.header_register,
        EV_NO_ACTION,
        [0; 20],
        Ok(*b"Spec ID Event03\0"),
    );
    if (pcr, event_type, digest, signature) != expected {
        return Err(EventLogError::NotCryptoAgile);
    }
    let banks = parse_banks(&mut data, kind.bank)?;
    let vendor_bytes = data.u8("vendorInfoSize").map_err(form)?;
    data.take(vendor_bytes.into(), "vendorInfo").map_err(form)?;
    data.end().map_err(form)?;
    Ok(banks)
}

fn parse_banks(data: &mut Reader<'_>, needed: u16) -> Result<Vec<Bank>, EventLogError> {
    let form = |error| EventLogError::Form { event: 0, error };
    // platformClass 4, specVersionMinor 1, specVersionMajor 1, specErrata 1, uintnSize 1
    data.take(8, "platformClass").map_err(form)?;
    let count = data.u32_le("numberOfAlgorithms").map_err(form)?;
    if count > MAX_BANKS {
        let (found, limit) = (count.into(), MAX_BANKS.into());
        return Err(form(FormError::TooLarge {
            field: "numberOfAlgorithms",
            found,
            limit,
        }));
    }
    let mut banks: Vec<Bank> = Vec::new();
    for _ in 0..count {
        let algorithm = data.u16_le("algorithmId").map_err(form)?;
        let digest_bytes = usize::from(data.u16_le("digestSize").map_err(form)?);
        let size_is_wrong =
            known_digest_bytes(algorithm).is_some_and(|known| known != digest_bytes);
        if size_is_wrong || banks.iter().any(|bank| bank.algorithm == algorithm) {
            return Err(EventLogError::Banks { algorithm });
        }
        banks.push(Bank {
            algorithm,
            digest_bytes,
        });
    }
    if !banks.iter().any(|bank| bank.algorithm == needed) {
        return Err(EventLogError::Banks { algorithm: needed });
    }
    Ok(banks)
}

/// `TCG_PCR_EVENT2` (10.2.2).
fn parse_event<'a>(
    reader: &mut Reader<'a>,
    banks: &[Bank],
    number: usize,
    needed: u16,
) -> Result<RawEvent<'a>, EventLogError> {
    let form = |error| EventLogError::Form {
        event: number,
        error,
    };
    let wrong = EventLogError::Digests { event: number };
    let register = reader.u32_le("pcrIndex").map_err(form)?;
    let event_type = reader.u32_le("eventType").map_err(form)?;
    let count = reader.u32_le("digests.count").map_err(form)?;
    if usize::try_from(count) != Ok(banks.len()) {
        return Err(wrong);
    }
    let (mut seen, mut digest_of_bank) = (Vec::new(), None);
    for _ in 0..count {
        let algorithm = reader.u16_le("digests.hashAlg").map_err(form)?;
        let bank = banks
            .iter()
            .find(|bank| bank.algorithm == algorithm)
            .ok_or(wrong)?;
        if seen.contains(&algorithm) {
            return Err(wrong);
        }
        seen.push(algorithm);
        let digest = reader
            .take(bank.digest_bytes, "digests.digest")
            .map_err(form)?;
        if algorithm == needed {
            digest_of_bank = Some(digest);
        }
    }
    let data = sized_data(reader).map_err(form)?;
    Ok(RawEvent {
        register,
        event_type,
        digest: digest_of_bank.ok_or(wrong)?,
        data,
    })
}

fn sized_data<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], FormError> {
    let field = "eventSize";
    let found = reader.u32_le(field)?;
    let length = usize::try_from(found).map_err(|_| FormError::TooLarge {
        field,
        found: found.into(),
        limit: 0,
    })?;
    reader.take(length, "event")
}

/// `Some(None)` is a locality that no TPM starts in. SPEC: 10.4.5.3
fn startup_locality(event: &Event<'_>) -> Option<Option<u8>> {
    let stated = event.event_type == EV_NO_ACTION && event.pcr == 0;
    let rest = event
        .data
        .strip_prefix(b"StartupLocality\0")
        .filter(|_| stated)?;
    match rest {
        [locality @ (0 | 3 | 4)] => Some(Some(*locality)),
        _ => Some(None),
    }
}

fn starting_at(locality: u8) -> [u8; 32] {
    let mut value = [0; 32];
    let [.., last] = &mut value;
    *last = locality;
    value
}

/// Nothing but padding is left.
fn is_padding(rest: &[u8]) -> bool {
    let all = |padding: u8| rest.iter().all(|byte| *byte == padding);
    all(0xff) || all(0)
}

/// PCRs 17 to 22 start as all ones until a dynamic launch. SPEC: PC Client TPM Profile, table 5.
fn initial_value(index: u8) -> [u8; 32] {
    if matches!(index, 17..=22) {
        [0xff; 32]
    } else {
        [0; 32]
    }
}

/// Lengths of digests, in bytes. Source: TCG Algorithm Registry.
fn known_digest_bytes(algorithm: u16) -> Option<usize> {
    match algorithm {
        0x0004 => Some(20),
        ALG_SHA256 | 0x0012 | 0x0027 => Some(32),
        ALG_SHA384 | 0x0028 => Some(48),
        0x000d | 0x0029 => Some(64),
        _ => None,
    }
}

fn list(pcrs: &[u8]) -> String {
    pcrs.iter()
        .map(u8::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

/// `TPM_ALG_SHA256`.
const ALG_SHA256: u16 = 0x000b;

/// `TPM_ALG_SHA384`.
const ALG_SHA384: u16 = 0x000c;

const TPM_LOG: LogKind = LogKind {
    bank: ALG_SHA256,
    header_register: 0,
};

/// PCRs of a PC Client TPM.
const PCR_COUNT: u8 = 24;

#[cfg(test)]
mod tests;

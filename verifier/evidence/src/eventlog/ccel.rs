//! The event log of a trust domain (CCEL), replayed into its registers.
//!
//! In: the log as the firmware left it, with the padding of its table. Out: the values it leads to. Only
//! the comparison with a verified quote makes it trustworthy; event data stay claims.
//!
//! The format is that of the TPM's log. The bank is SHA-384, and registers count from 1: the log's 1 to 4 are
//! RTMR 0 to 3. Its 0 is the measurement of the initial memory, which nothing extends.
//!
//! Source: UEFI 2.10, section 38 (Confidential Computing); Intel TDX Virtual Firmware Design Guide, 8.

use sha2::{Digest as _, Sha384};

use super::{ALG_SHA384, EV_NO_ACTION, EventLogError, LogKind, read_events};

/// Registers of a trust domain that grow while it runs.
pub const RTMR_COUNT: usize = 4;

/// The first event names register 1: firmware of trust domains writes it so, and extends nothing.
const CC_LOG: LogKind = LogKind {
    bank: ALG_SHA384,
    header_register: 1,
};

/// One measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CcEvent<'a> {
    /// Which register, as the log counts: 1 is RTMR 0.
    pub register: u32,
    /// `EV_…`.
    pub event_type: u32,
    /// Digest in the SHA-384 bank.
    pub digest: [u8; 48],
    /// What the firmware says it measured; a claim.
    pub data: &'a [u8],
}

/// A log of well-formed events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CcLog<'a> {
    events: Vec<CcEvent<'a>>,
    rtmrs: [[u8; 48]; RTMR_COUNT],
}

impl<'a> CcLog<'a> {
    /// Reads and replays a log.
    ///
    /// # Errors
    /// Why it is none.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, EventLogError> {
        let mut log = Self {
            events: Vec::new(),
            rtmrs: [[0; 48]; RTMR_COUNT],
        };
        read_events(bytes, CC_LOG, |number, raw| {
            let event = CcEvent {
                register: raw.register,
                event_type: raw.event_type,
                digest: raw
                    .digest
                    .try_into()
                    .map_err(|_| EventLogError::Digests { event: number })?,
                data: raw.data,
            };
            if event.event_type != EV_NO_ACTION {
                log.extend(&event, number)?;
            }
            log.events.push(event);
            Ok(())
        })?;
        Ok(log)
    }

    /// All events after the header, in order.
    #[must_use]
    pub fn events(&self) -> &[CcEvent<'a>] {
        &self.events
    }

    /// The values of registers 0 to 3 after the last event.
    #[must_use]
    pub fn rtmrs(&self) -> &[[u8; 48]; RTMR_COUNT] {
        &self.rtmrs
    }

    // SPEC: Intel TDX Module, TDG.MR.RTMR.EXTEND: new = SHA-384(old || digest)
    fn extend(&mut self, event: &CcEvent<'_>, number: usize) -> Result<(), EventLogError> {
        let value = usize::try_from(event.register)
            .ok()
            .and_then(|register| register.checked_sub(1))
            .and_then(|index| self.rtmrs.get_mut(index))
            .ok_or(EventLogError::NoSuchRegister {
                event: number,
                register: event.register,
            })?;
        *value = Sha384::new()
            .chain_update(*value)
            .chain_update(event.digest)
            .finalize()
            .into();
        Ok(())
    }
}

#[cfg(test)]
mod tests;

use sha2::{Digest as _, Sha384};

use super::*;
use crate::reader::FormError;

/// A log of one bank, event by event.
struct Draft(Vec<u8>);

impl Draft {
    fn new(header_register: u32, bank: u16, digest_bytes: u16) -> Self {
        let mut log = Vec::new();
        log.extend(header_register.to_le_bytes());
        log.extend(EV_NO_ACTION.to_le_bytes());
        log.extend([0; 20]);
        log.extend(33_u32.to_le_bytes());
        log.extend(b"Spec ID Event03\0");
        log.extend([0, 0, 0, 0, 0, 2, 0, 2]);
        log.extend(1_u32.to_le_bytes());
        log.extend(bank.to_le_bytes());
        log.extend(digest_bytes.to_le_bytes());
        log.push(0);
        Self(log)
    }

    fn good() -> Self {
        Self::new(1, 0x0c, 48)
    }

    fn event(mut self, register: u32, event_type: u32, digest: [u8; 48]) -> Self {
        for number in [register, event_type, 1] {
            self.0.extend(number.to_le_bytes());
        }
        self.0.extend(0x0c_u16.to_le_bytes());
        self.0.extend(digest);
        self.0.extend(4_u32.to_le_bytes());
        self.0.extend(b"said");
        self
    }

    fn refusal(&self) -> EventLogError {
        CcLog::parse(&self.0).expect_err("this log shall be refused")
    }
}

fn extended(old: [u8; 48], digest: [u8; 48]) -> [u8; 48] {
    Sha384::digest([old, digest].concat()).into()
}

#[test]
fn registers_of_the_log_are_one_above_those_of_the_trust_domain() {
    let draft = Draft::good()
        .event(1, 8, [1; 48])
        .event(4, 8, [4; 48])
        .event(1, 8, [2; 48])
        .event(2, EV_NO_ACTION, [9; 48]);
    let log = CcLog::parse(&draft.0).unwrap();
    let rtmr0 = extended(extended([0; 48], [1; 48]), [2; 48]);
    let rtmr3 = extended([0; 48], [4; 48]);
    assert_eq!(log.rtmrs(), &[rtmr0, [0; 48], [0; 48], rtmr3]);
    assert_eq!(log.events().len(), 4);
    assert_eq!(log.events()[0].data, b"said");
    assert_eq!(log.events()[1].register, 4);
}

#[test]
fn the_measurement_of_the_initial_memory_is_not_extended_nor_is_any_register_beyond_the_fourth() {
    for register in [0, 5, u32::MAX] {
        let refusal = Draft::good()
            .event(1, 8, [1; 48])
            .event(register, 8, [1; 48])
            .refusal();
        assert_eq!(
            refusal,
            EventLogError::NoSuchRegister { event: 2, register }
        );
        let said = Draft::good().event(register, EV_NO_ACTION, [1; 48]);
        assert!(CcLog::parse(&said.0).is_ok());
    }
}

#[test]
fn a_log_of_a_tpm_is_none_of_a_trust_domain() {
    assert_eq!(
        Draft::new(0, 0x0c, 48).refusal(),
        EventLogError::NotCryptoAgile
    );
    let lacks = EventLogError::Banks { algorithm: 0x0c };
    assert_eq!(Draft::new(1, 0x0b, 32).refusal(), lacks);
    assert_eq!(Draft::new(1, 0x0c, 32).refusal(), lacks);
    let tpm: &[u8] = include_bytes!("../../../testdata/lab-ovmf-uki/eventlog.bin");
    assert_eq!(CcLog::parse(tpm), Err(EventLogError::NotCryptoAgile));
}

#[test]
fn padding_of_the_table_is_passed_over_and_nothing_else() {
    let mut draft = Draft::good().event(1, 8, [1; 48]);
    draft.0.extend([0xff; 100]);
    assert!(CcLog::parse(&draft.0).is_ok());
    draft.0.extend([0; 1]);
    let refusal = draft.refusal();
    let is_form = matches!(
        refusal,
        EventLogError::Digests { event: 2 }
            | EventLogError::Form {
                event: 2,
                error: FormError::Truncated { .. }
            }
    );
    assert!(is_form, "{refusal}");
}

#[test]
fn a_table_that_points_to_a_log_is_none() {
    let table: &[u8] = include_bytes!("../../../vectors/tdx/ccel/CCEL.bin");
    assert!(CcLog::parse(table).is_err());
}

#[test]
fn no_prefix_of_a_real_log_makes_it_panic() {
    let log: &[u8] = include_bytes!("../../../vectors/tdx/ccel/CCEL_unpadded.data.bin");
    for length in 0..log.len() {
        let _ = CcLog::parse(log.get(..length).unwrap());
    }
    assert!(CcLog::parse(log).is_ok());
}

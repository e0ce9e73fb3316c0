#![expect(
    clippy::arithmetic_side_effects,
    reason = "tests count positions in fixed data"
)]

use proptest::prelude::*;
use serde_json::Value;

use super::*;

const UKI: &[u8] = include_bytes!("../../testdata/lab-ovmf-uki/eventlog.bin");

/// A log of two banks (SHA-1, SHA-256), event by event.
struct Draft(Vec<u8>);

impl Draft {
    fn new() -> Self {
        Self::with_banks(&[(4, 20), (0xb, 32)])
    }

    fn with_banks(banks: &[(u16, u16)]) -> Self {
        let mut data = b"Spec ID Event03\0".to_vec();
        data.extend([0, 0, 0, 0, 0, 2, 0, 2]);
        data.extend(u32::try_from(banks.len()).unwrap().to_le_bytes());
        for (algorithm, size) in banks {
            data.extend(algorithm.to_le_bytes());
            data.extend(size.to_le_bytes());
        }
        data.push(0);
        let mut log = [[0, 0, 0, 0], EV_NO_ACTION.to_le_bytes()].concat();
        log.extend([0; 20]);
        log.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
        log.extend(data);
        Self(log)
    }

    fn event(self, pcr: u32, event_type: u32, data: &[u8]) -> Self {
        self.event_with(
            &[(4, vec![1; 20]), (0xb, vec![2; 32])],
            (pcr, event_type),
            data,
        )
    }

    fn event_with(
        mut self,
        digests: &[(u16, Vec<u8>)],
        (pcr, event_type): (u32, u32),
        data: &[u8],
    ) -> Self {
        for number in [pcr, event_type, u32::try_from(digests.len()).unwrap()] {
            self.0.extend(number.to_le_bytes());
        }
        for (algorithm, digest) in digests {
            self.0.extend(algorithm.to_le_bytes());
            self.0.extend(digest);
        }
        self.0
            .extend(u32::try_from(data.len()).unwrap().to_le_bytes());
        self.0.extend(data);
        self
    }

    fn refusal(&self) -> EventLogError {
        EventLog::parse(&self.0).expect_err("this log shall be refused")
    }
}

fn lab(quote: &str) -> ([u8; 32], Vec<u8>) {
    let quote: Value = serde_json::from_str(quote).unwrap();
    let message = hex::decode(quote["msg"].as_str().unwrap()).unwrap();
    let (rest, digest) = message.split_at(message.len() - 32);
    // …, selection of 3 bytes, length of the digest.
    (
        digest.try_into().unwrap(),
        rest[rest.len() - 5..rest.len() - 2].to_vec(),
    )
}

fn replay_is_quoted(log: &[u8], quote: &str) -> bool {
    let (digest, selection) = lab(quote);
    let log = EventLog::parse(log).unwrap();
    let mut hash = Sha256::new();
    for index in
        (0..24).filter(|index: &u8| selection[usize::from(index / 8)] >> (index % 8) & 1 == 1)
    {
        hash.update(log.pcr(index));
    }
    <[u8; 32]>::from(hash.finalize()) == digest
}

#[test]
fn the_log_of_a_measured_boot_leads_to_what_its_tpm_quoted() {
    assert!(replay_is_quoted(
        UKI,
        include_str!("../../testdata/lab-ovmf-uki/quote.json")
    ));
}

#[test]
fn the_log_of_a_direct_boot_leads_to_what_its_tpm_quoted() {
    let log = include_bytes!("../../testdata/lab-ovmf-direct/eventlog.bin");
    assert!(replay_is_quoted(
        log,
        include_str!("../../testdata/lab-ovmf-direct/quote.json")
    ));
}

#[test]
fn a_changed_initrd_changes_pcrs_4_9_and_11() {
    let tampered = include_bytes!("../../testdata/lab-ovmf-uki-tampered-initrd/eventlog.bin");
    assert!(replay_is_quoted(
        tampered,
        include_str!("../../testdata/lab-ovmf-uki-tampered-initrd/quote.json")
    ));
    let tampered = EventLog::parse(tampered).unwrap();
    let good = EventLog::parse(UKI).unwrap();
    let quoted = (0..16).map(|index| (index, good.pcr(index))).collect();
    assert_eq!(
        tampered.appraise(&quoted),
        Err(OtherValues {
            pcrs: vec![4, 9, 11]
        })
    );
}

#[test]
fn logs_of_real_machines_are_read() {
    let logs: [(&[u8], usize); 7] = [
        (
            include_bytes!("../../testdata/eventlog/arch-linux-workstation.bin"),
            24,
        ),
        (
            include_bytes!("../../testdata/eventlog/cos-101-amd-sev.bin"),
            48,
        ),
        (
            include_bytes!("../../testdata/eventlog/eventlogwithsp800155.bin"),
            53,
        ),
        (
            include_bytes!("../../testdata/eventlog/glinux-alex.bin"),
            28,
        ),
        (
            include_bytes!("../../testdata/eventlog/ubuntu-2104-no-dbx.bin"),
            111,
        ),
        (
            include_bytes!("../../testdata/eventlog/ubuntu-2104-no-secure-boot.bin"),
            105,
        ),
        (
            include_bytes!("../../testdata/eventlog/crypto_agile_eventlog"),
            26,
        ),
    ];
    let counts = logs.map(|(bytes, _)| EventLog::parse(bytes).map(|log| log.events().len()));
    assert_eq!(counts, logs.map(|(_, count)| Ok(count)));
}

#[test]
fn a_log_of_sha_1_only_is_refused() {
    let log = include_bytes!("../../testdata/eventlog/debian-10.bin");
    assert_eq!(EventLog::parse(log), Err(EventLogError::NotCryptoAgile));
}

#[test]
fn a_log_without_sha_256_is_refused() {
    let log = Draft::with_banks(&[(0xc, 48)]);
    assert_eq!(log.refusal(), EventLogError::Banks { algorithm: 0xb });
}

#[test]
fn a_log_of_runtime_measurement_registers_is_not_one_of_pcrs() {
    let log = include_bytes!("../../testdata/eventlog/ccel-padded.bin");
    assert_eq!(EventLog::parse(log), Err(EventLogError::NotCryptoAgile));
}

#[test]
fn an_acpi_table_is_no_log() {
    EventLog::parse(include_bytes!("../../testdata/eventlog/ccel-table.bin")).unwrap_err();
}

#[test]
fn a_short_first_event_is_no_log() {
    EventLog::parse(include_bytes!(
        "../../testdata/eventlog/short_no_action_eventlog"
    ))
    .unwrap_err();
}

#[test]
fn an_extension_is_the_hash_of_the_value_before_and_the_digest() {
    let log = Draft::new().event(4, 1, b"one").event(4, 1, b"two");
    let first: [u8; 32] = Sha256::new()
        .chain_update([0; 32])
        .chain_update([2; 32])
        .finalize()
        .into();
    let second: [u8; 32] = Sha256::new()
        .chain_update(first)
        .chain_update([2; 32])
        .finalize()
        .into();
    assert_eq!(EventLog::parse(&log.0).unwrap().pcr(4), second);
}

#[test]
fn no_action_extends_nothing_even_on_a_pcr_that_does_not_exist() {
    let log = Draft::new()
        .event(0xffff_ffff, EV_NO_ACTION, b"SP800-155 Event")
        .event(5, EV_NO_ACTION, b"");
    assert_eq!(EventLog::parse(&log.0).unwrap().pcr(5), [0; 32]);
}

#[test]
fn startup_locality_3_sets_where_pcr_0_starts() {
    let log = Draft::new().event(0, EV_NO_ACTION, b"StartupLocality\0\x03");
    let mut value = [0; 32];
    value[31] = 3;
    assert_eq!(EventLog::parse(&log.0).unwrap().pcr(0), value);
}

#[test]
fn what_looks_like_a_startup_locality_elsewhere_is_none() {
    let stated = b"StartupLocality\0\x03";
    let log = Draft::new()
        .event(5, EV_NO_ACTION, stated)
        .event(0, 8, stated);
    let extended: [u8; 32] = Sha256::new()
        .chain_update([0; 32])
        .chain_update([2; 32])
        .finalize()
        .into();
    let read = EventLog::parse(&log.0).unwrap();
    assert_eq!((read.pcr(0), read.pcr(5)), (extended, [0; 32]));
}

#[test]
fn a_startup_locality_after_an_extension_is_refused() {
    let log = Draft::new()
        .event(0, 8, b"version")
        .event(0, EV_NO_ACTION, b"StartupLocality\0\x03");
    assert_eq!(log.refusal(), EventLogError::StartupLocality { event: 2 });
}

#[test]
fn a_second_startup_locality_is_refused() {
    let stated = b"StartupLocality\0\0";
    let log = Draft::new()
        .event(0, EV_NO_ACTION, stated)
        .event(0, EV_NO_ACTION, stated);
    assert_eq!(log.refusal(), EventLogError::StartupLocality { event: 2 });
}

#[test]
fn a_startup_locality_that_no_tpm_has_is_refused() {
    let log = Draft::new().event(0, EV_NO_ACTION, b"StartupLocality\0\x05");
    assert_eq!(log.refusal(), EventLogError::StartupLocality { event: 1 });
}

#[test]
fn pcr_17_starts_as_ones() {
    assert_eq!(
        EventLog::parse(&Draft::new().0).unwrap().pcr(17),
        [0xff; 32]
    );
}

#[test]
fn padding_of_either_kind_ends_the_log() {
    for padding in [0, 0xff] {
        let mut log = Draft::new().event(4, 1, b"one").0;
        log.extend([padding; 100]);
        assert_eq!(EventLog::parse(&log).map(|log| log.events().len()), Ok(1));
    }
}

#[test]
fn an_event_after_padding_is_refused() {
    let mut log = Draft::new();
    log.0.extend([0xff; 8]);
    let log = log.event(4, 1, b"one");
    assert_eq!(log.refusal(), EventLogError::Digests { event: 1 });
}

#[test]
fn an_event_that_extends_pcr_24_is_refused() {
    assert_eq!(
        Draft::new().event(24, 1, b"").refusal(),
        EventLogError::NoSuchPcr { event: 1, pcr: 24 }
    );
}

#[test]
fn an_event_that_lacks_a_bank_is_refused() {
    let log = Draft::new().event_with(&[(0xb, vec![2; 32])], (4, 1), b"");
    assert_eq!(log.refusal(), EventLogError::Digests { event: 1 });
}

#[test]
fn an_event_with_one_bank_twice_is_refused() {
    let log = Draft::new().event_with(&[(0xb, vec![2; 32]), (0xb, vec![3; 32])], (4, 1), b"");
    assert_eq!(log.refusal(), EventLogError::Digests { event: 1 });
}

#[test]
fn an_event_with_an_undeclared_bank_is_refused() {
    let log = Draft::new().event_with(&[(0xb, vec![2; 32]), (0xc, vec![3; 48])], (4, 1), b"");
    assert_eq!(log.refusal(), EventLogError::Digests { event: 1 });
}

#[test]
fn a_bank_declared_twice_is_refused() {
    let log = Draft::with_banks(&[(0xb, 32), (0xb, 32)]);
    assert_eq!(log.refusal(), EventLogError::Banks { algorithm: 0xb });
}

#[test]
fn a_bank_of_a_wrong_length_is_refused() {
    assert_eq!(
        Draft::with_banks(&[(0xb, 31)]).refusal(),
        EventLogError::Banks { algorithm: 0xb }
    );
}

#[test]
fn a_bank_that_is_known_has_its_own_length() {
    for (algorithm, bytes) in [
        (0x0004, 20),
        (0x0012, 32),
        (0x0027, 32),
        (0x000c, 48),
        (0x0028, 48),
        (0x000d, 64),
        (0x0029, 64),
    ] {
        let of = |bytes| Draft::with_banks(&[(0xb, 32), (algorithm, bytes)]);
        assert!(EventLog::parse(&of(bytes).0).is_ok(), "{algorithm:#06x}");
        assert_eq!(of(33).refusal(), EventLogError::Banks { algorithm });
    }
}

#[test]
fn more_than_eight_banks_are_refused() {
    let mut banks: Vec<(u16, u16)> = (0x100..0x107).map(|algorithm| (algorithm, 1)).collect();
    banks.push((0xb, 32));
    assert!(EventLog::parse(&Draft::with_banks(&banks).0).is_ok());
    banks.push((0x107, 1));
    let error = FormError::TooLarge {
        field: "numberOfAlgorithms",
        found: 9,
        limit: 8,
    };
    assert_eq!(
        Draft::with_banks(&banks).refusal(),
        EventLogError::Form { event: 0, error }
    );
}

#[test]
fn a_log_over_the_limit_is_refused() {
    let bytes = 4_194_305;
    assert_eq!(
        EventLog::parse(&vec![0; bytes]),
        Err(EventLogError::TooLong { bytes })
    );
    // One that is not too long is read, and is none.
    let read = EventLog::parse(&vec![0; bytes - 1]).unwrap_err();
    assert!(!matches!(read, EventLogError::TooLong { .. }), "{read}");
}

#[test]
fn a_log_cut_inside_an_event_is_refused_at_every_length() {
    let whole = Draft::new().event(4, 1, b"one").0;
    let header = Draft::new().0.len();
    for length in header + 1..whole.len() {
        // A cut that leaves only zero bytes cannot be told from padding; the PCR number 4 stands first.
        assert!(EventLog::parse(&whole[..length]).is_err(), "{length} bytes");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_mutated_log_never_panics(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut log = UKI.to_vec();
        for (position, value) in changes {
            let position = position.index(log.len());
            log[position] = value;
        }
        let _ = EventLog::parse(&log).map(|log| log.events().len());
    }

    #[test]
    fn random_bytes_after_a_header_never_panic(tail: Vec<u8>) {
        let mut log = Draft::new();
        log.0.extend(tail);
        let _ = EventLog::parse(&log.0).map(|log| log.events().len());
    }

    #[test]
    fn any_changed_digest_changes_the_replay(event in 0_usize..20, byte in 0_usize..32) {
        let log = EventLog::parse(UKI).unwrap();
        let extending: Vec<_> = log.events().iter().filter(|event| event.event_type != EV_NO_ACTION).collect();
        let chosen = extending[event % extending.len()];
        // The digest stands before its event's data; both are slices of the log.
        let data_at = chosen.data.as_ptr().addr() - UKI.as_ptr().addr();
        let found = UKI[..data_at].windows(32).rposition(|window| window == chosen.digest).unwrap();
        let mut changed = UKI.to_vec();
        changed[found + byte] ^= 1;
        let quoted = (0..16).map(|index| (index, log.pcr(index))).collect();
        let index = u8::try_from(chosen.pcr).unwrap();
        prop_assert_eq!(EventLog::parse(&changed).unwrap().appraise(&quoted), Err(OtherValues { pcrs: vec![index] }));
    }
}

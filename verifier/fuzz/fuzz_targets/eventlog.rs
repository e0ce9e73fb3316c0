//! Event logs of a boot: no panic, a log leads to its own values, and its components, if it has them, are of it.
#![no_main]

use countersign_evidence::eventlog::{Components, EventLog, signature_entries};
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeMap;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(log) = EventLog::parse(bytes) {
        let own: BTreeMap<u8, [u8; 32]> = (0..24).map(|index| (index, log.pcr(index))).collect();
        assert!(log.appraise(&own).is_ok());
        assert!(log.events().len() <= bytes.len());
        if let Ok(components) = Components::of(&log, &own) {
            let measured: Vec<[u8; 32]> = log.events().iter().map(|event| event.digest).collect();
            assert!(
                components
                    .applications
                    .iter()
                    .all(|it| measured.contains(&it.digest))
            );
            assert!(
                components
                    .sections
                    .iter()
                    .all(|it| measured.contains(&it.digest))
            );
        }
    }
    let _ = signature_entries(bytes);
});

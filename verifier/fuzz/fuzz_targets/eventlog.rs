//! Event logs of a boot: no panic, and a log leads to its own values.
#![no_main]

use countersign_evidence::eventlog::EventLog;
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeMap;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(log) = EventLog::parse(bytes) {
        let own: BTreeMap<u8, [u8; 32]> = (0..24).map(|index| (index, log.pcr(index))).collect();
        assert!(log.appraise(&own).is_ok());
        assert!(log.events().len() <= bytes.len());
    }
});

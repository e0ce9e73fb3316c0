//! Entries: no panic, and what is accepted is written the same.
#![no_main]

use countersign_record::entry::Entry;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(entry) = Entry::parse(bytes) {
        let unsigned = entry.payload().unsigned(entry.kid());
        assert_eq!(unsigned.to_be_signed(), entry.to_be_signed());
        assert_eq!(unsigned.with_signature(entry.signature()), bytes);
    }
});

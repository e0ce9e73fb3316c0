//! Checkpoints of the example's gateway, and texts of keys: no panic, one head has one text, one key has one.
#![no_main]

use countersign_record::checkpoint::{Checkpoint, note_text};
use countersign_record::digest::GatewayId;
use countersign_record::note::NoteKey;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // Gateway id of the goldens, so that seeds get past the origin.
    let gateway =
        GatewayId::from_hex("10ba682c8ad13513971e8b56881aab8bd702bb807796eca81932c735a94d6e6d");
    let Some(gateway) = gateway else { return };
    if let Ok(checkpoint) = Checkpoint::parse(bytes, &gateway) {
        assert_eq!(checkpoint.text(), note_text(&gateway, &checkpoint.head()));
        assert!(checkpoint.names().all(|name| !name.is_empty()));
        for line in checkpoint.lines() {
            if let Ok(cosignature) = line.cosignature() {
                assert!(cosignature.time.0 < 1 << 63);
            }
        }
    }
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(key) = NoteKey::parse(text)
    {
        assert_eq!(key.to_string(), text);
    }
});

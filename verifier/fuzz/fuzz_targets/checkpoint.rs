//! Checkpoints of the example's gateway: no panic, and one head has one text.
#![no_main]

use countersign_record::checkpoint::{Checkpoint, note_text};
use countersign_record::digest::GatewayId;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // Gateway id of the goldens, so that seeds get past the origin.
    let gateway =
        GatewayId::from_hex("10ba682c8ad13513971e8b56881aab8bd702bb807796eca81932c735a94d6e6d");
    let Some(gateway) = gateway else { return };
    if let Ok(checkpoint) = Checkpoint::parse(bytes, &gateway) {
        assert_eq!(checkpoint.text(), note_text(&gateway, &checkpoint.head()));
        assert!(checkpoint.names().all(|name| !name.is_empty()));
    }
});

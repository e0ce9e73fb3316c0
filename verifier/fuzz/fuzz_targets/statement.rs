//! Signed statements: no panic, and what is accepted is written the same.
#![no_main]

use countersign_record::bundle::{BUNDLE_TYP, BundleStatement};
use countersign_record::cbor::{Cbor, CborError};
use countersign_record::cose::{Sign1, Unsigned};
use countersign_record::channel::{CHANNEL_TYP, ChannelStatement};
use countersign_record::receipt::{RECEIPT_TYP, Receipt};
use countersign_record::statement::{
    ADOPT_TYP, APPROVAL_TYP, AdoptStatement, ApprovalStatement, FLEET_TYP, FleetStatement,
    RECOVER_TYP, RecoverStatement,
};
use libfuzzer_sys::fuzz_target;

fn rewrite<T: Cbor>(payload: &[u8]) -> Result<Vec<u8>, CborError> {
    T::from_bytes(payload).map(|value| value.to_bytes())
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(statement) = Sign1::parse(bytes) else {
        return;
    };
    let again = Unsigned::new(
        statement.typ(),
        statement.kid(),
        statement.payload().to_vec(),
    );
    assert_eq!(again.to_be_signed(), statement.to_be_signed());
    assert_eq!(again.with_signature(statement.signature()), bytes);
    let payload = statement.payload();
    let rewritten = match statement.typ() {
        FLEET_TYP => rewrite::<FleetStatement>(payload),
        APPROVAL_TYP => rewrite::<ApprovalStatement>(payload),
        RECOVER_TYP => rewrite::<RecoverStatement>(payload),
        ADOPT_TYP => rewrite::<AdoptStatement>(payload),
        BUNDLE_TYP => rewrite::<BundleStatement>(payload),
        RECEIPT_TYP => rewrite::<Receipt>(payload),
        CHANNEL_TYP => rewrite::<ChannelStatement>(payload),
        _ => return,
    };
    if let Ok(rewritten) = rewritten {
        assert_eq!(rewritten, payload);
    }
});

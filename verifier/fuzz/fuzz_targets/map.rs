//! Every map of the format, chosen by the first byte: no panic, and what is accepted is written the same.
#![no_main]

use countersign_record::binding::{Binding, CloseStatement, FreshStatement, RenewalStatement};
use countersign_record::body::{
    Action, Adopt, Approval, Base, Change, Close, Decision, Enrol, Erasure, Event, Gap, Hold, Stop,
    Intent, Renewal, RunClosed, TenantProof,
};
use countersign_record::bundle::{BundlePayload, BundleStatement, SignedBundle};
use countersign_record::cbor::{Cbor, Reader};
use countersign_record::commitment::{CallerProof, Disclosure};
use countersign_record::entry::{Extensions, Place};
use countersign_record::evidence::TpmEvidence;
use countersign_record::export::{Artifact, Manifest, Span, Timestamp, Trailer};
use countersign_record::receipt::Receipt;
use countersign_record::statement::{
    AdoptStatement, ApprovalStatement, ErasureStatement, FleetStatement, HoldStatement, StopStatement,
    RecoverStatement,
};
use libfuzzer_sys::fuzz_target;

fn same<T: Cbor>(bytes: &[u8]) {
    if let Ok(value) = T::from_bytes(bytes) {
        assert_eq!(value.to_bytes(), bytes);
    }
}

macro_rules! maps {
    ($($t:ty),* $(,)?) => { &[$(same::<$t>),*] };
}

/// Of the order of `make-seeds`: the position is the first byte of a seed.
const MAPS: &[fn(&[u8])] = maps![
    Binding,
    RenewalStatement,
    CloseStatement,
    FreshStatement,
    Action,
    TpmEvidence,
    Disclosure,
    CallerProof,
    SignedBundle,
    BundlePayload,
    Manifest,
    Artifact,
    Trailer,
    Receipt,
    FleetStatement,
    ApprovalStatement,
    RecoverStatement,
    AdoptStatement,
    BundleStatement,
    Place,
    Extensions,
    Enrol,
    Base,
    Intent,
    Decision,
    Approval,
    RunClosed,
    Change,
    Event,
    Renewal,
    Adopt,
    Gap,
    Erasure,
    Close,
    Vec<Disclosure>,
    Hold,
    ErasureStatement,
    HoldStatement,
    Stop,
    StopStatement,
    Span,
    TenantProof,
    Timestamp,
];

fuzz_target!(|input: &[u8]| {
    let Some((which, bytes)) = input.split_first() else {
        return;
    };
    if let Some(same) = MAPS.get(usize::from(*which)) {
        same(bytes);
    }
    let mut r = Reader::new(bytes);
    if let Ok(value) = r.any() {
        assert_eq!(value.len(), r.position());
    }
});

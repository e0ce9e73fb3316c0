//! A real export, changed anywhere: never verified. The verifier's own tests change it field by field.

use countersign_record::digest::UnixMillis;
use countersign_tests::machine::Machine;
use countersign_verify::report::Verdict;
use countersign_verify::trust::{Reference, Trust};
use countersign_verify::{Options, verify};
use serde_json::json;
use std::fs;

/// Positions at which a byte is changed.
const POSITIONS: usize = 400;

#[test]
fn a_changed_byte_anywhere_in_an_export_is_never_verified() {
    let machine = Machine::enrolled();
    let mut gateway = machine.start();
    let mut receipts = Vec::new();
    for n in 0..2 {
        let line = json!({ "line": format!("line {n}") });
        let answer = gateway.beta().call("effects.append", line.clone()).unwrap();
        receipts.push(answer.receipt().unwrap().to_owned());
        assert_eq!(
            gateway.alpha().call("effects.erase", line).unwrap().code(),
            "approval_required"
        );
    }
    gateway.kill();
    let gateway = machine.start();
    let export = gateway.export();
    let auditor = machine.auditor();
    let verdict = auditor.verify_with(&export, &receipts);
    verdict.assert_verified();
    let now = UnixMillis(verdict.report["now"].as_u64().unwrap());
    let (trust, reference) = auditor.files();
    let trust = Trust::parse(&fs::read(trust).unwrap()).unwrap();
    let options = Options {
        reference: Some(Reference::parse(&fs::read(reference).unwrap()).unwrap()),
        threads: 1,
        ..Options::default()
    };
    let original = fs::read(&export).unwrap();
    let judge = |bytes: &[u8]| verify(bytes, &trust, &options, now);
    assert_eq!(judge(&original).verdict, Verdict::Verified);
    let step = (original.len() / POSITIONS).max(1);
    let mut bytes = original.clone();
    for at in (0..original.len()).step_by(step) {
        let bit = u8::try_from(at % 8).unwrap();
        bytes[at] ^= 1 << bit;
        let report = judge(&bytes);
        assert_ne!(
            report.verdict,
            Verdict::Verified,
            "bit {bit} of byte {at} of {}",
            original.len()
        );
        bytes[at] = original[at];
    }
    // The command says what the library says.
    let middle = original.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&export, &bytes).unwrap();
    assert_ne!(auditor.verify(&export).exit_code, 0);
    for end in [0, 1, middle, original.len() - 1] {
        assert_ne!(
            judge(&original[..end]).verdict,
            Verdict::Verified,
            "cut to {end} bytes"
        );
    }
    bytes[middle] = original[middle];
    bytes.push(0);
    assert_ne!(judge(&bytes).verdict, Verdict::Verified, "with a byte more");
}

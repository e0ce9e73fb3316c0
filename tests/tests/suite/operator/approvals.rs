//! Signed words and requests, kept by whoever carries them and given again: after a restart, or after the log that spent them was cut away.

use super::*;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_record::body::Action;
use countersign_record::cbor::Cbor as _;
use countersign_record::digest::{GatewayId, Nonce, PublicKey, UnixMillis};
use countersign_record::statement::{APPROVAL_TYP, ApprovalStatement, Choice};
use countersign_tests::client::{Response, sign};
use countersign_tests::site::{BETA_KEY, OFFICER_KEY};
use std::time::{SystemTime, UNIX_EPOCH};

/// The officer's signed word on the one action that waits.
fn approval(machine: &Machine, gateway: &Gateway) -> Vec<u8> {
    let waiting = gateway.officer().get("/v1/approvals").unwrap().json();
    let statement = waiting["waiting"][0]["statement"].as_str().unwrap();
    let action = Action::from_bytes(&STANDARD.decode(statement).unwrap()).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let issued = u64::try_from(now.as_millis()).unwrap();
    let key = machine.site().signing_key(OFFICER_KEY);
    let statement = ApprovalStatement {
        gateway: GatewayId::from_hex(&gateway.id).unwrap(),
        action: action.digest(),
        preview: action.preview,
        approver: PublicKey(key.verifying_key().to_bytes()).id(),
        choice: Choice::Approve,
        issued: UnixMillis(issued),
        expires: UnixMillis(issued + 600_000),
        nonce: Nonce([9; 32]),
    };
    countersign::keys::sign_statement(&key, APPROVAL_TYP, statement.to_bytes())
}

fn give(gateway: &Gateway, word: &[u8]) -> Response {
    gateway
        .stranger()
        .request("POST", "/v1/approvals", &[], word)
        .unwrap()
}

#[track_caller]
fn ask(gateway: &Gateway) -> Answer {
    let call = json!({ "line": "gone" });
    gateway.beta().call("effects.erase", call).unwrap()
}

#[test]
fn an_approval_whose_use_was_cut_away_cannot_be_used_again() {
    let machine = Machine::enrolled();
    let mut gateway = machine.start();
    let kept = super::snapshots::snapshot_of_running(&machine, &gateway);
    assert_eq!(ask(&gateway).code(), "approval_required");
    let word = approval(&machine, &gateway);
    assert_eq!(give(&gateway, &word).status, 200);
    assert!(ask(&gateway).is_ok());
    gateway.kill();
    kept.restore();
    let gateway = machine.start();
    for _ in 0..2 {
        let given = give(&gateway, &word);
        assert_ne!(
            given.status,
            200,
            "{}",
            String::from_utf8_lossy(&given.body)
        );
        assert_eq!(ask(&gateway).code(), "approval_required");
    }
    assert_eq!(machine.effects(), ["gone"]);
}

/// A request is one call, however often whoever carries it sends it, also to the gateway's next start.
#[test]
fn a_signed_request_sent_again_after_a_restart_is_refused() {
    let machine = Machine::enrolled();
    let mut gateway = machine.start();
    let first = gateway.authority().to_owned();
    let body =
        json!({ "capability": "effects.append", "arguments": { "line": "once" } }).to_string();
    let kind = ("content-type", "application/json");
    let key = machine.site().signing_key(BETA_KEY);
    let signed = sign(&key, &first, "POST", "/v1/calls", &[kind], body.as_bytes());
    // The name under which it was signed, whatever port the gateway has by then.
    let mut headers = vec![kind, ("host", first.as_str())];
    headers.extend(signed.iter().map(|(name, value)| (*name, value.as_str())));
    let send = |gateway: &Gateway| {
        let mut carrier = gateway.stranger();
        carrier
            .request("POST", "/v1/calls", &headers, body.as_bytes())
            .unwrap()
    };
    let accepted = send(&gateway);
    assert_eq!(
        (accepted.status, &accepted.json()["status"]),
        (200, &json!("ok"))
    );
    let again = send(&gateway);
    assert_eq!(
        (again.status, &again.json()["refusal"]["code"]),
        (401, &json!("signature_stale"))
    );
    gateway.kill();
    let after = send(&machine.start());
    assert_eq!(
        (after.status, &after.json()["refusal"]["code"]),
        (401, &json!("signature_stale"))
    );
    assert_eq!(machine.effects(), ["once"]);
}

//! The ways in: plain HTTP and MCP of both eras; what is refused, how, and what it leaves in the log.

use countersign_evidence::tpm;
use countersign_record::binding::{Binding, FreshStatement};
use countersign_record::body::EventKind;
use countersign_record::cbor::Cbor as _;
use countersign_record::digest::Nonce;
use countersign_record::entry::{Body, Entry};
use countersign_record::evidence::TpmEvidence;
use countersign_tests::auditor::Log;
use countersign_tests::client::{Client, Response, sign};
use countersign_tests::machine::{Gateway, Machine};
use countersign_tests::site::BETA_KEY;
use serde_json::{Value, json};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

fn started() -> (Machine, Gateway) {
    let machine = Machine::enrolled();
    let gateway = machine.start();
    (machine, gateway)
}

const JSON: (&str, &str) = ("content-type", "application/json");

#[test]
fn a_body_over_the_limit_is_refused_and_not_read_to_its_end() {
    let (machine, gateway) = started();
    let body =
        json!({ "capability": "effects.append", "arguments": { "line": "x".repeat(1 << 20) } });
    let response = gateway.alpha().call_with(body).map(|a| a.status);
    // The gateway may answer and close while the body is still being written.
    assert!(response.is_err() || response.is_ok_and(|status| status == 413));
    assert!(
        gateway
            .alpha()
            .call("effects.read", json!({ "line": "small" }))
            .unwrap()
            .is_ok()
    );
    assert!(machine.effects().is_empty());
}

#[test]
fn bodies_that_are_not_one_strict_json_object_are_refused() {
    let (machine, gateway) = started();
    let mut alpha = gateway.alpha();
    let bodies: [&[u8]; 9] = [
        b"",
        b"not json",
        b"[]",
        b"{\"capability\":\"effects.append\"",
        b"{\"capability\":\"effects.append\",\"capability\":\"effects.read\",\"arguments\":{\"line\":\"a\"}}",
        b"{\"capability\":\"effects.append\",\"arguments\":{\"line\":\"a\",\"line\":\"b\"}}",
        b"{\"capability\":\"effects.append\",\"arguments\":{\"line\":\"a\"},\"budget\":1}",
        b"{\"capability\":\"effects.append\",\"arguments\":{\"line\":\"\xff\"}}",
        b"{\"capability\":\"effects.append\",\"arguments\":[\"a\"]}",
    ];
    for body in bodies {
        let answer = alpha.call_bytes(body).unwrap();
        let shown = String::from_utf8_lossy(body);
        assert_eq!(
            (answer.status, answer.code()),
            (400, "malformed_request"),
            "{shown}"
        );
        assert!(answer.digest().is_none());
    }
    assert!(machine.effects().is_empty());
}

#[test]
fn a_number_that_cannot_be_judged_exactly_is_refused() {
    let (machine, gateway) = started();
    let body = b"{\"capability\":\"effects.append\",\"arguments\":{\"line\":123456789012345678901234567890}}";
    let answer = gateway.alpha().call_bytes(body).unwrap();
    assert_eq!(
        (answer.status, answer.code()),
        (400, "unrepresentable_number")
    );
    assert!(machine.effects().is_empty());
}

#[test]
fn refusals_of_known_callers_are_recorded_with_their_code() {
    let (machine, gateway) = started();
    let mut alpha = gateway.alpha();
    let call = |capability: &str, arguments: Value| json!({ "capability": capability, "arguments": arguments });
    let cases = [
        (call("effects.nothing", json!({})), "unknown_capability"),
        (
            call("effects.unregistered", json!({})),
            "unknown_capability",
        ),
        (call("effects.append", json!({})), "invalid_arguments"),
        (
            call("effects.append", json!({ "line": 1 })),
            "invalid_arguments",
        ),
        (
            call("effects.append", json!({ "line": "a\nb" })),
            "invalid_arguments",
        ),
        (
            call("effects.append", json!({ "line": "a", "more": 1 })),
            "invalid_arguments",
        ),
        (
            call("effects.crash", json!({ "line": "a", "when": "now" })),
            "invalid_arguments",
        ),
        (
            call("effects.append", json!({ "line": 1.5 })),
            "invalid_arguments",
        ),
    ];
    let mut receipts = Vec::new();
    for (body, code) in cases {
        let answer = alpha.call_with(body.clone()).unwrap();
        assert_eq!(answer.code(), code, "{body}");
        receipts.push(answer.receipt().unwrap().to_owned());
    }
    let northern = gateway
        .beta()
        .call("effects.northern", json!({ "line": "a" }))
        .unwrap();
    assert_eq!(northern.code(), "policy_denied");
    receipts.push(northern.receipt().unwrap().to_owned());
    assert!(machine.effects().is_empty());
    let verdict = machine.auditor().verify_with(&gateway.export(), &receipts);
    verdict.assert_verified();
    assert_eq!(
        verdict.count("denied"),
        u64::try_from(receipts.len()).unwrap()
    );
}

/// A machine whose site names somebody to ask, and for one tool somebody else.
fn with_contacts() -> (Machine, Gateway) {
    let machine = Machine::enrolled();
    let site = machine.site();
    site.write("refusals.toml", "contact = \"desk@north.example\"\n");
    site.extend_capability("erase", "contact = \"officers@north.example\"");
    site.build();
    let gateway = machine.start();
    (machine, gateway)
}

#[test]
fn every_refusal_of_a_known_caller_says_whom_to_ask_and_none_of_a_stranger_does() {
    let (machine, gateway) = with_contacts();
    let mut alpha = gateway.alpha();
    let line = json!({ "line": "a" });
    for (capability, arguments, contact) in [
        ("effects.nothing", line.clone(), "desk@north.example"),
        ("effects.append", json!({}), "desk@north.example"),
        ("effects.erase", json!({}), "officers@north.example"),
        ("effects.erase", line.clone(), "officers@north.example"),
    ] {
        let answer = alpha.call(capability, arguments).unwrap();
        let refusal = &answer.body["refusal"];
        assert_eq!(refusal["contact"], contact, "{refusal}");
        assert_eq!(refusal.as_object().unwrap().len(), 5, "{refusal}");
    }
    let call = |arguments: Value| {
        let params = json!({ "name": "erase", "arguments": arguments });
        json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params })
    };
    let told = alpha.mcp(&call(json!({})), &[]).unwrap().json();
    let result = &told["result"];
    let refusal = &result["_meta"]["dev.countersign/refusal"];
    assert_eq!(refusal["contact"], "officers@north.example", "{told}");
    // It is the third refusal of this kind, and the sentence is what a model reads.
    let told = alpha.mcp(&call(json!({})), &[]).unwrap().json();
    let text = told["result"]["content"][0]["text"].as_str().unwrap();
    assert!(
        text.ends_with(" Whom to ask: officers@north.example"),
        "{told}"
    );
    let halted = alpha.mcp(&call(line.clone()), &[]).unwrap().json();
    let refusal = &halted["result"]["_meta"]["dev.countersign/refusal"];
    assert_eq!(refusal["code"], "approval_required", "{halted}");
    assert_eq!(refusal["contact"], "officers@north.example", "{halted}");
    let stranger = gateway.stranger().call("effects.append", line).unwrap();
    assert!(stranger.body["refusal"]["contact"].is_null());
    let malformed = alpha.call_bytes(b"{}").unwrap();
    assert_eq!(malformed.code(), "malformed_request");
    assert!(malformed.body["refusal"]["contact"].is_null());
    machine.expect_replay(&gateway.export());
}

#[test]
fn an_agent_sees_which_rules_fired_where_the_bundle_says_so_and_nowhere_else() {
    let machine = Machine::enrolled();
    let site = machine.site();
    site.extend_capability("northern", "tell_rules = true");
    site.extend_capability("append", "tell_rules = true");
    site.build();
    let gateway = machine.start();
    let mut beta = gateway.beta();
    let secret = "sesame-7f3a";
    let denied = beta
        .call("effects.northern", json!({ "line": secret }))
        .unwrap();
    let rules = &denied.body["refusal"]["rules"];
    assert_eq!(rules, &json!(["builtin:default-deny"]), "{}", denied.body);
    let broken = json!({ "line": format!("{secret}\n") });
    let told = beta.call("effects.append", broken.clone()).unwrap();
    let rules = &told.body["refusal"]["rules"];
    assert_eq!(rules, &json!(["constraint:alphabet"]), "{}", told.body);
    let quiet = beta.call("effects.slow", broken).unwrap();
    assert_eq!(quiet.code(), "invalid_arguments");
    assert!(
        quiet.body["refusal"].get("rules").is_none(),
        "{}",
        quiet.body
    );
    for answer in [denied, told, quiet] {
        assert!(!answer.body["refusal"].to_string().contains(secret));
    }
}

#[test]
fn strangers_are_refused_counted_in_one_event_and_leave_nothing_else() {
    let (machine, mut gateway) = started();
    let mut stranger = gateway.stranger();
    for _ in 0..5 {
        let answer = stranger
            .call("effects.append", json!({ "line": "x" }))
            .unwrap();
        assert_eq!((answer.status, answer.code()), (401, "unauthenticated"));
    }
    let token = [
        ("authorization", "Bearer 00112233445566778899aabbccddeeff"),
        JSON,
    ];
    let body = b"{\"capability\":\"effects.append\",\"arguments\":{\"line\":\"x\"}}";
    assert_eq!(
        stranger
            .request("POST", "/v1/calls", &token, body)
            .unwrap()
            .status,
        401
    );
    assert!(gateway.stop().success(), "{}", gateway.process.said());
    let gateway = machine.start();
    let export = gateway.export();
    machine.auditor().verify(&export).assert_verified();
    let log = Log::read(&export);
    let mut counts = Vec::new();
    for entry in &log.0 {
        if let Body::Event(event) = &entry.payload.body
            && event.kind == EventKind::Unauthenticated
        {
            counts.push(event.count);
        }
    }
    assert_eq!(counts, [6]);
    assert_eq!(log.decisions().count(), 0);
    assert!(machine.effects().is_empty());
}

#[test]
fn within_the_machine_no_number_of_strangers_makes_anybody_wait() {
    let (_machine, gateway) = started();
    let mut stranger = gateway.stranger();
    let mut statuses = (0..1200).map(|_| {
        let answer = stranger.call("effects.append", json!({ "line": "x" }));
        answer.unwrap().status
    });
    assert!(statuses.all(|status| status == 401));
    let known = gateway.alpha().call("effects.read", json!({ "line": "x" }));
    assert!(known.unwrap().is_ok());
}

#[test]
fn a_signed_request_is_taken_once_and_only_as_it_was_signed() {
    let (machine, gateway) = started();
    let key = machine.site().signing_key(BETA_KEY);
    let body =
        json!({ "capability": "effects.append", "arguments": { "line": "signed" } }).to_string();
    let signed = sign(
        &key,
        gateway.authority(),
        "POST",
        "/v1/calls",
        &[JSON],
        body.as_bytes(),
    );
    let mut headers = vec![JSON];
    headers.extend(signed.iter().map(|(n, v)| (*n, v.as_str())));
    let mut stranger = gateway.stranger();
    let mut send = |body: &str| {
        stranger
            .request("POST", "/v1/calls", &headers, body.as_bytes())
            .unwrap()
    };
    let code = |r: &Response| {
        r.json()["refusal"]["code"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let changed = send(&body.replace("signed", "forged"));
    assert_eq!(
        (changed.status, code(&changed).as_str()),
        (401, "signature_invalid")
    );
    assert_eq!(send(&body).json()["status"], "ok");
    let replayed = send(&body);
    assert_eq!(
        (replayed.status, code(&replayed).as_str()),
        (401, "signature_stale")
    );
    assert_eq!(machine.effects(), ["signed"]);
}

#[test]
fn a_foreign_name_or_origin_is_refused() {
    let (_machine, gateway) = started();
    let mut stranger = gateway.stranger();
    let mut status = |headers: &[(&str, &str)]| {
        stranger
            .request("GET", "/healthz", headers, b"")
            .unwrap()
            .status
    };
    assert_eq!(status(&[]), 200);
    assert_eq!(status(&[("host", "evil.example")]), 403);
    assert_eq!(status(&[("host", "127.0.0.1.evil.example")]), 403);
    assert_eq!(status(&[("origin", "http://evil.example")]), 403);
    assert_eq!(status(&[("origin", "null")]), 403);
}

#[test]
fn health_readiness_and_the_interface_are_told_to_anyone() {
    let (_machine, gateway) = started();
    let mut stranger = gateway.stranger();
    let health = stranger.get("/healthz").unwrap().json();
    assert_eq!(health["state"], "serving");
    assert_eq!(health["gateway"], gateway.id);
    assert_eq!(stranger.get("/readyz").unwrap().status, 200);
    let interface = stranger.get("/openapi.json").unwrap().json();
    assert!(interface["paths"]["/v1/calls"]["post"].is_object());
    assert_eq!(stranger.get("/v1/export").unwrap().status, 401);
    assert_eq!(stranger.get("/nothing").unwrap().status, 404);
    assert_eq!(stranger.get("/v1/calls").unwrap().status, 405);
}

#[test]
fn only_exporters_get_an_export() {
    let (_machine, gateway) = started();
    assert_eq!(gateway.alpha().get("/v1/export").unwrap().status, 401);
    assert_eq!(gateway.beta().get("/v1/export").unwrap().status, 401);
    assert_eq!(gateway.officer().get("/v1/export").unwrap().status, 200);
}

#[test]
fn answers_say_where_their_time_went() {
    let (_machine, gateway) = started();
    let mut alpha = gateway.alpha();
    let body = b"{\"capability\":\"effects.read\",\"arguments\":{\"line\":\"x\"}}";
    let response = alpha.request("POST", "/v1/calls", &[JSON], body).unwrap();
    let timings = response.header("server-timing").unwrap();
    for part in ["decide;dur=", "seal;dur=", "upstream;dur=", "release;dur="] {
        assert!(timings.contains(part), "{timings}");
    }
}

// MCP.

fn rpc(id: u64, method: &str, params: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
}

fn names(list: &Value) -> Vec<String> {
    let tools = list["result"]["tools"]
        .as_array()
        .unwrap_or_else(|| panic!("{list}"));
    tools
        .iter()
        .map(|t| t["name"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_client_of_the_initialize_era_opens_a_session_lists_and_calls() {
    let (machine, gateway) = started();
    let mut alpha = gateway.alpha();
    let about = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "t", "version": "1" } });
    let opened = alpha.mcp(&rpc(1, "initialize", about), &[]).unwrap();
    assert_eq!(opened.json()["result"]["protocolVersion"], "2025-11-25");
    let session = opened.header("mcp-session-id").unwrap().to_owned();
    let headers = [
        ("mcp-session-id", session.as_str()),
        ("mcp-protocol-version", "2025-11-25"),
    ];
    let told = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
    assert_eq!(alpha.mcp(&told, &headers).unwrap().status, 202);
    let list = alpha
        .mcp(&rpc(2, "tools/list", json!({})), &headers)
        .unwrap()
        .json();
    assert!(names(&list).contains(&"append".to_owned()));
    assert!(list["result"]["resultType"].is_null());
    let call = json!({ "name": "append", "arguments": { "line": "by session" } });
    let answer = alpha
        .mcp(&rpc(3, "tools/call", call), &headers)
        .unwrap()
        .json();
    assert_eq!(answer["result"]["content"][0]["text"], "by session");
    let receipt = &answer["result"]["_meta"]["dev.countersign/decision"]["receipt"];
    assert_eq!(machine.effects(), ["by session"]);
    let receipts = [receipt.as_str().unwrap().to_owned()];
    machine
        .auditor()
        .verify_with(&gateway.export(), &receipts)
        .assert_verified();
}

#[test]
fn a_client_of_the_stateless_era_discovers_lists_and_calls_with_its_signature() {
    let (machine, gateway) = started();
    let mut beta = gateway.beta();
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let version = ("mcp-protocol-version", "2026-07-28");
    let found = beta.mcp(
        &rpc(1, "server/discover", json!({ "_meta": meta })),
        &[version, ("mcp-method", "server/discover")],
    );
    let found = found.unwrap().json();
    assert!(
        found["result"]["supportedVersions"]
            .to_string()
            .contains("2026-07-28"),
        "{found}"
    );
    let list = beta
        .mcp(
            &rpc(2, "tools/list", json!({ "_meta": meta })),
            &[version, ("mcp-method", "tools/list")],
        )
        .unwrap()
        .json();
    assert_eq!(list["result"]["resultType"], "complete");
    let call = json!({ "name": "append", "arguments": { "line": "stateless" }, "_meta": meta });
    let headers = [
        version,
        ("mcp-method", "tools/call"),
        ("mcp-name", "append"),
    ];
    let answer = beta
        .mcp(&rpc(3, "tools/call", call), &headers)
        .unwrap()
        .json();
    assert_eq!(
        answer["result"]["content"][0]["text"], "stateless",
        "{answer}"
    );
    assert_eq!(machine.effects(), ["stateless"]);
    let verdict = machine.auditor().verify(&gateway.export());
    verdict.assert_verified();
    assert_eq!(verdict.state("caller-proofs"), "pass");
}

#[test]
fn each_agent_is_shown_the_tools_that_policy_could_permit_it() {
    let (_machine, gateway) = started();
    let list = |mut client: Client| {
        names(
            &client
                .mcp(&rpc(1, "tools/list", json!({})), &[])
                .unwrap()
                .json(),
        )
    };
    let (alpha, beta) = (list(gateway.alpha()), list(gateway.beta()));
    assert!(alpha.contains(&"northern".to_owned()), "{alpha:?}");
    assert!(!beta.contains(&"northern".to_owned()), "{beta:?}");
    assert!(!alpha.contains(&"unregistered".to_owned()), "{alpha:?}");
    assert_eq!(alpha.len(), beta.len() + 1);
    assert_eq!(
        gateway
            .stranger()
            .mcp(&rpc(1, "tools/list", json!({})), &[])
            .unwrap()
            .status,
        401
    );
}

#[test]
fn mcp_methods_that_are_not_carried_are_refused_by_name() {
    let (machine, gateway) = started();
    let mut alpha = gateway.alpha();
    for (method, params) in [
        ("resources/read", json!({ "uri": "file:///etc/passwd" })),
        ("prompts/get", json!({ "name": "p" })),
        ("sampling/createMessage", json!({})),
        ("completion/complete", json!({})),
        ("tasks/get", json!({ "taskId": "t" })),
    ] {
        let answer = alpha.mcp(&rpc(9, method, params), &[]).unwrap().json();
        assert_eq!(answer["error"]["code"], -32601, "{method}: {answer}");
        assert_eq!(answer["id"], 9);
    }
    assert_eq!(
        alpha.mcp(&rpc(10, "ping", json!({})), &[]).unwrap().json()["result"],
        json!({})
    );
    assert!(machine.effects().is_empty());
}

#[test]
fn mcp_headers_that_contradict_the_body_are_refused() {
    let (machine, gateway) = started();
    let mut alpha = gateway.alpha();
    let call = rpc(
        1,
        "tools/call",
        json!({ "name": "append", "arguments": { "line": "x" } }),
    );
    for header in [("mcp-method", "tools/list"), ("mcp-name", "read")] {
        let response = alpha.mcp(&call, &[header]).unwrap();
        assert_eq!(response.status, 400);
        assert_eq!(response.json()["error"]["code"], -32020);
    }
    assert!(machine.effects().is_empty());
}

#[test]
fn mcp_messages_that_are_malformed_are_refused_and_reach_no_tool() {
    let (machine, gateway) = started();
    let mut alpha = gateway.alpha();
    let call = rpc(
        1,
        "tools/call",
        json!({ "name": "append", "arguments": { "line": "x" } }),
    );
    let bodies = [
        format!("[{call}]"),
        call.to_string().replace("\"2.0\"", "\"1.0\""),
        call.to_string()
            .replace("\"line\":\"x\"", "\"line\":\"x\",\"line\":\"y\""),
        call.to_string().replace("\"id\":1", "\"id\":null"),
        "{}".to_owned(),
    ];
    for body in bodies {
        let response = alpha
            .request("POST", "/mcp/effects", &[JSON], body.as_bytes())
            .unwrap();
        assert_eq!(response.status, 400, "{body}");
        assert!(response.json()["error"]["code"].is_i64(), "{body}");
    }
    let elsewhere = alpha.request("POST", "/mcp/nothing", &[JSON], call.to_string().as_bytes());
    assert_eq!(elsewhere.unwrap().status, 404);
    assert!(machine.effects().is_empty());
}

#[test]
fn a_refusal_over_mcp_is_a_tool_error_that_a_model_can_act_on() {
    let (_machine, gateway) = started();
    let call = json!({ "name": "erase", "arguments": { "line": "x" } });
    let answer = gateway
        .alpha()
        .mcp(&rpc(1, "tools/call", call), &[])
        .unwrap()
        .json();
    let result = &answer["result"];
    assert_eq!(result["isError"], true);
    let refusal = &result["_meta"]["dev.countersign/refusal"];
    assert_eq!(refusal["code"], "approval_required");
    assert_eq!(refusal["retry"], "after_approval");
    assert_eq!(result["structuredContent"], json!(null));
    assert!(result["_meta"]["dev.countersign/decision"]["digest"].is_string());
}

// Fresh evidence.

#[test]
fn fresh_evidence_answers_the_nonce_and_is_accepted_by_the_verifiers_code() {
    let (machine, gateway) = started();
    let nonce = "5e".repeat(32);
    let body = gateway
        .stranger()
        .get(&format!("/attestation?nonce={nonce}"))
        .unwrap()
        .json();
    let bytes = |name: &str| STANDARD.decode(body[name].as_str().unwrap()).unwrap();
    let statement = FreshStatement::from_bytes(&bytes("statement")).unwrap();
    assert_eq!(statement.nonce, Nonce([0x5e; 32]));
    let base = bytes("base");
    let base = Entry::parse(&base).unwrap();
    assert_eq!(base.digest(), statement.base);
    let Body::Base(base) = base.body() else {
        panic!("not a base")
    };
    let binding = Binding::from_bytes(&base.binding.0).unwrap();
    let found = TpmEvidence::from_bytes(&bytes("evidence")).unwrap();
    let appraisal = appraise(&found, &binding, statement.qualifying().0);
    let failures: Vec<_> = appraisal.failures().collect();
    assert!(failures.is_empty(), "{failures:?}");
    assert!(appraisal.verified().unwrap().counter() >= binding.counter);
    let of_other_nonce = FreshStatement {
        nonce: Nonce([0; 32]),
        ..statement
    };
    let other = appraise(&found, &binding, of_other_nonce.qualifying().0);
    assert!(other.failures().next().is_some());
    drop(machine);
}

fn appraise(found: &TpmEvidence, binding: &Binding, qualifying: [u8; 32]) -> tpm::TpmAppraisal {
    let presented = tpm::TpmEvidence {
        ak_public: &found.ak_public.0,
        quote: &found.quote.0,
        quote_signature: &found.quote_signature.0,
        pcrs: found.pcrs.iter().map(|p| (p.index, p.value)).collect(),
        nv_public: &found.nv_public.0,
        certify: &found.certify.0,
        certify_signature: &found.certify_signature.0,
        event_log: None,
    };
    let key = tpm::ReleaseKey::parse(&binding.release_key.0).unwrap();
    let expected = tpm::Expected {
        profile: tpm::TpmProfile::Swtpm,
        qualifying: tpm::Qualifying(qualifying),
        attestation_key: tpm::TpmName(binding.ak_name.0.as_slice().try_into().unwrap()),
        pcrs: tpm::PcrSet::new(binding.pcrs.iter().copied()).unwrap(),
        counter_policy: tpm::policy_authorize_digest(&key),
        firmware_floor: None,
    };
    tpm::appraise_tpm(&presented, &expected)
}

#[test]
fn fresh_evidence_needs_a_nonce_and_is_given_only_so_often() {
    let (_machine, gateway) = started();
    let path = format!("/attestation?nonce={}", "01".repeat(32));
    assert_eq!(gateway.stranger().get("/attestation").unwrap().status, 400);
    assert_eq!(
        gateway
            .stranger()
            .get("/attestation?nonce=01")
            .unwrap()
            .status,
        400
    );
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let (mut client, path) = (gateway.stranger(), path.clone());
            std::thread::spawn(move || client.get(&path).unwrap())
        })
        .collect();
    let responses: Vec<_> = threads.into_iter().map(|t| t.join().unwrap()).collect();
    assert!(responses.iter().any(|r| r.status == 200));
    let refused = responses
        .iter()
        .find(|r| r.status == 429)
        .expect("one is refused");
    assert!(refused.header("retry-after").is_some());
}

//! MCP as clients meet it: sessions, calls that wait for people, calls that are taken back, the joint path.

use countersign_record::body::Effect;
use countersign_record::commitment::Field;
use countersign_tests::auditor::Log;
use countersign_tests::client::{Client, Response};
use countersign_tests::gate::Gate;
use countersign_tests::machine::{Gateway, Machine};
use serde_json::{Value, json};

const TAKES_BOTH: [(&str, &str); 2] = [
    ("content-type", "application/json"),
    ("accept", "application/json, text/event-stream"),
];

fn started() -> (Machine, Gateway) {
    let machine = Machine::enrolled();
    let gateway = machine.start();
    (machine, gateway)
}

fn rpc(id: u64, method: &str, params: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
}

fn call(id: u64, tool: &str, line: &str) -> Value {
    rpc(
        id,
        "tools/call",
        json!({ "name": tool, "arguments": { "line": line } }),
    )
}

/// A session whose client can do this.
fn session(client: &mut Client, capabilities: &Value) -> String {
    let about = json!({ "protocolVersion": "2025-11-25", "capabilities": capabilities });
    let opened = client.mcp(&rpc(0, "initialize", about), &[]).unwrap();
    opened.header("mcp-session-id").unwrap().to_owned()
}

fn in_session(client: &mut Client, session: &str, message: &Value) -> Response {
    client.mcp(message, &[("mcp-session-id", session)]).unwrap()
}

fn without_session(client: &mut Client, message: Value) -> Value {
    let able = json!({ "elicitation": { "url": {} } });
    let answer = client.stateless("/mcp/effects", &able, message, &[]);
    answer.unwrap().json()
}

/// What the page of an address says, to somebody who is nobody here.
fn page(gateway: &Gateway, url: &str) -> (u16, String) {
    let (_, path) = url.split_once(gateway.authority()).unwrap();
    let page = gateway.stranger().get(path).unwrap();
    let text = String::from_utf8(page.body.clone()).unwrap();
    (page.status, text)
}

fn approve(gateway: &Gateway) {
    let list = gateway.approve(&["list"]);
    let id = list.split_whitespace().next().unwrap().to_owned();
    let _shown = gateway.approve(&["yes", &id]);
}

#[test]
fn a_halted_call_is_told_by_an_address_inside_its_result_and_goes_on_once_approved() {
    let (machine, gateway) = started();
    let mut alpha = gateway.alpha();
    let halted = without_session(&mut alpha, call(1, "erase", "gone"));
    let result = &halted["result"];
    assert_eq!(result["resultType"], "input_required", "{halted}");
    let asked = &result["inputRequests"]["approval"];
    assert_eq!(asked["method"], "elicitation/create");
    assert_eq!(asked["params"]["mode"], "url");
    let url = asked["params"]["url"].as_str().unwrap().to_owned();
    let (status, text) = page(&gateway, &url);
    assert_eq!(status, 200);
    assert!(text.contains("nobody has given their word"), "{text}");
    assert!(!text.contains("gone"), "{text}");
    approve(&gateway);
    assert!(page(&gateway, &url).1.contains("One person has approved"));
    let mut again = call(2, "erase", "gone");
    again["params"]["requestState"] = result["requestState"].clone();
    again["params"]["inputResponses"] = json!({ "approval": { "action": "accept" } });
    let done = without_session(&mut alpha, again);
    assert_eq!(done["result"]["content"][0]["text"], "gone", "{done}");
    assert_eq!(machine.effects(), ["gone"]);
    assert_eq!(page(&gateway, &url).0, 404);
    machine
        .auditor()
        .verify(&gateway.export())
        .assert_verified();
}

#[test]
fn a_halted_call_is_told_by_an_address_in_an_error_to_a_client_with_a_session() {
    let (machine, gateway) = started();
    let mut alpha = gateway.alpha();
    let opens = session(&mut alpha, &json!({ "elicitation": { "url": {} } }));
    let halted = in_session(&mut alpha, &opens, &call(1, "erase", "gone")).json();
    assert_eq!(halted["error"]["code"], -32042, "{halted}");
    let asked = &halted["error"]["data"]["elicitations"][0];
    assert_eq!(page(&gateway, asked["url"].as_str().unwrap()).0, 200);
    // One that opens no addresses gets the same halted call as a refusal that a model can read.
    let plain = session(&mut alpha, &json!({}));
    let told = in_session(&mut alpha, &plain, &call(2, "erase", "gone")).json();
    assert_eq!(told["result"]["isError"], true, "{told}");
    approve(&gateway);
    let done = in_session(&mut alpha, &opens, &call(3, "erase", "gone")).json();
    assert_eq!(done["result"]["content"][0]["text"], "gone", "{done}");
    assert_eq!(machine.effects(), ["gone"]);
    machine
        .auditor()
        .verify(&gateway.export())
        .assert_verified();
}

#[test]
fn a_page_of_nothing_says_so_and_no_more() {
    let (_machine, gateway) = started();
    for path in [
        "/approvals/x".to_owned(),
        format!("/approvals/{}", "07".repeat(32)),
    ] {
        assert_eq!(gateway.stranger().get(&path).unwrap().status, 404, "{path}");
    }
}

#[test]
fn a_session_is_its_callers_and_ends_when_it_is_deleted() {
    let (_machine, gateway) = started();
    let mut alpha = gateway.alpha();
    let opened = session(&mut alpha, &json!({}));
    let list = rpc(1, "tools/list", json!({}));
    assert_eq!(in_session(&mut alpha, &opened, &list).status, 200);
    for message in [&list, &call(2, "read", "x")] {
        let foreign = in_session(&mut gateway.beta(), &opened, message);
        assert_eq!(foreign.status, 404);
    }
    let ended = |client: &mut Client| {
        let header = [("mcp-session-id", opened.as_str())];
        client
            .request("DELETE", "/mcp/effects", &header, b"")
            .unwrap()
    };
    assert_eq!(ended(&mut gateway.beta()).status, 404);
    assert_eq!(ended(&mut alpha).status, 204);
    for message in [&list, &call(3, "read", "x")] {
        assert_eq!(in_session(&mut alpha, &opened, message).status, 404);
    }
    assert_eq!(ended(&mut alpha).status, 404);
}

#[test]
fn a_stream_of_a_session_needs_its_caller_and_its_session() {
    let (_machine, gateway) = started();
    let mut alpha = gateway.alpha();
    let opened = session(&mut alpha, &json!({}));
    let header = [("mcp-session-id", opened.as_str()), TAKES_BOTH[1]];
    let status = |mut client: Client, headers: &[(&str, &str)]| {
        client
            .request("GET", "/mcp/effects", headers, b"")
            .unwrap()
            .status
    };
    assert_eq!(status(gateway.beta(), &header), 404);
    assert_eq!(status(gateway.stranger(), &header), 401);
    assert_eq!(status(gateway.alpha(), &[TAKES_BOTH[1]]), 405);
}

#[test]
fn a_call_that_is_taken_back_is_recorded_as_such_with_an_unknown_effect() {
    let (machine, gateway) = started();
    let gate = Gate::at(&machine.tools());
    let (mut alpha, mut other) = (gateway.alpha(), gateway.alpha());
    let opened = session(&mut alpha, &json!({}));
    let header = [("mcp-session-id", opened.as_str())];
    let headers = [TAKES_BOTH[0], ("accept", "application/json"), header[0]];
    let body = call(7, "slow", "late").to_string();
    alpha
        .send("POST", "/mcp/effects", &headers, body.as_bytes())
        .unwrap();
    let held = gate.next();
    let back = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 7 } });
    // Another agent's word, and a word from outside of the session, take nothing back.
    let foreign = gateway.beta().mcp(&back, &header).unwrap();
    assert_eq!(foreign.status, 202);
    assert_eq!(other.mcp(&back, &[]).unwrap().status, 202);
    assert_eq!(other.mcp(&back, &header).unwrap().status, 202);
    let told = alpha.receive().unwrap().json();
    let refusal = &told["result"]["_meta"]["dev.countersign/refusal"];
    assert_eq!(refusal["code"], "cancelled", "{told}");
    held.release();
    let export = gateway.export();
    machine.auditor().verify(&export).assert_verified();
    let log = Log::read(&export);
    let (_, decision) = log.decisions().last().unwrap();
    assert_eq!(decision.cancelled.as_deref(), Some("cancelled"));
    assert_eq!(decision.effect, Effect::Unknown);
    // What the server had told by then is in the record, although there is no answer.
    let (logged, _) = log.decisions().last().unwrap();
    let told = logged.disclosed(Field::Transcript).unwrap();
    assert!(told.contains("half done"), "{told}");
}

#[test]
fn the_joint_path_has_the_tools_of_all_adapters_under_names_that_clients_take() {
    let (machine, gateway) = started();
    let mut alpha = gateway.alpha();
    let mut post = |message: &Value| {
        let body = message.to_string();
        alpha
            .request("POST", "/mcp", &TAKES_BOTH, body.as_bytes())
            .unwrap()
            .json()
    };
    let list = post(&rpc(1, "tools/list", json!({})));
    let names: Vec<&str> = list["result"]["tools"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tool| tool["name"].as_str().unwrap())
        .collect();
    assert!(names.contains(&"effects__append"), "{names:?}");
    assert!(names.iter().all(|name| name.starts_with("effects__")));
    let done = post(&call(2, "effects__append", "joined"));
    assert_eq!(done["result"]["content"][0]["text"], "joined", "{done}");
    let unknown = post(&call(3, "append", "x"));
    let refusal = &unknown["result"]["_meta"]["dev.countersign/refusal"];
    assert_eq!(refusal["code"], "unknown_capability", "{unknown}");
    assert_eq!(machine.effects(), ["joined"]);
    machine
        .auditor()
        .verify(&gateway.export())
        .assert_verified();
}

//! What people complain about in other gateways, played here: the complaint's case is denied, and its benign twin works.
//!
//! Complaints that have a test of their own are printed with its name; those that are about formats, evidence or work, and
//! not about a call, stand in `docs/known-failures.md` alone.

use super::{Scenario, call, expect_denied, recorded, report};
use countersign_record::commitment::Field;
use countersign_tests::auditor::Log;
use countersign_tests::client::{Answer, Client};
use countersign_tests::fixture;
use countersign_tests::machine::{Gateway, Machine};
use countersign_tests::site::{ALPHA, SiteOptions};
use serde_json::{Value, json};
use std::fs;

const POLICIES: &str = r#"
@id("no-drops")
forbid (principal, action == Action::"effects.append", resource)
when { context.input.line like "*drop*" };

@id("cannot-be-evaluated")
forbid (principal, action == Action::"effects.scarce", resource)
when { context.time_ms * 9223372036854775807 > 0 };
"#;

/// Complaints that another test plays.
const ELSEWHERE: [(&str, &str); 5] = [
    (
        "callers share state over a pooled session",
        "principals_on_one_upstream_share_no_session_no_answer_and_no_notification",
    ),
    (
        "unknown members of a result are stripped",
        "a_result_is_kept_with_unknown_members_and_white_space",
    ),
    (
        "malformed frames of an upstream are passed on",
        "an_upstream_over_stdio_that_attacks_is_contained_and_others_notice_nothing",
    ),
    (
        "a tool is compared at first contact alone",
        "a_tool_that_changed_is_held_and_shown_and_only_a_signed_bundle_releases_it",
    ),
    (
        "software evidence passes for hardware",
        "the_default_trust_refuses_what_a_software_tpm_says",
    ),
];

fn machine() -> Machine {
    let machine = Machine::new(&SiteOptions::default());
    let site = machine.site();
    let policies = fs::read_to_string(site.file("policies/tests.cedar")).unwrap();
    site.write("policies/tests.cedar", &(policies + POLICIES));
    let dead = "kind = \"mcp-stdio\"\ncommand = \"/bin/false\"\nargs = []\nsandbox = \"none\"";
    site.add_upstream("dead", dead, &fixture("hostile.json"));
    site.build();
    machine.enrol(1);
    machine
}

fn rpc(method: &str, params: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params })
}

/// Names of the tools at a path.
fn listed(client: &mut Client, path: &str) -> Vec<String> {
    let body = rpc("tools/list", json!({})).to_string();
    let headers = [("content-type", "application/json")];
    let answer = client.request("POST", path, &headers, body.as_bytes());
    let tools = answer.unwrap().json()["result"]["tools"].clone();
    let tools = tools.as_array().unwrap().iter();
    tools
        .map(|tool| tool["name"].as_str().unwrap().to_owned())
        .collect()
}

/// Complaints about calls, each of which leaves a record.
fn recorded_ones(gateway: &Gateway) -> Vec<(&'static str, Answer, Answer)> {
    let (mut alpha, mut beta) = (gateway.alpha(), gateway.beta());
    let mut out = Vec::new();
    let drops = call(&mut alpha, "effects.append", "drop everything");
    let keeps = call(&mut alpha, "effects.append", "keep everything");
    out.push(("authorization does not see arguments", drops, keeps));
    let broken = call(&mut alpha, "effects.scarce", "x");
    let sound = call(&mut alpha, "effects.read", "x");
    out.push(("a rule that fails lets the call through", broken, sound));
    // The list has what may be called, and what is not on it is denied all the same.
    let tool = "northern".to_owned();
    assert!(!listed(&mut beta, "/mcp/effects").contains(&tool));
    assert!(listed(&mut alpha, "/mcp/effects").contains(&tool));
    let hidden = call(&mut beta, "effects.northern", "x");
    let shown = call(&mut alpha, "effects.northern", "x");
    out.push(("the list shows what may not be called", hidden, shown));
    // One upstream is dead; the others list and answer.
    let dead = call(&mut alpha, "dead.honest", "x");
    assert!(listed(&mut alpha, "/mcp").contains(&"effects__read".to_owned()));
    let alive = call(&mut alpha, "effects.read", "y");
    out.push(("one dead upstream takes all down", dead, alive));
    // Approved for one set of arguments, and sent with another.
    assert_eq!(
        call(&mut alpha, "effects.erase", "the draft").code(),
        "approval_required"
    );
    let list = gateway.approve(&["list"]);
    let id = list.split_whitespace().next().unwrap().to_owned();
    let _shown = gateway.approve(&["yes", &id]);
    let other = call(&mut alpha, "effects.erase", "everything");
    let this = call(&mut alpha, "effects.erase", "the draft");
    out.push(("an approval is not bound to arguments", other, this));
    out
}

/// Complaints about what is no call yet: refused before a caller is known or a call is read, so no record of its own.
fn unrecorded_ones(gateway: &Gateway) -> Vec<Scenario> {
    let mut alpha = gateway.alpha();
    let scenario = |name: &str, status: u16, expected: u16, benign: bool| Scenario {
        name: name.to_owned(),
        stopped: (status == expected).then(|| format!("status {status}")),
        benign,
    };
    let mut out = Vec::new();
    let twice = br#"{"capability":"effects.append","arguments":{"line":"a","line":"b"}}"#;
    let once = br#"{"capability":"effects.append","arguments":{"line":"a"}}"#;
    let status = alpha.call_bytes(twice).unwrap().status;
    let benign = alpha.call_bytes(once).unwrap().is_ok();
    out.push(scenario("two readers see two texts", status, 400, benign));
    let params = json!({ "name": "append", "arguments": { "line": "by header" } });
    let message = rpc("tools/call", params);
    let mut named = |name: &str| alpha.mcp(&message, &[("mcp-name", name)]).unwrap();
    let status = named("read").status;
    let benign = named("append").json()["result"]["content"][0]["text"] == "by header";
    out.push(scenario(
        "a header decides, not the body",
        status,
        400,
        benign,
    ));
    let foreign = |host: &str| {
        let mut client = gateway.alpha();
        let body = String::from_utf8_lossy(once).replace("\"a\"", "\"by name\"");
        let headers = [("content-type", "application/json"), ("host", host)];
        client.request("POST", "/v1/calls", &headers, body.as_bytes())
    };
    let status = foreign("evil.example").unwrap().status;
    let benign = foreign(gateway.authority()).unwrap().status == 200;
    out.push(scenario(
        "a page rebinds a name to the gateway",
        status,
        403,
        benign,
    ));
    for verb in ["GET", "DELETE", "POST"] {
        let ask = |client: &mut Client| {
            let body = rpc("tools/list", json!({})).to_string();
            let headers = [("content-type", "application/json")];
            let answer = client.request(verb, "/mcp/effects", &headers, body.as_bytes());
            answer.unwrap().status
        };
        let status = ask(&mut gateway.stranger());
        // Without a session there is nothing to listen to or to close; a known caller is told that.
        let benign = matches!(
            (verb, ask(&mut gateway.alpha())),
            ("POST", 200) | (_, 400 | 404 | 405)
        );
        out.push(scenario(
            &format!("a verb without authorization, {verb}"),
            status,
            401,
            benign,
        ));
    }
    out
}

#[test]
fn what_people_complain_about_in_other_gateways_is_denied_here_and_its_benign_twin_is_not() {
    let machine = machine();
    let mut gateway = machine.start();
    let played = recorded_ones(&gateway);
    let mut all: Vec<Scenario> = played
        .iter()
        .map(|(name, attack, benign)| Scenario::of(name, attack, benign))
        .collect();
    all.extend(unrecorded_ones(&gateway));
    let export = gateway.export();
    machine.auditor().verify(&export).assert_verified();
    let log = Log::read(&export);
    for (name, attack, benign) in &played {
        expect_denied(&log, attack);
        assert!(recorded(&log, benign).code.is_none(), "{name}");
        // A denial says who called, by a commitment that an auditor opens, and is a sentence with what to do next.
        let index = usize::try_from(attack.index().unwrap()).unwrap();
        let caller = log.0[index].disclosed(Field::Agent);
        assert!(
            caller.is_some_and(|urn| urn.starts_with("agent:tests/")),
            "{name}"
        );
        let refusal = &attack.body["refusal"];
        assert!(
            refusal["message"].as_str().unwrap().ends_with('.'),
            "{refusal}"
        );
        assert!(refusal["retry"].is_string(), "{refusal}");
    }
    let by = |index: u64| log.0[usize::try_from(index).unwrap()].disclosed(Field::Agent);
    assert_eq!(by(played[0].1.index().unwrap()).as_deref(), Some(ALPHA));
    let effects = machine.effects();
    assert_eq!(
        effects,
        ["keep everything", "the draft", "a", "by header", "by name"]
    );
    report(&all);
    for (complaint, test) in ELSEWHERE {
        println!("{complaint:<44}see {test}");
    }
    assert!(gateway.stop().success());
}

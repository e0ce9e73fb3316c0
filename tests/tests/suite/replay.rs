//! Replay of what a real gateway wrote: every kind of call, calls that crossed each other, and a day after a kill.

use countersign_tests::client::{Answer, Client};
use countersign_tests::machine::{Gateway, Machine};
use countersign_tests::process::outcome;
use countersign_tests::site::SiteOptions;
use serde_json::{Value, json};
use std::path::Path;

struct Replayed {
    code: i32,
    text: String,
    json: Value,
}

fn run(machine: &Machine, export: &Path, more: &[&str]) -> Replayed {
    let (trust, _) = machine.auditor().files();
    let command = |format: &[&str]| {
        let mut out = machine.command(&["replay"]);
        out.arg(export).arg("--trust").arg(&trust);
        outcome(out.args(more).args(format))
    };
    let (status, text, err) = command(&[]);
    let (again, json, _) = command(&["--json"]);
    assert_eq!(status, again);
    Replayed {
        code: status.code().unwrap(),
        json: serde_json::from_str(&json).unwrap_or_default(),
        text: text + &err,
    }
}

#[track_caller]
fn expect_match(machine: &Machine, export: &Path) -> Replayed {
    machine.auditor().verify(export).assert_verified();
    let replayed = run(machine, export, &[]);
    assert_eq!(replayed.code, 0, "{}", replayed.text);
    assert_eq!(replayed.json["status"], "match");
    replayed
}

/// A machine whose tool `read` has its results redacted.
fn machine() -> Machine {
    let machine = Machine::new(&SiteOptions::default());
    let path = machine.site().file("capabilities/read.toml");
    let text = std::fs::read_to_string(path).unwrap();
    let rule = "redactions = [ { name = \"mail\", pattern = '[a-z]+@[a-z.]+', replacement = \"[mail]\", apply = \"always\" } ]\ndestinations";
    machine.site().write(
        "capabilities/read.toml",
        &text.replacen("destinations", rule, 1),
    );
    machine.site().build();
    machine.enrol(1);
    machine
}

fn call(capability: &str, line: &str) -> Value {
    json!({ "capability": format!("effects.{capability}"), "arguments": { "line": line } })
}

fn keyed(capability: &str, line: &str, key: &str) -> Value {
    let mut out = call(capability, line);
    out["idempotency_key"] = key.into();
    out
}

fn approve(gateway: &Gateway, choice: &str) {
    let list = gateway.approve(&["list"]);
    let id = list.split_whitespace().next().unwrap().to_owned();
    let _shown = gateway.approve(&[choice, &id]);
}

/// Calls of every kind; what each ended with.
fn calls_of_every_kind(gateway: &Gateway) -> Vec<String> {
    let (mut alpha, mut beta) = (gateway.alpha(), gateway.beta());
    let mut codes = Vec::new();
    let mut ask = |client: &mut Client, body: Value| {
        let answer: Answer = client.call_with(body).unwrap();
        codes.push(answer.code().to_owned());
    };
    let mut labelled = call("append", "one");
    labelled["run"] = "a run".into();
    labelled["session"] = "a session".into();
    labelled["mode"] = "read_only".into();
    labelled["traceparent"] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into();
    labelled["lineage"] = json!({ "pack": "p", "model": "m", "confidence": 0.25 });
    ask(&mut alpha, labelled);
    ask(&mut beta, call("append", "two"));
    ask(&mut alpha, call("read", "write to ada@example.org"));
    ask(&mut alpha, call("read", "nobody"));
    ask(&mut beta, call("northern", "not for the south"));
    let mut high = call("read", "too high");
    high["mode"] = "destructive".into();
    ask(&mut alpha, high);
    ask(&mut alpha, call("nothing", "no such tool"));
    ask(&mut alpha, call("append", "two\nlines"));
    ask(
        &mut alpha,
        json!({ "capability": "effects.append", "arguments": { "line": 1.5 } }),
    );
    for n in 0..5 {
        ask(&mut alpha, call("scarce", &n.to_string()));
    }
    ask(&mut alpha, keyed("append", "once", "k"));
    ask(&mut alpha, keyed("append", "once", "k"));
    ask(&mut alpha, keyed("append", "other", "k"));
    ask(&mut alpha, keyed("read", "ada@example.org", "r"));
    ask(&mut alpha, keyed("read", "ada@example.org", "r"));
    ask(&mut alpha, call("erase", "gone"));
    ask(&mut alpha, call("erase", "gone"));
    approve(gateway, "yes");
    ask(&mut alpha, call("erase", "gone"));
    ask(&mut beta, keyed("erase", "stays", "e"));
    approve(gateway, "no");
    ask(&mut beta, keyed("erase", "stays", "e"));
    let rpc = |name: &str| json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": name, "arguments": { "line": "by mcp" } } });
    let about = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": { "protocolVersion": "2025-11-25", "capabilities": {} } });
    let opened = alpha.mcp(&about, &[]).unwrap();
    let opened = opened.header("mcp-session-id").unwrap().to_owned();
    for name in ["append", "nothing"] {
        let session = [("mcp-session-id", opened.as_str())];
        assert_eq!(alpha.mcp(&rpc(name), &session).unwrap().status, 200);
    }
    let mut crash = keyed("crash", "crash", "c");
    crash["arguments"]["when"] = "after".into();
    ask(&mut alpha, crash.clone());
    ask(&mut alpha, crash);
    codes
}

#[test]
fn every_kind_of_call_of_a_real_gateway_comes_out_the_same() {
    let machine = machine();
    let mut gateway = machine.start();
    let codes = calls_of_every_kind(&gateway);
    for code in [
        "policy_denied",
        "mode_too_high",
        "unknown_capability",
        "invalid_arguments",
        "rate_exceeded",
        "idempotency_conflict",
        "approval_required",
        "approval_refused",
        "outcome_unknown",
        "idempotency_outcome_unknown",
    ] {
        assert!(codes.iter().any(|c| c == code), "{code}: {codes:?}");
    }
    // The upstream of the crashed call may still be starting again.
    assert!(gateway.stop().success(), "{}", gateway.process.said());
    let mut gateway = machine.start();
    // The tool ends the gateway in the middle of a call; the next start settles it as unknown.
    let mut kill = keyed("kill", "killed", "x");
    kill["arguments"]["when"] = "after".into();
    assert!(gateway.alpha().call_with(kill.clone()).is_err());
    gateway.kill();
    let mut gateway = machine.start();
    let again = gateway.alpha().call_with(kill).unwrap();
    assert_eq!(again.code(), "idempotency_outcome_unknown");
    assert_eq!(
        gateway
            .alpha()
            .call_with(call("scarce", "9"))
            .unwrap()
            .code(),
        "rate_exceeded"
    );
    assert!(
        gateway
            .alpha()
            .call_with(keyed("append", "once", "k"))
            .unwrap()
            .is_ok()
    );
    let export = gateway.export();
    let replayed = expect_match(&machine, &export);
    let calls = replayed.json["calls"].as_array().unwrap();
    // Those over MCP, the one that was killed, and three after the restart.
    assert_eq!(calls.len(), codes.len() + 2 + 1 + 3, "{}", replayed.text);
    for verdict in ["allow", "deny", "modify", "step_up"] {
        assert!(calls.iter().any(|c| c["verdict"] == verdict), "{verdict}");
    }
    let carried_out = calls.iter().find(|c| c["verdict"] == "modify").unwrap();
    assert_eq!(
        carried_out["recomputed"],
        json!([
            "request", "identity", "surface", "budget", "policy", "approval", "seal", "release",
            "decision"
        ])
    );
    assert_eq!(run(&machine, &export, &[]).text, replayed.text);
    let _ended = gateway.stop();
}

#[test]
fn calls_that_crossed_each_other_come_out_the_same() {
    let machine = Machine::enrolled();
    let gateway = machine.start();
    let threads: Vec<_> = (0..10)
        .map(|n| {
            let mut client = if n % 2 == 0 {
                gateway.alpha()
            } else {
                gateway.beta()
            };
            std::thread::spawn(move || {
                for round in 0..12 {
                    // The same keys and the same actions by many at once.
                    let line = format!("line-{round}");
                    client.call_with(keyed("append", &line, &line)).unwrap();
                    client.call_with(call("scarce", &line)).unwrap();
                    client
                        .call_with(call("erase", &format!("e-{}", round / 3)))
                        .unwrap();
                    client.call_with(call("read", &line)).unwrap();
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|t| t.join().unwrap());
    let replayed = expect_match(&machine, &gateway.export());
    assert_eq!(replayed.json["counts"]["matched"], 480);
}

#[test]
fn a_byte_that_was_changed_keeps_everything_from_being_recomputed() {
    let machine = Machine::enrolled();
    let gateway = machine.start();
    assert!(
        gateway
            .alpha()
            .call_with(call("append", "one"))
            .unwrap()
            .is_ok()
    );
    let export = gateway.export();
    let mut bytes = std::fs::read(&export).unwrap();
    let middle = bytes.len() * 3 / 4;
    bytes[middle] ^= 1;
    std::fs::write(&export, &bytes).unwrap();
    let replayed = run(&machine, &export, &[]);
    assert_eq!(replayed.code, 1, "{}", replayed.text);
    assert_eq!(replayed.json["status"], "tamper_detected");
    assert_eq!(replayed.json["calls"], json!([]));
}

#[test]
fn another_site_shows_what_it_would_have_denied() {
    let machine = Machine::enrolled();
    let gateway = machine.start();
    let mut alpha = gateway.alpha();
    assert!(alpha.call_with(call("append", "one")).unwrap().is_ok());
    assert!(alpha.call_with(call("read", "two")).unwrap().is_ok());
    let export = gateway.export();
    let site = machine.site().path().display().to_string();
    let same = run(&machine, &export, &["--site", &site]);
    assert_eq!(same.json["against"]["same"], 2, "{}", same.text);
    machine.site().write(
        "policies/stop.cedar",
        "@id(\"nothing-is-written\")\nforbid (principal, action == Action::\"effects.append\", resource);\n",
    );
    let other = run(&machine, &export, &["--site", &site]);
    assert_eq!(
        (other.code, &other.json["status"]),
        (0, &json!("match")),
        "{}",
        other.text
    );
    assert_eq!(other.json["against"]["ways"], json!({ "allow → deny": 1 }));
    assert_eq!(
        other.json["against"]["changes"][0]["after"]["policies"],
        json!(["nothing-is-written"])
    );
}

#[test]
fn a_command_line_that_cannot_be_read_is_no_result() {
    let machine = Machine::enrolled();
    for arguments in [
        &["replay"][..],
        &["replay", "--nothing"],
        &["replay", "/nowhere"],
    ] {
        let (status, _, said) = outcome(&mut machine.command(arguments));
        assert_eq!(status.code(), Some(4), "{said}");
    }
}

//! `countersign bridge`: an MCP client that knows nothing of gateways, over stdio, through a signed and attested way.

use countersign_tests::certificates::Ca;
use countersign_tests::machine::{Gateway, Machine};
use countersign_tests::process::outcome;
use countersign_tests::protected::Protected;
use countersign_tests::relay::Relay;
use countersign_tests::site::BETA_KEY;
use countersign_tests::{PATIENCE, fixture, program, python};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

/// A bridge, as a client sees it.
struct Bridge {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Bridge {
    fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (say, lines) = channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            // Nobody listens once the test has what it wants.
            out.lines()
                .map_while(Result::ok)
                .all(|line| say.send(line).is_ok())
        });
        Self {
            input: child.stdin.take(),
            child,
            lines,
        }
    }

    fn say(&mut self, line: &str) {
        let input = self.input.as_mut().unwrap();
        input.write_all(line.as_bytes()).unwrap();
        input.write_all(b"\n").unwrap();
    }

    fn hear(&self) -> Value {
        serde_json::from_str(&self.lines.recv_timeout(PATIENCE).unwrap()).unwrap()
    }

    fn ask(&mut self, message: &Value) -> Value {
        self.say(&message.to_string());
        self.hear()
    }

    /// Says its last; what else comes, and all of standard error.
    fn end(mut self) -> (Vec<String>, String) {
        drop(self.input.take());
        let rest = self.lines.iter().collect();
        let output = self.child.wait_with_output().unwrap();
        assert!(output.status.success());
        (rest, String::from_utf8(output.stderr).unwrap())
    }
}

fn call(id: u64, tool: &str, line: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call",
            "params": { "name": tool, "arguments": { "line": line } } })
}

fn in_the_clear(machine: &Machine, gateway: &Gateway) -> Command {
    let mut command = Command::new(program("countersign"));
    command.args(["bridge", "--plain-http", "--gateway"]);
    command.arg(format!("{}/mcp/effects", gateway.url));
    command.arg("--key").arg(machine.site().key_file(BETA_KEY));
    command
}

fn over_tls(protected: &Protected, url: &str) -> Command {
    let (trust, reference) = protected.machine.auditor().files();
    let mut command = Command::new(program("countersign"));
    command.args(["bridge", "--gateway", &format!("{url}/mcp/effects")]);
    command
        .arg("--key")
        .arg(protected.machine.site().key_file(BETA_KEY));
    command.arg("--ca").arg(protected.ca.file());
    command
        .arg("--trust")
        .arg(trust)
        .arg("--reference")
        .arg(reference);
    command
}

#[test]
fn a_client_over_stdio_calls_tools_by_signed_requests_over_an_attested_connection() {
    let (protected, gateway) = Protected::started();
    let mut bridge = Bridge::start(&mut over_tls(&protected, &gateway.url));
    let begun = bridge.ask(&json!({ "jsonrpc": "2.0", "id": "first", "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "t", "version": "1" } } }));
    assert_eq!(begun["id"], "first");
    assert_eq!(begun["result"]["protocolVersion"], "2025-11-25");
    bridge.say(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
    let listed = bridge.ask(&json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/list" }));
    assert!(
        listed["result"]["tools"].as_array().unwrap().len() > 2,
        "{listed}"
    );
    let done = bridge.ask(&call(3, "append", "through the bridge"));
    assert_eq!(
        done["result"]["content"][0]["text"], "through the bridge",
        "{done}"
    );
    assert_eq!(protected.machine.effects(), ["through the bridge"]);
    let refused = bridge.ask(&call(4, "erase", "x"));
    assert_eq!(refused["result"]["isError"], true, "{refused}");
    let (_, said) = bridge.end();
    assert_eq!(
        said.matches(&format!("ends in gateway {}", gateway.id))
            .count(),
        1,
        "{said}"
    );
    assert!(said.contains("no hardware vouches for it"), "{said}");
    let ca = protected.ca.file();
    let export = gateway.export_of(&["--ca", ca.to_str().unwrap()]);
    protected
        .machine
        .auditor()
        .verify(&export)
        .assert_verified();
}

#[test]
fn through_a_relay_the_bridge_says_nothing_and_tells_its_client_why() {
    let (protected, gateway) = Protected::started();
    let relay = Relay::start(gateway.authority(), &protected.ca, &protected.pair);
    let url = format!("https://{}", relay.authority);
    let mut bridge = Bridge::start(&mut over_tls(&protected, &url));
    let told = bridge.ask(&call(7, "append", "secret"));
    assert_eq!(told["id"], 7);
    assert_eq!(told["error"]["code"], -32000);
    let message = told["error"]["message"].as_str().unwrap();
    assert!(message.contains("nothing was said"), "{message}");
    assert!(message.contains("somebody stands in between"), "{message}");
    assert_eq!(relay.passed(), 1, "a challenge");
    assert!(protected.machine.effects().is_empty());
    bridge.end();
}

#[test]
fn many_requests_are_under_way_at_once_and_each_gets_its_own_answer() {
    let machine = Machine::enrolled();
    let gateway = machine.start();
    let mut bridge = Bridge::start(&mut in_the_clear(&machine, &gateway));
    for id in 0..200 {
        bridge.say(&call(id, "read", &format!("line {id}")).to_string());
    }
    let mut seen = [false; 200];
    for _ in 0..200 {
        let answer = bridge.hear();
        let id = answer["id"].as_u64().unwrap();
        assert_eq!(
            answer["result"]["content"][0]["text"],
            format!("line {id}"),
            "{answer}"
        );
        assert!(!std::mem::replace(
            &mut seen[usize::try_from(id).unwrap()],
            true
        ));
    }
    bridge.end();
}

#[test]
fn what_a_client_says_at_the_end_of_its_input_is_answered_before_the_bridge_ends() {
    let machine = Machine::enrolled();
    let gateway = machine.start();
    let mut bridge = Bridge::start(&mut in_the_clear(&machine, &gateway));
    for id in 0..20 {
        bridge.say(&call(id, "append", &format!("{id}")).to_string());
    }
    let (rest, _) = bridge.end();
    assert_eq!(rest.len(), 20);
    assert_eq!(machine.effects().len(), 20);
    machine
        .auditor()
        .verify(&gateway.export())
        .assert_verified();
}

#[test]
fn a_message_of_the_stateless_era_carries_its_headers() {
    let machine = Machine::enrolled();
    let gateway = machine.start();
    let mut bridge = Bridge::start(&mut in_the_clear(&machine, &gateway));
    let mut message = call(1, "append", "stateless");
    message["params"]["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": { "name": "t", "version": "1" },
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let done = bridge.ask(&message);
    assert_eq!(done["result"]["content"][0]["text"], "stateless", "{done}");
    bridge.end();
}

#[test]
fn what_cannot_be_carried_is_answered_and_the_bridge_goes_on() {
    let machine = Machine::enrolled();
    let mut gateway = machine.start();
    let mut bridge = Bridge::start(&mut in_the_clear(&machine, &gateway));
    bridge.say("this is no json");
    assert_eq!(bridge.hear()["error"]["code"], -32700);
    bridge.say("[]");
    assert_eq!(bridge.hear()["error"]["code"], -32700);
    bridge.say(&format!("{{\"pad\":\"{}\"}}", "x".repeat(1 << 20)));
    assert_eq!(bridge.hear()["error"]["code"], -32600);
    assert_eq!(
        bridge.ask(&call(1, "read", "a"))["result"]["content"][0]["text"],
        "a"
    );
    gateway.kill();
    let told = bridge.ask(&call(2, "read", "b"));
    assert_eq!(
        (&told["id"], &told["error"]["code"]),
        (&json!(2), &json!(-32000)),
        "{told}"
    );
    bridge.end();
}

#[test]
fn an_agent_that_the_gateway_does_not_know_is_told_so() {
    let machine = Machine::enrolled();
    let gateway = machine.start();
    let key = machine.path().join("stranger.key");
    let mut make = Command::new(program("countersign"));
    let (status, out, _) = outcome(make.args(["bridge", "keygen"]).arg(&key));
    assert!(status.success() && out.contains("key = \""), "{out}");
    let mut command = Command::new(program("countersign"));
    command.args(["bridge", "--plain-http", "--gateway"]);
    command
        .arg(format!("{}/mcp/effects", gateway.url))
        .arg("--key")
        .arg(&key);
    let mut bridge = Bridge::start(&mut command);
    let told = bridge.ask(&call(1, "append", "x"));
    assert_eq!(told["id"], 1);
    assert!(told["error"]["message"].is_string(), "{told}");
    assert!(machine.effects().is_empty());
    bridge.end();
    // Nobody overwrites a key.
    let mut again = Command::new(program("countersign"));
    let (status, _, _) = outcome(again.args(["bridge", "keygen"]).arg(&key));
    assert!(!status.success());
}

/// What a bridge says that does not start.
fn refused(command: &mut Command) -> String {
    let (status, out, err) = outcome(command.stdin(Stdio::null()));
    assert!(!status.success(), "{out}");
    err
}

#[test]
fn the_bridge_does_not_start_with_a_key_of_others_or_without_knowing_whom_to_believe() {
    let (protected, gateway) = Protected::started();
    let key = protected.machine.site().key_file(BETA_KEY);
    for mode in [0o640, 0o604, 0o620] {
        countersign_tests::certificates::chmod(&key, mode);
        let said = refused(&mut over_tls(&protected, &gateway.url));
        assert!(said.contains("expected mode 600"), "{said}");
    }
    countersign_tests::certificates::chmod(&key, 0o600);
    let bare = || {
        let mut command = Command::new(program("countersign"));
        command
            .args(["bridge", "--gateway"])
            .arg(format!("{}/mcp/effects", gateway.url));
        command.arg("--key").arg(&key);
        command
    };
    let said = refused(bare().arg("--ca").arg(protected.ca.file()));
    assert!(said.contains("say with --trust FILE"), "{said}");
    let said = refused(bare().arg("--plain-http"));
    assert!(said.contains("say with --ca FILE"), "{said}");
    let elsewhere = tempfile::tempdir().unwrap();
    let other = Ca::make(elsewhere.path()).file();
    let (trust, reference) = protected.machine.auditor().files();
    let mut wrong = bare();
    wrong
        .arg("--ca")
        .arg(other)
        .arg("--trust")
        .arg(trust)
        .arg("--reference")
        .arg(reference);
    let mut bridge = Bridge::start(&mut wrong);
    let told = bridge.ask(&call(1, "append", "x"));
    let message = told["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("is not shown to be the gateway"),
        "{message}"
    );
    bridge.end();
}

#[test]
fn the_python_sdk_meets_an_ordinary_server_in_the_bridge() {
    let (protected, gateway) = Protected::started();
    let bridge = over_tls(&protected, &gateway.url);
    let mut client = Command::new(python());
    client
        .arg(fixture("stdio_client.py"))
        .arg(bridge.get_program());
    client.args(bridge.get_args());
    let (status, out, err) = outcome(&mut client);
    assert!(status.success(), "{out}{err}");
    assert_eq!(protected.machine.effects(), ["from the sdk"]);
    let said: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(said["called"], "from the sdk");
    assert_eq!(said["refused"], true);
    assert!(said["tools"].as_array().unwrap().contains(&json!("append")));
}

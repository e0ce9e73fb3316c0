//! Secrets that are planted in a token, arguments, a result, an adapter's configuration and the gateway's environment, and
//! looked for wherever something is written, said or handed on.

use countersign_tests::client::{Answer, Client};
use countersign_tests::collector::Collector;
use countersign_tests::fixture;
use countersign_tests::machine::Machine;
use countersign_tests::site::{OFFICER_KEY, python};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// In the gateway's own environment.
const ENVIRONMENT: &str = "canary-environment-8d1f";
/// In the configuration of one adapter.
const CONFIGURATION: &str = "canary-configuration-77ab";
/// In an argument of a call that is carried out.
const ARGUMENT: &str = "canary-argument-5c20";
/// In arguments, names and identifiers of calls that are refused or fail.
const REFUSED: &str = "canary-refused-e913";
/// In a result.
const RESULT: &str = "canary-result-04be";

fn ask(client: &mut Client, capability: &str, line: &str) -> Answer {
    client.call(capability, json!({ "line": line })).unwrap()
}

/// Files below a directory in which a text stands.
fn files_with(directory: &Path, text: &str, found: &mut Vec<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_with(&path, text, found);
        } else if path.is_file() && holds(&path, text) {
            found.push(path.display().to_string());
        }
    }
}

fn holds(file: &Path, text: &str) -> bool {
    let bytes = fs::read(file).unwrap();
    bytes.windows(text.len()).any(|w| w == text.as_bytes())
}

#[test]
fn a_secret_is_nowhere_but_where_it_was_put_and_with_whom_it_was_meant_for() {
    let collector = Collector::start();
    let machine = Machine::enrolled();
    let site = machine.site();
    site.append_settings(&collector.settings());
    let arguments = [fixture("confined.py"), fixture("confined.json")];
    let [program, listing] = arguments.map(|p| p.display().to_string());
    for (name, environment) in [("plain", "yes"), ("keeper", CONFIGURATION)] {
        let reached = format!(
            "kind = \"mcp-stdio\"\ncommand = {:?}\nargs = [\"-I\", \"-S\", {program:?}, {listing:?}]\nsandbox = \"none\"\n\
             environment = {{ NAMED = {environment:?} }}",
            python()
        );
        site.add_upstream(name, &reached, &fixture("confined.json"));
    }
    site.build();
    let secret = machine.path().join("result.txt");
    fs::write(&secret, RESULT).unwrap();
    let token = site.token();
    let mut command = machine.serve_command();
    command.env("COUNTERSIGN_TEST_SECRET", ENVIRONMENT);
    let mut gateway = machine.boot_with(&mut command).unwrap();
    gateway.wait_ready();
    let mut alpha = gateway.alpha();

    // Carried out: with the tool and the caller, and nowhere else in the clear.
    assert_eq!(ask(&mut alpha, "plain.honest", ARGUMENT).text(), ARGUMENT);
    let read = ask(&mut alpha, "plain.read", &secret.display().to_string());
    assert_eq!(read.text(), format!("done {RESULT}"));

    // Refused, and failing: what is said of it does not repeat it.
    let mut told = Vec::new();
    for (capability, body) in [
        ("effects.append", json!({ "line": format!("{REFUSED}\n") })),
        (
            "effects.append",
            json!({ "line": REFUSED, REFUSED: REFUSED }),
        ),
        ("effects.append", json!({ "line": { "nested": REFUSED } })),
        ("effects.northern", json!({ "other": REFUSED })),
        (REFUSED, json!({ "line": REFUSED })),
        ("effects.kill-nobody", json!({ "line": REFUSED })),
    ] {
        let answer = alpha.call(capability, body).unwrap();
        assert!(!answer.is_ok(), "{capability}: {answer:?}");
        told.push(format!("{answer:?}"));
    }
    let over_mcp = json!({
        "jsonrpc": "2.0", "id": REFUSED, "method": "tools/call",
        "params": { "name": "append", "arguments": { "line": format!("{REFUSED}\n") } },
    });
    let answer = alpha.mcp(&over_mcp, &[]).unwrap().json();
    // The identifier of a message is its sender's and comes back to them.
    told.push(answer["result"].to_string());
    let malformed = format!("{{\"capability\":\"effects.append\",\"arguments\":{REFUSED}");
    told.push(format!("{:?}", alpha.call_bytes(malformed.as_bytes())));
    for text in &told {
        assert!(!text.contains(REFUSED), "{text}");
        assert!(!text.contains(&token), "{text}");
    }

    // An adapter has what its own file says, and nothing of another's or of the gateway's.
    let own: Value =
        serde_json::from_str(ask(&mut alpha, "keeper.environment", "").text()).unwrap();
    assert_eq!(own["NAMED"], CONFIGURATION);
    let other = ask(&mut alpha, "plain.environment", "").text().to_owned();
    assert!(other.contains("\"NAMED\": \"yes\""), "{other}");
    for secret in [ENVIRONMENT, CONFIGURATION, token.as_str()] {
        assert!(!other.contains(secret), "{secret} is with another adapter");
    }

    let whole = gateway.export();
    let (nothing, outcome) = gateway.try_export_as(OFFICER_KEY, &["--profile", "nothing"]);
    outcome.unwrap();
    assert!(gateway.stop().success(), "{}", gateway.process.said());
    machine.auditor().verify(&whole).assert_verified();

    // Who may see the values sees them: the search is not blind.
    for value in [ARGUMENT, RESULT, REFUSED] {
        assert!(holds(&whole, value), "{value} is not disclosed");
    }
    let telemetry = collector.said();
    assert!(telemetry.contains("plain.honest"), "spans came");
    for secret in [ENVIRONMENT, ARGUMENT, REFUSED, RESULT, token.as_str()] {
        let mut found = Vec::new();
        files_with(&machine.state(), secret, &mut found);
        assert_eq!(
            found,
            Vec::<String>::new(),
            "{secret} lies in the state directory"
        );
        assert!(!holds(&nothing, secret), "{secret} is exported");
    }
    for secret in [
        ENVIRONMENT,
        CONFIGURATION,
        ARGUMENT,
        REFUSED,
        RESULT,
        token.as_str(),
    ] {
        assert!(
            !gateway.process.said().contains(secret),
            "{secret} is in the log"
        );
        assert!(!telemetry.contains(secret), "{secret} is in telemetry");
    }
    for secret in [ENVIRONMENT, token.as_str()] {
        assert!(!holds(&whole, secret), "{secret} is exported");
    }
}

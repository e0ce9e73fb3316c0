//! A hostile program as an upstream: whatever it tries beyond its profile fails, and what the profile names works.

use countersign_record::cbor::Cbor as _;
use countersign_record::commitment::Field;
use countersign_record::digest::{ArtifactDigest, sha256_in};
use countersign_record::egress::EgressConnections;
use countersign_tests::auditor::{Log, Logged};
use countersign_tests::client::{Answer, Client};
use countersign_tests::confined::{Place, greeter};
use countersign_tests::machine::{Gateway, Machine};
use countersign_tests::process::outcome;
use countersign_tests::program;
use rustix::process::getuid;
use serde_json::{Value, json};
use std::fs;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// The user that another one may not become.
const UID: u32 = 70_001;

fn started(place: &Place, profile: &str, reaches: &[String]) -> (Machine, Gateway) {
    let machine = Machine::enrolled();
    let site = machine.site();
    place.put_into(site, profile, reaches);
    site.build();
    let mut command = machine.serve_command();
    // What stands in the gateway's own environment is nobody else's.
    command.env("NOT_NAMED", "canary-of-the-environment");
    let gateway = machine.boot_with(&mut command).unwrap();
    gateway.wait_ready();
    (machine, gateway)
}

fn ask(client: &mut Client, tool: &str, line: &str) -> Answer {
    client
        .call(&format!("box.{tool}"), json!({ "line": line }))
        .unwrap()
}

#[track_caller]
fn expect_denied(client: &mut Client, tool: &str, line: &str) {
    let answer = ask(client, tool, line);
    assert!(answer.is_ok(), "{tool} {line}: {answer:?}");
    assert!(
        answer.text().starts_with("denied"),
        "{tool} {line}: {}",
        answer.text()
    );
}

#[track_caller]
fn expect_done(client: &mut Client, tool: &str, line: &str) -> String {
    let answer = ask(client, tool, line);
    assert!(answer.is_ok(), "{tool} {line}: {answer:?}");
    assert!(
        answer.text().starts_with("done"),
        "{tool} {line}: {}",
        answer.text()
    );
    answer.text().to_owned()
}

fn answered<'l>(log: &'l Log, answer: &Answer) -> &'l Logged {
    let of = |entry: &&Logged| Some(entry.digest.to_string().as_str()) == answer.digest();
    log.0.iter().find(of).unwrap()
}

#[test]
fn what_a_profile_does_not_name_is_out_of_a_programs_reach() {
    let place = Place::new();
    let local = place.file("local.sock");
    let _local = UnixListener::bind(&local).unwrap();
    fs::set_permissions(&local, fs::Permissions::from_mode(0o777)).unwrap();
    let reached = greeter();
    let (machine, mut gateway) = started(&place, &place.profile("none", ""), &[]);
    let mut alpha = gateway.alpha();
    let client = &mut alpha;
    let gateway_id = gateway.process.id();
    let state = machine.state();

    // Files of the gateway, and its memory.
    for file in ["keys.sealed", "log.sqlite", ""] {
        expect_denied(client, "read", &state.join(file).display().to_string());
    }
    let key = machine.site().key_file("governance.key");
    expect_denied(client, "read", &key.display().to_string());
    for file in [
        "environ",
        "mem",
        "maps",
        "cmdline",
        "root/etc/passwd",
        "fd/0",
    ] {
        expect_denied(client, "read", &format!("/proc/{gateway_id}/{file}"));
    }
    expect_denied(client, "read", "/etc/passwd");
    expect_denied(client, "read", "/proc/self/environ");
    expect_denied(client, "read", &place.file("beside.txt"));
    expect_denied(client, "read", &place.file("data/../beside.txt"));
    // Writing elsewhere, and what is only to be read.
    expect_denied(client, "write", "/tmp/countersign-escape");
    expect_denied(client, "write", "/dev/shm/countersign-escape");
    expect_denied(client, "write", &place.file("confined.py"));
    // The network.
    for to in [reached.as_str(), "169.254.169.254:80", "192.0.2.1:443"] {
        expect_denied(client, "connect", to);
    }
    expect_denied(client, "datagram", "127.0.0.1:53");
    expect_denied(client, "local", &local);
    // Other processes, and leaving the group by which it is ended.
    expect_denied(client, "trace", &gateway_id.to_string());
    expect_denied(client, "signal", &gateway_id.to_string());
    expect_denied(client, "leave", "");
    // More than its share.
    expect_denied(client, "fork", "500");
    expect_denied(client, "allocate", "1073741824");

    // The benign twin of each.
    let named = place.data.join("own.txt").display().to_string();
    expect_done(client, "write", &named);
    assert_eq!(expect_done(client, "read", &named), "done written");
    expect_done(client, "fork", "3");
    expect_done(client, "allocate", "1048576");
    assert_eq!(ask(client, "honest", "twin").text(), "twin");

    let environment: Value = serde_json::from_str(ask(client, "environment", "").text()).unwrap();
    assert_eq!(environment["NAMED"], "yes");
    assert!(!environment.to_string().contains("canary"), "{environment}");
    let about: Value = serde_json::from_str(ask(client, "self", "").text()).unwrap();
    assert_eq!(
        about["files"],
        json!([]),
        "files of the gateway are inherited: {about}"
    );
    assert_eq!(about["at"], "/");
    if getuid().is_root() {
        assert_eq!(about["uid"], place.uid);
        assert_eq!(about["gid"], place.uid);
        assert_eq!(about["groups"], json!([]));
    }
    assert!(gateway.stop().success());
    assert!(!Path::new("/tmp/countersign-escape").exists());
}

#[test]
fn the_record_names_the_profile_and_the_layers_that_are_in_force() {
    let place = Place::new();
    let profile = place.profile("none", "");
    let (machine, mut gateway) = started(&place, &profile, &[]);
    let mut alpha = gateway.alpha();
    let confined = ask(&mut alpha, "honest", "in");
    let free = alpha
        .call("effects.read", json!({ "line": "out" }))
        .unwrap();
    assert!(confined.is_ok() && free.is_ok());
    let export = gateway.export();
    assert!(gateway.stop().success());
    machine.auditor().verify(&export).assert_verified();
    let log = Log::read(&export);
    let layers = &answered(&log, &confined).decision().unwrap().sandbox;
    let digest = sha256_in("countersign/artifact/v1", &[profile.as_bytes()]);
    assert_eq!(
        layers[0],
        format!("profile:tools:{}", ArtifactDigest(digest))
    );
    let found: Vec<&str> = layers[1..]
        .iter()
        .map(|l| l.split('/').next().unwrap())
        .collect();
    let mut expected = vec!["network-namespace", "limits", "user", "landlock", "seccomp"];
    if !getuid().is_root() {
        expected.retain(|layer| *layer != "user");
    }
    assert_eq!(found, expected);
    assert!(answered(&log, &free).decision().unwrap().sandbox.is_empty());

    let (trust, _) = machine.auditor().files();
    let mut replay = machine.command(&["replay"]);
    replay.arg(&export).arg("--trust").arg(trust);
    let (status, out, err) = outcome(&mut replay);
    assert_eq!(status.code(), Some(0), "{out}{err}");
    assert!(out.starts_with("match: all"), "{out}");
}

#[test]
fn a_sandboxed_program_reaches_what_its_capability_lists_and_only_while_a_call_lasts() {
    let place = Place::new();
    let (listed, other) = (greeter(), greeter());
    let profile = place.profile("proxy", "");
    let (machine, mut gateway) = started(&place, &profile, std::slice::from_ref(&listed));
    let mut alpha = gateway.alpha();
    let client = &mut alpha;
    assert_eq!(expect_done(client, "tunnel", &listed), "done greetings");
    let answer = ask(client, "tunnel", &listed);
    let mut violations = Vec::new();
    for (to, word) in [
        (other.as_str(), "endpoint-not-listed"),
        ("169.254.169.254:80", "endpoint-not-listed"),
        ("localhost:80", "endpoint-not-listed"),
    ] {
        let refused = ask(client, "tunnel", to);
        assert_eq!(refused.text(), format!("denied {word}"));
        violations.push(refused);
    }
    // Round the proxy there is nothing.
    for to in [listed.as_str(), "192.0.2.1:443"] {
        expect_denied(client, "connect", to);
    }
    expect_denied(client, "datagram", "127.0.0.1:53");
    let export = gateway.export();
    assert!(gateway.stop().success());
    machine.auditor().verify(&export).assert_verified();
    let log = Log::read(&export);
    let entry = answered(&log, &answer);
    let violation = "security_event:sandbox_violation".to_owned();
    let controls = |answer| &answered(&log, answer).decision().unwrap().controls;
    assert!(!controls(&answer).contains(&violation));
    for refused in &violations {
        assert!(controls(refused).contains(&violation), "{refused:?}");
    }
    let disclosed = entry
        .disclosures
        .iter()
        .find(|d| d.field == Field::Egress)
        .unwrap();
    let went = EgressConnections::from_bytes(&disclosed.value.0).unwrap();
    assert_eq!(went.connections.len(), 1);
    assert_eq!(went.connections[0].destination, listed);
    assert_eq!(
        went.connections[0].address.as_deref(),
        Some(listed.as_str())
    );
    assert_eq!(went.connections[0].certificate, None);
}

#[test]
fn a_program_whose_sandbox_cannot_be_had_is_not_started() {
    let place = Place::new();
    let profile = place
        .profile("none", "")
        .replacen("/usr", "/no-such-directory", 1);
    let (machine, mut gateway) = started(&place, &profile, &[]);
    let answer = ask(&mut gateway.alpha(), "honest", "in");
    assert_eq!(answer.code(), "sandbox_unavailable", "{answer:?}");
    let free = gateway
        .alpha()
        .call("effects.read", json!({ "line": "out" }))
        .unwrap();
    assert!(free.is_ok());
    assert!(gateway.stop().success());
    assert!(
        gateway.process.said().contains("/no-such-directory"),
        "{}",
        gateway.process.said()
    );
    drop(machine);
}

/// What the launcher says, started by somebody who is not root.
fn launched(required: &[&str]) -> Value {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let plan = json!({
        "uid": UID, "read": ["/usr"], "write": [], "network": "none", "limits": {}, "required": required,
    });
    let mut command = Command::new(program("countersign"));
    command.args(["sandbox-exec", &plan.to_string(), "--", "/usr/bin/true"]);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(OwnedFd::from(theirs));
    if getuid().is_root() {
        command.uid(65_534).gid(65_534);
    }
    let mut child = command.spawn().unwrap();
    drop(command);
    let mut said = String::new();
    ours.read_to_string(&mut said).unwrap();
    child.wait().unwrap();
    serde_json::from_str(said.lines().next().unwrap_or_default()).unwrap()
}

#[test]
fn a_layer_that_is_required_and_cannot_be_had_ends_the_launcher_and_an_optional_one_is_left_out() {
    let refused = launched(&["user", "landlock"]);
    let reason = refused["refused"].as_str().unwrap();
    assert!(reason.contains("requires the layer user"), "{reason}");
    let taken = launched(&["landlock", "seccomp"]);
    let layers = taken["layers"].as_array().unwrap();
    assert!(!layers.iter().any(|l| l == "user"), "{taken}");
    assert!(layers.iter().any(|l| l == "seccomp"), "{taken}");
}

#[test]
fn a_policy_can_want_layers_that_the_profile_does_not_guarantee() {
    let place = Place::new();
    let profile = place
        .profile("none", "")
        .replace("optional = []", "optional = [\"user\"]");
    let (machine, mut gateway) = started(&place, &profile, &[]);
    assert!(ask(&mut gateway.alpha(), "honest", "in").is_ok());
    assert!(gateway.stop().success());
    let site = machine.site();
    site.write(
        "policies/layers.cedar",
        "@id(\"another-user\")\nforbid (principal, action in Action::\"adapter:box\", resource)\n\
         unless { resource.sandbox.contains(\"user\") };\n",
    );
    site.edit("version = 1\nminimum", "version = 2\nminimum");
    site.build();
    let mut gateway = machine.start();
    let denied = ask(&mut gateway.alpha(), "honest", "in");
    assert_eq!(denied.code(), "policy_denied", "{denied:?}");
    assert!(
        gateway
            .alpha()
            .call("effects.read", json!({ "line": "out" }))
            .unwrap()
            .is_ok()
    );
    assert!(gateway.stop().success());
}

//! `countersign dev`: from a server's command to a gateway, a refused call and a record that verifies; with a server of others.

use countersign_tests::client::{Client, Credential};
use countersign_tests::confined::{Place, greeter};
use countersign_tests::process::{Process, outcome, run};
use countersign_tests::{fixture, program, python};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A developer's session: the directory that is kept, the program, and what it told.
struct Session {
    directory: TempDir,
    process: Process,
    url: String,
    token: String,
}

impl Session {
    fn start(options: &[&str], server: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut dev = Command::new(program("countersign"));
        dev.arg("dev")
            .arg("--keep")
            .arg(directory.path().join("kept"));
        dev.args(["--listen", "127.0.0.1:0"])
            .args(options)
            .arg("--")
            .args(server);
        let process = Process::start(&mut dev);
        process.wait_said("Ctrl-C ends it");
        let said = process.said();
        let after = |words: &str| {
            let (_, rest) = said.split_once(words).unwrap();
            rest.split_whitespace().next().unwrap().to_owned()
        };
        Self {
            directory,
            url: after("ready "),
            token: after("Authorization: Bearer "),
            process,
        }
    }

    fn kept(&self) -> PathBuf {
        self.directory.path().join("kept")
    }

    fn client(&self) -> Client {
        let authority = self.url.strip_prefix("http://").unwrap();
        Client::new(authority, Credential::Token(self.token.clone()))
    }

    fn as_you(&self, words: &[&str]) -> String {
        let mut command = Command::new(program("countersign"));
        command.args(words).args(["--url", &self.url, "--key"]);
        run(command.arg(self.kept().join("site/keys/you.key")))
    }

    /// Ctrl-C; then the command that it says checks the record: exit code and text.
    fn end(mut self) -> (i32, String) {
        self.process.signal(rustix::process::Signal::INT);
        assert!(self.process.end().success(), "{}", self.process.said());
        let said = self.process.said();
        let check = said
            .lines()
            .find(|l| l.trim().starts_with("countersign-verify "))
            .unwrap();
        let mut verify = Command::new(program("countersign-verify"));
        verify.args(check.split_whitespace().skip(1));
        let (status, out, err) = outcome(&mut verify);
        (status.code().unwrap(), out + &err)
    }
}

fn effects(tools: &Path) -> Vec<String> {
    let words = [
        python(),
        fixture("effects.py"),
        fixture("tools.json"),
        tools.to_owned(),
    ];
    words.iter().map(|w| w.display().to_string()).collect()
}

#[test]
fn a_program_that_is_confined_does_what_its_command_names_and_no_more() {
    let place = Place::new();
    let server = ["/usr/bin/python3", "-I", "-S"].map(str::to_owned);
    let paths = ["confined.py", "confined.json", "data"].map(|name| place.file(name));
    let server: Vec<&str> = server.iter().chain(&paths).map(String::as_str).collect();
    let permitted = [
        "--sandbox",
        "--permit",
        "read",
        "--permit",
        "write",
        "--permit",
        "connect",
    ];
    let session = Session::start(&permitted, &server);
    let mut client = session.client();
    let mut ask = |tool: &str, line: &str| {
        let answer = client
            .call(&format!("confined.{tool}"), json!({ "line": line }))
            .unwrap();
        assert!(answer.is_ok(), "{tool} {line}: {answer:?}");
        answer.text().split(' ').next().unwrap().to_owned()
    };
    let own = place.file("data/own.txt");
    assert_eq!(ask("write", &own), "done");
    assert_eq!(ask("read", &own), "done");
    let key = session
        .kept()
        .join("site/keys/you.key")
        .display()
        .to_string();
    for file in [
        place.file("beside.txt").as_str(),
        "/etc/passwd",
        key.as_str(),
    ] {
        assert_eq!(ask("read", file), "denied", "{file}");
    }
    assert_eq!(ask("write", &place.file("confined.py")), "denied");
    assert_eq!(ask("connect", &greeter()), "denied");
    let profile = std::fs::read_to_string(session.kept().join("site/sandboxes/confined.toml"));
    assert!(profile.unwrap().contains("network = \"none\""));
    let (code, said) = session.end();
    assert_eq!(code, 0, "{said}");
}

#[test]
fn a_server_of_others_is_behind_a_gateway_in_one_command_and_its_record_verifies() {
    let server = python()
        .with_file_name("mcp-server-time")
        .display()
        .to_string();
    let session = Session::start(&[], &[&server]);
    let said = session.process.said();
    assert!(
        said.contains("no hardware vouches for what is recorded here"),
        "{said}"
    );
    assert!(said.contains("passes    get_current_time"), "{said}");
    let mut client = session.client();
    let arguments = json!({ "timezone": "Europe/Zurich" });
    let answer = client
        .call("time.get_current_time", arguments.clone())
        .unwrap();
    assert!(
        answer.is_ok() && answer.text().contains("Europe/Zurich"),
        "{answer:?}"
    );
    let message = json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": { "name": "get_current_time", "arguments": arguments },
    });
    let headers = [
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
    ];
    let body = message.to_string();
    let by_mcp = client
        .request("POST", "/mcp/time", &headers, body.as_bytes())
        .unwrap()
        .json();
    assert_eq!(by_mcp["result"]["isError"], false, "{by_mcp}");
    let refused = client.call("time.no_such_tool", json!({})).unwrap();
    assert_eq!(refused.code(), "unknown_capability");
    let top = session.as_you(&["top", "--once"]);
    assert!(top.contains("time.get_current_time"), "{top}");
    let (code, report) = session.end();
    assert_eq!(code, 0, "{report}");
    assert!(
        report.starts_with("VERIFIED — no hardware vouches for this"),
        "{report}"
    );
}

#[test]
fn what_says_nothing_of_itself_is_refused_until_the_developer_approves_it() {
    let tools = tempfile::tempdir().unwrap();
    let server = effects(tools.path());
    let server: Vec<&str> = server.iter().map(String::as_str).collect();
    let session = Session::start(&["--permit", "read", "--name", "mine"], &server);
    let said = session.process.said();
    assert!(said.contains("asks you  append"), "{said}");
    assert!(said.contains("passes    read"), "{said}");
    let mut client = session.client();
    let line = json!({ "line": "milk" });
    assert!(client.call("mine.read", line.clone()).unwrap().is_ok());
    let halted = client.call("mine.append", line.clone()).unwrap();
    assert_eq!(halted.code(), "approval_required", "{halted:?}");
    assert!(
        !tools.path().join("effects.log").exists()
            || std::fs::read(tools.path().join("effects.log"))
                .unwrap()
                .is_empty()
    );
    let waiting = session.as_you(&["approve", "list"]);
    let action = waiting.split_whitespace().next().unwrap();
    let _shown = session.as_you(&["approve", "yes", action]);
    assert!(client.call("mine.append", line).unwrap().is_ok());
    let effects = std::fs::read_to_string(tools.path().join("effects.log")).unwrap();
    assert_eq!(effects, "milk\n");
    let (code, report) = session.end();
    assert_eq!(code, 0, "{report}");
}

#[test]
fn a_session_that_was_kept_goes_on_as_a_site() {
    let tools = tempfile::tempdir().unwrap();
    let server = effects(tools.path());
    let server: Vec<&str> = server.iter().map(String::as_str).collect();
    let session = Session::start(&["--permit", "read", "--name", "mine"], &server);
    let (kept, token) = (session.directory.path().join("kept"), session.token.clone());
    let Session {
        directory,
        mut process,
        ..
    } = session;
    process.signal(rustix::process::Signal::INT);
    assert!(process.end().success());
    let mut dev = Command::new(program("countersign"));
    let over = outcome(
        dev.arg("dev")
            .arg("--keep")
            .arg(&kept)
            .arg("--")
            .args(&server),
    );
    assert!(
        !over.0.success() && over.2.contains("is there already"),
        "{}",
        over.2
    );
    let mut dev = Command::new(program("countersign"));
    dev.arg("dev").arg("--site").arg(kept.join("site"));
    let again = Process::start(dev.arg("--state").arg(kept.join("state")));
    again.wait_said("ready ");
    let said = again.said();
    let url = said
        .split("ready http://")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap();
    let mut client = Client::new(url, Credential::Token(token));
    assert!(
        client
            .call("mine.read", json!({ "line": "a" }))
            .unwrap()
            .is_ok()
    );
    drop(directory);
}

#[test]
fn without_a_software_tpm_it_says_how_to_get_one_and_makes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let kept = directory.path().join("kept");
    let mut dev = Command::new(program("countersign"));
    dev.arg("dev")
        .arg("--keep")
        .arg(&kept)
        .arg("--")
        .arg(python());
    let (status, _, said) = outcome(dev.env("PATH", "/nonexistent"));
    assert!(!status.success());
    assert!(said.contains("apt-get install swtpm"), "{said}");
    assert!(!kept.exists());
}

#[test]
fn a_command_that_is_no_server_is_told_and_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let kept = directory.path().join("kept");
    for (words, said) in [
        (
            &["--", "/bin/true"][..],
            "the server does not list its tools",
        ),
        (&["--", "no-such-program-of-anybody"], "there is no program"),
        (
            &["--url", "http://192.0.2.1:1/mcp"],
            "not a loopback address",
        ),
        (&[], "say which MCP server"),
    ] {
        let mut dev = Command::new(program("countersign"));
        dev.arg("dev").arg("--keep").arg(&kept).args(words);
        let (status, _, err) = outcome(&mut dev);
        assert!(!status.success() && err.contains(said), "{err}");
        assert!(!kept.exists());
    }
}

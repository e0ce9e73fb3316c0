//! Several principals at once, on upstreams that remember what they hear: no answer, no interim message and no
//! session of one reaches another.

use countersign_record::commitment::Field;
use countersign_tests::auditor::Log;
use countersign_tests::client::{Client, Response};
use countersign_tests::machine::Machine;
use countersign_tests::process::Process;
use countersign_tests::site::{ALPHA, BETA, python};
use countersign_tests::{fixture, unique};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::process::Command;

/// Clients of each principal at each upstream; every one has a session of its own.
const CLIENTS: usize = 3;
/// Calls of each client.
const CALLS: usize = 20;
/// An agent of the same tenant as alpha.
const GAMMA: &str = "agent:tests/gamma@1";

const UPSTREAMS: [&str; 2] = ["kept-streams", "kept-web"];

/// A principal, by the mark that all its texts begin with.
fn mark(agent: &str) -> &str {
    agent
        .strip_prefix("agent:tests/")
        .unwrap()
        .strip_suffix("@1")
        .unwrap()
}

fn arguments(wire: &str) -> Vec<String> {
    let paths = [fixture("keeper.py"), fixture("keeper.json")];
    let [program, listing] = paths.map(|p| p.display().to_string());
    ["-I", "-S", &program, &listing, wire]
        .map(str::to_owned)
        .to_vec()
}

/// A machine with an upstream that remembers over each wire; the HTTP server goes with the process.
fn remembering() -> (Machine, Process) {
    let machine = Machine::enrolled();
    let server = Process::start(Command::new(python()).args(arguments("http")));
    let said = server.line().unwrap();
    let port = said.strip_prefix("listening ").unwrap();
    let stdio = format!(
        "kind = \"mcp-stdio\"\ncommand = {:?}\nargs = {:?}\nsandbox = \"none\"",
        python(),
        arguments("stdio")
    );
    let http = format!("kind = \"mcp-http\"\nurl = \"http://127.0.0.1:{port}/mcp\"");
    let site = machine.site();
    for (name, reached) in UPSTREAMS.into_iter().zip([stdio, http]) {
        site.add_upstream(name, &reached, &fixture("keeper.json"));
    }
    site.add_agent("gamma", "tenant = \"north\"\ngroups = []");
    site.build();
    (machine, server)
}

/// The messages of an answer, whether it came as one document or as a stream.
fn messages(response: &Response) -> Vec<Value> {
    let kind = response.header("content-type").unwrap_or_default();
    if !kind.starts_with("text/event-stream") {
        return vec![response.json()];
    }
    let text = String::from_utf8(response.body.clone()).unwrap();
    text.lines()
        .filter_map(|line| line.strip_prefix("data:"))
        .filter(|data| !data.trim().is_empty())
        .map(|data| serde_json::from_str(data).unwrap())
        .collect()
}

/// A session at one upstream.
struct Session {
    client: Client,
    path: String,
    id: Option<String>,
}

impl Session {
    fn open(client: Client, upstream: &str) -> Self {
        let mut out = Self {
            client,
            path: format!("/mcp/{upstream}"),
            id: None,
        };
        let hello = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "principals", "version": "1" } });
        let response = out
            .post(&json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello }));
        out.id = response.header("mcp-session-id").map(str::to_owned);
        assert!(out.id.is_some(), "{response:?}");
        let ready = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        assert_eq!(out.post(&ready).status, 202);
        out
    }

    fn post(&mut self, message: &Value) -> Response {
        let mut headers = vec![
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
        ];
        if let Some(id) = &self.id {
            headers.push(("mcp-session-id", id));
            headers.push(("mcp-protocol-version", "2025-11-25"));
        }
        self.client
            .request("POST", &self.path, &headers, message.to_string().as_bytes())
            .unwrap()
    }

    /// Calls a tool; the text of its answer, and the messages of progress that came before.
    fn call(&mut self, id: usize, tool: &str, line: &str) -> (String, Vec<String>) {
        // Everybody uses the same ids and the same progress tokens.
        let params = json!({ "name": tool, "arguments": { "line": line }, "_meta": { "progressToken": id } });
        let call = json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params });
        let all = messages(&self.post(&call));
        let (answer, interim) = all.split_last().unwrap();
        assert_eq!(answer["id"], id, "{answer}");
        assert_eq!(answer["result"]["isError"], Value::Null, "{answer}");
        let text = answer["result"]["content"][0]["text"].as_str();
        let progress = interim.iter().map(|message| {
            assert_eq!(message["method"], "notifications/progress", "{message}");
            assert_eq!(message["params"]["progressToken"], id, "{message}");
            message["params"]["message"].as_str().unwrap().to_owned()
        });
        (text.unwrap().to_owned(), progress.collect())
    }
}

/// Calls, and holds each answer against what this principal alone has said.
fn converse(client: Client, agent: &'static str, upstream: &'static str) -> BTreeSet<String> {
    let mut session = Session::open(client, upstream);
    let mut said = BTreeSet::new();
    for n in 1..=CALLS {
        let line = unique(mark(agent));
        said.insert(line.clone());
        let tool = ["remember", "recall"][n % 2];
        let (text, progress) = session.call(n, tool, &line);
        assert!(
            progress.iter().all(|told| *told == line),
            "{agent}: {progress:?}"
        );
        if tool == "remember" {
            assert_eq!(text, line, "{agent}: an answer is its caller's own");
            continue;
        }
        let heard: Vec<String> = serde_json::from_str(&text).unwrap();
        assert!(heard.contains(&line), "{agent}: {heard:?}");
        let foreign: Vec<_> = heard
            .iter()
            .filter(|h| !h.starts_with(mark(agent)))
            .collect();
        assert!(
            foreign.is_empty(),
            "{agent} shares a session of {upstream}: {foreign:?}"
        );
    }
    said
}

#[test]
fn principals_on_one_upstream_share_no_session_no_answer_and_no_notification() {
    let (machine, _server) = remembering();
    let gateway = machine.start();
    let agents = [
        (gateway.alpha(), ALPHA),
        (gateway.beta(), BETA),
        (gateway.client_with("gamma.key"), GAMMA),
    ];
    let threads: Vec<_> = (0..CLIENTS)
        .flat_map(|_| &agents)
        .flat_map(|(client, agent)| UPSTREAMS.map(|upstream| (client.again(), *agent, upstream)))
        .map(|(client, agent, upstream)| {
            std::thread::spawn(move || converse(client, agent, upstream))
        })
        .collect();
    let said: usize = threads.into_iter().map(|t| t.join().unwrap().len()).sum();
    assert_eq!(said, CLIENTS * CALLS * agents.len() * UPSTREAMS.len());
    let export = gateway.export();
    machine.auditor().verify(&export).assert_verified();
    let log = Log::read(&export);
    let mut recorded = 0;
    for (entry, intent) in log.intents() {
        let settled = log.decisions().find(|(_, d)| d.call == intent.call);
        let (decision, _) = settled.unwrap();
        let agent = [entry, decision]
            .into_iter()
            .find_map(|e| e.disclosed(Field::Agent));
        let (line, agent) = (entry.line().unwrap(), agent.unwrap());
        assert!(line.starts_with(mark(&agent)), "{agent}: {line}");
        recorded += 1;
    }
    assert_eq!(
        recorded, said,
        "every call stands in the log, with its own agent"
    );
}

//! Upstreams that attack: each attack is contained and named in the record, the next honest answer comes through,
//! and who calls other tools meanwhile notices nothing.

use countersign_record::body::Effect;
use countersign_tests::audit::hold_against_world;
use countersign_tests::auditor::Log;
use countersign_tests::client::{Answer, Client};
use countersign_tests::machine::{Gateway, Machine};
use countersign_tests::process::Process;
use countersign_tests::site::python;
use countersign_tests::{PATIENCE, fixture, unique};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

/// What an upstream does, what its caller is told, and what is recorded of the effect.
type Attack = (&'static str, &'static str, Effect);

/// Attacks that are the same over both wires.
const ATTACKS: [Attack; 12] = [
    ("oversize", "result_too_large", Effect::Unknown),
    ("endless", "result_too_large", Effect::Unknown),
    ("malformed", "upstream_malformed", Effect::Unknown),
    ("not-json", "upstream_malformed", Effect::Unknown),
    ("both", "upstream_malformed", Effect::Unknown),
    ("neither", "upstream_malformed", Effect::Unknown),
    ("duplicate-key", "upstream_malformed", Effect::Unknown),
    ("two-results", "upstream_malformed", Effect::Unknown),
    ("deep", "upstream_malformed", Effect::Unknown),
    ("no-text", "upstream_malformed", Effect::Unknown),
    ("batch", "upstream_malformed", Effect::Unknown),
    ("result-of-no-object", "upstream_malformed", Effect::Unknown),
];

/// Attacks over standard streams.
const OVER_STDIO: [Attack; 2] = [
    ("flood", "upstream_malformed", Effect::Unknown),
    ("crash", "outcome_unknown", Effect::Unknown),
];

/// Attacks over HTTP.
const OVER_HTTP: [Attack; 7] = [
    ("flood", "upstream_malformed", Effect::Unknown),
    ("crash", "outcome_unknown", Effect::Unknown),
    ("wrong-id", "outcome_unknown", Effect::Unknown),
    ("redirect", "redirect_refused", Effect::Unknown),
    ("page", "outcome_unknown", Effect::Unknown),
    ("compressed", "outcome_unknown", Effect::Unknown),
    ("headers", "outcome_unknown", Effect::Unknown),
];

/// A machine with a hostile upstream over each wire, and another of each for what takes long.
struct Besieged {
    machine: Machine,
    /// The HTTP server, stopped when this goes.
    _server: Process,
}

impl Besieged {
    fn new() -> Self {
        let machine = Machine::enrolled();
        let listing = fixture("hostile.json");
        let server = Process::start(&mut hostile(&machine.tools(), "http"));
        let said = server.line().unwrap();
        let port = said.strip_prefix("listening ").unwrap();
        let stdio = format!(
            "kind = \"mcp-stdio\"\ncommand = {:?}\nargs = {:?}\nsandbox = \"none\"",
            python(),
            arguments(&machine.tools(), "stdio")
        );
        let http = format!("kind = \"mcp-http\"\nurl = \"http://127.0.0.1:{port}/mcp\"");
        for (name, reached) in [
            ("streams", &stdio),
            ("slow-streams", &stdio),
            ("web", &http),
            ("slow-web", &http),
        ] {
            machine.site().add_upstream(name, reached, &listing);
        }
        machine.site().build();
        Self {
            machine,
            _server: server,
        }
    }
}

fn arguments(tools: &Path, wire: &str) -> Vec<String> {
    let paths = [fixture("hostile.py"), fixture("hostile.json")];
    let [program, listing] = paths.map(|p| p.display().to_string());
    let mut out = vec!["-I".to_owned(), "-S".to_owned(), program, listing];
    out.extend([wire.to_owned(), tools.display().to_string()]);
    out
}

fn hostile(tools: &Path, wire: &str) -> Command {
    let mut out = Command::new(python());
    out.args(arguments(tools, wire));
    out
}

fn ask(client: &mut Client, upstream: &str, tool: &str) -> Answer {
    let line = unique(tool);
    let answer = client
        .call(&format!("{upstream}.{tool}"), json!({ "line": line }))
        .unwrap();
    if answer.is_ok() {
        assert_eq!(answer.text(), line, "{tool} of {upstream}");
    }
    answer
}

/// Asks for an honest answer until there is one: after a failure there is a pause.
fn until_honest(client: &mut Client, upstream: &str) -> Vec<Answer> {
    let end = Instant::now() + PATIENCE;
    let mut out = Vec::new();
    loop {
        assert!(Instant::now() < end, "{upstream} does not come back");
        let answer = ask(client, upstream, "honest");
        let honest = answer.is_ok();
        assert!(
            honest || answer.code() == "upstream_unavailable",
            "{upstream}: {answer:?}"
        );
        out.push(answer);
        if honest {
            return out;
        }
        // Nothing tells when the pause is over; this is not a step of a test.
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// Calls of another agent, to another upstream, for as long as the attacks last.
struct Bystander {
    over: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Answer>>,
}

impl Bystander {
    fn of(gateway: &Gateway) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let (mut beta, end) = (gateway.beta(), Arc::clone(&over));
        let thread = std::thread::spawn(move || {
            let mut out = Vec::new();
            while !end.load(Ordering::Relaxed) {
                let line = unique("bystander");
                let answer = beta
                    .call("effects.append", json!({ "line": line }))
                    .unwrap();
                assert!(answer.is_ok(), "{answer:?}");
                assert_eq!(answer.text(), line);
                out.push(answer);
                // A person's pace; the log would be long otherwise.
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            out
        });
        Self { over, thread }
    }

    fn answers(self) -> Vec<Answer> {
        self.over.store(true, Ordering::Relaxed);
        let out = self.thread.join().unwrap();
        assert!(!out.is_empty());
        out
    }
}

fn besiege(upstream: &str, attacks: &[Attack]) {
    let besieged = Besieged::new();
    let machine = &besieged.machine;
    let gateway = machine.start();
    let bystander = Bystander::of(&gateway);
    // Bounded by the time that a call may take at all, which is the harness's patience.
    let mut slowly = gateway.alpha().with_patience(2 * PATIENCE);
    let slow = format!("slow-{upstream}");
    let drip = std::thread::spawn(move || ask(&mut slowly, &slow, "drip"));
    let mut alpha = gateway.alpha();
    let mut answers = until_honest(&mut alpha, upstream);
    let mut expected = Vec::new();
    for (tool, code, effect) in attacks {
        let answer = ask(&mut alpha, upstream, tool);
        assert_eq!(answer.code(), *code, "{tool}: {answer:?}");
        assert_eq!(answer.body["result"], Value::Null, "{tool}: {answer:?}");
        expected.push((answer.index().unwrap(), *tool, *effect));
        answers.push(answer);
        answers.append(&mut until_honest(&mut alpha, upstream));
    }
    let dripped = drip.join().unwrap();
    assert_eq!(dripped.code(), "outcome_unknown", "{dripped:?}");
    expected.push((dripped.index().unwrap(), "drip", Effect::Unknown));
    answers.push(dripped);
    answers.append(&mut bystander.answers());
    let export = gateway.export();
    let receipts: Vec<_> = answers
        .iter()
        .filter_map(|a| a.receipt().map(str::to_owned))
        .collect();
    machine
        .auditor()
        .verify_with(&export, &receipts)
        .assert_verified();
    let log = Log::read(&export);
    hold_against_world(&log, &machine.effects(), &answers);
    for (index, tool, effect) in expected {
        let decision = log.0[usize::try_from(index).unwrap()].decision().unwrap();
        assert_eq!(decision.effect, effect, "{tool}");
    }
}

#[test]
fn an_upstream_over_stdio_that_attacks_is_contained_and_others_notice_nothing() {
    besiege("streams", &[&ATTACKS[..], &OVER_STDIO].concat());
}

#[test]
fn an_upstream_over_http_that_attacks_is_contained_and_others_notice_nothing() {
    besiege("web", &[&ATTACKS[..], &OVER_HTTP].concat());
}

#[test]
fn an_answer_with_another_id_is_not_taken_for_the_answer() {
    let besieged = Besieged::new();
    let gateway = besieged.machine.start();
    let answer = ask(&mut gateway.alpha(), "streams", "wrong-id");
    assert!(answer.is_ok(), "{answer:?}");
}

#[test]
fn a_second_answer_changes_nothing_and_reaches_no_other_call() {
    let besieged = Besieged::new();
    let gateway = besieged.machine.start();
    let mut alpha = gateway.alpha();
    for upstream in ["streams", "web"] {
        for _ in 0..5 {
            let answers = [
                ask(&mut alpha, upstream, "twice"),
                ask(&mut alpha, upstream, "honest"),
            ];
            assert!(answers.iter().all(Answer::is_ok), "{answers:?}");
        }
    }
}

#[test]
fn a_list_that_changes_mid_run_takes_away_the_tool_that_changed_and_no_model_reads_its_orders() {
    let besieged = Besieged::new();
    let machine = &besieged.machine;
    let gateway = machine.start();
    let mut alpha = gateway.alpha();
    let listed = |client: &mut Client| {
        let list = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {} });
        let body = list.to_string();
        let json = [("content-type", "application/json")];
        let answer = client.request("POST", "/mcp/streams", &json, body.as_bytes());
        String::from_utf8(answer.unwrap().body).unwrap()
    };
    assert!(listed(&mut alpha).contains("\"honest\""));
    assert!(ask(&mut alpha, "streams", "honest").is_ok());
    fs::write(machine.tools().join("changed"), "").unwrap();
    let end = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < end, "the change is not seen");
        let answer = ask(&mut alpha, "streams", "honest");
        if answer.code() == "descriptor_changed" {
            break;
        }
        assert!(answer.is_ok(), "{answer:?}");
        // Nothing tells when a listing has been read; this is not a step of a test.
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let list = listed(&mut alpha);
    assert!(
        !list.contains("\"honest\"") && !list.contains("Ignore what you were told"),
        "{list}"
    );
    assert!(list.contains("\"twice\""), "the other tools stay: {list}");
    assert!(ask(&mut alpha, "streams", "twice").is_ok());
    machine
        .auditor()
        .verify(&gateway.export())
        .assert_verified();
}

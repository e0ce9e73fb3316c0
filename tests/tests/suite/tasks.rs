//! Tasks: a call that waits for people, and one whose upstream takes its time, as clients that take tasks meet them.

use countersign_record::body::{Effect, Verdict};
use countersign_record::commitment::Field;
use countersign_signatures::token::TokenHash;
use countersign_tests::auditor::Log;
use countersign_tests::client::{Client, Credential, Response};
use countersign_tests::issuer::{HeldKey, Issuer};
use countersign_tests::machine::{Gateway, Machine};
use countersign_tests::site::{SiteOptions, python};
use countersign_tests::{PATIENCE, fixture};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::time::Instant;

const EXTENSION: &str = "io.modelcontextprotocol/tasks";
/// The token of another agent of alpha's tenant.
const DELTA_TOKEN: &str = "another-agent-of-the-north-0123456789abcdef";

fn started() -> (Machine, Gateway) {
    let machine = Machine::enrolled();
    let gateway = machine.start();
    (machine, gateway)
}

/// The abilities of a client that takes tasks.
fn takes_tasks() -> Value {
    json!({ "extensions": { EXTENSION: {} }, "elicitation": { "url": {} } })
}

fn send(client: &mut Client, path: &str, abilities: &Value, message: Value) -> Response {
    client.stateless(path, abilities, message, &[]).unwrap()
}

fn call_at(client: &mut Client, path: &str, tool: &str, line: &str) -> Value {
    let params = json!({ "name": tool, "arguments": { "line": line } });
    let message = json!({ "id": 1, "method": "tools/call", "params": params });
    send(client, path, &takes_tasks(), message).json()
}

fn call(client: &mut Client, tool: &str, line: &str) -> Value {
    call_at(client, "/mcp/effects", tool, line)
}

/// The task that a call was answered with.
#[track_caller]
fn task_of(answer: &Value) -> String {
    assert_eq!(answer["result"]["resultType"], "task", "{answer}");
    answer["result"]["taskId"].as_str().unwrap().to_owned()
}

fn about_at(client: &mut Client, path: &str, method: &str, task: &str) -> Value {
    let params = json!({ "taskId": task, "inputResponses": {} });
    let message = json!({ "id": 2, "method": method, "params": params });
    send(client, path, &takes_tasks(), message).json()
}

fn about(client: &mut Client, method: &str, task: &str) -> Value {
    about_at(client, "/mcp/effects", method, task)
}

/// Looks at a task until it is no longer in one of these statuses.
#[track_caller]
fn while_it_is(client: &mut Client, path: &str, statuses: &[&str], task: &str) -> Value {
    let end = Instant::now() + PATIENCE + PATIENCE;
    loop {
        let seen = about_at(client, path, "tasks/get", task);
        let status = seen["result"]["status"].as_str();
        if status.is_none_or(|s| !statuses.contains(&s)) {
            return seen;
        }
        assert!(Instant::now() < end, "{seen}");
    }
}

#[track_caller]
fn until_over(client: &mut Client, task: &str) -> Value {
    while_it_is(client, "/mcp/effects", &["working"], task)
}

fn say(gateway: &Gateway, choice: &str) {
    let list = gateway.approve(&["list"]);
    let id = list.split_whitespace().next().unwrap().to_owned();
    let _shown = gateway.approve(&[choice, &id]);
}

#[track_caller]
fn expect_unknown(answer: &Value) {
    assert_eq!(answer["error"]["code"], -32602, "{answer}");
}

fn receipt(object: &Value) -> String {
    let receipt = &object["_meta"]["dev.countersign/decision"]["receipt"];
    receipt
        .as_str()
        .unwrap_or_else(|| panic!("{object}"))
        .to_owned()
}

// Calls that wait for people.

#[test]
fn a_halted_call_is_a_task_that_goes_on_once_a_person_has_approved_and_is_carried_out_once() {
    let (machine, gateway) = started();
    let mut alpha = gateway.alpha();
    let halted = call(&mut alpha, "erase", "gone");
    let task = task_of(&halted);
    let told = &halted["result"];
    assert_eq!(told["status"], "working", "{halted}");
    assert_eq!(
        told["_meta"]["dev.countersign/refusal"]["code"],
        "approval_required"
    );
    assert!(told["ttlMs"].as_u64().unwrap() > 0);
    assert!(told["createdAt"].as_str().unwrap().contains('T'));
    // It waits, however often it is asked; and the same call sent again is the same task.
    for _ in 0..3 {
        let seen = about(&mut alpha, "tasks/get", &task);
        assert_eq!(seen["result"]["status"], "working", "{seen}");
        assert_eq!(seen["result"]["resultType"], "complete");
    }
    let again = call(&mut alpha, "erase", "gone");
    assert_eq!(task_of(&again), task);
    assert!(machine.effects().is_empty());
    say(&gateway, "yes");
    let done = until_over(&mut alpha, &task);
    assert_eq!(done["result"]["status"], "completed", "{done}");
    let result = &done["result"]["result"];
    assert_eq!(result["content"][0]["text"], "gone", "{done}");
    assert_eq!(about(&mut alpha, "tasks/get", &task), done);
    let ack = about(&mut alpha, "tasks/cancel", &task);
    assert_eq!(ack["result"], json!({ "resultType": "complete" }));
    assert_eq!(about(&mut alpha, "tasks/get", &task), done);
    assert_eq!(machine.effects(), ["gone"]);
    let receipts = [receipt(told), receipt(&again["result"]), receipt(result)];
    let export = gateway.export();
    let verdict = machine.auditor().verify_with(&export, &receipts);
    verdict.assert_verified();
    assert_eq!(verdict.count("carried_out_approved"), 1);
    // Polls leave no records: two calls that were halted, and the one that was carried out.
    let log = Log::read(&export);
    let verdicts: Vec<Verdict> = log.decisions().map(|(_, d)| d.verdict).collect();
    assert_eq!(verdicts, [Verdict::StepUp, Verdict::StepUp, Verdict::Allow]);
    let (first, last) = (
        log.decisions().next().unwrap().1,
        log.decisions().last().unwrap().1,
    );
    assert_eq!(last.parent, Some(first.call));
    assert_ne!(last.call, first.call);
    machine.expect_replay(&export);
}

#[test]
fn many_who_poll_at_once_have_one_approved_call_carried_out_once() {
    let (machine, gateway) = started();
    let task = task_of(&call(&mut gateway.alpha(), "erase", "once"));
    say(&gateway, "yes");
    let clients: Vec<Client> = (0..8).map(|_| gateway.alpha()).collect();
    std::thread::scope(|scope| {
        for mut alpha in clients {
            let task = &task;
            scope.spawn(move || {
                let done = until_over(&mut alpha, task);
                assert_eq!(done["result"]["status"], "completed", "{done}");
            });
        }
    });
    assert_eq!(machine.effects(), ["once"]);
    let export = gateway.export();
    machine.auditor().verify(&export).assert_verified();
    assert_eq!(Log::read(&export).intents().count(), 1);
}

#[test]
fn a_refused_approval_makes_the_task_fail_by_name_and_nothing_is_done() {
    let (machine, gateway) = started();
    let mut alpha = gateway.alpha();
    let task = task_of(&call(&mut alpha, "erase", "stays"));
    say(&gateway, "no");
    let over = until_over(&mut alpha, &task);
    assert_eq!(over["result"]["status"], "failed", "{over}");
    let error = &over["result"]["error"];
    assert!(error["code"].is_i64() && over["result"]["result"].is_null());
    let refusal = &error["data"]["_meta"]["dev.countersign/refusal"];
    assert_eq!(refusal["code"], "approval_refused", "{over}");
    assert_eq!(over["result"]["statusMessage"], error["message"]);
    assert!(machine.effects().is_empty());
    let receipts = [receipt(&error["data"])];
    let verdict = machine.auditor().verify_with(&gateway.export(), &receipts);
    verdict.assert_verified();
}

#[test]
fn a_task_that_its_client_ends_stays_ended_and_what_people_say_is_for_the_call_sent_again() {
    let (machine, gateway) = started();
    let mut alpha = gateway.alpha();
    let task = task_of(&call(&mut alpha, "erase", "later"));
    let ack = about(&mut alpha, "tasks/cancel", &task);
    assert_eq!(ack["result"], json!({ "resultType": "complete" }), "{ack}");
    say(&gateway, "yes");
    for _ in 0..3 {
        let seen = about(&mut alpha, "tasks/get", &task);
        assert_eq!(seen["result"]["status"], "cancelled", "{seen}");
    }
    assert!(machine.effects().is_empty());
    let done = call(&mut alpha, "erase", "later");
    assert_eq!(done["result"]["content"][0]["text"], "later", "{done}");
    assert_eq!(machine.effects(), ["later"]);
    machine
        .auditor()
        .verify(&gateway.export())
        .assert_verified();
}

#[test]
fn a_call_sent_again_uses_the_approval_and_its_task_says_so() {
    let (machine, gateway) = started();
    let mut alpha = gateway.alpha();
    let task = task_of(&call(&mut alpha, "erase", "by itself"));
    say(&gateway, "yes");
    let done = call(&mut alpha, "erase", "by itself");
    assert_eq!(done["result"]["content"][0]["text"], "by itself", "{done}");
    let over = until_over(&mut alpha, &task);
    assert_eq!(over["result"]["status"], "failed", "{over}");
    assert_eq!(machine.effects(), ["by itself"]);
    machine
        .auditor()
        .verify(&gateway.export())
        .assert_verified();
}

#[test]
fn a_task_opens_nothing_for_anybody_else_nor_at_another_door() {
    let machine = Machine::enrolled();
    let hash = hex::encode(TokenHash::of(DELTA_TOKEN).unwrap().as_bytes());
    machine.site().write(
        "agents/delta.toml",
        &format!(
            "urn = \"agent:tests/delta@1\"\ntenant = \"north\"\ntoken_digest = \"{hash}\"\ngroups = [\"north\"]\n"
        ),
    );
    machine.site().build();
    let gateway = machine.start();
    let mut alpha = gateway.alpha();
    let mut delta = Client::new(gateway.authority(), Credential::Token(DELTA_TOKEN.into()));
    let task = task_of(&call(&mut alpha, "erase", "mine"));
    say(&gateway, "yes");
    for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
        expect_unknown(&about(&mut delta, method, &task));
        expect_unknown(&about(&mut gateway.beta(), method, &task));
        expect_unknown(&about_at(&mut alpha, "/mcp", method, &task));
        expect_unknown(&about(
            &mut alpha,
            method,
            "0123456789abcdef0123456789abcdef",
        ));
        let stranger = about(&mut gateway.stranger(), method, &task);
        assert_eq!(stranger["error"]["code"], -32600, "{stranger}");
    }
    assert!(machine.effects().is_empty());
    let done = until_over(&mut alpha, &task);
    assert_eq!(done["result"]["status"], "completed", "{done}");
    assert_eq!(machine.effects(), ["mine"]);
    machine
        .auditor()
        .verify(&gateway.export())
        .assert_verified();
}

#[test]
fn tasks_are_told_of_and_are_for_who_declares_them_in_the_revision_that_has_them() {
    let (_machine, gateway) = started();
    let mut alpha = gateway.alpha();
    let plain = json!({});
    let ask = json!({ "id": 1, "method": "server/discover", "params": { "name": "" } });
    let offered = send(&mut alpha, "/mcp/effects", &plain, ask).json();
    assert!(
        offered["result"]["capabilities"]["extensions"][EXTENSION].is_object(),
        "{offered}"
    );
    let message = |method: &str| json!({ "id": 2, "method": method, "params": { "taskId": "t", "inputResponses": {} } });
    for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
        let refused = send(&mut alpha, "/mcp/effects", &plain, message(method));
        let body = refused.json();
        assert_eq!(
            (refused.status, &body["error"]["code"]),
            (400, &json!(-32021))
        );
        let needed = &body["error"]["data"]["requiredCapabilities"]["extensions"];
        assert!(needed[EXTENSION].is_object(), "{body}");
        // The revision with sessions has other tasks, which are not offered.
        let mut older = message(method);
        older["jsonrpc"] = "2.0".into();
        let older = alpha.mcp(&older, &[]).unwrap().json();
        assert_eq!(older["error"]["code"], -32601, "{older}");
    }
    for method in ["tasks/list", "tasks/result"] {
        let gone = send(&mut alpha, "/mcp/effects", &takes_tasks(), message(method)).json();
        assert_eq!(gone["error"]["code"], -32601, "{gone}");
    }
    let listen = json!({ "id": 3, "method": "subscriptions/listen", "params": { "name": "", "notifications": { "taskIds": ["t"] } } });
    let refused = send(&mut alpha, "/mcp/effects", &plain, listen);
    assert_eq!(refused.json()["error"]["code"], -32021);
    // Who declares nothing is told as before.
    let params = json!({ "name": "erase", "arguments": { "line": "x" } });
    let halted = json!({ "id": 4, "method": "tools/call", "params": params });
    let halted = send(&mut alpha, "/mcp/effects", &plain, halted).json();
    assert_eq!(halted["result"]["isError"], true, "{halted}");
    // The header that names a task is held against the body.
    let headers = [
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tasks/get"),
        ("mcp-name", "another"),
    ];
    let mut get = message("tasks/get");
    get["jsonrpc"] = "2.0".into();
    get["params"]["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": takes_tasks(),
    });
    let mismatch = alpha.mcp(&get, &headers).unwrap();
    assert_eq!(mismatch.json()["error"]["code"], -32020);
}

#[test]
fn a_restart_forgets_tasks_and_the_approval_is_for_the_call_sent_again() {
    let (machine, mut gateway) = started();
    let task = task_of(&call(&mut gateway.alpha(), "erase", "survives"));
    say(&gateway, "yes");
    gateway.kill();
    let gateway = machine.start();
    let mut alpha = gateway.alpha();
    expect_unknown(&about(&mut alpha, "tasks/get", &task));
    expect_unknown(&about(&mut alpha, "tasks/cancel", &task));
    let done = call(&mut alpha, "erase", "survives");
    assert_eq!(done["result"]["content"][0]["text"], "survives", "{done}");
    assert_eq!(machine.effects(), ["survives"]);
    machine
        .auditor()
        .verify(&gateway.export())
        .assert_verified();
}

#[test]
fn a_signed_call_that_waits_is_told_as_before_since_a_poll_cannot_prove_it() {
    let (machine, gateway) = started();
    let mut beta = gateway.beta();
    let halted = call(&mut beta, "erase", "signed");
    assert_eq!(halted["result"]["resultType"], "input_required", "{halted}");
    say(&gateway, "yes");
    let done = call(&mut beta, "erase", "signed");
    assert_eq!(done["result"]["content"][0]["text"], "signed", "{done}");
    assert_eq!(machine.effects(), ["signed"]);
    let verdict = machine.auditor().verify(&gateway.export());
    verdict.assert_verified();
    assert_eq!(verdict.state("caller-proofs"), "pass");
}

#[test]
fn a_call_by_a_bound_token_goes_on_by_the_proof_of_the_poll_and_its_record_has_that_one() {
    let machine = Machine::new(&SiteOptions::default());
    let issuer = Issuer::of(machine.site());
    machine.site().build();
    machine.enrol(1);
    let gateway = machine.start();
    let (held, url) = (HeldKey::new(), format!("{}/mcp/effects", gateway.url));
    let send = |token: &str, proof: &str, message: Value| {
        let authorization = format!("DPoP {token}");
        let shown = [("authorization", authorization.as_str()), ("dpop", proof)];
        let client = &mut gateway.stranger();
        let sent = client.stateless("/mcp/effects", &takes_tasks(), message, &shown);
        sent.unwrap()
    };
    let token = issuer.bound(&held, json!({}));
    let prove = || held.proof(&url, &token, json!({}));
    let params = json!({ "name": "erase", "arguments": { "line": "bound" } });
    let call = json!({ "id": 1, "method": "tools/call", "params": params });
    let first = prove();
    let task = task_of(&send(&token, &first, call).json());
    let get = || json!({ "id": 2, "method": "tasks/get", "params": { "taskId": task } });
    say(&gateway, "yes");
    // The proof that was used for the call opens nothing, and another person's token finds nothing.
    assert_eq!(send(&token, &first, get()).status, 401);
    let of_ada = issuer.bound(&held, json!({ "sub": "ada", "act": { "sub": "planner" } }));
    let of_another = held.proof(&url, &of_ada, json!({}));
    expect_unknown(&send(&of_ada, &of_another, get()).json());
    assert!(machine.effects().is_empty());
    let going = prove();
    let mut seen = send(&token, &going, get()).json();
    let end = Instant::now() + PATIENCE;
    while seen["result"]["status"] == "working" {
        assert!(Instant::now() < end, "{seen}");
        seen = send(&token, &prove(), get()).json();
    }
    assert_eq!(seen["result"]["status"], "completed", "{seen}");
    assert_eq!(machine.effects(), ["bound"]);
    let export = gateway.export();
    machine.auditor().verify(&export).assert_verified();
    let log = Log::read(&export);
    let (intent, sealed) = log.intents().next().unwrap();
    assert_eq!(sealed.caller.assurance, 2);
    assert_eq!(intent.claims().dpop, Some(going));
    let (halted, _) = log.decisions().next().unwrap();
    assert_eq!(halted.claims().dpop, Some(first));
    let kept = |controls: &[String]| controls.iter().any(|c| c == "request:kept");
    let kept: Vec<bool> = log.decisions().map(|(_, d)| kept(&d.controls)).collect();
    assert_eq!(kept, [false, true]);
    machine.expect_replay(&export);
}

// Tasks of upstreams.

/// A machine with an upstream that answers with tasks, twice: where its capabilities allow that, and where not.
fn with_tasks() -> Machine {
    let machine = Machine::enrolled();
    let paths = [fixture("tasks.py"), fixture("tasks.json"), machine.tools()];
    let [program, listing, directory] = paths.map(|p| p.display().to_string());
    let arguments = ["-I", "-S", &program, &listing, &directory];
    let reached = format!(
        "kind = \"mcp-stdio\"\ncommand = {:?}\nargs = {arguments:?}\nsandbox = \"none\"",
        python()
    );
    let site = machine.site();
    for name in ["tasked", "untasked"] {
        site.add_upstream(name, &reached, &fixture("tasks.json"));
    }
    let listing: Value =
        serde_json::from_slice(&std::fs::read(fixture("tasks.json")).unwrap()).unwrap();
    for tool in listing.as_array().unwrap() {
        let file = format!(
            "capabilities/tasked-{}.toml",
            tool["name"].as_str().unwrap()
        );
        let text = std::fs::read_to_string(site.file(&file)).unwrap();
        site.write(
            &file,
            &format!("{text}tasks = true\nasks = [\"elicitation\"]\n"),
        );
    }
    site.build();
    machine
}

/// What the upstream was asked.
fn asked(machine: &Machine) -> Vec<String> {
    let text = std::fs::read_to_string(machine.tools().join("tasks.log")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[track_caller]
fn until_asked(machine: &Machine, what: &str) {
    let end = Instant::now() + PATIENCE;
    while !asked(machine).iter().any(|line| line == what) {
        assert!(Instant::now() < end, "{what}: {:?}", asked(machine));
        std::thread::yield_now();
    }
}

fn plainly(
    client: &mut Client,
    adapter: &str,
    tool: &str,
    line: &str,
) -> countersign_tests::client::Answer {
    client
        .call(&format!("{adapter}.{tool}"), json!({ "line": line }))
        .unwrap()
}

#[test]
fn the_task_of_an_upstream_is_followed_and_the_call_has_one_outcome_and_one_record() {
    let machine = with_tasks();
    let gateway = machine.start();
    let mut alpha = gateway.alpha();
    let done = plainly(&mut alpha, "tasked", "later", "by http");
    assert_eq!((done.is_ok(), done.text()), (true, "by http"), "{done:?}");
    let failed = plainly(&mut alpha, "tasked", "errs", "in the tool");
    assert_eq!(failed.body["result"]["isError"], true, "{failed:?}");
    let broken = plainly(&mut alpha, "tasked", "fails", "x");
    assert_eq!(broken.body["upstream_error"]["code"], -32050, "{broken:?}");
    assert_eq!(machine.effects(), ["by http", "in the tool"]);
    let receipts = [done, failed, broken].map(|a| a.receipt().unwrap().to_owned());
    let export = gateway.export();
    let verdict = machine.auditor().verify_with(&export, &receipts);
    verdict.assert_verified();
    let log = Log::read(&export);
    assert_eq!((log.intents().count(), log.decisions().count()), (3, 3));
    // What was said in between stands in the record.
    let (logged, _) = log.decisions().next().unwrap();
    let told = logged.disclosed(Field::Transcript).unwrap();
    assert!(
        told.contains("asked 1 times") && told.contains("asked 2 times"),
        "{told}"
    );
    assert!(asked(&machine).contains(&"call later told".to_owned()));
    machine.expect_replay(&export);
}

#[test]
fn where_no_capability_allows_a_task_the_server_is_not_told_of_them_and_one_is_refused() {
    let machine = with_tasks();
    let gateway = machine.start();
    let mut alpha = gateway.alpha();
    let refused = plainly(&mut alpha, "untasked", "later", "x");
    assert_eq!(refused.code(), "upstream_malformed", "{refused:?}");
    let refused = call_at(&mut alpha, "/mcp/untasked", "later", "x");
    let refusal = &refused["result"]["_meta"]["dev.countersign/refusal"];
    assert_eq!(refusal["code"], "upstream_malformed", "{refused}");
    assert_eq!(asked(&machine), ["call later untold", "call later untold"]);
    assert!(machine.effects().is_empty());
    machine
        .auditor()
        .verify(&gateway.export())
        .assert_verified();
}

#[test]
fn a_client_that_takes_tasks_gets_one_of_the_gateways_own_while_its_call_runs() {
    let machine = with_tasks();
    let gateway = machine.start();
    // It is one request and one record, so a caller that signs gets it, too.
    for (mut client, line) in [(gateway.alpha(), "north"), (gateway.beta(), "south")] {
        let created = call_at(&mut client, "/mcp/tasked", "later", line);
        let task = task_of(&created);
        assert!(!task.starts_with("task-"), "{created}");
        assert!(created["result"]["result"].is_null());
        let done = while_it_is(&mut client, "/mcp/tasked", &["working"], &task);
        assert_eq!(done["result"]["status"], "completed", "{done}");
        let result = &done["result"]["result"];
        assert_eq!(result["content"][0]["text"], line, "{done}");
        assert!(!receipt(result).is_empty());
    }
    let mut alpha = gateway.alpha();
    let task = task_of(&call_at(&mut alpha, "/mcp/tasked", "fails", "x"));
    let over = while_it_is(&mut alpha, "/mcp/tasked", &["working"], &task);
    assert_eq!(over["result"]["status"], "failed", "{over}");
    assert_eq!(over["result"]["error"]["code"], -32050, "{over}");
    assert!(!receipt(&over["result"]).is_empty());
    let verdict = machine.auditor().verify(&gateway.export());
    verdict.assert_verified();
    assert_eq!(verdict.state("caller-proofs"), "pass");
}

#[test]
fn the_questions_of_a_task_are_put_in_ours_answered_one_by_one_and_only_once() {
    let machine = with_tasks();
    let gateway = machine.start();
    let mut alpha = gateway.alpha();
    let path = "/mcp/tasked";
    let able = json!({ "extensions": { EXTENSION: {} }, "elicitation": {} });
    let params = json!({ "name": "asks", "arguments": { "line": "asked" } });
    let message = json!({ "id": 1, "method": "tools/call", "params": params });
    let task = task_of(&send(&mut alpha, path, &able, message).json());
    let seen = while_it_is(&mut alpha, path, &["working"], &task);
    assert_eq!(seen["result"]["status"], "input_required", "{seen}");
    let questions = seen["result"]["inputRequests"].as_object().unwrap().clone();
    assert_eq!(questions.len(), 2, "{seen}");
    assert!(
        questions
            .values()
            .all(|q| q["method"] == "elicitation/create")
    );
    // Names of the upstream are not the client's: nobody answers what was put to another.
    assert!(!questions.contains_key("first"));
    let update = |name: &str, text: &str, client: &mut Client| {
        let answer = json!({ "action": "accept", "content": { "name": text } });
        let params = json!({ "taskId": task, "inputResponses": { name: answer } });
        let message = json!({ "id": 2, "method": "tasks/update", "params": params });
        send(client, path, &able, message).json()
    };
    let names: Vec<&String> = questions.keys().collect();
    expect_unknown(&update(names[0], "stranger", &mut gateway.beta()));
    let ack = update(names[0], "one", &mut alpha);
    assert_eq!(ack["result"], json!({ "resultType": "complete" }), "{ack}");
    let seen = about_at(&mut alpha, path, "tasks/get", &task);
    let left = seen["result"]["inputRequests"].as_object().unwrap();
    assert_eq!(left.keys().collect::<Vec<_>>(), [names[1]], "{seen}");
    // Replays and answers to nothing change nothing.
    update(names[0], "another", &mut alpha);
    update("first", "another", &mut alpha);
    update(names[1], "one", &mut alpha);
    let done = while_it_is(&mut alpha, path, &["working", "input_required"], &task);
    let text = &done["result"]["result"]["content"][0]["text"];
    assert_eq!(text, "one and one", "{done}");
    let export = gateway.export();
    machine.auditor().verify(&export).assert_verified();
    let log = Log::read(&export);
    let (logged, _) = log.decisions().last().unwrap();
    let told = logged.disclosed(Field::Transcript).unwrap();
    assert!(told.contains("Who?") && told.contains("accept"), "{told}");
    // Who cannot be asked is refused, and the upstream is told that nobody waits.
    let refused = plainly(&mut alpha, "tasked", "asks", "x");
    assert_eq!(refused.code(), "upstream_malformed", "{refused:?}");
    until_asked(&machine, "cancel asks");
}

#[test]
fn a_client_with_a_session_is_asked_by_a_task_on_the_stream_of_its_call() {
    let machine = with_tasks();
    let gateway = machine.start();
    let mut alpha = gateway.alpha();
    let json_type = ("content-type", "application/json");
    let mut post = |headers: &[(&str, &str)], message: Value| {
        let body = message.to_string();
        alpha
            .request("POST", "/mcp/tasked", headers, body.as_bytes())
            .unwrap()
    };
    let about = json!({ "protocolVersion": "2025-11-25", "capabilities": { "elicitation": {} } });
    let hello = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": about });
    let opened = post(&[json_type], hello);
    let session = opened.header("mcp-session-id").unwrap().to_owned();
    let params = json!({ "name": "asks", "arguments": { "line": "asked" } });
    let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
    let call = call.to_string();
    // A connection of its own, whose answer is read while it comes.
    let mut stream = TcpStream::connect(gateway.authority()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let (host, token) = (gateway.authority(), machine.site().token());
    write!(
        stream,
        "POST /mcp/tasked HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\nmcp-session-id: {session}\r\n\
         content-type: application/json\r\naccept: application/json, text/event-stream\r\ncontent-length: {}\r\n\r\n{call}",
        call.len()
    )
    .unwrap();
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
    let mut next = || {
        let data = lines.find_map(|line| line.strip_prefix("data: ").map(str::to_owned));
        serde_json::from_str::<Value>(&data.unwrap()).unwrap()
    };
    for _ in 0..2 {
        let question = next();
        assert_eq!(question["method"], "elicitation/create", "{question}");
        let result = json!({ "action": "accept", "content": { "name": "both" } });
        let answer = json!({ "jsonrpc": "2.0", "id": question["id"], "result": result });
        let headers = [json_type, ("mcp-session-id", session.as_str())];
        assert_eq!(post(&headers, answer).status, 202);
    }
    let done = next();
    let text = &done["result"]["content"][0]["text"];
    assert_eq!(text, "both and both", "{done}");
    machine
        .auditor()
        .verify(&gateway.export())
        .assert_verified();
}

#[test]
fn a_task_that_its_client_or_a_person_ends_is_cancelled_upstream_and_its_effect_is_unknown() {
    let machine = with_tasks();
    let gateway = machine.start();
    let mut alpha = gateway.alpha();
    let path = "/mcp/tasked";
    let task = task_of(&call_at(&mut alpha, path, "never", "x"));
    let seen = about_at(&mut alpha, path, "tasks/get", &task);
    assert_eq!(seen["result"]["status"], "working", "{seen}");
    about_at(&mut alpha, path, "tasks/cancel", &task);
    let over = while_it_is(&mut alpha, path, &["working"], &task);
    assert_eq!(over["result"]["status"], "cancelled", "{over}");
    let refusal = &over["result"]["_meta"]["dev.countersign/refusal"];
    assert_eq!(refusal["code"], "cancelled", "{over}");
    until_asked(&machine, "cancel never");
    // A person's stop reaches a task that runs as it reaches any call.
    let task = task_of(&call_at(&mut alpha, path, "never", "y"));
    let order = ["stop", "--everything", "--reason", "enough", "--id", "all"];
    let said = gateway.order(&order).unwrap();
    assert!(said.contains("1 running calls were told"), "{said}");
    let over = while_it_is(&mut alpha, path, &["working"], &task);
    assert_eq!(over["result"]["status"], "failed", "{over}");
    let refusal = &over["result"]["error"]["data"]["_meta"]["dev.countersign/refusal"];
    assert_eq!(refusal["code"], "stopped_running", "{over}");
    let cancels = || {
        asked(&machine)
            .iter()
            .filter(|l| *l == "cancel never")
            .count()
    };
    assert_eq!(cancels(), 2);
    let export = gateway.export();
    machine.auditor().verify(&export).assert_verified();
    let log = Log::read(&export);
    let ends: Vec<_> = log
        .decisions()
        .map(|(_, d)| (d.effect, d.cancelled.clone()))
        .collect();
    let unknown = |word: &str| (Effect::Unknown, Some(word.to_owned()));
    assert_eq!(ends, [unknown("cancelled"), unknown("stopped")]);
}

#[test]
fn a_client_that_goes_away_takes_its_task_upstream_with_it() {
    let machine = with_tasks();
    let gateway = machine.start();
    let mut alpha = gateway.alpha();
    let params = json!({
        "name": "never", "arguments": { "line": "x" },
        "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        },
    });
    let message = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
    let headers = [
        ("content-type", "application/json"),
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "never"),
    ];
    let body = message.to_string();
    alpha
        .send("POST", "/mcp/tasked", &headers, body.as_bytes())
        .unwrap();
    until_asked(&machine, "get never");
    alpha.hang_up();
    until_asked(&machine, "cancel never");
}

#[test]
fn tasks_that_break_the_protocol_are_contained_and_named() {
    let machine = with_tasks();
    let gateway = machine.start();
    let mut alpha = gateway.alpha();
    for (tool, code) in [
        ("swapped", "upstream_malformed"),
        ("odd", "upstream_malformed"),
        ("nested", "upstream_malformed"),
        ("ends", "outcome_unknown"),
        ("forgets", "outcome_unknown"),
        ("huge", "result_too_large"),
    ] {
        let refused = plainly(&mut alpha, "tasked", tool, "x");
        assert_eq!(refused.code(), code, "{tool}: {refused:?}");
        assert!(!refused.body.to_string().contains("secret of another"));
    }
    for tool in ["swapped", "odd", "nested"] {
        until_asked(&machine, &format!("cancel {tool}"));
    }
    assert!(machine.effects().is_empty());
    let export = gateway.export();
    machine.auditor().verify(&export).assert_verified();
    let log = Log::read(&export);
    assert!(log.decisions().all(|(_, d)| d.effect == Effect::Unknown));
}

#[test]
fn a_task_that_never_ends_ends_with_the_time_of_its_call() {
    let machine = with_tasks();
    let gateway = machine.start();
    let mut alpha = gateway.alpha().with_patience(PATIENCE + PATIENCE);
    let refused = plainly(&mut alpha, "tasked", "never", "x");
    assert_eq!(refused.code(), "outcome_unknown", "{refused:?}");
    until_asked(&machine, "cancel never");
    let export = gateway.export();
    machine.auditor().verify(&export).assert_verified();
    let log = Log::read(&export);
    let (_, decision) = log.decisions().last().unwrap();
    assert_eq!(decision.cancelled.as_deref(), Some("timeout"));
}

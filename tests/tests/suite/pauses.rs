//! A server that asks while a call runs, as clients without sessions meet it: in the place of an answer.

use countersign_record::body::{Effect, Verdict};
use countersign_record::commitment::Field;
use countersign_tests::auditor::Log;
use countersign_tests::client::{Client, Response};
use countersign_tests::fixture;
use countersign_tests::machine::{Gateway, Machine};
use countersign_tests::site::python;
use serde_json::{Value, json};

/// A machine with a server that asks.
fn started() -> (Machine, Gateway) {
    let machine = Machine::enrolled();
    let paths = [
        fixture("asking.py"),
        fixture("asking.json"),
        machine.tools(),
    ];
    let [program, listing, directory] = paths.map(|p| p.display().to_string());
    let arguments = ["-I", "-S", &program, &listing, &directory];
    let reached = format!(
        "kind = \"mcp-stdio\"\ncommand = {:?}\nargs = {arguments:?}\nsandbox = \"none\"",
        python()
    );
    let site = machine.site();
    site.add_upstream("asking", &reached, &fixture("asking.json"));
    for tool in ["once", "twice", "both", "tells", "samples"] {
        let file = format!("capabilities/asking-{tool}.toml");
        let text = std::fs::read_to_string(site.file(&file)).unwrap();
        let asks = "asks = [\"elicitation\", \"sampling\"]\n";
        site.write(&file, &format!("{text}{asks}"));
    }
    site.build();
    let gateway = machine.start();
    (machine, gateway)
}

/// What a client that answers forms and has a model can do.
fn able() -> Value {
    json!({ "elicitation": {}, "sampling": {} })
}

fn call(tool: &str, line: &str) -> Value {
    json!({ "name": tool, "arguments": { "line": line } })
}

fn post(client: &mut Client, path: &str, abilities: &Value, mut params: Value) -> Response {
    params["_meta"] = json!({ "progressToken": "mine" });
    let message = json!({ "id": 1, "method": "tools/call", "params": params });
    client.stateless(path, abilities, message, &[]).unwrap()
}

fn send(client: &mut Client, params: Value) -> Value {
    post(client, "/mcp/asking", &able(), params).json()
}

/// The questions of an answer, each by its name, and the state that belongs to them.
#[track_caller]
fn asked(answer: &Value) -> (Vec<(String, Value)>, Value) {
    let result = &answer["result"];
    assert_eq!(result["resultType"], "input_required", "{answer}");
    let questions = result["inputRequests"].as_object().unwrap();
    let questions = questions.iter().map(|(n, q)| (n.clone(), q.clone()));
    (questions.collect(), result["requestState"].clone())
}

/// The same call again, with this said to some of what it asked.
fn again(params: &Value, state: &Value, answers: &[(&str, &str)]) -> Value {
    let mut params = params.clone();
    params["requestState"] = state.clone();
    params["inputResponses"] = json!({});
    for (question, name) in answers {
        let answer = json!({ "action": "accept", "content": { "name": name } });
        params["inputResponses"][question] = answer;
    }
    params
}

#[track_caller]
fn expect_text(answer: &Value, text: &str) {
    let found = &answer["result"]["content"][0]["text"];
    assert_eq!(found, text, "{answer}");
    assert_eq!(answer["result"]["resultType"], "complete");
}

#[track_caller]
fn expect_no_pause(answer: &Value) {
    assert_eq!(answer["error"]["code"], -32602, "{answer}");
}

#[test]
fn a_server_that_asks_while_it_runs_gets_its_answer_from_the_next_message_of_a_client_without_sessions()
 {
    let (machine, gateway) = started();
    // Also one whose every message is signed: the call is proved by the first, the answer by its own.
    for (mut client, line) in [(gateway.alpha(), "north"), (gateway.beta(), "south")] {
        let params = call("once", line);
        let (questions, state) = asked(&send(&mut client, params.clone()));
        let [(name, question)] = questions.as_slice() else {
            panic!("{questions:?}");
        };
        assert_eq!(question["method"], "elicitation/create");
        assert_eq!(question["params"]["message"], format!("Who for {line}?"));
        let done = send(&mut client, again(&params, &state, &[(name, "Ada")]));
        expect_text(&done, "Ada");
    }
    assert_eq!(machine.effects(), ["north", "south"]);
    let export = gateway.export();
    let verdict = machine.auditor().verify(&export);
    verdict.assert_verified();
    assert_eq!(verdict.state("caller-proofs"), "pass");
    // One call, one record, with what was asked and said.
    let log = Log::read(&export);
    assert_eq!((log.intents().count(), log.decisions().count()), (2, 2));
    let (logged, decision) = log.decisions().next().unwrap();
    assert_eq!(decision.verdict, Verdict::Allow);
    let told = logged.disclosed(Field::Transcript).unwrap();
    assert!(told.contains("Who for") && told.contains("Ada"), "{told}");
    machine.expect_replay(&export);
}

#[test]
fn questions_that_come_together_are_put_together_and_what_is_not_answered_is_asked_again() {
    let (machine, gateway) = started();
    let mut alpha = gateway.alpha();
    let params = call("both", "x");
    let first = send(&mut alpha, params.clone());
    let (mut questions, mut state) = asked(&first);
    // The second may be a moment behind the first.
    while questions.len() == 1 {
        (questions, state) = asked(&send(&mut alpha, again(&params, &state, &[])));
    }
    let names: Vec<&str> = questions.iter().map(|(n, _)| n.as_str()).collect();
    let answers = [(names[0], "one"), ("nothing", "two")];
    let left = send(&mut alpha, again(&params, &state, &answers));
    let (left, state) = asked(&left);
    assert_eq!(left, questions[1..], "{left:?}");
    let done = send(&mut alpha, again(&params, &state, &[(names[1], "two")]));
    let text = done["result"]["content"][0]["text"].as_str().unwrap();
    assert!(["one and two", "two and one"].contains(&text), "{done}");
    // One after the other, each has its turn.
    let params = call("twice", "y");
    let (first, state) = asked(&send(&mut alpha, params.clone()));
    let second = send(&mut alpha, again(&params, &state, &[(&first[0].0, "one")]));
    let (second, state) = asked(&second);
    assert_eq!(second[0].1["params"]["message"], "Second?");
    let done = send(&mut alpha, again(&params, &state, &[(&second[0].0, "two")]));
    expect_text(&done, "one and two");
    machine
        .auditor()
        .verify(&gateway.export())
        .assert_verified();
}

#[test]
fn a_call_that_pauses_goes_on_for_nobody_else_for_no_other_request_and_once() {
    let (machine, gateway) = started();
    let mut alpha = gateway.alpha();
    let params = call("once", "mine");
    let (questions, state) = asked(&send(&mut alpha, params.clone()));
    let answers = [(questions[0].0.as_str(), "Ada")];
    let stolen = again(&params, &state, &answers);
    expect_no_pause(&send(&mut gateway.beta(), stolen.clone()));
    expect_no_pause(&post(&mut alpha, "/mcp/effects", &able(), stolen).json());
    expect_no_pause(&send(
        &mut alpha,
        again(&call("once", "other"), &state, &answers),
    ));
    expect_no_pause(&send(
        &mut alpha,
        again(&call("both", "mine"), &state, &answers),
    ));
    let guessed = json!("countersign-pause:00000000000000000000000000000000");
    expect_no_pause(&send(&mut alpha, again(&params, &guessed, &answers)));
    assert!(machine.effects().is_empty());
    let mine = again(&params, &state, &answers);
    expect_text(&send(&mut alpha, mine.clone()), "Ada");
    expect_no_pause(&send(&mut alpha, mine));
    assert_eq!(machine.effects(), ["mine"]);
    let export = gateway.export();
    machine.auditor().verify(&export).assert_verified();
    // What carried nothing on was no call.
    assert_eq!(Log::read(&export).decisions().count(), 1);
}

#[test]
fn a_call_that_told_something_before_asks_at_the_end_of_its_stream() {
    let (machine, gateway) = started();
    let mut alpha = gateway.alpha();
    let params = call("tells", "x");
    let stream = post(&mut alpha, "/mcp/asking", &able(), params.clone());
    let text = String::from_utf8(stream.body).unwrap();
    let events: Vec<Value> = text
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|data| serde_json::from_str(data).unwrap())
        .collect();
    assert_eq!(events[0]["method"], "notifications/progress", "{text}");
    let (questions, state) = asked(&events[1]);
    let answer = again(&params, &state, &[(&questions[0].0, "Ada")]);
    expect_text(&send(&mut alpha, answer), "Ada");
    machine
        .auditor()
        .verify(&gateway.export())
        .assert_verified();
}

#[test]
fn who_cannot_be_asked_is_refused_to_the_server_by_name() {
    let (machine, gateway) = started();
    let mut alpha = gateway.alpha();
    let without = post(&mut alpha, "/mcp/asking", &json!({}), call("once", "x")).json();
    let text = without["result"]["content"][0]["text"].as_str().unwrap();
    assert!(text.starts_with("refused: "), "{without}");
    let (questions, state) = asked(&send(&mut alpha, call("samples", "Say yes.")));
    assert_eq!(questions[0].1["method"], "sampling/createMessage");
    let mut answer = again(&call("samples", "Say yes."), &state, &[]);
    let content = json!({ "type": "text", "text": "yes" });
    answer["inputResponses"][&questions[0].0] =
        json!({ "role": "assistant", "model": "m", "content": content });
    expect_text(&send(&mut alpha, answer), "yes");
    machine
        .auditor()
        .verify(&gateway.export())
        .assert_verified();
}

#[test]
fn a_call_that_is_stopped_while_it_pauses_ends_so_and_its_effect_is_unknown() {
    let (machine, gateway) = started();
    let mut alpha = gateway.alpha();
    let params = call("once", "x");
    let (questions, state) = asked(&send(&mut alpha, params.clone()));
    let order = ["stop", "--everything", "--reason", "it asks too much"];
    let said = gateway.order(&order).unwrap();
    assert!(said.contains("1 running calls were told"), "{said}");
    let told = send(
        &mut alpha,
        again(&params, &state, &[(&questions[0].0, "Ada")]),
    );
    let refusal = &told["result"]["_meta"]["dev.countersign/refusal"];
    assert_eq!(refusal["code"], "stopped_running", "{told}");
    let export = gateway.export();
    machine.auditor().verify(&export).assert_verified();
    let log = Log::read(&export);
    let (_, decision) = log.decisions().next().unwrap();
    assert_eq!(decision.effect, Effect::Unknown);
}

//! What an operator watches: spans, metrics and log records, decoded with the protocol's own classes; and what is never in them.

use countersign_tests::auditor::Log;
use countersign_tests::client::{Client, Credential};
use countersign_tests::collector::Collector;
use countersign_tests::machine::{Gateway, Machine};
use countersign_tests::process::{outcome, run};
use countersign_tests::program;
use serde_json::{Value, json};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

/// What must not leave: it stands in an argument, a tool's name, a session, a message's id and a result.
const CANARY: &str = "canary-4711";

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";
const AMBIENT_TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const AMBIENT_SPAN: &str = "00f067aa0ba902b7";

fn watched(settings: &str) -> (Machine, Gateway) {
    let machine = Machine::enrolled();
    machine.site().append_settings(settings);
    let gateway = machine.start();
    (machine, gateway)
}

fn tools_call(id: Value, tool: &str, line: &str, meta: Value) -> Value {
    json!({
        "jsonrpc": "2.0",
        "id": id,
        "method": "tools/call",
        "params": { "name": tool, "arguments": { "line": line }, "_meta": meta },
    })
}

/// The name of a session of the revision that has sessions.
fn opened(client: &mut Client) -> String {
    let message = json!({
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": { "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "t", "version": "1" } },
    });
    let response = client.mcp(&message, &[]).unwrap();
    response.header("mcp-session-id").unwrap().to_owned()
}

/// What arrived of a signal, under these names of members.
fn of<'i>(items: &'i [Value], signal: &str) -> Vec<&'i Value> {
    items.iter().filter(|i| i["signal"] == signal).collect()
}

fn one<'i>(items: &[&'i Value], good: impl Fn(&Value) -> bool) -> &'i Value {
    let found: Vec<&&Value> = items.iter().filter(|i| good(i)).collect();
    assert_eq!(found.len(), 1, "{items:#?}");
    found[0]
}

fn attribute<'i>(item: &'i Value, name: &str) -> &'i Value {
    &item["attributes"][name]
}

#[test]
fn spans_of_a_call_say_what_its_record_says_and_no_more() {
    let collector = Collector::start();
    let (machine, mut gateway) = watched(&collector.settings());
    let mut alpha = gateway.alpha();
    let meta = json!({
        "traceparent": format!("00-{TRACE}-{SPAN}-00"),
        "tracestate": "vendor=1",
        "baggage": "k=v",
    });
    let ambient = format!("00-{AMBIENT_TRACE}-{AMBIENT_SPAN}-01");
    let session = opened(&mut alpha);
    let headers = [
        ("mcp-session-id", session.as_str()),
        ("traceparent", ambient.as_str()),
    ];
    let carried = tools_call(json!(7), "append", CANARY, meta);
    let answer = alpha.mcp(&carried, &headers).unwrap().json();
    let audit = &answer["result"]["_meta"]["dev.countersign/decision"];
    assert_eq!(audit["verdict"], "allow", "{answer}");
    let about = json!({ "_meta": { "traceparent": format!("00-{TRACE}-{SPAN}-01") } });
    let list = json!({ "jsonrpc": "2.0", "id": CANARY, "method": "tools/list", "params": about });
    assert_eq!(alpha.mcp(&list, &headers).unwrap().status, 200);
    // In places where a client may write what it likes.
    let odd = [("mcp-session-id", CANARY)];
    assert_eq!(alpha.mcp(&carried, &odd).unwrap().status, 404);
    assert_eq!(alpha.mcp(&list, &odd).unwrap().status, 404);
    let unknown = tools_call(json!(CANARY), CANARY, CANARY, json!({}));
    assert_eq!(alpha.mcp(&unknown, &[]).unwrap().status, 200);
    let refused = alpha
        .call("effects.append", json!({ "line": format!("{CANARY}\n") }))
        .unwrap();
    assert_eq!(refused.code(), "invalid_arguments");
    assert_eq!(gateway.stranger().mcp(&carried, &[]).unwrap().status, 401);
    let export = gateway.export();
    assert!(gateway.stop().success(), "{}", gateway.process.said());

    let said = collector.said();
    assert!(!said.contains(CANARY), "{said}");
    assert!(!said.contains(&machine.site().token()), "{said}");
    assert!(!said.contains("agent:tests"), "{said}");
    let items = collector.all();
    for item in &items {
        assert_eq!(item["resource"]["service.name"], "countersign");
        assert_eq!(item["resource"]["countersign.gateway.id"], gateway.id);
    }

    let spans = of(&items, "span");
    the_carried_call_fits(&spans, audit, &session, &export);
    the_upstream_was_told(&spans, &machine);
    the_refused_calls_fit(&spans);
    the_messages_that_were_no_calls_fit(&spans, &session);
    the_metrics_fit(&of(&items, "metric"));
    let logs = of(&items, "log");
    let event = one(&logs, |l| l["event"] == "countersign.unauthenticated");
    assert_eq!(attribute(event, "countersign.event.count"), 1);
    let closed = one(&logs, |l| l["body"] == "epoch closed");
    assert_eq!(closed["severity"], "INFO");
}

/// What was answered at once, beside calls.
fn the_messages_that_were_no_calls_fit(spans: &[&Value], session: &str) {
    let hello = one(spans, |s| s["name"] == "initialize");
    assert_eq!(hello["parent"], "");
    assert_eq!(attribute(hello, "jsonrpc.request.id"), "1");
    let listed = one(spans, |s| {
        s["name"] == "tools/list" && s["status"] != "STATUS_CODE_ERROR"
    });
    assert_eq!(
        (&listed["trace"], &listed["parent"], &listed["kind"]),
        (&json!(TRACE), &json!(SPAN), &json!("SPAN_KIND_SERVER"))
    );
    assert_eq!(listed["links"], json!([[AMBIENT_TRACE, AMBIENT_SPAN]]));
    let about = json!({
        "mcp.method.name": "tools/list",
        "mcp.protocol.version": "2025-11-25",
        "mcp.session.id": session,
    });
    assert_eq!(listed["attributes"], about);
    let gone = one(spans, |s| {
        s["name"] == "tools/list" && s["status"] == "STATUS_CODE_ERROR"
    });
    assert_eq!(attribute(gone, "error.type"), "404");
}

/// The span of the call that was carried out, and those below it.
fn the_carried_call_fits(spans: &[&Value], audit: &Value, session: &str, export: &Path) {
    let call = one(spans, |s| {
        s["name"] == "tools/call append" && s["kind"] == "SPAN_KIND_SERVER"
    });
    assert_eq!(
        (&call["trace"], &call["parent"]),
        (&json!(TRACE), &json!(SPAN))
    );
    assert_eq!(call["links"], json!([[AMBIENT_TRACE, AMBIENT_SPAN]]));
    assert_eq!(
        (&call["status"], &call["flags"]),
        (&json!("STATUS_CODE_UNSET"), &json!(1))
    );
    let index = audit["index"].as_u64().unwrap();
    assert_eq!(
        call["attributes"],
        json!({
            "mcp.method.name": "tools/call",
            "mcp.protocol.version": "2025-11-25",
            "mcp.session.id": session,
            "jsonrpc.request.id": "7",
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": "append",
            "countersign.capability": "effects.append",
            "countersign.decision.id": audit["call"],
            "countersign.decision.verdict": "allow",
            "countersign.policy.digest": attribute(call, "countersign.policy.digest"),
            "countersign.record.index": index,
            "countersign.record.digest": audit["digest"],
        })
    );
    let log = Log::read(export);
    let record = log
        .decisions()
        .find(|(at, _)| at.payload.place.index == index)
        .unwrap()
        .1;
    let bundle = record.policy.as_ref().unwrap().bundle.to_string();
    assert_eq!(attribute(call, "countersign.policy.digest"), &json!(bundle));

    let children: Vec<&&Value> = spans.iter().filter(|s| s["parent"] == call["id"]).collect();
    let names: Vec<&str> = children
        .iter()
        .map(|s| s["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["decide", "seal", "tools/call append", "release"]);
    for child in &children {
        assert_eq!(child["trace"], TRACE);
        assert!(child["start"].as_u64() >= call["start"].as_u64(), "{child}");
        assert!(child["end"].as_u64() <= call["end"].as_u64(), "{child}");
        assert!(child["start"].as_u64() <= child["end"].as_u64(), "{child}");
    }
    assert_eq!(children[2]["kind"], "SPAN_KIND_CLIENT");
}

/// The upstream's call was within the client's trace, below our span of it.
fn the_upstream_was_told(spans: &[&Value], machine: &Machine) {
    let span = one(spans, |s| s["kind"] == "SPAN_KIND_CLIENT");
    let upstream = std::fs::read_to_string(machine.tools().join("meta.log")).unwrap();
    let upstream: Value = serde_json::from_str(&upstream).unwrap();
    let ours = format!("00-{TRACE}-{}-01", span["id"].as_str().unwrap());
    assert_eq!(upstream["traceparent"], ours);
    assert_eq!(
        (&upstream["tracestate"], &upstream["baggage"]),
        (&json!("vendor=1"), &json!("k=v"))
    );
}

/// Of a tool that there is not, nothing but that; of a call that was denied, no more parts than it had.
fn the_refused_calls_fit(spans: &[&Value]) {
    let unknown = one(spans, |s| s["name"] == "tools/call");
    assert_eq!(
        unknown["trace"],
        attribute(unknown, "countersign.decision.id")
            .as_str()
            .unwrap()
    );
    assert_eq!(
        (&unknown["parent"], &unknown["status"]),
        (&json!(""), &json!("STATUS_CODE_ERROR"))
    );
    assert_eq!(attribute(unknown, "error.type"), "unknown_capability");
    for absent in ["gen_ai.tool.name", "mcp.session.id", "jsonrpc.request.id"] {
        assert!(attribute(unknown, absent).is_null(), "{unknown}");
    }
    let denied = one(spans, |s| s["name"] == "execute_tool append");
    assert_eq!(
        attribute(denied, "countersign.decision.code"),
        "invalid_arguments"
    );
    assert_eq!(attribute(denied, "countersign.decision.verdict"), "deny");
    let below = |name: &str| {
        spans
            .iter()
            .any(|s| s["name"] == name && s["parent"] == denied["id"])
    };
    assert!(below("decide") && below("release") && !below("seal"));
}

/// The newest of each metric has the three calls and the stranger.
fn the_metrics_fit(metrics: &[&Value]) {
    let newest = |name: &str| {
        let found = metrics.iter().rev().find(|m| m["name"] == name);
        found.unwrap_or_else(|| panic!("no metric {name}"))["points"]
            .as_array()
            .unwrap()
            .clone()
    };
    let value = |name: &str, labels: Value| {
        let points = newest(name);
        let found = points.iter().find(|p| p["labels"] == labels);
        found.unwrap_or_else(|| panic!("{name} has no {labels}: {points:?}"))["value"].clone()
    };
    let capability = |id: &str| json!({ "countersign.capability": id });
    let verdict = |id: &str, verdict: &str| json!({ "countersign.capability": id, "countersign.decision.verdict": verdict });
    let verdicts = "countersign.call.verdicts";
    assert_eq!(value(verdicts, verdict("effects.append", "allow")), 1);
    assert_eq!(value(verdicts, verdict("effects.append", "deny")), 1);
    assert_eq!(value(verdicts, verdict("", "deny")), 1);
    let times = |name: &str, id: &str| value(name, capability(id))["count"].clone();
    assert_eq!(times("countersign.call.ours.duration", "effects.append"), 2);
    assert_eq!(
        times("countersign.call.upstream.duration", "effects.append"),
        1
    );
    assert_eq!(value("countersign.unknown_callers", json!({})), 1);
    assert_eq!(
        value(
            "countersign.upstream.listed",
            json!({ "countersign.adapter": "effects" })
        ),
        1
    );
    let whole = newest("mcp.server.operation.duration");
    let labels = json!({
        "mcp.method.name": "tools/call",
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "append",
        "countersign.capability": "effects.append",
    });
    assert!(whole.iter().any(|p| p["labels"] == labels), "{whole:?}");
}

#[test]
fn a_security_event_is_an_event_of_its_own_which_names_record_and_span() {
    let collector = Collector::start();
    let machine = Machine::new(&countersign_tests::site::SiteOptions::default());
    let site = machine.site();
    let northern = std::fs::read_to_string(site.file("capabilities/northern.toml")).unwrap();
    let own = northern.replace("[arguments.line]", "[arguments.line]\nmust_be = \"tenant\"");
    site.write("capabilities/northern.toml", &own);
    let read = std::fs::read_to_string(site.file("capabilities/read.toml")).unwrap();
    let pin = read.lines().find(|l| l.starts_with("descriptor")).unwrap();
    let other = read.replace(pin, &format!("descriptor = \"{}\"", "ab".repeat(32)));
    site.write("capabilities/read.toml", &other);
    site.build();
    machine.enrol(1);
    site.append_settings(&collector.settings());
    let mut gateway = machine.start();
    let mut alpha = gateway.alpha();
    let mut call = |tool: &str, line: &str| {
        let capability = format!("effects.{tool}");
        let answer = alpha.call(&capability, json!({ "line": line })).unwrap();
        let code = answer.code().to_owned();
        (code, answer.index().unwrap())
    };
    let (code, across) = call("northern", CANARY);
    assert_eq!(code, "cross_tenant_denied");
    let (code, changed) = call("read", CANARY);
    assert_eq!(code, "descriptor_changed");
    let (code, _) = call("append", "line\n");
    assert_eq!(code, "invalid_arguments");
    let export = gateway.export();
    assert!(gateway.stop().success());

    let items = collector.all();
    let (logs, spans) = (of(&items, "log"), of(&items, "span"));
    let prefix = "countersign.security.";
    let security: Vec<&&Value> = logs
        .iter()
        .filter(|l| l["event"].as_str().unwrap().starts_with(prefix))
        .collect();
    assert_eq!(
        security.len(),
        2,
        "an ordinary refusal is none: {security:#?}"
    );
    let log = Log::read(&export);
    for (name, capability, index) in [
        ("cross_tenant_denied", "effects.northern", across),
        ("descriptor_changed", "effects.read", changed),
    ] {
        let event = one(&logs, |l| l["event"] == format!("{prefix}{name}"));
        assert_eq!(event["severity"], "WARN");
        assert_eq!(event["body"], format!("security event {name}"));
        assert_eq!(attribute(event, "countersign.record.index"), index);
        assert_eq!(attribute(event, "countersign.capability"), capability);
        assert_eq!(attribute(event, "countersign.decision.code"), name);
        // The entry says so itself, and the call's span is the event's.
        let entry = &log.0[usize::try_from(index).unwrap()];
        let control = format!("security_event:{name}");
        assert!(entry.decision().unwrap().controls.contains(&control));
        let digest = entry.digest.to_string();
        assert_eq!(
            attribute(event, "countersign.record.digest"),
            &json!(digest)
        );
        let span = one(&spans, |s| s["id"] == event["span"]);
        assert_eq!(span["trace"], event["trace"]);
        assert_eq!(attribute(span, "error.type"), name);
    }
    assert!(!format!("{items:?}").contains(CANARY));
}

#[test]
fn an_endpoint_that_is_not_there_stops_no_call_and_is_one_line() {
    // Nobody listens at a port that was just given back.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let settings =
        format!("[telemetry]\nendpoint = \"http://127.0.0.1:{port}\"\ninterval_seconds = 1\n");
    let (_machine, mut gateway) = watched(&settings);
    gateway
        .process
        .wait_said("telemetry is not taken by its endpoint: it cannot be reached");
    for _ in 0..20 {
        let answer = gateway
            .alpha()
            .call("effects.append", json!({ "line": "x" }))
            .unwrap();
        assert!(answer.is_ok());
    }
    assert!(gateway.stop().success());
    let said = gateway.process.said();
    assert_eq!(said.matches("telemetry is not taken").count(), 1, "{said}");
}

#[test]
fn what_an_endpoint_refuses_is_counted() {
    let collector = Collector::refusing("400");
    let (_machine, gateway) = watched(&format!(
        "{}scrape = \"127.0.0.1:0\"\n",
        collector.settings()
    ));
    let metrics = scraped(&gateway);
    let answer = gateway
        .alpha()
        .call("effects.append", json!({ "line": "x" }))
        .unwrap();
    assert!(answer.is_ok());
    while collector.next()["path"] != "/v1/traces" {}
    // Its answer is on the way.
    let line = "countersign_telemetry_dropped_total{countersign_signal=\"traces\"} 1";
    let mut reader = Client::new(&metrics, Credential::None);
    let dropped = || {
        let text = reader.get("/metrics").unwrap().body;
        String::from_utf8(text).unwrap().contains(line)
    };
    assert!(
        std::iter::repeat_with(dropped)
            .take(100_000)
            .any(|found| found)
    );
}

#[test]
fn an_endpoint_that_wants_a_key_gets_it_from_a_file_that_nobody_else_can_read() {
    let key = "Bearer the-key-of-the-endpoint";
    let collector = Collector::wanting(key);
    let machine = Machine::enrolled();
    let site = machine.site();
    site.append_settings(&format!(
        "{}headers = \"otlp.headers\"\n",
        collector.settings()
    ));
    let file = site.file("otlp.headers");
    let write = |text: &str, mode| {
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
    };
    for (text, mode, said) in [
        (format!("authorization: {key}"), 0o644, "readable by others"),
        (key.to_owned(), 0o600, "line 1: expected a name"),
    ] {
        write(&text, mode);
        let refused = machine.boot_with(&mut machine.serve_command());
        let (_, error) = refused.err().unwrap();
        assert!(error.contains(said), "{error}");
        assert!(!error.contains("the-key"), "{error}");
    }
    write(&format!("authorization: {key}"), 0o600);
    let mut gateway = machine.start();
    let called = gateway
        .alpha()
        .call("effects.append", json!({ "line": "x" }));
    assert!(called.unwrap().is_ok());
    assert!(gateway.stop().success());
    assert!(!gateway.process.said().contains("the-key"));
    let items = collector.all();
    assert!(!of(&items, "span").is_empty());
    assert!(of(&items, "refused").is_empty());
}

/// Where the gateway says that metrics are.
fn scraped(gateway: &Gateway) -> String {
    gateway.process.wait_said("/metrics");
    let said = gateway.process.said();
    let (_, rest) = said.split_once("metrics at http://").unwrap();
    rest.split('/').next().unwrap().to_owned()
}

#[test]
fn metrics_are_for_operators_and_top_reads_them() {
    let machine = Machine::new(&countersign_tests::site::SiteOptions::default());
    let site = machine.site();
    site.add_person("watcher", "groups = [\"operator\"]\ntenants = [\"north\"]");
    site.append_settings("[telemetry]\nscrape = \"127.0.0.1:0\"\n");
    site.build();
    machine.enrol(1);
    let gateway = machine.start();
    for _ in 0..3 {
        let answer = gateway
            .alpha()
            .call("effects.append", json!({ "line": "x" }))
            .unwrap();
        assert!(answer.is_ok());
    }
    assert_eq!(gateway.stranger().get("/metrics").unwrap().status, 401);
    assert_eq!(gateway.alpha().get("/metrics").unwrap().status, 401);
    assert_eq!(gateway.officer().get("/metrics").unwrap().status, 403);
    let response = gateway.client_with("watcher.key").get("/metrics").unwrap();
    let kind = response.header("content-type");
    assert_eq!(
        (response.status, kind),
        (200, Some("text/plain; version=0.0.4; charset=utf-8"))
    );

    let top = |url: &str| {
        let mut command = Command::new(program("countersign"));
        command.args(["top", "--once", "--url", url]);
        command
    };
    let shown = run(top(&gateway.url)
        .arg("--key")
        .arg(site.key_file("watcher.key")));
    let row = shown
        .lines()
        .find(|l| l.starts_with("effects.append"))
        .unwrap();
    let words: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(
        (words[1], &words[words.len() - 2..]),
        ("3", &["allow", "3"][..])
    );
    assert_eq!(words.iter().filter(|w| **w == "/").count(), 2, "{row}");
    assert!(shown.starts_with("serving, "), "{shown}");

    let scrape = scraped(&gateway);
    let again = run(&mut top(&format!("http://{scrape}")));
    assert!(again.contains("effects.append"), "{again}");
    let mut page = Client::new(&scrape, Credential::None);
    let foreign = page
        .request("GET", "/metrics", &[("host", "evil.example")], b"")
        .unwrap();
    assert_eq!(foreign.status, 403);
    let (status, _, said) = outcome(&mut top(&gateway.url));
    assert!(!status.success() && said.contains("401"), "{said}");
}

//! Upstreams over HTTP: both eras, JSON and event streams, and every way to misbehave.
//!
//! The servers here write their responses byte by byte, so that malformed ones can be written.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking; the lints know test functions but not their helpers"
)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use countersign_adapters::{
    Answer, Asked as What, Bounds, CallError, CallRequest, CallResponse, Effect, Era, EraChoice,
    FrameError, HttpSettings, Lost, NotSent, Progress, StartError, State, Trail, Transport,
    Upstream, UpstreamSettings,
};
use countersign_json::{Json, Limits, scan};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

const PATIENCE: Duration = Duration::from_secs(60);
const MOMENT: Duration = Duration::from_millis(300);
const LIMITS: Limits = Limits::of_bytes(8 << 20);
const BOUNDS: Bounds = Bounds {
    first_pause: Duration::ZERO,
    ..Bounds::STANDARD
};

#[derive(Debug, Clone)]
struct Asked {
    headers: BTreeMap<String, String>,
    body: String,
    connection: usize,
}

impl Asked {
    fn member(&self, name: &str) -> Option<String> {
        scan(self.body.as_bytes(), &LIMITS)
            .unwrap()
            .member(name)
            .map(|value| value.text.to_owned())
    }

    fn method(&self) -> String {
        self.member("method")
            .unwrap_or_default()
            .trim_matches('"')
            .to_owned()
    }

    fn id(&self) -> String {
        self.member("id").unwrap_or_default()
    }

    fn tool(&self) -> String {
        let document = scan(self.body.as_bytes(), &LIMITS).unwrap();
        document
            .inner("params", "name")
            .unwrap()
            .text
            .trim_matches('"')
            .to_owned()
    }
}

/// What the server writes for a request.
#[derive(Debug)]
enum Reply {
    /// Then the connection is kept.
    Whole(String),
    /// Then the connection is closed.
    Last(String),
    /// This, and this again until nobody reads.
    Endless(String, String),
    /// Nothing; the connection stays open.
    Silence,
}

type Log = Arc<Mutex<Vec<Asked>>>;

/// Starts a server; the log holds what it was asked.
async fn server(answer: fn(&Asked) -> Reply) -> (String, Log) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}/mcp", listener.local_addr().unwrap());
    let log = Log::default();
    let seen = log.clone();
    tokio::spawn(async move {
        let mut connection = 0;
        while let Ok((stream, _)) = listener.accept().await {
            connection += 1;
            tokio::spawn(serve(stream, connection, seen.clone(), answer));
        }
    });
    (endpoint, log)
}

async fn serve(stream: TcpStream, connection: usize, log: Log, answer: fn(&Asked) -> Reply) {
    let mut stream = BufReader::new(stream);
    while let Some(asked) = read(&mut stream, connection).await {
        log.lock().unwrap().push(asked.clone());
        match answer(&asked) {
            Reply::Whole(text) => stream.write_all(text.as_bytes()).await.unwrap(),
            Reply::Last(text) => {
                stream.write_all(text.as_bytes()).await.unwrap();
                return;
            }
            Reply::Endless(head, piece) => {
                stream.write_all(head.as_bytes()).await.unwrap();
                while stream.write_all(piece.as_bytes()).await.is_ok() {}
                return;
            }
            Reply::Silence => {}
        }
    }
}

async fn read(stream: &mut BufReader<TcpStream>, connection: usize) -> Option<Asked> {
    let mut headers = BTreeMap::new();
    let mut line = String::new();
    loop {
        line.clear();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        match line.trim_end().split_once(": ") {
            Some((name, value)) => {
                drop(headers.insert(name.to_ascii_lowercase(), value.to_owned()))
            }
            None if line.trim_end().is_empty() => break,
            None => assert!(line.starts_with("POST /mcp HTTP/1.1")),
        }
    }
    let mut body = vec![0; headers["content-length"].parse().unwrap()];
    stream.read_exact(&mut body).await.ok()?;
    Some(Asked {
        headers,
        body: String::from_utf8(body).unwrap(),
        connection,
    })
}

fn response(status: &str, headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n{body}",
        body.len()
    )
}

fn json_with(status: &str, headers: &str, body: &str) -> Reply {
    Reply::Whole(response(
        status,
        &format!("content-type: application/json\r\n{headers}"),
        body,
    ))
}

fn result(asked: &Asked, result: &str) -> Reply {
    json_with(
        "200 OK",
        "",
        &format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":{},\"result\":{result}}}",
            asked.id()
        ),
    )
}

fn events(body: &str) -> Reply {
    Reply::Last(format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n\r\n{body}"
    ))
}

fn accepted() -> Reply {
    Reply::Whole(response("202 Accepted", "", ""))
}

/// A modern server; what is called says how it answers.
fn modern(asked: &Asked) -> Reply {
    match asked.method().as_str() {
        "server/discover" => result(
            asked,
            r#"{"supportedVersions":["2026-07-28"],"capabilities":{}}"#,
        ),
        "tools/list" => result(
            asked,
            r#"{"tools":[{"name":"echo","inputSchema":{} , "x":1.50}]}"#,
        ),
        "tools/call" => called(asked),
        other => panic!("a modern server was asked for {other}"),
    }
}

/// A legacy server with a session, as the Python library of that era refuses what is not one.
fn legacy(asked: &Asked) -> Reply {
    let known = asked.headers.get("mcp-session-id").map(String::as_str) == Some("s-1");
    match asked.method().as_str() {
        "initialize" => json_with(
            "200 OK",
            "mcp-session-id: s-1\r\n",
            &format!(
                "{{\"jsonrpc\":\"2.0\",\"id\":{},\"result\":{{\"protocolVersion\":\"2025-06-18\",\"capabilities\":{{}}}}}}",
                asked.id()
            ),
        ),
        _ if !known => json_with(
            "400 Bad Request",
            "",
            r#"{"jsonrpc":"2.0","id":"server-error","error":{"code":-32600,"message":"Missing session ID"}}"#,
        ),
        "tools/call" => called(asked),
        _ => accepted(),
    }
}

fn called(asked: &Asked) -> Reply {
    let id = asked.id();
    let answer =
        format!("data: {{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{\"content\":[]}}}}\n\n");
    let note = "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{}}\n\n";
    match asked.tool().as_str() {
        "echo" => result(asked, "{\"content\":[ ],\"x\":1.50}"),
        "refuse" => json_with(
            "400 Bad Request",
            "",
            &format!(
                "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{{\"code\":-32602,\"message\":\"\"}}}}"
            ),
        ),
        "stream" => events(&format!(": hello\n\nid: 1\ndata:\n\n{note}{note}{answer}")),
        "ask" => events(&format!(
            "data: {{\"jsonrpc\":\"2.0\",\"id\":\"q\",\"method\":\"sampling/createMessage\",\"params\":{{}}}}\n\n{answer}"
        )),
        "cut" => events(note),
        "flood" => Reply::Endless(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n".into(),
            note.into(),
        ),
        "endless" => Reply::Endless(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n".into(),
            "x".repeat(65536),
        ),
        "endless-event" => Reply::Endless(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n".into(),
            "data: xxxxxxxx\n".repeat(4096),
        ),
        "hang" => Reply::Silence,
        "close" => Reply::Last(String::new()),
        "duplicate" => json_with(
            "200 OK",
            "",
            &format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{\"a\":1,\"\\u0061\":2}}}}"),
        ),
        "both" => json_with(
            "200 OK",
            "",
            &format!(
                "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{}},\"error\":{{\"code\":1,\"message\":\"\"}}}}"
            ),
        ),
        "other-id" => json_with(
            "200 OK",
            "",
            "{\"jsonrpc\":\"2.0\",\"id\":99999,\"result\":{}}",
        ),
        "html" => Reply::Whole(response("200 OK", "content-type: text/html\r\n", "<p>")),
        "zipped" => json_with("200 OK", "content-encoding: gzip\r\n", "x"),
        "failing" => Reply::Whole(response("500 Internal Server Error", "", "")),
        "moved" => Reply::Whole(response(
            "307 Temporary Redirect",
            "location: http://127.0.0.1:1/\r\n",
            "",
        )),
        "success-in-failure" => json_with(
            "500 Oops",
            "",
            &format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{}}}}"),
        ),
        "forget" => Reply::Whole(response("404 Not Found", "", "")),
        other => panic!("unknown tool {other}"),
    }
}

fn upstream(endpoint: &str, bounds: Bounds) -> Upstream {
    let transport = Transport::Http(HttpSettings::parse(endpoint).unwrap());
    Upstream::new(UpstreamSettings {
        transport,
        era: EraChoice::Detect,
        declared: "{}".to_owned(),
        bounds,
    })
}

fn request(tool: &str, arguments: &str) -> CallRequest {
    CallRequest {
        asked: What::Tool(tool.to_owned()),
        answers: None,
        declared: Json::parse(Bytes::from_static(b"{}"), &LIMITS).unwrap(),
        log_level: None,
        headers: Vec::new(),
        ears: None,
        trail: Trail::default(),
        arguments: Json::parse(Bytes::from(arguments.to_owned()), &LIMITS).unwrap(),
        meta: Vec::new(),
        timeout: PATIENCE,
        progress: Progress::Unwanted,
    }
}

async fn call(upstream: &Upstream, tool: &str) -> Result<CallResponse, CallError> {
    upstream.call(request(tool, "{}")).await
}

async fn lost(answer: fn(&Asked) -> Reply, tool: &str) -> Lost {
    let (endpoint, _) = server(answer).await;
    match call(&upstream(&endpoint, BOUNDS), tool).await {
        Err(CallError::OutcomeUnknown(lost)) => lost,
        other => panic!("expected an unknown outcome, found {other:?}"),
    }
}

#[tokio::test]
async fn a_modern_server_is_asked_with_the_headers_and_meta_of_its_era() {
    let (endpoint, log) = server(modern).await;
    let upstream = upstream(&endpoint, BOUNDS);
    let response = call(&upstream, "echo").await.unwrap();
    assert_eq!(response.body.as_ref(), b"{\"content\":[ ],\"x\":1.50}");
    assert_eq!(upstream.health().state, State::Serving(Era::Modern));
    let asked = log.lock().unwrap().last().unwrap().clone();
    for (name, value) in [
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "echo"),
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
    ] {
        assert_eq!(
            asked.headers.get(name).map(String::as_str),
            Some(value),
            "{name}"
        );
    }
    assert!(!asked.headers.contains_key("mcp-session-id"));
    assert!(
        asked
            .body
            .contains("\"io.modelcontextprotocol/protocolVersion\":\"2026-07-28\"")
    );
}

#[tokio::test]
async fn a_legacy_server_is_asked_within_its_session() {
    let (endpoint, log) = server(legacy).await;
    let upstream = upstream(&endpoint, BOUNDS);
    call(&upstream, "echo").await.unwrap();
    assert_eq!(upstream.health().state, State::Serving(Era::Legacy));
    let log = log.lock().unwrap();
    let methods: Vec<_> = log.iter().map(Asked::method).collect();
    assert_eq!(
        methods,
        [
            "server/discover",
            "initialize",
            "notifications/initialized",
            "tools/call"
        ]
    );
    assert_eq!(log[3].headers["mcp-session-id"], "s-1");
    assert_eq!(log[3].headers["mcp-protocol-version"], "2025-06-18");
    assert!(!log[3].headers.contains_key("mcp-name"));
}

#[tokio::test]
async fn arguments_arrive_byte_for_byte_even_on_several_lines() {
    let (endpoint, log) = server(modern).await;
    let arguments = "{ \"n\":1.0e+02,\r\n  \"s\":\"\\u0041\\/\" }";
    upstream(&endpoint, BOUNDS)
        .call(request("echo", arguments))
        .await
        .unwrap();
    let body = log.lock().unwrap().last().unwrap().body.clone();
    assert!(
        body.contains(&format!("\"arguments\":{arguments}")),
        "{body}"
    );
}

#[tokio::test]
async fn one_connection_serves_calls_one_after_another() {
    let (endpoint, log) = server(modern).await;
    let upstream = upstream(&endpoint, BOUNDS);
    for _ in 0..5 {
        call(&upstream, "echo").await.unwrap();
    }
    assert!(
        log.lock()
            .unwrap()
            .iter()
            .all(|asked| asked.connection == 1)
    );
}

#[tokio::test]
async fn sixty_four_calls_at_once_get_their_own_answers() {
    fn answer(asked: &Asked) -> Reply {
        match asked.method().as_str() {
            "tools/call" => {
                let document = scan(asked.body.as_bytes(), &LIMITS).unwrap();
                result(asked, document.inner("params", "arguments").unwrap().text)
            }
            _ => modern(asked),
        }
    }
    let (endpoint, _) = server(answer).await;
    let upstream = upstream(&endpoint, BOUNDS);
    let mut calls = tokio::task::JoinSet::new();
    for n in 0..64 {
        let upstream = upstream.clone();
        calls.spawn(async move {
            let arguments = format!("{{\"n\":{n}}}");
            assert_eq!(
                upstream
                    .call(request("same", &arguments))
                    .await
                    .unwrap()
                    .body,
                arguments
            );
        });
    }
    assert_eq!(calls.join_all().await.len(), 64);
}

#[tokio::test]
async fn a_listing_keeps_the_bytes_of_each_descriptor() {
    let (endpoint, _) = server(modern).await;
    let tools = upstream(&endpoint, BOUNDS).list_tools().await.unwrap();
    assert_eq!(
        tools[0].descriptor().as_ref(),
        br#"{"name":"echo","inputSchema":{} , "x":1.50}"#
    );
}

#[tokio::test]
async fn an_event_stream_brings_the_answer_and_what_came_before_it() {
    for answer in [modern, legacy] {
        let (endpoint, _) = server(answer).await;
        let response = call(&upstream(&endpoint, BOUNDS), "stream").await.unwrap();
        assert_eq!(response.answer, Answer::Complete);
        assert_eq!(response.interim.messages().len(), 2);
    }
}

#[tokio::test]
async fn an_error_of_the_protocol_is_an_answer_whatever_the_status() {
    let (endpoint, _) = server(modern).await;
    let response = call(&upstream(&endpoint, BOUNDS), "refuse").await.unwrap();
    assert_eq!(response.answer, Answer::Refused { code: -32602 });
}

#[tokio::test]
async fn a_request_on_a_legacy_stream_is_refused_by_name() {
    let (endpoint, log) = server(legacy).await;
    call(&upstream(&endpoint, BOUNDS), "ask").await.unwrap();
    let log = log.lock().unwrap();
    let reply = &log.last().unwrap().body;
    assert!(
        reply.contains("\"id\":\"q\"") && reply.contains("-32601"),
        "{reply}"
    );
    assert!(reply.contains("sampling/createMessage is not offered"));
}

#[tokio::test]
async fn a_request_on_a_modern_stream_ends_the_call() {
    assert_eq!(lost(modern, "ask").await, Lost::ForeignRequest);
}

#[tokio::test]
async fn hostile_answers_leave_the_outcome_unknown_and_are_named() {
    for (tool, reason) in [
        ("cut", Lost::Ended),
        ("close", Lost::Ended),
        ("flood", Lost::Flooding { limit: 10_000 }),
        ("endless", Lost::TooLarge { limit: 4 << 20 }),
        ("endless-event", Lost::TooLarge { limit: 4 << 20 }),
        ("both", Lost::Malformed(FrameError::ResultAndError)),
        ("other-id", Lost::OtherId),
        ("html", Lost::ContentType),
        ("zipped", Lost::ContentType),
        ("failing", Lost::HttpStatus { status: 500 }),
        ("moved", Lost::Redirected { status: 307 }),
        ("success-in-failure", Lost::HttpStatus { status: 500 }),
    ] {
        assert_eq!(lost(modern, tool).await, reason, "{tool}");
    }
    assert!(matches!(
        lost(modern, "duplicate").await,
        Lost::Malformed(FrameError::NotJson(_))
    ));
}

#[tokio::test]
async fn a_call_that_runs_out_of_time_has_an_unknown_outcome_and_is_cancelled_in_a_legacy_session()
{
    let (endpoint, log) = server(legacy).await;
    let upstream = upstream(&endpoint, BOUNDS);
    let error = upstream
        .call(CallRequest {
            timeout: MOMENT,
            ..request("hang", "{}")
        })
        .await
        .unwrap_err();
    assert_eq!(error, CallError::OutcomeUnknown(Lost::TimedOut));
    assert_eq!(error.effect(), Effect::Unknown);
    // The notice is sent beside the caller.
    let cancelled = |asked: &Asked| asked.method() == "notifications/cancelled";
    while !log.lock().unwrap().iter().any(cancelled) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_session_that_is_forgotten_is_opened_again_by_the_next_call() {
    let (endpoint, log) = server(legacy).await;
    let upstream = upstream(&endpoint, BOUNDS);
    assert_eq!(
        call(&upstream, "forget").await,
        Err(CallError::OutcomeUnknown(Lost::SessionEnded))
    );
    call(&upstream, "echo").await.unwrap();
    let opened = log
        .lock()
        .unwrap()
        .iter()
        .filter(|asked| asked.method() == "initialize")
        .count();
    assert_eq!(opened, 2);
}

#[tokio::test]
async fn nothing_is_sent_where_nobody_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}/mcp", listener.local_addr().unwrap());
    drop(listener);
    let error = call(&upstream(&endpoint, BOUNDS), "echo")
        .await
        .unwrap_err();
    assert_eq!(
        error,
        CallError::NotSent(NotSent::Start(StartError::Unreachable))
    );
}

#[tokio::test]
async fn a_call_to_a_server_that_is_gone_is_not_sent_and_the_next_ones_pause() {
    fn once(asked: &Asked) -> Reply {
        match modern(asked) {
            Reply::Whole(text) => Reply::Last(text),
            other => other,
        }
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}/mcp", listener.local_addr().unwrap());
    let pause = Duration::from_secs(3600);
    let upstream = upstream(
        &endpoint,
        Bounds {
            first_pause: pause,
            longest_pause: pause,
            ..BOUNDS
        },
    );
    let (first, ()) = tokio::join!(upstream.list_tools(), async {
        for connection in 0..2 {
            let (stream, _) = listener.accept().await.unwrap();
            serve(stream, connection, Log::default(), once).await;
        }
    });
    first.unwrap();
    drop(listener);
    assert_eq!(
        call(&upstream, "echo").await,
        Err(CallError::NotSent(NotSent::Unreachable))
    );
    let error = call(&upstream, "echo").await.unwrap_err();
    assert!(
        matches!(error, CallError::NotSent(NotSent::Pausing { .. })),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_message_that_may_have_been_read_has_an_unknown_outcome() {
    fn gone(asked: &Asked) -> Reply {
        match asked.method().as_str() {
            "tools/call" => Reply::Last(String::new()),
            _ => modern(asked),
        }
    }
    assert_eq!(lost(gone, "echo").await, Lost::Ended);
}

//! Upstreams that are child processes: both eras, concurrency, and every way to misbehave.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking; the lints know test functions but not their helpers"
)]

use std::time::Duration;

use bytes::Bytes;
use countersign_adapters::{
    Answer, Asked, Bounds, CallError, CallRequest, CallResponse, Effect, Era, EraChoice,
    FrameError, ListError, Lost, NotSent, Progress, StartError, State, StdioSettings, Trail,
    Transport, Upstream, UpstreamSettings,
};
use countersign_json::descriptor::descriptor_digest;
use countersign_json::{Json, Limits, scan};

/// Far above what a healthy answer takes here, far below what a test may last.
const PATIENCE: Duration = Duration::from_secs(60);

/// For what never comes: nothing depends on how long this is.
const MOMENT: Duration = Duration::from_millis(300);

const BOUNDS: Bounds = Bounds {
    first_pause: Duration::ZERO,
    probe: PATIENCE,
    ..Bounds::STANDARD
};

fn settings(manner: &str, bounds: Bounds) -> UpstreamSettings {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/upstream.py");
    UpstreamSettings {
        transport: Transport::Stdio(StdioSettings {
            program: "python3".into(),
            arguments: vec![script.into(), manner.into()],
            directory: Some("/".into()),
            environment: vec![
                ("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into()),
                ("GIVEN".into(), "yes".into()),
            ],
            launcher: None,
        }),
        era: EraChoice::Detect,
        declared: "{}".to_owned(),
        bounds,
    }
}

fn upstream(manner: &str) -> Upstream {
    Upstream::new(settings(manner, BOUNDS))
}

fn json(text: &str) -> Json {
    Json::parse(Bytes::from(text.to_owned()), &Limits::of_bytes(8 << 20)).unwrap()
}

fn request(tool: &str, arguments: &str) -> CallRequest {
    CallRequest {
        asked: Asked::Tool(tool.to_owned()),
        answers: None,
        declared: json("{}"),
        log_level: None,
        headers: Vec::new(),
        ears: None,
        trail: Trail::default(),
        arguments: json(arguments),
        meta: Vec::new(),
        timeout: PATIENCE,
        progress: Progress::Unwanted,
    }
}

async fn call(upstream: &Upstream, tool: &str) -> Result<CallResponse, CallError> {
    upstream.call(request(tool, "{}")).await
}

async fn lost(upstream: &Upstream, tool: &str) -> Lost {
    match call(upstream, tool).await {
        Err(CallError::OutcomeUnknown(lost)) => lost,
        other => panic!("expected an unknown outcome, found {other:?}"),
    }
}

fn member(response: &CallResponse, name: &str) -> String {
    scan(&response.body, &Limits::of_bytes(8 << 20))
        .unwrap()
        .member(name)
        .unwrap()
        .text
        .to_owned()
}

async fn era_of(manner: &str, bounds: Bounds) -> (Era, u64) {
    let upstream = Upstream::new(settings(manner, bounds));
    assert_eq!(
        call(&upstream, "echo").await.unwrap().answer,
        Answer::Complete
    );
    match upstream.health().state {
        State::Serving(era) => (era, upstream.health().starts),
        other => panic!("not serving: {other:?}"),
    }
}

#[tokio::test]
async fn a_modern_server_is_served_in_its_first_process() {
    assert_eq!(era_of("modern", BOUNDS).await, (Era::Modern, 1));
}

#[tokio::test]
async fn a_legacy_server_that_refuses_the_probe_is_served_in_its_first_process() {
    assert_eq!(era_of("legacy", BOUNDS).await, (Era::Legacy, 1));
}

#[tokio::test]
async fn a_legacy_server_that_takes_offence_at_the_probe_gets_a_new_process() {
    assert_eq!(era_of("legacy-touchy", BOUNDS).await, (Era::Legacy, 2));
}

#[tokio::test]
async fn a_server_that_names_legacy_revisions_gets_a_new_process() {
    assert_eq!(era_of("legacy-named", BOUNDS).await, (Era::Legacy, 2));
}

#[tokio::test]
async fn a_server_that_dies_of_the_probe_gets_a_new_process() {
    assert_eq!(era_of("legacy-crashing", BOUNDS).await, (Era::Legacy, 2));
}

#[tokio::test]
async fn a_silent_legacy_server_gets_a_new_process_after_the_probe() {
    assert_eq!(
        era_of(
            "legacy-silent",
            Bounds {
                probe: MOMENT,
                ..BOUNDS
            }
        )
        .await,
        (Era::Legacy, 2)
    );
}

#[tokio::test]
async fn a_server_of_another_revision_is_refused_and_nothing_is_sent() {
    let error = call(&upstream("future"), "echo").await.unwrap_err();
    assert_eq!(
        error,
        CallError::NotSent(NotSent::Start(StartError::NoCommonVersion))
    );
    assert_eq!(error.effect(), Effect::None);
}

#[tokio::test]
async fn a_server_that_greets_on_its_output_is_refused() {
    let error = call(&upstream("garbage"), "echo").await.unwrap_err();
    assert!(
        matches!(
            error,
            CallError::NotSent(NotSent::Start(StartError::Handshake(Lost::Malformed(_))))
        ),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_program_that_does_not_exist_is_refused_by_name() {
    let mut settings = settings("modern", BOUNDS);
    let Transport::Stdio(stdio) = &mut settings.transport else {
        unreachable!()
    };
    stdio.program = "/nowhere/at/all".into();
    let error = call(&Upstream::new(settings), "echo").await.unwrap_err();
    let kind = std::io::ErrorKind::NotFound;
    assert_eq!(
        error,
        CallError::NotSent(NotSent::Start(StartError::Spawn { kind }))
    );
}

#[tokio::test]
async fn the_server_receives_the_arguments_byte_for_byte() {
    let arguments = r#"{ "n":1.0e+02,  "s":"\u0041\/" ,"z":-0.0,"big":12345678901234567890123}"#;
    for manner in ["modern", "legacy"] {
        let response = upstream(manner)
            .call(request("echo", arguments))
            .await
            .unwrap();
        let line: String = serde_json::from_str(&member(&response, "line")).unwrap();
        assert!(
            line.contains(&format!("\"arguments\":{arguments}")),
            "{line}"
        );
    }
}

#[tokio::test]
async fn entries_of_meta_reach_the_server() {
    let mut with_meta = request("echo", "{}");
    with_meta
        .meta
        .push(("traceparent".to_owned(), json("\"00-ab-cd-01\"")));
    let response = upstream("legacy").call(with_meta).await.unwrap();
    assert!(member(&response, "line").contains("traceparent"));
}

#[tokio::test]
async fn what_does_not_fit_is_refused_before_anything_is_started() {
    let upstream = upstream("legacy");
    let with_meta = |names: &[&str]| {
        let mut request = request("echo", "{}");
        request.meta = names
            .iter()
            .map(|name| ((*name).to_owned(), json("1")))
            .collect();
        request
    };
    for (request, reason) in [
        (request("echo", "[]"), NotSent::ArgumentsNotAnObject),
        (request("echo", "{\n}"), NotSent::LineBreak),
        (with_meta(&["a", "a"]), NotSent::MetaTwice),
        (with_meta(&["progressToken"]), NotSent::MetaReserved),
        (
            with_meta(&["io.modelcontextprotocol/protocolVersion"]),
            NotSent::MetaReserved,
        ),
    ] {
        assert_eq!(
            upstream.call(request).await,
            Err(CallError::NotSent(reason))
        );
    }
    assert_eq!(upstream.health().starts, 0);
}

#[tokio::test]
async fn a_message_over_the_limit_is_not_sent() {
    let upstream = Upstream::new(settings(
        "legacy",
        Bounds {
            frame_bytes: 1000,
            ..BOUNDS
        },
    ));
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(1000));
    let error = upstream.call(request("echo", &long)).await.unwrap_err();
    assert!(
        matches!(
            error,
            CallError::NotSent(NotSent::TooLarge { limit: 1000, .. })
        ),
        "{error:?}"
    );
}

#[tokio::test]
async fn answers_of_every_sort_are_told_apart() {
    let upstream = upstream("modern");
    for (tool, answer) in [
        ("echo", Answer::Complete),
        ("fail", Answer::ToolError),
        ("input", Answer::InputRequired),
        ("task", Answer::Task),
        ("refuse", Answer::Refused { code: -32602 }),
    ] {
        assert_eq!(
            call(&upstream, tool).await.unwrap().answer,
            answer,
            "{tool}"
        );
    }
}

#[tokio::test]
async fn a_task_is_no_answer_of_the_era_that_does_not_have_them() {
    let answer = call(&upstream("legacy"), "task").await.unwrap().answer;
    assert_eq!(answer, Answer::Unrecognised);
}

#[tokio::test]
async fn sixty_four_calls_answered_in_reverse_get_their_own_answers() {
    let upstream = upstream("modern");
    let mut calls = tokio::task::JoinSet::new();
    for n in 0..64 {
        let upstream = upstream.clone();
        calls.spawn(async move {
            let request = request("reverse", &format!("{{\"n\":\"payload {n}\",\"of\":64}}"));
            (n, upstream.call(request).await.unwrap())
        });
    }
    for (n, response) in calls.join_all().await {
        assert_eq!(member(&response, "n"), format!("\"payload {n}\""));
    }
    assert_eq!(upstream.health().starts, 1);
}

#[tokio::test]
async fn calls_over_the_limit_are_refused_and_not_sent() {
    let upstream = Upstream::new(settings("modern", Bounds { calls: 1, ..BOUNDS }));
    let first = {
        let upstream = upstream.clone();
        tokio::spawn(async move { call(&upstream, "echo").await })
    };
    first.await.unwrap().unwrap();
    // The second is polled only after the first waits for an answer that does not come.
    let (hanging, refused) = tokio::join!(
        biased_first(upstream.call(CallRequest {
            timeout: MOMENT,
            ..request("hang", "{}")
        })),
        upstream.call(request("echo", "{}"))
    );
    assert_eq!(hanging, Err(CallError::OutcomeUnknown(Lost::TimedOut)));
    assert_eq!(refused, Err(CallError::NotSent(NotSent::Busy { limit: 1 })));
}

/// `join!` polls its parts in turn; this only names what the test relies on.
async fn biased_first<T>(first: impl Future<Output = T>) -> T {
    first.await
}

#[tokio::test]
async fn the_environment_is_what_is_given_and_nothing_else() {
    let response = call(&upstream("legacy"), "environment").await.unwrap();
    let environment: std::collections::BTreeMap<String, String> =
        serde_json::from_str(&member(&response, "environment")).unwrap();
    // Python itself may set its locale.
    let names: Vec<_> = environment
        .keys()
        .filter(|name| *name != "LC_CTYPE")
        .collect();
    assert_eq!(names, ["GIVEN", "PATH"]);
    assert_eq!(member(&response, "directory"), "\"/\"");
}

#[tokio::test]
async fn requests_of_the_server_are_refused_by_name() {
    let upstream = upstream("legacy");
    for method in ["sampling/createMessage", "elicitation/create", "roots/list"] {
        let response = upstream
            .call(request("ask", &format!("{{\"method\":\"{method}\"}}")))
            .await
            .unwrap();
        let reply: String = serde_json::from_str(&member(&response, "reply")).unwrap();
        assert_eq!(
            reply.trim(),
            format!(
                r#"{{"jsonrpc":"2.0","id":"q1","error":{{"code":-32601,"message":"{method} is not offered"}}}}"#
            )
        );
    }
    assert_eq!(upstream.health().refused_requests, 3);
}

#[tokio::test]
async fn progress_comes_with_the_call_that_asked_for_it_and_is_bounded() {
    let upstream = Upstream::new(settings(
        "modern",
        Bounds {
            interim_messages: 4,
            ..BOUNDS
        },
    ));
    let asked = CallRequest {
        progress: Progress::Wanted,
        ..request("progress", "{\"of\":6}")
    };
    let response = upstream.call(asked).await.unwrap();
    assert_eq!(response.interim.messages().len(), 4);
    assert_eq!(response.interim.dropped(), 2);
    assert!(response.interim.messages()[3].ends_with(b"\"progress\": 3}}"));
    assert_eq!(upstream.health().unsolicited, 1);
}

#[tokio::test]
async fn a_call_that_runs_out_of_time_has_an_unknown_outcome_and_is_cancelled() {
    // The ids before it: discover and initialize, or discover alone; then echo.
    for (manner, cancelled) in [("legacy", "[4]"), ("modern", "[3]")] {
        let upstream = upstream(manner);
        call(&upstream, "echo").await.unwrap();
        let error = upstream
            .call(CallRequest {
                timeout: MOMENT,
                ..request("hang", "{}")
            })
            .await
            .unwrap_err();
        assert_eq!(error, CallError::OutcomeUnknown(Lost::TimedOut));
        assert_eq!(error.effect(), Effect::Unknown);
        let response = call(&upstream, "cancelled").await.unwrap();
        assert_eq!(member(&response, "cancelled"), cancelled);
    }
}

#[tokio::test]
async fn a_call_that_is_dropped_is_cancelled() {
    let upstream = upstream("legacy");
    call(&upstream, "echo").await.unwrap();
    drop(tokio::time::timeout(MOMENT, call(&upstream, "hang")).await);
    assert_eq!(
        member(&call(&upstream, "cancelled").await.unwrap(), "cancelled"),
        "[4]"
    );
}

#[tokio::test]
async fn a_call_that_could_not_be_written_before_its_time_ran_out_is_not_sent() {
    let upstream = upstream("legacy");
    call(&upstream, "echo").await.unwrap();
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(1 << 20));
    let quick = |tool, arguments| {
        upstream.call(CallRequest {
            timeout: MOMENT,
            ..request(tool, arguments)
        })
    };
    // The first is taken and never answered; the second fills the pipe; the third waits behind.
    let deaf = quick("deaf", "{}").await;
    let (filling, behind) = tokio::join!(quick("echo", &long), async {
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        quick("echo", "{}").await
    });
    assert_eq!(deaf, Err(CallError::OutcomeUnknown(Lost::TimedOut)));
    assert_eq!(filling, Err(CallError::OutcomeUnknown(Lost::TimedOut)));
    assert_eq!(behind, Err(CallError::NotSent(NotSent::TimedOut)));
}

#[tokio::test]
async fn answers_with_other_ids_are_ignored_and_counted() {
    let upstream = upstream("modern");
    assert_eq!(
        member(&call(&upstream, "wrong-ids").await.unwrap(), "wrong"),
        "false"
    );
    assert_eq!(upstream.health().unsolicited, 4);
}

#[tokio::test]
async fn the_first_of_two_answers_counts() {
    let upstream = upstream("modern");
    assert_eq!(member(&call(&upstream, "twice").await.unwrap(), "n"), "1");
    call(&upstream, "echo").await.unwrap();
    assert_eq!(upstream.health().unsolicited, 1);
}

#[tokio::test]
async fn a_malformed_answer_ends_the_connection_and_the_next_call_starts_another() {
    for tool in ["duplicate-key", "both", "not-json", "deep"] {
        let upstream = upstream("modern");
        let lost = lost(&upstream, tool).await;
        assert!(matches!(lost, Lost::Malformed(_)), "{tool}: {lost:?}");
        assert_eq!(
            call(&upstream, "echo").await.unwrap().answer,
            Answer::Complete
        );
        assert_eq!(upstream.health().starts, 2, "{tool}");
    }
}

#[tokio::test]
async fn result_and_error_in_one_is_named() {
    assert_eq!(
        lost(&upstream("legacy"), "both").await,
        Lost::Malformed(FrameError::ResultAndError)
    );
}

#[tokio::test]
async fn an_answer_of_the_largest_size_is_read_and_a_larger_one_is_not() {
    let upstream = Upstream::new(settings(
        "modern",
        Bounds {
            frame_bytes: 100_000,
            ..BOUNDS
        },
    ));
    let of = |bytes| upstream.call(request("huge", &format!("{{\"bytes\":{bytes}}}")));
    // {"jsonrpc":"2.0","id":2,"result":{"a":""}} is 42 bytes.
    assert_eq!(of(100_000 - 42).await.unwrap().answer, Answer::Complete);
    assert_eq!(
        of(100_000 - 41).await,
        Err(CallError::OutcomeUnknown(Lost::TooLarge { limit: 100_000 }))
    );
}

#[tokio::test]
async fn a_line_without_end_is_cut_off() {
    assert_eq!(
        lost(&upstream("legacy"), "endless").await,
        Lost::TooLarge { limit: 4 << 20 }
    );
}

#[tokio::test]
async fn messages_without_end_are_cut_off() {
    assert_eq!(
        lost(&upstream("legacy"), "flood").await,
        Lost::Flooding { limit: 10_000 }
    );
}

#[tokio::test]
async fn a_message_that_is_begun_and_not_ended_is_cut_off() {
    let upstream = Upstream::new(settings(
        "legacy",
        Bounds {
            message: MOMENT,
            ..BOUNDS
        },
    ));
    assert_eq!(
        lost(&upstream, "drip").await,
        Lost::Dripping { limit: MOMENT }
    );
}

#[tokio::test]
async fn a_crash_leaves_calls_under_way_with_an_unknown_outcome() {
    let upstream = upstream("modern");
    call(&upstream, "echo").await.unwrap();
    let (hanging, crashing) = tokio::join!(lost(&upstream, "hang"), lost(&upstream, "exit"));
    assert_eq!((hanging, crashing), (Lost::Ended, Lost::Ended));
    assert_eq!(
        call(&upstream, "echo").await.unwrap().answer,
        Answer::Complete
    );
}

#[tokio::test]
async fn the_last_words_of_a_server_that_exits_are_read() {
    let response = call(&upstream("modern"), "answer-and-exit").await.unwrap();
    assert_eq!(member(&response, "last"), "true");
}

#[tokio::test]
async fn after_a_crash_calls_are_refused_during_the_pause_and_nothing_is_started() {
    let pause = Duration::from_secs(3600);
    let upstream = Upstream::new(settings(
        "modern",
        Bounds {
            first_pause: pause,
            longest_pause: pause,
            ..BOUNDS
        },
    ));
    assert_eq!(lost(&upstream, "exit").await, Lost::Ended);
    let error = call(&upstream, "echo").await.unwrap_err();
    assert!(
        matches!(error, CallError::NotSent(NotSent::Pausing { .. })),
        "{error:?}"
    );
    assert!(matches!(upstream.health().state, State::Pausing(_)));
    assert_eq!(upstream.health().starts, 1);
}

#[tokio::test]
async fn a_dead_upstream_does_not_disturb_another() {
    let (dead, alive) = (upstream("modern"), upstream("modern"));
    call(&alive, "echo").await.unwrap();
    assert_eq!(lost(&dead, "exit").await, Lost::Ended);
    call(&alive, "echo").await.unwrap();
    assert_eq!(alive.health().starts, 1);
}

#[tokio::test]
async fn a_noisy_error_stream_is_drained() {
    let upstream = upstream("legacy");
    call(&upstream, "errors").await.unwrap();
    assert_eq!(upstream.health().stderr_bytes, 1_400_000);
}

#[tokio::test]
async fn the_process_and_its_children_are_gone_after_a_close() {
    let upstream = upstream("modern");
    let pids: Vec<u32> =
        serde_json::from_str(&member(&call(&upstream, "family").await.unwrap(), "pids")).unwrap();
    assert!(pids.iter().all(|pid| runs(*pid)));
    upstream.close(PATIENCE).await;
    // Reaped by us before the close was over.
    assert!(!std::path::Path::new(&format!("/proc/{}", pids[0])).exists());
    end_of(pids[1]).await;
}

#[tokio::test]
async fn the_process_is_killed_and_reaped_when_the_last_handle_goes() {
    let upstream = upstream("legacy");
    let pids: Vec<u32> =
        serde_json::from_str(&member(&call(&upstream, "family").await.unwrap(), "pids")).unwrap();
    drop(upstream);
    let entry = format!("/proc/{}", pids[0]);
    while std::path::Path::new(&entry).exists() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    end_of(pids[1]).await;
}

/// Waits for the end of a process that is not our child: the system has no event for that.
async fn end_of(pid: u32) {
    while runs(pid) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Running, and not a zombie that waits for its parent.
fn runs(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        !stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .trim_start()
            .starts_with(['Z', 'X'])
    })
}

#[tokio::test]
async fn a_listing_keeps_the_bytes_of_each_descriptor_over_all_pages() {
    for manner in ["modern", "legacy"] {
        let tools = upstream(manner).list_tools().await.unwrap();
        assert_eq!(
            tools.iter().map(|tool| tool.name()).collect::<Vec<_>>(),
            ["a", "b"]
        );
        assert_eq!(
            tools[0].descriptor().as_ref(),
            br#"{"name":"a", "x":1.50, "inputSchema":{}}"#
        );
        assert_ne!(
            descriptor_digest(&tools[0]).unwrap(),
            descriptor_digest(&tools[1]).unwrap()
        );
    }
}

#[tokio::test]
async fn listings_without_measure_are_refused_by_name() {
    for (manner, error) in [
        ("endless-pages", ListError::TooManyPages { limit: 100 }),
        ("many-tools", ListError::TooManyTools { limit: 1000 }),
        ("same-names", ListError::NameTwice { position: 2 }),
    ] {
        assert_eq!(upstream(manner).list_tools().await, Err(error));
    }
}

#[tokio::test]
async fn a_listing_over_its_size_is_refused() {
    let upstream = Upstream::new(settings(
        "legacy",
        Bounds {
            listing_bytes: 50,
            ..BOUNDS
        },
    ));
    assert_eq!(
        upstream.list_tools().await,
        Err(ListError::TooLarge { limit: 50 })
    );
}

#[tokio::test]
async fn an_impatient_caller_does_not_keep_a_slow_server_from_coming_up() {
    let upstream = upstream("legacy");
    let error = upstream
        .call(CallRequest {
            timeout: Duration::ZERO,
            ..request("echo", "{}")
        })
        .await;
    assert_eq!(error, Err(CallError::NotSent(NotSent::TimedOut)));
    call(&upstream, "echo").await.unwrap();
    assert_eq!(upstream.health().starts, 1);
}

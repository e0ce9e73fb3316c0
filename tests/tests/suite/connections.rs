//! Connections: whoever says nothing, half of something, or does not listen is gone after a while and takes nobody
//! else's place; idle callers stay, ten thousand of them.

use countersign_tests::certificates::{Ca, Pair};
use countersign_tests::client::Client;
use countersign_tests::machine::{Gateway, Machine};
use countersign_tests::protected::{HERE, Protected, tcp};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;

fn read(client: &mut Client) -> bool {
    let answer = client.call("effects.read", json!({ "line": "a" }));
    answer.is_ok_and(|a| a.is_ok())
}

/// Waits until the gateway ends a connection; what it said on it before.
fn until_the_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut said = Vec::new();
    // Nothing is read within this test's patience unless the gateway goes on or ends the connection.
    match stream.read_to_end(&mut said) {
        Ok(_) => (),
        Err(e) => assert_eq!(e.kind(), ErrorKind::ConnectionReset, "{e}"),
    }
    said
}

fn said(gateway: &Gateway, bytes: &[u8]) -> TcpStream {
    let mut stream = tcp(gateway);
    stream.write_all(bytes).unwrap();
    stream
}

#[test]
fn whoever_says_nothing_or_half_of_something_is_gone_after_a_while_and_a_known_caller_stays() {
    let gateway = Machine::enrolled();
    let gateway = gateway.start();
    let mut known = gateway.alpha();
    assert!(read(&mut known));
    let whole = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let mut silent = tcp(&gateway);
    let mut half_a_head = said(&gateway, &whole[..30]);
    let mut half_a_body = said(
        &gateway,
        b"POST /v1/calls HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{",
    );
    let mut nothing_more = said(&gateway, whole);
    for stream in [&mut silent, &mut half_a_head, &mut half_a_body] {
        let answer = until_the_end(stream);
        assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
    }
    let answer = until_the_end(&mut nothing_more);
    assert!(answer.starts_with(b"HTTP/1.1 200"));
    // It was silent for longer than any of them.
    assert!(known.is_connected());
    assert!(read(&mut known));
}

#[test]
fn whoever_does_not_listen_to_what_it_asked_for_is_gone_after_a_while() {
    let machine = Machine::enrolled();
    let gateway = machine.start();
    let mut stream = tcp(&gateway);
    // More than the system keeps for both sides, so that the gateway finds no room.
    let ask = b"GET /openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(2000);
    stream
        .set_write_timeout(Some(countersign_tests::PATIENCE))
        .unwrap();
    let mut asked = 0;
    let refused = loop {
        match stream.write(&ask[asked % ask.len()..]) {
            Ok(more) => asked += more,
            Err(e) => break e,
        }
    };
    // The gateway ended it: this side's patience did not.
    assert!(
        matches!(
            refused.kind(),
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
        ),
        "{refused}"
    );
    assert!(read(&mut gateway.alpha()));
}

#[test]
fn where_there_is_no_room_left_strangers_end_and_known_callers_stay_and_come() {
    let machine = Machine::enrolled();
    let mut small = machine.serve_under(&["prlimit", "--nofile=800:800"]);
    let gateway = machine
        .boot_with(&mut small)
        .unwrap_or_else(|(_, s)| panic!("{s}"));
    gateway.process.wait_said("room for 400 connections");
    let mut known: Vec<Client> = (0..20).map(|_| gateway.alpha()).collect();
    assert!(known.iter_mut().all(read));
    let strangers: Vec<TcpStream> = (0..1000).map(|_| tcp(&gateway)).collect();
    // Of somebody who connects while strangers hold every place.
    assert!(read(&mut gateway.beta()));
    assert!(known.iter().all(Client::is_connected));
    assert!(known.iter_mut().all(read));
    drop(strangers);
}

#[test]
fn a_stopped_gateway_ends_a_head_that_was_begun() {
    let machine = Machine::enrolled();
    let mut gateway = machine.start();
    let mut begun = said(&gateway, b"GET /healthz HTTP/1.1\r\nhost: ");
    // It is served, and not waiting to be.
    assert!(read(&mut gateway.alpha()));
    assert!(gateway.stop().success());
    assert!(until_the_end(&mut begun).is_empty());
}

/// What a request gets over a connection on which the client showed certificates.
fn with_certificates(
    protected: &Protected,
    gateway: &Gateway,
    chain: &[&Pair],
    key: &Pair,
) -> std::io::Result<u16> {
    let config = protected.ca.client_showing(chain, key);
    let mut client = gateway.stranger().over_tls(config);
    client.get("/readyz").map(|answer| answer.status)
}

#[test]
fn a_client_certificate_is_taken_from_anybody_who_has_its_key_and_makes_nobody_known() {
    let (protected, gateway) = Protected::started();
    let elsewhere = tempfile::tempdir().unwrap();
    let other = Ca::make(elsewhere.path());
    let (one, two) = (other.issue("one", HERE), other.issue("two", HERE));
    assert_eq!(
        with_certificates(&protected, &gateway, &[&one], &one).unwrap(),
        200
    );
    let config = protected.ca.client_showing(&[&one], &one);
    let mut client = gateway.stranger().over_tls(config);
    let answer = client.call("effects.read", json!({ "line": "a" })).unwrap();
    assert_eq!(answer.status, 401);
    // Without the key.
    assert!(with_certificates(&protected, &gateway, &[&one], &two).is_err());
    // With more issuers than any chain has.
    assert!(with_certificates(&protected, &gateway, &[&one; 7], &one).is_err());
    assert!(read(&mut protected.beta(&gateway)));
}

/// Memory of a process, in bytes.
fn resident(process: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
    let kib: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1024
}

/// Bytes that each of so many idle sessions takes in the gateway.
fn each_takes(gateway: &Gateway, sessions: usize, session: impl Fn() -> Client) -> usize {
    let nothing = format!("/v1/records/{}", "00".repeat(32));
    let ask = |client: &mut Client| client.get(&nothing).unwrap().status;
    assert_eq!(ask(&mut session()), 404);
    let before = resident(gateway.process.id());
    let mut all: Vec<Client> = (0..sessions).map(|_| session()).collect();
    for session in &mut all {
        assert_eq!(ask(session), 404);
    }
    let each = (resident(gateway.process.id()) - before) / sessions;
    assert!(all.iter().all(Client::is_connected));
    assert!(all.iter_mut().step_by(100).all(read));
    println!("{sessions} sessions: {each} bytes each");
    each
}

#[test]
fn ten_thousand_idle_sessions_are_held_in_64_kib_each() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).unwrap();
    assert!(
        limit.maximum.is_none_or(|m| m >= 12_500),
        "the hard limit of open files is {limit:?}, and this test and the gateway need 10,000 connections each"
    );
    let machine = Machine::enrolled();
    let gateway = machine.start();
    assert!(each_takes(&gateway, 10_000, || gateway.alpha()) <= 64 * 1024);
}

#[test]
fn an_idle_session_over_tls_takes_64_kib_at_most() {
    let (protected, gateway) = Protected::started();
    let config = protected.ca.client();
    let session = || gateway.alpha().over_tls(config.clone());
    assert!(each_takes(&gateway, 1000, session) <= 64 * 1024);
}

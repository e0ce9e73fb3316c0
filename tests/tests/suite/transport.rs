//! The way to the gateway: TLS 1.3 with a certificate from files, or plain HTTP on loopback where that was asked for.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign::transport::certificate::{Certificate, CertificateError, Look};
use countersign_policies::site::settings::TlsFiles;
use countersign_record::body::EventKind;
use countersign_record::digest::PublicKey;
use countersign_record::entry::Body;
use countersign_tests::auditor::Log;
use countersign_tests::certificates::{Ca, Pair, chmod, knock, replace};
use countersign_tests::client::{Client, sign};
use countersign_tests::machine::{Gateway, Machine};
use countersign_tests::process::outcome;
use countersign_tests::protected::{HERE, Protected, tcp};
use countersign_tests::site::{BETA_KEY, OFFICER_KEY};
use ed25519_dalek::Signer as _;
use rustls::Stream;
use rustls::crypto::aws_lc_rs::kx_group;
use serde_json::json;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What a test of the public type needs: an authority, a pair, and the files' names.
fn pair() -> (tempfile::TempDir, Ca, Pair, TlsFiles) {
    let directory = tempfile::tempdir().unwrap();
    let ca = Ca::make(directory.path());
    let pair = ca.issue("gateway", HERE);
    let files = TlsFiles {
        certificate: pair.certificate.clone(),
        key: pair.key.clone(),
    };
    (directory, ca, pair, files)
}

// Calls.

#[test]
fn a_signed_call_is_carried_over_tls_and_verifies_in_the_export() {
    let (protected, gateway) = Protected::started();
    assert!(gateway.url.starts_with("https://"), "{}", gateway.url);
    let answer = protected
        .beta(&gateway)
        .call("effects.append", json!({ "line": "over tls" }));
    assert!(answer.unwrap().is_ok());
    assert_eq!(protected.machine.effects(), ["over tls"]);
    let ca = protected.ca.file();
    let export = gateway.export_of(&["--ca", ca.to_str().unwrap()]);
    let verdict = protected.machine.auditor().verify(&export);
    assert_eq!(verdict.exit_code, 0);
}

/// Signs a call in which `@target-uri` stands for host and path.
fn by_target_uri(gateway: &Gateway, protected: &Protected, scheme: &str) -> u16 {
    let key = protected.machine.site().signing_key(BETA_KEY);
    let authority = gateway.authority();
    let body = json!({ "capability": "effects.read", "arguments": { "line": "a" } }).to_string();
    let [(_, digest), _, _] = sign(&key, authority, "POST", "/v1/calls", &[], body.as_bytes());
    let created = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
        + 1;
    let parameters = format!(
        "(\"@method\" \"@target-uri\" \"content-digest\");created={created};keyid=\"{}\";nonce=\"{}\";alg=\"ed25519\";tag=\"countersign\"",
        PublicKey(key.verifying_key().to_bytes()).id(),
        countersign_tests::unique("nonce"),
    );
    let base = format!(
        "\"@method\": POST\n\"@target-uri\": {scheme}://{authority}/v1/calls\n\"content-digest\": {digest}\n\"@signature-params\": {parameters}"
    );
    let signature = STANDARD.encode(key.sign(base.as_bytes()).to_bytes());
    let headers = [
        ("content-type", "application/json"),
        ("content-digest", digest.as_str()),
        ("signature-input", &format!("sig1={parameters}")),
        ("signature", &format!("sig1=:{signature}:")),
    ];
    let mut client = gateway.stranger().over_tls(protected.ca.client());
    let answer = client.request("POST", "/v1/calls", &headers, body.as_bytes());
    answer.unwrap().status
}

#[test]
fn the_target_uri_of_a_signature_over_tls_begins_with_https() {
    let (protected, gateway) = Protected::started();
    assert_eq!(by_target_uri(&gateway, &protected, "https"), 200);
    assert_eq!(by_target_uri(&gateway, &protected, "http"), 401);
}

#[test]
fn people_answer_over_tls_with_the_certificates_that_they_name() {
    let (protected, gateway) = Protected::started();
    let answer = protected
        .beta(&gateway)
        .call("effects.erase", json!({ "line": "x" }));
    assert_eq!(answer.unwrap().code(), "approval_required");
    let ca = protected.ca.file();
    let listed = gateway.approve(&["list", "--ca", ca.to_str().unwrap()]);
    assert!(listed.contains("effects.erase"), "{listed}");
}

#[test]
fn a_command_without_certificates_or_with_those_of_others_sends_nothing() {
    let (protected, gateway) = Protected::started();
    let (_, said) = gateway.try_export();
    let said = said.unwrap_err();
    assert!(said.contains("say with --ca FILE"), "{said}");
    let mut plain = Command::new(countersign_tests::program("countersign"));
    plain.args(["approve", "list", "--url"]);
    plain.arg(format!("http://{}", gateway.authority()));
    plain
        .arg("--key")
        .arg(protected.machine.site().key_file(OFFICER_KEY));
    let (status, _, said) = outcome(&mut plain);
    assert!(!status.success());
    assert!(said.contains("is it https?"), "{said}");
    let elsewhere = tempfile::tempdir().unwrap();
    let other = Ca::make(elsewhere.path()).file();
    let (_, said) = gateway.try_export_of(&["--ca", other.to_str().unwrap()]);
    let said = said.unwrap_err();
    assert!(said.contains("is not shown to be the gateway"), "{said}");
    let (_, said) = gateway.try_export_of(&["--ca", protected.pair.key.to_str().unwrap()]);
    let said = said.unwrap_err();
    assert!(said.contains("there is no certificate in"), "{said}");
}

#[test]
fn a_host_that_the_certificate_does_not_name_is_refused() {
    let (protected, gateway) = Protected::started();
    let port = gateway.authority().rsplit_once(':').unwrap().1.to_owned();
    let mut client = gateway.stranger().over_tls(protected.ca.client());
    for (host, status) in [
        (format!("127.0.0.1:{port}"), 200),
        ("localhost".to_owned(), 200),
        ("gateway.example".to_owned(), 403),
        (format!("127.0.0.2:{port}"), 403),
        (String::new(), 403),
    ] {
        let answer = client.request("GET", "/readyz", &[("host", &host)], b"");
        assert_eq!(answer.unwrap().status, status, "{host}");
    }
    let local = [("host", "localhost"), ("origin", "http://localhost")];
    let answer = client.request("GET", "/readyz", &local, b"");
    assert_eq!(answer.unwrap().status, 403, "a page of another scheme");
}

// Handshakes.

#[test]
fn the_key_exchange_is_the_hybrid_one_wherever_the_client_has_it() {
    let (protected, gateway) = Protected::started();
    for groups in [
        vec![kx_group::X25519MLKEM768, kx_group::X25519],
        // Also where the client would rather have the other one.
        vec![kx_group::X25519, kx_group::X25519MLKEM768],
    ] {
        let connection = protected.shake(&gateway, &protected.ca.client_with(&groups));
        let group = connection.negotiated_key_exchange_group().unwrap().name();
        assert_eq!(group, rustls::NamedGroup::X25519MLKEM768);
        let version = connection.protocol_version();
        assert_eq!(version, Some(rustls::ProtocolVersion::TLSv1_3));
    }
    let without = protected.ca.client_with(&[kx_group::X25519]);
    let connection = protected.shake(&gateway, &without);
    let group = connection.negotiated_key_exchange_group().unwrap().name();
    assert_eq!(group, rustls::NamedGroup::X25519);
}

#[test]
fn tls_1_2_is_refused() {
    let (protected, gateway) = Protected::started();
    let connect = |version: &str| {
        let mut client = Command::new("openssl");
        client.args(["s_client", "-connect", gateway.authority(), version]);
        client.args(["-verify_return_error", "-CAfile"]);
        outcome(client.arg(protected.ca.file()))
    };
    let (status, out, err) = connect("-tls1_3");
    assert!(status.success(), "{out}{err}");
    assert!(out.contains("TLSv1.3"), "{out}");
    let (status, out, err) = connect("-tls1_2");
    assert!(!status.success(), "{out}");
    assert!(err.contains("alert protocol version"), "{err}");
}

#[test]
fn no_session_is_resumed_and_no_ticket_is_given() {
    let (protected, gateway) = Protected::started();
    let config = protected.ca.client();
    for _ in 0..2 {
        let mut connection = knock(&config, gateway.authority());
        let mut stream = tcp(&gateway);
        let mut tls = Stream::new(&mut connection, &mut stream);
        tls.write_all(b"GET /readyz HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        tls.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert_eq!(
            connection.handshake_kind(),
            Some(rustls::HandshakeKind::Full)
        );
        assert_eq!(connection.tls13_tickets_received(), 0);
    }
}

#[test]
fn plain_http_gets_nothing_where_tls_is_spoken() {
    let (protected, gateway) = Protected::started();
    let mut stream = tcp(&gateway);
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
        .unwrap();
    let mut answer = Vec::new();
    // It may end in a reset, because there is more that nobody reads.
    let _end = stream.read_to_end(&mut answer);
    // A TLS alert at most.
    assert!(answer.is_empty() || answer[0] == 21, "{answer:?}");
    assert!(answer.len() < 16, "{answer:?}");
    let answer = protected
        .beta(&gateway)
        .call("effects.read", json!({ "line": "after" }));
    assert!(answer.unwrap().is_ok());
}

#[test]
fn who_says_nothing_keeps_nobody_waiting_and_is_dropped() {
    let (protected, gateway) = Protected::started();
    let mut silent: Vec<TcpStream> = (0..32).map(|_| tcp(&gateway)).collect();
    // One begins and does not go on: a handshake record of 512 bytes of which one comes.
    silent[0].write_all(&[22, 3, 1, 2, 0, 1]).unwrap();
    let answer = protected
        .beta(&gateway)
        .call("effects.read", json!({ "line": "meanwhile" }));
    assert!(answer.unwrap().is_ok());
    for stream in &mut silent {
        // Nothing is read within this test's patience unless the gateway ends the connection.
        match stream.read(&mut [0; 1]) {
            Ok(0) => (),
            Ok(_) => panic!("it was told something"),
            Err(e) => assert_eq!(e.kind(), std::io::ErrorKind::ConnectionReset),
        }
    }
}

#[test]
fn a_gateway_that_is_stopped_waits_for_no_handshake_and_no_idle_connection() {
    let (protected, mut gateway) = Protected::started();
    let mut open = protected.beta(&gateway);
    let answer = open.call("effects.read", json!({ "line": "a" }));
    assert!(answer.unwrap().is_ok());
    let mut begun = tcp(&gateway);
    begun.write_all(&[22, 3, 1, 2, 0, 1]).unwrap();
    assert!(gateway.stop().success());
    assert!(gateway.process.said().contains("epoch closed"));
    assert!(
        open.call("effects.read", json!({ "line": "b" })).is_err(),
        "nobody is there any more"
    );
}

// Files.

#[test]
fn a_new_pair_is_used_without_a_restart_and_open_connections_go_on() {
    let (protected, gateway) = Protected::started();
    let mut open = protected.beta(&gateway);
    let read = |client: &mut Client| client.call("effects.read", json!({ "line": "a" }));
    assert!(read(&mut open).unwrap().is_ok());
    let before = protected.shown(&gateway);
    let next = protected.ca.issue("next", HERE);
    next.replace(&protected.pair);
    gateway.process.wait_said("a new certificate is in use");
    assert_ne!(protected.shown(&gateway), before);
    assert!(read(&mut open).unwrap().is_ok());
    assert!(read(&mut protected.beta(&gateway)).unwrap().is_ok());
}

#[test]
fn a_pair_that_does_not_fit_leaves_the_one_before_in_use() {
    let (protected, gateway) = Protected::started();
    let before = protected.shown(&gateway);
    let key = fs::read(&protected.pair.key).unwrap();
    let next = protected.ca.issue("next", HERE);
    replace(
        &protected.pair.certificate,
        &fs::read(&next.certificate).unwrap(),
    );
    gateway
        .process
        .wait_said("the certificate before stays in use");
    assert_eq!(protected.shown(&gateway), before);
    let said = gateway.process.said();
    assert!(said.contains("is not that of the certificate"), "{said}");
    let secret = String::from_utf8(key).unwrap();
    for line in secret.lines().filter(|l| !l.starts_with("-----")) {
        assert!(!said.contains(line));
    }
    // The other half comes: it goes on without a restart.
    replace(&protected.pair.key, &fs::read(&next.key).unwrap());
    gateway.process.wait_said("a new certificate is in use");
    assert_ne!(protected.shown(&gateway), before);
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let (directory, ca, pair, files) = pair();
    let open = || Certificate::open(files.clone()).unwrap_err();
    let (certificate, key) = (files.certificate.clone(), files.key.clone());
    assert!(Certificate::open(files.clone()).is_ok());
    for mode in [0o604, 0o601, 0o602, 0o660, 0o610, 0o777] {
        chmod(&key, mode);
        assert_eq!(
            open(),
            CertificateError::Exposed {
                path: key.clone(),
                mode
            }
        );
    }
    for mode in [0o640, 0o440, 0o400, 0o600] {
        chmod(&key, mode);
        assert!(Certificate::open(files.clone()).is_ok(), "{mode:o}");
    }
    let other = ca.issue("other", HERE);
    let good = fs::read(&key).unwrap();
    replace(&key, &fs::read(&other.key).unwrap());
    let no_pair = CertificateError::NoPair {
        certificate: certificate.clone(),
        key: key.clone(),
    };
    assert_eq!(open(), no_pair);
    for bytes in [
        &b""[..],
        b"no key",
        &fs::read(&certificate).unwrap(),
        &good[..good.len() / 2],
    ] {
        replace(&key, bytes);
        assert_eq!(open(), CertificateError::NoKey { path: key.clone() });
    }
    replace(&key, &vec![b'-'; 1 << 20]);
    assert_eq!(open(), CertificateError::TooLong { path: key.clone() });
    replace(&key, &good);
    for bytes in [&b""[..], b"no certificate", &good] {
        replace(&certificate, bytes);
        let error = CertificateError::NoCertificate {
            path: certificate.clone(),
        };
        assert_eq!(open(), error);
    }
    fs::remove_file(&certificate).unwrap();
    let unreadable = CertificateError::Unreadable {
        path: certificate,
        why: std::io::ErrorKind::NotFound,
    };
    assert_eq!(open(), unreadable);
    drop((directory, pair));
}

#[test]
fn a_look_changes_nothing_unless_there_is_another_pair() {
    let (_directory, ca, pair, files) = pair();
    let certificate = Certificate::open(files.clone()).unwrap();
    assert_eq!(certificate.look(), Ok(Look::Same));
    let next = ca.issue("next", "DNS:next.example");
    replace(&files.key, &fs::read(&next.key).unwrap());
    assert!(matches!(
        certificate.look(),
        Err(CertificateError::NoPair { .. })
    ));
    assert!(matches!(
        certificate.look(),
        Err(CertificateError::NoPair { .. })
    ));
    replace(&files.certificate, &fs::read(&next.certificate).unwrap());
    assert_eq!(certificate.look(), Ok(Look::Changed));
    assert_eq!(certificate.look(), Ok(Look::Same));
    fs::remove_file(&files.key).unwrap();
    assert!(matches!(
        certificate.look(),
        Err(CertificateError::Unreadable { .. })
    ));
    drop(pair);
}

#[test]
fn a_gateway_whose_certificate_cannot_be_used_opens_no_epoch() {
    let protected = Protected::new();
    let log = protected.machine.snapshot_state();
    chmod(&protected.pair.key, 0o644);
    let mut serve = protected.machine.serve_command();
    let (status, said) = protected.machine.boot_with(&mut serve).err().unwrap();
    assert!(!status.success());
    assert!(said.contains("[tls]: the key's file"), "{said}");
    assert!(said.contains("permissions 644"), "{said}");
    drop(log);
    // Nothing was announced that would now have to be explained.
    chmod(&protected.pair.key, 0o600);
    let gateway = protected.machine.start();
    let answer = protected
        .beta(&gateway)
        .call("effects.read", json!({ "line": "a" }));
    assert!(answer.unwrap().is_ok());
}

// Plain HTTP.

/// What a gateway says whose settings were changed so, instead of starting. The settings are put back.
fn refused(machine: &Machine, from: &str, to: &str) -> String {
    let settings = fs::read(machine.site().settings()).unwrap();
    machine.site().edit(from, to);
    let mut serve = machine.serve_command();
    let (status, said) = machine.boot_with(&mut serve).err().unwrap();
    assert!(!status.success());
    fs::write(machine.site().settings(), settings).unwrap();
    said
}

const LOOPBACK: &str = "address = \"127.0.0.1:0\"";

#[test]
fn plain_http_on_another_address_than_loopback_is_refused_with_what_to_do() {
    let machine = Machine::enrolled();
    for address in [
        "0.0.0.0:0",
        "[::]:0",
        "192.0.2.1:8480",
        "[::ffff:127.0.0.1]:0",
    ] {
        let said = refused(&machine, LOOPBACK, &format!("address = \"{address}\""));
        assert!(said.contains("plain HTTP is served nowhere else"), "{said}");
        assert!(
            said.contains("put [tls] with certificate and key"),
            "{said}"
        );
    }
}

#[test]
fn loopback_without_tls_is_refused_unless_plain_http_was_asked_for() {
    let machine = Machine::enrolled();
    for asked in ["", "plain_http = false"] {
        let said = refused(&machine, "plain_http = true", asked);
        assert!(said.contains("tls is missing"), "{said}");
        assert!(said.contains("plain_http = true"), "{said}");
    }
}

#[test]
fn an_address_that_keeps_sending_what_nobody_knows_waits_and_known_callers_do_not() {
    let (protected, mut gateway) = Protected::started();
    let call = |client: &mut Client| {
        let answer = client.call("effects.append", json!({ "line": "x" }));
        answer.unwrap().status
    };
    let anew = |gateway: &Gateway| gateway.alpha().over_tls(protected.ca.client());
    let mut known = anew(&gateway);
    assert_eq!(call(&mut known), 200);
    let mut stranger = gateway.stranger().over_tls(protected.ca.client());
    // How many are looked at before one is not; a machine that takes longer than 50 ms for each would look at all of them.
    let looks = |stranger: &mut Client| {
        (0..20_000u64).find(|_| match call(stranger) {
            401 => false,
            429 => true,
            other => panic!("it is answered with {other}"),
        })
    };
    let first = looks(&mut stranger).unwrap();
    assert!(first >= 1000, "only {first} were looked at");
    // From the same address: on a connection of its own since before; at a door that anybody may use; to stop calls.
    assert_eq!(call(&mut known), 200);
    let again = looks(&mut stranger).unwrap();
    let told = first + again + 2;
    let mut at = |method, path| stranger.request(method, path, &[], b"").unwrap();
    // Each is let in after 50 ms, whatever this one is told.
    let mut refused = at("GET", "/v1/tools");
    let mut told = told + 1;
    while refused.status != 429 {
        refused = at("GET", "/v1/tools");
        told += 1;
    }
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(at("GET", "/healthz").status, 200);
    for in_need in ["/v1/stops", "/v1/approvals"] {
        assert_eq!(at("GET", in_need).status, 401);
    }
    // Whoever comes anew waits as long as it is told, and is heard.
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(call(&mut anew(&gateway)), 200);
    assert!(gateway.stop().success(), "{}", gateway.process.said());
    let gateway = protected.machine.start();
    let ca = protected.ca.file();
    let export = gateway.export_of(&["--ca", ca.to_str().unwrap()]);
    let mut counted = 0;
    for entry in &Log::read(&export).0 {
        if let Body::Event(event) = &entry.payload.body
            && event.kind == EventKind::Unauthenticated
        {
            counted += event.count;
        }
    }
    assert_eq!(counted, told + 2);
}

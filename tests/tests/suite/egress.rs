//! Upstreams that are elsewhere: reached over TLS, by names that are resolved and judged here, or not at all.

use countersign_record::body::Effect;
use countersign_record::cbor::Cbor as _;
use countersign_record::commitment::Field;
use countersign_record::digest::sha256;
use countersign_record::egress::{EgressConnection, EgressConnections};
use countersign_tests::auditor::{Log, Logged};
use countersign_tests::certificates::{Ca, Pair};
use countersign_tests::client::{Answer, Client};
use countersign_tests::machine::{Gateway, Machine};
use countersign_tests::process::{Process, run};
use countersign_tests::site::python;
use countersign_tests::{PATIENCE, fixture, unique};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

/// A machine, an upstream elsewhere, and a name server that knows where.
struct Away {
    machine: Machine,
    pair: Pair,
    https: u16,
    directory: PathBuf,
    _server: Process,
}

impl Away {
    fn new() -> Self {
        let machine = Machine::enrolled();
        let directory = machine.path().join("away");
        fs::create_dir(&directory).unwrap();
        let ca = Ca::make(&directory);
        let pair = ca.issue("away", "DNS:api.test,IP:127.0.0.1");
        let mut server = Command::new(python());
        server.args(["-I", "-S"]).arg(fixture("away.py"));
        server
            .arg(fixture("away.json"))
            .args([&pair.certificate, &pair.key]);
        let server = Process::start(server.arg(&directory));
        let said = server.line().unwrap();
        let mut ports = said.strip_prefix("listening ").unwrap().split(' ');
        let mut port = || ports.next().unwrap().parse::<u16>().unwrap();
        let (https, dns) = (port(), port());
        let site = machine.site();
        site.append_settings(&format!("[egress]\nnameservers = [\"127.0.0.1:{dns}\"]"));
        fs::create_dir_all(site.file("roots")).unwrap();
        fs::copy(ca.file(), site.file("roots/tests.pem")).unwrap();
        let this = Self {
            machine,
            pair,
            https,
            directory,
            _server: server,
        };
        this.zone(&json!({
            "api.test": "edge.test",
            "edge.test": ["127.0.0.1"],
            "other.test": ["127.0.0.1"],
            "metadata.test": ["169.254.169.254"],
        }));
        this
    }

    fn zone(&self, zone: &Value) {
        let new = self.directory.join("zone.new");
        fs::write(&new, zone.to_string()).unwrap();
        fs::rename(new, self.directory.join("zone.json")).unwrap();
    }

    /// An adapter; `listed` stand in `endpoint_in` at the server's port.
    fn upstream(&self, name: &str, host: &str, listed: &[&str], more: &str) {
        let port = self.https;
        let listed: Vec<String> = listed.iter().map(|host| format!("{host}:{port}")).collect();
        let more = if more.contains("roots") {
            more.to_owned()
        } else {
            format!("roots = \"roots/tests.pem\"\n{more}")
        };
        let reached = format!(
            "kind = \"mcp-http\"\nurl = \"https://{host}:{port}/mcp\"\nendpoint_in = {listed:?}\n{more}"
        );
        let site = self.machine.site();
        site.add_upstream(name, &reached, &fixture("away.json"));
    }

    fn start(&self) -> Gateway {
        self.machine.site().build();
        self.machine.start()
    }

    fn requests(&self) -> Vec<String> {
        let text = fs::read_to_string(self.directory.join("away.log")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn key_pin(&self) -> String {
        let public = run(Command::new("openssl")
            .args(["x509", "-noout", "-pubkey", "-in"])
            .arg(&self.pair.certificate));
        let file = self.directory.join("public.pem");
        fs::write(&file, public).unwrap();
        let der = self.directory.join("public.der");
        run(Command::new("openssl")
            .args(["pkey", "-pubin", "-outform", "DER", "-in"])
            .arg(file)
            .arg("-out")
            .arg(&der));
        hex::encode(sha256(&fs::read(der).unwrap()))
    }

    fn certificate(&self) -> [u8; 32] {
        sha256(&CertificateDer::from_pem_file(&self.pair.certificate).unwrap())
    }
}

fn ask(client: &mut Client, upstream: &str, tool: &str) -> Answer {
    let line = unique(tool);
    let answer = client
        .call(&format!("{upstream}.{tool}"), json!({ "line": line }))
        .unwrap();
    if answer.is_ok() {
        assert_eq!(answer.text(), line);
    }
    answer
}

/// Asks until the pause after a failure is over.
fn ask_again(client: &mut Client, upstream: &str, tool: &str) -> Answer {
    let end = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < end, "{upstream} does not come back");
        let answer = ask(client, upstream, tool);
        if answer.code() != "upstream_unavailable" {
            return answer;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

fn answered<'l>(log: &'l Log, answer: &Answer) -> &'l Logged {
    let of = |entry: &&Logged| Some(entry.digest.to_string().as_str()) == answer.digest();
    log.0.iter().find(of).unwrap()
}

fn went(entry: &Logged) -> Vec<EgressConnection> {
    let disclosed = entry.disclosures.iter().find(|d| d.field == Field::Egress);
    let all = disclosed.map(|d| EgressConnections::from_bytes(&d.value.0).unwrap());
    all.map(|all| all.connections).unwrap_or_default()
}

#[test]
fn an_upstream_elsewhere_is_called_over_tls_and_the_record_says_where_the_call_went() {
    let away = Away::new();
    let pin = format!("pinned_sha256 = [{:?}]", away.key_pin());
    away.upstream("far", "api.test", &["edge.test", "127.0.0.1"], &pin);
    let mut gateway = away.start();
    let answer = ask(&mut gateway.alpha(), "far", "honest");
    assert!(answer.is_ok(), "{answer:?}");
    let here = gateway
        .alpha()
        .call("effects.read", json!({ "line": "here" }))
        .unwrap();
    assert!(here.is_ok(), "{here:?}");
    let export = gateway.export();
    gateway.stop();

    away.machine.auditor().verify(&export).assert_verified();
    let log = Log::read(&export);
    let expected = EgressConnection {
        destination: format!("api.test:{}", away.https),
        address: Some(format!("127.0.0.1:{}", away.https)),
        certificate: Some(away.certificate()),
        refused: None,
    };
    assert_eq!(went(answered(&log, &answer)), [expected]);
    // A program that is started goes nowhere by the gateway's own connections.
    assert_eq!(went(answered(&log, &here)), []);
    away.machine.expect_replay(&export);
}

#[test]
fn who_is_not_where_or_who_the_site_says_is_sent_nothing() {
    let away = Away::new();
    let all = ["edge.test", "other.test", "127.0.0.1"];
    let wrong_pin = format!("pinned_sha256 = [{:?}]", "11".repeat(32));
    let stranger = away.machine.path().join("stranger");
    fs::create_dir(&stranger).unwrap();
    let roots = away.machine.site().file("roots/stranger.pem");
    fs::copy(Ca::make(&stranger).file(), roots).unwrap();
    away.upstream("good", "api.test", &all, "");
    let attacks = [
        (
            "private",
            "api.test",
            &["edge.test"][..],
            "",
            "egress_denied",
        ),
        ("alias", "api.test", &["127.0.0.1"], "", "egress_denied"),
        ("metadata", "metadata.test", &all, "", "egress_denied"),
        (
            "pin",
            "api.test",
            &all,
            wrong_pin.as_str(),
            "upstream_untrusted",
        ),
        (
            "root",
            "api.test",
            &all,
            "roots = \"roots/stranger.pem\"",
            "upstream_untrusted",
        ),
        ("name", "other.test", &all, "", "upstream_untrusted"),
    ];
    for (name, host, listed, more, _) in attacks {
        away.upstream(name, host, listed, more);
    }
    let mut gateway = away.start();
    let mut client = gateway.alpha();
    for (name, _, _, _, code) in attacks {
        let answer = ask(&mut client, name, "honest");
        assert_eq!(answer.code(), code, "{name}: {answer:?}");
    }
    let called = |line: &&String| line.ends_with("tools/call");
    assert_eq!(away.requests().iter().filter(called).count(), 0);
    let twin = ask(&mut client, "good", "honest");
    assert!(twin.is_ok(), "{twin:?}");
    let export = gateway.export();
    gateway.stop();
    away.machine.auditor().verify(&export).assert_verified();
    away.machine.expect_replay(&export);
}

#[test]
fn a_redirect_is_not_followed_and_is_named() {
    let away = Away::new();
    away.upstream("far", "api.test", &["edge.test", "127.0.0.1"], "");
    let mut gateway = away.start();
    let answer = ask(&mut gateway.alpha(), "far", "elsewhere");
    assert_eq!(answer.code(), "redirect_refused");
    let twin = ask(&mut gateway.alpha(), "far", "honest");
    assert!(twin.is_ok(), "{twin:?}");
    let export = gateway.export();
    gateway.stop();
    away.machine.auditor().verify(&export).assert_verified();
    let log = Log::read(&export);
    let decision = answered(&log, &answer).decision().unwrap();
    assert_eq!(decision.effect, Effect::Unknown);
    assert_eq!(decision.cancelled.as_deref(), Some("redirected"));
    assert!(away.requests().iter().all(|line| line.starts_with("/mcp ")));
    away.machine.expect_replay(&export);
}

#[test]
fn a_name_that_leads_elsewhere_from_now_on_is_not_followed() {
    let away = Away::new();
    away.upstream("far", "api.test", &["edge.test", "127.0.0.1"], "");
    let mut gateway = away.start();
    let mut client = gateway.alpha();
    let before = ask(&mut client, "far", "last");
    assert!(before.is_ok(), "{before:?}");
    away.zone(&json!({ "api.test": "edge.test", "edge.test": ["10.0.0.1"] }));
    // Connections that were made before go to an address that was judged; each call uses one up.
    let end = Instant::now() + PATIENCE;
    let refused = loop {
        assert!(Instant::now() < end, "connections do not come to an end");
        let answer = ask_again(&mut client, "far", "last");
        if !answer.is_ok() {
            break answer;
        }
    };
    assert_eq!(refused.code(), "egress_denied", "{refused:?}");
    away.zone(&json!({ "api.test": "edge.test", "edge.test": ["127.0.0.1"] }));
    let end = Instant::now() + PATIENCE;
    while !ask(&mut client, "far", "honest").is_ok() {
        assert!(Instant::now() < end, "the upstream does not come back");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let export = gateway.export();
    gateway.stop();
    away.machine.auditor().verify(&export).assert_verified();
    let log = Log::read(&export);
    let entry = answered(&log, &refused);
    assert_eq!(entry.decision().unwrap().effect, Effect::None);
    let met = went(entry);
    assert_eq!(met.len(), 1, "{met:?}");
    assert_eq!(met[0].refused.as_deref(), Some("address-not-listed"));
    assert_eq!(met[0].address, None);
    away.machine.expect_replay(&export);
}

#[test]
fn an_argument_that_leads_where_calls_may_not_go_is_refused_before_anything_is_sent() {
    let machine = Machine::enrolled();
    let site = machine.site();
    let file = "capabilities/append.toml";
    let text = fs::read_to_string(site.file(file)).unwrap();
    let listed = "endpoint_in = [\"api.example:443\", \"*.cdn.example:443\", \"10.1.0.0/16:80\", \"0.0.0.0/0:8080\"]";
    let text = text.replace("\"local_write\"", "\"network\"").replace(
        "[arguments.line]",
        "[num_calls]\ncalls = 100\nseconds = 3600\n\n[arguments.line]",
    );
    site.write(file, &format!("{listed}\n{text}destination = \"url\"\n"));
    site.build();
    let mut gateway = machine.start();
    let mut alpha = gateway.alpha();
    let mut append = |line: &str| {
        alpha
            .call("effects.append", json!({ "line": line }))
            .unwrap()
    };
    for good in [
        "https://api.example/v1?u=https://evil.example",
        "https://a.b.cdn.example/x",
        "http://10.1.2.3/",
        "http://8.8.8.8:8080/",
    ] {
        assert!(append(good).is_ok(), "{good}");
    }
    for (bad, code) in [
        ("https://evil.example/", "destination_denied"),
        ("http://api.example/", "destination_denied"),
        ("https://api.example.evil.example/", "destination_denied"),
        ("http://10.2.0.1/", "destination_denied"),
        (
            "http://169.254.169.254:8080/latest/meta-data",
            "destination_denied",
        ),
        ("http://127.0.0.1:8080/", "destination_denied"),
        ("https://api.example@evil.example/", "invalid_arguments"),
        ("https://2130706433:8080/", "invalid_arguments"),
        ("api.example", "invalid_arguments"),
    ] {
        assert_eq!(append(bad).code(), code, "{bad}");
    }
    assert_eq!(machine.effects().len(), 4);
    let export = gateway.export();
    gateway.stop();
    machine.auditor().verify(&export).assert_verified();
    machine.expect_replay(&export);
}

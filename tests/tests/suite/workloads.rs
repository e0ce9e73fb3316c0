//! Callers by the certificates of workloads (SPIFFE), and tokens that are bound to certificates (RFC 8705), over real
//! connections.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_record::digest::sha256;
use countersign_tests::auditor::Log;
use countersign_tests::certificates::{Ca, Pair};
use countersign_tests::client::{Client, Response};
use countersign_tests::issuer::Issuer;
use countersign_tests::machine::{Gateway, Machine};
use countersign_tests::protected::Protected;
use countersign_tests::site::SiteOptions;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};

const CLERK: &str = "spiffe://north.example/agents/clerk";
const JSON: (&str, &str) = ("content-type", "application/json");

/// A gateway that speaks TLS, in whose site an agent is a workload, and who issues for whom.
struct World {
    protected: Protected,
    issuer: Issuer,
    workloads: Ca,
    strangers: Ca,
}

fn authority(machine: &Machine, name: &str) -> Ca {
    let directory = machine.path().join(name);
    std::fs::create_dir(&directory).unwrap();
    Ca::make(&directory)
}

fn started() -> (World, Gateway) {
    let machine = Machine::new(&SiteOptions::default());
    let site = machine.site();
    let issuer = Issuer::of(site);
    let workloads = authority(&machine, "workloads");
    let strangers = authority(&machine, "strangers");
    for directory in ["roots", "trust-domains"] {
        std::fs::create_dir_all(site.file(directory)).unwrap();
    }
    let roots = std::fs::read_to_string(workloads.file()).unwrap();
    site.write("roots/spire.pem", &roots);
    site.write(
        "trust-domains/north.toml",
        "name = \"north.example\"\nroots = \"roots/spire.pem\"\n",
    );
    let oauth = "[oauth]\nissuer = \"corp\"\nclient = \"clerk\"\n";
    site.write(
        "agents/clerk.toml",
        &format!(
            "urn = \"agent:tests/clerk@1\"\ntenant = \"north\"\nspiffe_id = \"{CLERK}\"\n{oauth}"
        ),
    );
    site.build();
    machine.enrol(1);
    let world = World {
        protected: Protected::of(machine),
        issuer,
        workloads,
        strangers,
    };
    let gateway = world.protected.machine.start();
    (world, gateway)
}

impl World {
    fn clerk(&self, name: &str) -> Pair {
        self.workloads.issue_workload(name, CLERK)
    }

    /// A client that shows this certificate.
    fn showing(&self, gateway: &Gateway, pair: &Pair) -> Client {
        let config = self.protected.ca.client_showing(&[pair], pair);
        gateway.stranger().over_tls(config)
    }

    fn effects(&self) -> Vec<String> {
        self.protected.machine.effects()
    }
}

fn append(client: &mut Client, token: Option<&str>, line: &str) -> Response {
    let body = json!({ "capability": "effects.append", "arguments": { "line": line } });
    let authorization = token.map(|t| format!("Bearer {t}"));
    let mut headers = vec![JSON];
    headers.extend(authorization.as_deref().map(|a| ("authorization", a)));
    let sent = client.request("POST", "/v1/calls", &headers, body.to_string().as_bytes());
    sent.unwrap()
}

fn code(response: &Response) -> (u16, String) {
    let body: Value = response.json();
    let code = body["refusal"]["code"].as_str().unwrap_or_default();
    (response.status, code.to_owned())
}

fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

fn der(pair: &Pair) -> Vec<u8> {
    CertificateDer::from_pem_file(&pair.certificate)
        .unwrap()
        .to_vec()
}

#[test]
fn a_workload_calls_by_its_certificate_and_the_record_keeps_it() {
    let (world, gateway) = started();
    let pair = world.clerk("clerk");
    let mut client = world.showing(&gateway, &pair);
    let done = append(&mut client, None, "by certificate");
    assert_eq!(done.json()["status"], "ok", "{}", done.json());
    // A renewed certificate over another key is the same workload.
    let renewed = world.clerk("renewed");
    let again = append(&mut world.showing(&gateway, &renewed), None, "renewed");
    assert_eq!(again.json()["status"], "ok", "{}", again.json());
    assert_eq!(world.effects(), ["by certificate", "renewed"]);

    let machine = &world.protected.machine;
    let export = gateway_export(&world, &gateway);
    machine.auditor().verify(&export).assert_verified();
    let log = Log::read(&export);
    let (entry, intent) = log.intents().next().unwrap();
    assert_eq!(intent.caller.assurance, 2);
    let kept = entry.claims();
    assert_eq!(kept.certificate.unwrap().0, der(&pair));
    assert!(kept.token.is_none());
    machine.expect_replay(&export);
}

#[test]
fn a_certificate_that_names_no_workload_of_the_site_calls_nobody() {
    let (world, gateway) = started();
    let unknown = world
        .workloads
        .issue_workload("unknown", "spiffe://north.example/agents/unknown");
    let elsewhere = world
        .workloads
        .issue_workload("elsewhere", "spiffe://south.example/agents/clerk");
    let forged = world.strangers.issue_workload("forged", CLERK);
    let server = world.workloads.issue("server", "DNS:clerk.north.example");
    for pair in [&unknown, &elsewhere, &forged, &server] {
        let answer = append(&mut world.showing(&gateway, pair), None, "no");
        assert_eq!(code(&answer), refused(401, "certificate_invalid"));
        let challenge = answer.header("www-authenticate").unwrap_or_default();
        assert!(challenge.contains("resource_metadata="), "{challenge}");
    }
    // Without one there is nobody, as before.
    let plain = gateway.stranger().over_tls(world.protected.ca.client());
    let answer = append(&mut { plain }, None, "no");
    assert_eq!(code(&answer), refused(401, "unauthenticated"));
    assert!(world.effects().is_empty());
}

#[test]
fn a_token_of_a_workload_needs_its_certificate_and_says_for_whom_it_acts() {
    let (world, gateway) = started();
    let pair = world.clerk("clerk");
    let token = |client: &str| {
        world
            .issuer
            .token(json!({ "client_id": client, "sub": "ada" }))
    };
    let mut bare = gateway.stranger().over_tls(world.protected.ca.client());
    let alone = append(&mut bare, Some(&token("clerk")), "alone");
    assert_eq!(code(&alone), refused(401, "certificate_invalid"));
    let mut client = world.showing(&gateway, &pair);
    let done = append(&mut client, Some(&token("clerk")), "for ada");
    assert_eq!(done.json()["status"], "ok", "{}", done.json());
    // The token of a client that calls by its tokens is that client's, whatever else the connection shows.
    let other = append(&mut client, Some(&token("desk")), "of desk");
    assert_eq!(other.json()["status"], "ok", "{}", other.json());
    assert_eq!(world.effects(), ["for ada", "of desk"]);

    let export = gateway_export(&world, &gateway);
    let log = Log::read(&export);
    let levels: Vec<u8> = log.intents().map(|(_, i)| i.caller.assurance).collect();
    assert_eq!(levels, [2, 1]);
    world.protected.machine.expect_replay(&export);
}

#[test]
fn a_token_that_is_bound_to_a_certificate_counts_over_its_connection_alone() {
    let (world, gateway) = started();
    // Whoever issued it does not matter: the token's issuer says which one it is.
    let held = world.strangers.issue("held", "DNS:desk.north.example");
    let digest = URL_SAFE_NO_PAD.encode(sha256(&der(&held)));
    let token = world.issuer.token(json!({ "cnf": { "x5t#S256": digest } }));
    let done = append(&mut world.showing(&gateway, &held), Some(&token), "bound");
    assert_eq!(done.json()["status"], "ok", "{}", done.json());
    let other = world.clerk("clerk");
    for client in [
        world.showing(&gateway, &other),
        gateway.stranger().over_tls(world.protected.ca.client()),
    ] {
        let answer = append(&mut { client }, Some(&token), "stolen");
        assert_eq!(code(&answer), refused(401, "token_invalid"));
    }
    assert_eq!(world.effects(), ["bound"]);
    let export = gateway_export(&world, &gateway);
    let log = Log::read(&export);
    let (entry, intent) = log.intents().next().unwrap();
    assert_eq!(intent.caller.assurance, 2);
    assert_eq!(entry.claims().certificate.unwrap().0, der(&held));
    world.protected.machine.expect_replay(&export);
}

fn gateway_export(world: &World, gateway: &Gateway) -> std::path::PathBuf {
    let ca = world.protected.ca.file();
    gateway.export_of(&["--ca", ca.to_str().unwrap()])
}

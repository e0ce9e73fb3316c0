//! What a decision costs, by number of policies: facts in, verdict out, on one thread.
//!
//! `cargo run --release -p countersign-policies --example decide_bench`
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a benchmark reads the clock and may stop"
)]

use countersign_policies::decision::BudgetFact;
use countersign_policies::example::{ExampleCredential, ExampleKeys, files};
use countersign_policies::{Bundle, CallFacts, Engine, Facts, Pins, Site, SiteFiles, Viewer};
use countersign_record::digest::{PublicKey, Signature, TenantId, UnixMillis, sha256};
use ed25519_dalek::{Signer as _, SigningKey};
use std::collections::BTreeSet;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Tools beside the example's; with as many agents there is one policy a pair at 10,000.
const TOOLS: usize = 100;
const AGENTS: usize = 100;
const ROUNDS: usize = 20_000;

fn main() {
    for policies in [10, 1_000, 10_000] {
        let start = Instant::now();
        let engine = engine(policies);
        println!(
            "{policies} policies: parsed, signed, opened and compiled in {:?}",
            start.elapsed()
        );
        let capability = engine
            .capability("demo", "customers", "t0")
            .expect("capability")
            .clone();
        let arguments = serde_json::from_str(
            r#"{"query":"SELECT * FROM customers WHERE email = 'ada@example.org'"}"#,
        )
        .expect("arguments");
        measure("  constrain", || capability.constrain(&arguments).is_ok());
        let constrained = capability
            .constrain(&arguments)
            .expect("permitted arguments");
        let facts = Facts::of_call(CallFacts {
            viewer: Viewer {
                tenant: "demo",
                agent: "agent:demo/a7@1",
                assurance: 3,
            },
            user: Some("eve"),
            token: None,
            capability: &capability,
            descriptor: capability.descriptor,
            requested: None,
            constrained: &constrained,
            approvers: &BTreeSet::new(),
            budget: BudgetFact {
                calls: 3,
                limit: Some(600),
            },
            time: UnixMillis(1_700_000_000_000),
            flow: None,
        });
        println!("  {:?}", engine.decide(&facts).policies);
        measure("  decide", || engine.decide(&facts));
        let viewer = Viewer {
            tenant: "demo",
            agent: "agent:demo/a7@1",
            assurance: 3,
        };
        let start = Instant::now();
        let listed = engine.visible(&viewer).len();
        println!(
            "  visible: {listed} of {} in {:?}",
            TOOLS + 4,
            start.elapsed()
        );
    }
}

fn measure<T>(name: &str, mut f: impl FnMut() -> T) {
    for _ in 0..ROUNDS / 10 {
        black_box(f());
    }
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            black_box(f());
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    println!(
        "{name}: p50 {:?} p99 {:?}",
        times[ROUNDS / 2],
        times[ROUNDS * 99 / 100]
    );
}

/// The example with more tools and agents, and a policy for each pair of them until there are enough.
fn engine(policies: usize) -> Engine {
    let signer = SigningKey::from_bytes(&[3; 32]);
    let public = PublicKey(signer.verifying_key().to_bytes());
    let mut files = example(public);
    let template = files.0["capabilities/read_query.toml"].clone();
    for t in 0..TOOLS {
        files.0.insert(
            format!("capabilities/t{t}.toml"),
            template.replace("read_query", &format!("t{t}")),
        );
    }
    for a in 0..AGENTS {
        let urn = format!("agent:demo/a{a}@1");
        let digest = sha256(urn.as_bytes()).map(|b| format!("{b:02x}")).concat();
        let text = format!("urn = \"{urn}\"\ntenant = \"demo\"\ntoken_digest = \"{digest}\"\n");
        files.0.insert(format!("agents/a{a}.toml"), text);
    }
    let mut text = String::new();
    for i in 0..policies {
        let (agent, tool) = (i % AGENTS, i / AGENTS % TOOLS);
        text.push_str(&format!(
            "@id(\"p{i}\")\npermit (principal == Agent::\"agent:demo/a{agent}@1\", action == \
             Action::\"customers.t{tool}\", resource)\nwhen {{ principal.assurance >= 2 && \
             context.input_shape.query == \"customer_by_email\" }};\n"
        ));
    }
    files.0.insert("policies/many.cedar".into(), text);
    let site = Site::parse(&files).expect("site");
    let mut bundle = Bundle::build(&site).expect("bundle");
    bundle
        .sign(public, |m| Signature(signer.sign(m).to_bytes()))
        .expect("signature");
    let bundle =
        Bundle::open(&bundle.to_bytes(), &Pins::of_settings(&site.settings)).expect("opened");
    Engine::compile(&bundle).expect("engine")
}

fn example(bundle_signer: PublicKey) -> SiteFiles {
    let keys = ExampleKeys {
        tenant: TenantId([1; 16]),
        listen: "127.0.0.1:8443".into(),
        tpm: "device:/dev/tpmrm0".into(),
        release: [4; 65],
        governance: PublicKey([2; 32]),
        bundle_signer,
        recovery: [4; 32],
        reader_token: [5; 32],
        erasure: ExampleCredential::Token([6; 32]),
        approver: PublicKey([7; 32]),
        python: "python3".into(),
        database: "customers.db".into(),
        entry_sha256: None,
    };
    SiteFiles(files(&keys).into_iter().collect())
}

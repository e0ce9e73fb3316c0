//! What a decision costs: stages 1 to 6 without I/O, and Cedar's part of them, on one thread.
//!
//! `decision [--rounds N]` prints a table. A signed caller's request carries a fresh RFC 9421
//! signature (Ed25519) that is verified; a token caller's is looked up by its hash. The reference
//! in the same run is the bare verification of the same signature over the same base, without
//! which no gateway could do.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use countersign_gateway::admission::{Conditions, admit};
use countersign_gateway::approval::{self, Clearance};
use countersign_gateway::budget::budget;
use countersign_gateway::call::{Moment, Seed, Who};
use countersign_gateway::identity::{Callers, Clock, Nonces, Presented, identify};
use countersign_gateway::policy::{self, Judgement};
use countersign_gateway::request::{Request, Untrusted};
use countersign_gateway::state::State;
use countersign_gateway::surface::{Observed, surface};
use countersign_policies::decision::BudgetFact;
use countersign_policies::example::{ExampleCredential, ExampleKeys, files};
use countersign_policies::{Bundle, CallFacts, Engine, Facts, Pins, Site, SiteFiles, Viewer};
use countersign_record::digest::{
    GatewayId, PublicKey, Signature, SubjectId, TenantId, UnixMillis, sha256,
};
use countersign_signatures::ed25519;
use countersign_signatures::http::{
    Header, HttpRequest, Scheme, SigningParameters, UnixSeconds, sign_request,
};
use countersign_signatures::token::TokenHash;
use ed25519_dalek::{Signer as _, SigningKey};
use std::collections::BTreeSet;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Tools beside the example's four, so that there are 100 capabilities.
const TOOLS: usize = 96;
const AGENTS: usize = 105;
const NOW: u64 = 1_800_000_000_000;
const TOKEN: &str = "bench-bench-bench-bench-bench-bench";
const AUTHORITY: &str = "127.0.0.1:8443";
const BODY: &str = r#"{"capability":"customers.t0","arguments":{"query":"SELECT * FROM customers WHERE email = 'ada@example.org'"},"run":"bench"}"#;

fn main() -> Result<()> {
    if countersign_benches::figures::helps(include_str!("decision.rs")) {
        return Ok(());
    }
    let rounds = rounds()?;
    println!("machine: {}", machine());
    println!(
        "{:<44} {:>8} {:>9} {:>9} {:>9}",
        "what", "policies", "p50 µs", "p99 µs", "goal p50"
    );
    for policies in [10, 1_000, 10_000] {
        let site = Built::new(policies)?;
        let goal = if policies == 1_000 { "80" } else { "" };
        row(
            "stages 1-6, signed caller",
            policies,
            &site.calls(Caller::Signed, rounds)?,
            goal,
        );
        row(
            "stages 1-6, token caller",
            policies,
            &site.calls(Caller::Token, rounds)?,
            "",
        );
        row(
            "  of it: Cedar's part",
            policies,
            &site.cedar(rounds)?,
            "20",
        );
    }
    let bare = bare_signature(rounds)?;
    row("reference: bare Ed25519 verification", 0, &bare, "");
    Ok(())
}

fn rounds() -> Result<usize> {
    let mut args = std::env::args().skip(1);
    match (args.next().as_deref(), args.next()) {
        (None, _) => Ok(20_000),
        (Some("--rounds"), Some(n)) => Ok(n.parse()?),
        _ => bail!("usage: decision [--rounds N]"),
    }
}

fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|l| l.strip_prefix("model name")?.split_once(':'))
        .map_or("unknown processor", |(_, name)| name.trim());
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    format!("{model}, {cores} cores")
}

fn row(what: &str, policies: usize, times: &[Duration], goal: &str) {
    let micros = |share: usize| {
        let at = times.len().saturating_mul(share) / 100;
        times.get(at).map_or(0.0, |t| t.as_secs_f64() * 1e6)
    };
    println!(
        "{what:<44} {policies:>8} {:>9.1} {:>9.1} {goal:>9}",
        micros(50),
        micros(99)
    );
}

#[derive(Clone, Copy)]
enum Caller {
    Signed,
    Token,
}

struct Built {
    engine: Engine,
    callers: Callers,
}

/// Headers of one request.
type Headers = Vec<(&'static str, String)>;

impl Built {
    fn new(policies: usize) -> Result<Self> {
        let signer = SigningKey::from_bytes(&[3; 32]);
        let public = PublicKey(signer.verifying_key().to_bytes());
        let files = site(policies, public)?;
        let site = Site::parse(&files).map_err(|e| anyhow::anyhow!("{e}"))?;
        let mut unsigned = Bundle::build(&site).map_err(|e| anyhow::anyhow!("{e}"))?;
        unsigned.sign(public, |m| Signature(signer.sign(m).to_bytes()))?;
        let bundle = Bundle::open(&unsigned.to_bytes(), &Pins::of_settings(&site.settings))?;
        Ok(Self {
            callers: Callers::of_content(bundle.content()),
            engine: Engine::compile(&bundle)?,
        })
    }

    /// Times of stages 1 to 6, ascending.
    fn calls(&self, caller: Caller, rounds: usize) -> Result<Vec<Duration>> {
        let mut state = State::new(GatewayId([1; 32]));
        let mut nonces = Nonces::default();
        let warm = rounds / 10;
        let mut times = Vec::with_capacity(rounds);
        for round in 0..rounds.saturating_add(warm) {
            let headers = match caller {
                Caller::Signed => signed(round)?,
                Caller::Token => vec![("authorization", format!("Bearer {TOKEN}"))],
            };
            let headers: Vec<Header<'_>> = headers
                .iter()
                .map(|(name, value)| Header {
                    name,
                    value: value.as_bytes(),
                })
                .collect();
            let untrusted = Untrusted {
                body: Bytes::from_static(BODY.as_bytes()),
                moment: moment(),
                seed: Seed::fresh(sha256(&round.to_be_bytes())),
                session: None,
            };
            let start = Instant::now();
            let clearance = self.decide(untrusted, &headers, &mut state, &mut nonces);
            let took = start.elapsed();
            let Clearance::Approved(approved) = clearance? else {
                bail!("the call was not let through");
            };
            // What a journal would make durable: a call that is under way no more.
            drop(black_box(approved));
            state.release(Seed::fresh(sha256(&round.to_be_bytes())).call_id());
            if round >= warm {
                times.push(took);
            }
        }
        times.sort_unstable();
        Ok(times)
    }

    fn decide(
        &self,
        untrusted: Untrusted,
        headers: &[Header<'_>],
        state: &mut State,
        nonces: &mut Nonces,
    ) -> Result<Clearance> {
        let refused = |r: Box<countersign_gateway::refusal::Refused>| {
            anyhow::anyhow!("{}", r.refusal().code().name())
        };
        let clock = Clock {
            now: UnixMillis(NOW),
            epoch_opened: UnixMillis(NOW - 3_600_000),
        };
        let request = Request::parse_call(untrusted).map_err(refused)?;
        // Looked up in memory by the gateway; here it is given.
        let subject = |_: &Who| Some(SubjectId([7; 32]));
        let presented = presented(headers);
        let presented = Presented::without_certificates(&presented);
        let identified =
            identify(request, presented, &self.callers, nonces, clock, subject).map_err(refused)?;
        let admitted = admit(identified, Conditions::MET).map_err(refused)?;
        let surfaced = surface(admitted, &self.engine, |c| {
            Observed::Descriptor(c.descriptor)
        })
        .map_err(refused)?;
        let budgeted = budget(surfaced, state, moment()).map_err(refused)?;
        match policy::decide(budgeted, &self.engine, state, moment()).map_err(refused)? {
            Judgement::Permitted(permitted) => approval::clear(permitted, state).map_err(refused),
            Judgement::Escalated(_) => bail!("the call was escalated"),
        }
    }

    /// Times of facts to verdict, ascending.
    fn cedar(&self, rounds: usize) -> Result<Vec<Duration>> {
        let capability = self
            .engine
            .capability("demo", "customers", "t0")
            .context("no such capability")?;
        let arguments = serde_json::from_str(
            r#"{"query":"SELECT * FROM customers WHERE email = 'ada@example.org'"}"#,
        )?;
        let constrained = capability.constrain(&arguments)?;
        let facts = Facts::of_call(CallFacts {
            viewer: Viewer {
                tenant: "demo",
                agent: "agent:demo/a0@1",
                assurance: 3,
            },
            user: None,
            token: None,
            capability,
            descriptor: capability.descriptor,
            requested: None,
            constrained: &constrained,
            approvers: &BTreeSet::new(),
            budget: BudgetFact {
                calls: 3,
                limit: Some(600),
            },
            time: UnixMillis(NOW),
            flow: None,
        });
        Ok(timed(rounds, || self.engine.decide(&facts)))
    }
}

/// Times of `f`, ascending, after a tenth as many rounds that do not count.
fn timed<T>(rounds: usize, mut f: impl FnMut() -> T) -> Vec<Duration> {
    for _ in 0..rounds / 10 {
        black_box(f());
    }
    let mut times: Vec<Duration> = (0..rounds)
        .map(|_| {
            let start = Instant::now();
            black_box(f());
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    times
}

fn bare_signature(rounds: usize) -> Result<Vec<Duration>> {
    let key = agent_key();
    // A signature base of this request has about this length.
    let message = [7; 480];
    let signature = key.sign(&message).to_bytes();
    let public = ed25519::PublicKey::parse(&key.verifying_key().to_bytes())?;
    Ok(timed(rounds, || {
        public
            .verify(ed25519::Signed {
                message: &message,
                signature: &signature,
            })
            .is_ok()
    }))
}

fn moment() -> Moment {
    Moment {
        at: UnixMillis(NOW),
        since_boot: 1,
    }
}

fn presented<'a>(headers: &'a [Header<'a>]) -> HttpRequest<'a> {
    HttpRequest {
        method: "POST",
        scheme: Scheme::Http,
        authority: AUTHORITY,
        path: "/v1/calls",
        query: None,
        headers,
        body: BODY.as_bytes(),
    }
}

fn agent_key() -> SigningKey {
    SigningKey::from_bytes(&[11; 32])
}

fn signed(round: usize) -> Result<Headers> {
    let key = agent_key();
    let key_id = PublicKey(key.verifying_key().to_bytes()).id().to_string();
    let parameters = SigningParameters {
        key_id: &key_id,
        created: UnixSeconds(NOW / 1000),
        expires: None,
        nonce: &format!("nonce-{round:016}"),
    };
    let made = sign_request(&presented(&[]), &parameters, |m| key.sign(m).to_bytes())?;
    Ok(vec![
        ("content-digest", made.content_digest),
        ("signature-input", made.signature_input),
        ("signature", made.signature),
    ])
}

/// The example with more tools and agents, and a policy for each pair of them until there are enough.
fn site(policies: usize, bundle_signer: PublicKey) -> Result<SiteFiles> {
    let token = *TokenHash::of(TOKEN)?.as_bytes();
    let keys = ExampleKeys {
        tenant: TenantId([1; 16]),
        listen: AUTHORITY.into(),
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
    let mut files = SiteFiles(files(&keys).into_iter().collect());
    let template = files
        .0
        .get("capabilities/read_query.toml")
        .context("the example has no read_query")?
        .replacen("calls = 600", "calls = 1000000", 1);
    for t in 0..TOOLS {
        let text = template.replace("read_query", &format!("t{t}"));
        files.0.insert(format!("capabilities/t{t}.toml"), text);
    }
    let signing = PublicKey(agent_key().verifying_key().to_bytes());
    for a in 0..AGENTS {
        let urn = format!("agent:demo/a{a}@1");
        let credential = match a {
            0 => format!("public_key = \"{signing}\""),
            1 => format!("token_digest = \"{}\"", hexadecimal(&token)),
            _ => format!(
                "token_digest = \"{}\"",
                hexadecimal(&sha256(urn.as_bytes()))
            ),
        };
        let text = format!("urn = \"{urn}\"\ntenant = \"demo\"\n{credential}\n");
        files.0.insert(format!("agents/a{a}.toml"), text);
    }
    let mut text = String::new();
    for i in 0..policies {
        let (agent, tool) = (i % AGENTS, (i / AGENTS) % TOOLS);
        text.push_str(&format!(
            "@id(\"p{i}\")\npermit (principal == Agent::\"agent:demo/a{agent}@1\", action == \
             Action::\"customers.t{tool}\", resource)\nwhen {{ \
             context.input_shape.query == \"customer_by_email\" }};\n"
        ));
    }
    files.0.insert("policies/many.cedar".into(), text);
    Ok(files)
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

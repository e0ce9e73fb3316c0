//! What it costs to look for twenty redaction rules in results that have nothing to redact, on one thread.
//!
//! `redaction [--rounds N]` prints a table: the stage as a whole, as the gateway runs it, and its parts. The references in
//! the same run are a search for one word that is not there (`memchr`), and the same patterns as one regular expression.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use countersign_gateway::release::releasable;
use countersign_json::texts::any_text;
use countersign_json::{Limits, scan};
use countersign_policies::example::{ExampleCredential, ExampleKeys, files};
use countersign_policies::{Capability, Site, SiteFiles};
use countersign_record::digest::{PublicKey, TenantId};
use ed25519_dalek::SigningKey;
use std::collections::BTreeSet;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

/// Names and patterns of rules as sites have them.
const RULES: [(&str, &str); 20] = [
    ("mail", r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}"),
    (
        "card",
        r"\b[3-6][0-9]{3}[ -]?[0-9]{4}[ -]?[0-9]{4}[ -]?[0-9]{3,4}\b",
    ),
    (
        "iban",
        r"\b[A-Z]{2}[0-9]{2}[ ]?[A-Z0-9]{4}[ ]?[0-9]{4}[ ]?[0-9]{4}",
    ),
    ("ssn", r"\b[0-9]{3}-[0-9]{2}-[0-9]{4}\b"),
    ("phone", r"\+[0-9]{2}[ -]?[0-9]{3}[ -]?[0-9]{6,8}"),
    (
        "ipv4",
        r"\b[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\b",
    ),
    (
        "mac",
        r"\b[0-9a-f]{2}:[0-9a-f]{2}:[0-9a-f]{2}:[0-9a-f]{2}:[0-9a-f]{2}:[0-9a-f]{2}\b",
    ),
    ("aws-key", r"\bAKIA[0-9A-Z]{16}\b"),
    ("github", r"\bgh[pousr]_[A-Za-z0-9]{36}\b"),
    ("slack", r"\bxox[baprs]-[0-9A-Za-z-]{10,}"),
    (
        "jwt",
        r"\beyJ[A-Za-z0-9_-]+\.eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+",
    ),
    ("pem", r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    ("bearer", r"(?i)\bbearer +[a-z0-9._~+/-]{16,}"),
    ("password", r"(?i)\bpass(word|phrase)? *[:=] *[^ ]+"),
    ("passport", r"\b[CFGHJK][0-9CFGHJKLMNPRTVWXYZ]{8}\b"),
    ("vat", r"\bDE[0-9]{9}\b"),
    (
        "uuid",
        r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b",
    ),
    ("born", r"(?i)\bborn (on )?[0-9]{4}-[0-9]{2}-[0-9]{2}\b"),
    ("customer", r"\bCUST-[0-9]{6}\b"),
    ("url-user", r"https?://[^/ :@]+:[^/ @]+@"),
];

/// Prose, tables and code, as tools give them back, without anything that a rule looks for.
const CLEAN: &str = "The quarterly report lists 17 open orders, 4 of them late; totals are 1,204.50 and 88.00 EUR. \
    Row 12: status=shipped, carrier=North Line, weight 3.2 kg, created 2026-03-04T10:00:00Z. \
    fn main() { let rows = load(\\\"orders.csv\\\"); println!(\\\"{}\\\", rows.len()); } \
    See section 4.2 of the handbook, which describes how returns are booked and who signs for them. ";

fn main() -> Result<()> {
    if countersign_benches::figures::helps(include_str!("redaction.rs")) {
        return Ok(());
    }
    let rounds = rounds()?;
    let capability = capability()?;
    let names: BTreeSet<String> = RULES.iter().map(|(name, _)| (*name).to_owned()).collect();
    let text = CLEAN.repeat(3_000);
    let result =
        format!("{{\"content\":[{{\"type\":\"text\",\"text\":\"{text}\"}}],\"isError\":false}}");
    let many = format!(
        "{{\"rows\":[{}]}}",
        vec![format!("{{\"id\":17,\"note\":\"{CLEAN}\",\"total\":88.00}}"); 2_000].join(",")
    );
    println!(
        "{:<52} {:>9} {:>9} {:>9}",
        "what", "MB/s p50", "fastest", "goal"
    );
    for (what, result) in [
        ("one text of 1.2 MB", &result),
        ("2,000 small members", &many),
    ] {
        let raw = Bytes::from(result.clone());
        let (released, fired) = releasable(&capability, &names, &raw);
        ensure!(
            released.is_ok_and(|r| r == raw) && fired.is_empty(),
            "the text is not clean"
        );
        row(
            &format!("release stage, 20 rules, {what}"),
            raw.len(),
            "200",
            rounds,
            || black_box(releasable(&capability, &names, &raw)).1.len(),
        );
    }
    let raw = result.as_bytes();
    let limits = Limits::of_bytes(raw.len());
    row("  of it: strict reading", raw.len(), "", rounds, || {
        usize::from(scan(black_box(raw), &limits).is_ok())
    });
    let document = scan(raw, &limits)?;
    row(
        "  of it: one pass for all rules",
        raw.len(),
        "",
        rounds,
        || usize::from(any_text(black_box(&document), |t| capability.is_touched(t))),
    );
    let rules: Vec<_> = capability.redactions.iter().collect();
    row("as it was: rule after rule", text.len(), "", rounds, || {
        rules
            .iter()
            .map(|rule| rule.apply(black_box(&text)).len())
            .sum()
    });
    let needle = memchr::memmem::Finder::new("no such word in it");
    row(
        "reference: memchr, one word",
        text.len(),
        "",
        rounds,
        || needle.find(black_box(text.as_bytes())).unwrap_or_default(),
    );
    let all: Vec<String> = RULES.iter().map(|(_, p)| format!("(?:{p})")).collect();
    let bare = regex::Regex::new(&all.join("|"))?;
    row(
        "reference: regex, one expression of all",
        text.len(),
        "",
        rounds,
        || usize::from(bare.is_match(black_box(&text))),
    );
    Ok(())
}

/// The median and the fastest of all rounds, in megabytes (10^6) a second: on a shared machine the fastest is what the
/// processor does when it is left alone.
fn row(what: &str, bytes: usize, goal: &str, rounds: usize, mut once: impl FnMut() -> usize) {
    let mut times: Vec<f64> = (0..rounds)
        .map(|_| {
            let start = Instant::now();
            black_box(once());
            start.elapsed().as_secs_f64()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    let median = times
        .get(times.len().div_euclid(2))
        .copied()
        .unwrap_or(f64::NAN);
    let megabytes = u32::try_from(bytes).map_or(f64::NAN, f64::from) / 1e6;
    let fastest = times.first().copied().unwrap_or(f64::NAN);
    println!(
        "{what:<52} {:>9.0} {:>9.0} {goal:>9}",
        megabytes / median,
        megabytes / fastest
    );
}

fn rounds() -> Result<usize> {
    let mut args = std::env::args().skip(1);
    match (args.next().as_deref(), args.next()) {
        (None, _) => Ok(200),
        (Some("--rounds"), Some(n)) => Ok(n.parse()?),
        _ => bail!("usage: redaction [--rounds N]"),
    }
}

/// A capability with the rules, read as a site is read.
fn capability() -> Result<Arc<Capability>> {
    let public = |seed| {
        PublicKey(
            SigningKey::from_bytes(&[seed; 32])
                .verifying_key()
                .to_bytes(),
        )
    };
    let keys = ExampleKeys {
        tenant: TenantId([7; 16]),
        listen: "127.0.0.1:8443".to_owned(),
        tpm: "swtpm:127.0.0.1:2321".to_owned(),
        release: [4; 65],
        governance: public(2),
        bundle_signer: public(3),
        recovery: [4; 32],
        reader_token: [5; 32],
        erasure: ExampleCredential::Key(public(6)),
        approver: public(8),
        python: "python3".to_owned(),
        database: "customers.db".to_owned(),
        entry_sha256: None,
    };
    let mut files = SiteFiles(files(&keys).into_iter().collect());
    let file = files.0.get_mut("capabilities/read_query.toml");
    let file = file.context("the example has it")?;
    for (name, pattern) in RULES {
        file.push_str(&format!(
            "\n[[redactions]]\nname = \"{name}\"\npattern = '{pattern}'\nreplacement = \"[{name}]\"\napply = \"always\"\n"
        ));
    }
    let site = Site::parse(&files).map_err(|e| anyhow::anyhow!("{e}"))?;
    let found = site.content.capabilities.get("customers.read_query");
    Ok(Arc::clone(found.context("the example has it")?))
}

//! Whose certificates name agents: what a site may say of trust domains and workloads.

use crate::fixture::{example, public};
use countersign_devices::svid::{authority, signed, workload};
use countersign_devices::tdx::pem;
use countersign_policies::site::people::Credential;
use countersign_policies::{Site, SiteFiles};

const NOW: u64 = 1_795_132_900_000;
const DESK: &str = "spiffe://bank.example/agents/desk";
const DOMAIN: &str = "name = \"bank.example\"\nroots = \"roots/spire.pem\"\n";

fn agent(name: &str, rest: &str) -> String {
    format!("urn = \"agent:demo/{name}@1\"\ntenant = \"demo\"\n{rest}\n")
}

fn own(id: &str) -> String {
    format!("spiffe_id = \"{id}\"")
}

fn files() -> SiteFiles {
    let root = signed(&authority(("root", "root"), 1, NOW), 1);
    let leaf = signed(&workload("root", DESK, 3, NOW), 1);
    let text = |der: &[u8]| String::from_utf8(pem(&[der])).unwrap();
    let mut out = example();
    for (file, text) in [
        ("roots/spire.pem", text(&root)),
        ("roots/leaf.pem", text(&leaf)),
        ("trust-domains/bank.toml", DOMAIN.to_owned()),
        ("agents/workload.toml", agent("workload", &own(DESK))),
    ] {
        out.0.insert(file.to_owned(), text);
    }
    out
}

fn said(file: &str, text: &str) -> String {
    let mut out = files();
    out.0.insert(file.to_owned(), text.to_owned());
    let problems = Site::parse(&out).map(|_| ());
    problems
        .expect_err("a site that does not hold together")
        .to_string()
}

#[test]
fn a_trust_domain_and_its_workload_hold_together() {
    let site = Site::parse(&files()).unwrap_or_else(|e| panic!("{e}"));
    let agent = &site.content.agents["agent:demo/workload@1"];
    let Credential::Workload(id) = &agent.credential else {
        panic!("{:?}", agent.credential);
    };
    assert_eq!(id.as_str(), DESK);
    assert_eq!(
        site.content.trust_domains["bank.example"].name(),
        "bank.example"
    );
    let registered = site.content.registry();
    let entry = registered.agents.iter().find(|a| a.urn == agent.urn);
    let entry = entry.expect("the registry has every agent");
    assert_eq!((entry.key, entry.token), (None, None));
}

#[test]
fn what_is_wrong_with_a_trust_domain_is_named() {
    for (text, expected) in [
        (
            DOMAIN.replace("bank.example", "Bank"),
            "name is \"Bank\", expected small letters",
        ),
        (
            DOMAIN.replace("spire.pem", "none.pem"),
            "file of roots \"roots/none.pem\"",
        ),
        (
            DOMAIN.replace("spire.pem", "leaf.pem"),
            "root 1 is no certificate of an authority",
        ),
        (format!("{DOMAIN}jwks = \"x\"\n"), "unknown field"),
    ] {
        let found = said("trust-domains/bank.toml", &text);
        assert!(found.contains(expected), "{found}");
    }
    let twice = said("trust-domains/again.toml", DOMAIN);
    assert!(
        twice.contains("trust domain \"bank.example\" is already declared"),
        "{twice}"
    );
}

#[test]
fn what_is_wrong_with_a_workload_is_named() {
    let file = "agents/other.toml";
    for (rest, expected) in [
        (
            own("https://bank.example/agents/desk"),
            "expected spiffe://<trust domain>/<path>",
        ),
        (
            own("spiffe://bank.example"),
            "expected spiffe://<trust domain>/<path>",
        ),
        (
            own("spiffe://other.example/agents/desk"),
            "trust domain \"other.example\" is not declared",
        ),
        (
            own(DESK),
            "spiffe_id \"spiffe://bank.example/agents/desk\" is already declared",
        ),
        (
            format!("{}\npublic_key = \"{}\"", own(DESK), public(9)),
            "exactly one of token_digest, public_key, spiffe_id and [oauth]",
        ),
    ] {
        let found = said(file, &agent("other", &rest));
        assert!(found.contains(expected), "{found}");
    }
}

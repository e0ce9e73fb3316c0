//! A site with the example's files, changed by each test.

use countersign_policies::decision::BudgetFact;
use countersign_policies::example::{ExampleCredential, ExampleKeys, files};
use countersign_policies::{
    Bundle, CallFacts, Capability, Engine, Facts, Pins, Site, SiteFiles, UnsignedBundle, Viewer,
};
use countersign_record::digest::{PublicKey, Signature, TenantId, UnixMillis};
use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::{Map, Value as Json};
use std::collections::BTreeSet;

pub(crate) fn signing_key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

pub(crate) fn public(seed: u8) -> PublicKey {
    PublicKey(signing_key(seed).verifying_key().to_bytes())
}

pub(crate) fn keys() -> ExampleKeys {
    ExampleKeys {
        tenant: TenantId([7; 16]),
        listen: "127.0.0.1:8443".into(),
        tpm: "swtpm:127.0.0.1:2321".into(),
        release: [4; 65],
        governance: public(2),
        bundle_signer: public(3),
        recovery: [4; 32],
        reader_token: [5; 32],
        erasure: ExampleCredential::Key(public(6)),
        approver: public(8),
        python: "python3".into(),
        database: "customers.db".into(),
        entry_sha256: None,
    }
}

pub(crate) fn example() -> SiteFiles {
    SiteFiles(files(&keys()).into_iter().collect())
}

/// The example with one text of one file replaced; the text must be there.
pub(crate) fn with(file: &str, from: &str, to: &str) -> SiteFiles {
    let mut files = example();
    let text = files.0.get_mut(file).expect("file of the example");
    assert!(text.contains(from), "{file} has no {from:?}");
    *text = text.replacen(from, to, 1);
    files
}

/// The example with a further file.
pub(crate) fn plus(file: &str, text: &str) -> SiteFiles {
    let mut files = example();
    files.0.insert(file.into(), text.into());
    files
}

pub(crate) fn unsigned(files: &SiteFiles) -> UnsignedBundle {
    Bundle::build(&Site::parse(files).unwrap_or_else(|e| panic!("{e}"))).unwrap()
}

pub(crate) fn sign(bundle: &mut UnsignedBundle, seed: u8) {
    bundle
        .sign(public(seed), |m| {
            Signature(signing_key(seed).sign(m).to_bytes())
        })
        .unwrap();
}

pub(crate) fn pins() -> Pins {
    Pins {
        signers: vec![public(3)],
        threshold: 1,
        name: "erasure-desk".into(),
        environment: "demo".into(),
        minimum_version: 1,
        pinned: None,
    }
}

pub(crate) fn bundle(files: &SiteFiles) -> Bundle {
    let mut bundle = unsigned(files);
    sign(&mut bundle, 3);
    Bundle::open(&bundle.to_bytes(), &pins()).unwrap()
}

pub(crate) fn engine(files: &SiteFiles) -> Engine {
    Engine::compile(&bundle(files)).unwrap()
}

pub(crate) const READER: &str = "agent:demo/reader@1";
pub(crate) const ERASURE: &str = "agent:demo/erasure@1";
pub(crate) const DELETE: &str = "DELETE FROM customers WHERE email = 'ada@example.org'";
pub(crate) const SELECT: &str = "SELECT * FROM customers WHERE email = 'ada@example.org'";

pub(crate) fn json(text: &str) -> Map<String, Json> {
    serde_json::from_str(text).unwrap()
}

pub(crate) fn query(text: &str) -> Map<String, Json> {
    Map::from_iter([("query".to_owned(), Json::String(text.to_owned()))])
}

pub(crate) fn capability<'a>(engine: &'a Engine, tool: &str) -> &'a Capability {
    engine
        .capability("demo", "customers", tool)
        .expect("capability of the example")
}

/// Facts of a call by an agent of the tenant `demo`; the arguments must keep to their rules.
pub(crate) fn facts(
    engine: &Engine,
    agent: &str,
    tool: &str,
    arguments: &Map<String, Json>,
) -> Facts {
    let capability = capability(engine, tool);
    let constrained = capability.constrain(arguments).unwrap();
    Facts::of_call(CallFacts {
        viewer: Viewer {
            tenant: "demo",
            agent,
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
            calls: 0,
            limit: capability.num_calls.map(|n| n.calls),
        },
        time: UnixMillis(1_700_000_000_000),
        flow: None,
    })
}

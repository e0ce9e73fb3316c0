use super::*;
use crate::example::{ExampleCredential, ExampleKeys, files};
use crate::site::{Site, SiteFiles};
use countersign_record::digest::{PublicKey, TenantId};

/// The example, with a policy for each of `n` agents beside its own.
fn engine(n: usize) -> Engine {
    let key = |b: u8| PublicKey([b; 32]);
    let keys = ExampleKeys {
        tenant: TenantId([1; 16]),
        listen: "127.0.0.1:1".into(),
        tpm: "device:/dev/tpmrm0".into(),
        release: [4; 65],
        governance: key(2),
        bundle_signer: key(3),
        recovery: [4; 32],
        reader_token: [5; 32],
        erasure: ExampleCredential::Token([6; 32]),
        approver: key(7),
        python: "python3".into(),
        database: "a \"quoted\" path.db".into(),
        entry_sha256: Some([8; 32]),
    };
    let mut files: SiteFiles = SiteFiles(files(&keys).into_iter().collect());
    let mut policies = String::new();
    for i in 0..n {
        let urn = format!("agent:demo/a{i}@1");
        let digest = hex::encode(countersign_record::digest::sha256(urn.as_bytes()));
        let agent = format!("urn = \"{urn}\"\ntenant = \"demo\"\ntoken_digest = \"{digest}\"\n");
        files.0.insert(format!("agents/a{i}.toml"), agent);
        policies.push_str(&format!(
            "@id(\"p{i}\")\npermit (principal == Agent::\"{urn}\", action == Action::\"customers.read_query\", resource);\n"
        ));
    }
    files.0.insert("policies/many.cedar".into(), policies);
    let site = Site::parse(&files).unwrap_or_else(|e| panic!("{e}"));
    Engine::of_content(&site.content, ArtifactDigest([0; 32])).unwrap()
}

#[test]
fn as_many_policies_are_evaluated_at_2000_as_at_10() {
    let evaluated = |engine: &Engine| {
        let slice = &engine.tenants["demo"].capabilities["customers.read_query"];
        slice.everybody.num_of_policies() + slice.by_agent["agent:demo/a3@1"].num_of_policies()
    };
    let few = engine(10);
    let many = engine(2_000);
    assert_eq!((evaluated(&few), evaluated(&many)), (2, 2));
    assert_eq!(
        many.tenants["demo"].capabilities["customers.list_tables"]
            .by_agent
            .len(),
        0
    );
}

#[test]
fn a_path_with_quotes_survives_the_template() {
    let engine = engine(0);
    let crate::site::people::Transport::McpStdio {
        args, entry_sha256, ..
    } = &engine.content.adapters["customers"].transport
    else {
        panic!("another transport")
    };
    assert_eq!(args[3], "a \"quoted\" path.db");
    assert_eq!(*entry_sha256, Some([8; 32]));
}

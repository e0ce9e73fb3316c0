//! Whose tokens count: what a site may say of issuers, clients and accounts.

use crate::fixture::{example, public};
use countersign_policies::site::people::Credential;
use countersign_policies::{Site, SiteFiles};
use countersign_tokens::access::{ClientClaim, TokenType, UserClaim};
use std::time::Duration;

const ISSUER: &str = "name = \"corp\"\nurl = \"https://login.example.org\"\naudience = \"https://gateway.example.org\"\njwks = \"jwks/corp.json\"\nalgorithms = [\"ES256\", \"EdDSA\"]\n";

const CLIENT: &str = "urn = \"agent:demo/desk@1\"\ntenant = \"demo\"\n[oauth]\nissuer = \"corp\"\nclient = \"desk\"\n";

/// An Ed25519 key as a set; its public half is hexadecimal elsewhere and base64 here.
const JWKS: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"1","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

fn files() -> SiteFiles {
    let mut out = example();
    out.0.insert("issuers/corp.toml".into(), ISSUER.into());
    out.0.insert("jwks/corp.json".into(), JWKS.into());
    out.0.insert("agents/desk.toml".into(), CLIENT.into());
    out
}

fn put(file: &str, text: &str) -> SiteFiles {
    let mut out = files();
    out.0.insert(file.into(), text.into());
    out
}

fn changed(file: &str, from: &str, to: &str) -> SiteFiles {
    let mut out = files();
    let text = out.0.get_mut(file).expect("a file");
    assert!(text.contains(from), "{file} has no {from:?}");
    *text = text.replacen(from, to, 1);
    out
}

fn said(files: &SiteFiles) -> String {
    Site::parse(files)
        .map(|_| ())
        .expect_err("a site that does not hold together")
        .to_string()
}

#[test]
fn an_issuer_and_its_client_hold_together() {
    let site = Site::parse(&files()).unwrap_or_else(|e| panic!("{e}"));
    let issuer = &site.content.issuers["corp"];
    assert_eq!(
        (issuer.typ, issuer.client_claim, issuer.user_claim),
        (
            TokenType::AccessToken,
            ClientClaim::ClientId,
            UserClaim::Sub
        )
    );
    assert_eq!(issuer.leeway, Duration::from_secs(10));
    assert_eq!(issuer.max_lifetime, Duration::from_secs(3600));
    let agent = &site.content.agents["agent:demo/desk@1"];
    assert_eq!(agent.credential, Credential::Client);
    let registered = site.content.registry();
    let entry = registered.agents.iter().find(|a| a.urn == agent.urn);
    let entry = entry.expect("the registry has every agent");
    assert_eq!((entry.key, entry.token), (None, None));
}

#[test]
fn what_is_wrong_with_an_issuer_is_named() {
    let corp = "issuers/corp.toml";
    for (from, to, expected) in [
        (
            "https://login.example.org",
            "http://login.example.org",
            "expected https:// and a host",
        ),
        (
            "https://login.example.org",
            "https://",
            "expected https:// and a host",
        ),
        (
            "https://login.example.org",
            "https://a.example/x?y",
            "without query and fragment",
        ),
        (
            "https://gateway.example.org",
            "https://gateway.example.org/",
            "without a path",
        ),
        (
            "https://gateway.example.org",
            "https://gateway.example.org/mcp",
            "without a path",
        ),
        ("\"ES256\", ", "\"none\", ", "expected one of ES256"),
        ("\"ES256\", ", "\"HS256\", ", "expected one of ES256"),
        (
            "[\"ES256\", \"EdDSA\"]",
            "[]",
            "expected at least one algorithm",
        ),
        (
            "jwks/corp.json",
            "jwks/other.json",
            "key set \"jwks/other.json\" is not declared",
        ),
        ("name = \"corp\"", "name = \"Corp:1\"", "name is \"Corp:1\""),
        (
            "jwks = ",
            "leeway_seconds = 61\njwks = ",
            "expected 0 to 60 seconds",
        ),
        (
            "jwks = ",
            "max_lifetime_seconds = 86401\njwks = ",
            "expected 1 to 86400 seconds",
        ),
        (
            "jwks = ",
            "max_lifetime_seconds = 0\njwks = ",
            "expected 1 to 86400 seconds",
        ),
        (
            "jwks = ",
            "required_scope = \"a b\"\njwks = ",
            "expected one scope",
        ),
        (
            "jwks = ",
            "token_type = \"id\"\njwks = ",
            "expected one of at+jwt, JWT",
        ),
        (
            "jwks = ",
            "client_claim = \"aud\"\njwks = ",
            "expected one of client_id, azp, sub",
        ),
        (
            "jwks = ",
            "jwks_uri = \"https://a.example\"\njwks = ",
            "unknown field `jwks_uri`",
        ),
    ] {
        let text = said(&changed(corp, from, to));
        assert!(text.contains(expected), "{to}: {text}");
    }
}

#[test]
fn a_loopback_issuer_is_taken_for_a_trial() {
    for url in [
        "http://127.0.0.1:9000/realm",
        "http://localhost",
        "http://[::1]:1",
    ] {
        let files = changed("issuers/corp.toml", "https://login.example.org", url);
        assert!(Site::parse(&files).is_ok(), "{url}");
    }
    let other = changed(
        "issuers/corp.toml",
        "https://login.example.org",
        "http://localhost.evil.example",
    );
    assert!(said(&other).contains("expected https://"));
}

#[test]
fn a_key_set_that_cannot_be_used_is_refused_with_its_file() {
    for (text, expected) in [
        ("{}", "jwks/corp.json: key set: it has no list of keys"),
        ("[", "jwks/corp.json: key set: it is not a JSON object"),
        (
            r#"{"keys":[{"kty":"oct","kid":"1","k":"AA"}]}"#,
            "it has a secret member, \"k\"",
        ),
    ] {
        let found = said(&put("jwks/corp.json", text));
        assert!(found.contains(expected), "{found}");
    }
}

#[test]
fn two_issuers_are_one_gateway_and_have_two_urls() {
    let second = ISSUER
        .replace("corp", "other")
        .replace("jwks/other", "jwks/corp");
    let same_url = said(&put("issuers/other.toml", &second));
    assert!(
        same_url.contains("url of an issuer \"https://login.example.org\" is already declared"),
        "{same_url}"
    );
    let apart = second.replace("login.example.org", "other.example.org");
    assert!(Site::parse(&put("issuers/other.toml", &apart)).is_ok());
    let elsewhere = apart.replace("gateway.example.org", "gateway2.example.org");
    let found = said(&put("issuers/other.toml", &elsewhere));
    assert!(found.contains("a gateway is one resource"), "{found}");
}

#[test]
fn what_is_wrong_with_a_client_is_named() {
    let desk = "agents/desk.toml";
    let unknown = said(&changed(desk, "issuer = \"corp\"", "issuer = \"corb\""));
    assert!(
        unknown.contains("issuer \"corb\" is not declared"),
        "{unknown}"
    );
    let empty = said(&changed(desk, "client = \"desk\"", "client = \"\""));
    assert!(empty.contains("client is \"\""), "{empty}");
    let both = said(&changed(
        desk,
        "[oauth]",
        &format!("token_digest = \"{}\"\n[oauth]", "ab".repeat(32)),
    ));
    assert!(
        both.contains("exactly one of token_digest, public_key, spiffe_id and [oauth]"),
        "{both}"
    );
    let second = CLIENT.replace("desk@1", "desk@2");
    let twice = said(&put("agents/second.toml", &second));
    assert!(
        twice.contains("client \"corp:desk\" is already declared"),
        "{twice}"
    );
}

#[test]
fn a_client_may_stand_beside_a_key() {
    let key = format!("public_key = \"{}\"\n[oauth]", public(9));
    let files = changed("agents/desk.toml", "[oauth]", &key);
    let site = Site::parse(&files).unwrap_or_else(|e| panic!("{e}"));
    let agent = &site.content.agents["agent:demo/desk@1"];
    assert_eq!(agent.credential, Credential::Key(public(9)));
    assert!(agent.oauth.is_some());
}

#[test]
fn accounts_are_names_of_issuers_of_the_site_and_of_one_person_each() {
    let with = |accounts: &str| {
        let mut out = files();
        let text = out
            .0
            .get_mut("approvers/privacy.toml")
            .expect("the example has an approver");
        text.push_str(&format!("accounts = [{accounts}]\n"));
        out
    };
    assert!(Site::parse(&with("\"corp:ada\", \"corp:a:b\"")).is_ok());
    for wrong in ["\"ada\"", "\"corp:\"", "\"corb:ada\""] {
        let found = said(&with(wrong));
        assert!(found.contains("expected <issuer>:<name>"), "{found}");
    }
    let mut two = with("\"corp:ada\"");
    two.0.insert(
        "approvers/deputy.toml".into(),
        format!(
            "id = \"deputy\"\nname = \"D\"\npublic_key = \"{}\"\ngroups = []\ntenants = [\"demo\"]\naccounts = [\"corp:ada\"]\n",
            public(9)
        ),
    );
    assert!(said(&two).contains("account \"corp:ada\" is already declared"));
}

#[test]
fn policies_can_speak_of_tokens_only_where_there_are_issuers() {
    let policy = "@id(\"t\")\npermit (principal, action, resource) when { context has token && context.token.scopes.contains(\"a\") };";
    let mut without = example();
    without.0.insert("policies/t.cedar".into(), policy.into());
    assert!(said(&without).contains("policies/t.cedar"));
    assert!(Site::parse(&put("policies/t.cedar", policy)).is_ok());
    let unguarded = policy.replace("context has token && ", "");
    assert!(said(&put("policies/t.cedar", &unguarded)).contains("token"));
}

#[test]
fn assurance_that_no_caller_has_cannot_be_asked_for() {
    let file = "capabilities/read_query.toml";
    assert!(Site::parse(&changed(file, "mode =", "min_assurance = 3\nmode =")).is_ok());
    let found = said(&changed(file, "mode =", "min_assurance = 4\nmode ="));
    assert!(
        found.contains("min_assurance is \"4\", expected 0 to 3"),
        "{found}"
    );
}

//! Hostile tokens and proofs: each is a good one with one thing changed, and is refused for that thing.

use crate::access::{
    AccessToken, ClientClaim, Expected, Issuer, MAX_ACTORS, TokenError, TokenType, UserClaim,
};
use crate::dpop::{Asked, Proof, ProofError, kept, signed_part};
use crate::jwk::{Jwk, JwkError, JwkSet, ed25519_thumbprint};
use crate::jws::{Algorithm, JwsError, MAX_TOKEN_BYTES};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_record::digest::UnixMillis;
use countersign_signatures::http::{UnixSeconds, Window};
use ed25519_dalek::{Signer as _, SigningKey};
use proptest::prelude::*;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::time::Duration;

const ISSUER: &str = "https://login.example.org";
const GATEWAY: &str = "https://gateway.example.org";
const PATH: &str = "/mcp/customers";
const NOW: u64 = 1_795_132_900;

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn public_jwk(seed: u8) -> Value {
    json!({ "kty": "OKP", "crv": "Ed25519", "x": b64(key(seed).verifying_key().to_bytes()) })
}

fn named(seed: u8, kid: &str) -> Value {
    let mut jwk = public_jwk(seed);
    jwk["kid"] = json!(kid);
    jwk
}

fn issuer() -> Issuer {
    let set = json!({ "keys": [named(1, "one"), named(2, "two")] });
    Issuer {
        name: "corp".into(),
        url: ISSUER.into(),
        audience: GATEWAY.into(),
        keys: JwkSet::parse(&set.to_string()).unwrap(),
        algorithms: vec![Algorithm::EdDsa],
        typ: TokenType::AccessToken,
        client_claim: ClientClaim::ClientId,
        user_claim: UserClaim::Sub,
        required_scope: None,
        leeway: Duration::from_secs(10),
        max_lifetime: Duration::from_secs(600),
    }
}

fn header() -> Value {
    json!({ "typ": "at+jwt", "alg": "EdDSA", "kid": "one" })
}

fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": GATEWAY, "client_id": "desk", "sub": "desk",
        "iat": NOW - 100, "exp": NOW + 200,
    })
}

fn signed_text(header: &str, claims: &str, seed: u8) -> String {
    let text = format!("{}.{}", b64(header), b64(claims));
    let signature = key(seed).sign(text.as_bytes()).to_bytes();
    format!("{text}.{}", b64(signature))
}

fn signed(header: &Value, claims: &Value, seed: u8) -> String {
    signed_text(&header.to_string(), &claims.to_string(), seed)
}

/// A good token with these claims changed; `null` takes one out.
fn token_with(changes: Value) -> String {
    signed(&header(), &merged(claims(), changes), 1)
}

fn merged(mut into: Value, changes: Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            into.as_object_mut().unwrap().remove(name);
        } else {
            into[name] = value.clone();
        }
    }
    into
}

const EXPECTED: Expected<'_> = Expected {
    path: PATH,
    now: UnixSeconds(NOW),
};

fn verify_by(issuer: &Issuer, text: &str) -> Result<(), TokenError> {
    AccessToken::verify(text, [issuer], EXPECTED).map(|_| ())
}

fn verify(text: &str) -> Result<(), TokenError> {
    verify_by(&issuer(), text)
}

#[test]
fn a_good_token_is_verified_and_kept_without_itself() {
    let issuer = issuer();
    let text = token_with(json!({
        "jti": "7", "scope": "write read read", "aud": ["https://other.example", GATEWAY],
    }));
    let token = AccessToken::verify(&text, [&issuer], EXPECTED).unwrap();
    assert_eq!(token.client(), "desk");
    let (kept, chain) = token.into_claims(None).unwrap();
    assert_eq!(kept.token, <[u8; 32]>::from(Sha256::digest(&text)));
    assert_eq!(kept.id, Some(Sha256::digest("7").into()));
    assert_eq!(kept.scopes, ["read", "write"]);
    assert_eq!(
        (kept.key.as_str(), kept.algorithm.as_str()),
        ("one", "EdDSA")
    );
    assert_eq!(kept.expires, UnixMillis((NOW + 200) * 1000));
    assert_eq!((kept.user, chain.len()), (None, 0));
}

#[test]
fn a_token_for_this_gateway_or_this_resource_is_taken_and_no_other() {
    for ours in [
        GATEWAY.to_owned(),
        format!("{GATEWAY}/"),
        format!("{GATEWAY}{PATH}"),
    ] {
        assert_eq!(
            verify(&token_with(json!({ "aud": ours }))),
            Ok(()),
            "{ours}"
        );
    }
    for other in [
        "https://gateway.example.org.evil.example".to_owned(),
        "https://gateway.example".to_owned(),
        "http://gateway.example.org".to_owned(),
        format!("{GATEWAY}/mcp/other"),
        format!("{GATEWAY}{PATH}/"),
        format!("{GATEWAY}//"),
        "HTTPS://GATEWAY.EXAMPLE.ORG".to_owned(),
        "desk".to_owned(),
    ] {
        let text = token_with(json!({ "aud": other }));
        assert_eq!(verify(&text), Err(TokenError::Audience), "{other}");
    }
}

#[test]
fn every_wrong_claim_is_named() {
    let malformed = |claim| TokenError::Malformed { claim };
    let missing = |claim| TokenError::Missing { claim };
    let act = (0..=MAX_ACTORS).fold(
        json!({ "sub": "a" }),
        |inner, _| json!({ "sub": "a", "act": inner }),
    );
    let many: Vec<String> = (0..65).map(|n| format!("s{n}")).collect();
    for (change, expected) in [
        (
            json!({ "iss": "https://login.example.com" }),
            TokenError::Issuer,
        ),
        (json!({ "iss": null }), missing("iss")),
        (json!({ "iss": [ISSUER] }), malformed("iss")),
        (json!({ "aud": null }), missing("aud")),
        (json!({ "aud": { "a": GATEWAY } }), malformed("aud")),
        (json!({ "aud": [GATEWAY, 1] }), malformed("aud")),
        (json!({ "aud": [] }), TokenError::Audience),
        (json!({ "exp": null }), missing("exp")),
        (json!({ "exp": NOW - 10 }), TokenError::Expired),
        (json!({ "exp": (NOW + 200).to_string() }), malformed("exp")),
        (json!({ "exp": 1.5 }), malformed("exp")),
        (json!({ "exp": -1 }), malformed("exp")),
        (json!({ "iat": null }), missing("iat")),
        (
            json!({ "iat": NOW + 11, "exp": NOW + 60 }),
            TokenError::NotYet,
        ),
        (json!({ "nbf": NOW + 11 }), TokenError::NotYet),
        (json!({ "nbf": "now" }), malformed("nbf")),
        (json!({ "exp": NOW + 501 }), TokenError::Lifetime),
        (json!({ "exp": u64::MAX }), TokenError::Lifetime),
        (json!({ "client_id": null }), missing("client_id")),
        (json!({ "client_id": "" }), malformed("client_id")),
        (json!({ "client_id": "a\nb" }), malformed("client_id")),
        (json!({ "sub": null }), missing("sub")),
        (json!({ "sub": "x".repeat(513) }), malformed("sub")),
        (json!({ "jti": 7 }), malformed("jti")),
        (json!({ "scope": ["read"] }), malformed("scope")),
        (json!({ "scope": many.join(" ") }), malformed("scope")),
        (json!({ "scope": "a\tb" }), malformed("scope")),
        (json!({ "act": "a" }), malformed("act")),
        (json!({ "act": { "iss": ISSUER } }), malformed("act")),
        (json!({ "act": act }), TokenError::TooManyActors),
        (json!({ "cnf": {} }), TokenError::Confirmation),
        (json!({ "cnf": "x" }), TokenError::Confirmation),
        (
            json!({ "cnf": { "jkt": "short" } }),
            TokenError::Confirmation,
        ),
        (
            json!({ "cnf": { "jwk": public_jwk(1) } }),
            TokenError::Confirmation,
        ),
    ] {
        assert_eq!(
            verify(&token_with(change.clone())),
            Err(expected),
            "{change}"
        );
    }
}

#[test]
fn the_edges_of_a_tokens_life_are_where_the_site_says() {
    for (change, expected) in [
        (json!({ "exp": NOW - 9 }), Ok(())),
        (json!({ "exp": NOW - 10 }), Err(TokenError::Expired)),
        (json!({ "iat": NOW + 10, "exp": NOW + 60 }), Ok(())),
        (json!({ "nbf": NOW + 10 }), Ok(())),
        (json!({ "exp": NOW + 500 }), Ok(())),
    ] {
        assert_eq!(verify(&token_with(change.clone())), expected, "{change}");
    }
}

#[test]
fn every_wrong_header_is_named() {
    let with = |change: Value| signed(&merged(header(), change), &claims(), 1);
    let form = |e| Err(TokenError::Form(e));
    for (change, expected) in [
        (json!({ "alg": "none" }), form(JwsError::Algorithm)),
        (json!({ "alg": "None" }), form(JwsError::Algorithm)),
        (json!({ "alg": "HS256" }), form(JwsError::Algorithm)),
        (json!({ "alg": "ES384" }), form(JwsError::Algorithm)),
        (json!({ "alg": null }), form(JwsError::Algorithm)),
        (json!({ "alg": ["EdDSA"] }), form(JwsError::Algorithm)),
        (json!({ "alg": "RS256" }), Err(TokenError::Algorithm)),
        (json!({ "alg": "ES256" }), Err(TokenError::Algorithm)),
        (json!({ "crit": ["exp"] }), form(JwsError::Critical)),
        (json!({ "kid": null }), Err(TokenError::Key)),
        (json!({ "kid": "three" }), Err(TokenError::Key)),
        (json!({ "kid": "two" }), Err(TokenError::Signature)),
        (json!({ "kid": 1 }), form(JwsError::Header)),
        (json!({ "typ": "JWT" }), Err(TokenError::Type)),
        (json!({ "typ": null }), Err(TokenError::Type)),
        (json!({ "typ": "dpop+jwt" }), Err(TokenError::Type)),
        (json!({ "typ": "application/AT+JWT" }), Ok(())),
        (json!({ "alg": "Ed25519" }), Ok(())),
        // A key that the token brings along is not looked at.
        (
            json!({ "jwk": public_jwk(9), "jku": "https://evil.example" }),
            Ok(()),
        ),
    ] {
        assert_eq!(verify(&with(change.clone())), expected, "{change}");
    }
}

#[test]
fn a_token_that_is_signed_by_nobody_or_somebody_else_is_refused() {
    let good = token_with(json!({}));
    let (text, _) = good.rsplit_once('.').unwrap();
    let other = signed(&header(), &claims(), 9);
    assert_eq!(verify(&other), Err(TokenError::Signature));
    assert_eq!(verify(&format!("{text}.")), Err(TokenError::Signature));
    let unsigned = format!(
        "{}.{}.",
        b64(json!({ "typ": "at+jwt", "alg": "none", "kid": "one" }).to_string()),
        b64(claims().to_string())
    );
    assert_eq!(
        verify(&unsigned),
        Err(TokenError::Form(JwsError::Algorithm))
    );
}

#[test]
fn a_mac_that_is_made_with_the_public_key_is_refused() {
    let header = json!({ "typ": "at+jwt", "alg": "HS256", "kid": "one" });
    let text = format!("{}.{}", b64(header.to_string()), b64(claims().to_string()));
    let public = key(1).verifying_key().to_bytes();
    let mac = Sha256::new()
        .chain_update(public)
        .chain_update(&text)
        .finalize();
    let forged = format!("{text}.{}", b64(mac));
    assert_eq!(verify(&forged), Err(TokenError::Form(JwsError::Algorithm)));
}

#[test]
fn a_member_that_stands_twice_is_refused_whoever_signed() {
    let form = Err(TokenError::Form(JwsError::Json));
    let twice = claims().to_string().replacen('{', "{\"sub\":\"ada\",", 1);
    assert_eq!(verify(&signed_text(&header().to_string(), &twice, 1)), form);
    let twice = header().to_string().replacen('{', "{\"alg\":\"none\",", 1);
    assert_eq!(verify(&signed_text(&twice, &claims().to_string(), 1)), form);
    let nested = claims()
        .to_string()
        .replacen('{', "{\"act\":{\"sub\":\"a\",\"sub\":\"b\"},", 1);
    assert_eq!(
        verify(&signed_text(&header().to_string(), &nested, 1)),
        form
    );
}

#[test]
fn what_is_no_token_is_refused_by_its_form() {
    let good = token_with(json!({}));
    let form = Err(TokenError::Form(JwsError::Form));
    for text in [
        "",
        "a",
        "a.b",
        "..",
        "...",
        &good.replacen('.', "=.", 1),
        &good.replacen('.', ".+", 1),
        &format!("{good}="),
        &format!("{good}.{good}"),
        &format!(" {good}"),
    ] {
        let found = verify(text);
        let json = Err(TokenError::Form(JwsError::Json));
        assert!(found == form || found == json, "{text}: {found:?}");
    }
    let bytes = MAX_TOKEN_BYTES + 1;
    let long = "a".repeat(bytes);
    let too_long = TokenError::Form(JwsError::TooLong { bytes });
    assert_eq!(verify(&long), Err(too_long));
}

#[test]
fn a_signature_has_one_text() {
    let good = token_with(json!({}));
    // 64 bytes leave four unused bits in the last character.
    let last = good.chars().last().unwrap();
    let others = ('A'..='Z')
        .chain('a'..='z')
        .chain('0'..='9')
        .filter(|c| *c != last);
    let taken = others.filter(|c| verify(&format!("{}{c}", &good[..good.len() - 1])).is_ok());
    assert_eq!(taken.count(), 0);
}

#[test]
fn the_needed_scope_is_needed() {
    let mut issuer = issuer();
    issuer.required_scope = Some("gateway".into());
    let ask = |scope: &str| verify_by(&issuer, &token_with(json!({ "scope": scope })));
    assert_eq!(ask("gateway read"), Ok(()));
    assert_eq!(ask("read"), Err(TokenError::Scope));
    assert_eq!(ask("gateways"), Err(TokenError::Scope));
    assert_eq!(
        verify_by(&issuer, &token_with(json!({}))),
        Err(TokenError::Scope)
    );
    let list = token_with(json!({ "scp": ["gateway"] }));
    assert_eq!(verify_by(&issuer, &list), Ok(()));
}

#[test]
fn claims_that_name_client_and_person_are_the_sites_choice() {
    let mut issuer = issuer();
    issuer.typ = TokenType::Jwt;
    issuer.client_claim = ClientClaim::Azp;
    issuer.user_claim = UserClaim::Email;
    let change = json!({ "azp": "app", "sub": "1", "email": "ada@example.org" });
    let text = signed(
        &json!({ "alg": "EdDSA", "kid": "one" }),
        &merged(claims(), change),
        1,
    );
    let token = AccessToken::verify(&text, [&issuer], EXPECTED).unwrap();
    assert_eq!(token.client(), "app");
    let (kept, chain) = token.clone().into_claims(None).unwrap();
    assert_eq!(kept.user.as_deref(), Some("ada@example.org"));
    assert_eq!(chain[0].subject, "1");
    let (own, chain) = token.into_claims(Some("1")).unwrap();
    assert_eq!((own.user, chain.len()), (None, 0));
}

#[test]
fn a_person_without_a_name_is_no_call_of_the_agents_own() {
    let mut issuer = issuer();
    issuer.user_claim = UserClaim::Email;
    let text = token_with(json!({ "sub": "1" }));
    let token = AccessToken::verify(&text, [&issuer], EXPECTED).unwrap();
    let missing = TokenError::Missing { claim: "email" };
    assert_eq!(token.into_claims(None), Err(missing));
}

#[test]
fn the_chain_begins_with_the_person_and_ends_with_the_present_actor() {
    let issuer = issuer();
    let text = token_with(json!({
        "sub": "ada",
        "act": { "sub": "desk", "act": { "sub": "planner", "iss": "https://b.example" } },
    }));
    let token = AccessToken::verify(&text, [&issuer], EXPECTED).unwrap();
    let (kept, chain) = token.into_claims(None).unwrap();
    assert_eq!(kept.user.as_deref(), Some("ada"));
    let chain: Vec<_> = chain
        .iter()
        .map(|p| (p.issuer.as_str(), p.subject.as_str()))
        .collect();
    assert_eq!(
        chain,
        [
            (ISSUER, "ada"),
            ("https://b.example", "planner"),
            (ISSUER, "desk")
        ]
    );
}

#[test]
fn eight_actors_are_taken() {
    let act = (1..MAX_ACTORS).fold(
        json!({ "sub": "a" }),
        |inner, _| json!({ "sub": "a", "act": inner }),
    );
    assert_eq!(verify(&token_with(json!({ "act": act }))), Ok(()));
}

fn openssl() -> Value {
    serde_json::from_str(include_str!("../testdata/openssl.json")).unwrap()
}

#[test]
fn tokens_that_another_implementation_signed_are_verified() {
    let data = openssl();
    let mut issuer = issuer();
    issuer.keys = JwkSet::parse(&data["jwks"].to_string()).unwrap();
    issuer.algorithms = vec![Algorithm::Rs256, Algorithm::Ps256, Algorithm::Es256];
    for name in ["RS256", "PS256", "ES256"] {
        let text = data[name].as_str().unwrap();
        assert_eq!(verify_by(&issuer, text), Ok(()), "{name}");
        let (signed, signature) = text.rsplit_once('.').unwrap();
        let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
        for at in 0..bytes.len() {
            bytes[at] ^= 1;
            let changed = format!("{signed}.{}", b64(&bytes));
            assert_eq!(
                verify_by(&issuer, &changed),
                Err(TokenError::Signature),
                "{name} {at}"
            );
            bytes[at] ^= 1;
        }
        bytes.push(0);
        let longer = format!("{signed}.{}", b64(&bytes));
        assert_eq!(verify_by(&issuer, &longer), Err(TokenError::Signature));
    }
    let other_salt = data["PS256 with a salt of 20 bytes"].as_str().unwrap();
    assert_eq!(verify_by(&issuer, other_salt), Err(TokenError::Signature));
}

#[test]
fn a_key_with_an_algorithm_is_used_with_no_other() {
    let data = openssl();
    let mut keys = data["jwks"].clone();
    keys["keys"][0]["alg"] = json!("RS256");
    let mut issuer = issuer();
    issuer.keys = JwkSet::parse(&keys.to_string()).unwrap();
    issuer.algorithms = vec![Algorithm::Rs256, Algorithm::Ps256];
    assert_eq!(verify_by(&issuer, data["RS256"].as_str().unwrap()), Ok(()));
    let other = verify_by(&issuer, data["PS256"].as_str().unwrap());
    assert_eq!(other, Err(TokenError::Signature));
}

#[test]
fn thumbprints_are_those_of_rfc_7638_and_8037() {
    // RFC 7638 3.1.
    let rsa = json!({ "kty": "RSA", "e": "AQAB", "alg": "RS256", "kid": "2011-04-29", "n":
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw" });
    let name = |jwk: &Value| b64(Jwk::parse(jwk).unwrap().thumbprint());
    assert_eq!(name(&rsa), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    // RFC 8037 A.3.
    let ed = json!({ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" });
    assert_eq!(name(&ed), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    let x = URL_SAFE_NO_PAD.decode(ed["x"].as_str().unwrap()).unwrap();
    assert_eq!(b64(ed25519_thumbprint(&x.try_into().unwrap())), name(&ed));
}

#[test]
fn keys_that_cannot_be_used_are_refused_by_what_is_wrong() {
    let value = |e: Result<Jwk, JwkError>| matches!(e, Err(JwkError::Value { .. }));
    let change = |change| Jwk::parse(&merged(public_jwk(1), change));
    assert_eq!(
        change(json!({ "d": "AA" })),
        Err(JwkError::Secret { name: "d" })
    );
    assert_eq!(
        change(json!({ "k": "AA" })),
        Err(JwkError::Secret { name: "k" })
    );
    assert_eq!(change(json!({ "kty": "oct" })), Err(JwkError::Kind));
    assert_eq!(change(json!({ "crv": "Ed448" })), Err(JwkError::Kind));
    assert_eq!(change(json!({ "use": "enc" })), Err(JwkError::Use));
    assert_eq!(change(json!({ "key_ops": ["sign"] })), Err(JwkError::Use));
    assert_eq!(change(json!({ "alg": "ES256" })), Err(JwkError::Algorithm));
    assert_eq!(change(json!({ "alg": "HS256" })), Err(JwkError::Algorithm));
    assert_eq!(
        change(json!({ "x": "AA" })),
        Err(JwkError::Member { name: "x" })
    );
    assert!(value(change(json!({ "x": b64([0; 32]) }))));
    let data = openssl();
    let mut rsa = data["jwks"]["keys"][0].clone();
    rsa["n"] = json!(b64([0xff; 128]));
    assert!(value(Jwk::parse(&rsa)));
    rsa["n"] = json!(b64([&[0_u8][..], &[0xff; 256]].concat()));
    assert_eq!(Jwk::parse(&rsa), Err(JwkError::Member { name: "n" }));
    let mut point = data["jwks"]["keys"][1].clone();
    point["y"] = point["x"].clone();
    assert!(value(Jwk::parse(&point)));
}

#[test]
fn a_set_of_keys_is_whole_or_refused() {
    let set = |keys: Value| JwkSet::parse(&json!({ "keys": keys }).to_string());
    assert!(set(json!([named(1, "a"), named(2, "b")])).is_ok());
    assert_eq!(set(json!([])), Err(JwkError::NoKeys));
    assert_eq!(set(json!([public_jwk(1)])), Err(JwkError::NoName));
    assert_eq!(
        set(json!([named(1, "a"), named(2, "a")])),
        Err(JwkError::NameTwice)
    );
    let many: Vec<Value> = (0..33).map(|n| named(1, &n.to_string())).collect();
    assert_eq!(set(json!(many)), Err(JwkError::TooMany { found: 33 }));
    assert_eq!(JwkSet::parse("[]"), Err(JwkError::Json));
    assert_eq!(
        JwkSet::parse(r#"{"keys":[],"keys":[]}"#),
        Err(JwkError::Json)
    );
}

// Proofs of possession.

const TOKEN: [u8; 32] = [7; 32];
const URL: &str = "https://gateway.example.org/mcp/customers";

fn asked() -> Asked<'static> {
    Asked {
        method: "POST",
        url: URL,
        token: TOKEN,
        now: UnixSeconds(NOW),
        window: Window::MINUTE,
    }
}

fn proof_header() -> Value {
    json!({ "typ": "dpop+jwt", "alg": "EdDSA", "jwk": public_jwk(5) })
}

fn proof_claims() -> Value {
    json!({ "jti": "1", "htm": "POST", "htu": URL, "iat": NOW, "ath": b64(TOKEN) })
}

fn proof_with(header: Value, claims: Value) -> String {
    signed(
        &merged(proof_header(), header),
        &merged(proof_claims(), claims),
        5,
    )
}

#[test]
fn a_good_proof_is_verified_online_and_later() {
    let text = proof_with(json!({}), json!({}));
    let proof = Proof::verify(&text, &asked()).unwrap();
    let expected = ed25519_thumbprint(&key(5).verifying_key().to_bytes());
    assert_eq!(proof.thumbprint(), expected);
    assert_eq!((proof.id(), proof.made()), ("1", UnixSeconds(NOW)));
    assert_eq!(kept(&text, TOKEN), Ok(expected));
    assert_eq!(kept(&text, [8; 32]), Err(ProofError::Token));
    assert!(signed_part(&text).is_some());
}

#[test]
fn every_wrong_part_of_a_proof_is_named() {
    let none = json!({});
    let form = |e| ProofError::Form(e);
    for (header, claims, expected) in [
        (json!({ "typ": "JWT" }), none.clone(), ProofError::Type),
        (json!({ "typ": null }), none.clone(), ProofError::Type),
        (
            json!({ "alg": "none" }),
            none.clone(),
            form(JwsError::Algorithm),
        ),
        (
            json!({ "alg": "HS256" }),
            none.clone(),
            form(JwsError::Algorithm),
        ),
        (
            json!({ "alg": "ES256" }),
            none.clone(),
            ProofError::Signature,
        ),
        (
            json!({ "crit": ["b64"] }),
            none.clone(),
            form(JwsError::Critical),
        ),
        (json!({ "jwk": null }), none.clone(), ProofError::Key),
        (
            json!({ "jwk": public_jwk(6) }),
            none.clone(),
            ProofError::Signature,
        ),
        (
            json!({ "jwk": merged(public_jwk(5), json!({ "d": "AA" })) }),
            none.clone(),
            ProofError::Key,
        ),
        (none.clone(), json!({ "htm": "GET" }), ProofError::Method),
        (none.clone(), json!({ "htm": "post" }), ProofError::Method),
        (none.clone(), json!({ "htm": null }), ProofError::Method),
        (none.clone(), json!({ "htu": null }), ProofError::Url),
        (
            none.clone(),
            json!({ "htu": "https://gateway.example.org/mcp/other" }),
            ProofError::Url,
        ),
        (
            none.clone(),
            json!({ "htu": "http://gateway.example.org/mcp/customers" }),
            ProofError::Url,
        ),
        (
            none.clone(),
            json!({ "htu": "https://gateway.example.org:8443/mcp/customers" }),
            ProofError::Url,
        ),
        (
            none.clone(),
            json!({ "htu": "https://evil.example/mcp/customers" }),
            ProofError::Url,
        ),
        (
            none.clone(),
            json!({ "htu": "https://x@gateway.example.org/mcp/customers" }),
            ProofError::Url,
        ),
        (
            none.clone(),
            json!({ "htu": "/mcp/customers" }),
            ProofError::Url,
        ),
        (none.clone(), json!({ "ath": null }), ProofError::Token),
        (
            none.clone(),
            json!({ "ath": b64([8; 32]) }),
            ProofError::Token,
        ),
        (none.clone(), json!({ "jti": null }), ProofError::Id),
        (none.clone(), json!({ "jti": "" }), ProofError::Id),
        (none.clone(), json!({ "iat": null }), ProofError::Stale),
        (none.clone(), json!({ "iat": NOW - 61 }), ProofError::Stale),
        (none.clone(), json!({ "iat": NOW + 61 }), ProofError::Stale),
        (none.clone(), json!({ "iat": u64::MAX }), ProofError::Stale),
    ] {
        let text = proof_with(header.clone(), claims.clone());
        let found = Proof::verify(&text, &asked());
        assert_eq!(found, Err(expected), "{header} {claims}");
    }
}

#[test]
fn a_url_may_be_written_in_the_ways_that_mean_the_same() {
    for htu in [
        "HTTPS://Gateway.Example.ORG/mcp/customers",
        "https://gateway.example.org:443/mcp/customers",
        "https://gateway.example.org/mcp/customers?a=1#b",
    ] {
        let text = proof_with(json!({}), json!({ "htu": htu }));
        assert!(Proof::verify(&text, &asked()).is_ok(), "{htu}");
    }
}

#[test]
fn the_example_of_rfc_9449_section_7_1_holds() {
    let text = concat!(
        "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6Ik",
        "VDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCR",
        "nMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JE",
        "QSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIj",
        "oiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0Z",
        "WRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNF",
        "c05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71E",
        "OptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA",
    );
    let token = Sha256::digest("Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU").into();
    let asked = Asked {
        method: "GET",
        url: "https://resource.example.org/protectedresource",
        token,
        now: UnixSeconds(1_562_262_618),
        window: Window::MINUTE,
    };
    let proof = Proof::verify(text, &asked).unwrap();
    // RFC 9449 6.1.
    let jkt = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
    assert_eq!(b64(proof.thumbprint()), jkt);
    assert_eq!(kept(text, token), Ok(proof.thumbprint()));
}

proptest! {
    #[test]
    fn no_text_panics_and_none_is_believed(text in "[ -~]{0,64}(\\.[ -~]{0,64}){0,3}") {
        prop_assert!(verify(&text).is_err());
        prop_assert!(Proof::verify(&text, &asked()).is_err());
        prop_assert!(kept(&text, TOKEN).is_err());
    }

    #[test]
    fn a_good_token_with_any_changed_character_is_refused(at in 0usize..400, to in "[A-Za-z0-9_-]") {
        let good = token_with(json!({}));
        prop_assume!(at < good.len());
        let mut changed = good.clone();
        changed.replace_range(at..=at, &to);
        prop_assume!(changed != good);
        prop_assert!(verify(&changed).is_err());
    }

    #[test]
    fn any_json_as_claims_never_panics(claims in "\\{[ -~]{0,200}\\}") {
        let text = signed_text(&header().to_string(), &claims, 1);
        prop_assert!(verify(&text).is_err());
    }
}

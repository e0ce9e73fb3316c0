//! Stage 2: callers by the word of an issuer, and the people for whom they act.

use super::world::{
    DELETE, OTHER, PRIVACY, READER, SELECT, SIGNER, START, World, answered, body, presented_with,
    public, signing_key, site, subject,
};
use crate::call::Who;
use crate::identity::{Identified, Presented, Recognized, identify, recognize};
use crate::refusal::{Code, Refusal};
use crate::request::Request;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_policies::{SiteFiles, Viewer};
use countersign_record::cbor::Cbor as _;
use countersign_record::claims::{CallerClaims, PrincipalChain};
use countersign_record::commitment::Field;
use countersign_record::digest::{UnixMillis, sha256};
use countersign_signatures::http::{SigningParameters, UnixSeconds, sign_request};
use countersign_tokens::jwk::ed25519_thumbprint;
use ed25519_dalek::Signer as _;
use serde_json::{Value, json};

const ISSUER: &str = "https://login.example.org";
const GATEWAY: &str = "https://gateway.example.org";
/// Seed of the issuer's key.
const CORP: u8 = 40;
/// Seed of a client's key.
const HELD: u8 = 41;
const NOW: u64 = START / 1000;

type Headers = Vec<(&'static str, String)>;

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn jwk(seed: u8) -> Value {
    json!({ "kty": "OKP", "crv": "Ed25519", "x": b64(public(seed).0), "kid": "k" })
}

fn jkt(seed: u8) -> String {
    b64(ed25519_thumbprint(&public(seed).0))
}

fn sign(header: &Value, claims: &Value, seed: u8) -> String {
    let text = format!("{}.{}", b64(header.to_string()), b64(claims.to_string()));
    let signature = signing_key(seed).sign(text.as_bytes()).to_bytes();
    format!("{text}.{}", b64(signature))
}

fn merged(mut into: Value, changes: &Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        into[name] = value.clone();
    }
    into
}

/// A token of the desk's, with these claims besides.
fn token(changes: Value) -> String {
    let claims = json!({
        "iss": ISSUER, "aud": GATEWAY, "client_id": "desk", "sub": "desk",
        "iat": NOW - 10, "exp": NOW + 300,
    });
    let header = json!({ "typ": "at+jwt", "alg": "EdDSA", "kid": "k" });
    sign(&header, &merged(claims, &changes), CORP)
}

fn bound(changes: Value) -> String {
    token(merged(json!({ "cnf": { "jkt": jkt(HELD) } }), &changes))
}

/// A proof for a call with this token, with these claims besides.
fn proof(token: &str, changes: Value, seed: u8) -> String {
    let claims = json!({
        "jti": "j1", "htm": "POST", "htu": "http://localhost/v1/calls", "iat": NOW,
        "ath": b64(sha256(token.as_bytes())),
    });
    let header = json!({ "typ": "dpop+jwt", "alg": "EdDSA", "jwk": jwk(seed) });
    sign(&header, &merged(claims, &changes), seed)
}

fn bearer(token: &str) -> Headers {
    vec![("authorization", format!("Bearer {token}"))]
}

fn dpop(token: &str, proof: &str) -> Headers {
    vec![
        ("authorization", format!("DPoP {token}")),
        ("dpop", proof.to_owned()),
    ]
}

/// The example site with an issuer, its clients, and people with accounts there.
fn files() -> SiteFiles {
    let mut out = site();
    let mut put = |name: &str, text: String| {
        out.0.insert(name.to_owned(), text);
    };
    put("jwks/corp.json", json!({ "keys": [jwk(CORP)] }).to_string());
    put(
        "issuers/corp.toml",
        format!(
            "name = \"corp\"\nurl = \"{ISSUER}\"\naudience = \"{GATEWAY}\"\njwks = \"jwks/corp.json\"\nalgorithms = [\"EdDSA\"]\n"
        ),
    );
    let oauth = |client: &str| format!("[oauth]\nissuer = \"corp\"\nclient = \"{client}\"\n");
    let agent = |name: &str, tenant: &str, rest: &str, client: &str| {
        format!(
            "urn = \"agent:{tenant}/{name}@1\"\ntenant = \"{tenant}\"\n{rest}\n{}",
            oauth(client)
        )
    };
    put(
        "agents/desk.toml",
        agent("desk", "demo", "groups = [\"erasure-desk\"]", "desk"),
    );
    put("agents/far.toml", agent("far", "other", "", "far"));
    put(
        "agents/fixed.toml",
        agent("fixed", "demo", "user = \"corp:ada\"", "fixed"),
    );
    let key = format!("public_key = \"{}\"", public(SIGNER));
    put(
        "agents/signer.toml",
        agent("signer", "demo", &key, "signing"),
    );
    put(
        "policies/tokens.cedar",
        "@id(\"by-scope\")\npermit (principal, action == Action::\"customers.scoped\", resource)\n\
         when { context has token && context.token.scopes.contains(\"read\") && context.token.depth < 3 };\n"
            .to_owned(),
    );
    let officer = out.0.get_mut("approvers/privacy.toml").unwrap();
    officer.push_str("accounts = [\"corp:officer\"]\n");
    let template = out.0["capabilities/read_query.toml"].clone();
    let named = |name: &str| template.replace("read_query", name);
    out.0
        .insert("capabilities/scoped.toml".into(), named("scoped"));
    let acting = named("acting").replacen(
        "\"read_only\"",
        "\"delegated\"\nscopes = [\"records\", \"read\"]",
        1,
    );
    assert!(acting.contains("delegated"));
    out.0.insert("capabilities/acting.toml".into(), acting);
    let sure = named("sure").replacen("mode =", "min_assurance = 2\nmode =", 1);
    assert!(sure.contains("min_assurance"));
    out.0.insert("capabilities/sure.toml".into(), sure);
    let more = out.0.get_mut("policies/more.cedar").unwrap();
    more.push_str(
        "@id(\"sure\")\npermit (principal, action in [Action::\"customers.sure\", Action::\"customers.acting\"], resource);\n",
    );
    out
}

fn world() -> World {
    World::of(&files())
}

fn who(world: &mut World, headers: &Headers) -> Result<Who, Refusal> {
    let clock = world.clock();
    presented_with(headers, "", |p| {
        recognize(
            Presented::without_certificates(p),
            &world.callers,
            &mut world.nonces,
            clock,
        )
    })
    .map(Recognized::into_who)
}

fn code(world: &mut World, headers: &Headers) -> Option<Code> {
    who(world, headers).err().map(|refusal| refusal.code())
}

fn signed(headers: &Headers, nonce: &str) -> Headers {
    let key_id = public(SIGNER).id().to_string();
    let nonce = format!("{nonce}-0123456789abcdef");
    let parameters = SigningParameters {
        key_id: &key_id,
        created: UnixSeconds(NOW),
        expires: None,
        nonce: &nonce,
    };
    let made = presented_with(headers, "", |p| {
        sign_request(p, &parameters, |m| signing_key(SIGNER).sign(m).to_bytes())
    })
    .unwrap();
    let mut out = headers.clone();
    out.extend([
        ("content-digest", made.content_digest),
        ("signature-input", made.signature_input),
        ("signature", made.signature),
    ]);
    out
}

fn call(world: &mut World, headers: &Headers, text: &str) -> Result<Identified, Code> {
    let request = Request::parse_call(world.untrusted(text)).unwrap();
    let clock = world.clock();
    presented_with(headers, text, |p| {
        identify(
            request,
            Presented::without_certificates(p),
            &world.callers,
            &mut world.nonces,
            clock,
            subject,
        )
    })
    .map_err(|refused| refused.refusal().code())
}

#[test]
fn a_token_of_an_issuer_calls_at_assurance_1() {
    let mut world = world();
    let who = who(&mut world, &bearer(&token(json!({ "scope": "b a" })))).unwrap();
    assert_eq!(
        (who.agent.as_str(), who.assurance),
        ("agent:demo/desk@1", 1)
    );
    assert_eq!(
        (who.user, who.chain, who.key, who.proof),
        (None, None, None, None)
    );
    let fact = who.token.unwrap();
    assert_eq!(
        (fact.issuer.as_str(), fact.client.as_str()),
        ("corp", "desk")
    );
    assert_eq!(fact.scopes, ["a", "b"]);
    let kept = CallerClaims::from_bytes(&who.claims.unwrap()).unwrap();
    assert_eq!((kept.dpop, kept.certificate), (None, None));
    assert_eq!(kept.token.unwrap().issuer, ISSUER);
}

#[test]
fn the_client_alone_says_which_agent_and_tenant_it_is() {
    let mut world = world();
    let far = who(
        &mut world,
        &bearer(&token(json!({ "client_id": "far", "tenant": "demo" }))),
    );
    assert_eq!(far.unwrap().tenant, OTHER);
    let nobody = bearer(&token(json!({ "client_id": "nobody" })));
    assert_eq!(code(&mut world, &nobody), Some(Code::Unauthenticated));
}

#[test]
fn a_token_that_does_not_hold_is_refused_with_its_reason() {
    let mut world = world();
    let refusal = who(&mut world, &bearer(&token(json!({ "exp": NOW - 60 })))).unwrap_err();
    assert_eq!(refusal.code(), Code::TokenInvalid);
    assert_eq!(refusal.rule(), Some("the token has expired"));
    let forged = token(json!({})).replace('A', "B");
    assert_eq!(code(&mut world, &bearer(&forged)), Some(Code::TokenInvalid));
    world.now += 400_000;
    assert_eq!(
        code(&mut world, &bearer(&token(json!({})))),
        Some(Code::TokenInvalid)
    );
}

#[test]
fn a_clock_that_is_set_back_revives_no_token() {
    let mut world = world();
    let good = bearer(&token(json!({})));
    assert_eq!(code(&mut world, &good), None);
    world.now += 400_000;
    assert_eq!(code(&mut world, &good), Some(Code::TokenInvalid));
    world.now -= 400_000;
    assert_eq!(code(&mut world, &good), Some(Code::TokenInvalid));
}

#[test]
fn a_site_without_issuers_knows_no_tokens_of_any() {
    let mut world = World::new();
    assert_eq!(
        code(&mut world, &bearer(&token(json!({})))),
        Some(Code::Unauthenticated)
    );
}

#[test]
fn static_tokens_call_beside_issuers() {
    let mut world = world();
    assert_eq!(who(&mut world, &bearer(READER)).unwrap().assurance, 0);
    let as_bound = vec![("authorization", format!("DPoP {READER}"))];
    assert_eq!(code(&mut world, &as_bound), Some(Code::Unauthenticated));
}

#[test]
fn a_bound_token_with_its_proof_calls_at_assurance_2_and_keeps_the_proof() {
    let mut world = world();
    let token = bound(json!({}));
    let proof = proof(&token, json!({}), HELD);
    let who = who(&mut world, &dpop(&token, &proof)).unwrap();
    assert_eq!(who.assurance, 2);
    let kept = CallerClaims::from_bytes(&who.claims.unwrap()).unwrap();
    assert_eq!(kept.dpop, Some(proof));
}

#[test]
fn a_bound_token_that_is_sent_as_a_free_one_is_refused() {
    let mut world = world();
    let token = bound(json!({}));
    assert_eq!(code(&mut world, &bearer(&token)), Some(Code::ProofInvalid));
    let mut with_proof = bearer(&token);
    with_proof.push(("dpop", proof(&token, json!({}), HELD)));
    assert_eq!(code(&mut world, &with_proof), Some(Code::ProofInvalid));
}

#[test]
fn a_free_token_is_not_bound_by_a_proof() {
    let mut world = world();
    let token = token(json!({}));
    let headers = dpop(&token, &proof(&token, json!({}), HELD));
    assert_eq!(code(&mut world, &headers), Some(Code::ProofInvalid));
}

#[test]
fn a_token_that_is_bound_to_a_certificate_is_refused_without_it() {
    let mut world = world();
    let token = token(json!({ "cnf": { "x5t#S256": b64([1; 32]) } }));
    assert_eq!(code(&mut world, &bearer(&token)), Some(Code::TokenInvalid));
}

#[test]
fn a_proof_of_something_else_is_refused() {
    let mut world = world();
    let token = bound(json!({}));
    for (changes, seed) in [
        (json!({ "htm": "GET" }), HELD),
        (json!({ "htu": "http://localhost/mcp/customers" }), HELD),
        (json!({ "ath": b64([0; 32]) }), HELD),
        (json!({ "iat": NOW - 61 }), HELD),
        (json!({ "iat": NOW + 61 }), HELD),
        (json!({ "iat": NOW - 3_600 }), HELD),
        // A proof that holds, by a key that the token is not bound to.
        (json!({}), HELD + 1),
    ] {
        let headers = dpop(&token, &proof(&token, changes.clone(), seed));
        assert_eq!(
            code(&mut world, &headers),
            Some(Code::ProofInvalid),
            "{changes}"
        );
    }
    let mut twice = dpop(&token, &proof(&token, json!({}), HELD));
    twice.push(("dpop", proof(&token, json!({ "jti": "j2" }), HELD)));
    assert_eq!(code(&mut world, &twice), Some(Code::ProofInvalid));
    let none = vec![("authorization", format!("DPoP {token}"))];
    assert_eq!(code(&mut world, &none), Some(Code::ProofInvalid));
}

#[test]
fn a_proof_counts_once_also_with_another_signature_by_its_key() {
    let mut world = world();
    let token = bound(json!({}));
    let first = dpop(&token, &proof(&token, json!({}), HELD));
    assert_eq!(code(&mut world, &first), None);
    assert_eq!(code(&mut world, &first), Some(Code::ProofInvalid));
    let same_id = dpop(&token, &proof(&token, json!({ "iat": NOW - 1 }), HELD));
    assert_eq!(code(&mut world, &same_id), Some(Code::ProofInvalid));
    let other_id = dpop(&token, &proof(&token, json!({ "jti": "j2" }), HELD));
    assert_eq!(code(&mut world, &other_id), None);
}

#[test]
fn a_proof_that_is_refused_uses_up_nothing() {
    let mut world = world();
    let token = bound(json!({}));
    let by_another = dpop(&token, &proof(&token, json!({}), HELD + 1));
    assert_eq!(code(&mut world, &by_another), Some(Code::ProofInvalid));
    let genuine = dpop(&token, &proof(&token, json!({}), HELD));
    assert_eq!(code(&mut world, &genuine), None);
}

#[test]
fn a_restart_lets_no_recorded_proof_in_twice() {
    let mut world = world();
    let token = bound(json!({}));
    // A client whose clock runs ahead: its proof is younger than the epoch that comes.
    let headers = dpop(&token, &proof(&token, json!({ "iat": NOW + 30 }), HELD));
    let identified = call(&mut world, &headers, &body("read_query", SELECT, "")).unwrap();
    let cleared = world.clear(identified);
    assert_eq!(world.finish(cleared, answered("{}")).code(), None);
    world.restart();
    world.now += 3_000;
    assert_eq!(code(&mut world, &headers), Some(Code::ProofInvalid));
}

#[test]
fn a_proof_from_before_the_epoch_is_refused() {
    let mut world = world();
    let token = bound(json!({}));
    let headers = dpop(&token, &proof(&token, json!({}), HELD));
    let mut clock = world.clock();
    clock.epoch_opened = UnixMillis(START);
    let refused = presented_with(&headers, "", |p| {
        recognize(
            Presented::without_certificates(p),
            &world.callers,
            &mut world.nonces,
            clock,
        )
    });
    assert_eq!(refused.unwrap_err().code(), Code::ProofInvalid);
}

#[test]
fn a_token_alone_does_not_call_for_an_agent_that_has_a_key() {
    let mut world = world();
    let free = bearer(&token(json!({ "client_id": "signing" })));
    assert_eq!(code(&mut world, &free), Some(Code::Unauthenticated));
    let bound = bound(json!({ "client_id": "signing" }));
    let headers = dpop(&bound, &proof(&bound, json!({}), HELD));
    assert_eq!(code(&mut world, &headers), Some(Code::Unauthenticated));
}

#[test]
fn a_signed_request_with_a_token_is_for_the_person_of_the_token() {
    let mut world = world();
    let token = token(json!({
        "client_id": "signing", "sub": "ada", "act": { "sub": "planner" },
    }));
    let who = who(&mut world, &signed(&bearer(&token), "n1")).unwrap();
    assert_eq!((who.assurance, who.user.as_deref()), (3, Some("corp:ada")));
    assert!(who.proof.is_some() && who.claims.is_some());
    let chain = PrincipalChain::from_bytes(&who.chain.unwrap()).unwrap();
    let names: Vec<_> = chain
        .principals
        .iter()
        .map(|p| p.subject.as_str())
        .collect();
    assert_eq!(names, ["ada", "planner"]);
    let principals = who.token.unwrap().principals;
    assert_eq!(
        principals,
        [format!("{ISSUER}#ada"), format!("{ISSUER}#planner")]
    );
}

#[test]
fn a_signed_request_with_a_token_that_does_not_hold_is_refused() {
    let mut world = world();
    let expired = token(json!({ "client_id": "signing", "exp": NOW - 60 }));
    let headers = signed(&bearer(&expired), "n1");
    assert_eq!(code(&mut world, &headers), Some(Code::TokenInvalid));
    let of_another = signed(&bearer(&token(json!({ "sub": "ada" }))), "n2");
    assert_eq!(code(&mut world, &of_another), Some(Code::TokenInvalid));
}

#[test]
fn a_signed_request_may_carry_a_token_that_is_bound_to_the_key_that_signs() {
    let mut world = world();
    let own = |seed| token(json!({ "client_id": "signing", "cnf": { "jkt": jkt(seed) } }));
    let headers = signed(&bearer(&own(SIGNER)), "n1");
    assert_eq!(who(&mut world, &headers).unwrap().assurance, 3);
    let of_another_key = signed(&bearer(&own(HELD)), "n2");
    assert_eq!(code(&mut world, &of_another_key), Some(Code::ProofInvalid));
}

#[test]
fn a_token_in_a_signed_request_is_covered_by_the_signature() {
    let mut world = world();
    let about = |person: &str| bearer(&token(json!({ "client_id": "signing", "sub": person })));
    let mut headers = signed(&about("ada"), "n1");
    headers[0] = about("bob")[0].clone();
    assert_eq!(code(&mut world, &headers), Some(Code::SignatureInvalid));
    let mut added = signed(&Vec::new(), "n2");
    added.extend(about("ada"));
    assert_eq!(code(&mut world, &added), Some(Code::SignatureInvalid));
}

#[test]
fn a_token_about_another_person_than_the_agent_acts_for_is_refused() {
    let mut world = world();
    let about = |person: &str| bearer(&token(json!({ "client_id": "fixed", "sub": person })));
    let ada = who(&mut world, &about("ada")).unwrap();
    assert_eq!(ada.user.as_deref(), Some("corp:ada"));
    assert_eq!(code(&mut world, &about("bob")), Some(Code::TokenInvalid));
    let own = who(&mut world, &about("fixed")).unwrap();
    assert_eq!(own.user.as_deref(), Some("corp:ada"));
}

#[test]
fn two_people_behind_one_agent_never_get_each_others_outcomes() {
    let mut world = world();
    let keyed = body("keyed", SELECT, r#","idempotency_key":"k""#);
    let go = |world: &mut World, person: &str, result: &str| {
        let headers = bearer(&token(json!({ "sub": person })));
        let identified = call(world, &headers, &keyed).unwrap();
        let cleared = world.clear(identified);
        world.finish(cleared, answered(result)).result().to_owned()
    };
    assert_eq!(go(&mut world, "ada", r#"{"of":"ada"}"#), r#"{"of":"ada"}"#);
    assert_eq!(go(&mut world, "bob", r#"{"of":"bob"}"#), r#"{"of":"bob"}"#);
    assert_eq!(world.state.folded(), world.refolded().folded());
    world.restart();
    assert_eq!(go(&mut world, "ada", "{}"), r#"{"of":"ada"}"#);
    assert_eq!(go(&mut world, "bob", "{}"), r#"{"of":"bob"}"#);
}

#[test]
fn an_approval_for_one_person_is_not_spent_by_another() {
    let mut world = world();
    let delete = body("write_query", DELETE, r#","idempotency_key":"k""#);
    let go = |world: &mut World, person: &str| {
        let headers = bearer(&token(json!({ "sub": person })));
        let identified = call(world, &headers, &delete).unwrap();
        let cleared = world.clear(identified);
        world.finish(cleared, answered("{}"))
    };
    let halted = go(&mut world, "ada");
    assert_eq!(halted.code(), Some(Code::ApprovalRequired));
    world.approve(halted.decision.action.unwrap(), PRIVACY);
    let other = go(&mut world, "bob");
    assert_eq!(other.code(), Some(Code::ApprovalRequired));
    assert_ne!(other.decision.action, halted.decision.action);
    assert_eq!(world.state.folded(), world.refolded().folded());
    assert_eq!(go(&mut world, "ada").code(), None);
}

#[test]
fn a_halted_call_says_for_whom_the_agent_asks_also_after_a_restart() {
    let mut world = world();
    let delete = body("write_query", DELETE, r#","idempotency_key":"k""#);
    let claims = json!({ "sub": "ada", "act": { "sub": "planner" } });
    let identified = call(&mut world, &bearer(&token(claims)), &delete).unwrap();
    let cleared = world.clear(identified);
    let halted = world.finish(cleared, answered("{}"));
    let action = halted.decision.action.unwrap();
    let behind = |world: &World| world.state.halted_action(&action).unwrap().behind.clone();
    let found = behind(&world);
    assert_eq!(found.user.as_deref(), Some("corp:ada"));
    let chain = found.principals.clone().unwrap();
    let names: Vec<&str> = chain.iter().map(|p| p.subject.as_str()).collect();
    assert_eq!(names, ["ada", "planner"]);
    assert_eq!(world.state.folded(), world.refolded().folded());
    world.restart();
    assert_eq!(behind(&world), found);
    // An opening that is gone is no chain of nobody.
    let (_, disclosures) = world.log.last_mut().unwrap();
    disclosures.retain(|d| d.field != Field::PrincipalChain);
    world.restart();
    assert_eq!(behind(&world).user.as_deref(), Some("corp:ada"));
    assert_eq!(behind(&world).principals, None);
    // A person whom nobody can name is never shown as nobody: the action is not there.
    let (_, disclosures) = world.log.last_mut().unwrap();
    disclosures.retain(|d| d.field != Field::User);
    world.restart();
    assert!(world.state.halted_action(&action).is_none());
}

#[test]
fn a_person_cannot_approve_a_call_for_an_account_of_theirs() {
    let mut world = world();
    let delete = body("write_query", DELETE, r#","idempotency_key":"k""#);
    let headers = bearer(&token(json!({ "sub": "officer" })));
    let go = |world: &mut World| {
        let identified = call(world, &headers, &delete).unwrap();
        let cleared = world.clear(identified);
        world.finish(cleared, answered("{}"))
    };
    let halted = go(&mut world);
    let action = halted.decision.action.unwrap();
    world.approve(action, PRIVACY);
    assert_eq!(go(&mut world).code(), Some(Code::ApprovalRequired));
    world.approve(action, super::world::DEPUTY);
    assert_eq!(go(&mut world).code(), None);
}

#[test]
fn policy_sees_scopes_and_chain() {
    let mut world = world();
    let actors = |n| {
        (1..n).fold(
            json!({ "sub": "a" }),
            |act, _| json!({ "sub": "a", "act": act }),
        )
    };
    let mut go = |claims: Value| {
        let headers = bearer(&token(claims));
        let identified = call(&mut world, &headers, &body("scoped", SELECT, "")).unwrap();
        let cleared = world.clear(identified);
        world.finish(cleared, answered("{}")).code()
    };
    assert_eq!(go(json!({ "scope": "write read" })), None);
    assert_eq!(go(json!({ "scope": "readonly" })), Some(Code::PolicyDenied));
    assert_eq!(go(json!({})), Some(Code::PolicyDenied));
    assert_eq!(go(json!({ "scope": "read", "act": actors(1) })), None);
    assert_eq!(
        go(json!({ "scope": "read", "act": actors(2) })),
        Some(Code::PolicyDenied)
    );
}

#[test]
fn a_token_without_the_scope_of_the_tool_is_refused_by_its_code() {
    let mut world = world();
    let mut go = |claims: Value| {
        let headers = bearer(&token(claims));
        let identified = call(&mut world, &headers, &body("acting", SELECT, "")).unwrap();
        let cleared = world.clear(identified);
        world.finish(cleared, answered("{}")).code()
    };
    let mut of_ada = |scope: &str| go(json!({ "sub": "ada", "scope": scope }));
    assert_eq!(of_ada("read write records"), None);
    for short in ["", "read", "records", "reads records"] {
        assert_eq!(of_ada(short), Some(Code::DelegationScope), "{short}");
    }
    // A token that speaks for nobody fails the check before it.
    assert_eq!(
        go(json!({ "scope": "read records" })),
        Some(Code::DelegationRequired)
    );
}

#[test]
fn a_capability_that_asks_for_more_assurance_is_neither_shown_nor_called_below_it() {
    let mut world = world();
    let text = body("sure", SELECT, "");
    let shown = |world: &World, assurance| {
        let viewer = Viewer {
            tenant: "demo",
            agent: "agent:demo/desk@1",
            assurance,
        };
        let all = world.engine.visible(&viewer);
        all.iter().any(|c| c.id == "customers.sure")
    };
    assert_eq!((shown(&world, 1), shown(&world, 2)), (false, true));
    let free = bearer(&token(json!({})));
    let identified = call(&mut world, &free, &text).unwrap();
    let cleared = world.clear(identified);
    let done = world.finish(cleared, answered("{}"));
    assert_eq!(done.code(), Some(Code::AssuranceTooLow));
    let fired = done.decision.policy.unwrap().fired;
    assert_eq!(fired, ["builtin:assurance-too-low"]);
    let bound = bound(json!({}));
    let headers = dpop(&bound, &proof(&bound, json!({}), HELD));
    let identified = call(&mut world, &headers, &text).unwrap();
    let cleared = world.clear(identified);
    assert_eq!(world.finish(cleared, answered("{}")).code(), None);
}

#[test]
fn neither_a_token_nor_its_signature_is_kept() {
    let mut world = world();
    let token = token(json!({ "sub": "ada", "scope": "read" }));
    let identified = call(&mut world, &bearer(&token), &body("scoped", SELECT, "")).unwrap();
    let cleared = world.clear(identified);
    assert_eq!(world.finish(cleared, answered("{}")).code(), None);
    let (_, signature) = token.rsplit_once('.').unwrap();
    let raw = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let mut fields = Vec::new();
    for (entry, disclosures) in &world.log {
        let values = disclosures.iter().map(|d| d.value.0.as_slice());
        for bytes in values.chain([entry.as_slice()]) {
            let has = |needle: &[u8]| bytes.windows(needle.len()).any(|w| w == needle);
            assert!(!has(signature.as_bytes()) && !has(&raw));
        }
        fields.extend(disclosures.iter().map(|d| d.field));
    }
    assert!(fields.contains(&Field::Claims) && fields.contains(&Field::PrincipalChain));
    assert!(fields.contains(&Field::User));
}

//! Stage 2: who is calling.

use super::world::{
    EVE, READER, SELECT, SIGNER, START, World, answered, body, public, signing_key, subject,
};
use crate::identity::{Callers, Nonces, Presented, identify, recognize};
use crate::refusal::Code;
use crate::request::Request;
use countersign_record::bundle::{AgentEntry, Registry, TenantEntry};
use countersign_record::cbor::Cbor as _;
use countersign_record::commitment::{CallerProof, Field};
use countersign_record::digest::{TenantId, UnixMillis};
use countersign_signatures::http::{
    Header, HttpRequest, Scheme, SigningParameters, UnixSeconds, sign_request,
};
use ed25519_dalek::Signer as _;

/// Headers of a request, by name and value.
type Headers = Vec<(&'static str, String)>;

fn presented<'a>(headers: &'a [Header<'a>], body: &'a str) -> HttpRequest<'a> {
    HttpRequest {
        method: "POST",
        scheme: Scheme::Http,
        authority: "localhost",
        path: "/v1/calls",
        query: None,
        headers,
        body: body.as_bytes(),
    }
}

fn signed(body: &str, created: u64, nonce: &str, seed: u8) -> Headers {
    let key_id = public(SIGNER).id().to_string();
    let parameters = SigningParameters {
        key_id: &key_id,
        created: UnixSeconds(created),
        expires: None,
        nonce: &format!("{nonce}-0123456789abcdef"),
    };
    let made = sign_request(&presented(&[], body), &parameters, |m| {
        signing_key(seed).sign(m).to_bytes()
    })
    .unwrap();
    vec![
        ("content-digest", made.content_digest),
        ("signature-input", made.signature_input),
        ("signature", made.signature),
    ]
}

fn who(world: &mut World, headers: &Headers, body: &str) -> Result<u8, Code> {
    let headers: Vec<Header<'_>> = headers
        .iter()
        .map(|(name, value)| Header {
            name,
            value: value.as_bytes(),
        })
        .collect();
    let clock = world.clock();
    recognize(
        Presented::without_certificates(&presented(&headers, body)),
        &world.callers,
        &mut world.nonces,
        clock,
    )
    .map(|recognized| recognized.who().assurance)
    .map_err(|refusal| refusal.code())
}

fn bearer(value: &str) -> Headers {
    vec![("authorization", value.to_owned())]
}

#[test]
fn a_call_without_a_pseudonym_is_refused_and_still_a_known_callers() {
    let mut world = World::new();
    let text = body("read_query", SELECT, "");
    let mut go = |value: &str| {
        let request = Request::parse_call(world.untrusted(&text)).unwrap();
        let headers = [Header {
            name: "authorization",
            value: value.as_bytes(),
        }];
        let shown = presented(&headers, &text);
        let shown = Presented::without_certificates(&shown);
        let clock = world.clock();
        let (callers, nonces) = (&world.callers, &mut world.nonces);
        let refused = identify(request, shown, callers, nonces, clock, |_| None).unwrap_err();
        (refused.refusal().code(), refused.is_of_a_known_caller())
    };
    let known = go(&format!("Bearer {READER}"));
    assert_eq!(known, (Code::AuditUnavailable, true));
    let stranger = go("Bearer nobody-nobody-nobody-nobody-nobody");
    assert_eq!(stranger, (Code::Unauthenticated, false));
}

#[test]
fn a_token_calls_at_assurance_0() {
    let mut world = World::new();
    assert_eq!(
        who(&mut world, &bearer(&format!("Bearer {READER}")), ""),
        Ok(0)
    );
    assert_eq!(
        who(&mut world, &bearer(&format!("bearer {READER}")), ""),
        Ok(0)
    );
}

#[test]
fn what_is_no_known_token_calls_nobody() {
    let mut world = World::new();
    let twice = [
        bearer(&format!("Bearer {READER}")),
        bearer(&format!("Bearer {EVE}")),
    ]
    .concat();
    for headers in [
        Vec::new(),
        bearer(""),
        bearer("Bearer"),
        bearer("Bearer "),
        bearer("Bearer short"),
        bearer(&format!("Basic {READER}")),
        bearer(&format!("Bearer {READER}x")),
        bearer(&format!("Bearer  {READER}")),
        bearer(&format!("Bearer {}", "x".repeat(100_000))),
        twice,
    ] {
        assert_eq!(who(&mut world, &headers, ""), Err(Code::Unauthenticated));
    }
}

#[test]
fn a_signature_calls_at_assurance_3() {
    let mut world = World::new();
    let headers = signed("{}", START / 1000, "n1", SIGNER);
    assert_eq!(who(&mut world, &headers, "{}"), Ok(3));
}

#[test]
fn a_signature_over_another_body_is_invalid() {
    let mut world = World::new();
    let headers = signed("{}", START / 1000, "n1", SIGNER);
    assert_eq!(
        who(&mut world, &headers, "{ }"),
        Err(Code::SignatureInvalid)
    );
}

#[test]
fn a_signature_by_another_key_is_invalid_and_uses_up_no_nonce() {
    let mut world = World::new();
    let forged = signed("{}", START / 1000, "n1", 99);
    assert_eq!(who(&mut world, &forged, "{}"), Err(Code::SignatureInvalid));
    let genuine = signed("{}", START / 1000, "n1", SIGNER);
    assert_eq!(who(&mut world, &genuine, "{}"), Ok(3));
}

#[test]
fn an_unknown_key_calls_nobody() {
    let mut world = World::new();
    let mut headers = signed("{}", START / 1000, "n1", SIGNER);
    let (known, other) = (public(SIGNER).id().to_string(), public(98).id().to_string());
    headers[1].1 = headers[1].1.replace(&known, &other);
    assert_eq!(who(&mut world, &headers, "{}"), Err(Code::Unauthenticated));
}

#[test]
fn a_broken_signature_does_not_fall_back_to_a_token() {
    let mut world = World::new();
    let mut headers = bearer(&format!("Bearer {READER}"));
    headers.push(("signature", "x".to_owned()));
    assert_eq!(who(&mut world, &headers, "{}"), Err(Code::SignatureInvalid));
}

#[test]
fn a_nonce_is_taken_once() {
    let mut world = World::new();
    let headers = signed("{}", START / 1000, "n1", SIGNER);
    assert_eq!(who(&mut world, &headers, "{}"), Ok(3));
    assert_eq!(who(&mut world, &headers, "{}"), Err(Code::SignatureStale));
    let other_body = signed("{ }", START / 1000, "n1", SIGNER);
    assert_eq!(
        who(&mut world, &other_body, "{ }"),
        Err(Code::SignatureStale)
    );
}

#[test]
fn an_old_and_a_future_signature_are_stale() {
    let mut world = World::new();
    for created in [START / 1000 - 61, START / 1000 + 61] {
        let headers = signed("{}", created, "n", SIGNER);
        assert_eq!(who(&mut world, &headers, "{}"), Err(Code::SignatureStale));
    }
}

#[test]
fn a_signature_from_before_the_epoch_is_stale() {
    let mut world = World::new();
    let headers = signed("{}", START / 1000, "n", SIGNER);
    let headers: Vec<Header<'_>> = headers
        .iter()
        .map(|(name, value)| Header {
            name,
            value: value.as_bytes(),
        })
        .collect();
    let mut clock = world.clock();
    clock.epoch_opened = UnixMillis(START);
    let refused = recognize(
        Presented::without_certificates(&presented(&headers, "{}")),
        &world.callers,
        &mut world.nonces,
        clock,
    );
    assert_eq!(refused.unwrap_err().code(), Code::SignatureStale);
}

#[test]
fn a_clock_that_is_set_forth_and_back_lets_no_request_in_twice() {
    let mut world = World::new();
    let headers = signed("{}", START / 1000, "n1", SIGNER);
    assert_eq!(who(&mut world, &headers, "{}"), Ok(3));
    world.now = START + 121_000;
    let later = signed("{}", START / 1000 + 121, "n2", SIGNER);
    assert_eq!(who(&mut world, &later, "{}"), Ok(3));
    world.now = START + 1000;
    assert_eq!(who(&mut world, &headers, "{}"), Err(Code::SignatureStale));
}

fn signed_call(
    world: &mut World,
    text: &str,
    headers: &Headers,
) -> Result<crate::identity::Identified, Code> {
    let headers: Vec<Header<'_>> = headers
        .iter()
        .map(|(name, value)| Header {
            name,
            value: value.as_bytes(),
        })
        .collect();
    let request = Request::parse_call(world.untrusted(text)).unwrap();
    let clock = world.clock();
    identify(
        request,
        Presented::without_certificates(&presented(&headers, text)),
        &world.callers,
        &mut world.nonces,
        clock,
        subject,
    )
    .map_err(|refused| refused.refusal().code())
}

#[test]
fn a_restart_lets_no_recorded_request_in_twice() {
    let mut world = World::new();
    let text = body("read_query", SELECT, "");
    // A caller whose clock runs ahead: its signature is younger than the epoch that comes.
    let headers = signed(&text, START / 1000 + 30, "n1", SIGNER);
    let identified = signed_call(&mut world, &text, &headers).unwrap();
    let cleared = world.clear(identified);
    let done = world.finish(cleared, answered("{}"));
    assert_eq!(done.code(), None);
    world.restart();
    world.now += 3_000;
    assert_eq!(
        signed_call(&mut world, &text, &headers).unwrap_err(),
        Code::SignatureStale
    );
}

#[test]
fn the_signature_of_a_call_is_kept_so_that_it_can_be_verified_again() {
    let mut world = World::new();
    let text = body("read_query", SELECT, "");
    let headers = signed(&text, START / 1000, "n1", SIGNER);
    let identified = signed_call(&mut world, &text, &headers).unwrap();
    let cleared = world.clear(identified);
    let done = world.finish(cleared, answered("{}"));
    let caller = &done.decision.caller;
    assert_eq!(
        (caller.assurance, caller.key),
        (3, Some(public(SIGNER).id()))
    );
    let (_, disclosures) = &world.log[0];
    let kept = disclosures
        .iter()
        .find(|d| d.field == Field::CallerProof)
        .unwrap();
    assert_eq!(Some(kept.commitment()), caller.proof);
    let proof = CallerProof::from_bytes(&kept.value.0).unwrap();
    assert_eq!(proof.key, public(SIGNER));
}

#[test]
fn a_credential_that_two_agents_share_calls_nobody() {
    let agent = |urn: &str| AgentEntry {
        urn: urn.to_owned(),
        tenant: "t".to_owned(),
        key: Some(public(SIGNER)),
        token: Some([1; 32]),
        user: None,
    };
    let registry = |agents| Registry {
        tenants: vec![TenantEntry {
            id: TenantId([1; 16]),
            name: "t".to_owned(),
        }],
        agents,
        approvers: Vec::new(),
    };
    let mut world = World::new();
    world.callers = Callers::new(&registry(vec![agent("a"), agent("b")]));
    let headers = signed("{}", START / 1000, "n1", SIGNER);
    assert_eq!(who(&mut world, &headers, "{}"), Err(Code::Unauthenticated));
    world.callers = Callers::new(&registry(vec![agent("a")]));
    assert_eq!(who(&mut world, &headers, "{}"), Ok(3));
}

#[test]
fn an_unknown_caller_leaves_nothing_behind() {
    let mut world = World::new();
    let before = world.state.folded();
    let request = Request::parse_call(world.untrusted(&body("read_query", SELECT, ""))).unwrap();
    let clock = world.clock();
    let refused = identify(
        request,
        Presented::without_certificates(&presented(&[], "")),
        &world.callers,
        &mut Nonces::default(),
        clock,
        subject,
    );
    assert_eq!(refused.unwrap_err().refusal().code(), Code::Unauthenticated);
    assert_eq!((world.state.folded(), world.state.running()), (before, 0));
}

//! Stage 2: callers by what the handshake of their connection showed.

use super::world::{READER, START, World, presented_with, site};
use crate::call::Who;
use crate::identity::{Presented, Recognized, recognize};
use crate::refusal::Refusal;
use countersign_devices::svid::{authority, signed, workload};
use countersign_devices::tdx::pem;
use countersign_policies::SiteFiles;
use countersign_record::cbor::Cbor as _;
use countersign_record::claims::CallerClaims;

const DESK: &str = "spiffe://bank.example/agents/desk";
/// Seeds of keys.
const ROOT: u8 = 1;
const OWN: u8 = 3;

fn files() -> SiteFiles {
    let mut out = site();
    let root = signed(&authority(("root", "root"), ROOT, START), ROOT);
    let mut put = |name: &str, text: String| out.0.insert(name.to_owned(), text);
    put("roots/spire.pem", String::from_utf8(pem(&[&root])).unwrap());
    put(
        "trust-domains/bank.toml",
        "name = \"bank.example\"\nroots = \"roots/spire.pem\"\n".to_owned(),
    );
    put(
        "agents/desk.toml",
        format!("urn = \"agent:demo/desk@1\"\ntenant = \"demo\"\nspiffe_id = \"{DESK}\"\n"),
    );
    out
}

fn own() -> Vec<u8> {
    signed(&workload("root", DESK, OWN, START), ROOT)
}

fn who(
    world: &mut World,
    headers: &[(&str, &str)],
    certificates: &[&[u8]],
) -> Result<Who, Refusal> {
    let clock = world.clock();
    presented_with(headers, "", |request| {
        let presented = Presented {
            request,
            certificates,
        };
        recognize(presented, &world.callers, &mut world.nonces, clock)
    })
    .map(Recognized::into_who)
}

#[test]
fn a_workload_is_its_agent_at_assurance_2() {
    let mut world = World::of(&files());
    let own = own();
    let who = who(&mut world, &[], &[&own]).unwrap();
    assert_eq!(
        (who.agent.as_str(), who.assurance),
        ("agent:demo/desk@1", 2)
    );
    assert_eq!(
        (who.user, who.chain, who.key, who.proof),
        (None, None, None, None)
    );
    let kept = CallerClaims::from_bytes(&who.claims.unwrap()).unwrap();
    assert_eq!((kept.token, kept.dpop), (None, None));
    assert_eq!(kept.certificate.unwrap().0, own);
}

#[test]
fn a_certificate_that_has_expired_calls_nobody_although_its_connection_is_open() {
    let mut world = World::of(&files());
    let own = own();
    assert!(who(&mut world, &[], &[&own]).is_ok());
    world.now += 2 * countersign_devices::svid::HOUR;
    let refusal = who(&mut world, &[], &[&own]).unwrap_err();
    assert_eq!(refusal.code().name(), "certificate_invalid");
    assert!(
        refusal.rule().unwrap().contains("valid from"),
        "{refusal:?}"
    );
}

#[test]
fn a_certificate_beside_a_static_token_says_nothing() {
    let mut world = World::of(&files());
    let token = format!("Bearer {READER}");
    let who = who(&mut world, &[("authorization", &token)], &[&own()]).unwrap();
    assert_eq!((who.assurance, who.claims), (0, None));
    assert_ne!(who.agent, "agent:demo/desk@1");
}

#[test]
fn a_broken_token_does_not_fall_back_to_the_certificate() {
    let mut world = World::of(&files());
    for value in ["Bearer nobody", "Basic eA==", ""] {
        let refusal = who(&mut world, &[("authorization", value)], &[&own()]).unwrap_err();
        assert_eq!(refusal.code().name(), "unauthenticated", "{value}");
    }
}

#[test]
fn a_site_without_workloads_looks_at_no_certificate() {
    let mut world = World::new();
    let refusal = who(&mut world, &[], &[&own()]).unwrap_err();
    assert_eq!(refusal.code().name(), "unauthenticated");
}

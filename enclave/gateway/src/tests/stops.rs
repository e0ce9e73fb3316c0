//! Calls that people stopped.

use super::world::{
    DELETE, DEMO, ERASURE, EVE, OTHER, PRIVACY, READER, SELECT, World, answered, body, public,
};
use crate::decision::Answer;
use crate::refusal::{Besides, Code, Told};
use crate::state::stops::{Called, Covers};
use countersign_record::body::{Effect, Stop, StopAct, Verdict};
use countersign_record::cbor::Bytes;
use countersign_record::commitment::{Disclosure, Field};
use countersign_record::digest::{Commitment, Salt};
use countersign_record::entry::Body;

/// Writes a stop, as the shell does.
pub(super) fn order(world: &mut World, act: StopAct, id: &str, covers: &Covers) {
    let agent = covers.agent.as_ref().map(|urn| Disclosure {
        field: Field::Agent,
        salt: Salt([1; 16]),
        value: Bytes(urn.as_bytes().to_vec()),
    });
    let stop = Stop {
        act,
        id: id.to_owned(),
        tenant: covers.tenant,
        capability: covers.capability.clone(),
        agent: agent.as_ref().map(Disclosure::commitment),
        ordered_by: public(PRIVACY).id(),
        statement: Commitment([0; 32]),
    };
    world.write(Body::Stop(stop), None, agent.into_iter().collect());
}

fn read(world: &mut World, token: &str) -> Option<Code> {
    let call = body("read_query", SELECT, "");
    world.go(token, &call, answered("{}")).code()
}

fn tenant() -> Covers {
    Covers {
        tenant: Some(DEMO),
        ..Covers::default()
    }
}

fn agent() -> Covers {
    Covers {
        agent: Some("agent:demo/reader@1".to_owned()),
        ..Covers::default()
    }
}

fn capability() -> Covers {
    Covers {
        capability: Some("customers.read_query".to_owned()),
        ..Covers::default()
    }
}

#[test]
fn what_a_stop_covers_is_denied_and_nothing_else() {
    let cases = [
        (Covers::default(), [true, true, true]),
        (tenant(), [true, true, false]),
        (agent(), [true, false, false]),
        (capability(), [true, true, true]),
        (
            Covers {
                capability: Some("customers.write_query".to_owned()),
                ..Covers::default()
            },
            [false, false, false],
        ),
        (
            Covers {
                tenant: Some(OTHER),
                ..capability()
            },
            [false, false, true],
        ),
    ];
    for (covers, stopped) in cases {
        let mut world = World::new();
        order(&mut world, StopAct::Stopped, "s", &covers);
        for (token, stopped) in [READER, ERASURE, EVE].into_iter().zip(stopped) {
            let found = read(&mut world, token);
            assert_eq!(found == Some(Code::Stopped), stopped, "{covers:?} {token}");
        }
    }
}

#[test]
fn what_was_resumed_goes_on_and_other_stops_stay() {
    let mut world = World::new();
    order(&mut world, StopAct::Stopped, "a", &tenant());
    order(&mut world, StopAct::Stopped, "b", &tenant());
    order(&mut world, StopAct::Resumed, "a", &tenant());
    assert_eq!(read(&mut world, READER), Some(Code::Stopped));
    order(&mut world, StopAct::Resumed, "b", &tenant());
    assert_eq!(read(&mut world, READER), None);
}

#[test]
fn a_stop_is_there_after_a_restart_and_so_is_its_end() {
    let mut world = World::new();
    order(&mut world, StopAct::Stopped, "a", &agent());
    world.restart();
    assert_eq!(read(&mut world, READER), Some(Code::Stopped));
    order(&mut world, StopAct::Resumed, "a", &agent());
    world.restart();
    assert_eq!(read(&mut world, READER), None);
}

#[test]
fn a_stopped_call_is_a_denial_that_names_the_stop_and_its_basis() {
    let mut world = World::new();
    order(&mut world, StopAct::Stopped, "wild", &Covers::default());
    let done = world.go(READER, &body("read_query", SELECT, ""), answered("{}"));
    let decision = done.decision;
    assert_eq!(
        (decision.verdict, decision.effect, decision.basis),
        (Verdict::Deny, Effect::None, Some(1))
    );
    assert!(decision.controls.contains(&"stop:wild".to_owned()));
    assert!(decision.policy.is_none(), "policy was asked");
    let Answer::Refused(refusal) = &done.answer else {
        panic!("answered");
    };
    // Also where a bundle tells rules, the name of a stop is the people's own.
    let besides = Besides {
        contact: None,
        rules: true,
    };
    let told = Told::new(refusal, 0, None, besides);
    assert_eq!(told.rules, Some(Vec::new()));
}

#[test]
fn nobody_is_asked_to_approve_what_is_stopped() {
    let mut world = World::new();
    order(&mut world, StopAct::Stopped, "a", &Covers::default());
    let done = world.go(ERASURE, &body("write_query", DELETE, ""), answered("{}"));
    assert_eq!(done.code(), Some(Code::Stopped));
    assert!(world.state.waiting().is_empty());
}

#[test]
fn a_stopped_call_gets_no_earlier_outcome_either() {
    let mut world = World::new();
    let keyed = body("keyed", SELECT, r#","idempotency_key":"k""#);
    assert_eq!(world.go(READER, &keyed, answered("{}")).code(), None);
    order(&mut world, StopAct::Stopped, "a", &Covers::default());
    let again = world.go(READER, &keyed, answered("{}"));
    assert_eq!(again.code(), Some(Code::Stopped));
}

#[test]
fn a_stop_whose_agent_cannot_be_read_covers_every_agent() {
    let mut world = World::new();
    order(&mut world, StopAct::Stopped, "a", &agent());
    for (_, disclosures) in &mut world.log {
        disclosures.clear();
    }
    world.restart();
    assert_eq!(read(&mut world, EVE), Some(Code::Stopped));
}

#[test]
fn a_stop_counts_before_its_entry_is_durable() {
    let mut world = World::new();
    let called = Called {
        tenant: DEMO,
        capability: "customers.read_query",
        agent: "agent:demo/reader@1",
    };
    assert!(!world.state.stops().entering_over(called));
    assert!(world.state.stop("a", &agent()));
    assert!(world.state.stop("a", &agent()), "the same again");
    assert!(!world.state.stop("a", &tenant()), "another of this name");
    assert!(world.state.stops().entering_over(called));
    let other = Called {
        agent: "agent:demo/erasure@1",
        ..called
    };
    assert!(!world.state.stops().entering_over(other));
    order(&mut world, StopAct::Stopped, "a", &agent());
    assert!(!world.state.stops().entering_over(called));
    assert_eq!(world.state.stops().over(called), Some("a"));
}

#[test]
fn stops_of_a_gateway_that_is_gone_count_at_its_successor_until_they_are_ordered_there() {
    let mut world = World::new();
    order(&mut world, StopAct::Stopped, "a", &agent());
    order(&mut world, StopAct::Stopped, "over", &tenant());
    order(&mut world, StopAct::Resumed, "over", &tenant());
    world.replace_gateway();
    let called = Called {
        tenant: DEMO,
        capability: "customers.read_query",
        agent: "agent:demo/reader@1",
    };
    let taken_over: Vec<_> = world.state.stops().taken_over().collect();
    assert_eq!(taken_over, [("a", &agent())]);
    assert!(world.state.stops().entering_over(called));
    let other = Called {
        agent: "agent:demo/erasure@1",
        ..called
    };
    assert!(!world.state.stops().entering_over(other));
    // Neither another name nor other calls end it.
    order(&mut world, StopAct::Stopped, "b", &agent());
    order(&mut world, StopAct::Stopped, "a", &tenant());
    assert!(world.state.stops().entering_over(called));
}

#[test]
fn a_stop_that_was_taken_over_is_resumed_by_ordering_it_first() {
    let mut world = World::new();
    order(&mut world, StopAct::Stopped, "a", &agent());
    world.replace_gateway();
    order(&mut world, StopAct::Stopped, "a", &agent());
    assert_eq!(read(&mut world, READER), Some(Code::Stopped));
    order(&mut world, StopAct::Resumed, "a", &agent());
    assert_eq!(world.state.stops().taken_over().count(), 0);
    assert_eq!(read(&mut world, READER), None);
}

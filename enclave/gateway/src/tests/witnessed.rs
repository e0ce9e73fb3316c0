//! Calls that leave only once witnesses have cosigned their intent.

use super::world::*;
use crate::approval::{Approved, Clearance};
use crate::decision;
use crate::policy::Duty;
use crate::refusal::Code;
use crate::seal::{CosignedSize, NotWitnessed, Unwitnessed};
use countersign_record::body::{Effect, Verdict};

fn approved(world: &mut World, capability: &str) -> Box<Approved> {
    let identified = world.identified(READER, &body(capability, SELECT, ""));
    let Ok(Clearance::Approved(approved)) = world.clear(identified) else {
        panic!("not approved");
    };
    approved
}

fn durable(world: &mut World) -> (Unwitnessed, u64) {
    let approved = approved(world, "seen");
    assert_eq!(approved.duty(), Duty::Witnessed);
    let unwitnessed = world.commit_unwitnessed(*approved);
    let index = unwitnessed.intent().index;
    (unwitnessed, index)
}

#[test]
fn only_an_obligation_asks_for_witnesses() {
    let mut world = World::new();
    assert_eq!(approved(&mut world, "read_query").duty(), Duty::None);
}

#[test]
fn a_call_that_was_witnessed_leaves_and_its_record_says_so() {
    let mut world = World::new();
    let (unwitnessed, index) = durable(&mut world);
    let committed = unwitnessed.witness(CosignedSize(index + 1)).unwrap();
    let done = world.settle(committed, answered("{}"));
    assert!(done.decision.witnessed);
    assert_eq!(done.decision.effect, Effect::Dispatched);
    let words = done.decision.policy.unwrap().obligations;
    assert_eq!(words, ["witnessed"]);
}

#[test]
fn a_checkpoint_that_does_not_cover_the_intent_gives_no_right_to_execute() {
    let mut world = World::new();
    let (mut unwitnessed, index) = durable(&mut world);
    for size in [0, index] {
        let (back, error) = *unwitnessed.witness(CosignedSize(size)).unwrap_err();
        assert_eq!(error, NotWitnessed { size, index });
        unwitnessed = back;
    }
}

#[test]
fn a_call_that_was_not_witnessed_in_time_is_settled_without_effect() {
    let mut world = World::new();
    let (unwitnessed, _) = durable(&mut world);
    let settled = unwitnessed.give_up(world.moment()).release();
    let record = decision::settle(settled, world.in_force(), world.moment());
    let done = world.record(record);
    assert_eq!(done.code(), Some(Code::NotWitnessed));
    assert_eq!(done.decision.effect, Effect::None);
    assert_eq!(done.decision.verdict, Verdict::Allow);
    assert!(!done.decision.witnessed && done.decision.intent.is_some());
}

#[test]
fn a_call_that_needed_no_witness_does_not_say_that_it_had_one() {
    let mut world = World::new();
    let done = world.go(READER, &body("read_query", SELECT, ""), answered("{}"));
    assert!(!done.decision.witnessed);
}

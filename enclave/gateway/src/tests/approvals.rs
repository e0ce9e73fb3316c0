//! Stage 6: an approval covers one action, once, for a short time, by somebody else.

use super::world::{
    DELETE, DEMO, DEPUTY, ERASURE, OFFICER, PRIVACY, READER, SELECT, STRANGER, World, answered,
    body, public, site,
};
use crate::approval::{Clearance, MAX_SHOWN_BYTES, SEAL_MILLIS, WAIT_MILLIS};
use crate::decision;
use crate::refusal::Code;
use crate::state::MAX_HALTED_PER_AGENT;
use countersign_record::body::{Effect, Verdict};
use countersign_record::commitment::Field;
use countersign_record::digest::ActionDigest;
use countersign_record::statement::Choice;

fn delete(world: &mut World, token: &str) -> super::world::Done {
    world.go(token, &body("write_query", DELETE, ""), answered("{}"))
}

fn halted(world: &mut World) -> ActionDigest {
    let done = delete(world, ERASURE);
    assert_eq!(done.code(), Some(Code::ApprovalRequired));
    done.decision.action.unwrap()
}

#[test]
fn a_destructive_call_halts_is_approved_and_is_carried_out_once() {
    let mut world = World::new();
    let first = delete(&mut world, ERASURE);
    assert_eq!(
        (first.decision.verdict, first.decision.effect),
        (Verdict::StepUp, Effect::None)
    );
    let action = first.decision.action.unwrap();
    world.approve(action, PRIVACY);
    let second = delete(&mut world, ERASURE);
    assert_eq!(
        (second.code(), second.decision.effect),
        (None, Effect::Dispatched)
    );
    assert_eq!(second.decision.action, Some(action));
    assert_eq!(second.decision.parent, Some(first.decision.call));
    assert_eq!(second.decision.approvals.len(), 1);
    let third = delete(&mut world, ERASURE);
    assert_eq!(third.code(), Some(Code::ApprovalRequired));
    assert_ne!(third.decision.action, Some(action));
    assert_eq!(world.state.running(), 0);
}

#[test]
fn a_halted_call_opens_what_its_approver_has_to_see() {
    let mut world = World::new();
    let action = halted(&mut world);
    let waiting = world.state.halted_action(&action).unwrap();
    let open = |field| {
        waiting
            .disclosures
            .iter()
            .find(|d| d.field == field)
            .unwrap()
    };
    assert_eq!(open(Field::Preview).commitment(), waiting.action.preview);
    assert_eq!(
        open(Field::Forwarded).commitment(),
        waiting.action.forwarded
    );
    assert_eq!(open(Field::Forwarded).value.0, DELETE.as_bytes());
    assert_eq!(open(Field::Agent).commitment(), waiting.action.agent);
    // This agent asks for nobody, and no token says who stands behind it.
    assert_eq!(waiting.behind.user, None);
    assert_eq!(waiting.behind.principals, Some(Vec::new()));
}

#[test]
fn asking_again_while_it_waits_meets_the_same_action() {
    let mut world = World::new();
    let action = halted(&mut world);
    let again = delete(&mut world, ERASURE);
    assert_eq!(again.decision.action, Some(action));
    assert_eq!(world.state.waiting().len(), 1);
}

#[test]
fn an_approval_does_not_cover_other_arguments() {
    let mut world = World::new();
    let action = halted(&mut world);
    world.approve(action, PRIVACY);
    let other = DELETE.replace("ada@", "bob@");
    let done = world.go(ERASURE, &body("write_query", &other, ""), answered("{}"));
    assert_eq!(done.code(), Some(Code::ApprovalRequired));
    let spaced = DELETE.replace(':', ": ");
    let done = world.go(ERASURE, &body("write_query", &spaced, ""), answered("{}"));
    assert_eq!(done.code(), Some(Code::ApprovalRequired));
}

#[test]
fn an_approval_does_not_cover_another_agent() {
    let mut world = World::new();
    let action = halted(&mut world);
    world.approve(action, PRIVACY);
    let done = delete(&mut world, OFFICER);
    assert_eq!(done.code(), Some(Code::ApprovalRequired));
    assert_ne!(done.decision.action, Some(action));
}

#[test]
fn a_refusal_by_a_person_stands_under_any_mode() {
    let mut world = World::new();
    let action = halted(&mut world);
    world.approve(action, PRIVACY);
    world.word(action, DEPUTY, Choice::Refuse, 600_000);
    assert_eq!(
        delete(&mut world, ERASURE).code(),
        Some(Code::ApprovalRefused)
    );
    let lower = body("write_query", DELETE, r#","mode":"local_write""#);
    let done = world.go(ERASURE, &lower, answered("{}"));
    assert_eq!(done.code(), Some(Code::ApprovalRefused));
}

#[test]
fn an_approval_does_not_cover_another_mode() {
    let mut world = World::new();
    let lower = body("write_query", DELETE, r#","mode":"local_write""#);
    let action = world
        .go(ERASURE, &lower, answered("{}"))
        .decision
        .action
        .unwrap();
    world.approve(action, PRIVACY);
    let done = delete(&mut world, ERASURE);
    assert_eq!(done.code(), Some(Code::ApprovalRequired));
    assert_ne!(done.decision.action, Some(action));
}

#[test]
fn an_approval_that_does_not_hold_until_the_log_is_not_used() {
    let mut world = World::new();
    let action = halted(&mut world);
    world.word(action, PRIVACY, Choice::Approve, 60_000);
    world.now += 60_000 - SEAL_MILLIS + 1;
    assert_eq!(
        delete(&mut world, ERASURE).code(),
        Some(Code::ApprovalRequired)
    );
    world.now -= 1;
    assert_eq!(delete(&mut world, ERASURE).code(), None);
}

#[test]
fn an_approver_of_another_tenant_does_not_count() {
    let mut world = World::new();
    let action = halted(&mut world);
    world.approve(action, STRANGER);
    assert_eq!(
        delete(&mut world, ERASURE).code(),
        Some(Code::ApprovalRequired)
    );
}

#[test]
fn nobody_approves_for_the_agent_that_acts_for_them() {
    let mut world = World::new();
    let action = delete(&mut world, OFFICER).decision.action.unwrap();
    world.approve(action, PRIVACY);
    assert_eq!(
        delete(&mut world, OFFICER).code(),
        Some(Code::ApprovalRequired)
    );
    world.approve(action, DEPUTY);
    let done = delete(&mut world, OFFICER);
    assert_eq!((done.code(), done.decision.approvals.len()), (None, 1));
}

#[test]
fn a_quorum_of_two_needs_two_people() {
    let mut world = World::new();
    let two = body("two", SELECT, "");
    let action = world
        .go(READER, &two, answered("{}"))
        .decision
        .action
        .unwrap();
    world.approve(action, PRIVACY);
    world.approve(action, PRIVACY);
    assert_eq!(
        world.go(READER, &two, answered("{}")).code(),
        Some(Code::ApprovalRequired)
    );
    world.approve(action, DEPUTY);
    let done = world.go(READER, &two, answered("{}"));
    assert_eq!((done.code(), done.decision.approvals.len()), (None, 2));
}

#[test]
fn of_two_racing_retries_one_gets_the_approval() {
    let mut world = World::new();
    let action = halted(&mut world);
    world.approve(action, PRIVACY);
    let call = body("write_query", DELETE, "");
    let (one, other) = (
        world.identified(ERASURE, &call),
        world.identified(ERASURE, &call),
    );
    let first = world.clear(one).unwrap();
    let second = world.clear(other).unwrap();
    assert!(matches!(&first, Clearance::Approved(_)));
    assert!(matches!(&second, Clearance::Halted(_)));
    let second = world.finish(Ok(second), answered("{}"));
    assert_eq!(second.code(), Some(Code::ApprovalRequired));
    assert_eq!(world.finish(Ok(first), answered("{}")).code(), None);
    assert_eq!(world.state.waiting().len(), 0);
}

#[test]
fn an_approval_comes_back_if_the_intent_cannot_be_written() {
    let mut world = World::new();
    let action = halted(&mut world);
    world.approve(action, PRIVACY);
    let identified = world.identified(ERASURE, &body("write_query", DELETE, ""));
    let Ok(Clearance::Approved(approved)) = world.clear(identified) else {
        panic!("not approved");
    };
    let (sealed, _, _) = world.seal(*approved);
    world.state.release(sealed.call());
    let refusal = crate::refusal::Refusal::never(Code::AuditBackpressure);
    let record =
        decision::settle_abandoned(*sealed.abandon(), refusal, world.in_force(), world.moment());
    let done = world.record(record);
    assert_eq!(
        (done.decision.approvals.len(), done.decision.parent),
        (0, None)
    );
    // Who met them while they were taken can see that they are there again.
    assert_eq!(world.state.halted_action(&action).unwrap().given_back, 1);
    assert_eq!(delete(&mut world, ERASURE).code(), None);
}

#[test]
fn nobody_can_approve_before_the_halt_is_recorded() {
    let mut world = World::new();
    let identified = world.identified(ERASURE, &body("write_query", DELETE, ""));
    let Ok(Clearance::Halted(halt)) = world.clear(identified) else {
        panic!("not halted");
    };
    assert!(world.state.halted_action(&halt.action().digest()).is_none());
    halt.undo(&mut world.state);
    assert_eq!((world.state.running(), world.state.waiting().len()), (0, 0));
}

#[test]
fn two_calls_that_halt_at_one_time_wait_for_one_action() {
    let mut world = World::new();
    let call = body("write_query", DELETE, "");
    let (one, other) = (
        world.identified(ERASURE, &call),
        world.identified(ERASURE, &call),
    );
    let (one, other) = (world.clear(one), world.clear(other));
    // The second call's record may come first.
    let other = world.finish(other, answered("{}"));
    let one = world.finish(one, answered("{}"));
    assert_eq!(one.decision.action, other.decision.action);
    assert_eq!(world.state.waiting().len(), 1);
    world.approve(one.decision.action.unwrap(), PRIVACY);
    assert_eq!(delete(&mut world, ERASURE).code(), None);
}

#[test]
fn an_action_is_forgotten_after_a_day() {
    let mut world = World::new();
    let action = halted(&mut world);
    world.now += WAIT_MILLIS + 1;
    let again = delete(&mut world, ERASURE);
    assert_ne!(again.decision.action, Some(action));
    assert_eq!(world.state.waiting().len(), 1);
}

#[test]
fn an_approval_under_another_bundle_is_not_used() {
    let mut world = World::new();
    let action = halted(&mut world);
    world.approve(action, PRIVACY);
    let mut files = site();
    let settings = files.0.get_mut("countersign.toml").unwrap();
    *settings = settings.replacen("version = 1", "version = 2", 1);
    world.engine = super::world::engine(&files).0;
    assert_eq!(
        delete(&mut world, ERASURE).code(),
        Some(Code::ApprovalRequired)
    );
}

#[test]
fn a_permit_that_is_told_who_approved_uses_the_approval_up() {
    let mut world = World::new();
    let call = body("unless", SELECT, "");
    let action = world
        .go(READER, &call, answered("{}"))
        .decision
        .action
        .unwrap();
    world.approve(action, DEPUTY);
    let done = world.go(READER, &call, answered("{}"));
    assert_eq!((done.code(), done.decision.approvals.len()), (None, 1));
    let again = world.go(READER, &call, answered("{}"));
    assert_eq!(again.code(), Some(Code::ApprovalRequired));
}

#[test]
fn an_approval_survives_a_restart_and_is_spent_across_one() {
    let mut world = World::new();
    let action = halted(&mut world);
    world.approve(action, PRIVACY);
    world.restart();
    assert_eq!(delete(&mut world, ERASURE).code(), None);
    world.restart();
    assert_eq!(
        delete(&mut world, ERASURE).code(),
        Some(Code::ApprovalRequired)
    );
}

#[test]
fn one_agent_cannot_fill_the_room_for_halted_actions() {
    let mut world = World::new();
    let call = |i: usize| body("write_query", &DELETE.replace("ada", &format!("a{i}")), "");
    for i in 0..MAX_HALTED_PER_AGENT {
        assert_eq!(
            world.go(ERASURE, &call(i), answered("{}")).code(),
            Some(Code::ApprovalRequired)
        );
    }
    let more = world.go(ERASURE, &call(MAX_HALTED_PER_AGENT), answered("{}"));
    assert_eq!(more.code(), Some(Code::TooManyWaiting));
    let other = world.go(OFFICER, &call(0), answered("{}"));
    assert_eq!(other.code(), Some(Code::ApprovalRequired));
}

#[test]
fn nobody_is_asked_to_approve_what_nobody_can_read() {
    let mut world = World::new();
    let spaces = " ".repeat(MAX_SHOWN_BYTES);
    let call = body(
        "write_query",
        &DELETE.replace(':', &format!(":{spaces}")),
        "",
    );
    assert_eq!(
        world.go(ERASURE, &call, answered("{}")).code(),
        Some(Code::RequestTooLarge)
    );
}

#[test]
fn an_approval_for_an_action_that_does_not_wait_changes_nothing() {
    let mut world = World::new();
    let before = world.state.folded();
    world.approve(ActionDigest([9; 32]), PRIVACY);
    assert_eq!(world.state.folded(), before);
    assert_ne!(public(PRIVACY), public(DEPUTY));
    assert_eq!(
        world
            .state
            .halted_action(&ActionDigest([9; 32]))
            .map(|h| h.action.tenant == DEMO),
        None
    );
}

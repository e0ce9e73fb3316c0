//! The live state is the state that the log folds to, whatever happens in which order.

use super::stops;
use super::world::{
    DELETE, DEPUTY, ERASURE, EVE, GATEWAY, OFFICER, PRIVACY, READER, SELECT, World, answered, body,
};
use crate::approval::{Approved, Clearance, Halt, SEAL_MILLIS};
use crate::decision::{self, Record};
use crate::execute::{NoAnswer, NotSent, Report};
use crate::refusal::{Code, Refusal};
use crate::seal::{Committed, IntentReceipt};
use crate::state::State;
use crate::state::stops::{Called, Covers};
use countersign_record::body::{Action, StopAct};
use countersign_record::cbor::Cbor as _;
use countersign_record::commitment::Field;
use countersign_record::entry::{Body, Entry};
use countersign_record::statement::Choice;
use proptest::prelude::*;

/// A call between two awaits of the shell.
enum Under {
    /// About to be sealed, since when.
    Approved(Box<Approved>, u64),
    /// About to leave.
    Committed(Box<Committed>),
    /// About to be recorded.
    Ended(Box<Record>),
}

#[derive(Debug, Clone)]
enum Step {
    Begin {
        agent: usize,
        call: usize,
    },
    Advance {
        which: usize,
        ending: usize,
    },
    /// The journal does not take what the call wants to write.
    Fail {
        which: usize,
    },
    Word {
        which: usize,
        person: u8,
        choice: Choice,
        lasts: u64,
    },
    Stop {
        act: StopAct,
        id: usize,
        covers: usize,
    },
    Wait {
        millis: u64,
    },
}

/// Mostly one agent and one call, so that calls meet.
fn agent() -> impl Strategy<Value = usize> {
    prop_oneof![3 => Just(1usize), 1 => 0usize..4]
}

fn call_number() -> impl Strategy<Value = usize> {
    prop_oneof![1 => Just(4usize), 1 => 0usize..8]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (agent(), call_number()).prop_map(|(agent, call)| Step::Begin { agent, call }),
        8 => (0usize..8, 0usize..5).prop_map(|(which, ending)| Step::Advance { which, ending }),
        1 => (0usize..8).prop_map(|which| Step::Fail { which }),
        2 => (0usize..4, prop_oneof![Just(PRIVACY), Just(DEPUTY)], prop_oneof![9 => Just(Choice::Approve), 1 => Just(Choice::Refuse)], 0u64..90_000)
            .prop_map(|(which, person, choice, lasts)| Step::Word { which, person, choice, lasts }),
        1 => (prop_oneof![1 => Just(StopAct::Stopped), 2 => Just(StopAct::Resumed)], 0usize..3, 0usize..4).prop_map(|(act, id, covers)| Step::Stop { act, id, covers }),
        2 => prop_oneof![9 => 0u64..4_000, 4 => 0u64..70_000, 1 => Just(90_000_000u64)].prop_map(|millis| Step::Wait { millis }),
    ]
}

fn call(n: usize) -> String {
    let keyed = r#","idempotency_key":"k""#;
    match n {
        0 => body("read_query", SELECT, ""),
        1 => body("keyed", SELECT, keyed),
        2 => body("few", SELECT, ""),
        3 => body("few", SELECT, keyed),
        4 => body("write_query", DELETE, ""),
        5 => body("write_query", DELETE, keyed),
        6 => body("two", SELECT, keyed),
        _ => body("restricted", SELECT, keyed),
    }
}

struct Sim {
    world: World,
    under: Vec<Under>,
}

impl Sim {
    fn begin(&mut self, agent: usize, n: usize) {
        let token = [READER, ERASURE, OFFICER, EVE][agent];
        let identified = self.world.identified(token, &call(n));
        let cleared = self.world.clear(identified);
        let (in_force, now) = (self.world.in_force(), self.world.moment());
        let record = match cleared {
            Err(refused) => decision::settle_refused(*refused, in_force, now),
            Ok(Clearance::Halted(halt)) => decision::settle_halted(*halt, in_force, now),
            Ok(Clearance::Repeated(repeated)) => {
                decision::settle_refused(*repeated.lost(), in_force, now)
            }
            Ok(Clearance::Approved(approved)) => {
                let since = self.world.now;
                return self.under.push(Under::Approved(approved, since));
            }
        };
        self.under.push(Under::Ended(Box::new(record)));
    }

    fn advance(&mut self, which: usize, ending: usize) {
        if self.under.is_empty() {
            return;
        }
        let under = self.under.remove(which % self.under.len());
        let (in_force, now) = (self.world.in_force(), self.world.moment());
        match under {
            // The shell seals at once, without an await; a call that stood still for seconds is given up here.
            Under::Approved(approved, since) if self.world.now > since + SEAL_MILLIS => {
                self.abandon(*approved);
            }
            Under::Approved(approved, _) => {
                let committed = self.world.commit(*approved);
                self.under.push(Under::Committed(Box::new(committed)));
            }
            Under::Committed(committed) => {
                let report = match ending {
                    0 => Report::NotSent {
                        cause: NotSent::Unavailable,
                    },
                    1 => Report::NoAnswer {
                        cause: NoAnswer::Timeout,
                        transcript: Vec::new(),
                    },
                    _ => answered("{}"),
                };
                let (_, dispatched) = committed.dispatch(now);
                let settled = dispatched.outcome(report).release();
                let record = decision::settle(settled, in_force, now);
                self.under.push(Under::Ended(Box::new(record)));
            }
            Under::Ended(record) => {
                let _ = self.world.record(*record);
            }
        }
    }

    fn fail(&mut self, which: usize) {
        if self.under.is_empty() {
            return;
        }
        let which = which % self.under.len();
        match self.under.remove(which) {
            // As the shell does: give back, then try to record why.
            Under::Approved(approved, _) => self.abandon(*approved),
            Under::Ended(record) if record.body.intent.is_none() => {
                let call = record.body.call;
                if let Some(halt) = &record.halted {
                    Halt::undo(halt, &mut self.world.state);
                }
                self.world.state.release(call);
            }
            other @ (Under::Committed(_) | Under::Ended(_)) => self.under.push(other),
        }
    }

    fn abandon(&mut self, approved: Approved) {
        let (sealed, _, _) = self.world.seal(approved);
        self.world.state.release(sealed.call());
        let refusal = Refusal::never(Code::AuditBackpressure);
        let record = decision::settle_abandoned(
            *sealed.abandon(),
            refusal,
            self.world.in_force(),
            self.world.moment(),
        );
        self.under.push(Under::Ended(Box::new(record)));
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Begin { agent, call } => self.begin(agent, call),
            Step::Advance { which, ending } => self.advance(which, ending),
            Step::Fail { which } => self.fail(which),
            Step::Word {
                which,
                person,
                choice,
                lasts,
            } => {
                let waiting = self.world.state.waiting();
                if let Some(digest) = waiting.get(which).map(|h| h.digest) {
                    self.world.word(digest, person, choice, lasts);
                }
            }
            Step::Stop { act, id, covers } => {
                let name = |named: bool, text: &str| named.then(|| text.to_owned());
                let covers = Covers {
                    tenant: None,
                    capability: name(covers & 1 != 0, "customers.write_query"),
                    agent: name(covers & 2 != 0, "agent:demo/erasure@1"),
                };
                stops::order(&mut self.world, act, &id.to_string(), &covers);
            }
            Step::Wait { millis } => self.world.now += millis,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 150,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_live_state_is_what_its_log_folds_to(steps in proptest::collection::vec(step(), 1..60)) {
        let mut sim = Sim { world: World::new(), under: Vec::new() };
        for step in steps {
            sim.take(step);
            prop_assert_eq!(sim.world.state.folded(), sim.world.refolded().folded());
        }
        while !sim.under.is_empty() {
            sim.advance(0, 2);
        }
        prop_assert_eq!(sim.world.state.folded(), sim.world.refolded().folded());
        prop_assert_eq!(sim.world.state.running(), 0, "something stayed reserved");
        spent_once(&sim.world);
        never_stopped(&sim.world);
    }
}

/// No approval stands in two intents, and every intent with approvals is of the action that they approve.
fn spent_once(world: &World) {
    let mut spent = std::collections::HashSet::new();
    let entry = |index: u64| Entry::parse(&world.log[usize::try_from(index).unwrap()].0).unwrap();
    for (bytes, _) in &world.log {
        let parsed = Entry::parse(bytes).unwrap();
        let Body::Intent(intent) = parsed.body() else {
            continue;
        };
        let action = Action::from_bytes(&intent.action.0).unwrap();
        if matches!(
            action.capability.id.as_str(),
            "customers.write_query" | "customers.two"
        ) {
            let needed = if action.capability.id == "customers.two" {
                2
            } else {
                1
            };
            assert!(
                intent.approvals.len() >= needed,
                "carried out without approvals"
            );
        }
        for reference in &intent.approvals {
            assert!(
                spent.insert(reference.index),
                "approval {} is spent twice",
                reference.index
            );
            let given = entry(reference.index);
            let Body::Approval(approval) = given.body() else {
                panic!("entry {} is no approval", reference.index);
            };
            assert_eq!(approval.action, action.digest());
            assert_eq!(approval.choice, Choice::Approve);
            assert!(approval.expires >= parsed.place().at);
        }
    }
}

/// No intent was decided on a state in which a stop covered its call.
fn never_stopped(world: &World) {
    for (bytes, disclosures) in &world.log {
        let parsed = Entry::parse(bytes).unwrap();
        let Body::Intent(intent) = parsed.body() else {
            continue;
        };
        let mut state = State::new(GATEWAY);
        for (bytes, disclosures) in world
            .log
            .iter()
            .take(usize::try_from(intent.basis).unwrap())
        {
            state.apply(&Entry::parse(bytes).unwrap(), disclosures);
        }
        let action = Action::from_bytes(&intent.action.0).unwrap();
        let agent = disclosures.iter().find(|d| d.field == Field::Agent);
        let agent = String::from_utf8_lossy(&agent.unwrap().value.0);
        let called = Called {
            tenant: action.tenant,
            capability: &action.capability.id,
            agent: &agent,
        };
        assert_eq!(state.stops().over(called), None);
    }
}

#[test]
fn a_right_to_execute_is_for_the_call_that_was_sealed() {
    let mut world = World::new();
    let identified = world.identified(READER, &call(0));
    let Ok(Clearance::Approved(approved)) = world.clear(identified) else {
        panic!("not approved");
    };
    let (sealed, _, _) = world.seal(*approved);
    let (call, entry) = (sealed.call(), world.in_force());
    assert!(sealed.commit(IntentReceipt { call, entry }).is_ok());
}

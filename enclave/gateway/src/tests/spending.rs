//! Budgets of runs: calls, time and tokens, whatever happens in which order.

use super::world::{EVE, READER, SELECT, World, answered, body, site};
use crate::approval::Clearance;
use crate::refusal::Code;
use crate::state::Owned;
use countersign_policies::SiteFiles;
use countersign_record::body::{Action, RunClosed};
use countersign_record::cbor::Cbor as _;
use countersign_record::digest::{EntryDigest, RunId, TenantId};
use countersign_record::entry::{Body, Entry};
use proptest::prelude::*;
use std::collections::HashMap;

const RUN: RunId = RunId([5; 16]);

fn limited(limits: &str) -> World {
    World::of(&files(limits))
}

fn files(limits: &str) -> SiteFiles {
    let mut files = site();
    let reader = files.0.get_mut("agents/reader.toml").unwrap();
    reader.push_str(&format!("\n[run_budget]\n{limits}\n"));
    files
}

fn call(world: &mut World, run: RunId, rest: &str) -> Option<Code> {
    let identified = world.in_run(run, READER, &body("read_query", SELECT, rest));
    let cleared = world.clear(identified);
    world.finish(cleared, answered("{}")).code()
}

#[test]
fn a_run_has_so_many_calls_and_another_run_its_own() {
    let mut world = limited("max_tool_calls = 2");
    let other = RunId([6; 16]);
    assert_eq!(call(&mut world, RUN, ""), None);
    assert_eq!(call(&mut world, RUN, ""), None);
    assert_eq!(call(&mut world, RUN, ""), Some(Code::RunBudgetExceeded));
    assert_eq!(call(&mut world, other, ""), None);
}

#[test]
fn what_a_run_has_spent_is_there_after_a_restart() {
    let mut world = limited("max_tool_calls = 1");
    assert_eq!(call(&mut world, RUN, ""), None);
    world.restart();
    assert_eq!(call(&mut world, RUN, ""), Some(Code::RunBudgetExceeded));
}

#[test]
fn a_call_that_is_about_to_be_sealed_counts_and_one_that_is_given_up_does_not() {
    let mut world = limited("max_tool_calls = 1");
    let text = body("read_query", SELECT, "");
    let identified = world.in_run(RUN, READER, &text);
    let id = identified.call();
    let Ok(Clearance::Approved(_)) = world.clear(identified) else {
        panic!("not approved");
    };
    assert_eq!(call(&mut world, RUN, ""), Some(Code::RunBudgetExceeded));
    world.state.release(id);
    assert_eq!(call(&mut world, RUN, ""), None);
}

#[test]
fn a_run_ends_by_time_from_its_first_call_on() {
    let mut world = limited("wall_clock_ms = 1000");
    assert_eq!(call(&mut world, RUN, ""), None);
    world.now += 1000;
    assert_eq!(call(&mut world, RUN, ""), None);
    world.now += 1;
    assert_eq!(call(&mut world, RUN, ""), Some(Code::RunBudgetExceeded));
}

#[test]
fn declared_tokens_add_up_those_of_refused_calls_too() {
    let mut world = limited("total_tokens = 100");
    let with = |n: u64| format!(",\"tokens\":{n}");
    assert_eq!(call(&mut world, RUN, &with(60)), None);
    assert_eq!(call(&mut world, RUN, &with(40)), None);
    assert_eq!(
        call(&mut world, RUN, &with(1)),
        Some(Code::RunBudgetExceeded)
    );
    assert_eq!(call(&mut world, RUN, ""), Some(Code::RunBudgetExceeded));
    world.restart();
    assert_eq!(call(&mut world, RUN, ""), Some(Code::RunBudgetExceeded));
}

#[test]
fn tokens_are_whole_numbers_of_bounded_size() {
    for text in ["-1", "1.5", "1e3", "\"7\"", "null", "1000000001"] {
        let mut world = World::new();
        let call = body("read_query", SELECT, &format!(",\"tokens\":{text}"));
        let refused = crate::request::Request::parse_call(world.untrusted(&call)).unwrap_err();
        assert_eq!(refused.refusal().code(), Code::MalformedRequest, "{text}");
    }
}

#[test]
fn a_call_of_a_limited_agent_without_a_run_is_refused() {
    let mut world = limited("max_tool_calls = 9");
    let done = world.go(READER, &body("read_query", SELECT, ""), answered("{}"));
    assert_eq!(done.code(), Some(Code::RunBudgetExceeded));
}

#[test]
fn a_repetition_spends_nothing() {
    let mut world = limited("max_tool_calls = 1");
    let keyed = r#","idempotency_key":"k""#;
    let mut again = || {
        let identified = world.in_run(RUN, READER, &body("keyed", SELECT, keyed));
        let cleared = world.clear(identified);
        world.finish(cleared, answered("{}")).code()
    };
    assert_eq!((again(), again(), again()), (None, None, None));
}

#[test]
fn a_closed_run_is_forgotten() {
    let mut world = limited("max_tool_calls = 1");
    assert_eq!(call(&mut world, RUN, ""), None);
    let owned = Owned {
        tenant: Some(super::world::DEMO),
        run: Some(RUN),
    };
    let closed = RunClosed {
        run: RUN,
        head: EntryDigest([0; 32]),
        count: 1,
        first: 0,
        last: 1,
    };
    world.write(Body::Run(closed), owned, Vec::new());
    assert_eq!(
        world.state.run_spent(RUN),
        crate::state::spending::Spent::default()
    );
}

/// Calls of two agents in three runs, at any stage, with restarts between.
#[derive(Debug, Clone)]
enum Step {
    Begin { agent: usize, run: u8, tool: usize },
    Seal { which: usize },
    Give { which: usize },
    Wait { millis: u64 },
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0usize..2, 0u8..3, 0usize..3).prop_map(|(agent, run, tool)| Step::Begin { agent, run, tool }),
        4 => (0usize..8).prop_map(|which| Step::Seal { which }),
        1 => (0usize..8).prop_map(|which| Step::Give { which }),
        2 => (0u64..20_000).prop_map(|millis| Step::Wait { millis }),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 100,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_order_of_calls_exceeds_a_budget_or_runs_a_keyed_call_twice(steps in proptest::collection::vec(step(), 1..50)) {
        static SITE: std::sync::OnceLock<SiteFiles> = std::sync::OnceLock::new();
        let mut world = World::of(SITE.get_or_init(|| files("max_tool_calls = 3")));
        let mut under = Vec::new();
        for step in steps {
            match step {
                Step::Begin { agent, run, tool } => {
                    let keyed = r#","idempotency_key":"k""#;
                    let text = match tool {
                        0 => body("few", SELECT, ""),
                        1 => body("keyed", SELECT, keyed),
                        _ => body("read_query", SELECT, ""),
                    };
                    // Runs are of one agent.
                    let run = RunId([run + 10 * u8::try_from(agent).unwrap(); 16]);
                    let identified = world.in_run(run, [READER, EVE][agent], &text);
                    match world.clear(identified) {
                        Ok(Clearance::Approved(approved)) => under.push(approved),
                        Ok(Clearance::Halted(_)) => panic!("nothing here needs approval"),
                        // Nothing is settled here, so that keys stay in use.
                        Ok(Clearance::Repeated(_)) | Err(_) => {}
                    }
                }
                Step::Seal { which } if !under.is_empty() => {
                    let which = which % under.len();
                    let _committed = world.commit(*under.remove(which));
                }
                Step::Give { which } if !under.is_empty() => {
                    let which = which % under.len();
                    let (sealed, _, _) = world.seal(*under.remove(which));
                    world.state.release(sealed.call());
                }
                Step::Seal { .. } | Step::Give { .. } => {}
                Step::Wait { millis } => world.now += millis,
                Step::Restart => {
                    // What was not sealed is gone with the process.
                    under.clear();
                    world.restart();
                }
            }
        }
        within(&world);
    }
}

/// What the log says of budgets and keys.
fn within(world: &World) {
    let mut runs: HashMap<RunId, u64> = HashMap::new();
    let mut keyed: HashMap<TenantId, u64> = HashMap::new();
    let mut few: HashMap<TenantId, Vec<u64>> = HashMap::new();
    for (bytes, _) in &world.log {
        let entry = Entry::parse(bytes).unwrap();
        let Body::Intent(intent) = entry.body() else {
            continue;
        };
        let action = Action::from_bytes(&intent.action.0).unwrap();
        let run = entry.place().run.as_ref().unwrap().run;
        *runs.entry(run).or_default() += 1;
        match action.capability.id.as_str() {
            "customers.keyed" => *keyed.entry(action.tenant).or_default() += 1,
            "customers.few" => few
                .entry(action.tenant)
                .or_default()
                .push(entry.place().at.0),
            _ => {}
        }
    }
    let limited = |run: &RunId| run.0[0] < 10;
    assert!(
        runs.iter().all(|(run, calls)| !limited(run) || *calls <= 3),
        "{runs:?}"
    );
    assert!(keyed.values().all(|calls| *calls <= 1), "{keyed:?}");
    for times in few.values() {
        let inside = |end: u64| {
            times
                .iter()
                .filter(|t| **t <= end && **t + 60_000 > end)
                .count()
        };
        assert!(times.iter().all(|t| inside(*t) <= 2), "{times:?}");
    }
}

//! Two tenants at one gateway: each sees what it would see alone.

use super::stops;
use super::world::{DEMO, EVE, READER, SELECT, World, answered, body};
use crate::refusal::Code;
use crate::state::stops::Covers;
use countersign_record::body::StopAct;
use proptest::prelude::*;

/// What one tenant does.
#[derive(Debug, Clone)]
enum Deed {
    /// A call: which tool, under which key, with which answer of the upstream.
    Call {
        tool: usize,
        key: Option<u8>,
        answer: u8,
    },
    /// Its calls are stopped, or go on.
    Stop { act: StopAct, id: u8 },
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        9 => (0usize..4, proptest::option::of(0u8..2), 0u8..3).prop_map(|(tool, key, answer)| Deed::Call { tool, key, answer }),
        1 => (prop_oneof![Just(StopAct::Stopped), Just(StopAct::Resumed)], 0u8..2).prop_map(|(act, id)| Deed::Stop { act, id }),
    ]
}

/// What a tenant sees of its own deed.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Result(String),
    Refused(Code),
    Nothing,
}

fn of_demo(token: &str) -> bool {
    token == READER
}

fn take(world: &mut World, token: &str, deed: &Deed) -> Seen {
    match deed {
        Deed::Call { tool, key, answer } => {
            let rest = key.map_or_else(String::new, |k| format!(",\"idempotency_key\":\"{k}\""));
            let tool = ["read_query", "keyed", "few", "redacted"][*tool];
            // What the upstream answers a tenant is that tenant's.
            let whose = if of_demo(token) { "demo" } else { "other" };
            let report = answered(&format!("{{\"of\":\"{whose}\",\"n\":{answer}}}"));
            let done = world.go(token, &body(tool, SELECT, &rest), report);
            match done.code() {
                Some(code) => Seen::Refused(code),
                None => Seen::Result(done.result().to_owned()),
            }
        }
        Deed::Stop { act, id } => {
            let tenant = if of_demo(token) {
                DEMO
            } else {
                super::world::OTHER
            };
            let covers = Covers {
                tenant: Some(tenant),
                ..Covers::default()
            };
            // Names of stops are the gateway's; people choose other ones.
            let id = format!("{}-{id}", of_demo(token));
            stops::order(world, *act, &id, &covers);
            Seen::Nothing
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 60,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn in_any_order_each_tenant_sees_what_it_would_see_alone(
        deeds in proptest::collection::vec((any::<bool>(), deed(), 0u64..20_000), 1..40),
    ) {
        let token = |first: bool| if first { READER } else { EVE };
        let mut both = World::new();
        let mut alone = [World::new(), World::new()];
        for (first, deed, wait) in deeds {
            for world in [&mut both].into_iter().chain(&mut alone) {
                world.now += wait;
            }
            let seen = take(&mut both, token(first), &deed);
            let expected = take(&mut alone[usize::from(first)], token(first), &deed);
            if let Seen::Result(text) = &seen {
                let whose = if first { "demo" } else { "other" };
                prop_assert!(text.contains(whose), "{text} is another tenant's");
            }
            prop_assert_eq!(seen, expected);
        }
    }
}

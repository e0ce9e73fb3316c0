//! Of two checks that a call fails, the earlier one refuses it.

use super::stops::order;
use super::world::{DELETE, READER, SELECT, World, answered, body, site};
use crate::admission::{Conditions, admit};
use crate::budget::budget;
use crate::check::Check;
use crate::policy::{self, Judgement};
use crate::refusal::{Code, Refused};
use crate::request::Request;
use crate::state::stops::Covers;
use crate::surface::{Observed, surface};
use countersign_policies::SiteFiles;
use countersign_record::body::StopAct;
use countersign_record::digest::{CallId, RunId, TenantId};

const RUN: RunId = RunId([5; 16]);

/// The example with a tool that asks for everything that can be asked for, and an agent whose runs are short.
fn strict() -> SiteFiles {
    let mut files = site();
    let text = files.0["capabilities/read_query.toml"].clone();
    let tool = |name: &str, changes: &[(&str, &str)]| {
        changes
            .iter()
            .fold(text.replace("read_query", name), |text, (from, to)| {
                assert!(text.contains(from), "{from}");
                text.replacen(from, to, 1)
            })
    };
    let all = [
        ("\"read_only\"", "\"delegated\"\nscopes = [\"records\"]"),
        ("\"optional\"", "\"required\""),
        ("calls = 600", "calls = 1"),
        ("destinations", "min_assurance = 3\ndestinations"),
        (
            "\"properties\": {",
            "\"properties\": { \"tenant\": { \"type\": \"string\" },",
        ),
        (
            "[arguments.query]",
            "[arguments.tenant]\nmust_be = \"tenant\"\n\n[arguments.query]",
        ),
    ];
    // Known less surely, but for nobody; and neither, but above its mode and permitted by nobody.
    let unsure = [all[0]];
    files
        .0
        .insert("capabilities/strict.toml".into(), tool("strict", &all));
    files
        .0
        .insert("capabilities/acting.toml".into(), tool("acting", &unsure));
    files
        .0
        .insert("capabilities/hidden.toml".into(), tool("hidden", &[]));
    let kept = [("\"read_only\"", "\"destructive\"")];
    files
        .0
        .insert("capabilities/kept.toml".into(), tool("kept", &kept));
    let reader = files.0.get_mut("agents/reader.toml").unwrap();
    reader.push_str("\n[run_budget]\nmax_tool_calls = 1\n");
    files
}

/// How a call is to go wrong.
#[derive(Default)]
struct Wrong {
    conditions: Option<Conditions>,
    observed: Option<Observed>,
    stopped: bool,
    rate_spent: bool,
    run_spent: bool,
}

const ELSE: &str = r#"{"query":"SELECT COUNT(*) AS customers FROM customers","tenant":"other"}"#;
const OWN: &str = r#"{"query":"SELECT COUNT(*) AS customers FROM customers","tenant":"demo"}"#;

fn refused(tool: &str, arguments: &str, rest: &str, wrong: Wrong) -> Code {
    let mut world = World::of(&strict());
    if wrong.stopped {
        order(&mut world, StopAct::Stopped, "s", &Covers::default());
    }
    if wrong.rate_spent {
        let tenant = super::world::DEMO;
        let id = format!("customers.{tool}");
        world.state.reserve_call(tenant, &id, CallId([8; 16]));
    }
    if wrong.run_spent {
        world.state.reserve_run(RUN, 0, CallId([9; 16]));
    }
    let identified = world.in_run(RUN, READER, &body(tool, arguments, rest));
    let conditions = wrong.conditions.unwrap_or(Conditions::MET);
    let now = world.moment();
    let (engine, state) = (&world.engine, &mut world.state);
    let outcome = admit(identified, conditions)
        .and_then(|admitted| {
            surface(admitted, engine, |c| {
                wrong.observed.unwrap_or(Observed::Descriptor(c.descriptor))
            })
        })
        .and_then(|surfaced| budget(surfaced, state, now))
        .and_then(|budgeted| policy::decide(budgeted, engine, state, now));
    let approved = |judgement| match judgement {
        Judgement::Permitted(_) => panic!("it was permitted"),
        Judgement::Escalated(_) => Code::ApprovalRequired,
    };
    outcome.map_or_else(|refused: Box<Refused>| refused.refusal().code(), approved)
}

/// A call that fails two neighbouring checks: what refuses it.
fn of_both(first: Check, second: Check) -> Code {
    let met = Conditions::MET;
    let unmet = |conditions| Wrong {
        conditions: Some(conditions),
        ..Wrong::default()
    };
    let with = |change: fn(&mut Wrong)| {
        let mut wrong = Wrong::default();
        change(&mut wrong);
        wrong
    };
    match (first, second) {
        (Check::Request, Check::Identity) => {
            let mut world = World::new();
            let refused = Request::parse_call(world.untrusted("{")).unwrap_err();
            refused.refusal().code()
        }
        (Check::Identity, Check::Enrolment) => unknown(),
        (Check::Enrolment, Check::Stopping) => {
            let wrong = unmet(Conditions {
                enrolled: false,
                not_stopping: false,
                ..met
            });
            refused("strict", OWN, "", wrong)
        }
        (Check::Stopping, Check::Clock) => {
            let wrong = unmet(Conditions {
                not_stopping: false,
                clock_agrees: false,
                ..met
            });
            refused("strict", OWN, "", wrong)
        }
        (Check::Clock, Check::Lease) => {
            let wrong = unmet(Conditions {
                clock_agrees: false,
                lease_holds: false,
                ..met
            });
            refused("strict", OWN, "", wrong)
        }
        (Check::Lease, Check::Witnesses) => {
            let wrong = unmet(Conditions {
                lease_holds: false,
                witnessed: false,
                ..met
            });
            refused("strict", OWN, "", wrong)
        }
        (Check::Witnesses, Check::Capability) => {
            let wrong = unmet(Conditions {
                witnessed: false,
                ..met
            });
            refused("nothing", OWN, "", wrong)
        }
        (Check::Capability, Check::Descriptor) => {
            let wrong = with(|w| w.observed = Some(Observed::Unlisted));
            refused("nothing", OWN, "", wrong)
        }
        (Check::Descriptor, Check::Arguments) => {
            let wrong = with(|w| w.observed = Some(Observed::Unlisted));
            refused("strict", r#"{"query":7}"#, "", wrong)
        }
        (Check::Arguments, Check::Tenancy) => {
            let arguments = r#"{"query":"SELECT 1","tenant":"other"}"#;
            refused("strict", arguments, "", Wrong::default())
        }
        (Check::Tenancy, Check::Stop) => refused("strict", ELSE, "", with(|w| w.stopped = true)),
        (Check::Stop, Check::Repetition) => refused("strict", OWN, "", with(|w| w.stopped = true)),
        (Check::Repetition, Check::Rate) => {
            refused("strict", OWN, "", with(|w| w.rate_spent = true))
        }
        (Check::Rate, Check::RunBudget) => {
            let wrong = with(|w| (w.rate_spent, w.run_spent) = (true, true));
            refused("strict", OWN, KEY, wrong)
        }
        (Check::RunBudget, Check::Assurance) => {
            refused("strict", OWN, KEY, with(|w| w.run_spent = true))
        }
        (Check::Assurance, Check::Delegation) => refused("strict", OWN, KEY, Wrong::default()),
        (Check::Delegation, Check::Mode) => refused(
            "acting",
            SELECT,
            r#","mode":"destructive""#,
            Wrong::default(),
        ),
        (Check::Mode, Check::Policy) => refused(
            "hidden",
            SELECT,
            r#","mode":"destructive""#,
            Wrong::default(),
        ),
        (Check::Policy, Check::Approval) => refused("kept", SELECT, "", Wrong::default()),
        (_, _) => panic!("{first:?} and {second:?} have no call"),
    }
}

const KEY: &str = r#","idempotency_key":"k""#;

fn unknown() -> Code {
    // Whoever is not known is not asked about: there is nothing to admit.
    let mut world = World::new();
    let text = body("read_query", SELECT, "");
    let request = Request::parse_call(world.untrusted(&text)).unwrap();
    let presented = countersign_signatures::http::HttpRequest {
        method: "POST",
        scheme: countersign_signatures::http::Scheme::Http,
        authority: "localhost",
        path: "/v1/calls",
        query: None,
        headers: &[],
        body: text.as_bytes(),
    };
    let clock = world.clock();
    let (callers, nonces) = (&world.callers, &mut world.nonces);
    let presented = crate::identity::Presented::without_certificates(&presented);
    let identified =
        crate::identity::identify(request, presented, callers, nonces, clock, |_| None);
    identified.unwrap_err().refusal().code()
}

#[test]
fn of_two_neighbouring_checks_the_earlier_one_refuses() {
    // What comes after people have approved is no matter of a refusal that a call could have had before.
    let asked: Vec<Check> = Check::ORDER
        .iter()
        .copied()
        .take_while(|check| *check <= Check::Approval)
        .collect();
    for pair in asked.windows(2) {
        let [first, second] = pair else { continue };
        let found = of_both(*first, *second);
        assert!(
            first.codes().contains(&found) && !second.codes().contains(&found),
            "{first:?} before {second:?}: {found:?}"
        );
    }
}

#[test]
fn each_of_the_checks_refuses_by_itself() {
    let alone = |tool: &str, arguments: &str, rest: &str, wrong: Wrong| {
        refused(tool, arguments, rest, wrong)
    };
    let spent = Wrong {
        run_spent: true,
        ..Wrong::default()
    };
    assert_eq!(alone("hidden", SELECT, "", spent), Code::RunBudgetExceeded);
    assert_eq!(
        alone("acting", SELECT, "", Wrong::default()),
        Code::DelegationRequired
    );
    assert_eq!(
        alone("hidden", SELECT, "", Wrong::default()),
        Code::PolicyDenied
    );
    assert_eq!(
        alone("strict", ELSE, KEY, Wrong::default()),
        Code::CrossTenantDenied
    );
}

#[test]
fn every_code_of_a_refusal_belongs_to_a_check() {
    for code in Code::ALL {
        let known = Check::ORDER.iter().any(|c| c.codes().contains(code));
        assert!(known, "{}", code.name());
    }
}

#[test]
fn the_page_has_the_checks_in_their_order() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/architecture.md");
    let page = std::fs::read_to_string(page).unwrap();
    let names: Vec<&str> = Check::ORDER.iter().map(|c| c.name()).collect();
    let line = names.join(" → ");
    assert!(page.contains(&line), "{line}");
}

#[test]
fn an_argument_that_names_another_tenant_is_a_security_event() {
    let mut world = World::of(&strict());
    for (named, code) in [
        ("other", Some(Code::CrossTenantDenied)),
        ("Demo", Some(Code::CrossTenantDenied)),
        ("", Some(Code::CrossTenantDenied)),
        (
            &TenantId([6; 16]).to_string(),
            Some(Code::CrossTenantDenied),
        ),
        // Its own tenant is no matter; the next check has it.
        ("demo", Some(Code::RunBudgetExceeded)),
    ] {
        let arguments = OWN.replace("\"demo\"", &format!("\"{named}\""));
        let done = world.go(READER, &body("strict", &arguments, KEY), answered("{}"));
        assert_eq!(done.code(), code, "{named}");
        let event = "security_event:cross_tenant_denied".to_owned();
        assert_eq!(
            done.decision.controls.contains(&event),
            code == Some(Code::CrossTenantDenied),
            "{named}"
        );
    }
}

#[test]
fn what_may_destroy_and_nobody_permits_asks_nobody() {
    let mut world = World::new();
    let done = world.go(READER, &body("write_query", DELETE, ""), answered("{}"));
    assert_eq!(done.code(), Some(Code::PolicyDenied));
}

//! Calls that people stopped: by whose word, and whether one was let through all the same.

use super::case::*;
use super::common::*;
use countersign_record::binding::Profile;
use countersign_record::body::*;
use countersign_record::commitment::Field;
use countersign_record::digest::*;
use countersign_record::entry::Body;
use countersign_record::profile::Disclosed;
use countersign_record::statement::StopStatement;
use countersign_verify::ledger::State;

const AGENT: &str = "agent:acme/support@1";

pub fn cases() -> Vec<Case> {
    [covered(), names(), agents(), words()]
        .into_iter()
        .flatten()
        .collect()
}

/// A log of which everything is promised; a renewal stands at its end.
fn log(story: impl FnOnce(&mut Mini)) -> Mini {
    let mut log = Mini::new(Profile::Tpm);
    log.disclosed = Disclosed::everything();
    log.open();
    log.enrol();
    story(&mut log);
    log.renew();
    log
}

fn told(story: impl FnOnce(&mut Mini)) -> Vec<u8> {
    log(story).export()
}

fn read(number: u8) -> Call {
    Call {
        signed: true,
        ..call(number, Mode::ReadOnly)
    }
}

/// A call is sealed and settled on the leaves that are there, less so many.
fn carried(log: &mut Mini, number: u8, less: u64) {
    let call = read(number);
    let (mut intent, disclosures) = log.intent_body(&call, vec![], None);
    intent.basis -= less;
    let at = log.push(Body::Intent(intent), Some(call.run), disclosures);
    log.decide(&call, Verdict::Allow, Some(at));
}

/// A stop that `change` makes, and a call after it.
fn stopped(change: impl FnOnce(&mut StopStatement)) -> Vec<u8> {
    told(|log| {
        log.stop(StopAct::Stopped, change);
        carried(log, 1, 0);
    })
}

fn covered() -> Vec<Case> {
    vec![
        case(
            "accept-stopped-and-resumed",
            "Everything is stopped; a call is denied; everything is resumed; a call is carried out.",
            told(|log| {
                log.stop(StopAct::Stopped, |_| ());
                log.decide(&call(1, Mode::Network), Verdict::Deny, None);
                log.stop(StopAct::Resumed, |_| ());
                carried(log, 2, 0);
            }),
        )
        .state("stops", State::Pass),
        case(
            "stops-let-through",
            "Everything is stopped, and a call is carried out.",
            stopped(|_| ()),
        )
        .fails("stops"),
        case(
            "accept-decided-before-the-stop",
            "A call was decided on the leaves before a stop, and sealed behind it.",
            told(|log| {
                log.stop(StopAct::Stopped, |_| ());
                carried(log, 1, 1);
            }),
        )
        .state("stops", State::Pass),
        case(
            "stops-decided-before-it-was-resumed",
            "A call was decided while everything was stopped, and sealed after it was resumed.",
            told(|log| {
                log.stop(StopAct::Stopped, |_| ());
                log.stop(StopAct::Resumed, |_| ());
                carried(log, 1, 1);
            }),
        )
        .fails("stops"),
        case(
            "stops-one-of-two-resumed",
            "Everything is stopped twice, and resumed once.",
            told(|log| {
                log.stop(StopAct::Stopped, |_| ());
                log.stop(StopAct::Stopped, |s| s.id = "2026-19".into());
                log.stop(StopAct::Resumed, |_| ());
                carried(log, 1, 0);
            }),
        )
        .fails("stops"),
        case(
            "accept-both-of-two-resumed",
            "Everything is stopped twice, and resumed twice.",
            told(|log| {
                log.stop(StopAct::Stopped, |_| ());
                log.stop(StopAct::Stopped, |s| s.id = "2026-19".into());
                log.stop(StopAct::Resumed, |_| ());
                log.stop(StopAct::Resumed, |s| s.id = "2026-19".into());
                carried(log, 1, 0);
            }),
        )
        .state("stops", State::Pass),
        case(
            "stops-repeated-outcome",
            "Everything is stopped, and a call gets an earlier outcome again.",
            told(|log| {
                carried(log, 1, 0);
                log.stop(StopAct::Stopped, |_| ());
                let again = call(2, Mode::ReadOnly);
                let mut body = log.decision_body(&again, Verdict::Allow, None);
                (body.code, body.parent) = (None, Some(read(1).id));
                let disclosures = log.opened(&again, &body);
                log.push(Body::Decision(body), Some(again.run), disclosures);
            }),
        )
        .fails("stops"),
    ]
}

fn names() -> Vec<Case> {
    vec![
        case(
            "stops-tenant",
            "A tenant is stopped, and a call of it is carried out.",
            stopped(|s| s.tenant = Some(TENANT)),
        )
        .fails("stops"),
        case(
            "accept-stopped-another-tenant",
            "Another tenant is stopped.",
            stopped(|s| s.tenant = Some(TenantId([9; 16]))),
        )
        .state("stops", State::Pass),
        case(
            "stops-capability",
            "A capability is stopped, and is called.",
            stopped(|s| s.capability = Some("crm.erase".into())),
        )
        .fails("stops"),
        case(
            "accept-stopped-another-capability",
            "Another capability is stopped.",
            stopped(|s| s.capability = Some("crm.erase_all".into())),
        )
        .state("stops", State::Pass),
        case(
            "accept-stopped-capability-of-another-tenant",
            "The capability is stopped for another tenant.",
            stopped(|s| {
                s.tenant = Some(TenantId([9; 16]));
                s.capability = Some("crm.erase".into());
            }),
        )
        .state("stops", State::Pass),
        case(
            "stops-all-names",
            "Tenant, capability and agent are named together, and all fit.",
            stopped(|s| {
                s.tenant = Some(TENANT);
                s.capability = Some("crm.erase".into());
                s.agent = Some(AGENT.into());
            }),
        )
        .fails("stops"),
    ]
}

/// A stopped agent, and a call of it, under a profile that opens the agents of some entries alone.
fn hidden(of: impl Fn(usize) -> bool) -> Vec<u8> {
    let log = log(|log| {
        log.disclosed.fields.retain(|f| *f != Field::Agent);
        log.stop(StopAct::Stopped, |s| s.agent = Some(AGENT.into()));
        carried(log, 1, 0);
    });
    let mut parts = Parts::of(&log);
    for (index, (_, disclosures)) in parts.leaves.iter_mut().enumerate() {
        disclosures.retain(|d| d.field != Field::Agent || of(index));
    }
    parts.bytes()
}

fn agents() -> Vec<Case> {
    vec![
        case(
            "stops-agent",
            "An agent is stopped, and its call is carried out.",
            stopped(|s| s.agent = Some(AGENT.into())),
        )
        .fails("stops"),
        case(
            "accept-stopped-another-agent",
            "Another agent is stopped.",
            stopped(|s| s.agent = Some("agent:acme/support@2".into())),
        )
        .state("stops", State::Pass),
        case(
            "accept-stopped-agent-of-call-hidden",
            "An agent is stopped, and who made a call is not shown.",
            hidden(|index| index == 2),
        ),
        case(
            "accept-stopped-agent-hidden",
            "Which agent is stopped is not shown.",
            hidden(|index| index != 2),
        ),
    ]
}

/// A stop that says something else than the person signed.
fn other(change: impl FnOnce(&mut Stop)) -> Vec<u8> {
    told(|log| {
        let (mut body, disclosures) = log.stop_body(StopAct::Stopped, |s| {
            s.tenant = Some(TENANT);
            s.agent = Some(AGENT.into());
        });
        change(&mut body);
        log.push(Body::Stop(body), None, disclosures);
    })
}

fn words() -> Vec<Case> {
    vec![
        case(
            "accept-stop-without-word",
            "The person's word is withheld, and a stopped call is denied.",
            {
                let log = log(|log| {
                    log.disclosed.fields.retain(|f| *f != Field::StopStatement);
                    log.stop(StopAct::Stopped, |_| ());
                    log.decide(&call(1, Mode::Network), Verdict::Deny, None);
                });
                let mut parts = Parts::of(&log);
                for (_, disclosures) in &mut parts.leaves {
                    disclosures.retain(|d| d.field != Field::StopStatement);
                }
                parts.bytes()
            },
        )
        .state("stops", State::NotChecked),
        case(
            "stops-ordered-twice",
            "A name of a stop is used twice.",
            told(|log| {
                log.stop(StopAct::Stopped, |_| ());
                log.stop(StopAct::Stopped, |_| ());
            }),
        )
        .fails("stops"),
        case(
            "stops-name-used-again",
            "A name of a stop is used again after it was resumed.",
            told(|log| {
                log.stop(StopAct::Stopped, |_| ());
                log.stop(StopAct::Resumed, |_| ());
                log.stop(StopAct::Stopped, |_| ());
            }),
        )
        .fails("stops"),
        case(
            "stops-resumed-unordered",
            "A stop is resumed that never was.",
            told(|log| {
                log.stop(StopAct::Resumed, |_| ());
            }),
        )
        .fails("stops"),
        case(
            "stops-resumed-twice",
            "A stop is resumed twice.",
            told(|log| {
                log.stop(StopAct::Stopped, |_| ());
                log.stop(StopAct::Resumed, |_| ());
                log.stop(StopAct::Resumed, |_| ());
            }),
        )
        .fails("stops"),
        case(
            "stops-resumed-otherwise",
            "A stop of one capability is resumed as one of another.",
            told(|log| {
                log.stop(StopAct::Stopped, |s| {
                    s.capability = Some("crm.erase".into())
                });
                log.stop(StopAct::Resumed, |s| s.capability = Some("crm.read".into()));
            }),
        )
        .fails("stops"),
        case(
            "stops-resumed-for-another-agent",
            "A stop of one agent is resumed as one of another.",
            told(|log| {
                log.stop(StopAct::Stopped, |s| s.agent = Some(AGENT.into()));
                log.stop(StopAct::Resumed, |s| {
                    s.agent = Some("agent:acme/support@2".into())
                });
            }),
        )
        .fails("stops"),
        case(
            "stops-of-more",
            "A stop covers more than the person signed.",
            other(|s| s.tenant = None),
        )
        .fails("stops"),
        case(
            "stops-of-every-agent",
            "A stop covers every agent, and the person named one.",
            told(|log| {
                let (mut body, mut disclosures) = log.stop_body(StopAct::Stopped, |s| {
                    s.agent = Some(AGENT.into());
                });
                body.agent = None;
                disclosures.retain(|d| d.field != Field::Agent);
                log.push(Body::Stop(body), None, disclosures);
            }),
        )
        .fails("stops"),
        case(
            "stops-of-another-agent",
            "A stop covers another agent than the person signed.",
            told(|log| {
                let (mut body, mut disclosures) = log.stop_body(StopAct::Stopped, |s| {
                    s.agent = Some(AGENT.into());
                });
                let (agent, opened) = salted(Field::Agent, b"agent:acme/support@2");
                body.agent = Some(agent);
                disclosures[0] = opened;
                log.push(Body::Stop(body), None, disclosures);
            }),
        )
        .fails("stops"),
        case(
            "stops-by-nobody",
            "A stop names a key that no person has.",
            other(|s| s.ordered_by = KeyId([1; 32])),
        )
        .fails("stops"),
        case(
            "stops-word-expired",
            "The person's word had expired for more than a minute.",
            told(|log| {
                log.stop(StopAct::Stopped, |s| {
                    s.expires = UnixMillis(s.issued.0 - 60_000)
                });
            }),
        )
        .fails("stops"),
        case(
            "stops-word-of-another-gateway",
            "The person's word is for another gateway.",
            told(|log| {
                log.stop(StopAct::Stopped, |s| s.gateway = GatewayId([3; 32]));
            }),
        )
        .fails("stops"),
    ]
}

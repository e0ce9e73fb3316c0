//! Stops: what people stopped, and whether a call was let through all the same.
//!
//! In: `stop` entries with the statements of the people who ordered them; intents and decisions with
//! the number of leaves on which they were decided. Out: observations.
//!
//! A call is judged by its basis, not by its place: one that was decided before a stop stood in the log
//! may have its intent behind it.
//!
//! Memory: the stops, and for each tenant, capability and agent that one names the stretches in force.
//!
//! Spec: `docs/spec/verification.md`, `stops`.

use super::{At, Checks, count, that};
use crate::codes::Code;
use crate::parallel::Opened;
use countersign_record::body::{Action, Decision, Intent, Stop, StopAct, Verdict};
use countersign_record::cbor::Cbor as _;
use countersign_record::commitment::Field;
use countersign_record::digest::TenantId;
use countersign_record::statement::{STOP_TYP, StopStatement};
use std::collections::{BTreeMap, HashMap};

/// Group of the people who may stop calls.
const STOP: &str = "stop";

/// A stretch of the log in which at least one of some stops was in force.
#[derive(Debug)]
struct Stretch {
    /// Leaf index of the stop that began it.
    from: u64,
    /// Leaf index at which the last of them was resumed.
    to: Option<u64>,
}

/// When stops that name the same were in force.
#[derive(Debug, Default)]
struct InForce {
    stretches: Vec<Stretch>,
    stops: u64,
}

impl InForce {
    fn begin(&mut self, index: u64) {
        if self.stops == 0 {
            self.stretches.push(Stretch {
                from: index,
                to: None,
            });
        }
        self.stops = self.stops.saturating_add(1);
    }

    fn end(&mut self, index: u64) {
        self.stops = self.stops.saturating_sub(1);
        if self.stops == 0
            && let Some(last) = self.stretches.last_mut()
        {
            last.to = Some(index);
        }
    }

    /// The stop in the first `basis` leaves that none of them ends.
    fn at(&self, basis: u64) -> Option<u64> {
        let begun = self.stretches.partition_point(|s| s.from < basis);
        let stretch = self.stretches.get(begun.checked_sub(1)?)?;
        stretch
            .to
            .is_none_or(|to| to >= basis)
            .then_some(stretch.from)
    }
}

/// Stops that name the same tenant and the same capability.
#[derive(Debug, Default)]
struct Named {
    /// Those that name no agent.
    every_agent: InForce,
    by_agent: HashMap<Vec<u8>, InForce>,
    /// Those that name an agent, whether it is opened or not.
    some_agent: InForce,
    /// Those whose agent is not opened.
    hidden_agent: InForce,
}

impl Named {
    /// Those that a stop is among.
    fn of(&mut self, names_agent: bool, agent: Option<&[u8]>) -> Vec<&mut InForce> {
        match (names_agent, agent) {
            (false, _) => vec![&mut self.every_agent],
            (true, None) => vec![&mut self.some_agent, &mut self.hidden_agent],
            (true, Some(agent)) => {
                let own = self.by_agent.entry(agent.to_vec()).or_default();
                vec![own, &mut self.some_agent]
            }
        }
    }
}

/// What a stop names of tenant and capability.
type Names = (Option<TenantId>, Option<String>);

/// A stop that was ordered.
#[derive(Debug)]
struct Ordered {
    names: Names,
    names_agent: bool,
    agent: Option<Vec<u8>>,
    resumed: bool,
}

/// Everything about stops.
#[derive(Debug, Default)]
pub(super) struct Stops {
    ordered: BTreeMap<String, Ordered>,
    named: HashMap<Names, Named>,
}

/// Whether a stop covers a call.
enum Covered {
    /// None does.
    No,
    /// The one at this index does.
    By(u64),
    /// One may: the agent of it, or of the call, is not opened.
    Perhaps,
}

impl Stops {
    /// Enters a stop. What is wrong with it has its effect all the same.
    fn apply(&mut self, stop: &Stop, agent: Option<&[u8]>, index: u64) -> Result<(), String> {
        let id = &stop.id;
        let names = (stop.tenant, stop.capability.clone());
        let names_agent = stop.agent.is_some();
        match (stop.act, self.ordered.get_mut(id)) {
            (StopAct::Stopped, Some(_)) => Err(format!("stop {id} was ordered before")),
            (StopAct::Stopped, None) => {
                let named = self.named.entry(names.clone()).or_default();
                for stops in named.of(names_agent, agent) {
                    stops.begin(index);
                }
                let ordered = Ordered {
                    names,
                    names_agent,
                    agent: agent.map(<[u8]>::to_vec),
                    resumed: false,
                };
                self.ordered.insert(id.clone(), ordered);
                Ok(())
            }
            (StopAct::Resumed, Some(ordered)) if !ordered.resumed => {
                ordered.resumed = true;
                let named = self.named.entry(ordered.names.clone()).or_default();
                for stops in named.of(ordered.names_agent, ordered.agent.as_deref()) {
                    stops.end(index);
                }
                let other_agent = matches!((&ordered.agent, agent), (Some(a), Some(b)) if a != b);
                let same =
                    ordered.names == names && ordered.names_agent == names_agent && !other_agent;
                that(same, || {
                    format!("stop {id} covered something else when it was ordered")
                })
            }
            (StopAct::Resumed, Some(_) | None) => {
                Err(format!("no stop {id} was in force to be resumed"))
            }
        }
    }

    /// Whether a stop of the basis covers a call.
    fn over(&self, tenant: TenantId, capability: &str, agents: &[Vec<u8>], basis: u64) -> Covered {
        let some = (Some(tenant), Some(capability.to_owned()));
        let names = [
            (None, None),
            (some.0, None),
            (None, some.1.clone()),
            (some.0, some.1),
        ];
        let mut perhaps = false;
        for named in names.iter().filter_map(|n| self.named.get(n)) {
            let own = agents.iter().filter_map(|a| named.by_agent.get(a));
            let found = std::iter::once(&named.every_agent)
                .chain(own)
                .find_map(|stops| stops.at(basis));
            if let Some(index) = found {
                return Covered::By(index);
            }
            let open = if agents.is_empty() {
                &named.some_agent
            } else {
                &named.hidden_agent
            };
            perhaps |= open.at(basis).is_some();
        }
        if perhaps {
            Covered::Perhaps
        } else {
            Covered::No
        }
    }
}

impl Checks<'_> {
    /// Calls are stopped or resumed.
    pub(super) fn stop(&mut self, at: At, stop: &Stop, opened: &Opened) {
        let agent = opened.agents.first().map(Vec::as_slice);
        let ordered = self.stops.apply(stop, agent, at.index);
        let statement = opened.statement.as_deref();
        let signed = statement.map(|bytes| self.stop_signed(at, stop, (agent, bytes)));
        let result = ordered.map(|()| signed).and_then(Option::transpose);
        self.ordered((Code::Stops, Field::StopStatement), at, result);
    }

    fn stop_signed(
        &self,
        at: At,
        stop: &Stop,
        (agent_opened, bytes): (Option<&[u8]>, &[u8]),
    ) -> Result<(), String> {
        let payload = self.person_of(stop.ordered_by, STOP, (bytes, STOP_TYP))?;
        let statement = StopStatement::from_bytes(&payload)
            .map_err(|e| format!("the statement is malformed: {e}"))?;
        let StopStatement {
            gateway,
            act,
            id,
            tenant,
            capability,
            agent,
            reason: _,
            signer,
            issued: _,
            expires,
            nonce: _,
        } = &statement;
        let agent_same = agent.is_some() == stop.agent.is_some()
            && agent_opened.is_none_or(|o| agent.as_ref().is_some_and(|a| a.as_bytes() == o));
        let same = Some(*gateway) == self.gateway()
            && *act == stop.act
            && *id == stop.id
            && *tenant == stop.tenant
            && *capability == stop.capability
            && agent_same
            && *signer == stop.ordered_by;
        that(same, || {
            "the person signed something else than the entry says".to_owned()
        })?;
        self.in_time(at, *expires)
    }

    /// Whether a call was sealed for carrying out although a stop covered it.
    pub(super) fn intent_not_stopped(&mut self, at: At, intent: &Intent, opened: &Opened) {
        if self.stops.ordered.is_empty() {
            return;
        }
        if let Ok(action) = Action::from_bytes(&intent.action.0) {
            self.not_stopped(at, &action.capability.id, opened, intent.basis);
        }
    }

    /// Whether a call got an outcome without being carried out, a repeated one, although a stop covered it.
    pub(super) fn outcome_not_stopped(&mut self, at: At, decision: &Decision, opened: &Opened) {
        let let_through = matches!(decision.verdict, Verdict::Allow | Verdict::Modify);
        if self.stops.ordered.is_empty() || decision.intent.is_some() || !let_through {
            return;
        }
        if let Some(capability) = &decision.capability {
            let basis = decision.basis.unwrap_or(at.index);
            self.not_stopped(at, &capability.id, opened, basis);
        }
    }

    fn not_stopped(&mut self, at: At, capability: &str, opened: &Opened, basis: u64) {
        let Some(tenant) = at.tenant else { return };
        let index = Some(at.index);
        match self.stops.over(tenant, capability, &opened.agents, basis) {
            Covered::No => self.ledger.held(Code::Stops),
            Covered::By(stop) => {
                let text = format!(
                    "the call was let through on {basis} leaves, and the stop of entry {stop} covers it"
                );
                self.ledger.fail(Code::Stops, index, text);
            }
            Covered::Perhaps => {
                let text =
                    self.undisclosed("the agent that was stopped or that calls", Field::Agent);
                self.ledger.skipped(Code::Stops, index, text);
            }
        }
    }

    /// Says which stops are in force.
    pub(super) fn stops_end(&mut self) {
        let ordered = self.stops.ordered.iter().filter(|(_, o)| !o.resumed);
        let in_force: Vec<&str> = ordered.map(|(id, _)| id.as_str()).collect();
        if let [first, more @ ..] = in_force.as_slice() {
            let others = match more.len() {
                0 => String::new(),
                n => format!(" and {} more", count(n)),
            };
            let text = format!("in force at the end: {first}{others}");
            self.ledger.note(Code::Stops, text);
        }
    }
}

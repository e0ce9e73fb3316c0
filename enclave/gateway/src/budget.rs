//! Stage 4: nobody stopped it, this is not a repetition, and there is a call left in the budgets of tenant and run.
//!
//! In: [`Surfaced`] and the control state. Out: [`Budgeted`], which has reserved its place
//! in the budget and its idempotency key; the state gives both back if the call gets no
//! intent. A repeated key leads to the first outcome, but only after today's policy and
//! approval have let the call through.

use crate::call::{Moment, Progress};
use crate::refusal::{Code, Refusal, Refused, Retry};
use crate::state::spending::Spent;
use crate::state::stops::Called;
use crate::state::{Earlier, MatchKey, State, idempotency_slot};
use crate::surface::{ANSWERS, Surfaced};
use countersign_policies::decision::BudgetFact;
use countersign_policies::site::capability::{Capability, Idempotency};
use countersign_policies::site::people::RunBudget;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// A call within its budget.
#[derive(Debug)]
pub struct Budgeted {
    pub(crate) surfaced: Surfaced,
    pub(crate) budget: BudgetFact,
    pub(crate) request: MatchKey,
    pub(crate) earlier: Option<u64>,
}

impl Budgeted {
    /// What is called.
    #[must_use]
    pub fn capability(&self) -> &Capability {
        &self.surfaced.capability
    }
}

/// A call that repeats a settled one.
#[derive(Debug)]
#[must_use = "a repeated call has to be recorded"]
pub struct Repeated {
    pub(crate) progress: Box<Progress>,
    pub(crate) first: u64,
    pub(crate) capability: Arc<Capability>,
    pub(crate) redact: BTreeSet<String>,
}

impl Repeated {
    /// Leaf index of the first call's Decision Record.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.first
    }

    /// What is called.
    #[must_use]
    pub fn capability(&self) -> &Capability {
        &self.capability
    }

    /// The first outcome is there no more.
    #[must_use]
    pub fn lost(self) -> Box<Refused> {
        let refusal = Refusal::never(Code::IdempotencyOutcomeUnknown);
        Box::new(Refused {
            progress: *self.progress,
            refusal,
        })
    }
}

/// Stage 4.
///
/// # Errors
/// A refusal, if the budget is used up or the idempotency key cannot be used.
pub fn budget(
    mut surfaced: Surfaced,
    state: &mut State,
    now: Moment,
) -> Result<Budgeted, Box<Refused>> {
    // From here on the verdict depends on this state, at this time.
    surfaced.progress.basis = Some(state.basis());
    surfaced.progress.decided_at = Some(now.at);
    let who = &surfaced.who;
    let capability = &surfaced.capability;
    let request = MatchKey::new(
        who.tenant,
        &who.party(),
        &capability.id,
        &surfaced.arguments,
    );
    let slot = surfaced
        .progress
        .idempotency
        .as_ref()
        .map(|key| idempotency_slot(who.tenant, &who.party(), &capability.id, key.as_bytes()));
    let checked = not_stopped(&surfaced, state)
        .and_then(|()| repetition(&surfaced, state, slot.as_ref(), &request))
        .and_then(|earlier| Ok((earlier, within_budget(&surfaced, state, earlier, now)?)))
        .and_then(|checked| within_run(&surfaced, state, checked.0, now).map(|()| checked));
    let (earlier, budget) = match checked {
        Ok(checked) => checked,
        Err(refusal) => {
            return Err(Box::new(Refused {
                progress: surfaced.progress,
                refusal,
            }));
        }
    };
    let call = surfaced.progress.call;
    if earlier.is_none() {
        state.reserve_call(who.tenant, &capability.id, call);
        if let Some(run) = surfaced.progress.run {
            state.reserve_run(run, surfaced.progress.tokens.unwrap_or(0), call);
        }
        if let Some(slot) = slot {
            state.reserve_key(slot, call, request);
        }
    }
    Ok(Budgeted {
        surfaced,
        budget,
        request,
        earlier,
    })
}

/// Nobody stopped calls like this one. Asked of the state that decides the rest, and before all of it: what was stopped
/// gets no earlier outcome either, and nobody is asked to approve it.
fn not_stopped(surfaced: &Surfaced, state: &State) -> Result<(), Refusal> {
    let called = Called {
        tenant: surfaced.who.tenant,
        capability: &surfaced.capability.id,
        agent: &surfaced.who.agent,
    };
    match state.stops().over(called) {
        None => Ok(()),
        Some(id) => Err(Refusal::never(Code::Stopped).by_order(format!("stop:{id}"))),
    }
}

/// The record of the first call with this key, if there is one and it is of the same request.
fn repetition(
    surfaced: &Surfaced,
    state: &State,
    slot: Option<&[u8; 32]>,
    request: &MatchKey,
) -> Result<Option<u64>, Refusal> {
    if surfaced.answers.is_some() && slot.is_some() {
        // A key stands for the arguments; other answers beside them would be another request.
        return Err(Refusal::new(
            Code::InvalidArguments,
            Retry::WithChanges(ANSWERS.to_owned()),
        )
        .by_rule("idempotency:answers".to_owned()));
    }
    let Some(slot) = slot else {
        return match surfaced.capability.idempotency {
            Idempotency::Required => Err(Refusal::never(Code::IdempotencyKeyRequired)),
            Idempotency::Optional | Idempotency::NotNeeded => Ok(None),
        };
    };
    match state.earlier(slot, request) {
        None => Ok(None),
        Some((_, false)) => Err(Refusal::never(Code::IdempotencyConflict)),
        Some((Earlier::Settled(index), true)) => Ok(Some(index)),
        Some((Earlier::Withheld(code), true)) => Err(Refusal::never(code)),
        Some((Earlier::Running, true)) => {
            Err(Refusal::new(Code::IdempotencyInProgress, Retry::After(1)))
        }
        Some((Earlier::Unknown, true)) => Err(Refusal::never(Code::IdempotencyOutcomeUnknown)),
    }
}

fn within_budget(
    surfaced: &Surfaced,
    state: &State,
    earlier: Option<u64>,
    now: Moment,
) -> Result<BudgetFact, Refusal> {
    let Some(limit) = &surfaced.capability.num_calls else {
        return Ok(BudgetFact {
            calls: 0,
            limit: None,
        });
    };
    let window = u64::try_from(limit.window.as_millis()).unwrap_or(u64::MAX);
    let (calls, free_at) =
        state.calls_within(surfaced.who.tenant, &surfaced.capability.id, window, now.at);
    if calls >= limit.calls && earlier.is_none() {
        let wait = free_at.map_or(window, |t| t.0.saturating_sub(now.at.0));
        return Err(Refusal::new(
            Code::RateExceeded,
            Retry::After(wait.div_ceil(1000).max(1)),
        ));
    }
    Ok(BudgetFact {
        calls,
        // A repetition carries nothing out, so no limit applies to it.
        limit: earlier.is_none().then_some(limit.calls),
    })
}

/// What the call's run may spend. A repetition carries nothing out, so nothing is asked of it.
fn within_run(
    surfaced: &Surfaced,
    state: &State,
    earlier: Option<u64>,
    now: Moment,
) -> Result<(), Refusal> {
    let RunBudget {
        max_tool_calls,
        wall_clock,
        total_tokens,
    } = surfaced.run_budget;
    if surfaced.run_budget == RunBudget::default() || earlier.is_some() {
        return Ok(());
    }
    let spent =
        |what: &str| Refusal::never(Code::RunBudgetExceeded).by_rule(format!("run_budget:{what}"));
    // A call without a run could not be counted.
    let run = surfaced.progress.run.ok_or_else(|| spent("run"))?;
    let Spent {
        calls,
        tokens,
        since,
    } = state.run_spent(run);
    if max_tool_calls.is_some_and(|most| calls >= most) {
        return Err(spent("max_tool_calls"));
    }
    let elapsed = since.map_or(0, |since| now.at.0.saturating_sub(since.0));
    let most = |limit: Duration| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
    if wall_clock.is_some_and(|limit| elapsed > most(limit)) {
        return Err(spent("wall_clock_ms"));
    }
    let declared = tokens.saturating_add(surfaced.progress.tokens.unwrap_or(0));
    if total_tokens.is_some_and(|most| declared > most) {
        return Err(spent("total_tokens"));
    }
    Ok(())
}

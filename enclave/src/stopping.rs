//! Calls under way, as far as a person's stop has to reach them.
//!
//! In: each call, from before it is admitted until it is answered. Out: a [`Token`] that turns when a
//! stop covers it. A call that is not here yet when a stop begins is refused when it asks for admission;
//! one that is here is told.

use countersign_gateway::state::stops::{Called, Covers};
use countersign_record::digest::TenantId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// A call, by what a stop may name.
#[derive(Debug)]
struct Call {
    tenant: TenantId,
    capability: String,
    agent: String,
    stopped: watch::Sender<bool>,
}

/// Calls under way.
#[derive(Debug, Default)]
struct Calls {
    next: u64,
    by_number: HashMap<u64, Call>,
}

/// Calls under way that a stop can reach.
#[derive(Debug, Default)]
pub struct Stoppable(Mutex<Calls>);

/// A call that a stop can reach, until this goes.
#[derive(Debug)]
pub struct Token {
    all: Arc<Stoppable>,
    number: u64,
}

impl Drop for Token {
    fn drop(&mut self) {
        self.all.locked().by_number.remove(&self.number);
    }
}

impl Stoppable {
    /// Takes note of a call. The receiver turns true when a stop covers it.
    pub fn begin(self: &Arc<Self>, call: Called<'_>) -> (Token, watch::Receiver<bool>) {
        let (stopped, receiver) = watch::channel(false);
        let mut calls = self.locked();
        let number = calls.next;
        calls.next = number.wrapping_add(1);
        let call = Call {
            tenant: call.tenant,
            capability: call.capability.to_owned(),
            agent: call.agent.to_owned(),
            stopped,
        };
        calls.by_number.insert(number, call);
        drop(calls);
        let all = Arc::clone(self);
        (Token { all, number }, receiver)
    }

    /// Tells every call that a stop covers; how many there were.
    pub fn stop(&self, covers: &Covers) -> usize {
        let calls = self.locked();
        let covered = calls.by_number.values().filter(|call| {
            covers.has(Called {
                tenant: call.tenant,
                capability: &call.capability,
                agent: &call.agent,
            })
        });
        let mut told = 0usize;
        for call in covered {
            call.stopped.send_replace(true);
            told = told.saturating_add(1);
        }
        told
    }

    fn locked(&self) -> MutexGuard<'_, Calls> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TENANT: TenantId = TenantId([1; 16]);

    fn called<'a>(capability: &'a str, agent: &'a str) -> Called<'a> {
        Called {
            tenant: TENANT,
            capability,
            agent,
        }
    }

    #[test]
    fn a_stop_reaches_the_calls_that_it_covers_and_no_others() {
        let all = Arc::new(Stoppable::default());
        let (_a, own) = all.begin(called("crm.erase", "agent:a/a@1"));
        let (_b, other) = all.begin(called("crm.read", "agent:a/a@1"));
        let (_c, another) = all.begin(called("crm.erase", "agent:a/b@1"));
        let covers = Covers {
            tenant: Some(TENANT),
            capability: Some("crm.erase".to_owned()),
            agent: Some("agent:a/a@1".to_owned()),
        };
        assert_eq!(all.stop(&covers), 1);
        assert!(*own.borrow() && !*other.borrow() && !*another.borrow());
        assert_eq!(all.stop(&Covers::default()), 3);
        assert!(*other.borrow() && *another.borrow());
    }

    #[test]
    fn a_call_that_is_over_is_not_kept() {
        let all = Arc::new(Stoppable::default());
        let (token, _gone) = all.begin(called("crm.erase", "agent:a/a@1"));
        drop(token);
        assert_eq!(all.stop(&Covers::default()), 0);
    }
}

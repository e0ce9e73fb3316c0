//! Calls that pause: their clients were asked something in the place of an answer, and send them again with theirs.
//!
//! In: a call under way, whose upstream asks while it runs. Out: a state, by which the client's next message finds the call
//! again. That message has to be the same request, of the same principal, at the same door; it is given the call and the
//! state opens nothing more. Nothing is decided here: the call is one, and so is its record.
//!
//! In memory, and bounded in number and time. A restart forgets them; their calls are then settled as any that was open.
//!
//! SPEC: 2026-07-28, "Multi Round-Trip Requests".

use super::Question;
use super::running::Token;
use super::tasks::Owner;
use bytes::Bytes;
use countersign_gateway::mcp::PAUSE_STATE;
use countersign_policies::site::method::Method;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinHandle};

/// Most calls that pause. Each has at most one answer of 4 MiB, once it is over.
const MAX_PAUSES: usize = 256;
/// Most of one principal.
const MAX_OF_ONE: usize = 16;
/// How long one can be found again. Its call is over by then: none takes longer than a minute.
const KEPT: Duration = Duration::from_secs(120);
/// Most questions of one call that wait.
pub const MAX_QUESTIONS: usize = 64;

/// All calls that pause; `R` is what they come to.
#[derive(Debug)]
pub struct Pauses<R> {
    by_state: Mutex<HashMap<String, Kept<R>>>,
    kept_for: Duration,
}

#[derive(Debug)]
struct Kept<R> {
    pause: Pause<R>,
    /// Forgets it. Ends with it, so that nobody has more of these than calls that pause, however often they come back.
    timer: AbortHandle,
}

/// A call that pauses.
#[derive(Debug)]
pub struct Pause<R> {
    /// Whose it is.
    pub owner: Owner,
    /// What was asked.
    pub wanted: Wanted,
    /// The call.
    pub call: JoinHandle<R>,
    /// Where its further questions come in.
    pub asked: mpsc::Receiver<Question>,
    /// Questions that the client has and has not answered, by name.
    pub open: BTreeMap<String, Bytes>,
    /// By what the client can take it back.
    pub token: Option<Token>,
}

/// What a request asks for, as far as it has to be the same when it comes again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The method.
    pub method: Method,
    /// The name that the client calls.
    pub name: String,
    /// The arguments, byte for byte.
    pub arguments: Bytes,
}

impl<R> Default for Pauses<R> {
    fn default() -> Self {
        Self {
            by_state: Mutex::default(),
            kept_for: KEPT,
        }
    }
}

impl<R: Send + 'static> Pauses<R> {
    /// Keeps a call, and says by which state it is found. `None` if too many pause, or there is no randomness: nobody
    /// could answer the call, so it is taken back.
    pub fn keep(self: &Arc<Self>, pause: Pause<R>) -> Option<String> {
        let bytes = crate::keys::random::<16>().ok();
        let mut pauses = self.locked();
        let of = &pause.owner.of;
        let theirs = pauses.values().filter(|k| k.pause.owner.of == *of).count();
        let fits = pauses.len() < MAX_PAUSES && theirs < MAX_OF_ONE;
        let Some(bytes) = bytes.filter(|_| fits) else {
            drop(pauses);
            if let Some(token) = &pause.token {
                token.take_back();
            }
            return None;
        };
        let state = format!("{PAUSE_STATE}{}", hex::encode(*bytes));
        let timer = self.timer(state.clone());
        pauses.insert(state.clone(), Kept { pause, timer });
        Some(state)
    }

    /// The call of this state, if it is theirs and the request is the same. Of two who ask at once, one gets it.
    pub fn take(&self, state: &str, owner: &Owner, wanted: &Wanted) -> Option<Pause<R>> {
        let mut pauses = self.locked();
        let found = &pauses.get(state)?.pause;
        let same = found.owner == *owner && found.wanted == *wanted;
        let kept = same.then(|| pauses.remove(state)).flatten()?;
        kept.timer.abort();
        Some(kept.pause)
    }

    fn timer(self: &Arc<Self>, state: String) -> AbortHandle {
        let pauses = Arc::clone(self);
        let forgets = async move {
            tokio::time::sleep(pauses.kept_for).await;
            pauses.forget(&state);
        };
        tokio::spawn(forgets).abort_handle()
    }

    /// Its time is over.
    fn forget(&self, state: &str) {
        let forgotten = self.locked().remove(state);
        // What it still knows goes without the lock.
        drop(forgotten);
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<String, Kept<R>>> {
        self.by_state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::talk::Principal;
    use crate::talk::running::Running;
    use countersign_record::digest::TenantId;

    fn owner(agent: &str, place: &str) -> Owner {
        Owner {
            of: Principal {
                tenant: TenantId([1; 16]),
                agent: agent.to_owned(),
                user: None,
            },
            place: Some(place.to_owned()),
        }
    }

    fn wanted(arguments: &'static str) -> Wanted {
        Wanted {
            method: Method::CallTool,
            name: "ask".to_owned(),
            arguments: Bytes::from_static(arguments.as_bytes()),
        }
    }

    fn pause(agent: &str) -> Pause<()> {
        Pause {
            owner: owner(agent, "notes"),
            wanted: wanted("{}"),
            call: tokio::spawn(async {}),
            asked: mpsc::channel(1).1,
            open: BTreeMap::new(),
            token: None,
        }
    }

    #[tokio::test]
    async fn a_call_that_pauses_is_found_once_by_the_same_request_of_its_own_client() {
        let pauses = Arc::new(Pauses::default());
        let state = pauses.keep(pause("a")).unwrap();
        assert_ne!(state, pauses.keep(pause("a")).unwrap());
        for (of, wants) in [
            (owner("b", "notes"), wanted("{}")),
            (owner("a", "other"), wanted("{}")),
            (owner("a", "notes"), wanted("{ }")),
            (
                owner("a", "notes"),
                Wanted {
                    name: "other".to_owned(),
                    ..wanted("{}")
                },
            ),
            (
                owner("a", "notes"),
                Wanted {
                    method: Method::GetPrompt,
                    ..wanted("{}")
                },
            ),
        ] {
            assert!(pauses.take(&state, &of, &wants).is_none());
        }
        let take = || pauses.take(&state, &owner("a", "notes"), &wanted("{}"));
        assert!(take().is_some());
        assert!(take().is_none());
    }

    #[tokio::test]
    async fn calls_that_pause_are_bounded_for_each_and_for_all() {
        let pauses = Arc::new(Pauses::default());
        let states: Vec<_> = (0..16).map(|_| pauses.keep(pause("a")).unwrap()).collect();
        // What nobody could answer does not go on.
        let running = std::sync::Arc::new(Running::default());
        let of = owner("a", "notes").of;
        let (token, gone) = running.begin(of, None, "1".to_owned());
        let one_more = Pause {
            token: Some(token),
            ..pause("a")
        };
        assert!(pauses.keep(one_more).is_none());
        assert!(*gone.borrow());
        assert!(pauses.keep(pause("b")).is_some());
        pauses.forget(&states[0]);
        assert!(pauses.keep(pause("a")).is_some());
        let many = (0..).take_while(|n| pauses.keep(pause(&format!("{n}"))).is_some());
        assert_eq!(many.count(), 256 - 17);
    }

    #[tokio::test]
    async fn a_call_that_nobody_comes_back_for_is_forgotten_and_makes_room() {
        let pauses = Arc::new(Pauses {
            kept_for: Duration::from_millis(1),
            ..Pauses::default()
        });
        let states: Vec<_> = (0..16).map(|_| pauses.keep(pause("a")).unwrap()).collect();
        let forgotten = async {
            while !pauses.locked().is_empty() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let limit = Duration::from_secs(60);
        tokio::time::timeout(limit, forgotten).await.unwrap();
        for state in states {
            let found = pauses.take(&state, &owner("a", "notes"), &wanted("{}"));
            assert!(found.is_none());
        }
        assert!(pauses.keep(pause("a")).is_some());
    }

    #[tokio::test]
    async fn who_comes_back_again_and_again_leaves_nothing_behind() {
        let pauses = Arc::new(Pauses::default());
        for _ in 0..1000 {
            let state = pauses.keep(pause("a")).unwrap();
            let taken = pauses.take(&state, &owner("a", "notes"), &wanted("{}"));
            taken.unwrap().call.await.unwrap();
        }
        tokio::task::yield_now().await;
        let alive = tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks();
        assert!(alive < 10, "{alive}");
    }
}

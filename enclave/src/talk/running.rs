//! Calls that a client can take back while they run.
//!
//! In: a call's client, its session and the identifier of its request. Out: a [`Token`] that
//! names the call until it is over. A client takes back its own calls only.

use super::Principal;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Which call: whose, in which session, and the request's identifier as JSON text.
type Key = (Principal, Option<String>, String);

/// Calls under way, by what their clients know of them.
#[derive(Debug, Default)]
pub struct Running(Mutex<HashMap<Key, Arc<watch::Sender<bool>>>>);

/// A call that can be taken back; it no longer can when this goes.
#[derive(Debug)]
pub struct Token {
    running: Arc<Running>,
    key: Key,
    this: Arc<watch::Sender<bool>>,
}

impl Drop for Token {
    fn drop(&mut self) {
        let mut running = self.running.locked();
        // A later call may have the same name by now.
        if running
            .get(&self.key)
            .is_some_and(|a| Arc::ptr_eq(a, &self.this))
        {
            running.remove(&self.key);
        }
    }
}

impl Running {
    /// Takes note of a call. Of two with one name, the later can be taken back.
    pub fn begin(
        self: &Arc<Self>,
        of: Principal,
        session: Option<String>,
        id: String,
    ) -> (Token, watch::Receiver<bool>) {
        let (take_back, gone) = watch::channel(false);
        let key = (of, session, id);
        let this = Arc::new(take_back);
        self.locked().insert(key.clone(), Arc::clone(&this));
        let running = Arc::clone(self);
        (Token { running, key, this }, gone)
    }

    /// The client waits no longer for this call.
    pub fn take_back(&self, of: Principal, session: Option<String>, id: String) {
        if let Some(take_back) = self.locked().get(&(of, session, id)) {
            // It may be over at this moment.
            take_back.send_replace(true);
        }
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<Key, Arc<watch::Sender<bool>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Token {
    /// The client of this very call went away.
    pub fn take_back(&self) {
        self.this.send_replace(true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_record::digest::TenantId;

    #[test]
    fn a_client_takes_back_its_own_call_only() {
        let of = |agent: &str| Principal {
            tenant: TenantId([1; 16]),
            agent: agent.to_owned(),
            user: None,
        };
        let running = Arc::new(Running::default());
        let (token, gone) = running.begin(of("a"), Some("s".into()), "1".into());
        running.take_back(of("b"), Some("s".into()), "1".into());
        running.take_back(of("a"), None, "1".into());
        running.take_back(of("a"), Some("s".into()), "2".into());
        assert!(!*gone.borrow());
        running.take_back(of("a"), Some("s".into()), "1".into());
        assert!(*gone.borrow());
        drop(token);
        assert!(running.locked().is_empty());
    }

    #[test]
    fn of_two_calls_with_one_name_each_is_itself() {
        let of = Principal {
            tenant: TenantId([1; 16]),
            agent: "a".to_owned(),
            user: None,
        };
        let running = Arc::new(Running::default());
        let (first, first_gone) = running.begin(of.clone(), None, "1".into());
        let (second, second_gone) = running.begin(of.clone(), None, "1".into());
        first.take_back();
        assert!(*first_gone.borrow() && !*second_gone.borrow());
        drop(first);
        running.take_back(of, None, "1".into());
        assert!(*second_gone.borrow());
        drop(second);
        assert!(running.locked().is_empty());
    }
}

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
pub struct Running(Mutex<HashMap<Key, watch::Sender<bool>>>);

/// A call that can be taken back; it no longer can when this goes.
#[derive(Debug)]
pub struct Token {
    running: Arc<Running>,
    key: Key,
}

impl Drop for Token {
    fn drop(&mut self) {
        self.running.locked().remove(&self.key);
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
        self.locked().insert(key.clone(), take_back);
        let running = Arc::clone(self);
        (Token { running, key }, gone)
    }

    /// The client waits no longer for this call.
    pub fn take_back(&self, of: Principal, session: Option<String>, id: String) {
        if let Some(take_back) = self.locked().get(&(of, session, id)) {
            // It may be over at this moment.
            take_back.send_replace(true);
        }
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<Key, watch::Sender<bool>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Token {
    /// The client went away.
    pub fn take_back(&self) {
        let (of, session, id) = self.key.clone();
        self.running.take_back(of, session, id);
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
}

//! The handles to one upstream: one for each principal, so that nothing of one reaches another.
//!
//! In: whose call it is, and what its client can do. Out: a handle to a server that only this
//! principal's calls reach: a process or a session of its own. The first principal takes the handle
//! that listings are read by, unless its client can be asked something; so a site with one agent has one
//! server. An adapter that its owners call `shared` has one for all.

use crate::talk::Principal;
use countersign_adapters::{Upstream, UpstreamSettings};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Most handles of one adapter: each may be a process.
pub const MAX_HANDLES: usize = 128;

/// A handle that was not used for this long is closed.
const IDLE: Duration = Duration::from_secs(10 * 60);

/// Who shares a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// Nobody.
    Nobody,
    /// Everybody: the server keeps nothing between calls, or nothing that is anybody's.
    Everybody,
}

/// Nothing that a server could ask a client.
pub const NOTHING: &str = "{}";

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    of: Principal,
    declared: String,
}

#[derive(Debug)]
struct Held {
    upstream: Upstream,
    used: Instant,
}

/// The handles of one adapter.
#[derive(Debug)]
pub struct Pool {
    settings: UpstreamSettings,
    sharing: Sharing,
    base: Upstream,
    held: Mutex<Handles>,
}

#[derive(Debug, Default)]
struct Handles {
    base_of: Option<Principal>,
    own: HashMap<Key, Held>,
}

/// A handle for a call.
#[derive(Debug)]
pub struct Handle {
    /// The handle.
    pub upstream: Upstream,
    /// Whether it was made for this call.
    pub fresh: Fresh,
}

/// Whether somebody has to begin to listen to a handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fresh {
    /// It is new.
    Yes,
    /// It was there.
    No,
}

impl Pool {
    /// Nothing is started yet.
    #[must_use]
    pub fn new(settings: UpstreamSettings, sharing: Sharing) -> Self {
        Self {
            base: Upstream::new(settings.clone()),
            settings,
            sharing,
            held: Mutex::default(),
        }
    }

    /// The handle that listings are read by.
    #[must_use]
    pub fn base(&self) -> &Upstream {
        &self.base
    }

    /// Whose handle that is, if it is anybody's.
    #[must_use]
    pub fn base_of(&self) -> Option<Principal> {
        self.handles().base_of.clone()
    }

    /// The handle for a principal's call; `None` if there are too many.
    pub fn of(&self, of: &Principal, declared: &str) -> Option<Handle> {
        let there = |upstream: &Upstream, fresh| {
            Some(Handle {
                upstream: upstream.clone(),
                fresh,
            })
        };
        if self.sharing == Sharing::Everybody {
            return there(&self.base, Fresh::No);
        }
        let mut handles = self.handles();
        if declared == NOTHING {
            let first = handles.base_of.get_or_insert_with(|| of.clone());
            if first == of {
                return there(&self.base, Fresh::No);
            }
        }
        let key = Key {
            of: of.clone(),
            declared: declared.to_owned(),
        };
        let now = Instant::now();
        if let Some(held) = handles.own.get_mut(&key) {
            held.used = now;
            return there(&held.upstream, Fresh::No);
        }
        if handles.own.len() >= MAX_HANDLES {
            return None;
        }
        let upstream = Upstream::new(UpstreamSettings {
            declared: declared.to_owned(),
            ..self.settings.clone()
        });
        let handle = there(&upstream, Fresh::Yes);
        handles.own.insert(
            key,
            Held {
                upstream,
                used: now,
            },
        );
        handle
    }

    /// Takes out handles that nobody uses, for their servers to be ended.
    pub fn idle(&self) -> Vec<Upstream> {
        let now = Instant::now();
        let mut idle = Vec::new();
        self.handles().own.retain(|_, held| {
            // The longest call is shorter, so that none is under way.
            let keep = now.saturating_duration_since(held.used) < IDLE;
            if !keep {
                idle.push(held.upstream.clone());
            }
            keep
        });
        idle
    }

    /// All handles.
    #[must_use]
    pub fn all(&self) -> Vec<Upstream> {
        let handles = self.handles();
        let own = handles.own.values().map(|held| held.upstream.clone());
        std::iter::once(self.base.clone()).chain(own).collect()
    }

    fn handles(&self) -> MutexGuard<'_, Handles> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_adapters::{Bounds, EraChoice, HttpSettings, Transport};
    use countersign_record::digest::TenantId;

    fn of(tenant: u8, agent: &str) -> Principal {
        Principal {
            tenant: TenantId([tenant; 16]),
            agent: agent.to_owned(),
            user: None,
        }
    }

    fn pool(sharing: Sharing) -> Pool {
        let endpoint = HttpSettings::parse("http://127.0.0.1:9/mcp").unwrap();
        let settings = UpstreamSettings {
            transport: Transport::Http(endpoint),
            era: EraChoice::Detect,
            declared: NOTHING.to_owned(),
            bounds: Bounds::STANDARD,
        };
        Pool::new(settings, sharing)
    }

    #[test]
    fn each_principal_has_a_handle_of_its_own() {
        let pool = pool(Sharing::Nobody);
        let fresh = |tenant, agent, declared| pool.of(&of(tenant, agent), declared).unwrap().fresh;
        assert_eq!(fresh(1, "a", NOTHING), Fresh::No);
        assert_eq!(fresh(1, "b", NOTHING), Fresh::Yes);
        assert_eq!(fresh(2, "a", NOTHING), Fresh::Yes);
        assert_eq!(fresh(1, "b", NOTHING), Fresh::No);
        // A server is told once what its client can do.
        assert_eq!(fresh(1, "a", r#"{"roots":{}}"#), Fresh::Yes);
        let with_user = Principal {
            user: Some("u".into()),
            ..of(1, "a")
        };
        assert_eq!(pool.of(&with_user, NOTHING).unwrap().fresh, Fresh::Yes);
        assert_eq!(pool.all().len(), 5);
    }

    #[test]
    fn handles_are_bounded() {
        let pool = pool(Sharing::Nobody);
        pool.of(&of(1, "first"), NOTHING).unwrap();
        for n in 0..MAX_HANDLES {
            assert!(pool.of(&of(1, &n.to_string()), NOTHING).is_some());
        }
        assert!(pool.of(&of(1, "one more"), NOTHING).is_none());
        assert!(pool.of(&of(1, "first"), NOTHING).is_some());
    }

    #[test]
    fn a_shared_server_is_one_for_all() {
        let pool = pool(Sharing::Everybody);
        for agent in ["a", "b"] {
            assert_eq!(pool.of(&of(1, agent), "{}").unwrap().fresh, Fresh::No);
        }
        assert_eq!(pool.all().len(), 1);
    }
}

//! Sessions of clients that open one with `initialize`.
//!
//! In: what a client declares. Out: a session of its principal, which nobody else can use, with
//! what it wants to hear of. Bounded: the oldest idle session of whoever has too many goes first.
//! After a restart sessions are gone; clients are told so and open new ones.
//!
//! SPEC: Model Context Protocol 2025-11-25, Streamable HTTP, "Session Management".

use super::{Principal, Subscriptions};
use bytes::Bytes;
use countersign_adapters::Event;
use countersign_gateway::mcp::Declared;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Most sessions.
const MAX_SESSIONS: usize = 65_536;

/// Most sessions of one principal.
const MAX_OF_ONE: usize = 16_384;

/// Most resources that a session hears of.
const MAX_SUBSCRIPTIONS: usize = 256;

/// A session that was not used for this long is gone.
const IDLE: Duration = Duration::from_secs(24 * 60 * 60);

/// How many notices may wait for a client that reads slowly.
const NOTICES: usize = 64;

/// All sessions.
#[derive(Debug, Default)]
pub struct Sessions(Mutex<HashMap<String, Session>>);

#[derive(Debug)]
struct Session {
    of: Principal,
    place: Option<String>,
    declared: Arc<Declared>,
    used: Instant,
    notices: Option<mpsc::Sender<Bytes>>,
    subscriptions: Subscriptions,
}

/// What a session is asked for does not exist, or is another's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoSession;

impl Sessions {
    /// Opens a session at an adapter, or at all of them; `None` if there are too many.
    pub fn open(&self, of: Principal, place: Option<String>, declared: Declared) -> Option<String> {
        let id = hex::encode(*crate::keys::random::<16>().ok()?);
        let mut sessions = self.locked();
        let theirs = sessions.values().filter(|s| s.of == of).count();
        if theirs >= MAX_OF_ONE || sessions.len() >= MAX_SESSIONS {
            let oldest = sessions
                .iter()
                .filter(|(_, s)| s.of == of)
                .min_by_key(|(_, s)| s.used)
                .map(|(id, _)| id.clone())?;
            sessions.remove(&oldest);
        }
        let session = Session {
            of,
            place,
            declared: Arc::new(declared),
            used: Instant::now(),
            notices: None,
            subscriptions: Subscriptions::new(),
        };
        sessions.insert(id.clone(), session);
        Some(id)
    }

    /// What the client of a session can do.
    ///
    /// # Errors
    /// [`NoSession`].
    pub fn of(
        &self,
        id: &str,
        of: &Principal,
        place: Option<&str>,
    ) -> Result<Arc<Declared>, NoSession> {
        let mut sessions = self.locked();
        let session = find(&mut sessions, id, of, place)?;
        session.used = Instant::now();
        Ok(Arc::clone(&session.declared))
    }

    /// The way by which a session hears of changes; a later one takes the place of an earlier.
    ///
    /// # Errors
    /// [`NoSession`].
    pub fn listen(
        &self,
        id: &str,
        of: &Principal,
        place: Option<&str>,
    ) -> Result<mpsc::Receiver<Bytes>, NoSession> {
        let (notices, listened) = mpsc::channel(NOTICES);
        let mut sessions = self.locked();
        let session = find(&mut sessions, id, of, place)?;
        session.used = Instant::now();
        session.notices = Some(notices);
        Ok(listened)
    }

    /// A session wants to hear of a resource, or no longer.
    pub fn subscribe(&self, id: &str, of: &Principal, uri: &str, subscribed: Subscribed) {
        let mut sessions = self.locked();
        let Some(session) = sessions.get_mut(id).filter(|s| s.of == *of) else {
            return;
        };
        match subscribed {
            Subscribed::Yes if session.subscriptions.len() < MAX_SUBSCRIPTIONS => {
                session.subscriptions.insert(uri.to_owned());
            }
            Subscribed::Yes => {}
            Subscribed::No => {
                session.subscriptions.remove(uri);
            }
        }
    }

    /// Ends a session.
    ///
    /// # Errors
    /// [`NoSession`].
    pub fn close(&self, id: &str, of: &Principal, place: Option<&str>) -> Result<(), NoSession> {
        let mut sessions = self.locked();
        find(&mut sessions, id, of, place)?;
        sessions.remove(id);
        Ok(())
    }

    /// Tells the sessions of a principal, or of all, what changed at an adapter.
    pub fn tell(&self, adapter: &str, of: Option<&Principal>, event: &Event) {
        let sessions = self.locked();
        for session in sessions.values() {
            let at = session
                .place
                .as_deref()
                .is_none_or(|place| place == adapter);
            if !at || of.is_some_and(|of| *of != session.of) {
                continue;
            }
            if let (Some(notices), Some(notice)) = (&session.notices, notice(session, event)) {
                // Who reads too slowly misses notices; each says only that something changed.
                drop(notices.try_send(notice));
            }
        }
    }

    /// Forgets sessions that nobody uses.
    pub fn sweep(&self) {
        let now = Instant::now();
        self.locked().retain(|_, session| {
            let listens = session.notices.as_ref().is_some_and(|n| !n.is_closed());
            listens || now.saturating_duration_since(session.used) < IDLE
        });
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<String, Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a session wants to hear of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subscribed {
    /// It does.
    Yes,
    /// No longer.
    No,
}

fn find<'s>(
    sessions: &'s mut HashMap<String, Session>,
    id: &str,
    of: &Principal,
    place: Option<&str>,
) -> Result<&'s mut Session, NoSession> {
    sessions
        .get_mut(id)
        .filter(|s| s.of == *of && s.place.as_deref() == place)
        .ok_or(NoSession)
}

fn notice(session: &Session, event: &Event) -> Option<Bytes> {
    let changed = |what| {
        let method = format!("notifications/{what}/list_changed");
        Some(super::notification(&method, b"{}"))
    };
    match event {
        Event::ToolsChanged => changed("tools"),
        Event::PromptsChanged => changed("prompts"),
        Event::ResourcesChanged => changed("resources"),
        Event::ResourceUpdated(uri) => session.subscriptions.contains(uri).then(|| {
            let params = serde_json::json!({ "uri": uri }).to_string();
            super::notification("notifications/resources/updated", params.as_bytes())
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_record::digest::TenantId;

    fn of(agent: &str) -> Principal {
        Principal {
            tenant: TenantId([1; 16]),
            agent: agent.to_owned(),
            user: None,
        }
    }

    #[test]
    fn a_session_is_its_principals_and_its_adapters() {
        let sessions = Sessions::default();
        let place = Some("notes");
        let id = sessions
            .open(of("a"), place.map(str::to_owned), Declared::default())
            .unwrap();
        assert!(sessions.of(&id, &of("a"), place).is_ok());
        for (who, at) in [("b", place), ("a", None), ("a", Some("other"))] {
            assert_eq!(sessions.of(&id, &of(who), at), Err(NoSession));
            assert!(sessions.listen(&id, &of(who), at).is_err());
            assert_eq!(sessions.close(&id, &of(who), at), Err(NoSession));
        }
        sessions.close(&id, &of("a"), place).unwrap();
        assert_eq!(sessions.of(&id, &of("a"), place), Err(NoSession));
    }

    #[test]
    fn a_changed_resource_is_told_to_who_asked_and_to_nobody_else() {
        let sessions = Sessions::default();
        let open = |agent: &str| {
            let id = sessions
                .open(of(agent), Some("notes".into()), Declared::default())
                .unwrap();
            let listened = sessions.listen(&id, &of(agent), Some("notes")).unwrap();
            (id, listened)
        };
        let (one, mut hears) = open("a");
        let (_, mut deaf) = open("a");
        let (other, mut foreign) = open("b");
        for (id, agent) in [(&one, "a"), (&other, "b")] {
            sessions.subscribe(id, &of(agent), "x:1", Subscribed::Yes);
        }
        let event = Event::ResourceUpdated("x:1".into());
        sessions.tell("notes", Some(&of("a")), &event);
        sessions.tell("elsewhere", None, &event);
        assert!(hears.try_recv().is_ok());
        assert!(hears.try_recv().is_err());
        assert!(deaf.try_recv().is_err());
        assert!(foreign.try_recv().is_err());
        sessions.subscribe(&one, &of("a"), "x:1", Subscribed::No);
        sessions.tell("notes", Some(&of("a")), &event);
        assert!(hears.try_recv().is_err());
    }
}

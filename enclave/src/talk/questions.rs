//! Questions of upstreams that wait for a client's answer.
//!
//! In: a question, whose it is. Out: its identifier, which nobody can guess, and later the answer.
//! Only the principal whose call it is can answer, once.

use super::Principal;
use countersign_adapters::Reply;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// Most questions that wait, over all clients.
const MAX_WAITING: usize = 10_000;

/// Most questions of one principal that wait.
const MAX_OF_ONE: usize = 64;

/// Questions that wait.
#[derive(Debug, Default)]
pub struct Waiting(Mutex<HashMap<String, Question>>);

#[derive(Debug)]
struct Question {
    of: Principal,
    reply: oneshot::Sender<Reply>,
}

impl Waiting {
    /// Takes a question in; `None` if too many wait. Dropping `reply`'s other end makes room again.
    pub fn ask(&self, of: &Principal, reply: oneshot::Sender<Reply>) -> Option<String> {
        let bytes = crate::keys::random::<16>().ok()?;
        let id = format!("\"countersign-{}\"", hex::encode(*bytes));
        let mut waiting = self.locked();
        waiting.retain(|_, q| !q.reply.is_closed());
        let theirs = waiting.values().filter(|q| q.of == *of).count();
        if waiting.len() >= MAX_WAITING || theirs >= MAX_OF_ONE {
            return None;
        }
        let of = of.clone();
        waiting.insert(id.clone(), Question { of, reply });
        Some(id)
    }

    /// Gives an answer to where it is waited for. Answers of others, and second ones, change nothing.
    pub fn answer(&self, id: &str, by: &Principal, reply: Reply) -> Answered {
        let mut waiting = self.locked();
        if waiting.get(id).is_none_or(|q| q.of != *by) {
            return Answered::Unasked;
        }
        match waiting.remove(id) {
            // The call may be over; then nobody wants to know.
            Some(question) => drop(question.reply.send(reply)),
            None => return Answered::Unasked,
        }
        Answered::Taken
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<String, Question>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What became of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answered {
    /// Somebody waits for it.
    Taken,
    /// Nothing of this name was asked of this client.
    Unasked,
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use countersign_record::digest::TenantId;

    fn principal(agent: &str) -> Principal {
        Principal {
            tenant: TenantId([1; 16]),
            agent: agent.to_owned(),
            user: None,
        }
    }

    #[test]
    fn only_whom_it_was_put_to_answers_a_question_and_once() {
        let waiting = Waiting::default();
        let (reply, mut answered) = oneshot::channel();
        let id = waiting.ask(&principal("a"), reply).unwrap();
        let accept = || Reply::Result(Bytes::from_static(b"{}"));
        assert_eq!(
            waiting.answer(&id, &principal("b"), accept()),
            Answered::Unasked
        );
        assert!(answered.try_recv().is_err());
        assert_eq!(
            waiting.answer(&id, &principal("a"), accept()),
            Answered::Taken
        );
        assert_eq!(answered.try_recv().unwrap(), accept());
        assert_eq!(
            waiting.answer(&id, &principal("a"), accept()),
            Answered::Unasked
        );
    }

    #[test]
    fn what_nobody_waits_for_any_more_makes_room() {
        let waiting = Waiting::default();
        let mut open = Vec::new();
        for _ in 0..MAX_OF_ONE {
            let (reply, answered) = oneshot::channel();
            assert!(waiting.ask(&principal("a"), reply).is_some());
            open.push(answered);
        }
        assert!(waiting.ask(&principal("a"), oneshot::channel().0).is_none());
        open.clear();
        let (reply, _answered) = oneshot::channel();
        assert!(waiting.ask(&principal("a"), reply).is_some());
    }
}

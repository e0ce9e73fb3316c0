//! Room for tasks: how many bytes are kept, and what goes to make more.
//!
//! In: all tasks, and what wants room. Out: whether it has some. Only ends that their owner has read make room, and only
//! for the same owner: nobody loses what a call came to because somebody else has many.

use super::{Principal, Read, Task};
use std::collections::HashMap;

/// Most bytes of requests, questions and answers that are kept (256 MiB).
const MAX_BYTES: usize = 256 * 1024 * 1024;
/// Most of them for one principal (32 MiB): an answer has at most 4.
const MAX_BYTES_OF_ONE: usize = 32 * 1024 * 1024;
/// Of these, what requests and questions leave to ends, as a part of it: one quarter.
const FOR_ENDS: usize = 4;

pub(super) fn theirs<'t>(
    tasks: &'t HashMap<String, Task>,
    of: &Principal,
) -> impl Iterator<Item = (&'t String, &'t Task)> {
    tasks.iter().filter(move |(_, t)| t.owner.of == *of)
}

/// Makes room among a principal's own: the oldest end goes that was read. `None` if there is none: who has not read
/// what a call came to might send it again.
pub(super) fn forget_oldest(tasks: &mut HashMap<String, Task>, of: &Principal) -> Option<()> {
    let over = theirs(tasks, of).filter(|(_, t)| t.read == Read::Yes);
    let oldest = over.min_by_key(|(_, t)| t.updated)?.0.clone();
    tasks.remove(&oldest).map(drop)
}

/// Whether something fits beside what is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    Is,
    IsNot,
}

/// What wants room, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) enum More {
    /// A request, or a question.
    Begun(usize),
    /// An end, for which the others leave some.
    Ended(usize),
}

/// Whether there is room for more; what `instead_of` has now is given up for it.
pub(super) fn room(
    tasks: &mut HashMap<String, Task>,
    of: &Principal,
    instead_of: Option<&str>,
    more: More,
) -> Room {
    let (more, left) = match more {
        More::Begun(bytes) => (bytes, FOR_ENDS.saturating_sub(1)),
        More::Ended(bytes) => (bytes, FOR_ENDS),
    };
    let most = |bytes: usize| (bytes / FOR_ENDS).saturating_mul(left);
    loop {
        let (mut own, mut all) = (more, more);
        let others = tasks
            .iter()
            .filter(|(id, _)| Some(id.as_str()) != instead_of);
        for (_, task) in others {
            let bytes = task.stage.bytes();
            all = all.saturating_add(bytes);
            if task.owner.of == *of {
                own = own.saturating_add(bytes);
            }
        }
        if own <= most(MAX_BYTES_OF_ONE) && all <= most(MAX_BYTES) {
            return Room::Is;
        }
        if forget_oldest(tasks, of).is_none() {
            return Room::IsNot;
        }
    }
}

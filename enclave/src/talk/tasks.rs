//! Calls that were not answered at once, under the names by which their clients know them.
//!
//! In: a call that waits for people, or one whose upstream takes its time. Out: a task, which only its
//! principal finds, at the door where it called; how it stands, and at last the answer. Whether a call may go on
//! is not decided here: a task is a place to look, and has no rights.
//!
//! In memory and bounded: in number, in bytes, and in how long each is kept. A restart forgets all of them. What
//! people said stands in the log, and the same call sent again uses it.
//!
//! SPEC: extension `io.modelcontextprotocol/tasks`, 2026-07-28.

mod room;

use super::Principal;
use super::running::Token;
use bytes::Bytes;
use countersign_gateway::approval::WAIT_MILLIS;
use countersign_record::digest::{ActionDigest, UnixMillis};
use room::{More, Room, forget_oldest, room, theirs};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Most tasks.
const MAX_TASKS: usize = 4096;
/// Most tasks of one principal.
const MAX_OF_ONE: usize = 64;
/// Longest refusal or error that is kept although there is no room, in bytes (64 KiB): 4 MiB for the tasks of one
/// principal. Ours are far shorter; a server's may not be.
const MAX_SMALL_BYTES: usize = 64 * 1024;
/// Most questions of one task that wait.
const MAX_QUESTIONS: usize = 64;
/// How long a task is there whose call runs (10 minutes): far longer than a call may take.
const RUNS_MILLIS: u64 = 10 * 60 * 1000;
/// How long its end can be read (one hour).
const KEPT_MILLIS: u64 = 60 * 60 * 1000;
/// How often a client should look while people are waited for, in milliseconds.
const WAITS_POLL: u64 = 2000;
/// How often while the call runs.
const RUNS_POLL: u64 = 250;

/// All tasks.
#[derive(Debug, Default)]
pub struct Tasks(Mutex<HashMap<String, Task>>);

/// Whose a task is, and at which door: one adapter's, or the one that joins all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Whose.
    pub of: Principal,
    /// The adapter.
    pub place: Option<String>,
}

/// A request that is kept, to be taken as if it came again.
#[derive(Debug, Clone)]
pub struct Retained {
    /// The message, as it arrived.
    pub body: Bytes,
    /// The session that came with it.
    pub session: Option<String>,
}

/// How much people had said when a waiting call was last tried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Said {
    /// The newest approval's place in the log.
    pub newest: Option<u64>,
    /// How often another call that had taken the approvals gave them back.
    pub given_back: u64,
}

#[derive(Debug)]
struct Task {
    owner: Owner,
    created: UnixMillis,
    updated: UnixMillis,
    /// When it may be forgotten.
    ends: UnixMillis,
    /// Whether its owner knows how it ended.
    read: Read,
    stage: Stage,
}

/// Whether an end was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Read {
    Yes,
    No,
}

#[derive(Debug)]
enum Stage {
    /// People are waited for.
    Waits {
        retained: Retained,
        action: ActionDigest,
        said: Said,
    },
    /// The call is under way.
    Runs {
        /// Takes it back.
        token: Option<Token>,
        /// What it came from, if people were waited for.
        retained: Option<(Retained, Said)>,
        /// What it asks, by name.
        questions: BTreeMap<String, Bytes>,
        cancelled: Cancelled,
    },
    /// It is over.
    Over(Ending),
}

/// Whether the client wants a task to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cancelled {
    Yes,
    No,
}

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// In which way.
    pub how: How,
    /// The result, or the JSON-RPC error, as JSON; nothing if it was cancelled.
    pub object: Bytes,
    /// What the answer says beside it, an object as JSON.
    pub meta: Option<String>,
    /// What a person or a model is told.
    pub sentence: Option<String>,
}

/// The ways to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// With a result.
    Completed,
    /// With a JSON-RPC error.
    Failed,
    /// Because its client wanted it to.
    Cancelled,
}

/// How a task stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Its name.
    pub id: String,
    /// When it began.
    pub created: UnixMillis,
    /// When it changed last.
    pub updated: UnixMillis,
    /// From its beginning until it may be forgotten, in milliseconds.
    pub ttl: u64,
    /// How often to look, in milliseconds.
    pub poll: u64,
    /// What it does.
    pub state: State,
}

/// What a task does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It waits for people.
    Waits(ActionDigest, Said),
    /// It runs.
    Runs,
    /// It wants these questions answered.
    Asks(Vec<(String, Bytes)>),
    /// It is over.
    Over(Ending),
}

/// There is no such task: there never was, it was forgotten, or it is another's. Nobody is told which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoTask;

impl Tasks {
    /// A call that waits for people. A principal whose same call waits already gets that task, in which the later
    /// request counts: what stands beside its arguments may be other. `None` if there are too many.
    pub fn wait(
        &self,
        owner: &Owner,
        retained: Retained,
        action: ActionDigest,
        now: UnixMillis,
    ) -> Option<View> {
        let mut tasks = self.locked();
        let same = |t: &Task| {
            t.owner == *owner
                && matches!(t.stage, Stage::Waits { action: a, .. } if a == action)
                && !t.is_outdated(now)
        };
        let waits = tasks.iter().find(|(_, t)| same(t));
        if let Some(id) = waits.map(|(id, _)| id.clone()) {
            let fits = room(
                &mut tasks,
                &owner.of,
                Some(&id),
                More::Begun(retained.bytes()),
            );
            let task = tasks.get_mut(&id)?;
            match &mut task.stage {
                Stage::Waits { retained: kept, .. } if fits == Room::Is => *kept = retained,
                Stage::Waits { .. } | Stage::Runs { .. } | Stage::Over(_) => {}
            }
            return Some(task.view(&id));
        }
        let stage = Stage::Waits {
            retained,
            action,
            said: Said::default(),
        };
        add(&mut tasks, owner, stage, now)
    }

    /// A call that is under way. `None` if there are too many.
    pub fn begin(&self, owner: &Owner, now: UnixMillis) -> Option<View> {
        let stage = Stage::Runs {
            token: None,
            retained: None,
            questions: BTreeMap::new(),
            cancelled: Cancelled::No,
        };
        add(&mut self.locked(), owner, stage, now)
    }

    /// By what a call that became a task can be taken back.
    pub fn hold(&self, id: &str, taken: Token) {
        if let Some(Stage::Runs { token, .. }) = self.locked().get_mut(id).map(|t| &mut t.stage) {
            *token = Some(taken);
        }
    }

    /// How a task stands. Once its owner has seen its end, that may make room for others.
    ///
    /// # Errors
    /// [`NoTask`].
    pub fn look(&self, id: &str, owner: &Owner, now: UnixMillis) -> Result<View, NoTask> {
        let mut tasks = self.locked();
        let task = find(&mut tasks, id, owner, now)?;
        if let Stage::Over(_) = task.stage {
            task.read = Read::Yes;
        }
        Ok(task.view(id))
    }

    /// That a task is there, without a look at it.
    ///
    /// # Errors
    /// [`NoTask`].
    pub fn is_there(&self, id: &str, owner: &Owner, now: UnixMillis) -> Result<(), NoTask> {
        find(&mut self.locked(), id, owner, now).map(drop)
    }

    /// Takes the request of a call that waits, to be tried again; only one of two who want it gets it.
    pub fn take_up(
        &self,
        id: &str,
        owner: &Owner,
        (said, token): (Said, Token),
        now: UnixMillis,
    ) -> Option<Retained> {
        let mut tasks = self.locked();
        let task = find(&mut tasks, id, owner, now).ok()?;
        let Stage::Waits { retained, .. } = &task.stage else {
            return None;
        };
        let retained = retained.clone();
        let stage = Stage::Runs {
            token: Some(token),
            retained: Some((retained.clone(), said)),
            questions: BTreeMap::new(),
            cancelled: Cancelled::No,
        };
        task.enter(stage, now);
        Some(retained)
    }

    /// A call that was tried again waits on, for the same action. Approvals that another call had meanwhile, and gives
    /// back, count as something new.
    pub fn wait_on(&self, id: &str, action: ActionDigest, now: UnixMillis) {
        let mut tasks = self.locked();
        let Some(task) = tasks.get_mut(id) else {
            return;
        };
        let Stage::Runs {
            retained: Some((retained, said)),
            cancelled,
            ..
        } = &task.stage
        else {
            return;
        };
        let stage = match cancelled {
            Cancelled::Yes => Stage::Over(Ending::cancelled()),
            Cancelled::No => Stage::Waits {
                retained: retained.clone(),
                action,
                said: *said,
            },
        };
        task.enter(stage, now);
    }

    /// A task is over. One that its client wanted to end, and that has no result, is said to be cancelled.
    pub fn end(&self, id: &str, ending: Ending, now: UnixMillis) {
        let mut tasks = self.locked();
        let Some(task) = tasks.get(id) else { return };
        let wanted = matches!(
            task.stage,
            Stage::Runs {
                cancelled: Cancelled::Yes,
                ..
            }
        );
        if let Stage::Over(_) = task.stage {
            return;
        }
        let ending = match ending.how {
            How::Failed if wanted => Ending {
                how: How::Cancelled,
                object: Bytes::new(),
                ..ending
            },
            How::Completed | How::Failed | How::Cancelled => ending,
        };
        let of = task.owner.of.clone();
        let is_small = ending.how != How::Completed && ending.bytes() <= MAX_SMALL_BYTES;
        let more = More::Ended(ending.bytes());
        let ending = match room(&mut tasks, &of, Some(id), more) {
            Room::IsNot if !is_small => ending.not_kept(),
            Room::Is | Room::IsNot => ending,
        };
        if let Some(task) = tasks.get_mut(id) {
            task.enter(Stage::Over(ending), now);
        }
    }

    /// A task is over because what it waits for is not there any more; unless it was taken up meanwhile, which is why.
    pub fn end_waiting(&self, id: &str, action: ActionDigest, ending: Ending, now: UnixMillis) {
        let mut tasks = self.locked();
        let waits =
            |t: &&mut Task| matches!(t.stage, Stage::Waits { action: a, .. } if a == action);
        if let Some(task) = tasks.get_mut(id).filter(waits) {
            task.enter(Stage::Over(ending), now);
        }
    }

    /// A task has a question for its client; `false` if it takes none any more.
    pub fn ask(&self, id: &str, name: &str, question: Bytes, now: UnixMillis) -> bool {
        let mut tasks = self.locked();
        let takes = |t: &&Task| matches!(&t.stage, Stage::Runs { questions, .. } if questions.len() < MAX_QUESTIONS);
        let Some(of) = tasks.get(id).filter(takes).map(|t| t.owner.of.clone()) else {
            return false;
        };
        let more = More::Begun(name.len().saturating_add(question.len()));
        if room(&mut tasks, &of, None, more) == Room::IsNot {
            return false;
        }
        let Some(task) = tasks.get_mut(id) else {
            return false;
        };
        let Stage::Runs { questions, .. } = &mut task.stage else {
            return false;
        };
        questions.insert(name.to_owned(), question);
        task.updated = now;
        true
    }

    /// Takes a question away because it is answered; `false` if nothing of this name waits.
    pub fn answered(&self, id: &str, owner: &Owner, name: &str, now: UnixMillis) -> bool {
        let mut tasks = self.locked();
        let Ok(task) = find(&mut tasks, id, owner, now) else {
            return false;
        };
        let Stage::Runs { questions, .. } = &mut task.stage else {
            return false;
        };
        let waited = questions.remove(name).is_some();
        if waited {
            task.updated = now;
        }
        waited
    }

    /// The client wants it to end. What is over stays as it is.
    ///
    /// # Errors
    /// [`NoTask`].
    pub fn cancel(&self, id: &str, owner: &Owner, now: UnixMillis) -> Result<(), NoTask> {
        let mut tasks = self.locked();
        let task = find(&mut tasks, id, owner, now)?;
        match &mut task.stage {
            Stage::Waits { .. } => {
                task.enter(Stage::Over(Ending::cancelled()), now);
                // Nothing was done, and who wanted that knows.
                task.read = Read::Yes;
            }
            Stage::Runs {
                token, cancelled, ..
            } => {
                *cancelled = Cancelled::Yes;
                if let Some(token) = token {
                    token.take_back();
                }
            }
            Stage::Over(_) => {}
        }
        Ok(())
    }

    /// Forgets a task that nobody was told of.
    pub fn forget(&self, id: &str) {
        self.locked().remove(id);
    }

    /// Forgets what was kept long enough.
    pub fn sweep(&self, now: UnixMillis) {
        self.locked().retain(|_, task| !task.is_outdated(now));
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<String, Task>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn find<'t>(
    tasks: &'t mut HashMap<String, Task>,
    id: &str,
    owner: &Owner,
    now: UnixMillis,
) -> Result<&'t mut Task, NoTask> {
    tasks
        .get_mut(id)
        .filter(|task| task.owner == *owner && !task.is_outdated(now))
        .ok_or(NoTask)
}

fn add(
    tasks: &mut HashMap<String, Task>,
    owner: &Owner,
    stage: Stage,
    now: UnixMillis,
) -> Option<View> {
    tasks.retain(|_, task| !task.is_outdated(now));
    while tasks.len() >= MAX_TASKS || theirs(tasks, &owner.of).count() >= MAX_OF_ONE {
        forget_oldest(tasks, &owner.of)?;
    }
    if room(tasks, &owner.of, None, More::Begun(stage.bytes())) == Room::IsNot {
        return None;
    }
    // Nobody guesses 128 bits; and whoever did would have to be the same principal.
    let id = hex::encode(*crate::keys::random::<16>().ok()?);
    let mut task = Task {
        owner: owner.clone(),
        created: now,
        updated: now,
        ends: now,
        read: Read::No,
        stage: Stage::Over(Ending::cancelled()),
    };
    task.enter(stage, now);
    let view = task.view(&id);
    tasks.insert(id, task);
    Some(view)
}

impl Stage {
    fn bytes(&self) -> usize {
        match self {
            Self::Waits { retained, .. } => retained.bytes(),
            Self::Runs {
                retained,
                questions,
                ..
            } => {
                let kept = retained.as_ref().map_or(0, |(r, _)| r.bytes());
                let each = questions
                    .iter()
                    .map(|(name, q)| name.len().saturating_add(q.len()));
                each.fold(kept, usize::saturating_add)
            }
            Self::Over(ending) => ending.bytes(),
        }
    }
}

impl Retained {
    fn bytes(&self) -> usize {
        let session = self.session.as_ref().map_or(0, String::len);
        self.body.len().saturating_add(session)
    }
}

impl Ending {
    fn bytes(&self) -> usize {
        let meta = self.meta.as_ref().map_or(0, String::len);
        self.object.len().saturating_add(meta)
    }

    /// Nothing was done, and nothing will be.
    fn cancelled() -> Self {
        Self {
            how: How::Cancelled,
            object: Bytes::new(),
            meta: None,
            sentence: None,
        }
    }

    /// It was carried out, or its server says that it failed, and the answer finds no room here. The record has it.
    fn not_kept(self) -> Self {
        let sentence = match self.how {
            How::Completed => {
                "The call was carried out, and its result is too large to be kept with its task. Do not repeat it."
            }
            How::Failed | How::Cancelled => {
                "The tool's server answered with an error that is too large to be kept with its task."
            }
        };
        let error = serde_json::json!({ "code": -32603, "message": sentence });
        Self {
            how: How::Failed,
            object: Bytes::from(error.to_string()),
            meta: self.meta,
            sentence: Some(sentence.to_owned()),
        }
    }
}

impl Task {
    fn is_outdated(&self, now: UnixMillis) -> bool {
        self.ends < now
    }

    fn enter(&mut self, stage: Stage, now: UnixMillis) {
        let stays = match &stage {
            Stage::Waits { .. } => WAIT_MILLIS,
            Stage::Runs { .. } => RUNS_MILLIS,
            Stage::Over(_) => KEPT_MILLIS,
        };
        self.stage = stage;
        self.read = Read::No;
        self.updated = now;
        self.ends = UnixMillis(now.0.saturating_add(stays));
    }

    fn view(&self, id: &str) -> View {
        let state = match &self.stage {
            Stage::Waits { action, said, .. } => State::Waits(*action, *said),
            Stage::Runs { questions, .. } if questions.is_empty() => State::Runs,
            Stage::Runs { questions, .. } => {
                let all = questions.iter().map(|(n, q)| (n.clone(), q.clone()));
                State::Asks(all.collect())
            }
            Stage::Over(ending) => State::Over(ending.clone()),
        };
        View {
            id: id.to_owned(),
            created: self.created,
            updated: self.updated,
            ttl: self.ends.0.saturating_sub(self.created.0),
            poll: match self.stage {
                Stage::Waits { .. } => WAITS_POLL,
                Stage::Runs { .. } | Stage::Over(_) => RUNS_POLL,
            },
            state,
        }
    }
}

#[cfg(test)]
mod tests;

//! One child process and the messages to and from it.
//!
//! *In:* requests from many tasks. *Out:* to each its own answer, matched by an id that only we
//! assign. One task owns the process, its three streams and its end; callers hold a handle.
//!
//! What is certain about sending: a message carries a ticket. The task marks it sent just before
//! the write that contains it; a caller who gives up first withdraws it, and then it is never
//! written. So "not sent" is exact, and "sent" may be too cautious by one write, never too bold.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::pin::pin;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use crate::breaker::Breaker;
use crate::call::{Bounds, CallError, Heard, Interim, Kept, Lost, NotSent, Reply, StartError};
use crate::dial::{Trail, Tunnels};
use crate::event::Event;
use crate::frame::{Body, Incoming, LISTENING, Method, Request, answer_to, cancelled, reply_to};
use crate::launcher::{Launcher, hear};
use countersign_json::Limits;

/// A program that speaks MCP on its standard streams.
#[derive(Clone)]
pub struct StdioSettings {
    /// The program, by path; a name is looked up in the `PATH` of `environment`.
    pub program: OsString,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Its working directory; ours if `None`.
    pub directory: Option<PathBuf>,
    /// Its whole environment; nothing is inherited.
    pub environment: Vec<(OsString, OsString)>,
    /// Who starts it; the gateway itself, if nobody.
    pub launcher: Option<Launcher>,
}

/// Without arguments and values of the environment, which may be credentials.
impl std::fmt::Debug for StdioSettings {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            program,
            arguments,
            directory,
            environment,
            launcher,
        } = self;
        let names: Vec<_> = environment.iter().map(|(name, _)| name).collect();
        formatter
            .debug_struct("StdioSettings")
            .field("program", program)
            .field("arguments", &arguments.len())
            .field("directory", directory)
            .field("environment", &names)
            .field("launcher", launcher)
            .finish()
    }
}

/// How many messages may wait to be written.
const QUEUE: usize = 1024;

/// Most bytes put together for one write.
const WRITE_BATCH_BYTES: usize = 64 * 1024;

/// How long the rest of the output of a process that has ended is read.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What is counted about an upstream, over all its processes.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) starts: AtomicU64,
    pub(crate) unsolicited: AtomicU64,
    pub(crate) refused_requests: AtomicU64,
    pub(crate) stderr_bytes: AtomicU64,
}

/// What outlives a single process.
#[derive(Debug, Clone)]
pub(crate) struct Common {
    pub(crate) bounds: Bounds,
    pub(crate) breaker: Arc<Mutex<Breaker>>,
    pub(crate) counts: Arc<Counts>,
    /// What is told without a call; nobody may be listening.
    pub(crate) events: broadcast::Sender<Event>,
}

/// A running process. When the last handle goes, the process is killed and reaped.
#[derive(Debug)]
pub(crate) struct Connection {
    shared: Arc<Shared>,
    queue: mpsc::Sender<Outgoing>,
    /// Its end is the order to kill; a message in it asks for a gentle end within that time.
    stop: Mutex<Option<oneshot::Sender<Duration>>>,
    ended: tokio::sync::Mutex<Option<oneshot::Receiver<()>>>,
    /// Layers of its sandbox that are in force, after what they were made from; empty if it has none.
    layers: Vec<String>,
    /// Its connections, if it has a network of its own.
    tunnels: Option<Arc<dyn Tunnels>>,
}

/// A call under way, as far as connections are concerned.
struct Tunnelling<'c>(&'c dyn Tunnels, u64);

impl Drop for Tunnelling<'_> {
    fn drop(&mut self) {
        self.0.end(self.1);
    }
}

type Errors = Box<dyn AsyncRead + Send + Unpin>;

#[derive(Debug)]
struct Shared {
    common: Common,
    next_id: AtomicU64,
    /// Whether the handshake is over; only then does an end count as a failure.
    serving: AtomicBool,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    by_id: HashMap<u64, Waiter>,
    over: Option<Lost>,
}

/// What a caller gets.
pub(crate) type Answered = Result<(Body, Interim), CallError>;

#[derive(Debug)]
struct Waiter {
    answer: oneshot::Sender<Answered>,
    ticket: Arc<Ticket>,
    interim: Interim,
    ears: Option<mpsc::Sender<Heard>>,
}

impl Waiter {
    /// Keeps a message, and passes it on if it is kept and somebody listens. A full channel loses it: ears are as
    /// wide as what is kept.
    fn hear(&mut self, raw: Bytes, heard: Heard, bounds: &Bounds) -> Kept {
        let kept = self.interim.keep(raw, bounds);
        match (&self.ears, kept) {
            (Some(ears), Kept::Yes) if ears.try_send(heard).is_ok() => Kept::Yes,
            _ => Kept::No,
        }
    }
}

impl Waiting {
    /// The only request under way that somebody listens to. A message that names no request is taken to be about it.
    fn only(&mut self) -> Option<(u64, &mut Waiter)> {
        let mut all = self.by_id.iter_mut().filter(|(_, w)| w.ears.is_some());
        match (all.next(), all.next()) {
            (Some((id, waiter)), None) => Some((*id, waiter)),
            (Some(_), Some(_)) | (None, _) => None,
        }
    }
}

#[derive(Debug)]
struct Outgoing {
    frame: Vec<u8>,
    /// `None` for what nobody waits for.
    ticket: Option<Arc<Ticket>>,
}

/// Whose turn it was first: the writer's or the caller's who gives up.
#[derive(Debug, Default)]
struct Ticket(AtomicU8);

const WAITING: u8 = 0;
const SENT: u8 = 1;
const WITHDRAWN: u8 = 2;

impl Ticket {
    fn mark_sent(&self) -> Turn {
        self.turn(SENT)
    }

    fn withdraw(&self) -> Turn {
        self.turn(WITHDRAWN)
    }

    fn turn(&self, to: u8) -> Turn {
        match self
            .0
            .compare_exchange(WAITING, to, Ordering::AcqRel, Ordering::Acquire)
        {
            Ok(_) => Turn::Taken,
            Err(_) => Turn::Missed,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Taken,
    Missed,
}

impl Connection {
    /// Starts the program; no message is exchanged yet.
    pub(crate) async fn spawn(
        settings: &StdioSettings,
        common: &Common,
    ) -> Result<Self, StartError> {
        let failed = |error: std::io::Error| StartError::Spawn { kind: error.kind() };
        let mut command = match &settings.launcher {
            None => Command::new(&settings.program),
            Some(launcher) => {
                let mut command = Command::new(&launcher.program);
                command.args(&launcher.arguments).arg("--");
                command.arg(&settings.program);
                command
            }
        };
        command
            .args(&settings.arguments)
            .env_clear()
            .envs(
                settings
                    .environment
                    .iter()
                    .map(|(name, value)| (name, value)),
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        if let Some(directory) = &settings.directory {
            command.current_dir(directory);
        }
        let word = match &settings.launcher {
            None => None,
            Some(launcher) => {
                // A socket, because a file can be handed over by it.
                let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(failed)?;
                ours.set_nonblocking(true).map_err(failed)?;
                command.stderr(std::os::fd::OwnedFd::from(theirs));
                Some((launcher, UnixStream::from_std(ours).map_err(failed)?))
            }
        };
        let mut child = command.spawn().map_err(failed)?;
        let group = Group::of(&child);
        // The other end of the error stream is the program's alone.
        drop(command);
        let broken = StartError::Spawn {
            kind: std::io::ErrorKind::BrokenPipe,
        };
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(broken);
        };
        let mut layers = Vec::new();
        let mut tunnels = None;
        let errors: Errors = match word {
            None => Box::new(child.stderr.take().ok_or(broken)?),
            Some((launcher, stream)) => {
                let said = hear(&stream).await?;
                layers.push(launcher.label.clone());
                layers.extend(said.layers);
                if let (Some(network), Some(listener)) = (&launcher.network, said.listener) {
                    tunnels = Some(network.serve(listener).map_err(failed)?);
                }
                Box::new(stream)
            }
        };
        common.counts.starts.fetch_add(1, Ordering::Relaxed);
        let shared = Arc::new(Shared {
            common: common.clone(),
            next_id: AtomicU64::new(1),
            serving: AtomicBool::new(false),
            waiting: Mutex::default(),
        });
        let (queue, queued) = mpsc::channel(QUEUE);
        let (stop, stopped) = oneshot::channel();
        let (ending, ended) = oneshot::channel();
        let process = Process {
            child,
            group,
            shared: shared.clone(),
        };
        tokio::spawn(process.run(
            input,
            output,
            errors,
            queued,
            queue.downgrade(),
            stopped,
            ending,
        ));
        let ended = tokio::sync::Mutex::new(Some(ended));
        Ok(Self {
            shared,
            queue,
            stop: Mutex::new(Some(stop)),
            ended,
            layers,
            tunnels,
        })
    }

    /// Layers of its sandbox that are in force, after what they were made from.
    pub(crate) fn layers(&self) -> &[String] {
        &self.layers
    }

    /// From now on an end is a failure of the upstream.
    pub(crate) fn serve(&self) {
        self.shared.serving.store(true, Ordering::Release);
    }

    /// Why it ended, if it has.
    pub(crate) fn over(&self) -> Option<Lost> {
        locked(&self.shared.waiting).over.clone()
    }

    /// Closes the program's input, waits for its end, kills it after `grace`.
    pub(crate) async fn close(&self, grace: Duration) {
        if let Some(stop) = locked(&self.stop).take() {
            // Fails only if the process has already ended.
            let _ = stop.send(grace);
        }
        if let Some(ended) = self.ended.lock().await.take() {
            drop(ended.await);
        }
    }

    /// Asks a server without sessions to tell of changed lists. Nobody waits for an answer: one that does not know the
    /// question tells nothing.
    pub(crate) async fn subscribe(&self, deadline: Instant) {
        let id = self.shared.next_id.fetch_add(1, Ordering::Relaxed);
        drop(self.notify(LISTENING.write(id), deadline).await);
    }

    /// Sends a message that has no answer.
    pub(crate) async fn notify(&self, frame: Vec<u8>, deadline: Instant) -> Result<(), NotSent> {
        match timeout_at(
            deadline,
            self.queue.send(Outgoing {
                frame,
                ticket: None,
            }),
        )
        .await
        {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(NotSent::Failed(self.over().unwrap_or(Lost::Ended))),
            Err(_) => Err(NotSent::TimedOut),
        }
    }

    /// Sends a request and waits for its answer. Dropping the future gives the request up.
    pub(crate) async fn exchange(
        &self,
        request: &Request<'_>,
        ears: Option<mpsc::Sender<Heard>>,
        trail: Option<&Trail>,
        deadline: Instant,
    ) -> Answered {
        // ORDER: begun before anything is written, and over when this is: nothing leaves outside of calls.
        let _tunnelling = match (&self.tunnels, trail) {
            (Some(tunnels), Some(trail)) => Some(Tunnelling(&**tunnels, tunnels.begin(trail))),
            (_, _) => None,
        };
        let id = self.shared.next_id.fetch_add(1, Ordering::Relaxed);
        let frame = request.write(id);
        let limit = self.shared.common.bounds.frame_bytes;
        if frame.len() > limit {
            return Err(CallError::NotSent(NotSent::TooLarge {
                found: frame.len(),
                limit,
            }));
        }
        let ticket = Arc::new(Ticket::default());
        let answer = self
            .shared
            .wait_for(id, &ticket, ears)
            .map_err(CallError::NotSent)?;
        let mut waiting = GivingUp {
            connection: self,
            id,
            ticket: &ticket,
            method: request.method,
            done: false,
        };
        let outgoing = Outgoing {
            frame,
            ticket: Some(ticket.clone()),
        };
        let outcome = timeout_at(deadline, async {
            if self.queue.send(outgoing).await.is_err() {
                // The task has ended; it answers all who wait, this one too.
            }
            answer.await
        })
        .await;
        match outcome {
            Ok(answered) => {
                waiting.done = true;
                // A waiter is only dropped unanswered if the task died with the runtime.
                answered.unwrap_or(Err(CallError::OutcomeUnknown(Lost::Ended)))
            }
            Err(_) => match waiting.give_up() {
                Turn::Taken => Err(CallError::NotSent(NotSent::TimedOut)),
                Turn::Missed => Err(CallError::OutcomeUnknown(Lost::TimedOut)),
            },
        }
    }
}

/// Takes a request back when its caller stops waiting.
struct GivingUp<'a> {
    connection: &'a Connection,
    id: u64,
    ticket: &'a Ticket,
    method: Method,
    done: bool,
}

impl GivingUp<'_> {
    fn give_up(&mut self) -> Turn {
        self.done = true;
        locked(&self.connection.shared.waiting)
            .by_id
            .remove(&self.id);
        let turn = self.ticket.withdraw();
        // SPEC: MCP 2025-11-25, "Cancellation": initialize is never cancelled.
        let may_cancel = matches!(self.method, Method::Call(_) | Method::ListTools);
        if turn == Turn::Missed && may_cancel {
            let notice = Outgoing {
                frame: cancelled(self.id),
                ticket: None,
            };
            // With a full queue the upstream takes nothing anyway.
            drop(self.connection.queue.try_send(notice));
        }
        turn
    }
}

impl Drop for GivingUp<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.give_up();
        }
    }
}

impl Shared {
    fn wait_for(
        &self,
        id: u64,
        ticket: &Arc<Ticket>,
        ears: Option<mpsc::Sender<Heard>>,
    ) -> Result<oneshot::Receiver<Answered>, NotSent> {
        let (answer, answered) = oneshot::channel();
        let mut waiting = locked(&self.waiting);
        if let Some(lost) = &waiting.over {
            return Err(NotSent::Failed(lost.clone()));
        }
        let limit = self.common.bounds.calls;
        if waiting.by_id.len() >= limit {
            return Err(NotSent::Busy { limit });
        }
        waiting.by_id.insert(
            id,
            Waiter {
                answer,
                ticket: ticket.clone(),
                interim: Interim::default(),
                ears,
            },
        );
        Ok(answered)
    }

    /// Ends the connection for all who wait, each by what is certain about its message.
    fn end(&self, lost: &Lost) {
        let waiters = {
            let mut waiting = locked(&self.waiting);
            waiting.over.get_or_insert_with(|| lost.clone());
            std::mem::take(&mut waiting.by_id)
        };
        for waiter in waiters.into_values() {
            let error = match waiter.ticket.withdraw() {
                Turn::Taken => CallError::NotSent(NotSent::Failed(lost.clone())),
                Turn::Missed => CallError::OutcomeUnknown(lost.clone()),
            };
            // The caller may have stopped waiting.
            drop(waiter.answer.send(Err(error)));
        }
        if self.serving.load(Ordering::Acquire) && *lost != Lost::Closed {
            locked(&self.common.breaker).failed(Instant::now());
        }
    }
}

/// The process group of a child, killed when this goes.
///
/// Servers are often started through wrappers; killing only the wrapper would leave the server.
struct Group(Option<rustix::process::Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self(id.and_then(rustix::process::Pid::from_raw))
    }

    /// Once only: afterwards the number may belong to somebody else.
    fn kill(&mut self) {
        if let Some(group) = self.0.take() {
            // Fails only if nobody is left in the group.
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// How the exchange with a process came to its end.
enum End {
    Lost(Lost),
    Exited,
    Close(Duration),
    Kill,
}

struct Process {
    child: Child,
    group: Group,
    shared: Arc<Shared>,
}

impl Process {
    #[expect(
        clippy::too_many_arguments,
        reason = "the ends of one process's streams, each used once"
    )]
    async fn run(
        mut self,
        input: ChildStdin,
        output: ChildStdout,
        errors: Errors,
        queued: mpsc::Receiver<Outgoing>,
        replies: mpsc::WeakSender<Outgoing>,
        stopped: oneshot::Receiver<Duration>,
        ending: oneshot::Sender<()>,
    ) {
        let end = self
            .converse(input, output, errors, queued, replies, stopped)
            .await;
        // The streams are closed by now.
        match end {
            End::Lost(lost) => self.shared.end(&lost),
            End::Exited => self.shared.end(&Lost::Ended),
            End::Kill => self.shared.end(&Lost::Closed),
            End::Close(grace) => {
                self.shared.end(&Lost::Closed);
                drop(timeout(grace, self.child.wait()).await);
            }
        }
        self.group.kill();
        // Reaps it; after SIGKILL this cannot last.
        drop(self.child.wait().await);
        let _ = ending.send(());
    }

    async fn converse(
        &mut self,
        input: ChildStdin,
        output: ChildStdout,
        errors: Errors,
        queued: mpsc::Receiver<Outgoing>,
        replies: mpsc::WeakSender<Outgoing>,
        stopped: oneshot::Receiver<Duration>,
    ) -> End {
        let shared = self.shared.clone();
        let mut reading = pin!(read(output, &shared, &replies));
        let end = tokio::select! {
            lost = &mut reading => End::Lost(lost),
            end = write(input, queued, &shared) => end,
            () = discard(errors, &shared) => End::Exited,
            _ = self.child.wait() => End::Exited,
            stop = stopped => stop.map_or(End::Kill, End::Close),
        };
        match end {
            End::Exited => {
                // What it wrote before its end still counts; a child of its own could hold the
                // stream open, so the group ends first.
                self.group.kill();
                timeout(LAST_WORDS, reading)
                    .await
                    .map_or(End::Exited, End::Lost)
            }
            End::Lost(_) | End::Close(_) | End::Kill => end,
        }
    }
}

/// Writes what is queued until the stream breaks. A closed stream is an exit: what the program
/// had answered before is still read.
async fn write(
    mut input: ChildStdin,
    mut queued: mpsc::Receiver<Outgoing>,
    shared: &Shared,
) -> End {
    let mut batch = Vec::new();
    while let Some(first) = queued.recv().await {
        batch.clear();
        append(first, &mut batch);
        while batch.len() < WRITE_BATCH_BYTES {
            let Ok(next) = queued.try_recv() else { break };
            append(next, &mut batch);
        }
        match timeout(shared.common.bounds.write, input.write_all(&batch)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return End::Exited,
            Err(_) => return End::Lost(Lost::WriteFailed),
        }
    }
    // Nobody holds the handle any more; the order to stop is on its way.
    std::future::pending().await
}

fn append(outgoing: Outgoing, batch: &mut Vec<u8>) {
    if outgoing
        .ticket
        .is_none_or(|ticket| ticket.mark_sent() == Turn::Taken)
    {
        batch.extend_from_slice(&outgoing.frame);
        batch.push(b'\n');
    }
}

/// Drains the error stream, so that the program never blocks on it; only its size is kept.
async fn discard(mut errors: Errors, shared: &Shared) {
    let mut buffer = [0u8; 4096];
    while let Ok(count @ 1..) = errors.read(&mut buffer).await {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        shared
            .common
            .counts
            .stderr_bytes
            .fetch_add(count, Ordering::Relaxed);
    }
    // A program may close its error stream and go on.
    std::future::pending().await
}

/// Reads messages, one a line, until the stream ends or must not be trusted further.
async fn read(
    mut output: ChildStdout,
    shared: &Arc<Shared>,
    replies: &mpsc::WeakSender<Outgoing>,
) -> Lost {
    let bounds = &shared.common.bounds;
    let too_large = Lost::TooLarge {
        limit: bounds.frame_bytes,
    };
    let mut buffer = BytesMut::with_capacity(WRITE_BATCH_BYTES);
    let mut scanned = 0usize;
    let mut begun: Option<Instant> = None;
    let mut unsolicited = 0u32;
    loop {
        while let Some(found) = buffer
            .get(scanned..)
            .and_then(|rest| rest.iter().position(|byte| *byte == b'\n'))
        {
            let end = scanned.saturating_add(found);
            if end > bounds.frame_bytes {
                return too_large;
            }
            let line = buffer.split_to(end).freeze();
            buffer.advance(1);
            scanned = 0;
            begun = None;
            if line.trim_ascii().is_empty() {
                continue;
            }
            match take_in(&line, shared, replies) {
                Ok(Wanted::Answer) => unsolicited = 0,
                Ok(Wanted::Interim) => {}
                Ok(Wanted::No) => {
                    unsolicited = unsolicited.saturating_add(1);
                    shared
                        .common
                        .counts
                        .unsolicited
                        .fetch_add(1, Ordering::Relaxed);
                    if unsolicited > bounds.unsolicited {
                        return Lost::Flooding {
                            limit: bounds.unsolicited,
                        };
                    }
                }
                Err(lost) => return lost,
            }
        }
        scanned = buffer.len();
        if scanned > bounds.frame_bytes {
            return too_large;
        }
        let more = if buffer.is_empty() {
            output.read_buf(&mut buffer).await
        } else {
            let limit = bounds.message;
            let since = *begun.get_or_insert_with(Instant::now);
            let Ok(more) = timeout(
                limit.saturating_sub(since.elapsed()),
                output.read_buf(&mut buffer),
            )
            .await
            else {
                return Lost::Dripping { limit };
            };
            more
        };
        match more {
            Ok(1..) => {}
            Ok(0) | Err(_) => return Lost::Ended,
        }
    }
}

/// Whether anybody had asked for a message.
enum Wanted {
    Answer,
    Interim,
    No,
}

fn take_in(
    line: &Bytes,
    shared: &Arc<Shared>,
    replies: &mpsc::WeakSender<Outgoing>,
) -> Result<Wanted, Lost> {
    let bounds = &shared.common.bounds;
    let limits = Limits::of_bytes(bounds.frame_bytes);
    match Incoming::parse(line, &limits).map_err(Lost::Malformed)? {
        Incoming::Response { id, body } => {
            let waiter = id.and_then(|id| locked(&shared.waiting).by_id.remove(&id));
            let Some(waiter) = waiter else {
                return Ok(Wanted::No);
            };
            if waiter.ticket.withdraw() == Turn::Taken {
                // An answer to a message that has not been written: ids can be guessed.
                let error = CallError::NotSent(NotSent::Failed(Lost::OtherId));
                drop(waiter.answer.send(Err(error)));
                return Err(Lost::OtherId);
            }
            // The caller may have stopped waiting.
            drop(waiter.answer.send(Ok((body, waiter.interim))));
            Ok(Wanted::Answer)
        }
        Incoming::Notification {
            method,
            token,
            params,
            raw,
        } => {
            if let Some(event) = Event::of(&method, &params) {
                // Nobody may be listening.
                drop(shared.common.events.send(event));
                return Ok(Wanted::No);
            }
            let mut waiting = locked(&shared.waiting);
            let waiter = match method.as_str() {
                "notifications/progress" => token.and_then(|token| waiting.by_id.get_mut(&token)),
                "notifications/message" => waiting.only().map(|(_, waiter)| waiter),
                _ => None,
            };
            let Some(waiter) = waiter else {
                return Ok(Wanted::No);
            };
            let asked_for = method == "notifications/progress";
            let kept = waiter.hear(raw, Heard::Notification { method, params }, bounds);
            // Progress was asked for, however much of it; what nobody keeps is counted.
            Ok(match (asked_for, kept) {
                (true, _) | (false, Kept::Yes) => Wanted::Interim,
                (false, Kept::No) => Wanted::No,
            })
        }
        Incoming::Request {
            id,
            method,
            params,
            raw,
        } => {
            if let Some(answered) = ask(shared, &method, params, raw) {
                tokio::spawn(pass_on(
                    shared.clone(),
                    replies.clone(),
                    (id, method),
                    answered,
                ));
                return Ok(Wanted::Interim);
            }
            shared
                .common
                .counts
                .refused_requests
                .fetch_add(1, Ordering::Relaxed);
            send_back(replies, reply_to(&id, &method));
            Ok(Wanted::No)
        }
    }
}

/// Puts a question to the caller of the only call under way, if it listens.
fn ask(
    shared: &Shared,
    method: &str,
    params: Bytes,
    raw: Bytes,
) -> Option<(u64, oneshot::Receiver<Reply>)> {
    if method == "ping" {
        return None;
    }
    let mut waiting = locked(&shared.waiting);
    let (call, waiter) = waiting.only()?;
    let (reply, answered) = oneshot::channel();
    let question = Heard::Question {
        method: method.to_owned(),
        params,
        reply,
    };
    match waiter.hear(raw, question, &shared.common.bounds) {
        Kept::Yes => Some((call, answered)),
        Kept::No => None,
    }
}

/// Waits for the caller's answer and writes it to the program.
async fn pass_on(
    shared: Arc<Shared>,
    replies: mpsc::WeakSender<Outgoing>,
    (id, method): (Bytes, String),
    (call, answered): (u64, oneshot::Receiver<Reply>),
) {
    let mut frame = match answered.await {
        Ok(reply) => answer_to(&id, &reply),
        Err(_) => reply_to(&id, &method),
    };
    // One message a line: between the tokens of JSON a line break is white space like any other.
    for byte in &mut frame {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
    if let Some(waiter) = locked(&shared.waiting).by_id.get_mut(&call) {
        let raw = Bytes::copy_from_slice(&frame);
        waiter.interim.keep(raw, &shared.common.bounds);
    }
    send_back(&replies, frame);
}

/// A program that asks faster than it reads gets no more answers.
fn send_back(replies: &mpsc::WeakSender<Outgoing>, frame: Vec<u8>) {
    if let Some(replies) = replies.upgrade() {
        drop(replies.try_send(Outgoing {
            frame,
            ticket: None,
        }));
    }
}

/// A poisoned lock holds only values that are replaced as a whole.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! How long a connection may be silent, and on what.
//!
//! In: what happens on it (bytes came, a request began, an answer ended, a write found no room). Out: until when the
//! next thing has to happen. While a request is being answered nothing has to: how long a call may take is said
//! elsewhere. All that waits for the client has a limit here, so that whoever says nothing, or half of something, or
//! does not listen, is gone after a while, whatever it was that it began.
//!
//! | waits for | at most |
//! |---|---|
//! | the first request, or the next one of somebody unknown | [`STRANGERS_SILENCE`] |
//! | the next request on a connection of a known caller | [`CALLERS_SILENCE`] |
//! | the rest of a request's head | [`HEAD_LIMIT`] |
//! | the rest of its body | [`BODY_LIMIT`] |
//! | room for more of an answer | [`WRITE_LIMIT`] |

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::io::{self, IoSlice};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// Longest silence between requests of nobody who is known. A health check that asks less often connects anew.
pub const STRANGERS_SILENCE: Duration = Duration::from_secs(20);

/// Longest silence of a known caller. Agents think for minutes between calls; an hour would only hold what was left open.
pub const CALLERS_SILENCE: Duration = Duration::from_secs(15 * 60);

/// Longest time from the first byte of a request's head to its last.
pub const HEAD_LIMIT: Duration = Duration::from_secs(10);

/// Longest time for a request's body. 1 MiB at 280 kbit/s.
pub const BODY_LIMIT: Duration = Duration::from_secs(30);

/// Longest time for which nothing more of an answer is taken.
pub const WRITE_LIMIT: Duration = Duration::from_secs(30);

/// What a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    /// A request, since then.
    Request(Instant),
    /// The rest of a head, since then.
    Head(Instant),
    /// The rest of a body, since then.
    Body(Instant),
    /// The gateway itself.
    Answer,
}

/// What happens on a connection, and since when.
#[derive(Debug)]
struct Beat {
    wait: Wait,
    /// Since when an answer finds no room.
    stuck: Option<Instant>,
    /// Whether a known caller has spoken.
    known: bool,
}

impl Beat {
    /// Until when the next thing has to happen; never, while the gateway itself is waited for.
    fn deadline(&self) -> Option<Instant> {
        let (since, limit) = match self.wait {
            Wait::Request(since) if self.known => (Some(since), CALLERS_SILENCE),
            Wait::Request(since) => (Some(since), STRANGERS_SILENCE),
            Wait::Head(since) => (Some(since), HEAD_LIMIT),
            Wait::Body(since) => (Some(since), BODY_LIMIT),
            Wait::Answer => (None, Duration::ZERO),
        };
        let waiting = since.and_then(|s| s.checked_add(limit));
        let stuck = self.stuck.and_then(|s| s.checked_add(WRITE_LIMIT));
        match (waiting, stuck) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (one, other) => one.or(other),
        }
    }
}

/// How little a connection would be missed: whose is missed least comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Worth {
    known: bool,
    waiting_since: Instant,
}

/// The pace of one connection, shared by all that looks at it.
#[derive(Debug, Clone)]
pub(super) struct Pace(Arc<Mutex<Beat>>);

impl Pace {
    /// That of a connection on which nothing has happened yet.
    pub(super) fn new(now: Instant) -> Self {
        Self(Arc::new(Mutex::new(Beat {
            wait: Wait::Request(now),
            stuck: None,
            known: false,
        })))
    }

    fn beat(&self) -> MutexGuard<'_, Beat> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn known(&self) {
        self.beat().known = true;
    }

    pub(super) fn is_known(&self) -> bool {
        self.beat().known
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.beat().deadline()
    }

    /// Its worth, if its client is waited for; one whose request is being answered does not end for another's sake.
    pub(super) fn worth(&self) -> Option<Worth> {
        let beat = self.beat();
        let waiting_since = match beat.wait {
            Wait::Request(since) | Wait::Head(since) | Wait::Body(since) => Some(since),
            Wait::Answer => beat.stuck,
        };
        waiting_since.map(|waiting_since| Worth {
            known: beat.known,
            waiting_since,
        })
    }

    /// Bytes came. Only the first of a request are of interest: its head has begun.
    fn came(&self) {
        let mut beat = self.beat();
        if matches!(beat.wait, Wait::Request(_)) {
            beat.wait = Wait::Head(Instant::now());
        }
    }

    /// A request's head is there.
    pub(super) fn begun(&self, body: BodyIs) {
        self.beat().wait = match body {
            BodyIs::Awaited => Wait::Body(Instant::now()),
            BodyIs::Whole => Wait::Answer,
        };
    }

    /// Its body has ended, or nobody wants the rest.
    fn heard(&self) {
        let mut beat = self.beat();
        if matches!(beat.wait, Wait::Body(_)) {
            beat.wait = Wait::Answer;
        }
    }

    /// The answer is given.
    fn answered(&self) {
        self.beat().wait = Wait::Request(Instant::now());
    }

    /// A write found room, or none.
    fn wrote<T>(&self, written: Poll<T>) -> Poll<T> {
        let mut beat = self.beat();
        match written {
            Poll::Ready(_) => beat.stuck = None,
            Poll::Pending => {
                beat.stuck.get_or_insert_with(Instant::now);
            }
        }
        written
    }
}

/// Whether more of a request is to come after its head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyIs {
    /// There is a body.
    Awaited,
    /// There is none.
    Whole,
}

/// A stream whose reads and writes set the pace.
#[derive(Debug)]
pub(super) struct Paced<S> {
    stream: S,
    pace: Pace,
}

impl<S> Paced<S> {
    pub(super) fn new(stream: S, pace: Pace) -> Self {
        Self { stream, pace }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.pace.came();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.pace.wrote(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.pace.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.pace.wrote(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ended = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.pace.wrote(ended)
    }
}

/// A request's body, which tells when it has ended.
#[derive(Debug)]
pub(super) struct Heard<B> {
    body: B,
    pace: Pace,
}

impl<B: Body> Heard<B> {
    /// Begins the request whose body this is.
    pub(super) fn begin(body: B, pace: Pace) -> Self {
        pace.begun(if body.is_end_stream() {
            BodyIs::Whole
        } else {
            BodyIs::Awaited
        });
        Self { body, pace }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Heard<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if self.body.is_end_stream() || matches!(frame, Poll::Ready(None | Some(Err(_)))) {
            self.pace.heard();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B> Drop for Heard<B> {
    fn drop(&mut self) {
        self.pace.heard();
    }
}

/// An answer's body, which tells when it is given.
#[derive(Debug)]
pub(super) struct Given<B> {
    body: B,
    pace: Pace,
}

impl<B> Given<B> {
    pub(super) fn new(body: B, pace: Pace) -> Self {
        Self { body, pace }
    }
}

impl<B: Body + Unpin> Body for Given<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B> Drop for Given<B> {
    fn drop(&mut self) {
        self.pace.answered();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{Empty, Full};

    fn at(pace: &Pace, wait: impl FnOnce(Instant) -> Wait) -> (Pace, Instant) {
        let now = Instant::now();
        pace.beat().wait = wait(now);
        (pace.clone(), now)
    }

    fn fresh() -> Pace {
        Pace::new(Instant::now())
    }

    #[test]
    fn each_thing_that_is_waited_for_has_its_own_limit() {
        let due = |wait: fn(Instant) -> Wait, limit| {
            let (pace, now) = at(&fresh(), wait);
            assert_eq!(pace.deadline(), Some(now + limit));
        };
        due(Wait::Request, STRANGERS_SILENCE);
        due(Wait::Head, HEAD_LIMIT);
        due(Wait::Body, BODY_LIMIT);
    }

    #[test]
    fn a_known_caller_may_be_silent_for_longer_but_not_in_the_midst_of_a_request() {
        let pace = fresh();
        pace.known();
        let (pace, now) = at(&pace, Wait::Request);
        assert_eq!(pace.deadline(), Some(now + CALLERS_SILENCE));
        let (pace, now) = at(&pace, Wait::Head);
        assert_eq!(pace.deadline(), Some(now + HEAD_LIMIT));
    }

    #[test]
    fn nothing_is_due_while_the_gateway_itself_is_waited_for_unless_nobody_listens() {
        let (pace, now) = at(&fresh(), |_| Wait::Answer);
        assert_eq!(pace.deadline(), None);
        pace.beat().stuck = Some(now);
        assert_eq!(pace.deadline(), Some(now + WRITE_LIMIT));
        let _room = pace.wrote(Poll::Ready(()));
        assert_eq!(pace.deadline(), None);
    }

    #[test]
    fn a_write_that_stays_without_room_is_due_by_its_first_try() {
        let pace = fresh();
        pace.begun(BodyIs::Whole);
        assert!(pace.wrote::<()>(Poll::Pending).is_pending());
        let first = pace.deadline();
        assert!(first.is_some());
        assert!(pace.wrote::<()>(Poll::Pending).is_pending());
        assert_eq!(pace.deadline(), first);
    }

    #[test]
    fn further_bytes_of_a_head_do_not_begin_it_again() {
        let pace = fresh();
        pace.came();
        let first = pace.deadline();
        pace.came();
        assert_eq!(pace.deadline(), first);
    }

    #[test]
    fn a_request_goes_from_head_to_body_to_answer_and_back() {
        let pace = fresh();
        pace.came();
        let body = Heard::begin(Full::new(Bytes::from_static(b"{}")), pace.clone());
        assert!(matches!(pace.beat().wait, Wait::Body(_)));
        drop(body);
        assert_eq!(pace.beat().wait, Wait::Answer);
        pace.came();
        assert_eq!(pace.beat().wait, Wait::Answer, "pipelined");
        drop(Given::new(Empty::<Bytes>::new(), pace.clone()));
        assert!(matches!(pace.beat().wait, Wait::Request(_)));
        let body = Heard::begin(Empty::<Bytes>::new(), pace.clone());
        assert_eq!(pace.beat().wait, Wait::Answer);
        drop(body);
        assert_eq!(pace.beat().wait, Wait::Answer);
    }

    #[test]
    fn a_body_that_is_dropped_late_does_not_undo_the_next_request() {
        let pace = fresh();
        let body = Heard::begin(Empty::<Bytes>::new(), pace.clone());
        drop(Given::new(Empty::<Bytes>::new(), pace.clone()));
        drop(body);
        assert!(matches!(pace.beat().wait, Wait::Request(_)));
    }

    #[test]
    fn strangers_are_missed_least_then_who_is_waited_for_longest_and_the_busy_never() {
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        let worth = |wait, known| {
            let pace = fresh();
            *pace.beat() = Beat {
                wait,
                stuck: None,
                known,
            };
            pace.worth()
        };
        let mut all = [
            worth(Wait::Request(now), true),
            worth(Wait::Request(later), false),
            worth(Wait::Body(now), false),
        ];
        all.sort();
        assert_eq!(
            all,
            [
                worth(Wait::Request(now), false),
                worth(Wait::Request(later), false),
                worth(Wait::Request(now), true),
            ]
        );
        assert_eq!(worth(Wait::Answer, false), None);
    }
}

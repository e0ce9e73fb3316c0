//! A call whose client waits for it.
//!
//! In: the call. Out: its reply. It runs where its client waits, which spares it a task and a change of threads; when the
//! client goes away, or hears a stream that it may read as slowly as it likes, the call goes on in a task of its own, so
//! that nobody leaves it half done.

use crate::calls::Reply;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

type Call = Pin<Box<dyn Future<Output = Reply> + Send>>;

/// A call on its way. Comes to nothing if the call panicked.
pub(in crate::doors) struct Attended(Going);

enum Going {
    /// Driven by whoever waits for it.
    Here(Call),
    /// In a task of its own.
    Apart(JoinHandle<Reply>),
    Over,
}

impl Attended {
    pub(in crate::doors) fn new(call: impl Future<Output = Reply> + Send + 'static) -> Self {
        Self(Going::Here(Box::pin(call)))
    }

    /// One that has a task of its own.
    pub(in crate::doors) fn of(task: JoinHandle<Reply>) -> Self {
        Self(Going::Apart(task))
    }

    /// The task of its own in which it goes on; `None` if it is over.
    pub(in crate::doors) fn into_task(mut self) -> Option<JoinHandle<Reply>> {
        self.go_apart();
        match std::mem::replace(&mut self.0, Going::Over) {
            Going::Apart(task) => Some(task),
            Going::Here(_) | Going::Over => None,
        }
    }

    /// From now on it goes on although nobody asks how it is.
    pub(in crate::doors) fn go_apart(&mut self) {
        self.0 = match std::mem::replace(&mut self.0, Going::Over) {
            Going::Here(call) => Going::Apart(tokio::spawn(call)),
            other @ (Going::Apart(_) | Going::Over) => other,
        };
    }
}

impl Future for Attended {
    type Output = Option<Reply>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Reply>> {
        let polled = match &mut self.0 {
            // As in a task of its own: what a call breaks is this call, not the connection that others may share.
            Going::Here(call) => catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(context)))
                .map_or(Poll::Ready(None), |polled| polled.map(Some)),
            Going::Apart(task) => Pin::new(task).poll(context).map(Result::ok),
            Going::Over => Poll::Ready(None),
        };
        if polled.is_ready() {
            self.0 = Going::Over;
        }
        polled
    }
}

impl Drop for Attended {
    fn drop(&mut self) {
        let going = std::mem::replace(&mut self.0, Going::Over);
        // Without a runtime the process is at its end, and the log says at the next start what was left open.
        if let (Going::Here(call), Ok(runtime)) = (going, Handle::try_current()) {
            drop(runtime.spawn(call));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calls::{Timings, unrecorded};
    use countersign_gateway::refusal::{Besides, Code, Refusal};
    use tokio::sync::oneshot;

    fn reply() -> Reply {
        let refusal = Refusal::never(Code::GatewayHeld);
        unrecorded(&refusal, Besides::STRANGER, Timings::default())
    }

    /// A call that waits to be told, and tells that it is done.
    fn waiting() -> (Attended, oneshot::Sender<()>, oneshot::Receiver<()>) {
        let (go, told) = oneshot::channel();
        let (done, is_done) = oneshot::channel();
        let call = Attended::new(async move {
            told.await.unwrap();
            done.send(()).unwrap();
            reply()
        });
        (call, go, is_done)
    }

    #[tokio::test]
    async fn a_call_whose_client_went_away_is_carried_out() {
        let (mut call, go, done) = waiting();
        assert!(futures_pending(&mut call).await);
        drop(call);
        go.send(()).unwrap();
        done.await.unwrap();
    }

    #[tokio::test]
    async fn a_call_goes_on_although_nobody_asks_how_it_is() {
        let (mut call, go, done) = waiting();
        assert!(futures_pending(&mut call).await);
        call.go_apart();
        go.send(()).unwrap();
        done.await.unwrap();
        assert!(call.await.is_some());
    }

    #[tokio::test]
    async fn a_call_that_panics_takes_nothing_with_it() {
        let call = Attended::new(async { panic!("broken") });
        assert!(call.await.is_none());
    }

    async fn futures_pending(call: &mut Attended) -> bool {
        std::future::poll_fn(|context| Poll::Ready(Pin::new(&mut *call).poll(context).is_pending()))
            .await
    }
}

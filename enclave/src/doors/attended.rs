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

type Going = Pin<Box<dyn Future<Output = Reply> + Send>>;

/// A call on its way. Comes to nothing if the call panicked.
pub(in crate::doors) struct Attended {
    going: Option<Going>,
}

impl Attended {
    pub(in crate::doors) fn new(call: impl Future<Output = Reply> + Send + 'static) -> Self {
        Self {
            going: Some(Box::pin(call)),
        }
    }

    /// The same, no longer driven by whoever waits for it.
    pub(in crate::doors) fn by_itself(mut self) -> Option<JoinHandle<Reply>> {
        self.going.take().map(tokio::spawn)
    }
}

impl Future for Attended {
    type Output = Option<Reply>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Reply>> {
        let Some(going) = &mut self.going else {
            return Poll::Ready(None);
        };
        // As in a task of its own: what a call breaks is this call, not the connection that others may share.
        let polled = catch_unwind(AssertUnwindSafe(|| going.as_mut().poll(context)));
        let reply = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(reply)) => Some(reply),
            Err(_) => None,
        };
        self.going = None;
        Poll::Ready(reply)
    }
}

impl Drop for Attended {
    fn drop(&mut self) {
        // Without a runtime the process is at its end, and the log says at the next start what was left open.
        if let (Some(going), Ok(runtime)) = (self.going.take(), Handle::try_current()) {
            drop(runtime.spawn(going));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calls::{Timings, unrecorded};
    use countersign_gateway::refusal::{Code, Refusal};
    use tokio::sync::oneshot;

    fn reply() -> Reply {
        unrecorded(Refusal::never(Code::GatewayHeld), Timings::default())
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
        let task = call.by_itself().unwrap();
        go.send(()).unwrap();
        done.await.unwrap();
        task.await.unwrap();
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

//! An answer that is told bit by bit: server-sent events.
//!
//! In: frames as they come, and what ends them. Out: a body. A comment now and then keeps proxies
//! from closing a silent one. Dropped before its end, it says that the client went away.
//!
//! SPEC: WHATWG HTML, "Server-sent events".

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame};
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// Time between two comments on a silent stream.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What follows the last frame: the answer, if the stream has one.
type Last = Pin<Box<dyn Future<Output = Option<Bytes>> + Send>>;

struct Events {
    first: Option<Bytes>,
    frames: mpsc::Receiver<Bytes>,
    last: Option<Last>,
    beat: Interval,
}

/// A response that streams frames, and then what `last` comes to.
pub(super) fn response(
    first: Option<Bytes>,
    frames: mpsc::Receiver<Bytes>,
    last: impl Future<Output = Option<Bytes>> + Send + 'static,
) -> Response {
    let mut beat = interval(KEEP_ALIVE);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    beat.reset();
    let events = Events {
        first,
        frames,
        last: Some(Box::pin(last)),
        beat,
    };
    let mut response = Response::new(Body::new(events));
    let headers = response.headers_mut();
    let kind = HeaderValue::from_static("text/event-stream");
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-cache, no-store"),
    );
    headers.insert(
        HeaderName::from_static("x-accel-buffering"),
        HeaderValue::from_static("no"),
    );
    response
}

/// One event. A message with line breaks takes several lines.
fn event(message: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(message.len().saturating_add(32));
    out.extend_from_slice(b"event: message\n");
    for line in message.split(|b| matches!(b, b'\n' | b'\r')) {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(line);
        out.push(b'\n');
    }
    out.push(b'\n');
    Bytes::from(out)
}

impl HttpBody for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let send = |message: &Bytes| Poll::Ready(Some(Ok(Frame::data(event(message)))));
        if let Some(first) = self.first.take() {
            return send(&first);
        }
        match self.frames.poll_recv(context) {
            Poll::Ready(Some(frame)) => return send(&frame),
            // Whoever told is done; now the answer.
            Poll::Ready(None) => {
                let Some(last) = self.last.as_mut() else {
                    return Poll::Ready(None);
                };
                if let Poll::Ready(answer) = last.as_mut().poll(context) {
                    self.last = None;
                    return match answer {
                        Some(answer) => send(&answer),
                        None => Poll::Ready(None),
                    };
                }
            }
            Poll::Pending => {}
        }
        match self.beat.poll_tick(context) {
            Poll::Ready(_) => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b":\n\n"))))),
            Poll::Pending => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_with_line_breaks_is_one_event() {
        assert_eq!(
            event(b"{\n\"a\":1}"),
            "event: message\ndata: {\ndata: \"a\":1}\n\n"
        );
    }
}

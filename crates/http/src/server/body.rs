//! Bodies: a request's, which has to be there in time, and an answer's, which holds its request open until it is sent.

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use super::connection::{Open, Requests};

type BoxError = Box<dyn Error + Send + Sync>;

/// The client did not send the body in time.
#[derive(Debug, thiserror::Error)]
#[error("the body took too long")]
struct TooSlow;

/// Whether a body could not be read because the client took too long to send it.
pub(crate) fn is_too_slow(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<TooSlow>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// A request's body until `deadline`.
pub(super) struct Timed {
    body: Incoming,
    deadline: Instant,
    /// Made when the body is waited for the first time; most come with their head.
    timer: Option<Pin<Box<Sleep>>>,
    late: Arc<AtomicBool>,
    requests: Arc<Requests>,
}

impl Drop for Timed {
    fn drop(&mut self) {
        if !self.body.is_end_stream() {
            self.requests.left_unread();
        }
    }
}

/// Tells, after a body was read, whether it came too late.
pub(super) struct Late(Option<Arc<AtomicBool>>);

impl Late {
    pub(super) fn is_late(&self) -> bool {
        self.0.as_ref().is_some_and(|late| late.load(Ordering::Relaxed))
    }
}

/// Gives a body its deadline.
pub(super) fn timed(body: Incoming, deadline: Instant, requests: &Arc<Requests>) -> (axum::body::Body, Late) {
    if body.is_end_stream() {
        return (axum::body::Body::empty(), Late(None));
    }
    let late = Arc::new(AtomicBool::new(false));
    let body = Timed { body, deadline, timer: None, late: Arc::clone(&late), requests: Arc::clone(requests) };
    (axum::body::Body::new(body), Late(Some(late)))
}

impl Body for Timed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let deadline = this.deadline;
        let timer = this.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        ready!(timer.as_mut().poll(cx));
        this.late.store(true, Ordering::Relaxed);
        Poll::Ready(Some(Err(TooSlow.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Marks an answer that goes on for as long as its client takes what it is sent: the time of its request begins anew
/// with each part.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Endless;

/// An answer's body. Its request is open until the connection has taken all of it.
pub(super) struct Answer {
    pub(super) body: axum::body::Body,
    pub(super) open: Open,
    pub(super) endless: bool,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        let frame = Pin::new(&mut this.body).poll_frame(cx);
        if this.endless && frame.is_ready() {
            this.open.renew();
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

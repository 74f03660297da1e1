//! The two bodies of an exchange, streamed with the peer's pace and never held whole.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::task::AbortHandle;

use super::http1::{Content, Fault};
use super::pool::Lease;
use crate::deadline::{Deadline, Deadlines};

/// Why a client's body could not be passed on whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyFault {
    /// More bytes than the route allows.
    TooLarge,
    /// None came for longer than the limit.
    Stalled,
    /// The client broke off.
    Broken,
}

/// The error that ends a request body early, and with it the connection on which it was sent.
#[derive(Debug, thiserror::Error)]
#[error("the request body ended early: {0:?}")]
pub struct BodyError(BodyFault);

impl BodyError {
    pub(super) const fn new(fault: BodyFault) -> Self {
        Self(fault)
    }

    /// What went wrong.
    pub const fn fault(&self) -> BodyFault {
        self.0
    }
}

/// A client's body on its way to an upstream.
#[derive(Debug)]
pub struct RequestBody(Option<Box<Streaming>>);

#[derive(Debug)]
struct Streaming {
    incoming: Incoming,
    left: u64,
    stall: Duration,
    deadline: Deadline,
}

impl RequestBody {
    /// No body.
    pub const fn empty() -> Self {
        Self(None)
    }

    /// At most `limit` bytes of `incoming`, of which some must come every `stall`.
    pub fn new(incoming: Incoming, limit: u64, stall: Duration, deadlines: &Rc<Deadlines>) -> Self {
        if incoming.is_end_stream() {
            return Self::empty();
        }
        let deadline = deadlines.entry();
        Self(Some(Box::new(Streaming { incoming, left: limit, stall, deadline })))
    }
}

fn fail(fault: BodyFault) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
    Poll::Ready(Some(Err(BodyError(fault))))
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(streaming) = &mut self.0 else { return Poll::Ready(None) };
        let frame = match Pin::new(&mut streaming.incoming).poll_frame(cx) {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                // Armed on the first wait after a piece, so that each piece has its own time.
                if !streaming.deadline.is_armed() {
                    streaming.deadline.arm(streaming.stall);
                }
                ready!(streaming.deadline.poll(cx));
                return fail(BodyFault::Stalled);
            }
        };
        streaming.deadline.disarm();
        let frame = match frame {
            None => return Poll::Ready(None),
            Some(Err(_)) => return fail(BodyFault::Broken),
            Some(Ok(frame)) => frame,
        };
        let length = frame.data_ref().map_or(0, |data| data.len() as u64);
        match streaming.left.checked_sub(length) {
            Some(left) => streaming.left = left,
            None => return fail(BodyFault::TooLarge),
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|streaming| streaming.incoming.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            None => SizeHint::with_exact(0),
            Some(streaming) => streaming.incoming.size_hint(),
        }
    }
}

/// An upstream's body on its way to a client.
#[derive(Debug)]
pub struct ResponseBody {
    content: Content,
    /// The connection, until nothing of the body is left on it.
    lease: Option<Lease>,
    /// Goes on sending the request, if this answer began before that was whole.
    sending: Option<Sending>,
    /// How it was cut off, not told yet.
    broken: Option<ResponseError>,
    idle: Duration,
    deadline: Option<Deadline>,
    deadlines: Rc<Deadlines>,
}

/// A task that ends with the answer at the latest.
#[derive(Debug)]
pub(super) struct Sending(pub(super) AbortHandle);

impl Drop for Sending {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Why a response body was cut off.
#[derive(Debug, thiserror::Error)]
pub enum ResponseError {
    /// The upstream broke off, or sent what has no one meaning.
    #[error("the upstream broke off: {0}")]
    Broken(#[source] Fault),
    /// None came for longer than the upstream's `idle_timeout`.
    #[error("the upstream sent nothing for longer than idle_timeout")]
    Stalled,
}

impl ResponseBody {
    pub(super) fn new(
        content: Content,
        lease: Lease,
        sending: Option<Sending>,
        idle: Duration,
        deadlines: Rc<Deadlines>,
    ) -> Self {
        let (lease, deadline, broken) = (Some(lease), None, None);
        let mut body = Self { content, lease, sending, broken, idle, deadline, deadlines };
        body.release_if_whole();
        body
    }

    /// What stands in for a body after a 101: the connection is HTTP's no more.
    pub(super) fn switched(lease: Lease, idle: Duration, deadlines: Rc<Deadlines>) -> Self {
        let (content, lease, deadline) = (Content::none(), Some(lease), None);
        Self { content, lease, sending: None, broken: None, idle, deadline, deadlines }
    }

    /// The connection may serve another request as soon as nothing of this body is left on it.
    fn release_if_whole(&mut self) {
        if self.content.is_end()
            && let Some(lease) = self.lease.take()
            && self.content.is_reusable()
        {
            lease.give_back();
        }
    }

    /// Ends the body where it stands, one turn later: what came before the break is sent first, so
    /// that the client sees an answer that breaks off, and not none.
    fn cut<T>(&mut self, cx: &Context<'_>, error: ResponseError) -> Poll<T> {
        // A connection that saw disorder is never used again.
        (self.lease, self.sending, self.broken) = (None, None, Some(error));
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// How long the upstream may be silent.
    pub fn idle_limit(&self) -> Duration {
        self.idle
    }

    /// Gives the connection up for another use than HTTP; it never goes back to the pool.
    pub(super) fn into_lease(mut self) -> Option<Lease> {
        self.lease.take()
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = ResponseError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ResponseError>>> {
        let this = &mut *self;
        let Some(lease) = &mut this.lease else {
            return Poll::Ready(this.broken.take().map(Err));
        };
        match lease.poll_content(cx, &mut this.content) {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(deadline) = &this.deadline {
                    deadline.disarm();
                }
                this.release_if_whole();
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                this.release_if_whole();
                this.sending = None;
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(fault))) => this.cut(cx, ResponseError::Broken(fault)),
            Poll::Pending => {
                let deadline = this.deadline.get_or_insert_with(|| this.deadlines.entry());
                if !deadline.is_armed() {
                    deadline.arm(this.idle);
                }
                ready!(deadline.poll(cx));
                this.cut(cx, ResponseError::Stalled)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.content.is_end()
    }

    fn size_hint(&self) -> SizeHint {
        self.content.size_hint()
    }
}

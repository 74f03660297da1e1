//! The two bodies of an exchange, streamed with the peer's pace and never held whole.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

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

/// Where a [`RequestBody`] leaves word of its fault for the one who awaits the response.
pub type FaultCell = Rc<Cell<Option<BodyFault>>>;

/// The error that ends a request body early; it makes hyper cut the upstream connection.
#[derive(Debug, thiserror::Error)]
#[error("the request body ended early: {0:?}")]
pub struct BodyError(BodyFault);

/// A client's body on its way to an upstream.
#[derive(Debug)]
pub struct RequestBody(Option<Box<Streaming>>);

#[derive(Debug)]
struct Streaming {
    incoming: Incoming,
    left: u64,
    stall: Duration,
    deadline: Deadline,
    fault: FaultCell,
}

impl RequestBody {
    /// No body.
    pub const fn empty() -> Self {
        Self(None)
    }

    /// At most `limit` bytes of `incoming`, of which some must come every `stall`. The second
    /// value tells afterwards what went wrong.
    pub fn new(
        incoming: Incoming,
        limit: u64,
        stall: Duration,
        deadlines: &Rc<Deadlines>,
    ) -> (Self, Option<FaultCell>) {
        if incoming.is_end_stream() {
            return (Self::empty(), None);
        }
        let fault = FaultCell::default();
        let streaming = Streaming {
            incoming,
            left: limit,
            stall,
            deadline: deadlines.entry(),
            fault: Rc::clone(&fault),
        };
        (Self(Some(Box::new(streaming))), Some(fault))
    }
}

impl Streaming {
    fn fail(&self, fault: BodyFault) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.fault.set(Some(fault));
        Poll::Ready(Some(Err(BodyError(fault))))
    }
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
                return streaming.fail(BodyFault::Stalled);
            }
        };
        streaming.deadline.disarm();
        let frame = match frame {
            None => return Poll::Ready(None),
            Some(Err(_)) => return streaming.fail(BodyFault::Broken),
            Some(Ok(frame)) => frame,
        };
        let length = frame.data_ref().map_or(0, |data| data.len() as u64);
        match streaming.left.checked_sub(length) {
            Some(left) => streaming.left = left,
            None => return streaming.fail(BodyFault::TooLarge),
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
    incoming: Incoming,
    lease: Option<Lease>,
    idle: Duration,
    deadline: Option<Deadline>,
    deadlines: Rc<Deadlines>,
}

/// Why a response body was cut off.
#[derive(Debug, thiserror::Error)]
pub enum ResponseError {
    /// The upstream broke off.
    #[error("the upstream broke off: {0}")]
    Broken(#[source] hyper::Error),
    /// None came for longer than the upstream's `idle_timeout`.
    #[error("the upstream sent nothing for longer than idle_timeout")]
    Stalled,
}

impl ResponseBody {
    pub(super) fn new(
        incoming: Incoming,
        lease: Lease,
        idle: Duration,
        deadlines: Rc<Deadlines>,
    ) -> Self {
        Self { incoming, lease: Some(lease), idle, deadline: None, deadlines }
    }

    /// The connection may serve another request as soon as nothing of this body is left on it.
    pub(super) fn release_if_whole(&mut self) {
        if self.incoming.is_end_stream()
            && let Some(lease) = self.lease.take()
        {
            lease.give_back();
        }
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
        match Pin::new(&mut this.incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(deadline) = &this.deadline {
                    deadline.disarm();
                }
                this.release_if_whole();
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                if let Some(lease) = this.lease.take() {
                    lease.give_back();
                }
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                // A connection that saw disorder is never used again.
                this.lease = None;
                Poll::Ready(Some(Err(ResponseError::Broken(error))))
            }
            Poll::Pending => {
                let deadline = this.deadline.get_or_insert_with(|| this.deadlines.entry());
                if !deadline.is_armed() {
                    deadline.arm(this.idle);
                }
                ready!(deadline.poll(cx));
                this.lease = None;
                Poll::Ready(Some(Err(ResponseError::Stalled)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

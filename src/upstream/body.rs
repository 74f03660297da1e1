//! The two bodies of an exchange, streamed with the peer's pace and never held whole.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::Version;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::task::AbortHandle;

use super::http1::{Content, Fault};
use super::http2::Open;
use super::pool::{Lease, Slot};
use crate::deadline::{Deadline, Deadlines, End, TICK, Timer};
use crate::message::fields;
use crate::message::incoming::ClientBody;
use crate::message::trailers::Trailing;

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
    incoming: ClientBody,
    /// Whether it comes as a stream of HTTP/2, which says by itself that it is whole.
    stream: bool,
    left: u64,
    pace: Pace,
    deadline: Deadline,
    waited: Waited,
    watch: Option<Watch>,
    /// What of its trailers goes on; without it, none of them.
    trailing: Option<Trailing>,
}

/// How slowly a client may send its body.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Some bytes must come in each such time.
    pub stall: Duration,
    /// So many must come in each second of waiting, once `stall` has been waited in all; 0: any.
    pub rate: u64,
}

/// What a client's body has cost in time: only while we wait for the client, for an application that
/// takes little at a time is not the client's fault.
#[derive(Debug, Default)]
struct Waited {
    since: Option<u32>,
    ticks: u32,
    bytes: u64,
}

impl Waited {
    fn begin(&mut self, now: u32) {
        self.since.get_or_insert(now);
    }

    fn end(&mut self, now: u32, bytes: u64) {
        if let Some(since) = self.since.take() {
            self.ticks = self.ticks.saturating_add(now.saturating_sub(since));
        }
        self.bytes = self.bytes.saturating_add(bytes);
    }

    fn is_too_slow(&self, pace: Pace) -> bool {
        let waited = TICK.saturating_mul(self.ticks);
        waited > pace.stall && self.bytes < pace.rate.saturating_mul(waited.as_secs())
    }
}

/// For a connection that asks for the body by itself: whose turn it is, and what went wrong.
#[derive(Debug, Clone)]
pub(super) struct Watch {
    /// The server's time: anew for each piece that it is given, and not while the client is waited
    /// for.
    pub(super) server: Timer,
    pub(super) limit: Duration,
    /// When the exchange must be over.
    pub(super) end: End,
    pub(super) fault: Rc<Cell<Option<BodyFault>>>,
}

impl RequestBody {
    /// No body.
    pub const fn empty() -> Self {
        Self(None)
    }

    /// At most `limit` bytes of `incoming`, a body of `version`, at this pace at least; of its trailers
    /// what `trailing` lets through.
    pub fn new(
        (version, incoming): (Version, ClientBody),
        trailing: Option<Trailing>,
        limit: u64,
        pace: Pace,
        deadlines: &Rc<Deadlines>,
    ) -> Self {
        if incoming.is_end_stream() {
            return Self::empty();
        }
        let deadline = deadlines.entry();
        let watch = None;
        Self(Some(Box::new(Streaming {
            incoming,
            stream: version == Version::HTTP_2,
            left: limit,
            pace,
            deadline,
            waited: Waited::default(),
            watch,
            trailing,
        })))
    }
}

impl RequestBody {
    /// Has the body tell how it gets on.
    pub(super) fn watch(&mut self, watch: Watch) {
        if let Some(streaming) = &mut self.0 {
            streaming.watch = Some(watch);
        }
    }
}

impl Streaming {
    fn fail(&self, fault: BodyFault) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(watch) = &self.watch {
            watch.fault.set(Some(fault));
        }
        Poll::Ready(Some(Err(BodyError(fault))))
    }

    /// A client's trailers are no more to be believed than its head.
    fn cleaned(&self, mut frame: Frame<Bytes>) -> Frame<Bytes> {
        if let Some(trailers) = frame.trailers_mut() {
            match &self.trailing {
                Some(trailing) => trailing.clean(trailers),
                None => trailers.clear(),
            }
        }
        frame
    }

    /// `true`: the server's; `false`: the client's.
    fn turn(&self, servers: bool) {
        if let Some(watch) = &self.watch {
            watch.server.arm_within(servers.then_some(watch.limit), watch.end);
        }
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
                    streaming.deadline.arm(streaming.pace.stall);
                }
                streaming.waited.begin(streaming.deadline.now());
                streaming.turn(false);
                ready!(streaming.deadline.poll(cx));
                return streaming.fail(BodyFault::Stalled);
            }
        };
        streaming.deadline.disarm();
        streaming.turn(true);
        let frame = match frame {
            // RFC 9113 section 8.1: without END_STREAM it is not whole, though hyper takes a stream that
            // is reset without an error for one that has ended.
            None if streaming.stream && !streaming.incoming.is_end_stream() => {
                return streaming.fail(BodyFault::Broken);
            }
            None => return Poll::Ready(None),
            Some(Err(_)) => return streaming.fail(BodyFault::Broken),
            Some(Ok(frame)) => streaming.cleaned(frame),
        };
        let length = frame.data_ref().map_or(0, |data| data.len() as u64);
        streaming.waited.end(streaming.deadline.now(), length);
        if streaming.waited.is_too_slow(streaming.pace) {
            return streaming.fail(BodyFault::Stalled);
        }
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
    source: Source,
    /// How it was cut off, not told yet.
    broken: Option<ResponseError>,
    idle: Duration,
    /// When it must be whole.
    end: End,
    deadline: Option<Deadline>,
    deadlines: Rc<Deadlines>,
}

#[derive(Debug)]
enum Source {
    One {
        content: Content,
        /// The connection, until nothing of the body is left on it.
        lease: Option<Lease>,
        /// Goes on sending the request, if this answer began before that was whole.
        sending: Option<Sending>,
    },
    Two {
        incoming: Incoming,
        /// What counts it as under way, until its end.
        held: Option<(Open, Slot)>,
    },
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
    /// The stream was reset, or its connection broke.
    #[error("the upstream broke off: {0}")]
    Stream(#[source] hyper::Error),
    /// None came for longer than `idle_timeout`.
    #[error("the upstream sent nothing for longer than idle_timeout")]
    Stalled,
    /// The exchange was not over in time.
    #[error("the exchange took longer than total_timeout")]
    Late,
}

impl ResponseBody {
    pub(super) fn new(
        content: Content,
        lease: Lease,
        sending: Option<Sending>,
        (idle, end): (Duration, End),
        deadlines: Rc<Deadlines>,
    ) -> Self {
        let source = Source::One { content, lease: Some(lease), sending };
        let mut body = Self { source, broken: None, idle, end, deadline: None, deadlines };
        body.release_if_whole();
        body
    }

    /// What stands in for a body after a 101: the connection is HTTP's no more.
    pub(super) fn switched(lease: Lease, idle: Duration, deadlines: Rc<Deadlines>) -> Self {
        let source = Source::One { content: Content::none(), lease: Some(lease), sending: None };
        Self { source, broken: None, idle, end: End::NEVER, deadline: None, deadlines }
    }

    /// Of a stream among others.
    pub(super) fn stream(
        incoming: Incoming,
        held: (Open, Slot),
        (idle, end): (Duration, End),
        deadlines: Rc<Deadlines>,
    ) -> Self {
        let source = Source::Two { incoming, held: Some(held) };
        let mut body = Self { source, broken: None, idle, end, deadline: None, deadlines };
        body.release_if_whole();
        body
    }

    /// The connection may serve another request as soon as nothing of this body is left on it.
    fn release_if_whole(&mut self) {
        match &mut self.source {
            Source::One { content, lease, .. } => {
                if content.is_end()
                    && let Some(lease) = lease.take()
                    && content.is_reusable()
                {
                    lease.give_back();
                }
            }
            Source::Two { incoming, held } => {
                if incoming.is_end_stream() {
                    *held = None;
                }
            }
        }
    }

    /// Ends the body where it stands, one turn later: what came before the break is sent first, so
    /// that the client sees an answer that breaks off, and not none.
    fn cut<T>(&mut self, cx: &Context<'_>, error: ResponseError) -> Poll<T> {
        // What saw disorder is never used again.
        match &mut self.source {
            Source::One { lease, sending, .. } => (*lease, *sending) = (None, None),
            Source::Two { held, .. } => *held = None,
        }
        self.broken = Some(error);
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// How long the upstream may be silent.
    pub fn idle_limit(&self) -> Duration {
        self.idle
    }

    /// Gives the connection up for another use than HTTP; it never goes back to the pool.
    pub(super) fn into_lease(self) -> Option<Lease> {
        match self.source {
            Source::One { lease, .. } => lease,
            Source::Two { .. } => None,
        }
    }
}

impl Source {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ResponseError>>> {
        match self {
            Self::One { lease: None, .. } => Poll::Ready(None),
            Self::One { content, lease: Some(lease), .. } => {
                let polled = ready!(lease.poll_content(cx, content));
                Poll::Ready(polled.map(|frame| frame.map_err(ResponseError::Broken)))
            }
            Self::Two { incoming, .. } => {
                let polled = ready!(Pin::new(&mut *incoming).poll_frame(cx));
                if polled.is_none() && !incoming.is_end_stream() {
                    // As of a request: reset without an error, and yet not whole.
                    let reset = ResponseError::Broken(Fault::Closed("within the body"));
                    return Poll::Ready(Some(Err(reset)));
                }
                Poll::Ready(polled.map(|frame| frame.map_err(ResponseError::Stream)))
            }
        }
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
        if let Some(error) = this.broken.take() {
            return Poll::Ready(Some(Err(error)));
        }
        if this.deadlines.is_past(this.end)
            && !matches!(this.source, Source::One { lease: None, .. })
        {
            return this.cut(cx, ResponseError::Late);
        }
        match this.source.poll(cx) {
            Poll::Ready(Some(Ok(mut frame))) => {
                if let Some(trailers) = frame.trailers_mut() {
                    fields::strip_trailers(trailers);
                }
                if let Some(deadline) = &this.deadline {
                    deadline.disarm();
                }
                this.release_if_whole();
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                this.release_if_whole();
                match &mut this.source {
                    Source::One { sending, .. } => *sending = None,
                    Source::Two { held, .. } => *held = None,
                }
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => this.cut(cx, error),
            Poll::Pending => {
                let deadline = this.deadline.get_or_insert_with(|| this.deadlines.entry());
                if !deadline.is_armed() {
                    deadline.arm_within(Some(this.idle), this.end);
                }
                ready!(deadline.poll(cx));
                let late = this.deadlines.is_past(this.end);
                this.cut(cx, if late { ResponseError::Late } else { ResponseError::Stalled })
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::One { content, .. } => content.is_end(),
            Source::Two { incoming, .. } => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::One { content, .. } => content.size_hint(),
            Source::Two { incoming, .. } => incoming.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trickle_is_too_slow_and_a_pause_or_a_slow_application_is_not() {
        let pace = Pace { stall: Duration::from_secs(30), rate: 64 };
        let second = 4;
        let mut trickle = Waited::default();
        let mut now = 0;
        let mut cut_after = 0;
        while !trickle.is_too_slow(pace) {
            // A byte every ten seconds is no stall, and yet no way to send a body.
            trickle.begin(now);
            now += 10 * second;
            trickle.end(now, 1);
            cut_after += 10;
            assert!(cut_after < 100);
        }
        assert_eq!(cut_after, 40, "as soon as there is no doubt");
        // One that has sent much may pause; time for which nobody waited does not count.
        let mut honest = Waited::default();
        honest.end(0, 1 << 20);
        honest.begin(0);
        honest.end(300 * second, 1);
        assert!(!honest.is_too_slow(pace));
        let mut held_back = Waited::default();
        for minute in 0..60 {
            held_back.begin(minute * 60 * second);
            held_back.end(minute * 60 * second, 1);
        }
        assert!(!held_back.is_too_slow(pace));
        let mut any = Waited::default();
        any.begin(0);
        any.end(1000 * second, 1);
        assert!(!any.is_too_slow(Pace { rate: 0, ..pace }));
    }
}

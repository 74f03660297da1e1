//! A byte stream that tells its connection when something moves, so that slow senders and slow
//! readers can be told from slow networks.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::accept::ConnectionPermit;
use crate::deadline::Timer;
use crate::message::arrival::BodyAt;

const IDLE: u8 = 0;
const HEAD: u8 = 1;
const BUSY: u8 = 2;

const WHOLE: u8 = 0;
const TAKEN: u8 = 1;
const WANTED: u8 = 2;

/// How much, and for how long, of a body that nobody wants is taken in before the connection goes.
const LINGER_BYTES: usize = 8 * 1024 * 1024;
const LINGER: Duration = Duration::from_secs(2);

/// How long a connection that shall end may take to bring one more request: what a client has sent
/// already gets its answer, which says that it is the last.
const LAST_CALL: Duration = Duration::from_secs(2);

/// Where a connection stands, shared by its byte stream and its requests.
#[derive(Debug, Clone)]
pub(super) struct Pulse(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    phase: AtomicU8,
    /// How far the body of the last request has been read.
    body: AtomicU8,
    /// Requests that it may still bring.
    left: AtomicU32,
    /// The request under way is the last one, or the next one is.
    last: AtomicBool,
    /// Idle, or a request head under way.
    reading: Timer,
    /// A write that the peer does not take.
    writing: Timer,
    times: Times,
}

/// How long a peer may keep a connection without moving on, and for how much.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    /// Requests; `u32::MAX`: any number.
    pub(super) requests: u32,
    /// Between requests.
    pub(super) keep_alive: Duration,
    /// For a request head, from its first byte.
    pub(super) head: Duration,
    /// For taking any part of what is written.
    pub(super) write_stall: Duration,
}

impl Pulse {
    pub(super) fn new(reading: Timer, writing: Timer, times: Times) -> Self {
        // A new connection owes its first head at once.
        reading.arm(times.head);
        Self(Arc::new(Inner {
            phase: AtomicU8::new(HEAD),
            body: AtomicU8::new(WHOLE),
            left: AtomicU32::new(times.requests),
            last: AtomicBool::new(false),
            reading,
            writing,
            times,
        }))
    }

    /// A request's head has been read, and whether a body follows: from here on its own limits
    /// hold.
    pub(super) fn busy(&self, body: bool) {
        self.0.body.store(if body { WANTED } else { WHOLE }, Ordering::Relaxed);
        self.0.phase.store(BUSY, Ordering::Relaxed);
        self.0.reading.disarm();
    }

    /// How far the reader of the request's body has come.
    pub(super) fn body(&self, at: BodyAt) {
        let at = match at {
            BodyAt::Whole => WHOLE,
            BodyAt::Taken => TAKEN,
            BodyAt::Wanted => WANTED,
        };
        self.0.body.store(at, Ordering::Relaxed);
    }

    /// Whether more of the request's body is waited for.
    pub(super) fn wants_body(&self) -> bool {
        self.0.body.load(Ordering::Relaxed) == WANTED
    }

    /// Whether the peer may still be sending what it has begun: a body that was not read, or a head that
    /// was refused for its size or its form.
    fn may_bring_more(&self) -> bool {
        self.0.body.load(Ordering::Relaxed) != WHOLE || self.0.phase.load(Ordering::Relaxed) == HEAD
    }

    /// Whether a request is under way.
    pub(super) fn answers(&self) -> bool {
        self.0.phase.load(Ordering::Relaxed) == BUSY
    }

    /// No request can follow this one.
    pub(super) fn close_after_this(&self) {
        self.0.last.store(true, Ordering::Relaxed);
    }

    /// One more request has come.
    pub(super) fn count(&self) {
        let left = self.0.left.load(Ordering::Relaxed);
        if left != u32::MAX {
            let left = left.saturating_sub(1);
            self.0.left.store(left, Ordering::Relaxed);
            if left == 0 {
                self.0.last.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Whether no request is to come after this one.
    pub(super) fn is_last(&self) -> bool {
        self.0.last.load(Ordering::Relaxed)
    }

    /// The connection shall end. `false`: no request is under way, and one that is on its way is given
    /// a moment to come.
    pub(super) fn wind_down(&self) -> bool {
        self.0.last.store(true, Ordering::Relaxed);
        let busy = self.0.phase.load(Ordering::Relaxed) == BUSY;
        if !busy {
            self.0.reading.arm(LAST_CALL);
        }
        busy
    }

    /// No request is under way any more.
    pub(super) fn idle(&self) {
        self.0.phase.store(IDLE, Ordering::Relaxed);
        self.0.reading.arm(self.0.times.keep_alive);
    }

    fn read(&self) {
        // Only the first bytes after a pause begin a head; more of them do not give more time.
        if self.0.phase.load(Ordering::Relaxed) == IDLE {
            self.0.phase.store(HEAD, Ordering::Relaxed);
            self.0.reading.arm(self.0.times.head);
        }
    }

    fn wrote(&self, progress: bool) {
        if progress {
            self.0.writing.disarm();
        } else {
            self.0.writing.arm_if_idle(self.0.times.write_stall);
        }
    }
}

/// The byte stream itself. It owns the permit of its connection, so that this counts for as long
/// as the stream lives, through an upgrade too.
#[derive(Debug)]
pub(super) struct Guarded<S> {
    io: TokioIo<S>,
    pulse: Pulse,
    heads: bool,
    /// Once our half is closed: bytes that may still be taken in.
    linger: Option<usize>,
    _permit: ConnectionPermit,
}

impl<S> Guarded<S> {
    /// `heads`: whether bytes after a pause are the head of a request, as in HTTP/1.1.
    pub(super) fn new(stream: S, pulse: Pulse, permit: ConnectionPermit, heads: bool) -> Self {
        Self { io: TokioIo::new(stream), pulse, heads, linger: None, _permit: permit }
    }
}

impl<S: AsyncRead + Unpin> Read for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let done = Pin::new(&mut self.io).poll_read(cx, buf);
        if self.heads && done.is_ready() {
            self.pulse.read();
        }
        done
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Write for Guarded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.io).poll_write(cx, buf);
        self.pulse.wrote(done.is_ready());
        done
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = Pin::new(&mut self.io).poll_flush(cx);
        self.pulse.wrote(done.is_ready());
        done
    }

    /// Closes our half. If more of a request may still be on its way, then takes it in until the peer has
    /// closed too: a socket that goes with unread bytes resets the connection, and the peer loses
    /// the answer that it was to read (RFC 9112 section 9.6).
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let mut left = match this.linger {
            Some(left) => left,
            None => {
                let done = Pin::new(&mut this.io).poll_shutdown(cx);
                this.pulse.wrote(done.is_ready());
                if !matches!(done, Poll::Ready(Ok(()))) || !this.pulse.may_bring_more() {
                    return done;
                }
                this.pulse.0.reading.arm(LINGER);
                LINGER_BYTES
            }
        };
        loop {
            this.linger = Some(left);
            let mut space = [0; 4096];
            let mut taken = ReadBuf::new(&mut space);
            let read = ready!(Pin::new(&mut this.io).poll_read(cx, taken.unfilled()));
            let count = taken.filled().len();
            left = match left.checked_sub(count) {
                Some(left) if read.is_ok() && count > 0 => left,
                _ => return Poll::Ready(Ok(())),
            };
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.pulse.wrote(done.is_ready());
        done
    }
}

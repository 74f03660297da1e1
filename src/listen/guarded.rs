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
use tokio::net::TcpStream;

use super::accept::ConnectionPermit;
use crate::deadline::Timer;

const IDLE: u8 = 0;
const HEAD: u8 = 1;
const BUSY: u8 = 2;

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
    /// The last request had a body, of which some may still be on its way.
    body: AtomicBool,
    /// Requests that it may still bring.
    left: AtomicU32,
    /// The request under way is the last one, or the next one is.
    last: AtomicBool,
    /// Requests that have come since then.
    beyond: AtomicU32,
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
    /// Between requests; and without a word to a client that says nothing more itself.
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
            body: AtomicBool::new(false),
            left: AtomicU32::new(times.requests),
            last: AtomicBool::new(false),
            beyond: AtomicU32::new(0),
            reading,
            writing,
            times,
        }))
    }

    /// A request's head has been read, and whether a body follows: from here on its own limits
    /// hold.
    pub(super) fn busy(&self, body: bool) {
        self.0.body.store(body, Ordering::Relaxed);
        self.0.phase.store(BUSY, Ordering::Relaxed);
        self.0.reading.disarm();
    }

    /// Whether the peer may still be sending what it has begun: a body that was not read, or a head that
    /// was refused for its size or its form.
    fn may_bring_more(&self) -> bool {
        self.0.body.load(Ordering::Relaxed) || self.0.phase.load(Ordering::Relaxed) == HEAD
    }

    /// One more request has come.
    pub(super) fn count(&self) {
        if self.is_last() {
            self.0.beyond.fetch_add(1, Ordering::Relaxed);
        }
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

    /// How many requests have come since the last one should have.
    pub(super) fn beyond(&self) -> u32 {
        self.0.beyond.load(Ordering::Relaxed)
    }

    /// The next request is the last one.
    pub(super) fn close(&self) {
        self.0.last.store(true, Ordering::Relaxed);
    }

    /// The connection shall end. `false`: no request is under way, and one that is on its way is given
    /// a moment to come.
    pub(super) fn wind_down(&self) -> bool {
        self.close();
        let busy = self.is_busy();
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

    fn is_busy(&self) -> bool {
        self.0.phase.load(Ordering::Relaxed) == BUSY
    }

    fn wrote(&self, progress: bool) {
        if progress {
            self.0.writing.disarm();
        } else {
            self.0.writing.arm_if_idle(self.0.times.write_stall);
        }
    }
}

/// A stream that can tell whether its peer has ended, while nobody reads from it.
pub(super) trait Ended {
    /// Ready when nothing more will come: in good order, or (an error) not. What comes meanwhile stays
    /// to be read.
    fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

impl Ended for TcpStream {
    fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match ready!(self.poll_peek(cx, &mut tokio::io::ReadBuf::new(&mut [0])))? {
            0 => Poll::Ready(Ok(())),
            _ => Poll::Pending,
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
    /// The client has ended its half (RFC 9112 section 9.5), and still gets its answer.
    half_closed: bool,
    /// Once our half is closed: bytes that may still be taken in.
    linger: Option<usize>,
    _permit: ConnectionPermit,
}

impl<S> Guarded<S> {
    /// `heads`: whether bytes after a pause are the head of a request, as in HTTP/1.1.
    pub(super) fn new(stream: S, pulse: Pulse, permit: ConnectionPermit, heads: bool) -> Self {
        let io = TokioIo::new(stream);
        Self { io, pulse, heads, half_closed: false, linger: None, _permit: permit }
    }

    /// Bytes were written, or nothing could be.
    fn wrote(&self, progress: bool) {
        self.pulse.wrote(progress);
        if progress && self.half_closed && self.pulse.is_busy() {
            self.pulse.0.reading.arm(self.pulse.0.times.keep_alive);
        }
    }
}

impl<S: Ended> Guarded<S> {
    /// Whether the client still waits for its answer: hyper does not read until it has sent that.
    ///
    /// One that has broken off is gone. One that has ended in good order may be gone as well, which
    /// only a write would tell: it is waited for as long as for any that says nothing.
    fn look(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.half_closed {
            self.pulse.0.reading.arm_if_idle(self.pulse.0.times.keep_alive);
        } else if let Poll::Ready(ended) = self.io.inner_mut().poll_ended(cx) {
            ended?;
            self.half_closed = true;
            self.pulse.0.reading.arm(self.pulse.0.times.keep_alive);
        }
        Ok(())
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

impl<S: AsyncRead + AsyncWrite + Ended + Unpin> Write for Guarded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.io).poll_write(cx, buf);
        self.wrote(done.is_ready());
        done
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = Pin::new(&mut self.io).poll_flush(cx);
        self.pulse.wrote(done.is_ready());
        if self.heads && self.pulse.is_busy() {
            self.look(cx)?;
        }
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
        self.wrote(done.is_ready());
        done
    }
}

//! The half of a connection that a client of HTTP/1.1 sends on. Who closes it once the request is whole
//! still waits for the answer (RFC 9112 section 9.6); hyper would take that for a client that is gone.
//!
//! Over TLS the close is a `close_notify`, which leaves the other direction open (RFC 8446 section 6.1).
//! A connection that ends without one is an error, and so is one that is reset: such a client is gone.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::guarded::Pulse;

/// How often the reader of a body is given a turn to take what came last before the end, until a body
/// that it still waits for is held to be cut off.
const TURNS: u8 = 2;

/// A stream whose end is not told while an answer to a whole request is under way.
#[derive(Debug)]
pub(super) struct Halves<S> {
    stream: S,
    pulse: Pulse,
    /// How many turns the reader of the body has had since the client's half was closed.
    ended: Option<u8>,
}

impl<S> Halves<S> {
    pub(super) const fn new(stream: S, pulse: Pulse) -> Self {
        Self { stream, pulse, ended: None }
    }

    /// The client sends no more: that is told now, or when the answer has been sent.
    fn end(&mut self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let turns = self.ended.unwrap_or_default();
        if !self.pulse.answers() {
            return Poll::Ready(Ok(()));
        }
        self.pulse.close_after_this();
        if self.pulse.wants_body() {
            if turns >= TURNS {
                return Poll::Ready(Ok(()));
            }
            cx.waker().wake_by_ref();
        }
        self.ended = Some(turns.saturating_add(1));
        // What goes on wakes the connection: the reader of the body, the answer, a limit of time.
        Poll::Pending
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Halves<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        space: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.ended.is_some() {
            return this.end(cx);
        }
        let before = space.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, space))?;
        if space.filled().len() == before && space.remaining() > 0 {
            return this.end(cx);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Halves<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

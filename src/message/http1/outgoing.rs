//! A message on its way out: the head, and the body in the framing that we gave it.

use std::fmt::Write as _;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::Body;
use tokio::io::AsyncWrite;

use crate::message::added::write_field;

/// A buffer for heads larger than this is not kept.
const KEPT_BYTES: usize = 4 * 1024;

/// RFC 9112 section 7.1
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
const LAST_LINE: &[u8] = b"0\r\n";
const CHUNK_END: &[u8] = b"\r\n";
const LAST_CHUNK_END: &[u8] = b"\r\n0\r\n\r\n";

/// What is still to be written of a message, in this order, and what comes after it.
#[derive(Debug, Default)]
pub struct Outgoing {
    /// The head, or the line before a chunk.
    before: Vec<u8>,
    /// How much of it has been written.
    written: usize,
    data: Bytes,
    after: &'static [u8],
    next: Next,
}

/// What to write when all that is there has been written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Next {
    /// A body of so many bytes more.
    Length(u64),
    /// A body of unknown length, by chunks (RFC 9112 section 7.1).
    Chunks,
    /// A body of unknown length, which ends with its connection (RFC 9112 section 6.3 item 8).
    ToClose,
    /// Nothing: then all is sent.
    End,
    /// All is sent.
    #[default]
    Sent,
    /// The peer takes no more.
    GivenUp,
}

impl Next {
    /// What becomes of `body`; `unknown` if it does not say how long it is.
    pub fn of(body: &impl Body, unknown: Self) -> Self {
        match body.size_hint().exact() {
            _ if body.is_end_stream() => Self::End,
            Some(length) => Self::Length(length),
            None => unknown,
        }
    }
}

/// Why a message was not sent whole. Its connection is of no use any more.
#[derive(Debug, thiserror::Error)]
pub enum Unsent<E> {
    /// Writing failed.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    /// There is no more of the body.
    #[error("the body ended early: {0}")]
    Body(E),
    /// The body has another length than it said.
    #[error("the body is not as long as it said")]
    Miscounted,
}

impl Outgoing {
    /// A new message, whose head is to be put into what is returned, and whose body becomes `next`. The
    /// framing is decided by us, from the body that we have, and from nothing that a peer said of it
    /// (RFC 9112 section 6).
    pub fn begin(&mut self, next: Next) -> &mut Vec<u8> {
        if self.before.capacity() > KEPT_BYTES {
            self.before = Vec::new();
        }
        self.before.clear();
        (self.written, self.data, self.after) = (0, Bytes::new(), b"");
        self.next = next;
        &mut self.before
    }

    /// Whether nothing more will be written.
    pub fn is_done(&self) -> bool {
        matches!(self.next, Next::Sent | Next::GivenUp)
    }

    /// Whether the peer has been sent all of it.
    pub fn is_sent(&self) -> bool {
        self.next == Next::Sent
    }

    /// The peer takes no more.
    pub fn give_up(&mut self) {
        self.next = Next::GivenUp;
    }

    /// Writes on. `turn` is told whose turn it is: the peer's (`true`), who has taken a part of it, or the
    /// body's.
    ///
    /// What there is of the body goes out together with the head: it is asked for first.
    ///
    /// # Errors
    /// See [`Unsent`].
    pub fn poll<S, B>(
        &mut self,
        stream: &mut S,
        body: &mut B,
        cx: &mut Context<'_>,
        turn: &mut impl FnMut(bool),
    ) -> Poll<Result<(), Unsent<B::Error>>>
    where
        S: AsyncWrite + Unpin,
        B: Body<Data = Bytes> + Unpin,
    {
        loop {
            if self.wants_body() {
                match Pin::new(&mut *body).poll_frame(cx) {
                    Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                        Ok(data) if data.is_empty() => continue,
                        Ok(data) => self.queue(data, body.is_end_stream())?,
                        Err(frame) => self.end_with(frame.trailers_ref()),
                    },
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(Unsent::Body(error))),
                    Poll::Ready(None) => self.finish()?,
                    // What there is goes out meanwhile.
                    Poll::Pending if self.has_remaining() => {}
                    Poll::Pending => {
                        // TLS may still hold a part of what was written.
                        if Pin::new(&mut *stream).poll_flush(cx)?.is_ready() {
                            turn(false);
                        }
                        return Poll::Pending;
                    }
                }
            }
            while self.has_remaining() {
                let count = ready!(self.poll_write(stream, cx))?;
                if count == 0 {
                    return Poll::Ready(Err(io::Error::from(io::ErrorKind::WriteZero).into()));
                }
                self.advance(count);
                turn(true);
            }
            match self.next {
                Next::Sent | Next::GivenUp => return Poll::Ready(Ok(())),
                Next::End => {
                    ready!(Pin::new(&mut *stream).poll_flush(cx))?;
                    self.next = Next::Sent;
                    turn(true);
                }
                Next::Length(0) => self.next = Next::End,
                Next::Length(_) | Next::Chunks | Next::ToClose => {}
            }
        }
    }

    /// Whether there is room for a piece of the body, and one to come.
    fn wants_body(&self) -> bool {
        let more = match self.next {
            Next::Length(left) => left > 0,
            Next::Chunks | Next::ToClose => true,
            Next::End | Next::Sent | Next::GivenUp => false,
        };
        more && self.data.is_empty() && self.after.is_empty()
    }

    /// Behind what is there already of the head. `last`: nothing comes behind it.
    fn queue<E>(&mut self, data: Bytes, last: bool) -> Result<(), Unsent<E>> {
        self.forget_written();
        match self.next {
            Next::Length(left) => {
                let rest = left.checked_sub(data.len() as u64).ok_or(Unsent::Miscounted)?;
                self.next = if rest == 0 { Next::End } else { Next::Length(rest) };
            }
            Next::Chunks => {
                let mut line = ChunkLine(&mut self.before);
                // Writing to memory does not fail.
                let _written = write!(line, "{:x}\r\n", data.len());
                self.after = if last { LAST_CHUNK_END } else { CHUNK_END };
                self.next = if last { Next::End } else { Next::Chunks };
            }
            _ if last => self.next = Next::End,
            _ => {}
        }
        self.data = data;
        Ok(())
    }

    fn finish<E>(&mut self) -> Result<(), Unsent<E>> {
        match self.next {
            // Less than was promised: the peer must not take what follows for the rest.
            Next::Length(_) => return Err(Unsent::Miscounted),
            Next::Chunks => self.after = LAST_CHUNK,
            _ => {}
        }
        self.next = Next::End;
        Ok(())
    }

    fn forget_written(&mut self) {
        if self.written >= self.before.len() {
            self.before.clear();
            self.written = 0;
        }
    }

    /// What comes behind a body can be written behind chunks only (RFC 9112 section 7.1.2), and ends
    /// with a body of known length.
    fn end_with(&mut self, trailers: Option<&HeaderMap>) {
        let Some(trailers) = trailers.filter(|_| self.next == Next::Chunks) else { return };
        self.forget_written();
        self.before.extend_from_slice(LAST_LINE);
        for (name, value) in trailers {
            write_field(&mut self.before, name.as_str(), value.as_bytes());
        }
        self.after = CHUNK_END;
        self.next = Next::End;
    }

    fn has_remaining(&self) -> bool {
        self.written < self.before.len() || !self.data.is_empty() || !self.after.is_empty()
    }

    fn poll_write<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let before = self.before.get(self.written..).unwrap_or_default();
        if self.data.is_empty() && self.after.is_empty() {
            return Pin::new(stream).poll_write(cx, before);
        }
        let all = [IoSlice::new(before), IoSlice::new(&self.data), IoSlice::new(self.after)];
        if stream.is_write_vectored() {
            return Pin::new(stream).poll_write_vectored(cx, &all);
        }
        let first = all.into_iter().find(|slice| !slice.is_empty());
        Pin::new(stream).poll_write(cx, first.as_deref().unwrap_or_default())
    }

    fn advance(&mut self, count: usize) {
        let of_before = count.min(self.before.len().saturating_sub(self.written));
        self.written += of_before;
        let count = count - of_before;
        let of_data = count.min(self.data.len());
        self.data.advance(of_data);
        self.after = self.after.get(count - of_data..).unwrap_or_default();
    }
}

/// Lets numbers be written as text without a string in between.
struct ChunkLine<'a>(&'a mut Vec<u8>);

impl std::fmt::Write for ChunkLine<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

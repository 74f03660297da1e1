//! A request on its way to a server: the head and the body in the framing that we gave it.

use std::fmt::Write as _;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::{HeaderMap, HeaderValue};
use http_body::Body;
use tokio::io::AsyncWrite;

use super::{Fault, head};
use crate::message::added::write_field;
use crate::upstream::Parts;
use crate::upstream::body::{BodyError, BodyFault, RequestBody};

/// A buffer for heads larger than this is not kept.
const KEPT_BYTES: usize = 4 * 1024;

/// RFC 9112 section 7.1
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
const LAST_LINE: &[u8] = b"0\r\n";
const CHUNK_END: &[u8] = b"\r\n";

/// What is still to be written of a request, in this order, and what comes after it.
#[derive(Debug, Default)]
pub(super) struct Upload {
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
pub(super) enum Next {
    /// A body of so many bytes more.
    Length(u64),
    /// A body of unknown length.
    Chunks,
    /// Nothing: then all is sent.
    End,
    /// All is sent.
    #[default]
    Sent,
    /// The server takes no more.
    GivenUp,
}

impl Upload {
    /// Makes the head. The framing is decided here, from the body that we have, and from nothing that
    /// a client said of it (RFC 9112 section 6).
    pub(super) fn begin(&mut self, request: &Parts, host: &HeaderValue) {
        if self.before.capacity() > KEPT_BYTES {
            self.before = Vec::new();
        }
        self.before.clear();
        (self.written, self.data, self.after) = (0, Bytes::new(), b"");
        let body = &request.body;
        self.next = match body.size_hint().exact() {
            _ if body.is_end_stream() => Next::End,
            Some(length) => Next::Length(length),
            None => Next::Chunks,
        };
        head::write(&mut self.before, request, host, self.next);
    }

    /// Whether nothing more will be written.
    pub(super) fn is_done(&self) -> bool {
        matches!(self.next, Next::Sent | Next::GivenUp)
    }

    /// Whether the server has been sent all of the request.
    pub(super) fn is_sent(&self) -> bool {
        self.next == Next::Sent
    }

    /// The server takes no more.
    pub(super) fn give_up(&mut self) {
        self.next = Next::GivenUp;
    }

    /// Writes on. `turn` is told whose turn it is: the server's (`true`) or the client's.
    pub(super) fn poll<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        body: &mut RequestBody,
        cx: &mut Context<'_>,
        turn: &mut impl FnMut(bool),
    ) -> Poll<Result<(), Fault>> {
        loop {
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
                Next::Length(_) | Next::Chunks => match Pin::new(&mut *body).poll_frame(cx) {
                    Poll::Pending => {
                        // TLS may still hold a part of what was written.
                        if Pin::new(&mut *stream).poll_flush(cx)?.is_ready() {
                            turn(false);
                        }
                        return Poll::Pending;
                    }
                    Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                        Ok(data) => self.queue(data)?,
                        Err(frame) => self.end_with(frame.trailers_ref()),
                    },
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error.into())),
                    Poll::Ready(None) => self.finish()?,
                },
            }
        }
    }

    fn queue(&mut self, data: Bytes) -> Result<(), BodyError> {
        if data.is_empty() {
            return Ok(());
        }
        self.before.clear();
        self.written = 0;
        match self.next {
            Next::Length(left) => {
                let rest = left.checked_sub(data.len() as u64);
                self.next = Next::Length(rest.ok_or(BodyError::new(BodyFault::Broken))?);
            }
            _ => {
                let mut line = ChunkLine(&mut self.before);
                // Writing to memory does not fail.
                let _written = write!(line, "{:x}\r\n", data.len());
                self.after = CHUNK_END;
            }
        }
        self.data = data;
        Ok(())
    }

    fn finish(&mut self) -> Result<(), BodyError> {
        match self.next {
            // Less than was promised: the server must not take what follows for the rest.
            Next::Length(_) => Err(BodyError::new(BodyFault::Broken)),
            _ => {
                self.after = LAST_CHUNK;
                self.next = Next::End;
                Ok(())
            }
        }
    }

    /// What comes behind a body can be written behind chunks only (RFC 9112 section 7.1.2), and ends
    /// with a body of known length.
    fn end_with(&mut self, trailers: Option<&HeaderMap>) {
        let Some(trailers) = trailers.filter(|_| self.next == Next::Chunks) else { return };
        self.before.clear();
        self.written = 0;
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

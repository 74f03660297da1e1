//! The bytes of one connection, shared by the loop over its requests and the body of the one under way.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, BufReader, ReadBuf};
use tokio::net::TcpStream;

use super::head::Refusal;
use crate::listen::accept::ConnectionPermit;
use crate::listen::pieces;
use crate::listen::pulse::Pulse;
use crate::message::http1::Disorder;
use crate::message::http1::chunked::{Chunked, Piece};
use crate::message::http1::lines::{self, Lines};
use crate::message::incoming::{ClientBody, Lost};

/// RFC 9110 section 10.1.1
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Bytes of a body that nobody wants which are passed over for the sake of the next request.
const PASSED_OVER: usize = 64 * 1024;

/// How much, and for how long, of a body that nobody wants is taken in before the connection goes.
const LINGER_BYTES: usize = 8 * 1024 * 1024;
const LINGER: Duration = Duration::from_secs(2);

/// Most of a body that is handed on in one piece.
const PIECE_MOST: usize = 64 * 1024;
/// So much of it at once is a record of TLS that is full (RFC 8446 section 5.1), and more will come.
const RECORD: usize = 16 * 1024;

/// Bytes of further requests that are taken in while one is under way.
const AHEAD: usize = 16 * 1024;

/// A buffer larger than this is not kept while nothing is in it.
const KEPT_BYTES: usize = 1024;

/// A stream that can tell whether its peer has ended, while nobody reads from it.
pub(in crate::listen) trait Ended {
    /// Ready when nothing more will come (`true`; or an error, if it did not end in good order), or when there
    /// is something to be read.
    fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>>;
}

impl Ended for BufReader<TcpStream> {
    fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if !self.buffer().is_empty() {
            return Poll::Ready(Ok(false));
        }
        let count = ready!(self.get_mut().poll_peek(cx, &mut ReadBuf::new(&mut [0])))?;
        Poll::Ready(Ok(count == 0))
    }
}

/// What a connection of HTTP/1.1 is made of. What has come waits in the stream's own buffer, so that an
/// idle connection needs none of ours.
pub(in crate::listen) trait Stream:
    AsyncBufRead + AsyncWrite + Ended + Unpin + 'static
{
}

impl<S: AsyncBufRead + AsyncWrite + Ended + Unpin + 'static> Stream for S {}

/// Where the body of a request ends (RFC 9112 section 6.3).
#[derive(Debug)]
pub(super) enum Framing {
    /// After so many bytes more.
    Length(u64),
    /// Where the coding says.
    Chunked(Chunked),
}

impl Framing {
    pub(super) const fn is_end(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(chunked) => chunked.is_end(),
        }
    }
}

/// Who reads the body of the request under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reader {
    /// Somebody may.
    There,
    /// Nobody any more.
    Gone,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Wire<S> {
    stream: S,
    /// Taken from the stream and not yet understood: the beginning of a head that has not come whole, or
    /// chunks.
    input: BytesMut,
    pulse: Pulse,
    /// The client has ended its half (RFC 9112 section 9.5), and still gets its answer.
    half_closed: bool,
    framing: Framing,
    reader: Reader,
    /// Waits for that one to go.
    waiting: Option<Waker>,
    /// Which request the body belongs to.
    turn: u32,
    /// The client waits to be told to send its body.
    expects: bool,
    /// What is still to be sent of that word.
    interim: &'static [u8],
    /// TLS may hold a part of it.
    flushing: bool,
    /// The answer has begun: no such word any more.
    answering: bool,
    /// The request cannot be read to its end.
    broken: bool,
    /// Its answer is whole, and somebody still reads it.
    settling: bool,
    /// Once our half is closed: bytes that may still be taken in.
    linger: Option<usize>,
    permit: ConnectionPermit,
}

impl<S: Stream> Wire<S> {
    /// The next request's head whole, and in `ends` where its lines end; `None`: the client has ended.
    pub(super) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        ends: &mut Vec<usize>,
        (most_bytes, most_fields): (usize, usize),
    ) -> Poll<io::Result<Option<Result<Bytes, Refusal>>>> {
        // The request line and the empty one are lines, too.
        let most_lines = most_fields.saturating_add(2);
        let refused = |refusal| Poll::Ready(Ok(Some(Err(refusal))));
        loop {
            let straight = self.input.is_empty();
            let bytes = match straight {
                true => ready!(Pin::new(&mut self.stream).poll_fill_buf(cx))?,
                false => &self.input[..],
            };
            if bytes.is_empty() {
                return Poll::Ready(Ok(None));
            }
            self.pulse.read();
            let blank = blank(bytes);
            if blank > 0 {
                // RFC 9112 section 2.2: an empty line before a request is passed over.
                self.pass(blank);
                continue;
            }
            match lines::end(bytes, ends, most_lines) {
                Ok(Some(end)) if end <= most_bytes => {
                    // Exactly as long as it is: what is kept of a head must not hold more than that.
                    let head = Bytes::copy_from_slice(bytes.get(..end).unwrap_or_default());
                    self.pass(end);
                    return Poll::Ready(Ok(Some(Ok(head))));
                }
                Ok(None) if bytes.len() < most_bytes => {}
                _ => return refused(Refusal::TooLarge),
            }
            if let Some(first) = ends.first() {
                // Who does not speak HTTP is not waited for.
                let line = Bytes::copy_from_slice(bytes.get(..=*first).unwrap_or_default());
                if let Err(Disorder(what)) = Lines::of(&line, &[*first]).request() {
                    return refused(Refusal::Malformed(what));
                }
            }
            if !straight && ready!(self.poll_fill(cx))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            if straight {
                // Nothing has to be waited for: these bytes are there.
                let _more = self.poll_fill(cx)?;
            }
        }
    }

    /// Takes what has come out of the stream; 0 when the client has ended.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let bytes = ready!(Pin::new(&mut self.stream).poll_fill_buf(cx))?;
        let count = bytes.len();
        pieces::append(&mut self.input, bytes);
        Pin::new(&mut self.stream).consume(count);
        Poll::Ready(Ok(count))
    }

    /// Leaves bytes behind that have been understood.
    fn pass(&mut self, count: usize) {
        if self.input.is_empty() {
            Pin::new(&mut self.stream).consume(count);
            return;
        }
        self.input.advance(count);
        self.tidy();
    }

    fn tidy(&mut self) {
        if self.input.is_empty() && self.input.capacity() > KEPT_BYTES {
            self.input = BytesMut::new();
        }
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Lost>>> {
        if std::mem::take(&mut self.expects) && !self.answering {
            self.interim = CONTINUE;
        }
        // Whether it has gone already or not, the client may send its body.
        let frame = match self.poll_interim(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Some(Err(error.into()))),
            _ => self.poll_piece(cx),
        };
        match &frame {
            Poll::Ready(Some(Err(_))) => self.broken = true,
            Poll::Ready(_) if self.settling => self.pulse.listens(true),
            _ => {}
        }
        frame
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Lost>>> {
        const EARLY: &str = "the client closed within the body";
        let data = loop {
            match &mut self.framing {
                Framing::Length(0) => return Poll::Ready(None),
                Framing::Length(left) if self.input.is_empty() => {
                    let bytes = ready!(Pin::new(&mut self.stream).poll_fill_buf(cx))?;
                    if bytes.is_empty() {
                        return Poll::Ready(Some(Err(EARLY.into())));
                    }
                    let most = usize::try_from(*left).unwrap_or(usize::MAX).min(PIECE_MOST);
                    // A long body goes on by fewer and longer pieces than it comes by.
                    let room = if bytes.len() >= RECORD { most } else { most.min(bytes.len()) };
                    let mut data = BytesMut::with_capacity(room);
                    let count = most.min(bytes.len());
                    pieces::append(&mut data, bytes.get(..count).unwrap_or_default());
                    Pin::new(&mut self.stream).consume(count);
                    while data.len() < room
                        && let Poll::Ready(Ok(bytes @ [_, ..])) =
                            Pin::new(&mut self.stream).poll_fill_buf(cx)
                    {
                        let count = bytes.len().min(room - data.len());
                        pieces::append(&mut data, bytes.get(..count).unwrap_or_default());
                        Pin::new(&mut self.stream).consume(count);
                    }
                    *left = left.saturating_sub(data.len() as u64);
                    break data.freeze();
                }
                Framing::Length(left) => {
                    let count = usize::try_from(*left).unwrap_or(usize::MAX).min(self.input.len());
                    *left = left.saturating_sub(count as u64);
                    break self.input.split_to(count).freeze();
                }
                Framing::Chunked(chunked) => match chunked.decode(&mut self.input) {
                    Ok(Piece::Data(data)) => break data,
                    Ok(Piece::Trailers(fields)) => {
                        return Poll::Ready(Some(Ok(Frame::trailers(fields))));
                    }
                    Ok(Piece::End) => return Poll::Ready(None),
                    Ok(Piece::More) => {
                        if ready!(self.poll_fill(cx))? == 0 {
                            return Poll::Ready(Some(Err(EARLY.into())));
                        }
                    }
                    Err(disorder) => return Poll::Ready(Some(Err(disorder.into()))),
                },
            }
        };
        self.tidy();
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    /// Sends the word that the client waits for, if one is under way.
    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.interim.is_empty() {
            let written = Pin::new(&mut self.stream).poll_write(cx, self.interim);
            self.wrote(written.is_ready());
            match ready!(written)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.interim = self.interim.get(count..).unwrap_or_default(),
            }
            self.flushing = true;
        }
        if self.flushing {
            let flushed = Pin::new(&mut self.stream).poll_flush(cx);
            self.pulse.wrote(flushed.is_ready());
            ready!(flushed)?;
            self.flushing = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Whether the client still waits for its answer.
    ///
    /// One that has broken off is gone. One that has ended in good order may be gone as well, which
    /// only a write would tell: it is waited for as long as for any that says nothing.
    pub(super) fn look(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.half_closed {
            self.pulse.listens(false);
            return Ok(());
        }
        if self.is_being_read() {
            // Who reads the body finds it out, and has us look once it has been read.
            self.wait(cx);
            return Ok(());
        }
        while let Poll::Ready(ended) = self.stream.poll_ended(cx)? {
            if ended {
                self.half_closed = true;
                self.pulse.listens(true);
                break;
            }
            // Only behind what has come already can it be seen that no more will come.
            if self.input.len() >= AHEAD {
                break;
            }
            let _there = self.poll_fill(cx)?;
        }
        Ok(())
    }

    /// Whether somebody else may read the body, who has the socket's attention then.
    fn is_being_read(&self) -> bool {
        self.reader == Reader::There && !self.broken && !self.framing.is_end()
    }

    /// Has the one who serves this connection woken when the body is read no more.
    fn wait(&mut self, cx: &Context<'_>) {
        match &mut self.waiting {
            Some(waiting) => waiting.clone_from(cx.waker()),
            None => self.waiting = Some(cx.waker().clone()),
        }
    }

    fn wrote(&mut self, progress: bool) {
        self.pulse.wrote(progress);
        if progress && self.half_closed && self.pulse.is_busy() {
            self.pulse.listens(true);
        }
    }

    /// From here on there is an answer. Whether a further request may come after it, as far as can be told:
    /// the body has been read, or somebody still reads it, or what is left of it has come already.
    pub(super) fn answer(&mut self, cx: &mut Context<'_>) -> bool {
        self.answering = true;
        match self.reader {
            Reader::There => !self.broken,
            Reader::Gone => self.pass_over(cx),
        }
    }

    /// Ready when nobody reads the body any more: whether a further request may come behind it.
    pub(super) fn poll_settled(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        if self.is_being_read() {
            // As long as it goes on: who reads it may have got stuck.
            self.settling = true;
            self.pulse.listens(false);
            self.wait(cx);
            return Poll::Pending;
        }
        self.settling = false;
        // Who still has the body has nothing of what follows.
        self.turn = self.turn.wrapping_add(1);
        Poll::Ready(self.pass_over(cx))
    }

    /// Reads to the body's end what has come already.
    fn pass_over(&mut self, cx: &mut Context<'_>) -> bool {
        let mut left = PASSED_OVER;
        while !self.broken && !self.framing.is_end() {
            let Poll::Ready(Some(Ok(frame))) = self.poll_body(cx) else { break };
            let count = frame.data_ref().map_or(0, Bytes::len);
            match left.checked_sub(count) {
                Some(rest) => left = rest,
                None => break,
            }
        }
        !self.broken && self.framing.is_end()
    }

    /// Closes our half. If more of a request may still be on its way, then takes it in until the client has
    /// closed too: a socket that goes with unread bytes resets the connection, and the client loses
    /// the answer that it was to read (RFC 9112 section 9.6).
    pub(super) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut left = match self.linger {
            Some(left) => left,
            None => {
                let closed = Pin::new(&mut self.stream).poll_shutdown(cx);
                self.pulse.wrote(closed.is_ready());
                ready!(closed)?;
                if !self.pulse.may_bring_more() {
                    return Poll::Ready(Ok(()));
                }
                self.pulse.linger(LINGER);
                LINGER_BYTES
            }
        };
        loop {
            self.linger = Some(left);
            let count = ready!(Pin::new(&mut self.stream).poll_fill_buf(cx))?.len();
            Pin::new(&mut self.stream).consume(count);
            left = match left.checked_sub(count) {
                Some(left) if count > 0 => left,
                _ => return Poll::Ready(Ok(())),
            };
        }
    }
}

/// How long the empty lines are that `bytes` begin with.
fn blank(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    while let [b'\r', b'\n', behind @ ..] | [b'\n', behind @ ..] = rest {
        rest = behind;
    }
    bytes.len() - rest.len()
}

/// A connection that several have in hand, on one thread. Nobody keeps it borrowed while it waits, nor
/// while it asks anybody else.
#[derive(Debug)]
pub(super) struct Shared<S>(Rc<RefCell<Wire<S>>>);

impl<S> Clone for Shared<S> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<S: Stream> Shared<S> {
    /// Over a stream on which no request has come yet.
    pub(super) fn new(stream: S, pulse: Pulse, permit: ConnectionPermit) -> Self {
        Self(Rc::new(RefCell::new(Wire {
            stream,
            input: BytesMut::new(),
            pulse,
            half_closed: false,
            framing: Framing::Length(0),
            reader: Reader::Gone,
            waiting: None,
            turn: 0,
            expects: false,
            interim: b"",
            flushing: false,
            answering: false,
            broken: false,
            settling: false,
            linger: None,
            permit,
        })))
    }

    /// Does something with it.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut Wire<S>) -> T) -> T {
        act(&mut self.0.borrow_mut())
    }

    /// A request whose head has been read: its body. `expects`: the client waits to be told to send it.
    pub(super) fn begin(&self, framing: Option<Framing>, expects: bool) -> ClientBody {
        let reader = if framing.is_some() { Reader::There } else { Reader::Gone };
        let body = framing.is_some();
        let turn = self.with(|wire| {
            wire.framing = framing.unwrap_or(Framing::Length(0));
            (wire.expects, wire.reader, wire.answering) = (expects, reader, false);
            wire.turn
        });
        match body {
            true => ClientBody::Wire(Box::pin(Rest { turn, wire: Rc::downgrade(&self.0) })),
            false => ClientBody::Empty,
        }
    }

    /// The bytes alone, for another protocol than HTTP. `None`: somebody else has the connection in hand.
    pub(super) fn into_switched(self) -> Option<Switched<S>> {
        let Wire { stream, input, permit, .. } = Rc::into_inner(self.0)?.into_inner();
        Some(Switched { stream, input, _permit: permit })
    }
}

impl<S: Stream> AsyncWrite for Shared<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.with(|wire| {
            ready!(wire.poll_interim(cx))?;
            let written = Pin::new(&mut wire.stream).poll_write(cx, bytes);
            wire.wrote(written.is_ready());
            written
        })
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.with(|wire| {
            ready!(wire.poll_interim(cx))?;
            let written = Pin::new(&mut wire.stream).poll_write_vectored(cx, slices);
            wire.wrote(written.is_ready());
            written
        })
    }

    fn is_write_vectored(&self) -> bool {
        self.with(|wire| wire.stream.is_write_vectored())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|wire| {
            let flushed = Pin::new(&mut wire.stream).poll_flush(cx);
            wire.pulse.wrote(flushed.is_ready());
            flushed
        })
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|wire| wire.poll_close(cx))
    }
}

/// The rest of a request: its body, for as long as its answer is under way. It keeps no connection open.
#[derive(Debug)]
pub(super) struct Rest<S> {
    wire: Weak<RefCell<Wire<S>>>,
    turn: u32,
}

impl<S> Rest<S> {
    /// Does something with the connection, if the body is still what comes on it.
    fn with<T>(&self, act: impl FnOnce(&mut Wire<S>) -> T) -> Option<T> {
        let wire = self.wire.upgrade()?;
        let mut wire = wire.borrow_mut();
        (wire.turn == self.turn).then(|| act(&mut wire))
    }
}

impl<S: Stream> Body for Rest<S> {
    type Data = Bytes;
    type Error = Lost;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Lost>>> {
        let (frame, waiting) = self
            .with(|wire| {
                let frame = wire.poll_body(cx);
                (frame, if wire.is_being_read() { None } else { wire.waiting.take() })
            })
            .unwrap_or_else(|| (Poll::Ready(Some(Err("the connection has gone on".into()))), None));
        if let Some(waiting) = waiting {
            waiting.wake();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.with(|wire| !wire.broken && wire.framing.is_end()).unwrap_or(false)
    }

    fn size_hint(&self) -> SizeHint {
        self.with(|wire| match wire.framing {
            Framing::Length(left) => SizeHint::with_exact(left),
            Framing::Chunked(_) => SizeHint::default(),
        })
        .unwrap_or_default()
    }
}

impl<S> Drop for Rest<S> {
    fn drop(&mut self) {
        let waiting = self.with(|wire| {
            wire.reader = Reader::Gone;
            wire.waiting.take()
        });
        if let Some(waiting) = waiting.flatten() {
            waiting.wake();
        }
    }
}

/// A connection that has left HTTP. Its permit counts on.
#[derive(Debug)]
pub(super) struct Switched<S> {
    stream: S,
    /// What came behind the last head.
    input: BytesMut,
    _permit: ConnectionPermit,
}

impl<S: AsyncRead + Unpin> AsyncRead for Switched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        space: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.input.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, space);
        }
        let count = self.input.len().min(space.remaining());
        space.put_slice(&self.input.split_to(count));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Switched<S> {
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

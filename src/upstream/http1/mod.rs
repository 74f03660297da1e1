//! One connection to a server that speaks HTTP/1.1. Whoever waits for the answer drives it: there is
//! no task of its own, and nothing is handed from one to another on the way.
//!
//! What is read here decides where a response ends, so it is read strictly: what could be taken in
//! two ways ends the exchange, and the connection with it.

#[cfg(fuzzing)]
mod fuzz;
mod head;

use std::future::poll_fn;
use std::io::{self, Cursor};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use super::Parts;
use super::body::{BodyError, BodyFault, RequestBody};
use super::wire::{Reading, Wire, Writing};
use crate::message::http1::Disorder;
use crate::message::http1::chunked::{Chunked, Piece};
use crate::message::http1::lines::{self, Known, Lines};
use crate::message::http1::outgoing::{Next, Outgoing, Unsent};
#[cfg(fuzzing)]
pub use fuzz::read_answer;

/// A response head may be this large; beyond it the upstream is broken.
const HEAD_BYTES: usize = 64 * 1024;
/// Interim responses (RFC 9110 section 15.2) that are passed over before the answer must come.
const INTERIM_MAX: usize = 16;
/// Most lines of a head.
const LINES_MAX: usize = 256;
/// Room for a read at first: a small answer with its head.
const READ_FIRST: usize = 4 * 1024;
/// Room for a read once a body has turned out to be long.
const READ_MOST: usize = 64 * 1024;

/// Why an exchange failed. Its connection is of no use any more.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Closed before the whole answer had come.
    #[error("the server closed the connection {0}")]
    Closed(&'static str),
    /// Reading or writing failed.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    /// What came cannot be read in one way only, or is more than is taken.
    #[error("the response is not acceptable: {0}")]
    Disorder(&'static str),
    /// The client's body ended early, so the request could not be sent whole.
    #[error(transparent)]
    Body(#[from] BodyError),
}

impl From<Disorder> for Fault {
    fn from(Disorder(what): Disorder) -> Self {
        Self::Disorder(what)
    }
}

impl From<Unsent<BodyError>> for Fault {
    fn from(unsent: Unsent<BodyError>) -> Self {
        match unsent {
            Unsent::Io(error) => Self::Io(error),
            Unsent::Body(error) => Self::Body(error),
            Unsent::Miscounted => Self::Body(BodyError::new(BodyFault::Broken)),
        }
    }
}

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    stream: Stream,
    /// Read, and not yet understood.
    input: BytesMut,
    /// Where the lines of a head end in it.
    ends: Vec<usize>,
    known: Known,
    upload: Outgoing,
    /// How much is asked for at once.
    appetite: usize,
}

/// The bytes of a connection.
#[derive(Debug)]
enum Stream {
    Whole(Wire),
    /// Only what is read; somebody else goes on writing.
    Reading(Reading),
    /// Between the two; never seen.
    Gone,
}

/// How the body of a response is to be read from its connection.
#[derive(Debug)]
pub(super) struct Content {
    framing: Framing,
    /// Whether the connection may serve another exchange afterwards.
    reusable: bool,
}

/// Where a body ends (RFC 9112 section 6.3).
#[derive(Debug, PartialEq, Eq)]
enum Framing {
    /// After so many bytes more.
    Length(u64),
    /// Where the coding says.
    Chunked(Chunked),
    /// When the server closes.
    ToEnd,
}

/// The rest of a request whose answer has begun before it was sent whole.
#[derive(Debug)]
pub(super) struct Rest {
    stream: Writing,
    upload: Outgoing,
}

/// Where the head ends that `input` begins with, and each of its lines.
fn end(input: &[u8], ends: &mut Vec<usize>) -> Result<Option<usize>, Fault> {
    let many = |_most| Fault::Disorder("its head has too many fields");
    lines::end(input, ends, LINES_MAX).map_err(many)
}

impl Connection {
    /// Over a stream on which nothing has been said yet.
    pub(super) fn new(stream: Wire) -> Self {
        Self {
            stream: Stream::Whole(stream),
            input: BytesMut::new(),
            ends: Vec::new(),
            known: Known::of_answers(),
            upload: Outgoing::default(),
            appetite: READ_FIRST,
        }
    }

    /// Whether an idle connection is of no use any more: closed, or the server has said what nobody
    /// asked for. Costs no system call while nothing has happened.
    pub(super) fn is_spent(&mut self) -> bool {
        let mut byte = [0];
        let mut space = ReadBuf::new(&mut byte);
        let cx = &mut Context::from_waker(Waker::noop());
        !self.input.is_empty() || self.stream.poll_read(cx, &mut space).is_ready()
    }

    /// Begins an exchange, which [`Self::poll_answer`] drives on.
    /// `host` is what `Host` says.
    pub(super) fn begin(&mut self, request: &Parts, host: &HeaderValue) {
        if self.appetite > READ_FIRST {
            self.appetite = READ_FIRST;
            self.input = BytesMut::new();
        }
        let next = Next::of(&request.body, Next::Chunks);
        head::write(self.upload.begin(next), request, host, next);
    }

    /// Sends, and reads the head of the answer. `turn` is told `true` whenever the server has taken
    /// a part of the request and has its time anew, and `false` while the client is waited for.
    pub(super) fn poll_answer(
        &mut self,
        cx: &mut Context<'_>,
        request: &mut Parts,
        interim: &mut usize,
        mut turn: impl FnMut(bool),
    ) -> Poll<Result<(Response<()>, Content), Fault>> {
        if !self.upload.is_done()
            && let Stream::Whole(stream) = &mut self.stream
        {
            match self.upload.poll(stream, &mut request.body, cx, &mut turn) {
                Poll::Ready(Ok(())) | Poll::Pending => {}
                // A server may answer before it has read everything, and close: what it said
                // counts (RFC 9112 section 9.5).
                Poll::Ready(Err(Unsent::Io(_))) => self.upload.give_up(),
                Poll::Ready(Err(unsent)) => return Poll::Ready(Err(unsent.into())),
            }
        }
        loop {
            if let Some(end) = end(&self.input, &mut self.ends)? {
                let block = self.input.split_to(end).freeze();
                // What was sent is needed no more, and its map is as good as a new one.
                let room = match self.upload.is_sent() {
                    true => std::mem::take(&mut request.headers),
                    false => HeaderMap::new(),
                };
                let lines = Lines::of(&block, &self.ends).among(&mut self.known);
                let (response, framing, keep_alive) = head::read(lines, &request.method, room)?;
                let status = response.status();
                if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
                    let reusable = keep_alive && self.upload.is_sent();
                    return Poll::Ready(Ok((response, Content { framing, reusable })));
                }
                *interim += 1;
                if *interim > INTERIM_MAX {
                    return Poll::Ready(Err(Fault::Disorder("too many interim responses")));
                }
                continue;
            }
            if self.input.len() >= HEAD_BYTES {
                return Poll::Ready(Err(Fault::Disorder("its head is too large")));
            }
            if ready!(self.poll_fill(cx))? == 0 {
                let when = match self.input.is_empty() {
                    true => "without an answer",
                    false => "within the response head",
                };
                return Poll::Ready(Err(Fault::Closed(when)));
            }
        }
    }

    /// The next piece of a response's body.
    pub(super) fn poll_content(
        &mut self,
        cx: &mut Context<'_>,
        content: &mut Content,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        loop {
            let have = self.input.len();
            match &mut content.framing {
                Framing::Length(0) => return Poll::Ready(None),
                Framing::Length(left) if have > 0 => {
                    let count = usize::try_from(*left).unwrap_or(have).min(have);
                    *left = left.saturating_sub(count as u64);
                    let data = self.input.split_to(count).freeze();
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Framing::ToEnd if have > 0 => {
                    let data = self.input.split().freeze();
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Framing::Length(_) | Framing::ToEnd => {}
                Framing::Chunked(chunked) => match chunked.decode(&mut self.input) {
                    Ok(Piece::More) => {}
                    Ok(Piece::Data(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                    Ok(Piece::Trailers(fields)) => {
                        return Poll::Ready(Some(Ok(Frame::trailers(fields))));
                    }
                    Ok(Piece::End) => return Poll::Ready(None),
                    Err(disorder) => return Poll::Ready(Some(Err(disorder.into()))),
                },
            }
            match ready!(self.poll_fill(cx)) {
                Ok(0) if content.framing == Framing::ToEnd => {
                    content.framing = Framing::Length(0);
                    return Poll::Ready(None);
                }
                Ok(0) => return Poll::Ready(Some(Err(Fault::Closed("within the body")))),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Some(Err(error.into()))),
            }
        }
    }

    /// Reads what has come; 0 when the server has ended its side.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Self { stream, input, appetite, .. } = self;
        input.reserve(*appetite);
        let space = input.capacity() - input.len();
        let count = ready!(pin!(stream.read_buf(input)).poll(cx))?;
        // Filled to the brim: more is waiting, and fewer, larger reads are cheaper.
        if count == space {
            *appetite = (*appetite * 2).min(READ_MOST);
        }
        Poll::Ready(Ok(count))
    }

    /// Whether a part of the request is still to be sent.
    pub(super) fn is_sending(&self) -> bool {
        !self.upload.is_done()
    }

    /// For an answer that has begun before the request was whole: takes out what is still to be
    /// sent. The connection goes on reading, and serves no other exchange.
    pub(super) fn split(&mut self) -> Option<Rest> {
        let stream = match std::mem::replace(&mut self.stream, Stream::Gone) {
            Stream::Whole(stream) => stream,
            other => {
                self.stream = other;
                return None;
            }
        };
        let (reading, stream) = stream.into_split();
        self.stream = Stream::Reading(reading);
        Some(Rest { stream, upload: std::mem::take(&mut self.upload) })
    }

    /// Both directions of the connection, for another protocol than HTTP.
    pub(super) fn into_halves(
        self,
    ) -> Option<(impl AsyncRead + Unpin + use<>, impl AsyncWrite + Unpin + use<>)> {
        let Stream::Whole(stream) = self.stream else { return None };
        let (reading, writing) = stream.into_split();
        // What came behind the 101 is the beginning of what follows.
        Some((Cursor::new(self.input).chain(reading), writing))
    }
}

impl Content {
    /// Nothing, on a connection that is not HTTP's any more.
    pub(super) const fn none() -> Self {
        Self { framing: Framing::Length(0), reusable: false }
    }

    /// Whether all of it has been read.
    pub(super) const fn is_end(&self) -> bool {
        match &self.framing {
            Framing::Length(left) => *left == 0,
            Framing::Chunked(chunked) => chunked.is_end(),
            Framing::ToEnd => false,
        }
    }

    /// Whether the connection may serve another exchange, once all has been read.
    pub(super) const fn is_reusable(&self) -> bool {
        self.reusable && self.is_end()
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        match &self.framing {
            Framing::Length(left) => SizeHint::with_exact(*left),
            Framing::Chunked(_) | Framing::ToEnd => SizeHint::default(),
        }
    }
}

impl Rest {
    /// Sends it. How it ends matters to nobody: the answer is on its way already.
    pub(super) async fn send(mut self, mut body: RequestBody) {
        let sending = poll_fn(|cx| self.upload.poll(&mut self.stream, &mut body, cx, &mut |_| ()));
        let _ended = sending.await;
    }
}

impl Stream {
    fn poll_read(&mut self, cx: &mut Context<'_>, space: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Whole(stream) => Pin::new(stream).poll_read(cx, space),
            Self::Reading(half) => Pin::new(half).poll_read(cx, space),
            Self::Gone => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        space: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Self::poll_read(self.get_mut(), cx, space)
    }
}

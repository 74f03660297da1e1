//! An answer's head as it goes out, and its body in the framing that the head says.

use std::fmt::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, TRAILER, TRANSFER_ENCODING};
use http::response::Parts;
use http::{HeaderMap, HeaderName, StatusCode};
use http_body::{Body, Frame, SizeHint};

use super::head::Refusal;
use crate::message::added::write_field;
use crate::message::http1::options;
use crate::message::http1::outgoing::Next;

/// Whom an answer is for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manner {
    /// Whether the client spoke HTTP/1.1 and not 1.0.
    pub(super) http11: bool,
    /// Whether it asked for the head alone.
    pub(super) head_only: bool,
    /// Whether no further request may follow.
    pub(super) last: bool,
}

impl Manner {
    /// Whether an answer of this status has no body by its kind (RFC 9110 section 6.4.1).
    fn is_bodiless(self, status: StatusCode) -> bool {
        self.head_only
            || status.is_informational()
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
    }

    /// What follows the head of an answer with this status and body.
    pub(super) fn framing(self, status: StatusCode, body: &impl Body) -> Next {
        if self.is_bodiless(status) {
            return Next::End;
        }
        // RFC 9112 section 6.1: HTTP/1.0 knows no chunks.
        Next::of(body, if self.http11 { Next::Chunks } else { Next::ToClose })
    }
}

/// Writes the head (RFC 9112 sections 4 and 5), which says what `next` will be, and nothing of an
/// answer's own that would say it otherwise. Returns whether no further request may follow: the answer itself
/// may end the connection.
pub(super) fn write(
    out: &mut Vec<u8>,
    head: &Parts,
    manner: Manner,
    next: Next,
    date: &[u8],
) -> bool {
    let switches = head.status == StatusCode::SWITCHING_PROTOCOLS;
    match manner.http11 {
        true if head.status == StatusCode::OK => out.extend_from_slice(b"HTTP/1.1 200 OK\r\n"),
        true => write_status(out, "HTTP/1.1", head.status),
        false => write_status(out, "HTTP/1.0", head.status),
    }
    let bodiless = manner.is_bodiless(head.status);
    // RFC 9110 section 8.6: there it tells of the answer that GET would have, or had.
    let tells_length = manner.head_only || head.status == StatusCode::NOT_MODIFIED;
    let (mut dated, mut last) = (false, manner.last);
    for (name, value) in &head.headers {
        match *name {
            CONNECTION if !switches => {
                last |= options(value).any(|one| one.eq_ignore_ascii_case(b"close"));
                continue;
            }
            TRANSFER_ENCODING => continue,
            CONTENT_LENGTH if !tells_length => continue,
            // Nothing can come behind a body of any other kind.
            TRAILER if next != Next::Chunks => continue,
            DATE => dated = true,
            _ => {}
        }
        write_field(out, name.as_str(), value.as_bytes());
    }
    match next {
        Next::Length(length) => write_length(out, length),
        Next::Chunks => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        Next::End if !bodiless => out.extend_from_slice(b"content-length: 0\r\n"),
        _ => {}
    }
    if last && !switches {
        // RFC 9112 section 9.6
        out.extend_from_slice(b"connection: close\r\n");
    } else if !manner.http11 {
        out.extend_from_slice(b"connection: keep-alive\r\n");
    }
    if !dated {
        // RFC 9110 section 6.6.1
        write_field(out, DATE.as_str(), date);
    }
    out.extend_from_slice(b"\r\n");
    last
}

/// Writes the whole answer to what is no request.
pub(super) fn write_refusal(out: &mut Vec<u8>, refusal: Refusal, date: &[u8]) {
    write_status(out, "HTTP/1.1", refusal.status());
    out.extend_from_slice(b"connection: close\r\ncontent-length: 0\r\n");
    write_field(out, DATE.as_str(), date);
    out.extend_from_slice(b"\r\n");
}

fn write_status(out: &mut Vec<u8>, version: &str, status: StatusCode) {
    let reason = status.canonical_reason().unwrap_or_default();
    let mut text = Text(out);
    // Writing to memory does not fail.
    let _written = write!(text, "{version} {} {reason}\r\n", status.as_str());
}

fn write_length(out: &mut Vec<u8>, length: u64) {
    let mut text = Text(out);
    let _written = write!(text, "content-length: {length}\r\n");
}

struct Text<'a>(&'a mut Vec<u8>);

impl std::fmt::Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// A body without those trailers that its client does not expect.
pub(super) struct Announced<B> {
    pub(super) body: B,
    names: Vec<HeaderName>,
}

impl<B> Announced<B> {
    /// RFC 9110 section 6.5.1: fields that the head names in `Trailer`, for a client that takes any.
    pub(super) fn new(body: B, head: &HeaderMap, taken: bool) -> Self {
        let names = match taken {
            false => Vec::new(),
            true => head
                .get_all(TRAILER)
                .into_iter()
                .flat_map(options)
                .filter_map(|name| HeaderName::from_bytes(name).ok())
                .collect(),
        };
        Self { body, names }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Announced<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        Poll::Ready(frame.map(|frame| {
            frame.map(|mut frame| {
                if let Some(trailers) = frame.trailers_mut() {
                    let told = std::mem::take(trailers);
                    for name in &self.names {
                        told.get_all(name).iter().for_each(|value| {
                            trailers.append(name, value.clone());
                        });
                    }
                }
                frame
            })
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

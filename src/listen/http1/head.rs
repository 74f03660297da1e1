//! A request's head as it must be written to have one meaning.

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, TE, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri, Version};

use super::wire::Framing;
use crate::message::http1::chunked::Chunked;
use crate::message::http1::lines::{Known, Lines};
use crate::message::http1::{Disorder, length, options};

/// What the type of a target has room for.
const TARGET_MAX: usize = u16::MAX as usize - 1;

/// A request, and what its head says of its connection.
#[derive(Debug)]
pub(super) struct Asking {
    pub(super) head: Parts,
    /// Where its body ends; without it there is none.
    pub(super) framing: Option<Framing>,
    /// The client would like to go on after it.
    pub(super) keep_alive: bool,
    /// It waits to be told to send the body.
    pub(super) expects: bool,
    /// It would change to another protocol.
    pub(super) upgrades: bool,
    /// It takes trailers.
    pub(super) trailers: bool,
}

/// Why what came is no request that could be answered otherwise than by a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// It can be read in no way, or in several.
    #[error("{0}")]
    Malformed(&'static str),
    /// The head is larger than `limits.header_bytes`, or has more fields than `limits.header_count`.
    #[error("the head is too large")]
    TooLarge,
    /// The target is longer than any can be.
    #[error("the target is too long")]
    TargetTooLong,
}

impl Refusal {
    pub(super) const fn status(self) -> StatusCode {
        match self {
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::TooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
        }
    }
}

impl From<Disorder> for Refusal {
    fn from(Disorder(what): Disorder) -> Self {
        Self::Malformed(what)
    }
}

/// Reads a whole head, whose fields are put into `headers`; `ends`: where its lines end;
/// `known`: what its connection has brought before.
pub(super) fn read(
    block: &Bytes,
    ends: &[usize],
    known: &mut Known,
    mut headers: HeaderMap,
) -> Result<Asking, Refusal> {
    let mut lines = Lines::of(block, ends).among(known);
    let (method, target, http11) = lines.request()?;
    if target.len() > TARGET_MAX {
        return Err(Refusal::TargetTooLong);
    }
    let uri = Uri::from_maybe_shared(block.slice_ref(target))
        .map_err(|_error| Refusal::Malformed("its target is none"))?;
    headers.clear();
    headers.reserve(lines.left());
    let mut said = Said::default();
    while let Some((name, value)) = lines.field()? {
        if said.passes(&name, &value, http11)? {
            headers.append(name, value);
        }
    }
    let framing = said.framing()?;
    let (mut head, ()) = Request::new(()).into_parts();
    head.method = method;
    head.uri = uri;
    head.version = if http11 { Version::HTTP_11 } else { Version::HTTP_10 };
    head.headers = headers;
    Ok(Asking {
        head,
        expects: said.expects && http11 && framing.is_some(),
        framing,
        // RFC 9112 section 9.3; section 6.1: and never after both a length and a coding.
        keep_alive: !said.close
            && (http11 || said.keep_alive)
            && !(said.codings && said.length.is_some()),
        upgrades: said.upgrades && http11,
        trailers: said.trailers,
    })
}

/// What the fields say that end here or decide where the request ends.
#[derive(Debug, Default)]
struct Said {
    close: bool,
    keep_alive: bool,
    length: Option<u64>,
    codings: bool,
    /// The last coding is `chunked`.
    chunked: bool,
    expects: bool,
    upgrades: bool,
    trailers: bool,
}

impl Said {
    /// Whether the field is to be seen by those who judge the request.
    fn passes(
        &mut self,
        name: &http::HeaderName,
        value: &HeaderValue,
        http11: bool,
    ) -> Result<bool, Refusal> {
        match *name {
            CONTENT_LENGTH => {
                let length = length(value.as_bytes())
                    .ok_or(Refusal::Malformed("its length is no number"))?;
                // RFC 9112 section 6.3 item 5. Said twice alike is said once.
                let before = self.length.replace(length);
                if before.is_some_and(|before| before != length) {
                    return Err(Refusal::Malformed("it has two lengths"));
                }
                return Ok(before.is_none());
            }
            TRANSFER_ENCODING => {
                if !http11 {
                    // RFC 9112 section 6.1: framing that its sender cannot know.
                    return Err(Refusal::Malformed("HTTP/1.0 has no transfer codings"));
                }
                self.codings = true;
                let last = options(value).last();
                self.chunked = last.is_some_and(|last| last.eq_ignore_ascii_case(b"chunked"));
            }
            CONNECTION => {
                for option in options(value) {
                    self.close |= option.eq_ignore_ascii_case(b"close");
                    self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            EXPECT => {
                // RFC 9110 section 10.1.1: there is no other, and its case does not matter.
                self.expects = value.as_bytes().eq_ignore_ascii_case(b"100-continue");
            }
            TE => self.trailers |= options(value).any(|one| one.eq_ignore_ascii_case(b"trailers")),
            UPGRADE => self.upgrades = true,
            _ => {}
        }
        Ok(true)
    }

    /// Where the body ends. That no other coding stands before `chunked`, and no length beside it, is judged
    /// where there is an answer that says so.
    fn framing(&self) -> Result<Option<Framing>, Refusal> {
        match (self.codings, self.chunked, self.length) {
            (true, true, _) => Ok(Some(Framing::Chunked(Chunked::default()))),
            // RFC 9112 section 6.3 item 4.
            (true, false, _) => Err(Refusal::Malformed("its last transfer coding is not chunked")),
            (false, _, None | Some(0)) => Ok(None),
            (false, _, Some(length)) => Ok(Some(Framing::Length(length))),
        }
    }
}

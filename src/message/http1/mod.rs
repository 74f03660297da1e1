//! What both ends of HTTP/1.1 share: the lines of a head, the chunked coding, and a message on its way out.
//!
//! It is read strictly: what could be taken in two ways is refused.

pub mod chunked;
pub mod lines;
pub mod outgoing;

use http::HeaderValue;

/// What came cannot be read in one way only, or is more than is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Disorder(pub &'static str);

/// The options of a list field (RFC 9110 section 5.6.1).
pub fn options(list: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    list.as_bytes().split(|&byte| byte == b',').map(<[u8]>::trim_ascii)
}

/// A length as `Content-Length` says it (RFC 9110 section 8.6): digits, and nothing else.
pub fn length(text: &[u8]) -> Option<u64> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    str::from_utf8(text).ok().filter(|_| digits)?.parse().ok()
}

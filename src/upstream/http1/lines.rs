//! The lines of a head or of trailers, read strictly: what two readers could read in two ways is no
//! field.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};

use super::Fault;

/// What stands between here and the empty line that ends a block.
pub(super) struct Lines<'a> {
    /// All of it: names and values share its memory.
    block: &'a Bytes,
    rest: &'a [u8],
}

impl<'a> Lines<'a> {
    pub(super) fn of(block: &'a Bytes) -> Self {
        Self { block, rest: block }
    }

    /// The next line without its end. RFC 9112 section 2.2 lets a reader take a bare LF for one;
    /// a CR anywhere else is refused by what the line is read as.
    fn line(&mut self) -> Result<&'a [u8], Fault> {
        let at = memchr::memchr(b'\n', self.rest).ok_or(Fault::Disorder("a line has no end"))?;
        let (line, rest) = self.rest.split_at_checked(at).unwrap_or((self.rest, b""));
        self.rest = rest.get(1..).unwrap_or_default();
        Ok(line.strip_suffix(b"\r").unwrap_or(line))
    }

    /// The status line of a response (RFC 9112 section 4): whether it is HTTP/1.1 and not 1.0, and
    /// the status.
    pub(super) fn status(&mut self) -> Result<(bool, StatusCode), Fault> {
        const NONE: Fault = Fault::Disorder("its first line is no status line");
        let (http11, rest) = match self.line()?.split_first_chunk() {
            Some((b"HTTP/1.1 ", rest)) => (true, rest),
            Some((b"HTTP/1.0 ", rest)) => (false, rest),
            _ => return Err(NONE),
        };
        let (code, reason) = rest.split_first_chunk::<3>().ok_or(NONE)?;
        let is_reason = match reason {
            [] => true,
            [b' ', text @ ..] => text.iter().all(|&byte| is_text(byte)),
            _ => false,
        };
        let status = StatusCode::from_bytes(code).ok().filter(|_| is_reason);
        Ok((http11, status.ok_or(NONE)?))
    }

    /// The next field (RFC 9112 section 5); `None` at the empty line, behind which nothing may be.
    pub(super) fn field(&mut self) -> Result<Option<(HeaderName, HeaderValue)>, Fault> {
        let line = self.line()?;
        if line.is_empty() {
            return match self.rest {
                [] => Ok(None),
                _ => Err(Fault::Disorder("its head ends elsewhere")),
            };
        }
        // Neither a blank before the colon nor one at the line's start (the old folding) can be part
        // of a name: sections 5.1 and 5.2.
        let colon = memchr::memchr(b':', line).and_then(|at| line.split_at_checked(at));
        let (name, value) = colon.ok_or(Fault::Disorder("a field has no colon"))?;
        let value = trim_blanks(value.get(1..).unwrap_or_default());
        // The type takes a quote for a part of a name; RFC 9110 section 5.6.2 does not.
        let is_quoted = memchr::memchr(b'"', name).is_some();
        let name = HeaderName::from_bytes(name);
        let value = HeaderValue::from_maybe_shared(self.block.slice_ref(value));
        match (name, value) {
            (Ok(name), Ok(value)) if !is_quoted => Ok(Some((name, value))),
            _ => Err(Fault::Disorder("a field is none")),
        }
    }
}

/// A byte of a reason phrase.
const fn is_text(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..)
}

/// OWS of RFC 9110 section 5.6.3 around a value.
fn trim_blanks(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

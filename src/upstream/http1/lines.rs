//! The lines of a head or of trailers, read strictly: what two readers could read in two ways is no
//! field.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};

use super::Fault;

/// The lines of a whole block.
pub(super) struct Lines<'a> {
    /// All of it: names and values share its memory.
    block: &'a Bytes,
    /// Where each line ends that has not been read, by its LF.
    ends: &'a [usize],
    /// Where the next line begins.
    start: usize,
}

/// Most lines of a block.
const LINES_MAX: usize = 256;

/// Where the block ends that `input` begins with, if it is there to its empty line. Into `ends` goes
/// where each of its lines ends, and nothing of an earlier block stays there.
pub(super) fn end(input: &[u8], ends: &mut Vec<usize>) -> Result<Option<usize>, Fault> {
    ends.clear();
    let mut start = 0;
    for at in memchr::memchr_iter(b'\n', input) {
        if ends.len() == LINES_MAX {
            return Err(Fault::Disorder("its head has too many fields"));
        }
        ends.push(at);
        if start > 0 && matches!(input.get(start..at), Some([] | [b'\r'])) {
            return Ok(Some(at + 1));
        }
        start = at + 1;
    }
    Ok(None)
}

impl<'a> Lines<'a> {
    /// `ends`: what [`end`] has told of `block`.
    pub(super) const fn of(block: &'a Bytes, ends: &'a [usize]) -> Self {
        Self { block, ends, start: 0 }
    }

    /// Lines that have not been read.
    pub(super) const fn left(&self) -> usize {
        self.ends.len()
    }

    /// The next line without its end. RFC 9112 section 2.2 lets a reader take a bare LF for one;
    /// a CR anywhere else is refused by what the line is read as.
    fn line(&mut self) -> Result<&'a [u8], Fault> {
        const NONE: Fault = Fault::Disorder("a line has no end");
        let (&end, rest) = self.ends.split_first().ok_or(NONE)?;
        let line = self.block.get(self.start..end).ok_or(NONE)?;
        (self.ends, self.start) = (rest, end + 1);
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
            return match self.ends {
                [] => Ok(None),
                _ => Err(Fault::Disorder("its head ends elsewhere")),
            };
        }
        // Neither a blank before the colon nor one at the line's start (the old folding) can be part
        // of a name: sections 5.1 and 5.2.
        let colon = line.iter().position(|&byte| !is_token(byte));
        let colon = colon.and_then(|at| line.split_at_checked(at));
        let (name, value) = colon.ok_or(Fault::Disorder("a field has no colon"))?;
        let Some(value) = value.strip_prefix(b":").map(trim_blanks) else {
            return Err(Fault::Disorder("a field's name is none"));
        };
        let value = HeaderValue::from_maybe_shared(self.block.slice_ref(value));
        match (HeaderName::from_bytes(name), value) {
            (Ok(name), Ok(value)) => Ok(Some((name, value))),
            _ => Err(Fault::Disorder("a field is none")),
        }
    }
}

/// Whether a byte may be part of a field's name: `tchar` of RFC 9110 section 5.6.2, which is less
/// than the type takes.
fn is_token(byte: u8) -> bool {
    const TOKEN: [bool; 256] = {
        let mut token = [false; 256];
        let mut rest: &[u8] = b"!#$%&'*+-.^_`|~0123456789\
            abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
        while let [byte, more @ ..] = rest {
            #[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
            {
                token[*byte as usize] = true;
            }
            rest = more;
        }
        token
    };
    TOKEN.get(usize::from(byte)).is_some_and(|&token| token)
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

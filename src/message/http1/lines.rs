//! The lines of a head or of trailers, read strictly: what two readers could read in two ways is no
//! field.

use bytes::Bytes;
use http::header::SET_COOKIE;
use http::{HeaderName, HeaderValue, Method, StatusCode};

use super::Disorder;

/// Places of a head whose lines are remembered.
const KNOWN_LINES: usize = 32;

/// Fields that have come on a connection before, each by its place in the head: most of them are said alike
/// each time, and what is alike to the last byte need not be read again. It goes with its connection.
#[derive(Debug)]
pub struct Known {
    places: Vec<Place>,
    /// Bytes of one line that is remembered.
    longest: usize,
    /// Bytes that may still be remembered.
    left: usize,
    /// Whether what somebody's session hangs on is remembered too.
    cookies: bool,
}

#[derive(Debug, Default)]
struct Place {
    line: Bytes,
    field: Option<(HeaderName, HeaderValue)>,
    /// How often in a row another line has come here.
    misses: u8,
}

impl Known {
    /// Of an application's answers, to many clients: what one of them is given is not kept.
    pub const fn of_answers() -> Self {
        Self { places: Vec::new(), longest: 256, left: 8 * 1024, cookies: false }
    }

    /// Of one client's requests.
    pub const fn of_requests() -> Self {
        Self { places: Vec::new(), longest: 2 * 1024, left: 3 * 1024, cookies: true }
    }

    fn recall(&mut self, at: usize, line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
        let place = self.places.get_mut(at).filter(|place| *place.line == *line)?;
        place.misses = 0;
        place.field.clone()
    }

    /// Copies the line, so that no more of its block is kept than that. A place where it is another one
    /// each time is tried ever more seldom, and at last no more. `start`: where in it the value begins.
    fn remember(
        &mut self,
        at: usize,
        line: &[u8],
        start: usize,
        (name, value): &(HeaderName, HeaderValue),
    ) {
        if at >= KNOWN_LINES || line.len() > self.longest || (!self.cookies && *name == SET_COOKIE)
        {
            return;
        }
        if self.places.len() <= at {
            self.places.resize_with(at + 1, Place::default);
        }
        let Some(place) = self.places.get_mut(at) else { return };
        place.misses = place.misses.saturating_add(1);
        let left = self.left + place.line.len();
        if place.misses.is_power_of_two()
            && let Some(left) = left.checked_sub(line.len())
        {
            self.left = left;
            place.line = Bytes::copy_from_slice(line);
            let value = place.line.slice(start..).slice(..value.len());
            place.field =
                HeaderValue::from_maybe_shared(value).ok().map(|value| (name.clone(), value));
        }
    }
}

/// The lines of a whole block.
pub struct Lines<'a> {
    /// All of it: names and values share its memory.
    block: &'a Bytes,
    /// Where each line ends that has not been read, by its LF.
    ends: &'a [usize],
    /// Where the next line begins.
    start: usize,
    /// How many fields have been read.
    fields: usize,
    known: Option<&'a mut Known>,
}

/// A block has more lines than it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany;

/// Where the block ends that `input` begins with, if it is there to its empty line, which makes one of
/// its lines; it may have `most`. Into `ends` goes where each line ends, and nothing of an earlier
/// block stays there.
///
/// # Errors
/// [`TooMany`] as soon as that is certain.
pub fn end(input: &[u8], ends: &mut Vec<usize>, most: usize) -> Result<Option<usize>, TooMany> {
    ends.clear();
    let mut start = 0;
    for at in memchr::memchr_iter(b'\n', input) {
        if ends.len() == most {
            return Err(TooMany);
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
    pub const fn of(block: &'a Bytes, ends: &'a [usize]) -> Self {
        Self { block, ends, start: 0, fields: 0, known: None }
    }

    /// The same, with what its connection has brought before.
    pub const fn among(self, known: &'a mut Known) -> Self {
        Self { known: Some(known), ..self }
    }

    /// Lines that have not been read.
    pub const fn left(&self) -> usize {
        self.ends.len()
    }

    /// The next line without its end. RFC 9112 section 2.2 lets a reader take a bare LF for one;
    /// a CR anywhere else is refused by what the line is read as.
    fn line(&mut self) -> Result<&'a [u8], Disorder> {
        const NONE: Disorder = Disorder("a line has no end");
        let (&end, rest) = self.ends.split_first().ok_or(NONE)?;
        let line = self.block.get(self.start..end).ok_or(NONE)?;
        (self.ends, self.start) = (rest, end + 1);
        Ok(line.strip_suffix(b"\r").unwrap_or(line))
    }

    /// The request line (RFC 9112 section 3): the method, the target as it came, and whether it is HTTP/1.1
    /// and not 1.0. That the target is one is for its type to say; here it is made sure of that it has no
    /// blank and no control in it.
    ///
    /// # Errors
    /// It is no request line, or speaks of another protocol.
    pub fn request(&mut self) -> Result<(Method, &'a [u8], bool), Disorder> {
        const NONE: Disorder = Disorder("its first line is no request line");
        let line = self.line()?;
        let blank = memchr::memchr(b' ', line).and_then(|at| line.split_at_checked(at));
        let Some((method, [b' ', rest @ ..])) = blank else { return Err(NONE) };
        let (target, http11) = match rest.split_last_chunk() {
            Some((target, b" HTTP/1.1")) => (target, true),
            Some((target, b" HTTP/1.0")) => (target, false),
            _ => return Err(NONE),
        };
        if target.is_empty() || target.iter().any(|&byte| byte <= b' ' || byte == 0x7f) {
            return Err(NONE);
        }
        // The type takes tokens only.
        let method = Method::from_bytes(method).map_err(|_none| NONE)?;
        Ok((method, target, http11))
    }

    /// The status line of a response (RFC 9112 section 4): whether it is HTTP/1.1 and not 1.0, and
    /// the status.
    ///
    /// # Errors
    /// It is no status line.
    pub fn status(&mut self) -> Result<(bool, StatusCode), Disorder> {
        const NONE: Disorder = Disorder("its first line is no status line");
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
    ///
    /// # Errors
    /// The line is no field.
    pub fn field(&mut self) -> Result<Option<(HeaderName, HeaderValue)>, Disorder> {
        let line = self.line()?;
        if line.is_empty() {
            return match self.ends {
                [] => Ok(None),
                _ => Err(Disorder("its head ends elsewhere")),
            };
        }
        let at = self.fields;
        self.fields += 1;
        if let Some(field) = self.known.as_mut().and_then(|known| known.recall(at, line)) {
            return Ok(Some(field));
        }
        // Neither a blank before the colon nor one at the line's start (the old folding) can be part
        // of a name: sections 5.1 and 5.2.
        let colon = line.iter().position(|&byte| !is_token(byte));
        let colon = colon.and_then(|at| line.split_at_checked(at));
        let (name, value) = colon.ok_or(Disorder("a field has no colon"))?;
        let Some(behind) = value.strip_prefix(b":").map(trim_start) else {
            return Err(Disorder("a field's name is none"));
        };
        let start = line.len() - behind.len();
        let value = HeaderValue::from_maybe_shared(self.block.slice_ref(trim_end(behind)));
        let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), value) else {
            return Err(Disorder("a field is none"));
        };
        let field = (name, value);
        if let Some(known) = &mut self.known {
            known.remember(at, line, start, &field);
        }
        Ok(Some(field))
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

/// Without OWS of RFC 9110 section 5.6.3 before it.
pub(super) fn trim_start(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    value
}

/// Without such behind it.
fn trim_end(mut value: &[u8]) -> &[u8] {
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fields(text: &str, known: Option<&mut Known>) -> Option<Vec<(HeaderName, HeaderValue)>> {
        let (block, mut ends) = (Bytes::copy_from_slice(text.as_bytes()), Vec::new());
        assert_eq!(end(&block, &mut ends, 256).ok()?, Some(block.len()), "{text:?}");
        let mut lines = Lines::of(&block, &ends);
        if let Some(known) = known {
            lines = lines.among(known);
        }
        lines.status().ok()?;
        let mut fields = Vec::new();
        while let Some(field) = lines.field().ok()? {
            fields.push(field);
        }
        Some(fields)
    }

    fn line() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec![
            "A: 1\r\n",
            "A: 2\r\n",
            "a: 1\r\n",
            "A:1\r\n",
            "A: 1\n",
            "AB: 1\r\n",
            "A : 1\r\n",
            "B: 1\r\n",
            "Set-Cookie: 1\r\n",
            "A: \0\r\n",
            "A: 1 \r\n",
        ])
    }

    proptest! {
        #[test]
        fn what_has_come_before_changes_nothing_in_what_is_read(
            heads in prop::collection::vec(prop::collection::vec(line(), 0..6), 1..40),
        ) {
            for mut known in [Known::of_answers(), Known::of_requests()] {
                for head in &heads {
                    let text = format!("HTTP/1.1 200 OK\r\n{}\r\n", head.concat());
                    prop_assert_eq!(fields(&text, Some(&mut known)), fields(&text, None));
                }
            }
        }
    }

    #[test]
    fn what_is_remembered_is_bounded_and_of_answers_holds_no_cookie() {
        let long = "x".repeat(3 * 1024);
        let text = format!(
            "HTTP/1.1 200 OK\r\nA: {long}\r\nSet-Cookie: s=1\r\n{}\r\n",
            "B: 1\r\n".repeat(200)
        );
        let lengths = |mut known: Known| -> Vec<usize> {
            for _ in 0..3 {
                assert_eq!(fields(&text, Some(&mut known)).map(|fields| fields.len()), Some(202));
            }
            known.places.iter().map(|place| place.line.len()).collect()
        };
        let rest = vec![4; KNOWN_LINES - 2];
        assert_eq!(lengths(Known::of_answers()), [vec![0, 0], rest.clone()].concat());
        assert_eq!(lengths(Known::of_requests()), [vec![0, 15], rest].concat());

        let mut known = Known::of_requests();
        for round in 0..40 {
            let line = |name| format!("{name}: {}\r\n", "y".repeat(1000 + round));
            let text =
                format!("HTTP/1.1 200 OK\r\n{}\r\n", ["A", "B", "C", "D"].map(line).concat());
            assert!(fields(&text, Some(&mut known)).is_some());
            let all: usize = known.places.iter().map(|place| place.line.len()).sum();
            assert_eq!(known.left + all, 3 * 1024, "after {round}");
            assert!(all > 2000, "{all}");
        }
    }

    #[test]
    fn a_place_that_differs_each_time_is_copied_ever_more_seldom() {
        let mut known = Known::of_answers();
        let mut copies = 0;
        for count in 0..1000 {
            let text = format!("HTTP/1.1 200 OK\r\nETag: {count}\r\n\r\n");
            assert!(fields(&text, Some(&mut known)).is_some());
            let now = format!("ETag: {count}");
            copies += usize::from(*known.places[0].line == *now.as_bytes());
        }
        assert_eq!(copies, 8);
    }
}

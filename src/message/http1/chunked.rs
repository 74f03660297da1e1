//! The chunked transfer coding, undone (RFC 9112 section 7.1).

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName};

use super::Disorder;
use super::lines::{self, Lines};
use crate::message::fields;

/// A chunk's line, with extensions that nobody reads.
const LINE_MAX: usize = 4 * 1024;
/// All extensions of one body: they cost work and bring nothing.
const EXTENSIONS_MAX: usize = 64 * 1024;
const TRAILERS_MAX: usize = 16 * 1024;
const TRAILER_FIELDS_MAX: usize = 64;

/// Where in a chunked body the reader stands.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Chunked {
    state: State,
    /// Bytes of extensions so far.
    extensions: usize,
    /// Fields that belong to this hop alone, as the head's `Connection` said.
    listed: Box<[HeaderName]>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before a chunk's line.
    #[default]
    Line,
    /// Within a chunk, with so many bytes to come.
    Data(u64),
    /// Behind a chunk's data.
    DataEnd,
    /// Behind the last chunk.
    Trailers,
    End,
}

/// What a body goes on with.
#[derive(Debug)]
pub enum Piece {
    /// More must be read first.
    More,
    /// This.
    Data(Bytes),
    /// These fields, the last thing before the end.
    Trailers(HeaderMap),
    /// Nothing.
    End,
}

impl Chunked {
    /// A body whose head listed these in `Connection`.
    pub fn new(listed: Vec<HeaderName>) -> Self {
        Self { listed: listed.into_boxed_slice(), ..Self::default() }
    }

    /// Whether all of it has been taken.
    pub const fn is_end(&self) -> bool {
        matches!(self.state, State::End)
    }

    /// Takes the next piece from the front of `input`.
    ///
    /// # Errors
    /// What came is no chunked coding, or has more beside its data than is taken.
    pub fn decode(&mut self, input: &mut BytesMut) -> Result<Piece, Disorder> {
        loop {
            match self.state {
                State::Line => {
                    let Some(line) = line(input)? else { return Ok(Piece::More) };
                    let (size, extension) = size(&line)?;
                    self.extensions = self.extensions.saturating_add(extension);
                    if self.extensions > EXTENSIONS_MAX {
                        return Err(Disorder("its chunks have too many extensions"));
                    }
                    self.state = if size == 0 { State::Trailers } else { State::Data(size) };
                }
                State::Data(_) if input.is_empty() => return Ok(Piece::More),
                State::Data(left) => {
                    let count = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
                    self.state = match left.saturating_sub(count as u64) {
                        0 => State::DataEnd,
                        left => State::Data(left),
                    };
                    return Ok(Piece::Data(input.split_to(count).freeze()));
                }
                State::DataEnd => match input.get(..2) {
                    Some(b"\r\n") => {
                        input.advance(2);
                        self.state = State::Line;
                    }
                    Some(_) => return Err(Disorder("a chunk is longer than it says")),
                    None => return Ok(Piece::More),
                },
                State::Trailers => return self.trailers(input),
                State::End => return Ok(Piece::End),
            }
        }
    }

    fn trailers(&mut self, input: &mut BytesMut) -> Result<Piece, Disorder> {
        if let Some(b"\r\n") = input.get(..2) {
            input.advance(2);
            self.state = State::End;
            return Ok(Piece::End);
        }
        let mut ends = Vec::new();
        let Some(end) = lines::end(input, &mut ends, TRAILER_FIELDS_MAX + 1)
            .map_err(|_most| Disorder("it has too many trailers"))?
        else {
            return match input.len() > TRAILERS_MAX {
                true => Err(Disorder("its trailers are too large")),
                false => Ok(Piece::More),
            };
        };
        if end > TRAILERS_MAX {
            return Err(Disorder("its trailers are too large"));
        }
        // As strict as the lines of chunks: what another reader takes for a part of a field must not be an end.
        if !ends.iter().all(|&at| at.checked_sub(1).and_then(|at| input.get(at)) == Some(&b'\r')) {
            return Err(Disorder("a trailer's line does not end as it must"));
        }
        let block = input.split_to(end).freeze();
        let mut trailers = trailers(Lines::of(&block, &ends), TRAILER_FIELDS_MAX)?;
        // RFC 9110 section 6.5.1: what frames or routes a message has no place here.
        fields::strip_hop_by_hop(&mut trailers);
        trailers.remove(http::header::CONTENT_LENGTH);
        trailers.remove(http::header::HOST);
        trailers.remove(http::header::SET_COOKIE);
        for name in &self.listed {
            trailers.remove(name);
        }
        self.state = State::End;
        Ok(Piece::Trailers(trailers))
    }
}

/// The fields of trailers, at most `most` of them.
fn trailers(mut lines: Lines<'_>, most: usize) -> Result<HeaderMap, Disorder> {
    let mut headers = HeaderMap::new();
    let mut count = 0;
    while let Some((name, value)) = lines.field()? {
        count += 1;
        if count > most {
            return Err(Disorder("it has too many trailers"));
        }
        headers.append(name, value);
    }
    Ok(headers)
}

/// The next line without its end, if it is there whole.
fn line(input: &mut BytesMut) -> Result<Option<BytesMut>, Disorder> {
    let Some(at) = memchr::memchr(b'\n', input) else {
        return match input.len() > LINE_MAX {
            true => Err(Disorder("a chunk's line is too long")),
            false => Ok(None),
        };
    };
    let mut line = input.split_to(at + 1);
    match line.strip_suffix(b"\r\n") {
        Some(text) if text.len() <= LINE_MAX && !text.contains(&b'\r') => {
            line.truncate(at - 1);
            Ok(Some(line))
        }
        _ => Err(Disorder("a chunk's line does not end as it must")),
    }
}

/// `chunk-size [ chunk-ext ]`: the size, and how long the extension is.
fn size(line: &[u8]) -> Result<(u64, usize), Disorder> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (number, extension) = line.split_at_checked(digits).unwrap_or((line, b""));
    // Section 7.1.1: whitespace may stand before an extension; some servers pad the number with it.
    let behind = lines::trim_start(extension);
    if !(behind.is_empty() || behind.starts_with(b";")) {
        return Err(Disorder("a chunk's size is no number"));
    }
    let number = str::from_utf8(number).ok().and_then(|text| u64::from_str_radix(text, 16).ok());
    let size = number.ok_or(Disorder("a chunk's size is no number"))?;
    Ok((size, extension.len()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The data of a body, the count of its trailers, and what is left behind it.
    type Decoded = (Vec<u8>, usize, Vec<u8>);

    /// Decodes what comes in `pieces`; `None` when they do not reach the body's end.
    fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Option<Decoded>, String> {
        let (mut chunked, mut input) = (Chunked::default(), BytesMut::new());
        let (mut data, mut trailers) = (Vec::new(), 0);
        for piece in pieces {
            input.extend_from_slice(piece);
            loop {
                match chunked.decode(&mut input).map_err(|fault| fault.to_string())? {
                    Piece::More => break,
                    Piece::Data(bytes) => data.extend_from_slice(&bytes),
                    Piece::Trailers(fields) => trailers = fields.len(),
                    Piece::End => break,
                }
            }
        }
        Ok(chunked.is_end().then(|| (data, trailers, input.to_vec())))
    }

    #[test]
    fn chunks_extensions_and_trailers_are_undone_and_what_follows_stays() {
        let body = b"5\r\nhello\r\n6;a=b;c=\"d\"\r\n world\r\n0\r\nx-sum: 1\r\nTransfer-Encoding: gzip\r\n\r\nHTTP";
        let (data, trailers, rest) = decode([&body[..]]).unwrap().unwrap();
        assert_eq!(data, b"hello world");
        assert_eq!(trailers, 1, "framing has no place in trailers");
        assert_eq!(rest, b"HTTP");
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for body in [
            &b"5\nhello\r\n0\r\n\r\n"[..],
            b"5\r\nhello\n0\r\n\r\n",
            b"5\r\nhello0\r\n\r\n",
            b"0x5\r\nhello\r\n0\r\n\r\n",
            b"+5\r\nhello\r\n0\r\n\r\n",
            b"-5\r\nhello\r\n0\r\n\r\n",
            b" 5\r\nhello\r\n0\r\n\r\n",
            b"\r\nhello\r\n0\r\n\r\n",
            b"5 5\r\nhello\r\n0\r\n\r\n",
            b"5;a\rb\r\nhello\r\n0\r\n\r\n",
            b"10000000000000005\r\nhello\r\n0\r\n\r\n",
            b"0\r\nbad name: x\r\n\r\n",
            b"0\r\nx: y\n\nGET",
            b"0\r\nx: y\r\n\nGET",
            b"0\r\nx: y\n\r\nGET",
            b"0\r\n\nGET / HTTP/1.1\r\n\r\n",
            b"5\x0c\r\nhello\r\n0\r\n\r\n",
        ] {
            assert!(decode([body]).is_err(), "{:?}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn endless_lines_extensions_and_trailers_are_cut() {
        assert!(decode([&[b'1'; LINE_MAX + 1][..]]).is_err());
        let chunk = [b"1;".as_slice(), &[b'x'; 1000], b"\r\na\r\n"].concat();
        assert!(decode(std::iter::repeat_n(&chunk[..], 100)).is_err());
        let trailers = [b"0\r\n".as_slice(), &b"a: b\r\n".repeat(4000)].concat();
        assert!(decode([&trailers[..]]).is_err());
    }

    proptest! {
        #[test]
        fn however_it_is_cut_the_same_body_comes_out(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8),
            cut in 1_usize..20,
        ) {
            let mut body = Vec::new();
            for chunk in &chunks {
                body.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
                body.extend_from_slice(chunk);
                body.extend_from_slice(b"\r\n");
            }
            body.extend_from_slice(b"0\r\n\r\n");
            let (data, _, rest) = decode(body.chunks(cut)).unwrap().unwrap();
            prop_assert_eq!(data, chunks.concat());
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn no_bytes_make_it_fail_otherwise_than_by_refusal(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(bytes.chunks(7));
        }
    }
}

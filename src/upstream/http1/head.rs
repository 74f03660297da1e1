//! The heads of one exchange, as bytes: a request's as we write it, a response's as it must be
//! written to have one meaning.

use std::io::Write as _;

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};

use super::{Fault, Framing};
use crate::message::added::{MARKER, is_ours_to_say, write_field};
use crate::message::fields::is_hop_by_hop;
use crate::message::http1::chunked::Chunked;
use crate::message::http1::lines::Lines;
use crate::message::http1::outgoing::Next;
use crate::message::http1::{length, options};
use crate::upstream::Parts;

/// About as many fields as the journey adds to a response.
const ADDED: usize = 8;
/// Names that all `Connection` fields of a response may list.
const LISTED_MAX: usize = 256;

/// Writes a request's head (RFC 9112 sections 3 and 5).
///
/// Neither a target nor a field value can hold a line's end: their types do not let one in.
pub(super) fn write(out: &mut Vec<u8>, request: &Parts, host: &HeaderValue, next: Next) {
    out.extend_from_slice(request.method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(request.target.as_str().as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    // RFC 9110 section 7.2: it ought to be the first one.
    write_field(out, HOST.as_str(), host.as_bytes());
    for (name, value) in &request.headers {
        if !is_ours_to_say(name) && *name != TRANSFER_ENCODING {
            write_field(out, name.as_str(), value.as_bytes());
        }
    }
    request.added.write(out);
    match next {
        Next::Length(length) => write_length(out, length),
        Next::Chunks => write_field(out, TRANSFER_ENCODING.as_str(), b"chunked"),
        // RFC 9110 section 8.6: where content could be, it is said that there is none.
        _ if matches!(request.method, Method::POST | Method::PUT | Method::PATCH) => {
            write_length(out, 0);
        }
        _ => {}
    }
    out.extend_from_slice(b"\r\n");
}

fn write_length(out: &mut Vec<u8>, length: u64) {
    // Writing to memory does not fail.
    let _written = write!(out, "content-length: {length}\r\n");
}

/// Reads a whole response head: the response without the fields of the connection, where its body
/// ends, and whether the connection stays open after that. Its fields are put into `headers`.
pub(super) fn read(
    mut lines: Lines<'_>,
    method: &Method,
    mut headers: HeaderMap,
) -> Result<(Response<()>, Framing, bool), Fault> {
    let (http11, status) = lines.status()?;
    headers.clear();
    // At once, with room for what is added on the way to the client.
    headers.reserve(lines.left() + ADDED);
    let mut hop = Hop::default();
    while let Some((name, value)) = lines.field()? {
        if hop.passes(&name, &value)? {
            headers.append(name, value);
        }
    }
    if status == StatusCode::SWITCHING_PROTOCOLS && !(http11 && hop.is_to_websocket()) {
        return Err(Fault::Disorder("it switches to what nobody asked for"));
    }
    for name in &hop.listed {
        headers.remove(name);
    }
    let keep_alive = if http11 { !hop.close } else { hop.keep_alive };
    let framing = hop.framing(&mut headers, status, method, http11)?;
    let mut response = Response::new(());
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok((response, framing, keep_alive))
}

/// What a response head says of its connection. These fields end here (RFC 9110 section 7.6.1).
#[derive(Default)]
struct Hop {
    close: bool,
    keep_alive: bool,
    /// Fields that `Connection` names.
    listed: Vec<HeaderName>,
    length: Option<u64>,
    /// The length that goes on is said as nobody else would say it.
    is_odd: bool,
    codings: usize,
    chunked: bool,
    announces: bool,
    upgrades: usize,
    websocket: bool,
}

impl Hop {
    /// Whether the field goes on to the client.
    fn passes(&mut self, name: &HeaderName, value: &HeaderValue) -> Result<bool, Fault> {
        if *name == CONTENT_LENGTH {
            // Said twice alike is said once.
            let first = self.length.is_none();
            for option in options(value) {
                self.agree_on_length(option)?;
            }
            self.is_odd |= first && !is_decimal(value.as_bytes());
            return Ok(first);
        }
        if *name == CONNECTION {
            for option in options(value) {
                // RFC 9112 section 9.3
                if option.eq_ignore_ascii_case(b"close") {
                    self.close = true;
                } else if option.eq_ignore_ascii_case(b"keep-alive") {
                    self.keep_alive = true;
                } else if let Ok(name) = HeaderName::from_bytes(option)
                    && self.listed.len() < LISTED_MAX
                {
                    self.listed.push(name);
                }
            }
        } else if *name == TRANSFER_ENCODING {
            self.codings += 1;
            self.chunked = value.as_bytes().eq_ignore_ascii_case(b"chunked");
        } else if *name == UPGRADE {
            self.upgrades += 1;
            self.websocket = value.as_bytes().eq_ignore_ascii_case(b"websocket");
        }
        if *name == TRAILER {
            // What it announces goes on too, to a client that takes it (RFC 9110 section 6.5.1).
            self.announces = true;
            return Ok(true);
        }
        Ok(!is_hop_by_hop(name) && *name != MARKER)
    }

    /// Whether a 101 says, as it must (RFC 9110 section 7.8), that it switches to WebSocket: nothing
    /// else is ever asked for, and whatever else it says would be tunnelled unread.
    fn is_to_websocket(&self) -> bool {
        self.upgrades == 1 && self.websocket && self.listed.contains(&UPGRADE)
    }

    /// All of `Content-Length` must say one thing (RFC 9112 section 6.3 item 5).
    fn agree_on_length(&mut self, text: &[u8]) -> Result<(), Fault> {
        let length = length(text).ok_or(Fault::Disorder("its length is no number"))?;
        match self.length.replace(length) {
            Some(before) if before != length => Err(Fault::Disorder("it has two lengths")),
            _ => Ok(()),
        }
    }

    /// Where the body ends, by RFC 9112 section 6.3, and nothing left to guess.
    fn framing(
        &self,
        headers: &mut HeaderMap,
        status: StatusCode,
        method: &Method,
        http11: bool,
    ) -> Result<Framing, Fault> {
        if self.codings > 0 && self.length.is_some() {
            // Section 6.3 item 3: "ought to be handled as an error".
            return Err(Fault::Disorder("it has both a length and a transfer coding"));
        }
        if self.announces && self.codings == 0 {
            // Nothing can come behind a body of any other kind.
            headers.remove(TRAILER);
        }
        // Items 1 and 2, whatever the fields say.
        let empty = method == Method::HEAD
            || status.is_informational()
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if empty && method != Method::HEAD && status != StatusCode::NOT_MODIFIED {
            // RFC 9110 section 8.6 forbids it there.
            headers.remove(CONTENT_LENGTH);
        } else if let Some(length) = self.length.filter(|_| self.is_odd) {
            headers.insert(CONTENT_LENGTH, length.into());
        }
        if empty {
            return Ok(Framing::Length(0));
        }
        if self.codings > 0 {
            return match self.chunked && self.codings == 1 && http11 {
                true => Ok(Framing::Chunked(Chunked::new(self.listed.clone()))),
                // We asked for no other (RFC 9110 section 10.1.4) and could not undo it.
                false => Err(Fault::Disorder("its transfer coding is not chunked alone")),
            };
        }
        Ok(self.length.map_or(Framing::ToEnd, Framing::Length))
    }
}

/// Whether a length is written as everybody writes it: no list, no leading zero.
fn is_decimal(text: &[u8]) -> bool {
    matches!(text, [b'0'] | [b'1'..=b'9', ..]) && text.iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::super::end;
    use super::*;

    fn answer(text: &str, method: &Method) -> Result<(Response<()>, Framing, bool), String> {
        read_all(text.as_bytes(), method).map_err(|fault| fault.to_string())
    }

    fn read_all(bytes: &[u8], method: &Method) -> Result<(Response<()>, Framing, bool), Fault> {
        let (block, mut ends) = (Bytes::copy_from_slice(bytes), Vec::new());
        assert_eq!(end(&block, &mut ends)?, Some(block.len()), "{block:?}");
        read(Lines::of(&block, &ends), method, HeaderMap::new())
    }

    fn framing_of(fields: &str) -> Result<Framing, String> {
        answer(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n"), &Method::GET).map(|read| read.1)
    }

    #[test]
    fn a_body_ends_where_exactly_one_rule_says_so() {
        assert_eq!(framing_of("content-length: 5\r\n"), Ok(Framing::Length(5)));
        assert_eq!(framing_of("content-length: 5, 5\r\n"), Ok(Framing::Length(5)));
        assert_eq!(
            framing_of("Transfer-Encoding: Chunked\r\n"),
            Ok(Framing::Chunked(Chunked::default()))
        );
        assert_eq!(framing_of("x: y\r\n"), Ok(Framing::ToEnd));
        for disorder in [
            "content-length: 5\r\ntransfer-encoding: chunked\r\n",
            "content-length: 5\r\ncontent-length: 6\r\n",
            "content-length: 5, 6\r\n",
            "content-length: +5\r\n",
            "content-length: 5,\r\n",
            "content-length:\r\n",
            "content-length: 99999999999999999999\r\n",
            "transfer-encoding: gzip, chunked\r\n",
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
            "transfer-encoding: chunked, chunked\r\n",
            "transfer-encoding: xchunked\r\n",
            "transfer-encoding:\r\n",
        ] {
            assert!(framing_of(disorder).is_err(), "{disorder:?}");
        }
    }

    #[test]
    fn a_length_that_is_said_twice_alike_is_passed_on_once() {
        let text = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\n";
        let (response, ..) = answer(text, &Method::GET).unwrap();
        let lengths: Vec<_> = response.headers().get_all(CONTENT_LENGTH).iter().collect();
        assert_eq!(lengths, ["5"]);
    }

    #[test]
    fn what_has_no_body_by_its_kind_has_none_whatever_its_fields_say() {
        let text = |status: &str| format!("HTTP/1.1 {status} x\r\ncontent-length: 5\r\n\r\n");
        let empty = |status, method| {
            let (response, framing, _) = answer(&text(status), &method).unwrap();
            assert_eq!(framing, Framing::Length(0), "{status}");
            response.headers().contains_key(CONTENT_LENGTH)
        };
        assert!(empty("200", Method::HEAD), "it tells what GET would have");
        assert!(empty("304", Method::GET));
        assert!(!empty("204", Method::GET));
        assert!(!empty("103", Method::GET));
    }

    #[test]
    fn a_connection_stays_open_as_its_version_and_options_say() {
        let kept = |version: &str, field: &str| {
            let text = format!("HTTP/{version} 200 OK\r\ncontent-length: 0\r\n{field}\r\n");
            answer(&text, &Method::GET).unwrap().2
        };
        assert!(kept("1.1", ""));
        assert!(!kept("1.1", "connection: Close\r\n"));
        assert!(!kept("1.1", "connection: x\r\nconnection: y, close\r\n"));
        assert!(!kept("1.0", ""));
        assert!(kept("1.0", "connection: keep-alive\r\n"));
    }

    #[test]
    fn a_switch_is_to_websocket_or_it_is_none() {
        let switch = |version: &str, fields: &str| {
            let text = format!("HTTP/{version} 101 Switching Protocols\r\n{fields}\r\n");
            answer(&text, &Method::GET).map(|read| read.1)
        };
        for proper in [
            "Connection: Upgrade\r\nUpgrade: websocket\r\n",
            "connection: keep-alive\r\nupgrade: WebSocket\r\nconnection: x , upgrade\r\n",
            "Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n",
        ] {
            assert_eq!(switch("1.1", proper), Ok(Framing::Length(0)), "{proper:?}");
        }
        for other in [
            "",
            "Upgrade: websocket\r\n",
            "Connection: upgrade\r\n",
            "Connection: close\r\nUpgrade: websocket\r\n",
            "Connection: upgrade\r\nUpgrade: h2c\r\n",
            "Connection: upgrade\r\nUpgrade: websocket, h2c\r\n",
            "Connection: upgrade\r\nUpgrade: websocket\r\nUpgrade: websocket\r\n",
            "Connection: upgrade\r\nUpgrade: websocket/13\r\n",
        ] {
            assert!(switch("1.1", other).is_err(), "{other:?}");
        }
        assert!(switch("1.0", "Connection: upgrade\r\nUpgrade: websocket\r\n").is_err());
    }

    #[test]
    fn heads_that_are_none_are_refused() {
        for text in [
            "HTTP/2.0 200 OK\r\n\r\n",
            "HTTP/1.1 99 x\r\n\r\n",
            "HTTP/1.1 20 OK\r\n\r\n",
            "ICY 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nname : x\r\n\r\n",
            "HTTP/1.1 200 OK\r\n folded: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\na: b\r\n c\r\n\r\n",
            "HTTP/1.1 200 OK\r\na: \0\r\n\r\n",
            "HTTP/1.1 200 OK\r\na: b\rc: d\r\n\r\n",
            "HTTP/1.1 200 OK\r\na\r\n\r\n",
            "HTTP/1.1 200 OK\r\n: b\r\n\r\n",
            "HTTP/1.1 200 O\0K\r\n\r\n",
            "HTTP/1.1  200 OK\r\n\r\n",
            "HTTP/1.1 2000\r\n\r\n",
            "HTTP/1.1\r\n\r\n",
            "http/1.1 200 OK\r\n\r\n",
            "\r\nHTTP/1.1 200 OK\r\n\r\n",
            "\r\n\r\n",
        ] {
            assert!(read_all(text.as_bytes(), &Method::GET).is_err(), "{text:?}");
        }
        let many = |fields| format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(fields));
        assert!(answer(&many(254), &Method::GET).is_ok());
        assert!(answer(&many(255), &Method::GET).is_err());
    }

    #[test]
    fn a_name_is_a_token_and_a_value_holds_no_control() {
        for byte in 0..=u8::MAX {
            let read = |before: &[u8], after: &[u8]| {
                let block = [b"HTTP/1.1 200 OK\r\n", before, &[byte], after, b"\r\n\r\n"].concat();
                read_all(&block, &Method::GET).is_ok()
            };
            // RFC 9110 sections 5.6.2 and 5.5. A colon ends the name, and a line's end is one.
            let is_tchar = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            assert_eq!(read(b"x", b"y: z"), is_tchar || byte == b':', "{byte}");
            let is_text = byte == b'\t' || (byte >= b' ' && byte != 0x7f);
            assert_eq!(read(b"x: y", b"z"), is_text, "{byte}");
        }
    }

    #[test]
    fn what_stands_around_a_value_is_no_part_of_it() {
        for text in [
            "HTTP/1.1 200 OK\r\nA-b: \t c d \t\r\n\r\n",
            "HTTP/1.0 200\na-B:c d\n\n",
            "HTTP/1.1 200 \r\na-b:c d\r\n\r\n",
        ] {
            let (response, ..) = answer(text, &Method::GET).unwrap();
            assert_eq!(response.headers()["a-b"], "c d", "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_reading_fail_otherwise_than_by_refusal(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut ends = Vec::new();
            if let Ok(Some(end)) = end(&bytes, &mut ends) {
                prop_assert!(end <= bytes.len());
                let block = Bytes::from(bytes).slice(..end);
                let _ = read(Lines::of(&block, &ends), &Method::GET, HeaderMap::new());
            }
        }
    }
}

//! What makes a message of HTTP of frames.

use super::Step::{Reset, Send, Whole};
use super::{
    BAD, END_HEADERS, END_STREAM, PROTOCOL_ERROR, Row, WHOLE, fields, get, post, row, send,
};
use crate::harness::HOST;
use crate::harness::frames::{DATA, HEADERS, frame, literals};

/// A request that is none, by these fields beside or in the place of the usual ones.
fn bad(fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, WHOLE, 1, &literals(fields))
}

/// A bad request that is one but for further fields.
fn with(further: &[(&'static str, &'static str)]) -> Vec<u8> {
    bad(&[&fields("GET", BAD)[..], further].concat())
}

/// A bad request in which one of the usual fields is missing.
fn without(name: &str) -> Vec<u8> {
    let mut all = fields("GET", BAD);
    all.retain(|(found, _)| *found != name);
    bad(&all)
}

/// RFC 9113 section 8.
pub(super) fn rows() -> Vec<Row> {
    let length = |value: &'static str| {
        let fields = [&fields("POST", BAD)[..], &[("content-length", value)]].concat();
        frame(HEADERS, END_HEADERS, 1, &literals(&fields))
    };
    let trailers = |fields: &[(&str, &str)], flags| frame(HEADERS, flags, 1, &literals(fields));
    let malformed = |rule, sent: Vec<u8>| row(rule, [Send(sent), Reset(1, &[PROTOCOL_ERROR])]);
    let mut rows = vec![
        row(
            "8.1: GET, HEAD, POST, and POST with trailers (generic/4)",
            [
                send([get(1)]),
                Whole(1),
                send([frame(HEADERS, WHOLE, 3, &literals(&fields("HEAD", "/public/a")))]),
                Whole(3),
                send([post(5, "/public/a"), frame(DATA, END_STREAM, 5, b"test")]),
                Whole(5),
                send([
                    post(7, "/public/a"),
                    frame(DATA, 0, 7, b"test"),
                    frame(HEADERS, WHOLE, 7, &literals(&[("x-sum", "1")])),
                ]),
                Whole(7),
            ],
        ),
        malformed(
            "8.1: trailers end their request (http2/8.1/1)",
            [post(1, BAD), frame(DATA, 0, 1, b"x"), trailers(&[("x-sum", "1")], END_HEADERS)]
                .concat(),
        ),
        malformed(
            "8.1.1: a length that is too short (http2/8.1.2.6/1)",
            [length("1"), frame(DATA, END_STREAM, 1, b"test")].concat(),
        ),
        malformed(
            "8.1.1: too short for several DATA (http2/8.1.2.6/2)",
            [length("5"), frame(DATA, 0, 1, b"test"), frame(DATA, END_STREAM, 1, b"test")].concat(),
        ),
        malformed(
            "8.1.1: a length that is too long",
            [length("5"), frame(DATA, END_STREAM, 1, b"test")].concat(),
        ),
        malformed("8.1.1: a length without a body", with(&[("content-length", "5")])),
        malformed("8.1.1: a length that is none", with(&[("content-length", "x")])),
        malformed("8.1.1: two lengths", with(&[("content-length", "0"), ("content-length", "1")])),
        malformed("8.2.1: a name in capitals (http2/8.1.2/1)", with(&[("X-Test", "1")])),
        malformed("8.2.1: a name with a colon in it", with(&[("x:y", "1")])),
        malformed("8.2.1: a name with a line's end in it", with(&[("x\r\ny", "1")])),
        malformed("8.2.1: a value with a line's end in it", with(&[("x", "1\r\ny: 2")])),
        malformed("8.2.1: a value with a zero in it", with(&[("x", "1\0")])),
        malformed("8.3: an unknown pseudo-field (http2/8.1.2.1/1)", with(&[(":test", "1")])),
        malformed("8.3: one of responses (http2/8.1.2.1/2)", with(&[(":status", "200")])),
        malformed(
            "8.3: one behind an ordinary field (http2/8.1.2.1/4)",
            bad(&[
                (":method", "GET"),
                ("x-test", "1"),
                (":scheme", "https"),
                (":authority", HOST),
                (":path", BAD),
            ]),
        ),
        malformed("8.3.1: :path is empty (http2/8.1.2.3/1)", bad(&fields("GET", ""))),
        malformed("8.3.1: without :method (http2/8.1.2.3/2)", without(":method")),
        malformed("8.3.1: without :scheme (http2/8.1.2.3/3)", without(":scheme")),
        malformed("8.3.1: without :path (http2/8.1.2.3/4)", without(":path")),
    ];
    for (rule, name, value) in [
        ("8.2.2: Connection is HTTP/1.1's (http2/8.1.2.2/1)", "connection", "keep-alive"),
        ("8.2.2: Keep-Alive is", "keep-alive", "timeout=5"),
        ("8.2.2: Proxy-Connection is", "proxy-connection", "keep-alive"),
        ("8.2.2: Transfer-Encoding is", "transfer-encoding", "chunked"),
        ("8.2.2: Upgrade is", "upgrade", "websocket"),
        ("8.2.2: TE says trailers and nothing else (http2/8.1.2.2/2)", "te", "trailers, deflate"),
        ("8.3.1: :method twice (http2/8.1.2.3/5)", ":method", "GET"),
        ("8.3.1: :scheme twice (http2/8.1.2.3/6)", ":scheme", "https"),
        ("8.3.1: :path twice (http2/8.1.2.3/7)", ":path", BAD),
        ("8.3.1: :authority twice", ":authority", HOST),
    ] {
        rows.push(malformed(rule, with(&[(name, value)])));
    }
    rows
}

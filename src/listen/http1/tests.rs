use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri, Version};
use http_body_util::{Empty, Full};
use proptest::prelude::*;

use super::by_pieces::read_requests;
use super::head::{self, Asking, Refusal};
use super::reply::{self, Manner};
use super::wire::Framing;
use crate::message::http1::lines::{self, Known};
use crate::message::http1::outgoing::Next;

const MOST: usize = 40;

/// Reads a head that `bytes` begin with. `None`: it has not come to its end.
fn read(bytes: &[u8]) -> Option<Result<Asking, Refusal>> {
    let mut ends = Vec::new();
    match lines::end(bytes, &mut ends, MOST + 2) {
        Ok(Some(end)) => {
            let block = Bytes::copy_from_slice(&bytes[..end]);
            Some(head::read(&block, &ends, &mut Known::of_requests(), HeaderMap::new()))
        }
        Ok(None) => None,
        Err(lines::TooMany) => Some(Err(Refusal::TooLarge)),
    }
}

fn asked(fields: &str) -> Result<Asking, Refusal> {
    read(format!("POST /a HTTP/1.1\r\nHost: a\r\n{fields}\r\n").as_bytes()).expect("it is whole")
}

/// The same by another reader, as far as the types that both end in let it.
#[derive(Debug, PartialEq)]
struct Plain {
    method: Method,
    uri: Uri,
    version: Version,
    fields: Vec<(HeaderName, HeaderValue)>,
}

fn by_another(bytes: &[u8]) -> Option<Result<Plain, ()>> {
    let mut space = [httparse::EMPTY_HEADER; MOST];
    let mut request = httparse::Request::new(&mut space);
    match request.parse(bytes) {
        Ok(httparse::Status::Partial) => None,
        Err(_) => Some(Err(())),
        Ok(httparse::Status::Complete(_)) => {
            let field = |field: &httparse::Header<'_>| {
                let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
                Some((name, HeaderValue::from_bytes(field.value).ok()?))
            };
            let plain = || {
                Some(Plain {
                    method: Method::from_bytes(request.method?.as_bytes()).ok()?,
                    uri: request.path?.parse().ok()?,
                    version: if request.version? == 1 {
                        Version::HTTP_11
                    } else {
                        Version::HTTP_10
                    },
                    fields: request.headers.iter().map(field).collect::<Option<_>>()?,
                })
            };
            Some(plain().ok_or(()))
        }
    }
}

fn token() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "GET",
        "POST",
        "a",
        "Host",
        "X-A",
        ":",
        " ",
        "\t",
        "\r\n",
        "\n",
        "\r",
        "\0",
        "\u{7f}",
        "é",
        "\"",
        "(",
        "/",
        "*",
        "/a?b=c#d",
        "http://a.b/c",
        "a:80",
        "HTTP/1.1",
        "HTTP/1.0",
        "HTTP/1.2",
        "HTTP/2.0",
        "http/1.1",
        "Connection",
        "close",
        "keep-alive",
        "Expect: 100-continue",
        "\r\n\r\n",
    ])
}

proptest! {
    #[test]
    fn two_readers_read_one_request(
        line in prop_oneof![
            6 => Just("GET /a HTTP/1.1\r\n".to_owned()),
            1 => prop::collection::vec(token(), 0..6).prop_map(|all| all.concat() + "\r\n"),
        ],
        fields in prop::collection::vec(
            prop_oneof![
                4 => "[A-Za-z-]{1,8}: ?[ -~]{0,12}\r\n",
                2 => prop::collection::vec(token(), 0..5).prop_map(|all| all.concat() + "\r\n"),
                1 => "[\u{0}-\u{ff}]{0,6}: x\r\n",
            ],
            0..6,
        ),
    ) {
        let text = format!("{line}{}\r\n", fields.concat());
        // What another reader begins with only at the next line is passed over before ours is asked.
        prop_assume!(!text.starts_with(['\r', '\n']));
        match (read(text.as_bytes()), by_another(text.as_bytes())) {
            (Some(Ok(ours)), Some(Ok(theirs))) => {
                let head = ours.head;
                let fields = theirs.fields.iter().map(|(name, value)| (name.clone(), value.clone()));
                let expected: HeaderMap = fields.fold(HeaderMap::new(), |mut map, (name, value)| {
                    if !(name == CONTENT_LENGTH && map.contains_key(&name)) {
                        map.append(name, value);
                    }
                    map
                });
                prop_assert_eq!(
                    (&head.method, &head.uri, head.version),
                    (&theirs.method, &theirs.uri, theirs.version)
                );
                prop_assert_eq!(&head.headers, &expected, "{:?}", text);
            }
            // Framing is not that one's to judge.
            (Some(Err(Refusal::Malformed(why))), Some(Ok(_))) => prop_assert!(
                why.contains("length") || why.contains("coding"), "{}: {:?}", why, text
            ),
            (Some(Err(_)), Some(Err(()))) | (None, None) => {}
            // It gives up before a head is whole, and so does ours, at its first line.
            (None, Some(Err(()))) => {}
            (ours, theirs) => prop_assert!(false, "{:?}\nours: {:?}\ntheirs: {:?}", text, ours, theirs),
        }
    }

    #[test]
    fn no_bytes_make_reading_fail_otherwise_than_by_refusal(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let _ = read(&bytes);
        let _ = read(&[b"GET / HTTP/1.1\r\n", &bytes[..], b"\r\n\r\n"].concat());
    }
}

#[test]
fn a_body_ends_where_exactly_one_rule_says_so() {
    let length = |fields: &str| match asked(fields).map(|asked| asked.framing) {
        Ok(None) => Some(0),
        Ok(Some(Framing::Length(length))) => Some(length),
        Ok(Some(Framing::Chunked(_))) => Some(u64::MAX),
        Err(_) => None,
    };
    for (fields, expected) in [
        ("", Some(0)),
        ("Content-Length: 0\r\n", Some(0)),
        ("Content-Length: 5\r\n", Some(5)),
        ("Content-Length: 005\r\n", Some(5)),
        ("Content-Length: 5\r\nContent-Length: 5\r\n", Some(5)),
        ("Transfer-Encoding: chunked\r\n", Some(u64::MAX)),
        ("Transfer-Encoding: CHUNKED\r\n", Some(u64::MAX)),
        ("Content-Length: 5\r\nContent-Length: 6\r\n", None),
        ("Content-Length: 5, 5\r\n", None),
        ("Content-Length: +5\r\n", None),
        ("Content-Length: \r\n", None),
        ("Content-Length: 18446744073709551616\r\n", None),
        ("Transfer-Encoding: identity\r\n", None),
        ("Transfer-Encoding: chunked, gzip\r\n", None),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n", None),
        ("Transfer-Encoding: \r\n", None),
    ] {
        assert_eq!(length(fields), expected, "{fields:?}");
    }
    let old = read(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
    assert!(matches!(old, Err(Refusal::Malformed(_))));
}

#[test]
fn after_a_length_beside_a_coding_no_request_follows() {
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    ] {
        let asked = asked(fields).unwrap();
        assert!(matches!(asked.framing, Some(Framing::Chunked(_))) && !asked.keep_alive);
        // Both are seen by who refuses it.
        assert_eq!(asked.head.headers.len(), 3, "{fields:?}");
    }
}

#[test]
fn what_the_head_says_of_its_connection_is_heard() {
    let said = |text: &str| {
        let asked = read(text.as_bytes()).unwrap().unwrap();
        (asked.keep_alive, asked.expects, asked.upgrades, asked.trailers)
    };
    let of = |version: &str, fields: &str| said(&format!("POST / {version}\r\n{fields}\r\n"));
    assert_eq!(of("HTTP/1.1", ""), (true, false, false, false));
    assert_eq!(of("HTTP/1.0", ""), (false, false, false, false));
    assert_eq!(of("HTTP/1.0", "Connection: Keep-Alive\r\n"), (true, false, false, false));
    assert_eq!(
        of("HTTP/1.1", "Connection: x\r\nconnection: y , CLOSE\r\n"),
        (false, false, false, false)
    );
    assert_eq!(of("HTTP/1.0", "Connection: keep-alive, close\r\n"), (false, false, false, false));
    assert_eq!(
        of("HTTP/1.1", "Expect: 100-Continue\r\n"),
        (true, false, false, false),
        "for no body"
    );
    assert!(of("HTTP/1.1", "Expect: 100-Continue\r\nContent-Length: 1\r\n").1);
    assert!(!of("HTTP/1.0", "Expect: 100-continue\r\nContent-Length: 1\r\n").1);
    assert!(!of("HTTP/1.1", "Expect: something\r\nContent-Length: 1\r\n").1);
    assert!(
        of("HTTP/1.1", "Upgrade: websocket\r\n").2 && !of("HTTP/1.0", "Upgrade: websocket\r\n").2
    );
    assert!(of("HTTP/1.1", "TE: gzip, Trailers\r\n").3 && !of("HTTP/1.1", "TE: gzip\r\n").3);
}

#[test]
fn a_target_longer_than_any_can_be_is_named_as_such() {
    let of = |length| {
        let text = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(length));
        read(text.as_bytes()).unwrap().map(|asked| asked.head.uri.path().len())
    };
    assert_eq!(of(65_533), Ok(65_534));
    assert_eq!(of(65_534), Err(Refusal::TargetTooLong));
}

/// What is written of an answer, by lines; and whether it is the last.
fn written(
    response: Response<impl http_body::Body<Data = Bytes>>,
    manner: Manner,
) -> (Vec<String>, Next, bool) {
    let (head, body) = response.into_parts();
    let next = manner.framing(head.status, &body);
    let mut out = Vec::new();
    let last = reply::write(&mut out, &head, manner, next, b"now");
    let text = String::from_utf8(out).unwrap();
    let lines = text.strip_suffix("\r\n\r\n").expect("an empty line is its end");
    (lines.split("\r\n").map(str::to_owned).collect(), next, last)
}

const MANNER: Manner = Manner { http11: true, head_only: false, last: false };

#[test]
fn the_framing_is_ours_whatever_an_answer_says_of_itself() {
    let answer = || {
        Response::builder()
            .header("content-length", "99")
            .header("transfer-encoding", "gzip")
            .header("connection", "keep-alive")
            .header("trailer", "x-sum")
            .header("date", "then")
    };
    let five = || answer().body(Full::new(Bytes::from_static(b"hello"))).unwrap();
    assert_eq!(
        written(five(), MANNER),
        (
            vec!["HTTP/1.1 200 OK".into(), "date: then".into(), "content-length: 5".into()],
            Next::Length(5),
            false
        )
    );
    let none = answer().body(Empty::new()).unwrap();
    assert!(written(none, MANNER).0.contains(&"content-length: 0".to_owned()));
    let endless = || answer().body(Endless).unwrap();
    let (lines, next, last) = written(endless(), MANNER);
    assert_eq!(lines[1..], ["trailer: x-sum", "date: then", "transfer-encoding: chunked"]);
    assert!(next == Next::Chunks && !last);
    // RFC 9112 section 6.1: HTTP/1.0 knows no chunks.
    let old = Manner { http11: false, last: true, ..MANNER };
    let (lines, next, last) = written(endless(), old);
    assert_eq!(lines, ["HTTP/1.0 200 OK", "date: then", "connection: close"]);
    assert!(next == Next::ToClose && last);
}

#[test]
fn what_has_no_body_by_its_kind_says_at_most_which_it_would_have_had() {
    let of = |status: u16, head_only| {
        let answer = Response::builder().status(status).header("content-length", "5");
        let answer = answer.body(Full::new(Bytes::from_static(b"hello"))).unwrap();
        let (lines, next, _) = written(answer, Manner { head_only, ..MANNER });
        assert_eq!(next, Next::End);
        lines.iter().filter(|line| line.contains("length")).cloned().collect::<Vec<_>>()
    };
    assert_eq!(of(200, true), ["content-length: 5"]);
    assert_eq!(of(304, false), ["content-length: 5"]);
    assert!(of(204, false).is_empty());
}

#[test]
fn the_last_answer_says_that_it_is_the_last() {
    let answer = |fields: &[(&str, &str)]| {
        let mut answer = Response::new(Empty::<Bytes>::new());
        for (name, value) in fields {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            answer.headers_mut().append(name, HeaderValue::from_str(value).unwrap());
        }
        answer
    };
    let connection = |answer, manner| {
        let (lines, _, last) = written(answer, manner);
        let told: Vec<String> =
            lines.into_iter().filter(|line| line.starts_with("connection")).collect();
        (told, last)
    };
    let close = || vec!["connection: close".to_owned()];
    assert_eq!(connection(answer(&[]), MANNER), (vec![], false));
    assert_eq!(connection(answer(&[]), Manner { last: true, ..MANNER }), (close(), true));
    assert_eq!(connection(answer(&[("connection", "x, Close")]), MANNER), (close(), true));
    let old = Manner { http11: false, ..MANNER };
    assert_eq!(connection(answer(&[]), old), (vec!["connection: keep-alive".to_owned()], false));
    let mut switch = answer(&[("connection", "upgrade"), ("upgrade", "websocket")]);
    *switch.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let told = vec!["connection: upgrade".to_owned()];
    assert_eq!(connection(switch, Manner { last: true, ..MANNER }), (told, true));
}

#[test]
fn an_answer_of_ours_is_dated_and_a_status_without_a_name_has_none() {
    let answer = Response::builder().status(299).body(Empty::<Bytes>::new()).unwrap();
    assert_eq!(written(answer, MANNER).0, ["HTTP/1.1 299 ", "content-length: 0", "date: now"]);
    let mut out = Vec::new();
    reply::write_refusal(&mut out, Refusal::TooLarge, b"now");
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\ndate: now\r\n\r\n"
    );
}

/// A body of unknown length.
struct Endless;

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        std::task::Poll::Pending
    }
}

fn part() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "GET /a HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST /b HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
        "POST /c HTTP/1.1\nTransfer-Encoding: chunked\n\n5\r\nhello\r\n1;x=y\r\n!\r\n0\r\nX-Sum: 1\r\n\r\n",
        "POST /d HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nab",
        "POST /e HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nz",
        "GET /f HTTP/1.1\r\nConnection: close\r\n\r\n",
        "POST /g HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n",
        "POST /h HTTP/1.1\r\nContent-Length: 500\r\n\r\nless",
        "\r\n",
        "\n",
        "\r",
        "no request\r\n\r\n",
    ])
}

proptest! {
    #[test]
    fn however_requests_are_cut_the_same_ones_are_read(
        parts in prop::collection::vec(part(), 1..8),
        cuts in prop::collection::vec(1_usize..30, 1..20),
    ) {
        let bytes = parts.concat();
        let whole = read_requests(&[bytes.as_bytes()]);
        let (mut rest, mut pieces) = (bytes.as_bytes(), Vec::new());
        for cut in cuts.iter().cycle() {
            let (piece, behind) = rest.split_at((*cut).min(rest.len()));
            pieces.push(piece);
            rest = behind;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(&read_requests(&pieces), &whole);
        // At least those that stand before something that ends the connection.
        let is_one = |part: &&&str| part.contains(" /");
        let goes_on = |part: &&&str| {
            ["/a", "/b", "/c", "/d", "/e"].iter().any(|path| part.contains(path)) || ["\r\n", "\n"].contains(part)
        };
        let least = parts.iter().take_while(goes_on).filter(is_one).count();
        let most = parts.iter().filter(is_one).count();
        prop_assert!((least..=most).contains(&whole.len()), "{:?}: {:?}", parts, whole);
    }
}

#[test]
fn bodies_are_read_to_their_ends_and_requests_behind_them() {
    let read = read_requests(&[
        b"POST /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n\r\nPOST /b HTTP/1.1\r\n",
        b"Content-Length: 5\r\n\r\nhe",
        b"lloGET /a HTTP/1.1\r\n\r\nPOST /h HTTP/1.1\r\nContent-Length: 9\r\n\r\nless",
    ]);
    let short: Vec<_> =
        read.iter().map(|(said, body, whole)| (&said[..7], &body[..], *whole)).collect();
    let expected: [(&str, &[u8], bool); 4] = [
        ("POST /c", b"hello!", true),
        ("POST /b", b"hello", true),
        ("GET /a ", b"", true),
        ("POST /h", b"less", false),
    ];
    assert_eq!(short, expected);
}

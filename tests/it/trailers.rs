//! Trailers from a client to an application of HTTP/1.1 and back: what comes behind a body goes on, if
//! the head could have said it and it is not for the head alone.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::Frame;

use crate::harness::{Gate, HOST, ORIGIN, Upstream, response};
use crate::http2::Fed;

/// An application that says `ok`, and a gateway that lets everybody in, with these lines for the route.
fn before(upstream: &Upstream, lines: &str) -> Gate {
    Gate::start(&format!(
        "[[upstream]]\nname = \"app\"\nservers = [\"{}\"]\nallowed_names = [\"my_sum\"]\n\
         identity.user = \"Remote-User\"\n\
         [[route]]\npath = \"/**\"\naccess = \"public\"\nbody_bytes = \"1MiB\"\n{lines}\n",
        upstream.url()
    ))
}

fn listening() -> Upstream {
    Upstream::answering(|_| response("200 OK", &[], "ok"))
}

/// What a client may send behind a body and what it may not, and what of it goes on.
const SENT: [&str; 22] = [
    "X-Sum: 42",
    "Remote-User: root",
    "remote_user: root",
    "X-Auth-User: root",
    "X_Auth_Roles: root",
    "X-Forwarded-For: 10.0.0.1",
    "Forwarded: for=10.0.0.1",
    "X-HTTP-Method-Override: DELETE",
    "Transfer-Encoding: chunked",
    "Content-Length: 7",
    "Host: evil.test",
    "Authorization: Basic cm9vdA==",
    "Cookie: a=b",
    "Connection: close",
    "Expect: 100-continue",
    "Trailer: X-Sum",
    "TE: trailers",
    "X-Once: 1",
    "X-Tenant: b",
    "My_Other: 1",
    "my_sum: 43",
    "X-Request-Id: forged",
];
const GOES_ON: &str = "x-sum: 42\r\nmy_sum: 43\r\n\r\n";

#[test]
fn trailers_of_a_chunked_request_go_on_without_what_only_a_head_may_say() {
    let upstream = listening();
    let gate = before(&upstream, "headers.request.set = { X-Tenant = \"a\" }");
    let mut wire = gate.client().wire();
    for announced in ["Trailer: X-Sum, Host, Remote-User, X-Once\r\n", ""] {
        wire.send(format!(
            "POST /a HTTP/1.1\r\nHost: {HOST}\r\nConnection: X-Once\r\n{announced}\
             Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n{}\r\n\r\n",
            SENT.join("\r\n")
        ))
        .unwrap();
        let answer = wire.answer("POST").unwrap().unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
        let received = upstream.requests().pop().unwrap();
        assert_eq!((&received.body[..], received.trailers.as_str()), (&b"abc"[..], GOES_ON));
        assert_eq!(received.field("transfer-encoding"), ["chunked"]);
        assert_eq!(received.field("x-tenant"), ["a"]);
        let told: &[&str] = if announced.is_empty() { &[] } else { &["x-sum"] };
        assert_eq!(received.field("trailer"), told, "ours, with what would go on");
    }
    // And nothing of it has been taken for a request, nor has anything been lost of the next.
    wire.send(format!("GET /b HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).unwrap();
    assert_eq!(wire.answer("GET").unwrap().unwrap().status, 200);
    let lines: Vec<String> = upstream.requests().iter().map(|request| request.line()).collect();
    assert_eq!(lines, ["POST /a HTTP/1.1", "POST /a HTTP/1.1", "GET /b HTTP/1.1"]);
}

#[test]
fn trailers_of_http2_go_on_behind_chunks_and_end_with_a_body_of_known_length() {
    let upstream = listening();
    let gate = before(&upstream, "headers.request.remove = [\"X-Tenant\", \"X-Once\"]");
    for length in [None, Some("4")] {
        let (feed, fed) = tokio::sync::mpsc::channel(8);
        let mut fields = vec![("origin", ORIGIN), ("trailer", "x-sum, cookie")];
        fields.extend(length.map(|length| ("content-length", length)));
        feed.try_send(Frame::data(Bytes::from_static(b"data"))).unwrap();
        let mut trailers = HeaderMap::new();
        // Those of a connection are malformed here (RFC 9113 section 8.2.2).
        let hops = ["Transfer-Encoding", "Connection", "TE"];
        for (name, value) in SENT.iter().filter_map(|field| field.split_once(": ")) {
            if !hops.contains(&name) {
                let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
                trailers.append(name, HeaderValue::from_static(value));
            }
        }
        feed.try_send(Frame::trailers(trailers)).unwrap();
        drop(feed);
        let talk = gate.client().talk("/a", Fed(fed), &fields);
        assert_eq!(talk.data(), b"ok");
        let received = upstream.requests().pop().unwrap();
        assert_eq!(received.body, b"data");
        let chunked = length.is_none();
        assert_eq!(received.trailers, if chunked { GOES_ON } else { "" }, "{length:?}");
        assert_eq!(received.field("content-length"), length.as_slice());
        assert_eq!(received.field("trailer"), if chunked { &["x-sum"][..] } else { &[] });
    }
}

#[test]
fn trailers_that_are_no_fields_or_too_many_end_the_request_and_its_connection() {
    let upstream = listening();
    let gate = before(&upstream, "");
    let many = "X-A: b\r\n".repeat(1000);
    let long = format!("X-A: {}\r\n", "b".repeat(100_000));
    for trailers in ["X-A : b\r\n", "X-A\r\n", " X-A: b\r\n", "X-A: \u{0}\r\n", &many, &long] {
        let mut wire = gate.client().wire();
        // It may be closed before all of this is written.
        drop(wire.send(format!(
            "POST /a HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n\
             3\r\nabc\r\n0\r\n{trailers}\r\nGET /hidden HTTP/1.1\r\nHost: {HOST}\r\n\r\n"
        )));
        let answer = String::from_utf8_lossy(&wire.rest()).into_owned();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert!(!answer.contains(" 200 "), "{answer}");
    }
    assert!(upstream.requests().is_empty(), "no application took it for whole");
}

#[test]
fn trailers_of_an_answer_say_nothing_that_its_route_takes_out_or_that_belonged_to_its_hop() {
    let upstream = Upstream::answering(|_| {
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: X-Hop\r\n\
          Trailer: X-Sum, X-Hop, X-Debug, X-Frame-Options\r\n\r\n\
          3\r\nabc\r\n0\r\nX-Sum: 42\r\nX-Hop: 1\r\nX-Debug: 1\r\nX-Mode: b\r\nX-Sallyport: forged\r\n\
          Set-Cookie: a=b\r\n\r\n"
            .to_vec()
    });
    let lines =
        "headers.response.remove = [\"X-Debug\"]\nheaders.response.set = { X-Mode = \"a\" }";
    let gate = before(&upstream, lines);
    let answer = gate.client().over_h2().get("/a");
    assert_eq!(answer.one("x-mode"), "a");
    assert_eq!(answer.trailers, [("x-sum".to_owned(), "42".to_owned())]);
    let mut wire = gate.client().wire();
    wire.send(format!("GET /a HTTP/1.1\r\nHost: {HOST}\r\nTE: trailers\r\nConnection: TE\r\n\r\n"))
        .unwrap();
    let answer = wire.answer("GET").unwrap().unwrap();
    assert_eq!(answer.trailers, [("x-sum".to_owned(), "42".to_owned())]);
}

#[test]
fn an_application_hears_that_trailers_are_taken_from_who_takes_them() {
    let upstream = listening();
    let gate = before(&upstream, "");
    for (te, told) in [
        ("TE: trailers\r\nConnection: TE\r\n", true),
        ("TE: gzip;q=0.5, Trailers\r\nConnection: TE, X-Other\r\n", true),
        ("TE: gzip\r\nConnection: TE\r\n", false),
        ("Connection: TE\r\n", false),
    ] {
        let mut wire = gate.client().wire();
        wire.send(format!("GET /a HTTP/1.1\r\nHost: {HOST}\r\n{te}\r\n")).unwrap();
        assert_eq!(wire.answer("GET").unwrap().unwrap().status, 200);
        let received = upstream.requests().pop().unwrap();
        let (said, hop): (&[&str], &[&str]) =
            if told { (&["trailers"], &["te"]) } else { (&[], &[]) };
        assert_eq!((received.field("te"), received.field("connection")), (list(said), list(hop)));
    }
    let mut client = gate.client().over_h2();
    assert_eq!(client.ask("GET", "/a").field("TE", "trailers").send().status, 200);
    let received = upstream.requests().pop().unwrap();
    assert_eq!(received.field("connection"), ["te"], "ours, and of this hop");
}

fn list(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

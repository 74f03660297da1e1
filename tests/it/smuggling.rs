//! One request of a client is one request at the application, whatever its framing pretends; and
//! what nobody has read to its end is never taken for the next request.

use std::thread;

use crate::harness::{Client, Gate, HOST, Upstream, response};

/// A word that stands in each request that must never be one.
const SMUGGLED: &str = "smuggled";

fn setting() -> (Upstream, Gate) {
    let upstream = Upstream::answering(|_| response("200 OK", &[], "the application"));
    let gate = Gate::start(&format!(
        "[limits]\nkeep_alive_timeout = \"1s\"\nbody_stall_timeout = \"1s\"\n\
         header_timeout = \"1s\"\nown_body_timeout = \"1s\"\nown_body_bytes = \"1KiB\"\n\
         [[upstream]]\nname = \"app\"\nservers = [\"{}\"]\n\
         [[route]]\npath = \"/**\"\naccess = \"public\"\n\
         [[route]]\npath = \"/closed/**\"\n\
         [[route]]\npath = \"/small/**\"\naccess = \"public\"\nbody_bytes = \"4B\"\n",
        upstream.url()
    ));
    (upstream, gate)
}

/// Sends bytes on a connection of their own, reads whatever comes until the gateway closes, and
/// returns the statuses.
fn statuses(client: &Client, bytes: &[u8]) -> Vec<u16> {
    let mut wire = client.wire();
    drop(wire.send(bytes));
    let mut all = Vec::new();
    while let Ok(Some(answer)) = wire.answer("POST") {
        all.push(answer.status);
        assert!(all.len() < 5, "no end of answers: {all:?}");
    }
    all
}

/// The same for many at once, since each waits for the gateway to close.
fn all_statuses<'a>(client: &Client, bytes: &[(&'a str, String)]) -> Vec<(&'a str, Vec<u16>)> {
    thread::scope(|scope| {
        let asked: Vec<_> = bytes
            .iter()
            .map(|(what, bytes)| {
                let client = client.twin();
                (*what, scope.spawn(move || statuses(&client, bytes.as_bytes())))
            })
            .collect();
        asked.into_iter().map(|(what, all)| (what, all.join().unwrap())).collect()
    })
}

fn nothing_hidden(upstream: &Upstream) {
    let seen = upstream.requests();
    assert!(!seen.iter().any(|request| request.line().contains(SMUGGLED)), "{seen:#?}");
}

/// The head of a POST with these further lines, and a request hidden behind it.
fn hiding(lines: &str, body: &str) -> String {
    format!(
        "POST /a HTTP/1.1\r\nHost: {HOST}\r\n{lines}\r\n{body}\
         GET /{SMUGGLED} HTTP/1.1\r\nHost: {HOST}\r\n\r\n"
    )
}

#[test]
fn framing_that_two_readers_could_read_in_two_ways_never_yields_a_second_request() {
    let (upstream, gate) = setting();
    let client = gate.client();
    let chunks = "0\r\n\r\n";
    let mut bytes = Vec::new();
    for lines in [
        // RFC 9112 section 6.3: both, in either order.
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 6\r\n",
        "Content-Length: 5\r\ncontent-length: 50\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5.\r\n",
        "Content-Length: \r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length: 99999999999999999999999\r\n",
        "Content-Length: 18446744073709551616\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: chunked, gzip\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunkedx\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding: chunked;q=1\r\n",
        "Transfer-Encoding:\x0bchunked\r\n",
        "Transfer-Encoding: \x00chunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Content-Length : 5\r\n",
        " Transfer-Encoding: chunked\r\n",
        "X-A: b\r\n Transfer-Encoding: chunked\r\n",
        "X-A: b\r\n\tContent-Length: 5\r\n",
        "X-A: b\rTransfer-Encoding: chunked\r\n",
        "X-A: b\r\n: c\r\n",
        "X-A\r\n",
        "X A: b\r\n",
        "X-A: b\x00\r\n",
    ] {
        bytes.push((lines, hiding(lines, chunks)));
    }
    for (lines, statuses) in all_statuses(&client, &bytes) {
        // Refused, or taken in one way and closed behind it.
        assert!(statuses.len() <= 1, "{lines:?}: {statuses:?}");
    }
    nothing_hidden(&upstream);
}

#[test]
fn a_request_with_both_a_length_and_a_coding_is_refused_and_the_last_one() {
    let (upstream, gate) = setting();
    for lines in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
    ] {
        let mut wire = gate.client().wire();
        wire.send(hiding(lines, "0\r\n\r\n")).unwrap();
        let answer = wire.answer("POST").unwrap().unwrap();
        assert_eq!((answer.status, answer.one("connection")), (400, "close"), "{lines:?}");
        assert_eq!(answer.one("x-sallyport"), "bad_request", "{lines:?}");
        wire.must_close();
    }
    assert!(upstream.requests().is_empty());
}

#[test]
fn broken_chunks_end_the_connection_and_nothing_behind_them_is_a_request() {
    let (upstream, gate) = setting();
    let client = gate.client();
    let mut bytes = Vec::new();
    for chunks in [
        "5\r\nhello",
        "5\r\nhelloX\r\n0\r\n\r\n",
        "5\rhello\r\n0\r\n\r\n",
        "5 \x00\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "g\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\nX-A : b\r\n\r\n",
        "5\r\nhello\r\n0\r\nbroken trailer\r\n\r\n",
        "5\r\nhello\r\n0\r\nX-A: b\n\n",
        "5\r\nhello\r\n0\r\nX-A: b\r\n\n",
        "5\r\nhello\r\n0\r\n\n",
        "5\x0c\r\nhello\r\n0\r\n\r\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
    ] {
        bytes.push((chunks, hiding("Transfer-Encoding: chunked\r\n", chunks)));
    }
    for (chunks, statuses) in all_statuses(&client, &bytes) {
        assert!(statuses.len() <= 1, "{chunks:?}: {statuses:?}");
    }
    nothing_hidden(&upstream);
}

#[test]
fn chunk_extensions_without_end_are_refused() {
    let (upstream, gate) = setting();
    let body = format!("5;{}\r\nhello\r\n0\r\n\r\n", "a".repeat(100_000));
    let statuses =
        statuses(&gate.client(), hiding("Transfer-Encoding: chunked\r\n", &body).as_bytes());
    assert!(statuses.iter().all(|status| *status == 400), "{statuses:?}");
    assert!(upstream.requests().is_empty());
}

#[test]
fn http_1_0_has_no_chunks_and_no_second_request() {
    let (upstream, gate) = setting();
    let client = gate.client();
    for request in [
        format!(
            "POST /a HTTP/1.0\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n\
             GET /{SMUGGLED} HTTP/1.0\r\nHost: {HOST}\r\n\r\n"
        ),
        format!(
            "POST /a HTTP/1.0\r\nHost: {HOST}\r\n\r\nGET /{SMUGGLED} HTTP/1.0\r\nHost: {HOST}\r\n\r\n"
        ),
    ] {
        let statuses = statuses(&client, request.as_bytes());
        assert!(statuses.len() <= 1, "{statuses:?}");
    }
    nothing_hidden(&upstream);
}

#[test]
fn odd_request_lines_are_refused() {
    let (upstream, gate) = setting();
    let client = gate.client();
    let mut bytes = Vec::new();
    for line in [
        "GET /a",
        "GET  /a HTTP/1.1",
        "GET /a  HTTP/1.1",
        "GET\t/a\tHTTP/1.1",
        " GET /a HTTP/1.1",
        "GET /a b HTTP/1.1",
        "GET /a HTTP/1.2",
        "GET /a HTTP/2.0",
        "GET /a HTTP/9.9",
        "GET /a http/1.1",
        "GET /a HTTP/1.1 ",
        "G\x00T /a HTTP/1.1",
        "GET: /a HTTP/1.1",
        "GET /a\x0b HTTP/1.1",
        "GET /a\rX: y HTTP/1.1",
    ] {
        bytes.push((line, format!("{line}\r\nHost: {HOST}\r\n\r\n")));
    }
    for (line, statuses) in all_statuses(&client, &bytes) {
        let refused = statuses.iter().all(|status| matches!(status, 400 | 505));
        assert!(refused, "{line:?}: {statuses:?} {:#?}", upstream.requests());
    }
    assert!(upstream.requests().is_empty(), "{:#?}", upstream.requests());
}

#[test]
fn a_head_that_is_too_large_or_too_slow_is_refused() {
    let (upstream, gate) = setting();
    let client = gate.client();
    for lines in [
        format!("X-Long: {}\r\n", "x".repeat(80_000)),
        "X: y\r\n".repeat(101),
        format!("Cookie: {}\r\n", "a=b; ".repeat(20_000)),
    ] {
        let request = format!("GET /a HTTP/1.1\r\nHost: {HOST}\r\n{lines}\r\n");
        let statuses = statuses(&client, request.as_bytes());
        assert!(statuses == [431] || statuses == [400] || statuses.is_empty(), "{statuses:?}");
    }
    let mut slow = client.wire();
    slow.send(format!("GET /a HTTP/1.1\r\nHost: {HOST}\r\n")).unwrap();
    slow.must_close();
    client.wire().must_close();
    assert!(upstream.requests().is_empty());
}

#[test]
fn what_is_no_request_is_refused_with_an_empty_answer_and_counted() {
    let (upstream, gate) = setting();
    for (number, (sent, status)) in [
        ("no request at all\r\n\r\n".to_owned(), 400),
        (format!("GET /a HTTP/1.1\r\nHost: {HOST}\r\na b: c\r\n\r\n"), 400),
        (format!("GET /a HTTP/1.1\r\nHost: {HOST}\r\n{}\r\n", "X: y\r\n".repeat(101)), 431),
    ]
    .into_iter()
    .enumerate()
    {
        let mut wire = gate.client().wire();
        wire.send(sent).unwrap();
        let answer = wire.answer("GET").unwrap().unwrap();
        assert_eq!((answer.status, answer.one("connection")), (status, "close"));
        assert!(answer.body.is_empty() && answer.field("x-sallyport").is_empty(), "{answer:#?}");
        wire.must_close();
        let count = format!("sallyport_rejections_total{{reason=\"unreadable\"}} {}", number + 1);
        let shown = gate.admin("/metrics").text();
        assert!(shown.lines().any(|line| line == count), "{shown}");
    }
    assert!(upstream.requests().is_empty());
}

#[test]
fn a_body_that_nobody_read_closes_the_connection_behind_the_refusal() {
    let (upstream, gate) = setting();
    let client = gate.client();
    let hidden = format!("GET /{SMUGGLED} HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    for (line, fields, status) in [
        ("POST /closed/a", "", 401),
        ("POST /auth/nothing", "", 404),
        ("POST /auth/me", "", 405),
        ("POST /auth/login", "Content-Type: text/plain\r\n", 415),
        ("POST /auth/login", "Origin: https://evil.test\r\n", 403),
        ("POST /small/a", "", 413),
        ("POST /../a", "", 400),
    ] {
        let request = format!(
            "{line} HTTP/1.1\r\nHost: {HOST}\r\n{fields}Content-Length: {}\r\n\r\n{hidden}",
            hidden.len()
        );
        let mut wire = client.wire();
        wire.send(&request).unwrap();
        let answer = wire.answer("POST").unwrap().unwrap();
        assert_eq!((answer.status, answer.field("connection")), (status, vec!["close"]), "{line}");
        wire.must_close();
        // The same without the body, which may never come.
        let mut wire = client.wire();
        let head = request.strip_suffix(hidden.as_str()).unwrap();
        wire.send(head).unwrap();
        if status != 415 && status != 413 {
            let answer = wire.answer("POST").unwrap().unwrap();
            assert_eq!(answer.status, status, "{line}");
            wire.must_close();
        }
    }
    nothing_hidden(&upstream);
}

#[test]
fn a_client_that_goes_on_sending_can_still_read_why_it_was_refused() {
    let (upstream, gate) = setting();
    let body = "x".repeat(512 * 1024);
    for (path, status) in
        [("/closed/a", 401), ("/auth/nothing", 404), ("/auth/login", 413), ("/small/a", 413)]
    {
        let mut client = gate.client();
        let answer = client.ask("POST", path).body("application/json", &body).send();
        assert_eq!((answer.status, answer.one("connection")), (status, "close"), "{path}");
    }
    // A head of that size, and one that is none.
    let much = "x".repeat(512 * 1024);
    for (head, status) in [
        (format!("GET /{much} HTTP/1.1\r\nHost: {HOST}\r\n\r\n"), 431),
        (format!("GET /a HTTP/1.1\r\nHost: {HOST}\r\nX: {much}\r\n\r\n"), 431),
        (format!("no head at all\r\n{much}"), 400),
    ] {
        assert_eq!(statuses(&gate.client(), head.as_bytes()), [status]);
    }
    let seen = upstream.requests();
    assert!(seen.is_empty(), "{seen:#?}");
}

#[test]
fn the_answers_body_is_not_needed_to_know_that_a_request_was_refused() {
    let (_upstream, gate) = setting();
    // A client that waits for the answer before it sends its body.
    let mut wire = gate.client().wire();
    wire.send(format!(
        "POST /closed/a HTTP/1.1\r\nHost: {HOST}\r\nExpect: 100-continue\r\n\
         Content-Length: 1000000\r\n\r\n"
    ))
    .unwrap();
    let answer = wire.head().unwrap().unwrap();
    assert_eq!(answer.status, 401, "no 100 for a body that nobody wants");
}

#[test]
fn a_body_that_stops_coming_is_cut_off() {
    let (upstream, gate) = setting();
    for path in ["/a", "/auth/login"] {
        let mut wire = gate.client().wire();
        wire.send(format!(
            "POST {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\n\
             Content-Length: 100\r\n\r\n{{"
        ))
        .unwrap();
        let answer = wire.answer("POST").unwrap().unwrap();
        assert_eq!(answer.verdict(), (408, "request_timeout".to_owned()), "{path}");
        wire.must_close();
    }
    assert!(upstream.requests().is_empty(), "a part is no whole");
}

#[test]
fn pipelined_requests_are_answered_in_order_and_each_judged_by_itself() {
    let (upstream, gate) = setting();
    let one = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    let bytes = [one("/a"), one("/closed/b"), one("/c")].concat();
    assert_eq!(statuses(&gate.client(), bytes.as_bytes()), [200, 401, 200]);
    let lines: Vec<_> = upstream.requests().iter().map(|request| request.line()).collect();
    assert_eq!(lines, ["GET /a HTTP/1.1", "GET /c HTTP/1.1"]);
}

#[test]
fn a_body_that_an_early_answer_left_unread_does_not_reach_the_next_request() {
    // Answers before it has read the body, and keeps the connection.
    let upstream = Upstream::play(|connection| {
        while connection.head()?.is_some() {
            connection.send(&response("200 OK", &[], "early"))?;
        }
        Ok(())
    });
    let gate = Gate::start(&format!(
        "[[upstream]]\nname = \"app\"\nservers = [\"{}\"]\nidle_timeout = \"1s\"\n\
         [[route]]\npath = \"/**\"\naccess = \"public\"\n",
        upstream.url()
    ));
    let hidden = format!("GET /{SMUGGLED} HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    let mut wire = gate.client().wire();
    wire.send(format!(
        "POST /a HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {}\r\n\r\n",
        hidden.len()
    ))
    .unwrap();
    assert_eq!(wire.answer("POST").unwrap().unwrap().text(), "early");
    drop(wire.send(&hidden));
    let mut next = gate.client();
    for _ in 0..3 {
        assert_eq!(next.get("/b").text(), "early", "an answer of its own");
    }
}

#[test]
fn a_host_or_a_coding_that_two_readers_could_read_in_two_ways_closes_its_connection() {
    let (upstream, gate) = setting();
    let behind = format!("GET /{SMUGGLED} HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    let mut requests: Vec<String> = [
        String::new(),
        format!("Host: {HOST}\r\nHost: {HOST}\r\n"),
        format!("Host: {HOST}, evil.test\r\n"),
        "Host: evil.test/\r\n".to_owned(),
        "Host: root@evil.test\r\n".to_owned(),
        "Host: evil.test..\r\n".to_owned(),
    ]
    .map(|host| format!("GET /a HTTP/1.1\r\n{host}\r\n"))
    .to_vec();
    requests.push(format!("GET https://evil.test/ HTTP/1.1\r\nHost: {HOST}\r\n\r\n"));
    for coding in ["gzip, chunked", "chunked, chunked", "gzip\r\nTransfer-Encoding: chunked"] {
        requests.push(format!(
            "POST /a HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: {coding}\r\n\r\n\
             3\r\nabc\r\n0\r\n\r\n"
        ));
    }
    for request in requests {
        let statuses = statuses(&gate.client(), format!("{request}{behind}").as_bytes());
        assert_eq!(statuses, [400], "{request:?}");
    }
    assert!(upstream.requests().is_empty());
}

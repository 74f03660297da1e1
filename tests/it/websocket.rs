//! Streams that outlive a request: the switch to WebSocket and events, guarded like any request, and
//! over when their session is.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sallyport::clock::Stopwatch;

use crate::harness::{
    ACCESS, ACCESS_TTL, Answer, Client, Connection, Gate, HOST, ORIGIN, PATIENCE, REFRESH,
    Upstream, Wire, response,
};

/// Agrees to WebSocket and sends back, in capitals, what comes.
fn shouting(connection: &mut Connection) -> io::Result<()> {
    while let Some(request) = connection.request()? {
        if request.field("upgrade") != ["websocket"] {
            connection.send(&response("200 OK", &[], "no switch"))?;
            continue;
        }
        connection.send(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
              Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
        )?;
        loop {
            let piece = connection.bytes(5)?;
            connection.send(&piece.to_ascii_uppercase())?;
        }
    }
    Ok(())
}

fn handshake(client: &Client, fields: &str) -> (Wire, Option<Answer>) {
    let cookie = client.jar.get(ACCESS).map(|token| format!("Cookie: {ACCESS}={token}\r\n"));
    let cookie = cookie.unwrap_or_default();
    let mut wire = client.wire();
    wire.send(format!(
        "GET /socket HTTP/1.1\r\nHost: {HOST}\r\nConnection: keep-alive, Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{cookie}{fields}\r\n"
    ))
    .unwrap();
    let answer = wire.answer("GET").unwrap();
    (wire, answer)
}

/// Sends one event, and no more until the connection ends.
pub(crate) fn telling(connection: &mut Connection) -> io::Result<()> {
    while let Some(_request) = connection.request()? {
        connection.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n\
              Transfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n",
        )?;
        connection.rest()?;
    }
    Ok(())
}

#[test]
fn a_stream_of_events_comes_at_once_and_ends_with_its_session() {
    let upstream = Upstream::play(telling);
    let gate = Gate::before(&upstream);
    gate.add_user("ada", &[], &[]);
    let client = gate.signed_in("ada");
    let cookie = client.jar.get(ACCESS).unwrap();
    let mut wire = client.wire();
    wire.send(format!("GET /events HTTP/1.1\r\nHost: {HOST}\r\nCookie: {ACCESS}={cookie}\r\n\r\n"))
        .unwrap();
    let head = wire.head().unwrap().unwrap();
    assert_eq!(head.status, 200);
    // The event is here though the upstream has not ended its answer.
    assert_eq!(wire.bytes(14).unwrap(), b"9\r\ndata: 1\n\n\r\n");
    let shown = |line: &str| gate.admin("/metrics").text().lines().any(|one| one == line);
    assert!(shown("sallyport_streams_open 1"));
    assert_eq!(client.twin().post("/auth/logout").status, 200);
    // A proper end: the page reconnects, and is then told to log in.
    assert_eq!(wire.bytes(5).unwrap(), b"0\r\n\r\n");
    assert!(shown("sallyport_streams_ended_total{reason=\"session\"} 1"));
}

#[test]
fn a_preflight_is_never_asked_for_a_credential() {
    let upstream = Upstream::answering(|_| response("200 OK", &[], "the application"));
    let gate = Gate::before(&upstream);
    let mut client = gate.client();
    let answer = client
        .ask("OPTIONS", "/a")
        .field("origin", "https://elsewhere.test")
        .field("access-control-request-method", "PUT")
        .send();
    assert_eq!(answer.status, 204);
    let allowed = answer.field("access-control-allow-origin");
    assert!(allowed.is_empty(), "nothing is allowed: {allowed:?}");
    assert!(upstream.requests().is_empty());
    // Without its marks it is a request like any other.
    assert_eq!(client.ask("OPTIONS", "/a").send().status, 401);
}

#[test]
fn a_websocket_is_a_tunnel_until_its_session_ends() {
    let upstream = Upstream::play(shouting);
    let gate = Gate::before(&upstream);
    gate.add_user("ada", &[], &[]);
    let client = gate.signed_in("ada");
    let (mut wire, answer) = handshake(&client, &format!("Origin: {ORIGIN}\r\n"));
    let answer = answer.unwrap();
    assert_eq!((answer.status, answer.one("upgrade")), (101, "websocket"));
    assert_eq!(answer.one("sec-websocket-accept"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    let received = upstream.requests().pop().unwrap();
    assert_eq!(received.field("x-auth-user"), ["ada"]);
    assert_eq!(received.field("sec-websocket-key"), ["dGhlIHNhbXBsZSBub25jZQ=="]);
    assert_eq!(received.field("cookie"), Vec::<String>::new());
    for word in ["hello", "there"] {
        wire.send(word).unwrap();
        assert_eq!(wire.bytes(5).unwrap(), word.to_uppercase().into_bytes());
    }
    let waited = Stopwatch::start();
    assert_eq!(client.twin().post("/auth/logout").status, 200);
    wire.must_close();
    assert!(waited.elapsed() < PATIENCE, "an ended session is an ended stream");
}

#[test]
fn a_websocket_is_idle_only_when_neither_side_says_anything() {
    let (silence, silent) = std::sync::mpsc::channel::<()>();
    let silent = Mutex::new(silent);
    let upstream = Upstream::play(move |connection| {
        connection.request()?;
        connection.send(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
              Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
        )?;
        // For three times as long as a silence may last, only this side speaks.
        for _ in 0..10 {
            connection.send(b"tick!")?;
            let _beat = silent.lock().unwrap().recv_timeout(Duration::from_millis(300));
        }
        connection.rest().map(drop)
    });
    let gate = open_gate_with(&upstream, "idle_timeout = \"1s\"");
    let (mut wire, answer) = handshake(&gate.client(), "");
    assert_eq!(answer.unwrap().status, 101);
    for _ in 0..10 {
        assert_eq!(wire.bytes(5).unwrap(), b"tick!");
    }
    // And then nobody does.
    wire.must_close();
    drop(silence);
}

#[test]
fn a_websocket_handshake_refreshes_in_passing_and_the_cookies_ride_on_the_101() {
    let upstream = Upstream::play(shouting);
    let gate = Gate::before(&upstream);
    gate.add_user("ada", &[], &[]);
    let mut client = gate.signed_in("ada");
    gate.pass(ACCESS_TTL);
    let refresh = client.jar.get(REFRESH).unwrap().to_owned();
    client.jar.remove(ACCESS);
    let fields = format!("Origin: {ORIGIN}\r\nCookie: {}={refresh}\r\n", REFRESH);
    let (mut wire, answer) = handshake(&client, &fields);
    let answer = answer.unwrap();
    assert_eq!((answer.status, answer.field("set-cookie").len()), (101, 2));
    wire.send("hello").unwrap();
    assert_eq!(wire.bytes(5).unwrap(), b"HELLO");
}

/// Agrees to WebSocket as a proper server does, greets with a frame, and sends back what comes.
pub(crate) fn greeting(connection: &mut Connection) -> io::Result<()> {
    let Some(request) = connection.request()? else { return Ok(()) };
    let key = request.field("sec-websocket-key").pop().unwrap_or_default();
    let guid = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    let hash = aws_lc_rs::digest::digest(
        &aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY,
        &[key.as_bytes(), guid].concat(),
    );
    let accept = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, hash);
    connection.send(
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
        )
        .as_bytes(),
    )?;
    connection.send(b"\x81\x05hello")?;
    loop {
        let piece = connection.bytes(4)?;
        connection.send(&piece)?;
    }
}

#[test]
fn a_websocket_over_http2_is_a_switch_to_the_application() {
    let upstream = Upstream::play(greeting);
    let gate = Gate::before(&upstream);
    gate.add_user("ada", &[], &[]);
    let client = gate.signed_in("ada");
    let own = [("origin", ORIGIN), ("sec-websocket-protocol", "chat")];
    let (headers, mut stream) = client.stream("/socket", "websocket", &own).unwrap();
    assert_eq!(headers.get("sec-websocket-protocol").unwrap(), "chat");
    for name in ["sec-websocket-accept", "upgrade", "connection"] {
        assert!(headers.get(name).is_none(), "{name}");
    }
    let received = upstream.requests().pop().unwrap();
    assert_eq!(received.line(), "GET /socket HTTP/1.1");
    assert_eq!(received.field("upgrade"), ["websocket"]);
    assert_eq!(received.field("sec-websocket-version"), ["13"]);
    assert_eq!(received.field("x-auth-user"), ["ada"]);
    assert_eq!(stream.bytes(7), b"\x81\x05hello");
    stream.send(b"\x82\x02hi");
    assert_eq!(stream.bytes(4), b"\x82\x02hi");
    // The word of farewell of an ended session: 1008.
    assert_eq!(client.twin().post("/auth/logout").status, 200);
    assert_eq!(stream.bytes(4), [0x88, 2, 0x03, 0xf0]);
}

#[test]
fn a_websocket_over_http2_is_refused_like_any_other() {
    let upstream = Upstream::play(greeting);
    let gate = Gate::before(&upstream);
    gate.add_user("ada", &[], &[]);
    let (own, foreign) = ([("origin", ORIGIN)], [("origin", "https://evil.test")]);
    let status = |client: &Client, path: &str, protocol: &'static str, fields: &[(&str, &str)]| {
        client.stream(path, protocol, fields).map(drop).unwrap_err()
    };
    assert_eq!(status(&gate.client(), "/socket", "websocket", &own), 401);
    let client = gate.signed_in("ada");
    assert_eq!(status(&client, "/socket", "websocket", &foreign), 403);
    assert_eq!(status(&client, "/admin/socket", "websocket", &own), 403);
    assert_eq!(status(&client, "/auth/login", "websocket", &own), 404, "no page is a stream");
    assert_eq!(status(&client, "/socket", "connect-udp", &own), 405);
    assert!(upstream.requests().is_empty());
    // One that does not switch, and one that answers another handshake.
    let upstream = Upstream::answering(|_| response("200 OK", &[], "a page"));
    let gate = Gate::before(&upstream);
    assert_eq!(status(&gate.client(), "/public/socket", "websocket", &own), 502);
    let upstream = Upstream::play(shouting);
    let gate = Gate::before(&upstream);
    assert_eq!(status(&gate.client(), "/public/socket", "websocket", &own), 502);
}

#[test]
fn a_stream_ends_when_its_session_has_expired_and_not_while_that_is_refreshed() {
    const DAY: Duration = Duration::from_hours(24);
    let upstream = Upstream::play(greeting);
    let gate = Gate::with(&upstream, "[session]\njitter = 0\nidle_ttl = \"14d\"\n");
    gate.add_user("ada", &[], &[]);
    let (left, mut used) = (gate.signed_in("ada"), gate.signed_in("ada"));
    let own = format!("Origin: {ORIGIN}\r\n");
    let (mut of_left, mut of_used) = (handshake(&left, &own).0, handshake(&used, &own).0);
    for wire in [&mut of_left, &mut of_used] {
        assert_eq!(wire.bytes(7).unwrap(), b"\x81\x05hello");
    }
    gate.pass(DAY * 13);
    // By itself a socket refreshes nothing.
    assert_eq!(used.post("/auth/refresh").status, 200);
    gate.pass(DAY + Duration::from_secs(1));
    // 1008, without anybody's doing.
    assert_eq!(of_left.bytes(4).unwrap(), [0x88, 2, 0x03, 0xf0]);
    of_left.must_close();
    of_used.send(b"\x82\x02hi").unwrap();
    assert_eq!(of_used.bytes(4).unwrap(), b"\x82\x02hi");
    gate.pass(DAY * 14);
    assert_eq!(of_used.bytes(4).unwrap(), [0x88, 2, 0x03, 0xf0]);
}

#[test]
fn a_stream_can_be_given_an_age() {
    let upstream = Upstream::play(greeting);
    let gate = open_gate_with(&upstream, "max_stream_age = \"1s\"");
    let (mut wire, answer) = handshake(&gate.client(), "");
    assert_eq!(answer.unwrap().status, 101);
    assert_eq!(wire.bytes(7).unwrap(), b"\x81\x05hello");
    // 1001: going away.
    assert_eq!(wire.bytes(4).unwrap(), [0x88, 2, 0x03, 0xe9]);
    wire.must_close();
}

#[test]
fn a_websocket_handshake_of_a_stranger_or_from_a_foreign_page_is_refused() {
    let upstream = Upstream::play(shouting);
    let gate = Gate::before(&upstream);
    gate.add_user("ada", &[], &[]);
    let nobody = gate.client();
    let (_, answer) = handshake(&nobody, &format!("Origin: {ORIGIN}\r\nAccept: text/html\r\n"));
    assert_eq!(answer.unwrap().verdict(), (401, "missing_token".to_owned()));
    let client = gate.signed_in("ada");
    for fields in ["Origin: https://evil.test\r\n", "Origin: null\r\n", ""] {
        let (_, answer) = handshake(&client, fields);
        assert_eq!(answer.unwrap().verdict(), (403, "csrf_guard".to_owned()), "{fields:?}");
    }
    assert!(upstream.requests().is_empty());
}

#[test]
fn bytes_sent_before_a_switch_was_agreed_to_are_never_a_request_of_their_own() {
    // An application that refuses to switch.
    let upstream = Upstream::answering(|_| response("426 Upgrade Required", &[], "no"));
    let gate = open_gate(&upstream);
    let mut wire = gate.client().wire();
    wire.send(format!(
        "GET /socket HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 777\r\nSec-WebSocket-Key: x\r\n\r\n\
         GET /smuggled HTTP/1.1\r\nHost: {HOST}\r\nX-Auth-User: root\r\n\r\n"
    ))
    .unwrap();
    let answer = wire.answer("GET").unwrap().unwrap();
    assert_eq!(answer.status, 426);
    // To us it was the next request of a pipeline, and was judged like any other.
    drop(wire.answer("GET"));
    for request in upstream.requests() {
        assert_eq!(request.field("x-auth-user"), Vec::<String>::new(), "{request:?}");
    }
}

#[test]
fn a_handshake_with_a_body_without_one_key_or_that_its_connection_does_not_name_is_no_switch() {
    let upstream = Upstream::play(shouting);
    let gate = open_gate(&upstream);
    for fields in [
        "Connection: Upgrade\r\nContent-Length: 5\r\n\r\nhello",
        "Connection: Upgrade\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "Connection: keep-alive\r\n\r\n",
        "\r\n",
        "Connection: Upgrade\r\nSec-WebSocket-Key: eA==\r\n\r\n",
    ] {
        let answer = gate.client().raw(format!(
            "GET /socket HTTP/1.1\r\nHost: {HOST}\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{fields}"
        ));
        assert_eq!(answer.unwrap().text(), "no switch", "{fields:?}");
    }
    // One without a key can be answered by nobody.
    let answer = gate.client().raw(format!(
        "GET /socket HTTP/1.1\r\nHost: {HOST}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
    ));
    assert_eq!(answer.unwrap().text(), "no switch");
}

#[test]
fn a_101_that_nobody_asked_for_or_that_answers_something_else_is_a_502_and_nothing_is_tunnelled() {
    const ACCEPT: &str = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
    let asked = Arc::new(Mutex::new(String::new()));
    let upstream = Upstream::play({
        let asked = Arc::clone(&asked);
        move |connection| {
            connection.request()?;
            let fields = asked.lock().unwrap().clone();
            let head = format!("HTTP/1.1 101 Switching Protocols\r\n{fields}\r\nbehind it");
            connection.send(head.as_bytes())?;
            connection.rest().map(|rest| assert_eq!(rest, b"", "something was tunnelled"))
        }
    });
    let gate = open_gate(&upstream);
    let wrong = (502, "upstream_invalid".to_owned());
    let with = |fields: String| *asked.lock().unwrap() = fields;
    for fields in [
        "Connection: Upgrade\r\nUpgrade: h2c\r\n".to_owned(),
        // Nobody asked for this, either.
        format!("Connection: Upgrade\r\nUpgrade: websocket\r\n{ACCEPT}"),
    ] {
        with(fields);
        assert_eq!(gate.client().get("/a").verdict(), wrong);
    }
    for fields in [
        String::new(),
        ACCEPT.to_owned(),
        format!("Connection: Upgrade\r\n{ACCEPT}"),
        format!("Upgrade: websocket\r\n{ACCEPT}"),
        format!("Connection: Upgrade\r\nUpgrade: h2c\r\n{ACCEPT}"),
        format!("Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n{ACCEPT}"),
        format!("Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n{ACCEPT}"),
        // Another handshake's answer, none, and two.
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: eA==\r\n".to_owned(),
        "Connection: Upgrade\r\nUpgrade: websocket\r\n".to_owned(),
        format!("Connection: Upgrade\r\nUpgrade: websocket\r\n{ACCEPT}{ACCEPT}"),
    ] {
        with(fields.clone());
        let (mut wire, answer) = handshake(&gate.client(), "");
        assert_eq!(answer.unwrap().verdict(), wrong, "{fields:?}");
        // It may be closed already.
        drop(wire.send("hello"));
        let own = [("origin", ORIGIN)];
        let refused = gate.client().stream("/socket", "websocket", &own).map(drop);
        assert_eq!(refused.unwrap_err(), 502, "{fields:?}");
    }
    // The rest of it was right.
    with(format!("Connection: Upgrade\r\nUpgrade: websocket\r\n{ACCEPT}"));
    let (_wire, answer) = handshake(&gate.client(), "");
    assert_eq!(answer.unwrap().status, 101);
}

/// A gateway before `upstream` that lets everybody in.
fn open_gate(upstream: &Upstream) -> Gate {
    open_gate_with(upstream, "")
}

/// The same with further lines in the upstream's section.
fn open_gate_with(upstream: &Upstream, lines: &str) -> Gate {
    Gate::start(&format!(
        "[[upstream]]\nname = \"app\"\nservers = [\"{}\"]\n{lines}\n\
         [[route]]\npath = \"/**\"\naccess = \"public\"\n",
        upstream.url()
    ))
}

//! What a client of HTTP/2 that heeds GOAWAY sees of a gateway that stops, and what becomes of streams.

use std::path::Path;
use std::sync::{Mutex, mpsc};
use std::thread;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};

use crate::harness::frames::{
    DATA, GOAWAY, HEADERS, PING, PREFACE, SETTINGS, ask_until_told, frame, literals, read,
};
use crate::harness::{
    Client, Gate, HOST, ORIGIN, Process, ROUTES, Upstream, Upstream2, Wire, response,
};
use crate::websocket::{greeting, telling};

fn start(folder: &Path, server: &str, listen: &str) -> Process {
    let text = format!(
        "[listen]\nhttps = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\ncores = 2\n\
         public_url = \"{ORIGIN}\"\n{listen}\n\
         [[upstream]]\nname = \"app\"\n{server}\n{ROUTES}"
    );
    Process::configure(folder, &text);
    Process::start(folder)
}

fn before(folder: &Path, upstream: &Upstream, listen: &str) -> Process {
    start(folder, &format!("servers = [\"{}\"]", upstream.url()), listen)
}

#[test]
fn under_load_over_http2_no_request_is_lost_when_the_gateway_stops() {
    let upstream = Upstream::answering(|_| response("200 OK", &[], "the application"));
    let folder = tempfile::tempdir().unwrap();
    let mut process = before(folder.path(), &upstream, "drain_delay = \"500ms\"\n");
    // Opens a connection for what was not read, and for more, until nobody takes one any more.
    let ask_on = |client: Client| {
        let (mut answered, mut connections) = (0, 0);
        while let Ok(mut wire) = client.try_h2_wire() {
            let served = ask_until_told(&mut wire, "/public/a", b"the application");
            assert_eq!(served.unread, 0, "who has been told late need not ask twice");
            answered += served.answered;
            connections += 1;
        }
        (answered, connections)
    };
    thread::scope(|scope| {
        let clients: Vec<_> = (0..6)
            .map(|_| {
                let client = process.client();
                scope.spawn(move || ask_on(client))
            })
            .collect();
        upstream.wait_for(200);
        process.terminate();
        for client in clients {
            let (answered, connections) = client.join().unwrap();
            assert!(answered > 10 && connections > 0, "{answered}, {connections}");
        }
    });
    assert_eq!(process.wait().code(), Some(0), "{}", process.err.text());
}

#[test]
fn a_connection_has_so_many_requests_and_who_heeds_goaway_loses_none() {
    let upstream = Upstream::answering(|_| response("200 OK", &[], "the application"));
    let gate = Gate::with(&upstream, "[limits]\nrequests_per_connection = 25\n");
    for _ in 0..5 {
        let mut wire = gate.client().h2_wire();
        let served = ask_until_told(&mut wire, "/public/a", b"the application");
        assert!(served.answered >= 25, "{served:?}");
    }
}

#[test]
fn who_goes_on_after_goaway_is_cut_off() {
    let upstream = Upstream::answering(|_| response("200 OK", &[], "the application"));
    let limits = "[limits]\nrequests_per_connection = 5\nh2_streams = 4\n";
    let gate = Gate::with(&upstream, limits);
    let mut wire = gate.client().h2_wire();
    wire.send([PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).unwrap();
    let path = "/public/a";
    let fields = [(":method", "GET"), (":scheme", "https"), (":authority", HOST), (":path", path)];
    let mut answered = 0;
    // Neither GOAWAY nor the PING that comes with it is heeded.
    'asking: for number in 0..100 {
        let asked = 2 * number + 1;
        if wire.send(frame(HEADERS, 0x5, asked, &literals(&fields))).is_err() {
            break;
        }
        loop {
            match read(&mut wire) {
                Ok((_, flags, stream, _)) if stream == asked && flags & 0x1 != 0 => break,
                Ok(_) => {}
                Err(_) => break 'asking,
            }
        }
        answered += 1;
    }
    // Those that may have been on their way when it was told are answered.
    assert!((9..=5 + 2 * 4).contains(&answered), "{answered}");
}

/// Reads the frames of one stream until it ends: its data, and whether it was told that the gateway
/// takes no more.
fn rest_of(wire: &mut Wire, wanted: u32) -> (Vec<u8>, bool) {
    let (mut data, mut told) = (Vec::new(), false);
    loop {
        let (kind, flags, stream, payload) = read(wire).expect("a stream under way is not cut off");
        match kind {
            GOAWAY => told = true,
            PING if flags == 0 => wire.send(frame(PING, 0x1, 0, &payload)).unwrap(),
            DATA if stream == wanted => data.extend(payload),
            _ => {}
        }
        if stream == wanted && flags & 0x1 != 0 {
            return (data, told);
        }
    }
}

/// Begins a request, with a body if `flags` do not say that it is whole.
fn begin(wire: &mut Wire, method: &'static str, path: &str, flags: u8) {
    let fields = [(":method", method), (":scheme", "https"), (":authority", HOST), (":path", path)];
    let head = frame(HEADERS, flags, 1, &literals(&fields));
    wire.send([PREFACE, &frame(SETTINGS, 0, 0, &[]), &head].concat()).unwrap();
}

fn wait_for_head(wire: &mut Wire) {
    while read(wire).unwrap().0 != HEADERS {}
}

#[test]
fn streams_under_way_end_whole_in_both_directions_when_the_gateway_stops() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let upstream = Upstream::play(move |connection| {
        let Some(head) = connection.head()? else { return Ok(()) };
        if head.starts_with(b"GET") {
            connection
                .send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")?;
            let _told = wait.lock().unwrap().recv();
            connection.send(b"5\r\n more\r\n0\r\n\r\n")
        } else {
            // Two chunks and the end: `half`, ` more`.
            let mut body = Vec::new();
            while !body.ends_with(b"0\r\n\r\n") {
                body.extend(connection.bytes(1)?);
            }
            connection.send(&response("200 OK", &[], &String::from_utf8_lossy(&body)))
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let mut process = before(folder.path(), &upstream, "");
    let (mut down, mut up) = (process.client().h2_wire(), process.client().h2_wire());
    begin(&mut down, "GET", "/public/down", 0x5);
    wait_for_head(&mut down);
    begin(&mut up, "POST", "/public/up", 0x4);
    up.send(frame(DATA, 0, 1, b"half")).unwrap();
    up.send(frame(PING, 0, 0, b"received")).unwrap();
    while read(&mut up).unwrap().0 != PING {}
    process.terminate();
    process.err.wait_for("stopping: no more");
    up.send(frame(DATA, 0x1, 1, b" more")).unwrap();
    let (data, told) = rest_of(&mut up, 1);
    assert_eq!(data, b"4\r\nhalf\r\n5\r\n more\r\n0\r\n\r\n");
    drop(go);
    let (data, told_too) = rest_of(&mut down, 1);
    assert_eq!(data, b"half more");
    assert!(told && told_too, "both were told that nothing more is taken");
    assert_eq!(process.wait().code(), Some(0), "{}", process.err.text());
}

#[test]
fn a_stream_that_does_not_end_is_cut_off_when_the_drain_timeout_has_passed() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let upstream = Upstream::play(move |connection| {
        connection.request()?;
        let _ended = wait.lock().unwrap().recv();
        Ok(())
    });
    let folder = tempfile::tempdir().unwrap();
    let mut process = before(folder.path(), &upstream, "drain_timeout = \"200ms\"\n");
    let mut wire = process.client().h2_wire();
    begin(&mut wire, "GET", "/public/slow", 0x5);
    upstream.wait_for(1);
    process.terminate();
    assert_eq!(process.wait().code(), Some(0), "{}", process.err.text());
    let mut kinds = Vec::new();
    while let Ok((kind, ..)) = read(&mut wire) {
        kinds.push(kind);
    }
    assert!(kinds.contains(&GOAWAY) && !kinds.contains(&HEADERS), "{kinds:?}");
    drop(go);
}

#[test]
fn sockets_and_events_are_ended_over_both_protocols_when_the_gateway_stops() {
    let upstream = Upstream::play(greeting);
    let folder = tempfile::tempdir().unwrap();
    // Nobody is waited for: whoever is told goes.
    let mut process = before(folder.path(), &upstream, "drain_timeout = \"10m\"\n");
    let own = [("origin", ORIGIN)];
    let (_, mut stream) = process.client().stream("/public/a", "websocket", &own).unwrap();
    assert_eq!(stream.bytes(7), b"\x81\x05hello");
    let mut wire = process.client().wire();
    wire.send(format!(
        "GET /public/a HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ))
    .unwrap();
    assert_eq!(wire.answer("GET").unwrap().unwrap().status, 101);
    assert_eq!(wire.bytes(7).unwrap(), b"\x81\x05hello");
    process.terminate();
    // 1001: going away.
    assert_eq!(stream.bytes(4), [0x88, 2, 0x03, 0xe9]);
    assert_eq!(wire.bytes(4).unwrap(), [0x88, 2, 0x03, 0xe9]);
    drop(stream);
    assert_eq!(process.wait().code(), Some(0), "{}", process.err.text());

    let upstream = Upstream::play(telling);
    let mut process = before(folder.path(), &upstream, "drain_timeout = \"10m\"\n");
    let (mut one, mut two) = (process.client().wire(), process.client().h2_wire());
    one.send(format!("GET /public/events HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).unwrap();
    assert_eq!(one.head().unwrap().unwrap().status, 200);
    assert_eq!(one.bytes(14).unwrap(), b"9\r\ndata: 1\n\n\r\n");
    begin(&mut two, "GET", "/public/events", 0x5);
    wait_for_head(&mut two);
    process.terminate();
    // A proper end: the page reconnects, to whoever is there then.
    assert_eq!(one.bytes(5).unwrap(), b"0\r\n\r\n");
    assert_eq!(rest_of(&mut two, 1).0, b"data: 1\n\n");
    assert_eq!(process.wait().code(), Some(0), "{}", process.err.text());
}

#[test]
fn a_call_of_grpc_that_is_under_way_ends_whole_when_the_gateway_stops() {
    let (go, wait) = tokio::sync::mpsc::channel::<()>(1);
    let wait = Mutex::new(Some(wait));
    let upstream = Upstream2::clear(move |_| {
        let mut wait = wait.lock().unwrap().take().expect("one call");
        let (send, sent) = tokio::sync::mpsc::channel(4);
        send.try_send(Ok(Frame::data(Bytes::from_static(b"half")))).unwrap();
        tokio::spawn(async move {
            let _told = wait.recv().await;
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from_static("0"));
            drop(send.send(Ok(Frame::data(Bytes::from_static(b" more")))).await);
            drop(send.send(Ok(Frame::trailers(trailers))).await);
        });
        let stream = futures_util::stream::unfold(sent, async |mut sent| {
            sent.recv().await.map(|frame| (frame, sent))
        });
        let mut response = Response::new(StreamBody::new(stream).boxed_unsync());
        let kind = HeaderValue::from_static("application/grpc");
        response.headers_mut().insert("content-type", kind);
        response
    });
    let folder = tempfile::tempdir().unwrap();
    let server = format!("servers = [\"http://{}\"]\nhttp = \"2\"", upstream.address());
    let mut process = start(folder.path(), &server, "");
    let fields = [("content-type", "application/grpc"), ("te", "trailers"), ("origin", ORIGIN)];
    let body = http_body_util::Full::new(Bytes::from_static(b"call"));
    let talk = process.client().talk("/public/pkg.Service/Call", body, &fields);
    assert_eq!(talk.data(), b"half");
    process.terminate();
    process.err.wait_for("stopping: no more");
    drop(go);
    assert_eq!(talk.data(), b" more");
    assert_eq!(talk.trailers().get("grpc-status").unwrap(), "0");
    assert_eq!(process.wait().code(), Some(0), "{}", process.err.text());
}

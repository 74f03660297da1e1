//! How long an application may take: one route may allow more or less than its upstream does.

use std::io::Read as _;
use std::net::TcpListener;
use std::pin::Pin;
use std::sync::{Mutex, mpsc};
use std::task::{Context, Poll};
use std::thread;

use bytes::Bytes;
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;

use crate::harness::{Connection, Gate, HOST, PATIENCE, Upstream, Upstream2, response};

/// What the applications of these tests do, by their path; `go` ends those that wait.
fn application() -> (Upstream, mpsc::Sender<()>) {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let upstream = Upstream::play(move |connection| {
        while let Some(request) = connection.request()? {
            let line = request.line();
            if line.contains("/silent") {
                let _ended = wait.lock().unwrap().recv_timeout(PATIENCE);
            }
            if line.contains("/endless") {
                endless(connection)?;
            }
            connection.send(&response("200 OK", &[], "at last"))?;
        }
        Ok(())
    });
    (upstream, go)
}

/// Never idle, and never at an end.
fn endless(connection: &mut Connection) -> std::io::Result<()> {
    connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
    loop {
        connection.send(b"5\r\ntick \r\n")?;
    }
}

fn gate(upstream: &str, lines: &str) -> Gate {
    Gate::start(&format!(
        "[[upstream]]\nname = \"app\"\nservers = [\"{upstream}\"]\n{lines}\n\
         [[route]]\npath = \"/**\"\naccess = \"public\"\n\
         [[route]]\npath = \"/soon/**\"\naccess = \"public\"\nfirst_byte_timeout = \"100ms\"\n\
         [[route]]\npath = \"/whole/**\"\naccess = \"public\"\ntotal_timeout = \"300ms\"\n\
         [[route]]\npath = \"/near/**\"\naccess = \"public\"\nconnect_timeout = \"100ms\"\n\
         [[route]]\npath = \"/long/**\"\naccess = \"public\"\nfirst_byte_timeout = \"1m\"\n\
         total_timeout = \"1m\"\n"
    ))
}

const LATE: (u16, &str) = (504, "upstream_timeout");

fn late() -> (u16, String) {
    (LATE.0, LATE.1.to_owned())
}

#[test]
fn a_route_gives_its_application_less_time_than_the_upstream_does_or_more() {
    let (upstream, go) = application();
    let gate = gate(&upstream.url(), "first_byte_timeout = \"300ms\"\ntotal_timeout = \"400ms\"");
    assert_eq!(gate.client().get("/soon/silent").verdict(), late());
    assert_eq!(gate.client().get("/silent").verdict(), late());
    assert_eq!(gate.client().get("/whole/silent").verdict(), late());
    thread::scope(|scope| {
        let mut client = gate.client();
        let asked = scope.spawn(move || client.get("/long/silent"));
        upstream.wait_for(4);
        // Longer than any other route would have waited.
        assert_eq!(gate.client().get("/silent").verdict(), late());
        drop(go);
        assert_eq!(asked.join().unwrap().text(), "at last");
    });
    assert_eq!(gate.client().get("/a").text(), "at last");
}

#[test]
fn an_answer_without_end_is_cut_off_when_its_time_is_over() {
    let (upstream, _go) = application();
    let gate = gate(&upstream.url(), "");
    let mut wire = gate.client().wire();
    wire.send(format!("GET /whole/endless HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).unwrap();
    assert_eq!(wire.head().unwrap().unwrap().status, 200);
    let body = wire.rest();
    assert!(body.starts_with(b"5\r\ntick ") || body.windows(5).any(|part| part == b"tick "));
    assert!(!body.ends_with(b"0\r\n\r\n"), "it does not look whole");
    assert_eq!(gate.client().get("/whole/a").text(), "at last");
}

/// One piece, and then nothing for ever.
struct Begun(Option<Bytes>);

impl Body for Begun {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.0.take() {
            Some(piece) => Poll::Ready(Some(Ok(Frame::data(piece)))),
            None => Poll::Pending,
        }
    }
}

#[test]
fn over_http2_too_an_answer_is_cut_off_when_its_time_is_over() {
    let upstream = Upstream2::clear(|_| {
        http::Response::new(Begun(Some(Bytes::from_static(b"begun"))).boxed_unsync())
    });
    let gate = gate(&format!("http://{}", upstream.address()), "http = \"2\"");
    let mut wire = gate.client().wire();
    wire.send(format!("GET /whole/a HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).unwrap();
    assert_eq!(wire.head().unwrap().unwrap().status, 200);
    assert_eq!(wire.rest(), b"5\r\nbegun\r\n", "and no end");
}

#[test]
fn a_server_that_takes_a_connection_and_says_nothing_is_no_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let taken = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut begun = Vec::new();
        // The beginning of a handshake, and then the end.
        stream.read_to_end(&mut begun).map(|_| begun.len())
    });
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(&ca, made.cert.pem()).unwrap();
    let lines = format!("tls = {{ ca = \"{}\", name = \"localhost\" }}", ca.display());
    let gate = gate(&format!("https://{address}"), &lines);
    assert_eq!(gate.client().get("/near/a").verdict(), late());
    assert!(taken.join().unwrap().unwrap() > 0);
}

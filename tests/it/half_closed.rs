//! A client of HTTP/1.1 that has sent all it wants to say, and closes its half: it is answered. One that
//! breaks off within a body is not.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::{Mutex, mpsc};

use crate::harness::{Gate, HOST, PATIENCE, Process, ROUTES, Upstream, response};

/// A gateway with one core: what came to it before has been read when it answers.
fn gate(upstream: &Upstream) -> Gate {
    Gate::start(&format!(
        "[listen]\nhttps = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\ncores = 1\n\
         drain_timeout = \"0s\"\npublic_url = \"https://localhost:8443\"\n\
         [[upstream]]\nname = \"app\"\nservers = [\"{}\"]\n\
         [[route]]\npath = \"/**\"\naccess = \"public\"\nbody_bytes = \"64MiB\"\n",
        upstream.url()
    ))
}

/// An application that says how long a body was, to `/a` when it is told to.
fn waiting() -> (Upstream, mpsc::Sender<()>) {
    let (go, wait) = mpsc::channel();
    let wait = Mutex::new(wait);
    let upstream = Upstream::answering(move |request| {
        if request.line().contains("/a") {
            wait.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        }
        response("200 OK", &[], &request.body.len().to_string())
    });
    (upstream, go)
}

#[test]
fn who_closes_its_half_behind_whole_requests_is_answered() {
    let (upstream, go) = waiting();
    let gate = gate(&upstream);
    let head = format!(" /a HTTP/1.1\r\nHost: {HOST}\r\n");
    let chunked = "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n";
    let large = "x".repeat(4_000_000);
    for socket in [false, true] {
        for (method, request, answers) in [
            ("GET", format!("GET{head}\r\n"), &["0"][..]),
            ("GET", format!("GET{head}\r\nGET{head}\r\n"), &["0", "0"]),
            ("POST", format!("POST{head}Content-Length: 3\r\n\r\nabc"), &["3"]),
            ("POST", format!("POST{head}{chunked}\r\n"), &["3"]),
            ("POST", format!("POST{head}{chunked}X-Sum: 1\r\n\r\n"), &["3"]),
            ("PUT", format!("PUT{head}Content-Length: 4000000\r\n\r\n{large}"), &["4000000"]),
        ] {
            let before = upstream.requests().len();
            let mut wire = gate.client().wire();
            wire.send(&request).unwrap();
            wire.end(socket);
            upstream.wait_for(before + 1);
            // By now its end has been seen.
            assert_eq!(gate.client().get("/b").status, 200);
            for text in answers {
                go.send(()).unwrap();
                let answer = wire.answer(method).unwrap().expect("an answer");
                assert_eq!((answer.status, answer.text().as_str()), (200, *text));
            }
            assert!(wire.rest().is_empty());
        }
    }
}

#[test]
fn who_closes_its_half_within_a_request_has_broken_it_off() {
    let (upstream, _go) = waiting();
    let gate = gate(&upstream);
    let head = format!("POST /a HTTP/1.1\r\nHost: {HOST}\r\n");
    for request in [
        "POST /a HTTP/1.1\r\nHost:".to_owned(),
        format!("{head}Content-Length: 5\r\n\r\nabc"),
        format!("{head}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"),
        format!("{head}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n"),
    ] {
        let mut wire = gate.client().wire();
        wire.send(&request).unwrap();
        wire.end(true);
        let answer = String::from_utf8(wire.rest()).unwrap();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
    assert!(upstream.requests().is_empty());
    assert_eq!(gate.client().get("/b").status, 200);
}

#[test]
fn a_stream_goes_on_to_who_has_closed_its_half() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let upstream = Upstream::play(move |connection| {
        connection.head()?;
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")?;
        while wait.lock().unwrap().recv_timeout(PATIENCE).is_ok() {
            connection.send(b"data: 1\n\n")?;
        }
        Ok(())
    });
    let gate = gate(&upstream);
    let mut wire = gate.client().wire();
    wire.send(format!("GET /events HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).unwrap();
    wire.end(true);
    let head = wire.head().unwrap().unwrap();
    assert_eq!(head.status, 200);
    for _ in 0..5 {
        go.send(()).unwrap();
        // A chunk of its own: it is here before the next is written.
        assert_eq!(wire.bytes(14).unwrap(), b"9\r\ndata: 1\n\n\r\n");
    }
    drop(go);
    assert_eq!(wire.rest(), b"0\r\n\r\n");
}

#[test]
fn a_client_in_the_clear_that_closes_its_half_is_answered() {
    let (upstream, _go) = waiting();
    let folder = tempfile::tempdir().unwrap();
    let url = upstream.url();
    Process::configure(
        folder.path(),
        &format!(
            "[listen]\nhttps = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\ncores = 1\n\
             http = \"127.0.0.1:0\"\npublic_url = \"https://localhost:8443\"\n\
             [[upstream]]\nname = \"app\"\nservers = [\"{url}\"]\n{ROUTES}"
        ),
    );
    let process = Process::start(folder.path());
    let mut stream = TcpStream::connect(process.address_of("http, leads to https")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET /public/a HTTP/1.1\r\nHost: {HOST}\r\n\r\n").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 308"), "{answer}");
}

/// An application that reads one request and never answers, and says when it was asked and let go of.
fn silent() -> (Upstream, mpsc::Receiver<&'static str>) {
    let (told, hear) = mpsc::channel();
    let told = Mutex::new(told);
    let upstream = Upstream::play(move |connection| {
        connection.request()?;
        told.lock().unwrap().send("asked").unwrap();
        connection.rest()?;
        told.lock().unwrap().send("gone").unwrap();
        Ok(())
    });
    (upstream, hear)
}

#[test]
fn who_closes_its_half_and_is_told_nothing_is_waited_for_as_long_as_an_idle_connection() {
    let (upstream, told) = silent();
    let gate = Gate::with(&upstream, "[limits]\nkeep_alive_timeout = \"1s\"\n");
    let mut wire = gate.client().wire();
    wire.send(format!("GET /public/a HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).unwrap();
    wire.end(false);
    assert_eq!(told.recv_timeout(PATIENCE), Ok("asked"));
    assert_eq!(told.recv_timeout(PATIENCE), Ok("gone"));
    wire.must_close();
}

#[test]
fn who_breaks_off_without_a_word_of_tls_ends_the_request() {
    let (upstream, told) = silent();
    let gate = Gate::with(&upstream, "");
    let mut wire = gate.client().wire();
    wire.send(format!("GET /public/a HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).unwrap();
    assert_eq!(told.recv_timeout(PATIENCE), Ok("asked"));
    wire.break_off();
    assert_eq!(told.recv_timeout(PATIENCE), Ok("gone"));
    wire.must_close();
}

#[test]
fn who_breaks_off_with_more_of_its_own_unread_ends_the_request() {
    let (upstream, told) = silent();
    let gate = Gate::with(&upstream, "");
    let get = format!("GET /public/a HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    for sent in [
        format!("{get}{get}"),
        format!("{get}\r\n"),
        format!("POST /public/a HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 2\r\n\r\nab\r\n{get}"),
    ] {
        let mut wire = gate.client().wire();
        wire.send(&sent).unwrap();
        assert_eq!(told.recv_timeout(PATIENCE), Ok("asked"), "{sent:?}");
        wire.break_off();
        assert_eq!(told.recv_timeout(PATIENCE), Ok("gone"), "{sent:?}");
        wire.must_close();
    }
}

#[test]
fn who_breaks_off_behind_an_upload_that_was_answered_early_ends_the_answer() {
    let (told, hear) = mpsc::channel();
    let told = Mutex::new(told);
    let upstream = Upstream::play(move |connection| {
        connection.head()?;
        connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nearly\r\n")?;
        connection.bytes(10)?;
        told.lock().unwrap().send("read").unwrap();
        connection.rest()?;
        told.lock().unwrap().send("gone").unwrap();
        Ok(())
    });
    let gate = Gate::with(&upstream, "");
    let mut wire = gate.client().wire();
    let head =
        format!("POST /public/a HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 10\r\n\r\nhello");
    wire.send(head).unwrap();
    assert_eq!(wire.head().unwrap().unwrap().status, 200);
    wire.send("world").unwrap();
    assert_eq!(hear.recv_timeout(PATIENCE), Ok("read"));
    wire.break_off();
    assert_eq!(hear.recv_timeout(PATIENCE), Ok("gone"));
}

//! Between the client and the application: bodies in both directions, connections, limits, times,
//! and what a broken application does to its clients.

use std::io;
use std::net::TcpListener;
use std::sync::{Mutex, mpsc};
use std::thread;

use sallyport::clock::Stopwatch;

use crate::harness::{Answer, Gate, HOST, PATIENCE, Taken, Upstream, frames, response};

/// A gateway before `upstream` that lets everybody in, with further lines in the upstream's
/// section.
fn open_gate(upstream: &Upstream, lines: &str) -> Gate {
    open_gate_to(&upstream.url(), lines)
}

fn open_gate_to(url: &str, lines: &str) -> Gate {
    Gate::start(&format!(
        "[[upstream]]\nname = \"app\"\nservers = [\"{url}\"]\n{lines}\n\
         [[route]]\npath = \"/**\"\naccess = \"public\"\nbody_bytes = \"64MiB\"\n\
         [[route]]\npath = \"/small/**\"\naccess = \"public\"\nbody_bytes = \"1KiB\"\n"
    ))
}

fn echoing() -> Upstream {
    Upstream::answering(|request| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", request.body.len());
        [head.as_bytes(), &request.body].concat()
    })
}

/// Bytes of which no two stretches are alike.
fn much(bytes: usize) -> Vec<u8> {
    let numbers = (0_u32..).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes());
    numbers.take(bytes).collect()
}

const MIB: usize = 1024 * 1024;

#[test]
fn large_bodies_arrive_whole_in_both_directions_over_both_protocols() {
    let upstream = echoing();
    let gate = open_gate(&upstream, "");
    let body = much(8 * MIB);
    for h2 in [false, true] {
        let client = gate.client();
        let mut client = if h2 { client.over_h2() } else { client };
        let answer = client.ask("PUT", "/file").body("application/octet-stream", &body).send();
        assert_eq!(answer.status, 200);
        assert!(answer.body == body, "{} bytes came back", answer.body.len());
        let received = upstream.requests().pop().unwrap();
        assert_eq!(received.line(), "PUT /file HTTP/1.1");
        assert_eq!(received.field("content-type"), ["application/octet-stream"]);
    }
}

#[test]
fn a_request_body_goes_on_as_it_comes_and_is_never_waited_for() {
    let upstream = Upstream::play(|connection| {
        let Some(_head) = connection.head()? else { return Ok(()) };
        // The first piece arrives though the last was never sent.
        assert_eq!(connection.bytes(b"5\r\nfirst\r\n".len())?, b"5\r\nfirst\r\n");
        connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nheard\r\n")?;
        assert_eq!(connection.bytes(b"4\r\nlast\r\n0\r\n\r\n".len())?, b"4\r\nlast\r\n0\r\n\r\n");
        connection.send(b"3\r\nall\r\n0\r\n\r\n")
    });
    let gate = open_gate(&upstream, "");
    let mut wire = gate.client().wire();
    let head = format!("POST /talk HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n");
    wire.send(format!("{head}5\r\nfirst\r\n")).unwrap();
    let answer = wire.head().unwrap().unwrap();
    assert_eq!((answer.status, answer.field("transfer-encoding")), (200, vec!["chunked"]));
    assert_eq!(wire.bytes(10).unwrap(), b"5\r\nheard\r\n", "before the request's end");
    wire.send("4\r\nlast\r\n0\r\n\r\n").unwrap();
    assert_eq!(wire.bytes(13).unwrap(), b"3\r\nall\r\n0\r\n\r\n");
}

#[test]
fn a_client_that_reads_nothing_before_it_has_sent_everything_gets_its_early_answer() {
    const SIZE: usize = 16 * MIB;
    let upstream = Upstream::play(|connection| {
        let Some(_head) = connection.head()? else { return Ok(()) };
        let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n").into_bytes();
        answer.resize(answer.len() + SIZE, b'a');
        // More than all buffers on the way hold.
        let sending = connection.send_aside(answer)?;
        connection.bytes(SIZE)?;
        sending.join().unwrap()
    });
    let gate = open_gate(&upstream, "");
    let mut wire = gate.client().wire();
    wire.send(format!("PUT /a HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {SIZE}\r\n\r\n"))
        .unwrap();
    wire.send(much(SIZE)).unwrap();
    let answer = wire.answer("PUT").unwrap().unwrap();
    assert_eq!((answer.status, answer.body.len()), (200, SIZE));
}

#[test]
fn a_client_that_does_not_read_holds_the_application_back_instead_of_filling_memory() {
    const WHOLE: usize = 256 * MIB;
    let (sent, told) = mpsc::channel();
    let upstream = Upstream::play(move |connection| {
        while let Some(_request) = connection.request()? {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {WHOLE}\r\n\r\n");
            connection.send(head.as_bytes())?;
            let piece = vec![b'x'; MIB];
            for count in 1..=WHOLE / MIB {
                // Blocks for as long as nobody takes it.
                connection.send(&piece)?;
                let _told = sent.send(count);
            }
        }
        Ok(())
    });
    let gate = open_gate(&upstream, "");
    let mut wire = gate.client().wire();
    wire.send(format!("GET /huge HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).unwrap();
    assert_eq!(wire.head().unwrap().unwrap().status, 200);
    let mut count = 0;
    // Nothing more is taken once the buffers on the way are full.
    while let Ok(next) = told.recv_timeout(std::time::Duration::from_secs(1)) {
        count = next;
    }
    assert!(count < 48, "{count} MiB were taken though nobody reads");
    let mut left = WHOLE;
    while left > 0 {
        let piece = wire.bytes(left.min(MIB)).unwrap();
        left -= piece.len();
    }
}

#[test]
fn connections_to_the_application_are_kept_and_used_again() {
    let upstream = echoing();
    let gate = Gate::start(&format!(
        "[listen]\nhttps = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\ncores = 1\n\
         drain_timeout = \"0s\"\npublic_url = \"https://localhost:8443\"\n\
         [[upstream]]\nname = \"app\"\nservers = [\"{}\"]\n\
         [[route]]\npath = \"/**\"\naccess = \"public\"\n",
        upstream.url()
    ));
    for _ in 0..10 {
        let mut client = gate.client();
        for method in ["GET", "HEAD", "DELETE"] {
            assert_eq!(client.ask(method, "/a").send().status, 200);
        }
        assert_eq!(client.ask("POST", "/a").body("text/plain", "body").send().text(), "body");
    }
    assert_eq!((upstream.requests().len(), upstream.connections()), (40, 1));
}

#[test]
fn an_idle_connection_that_the_application_closed_costs_no_client_its_request() {
    let upstream = Upstream::play(|connection| {
        // One request each, then closed without a word.
        if let Some(request) = connection.request()? {
            connection.send(&response("200 OK", &[], &request.line()))?;
        }
        Ok(())
    });
    let gate = open_gate(&upstream, "");
    let mut client = gate.client();
    for number in 0..20 {
        let path = format!("/{number}");
        let answer = client.ask("POST", &path).body("text/plain", "x").send();
        let wanted = format!("POST {path} HTTP/1.1");
        // The close may still be under way when the next request is sent: then it is told.
        assert!(answer.text() == wanted || answer.status == 502, "{answer:#?}");
    }
}

#[test]
fn answers_without_a_body_have_none_and_the_connection_goes_on() {
    let upstream = Upstream::answering(|request| {
        let line = request.line();
        let plain =
            |status: &str, fields: &str| format!("HTTP/1.1 {status}\r\n{fields}\r\n").into_bytes();
        if line.contains("/204") {
            plain("204 No Content", "X-A: 1\r\n")
        } else if line.contains("/304") {
            plain("304 Not Modified", "ETag: \"x\"\r\nContent-Length: 1000\r\n")
        } else if line.starts_with("HEAD") {
            plain("200 OK", "Content-Length: 12345\r\n")
        } else {
            response("200 OK", &[], "")
        }
    });
    let gate = open_gate(&upstream, "");
    let mut wire = gate.client().wire();
    let mut ask = |method: &str, path: &str| -> Answer {
        wire.send(format!("{method} {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).unwrap();
        wire.answer(method).unwrap().unwrap()
    };
    for _ in 0..2 {
        let answer = ask("GET", "/204");
        assert_eq!((answer.status, answer.field("content-length").len()), (204, 0));
        let answer = ask("GET", "/304");
        assert_eq!((answer.status, answer.one("etag")), (304, "\"x\""));
        let answer = ask("HEAD", "/a");
        assert_eq!((answer.status, answer.one("content-length")), (200, "12345"));
        let answer = ask("GET", "/a");
        assert_eq!((answer.status, answer.one("content-length")), (200, "0"));
    }
}

#[test]
fn what_belongs_to_one_hop_of_the_response_ends_at_the_gateway() {
    let upstream = Upstream::answering(|_| {
        response(
            "200 OK",
            &[
                "Connection: X-Hop, keep-alive",
                "X-Hop: 1",
                "Keep-Alive: timeout=5",
                "Proxy-Authenticate: Basic",
                "Proxy-Connection: keep-alive",
                "Upgrade: h2c",
                "Trailer: X-T",
                "Set-Cookie: app=1; Path=/",
                "Set-Cookie: app=2; Path=/b",
                "Server: the-app",
                "Cache-Control: max-age=60",
            ],
            "body",
        )
    });
    let gate = open_gate(&upstream, "");
    for h2 in [false, true] {
        let client = gate.client();
        let answer = if h2 { client.over_h2() } else { client }.get("/a");
        for name in [
            "x-hop",
            "keep-alive",
            "proxy-authenticate",
            "proxy-connection",
            "upgrade",
            "connection",
            "trailer",
        ] {
            assert_eq!(answer.field(name), Vec::<&str>::new(), "{name}");
        }
        assert_eq!(answer.field("set-cookie"), ["app=1; Path=/", "app=2; Path=/b"]);
        assert_eq!((answer.one("server"), answer.one("cache-control")), ("the-app", "max-age=60"));
        assert_eq!(answer.one("via"), "1.1 sallyport");
    }
}

#[test]
fn chunks_and_their_trailers_come_through() {
    let upstream = Upstream::answering(|request| {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
             {:x};extension=1\r\n{body}\r\n0\r\nX-Sum: 42\r\n\r\n",
            body.len()
        )
        .into_bytes()
    });
    let gate = open_gate(&upstream, "");
    let head = format!("POST /a HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n");
    let answer =
        gate.client().raw(format!("{head}3;x=y\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n")).unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "abcdefg"));
    let received = upstream.requests().pop().unwrap();
    assert_eq!(
        (received.body.as_slice(), received.field("content-length").len()),
        (&b"abcdefg"[..], 0)
    );
}

#[test]
fn announced_trailers_reach_a_client_of_http1_that_takes_them_and_no_other() {
    let upstream = Upstream::answering(|_| {
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, Content-Length\r\n\r\n\
          3\r\nabc\r\n0\r\nX-Sum: 42\r\nX-Other: 1\r\nContent-Length: 7\r\n\r\n"
            .to_vec()
    });
    let gate = open_gate(&upstream, "");
    for (fields, taken) in
        [("TE: trailers\r\nConnection: close, TE", true), ("Connection: close", false)]
    {
        let mut wire = gate.client().wire();
        wire.send(format!("GET /a HTTP/1.1\r\nHost: {HOST}\r\n{fields}\r\n\r\n")).unwrap();
        let answer = String::from_utf8(wire.rest()).unwrap().to_ascii_lowercase();
        assert!(answer.contains("\r\n3\r\nabc\r\n0\r\n"), "{answer}");
        assert_eq!(answer.ends_with("\r\n0\r\nx-sum: 42\r\n\r\n"), taken, "{answer}");
        assert!(!answer.contains("x-other") && !answer.contains("content-length: 7"), "{answer}");
    }
}

#[test]
fn a_body_over_its_limit_is_refused_whether_or_not_it_says_so_first() {
    let upstream = echoing();
    let gate = open_gate(&upstream, "");
    let body = "x".repeat(1025);
    let mut client = gate.client();
    let answer = client.ask("POST", "/small/a").body("text/plain", &body[..1024]).send();
    assert_eq!(answer.status, 200);
    let answer = client.ask("POST", "/small/a").body("text/plain", &body).send();
    assert_eq!(answer.verdict(), (413, "payload_too_large".to_owned()));
    assert_eq!(answer.one("connection"), "close");
    let answer = client.twin().over_h2().ask("POST", "/small/a").body("text/plain", &body).send();
    assert_eq!(answer.verdict(), (413, "payload_too_large".to_owned()));
    let chunked =
        format!("POST /small/a HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n");
    let answer = client.raw(format!("{chunked}401\r\n{body}\r\n0\r\n\r\n")).unwrap();
    assert_eq!(answer.verdict(), (413, "payload_too_large".to_owned()));
    let whole = upstream.requests().iter().filter(|request| request.body.len() > 1024).count();
    assert_eq!(whole, 0, "no application took more for a whole body");
    assert_eq!(client.get("/a").status, 200);
}

#[test]
fn an_application_that_takes_too_long_for_its_first_byte_is_a_504() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let upstream = Upstream::play(move |connection| {
        while connection.request()?.is_some() {
            // Ends when the test does.
            let _ended = wait.lock().unwrap().recv();
        }
        Ok(())
    });
    let gate = open_gate(&upstream, "first_byte_timeout = \"100ms\"");
    let waited = Stopwatch::start();
    let mut client = gate.client();
    let answer = client.get("/a");
    assert_eq!(answer.verdict(), (504, "upstream_timeout".to_owned()));
    assert!(waited.elapsed() < PATIENCE / 2);
    drop(go);
    assert_eq!(client.get("/auth/login").status, 200, "the connection goes on");
}

#[test]
fn an_application_that_is_not_there_is_a_502() {
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let gate = open_gate_to(&format!("http://127.0.0.1:{port}"), "");
    let mut client = gate.client();
    for _ in 0..2 {
        let answer = client.get("/a");
        assert_eq!(answer.verdict(), (502, "upstream_unavailable".to_owned()));
        assert!(!answer.text().contains("127.0.0.1"), "what is behind us is nobody's business");
    }
    let answer = client.open("/a");
    assert_eq!(answer.status, 502);
    assert!(answer.text().contains("<!doctype html>"), "a person gets a page");
}

#[test]
fn an_answer_that_is_no_http_is_a_502_and_never_comes_through() {
    for broken in [
        &b"SSH-2.0-OpenSSH_9.9\r\n"[..],
        b"\r\n\r\n",
        b"",
        b"HTTP/1.1 2OO OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nX-A : b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX A: b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno-colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-A: b\x00c\r\n\r\n",
    ] {
        let upstream = Upstream::play(move |connection| {
            connection.request()?;
            connection.send(broken)
        });
        let gate = open_gate(&upstream, "");
        let answer = gate.client().get("/a");
        let shown = String::from_utf8_lossy(broken);
        assert_eq!(answer.verdict(), (502, "upstream_invalid".to_owned()), "{shown:?}");
    }
}

#[test]
fn a_response_head_without_end_is_a_502_and_takes_no_memory() {
    let upstream = Upstream::play(|connection| {
        connection.request()?;
        connection.send(b"HTTP/1.1 200 OK\r\n")?;
        loop {
            connection.send(format!("X-Long: {}\r\n", "x".repeat(1000)).as_bytes())?;
        }
    });
    let gate = open_gate(&upstream, "");
    assert_eq!(gate.client().get("/a").verdict(), (502, "upstream_invalid".to_owned()));
}

#[test]
fn a_response_that_breaks_off_is_seen_to_break_off() {
    for head in [
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\n",
    ] {
        let upstream = Upstream::play(move |connection| {
            connection.request()?;
            connection.send(head.as_bytes())
        });
        let gate = open_gate(&upstream, "");
        let mut wire = gate.client().wire();
        wire.send(format!("GET /a HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).unwrap();
        let answer = wire.answer("GET");
        let error = answer.expect_err("a short body must not pass for a whole one");
        assert_ne!(error.kind(), io::ErrorKind::WouldBlock, "cut, and not left hanging");
        assert_eq!(gate.client().get("/auth/login").status, 200);
    }
}

#[test]
fn a_client_that_goes_away_ends_its_request_at_the_application() {
    let (gone, told) = mpsc::channel();
    let upstream = Upstream::play(move |connection| {
        let Some(_) = connection.request()? else { return Ok(()) };
        connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")?;
        let rest = connection.rest();
        let _told = gone.send(rest.is_ok());
        Ok(())
    });
    let gate = open_gate(&upstream, "");
    let mut wire = gate.client().wire();
    wire.send(format!("GET /events HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).unwrap();
    wire.head().unwrap().unwrap();
    wire.bytes(6).unwrap();
    drop(wire);
    assert!(told.recv_timeout(PATIENCE).is_ok(), "the application was left waiting");
}

#[test]
fn a_client_that_expects_100_gets_it_only_when_its_body_is_wanted() {
    let upstream = echoing();
    let gate = open_gate(&upstream, "");
    let mut wire = gate.client().wire();
    let expecting = |path: &str, length: usize| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: {HOST}\r\nExpect: 100-continue\r\n\
             Content-Length: {length}\r\n\r\n"
        )
    };
    wire.send(expecting("/a", 4)).unwrap();
    assert_eq!(wire.head().unwrap().unwrap().status, 100);
    wire.send("body").unwrap();
    let answer = wire.answer("POST").unwrap().unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "body"));
    assert_eq!(upstream.requests()[0].field("expect"), Vec::<String>::new());
}

#[test]
fn an_application_that_is_full_is_a_503_and_others_go_on() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let upstream = Upstream::answering(move |_| {
        let _ended = wait.lock().unwrap().recv();
        response("200 OK", &[], "at last")
    });
    let gate = open_gate(&upstream, "max_in_flight = 1\nqueue = 0");
    let mut first = gate.client();
    thread::scope(|scope| {
        let first = scope.spawn(move || first.get("/a"));
        upstream.wait_for(1);
        let answer = gate.client().get("/a");
        assert_eq!(answer.verdict(), (503, "upstream_busy".to_owned()));
        assert!(!answer.one("retry-after").is_empty());
        go.send(()).unwrap();
        assert_eq!(first.join().unwrap().text(), "at last");
    });
}

#[test]
fn a_request_beyond_the_limit_waits_for_its_turn_as_long_as_it_may() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let upstream = Upstream::answering(move |request| {
        if request.line().contains("/slow") {
            let _ended = wait.lock().unwrap().recv();
        }
        response("200 OK", &[], "at last")
    });
    let gate = open_gate(&upstream, "max_in_flight = 1\nqueue = 1\nqueue_wait = \"10s\"");
    thread::scope(|scope| {
        let mut clients: Vec<_> = (0..4).map(|_| gate.client()).collect();
        let mut first = clients.pop().unwrap();
        let first = scope.spawn(move || first.get("/slow"));
        upstream.wait_for(1);
        // One has room to wait; the others are told at once.
        let asked: Vec<_> = clients
            .into_iter()
            .map(|mut client| scope.spawn(move || client.get("/a").status))
            .collect();
        let refused = Stopwatch::start();
        while gate.admin("/metrics").text().matches("upstream_busy\"} 2").count() == 0 {
            assert!(refused.elapsed() < PATIENCE, "{}", gate.admin("/metrics").text());
        }
        go.send(()).unwrap();
        assert_eq!(first.join().unwrap().status, 200);
        let mut statuses: Vec<u16> = asked.into_iter().map(|one| one.join().unwrap()).collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 503, 503]);
    });
    let gate = open_gate(&upstream, "max_in_flight = 1\nqueue = 5\nqueue_wait = \"100ms\"");
    thread::scope(|scope| {
        let mut first = gate.client();
        let first = scope.spawn(move || first.get("/slow"));
        upstream.wait_for(3);
        let answer = gate.client().get("/a");
        assert_eq!(answer.verdict(), (503, "upstream_busy".to_owned()), "nobody waits for ever");
        go.send(()).unwrap();
        assert_eq!(first.join().unwrap().status, 200);
    });
}

#[test]
fn a_client_of_http2_that_takes_nothing_holds_no_place_at_the_application() {
    let upstream = Upstream::answering(|_| response("200 OK", &[], &"x".repeat(MIB)));
    let url = upstream.url();
    let gate = Gate::start(&format!(
        "[limits]\nwrite_stall_timeout = \"1s\"\n\
         [[upstream]]\nname = \"app\"\nservers = [\"{url}\"]\nmax_in_flight = 1\nqueue = 0\n\
         [[route]]\npath = \"/**\"\naccess = \"public\"\n"
    ));
    let mut wire = gate.client().h2_wire();
    let fields = [(":method", "GET"), (":scheme", "https"), (":authority", HOST), (":path", "/a")];
    assert_eq!(frames::ask_and_take_nothing(&mut wire, &fields), Taken::Reset);
    assert_eq!(gate.client().get("/a").status, 200, "its place is free again");
}

#[test]
fn a_client_of_http1_that_takes_nothing_is_cut_off_and_frees_the_application() {
    let (free, freed) = mpsc::channel();
    let free = Mutex::new(free);
    let upstream = Upstream::play(move |connection| {
        if connection.request()?.is_none() {
            return Ok(());
        }
        connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        let piece = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
        while connection.send(piece.as_bytes()).is_ok() {}
        free.lock().unwrap().send(()).unwrap();
        Ok(())
    });
    let gate = Gate::start(&format!(
        "[limits]\nwrite_stall_timeout = \"1s\"\n\
         [[upstream]]\nname = \"app\"\nservers = [\"{}\"]\n\
         [[route]]\npath = \"/**\"\naccess = \"public\"\n",
        upstream.url()
    ));
    let mut wire = gate.client().wire();
    wire.send(format!("GET /a HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).unwrap();
    freed.recv_timeout(PATIENCE).expect("the application still writes");
    drop(wire);
}

#[test]
fn a_connection_that_nobody_needs_is_closed_in_time_and_another_made_when_one_is_needed() {
    let (end, ended) = mpsc::channel();
    let end = Mutex::new(end);
    let upstream = Upstream::play(move |connection| {
        while connection.request()?.is_some() {
            connection.send(&response("200 OK", &[], "the application"))?;
        }
        end.lock().unwrap().send(()).unwrap();
        Ok(())
    });
    let gate = open_gate(&upstream, "pool_idle_timeout = \"1s\"");
    let mut client = gate.client();
    assert_eq!((client.get("/a").status, client.get("/b").status), (200, 200));
    assert_eq!(upstream.connections(), 1);
    ended.recv_timeout(PATIENCE).expect("it is kept");
    assert_eq!(client.get("/c").status, 200);
    assert_eq!(upstream.connections(), 2);
}

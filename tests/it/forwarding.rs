//! What the application is asked, what is told of it, and what it is never asked.

use std::sync::mpsc;
use std::time::Duration;

use crate::harness::{ACCESS, Gate, HOST, PATIENCE, Process, REFRESH, ROUTES, Upstream, response};

fn application() -> Upstream {
    Upstream::answering(|request| response("200 OK", &[], &request.line()))
}

/// A gateway before `upstream` that lets everybody in, with further lines in the upstream's
/// section.
fn open_gate(upstream: &Upstream, lines: &str) -> Gate {
    Gate::start(&format!(
        "[[upstream]]\nname = \"app\"\nservers = [\"{}\"]\n{lines}\n\
         [[route]]\npath = \"/**\"\naccess = \"public\"\nbody_bytes = \"1KiB\"\n",
        upstream.url()
    ))
}

#[test]
fn the_application_sees_the_host_of_the_client_or_its_own_as_the_config_says() {
    let upstream = application();
    for (policy, host) in [("preserve", HOST), ("server", &upstream.address().to_string())] {
        let gate = open_gate(&upstream, &format!("host = \"{policy}\""));
        for h2 in [false, true] {
            let client = gate.client();
            let mut client = if h2 { client.over_h2() } else { client };
            // A kept connection too.
            for _ in 0..2 {
                assert_eq!(client.get("/a").status, 200);
                let received = upstream.requests().pop().unwrap();
                assert_eq!(received.field("host"), [host], "{policy}");
                assert_eq!(received.field("x-forwarded-host"), [HOST]);
            }
        }
    }
}

#[test]
fn a_head_of_our_own_endpoints_has_the_fields_of_a_get_and_no_content() {
    let upstream = application();
    let gate = open_gate(&upstream, "");
    for h2 in [false, true] {
        let client = gate.client();
        let mut client = if h2 { client.over_h2() } else { client };
        for path in ["/auth/login", "/.well-known/jwks.json"] {
            let get = client.get(path);
            let head = client.ask("HEAD", path).send();
            assert_eq!((get.status, head.status), (200, 200), "{path}");
            assert_eq!(head.one("content-length"), get.body.len().to_string(), "{path}");
            assert_eq!(head.one("content-type"), get.one("content-type"), "{path}");
            assert!(head.body.is_empty(), "{path}: {}", head.text());
        }
        // A refusal has no content either.
        let head = client.ask("HEAD", "/auth/me").send();
        assert_eq!((head.status, head.body.len()), (401, 0));
    }
}

#[test]
fn a_body_that_says_beforehand_that_it_is_too_long_is_refused_before_the_application_is_asked() {
    let upstream = application();
    let gate = open_gate(&upstream, "");
    let body = "x".repeat(1025);
    for h2 in [false, true] {
        let client = gate.client();
        let mut client = if h2 { client.over_h2() } else { client };
        let mut ask = client.ask("POST", "/a").body("text/plain", &body);
        if h2 {
            // Over HTTP/1.1 the client writes it by itself.
            ask = ask.field("Content-Length", "1025");
        }
        assert_eq!(ask.send().verdict(), (413, "payload_too_large".to_owned()), "h2: {h2}");
    }
    let answer = gate.client().raw(format!(
        "POST /a HTTP/1.1\r\nHost: {HOST}\r\nExpect: 100-continue\r\nContent-Length: 1025\r\n\r\n"
    ));
    assert_eq!(answer.unwrap().verdict(), (413, "payload_too_large".to_owned()));
    assert_eq!(upstream.connections(), 0, "nothing was even connected to");
}

#[test]
fn a_client_that_leaves_before_the_answer_is_told_of_as_499() {
    let (come, came) = mpsc::channel();
    let (go, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let upstream = Upstream::play(move |connection| {
        connection.request()?;
        let _told = come.send(());
        // Ends when the test does.
        let _ended = wait.lock().unwrap().recv();
        Ok(())
    });
    let folder = tempfile::tempdir().unwrap();
    let upstream_url = upstream.url();
    Process::configure(
        folder.path(),
        &format!(
            "[log]\naccess = \"stdout\"\n\
             [[upstream]]\nname = \"app\"\nservers = [\"{upstream_url}\"]\n{ROUTES}"
        ),
    );
    let process = Process::start(folder.path());
    let mut wire = process.client().wire();
    wire.send(format!("GET /public/slow HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).unwrap();
    came.recv_timeout(PATIENCE).unwrap();
    drop(wire);
    let line = process.out.wait_for("/public/slow");
    for words in ["499", "client_gone", "app"] {
        assert!(line.contains(words), "{words}: {line}");
    }
    let metrics = process.admin("/metrics").text();
    assert!(metrics.contains("client_gone"), "{metrics}");
    drop(go);
}

#[test]
fn cookies_are_not_deleted_by_an_answer_that_comes_too_late() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let upstream = Upstream::answering(move |request| {
        if request.line().contains("/slow") {
            wait.lock().unwrap().recv().unwrap();
        }
        response("200 OK", &[], "the application")
    });
    let gate = Gate::before(&upstream);
    gate.add_user("ada", &[], &[]);
    // A browser whose session has ended elsewhere, at a route where guests may come.
    let mut client = gate.signed_in("ada");
    let left = client.twin();
    assert_eq!(client.post("/auth/logout").status, 200);
    let stale = || {
        let mut client = left.twin();
        client.jar.remove(ACCESS);
        client
    };
    let answer = stale().get("/optional/a");
    assert_eq!(answer.status, 200);
    assert!(answer.set_cookie(REFRESH).is_some(), "in time, it is: {answer:#?}");
    let mut slow = stale();
    let answer = std::thread::scope(|scope| {
        let asked = scope.spawn(|| slow.get("/optional/slow"));
        upstream.wait_for(2);
        // The person may have logged in by now.
        gate.pass(Duration::from_secs(16));
        go.send(()).unwrap();
        asked.join().unwrap()
    });
    assert_eq!((answer.status, answer.field("set-cookie").len()), (200, 0), "{answer:#?}");
}

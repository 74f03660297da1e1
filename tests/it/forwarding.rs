//! What the application is asked, what is told of it, and what it is never asked.

use std::sync::mpsc;
use std::time::Duration;

use crate::harness::{
    ACCESS, Client, Gate, HOST, PATIENCE, Process, REFRESH, ROUTES, Upstream, response,
};

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

#[test]
fn the_application_is_told_where_a_request_came_from_in_both_vocabularies() {
    let upstream = application();
    let gate = open_gate(&upstream, "");
    for h2 in [false, true] {
        let client = gate.client();
        let mut client = if h2 { client.over_h2() } else { client };
        for _ in 0..2 {
            client.ask("GET", "/a").field("Forwarded", "for=6.6.6.6").send();
            let received = upstream.requests().pop().unwrap();
            let told = "for=127.0.0.1;proto=https;host=\"localhost:8443\"";
            assert_eq!(received.field("forwarded"), [told]);
            assert_eq!(received.field("x-forwarded-for"), ["127.0.0.1"]);
            let via = received.field("via").join(", ");
            let version = if h2 { "2 sallyport-" } else { "1.1 sallyport-" };
            assert!(via.starts_with(version), "{via}");
        }
    }
}

#[test]
fn a_request_that_comes_back_is_a_508_and_one_through_another_gateway_is_not() {
    let upstream = application();
    let inner = open_gate(&upstream, "");
    // The application passes everything on to where it came from.
    let circle = std::sync::Arc::new(std::sync::OnceLock::new());
    let seen = std::sync::Arc::clone(&circle);
    let echo = Upstream::answering(move |request| {
        let client: &std::sync::Mutex<Client> = seen.get().unwrap();
        let mut client = client.lock().unwrap();
        let via = request.field("via").join(", ");
        let answer = client.ask("GET", "/again").field("Via", via).send();
        response(&format!("{} Whatever", answer.status), &[], &answer.text())
    });
    let gate = open_gate(&echo, "");
    assert!(circle.set(std::sync::Mutex::new(gate.client())).is_ok());
    let answer = gate.client().get("/once");
    assert_eq!(answer.verdict(), (508, "loop_detected".to_owned()));
    assert_eq!(echo.requests().len(), 1, "it was found out at the first return");
    let answer = inner.client().ask("GET", "/a").field("Via", "1.1 sallyport-other").send();
    assert_eq!(answer.status, 200);
}

#[test]
fn max_forwards_counts_down_for_options_and_is_nobodys_business_otherwise() {
    let upstream = application();
    let gate = open_gate(&upstream, "");
    let mut client = gate.client();
    let mut ask = |method: &str, left: &str| {
        let answer = client.ask(method, "/a").field("Max-Forwards", left).send();
        let received = upstream.requests().pop();
        (answer.status, received.map(|request| request.field("max-forwards").join(",")))
    };
    assert_eq!(ask("OPTIONS", "0"), (204, None), "it ends here");
    assert_eq!(ask("OPTIONS", "3"), (200, Some("2".to_owned())));
    assert_eq!(ask("GET", "0"), (200, Some("0".to_owned())));
    assert_eq!(ask("OPTIONS", "x"), (200, Some("x".to_owned())));
}

#[test]
fn a_route_can_take_its_prefix_off_the_path_and_put_another_before_it() {
    let upstream = application();
    let url = upstream.url();
    let gate = Gate::start(&format!(
        "[[upstream]]\nname = \"app\"\nservers = [\"{url}\"]\n\
         [[route]]\npath = \"/app/**\"\naccess = \"public\"\nstrip_prefix = \"/app\"\n\
         [[route]]\npath = \"/old/**\"\naccess = \"public\"\nstrip_prefix = \"/old\"\n\
         add_prefix = \"/v2/new\"\n\
         [[route]]\npath = \"/**\"\naccess = \"public\"\n"
    ));
    let mut client = gate.client();
    for (path, line, prefix) in [
        ("/app", "/", "/app"),
        ("/app/", "/", "/app"),
        ("/app/x/y?z=/app/1", "/x/y?z=/app/1", "/app"),
        ("/app/app/x", "/app/x", "/app"),
        ("/%61pp/../app//x", "/x", "/app"),
        ("/old/a", "/v2/new/a", "/old"),
        ("/old", "/v2/new/", "/old"),
        ("/apple", "/apple", ""),
    ] {
        let answer = client.ask("GET", path).field("X-Forwarded-Prefix", "/evil").send();
        assert_eq!(answer.text(), format!("GET {line} HTTP/1.1"), "{path}");
        let received = upstream.requests().pop().unwrap();
        assert_eq!(received.field("x-forwarded-prefix").join(","), prefix, "{path}");
    }
    assert_eq!(client.get("/app/..%2fx").status, 400);
}

/// Writes `header` before TLS begins, and asks who the application thinks has called.
fn introduced(gate: &Gate, header: &[u8]) -> Option<String> {
    let mut wire = gate.client().wire_after(header).ok()?;
    wire.send(format!("GET /a HTTP/1.1\r\nHost: {HOST}\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n"))
        .ok()?;
    wire.answer("GET").ok()?.map(|answer| answer.text())
}

#[test]
fn a_load_balancer_says_by_the_proxy_protocol_who_calls_and_nobody_else_can() {
    let upstream = Upstream::answering(|request| {
        response("200 OK", &[], &request.field("x-forwarded-for").join("|"))
    });
    let gate = |peers: &str| {
        Gate::start(&format!(
            "[listen]\nhttps = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\ncores = 1\n\
             public_url = \"https://localhost:8443\"\ndrain_timeout = \"0s\"\n\
             proxy_protocol = [{peers}]\n[limits]\nconnections_per_network = 2\n\
             [[upstream]]\nname = \"app\"\nservers = [\"{}\"]\n\
             [[route]]\npath = \"/**\"\naccess = \"public\"\n",
            upstream.url()
        ))
    };
    let line = b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 443\r\n";
    let mut binary = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    binary.extend([198, 51, 100, 7, 10, 0, 0, 1, 0, 1, 1, 0xbb]);
    let trusting = gate("\"127.0.0.0/8\"");
    assert_eq!(introduced(&trusting, line).as_deref(), Some("192.0.2.1"));
    assert_eq!(introduced(&trusting, &binary).as_deref(), Some("198.51.100.7"));
    let unknown = introduced(&trusting, b"PROXY UNKNOWN\r\n");
    assert_eq!(unknown.as_deref(), Some("127.0.0.1"), "it speaks for itself");
    assert_eq!(introduced(&trusting, b""), None, "from this peer it must come");
    assert_eq!(introduced(&trusting, b"PROXY nonsense, and more of it\r\n"), None);
    assert_eq!(introduced(&gate("\"10.0.0.0/8\""), line), None, "from others it is no TLS");
    // The limit per network is the clients', not the balancer's.
    let of = |last: u8| format!("PROXY TCP4 203.0.113.{last} 10.0.0.1 1 443\r\n");
    let held: Vec<_> =
        (0..6).map(|number| trusting.client().wire_after(of(number).as_bytes()).unwrap()).collect();
    assert!(introduced(&trusting, of(0).as_bytes()).is_some(), "the second of this client");
    let mut second = trusting.client().wire_after(of(1).as_bytes()).unwrap();
    second.send(format!("GET /a HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).unwrap();
    assert_eq!(second.answer("GET").unwrap().unwrap().text(), "203.0.113.1");
    assert_eq!(introduced(&trusting, of(1).as_bytes()), None, "the third");
    drop((held, second));
}

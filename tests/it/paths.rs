//! What the policy judged is what the application receives: for every spelling of path and host
//! that has fooled a product of this kind, as the bytes went over the wire.

use crate::harness::{ACCESS, Answer, Client, Gate, HOST, Taken, Upstream, frames, response};

const REFUSED: Result<&str, u16> = Err(400);
const FORBIDDEN: Result<&str, u16> = Err(403);

/// What somebody who is signed in and holds nothing sends, and what the application then receives,
/// or the status without anything having been received.
const TARGETS: &[(&str, Result<&str, u16>)] = &[
    ("/public/a", Ok("/public/a")),
    ("/public/a?b=c/../d&e=%2F%2e%2e#", Ok("/public/a?b=c/../d&e=%2F%2e%2e")),
    // Dot segments, however they are written.
    ("/public/../admin/x", FORBIDDEN),
    ("/public/./../admin/x", FORBIDDEN),
    ("/public/%2e%2e/admin/x", FORBIDDEN),
    ("/public/%2E%2e/admin/x", FORBIDDEN),
    ("/public/.%2e/admin/x", FORBIDDEN),
    ("/public/%2e./admin/x", FORBIDDEN),
    ("/public/a/../../admin/x", FORBIDDEN),
    ("/public/a/%2e%2e/b", Ok("/public/b")),
    ("/./admin/x", FORBIDDEN),
    ("/%2e/admin/x", FORBIDDEN),
    ("/public/..", Ok("/")),
    ("/..", REFUSED),
    ("/public/../../admin/x", REFUSED),
    // Several slashes.
    ("//admin/x", FORBIDDEN),
    ("///admin//x", FORBIDDEN),
    ("/public//../admin/x", FORBIDDEN),
    ("/public//a", Ok("/public/a")),
    // Encoded separators.
    ("/public/..%2fadmin/x", REFUSED),
    ("/public%2f..%2fadmin/x", REFUSED),
    ("/public/%2e%2e%2fadmin/x", REFUSED),
    ("/admin%2fx", REFUSED),
    ("/public/..%5cadmin/x", REFUSED),
    ("/public/%5c..%5cadmin/x", REFUSED),
    ("/public\\..\\admin\\x", REFUSED),
    ("/public/..\\admin/x", REFUSED),
    // Encoded twice.
    ("/public/%252e%252e/admin/x", REFUSED),
    ("/public/..%252fadmin/x", REFUSED),
    ("/%2561dmin/x", REFUSED),
    ("/public/100%25", Ok("/public/100%25")),
    // Letters that need no escape.
    ("/%61dmin/x", FORBIDDEN),
    ("/a%64min/%78", FORBIDDEN),
    ("/public/%7euser", Ok("/public/~user")),
    ("/public/%e2%82%ac", Ok("/public/%E2%82%AC")),
    // Another case is another path, and no way around.
    ("/%41DMIN/x", Ok("/ADMIN/x")),
    ("/ADMIN/x", Ok("/ADMIN/x")),
    // Ends of segments.
    ("/adminx", Ok("/adminx")),
    ("/admin", FORBIDDEN),
    ("/admin/", FORBIDDEN),
    ("/admin/.", FORBIDDEN),
    ("/admin/x/..", FORBIDDEN),
    // Parameters of segments.
    ("/admin;x", REFUSED),
    ("/admin;/x", REFUSED),
    ("/public;/../admin/x", FORBIDDEN),
    ("/public/..;/admin/x", REFUSED),
    ("/public/..;a=b/admin/x", REFUSED),
    ("/public/..%3b/admin/x", REFUSED),
    ("/public/.;/x", REFUSED),
    ("/public/a;b=c", Ok("/public/a;b=c")),
    // Query and fragment are no part of a path.
    ("/admin/x?/public/", FORBIDDEN),
    ("/admin/x?/../../public/", FORBIDDEN),
    ("/admin/x%3f/public/", FORBIDDEN),
    ("/admin/x%23/public/", FORBIDDEN),
    // Broken escapes, control characters, what is not UTF-8.
    ("/public/%", REFUSED),
    ("/public/%4", REFUSED),
    ("/public/%zz", REFUSED),
    ("/public/%u002e", REFUSED),
    ("/public/%00", REFUSED),
    ("/admin%00/public", REFUSED),
    ("/public/%0d%0aX-Auth-User:%20root", REFUSED),
    ("/public/%7f", REFUSED),
    ("/public/%ff", REFUSED),
    ("/public/%c0%ae%c0%ae/admin/x", REFUSED),
    ("/public/%c0%af..%c0%afadmin", REFUSED),
    ("/public/%ed%a0%80", REFUSED),
    ("/public/%c2%85", REFUSED),
    // What grows or shrinks when its case is folded.
    ("/public/%c4%b0/../../admin/x", FORBIDDEN),
    ("/public/%e2%84%aa", Ok("/public/%E2%84%AA")),
    // Whole URLs.
    ("https://localhost:8443/public/a", Ok("/public/a")),
    ("https://localhost:8443/public/../admin/x", FORBIDDEN),
    ("https://localhost:8443", Ok("/")),
    ("https://elsewhere.test/public/a", REFUSED),
    ("http://localhost:8444/public/a", REFUSED),
    // What is no path at all.
    ("*", REFUSED),
    ("public/a", REFUSED),
    ("localhost:8443", REFUSED),
    ("?/public/a", REFUSED),
];

fn setting() -> (Upstream, Gate, Client) {
    let upstream = Upstream::answering(|_| response("200 OK", &[], "the application"));
    let gate = Gate::before(&upstream);
    gate.add_user("bob", &[], &[]);
    let client = gate.signed_in("bob");
    (upstream, gate, client)
}

fn get(client: &Client, target: &[u8]) -> Option<Answer> {
    let cookie = client.jar.get(ACCESS).unwrap_or("none");
    let rest = format!(" HTTP/1.1\r\nHost: {HOST}\r\nCookie: {ACCESS}={cookie}\r\n\r\n");
    client.raw([b"GET ", target, rest.as_bytes()].concat())
}

#[test]
fn the_application_receives_the_path_that_was_judged_or_nothing() {
    let (upstream, _gate, client) = setting();
    let mut wrong = Vec::new();
    for (target, expected) in TARGETS {
        let before = upstream.requests().len();
        let status = get(&client, target.as_bytes()).map_or(0, |answer| answer.status);
        let reached = upstream.requests().split_off(before);
        let lines: Vec<_> = reached.iter().map(|request| request.line()).collect();
        let fits = match expected {
            Ok(path) => status == 200 && lines == [format!("GET {path} HTTP/1.1")],
            Err(refused) => status == *refused && lines.is_empty(),
        };
        if !fits {
            wrong.push(format!("{target}: {status} and {lines:?}, not {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} targets:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn no_spelling_of_a_closed_path_comes_through_by_way_of_an_open_one() {
    let (upstream, gate, _bob) = setting();
    let nobody = gate.client();
    for (target, _) in TARGETS {
        let before = upstream.requests().len();
        let answer = get(&nobody, target.as_bytes());
        for request in upstream.requests().split_off(before) {
            let line = request.line();
            assert!(line.starts_with("GET /public/"), "{target} came as {line}");
        }
        assert!(answer.is_some_and(|answer| answer.status != 500), "{target}");
    }
}

#[test]
fn the_most_careless_reader_finds_no_closed_path_in_what_arrives() {
    let (upstream, _gate, client) = setting();
    let dots = ["..", ".", "%2e%2e", ".%2e", "%252e%252e", "..;", "..;x", "%2e%2e%3b", ""];
    let slashes = ["/", "//", "%2f", "\\", "%5c", "%252f", "/;/"];
    let words = ["admin", "%61dmin", "admin;x", "adm%69n", "admin%00"];
    for dot in dots {
        for slash in slashes {
            for word in words {
                let target = format!("/public{slash}{dot}{slash}{word}{slash}x");
                let before = upstream.requests().len();
                get(&client, target.as_bytes());
                for request in upstream.requests().split_off(before) {
                    let line = request.line();
                    let path = line.split(' ').nth(1).unwrap();
                    let read = carelessly(path);
                    assert!(read.first() != Some(&"admin".to_owned()), "{target} came as {path}");
                }
            }
        }
    }
}

/// Segments as an application sees them that decodes twice, takes a backslash for a slash, cuts
/// parameters and what follows NUL, and resolves dots at the end of it all.
fn carelessly(path: &str) -> Vec<String> {
    let decode =
        |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    let path = decode(&decode(path.split('?').next().unwrap())).replace('\\', "/");
    let mut segments = Vec::new();
    for segment in path.split('/') {
        let name = segment.split([';', '\0']).next().unwrap();
        match name {
            "" | "." => {}
            ".." => drop(segments.pop()),
            name => segments.push(name.to_owned()),
        }
    }
    segments
}

#[test]
fn raw_bytes_that_are_not_ascii_are_escaped_or_refused() {
    let (upstream, _gate, client) = setting();
    for (bytes, escaped) in
        [("/public/é", "/public/%C3%A9"), ("/public/\u{130}\u{212a}", "/public/%C4%B0%E2%84%AA")]
    {
        let before = upstream.requests().len();
        let answer = get(&client, bytes.as_bytes()).unwrap();
        let reached = upstream.requests().split_off(before);
        match answer.status {
            200 => assert_eq!(reached[0].line(), format!("GET {escaped} HTTP/1.1")),
            400 => assert!(reached.is_empty()),
            other => panic!("{bytes}: {other}"),
        }
    }
    let before = upstream.requests().len();
    for bytes in [&b"/public/\xff"[..], b"/public/\xc0\xae", b"/public/\x01", b"/public/\x7f"] {
        assert_eq!(get(&client, bytes).unwrap().status, 400, "{bytes:?}");
    }
    assert_eq!(upstream.requests().len(), before);
}

#[test]
fn a_fragment_widens_nothing() {
    let (upstream, gate, client) = setting();
    for who in [&client, &gate.client()] {
        let answer = get(who, b"/admin/x#/../../public/").unwrap();
        assert!(matches!(answer.status, 400 | 401 | 403), "{answer:#?}");
    }
    assert!(upstream.requests().is_empty());
}

#[test]
fn no_field_and_no_agent_changes_what_is_judged() {
    let (upstream, gate, client) = setting();
    let cookie = client.jar.get(ACCESS).unwrap();
    for field in [
        "X-Forwarded-Uri: /public/a",
        "X-Original-URL: /public/a",
        "X-Rewrite-URL: /public/a",
        "X-Forwarded-Prefix: /public",
        "X-Forwarded-Method: OPTIONS",
        "X-HTTP-Method-Override: OPTIONS",
        "X-Forwarded-Host: public.test",
        "X-Middleware-Subrequest: middleware:middleware:middleware",
        "User-Agent: GoogleHC/1.0",
        "User-Agent: kube-probe/1.30",
        "X-Forwarded-For: 127.0.0.1",
        "X-Envoy-Original-Path: /public/a",
        "X-Sallyport: ok",
        "Purpose: prefetch",
        "Upgrade: h2c",
        "Expect: 100-continue",
    ] {
        let ask = |client: &Client, cookie: &str| {
            let head = format!("GET /admin/x HTTP/1.1\r\nHost: {HOST}\r\n{field}\r\n{cookie}\r\n");
            client.raw(head).unwrap().status
        };
        assert_eq!(ask(&client, &format!("Cookie: {ACCESS}={cookie}\r\n")), 403, "{field}");
        assert_eq!(ask(&gate.client(), ""), 401, "{field}");
    }
    assert!(upstream.requests().is_empty());
}

#[test]
fn methods_that_make_a_tunnel_or_an_echo_of_the_gateway_are_refused() {
    let (upstream, _gate, client) = setting();
    for request in [
        format!("TRACE /public/a HTTP/1.1\r\nHost: {HOST}\r\n\r\n"),
        format!("CONNECT {HOST} HTTP/1.1\r\nHost: {HOST}\r\n\r\n"),
        format!("CONNECT /public/a HTTP/1.1\r\nHost: {HOST}\r\n\r\n"),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
    ] {
        let answer = client.raw(&request);
        let status = answer.map_or(0, |answer| answer.status);
        assert!(matches!(status, 0 | 400 | 405 | 505), "{request}: {status}");
    }
    let mut wire = client.h2_wire();
    let taken = frames::ask(&mut wire, &[(":method", "CONNECT"), (":authority", HOST)]);
    assert!(!matches!(taken, Taken::Answered(200)), "{taken:?}");
    assert!(upstream.requests().is_empty());
}

// Hosts.

/// A host that asks for a permission beside one that is open to all.
fn two_hosts() -> (Upstream, Gate) {
    let upstream = Upstream::answering(|_| response("200 OK", &[], "the application"));
    let url = upstream.url();
    let gate = Gate::start(&format!(
        "[[upstream]]\nname = \"app\"\nservers = [\"{url}\"]\n\
         [[route]]\nhost = \"secret.test\"\npath = \"/**\"\n\
         access = {{ permissions = [\"admin\"] }}\n\
         [[route]]\npath = \"/**\"\naccess = \"public\"\n"
    ));
    (upstream, gate)
}

#[test]
fn every_spelling_of_a_host_is_that_host() {
    let (upstream, gate) = two_hosts();
    let client = gate.client();
    for host in [
        "secret.test",
        "SECRET.TEST",
        "Secret.Test",
        "secret.test.",
        "SECRET.TEST.",
        "secret.test:443",
        "secret.test:8443",
        "secret.test.:8443",
        "secret.test:00443",
    ] {
        let answer = client.raw(format!("GET /a HTTP/1.1\r\nHost: {host}\r\n\r\n")).unwrap();
        assert!(matches!(answer.status, 401 | 400), "{host}: {answer:#?}");
    }
    assert!(upstream.requests().is_empty());
    let answer = client.raw("GET /a HTTP/1.1\r\nHost: open.test\r\n\r\n").unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(upstream.requests()[0].field("host"), ["open.test"]);
}

#[test]
fn a_request_that_does_not_name_just_one_host_is_refused() {
    let (upstream, gate) = two_hosts();
    let client = gate.client();
    for (line, hosts) in [
        ("GET /a HTTP/1.1", ""),
        ("GET /a HTTP/1.0", ""),
        ("GET /a HTTP/1.1", "Host: open.test\r\nHost: secret.test\r\n"),
        ("GET /a HTTP/1.1", "Host: open.test\r\nhost: open.test\r\n"),
        ("GET /a HTTP/1.1", "Host: open.test, secret.test\r\n"),
        ("GET /a HTTP/1.1", "Host: open.test secret.test\r\n"),
        ("GET /a HTTP/1.1", "Host:\r\n"),
        ("GET /a HTTP/1.1", "Host: \t\r\n"),
        ("GET /a HTTP/1.1", "Host: secret.test@open.test\r\n"),
        ("GET /a HTTP/1.1", "Host: open.test/secret.test\r\n"),
        ("GET /a HTTP/1.1", "Host: open.test#\r\n"),
        ("GET /a HTTP/1.1", "Host: open.test?\r\n"),
        ("GET /a HTTP/1.1", "Host: open.test\\secret.test\r\n"),
        ("GET /a HTTP/1.1", "Host: open..test\r\n"),
        ("GET /a HTTP/1.1", "Host: .open.test\r\n"),
        ("GET /a HTTP/1.1", "Host: open.test:\x00\r\n"),
        ("GET /a HTTP/1.1", "Host: open.test:99999\r\n"),
        ("GET /a HTTP/1.1", "Host: open.test:-1\r\n"),
        ("GET /a HTTP/1.1", "Host: open.test:80:443\r\n"),
        ("GET /a HTTP/1.1", "Host: [::1\r\n"),
        ("GET /a HTTP/1.1", "Host: %6fpen.test\r\n"),
        ("GET /a HTTP/1.1", "Host: \u{130}.test\r\n"),
        ("GET /a HTTP/1.1", "Host: secret\u{3002}test\r\n"),
        ("GET https://open.test/a HTTP/1.1", "Host: secret.test\r\n"),
        ("GET https://secret.test/a HTTP/1.1", "Host: open.test\r\n"),
        ("GET https://open.test:444/a HTTP/1.1", "Host: open.test\r\n"),
        ("GET https://user@open.test/a HTTP/1.1", "Host: open.test\r\n"),
    ] {
        let answer = client.raw(format!("{line}\r\n{hosts}\r\n")).unwrap();
        assert_eq!(answer.status, 400, "{line} {hosts:?}: {answer:#?}");
    }
    assert!(upstream.requests().is_empty(), "{:#?}", upstream.requests());
}

#[test]
fn a_whole_url_as_target_is_judged_by_its_own_host() {
    let (upstream, gate) = two_hosts();
    let client = gate.client();
    let ask = |host: &str| {
        let head = format!("GET https://{host}/a HTTP/1.1\r\nHost: {host}\r\n\r\n");
        client.raw(head).unwrap().status
    };
    assert_eq!(ask("secret.test"), 401);
    assert!(upstream.requests().is_empty());
    assert_eq!(ask("open.test"), 200);
    let received = &upstream.requests()[0];
    assert_eq!(
        (received.line(), received.field("host")),
        ("GET /a HTTP/1.1".into(), vec!["open.test".to_owned()])
    );
}

#[test]
fn http2_has_one_host_and_an_absolute_path_too() {
    let (upstream, gate) = two_hosts();
    let client = gate.client();
    let base = |path, authority| {
        vec![(":method", "GET"), (":scheme", "https"), (":path", path), (":authority", authority)]
    };
    let ask = |fields: &[(&str, &str)]| frames::ask(&mut client.h2_wire(), fields);
    assert_eq!(ask(&base("/a", "open.test")), Taken::Answered(200));
    let answered = upstream.requests().len();
    assert_eq!(answered, 1);
    for (path, authority) in [
        ("a", "open.test"),
        ("public/a", "open.test"),
        ("", "open.test"),
        ("*", "open.test"),
        ("/..", "open.test"),
        ("/a b", "open.test"),
        ("/a", "secret.test@open.test"),
        ("/a", "secret.test"),
        ("/a", "SECRET.TEST."),
    ] {
        let taken = ask(&base(path, authority));
        assert!(!matches!(taken, Taken::Answered(200)), "{path} {authority}: {taken:?}");
    }
    for further in [
        ("host", "secret.test"),
        ("connection", "close"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "websocket"),
        ("te", "gzip"),
        ("X-Upper", "case"),
        ("x-split", "a\r\nX-Auth-User: root"),
        (":path", "/b"),
        (":unknown", "x"),
    ] {
        let mut fields = base("/a", "open.test");
        fields.push(further);
        let taken = ask(&fields);
        assert!(!matches!(taken, Taken::Answered(200)), "{further:?}: {taken:?}");
    }
    assert_eq!(upstream.requests().len(), answered, "{:#?}", upstream.requests());
}

#[test]
fn an_escaped_delimiter_is_no_way_round_a_route() {
    let upstream = Upstream::answering(|request| response("200 OK", &[], &request.line()));
    let gate = Gate::start(&format!(
        "[[upstream]]\nname = \"app\"\nservers = [\"{}\"]\n\
         [[route]]\npath = \"/admin!/**\"\n\
         [[route]]\npath = \"/b@c/**\"\n\
         [[route]]\npath = \"/**\"\naccess = \"public\"\n",
        upstream.url()
    ));
    let mut client = gate.client();
    for (path, status) in [
        ("/admin!/x", 401),
        ("/admin%21/x", 400),
        ("/b%40c/x", 400),
        ("/b@c/x", 401),
        // Elsewhere either spelling is what it is.
        ("/files/a%21b%40c", 200),
        ("/files/a!b@c", 200),
    ] {
        let answer = client.get(path);
        assert_eq!(answer.status, status, "{path}: {answer:#?}");
        if status == 200 {
            assert_eq!(answer.text(), format!("GET {path} HTTP/1.1"), "as it was sent");
        }
    }
}

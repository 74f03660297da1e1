//! Whatever bytes a client sends: each request that the application receives is one that was judged,
//! with the method, host and path that were judged, written in one strict form; and nothing of a body
//! becomes a request.

use std::collections::HashMap;
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::Value;

use crate::harness::{Client, Gate, HOST, Request, Upstream, frames, response, thoroughness};

/// Stands in the path of each request that is hidden in a body.
const HIDDEN: &str = "/open/hidden";

/// How many clients there are at once: most of what is broken ends by a limit of time.
const AT_ONCE: usize = 16;

fn method() -> impl Strategy<Value = &'static str> {
    let plain = vec!["GET", "GET", "POST", "POST", "PUT", "HEAD", "OPTIONS", "DELETE", "PROPFIND"];
    let odd = vec!["get", "CONNECT", "TRACE", "G ET", ""];
    prop_oneof![12 => prop::sample::select(plain), 1 => prop::sample::select(odd)]
}

fn target() -> impl Strategy<Value = String> {
    let plain = vec!["a", "b%20c", "/", "open", "get", "~", "!", "?q=1"];
    let odd = prop::sample::select(vec![
        "/", "/", "//", "a", "b%20c", "..", ".", "%2e%2e", "%2f", "%5c", "\\", ";x=1", "%3b",
        "%00", "%", "%2", "%25", "%C3%A9", "\u{e9}", "open", "shut", "get", "~", "!", "?q=1",
        "?/shut/", "#", "*", "@", ":", " ", "\t", "%09", "%0d%0a",
    ]);
    let start = prop::sample::select(vec![
        "/open/",
        "/open/",
        "/open/",
        "/shut/",
        "/get/",
        "/open",
        "/",
        "",
        "*",
        "//open/",
        "https://localhost:8443/open/",
        "http://evil.test/open/",
        "/open/../shut/",
        "/shut/../open/",
    ]);
    let piece = prop_oneof![3 => prop::sample::select(plain), 1 => odd];
    (prop_oneof![3 => Just("/open/"), 2 => start], prop::collection::vec(piece, 0..4))
        .prop_map(|(start, pieces)| format!("{start}{}", pieces.concat()))
}

fn version() -> impl Strategy<Value = &'static str> {
    let odd = vec![" HTTP/1.0", " HTTP/1.2", " HTTP/2.0", "", " HTTP/1.1 ", "  HTTP/1.1"];
    prop_oneof![20 => Just(" HTTP/1.1"), 2 => prop::sample::select(odd)]
}

fn host() -> impl Strategy<Value = String> {
    let odd = vec![
        "",
        "Host: \r\n",
        "Host: evil.test\r\n",
        "Host: localhost\r\nHost: evil.test\r\n",
        "Host: localhost:8443/shut\r\n",
        "Host: a b\r\n",
        "Host : localhost:8443\r\n",
        " Host: localhost:8443\r\n",
        "Host: LOCALHOST:8443\r\n",
        "Host: [::1]\r\n",
    ];
    prop_oneof![
        12 => Just(format!("Host: {HOST}\r\n")),
        3 => prop::sample::select(odd).prop_map(str::to_owned),
    ]
}

fn field() -> impl Strategy<Value = String> {
    prop_oneof![
        1 => prop::sample::select(vec![
            "X-Auth-User: root\r\n",
            "x_auth_user: root\r\n",
            "X.Auth.Id: 1\r\n",
            "Connection: close\r\n",
            "Connection: x-auth-user, host\r\n",
            "Connection: keep-alive\r\n",
            "Forwarded: for=1.2.3.4\r\n",
            "X-Forwarded-For: 1.2.3.4\r\n",
            "X-Forwarded-Host: evil\r\n",
            "Cookie: a=b\r\n",
            "Expect: 100-continue\r\n",
            "Expect: other\r\n",
            "TE: trailers\r\n",
            "Upgrade: websocket\r\n",
            "Connection: upgrade\r\nUpgrade: websocket\r\n",
            "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
            "Via: 1.1 somebody\r\n",
            "Max-Forwards: 0\r\n",
            "X-HTTP-Method-Override: DELETE\r\n",
            "X-Original-URL: /shut/\r\n",
            "X: y\r\n z\r\n",
            "X: y\rZ: 1\r\n",
            "X: y\nZ: 1\r\n",
            ": x\r\n",
            "X\r\n",
            "X Y: z\r\n",
            "X: \u{0}\r\n",
            "Trailer: X-Auth-User\r\n",
        ])
        .prop_map(str::to_owned),
        3 => "[a-zA-Z_.-]{1,12}: [ -~]{0,20}\r\n",
    ]
}

/// How a body is framed, so that no reading of it lets its end be a request: the fields, and the body
/// with what it hides.
fn framing() -> impl Strategy<Value = (String, String)> {
    let hidden = format!("GET {HIDDEN} HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    let length = hidden.len();
    let chunk = format!("{length:x}\r\n{hidden}\r\n0\r\n\r\n");
    let trailers = format!(
        "{length:x}\r\n{hidden}\r\n0\r\nX-Sum: 1\r\nX-Auth-User: root\r\nX_Auth_User: root\r\n\
         Host: evil.test\r\nCookie: a=b\r\nContent-Length: 9\r\n\r\n"
    );
    let ends = format!("0\r\n\r\n{hidden}");
    let both = [
        // Either reading is a whole body, and what is behind the shorter one must not be a request.
        format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n", ends.len()),
        format!("Transfer-Encoding: chunked\r\nContent-Length: {}\r\n", ends.len()),
        format!(
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\nContent-Length: {}\r\n",
            ends.len()
        ),
        format!("Content-Length: 5\r\nContent-Length: {}\r\n", ends.len()),
        format!("Content-Length: {}, 5\r\n", ends.len()),
        format!("Transfer-Encoding : chunked\r\nContent-Length: {}\r\n", ends.len()),
        format!("Transfer-Encoding:\u{b}chunked\r\nContent-Length: {}\r\n", ends.len()),
        "Transfer-Encoding: xchunked\r\n".to_owned(),
        "Transfer-Encoding: gzip, chunked, gzip\r\n".to_owned(),
        "Content-Length: +5\r\n".to_owned(),
        "Content-Length: 0x5\r\n".to_owned(),
    ];
    prop_oneof![
        4 => Just((String::new(), String::new())),
        4 => Just((format!("Content-Length: {length}\r\n"), hidden)),
        4 => Just(("Transfer-Encoding: chunked\r\n".to_owned(), chunk)),
        3 => Just((
            "Transfer-Encoding: chunked\r\nTrailer: X-Sum, X-Auth-User\r\n".to_owned(),
            trailers,
        )),
        6 => prop::sample::select(both.to_vec()).prop_map(move |fields| (fields, ends.clone())),
    ]
}

/// One request, as bytes that may or may not be one.
fn request() -> impl Strategy<Value = String> {
    let fields = prop::collection::vec(field(), 0..3).prop_map(|fields| fields.concat());
    (method(), target(), version(), host(), fields, framing()).prop_map(
        |(method, target, version, host, fields, (framing, body))| {
            format!("{method} {target}{version}\r\n{host}{fields}{framing}\r\n{body}")
        },
    )
}

/// A connection's bytes as they were made.
fn made_well() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(request(), 1..3).prop_map(|requests| {
        // So that most connections end by themselves.
        let end = format!("GET /open/end HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
        [requests.concat(), end].concat().into_bytes()
    })
}

/// The same with some bytes changed, put in and taken out.
fn harmed() -> impl Strategy<Value = Vec<u8>> {
    let harm = (any::<prop::sample::Index>(), any::<u8>(), 0..4_u8);
    (made_well(), prop::collection::vec(harm, 1..4)).prop_map(|(mut bytes, harms)| {
        for (place, byte, what) in &harms {
            let at = place.index(bytes.len());
            match what {
                0 => bytes[at] = *byte,
                1 => bytes.insert(at, *byte),
                2 => drop(bytes.remove(at)),
                _ => bytes.insert(at, b"\r\n :"[usize::from(byte % 4)]),
            }
        }
        bytes
    })
}

fn gate(upstream: &Upstream, log: &std::path::Path) -> Gate {
    Gate::start(&format!(
        "[limits]\nkeep_alive_timeout = \"1s\"\nbody_stall_timeout = \"1s\"\n\
         header_timeout = \"1s\"\nown_body_timeout = \"1s\"\n\
         [log]\nformat = \"json\"\naccess = {{ file = \"{}\" }}\n\
         [[upstream]]\nname = \"app\"\nservers = [\"{}\"]\n\
         [[route]]\npath = \"/open/**\"\naccess = \"public\"\n\
         [[route]]\npath = \"/get/**\"\nmethods = [\"GET\"]\naccess = \"public\"\n\
         [[route]]\npath = \"/shut/**\"\n",
        log.display(),
        upstream.url()
    ))
}

/// Sends each on a connection of its own, and returns how many answers came from the application.
fn send(client: &Client, all: &[Vec<u8>]) -> usize {
    let next = AtomicUsize::new(0);
    let one_by_one = |client: Client| {
        let mut marks = 0;
        while let Some(bytes) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
            let mut wire = client.wire();
            // It may be refused, and closed, before all is sent.
            drop(wire.send(bytes));
            marks += wire.rest().windows(MARK.len()).filter(|part| *part == MARK).count();
        }
        marks
    };
    thread::scope(|scope| {
        let clients: Vec<_> = (0..AT_ONCE)
            .map(|_| {
                let client = client.twin();
                scope.spawn(|| one_by_one(client))
            })
            .collect();
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    })
}

/// Stands in the head of each answer of the application.
const MARK: &[u8] = b"\r\nx-mark: ";

fn application() -> Upstream {
    Upstream::answering(|_| response("200 OK", &["X-Mark: 1"], ""))
}

fn one_hop() -> (Vec<String>, Vec<String>) {
    (vec!["trailers".to_owned()], vec!["te".to_owned()])
}

/// A request as a strict reader knows it. Panics at anything that another reader could take
/// otherwise.
fn strictly(request: &Request) -> (String, String) {
    let head = String::from_utf8_lossy(&request.head).into_owned();
    let lines: Vec<&str> = head.strip_suffix("\r\n\r\n").unwrap().split("\r\n").collect();
    for line in &lines {
        assert!(!line.contains(['\r', '\n', '\0']), "{head:?}");
    }
    let words: Vec<&str> = lines[0].split(' ').collect();
    let [method, target, "HTTP/1.1"] = words[..] else { panic!("{head:?}") };
    let token = |text: &str| {
        let odd = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        !text.is_empty() && text.bytes().all(odd)
    };
    assert!(token(method), "{head:?}");
    let path = target.split('?').next().unwrap();
    let mut count = HashMap::<String, usize>::new();
    for line in &lines[1..] {
        let (name, _) = line.split_once(": ").unwrap_or_else(|| panic!("{head:?}"));
        assert!(token(name) && !name.contains(['_', '.']), "{name:?} in {head:?}");
        *count.entry(name.to_ascii_lowercase()).or_default() += 1;
    }
    let of = |name: &str| count.get(name).copied().unwrap_or_default();
    assert_eq!(of("host"), 1, "{head:?}");
    assert!(of("content-length") + of("transfer-encoding") <= 1, "{head:?}");
    assert!(!count.keys().any(|name| name.starts_with("x-auth-")), "{head:?}");
    for name in ["keep-alive", "expect", "proxy-connection"] {
        assert_eq!(of(name), 0, "{name} in {head:?}");
    }
    // What is of this hop is ours.
    if of("te") > 0 {
        assert_eq!((request.field("te"), request.field("connection")), one_hop(), "{head:?}");
    }
    // Ours, where there can be any, and with nothing in it that may not come.
    assert!(of("trailer") <= of("transfer-encoding"), "{head:?}");
    let announced = request.field("trailer").join(",").to_ascii_lowercase();
    assert!(!announced.split(',').any(|name| name.trim().starts_with("x-auth-")), "{head:?}");
    for line in request.trailers.lines().filter(|line| !line.is_empty()) {
        let (name, _) = line.split_once(": ").unwrap_or_else(|| panic!("{line:?}"));
        assert!(token(name) && !name.contains(['_', '.']), "{line:?}");
        assert!(!name.starts_with("x-auth-") && name != "host" && name != "cookie", "{line:?}");
    }
    if of("connection") + of("upgrade") > 0 && of("te") == 0 {
        assert_eq!(request.field("connection"), ["upgrade"], "{head:?}");
        assert_eq!(request.field("upgrade"), ["websocket"], "{head:?}");
        assert_eq!(of("content-length") + of("transfer-encoding"), 0, "{head:?}");
        assert_eq!(method, "GET");
    }
    // One form for one path.
    let plain = |segment: &str| {
        !matches!(segment, "." | "..") && !segment.contains(['\\', '#', '?', '\u{0}'])
    };
    assert!(path.starts_with('/') && path.split('/').all(plain), "{head:?}");
    assert!(!path.contains("//"), "{head:?}");
    let folded = path.to_ascii_lowercase();
    for odd in ["%2e", "%2f", "%5c", "%00", "%0d", "%0a", "%252e", "%252f", "%255c"] {
        assert!(!folded.contains(odd), "{odd} in {head:?}");
    }
    (method.to_owned(), path.to_owned())
}

/// What the log says was judged and forwarded, by the request's id.
fn judged(log: &str) -> HashMap<String, Value> {
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let forwarded = lines.filter(|line| line.get("upstream").is_some());
    forwarded.map(|line| (line["request_id"].as_str().unwrap().to_owned(), line)).collect()
}

/// Each request at the application is one that was judged so, and each only once.
fn compare(received: &[Request], log: &str) {
    let mut judged = judged(log);
    for request in received {
        let (method, path) = strictly(request);
        let id = request.field("x-request-id");
        let line = judged
            .remove(&id[0])
            .unwrap_or_else(|| panic!("nobody judged this, or it was judged once: {request:?}"));
        let said = |name: &str| line[name].as_str().unwrap().to_owned();
        assert_eq!((said("method"), said("path")), (method.clone(), path.clone()), "{request:?}");
        // The log has it as it was sent.
        let host = said("host").to_ascii_lowercase();
        let host = host.strip_suffix(":443").unwrap_or(&host);
        assert_eq!(host, request.field("host")[0], "{line} {request:?}");
        // And judged rightly: nobody has signed in.
        let open = path == "/open" || path.starts_with("/open/");
        let get = matches!(method.as_str(), "GET" | "HEAD")
            && (path == "/get" || path.starts_with("/get/"));
        assert!(open || get, "{request:?}");
    }
}

fn made<T: std::fmt::Debug>(strategy: impl Strategy<Value = T>, count: usize) -> Vec<T> {
    let mut runner = TestRunner::default();
    (0..count).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect()
}

#[test]
fn whatever_is_sent_the_application_receives_what_was_judged_and_nothing_else() {
    let upstream = application();
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("access.log");
    let gate = gate(&upstream, &log);
    let all = made(made_well(), thoroughness(400));
    let mut marks = send(&gate.client(), &all);
    let received = upstream.requests();
    assert!(received.len() > all.len() / 3, "{} of {}", received.len(), all.len());
    let hidden: Vec<_> = received.iter().filter(|one| one.line().contains(HIDDEN)).collect();
    assert!(hidden.is_empty(), "{hidden:#?}");
    // Of what is harmed nobody can say what is a body.
    marks += send(&gate.client(), &made(harmed(), thoroughness(400)));
    drop(gate);
    let received = upstream.requests();
    assert!(marks <= received.len(), "{marks} answers to {} requests", received.len());
    compare(&received, &fs::read_to_string(&log).unwrap());
}

/// The fields of a request of HTTP/2, of which some may be what none can be.
fn fields_of_http2() -> impl Strategy<Value = Vec<(&'static str, &'static str)>> {
    let text = prop::sample::select(vec![
        "",
        "a",
        "GET",
        "POST",
        "/open/a",
        "/open/a b",
        "/open/a\r\nX: y",
        "/open/../shut/a",
        "/shut/a",
        "/open/a#b",
        "*",
        "https",
        "http",
        "localhost:8443",
        "evil.test",
        "a\0b",
        "trailers",
        "close",
        "chunked",
        "5",
        "root",
        " x",
        "x ",
        "GET /shut/ HTTP/1.1\r\n\r\n",
        "\u{e9}",
    ]);
    let name = prop::sample::select(vec![
        ":method",
        ":path",
        ":scheme",
        ":authority",
        ":protocol",
        ":status",
        ":x",
        "host",
        "Host",
        "te",
        "connection",
        "transfer-encoding",
        "content-length",
        "upgrade",
        "x",
        "X",
        "x y",
        "x:",
        "",
        "x-auth-user",
        "x_auth_user",
        "cookie",
        "expect",
        "x\r\nx-auth-user",
    ]);
    let request =
        [(":method", "GET"), (":scheme", "https"), (":authority", HOST), (":path", "/open/a")];
    // A good request of which something is replaced, or to which something is added.
    let change = (0..6_usize, name, text, any::<bool>());
    prop::collection::vec(change, 0..3).prop_map(move |changes| {
        let mut fields = request.to_vec();
        for (at, name, text, value_only) in changes {
            match fields.get_mut(at) {
                Some(field) if value_only => field.1 = text,
                Some(field) => *field = (name, text),
                None => fields.push((name, text)),
            }
        }
        fields
    })
}

#[test]
fn what_http2_can_say_and_http1_cannot_never_comes_through() {
    let upstream = application();
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("access.log");
    let gate = gate(&upstream, &log);
    let client = gate.client();
    for fields in made(fields_of_http2(), thoroughness(200)) {
        let before = upstream.requests().len();
        let taken = frames::ask(&mut client.h2_wire(), &fields);
        let further = upstream.requests().len() - before;
        assert!(further <= 1, "{fields:?}: {taken:?}");
    }
    drop(gate);
    let received = upstream.requests();
    assert!(!received.is_empty());
    compare(&received, &fs::read_to_string(&log).unwrap());
}

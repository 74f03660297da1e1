//! How connections end without a request being lost: after so many, and when the gateway stops.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::thread;

use crate::harness::{
    Answer, Client, Gate, HOST, PATIENCE, Process, ROUTES, Upstream, Wire, curl, frames, response,
};

const LISTEN: &str = "[listen]\nhttps = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\ncores = 2\n\
    http = \"127.0.0.1:0\"\npublic_url = \"https://localhost:8443\"\n";

fn application() -> Upstream {
    Upstream::answering(|_| response("200 OK", &[], "the application"))
}

fn start(folder: &Path, upstream: &Upstream, listen: &str) -> Process {
    let url = upstream.url();
    let text =
        format!("{LISTEN}{listen}\n[[upstream]]\nname = \"app\"\nservers = [\"{url}\"]\n{ROUTES}");
    Process::configure(folder, &text);
    Process::start(folder)
}

fn get(wire: &mut Wire, path: &str) -> Answer {
    wire.send(format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).unwrap();
    wire.answer("GET").unwrap().unwrap()
}

fn plain(process: &Process) -> SocketAddr {
    process.address_of("http, leads to https")
}

#[test]
fn a_connection_has_so_many_requests_and_the_last_answer_says_so() {
    let upstream = application();
    let gate = Gate::with(&upstream, "[limits]\nrequests_per_connection = 3\n");
    let mut wire = gate.client().wire();
    for closes in [false, false, true] {
        let answer = get(&mut wire, "/public/a");
        assert_eq!(answer.status, 200);
        assert_eq!(answer.field("connection").contains(&"close"), closes, "{answer:#?}");
    }
    wire.must_close();
    // Over HTTP/2 whoever has asked more by then is answered too.
    let (answered, told) = frames::ask_often(&mut gate.client().h2_wire(), "/public/a", 5);
    assert_eq!((answered, told), (5, true));
    let (answered, told) = frames::ask_often(&mut gate.client().h2_wire(), "/public/a", 2);
    assert_eq!((answered, told), (2, false));
}

#[test]
fn a_connection_that_waits_is_told_with_its_next_answer_that_the_gateway_stops() {
    let upstream = application();
    let folder = tempfile::tempdir().unwrap();
    let mut process = start(folder.path(), &upstream, "");
    let (mut used, mut fresh) = (process.client().wire(), process.client().wire());
    let quiet = process.client().wire();
    assert_eq!(get(&mut used, "/public/a").status, 200);
    // Its handshake is done, and it has asked nothing.
    fresh.send("").unwrap();
    fresh.handshake().unwrap();
    process.terminate();
    process.err.wait_for("stopping: no more");
    for wire in [&mut used, &mut fresh] {
        let answer = get(wire, "/public/b");
        assert_eq!((answer.status, answer.one("connection")), (200, "close"));
    }
    used.must_close();
    fresh.must_close();
    drop(quiet);
    assert_eq!(process.wait().code(), Some(0), "{}", process.err.text());
}

#[test]
fn under_load_no_request_is_lost_when_the_gateway_stops() {
    let upstream = application();
    let folder = tempfile::tempdir().unwrap();
    let mut process = start(folder.path(), &upstream, "drain_delay = \"500ms\"\n");
    // Asks until nobody takes a connection any more, and heeds what the answers say of theirs.
    let ask_on = |client: Client| {
        let mut answered = 0;
        while let Ok(mut wire) = client.try_wire() {
            loop {
                let answer = get(&mut wire, "/public/a");
                assert_eq!(answer.text(), "the application");
                answered += 1;
                if answer.field("connection").contains(&"close") {
                    break;
                }
            }
        }
        answered
    };
    thread::scope(|scope| {
        let clients: Vec<_> = (0..8)
            .map(|_| {
                let client = process.client();
                scope.spawn(move || ask_on(client))
            })
            .collect();
        upstream.wait_for(100);
        process.terminate();
        for client in clients {
            assert!(client.join().unwrap() > 1);
        }
    });
    assert_eq!(process.wait().code(), Some(0), "{}", process.err.text());
}

#[test]
fn who_has_connected_before_the_gateway_stops_is_answered() {
    let upstream = application();
    let folder = tempfile::tempdir().unwrap();
    let mut process = start(folder.path(), &upstream, "");
    let mut first = process.client().wire();
    assert_eq!(get(&mut first, "/public/a").status, 200);
    drop(first);
    let plain = plain(&process);
    // The system takes them for the gateway, which sleeps.
    process.pause();
    let wires: Vec<_> = (0..20).map(|_| process.client().wire()).collect();
    let mut shown = TcpStream::connect(plain).unwrap();
    shown.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(shown, "GET /a HTTP/1.1\r\nHost: {HOST}\r\n\r\n").unwrap();
    process.terminate();
    thread::scope(|scope| {
        let asked: Vec<_> = wires
            .into_iter()
            .map(|mut wire| scope.spawn(move || get(&mut wire, "/public/b")))
            .collect();
        process.resume();
        for answer in asked {
            assert_eq!(answer.join().unwrap().text(), "the application");
        }
    });
    let mut way = String::new();
    shown.read_to_string(&mut way).unwrap();
    assert!(way.starts_with("HTTP/1.1 308 "), "{way}");
    assert_eq!(process.wait().code(), Some(0), "{}", process.err.text());
}

#[test]
fn the_way_to_https_is_shown_for_as_long_as_the_gateway_accepts() {
    let upstream = application();
    let folder = tempfile::tempdir().unwrap();
    let mut process = start(folder.path(), &upstream, "drain_delay = \"3s\"\n");
    let plain = plain(&process);
    process.terminate();
    process.err.wait_for("stopping soon");
    assert_eq!(curl(&[&format!("http://{plain}/a")]).status, 308);
    assert_eq!(process.wait().code(), Some(0), "{}", process.err.text());
    assert!(TcpStream::connect(plain).is_err());
}

#[test]
fn an_answer_without_a_length_to_http_1_0_says_that_it_ends_with_its_connection() {
    let upstream = Upstream::answering(|request| match request.line().contains("/known") {
        true => response("200 OK", &[], "known"),
        false => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\nunknown\r\n0\r\n\r\n"
            .to_vec(),
    });
    let gate = Gate::with(&upstream, "");
    let mut wire = gate.client().wire();
    for (path, connection, body) in
        [("/public/known", "keep-alive", "known"), ("/public/a", "close", "unknown")]
    {
        wire.send(format!("GET {path} HTTP/1.0\r\nHost: {HOST}\r\nConnection: keep-alive\r\n\r\n"))
            .unwrap();
        let answer = wire.answer("GET").unwrap().unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, body));
        assert_eq!(answer.field("connection"), [connection], "{answer:#?}");
        assert!(answer.field("transfer-encoding").is_empty(), "RFC 9112 section 6.1");
    }
    wire.must_close();
}

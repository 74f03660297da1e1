//! What takes connections and time instead of guessing: each kind meets its limit, and others go on
//! being served.

use std::io::{Read, Write};
use std::net::TcpStream;

use sallyport::clock::Stopwatch;

use crate::harness::frames::{
    HEADERS, PREFACE, SETTINGS, WHOLE, carry_nothing, frame, reset_often,
};
use crate::harness::{Gate, HOST, PATIENCE, Process, ROUTES, Taken, Upstream, Wire, response};

fn gate(upstream: &Upstream, limits: &str, app: &str) -> Gate {
    Gate::start(&format!(
        "[limits]\n{limits}\n[[upstream]]\nname = \"app\"\nservers = [\"{}\"]\n{app}\n\
         [[route]]\npath = \"/**\"\naccess = \"public\"\n",
        upstream.url()
    ))
}

fn application() -> Upstream {
    Upstream::answering(|_| response("200 OK", &[], "the application"))
}

/// Whether the gateway answers on this connection.
fn is_served(wire: &mut Wire) -> bool {
    wire.send(format!("GET /a HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).is_ok()
        && matches!(wire.answer("GET"), Ok(Some(answer)) if answer.status == 200)
}

#[test]
fn all_have_so_many_connections_at_once_and_one_network_has_and_places_are_given_back() {
    for limit in ["connections = 2", "connections_per_network = 2"] {
        let upstream = application();
        let gate = gate(&upstream, limit, "");
        let client = gate.client();
        let (mut first, mut second) = (client.wire(), client.wire());
        assert!(is_served(&mut first) && is_served(&mut second));
        assert!(!is_served(&mut client.wire()), "one too many");
        assert!(is_served(&mut first), "those that were there go on");
        drop(first);
        let waited = Stopwatch::start();
        while !is_served(&mut client.wire()) {
            assert!(waited.elapsed() < PATIENCE, "the place is not given back");
        }
        let text = String::from_utf8(gate.admin("/metrics").body).unwrap();
        let mut lines = text.lines();
        let refused = lines.find(|line| line.starts_with("sallyport_connections_refused_total"));
        assert!(refused.is_some_and(|line| !line.ends_with(" 0")), "{text}");
    }
}

#[test]
fn a_handshake_that_does_not_go_on_is_cut_off_in_time() {
    let upstream = application();
    let gate = gate(&upstream, "handshake_timeout = \"100ms\"", "");
    // Nothing at all, and the beginning of a record that never ends.
    for begun in [&b""[..], &[22, 3, 1, 2, 0, 1]] {
        let mut socket = TcpStream::connect(gate.address()).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.write_all(begun).unwrap();
        let mut rest = Vec::new();
        // However it is closed, it is closed.
        drop(socket.read_to_end(&mut rest));
        assert!(is_served(&mut gate.client().wire()));
    }
}

#[test]
fn streams_that_are_reset_without_end_end_their_connection_and_harm_nobody() {
    // It never answers: a stream lives until it is reset.
    let upstream = Upstream::play(|connection| {
        while connection.request()?.is_some() {}
        Ok(())
    });
    let gate = gate(&upstream, "", "");
    let mut wire = gate.client().h2_wire();
    assert_eq!(reset_often(&mut wire, 20_000), Taken::Ended);
    // Answered by the gateway alone.
    let mut client = gate.client();
    assert_eq!(client.get("/.well-known/jwks.json").status, 200);
}

#[test]
fn frames_that_carry_nothing_end_their_connection_and_a_few_of_them_do_not() {
    let upstream = application();
    let gate = gate(&upstream, "h2_empty_frames = 100", "");
    assert_eq!(carry_nothing(&mut gate.client().h2_wire(), 90), Taken::Answered(200));
    assert_eq!(carry_nothing(&mut gate.client().h2_wire(), 110), Taken::Ended);
    assert_eq!(gate.client().get("/a").status, 200);
}

#[test]
fn how_many_streams_a_client_may_reset_is_a_setting() {
    let upstream = application();
    let (strict, lax) = (gate(&upstream, "h2_resets = 10", ""), gate(&upstream, "", ""));
    assert_eq!(reset_often(&mut strict.client().h2_wire(), 11), Taken::Ended);
    assert_eq!(reset_often(&mut lax.client().h2_wire(), 12), Taken::Answered(200));
}

#[test]
fn who_takes_too_much_is_named_in_the_log() {
    let upstream = application();
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "[limits]\nconnections_per_network = 2\nh2_resets = 10\n\
         [[upstream]]\nname = \"app\"\nservers = [\"{}\"]\n{ROUTES}",
        upstream.url()
    );
    Process::configure(folder.path(), &text);
    let process = Process::start(folder.path());
    assert_eq!(reset_often(&mut process.client().h2_wire(), 20), Taken::Ended);
    let line = process.err.wait_for("an HTTP/2 connection is cut off");
    assert!(line.contains("127.0.0.1") && line.contains("limits.h2_resets"), "{line}");
    // What h2 judges by itself, such as resets that come faster than requests are served.
    let broken = [PREFACE, &frame(SETTINGS, 0, 0, &[]), &frame(HEADERS, WHOLE, 1, &[0xff; 8])];
    let mut wire = process.client().h2_wire();
    wire.send(broken.concat()).unwrap();
    let line = process.err.wait_for("a connection was ended for what came on it");
    assert!(line.contains("127.0.0.1") && line.contains("error"), "{line}");
    drop(wire);
    let held: Vec<_> = (0..10).map(|_| process.client().wire()).collect();
    let line = process.err.wait_for("connections are closed at once");
    assert!(line.contains("127.0.0.1") && line.contains("connections_per_network"), "{line}");
    drop(held);
    let told = process.err.text();
    assert_eq!(told.matches("are closed at once").count(), 1, "{told}");
}

#[test]
fn an_application_that_says_nothing_or_no_http_is_given_up_and_said_so() {
    let silent = Upstream::play(|connection| {
        while connection.request()?.is_some() {}
        Ok(())
    });
    let timeout = "first_byte_timeout = \"100ms\"";
    let answer = gate(&silent, "", timeout).client().get("/a");
    assert_eq!(answer.verdict(), (504, "upstream_timeout".to_owned()));
    for nonsense in ["SSH-2.0-OpenSSH_9.9\r\n\r\n", "HTTP/1.1 9999 No\r\n\r\n", "\0\0\0"] {
        let other = Upstream::play(move |connection| {
            connection.request()?;
            connection.send(nonsense.as_bytes())
        });
        let answer = gate(&other, "", "").client().get("/a");
        assert_eq!(answer.status, 502, "{nonsense:?}: {answer:#?}");
    }
}

//! Applications that break the protocol of HTTP/2: as over HTTP/1.1, each gives a 502 or an answer that
//! is seen to break off, and hurts nobody else.

use std::io;
use std::sync::{Arc, Mutex, mpsc};

use crate::harness::frames::{
    DATA, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS, WINDOW_UPDATE, frame, literals,
};
use crate::harness::{Connection, Gate, HOST, PATIENCE, Upstream};

const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const WHOLE: u8 = END_STREAM | END_HEADERS;

/// Waits for the next request; its stream.
fn asked(connection: &mut Connection) -> io::Result<u32> {
    loop {
        let head = connection.bytes(9)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let payload = connection.bytes(usize::try_from(length).unwrap())?;
        match head[3] {
            HEADERS => return Ok(u32::from_be_bytes([head[5], head[6], head[7], head[8]])),
            PING if head[4] == 0 => connection.send(&frame(PING, 1, 0, &payload))?,
            _ => {}
        }
    }
}

fn head(stream: u32, flags: u8, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, flags | END_HEADERS, stream, &literals(fields))
}

/// An application whose answer to everything are these frames, made for the stream.
type Answer = fn(u32) -> Vec<Vec<u8>>;

/// An application that answers as it is told at the time, over as many connections as it takes.
fn application(answer: &Arc<Mutex<Answer>>) -> Upstream {
    let answer = Arc::clone(answer);
    Upstream::play(move |connection| {
        connection.bytes(24)?;
        connection.send(&frame(SETTINGS, 0, 0, &[]))?;
        loop {
            let stream = asked(connection)?;
            let frames = answer.lock().unwrap()(stream);
            connection.send(&frames.concat())?;
        }
    })
}

fn proper(stream: u32) -> Vec<Vec<u8>> {
    let fields = [(":status", "200"), ("content-length", "6")];
    vec![head(stream, 0, &fields), frame(DATA, END_STREAM, stream, b"proper")]
}

fn gate(upstream: &Upstream) -> Gate {
    Gate::start(&format!(
        "[listen]\nhttps = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\ncores = 1\n\
         drain_timeout = \"0s\"\npublic_url = \"https://localhost:8443\"\n\
         [[upstream]]\nname = \"app\"\nservers = [\"{}\"]\nhttp = \"2\"\n\
         first_byte_timeout = \"2s\"\nidle_timeout = \"2s\"\n\
         [[route]]\npath = \"/**\"\naccess = \"public\"\n",
        upstream.url()
    ))
}

/// What no gateway may pass on as an answer.
const NO_ANSWERS: [(&str, Answer); 11] = [
    ("no status", |s| vec![head(s, END_STREAM, &[("x", "1")])]),
    ("two statuses", |s| vec![head(s, END_STREAM, &[(":status", "200"), (":status", "200")])]),
    ("a status that is none", |s| vec![head(s, END_STREAM, &[(":status", "2x0")])]),
    ("a field of HTTP/1.1", |s| {
        vec![head(s, END_STREAM, &[(":status", "200"), ("connection", "close")])]
    }),
    ("a name in capitals", |s| vec![head(s, END_STREAM, &[(":status", "200"), ("X-A", "1")])]),
    ("a line's end in a value", |s| {
        vec![head(s, END_STREAM, &[(":status", "200"), ("x", "1\r\ny: 2")])]
    }),
    // RFC 9113 section 8.6
    ("a switch of protocols", |s| vec![head(s, END_STREAM, &[(":status", "101")])]),
    ("a body before its head", |s| vec![frame(DATA, END_STREAM, s, b"body")]),
    ("a reset", |s| vec![frame(RST_STREAM, 0, s, &2_u32.to_be_bytes())]),
    ("a header block that is none", |s| vec![frame(HEADERS, WHOLE, s, &[0x80])]),
    ("a stream that nobody asked for", |s| vec![head(s + 2, 0, &[(":status", "200")])]),
];

#[test]
fn what_is_no_answer_is_a_502_and_the_next_request_is_served() {
    let answer = Arc::new(Mutex::new(proper as Answer));
    let upstream = application(&answer);
    let gate = gate(&upstream);
    for (what, wrong) in NO_ANSWERS {
        *answer.lock().unwrap() = wrong;
        for h2 in [false, true] {
            let client = gate.client();
            let mut client = if h2 { client.over_h2() } else { client };
            let verdict = client.get("/a").verdict();
            assert_eq!(verdict, (502, "upstream_invalid".to_owned()), "{what}");
        }
        *answer.lock().unwrap() = proper;
        assert_eq!(gate.client().get("/a").text(), "proper", "after {what}");
    }
}

#[test]
fn a_connection_whose_answers_do_not_come_is_not_waited_for_twice() {
    // The first connection falls silent behind its first answer, as one does whose far end is gone.
    let made = Arc::new(Mutex::new(0));
    let upstream = Upstream::play(move |connection| {
        let first = {
            let mut made = made.lock().unwrap();
            *made += 1;
            *made == 1
        };
        connection.bytes(24)?;
        connection.send(&frame(SETTINGS, 0, 0, &[]))?;
        let mut answered = false;
        loop {
            let stream = asked(connection)?;
            if !(first && answered) {
                connection.send(&proper(stream).concat())?;
            }
            answered = true;
        }
    });
    let gate = gate(&upstream);
    let mut client = gate.client();
    assert_eq!(client.get("/a").text(), "proper");
    assert_eq!(client.get("/a").verdict(), (504, "upstream_timeout".to_owned()));
    for _ in 0..3 {
        assert_eq!(client.get("/a").text(), "proper");
    }
}

/// Answers that break off or go too far.
const BROKEN: [(&str, Answer); 7] = [
    ("reset in the middle", |s| {
        vec![
            head(s, 0, &[(":status", "200")]),
            frame(DATA, 0, s, b"half"),
            frame(RST_STREAM, 0, s, &2_u32.to_be_bytes()),
        ]
    }),
    // RFC 9113 section 8.1 allows that behind a whole answer only.
    ("reset in the middle, without an error", |s| {
        vec![
            head(s, 0, &[(":status", "200")]),
            frame(DATA, 0, s, b"half"),
            frame(RST_STREAM, 0, s, &0_u32.to_be_bytes()),
        ]
    }),
    ("the connection is ended in the middle", |s| {
        let away = [s.to_be_bytes(), 2_u32.to_be_bytes()].concat();
        vec![
            head(s, 0, &[(":status", "200")]),
            frame(DATA, 0, s, b"half"),
            frame(GOAWAY, 0, 0, &away),
            // A window may not grow beyond 2^31 - 1.
            frame(WINDOW_UPDATE, 0, 0, &i32::MAX.to_be_bytes()),
            frame(WINDOW_UPDATE, 0, 0, &i32::MAX.to_be_bytes()),
        ]
    }),
    ("longer than it said", |s| {
        vec![
            head(s, 0, &[(":status", "200"), ("content-length", "2")]),
            frame(DATA, 0, s, b"half"),
            frame(DATA, END_STREAM, s, b"more"),
        ]
    }),
    ("shorter than it said", |s| {
        vec![
            head(s, 0, &[(":status", "200"), ("content-length", "20")]),
            frame(DATA, END_STREAM, s, b"half"),
        ]
    }),
    ("trailers that do not end it", |s| {
        vec![
            head(s, 0, &[(":status", "200")]),
            frame(DATA, 0, s, b"half"),
            head(s, 0, &[("x", "1")]),
        ]
    }),
    ("silence in the middle", |s| {
        vec![head(s, 0, &[(":status", "200")]), frame(DATA, 0, s, b"half")]
    }),
];

#[test]
fn an_answer_that_breaks_off_is_seen_to_break_off_and_the_next_is_whole() {
    let answer = Arc::new(Mutex::new(proper as Answer));
    let upstream = application(&answer);
    let gate = gate(&upstream);
    for (what, broken) in BROKEN {
        *answer.lock().unwrap() = broken;
        let mut wire = gate.client().wire();
        wire.send(format!("GET /a HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).unwrap();
        // Either it was found out before our head was written, or its end does not come.
        if let Ok(Some(answer)) = wire.answer("GET") {
            assert_eq!(answer.status, 502, "{what}: passed for a whole answer");
        }
        *answer.lock().unwrap() = proper;
        assert_eq!(gate.client().get("/a").text(), "proper", "after {what}");
    }
}

#[test]
fn interim_answers_over_http2_are_never_the_answer() {
    let answer: Arc<Mutex<Answer>> = Arc::new(Mutex::new(|s| {
        let hints = head(s, 0, &[(":status", "103"), ("link", "</a.css>")]);
        [vec![hints.clone(), hints], proper(s)].concat()
    }));
    let upstream = application(&answer);
    let answer = gate(&upstream).client().get("/a");
    assert_eq!((answer.status, answer.text().as_str()), (200, "proper"));
    assert!(answer.field("link").is_empty());
}

/// Reads on to the first frame of this kind and with these flags.
fn until(connection: &mut Connection, kind: u8, flags: u8) -> io::Result<()> {
    loop {
        let head = connection.bytes(9)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        connection.bytes(usize::try_from(length).unwrap())?;
        if head[3] == kind && head[4] & flags == flags {
            return Ok(());
        }
    }
}

#[test]
fn a_client_of_http_1_that_breaks_off_behind_its_upload_resets_the_stream() {
    let (told, hear) = mpsc::channel();
    let told = Mutex::new(told);
    let upstream = Upstream::play(move |connection| {
        connection.bytes(24)?;
        connection.send(&frame(SETTINGS, 0, 0, &[]))?;
        until(connection, DATA, END_STREAM)?;
        told.lock().unwrap().send("read").unwrap();
        until(connection, RST_STREAM, 0)?;
        told.lock().unwrap().send("reset").unwrap();
        connection.rest().map(drop)
    });
    let gate = Gate::start(&format!(
        "[listen]\nhttps = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\ncores = 1\n\
         drain_timeout = \"0s\"\npublic_url = \"https://localhost:8443\"\n\
         [[upstream]]\nname = \"app\"\nservers = [\"{}\"]\nhttp = \"2\"\n\
         [[route]]\npath = \"/**\"\naccess = \"public\"\n",
        upstream.url()
    ));
    let mut wire = gate.client().wire();
    let request = format!("POST /a HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 5\r\n\r\nhello");
    wire.send(request).unwrap();
    assert_eq!(hear.recv_timeout(PATIENCE), Ok("read"));
    wire.break_off();
    assert_eq!(hear.recv_timeout(PATIENCE), Ok("reset"));
    wire.must_close();
}

#[test]
fn an_upload_that_is_answered_and_never_taken_holds_its_connection_no_longer_than_an_idle_one() {
    let upstream = Upstream::play(move |connection| {
        connection.bytes(24)?;
        connection.send(&frame(SETTINGS, 0, 0, &[]))?;
        let stream = asked(connection)?;
        connection.send(&head(
            stream,
            END_STREAM,
            &[(":status", "200"), ("content-length", "0")],
        ))?;
        // No window is ever given back.
        connection.rest().map(drop)
    });
    let gate = Gate::start(&format!(
        "[listen]\nhttps = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\ncores = 1\n\
         drain_timeout = \"0s\"\npublic_url = \"https://localhost:8443\"\n\
         [limits]\nkeep_alive_timeout = \"1s\"\n\
         [[upstream]]\nname = \"app\"\nservers = [\"{}\"]\nhttp = \"2\"\n\
         [[route]]\npath = \"/**\"\naccess = \"public\"\n",
        upstream.url()
    ));
    let mut wire = gate.client().wire();
    let body = "x".repeat(200_000);
    let request =
        format!("POST /a HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 200000\r\n\r\n{body}");
    wire.send(request).unwrap();
    assert_eq!(wire.answer("POST").unwrap().unwrap().status, 200);
    wire.must_close();
}

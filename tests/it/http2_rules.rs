//! The rules of RFC 9113 and RFC 7541 that a server must keep, one row each: what a client sends as raw
//! frames, and what becomes of it. Each row names the section, and in brackets the case of h2spec that
//! asks for the same.

#![expect(clippy::too_many_lines, reason = "a table has a row for each rule")]

mod blocks;
mod kinds;
mod messages;
mod streams;

use std::fmt::Write as _;

use crate::harness::frames::{self, DATA, HEADERS, PING, PREFACE, PRIORITY, RST_STREAM, SETTINGS};
use crate::harness::frames::{GOAWAY, WINDOW_UPDATE, frame, literals};
use crate::harness::{Client, Gate, HOST, ORIGIN, PASSWORD, Upstream, Wire, is_timeout, response};

const END_STREAM: u8 = 0x1;
const ACK: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const WHOLE: u8 = END_STREAM | END_HEADERS;
const PADDED: u8 = 0x8;
const PRIORITIZED: u8 = 0x20;

// RFC 9113 section 7.
const PROTOCOL_ERROR: u32 = 1;
const FLOW_CONTROL_ERROR: u32 = 3;
const STREAM_CLOSED: u32 = 5;
const FRAME_SIZE_ERROR: u32 = 6;
const REFUSED_STREAM: u32 = 7;
const COMPRESSION_ERROR: u32 = 9;

/// What h2 says where a rule names a better word, on its way to the same end (docs/CONFORMANCE.md).
const H2_SAYS: u32 = PROTOCOL_ERROR;

// RFC 9113 section 6.5.2.
const ENABLE_PUSH: u16 = 2;
const INITIAL_WINDOW_SIZE: u16 = 4;
const MAX_FRAME_SIZE: u16 = 5;

/// What the application says to everybody.
const BODY: &str = "the application";
/// The path of requests that must never come to the application whole.
const BAD: &str = "/public/bad";

/// One move of a row.
#[derive(Debug, Clone)]
enum Step {
    Send(Vec<u8>),
    /// The whole answer of a stream, with status 200.
    Whole(u32),
    /// The head of an answer of a stream, with status 200.
    Head(u32),
    /// A piece of a body that is just so long.
    Data(u32, usize),
    Ponged([u8; 8]),
    SettingsAcked,
    /// The stream is reset for one of these reasons, or the whole connection ended
    /// (RFC 9113 section 5.4.1 leaves that choice).
    Reset(u32, &'static [u32]),
    /// The connection is ended for one of these reasons.
    Ended(&'static [u32]),
    /// A request of another stream finds that nothing has happened to the connection.
    Serves,
}
use Step::{Data, Ended, Head, Ponged, Reset, Send, Serves, SettingsAcked, Whole};

struct Row {
    rule: &'static str,
    steps: Vec<Step>,
}

fn row(rule: &'static str, steps: impl Into<Vec<Step>>) -> Row {
    Row { rule, steps: steps.into() }
}

fn send<const N: usize>(frames: [Vec<u8>; N]) -> Step {
    Send(frames.concat())
}

fn fields(method: &'static str, path: &'static str) -> Vec<(&'static str, &'static str)> {
    vec![(":method", method), (":scheme", "https"), (":authority", HOST), (":path", path)]
}

fn get(stream: u32) -> Vec<u8> {
    frame(HEADERS, WHOLE, stream, &literals(&fields("GET", "/public/a")))
}

/// A request whose body is to come.
fn post(stream: u32, path: &'static str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &literals(&fields("POST", path)))
}

fn setting(id: u16, value: u32) -> Vec<u8> {
    [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()
}

fn settings(all: &[(u16, u32)]) -> Vec<u8> {
    let payload: Vec<u8> = all.iter().flat_map(|&(id, value)| setting(id, value)).collect();
    frame(SETTINGS, 0, 0, &payload)
}

fn update(stream: u32, increment: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &increment.to_be_bytes())
}

fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &code.to_be_bytes())
}

/// `stream` depends on `on` with this weight, less one.
fn priority(stream: u32, on: u32, weight: u8) -> Vec<u8> {
    frame(PRIORITY, 0, stream, &dependency(on, weight))
}

fn dependency(on: u32, weight: u8) -> Vec<u8> {
    [&on.to_be_bytes()[..], &[weight]].concat()
}

/// Plays one row on a connection of its own.
fn play(client: &Client, row: &Row) -> Result<(), String> {
    let mut wire = client.h2_wire();
    wire.send([PREFACE, &settings(&[])].concat()).unwrap();
    for step in &row.steps {
        meet(&mut wire, step).map_err(|what| format!("{}\n  {step:?}: {what}", row.rule))?;
    }
    Ok(())
}

/// What was read, for whoever wonders.
fn meet(wire: &mut Wire, step: &Step) -> Result<(), String> {
    let mut seen = String::new();
    match step {
        // It may be ended before all is sent.
        Send(bytes) => {
            drop(wire.send(bytes));
            return Ok(());
        }
        Serves => {
            drop(wire.send(get(0x1001)));
            return meet(wire, &Whole(0x1001));
        }
        _ => {}
    }
    let mut status = 0;
    loop {
        let (kind, flags, stream, payload) = match frames::read(wire) {
            Ok(read) => read,
            Err(error) if is_timeout(&error) => return Err(format!("nothing further{seen}")),
            // Who has unread bytes in the way may lose the word of farewell.
            Err(_) if matches!(step, Ended(_) | Reset(..)) => return Ok(()),
            Err(_) => return Err(format!("the connection has ended{seen}")),
        };
        let code = |at: usize| {
            let bytes = payload.get(at..at + 4).unwrap_or_default().try_into();
            bytes.map_or(u32::MAX, u32::from_be_bytes)
        };
        write!(seen, "\n    {kind} {flags:#x} {stream} {:?}", &payload[..payload.len().min(16)])
            .unwrap();
        let end = flags & END_STREAM != 0;
        let met = match (step, kind) {
            (Reset(_, codes) | Ended(codes), GOAWAY) => {
                let known = codes.contains(&code(4));
                return if known { Ok(()) } else { Err(format!("for another reason{seen}")) };
            }
            (Reset(wanted, codes), RST_STREAM) if stream == *wanted => codes.contains(&code(0)),
            (_, GOAWAY) => return Err(format!("GOAWAY{seen}")),
            (Whole(wanted), HEADERS) if stream == *wanted => {
                status = frames::status(&payload);
                end && status == 200
            }
            (Whole(wanted), DATA) if stream == *wanted => end && matches!(status, 0 | 200),
            (Head(wanted), HEADERS) if stream == *wanted => frames::status(&payload) == 200,
            (Data(wanted, length), DATA) if stream == *wanted => {
                let fits = payload.len() == *length;
                return if fits { Ok(()) } else { Err(format!("{} bytes", payload.len())) };
            }
            (Ponged(said), PING) => flags & ACK != 0 && payload == *said,
            (SettingsAcked, SETTINGS) => flags & ACK != 0,
            (Whole(wanted) | Head(wanted) | Data(wanted, _), RST_STREAM) if stream == *wanted => {
                return Err(format!("reset{seen}"));
            }
            _ => false,
        };
        if met {
            return Ok(());
        }
    }
}

fn keeps(rows: &[Row]) {
    let upstream = Upstream::answering(|_| response("200 OK", &[], BODY));
    let gate = Gate::before(&upstream);
    let client = gate.client();
    let broken: Vec<String> = rows.iter().filter_map(|row| play(&client, row).err()).collect();
    assert!(broken.is_empty(), "{} of {}:\n{}", broken.len(), rows.len(), broken.join("\n"));
    let came: Vec<_> = upstream.requests();
    let bad = came.iter().find(|request| request.line().contains(BAD));
    assert!(bad.is_none(), "the application was given {bad:?}");
}

#[test]
fn connections_and_streams_are_as_sections_3_to_5_say() {
    keeps(&streams::rows());
}

#[test]
fn frames_of_each_kind_are_as_sections_6_and_7_say() {
    keeps(&kinds::rows());
}

#[test]
fn messages_are_as_section_8_says() {
    keeps(&messages::rows());
}

#[test]
fn header_blocks_are_as_rfc_7541_says() {
    keeps(&blocks::rows());
}

#[test]
fn more_streams_than_were_allowed_are_refused_and_the_others_answered() {
    // Section 5.1.2 (http2/5.1.2/1).
    let upstream = Upstream::answering(|_| response("200 OK", &[], BODY));
    let gate = Gate::with(&upstream, "[limits]\nh2_streams = 10\n");
    let mut wire = gate.client().h2_wire();
    // Whose body cannot be taken is not over.
    let open: Vec<u8> = (0..11).flat_map(|number| get(2 * number + 1)).collect();
    wire.send([PREFACE, &settings(&[(INITIAL_WINDOW_SIZE, 0)]), &open].concat()).unwrap();
    let step = Reset(21, &[REFUSED_STREAM, PROTOCOL_ERROR]);
    meet(&mut wire, &step).unwrap();
    for stream in (1..20).step_by(2) {
        wire.send(update(stream, 100)).unwrap();
        meet(&mut wire, &Whole(stream)).unwrap();
    }
}

#[test]
fn what_h2_takes_for_trailers_though_it_is_none_never_comes_through() {
    // Section 8.1 (http2/8.1.2.1/3) wants an error: h2 drops what is no field.
    let upstream = Upstream::answering(|_| response("200 OK", &[], BODY));
    let gate = Gate::before(&upstream);
    let pseudo = frame(HEADERS, WHOLE, 1, &literals(&[(":method", "GET"), (":path", BAD)]));
    let sent = send([post(1, "/public/a"), frame(DATA, 0, 1, b"test"), pseudo]);
    play(&gate.client(), &row("8.1", [sent, Whole(1), Serves])).unwrap();
    let [posted, _] = &upstream.requests()[..] else { panic!("two were sent") };
    assert_eq!((&posted.line()[..], &posted.body[..]), ("POST /public/a HTTP/1.1", &b"test"[..]));
}

#[test]
fn a_name_that_http1_could_not_write_ends_here() {
    // RFC 9113 section 8.2.1 lets it be refused, and h2 does not. Found by the fuzz target `journey`.
    let upstream = Upstream::answering(|_| response("200 OK", &[], BODY));
    let gate = Gate::before(&upstream);
    let odd = [("x\"y", "1"), ("\"", "1"), ("x", "1")];
    let sent = [&fields("GET", "/public/a")[..], &odd].concat();
    let sent = Send(frame(HEADERS, WHOLE, 1, &literals(&sent)));
    play(&gate.client(), &row("8.2.1", [sent, Whole(1)])).unwrap();
    let received = upstream.requests().pop().unwrap();
    assert_eq!(received.field("x"), ["1"]);
    assert!(!received.fields().iter().any(|(name, _)| name.contains('"')), "{received:?}");
}

#[test]
fn a_form_for_us_that_its_client_has_not_sent_whole_is_not_read() {
    let upstream = Upstream::answering(|_| response("200 OK", &[], BODY));
    let gate = Gate::before(&upstream);
    gate.add_user("ada", &[], &[]);
    let before = gate.snapshot();
    let form = format!("username=ada&password={PASSWORD}");
    let own = [("content-type", "application/x-www-form-urlencoded"), ("origin", ORIGIN)];
    let head = [&fields("POST", "/auth/login")[..], &own].concat();
    let begin = |stream| frame(HEADERS, END_HEADERS, stream, &literals(&head));
    // Section 8.1: no error, and yet no END_STREAM.
    let half = row(
        "half",
        [
            send([begin(1), frame(DATA, 0, 1, form.as_bytes()), frame(PING, 0, 0, b"received")]),
            Ponged(*b"received"),
            send([reset(1, 0)]),
            Serves,
        ],
    );
    play(&gate.client(), &half).unwrap();
    assert_eq!(gate.snapshot(), before, "somebody was logged in");
    let whole = [begin(1), frame(DATA, END_STREAM, 1, form.as_bytes())].concat();
    let mut wire = gate.client().h2_wire();
    wire.send([PREFACE, &settings(&[]), &whole].concat()).unwrap();
    meet(&mut wire, &Head(1)).unwrap();
    assert_ne!(gate.snapshot(), before);
}

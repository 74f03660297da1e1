//! HTTP/2 by hand: frames with fields that no proper client would send (RFC 9113, RFC 7541).

use std::collections::BTreeMap;
use std::io;

use super::Wire;

/// How the gateway took an HTTP/2 request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Answered, with this status if it is one that HPACK has in its table, else 0.
    Answered(u16),
    /// The stream was reset.
    Reset,
    /// The connection was ended.
    Ended,
}

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;
/// RFC 9113 section 3.4.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// `END_STREAM` and `END_HEADERS`.
pub(crate) const WHOLE: u8 = 0x5;

/// Begins so many requests and resets each at once (CVE-2023-44487), then one more, and tells what
/// became of the connection.
pub(crate) fn reset_often(wire: &mut Wire, count: u32) -> Taken {
    let fields =
        [(":method", "GET"), (":scheme", "https"), (":authority", super::HOST), (":path", "/a")];
    let block = literals(&fields);
    let mut bytes = PREFACE.to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &[]));
    for number in 0..count {
        let stream = 2 * number + 1;
        bytes.extend(frame(HEADERS, WHOLE, stream, &block));
        // CANCEL
        bytes.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
    }
    bytes.extend(frame(HEADERS, WHOLE, 2 * count + 1, &block));
    // It may be ended before all is sent.
    drop(wire.send(bytes));
    loop {
        match read(wire) {
            Err(_) | Ok((GOAWAY, ..)) => return Taken::Ended,
            Ok((HEADERS, _, _, payload)) => return Taken::Answered(status(&payload)),
            Ok(_) => {}
        }
    }
}

/// Sends so many frames that carry nothing, by turns of each kind that is allowed, then a request,
/// and tells what became of this.
pub(crate) fn carry_nothing(wire: &mut Wire, count: u32) -> Taken {
    let post =
        [(":method", "POST"), (":scheme", "https"), (":authority", super::HOST), (":path", "/a")];
    let mut bytes = PREFACE.to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &[]));
    // END_HEADERS alone: a body is to come.
    bytes.extend(frame(HEADERS, 0x4, 1, &literals(&post)));
    for number in 0..count {
        bytes.extend(match number % 4 {
            0 => frame(DATA, 0, 1, &[]),
            1 => frame(PRIORITY, 0, 3, &[0, 0, 0, 0, 16]),
            2 => frame(SETTINGS, 0, 0, &[]),
            // RFC 9113 section 5.5: what is not known is passed over.
            _ => frame(0xee, 0, 0, b"nothing"),
        });
    }
    bytes.extend(frame(DATA, 0x1, 1, &[]));
    drop(wire.send(bytes));
    loop {
        let Ok((kind, _, stream, payload)) = read(wire) else { return Taken::Ended };
        match (kind, stream) {
            (HEADERS, 1) => return Taken::Answered(status(&payload)),
            (GOAWAY, _) => return Taken::Ended,
            _ => {}
        }
    }
}

/// Asks for `path` so often at once. How many were answered with 200, and whether the gateway said
/// that it takes no more (GOAWAY).
pub(crate) fn ask_often(wire: &mut Wire, path: &str, count: u32) -> (u32, bool) {
    let fields =
        [(":method", "GET"), (":scheme", "https"), (":authority", super::HOST), (":path", path)];
    let mut bytes = PREFACE.to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &[]));
    for number in 0..count {
        bytes.extend(frame(HEADERS, WHOLE, 2 * number + 1, &literals(&fields)));
    }
    wire.send(bytes).unwrap();
    let (mut answered, mut told) = (0, false);
    while answered < count {
        match read(wire) {
            Ok((HEADERS, _, _, payload)) if status(&payload) == 200 => answered += 1,
            Ok((GOAWAY, ..)) => told = true,
            Ok(_) => {}
            Err(_) => return (answered, true),
        }
    }
    wire.send(frame(PING, 0, 0, b"in order")).unwrap();
    loop {
        match read(wire) {
            Ok((GOAWAY, ..)) => told = true,
            Ok((PING, _, _, payload)) if payload == b"in order" => return (answered, told),
            Ok(_) => {}
            Err(_) => return (answered, true),
        }
    }
}

/// What a connection has brought that was told to end.
#[derive(Debug)]
pub(crate) struct Served {
    /// Requests that were answered whole, with 200 and this body.
    pub(crate) answered: usize,
    /// Requests that the gateway said it had not read, to be sent again elsewhere.
    pub(crate) unread: usize,
}

/// Asks for `path`, some at a time, until the gateway says that it takes no more (GOAWAY), and reads on
/// until all that it took is answered. Panics if one is lost: then the gateway has broken its word.
pub(crate) fn ask_until_told(wire: &mut Wire, path: &str, body: &[u8]) -> Served {
    const AT_ONCE: usize = 10;
    let fields =
        [(":method", "GET"), (":scheme", "https"), (":authority", super::HOST), (":path", path)];
    let block = literals(&fields);
    wire.send([PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).unwrap();
    let (mut open, mut next, mut told) = (BTreeMap::<u32, Vec<u8>>::new(), 1, false);
    let mut served = Served { answered: 0, unread: 0 };
    loop {
        if told && open.is_empty() {
            return served;
        }
        while !told && open.len() < AT_ONCE {
            // Whether it is answered shows below, where it is lost.
            drop(wire.send(frame(HEADERS, WHOLE, next, &block)));
            open.insert(next, Vec::new());
            next += 2;
        }
        let (kind, flags, stream, payload) = read(wire).unwrap_or_else(|error| {
            panic!("{error}: {} requests are lost: {served:?}", open.len())
        });
        match kind {
            HEADERS => assert_eq!(status(&payload), 200),
            DATA => {
                let came = open.get_mut(&stream).expect("it was asked for");
                came.extend(&payload);
                if flags & 0x1 != 0 {
                    assert_eq!(open.remove(&stream).as_deref(), Some(body));
                    served.answered += 1;
                }
                let taken = u32::try_from(payload.len()).unwrap().to_be_bytes();
                if !payload.is_empty() {
                    drop(wire.send(frame(WINDOW_UPDATE, 0, 0, &taken)));
                }
            }
            PING if flags == 0 => drop(wire.send(frame(PING, 0x1, 0, &payload))),
            SETTINGS if flags == 0 => drop(wire.send(frame(SETTINGS, 0x1, 0, &[]))),
            GOAWAY => {
                let last = u32::from_be_bytes(payload[..4].try_into().unwrap());
                assert_eq!(payload[4..8], [0; 4], "it is no error");
                told = true;
                let before = open.len();
                open.retain(|stream, _| *stream <= last);
                served.unread += before - open.len();
            }
            RST_STREAM => panic!("request {stream} was reset: {served:?}"),
            _ => {}
        }
    }
}

/// Sends one request without a body, its fields in this order, and tells what became of it.
pub(crate) fn ask(wire: &mut Wire, fields: &[(&str, &str)]) -> Taken {
    wire.send(request(fields, &[])).unwrap();
    loop {
        let Ok((kind, _, stream, payload)) = read(wire) else { return Taken::Ended };
        match (kind, stream) {
            (HEADERS, 1) => return Taken::Answered(status(&payload)),
            (RST_STREAM, 1) => return Taken::Reset,
            (GOAWAY, _) => return Taken::Ended,
            _ => {}
        }
    }
}

/// Sends one request without a body and with a window of zero, so that nothing of an answer's body
/// can be taken, and tells what became of it after its head.
pub(crate) fn ask_and_take_nothing(wire: &mut Wire, fields: &[(&str, &str)]) -> Taken {
    // RFC 9113 section 6.5.2: SETTINGS_INITIAL_WINDOW_SIZE.
    let no_window = [0, 4, 0, 0, 0, 0];
    wire.send(request(fields, &no_window)).unwrap();
    loop {
        let Ok((kind, _, stream, payload)) = read(wire) else { return Taken::Ended };
        match (kind, stream) {
            (HEADERS, 1) => assert_eq!(status(&payload), 200),
            (RST_STREAM, 1) => return Taken::Reset,
            (GOAWAY, _) => return Taken::Ended,
            _ => {}
        }
    }
}

/// The bytes that open a connection with these settings, and one request on it.
fn request(fields: &[(&str, &str)], settings: &[u8]) -> Vec<u8> {
    let mut bytes = PREFACE.to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, settings));
    bytes.extend(frame(HEADERS, WHOLE, 1, &literals(fields)));
    bytes
}

/// A header block of these fields.
pub(crate) fn literals(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        // RFC 7541 section 6.2.2: a literal that is not indexed, with its own name.
        block.push(0);
        for text in [name, value] {
            let length = u8::try_from(text.len()).ok().filter(|length| *length < 127);
            block.push(length.expect("texts are short"));
            block.extend(text.as_bytes());
        }
    }
    block
}

/// A frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// The next frame: its type, flags, stream and payload.
pub(crate) fn read(wire: &mut Wire) -> io::Result<(u8, u8, u32, Vec<u8>)> {
    let head = wire.bytes(9)?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
    let payload = wire.bytes(usize::try_from(length).unwrap())?;
    Ok((head[3], head[4], stream, payload))
}

/// The status that a header block begins with, or 0. RFC 7541 appendix A: seven statuses have a place
/// in the static table.
pub(crate) fn status(block: &[u8]) -> u16 {
    // A change of the table's size may stand before it (section 6.3).
    let first = block.iter().find(|byte| **byte & 0xe0 != 0x20);
    match first {
        Some(0x88) => 200,
        Some(0x89) => 204,
        Some(0x8a) => 206,
        Some(0x8b) => 304,
        Some(0x8c) => 400,
        Some(0x8d) => 404,
        Some(0x8e) => 500,
        _ => 0,
    }
}

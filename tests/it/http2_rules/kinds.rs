//! Frames of each kind.

use super::Step::{Data, Ended, Head, Ponged, Reset, Serves, SettingsAcked, Whole};
use super::{
    ACK, BAD, ENABLE_PUSH, END_HEADERS, END_STREAM, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, H2_SAYS,
    INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, PADDED, PRIORITIZED, PROTOCOL_ERROR, Row, WHOLE,
    dependency, fields, get, post, priority, reset, row, send, setting, settings, update,
};
use crate::harness::frames::{
    CONTINUATION, DATA, GOAWAY, HEADERS, PING, PRIORITY, PUSH_PROMISE, RST_STREAM, SETTINGS,
    WINDOW_UPDATE, frame, literals,
};

/// RFC 9113 sections 6 and 7.
pub(super) fn rows() -> Vec<Row> {
    let block = literals(&fields("GET", BAD));
    let good = literals(&fields("GET", "/public/a"));
    let padded = |content: &[u8]| [&[6], content, &[0; 6]].concat();
    vec![
        row(
            "6.1: DATA once, often and padded (generic/3.1)",
            [
                send([post(1, "/public/a"), frame(DATA, END_STREAM, 1, b"test")]),
                Whole(1),
                send([post(3, "/public/a"), frame(DATA, 0, 3, b"te"), frame(DATA, 1, 3, b"st")]),
                Whole(3),
                send([post(5, "/public/a"), frame(DATA, END_STREAM | PADDED, 5, &padded(b"test"))]),
                Whole(5),
            ],
        ),
        row(
            "6.1: DATA belongs to a stream (http2/6.1/1)",
            [send([frame(DATA, END_STREAM, 0, b"test")]), Ended(&[PROTOCOL_ERROR])],
        ),
        row(
            "6.1: padding is no longer than its frame (http2/6.1/3)",
            [
                send([post(1, BAD), frame(DATA, END_STREAM | PADDED, 1, b"\x08test")]),
                Ended(&[PROTOCOL_ERROR]),
            ],
        ),
        row(
            "6.2: HEADERS plain, padded, prioritized and both (generic/3.2)",
            [
                send([get(1)]),
                Whole(1),
                send([frame(HEADERS, WHOLE | PADDED, 3, &padded(&good))]),
                Whole(3),
                send([frame(
                    HEADERS,
                    WHOLE | PRIORITIZED,
                    5,
                    &[&dependency(0, 9), &good[..]].concat(),
                )]),
                Whole(5),
                send([frame(
                    HEADERS,
                    WHOLE | PRIORITIZED | PADDED,
                    7,
                    &padded(&[&dependency(0, 9), &good[..]].concat()),
                )]),
                Whole(7),
            ],
        ),
        row(
            "6.2: HEADERS belongs to a stream (http2/6.2/3)",
            [send([frame(HEADERS, WHOLE, 0, &block)]), Ended(&[PROTOCOL_ERROR])],
        ),
        row(
            "6.2: its padding is no longer than its frame (http2/6.2/4)",
            [
                send([frame(HEADERS, WHOLE | PADDED, 1, &[&[200], &block[..]].concat())]),
                Ended(&[PROTOCOL_ERROR]),
            ],
        ),
        row(
            "6.3: PRIORITY belongs to a stream (http2/6.3/1)",
            [send([priority(0, 3, 255)]), Ended(&[PROTOCOL_ERROR])],
        ),
        row(
            "6.3: and has five bytes (http2/6.3/2)",
            [
                send([post(1, BAD), frame(PRIORITY, 0, 1, &[0x80, 0, 0, 1])]),
                Reset(1, &[FRAME_SIZE_ERROR, H2_SAYS]),
            ],
        ),
        row(
            "6.4: RST_STREAM ends its stream alone (generic/3.4)",
            [send([post(1, BAD), reset(1, 8)]), Serves],
        ),
        row(
            "8.1: an upload that its client resets without an error is not whole for all that",
            [
                send([post(1, BAD), frame(DATA, 0, 1, b"half"), frame(PING, 0, 0, b"received")]),
                Ponged(*b"received"),
                send([reset(1, 0)]),
                Serves,
            ],
        ),
        row(
            "6.4: it belongs to a stream (http2/6.4/1)",
            [send([reset(0, 8)]), Ended(&[PROTOCOL_ERROR])],
        ),
        row(
            "6.4: and has four bytes (http2/6.4/3)",
            [
                send([post(1, BAD), frame(RST_STREAM, 0, 1, &[0, 0, 0])]),
                Ended(&[FRAME_SIZE_ERROR, H2_SAYS]),
            ],
        ),
        row(
            "6.5: SETTINGS is acknowledged (generic/3.5, http2/6.5.3/2)",
            [SettingsAcked, send([settings(&[(3, 100)])]), SettingsAcked, Serves],
        ),
        row(
            "6.5: an acknowledgement says nothing else (http2/6.5/1)",
            [send([frame(SETTINGS, ACK, 0, &[0])]), Ended(&[FRAME_SIZE_ERROR, H2_SAYS])],
        ),
        row(
            "6.5: SETTINGS is of the connection (http2/6.5/2)",
            [send([frame(SETTINGS, 0, 1, &setting(3, 100))]), Ended(&[PROTOCOL_ERROR])],
        ),
        row(
            "6.5: and of six bytes each (http2/6.5/3)",
            [send([frame(SETTINGS, 0, 0, &[0, 3, 0])]), Ended(&[FRAME_SIZE_ERROR, H2_SAYS])],
        ),
        row(
            "6.5.2: ENABLE_PUSH is 0 or 1 (http2/6.5.2/1)",
            [send([settings(&[(ENABLE_PUSH, 2)])]), Ended(&[PROTOCOL_ERROR])],
        ),
        row(
            "6.5.2: INITIAL_WINDOW_SIZE is below 2^31 (http2/6.5.2/2, 6.9.2/3)",
            [
                send([settings(&[(INITIAL_WINDOW_SIZE, 1 << 31)])]),
                Ended(&[FLOW_CONTROL_ERROR, H2_SAYS]),
            ],
        ),
        row(
            "6.5.2: MAX_FRAME_SIZE is 2^14 at least (http2/6.5.2/3)",
            [send([settings(&[(MAX_FRAME_SIZE, 16383)])]), Ended(&[PROTOCOL_ERROR])],
        ),
        row(
            "6.5.2: and below 2^24 (http2/6.5.2/4)",
            [send([settings(&[(MAX_FRAME_SIZE, 1 << 24)])]), Ended(&[PROTOCOL_ERROR])],
        ),
        row(
            "6.5.2: an unknown one is passed over (http2/6.5.2/5)",
            [send([settings(&[(0xff, 1)])]), Serves],
        ),
        row(
            "6.5.3: of two values the last one counts (http2/6.5.3/1)",
            [
                send([settings(&[(INITIAL_WINDOW_SIZE, 100), (INITIAL_WINDOW_SIZE, 1)]), get(1)]),
                Data(1, 1),
            ],
        ),
        row(
            "6.6: a client promises nothing (http2/8.2/1)",
            [
                send([frame(PUSH_PROMISE, END_HEADERS, 1, &[&[0, 0, 0, 2], &block[..]].concat())]),
                Ended(&[PROTOCOL_ERROR]),
            ],
        ),
        row(
            "6.7: PING is answered (generic/3.7, http2/6.7/1)",
            [send([frame(PING, 0, 0, b"h2 rules")]), Ponged(*b"h2 rules"), Serves],
        ),
        row(
            "6.7: its acknowledgement is not (http2/6.7/2)",
            [
                send([frame(PING, ACK, 0, b"unasked!"), frame(PING, 0, 0, b"h2 rules")]),
                Ponged(*b"h2 rules"),
                Serves,
            ],
        ),
        row(
            "6.7: PING is of the connection (http2/6.7/3)",
            [send([frame(PING, 0, 1, b"12345678")]), Ended(&[PROTOCOL_ERROR])],
        ),
        row(
            "6.7: and has eight bytes (http2/6.7/4)",
            [send([frame(PING, 0, 0, b"123456")]), Ended(&[FRAME_SIZE_ERROR, H2_SAYS])],
        ),
        row(
            "6.8: after GOAWAY what was begun is ended (generic/3.8)",
            [send([get(1), frame(GOAWAY, 0, 0, &[0; 8])]), Whole(1)],
        ),
        row(
            "6.8: GOAWAY is of the connection (http2/6.8/1)",
            [send([frame(GOAWAY, 0, 1, &[0; 8])]), Ended(&[PROTOCOL_ERROR])],
        ),
        row(
            "6.9: WINDOW_UPDATE of the connection and of a stream (generic/3.9)",
            [
                send([
                    update(0, 1),
                    post(1, "/public/a"),
                    update(1, 1),
                    frame(DATA, 1, 1, b"test"),
                ]),
                Whole(1),
                Serves,
            ],
        ),
        row(
            "6.9: a window grows by something (http2/6.9/1)",
            [send([update(0, 0)]), Ended(&[PROTOCOL_ERROR])],
        ),
        row(
            "6.9: a stream's too (http2/6.9/2)",
            [send([post(1, BAD), update(1, 0)]), Reset(1, &[PROTOCOL_ERROR])],
        ),
        row(
            "6.9: WINDOW_UPDATE has four bytes (http2/6.9/3)",
            [send([frame(WINDOW_UPDATE, 0, 0, &[0, 0, 1])]), Ended(&[FRAME_SIZE_ERROR, H2_SAYS])],
        ),
        row(
            "6.9.1: no more is sent than the window holds (http2/6.9.1/1)",
            [
                send([settings(&[(INITIAL_WINDOW_SIZE, 1)]), get(1)]),
                Data(1, 1),
                send([update(1, 100)]),
                Whole(1),
            ],
        ),
        row(
            "6.9.1: a window ends below 2^31 (http2/6.9.1/2)",
            [
                send([update(0, i32::MAX.unsigned_abs()), update(0, i32::MAX.unsigned_abs())]),
                Ended(&[FLOW_CONTROL_ERROR]),
            ],
        ),
        row(
            "6.9.1: a stream's too (http2/6.9.1/3)",
            [
                send([
                    post(1, BAD),
                    update(1, i32::MAX.unsigned_abs()),
                    update(1, i32::MAX.unsigned_abs()),
                ]),
                Reset(1, &[FLOW_CONTROL_ERROR]),
            ],
        ),
        row(
            "6.9.2: a changed setting changes open windows (http2/6.9.2/1)",
            [
                send([settings(&[(INITIAL_WINDOW_SIZE, 0)]), get(1)]),
                Head(1),
                send([settings(&[(INITIAL_WINDOW_SIZE, 1)])]),
                Data(1, 1),
            ],
        ),
        row(
            "6.9.2: which may become negative by it (http2/6.9.2/2)",
            [
                send([settings(&[(INITIAL_WINDOW_SIZE, 3)]), get(1)]),
                Data(1, 3),
                send([settings(&[(INITIAL_WINDOW_SIZE, 2)]), update(1, 2)]),
                Data(1, 1),
            ],
        ),
        row(
            "6.10: a block in several CONTINUATIONs (generic/3.10, http2/6.10/1)",
            [
                send([
                    frame(HEADERS, END_STREAM, 1, &good[..5]),
                    frame(CONTINUATION, 0, 1, &good[5..20]),
                    frame(CONTINUATION, 0, 1, &good[20..30]),
                    frame(CONTINUATION, END_HEADERS, 1, &good[30..]),
                ]),
                Whole(1),
            ],
        ),
        row(
            "6.10: behind one that is not the last another must come (http2/6.10/2)",
            [
                send([
                    frame(HEADERS, END_STREAM, 1, &block[..5]),
                    frame(CONTINUATION, 0, 1, &block[5..]),
                    frame(DATA, END_STREAM, 1, b"test"),
                ]),
                Ended(&[PROTOCOL_ERROR]),
            ],
        ),
        row(
            "6.10: CONTINUATION belongs to a stream (http2/6.10/3)",
            [
                send([
                    frame(HEADERS, END_STREAM, 1, &block[..5]),
                    frame(CONTINUATION, END_HEADERS, 0, &block[5..]),
                ]),
                Ended(&[PROTOCOL_ERROR]),
            ],
        ),
        row(
            "6.10: it does not follow a whole block (http2/6.10/4)",
            [send([get(1), frame(CONTINUATION, END_HEADERS, 1, &block)]), Ended(&[PROTOCOL_ERROR])],
        ),
        row(
            "6.10: nor the last of its kind (http2/6.10/5)",
            [
                send([
                    frame(HEADERS, 0, 1, &block[..5]),
                    frame(CONTINUATION, END_HEADERS, 1, &block[5..]),
                    frame(CONTINUATION, END_HEADERS, 1, &block),
                ]),
                Ended(&[PROTOCOL_ERROR]),
            ],
        ),
        row(
            "6.10: nor DATA (http2/6.10/6)",
            [
                send([
                    post(1, BAD),
                    frame(DATA, 0, 1, b"test"),
                    frame(CONTINUATION, END_HEADERS, 1, &block),
                ]),
                Ended(&[PROTOCOL_ERROR]),
            ],
        ),
        row(
            "7: unknown error codes are like others (http2/7/1, 7/2)",
            [
                send([
                    post(1, BAD),
                    reset(1, 0xff),
                    get(3),
                    frame(GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 9]),
                ]),
                Whole(3),
            ],
        ),
    ]
}

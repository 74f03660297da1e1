//! Connections and streams.

use super::Step::{Ended, Head, Ponged, Reset, Serves, SettingsAcked, Whole};
use super::{
    BAD, COMPRESSION_ERROR, END_HEADERS, END_STREAM, FRAME_SIZE_ERROR, H2_SAYS,
    INITIAL_WINDOW_SIZE, PRIORITIZED, PROTOCOL_ERROR, Row, STREAM_CLOSED, WHOLE, dependency,
    fields, get, post, priority, reset, row, send, settings, update,
};
use crate::harness::frames::{CONTINUATION, DATA, HEADERS, PING, frame, literals};

/// RFC 9113 sections 3 to 5.
pub(super) fn rows() -> Vec<Row> {
    let block = literals(&fields("GET", BAD));
    let (front, back) = block.split_at(10);
    let open = || frame(HEADERS, END_STREAM, 1, front);
    let unknown = |stream| frame(0xee, 0xff, stream, b"nothing known");
    let large = vec![b'x'; 16385];
    vec![
        row(
            "3.4: a connection begins with its preface (generic/1, http2/3.5/1)",
            [SettingsAcked, Serves],
        ),
        row(
            "4.1: a frame of unknown type is passed over (http2/4.1/1, 5.5/1)",
            [send([unknown(0), unknown(5), get(1)]), Whole(1), Serves],
        ),
        row(
            "4.1: unknown flags and the reserved bit are passed over (http2/4.1/2, 4.1/3)",
            [send([frame(PING, 0xfe, 1 << 31, b"12345678")]), Ponged(*b"12345678"), Serves],
        ),
        row(
            "4.2: a frame of 2^14 bytes is taken (http2/4.2/1)",
            [
                send([post(1, "/public/a"), frame(DATA, END_STREAM, 1, &large[1..])]),
                Whole(1),
                Serves,
            ],
        ),
        row(
            "4.2: a larger DATA is an error (http2/4.2/2)",
            [
                send([post(1, BAD), frame(DATA, END_STREAM, 1, &large)]),
                Reset(1, &[FRAME_SIZE_ERROR]),
            ],
        ),
        row(
            "4.2: a larger HEADERS is an error (http2/4.2/3)",
            [send([frame(HEADERS, WHOLE, 1, &large)]), Ended(&[FRAME_SIZE_ERROR])],
        ),
        row(
            "4.3: a header block that is none ends the connection (http2/4.3/1)",
            [
                send([frame(HEADERS, WHOLE, 1, b"\x40\x01\x10\x01")]),
                Ended(&[COMPRESSION_ERROR, PROTOCOL_ERROR]),
            ],
        ),
        row(
            "4.3: nothing stands within a header block, not PRIORITY (http2/4.3/2, 6.2/1)",
            [
                send([open(), priority(1, 0, 15), frame(CONTINUATION, END_HEADERS, 1, back)]),
                Ended(&[PROTOCOL_ERROR]),
            ],
        ),
        row(
            "4.3: nor another stream's HEADERS (http2/4.3/3, 6.2/2)",
            [send([open(), frame(HEADERS, WHOLE, 3, &block)]), Ended(&[PROTOCOL_ERROR])],
        ),
        row(
            "4.3: nor another stream's CONTINUATION",
            [send([open(), frame(CONTINUATION, END_HEADERS, 3, back)]), Ended(&[PROTOCOL_ERROR])],
        ),
        row(
            "4.3, 5.5: nor what is unknown (http2/5.5/2)",
            [
                send([open(), unknown(0), frame(CONTINUATION, END_HEADERS, 1, back)]),
                Ended(&[PROTOCOL_ERROR]),
            ],
        ),
        row(
            "5.1: PRIORITY may come for an idle stream (generic/2/1, generic/3.3)",
            [
                send([priority(1, 0, 0), priority(3, 1, 255), priority(5, 1 << 31, 15), get(1)]),
                Whole(1),
                send([priority(9, 0, 255)]),
                send([get(7)]),
                Whole(7),
            ],
        ),
        row(
            "5.1: WINDOW_UPDATE, PRIORITY and RST_STREAM for a half-closed one (generic/2/2..4)",
            [
                send([settings(&[(INITIAL_WINDOW_SIZE, 0)]), get(1), get(3)]),
                Head(3),
                send([priority(1, 0, 15), update(1, 100)]),
                Whole(1),
                send([settings(&[(INITIAL_WINDOW_SIZE, 100)]), reset(3, 8)]),
                Serves,
            ],
        ),
        row(
            "5.1: PRIORITY for a closed one (generic/2/5)",
            [send([get(1)]), Whole(1), send([priority(1, 0, 15)]), Serves],
        ),
        row(
            "5.1: DATA for an idle stream (http2/5.1/1)",
            [send([frame(DATA, END_STREAM, 1, b"test")]), Ended(&[PROTOCOL_ERROR])],
        ),
        row(
            "5.1: RST_STREAM for an idle stream (http2/5.1/2, 6.4/2)",
            [send([reset(1, 8)]), Ended(&[PROTOCOL_ERROR])],
        ),
        row(
            "5.1: WINDOW_UPDATE for an idle stream (http2/5.1/3)",
            [send([update(1, 100)]), Ended(&[PROTOCOL_ERROR])],
        ),
        row(
            "5.1: CONTINUATION for an idle stream (http2/5.1/4)",
            [send([frame(CONTINUATION, END_HEADERS, 1, &block)]), Ended(&[PROTOCOL_ERROR])],
        ),
        row(
            "5.1: DATA for a half-closed stream (http2/5.1/5, 6.1/2)",
            [
                send([settings(&[(INITIAL_WINDOW_SIZE, 0)]), get(1)]),
                Head(1),
                send([frame(DATA, END_STREAM, 1, b"test")]),
                Reset(1, &[STREAM_CLOSED, H2_SAYS]),
            ],
        ),
        row(
            "5.1: HEADERS for a half-closed stream (http2/5.1/6)",
            [
                send([settings(&[(INITIAL_WINDOW_SIZE, 0)]), get(1)]),
                Head(1),
                send([frame(HEADERS, WHOLE, 1, &block)]),
                Reset(1, &[STREAM_CLOSED, H2_SAYS]),
            ],
        ),
        row(
            "5.1: CONTINUATION for a half-closed stream (http2/5.1/7)",
            [
                send([get(1), frame(CONTINUATION, END_HEADERS, 1, &block)]),
                Ended(&[PROTOCOL_ERROR, STREAM_CLOSED]),
            ],
        ),
        row(
            "5.1: DATA after RST_STREAM (http2/5.1/8)",
            [
                send([post(1, BAD), reset(1, 8), frame(DATA, END_STREAM, 1, b"test")]),
                Reset(1, &[STREAM_CLOSED]),
            ],
        ),
        row(
            "5.1: HEADERS after RST_STREAM (http2/5.1/9)",
            [
                send([post(1, BAD), reset(1, 8), frame(HEADERS, WHOLE, 1, &block)]),
                Reset(1, &[STREAM_CLOSED, H2_SAYS]),
            ],
        ),
        row(
            "5.1: CONTINUATION after RST_STREAM (http2/5.1/10)",
            [
                send([post(1, BAD), reset(1, 8), frame(CONTINUATION, END_HEADERS, 1, &block)]),
                Ended(&[PROTOCOL_ERROR, STREAM_CLOSED]),
            ],
        ),
        row(
            "5.1: DATA for a closed stream (http2/5.1/11)",
            [
                send([get(1)]),
                Whole(1),
                send([frame(DATA, END_STREAM, 1, b"test")]),
                Reset(1, &[STREAM_CLOSED]),
            ],
        ),
        row(
            "5.1: HEADERS for a closed stream (http2/5.1/12)",
            [
                send([get(1)]),
                Whole(1),
                send([frame(HEADERS, WHOLE, 1, &block)]),
                Ended(&[STREAM_CLOSED, PROTOCOL_ERROR]),
            ],
        ),
        row(
            "5.1: CONTINUATION for a closed stream (http2/5.1/13)",
            [
                send([get(1)]),
                Whole(1),
                send([frame(CONTINUATION, END_HEADERS, 1, &block)]),
                Ended(&[STREAM_CLOSED, PROTOCOL_ERROR]),
            ],
        ),
        row(
            "5.1.1: a client's streams have odd numbers (http2/5.1.1/1)",
            [send([frame(HEADERS, WHOLE, 2, &block)]), Ended(&[PROTOCOL_ERROR])],
        ),
        row(
            "5.1.1: and increasing ones (http2/5.1.1/2)",
            [
                send([get(5)]),
                Whole(5),
                send([frame(HEADERS, WHOLE, 3, &block)]),
                Ended(&[PROTOCOL_ERROR, STREAM_CLOSED]),
            ],
        ),
        row(
            "5.3.1: a stream that depends on itself (http2/5.3.1/1)",
            [
                send([frame(
                    HEADERS,
                    WHOLE | PRIORITIZED,
                    1,
                    &[&dependency(1, 255)[..], &block].concat(),
                )]),
                Reset(1, &[PROTOCOL_ERROR]),
            ],
        ),
        row(
            "5.3.1: the same by PRIORITY (http2/5.3.1/2)",
            [send([priority(1, 1, 255)]), Reset(1, &[PROTOCOL_ERROR])],
        ),
        row(
            "5.4.1: an error of the connection is told and closes it (http2/5.4.1)",
            [send([frame(PING, 0, 1, b"12345678")]), Ended(&[PROTOCOL_ERROR])],
        ),
    ]
}

//! Compressed header blocks.

use super::Step::{Ended, Send, Serves, Whole};
use super::{COMPRESSION_ERROR, H2_SAYS, Row, WHOLE, fields, row};
use crate::harness::HOST;
use crate::harness::frames::{HEADERS, frame, literals};

/// A GET for [`BODY`] by the static table, with a further representation in its block.
fn hpack(further: &[u8]) -> Vec<u8> {
    let mut block = vec![0x82, 0x87];
    for (name, value) in [(0x01, HOST), (0x04, "/public/a")] {
        block.extend([name, u8::try_from(value.len()).unwrap()]);
        block.extend(value.as_bytes());
    }
    frame(HEADERS, WHOLE, 1, &[&block[..], further].concat())
}

/// A literal of a name in the static table, or of a new one (`custom-key`).
fn literal(kind: u8, prefix: u8, indexed: bool, huffman: bool) -> Vec<u8> {
    // RFC 7541 appendix C.4: `custom-key`, `custom-value`.
    let coded: [&[u8]; 2] = [
        &[0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xa9, 0x7d, 0x7f],
        &[0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xb8, 0xe8, 0xb4, 0xbf],
    ];
    let text = |at: usize| match huffman {
        true => [&[0x80 | u8::try_from(coded[at].len()).unwrap()], coded[at]].concat(),
        false => {
            let plain = ["custom-key", "custom-value"][at].as_bytes();
            [&[u8::try_from(plain.len()).unwrap()], plain].concat()
        }
    };
    // `accept-language`, which is 17 in the static table: more than four bits hold.
    let name = match (indexed, prefix) {
        (false, _) => [vec![kind], text(0)].concat(),
        (true, 6) => vec![kind | 17],
        (true, _) => vec![kind | 15, 2],
    };
    [name, text(1)].concat()
}

/// `user-agent` (58 in the static table) with these bytes as its Huffman-coded value.
fn huffman(coded: &[u8]) -> Vec<u8> {
    hpack(&[&[0x40 | 58, 0x80 | u8::try_from(coded.len()).unwrap()], coded].concat())
}

/// RFC 7541.
pub(super) fn rows() -> Vec<Row> {
    let taken = |rule, sent| row(rule, [Send(sent), Whole(1), Serves]);
    let broken = |rule, sent| row(rule, [Send(sent), Ended(&[COMPRESSION_ERROR, H2_SAYS])]);
    let kinds = [
        ("6.2.1: literals that are indexed (hpack generic/5/2..5)", 0x40, 6),
        ("6.2.2: literals that are not (generic/5/6..9)", 0x00, 4),
        ("6.2.3: literals that never are (generic/5/10..13)", 0x10, 4),
    ];
    let mut rows = vec![taken("6.1: indexed fields (generic/5/1)", hpack(&[0x80 | 16]))];
    for (rule, kind, prefix) in kinds {
        for (indexed, huffman) in [(true, false), (true, true), (false, false), (false, true)] {
            rows.push(taken(rule, hpack(&literal(kind, prefix, indexed, huffman))));
        }
    }
    let sized = |updates: &[u8]| {
        let block = [updates, &literals(&fields("GET", "/public/a"))].concat();
        frame(HEADERS, WHOLE, 1, &block)
    };
    rows.extend([
        taken("6.3: the table's size changes (generic/5/14)", sized(&[0x20 | 30])),
        taken("6.3: twice, too (generic/5/15)", sized(&[0x20, 0x20 | 30])),
        broken("2.3.3: an index beyond both tables (hpack/2.3.3/1)", hpack(&[0x80 | 70])),
        broken("2.3.3: as a name (hpack/2.3.3/2)", hpack(&[0x40 | 0x3f, 7, 1, b'x'])),
        broken("4.2: a change of size behind the fields (hpack/4.2/1)", hpack(&[0x20 | 1])),
        // `no-cache` of appendix C.4.2, and a byte too many.
        broken(
            "5.2: padding of more than seven bits (hpack/5.2/1)",
            huffman(&[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf, 0xff]),
        ),
        // `a` and zeros.
        broken("5.2: padding that is not the start of EOS (hpack/5.2/2)", huffman(&[0x18])),
        // `a`, EOS and padding.
        broken("5.2: EOS itself (hpack/5.2/3)", huffman(&[0x1f, 0xff, 0xff, 0xff, 0xff])),
        broken("5.1: a number without an end", hpack(&[0xff; 12])),
        broken("5.2: a text that ends behind its block", hpack(&[0x40, 5, b'x'])),
        broken("6.1: index 0 (hpack/6.1/1)", hpack(&[0x80])),
        // 4097
        broken("6.3: a table larger than was allowed (hpack/6.3/1)", sized(&[0x3f, 0xe2, 0x1f])),
    ]);
    rows
}

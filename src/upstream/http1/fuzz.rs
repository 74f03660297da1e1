//! A door for the fuzz target `upstream_answer`; in no other build.

use bytes::BytesMut;
use http::{HeaderMap, Method};

use super::{Framing, end, head};
use crate::message::http1::chunked::{Chunked, Piece};
use crate::message::http1::lines::Lines;

/// The body of the answer to a GET that comes in these pieces, as far as it goes. `None`: it is not
/// acceptable, or its head has not come to its end.
pub fn read_answer(pieces: &[&[u8]]) -> Option<Vec<u8>> {
    let mut input = BytesMut::new();
    let mut framing: Option<Framing> = None;
    let mut body = Vec::new();
    for piece in pieces {
        input.extend_from_slice(piece);
        if framing.is_none() {
            let mut ends = Vec::new();
            let Some(until) = end(&input, &mut ends).ok()? else { continue };
            let block = input.split_to(until).freeze();
            let lines = Lines::of(&block, &ends);
            framing = Some(head::read(lines, &Method::GET, HeaderMap::new()).ok()?.1);
        }
        match framing.as_mut()? {
            Framing::Length(left) => {
                let count = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                body.extend_from_slice(&input.split_to(count));
                *left = left.saturating_sub(count as u64);
            }
            Framing::Chunked(chunked) => unchunk(chunked, &mut input, &mut body)?,
            Framing::ToEnd => body.extend_from_slice(&input.split()),
        }
    }
    framing.map(|_| body)
}

fn unchunk(chunked: &mut Chunked, input: &mut BytesMut, body: &mut Vec<u8>) -> Option<()> {
    while !chunked.is_end() {
        match chunked.decode(input).ok()? {
            Piece::Data(data) => body.extend_from_slice(&data),
            Piece::Trailers(_) => {}
            Piece::More | Piece::End => break,
        }
    }
    Some(())
}

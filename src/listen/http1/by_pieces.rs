//! Requests that come in whatever pieces, read without a socket: for tests and the fuzz target
//! `client_requests`, and in no other build.
#![cfg_attr(not(fuzzing), allow(unreachable_pub, reason = "only fuzzing comes here from without"))]

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::Body as _;
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};

use super::head;
use super::wire::{Ended, Shared};
use crate::deadline::Deadlines;
use crate::listen::accept::ConnectionPermit;
use crate::listen::pulse::{Pulse, Times};
use crate::message::http1::lines::Known;

/// Bytes and fields of a head.
const MOST: (usize, usize) = (8 * 1024, 100);

/// What a client sends, and then it has ended.
struct Pieces(VecDeque<Bytes>);

impl AsyncBufRead for Pieces {
    fn poll_fill_buf(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        Poll::Ready(Ok(self.get_mut().0.front().map_or(&[], |piece| piece)))
    }

    fn consume(mut self: Pin<&mut Self>, count: usize) {
        if let Some(piece) = self.0.front_mut() {
            piece.advance(count);
            if piece.is_empty() {
                self.0.pop_front();
            }
        }
    }
}

impl AsyncRead for Pieces {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// What is said to the client is not looked at.
impl AsyncWrite for Pieces {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Ended for Pieces {
    fn poll_ended(&mut self, _: &mut Context<'_>) -> Poll<io::Result<bool>> {
        Poll::Pending
    }
}

/// All requests that come in these pieces on one connection, until it ends or must end: first line and fields of each,
/// its body, and whether that came to its end.
pub fn read_requests(pieces: &[&[u8]]) -> Vec<(String, Vec<u8>, bool)> {
    let pieces = pieces.iter().filter(|piece| !piece.is_empty());
    let stream = Pieces(pieces.map(|piece| Bytes::copy_from_slice(piece)).collect());
    let deadlines = Deadlines::new();
    let (reading, writing) = (deadlines.entry(), deadlines.entry());
    let second = Duration::from_secs(1);
    let times = Times { requests: u32::MAX, keep_alive: second, head: second, write_stall: second };
    let pulse = Pulse::new(reading.timer(), writing.timer(), times);
    let wire = Shared::new(stream, pulse, ConnectionPermit::free());
    let cx = &mut Context::from_waker(Waker::noop());
    let (mut ends, mut known, mut all) = (Vec::new(), Known::of_requests(), Vec::new());
    while let Poll::Ready(Ok(Some(Ok(block)))) =
        wire.with(|wire| wire.poll_head(cx, &mut ends, MOST))
    {
        let Ok(asking) = head::read(&block, &ends, &mut known, HeaderMap::new()) else { break };
        let said = format!("{} {} {:?}", asking.head.method, asking.head.uri, asking.head.headers);
        let mut body = wire.begin(asking.framing, asking.expects);
        let mut data = Vec::new();
        while let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut body).poll_frame(cx) {
            data.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
        }
        let whole = body.is_end_stream();
        all.push((said, data, whole));
        drop(body);
        let goes_on = wire.with(|wire| wire.answer(cx)) && asking.keep_alive;
        let settled = matches!(wire.with(|wire| wire.poll_settled(cx)), Poll::Ready(true));
        if !(goes_on && settled) {
            break;
        }
    }
    all
}

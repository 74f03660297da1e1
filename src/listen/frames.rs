//! What costs the gateway more than its client: HTTP/2 streams that are begun and reset, and frames
//! that carry nothing (CVE-2023-44487, CVE-2019-9515, CVE-2019-9518). h2 bounds what they hold in
//! memory; this bounds how many come. It reads the heads of frames as the bytes pass, and nothing else.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::config::Limits;
use crate::deadline::{TICK, Timer};

/// The time for which the limits hold.
const WINDOW: Duration = Duration::from_secs(10);
/// RFC 9113 section 3.4: what a client sends before its first frame.
const PREFACE: u32 = 24;
/// RFC 9113 section 4.1: a frame's head.
const HEAD: usize = 9;

/// A connection of HTTP/2, whose frames are counted.
#[derive(Debug)]
pub(super) struct Frames<S> {
    stream: S,
    count: Count,
    clock: Timer,
    peer: SocketAddr,
}

/// Where in the frames a connection is, and how many of them were of no use.
#[derive(Debug)]
struct Count {
    /// Bytes that still belong to the frame before.
    skip: u32,
    head: [u8; HEAD],
    have: usize,
    resets: Quota,
    empty: Quota,
}

#[derive(Debug)]
struct Quota {
    most: u32,
    since: u32,
    count: u32,
}

impl Quota {
    const fn new(most: u32, now: u32) -> Self {
        Self { most, since: now, count: 0 }
    }

    /// One more. `false`: it is one too many.
    fn take(&mut self, now: u32) -> bool {
        if u128::from(now.saturating_sub(self.since)) >= WINDOW.as_millis() / TICK.as_millis() {
            (self.since, self.count) = (now, 0);
        }
        self.count = self.count.saturating_add(1);
        self.count <= self.most
    }
}

impl Count {
    const fn new(resets: u32, empty: u32, now: u32) -> Self {
        Self {
            skip: PREFACE,
            head: [0; HEAD],
            have: 0,
            resets: Quota::new(resets, now),
            empty: Quota::new(empty, now),
        }
    }

    /// Takes note of further bytes. An error names the limit that has been passed.
    fn pass(&mut self, mut bytes: &[u8], now: u32) -> Result<(), &'static str> {
        loop {
            let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
            // No more than `skip`, which is a `u32`.
            self.skip -= u32::try_from(skipped).unwrap_or(self.skip);
            bytes = bytes.get(skipped..).unwrap_or_default();
            let missing = HEAD - self.have;
            let (Some(space), Some(part)) =
                (self.head.get_mut(self.have..), bytes.get(..missing.min(bytes.len())))
            else {
                return Ok(());
            };
            if part.is_empty() {
                return Ok(());
            }
            space.iter_mut().zip(part).for_each(|(space, byte)| *space = *byte);
            self.have += part.len();
            bytes = bytes.get(part.len()..).unwrap_or_default();
            if self.have == HEAD {
                self.have = 0;
                self.frame(now)?;
            }
        }
    }

    /// A frame's head is whole.
    fn frame(&mut self, now: u32) -> Result<(), &'static str> {
        const END_STREAM_OR_ACK: u8 = 0x1;
        let [high, middle, low, kind, flags, ..] = self.head;
        let length = u32::from_be_bytes([0, high, middle, low]);
        self.skip = length;
        let flagged = flags & END_STREAM_OR_ACK != 0;
        // RFC 9113 section 6, by number.
        let empty = match kind {
            // DATA, CONTINUATION
            0 => length == 0 && !flagged,
            9 => length == 0,
            // HEADERS, PUSH_PROMISE, GOAWAY and WINDOW_UPDATE are held to rules of their own.
            1 | 5 | 7 | 8 => false,
            3 => return if self.resets.take(now) { Ok(()) } else { Err("limits.h2_resets") },
            // SETTINGS; their acknowledgement answers ours.
            4 => !flagged,
            // PING: an answer to one that we have hardly ever sent. A question is answered before
            // anything further is read.
            6 => flagged,
            // PRIORITY, and what is not known.
            _ => true,
        };
        if empty && !self.empty.take(now) {
            return Err("limits.h2_empty_frames");
        }
        Ok(())
    }
}

impl<S> Frames<S> {
    /// Counts what comes through `stream` from `peer`, by the ticks of `clock`.
    pub(super) fn new(stream: S, limits: &Limits, clock: Timer, peer: SocketAddr) -> Self {
        Self {
            stream,
            count: Count::new(limits.h2_resets, limits.h2_empty_frames, clock.now()),
            clock,
            peer,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Frames<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        space: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = space.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, space))?;
        let bytes = space.filled().get(before..).unwrap_or_default();
        if let Err(limit) = this.count.pass(bytes, this.clock.now()) {
            tracing::warn!(peer = %this.peer, limit, "an HTTP/2 connection is cut off");
            return Poll::Ready(Err(io::Error::other("too many frames of no use")));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Frames<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        all: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, all)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    #[test]
    fn what_carries_something_is_not_counted_and_what_does_not_is_forgiven_in_time() {
        let mut count = Count::new(10, 10, 0);
        count.pass(&[b'x'; PREFACE as usize], 0).unwrap();
        let useful =
            [frame(0, 0, b"body"), frame(0, 1, b""), frame(1, 5, b"block"), frame(4, 1, b"")];
        for _ in 0..100 {
            count.pass(&useful.concat(), 0).unwrap();
        }
        let useless = [frame(0, 0, b""), frame(9, 4, b""), frame(2, 0, b"12345"), frame(4, 0, b"")];
        for window in 0..3 {
            let now = window * 40;
            for _ in 0..2 {
                count.pass(&useless.concat(), now).unwrap();
            }
            count.pass(&frame(6, 1, b"12345678"), now).unwrap();
            count.pass(&frame(0xee, 0, b""), now).unwrap();
            for _ in 0..10 {
                count.pass(&frame(3, 0, &[0; 4]), now).unwrap();
            }
        }
        assert_eq!(count.pass(&frame(0, 0, b""), 119), Err("limits.h2_empty_frames"));
        assert_eq!(count.pass(&frame(3, 0, &[0; 4]), 119), Err("limits.h2_resets"));
    }

    proptest! {
        #[test]
        fn frames_are_found_however_their_bytes_are_cut(
            frames in prop::collection::vec(
                (0..10_u8, any::<u8>(), prop::collection::vec(any::<u8>(), 0..40)), 0..40),
            cuts in prop::collection::vec(1..50_usize, 1..20),
        ) {
            let any = u32::MAX;
            let (mut whole, mut parts) = (Count::new(any, any, 0), Count::new(any, any, 0));
            let mut bytes = vec![b'x'; PREFACE as usize];
            for (kind, flags, payload) in &frames {
                bytes.extend(frame(*kind, *flags, payload));
            }
            whole.pass(&bytes, 0).unwrap();
            let (mut rest, mut cuts) = (&bytes[..], cuts.iter().cycle());
            while !rest.is_empty() {
                let (part, further) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
                parts.pass(part, 0).unwrap();
                rest = further;
            }
            prop_assert_eq!((whole.skip, whole.have), (0, 0));
            prop_assert_eq!((parts.skip, parts.have), (0, 0));
            let resets = frames.iter().filter(|(kind, ..)| *kind == 3).count();
            prop_assert_eq!(whole.resets.count as usize, resets);
            prop_assert_eq!(whole.resets.count, parts.resets.count);
            prop_assert_eq!(whole.empty.count, parts.empty.count);
        }
    }
}

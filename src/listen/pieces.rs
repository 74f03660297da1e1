//! A connection's TLS, given and asked for bytes by small pieces.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

use super::client::Client;
use super::http1::Ended;

/// The most that is copied at once. TLS copies all that goes through it, to places that are not
/// aligned (five bytes of header stand before a record's text), and from 2 KiB on the C library
/// copies by an instruction (`rep movsb`) that is several times slower there than vectors are.
const PIECE: usize = 31 * 64;

/// Pieces of one write: as many as rustls takes in at once.
const PIECES_MAX: usize = 34;

/// Puts a copy of `bytes` behind what is in `into`.
pub(super) fn append(into: &mut BytesMut, bytes: &[u8]) {
    into.reserve(bytes.len());
    bytes.chunks(PIECE).for_each(|piece| into.extend_from_slice(piece));
}

/// Copies by pieces of at most [`PIECE`] bytes.
#[derive(Debug)]
pub(super) struct Pieces<S>(pub(super) S);

impl<S: AsyncBufRead + Unpin> AsyncRead for Pieces<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        space: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let bytes = ready!(Pin::new(&mut self.0).poll_fill_buf(cx))?;
        let count = bytes.len().min(space.remaining());
        let taken = bytes.get(..count).unwrap_or_default();
        taken.chunks(PIECE).for_each(|piece| space.put_slice(piece));
        Pin::new(&mut self.0).consume(count);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncBufRead + Unpin> AsyncBufRead for Pieces<S> {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        Pin::new(&mut self.get_mut().0).poll_fill_buf(cx)
    }

    fn consume(mut self: Pin<&mut Self>, count: usize) {
        Pin::new(&mut self.0).consume(count);
    }
}

impl Ended for Pieces<TlsStream<Client>> {
    fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let (Client(socket), session) = self.0.get_ref();
        // Only if something came: nearly always nothing did, and this is looked at for each request.
        if session.wants_read() {
            ready!(socket.poll_read_ready(cx))?;
        }
        // Nothing more for TLS is its own end (RFC 8446 section 6.1); TCP's without that is an error.
        Poll::Ready(Ok(ready!(Pin::new(&mut self.0).poll_fill_buf(cx))?.is_empty()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Pieces<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let stream = Pin::new(&mut self.0);
        match slices {
            [one] if one.len() <= PIECE => stream.poll_write(cx, one),
            slices if slices.iter().all(|slice| slice.len() <= PIECE) => {
                stream.poll_write_vectored(cx, slices)
            }
            slices => {
                let mut pieces = [IoSlice::new(b""); PIECES_MAX];
                let cut = slices.iter().flat_map(|slice| slice.chunks(PIECE));
                let mut count = 0;
                for (place, piece) in pieces.iter_mut().zip(cut) {
                    *place = IoSlice::new(piece);
                    count += 1;
                }
                stream.poll_write_vectored(cx, pieces.get(..count).unwrap_or_default())
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use proptest::prelude::*;
    use tokio::io::BufReader;

    use super::*;

    /// Takes what it is given, and remembers how it was cut.
    #[derive(Default)]
    struct Sink(Vec<Vec<u8>>);

    impl AsyncWrite for Sink {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.0.push(bytes.to_vec());
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            self.0.extend(slices.iter().map(|slice| slice.to_vec()));
            Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    proptest! {
        #[test]
        fn all_bytes_pass_in_order_and_none_in_a_long_piece(
            slices in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..3 * PIECE), 1..6),
        ) {
            let whole = slices.concat();
            let cx = &mut Context::from_waker(Waker::noop());
            let (mut given, mut sink) = (0, Pieces(Sink::default()));
            while let Some(rest) = whole.get(given..).filter(|rest| !rest.is_empty()) {
                // As a writer goes on that was taken less from than it had.
                let mut skip = whole.len() - rest.len();
                let left: Vec<IoSlice<'_>> = slices
                    .iter()
                    .map(|slice| {
                        let gone = skip.min(slice.len());
                        skip -= gone;
                        IoSlice::new(&slice[gone..])
                    })
                    .collect();
                let written = Pin::new(&mut sink).poll_write_vectored(cx, &left);
                let Poll::Ready(Ok(count)) = written else { panic!("a sink is always ready") };
                prop_assert!(count > 0);
                given += count;
            }
            prop_assert!(sink.0.0.iter().all(|piece| piece.len() <= PIECE));
            prop_assert_eq!(sink.0.0.concat(), whole.clone());

            let mut source = Pieces(BufReader::new(whole.as_slice()));
            let mut read = Vec::new();
            let mut space = vec![0; PIECE * 2 + 1];
            loop {
                let mut space = ReadBuf::new(&mut space);
                prop_assert!(Pin::new(&mut source).poll_read(cx, &mut space).is_ready());
                if space.filled().is_empty() {
                    break;
                }
                read.extend_from_slice(space.filled());
            }
            prop_assert_eq!(read, whole);
        }
    }
}

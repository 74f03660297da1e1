//! In the place of TCP for the fuzz target `journey`, so that a whole exchange takes place in one thread
//! and nothing of it depends on the network's mood; in no other build.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, ReadHalf, WriteHalf};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Bytes under way in one direction.
const ROOM: usize = 64 * 1024;

thread_local! {
    static APPLICATION: RefCell<Option<UnboundedSender<DuplexStream>>> = const { RefCell::new(None) };
}

/// From here on, whatever is connected to on this thread is who receives from this.
pub fn applications() -> UnboundedReceiver<DuplexStream> {
    let (sender, receiver) = unbounded_channel();
    APPLICATION.set(Some(sender));
    receiver
}

/// A connection through memory.
#[derive(Debug)]
pub(super) struct TcpStream(DuplexStream);

/// What comes.
pub(super) type OwnedReadHalf = ReadHalf<TcpStream>;
/// What goes.
pub(super) type OwnedWriteHalf = WriteHalf<TcpStream>;

impl TcpStream {
    #[expect(clippy::unused_async, reason = "stands in for what is")]
    pub(super) async fn connect(_address: (&str, u16)) -> io::Result<Self> {
        let (ours, theirs) = tokio::io::duplex(ROOM);
        let taken = APPLICATION.with_borrow(|application| {
            application.as_ref().is_some_and(|application| application.send(theirs).is_ok())
        });
        if taken { Ok(Self(ours)) } else { Err(io::ErrorKind::ConnectionRefused.into()) }
    }

    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "stands in for what does")]
    pub(super) fn set_nodelay(&self, _on: bool) -> io::Result<()> {
        Ok(())
    }

    pub(super) fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        tokio::io::split(self)
    }
}

impl AsyncRead for TcpStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        space: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, space)
    }
}

impl AsyncWrite for TcpStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, pieces)
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

//! What comes behind a request's head, however its connection brings it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite};

/// Why the rest of a client's body does not come.
pub type Lost = Box<dyn std::error::Error + Send + Sync>;

/// A client's body.
#[derive(Default)]
pub enum ClientBody {
    /// None.
    #[default]
    Empty,
    /// Of a stream of HTTP/2.
    Stream(hyper::body::Incoming),
    /// From a connection of HTTP/1.1. Boxed: most requests have none.
    Wire(Pin<Box<dyn Body<Data = Bytes, Error = Lost>>>),
}

impl fmt::Debug for ClientBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "Empty",
            Self::Stream(_) => "Stream",
            Self::Wire(_) => "Wire",
        })
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = Lost;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Lost>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Stream(incoming) => Pin::new(incoming)
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(Lost::from))),
            Self::Wire(body) => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Stream(incoming) => incoming.is_end_stream(),
            Self::Wire(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Stream(incoming) => incoming.size_hint(),
            Self::Wire(body) => body.size_hint(),
        }
    }
}

/// Bytes both ways.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Duplex for T {}

/// The client's end of a connection (or stream) that is to leave HTTP: ready once our own 101, or what stands
/// for it over HTTP/2, has been sent, and never before. `None`: it came to nothing.
pub struct Switch(Pin<Box<dyn Future<Output = Switched>>>);

/// What there is of it then.
pub type Switched = Option<Box<dyn Duplex>>;

impl Switch {
    /// What will be there when `switched` is ready.
    pub fn new(switched: impl Future<Output = Switched> + 'static) -> Self {
        Self(Box::pin(switched))
    }

    /// Waits for it.
    pub async fn switched(self) -> Switched {
        self.0.await
    }
}

impl fmt::Debug for Switch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Switch")
    }
}

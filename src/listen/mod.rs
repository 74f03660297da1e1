//! From the wire to a request: accept under limits, TLS, HTTP/1.1 or HTTP/2 with limits. What a
//! request means is decided above, by whoever implements [`Answer`].

mod accept;
pub mod certificate;
mod connection;
mod guarded;
mod tls;

use std::net::SocketAddr;
use std::rc::Rc;

use http::{Request, Response};
use hyper::body::Incoming;

use crate::message::forwarded::Hop;
pub use accept::{Acceptor, Door, Socket, listen as bind};
pub use connection::{Connections, Kind, serve};
pub use rustls::ServerConfig as TlsConfig;
pub use tls::TlsError;
pub use tls::server_config as tls_config;

/// What is known of a connection when a request on it arrives.
#[derive(Debug)]
pub struct Arrival {
    /// The network peer.
    pub peer: SocketAddr,
    /// Whether the connection is TLS.
    pub secure: bool,
    /// Whether it is HTTP/2.
    pub h2: bool,
    /// What upstreams are told of it.
    pub hop: Hop,
}

impl Arrival {
    fn new(peer: SocketAddr, secure: bool, h2: bool) -> Rc<Self> {
        Rc::new(Self { peer, secure, h2, hop: Hop::new(peer.ip(), secure) })
    }
}

/// Turns requests into responses, on one core.
pub trait Answer: 'static {
    /// The body of a response.
    type Body: http_body::Body<Data = bytes::Bytes, Error: Into<BoxError>> + Unpin + 'static;

    /// Answers one request. Never fails: a failure is a response too.
    fn answer(
        self: Rc<Self>,
        request: Request<Incoming>,
        arrival: Rc<Arrival>,
    ) -> impl Future<Output = Response<Self::Body>> + 'static;
}

/// What hyper takes as the error of a body.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

//! What is known of a connection when a request on it arrives.

use std::any::Any;
use std::fmt;
use std::net::SocketAddr;

use super::forwarded::Hop;

/// One connection, as its requests see it.
pub struct Arrival {
    /// The network peer.
    pub peer: SocketAddr,
    /// Whether the connection is TLS.
    pub secure: bool,
    /// Whether it is HTTP/2.
    pub h2: bool,
    /// What upstreams are told of it.
    pub hop: Hop,
    /// The host that was named when TLS began, if one was.
    pub named: Option<Named>,
    /// Makes what keeps the connection from being idle, for a stream that outlives its answer.
    pub hold: Option<Hold>,
}

/// What it makes counts as a request under way until it is dropped.
pub type Hold = Box<dyn Fn() -> Box<dyn Any>>;

impl fmt::Debug for Arrival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arrival").field("peer", &self.peer).finish_non_exhaustive()
    }
}

/// The host of a TLS handshake (SNI).
pub struct Named {
    name: String,
    also: Box<dyn Fn(&str) -> bool>,
}

impl Named {
    /// `also`: which other hosts the certificate that was shown for `name` (lower case) is good for.
    pub fn new(name: String, also: impl Fn(&str) -> bool + 'static) -> Self {
        Self { name, also: Box::new(also) }
    }

    /// Whether requests for `host` belong on this connection.
    pub fn serves(&self, host: &str) -> bool {
        self.name == host || (self.also)(host)
    }
}

impl fmt::Debug for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Arrival {
    /// A connection from `peer`.
    pub fn new(peer: SocketAddr, secure: bool, h2: bool) -> Self {
        Self { peer, secure, h2, hop: Hop::new(peer.ip(), secure), named: None, hold: None }
    }
}

//! What is known of a connection when a request on it arrives.

use std::net::SocketAddr;

use super::forwarded::Hop;

/// One connection, as its requests see it.
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
    /// A connection from `peer`.
    pub fn new(peer: SocketAddr, secure: bool, h2: bool) -> Self {
        Self { peer, secure, h2, hop: Hop::new(peer.ip(), secure) }
    }
}

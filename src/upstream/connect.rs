//! From a server's name to a connection that speaks HTTP.

use std::io;

#[cfg(not(fuzzing))]
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::http1::Connection;
use super::http2;
#[cfg(fuzzing)]
use super::memory::TcpStream;
use super::tls::Trust;
use super::wire::Wire;
use crate::config::{Server, UpstreamHttp};

/// A connection in the protocol that the server wants.
pub(super) enum Connected {
    One(Box<Connection>),
    Two(http2::Fresh),
}

/// Connects. `only_http1`: for a request that HTTP/2 cannot carry.
pub(super) async fn connect(
    server: &Server,
    trust: Option<&Trust>,
    http: UpstreamHttp,
    only_http1: bool,
) -> io::Result<Connected> {
    let host = server.host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((host, server.port)).await?;
    stream.set_nodelay(true)?;
    let (wire, two) = match trust {
        None => (Wire::Plain(stream), http == UpstreamHttp::Two && !only_http1),
        Some(trust) => {
            let connector = TlsConnector::from(trust.config(only_http1));
            let stream = connector.connect(trust.name(host)?, stream).await?;
            let agreed = stream.get_ref().1.alpn_protocol();
            let two = agreed == Some(b"h2");
            if http == UpstreamHttp::Two && !two && !only_http1 {
                return Err(io::Error::other("the server does not agree to HTTP/2"));
            }
            (Wire::Tls(Box::new(stream)), two)
        }
    };
    if two {
        return http2::begin(wire).await.map(Connected::Two);
    }
    Ok(Connected::One(Box::new(Connection::new(wire))))
}

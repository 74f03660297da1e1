//! From a server's name to a connection that speaks HTTP/1.1.

use std::io;

use tokio::net::TcpStream;

use super::http1::Connection;
use crate::config::Server;

/// Connects.
pub(super) async fn connect(server: &Server) -> io::Result<Box<Connection>> {
    let host = server.host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((host, server.port)).await?;
    stream.set_nodelay(true)?;
    Ok(Box::new(Connection::new(stream)))
}

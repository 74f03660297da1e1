//! From a server's name to a connection that speaks HTTP/1.1.

use std::io;

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::RequestBody;
use crate::config::Server;

/// A response head may be this large; beyond it the upstream is broken.
const RESPONSE_HEAD_BYTES: usize = 64 * 1024;
const RESPONSE_FIELDS: usize = 256;

/// Connects, and drives the connection on this core until it ends.
pub(super) async fn connect(server: &Server) -> io::Result<SendRequest<RequestBody>> {
    let host = server.host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((host, server.port)).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = http1::Builder::new()
        .max_headers(RESPONSE_FIELDS)
        .max_buf_size(RESPONSE_HEAD_BYTES)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    tokio::task::spawn_local(async move {
        // How an exchange failed is told to the one who waits for it; what happens to an idle
        // connection matters to nobody.
        let _closed = connection.with_upgrades().await;
    });
    Ok(sender)
}

//! 101: the two connections become one stream of bytes.

use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::ResponseBody;
use crate::deadline::Deadlines;

/// Bytes copied at a time and direction.
const CHUNK: usize = 16 * 1024;

/// Both ends of a switch of protocols that the upstream has agreed to.
#[derive(Debug)]
pub struct Tunnel {
    /// The client's end; ready once our own 101 has been sent, and never before.
    pub client: OnUpgrade,
    /// The upstream's end.
    pub upstream: OnUpgrade,
    /// The body of its 101, which holds the connection and counts as under way.
    pub body: ResponseBody,
    /// Cut when neither end has sent anything for this long.
    pub idle: Duration,
}

/// Copies both ways until either end closes, is idle for too long, or `stop` is ready.
pub async fn tunnel(tunnel: Tunnel, deadlines: Rc<Deadlines>, stop: impl Future<Output = ()>) {
    let lease = tunnel.body.into_lease();
    let (Ok(client), Ok(upstream)) = (tunnel.client.await, tunnel.upstream.await) else { return };
    let (client_in, client_out) = tokio::io::split(TokioIo::new(client));
    let (upstream_in, upstream_out) = tokio::io::split(TokioIo::new(upstream));
    let idle = tunnel.idle;
    let up = copy(client_in, upstream_out, idle, &deadlines);
    let down = copy(upstream_in, client_out, idle, &deadlines);
    tokio::select! {
        // One half may close and the other go on: each ends by itself.
        _ = async { tokio::join!(up, down) } => {}
        () = stop => {}
    }
    // Counted as under way until here.
    drop(lease);
}

async fn copy(
    mut from: tokio::io::ReadHalf<TokioIo<Upgraded>>,
    mut to: tokio::io::WriteHalf<TokioIo<Upgraded>>,
    idle: Duration,
    deadlines: &Rc<Deadlines>,
) {
    let _ = pump(&mut from, &mut to, idle, deadlines).await;
    // The end of one direction is told to the other side, which may still be sending.
    let _ = deadlines.limit(idle, to.shutdown()).await;
}

async fn pump(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    idle: Duration,
    deadlines: &Rc<Deadlines>,
) -> std::io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = deadlines.limit(idle, from.read(&mut chunk)).await;
        let count = read.map_err(std::io::Error::other)??;
        let Some(bytes) = chunk.get(..count).filter(|bytes| !bytes.is_empty()) else {
            return Ok(());
        };
        deadlines.limit(idle, to.write_all(bytes)).await.map_err(std::io::Error::other)??;
        deadlines.limit(idle, to.flush()).await.map_err(std::io::Error::other)??;
    }
}

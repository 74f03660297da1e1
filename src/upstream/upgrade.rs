//! 101: the two connections become one stream of bytes.

use std::future::{Future, poll_fn};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::ResponseBody;
use crate::deadline::{Deadlines, Timer};

/// Bytes copied at a time and direction.
const CHUNK: usize = 16 * 1024;

/// Both ends of a switch of protocols that the upstream has agreed to.
#[derive(Debug)]
pub struct Tunnel {
    /// The client's end; ready once our own 101 has been sent, and never before.
    pub client: OnUpgrade,
    /// What the upstream's 101 came with: it holds the connection, and counts as under way.
    pub upstream: ResponseBody,
    /// Cut when neither end has sent anything for this long.
    pub idle: Duration,
}

/// Copies both ways until either end closes, neither has sent anything for `idle`, or `stop` is
/// ready.
pub async fn tunnel(tunnel: Tunnel, deadlines: Rc<Deadlines>, stop: impl Future<Output = ()>) {
    let Some(lease) = tunnel.upstream.into_lease() else { return };
    // Counted as under way until the end.
    let (connection, _slot) = lease.into_parts();
    let Some((upstream_in, upstream_out)) = connection.into_halves() else { return };
    let Ok(client) = tunnel.client.await else { return };
    let (client_in, client_out) = tokio::io::split(TokioIo::new(client));
    // One for both directions: a page that only listens is not idle while it is told something.
    let quiet = deadlines.entry();
    quiet.arm(tunnel.idle);
    let (timer, idle) = (quiet.timer(), tunnel.idle);
    let up = copy(client_in, upstream_out, idle, &timer);
    let down = copy(upstream_in, client_out, idle, &timer);
    tokio::select! {
        // One half may close and the other go on: each ends by itself.
        _ = async { tokio::join!(up, down) } => {}
        () = stop => {}
        () = poll_fn(|cx| quiet.poll(cx)) => {}
    }
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    idle: Duration,
    quiet: &Timer,
) {
    let _ended = pump(&mut from, &mut to, idle, quiet).await;
    // The end of one direction is told to the other side, which may still be sending.
    let _told = to.shutdown().await;
}

async fn pump(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    idle: Duration,
    quiet: &Timer,
) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    loop {
        let count = from.read(&mut chunk).await?;
        let Some(bytes) = chunk.get(..count).filter(|bytes| !bytes.is_empty()) else {
            return Ok(());
        };
        quiet.arm(idle);
        to.write_all(bytes).await?;
        to.flush().await?;
        quiet.arm(idle);
    }
}

//! 101: the two connections become one stream of bytes.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::ResponseBody;
use super::frames::Frames;
use crate::deadline::{Deadlines, Timer};
use crate::message::incoming::Switch;

/// Bytes copied at a time and direction.
const CHUNK: usize = 16 * 1024;

/// How long a client may take for our last word.
const FAREWELL: Duration = Duration::from_secs(1);

/// Both ends of a switch of protocols that the upstream has agreed to.
#[derive(Debug)]
pub struct Tunnel {
    /// The client's end; ready once our own 101 has been sent, and never before.
    pub client: Switch,
    /// What the upstream's 101 came with: it holds the connection, and counts as under way.
    pub upstream: ResponseBody,
    /// Cut when neither end has sent anything for this long.
    pub idle: Duration,
}

/// Why a stream ends that neither side has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Its caller may not go on.
    Session,
    /// The gateway stops.
    Stopping,
    /// It is as old as it may be.
    Age,
}

impl Ending {
    /// What metrics call it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Stopping => "stopping",
            Self::Age => "age",
        }
    }

    /// RFC 6455 section 7.4.1.
    const fn code(self) -> u16 {
        match self {
            Self::Session => 1008,
            Self::Stopping | Self::Age => 1001,
        }
    }
}

/// Copies both ways until either end closes, neither has sent anything for `idle`, or `stop` is
/// ready: then the client is told so, if it stands where a frame may begin.
pub async fn tunnel(tunnel: Tunnel, deadlines: Rc<Deadlines>, stop: impl Future<Output = Ending>) {
    let Some(lease) = tunnel.upstream.into_lease() else { return };
    // Counted as under way until the end.
    let (connection, _slot) = lease.into_parts();
    let Some((mut upstream_in, mut upstream_out)) = connection.into_halves() else { return };
    let Some(client) = tunnel.client.switched().await else { return };
    let (mut client_in, mut client_out) = tokio::io::split(client);
    // One for both directions: a page that only listens is not idle while it is told something.
    let quiet = deadlines.entry();
    quiet.arm(tunnel.idle);
    let (timer, idle) = (quiet.timer(), tunnel.idle);
    let frames = RefCell::new(Some(Frames::default()));
    let up = copy(&mut client_in, &mut upstream_out, idle, &timer, None);
    let down = copy(&mut upstream_in, &mut client_out, idle, &timer, Some(&frames));
    let ending = tokio::select! {
        // One half may close and the other go on: each ends by itself.
        _ = async { tokio::join!(up, down) } => return,
        ending = stop => ending,
        () = poll_fn(|cx| quiet.poll(cx)) => return,
    };
    if frames.borrow().as_ref().is_some_and(Frames::is_between) {
        let [high, low] = ending.code().to_be_bytes();
        let farewell = async {
            client_out.write_all(&[0x88, 2, high, low]).await?;
            client_out.shutdown().await
        };
        let _heard = deadlines.limit(FAREWELL, farewell).await;
    }
}

async fn copy(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    idle: Duration,
    quiet: &Timer,
    frames: Option<&RefCell<Option<Frames>>>,
) {
    let _ended = pump(from, to, idle, quiet, frames).await;
    // The end of one direction is told to the other side, which may still be sending.
    let _told = to.shutdown().await;
}

async fn pump(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    idle: Duration,
    quiet: &Timer,
    frames: Option<&RefCell<Option<Frames>>>,
) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    loop {
        let count = from.read(&mut chunk).await?;
        let Some(bytes) = chunk.get(..count).filter(|bytes| !bytes.is_empty()) else {
            return Ok(());
        };
        quiet.arm(idle);
        // While bytes are under way nobody knows where the client stands.
        let known = frames.and_then(|frames| frames.borrow_mut().take());
        to.write_all(bytes).await?;
        to.flush().await?;
        if let (Some(frames), Some(mut known)) = (frames, known) {
            known.pass(bytes);
            *frames.borrow_mut() = Some(known);
        }
        quiet.arm(idle);
    }
}

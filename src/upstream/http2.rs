//! HTTP/2 to a server: one connection for many exchanges at once.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;

use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, UPGRADE};
use http::uri::{Authority, Parts, Scheme};
use http::{HeaderValue, Request, Uri, Version};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::TokioIo;

use super::body::RequestBody;
use super::wire::Wire;
use crate::message::added::REQUEST_ID;

/// A stream's window: how far an answer may be ahead of a client that reads slowly.
const STREAM_WINDOW: u32 = 256 * 1024;
/// A connection's: all streams of it together.
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
/// Fields of a response, as HTTP/2 counts them (RFC 9113 section 6.5.2).
const HEADER_LIST: u32 = 64 * 1024;

/// Runs the connection on the core that made it.
#[derive(Debug, Clone, Copy)]
struct Here;

impl<F: Future<Output: 'static> + 'static> hyper::rt::Executor<F> for Here {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

/// The connections to one server.
#[derive(Debug, Default)]
pub(super) struct Multiplexed(RefCell<Vec<One>>);

/// A connection as it has been made.
#[derive(Debug)]
pub(super) struct Fresh {
    sender: SendRequest<RequestBody>,
    /// How many exchanges the server takes at once, as it last said.
    most: Rc<Cell<usize>>,
}

#[derive(Debug)]
struct One {
    sender: SendRequest<RequestBody>,
    most: Rc<Cell<usize>>,
    shared: Rc<Shared>,
    /// The tick at which it was last seen with an exchange under way.
    busy: u32,
}

/// What a connection and the exchanges on it know of each other.
#[derive(Debug, Default)]
struct Shared {
    /// Exchanges under way.
    open: Cell<usize>,
    /// An answer did not come in its time: whatever the reason, no further exchange is to wait for the same.
    silent: Cell<bool>,
}

/// One exchange under way; counted until dropped.
#[derive(Debug)]
pub(super) struct Open(Rc<Shared>);

impl Open {
    /// Its answer has not come in time: those that are under way may go on, and none is added to them.
    pub(super) fn silent(&self) {
        self.0.silent.set(true);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get().saturating_sub(1));
    }
}

impl Multiplexed {
    /// A connection that takes another exchange.
    pub(super) fn find(&self) -> Option<(SendRequest<RequestBody>, Open)> {
        let mut all = self.0.borrow_mut();
        // The last handle that goes closes the connection: each exchange has one.
        all.retain(|one| !one.sender.is_closed() && !one.shared.silent.get());
        // The first with room, so that those behind it can age away.
        let one = all
            .iter()
            .find(|one| one.sender.is_ready() && one.shared.open.get() < one.most.get().max(1))?;
        Some((one.sender.clone(), count(&one.shared)))
    }

    /// Keeps a new one, and takes it for a first exchange.
    pub(super) fn add(
        &self,
        Fresh { sender, most }: Fresh,
        now: u32,
    ) -> (SendRequest<RequestBody>, Open) {
        let one = One { sender, most, shared: Rc::default(), busy: now };
        let taken = (one.sender.clone(), count(&one.shared));
        self.0.borrow_mut().push(one);
        taken
    }

    /// Lets those go that have had nothing to do for `limit` ticks. The last handle that goes closes
    /// the connection.
    pub(super) fn sweep(&self, now: u32, limit: u128) {
        self.0.borrow_mut().retain_mut(|one| {
            if one.shared.open.get() > 0 {
                one.busy = now;
            }
            !one.sender.is_closed()
                && !one.shared.silent.get()
                && u128::from(now.saturating_sub(one.busy)) < limit
        });
    }
}

fn count(shared: &Rc<Shared>) -> Open {
    shared.open.set(shared.open.get() + 1);
    Open(Rc::clone(shared))
}

/// Speaks HTTP/2 over `wire`, and drives it on this core until it ends.
pub(super) async fn begin(wire: Wire) -> io::Result<Fresh> {
    let (sender, mut connection) = http2::Builder::new(Here)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(HEADER_LIST)
        .handshake(TokioIo::new(wire))
        .await
        .map_err(io::Error::other)?;
    let most = Rc::new(Cell::new(connection.current_max_send_streams()));
    let told = Rc::clone(&most);
    tokio::task::spawn_local(poll_fn(move |cx| {
        // How an exchange failed is told to the one who waits for it.
        let closed = Pin::new(&mut connection).poll(cx).map(drop);
        told.set(connection.current_max_send_streams());
        closed
    }));
    Ok(Fresh { sender, most })
}

/// A request in HTTP/2's form (RFC 9113 section 8.3.1): the host is a part of the target, and
/// nothing of a connection is a field.
pub(super) fn convert(
    outbound: super::Parts,
    tls: bool,
    server: &HeaderValue,
) -> Request<RequestBody> {
    let super::Parts { method, target, mut headers, added, host, body } = outbound;
    for name in [HOST, CONTENT_LENGTH, EXPECT, REQUEST_ID, CONNECTION, UPGRADE] {
        headers.remove(name);
    }
    for (name, value) in added.iter() {
        headers.append(name, value.clone());
    }
    let host = host.as_ref().unwrap_or(server);
    let mut parts = Parts::default();
    parts.scheme = Some(if tls { Scheme::HTTPS } else { Scheme::HTTP });
    parts.authority =
        Authority::from_maybe_shared(bytes::Bytes::copy_from_slice(host.as_bytes())).ok();
    parts.path_and_query = Some(target);
    let mut request = Request::new(body);
    *request.method_mut() = method;
    // All three are there, and each is what it must be.
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
    *request.version_mut() = Version::HTTP_2;
    *request.headers_mut() = headers;
    request
}

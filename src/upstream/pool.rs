//! One core's connections to one upstream: last in, first out, so that the warm ones stay warm and
//! the others age away.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::header::HOST;
use http::{HeaderValue, StatusCode};
use hyper::client::conn::http1::SendRequest;

use super::body::{RequestBody, ResponseBody};
use super::{FaultCell, Inbound, Outbound, UpstreamError, connect};
use crate::config::{HostPolicy, Server, Upstream};
use crate::deadline::{Deadlines, Elapsed, TICK};
use crate::observe::CoreMetrics;

/// How far down the stack a ready connection is looked for; deeper ones are colder, not readier.
const LOOK_DEPTH: usize = 4;

/// Requests under way at one upstream, over all cores.
#[derive(Debug, Default)]
pub struct Load(AtomicUsize);

impl Load {
    /// How many there are now.
    pub fn in_flight(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// One core's way to one upstream.
#[derive(Debug)]
pub struct Pool {
    upstream: Arc<Upstream>,
    load: Arc<Load>,
    deadlines: Rc<Deadlines>,
    servers: Vec<Servers>,
    /// The server that the next new connection goes to.
    turn: Cell<usize>,
    idle_max: usize,
    /// Our place in the config, for the counters.
    index: usize,
    metrics: Arc<CoreMetrics>,
}

#[derive(Debug)]
struct Servers {
    address: Server,
    /// The same as a `Host` field (RFC 9110 section 7.2).
    host: HeaderValue,
    idle: RefCell<Vec<Idle>>,
}

#[derive(Debug)]
struct Idle {
    sender: SendRequest<RequestBody>,
    /// The tick at which it became idle.
    since: u32,
}

/// Where a pool stands.
#[derive(Debug)]
pub struct Place {
    /// The upstream's index in the config.
    pub index: usize,
    /// Cores that share the upstream's limits.
    pub cores: usize,
    /// The core's counters.
    pub metrics: Arc<CoreMetrics>,
}

/// A connection on loan to one exchange.
#[derive(Debug)]
pub(super) struct Lease {
    sender: SendRequest<RequestBody>,
    pool: Rc<Pool>,
    server: usize,
    _slot: Slot,
}

impl Lease {
    /// Back to the pool: the exchange is whole.
    pub(super) fn give_back(self) {
        let Some(server) = self.pool.servers.get(self.server) else { return };
        let mut idle = server.idle.borrow_mut();
        if !self.sender.is_closed() && idle.len() < self.pool.idle_max {
            idle.push(Idle { sender: self.sender, since: self.pool.deadlines.ticks() });
        }
    }
}

/// One request under way; counted until dropped.
#[derive(Debug)]
struct Slot {
    load: Arc<Load>,
    index: usize,
    metrics: Arc<CoreMetrics>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.load.0.fetch_sub(1, Ordering::Relaxed);
        self.metrics.upstream_end(self.index);
    }
}

impl Pool {
    /// An empty pool. `servers` are the upstream's own, or the address at
    /// which the built-in demonstration listens.
    pub fn new(
        upstream: Arc<Upstream>,
        servers: Vec<Server>,
        load: Arc<Load>,
        deadlines: Rc<Deadlines>,
        place: Place,
    ) -> Rc<Self> {
        let idle_max =
            upstream.pool_idle.div_ceil(place.cores.max(1)).div_ceil(servers.len().max(1));
        let servers = servers
            .into_iter()
            .map(|address| {
                let host = match address.port {
                    80 => HeaderValue::from_str(&address.host),
                    port => HeaderValue::try_from(format!("{}:{port}", address.host)),
                };
                // A server's name has been read as one, so it is fit for a field.
                let host = host.unwrap_or(HeaderValue::from_static("localhost"));
                Servers { address, host, idle: RefCell::default() }
            })
            .collect();
        Rc::new(Self {
            upstream,
            load,
            deadlines,
            servers,
            turn: Cell::new(0),
            idle_max,
            index: place.index,
            metrics: place.metrics,
        })
    }

    /// Whose pool this is.
    pub fn upstream(&self) -> &Arc<Upstream> {
        &self.upstream
    }

    /// Closes what has been idle for too long. Called now and then, not per request.
    pub fn sweep(&self) {
        let now = self.deadlines.ticks();
        let limit = self.upstream.pool_idle_timeout.as_millis() / TICK.as_millis();
        for server in &self.servers {
            let keep = |idle: &Idle| {
                !idle.sender.is_closed() && u128::from(now.saturating_sub(idle.since)) < limit
            };
            server.idle.borrow_mut().retain(keep);
        }
    }

    /// Sends a request and waits for the head of its response.
    ///
    /// A connection that turns out to have been closed while it was idle gives the request back
    /// unsent, and another is tried: nothing of it can have been processed. In every other case
    /// it is sent once.
    ///
    /// # Errors
    /// Why there is no response.
    pub async fn send(
        self: &Rc<Self>,
        outbound: Outbound,
        fault: Option<FaultCell>,
    ) -> Result<Inbound, UpstreamError> {
        let slot = self.slot()?;
        let mut request = outbound.request;
        loop {
            let (mut sender, server, fresh) = match self.idle() {
                Some((sender, server)) => (sender, server, false),
                None => {
                    let (sender, server) = Box::pin(self.open()).await?;
                    (sender, server, true)
                }
            };
            if self.upstream.host == HostPolicy::Server
                && let Some(server) = self.servers.get(server)
            {
                request.headers_mut().insert(HOST, server.host.clone());
            }
            let answer = sender.try_send_request(*request);
            match self.deadlines.limit(self.upstream.first_byte_timeout, answer).await {
                Ok(Ok(response)) => {
                    let lease = Lease { sender, pool: Rc::clone(self), server, _slot: slot };
                    let switching = response.status() == StatusCode::SWITCHING_PROTOCOLS;
                    return Ok(response.map(|incoming| {
                        let deadlines = Rc::clone(&self.deadlines);
                        let idle = self.upstream.idle_timeout;
                        let mut body = ResponseBody::new(incoming, lease, idle, deadlines);
                        // After a 101 the connection is HTTP's no more.
                        if !switching {
                            body.release_if_whole();
                        }
                        body
                    }));
                }
                Ok(Err(mut unsent)) => match unsent.take_message() {
                    // Each turn uses up one idle connection, so this ends.
                    Some(again) if !fresh => *request = again,
                    _ => return Err(broken(unsent.into_error(), fault.as_ref())),
                },
                Err(Elapsed) => return Err(UpstreamError::FirstByteTimeout),
            }
        }
    }

    fn slot(&self) -> Result<Slot, UpstreamError> {
        let before = self.load.0.fetch_add(1, Ordering::Relaxed);
        self.metrics.upstream_begin(self.index);
        let (load, metrics) = (Arc::clone(&self.load), Arc::clone(&self.metrics));
        let slot = Slot { load, index: self.index, metrics };
        if before >= self.upstream.max_in_flight { Err(UpstreamError::Full) } else { Ok(slot) }
    }

    /// The warmest connection that can take a request now.
    fn idle(&self) -> Option<(SendRequest<RequestBody>, usize)> {
        let count = self.servers.len();
        for offset in 0..count.min(LOOK_DEPTH) {
            let index = (self.turn.get() + offset) % count;
            let Some(server) = self.servers.get(index) else { continue };
            let mut idle = server.idle.borrow_mut();
            while idle.last().is_some_and(|last| last.sender.is_closed()) {
                idle.pop();
            }
            let ready = idle.iter().rev().take(LOOK_DEPTH).position(|one| one.sender.is_ready());
            if let Some(depth) = ready {
                let place = idle.len().saturating_sub(depth + 1);
                let found = idle.remove(place);
                self.metrics.upstream_reuse(self.index);
                if count > 1 {
                    self.turn.set((index + 1) % count);
                }
                return Some((found.sender, index));
            }
        }
        None
    }

    /// A new connection to the server whose turn it is, or to the next that can be reached: a
    /// failed connect has sent nothing.
    async fn open(&self) -> Result<(SendRequest<RequestBody>, usize), UpstreamError> {
        let count = self.servers.len();
        let mut failure = UpstreamError::ConnectTimeout;
        for _ in 0..count {
            let index = self.turn.get() % count;
            self.turn.set((index + 1) % count);
            let Some(server) = self.servers.get(index) else { continue };
            let connecting = connect::connect(&server.address);
            match self.deadlines.limit(self.upstream.connect_timeout, connecting).await {
                Ok(Ok(sender)) => {
                    self.metrics.upstream_connect(self.index);
                    return Ok((sender, index));
                }
                Ok(Err(error)) => failure = UpstreamError::Connect(error),
                Err(Elapsed) => failure = UpstreamError::ConnectTimeout,
            }
        }
        Err(failure)
    }
}

/// An exchange that broke because the client's body did is the client's fault.
fn broken(error: hyper::Error, fault: Option<&FaultCell>) -> UpstreamError {
    match fault.and_then(|fault| fault.get()) {
        Some(fault) => UpstreamError::RequestBody(fault),
        None => UpstreamError::Broken(error),
    }
}

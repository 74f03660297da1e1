//! One core's connections to one upstream: last in, first out, so that the warm ones stay warm and
//! the others age away.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::Frame;

use super::body::{RequestBody, ResponseBody, Sending};
use super::http1::{Connection, Content, Fault};
use super::{Inbound, Outbound, UpstreamError, connect};
use crate::config::{HostPolicy, Server, Upstream};
use crate::deadline::{Deadlines, Elapsed, TICK};
use crate::observe::CoreMetrics;

/// How many servers are asked for an idle connection before a new one is made.
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
    connection: Box<Connection>,
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
    connection: Box<Connection>,
    pool: Rc<Pool>,
    server: usize,
    slot: Slot,
}

impl Lease {
    /// Back to the pool: the exchange is whole.
    pub(super) fn give_back(self) {
        let Self { mut connection, pool, server, .. } = self;
        let Some(server) = pool.servers.get(server) else { return };
        let mut idle = server.idle.borrow_mut();
        if idle.len() < pool.idle_max && !connection.is_spent() {
            idle.push(Idle { connection, since: pool.deadlines.ticks() });
        }
    }

    /// The next piece of the response's body.
    pub(super) fn poll_content(
        &mut self,
        cx: &mut Context<'_>,
        content: &mut Content,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        self.connection.poll_content(cx, content)
    }

    /// Goes on with a request whose answer has begun: on a task of its own, since a client may take
    /// nothing of an answer before it has sent everything.
    fn go_on_sending(&mut self, request: Box<Request<RequestBody>>) -> Option<Sending> {
        let rest = self.connection.split()?;
        let task = tokio::task::spawn_local(rest.send(request.into_body()));
        Some(Sending(task.abort_handle()))
    }

    /// The connection, for another use, and what counts it as under way.
    pub(super) fn into_parts(self) -> (Box<Connection>, Slot) {
        (self.connection, self.slot)
    }
}

/// One request under way; counted until dropped.
#[derive(Debug)]
pub(super) struct Slot {
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
            let keep = |idle: &mut Idle| {
                !idle.connection.is_spent() && u128::from(now.saturating_sub(idle.since)) < limit
            };
            server.idle.borrow_mut().retain_mut(keep);
        }
    }

    /// Sends a request and waits for the head of its response. It is sent once: a connection that
    /// the server has closed while it was idle is found out before.
    ///
    /// # Errors
    /// Why there is no response.
    pub async fn send(self: &Rc<Self>, outbound: Outbound) -> Result<Inbound, UpstreamError> {
        let slot = self.slot()?;
        let mut request = outbound.request;
        let (connection, server) = match self.idle() {
            Some(found) => found,
            None => Box::pin(self.open()).await?,
        };
        if self.upstream.host == HostPolicy::Server
            && let Some(server) = self.servers.get(server)
        {
            request.headers_mut().insert(HOST, server.host.clone());
        }
        let mut lease = Lease { connection, pool: Rc::clone(self), server, slot };
        let (response, content) = self.exchange(&mut lease.connection, &mut request).await?;
        let (idle, deadlines) = (self.upstream.idle_timeout, Rc::clone(&self.deadlines));
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(response.map(|()| ResponseBody::switched(lease, idle, deadlines)));
        }
        let sending = match lease.connection.is_sending() {
            false => None,
            true => Some(lease.go_on_sending(request)),
        };
        let sending = sending.flatten();
        Ok(response.map(|()| ResponseBody::new(content, lease, sending, idle, deadlines)))
    }

    /// One request, and the head of its answer. The server has `first_byte_timeout` for the answer
    /// from when it has the whole request, and for taking each part of it before that.
    async fn exchange(
        &self,
        connection: &mut Connection,
        request: &mut Request<RequestBody>,
    ) -> Result<(Response<()>, Content), UpstreamError> {
        connection.begin(request);
        let limit = self.upstream.first_byte_timeout;
        let deadline = self.deadlines.entry();
        deadline.arm(limit);
        let mut interim = 0;
        let answer = poll_fn(|cx| {
            let turn =
                |servers: bool| if servers { deadline.arm(limit) } else { deadline.disarm() };
            match connection.poll_answer(cx, request, &mut interim, turn) {
                Poll::Ready(answer) => Poll::Ready(answer.map_err(UpstreamError::from)),
                Poll::Pending => deadline.poll(cx).map(|()| Err(UpstreamError::FirstByteTimeout)),
            }
        });
        answer.await
    }

    fn slot(&self) -> Result<Slot, UpstreamError> {
        let before = self.load.0.fetch_add(1, Ordering::Relaxed);
        self.metrics.upstream_begin(self.index);
        let (load, metrics) = (Arc::clone(&self.load), Arc::clone(&self.metrics));
        let slot = Slot { load, index: self.index, metrics };
        if before >= self.upstream.max_in_flight { Err(UpstreamError::Full) } else { Ok(slot) }
    }

    /// The warmest connection that can take a request now.
    fn idle(&self) -> Option<(Box<Connection>, usize)> {
        let count = self.servers.len();
        for offset in 0..count.min(LOOK_DEPTH) {
            let index = (self.turn.get() + offset) % count;
            let Some(server) = self.servers.get(index) else { continue };
            let mut idle = server.idle.borrow_mut();
            while let Some(mut last) = idle.pop() {
                if last.connection.is_spent() {
                    continue;
                }
                self.metrics.upstream_reuse(self.index);
                if count > 1 {
                    self.turn.set((index + 1) % count);
                }
                return Some((last.connection, index));
            }
        }
        None
    }

    /// A new connection to the server whose turn it is, or to the next that can be reached: a
    /// failed connect has sent nothing.
    async fn open(&self) -> Result<(Box<Connection>, usize), UpstreamError> {
        let count = self.servers.len();
        let mut failure = UpstreamError::ConnectTimeout;
        for _ in 0..count {
            let index = self.turn.get() % count;
            self.turn.set((index + 1) % count);
            let Some(server) = self.servers.get(index) else { continue };
            let connecting = connect::connect(&server.address);
            match self.deadlines.limit(self.upstream.connect_timeout, connecting).await {
                Ok(Ok(connection)) => {
                    self.metrics.upstream_connect(self.index);
                    return Ok((connection, index));
                }
                Ok(Err(error)) => failure = UpstreamError::Connect(error),
                Err(Elapsed) => failure = UpstreamError::ConnectTimeout,
            }
        }
        Err(failure)
    }
}

impl From<Fault> for UpstreamError {
    fn from(fault: Fault) -> Self {
        match fault {
            // An exchange that broke because the client's body did is the client's fault.
            Fault::Body(error) => Self::RequestBody(error.fault()),
            fault => Self::Broken(fault),
        }
    }
}

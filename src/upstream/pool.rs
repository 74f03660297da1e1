//! One core's connections to one upstream: last in, first out, so that the warm ones stay warm and
//! the others age away.

mod streams;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode};
use http_body::Frame;

use tokio::sync::Notify;

use super::body::{RequestBody, ResponseBody, Sending};
use super::connect::{self, Connected};
use super::http1::{Connection, Content, Fault};
use super::http2::Multiplexed;
use super::tls::Trust;
use super::{Inbound, Outbound, Parts, UpstreamError};
use crate::config::{Server, Times, Upstream, UpstreamHttp};
use crate::deadline::{Deadlines, Elapsed, End, TICK};
use crate::message::fields::Firewall;
use crate::observe::CoreMetrics;

/// How many servers are asked for an idle connection before a new one is made.
const LOOK_DEPTH: usize = 4;

/// Requests under way at one upstream, over all cores. In a cache line of its own: what stands beside
/// it would be fetched anew for each request.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct Load {
    under_way: AtomicUsize,
    /// Requests that wait for one of those to end.
    waiting: AtomicUsize,
    freed: Notify,
}

impl Load {
    /// How many there are now.
    pub fn in_flight(&self) -> usize {
        self.under_way.load(Ordering::Relaxed)
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
    trust: Option<Arc<Trust>>,
    firewall: Rc<Firewall>,
}

#[derive(Debug)]
struct Servers {
    address: Server,
    /// The same as a `Host` field (RFC 9110 section 7.2).
    host: HeaderValue,
    idle: RefCell<Vec<Idle>>,
    /// Those that carry many exchanges at once.
    multiplexed: Multiplexed,
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
    /// How to speak TLS to its servers, if they do.
    pub trust: Option<Arc<Trust>>,
}

/// A connection on loan to one exchange.
#[derive(Debug)]
pub(super) struct Lease {
    connection: Box<Connection>,
    pool: Rc<Pool>,
    server: usize,
    slot: Slot,
    /// Whether other requests would have it so too.
    keep: bool,
}

impl Lease {
    /// Back to the pool: the exchange is whole.
    pub(super) fn give_back(self) {
        let Self { connection, pool, server, keep, .. } = self;
        if !keep {
            return;
        }
        let Some(server) = pool.servers.get(server) else { return };
        let mut idle = server.idle.borrow_mut();
        // Whether it is of any use is asked when it is taken out again.
        if idle.len() < pool.idle_max {
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
    fn go_on_sending(&mut self, body: RequestBody) -> Option<Sending> {
        let rest = self.connection.split()?;
        let task = tokio::task::spawn_local(rest.send(body));
        Some(Sending(task.abort_handle()))
    }

    /// The connection, for another use, and what counts it as under way.
    pub(super) fn into_parts(self) -> (Box<Connection>, Slot) {
        (self.connection, self.slot)
    }
}

/// One request under way; counted until dropped.
#[derive(Debug)]
pub(super) struct Slot(Rc<Pool>);

impl Drop for Slot {
    fn drop(&mut self) {
        let Pool { load, metrics, index, .. } = &*self.0;
        load.under_way.fetch_sub(1, Ordering::SeqCst);
        metrics.upstream_end(*index);
        if load.waiting.load(Ordering::SeqCst) > 0 {
            load.freed.notify_one();
        }
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
                    443 if upstream.tls.is_some() => HeaderValue::from_str(&address.host),
                    80 if upstream.tls.is_none() => HeaderValue::from_str(&address.host),
                    port => HeaderValue::try_from(format!("{}:{port}", address.host)),
                };
                // A server's name has been read as one, so it is fit for a field.
                let host = host.unwrap_or(HeaderValue::from_static("localhost"));
                Servers {
                    address,
                    host,
                    idle: RefCell::default(),
                    multiplexed: Multiplexed::default(),
                }
            })
            .collect();
        let firewall = Rc::new(Firewall::new(&upstream));
        Rc::new(Self {
            upstream,
            load,
            deadlines,
            servers,
            turn: Cell::new(0),
            idle_max,
            index: place.index,
            metrics: place.metrics,
            trust: place.trust,
            firewall,
        })
    }

    /// Whose pool this is.
    pub fn upstream(&self) -> &Arc<Upstream> {
        &self.upstream
    }

    /// What keeps a client from speaking to this upstream in our name.
    pub fn firewall(&self) -> &Rc<Firewall> {
        &self.firewall
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
            server.multiplexed.sweep(now, limit);
        }
    }

    /// Sends a request and waits for the head of its response, no longer than `times` say. It is
    /// sent once: a connection that the server has closed while it was idle is found out before.
    ///
    /// # Errors
    /// Why there is no response.
    pub async fn send(
        self: &Rc<Self>,
        outbound: Outbound,
        times: &Times,
    ) -> Result<Inbound, UpstreamError> {
        let slot = match self.slot() {
            Ok(slot) => slot,
            Err(_full) => Box::pin(self.later_slot()).await?,
        };
        let end = self.deadlines.end(times.total);
        let Outbound(mut request) = outbound;
        // What only HTTP/1.1 can do: a switch of protocols.
        let only_http1 = self.upstream.http == UpstreamHttp::One
            || request.headers.contains_key(http::header::UPGRADE);
        if !only_http1 && let Some(way) = self.multiplexed() {
            return Box::pin(self.send_stream(request, way, slot, (times, end))).await;
        }
        let idle = if self.upstream.http == UpstreamHttp::Two { None } else { self.idle() };
        let (connection, server) = match idle {
            Some(found) => found,
            None => match Box::pin(self.open(only_http1, (times, end))).await? {
                (Connected::One(connection), server) => (connection, server),
                (Connected::Two(sender), server) => {
                    let way = self.keep(sender, server)?;
                    return Box::pin(self.send_stream(request, way, slot, (times, end))).await;
                }
            },
        };
        // What was made to speak HTTP/1.1 only is not for requests that HTTP/2 may be agreed on for.
        let keep = !only_http1 || self.upstream.http == UpstreamHttp::One;
        let mut lease = Lease { connection, pool: Rc::clone(self), server, slot, keep };
        let limits = (times.first_byte, end);
        let (response, content) =
            self.exchange(&mut lease.connection, &mut request, server, limits).await?;
        let (idle, deadlines) = (times.idle, Rc::clone(&self.deadlines));
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(response.map(|()| ResponseBody::switched(lease, idle, deadlines)));
        }
        let sending = match lease.connection.is_sending() {
            false => None,
            true => Some(lease.go_on_sending(request.body)),
        };
        let sending = sending.flatten();
        Ok(response.map(|()| ResponseBody::new(content, lease, sending, (idle, end), deadlines)))
    }

    /// One request, and the head of its answer. The server has `first_byte_timeout` for the answer
    /// from when it has the whole request, and for taking each part of it before that.
    async fn exchange(
        &self,
        connection: &mut Connection,
        request: &mut Parts,
        server: usize,
        (limit, end): (Duration, End),
    ) -> Result<(Response<()>, Content), UpstreamError> {
        connection.begin(request, request.host.as_ref().unwrap_or(self.host_of(server)));
        let deadline = self.deadlines.entry();
        deadline.arm_within(Some(limit), end);
        let mut interim = 0;
        let answer = poll_fn(|cx| {
            let turn = |servers: bool| deadline.arm_within(servers.then_some(limit), end);
            match connection.poll_answer(cx, request, &mut interim, turn) {
                Poll::Ready(answer) => Poll::Ready(answer.map_err(UpstreamError::from)),
                Poll::Pending => deadline.poll(cx).map(|()| Err(self.too_long(end))),
            }
        });
        answer.await
    }

    /// Which of its two limits an application has missed that was to begin its answer.
    fn too_long(&self, end: End) -> UpstreamError {
        match self.deadlines.is_past(end) {
            true => UpstreamError::TotalTimeout,
            false => UpstreamError::FirstByteTimeout,
        }
    }

    /// What `Host` says of a server, if a request says nothing else.
    fn host_of(&self, server: usize) -> &HeaderValue {
        static NOWHERE: HeaderValue = HeaderValue::from_static("localhost");
        self.servers.get(server).map_or(&NOWHERE, |server| &server.host)
    }

    fn slot(self: &Rc<Self>) -> Result<Slot, UpstreamError> {
        let before = self.load.under_way.fetch_add(1, Ordering::SeqCst);
        if before >= self.upstream.max_in_flight {
            self.load.under_way.fetch_sub(1, Ordering::SeqCst);
            return Err(UpstreamError::Full);
        }
        self.metrics.upstream_begin(self.index);
        Ok(Slot(Rc::clone(self)))
    }

    /// Waits until another request has ended, as long as there is room to wait.
    async fn later_slot(self: &Rc<Self>) -> Result<Slot, UpstreamError> {
        let before = self.load.waiting.fetch_add(1, Ordering::SeqCst);
        let waiting = Waiting(&self.load);
        if before >= self.upstream.queue {
            return Err(UpstreamError::Full);
        }
        let turn = async {
            loop {
                let mut freed = std::pin::pin!(self.load.freed.notified());
                // From here on none is missed.
                freed.as_mut().enable();
                if let Ok(slot) = self.slot() {
                    return slot;
                }
                freed.await;
            }
        };
        let slot = self.deadlines.limit(self.upstream.queue_wait, turn).await;
        drop(waiting);
        slot.map_err(|_elapsed| {
            // A place that was offered to us in the last moment is the next one's.
            self.load.freed.notify_one();
            UpstreamError::Full
        })
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
    async fn open(
        &self,
        only_http1: bool,
        (times, end): (&Times, End),
    ) -> Result<(Connected, usize), UpstreamError> {
        let count = self.servers.len();
        let mut failure = UpstreamError::ConnectTimeout;
        for _ in 0..count {
            let index = self.turn.get() % count;
            self.turn.set((index + 1) % count);
            let Some(server) = self.servers.get(index) else { continue };
            let (trust, http) = (self.trust.as_deref(), self.upstream.http);
            let connecting = connect::connect(&server.address, trust, http, only_http1);
            let limit = self.deadlines.within(times.connect, end);
            match self.deadlines.limit(limit, connecting).await {
                Ok(Ok(connected)) => {
                    self.metrics.upstream_connect(self.index);
                    return Ok((connected, index));
                }
                Ok(Err(error)) => failure = UpstreamError::Connect(error),
                Err(Elapsed) => failure = UpstreamError::ConnectTimeout,
            }
        }
        Err(failure)
    }
}

/// One who waits; counted until dropped.
struct Waiting<'a>(&'a Load);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
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

//! One connection: handshake under a deadline, the protocol that ALPN chose, and its limits.

use std::cell::Cell;
use std::convert::Infallible;
use std::error::Error;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use ipnet::IpNet;
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::accept::{ConnectionPermit, Socket};
use super::client::Client;
use super::frames::Frames;
use super::guarded::Guarded;
use super::http1::{Broken, Http1, Stream};
use super::names::Certificates;
use super::pieces::Pieces;
use super::pulse::{Pulse, Times};
use super::tls::TlsConfig;
use super::{proxy_protocol, stall};
use crate::config::{Config, Limits};
use crate::deadline::{Deadline, Deadlines};
use crate::journey::{Journey, ReplyBody};
use crate::message::arrival::{Arrival, Named};
use crate::message::incoming::{ClientBody, Duplex, Switch};
use crate::observe::CoreMetrics;

#[cfg(fuzzing)]
#[path = "memory.rs"]
mod memory;

/// Bytes of responses that HTTP/2 may hold for a slow reader, per stream.
const SEND_BUFFER: usize = 64 * 1024;
/// Streams that a peer may have us reset before the connection is closed (CVE-2023-44487).
const PENDING_RESETS: usize = 20;
const LOCAL_RESETS: usize = 256;

/// What a listener speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// TLS, then HTTP/1.1 or HTTP/2 by ALPN.
    Tls,
    /// HTTP/1.1 in the clear, on loopback, for development.
    Plain,
}

/// What all connections of one core share.
pub struct Connections {
    journey: Rc<Journey>,
    tls: Option<TlsAcceptor>,
    certificates: Option<Arc<Certificates>>,
    deadlines: Rc<Deadlines>,
    limits: Limits,
    proxies: Vec<IpNet>,
    http1: Rc<Http1>,
    http2: http2::Builder<stall::Streams>,
    streams: stall::Streams,
    metrics: Arc<CoreMetrics>,
    /// Changes once: what has begun is to be finished then, and nothing more.
    draining: watch::Receiver<bool>,
}

impl Connections {
    /// Connections whose requests go to `journey`, until `draining` changes.
    pub fn new(
        journey: Rc<Journey>,
        tls: Option<Arc<TlsConfig>>,
        deadlines: Rc<Deadlines>,
        config: &Config,
        metrics: Arc<CoreMetrics>,
        draining: watch::Receiver<bool>,
    ) -> Rc<Self> {
        let limits = &config.limits;
        let most = (limits.header_bytes, limits.header_count);
        let http1 = Rc::new(Http1::new(Rc::clone(&deadlines), most, Arc::clone(&metrics)));
        let streams = stall::Streams::new(Rc::clone(&deadlines), limits.write_stall_timeout);
        let mut http2 = http2::Builder::new(streams.clone());
        http2
            // RFC 9113 section 6.9. The memory of a connection is bounded by the latter.
            .initial_stream_window_size(limits.h2_stream_window)
            .initial_connection_window_size(limits.h2_connection_window)
            .max_send_buf_size(SEND_BUFFER)
            .max_concurrent_streams(limits.h2_streams)
            // RFC 8441: WebSocket as a stream among others.
            .enable_connect_protocol()
            .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
            .max_pending_accept_reset_streams(PENDING_RESETS)
            .max_local_error_reset_streams(LOCAL_RESETS);
        Rc::new(Self {
            journey,
            certificates: tls.as_ref().map(|tls| Arc::clone(&tls.certificates)),
            tls: tls.map(|tls| TlsAcceptor::from(Arc::clone(&tls.server))),
            deadlines,
            limits: limits.clone(),
            proxies: config.listen.proxy_protocol.clone(),
            http1,
            http2,
            streams,
            metrics,
            draining,
        })
    }
}

/// Serves the sockets that come through `sockets` until the acceptor is gone and the last
/// connection has ended, or `deadline` after `draining` has said true.
pub async fn serve(connections: Rc<Connections>, mut sockets: mpsc::Receiver<Socket>) {
    tokio::task::spawn_local(Rc::clone(&connections).drain());
    // Each connection holds a clone; the last one to go closes the channel.
    let (alive, mut all_gone) = mpsc::channel::<Infallible>(1);
    while let Some(socket) = sockets.recv().await {
        let opened = Opened::new(&connections.metrics);
        let held = Held { _alive: alive.clone(), opened, peer: socket.peer };
        tokio::task::spawn_local(Rc::clone(&connections).begin(socket, held));
    }
    drop(alive);
    let _closed = all_gone.recv().await;
}

/// What a connection holds as long as it lives.
struct Held {
    _alive: mpsc::Sender<Infallible>,
    opened: Opened,
    /// Who sends the bytes; behind a load balancer, that.
    peer: SocketAddr,
}

impl Connections {
    /// Has all connections look when the drain begins: one that listened to it by itself would pay for
    /// it with every request.
    async fn drain(self: Rc<Self>) {
        let mut draining = self.draining.clone();
        let _begun = draining.changed().await;
        // Each waits for its time limits at least.
        self.deadlines.wake_all();
    }

    fn is_draining(&self) -> bool {
        // The error means that nobody is left to say it: then the gateway is gone.
        self.draining.has_changed().unwrap_or(true)
    }

    /// All that comes before the first request. What comes then has a task of its own: an idle
    /// connection need not keep the room that a handshake took.
    async fn begin(self: Rc<Self>, socket: Socket, held: Held) {
        let Socket { stream, mut peer, kind, mut permit } = socket;
        let Ok(mut stream) = TcpStream::from_std(stream) else { return };
        let proxy = peer.ip().to_canonical();
        if self.proxies.iter().any(|net| net.contains(&proxy)) {
            match self.introduced(&mut stream, peer, &mut permit).await {
                Some(client) => peer = client,
                None => return,
            }
        }
        match kind {
            Kind::Plain => {
                let arrival = Arrival::new(peer, false, false);
                self.http1(BufReader::new(stream), arrival, permit, held);
            }
            Kind::Tls => {
                let Some(stream) = self.handshake(stream, peer).await else { return };
                let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                let mut arrival = Arrival::new(peer, true, h2);
                arrival.named = self.named(stream.get_ref().1.server_name());
                let stream = Pieces(stream);
                match h2 {
                    true => self.http2(stream, arrival, permit, held),
                    false => self.http1(stream, arrival, permit, held),
                }
            }
        }
    }

    /// The name that was asked for in the handshake, and what may be asked for then.
    fn named(&self, name: Option<&str>) -> Option<Named> {
        let (name, certificates) =
            (name?.to_ascii_lowercase(), Arc::clone(self.certificates.as_ref()?));
        let asked = name.clone();
        Some(Named::new(name, move |host| certificates.may_ask(&asked, host)))
    }

    /// For whom a proxy speaks.
    async fn introduced(
        &self,
        stream: &mut TcpStream,
        proxy: SocketAddr,
        permit: &mut ConnectionPermit,
    ) -> Option<SocketAddr> {
        let reading = proxy_protocol::read(stream);
        let client = match self.deadlines.limit(self.limits.handshake_timeout, reading).await {
            Ok(Ok(Some(client))) => client,
            Ok(Ok(None)) => return Some(proxy),
            Ok(Err(error)) => {
                tracing::debug!(peer = %proxy, error = %error, "a proxy did not say who calls");
                return None;
            }
            Err(elapsed) => {
                tracing::debug!(peer = %proxy, error = %elapsed, "a proxy did not say who calls");
                return None;
            }
        };
        permit.count_for(client.ip(), self.limits.connections_per_network).then_some(client)
    }

    async fn handshake(&self, stream: TcpStream, peer: SocketAddr) -> Option<TlsStream<Client>> {
        let accepting = self.tls.as_ref()?.accept(Client(stream));
        match self.deadlines.limit(self.limits.handshake_timeout, accepting).await {
            Ok(Ok(stream)) => {
                self.metrics.tls_handshake();
                return Some(stream);
            }
            Ok(Err(error)) => {
                tracing::debug!(peer = %peer, error = %error, "a TLS handshake failed");
            }
            Err(elapsed) => {
                tracing::debug!(peer = %peer, error = %elapsed, "a TLS handshake failed");
            }
        }
        self.metrics.tls_failure();
        None
    }

    fn pulse(&self) -> (Pulse, Deadline, Deadline) {
        let (reading, writing) = (self.deadlines.entry(), self.deadlines.entry());
        let times = Times {
            requests: match self.limits.requests_per_connection {
                0 => u32::MAX,
                most => most,
            },
            keep_alive: self.limits.keep_alive_timeout,
            head: self.limits.header_timeout,
            write_stall: self.limits.write_stall_timeout,
        };
        (Pulse::new(reading.timer(), writing.timer(), times), reading, writing)
    }

    fn http1<S: Stream>(
        self: Rc<Self>,
        stream: S,
        arrival: Arrival,
        permit: ConnectionPermit,
        held: Held,
    ) {
        let (pulse, reading, writing) = self.pulse();
        let (journey, arrival, ending) =
            (Rc::clone(&self.journey), Rc::new(arrival), pulse.clone());
        let serving = Rc::clone(&self.http1).serve((stream, permit), journey, arrival, pulse);
        let wind_down = move |_: Pin<&mut _>| ending.wind_down();
        // The last answer says so itself.
        let (is_full, is_deaf) = (|| false, || false);
        let ends = (wind_down, is_full, is_deaf);
        tokio::task::spawn_local(self.drive(Box::pin(serving), ends, (reading, writing), held));
    }

    fn http2<S>(
        self: Rc<Self>,
        stream: S,
        mut arrival: Arrival,
        permit: ConnectionPermit,
        held: Held,
    ) where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let (pulse, reading, writing) = self.pulse();
        let stream = Frames::new(stream, &self.limits, reading.timer(), arrival.peer);
        let io = Guarded::new(stream, pulse.clone(), permit);
        let journey = Rc::clone(&self.journey);
        pulse.idle();
        let [ending, full, deaf] = [pulse.clone(), pulse.clone(), pulse.clone()];
        let streams = Rc::new(Streams { open: Cell::new(0), pulse });
        let open = Rc::clone(&streams);
        arrival.hold = Some(Box::new(move || Box::new(Streams::begin(&open))));
        let (arrival, watched) = (Rc::new(arrival), self.streams.clone());
        let service = service_fn(move |request: Request<Incoming>| {
            streams.pulse.count();
            let stream = Streams::begin(&streams);
            let taken = watched.expect();
            let send = move |response: Response<ReplyBody>| {
                Ok::<_, Infallible>(response.map(|body| Taking { body, taken, _done: stream }))
            };
            let (mut head, body) = request.into_parts();
            let switch = head.extensions.remove::<OnUpgrade>().map(switch);
            let asked = (head, ClientBody::Stream(body));
            Rc::clone(&journey).answer(asked, switch, Rc::clone(&arrival), send)
        });
        let connection = Box::pin(self.http2.serve_connection(io, service));
        let wind_down = move |connection: Pin<&mut _>| {
            ending.close();
            http2::Connection::graceful_shutdown(connection);
        };
        let is_full = move || full.is_last();
        // A client's next request takes the place of one whose answer it has: of those that were answered
        // before GOAWAY was sent, it had so many open at most when it read that.
        let late = self.limits.h2_streams.saturating_mul(2);
        let is_deaf = move || deaf.beyond() > late;
        let ends = (wind_down, is_full, is_deaf);
        tokio::task::spawn_local(self.drive(connection, ends, (reading, writing), held));
    }

    /// Polls the connection until it ends by itself or must end: its time has passed, or it is full or
    /// the gateway drains, and it has finished what it had begun.
    async fn drive<C: Future<Output = Result<(), E>>, E: Into<Failure>>(
        self: Rc<Self>,
        mut connection: Pin<Box<C>>,
        (wind_down, is_full, is_deaf): (impl Fn(Pin<&mut C>), impl Fn() -> bool, impl Fn() -> bool),
        (reading, writing): (Deadline, Deadline),
        held: Held,
    ) {
        let mut told = false;
        poll_fn(|cx: &mut Context<'_>| {
            if !told && self.is_draining() {
                told = true;
                wind_down(connection.as_mut());
            }
            loop {
                return match connection.as_mut().poll(cx) {
                    Poll::Ready(how) => {
                        if let Err(error) = how {
                            held.opened.failed(&error.into(), held.peer);
                        }
                        Poll::Ready(())
                    }
                    // Polled once more, so that the client is told.
                    Poll::Pending if !told && is_full() => {
                        told = true;
                        wind_down(connection.as_mut());
                        continue;
                    }
                    Poll::Pending if told && is_deaf() => {
                        tracing::info!(peer = %held.peer, "a client that goes on after GOAWAY is cut off");
                        Poll::Ready(())
                    }
                    // Dropping the connection is how it is cut.
                    Poll::Pending if reading.poll(cx).is_ready() => Poll::Ready(()),
                    Poll::Pending => writing.poll(cx),
                };
            }
        })
        .await;
    }
}

/// Counts the end of a connection, however it comes.
struct Opened(Arc<CoreMetrics>);

impl Opened {
    fn new(metrics: &Arc<CoreMetrics>) -> Self {
        metrics.connection_opened();
        Self(Arc::clone(metrics))
    }

    fn failed(&self, failure: &Failure, peer: SocketAddr) {
        match failure {
            // No request came of it, so nobody else counts it.
            Failure::Unreadable(error) => {
                self.0.rejection("unreadable");
                tracing::debug!(peer = %peer, error = %error, "what a client sent cannot be read");
            }
            // Resets that come faster than requests are served are among it.
            Failure::Judged(error) => {
                tracing::info!(peer = %peer, error = %error, "a connection was ended for what came on it");
            }
            Failure::Gone => {}
        }
    }
}

/// How a connection ended otherwise than in good order.
enum Failure {
    /// What came is no request.
    Unreadable(Box<dyn Error>),
    /// h2 would not go on with what came.
    Judged(Box<dyn Error>),
    /// It broke.
    Gone,
}

impl From<hyper::Error> for Failure {
    fn from(error: hyper::Error) -> Self {
        match error.source() {
            _ if error.is_parse() => Self::Unreadable(error.into()),
            Some(cause) if !cause.is::<std::io::Error>() => Self::Judged(cause.to_string().into()),
            _ => Self::Gone,
        }
    }
}

impl From<Broken> for Failure {
    fn from(broken: Broken) -> Self {
        match broken {
            // It was told where it was found out.
            Broken::Io(_) | Broken::Answer => Self::Gone,
        }
    }
}

/// The client's end of a stream that leaves HTTP.
fn switch(upgrade: OnUpgrade) -> Switch {
    Switch::new(async move {
        let upgraded = upgrade.await.ok()?;
        Some(Box::new(TokioIo::new(upgraded)) as Box<dyn Duplex>)
    })
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.0.connection_closed();
    }
}

/// The open streams of one HTTP/2 connection.
struct Streams {
    open: Cell<usize>,
    pulse: Pulse,
}

struct OpenStream(Rc<Streams>);

impl Streams {
    fn begin(streams: &Rc<Self>) -> OpenStream {
        streams.open.set(streams.open.get() + 1);
        // A stream that goes takes nothing of the connection with it.
        streams.pulse.busy(false);
        OpenStream(Rc::clone(streams))
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let left = self.0.open.get().saturating_sub(1);
        self.0.open.set(left);
        if left == 0 {
            self.0.pulse.idle();
        }
    }
}

/// A body of HTTP/2, which says when the client is given more of it.
struct Taking<B> {
    body: B,
    taken: Rc<stall::Taken>,
    _done: OpenStream,
}

impl<B: http_body::Body + Unpin> http_body::Body for Taking<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<B::Data>, B::Error>>> {
        self.taken.asked();
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if matches!(&frame, Poll::Ready(Some(Ok(frame))) if frame.is_data()) {
            self.taken.handed();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

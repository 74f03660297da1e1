//! The one acceptor: holds all connection limits and hands each socket to the least loaded core.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use ipnet::IpNet;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use super::connection::Kind;
use crate::clock::Stopwatch;
use crate::config::Config;
use crate::network::network;
use crate::observe::Registry;

/// Sockets that the kernel may hold before we accept them.
const BACKLOG: i32 = 1024;
/// Sockets that may wait for a core. A core that is this far behind refuses more.
pub(super) const QUEUE: usize = 256;
/// How often it is told that connections are refused.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// Pause after an accept that failed for want of file descriptors or memory.
const BREATHER: Duration = Duration::from_millis(50);

/// Why a connection is refused that no setting forbids.
const BEHIND: &str = "no core is able to take more";

/// A bound address.
#[derive(Debug)]
pub struct Door {
    listener: TcpListener,
    kind: Kind,
}

impl Door {
    /// Binds `address`. Fails when it is taken, also by another copy of this program: it is never
    /// shared. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The system's reason.
    pub fn bind(address: SocketAddr, kind: Kind) -> io::Result<Self> {
        Ok(Self { listener: listen(address)?, kind })
    }

    /// The address that was bound, with the real port where port 0 was asked for.
    ///
    /// # Errors
    /// The system's reason.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A listener on `address`. Must be called within a tokio runtime.
///
/// # Errors
/// The system's reason.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
    // Lets a restart bind while old connections linger. Not SO_REUSEPORT, with which a second
    // copy would start unnoticed and take half of the connections.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

/// The connections that the kernel has accepted for a listener and we have not. Nobody can connect to
/// it any more once the iterator is gone.
pub fn waiting(listener: TcpListener) -> impl Iterator<Item = (TcpStream, SocketAddr)> {
    // It does not block, so that its end is the end of the queue.
    let listener = listener.into_std().ok();
    std::iter::from_fn(move || {
        let listener = listener.as_ref()?;
        loop {
            match listener.accept() {
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                accepted => return accepted.ok(),
            }
        }
    })
}

/// A socket on its way to a core.
#[derive(Debug)]
pub struct Socket {
    pub(super) stream: TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) kind: Kind,
    pub(super) permit: ConnectionPermit,
}

/// Accepts on all doors until told to stop.
#[derive(Debug)]
pub struct Acceptor {
    cores: Vec<CoreQueue>,
    counts: Arc<Counts>,
    limit: usize,
    limit_per_network: usize,
    /// Peers that speak for many: what they open is no one network's.
    proxies: Vec<IpNet>,
    metrics: Arc<Registry>,
    /// When it was last told that connections are refused.
    told: Mutex<Option<Stopwatch>>,
}

#[derive(Debug)]
struct CoreQueue {
    sockets: mpsc::Sender<Socket>,
    open: Arc<AtomicUsize>,
}

/// How many connections there are.
#[derive(Debug, Default)]
struct Counts {
    open: AtomicUsize,
    by_network: DashMap<IpAddr, usize>,
}

/// One connection, counted until dropped.
#[derive(Debug)]
pub(super) struct ConnectionPermit {
    counts: Arc<Counts>,
    core: Arc<AtomicUsize>,
    network: Option<IpAddr>,
}

impl ConnectionPermit {
    /// Counts the connection for `peer`, for whom a proxy has opened it. `false`: it has enough.
    pub(super) fn count_for(&mut self, peer: IpAddr, limit: usize) -> bool {
        let network = network(peer);
        let counted = self.network.is_none() && self.counts.add(network, limit);
        if counted {
            self.network = Some(network);
        }
        counted
    }
}

#[cfg(any(test, fuzzing))]
impl ConnectionPermit {
    /// Of a connection that nobody counts.
    pub(super) fn free() -> Self {
        let counts = Counts { open: AtomicUsize::new(1), ..Counts::default() };
        Self { counts: Arc::new(counts), core: Arc::new(AtomicUsize::new(1)), network: None }
    }
}

impl Counts {
    fn add(&self, network: IpAddr, limit: usize) -> bool {
        let mut count = self.by_network.entry(network).or_insert(0);
        let fits = *count < limit;
        *count += usize::from(fits);
        fits
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.core.fetch_sub(1, Ordering::Relaxed);
        self.counts.open.fetch_sub(1, Ordering::Relaxed);
        if let Some(network) = self.network
            && let Entry::Occupied(mut count) = self.counts.by_network.entry(network)
        {
            *count.get_mut() = count.get().saturating_sub(1);
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

impl Acceptor {
    /// An acceptor for `cores` cores, and the queues that those cores are to read.
    pub fn new(
        cores: usize,
        config: &Config,
        metrics: Arc<Registry>,
    ) -> (Self, Vec<mpsc::Receiver<Socket>>) {
        let (queues, receivers) = (0..cores)
            .map(|_| {
                let (sockets, receiver) = mpsc::channel(QUEUE);
                (CoreQueue { sockets, open: Arc::default() }, receiver)
            })
            .unzip();
        let acceptor = Self {
            cores: queues,
            counts: Arc::default(),
            limit: config.limits.connections,
            limit_per_network: config.limits.connections_per_network,
            proxies: [&config.listen.trusted_proxies[..], &config.listen.proxy_protocol].concat(),
            metrics,
            told: Mutex::default(),
        };
        (acceptor, receivers)
    }

    /// Accepts until `stop` says true or is gone. Dropping the acceptor tells the cores that no
    /// more will come.
    pub async fn run(self, doors: Vec<Door>, stop: watch::Receiver<bool>) {
        let shared = Arc::new(self);
        let accepting = doors.into_iter().map(|door| {
            let (acceptor, mut stop) = (Arc::clone(&shared), stop.clone());
            tokio::spawn(async move {
                tokio::select! {
                    () = acceptor.accept_all(&door) => {}
                    _ = stop.wait_for(|stop| *stop) => {}
                }
                // To those clients they are connected, and may have sent a request.
                for (stream, peer) in waiting(door.listener) {
                    acceptor.admit(stream, peer, door.kind);
                }
            })
        });
        for task in accepting.collect::<Vec<_>>() {
            if let Err(error) = task.await {
                tracing::error!(error = %error, "an acceptor ended");
            }
        }
    }

    async fn accept_all(&self, door: &Door) {
        loop {
            match door.listener.accept().await {
                Ok((stream, peer)) => {
                    // Leaves this runtime; the core registers it with its own.
                    if let Ok(stream) = stream.into_std() {
                        self.admit(stream, peer, door.kind);
                    }
                }
                // The peer was gone before we came: nothing to do with the next one.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    // Out of descriptors or memory. Spinning would make it worse.
                    tracing::warn!(error = %error, "accepting a connection failed");
                    tokio::time::sleep(BREATHER).await;
                }
            }
        }
    }

    /// Hands the socket on, or closes it by dropping it.
    fn admit(&self, stream: TcpStream, peer: SocketAddr, kind: Kind) {
        let (permit, queue) = match self.permit(peer.ip()) {
            Ok(permitted) => permitted,
            Err(why) => return self.refuse(peer, why),
        };
        if stream.set_nodelay(true).and_then(|()| stream.set_nonblocking(true)).is_err() {
            return;
        }
        self.metrics.listen().accepted();
        if queue.sockets.try_send(Socket { stream, peer, kind, permit }).is_err() {
            self.refuse(peer, BEHIND);
        }
    }

    /// Counts a connection that is closed at once, and tells of it now and then: whoever opens ten
    /// thousand of them shall not fill the log.
    fn refuse(&self, peer: SocketAddr, why: &'static str) {
        self.metrics.listen().refused();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.as_ref().is_none_or(|since| since.elapsed() >= TELL_EVERY) {
            *told = Some(Stopwatch::start());
            tracing::warn!(peer = %peer, why, "connections are closed at once");
        }
    }

    fn permit(&self, peer: IpAddr) -> Result<(ConnectionPermit, &CoreQueue), &'static str> {
        if self.counts.open.load(Ordering::Relaxed) >= self.limit {
            return Err("limits.connections");
        }
        // A core that is gone or far behind gets no more.
        let able = |core: &&CoreQueue| core.sockets.capacity() > 0 && !core.sockets.is_closed();
        let load = |core: &&CoreQueue| core.open.load(Ordering::Relaxed);
        let queue = self.cores.iter().filter(able).min_by_key(load).ok_or(BEHIND)?;
        let peer = peer.to_canonical();
        let is_proxy = self.proxies.iter().any(|net| net.contains(&peer));
        let network = (!is_proxy).then(|| network(peer));
        // The last step that can fail: what is counted here, its permit takes off.
        if network.is_some_and(|network| !self.counts.add(network, self.limit_per_network)) {
            return Err("limits.connections_per_network");
        }
        queue.open.fetch_add(1, Ordering::Relaxed);
        self.counts.open.fetch_add(1, Ordering::Relaxed);
        let (counts, core) = (Arc::clone(&self.counts), Arc::clone(&queue.open));
        Ok((ConnectionPermit { counts, core, network }, queue))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acceptor(cores: usize) -> (Acceptor, Vec<mpsc::Receiver<Socket>>) {
        let text = "[listen]\nhttps = \"127.0.0.1:0\"\n\
                    [limits]\nconnections_per_network = 1000\n";
        let config = Config::parse(text, std::path::Path::new("t.toml")).unwrap();
        let names = crate::observe::Names { routes: &[], upstreams: &[], rejections: &[] };
        Acceptor::new(cores, &config, Registry::new(names, cores))
    }

    /// Hands a new socket on.
    async fn admit(acceptor: &Acceptor) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stream, accepted) =
            tokio::join!(tokio::net::TcpStream::connect(address), listener.accept());
        let (_, peer) = accepted.unwrap();
        acceptor.admit(stream.unwrap().into_std().unwrap(), peer, Kind::Plain);
    }

    #[tokio::test]
    async fn each_socket_goes_to_the_core_that_holds_the_fewest() {
        let (acceptor, mut cores) = acceptor(3);
        for _ in 0..6 {
            admit(&acceptor).await;
        }
        assert_eq!(cores.iter().map(mpsc::Receiver::len).collect::<Vec<_>>(), [2, 2, 2]);
        // Those of the second core have ended.
        for _ in 0..2 {
            drop(cores[1].recv().await.unwrap());
        }
        for _ in 0..2 {
            admit(&acceptor).await;
        }
        assert_eq!(cores.iter().map(mpsc::Receiver::len).collect::<Vec<_>>(), [2, 2, 2]);
    }

    #[tokio::test]
    async fn a_core_that_is_gone_or_far_behind_gets_no_socket_and_the_others_serve_on() {
        let (acceptor, mut cores) = acceptor(3);
        // Gone, and yet the least loaded.
        drop(cores.remove(0));
        // Far behind: it takes none of what waits for it, though its connections end.
        for _ in 0..QUEUE {
            admit(&acceptor).await;
            // As if its other connections had ended.
            acceptor.cores[1].open.store(0, Ordering::Relaxed);
        }
        assert_eq!((cores[0].len(), cores[1].len()), (QUEUE, 0));
        admit(&acceptor).await;
        assert_eq!((cores[0].len(), cores[1].len()), (QUEUE, 1));
        // With nobody left, the socket is closed and counted nowhere.
        drop(cores);
        admit(&acceptor).await;
        assert_eq!(acceptor.counts.open.load(Ordering::Relaxed), 0);
        assert!(acceptor.counts.by_network.is_empty(), "{:?}", acceptor.counts.by_network);
    }
}

//! A whole gateway on one thread and without sockets, for the fuzz target `journey`; in no other build.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use tokio::io::DuplexStream;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::{mark, pages_with, registry};
use crate::clock::{Clock, Timestamp};
use crate::config::{Config, Servers};
use crate::deadline::Deadlines;
use crate::endpoints::Endpoints;
use crate::journey::route::RouteTable;
use crate::journey::{Journey, Parts, Shared};
use crate::listen::Connections;
use crate::message::arrival::Arrival;
use crate::message::fields::Firewall;
use crate::message::via::Via;
use crate::observe::{AccessWriter, RequestIds};
use crate::session::{self, Sessions, Settings};
use crate::store;
use crate::upstream::{Place, Pool};

/// One core. Its deadlines stand still.
pub struct Memory {
    journey: Rc<Journey>,
    connections: Rc<Connections>,
    lines: Box<dyn Fn() -> Vec<u8>>,
    _drain: watch::Sender<bool>,
    _room: Runtime,
}

type Failure = Box<dyn std::error::Error>;

impl Memory {
    /// What this config says, with its files in `folder`. Its access lines are kept.
    ///
    /// # Errors
    /// What is in the way.
    pub fn start(config: &str, folder: &Path) -> Result<Self, Failure> {
        let config = Arc::new(
            Config::parse(config, &folder.join("gateway.toml"))
                .map_err(|error| format!("{error}"))?,
        );
        let room =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let clock = Clock::manual(Timestamp::from_secs(1_800_000_000));
        let store = room.block_on(store::open(&config.store))?;
        let sessions = room.block_on(Sessions::start(session::Parts {
            store,
            clock: clock.clone(),
            room: room.handle().clone(),
            settings: Settings::of(&config),
            captcha: None,
        }))?;
        let metrics = registry(&config).core(0);
        let shared = Arc::new(Shared {
            routes: RouteTable::new(config.routes.clone()),
            firewalls: config.upstreams.iter().map(|one| Firewall::new(one)).collect(),
            endpoints: Endpoints::new(
                Arc::clone(&config),
                Arc::clone(&sessions),
                pages_with(&config, None)?,
            ),
            sessions,
            clock,
            via: Via::new(&mark()?),
            config: Arc::clone(&config),
        });
        let deadlines = Deadlines::new();
        let pool = |(index, upstream): (usize, &Arc<crate::config::Upstream>)| {
            let servers = match &upstream.servers {
                Servers::Http(servers) => servers.clone(),
                Servers::Demo => Vec::new(),
            };
            let place = Place { index, cores: 1, metrics: Arc::clone(&metrics), trust: None };
            Pool::new(Arc::clone(upstream), servers, Arc::default(), Rc::clone(&deadlines), place)
        };
        let (buffer, lines) = AccessWriter::kept(config.log.format);
        let journey = Journey::new(
            shared,
            Parts {
                pools: config.upstreams.iter().enumerate().map(pool).collect(),
                deadlines: Rc::clone(&deadlines),
                metrics: Arc::clone(&metrics),
                lines: Some(buffer),
                ids: RequestIds::new()?,
            },
        );
        let (drain, draining) = watch::channel(false);
        let ours = Rc::clone(&journey);
        let connections = Connections::new(ours, None, deadlines, &config, metrics, draining);
        let lines = Box::new(lines);
        Ok(Self { journey, connections, lines, _drain: drain, _room: room })
    }

    /// Serves a client of HTTP/2 or HTTP/1.1, as if by TLS.
    pub fn serve(&self, stream: DuplexStream, h2: bool) {
        let peer = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 1));
        let arrival = Arrival::new(peer, true, h2);
        self.connections.serve_memory(stream, arrival);
    }

    /// The access lines since this was asked last.
    pub fn lines(&self) -> Vec<u8> {
        self.journey.housekeeping();
        (self.lines)()
    }
}

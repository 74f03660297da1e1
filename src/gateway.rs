//! The composition root: a [`Config`] becomes a [`Gateway`], which runs until it is told to stop.
//! No part looks anything up: all that it needs is handed to it here.

mod admin;
mod captcha;
mod core;
#[cfg(fuzzing)]
pub mod memory;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::core::{Core, Outline};
use crate::clock::Clock;
use crate::config::{Config, Endpoint, Remember, SecretKind, Server, Servers, Tls};
use crate::endpoints::Endpoints;
use crate::endpoints::pages::{self, Brand, PageError, PageSettings, Pages};
use crate::id::TokenId;
use crate::journey::route::RouteTable;
use crate::journey::{self, Shared};
use crate::listen::certificate::{self, CertificateError};
use crate::listen::{Acceptor, Door, Kind, Pair, TlsConfig, TlsError};
use crate::message::fields::Firewall;
use crate::message::reject::LABELS;
use crate::message::via::Via;
use crate::observe::{AccessWriter, Names, ObserveError, Registry};
use crate::session::{self, Sessions, Settings};
use crate::store::{self, StoreError};
use crate::upstream::{Load, ServiceError, Trust, TrustError, demo};

/// Threads for the store and for what else must not hold up a core.
const ROOM_THREADS: usize = 2;

/// How long the end may wait for the last audit events to be written, and for the store to be put away.
const FLUSH: Duration = Duration::from_secs(2);

/// Why the gateway cannot start, in the operator's words.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address that cannot be listened on.
    #[error("listen.{key}: {address} cannot be listened on: {source}{}", hint(source))]
    Bind {
        /// The key of the config.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// The certificate is of no use.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The development certificate could not be made.
    #[error("tls: {0}")]
    Certificate(#[from] CertificateError),
    /// An upstream's servers could not be told from others.
    #[error("upstream {name:?}: tls: {source}")]
    Trust {
        /// The upstream.
        name: String,
        /// Why.
        source: TrustError,
    },
    /// The store is of no use.
    #[error("store.url: {0}")]
    Store(#[from] StoreError),
    /// Nobody could be signed in.
    #[error("{0}")]
    Sessions(#[from] session::StartError),
    /// The access log could not be opened.
    #[error("log.access: {0}")]
    Log(#[from] ObserveError),
    /// The captcha's stand-in could not be started.
    #[error("captcha.stand_in: {address} cannot be listened on: {source}{}", hint(source))]
    StandIn {
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// The captcha's service cannot be called.
    #[error("captcha: {0}")]
    Captcha(#[from] ServiceError),
    /// A page could not be made ready.
    #[error("pages: {0}")]
    Pages(#[from] PageError),
    /// The system denied a thread, a runtime or randomness.
    #[error("the system denied {what}: {source}")]
    System {
        /// What.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            " (another program, or another copy of this one, listens there)"
        }
        io::ErrorKind::PermissionDenied => " (ports below 1024 need a right that this user lacks)",
        io::ErrorKind::AddrNotAvailable => " (no interface of this machine has this address)",
        _ => "",
    }
}

/// Where a running gateway listens.
#[derive(Debug, Clone, Default)]
pub struct Addresses {
    /// The TLS listener.
    pub https: Option<SocketAddr>,
    /// The redirecting listener.
    pub http: Option<SocketAddr>,
    /// Health and metrics.
    pub admin: Option<SocketAddr>,
    /// The plain development listener.
    pub dev_http: Option<SocketAddr>,
}

/// A gateway that listens and serves.
pub struct Gateway {
    addresses: Addresses,
    sessions: Arc<Sessions>,
    store: Arc<dyn store::Store>,
    room: Runtime,
    stop: watch::Sender<Phase>,
    drain: watch::Sender<bool>,
    cores: Vec<Core>,
    redirect: Option<JoinHandle<()>>,
    access: Option<Arc<AccessWriter>>,
    drain_delay: Duration,
    drain_timeout: Duration,
}

/// What the gateway is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    Draining,
}

impl Gateway {
    /// Builds all parts in the order in which they need each other, binds every address, and
    /// serves. What `clock` says is the time.
    ///
    /// # Errors
    /// The first thing that is in the way.
    pub fn start(config: Config, clock: Clock) -> Result<Self, StartError> {
        let config = Arc::new(config);
        let room = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(ROOM_THREADS)
            .thread_name("room")
            .enable_all()
            .build()
            .map_err(|source| StartError::System { what: "a runtime", source })?;
        // Addresses first: a second copy must fail before it touches anything.
        let doors = room.block_on(async { Doors::bind(&config) })?;
        let check = room.block_on(captcha::Check::new(&config, &clock))?;
        let tls = config.listen.https.map(|_| tls(&config.tls, &clock)).transpose()?;
        let store = room.block_on(store::open(&config.store))?;
        let sessions = room.block_on(Sessions::start(session::Parts {
            store: Arc::clone(&store),
            clock: clock.clone(),
            room: room.handle().clone(),
            settings: Settings::of(&config),
            captcha: check.captcha,
        }))?;
        let access = AccessWriter::open(&config.log)?.map(Arc::new);
        let registry = registry(&config);
        let shared = Arc::new(Shared {
            routes: RouteTable::new(config.routes.clone()),
            firewalls: config.upstreams.iter().map(|one| Firewall::new(one)).collect(),
            endpoints: Endpoints::new(
                Arc::clone(&config),
                Arc::clone(&sessions),
                pages_with(&config, check.widget)?,
            ),
            sessions: Arc::clone(&sessions),
            clock,
            via: Via::new(&mark()?),
            config: Arc::clone(&config),
        });
        let cores = config.listen.cores.get();
        let (acceptor, queues) = Acceptor::new(cores, &config, Arc::clone(&registry));
        let (stop, phase) = watch::channel(Phase::Running);
        let (drain, draining) = watch::channel(false);
        let blueprint = Blueprint {
            shared,
            servers: room.block_on(servers(&config))?,
            trusts: trusts(&config)?,
            loads: config.upstreams.iter().map(|_| Arc::default()).collect(),
            tls,
            access: access.clone(),
            registry: Arc::clone(&registry),
            draining: draining.clone(),
        };
        let started: Result<_, _> = queues
            .into_iter()
            .enumerate()
            .map(|(index, sockets)| Core::start(blueprint.outline(index), sockets))
            .collect();
        if let Some(door) = doors.admin {
            let (sessions, lines) = (Arc::clone(&sessions), access.clone());
            let admin = admin::Admin { registry, sessions, phase, lines };
            room.spawn(admin::serve(door, Arc::new(admin)));
        }
        let redirect = doors.http.map(|door| {
            let site = config.listen.public_url.clone();
            room.spawn(admin::redirect(door, site, draining.clone()))
        });
        if let Some(stand_in) = check.stand_in {
            room.spawn(stand_in.run());
        }
        room.spawn(acceptor.run(doors.gates, draining));
        Ok(Self {
            addresses: doors.addresses,
            sessions,
            store,
            room,
            stop,
            drain,
            cores: started?,
            redirect,
            access,
            drain_delay: config.listen.drain_delay,
            drain_timeout: config.listen.drain_timeout,
        })
    }

    /// Where it listens, with the real ports.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// The rules of signing in, as the running gateway uses them.
    pub fn sessions(&self) -> &Arc<Sessions> {
        &self.sessions
    }

    /// The store, as the running gateway uses it.
    pub fn store(&self) -> &Arc<dyn store::Store> {
        &self.store
    }

    /// The runtime on which the store is spoken to.
    pub fn room(&self) -> &tokio::runtime::Handle {
        self.room.handle()
    }

    /// The access log, to be opened anew when it has been rotated.
    pub fn access_log(&self) -> Option<Arc<AccessWriter>> {
        self.access.clone()
    }

    /// Runs until `until` is ready, then drains: accepts no more, lets requests finish until
    /// `listen.drain_timeout`, and returns.
    pub fn run(self, until: impl Future<Output = ()>) {
        self.room.block_on(until);
        self.stop();
    }

    /// Drains and ends.
    pub fn stop(self) {
        self.stop.send_replace(Phase::Draining);
        if !self.drain_delay.is_zero() {
            tracing::info!("stopping soon: not ready any more, and still accepting");
            let delay = self.drain_delay;
            self.room.block_on(async move { tokio::time::sleep(delay).await });
        }
        self.drain.send_replace(true);
        // Once it is so: who reads this may rely on it.
        tracing::info!("stopping: no more connections, requests under way may finish");
        let limit = self.drain_timeout;
        let mut late = 0_usize;
        let cores = self.cores;
        self.room.block_on(async {
            let all = async {
                for core in &cores {
                    core.finished().await;
                }
                if let Some(redirect) = self.redirect {
                    // However it ended, it has.
                    let _ended = redirect.await;
                }
            };
            if tokio::time::timeout(limit, all).await.is_err() {
                late = cores.iter().filter(|core| !core.is_finished()).count();
            }
        });
        if late > 0 {
            tracing::warn!(cores = late, "drain_timeout has passed; the rest is cut off");
        }
        for core in cores {
            core.join();
        }
        self.room.block_on(self.sessions.audit().flush(FLUSH));
        drop(self.sessions);
        let store = self.store;
        match self.room.block_on(async { tokio::time::timeout(FLUSH, store.put_away()).await }) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the store could not be put away"),
            Err(_late) => tracing::warn!("the store could not be put away in time"),
        }
        drop(store);
        if let Some(access) = self.access {
            access.finish();
        }
        self.room.shutdown_timeout(Duration::from_secs(2));
        tracing::info!("stopped");
    }
}

/// What all cores are made of.
struct Blueprint {
    shared: Arc<Shared>,
    servers: Vec<Vec<Server>>,
    trusts: Vec<Option<Arc<Trust>>>,
    loads: Vec<Arc<Load>>,
    tls: Option<Arc<TlsConfig>>,
    access: Option<Arc<AccessWriter>>,
    registry: Arc<Registry>,
    draining: watch::Receiver<bool>,
}

impl Blueprint {
    fn outline(&self, index: usize) -> Outline {
        Outline {
            index,
            shared: Arc::clone(&self.shared),
            servers: self.servers.clone(),
            trusts: self.trusts.clone(),
            loads: self.loads.clone(),
            tls: self.tls.clone(),
            metrics: self.registry.core(index),
            lines: self.access.as_ref().map(|access| access.core_buffer()),
            draining: self.draining.clone(),
        }
    }
}

/// What tells this process from every other gateway.
fn mark() -> Result<String, StartError> {
    let random = TokenId::generate().map_err(|error| StartError::System {
        what: "randomness",
        source: io::Error::other(error),
    })?;
    Ok(random.to_string().chars().filter(char::is_ascii_alphanumeric).take(12).collect())
}

fn registry(config: &Config) -> Arc<Registry> {
    let routes: Vec<String> = config.routes.iter().map(|one| one.name.clone()).collect();
    let upstreams: Vec<String> = config.upstreams.iter().map(|one| one.name.clone()).collect();
    let rejections: Vec<&str> = LABELS.iter().chain(&journey::OUTCOMES).copied().collect();
    let names = Names { routes: &routes, upstreams: &upstreams, rejections: &rejections };
    Registry::new(names, config.listen.cores.get())
}

/// The gateway's own pages, with what the operator lays over them.
///
/// # Errors
/// A file of the operator's is missing, too large or wrong, told with its line.
pub fn pages(config: &Config) -> Result<Pages, StartError> {
    pages_with(config, None)
}

/// The same with the captcha's widget, once it is known where its script is.
fn pages_with(config: &Config, captcha: Option<pages::Captcha>) -> Result<Pages, StartError> {
    let pages = Pages::new(PageSettings {
        base: config.login.base.clone(),
        site_name: config.login.site_name.clone(),
        paths: Endpoint::ALL
            .into_iter()
            .filter_map(|one| Some((one.row().name, config.shapes.path(one)?.to_owned())))
            .collect(),
        remember: config.login.remember == Remember::Ask,
        identifier_field: config.login.identifier_field.clone(),
        secret_field: config.login.secret_field.clone(),
        signup: config.login.signup && config.shapes.path(Endpoint::SignupPage).is_some(),
        pin: config.password.kind == SecretKind::Pin,
        captcha,
        return_origins: config
            .login
            .return_hosts
            .iter()
            .map(|host| format!("https://{host}"))
            .collect(),
        brand: Brand::try_from(&config.pages)?,
        folder: config.pages.folder.clone(),
        ..PageSettings::default()
    })?;
    if let Some(fitted) = pages.fitted_accent() {
        tracing::info!("{fitted}");
    }
    Ok(pages)
}

/// Bound addresses.
struct Doors {
    gates: Vec<Door>,
    admin: Option<TcpListener>,
    http: Option<TcpListener>,
    addresses: Addresses,
}

impl Doors {
    fn bind(config: &Config) -> Result<Self, StartError> {
        let listen = &config.listen;
        let mut doors =
            Self { gates: Vec::new(), admin: None, http: None, addresses: Addresses::default() };
        let gate = |key, address: Option<SocketAddr>, kind| -> Result<_, StartError> {
            let Some(address) = address else { return Ok(None) };
            let bound = Door::bind(address, kind).and_then(|door| Ok((door.address()?, door)));
            let bound = bound.map_err(|source| StartError::Bind { key, address, source })?;
            Ok(Some(bound))
        };
        if let Some((address, door)) = gate("https", listen.https, Kind::Tls)? {
            doors.addresses.https = Some(address);
            doors.gates.push(door);
        }
        if let Some((address, door)) = gate("dev_http", listen.dev_http, Kind::Plain)? {
            doors.addresses.dev_http = Some(address);
            doors.gates.push(door);
        }
        let plain = |key, address: Option<SocketAddr>| -> Result<_, StartError> {
            let Some(address) = address else { return Ok(None) };
            let bound = crate::listen::bind(address);
            bound.map(Some).map_err(|source| StartError::Bind { key, address, source })
        };
        doors.admin = plain("admin", listen.admin)?;
        doors.http = plain("http", listen.http)?;
        let real = |door: &Option<TcpListener>| door.as_ref()?.local_addr().ok();
        doors.addresses.admin = real(&doors.admin);
        doors.addresses.http = real(&doors.http);
        Ok(doors)
    }
}

fn tls(settings: &Tls, clock: &Clock) -> Result<Arc<TlsConfig>, StartError> {
    match settings {
        Tls::Files { pairs, refuse_unknown, only_13, .. } => {
            let pair = |(certificate, key): &(PathBuf, PathBuf)| Pair {
                certificate: certificate.clone(),
                key: key.clone(),
            };
            let pairs: Vec<Pair> = pairs.iter().map(pair).collect();
            Ok(TlsConfig::new(&pairs, *refuse_unknown, *only_13)?)
        }
        Tls::Development { folder } => {
            let files = certificate::development(folder, clock.now())?;
            if files.made {
                tracing::info!(
                    certificate = %files.certificate.display(),
                    "made a development certificate for localhost"
                );
            }
            let pair = Pair { certificate: files.certificate, key: files.key };
            Ok(TlsConfig::new(&[pair], false, false)?)
        }
    }
}

/// Whom each upstream that speaks TLS is believed by.
fn trusts(config: &Config) -> Result<Vec<Option<Arc<Trust>>>, StartError> {
    let trust = |upstream: &Arc<crate::config::Upstream>| {
        let Some(tls) = &upstream.tls else { return Ok(None) };
        let trust = Trust::new(tls, upstream.http);
        let name = upstream.name.clone();
        trust
            .map(|trust| Some(Arc::new(trust)))
            .map_err(|source| StartError::Trust { name, source })
    };
    config.upstreams.iter().map(trust).collect()
}

/// The servers of each upstream, and of the demonstration if it is one.
async fn servers(config: &Config) -> Result<Vec<Vec<Server>>, StartError> {
    let mut all = Vec::with_capacity(config.upstreams.len());
    for upstream in &config.upstreams {
        all.push(match &upstream.servers {
            Servers::Http(servers) => servers.clone(),
            Servers::Demo => {
                let denied = |source| StartError::System { what: "a loopback port", source };
                let address = demo::start().await.map_err(denied)?;
                vec![Server { host: address.ip().to_string(), port: address.port() }]
            }
        });
    }
    Ok(all)
}

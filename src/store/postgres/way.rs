//! The way to the server that takes writes: which of the hosts that is, whether it can be gone now,
//! and how it is found again. While it cannot, one watcher of each replica looks for it, with
//! growing and uneven pauses, and everybody else waits for that: a server that comes back is not
//! run over by those who missed it.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgPool, Row};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, timeout, timeout_at};

use super::open::{bounds, isolated};
use super::pooler::Pooler;
use super::shelf::{Shelf, Taken};
use crate::clock::Stopwatch;
use crate::secret;
use crate::store::fault::Busy;
use crate::store::{StoreError, Waits};

/// How long one host may take to let us in.
pub(super) const CONNECT_WAIT: Duration = Duration::from_secs(2);
/// Acts that may be under way or wait; one that comes then is refused at once.
const ACTS: usize = 1024;
/// The pauses between two looks for a server that has gone: they double from the first to the last.
const PAUSES: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(1)];

/// Shared by the store and its watcher.
pub(super) struct Way {
    shelf: Shelf,
    /// For listening: without a pooler in between.
    direct: PgPool,
    hosts: Vec<PgConnectOptions>,
    direct_hosts: Vec<PgConnectOptions>,
    pooler: Option<Pooler>,
    host: AtomicUsize,
    reopened: AtomicU64,
    /// Whether it can be gone.
    open: watch::Sender<bool>,
    /// Since when it cannot.
    closed: Mutex<Stopwatch>,
    trouble: Mutex<Stopwatch>,
    places: Arc<Semaphore>,
    turn: Duration,
}

impl Way {
    /// To `hosts[host]`, which was found to take writes.
    pub(super) fn new(
        hosts: Vec<PgConnectOptions>,
        direct_hosts: Vec<PgConnectOptions>,
        host: usize,
        connections: u32,
        waits: Waits,
    ) -> Arc<Self> {
        let pooler = (!direct_hosts.is_empty()).then(|| Pooler::new(waits));
        let hosts: Vec<PgConnectOptions> = hosts
            .into_iter()
            .map(|one| match pooler {
                None => isolated(one).options(bounds(waits.lock, waits.lock)),
                Some(_) => Pooler::options(one),
            })
            .collect();
        let direct_hosts = if pooler.is_none() { hosts.clone() } else { direct_hosts };
        let options = |of: &[PgConnectOptions]| of.get(host).or(of.first()).cloned();
        let nowhere = "a URL has at least one host: split(',') gives one part or more";
        let listening = PgPoolOptions::new()
            // One that listens, and one that may still hang on a server which has gone.
            .max_connections(2)
            .acquire_timeout(waits.turn)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_lazy_with(options(&direct_hosts).expect(nowhere));
        Arc::new(Self {
            shelf: Shelf::new(options(&hosts).expect(nowhere), connections),
            direct: listening,
            hosts,
            direct_hosts,
            pooler,
            host: AtomicUsize::new(host),
            reopened: AtomicU64::new(0),
            open: watch::Sender::new(true),
            closed: Mutex::new(Stopwatch::start()),
            trouble: Mutex::new(Stopwatch::start()),
            places: Arc::new(Semaphore::new(ACTS)),
            turn: waits.turn,
        })
    }

    /// The pool of the connections that listen.
    pub(super) const fn direct(&self) -> &PgPool {
        &self.direct
    }

    /// How acts are done where a pooler stands in between.
    pub(super) const fn pooler(&self) -> Option<&Pooler> {
        self.pooler.as_ref()
    }

    /// How often the server was lost and found again.
    pub(super) fn reopened(&self) -> u64 {
        self.reopened.load(Ordering::Acquire)
    }

    /// A connection for one act, and its place among those under way. To be given back by
    /// [`Self::done`].
    pub(super) async fn take(
        self: &Arc<Self>,
    ) -> Result<(Taken, OwnedSemaphorePermit), StoreError> {
        let busy = || StoreError::unavailable(Busy(self.turn));
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| busy())?;
        let mut open = self.open.subscribe();
        // A server that has been gone for longer than anybody waits is waited for by nobody.
        let gone = if *open.borrow() { Duration::ZERO } else { elapsed(&self.closed) };
        let end = tokio::time::Instant::now() + self.turn.saturating_sub(gone);
        let opened =
            timeout_at(end, open.wait_for(|open| *open)).await.is_ok_and(|open| open.is_ok());
        if !opened {
            return Err(StoreError::unavailable(Gone));
        }
        let taken = timeout_at(end, self.shelf.take(elapsed(&self.trouble))).await;
        match taken.unwrap_or(Err(sqlx::Error::PoolTimedOut)) {
            Ok(taken) => Ok((taken, place)),
            Err(error) => {
                self.lost();
                Err(error.into())
            }
        }
    }

    /// Takes a connection back from an act that has come to its end. One whose act was given up in
    /// the midst must not come here.
    pub(super) async fn done(&self, taken: Taken, failed: bool) {
        self.shelf.give_back(taken, failed).await;
    }

    /// Says that the way was found closed: from now on the watcher looks for it.
    pub(super) fn lost(self: &Arc<Self>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Stopwatch::start();
        // Held, so that nobody reads when it was closed the last time.
        let mut closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        if self.open.send_replace(false) {
            *closed = Stopwatch::start();
            tokio::spawn(Self::watch(Arc::downgrade(self)));
        }
    }

    /// Looks until a server is found that takes writes, or nobody needs one any more.
    async fn watch(way: std::sync::Weak<Self>) {
        let [mut pause, longest] = PAUSES;
        let mut told = String::new();
        let round = Stopwatch::start();
        loop {
            let Some(way) = way.upgrade() else { return };
            let from = way.host.load(Ordering::Relaxed);
            match find(&way.direct_hosts, from, CONNECT_WAIT).await {
                Ok((host, connection)) => {
                    connection.close().await.ok();
                    way.lead_to(host);
                    if !told.is_empty() {
                        let gone_ms = u64::try_from(round.elapsed().as_millis()).unwrap_or(0);
                        tracing::info!(store.gone_ms = gone_ms, "the store is back");
                    }
                    return;
                }
                Err(error) => {
                    let reason = error.to_string();
                    if reason != told {
                        tracing::error!(error = %reason, "the store cannot be reached");
                        told = reason;
                    }
                }
            }
            drop(way);
            sleep(uneven(pause)).await;
            pause = (pause * 2).min(longest);
        }
    }

    fn lead_to(&self, host: usize) {
        if self.host.swap(host, Ordering::Relaxed) != host {
            tracing::warn!(store.host = host + 1, "the store has moved to another host of its URL");
        }
        if let (Some(options), Some(direct)) = (self.hosts.get(host), self.direct_hosts.get(host)) {
            self.shelf.lead_to(options.clone());
            self.direct.set_connect_options(direct.clone());
        }
        self.reopened.fetch_add(1, Ordering::Release);
        self.open.send_replace(true);
    }
}

/// The server was looked for and not found in the time that an act has.
#[derive(Debug, thiserror::Error)]
#[error("its server cannot be reached")]
struct Gone;

/// A server, or whatever listens there, took us in and said nothing.
#[derive(Debug, thiserror::Error)]
#[error(
    "its server does not answer within {0:?}; look whether it hangs, and whether host and port of \
     store.url are those of a Postgres"
)]
struct Silent(Duration);

/// The first host, from the one of number `from` on, that takes writes, within `wait` for each; with
/// a connection to it. Otherwise what is wrong with the host that came nearest to it.
pub(super) async fn find(
    hosts: &[PgConnectOptions],
    from: usize,
    wait: Duration,
) -> Result<(usize, PgConnection), StoreError> {
    let mut nearest: Option<StoreError> = None;
    for number in 0..hosts.len() {
        let host = (from + number) % hosts.len();
        let Some(options) = hosts.get(host) else { continue };
        let error = match timeout(wait, enter(options)).await {
            Ok(Ok(connection)) => return Ok((host, connection)),
            Ok(Err(error)) => error,
            Err(_) => StoreError::unavailable(Silent(wait)),
        };
        // Of a primary that is gone and a standby that refuses, the first is what is wrong.
        if nearest.is_none() || !matches!(error, StoreError::Refused(_)) {
            nearest = Some(error);
        }
    }
    Err(nearest.unwrap_or_else(|| StoreError::unavailable(Gone)))
}

async fn enter(options: &PgConnectOptions) -> Result<PgConnection, StoreError> {
    let mut connection = options.connect().await?;
    if is_read_only(&mut connection).await? {
        return Err(StoreError::Refused(
            "its server takes no writes: it is a standby, or read only by its settings; name the \
             primary, or all hosts that may become it (postgres://USER@ONE,TWO/NAME)"
                .to_owned(),
        ));
    }
    Ok(connection)
}

pub(super) async fn is_read_only(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    // Not prepared: it goes through poolers, outside of any transaction.
    let answer = sqlx::raw_sql("SHOW transaction_read_only").fetch_one(connection).await?;
    Ok(answer.try_get::<String, _>(0)? == "on")
}

fn elapsed(since: &Mutex<Stopwatch>) -> Duration {
    since.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
}

/// Between half of `pause` and all of it, so that replicas do not all come at once.
fn uneven(pause: Duration) -> Duration {
    let chance = secret::random::<1>().map_or(255, |[byte]| byte);
    pause / 2 + pause * u32::from(chance) / 510
}

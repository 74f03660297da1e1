//! The connections that acts are done on. The driver's own pool asks each one that comes back whether
//! it is alive, so that every act costs two round trips; here, only one that failed is asked.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::way::is_read_only;
use crate::clock::Stopwatch;

/// A connection that lay idle longer is asked whether it is still there before it is used.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);
/// One that lay idle longer is closed: it costs the server memory.
const IDLE: Duration = Duration::from_mins(10);
/// One that is older is closed: what it has cached on the server grows.
const LIFETIME: Duration = Duration::from_mins(30);

pub(super) struct Shelf {
    options: Mutex<PgConnectOptions>,
    /// The one used last on top, so that the others may fall idle.
    idle: Mutex<Vec<Idle>>,
    places: Arc<Semaphore>,
}

struct Idle {
    connection: PgConnection,
    made: Stopwatch,
    since: Stopwatch,
}

/// A connection for one act. Dropped, it is closed.
pub(super) struct Taken {
    pub(super) connection: PgConnection,
    made: Stopwatch,
    _place: OwnedSemaphorePermit,
}

impl Shelf {
    /// Room for `most` connections, in use or not, of which there are none yet.
    pub(super) fn new(options: PgConnectOptions, most: u32) -> Self {
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self {
            options: Mutex::new(options),
            idle: Mutex::default(),
            places: Arc::new(Semaphore::new(most)),
        }
    }

    /// From now on connections lead there; what is idle is forgotten.
    pub(super) fn lead_to(&self, options: PgConnectOptions) {
        *self.options.lock().unwrap_or_else(PoisonError::into_inner) = options;
        self.idle().clear();
    }

    /// A connection that nobody else has. One that has not been used since something broke, which
    /// is `quiet` ago, is asked whether its server still takes writes.
    pub(super) async fn take(&self, quiet: Duration) -> Result<Taken, sqlx::Error> {
        let place = Arc::clone(&self.places).acquire_owned().await;
        let place = place.map_err(|_| sqlx::Error::PoolClosed)?;
        loop {
            // Not in the condition: the lock would be held over the questions.
            let top = self.idle().pop();
            let Some(mut top) = top else { break };
            if let Ok(true) = top.is_good(quiet).await {
                return Ok(Taken { connection: top.connection, made: top.made, _place: place });
            }
        }
        let options = self.options.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let connection = options.connect().await?;
        Ok(Taken { connection, made: Stopwatch::start(), _place: place })
    }

    /// Takes a connection back on which an act has come to its end. Of one that `failed` it is made
    /// sure that its transaction is over: the driver says so to the server only with its next words.
    pub(super) async fn give_back(&self, mut taken: Taken, failed: bool) {
        if failed {
            let over = timeout(TRUSTED_IDLE, taken.connection.ping());
            if !over.await.is_ok_and(|answer| answer.is_ok()) {
                return;
            }
        }
        if taken.made.elapsed() > LIFETIME {
            close(taken.connection);
            return;
        }
        let Taken { connection, made, _place } = taken;
        let mut idle = self.idle();
        if idle.first().is_some_and(|bottom| bottom.since.elapsed() > IDLE) {
            close(idle.remove(0).connection);
        }
        idle.push(Idle { connection, made, since: Stopwatch::start() });
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Idle {
    async fn is_good(&mut self, quiet: Duration) -> Result<bool, sqlx::Error> {
        let idle = self.since.elapsed();
        if idle >= quiet {
            return Ok(!is_read_only(&mut self.connection).await?);
        }
        if idle > TRUSTED_IDLE {
            self.connection.ping().await?;
        }
        Ok(true)
    }
}

/// Says good-bye, which nobody waits for.
fn close(connection: PgConnection) {
    tokio::spawn(connection.close());
}

//! How a change is noticed: one of our own by being told, one of another process by the counter
//! that SQLite keeps in shared memory. Looking at it costs no disk access.

use std::pin::Pin;
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tokio::sync::{Mutex, Notify};

use crate::store::StoreError;

/// The counter is looked at this often, so that another's act is seen well within 500 ms.
const PERIOD: Duration = Duration::from_millis(200);

pub(super) struct Watch {
    options: SqliteConnectOptions,
    eye: Mutex<Option<Eye>>,
    own: Notify,
}

/// `PRAGMA data_version` counts the commits of all connections but the one that asks, so this one
/// never writes.
struct Eye {
    connection: SqliteConnection,
    version: i64,
}

impl Watch {
    /// What changes from now on will be noticed.
    pub(super) async fn start(options: SqliteConnectOptions) -> Result<Self, StoreError> {
        let eye = Eye::open(&options).await?;
        Ok(Self { options, eye: Mutex::new(Some(eye)), own: Notify::new() })
    }

    /// Wakes who waits in [`Self::changed`], or the next who will.
    pub(super) fn wake(&self) {
        self.own.notify_one();
    }

    pub(super) async fn changed(&self, at_most: Duration) -> Result<(), StoreError> {
        let mut end = std::pin::pin!(tokio::time::sleep(at_most));
        let mut eye = tokio::select! {
            eye = self.eye.lock() => eye,
            () = &mut end => return Ok(()),
        };
        let Some(open) = eye.as_mut() else {
            // It broke before: what has happened meanwhile is unknown.
            *eye = Some(Eye::open(&self.options).await?);
            return Ok(());
        };
        let result = open.wait(&self.own, end).await;
        if result.is_err() {
            *eye = None;
        }
        Ok(result?)
    }
}

impl Eye {
    async fn open(options: &SqliteConnectOptions) -> Result<Self, sqlx::Error> {
        let connection = options.connect().await?;
        let mut eye = Self { connection, version: 0 };
        eye.changed().await?;
        Ok(eye)
    }

    async fn wait(
        &mut self,
        own: &Notify,
        mut end: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<(), sqlx::Error> {
        while !self.changed().await? {
            tokio::select! {
                () = own.notified() => {
                    // Our own act has moved the counter too; that must not wake a second time.
                    self.changed().await?;
                    return Ok(());
                }
                () = &mut end => return Ok(()),
                () = tokio::time::sleep(PERIOD) => {}
            }
        }
        Ok(())
    }

    async fn changed(&mut self) -> Result<bool, sqlx::Error> {
        let version: i64 =
            sqlx::query_scalar("PRAGMA data_version").fetch_one(&mut self.connection).await?;
        Ok(std::mem::replace(&mut self.version, version) != version)
    }
}

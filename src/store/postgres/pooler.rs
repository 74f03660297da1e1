//! An act through a connection pooler that lends a connection of the server for one transaction at a
//! time (PgBouncer's transaction mode): what was prepared or set on that connection is another's.

use futures_util::future::BoxFuture;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, Connection};

use super::open::bounds;
use crate::store::{StoreError, Waits};

/// How an act is done through a pooler.
pub(super) struct Pooler {
    begin: String,
}

impl Pooler {
    /// With these bounds on what the server does for an act.
    pub(super) fn new(waits: Waits) -> Self {
        // One message, so one round trip. The driver prepares each statement under a name, counted
        // on its own connection; that may stand already on the one that was lent. The bounds are
        // the transaction's: a pooler refuses settings of a connection.
        let mut begin = "BEGIN ISOLATION LEVEL READ COMMITTED; DEALLOCATE ALL".to_owned();
        for (name, millis) in bounds(waits.lock, waits.lock) {
            begin.push_str(&format!("; SET LOCAL {name} = {millis}"));
        }
        Self { begin }
    }

    /// What a pooler takes, and without the memory of what was prepared.
    pub(super) fn options(options: PgConnectOptions) -> PgConnectOptions {
        options.extra_float_digits(None).statement_cache_capacity(0)
    }

    /// Runs `act` in one transaction, so that all of it happens on one connection of the server.
    pub(super) async fn within<T, F>(
        &self,
        connection: &mut PgConnection,
        act: F,
    ) -> Result<T, StoreError>
    where
        F: for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, Result<T, StoreError>>,
    {
        // Made of the names above and numbers.
        let begin = AssertSqlSafe(self.begin.clone());
        let mut transaction = connection.begin_with(begin).await?;
        let done = act(&mut transaction).await?;
        transaction.commit().await?;
        Ok(done)
    }
}

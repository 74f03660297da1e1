//! How the way to the server is opened: by TLS unless the URL says otherwise, with bounds on every
//! wait, and with the schema of this binary, though several replicas may start at once.

use std::str::FromStr;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPoolOptions, PgSslMode};
use sqlx::{ConnectOptions, Connection, PgPool};

use crate::store::fault::{is_up_to_date, migration};
use crate::store::{StoreError, Waits};

static MIGRATIONS: Migrator = sqlx::migrate!("src/store/migrations/postgres");

/// Connections of one replica. Acts are short; what comes beyond waits its turn.
const CONNECTIONS: u32 = 16;
/// A connection that lay idle longer is asked whether it is still there before it is used.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);
/// How long a replica waits for another that is making the schema.
const MIGRATION_WAIT: Duration = Duration::from_secs(60);

/// What the URL says. The server is verified (`verify-full`) unless it names an `sslmode`: what
/// passes here are password hashes and signing keys. A local socket needs no TLS.
pub(super) fn options(url: &str) -> Result<PgConnectOptions, StoreError> {
    let options = PgConnectOptions::from_str(url)?.disable_statement_logging();
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let named = form_urlencoded::parse(query.as_bytes())
        .any(|(key, _)| ["sslmode", "ssl-mode"].contains(&&*key));
    let local = options.get_socket().is_some() || options.get_host().starts_with('/');
    Ok(match options.get_ssl_mode() {
        _ if local => options.ssl_mode(PgSslMode::Disable),
        PgSslMode::Prefer if !named => options.ssl_mode(PgSslMode::VerifyFull),
        _ => options,
    })
}

/// The pool for acts. The server gives up what takes longer than `waits.lock`, so that what was
/// given up here is not done there later.
pub(super) fn pool(options: PgConnectOptions, waits: Waits) -> PgPool {
    PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(waits.turn)
        // A question before each act would cost a round trip; after a while of silence it pays.
        .test_before_acquire(false)
        .before_acquire(|connection, about| {
            Box::pin(async move {
                if about.idle_for > TRUSTED_IDLE {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .connect_lazy_with(options.options(bounds(waits.lock, waits.lock)))
}

/// For the connection that listens, and one that may still hang on a server which has gone.
pub(super) fn listening(options: PgConnectOptions, waits: Waits) -> PgPool {
    PgPoolOptions::new()
        .max_connections(2)
        .acquire_timeout(waits.turn)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_lazy_with(options)
}

/// Brings the schema up to date, on a connection of its own: the advisory lock that keeps other
/// replicas waiting belongs to the connection, and goes with it if this process dies.
pub(super) async fn migrate(options: &PgConnectOptions, waits: Waits) -> Result<(), StoreError> {
    let options = options.clone().options(bounds(Duration::ZERO, MIGRATION_WAIT));
    let connect = tokio::time::timeout(waits.turn, options.connect());
    let mut connection = connect.await.map_err(StoreError::unavailable)??;
    // Looked at first: a start needs neither the lock nor the right to write.
    if !is_up_to_date(version(&mut connection).await?, &MIGRATIONS)? {
        let done = MIGRATIONS.run(&mut connection).await;
        done.map_err(|error| migration(error, &MIGRATIONS))?;
    }
    connection.close().await.ok();
    Ok(())
}

async fn version(connection: &mut PgConnection) -> Result<Option<i64>, StoreError> {
    let table = "SELECT to_regclass('_sqlx_migrations') IS NOT NULL";
    if !sqlx::query_scalar::<_, bool>(table).fetch_one(&mut *connection).await? {
        return Ok(None);
    }
    let version = "SELECT max(version) FROM _sqlx_migrations";
    Ok(sqlx::query_scalar(version).fetch_one(connection).await?)
}

/// The server's own bounds. Zero is none.
fn bounds(statement: Duration, lock: Duration) -> [(&'static str, String); 3] {
    let millis = |wait: Duration| wait.as_millis().to_string();
    [
        ("statement_timeout", millis(statement)),
        ("lock_timeout", millis(lock)),
        ("idle_in_transaction_session_timeout", millis(lock)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(url: &str) -> PgSslMode {
        options(url).unwrap().get_ssl_mode()
    }

    #[test]
    fn the_server_is_verified_unless_the_url_says_otherwise() {
        assert!(matches!(mode("postgres://db.example.test/a"), PgSslMode::VerifyFull));
        assert!(matches!(mode("postgres://db.example.test/a?sslmode=prefer"), PgSslMode::Prefer));
        assert!(matches!(mode("postgres://db.example.test/a?sslmode=disable"), PgSslMode::Disable));
        assert!(matches!(mode("postgres:///a?host=/run/postgresql"), PgSslMode::Disable));
    }

    #[test]
    fn a_url_that_is_none_is_refused_without_being_repeated() {
        let error = options("postgres://ada:hunter2@[::/a").unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
}

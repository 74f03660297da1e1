//! How the file comes to be: private from its first byte, in WAL mode, with the schema of this
//! binary, though several processes may start on it at once.

use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection, SqlitePool};

use crate::clock::Stopwatch;
use crate::store::StoreError;
use crate::store::fault::{is_locked, is_up_to_date, migration};

static MIGRATIONS: Migrator = sqlx::migrate!("src/store/migrations/sqlite");

/// Readers at once. They are short, and no writer keeps them waiting.
const READERS: u32 = 4;
/// After a burst the write-ahead log is cut back to this.
const LOG_BYTES_MAX: &str = "67108864";

#[derive(Debug, thiserror::Error)]
#[error("cannot open {path}: {source}")]
struct NotOpened {
    path: PathBuf,
    source: io::Error,
}

/// Makes the file, and the folder it is in, if they are missing: for their owner alone, since the
/// file holds password hashes and signing keys. What exists keeps its mode.
pub(super) fn make_file(path: &Path) -> Result<(), StoreError> {
    let made = || -> io::Result<()> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        // SQLite gives its -wal and -shm files the mode of this one.
        OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
        Ok(())
    };
    made().map_err(|source| StoreError::unavailable(NotOpened { path: path.to_owned(), source }))
}

/// How every connection is opened. `busy`: how long it waits for another's lock.
pub(super) fn options(path: &Path, busy: Duration) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .journal_mode(SqliteJournalMode::Wal)
        // FULL: a commit is on the disk before it is acknowledged. WAL alone would keep the file
        // sound but could lose the last commits with the power.
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(busy)
        .pragma("journal_size_limit", LOG_BYTES_MAX)
        // What was deleted, keys among it, is overwritten.
        .pragma("secure_delete", "ON")
        .disable_statement_logging()
}

/// The first connection, after which the file is in WAL mode and its schema is ours.
pub(super) async fn first(
    options: &SqliteConnectOptions,
    busy: Duration,
) -> Result<SqliteConnection, StoreError> {
    let mut connection = connect(options, busy).await?;
    migrate(&mut connection).await?;
    Ok(connection)
}

/// Connections that only read. They see each commit from its moment on.
pub(super) fn readers(options: SqliteConnectOptions, wait: Duration) -> SqlitePool {
    SqlitePoolOptions::new()
        .max_connections(READERS)
        .acquire_timeout(wait)
        .idle_timeout(None)
        .max_lifetime(None)
        // There is no network between: a connection that was sound is sound.
        .test_before_acquire(false)
        .connect_lazy_with(options.pragma("query_only", "ON"))
}

/// The step to WAL mode needs the file alone and does not wait for it, so two processes that both
/// make it refuse each other: then again, for as long as another lock would be waited for.
async fn connect(
    options: &SqliteConnectOptions,
    busy: Duration,
) -> Result<SqliteConnection, StoreError> {
    const PAUSE: Duration = Duration::from_millis(20);
    let since = Stopwatch::start();
    loop {
        match options.connect().await {
            Err(error) if is_locked(&error) && since.elapsed() < busy => {
                tokio::time::sleep(PAUSE).await;
            }
            result => return Ok(result?),
        }
    }
}

/// Brings the schema up to date. All of it is one transaction that begins with the lock: of two
/// processes the second finds it made, and a kill in between leaves nothing.
async fn migrate(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    // Looked at first, so that a start on a busy file need not wait for the lock.
    if is_up_to_date(version(connection).await?, &MIGRATIONS)? {
        return Ok(());
    }
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    MIGRATIONS.run(&mut *transaction).await.map_err(|error| migration(error, &MIGRATIONS))?;
    Ok(transaction.commit().await?)
}

async fn version(connection: &mut SqliteConnection) -> Result<Option<i64>, StoreError> {
    let table = "SELECT count(*) FROM sqlite_master WHERE name = '_sqlx_migrations'";
    if sqlx::query_scalar::<_, i64>(table).fetch_one(&mut *connection).await? == 0 {
        return Ok(None);
    }
    let version = "SELECT max(version) FROM _sqlx_migrations";
    Ok(sqlx::query_scalar(version).fetch_one(connection).await?)
}

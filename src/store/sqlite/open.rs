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
use crate::store::fault::{State, is_locked, migration, state};

pub(in crate::store) static MIGRATIONS: Migrator = sqlx::migrate!("src/store/migrations/sqlite");

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
pub(in crate::store) fn options(path: &Path, busy: Duration) -> SqliteConnectOptions {
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

/// Whether a log is there that its last owner did not put away: a crash, or somebody is at it.
pub(super) fn was_left_open(path: &Path) -> bool {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    std::fs::metadata(log).is_ok_and(|about| about.len() > 0)
}

/// Reads the whole file for damage, as after a crash: better found now than in the midst of a login.
pub(super) async fn inspect(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let found: String = sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(connection).await?;
    if found == "ok" {
        return Ok(());
    }
    Err(StoreError::Unreadable(format!(
        "the file is damaged ({found}); restore a backup, or what can be saved of it with \
         sqlite3 FILE .recover"
    )))
}

/// Brings the schema up to date. All of it is one transaction that begins with the lock: of two
/// processes the second finds it made, and a kill in between leaves nothing.
async fn migrate(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    // Looked at first, so that a start on a busy file need not wait for the lock.
    match state(applied(connection).await?, needs(connection).await?, &MIGRATIONS)? {
        State::Current => return Ok(()),
        State::Newer => {
            tracing::warn!(
                "the store's schema is newer than this program, which can still work on it"
            );
            return Ok(());
        }
        State::Behind => {}
    }
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    MIGRATIONS.run(&mut *transaction).await.map_err(|error| migration(error, &MIGRATIONS))?;
    Ok(transaction.commit().await?)
}

/// The versions of the migrations that were made.
async fn applied(connection: &mut SqliteConnection) -> Result<Vec<i64>, StoreError> {
    if !has_table(connection, "_sqlx_migrations").await? {
        return Ok(Vec::new());
    }
    let versions = "SELECT version FROM _sqlx_migrations ORDER BY version";
    Ok(sqlx::query_scalar(versions).fetch_all(connection).await?)
}

/// The version that a program must know; none for a schema from before this was written down.
async fn needs(connection: &mut SqliteConnection) -> Result<Option<i64>, StoreError> {
    if !has_table(connection, "compatibility").await? {
        return Ok(None);
    }
    let needs = "SELECT max(needs) FROM compatibility";
    Ok(sqlx::query_scalar(needs).fetch_one(connection).await?)
}

async fn has_table(connection: &mut SqliteConnection, name: &str) -> Result<bool, StoreError> {
    let sql = "SELECT count(*) > 0 FROM sqlite_master WHERE name = $1";
    Ok(sqlx::query_scalar(sql).bind(name).fetch_one(connection).await?)
}

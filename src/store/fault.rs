//! From a driver's error to whose fault it is: try again later, or do not touch what is there.

use sqlx::error::DatabaseError;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::SqliteError;

use super::StoreError;

/// An act was given up before it began: the store was busy for too long.
#[derive(Debug, thiserror::Error)]
#[error("it is busy and did not come to this within {0:?}")]
pub(super) struct Busy(pub(super) std::time::Duration);

impl StoreError {
    pub(super) fn unavailable(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Unavailable(cause.into())
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::ColumnNotFound(_)
            | sqlx::Error::ColumnIndexOutOfBounds { .. }
            | sqlx::Error::TypeNotFound { .. }
            | sqlx::Error::Decode(_) => Self::Unreadable(error.to_string()),
            sqlx::Error::Database(ref cause) if is_damage(&**cause) => {
                Self::Unreadable(error.to_string())
            }
            other => Self::unavailable(other),
        }
    }
}

/// Whether waiting cannot help: this is no database of ours, or not a sound one.
fn is_damage(error: &dyn DatabaseError) -> bool {
    if let Some(error) = error.try_downcast_ref::<SqliteError>() {
        // SQLITE_ERROR (a table or column is missing), SQLITE_CORRUPT and SQLITE_NOTADB.
        return primary_code(error).is_some_and(|code| [1, 11, 26].contains(&code));
    }
    // undefined_table, undefined_column, duplicate_table, data_corrupted and index_corrupted.
    const DAMAGE: [&str; 5] = ["42P01", "42703", "42P07", "XX001", "XX002"];
    error.code().is_some_and(|code| DAMAGE.contains(&&*code))
}

/// Whether another connection holds the lock (SQLITE_BUSY, SQLITE_LOCKED).
pub(super) fn is_locked(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .and_then(|error| error.try_downcast_ref::<SqliteError>())
        .and_then(primary_code)
        .is_some_and(|code| [5, 6].contains(&code))
}

/// The extended code holds the primary one in its low byte.
fn primary_code(error: &SqliteError) -> Option<i32> {
    let code: i32 = error.code()?.parse().ok()?;
    Some(code & 0xff)
}

/// Whether the schema at version `found` (none: not made yet) is the newest of `migrations`. One
/// that is newer still is refused.
pub(super) fn is_up_to_date(found: Option<i64>, known: &Migrator) -> Result<bool, StoreError> {
    match found {
        Some(found) if found > newest(known) => Err(too_new(found, known)),
        found => Ok(found == Some(newest(known))),
    }
}

fn newest(migrations: &Migrator) -> i64 {
    migrations.iter().map(|migration| migration.version).max().unwrap_or(0)
}

fn too_new(found: i64, migrations: &Migrator) -> StoreError {
    StoreError::Unreadable(format!(
        "its schema is at version {found}, and this program knows versions up to {}; \
         run the newer program that made it, or restore a backup from before the upgrade",
        newest(migrations)
    ))
}

/// Why a migration was not made.
pub(super) fn migration(error: MigrateError, migrations: &Migrator) -> StoreError {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
        MigrateError::VersionMissing(version) => too_new(version, migrations),
        other => StoreError::Unreadable(other.to_string()),
    }
}

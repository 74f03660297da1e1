//! From a driver's error to whose fault it is: try again later, or do not touch what is there.

use std::io::ErrorKind;

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

/// What a driver says, after what it means for the operator.
#[derive(Debug, thiserror::Error)]
#[error("{meaning}: {source}")]
struct Explained {
    meaning: &'static str,
    blame: Blame,
    source: sqlx::Error,
}

/// What is to blame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blame {
    /// The connection, or the server behind it, which is of no more use.
    Way,
    /// The disk, which takes nothing.
    Disk,
    /// Something else, which concerns the act.
    Act,
}

impl StoreError {
    /// Whether the way to the server is to blame, and not the act: gone, going, or not the one that
    /// takes writes.
    pub(super) fn is_of_the_way(&self) -> bool {
        match self {
            Self::Unavailable(cause) => {
                cause.downcast_ref::<Explained>().is_some_and(|cause| cause.blame == Blame::Way)
                    || cause.is::<Busy>()
            }
            _ => false,
        }
    }

    /// Whether the server has ended the act because it and others waited for each other in a circle: nothing
    /// of it was done, and the others go on.
    pub(super) fn is_deadlock(&self) -> bool {
        match self {
            Self::Unavailable(cause) => match cause.downcast_ref::<sqlx::Error>() {
                Some(sqlx::Error::Database(error)) => error.code().as_deref() == Some("40P01"),
                _ => false,
            },
            _ => false,
        }
    }

    /// Whether the disk is to blame: full, or failed.
    pub(super) fn is_of_the_disk(&self) -> bool {
        match self {
            Self::Unavailable(cause) => {
                cause.downcast_ref::<Explained>().is_some_and(|cause| cause.blame == Blame::Disk)
            }
            _ => false,
        }
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
            sqlx::Error::Database(ref cause) if is_foreign(&**cause) => Self::Unreadable(format!(
                "{error}; the database is another program's: give the gateway one of its own"
            )),
            sqlx::Error::Database(ref cause) if is_damage(&**cause) => Self::Unreadable(format!(
                "{error}; if it is damaged, or is none of ours, restore a backup"
            )),
            other => match explain(&other) {
                Some((meaning, blame)) => {
                    Self::unavailable(Explained { meaning, blame, source: other })
                }
                None => Self::unavailable(other),
            },
        }
    }
}

/// What an error means to who runs the gateway, with what to do; and whether the way to the server
/// is to blame.
fn explain(error: &sqlx::Error) -> Option<(&'static str, Blame)> {
    Some(match error {
        sqlx::Error::Io(error) => match error.kind() {
            // What TLS refuses comes as an error of the connection, too.
            ErrorKind::InvalidData if error.to_string().contains("peer certificate") => UNTRUSTED,
            ErrorKind::InvalidData => STRANGE,
            ErrorKind::UnexpectedEof => (
                "the server hung up; look whether it runs, and whether host and port of store.url are \
                 those of a Postgres",
                Blame::Way,
            ),
            _ => (
                "no server answers there; start it, or correct host and port of store.url",
                Blame::Way,
            ),
        },
        sqlx::Error::Tls(cause) if cause.to_string().contains("does not support TLS") => (
            "the server speaks no TLS; turn it on there (ssl = on, with a certificate), or, on a \
             network that you trust, add sslmode=disable to store.url",
            Blame::Way,
        ),
        sqlx::Error::Tls(_) => UNTRUSTED,
        sqlx::Error::Configuration(_) => ("store.url cannot be used; correct it", Blame::Act),
        sqlx::Error::PoolTimedOut => ("no connection became free in time", Blame::Way),
        sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => STRANGE,
        sqlx::Error::Database(cause) => return explain_code(&**cause),
        _ => return None,
    })
}

const UNTRUSTED: (&str, Blame) = (
    "the server's certificate cannot be trusted; name the authority that signed it \
     (?sslrootcert=FILE) and the host that it was made for, or, on a network that you trust, choose \
     another sslmode",
    Blame::Way,
);

const STRANGE: (&str, Blame) = (
    "what answers there cannot be understood; look whether host and port of store.url are those of a \
     Postgres",
    Blame::Way,
);

/// By the codes of Postgres (its appendix A) and SQLite.
fn explain_code(error: &dyn DatabaseError) -> Option<(&'static str, Blame)> {
    if let Some(error) = error.try_downcast_ref::<SqliteError>() {
        return match primary_code(error)? {
            8 => Some((
                "the file cannot be written; mend its rights, or those of its folder",
                Blame::Act,
            )),
            10 => Some(("the disk failed", Blame::Disk)),
            13 => Some(("the disk is full; make room", Blame::Disk)),
            14 => Some((
                "the file cannot be opened; mend its rights, or those of its folder",
                Blame::Act,
            )),
            _ => None,
        };
    }
    let code = error.code()?;
    Some(match &*code {
        "28P01" | "28000" => {
            ("the server refuses the user or the password of store.url; correct them", Blame::Way)
        }
        "3D000" => (
            "there is no database of that name; create it (createdb), or correct store.url",
            Blame::Way,
        ),
        "3F000" => ("there is no schema to work in; correct the role's search_path", Blame::Act),
        "42501" => (
            "the role of store.url lacks a right; let its owner GRANT it, or run `sallyport migrate` \
             with a role that owns the schema",
            Blame::Act,
        ),
        "25006" => ("the server takes no writes now: it is a standby", Blame::Way),
        "53100" => ("the server's disk is full; make room", Blame::Disk),
        "53200" => ("the server is out of memory", Blame::Act),
        "53300" => (
            "the server has no connection left for us; raise its max_connections, or lower \
             store.connections of each replica",
            Blame::Way,
        ),
        "57014" => ("the server gave it up, for it took too long", Blame::Act),
        "55P03" => ("another held the lock for too long", Blame::Act),
        "57P01" | "57P02" | "57P03" | "57P05" => ("the server is stopping or starting", Blame::Way),
        "08P01" if error.message().contains("startup parameter") => (
            "a connection pooler answers there; name the server itself as store.direct_url",
            Blame::Way,
        ),
        "08P01" if error.message().contains("statement pooling") => (
            "a connection pooler answers there in statement mode; it must be in transaction mode",
            Blame::Way,
        ),
        code if code.starts_with("08") => ("the connection to the server broke", Blame::Way),
        _ => return None,
    })
}

/// Whether tables of ours cannot be made, since others of their names are there (`duplicate_table`).
fn is_foreign(error: &dyn DatabaseError) -> bool {
    error.try_downcast_ref::<SqliteError>().is_none() && error.code().as_deref() == Some("42P07")
}

/// Whether waiting cannot help: this is no database of ours, or not a sound one.
fn is_damage(error: &dyn DatabaseError) -> bool {
    if let Some(error) = error.try_downcast_ref::<SqliteError>() {
        // SQLITE_ERROR (a table or column is missing), SQLITE_CORRUPT and SQLITE_NOTADB.
        return primary_code(error).is_some_and(|code| [1, 11, 26].contains(&code));
    }
    // undefined_table, undefined_column, data_corrupted and index_corrupted.
    const DAMAGE: [&str; 4] = ["42P01", "42703", "XX001", "XX002"];
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

/// What is to be done about a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing.
    Current,
    /// Migrations are to be made.
    Behind,
    /// A newer program has made some, and left room for this one.
    Newer,
}

/// What the migrations that were `applied` mean for a program that knows `known`. A schema that
/// `needs` a program of a later version is refused.
pub(super) fn state(
    applied: Vec<i64>,
    needs: Option<i64>,
    known: &Migrator,
) -> Result<State, StoreError> {
    let newest = newest(known);
    if let Some(found) = applied.last().copied().filter(|found| *found > newest) {
        // One from before this was written down, or beyond us, has promised nothing.
        if needs.is_none_or(|needs| needs > newest) {
            return Err(too_new(found, known));
        }
        return Ok(State::Newer);
    }
    let missing = known.iter().any(|migration| !applied.contains(&migration.version));
    Ok(if missing { State::Behind } else { State::Current })
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
        MigrateError::VersionMismatch(version) => StoreError::Unreadable(format!(
            "its migration {version} is not the one that this program knows; the database is \
             another program's, or was made by a version that was never released"
        )),
        other => StoreError::Unreadable(other.to_string()),
    }
}

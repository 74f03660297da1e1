//! Moves a whole installation from one store to another, of either kind: accounts, sessions, keys,
//! revocations, and every table that there will be. What is copied is read off the schema itself,
//! so that no table can be forgotten.

use std::collections::BTreeMap;

use futures_util::TryStreamExt;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, ColumnIndex, ConnectOptions, Connection, Decode, Row, Type};

use super::{StoreError, Waits, postgres, sqlite};
use crate::config::StoreUrl;

/// Rows that are written by one statement at most, and parameters that one may have: SQLite's bound
/// is the lower (`SQLITE_MAX_VARIABLE_NUMBER`), and round trips are what a copy waits for.
const ROWS_TOGETHER: usize = 200;

/// Tables that say something of the schema and not of the installation.
const OF_THE_SCHEMA: [&str; 2] = ["_sqlx_migrations", "compatibility"];

/// How many rows of a table were copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// The table.
    pub table: String,
    /// Its rows.
    pub rows: u64,
}

/// Copies everything in `from` to `to`, whose schema is made, and which must hold nothing yet: all
/// or nothing, as of one moment. Keys stay sealed as they are.
///
/// # Errors
/// `Refused`: `from` was never a store of ours, `to` holds something, or both are the same. Otherwise what opening either says.
pub async fn copy(from: &StoreUrl, to: &StoreUrl) -> Result<Vec<Copied>, StoreError> {
    let waits = Waits::default();
    // A slip in its name would otherwise make an empty one there, and copy that.
    if !is_ours(from, waits).await? {
        return Err(StoreError::Refused(
            "there is no installation where it is to be copied from; look at --from".to_owned(),
        ));
    }
    for url in [from, to] {
        prepare(url, waits).await?;
    }
    let tables = tables().await?;
    let mut source = Side::open(from, waits).await?;
    let mut target = Side::open(to, waits).await?;
    source.begin_reading().await?;
    target.begin_writing().await?;
    let mut copied = Vec::new();
    for table in &tables {
        if target.count(table).await? > 0 {
            return Err(StoreError::Refused(format!(
                "the store to copy to is not empty: its table {} has rows; copy into a new one",
                table.name
            )));
        }
        let rows = table.copy(&mut source, &mut target).await?;
        copied.push(Copied { table: table.name.clone(), rows });
    }
    target.commit().await?;
    Ok(copied)
}

/// Whether a schema of ours was ever made there.
async fn is_ours(url: &StoreUrl, waits: Waits) -> Result<bool, StoreError> {
    if let StoreUrl::Sqlite(path) = url
        && !path.is_file()
    {
        return Ok(false);
    }
    let sql = "SELECT count(*) FROM sqlite_master WHERE name = '_sqlx_migrations'";
    let made: i64 = match &mut Side::open(url, waits).await? {
        Side::Sqlite(connection) => sqlx::query_scalar(sql).fetch_one(connection).await?,
        Side::Postgres(connection) => {
            let sql = "SELECT count(to_regclass('_sqlx_migrations'))";
            sqlx::query_scalar(sql).fetch_one(&mut **connection).await?
        }
    };
    Ok(made > 0)
}

/// Brings a schema up to date, as opening the store does.
async fn prepare(url: &StoreUrl, waits: Waits) -> Result<(), StoreError> {
    match url {
        StoreUrl::Sqlite(path) => sqlite::Sqlite::make_ready(path, waits).await,
        StoreUrl::Postgres(url) => {
            postgres::open::migrate(&postgres::open::hosts(url.expose())?, waits).await.map(drop)
        }
    }
}

/// What one column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Integer,
    /// An integer on SQLite, and a type of its own on Postgres.
    Truth,
    Text,
    Bytes,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Column {
    name: String,
    kind: Kind,
    /// Given by the server, unless it is told otherwise.
    counted: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Table {
    name: String,
    columns: Vec<Column>,
    /// The tables that its rows point to, but not itself.
    needs: Vec<String>,
}

/// One value on its way.
#[derive(Debug, Clone)]
enum Cell {
    Integer(Option<i64>),
    Truth(Option<bool>),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
}

/// The tables of this program's schema, each behind those it points to. Read off a new SQLite
/// database, which has the same tables and columns as Postgres; which is which says the column's
/// type and the check that SQLite has for truth values.
async fn tables() -> Result<Vec<Table>, StoreError> {
    let options = SqliteConnectOptions::new().in_memory(true).disable_statement_logging();
    let mut connection = options.connect().await?;
    let migrated = sqlite::open::MIGRATIONS.run(&mut connection).await;
    migrated.map_err(|error| super::fault::migration(error, &sqlite::open::MIGRATIONS))?;
    let names: Vec<(String, String)> = sqlx::query_as(
        "SELECT name, sql FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' \
         ORDER BY name",
    )
    .fetch_all(&mut connection)
    .await?;
    let mut waiting = BTreeMap::new();
    for (name, sql) in names {
        if OF_THE_SCHEMA.contains(&&*name) {
            continue;
        }
        let sql_of = |column: &str| sql.contains(&format!("CHECK ({column} IN (0, 1))"));
        let columns: Vec<(String, String, i64)> =
            sqlx::query_as("SELECT name, type, pk FROM pragma_table_info($1) ORDER BY cid")
                .bind(&name)
                .fetch_all(&mut connection)
                .await?;
        let columns = columns.into_iter().map(|(column, kind, key)| {
            let kind = match kind.as_str() {
                "TEXT" => Kind::Text,
                "BLOB" => Kind::Bytes,
                _ if sql_of(&column) => Kind::Truth,
                _ => Kind::Integer,
            };
            let counted = key > 0 && sql.contains(" AUTOINCREMENT") && kind == Kind::Integer;
            Column { name: column, kind, counted }
        });
        let columns = columns.collect();
        let mut needs: Vec<String> =
            sqlx::query_scalar("SELECT DISTINCT \"table\" FROM pragma_foreign_key_list($1)")
                .bind(&name)
                .fetch_all(&mut connection)
                .await?;
        needs.retain(|other| *other != name);
        waiting.insert(name.clone(), Table { name, columns, needs });
    }
    connection.close().await?;
    in_order(waiting)
}

fn in_order(mut waiting: BTreeMap<String, Table>) -> Result<Vec<Table>, StoreError> {
    let mut ordered = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        let free = waiting
            .values()
            .find(|table| !table.needs.iter().any(|need| waiting.contains_key(need)))
            .map(|table| table.name.clone());
        let next = free.and_then(|name| waiting.remove(&name));
        ordered.push(next.ok_or_else(|| {
            StoreError::Unreadable("its tables point to each other in a circle".to_owned())
        })?);
    }
    Ok(ordered)
}

impl Table {
    fn names(&self) -> String {
        let names: Vec<String> =
            self.columns.iter().map(|column| format!("\"{}\"", column.name)).collect();
        names.join(", ")
    }

    fn select(&self) -> AssertSqlSafe<String> {
        // Names of our own schema, in quotes: nothing of a stranger's is in it. In the order of the
        // first column, so that rows which point to earlier ones of the same table come after them.
        AssertSqlSafe(format!("SELECT {} FROM \"{}\" ORDER BY 1", self.names(), self.name))
    }

    fn insert(&self, rows: usize, overriding: &str) -> AssertSqlSafe<String> {
        let width = self.columns.len();
        let row = |row: usize| {
            let places: Vec<String> =
                (1..=width).map(|column| format!("${}", row * width + column)).collect();
            format!("({})", places.join(", "))
        };
        let rows: Vec<String> = (0..rows).map(row).collect();
        AssertSqlSafe(format!(
            "INSERT INTO \"{}\" ({}) {overriding} VALUES {}",
            self.name,
            self.names(),
            rows.join(", ")
        ))
    }

    async fn copy(&self, source: &mut Side, target: &mut Side) -> Result<u64, StoreError> {
        let mut count = 0;
        let mut together = Vec::new();
        match source {
            Side::Sqlite(connection) => {
                let mut rows = sqlx::query(self.select()).fetch(connection);
                while let Some(row) = rows.try_next().await? {
                    together.push(self.of_sqlite(&row)?);
                    if together.len() == ROWS_TOGETHER {
                        count += target.write(self, &mut together).await?;
                    }
                }
            }
            Side::Postgres(connection) => {
                let mut rows = sqlx::query(self.select()).fetch(&mut **connection);
                while let Some(row) = rows.try_next().await? {
                    together.push(self.of_postgres(&row)?);
                    if together.len() == ROWS_TOGETHER {
                        count += target.write(self, &mut together).await?;
                    }
                }
            }
        }
        count += target.write(self, &mut together).await?;
        target.go_on_counting(self).await?;
        Ok(count)
    }

    fn of_sqlite(&self, row: &SqliteRow) -> Result<Vec<Cell>, StoreError> {
        cells(&self.columns, row)
    }

    fn of_postgres(&self, row: &PgRow) -> Result<Vec<Cell>, StoreError> {
        cells(&self.columns, row)
    }
}

/// The values of a row, whichever engine it is of.
fn cells<R: Row>(columns: &[Column], row: &R) -> Result<Vec<Cell>, StoreError>
where
    usize: ColumnIndex<R>,
    for<'r> i64: Decode<'r, R::Database> + Type<R::Database>,
    for<'r> bool: Decode<'r, R::Database> + Type<R::Database>,
    for<'r> String: Decode<'r, R::Database> + Type<R::Database>,
    for<'r> Vec<u8>: Decode<'r, R::Database> + Type<R::Database>,
{
    let cell = |(index, column): (usize, &Column)| {
        Ok(match column.kind {
            Kind::Integer => Cell::Integer(row.try_get(index)?),
            Kind::Truth => Cell::Truth(row.try_get(index)?),
            Kind::Text => Cell::Text(row.try_get(index)?),
            Kind::Bytes => Cell::Bytes(row.try_get(index)?),
        })
    };
    columns.iter().enumerate().map(cell).collect()
}

/// One end of a copy: a connection of its own.
enum Side {
    Sqlite(SqliteConnection),
    Postgres(Box<PgConnection>),
}

impl Side {
    async fn open(url: &StoreUrl, waits: Waits) -> Result<Self, StoreError> {
        Ok(match url {
            StoreUrl::Sqlite(path) => {
                Self::Sqlite(sqlite::open::options(path, waits.lock).connect().await?)
            }
            StoreUrl::Postgres(url) => {
                let hosts = postgres::open::hosts(url.expose())?;
                Self::Postgres(Box::new(postgres::open::connect(&hosts, waits).await?))
            }
        })
    }

    async fn run(&mut self, sql: &'static str) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(connection) => sqlx::raw_sql(sql).execute(connection).await.map(drop)?,
            Self::Postgres(connection) => {
                sqlx::raw_sql(sql).execute(&mut **connection).await.map(drop)?;
            }
        }
        Ok(())
    }

    /// From here on it shows one moment, however many go on writing.
    async fn begin_reading(&mut self) -> Result<(), StoreError> {
        self.run(match self {
            Self::Sqlite(_) => "BEGIN",
            Self::Postgres(_) => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        })
        .await
    }

    async fn begin_writing(&mut self) -> Result<(), StoreError> {
        self.run(match self {
            Self::Sqlite(_) => "BEGIN IMMEDIATE",
            Self::Postgres(_) => "BEGIN",
        })
        .await
    }

    async fn commit(&mut self) -> Result<(), StoreError> {
        self.run("COMMIT").await
    }

    async fn count(&mut self, table: &Table) -> Result<i64, StoreError> {
        let sql = AssertSqlSafe(format!("SELECT count(*) FROM \"{}\"", table.name));
        Ok(match self {
            Self::Sqlite(connection) => sqlx::query_scalar(sql).fetch_one(connection).await?,
            Self::Postgres(connection) => {
                sqlx::query_scalar(sql).fetch_one(&mut **connection).await?
            }
        })
    }

    /// Writes the rows and takes them off; how many there were.
    async fn write(&mut self, table: &Table, rows: &mut Vec<Vec<Cell>>) -> Result<u64, StoreError> {
        if rows.is_empty() {
            return Ok(0);
        }
        let count = rows.len();
        let cells = rows.drain(..).flatten();
        match self {
            Self::Sqlite(connection) => {
                let mut insert = sqlx::query(table.insert(count, ""));
                for cell in cells {
                    insert = match cell {
                        Cell::Integer(value) => insert.bind(value),
                        Cell::Truth(value) => insert.bind(value),
                        Cell::Text(value) => insert.bind(value),
                        Cell::Bytes(value) => insert.bind(value),
                    };
                }
                insert.execute(connection).await?;
            }
            Self::Postgres(connection) => {
                // What the source has counted keeps its number.
                let mut insert = sqlx::query(table.insert(count, "OVERRIDING SYSTEM VALUE"));
                for cell in cells {
                    insert = match cell {
                        Cell::Integer(value) => insert.bind(value),
                        Cell::Truth(value) => insert.bind(value),
                        Cell::Text(value) => insert.bind(value),
                        Cell::Bytes(value) => insert.bind(value),
                    };
                }
                insert.execute(&mut **connection).await?;
            }
        }
        Ok(u64::try_from(count).unwrap_or(u64::MAX))
    }

    /// SQLite counts on behind the highest number that it has seen; Postgres has to be told it.
    async fn go_on_counting(&mut self, table: &Table) -> Result<(), StoreError> {
        let Self::Postgres(connection) = self else { return Ok(()) };
        for column in table.columns.iter().filter(|column| column.counted) {
            let sql = AssertSqlSafe(format!(
                "SELECT setval(pg_get_serial_sequence('\"{0}\"', '{1}'), \
                 coalesce(max(\"{1}\"), 0) + 1, false) FROM \"{0}\"",
                table.name, column.name
            ));
            sqlx::query(sql).execute(&mut **connection).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

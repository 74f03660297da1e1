//! How the way to the server is opened: by TLS unless the URL says otherwise, with bounds on every
//! wait, and with the schema of this binary, though several replicas may start at once.

use std::str::FromStr;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::{ConnectOptions, Connection};

use super::way::{self, CONNECT_WAIT};
use crate::store::fault::{State, migration, state};
use crate::store::{StoreError, Waits};

pub(in crate::store) static MIGRATIONS: Migrator = sqlx::migrate!("src/store/migrations/postgres");

/// How long a replica waits for another that is making the schema.
const MIGRATION_WAIT: Duration = Duration::from_secs(60);

/// What the URL says, for each of its hosts. The server is verified (`verify-full`) unless it names
/// an `sslmode`: what passes here are password hashes and signing keys. A local socket needs no TLS.
pub(in crate::store) fn hosts(url: &str) -> Result<Vec<PgConnectOptions>, StoreError> {
    let (main, query) = url.split_once('?').unwrap_or((url, ""));
    let (scheme, rest) = main.split_once("://").unwrap_or(("postgres", main));
    let (authority, name) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, hosts) = authority.rsplit_once('@').map_or(("", authority), |(user, hosts)| {
        // The sign stays with the user: an absent one and an empty one differ.
        (authority.get(..=user.len()).unwrap_or(""), hosts)
    });
    let mut kept = Vec::new();
    for parameter in query.split('&').filter(|one| !one.is_empty()) {
        match parameter.split_once('=') {
            Some(("target_session_attrs", "read-write" | "primary")) => {}
            Some(("target_session_attrs", _)) => {
                return Err(StoreError::Refused(
                    "target_session_attrs can only be read-write: the gateway has to write"
                        .to_owned(),
                ));
            }
            _ => kept.push(parameter),
        }
    }
    let query = kept.join("&");
    let one = |host: &str| host_options(&format!("{scheme}://{user}{host}/{name}?{query}"));
    hosts.split(',').map(one).collect()
}

fn host_options(url: &str) -> Result<PgConnectOptions, StoreError> {
    let options = PgConnectOptions::from_str(url)?.disable_statement_logging();
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let named = form_urlencoded::parse(query.as_bytes())
        .any(|(key, _)| ["sslmode", "ssl-mode"].contains(&&*key));
    let local = options.get_socket().is_some() || options.get_host().starts_with('/');
    // Whatever the driver has found in the environment.
    Ok(match named {
        _ if local => options.ssl_mode(PgSslMode::Disable),
        false => options.ssl_mode(PgSslMode::VerifyFull),
        true => options,
    })
}

/// The advisory lock of those who change the schema. Any number, as long as it stays the same.
const MIGRATION_LOCK: i64 = 0x5a11_7902_7000_0001;

/// Brings the schema up to date, on a connection of its own: the advisory lock that keeps other
/// replicas waiting belongs to the connection, and goes with it if this process dies. All of it is
/// one transaction: there is never half a schema. Returns the number of the host that takes writes.
pub(in crate::store) async fn migrate(
    hosts: &[PgConnectOptions],
    waits: Waits,
) -> Result<usize, StoreError> {
    let bounded: Vec<PgConnectOptions> = hosts
        .iter()
        .map(|options| options.clone().options(bounds(Duration::ZERO, MIGRATION_WAIT)))
        .collect();
    // As long as an act would wait: a server that is just starting is waited for.
    let (host, mut connection) = way::find(&bounded, 0, waits.turn.max(CONNECT_WAIT)).await?;
    heeds_bounds(&mut connection).await?;
    // Looked at first: a start needs neither the lock nor the right to write.
    match state(applied(&mut connection).await?, needs(&mut connection).await?, &MIGRATIONS)? {
        State::Current => {}
        State::Newer => tracing::warn!(
            "the store's schema is newer than this program, which can still work on it: upgrade \
             this replica too"
        ),
        State::Behind => {
            // Taken outside of the transaction and kept until after its end: the lock that the
            // migrations take by themselves is gone before the commit, and whoever is next would
            // not see what was made. The connection's end releases it.
            let lock = sqlx::query("SELECT pg_advisory_lock($1)").bind(MIGRATION_LOCK);
            lock.execute(&mut connection).await?;
            let mut transaction = connection.begin().await.map_err(StoreError::from)?;
            let done = MIGRATIONS.run(&mut *transaction).await;
            done.map_err(|error| migration(error, &MIGRATIONS))?;
            transaction.commit().await?;
        }
    }
    connection.close().await.ok();
    Ok(host)
}

/// A connection to the host that takes writes, with no bound on how long a statement may take.
pub(in crate::store) async fn connect(
    hosts: &[PgConnectOptions],
    waits: Waits,
) -> Result<PgConnection, StoreError> {
    Ok(way::find(hosts, 0, waits.turn.max(CONNECT_WAIT)).await?.1)
}

/// Whether the bounds of [`bounds`] hold. A pooler may be told to take them and do nothing: then no
/// wait would be bounded, and nothing that belongs to a connection would be ours.
async fn heeds_bounds(connection: &mut PgConnection) -> Result<(), StoreError> {
    let sql = "SELECT setting::bigint FROM pg_settings WHERE name = 'lock_timeout'";
    let millis: i64 = sqlx::query_scalar(sql).persistent(false).fetch_one(connection).await?;
    if u128::try_from(millis) == Ok(MIGRATION_WAIT.as_millis()) {
        return Ok(());
    }
    Err(StoreError::Refused(
        "a connection pooler answers there, which drops the settings of a connection; name the \
         server itself as store.direct_url"
            .to_owned(),
    ))
}

/// The versions of the migrations that were made.
async fn applied(connection: &mut PgConnection) -> Result<Vec<i64>, StoreError> {
    let table = "SELECT to_regclass('_sqlx_migrations') IS NOT NULL";
    if !sqlx::query_scalar::<_, bool>(table).fetch_one(&mut *connection).await? {
        return Ok(Vec::new());
    }
    let versions = "SELECT version FROM _sqlx_migrations ORDER BY version";
    Ok(sqlx::query_scalar(versions).fetch_all(connection).await?)
}

/// The version that a program must know; none for a schema from before this was written down.
async fn needs(connection: &mut PgConnection) -> Result<Option<i64>, StoreError> {
    let table = "SELECT to_regclass('compatibility') IS NOT NULL";
    if !sqlx::query_scalar::<_, bool>(table).fetch_one(&mut *connection).await? {
        return Ok(None);
    }
    let needs = "SELECT max(needs) FROM compatibility";
    Ok(sqlx::query_scalar(needs).fetch_one(connection).await?)
}

/// A connection on which each statement sees what was committed before it, and who waited for a row sees
/// what became of it: all rules of the store rest on that, and a server or a role may have another default.
pub(super) fn isolated(options: PgConnectOptions) -> PgConnectOptions {
    options.options([("default_transaction_isolation", "read committed")])
}

/// The server's own bounds. Zero is none.
pub(super) fn bounds(statement: Duration, lock: Duration) -> [(&'static str, String); 3] {
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
        hosts(url).unwrap()[0].get_ssl_mode()
    }

    #[test]
    fn the_server_is_verified_unless_the_url_says_otherwise() {
        assert!(matches!(mode("postgres://db.example.test/a"), PgSslMode::VerifyFull));
        assert!(matches!(mode("postgres://db.example.test/a?sslmode=prefer"), PgSslMode::Prefer));
        assert!(matches!(mode("postgres://db.example.test/a?sslmode=disable"), PgSslMode::Disable));
        assert!(matches!(mode("postgres:///a?host=/run/postgresql"), PgSslMode::Disable));
    }

    #[test]
    fn every_host_of_the_url_is_known_with_its_own_port() {
        let url = "postgres://me:secret@one:5433,two,[::1]:6000/gate\
                   ?sslmode=disable&target_session_attrs=read-write";
        let found = hosts(url).unwrap();
        let shown: Vec<_> =
            found.iter().map(|one| (one.get_host().to_owned(), one.get_port())).collect();
        let expected = [("one", 5433), ("two", 5432), ("[::1]", 6000)];
        assert_eq!(shown, expected.map(|(host, port)| (host.to_owned(), port)));
        assert!(found.iter().all(|one| one.get_username() == "me"));
        assert!(found.iter().all(|one| one.get_database() == Some("gate")));
        let error = hosts("postgres://one,two/a?target_session_attrs=any").unwrap_err();
        assert!(matches!(error, StoreError::Refused(_)), "{error}");
    }

    #[test]
    fn a_url_that_is_none_is_refused_without_being_repeated() {
        let error = hosts("postgres://ada:hunter2@[::/a").unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
}

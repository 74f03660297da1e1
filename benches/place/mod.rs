//! A database of its own for a benchmark of the store, and what those write there.

use std::time::Duration;

use sallyport::clock::{Clock, Timestamp};
use sallyport::id::{KeyId, TokenId};
use sallyport::store::Step;
use sallyport::store::rows::RefreshRecord;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

/// A browser, as it names itself.
pub(crate) const DEVICE: &str =
    "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";

/// A new database on this server: its name, and the URL that leads to it.
pub(crate) async fn database(server: &str) -> (String, String) {
    let name = format!("bench_{}", TokenId::generate().unwrap());
    let mut connection = PgConnection::connect(server).await.unwrap();
    let create = AssertSqlSafe(format!("CREATE DATABASE {name}"));
    sqlx::query(create).execute(&mut connection).await.unwrap();
    let mut url = url::Url::parse(server).unwrap();
    url.set_path(&name);
    (name, url.into())
}

/// Removes it, whoever is connected.
pub(crate) async fn drop_database(server: &str, name: &str) {
    let mut connection = PgConnection::connect(server).await.unwrap();
    let drop = AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)"));
    sqlx::query(drop).execute(&mut connection).await.unwrap();
}

/// What stands for a refresh token that was issued at `now`.
pub(crate) fn record(now: Timestamp) -> RefreshRecord {
    RefreshRecord {
        key: KeyId::new("0123456789abcdef"),
        token: TokenId::generate().unwrap(),
        issued_at: now,
        expires_at: now.plus(Duration::from_secs(3600)),
    }
}

/// The rotation of a session that is at the generation `from`.
pub(crate) fn step(from: u64) -> Step {
    let now = Clock::system().now();
    let idle_expires_at = now.plus(Duration::from_secs(7 * 86_400));
    Step { from, to: from + 1, next: record(now), at: now, idle_expires_at }
}

pub(crate) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

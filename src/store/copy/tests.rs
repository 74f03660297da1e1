use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection};

use super::super::contract::{Place, Schema, signed_in};
use super::*;
use crate::clock::Timestamp;
use crate::config;
use crate::id::{KeyId, TokenId};
use crate::secret::Secret;
use crate::store::attempts::{AttemptKey, Charged, Toll};
use crate::store::rows::{EndReason, KeyRow};
use crate::store::{Store, open};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

/// Table, column and type of everything in a schema of Postgres.
async fn columns_of(place: &Schema) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut connection = PgConnection::connect(place.url()).await.unwrap();
    let rows: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT table_name::text, column_name::text, data_type::text \
         FROM information_schema.columns WHERE table_schema = current_schema()",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    let mut tables: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for (table, column, kind) in rows {
        tables.entry(table).or_default().insert(column, kind);
    }
    tables.retain(|table, _| !OF_THE_SCHEMA.contains(&&**table));
    tables
}

#[tokio::test]
async fn postgres_has_the_same_tables_and_columns_as_sqlite() {
    let place = Schema::fresh().await;
    drop(place.open().await);
    let on_postgres = columns_of(&place).await;
    let copied: BTreeMap<String, BTreeMap<String, String>> = tables()
        .await
        .unwrap()
        .into_iter()
        .map(|table| {
            let kind = |kind| match kind {
                Kind::Integer => "bigint",
                Kind::Truth => "boolean",
                Kind::Text => "text",
                Kind::Bytes => "bytea",
            };
            let columns = table.columns.into_iter();
            let columns = columns.map(|column| (column.name, kind(column.kind).to_owned()));
            (table.name, columns.collect())
        })
        .collect();
    assert_eq!(copied, on_postgres);
}

/// Every row of every table, as text, whichever engine it is of.
async fn dump(url: &StoreUrl) -> BTreeMap<String, Vec<String>> {
    let mut all = BTreeMap::new();
    let mut side = Side::open(url, Waits::default()).await.unwrap();
    for table in tables().await.unwrap() {
        let shown: Vec<Vec<Cell>> = match &mut side {
            Side::Sqlite(connection) => {
                let rows = sqlx::query(table.select()).fetch_all(connection).await.unwrap();
                rows.iter().map(|row| table.of_sqlite(row).unwrap()).collect()
            }
            Side::Postgres(connection) => {
                let rows = sqlx::query(table.select()).fetch_all(&mut **connection).await.unwrap();
                rows.iter().map(|row| table.of_postgres(row).unwrap()).collect()
            }
        };
        let mut rows: Vec<String> = shown.iter().map(|row| format!("{row:?}")).collect();
        rows.sort_unstable();
        all.insert(table.name, rows);
    }
    all
}

async fn opened(url: &StoreUrl) -> std::sync::Arc<dyn Store> {
    open(&config::Store::at(url.clone())).await.unwrap()
}

fn file(folder: &Path, name: &str) -> StoreUrl {
    StoreUrl::Sqlite(folder.join(name))
}

/// An installation that has grown: more rows than one statement writes.
async fn grown(url: &StoreUrl) -> std::sync::Arc<dyn Store> {
    let store = opened(url).await;
    let (ada, sessions) = signed_in(&*store, "Ada \u{1f511} 'O\"Hara\\", 250).await;
    for session in sessions.iter().take(3) {
        store
            .end_session(session.id, EndReason::Theft, NOW, NOW.plus(Duration::from_secs(60)))
            .await
            .unwrap();
    }
    let secret = Secret::new(vec![0xff; 32]);
    let mut newest = None;
    for number in 0..2 {
        let created_at = NOW.plus(Duration::from_secs(number));
        let id = KeyId::generate().unwrap();
        let row = KeyRow { id: id.clone(), secret: secret.clone(), active_from: NOW, created_at };
        assert!(store.add_key(&row, newest.as_ref()).await.unwrap());
        newest = Some(id);
    }
    let toll = Toll { key: AttemptKey::of("login", &[]), limit: 5, per: Duration::from_secs(50) };
    assert!(matches!(store.charge(&[toll], NOW).await.unwrap(), Charged::Taken(_)));
    store.revoke_token(TokenId::generate().unwrap(), NOW).await.unwrap();
    assert_eq!(store.user(ada.id).await.unwrap(), Some(ada));
    store
}

#[tokio::test]
async fn postgres_and_back_is_the_same_installation_in_every_table() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = ["first.db", "second.db"].map(|name| file(folder.path(), name));
    let place = Schema::fresh().await;
    let server = StoreUrl::Postgres(Secret::new(place.url().to_owned()));
    drop(grown(&first).await);
    let copied = copy(&first, &server).await.unwrap();
    copy(&server, &second).await.unwrap();
    let before = dump(&first).await;
    assert_eq!(before, dump(&server).await);
    assert_eq!(before, dump(&second).await);
    for table in copied {
        assert_eq!(table.rows, u64::try_from(before[&table.table].len()).unwrap());
    }
    // Both go on where they were: what is counted is counted on.
    for url in [&server, &second] {
        let store = opened(url).await;
        let highest = store.revocations(0, Timestamp::EPOCH).await.unwrap().pop().unwrap();
        store.revoke_token(TokenId::generate().unwrap(), NOW).await.unwrap();
        let later = store.revocations(highest.sequence, Timestamp::EPOCH).await.unwrap();
        assert_eq!(later.len(), 1);
        let newest = store.keys().await.unwrap().pop().unwrap();
        let next = KeyRow { id: KeyId::generate().unwrap(), ..newest.clone() };
        assert!(store.add_key(&next, Some(&newest.id)).await.unwrap());
    }
}

#[tokio::test]
async fn a_store_that_holds_anything_is_not_copied_over() {
    let folder = tempfile::tempdir().unwrap();
    let [from, to] = ["from.db", "to.db"].map(|name| file(folder.path(), name));
    drop(grown(&from).await);
    drop(grown(&to).await);
    let before = dump(&to).await;
    let error = copy(&from, &to).await.unwrap_err();
    assert!(matches!(error, StoreError::Refused(_)), "{error}");
    assert!(error.to_string().contains("not empty"), "{error}");
    assert_eq!(before, dump(&to).await);
    let error = copy(&from, &from).await.unwrap_err();
    assert!(matches!(error, StoreError::Refused(_) | StoreError::Unavailable(_)), "{error}");
}

#[tokio::test]
async fn from_where_nothing_is_nothing_is_copied_and_nothing_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let [absent, empty, to] =
        ["absent.db", "empty.db", "to.db"].map(|name| folder.path().join(name));
    std::fs::write(&empty, "").unwrap();
    let place = Schema::fresh().await;
    let server = StoreUrl::Postgres(Secret::new(place.url().to_owned()));
    for from in [StoreUrl::Sqlite(absent.clone()), StoreUrl::Sqlite(empty), server] {
        let error = copy(&from, &StoreUrl::Sqlite(to.clone())).await.unwrap_err();
        assert!(matches!(error, StoreError::Refused(_)), "{error}");
        assert!(error.to_string().contains("--from"), "{error}");
    }
    assert!(!absent.exists() && !to.exists());
    assert!(columns_of(&place).await.is_empty());
}

#[tokio::test]
async fn a_copy_shows_one_moment_while_others_go_on_writing() {
    let folder = tempfile::tempdir().unwrap();
    let [from, to] = ["from.db", "to.db"].map(|name| file(folder.path(), name));
    let store = grown(&from).await;
    let writing = async {
        for number in 0..100 {
            signed_in(&*store, &format!("late{number}"), 1).await;
        }
    };
    let (copied, ()) = tokio::join!(copy(&from, &to), writing);
    copied.unwrap();
    let mut connection = match &to {
        StoreUrl::Sqlite(path) => SqliteConnectOptions::new().filename(path).connect().await,
        StoreUrl::Postgres(_) => unreachable!("it is a file"),
    }
    .unwrap();
    // Each was added with its session: as many of one as of the other.
    let sql =
        "SELECT (SELECT count(*) FROM users) - (SELECT count(DISTINCT user_id) FROM sessions)";
    let apart: i64 =
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut connection).await.unwrap();
    assert!((0..=1).contains(&apart), "{apart}");
}

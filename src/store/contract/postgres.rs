//! A schema of its own on the server that the test run has started. It stays there: the server is
//! thrown away as a whole.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection};

use super::{NOW, Place, Store, apps, later, races, signed_in};
use crate::clock::Stopwatch;
use crate::id::TokenId;
use crate::secret::Secret;
use crate::store::apps::MintedToken;
use crate::store::attempts::{AttemptKey, Charged, Toll};
use crate::store::postgres::{Postgres, Reach};
use crate::store::rows::EndReason;
use crate::store::seal::Seal;
use crate::store::{StoreError, Waits};

pub(in crate::store) struct Schema {
    url: String,
    name: String,
}

impl Schema {
    /// Where it is.
    pub(in crate::store) fn url(&self) -> &str {
        &self.url
    }
}

impl Place for Schema {
    async fn fresh() -> Self {
        let server = server();
        let name = format!("test_{}", TokenId::generate().unwrap());
        let mut connection = PgConnection::connect(&server).await.unwrap();
        let create = AssertSqlSafe(format!("CREATE SCHEMA {name}"));
        sqlx::query(create).execute(&mut connection).await.unwrap();
        let and = if server.contains('?') { '&' } else { '?' };
        Self {
            url: format!("{server}{and}options[search_path]={name}&application_name={name}"),
            name,
        }
    }

    async fn open_with(&self, seal: Seal) -> Arc<dyn Store> {
        let wait = Duration::from_secs(2);
        let url = Secret::new(self.url.clone());
        let waits = Waits { lock: wait, turn: wait };
        Arc::new(Postgres::open(&Reach::to(&url), seal, waits).await.unwrap())
    }

    async fn lock(&self) -> Box<dyn Any> {
        let mut connection = PgConnection::connect(&self.url).await.unwrap();
        // Not a transaction of the driver's, which would borrow: it ends with the connection.
        let lock = "BEGIN; LOCK TABLE users, sessions, revocations IN SHARE ROW EXCLUSIVE MODE";
        sqlx::raw_sql(lock).execute(&mut connection).await.unwrap();
        Box::new(connection)
    }
}

/// Cuts every connection to the place, as a restart of the server would.
async fn cut(place: &Schema) {
    let mut connection = PgConnection::connect(&server()).await.unwrap();
    sqlx::query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1",
    )
    .bind(&place.name)
    .execute(&mut connection)
    .await
    .unwrap();
}

#[tokio::test]
async fn postgres_is_used_and_heard_again_after_every_connection_was_cut() {
    let place = Schema::fresh().await;
    let (ours, theirs) = (place.open().await, place.open().await);
    let (_, sessions) = signed_in(&*theirs, "ada", 1).await;
    cut(&place).await;
    let round = Stopwatch::start();
    let id = sessions[0].id;
    loop {
        match theirs.end_session(id, EndReason::Logout, NOW, later(20)).await {
            Ok(ended) => break assert!(ended),
            Err(error) => assert!(matches!(error, StoreError::Unavailable(_)), "{error}"),
        }
        assert!(round.elapsed() < Duration::from_secs(10), "it did not recover");
    }
    // The loss itself wakes, since something may have been said meanwhile.
    ours.changed(Duration::from_secs(20)).await.unwrap();
    assert!(round.elapsed() < Duration::from_secs(10));
    let seen = ours.revocations(0, NOW).await;
    let seen = if seen.is_err() { ours.revocations(0, NOW).await } else { seen }.unwrap();
    assert_eq!(seen.len(), 1);

    let waiting = async {
        loop {
            ours.changed(Duration::from_secs(20)).await.unwrap();
            if ours.revocations(seen[0].sequence, NOW).await.unwrap().len() == 1 {
                break;
            }
            assert!(round.elapsed() < Duration::from_secs(15), "it was never heard");
        }
    };
    let token = TokenId::generate().unwrap();
    let (revoked, ()) = tokio::join!(theirs.revoke_token(token, later(20)), waiting);
    revoked.unwrap();
}

#[tokio::test]
async fn postgres_shows_what_an_act_has_numbered_within_its_longest_act_or_never() {
    let place = Schema::fresh().await;
    let store = place.open().await;
    let (_, sessions) = signed_in(&*store, "ada", 1).await;
    // As long as the store's own waits, and no default's.
    assert_eq!(store.longest_act(), Duration::from_secs(5));
    let mut connection = PgConnection::connect(&place.url).await.unwrap();
    let held = "BEGIN; SELECT id FROM sessions FOR UPDATE";
    sqlx::raw_sql(held).execute(&mut connection).await.unwrap();
    let round = Stopwatch::start();
    let ended = store.end_session(sessions[0].id, EndReason::Logout, NOW, later(20)).await;
    assert!(matches!(ended, Err(StoreError::Unavailable(_))), "{ended:?}");
    assert!(round.elapsed() < store.longest_act(), "{:?}", round.elapsed());
    drop(connection);
    assert_eq!(store.revocations(0, NOW).await.unwrap().len(), 0);
}

#[tokio::test]
async fn postgres_lets_a_mint_wait_for_a_change_of_its_app_and_gives_what_is_left() {
    let place = Schema::fresh().await;
    let store = place.open().await;
    let mut connection = PgConnection::connect(&place.url).await.unwrap();
    // Of its own: in a transaction the activity is looked at once.
    let mut watch = PgConnection::connect(&place.url).await.unwrap();
    let quest = "INSERT INTO apps (id, name, secrets, roles, permissions, disabled, created_at) \
                 VALUES ('quest', NULL, '[]', '[\"player\"]', '[]', FALSE, 0)";
    sqlx::raw_sql(quest).execute(&mut connection).await.unwrap();
    for (change, roles) in [("roles = '[]'", Some(0)), ("disabled = TRUE", None)] {
        // Not committed yet.
        let under_way = AssertSqlSafe(format!("BEGIN; UPDATE apps SET {change}"));
        sqlx::raw_sql(under_way).execute(&mut connection).await.unwrap();
        let (id, app) = (TokenId::generate().unwrap(), "quest".parse().unwrap());
        let minted = MintedToken { id, app, subject: "ada".to_owned(), expires_at: later(5) };
        let minting = tokio::spawn({
            let store = store.clone();
            async move { store.mint(&minted, NOW).await }
        });
        let waiting = "SELECT count(*) FROM pg_stat_activity \
                       WHERE application_name = $1 AND wait_event_type = 'Lock'";
        let count = || sqlx::query_scalar::<_, i64>(waiting).bind(&place.name);
        while count().fetch_one(&mut watch).await.unwrap() == 0 {
            assert!(!minting.is_finished(), "it did not wait");
        }
        sqlx::raw_sql("COMMIT").execute(&mut connection).await.unwrap();
        let minted = minting.await.unwrap();
        match roles {
            Some(left) => assert_eq!(minted.unwrap().roles.len(), left),
            None => assert!(matches!(minted, Err(StoreError::NoSuchApp)), "{minted:?}"),
        }
    }
}

#[tokio::test]
async fn postgres_that_breaks_a_circle_of_waiting_attempts_refuses_none_of_them() {
    let place = Schema::fresh().await;
    let store = place.open().await;
    let of = |name: &[u8]| {
        let per = Duration::from_secs(300);
        Toll { key: AttemptKey::of("test", &[name]), limit: 5, per }
    };
    let (known, new) = (of(b"known"), of(b"new"));
    store.charge(&[known], NOW).await.unwrap();
    let mut connection = PgConnection::connect(&place.url).await.unwrap();
    let mut watch = PgConnection::connect(&place.url).await.unwrap();
    sqlx::raw_sql("BEGIN").execute(&mut connection).await.unwrap();
    let first = sqlx::query("INSERT INTO attempts (key, arrival) VALUES ($1, 0)");
    first.bind(new.key.as_bytes().as_slice()).execute(&mut connection).await.unwrap();
    let charging = tokio::spawn({
        let store = store.clone();
        async move { store.charge(&[known, new], NOW).await }
    });
    let waiting = "SELECT count(*) FROM pg_stat_activity \
                   WHERE application_name = $1 AND wait_event_type = 'Lock'";
    let count = || sqlx::query_scalar::<_, i64>(waiting).bind(&place.name);
    while count().fetch_one(&mut watch).await.unwrap() == 0 {
        assert!(!charging.is_finished(), "it did not wait");
    }
    // The circle is closed; whoever has waited longer finds it out, and is ended.
    let second = sqlx::query("UPDATE attempts SET arrival = arrival WHERE key = $1");
    second.bind(known.key.as_bytes().as_slice()).execute(&mut connection).await.unwrap();
    sqlx::raw_sql("COMMIT").execute(&mut connection).await.unwrap();
    let charged = charging.await.unwrap().unwrap();
    assert!(matches!(charged, Charged::Taken(_)), "{charged:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_changes_an_app_that_mints_without_a_pause_all_the_same() {
    apps::an_app_that_mints_without_a_pause_is_changed_all_the_same(&Schema::fresh().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_that_isolates_more_by_default_is_no_other_store() {
    for level in ["repeatable%20read", "serializable"] {
        let mut place = Schema::fresh().await;
        place.url.push_str(&format!("&options[default_transaction_isolation]={level}"));
        races::of_fifty_rotations_of_one_generation_exactly_one_is_done(&place).await;
        races::no_session_survives_the_disabling_it_raced(&place).await;
    }
}

#[tokio::test]
async fn postgres_with_a_newer_schema_is_worked_on_if_that_leaves_room_and_else_refused() {
    let place = Schema::fresh().await;
    drop(place.open().await);
    let mut connection = PgConnection::connect(&place.url).await.unwrap();
    let sql = "INSERT INTO _sqlx_migrations VALUES (9000, 'later', now(), TRUE, '', 0)";
    sqlx::query(sql).execute(&mut connection).await.unwrap();
    // A rolling upgrade: the newer replicas have migrated, and the older ones start again.
    place.open().await.add_user(&super::user("ada")).await.unwrap();

    sqlx::query("UPDATE compatibility SET needs = 9000").execute(&mut connection).await.unwrap();
    let url = Secret::new(place.url.clone());
    let opened = Postgres::open(&Reach::to(&url), Seal::none(), Waits::default()).await;
    let Err(error) = opened else { panic!("it opened") };
    assert!(matches!(error, StoreError::Unreadable(_)), "{error}");
    let text = error.to_string();
    assert!(text.contains("version 9000") && text.contains("newer"), "{text}");
}

#[tokio::test]
async fn postgres_with_tables_of_another_program_is_refused_and_left_as_it_is() {
    let place = Schema::fresh().await;
    let mut connection = PgConnection::connect(&place.url).await.unwrap();
    sqlx::query("CREATE TABLE sessions (mine TEXT)").execute(&mut connection).await.unwrap();
    let url = Secret::new(place.url.clone());
    let Err(error) = Postgres::open(&Reach::to(&url), Seal::none(), Waits::default()).await else {
        panic!("it opened")
    };
    assert!(matches!(error, StoreError::Unreadable(_)), "{error}");
    assert!(error.to_string().contains("another program's"), "{error}");
    let users: bool = sqlx::query_scalar("SELECT to_regclass('users') IS NOT NULL")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert!(!users, "no half-made schema");
}

#[tokio::test]
async fn postgres_that_is_not_there_is_unavailable_in_bounded_time() {
    let url = Secret::new("postgres://ada:hunter2@127.0.0.1:1/none?sslmode=disable".to_owned());
    let round = Stopwatch::start();
    let Err(error) = Postgres::open(&Reach::to(&url), Seal::none(), Waits::default()).await else {
        panic!("it opened")
    };
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    assert!(!error.to_string().contains("hunter2"), "{error}");
    assert!(round.elapsed() < Duration::from_secs(10));
}

#[expect(clippy::disallowed_methods, reason = "only the test run knows where its server is")]
fn server() -> String {
    std::env::var("SALLYPORT_TEST_POSTGRES").expect(
        "SALLYPORT_TEST_POSTGRES must be the URL of a Postgres server for tests, with the right \
         to create schemas (tests/run starts one); `--skip postgres_` leaves these tests out",
    )
}

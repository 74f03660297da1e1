use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};
use tempfile::TempDir;

use super::home::Home;
use super::watch::Watch;
use super::writer::{Extent, Writer};
use super::{Sqlite, open};
use crate::clock::Timestamp;
use crate::id::{TokenId, UserId};
use crate::store::rows::User;
use crate::store::seal::Seal;
use crate::store::{Store, StoreError, Waits};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const WAIT: Duration = Duration::from_secs(5);

fn place() -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("new/data/sallyport.db");
    (folder, path)
}

fn user(name: &str) -> User {
    User {
        id: UserId::generate(NOW).unwrap(),
        login: name.to_owned(),
        login_key: name.to_owned(),
        name: None,
        email: None,
        roles: Vec::new(),
        permissions: Vec::new(),
        password: None,
        disabled: false,
        created_at: NOW,
    }
}

async fn raw(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(path).connect().await.unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn the_file_and_the_folder_made_for_it_are_their_owners_alone() {
    let (_folder, path) = place();
    let store = Sqlite::open(&path, Seal::none(), Waits::default()).await.unwrap();
    store.add_user(&user("ada")).await.unwrap();
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    assert_eq!(mode(&path), 0o600);
    for suffix in ["-wal", "-shm"] {
        let beside = PathBuf::from(format!("{}{suffix}", path.display()));
        assert_eq!(mode(&beside), 0o600, "{suffix}");
    }
}

#[tokio::test]
async fn an_existing_folder_keeps_its_mode() {
    let folder = TempDir::new().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o750)).unwrap();
    Sqlite::open(&folder.path().join("a.db"), Seal::none(), Waits::default()).await.unwrap();
    assert_eq!(mode(folder.path()), 0o750);
}

#[tokio::test]
async fn every_commit_is_flushed_and_the_log_is_written_ahead() {
    let (_folder, path) = place();
    open::make_file(&path).unwrap();
    let mut connection = open::options(&path, WAIT).connect().await.unwrap();
    let mut ask = async |pragma: &'static str| -> String {
        let value = sqlx::query(pragma).fetch_one(&mut connection).await.unwrap();
        sqlx::Row::try_get_unchecked(&value, 0).unwrap()
    };
    assert_eq!(ask("PRAGMA journal_mode").await, "wal");
    assert_eq!(ask("PRAGMA synchronous").await, "2");
    assert_eq!(ask("PRAGMA foreign_keys").await, "1");
}

#[tokio::test]
async fn a_schema_of_a_newer_version_is_refused_in_clear_words() {
    let (_folder, path) = place();
    drop(Sqlite::open(&path, Seal::none(), Waits::default()).await.unwrap());
    let sql = "INSERT INTO _sqlx_migrations VALUES (9000, 'later', '', TRUE, x'00', 0)";
    sqlx::query(sql).execute(&mut raw(&path).await).await.unwrap();
    // It has left room for this program.
    drop(Sqlite::open(&path, Seal::none(), Waits::default()).await.unwrap());
    let sql = "UPDATE compatibility SET needs = 9000";
    sqlx::query(sql).execute(&mut raw(&path).await).await.unwrap();
    let opened = Sqlite::open(&path, Seal::none(), Waits::default()).await;
    let Err(error) = opened else { panic!("it opened") };
    assert!(matches!(error, StoreError::Unreadable(_)), "{error}");
    let text = error.to_string();
    assert!(text.contains("version 9000") && text.contains("newer"), "{text}");
}

#[tokio::test]
async fn a_file_that_is_something_else_is_refused_and_left_as_it_is() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("letter.txt");
    let letter = "Dear Ada, this is no database. ".repeat(100);
    fs::write(&path, &letter).unwrap();
    let Err(error) = Sqlite::open(&path, Seal::none(), Waits::default()).await else {
        panic!("it opened")
    };
    assert!(matches!(error, StoreError::Unreadable(_)), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), letter);
}

#[tokio::test]
async fn a_database_of_another_program_is_refused_and_left_as_it_is() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("other.db");
    let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let mut other = options.connect().await.unwrap();
    sqlx::query("CREATE TABLE sessions (mine TEXT)").execute(&mut other).await.unwrap();
    let Err(error) = Sqlite::open(&path, Seal::none(), Waits::default()).await else {
        panic!("it opened")
    };
    assert!(matches!(error, StoreError::Unreadable(_)), "{error}");
    let tables = "SELECT group_concat(name) FROM sqlite_master";
    let tables: String = sqlx::query_scalar(tables).fetch_one(&mut other).await.unwrap();
    assert_eq!(tables, "sessions", "no half-made schema");
}

#[tokio::test]
async fn a_place_where_no_file_can_be_is_unavailable_and_named() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("data"), "a file where the folder should be").unwrap();
    let path = folder.path().join("data/sallyport.db");
    let Err(error) = Sqlite::open(&path, Seal::none(), Waits::default()).await else {
        panic!("it opened")
    };
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    assert!(error.to_string().contains("data/sallyport.db"), "{error}");
}

#[tokio::test]
async fn an_act_that_fails_takes_nothing_else_of_its_batch_with_it() {
    let (_folder, path) = place();
    let store = Arc::new(
        Sqlite::open(&path, Seal::none(), Waits { lock: WAIT, turn: WAIT }).await.unwrap(),
    );
    let mut other = raw(&path).await;
    let lock = other.begin_with("BEGIN IMMEDIATE").await.unwrap();
    // All of these queue up behind the lock, and are one batch when it goes.
    let acts: Vec<_> = (0..30)
        .map(|number| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let name = format!("user{}", number % 10);
                let removed = store.remove_user(user(&name).id, NOW, NOW).await;
                assert!(matches!(removed, Err(StoreError::NoSuchUser)));
                store.add_user(&user(&name)).await
            })
        })
        .collect();
    tokio::task::yield_now().await;
    lock.rollback().await.unwrap();
    let results: Vec<_> = join_all(acts).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 10);
    let taken = |result: &&Result<(), StoreError>| matches!(result, Err(StoreError::NameTaken));
    assert_eq!(results.iter().filter(taken).count(), 20);
    assert_eq!(store.users(None, 100).await.unwrap().len(), 10);
}

#[tokio::test]
async fn an_act_of_several_statements_that_fails_leaves_none_of_them() {
    let (_folder, path) = place();
    drop(Sqlite::open(&path, Seal::none(), Waits::default()).await.unwrap());
    let options = open::options(&path, WAIT);
    let writer = Writer::start(
        options.connect().await.unwrap(),
        options.clone(),
        Home::of(&path).unwrap(),
        WAIT,
    );
    let act = |position: i64, result: Result<(), StoreError>| {
        writer.act(Extent::Several, move |connection| {
            Box::pin(async move {
                let sql = "INSERT INTO keys VALUES ($1, $1, x'00', 0, 0, $1)";
                sqlx::query(sql).bind(position).execute(connection).await?;
                result
            })
        })
    };
    let (first, second, third) =
        tokio::join!(act(1, Ok(())), act(2, Err(StoreError::NoSuchUser)), act(3, Ok(())));
    first.unwrap();
    assert!(matches!(second, Err(StoreError::NoSuchUser)));
    third.unwrap();
    let kept: Vec<i64> = sqlx::query_scalar("SELECT position FROM keys ORDER BY position")
        .fetch_all(&mut raw(&path).await)
        .await
        .unwrap();
    assert_eq!(kept, [1, 3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_start_at_once_on_an_empty_database_make_one_schema() {
    for _ in 0..5 {
        let (_folder, path) = place();
        // In WAL mode already, so that nothing but the migration itself keeps them apart.
        open::make_file(&path).unwrap();
        open::options(&path, WAIT).connect().await.unwrap().close().await.unwrap();
        let opened =
            join_all((0..8).map(|_| Sqlite::open(&path, Seal::none(), Waits::default()))).await;
        for store in opened {
            assert!(!store.unwrap().has_users().await.unwrap());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_loses_nothing_that_was_acknowledged_and_room_heals_it() {
    let (_folder, path) = place();
    drop(Sqlite::open(&path, Seal::none(), Waits::default()).await.unwrap());
    let options = open::options(&path, WAIT);
    let small = options.clone().pragma("max_page_count", "40");
    let store = Arc::new(Sqlite {
        readers: open::readers(options.clone(), WAIT),
        writer: Writer::start(
            small.connect().await.unwrap(),
            small,
            Home::of(&path).unwrap(),
            WAIT,
        ),
        home: Home::of(&path).unwrap(),
        options: options.clone(),
        seal: Seal::none(),
        watch: Watch::start(options.clone()).await.unwrap(),
    });
    let adds = (0..200).map(|number| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let big = User { email: Some("x".repeat(1000)), ..user(&format!("user{number}")) };
            (store.add_user(&big).await, big)
        })
    });
    let mut acknowledged = 0;
    for added in join_all(adds).await {
        let (result, big) = added.unwrap();
        let found = store.user(big.id).await.unwrap();
        match result {
            Ok(()) => {
                acknowledged += 1;
                assert_eq!(found, Some(big));
            }
            Err(error) => {
                assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
                assert_eq!(found, None, "what was refused is not there");
            }
        }
    }
    assert!(acknowledged < 200, "the disk must have been full");
    let full = store.add_user(&User { email: Some("x".repeat(200_000)), ..user("late") }).await;
    assert!(matches!(full, Err(StoreError::Unavailable(_))));
    // The writer goes on on a new connection: what fits is done.
    for found in store.users(None, 3).await.unwrap() {
        store.remove_user(found.id, NOW, NOW).await.unwrap();
    }
    store.revoke_token(TokenId::generate().unwrap(), NOW).await.unwrap();
}

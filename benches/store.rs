//! What a store does in a second, beside what its engine does with the same statement and nothing of
//! ours around it: `cargo bench --bench store`. With `SALLYPORT_TEST_POSTGRES` it measures Postgres,
//! too, with one replica and with three, and beside `pgbench`.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a program for the terminal, run by hand"
)]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use sallyport::clock::{Clock, Stopwatch, Timestamp};
use sallyport::config::{self, StoreUrl};
use sallyport::id::{KeyId, SessionId, TokenId, UserId};
use sallyport::secret::Secret;
use sallyport::store::apps::{App, MintedToken};
use sallyport::store::attempts::{AttemptKey, Toll};
use sallyport::store::rows::{EndReason, RefreshRecord, Session, User};
use sallyport::store::{self, Advance, Step, Store};
use sqlx::{AssertSqlSafe, Connection};

/// Callers at once, over all replicas.
const CALLERS: usize = 96;
/// Sessions that are refreshed by turns.
const SESSIONS: usize = 10_000;
/// Accounts that they belong to.
const USERS: usize = 1000;
/// How long each kind of act is measured.
const ROUND: Duration = Duration::from_secs(3);
/// Acts that share a commit, as many as the store lets share one.
const BATCH: usize = 128;

const ADVANCE: &str = "UPDATE sessions SET generation = $3, seen_generation = $2, \
    refresh_key = $4, refresh_token = $5, refresh_issued_at = $6, refresh_expires_at = $7, \
    rotated_at = $8, idle_expires_at = $9 \
    WHERE id = $1 AND generation = $2 AND ended_at IS NULL";

fn main() {
    // `cargo test --benches` only wants to know whether it runs at all.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let room = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    room.block_on(async {
        println!("{:<70} {:>9}  {:>8} {:>8}", "", "a second", "p50 ms", "p99 ms");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bench.db");
        measure("SQLite, 1 process", &StoreUrl::Sqlite(path.clone()), 1).await;
        bare_sqlite(&path).await;
        let Ok(server) = std::env::var("SALLYPORT_TEST_POSTGRES") else {
            println!("SALLYPORT_TEST_POSTGRES is not set: nothing is said of Postgres");
            return;
        };
        for replicas in [1, 3] {
            let (name, url) = database(&server).await;
            let of = StoreUrl::Postgres(Secret::new(url.clone()));
            let what =
                format!("Postgres, {replicas} replica{}", if replicas > 1 { "s" } else { "" });
            measure(&what, &of, replicas).await;
            pgbench(&url, 16 * replicas);
            drop_database(&server, &name).await;
        }
    });
}

async fn measure(what: &str, url: &StoreUrl, replicas: usize) {
    let mut stores = Vec::new();
    for _ in 0..replicas {
        stores.push(store::open(&config::Store::at(url.clone())).await.unwrap());
    }
    let now = Clock::system().now();
    let users: Arc<Vec<UserId>> = Arc::new(add_users(&*stores[0], now).await);
    let of = |number: usize| users[number % USERS];
    let begun: Arc<Vec<_>> = Arc::new((0..SESSIONS).map(|one| session(of(one), now)).collect());
    fill(&stores, &begun).await;

    run(what, "logins (a charge, a look, a session, a refund)", &stores, move |store, number| {
        let user = users[number % USERS];
        async move { log_in(&*store, user, number).await }
    })
    .await;
    let rotated = Arc::clone(&begun);
    let turns: Arc<Vec<AtomicU64>> = Arc::new((0..SESSIONS).map(|_| AtomicU64::new(1)).collect());
    run(what, "rotations (refreshes: a read and a write)", &stores, move |store, number| {
        let (begun, turns) = (Arc::clone(&rotated), Arc::clone(&turns));
        async move {
            let (session, turn) = (&begun[number % SESSIONS], &turns[number % SESSIONS]);
            store.session(session.id).await.unwrap().unwrap();
            let from = turn.load(Ordering::Relaxed);
            if store.advance(session.id, &step(from)).await.unwrap() == Advance::Done {
                turn.store(from + 1, Ordering::Relaxed);
            }
        }
    })
    .await;
    stores[0].add_app(&app(now)).await.unwrap();
    run(what, "mints", &stores, |store, number| async move {
        let now = Clock::system().now();
        let minted = MintedToken {
            id: TokenId::generate().unwrap(),
            app: "app".parse().unwrap(),
            subject: format!("user-{}", number % SESSIONS),
            expires_at: now.plus(Duration::from_secs(3600)),
        };
        store.mint(&minted, now).await.unwrap();
    })
    .await;
    if replicas > 2 {
        heard(&stores, &begun).await;
    }
    let ended = Arc::clone(&begun);
    run(what, "ends of a session (logouts)", &stores, move |store, number| {
        let session = ended[number % SESSIONS].id;
        async move {
            let now = Clock::system().now();
            store.end_session(session, EndReason::Logout, now, now).await.unwrap();
        }
    })
    .await;
}

/// What the store does for a login; all else is the hash's.
async fn log_in(store: &dyn Store, user: UserId, number: usize) {
    let toll = |kind: &str| Toll {
        key: AttemptKey::of(kind, &[&number.to_be_bytes()]),
        limit: 50,
        per: Duration::from_secs(900),
    };
    let tolls = [toll("pair"), toll("network"), toll("account")];
    let now = Clock::system().now();
    // On a file the counters are in memory.
    if store.attempts_are_shared() {
        store.charge(&tolls, now).await.unwrap();
    }
    store.user_by_login(&format!("user-{}", number % USERS)).await.unwrap().unwrap();
    store.begin_session(&session(user, now)).await.unwrap();
    if store.attempts_are_shared() {
        store.refund(&tolls).await.unwrap();
    }
}

async fn add_users(store: &dyn Store, now: Timestamp) -> Vec<UserId> {
    let mut ids = Vec::new();
    for number in 0..USERS {
        let login = format!("user-{number}");
        let user = User {
            id: UserId::generate(now).unwrap(),
            login_key: login.clone(),
            login,
            name: None,
            email: None,
            roles: vec!["editor".to_owned()],
            permissions: Vec::new(),
            password: None,
            disabled: false,
            created_at: now,
        };
        store.add_user(&user).await.unwrap();
        ids.push(user.id);
    }
    ids
}

fn app(now: Timestamp) -> App {
    App {
        id: "app".parse().unwrap(),
        name: None,
        secrets: Vec::new(),
        roles: Vec::new(),
        permissions: Vec::new(),
        disabled: false,
        created_at: now,
    }
}

/// How long it takes from the end of a session at one replica until another has read it, while a
/// third refreshes as fast as it can.
async fn heard(stores: &[Arc<dyn Store>], sessions: &Arc<Vec<Session>>) {
    let stop = Arc::new(AtomicBool::new(false));
    let load: Vec<_> = (0..32)
        .map(|caller| {
            let (store, sessions) = (Arc::clone(&stores[2]), Arc::clone(sessions));
            let stop = Arc::clone(&stop);
            tokio::spawn(async move {
                for turn in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let session = &sessions[(caller + turn * 32) % SESSIONS];
                    store.session(session.id).await.unwrap().unwrap();
                    store.touch(session.id, Clock::system().now()).await.unwrap();
                }
            })
        })
        .collect();
    let mut took = Vec::new();
    let mut last = i64::MAX;
    for _ in 0..500 {
        let token = TokenId::generate().unwrap();
        let now = Clock::system().now();
        if last == i64::MAX {
            last = stores[1].revocations(0, now).await.unwrap().pop().map_or(0, |one| one.sequence);
        }
        let reading = async {
            loop {
                stores[1].changed(Duration::from_millis(500)).await.unwrap();
                let new = stores[1].revocations(last, now).await.unwrap();
                if let Some(found) = new.last() {
                    return found.sequence;
                }
            }
        };
        let writing = async {
            stores[0].revoke_token(token, now.plus(ROUND * 100)).await.unwrap();
            Stopwatch::start()
        };
        let (sequence, since) = tokio::join!(reading, writing);
        took.push(since.elapsed());
        last = sequence;
    }
    stop.store(true, Ordering::Relaxed);
    for one in load {
        one.await.unwrap();
    }
    took.sort_unstable();
    let at = |part: usize| took.get(took.len() * part / 100).copied().unwrap_or_default();
    let what = "Postgres: from an end here until it is known there, under load";
    println!("{what:<72} {:>7}  {:>8.2} {:>8.2}", "", millis(at(50)), millis(at(99)));
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// Runs `act` from all callers for a round, and prints how often and how fast it was done.
async fn run<F>(
    what: &str,
    acts: &str,
    stores: &[Arc<dyn Store>],
    act: impl Fn(Arc<dyn Store>, usize) -> F + Clone + Send + 'static,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let since = Stopwatch::start();
    let callers: Vec<_> = stores
        .iter()
        .cycle()
        .take(CALLERS)
        .enumerate()
        .map(|(caller, store)| {
            let (store, act) = (Arc::clone(store), act.clone());
            tokio::spawn(async move {
                let mut took = Vec::new();
                let mut number = caller;
                while since.elapsed() < ROUND {
                    let one = Stopwatch::start();
                    act(Arc::clone(&store), number).await;
                    took.push(one.elapsed());
                    number += CALLERS;
                }
                took
            })
        })
        .collect();
    let mut took = Vec::new();
    for caller in callers {
        took.extend(caller.await.unwrap());
    }
    let elapsed = since.elapsed();
    took.sort_unstable();
    let at = |part: usize| took.get(took.len() * part / 100).copied().unwrap_or_default();
    print(&format!("{what}: {acts}"), took.len(), elapsed, Some((at(50), at(99))));
}

fn print(what: &str, count: usize, elapsed: Duration, times: Option<(Duration, Duration)>) {
    let rate = f64::from(u32::try_from(count).unwrap()) / elapsed.as_secs_f64();
    match times {
        Some((p50, p99)) => {
            println!("{what:<72} {rate:>7.0}  {:>8.2} {:>8.2}", millis(p50), millis(p99));
        }
        None => println!("{what:<72} {rate:>7.0}"),
    }
}

async fn fill(stores: &[Arc<dyn Store>], sessions: &Arc<Vec<Session>>) {
    let writing: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let (store, sessions) = (Arc::clone(&stores[0]), Arc::clone(sessions));
            tokio::spawn(async move {
                for session in sessions.iter().skip(caller).step_by(CALLERS) {
                    store.begin_session(session).await.unwrap();
                }
            })
        })
        .collect();
    for one in writing {
        one.await.unwrap();
    }
}

/// The same statement in batches, on the same file, by one connection and nobody else.
async fn bare_sqlite(path: &Path) {
    use sqlx::ConnectOptions as _;
    use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
    let options = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .disable_statement_logging();
    let mut connection = options.connect().await.unwrap();
    sqlx::query("UPDATE sessions SET generation = 1, ended_at = NULL, end_reason = NULL")
        .execute(&mut connection)
        .await
        .unwrap();
    let ids: Vec<Vec<u8>> = sqlx::query_scalar("SELECT id FROM sessions LIMIT 10000")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    let (since, mut count) = (Stopwatch::start(), 0_usize);
    let mut generations = vec![1_i64; ids.len()];
    while since.elapsed() < ROUND {
        let mut batch = connection.begin_with("BEGIN IMMEDIATE").await.unwrap();
        for _ in 0..BATCH {
            let number = count % ids.len();
            let generation = generations[number];
            sqlx::query(ADVANCE)
                .bind(&ids[number])
                .bind(generation)
                .bind(generation + 1)
                .bind("0123456789abcdef")
                .bind(&ids[number])
                .bind(1_i64)
                .bind(2_i64)
                .bind(3_i64)
                .bind(4_i64)
                .execute(&mut *batch)
                .await
                .unwrap();
            generations[number] += 1;
            count += 1;
        }
        batch.commit().await.unwrap();
    }
    print("SQLite, bare: the rotation's statement, 128 in a commit", count, since.elapsed(), None);
}

/// The statements of a rotation, as `pgbench` sends them, on as many connections as the replicas have.
fn pgbench(url: &str, connections: usize) {
    let script = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(script.path(), ROTATION).unwrap();
    let run = |program: &str, arguments: &[&str]| {
        std::process::Command::new(program).args(arguments).output()
    };
    let made = run("psql", &["-XAtq", "-d", url, "-c", NUMBERED]);
    let program = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let program = program.map(|one| one.path().join("bin/pgbench")).max();
    let Some(program) = program.filter(|_| made.is_ok_and(|made| made.status.success())) else {
        println!("there is no pgbench to compare with");
        return;
    };
    let script = script.path().display().to_string();
    let (clients, seconds) = (connections.to_string(), ROUND.as_secs().to_string());
    let arguments =
        ["-n", "-M", "prepared", "-c", &clients, "-j", "2", "-T", &seconds, "-f", &script, url];
    let output = run(&program.display().to_string(), &arguments).unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let rate = text.lines().find_map(|line| line.strip_prefix("tps = "));
    let rate = rate.and_then(|rate| rate.split_once('.'));
    let what = format!("pgbench, {connections} connections: the rotation's statements");
    println!("{what:<72} {:>7}", rate.map_or("failed", |(rate, _)| rate));
}

/// As many sessions again, which the script can name by number.
const NUMBERED: &str = "INSERT INTO sessions SELECT decode(lpad(to_hex(n), 32, '0'), 'hex'), user_id, \
    1, 0, refresh_key, refresh_token, refresh_issued_at, refresh_expires_at, rotated_at, auth_time, \
    amr, expires_at, idle_expires_at, persistent, address, device, created_at, NULL, NULL \
    FROM (SELECT row_number() OVER () AS n, * FROM sessions LIMIT 10000) AS numbered; ANALYZE";

const ROTATION: &str = "\\set n random(1, 10000)\n\
    SELECT sessions.id AS sid, user_id, generation AS gen, seen_generation, refresh_key, \
    refresh_token, refresh_issued_at, refresh_expires_at, rotated_at, auth_time, amr, expires_at, \
    idle_expires_at, persistent, address, device, sessions.created_at AS begun, ended_at, end_reason, \
    login, login_key, name, email, roles, permissions, password, disabled, users.created_at \
    FROM sessions JOIN users ON users.id = sessions.user_id \
    WHERE sessions.id = decode(lpad(to_hex(:n::bigint), 32, '0'), 'hex') \\gset\n\
    UPDATE sessions SET generation = :gen + 1, seen_generation = greatest(seen_generation, :gen), \
    refresh_key = '0123456789abcdef', refresh_token = id, refresh_issued_at = 1, \
    refresh_expires_at = 2, rotated_at = 3, idle_expires_at = 4 \
    WHERE id = :sid AND generation = :gen AND ended_at IS NULL;\n";

async fn database(server: &str) -> (String, String) {
    let name = format!("bench_{}", TokenId::generate().unwrap());
    let mut connection = sqlx::PgConnection::connect(server).await.unwrap();
    let create = AssertSqlSafe(format!("CREATE DATABASE {name}"));
    sqlx::query(create).execute(&mut connection).await.unwrap();
    let mut url = url::Url::parse(server).unwrap();
    url.set_path(&name);
    (name, url.into())
}

async fn drop_database(server: &str, name: &str) {
    let mut connection = sqlx::PgConnection::connect(server).await.unwrap();
    let drop = AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)"));
    sqlx::query(drop).execute(&mut connection).await.unwrap();
}

fn record(now: Timestamp) -> RefreshRecord {
    RefreshRecord {
        key: KeyId::new("0123456789abcdef"),
        token: TokenId::generate().unwrap(),
        issued_at: now,
        expires_at: now.plus(Duration::from_secs(3600)),
    }
}

fn session(user: UserId, now: Timestamp) -> Session {
    Session {
        id: SessionId::generate().unwrap(),
        user,
        generation: 1,
        seen_generation: 0,
        current: record(now),
        rotated_at: now,
        auth_time: now,
        amr: vec!["pwd".to_owned()],
        expires_at: now.plus(Duration::from_secs(3600)),
        idle_expires_at: now.plus(Duration::from_secs(3600)),
        persistent: true,
        address: None,
        device: "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0".to_owned(),
        created_at: now,
        ended: None,
    }
}

fn step(from: u64) -> Step {
    let now = Clock::system().now();
    let idle_expires_at = now.plus(Duration::from_secs(3600));
    Step { from, to: from + 1, next: record(now), at: now, idle_expires_at }
}

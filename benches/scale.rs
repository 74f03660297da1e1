//! What three replicas and so many active users cost a Postgres, measured at three sizes: the figures
//! of `docs/SCALING.md`. `SALLYPORT_TEST_POSTGRES=postgres://... cargo bench --bench scale`; a few
//! minutes, on a server that does nothing else.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a program for the terminal, run by hand"
)]

mod place;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sallyport::clock::{Clock, Stopwatch, Timestamp};
use sallyport::config::{self, Config, StoreUrl};
use sallyport::id::{Revoked, SessionId};
use sallyport::secret::Secret;
use sallyport::session::{Parts, Sessions, Settings};
use sallyport::store::rows::EndReason;
use sallyport::store::{self, Advance, Store};
use sallyport::token::RevokedSet;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use place::{DEVICE, millis};

const REPLICAS: usize = 3;
const SIZES: [u32; 3] = [1_000, 10_000, 100_000];
/// The default life of an access token, in seconds: an active user refreshes once in it.
const ACCESS_TTL: f64 = 300.0;
const IDLE: Duration = Duration::from_secs(10);
const SETTLE: Duration = Duration::from_secs(4);
const BUSY: Duration = Duration::from_secs(20);
/// Logouts a second, while those are measured.
const ENDS: f64 = 100.0;

fn main() {
    // `cargo test --benches` only wants to know whether it runs at all.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let room = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    room.block_on(async {
        memory();
        let Ok(server) = std::env::var("SALLYPORT_TEST_POSTGRES") else {
            println!("SALLYPORT_TEST_POSTGRES is not set: nothing is said of Postgres");
            return;
        };
        for users in SIZES {
            measure(&server, users).await;
        }
    });
}

async fn measure(server: &str, users: u32) {
    let folder = tempfile::tempdir().unwrap();
    let (name, url) = place::database(server).await;
    let mut asked = PgConnection::connect(&url).await.unwrap();
    let mut stores = Vec::new();
    for _ in 0..REPLICAS {
        let of = StoreUrl::Postgres(Secret::new(url.clone()));
        stores.push(store::open(&config::Store::at(of)).await.unwrap());
    }
    let clock = Clock::system();
    let filled = Stopwatch::start();
    fill(&mut asked, users, clock.now()).await;
    println!("\n{users} active users, two sessions each (made in {:.1} s)", secs(filled.elapsed()));
    let size = "SELECT pg_total_relation_size('sessions')";
    let before = ask(&mut asked, size).await;
    println!("  a session takes {} bytes with its indexes", before / i64::from(users * 2));

    let mut replicas = Vec::new();
    for store in &stores {
        replicas.push(sessions(folder.path(), store, &clock).await);
    }
    // What they do once, at their start, is not counted.
    tokio::time::sleep(SETTLE).await;
    let resting = rate(&mut asked, IDLE, tokio::time::sleep(IDLE)).await;
    println!("  at rest: {resting:.1} statements a second, of {REPLICAS} replicas");

    let refreshes = f64::from(users) / ACCESS_TTL;
    let took = Arc::new(std::sync::Mutex::new(Vec::new()));
    let load = refresh(&stores, users, refreshes, &took);
    let log = "SELECT (pg_current_wal_lsn() - '0/0')::bigint";
    let written = ask(&mut asked, log).await;
    let busy = rate(&mut asked, BUSY, load).await;
    let written = ask(&mut asked, log).await - written;
    let mut took = std::mem::take(&mut *took.lock().unwrap());
    took.sort_unstable();
    let at = |part: usize| millis(took[(took.len() * part / 100).min(took.len() - 1)]);
    println!(
        "  {refreshes:.1} refreshes a second: {busy:.1} statements a second, {:.2} for each; \
         p50 {:.2} ms, p99 {:.2} ms",
        (busy - resting) / refreshes,
        at(50),
        at(99)
    );
    let hot = "SELECT n_tup_hot_upd * 100 / greatest(n_tup_upd, 1) FROM pg_stat_user_tables \
               WHERE relname = 'sessions'";
    let hot = ask(&mut asked, hot).await;
    let grown = ask(&mut asked, size).await - before;
    let each = written / i64::try_from(took.len()).unwrap();
    println!(
        "  {} rotations: {hot} % on their page; the table grew by {grown} bytes, the server's log by \
         {each} for each",
        took.len()
    );

    let ends = rate(&mut asked, IDLE, end(&stores, clock.now())).await;
    println!(
        "  {ENDS} logouts a second: {:.1} statements a second more, {REPLICAS} notifications each",
        ends - resting
    );
    sweep(&mut asked, &*stores[0], &clock).await;
    // They follow the store until then.
    drop(replicas);
    drop(stores);
    asked.close().await.unwrap();
    place::drop_database(server, &name).await;
}

/// A replica with everything that goes on in it by itself.
async fn sessions(folder: &Path, store: &Arc<dyn Store>, clock: &Clock) -> Arc<Sessions> {
    let text = "[listen]\ndev_http = \"127.0.0.1:0\"\n[[upstream]]\nname = \"app\"\n\
                servers = [\"demo\"]\n[[route]]\npath = \"/**\"\n";
    let config = Config::parse(text, &folder.join("gateway.toml")).unwrap();
    let (room, settings) = (tokio::runtime::Handle::current(), Settings::of(&config));
    let (store, clock) = (Arc::clone(store), clock.clone());
    Sessions::start(Parts { store, clock, room, settings, captcha: None }).await.unwrap()
}

/// Refreshes that come evenly, over all replicas, each of another session.
async fn refresh(
    stores: &[Arc<dyn Store>],
    users: u32,
    rate: f64,
    took: &Arc<std::sync::Mutex<Vec<Duration>>>,
) {
    let since = Stopwatch::start();
    let mut acts = Vec::new();
    let mut sights = vec![Vec::new(); stores.len()];
    for number in 0..users * 2 {
        let due = Duration::from_secs_f64(f64::from(number) / rate);
        if due > BUSY {
            break;
        }
        tokio::time::sleep(due.saturating_sub(since.elapsed())).await;
        let replica = usize::try_from(number).unwrap() % stores.len();
        let (store, took) = (Arc::clone(&stores[replica]), Arc::clone(took));
        let id = numbered(number + 1);
        acts.push(tokio::spawn(async move {
            let one = Stopwatch::start();
            let (session, _) = store.session(id).await.unwrap().unwrap();
            let done = store.advance(id, &place::step(session.generation)).await.unwrap();
            assert_eq!(done, Advance::Done);
            took.lock().unwrap().push(one.elapsed());
        }));
        // What was seen is told together, ten times a second.
        sights[replica].push((id, 2));
        if f64::from(u32::try_from(sights[replica].len()).unwrap()) >= rate / 30.0 {
            let (store, seen) =
                (Arc::clone(&stores[replica]), std::mem::take(&mut sights[replica]));
            acts.push(tokio::spawn(async move { store.seen(&seen).await.unwrap() }));
        }
    }
    tokio::time::sleep(BUSY.saturating_sub(since.elapsed())).await;
    for act in acts {
        act.await.unwrap();
    }
}

/// Logouts that come evenly, at all replicas.
async fn end(stores: &[Arc<dyn Store>], now: Timestamp) {
    let since = Stopwatch::start();
    for number in 0_u32.. {
        let due = Duration::from_secs_f64(f64::from(number) / ENDS);
        if due > IDLE {
            return;
        }
        tokio::time::sleep(due.saturating_sub(since.elapsed())).await;
        let store = &stores[usize::try_from(number).unwrap() % stores.len()];
        let until = now.plus(Duration::from_secs(360));
        store.end_session(numbered(number + 1), EndReason::Logout, now, until).await.unwrap();
    }
}

/// A sweep that finds nothing, and one that finds a twentieth.
async fn sweep(asked: &mut PgConnection, store: &dyn Store, clock: &Clock) {
    for part in [0, 5] {
        let old = format!(
            "UPDATE sessions SET idle_expires_at = 1 WHERE get_byte(id, 15) % 100 < {part}"
        );
        for sql in [old, "VACUUM ANALYZE sessions".to_owned()] {
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *asked).await.unwrap();
        }
        let count = ask(asked, "SELECT count(*) FROM sessions").await;
        let (now, mut steps, mut longest) = (clock.now(), 0, Duration::ZERO);
        let since = Stopwatch::start();
        loop {
            let one = Stopwatch::start();
            let more = store.sweep(now, now.minus(Duration::from_secs(86_400))).await.unwrap();
            (steps, longest) = (steps + 1, longest.max(one.elapsed()));
            if !more {
                break;
            }
        }
        let gone = count - ask(asked, "SELECT count(*) FROM sessions").await;
        println!(
            "  a sweep through {count} sessions: {gone} removed in {:.2} s, {steps} steps, the \
             longest {:.0} ms",
            secs(since.elapsed()),
            millis(longest)
        );
    }
}

/// What an entry of the revocation set takes.
fn memory() {
    const ENTRIES: u32 = 1_000_000;
    let (set, before, now) = (RevokedSet::new(), resident(), Clock::system().now());
    for number in 0..ENTRIES {
        set.add(Revoked::Session(numbered(number)), now);
    }
    let bytes = resident() - before;
    println!("a revocation in memory takes {} bytes", bytes / u64::from(ENTRIES));
    drop(set);
}

/// What this process has of the memory, in bytes.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Statements a second while something is done that takes `time`. The server counts those of a
/// connection when it rests for a moment, so what is late is waited for.
async fn rate(asked: &mut PgConnection, time: Duration, what: impl Future<Output = ()>) -> f64 {
    let count = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()";
    let before = ask(asked, count).await;
    what.await;
    let done = ask(asked, count).await - before;
    f64::from(i32::try_from(done).unwrap()) / secs(time)
}

async fn ask(asked: &mut PgConnection, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(asked).await.unwrap()
}

/// Accounts, with two sessions each.
async fn fill(asked: &mut PgConnection, users: u32, now: Timestamp) {
    let (now, end) = (now.millis(), now.plus(Duration::from_secs(30 * 86_400)).millis());
    let id = "decode(lpad(to_hex(n), 32, '0'), 'hex')";
    let users_sql = format!(
        "INSERT INTO users SELECT {id}, 'user-' || n, 'user-' || n, NULL, NULL, '[\"editor\"]', '[]', \
         NULL, FALSE, {now} FROM generate_series(1, {users}) AS n"
    );
    let sessions_sql = format!(
        "INSERT INTO sessions SELECT {id}, decode(lpad(to_hex((n + 1) / 2), 32, '0'), 'hex'), 1, 0, \
         '0123456789abcdef', decode(md5(n::text), 'hex'), {now}, {end}, {now}, {now}, '[\"pwd\"]', \
         {end}, {end}, TRUE, '203.0.113.7', \
         '{DEVICE}', {now}, NULL, NULL \
         FROM generate_series(1, {users} * 2) AS n"
    );
    for sql in [users_sql, sessions_sql, "VACUUM ANALYZE".to_owned()] {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *asked).await.unwrap();
    }
}

/// The session of this number, as [`fill`] makes it.
fn numbered(number: u32) -> SessionId {
    let mut bytes = [0; 16];
    bytes[12..].copy_from_slice(&number.to_be_bytes());
    SessionId::from_bytes(bytes)
}

fn secs(time: Duration) -> f64 {
    time.as_secs_f64()
}

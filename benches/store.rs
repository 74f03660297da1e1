//! What a store does in a second, beside what its engine does with the same statements and nothing
//! of ours around them: `cargo bench --bench store`. With `SALLYPORT_TEST_POSTGRES` it measures Postgres,
//! too, with one replica and with three, and beside `pgbench`.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a program for the terminal, run by hand"
)]

mod bare;
mod place;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use sallyport::clock::{Clock, Stopwatch, Timestamp};
use sallyport::config::{self, StoreUrl};
use sallyport::id::{SessionId, TokenId, UserId};
use sallyport::secret::Secret;
use sallyport::store::apps::{App, MintedToken};
use sallyport::store::attempts::{AttemptKey, Toll};
use sallyport::store::rows::{EndReason, Session, User};
use sallyport::store::{self, Advance, Store};

use place::millis;

/// Callers at once, over all replicas.
const CALLERS: usize = 96;
/// Sessions that are refreshed by turns.
const SESSIONS: usize = 10_000;
/// Accounts that they belong to.
const USERS: usize = 1000;
/// How long each kind of act is measured.
const ROUND: Duration = Duration::from_secs(3);
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
        bare::sqlite(&path, ROUND).await.into_iter().for_each(print_bare);
        print_bare(bare::hashing(ROUND));
        let Ok(server) = std::env::var("SALLYPORT_TEST_POSTGRES") else {
            println!("SALLYPORT_TEST_POSTGRES is not set: nothing is said of Postgres");
            return;
        };
        for replicas in [1, 3] {
            let (name, url) = place::database(&server).await;
            let of = StoreUrl::Postgres(Secret::new(url.clone()));
            let what =
                format!("Postgres, {replicas} replica{}", if replicas > 1 { "s" } else { "" });
            measure(&what, &of, replicas).await;
            bare::postgres(&url, 16 * replicas, ROUND).into_iter().for_each(print_bare);
            place::drop_database(&server, &name).await;
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
            if store.advance(session.id, &place::step(from)).await.unwrap() == Advance::Done {
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
    let rate = f64::from(u32::try_from(took.len()).unwrap()) / elapsed.as_secs_f64();
    let (what, p50, p99) = (format!("{what}: {acts}"), millis(at(50)), millis(at(99)));
    println!("{what:<72} {rate:>7.0}  {p50:>8.2} {p99:>8.2}");
}

fn print_bare((what, rate): bare::Rate) {
    println!("{what:<72} {rate:>7.0}");
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

fn session(user: UserId, now: Timestamp) -> Session {
    Session {
        id: SessionId::generate().unwrap(),
        user,
        generation: 1,
        seen_generation: 0,
        current: place::record(now),
        rotated_at: now,
        auth_time: now,
        amr: vec!["pwd".to_owned()],
        expires_at: now.plus(Duration::from_secs(3600)),
        idle_expires_at: now.plus(Duration::from_secs(3600)),
        persistent: true,
        address: None,
        device: place::DEVICE.to_owned(),
        created_at: now,
        ended: None,
    }
}

//! Hashing, and the queue before it.

use std::num::NonZeroUsize;
use std::sync::mpsc;

use super::*;

fn config() -> config::Password {
    config::Password {
        memory_kib: 64,
        iterations: 1,
        parallelism: 1,
        threads: NonZeroUsize::MIN,
        queue: 2,
        wait: Duration::from_secs(60),
        max_length: 1024,
        kind: config::SecretKind::Password,
        min_length: 8,
        blocklist: config::Blocking::Off,
    }
}

fn secret(text: &str) -> Secret<String> {
    Secret::new(text.to_owned())
}

#[test]
fn a_hash_is_argon2id_with_the_configured_parameters_and_its_own_salt() {
    let recipe = Recipe::new(&config()).unwrap();
    let first = recipe.hash(&secret("correct horse")).unwrap();
    let second = recipe.hash(&secret("correct horse")).unwrap();
    assert!(first.expose().starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{}", first.expose());
    assert_ne!(first, second);
    assert!(recipe.verify(&secret("correct horse"), &first).unwrap());
    assert!(recipe.is_current(&first));
}

#[test]
fn every_byte_of_a_password_counts() {
    let recipe = Recipe::new(&config()).unwrap();
    let long = "x".repeat(1000);
    let hash = recipe.hash(&secret(&long)).unwrap();
    for wrong in [long.replacen('x', "X", 1), format!("{}y", &long[1..]), format!("{long} ")] {
        assert!(!recipe.verify(&secret(&wrong), &hash).unwrap());
    }
    let with_nul = recipe.hash(&secret("a\0b-and-more")).unwrap();
    assert!(!recipe.verify(&secret("a\0c-and-more"), &with_nul).unwrap());
}

#[test]
fn a_hash_of_other_parameters_is_verified_but_not_current() {
    let old = Recipe::new(&config()).unwrap();
    let hash = old.hash(&secret("correct horse")).unwrap();
    let new = Recipe::new(&config::Password { iterations: 2, ..config() }).unwrap();
    assert!(new.verify(&secret("correct horse"), &hash).unwrap());
    assert!(!new.is_current(&hash));
}

#[test]
fn a_damaged_hash_is_an_error_and_never_a_match() {
    let recipe = Recipe::new(&config()).unwrap();
    for damaged in [
        "",
        "$argon2id$",
        "plain",
        "$2b$12$abcdefghijklmnopqrstuv",
        "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ",
    ] {
        let hash = PasswordHash::new(damaged.to_owned());
        assert!(!recipe.verify(&secret("x"), &hash).is_ok_and(|right| right), "{damaged}");
        assert!(!recipe.is_current(&hash), "{damaged}");
    }
}

#[test]
fn a_password_is_right_however_its_letters_are_spelt() {
    let recipe = Recipe::new(&config()).unwrap();
    let hash = recipe.hash(&secret("gr\u{fc}\u{df}e aus K\u{f6}ln")).unwrap();
    assert!(recipe.verify(&secret("gru\u{308}\u{df}e aus Ko\u{308}ln"), &hash).unwrap());
    assert!(!recipe.verify(&secret("grusse aus Koln"), &hash).unwrap());
}

#[test]
fn parameters_that_argon2_does_not_take_are_an_error_at_start() {
    let bad = config::Password { memory_kib: 1, ..config() };
    assert!(matches!(Hashers::start(&bad), Err(HashError::Parameters(_))));
}

#[tokio::test]
async fn an_unknown_account_is_hashed_too_and_never_matches() {
    let hashers = Hashers::start(&config()).unwrap();
    assert!(!hashers.verify(secret("whatever"), None).await.unwrap());
    let hash = hashers.hash(secret("correct horse")).await.unwrap();
    assert!(hashers.verify(secret("correct horse"), Some(hash)).await.unwrap());
}

/// Keeps the one thread at work until the sender is dropped.
async fn occupied(hashers: &Hashers) -> mpsc::Sender<()> {
    let (release, held) = mpsc::channel::<()>();
    let (begun, beginning) = oneshot::channel();
    let work = Box::new(move || {
        let _ = held.recv();
    });
    assert!(hashers.queue.push(Job { begun, work }));
    beginning.await.unwrap();
    release
}

#[tokio::test]
async fn a_full_queue_answers_busy_at_once() {
    let hashers = Arc::new(Hashers::start(&config()).unwrap());
    let release = occupied(&hashers).await;
    let waiting: Vec<_> = (0..2)
        .map(|_| {
            let hashers = hashers.clone();
            tokio::spawn(async move { hashers.hash(secret("correct horse")).await })
        })
        .collect();
    while hashers.waiting() < 2 {
        tokio::task::yield_now().await;
    }
    let refused = hashers.hash(secret("one too many")).await;
    assert!(matches!(refused, Err(HashError::Busy { .. })), "{refused:?}");
    drop(release);
    for waiter in waiting {
        assert!(waiter.await.unwrap().is_ok());
    }
}

#[tokio::test]
async fn who_waits_too_long_is_told_busy_and_the_job_is_skipped() {
    let short = config::Password { wait: Duration::from_millis(5), ..config() };
    let hashers = Arc::new(Hashers::start(&short).unwrap());
    let release = occupied(&hashers).await;
    let (ran, outcome) = mpsc::channel();
    let late = hashers.run(move || Ok(ran.send(()))).await;
    assert!(matches!(late, Err(HashError::Busy { .. })));
    drop(release);
    assert!(outcome.recv().is_err(), "dropped without having run");
}

#[tokio::test]
async fn jobs_that_nobody_waits_for_make_room_for_others() {
    let hashers = Arc::new(Hashers::start(&config()).unwrap());
    let release = occupied(&hashers).await;
    for _ in 0..10 {
        let gone = hashers.hash(secret("whose client has hung up"));
        assert!(tokio::time::timeout(Duration::from_millis(1), gone).await.is_err());
    }
    drop(release);
}

#[tokio::test]
async fn a_job_that_panics_takes_no_thread_with_it() {
    let hashers = Hashers::start(&config()).unwrap();
    let work = || -> Result<(), HashError> { panic!("planted by the test") };
    assert!(matches!(hashers.run(work).await, Err(HashError::Stopped)));
    assert!(hashers.hash(secret("correct horse")).await.is_ok());
}

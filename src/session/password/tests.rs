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

const BCRYPT: &str = "$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";

#[test]
fn a_hash_from_elsewhere_is_verified_and_to_be_made_anew() {
    let recipe = Recipe::new(&config()).unwrap();
    let bcrypt = PasswordHash::new(BCRYPT.to_owned());
    assert!(recipe.verify(&secret("U*U"), &bcrypt).unwrap());
    assert!(!recipe.verify(&secret("U*V"), &bcrypt).unwrap());
    assert!(!recipe.is_current(&bcrypt));
    let damaged = PasswordHash::new(BCRYPT[..40].to_owned());
    assert!(matches!(recipe.verify(&secret("U*U"), &damaged), Err(HashError::Foreign(_))));
    // Hashed as it was typed: a decomposed letter, which we would compose.
    let typed = "cafe\u{301}-au-lait";
    for (algorithm, name) in [(Algorithm::Argon2id, "argon2id"), (Algorithm::Argon2i, "argon2i")] {
        let argon2 = Argon2::new(algorithm, Version::V0x13, Params::new(64, 2, 1, None).unwrap());
        let hash: phc::PasswordHash =
            argon2.hash_password_with_salt(typed.as_bytes(), b"salt-of-elsewhere").unwrap();
        let hash = PasswordHash::new(hash.to_string());
        assert!(hash.expose().starts_with(&format!("${name}$")), "{}", hash.expose());
        assert!(recipe.verify(&secret(typed), &hash).unwrap(), "{name}");
        assert!(!recipe.verify(&secret("cafe-au-lait"), &hash).unwrap());
        assert!(!recipe.is_current(&hash));
    }
}

#[test]
fn while_there_are_foreign_hashes_every_account_and_none_costs_the_same() {
    let hashers = Hashers::start(&config()).unwrap();
    let own = hashers.recipe().hash(&secret("correct horse")).unwrap();
    let bcrypt = PasswordHash::new(BCRYPT.to_owned());
    let other = Recipe::new(&config::Password { iterations: 3, ..config() }).unwrap();
    let other = other.hash(&secret("correct horse")).unwrap();
    let kinds = |hash: Option<&PasswordHash>| {
        let compared = hashers.compared(hash.cloned());
        let mut kinds: Vec<_> = compared.iter().map(foreign::kind).collect();
        kinds.sort();
        (kinds, compared.into_iter().next().unwrap())
    };
    assert_eq!(kinds(None).0.len(), 1);
    hashers.know(&[bcrypt.clone(), other.clone()]);
    let (unknown, _) = kinds(None);
    assert_eq!(unknown.len(), 3, "{unknown:?}");
    for hash in [&own, &bcrypt, &other] {
        let (known, first) = kinds(Some(hash));
        assert_eq!(known, unknown);
        assert_eq!(&first, hash, "its own decides");
    }
    hashers.know(&[]);
    assert_eq!(kinds(None).0.len(), 1);
}

#[tokio::test]
async fn what_is_compared_for_its_price_lets_nobody_in() {
    let hashers = Hashers::start(&config()).unwrap();
    let bcrypt = PasswordHash::new(BCRYPT.to_owned());
    let own = hashers.recipe().hash(&secret("correct horse")).unwrap();
    hashers.know(std::slice::from_ref(&bcrypt));
    assert!(!hashers.verify(secret("U*U"), None).await.unwrap());
    assert!(!hashers.verify(secret("U*U"), Some(own.clone())).await.unwrap());
    assert!(hashers.verify(secret("U*U"), Some(bcrypt)).await.unwrap());
    assert!(hashers.verify(secret("correct horse"), Some(own)).await.unwrap());
}

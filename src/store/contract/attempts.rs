use std::time::Duration;

use super::races::at_once;
use super::{MINUTE, NOW, Place, later};
use crate::clock::Timestamp;
use crate::store::attempts::{AttemptKey, Charged, Toll};
use crate::store::{Store, StoreError};

/// One back each minute.
fn toll(name: &str, limit: u32) -> Toll {
    Toll { key: AttemptKey::of("test", &[name.as_bytes()]), limit, per: MINUTE * limit }
}

async fn taken(store: &dyn Store, tolls: &[Toll], now: Timestamp) -> bool {
    matches!(store.charge(tolls, now).await.unwrap(), Charged::Taken(_))
}

pub(super) async fn no_more_attempts_are_taken_than_the_limit_has(place: &impl Place) {
    let (store, other) = (place.open().await, place.open().await);
    let ada = [toll("ada", 3)];
    for (store, remaining) in [(&store, 2), (&other, 1), (&store, 0)] {
        let Charged::Taken(balances) = store.charge(&ada, NOW).await.unwrap() else {
            panic!("there is one left")
        };
        assert_eq!((balances[0].limit, balances[0].remaining), (3, remaining));
        assert_eq!(balances[0].reset, MINUTE * (3 - remaining));
    }
    let Charged::Refused(0, balance) = other.charge(&ada, NOW).await.unwrap() else {
        panic!("there is none left")
    };
    assert_eq!((balance.remaining, balance.retry_after), (0, MINUTE));
    assert!(taken(&*store, &[toll("bob", 3)], NOW).await, "each key by itself");
}

pub(super) async fn an_attempt_is_charged_to_all_of_its_limits_or_to_none(place: &impl Place) {
    let store = place.open().await;
    let (tight, wide) = (toll("tight", 1), toll("wide", 4));
    assert!(taken(&*store, &[wide, tight], NOW).await);
    for _ in 0..3 {
        let refused = store.charge(&[wide, tight], NOW).await.unwrap();
        assert!(matches!(refused, Charged::Refused(1, _)), "{refused:?}");
    }
    let Charged::Taken(balances) = store.charge(&[wide], NOW).await.unwrap() else {
        panic!("what was refused has used nothing up")
    };
    assert_eq!(balances[0].remaining, 2);
}

pub(super) async fn attempts_come_back_evenly_and_by_refund(place: &impl Place) {
    let store = place.open().await;
    let ada = [toll("ada", 2)];
    assert!(taken(&*store, &ada, NOW).await && taken(&*store, &ada, NOW).await);
    let almost = NOW.plus(MINUTE).minus(Duration::from_millis(1));
    assert!(!taken(&*store, &ada, almost).await);
    assert!(taken(&*store, &ada, later(1)).await);
    assert!(!taken(&*store, &ada, later(1)).await);
    store.refund(&ada).await.unwrap();
    assert!(taken(&*store, &ada, later(1)).await);
    assert!(!taken(&*store, &ada, later(1)).await);
    store.refund(&[toll("nobody", 2)]).await.unwrap();
    // However much is given back, the limit is the limit.
    for _ in 0..9 {
        store.refund(&ada).await.unwrap();
    }
    let results = [taken(&*store, &ada, later(9)).await, taken(&*store, &ada, later(9)).await];
    assert_eq!((results, taken(&*store, &ada, later(9)).await), ([true, true], false));
}

pub(super) async fn of_many_attempts_at_once_as_many_are_taken_as_one_by_one(place: &impl Place) {
    for limit in [1, 7] {
        let results = at_once(place, 30, move |store| async move {
            let tolls = [toll(&format!("pair {limit}"), limit), toll("network", 100)];
            loop {
                match store.charge(&tolls, NOW).await {
                    Ok(charged) => break matches!(charged, Charged::Taken(_)),
                    Err(error) => assert!(matches!(error, StoreError::Unavailable(_)), "{error}"),
                }
            }
        })
        .await;
        let taken = results.iter().filter(|taken| **taken).count();
        assert_eq!(taken, usize::try_from(limit).unwrap());
    }
    let store = place.open().await;
    let Charged::Taken(left) = store.charge(&[toll("network", 100)], NOW).await.unwrap() else {
        panic!("eight of a hundred were taken")
    };
    assert_eq!(left[0].remaining, 91);
}

pub(super) async fn a_sweep_forgets_only_limits_that_are_as_good_as_new(place: &impl Place) {
    let store = place.open().await;
    let (short, long) = ([toll("short", 1)], [toll("long", 1)]);
    assert!(taken(&*store, &short, NOW).await && taken(&*store, &long, later(1)).await);
    assert!(!store.sweep_attempts(later(1)).await.unwrap());
    assert!(!taken(&*store, &long, later(1)).await);
    assert!(taken(&*store, &short, later(1)).await);
}

use std::time::Duration;

use futures_util::future::join_all;

use super::{Advance, NOW, Place, is_live, later, read, session, signed_in, step, user};
use crate::clock::Stopwatch;
use crate::id::Revoked;
use crate::store::StoreError;
use crate::store::rows::EndReason;

const LONG: Duration = Duration::from_secs(20);

pub(super) async fn what_was_acknowledged_outlives_the_handle(place: &impl Place) {
    let store = place.open().await;
    let (ada, sessions) = signed_in(&*store, "ada", 2).await;
    let step = step(1);
    assert_eq!(store.advance(sessions[0].id, &step).await.unwrap(), Advance::Done);
    store.end_session(sessions[1].id, EndReason::Logout, NOW, later(20)).await.unwrap();
    drop(store);

    let store = place.open().await;
    assert_eq!(store.user_by_login("ada").await.unwrap(), Some(ada));
    let session = read(&*store, sessions[0].id).await;
    assert_eq!((session.generation, session.current), (2, step.next));
    assert!(!is_live(&*store, sessions[1].id).await);
    assert_eq!(store.revocations(0, NOW).await.unwrap().len(), 1);
}

pub(super) async fn another_process_hears_of_a_revocation_within_half_a_second(place: &impl Place) {
    let (ours, theirs) = (place.open().await, place.open().await);
    let (_, sessions) = signed_in(&*theirs, "ada", 5).await;
    let mut heard_after = Vec::new();
    let mut sequence = 0;
    for session in &sessions {
        // What has happened so far is told at once; from here on there is silence.
        ours.changed(Duration::from_millis(300)).await.unwrap();
        let waiting = async {
            loop {
                let round = Stopwatch::start();
                ours.changed(LONG).await.unwrap();
                let new = ours.revocations(sequence, NOW).await.unwrap();
                if let Some(newest) = new.last() {
                    break newest.clone();
                }
                assert!(round.elapsed() < LONG, "it was never heard");
            }
        };
        let ending = async {
            theirs.end_session(session.id, EndReason::Operator, NOW, later(20)).await.unwrap();
            Stopwatch::start()
        };
        let (newest, since) = tokio::join!(waiting, ending);
        heard_after.push(since.elapsed());
        assert_eq!(newest.subject, Revoked::Session(session.id));
        sequence = newest.sequence;
    }
    // The median: a machine that stands still for a moment is not our delay.
    heard_after.sort_unstable();
    assert!(heard_after[2] < Duration::from_millis(500), "{heard_after:?}");
}

pub(super) async fn an_own_revocation_wakes_at_once(place: &impl Place) {
    let store = place.open().await;
    let (_, sessions) = signed_in(&*store, "ada", 1).await;
    store.changed(Duration::from_millis(300)).await.unwrap();
    let wait = async {
        while store.revocations(0, NOW).await.unwrap().is_empty() {
            let round = Stopwatch::start();
            store.changed(LONG).await.unwrap();
            assert!(round.elapsed() < LONG, "it was never heard");
        }
    };
    let end = store.end_session(sessions[0].id, EndReason::Logout, NOW, later(20));
    let ((), ended) = tokio::join!(wait, end);
    assert!(ended.unwrap());
    // One who was not waiting learns it as well.
    store.end_sessions_of(sessions[0].user, None, EndReason::Logout, NOW, NOW).await.unwrap();
    let round = Stopwatch::start();
    store.changed(LONG).await.unwrap();
    assert!(round.elapsed() < LONG);
}

pub(super) async fn a_wait_without_a_change_ends_in_time(place: &impl Place) {
    let store = place.open().await;
    store.changed(Duration::from_millis(300)).await.unwrap();
    let round = Stopwatch::start();
    store.changed(Duration::from_millis(50)).await.unwrap();
    assert!(round.elapsed() < Duration::from_secs(5));
}

pub(super) async fn a_locked_store_is_unavailable_in_bounded_time(place: &impl Place) {
    let store = place.open().await;
    let (ada, sessions) = signed_in(&*store, "ada", 1).await;
    let lock = place.lock().await;
    let round = Stopwatch::start();
    let (rotation, late) = (step(1), session(&ada));
    let (added, begun, advanced) = tokio::join!(
        store.add_user(&ada),
        store.begin_session(&late),
        store.advance(sessions[0].id, &rotation),
    );
    assert!(round.elapsed() < Duration::from_secs(5));
    assert!(matches!(added, Err(StoreError::Unavailable(_))), "{added:?}");
    assert!(matches!(begun, Err(StoreError::Unavailable(_))), "{begun:?}");
    assert!(matches!(advanced, Err(StoreError::Unavailable(_))), "{advanced:?}");
    // Who only reads is not kept waiting.
    assert_eq!(store.user(ada.id).await.unwrap(), Some(ada.clone()));
    store.ping().await.unwrap();
    drop(lock);

    // What was given up has not happened and does not happen later; the store has recovered.
    let bob = user("bob");
    while let Err(error) = store.add_user(&bob).await {
        assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
        assert!(round.elapsed() < LONG, "it did not recover");
    }
    assert_eq!(read(&*store, sessions[0].id).await, sessions[0]);
    assert!(store.session(late.id).await.unwrap().is_none());
    assert_eq!(store.advance(sessions[0].id, &step(1)).await.unwrap(), Advance::Done);
}

pub(super) async fn starting_many_times_at_once_makes_one_schema(place: &impl Place) {
    let stores = join_all((0..8).map(|_| place.open())).await;
    for (number, store) in stores.iter().enumerate() {
        store.add_user(&user(&format!("user{number}"))).await.unwrap();
    }
    assert_eq!(stores[0].users(None, 100).await.unwrap().len(), 8);
}

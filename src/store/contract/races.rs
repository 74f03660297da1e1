use std::sync::Arc;

use futures_util::future::join_all;
use tokio::sync::Barrier;

use super::keys::key;
use super::{Advance, NOW, Place, Store, is_live, later, read, session, signed_in, step, user};
use crate::store::StoreError;
use crate::store::rows::{EndReason, UserChange};

/// Runs `act` `times` times at once, by turns on two handles, each in a task of its own.
pub(super) async fn at_once<T, F>(
    place: &impl Place,
    times: usize,
    act: impl Fn(Arc<dyn Store>) -> F,
) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let handles = [place.open().await, place.open().await];
    let start = Arc::new(Barrier::new(times));
    let acts = handles.iter().cycle().take(times).map(|store| {
        let (store, start, act) = (store.clone(), Arc::clone(&start), act(store.clone()));
        tokio::spawn(async move {
            // Who must connect first comes too late to race.
            store.ping().await.expect("the store answers");
            start.wait().await;
            act.await
        })
    });
    let acts: Vec<_> = acts.collect();
    join_all(acts).await.into_iter().map(|act| act.expect("no act panics")).collect()
}

pub(super) async fn of_fifty_rotations_of_one_generation_exactly_one_is_done(place: &impl Place) {
    let store = place.open().await;
    let (_, sessions) = signed_in(&*store, "ada", 1).await;
    let id = sessions[0].id;
    let results = at_once(place, 50, move |store| async move {
        let step = step(1);
        (store.advance(id, &step).await.unwrap(), step)
    })
    .await;
    let won: Vec<_> = results.iter().filter(|(result, _)| *result == Advance::Done).collect();
    assert_eq!(won.len(), 1);
    let session = read(&*store, id).await;
    assert_eq!(session.generation, 2);
    assert_eq!(session.current, won[0].1.next, "the row holds the token of the one that won");
}

pub(super) async fn no_session_survives_the_disabling_it_raced(place: &impl Place) {
    let (one, two) = (place.open().await, place.open().await);
    for round in 0..20 {
        let ada = user(&format!("ada{round}"));
        one.add_user(&ada).await.unwrap();
        let session = session(&ada);
        let disable = UserChange { disabled: Some(true), ..UserChange::default() };
        let (begun, disabled) = tokio::join!(
            one.begin_session(&session),
            two.change_user(ada.id, &disable, None, NOW, later(20)),
        );
        disabled.unwrap();
        match begun {
            Ok(()) => assert!(!is_live(&*two, session.id).await, "begun before, so ended"),
            Err(StoreError::NoSuchUser) => {
                assert!(two.session(session.id).await.unwrap().is_none());
            }
            Err(error) => panic!("{error}"),
        }
    }
}

pub(super) async fn no_session_survives_the_removal_it_raced(place: &impl Place) {
    let (one, two) = (place.open().await, place.open().await);
    for round in 0..20 {
        let (ada, sessions) = signed_in(&*one, &format!("ada{round}"), 1).await;
        let late = session(&ada);
        let step = step(1);
        let (begun, advanced, removed) = tokio::join!(
            one.begin_session(&late),
            one.advance(sessions[0].id, &step),
            two.remove_user(ada.id, NOW, later(20)),
        );
        removed.unwrap();
        advanced.unwrap();
        assert!(matches!(begun, Ok(()) | Err(StoreError::NoSuchUser)), "{begun:?}");
        for id in [late.id, sessions[0].id] {
            assert!(two.session(id).await.unwrap().is_none());
        }
    }
}

pub(super) async fn of_twenty_signups_with_one_name_exactly_one_is_done(place: &impl Place) {
    let results = at_once(place, 20, |store| async move {
        let ada = user("ada");
        (store.add_user(&ada).await, ada)
    })
    .await;
    let (done, taken): (Vec<_>, Vec<_>) = results.into_iter().partition(|(done, _)| done.is_ok());
    assert_eq!(done.len(), 1);
    assert!(taken.iter().all(|(result, _)| matches!(result, Err(StoreError::NameTaken))));
    let found = place.open().await.user_by_login("ada").await.unwrap();
    assert_eq!(found.as_ref(), Some(&done[0].1));
}

pub(super) async fn of_many_keys_added_at_once_exactly_one_is(place: &impl Place) {
    let added =
        at_once(place, 20, |store| async move { store.add_key(&key(NOW), None).await.unwrap() })
            .await;
    assert_eq!(added.iter().filter(|added| **added).count(), 1);
    let store = place.open().await;
    let ring = store.keys().await.unwrap();
    assert_eq!(ring.len(), 1);

    for length in 2..12 {
        let newest = store.keys().await.unwrap().pop().map(|key| key.id);
        let added = at_once(place, 10, move |store| {
            let newest = newest.clone();
            async move { store.add_key(&key(NOW), newest.as_ref()).await.unwrap() }
        })
        .await;
        assert_eq!(added.iter().filter(|added| **added).count(), 1);
        assert_eq!(store.keys().await.unwrap().len(), length);
    }
}

pub(super) async fn a_session_is_ended_by_exactly_one_of_many(place: &impl Place) {
    let store = place.open().await;
    let (_, sessions) = signed_in(&*store, "ada", 1).await;
    let id = sessions[0].id;
    let ended = at_once(place, 20, move |store| async move {
        store.end_session(id, EndReason::Logout, NOW, later(20)).await.unwrap()
    })
    .await;
    assert_eq!(ended.iter().filter(|ended| **ended).count(), 1);
    assert_eq!(store.revocations(0, NOW).await.unwrap().len(), 1);
}

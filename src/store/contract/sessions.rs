use super::{
    Advance, MINUTE, NOW, Place, SessionId, Step, Timestamp, is_live, later, read, session,
    signed_in, step, user,
};
use futures_util::future::join_all;

use crate::id::{Revoked, TokenId};
use crate::store::StoreError;
use crate::store::rows::{EndReason, Ended, Session, UserChange};

pub(super) async fn a_session_is_read_back_as_it_was_written(place: &impl Place) {
    let store = place.open().await;
    let ada = user("ada");
    store.add_user(&ada).await.unwrap();
    let full = Session {
        generation: u64::from(u32::MAX) + 7,
        seen_generation: 3,
        amr: vec!["pwd".to_owned(), "otp".to_owned()],
        persistent: true,
        address: Some("2001:db8::1".parse().unwrap()),
        device: "Mozilla/5.0 ('\"; \\ é)".to_owned(),
        ended: Some(Ended { at: later(3), reason: EndReason::Replaced }),
        ..session(&ada)
    };
    for written in [session(&ada), full] {
        store.begin_session(&written).await.unwrap();
        let found = store.session(written.id).await.unwrap();
        assert_eq!(found, Some((written, ada.clone())));
    }
    assert_eq!(store.session(SessionId::generate().unwrap()).await.unwrap(), None);
}

pub(super) async fn a_session_needs_a_user_who_may_log_in(place: &impl Place) {
    let store = place.open().await;
    let ada = user("ada");
    let begun = store.begin_session(&session(&ada)).await;
    assert!(matches!(begun, Err(StoreError::NoSuchUser)), "unknown");
    store.add_user(&ada).await.unwrap();
    let disable = UserChange { disabled: Some(true), ..UserChange::default() };
    store.change_user(ada.id, &disable, None, NOW, later(1)).await.unwrap();
    let begun = store.begin_session(&session(&ada)).await;
    assert!(matches!(begun, Err(StoreError::NoSuchUser)), "disabled");
    assert!(store.sessions(Some(ada.id), NOW, 10).await.unwrap().is_empty());
}

pub(super) async fn an_advance_moves_only_from_the_expected_generation(place: &impl Place) {
    let store = place.open().await;
    let (_, sessions) = signed_in(&*store, "ada", 2).await;
    let (id, other) = (sessions[0].id, &sessions[1]);
    let first = step(1);
    assert_eq!(store.advance(id, &first).await.unwrap(), Advance::Done);
    let expected = Session {
        generation: 2,
        seen_generation: 1,
        current: first.next.clone(),
        rotated_at: first.at,
        idle_expires_at: first.idle_expires_at,
        ..sessions[0].clone()
    };
    assert_eq!(read(&*store, id).await, expected);
    assert_eq!(store.advance(id, &step(1)).await.unwrap(), Advance::Lost, "spent");
    assert_eq!(store.advance(id, &step(7)).await.unwrap(), Advance::Lost, "ahead");
    assert_eq!(read(&*store, id).await, expected);
    assert_eq!(&read(&*store, other.id).await, other, "each session by itself");
    // A store that went back is set to the generation that a token proves.
    let forward = Step { to: 9, ..step(2) };
    assert_eq!(store.advance(id, &forward).await.unwrap(), Advance::Done);
    assert_eq!(read(&*store, id).await.generation, 9);
    let unknown = SessionId::generate().unwrap();
    assert_eq!(store.advance(unknown, &step(1)).await.unwrap(), Advance::Lost);
}

pub(super) async fn an_ended_session_neither_advances_nor_idles_on(place: &impl Place) {
    let store = place.open().await;
    let (_, sessions) = signed_in(&*store, "ada", 1).await;
    let id = sessions[0].id;
    store.touch(id, later(15)).await.unwrap();
    assert_eq!(read(&*store, id).await.idle_expires_at, later(15));
    assert!(store.end_session(id, EndReason::Theft, later(2), later(20)).await.unwrap());
    store.touch(id, later(30)).await.unwrap();
    assert_eq!(store.advance(id, &step(1)).await.unwrap(), Advance::Lost);
    let left = read(&*store, id).await;
    assert_eq!((left.generation, left.idle_expires_at), (1, later(15)));
    store.touch(SessionId::generate().unwrap(), later(1)).await.unwrap();
}

pub(super) async fn sights_rise_and_never_fall(place: &impl Place) {
    let store = place.open().await;
    let (_, sessions) = signed_in(&*store, "ada", 2).await;
    let (a, b) = (sessions[0].id, sessions[1].id);
    let unknown = SessionId::generate().unwrap();
    store.seen(&[(a, 4), (unknown, 2), (b, 1), (a, 3)]).await.unwrap();
    store.seen(&[(a, 2), (b, 1)]).await.unwrap();
    store.seen(&[]).await.unwrap();
    assert_eq!(read(&*store, a).await.seen_generation, 4);
    assert_eq!(read(&*store, b).await.seen_generation, 1);
    store.advance(a, &step(1)).await.unwrap();
    assert_eq!(read(&*store, a).await.seen_generation, 4, "an advance does not lower it");
}

pub(super) async fn a_session_ends_once(place: &impl Place) {
    let store = place.open().await;
    let (_, sessions) = signed_in(&*store, "ada", 1).await;
    let id = sessions[0].id;
    assert!(store.end_session(id, EndReason::Logout, later(2), later(20)).await.unwrap());
    assert!(!store.end_session(id, EndReason::Theft, later(3), later(30)).await.unwrap());
    let ended = Ended { at: later(2), reason: EndReason::Logout };
    assert_eq!(read(&*store, id).await.ended, Some(ended));
    let refused = store.revocations(0, NOW).await.unwrap();
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].subject, Revoked::Session(id));
    assert_eq!(refused[0].expires_at, later(20));
    let unknown = SessionId::generate().unwrap();
    assert!(!store.end_session(unknown, EndReason::Logout, NOW, later(1)).await.unwrap());
}

pub(super) async fn all_sessions_of_one_user_end_but_the_kept_one(place: &impl Place) {
    let store = place.open().await;
    let (ada, mine) = signed_in(&*store, "ada", 3).await;
    let (_, theirs) = signed_in(&*store, "bob", 1).await;
    store.end_session(mine[0].id, EndReason::Logout, NOW, later(20)).await.unwrap();
    let ended = store
        .end_sessions_of(ada.id, Some(mine[1].id), EndReason::Operator, later(1), later(20))
        .await
        .unwrap();
    assert_eq!(ended, [mine[2].id]);
    assert!(is_live(&*store, mine[1].id).await);
    assert!(is_live(&*store, theirs[0].id).await);
    let reason = read(&*store, mine[2].id).await.ended.unwrap().reason;
    assert_eq!(reason, EndReason::Operator);
    let rest = store
        .end_sessions_of(ada.id, None, EndReason::Operator, later(2), later(20))
        .await
        .unwrap();
    assert_eq!(rest, [mine[1].id]);
    assert_eq!(store.revocations(0, NOW).await.unwrap().len(), 3);
}

pub(super) async fn live_sessions_are_listed_newest_first(place: &impl Place) {
    let store = place.open().await;
    let (ada, bob) = (user("Ada"), user("bob"));
    store.add_user(&ada).await.unwrap();
    store.add_user(&bob).await.unwrap();
    let at = |minute: u32, user| Session { created_at: later(minute), ..session(user) };
    let old = at(1, &ada);
    let new = at(3, &ada);
    let other = at(2, &bob);
    let idle = Session { idle_expires_at: later(4), ..session(&ada) };
    let expired = Session { expires_at: later(4), ..session(&ada) };
    let ended = session(&ada);
    for session in [&old, &new, &other, &idle, &expired, &ended] {
        store.begin_session(session).await.unwrap();
    }
    store.end_session(ended.id, EndReason::Logout, NOW, later(20)).await.unwrap();
    let of = |name: &str, session: &Session| (session.clone(), name.to_owned());
    let all = store.sessions(None, later(4), 10).await.unwrap();
    assert_eq!(all, [of("Ada", &new), of("bob", &other), of("Ada", &old)]);
    let hers = store.sessions(Some(ada.id), later(4), 10).await.unwrap();
    assert_eq!(hers, [of("Ada", &new), of("Ada", &old)]);
    assert_eq!(store.sessions(None, later(4), 1).await.unwrap(), [of("Ada", &new)]);
}

pub(super) async fn a_single_token_is_revoked_until_it_expires(place: &impl Place) {
    let store = place.open().await;
    let (first, second) = (TokenId::generate().unwrap(), TokenId::generate().unwrap());
    store.revoke_token(first, later(10)).await.unwrap();
    store.revoke_token(second, later(20)).await.unwrap();
    let all = store.revocations(0, NOW).await.unwrap();
    assert_eq!(all[0].subject, Revoked::Token(first));
    assert_eq!(all[1].subject, Revoked::Token(second));
    assert!(all[0].sequence < all[1].sequence);
    assert_eq!(store.revocations(all[0].sequence, NOW).await.unwrap(), all[1..]);
    assert_eq!(store.revocations(0, later(10)).await.unwrap(), all[1..]);
    assert!(store.revocations(all[1].sequence, NOW).await.unwrap().is_empty());
}

pub(super) async fn a_sweep_removes_what_is_over_and_nothing_else(place: &impl Place) {
    let store = place.open().await;
    let (ada, sessions) = signed_in(&*store, "ada", 3).await;
    let idle = Session { idle_expires_at: later(2), ..session(&ada) };
    let expired = Session { expires_at: later(2), ..session(&ada) };
    for session in [&idle, &expired] {
        store.begin_session(session).await.unwrap();
    }
    let [live, long_ended, just_ended] = sessions.as_slice() else { panic!("three devices") };
    store.end_session(long_ended.id, EndReason::Logout, later(1), later(4)).await.unwrap();
    store.end_session(just_ended.id, EndReason::Logout, later(4), later(8)).await.unwrap();
    let newest = store.revocations(0, NOW).await.unwrap()[1].sequence;

    assert!(!store.sweep(later(5), later(3)).await.unwrap());
    for gone in [&idle, &expired, long_ended] {
        assert!(store.session(gone.id).await.unwrap().is_none());
    }
    for kept in [live, just_ended] {
        assert!(store.session(kept.id).await.unwrap().is_some());
    }
    let left = store.revocations(0, NOW).await.unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].subject, Revoked::Session(just_ended.id));

    // A swept sequence is not given again: a reader who is past it would never see the new entry.
    assert!(!store.sweep(later(9), later(3)).await.unwrap());
    store.revoke_token(TokenId::generate().unwrap(), later(20)).await.unwrap();
    assert_eq!(store.revocations(newest, NOW).await.unwrap().len(), 1);
}

pub(super) async fn a_sweep_goes_in_small_batches(place: &impl Place) {
    let store = place.open().await;
    let end: Timestamp = NOW.plus(MINUTE);
    let revoke = || {
        let store = store.clone();
        async move {
            for _ in 0..100 {
                store.revoke_token(TokenId::generate().unwrap(), end).await.unwrap();
            }
        }
    };
    tokio::join!(revoke(), revoke(), revoke(), revoke(), revoke(), revoke());
    let mut rounds = 1;
    while store.sweep(later(2), NOW).await.unwrap() {
        rounds += 1;
    }
    assert_eq!(rounds, 2);
    assert!(store.revocations(0, NOW).await.unwrap().is_empty());
}

pub(super) async fn a_sweep_of_many_sessions_comes_to_its_end_and_starts_anew(place: &impl Place) {
    let store = place.open().await;
    let (ada, kept) = signed_in(&*store, "ada", 1).await;
    for _ in 0..2 {
        let begun: Vec<Session> =
            (0..600).map(|_| Session { expires_at: later(2), ..session(&ada) }).collect();
        for begun in begun.chunks(100) {
            let done = join_all(begun.iter().map(|one| store.begin_session(one))).await;
            done.into_iter().for_each(Result::unwrap);
        }
        let mut rounds = 1;
        while store.sweep(later(5), later(3)).await.unwrap() {
            rounds += 1;
        }
        assert_eq!(rounds, 2);
        for gone in &begun {
            assert!(store.session(gone.id).await.unwrap().is_none());
        }
        assert!(store.session(kept[0].id).await.unwrap().is_some());
    }
}

use std::net::IpAddr;

use super::{NOW, Place, Store, later, signed_in, user};
use crate::clock::Timestamp;
use crate::store::audit::{Actor, AuditEntry, AuditEvent, AuditFilter, AuditKind};

fn event(kind: AuditKind, minute: u32) -> AuditEvent {
    AuditEvent::new(kind, later(minute))
}

async fn all(store: &dyn Store) -> Vec<AuditEvent> {
    list(store, &AuditFilter::default()).await
}

async fn list(store: &dyn Store, filter: &AuditFilter) -> Vec<AuditEvent> {
    let entries = store.audit(filter, 10_000).await.unwrap();
    assert!(entries.is_sorted_by(|a, b| a.sequence > b.sequence), "newest first");
    entries.into_iter().map(|entry| entry.event).collect()
}

pub(super) async fn an_event_is_read_back_as_it_was_written(place: &impl Place) {
    let store = place.open().await;
    let (ada, sessions) = signed_in(&*store, "Ada", 1).await;
    let client: IpAddr = "2001:db8::7".parse().unwrap();
    let full = AuditEvent {
        count: 7,
        ..event(AuditKind::UserChanged, 1)
            .because("operator")
            .by(Actor::Operator("root".to_owned()))
            .of(&ada)
            .in_session(sessions[0].id)
            .from(client)
            .about("+role:Łukasz's \"own\"; DROP TABLE audit --")
    };
    let bare = event(AuditKind::KeyAdded, 2).by(Actor::Gateway);
    store.record(&[full.clone(), bare.clone()]).await.unwrap();
    store.record(&[]).await.unwrap();
    assert_eq!(all(&*store).await, [bare, full]);
}

pub(super) async fn the_store_fills_in_whose_session_it_was(place: &impl Place) {
    let store = place.open().await;
    let (ada, sessions) = signed_in(&*store, "Ada", 1).await;
    let ended = event(AuditKind::SessionEnded, 1).in_session(sessions[0].id);
    let by_id = event(AuditKind::PasswordChanged, 2).of_id(ada.id);
    store.record(&[ended, by_id]).await.unwrap();
    for event in all(&*store).await {
        assert_eq!((event.user, event.login.as_deref()), (Some(ada.id), Some("Ada")), "{event:?}");
    }
    // The record outlives the account.
    store.remove_user(ada.id, later(3), later(20)).await.unwrap();
    let filter = AuditFilter { user: Some(ada.id), ..AuditFilter::default() };
    assert_eq!(list(&*store, &filter).await.len(), 2);
}

pub(super) async fn events_are_found_by_time_account_and_kind(place: &impl Place) {
    let store = place.open().await;
    let (ada, bob) = (user("Ada"), user("bob"));
    let events = [
        event(AuditKind::Login, 1).of(&ada),
        event(AuditKind::LoginFailed, 2).of(&bob),
        event(AuditKind::LoginFailed, 3),
        event(AuditKind::Login, 4).of(&bob),
    ];
    store.record(&events).await.unwrap();
    let [first, second, third, fourth] = &events;
    let any = AuditFilter::default;
    for (filter, expected) in [
        (AuditFilter { since: Some(later(3)), ..any() }, vec![fourth, third]),
        (AuditFilter { user: Some(bob.id), ..any() }, vec![fourth, second]),
        (AuditFilter { login: Some("Ada".to_owned()), ..any() }, vec![first]),
        (AuditFilter { login: Some("ada".to_owned()), ..any() }, vec![]),
        (AuditFilter { kind: Some(AuditKind::LoginFailed), ..any() }, vec![third, second]),
        (
            AuditFilter {
                since: Some(later(2)),
                user: Some(bob.id),
                kind: Some(AuditKind::LoginFailed),
                ..any()
            },
            vec![second],
        ),
    ] {
        assert_eq!(list(&*store, &filter).await.iter().collect::<Vec<_>>(), expected, "{filter:?}");
    }
    let page = store.audit(&any(), 3).await.unwrap();
    let last = page.last().map(|AuditEntry { sequence, .. }| *sequence);
    assert_eq!(page.len(), 3);
    let rest = list(&*store, &AuditFilter { before: last, ..any() }).await;
    assert_eq!(rest.iter().collect::<Vec<_>>(), [first]);
}

async fn swept(store: &dyn Store, before: Timestamp, most: u64) {
    let mut rounds = 0;
    while store.sweep_audit(before, most).await.unwrap() {
        rounds += 1;
        assert!(rounds < 20, "a sweep comes to an end");
    }
}

pub(super) async fn old_events_are_swept_and_a_flood_goes_before_the_rest(place: &impl Place) {
    let store = place.open().await;
    let flood: Vec<_> = (0..1200).map(|_| event(AuditKind::LoginFailed, 5)).collect();
    store.record(&[event(AuditKind::AppAdded, 1), event(AuditKind::AppRemoved, 2)]).await.unwrap();
    store.record(&flood).await.unwrap();
    store.record(&[event(AuditKind::KeyAdded, 6)]).await.unwrap();
    assert_eq!(all(&*store).await.len(), 1203);

    swept(&*store, NOW, 10_000).await;
    assert_eq!(all(&*store).await.len(), 1203, "nothing is old, and there is room");
    swept(&*store, NOW, 103).await;
    let kinds = |events: &[AuditEvent]| events.iter().map(|event| event.kind).collect::<Vec<_>>();
    let left = all(&*store).await;
    assert_eq!(left.len(), 103);
    assert_eq!(left.iter().filter(|event| event.kind == AuditKind::LoginFailed).count(), 100);
    // Without a flood the oldest go.
    swept(&*store, NOW, 2).await;
    assert_eq!(kinds(&all(&*store).await), [AuditKind::KeyAdded, AuditKind::AppRemoved]);
    swept(&*store, later(6), 100).await;
    assert_eq!(kinds(&all(&*store).await), [AuditKind::KeyAdded]);
}

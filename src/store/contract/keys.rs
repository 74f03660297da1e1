use super::{KeyId, NOW, Place, Timestamp, later};
use crate::config::{self, StoreUrl};
use crate::secret::Secret;
use crate::store::StoreError;
use crate::store::rows::KeyRow;
use crate::store::seal::Seal;

pub(super) fn key(created_at: Timestamp) -> KeyRow {
    let secret = crate::secret::random::<32>().unwrap();
    KeyRow {
        id: KeyId::generate().unwrap(),
        secret: Secret::new(secret.to_vec()),
        active_from: created_at,
        created_at,
    }
}

pub(super) async fn a_key_is_added_only_behind_the_newest(place: &impl Place) {
    let store = place.open().await;
    let [first, second, third] = [key(NOW), key(later(1)), key(later(2))];
    assert!(!store.add_key(&second, Some(&first.id)).await.unwrap(), "behind nothing");
    assert!(store.add_key(&first, None).await.unwrap());
    assert!(!store.add_key(&second, None).await.unwrap(), "the ring is not empty any more");
    // Added later by a clock that is behind: still the newest.
    let second = KeyRow { created_at: NOW, ..second };
    assert!(store.add_key(&second, Some(&first.id)).await.unwrap());
    assert!(!store.add_key(&third, Some(&first.id)).await.unwrap(), "another was quicker");
    assert!(store.add_key(&third, Some(&second.id)).await.unwrap());
    let ring = store.keys().await.unwrap();
    for (kept, added) in ring.iter().zip([&first, &second, &third]) {
        assert_eq!(kept.id, added.id);
        assert_eq!(kept.secret, added.secret);
        assert_eq!((kept.active_from, kept.created_at), (added.active_from, added.created_at));
    }
    assert_eq!(ring.len(), 3);
}

pub(super) async fn the_newest_key_is_never_dropped(place: &impl Place) {
    let store = place.open().await;
    let [first, second, third] = [key(NOW), key(later(1)), key(later(2))];
    store.drop_keys(later(9)).await.unwrap();
    assert!(store.add_key(&first, None).await.unwrap());
    assert!(store.add_key(&second, Some(&first.id)).await.unwrap());
    assert!(store.add_key(&third, Some(&second.id)).await.unwrap());
    let ids = || async {
        let ring = store.keys().await.unwrap();
        ring.into_iter().map(|key| key.id).collect::<Vec<_>>()
    };
    store.drop_keys(later(1)).await.unwrap();
    assert_eq!(ids().await, [second.id.clone(), third.id.clone()]);
    store.drop_keys(later(9)).await.unwrap();
    assert_eq!(ids().await, std::slice::from_ref(&third.id));
    assert!(!store.add_key(&key(NOW), Some(&first.id)).await.unwrap(), "behind a dropped one");
}

/// A seal of a key and of one that was in use before.
fn seal(key: Option<u8>, retired: Option<u8>) -> Seal {
    let secret = |byte: u8| Secret::new(vec![byte; 32]);
    Seal::of(&config::Store {
        seal_key: key.map(secret),
        retired_seal_keys: retired.map(secret).into_iter().collect(),
        ..config::Store::at(StoreUrl::Sqlite("nowhere".into()))
    })
}

pub(super) async fn sealed_keys_are_read_by_who_has_the_seal_and_by_nobody_else(
    place: &impl Place,
) {
    let (open, sealed) = (place.open().await, place.open_with(seal(Some(1), None)).await);
    let (first, second) = (key(NOW), key(later(1)));
    assert!(open.add_key(&first, None).await.unwrap());
    // What is there from before is read, and what comes is sealed.
    assert!(sealed.add_key(&second, Some(&first.id)).await.unwrap());
    let ring = sealed.keys().await.unwrap();
    assert_eq!(ring.len(), 2);
    assert_eq!(ring[1].secret, second.secret);
    for other in [open, place.open_with(seal(Some(2), None)).await] {
        let error = other.keys().await.unwrap_err();
        assert!(matches!(error, StoreError::Unreadable(_)), "{error}");
        assert!(error.to_string().contains("store.seal_key"), "{error}");
    }
}

pub(super) async fn resealing_brings_every_key_under_the_present_seal(place: &impl Place) {
    let first = place.open_with(seal(Some(1), None)).await;
    let (one, two) = (key(NOW), key(later(1)));
    assert!(place.open().await.add_key(&one, None).await.unwrap());
    assert!(first.add_key(&two, Some(&one.id)).await.unwrap());
    assert_eq!(first.reseal_keys().await.unwrap(), 1, "the one that was not sealed");
    let second = place.open_with(seal(Some(2), Some(1))).await;
    assert_eq!(second.keys().await.unwrap().len(), 2, "the retired one still opens");
    assert_eq!(second.reseal_keys().await.unwrap(), 2);
    assert_eq!(second.reseal_keys().await.unwrap(), 0);
    assert!(first.keys().await.is_err(), "the retired one alone does not");
    let alone = place.open_with(seal(Some(2), None)).await;
    assert_eq!(alone.keys().await.unwrap()[1].secret, two.secret);
    let off = place.open_with(seal(None, Some(2))).await;
    assert_eq!(off.reseal_keys().await.unwrap(), 2, "sealing can be given up");
    assert_eq!(place.open().await.keys().await.unwrap()[0].secret, one.secret);
}

use super::{KeyId, NOW, Place, Timestamp, later};
use crate::secret::Secret;
use crate::store::rows::KeyRow;

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

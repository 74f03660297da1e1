use super::{NOW, Place, Store, is_live, later, session, signed_in, user};
use crate::id::{Revoked, SessionId, UserId};
use crate::secret::PasswordHash;
use crate::store::StoreError;
use crate::store::rows::{User, UserChange};

fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(|&word| word.to_owned()).collect()
}

fn password(text: &str) -> Option<PasswordHash> {
    Some(PasswordHash::new(text.to_owned()))
}

async fn change(
    store: &dyn Store,
    user: &User,
    change: UserChange,
    keep: Option<SessionId>,
) -> Result<User, StoreError> {
    store.change_user(user.id, &change, keep, later(1), later(20)).await
}

async fn refused(store: &dyn Store) -> Vec<Revoked> {
    let entries = store.revocations(0, NOW).await.unwrap();
    entries.into_iter().map(|entry| entry.subject).collect()
}

pub(super) async fn a_user_is_read_back_as_it_was_written(place: &impl Place) {
    let store = place.open().await;
    assert!(!store.has_users().await.unwrap());
    let ada = User {
        name: Some("Ada \"L'\" Łovelace; DROP TABLE users -- 🗝".to_owned()),
        email: Some("ada@example.test".to_owned()),
        roles: words(&["editor", "it's", "\u{202e}x"]),
        permissions: words(&["admin"]),
        ..user("Ada")
    };
    let bob = User { password: None, disabled: true, ..user("bob") };
    for user in [&ada, &bob] {
        store.add_user(user).await.unwrap();
        assert_eq!(store.user(user.id).await.unwrap().as_ref(), Some(user));
        assert_eq!(store.user_by_login(&user.login_key).await.unwrap().as_ref(), Some(user));
    }
    assert!(store.has_users().await.unwrap());
    // The key is compared as it is: folding is the caller's business, and none of the database's.
    assert_eq!(store.user_by_login("Ada").await.unwrap(), None);
    assert_eq!(store.user(UserId::generate(NOW).unwrap()).await.unwrap(), None);
    store.ping().await.unwrap();
}

pub(super) async fn a_name_is_taken_once(place: &impl Place) {
    let store = place.open().await;
    let first = user("ada");
    store.add_user(&first).await.unwrap();
    let second = User { login: "ADA".to_owned(), ..user("ada") };
    assert!(matches!(store.add_user(&second).await, Err(StoreError::NameTaken)));
    assert_eq!(store.user_by_login("ada").await.unwrap(), Some(first));
    assert_eq!(store.user(second.id).await.unwrap(), None);
}

pub(super) async fn users_come_in_pages_in_the_order_of_their_keys(place: &impl Place) {
    let store = place.open().await;
    // By bytes, whatever language the database believes to speak.
    let names = ["_", "b", "a-b", "ab", "aa", "é"];
    for name in names {
        store.add_user(&user(name)).await.unwrap();
    }
    let mut sorted = names;
    sorted.sort_unstable();
    let keys = |page: Vec<User>| page.into_iter().map(|user| user.login_key).collect::<Vec<_>>();
    assert_eq!(keys(store.users(None, 100).await.unwrap()), sorted);
    assert_eq!(keys(store.users(None, 2).await.unwrap()), sorted[..2]);
    assert_eq!(keys(store.users(Some(sorted[1]), 3).await.unwrap()), sorted[2..5]);
    assert!(store.users(Some("é"), 3).await.unwrap().is_empty());
}

pub(super) async fn roles_and_permissions_are_granted_and_taken(place: &impl Place) {
    let store = place.open().await;
    let (ada, sessions) = signed_in(&*store, "ada", 1).await;
    let grant = UserChange {
        grant_roles: words(&["writer", "editor", "writer"]),
        grant_permissions: words(&["publish"]),
        ..UserChange::default()
    };
    let granted = change(&*store, &ada, grant, None).await.unwrap();
    assert_eq!(granted.roles, words(&["editor", "writer"]));
    let take = UserChange {
        grant_roles: words(&["reader"]),
        revoke_roles: words(&["editor", "never held"]),
        revoke_permissions: words(&["publish"]),
        ..UserChange::default()
    };
    let taken = change(&*store, &ada, take, None).await.unwrap();
    assert_eq!(taken.roles, words(&["reader", "writer"]));
    assert!(taken.permissions.is_empty());
    assert_eq!(store.user(ada.id).await.unwrap(), Some(taken));
    assert!(is_live(&*store, sessions[0].id).await, "a grant ends nothing");
    // But the tokens of before say what is no longer so.
    let refused = refused(&*store).await;
    assert!(!refused.is_empty());
    assert!(refused.iter().all(|one| *one == Revoked::User(ada.id, later(1))), "{refused:?}");
}

pub(super) async fn a_new_password_ends_all_sessions_but_the_kept_one(place: &impl Place) {
    let store = place.open().await;
    let (ada, sessions) = signed_in(&*store, "ada", 3).await;
    let (_, others) = signed_in(&*store, "bob", 1).await;
    let new = UserChange { password: password("$argon2id$second"), ..UserChange::default() };
    let changed = change(&*store, &ada, new, Some(sessions[1].id)).await.unwrap();
    assert_eq!(changed.password, password("$argon2id$second"));
    assert!(is_live(&*store, sessions[1].id).await);
    assert!(is_live(&*store, others[0].id).await);
    let refused = refused(&*store).await;
    assert_eq!(refused.len(), 2);
    for ended in [&sessions[0], &sessions[2]] {
        assert!(!is_live(&*store, ended.id).await);
        assert!(refused.contains(&Revoked::Session(ended.id)));
    }
}

pub(super) async fn a_rehash_ends_no_session_and_undoes_no_change(place: &impl Place) {
    let store = place.open().await;
    let (ada, sessions) = signed_in(&*store, "ada", 1).await;
    let rehash = UserChange {
        password: password("$argon2id$rehashed"),
        only_if_password: ada.password.clone(),
        rehash: true,
        grant_roles: words(&["rider"]),
        ..UserChange::default()
    };
    let rehashed = change(&*store, &ada, rehash.clone(), None).await.unwrap();
    assert_eq!(rehashed.password, password("$argon2id$rehashed"));
    assert!(is_live(&*store, sessions[0].id).await);

    let late = UserChange { password: password("$argon2id$late"), ..rehash };
    let left = change(&*store, &ada, late, None).await.unwrap();
    assert_eq!(left, rehashed);
    assert_eq!(store.user(ada.id).await.unwrap(), Some(rehashed));
    let refused = refused(&*store).await;
    assert!(refused.iter().all(|one| *one == Revoked::User(ada.id, later(1))), "{refused:?}");
}

pub(super) async fn disabling_ends_every_session_and_refuses_the_user_as_of_now(
    place: &impl Place,
) {
    let store = place.open().await;
    let (ada, sessions) = signed_in(&*store, "ada", 2).await;
    let disable = UserChange { disabled: Some(true), ..UserChange::default() };
    assert!(change(&*store, &ada, disable, None).await.unwrap().disabled);
    for session in &sessions {
        assert!(!is_live(&*store, session.id).await);
    }
    let before = refused(&*store).await;
    assert_eq!(before.len(), 3);
    assert!(before.contains(&Revoked::User(ada.id, later(1))));

    let enable = UserChange { disabled: Some(false), ..UserChange::default() };
    assert!(!change(&*store, &ada, enable, None).await.unwrap().disabled);
    assert_eq!(refused(&*store).await, before, "what was ended stays ended");
    assert!(!is_live(&*store, sessions[0].id).await);
    store.begin_session(&session(&ada)).await.unwrap();
}

pub(super) async fn a_removed_user_leaves_no_session_and_is_refused(place: &impl Place) {
    let store = place.open().await;
    let (ada, sessions) = signed_in(&*store, "ada", 2).await;
    store.remove_user(ada.id, later(1), later(20)).await.unwrap();
    assert_eq!(store.user(ada.id).await.unwrap(), None);
    assert!(!store.has_users().await.unwrap());
    for session in &sessions {
        assert!(store.session(session.id).await.unwrap().is_none());
    }
    let refused = refused(&*store).await;
    assert!(refused.contains(&Revoked::User(ada.id, later(1))));
    assert!(refused.contains(&Revoked::Session(sessions[0].id)));
    store.add_user(&user("ada")).await.unwrap();
}

pub(super) async fn an_unknown_user_cannot_be_changed(place: &impl Place) {
    let store = place.open().await;
    let nobody = user("nobody");
    let disable = UserChange { disabled: Some(true), ..UserChange::default() };
    let changed = change(&*store, &nobody, disable, None).await;
    assert!(matches!(changed, Err(StoreError::NoSuchUser)));
    let removed = store.remove_user(nobody.id, NOW, later(1)).await;
    assert!(matches!(removed, Err(StoreError::NoSuchUser)));
    assert!(refused(&*store).await.is_empty());
}

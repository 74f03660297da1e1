use std::sync::Arc;

use super::races::at_once;
use super::{NOW, Place, Store, is_live, later, session, signed_in, user};
use crate::clock::Timestamp;
use crate::id::UserId;
use crate::secret::{PasswordHash, Secret};
use crate::store::StoreError;
use crate::store::links::{Link, LinkHash, LinkKind};
use crate::store::rows::UserChange;

fn hash(secret: &str) -> LinkHash {
    LinkHash::of(&Secret::new(secret.to_owned()))
}

fn link(kind: LinkKind, secret: &str, user: Option<UserId>) -> Link {
    Link {
        hash: hash(secret),
        kind,
        user,
        roles: vec!["editor".to_owned(), "it's".to_owned()],
        permissions: vec!["publish".to_owned()],
        created_at: NOW,
        expires_at: later(60),
    }
}

fn password() -> PasswordHash {
    PasswordHash::new("$argon2id$reset".to_owned())
}

async fn is_spent(store: &dyn Store, secret: &str, now: Timestamp) -> bool {
    store.link(&hash(secret), now).await.unwrap().is_none()
}

pub(super) async fn a_link_is_read_back_until_its_end_and_by_its_hash_alone(place: &impl Place) {
    let store = place.open().await;
    let ada = user("ada");
    let setup = link(LinkKind::Setup, "setup", None);
    store.add_link(&setup).await.unwrap();
    assert_eq!(store.link(&setup.hash, NOW).await.unwrap().as_ref(), Some(&setup));
    store.add_user(&ada).await.unwrap();
    assert!(is_spent(&*store, "setup", NOW).await, "there is an account already");
    for one in
        [link(LinkKind::Invite, "invite", None), link(LinkKind::Reset, "reset", Some(ada.id))]
    {
        store.add_link(&one).await.unwrap();
        assert_eq!(store.link(&one.hash, NOW).await.unwrap().as_ref(), Some(&one));
        assert_eq!(store.link(&one.hash, later(60)).await.unwrap(), None, "late");
    }
    assert!(is_spent(&*store, "another", NOW).await);
    let of_nobody = link(LinkKind::Reset, "nobody", Some(user("nobody").id));
    assert!(matches!(store.add_link(&of_nobody).await, Err(StoreError::NoSuchUser)));
}

pub(super) async fn an_invitation_makes_one_account(place: &impl Place) {
    let store = place.open().await;
    let (ada, bob) = (user("ada"), user("bob"));
    store.add_user(&ada).await.unwrap();
    store.add_link(&link(LinkKind::Invite, "a", None)).await.unwrap();
    let invited = hash("a");
    let use_by = |kind, who, now| store.sign_up_by_link(&invited, kind, who, now);
    let late = use_by(LinkKind::Invite, &bob, later(60)).await;
    assert!(matches!(late, Err(StoreError::NoSuchLink)), "late");
    let as_setup = use_by(LinkKind::Setup, &bob, NOW).await;
    assert!(matches!(as_setup, Err(StoreError::NoSuchLink)), "of another kind");
    let taken = use_by(LinkKind::Invite, &ada, NOW).await;
    assert!(matches!(taken, Err(StoreError::NameTaken)));
    assert!(!is_spent(&*store, "a", NOW).await, "another name may be chosen");
    use_by(LinkKind::Invite, &bob, NOW).await.unwrap();
    assert_eq!(store.user(bob.id).await.unwrap().as_ref(), Some(&bob));
    let again = use_by(LinkKind::Invite, &user("eve"), NOW).await;
    assert!(matches!(again, Err(StoreError::NoSuchLink)), "twice");
    assert_eq!(store.user_by_login("eve").await.unwrap(), None);
}

pub(super) async fn a_setup_makes_the_first_account_and_spends_all_its_like(place: &impl Place) {
    let store = place.open().await;
    for secret in ["one", "two"] {
        store.add_link(&link(LinkKind::Setup, secret, None)).await.unwrap();
    }
    store.add_link(&link(LinkKind::Invite, "guest", None)).await.unwrap();
    let ada = user("ada");
    store.sign_up_by_link(&hash("one"), LinkKind::Setup, &ada, NOW).await.unwrap();
    for secret in ["one", "two"] {
        let bob = user("bob");
        let done = store.sign_up_by_link(&hash(secret), LinkKind::Setup, &bob, NOW).await;
        assert!(matches!(done, Err(StoreError::NoSuchLink)));
    }
    assert!(!is_spent(&*store, "guest", NOW).await);
    // Even when nobody is left, a link of before is no way in.
    store.remove_user(ada.id, NOW, later(20)).await.unwrap();
    assert!(is_spent(&*store, "two", NOW).await);
}

pub(super) async fn a_reset_sets_the_password_ends_all_sessions_and_spends_its_like(
    place: &impl Place,
) {
    let store = place.open().await;
    let (ada, sessions) = signed_in(&*store, "ada", 2).await;
    let (bob, others) = signed_in(&*store, "bob", 1).await;
    for (secret, whose) in [("one", &ada), ("two", &ada), ("other", &bob)] {
        store.add_link(&link(LinkKind::Reset, secret, Some(whose.id))).await.unwrap();
    }
    store.add_link(&link(LinkKind::Invite, "guest", None)).await.unwrap();
    for (secret, now) in [("one", later(60)), ("guest", NOW), ("never", NOW)] {
        let done = store.reset_by_link(&hash(secret), &password(), now, later(90)).await;
        assert!(matches!(done, Err(StoreError::NoSuchLink)), "{secret}");
    }
    assert_eq!(store.user(ada.id).await.unwrap().as_ref(), Some(&ada));
    let reset = store.reset_by_link(&hash("one"), &password(), NOW, later(20)).await.unwrap();
    assert_eq!((reset.id, &reset.password), (ada.id, &Some(password())));
    assert_eq!(store.user(ada.id).await.unwrap(), Some(reset));
    for session in &sessions {
        assert!(!is_live(&*store, session.id).await);
    }
    assert_eq!(store.revocations(0, NOW).await.unwrap().len(), 2);
    assert!(is_live(&*store, others[0].id).await);
    for secret in ["one", "two"] {
        let again = store.reset_by_link(&hash(secret), &password(), NOW, later(20)).await;
        assert!(matches!(again, Err(StoreError::NoSuchLink)), "{secret}");
    }
    assert!(!is_spent(&*store, "other", NOW).await);
}

pub(super) async fn a_new_password_a_ban_and_a_removal_spend_the_reset_links(place: &impl Place) {
    let store = place.open().await;
    let new = UserChange { password: Some(password()), ..UserChange::default() };
    let ban = UserChange { disabled: Some(true), ..UserChange::default() };
    let rights = UserChange { grant_roles: vec!["rider".to_owned()], ..UserChange::default() };
    for (name, change, spent) in [
        ("ada", Some(new), true),
        ("bob", Some(ban), true),
        ("cat", Some(rights), false),
        ("dan", None, true),
    ] {
        let user = user(name);
        store.add_user(&user).await.unwrap();
        store.add_link(&link(LinkKind::Reset, name, Some(user.id))).await.unwrap();
        match change {
            Some(change) => {
                store.change_user(user.id, &change, None, NOW, later(20)).await.unwrap();
            }
            None => store.remove_user(user.id, NOW, later(20)).await.unwrap(),
        }
        assert_eq!(is_spent(&*store, name, NOW).await, spent, "{name}");
    }
}

pub(super) async fn links_that_are_over_are_swept(place: &impl Place) {
    let store = place.open().await;
    store.add_link(&link(LinkKind::Invite, "a", None)).await.unwrap();
    store.sweep(later(59), NOW).await.unwrap();
    assert!(!is_spent(&*store, "a", NOW).await);
    store.sweep(later(60), NOW).await.unwrap();
    assert!(is_spent(&*store, "a", NOW).await, "the row itself is gone");
}

pub(super) async fn open_links_are_listed_and_can_be_withdrawn(place: &impl Place) {
    let store = place.open().await;
    let setup = link(LinkKind::Setup, "setup", None);
    store.add_link(&setup).await.unwrap();
    assert_eq!(store.links(NOW, 9).await.unwrap(), [(setup.clone(), None)]);
    let ada = user("ada");
    store.add_user(&ada).await.unwrap();
    assert_eq!(store.links(NOW, 9).await.unwrap(), [], "of no use any more");
    let invite = link(LinkKind::Invite, "invite", None);
    let made_later = Link { created_at: later(1), expires_at: later(90), ..invite };
    let reset = link(LinkKind::Reset, "reset", Some(ada.id));
    for one in [&made_later, &reset] {
        store.add_link(one).await.unwrap();
    }
    let (of_ada, of_nobody) = ((reset.clone(), Some("ada".to_owned())), (made_later.clone(), None));
    let both = [of_nobody.clone(), of_ada];
    assert_eq!(store.links(later(2), 9).await.unwrap(), both, "the newest first");
    assert_eq!(store.links(later(2), 1).await.unwrap(), std::slice::from_ref(&of_nobody));
    assert_eq!(store.links(later(60), 9).await.unwrap(), [of_nobody]);
    assert!(!store.withdraw_link(&reset.hash, later(60)).await.unwrap(), "it is over");
    assert!(!store.withdraw_link(&hash("another"), NOW).await.unwrap());
    assert!(store.withdraw_link(&made_later.hash, NOW).await.unwrap());
    assert!(!store.withdraw_link(&made_later.hash, NOW).await.unwrap(), "there is one");
    let late = store.sign_up_by_link(&made_later.hash, LinkKind::Invite, &user("bob"), NOW).await;
    assert!(matches!(late, Err(StoreError::NoSuchLink)));
    assert!(!is_spent(&*store, "reset", NOW).await, "the other one is as before");
}

pub(super) async fn of_many_setups_at_once_exactly_one_makes_an_account(place: &impl Place) {
    let store = place.open().await;
    for n in 0..20 {
        store.add_link(&link(LinkKind::Setup, &n.to_string(), None)).await.unwrap();
    }
    let next = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let results = at_once(place, 20, move |store| {
        let n = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed).to_string();
        async move {
            let ada = user(&format!("ada{n}"));
            store.sign_up_by_link(&hash(&n), LinkKind::Setup, &ada, NOW).await
        }
    })
    .await;
    let (done, refused): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    assert_eq!(done.len(), 1);
    assert!(refused.iter().all(|one| matches!(one, Err(StoreError::NoSuchLink))), "{refused:?}");
    assert_eq!(store.users(None, 100).await.unwrap().len(), 1);
}

pub(super) async fn of_many_uses_of_one_link_exactly_one_is_done(place: &impl Place) {
    let store = place.open().await;
    let (ada, _) = signed_in(&*store, "ada", 1).await;
    store.add_link(&link(LinkKind::Invite, "invite", None)).await.unwrap();
    let made = at_once(place, 20, |store| async move {
        let guest = user(&UserId::generate(NOW).unwrap().to_string());
        store.sign_up_by_link(&hash("invite"), LinkKind::Invite, &guest, NOW).await
    })
    .await;
    assert_eq!(made.iter().filter(|one| one.is_ok()).count(), 1);
    assert_eq!(store.users(None, 100).await.unwrap().len(), 2);
    for n in 0..10 {
        store.add_link(&link(LinkKind::Reset, &format!("r{n}"), Some(ada.id))).await.unwrap();
    }
    // Ten links of one account, each used twice: the first spends all the others.
    let next = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let reset = at_once(place, 20, move |store| {
        let n = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % 10;
        async move {
            let hash = hash(&format!("r{n}"));
            store.reset_by_link(&hash, &password(), NOW, later(20)).await
        }
    })
    .await;
    let (done, refused): (Vec<_>, Vec<_>) = reset.into_iter().partition(Result::is_ok);
    assert_eq!(done.len(), 1);
    assert!(refused.iter().all(|one| matches!(one, Err(StoreError::NoSuchLink))), "{refused:?}");
    store.begin_session(&session(&ada)).await.unwrap();
}

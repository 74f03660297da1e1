use super::{NOW, Place, Store, later, user};
use crate::clock::Timestamp;
use crate::id::{AppId, Revoked, TokenId};
use crate::secret::Secret;
use crate::store::StoreError;
use crate::store::apps::{APP_SECRETS_MAX, App, AppChange, AppSecret, MintedToken};

fn id(name: &str) -> AppId {
    name.parse().unwrap()
}

fn secret(id: &str) -> AppSecret {
    AppSecret {
        id: id.to_owned(),
        salt: vec![7; 16],
        hash: Secret::new(vec![0, 1, 254, 255]),
        created_at: later(1),
    }
}

fn app(name: &str) -> App {
    App {
        id: id(name),
        name: None,
        secrets: vec![secret("00000001")],
        roles: Vec::new(),
        permissions: vec!["read".to_owned(), "write".to_owned()],
        disabled: false,
        created_at: NOW,
    }
}

fn token(app: &str, subject: &str, expires_at: Timestamp) -> MintedToken {
    let id = TokenId::generate().unwrap();
    MintedToken { id, app: app.parse().unwrap(), subject: subject.to_owned(), expires_at }
}

async fn change(store: &dyn Store, name: &str, change: AppChange) -> Result<App, StoreError> {
    store.change_app(&id(name), &change, later(1), later(20)).await
}

async fn refused(store: &dyn Store) -> Vec<Revoked> {
    let entries = store.revocations(0, NOW).await.unwrap();
    entries.into_iter().map(|entry| entry.subject).collect()
}

/// Sweeps until nothing is left to do.
async fn sweep(store: &dyn Store, now: Timestamp) {
    while store.sweep(now, NOW).await.unwrap() {}
}

pub(super) async fn an_app_is_read_back_as_it_was_written(place: &impl Place) {
    let store = place.open().await;
    assert!(store.apps().await.unwrap().is_empty());
    let quest = App {
        name: Some("Quest \"Kit\"; DROP TABLE apps -- 🗝".to_owned()),
        secrets: vec![secret("00000001"), secret("00000002")],
        roles: vec!["player".to_owned()],
        ..app("quest.kit-2_x")
    };
    let other = App { secrets: Vec::new(), permissions: Vec::new(), disabled: true, ..app("a") };
    for app in [&quest, &other] {
        store.add_app(app).await.unwrap();
        assert_eq!(store.app(&app.id).await.unwrap().as_ref(), Some(app));
    }
    assert_eq!(store.apps().await.unwrap(), [other, quest.clone()]);
    assert_eq!(store.app(&id("nobody")).await.unwrap(), None);
    let again = store.add_app(&app("a")).await;
    assert!(matches!(again, Err(StoreError::AppTaken)), "{again:?}");
}

pub(super) async fn secrets_are_rolled_one_by_one_and_bounded(place: &impl Place) {
    let store = place.open().await;
    store.add_app(&app("quest")).await.unwrap();
    let add = |id: &str| AppChange { add_secret: Some(secret(id)), ..AppChange::default() };
    let take = |id: &str| AppChange { remove_secret: Some(id.to_owned()), ..AppChange::default() };
    for number in 2..=APP_SECRETS_MAX {
        change(&*store, "quest", add(&format!("0000000{number}"))).await.unwrap();
    }
    let full = change(&*store, "quest", add("0000000f")).await;
    assert!(matches!(full, Err(StoreError::TooManySecrets)), "{full:?}");
    let left = change(&*store, "quest", take("00000001")).await.unwrap();
    let ids: Vec<&str> = left.secrets.iter().map(|secret| secret.id.as_str()).collect();
    assert_eq!(ids, ["00000002", "00000003", "00000004"]);
    let gone = change(&*store, "quest", take("00000001")).await;
    assert!(matches!(gone, Err(StoreError::NoSuchSecret)), "{gone:?}");
    assert_eq!(store.app(&id("quest")).await.unwrap(), Some(left));
    assert!(refused(&*store).await.is_empty(), "what was minted by them stands");
    let nobody = change(&*store, "nobody", add("00000001")).await;
    assert!(matches!(nobody, Err(StoreError::NoSuchApp)), "{nobody:?}");
}

pub(super) async fn taking_rights_from_an_app_refuses_what_it_minted(place: &impl Place) {
    let store = place.open().await;
    store.add_app(&app("quest")).await.unwrap();
    let grant = AppChange {
        grant_permissions: vec!["admin".to_owned(), "read".to_owned()],
        grant_roles: vec!["player".to_owned()],
        ..AppChange::default()
    };
    let granted = change(&*store, "quest", grant).await.unwrap();
    assert_eq!(granted.permissions, ["admin", "read", "write"]);
    assert_eq!(granted.roles, ["player"]);
    assert!(refused(&*store).await.is_empty(), "a grant refuses nothing");
    let take = AppChange { revoke_permissions: vec!["admin".to_owned()], ..AppChange::default() };
    let taken = change(&*store, "quest", take).await.unwrap();
    assert_eq!(taken.permissions, ["read", "write"]);
    let cut_off = Revoked::User(id("quest").principal(), later(1));
    assert_eq!(refused(&*store).await, [cut_off]);
    for disabled in [true, false] {
        let switch = AppChange { disabled: Some(disabled), ..AppChange::default() };
        assert_eq!(change(&*store, "quest", switch).await.unwrap().disabled, disabled);
        assert_eq!(refused(&*store).await, [cut_off, cut_off], "enabling refuses nothing more");
    }
}

pub(super) async fn minting_notes_the_token_and_makes_its_user_once(place: &impl Place) {
    let store = place.open().await;
    store.add_app(&app("quest")).await.unwrap();
    let [first, second] = [token("quest", "ada", later(5)), token("quest", "ada", later(6))];
    let strange = token("quest", "a'\"/\\ 🗝 é", later(5));
    for minted in [&first, &second, &strange] {
        store.mint(minted, NOW).await.unwrap();
        let kept = store.minted(minted.id).await.unwrap().unwrap();
        assert_eq!((&kept.app, kept.expires_at), (&minted.app, minted.expires_at));
        let user = store.user(minted.user()).await.unwrap().unwrap();
        assert_eq!(user.login, format!("quest/{}", minted.subject));
        assert_eq!((user.password, user.disabled, user.created_at), (None, false, NOW));
    }
    assert_eq!(first.user(), second.user());
    assert_eq!(store.minted(TokenId::generate().unwrap()).await.unwrap(), None);
}

pub(super) async fn minting_tells_what_the_app_is_at_that_moment(place: &impl Place) {
    let (here, there) = (place.open().await, place.open().await);
    here.add_app(&app("quest")).await.unwrap();
    let mint = async || there.mint(&token("quest", "ada", later(5)), NOW).await.unwrap();
    assert_eq!(mint().await, app("quest"));
    let taken = AppChange {
        grant_roles: vec!["player".to_owned()],
        revoke_permissions: vec!["write".to_owned()],
        add_secret: Some(secret("00000002")),
        remove_secret: Some("00000001".to_owned()),
        ..AppChange::default()
    };
    let changed = change(&*here, "quest", taken).await.unwrap();
    assert_eq!(mint().await, changed);
    assert_eq!(changed.permissions, ["read"]);
}

pub(super) async fn the_users_of_apps_are_no_accounts(place: &impl Place) {
    let store = place.open().await;
    for name in ["quest", "other"] {
        store.add_app(&app(name)).await.unwrap();
        store.mint(&token(name, "ada", later(5)), NOW).await.unwrap();
    }
    assert!(!store.has_users().await.unwrap(), "nobody could log in");
    assert!(store.users(None, 100).await.unwrap().is_empty());
    for key in ["ada", "quest/ada", "other/ada"] {
        assert_eq!(store.user_by_login(key).await.unwrap(), None, "{key}");
    }
    // A name of either kind stands in nobody's way.
    let ada = user("ada");
    store.add_user(&ada).await.unwrap();
    store.mint(&token("quest", "ada", later(5)), NOW).await.unwrap();
    assert!(store.has_users().await.unwrap());
    assert_eq!(store.users(None, 100).await.unwrap(), [ada]);
}

pub(super) async fn a_disabled_or_removed_app_mints_nothing(place: &impl Place) {
    let store = place.open().await;
    store.add_app(&app("quest")).await.unwrap();
    let switch = |disabled| AppChange { disabled: Some(disabled), ..AppChange::default() };
    change(&*store, "quest", switch(true)).await.unwrap();
    let minted = token("quest", "ada", later(5));
    let refusal = store.mint(&minted, NOW).await;
    assert!(matches!(refusal, Err(StoreError::NoSuchApp)), "{refusal:?}");
    change(&*store, "quest", switch(false)).await.unwrap();
    store.mint(&minted, NOW).await.unwrap();

    store.remove_app(&id("quest"), later(2), later(20)).await.unwrap();
    assert_eq!(store.app(&id("quest")).await.unwrap(), None);
    assert!(refused(&*store).await.contains(&Revoked::User(id("quest").principal(), later(2))));
    for name in ["quest", "nobody"] {
        let refusal = store.mint(&token(name, "eve", later(5)), NOW).await;
        assert!(matches!(refusal, Err(StoreError::NoSuchApp)), "{refusal:?}");
    }
    assert_eq!(store.user(id("quest").user("eve")).await.unwrap(), None, "nothing is half done");
    let again = store.remove_app(&id("quest"), NOW, later(1)).await;
    assert!(matches!(again, Err(StoreError::NoSuchApp)), "{again:?}");
}

pub(super) async fn ended_tokens_and_the_users_of_removed_apps_are_swept(place: &impl Place) {
    let store = place.open().await;
    for name in ["quest", "other"] {
        store.add_app(&app(name)).await.unwrap();
    }
    let [ended, alive] = [token("quest", "ada", later(5)), token("quest", "bob", later(6))];
    let foreign = token("other", "ada", later(6));
    for minted in [&ended, &alive, &foreign] {
        store.mint(minted, NOW).await.unwrap();
    }
    sweep(&*store, later(5)).await;
    assert_eq!(store.minted(ended.id).await.unwrap(), None);
    assert!(store.minted(alive.id).await.unwrap().is_some());
    assert!(store.user(ended.user()).await.unwrap().is_some(), "who they are is kept");
    store.remove_app(&id("quest"), later(1), later(20)).await.unwrap();
    sweep(&*store, later(5)).await;
    for gone in [&ended, &alive] {
        assert_eq!(store.user(gone.user()).await.unwrap(), None);
    }
    assert!(store.user(foreign.user()).await.unwrap().is_some());
    // Added again before the sweep came round, it has its users again.
    store.remove_app(&id("other"), later(1), later(20)).await.unwrap();
    store.add_app(&app("other")).await.unwrap();
    sweep(&*store, later(5)).await;
    assert!(store.user(foreign.user()).await.unwrap().is_some());
}

pub(super) async fn of_many_that_mint_for_one_new_user_all_succeed(place: &impl Place) {
    let store = place.open().await;
    store.add_app(&app("quest")).await.unwrap();
    let minting = (0..20).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { store.mint(&token("quest", "ada", later(5)), NOW).await })
    });
    for one in minting.collect::<Vec<_>>() {
        one.await.unwrap().unwrap();
    }
}

pub(super) async fn an_app_that_mints_without_a_pause_is_changed_all_the_same(place: &impl Place) {
    let (here, there) = (place.open().await, place.open().await);
    here.add_app(&app("quest")).await.unwrap();
    let minting: Vec<_> = (0..32)
        .map(|_| {
            let store = there.clone();
            tokio::spawn(async move {
                while store.mint(&token("quest", "ada", later(5)), NOW).await.is_ok() {}
            })
        })
        .collect();
    for grant in 0..20 {
        let grant_roles = vec![format!("player-{grant}")];
        change(&*here, "quest", AppChange { grant_roles, ..AppChange::default() }).await.unwrap();
    }
    let disabled = AppChange { disabled: Some(true), ..AppChange::default() };
    change(&*here, "quest", disabled).await.unwrap();
    for one in minting {
        one.await.unwrap();
    }
}

//! Minting, by what an app may do at that moment.

use super::*;
use crate::id::AppId;
use crate::store::apps::{App, AppChange};

const SECRET: &str = "K7gNU3sdo-OL0wNhqoVWhr3g6s1xYv72";
const NEXT: &str = "p2X_wq81LrTg-nB0uYc5HsEe4vJd9Zk6";

fn quest() -> AppId {
    "quest".parse().unwrap()
}

fn secret(text: &str) -> Secret<String> {
    Secret::new(text.to_owned())
}

/// A site whose app `quest` has both secrets and may give `read` and `write` to a `player`.
async fn with_an_app() -> Site {
    let site = Site::new().await;
    let now = site.clock.now();
    let app = App {
        id: quest(),
        name: None,
        secrets: [SECRET, NEXT].map(|text| keep_app_secret(&secret(text), now).unwrap()).into(),
        roles: vec!["player".to_owned()],
        permissions: vec!["read".to_owned(), "write".to_owned()],
        disabled: false,
        created_at: now,
    };
    site.store.add_app(&app).await.unwrap();
    site.sessions.learn_apps().await.unwrap();
    site
}

async fn mint(site: &Site, by: &str) -> Result<Minted, AppError> {
    let proof = AppProof { app: "quest".to_owned(), secret: secret(by), client: CLIENT };
    let subject = "ada".to_owned();
    let request = MintRequest { subject, roles: None, permissions: None, ttl: None };
    site.sessions.mint(&proof, request).await
}

/// Changes the app as another process does: this one hears of it up to half a second later.
async fn change(site: &Site, change: AppChange) {
    let now = site.clock.now();
    let until = now.plus(Duration::from_secs(86_400));
    site.store.change_app(&quest(), &change, now, until).await.unwrap();
}

#[tokio::test]
async fn a_right_that_was_taken_is_minted_no_more_though_nobody_has_heard_of_it_yet() {
    let site = with_an_app().await;
    let before = mint(&site, SECRET).await.unwrap().claims;
    assert_eq!((before.roles.len(), before.permissions.len()), (1, 2));
    let take = AppChange {
        revoke_roles: vec!["player".to_owned()],
        revoke_permissions: vec!["write".to_owned()],
        ..AppChange::default()
    };
    change(&site, take).await;
    let after = mint(&site, SECRET).await.unwrap();
    assert_eq!(after.claims.roles, Vec::<String>::new());
    assert_eq!(after.claims.permissions, ["read"]);
    let ring = site.sessions.keyring().borrow().clone();
    assert_eq!(ring.verify_minted(&after.token, site.clock.now()).unwrap(), after.claims);
}

#[tokio::test]
async fn a_secret_that_was_taken_mints_no_more_though_nobody_has_heard_of_it_yet() {
    let site = with_an_app().await;
    let app = site.store.app(&quest()).await.unwrap().unwrap();
    let gone = app.secrets.first().map(|secret| secret.id.clone());
    change(&site, AppChange { remove_secret: gone, ..AppChange::default() }).await;
    // More often than wrong ones may come: whoever had a right one a moment ago has not guessed.
    for _ in 0..10 {
        let refused = mint(&site, SECRET).await;
        assert!(matches!(refused, Err(AppError::Refused(_))), "{refused:?}");
    }
    mint(&site, NEXT).await.unwrap();
}

//! Accounts that change while somebody logs in to them. Between the look at the account and the session
//! lies the hashing of the password, which takes longer than a change does.

use std::sync::mpsc;

use tokio::sync::oneshot;
use tokio::task::yield_now;

use super::*;
use crate::store::rows::UserChange;

/// What a login comes to that has read Ada's account, and waits for a hashing thread, while `change` is
/// made of it.
async fn logged_in_over<F>(
    site: &Site,
    change: impl FnOnce(Timestamp, Timestamp) -> F,
) -> Result<LoginStep, LoginError>
where
    F: Future<Output = Result<(), StoreError>>,
{
    // The only thread is held up by a job of ours, until `end` is dropped.
    let (end, ended) = mpsc::channel::<()>();
    let (begin, begun) = oneshot::channel();
    let hashers = site.sessions.hashers.clone();
    let job = move || {
        begin.send(()).ok();
        Ok(ended.recv())
    };
    let busy = tokio::spawn(async move { hashers.run(job).await });
    begun.await.unwrap();
    let sessions = site.sessions.clone();
    let login = tokio::spawn(async move { sessions.log_in(attempt("ada", PASSWORD)).await });
    while site.sessions.hashers.waiting() == 0 {
        yield_now().await;
    }
    let now = site.clock.now();
    change(now, now.plus(Duration::from_secs(600))).await.unwrap();
    // What is issued now is no more cut off by its date.
    site.wait(1);
    drop(end);
    busy.await.unwrap().unwrap().unwrap_err();
    login.await.unwrap()
}

/// The same, with a change of the account that is none of its end.
async fn logged_in_over_change(site: &Site, change: UserChange) -> Result<LoginStep, LoginError> {
    let (store, ada) = (site.store.clone(), site.ada);
    logged_in_over(site, |now, until| async move {
        store.change_user(ada, &change, None, now, until).await.map(drop)
    })
    .await
}

async fn has_a_session(site: &Site) -> bool {
    !site.store.sessions(Some(site.ada), site.clock.now(), 10).await.unwrap().is_empty()
}

#[tokio::test]
async fn a_login_gives_no_right_that_was_taken_while_the_password_was_hashed() {
    let site = Site::new().await;
    let take = UserChange {
        revoke_roles: vec!["editor".to_owned()],
        revoke_permissions: vec!["write".to_owned()],
        ..UserChange::default()
    };
    let step = logged_in_over_change(&site, take).await;
    let Ok(LoginStep::Done(begun)) = step else { panic!("{step:?}") };
    let Pair { access, claims, who, .. } = begun.pair;
    let ring = site.sessions.keyring().borrow().clone();
    assert_eq!(ring.verify_access(&access, site.clock.now()).unwrap(), *claims);
    let none = Vec::<String>::new();
    assert_eq!((&claims.roles, &claims.permissions), (&none, &none));
    assert_eq!((&who.roles, &who.permissions), (&none, &none));
}

#[tokio::test]
async fn nobody_is_let_in_who_was_disabled_or_removed_while_the_password_was_hashed() {
    let site = Site::new().await;
    let disable = UserChange { disabled: Some(true), ..UserChange::default() };
    let step = logged_in_over_change(&site, disable).await;
    assert!(matches!(step, Err(LoginError::Refused(_))), "{step:?}");
    assert!(!has_a_session(&site).await);

    let site = Site::new().await;
    let (store, ada) = (site.store.clone(), site.ada);
    let step =
        logged_in_over(&site, |now, until| async move { store.remove_user(ada, now, until).await })
            .await;
    assert!(matches!(step, Err(LoginError::Refused(_))), "{step:?}");
    assert!(!has_a_session(&site).await);
}

#[tokio::test]
async fn a_password_that_was_changed_while_it_was_hashed_lets_nobody_in() {
    let site = Site::new().await;
    let password = Some(hash(&settings().password, "another horse battery"));
    let step = logged_in_over_change(&site, UserChange { password, ..UserChange::default() }).await;
    assert!(matches!(step, Err(LoginError::Refused(_))), "{step:?}");
    assert!(!has_a_session(&site).await);
}

#[tokio::test]
async fn a_hash_that_was_renewed_by_another_login_keeps_nobody_out() {
    let site = Site::new().await;
    let other = config::Password { iterations: 2, ..settings().password };
    let password = Some(hash(&other, PASSWORD));
    let renew = UserChange { password, rehash: true, ..UserChange::default() };
    let step = logged_in_over_change(&site, renew).await;
    assert!(matches!(step, Ok(LoginStep::Done(_))), "{step:?}");
    assert!(has_a_session(&site).await);
}

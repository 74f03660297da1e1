use std::time::Duration;

use super::super::tests::{CLIENT, PASSWORD, Site, attempt};
use crate::id::SessionId;
use crate::secret::Secret;
use crate::store::audit::{Actor, AuditEvent, AuditFilter, AuditKind};
use crate::store::rows::UserChange;

const PATIENCE: Duration = Duration::from_secs(20);

/// What the store has of it, oldest first.
async fn events(site: &Site) -> Vec<AuditEvent> {
    site.sessions.audit().flush(PATIENCE).await;
    let mut entries = site.store.audit(&AuditFilter::default(), 1000).await.unwrap();
    entries.reverse();
    entries.into_iter().map(|entry| entry.event).collect()
}

async fn of_kind(site: &Site, kind: AuditKind) -> Vec<AuditEvent> {
    events(site).await.into_iter().filter(|event| event.kind == kind).collect()
}

#[tokio::test]
async fn a_session_is_told_of_from_its_login_to_its_end() {
    let site = Site::new().await;
    let pair = site.log_in().await;
    site.sessions.log_out(pair.session).await.unwrap();
    let told = events(&site).await;
    let kinds: Vec<_> = told.iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [AuditKind::KeyAdded, AuditKind::Login, AuditKind::SessionEnded]);
    let login = &told[1];
    assert_eq!(login.actor, Actor::User("Ada".to_owned()));
    assert_eq!((login.user, login.session), (Some(site.ada), Some(pair.session)));
    assert_eq!((login.client, login.subject.as_deref()), (Some(CLIENT), Some("Test/1")));
    let ended = &told[2];
    assert_eq!(ended.cause.as_deref(), Some("logout"));
    assert_eq!((ended.user, ended.login.as_deref()), (Some(site.ada), Some("Ada")));
}

#[tokio::test]
async fn a_refused_login_says_why_and_never_what_was_typed() {
    let site = Site::new().await;
    let typed = "my password typed as a name";
    for (name, password) in [(typed, "x"), ("ada", "wrong"), ("ada", &"x".repeat(2000))] {
        site.sessions.log_in(attempt(name, password)).await.unwrap_err();
    }
    let disable = UserChange { disabled: Some(true), ..UserChange::default() };
    let now = site.clock.now();
    site.store.change_user(site.ada, &disable, None, now, now).await.unwrap();
    site.sessions.log_in(attempt("ada", PASSWORD)).await.unwrap_err();
    let told = of_kind(&site, AuditKind::LoginFailed).await;
    let ada = Some(site.ada);
    let why: Vec<_> = told.iter().map(|event| (event.cause.as_deref(), event.user)).collect();
    assert_eq!(
        why,
        [
            (Some("unknown_user"), None),
            (Some("wrong_secret"), ada),
            (Some("too_long"), ada),
            (Some("disabled"), ada)
        ]
    );
    assert!(told.iter().all(|event| event.client == Some(CLIENT)));
    assert!(!format!("{told:?}").contains(typed));
}

#[tokio::test]
async fn a_flood_of_guesses_is_counted_and_takes_few_rows() {
    let site = Site::new().await;
    for _ in 0..40 {
        site.sessions.log_in(attempt("ada", "wrong")).await.unwrap_err();
    }
    let told = of_kind(&site, AuditKind::LoginFailed).await;
    assert_eq!(told.iter().map(|event| event.count).sum::<u32>(), 40, "{told:#?}");
    let causes: Vec<_> = told.iter().filter_map(|event| event.cause.as_deref()).collect();
    assert!(causes.contains(&"wrong_secret") && causes.contains(&"rate_limited"), "{causes:?}");
    assert!(told.len() <= 4, "{told:#?}");
}

#[tokio::test]
async fn a_second_tab_and_a_theft_are_told_with_their_session() {
    let site = Site::new().await;
    let first = site.log_in().await;
    let old = first.refresh.as_deref().unwrap();
    let second = site.refresh(old).await.unwrap().pair;
    site.refresh(old).await.unwrap();
    site.refresh(second.refresh.as_deref().unwrap()).await.unwrap();
    site.wait(31);
    site.refresh(old).await.unwrap_err();
    let again = of_kind(&site, AuditKind::RefreshRepeated).await;
    assert_eq!(again[0].cause.as_deref(), Some("grace_time"));
    let theft = of_kind(&site, AuditKind::Theft).await;
    assert_eq!(theft.len(), 1);
    assert_eq!((theft[0].session, theft[0].user), (Some(first.session), Some(site.ada)));
    assert_eq!(theft[0].client, Some(CLIENT));
    assert!(of_kind(&site, AuditKind::SessionEnded).await.is_empty(), "told once");
    assert!(!format!("{:?}", events(&site).await).contains(old), "no token is told");
}

#[tokio::test]
async fn what_is_kept_is_in_the_store_at_once() {
    let site = Site::new().await;
    let auditor = site.sessions.audit();
    let session = SessionId::generate().unwrap();
    auditor.keep(auditor.event(AuditKind::LinkUsed).about("reset").in_session(session)).await;
    let filter = AuditFilter { kind: Some(AuditKind::LinkUsed), ..AuditFilter::default() };
    let kept = site.store.audit(&filter, 10).await.unwrap();
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].event.session, Some(session));
    assert_eq!(auditor.lost(), 0);
}

#[tokio::test]
async fn events_are_counted_by_kind() {
    let site = Site::new().await;
    site.log_in().await;
    let mut attempt = attempt("ada", "wrong");
    attempt.secret = Secret::new("also wrong".to_owned());
    site.sessions.log_in(attempt).await.unwrap_err();
    let told: Vec<_> = site.sessions.audit().told().filter(|(_, count)| *count > 0).collect();
    assert_eq!(told, [("login", 1), ("login_failed", 1), ("key_added", 1)]);
}

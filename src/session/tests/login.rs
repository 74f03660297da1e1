//! Logins: what they give, what they refuse, and that refusals look alike.

use super::*;
use crate::store::rows::UserChange;

fn refused(step: Result<LoginStep, LoginError>) -> bool {
    matches!(step, Err(LoginError::Refused(_)))
}

#[tokio::test]
async fn a_login_begins_a_session_with_the_accounts_roles_and_permissions() {
    let site = Site::new().await;
    let pair = site.log_in().await;
    let ring = site.sessions.keyring().borrow().clone();
    let claims = ring.verify_access(&pair.access, site.clock.now()).unwrap();
    assert_eq!(claims, *pair.claims);
    assert_eq!(claims.subject, site.ada.to_string());
    assert_eq!(claims.preferred_username, "Ada");
    assert_eq!((claims.roles, claims.permissions), (vec!["editor".into()], vec!["write".into()]));
    assert_eq!((claims.name, claims.email), (None, None), "not asked for by any upstream");
    assert_eq!(claims.amr, ["pwd"]);
    let life = claims.expires_at.since(site.clock.now()).as_secs();
    assert!((57..=60).contains(&life), "{life}");
    assert!(pair.persistent);
    let row = site.row(pair.session).await;
    assert_eq!((row.generation, row.seen_generation), (1, 0));
    assert_eq!(row.device, "Test/1");
    assert!(ring.verify_refresh(pair.refresh.as_deref().unwrap(), site.clock.now()).is_ok());
    assert!(!format!("{pair:?}").contains("eyJ"), "a pair does not print its tokens");
}

#[tokio::test]
async fn unknown_disabled_wrong_and_too_long_are_refused_alike() {
    let site = Site::new().await;
    let mut disabled = user(&site.sessions.settings, "Bob", site.clock.now());
    disabled.disabled = true;
    site.store.add_user(&disabled).await.unwrap();
    let mut without = user(&site.sessions.settings, "Eve", site.clock.now());
    without.password = None;
    site.store.add_user(&without).await.unwrap();
    let endless = "x".repeat(2000);
    for (name, password) in [
        ("nobody", PASSWORD),
        ("bob", PASSWORD),
        ("eve", PASSWORD),
        ("ada", "wrong"),
        ("ada", ""),
        ("ada", endless.as_str()),
        ("", PASSWORD),
        ("ada\0", PASSWORD),
    ] {
        let step = site.sessions.log_in(attempt(name, password)).await;
        assert!(refused(step), "{name:?} {:.10?}", password);
    }
    assert_eq!(site.sessions.stats().logged_in(LoginOutcome::Refused), 8);
}

#[tokio::test]
async fn guesses_are_limited_by_the_folded_name_and_successes_are_not() {
    let site = Site::new().await;
    for _ in 0..20 {
        site.log_in().await;
    }
    for spelling in ["ada", "ADA", "Ada", "aDa", "adA"] {
        assert!(refused(site.sessions.log_in(attempt(spelling, "wrong")).await));
    }
    let step = site.sessions.log_in(attempt("ada", PASSWORD)).await;
    let Err(LoginError::Limited(allowance)) = step else { panic!("{step:?}") };
    assert_eq!(allowance.retry_after, Duration::from_secs(180));
    site.wait(180);
    site.log_in().await;
}

/// Attempts left after a login with the right password, and the seconds until all are.
async fn left(site: &Site) -> (u32, u64) {
    let step = site.sessions.log_in(attempt("ada", PASSWORD)).await.unwrap();
    let LoginStep::Done(begun) = step else { panic!("{step:?}") };
    (begun.allowance.remaining, begun.allowance.reset.as_secs())
}

#[tokio::test]
async fn who_has_logged_in_is_told_of_the_attempts_that_are_then_left() {
    let site = Site::new().await;
    assert_eq!(left(&site).await, (5, 0), "it was no guess");
    for _ in 0..2 {
        assert!(refused(site.sessions.log_in(attempt("ada", "wrong")).await));
    }
    assert_eq!(left(&site).await, (3, 360), "two were");
    assert_eq!(left(&site).await, (3, 360));
}

#[tokio::test]
async fn a_site_may_count_successes_too() {
    let mut settings = settings();
    settings.attempts.acts.login.count_successes = true;
    let site = Site::with(settings).await;
    for already in 1..=5 {
        assert_eq!(left(&site).await, (5 - already, u64::from(already) * 180));
    }
    let step = site.sessions.log_in(attempt("ada", PASSWORD)).await;
    assert!(matches!(step, Err(LoginError::Limited(_))));
}

#[tokio::test]
async fn a_login_ends_the_session_that_it_replaces() {
    let site = Site::new().await;
    let old = site.log_in().await;
    let again = Attempt { replaces: Some(old.session), ..attempt("ada", PASSWORD) };
    assert!(matches!(site.sessions.log_in(again).await, Ok(LoginStep::Done(_))));
    assert_eq!(site.row(old.session).await.ended.unwrap().reason, EndReason::Replaced);
    let claims = &old.claims;
    let revoked = site.sessions.revoked();
    assert!(revoked.refuses(Some(&old.session), &claims.token, None, claims.issued_at));
}

#[tokio::test]
async fn an_outdated_hash_is_renewed_at_login() {
    let site = Site::new().await;
    let old = config::Password { iterations: 2, ..settings().password };
    let password = Some(hash(&old, PASSWORD));
    let change = UserChange { password, ..UserChange::default() };
    let now = site.clock.now();
    site.store.change_user(site.ada, &change, None, now, now).await.unwrap();
    let pair = site.log_in().await;
    loop {
        let user = site.store.user(site.ada).await.unwrap().unwrap();
        if user.password.unwrap().expose().contains("t=1") {
            break;
        }
        tokio::task::yield_now().await;
    }
    site.log_in().await;
    assert_eq!(site.row(pair.session).await.ended, None, "a rehash is no change of password");
}

#[tokio::test]
async fn two_logins_with_an_outdated_hash_at_once_both_succeed() {
    let mut hashing = settings();
    hashing.password.threads = NonZeroUsize::new(4).unwrap();
    let site = Site::with(hashing).await;
    let old = config::Password { iterations: 2, ..settings().password };
    let change = UserChange { password: Some(hash(&old, PASSWORD)), ..UserChange::default() };
    let now = site.clock.now();
    site.store.change_user(site.ada, &change, None, now, now).await.unwrap();
    let logins: Vec<_> = (0..5)
        .map(|_| {
            let sessions = site.sessions.clone();
            tokio::spawn(async move { sessions.log_in(attempt("ada", PASSWORD)).await })
        })
        .collect();
    for login in logins {
        assert!(matches!(login.await.unwrap(), Ok(LoginStep::Done(_))));
    }
}

#[tokio::test]
async fn a_further_step_goes_on_from_what_was_sealed_and_from_nothing_else() {
    let site = Site::new().await;
    let ring = site.sessions.keyring().borrow().clone();
    let seal = |label: &str, done: &str| {
        let pending = format!(r#"{{"user":"{}","done":[{done}],"remember":false}}"#, site.ada);
        ring.sealer(label)
            .seal(pending.as_bytes(), site.clock.now(), Duration::from_secs(600))
            .unwrap()
    };
    let go_on = |pending: &str, password: &str| {
        let pending = Some(pending.to_owned());
        site.sessions.log_in(Attempt { pending, ..attempt("ignored", password) })
    };
    let open = seal("login", "");
    assert!(refused(go_on(&open, "wrong").await));
    let step = go_on(&open, PASSWORD).await.unwrap();
    let LoginStep::Done(begun) = step else { panic!("{step:?}") };
    assert_eq!(begun.pair.who.id, site.ada);
    assert!(!begun.pair.persistent, "as the first step asked");
    // Nothing is left to prove: the state belongs to a login that is over.
    let over = seal("login", r#""password""#);
    assert!(matches!(go_on(&over, PASSWORD).await, Err(LoginError::Stale)));
    for foreign in [seal("other", ""), open.replacen('.', ".A", 1), String::new()] {
        assert!(matches!(go_on(&foreign, PASSWORD).await, Err(LoginError::Stale)));
    }
    site.wait(600);
    assert!(matches!(go_on(&open, PASSWORD).await, Err(LoginError::Stale)));
}

#[tokio::test]
async fn what_a_browser_calls_itself_is_kept_without_controls_and_cut() {
    let site = Site::new().await;
    let user_agent = format!("a\r\nb{}", "ä".repeat(500));
    let step = site.sessions.log_in(Attempt { user_agent, ..attempt("ada", PASSWORD) }).await;
    let Ok(LoginStep::Done(begun)) = step else { panic!("{step:?}") };
    let device = site.row(begun.pair.session).await.device;
    assert!(device.starts_with("abä") && device.len() <= 256, "{device}");
}

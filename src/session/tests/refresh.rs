//! Refreshes and logouts against a real store: races, two processes, failures, the keys.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::FutureExt;

use super::*;
use crate::token::TokenError;

fn token(pair: &Pair) -> &str {
    pair.refresh.as_deref().unwrap()
}

#[tokio::test]
async fn fifty_that_race_get_one_successor_byte_for_byte() {
    let site = Site::new().await;
    let second = site.second().await;
    let pair = site.log_in().await;
    let racers: Vec<_> = (0..50)
        .map(|n| {
            let sessions = if n % 2 == 0 { site.sessions.clone() } else { second.clone() };
            let token = token(&pair).to_owned();
            tokio::spawn(async move { sessions.refresh(&token, CLIENT).await.unwrap() })
        })
        .collect();
    let mut successors = std::collections::BTreeSet::new();
    for racer in racers {
        let refreshed = racer.await.unwrap();
        assert_eq!(refreshed.pair.generation, 2);
        successors.insert(refreshed.pair.refresh.unwrap());
    }
    assert_eq!(successors.len(), 1);
    assert_eq!(site.row(pair.session).await.generation, 2);
    let rotations = |sessions: &Sessions| sessions.stats().refreshed(RefreshOutcome::Rotated);
    assert_eq!(rotations(&site.sessions) + rotations(&second), 1);
}

#[tokio::test]
async fn a_lost_response_is_healed_days_later_and_by_another_process() {
    let site = Site::new().await;
    let pair = site.log_in().await;
    let lost = site.refresh(token(&pair)).await.unwrap();
    site.wait(3 * 86_400);
    let second = site.second().await;
    let again = second.refresh(token(&pair), CLIENT).await.unwrap();
    assert_eq!(again.outcome, RefreshOutcome::Again(Grace::Unseen));
    assert_eq!(again.pair.refresh, lost.pair.refresh);
    assert_ne!(again.pair.access, lost.pair.access);
    assert_eq!(again.pair.claims.issued_at, site.clock.now());
}

#[tokio::test]
async fn a_replay_after_the_successor_was_seen_ends_the_family_everywhere() {
    let site = Site::new().await;
    let second = site.second().await;
    let pair = site.log_in().await;
    let next = site.refresh(token(&pair)).await.unwrap().pair;
    site.store.seen(&[(pair.session, 2)]).await.unwrap();
    site.wait(31);
    let replay = second.refresh(token(&pair), CLIENT).await.unwrap_err();
    assert!(matches!(replay, RefreshError::Revoked(EndReason::Theft)), "{replay}");
    for sessions in [&site.sessions, &second] {
        let dead = sessions.refresh(token(&next), CLIENT).await.unwrap_err();
        assert!(matches!(dead, RefreshError::Revoked(EndReason::Theft)), "{dead}");
        assert!(dead.is_final());
    }
    let claims = &next.claims;
    let refuses = |sessions: &Sessions| {
        let revoked = sessions.revoked();
        revoked.refuses(Some(&pair.session), &claims.token, None, claims.issued_at)
    };
    assert!(refuses(&second), "at once where it was found out");
    while !refuses(&site.sessions) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_sight_reaches_the_store_by_itself() {
    let site = Site::new().await;
    let pair = site.log_in().await;
    site.sessions.saw(pair.session, 1);
    while site.row(pair.session).await.seen_generation < 1 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_logout_ends_the_session_by_any_of_its_tokens_and_twice_is_harmless() {
    let site = Site::new().await;
    let pair = site.log_in().await;
    let next = site.refresh(token(&pair)).await.unwrap().pair;
    let session = site.sessions.session_of(token(&pair)).unwrap();
    site.sessions.log_out(session).await.unwrap();
    site.sessions.log_out(session).await.unwrap();
    let dead = site.refresh(token(&next)).await.unwrap_err();
    assert!(matches!(dead, RefreshError::Revoked(EndReason::Logout)));
    assert_eq!(site.sessions.session_of("nonsense"), None);
}

#[tokio::test]
async fn roles_are_read_again_at_each_refresh_and_a_disabled_account_ends() {
    use crate::store::rows::UserChange;
    let site = Site::new().await;
    let pair = site.log_in().await;
    let (now, until) = (site.clock.now(), site.sessions.revoked_until(site.clock.now()));
    let change = UserChange {
        grant_roles: vec!["admin".into()],
        revoke_permissions: vec!["write".into()],
        ..UserChange::default()
    };
    site.store.change_user(site.ada, &change, None, now, until).await.unwrap();
    let next = site.refresh(token(&pair)).await.unwrap().pair;
    assert_eq!(next.claims.roles, ["admin", "editor"]);
    assert!(next.claims.permissions.is_empty());
    let disable = UserChange { disabled: Some(true), ..UserChange::default() };
    site.store.change_user(site.ada, &disable, None, now, until).await.unwrap();
    let dead = site.refresh(token(&next)).await.unwrap_err();
    assert!(matches!(dead, RefreshError::Revoked(EndReason::Account)), "{dead}");
    site.store.remove_user(site.ada, now, until).await.unwrap();
    let gone = site.refresh(token(&next)).await.unwrap_err();
    assert!(gone.is_final(), "{gone}");
}

#[tokio::test]
async fn without_rotation_the_token_stays_and_the_session_lives_on() {
    let mut keeping = settings();
    keeping.session.rotate = false;
    let site = Site::with(keeping).await;
    let pair = site.log_in().await;
    for _ in 0..10 {
        site.wait(2 * 86_400);
        let kept = site.refresh(token(&pair)).await.unwrap();
        assert_eq!(kept.outcome, RefreshOutcome::Kept);
        assert_eq!((kept.pair.refresh, kept.pair.generation), (None, 1));
    }
    site.sessions.log_out(pair.session).await.unwrap();
    assert!(site.refresh(token(&pair)).await.unwrap_err().is_final());
}

#[tokio::test]
async fn a_session_ends_when_idle_and_absolutely() {
    let site = Site::new().await;
    let idle = site.log_in().await;
    site.wait(7 * 86_400);
    assert!(matches!(site.refresh(token(&idle)).await, Err(RefreshError::Expired)));
    let mut busy = site.log_in().await;
    let end = busy.refresh_expires_at;
    for _ in 0..4 {
        site.wait(6 * 86_400);
        busy = site.refresh(token(&busy)).await.unwrap().pair;
        assert_eq!(busy.refresh_expires_at, end);
    }
    site.clock.set(end.minus(Duration::from_secs(10)));
    busy = site.refresh(token(&busy)).await.unwrap().pair;
    assert!(busy.access_expires_at() <= end, "no access token outlives its session");
    site.clock.set(end);
    assert!(matches!(site.refresh(token(&busy)).await, Err(RefreshError::Expired)));
}

#[tokio::test]
async fn forged_tokens_are_limited_by_network_and_authentic_ones_never() {
    let site = Site::new().await;
    let mut pair = site.log_in().await;
    let forged = format!("{}A", token(&pair));
    for _ in 0..50 {
        let refusal = site.refresh(&forged).await.unwrap_err();
        assert!(matches!(refusal, RefreshError::Unauthentic(_)), "{refusal}");
    }
    assert!(matches!(site.refresh(&forged).await, Err(RefreshError::Limited(_))));
    for _ in 0..60 {
        pair = site.refresh(token(&pair)).await.unwrap().pair;
    }
    let access = site.refresh(&pair.access).await.unwrap_err();
    assert!(matches!(access, RefreshError::Limited(_)), "an access token is no refresh token");
}

#[tokio::test]
async fn a_token_of_the_future_is_refused_but_not_for_ever() {
    let site = Site::new().await;
    let pair = site.log_in().await;
    site.clock.set(site.clock.now().minus(Duration::from_secs(3600)));
    let early = site.refresh(token(&pair)).await.unwrap_err();
    assert!(matches!(early, RefreshError::Unauthentic(TokenError::NotYetValid)), "{early}");
    assert!(!early.is_final(), "its cookie stays");
}

#[tokio::test]
async fn a_restart_keeps_keys_sessions_and_revocations() {
    let site = Site::new().await;
    let (kept, ended) = (site.log_in().await, site.log_in().await);
    site.sessions.log_out(ended.session).await.unwrap();
    let second = site.second().await;
    let claims = &ended.claims;
    assert!(second.revoked().refuses(Some(&ended.session), &claims.token, None, claims.issued_at));
    assert!(second.refresh(token(&kept), CLIENT).await.is_ok());
    assert!(second.ready().await.is_ok());
}

#[tokio::test]
async fn two_first_starts_at_once_agree_on_one_key() {
    let clock = Clock::manual(Timestamp::from_secs(1_800_000_000));
    let folder = tempfile::tempdir().unwrap();
    let mut starts = Vec::new();
    for _ in 0..4 {
        let (store, clock) = (open(folder.path()).await, clock.clone());
        starts.push(tokio::spawn(async move { start(store, &clock, settings()).await }));
    }
    let mut keys = std::collections::BTreeSet::new();
    for start in starts {
        let ring = start.await.unwrap().keyring().borrow().clone();
        keys.insert(ring.signing_key(clock.now()).clone());
    }
    assert_eq!(keys.len(), 1);
}

#[tokio::test]
async fn keys_rotate_with_overlap_and_outlive_what_they_signed() {
    let site = Site::new().await;
    let pair = site.log_in().await;
    let ring = |sessions: &Sessions| sessions.keyring().borrow().clone();
    let first = ring(&site.sessions).signing_key(site.clock.now()).clone();
    let second = site.second().await;
    site.clock.advance(Duration::from_secs(6 * 86_400));
    let pair = site.refresh(token(&pair)).await.unwrap().pair;
    site.sessions.keys.rotate(site.clock.now()).await.unwrap();
    assert_eq!(site.store.keys().await.unwrap().len(), 1, "too young to be replaced");

    // Its time comes, and the next key is known before it signs.
    site.clock.set(site.clock.now().plus(Duration::from_secs(84 * 86_400)));
    site.sessions.keys.rotate(site.clock.now()).await.unwrap();
    assert_eq!(site.store.keys().await.unwrap().len(), 2);
    assert_eq!(*ring(&site.sessions).signing_key(site.clock.now()), first);
    site.wait(120);
    let active = ring(&site.sessions).signing_key(site.clock.now()).clone();
    assert_ne!(active, first);
    assert!(matches!(site.refresh(token(&pair)).await, Err(RefreshError::Expired)));

    // A process that has not looked since learns the key from the first token that it signed.
    let later = site.log_in().await;
    assert!(second.refresh(token(&later), CLIENT).await.is_ok());

    // When nothing that the first key signed can be alive, it goes.
    site.wait(29 * 86_400);
    site.sessions.keys.rotate(site.clock.now()).await.unwrap();
    assert_eq!(site.store.keys().await.unwrap().len(), 2);
    site.wait(2 * 86_400);
    site.sessions.keys.rotate(site.clock.now()).await.unwrap();
    let left = site.store.keys().await.unwrap();
    assert_eq!(left.iter().map(|row| &row.id).collect::<Vec<_>>(), [&active]);
}

#[tokio::test]
async fn strangers_with_made_up_key_ids_cannot_have_the_keys_read_at_will() {
    let site = Site::new().await;
    let pair = site.log_in().await;
    let (head, rest) = token(&pair).split_once('.').unwrap();
    let head = String::from_utf8(URL_SAFE_NO_PAD.decode(head).unwrap()).unwrap();
    let ring = || site.sessions.keyring().borrow().clone();
    let first = ring().signing_key(site.clock.now()).clone();
    assert!(head.contains(first.as_str()), "{head}");
    let made_up = |n: u32| {
        let other = head.replace(first.as_str(), &format!("{n:016x}"));
        format!("{}.{rest}", URL_SAFE_NO_PAD.encode(other))
    };
    let is_unknown = |refused: Result<Refreshed, RefreshError>| {
        let lost = matches!(&refused, Err(error) if error.is_final());
        !lost && matches!(refused, Err(RefreshError::Unauthentic(TokenError::UnknownKey)))
    };
    for _ in 0..3 {
        site.clock.advance(Duration::from_secs(1));
        for n in 0..100 {
            assert!(is_unknown(site.sessions.refresh(&made_up(n), CLIENT).await), "{n}");
            assert!(!site.sessions.keys.may_ask(site.clock.now()), "the first was this second's");
        }
        site.clock.advance(Duration::from_millis(999));
        assert!(is_unknown(site.sessions.refresh(&made_up(100), CLIENT).await));
        assert!(!site.sessions.keys.may_ask(site.clock.now()));
        site.clock.advance(Duration::from_millis(1));
        assert!(site.sessions.keys.may_ask(site.clock.now()), "and the next has its own");
    }
    // What another process signs is known a second later, whatever strangers do.
    let now = site.clock.now();
    let key = keys::make(now, now).unwrap();
    assert!(site.store.add_key(&key, Some(&first)).await.unwrap());
    let second = site.second().await;
    let LoginStep::Done(begun) = second.log_in(attempt("ada", PASSWORD)).await.unwrap() else {
        panic!("a password is all that is asked");
    };
    assert!(is_unknown(site.sessions.refresh(&made_up(101), CLIENT).await));
    site.clock.advance(Duration::from_secs(1));
    assert!(site.sessions.refresh(token(&begun.pair), CLIENT).await.is_ok());
    assert_ne!(*ring().signing_key(site.clock.now()), first);
}

#[tokio::test]
async fn a_refresh_runs_to_its_end_though_its_caller_has_gone() {
    let site = Site::new().await;
    let pair = site.log_in().await;
    assert!(site.refresh(token(&pair)).now_or_never().is_none());
    while site.row(pair.session).await.generation < 2 {
        tokio::task::yield_now().await;
    }
    assert!(site.refresh(token(&pair)).await.is_ok());
}

//! How sessions end: by their user, by time, by the operator, by another login.

use std::time::Duration;

use sallyport::clock::Stopwatch;
use sallyport::store::rows::{EndReason, UserChange};

use crate::harness::{ACCESS, ACCESS_TTL, Gate, PASSWORD, PATIENCE, REFRESH};
use crate::sessions::{DAY, application, gate, session_of, token};

#[test]
fn a_logout_ends_the_session_on_the_server_at_once_for_every_copy_of_its_tokens() {
    let upstream = application();
    let gate = gate(&upstream, "");
    let mut client = gate.signed_in("ada");
    let other = gate.signed_in("ada");
    let (mut copy, mut without_access) = (client.twin(), client.twin());
    without_access.jar.remove(ACCESS);
    assert_eq!(copy.get("/a").status, 200);
    let answer = client.post("/auth/logout");
    assert_eq!(answer.status, 200);
    assert!(client.jar.opens_nothing(), "{answer:#?}");
    assert_eq!(copy.get("/a").verdict(), (401, "token_revoked".to_owned()));
    let bearer = token(&copy, ACCESS);
    let answer = gate.client().ask("GET", "/a").bearer(&bearer).send();
    assert_eq!(answer.verdict(), (401, "token_revoked".to_owned()));
    assert_eq!(without_access.get("/a").verdict(), (401, "session_revoked".to_owned()));
    let mut other = other;
    assert_eq!(other.get("/a").status, 200, "another login goes on");
    assert_eq!(client.post("/auth/logout").status, 200, "twice is no error");
}

#[test]
fn a_logout_works_with_either_token_alone_and_with_a_spent_one() {
    let upstream = application();
    let gate = gate(&upstream, "");
    for missing in [ACCESS, REFRESH] {
        let mut client = gate.signed_in("ada");
        let session = session_of(&mut client);
        client.jar.remove(missing);
        assert_eq!(client.post("/auth/logout").status, 200);
        assert_eq!(gate.session(session).ended.unwrap().reason, EndReason::Logout);
    }
    let mut client = gate.signed_in("ada");
    let mut spent = client.twin();
    let session = session_of(&mut client);
    gate.pass(ACCESS_TTL);
    client.get("/a");
    assert_eq!(spent.post("/auth/logout").status, 200);
    assert_eq!(gate.session(session).ended.unwrap().reason, EndReason::Logout);
}

#[test]
fn a_session_ends_when_it_is_idle_and_at_its_absolute_end_however_busy() {
    let upstream = application();
    let gate = gate(&upstream, "");
    let mut idle = gate.signed_in("ada");
    let mut busy = gate.signed_in("ada");
    for day in 1..30 {
        gate.pass(DAY);
        assert_eq!(busy.get("/a").status, 200, "day {day}");
    }
    // The jar would have dropped the idle one's cookie only after thirty days.
    let answer = idle.get("/a");
    assert_eq!(answer.verdict(), (401, "session_expired".to_owned()));
    assert!(idle.jar.opens_nothing());
    let last = token(&busy, REFRESH);
    gate.pass(DAY);
    busy.jar.put(REFRESH, &last);
    assert_eq!(busy.get("/a").verdict(), (401, "session_expired".to_owned()));
}

#[test]
fn a_disabled_user_is_refused_without_waiting_for_the_end_of_any_token() {
    let upstream = application();
    let gate = Gate::before(&upstream);
    let user = gate.add_user("eve", &[], &[]);
    let mut client = gate.signed_in("eve");
    assert_eq!(client.get("/a").status, 200);
    let disable = |disabled| UserChange { disabled: Some(disabled), ..UserChange::default() };
    gate.change_user(user, &disable(true));
    // Written as another process would: the gateway hears of it by itself.
    let waited = Stopwatch::start();
    while client.twin().get("/a").status != 401 {
        assert!(waited.elapsed() < PATIENCE, "never refused");
    }
    assert_eq!(client.get("/a").verdict(), (401, "token_revoked".to_owned()));
    let answer = gate.client().log_in("eve", PASSWORD, false);
    assert_eq!(answer.verdict(), (401, "invalid_credentials".to_owned()));
    // Enabled again, what has ended stays ended, and a new login works.
    gate.change_user(user, &disable(false));
    assert_eq!(client.get("/a").status, 401);
    gate.pass(Duration::from_millis(1));
    assert_eq!(gate.signed_in("eve").get("/a").status, 200);
}

#[test]
fn a_login_takes_the_place_of_the_session_that_the_browser_was_in() {
    let upstream = application();
    let gate = gate(&upstream, "");
    let mut client = gate.signed_in("ada");
    let mut before = client.twin();
    let old = session_of(&mut client);
    assert_eq!(client.log_in("ada", PASSWORD, true).status, 200);
    assert_ne!(session_of(&mut client), old);
    assert_eq!(gate.session(old).ended.unwrap().reason, EndReason::Replaced);
    assert_eq!(before.get("/a").verdict(), (401, "token_revoked".to_owned()));
}

#[test]
fn a_link_to_the_logout_only_asks() {
    let upstream = application();
    let gate = gate(&upstream, "");
    let mut client = gate.signed_in("ada");
    assert_eq!(client.open("/auth/logout").status, 200);
    assert_eq!(client.get("/a").status, 200, "nothing has ended");
}

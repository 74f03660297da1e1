//! A login's whole life at a running gateway: begun, refreshed, ended, stolen.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use sallyport::clock::Stopwatch;
use sallyport::id::SessionId;
use sallyport::store::rows::{EndReason, UserChange};
use serde_json::json;

use crate::harness::{
    ACCESS, ACCESS_TTL, Client, Gate, HOST, ORIGIN, PASSWORD, PATIENCE, REFRESH, Upstream, response,
};

const GRACE: Duration = Duration::from_secs(30);
pub(crate) const DAY: Duration = Duration::from_secs(86_400);

pub(crate) fn application() -> Upstream {
    Upstream::answering(|_| response("200 OK", &[], "the application"))
}

/// A gateway with one account, `ada`, who may do everything.
pub(crate) fn gate(upstream: &Upstream, lines: &str) -> Gate {
    let gate = Gate::with(upstream, lines);
    gate.add_user("ada", &["editor"], &["admin"]);
    gate
}

pub(crate) fn token(client: &Client, name: &str) -> String {
    client.jar.get(name).unwrap_or_default().to_owned()
}

/// The attributes of a `Set-Cookie` field, sorted, without its name and value.
fn attributes(field: &str) -> Vec<&str> {
    let mut all: Vec<_> = field.split(';').skip(1).map(str::trim).collect();
    all.sort_unstable();
    all
}

pub(crate) fn session_of(client: &mut Client) -> SessionId {
    client.get("/auth/me").json()["session"].as_str().unwrap().parse().unwrap()
}

/// Waits until the store has been told that this generation was seen; the telling goes on in the
/// background.
fn until_seen(gate: &Gate, session: SessionId, generation: u64) {
    let waited = Stopwatch::start();
    while gate.session(session).seen_generation < generation {
        assert!(waited.elapsed() < PATIENCE, "generation {generation} was never seen");
    }
}

#[test]
fn a_login_by_json_sets_both_cookies_with_every_attribute_and_shows_no_token() {
    let upstream = application();
    let gate = gate(&upstream, "");
    let mut client = gate.client();
    let answer = client.log_in("ada", PASSWORD, true);
    assert_eq!(answer.status, 200);
    let body = answer.json();
    assert_eq!(body["user"]["login"], "ada");
    assert_eq!(body["user"]["permissions"], json!(["admin"]));
    let ends = gate.clock().now().plus(ACCESS_TTL).secs();
    assert_eq!(body["expires_at"], ends);
    let fixed = ["HttpOnly", "Path=/", "SameSite=Lax", "Secure"];
    for (name, age) in [(ACCESS, ACCESS_TTL), (REFRESH, DAY * 30)] {
        let mut wanted = fixed.map(str::to_owned).to_vec();
        wanted.push(format!("Max-Age={}", age.as_secs()));
        wanted.sort_unstable();
        assert_eq!(attributes(answer.set_cookie(name).unwrap()), wanted, "{name}");
        assert!(!answer.text().contains(client.jar.get(name).unwrap()), "{name} is in the body");
    }
    assert_eq!(answer.one("cache-control"), "private, no-store");
}

#[test]
fn a_login_by_form_leads_back_to_where_the_person_was() {
    let upstream = application();
    let gate = gate(&upstream, "");
    let mut client = gate.client();
    let answer = client.open("/reports?year=2025&q=a%20b");
    let login = answer.one("location").to_owned();
    assert_eq!(answer.status, 303);
    assert_eq!(login, "/auth/login?return_to=%2Freports%3Fyear%3D2025%26q%3Da%2520b");
    let page = client.open(&login).text();
    assert!(page.contains("value=\"&#x2f;reports?year=2025&amp;q=a%20b\""), "{page}");
    let form =
        [("username", "ada"), ("password", PASSWORD), ("return_to", "/reports?year=2025&q=a%20b")];
    let answer = client
        .ask("POST", "/auth/login")
        .form(&form)
        .field("Accept", "text/html")
        .field("Sec-Fetch-Mode", "navigate")
        .field("Sec-Fetch-Dest", "document")
        .field("Sec-Fetch-Site", "same-origin")
        .field("Origin", ORIGIN)
        .send();
    assert_eq!(answer.status, 303, "{answer:#?}");
    let onward = answer.one("location").to_owned();
    let answer = client.open(&onward);
    assert_eq!((answer.status, answer.one("location")), (303, "/reports?year=2025&q=a%20b"));
    assert_eq!(client.open("/reports?year=2025&q=a%20b").status, 200);
    let seen = upstream.requests().pop().unwrap();
    assert_eq!(seen.line(), "GET /reports?year=2025&q=a%20b HTTP/1.1");
    assert_eq!(seen.field("x-auth-user"), ["ada"]);
}

#[test]
fn a_browser_that_keeps_no_cookies_is_told_so_and_not_sent_in_circles() {
    let upstream = application();
    let gate = gate(&upstream, "");
    let mut client = gate.client();
    let form = [("username", "ada"), ("password", PASSWORD), ("return_to", "/a")];
    let answer = client.ask("POST", "/auth/login").form(&form).field("Accept", "text/html").send();
    let onward = answer.one("location").to_owned();
    client.jar.clear();
    let answer = client.open(&onward);
    assert_eq!(answer.status, 200);
    assert!(answer.text().to_lowercase().contains("cookies"), "{}", answer.text());
}

#[test]
fn without_remember_me_the_session_ends_with_the_browser_and_with_it_it_does_not() {
    let upstream = application();
    let gate = gate(&upstream, "");
    for remember in [false, true] {
        let mut client = gate.client();
        let answer = client.log_in("ada", PASSWORD, remember);
        let kept = answer.set_cookie(REFRESH).unwrap().contains("Max-Age");
        assert_eq!(kept, remember);
        client.jar.end_browser();
        assert_eq!(client.jar.opens_nothing(), !remember);
        // A refresh does not turn one into the other.
        let mut client = gate.client();
        client.log_in("ada", PASSWORD, remember);
        gate.pass(ACCESS_TTL);
        let answer = client.get("/a");
        assert_eq!(answer.set_cookie(REFRESH).unwrap().contains("Max-Age"), remember);
    }
}

#[test]
fn me_tells_who_is_signed_in() {
    let upstream = application();
    let gate = gate(&upstream, "");
    let mut client = gate.signed_in("ada");
    for answer in [client.get("/auth/me"), client.twin().over_h2().get("/auth/me")] {
        let me = answer.json();
        assert_eq!((answer.status, &me["login"]), (200, &"ada".into()));
        assert_eq!((&me["roles"], &me["permissions"]), (&json!(["editor"]), &json!(["admin"])));
        assert_eq!(me["auth_time"], gate.clock().now().secs());
    }
}

#[test]
fn an_ended_access_token_is_refreshed_in_passing_and_the_cookies_ride_on_the_response() {
    let upstream = application();
    let gate = gate(&upstream, "");
    for h2 in [false, true] {
        let client = gate.signed_in("ada");
        let mut client = if h2 { client.over_h2() } else { client };
        let before = (token(&client, ACCESS), token(&client, REFRESH));
        let session = session_of(&mut client);
        gate.pass(ACCESS_TTL);
        let answer = client.get("/admin/a");
        assert_eq!((answer.status, answer.text().as_str()), (200, "the application"));
        assert_eq!(answer.one("cache-control"), "private, no-store");
        let after = (token(&client, ACCESS), token(&client, REFRESH));
        assert!(before.0 != after.0 && before.1 != after.1, "a new pair");
        let seen = upstream.requests().pop().unwrap();
        assert_eq!(seen.field("x-auth-user"), ["ada"]);
        assert_eq!(seen.field("cookie"), Vec::<String>::new());
        assert_eq!(gate.session(session).generation, 2);
        let quiet = client.get("/admin/a");
        assert_eq!(quiet.field("set-cookie"), Vec::<&str>::new(), "once is enough");
    }
}

#[test]
fn an_access_token_that_is_still_sent_after_its_end_is_refreshed_too() {
    let upstream = application();
    let gate = gate(&upstream, "");
    let mut client = gate.signed_in("ada");
    let old = token(&client, ACCESS);
    gate.pass(ACCESS_TTL);
    client.jar.put(ACCESS, &old);
    assert_eq!(client.get("/a").status, 200);
    // A forged one gets no such help, and a Bearer never does.
    gate.pass(ACCESS_TTL);
    client.jar.put(ACCESS, &old.replace("eyJ", "eyK"));
    assert_eq!(client.get("/a").status, 401);
    let answer = client.ask("GET", "/a").bearer(&old).send();
    assert_eq!(answer.verdict(), (401, "expired".to_owned()));
}

#[test]
fn a_public_route_never_refreshes() {
    let upstream = application();
    let gate = gate(&upstream, "");
    let mut client = gate.signed_in("ada");
    gate.pass(ACCESS_TTL);
    let answer = client.get("/public/a");
    assert_eq!((answer.status, answer.field("set-cookie").len()), (200, 0));
    assert_eq!(client.get("/optional/a").field("set-cookie").len(), 2);
}

#[test]
fn parallel_requests_of_one_browser_get_one_and_the_same_successor() {
    let upstream = application();
    let gate = gate(&upstream, "");
    let client = gate.signed_in("ada");
    gate.pass(ACCESS_TTL);
    let tabs: Vec<_> = (0..12)
        .map(|tab| if tab % 2 == 0 { client.twin() } else { client.twin().over_h2() })
        .collect();
    let tokens: Vec<_> = thread::scope(|scope| {
        let asked: Vec<_> = tabs
            .into_iter()
            .map(|mut tab| {
                scope.spawn(move || {
                    assert_eq!(tab.get("/a").status, 200);
                    token(&tab, REFRESH)
                })
            })
            .collect();
        asked.into_iter().map(|tab| tab.join().unwrap()).collect()
    });
    assert!(tokens.iter().all(|one| *one == tokens[0]), "whichever response comes last");
    assert_ne!(tokens[0], token(&client, REFRESH));
    let mut one = client.twin();
    one.jar.put(REFRESH, &tokens[0]);
    let session = session_of(&mut one);
    assert_eq!(gate.session(session).generation, 3, "one rotation for all, and one for this");
}

#[test]
fn a_late_tab_within_the_grace_gets_the_same_successor_again() {
    let upstream = application();
    let gate = gate(&upstream, "");
    let (mut first, mut second) = {
        let client = gate.signed_in("ada");
        (client.twin(), client)
    };
    gate.pass(ACCESS_TTL);
    first.get("/a");
    gate.pass(GRACE - Duration::from_secs(1));
    second.get("/a");
    assert_eq!(token(&first, REFRESH), token(&second, REFRESH));
    assert_eq!((first.get("/a").status, second.get("/a").status), (200, 200));
}

#[test]
fn a_spent_refresh_token_after_the_grace_ends_the_whole_family() {
    let upstream = application();
    let gate = gate(&upstream, "");
    let mut owner = gate.signed_in("ada");
    let mut thief = owner.twin();
    let session = session_of(&mut owner);
    gate.pass(ACCESS_TTL);
    for _ in 0..2 {
        // The second one presents what the first one was given.
        assert_eq!(owner.get("/a").status, 200);
    }
    until_seen(&gate, session, 2);
    gate.pass(GRACE);
    let answer = thief.get("/a");
    assert_eq!(answer.verdict(), (401, "session_revoked".to_owned()));
    assert!(thief.jar.opens_nothing(), "what is of no use is deleted");
    let ended = gate.session(session).ended.unwrap();
    assert_eq!(ended.reason, EndReason::Theft);
    // The owner's access token is as good as new, and yet refused, at once.
    assert_eq!(owner.get("/a").verdict(), (401, "token_revoked".to_owned()));
    owner.jar.remove(ACCESS);
    assert_eq!(owner.get("/a").verdict(), (401, "session_revoked".to_owned()));
    let told = gate.admin("/metrics").text();
    assert!(told.contains("sallyport_refreshes_total{"), "{told}");
}

#[test]
fn a_response_that_was_lost_logs_nobody_out_however_late_they_come_back() {
    let upstream = application();
    let gate = gate(&upstream, "");
    let mut client = gate.signed_in("ada");
    gate.pass(ACCESS_TTL);
    // Its answer never arrives.
    client.twin().post("/auth/refresh");
    gate.pass(DAY);
    assert_eq!(client.get("/a").status, 200);
    assert_eq!(client.get("/a").status, 200);
}

#[test]
fn cookies_that_come_too_late_are_dropped_and_the_next_request_heals_it() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let upstream = Upstream::answering(move |request| {
        if request.line().contains("/slow") {
            wait.lock().unwrap().recv().unwrap();
        }
        response("200 OK", &[], "the application")
    });
    let gate = gate(&upstream, "");
    let mut client = gate.signed_in("ada");
    gate.pass(ACCESS_TTL);
    let before = token(&client, REFRESH);
    let mut slow = client.twin();
    let answer = thread::scope(|scope| {
        let asked = scope.spawn(|| slow.get("/slow"));
        upstream.wait_for(1);
        gate.pass(GRACE / 2 + Duration::from_secs(1));
        go.send(()).unwrap();
        asked.join().unwrap()
    });
    assert_eq!((answer.status, answer.field("set-cookie").len()), (200, 0));
    assert_eq!(token(&client, REFRESH), before);
    gate.pass(DAY);
    assert_eq!(client.get("/a").status, 200, "a dropped cookie equals a lost response");
}

#[test]
fn in_the_explicit_style_only_the_refresh_endpoint_refreshes() {
    let upstream = application();
    let gate = gate(&upstream, "[session]\nrefresh = \"explicit\"\njitter = 0\n");
    let refresh = "__Secure-sallyport_refresh";
    let mut client = gate.client();
    let answer = client.log_in("ada", PASSWORD, true);
    assert!(attributes(answer.set_cookie(refresh).unwrap()).contains(&"Path=/auth"));
    let old = token(&client, ACCESS);
    gate.pass(ACCESS_TTL);
    let mut program = client.twin();
    program.jar.put(ACCESS, &old);
    assert_eq!(program.get("/a").verdict(), (401, "expired".to_owned()));
    let answer = client.get("/a");
    assert_eq!((answer.status, answer.field("set-cookie").len()), (401, 0));
    let answer = client.post("/auth/refresh");
    assert_eq!(answer.status, 200, "{answer:#?}");
    assert_eq!(answer.json()["expires_at"], gate.clock().now().plus(ACCESS_TTL).secs());
    assert_eq!(client.get("/a").status, 200);
    assert_eq!(client.post("/auth/logout").status, 200);
    assert!(client.jar.opens_nothing());
}

#[test]
fn without_rotation_a_refresh_sets_the_access_cookie_only_and_logout_ends_it_all_the_same() {
    let upstream = application();
    let gate = gate(&upstream, "[session]\nrotate = false\njitter = 0\n");
    let mut client = gate.signed_in("ada");
    let kept = token(&client, REFRESH);
    for _ in 0..3 {
        gate.pass(ACCESS_TTL);
        let answer = client.post("/auth/refresh");
        assert_eq!(answer.status, 200);
        assert!(answer.set_cookie(ACCESS).is_some() && answer.set_cookie(REFRESH).is_none());
        assert_eq!((client.get("/a").status, token(&client, REFRESH)), (200, kept.clone()));
    }
    let mut copy = client.twin();
    client.post("/auth/logout");
    copy.jar.remove(ACCESS);
    assert_eq!(copy.get("/a").verdict(), (401, "session_revoked".to_owned()));
}

/// Asks until the answer has this status; the gateway hears of the operator's acts by itself.
fn until(client: &mut Client, path: &str, status: u16) {
    let waited = Stopwatch::start();
    while client.get(path).status != status {
        assert!(waited.elapsed() < PATIENCE, "{path} never became {status}");
    }
}

#[test]
fn a_grant_and_its_taking_hold_at_once_and_end_no_session() {
    let upstream = application();
    let gate = Gate::before(&upstream);
    let user = gate.add_user("bob", &[], &[]);
    let mut client = gate.signed_in("bob");
    let session = session_of(&mut client);
    assert_eq!(client.get("/admin/a").verdict(), (403, "forbidden".to_owned()));
    let admin = vec!["admin".to_owned()];
    let grant = UserChange { grant_permissions: admin.clone(), ..UserChange::default() };
    let revoke = UserChange { revoke_permissions: admin, ..UserChange::default() };
    for (change, status) in [(grant, 200), (revoke, 403)] {
        gate.pass(Duration::from_secs(1));
        gate.change_user(user, &change);
        gate.pass(Duration::from_millis(1));
        until(&mut client, "/admin/a", status);
        assert_eq!(session_of(&mut client), session);
    }
}

#[test]
fn a_cookie_that_came_twice_and_differently_is_no_credential_and_the_login_page_clears_it() {
    let upstream = application();
    let gate = gate(&upstream, "");
    let client = gate.signed_in("ada");
    let good = token(&client, ACCESS);
    for cookies in [
        format!("Cookie: {ACCESS}={good}; {ACCESS}=tossed\r\n"),
        format!("Cookie: {ACCESS}=tossed; {ACCESS}={good}\r\n"),
        format!("Cookie: {ACCESS}={good}\r\nCookie: {ACCESS}=tossed\r\n"),
    ] {
        let ask = |path: &str| {
            client.raw(format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n{cookies}\r\n")).unwrap()
        };
        assert_eq!(ask("/a").verdict(), (401, "malformed".to_owned()));
        let page = ask("/auth/login");
        let cleared = page.field("set-cookie");
        for name in [ACCESS, REFRESH, "sallyport_access", "__Secure-sallyport_access"] {
            let all = cleared.iter().any(|c| c.starts_with(&format!("{name}=;")));
            assert!(all, "{name} is not cleared: {cleared:#?}");
        }
        assert!(cleared.iter().all(|cookie| cookie.contains("Max-Age=0")));
    }
    // The same value twice is no contradiction.
    let twice = format!("Cookie: {ACCESS}={good}; {ACCESS}={good}\r\n");
    let answer = client.raw(format!("GET /a HTTP/1.1\r\nHost: {HOST}\r\n{twice}\r\n")).unwrap();
    assert_eq!(answer.status, 200);
}

#[test]
fn many_people_at_once_never_swap_identities() {
    let upstream = Upstream::answering(|request| {
        response("200 OK", &[], &request.field("x-auth-user").join(","))
    });
    let gate = Gate::before(&upstream);
    let names: Vec<_> = (0..40).map(|number| format!("user{number}")).collect();
    let clients: Vec<_> = names
        .iter()
        .map(|name| {
            gate.add_user(name, &[], &[]);
            gate.signed_in(name)
        })
        .collect();
    gate.pass(ACCESS_TTL);
    thread::scope(|scope| {
        for (name, mut client) in names.iter().zip(clients) {
            scope.spawn(move || {
                // The first of them refreshes in passing.
                for _ in 0..5 {
                    assert_eq!(client.get("/a").text(), *name);
                    assert_eq!(client.get("/auth/me").json()["login"], name.as_str());
                }
            });
        }
    });
}

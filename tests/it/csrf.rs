//! A foreign page cannot make a browser act at the application in its user's name.

use crate::harness::{ACCESS, Answer, Client, Gate, HOST, ORIGIN, PASSWORD, Upstream, response};

fn setting(lines: &str) -> (Upstream, Gate) {
    let upstream = Upstream::answering(|_| response("200 OK", &[], "the application"));
    let gate = Gate::with(&upstream, lines);
    gate.add_user("ada", &["editor"], &["admin"]);
    (upstream, gate)
}

fn send(client: &Client, method: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
    let mut client = client.twin();
    let mut ask = client.ask(method, path);
    for (name, value) in fields {
        ask = ask.field(name, value);
    }
    ask.send()
}

const EVIL: (&str, &str) = ("Origin", "https://evil.test");
const HEADER: (&str, &str) = ("X-Requested-With", "XMLHttpRequest");
const SAME: (&str, &str) = ("Sec-Fetch-Site", "same-origin");

/// What a request may carry, and whether it passes by the defaults.
const MARKS: &[(&[(&str, &str)], bool)] = &[
    (&[("Origin", ORIGIN)], true),
    (&[("Origin", "HTTPS://LOCALHOST:8443")], true),
    (&[SAME], true),
    (&[HEADER], true),
    (&[("Origin", ORIGIN), SAME, HEADER], true),
    (&[], false),
    (&[EVIL], false),
    (&[EVIL, HEADER], false),
    (&[EVIL, SAME], false),
    (&[EVIL, SAME, HEADER], false),
    (&[("Origin", "null")], false),
    (&[("Origin", "null"), HEADER], false),
    (&[("Origin", "http://localhost:8443")], false),
    (&[("Origin", "https://localhost")], false),
    (&[("Origin", "https://localhost:8444")], false),
    (&[("Origin", "https://localhost:8443.evil.test")], false),
    (&[("Origin", "https://evil-localhost:8443")], false),
    (&[("Origin", "https://user@localhost:8443")], false),
    (&[("Origin", "localhost:8443")], false),
    (&[("Origin", "")], false),
    (&[("Origin", ORIGIN), EVIL], false),
    (&[EVIL, ("Origin", ORIGIN)], false),
    (&[("Sec-Fetch-Site", "cross-site")], false),
    (&[("Sec-Fetch-Site", "same-site")], false),
    (&[("Sec-Fetch-Site", "none")], false),
    (&[SAME, ("Sec-Fetch-Site", "cross-site")], false),
    (&[("X-Requested-With", "xmlhttprequest")], false),
    (&[("X-Requested-With", "fetch")], false),
    (&[HEADER, ("X-Requested-With", "other")], false),
    (&[("Referer", "https://localhost:8443/a")], false),
];

#[test]
fn an_unsafe_method_with_a_cookie_needs_a_signal_on_every_route_and_endpoint() {
    let (upstream, gate) = setting("");
    let client = gate.signed_in("ada");
    for (fields, passes) in MARKS {
        for method in ["POST", "PUT", "PATCH", "DELETE", "PROPFIND"] {
            for path in ["/a", "/admin/a"] {
                let before = upstream.requests().len();
                let answer = send(&client, method, path, fields);
                let reached = upstream.requests().len() > before;
                let wanted = if *passes { (200, "") } else { (403, "csrf_guard") };
                let wanted = (wanted.0, wanted.1.to_owned());
                assert_eq!((answer.verdict(), reached), (wanted, *passes), "{method} {fields:?}");
            }
        }
        if !passes {
            for path in ["/auth/refresh", "/auth/logout"] {
                let answer = send(&client, "POST", path, fields);
                assert_eq!(answer.verdict(), (403, "csrf_guard".to_owned()), "{path} {fields:?}");
                assert!(answer.field("set-cookie").is_empty(), "nothing was done");
            }
        }
    }
    assert_eq!(client.twin().get("/a").status, 200, "nobody was logged out");
}

#[test]
fn safe_methods_bearer_callers_and_public_routes_need_no_signal() {
    let (_upstream, gate) = setting("");
    let client = gate.signed_in("ada");
    for method in ["GET", "HEAD", "OPTIONS"] {
        assert_eq!(send(&client, method, "/a", &[EVIL]).status, 200, "{method}");
    }
    assert_eq!(send(&client, "POST", "/public/a", &[EVIL]).status, 200);
    let bearer = format!("Bearer {}", client.jar.get(ACCESS).unwrap());
    let program = gate.client();
    let fields = [("Authorization", bearer.as_str()), EVIL];
    assert_eq!(send(&program, "POST", "/a", &fields).status, 200);
    // With both it is the Bearer that counts: no foreign page can add it.
    assert_eq!(send(&client, "POST", "/a", &fields).status, 200);
    // A foreign page can add neither, and without a cookie it is only a stranger.
    assert_eq!(send(&program, "POST", "/a", &[EVIL]).status, 401);
}

#[test]
fn a_guest_needs_no_guard_and_a_worthless_cookie_makes_a_guest() {
    let (upstream, gate) = setting("");
    let mut stale = gate.client();
    stale.jar.put(ACCESS, "worthless");
    assert_eq!(send(&stale, "POST", "/optional/a", &[EVIL]).status, 200);
    assert_eq!(upstream.requests()[0].field("x-auth-user"), Vec::<String>::new());
    let client = gate.signed_in("ada");
    let answer = send(&client, "POST", "/optional/a", &[EVIL]);
    assert_eq!(answer.verdict(), (403, "csrf_guard".to_owned()), "nobody speaks for her");
}

#[test]
fn a_forged_request_spends_no_refresh_token() {
    let (_upstream, gate) = setting("");
    let mut client = gate.signed_in("ada");
    client.jar.remove(ACCESS);
    let before = gate.snapshot();
    let answer = send(&client, "POST", "/a", &[EVIL]);
    assert_eq!((answer.status, answer.field("set-cookie").len()), (403, 0));
    assert_eq!(gate.snapshot(), before);
}

#[test]
fn a_login_is_refused_when_it_is_marked_as_foreign_and_passes_unmarked() {
    let (_upstream, gate) = setting("[csrf]\nallowed_origins = [\"https://friend.test\"]\n");
    let log_in = |fields: &[(&str, &str)]| {
        let mut client = gate.client();
        let mut ask = client.ask("POST", "/auth/login");
        for (name, value) in fields {
            ask = ask.field(name, value);
        }
        ask.form(&[("username", "ada"), ("password", PASSWORD)]).send().verdict()
    };
    for fields in [
        &[][..],
        &[("Origin", ORIGIN)],
        &[SAME],
        &[("Sec-Fetch-Site", "none")],
        &[("Origin", "https://friend.test")],
    ] {
        assert_eq!(log_in(fields).0, 200, "{fields:?}");
    }
    for fields in [
        &[EVIL][..],
        &[EVIL, HEADER],
        &[("Origin", "null")],
        &[("Sec-Fetch-Site", "cross-site")],
        &[("Sec-Fetch-Site", "same-site")],
    ] {
        assert_eq!(log_in(fields), (403, "csrf_guard".to_owned()), "{fields:?}");
    }
}

#[test]
fn an_allowed_origin_a_sufficing_header_and_unmarked_requests_pass_where_the_config_says_so() {
    let (_upstream, gate) = setting(
        "[csrf]\nallowed_origins = [\"https://friend.test\"]\nheader_suffices = true\n\
         unmarked = \"allow\"\nstatus = 401\n",
    );
    let client = gate.signed_in("ada");
    for (fields, status) in [
        (&[("Origin", "https://friend.test")][..], 200),
        (&[("Origin", "http://friend.test")], 401),
        (&[EVIL, HEADER], 200),
        (&[EVIL], 401),
        (&[], 200),
        (&[("Origin", "null")], 401),
    ] {
        let answer = send(&client, "POST", "/a", fields);
        assert_eq!(answer.status, status, "{fields:?}");
        if status == 401 {
            assert_eq!(answer.code(), "csrf_guard");
        }
    }
}

#[test]
fn only_the_signals_of_the_config_count_and_safe_methods_too_where_it_says_so() {
    let (_upstream, gate) = setting("[csrf]\nsignals = [\"origin\"]\nsafe_methods = true\n");
    let client = gate.signed_in("ada");
    for (fields, status) in
        [(&[("Origin", ORIGIN)][..], 200), (&[SAME], 403), (&[HEADER], 403), (&[], 403)]
    {
        for method in ["GET", "POST"] {
            assert_eq!(send(&client, method, "/a", fields).status, status, "{method} {fields:?}");
        }
    }
}

#[test]
fn the_own_origin_is_that_of_the_requests_host() {
    let upstream = Upstream::answering(|_| response("200 OK", &[], ""));
    let gate = Gate::before(&upstream);
    gate.add_user("ada", &[], &[]);
    let client = gate.signed_in("ada");
    for (host, origin, status) in [
        (HOST, ORIGIN, 200),
        ("other.test", "https://other.test", 200),
        ("other.test:443", "https://other.test", 200),
        ("OTHER.test.", "https://other.test", 200),
        ("other.test", ORIGIN, 403),
        (HOST, "https://other.test", 403),
    ] {
        let answer = send(&client, "POST", "/a", &[("Host", host), ("Origin", origin)]);
        assert_eq!(answer.status, status, "{host} {origin}");
    }
}

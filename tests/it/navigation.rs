//! People are led to the login page and back; programs are told; nobody is led elsewhere.

use url::{Url, form_urlencoded};

use crate::harness::{ACCESS, ACCESS_TTL, Answer, Gate, HOST, PASSWORD, Upstream, response};

fn setting(lines: &str) -> (Upstream, Gate) {
    let upstream = Upstream::answering(|_| response("200 OK", &[], "the application"));
    let gate = Gate::with(&upstream, lines);
    gate.add_user("ada", &[], &[]);
    (upstream, gate)
}

fn ask(gate: &Gate, method: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
    let mut client = gate.client();
    let mut ask = client.ask(method, path);
    for (name, value) in fields {
        ask = ask.field(name, value);
    }
    ask.send()
}

const HTML: (&str, &str) = ("Accept", "text/html,application/xhtml+xml,*/*;q=0.8");
const ANY: (&str, &str) = ("Accept", "*/*");

#[test]
fn only_a_page_that_a_person_opens_is_led_to_the_login_page() {
    let (_upstream, gate) = setting("");
    let mode = |mode| ("Sec-Fetch-Mode", mode);
    let dest = |dest| ("Sec-Fetch-Dest", dest);
    for (method, fields, leads) in [
        ("GET", &[HTML][..], true),
        ("HEAD", &[HTML], true),
        ("GET", &[("Accept", "application/json, TEXT/HTML")], true),
        ("GET", &[ANY], false),
        ("GET", &[], false),
        ("GET", &[("Accept", "text/html;q=0, */*")], false),
        ("GET", &[("Accept", "application/json")], false),
        ("POST", &[HTML], false),
        ("PUT", &[HTML], false),
        // A browser that says what it fetches is believed, whatever it accepts.
        ("GET", &[mode("navigate"), dest("document"), ANY], true),
        ("POST", &[mode("navigate"), dest("document"), HTML], true),
        ("GET", &[mode("navigate"), dest("iframe"), HTML], false),
        ("GET", &[mode("no-cors"), dest("script"), HTML], false),
        ("GET", &[mode("cors"), dest("empty"), HTML], false),
        ("GET", &[mode("cors"), dest("manifest"), HTML], false),
        ("GET", &[mode("same-origin"), dest("serviceworker"), HTML], false),
        ("GET", &[mode("no-cors"), dest("image"), HTML], false),
        ("GET", &[mode("websocket"), dest("websocket"), HTML], false),
        ("GET", &[dest("document"), HTML], false),
        ("GET", &[("Connection", "Upgrade"), ("Upgrade", "websocket"), HTML], false),
    ] {
        let answer = ask(&gate, method, "/a?b=c", fields);
        let what = format!("{method} {fields:?}: {answer:#?}");
        assert_eq!(answer.one("cache-control"), "no-store", "{what}");
        if leads {
            assert_eq!(answer.status, 303, "{what}");
            assert_eq!(answer.one("x-sallyport"), "login", "{what}");
            let place = answer.one("location");
            assert_eq!(place, "/auth/login?return_to=%2Fa%3Fb%3Dc", "{what}");
        } else {
            assert_eq!(answer.status, 401, "{what}");
            assert_eq!(answer.one("www-authenticate"), "Bearer", "{what}");
        }
    }
}

#[test]
fn a_401_is_never_a_dialogue_of_the_browser() {
    let (_upstream, gate) = setting("");
    for path in ["/a", "/auth/me"] {
        for fields in [&[ANY][..], &[("Authorization", "Basic YTpi")]] {
            let answer = ask(&gate, "GET", path, fields);
            let challenge = answer.one("www-authenticate").to_ascii_lowercase();
            assert!(!challenge.contains("basic") && !challenge.contains("digest"), "{challenge}");
        }
    }
}

/// Where a browser ends up, by the WHATWG's own reader of URLs.
fn lands_at(location: &str) -> Url {
    Url::parse(&format!("https://{HOST}/auth/login")).unwrap().join(location).unwrap()
}

/// Logs in with this `return_to` and follows as far as the gateway leads.
fn log_in_towards(gate: &Gate, place: &str) -> Url {
    let mut client = gate.client();
    let form = [("username", "ada"), ("password", PASSWORD), ("return_to", place)];
    let answer = client.ask("POST", "/auth/login").form(&form).field("Accept", "text/html").send();
    assert_eq!(answer.status, 303, "{place:?}: {answer:#?}");
    let onward = lands_at(answer.one("location"));
    assert_eq!(onward.path(), "/auth/login", "{place:?}");
    let onward = format!("{}?{}", onward.path(), onward.query().unwrap());
    let answer = client.open(&onward);
    assert_eq!(answer.status, 303, "{place:?}: {answer:#?}");
    lands_at(answer.one("location"))
}

const FOREIGN: &[&str] = &[
    "//evil.test",
    "///evil.test",
    "////evil.test/a",
    "/\\evil.test",
    "\\/evil.test",
    "\\\\evil.test",
    "/\t/evil.test",
    "\t//evil.test",
    "/\n/evil.test",
    " //evil.test",
    "https://evil.test",
    "https:evil.test",
    "https:/evil.test",
    "https:\\\\evil.test",
    "HTTPS://EVIL.TEST",
    "http://localhost:8443/",
    "http://friend.test/",
    "https://friend.test.evil.test/",
    "https://evilfriend.test/",
    "https://friend.test:444/",
    "https://friend.test@evil.test/",
    "https://friend.test\\@evil.test/",
    "https://evil.test#@friend.test/",
    "https://evil.test?https://friend.test/",
    "https://localhost:8443@evil.test/",
    "https://localhost:8443.evil.test/",
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "data:text/html,x",
    "vbscript:x",
    "blob:https://evil.test/x",
    "file:///etc/passwd",
    "//localhost:8443@evil.test",
    "/\u{0000}/evil.test",
    "\u{2028}//evil.test",
    "https://\u{ff45}vil.test",
    "evil.test",
    ".evil.test",
    "@evil.test",
    ":evil.test",
    "?//evil.test",
    "#//evil.test",
    "",
    "/auth/login",
    "/auth/logout",
];

#[test]
fn a_login_leads_only_to_places_of_this_site_or_of_a_listed_host() {
    let (_upstream, gate) = setting("[login]\nreturn_hosts = [\"friend.test\"]\n");
    for place in FOREIGN {
        // The NUL never comes so far: the body is refused.
        if place.contains('\0') {
            continue;
        }
        let landed = log_in_towards(&gate, place);
        assert_eq!(landed.as_str(), "https://localhost:8443/", "{place:?}");
    }
    for (place, landed) in [
        ("/", "https://localhost:8443/"),
        ("/a/b?c=d#e", "https://localhost:8443/a/b?c=d#e"),
        ("/a/../b", "https://localhost:8443/b"),
        ("/.//evil.test", "https://localhost:8443/evil.test"),
        ("/a?next=//evil.test", "https://localhost:8443/a?next=//evil.test"),
        ("https://localhost:8443/a", "https://localhost:8443/a"),
        ("https://friend.test/a", "https://friend.test/a"),
    ] {
        assert_eq!(log_in_towards(&gate, place).as_str(), landed, "{place}");
    }
}

#[test]
fn the_login_page_offers_no_foreign_place_and_leads_nobody_there_who_is_in_already() {
    let (_upstream, gate) = setting("");
    let mut signed_in = gate.signed_in("ada");
    for place in FOREIGN {
        let encoded: String = form_urlencoded::byte_serialize(place.as_bytes()).collect();
        let path = format!("/auth/login?return_to={encoded}");
        let page = gate.client().open(&path);
        assert_eq!(page.status, 200, "{place:?}");
        assert!(!page.text().contains("name=\"return_to\""), "{place:?}: {}", page.text());
        let answer = signed_in.open(&path);
        assert_eq!((answer.status, answer.one("location")), (303, "/"), "{place:?}");
    }
    let twice = "/auth/login?return_to=/a&return_to=//evil.test";
    assert!(!gate.client().open(twice).text().contains("name=\"return_to\""));
}

#[test]
fn the_place_to_return_to_is_the_one_that_was_asked_for_and_harmless() {
    let (_upstream, gate) = setting("");
    for (path, landed) in [
        ("/a/b?c=d&e=f", "https://localhost:8443/a/b?c=d&e=f"),
        ("/a%20b", "https://localhost:8443/a%20b"),
        ("//evil.test/x", "https://localhost:8443/"),
    ] {
        let answer = gate.client().open(path);
        let login = lands_at(answer.one("location"));
        let (_, place) = login.query_pairs().find(|(name, _)| name == "return_to").unwrap();
        assert_eq!(log_in_towards(&gate, &place).as_str(), landed, "{path}");
    }
}

#[test]
fn a_person_whose_session_has_ended_is_led_to_the_login_page_which_says_so() {
    let (_upstream, gate) = setting("");
    let mut client = gate.signed_in("ada");
    let mut copy = client.twin();
    client.post("/auth/logout");
    let answer = copy.open("/a");
    assert_eq!(answer.status, 303);
    let page = copy.open(answer.one("location").to_owned().as_str());
    assert_eq!(page.status, 200);
    assert!(copy.jar.opens_nothing(), "what it still held is deleted");
    // Forbidden is no reason to log in again.
    let mut client = gate.signed_in("ada");
    let answer = client.open("/admin/a");
    assert_eq!((answer.status, answer.field("location").len()), (403, 0));
    assert!(answer.text().contains("<!doctype html>"));
    gate.pass(ACCESS_TTL);
    assert!(client.jar.get(ACCESS).is_some());
    assert_eq!(client.open("/a").status, 200);
}

#[test]
fn pages_cannot_be_framed_sniffed_or_kept() {
    let (_upstream, gate) = setting("");
    for path in ["/auth/login", "/auth/logout", "/auth/nothing"] {
        let answer = gate.client().open(path);
        assert_eq!(answer.one("x-content-type-options"), "nosniff", "{path}");
        let policy = answer.one("content-security-policy");
        for rule in ["frame-ancestors 'none'", "default-src 'none'", "form-action"] {
            assert!(policy.contains(rule), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert!(answer.one("cache-control").contains("no-store"), "{path}");
        assert!(!answer.one("referrer-policy").is_empty(), "{path}");
    }
}

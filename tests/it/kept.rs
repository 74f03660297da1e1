//! A form that meets a dead session is kept over the login: for the same account, in the same
//! browser, once, for a while, and sent on by nobody but the person.

use std::time::Duration;

use crate::harness::{
    ACCESS, ACCESS_TTL, Answer, Browser, Client, DEVICE, Gate, ORIGIN, PASSWORD, REFRESH, Upstream,
    response,
};

fn setting(lines: &str) -> (Upstream, Gate) {
    let upstream = Upstream::answering(|request| {
        let form = "<!doctype html><title>Edit</title><form method=post action='/save?draft=1'>\
            <input name=title><textarea name=text></textarea><input type=checkbox name=ok checked>\
            <input name=querySelector value=x><button type=submit name=go value=now>Save</button>\
            </form>";
        let page = if request.line().starts_with("POST") { "<title>Saved</title>" } else { form };
        response("200 OK", &["Content-Type: text/html; charset=utf-8"], page)
    });
    let gate = Gate::with(&upstream, lines);
    for name in ["ada", "eve"] {
        gate.add_user(name, &[], &[]);
    }
    (upstream, gate)
}

/// Sends a form as a browser does.
pub(crate) fn send(client: &mut Client, path: &str, site: &str, fields: &[(&str, &str)]) -> Answer {
    let ask = client.ask("POST", path).field("Accept", "text/html").field("Origin", ORIGIN);
    let ask = ask.field("Sec-Fetch-Mode", "navigate").field("Sec-Fetch-Dest", "document");
    ask.field("Sec-Fetch-Site", site).form(fields).send()
}

pub(crate) fn log_in(client: &mut Client, name: &str, kept: &str) -> Answer {
    let fields = [("username", name), ("password", PASSWORD), ("kept", kept)];
    send(client, "/auth/login", "same-origin", &fields)
}

/// Somebody whose session was ended elsewhere.
fn thrown_out(gate: &Gate) -> Client {
    let client = gate.signed_in("ada");
    assert_eq!(gate.signed_in("ada").post("/auth/sessions/end-others").status, 200);
    client
}

/// What the login page holds of the form.
pub(crate) fn kept_in(answer: &Answer) -> String {
    assert_eq!((answer.status, answer.one("x-sallyport")), (401, "login"), "{answer:#?}");
    assert!(answer.one("cache-control").ends_with("no-store"), "{answer:#?}");
    assert!(answer.one("www-authenticate").starts_with("Bearer"), "{answer:#?}");
    let text = answer.text();
    let (_, value) = text.split_once("name=\"kept\" value=\"").unwrap();
    value.split_once('"').unwrap().0.to_owned()
}

/// Sends what is on the page, as people do.
fn write(browser: &Browser) {
    browser.find("input[name=title]").type_text("\"> & + % <b> \u{e4}\u{5d0}");
    browser.find("textarea").type_text("one\n  two\n");
    browser.find("button").click();
}

#[test]
fn a_person_goes_on_where_their_session_ended_with_script_and_without() {
    let (upstream, gate) = setting("");
    let site = format!("https://localhost:{}", gate.address().port());
    let browser = Browser::start();
    browser.goto(&format!("{site}/edit"));
    let log_in = |secret: &str| {
        browser.find("input[name=password]").type_text(secret);
        browser.find("button[type=submit]").click();
    };
    browser.find("input[name=username]").type_text("ada");
    log_in(PASSWORD);
    browser.until("the form", |browser| browser.title() == "Edit");
    write(&browser);
    browser.until("an answer", |browser| browser.title() == "Saved");
    let sent = |count: usize| {
        let all = upstream.requests().into_iter().filter(|one| one.line().starts_with("POST"));
        let all: Vec<_> = all.map(|one| (one.line(), one.body)).collect();
        assert_eq!(all.len(), count, "{all:?}");
        all.last().cloned().unwrap()
    };
    let straight = sent(1);

    for (before, script) in [(1, true), (2, false)] {
        browser.allow_scripts(script);
        browser.goto(&format!("{site}/edit"));
        assert_eq!(gate.signed_in("ada").post("/auth/sessions/end-others").status, 200);
        write(&browser);
        browser.until("the login page", |browser| browser.title().contains("Log in"));
        assert!(browser.find(".note").text().contains("What you sent is kept"));
        browser.find("input[name=username]").type_text("ada");
        log_in("not my password at all");
        browser.until("a refusal", |browser| browser.title().contains("Error"));
        log_in(PASSWORD);
        browser.until("the way on", |browser| browser.title().contains("logged in again"));
        assert!(browser.find("main").text().contains("/save"));
        sent(before);
        browser.find("button[type=submit]").click();
        browser.until("an answer", |browser| browser.title() == "Saved");
        assert_eq!(browser.url(), format!("{site}/save?draft=1"));
        assert_eq!(sent(before + 1), straight, "script: {script}");
    }
}

#[test]
fn a_kept_form_comes_back_to_its_own_account_and_browser_only_once_and_not_for_long() {
    let (upstream, gate) = setting("");
    let fields = [("text", "private\r\nwords")];
    let mut ada = thrown_out(&gate);
    let answer = send(&mut ada, "/save?draft=1", "same-origin", &fields);
    let kept = kept_in(&answer);
    assert!(!answer.text().contains("private"), "it is sealed");
    assert!(upstream.requests().is_empty());

    let leads_on = |answer: Answer, what: &str| {
        assert_eq!(answer.status, 303, "{what}");
        assert!(!answer.text().contains("private"), "{what}");
    };
    leads_on(log_in(&mut ada, "eve", &kept), "another account");
    let mut elsewhere = gate.signed_in("ada");
    leads_on(log_in(&mut elsewhere, "ada", &kept), "another browser");
    let mut bare = gate.client();
    leads_on(log_in(&mut bare, "ada", &kept), "a browser that nobody has logged in with");
    let mut broken = kept.clone();
    broken.pop();
    leads_on(log_in(&mut ada, "ada", &broken), "touched");
    leads_on(log_in(&mut ada, "ada", "<script>"), "no such thing");

    let answer = log_in(&mut ada, "ada", &kept);
    assert_eq!(answer.status, 200, "{answer:#?}");
    assert_eq!(answer.one("cache-control"), "private, no-store");
    let text = answer.text();
    assert!(text.contains("action=\"&#x2f;save?draft=1\""), "{text}");
    assert!(text.contains("name=\"text\" value=\"private\r\nwords\""), "{text}");
    leads_on(log_in(&mut ada, "ada", &kept), "a second time");

    let late = |gate: &Gate, passed: Duration| {
        let mut ada = thrown_out(gate);
        let kept = kept_in(&send(&mut ada, "/save?draft=1", "same-origin", &fields));
        gate.pass(passed);
        log_in(&mut ada, "ada", &kept)
    };
    assert_eq!(late(&gate, Duration::from_secs(15 * 60 - 1)).status, 200);
    leads_on(late(&gate, Duration::from_mins(15)), "too late");
}

#[test]
fn a_form_is_kept_whatever_has_ended_the_session() {
    let (upstream, gate) = setting("");
    let fields = [("text", "x")];
    let goes_on = |ada: &mut Client, what: &str| {
        let kept = kept_in(&send(ada, "/save", "same-origin", &fields));
        assert_eq!(log_in(ada, "ada", &kept).status, 200, "{what}");
    };
    let mut ada = thrown_out(&gate);
    gate.pass(ACCESS_TTL + Duration::from_secs(1));
    goes_on(&mut ada, "ended elsewhere, and found out by the refresh");
    gate.pass(Duration::from_hours(24 * 8));
    goes_on(&mut ada, "not used for too long");
    gate.pass(Duration::from_hours(24 * 31));
    goes_on(&mut ada, "over");
    ada.jar.end_browser();
    assert!(ada.jar.get(ACCESS).is_none() && ada.jar.get(REFRESH).is_none());
    goes_on(&mut ada, "forgotten by the browser");
    ada.jar.put(ACCESS, "nonsense");
    goes_on(&mut ada, "a token that is none");
    let mut left = gate.signed_in("ada");
    assert_eq!(left.post("/auth/logout").status, 200);
    goes_on(&mut left, "logged out in another tab");
    assert!(upstream.requests().is_empty());
}

#[test]
fn a_failed_login_shows_nothing_but_a_sealed_form_again() {
    let (_upstream, gate) = setting("");
    let mut client = gate.client();
    for (kept, shown) in
        [("k1.c2VhbGVk", "value=\"k1.c2VhbGVk\""), ("\"><b>", "name=\"kept\" value=\"\"")]
    {
        let fields = [("username", "ada"), ("password", "wrong"), ("kept", kept)];
        let text = send(&mut client, "/auth/login", "same-origin", &fields).text();
        assert!(text.contains(shown) || !text.contains("name=\"kept\""), "{text}");
        assert!(!text.contains("<b>"), "{text}");
    }
}

#[test]
fn nothing_is_kept_that_a_foreign_page_or_a_program_sent_or_that_cannot_come_back() {
    let (upstream, gate) = setting("");
    let mut ada = thrown_out(&gate);
    let text = [("text", "x")];
    for site in ["cross-site", "same-site", "none"] {
        let answer = send(&mut ada, "/save", site, &text);
        assert!(answer.status == 303 || answer.status == 403, "{site}: {answer:#?}");
    }
    let large = "x".repeat(64 * 1024);
    for (what, fields) in [
        ("too large", [("text", large.as_str())]),
        ("a lone line end", [("text", "a\nb")]),
        ("no text", [("text", "a\0b")]),
        ("a name that means something", [("_charset_", "x")]),
    ] {
        assert_eq!(send(&mut ada, "/save", "same-origin", &fields).status, 303, "{what}");
    }
    let mut bodies = vec![("multipart/form-data; boundary=x", "--x--"), ("text/plain", "a=b")];
    bodies.push(("application/json", "{}"));
    for (kind, body) in bodies {
        let ask = ada.ask("POST", "/save").field("Accept", "text/html").field("Origin", ORIGIN);
        let ask = ask.field("Sec-Fetch-Mode", "navigate").field("Sec-Fetch-Dest", "document");
        let answer = ask.field("Sec-Fetch-Site", "same-origin").body(kind, body).send();
        assert_eq!(answer.status, 303, "{kind}");
    }
    // A browser in which nobody has ever logged in: there is nobody to keep it for.
    let mut stranger = gate.client();
    assert_eq!(send(&mut stranger, "/save", "same-origin", &text).status, 303);
    assert!(ada.jar.get(DEVICE).is_some() && stranger.jar.get(DEVICE).is_none());
    // A form that just fits.
    let largest = "x".repeat(64 * 1024 - "text=".len());
    let kept = kept_in(&send(&mut ada, "/save", "same-origin", &[("text", largest.as_str())]));
    assert!(log_in(&mut ada, "ada", &kept).text().contains(&largest));
    assert!(upstream.requests().is_empty());
}

#[test]
fn forms_are_kept_only_where_the_operator_wants_it() {
    let (upstream, gate) = setting("[pages]\nkeep_forms = false\n");
    let mut ada = thrown_out(&gate);
    let answer = send(&mut ada, "/save", "same-origin", &[("text", "x")]);
    assert_eq!(answer.status, 303);
    assert!(answer.one("location").ends_with("return_to=%2Fsave"), "{answer:#?}");
    // One that an earlier config has kept is no more than a field that nobody knows.
    assert_eq!(log_in(&mut ada, "ada", "k1.c2VhbGVk").status, 303);
    assert!(upstream.requests().is_empty());
}

#[test]
fn a_stranger_sends_no_larger_body_to_the_login_than_without_kept_forms() {
    let (_upstream, gate) = setting("");
    let large = "x".repeat(100 * 1024);
    assert_eq!(log_in(&mut gate.client(), "ada", &large).status, 413);
    let mut ada = gate.signed_in("ada");
    assert_eq!(log_in(&mut ada, "ada", &large).status, 303);
    ada.jar.put(DEVICE, "k1.c2VhbGVk");
    assert_eq!(log_in(&mut ada, "ada", &large).status, 413);
}

#[test]
fn an_application_that_leads_elsewhere_after_a_kept_form_is_followed() {
    let payments = Upstream::answering(|_| {
        response("200 OK", &["Content-Type: text/html"], "<title>Paid</title>")
    });
    let elsewhere = Gate::before(&payments);
    let target = format!("https://pay.test:{}/public", elsewhere.address().port());
    let upstream = Upstream::answering(move |request| match request.line() {
        line if line.starts_with("POST") => {
            response("303 See Other", &[&format!("Location: {target}/")], "")
        }
        _ => response(
            "200 OK",
            &["Content-Type: text/html"],
            "<title>Edit</title><form method=post action=/pay><button>Pay</button></form>",
        ),
    });
    let gate = Gate::with(&upstream, "");
    gate.add_user("ada", &[], &[]);
    let browser = Browser::start();
    browser.goto(&format!("https://localhost:{}/edit", gate.address().port()));
    let log_in = || {
        browser.find("input[name=username]").type_text("ada");
        browser.find("input[name=password]").type_text(PASSWORD);
        browser.find("button[type=submit]").click();
    };
    log_in();
    browser.until("the form", |browser| browser.title() == "Edit");
    assert_eq!(gate.signed_in("ada").post("/auth/sessions/end-others").status, 200);
    browser.find("button").click();
    log_in();
    browser.find("[data-kept] button").click();
    browser.until("the other site", |browser| browser.title() == "Paid");
}

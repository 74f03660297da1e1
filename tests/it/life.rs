//! A person's whole life with the gateway in a real browser: from the account to the last refusal,
//! with two tabs, a socket and a stream of events through all of it.

use std::io;
use std::time::Duration;

use aws_lc_rs::digest;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::Value;

use crate::harness::{
    ACCESS_TTL, Browser, Connection, Gate, PASSWORD, Request, Upstream, response,
};

/// Pages, an API, events at `/events`, and at `/socket` an echo.
fn notes(connection: &mut Connection) -> io::Result<()> {
    while let Some(request) = connection.request()? {
        let line = request.line();
        let path = line.split([' ', '?']).nth(1).unwrap_or_default();
        if path == "/events" {
            connection.send(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                  Transfer-Encoding: chunked\r\n\r\nd\r\ndata: event\n\n\r\n",
            )?;
            connection.rest()?;
        } else if path == "/socket" {
            echo(connection, &request)?;
        } else {
            let page = "<!doctype html><title>Notes</title><h1>Notes</h1>";
            connection.send(&response("200 OK", &["Content-Type: text/html"], page))?;
        }
    }
    Ok(())
}

/// Agrees to WebSocket (RFC 6455 section 4.2.2), and sends each message back.
fn echo(connection: &mut Connection, request: &Request) -> io::Result<()> {
    let key = request.field("sec-websocket-key").join("");
    let whole = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, whole.as_bytes());
    let accept = BASE64_STANDARD.encode(hash);
    connection.send(
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        )
        .as_bytes(),
    )?;
    loop {
        // Section 5.2; a test's messages are shorter than 126 bytes, and masked.
        let head = connection.bytes(6)?;
        let (opcode, length) = (head[0] & 0x0f, usize::from(head[1] & 0x7f));
        let mut payload = connection.bytes(length)?;
        for (index, byte) in payload.iter_mut().enumerate() {
            *byte ^= head[2 + index % 4];
        }
        connection.send(&[0x80 | opcode, head[1] & 0x7f])?;
        connection.send(&payload)?;
    }
}

fn setting() -> (Upstream, Gate, String) {
    let upstream = Upstream::play(notes);
    let gate = Gate::with(&upstream, "[login]\nsignup = true\nsite_name = \"Field Notes\"\n");
    let site = format!("https://localhost:{}", gate.address().port());
    (upstream, gate, site)
}

fn log_in(browser: &Browser, name: &str, secret: &str) {
    browser.find("input[name=username]").type_text(name);
    browser.find("input[name=password]").type_text(secret);
    browser.find("button[type=submit]").click();
}

fn arrives(browser: &Browser, url: &str) {
    browser.until(url, |browser| browser.url() == url);
}

/// What a script of the application gets for a request.
fn api(browser: &Browser) -> Value {
    let script = "return fetch('/api', {method: 'POST', body: 'x'}).then(answer => answer.status);";
    browser.execute(script, &[])
}

#[test]
fn a_whole_life_with_two_tabs_a_socket_and_events() {
    let (_upstream, gate, site) = setting();
    let browser = Browser::start();

    // Led to the login, over to the signup, and back with the fragment.
    browser.goto(&format!("{site}/notes?page=2#line-7"));
    assert!(browser.url().contains("/auth/login?return_to=%2Fnotes%3Fpage%3D2"));
    browser.find("a[href*='/auth/signup']").click();
    assert_eq!(browser.find("h1").text(), "Create an account");
    browser.find("input[name=username]").type_text("ada");
    browser.find("input[name=password]").type_text(PASSWORD);
    browser.find("input[name=password_confirmation]").type_text(PASSWORD);
    browser.find("button[type=submit]").click();
    arrives(&browser, &format!("{site}/notes?page=2#line-7"));
    assert_eq!(browser.title(), "Notes");

    // Who is in already goes straight on.
    browser.goto(&format!("{site}/auth/login?return_to=/notes%23line-8"));
    arrives(&browser, &format!("{site}/notes#line-8"));

    let script = "window.said = [];\
        const socket = window.socket = new WebSocket('wss://' + location.host + '/socket');\
        socket.onopen = () => socket.send('socket');\
        socket.onmessage = message => said.push(message.data);\
        socket.onclose = () => said.push('closed');\
        const events = new EventSource('/events');\
        events.onmessage = message => said.push(message.data);\
        events.onerror = () => said.push(events.readyState === 2 ? 'refused' : 'ended');";
    browser.execute(script, &[]);
    let says = |browser: &Browser, what: &str| {
        browser.until(what, |browser| {
            browser.execute("return said.includes(arguments[0]);", &[what.into()]) == true
        });
    };
    says(&browser, "socket");
    says(&browser, "event");

    // On through the ends of several access tokens, in both tabs.
    let first = browser.tab();
    let second = browser.open_tab();
    browser.goto(&format!("{site}/notes?tab=2"));
    for turn in 0..3 {
        gate.pass(ACCESS_TTL + Duration::from_secs(1));
        for tab in [&second, &first] {
            browser.switch_to(tab);
            assert_eq!(api(&browser), 200, "turn {turn}");
        }
        let message = format!("turn {turn}");
        browser.execute("socket.send(arguments[0]);", &[message.as_str().into()]);
        says(&browser, &message);
    }

    // Ended elsewhere: thrown out here, stream, socket and both tabs.
    let mut elsewhere = gate.signed_in("ada");
    assert_eq!(elsewhere.post("/auth/sessions/end-others").status, 200);
    says(&browser, "closed");
    says(&browser, "refused");
    for tab in [&first, &second] {
        browser.switch_to(tab);
        assert_eq!(api(&browser), 401);
    }
    browser.goto(&format!("{site}/notes#line-9"));
    assert!(browser.find(".note").text().contains("Your session was ended"), "{}", browser.url());
    log_in(&browser, "ada", PASSWORD);
    arrives(&browser, &format!("{site}/notes#line-9"));

    // After the session's own end.
    gate.pass(Duration::from_hours(24 * 40));
    browser.goto(&format!("{site}/notes"));
    assert!(browser.find(".note").text().contains("Your session has ended"), "{}", browser.url());
    log_in(&browser, "ada", PASSWORD);
    arrives(&browser, &format!("{site}/notes"));

    // Out, and nothing private comes back.
    browser.goto(&format!("{site}/auth/account"));
    assert!(browser.find("dl").text().contains("ada"));
    browser.find("form[action$='/auth/logout'] button").click();
    browser.until("the way out", |browser| browser.url().contains("signed_out"));
    browser.back();
    browser.until("the login page", |browser| browser.url().contains("/auth/login?"));
    assert_eq!(browser.find("h1").text(), "Log in");
    browser.goto(&format!("{site}/notes"));
    assert!(browser.url().contains("/auth/login?"), "out is out");
}

#[test]
fn who_may_not_see_a_page_is_told_who_they_are_and_comes_back_as_another() {
    let (_upstream, gate, site) = setting();
    gate.add_user("eve", &[], &[]);
    gate.add_user("ada", &[], &["admin"]);
    let browser = Browser::start();
    browser.goto(&format!("{site}/admin/users#last"));
    log_in(&browser, "eve", PASSWORD);
    browser.until("a refusal", |browser| browser.title().contains("You may not see this"));
    let told = browser.find("main").text();
    assert!(told.contains("You are logged in as") && told.contains("eve"), "{told}");
    browser.find("main a.button").click();
    browser.find("button[type=submit]").click();
    browser.find("main a.button").click();
    log_in(&browser, "ada", PASSWORD);
    arrives(&browser, &format!("{site}/admin/users#last"));
    assert_eq!(browser.title(), "Notes");
}

#[test]
fn without_a_script_a_person_logs_in_is_told_of_mistakes_and_logs_out() {
    let (_upstream, gate, site) = setting();
    gate.add_user("ada", &[], &[]);
    let browser = Browser::start();
    browser.goto(&format!("{site}/auth/login"));
    browser.allow_scripts(false);
    browser.goto(&format!("{site}/notes?page=2"));
    log_in(&browser, "ada", "not my password at all");
    assert_eq!(browser.find("#error").text(), "Name or password is not right.");
    assert_eq!(browser.find("#identifier").attribute("value").as_deref(), Some("ada"));
    assert_eq!(browser.find("#identifier").attribute("aria-describedby").as_deref(), Some("error"));
    browser.find("input[name=password]").type_text(PASSWORD);
    browser.find("button[type=submit]").click();
    arrives(&browser, &format!("{site}/notes?page=2"));
    browser.goto(&format!("{site}/auth/logout"));
    browser.find("button[type=submit]").click();
    browser.until("the way out", |browser| browser.url().contains("signed_out"));
    browser.goto(&format!("{site}/notes"));
    assert_eq!(browser.find("h1").text(), "Log in");
}

#[test]
fn the_script_shows_a_password_hints_at_caps_lock_and_sends_a_form_once() {
    let (_upstream, gate, site) = setting();
    gate.add_user("ada", &[], &[]);
    let browser = Browser::start();
    browser.goto(&format!("{site}/auth/login?return_to=/notes"));
    let kind =
        |browser: &Browser| browser.execute("return document.querySelector('#secret').type;", &[]);
    browser.find("#identifier").type_text("ada");
    browser.find("#secret").type_text(PASSWORD);
    assert_eq!(kind(&browser), "password");
    browser.find("[data-reveal]").click();
    assert_eq!(kind(&browser), "text");
    assert_eq!(
        browser.find("[data-reveal]").attribute("aria-label").as_deref(),
        Some("Hide password")
    );
    let script = "const field = document.querySelector('#secret'), hint = document.querySelector('[data-caps] p');\
        const told = on => { field.dispatchEvent(new KeyboardEvent('keydown', {modifierCapsLock: on})); return !hint.hidden; };\
        return [told(true), told(false)].join();";
    assert_eq!(browser.execute(script, &[]), "true,false");
    // The second click of a double click is taken for what it is.
    let script = "const form = document.querySelector('form'), button = form.querySelector('[type=submit]');\
        let sent = 0;\
        form.addEventListener('submit', event => { if (!event.defaultPrevented) sent += 1; event.preventDefault(); });\
        button.click(); button.click();\
        return [sent, button.getAttribute('aria-disabled'), button.textContent,\
            document.querySelector('#secret').type].join();";
    assert_eq!(browser.execute(script, &[]), "1,true,Logging in…,password");
}

#[test]
fn a_browser_that_keeps_no_cookies_is_told_so_instead_of_going_in_circles() {
    let (_upstream, gate, site) = setting();
    gate.add_user("ada", &[], &[]);
    let browser = Browser::start_without_cookies();
    browser.goto(&format!("{site}/notes"));
    log_in(&browser, "ada", PASSWORD);
    browser.until("the reason", |browser| browser.title().contains("did not keep the login"));
    assert!(browser.find("main").text().contains("Allow cookies for this site"));
    browser.find("main a.button").click();
    assert_eq!(browser.find("h1").text(), "Log in");
    assert!(browser.url().contains("return_to=/notes"), "{}", browser.url());
}

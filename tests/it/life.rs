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
        } else if path == "/edit" {
            let page = "<!doctype html><title>Edit</title><form method=post action=/save>\
                <textarea name=text></textarea><button>Save</button></form>";
            connection.send(&response("200 OK", &["Content-Type: text/html"], page))?;
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
    type_anew(browser, "username", name);
    type_anew(browser, "password", secret);
    browser.press("main button[type=submit]");
}

/// Types over what a form has kept of an attempt before.
fn type_anew(browser: &Browser, field: &str, text: &str) {
    let field = browser.find(&format!("input[name={field}]"));
    field.clear();
    field.type_text(text);
}

fn arrives(browser: &Browser, url: &str) {
    browser.until(url, |browser| browser.url() == url);
}

fn shows(browser: &Browser, title: &str) {
    browser.until(title, |browser| browser.title().contains(title));
}

/// What a script of the application gets for a request.
fn api(browser: &Browser) -> Value {
    let script = "return fetch('/api', {method: 'POST', body: 'x'}).then(answer => answer.status);";
    browser.execute(script, &[])
}

#[test]
fn a_whole_life_on_a_desk_by_light_with_script() {
    whole_life(true, |browser| browser.look(1280, 900, false));
}

#[test]
fn a_whole_life_on_a_phone_in_the_dark_without_script() {
    whole_life(false, |browser| browser.look(390, 844, true));
}

/// A person in one tab, where pages may have scripts or not, and the application at work in another.
struct Life<'a> {
    site: &'a str,
    browser: &'a Browser,
    /// Whether the person's pages run scripts.
    script: bool,
    person: String,
    app: String,
}

impl Life<'_> {
    /// Where the browser is after a login from `place`: only a script can take the fragment over it.
    fn place(&self, place: &str) -> String {
        let kept = if self.script { place } else { place.split('#').next().unwrap() };
        format!("{}{kept}", self.site)
    }

    /// Everybody can use this page.
    fn is_accessible(&self) {
        let Self { browser, .. } = self;
        assert!(browser.fits(), "{} is wider than the screen", browser.title());
        if self.script {
            assert_eq!(browser.violations(), "", "{}", browser.title());
        }
    }

    /// Waits for what socket or stream say in the application's tab.
    fn says(&self, what: &str) {
        self.browser.until(what, |browser| {
            browser.execute("return said.includes(arguments[0]);", &[what.into()]) == true
        });
    }

    /// Opens a socket and a stream of events in the application's tab.
    fn work(&self) {
        self.browser.switch_to(&self.app);
        self.browser.goto(&format!("{}/notes?tab=2", self.site));
        let script = "window.said = [];\
            const socket = window.socket = new WebSocket('wss://' + location.host + '/socket');\
            socket.onopen = () => socket.send('socket');\
            socket.onmessage = message => said.push(message.data);\
            socket.onclose = () => said.push('closed');\
            const events = new EventSource('/events');\
            events.onmessage = message => said.push(message.data);\
            events.onerror = () => said.push(events.readyState === 2 ? 'refused' : 'ended');";
        self.browser.execute(script, &[]);
        self.says("socket");
        self.says("event");
        self.browser.switch_to(&self.person);
    }
}

fn whole_life(script: bool, look: impl Fn(&Browser)) {
    let (upstream, gate, site) = setting();
    let browser = &Browser::start();
    let person = browser.tab();
    let app = browser.open_tab();
    browser.switch_to(&person);
    let life = Life { site: &site, browser, script, person, app };
    look(browser);
    if script {
        browser.bring_axe();
    }
    browser.goto(&format!("{site}/auth/login"));
    browser.allow_scripts(script);

    begins(&life);
    life.work();
    goes_on(&life, &gate);
    is_thrown_out_while_writing(&life, &gate, &upstream);

    // After the session's own end.
    gate.pass(Duration::from_hours(24 * 40));
    browser.goto(&format!("{site}/notes?later#line-9"));
    assert!(browser.find(".note").text().contains("Your session has ended"), "{}", browser.url());
    life.is_accessible();
    log_in(browser, "ada", PASSWORD);
    arrives(browser, &life.place("/notes?later#line-9"));

    let secret = changes_the_password(&life, &gate);
    goes(&life, &secret);
}

/// Led to the login, over to the signup, and back with the fragment.
fn begins(life: &Life<'_>) {
    let Life { site, browser, .. } = life;
    browser.goto(&format!("{site}/notes?page=2#line-7"));
    assert!(browser.url().contains("/auth/login?return_to=%2Fnotes%3Fpage%3D2"));
    life.is_accessible();
    log_in(browser, "ada", "nobody has this name yet");
    shows(browser, "Error: ");
    assert_eq!(browser.find("#error").text(), "Name or password is not right.");
    life.is_accessible();
    browser.find("a[href*='/auth/signup']").click();
    assert_eq!(browser.find("h1").text(), "Create an account");
    life.is_accessible();
    let sign_up = |repeated: &str| {
        type_anew(browser, "username", "ada");
        type_anew(browser, "password", PASSWORD);
        type_anew(browser, "password_confirmation", repeated);
        browser.press("main button[type=submit]");
    };
    sign_up("something else altogether");
    shows(browser, "Error: ");
    assert!(browser.find("#error").text().contains("not the same"));
    life.is_accessible();
    sign_up(PASSWORD);
    arrives(browser, &life.place("/notes?page=2#line-7"));
    assert_eq!(browser.title(), "Notes");
    // Who is in already goes straight on.
    browser.goto(&format!("{site}/auth/login?return_to=/notes%23line-8"));
    arrives(browser, &format!("{site}/notes#line-8"));
}

/// On through the ends of several access tokens, in both tabs.
fn goes_on(life: &Life<'_>, gate: &Gate) {
    let Life { site, browser, .. } = life;
    for turn in 0..3 {
        gate.pass(ACCESS_TTL + Duration::from_secs(1));
        let page = format!("{site}/notes?turn={turn}");
        browser.goto(&page);
        assert_eq!((browser.url(), browser.title()), (page, "Notes".to_owned()));
        browser.switch_to(&life.app);
        assert_eq!(api(browser), 200, "turn {turn}");
        let message = format!("turn {turn}");
        browser.execute("socket.send(arguments[0]);", &[message.as_str().into()]);
        life.says(&message);
        browser.switch_to(&life.person);
    }
}

/// Ended elsewhere: stream and socket end in one tab, and what was written in the other survives.
fn is_thrown_out_while_writing(life: &Life<'_>, gate: &Gate, upstream: &Upstream) {
    let Life { site, browser, .. } = life;
    browser.goto(&format!("{site}/edit"));
    browser.find("textarea").type_text("an hour's work\n");
    let mut elsewhere = gate.signed_in("ada");
    assert_eq!(elsewhere.post("/auth/sessions/end-others").status, 200);
    browser.switch_to(&life.app);
    life.says("closed");
    life.says("refused");
    assert_eq!(api(browser), 401);
    browser.switch_to(&life.person);
    browser.find("button").click();
    shows(browser, "Log in");
    assert!(browser.find(".note").text().contains("What you sent is kept"), "{}", browser.url());
    life.is_accessible();
    log_in(browser, "ada", PASSWORD);
    shows(browser, "You are logged in again");
    life.is_accessible();
    let saved =
        || upstream.requests().into_iter().filter(|one| one.line().starts_with("POST /save"));
    assert_eq!(saved().count(), 0, "nobody sends it but the person");
    browser.find("[data-kept] button").click();
    arrives(browser, &format!("{site}/save"));
    let bodies: Vec<_> = saved().map(|one| String::from_utf8(one.body).unwrap()).collect();
    assert_eq!(bodies, ["text=an+hour%27s+work%0D%0A"]);

    assert_eq!(elsewhere.post("/auth/sessions/end-others").status, 200);
    browser.goto(&format!("{site}/notes#line-9"));
    assert!(browser.find(".note").text().contains("Your session was ended"), "{}", browser.url());
    life.is_accessible();
    log_in(browser, "ada", PASSWORD);
    arrives(browser, &life.place("/notes#line-9"));
}

/// Returns the new one.
fn changes_the_password(life: &Life<'_>, gate: &Gate) -> String {
    let Life { site, browser, .. } = life;
    let new = "quite another secret of mine";
    let mut elsewhere = gate.signed_in("ada");
    browser.goto(&format!("{site}/auth/account"));
    assert!(browser.find("dl").text().contains("ada"));
    assert!(browser.find(".sessions").text().contains("this device"));
    life.is_accessible();
    browser.find("a[href$='/auth/password']").click();
    life.is_accessible();
    for (current, shown) in [("not my password at all", "Error: "), (PASSWORD, "Your account")] {
        type_anew(browser, "current_password", current);
        type_anew(browser, "new_password", new);
        type_anew(browser, "password_confirmation", new);
        browser.press("main button[type=submit]");
        shows(browser, shown);
        life.is_accessible();
    }
    assert!(browser.find(".note").text().contains("Your password is changed"));
    assert_eq!(elsewhere.get("/notes").status, 401, "all other sessions have ended");
    new.to_owned()
}

/// Out, and nothing private comes back.
fn goes(life: &Life<'_>, secret: &str) {
    let Life { site, browser, .. } = life;
    browser.goto(&format!("{site}/auth/logout"));
    assert_eq!(browser.find("h1").text(), "Log out?");
    life.is_accessible();
    browser.goto(&format!("{site}/auth/account"));
    browser.find("form[action$='/auth/logout'] button").click();
    browser.until("the way out", |browser| browser.url().contains("signed_out"));
    assert_eq!(browser.find("h1").text(), "You are logged out");
    life.is_accessible();
    browser.back();
    browser.until("the login page", |browser| browser.url().contains("/auth/login?"));
    assert_eq!(browser.find("h1").text(), "Log in");
    browser.goto(&format!("{site}/notes"));
    assert!(browser.url().contains("/auth/login?"), "out is out");
    log_in(browser, "ada", PASSWORD);
    shows(browser, "Error: ");
    log_in(browser, "ada", secret);
    arrives(browser, &format!("{site}/notes"));
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
    browser.press("main a.button");
    browser.press("button[type=submit]");
    browser.press("main a.button");
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

//! The pages that a person meets beside the straight way of `life`: what links lead to, what refuses
//! them, and what they are called, on the running gateway, in both languages, for everybody.

use std::time::Duration;

use sallyport::clock::Timestamp;
use sallyport::config::NameCase;
use sallyport::id::UserId;
use sallyport::session::{Purpose, draw_link, login_key};
use sallyport::store::rows::User;

use crate::harness::{Browser, Gate, PASSWORD, Upstream, response};

/// Languages and looks: by light on a desk, in the dark on a phone.
const LOOKS: [(&str, u32, u32, bool); 2] = [("de", 1280, 900, false), ("en", 390, 844, true)];

fn setting(lines: &str) -> (Upstream, Gate) {
    let upstream = Upstream::answering(|_| {
        response("200 OK", &["Content-Type: text/html"], "<!doctype html><title>Notes</title>")
    });
    let gate = Gate::with(&upstream, lines);
    (upstream, gate)
}

/// A browser of somebody who speaks `language`, for each of [`LOOKS`].
fn visitors() -> impl Iterator<Item = (Browser, &'static str)> {
    LOOKS.into_iter().map(|(language, width, height, dark)| {
        let browser = Browser::start_speaking(language);
        browser.look(width, height, dark);
        browser.bring_axe();
        (browser, language)
    })
}

/// The page is what it is to be, and everybody can use it.
fn meets(browser: &Browser, language: &str, name: &str, heading: &str) {
    browser.until(heading, |browser| browser.title().contains(heading));
    assert!(browser.find("h1").text().contains(heading), "{name}");
    let root = browser.find("html").attribute("lang");
    assert_eq!(root.as_deref(), Some(language), "{name}");
    assert!(browser.fits(), "{name} is wider than the screen");
    assert_eq!(browser.violations(), "", "{name} in {language}");
    browser.picture(&format!("visit-{name}-{language}"));
}

fn log_in(browser: &Browser, name: &str, secret: &str) {
    let field = browser.find("input[name=username]");
    field.clear();
    field.type_text(name);
    browser.find("input[name=password]").type_text(secret);
    browser.press("main button[type=submit]");
}

#[test]
fn links_lead_to_pages_for_everybody() {
    let (_upstream, gate) = setting("[login]\nsite_name = \"Field Notes\"\n");
    let ada = gate.add_user("ada", &[], &[]);
    // Where there is no account yet.
    let (_nobody, empty) = setting("");
    let site = |gate: &Gate| format!("https://localhost:{}/auth", gate.address().port());
    let link = |gate: &Gate, purpose| {
        let now = gate.clock().now();
        let (link, secret) = draw_link(purpose, Duration::from_hours(1), now).unwrap();
        gate.store(async |store| store.add_link(&link).await).unwrap();
        secret.expose().to_owned()
    };
    let invited = || Purpose::Invite { roles: Vec::new(), permissions: Vec::new() };
    for (browser, language) in visitors() {
        let german = language == "de";
        let either = |de: &'static str, en: &'static str| if german { de } else { en };
        for (name, purpose, heading) in [
            ("setup", Purpose::Setup, either("erste Konto", "first account")),
            ("invite", invited(), either("eingeladen", "You are invited")),
            (
                "reset",
                Purpose::Reset(ada),
                either("Neues Passwort wählen", "Choose a new password"),
            ),
        ] {
            let gate = if name == "setup" { &empty } else { &gate };
            browser.goto(&format!("{}/{name}?token={}", site(gate), link(gate, purpose)));
            meets(&browser, language, name, heading);
        }
        // The reset's own mistake, and its end.
        for secret in ["short", "a secret of many words"] {
            browser.find("input[name=new_password]").type_text(secret);
            browser.find("input[name=password_confirmation]").type_text(secret);
            browser.press("main button[type=submit]");
            let heading = match secret.len() {
                5 => either("Neues Passwort wählen", "Choose a new password"),
                _ => either("Anmelden", "Log in"),
            };
            meets(&browser, language, &format!("reset-{}", secret.len()), heading);
        }
        let told = browser.find(".note").text();
        assert!(told.contains(either("Passwort wurde geändert", "password was changed")), "{told}");
        browser.goto(&format!("{}/invite?token=spent", site(&gate)));
        meets(&browser, language, "spent", either("nicht mehr", "does not work any more"));
    }
}

#[test]
fn refusals_are_pages_for_everybody_and_say_what_can_be_done() {
    let (upstream, gate) = setting("");
    drop(upstream);
    for name in ["ada", "bob"] {
        gate.add_user(name, &[], &[]);
    }
    let site = format!("https://localhost:{}", gate.address().port());
    for ((browser, language), name) in visitors().zip(["ada", "bob"]) {
        let german = language == "de";
        let either = |de: &'static str, en: &'static str| if german { de } else { en };
        browser.goto(&format!("{site}/auth/nothing"));
        meets(&browser, language, "404", either("Hier ist nichts", "There is nothing here"));
        browser.goto(&format!("{site}/public/x"));
        meets(&browser, language, "502", either("Anwendung", "The application gave no answer"));
        let facts = browser.find(".facts").text();
        assert!(facts.contains("502"), "{facts}");
        assert!(facts.lines().count() == 2, "with the request's id: {facts}");

        browser.goto(&format!("{site}/admin/users"));
        log_in(&browser, name, PASSWORD);
        meets(&browser, language, "403", either("für Sie gesperrt", "You may not see this"));
        let told = browser.find("main").text();
        assert!(told.contains(name) && told.contains(either("Anderes Konto", "another account")));

        // Somebody else at another machine guesses until nobody may.
        browser.delete_cookies();
        browser.goto(&format!("{site}/auth/login"));
        for _ in 0..6 {
            log_in(&browser, name, "not my password at all");
        }
        meets(&browser, language, "429", either("Anmelden", "Log in"));
        let told = browser.find("#error").text();
        assert!(told.contains("min") || told.contains(" s"), "with the time left: {told}");
    }
}

#[test]
fn what_a_person_is_called_breaks_no_page() {
    let (_upstream, gate) = setting("");
    let site = format!("https://localhost:{}", gate.address().port());
    let odd = "<b>\"A'&amp;\u{202e}da\u{202c}\u{5d0}";
    let long = "Wolfeschlegelsteinhausenbergerdorff".repeat(7);
    let someone = gate.add_user("someone", &[], &[]);
    let someone = gate.store(async |store| store.user(someone).await).unwrap().unwrap();
    for (login, name) in [("odd<i>&\"'", odd), ("long", &*long)] {
        let user = User {
            id: UserId::generate(Timestamp::from_secs(1_800_000_000)).unwrap(),
            login: login.to_owned(),
            login_key: login_key(login, NameCase::Fold).unwrap(),
            name: Some(name.to_owned()),
            email: Some(format!("{}@example.org", "x".repeat(60))),
            roles: vec!["<u>".to_owned(), long.clone()],
            ..someone.clone()
        };
        gate.store(async |store| store.add_user(&user).await).unwrap();
        let browser = Browser::start();
        browser.look(390, 844, false);
        browser.bring_axe();
        browser.goto(&format!("{site}/auth/login?return_to=/auth/account"));
        log_in(&browser, login, "<script>alert(1)</script>");
        browser.until("a refusal", |browser| browser.title().contains("Error: "));
        let kept = browser.execute("return document.querySelector('#identifier').value;", &[]);
        assert_eq!(kept, login);
        log_in(&browser, login, PASSWORD);
        meets(&browser, "en", &format!("name-{}", login.len()), "Your account");
        let shown = browser.find("dl").text();
        assert!(shown.contains(login), "{shown}");
        assert!(!shown.contains('\u{202e}'), "nobody turns the text around: {shown}");
        let elements =
            "return document.querySelectorAll('dd *, li b, li i, script:not([src])').length;";
        assert_eq!(browser.execute(elements, &[]), 0);
    }
}

/// WebDriver's names of keys (section 17.4.2).
const TAB: &str = "\u{e004}";
const ENTER: &str = "\u{e007}";
const SHIFT: &str = "\u{e008}";
const SPACE: &str = "\u{e00d}";

#[test]
fn who_has_only_a_keyboard_logs_in_and_always_sees_where_they_are() {
    let (_upstream, gate) = setting("[login]\nsignup = true\n");
    gate.add_user("ada", &[], &[]);
    let browser = Browser::start();
    browser.goto(&format!("https://localhost:{}/notes", gate.address().port()));
    let focus = |wanted: &str| {
        let script = "const one = document.activeElement, ring = one.closest('.box') || one;\
            const style = getComputedStyle(one.matches('.box button') ? one : ring);\
            const place = one.getBoundingClientRect();\
            return [one.id || one.name || one.textContent, style.outlineStyle,\
                place.top >= 0 && place.bottom <= innerHeight].join('|');";
        let found = browser.execute(script, &[]);
        assert_eq!(found, format!("{wanted}|solid|true"));
    };
    let keys = |text: &str| browser.focused().type_text(text);
    focus("identifier");
    keys("ada");
    keys(TAB);
    focus("secret");
    keys(PASSWORD);
    keys(TAB);
    focus("Show");
    keys(SPACE);
    // It shows, and leads back to what it has shown.
    focus("secret");
    keys(TAB);
    focus("Hide");
    for next in ["remember", "Log in", "Sign up"] {
        keys(TAB);
        focus(next);
    }
    keys(&format!("{SHIFT}{TAB}{SHIFT}"));
    focus("Log in");
    keys(ENTER);
    browser.until("the application", |browser| browser.title() == "Notes");

    // The first stop of every page leads past its head.
    browser.goto(&format!("https://localhost:{}/auth/account", gate.address().port()));
    keys(TAB);
    focus("Skip to content");
    keys(ENTER);
    keys(TAB);
    focus("Change password");
}

#[test]
fn an_application_that_leads_to_another_site_right_after_a_login_is_followed() {
    let friend = Upstream::answering(|_| {
        response("200 OK", &["Content-Type: text/html"], "<title>Friend</title>")
    });
    let friend = (Gate::before(&friend), friend);
    let host = format!("friend.test:{}", friend.0.address().port());
    // A script goes on where Chromium stops; without one the host has to be listed.
    for (script, lines) in [
        (true, String::new()),
        (true, format!("[login]\nreturn_hosts = [\"{host}\"]\n")),
        (false, format!("[login]\nreturn_hosts = [\"{host}\"]\n")),
    ] {
        let target = format!("Location: https://{host}/public");
        let upstream = Upstream::answering(move |_| response("302 Found", &[&target], ""));
        let gate = Gate::with(&upstream, &lines);
        gate.add_user("ada", &[], &[]);
        let browser = Browser::start();
        let site = format!("https://localhost:{}", gate.address().port());
        browser.goto(&format!("{site}/auth/login"));
        browser.allow_scripts(script);
        browser.goto(&format!("{site}/notes"));
        browser.find("input[name=username]").type_text("ada");
        browser.find("input[name=password]").type_text(PASSWORD);
        browser.find("main button[type=submit]").click();
        browser.until("the friend's page", |browser| browser.title() == "Friend");
    }
}

//! `config/turnstile.toml`: a captcha before the password, permissions in the token, and people who
//! come by the login page.

use std::time::Duration;

use super::Shipped;
use super::exchange::replay;
use super::shipped::{Variables, claims};
use crate::harness::{Answer, Browser, curl};

const ORIGIN: &str = "http://127.0.0.1:9153";
const API: &str = include_str!("../../fixtures/turnstile/1-api.txt");
const SECRET: &str = "correct horse battery staple";
/// How a browser asks for a page.
const PAGE: [&str; 6] =
    ["-H", "Accept: text/html", "-H", "Sec-Fetch-Mode: navigate", "-H", "Sec-Fetch-Dest: document"];

fn turnstile() -> Shipped {
    let site = Shipped::start("turnstile");
    let add = ["user", "add", "ada", "--permission", "reports", "--password-stdin"];
    site.sallyport(&add, SECRET);
    site
}

#[test]
fn its_clients_show_a_captcha_and_get_a_token_with_permissions_for_half_an_hour() {
    let site = turnstile();
    let mut known = Variables::new();
    replay(&site, ORIGIN, API, &mut known);
    let claims = claims(&known["token"]);
    assert_eq!(claims["permissions"], serde_json::json!(["reports"]));
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 1800);

    let field = format!("Authorization: Bearer {}", known["token"]);
    let ask = || site.curl(&[&format!("{ORIGIN}/api/reports/1"), "-H", &field]);
    site.pass(Duration::from_secs(1799));
    assert_eq!(ask().status, 200);
    site.pass(Duration::from_secs(1));
    assert_eq!(ask().verdict(), (401, "expired".to_owned()));
}

#[test]
fn a_person_solves_the_captcha_on_the_login_page_and_comes_back_to_what_they_wanted() {
    let site = turnstile();
    let page = |url: &str, more: &[&str]| -> Answer {
        site.curl(&[&[url][..], PAGE.as_slice(), more].concat())
    };
    let led = page(&format!("{ORIGIN}/api/reports/2026?q=1"), &[]);
    assert_eq!(
        (led.status, led.one("location")),
        (303, "/auth/login?return_to=%2Fapi%2Freports%2F2026%3Fq%3D1")
    );

    let login = page(&format!("{ORIGIN}{}", led.one("location")), &[]);
    let html = login.text();
    assert!(html.contains("action=\"&#x2f;api&#x2f;Auth\""), "{html}");
    assert!(html.contains("data-sitekey=\"1x00000000000000000000AA\""), "{html}");
    assert!(html.contains("data-response-field-name=\"turnstileToken\""), "{html}");
    let (before, _) = html.split_once("/widget.js").expect("the widget's script");
    let stand_in = before.rsplit('"').next().unwrap();
    let policy = login.one("content-security-policy");
    assert!(policy.contains(&format!("script-src 'self' {stand_in}")), "{policy}");

    let solve = || {
        let query = "sitekey=1x00000000000000000000AA&hostname=127.0.0.1";
        let told = curl(&[&format!("{stand_in}/token?{query}")]).json();
        told["token"].as_str().unwrap().to_owned()
    };
    let post = |token: &str| {
        let form = format!(
            "username=ada&password=correct+horse+battery+staple&return_to=%2Fapi%2Freports%2F2026%3Fq%3D1&turnstileToken={token}"
        );
        let origin = format!("Origin: {}", site.url());
        page(&format!("{ORIGIN}/api/Auth"), &["-d", &form, "-H", &origin])
    };
    let token = solve();
    let begun = post(&token);
    assert_eq!(begun.status, 303, "{begun:#?}");
    let access = begun.set_cookie("turnstile_access").unwrap();
    assert!(access.contains("Max-Age=1800"), "{access}");
    assert_eq!(begun.set_cookie("turnstile_refresh"), None);
    let cookie = format!("Cookie: {}", access.split(';').next().unwrap());
    let on = page(&format!("{ORIGIN}{}", begun.one("location")), &["-H", &cookie]);
    assert_eq!((on.status, on.one("location")), (303, "/api/reports/2026?q=1"));
    assert_eq!(page(&format!("{ORIGIN}{}", on.one("location")), &["-H", &cookie]).status, 200);

    // A token is good once, and not for ever.
    assert_eq!(post(&token).status, 400);
    let late = solve();
    site.pass(Duration::from_secs(300));
    assert_eq!(post(&late).status, 400);
    assert_eq!(post(&solve()).status, 303);
}

#[test]
fn a_browser_shows_the_widget_and_repeats_what_was_asked_for_after_the_login() {
    let site = turnstile();
    let url = site.url();
    let browser = Browser::start();
    let asked = format!("{url}/api/reports/2026?q=1");
    let fill = || {
        browser.find("input[name=username]").type_text("ada");
        browser.find("input[name=password]").type_text(SECRET);
        browser.find("button[type=submit]").click();
    };
    let log_in = || {
        browser.find("[data-sitekey][data-stand-in=solved]");
        fill();
        browser.until("what was asked for", |browser| browser.url() == asked);
        assert_eq!(browser.title(), "Demo application");
        let script = "return [...document.querySelectorAll('tr')]\
            .map(row => row.cells[0].textContent + ': ' + row.cells[1].textContent).join('\\n');";
        let received = browser.execute(script, &[]).as_str().unwrap().to_owned();
        assert!(received.contains("x-auth-user: ada\n"), "{received}");
        assert!(received.contains("x-auth-permissions: reports"), "{received}");
    };
    browser.goto(&asked);
    let login = format!("{url}/auth/login?return_to=%2Fapi%2Freports%2F2026%3Fq%3D1");
    assert_eq!(browser.url(), login);
    log_in();
    // Half an hour later there is nothing to refresh it with: the widget again.
    site.pass(Duration::from_secs(1800));
    browser.goto(&asked);
    assert!(browser.url().starts_with(&format!("{url}/auth/login?")), "{}", browser.url());
    log_in();

    // A script's request meets the 401 itself, and goes again after the login.
    site.pass(Duration::from_secs(1800));
    let fetch = "return fetch('/api/reports/1').then(answer => answer.json().then(
        told => [answer.status, told.error, told.login_url].join(' ').trim()));";
    assert_eq!(browser.execute(fetch, &[]), "401 expired /auth/login");
    browser.goto(&login);
    log_in();
    assert_eq!(browser.execute(fetch, &[]), "200");
    // A form that a dead session meets is kept over the login, widget and all, and sent by a click.
    site.pass(Duration::from_secs(1800));
    let send = "document.body.insertAdjacentHTML('beforeend', \
        '<form method=post action=/api/reports/new><input name=title value=Autumn></form>');
        document.forms[document.forms.length - 1].submit();";
    browser.execute(send, &[]);
    browser.find("[data-sitekey][data-stand-in=solved]");
    fill();
    browser.find("form[data-kept] button").click();
    browser.until("the application", |browser| browser.title() == "Demo application");
    assert_eq!(browser.url(), format!("{url}/api/reports/new"));
    let received = browser.find("main").text();
    assert!(received.contains("POST /api/reports/new, 12 bytes"), "{received}");

    // What the permissions do not allow, no login gives.
    let refused = "return fetch('/api/users/7').then(answer => answer.status);";
    assert_eq!(browser.execute(refused, &[]), 403);
    browser.goto(&format!("{url}/api/users/7"));
    assert!(browser.find("main").text().contains("forbidden"), "{}", browser.find("main").text());
}

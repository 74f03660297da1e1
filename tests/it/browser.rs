//! A person with a real browser: led to the login page, in, still in when tokens have ended, out.

use crate::harness::{ACCESS, Browser, DEVICE, PASSWORD, Process, REFRESH, ROUTES, add_user};

#[test]
fn a_person_logs_in_stays_in_and_logs_out() {
    let folder = tempfile::tempdir().unwrap();
    Process::configure(
        folder.path(),
        &format!(
            "[session]\naccess_ttl = \"3s\"\n\
             [[upstream]]\nname = \"app\"\nservers = [\"demo\"]\n{ROUTES}"
        ),
    );
    add_user(folder.path(), "ada");
    let process = Process::start(folder.path());
    let browser = Browser::start();
    let site = format!("https://localhost:{}", process.address().port());

    browser.goto(&format!("{site}/reports?year=2025"));
    let login = format!("{site}/auth/login?return_to=%2Freports%3Fyear%3D2025");
    assert_eq!(browser.url(), login);
    assert!(browser.cookies().is_empty());

    // A wrong password says so and keeps the name.
    browser.find("input[name=username]").type_text("ada");
    browser.find("input[name=password]").type_text("not my password at all");
    browser.find("button[type=submit]").click();
    assert!(browser.find("#error").text().contains("password"), "{}", browser.url());
    let name = browser.find("input[name=username]");
    assert_eq!(name.attribute("value").as_deref(), Some("ada"));

    browser.find("input[name=password]").type_text(PASSWORD);
    browser.find("input[name=remember]").click();
    browser.find("button[type=submit]").click();
    browser.until("the page that was asked for", |browser| {
        browser.url() == format!("{site}/reports?year=2025")
    });
    assert_eq!(browser.title(), "Demo application");
    let shows = |browser: &Browser, name: &str| {
        let script = "return [...document.querySelectorAll('tr')]\
            .filter(row => row.cells[0].textContent === arguments[0])\
            .map(row => row.cells[1].textContent).join('|');";
        browser.execute(script, &[name.into()])
    };
    assert_eq!(shows(&browser, "x-auth-user"), "ada");
    assert_eq!(shows(&browser, "cookie"), "", "our cookies stay with us");
    assert_eq!(browser.execute("return document.cookie;", &[]), "", "and away from scripts");
    for name in [ACCESS, REFRESH] {
        let cookie = browser.cookie(name).unwrap();
        let kept = serde_json::json!({
            "httpOnly": cookie["httpOnly"], "secure": cookie["secure"],
            "sameSite": cookie["sameSite"], "path": cookie["path"],
        });
        let wanted = serde_json::json!({
            "httpOnly": true, "secure": true, "sameSite": "Lax", "path": "/",
        });
        assert_eq!(kept, wanted, "{name}");
    }

    // The access token ends, and its cookie with it; the person notices nothing.
    let before = browser.cookie(REFRESH).unwrap()["value"].clone();
    browser.until("the access cookie has ended", |browser| browser.cookie(ACCESS).is_none());
    browser.goto(&format!("{site}/reports?year=2026"));
    assert_eq!(browser.url(), format!("{site}/reports?year=2026"));
    assert_eq!(shows(&browser, "x-auth-user"), "ada");
    assert_ne!(browser.cookie(REFRESH).unwrap()["value"], before, "refreshed in passing");
    // A script's request is answered in the same way.
    browser.until("the access cookie has ended", |browser| browser.cookie(ACCESS).is_none());
    let script = "return fetch('/api', {method: 'POST', body: 'x'}).then(answer => answer.status);";
    assert_eq!(browser.execute(script, &[]), 200);

    browser.goto(&format!("{site}/auth/logout"));
    browser.find("button[type=submit]").click();
    browser.until("the way out", |browser| browser.url().contains("signed_out"));
    let left: Vec<_> = browser.cookies().iter().map(|cookie| cookie["name"].clone()).collect();
    assert_eq!(left, [DEVICE], "it outlives the session, and opens nothing");
    browser.goto(&format!("{site}/reports?year=2025"));
    assert_eq!(browser.url(), login, "out is out");
    // From a page of the application: ours let no script call anywhere.
    browser.goto(&format!("{site}/public/a"));
    assert_eq!(browser.execute(script, &[]), 401);
}

#[test]
fn a_person_makes_the_first_account_changes_its_password_and_ends_a_session() {
    let folder = tempfile::tempdir().unwrap();
    let app = format!("[[upstream]]\nname = \"app\"\nservers = [\"demo\"]\n{ROUTES}");
    Process::configure(folder.path(), &app);
    let process = Process::start(folder.path());
    process.err.wait_for("user add NAME");
    let told = process.err.text();
    let here = format!("--permission admin --config {}", folder.path().display());
    assert!(told.contains(&here), "the command that reaches this store: {told}");
    let (_, token) = told.split_once("/auth/setup?token=").unwrap();
    let token = token.split_whitespace().next().unwrap();
    let site = format!("https://localhost:{}", process.address().port());
    let browser = Browser::start();

    browser.goto(&format!("{site}/auth/setup?token={token}"));
    browser.find("input[name=username]").type_text("ada");
    browser.find("input[name=password]").type_text(PASSWORD);
    browser.find("input[name=password_confirmation]").type_text("something else");
    browser.find("button[type=submit]").click();
    assert!(browser.find("#error").text().contains("not the same"), "{}", browser.url());
    browser.find("input[name=password]").type_text(PASSWORD);
    browser.find("input[name=password_confirmation]").type_text(PASSWORD);
    browser.find("button[type=submit]").click();
    browser.until("the application", |browser| browser.url() == format!("{site}/"));
    assert_eq!(browser.title(), "Demo application");
    browser.goto(&format!("{site}/auth/setup?token={token}"));
    assert!(browser.find("h1").text().contains("does not work any more"));

    // Somebody else who knows the password.
    assert_eq!(process.client().log_in("ada", PASSWORD, false).status, 200);
    browser.goto(&format!("{site}/auth/account"));
    assert_eq!(browser.find("h1").text(), "Your account");
    browser.find(".sessions form button").click();
    browser.until("the end of it", |browser| browser.url().contains("done=session_ended"));
    assert!(browser.find(".note").text().contains("has ended"));

    let new = "quite another secret of mine";
    browser.find("a[href$='/auth/password']").click();
    browser.find("input[name=current_password]").type_text(PASSWORD);
    browser.find("input[name=new_password]").type_text(new);
    browser.find("input[name=password_confirmation]").type_text(new);
    browser.find("button[type=submit]").click();
    browser.until("the account page", |browser| browser.url().contains("done=password_changed"));
    assert!(browser.find(".note").text().contains("password is changed"));
    assert_eq!(process.client().log_in("ada", PASSWORD, false).status, 401);
    assert_eq!(process.client().log_in("ada", new, false).status, 200);
}

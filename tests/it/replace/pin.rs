//! `config/pin.toml`: the shell lines of its clients work as they stand.

use std::time::Duration;

use super::Shipped;
use super::shipped::{Variables, claims};
use crate::harness::Answer;

const LOGIN: &str = include_str!("../../fixtures/pin/1-login.sh");
const REFRESH: &str = include_str!("../../fixtures/pin/2-refresh.sh");
const LOGOUT: &str = include_str!("../../fixtures/pin/3-logout.sh");

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

fn pin() -> Shipped {
    let pin = Shipped::start("pin");
    pin.sallyport(&["user", "add", "cooluser1", "--password-stdin"], "0000");
    pin
}

fn log_in(pin: &Shipped, name: &str, secret: &str) -> Answer {
    let body = format!("{{\"name\":\"{name}\",\"pin\":\"{secret}\"}}");
    let url = "http://127.0.0.1:9154/auth/login";
    pin.curl(&["-X", "POST", url, "-H", "Content-Type: application/json", "-d", &body])
}

/// What an application behind it is asked for with this access token.
fn visit(pin: &Shipped, access: &str) -> Answer {
    pin.curl(&["http://127.0.0.1:9154/scores", "-H", &format!("Cookie: accessToken={access}")])
}

#[test]
fn a_login_answers_with_the_message_and_two_cookies_that_live_as_promised() {
    let pin = pin();
    let answer = log_in(&pin, "cooluser1", "0000");
    assert_eq!(answer.status, 200, "{answer:#?}");
    assert_eq!(answer.text(), r#"{"message":"Login successful"}"#);
    assert_eq!(answer.one("content-type"), "application/json");
    let access = answer.set_cookie("accessToken").unwrap();
    assert!(access.ends_with("; HttpOnly; SameSite=Lax; Path=/; Max-Age=60"), "{access}");
    let refresh = answer.set_cookie("refreshToken").unwrap();
    assert!(
        refresh.ends_with("; HttpOnly; SameSite=Lax; Path=/auth; Max-Age=2592000"),
        "{refresh}"
    );
    let token = access.split(['=', ';']).nth(1).unwrap();
    let claims = claims(token);
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 60);
    assert_eq!(claims["preferred_username"], "cooluser1");
}

#[test]
fn a_minute_and_thirty_days_are_that_in_whichever_part_of_a_second_they_begin() {
    let pin = pin();
    for part in [1, 499, 998] {
        pin.pass(Duration::from_millis(part));
        let login = log_in(&pin, "cooluser1", "0000");
        for (name, life) in [("accessToken", "60"), ("refreshToken", "2592000")] {
            let cookie = login.set_cookie(name).unwrap();
            assert!(cookie.ends_with(&format!("; Max-Age={life}")), "{cookie}");
        }
    }
}

#[test]
fn the_shell_lines_work_as_they_stand_and_the_refresh_an_hour_later_too() {
    let pin = pin();
    let mut shell = Variables::new();
    pin.shell(LOGIN, &mut shell);
    let (access, refresh) = (shell["ACCESS_TOKEN"].clone(), shell["REFRESH_TOKEN"].clone());
    assert!(access.matches('.').count() == 2 && refresh.matches('.').count() == 2, "{shell:?}");
    let seen = visit(&pin, &access);
    assert_eq!(seen.status, 200, "{seen:#?}");
    assert!(seen.text().contains("cooluser1") && !seen.text().contains(&access), "{seen:#?}");

    // The same variables each time: nothing ever writes a new token into them.
    for _ in 0..3 {
        pin.pass(HOUR);
        assert_eq!(visit(&pin, &access).verdict(), (401, "expired".to_owned()));
        let output = pin.shell(REFRESH, &mut shell);
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.contains("< HTTP/1.1 200 OK"), "{told}");
        let body: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let fresh = body["accessToken"].as_str().unwrap();
        let expected = format!(
            r#"{{"message":"Access token refreshed successfully","accessToken":"{fresh}"}}"#
        );
        assert_eq!(String::from_utf8(output.stdout.clone()).unwrap(), expected);
        let cookies: Vec<&str> = told
            .lines()
            .filter(|line| line.to_ascii_lowercase().starts_with("< set-cookie"))
            .collect();
        let [cookie] = cookies.as_slice() else { panic!("{cookies:?}") };
        assert!(cookie.contains(&format!("accessToken={fresh};")), "{cookie}");
        assert!(cookie.contains("Max-Age=60"), "{cookie}");
        assert_eq!(visit(&pin, fresh).status, 200);
        pin.pass(MINUTE);
        assert_eq!(visit(&pin, fresh).status, 401);
    }
}

#[test]
fn logout_needs_a_valid_access_token_and_ends_what_the_refresh_token_could_renew() {
    let pin = pin();
    let mut shell = Variables::new();
    pin.shell(LOGIN, &mut shell);
    pin.pass(MINUTE);
    let late = pin.shell(LOGOUT, &mut shell);
    let late: serde_json::Value = serde_json::from_slice(&late.stdout).unwrap();
    assert_eq!(late["error"], "expired", "{late}");

    // Nothing was ended by that.
    let refreshed = pin.shell(REFRESH, &mut shell);
    let refreshed: serde_json::Value = serde_json::from_slice(&refreshed.stdout).unwrap();
    let fresh = refreshed["accessToken"].as_str().unwrap().to_owned();
    shell.insert("ACCESS_TOKEN".to_owned(), fresh.clone());
    let out = pin.shell(LOGOUT, &mut shell);
    assert_eq!(String::from_utf8(out.stdout).unwrap(), r#"{"message":"Logout successful"}"#);

    assert_eq!(visit(&pin, &fresh).verdict(), (401, "token_revoked".to_owned()));
    let refused = pin.shell(REFRESH, &mut shell);
    let refused: serde_json::Value = serde_json::from_slice(&refused.stdout).unwrap();
    assert_eq!(refused["error"], "session_revoked", "{refused}");
}

#[test]
fn logout_deletes_both_cookies() {
    let pin = pin();
    let answer = log_in(&pin, "cooluser1", "0000");
    let cookie = |name| answer.set_cookie(name).unwrap().split(';').next().unwrap().to_owned();
    let (access, refresh) = (cookie("accessToken"), cookie("refreshToken"));
    let url = "http://127.0.0.1:9154/auth/logout";
    let fields = [format!("Cookie: {access}"), format!("Cookie: {refresh}")];
    let out = pin.curl(&["-X", "POST", url, "-H", &fields[0], "-H", &fields[1]]);
    assert_eq!(out.status, 200, "{out:#?}");
    let deleted = out.field("set-cookie");
    for start in [
        "accessToken=; HttpOnly; SameSite=Lax; Path=/;",
        "refreshToken=; HttpOnly; SameSite=Lax; Path=/auth;",
    ] {
        let found = deleted.iter().any(|one| one.starts_with(start) && one.contains("Max-Age=0"));
        assert!(found, "{start}: {deleted:?}");
    }
}

#[test]
fn a_pin_is_guessed_at_three_times_a_day_and_only_digits_are_pins() {
    let pin = pin();
    for _ in 0..3 {
        assert_eq!(
            log_in(&pin, "cooluser1", "1111").verdict(),
            (401, "invalid_credentials".to_owned())
        );
    }
    let refused = log_in(&pin, "cooluser1", "0000");
    assert_eq!(refused.verdict(), (429, "rate_limited".to_owned()));
    assert_eq!(refused.one("retry-after"), "28800");
}

#[test]
fn what_a_browser_marks_as_foreign_is_refused_though_a_shell_need_not_mark_itself() {
    let pin = pin();
    let answer = log_in(&pin, "cooluser1", "0000");
    let refresh = answer.set_cookie("refreshToken").unwrap().split(';').next().unwrap().to_owned();
    let cookie = format!("Cookie: {refresh}");
    let url = "http://127.0.0.1:9154/auth/refresh";
    for foreign in ["Origin: https://evil.example", "Sec-Fetch-Site: cross-site"] {
        let refused = pin.curl(&["-X", "POST", url, "-H", &cookie, "-H", foreign]);
        assert_eq!(refused.verdict(), (403, "csrf_guard".to_owned()), "{foreign}");
    }
    assert_eq!(pin.curl(&["-X", "POST", url, "-H", &cookie]).status, 200);
}

//! `config/inspir.toml`: accounts with signup and Bearer tokens for seven days.

use std::time::Duration;

use super::Shipped;
use super::exchange::replay;
use super::shipped::{Variables, claims};
use crate::harness::Answer;

const ORIGIN: &str = "http://127.0.0.1:9152";
const QUARTER: Duration = Duration::from_secs(15 * 60);
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

fn log_in(site: &Shipped, secret: &str) -> Answer {
    let body = format!("{{\"username\":\"ada\",\"password\":\"{secret}\"}}");
    let url = format!("{ORIGIN}/api/auth/login");
    site.curl(&[&url, "-H", "Content-Type: application/json", "-d", &body])
}

fn me(site: &Shipped, token: &str) -> (u16, String) {
    let field = format!("Authorization: Bearer {token}");
    site.curl(&[&format!("{ORIGIN}/api/auth/me"), "-H", &field]).verdict()
}

fn ada(site: &Shipped) {
    site.sallyport(&["user", "add", "ada", "--password-stdin"], "secret1");
}

#[test]
fn its_error_tables_hold_word_for_word() {
    let site = Shipped::start("inspir");
    replay(
        &site,
        ORIGIN,
        include_str!("../../fixtures/inspir/1-errors.txt"),
        &mut Variables::new(),
    );
}

#[test]
fn its_clients_sign_up_log_in_use_refresh_and_end_their_tokens() {
    let site = Shipped::start("inspir");
    let mut known = Variables::new();
    replay(&site, ORIGIN, include_str!("../../fixtures/inspir/2-flow.txt"), &mut known);
    let token = claims(&known["token"]);
    assert_eq!(token["id"].as_str(), Some(known["id"].as_str()));
    assert_eq!(known["id"].len(), 36, "a UUID: {}", known["id"]);
    assert_eq!(token["username"], "Ada-1_x");
    let life = token["exp"].as_i64().unwrap() - token["iat"].as_i64().unwrap();
    assert_eq!(life, 7 * 24 * 3600);
}

#[test]
fn a_token_ends_at_once_with_its_user() {
    let site = Shipped::start("inspir");
    ada(&site);
    let token = log_in(&site, "secret1").json()["token"].as_str().unwrap().to_owned();
    assert_eq!(me(&site, &token).0, 200);
    site.sallyport(&["user", "remove", "ada"], "");
    let gone = (401, "Invalid or expired token".to_owned());
    site.until(|| me(&site, &token) == gone);
}

#[test]
fn a_token_ends_after_seven_days() {
    let site = Shipped::start("inspir");
    ada(&site);
    let token = log_in(&site, "secret1").json()["token"].as_str().unwrap().to_owned();
    site.pass(WEEK - Duration::from_secs(1));
    assert_eq!(me(&site, &token).0, 200);
    site.pass(Duration::from_secs(1));
    assert_eq!(me(&site, &token), (401, "Token expired".to_owned()));
}

#[test]
fn five_attempts_are_heard_in_fifteen_minutes_whether_they_succeed_or_not() {
    let site = Shipped::start("inspir");
    ada(&site);
    let mut statuses = Vec::new();
    for secret in ["secret1", "wrong", "secret1", "wrong", "secret1", "secret1"] {
        statuses.push(log_in(&site, secret).status);
    }
    assert_eq!(statuses, [200, 401, 200, 401, 200, 429]);
    let refused = log_in(&site, "secret1");
    assert_eq!(refused.verdict(), (429, "Too many authentication attempts".to_owned()));
    assert_eq!(refused.one("ratelimit-limit"), "5");
    site.pass(QUARTER);
    assert_eq!(log_in(&site, "secret1").status, 200);
}

//! `config/questkit.toml`: tokens that an app's backend mints for its users.

use std::time::Duration;

use super::Shipped;
use super::exchange::replay;
use super::shipped::{Variables, claims, header};

const ORIGIN: &str = "http://127.0.0.1:9151";
const MINT: &str = include_str!("../../fixtures/questkit/1-mint.txt");
const USE: &str = include_str!("../../fixtures/questkit/2-use.txt");

fn questkit() -> (Shipped, Variables) {
    let site = Shipped::start("questkit");
    let secret = site.sallyport(&["app", "add", "your-app-id"], "");
    let known = Variables::from([("secret".to_owned(), secret.trim().to_owned())]);
    (site, known)
}

#[test]
fn a_minted_token_has_exactly_the_promised_claims_and_end() {
    let (site, mut known) = questkit();
    replay(&site, ORIGIN, MINT, &mut known);
    let claims = claims(&known["token"]);
    let mut names: Vec<&String> = claims.as_object().unwrap().keys().collect();
    names.sort();
    assert_eq!(names, ["exp", "iat", "jti", "sub"]);
    assert_eq!(claims["sub"], "usr_demo_123");
    let (iat, exp) = (claims["iat"].as_i64().unwrap(), claims["exp"].as_i64().unwrap());
    assert_eq!(exp - iat, 3600);
    assert_eq!(known["expires"], (exp * 1000).to_string());
    let jti = claims["jti"].as_str().unwrap();
    assert!(jti.len() == 32 && jti.bytes().all(|one| one.is_ascii_hexdigit()), "{jti}");
    assert_eq!(header(&known["token"])["alg"], "HS256");
}

#[test]
fn bearer_and_cookie_callers_meet_the_guard_and_the_codes_that_they_know() {
    let (site, mut known) = questkit();
    replay(&site, ORIGIN, MINT, &mut known);
    let token = known["token"].clone();
    known.insert("jti".to_owned(), claims(&token)["jti"].as_str().unwrap().to_owned());
    let (head, signature) = token.rsplit_once('.').unwrap();
    let other = if signature.starts_with('A') { 'B' } else { 'A' };
    known.insert("forged".to_owned(), format!("{head}.{other}{}", &signature[1..]));
    replay(&site, ORIGIN, USE, &mut known);
}

#[test]
fn a_token_ends_after_an_hour_and_the_operator_can_end_it_before() {
    let (site, mut known) = questkit();
    replay(&site, ORIGIN, MINT, &mut known);
    let ask = |token: &str| {
        let field = format!("Authorization: Bearer {token}");
        let answer = site.curl(&[&format!("{ORIGIN}/v1/missions"), "-H", &field]);
        (answer.status, answer.text())
    };
    let jti = claims(&known["other"])["jti"].as_str().unwrap().to_owned();
    assert_eq!(ask(&known["other"]).0, 200);
    site.sallyport(&["token", "revoke", &jti], "");
    site.until(|| ask(&known["other"]) == (401, "token_revoked".to_owned()));

    site.pass(Duration::from_secs(3599));
    let seen = ask(&known["token"]);
    assert_eq!(seen.0, 200);
    assert!(
        seen.1.contains("\"usr_demo_123\""),
        "the application is told the app's own name: {seen:?}"
    );
    site.pass(Duration::from_secs(1));
    assert_eq!(ask(&known["token"]), (401, "expired".to_owned()));
}

//! A system that nobody has shipped: its configuration is written here, and no code for it.

use std::collections::HashSet;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::json;

use super::Shipped;
use super::exchange::replay;
use super::shipped::Variables;
use crate::harness::{Upstream, response};

const ORIGIN: &str = "http://127.0.0.1:9199";

const CONFIG: &str = r#"
[listen]
dev_http = "127.0.0.1:9199"
public_url = "http://127.0.0.1:9199"

[store]
url = "sqlite://../data/fifth.db"

[session]
access_ttl = "10m"
jitter = 0
refresh_ttl = "12h"
idle_ttl = "12h"
refresh = "explicit"

[cookies]
access = "sid"
refresh = "rid"
device = false
same_site = "strict"

[login]
base = "/account"
secret_field = "passphrase"
remember = "always"
secret = { min_length = 8, blocklist = false }
signup = true

[captcha]
url = "{SERVICE}/siteverify"
secret = "0x0000000000000000000000000000000000000000"
site_key = "10000000-ffff-ffff-ffff-000000000001"
script = "https://js.hcaptcha.com/1/api.js"
origins = ["https://hcaptcha.com", "https://*.hcaptcha.com"]
widget = "h-captcha"
field = "h-captcha-response"
hostnames = ["127.0.0.1"]

[csrf]
signals = [{ header = "x-client", value = "acme" }]

[errors]
body = { ok = false, problem = { kind = "$code", text = "$message", status = "$status" } }

[errors.codes]
invalid_credentials = "E_LOGIN"
validation_error = "E_INPUT"
captcha_failed = "E_ROBOT"
captcha_unavailable = "E_LATER"
missing_token = "E_NONE"

[errors.messages]
invalid_credentials = "Nope."
body_unknown = "What is that field?"
captcha_failed = "Are you a robot?"
captcha_unavailable = "Ask again in $retry_after."
missing_token = "Who are you? Code $status."

[errors.statuses]
invalid_credentials = 422
missing_token = 403

[endpoints.login_page]
path = false

[endpoints.keys]
path = false

[endpoints.login]
path = "/v2/session"
method = "PUT"
status = 201
fields = { username = ["mail", "e-mail"], captcha = "proof" }
unknown_fields = "refuse"
cookies = ["access"]
body = { ok = true, data = { renew = "$refresh_token", seconds = "$expires_at_in", until = "$refresh_expires_at_iso", said = "Hello $user.login, you have $$0.", roles = "$user.roles" } }

[endpoints.signup]
path = "/v2/people"
fields = { username = "mail", password_confirmation = "again", captcha = "proof" }
unknown_fields = "refuse"
cookies = []
body = "$user.login"

[endpoints.refresh]
path = "/v2/session/renew"
fields = { refresh_token = "renew" }
cookies = ["access"]
body = { ok = true, data = { renew = "$refresh_token", seconds = "$expires_at_in" } }

[endpoints.refresh.errors]
body = "$code"

[endpoints.logout]
path = "/v2/session"
method = "DELETE"
access = "required"
status = 204

[endpoints.me]
path = "/v2/session"
body = "$login"

[[upstream]]
name = "demo"
servers = ["demo"]

[[route]]
path = "/**"
"#;

const FLOW: &str = r##"
# an unknown field is refused
> PUT /v2/session
> content-type: application/json
> {"mail": "ada@acme.example", "passphrase": "open sesame", "password": "x"}
< 400
< {"ok": false, "problem": {"kind": "E_INPUT", "text": "What is that field?", "status": 400}}

# a wrong passphrase
> PUT /v2/session
> content-type: application/json
> {"mail": "ada@acme.example", "passphrase": "open sesam", "proof": "P1_one"}
< 422
< content-type: application/json
< x-sallyport: invalid_credentials
< {"ok": false, "problem": {"kind": "E_LOGIN", "text": "Nope.", "status": 422}}

# two names of one field
> PUT /v2/session
> content-type: application/json
> {"mail": "ada@acme.example", "e-mail": "eve@acme.example", "passphrase": "open sesame", "proof": "P1_x"}
< 400
< {"ok": false, "problem": {"kind": "E_INPUT", "text": "A field comes twice.", "status": 400}}

# no captcha
> PUT /v2/session
> content-type: application/json
> {"mail": "ada@acme.example", "passphrase": "open sesame"}
< 400
< {"ok": false, "problem": {"kind": "E_ROBOT", "text": "Are you a robot?", "status": 400}}

# a captcha that was solved before
> PUT /v2/session
> content-type: application/json
> {"mail": "ada@acme.example", "passphrase": "open sesame", "proof": "P1_one"}
< 400
< {"ok": false, "problem": {"kind": "E_ROBOT", "text": "Are you a robot?", "status": 400}}

# a captcha that the service does not know
> PUT /v2/session
> content-type: application/json
> {"mail": "ada@acme.example", "passphrase": "open sesame", "proof": "made up"}
< 400
< {"ok": false, "problem": {"kind": "E_ROBOT", "text": "Are you a robot?", "status": 400}}

# a captcha that was solved elsewhere
> PUT /v2/session
> content-type: application/json
> {"mail": "ada@acme.example", "passphrase": "open sesame", "proof": "P1_elsewhere"}
< 400
< {"ok": false, "problem": {"kind": "E_ROBOT", "text": "Are you a robot?", "status": 400}}

# a service that is out of order
> PUT /v2/session
> content-type: application/json
> {"mail": "ada@acme.example", "passphrase": "open sesame", "proof": "broken"}
< 503
< {"ok": false, "problem": {"kind": "E_LATER", "text": "<later>", "status": 503}}

# another vendor's field is unknown
> PUT /v2/session
> content-type: application/json
> {"mail": "ada@acme.example", "passphrase": "open sesame", "turnstileToken": "P1_y"}
< 400
< {"ok": false, "problem": {"kind": "E_INPUT", "text": "What is that field?", "status": 400}}

# a new account
> POST /v2/people
> content-type: application/json
> {"mail": "bob@acme.example", "passphrase": "open barley", "again": "open barley", "proof": "P1_bob"}
< 201
< content-type: text/plain; charset=utf-8
< set-cookie: <absent>
< bob@acme.example

# and none without a captcha
> POST /v2/people
> content-type: application/json
> {"mail": "eve@acme.example", "passphrase": "open barley", "again": "open barley"}
< 400
< {"ok": false, "problem": {"kind": "E_ROBOT", "text": "Are you a robot?", "status": 400}}

# a login
> PUT /v2/session
> content-type: application/json
> {"e-mail": "ada@acme.example", "passphrase": "open sesame", "proof": "P1_two"}
< 201
< content-type: application/json
< {"ok": true, "data": {"renew": "<renew>", "seconds": 600, "until": "<*>", "said": "Hello ada@acme.example, you have $0.", "roles": ["boss"]}}

# nobody
> GET /v2/session
< 403
< {"ok": false, "problem": {"kind": "E_NONE", "text": "Who are you? Code 403.", "status": 403}}

# the path's other methods are the application's, and closed
> POST /v2/session
< 403
< {"ok": false, "problem": {"kind": "E_NONE", "text": "Who are you? Code 403.", "status": 403}}

# what was the path before is nothing now
> POST /account/login
< 404
< {"ok": false, "problem": {"kind": "not_found", "text": "There is nothing here.", "status": 404}}

# a new token for that in the body
> POST /v2/session/renew
> content-type: application/json
> {"renew": "{renew}"}
< 200
< {"ok": true, "data": {"renew": "<next>", "seconds": 600}}

# none in the body
> POST /v2/session/renew
< 403
< content-type: text/plain; charset=utf-8
< E_NONE
"##;

/// A service that answers as hCaptcha documents it: a token of its begins with `P1_`, is good once,
/// and was solved where it was solved.
fn service() -> Upstream {
    let seen = Mutex::new(HashSet::new());
    Upstream::answering(move |request| {
        let form: Vec<_> = form_urlencoded::parse(&request.body).into_owned().collect();
        let field = |name: &str| form.iter().find(|(key, _)| key == name).map(|(_, value)| value);
        let token = field("response").cloned().unwrap_or_default();
        let no = |code: &str| json!({ "success": false, "error-codes": [code] });
        let answer = match field("secret").map(String::as_str) {
            None | Some("") => no("missing-input-secret"),
            Some(secret) if !secret.starts_with("0x") => no("invalid-input-secret"),
            Some(_) if token == "broken" => return response("502 Bad Gateway", &[], "oh dear"),
            Some(_) if !token.starts_with("P1_") || !seen.lock().unwrap().insert(token.clone()) => {
                no("invalid-or-already-seen-response")
            }
            Some(_) => json!({
                "success": true,
                "challenge_ts": "2026-01-31T10:20:30.000000Z",
                "hostname": if token == "P1_elsewhere" { "evil.test" } else { "127.0.0.1" },
                "credit": false,
            }),
        };
        response("200 OK", &["Content-Type: application/json"], &answer.to_string())
    })
}

#[test]
fn a_fifth_system_needs_no_code() {
    let service = service();
    let site = Shipped::of("fifth", &CONFIG.replace("{SERVICE}", &service.url()));
    let add = ["user", "add", "ada@acme.example", "--role", "boss", "--password-stdin"];
    site.sallyport(&add, "open sesame");
    let mut known = Variables::new();
    replay(&site, ORIGIN, FLOW, &mut known);
    let later = known["later"].strip_prefix("Ask again in ").unwrap().trim_end_matches('.');
    assert!((2..=5).contains(&later.parse::<u32>().unwrap()), "{later}");
    let asked = service.requests().pop().unwrap();
    assert_eq!(asked.line(), "POST /siteverify HTTP/1.1");

    let body = |proof: &str| {
        format!(r#"{{"mail":"ada@acme.example","passphrase":"open sesame","proof":"{proof}"}}"#)
    };
    let url = format!("{ORIGIN}/v2/session");
    let json = "Content-Type: application/json";
    let login = site.curl(&["-X", "PUT", &url, "-H", json, "-d", &body("P1_three")]);
    let sid = login.set_cookie("sid").unwrap();
    assert!(sid.ends_with("; HttpOnly; SameSite=Strict; Path=/; Max-Age=600"), "{sid}");
    assert_eq!(login.field("set-cookie").len(), 1, "no refresh cookie: {login:#?}");

    let cookie = format!("Cookie: {}", sid.split(';').next().unwrap());
    let me = site.curl(&[&url, "-H", &cookie]);
    assert_eq!((me.status, me.text()), (200, "ada@acme.example".to_owned()));
    let unmeant = site.curl(&["-X", "DELETE", &url, "-H", &cookie]);
    assert_eq!((unmeant.status, unmeant.one("x-sallyport")), (403, "csrf_guard"));
    let out = site.curl(&["-X", "DELETE", &url, "-H", &cookie, "-H", "X-Client: acme"]);
    assert_eq!((out.status, out.text()), (204, String::new()));
    let deleted = "sid=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0";
    assert!(out.field("set-cookie").contains(&deleted), "{out:#?}");
    let gone = site.curl(&[&url, "-H", &cookie]);
    assert_eq!((gone.status, gone.one("x-sallyport")), (401, "token_revoked"));

    // A browser that has no login page gets the refusal, and is led nowhere.
    let page = site.curl(&[&format!("{ORIGIN}/x"), "-H", "Accept: text/html"]);
    assert_eq!((page.status, page.field("location")), (403, Vec::new()));
    assert!(page.text().contains("<p>Who are you? Code 403.</p>"), "{}", page.text());

    // Ten minutes are the cookie's life and the token's.
    let login = site.curl(&["-X", "PUT", &url, "-H", json, "-d", &body("P1_four")]);
    let sid = login.set_cookie("sid").unwrap().split(';').next().unwrap().to_owned();
    let cookie = format!("Cookie: {sid}");
    assert_eq!(site.curl(&[&url, "-H", &cookie]).status, 200);
    site.pass(Duration::from_secs(600));
    assert_eq!(site.curl(&[&url, "-H", &cookie]).one("x-sallyport"), "expired");

    // People sign up by our page, where the vendor's script writes the vendor's fields.
    let page = site.curl(&[&format!("{ORIGIN}/account/signup"), "-H", "Accept: text/html"]);
    let html = page.text();
    for part in [
        "class=\"captcha h-captcha\"",
        "data-sitekey=\"10000000-ffff-ffff-ffff-000000000001\"",
        "src=\"https://js.hcaptcha.com/1/api.js\"",
        "action=\"&#x2f;v2&#x2f;people\"",
    ] {
        assert!(html.contains(part), "{part}: {html}");
    }
    let policy = page.one("content-security-policy");
    let origins = "https://js.hcaptcha.com https://hcaptcha.com https://*.hcaptcha.com";
    assert!(policy.contains(&format!("script-src 'self' {origins}")), "{policy}");
    assert!(policy.contains(&format!("frame-src {origins}")), "{policy}");
    let form = "username=carol%40acme.example&passphrase=open+barley&\
                password_confirmation=open+barley&h-captcha-response=P1_carol&\
                g-recaptcha-response=P1_carol";
    let origin = format!("Origin: {}", site.url());
    let url = format!("{ORIGIN}/v2/people");
    let made = site.curl(&[&url, "-d", form, "-H", "Accept: text/html", "-H", &origin]);
    assert_eq!((made.status, made.one("location")), (303, "/"), "{made:#?}");
    assert!(made.set_cookie("sid").is_some(), "a browser has no other place for it");
}

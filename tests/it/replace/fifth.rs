//! A system that nobody has shipped: its configuration is written here, and no code for it.

use std::time::Duration;

use super::Shipped;
use super::exchange::replay;
use super::shipped::Variables;

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

[csrf]
signals = [{ header = "x-client", value = "acme" }]

[errors]
body = { ok = false, problem = { kind = "$code", text = "$message", status = "$status" } }

[errors.codes]
invalid_credentials = "E_LOGIN"
validation_error = "E_INPUT"
missing_token = "E_NONE"

[errors.messages]
invalid_credentials = "Nope."
body_unknown = "What is that field?"
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
fields = { username = ["mail", "e-mail"] }
unknown_fields = "refuse"
cookies = ["access"]
body = { ok = true, data = { renew = "$refresh_token", seconds = "$expires_at_in", until = "$refresh_expires_at_iso", said = "Hello $user.login, you have $$0.", roles = "$user.roles" } }

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
> {"mail": "ada@acme.example", "passphrase": "open sesam"}
< 422
< content-type: application/json
< x-sallyport: invalid_credentials
< {"ok": false, "problem": {"kind": "E_LOGIN", "text": "Nope.", "status": 422}}

# two names of one field
> PUT /v2/session
> content-type: application/json
> {"mail": "ada@acme.example", "e-mail": "eve@acme.example", "passphrase": "open sesame"}
< 400
< {"ok": false, "problem": {"kind": "E_INPUT", "text": "A field comes twice.", "status": 400}}

# a login
> PUT /v2/session
> content-type: application/json
> {"e-mail": "ada@acme.example", "passphrase": "open sesame"}
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

#[test]
fn a_fifth_system_needs_no_code() {
    let site = Shipped::of("fifth", CONFIG);
    let add = ["user", "add", "ada@acme.example", "--role", "boss", "--password-stdin"];
    site.sallyport(&add, "open sesame");
    let mut known = Variables::new();
    replay(&site, ORIGIN, FLOW, &mut known);

    let body = r#"{"mail":"ada@acme.example","passphrase":"open sesame"}"#;
    let url = format!("{ORIGIN}/v2/session");
    let json = "Content-Type: application/json";
    let login = site.curl(&["-X", "PUT", &url, "-H", json, "-d", body]);
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

    // Ten minutes are the cookie's life and the token's.
    let login = site.curl(&["-X", "PUT", &url, "-H", json, "-d", body]);
    let sid = login.set_cookie("sid").unwrap().split(';').next().unwrap().to_owned();
    let cookie = format!("Cookie: {sid}");
    assert_eq!(site.curl(&[&url, "-H", &cookie]).status, 200);
    site.pass(Duration::from_secs(600));
    assert_eq!(site.curl(&[&url, "-H", &cookie]).one("x-sallyport"), "expired");
}

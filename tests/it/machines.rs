//! Apps: who may mint tokens, what is minted, what such a token opens, and how it ends.

use std::thread;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use sallyport::clock::Stopwatch;
use sallyport::id::AppId;
use sallyport::secret::Secret;
use sallyport::session::keep_app_secret;
use sallyport::store::apps::{App, AppChange};
use serde_json::{Value, json};

use crate::harness::{
    ACCESS, Answer, Gate, HOST, ORIGIN, PASSWORD, PATIENCE, Process, REFRESH, ROUTES, Upstream,
    response, sallyport,
};
use crate::websocket::telling;

/// Every app's secret.
pub(crate) const SECRET: &str = "K7gNU3sdo-OL0wNhqoVWhr3g6s1xYv72";
const COOKIE: &str = "[cookies]\nminted = \"qk_token\"\n";

fn application() -> Upstream {
    Upstream::answering(|_| response("200 OK", &[], "the application"))
}

/// A gateway with the app `quest`, which may give `missions.read` and `admin`.
fn gate(upstream: &Upstream, lines: &str) -> Gate {
    let gate = Gate::with(upstream, lines);
    add_app(&gate, "quest", &["admin", "missions.read"]);
    gate
}

pub(crate) fn add_app(gate: &Gate, id: &str, permissions: &[&str]) {
    let now = gate.clock().now();
    let app = App {
        id: id.parse().unwrap(),
        name: None,
        secrets: vec![keep_app_secret(&Secret::new(SECRET.to_owned()), now).unwrap()],
        roles: vec!["player".to_owned()],
        permissions: permissions.iter().map(|&one| one.to_owned()).collect(),
        disabled: false,
        created_at: now,
    };
    gate.store(async |store| store.add_app(&app).await).unwrap();
    learn(gate);
}

/// Lets the gateway look at the apps now, and not within half a second.
fn learn(gate: &Gate) {
    let sessions = gate.sessions().clone();
    gate.store(async |_| sessions.learn_apps().await).unwrap();
}

fn change_app(gate: &Gate, id: &str, change: &AppChange) {
    let (id, now): (AppId, _) = (id.parse().unwrap(), gate.clock().now());
    let until = now.plus(Duration::from_secs(86_400));
    gate.store(async |store| store.change_app(&id, change, now, until).await).unwrap();
}

fn ask(gate: &Gate, path: &str, body: &Value) -> Answer {
    gate.client().ask("POST", path).json(body).send()
}

fn mint(gate: &Gate, more: &Value) -> Answer {
    let mut body = json!({ "app_id": "quest", "app_secret": SECRET, "user_id": "usr_demo" });
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    ask(gate, "/auth/token", &body)
}

fn token(gate: &Gate, more: &Value) -> String {
    let answer = mint(gate, more);
    assert_eq!(answer.status, 200, "{answer:#?}");
    answer.json()["token"].as_str().unwrap().to_owned()
}

fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

fn by_bearer(gate: &Gate, path: &str, token: &str) -> Answer {
    gate.client().ask("GET", path).bearer(token).send()
}

fn by_cookie(gate: &Gate, path: &str, token: &str) -> Answer {
    gate.client().ask("GET", path).field("Cookie", format!("qk_token={token}")).send()
}

fn code(answer: &Answer) -> (u16, String) {
    answer.verdict()
}

fn is(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

/// Waits until `token` is refused: what the store was told is followed in the background.
fn until_refused(gate: &Gate, token: &str) {
    let waited = Stopwatch::start();
    while by_bearer(gate, "/page", token).verdict() != is(401, "token_revoked") {
        assert!(waited.elapsed() < PATIENCE, "the token is never refused");
    }
}

#[test]
fn an_app_mints_a_token_that_says_what_was_asked_and_opens_routes() {
    let upstream = application();
    let gate = gate(&upstream, "");
    let answer = mint(&gate, &json!({}));
    assert_eq!(answer.status, 200, "{answer:#?}");
    assert_eq!(answer.one("cache-control"), "no-store");
    assert!(answer.set_cookie(ACCESS).is_none() && answer.set_cookie(REFRESH).is_none());
    let body = answer.json();
    let token = body["token"].as_str().unwrap();
    let now = gate.clock().now().secs();
    assert_eq!(body["expires_at"], now + 3600);
    assert_eq!(body["permissions"], json!(["admin", "missions.read"]));
    let said = claims(token);
    assert_eq!(
        said,
        json!({
            "iss": ORIGIN, "aud": format!("{ORIGIN}/minted"), "sub": "usr_demo", "app": "quest",
            "jti": body["jti"], "iat": now, "iat_ms": now * 1000, "exp": now + 3600,
            "roles": ["player"], "permissions": ["admin", "missions.read"],
        })
    );
    for path in ["/page", "/admin/page", "/public/page", "/optional/page"] {
        assert_eq!(by_bearer(&gate, path, token).status, 200, "{path}");
    }
    assert_eq!(code(&by_bearer(&gate, "/editor/page", token)), is(403, "forbidden"));
    gate.pass(Duration::from_secs(3599));
    assert_eq!(by_bearer(&gate, "/page", token).status, 200);
    gate.pass(Duration::from_secs(1));
    assert_eq!(code(&by_bearer(&gate, "/page", token)), is(401, "expired"));
}

#[test]
fn rights_are_those_asked_for_and_never_more_than_the_app_was_granted() {
    let upstream = application();
    let gate = gate(&upstream, "");
    for (asked, given) in [
        ("missions.read", json!(["missions.read"])),
        ("root missions.read  owner", json!(["missions.read"])),
        ("root", json!([])),
        ("", json!([])),
    ] {
        let answer = mint(&gate, &json!({ "permissions": asked, "roles": "editor" }));
        assert_eq!(answer.json()["permissions"], given, "{asked}");
        assert_eq!(answer.json()["roles"], json!([]), "{asked}");
        let token = answer.json()["token"].as_str().unwrap().to_owned();
        assert_eq!(code(&by_bearer(&gate, "/admin/page", &token)), is(403, "forbidden"));
        assert_eq!(code(&by_bearer(&gate, "/editor/page", &token)), is(403, "forbidden"));
    }
}

#[test]
fn the_life_of_a_token_is_the_configs_or_a_shorter_one_of_the_apps_choice() {
    let upstream = application();
    let gate = gate(&upstream, "[token.minted]\nttl = \"10m\"\nmax_ttl = \"20m\"\n");
    let now = gate.clock().now().secs();
    for (more, ends) in [(json!({}), 600), (json!({ "ttl": 1 }), 1), (json!({ "ttl": 1200 }), 1200)]
    {
        assert_eq!(mint(&gate, &more).json()["expires_at"], now + ends, "{more}");
    }
    for ttl in [json!(0), json!(1201), json!(u64::MAX), json!("x"), json!(1.5), json!(-1)] {
        let answer = mint(&gate, &json!({ "ttl": ttl }));
        assert_eq!(code(&answer), is(400, "validation_error"), "{ttl}");
    }
}

#[test]
fn an_upstream_is_told_the_app_and_no_name_or_id_of_an_account() {
    let upstream = application();
    let gate = gate(&upstream, "");
    let ada = gate.add_user("ada", &["editor"], &["admin"]);
    // An app may call its users anything: by the name of an account, or by its id.
    for subject in ["ada", &ada.to_string(), "a/b, c=é"] {
        let token = token(&gate, &json!({ "user_id": subject }));
        assert_eq!(by_bearer(&gate, "/page", &token).status, 200);
        let request = upstream.requests().pop().unwrap();
        let told = |name: &str| request.field(name).first().map(|value| (*value).to_owned());
        let name = told("x-auth-user").unwrap();
        assert!(name.starts_with("quest/"), "{name}");
        let id = told("x-auth-id").unwrap();
        assert!(id != ada.to_string() && id != subject, "{id}");
        assert_eq!(told("x-auth-app").as_deref(), Some("quest"));
        assert_eq!(told("x-auth-session"), None);
        assert_eq!(told("x-auth-permissions").as_deref(), Some("admin,missions.read"));
        assert_eq!(request.field("authorization"), [""; 0], "the credential stays here");
        let me = gate.client().ask("GET", "/auth/me").bearer(&token).send().json();
        assert_eq!((&me["app"], &me["id"]), (&json!("quest"), &json!(id)));
        assert_eq!(me["login"], format!("quest/{subject}"));
    }
    // The same user of the same app is the same user; of another app it is another.
    add_app(&gate, "other", &[]);
    let id = |more: &Value| {
        by_bearer(&gate, "/page", &token(&gate, more));
        upstream.requests().pop().unwrap().field("x-auth-id").first().unwrap().to_string()
    };
    assert_eq!(id(&json!({})), id(&json!({})));
    assert_ne!(id(&json!({})), id(&json!({ "app_id": "other" })));
    assert_ne!(id(&json!({})), id(&json!({ "user_id": "usr_Demo" })));
}

#[test]
fn where_the_config_says_so_an_upstream_is_told_the_bare_name() {
    let upstream = application();
    let gate = gate(&upstream, "[token.minted]\nnames = \"bare\"\n");
    by_bearer(&gate, "/page", &token(&gate, &json!({})));
    let request = upstream.requests().pop().unwrap();
    assert_eq!(request.field("x-auth-user"), ["usr_demo"]);
    assert_eq!(request.field("x-auth-app"), ["quest"]);
}

#[test]
fn wrong_ids_wrong_secrets_and_disabled_apps_are_answered_alike() {
    let upstream = application();
    let gate = gate(
        &upstream,
        "[attempts]\nper_account_and_network = { count = 100, per = \"1m\" }\nper_network = { count = 1000, per = \"1m\" }\n",
    );
    add_app(&gate, "closed", &[]);
    change_app(&gate, "closed", &AppChange { disabled: Some(true), ..AppChange::default() });
    learn(&gate);
    let long = "x".repeat(5000);
    let answers: Vec<_> = [
        json!({ "app_id": "nobody" }),
        json!({ "app_id": "nobody", "app_secret": "x" }),
        // Next to an app in the order of ids, and with its secret.
        json!({ "app_id": "ques" }),
        json!({ "app_id": "quest0" }),
        json!({ "app_id": "QUEST" }),
        json!({ "app_id": "../quest" }),
        json!({ "app_id": long }),
        json!({ "app_secret": "x" }),
        json!({ "app_secret": format!("{SECRET} ") }),
        json!({ "app_secret": long }),
        json!({ "app_id": "closed" }),
    ]
    .iter()
    .map(|more| {
        let answer = mint(&gate, more);
        (answer.verdict(), answer.text(), answer.field("www-authenticate").len())
    })
    .collect();
    assert_eq!(answers[0].0, is(401, "invalid_credentials"));
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
    assert_eq!(mint(&gate, &json!({})).status, 200, "and its own secret still works");
}

#[test]
fn only_failed_attempts_count_and_only_where_they_came_from() {
    let upstream = application();
    let gate = gate(&upstream, "");
    add_app(&gate, "other", &[]);
    for _ in 0..20 {
        assert_eq!(mint(&gate, &json!({})).status, 200);
    }
    for left in (0..5).rev() {
        let answer = mint(&gate, &json!({ "app_secret": "wrong" }));
        assert_eq!(code(&answer), is(401, "invalid_credentials"));
        assert_eq!(answer.one("ratelimit-remaining"), left.to_string());
    }
    let answer = mint(&gate, &json!({ "app_secret": "wrong" }));
    assert_eq!(code(&answer), is(429, "rate_limited"));
    assert!(answer.one("retry-after").parse::<u64>().unwrap() <= 180);
    assert_eq!(code(&mint(&gate, &json!({}))), is(429, "rate_limited"), "a guess could be right");
    assert_eq!(mint(&gate, &json!({ "app_id": "other" })).status, 200, "another app goes on");
    gate.pass(Duration::from_secs(180));
    assert_eq!(mint(&gate, &json!({})).status, 200);
}

#[test]
fn many_that_an_app_asks_for_at_once_are_all_minted() {
    let upstream = application();
    let gate = gate(&upstream, "");
    thread::scope(|scope| {
        for thread in 0..16 {
            let gate = &gate;
            scope.spawn(move || {
                for number in 0..4 {
                    let user = format!("usr_{thread}_{number}");
                    assert_eq!(mint(gate, &json!({ "user_id": user })).status, 200);
                }
            });
        }
    });
}

#[test]
fn basic_serves_as_well_as_the_body_but_not_together_with_it() {
    let upstream = application();
    let gate = gate(&upstream, "");
    let basic = |pair: &str, body: &Value| {
        let value = format!("Basic {}", STANDARD.encode(pair));
        gate.client().ask("POST", "/auth/token").field("Authorization", value).json(body).send()
    };
    let body = json!({ "user_id": "usr_demo" });
    assert_eq!(basic(&format!("quest:{SECRET}"), &body).status, 200);
    let wrong = basic("quest:wrong", &body);
    assert_eq!(code(&wrong), is(401, "invalid_credentials"));
    assert!(!wrong.one("www-authenticate").contains("Basic"), "no browser shall ask for it");
    let both = json!({ "user_id": "u", "app_id": "quest", "app_secret": SECRET });
    assert_eq!(code(&basic(&format!("quest:{SECRET}"), &both)), is(400, "validation_error"));
    for broken in ["", "quest", ":"] {
        assert_eq!(code(&basic(broken, &body)), is(401, "malformed"), "{broken}");
    }
}

#[test]
fn a_foreign_page_cannot_have_a_browser_mint() {
    let upstream = application();
    let gate = gate(&upstream, "");
    let body = json!({ "app_id": "quest", "app_secret": SECRET, "user_id": "usr_demo" });
    for path in ["/auth/token", "/auth/token/revoke"] {
        let mut client = gate.client();
        let answer =
            client.ask("POST", path).field("Origin", "https://evil.test").json(&body).send();
        assert_eq!(code(&answer), is(403, "csrf_guard"), "{path}");
    }
}

#[test]
fn a_token_comes_as_bearer_or_in_the_configured_cookie_and_the_header_wins() {
    let upstream = application();
    let gate = gate(&upstream, COOKIE);
    let [one, two] = ["one", "two"].map(|user| token(&gate, &json!({ "user_id": user })));
    assert_eq!(by_cookie(&gate, "/page", &one).status, 200);
    let request = upstream.requests().pop().unwrap();
    assert_eq!(request.field("x-auth-user"), ["quest/one"]);
    assert_eq!(request.field("cookie"), [""; 0], "the credential stays here");
    let both = |bearer: &str, cookie: &str| {
        let mut client = gate.client();
        let cookie = format!("a=1; qk_token={cookie}");
        client.ask("GET", "/page").bearer(bearer).field("Cookie", cookie).send()
    };
    assert_eq!(both(&two, &one).status, 200);
    let request = upstream.requests().pop().unwrap();
    assert_eq!(request.field("x-auth-user"), ["quest/two"]);
    assert_eq!(request.field("cookie"), ["a=1"]);
    assert_eq!(code(&both("x.y", &one)), is(401, "malformed"), "a bad header is not healed");
    let twice = format!("qk_token={one}; qk_token={two}");
    let answer = gate.client().ask("GET", "/page").field("Cookie", twice).send();
    assert_eq!(code(&answer), is(401, "malformed"));
    // Only that cookie, and only where it is configured.
    let other = gate.client().ask("GET", "/page").field("Cookie", format!("{ACCESS}={one}")).send();
    assert_eq!(code(&other), is(401, "malformed"));
    let plain = self::gate(&upstream, "");
    let token = token(&plain, &json!({}));
    assert_eq!(code(&by_cookie(&plain, "/page", &token)), is(401, "missing_token"));
}

#[test]
fn neither_kind_of_token_passes_where_the_other_belongs() {
    let upstream = application();
    let gate = gate(&upstream, COOKIE);
    gate.add_user("ada", &[], &[]);
    let client = gate.signed_in("ada");
    let access = client.jar.get(ACCESS).unwrap().to_owned();
    let minted = token(&gate, &json!({}));
    for round in ["not remembered", "remembered"] {
        let answer = by_cookie(&gate, "/page", &access);
        assert_eq!(code(&answer), is(401, "malformed"), "{round}");
        let field = format!("{ACCESS}={minted}");
        let answer = gate.client().ask("GET", "/page").field("Cookie", field).send();
        assert_eq!(code(&answer), is(401, "malformed"), "{round}");
        assert_eq!(by_bearer(&gate, "/page", &access).status, 200);
        assert_eq!(by_bearer(&gate, "/page", &minted).status, 200);
    }
    // A session goes before what an app has said of the same browser.
    let field = format!("qk_token={minted}; {ACCESS}={access}");
    assert_eq!(gate.client().ask("GET", "/page").field("Cookie", field).send().status, 200);
    let request = upstream.requests().pop().unwrap();
    assert_eq!(request.field("x-auth-user"), ["ada"]);
    // No minted token refreshes anything.
    let field = format!("{REFRESH}={minted}");
    let mut client = gate.client();
    let asked = client.ask("POST", "/auth/refresh").field("Cookie", field).field("Origin", ORIGIN);
    assert_eq!(code(&asked.send()), is(401, "malformed"));
}

#[test]
fn every_state_of_a_minted_token_has_its_code() {
    let upstream = application();
    let gate = gate(&upstream, COOKIE);
    let good = token(&gate, &json!({ "ttl": 60 }));
    let (message, signature) = good.rsplit_once('.').unwrap();
    let flipped = if signature.starts_with('A') { "B" } else { "A" };
    let forged = format!("{message}.{flipped}{}", &signature[1..]);
    let (header, _) = good.split_once('.').unwrap();
    let other = token(&gate, &json!({ "user_id": "other" }));
    let mixed = format!("{header}.{}", other.split_once('.').unwrap().1);
    let revoked = token(&gate, &json!({}));
    let body = json!({ "app_id": "quest", "app_secret": SECRET, "token": revoked });
    assert_eq!(ask(&gate, "/auth/token/revoke", &body).status, 200);
    for (token, verdict) in [
        ("", is(401, "malformed")),
        ("no.token", is(401, "malformed")),
        (message, is(401, "malformed")),
        (forged.as_str(), is(401, "invalid_signature")),
        (revoked.as_str(), is(401, "token_revoked")),
        (good.as_str(), is(200, "")),
        // One header serves all tokens of one app and key.
        (mixed.as_str(), is(200, "")),
    ] {
        let cookie = by_cookie(&gate, "/page", token);
        assert_eq!(code(&cookie), verdict, "as a cookie: {token}");
        if !token.is_empty() {
            assert_eq!(code(&by_bearer(&gate, "/page", token)), verdict, "as Bearer: {token}");
        }
        // Where nobody need be known, nobody is.
        assert_eq!(by_cookie(&gate, "/optional/page", token).status, 200);
    }
    assert_eq!(code(&gate.client().get("/page")), is(401, "missing_token"));
    gate.pass(Duration::from_secs(60));
    for answer in [by_cookie(&gate, "/page", &good), by_bearer(&gate, "/page", &good)] {
        assert_eq!(code(&answer), is(401, "expired"));
    }
}

#[test]
fn a_cookie_with_an_unsafe_method_needs_a_sign_and_a_bearer_does_not() {
    let upstream = application();
    let guard = "[csrf]\nsignals = [\"origin\", { header = \"x-requested-with\", value = \"qk\" }]\n\
                 safe_methods = true\nstatus = 401\nallowed_origins = [\"https://app.example\"]\n";
    let gate = gate(&upstream, &format!("{COOKIE}{guard}"));
    let token = token(&gate, &json!({}));
    let cookie = format!("qk_token={token}");
    for method in ["GET", "POST"] {
        let bare = gate.client().ask(method, "/page").field("Cookie", &cookie).send();
        assert_eq!(code(&bare), is(401, "csrf_guard"), "{method}");
        for (name, value, status) in [
            ("Origin", "https://app.example", 200),
            ("Origin", "https://app.example.evil", 401),
            ("X-Requested-With", "qk", 200),
            ("X-Requested-With", "QK", 401),
        ] {
            let mut client = gate.client();
            let asked = client.ask(method, "/page").field("Cookie", &cookie).field(name, value);
            assert_eq!(asked.send().status, status, "{method} {name}: {value}");
        }
        assert_eq!(gate.client().ask(method, "/page").bearer(&token).send().status, 200);
    }
}

#[test]
fn an_app_revokes_its_own_tokens_and_is_not_told_of_others() {
    let upstream = application();
    let gate = gate(&upstream, "");
    add_app(&gate, "other", &[]);
    let revoke = |app: &str, by: &str, what: &str| {
        let body = json!({ "app_id": app, "app_secret": SECRET, by: what });
        let answer = ask(&gate, "/auth/token/revoke", &body);
        assert_eq!(answer.status, 200, "{answer:#?}");
        answer.text()
    };
    let [one, two, three] = ["1", "2", "3"].map(|user| token(&gate, &json!({ "user_id": user })));
    assert_eq!(by_bearer(&gate, "/page", &one).status, 200, "remembered from here on");
    let mut said = vec![revoke("quest", "token", &one)];
    let jti = claims(&two)["jti"].as_str().unwrap().to_owned();
    said.push(revoke("quest", "jti", &jti));
    for refused in [&one, &two] {
        assert_eq!(code(&by_bearer(&gate, "/page", refused)), is(401, "token_revoked"), "at once");
    }
    // Unknown, unreadable, and somebody else's: the answer is the same, and nothing comes of it.
    let third = claims(&three)["jti"].as_str().unwrap().to_owned();
    for (by, what) in [
        ("token", "x.y.z"),
        ("jti", "nonsense"),
        ("jti", &"0".repeat(32)),
        ("jti", &third),
        ("token", &three),
    ] {
        said.push(revoke("other", by, what));
    }
    said.push(revoke("quest", "token", &one));
    assert!(said.iter().all(|one| *one == said[0]), "{said:#?}");
    assert_eq!(by_bearer(&gate, "/page", &three).status, 200);
    // Without the secret nothing is revoked.
    let body = json!({ "app_id": "quest", "app_secret": "wrong", "token": three });
    assert_eq!(code(&ask(&gate, "/auth/token/revoke", &body)), is(401, "invalid_credentials"));
    assert_eq!(by_bearer(&gate, "/page", &three).status, 200);
    for bad in [json!({}), json!({ "token": "" }), json!({ "token": "x", "jti": "y" })] {
        let mut body = json!({ "app_id": "quest", "app_secret": SECRET });
        body.as_object_mut().unwrap().extend(bad.as_object().unwrap().clone());
        assert_eq!(code(&ask(&gate, "/auth/token/revoke", &body)), is(400, "validation_error"));
    }
}

#[test]
fn whoever_holds_a_minted_token_ends_it_by_logging_out() {
    let upstream = application();
    let gate = gate(&upstream, COOKIE);
    let [one, two] = ["1", "2"].map(|user| token(&gate, &json!({ "user_id": user })));
    assert_eq!(gate.client().ask("POST", "/auth/logout").bearer(&one).send().status, 200);
    let mut client = gate.client();
    let field = format!("qk_token={two}");
    let answer =
        client.ask("POST", "/auth/logout").field("Cookie", field).field("Origin", ORIGIN).send();
    assert_eq!(answer.status, 200);
    let cleared = |field: &&str| field.starts_with("qk_token=;") && field.ends_with("Max-Age=0");
    assert!(answer.field("set-cookie").iter().any(cleared), "{answer:#?}");
    for ended in [&one, &two] {
        assert_eq!(code(&by_bearer(&gate, "/page", ended)), is(401, "token_revoked"));
    }
}

#[test]
fn disabling_or_limiting_an_app_refuses_what_it_minted_and_what_it_mints_later_works() {
    let upstream = application();
    let gate = gate(&upstream, "");
    for change in [
        AppChange { disabled: Some(true), ..AppChange::default() },
        AppChange { revoke_permissions: vec!["admin".to_owned()], ..AppChange::default() },
    ] {
        let token = token(&gate, &json!({}));
        assert_eq!(by_bearer(&gate, "/page", &token).status, 200);
        change_app(&gate, "quest", &change);
        until_refused(&gate, &token);
        if change.disabled.is_some() {
            // The store says no though this process may not have heard of it yet.
            assert_eq!(code(&mint(&gate, &json!({}))), is(401, "invalid_credentials"));
            let enable = AppChange { disabled: Some(false), ..AppChange::default() };
            change_app(&gate, "quest", &enable);
        }
        learn(&gate);
        gate.pass(Duration::from_millis(1));
        let later = self::token(&gate, &json!({}));
        assert_eq!(by_bearer(&gate, "/page", &later).status, 200);
        assert_eq!(code(&by_bearer(&gate, "/page", &token)), is(401, "token_revoked"));
    }
    assert_eq!(mint(&gate, &json!({})).json()["permissions"], json!(["missions.read"]));
}

#[test]
fn a_removed_app_is_gone_with_its_tokens() {
    let upstream = application();
    let gate = gate(&upstream, "");
    let token = token(&gate, &json!({}));
    let (id, now): (AppId, _) = ("quest".parse().unwrap(), gate.clock().now());
    let until = now.plus(Duration::from_secs(86_400));
    gate.store(async |store| store.remove_app(&id, now, until).await).unwrap();
    assert_eq!(code(&mint(&gate, &json!({}))), is(401, "invalid_credentials"));
    until_refused(&gate, &token);
}

#[test]
fn a_profile_of_four_claims_is_minted_opened_and_revoked() {
    let upstream = application();
    let profile = "[token.minted.claims]\nsub = \"sub\"\niat = \"iat\"\nexp = \"exp\"\n\
                   jti = \"jti\"\n";
    let gate = gate(&upstream, &format!("{COOKIE}{profile}"));
    let token = token(&gate, &json!({}));
    let said = claims(&token);
    let names: Vec<&String> = said.as_object().unwrap().keys().collect();
    assert_eq!(names, ["sub", "jti", "iat", "exp"]);
    let jti = said["jti"].as_str().unwrap();
    assert!(jti.len() == 32 && jti.bytes().all(|digit| digit.is_ascii_hexdigit()), "{jti}");
    assert_eq!(said["exp"].as_i64().unwrap() - said["iat"].as_i64().unwrap(), 3600);
    assert_eq!(by_cookie(&gate, "/page", &token).status, 200);
    let request = upstream.requests().pop().unwrap();
    assert_eq!(request.field("x-auth-user"), ["quest/usr_demo"], "the app is known all the same");
    assert_eq!(request.field("x-auth-permissions"), [""; 0]);
    assert_eq!(code(&by_bearer(&gate, "/admin/page", &token)), is(403, "forbidden"));
    let body = json!({ "app_id": "quest", "app_secret": SECRET, "jti": jti });
    assert_eq!(ask(&gate, "/auth/token/revoke", &body).status, 200);
    assert_eq!(code(&by_bearer(&gate, "/page", &token)), is(401, "token_revoked"));
    let other = self::token(&gate, &json!({}));
    change_app(&gate, "quest", &AppChange { disabled: Some(true), ..AppChange::default() });
    until_refused(&gate, &other);
}

#[test]
fn access_tokens_of_a_profile_open_refresh_and_end_as_all_do() {
    let upstream = application();
    let profile = "[token.claims]\nsub = \"id\"\nsid = \"jti\"\niat = \"iat\"\nexp = \"exp\"\n\
                   preferred_username = \"username\"\n";
    let gate = Gate::start(&format!(
        "{profile}[[upstream]]\nname = \"app\"\nservers = [\"{}\"]\n[[route]]\npath = \"/**\"\n",
        upstream.url()
    ));
    let ada = gate.add_user("ada", &["editor"], &["admin"]);
    let mut client = gate.signed_in("ada");
    let token = client.jar.get(ACCESS).unwrap().to_owned();
    let said = claims(&token);
    let names: Vec<&String> = said.as_object().unwrap().keys().collect();
    assert_eq!(names, ["id", "jti", "iat", "exp", "username"]);
    assert_eq!((&said["id"], &said["username"]), (&json!(ada.to_string()), &json!("ada")));
    assert_eq!(by_bearer(&gate, "/page", &token).status, 200);
    let request = upstream.requests().pop().unwrap();
    assert_eq!(request.field("x-auth-user"), ["ada"]);
    assert_eq!(request.field("x-auth-roles"), [""; 0], "what is left out is not held");
    gate.pass(Duration::from_secs(300));
    assert_eq!(client.get("/page").status, 200, "refreshed in passing");
    assert_ne!(client.jar.get(ACCESS).unwrap(), token);
    let fresh = client.jar.get(ACCESS).unwrap().to_owned();
    assert_eq!(client.post("/auth/logout").status, 200);
    assert_eq!(code(&by_bearer(&gate, "/page", &fresh)), is(401, "token_revoked"));
    // An account that is gone takes its tokens along.
    let client = gate.signed_in("ada");
    let token = client.jar.get(ACCESS).unwrap().to_owned();
    let (now, until) = (gate.clock().now(), gate.sessions().revoked_until(gate.clock().now()));
    gate.store(async |store| store.remove_user(ada, now, until).await).unwrap();
    until_refused(&gate, &token);
}

#[test]
fn bad_fields_are_named_and_leave_nothing_behind() {
    let upstream = application();
    let gate = gate(&upstream, "");
    let long = "u".repeat(256);
    for (body, field) in [
        (json!({}), "app_id"),
        (json!({ "app_id": "" }), "app_id"),
        (json!({ "app_id": 1 }), "app_id"),
        (json!({ "app_id": "quest" }), "app_secret"),
        (json!({ "app_id": "quest", "app_secret": null }), "app_secret"),
        (json!({ "app_id": "quest", "app_secret": SECRET }), "user_id"),
        (json!({ "app_id": "quest", "app_secret": SECRET, "user_id": "" }), "user_id"),
        (json!({ "app_id": "quest", "app_secret": SECRET, "user_id": 7 }), "user_id"),
        (json!({ "app_id": "quest", "app_secret": SECRET, "user_id": "a\tb" }), "user_id"),
        (json!({ "app_id": "quest", "app_secret": SECRET, "user_id": long }), "user_id"),
        (
            json!({ "app_id": "quest", "app_secret": SECRET, "user_id": "u", "permissions": true }),
            "permissions",
        ),
        (json!({ "app_id": "quest", "app_secret": SECRET, "user_id": "u", "ttl": "1h" }), "ttl"),
    ] {
        let answer = ask(&gate, "/auth/token", &body);
        assert_eq!(code(&answer), is(400, "validation_error"), "{body}");
        let message = answer.json()["message"].as_str().unwrap().to_owned();
        assert!(message.contains(&format!("`{field}`")), "{body}: {message}");
        assert!(!message.contains(SECRET), "{message}");
    }
    let user = "quest".parse::<AppId>().unwrap().user("u");
    assert_eq!(gate.store(async |store| store.user(user).await).unwrap(), None);
}

#[test]
fn an_app_of_the_command_line_lives_and_dies_under_a_running_gateway() {
    let upstream = application();
    let folder = tempfile::tempdir().unwrap();
    // Asking until something is known takes many wrong attempts.
    let many = "{ count = 1000000, per = \"1s\" }";
    let text = format!(
        "[attempts]\nper_account_and_network = {many}\nper_network = {many}\n\
         [[upstream]]\nname = \"app\"\nservers = [\"{}\"]\n{ROUTES}",
        upstream.url()
    );
    Process::configure(folder.path(), &text);
    let run = |arguments: &[&str], input: &str| {
        let output = sallyport(folder.path(), arguments, input);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {told}");
        String::from_utf8(output.stdout).unwrap()
    };
    let gateway = Process::start(folder.path());
    let mint = |secret: &str| {
        let body = json!({ "app_id": "quest", "app_secret": secret, "user_id": "usr" });
        gateway.client().ask("POST", "/auth/token").json(&body).send()
    };
    let until = |what: &str, done: &dyn Fn() -> bool| {
        let waited = Stopwatch::start();
        while !done() {
            assert!(waited.elapsed() < PATIENCE, "{what}");
        }
    };
    // Known within a second: a fresh process is given the time that it takes to be heard of.
    let made = run(&["app", "add", "quest", "--permission", "admin"], "");
    let made = made.trim();
    assert_eq!(made.len(), 43, "the secret stands alone on standard output: {made}");
    until("the app is never known", &|| mint(made).status == 200);
    let token = mint(made).json()["token"].as_str().unwrap().to_owned();
    let page = || gateway.client().ask("GET", "/page").bearer(&token).send().verdict();
    assert_eq!(page(), is(200, ""));
    // A secret is rolled without a pause.
    run(&["app", "secret", "add", "quest", "--secret-stdin"], &format!("{SECRET}\n"));
    until("the second secret is never known", &|| mint(SECRET).status == 200);
    let listed: Value =
        serde_json::from_str(&run(&["app", "secret", "list", "quest", "--json"], "")).unwrap();
    let first = listed[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(listed.as_array().unwrap().len(), 2);
    run(&["app", "secret", "remove", "quest", &first], "");
    until("the first secret is never forgotten", &|| mint(made).status != 200);
    assert_eq!(page(), is(200, ""), "what was minted by it stands");
    let jti = claims(&token)["jti"].as_str().unwrap().to_owned();
    assert!(run(&["token", "revoke", &jti], "").contains("quest"));
    until("the token is never refused", &|| page() == is(401, "token_revoked"));
    // What the command line shows, and what it refuses.
    let shown: Value = serde_json::from_str(&run(&["app", "show", "quest", "--json"], "")).unwrap();
    assert_eq!(shown["permissions"], json!(["admin"]));
    for text in [run(&["app", "list"], ""), run(&["app", "list", "--json"], "")] {
        assert!(text.contains("quest") && !text.contains(SECRET) && !text.contains(made));
    }
    for (arguments, input, status) in [
        (&["app", "add", "quest"][..], "", 1),
        (&["app", "add", "Quest"], "", 65),
        (&["app", "add", "weak", "--secret-stdin"], "password\n", 65),
        (&["app", "show", "nobody"], "", 1),
        (&["app", "remove", "nobody"], "", 1),
        (&["app", "grant", "quest", "--permission", "a b"], "", 64),
        (&["app", "secret", "remove", "quest", "nothing"], "", 1),
        (&["token", "revoke", "nonsense"], "", 64),
    ] {
        let output = sallyport(folder.path(), arguments, input);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {output:?}");
    }
    run(&["app", "grant", "quest", "--role", "player"], "");
    run(&["app", "revoke", "quest", "--permission", "admin"], "");
    run(&["app", "disable", "quest"], "");
    run(&["app", "enable", "quest"], "");
    run(&["app", "remove", "quest"], "");
    assert_eq!(run(&["app", "list", "--json"], "").trim(), "[]");
    // Users of apps are no accounts.
    assert_eq!(run(&["user", "list", "--json"], "").trim(), "[]");
    let slash = sallyport(
        folder.path(),
        &["user", "add", "quest/ada", "--password-stdin"],
        &format!("{PASSWORD}\n"),
    );
    assert_eq!(slash.status.code(), Some(65), "{slash:?}");
}

#[test]
fn a_revoked_token_stays_revoked_over_a_restart() {
    let upstream = application();
    let folder = tempfile::tempdir().unwrap();
    let text =
        format!("[[upstream]]\nname = \"app\"\nservers = [\"{}\"]\n{ROUTES}", upstream.url());
    Process::configure(folder.path(), &text);
    let input = format!("{SECRET}\n");
    let added = sallyport(folder.path(), &["app", "add", "quest", "--secret-stdin"], &input);
    assert!(added.status.success(), "{added:?}");
    let first = Process::start(folder.path());
    let body = json!({ "app_id": "quest", "app_secret": SECRET, "user_id": "usr" });
    let minted = first.client().ask("POST", "/auth/token").json(&body).send();
    let token = minted.json()["token"].as_str().unwrap().to_owned();
    let body = json!({ "app_id": "quest", "app_secret": SECRET, "token": token });
    assert_eq!(first.client().ask("POST", "/auth/token/revoke").json(&body).send().status, 200);
    first.kill();
    let second = Process::start(folder.path());
    let answer = second.client().ask("GET", "/page").bearer(&token).send();
    assert_eq!(answer.verdict(), is(401, "token_revoked"));
}

#[test]
fn a_stream_ends_with_the_token_or_the_app_that_opened_it() {
    let upstream = Upstream::play(telling);
    let gate = gate(&upstream, "");
    for by_app in [false, true] {
        let token = token(&gate, &json!({}));
        let client = gate.client();
        let mut wire = client.wire();
        wire.send(format!(
            "GET /events HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {token}\r\n\r\n"
        ))
        .unwrap();
        assert_eq!(wire.head().unwrap().unwrap().status, 200);
        assert_eq!(wire.bytes(14).unwrap(), b"9\r\ndata: 1\n\n\r\n");
        if by_app {
            let disable = AppChange { disabled: Some(true), ..AppChange::default() };
            change_app(&gate, "quest", &disable);
        } else {
            let body = json!({ "app_id": "quest", "app_secret": SECRET, "token": token });
            assert_eq!(ask(&gate, "/auth/token/revoke", &body).status, 200);
        }
        assert_eq!(wire.bytes(5).unwrap(), b"0\r\n\r\n", "a proper end");
    }
}

#[test]
fn what_an_app_mints_while_it_is_disabled_or_removed_is_cut_off_too() {
    let upstream = application();
    let folder = tempfile::tempdir().unwrap();
    let text =
        format!("[[upstream]]\nname = \"app\"\nservers = [\"{}\"]\n{ROUTES}", upstream.url());
    Process::configure(folder.path(), &text);
    // Some times, for whether something falls into the gap is chance.
    let commands = ["disable", "remove"].repeat(4);
    for number in 0..commands.len() {
        let id = format!("quest-{number}");
        let input = format!("{SECRET}\n");
        let added = sallyport(folder.path(), &["app", "add", &id, "--secret-stdin"], &input);
        assert!(added.status.success(), "{added:?}");
    }
    let process = Process::start(folder.path());
    for (number, command) in commands.into_iter().enumerate() {
        let id = format!("quest-{number}");
        let body = json!({ "app_id": id, "app_secret": SECRET, "user_id": "usr" });
        let first = process.client().ask("POST", "/auth/token").json(&body).send();
        assert_eq!(first.status, 200, "{first:?}");
        let minted: Vec<String> = thread::scope(|scope| {
            let minting = [(); 4].map(|()| {
                scope.spawn(|| {
                    let mut client = process.client();
                    let mut minted = Vec::new();
                    loop {
                        let answer = client.ask("POST", "/auth/token").json(&body).send();
                        if answer.status == 401 {
                            return minted;
                        }
                        assert_eq!(answer.status, 200, "{answer:?}");
                        minted.push(answer.json()["token"].as_str().unwrap().to_owned());
                    }
                })
            });
            let done = sallyport(folder.path(), &["app", command, &id], "");
            assert!(done.status.success(), "{done:?}");
            minting.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        let mut client = process.client();
        assert!(!minted.is_empty());
        // The last are those that were minted in the meantime.
        for token in minted.iter().rev().take(400) {
            let waited = Stopwatch::start();
            while client.ask("GET", "/page").bearer(token).send().status != 401 {
                assert!(waited.elapsed() < Duration::from_secs(1), "{command}: it lives on");
            }
        }
    }
}

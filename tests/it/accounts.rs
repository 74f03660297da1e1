//! Accounts by those whom they belong to: signup, the links for the first account, an invitation and
//! a reset, a change of password, the list of one's sessions and their ends.

use std::thread;
use std::time::Duration;

use sallyport::session::{Purpose, draw_link};
use serde_json::{Value, json};

use crate::harness::{
    ACCESS, Answer, Client, DEVICE, Gate, ORIGIN, PASSWORD, REFRESH, Upstream, response,
};

const NEW: &str = "quite another secret of mine";
const HTML: (&str, &str) = ("Accept", "text/html,*/*;q=0.8");

fn setting(lines: &str) -> (Upstream, Gate) {
    let upstream = Upstream::answering(|_| response("200 OK", &[], "the application"));
    let gate = Gate::with(&upstream, lines);
    (upstream, gate)
}

fn open() -> (Upstream, Gate) {
    setting("[login]\nsignup = true\n")
}

/// A JSON body, as a program sends it.
fn post(client: &mut Client, path: &str, body: &Value) -> Answer {
    client.ask("POST", path).field("Origin", ORIGIN).json(body).send()
}

/// A form, as a browser sends it.
fn submit(client: &mut Client, path: &str, fields: &[(&str, &str)]) -> Answer {
    client.ask("POST", path).field("Origin", ORIGIN).field(HTML.0, HTML.1).form(fields).send()
}

fn chosen(name: &str, secret: &str) -> Value {
    json!({ "username": name, "password": secret })
}

/// A fresh link's secret.
fn token(gate: &Gate, purpose: Purpose) -> String {
    let (link, secret) = draw_link(purpose, Duration::from_hours(1), gate.clock().now()).unwrap();
    gate.store(async |store| store.add_link(&link).await).unwrap();
    secret.expose().to_owned()
}

fn invitation(gate: &Gate) -> String {
    token(
        gate,
        Purpose::Invite { roles: vec!["editor".to_owned()], permissions: vec!["admin".to_owned()] },
    )
}

fn by(token: &str, name: &str, secret: &str) -> Value {
    json!({ "token": token, "username": name, "password": secret })
}

fn is_in(client: &mut Client) -> bool {
    client.get("/auth/me").status == 200
}

fn holds_nothing(client: &Client) -> bool {
    client.jar.get(ACCESS).is_none() && client.jar.get(REFRESH).is_none()
}

fn names(gate: &Gate) -> Vec<String> {
    let users = gate.store(async |store| store.users(None, 100).await).unwrap();
    users.into_iter().map(|user| user.login).collect()
}

// Signup.

#[test]
fn signup_is_off_unless_it_is_switched_on() {
    let (_upstream, gate) = setting("");
    assert_eq!(gate.client().open("/auth/signup").status, 404);
    let answer = post(&mut gate.client(), "/auth/signup", &chosen("ada", NEW));
    assert_eq!(answer.verdict(), (404, "not_found".to_owned()));
    assert!(!gate.client().open("/auth/login").text().contains("/auth/signup"));
    assert!(names(&gate).is_empty());
}

#[test]
fn a_stranger_signs_up_and_is_in_without_rights() {
    let (upstream, gate) = open();
    let mut client = gate.client();
    let answer = post(&mut client, "/auth/signup", &chosen("Ada", NEW));
    assert_eq!(answer.status, 201, "{answer:#?}");
    let told = answer.json();
    assert_eq!((&told["user"]["login"], &told["user"]["permissions"]), (&json!("Ada"), &json!([])));
    assert!(told["expires_at"].as_i64().unwrap() > 0);
    assert_eq!(answer.one("cache-control"), "private, no-store");
    assert!(client.jar.get(DEVICE).is_some(), "this browser is known from now on");
    assert_eq!(client.get("/a").status, 200);
    assert_eq!(upstream.requests().last().unwrap().field("x-auth-user"), ["Ada"]);
    assert_eq!(client.get("/admin/a").status, 403);
    assert_eq!(gate.client().log_in("ada", NEW, false).status, 200, "and can come again");
}

#[test]
fn a_person_signs_up_by_form_and_is_led_to_where_they_wanted_to_go() {
    let (_upstream, gate) = open();
    let mut client = gate.client();
    let login = client.open("/auth/login?return_to=/notes");
    assert!(login.text().contains("signup?return_to=&#x2f;notes"), "{}", login.text());
    let page = client.open("/auth/signup?return_to=/notes");
    assert!(page.text().contains("name=\"return_to\""), "{}", page.text());
    let fields = [
        ("username", "ada"),
        ("password", NEW),
        ("password_confirmation", NEW),
        ("return_to", "/notes"),
    ];
    let answer = submit(&mut client, "/auth/signup", &fields);
    assert_eq!(answer.status, 303, "{answer:#?}");
    let onward = answer.one("location").to_owned();
    let answer = client.open(&onward);
    assert_eq!((answer.status, answer.one("location")), (303, "/notes"));
}

#[test]
fn what_cannot_be_a_name_or_a_secret_is_refused_by_name() {
    let (_upstream, gate) = open();
    gate.add_user("ada", &[], &[]);
    let before = gate.snapshot();
    let long = "x".repeat(300);
    let huge = "long enough ".repeat(100);
    for (name, secret, code, words) in [
        (" eve", NEW, "validation_error", "name"),
        ("e\u{202e}ve", NEW, "validation_error", "name"),
        (&*long, NEW, "validation_error", "name"),
        ("eve", "only fourteen!", "validation_error", "15 characters"),
        ("eve", &huge, "validation_error", "1024 bytes"),
        ("eve", "line\nend within the secret", "validation_error", "nobody sees"),
        ("eve", "passwordpassword", "validation_error", "first"),
        ("eve", "123456789012345", "validation_error", "first"),
        ("eve-the-adventurer", "Eve-The-Adventurer", "validation_error", "first"),
        ("ADA", NEW, "name_taken", "taken"),
        ("admin", NEW, "name_taken", "taken"),
        ("Root", NEW, "name_taken", "taken"),
        ("\u{ff41}dmin", NEW, "name_taken", "taken"),
    ] {
        let mut client = gate.client();
        let answer = post(&mut client, "/auth/signup", &chosen(name, secret));
        let status = if code == "name_taken" { 409 } else { 400 };
        assert_eq!(answer.verdict(), (status, code.to_owned()), "{name:?} {secret:?}");
        assert!(answer.text().contains(words), "{words}: {}", answer.text());
        let page = submit(&mut client, "/auth/signup", &[("username", name), ("password", secret)]);
        assert_eq!(page.status, status, "{name:?}");
        assert!(page.text().contains("role=\"alert\""), "{}", page.text());
        assert!(!page.text().contains(NEW), "the secret is not shown again");
        assert!(client.jar.is_empty());
    }
    let differ = json!({ "username": "eve", "password": NEW, "password_confirmation": "other" });
    let answer = post(&mut gate.client(), "/auth/signup", &differ);
    assert_eq!(answer.verdict(), (400, "validation_error".to_owned()));
    assert!(answer.text().contains("differ"), "{}", answer.text());
    assert_eq!(gate.snapshot(), before, "nothing was made");
}

#[test]
fn any_printable_characters_make_a_password_however_they_are_typed() {
    let (_upstream, gate) = open();
    let composed = "fünf süße Äpfel für Köln";
    let decomposed = "fu\u{308}nf su\u{308}ße A\u{308}pfel fu\u{308}r Ko\u{308}ln";
    assert_eq!(post(&mut gate.client(), "/auth/signup", &chosen("ada", composed)).status, 201);
    assert_eq!(gate.client().log_in("ada", decomposed, false).status, 200);
    assert_eq!(gate.client().log_in("ada", "funf susse Apfel fur Koln", false).status, 401);
}

#[test]
fn one_network_makes_no_more_accounts_than_its_limit_and_cannot_ask_for_more_names() {
    let (_upstream, gate) =
        setting("[login]\nsignup = true\n[attempts]\nper_network = { count = 3, per = \"15m\" }\n");
    gate.add_user("ada", &[], &[]);
    assert_eq!(post(&mut gate.client(), "/auth/signup", &chosen("bob", NEW)).status, 201);
    // To be told that a name is taken counts too.
    for _ in 0..2 {
        assert_eq!(post(&mut gate.client(), "/auth/signup", &chosen("ada", NEW)).status, 409);
    }
    let answer = post(&mut gate.client(), "/auth/signup", &chosen("cat", NEW));
    assert_eq!(answer.verdict(), (429, "rate_limited".to_owned()));
    assert!(answer.one("retry-after").parse::<u32>().unwrap() > 0);
    assert_eq!(answer.one("ratelimit-limit"), "3");
    gate.pass(Duration::from_mins(5));
    assert_eq!(post(&mut gate.client(), "/auth/signup", &chosen("cat", NEW)).status, 201);
}

#[test]
fn a_foreign_page_cannot_make_a_browser_sign_up_or_use_a_link() {
    let (_upstream, gate) = open();
    let token = invitation(&gate);
    for path in ["/auth/signup", "/auth/setup", "/auth/invite", "/auth/reset"] {
        for (name, value) in
            [("Origin", "https://evil.test"), ("Origin", "null"), ("Sec-Fetch-Site", "cross-site")]
        {
            let mut client = gate.client();
            let ask = client.ask("POST", path).field(name, value);
            let answer = ask.json(&by(&token, "eve", NEW)).send();
            assert_eq!(answer.verdict(), (403, "csrf_guard".to_owned()), "{path} {name}");
        }
    }
    assert!(names(&gate).is_empty());
}

// Links.

#[test]
fn the_first_account_is_made_by_the_setup_link_and_administers() {
    let (_upstream, gate) = setting("");
    let (one, two) = (token(&gate, Purpose::Setup), token(&gate, Purpose::Setup));
    let mut client = gate.client();
    let page = client.open(&format!("/auth/setup?token={one}"));
    assert_eq!(page.status, 200);
    assert!(page.text().contains("administrator"), "{}", page.text());
    // The operator may have any name.
    let fields = [("token", &*one), ("username", "admin"), ("password", NEW)];
    assert_eq!(submit(&mut client, "/auth/setup", &fields).status, 303);
    assert_eq!(client.get("/admin/a").status, 200);
    for token in [&one, &two] {
        let again = post(&mut gate.client(), "/auth/setup", &by(token, "eve", NEW));
        assert_eq!(again.verdict(), (410, "link_spent".to_owned()));
        assert_eq!(gate.client().open(&format!("/auth/setup?token={token}")).status, 410);
    }
    assert_eq!(names(&gate), ["admin"]);
}

#[test]
fn two_setups_at_once_make_one_account() {
    let (_upstream, gate) = setting("");
    let tokens = [token(&gate, Purpose::Setup), token(&gate, Purpose::Setup)];
    let start = std::sync::Barrier::new(8);
    let mut statuses: Vec<u16> = thread::scope(|scope| {
        let asked: Vec<_> = (0..8)
            .map(|n| {
                let (gate, start, token) = (&gate, &start, &tokens[n % 2]);
                scope.spawn(move || {
                    let mut client = gate.client();
                    client.get("/auth/login");
                    start.wait();
                    let body = by(token, &format!("ada{n}"), NEW);
                    post(&mut client, "/auth/setup", &body).status
                })
            })
            .collect();
        asked.into_iter().map(|one| one.join().unwrap()).collect()
    });
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 410, 410, 410, 410, 410, 410, 410]);
    assert_eq!(names(&gate).len(), 1);
}

#[test]
fn an_invitation_makes_one_account_with_its_rights() {
    let (_upstream, gate) = setting("");
    let token = invitation(&gate);
    let mut client = gate.client();
    let page = client.open(&format!("/auth/invite?token={token}"));
    assert!(page.text().contains(&format!("name=\"token\" value=\"{token}\"")), "{}", page.text());
    // A wrong choice leaves the link as it is, and its page in place.
    let fields = [("token", &*token), ("username", "ada"), ("password", "short")];
    let wrong = submit(&mut client, "/auth/invite", &fields);
    assert_eq!(wrong.status, 400);
    assert!(wrong.text().contains(&*token) && wrong.text().contains("value=\"ada\""));
    let made = post(&mut client, "/auth/invite", &by(&token, "ada", NEW));
    assert_eq!(made.status, 201, "{made:#?}");
    let user = &made.json()["user"];
    assert_eq!((&user["roles"], &user["permissions"]), (&json!(["editor"]), &json!(["admin"])));
    assert_eq!(client.get("/admin/a").status, 200);
    let again = post(&mut gate.client(), "/auth/invite", &by(&token, "eve", NEW));
    assert_eq!(again.verdict(), (410, "link_spent".to_owned()));
    let reserved = post(&mut gate.client(), "/auth/invite", &by(&invitation(&gate), "root", NEW));
    assert_eq!(reserved.verdict(), (409, "name_taken".to_owned()));
    assert_eq!(names(&gate), ["ada"]);
}

#[test]
fn who_only_looks_at_a_link_spends_nothing() {
    let (_upstream, gate) = setting("");
    let ada = gate.add_user("ada", &[], &[]);
    let (invite, reset) = (invitation(&gate), token(&gate, Purpose::Reset(ada)));
    for (path, token) in [("/auth/invite", &invite), ("/auth/reset", &reset)] {
        let address = format!("{path}?token={token}");
        for method in ["GET", "HEAD", "GET"] {
            let mut client = gate.client();
            let answer = client.ask(method, &address).field(HTML.0, HTML.1).send();
            assert_eq!(answer.status, 200, "{method} {path}");
            // Whoever is asked for next learns the site and nothing of the link.
            assert_eq!(answer.one("referrer-policy"), "strict-origin");
            assert!(answer.one("cache-control").contains("no-store"));
            assert!(answer.field("set-cookie").is_empty());
        }
        let options = gate.client().ask("OPTIONS", &address).send();
        assert_eq!(options.status, 405);
    }
    assert_eq!(post(&mut gate.client(), "/auth/invite", &by(&invite, "bob", NEW)).status, 201);
    let body = json!({ "token": reset, "new_password": NEW });
    assert_eq!(post(&mut gate.client(), "/auth/reset", &body).status, 200);
}

#[test]
fn a_link_that_is_late_wrong_or_of_another_kind_is_of_no_use() {
    let (_upstream, gate) = setting("");
    let ada = gate.add_user("ada", &[], &[]);
    let (invite, reset) = (invitation(&gate), token(&gate, Purpose::Reset(ada)));
    let before = gate.snapshot();
    let spent = |path: &str, token: &str| {
        let mut body = by(token, "eve", NEW);
        body["new_password"] = json!(NEW);
        let answer = post(&mut gate.client(), path, &body);
        assert_eq!(answer.verdict(), (410, "link_spent".to_owned()), "{path} {token:?}");
        let page = gate.client().open(&format!("{path}?token={}", token.replace(' ', "+")));
        assert_eq!(page.status, 410, "{path} {token:?}");
        assert!(page.text().contains("does not work any more"), "{}", page.text());
        if token.len() > 10 {
            assert!(!page.text().contains(token), "what was sent is not said again");
        }
    };
    spent("/auth/setup", &invite);
    spent("/auth/invite", &reset);
    spent("/auth/reset", &invite);
    for token in ["", "x", &"A".repeat(43), &"A".repeat(5000), &invite.to_lowercase()] {
        spent("/auth/invite", token);
    }
    gate.pass(Duration::from_hours(1));
    spent("/auth/invite", &invite);
    spent("/auth/reset", &reset);
    assert_eq!(gate.snapshot(), before);
}

#[test]
fn links_are_guessed_no_more_often_than_the_limit_of_the_network() {
    let (_upstream, gate) = setting("[attempts]\nper_network = { count = 3, per = \"15m\" }\n");
    let good = invitation(&gate);
    let guess = |n: usize| format!("/auth/invite?token={}", n.to_string().repeat(43));
    for n in 0..3 {
        assert_eq!(gate.client().open(&guess(n)).status, 410);
    }
    let answer = gate.client().get(&guess(3));
    assert_eq!(answer.verdict(), (429, "rate_limited".to_owned()));
    // Only guesses are counted: who has a link is let in.
    assert_eq!(gate.client().open(&format!("/auth/invite?token={good}")).status, 200);
}

#[test]
fn the_store_knows_no_link() {
    let (_upstream, gate) = setting("");
    let token = invitation(&gate);
    assert_eq!(gate.client().open(&format!("/auth/invite?token={token}")).status, 200);
    let mut kept = std::fs::read(gate.database()).unwrap();
    kept.extend(std::fs::read(gate.database().with_extension("db-wal")).unwrap_or_default());
    let found = kept.windows(token.len()).any(|window| window == token.as_bytes());
    assert!(!found && !kept.is_empty());
}

#[test]
fn a_reset_link_sets_the_password_and_ends_every_session() {
    let (_upstream, gate) = setting("");
    let ada = gate.add_user("ada", &[], &[]);
    let (mut phone, mut laptop) = (gate.signed_in("ada"), gate.signed_in("ada"));
    let (first, second) = (token(&gate, Purpose::Reset(ada)), token(&gate, Purpose::Reset(ada)));
    let mut client = gate.client();
    let page = client.open(&format!("/auth/reset?token={first}"));
    assert!(page.text().contains("ada"), "a password manager is told whose it is");
    let fields = |new| [("token", &*first), ("new_password", new), ("password_confirmation", NEW)];
    let differ = submit(&mut client, "/auth/reset", &fields("something else entirely"));
    assert_eq!(differ.status, 400);
    assert!(differ.text().contains(&*first), "the form is shown again: {}", differ.text());
    let done = submit(&mut client, "/auth/reset", &fields(NEW));
    assert_eq!((done.status, done.one("location")), (303, "/auth/login?password_changed=1"));
    let told = client.open("/auth/login?password_changed=1");
    assert!(told.text().contains("Your password was changed"), "{}", told.text());
    for client in [&mut phone, &mut laptop] {
        assert!(!is_in(client), "ended at once");
    }
    assert_eq!(gate.client().log_in("ada", PASSWORD, false).status, 401);
    assert_eq!(gate.client().log_in("ada", NEW, false).status, 200);
    for token in [first.clone(), second] {
        let body = json!({ "token": token, "new_password": PASSWORD });
        let again = post(&mut gate.client(), "/auth/reset", &body);
        assert_eq!(again.verdict(), (410, "link_spent".to_owned()));
    }
}

// The password.

#[test]
fn a_change_of_password_ends_the_other_sessions_and_keeps_this_one() {
    let (_upstream, gate) = setting("");
    gate.add_user("ada", &[], &[]);
    let (mut here, mut there) = (gate.signed_in("ada"), gate.signed_in("ada"));
    assert!(here.open("/auth/password").text().contains("name=\"current_password\""));
    let body = json!({ "current_password": PASSWORD, "new_password": NEW });
    let answer = post(&mut here, "/auth/password", &body);
    assert_eq!(answer.status, 200, "{answer:#?}");
    assert!(is_in(&mut here) && !is_in(&mut there));
    here.jar.remove(ACCESS);
    assert!(is_in(&mut here), "and it can be refreshed");
    there.jar.remove(ACCESS);
    assert!(!is_in(&mut there), "and theirs cannot");
    assert_eq!(gate.client().log_in("ada", PASSWORD, false).status, 401);
    assert_eq!(gate.client().log_in("ada", NEW, false).status, 200);
}

#[test]
fn a_change_of_password_asks_for_the_old_one_and_counts_as_a_guess() {
    let (_upstream, gate) = setting("");
    gate.add_user("ada", &[], &[]);
    let mut client = gate.signed_in("ada");
    client.jar.remove(DEVICE);
    let change = |client: &mut Client, old: &str, new: &str| {
        let body = json!({ "current_password": old, "new_password": new });
        post(client, "/auth/password", &body).verdict()
    };
    assert_eq!(change(&mut client, PASSWORD, "short"), (400, "validation_error".to_owned()));
    assert_eq!(change(&mut client, "", NEW), (400, "validation_error".to_owned()));
    for _ in 0..5 {
        let guess = change(&mut client, "my best guess at it", NEW);
        assert_eq!(guess, (403, "wrong_password".to_owned()));
    }
    assert_eq!(change(&mut client, PASSWORD, NEW), (429, "rate_limited".to_owned()));
    assert!(is_in(&mut client), "who guessed wrong is still in");
    gate.pass(Duration::from_mins(3));
    assert_eq!(change(&mut client, PASSWORD, NEW).0, 200);
}

#[test]
fn a_thief_of_a_session_uses_up_nothing_of_the_owners_browser() {
    let (_upstream, gate) = setting("");
    gate.add_user("ada", &[], &[]);
    let mut owner = gate.signed_in("ada");
    let mut thief = gate.client();
    thief.jar.put(ACCESS, owner.jar.get(ACCESS).unwrap());
    let change = |client: &mut Client, old: &str| {
        let body = json!({ "current_password": old, "new_password": NEW });
        post(client, "/auth/password", &body).verdict()
    };
    for _ in 0..5 {
        let guess = change(&mut thief, "my best guess at it");
        assert_eq!(guess, (403, "wrong_password".to_owned()));
    }
    assert_eq!(change(&mut thief, PASSWORD), (429, "rate_limited".to_owned()));
    assert_eq!(change(&mut owner, PASSWORD).0, 200, "by the cookie of its own last login");
    assert!(!is_in(&mut gate.client()) && is_in(&mut owner));
}

#[test]
fn a_foreign_page_can_neither_change_a_password_nor_end_sessions() {
    let (_upstream, gate) = setting("");
    gate.add_user("ada", &[], &[]);
    let mut client = gate.signed_in("ada");
    for path in
        ["/auth/password", "/auth/sessions/end", "/auth/sessions/end-others", "/auth/logout?all"]
    {
        for origin in [Some("https://evil.test"), None] {
            let mut ask = client.ask("POST", path);
            if let Some(origin) = origin {
                ask = ask.field("Origin", origin);
            }
            assert_eq!(ask.send().verdict(), (403, "csrf_guard".to_owned()), "{path} {origin:?}");
        }
    }
    assert!(is_in(&mut client));
}

#[test]
fn a_person_who_is_not_logged_in_is_led_to_the_login_and_back_to_their_account() {
    let (_upstream, gate) = setting("");
    gate.add_user("ada", &[], &[]);
    for page in ["/auth/account", "/auth/password"] {
        let mut client = gate.client();
        let answer = client.open(page);
        let place: String = page.replace('/', "%2F");
        assert_eq!(answer.one("location"), format!("/auth/login?return_to={place}"));
        let form = [("username", "ada"), ("password", PASSWORD), ("return_to", page)];
        let onward = submit(&mut client, "/auth/login", &form).one("location").to_owned();
        assert_eq!(client.open(&onward).one("location"), page);
        assert_eq!(client.open(page).status, 200);
    }
}

// Sessions.

#[test]
fn ones_sessions_are_listed_with_device_address_time_and_which_is_this() {
    let (_upstream, gate) = setting("");
    gate.add_user("ada", &[], &[]);
    gate.add_user("bob", &[], &[]);
    let _other = gate.signed_in("bob");
    let firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
    let mut there = gate.client();
    let body = json!({ "username": "ada", "password": PASSWORD });
    there.ask("POST", "/auth/login").field("User-Agent", firefox).json(&body).send();
    gate.pass(Duration::from_mins(1));
    let mut here = gate.signed_in("ada");
    let listed = here.get("/auth/sessions");
    assert_eq!(listed.one("cache-control"), "no-store");
    let listed = listed.json();
    let [this, that] = listed["sessions"].as_array().unwrap().as_slice() else {
        panic!("{listed:#}");
    };
    assert_eq!((&this["current"], &that["current"]), (&json!(true), &json!(false)));
    assert_eq!((&that["browser"], &that["system"]), (&json!("Firefox"), &json!("Linux")));
    assert_eq!(that["user_agent"], firefox);
    assert_eq!(that["address"], "127.0.0.1");
    let minute = this["created_at"].as_i64().unwrap() - that["created_at"].as_i64().unwrap();
    assert_eq!(minute, 60);
    let page = here.open("/auth/account").text();
    assert!(
        page.contains("Firefox") && page.contains("Linux") && page.contains("127.0.0.1"),
        "{page}"
    );
    assert!(page.contains("this device") && page.contains("Log out all other devices"), "{page}");
}

/// The ids of one's sessions, this one first.
fn ids(client: &mut Client) -> Vec<String> {
    let listed = client.get("/auth/sessions").json();
    let mut all: Vec<(bool, String)> = listed["sessions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (!one["current"].as_bool().unwrap(), one["id"].as_str().unwrap().to_owned()))
        .collect();
    all.sort();
    all.into_iter().map(|(_, id)| id).collect()
}

#[test]
fn one_session_is_ended_by_its_owner_and_by_nobody_else() {
    let (_upstream, gate) = setting("");
    gate.add_user("ada", &[], &[]);
    gate.add_user("eve", &[], &[]);
    let (mut here, mut there) = (gate.signed_in("ada"), gate.signed_in("ada"));
    let id = ids(&mut there)[0].clone();
    let end = |client: &mut Client, id: &str| {
        post(client, "/auth/sessions/end", &json!({ "session": id })).verdict()
    };
    for wrong in [&*id, "", "not an id", &"0".repeat(32), &id.to_uppercase()] {
        assert_eq!(end(&mut gate.signed_in("eve"), wrong).0, 404, "{wrong:?}");
    }
    assert!(is_in(&mut there));
    assert_eq!(end(&mut here, &id).0, 200);
    assert!(!is_in(&mut there), "ended at once");
    there.jar.remove(ACCESS);
    assert!(!is_in(&mut there), "and for good");
    assert_eq!(end(&mut here, &id), (404, "not_found".to_owned()), "it has ended");
    let own = ids(&mut here)[0].clone();
    assert_eq!(end(&mut here, &own).0, 200);
    assert!(holds_nothing(&here), "to end one's own is to log out");
}

#[test]
fn a_person_ends_sessions_on_the_account_page() {
    let (_upstream, gate) = setting("");
    gate.add_user("ada", &[], &[]);
    let mut here = gate.signed_in("ada");
    let mut others: Vec<Client> = (0..3).map(|_| gate.signed_in("ada")).collect();
    let id = ids(&mut here)[1].clone();
    let answer = submit(&mut here, "/auth/sessions/end", &[("session", &id)]);
    let place = "/auth/account?done=session_ended#sessions";
    assert_eq!((answer.status, answer.one("location")), (303, place));
    assert!(
        here.open("/auth/account?done=session_ended").text().contains("That session has ended")
    );
    assert_eq!(others.iter_mut().filter_map(|one| is_in(one).then_some(())).count(), 2);
    let answer = submit(&mut here, "/auth/sessions/end-others", &[]);
    assert_eq!(answer.one("location"), "/auth/account?done=others_ended#sessions");
    assert!(others.iter_mut().all(|one| !is_in(one)));
    let page = here.open("/auth/account?done=others_ended").text();
    assert!(page.contains("All other sessions have ended"), "{page}");
    assert!(!page.contains("Log out all other devices"), "there are none");
}

#[test]
fn logout_of_all_ends_every_session_by_access_or_refresh_token() {
    let (_upstream, gate) = setting("");
    gate.add_user("ada", &[], &[]);
    gate.add_user("bob", &[], &[]);
    let mut bob = gate.signed_in("bob");
    for kept in [ACCESS, REFRESH] {
        let (mut here, mut there) = (gate.signed_in("ada"), gate.signed_in("ada"));
        here.jar.remove(if kept == ACCESS { REFRESH } else { ACCESS });
        let answer = here.post("/auth/logout?all");
        assert_eq!(answer.status, 200, "{kept}");
        assert!(holds_nothing(&here) && !is_in(&mut there), "{kept}");
        there.jar.remove(ACCESS);
        assert!(!is_in(&mut there), "{kept}");
    }
    let (mut here, mut there) = (gate.signed_in("ada"), gate.signed_in("ada"));
    assert_eq!(here.post("/auth/logout").status, 200);
    assert!(is_in(&mut there), "without it the others go on");
    assert!(is_in(&mut bob));
}

#[test]
fn after_the_access_token_has_ended_a_form_of_the_account_page_still_works() {
    let (_upstream, gate) = setting("");
    gate.add_user("ada", &[], &[]);
    let (mut here, mut there) = (gate.signed_in("ada"), gate.signed_in("ada"));
    here.jar.remove(ACCESS);
    let fields =
        [("current_password", PASSWORD), ("new_password", NEW), ("password_confirmation", NEW)];
    let answer = submit(&mut here, "/auth/password", &fields);
    assert_eq!(answer.one("location"), "/auth/account?done=password_changed");
    assert!(is_in(&mut here) && !is_in(&mut there));
    assert!(
        here.open("/auth/account?done=password_changed").text().contains("password is changed")
    );
}

// PINs.

#[test]
fn a_site_with_pins_asks_for_digits_and_says_so() {
    let pins = "[login]\nsignup = true\n[login.secret]\nkind = \"pin\"\nmin_length = 4\n";
    let (_upstream, gate) = setting(pins);
    let page = gate.client().open("/auth/login").text();
    assert!(page.contains("inputmode=\"numeric\"") && page.contains(">PIN<"), "{page}");
    for (pin, status) in [("0000", 400), ("123", 400), ("80a4", 400), ("8049", 201)] {
        let answer = post(&mut gate.client(), "/auth/signup", &chosen("ada", pin));
        assert_eq!(answer.status, status, "{pin}: {}", answer.text());
    }
    assert_eq!(gate.client().log_in("ada", "8049", false).status, 200);
}

//! How often strangers may guess, and what it costs those who do not.

use std::time::Duration;

use crate::harness::{Answer, DEVICE, Gate, PASSWORD, Upstream, response};

const QUARTER: Duration = Duration::from_secs(15 * 60);

fn setting(lines: &str) -> (Upstream, Gate) {
    let upstream = Upstream::answering(|_| response("200 OK", &[], "the application"));
    let gate = Gate::with(&upstream, lines);
    gate.add_user("ada", &[], &[]);
    gate.add_user("bob", &[], &[]);
    (upstream, gate)
}

fn guess(gate: &Gate, name: &str) -> Answer {
    gate.client().log_in(name, "a wrong guess, this one", false)
}

fn number(answer: &Answer, field: &str) -> u64 {
    answer.one(field).parse().unwrap()
}

#[test]
fn after_five_guesses_at_one_account_the_sixth_is_not_heard() {
    let (_upstream, gate) = setting("");
    for left in (0..5).rev() {
        let answer = guess(&gate, "ada");
        assert_eq!(answer.verdict(), (401, "invalid_credentials".to_owned()));
        assert_eq!(
            (number(&answer, "ratelimit-limit"), number(&answer, "ratelimit-remaining")),
            (5, left)
        );
        assert!(answer.field("retry-after").is_empty());
    }
    let answer = guess(&gate, "ada");
    assert_eq!(answer.verdict(), (429, "rate_limited".to_owned()));
    assert_eq!(number(&answer, "ratelimit-remaining"), 0);
    assert_eq!(number(&answer, "retry-after"), 180, "one is given back every three minutes");
    // Not even the right one; and another account is not concerned.
    assert_eq!(gate.client().log_in("ada", PASSWORD, false).status, 429);
    assert_eq!(gate.client().log_in("bob", PASSWORD, false).status, 200);
    // Exactly when it says, and not before.
    gate.pass(Duration::from_secs(179));
    assert_eq!(gate.client().log_in("ada", PASSWORD, false).status, 429);
    gate.pass(Duration::from_secs(1));
    assert_eq!(gate.client().log_in("ada", PASSWORD, false).status, 200);
}

#[test]
fn the_spellings_of_one_name_share_one_limit_and_unknown_names_have_theirs() {
    let (_upstream, gate) = setting("");
    for name in ["ada", "ADA", "Ada", "aDa", "adA"] {
        assert_eq!(guess(&gate, name).status, 401, "{name}");
    }
    assert_eq!(guess(&gate, "AdA").status, 429);
    // An unknown name looks and counts like a known one.
    for left in (0..5).rev() {
        let answer = guess(&gate, "nobody-at-all");
        assert_eq!(answer.verdict(), (401, "invalid_credentials".to_owned()));
        assert_eq!(number(&answer, "ratelimit-remaining"), left);
    }
    assert_eq!(guess(&gate, "nobody-at-all").verdict(), (429, "rate_limited".to_owned()));
}

#[test]
fn what_was_refused_by_the_limit_costs_nothing_and_a_success_is_given_back() {
    let (_upstream, gate) = setting("");
    for _ in 0..20 {
        assert_eq!(gate.client().log_in("ada", PASSWORD, false).status, 200);
    }
    for _ in 0..5 {
        guess(&gate, "ada");
    }
    for _ in 0..50 {
        assert_eq!(guess(&gate, "ada").status, 429);
    }
    gate.pass(Duration::from_secs(180));
    assert_eq!(guess(&gate, "ada").status, 401, "hammering has not moved the end");
}

#[test]
fn successes_count_too_where_the_config_says_so() {
    let (_upstream, gate) = setting("[attempts]\ncount = \"all\"\n");
    for _ in 0..5 {
        assert_eq!(gate.client().log_in("ada", PASSWORD, false).status, 200);
    }
    assert_eq!(gate.client().log_in("ada", PASSWORD, false).status, 429);
}

#[test]
fn one_network_has_a_limit_of_its_own_over_all_accounts() {
    let (_upstream, gate) = setting("[attempts]\nper_network = { count = 8, per = \"15m\" }\n");
    for number in 0..8 {
        assert_eq!(guess(&gate, &format!("name{number}")).status, 401);
    }
    assert_eq!(guess(&gate, "another").status, 429);
    assert_eq!(gate.client().log_in("bob", PASSWORD, false).status, 429);
    gate.pass(QUARTER);
    assert_eq!(gate.client().log_in("bob", PASSWORD, false).status, 200);
}

#[test]
fn one_account_has_a_limit_of_its_own_over_all_networks() {
    let trusted = "[listen]\nhttps = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n\
         public_url = \"https://localhost:8443\"\ndrain_timeout = \"0s\"\n\
         trusted_proxies = [\"127.0.0.1\"]\n\
         [attempts]\nper_account = { count = 7, per = \"15m\" }\n";
    let (_upstream, gate) = setting(trusted);
    let from = |address: &str| {
        let mut client = gate.client();
        let body = serde_json::json!({ "username": "ada", "password": "wrong, whoever asks" });
        let ask = client.ask("POST", "/auth/login").field("X-Forwarded-For", address);
        ask.json(&body).send().status
    };
    for number in 0..7 {
        assert_eq!(from(&format!("203.0.113.{number}")), 401);
    }
    assert_eq!(from("203.0.113.200"), 429);
}

#[test]
fn a_network_is_an_ipv4_address_or_an_ipv6_64_and_only_a_trusted_proxy_can_name_it() {
    let listen = |trusted: &str| {
        format!(
            "[listen]\nhttps = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n\
             public_url = \"https://localhost:8443\"\ndrain_timeout = \"0s\"\n\
             trusted_proxies = [{trusted}]\n"
        )
    };
    let from = |gate: &Gate, list: &str| {
        let mut client = gate.client();
        let body = serde_json::json!({ "username": "ada", "password": "wrong, whoever asks" });
        let ask = client.ask("POST", "/auth/login").field("X-Forwarded-For", list);
        ask.json(&body).send().status
    };
    let (_upstream, gate) = setting(&listen("\"127.0.0.1\""));
    // One household, however many addresses it takes.
    for number in 0..5 {
        assert_eq!(from(&gate, &format!("2001:db8:1:2:{number:x}::1")), 401);
    }
    assert_eq!(from(&gate, "[2001:db8:1:2:ffff::1]:4711"), 429);
    assert_eq!(from(&gate, "2001:db8:1:3::1"), 401);
    // One IPv4 address in all its spellings; what a client writes to the left says nothing.
    for (number, list) in
        ["192.0.2.1", "::ffff:192.0.2.1", "6.6.6.6, 192.0.2.1", "192.0.2.1:99", "x, 192.0.2.1"]
            .into_iter()
            .enumerate()
    {
        assert_eq!(from(&gate, list), 401, "{number}");
    }
    assert_eq!(from(&gate, "7.7.7.7, 192.0.2.1"), 429);
    let (_upstream, gate) = setting(&listen(""));
    for number in 0..5 {
        assert_eq!(from(&gate, &format!("203.0.113.{number}")), 401);
    }
    assert_eq!(from(&gate, "203.0.113.200"), 429, "nobody is trusted unless named");
}

#[test]
fn an_authentic_refresh_is_never_refused_by_a_limit_and_forged_ones_are() {
    let (_upstream, gate) = setting("[attempts]\nper_network = { count = 6, per = \"15m\" }\n");
    let mut client = gate.signed_in("ada");
    let forged = |gate: &Gate| {
        let mut stranger = gate.client();
        stranger.jar.put(crate::harness::REFRESH, "forged");
        stranger.post("/auth/refresh")
    };
    for _ in 0..6 {
        assert_eq!(forged(&gate).verdict(), (401, "malformed".to_owned()));
    }
    let answer = forged(&gate);
    assert_eq!(answer.verdict(), (429, "rate_limited".to_owned()));
    assert!(number(&answer, "retry-after") > 0);
    for _ in 0..20 {
        assert_eq!(client.post("/auth/refresh").status, 200);
    }
    // Nor does guessing keep anybody out who is in.
    for _ in 0..20 {
        guess(&gate, "ada");
    }
    assert_eq!((client.get("/a").status, client.post("/auth/refresh").status), (200, 200));
}

#[test]
fn the_form_says_so_on_the_page_and_keeps_what_was_typed_but_never_the_secret() {
    let (_upstream, gate) = setting("");
    let submit = || {
        let mut client = gate.client();
        let form = [("username", "ada"), ("password", "secret-guess-4711"), ("return_to", "/a")];
        let ask = client.ask("POST", "/auth/login").form(&form);
        ask.field("Accept", "text/html").send()
    };
    for _ in 0..5 {
        let answer = submit();
        assert_eq!(answer.status, 401);
        let page = answer.text();
        assert!(page.contains("value=\"ada\"") && page.contains("name=\"return_to\""), "{page}");
        assert!(!page.contains("secret-guess-4711"), "{page}");
    }
    let answer = submit();
    assert_eq!((answer.status, number(&answer, "retry-after")), (429, 180));
    assert!(answer.text().contains("<form"), "{}", answer.text());
}

/// Strangers from everywhere guess at `ada` until nobody new is heard; returns what they are told.
fn besiege(gate: &Gate) -> Answer {
    let mut last = None;
    for number in 0..200_u8 {
        let mut client = gate.client();
        let body = serde_json::json!({ "username": "ada", "password": "wrong, whoever asks" });
        let ask = client.ask("POST", "/auth/login");
        let address = format!("203.0.113.{number}");
        last = Some(ask.field("X-Forwarded-For", address).json(&body).send());
    }
    last.unwrap()
}

const BEHIND_A_PROXY: &str = "[listen]\nhttps = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n\
     public_url = \"https://localhost:8443\"\ndrain_timeout = \"0s\"\n\
     trusted_proxies = [\"127.0.0.1\"]\n";

#[test]
fn strangers_cannot_lock_out_a_browser_that_has_logged_in_before() {
    let (upstream, gate) = setting(BEHIND_A_PROXY);
    let mut owner = gate.signed_in("ada");
    let device = owner.jar.get(DEVICE).unwrap().to_owned();
    assert_eq!(owner.post("/auth/logout").status, 200);
    assert_eq!(owner.jar.get(DEVICE), Some(device.as_str()), "it outlives the session");
    assert_eq!(besiege(&gate).verdict(), (429, "rate_limited".to_owned()));
    // A browser that is not known waits with the strangers; the owner's does not.
    assert_eq!(gate.client().log_in("ada", PASSWORD, false).status, 429);
    assert_eq!(owner.log_in("ada", PASSWORD, false).status, 200);
    // It opens nothing and is not forwarded, and nobody can read an account's name in it.
    assert_eq!(owner.get("/a").status, 200);
    assert!(!upstream.requests().last().unwrap().fields().iter().any(|(name, _)| name == "cookie"));
    let mut thief = gate.client();
    thief.jar.put(DEVICE, &device);
    assert_eq!(thief.get("/a").verdict(), (401, "missing_token".to_owned()));
}

#[test]
fn a_device_is_bound_to_its_account_and_worth_its_own_allowance() {
    let (_upstream, gate) = setting(BEHIND_A_PROXY);
    let device = gate.signed_in("ada").jar.get(DEVICE).unwrap().to_owned();
    let of_bob = gate.signed_in("bob").jar.get(DEVICE).unwrap().to_owned();
    besiege(&gate);
    let with = |device: &str, name: &str, password: &str| {
        let mut client = gate.client();
        client.jar.put(DEVICE, device);
        client.log_in(name, password, false)
    };
    // Another last letter, whichever it is.
    let other = if device.ends_with('A') { 'E' } else { 'A' };
    let forged = format!("{}{other}", device.strip_suffix(|_: char| true).unwrap());
    for (device, what) in [(of_bob.as_str(), "another's"), (&forged, "forged"), ("x.y", "garbage")]
    {
        assert_eq!(with(device, "ada", PASSWORD).status, 429, "{what}");
    }
    // Stolen, it is worth five guesses, from wherever.
    for left in (0..5).rev() {
        let answer = with(&device, "ada", "a wrong guess, this one");
        assert_eq!(answer.verdict(), (401, "invalid_credentials".to_owned()));
        assert_eq!(number(&answer, "ratelimit-remaining"), left);
    }
    assert_eq!(with(&device, "ada", PASSWORD).status, 429);
    gate.pass(Duration::from_secs(180));
    besiege(&gate);
    let answer = with(&device, "ada", PASSWORD);
    assert_eq!(answer.status, 200);
    // The same device goes on: to log in again and again makes no further allowance.
    let cookies = answer.field("set-cookie");
    let renewed = cookies.iter().find(|field| field.starts_with(DEVICE)).unwrap();
    let renewed = renewed.split(['=', ';']).nth(1).unwrap();
    assert_eq!(with(renewed, "ada", "a wrong guess, this one").status, 401);
    assert_eq!(with(renewed, "ada", PASSWORD).status, 429);
    assert_eq!(with(&device, "ada", PASSWORD).status, 429);
}

#[test]
fn the_device_cookie_is_as_the_config_wants_it() {
    let (_upstream, gate) = setting("[cookies]\ndevice = \"__Secure-known\"\n");
    let answer = gate.client().log_in("ada", PASSWORD, false);
    let field = answer.field("set-cookie").into_iter().find(|one| one.contains("known")).unwrap();
    for part in ["__Secure-known=", "; HttpOnly", "; Secure", "; SameSite=Lax", "; Path=/"] {
        assert!(field.contains(part), "{field}: {part}");
    }
    // Ninety days, though "remember me" is off.
    assert!(field.contains("; Max-Age=7776000"), "{field}");
    let (_upstream, gate) = setting("[cookies]\ndevice = false\n");
    let mut client = gate.signed_in("ada");
    assert_eq!((client.jar.get("known"), client.jar.get(DEVICE)), (None, None));
    assert_eq!(client.get("/a").status, 200);
}

#[test]
fn an_act_may_have_numbers_of_its_own() {
    let (_upstream, gate) = setting(
        "[attempts]\nper_network = { count = 9, per = \"15m\" }\n\
         [attempts.login]\nper_account_and_network = { count = 2, per = \"1h\" }\n\
         [attempts.refresh]\nper_network = { count = 1, per = \"15m\" }\n",
    );
    for left in [1, 0] {
        assert_eq!(number(&guess(&gate, "ada"), "ratelimit-remaining"), left);
    }
    let answer = guess(&gate, "ada");
    assert_eq!((answer.status, number(&answer, "retry-after")), (429, 1800));
    for _ in 0..7 {
        guess(&gate, "bob");
        guess(&gate, "eve");
        guess(&gate, "kim");
        guess(&gate, "joe");
    }
    assert_eq!(guess(&gate, "ned").status, 429, "what it leaves out is as for all acts");
    let forged = || {
        let mut stranger = gate.client();
        stranger.jar.put(crate::harness::REFRESH, "forged");
        stranger.post("/auth/refresh").status
    };
    assert_eq!((forged(), forged()), (401, 429));
    let metrics = gate.admin("/metrics");
    let metrics = metrics.text();
    for line in [
        "sallyport_attempts_refused_total{act=\"login\",key=\"account_and_network\"}",
        "sallyport_attempts_refused_total{act=\"login\",key=\"network\"}",
        "sallyport_attempts_refused_total{act=\"refresh\",key=\"network\"} 1",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
}

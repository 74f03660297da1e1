//! The check that a person is there: a local server plays the service, well and badly.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sallyport::clock::Stopwatch;
use serde_json::json;

use crate::harness::{
    Answer, Browser, DEVICE, Gate, PASSWORD, Process, ROUTES, Upstream, add_user, curl, response,
};

const JSON: &str = "Content-Type: application/json";

/// A service that says yes to each token that begins with `good`.
pub(crate) fn service() -> Upstream {
    Upstream::answering(|request| {
        let form: Vec<_> = form_urlencoded::parse(&request.body).into_owned().collect();
        let field = |name: &str| form.iter().find(|(key, _)| key == name).map(|(_, value)| value);
        let body = match (field("secret").map(String::as_str), field("response")) {
            (Some("the-secret"), Some(token)) if token.starts_with("good") => {
                r#"{"success": true, "hostname": "localhost", "action": "login"}"#
            }
            (Some("the-secret"), _) => {
                r#"{"success": false, "error-codes": ["invalid-input-response"]}"#
            }
            _ => r#"{"success": false, "error-codes": ["invalid-input-secret"]}"#,
        };
        response("200 OK", &[JSON], body)
    })
}

fn setting(service: &Upstream, lines: &str) -> (Upstream, Gate) {
    let url = format!("{}/siteverify", service.url());
    with_url(&url, lines)
}

fn with_url(url: &str, lines: &str) -> (Upstream, Gate) {
    let upstream = Upstream::answering(|_| response("200 OK", &[], "the application"));
    let gate = Gate::with(
        &upstream,
        &format!(
            "[captcha]\nurl = \"{url}\"\nsecret = \"the-secret\"\nsite_key = \"k\"\n{lines}\n"
        ),
    );
    gate.add_user("ada", &[], &[]);
    (upstream, gate)
}

fn log_in(gate: &Gate, password: &str, token: Option<&str>) -> Answer {
    let mut body = json!({ "username": "ada", "password": password });
    if let Some(token) = token {
        body["cf-turnstile-response"] = token.into();
    }
    gate.client().ask("POST", "/auth/login").json(&body).send()
}

fn metric(gate: &Gate, outcome: &str) -> String {
    let text = gate.admin("/metrics").text();
    let start = format!("sallyport_captchas_total{{outcome=\"{outcome}\"}} ");
    text.lines().find_map(|line| line.strip_prefix(&start)).unwrap_or_default().to_owned()
}

const FAILED: (u16, &str) = (400, "captcha_failed");
const UNAVAILABLE: (u16, &str) = (503, "captcha_unavailable");

fn verdict(answer: &Answer) -> (u16, String) {
    answer.verdict()
}

fn said((status, code): (u16, &str)) -> (u16, String) {
    (status, code.to_owned())
}

#[test]
fn without_a_good_token_the_password_is_not_looked_at() {
    let service = service();
    let (_upstream, gate) = setting(&service, "");
    assert_eq!(verdict(&log_in(&gate, PASSWORD, None)), said(FAILED));
    assert_eq!(verdict(&log_in(&gate, PASSWORD, Some(""))), said(FAILED));
    assert!(service.requests().is_empty(), "no token, no call");
    for token in ["bad", "\u{1f916}", "x".repeat(8192).as_str()] {
        assert_eq!(verdict(&log_in(&gate, PASSWORD, Some(token))), said(FAILED));
    }
    assert_eq!(service.requests().len(), 3);
    assert_eq!(verdict(&log_in(&gate, PASSWORD, Some(&"x".repeat(8193)))), said(FAILED));
    assert_eq!(service.requests().len(), 3, "that is no token");
    // Right or wrong, the answer is the same: nothing was learnt of the password.
    assert_eq!(verdict(&log_in(&gate, "a wrong one altogether", Some("bad"))), said(FAILED));
    assert_eq!(log_in(&gate, PASSWORD, Some("good 1")).status, 200);
    let answer = log_in(&gate, "a wrong one altogether", Some("good 2"));
    assert_eq!(verdict(&answer), (401, "invalid_credentials".to_owned()));
    let request = service.requests().pop().unwrap();
    assert_eq!(request.line(), "POST /siteverify HTTP/1.1");
    assert_eq!(request.field("content-type"), ["application/x-www-form-urlencoded"]);
    assert_eq!(request.field("host"), [service.address().to_string()]);
    let form: Vec<_> = form_urlencoded::parse(&request.body).into_owned().collect();
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(form, [pair("secret", "the-secret"), pair("response", "good 2")], "and no address");
    for (outcome, count) in [("passed", "2"), ("missing", "2"), ("failed", "5")] {
        assert_eq!(metric(&gate, outcome), count, "{outcome}");
    }
}

#[test]
fn a_token_is_good_once_though_the_service_would_take_it_twice_and_at_once() {
    let service = service();
    let (_upstream, gate) = setting(&service, "");
    assert_eq!(log_in(&gate, PASSWORD, Some("good")).status, 200);
    assert_eq!(verdict(&log_in(&gate, PASSWORD, Some("good"))), said(FAILED));
    assert_eq!(service.requests().len(), 1, "it need not be asked");
    let won = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                if log_in(&gate, PASSWORD, Some("good at once")).status == 200 {
                    won.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(won.into_inner(), 1);
    gate.pass(Duration::from_secs(601));
    assert_eq!(log_in(&gate, PASSWORD, Some("good")).status, 200, "the service's word again");
}

#[test]
fn a_bad_token_costs_the_account_nothing_and_the_network_an_attempt() {
    let service = service();
    let (_upstream, gate) =
        setting(&service, "[attempts]\nper_network = { count = 8, per = \"15m\" }\n");
    for _ in 0..20 {
        assert_eq!(verdict(&log_in(&gate, PASSWORD, None)), said(FAILED));
    }
    for _ in 0..8 {
        assert_eq!(verdict(&log_in(&gate, PASSWORD, Some("bad"))), said(FAILED));
    }
    let answer = log_in(&gate, PASSWORD, Some("good"));
    assert_eq!(verdict(&answer), (429, "rate_limited".to_owned()));
    assert_eq!(service.requests().len(), 8, "who is limited makes no calls");
    gate.pass(Duration::from_secs(900 / 8 + 1));
    let answer = log_in(&gate, "a wrong one altogether", Some("good"));
    assert_eq!(answer.one("ratelimit-limit"), "8");
    assert_eq!(verdict(&answer), (401, "invalid_credentials".to_owned()));
}

#[test]
fn what_the_service_says_of_host_and_action_must_fit_if_the_config_says_so() {
    let service = service();
    for (lines, wanted) in [
        ("hostnames = [\"LocalHost\"]\naction = \"login\"", 200),
        ("hostnames = [\"example.org\"]", 400),
        ("action = \"signup\"", 400),
    ] {
        let (_upstream, gate) = setting(&service, lines);
        assert_eq!(log_in(&gate, PASSWORD, Some("good")).status, wanted, "{lines}");
    }
    let (_upstream, gate) = setting(&service, "send_address = true");
    assert_eq!(log_in(&gate, PASSWORD, Some("good")).status, 200);
    let body = service.requests().pop().unwrap().body;
    assert!(String::from_utf8(body).unwrap().ends_with("&remoteip=127.0.0.1"));
}

#[test]
fn a_service_over_tls_is_believed_only_if_an_authority_that_is_trusted_vouches_for_it() {
    // Another gateway ends TLS for the service, with a certificate that signs itself.
    let service = service();
    let front = Gate::before(&service);
    let port = front.address().port();
    let certificate = front.certificate();
    let ca = format!("ca = \"{}\"", certificate.display());
    for (lines, wanted) in [(ca.as_str(), (200, String::new())), ("", said(UNAVAILABLE))] {
        let url = format!("https://localhost:{port}/public/siteverify");
        let (_upstream, gate) = with_url(&url, lines);
        assert_eq!(verdict(&log_in(&gate, PASSWORD, Some("good"))), wanted, "{lines}");
    }
    assert_eq!(service.requests().len(), 1, "the secret was told to nobody else");
}

/// Each of these is a way to be of no use.
fn useless() -> Vec<(&'static str, Vec<u8>)> {
    let ok = |body: &str| response("200 OK", &[JSON], body);
    vec![
        ("not HTTP", b"220 mail.example ESMTP\r\n".to_vec()),
        ("nothing", Vec::new()),
        ("cut off", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"success\": tr".to_vec()),
        ("garbage", ok("\u{0}\u{1}<html>")),
        ("empty", ok("")),
        ("a list", ok("[true]")),
        ("yes as text", ok("{\"success\": \"true\"}")),
        ("yes as a number", ok("{\"success\": 1}")),
        ("without an answer", ok("{\"error-codes\": []}")),
        ("twice", ok("{\"success\": false, \"success\": true}")),
        ("more behind it", ok("{\"success\": true} {}")),
        ("error 500", response("500 Oops", &[JSON], "{\"success\": true}")),
        ("error 404", response("404 Not Found", &[JSON], "{\"success\": true}")),
        ("elsewhere", response("302 Found", &["Location: /yes"], "{\"success\": true}")),
        ("its fault", ok("{\"success\": false, \"error-codes\": [\"internal-error\"]}")),
        ("our secret", ok("{\"success\": false, \"error-codes\": [\"invalid-input-secret\"]}")),
        (
            "huge",
            response(
                "200 OK",
                &[],
                &format!("{{\"success\": true, \"x\": \"{}\"}}", "x".repeat(65_536)),
            ),
        ),
        ("huge in pieces", {
            let piece = format!("2000\r\n{}\r\n", " ".repeat(0x2000));
            let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            format!("{head}{}0\r\n\r\n", piece.repeat(20)).into_bytes()
        }),
        (
            "a huge head",
            format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(40_000)).into_bytes(),
        ),
        ("many fields", format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(500)).into_bytes()),
    ]
}

#[test]
fn a_service_that_answers_nonsense_lets_nobody_in() {
    let answers = useless();
    let now = Arc::new(Mutex::new(Vec::new()));
    let service = Upstream::play({
        let now = Arc::clone(&now);
        move |connection| {
            if connection.request()?.is_some() {
                let answer: Vec<u8> = now.lock().unwrap().clone();
                connection.send(&answer)?;
            }
            Ok(())
        }
    });
    let (_upstream, gate) = setting(&service, "");
    for (number, (what, answer)) in answers.into_iter().enumerate() {
        *now.lock().unwrap() = answer;
        let answer = log_in(&gate, PASSWORD, Some(&format!("token {number}")));
        assert_eq!(verdict(&answer), said(UNAVAILABLE), "{what}");
        assert!(!answer.field("retry-after").is_empty(), "{what}");
    }
    assert!(
        gate.store(async |store| store.sessions(None, gate.clock().now(), 10).await)
            .unwrap()
            .is_empty()
    );
    // Nothing was guessed: there are five attempts as before. The same token may be tried again.
    *now.lock().unwrap() = response("200 OK", &[JSON], "{\"success\": true}");
    assert_eq!(log_in(&gate, PASSWORD, Some("token 0")).status, 200);
}

#[test]
fn a_service_that_is_not_there_or_never_answers_lets_nobody_in_and_holds_nobody_for_long() {
    // A port on which nobody listens.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (_upstream, gate) = with_url(&format!("http://{closed}/"), "");
    assert_eq!(verdict(&log_in(&gate, PASSWORD, Some("good"))), said(UNAVAILABLE));
    assert_eq!(metric(&gate, "unavailable"), "1");
    // One that is silent, and one that stops in the middle.
    let silent = Upstream::play(|connection| connection.rest().map(drop));
    let slow = Upstream::play(|connection| {
        connection.request()?;
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 60\r\n\r\n{\"success\": true")?;
        connection.rest().map(drop)
    });
    for service in [&silent, &slow] {
        let (_upstream, gate) = setting(service, "timeout = \"300ms\"");
        let watch = Stopwatch::start();
        assert_eq!(verdict(&log_in(&gate, PASSWORD, Some("good"))), said(UNAVAILABLE));
        let elapsed = watch.elapsed();
        assert!(elapsed >= Duration::from_millis(300), "{elapsed:?}");
        assert!(elapsed < Duration::from_secs(10), "{elapsed:?}");
    }
}

#[test]
fn so_many_calls_are_under_way_and_no_more() {
    let silent = Upstream::play(|connection| connection.rest().map(drop));
    let (_upstream, gate) = setting(&silent, "calls = 2\ntimeout = \"10s\"");
    std::thread::scope(|scope| {
        for number in 0..2 {
            let gate = &gate;
            scope.spawn(move || log_in(gate, PASSWORD, Some(&format!("held {number}"))));
        }
        while silent.connections() < 2 {
            std::thread::yield_now();
        }
        let answer = log_in(&gate, PASSWORD, Some("one too many"));
        assert_eq!(verdict(&answer), (503, "busy".to_owned()));
        assert!(!answer.field("retry-after").is_empty());
        drop(silent);
    });
    assert_eq!(metric(&gate, "busy"), "1");
}

#[test]
fn a_site_may_let_people_past_while_the_service_is_away_but_never_with_a_bad_token() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let lines = "on_failure = \"allow\"";
    let (_upstream, gate) = with_url(&format!("http://{closed}/"), lines);
    assert_eq!(log_in(&gate, PASSWORD, Some("any")).status, 200);
    assert_eq!(verdict(&log_in(&gate, PASSWORD, None)), said(FAILED));
    assert_eq!(metric(&gate, "let_past"), "1");
    let service = service();
    let (_upstream, gate) = setting(&service, lines);
    assert_eq!(verdict(&log_in(&gate, PASSWORD, Some("bad"))), said(FAILED));
}

#[test]
fn after_so_many_failures_a_token_is_asked_for_and_a_known_browser_is_spared() {
    let service = service();
    let (_upstream, gate) =
        setting(&service, "when = { after_failures = 3, per = \"30m\" }\n[login]\ncase = \"fold\"");
    let mut owner = gate.signed_in("ada");
    for _ in 0..3 {
        let answer = log_in(&gate, "a wrong one altogether", None);
        assert_eq!(verdict(&answer), (401, "invalid_credentials".to_owned()));
    }
    assert_eq!(verdict(&log_in(&gate, PASSWORD, None)), said(FAILED));
    assert_eq!(verdict(&log_in(&gate, "a wrong one altogether", Some("bad"))), said(FAILED));
    assert_eq!(log_in(&gate, PASSWORD, Some("good")).status, 200);
    // The owner's browser has never failed.
    assert_eq!(owner.log_in("ada", PASSWORD, false).status, 200);
    assert!(owner.jar.get(DEVICE).is_some());
    // Forgotten one by one.
    gate.pass(Duration::from_secs(600));
    assert_eq!(log_in(&gate, PASSWORD, None).status, 200);
}

#[test]
fn the_login_page_shows_the_widget_and_allows_it_no_more_than_it_needs() {
    let service = service();
    let (_upstream, gate) = setting(
        &service,
        "action = \"login\"\nfield = \"turnstileToken\"\n\
         script = \"https://js.example.org/1/api.js?render=auto\"\n\
         origins = [\"https://*.example.org\"]",
    );
    let page = gate.client().open("/auth/login");
    let text = page.text();
    for part in [
        "class=\"captcha cf-turnstile\"",
        "data-sitekey=\"k\"",
        "data-action=\"login\"",
        "data-response-field-name=\"turnstileToken\"",
        "<script src=\"https://js.example.org/1/api.js?render=auto\" async defer></script>",
        "<noscript>",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let policy = page.one("content-security-policy");
    let origins = "https://js.example.org https://*.example.org";
    for part in [
        &format!("script-src 'self' {origins};"),
        &format!("frame-src {origins};"),
        &format!("connect-src {origins};"),
        "default-src 'none';",
        "frame-ancestors 'none';",
    ] {
        assert!(policy.contains(part), "{part}\n{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    // Other pages load nothing from elsewhere.
    let other = gate.client().open("/auth/login?signed_out=1");
    assert!(!other.one("content-security-policy").contains("example.org"));
    // The form works like the JSON, and a failure shows the widget anew.
    let submit = |token: &str| {
        let form = [("username", "ada"), ("password", PASSWORD), ("turnstileToken", token)];
        let mut client = gate.client();
        client.ask("POST", "/auth/login").form(&form).field("Accept", "text/html").send()
    };
    let again = submit("bad");
    assert_eq!(again.status, 400);
    let text = again.text();
    assert!(text.contains("data-sitekey") && text.contains("id=\"error\""), "{text}");
    assert!(again.one("content-security-policy").contains(origins));
    assert_eq!(submit("good").status, 303);
}

#[test]
fn the_widget_appears_only_when_it_is_due() {
    let service = service();
    let (_upstream, gate) = setting(&service, "when = { after_failures = 2 }");
    let shown = |gate: &Gate| gate.client().open("/auth/login").text().contains("data-sitekey");
    assert!(!shown(&gate));
    let submit = |gate: &Gate| {
        let form = [("username", "ada"), ("password", "a wrong one altogether")];
        let mut client = gate.client();
        client.ask("POST", "/auth/login").form(&form).field("Accept", "text/html").send()
    };
    assert!(!submit(&gate).text().contains("data-sitekey"));
    assert!(submit(&gate).text().contains("data-sitekey"), "the next attempt will need it");
    assert!(shown(&gate));
}

#[test]
fn an_account_is_made_only_by_somebody_who_is_there() {
    let service = service();
    let (_upstream, gate) = setting(&service, "[login]\nsignup = true");
    let sign_up = |name: &str, token: Option<&str>| {
        let mut body = json!({ "username": name, "password": PASSWORD });
        if let Some(token) = token {
            body["cf-turnstile-response"] = token.into();
        }
        let mut client = gate.client();
        let answer = client.ask("POST", "/auth/signup").json(&body).send();
        (answer, client)
    };
    let before = gate.snapshot();
    for token in [None, Some("bad")] {
        assert_eq!(verdict(&sign_up("eve", token).0), said(FAILED));
        // Nor does anybody learn which names there are.
        assert_eq!(verdict(&sign_up("ada", token).0), said(FAILED));
    }
    assert_eq!(gate.snapshot(), before);
    let (answer, mut client) = sign_up("eve", Some("good"));
    assert_eq!((answer.status, client.get("/a").status), (201, 200));
    assert!(client.jar.get(DEVICE).is_some(), "the browser is known from the first day on");
    assert!(gate.client().open("/auth/signup").text().contains("data-sitekey"));
    // Only for what the config names.
    let (_upstream, gate) = setting(&service, "on = [\"login\"]\n[login]\nsignup = true");
    let mut client = gate.client();
    let body = json!({ "username": "eve", "password": PASSWORD });
    assert_eq!(client.ask("POST", "/auth/signup").json(&body).send().status, 201);
    assert_eq!(verdict(&log_in(&gate, PASSWORD, None)), said(FAILED));
    assert!(!gate.client().open("/auth/signup").text().contains("data-sitekey"));
}

const STAND_IN: &str = "[captcha]\nstand_in = \"127.0.0.1:0\"\n";

/// The stand-in's origin, as its script's address in the login page tells.
fn stand_in(gate: &Gate) -> String {
    let page = gate.client().open("/auth/login").text();
    let script = page.split("src=\"").find(|part| part.starts_with("http://127.0.0.1:")).unwrap();
    script.split("/widget.js").next().unwrap().to_owned()
}

fn token(origin: &str, site_key: &str) -> Answer {
    curl(&[&format!("{origin}/token?sitekey={site_key}&hostname=localhost&action=")])
}

#[test]
fn the_stand_in_speaks_the_protocol_and_knows_the_test_keys() {
    let upstream = Upstream::answering(|_| response("200 OK", &[], "the application"));
    let lines = format!("{STAND_IN}site_key = \"1x00000000000000000000AA\"\n");
    let gate = Gate::with(&upstream, &lines);
    gate.add_user("ada", &[], &[]);
    let origin = stand_in(&gate);
    let verify = |secret: &str, token: &str| {
        let form = format!("secret={secret}&response={token}");
        let answer = curl(&["--data", &form, &format!("{origin}/siteverify")]);
        assert_eq!(answer.one("x-captcha-stand-in"), "not a captcha");
        let json = answer.json();
        let code = json["error-codes"][0].as_str().unwrap_or_default().to_owned();
        (json["success"].as_bool().unwrap(), code)
    };
    let (yes, no) = ((true, String::new()), |code: &str| (false, code.to_owned()));
    let [pass, block, spent] =
        ['1', '2', '3'].map(|n| format!("{n}x0000000000000000000000000000000AA"));
    let dummy = "XXXX.DUMMY.TOKEN.XXXX";
    assert_eq!(verify(&pass, dummy), yes);
    assert_eq!(verify(&block, dummy), no("invalid-input-response"));
    assert_eq!(verify(&spent, dummy), no("timeout-or-duplicate"));
    assert_eq!(verify("something", dummy), no("invalid-input-secret"));
    assert_eq!(verify("", dummy), no("missing-input-secret"));
    assert_eq!(verify(&pass, ""), no("missing-input-response"));
    assert_eq!(verify(&pass, "made-up"), no("invalid-input-response"));
    // Once, and for five minutes.
    let issue =
        || token(&origin, "1x00000000000000000000AA").json()["token"].as_str().unwrap().to_owned();
    let (first, second) = (issue(), issue());
    assert_eq!(verify(&pass, &first), yes);
    assert_eq!(verify(&pass, &first), no("timeout-or-duplicate"));
    gate.pass(Duration::from_secs(300));
    assert_eq!(verify(&pass, &second), no("timeout-or-duplicate"));
    assert_eq!(token(&origin, "2x00000000000000000000AB").status, 403, "this one always blocks");
    // And a login by it.
    let third = issue();
    assert_eq!(log_in(&gate, PASSWORD, Some(&third)).status, 200);
    assert_eq!(verdict(&log_in(&gate, PASSWORD, Some(&third))), said(FAILED));
    for _ in 0..2 {
        assert_eq!(log_in(&gate, PASSWORD, Some(dummy)).status, 200, "for scripts of developers");
    }
}

#[test]
fn a_person_logs_in_past_the_widget_without_the_internet() {
    let folder = tempfile::tempdir().unwrap();
    let configured = |site_key: &str| {
        Process::configure(
            folder.path(),
            &format!(
                "{STAND_IN}site_key = \"{site_key}\"\n\
                 [[upstream]]\nname = \"app\"\nservers = [\"demo\"]\n{ROUTES}"
            ),
        );
        let process = Process::start(folder.path());
        let site = format!("https://localhost:{}", process.address().port());
        (process, site)
    };
    Process::configure(
        folder.path(),
        &format!("[[upstream]]\nname = \"app\"\nservers = [\"demo\"]\n{ROUTES}"),
    );
    add_user(folder.path(), "ada");
    let browser = Browser::start();
    let state = |browser: &Browser| {
        let script = "return document.querySelector('[data-sitekey]').dataset.standIn || '';";
        browser.execute(script, &[]).as_str().unwrap_or_default().to_owned()
    };
    let submit = || {
        browser.find("input[name=username]").type_text("ada");
        browser.find("input[name=password]").type_text(PASSWORD);
        browser.find("button[type=submit]").click();
    };
    // The key that asks for a click, as a person meets it.
    let (process, site) = configured("3x00000000000000000000FF");
    browser.goto(&format!("{site}/reports"));
    assert!(browser.find("[data-sitekey] p").text().contains("for tests only"));
    submit();
    assert!(browser.find("#error").text().contains("person"), "{}", browser.url());
    browser.find("[data-sitekey] button").click();
    browser.until("the widget is solved", |browser| state(browser) == "solved");
    browser.execute("document.querySelector('input[name=username]').value = '';", &[]);
    submit();
    browser
        .until("the page that was asked for", |browser| browser.url() == format!("{site}/reports"));
    drop(process);
    // The key that always blocks.
    browser.delete_cookies();
    let (_process, site) = configured("2x00000000000000000000AB");
    browser.goto(&format!("{site}/reports"));
    browser.until("the widget is blocked", |browser| state(browser) == "blocked");
    submit();
    assert!(browser.find("#error").text().contains("person"), "{}", browser.url());
}

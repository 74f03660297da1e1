//! What a route says of the fields of its messages, and of the age of a login.

use std::time::Duration;

use crate::harness::{Answer, Client, Gate, HOST, ORIGIN, PASSWORD, Process, Upstream, response};

const PAGE: &str = "https://page.example.org";

fn application() -> Upstream {
    Upstream::answering(|request| {
        let own = if request.line().contains("own") {
            &[
                "Access-Control-Allow-Origin: https://evil.test",
                "Access-Control-Allow-Credentials: true",
                "X-Content-Type-Options: sniff",
                "X-Frame-Options: DENY",
                "Referrer-Policy: unsafe-url",
                "X-Powered-By: magic",
                "Server: the-app",
            ][..]
        } else {
            &[]
        };
        response("200 OK", own, "the application")
    })
}

/// A gateway with one account, `ada`, and these routes.
fn gate(upstream: &Upstream, routes: &str) -> Gate {
    let url = upstream.url();
    let gate = Gate::start(&format!(
        "[csrf]\nallowed_origins = [\"{PAGE}\"]\n\
         [[upstream]]\nname = \"app\"\nservers = [\"{url}\"]\n\
         identity.user = \"Remote-User\"\n{routes}"
    ));
    gate.add_user("ada", &[], &[]);
    gate
}

fn preflight(client: &mut Client, path: &str, origin: &str, method: &str) -> Answer {
    client
        .ask("OPTIONS", path)
        .field("Origin", origin)
        .field("Access-Control-Request-Method", method)
        .field("Access-Control-Request-Headers", "x-one,x-two")
        .send()
}

const CORS: &str = r#"
[[route]]
path = "/api/**"
methods = ["GET", "PUT"]
cors = { origins = ["https://page.example.org"], credentials = true, expose = ["X-Total"] }
[[route]]
path = "/open/**"
access = "public"
cors = { origins = ["*"], headers = ["*"], max_age = "0s" }
[[route]]
path = "/admin/**"
access = { permissions = ["admin"] }
cors = { origins = ["https://page.example.org"] }
[[route]]
path = "/own/**"
preflight = "forward"
[[route]]
path = "/**"
"#;

#[test]
fn a_preflight_is_answered_from_the_route_of_the_request_to_come() {
    let upstream = application();
    let gate = gate(&upstream, CORS);
    let mut client = gate.signed_in("ada");
    let answer = preflight(&mut client, "/api/a", PAGE, "PUT");
    assert_eq!(answer.status, 204);
    assert_eq!(answer.one("access-control-allow-origin"), PAGE);
    assert_eq!(answer.one("access-control-allow-credentials"), "true");
    assert_eq!(answer.one("access-control-allow-methods"), "GET, HEAD, PUT");
    let allowed = answer.one("access-control-allow-headers");
    assert_eq!(allowed, "authorization, content-type, x-requested-with");
    assert_eq!(answer.one("access-control-max-age"), "600");
    let vary = answer.field("vary").join(", ");
    assert!(vary.contains("origin") && vary.contains("access-control-request-method"), "{vary}");
    for foreign in ["https://evil.test", "null", "https://page.example.org.evil.test"] {
        let answer = preflight(&mut client, "/api/a", foreign, "PUT");
        assert_eq!(answer.status, 204);
        let told = answer.fields.iter().find(|(name, _)| name.starts_with("access-control-"));
        assert_eq!(told, None, "{foreign}");
        assert!(answer.field("vary").contains(&"origin"), "{foreign}");
    }
    // No route takes it with this method: the closed one that does says no.
    let answer = preflight(&mut client, "/api/a", PAGE, "DELETE");
    assert_eq!((answer.status, answer.field("access-control-allow-origin").len()), (204, 0));
    let answer = preflight(&mut client, "/open/a", "https://anybody.test", "PATCH");
    assert_eq!(answer.one("access-control-allow-origin"), "*");
    assert_eq!(answer.one("access-control-allow-methods"), "PATCH");
    assert_eq!(answer.one("access-control-allow-headers"), "x-one,x-two");
    assert_eq!(answer.one("access-control-max-age"), "0");
    assert!(upstream.requests().is_empty(), "none of this is the application's business");
}

#[test]
fn a_preflight_that_is_forwarded_carries_nobodys_identity() {
    let upstream = application();
    let gate = gate(&upstream, CORS);
    let mut client = gate.signed_in("ada");
    let answer = preflight(&mut client, "/own/a", PAGE, "PUT");
    assert_eq!(answer.text(), "the application");
    let answers = answer.one("access-control-allow-origin");
    assert_eq!(answers, "https://evil.test", "what it allows is its own affair here");
    let received = upstream.requests().pop().unwrap();
    assert_eq!(received.line(), "OPTIONS /own/a HTTP/1.1");
    for name in ["remote-user", "x-auth-id", "cookie"] {
        assert_eq!(received.field(name), Vec::<String>::new(), "{name}");
    }
    // What only looks like one is asked for a credential like any request.
    let mut stranger = gate.client();
    assert_eq!(stranger.ask("OPTIONS", "/own/a").field("Origin", PAGE).send().status, 401);
    let posing = stranger
        .ask("POST", "/own/a")
        .field("Origin", PAGE)
        .field("Access-Control-Request-Method", "PUT");
    assert_eq!(posing.send().status, 401);
}

#[test]
fn answers_and_refusals_alike_say_which_page_may_read_them() {
    let upstream = application();
    let gate = gate(&upstream, CORS);
    let mut client = gate.signed_in("ada");
    let mut ask = |path: &str, origin: &str| {
        let answer = client.ask("GET", path).field("Origin", origin).send();
        let told = answer.field("access-control-allow-origin").join("|");
        (answer.status, told, answer)
    };
    let (status, told, answer) = ask("/api/own", PAGE);
    assert_eq!((status, told.as_str()), (200, PAGE), "in the place of the application's word");
    assert_eq!(answer.one("access-control-allow-credentials"), "true");
    assert_eq!(answer.one("access-control-expose-headers"), "X-Total");
    assert!(answer.field("vary").contains(&"origin"));
    let (status, told, answer) = ask("/api/own", "https://evil.test");
    assert_eq!((status, told.as_str()), (200, ""), "the application's word does not count");
    assert!(answer.field("access-control-allow-credentials").is_empty());
    assert!(answer.field("vary").contains(&"origin"), "a cache must tell them apart");
    let (status, told, _) = ask("/admin/a", PAGE);
    assert_eq!((status, told.as_str()), (403, PAGE));
    let answer = gate.client().ask("GET", "/admin/a").field("Origin", PAGE).send();
    assert_eq!((answer.status, answer.one("access-control-allow-origin")), (401, PAGE));
    // A route without the section: what the application says is said.
    let (status, told, _) = ask("/else/own", PAGE);
    assert_eq!((status, told.as_str()), (200, "https://evil.test"));
}

#[test]
fn fields_are_set_and_removed_as_the_route_says_and_never_those_that_say_who_calls() {
    let upstream = application();
    let routes = r#"
[[route]]
path = "/**"
[route.headers.request]
set = { "X-Environment" = "live", "Accept" = "text/plain" }
remove = ["Referer", "X-Debug"]
[route.headers.response]
set = { "X-Powered-By" = "nothing", "X-New" = "1" }
remove = ["Server"]
"#;
    let gate = gate(&upstream, routes);
    let mut client = gate.signed_in("ada");
    let answer = client
        .ask("GET", "/own")
        .field("Referer", "https://a.test/")
        .field("X-Debug", "1")
        .field("X-Debug", "2")
        .field("X-Environment", "test")
        .field("Accept", "*/*")
        .send();
    assert_eq!(answer.field("server"), Vec::<&str>::new());
    assert_eq!((answer.one("x-powered-by"), answer.one("x-new")), ("nothing", "1"));
    let received = upstream.requests().pop().unwrap();
    assert_eq!(received.field("x-environment"), ["live"]);
    assert_eq!(received.field("accept"), ["text/plain"]);
    assert_eq!(received.field("x-debug").len() + received.field("referer").len(), 0);
    assert_eq!(received.field("remote-user"), ["ada"]);
    // Our own answers are ours.
    let answer = gate.client().get("/own");
    assert_eq!((answer.status, answer.field("x-new").len()), (401, 0));
}

#[test]
fn an_answer_gets_the_security_headers_that_it_lacks_unless_the_route_says_no() {
    let upstream = application();
    let routes = r#"
[[route]]
path = "/public/**"
access = "public"
[[route]]
path = "/bare/**"
security_headers = false
[[route]]
path = "/**"
"#;
    let gate = gate(&upstream, routes);
    let mut client = gate.signed_in("ada");
    let mut told = |path: &str| {
        let answer = client.get(path);
        ["x-content-type-options", "referrer-policy", "x-frame-options"]
            .map(|name| answer.field(name).join("|"))
    };
    assert_eq!(told("/a"), ["nosniff", "strict-origin-when-cross-origin", "SAMEORIGIN"]);
    assert_eq!(told("/public/a"), ["nosniff", "strict-origin-when-cross-origin", ""]);
    assert_eq!(told("/own"), ["sniff", "unsafe-url", "DENY"], "its own word stands");
    assert_eq!(told("/bare/a"), ["", "", ""]);
    let hsts = client.get("/a").field("strict-transport-security").len();
    assert_eq!(hsts, 0, "not with the development certificate: it would bind all of localhost");
}

#[test]
fn with_a_certificate_of_its_own_a_site_is_told_to_be_https_only() {
    let upstream = application();
    let folder = tempfile::tempdir().unwrap();
    let routes = format!(
        "[[upstream]]\nname = \"app\"\nservers = [\"{}\"]\n\
         [[route]]\npath = \"/bare/**\"\naccess = \"public\"\nsecurity_headers = false\n\
         [[route]]\npath = \"/**\"\naccess = \"public\"\n",
        upstream.url()
    );
    Process::configure(folder.path(), &routes);
    Process::start(folder.path()).kill();
    let own =
        "[tls]\ncertificate = \"certs/development.pem\"\nkey = \"certs/development-key.pem\"\n";
    for (line, wanted) in
        [("", "max-age=31536000"), ("hsts = \"1h\"\n", "max-age=3600"), ("hsts = \"0s\"\n", "")]
    {
        Process::configure(folder.path(), &format!("{own}{line}{routes}"));
        let process = Process::start(folder.path());
        for path in ["/a", "/auth/login", "/auth/me"] {
            let answer = process.client().get(path);
            let told = answer.field("strict-transport-security").join("|");
            assert_eq!(told, wanted, "{path}");
        }
        let answer = process.client().get("/bare/a");
        assert_eq!(answer.field("strict-transport-security").len(), 0);
    }
}

const FRESH: &str = r#"
[[route]]
path = "/settings/**"
max_auth_age = "10m"
[[route]]
path = "/**"
"#;

#[test]
fn a_route_that_wants_a_fresh_login_asks_again_though_somebody_is_signed_in() {
    let upstream = application();
    let gate = gate(&upstream, FRESH);
    let mut client = gate.signed_in("ada");
    assert_eq!(client.get("/settings/a").status, 200);
    gate.pass(Duration::from_secs(600));
    assert_eq!(client.get("/settings/a").status, 200, "to the second");
    gate.pass(Duration::from_secs(1));
    // A program learns what would suffice.
    let answer = client.get("/settings/a");
    assert_eq!(answer.verdict(), (401, "insufficient_user_authentication".to_owned()));
    assert_eq!(
        answer.one("www-authenticate"),
        "Bearer error=\"insufficient_user_authentication\", \
         error_description=\"A more recent login is required\", max_age=\"600\""
    );
    assert_eq!(answer.json()["login_url"], "/auth/login?again=1");
    // A refresh is no login.
    assert_eq!(client.post("/auth/refresh").status, 200);
    assert_eq!(client.get("/settings/a").status, 401);
    assert_eq!(client.get("/elsewhere").status, 200);
    // A person is asked, and told why.
    let answer = client.open("/settings/a?b=c");
    let place = "/auth/login?again=1&return_to=%2Fsettings%2Fa%3Fb%3Dc";
    assert_eq!((answer.status, answer.one("location")), (303, place));
    let page = client.open(place);
    assert_eq!(page.status, 200);
    for words in ["<form", "confirm that it is you"] {
        assert!(page.text().contains(words), "{words}: {}", page.text());
    }
    assert!(page.field("set-cookie").is_empty(), "who does not, stays signed in");
    // Without being asked for, the page leads on as ever.
    assert_eq!(client.open("/auth/login?return_to=%2Fa").one("location"), "/a");
    let form = [("username", "ada"), ("password", PASSWORD), ("return_to", "/settings/a?b=c")];
    let answer = client
        .ask("POST", "/auth/login")
        .form(&form)
        .field("Accept", "text/html")
        .field("Origin", ORIGIN)
        .send();
    assert_eq!(answer.status, 303);
    let onward = answer.one("location").to_owned();
    assert_eq!(client.open(&onward).one("location"), "/settings/a?b=c");
    assert_eq!(client.open("/settings/a?b=c").status, 200);
}

#[test]
fn a_stale_login_is_told_so_in_a_handshake_and_nobody_at_all_as_ever() {
    let upstream = application();
    let gate = gate(&upstream, FRESH);
    let client = gate.signed_in("ada");
    gate.pass(Duration::from_secs(299));
    assert_eq!(gate.client().get("/settings/a").verdict(), (401, "missing_token".to_owned()));
    gate.pass(Duration::from_secs(302));
    let mut renewed = client.twin();
    assert_eq!(renewed.get("/elsewhere").status, 200);
    let cookie = renewed.jar.field("/", gate.clock().now()).unwrap();
    let answer = renewed.raw(format!(
        "GET /settings/socket HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nOrigin: {ORIGIN}\r\nAccept: text/html\r\nCookie: {cookie}\r\n\r\n"
    ));
    let verdict = (401, "insufficient_user_authentication".to_owned());
    assert_eq!(answer.unwrap().verdict(), verdict);
    assert!(upstream.requests().iter().all(|request| !request.line().contains("settings")));
}

#[test]
fn foreign_pages_may_use_our_endpoints_as_far_as_the_config_says() {
    let upstream = application();
    let lines = format!(
        "{CORS}\n[endpoints.login]\n\
         cors = {{ origins = [\"{PAGE}\"], expose = [\"Retry-After\"] }}\n\
         [endpoints.me]\npath = \"/api/me\"\ncors = {{ origins = [\"{PAGE}\"], credentials = true }}\n"
    );
    let gate = gate(&upstream, &lines);
    let mut client = gate.signed_in("ada");
    let none = |answer: &Answer| {
        answer.fields.iter().all(|(name, _)| !name.starts_with("access-control-"))
    };

    let answer = preflight(&mut client, "/auth/login", PAGE, "POST");
    assert_eq!((answer.status, answer.one("x-sallyport")), (204, "preflight"));
    assert_eq!(answer.one("access-control-allow-origin"), PAGE);
    assert_eq!(answer.one("access-control-allow-methods"), "POST");
    assert!(answer.field("access-control-allow-credentials").is_empty());
    let answer = preflight(&mut client, "/api/me", PAGE, "GET");
    assert_eq!(answer.one("access-control-allow-credentials"), "true");
    for (path, origin, method) in [
        ("/auth/login", "https://evil.test", "POST"),
        ("/api/me", "null", "GET"),
        // Nobody has said anything of this one.
        ("/auth/logout", PAGE, "POST"),
    ] {
        let answer = preflight(&mut client, path, origin, method);
        assert!(answer.status == 204 && none(&answer), "{path} {origin}: {answer:#?}");
    }
    // Another method of the path is a route's, and of the base nobody's.
    let answer = preflight(&mut client, "/api/me", PAGE, "PUT");
    assert_eq!(answer.one("access-control-allow-methods"), "GET, HEAD, PUT");
    assert_eq!(preflight(&mut client, "/auth/login", PAGE, "PUT").status, 405);

    let mut log_in = |password: &str, origin: &str| {
        let body = serde_json::json!({ "username": "ada", "password": password });
        client.ask("POST", "/auth/login").field("Origin", origin).json(&body).send()
    };
    for (password, status) in [(PASSWORD, 200), ("a wrong one altogether", 401)] {
        let answer = log_in(password, PAGE);
        assert_eq!((answer.status, answer.one("access-control-allow-origin")), (status, PAGE));
        assert_eq!(answer.one("access-control-expose-headers"), "Retry-After");
    }
    let answer = log_in(PASSWORD, "https://evil.test");
    assert_eq!(answer.verdict(), (403, "csrf_guard".to_owned()));
    assert!(none(&answer) && answer.field("vary").contains(&"origin"), "{answer:#?}");
    let answer = client.ask("GET", "/api/me").field("Origin", PAGE).send();
    assert_eq!((answer.status, answer.one("access-control-allow-origin")), (200, PAGE));
    let answer = gate.client().ask("GET", "/api/me").field("Origin", PAGE).send();
    assert_eq!((answer.status, answer.one("access-control-allow-origin")), (401, PAGE));
    let answer = client.ask("POST", "/auth/logout").field("Origin", PAGE).send();
    assert!(none(&answer), "{answer:#?}");
}

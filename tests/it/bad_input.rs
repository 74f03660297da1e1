//! What strangers send to our own endpoints, and what becomes of them when the store is not there.

use serde_json::json;

use crate::harness::{
    ACCESS, ACCESS_TTL, Answer, Gate, HOST, ORIGIN, PASSWORD, REFRESH, Upstream, response,
};

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

fn application() -> Upstream {
    Upstream::answering(|_| response("200 OK", &[], "the application"))
}

/// The endpoints that take a body.
const POSTS: [&str; 12] = [
    "/auth/login",
    "/auth/refresh",
    "/auth/logout",
    "/auth/signup",
    "/auth/setup",
    "/auth/invite",
    "/auth/reset",
    "/auth/password",
    "/auth/sessions/end",
    "/auth/sessions/end-others",
    "/auth/token",
    "/auth/token/revoke",
];

fn post(gate: &Gate, path: &str, kind: &str, body: &[u8]) -> Answer {
    gate.client().ask("POST", path).field("Origin", ORIGIN).body(kind, body).send()
}

#[test]
fn a_body_that_cannot_be_read_is_a_400_at_every_endpoint_and_changes_nothing() {
    let upstream = application();
    let gate = Gate::before(&upstream);
    gate.add_user("ada", &[], &[]);
    let before = gate.snapshot();
    let deep = format!("{}{}", "[".repeat(30_000), "]".repeat(30_000));
    let deep_field = format!("{{\"username\":{}1{}}}", "{\"a\":".repeat(9000), "}".repeat(9000));
    let many =
        format!("{{{}}}", (0..100).map(|n| format!("\"f{n}\":1")).collect::<Vec<_>>().join(","));
    let many_pairs = (0..100).map(|n| format!("f{n}=1")).collect::<Vec<_>>().join("&");
    let bodies: Vec<(&str, Vec<u8>)> = vec![
        (JSON, b"{".to_vec()),
        (JSON, b"{}{}".to_vec()),
        (JSON, b"[]".to_vec()),
        (JSON, b"null".to_vec()),
        (JSON, b"\"text\"".to_vec()),
        (JSON, b"1e999".to_vec()),
        (JSON, b"username=ada".to_vec()),
        (JSON, b"{\"username\": ada}".to_vec()),
        (JSON, b"{'username': 'ada'}".to_vec()),
        (JSON, b"{\"username\": \"\xff\xfe\"}".to_vec()),
        (JSON, b"{\"username\": \"\\ud800\"}".to_vec()),
        (JSON, b"{\"username\": \"a\\u0000b\"}".to_vec()),
        (JSON, b"\xef\xbb\xbf{}".to_vec()),
        (JSON, b"\xff\xfe{\0}\0".to_vec()),
        (JSON, b"{\"username\": \"ada\", \"username\": \"eve\"}".to_vec()),
        (JSON, b"{\"unknown\": 1, \"unknown\": 2}".to_vec()),
        (JSON, b"{\"username\": {\"name\": \"ada\"}}".to_vec()),
        (JSON, b"{\"username\": [\"ada\"]}".to_vec()),
        (JSON, b"{\"unknown\": {}}".to_vec()),
        (JSON, deep.into_bytes()),
        (JSON, deep_field.into_bytes()),
        (JSON, many.into_bytes()),
        (FORM, b"username=%ff".to_vec()),
        (FORM, b"username=%zz".to_vec()),
        (FORM, b"username=%".to_vec()),
        (FORM, b"username=a%00b".to_vec()),
        (FORM, b"username=\xff".to_vec()),
        (FORM, b"username=ada&username=eve".to_vec()),
        (FORM, b"username=ada&user%6eame=ada".to_vec()),
        (FORM, many_pairs.into_bytes()),
    ];
    for path in POSTS {
        for (kind, body) in &bodies {
            let answer = post(&gate, path, kind, body);
            let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
            assert_eq!(answer.verdict(), (400, "validation_error".to_owned()), "{path} {shown}");
            assert!(!answer.text().contains("eve"), "what was sent is not said again");
        }
    }
    assert_eq!(gate.snapshot(), before);
}

#[test]
fn fields_of_a_wrong_type_or_missing_are_named_and_unknown_ones_are_passed_over() {
    let upstream = application();
    let gate = Gate::before(&upstream);
    gate.add_user("ada", &[], &[]);
    let before = gate.snapshot();
    for (body, field) in [
        (json!({}), "username"),
        (json!({ "password": PASSWORD }), "username"),
        (json!({ "username": "", "password": PASSWORD }), "username"),
        (json!({ "username": null, "password": PASSWORD }), "username"),
        (json!({ "username": 1, "password": PASSWORD }), "username"),
        (json!({ "username": true, "password": PASSWORD }), "username"),
        (json!({ "username": "ada" }), "password"),
        (json!({ "username": "ada", "password": "" }), "password"),
        (json!({ "username": "ada", "password": 12345 }), "password"),
        (json!({ "username": "ada", "password": PASSWORD, "remember": "yes" }), "remember"),
        (json!({ "username": "ada", "password": PASSWORD, "remember": 1 }), "remember"),
        (json!({ "username": "ada", "password": PASSWORD, "return_to": 1 }), "return_to"),
        (json!({ "username": "ada", "password": PASSWORD, "pending": false }), "pending"),
    ] {
        let answer = post(&gate, "/auth/login", JSON, body.to_string().as_bytes());
        assert_eq!(answer.verdict(), (400, "validation_error".to_owned()), "{body}");
        let message = answer.json()["message"].as_str().unwrap().to_owned();
        assert!(message.contains(&format!("`{field}`")), "{body}: {message}");
        assert!(!message.contains(PASSWORD), "{message}");
    }
    for body in [&b""[..], b"username=ada", b"password=x", b"remember=maybe&username=a&password=b"]
    {
        let answer = post(&gate, "/auth/login", FORM, body);
        assert_eq!(answer.verdict(), (400, "validation_error".to_owned()));
    }
    assert_eq!(gate.snapshot(), before);
    // Nobody can give themselves anything by adding a field.
    let body = json!({
        "username": "ada", "password": PASSWORD, "roles": "admin", "permissions": "admin",
        "id": 1, "sub": "root", "is_admin": true
    });
    let answer = post(&gate, "/auth/login", JSON, body.to_string().as_bytes());
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["user"]["permissions"], json!([]));
}

#[test]
fn a_body_of_another_kind_is_a_415_and_a_compressed_one_too() {
    let upstream = application();
    let gate = Gate::before(&upstream);
    let before = gate.snapshot();
    let body = json!({ "username": "ada", "password": PASSWORD }).to_string();
    for path in POSTS {
        for kind in [
            "text/plain",
            "text/json",
            "application/jsonx",
            "application/x-ndjson",
            "multipart/form-data; boundary=x",
            "application/json; charset=utf-16",
            "application/json; charset=iso-8859-1",
            "application/x-www-form-urlencoded; charset=latin1",
            "*/*",
            "",
        ] {
            let answer = post(&gate, path, kind, body.as_bytes());
            let wanted = (415, "unsupported_media_type".to_owned());
            assert_eq!(answer.verdict(), wanted, "{path} {kind:?}");
        }
        let mut client = gate.client();
        for (name, value) in [("Content-Encoding", "gzip"), ("Content-Type", "application/json")] {
            let ask = client.ask("POST", path).field("Origin", ORIGIN);
            let answer = ask.body(JSON, &body).field(name, value).send();
            assert_eq!(answer.status, 415, "{path} {name}");
        }
        // A body that does not say what it is.
        let answer = client.raw(format!(
            "POST {path} HTTP/1.1\r\nHost: {HOST}\r\nOrigin: {ORIGIN}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        assert_eq!(answer.unwrap().status, 415, "{path}");
    }
    assert_eq!(gate.snapshot(), before);
}

#[test]
fn a_body_over_the_limit_is_a_413_whether_or_not_its_length_was_told() {
    let upstream = application();
    let gate = Gate::with(&upstream, "[limits]\nown_body_bytes = \"1KiB\"\n");
    let body = format!("{{\"username\":\"{}\"}}", "x".repeat(1024));
    let mut piece = format!("{:x}\r\n{body}\r\n", body.len());
    piece.push_str("0\r\n\r\n");
    for path in POSTS {
        let wanted = (413, "payload_too_large".to_owned());
        assert_eq!(post(&gate, path, JSON, body.as_bytes()).verdict(), wanted, "{path}");
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {HOST}\r\nOrigin: {ORIGIN}\r\nContent-Type: {JSON}\r\n"
        );
        let client = gate.client();
        let chunked = client.raw(format!("{head}Transfer-Encoding: chunked\r\n\r\n{piece}"));
        assert_eq!(chunked.unwrap().verdict(), wanted, "{path}");
        // A length that nobody would send is refused before any of it came.
        let huge = client.raw(format!("{head}Content-Length: 1000000000000\r\n\r\n"));
        assert_eq!(huge.unwrap().verdict(), wanted, "{path}");
    }
}

#[test]
fn endpoints_that_need_no_field_take_an_absent_body_and_an_empty_one() {
    let upstream = application();
    let gate = Gate::before(&upstream);
    gate.add_user("ada", &[], &[]);
    for path in ["/auth/refresh", "/auth/logout"] {
        for kind in [None, Some(JSON), Some(FORM)] {
            let mut client = gate.signed_in("ada");
            let ask = client.ask("POST", path).field("Origin", ORIGIN);
            let ask = match kind {
                None => ask,
                Some(kind) => ask.body(kind, ""),
            };
            assert_eq!(ask.send().status, 200, "{path} {kind:?}");
        }
        let mut client = gate.signed_in("ada");
        let ask = client.ask("POST", path).field("Origin", ORIGIN);
        assert_eq!(ask.json(&json!({ "unknown": "field" })).send().status, 200, "{path}");
    }
}

#[test]
fn names_and_secrets_of_any_length_are_refused_like_wrong_ones() {
    let upstream = application();
    let gate = Gate::with(&upstream, "[attempts]\nper_network = { count = 1000, per = \"1s\" }\n");
    gate.add_user("ada", &[], &[]);
    let before = gate.snapshot();
    let wrong = (401, "invalid_credentials".to_owned());
    let log_in = |name: &str, password: &str| gate.client().log_in(name, password, false).verdict();
    for name in [
        "nobody",
        "a\u{200d}da",
        "ada\u{301}",
        "ａda",
        &"x".repeat(10_000),
        "' OR 1=1 --",
        "ada\nroot",
        "%00",
        "\u{202e}ada",
    ] {
        assert_eq!(log_in(name, PASSWORD).0, 401, "{name}");
    }
    for password in ["x", "wrong horse battery staple", &"x".repeat(2000), &"é".repeat(20_000)] {
        assert_eq!(log_in("ada", password), wrong, "{} bytes", password.len());
        gate.pass(ACCESS_TTL);
    }
    // The same password in another form, case or with a blank is another password.
    for password in [&format!("{PASSWORD} "), &PASSWORD.to_uppercase(), &PASSWORD[1..]] {
        assert_eq!(log_in("ada", password), wrong);
        gate.pass(ACCESS_TTL);
    }
    let after = gate.snapshot();
    assert_eq!(after, before);
    // One account in each spelling of its name.
    for name in ["ADA", "Ada", "ada"] {
        assert_eq!(log_in(name, PASSWORD).0, 200, "{name}");
    }
}

#[test]
fn garbage_in_cookies_and_credentials_is_nobody_and_never_a_way_in() {
    let upstream = application();
    let gate = Gate::before(&upstream);
    gate.add_user("ada", &[], &[]);
    let client = gate.signed_in("ada");
    let good = client.jar.get(ACCESS).unwrap().to_owned();
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (header, payload) = message.split_once('.').unwrap();
    let none = "eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0";
    let garbage = [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "....".to_owned(),
        ".".repeat(4000),
        "a".repeat(5000),
        format!("{message}."),
        message.to_owned(),
        format!("{good}="),
        format!("{good}."),
        format!(".{good}"),
        format!("{none}.{payload}."),
        format!("{none}.{payload}.{signature}"),
        format!("{header}.{header}.{signature}"),
        format!("{header}..{signature}"),
        format!("\"{good}\"."),
        format!("{good}%00"),
        "null".to_owned(),
        "true".to_owned(),
        "undefined".to_owned(),
    ];
    for text in &garbage {
        for line in [
            format!("Cookie: {ACCESS}={text}"),
            format!("Authorization: Bearer {text}"),
            format!("Authorization: bearer  {text}"),
        ] {
            let ask = |path: &str| {
                let head = format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n{line}\r\n\r\n");
                client.raw(head).unwrap()
            };
            assert!(matches!(ask("/a").status, 401 | 431), "{line}");
            let optional = ask("/optional/a");
            assert!(matches!(optional.status, 200 | 431), "{line}: {optional:?}");
            assert_eq!(ask("/public/a").status, 200, "{line}");
        }
    }
    for line in [
        &b"Authorization: Bearer \xff\xfe"[..],
        b"Authorization: \xff",
        b"Authorization:",
        b"Authorization: Bearer",
        b"Authorization: Bearer a b",
        b"Authorization: Negotiate x\r\nAuthorization: Bearer y",
        b"Cookie: \xff=\xff",
        b"Cookie: ;;;=;=;",
        b"Cookie: $Version=1; $Path=/",
    ] {
        let start = format!("GET /a HTTP/1.1\r\nHost: {HOST}\r\n");
        let answer = client.raw([start.as_bytes(), line, b"\r\n\r\n"].concat()).unwrap();
        assert_eq!(answer.status, 401, "{}", String::from_utf8_lossy(line));
    }
    for request in upstream.requests() {
        assert_eq!(request.field("x-auth-user"), Vec::<String>::new(), "{request:?}");
    }
}

// The store is not there.

/// Another process that holds the store's file for itself.
struct Lock {
    runtime: tokio::runtime::Runtime,
    connection: Option<sqlx::SqliteConnection>,
}

impl Lock {
    fn take(gate: &Gate) -> Self {
        use sqlx::ConnectOptions as _;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let options = sqlx::sqlite::SqliteConnectOptions::new()
            .filename(gate.database())
            .busy_timeout(crate::harness::PATIENCE);
        let connection = runtime.block_on(async {
            let mut connection = options.connect().await.unwrap();
            sqlx::query("BEGIN EXCLUSIVE").execute(&mut connection).await.unwrap();
            connection
        });
        Self { runtime, connection: Some(connection) }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        use sqlx::Connection as _;
        if let Some(connection) = self.connection.take() {
            drop(self.runtime.block_on(connection.close()));
        }
    }
}

#[test]
fn while_the_store_is_locked_live_access_tokens_go_on_and_nobody_loses_a_cookie() {
    let upstream = application();
    let gate = Gate::before(&upstream);
    gate.add_user("ada", &[], &[]);
    gate.add_user("bob", &[], &[]);
    let mut ended = gate.signed_in("bob");
    ended.jar.remove(ACCESS);
    let refresh = ended.jar.get(REFRESH).unwrap().to_owned();
    let mut client = gate.signed_in("ada");
    let lock = Lock::take(&gate);
    // Those who are in notice nothing.
    for path in ["/a", "/optional/a", "/public/a", "/auth/me", "/auth/login"] {
        assert!(client.get(path).status < 400, "{path}");
    }
    assert_eq!(gate.admin("/healthz").status, 200);
    let unavailable = |answer: &Answer, what: &str| {
        assert_eq!(answer.verdict(), (503, "store_unavailable".to_owned()), "{what}");
        assert!(answer.one("retry-after").parse::<u32>().unwrap() > 0, "{what}");
        assert_eq!(answer.field("set-cookie"), Vec::<&str>::new(), "{what}");
    };
    std::thread::scope(|scope| {
        // What writes waits for the lock, then says so; side by side, for each waits seconds.
        scope.spawn(|| {
            let answer = gate.client().log_in("ada", PASSWORD, false);
            unavailable(&answer, "login");
        });
        scope.spawn(|| unavailable(&ended.get("/a"), "silent refresh"));
        let mut again = client.twin();
        scope.spawn(move || unavailable(&again.post("/auth/refresh"), "refresh"));
        let mut leaving = client.twin();
        scope.spawn(move || unavailable(&leaving.post("/auth/logout"), "logout"));
    });
    assert_eq!(ended.jar.get(REFRESH), Some(refresh.as_str()), "no cookie was deleted");
    assert_eq!(client.get("/a").status, 200);
    drop(lock);
    // And afterwards all is as it was.
    assert_eq!(ended.get("/a").status, 200);
    assert_eq!(client.post("/auth/logout").status, 200);
    assert_eq!(gate.client().log_in("ada", PASSWORD, false).status, 200);
}

//! What is secret stays so: whatever the gateway writes anywhere is searched for what was planted.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use crate::harness::{
    ACCESS, ORIGIN, PASSWORD, Process, REFRESH, ROUTES, Upstream, add_user, response,
};

const WRONG_PASSWORD: &str = "planted-wrong-password-4711";
const QUERY: &str = "planted-query-value-4712";
const COOKIE: &str = "planted-cookie-value-4713";
const FIELD: &str = "planted-field-value-4714";
const BODY: &str = "planted-body-value-4715";
const TOKEN: &str = "eyJhbGciOiJIUzI1NiJ9.planted-token-4716.c2lnbmF0dXJl";

/// All that the gateway could have written down.
fn written(process: &Process, folder: &Path) -> Vec<(&'static str, String)> {
    let file = |name: &str| {
        String::from_utf8_lossy(&fs::read(folder.join(name)).unwrap_or_default()).into_owned()
    };
    vec![
        ("standard output", process.out.text()),
        ("standard error", process.err.text()),
        ("the access log", file("access.log")),
        ("the metrics", process.admin("/metrics").text()),
        ("readiness", process.admin("/readyz").text()),
        ("the store", file("data/sallyport.db")),
        ("the store's journal", file("data/sallyport.db-wal")),
    ]
}

#[test]
fn no_secret_is_found_in_any_log_metric_error_or_file() {
    for format in ["text", "json"] {
        for level in ["info", "trace"] {
            search(format, level);
        }
    }
}

fn search(format: &str, level: &str) {
    let upstream = Upstream::answering(|_| response("200 OK", &[], "the application"));
    let broken = Upstream::play(|connection| {
        connection.request()?;
        connection.send(b"no http at all, but planted-answer-4717\r\n\r\n")
    });
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    Process::configure(
        folder.path(),
        &format!(
            "[log]\nlevel = \"{level}\"\nformat = \"{format}\"\n\
             access = {{ file = \"access.log\" }}\n\
             [[upstream]]\nname = \"app\"\nservers = [\"{}\"]\n\
             [[upstream]]\nname = \"broken\"\nservers = [\"{}\"]\n\
             [[upstream]]\nname = \"nobody\"\nservers = [\"http://{nobody}\"]\n\
             {}\
             [[route]]\npath = \"/broken/**\"\nupstream = \"broken\"\naccess = \"optional\"\n\
             [[route]]\npath = \"/nobody/**\"\nupstream = \"nobody\"\naccess = \"optional\"\n",
            upstream.url(),
            broken.url(),
            ROUTES.replace("[[route]]", "[[route]]\nupstream = \"app\""),
        ),
    );
    add_user(folder.path(), "ada");
    let mut process = Process::start(folder.path());
    let mut secrets: Vec<String> =
        [WRONG_PASSWORD, PASSWORD, QUERY, COOKIE, FIELD, BODY, TOKEN, "planted-answer-4717"]
            .map(str::to_owned)
            .to_vec();
    let mut errors = Vec::new();

    for h2 in [false, true] {
        let client = process.client();
        let mut client = if h2 { client.over_h2() } else { client };
        errors.push(client.log_in("ada", WRONG_PASSWORD, true).text());
        errors.push(client.log_in(WRONG_PASSWORD, PASSWORD, true).text());
        assert_eq!(client.log_in("ada", PASSWORD, true).status, 200);
        secrets.extend([ACCESS, REFRESH].map(|name| client.jar.get(name).unwrap().to_owned()));
        assert_eq!(client.post("/auth/refresh").status, 200);
        secrets.extend([ACCESS, REFRESH].map(|name| client.jar.get(name).unwrap().to_owned()));
        for path in ["/a", "/public/a", "/optional/a", "/admin/a", "/broken/a", "/nobody/a"] {
            let path = format!("{path}?token={QUERY}&code={QUERY}");
            for method in ["GET", "POST"] {
                let answer = client
                    .ask(method, &path)
                    .field("Origin", ORIGIN)
                    .field("X-Api-Key", FIELD)
                    .field("Cookie", format!("app={COOKIE}"))
                    .body("text/plain", BODY)
                    .send();
                errors.push(answer.text());
            }
        }
        for scheme in ["Bearer", "Basic", "bearer  ", "Token"] {
            let mut stranger = client.twin();
            stranger.jar.clear();
            let ask = stranger.ask("GET", "/a").field("Authorization", format!("{scheme} {TOKEN}"));
            errors.push(ask.send().text());
        }
        for cookie in [ACCESS, REFRESH] {
            let mut stranger = client.twin();
            stranger.jar.clear();
            stranger.jar.put(cookie, TOKEN);
            errors.push(stranger.get("/a").text());
            errors.push(stranger.post("/auth/refresh").text());
            errors.push(stranger.post("/auth/logout").text());
        }
        for body in [
            format!("{{\"password\": \"{BODY}\""),
            format!("{{\"{BODY}\": {{}}}}"),
            format!("{{\"password\": 1, \"password\": \"{BODY}\"}}"),
        ] {
            let ask = client.ask("POST", "/auth/login").field("Origin", ORIGIN);
            errors.push(ask.body("application/json", &body).send().text());
        }
        let form = [("username", "ada"), ("password", WRONG_PASSWORD)];
        let ask = client.ask("POST", "/auth/login").form(&form).field("Origin", ORIGIN);
        errors.push(ask.field("Accept", "text/html").send().text());
        let raw = client.raw(format!("GET /%zz?{QUERY} HTTP/1.1\r\nX-Key: {FIELD}\r\n\r\n"));
        errors.push(raw.map(|answer| answer.text()).unwrap_or_default());
        // A theft is told in the audit log, without the token.
        assert_eq!(client.post("/auth/logout").status, 200);
    }

    let before = written(&process, folder.path());
    process.terminate();
    assert!(process.wait().success(), "{}", process.err.text());
    let file = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    let last = [
        ("standard output", process.out.text()),
        ("standard error", process.err.text()),
        ("the access log", file("access.log")),
    ];
    let lines = last[2].1.lines().count();
    assert!(lines > 50, "{lines} access lines are too few to have been searched");
    for (place, text) in before.iter().chain(&last) {
        for secret in &secrets {
            if let Some(at) = text.find(secret.as_str()) {
                let line = text[..at].lines().count();
                let line = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
                panic!("{place} ({format}, {level}) holds {secret}:\n{line}");
            }
        }
    }
    for text in errors {
        let told = secrets.iter().find(|secret| text.contains(secret.as_str()));
        // The page of a failed login shows the name again, which here was a password.
        assert_eq!(told, None, "an answer says it:\n{text}");
    }
}

//! The other listeners: the way from http to https, and what only the operator may see.

use crate::harness::{Gate, Upstream, curl, response};

const LISTEN: &str = "[listen]\nhttps = \"127.0.0.1:0\"\nhttp = \"127.0.0.1:0\"\n\
    admin = \"127.0.0.1:0\"\npublic_url = \"https://localhost:8443\"\ndrain_timeout = \"0s\"\n";

fn setting() -> (Upstream, Gate) {
    let upstream = Upstream::answering(|_| response("200 OK", &[], "the application"));
    let gate = Gate::with(&upstream, LISTEN);
    (upstream, gate)
}

#[test]
fn the_plain_listener_shows_the_way_to_https_and_does_nothing_else() {
    let (upstream, gate) = setting();
    let address = gate.plain_address();
    for (method, host, path, location) in [
        ("GET", "localhost:8080", "/a?b=c", "https://localhost:8443/a?b=c"),
        ("POST", "app.example.org", "/auth/login", "https://app.example.org:8443/auth/login"),
        ("GET", "localhost", "/a/../b", "https://localhost:8443/b"),
        // A host that is none: the site's own.
        ("GET", "evil.test/@localhost", "/", "https://localhost:8443/"),
        ("GET", "a b", "/", "https://localhost:8443/"),
    ] {
        let answer = curl(&[
            "--path-as-is",
            "--request",
            method,
            "--header",
            &format!("Host: {host}"),
            &format!("http://{address}{path}"),
        ]);
        assert_eq!((answer.status, answer.one("location")), (308, location), "{host} {path}");
        assert!(answer.field("set-cookie").is_empty());
    }
    let answer = curl(&["--path-as-is", &format!("http://{address}/..%2fa")]);
    assert_eq!(answer.status, 400);
    assert!(upstream.requests().is_empty());
}

#[test]
fn health_and_metrics_are_for_the_operator_and_never_on_the_public_listener() {
    let (upstream, gate) = setting();
    gate.add_user("ada", &[], &[]);
    for (path, word) in [("/healthz", "ok"), ("/readyz", "ready"), ("/metrics", "sallyport_")] {
        let answer = gate.admin(path);
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.text().contains(word), "{path}: {}", answer.text());
        let answer = gate.client().get(path);
        assert_eq!(answer.verdict(), (401, "missing_token".to_owned()), "{path}");
    }
    assert_eq!(gate.admin("/auth/login").status, 404, "and nobody logs in there");
    gate.signed_in("ada").get("/metrics");
    assert_eq!(
        upstream.requests().pop().unwrap().line(),
        "GET /metrics HTTP/1.1",
        "a path like any"
    );
}

#[test]
fn metrics_count_what_was_answered_by_route_and_outcome() {
    let (_upstream, gate) = setting();
    gate.add_user("ada", &[], &[]);
    let mut client = gate.signed_in("ada");
    assert_eq!(client.get("/a").status, 200);
    assert_eq!(client.get("/admin/a").status, 403);
    assert_eq!(gate.client().get("/a").status, 401);
    let metrics = gate.admin("/metrics").text();
    for words in ["missing_token", "forbidden", "sallyport_logins_total{outcome=\"begun\"} 1"] {
        assert!(metrics.contains(words), "{words}:\n{metrics}");
    }
}

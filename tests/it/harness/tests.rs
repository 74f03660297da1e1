use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use sallyport::clock::Timestamp;
use sallyport::config;

use super::*;

#[test]
fn an_upstream_records_the_bytes_that_were_sent_to_it() {
    let upstream = Upstream::answering(|request| response("200 OK", &["X: y"], &request.line()));
    let mut client = TcpStream::connect(upstream.address()).unwrap();
    let first =
        b"POST /a HTTP/1.1\r\nHost: h\r\ncontent-LENGTH: 3\r\nX-Twice: 1\r\nx-twice:2\r\n\r\n";
    client.write_all(first).unwrap();
    client.write_all(b"abc").unwrap();
    let second = b"PUT /b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.write_all(second).unwrap();
    client.write_all(b"3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nTrailer: t\r\n\r\n").unwrap();
    let requests = upstream.wait_for(2);
    assert_eq!((&requests[0].head[..], &requests[0].body[..]), (&first[..], &b"abc"[..]));
    assert_eq!(requests[0].field("X-TWICE"), ["1", "2"]);
    assert_eq!(requests[0].fields()[1], ("content-LENGTH".to_owned(), "3".to_owned()));
    assert_eq!(
        (&requests[1].head[..], &requests[1].body[..]),
        (&second[..], &b"abc0123456789"[..])
    );
    let expected = [
        response("200 OK", &["X: y"], "POST /a HTTP/1.1"),
        response("200 OK", &["X: y"], "PUT /b HTTP/1.1"),
    ];
    let mut answers = vec![0; expected.concat().len()];
    client.read_exact(&mut answers).unwrap();
    assert_eq!(answers, expected.concat());
    assert_eq!((upstream.connections(), upstream.requests().len()), (1, 2));
}

#[test]
fn an_upstream_may_do_what_no_proper_server_would() {
    let upstream = Upstream::play(|connection| {
        let head = connection.head()?.expect("a head");
        assert!(head.ends_with(b"\r\n\r\n"));
        assert_eq!(connection.bytes(2)?, b"to");
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbroken off")?;
        assert_eq!(connection.number, 0);
        assert_eq!(connection.rest()?, b" the end");
        Ok(())
    });
    let mut client = TcpStream::connect(upstream.address()).unwrap();
    client.write_all(b"BREW / HTTP/9.9\r\n\r\nto the end").unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("broken off"));
}

#[test]
fn curl_tells_status_fields_and_body_of_the_last_answer() {
    let upstream = Upstream::answering(|request| {
        if request.line().starts_with("GET /from ") {
            response("302 Found", &["Location: /to", "Set-Cookie: a=1"], "moved")
        } else {
            response("418 Teapot", &["Set-Cookie: b=2", "Set-Cookie: c=3"], "{\"tea\":true}")
        }
    });
    let answer = curl(&["--location", "--header", "X-One: 1", &format!("{}/from", upstream.url())]);
    assert_eq!((answer.status, answer.version.as_str()), (418, "1.1"));
    assert_eq!(answer.field("set-cookie"), ["b=2", "c=3"]);
    assert_eq!(answer.json()["tea"], true);
    assert_eq!(answer.text(), "{\"tea\":true}");
    assert_eq!(upstream.requests()[1].field("x-one"), ["1"]);
}

#[test]
fn a_log_of_another_process_is_waited_for_and_searched() {
    let mut child = Command::new("sh")
        .args([
            "-c",
            "printf 'starting on port '; printf '4711\\nhalf a line'; exec cat >/dev/null",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let log = Log::default();
    log.follow(child.stdout.take().unwrap());
    assert_eq!(log.wait_for("on port"), "starting on port 4711");
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    log.holds_none_of(&["hunter2"]);
}

#[test]
fn the_diagnostic_log_of_this_process_is_captured_as_it_would_be_written() {
    let log = Log::default();
    let settings = config::Log {
        level: "info".to_owned(),
        format: config::LogFormat::Json,
        access: config::AccessLog::Off,
    };
    let writer = log.clone();
    let subscriber =
        sallyport::observe::log_subscriber(&settings, false, move || writer.clone()).unwrap();
    tracing::subscriber::with_default(subscriber, || tracing::warn!(port = 4711, "taken"));
    let line: serde_json::Value = serde_json::from_str(&log.wait_for("taken")).unwrap();
    assert_eq!((&line["port"], &line["level"]), (&4711.into(), &"WARN".into()));
}

#[test]
#[should_panic(expected = "the log holds \"hunter2\"")]
fn a_secret_in_a_log_is_found() {
    let mut log = Log::default();
    log.write_all(b"password=hunter2\n").unwrap();
    log.holds_none_of(&["hunter2"]);
}

#[test]
fn a_jar_keeps_what_a_browser_would_and_sends_it_where_a_browser_would() {
    let now = Timestamp::from_secs(1_800_000_000);
    let mut jar = Jar::default();
    for dropped in [
        "__Host-a=1; Path=/",
        "__Host-a=1; Secure; Path=/auth",
        "__Host-a=1; Secure; Path=/; Domain=localhost",
        "__Secure-a=1; Path=/",
        "a=1; Domain=elsewhere.test",
        "nonsense",
    ] {
        jar.learn(dropped, now);
        assert!(jar.is_empty(), "{dropped}");
    }
    jar.learn("__Host-a=1; HttpOnly; Secure; Path=/; Max-Age=60", now);
    jar.learn("b=2; Path=/auth", now);
    let sent =
        |jar: &Jar, path: &str, secs: u64| jar.field(path, now.plus(Duration::from_secs(secs)));
    assert_eq!(sent(&jar, "/x?/auth", 59).as_deref(), Some("__Host-a=1"));
    assert_eq!(sent(&jar, "/auth/me", 0).as_deref(), Some("__Host-a=1; b=2"));
    assert_eq!(sent(&jar, "/auth", 60).as_deref(), Some("b=2"));
    assert_eq!(sent(&jar, "/authority", 60), None);
    // Another path is another cookie; the same one is replaced.
    jar.learn("b=3; Path=/auth", now);
    jar.learn("b=; Path=/; Max-Age=0", now);
    assert_eq!(jar.get("b"), Some("3"));
    jar.end_browser();
    assert_eq!((jar.get("b"), jar.get("__Host-a")), (None, Some("1")));
    jar.learn("__Host-a=; Secure; Path=/; Max-Age=0", now);
    assert!(jar.is_empty());
}

const FORM: &str = r#"<!doctype html><title>A form</title>
<form method=post action="/greet"><input name=who><button>Go</button></form>"#;

fn form_and_greeting(request: &Request) -> Vec<u8> {
    let html = "Content-Type: text/html; charset=utf-8";
    let line = request.line();
    if line.starts_with("GET / ") {
        response("200 OK", &[html], FORM)
    } else if line.starts_with("POST /greet ") {
        let cookie = "Set-Cookie: seen=yes; HttpOnly; Path=/";
        response("303 See Other", &[cookie, "Location: /greeting"], "")
    } else if line.starts_with("GET /greeting ") {
        let page = "<!doctype html><title>Greeting</title><h1 data-kind=warm>Hello, Ada é</h1>";
        response("200 OK", &[html], page)
    } else {
        response("404 Not Found", &[], "")
    }
}

#[test]
fn a_browser_fills_a_form_follows_the_redirect_and_keeps_the_cookie() {
    let upstream = Upstream::answering(form_and_greeting);
    let browser = Browser::start();
    let url = format!("http://app.test:{}", upstream.address().port());
    browser.goto(&url);
    assert_eq!(browser.title(), "A form");
    assert!(browser.cookies().is_empty());
    browser.find("input[name=who]").type_text("Ada Lovelace");
    browser.find("button").click();
    browser.until("the greeting is shown", |browser| browser.url().ends_with("/greeting"));
    let heading = browser.find("h1");
    assert_eq!(heading.text(), "Hello, Ada é");
    assert_eq!(heading.attribute("data-kind").as_deref(), Some("warm"));
    assert_eq!(heading.attribute("data-none"), None);

    let posted = upstream.requests().into_iter().find(|r| r.line().starts_with("POST")).unwrap();
    assert_eq!(posted.body, b"who=Ada+Lovelace");
    assert_eq!(
        posted.field("sec-fetch-mode"),
        Vec::<String>::new(),
        "http on a name is not secure"
    );
    let cookie = browser.cookie("seen").expect("the cookie is kept");
    assert_eq!((&cookie["value"], &cookie["httpOnly"]), (&"yes".into(), &true.into()));
    assert_eq!(browser.execute("return document.cookie + arguments[0];", &["!".into()]), "!");
    browser.delete_cookies();
    assert!(browser.cookies().is_empty());

    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("greeting.png");
    browser.screenshot(&image);
    let image = fs::read(image).unwrap();
    assert!(image.starts_with(b"\x89PNG\r\n") && image.len() > 1000, "{} bytes", image.len());
}

//! Applications that speak HTTP/2 or TLS: what they are asked, whom we believe to be them, and gRPC
//! from end to end.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::mpsc;
use std::task::{Context, Poll};
use std::thread;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, Version};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tempfile::TempDir;

use crate::harness::{
    Answer, AnyBody, Client, Gate, HOST, ORIGIN, PATIENCE, Upstream, Upstream2, response,
};

/// Sends back what comes, as it comes, and then trailers: those of the request, if there are any.
struct Echo {
    incoming: Incoming,
    trailers: Option<HeaderMap>,
}

impl Body for Echo {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => match frame.into_trailers() {
                Ok(sent) => {
                    let mut trailers = self.trailers.take().unwrap_or_default();
                    trailers.extend(sent);
                    Poll::Ready(Some(Ok(Frame::trailers(trailers))))
                }
                Err(data) => Poll::Ready(Some(Ok(data))),
            },
            Poll::Ready(None) => Poll::Ready(self.trailers.take().map(Frame::trailers).map(Ok)),
            other => other,
        }
    }
}

fn echo(request: Request<Incoming>) -> Response<AnyBody> {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let kind = request.headers().get("content-type").cloned();
    let echo = Echo { incoming: request.into_body(), trailers: Some(trailers) };
    let mut response = Response::new(echo.boxed_unsync());
    if let Some(kind) = kind {
        response.headers_mut().insert("content-type", kind);
    }
    response
}

fn plain(request: Request<Incoming>) -> Response<AnyBody> {
    let text = format!("{:?} {} {}", request.version(), request.method(), request.uri());
    Response::new(Full::from(text).map_err(|never| match never {}).boxed_unsync())
}

/// A gateway before one application, whose section has these lines.
fn gate(lines: &str) -> Gate {
    let gate = Gate::start(&format!(
        "[[upstream]]\nname = \"app\"\n{lines}\n\
         [[route]]\npath = \"/open/**\"\naccess = \"public\"\nbody_bytes = \"1MiB\"\n\
         [[route]]\npath = \"/admin/**\"\naccess = {{ permissions = [\"admin\"] }}\n\
         [[route]]\npath = \"/**\"\n"
    ));
    gate.add_user("ada", &[], &[]);
    gate
}

fn clear(upstream: &Upstream2, lines: &str) -> Gate {
    gate(&format!("servers = [\"http://{}\"]\nhttp = \"2\"\n{lines}", upstream.address()))
}

#[test]
fn an_application_that_speaks_http2_is_asked_in_http2() {
    let upstream = Upstream2::clear(plain);
    let gate = clear(&upstream, "");
    for h2 in [false, true] {
        let client = gate.signed_in("ada");
        let mut client = if h2 { client.over_h2() } else { client };
        let answer = client
            .ask("GET", "/a/b?c=d")
            .field("TE", if h2 { "trailers" } else { "gzip" })
            .field("X-Auth-User", "root")
            .send();
        assert_eq!(answer.status, 200, "{answer:#?}");
        assert_eq!(answer.text(), format!("HTTP/2.0 GET http://{HOST}/a/b?c=d"));
        assert_eq!(answer.one("via"), "2 sallyport");
        let asked = upstream.asked().pop().unwrap();
        assert_eq!(asked.version, Version::HTTP_2);
        assert_eq!(asked.headers.get("x-auth-user").unwrap(), "ada");
        let te = asked.headers.get("te").map(HeaderValue::as_bytes);
        assert_eq!(te, h2.then_some(&b"trailers"[..]));
        for name in ["host", "connection", "transfer-encoding", "cookie"] {
            assert!(asked.headers.get(name).is_none(), "{name}");
        }
    }
}

#[test]
fn a_value_with_a_blank_at_its_end_is_malformed_over_http2() {
    // RFC 9113 section 8.2.1.
    let upstream = Upstream2::clear(plain);
    let gate = clear(&upstream, "");
    let mut client = gate.client().over_h2();
    for value in [" 1", "1 ", "\t1", "1\t", " "] {
        let answer = client.ask("GET", "/open/a").field("X", value).send();
        assert_eq!(answer.verdict(), (400, "bad_request".to_owned()), "{value:?}");
    }
    assert!(upstream.asked().is_empty());
    assert_eq!(client.ask("GET", "/open/a").field("X", "a b").send().status, 200);
}

#[test]
fn a_head_has_so_many_fields_over_http2_too_and_the_crumbs_of_cookies_are_one() {
    let upstream = Upstream2::clear(plain);
    let gate = clear(&upstream, "[limits]\nheader_count = 16\n");
    let mut client = gate.client().over_h2();
    let mut ask = |name: fn(usize) -> String, count: usize| {
        let mut request = client.ask("GET", "/open/a");
        for number in 0..count {
            request = request.field(&name(number), "1");
        }
        request.send().verdict()
    };
    assert_eq!(ask(|number| format!("X-{number}"), 17), (431, "header_too_large".to_owned()));
    assert_eq!(ask(|_| "X".to_owned(), 17), (431, "header_too_large".to_owned()));
    assert!(upstream.asked().is_empty());
    assert_eq!(ask(|number| format!("X-{number}"), 12).0, 200);
    // RFC 9113 section 8.2.3.
    assert_eq!(ask(|_| "Cookie".to_owned(), 40).0, 200);
}

#[test]
fn one_connection_carries_many_exchanges_and_a_lost_one_is_replaced() {
    let upstream = Upstream2::clear(echo);
    let address = upstream.address();
    let gate = Gate::start(&format!(
        "[listen]\nhttps = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\ncores = 1\n\
         drain_timeout = \"0s\"\npublic_url = \"https://localhost:8443\"\n\
         [[upstream]]\nname = \"app\"\nservers = [\"http://{address}\"]\nhttp = \"2\"\n\
         [[route]]\npath = \"/**\"\naccess = \"public\"\n"
    ));
    let mut warm = gate.client();
    assert_eq!(warm.ask("POST", "/a").body("text/plain", "first").send().text(), "first");
    thread::scope(|scope| {
        for number in 0..8 {
            let mut client = gate.client();
            scope.spawn(move || {
                let body = format!("body {number} ").repeat(20_000);
                for _ in 0..5 {
                    let answer = client.ask("POST", "/a").body("text/plain", &body).send();
                    assert!(answer.text() == body, "{}", answer.status);
                }
            });
        }
    });
    assert_eq!(upstream.connections(), 1);
    drop(upstream);
    let answer = warm.get("/a");
    assert_eq!(answer.verdict(), (502, "upstream_unavailable".to_owned()));
}

/// A certificate for these names, signed by nobody but itself, as two PEM files.
fn certificate(folder: &Path, names: &[&str]) -> (PathBuf, PathBuf) {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let (certificate, key) = (folder.join("app.pem"), folder.join("app-key.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    (certificate, key)
}

#[test]
fn over_tls_both_sides_agree_on_a_protocol_and_the_config_can_insist() {
    let folder = TempDir::new().unwrap();
    let (certificate, key) = certificate(folder.path(), &["localhost"]);
    let ca = format!("tls.ca = \"{}\"", certificate.display());
    for (offers, http, said) in [
        (&["h2", "http/1.1"][..], "", "HTTP/2.0"),
        (&["http/1.1"], "", "HTTP/1.1"),
        (&[], "", "HTTP/1.1"),
        (&["h2", "http/1.1"], "http = \"1.1\"", "HTTP/1.1"),
        (&["h2", "http/1.1"], "http = \"2\"", "HTTP/2.0"),
        (&[], "http = \"2\"", ""),
    ] {
        let upstream = Upstream2::tls(&certificate, &key, offers, plain);
        let server = format!("https://localhost:{}", upstream.address().port());
        let gate = gate(&format!("servers = [\"{server}\"]\n{http}\n{ca}"));
        let mut client = gate.client();
        for _ in 0..3 {
            let answer = client.get("/open/a");
            if said.is_empty() {
                assert_eq!(answer.verdict(), (502, "upstream_unavailable".to_owned()));
            } else {
                assert!(answer.text().starts_with(said), "{offers:?} {http}: {answer:#?}");
            }
        }
        let body = "x".repeat(300_000);
        let answer = client.ask("POST", "/open/a").body("text/plain", &body).send();
        assert_eq!(answer.status == 200, !said.is_empty());
    }
}

#[test]
fn a_server_that_cannot_prove_who_it_is_gets_nothing() {
    let folder = TempDir::new().unwrap();
    let (certificate, key) = certificate(folder.path(), &["app.internal"]);
    let upstream = Upstream2::tls(&certificate, &key, &["h2"], plain);
    let server = format!("https://localhost:{}", upstream.address().port());
    let ca = format!("tls.ca = \"{}\"", certificate.display());
    for (lines, status) in [
        // The system's authorities do not know it.
        (String::new(), 502),
        // Its name is another one.
        (ca.clone(), 502),
        (format!("{ca}\ntls.name = \"app.internal\""), 200),
        (format!("{ca}\ntls.name = \"other.internal\""), 502),
    ] {
        let gate = gate(&format!("servers = [\"{server}\"]\n{lines}"));
        assert_eq!(gate.client().get("/open/a").status, status, "{lines}");
    }
    assert_eq!(upstream.asked().len(), 1);
}

fn call(client: &mut Client, path: &str, body: &[u8]) -> Answer {
    client
        .ask("POST", path)
        .field("TE", "trailers")
        .field("Origin", ORIGIN)
        .body("application/grpc+proto", body)
        .send()
}

fn trailer(answer: &Answer, name: &str) -> String {
    let found = answer.trailers.iter().find(|(found, _)| found == name);
    found.map(|(_, value)| value.clone()).unwrap_or_default()
}

#[test]
fn a_call_of_grpc_arrives_with_its_trailers_and_a_refusal_is_a_status_of_its_own() {
    let upstream = Upstream2::clear(echo);
    let gate = clear(&upstream, "");
    let mut client = gate.signed_in("ada").over_h2();
    let answer = call(&mut client, "/pkg.Service/Call", b"\0\0\0\0\x02hi");
    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"\0\0\0\0\x02hi"[..]));
    assert_eq!(trailer(&answer, "grpc-status"), "0");
    let asked = upstream.asked().pop().unwrap();
    assert_eq!(asked.headers.get("te").unwrap(), "trailers");
    assert_eq!(asked.headers.get("x-auth-user").unwrap(), "ada");
    // Nobody, nobody who may, and nothing there.
    let refused = |answer: &Answer| {
        assert_eq!((answer.status, answer.one("content-type")), (200, "application/grpc"));
        assert!(answer.body.is_empty(), "{answer:#?}");
        (answer.one("grpc-status").to_owned(), answer.one("x-sallyport").to_owned())
    };
    let told = |status: &str, code: &str| (status.to_owned(), code.to_owned());
    let mut nobody = gate.client().over_h2();
    assert_eq!(refused(&call(&mut nobody, "/pkg.Service/Call", b"")), told("16", "missing_token"));
    assert_eq!(refused(&call(&mut client, "/admin/Call", b"")), told("7", "forbidden"));
    drop(upstream);
    let answer = call(&mut client, "/pkg.Service/Call", b"");
    assert_eq!(refused(&answer), told("14", "upstream_unavailable"));
    assert!(!answer.one("grpc-message").is_empty());
}

#[test]
fn trailers_say_nothing_that_a_head_could_not_have_said() {
    let upstream = Upstream2::clear(echo);
    let gate = clear(&upstream, "allowed_names = [\"my_sum\"]");
    let client = gate.signed_in("ada");
    let (feed, fed) = tokio::sync::mpsc::channel(8);
    let fields = [("content-type", "text/plain"), ("te", "trailers"), ("origin", ORIGIN)];
    let talk = client.talk("/open/a", Fed(fed), &fields);
    feed.try_send(Frame::data(Bytes::from_static(b"data"))).unwrap();
    let mut trailers = HeaderMap::new();
    for name in [
        "x-auth-user",
        "x_auth_user",
        "x-forwarded-for",
        "authorization",
        "cookie",
        "content-length",
        "host",
        "set-cookie",
        "x-sum",
        "my_sum",
        "my_other",
    ] {
        trailers.insert(name, HeaderValue::from_static("1"));
    }
    feed.try_send(Frame::trailers(trailers)).unwrap();
    drop(feed);
    assert_eq!(talk.data(), b"data");
    let mut told: Vec<_> = talk.trailers().keys().map(ToString::to_string).collect();
    told.sort_unstable();
    assert_eq!(told, ["grpc-status", "my_sum", "x-sum"]);
}

/// A body that a test feeds piece by piece, to talk while listening.
pub(crate) struct Fed(pub(crate) tokio::sync::mpsc::Receiver<Frame<Bytes>>);

impl Body for Fed {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(cx).map(|frame| frame.map(Ok))
    }
}

#[test]
fn a_stream_of_grpc_goes_both_ways_at_once_and_ends_with_its_session() {
    let upstream = Upstream2::clear(echo);
    let gate = clear(&upstream, "");
    let client = gate.signed_in("ada");
    let (feed, fed) = tokio::sync::mpsc::channel(8);
    let talk = client.talk(
        "/pkg.Service/Chat",
        Fed(fed),
        &[("content-type", "application/grpc"), ("te", "trailers"), ("origin", ORIGIN)],
    );
    for word in ["one", "two"] {
        feed.try_send(Frame::data(Bytes::from(word))).unwrap();
        // It is back before the next is sent.
        assert_eq!(talk.data(), word.as_bytes());
    }
    assert_eq!(client.twin().post("/auth/logout").status, 200);
    let trailers = talk.trailers();
    assert_eq!(trailers.get("grpc-status").unwrap(), "16");
    drop(feed);
}

#[test]
fn limits_of_time_and_size_hold_over_http2_too() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let upstream = Upstream2::clear(move |request| {
        if request.uri().path().contains("slow") {
            let _ended = wait.lock().unwrap().recv_timeout(PATIENCE);
        }
        echo(request)
    });
    let gate = clear(&upstream, "first_byte_timeout = \"300ms\"");
    let mut client = gate.client();
    let much = "x".repeat(1024 * 1024 + 1);
    let answer = client.ask("POST", "/open/a").body("text/plain", &much).send();
    assert_eq!(answer.verdict(), (413, "payload_too_large".to_owned()));
    let chunked =
        format!("POST /open/a HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n");
    let body = format!("{chunked}{:x}\r\n{much}\r\n0\r\n\r\n", much.len());
    let mut wire = client.wire();
    // The gateway may have said no before it has all of it.
    drop(wire.send(body));
    let head = wire.head().unwrap().unwrap();
    // The echo may have begun to answer before the limit was met: then its answer breaks off.
    assert!(matches!(head.status, 200 | 413), "{}", head.status);
    assert!(wire.rest().len() < 1024 * 1024 + 64 * 1024);
    let answer = client.get("/open/slow");
    assert_eq!(answer.verdict(), (504, "upstream_timeout".to_owned()));
    drop(go);
    assert_eq!(client.get("/auth/login").status, 200);
}

#[test]
fn a_websocket_goes_by_http1_where_http2_would_be_agreed_on() {
    // What the handshake is answered with matters not here: that it came by HTTP/1.1 does.
    let folder = TempDir::new().unwrap();
    let (certificate, key) = certificate(folder.path(), &["localhost"]);
    let upstream = Upstream2::tls(&certificate, &key, &["h2", "http/1.1"], plain);
    let server = format!("https://localhost:{}", upstream.address().port());
    let gate = gate(&format!("servers = [\"{server}\"]\ntls.ca = \"{}\"", certificate.display()));
    let answer = gate.client().raw(format!(
        "GET /open/socket HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ));
    assert!(answer.unwrap().text().starts_with("HTTP/1.1 GET"));
    assert_eq!(gate.client().get("/open/a").text().split(' ').next(), Some("HTTP/2.0"));
}

#[test]
fn what_no_http2_server_would_say_is_a_502() {
    // A server that speaks HTTP/1.1 to whoever insists on HTTP/2.
    let upstream = Upstream::play(|connection| {
        connection.send(&response("400 Bad Request", &[], "what?"))?;
        connection.rest().map(drop)
    });
    let gate = gate(&format!("servers = [\"{}\"]\nhttp = \"2\"", upstream.url()));
    let answer = gate.client().get("/open/a");
    assert_eq!(answer.status, 502, "{answer:#?}");
}

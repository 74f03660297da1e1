//! **Not a captcha.** A server on the loopback that stands in for one in tests and demonstrations:
//! it speaks siteverify, knows Turnstile's documented test keys, lets each token be used once and for
//! five minutes, and serves a widget, so that no test needs the internet. Whoever asks it for a token
//! gets one. It runs only if `captcha.stand_in` says so, and only where nobody else can reach us.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::DUMMY_TOKEN;
use crate::clock::{Clock, Timestamp};
use crate::secret;

/// Where it verifies.
pub const VERIFY_PATH: &str = "/siteverify";
/// Where its widget's script is.
pub const SCRIPT_PATH: &str = "/widget.js";

/// Secret keys as Turnstile documents them: everybody passes, nobody does, every token is spent.
const PASS: &str = "1x0000000000000000000000000000000AA";
const BLOCK: &str = "2x0000000000000000000000000000000AA";
const SPENT: &str = "3x0000000000000000000000000000000AA";

/// Site keys for which the widget gives out tokens: at once, or when it is clicked.
const SITE_KEYS: [&str; 3] =
    ["1x00000000000000000000AA", "1x00000000000000000000BB", "3x00000000000000000000FF"];

/// How long a token is good.
const TOKEN_TTL: Duration = Duration::from_secs(300);
/// Tokens remembered; beyond it the oldest go.
const MOST: usize = 10_000;
/// Bytes of a body that it reads.
const BODY_BYTES: usize = 16 * 1024;
/// Connections at a time, and how long one may last.
const CONNECTIONS: usize = 64;
const LIFE: Duration = Duration::from_secs(30);

const SCRIPT: &str = include_str!("stand_in.js");

/// A bound address that does not answer yet.
pub struct StandIn {
    listener: TcpListener,
    state: Arc<State>,
}

struct State {
    clock: Clock,
    tokens: Mutex<HashMap<String, Issued>>,
}

#[derive(Debug, Clone)]
struct Issued {
    at: Timestamp,
    used: bool,
    hostname: String,
    action: String,
}

impl StandIn {
    /// Binds `address`, which the config has found to be on the loopback. Tokens age by `clock`.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub async fn bind(address: SocketAddr, clock: Clock) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        Ok(Self { listener, state: Arc::new(State { clock, tokens: Mutex::default() }) })
    }

    /// Where it is bound.
    ///
    /// # Errors
    /// The system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until dropped.
    pub async fn run(self) {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let Ok((stream, _)) = self.listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
            let state = Arc::clone(&self.state);
            tokio::spawn(async move {
                let service = service_fn(|request| {
                    let state = Arc::clone(&state);
                    async move { Ok::<_, Infallible>(state.answer(request).await) }
                });
                let serving = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .serve_connection(TokioIo::new(stream), service);
                // However it ends, there is nobody to tell.
                let _ended = tokio::time::timeout(LIFE, serving).await;
                drop(place);
            });
        }
    }
}

impl State {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        match (&head.method, head.uri.path()) {
            (&Method::GET, SCRIPT_PATH) => {
                reply(StatusCode::OK, "text/javascript; charset=utf-8", SCRIPT)
            }
            (&Method::GET, "/token") => self.token(head.uri.query().unwrap_or_default()),
            (&Method::POST, VERIFY_PATH) => match Limited::new(body, BODY_BYTES).collect().await {
                Ok(body) => tell(StatusCode::OK, &self.verify(&body.to_bytes())),
                Err(_) => tell(StatusCode::BAD_REQUEST, &refused("bad-request")),
            },
            _ => tell(StatusCode::NOT_FOUND, &json!({ "error": "not found" })),
        }
    }

    /// What the widget asks for.
    fn token(&self, query: &str) -> Response<Full<Bytes>> {
        let field = |name| value(query.as_bytes(), name).unwrap_or_default();
        if !SITE_KEYS.contains(&field("sitekey").as_str()) {
            return tell(StatusCode::FORBIDDEN, &json!({ "error": "blocked" }));
        }
        let Ok(random) = secret::random::<24>() else {
            return tell(StatusCode::INTERNAL_SERVER_ERROR, &json!({ "error": "no randomness" }));
        };
        let token = format!("stand-in.{}", URL_SAFE_NO_PAD.encode(random));
        let at = self.clock.now();
        let (hostname, action) = (field("hostname"), field("action"));
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if tokens.len() >= MOST {
            tokens.retain(|_, issued| at.since(issued.at) < TOKEN_TTL);
        }
        if tokens.len() >= MOST {
            tokens.clear();
        }
        tokens.insert(token.clone(), Issued { at, used: false, hostname, action });
        tell(StatusCode::OK, &json!({ "token": token }))
    }

    /// The protocol: `secret` and `response` in, `success` and `error-codes` out.
    fn verify(&self, body: &[u8]) -> Value {
        match value(body, "secret").as_deref() {
            None | Some("") => return refused("missing-input-secret"),
            Some(BLOCK) => return refused("invalid-input-response"),
            Some(SPENT) => return refused("timeout-or-duplicate"),
            Some(PASS) => {}
            Some(_) => return refused("invalid-input-secret"),
        }
        let Some(token) = value(body, "response").filter(|token| !token.is_empty()) else {
            return refused("missing-input-response");
        };
        let now = self.clock.now();
        if token == DUMMY_TOKEN {
            return passed(now, "example.com", "");
        }
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        match tokens.get_mut(&token) {
            None => refused("invalid-input-response"),
            Some(issued) if issued.used || now.since(issued.at) >= TOKEN_TTL => {
                refused("timeout-or-duplicate")
            }
            Some(issued) => {
                issued.used = true;
                passed(issued.at, &issued.hostname, &issued.action)
            }
        }
    }
}

fn passed(solved: Timestamp, hostname: &str, action: &str) -> Value {
    let solved = OffsetDateTime::from_unix_timestamp(solved.secs()).ok();
    json!({
        "success": true,
        "error-codes": [],
        "challenge_ts": solved.and_then(|at| at.format(&Rfc3339).ok()),
        "hostname": hostname,
        "action": action,
        "cdata": "",
        "metadata": { "stand_in": true },
    })
}

fn refused(code: &str) -> Value {
    json!({ "success": false, "error-codes": [code], "metadata": { "stand_in": true } })
}

/// The first value of a name in a form or query.
fn value(form: &[u8], name: &str) -> Option<String> {
    let (_, value) = form_urlencoded::parse(form).find(|(key, _)| key == name)?;
    Some(value.into_owned())
}

fn tell(status: StatusCode, value: &Value) -> Response<Full<Bytes>> {
    reply(status, "application/json", value.to_string())
}

fn reply(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // The widget runs in pages of another origin.
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    let marked = HeaderName::from_static("x-captcha-stand-in");
    headers.insert(marked, HeaderValue::from_static("not a captcha"));
    response
}

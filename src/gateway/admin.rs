//! The listeners beside the gate: health, readiness and metrics for the operator, and the way from
//! http to https for everybody.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HOST, LOCATION};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use super::Phase;
use crate::config::{Origin, split_host_port};
use crate::listen::waiting;
use crate::message::path;
use crate::observe::{AccessWriter, Registry, Sample, SampleKind};
use crate::session::Sessions;

/// Connections that either listener holds at once.
const CONNECTIONS: usize = 256;
/// The whole life of a connection.
const LIFE: Duration = Duration::from_secs(30);
/// From the first byte of a head to its last.
const HEAD: Duration = Duration::from_secs(5);
/// How long those that are connected may take once nobody is accepted any more.
const LAST_CALL: Duration = Duration::from_secs(1);
/// Pause after an accept that failed for want of descriptors.
const BREATHER: Duration = Duration::from_millis(50);

/// What the admin listener can tell.
pub(super) struct Admin {
    pub(super) registry: Arc<Registry>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) phase: watch::Receiver<Phase>,
    pub(super) lines: Option<Arc<AccessWriter>>,
}

/// Serves the admin listener as long as the gateway is there.
pub(super) async fn serve(door: TcpListener, admin: Arc<Admin>) {
    accept(door, None, move |request| {
        let admin = Arc::clone(&admin);
        async move { admin.answer(request).await }
    })
    .await;
}

/// Answers every request with the way to https, until the gateway accepts no more.
pub(super) async fn redirect(door: TcpListener, to: Origin, draining: watch::Receiver<bool>) {
    let to = Arc::new(to);
    accept(door, Some(draining), move |request| {
        let to = Arc::clone(&to);
        async move { to_https(&request, &to) }
    })
    .await;
}

/// Accepts until `stop` says so, and answers those who have come by then; if nothing can say so, for
/// as long as there is a gateway.
async fn accept<F, A>(door: TcpListener, stop: Option<watch::Receiver<bool>>, answer: F)
where
    F: Fn(Request<Incoming>) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let serve = |stream: TcpStream| {
        // No place: closed at once, rather than held until there is one.
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { return };
        let answer = answer.clone();
        tokio::spawn(async move {
            connection(stream, answer).await;
            drop(place);
        });
    };
    let stopped = async {
        match stop {
            Some(mut stop) => drop(stop.wait_for(|stop| *stop).await),
            None => std::future::pending().await,
        }
    };
    let mut stopped = pin!(stopped);
    loop {
        let accepted = tokio::select! {
            accepted = door.accept() => accepted,
            () = &mut stopped => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(error = %error, "accepting a connection failed");
                tokio::time::sleep(BREATHER).await;
                continue;
            }
        };
        serve(stream);
    }
    for (stream, _) in waiting(door) {
        if let Ok(()) = stream.set_nonblocking(true)
            && let Ok(stream) = TcpStream::from_std(stream)
        {
            serve(stream);
        }
    }
    let all = places.acquire_many(u32::try_from(CONNECTIONS).unwrap_or(u32::MAX));
    let _ended = tokio::time::timeout(LAST_CALL, all).await;
}

async fn connection<F, A>(stream: TcpStream, answer: F)
where
    F: Fn(Request<Incoming>) -> A,
    A: Future<Output = Response<Full<Bytes>>>,
{
    let service = service_fn(|request| {
        let answering = answer(request);
        async move { Ok::<_, Infallible>(answering.await) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(16 * 1024)
        .serve_connection(TokioIo::new(stream), service);
    // However it ends, there is nobody to tell.
    let _ended = tokio::time::timeout(LIFE, serving).await;
}

impl Admin {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        if *request.method() != Method::GET && *request.method() != Method::HEAD {
            return text(StatusCode::METHOD_NOT_ALLOWED, "GET only\n".to_owned());
        }
        match request.uri().path() {
            // Alive is who can say so.
            "/healthz" => text(StatusCode::OK, "ok\n".to_owned()),
            "/readyz" => self.ready().await,
            "/metrics" => {
                let mut response = text(StatusCode::OK, self.metrics());
                let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
                response.headers_mut().insert(CONTENT_TYPE, kind);
                response
            }
            _ => text(StatusCode::NOT_FOUND, "/healthz, /readyz or /metrics\n".to_owned()),
        }
    }

    async fn ready(&self) -> Response<Full<Bytes>> {
        if *self.phase.borrow() == Phase::Draining {
            return text(StatusCode::SERVICE_UNAVAILABLE, "draining\n".to_owned());
        }
        match self.sessions.ready().await {
            Ok(()) => text(StatusCode::OK, "ready\n".to_owned()),
            Err(error) => text(StatusCode::SERVICE_UNAVAILABLE, format!("degraded: {error}\n")),
        }
    }

    fn metrics(&self) -> String {
        let sessions = &self.sessions;
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let gauge = |name, help, value| Sample {
            name,
            help,
            kind: SampleKind::Gauge,
            labels: &[],
            value: number(value),
        };
        let mut samples = vec![
            gauge(
                "sallyport_logins_waiting",
                "Logins that wait for a hashing thread.",
                sessions.logins_waiting(),
            ),
            gauge(
                "sallyport_refreshes_under_way",
                "Refreshes that the store has not answered yet.",
                sessions.refreshes_under_way(),
            ),
            gauge(
                "sallyport_limit_keys",
                "Keys that the attempt limits remember.",
                sessions.limit_keys(),
            ),
            gauge("sallyport_revocations", "Revocations in force.", sessions.revoked().len()),
            Sample {
                name: "sallyport_sights_lost_total",
                help: "First uses of a generation that the store was not told of.",
                kind: SampleKind::Counter,
                labels: &[],
                value: sessions.stats().lost_sights(),
            },
        ];
        samples.push(Sample {
            name: "sallyport_audit_events_lost_total",
            help: "Audit events that are in the log and not in the store.",
            kind: SampleKind::Counter,
            labels: &[],
            value: sessions.audit().lost(),
        });
        samples.extend(self.lines.as_ref().map(|lines| lines.sample()));
        let logins: Vec<_> = sessions.stats().logins().map(outcome).collect();
        let refreshes: Vec<_> = sessions.stats().refreshes().map(outcome).collect();
        let refused: Vec<_> = sessions.limit_refusals().map(by_limit).collect();
        samples.extend(refused.iter().map(|(labels, value)| Sample {
            name: "sallyport_attempts_refused_total",
            help: "Attempts that a limit did not let be heard, by act and by kind of key.",
            kind: SampleKind::Counter,
            labels: labels.as_slice(),
            value: *value,
        }));
        let mints: Vec<_> = sessions.stats().mints().map(outcome).collect();
        let captchas: Vec<_> = sessions.captchas().map(outcome).collect();
        let counters = [
            ("sallyport_captchas_total", "Checks that a person is there, by outcome.", &captchas),
            ("sallyport_logins_total", "Logins by outcome.", &logins),
            ("sallyport_refreshes_total", "Refreshes by outcome and cause.", &refreshes),
            ("sallyport_mints_total", "Requests of apps for a token, by outcome.", &mints),
        ];
        let told: Vec<_> =
            sessions.audit().told().map(|(kind, count)| ([("kind", kind)], count)).collect();
        let counters = counters.into_iter().chain([(
            "sallyport_audit_events_total",
            "Audit events by kind.",
            &told,
        )]);
        for (name, help, counts) in counters {
            let kind = SampleKind::Counter;
            let each = counts.iter().map(|(labels, value)| Sample {
                name,
                help,
                kind,
                labels: labels.as_slice(),
                value: *value,
            });
            samples.extend(each);
        }
        self.registry.render(&samples)
    }
}

fn outcome((label, value): (&'static str, u64)) -> ([(&'static str, &'static str); 1], u64) {
    ([("outcome", label)], value)
}

fn by_limit(
    (act, key, value): (&'static str, &'static str, u64),
) -> ([(&'static str, &'static str); 2], u64) {
    ([("act", act), ("key", key)], value)
}

fn text(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// 308 keeps method and body. The host is the one asked for, if it can be read as one host; else
/// the site's own. Nothing else of the request decides where a client is sent.
fn to_https(request: &Request<Incoming>, to: &Origin) -> Response<Full<Bytes>> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().ok().and_then(split_host_port),
        _ => None,
    };
    let host = host.map_or_else(|| to.host.clone(), |(host, _)| host);
    let target = Origin { https: true, host, port: to.port };
    let Ok(path) = path::canonical(request.uri().path()) else {
        return text(StatusCode::BAD_REQUEST, "the path can be read in more than one way\n".into());
    };
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    let location = format!("{}{path}{query}", target.ascii());
    let mut response = text(StatusCode::PERMANENT_REDIRECT, format!("{location}\n"));
    let headers = response.headers_mut();
    if let Ok(location) = HeaderValue::try_from(location) {
        headers.insert(LOCATION, location);
    }
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

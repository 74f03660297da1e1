//! From a request to an answer. [`Journey::walk`] is the whole path on one screen; each step is a
//! file, and demands what the step before it has made.

mod admit;
mod authenticate;
mod authorize;
mod body;
mod memory;
mod rejected;
mod reply;
mod rewrite;
pub mod route;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use tokio::sync::watch;

use crate::access::CsrfFacts;
use crate::clock::{Clock, Stopwatch};
use crate::config::Config;
use crate::deadline::Deadlines;
use crate::endpoints::Endpoints;
use crate::listen::{Answer, Arrival};
use crate::message::fields::Firewall;
use crate::message::reject::Rejection;
use crate::observe::{CoreBuffer, CoreMetrics, RequestIds};
use crate::session::Sessions;
use crate::token::Keyring;
use crate::upstream::{Outbound, Pool, RequestBody};

use admit::Visit;
pub use body::ReplyBody;
use memory::Memory;
use route::RouteTable;

/// What the cores share: it never changes while they run.
#[derive(Debug)]
pub struct Shared {
    /// The settings.
    pub config: Arc<Config>,
    /// All routes, ready for matching.
    pub routes: RouteTable,
    /// One per upstream.
    pub firewalls: Vec<Firewall>,
    /// Our own answers.
    pub endpoints: Endpoints,
    /// The rules of signing in.
    pub sessions: Arc<Sessions>,
    /// The time.
    pub clock: Clock,
}

/// The path of all requests of one core.
#[derive(Debug)]
pub struct Journey {
    shared: Arc<Shared>,
    keyring: watch::Receiver<Arc<Keyring>>,
    pools: Vec<Rc<Pool>>,
    deadlines: Rc<Deadlines>,
    memory: Memory,
    ids: RequestIds,
    metrics: Arc<CoreMetrics>,
    lines: Option<RefCell<CoreBuffer>>,
    tunnels: RefCell<Vec<std::rc::Weak<authorize::Watched>>>,
    revocations_seen: Cell<u64>,
}

/// What one core brings to its journey.
#[derive(Debug)]
pub struct Parts {
    /// One per upstream, in the order of the config.
    pub pools: Vec<Rc<Pool>>,
    /// The core's deadlines.
    pub deadlines: Rc<Deadlines>,
    /// The core's counters.
    pub metrics: Arc<CoreMetrics>,
    /// The core's access lines, unless there are none.
    pub lines: Option<CoreBuffer>,
    /// Makes request ids.
    pub ids: RequestIds,
}

impl Journey {
    /// The journey of one core.
    pub fn new(shared: Arc<Shared>, parts: Parts) -> Rc<Self> {
        let keyring = shared.sessions.keyring();
        let Parts { pools, deadlines, metrics, lines, ids } = parts;
        Rc::new(Self {
            shared,
            keyring,
            pools,
            deadlines,
            memory: Memory::default(),
            ids,
            metrics,
            lines: lines.map(RefCell::new),
            tunnels: Tunnels::default(),
        })
    }

    /// What a core does now and then, and not per request.
    pub fn housekeeping(&self) {
        if let Some(lines) = &self.lines {
            lines.borrow_mut().flush();
        }
        for (index, pool) in self.pools.iter().enumerate() {
            pool.sweep();
            let (connects, reuses) = pool.take_counts();
            self.metrics.upstream_connections(index, connects, reuses);
        }
        self.tunnels.end_revoked(self.shared.sessions.revoked());
    }

    /// The whole path. Each step returns what the next one needs; an answer before the end is a
    /// [`Stop`].
    async fn walk(
        self: &Rc<Self>,
        head: HeadParts,
        body: Incoming,
        arrival: &Arrival,
        visit: &mut Visit,
    ) -> Result<Response<Content>, Stop> {
        let target = admit::target(&head, visit.secure)?;
        if let Some(endpoint) = self.shared.endpoints.find(&target.path, &head.method)? {
            return self.own(endpoint, &head, body, &target, visit).await;
        }
        let (index, route) = self.route(&target, &head.method)?;
        visit.route = Some(index);
        let credential = self.credential(&route.access, &head, &target, visit).await?;
        let permit = authorize::authorize(&route.access, &credential)?;
        visit.caller = permit.caller().clone();
        let known = rewrite::Known {
            route,
            permit: &permit,
            credential: &credential,
            host: admit::host_value(&target, &head, visit.secure)?,
            path: admit::forwarded_path(&target, &head)?,
        };
        let ready = self.rewrite(head, body, known, arrival, visit)?;
        self.forward(route.upstream, ready, &permit, visit).await
    }

    /// Step 2: host, path and method -> the one route that rules. No match is closed.
    fn route(&self, target: &Target<'_>, method: &Method) -> Result<(usize, &Route), Stop> {
        let find = |path: &str| self.shared.routes.find(&target.host.name, path, method);
        let found = find(&target.path);
        // `/admin;x` is `/admin` to some applications and another path to others. Where the rule
        // would differ, neither reading is ours to choose.
        if let Some(cut) = path::without_parameters(&target.path)
            && find(&cut) != found
        {
            return Err(Rejection::BadPath(PathError::Ambiguous).into());
        }
        let index = found.ok_or(Rejection::NotFound)?;
        let route = self.shared.config.routes.get(index).ok_or(Rejection::NotFound)?;
        Ok((index, route))
    }

    /// Steps 3 and the CSRF guard: who calls, if the route wants to know.
    async fn credential(
        &self,
        access: &Access,
        head: &HeadParts,
        target: &Target<'_>,
        visit: &mut Visit,
    ) -> Result<Credential, Stop> {
        if *access == Access::Public {
            return Ok(Credential::None(Rejection::MissingToken));
        }
        let presented = Presented::read(head, &self.shared.config.cookies);
        let guard = |source| {
            authorize::guard(&self.shared.config.csrf, head, target, visit.secure, source)
        };
        // Before anything is refreshed or spent. On an optional route a cookie that is no good
        // makes a guest, and a guest needs no guard.
        if presented.by_cookie() && matches!(access, Access::Required { .. }) {
            guard(Source::Cookie)?;
        }
        let guarded = guard(Source::Cookie);
        if guarded.is_err() && presented.by_cookie() {
            let known = presented.known(self, visit.now);
            return match known {
                Some(_) => Err(Rejection::CsrfGuard.into()),
                None => Ok(Credential::None(Rejection::MissingToken)),
            };
        }
        Ok(self.authenticate(&presented, visit).await?)
    }

    /// Step 6: to the upstream and back.
    async fn forward(
        self: &Rc<Self>,
        index: usize,
        ready: Rewritten,
        permit: &Permit,
        visit: &mut Visit,
    ) -> Result<Response<Content>, Stop> {
        let pool = self.pools.get(index).ok_or(Rejection::UpstreamUnavailable)?;
        visit.upstream = Some(index);
        let sent = Stopwatch::start();
        let answer = pool.send(ready.outbound, ready.fault.as_ref()).await;
        let elapsed = sent.elapsed();
        visit.upstream_elapsed = Some(elapsed);
        let mut inbound = match answer {
            Ok(inbound) => inbound,
            Err(error) => {
                self.metrics.upstream_error(index);
                tracing::debug!(upstream = %pool.upstream().name, error = %error, "no answer");
                return Err(Rejection::from(error).into());
            }
        };
        self.metrics.upstream_head(index, elapsed);
        if inbound.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(reply::from_upstream(inbound));
        }
        // Nobody asked to switch, or not to WebSocket: what follows would not be HTTP.
        let client = ready.upgrade.ok_or(Rejection::UpstreamBroken)?;
        let upstream = hyper::upgrade::on(&mut inbound);
        let response = reply::switching(&inbound);
        let lease = inbound.into_body();
        let idle = pool.upstream().idle_timeout;
        let stop = self.tunnels.open(permit.caller().identity());
        let tunnel = Tunnel { client, upstream, body: lease, idle };
        tokio::task::spawn_local(upstream::tunnel(tunnel, Rc::clone(&self.deadlines), stop));
        Ok(response)
    }

    /// One access line and one metric, when the answer has been sent.
    fn tell(&self, visit: &Visit, status: u16, bytes: u64) {
        let elapsed = visit.watch.elapsed();
        self.metrics.request(visit.route, status, elapsed, bytes);
        let Some(lines) = &self.lines else { return };
        let config = &self.shared.config;
        let identity = visit.caller.identity();
        let name = |index: Option<usize>| config.routes.get(index?).map(|one| one.name.as_str());
        let upstream = visit.upstream.and_then(|index| config.upstreams.get(index));
        lines.borrow_mut().line(&Line {
            now: visit.now,
            request_id: visit.id,
            client: visit.client,
            protocol: if visit.h2 { "HTTP/2.0" } else { "HTTP/1.1" },
            method: visit.method.as_str(),
            host: visit.host.as_ref().map_or("", SentHost::text),
            path: visit.path.as_ref().map_or("", |path| path.path()),
            status,
            outcome: visit.outcome,
            caller: identity.map(|identity| identity.login.as_str()),
            session: identity.and_then(|identity| identity.session),
            route: name(visit.route),
            upstream: upstream.map(|upstream| upstream.name.as_str()),
            bytes,
            elapsed,
            upstream_elapsed: visit.upstream_elapsed,
        });
    }
}

impl Answer for Journey {
    type Body = ReplyBody;

    /// The wrap: identity, timing, and the turning of any refusal into a response, in one place.
    async fn answer(
        self: Rc<Self>,
        request: Request<Incoming>,
        arrival: Rc<Arrival>,
    ) -> Response<ReplyBody> {
        let (head, body) = request.into_parts();
        let mut visit = Box::new(Visit::new(&head, &arrival, self.shared.clock.now(), self.ids.next()));
        let trusted = &self.shared.config.listen.trusted_proxies;
        if !trusted.is_empty() {
            visit.client = forwarded::client_address(arrival.peer.ip(), &head.headers, trusted);
        }
        let manner = Manner::of(&head, !body.is_end_stream());
        let mut response = match self.walk(head, body, &arrival, &mut visit).await {
            Ok(response) => response,
            Err(Stop::Reject(why)) => self.reject(&why, &manner, &mut visit, None),
            Err(Stop::LogIn(why)) => self.log_in(&why, &manner, &mut visit),
        };
        self.finish(response.headers_mut(), &mut visit);
        let status = response.status().as_u16();
        if visit.outcome != "ok" {
            self.metrics.rejection(visit.outcome);
        }
        let telling = Telling { journey: self, visit, status };
        response.map(|content| ReplyBody::new(content, telling))
    }
}
//! The path of a request, one file a step.

pub mod route;

//! From a request to an answer. `Journey::walk` is the whole path on one screen; each step is a
//! file, and demands what the step before it has made.

mod admit;
mod authenticate;
mod authorize;
mod body;
mod choose;
mod cors;
mod grpc;
mod keep;
mod memory;
mod own;
mod rejected;
mod reply;
mod rewrite;
pub mod route;
mod socket;
mod tunnels;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use http::request::Parts as Head;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use tokio::sync::watch;

use crate::clock::{Clock, Stopwatch, Timestamp};
use crate::config::{Access, Config, Cors, Route, Tls};
use crate::deadline::Deadlines;
use crate::endpoints::{Endpoint, Endpoints};
use crate::message::arrival::Arrival;
use crate::message::fields::Firewall;
use crate::message::forwarded;
use crate::message::incoming::{ClientBody, Switch};
use crate::message::reject::Rejection;
use crate::message::via::Via;
use crate::observe::{CoreBuffer, CoreMetrics, Line, RequestIds};
use crate::session::Sessions;
use crate::token::Keyring;
use crate::upstream::{Ending, Inbound, Pool, Tunnel, tunnel};

use admit::{Asked, SentHost, Target, Visit};
use authenticate::{Credential, Known, Presented, Source};
use authorize::is_grpc;
pub use body::ReplyBody;
use body::{Content, Telling};
use memory::Memory;
use rewrite::{Facts, Rewritten};
use route::RouteTable;
use socket::Socket;
use tunnels::Tunnels;

/// What may become of a request beside `ok` and the labels of rejections, as access lines and
/// metrics name it.
pub const OUTCOMES: [&str; 5] = ["login", "preflight", "upstream_cut", "client_gone", "unreadable"];

/// What the cores share: it never changes while they run.
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
    /// Our name among proxies.
    pub via: Via,
}

/// The path of all requests of one core.
pub struct Journey {
    shared: Arc<Shared>,
    keyring: watch::Receiver<Arc<Keyring>>,
    pools: Vec<Rc<Pool>>,
    deadlines: Rc<Deadlines>,
    memory: Memory,
    ids: RequestIds,
    /// A copy of each core's own: what is cloned counts its clones, and cores would wait for each other
    /// to count.
    hsts: Option<HeaderValue>,
    metrics: Arc<CoreMetrics>,
    lines: Option<RefCell<CoreBuffer>>,
    tunnels: Tunnels,
    /// Held by each tunnel until it has ended; nobody else counts them, for their connections are
    /// not HTTP's any more.
    under_way: Rc<()>,
}

/// What is left to do for a request when nothing more can be done at once.
enum Course {
    /// To this upstream.
    Forward(usize, Rewritten),
    /// The session first.
    Refresh(Box<(Head, ClientBody)>),
    /// It ends here.
    Own(Box<(Endpoint, Head, ClientBody)>),
}

/// Why a request ends before its upstream.
#[derive(Debug)]
enum Stop {
    /// It is refused.
    Reject(Rejection),
    /// Somebody must log in first: the reason that a 401 tells, if it is not led to the login page.
    LogIn(Rejection),
    /// The same, and what was sent is to be kept for afterwards.
    Keep(Box<keep::Held>),
    /// A browser asks whether a foreign page may send a request (Fetch standard, CORS-preflight);
    /// the fields say what it may.
    Preflight(Box<HeaderMap>),
}

impl<E: Into<Rejection>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Reject(error.into())
    }
}

impl Stop {
    fn preflight(cors: Option<&Cors>, head: &Head) -> Self {
        let mut allowed = HeaderMap::new();
        if let Some(cors) = cors {
            cors::tell_preflight(cors, head, &mut allowed);
        }
        Self::Preflight(Box::new(allowed))
    }
}

/// What one core brings to its journey.
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
        let hsts = match &shared.config.tls {
            Tls::Files { hsts: Some(hsts), .. } => HeaderValue::from_bytes(hsts.as_bytes()).ok(),
            _ => None,
        };
        Rc::new(Self {
            shared,
            keyring,
            pools,
            deadlines,
            memory: Memory::default(),
            ids,
            hsts,
            metrics,
            lines: lines.map(RefCell::new),
            tunnels: Tunnels::default(),
            under_way: Rc::default(),
        })
    }

    /// What a core does now and then, and not per request.
    pub fn housekeeping(&self) {
        if let Some(lines) = &self.lines {
            lines.borrow_mut().flush();
        }
        self.pools.iter().for_each(|pool| pool.sweep());
    }

    /// The way to the upstream as far as nothing has to be waited for, and for most requests that is
    /// the whole way: each step returns what the next one needs, and an answer before the end is a
    /// [`Stop`]. Not async, so that a request under way is no larger than what it waits for.
    fn walk(
        self: &Rc<Self>,
        head: Head,
        body: ClientBody,
        arrival: &Arrival,
        visit: &mut Visit,
    ) -> Result<Course, Stop> {
        if arrival.h2 {
            admit::fields(&head, self.shared.config.limits.header_count)?;
        } else if visit.manner.has_body() {
            admit::framing(&head)?;
        }
        let target = admit::target(&head, visit.secure)?;
        if arrival.named.as_ref().is_some_and(|named| !named.serves(&target.host.name)) {
            // RFC 9110 section 7.4: what was promised in the handshake was another host.
            return Err(Rejection::Misdirected.into());
        }
        let preflight = cors::is_preflight(&head);
        if preflight && let Some(endpoint) = self.endpoint_of_preflight(&target, &head) {
            visit.endpoint = Some(endpoint);
            return Err(self.own_preflight(endpoint, &head, visit));
        }
        if let Some(endpoint) = self.shared.endpoints.find(&target.path, &head.method)? {
            visit.endpoint = Some(endpoint);
            if visit.socket.is_some() {
                // A page of ours would be taken for an agreement.
                return Err(Rejection::NotFound.into());
            }
            return Ok(Course::Own(Box::new((endpoint, head, body))));
        }
        let route = match preflight {
            false => self.route(&target, &head.method, visit)?,
            true => self.route_of_preflight(&target, &head, visit)?,
        };
        if route.manners.cors.is_some() {
            visit.origin = cors::origin(&head.headers);
        }
        let mut access = &route.access;
        if preflight {
            if route.manners.forward_preflight {
                access = &Access::Public;
            } else if *access != Access::Public || route.manners.cors.is_some() {
                return Err(Stop::preflight(route.manners.cors.as_ref(), &head));
            }
        }
        match self.credential(access, &head, &target, visit)? {
            Known::Now(credential) => {
                if head.method == Method::OPTIONS && rewrite::max_forwards(&head) == Some(0) {
                    // RFC 9110 section 7.6.2: it was not to go any further than this.
                    return Err(Stop::Preflight(Box::default()));
                }
                let asked = Asked::of(&target, &head, arrival)?;
                let ready =
                    self.prepare((route, access), credential, asked, (head, body), arrival, visit)?;
                Ok(Course::Forward(route.upstream, ready))
            }
            Known::AfterRefresh => Ok(Course::Refresh(Box::new((head, body)))),
        }
    }

    /// The same for a caller whose session has to be refreshed first.
    async fn walk_refreshed(
        self: &Rc<Self>,
        head: Head,
        body: ClientBody,
        arrival: &Arrival,
        visit: &mut Visit,
    ) -> Result<Response<Content>, Stop> {
        let credential = {
            let presented = Presented::read(&head, visit.present, &self.shared.config.cookies);
            self.refresh(&presented, visit).await?
        };
        let no_route = || Rejection::NotFound;
        let route = self.route_at(visit.route).ok_or_else(no_route)?;
        let target = admit::target(&head, visit.secure)?;
        let asked = Asked::of(&target, &head, arrival)?;
        let ruled = (route, &route.access);
        match self.prepare(ruled, credential, asked, (head, body), arrival, visit) {
            Ok(ready) => self.forward(route.upstream, ready, visit).await,
            Err(Stop::Keep(held)) => self.keep(*held, visit).await,
            Err(stop) => Err(stop),
        }
    }

    /// Steps 4 and 5: a permit, and what the upstream will receive.
    fn prepare(
        &self,
        (route, access): (&Route, &Access),
        mut credential: Credential,
        asked: Asked,
        (head, body): (Head, ClientBody),
        arrival: &Arrival,
        visit: &mut Visit,
    ) -> Result<Rewritten, Stop> {
        let max_age = route.manners.max_auth_age;
        let judged = authorize::authorize(access, max_age, &mut credential, visit.now);
        // Who is refused is told who they are, and so is the log.
        visit.caller = match &judged {
            Ok(permit) => permit.caller().clone(),
            Err(_) => credential.caller(),
        };
        let permit = match judged {
            Err(Stop::LogIn(why)) if self.may_keep(&head, visit) => {
                return Err(Stop::Keep(Box::new(keep::Held { why, head, body })));
            }
            judged => judged?,
        };
        visit.path = Some(asked.path.clone());
        let facts = Facts { route, permit: &permit, credential: &credential, asked };
        Ok(self.rewrite(head, body, facts, arrival, visit)?)
    }

    /// Step 3 with the CSRF guard: who calls, if the route wants to know.
    fn credential(
        &self,
        access: &Access,
        head: &Head,
        target: &Target<'_>,
        visit: &Visit,
    ) -> Result<Known, Rejection> {
        let nobody = || Known::Now(Credential::None(Rejection::MissingToken));
        if *access == Access::Public {
            return Ok(nobody());
        }
        let config = &self.shared.config;
        let presented = Presented::read(head, visit.present, &config.cookies);
        // Before anything is refreshed or spent.
        if presented.by_cookie()
            && let Err(unmeant) =
                authorize::guard(&config.csrf, head, target, visit, Source::Cookie)
        {
            // Where guests may come, a cookie that is worth nothing makes a guest, and a guest
            // needs no guard.
            let guest = *access == Access::Optional && !self.counts(&presented, visit.now);
            return if guest { Ok(nobody()) } else { Err(unmeant) };
        }
        Ok(self.authenticate(&presented, visit.now))
    }

    /// Step 6: to the upstream and back.
    async fn forward(
        self: &Rc<Self>,
        index: usize,
        ready: Rewritten,
        visit: &mut Visit,
    ) -> Result<Response<Content>, Stop> {
        let no_pool = || Rejection::Internal("the upstream has no pool".into());
        let pool = self.pools.get(index).ok_or_else(no_pool)?;
        visit.upstream = Some(index);
        let sent = Stopwatch::start();
        let Rewritten { outbound, handshake } = ready;
        let times = self.route_at(visit.route).map_or(&pool.upstream().times, |route| &route.times);
        let answer = pool.send(outbound, times).await;
        let elapsed = sent.elapsed();
        visit.upstream_elapsed = Some(elapsed);
        let inbound = match answer {
            Ok(inbound) => inbound,
            Err(error) => {
                self.metrics.upstream_error(index);
                return Err(error.into());
            }
        };
        self.metrics.upstream_head(index, elapsed);
        if inbound.status() != StatusCode::SWITCHING_PROTOCOLS {
            if visit.socket.is_some() && inbound.status().is_success() {
                // It would be taken for an agreement.
                return Err(Rejection::UpstreamInvalid("it did not switch".into()).into());
            }
            let stop = reply::is_long_stream(&inbound).then(|| {
                Box::pin(self.stop_of(index, is_grpc(inbound.headers()), visit)) as body::Stop
            });
            let mut response = reply::from_upstream(inbound, stop);
            if let Some(route) = self.route_at(visit.route) {
                reply::dress(response.headers_mut(), &route.manners);
            }
            return Ok(response);
        }
        // Nobody asked to switch, or not to WebSocket: what follows would not be HTTP.
        let unasked = || Rejection::UpstreamInvalid("a 101 that nobody asked for".into());
        let handshake = handshake.ok_or_else(unasked)?;
        if !handshake.is_answered(inbound.headers()) {
            let wrong = "its Sec-WebSocket-Accept belongs to another handshake";
            return Err(Rejection::UpstreamInvalid(wrong.into()).into());
        }
        Ok(self.switch(index, handshake.client, inbound, visit))
    }

    /// Leaves HTTP: the two connections become one stream, for as long as its caller may go on.
    fn switch(
        &self,
        index: usize,
        client: Switch,
        inbound: Inbound,
        visit: &Visit,
    ) -> Response<Content> {
        let mut response = reply::switching(&inbound);
        let held = visit.socket.as_ref().and_then(|socket| socket.switched(&mut response));
        let idle = inbound.body().idle_limit();
        let stop = self.stop_of(index, false, visit);
        let ends = Tunnel { client, upstream: inbound.into_body(), idle };
        let (deadlines, under_way) = (Rc::clone(&self.deadlines), Rc::clone(&self.under_way));
        tokio::task::spawn_local(async move {
            tunnel(ends, deadlines, stop).await;
            drop((held, under_way));
        });
        response
    }

    /// Ready when a long stream of this visit must end. `finite`: it ends by itself.
    fn stop_of(
        &self,
        index: usize,
        finite: bool,
        visit: &Visit,
    ) -> impl Future<Output = Ending> + use<> {
        let upstream = self.shared.config.upstreams.get(index);
        let age = upstream.and_then(|upstream| upstream.max_stream_age);
        let identity = visit.caller.identity();
        let until = identity.map_or(tunnels::EVER, |identity| self.lasts_until(identity));
        let open = self.tunnels.open(identity, finite, (age, until), &self.deadlines);
        tunnels::counted(open, Arc::clone(&self.metrics))
    }

    /// The present moment.
    pub fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    /// Ends all streams: the gateway stops.
    pub fn end_streams(&self) {
        self.tunnels.end_all();
    }

    /// Whether a tunnel has not ended yet.
    pub fn has_tunnels(&self) -> bool {
        Rc::strong_count(&self.under_way) > 1
    }

    fn route_at(&self, index: Option<usize>) -> Option<&Route> {
        index.and_then(|index| self.shared.routes.routes().get(index))
    }

    /// One access line and one metric, when the answer has been sent or the client has gone.
    fn tell(&self, visit: &Visit, status: u16, bytes: u64) {
        let elapsed = visit.watch.elapsed();
        self.metrics.request(visit.route, status, elapsed, bytes);
        let Some(lines) = &self.lines else { return };
        let identity = visit.caller.identity();
        let route = self.route_at(visit.route);
        let upstreams = &self.shared.config.upstreams;
        let upstream = visit.upstream.and_then(|index| upstreams.get(index));
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
            route: route.map(|route| route.name.as_str()),
            upstream: upstream.map(|upstream| upstream.name.as_str()),
            bytes,
            elapsed,
            upstream_elapsed: visit.upstream_elapsed,
        });
    }
}

impl Journey {
    /// The wrap: identity, timing, and the turning of any refusal into a response, in one place.
    ///
    /// `switch`: the client's end of the connection (or stream), should it leave HTTP. `send` makes of the response what goes out. (What would wait for it outside would hold all of
    /// this twice: a future that awaits another has it where it was made, and where it is polled.)
    pub fn answer<T>(
        self: Rc<Self>,
        (mut head, body): (Head, ClientBody),
        switch: Option<Switch>,
        arrival: Rc<Arrival>,
        send: impl FnOnce(Response<ReplyBody>) -> T + 'static,
    ) -> impl Future<Output = T> + 'static {
        let socket = if arrival.h2 { Socket::read(&mut head, &arrival) } else { None };
        let (now, id) = (self.shared.clock.now(), self.ids.next());
        let mut visit = Box::new(Visit::new(&self, &head, &body, &arrival, now, id));
        (visit.socket, visit.switch) = (socket, switch);
        let trusted = &self.shared.config.listen.trusted_proxies;
        if !trusted.is_empty() {
            visit.client = forwarded::client_address(arrival.peer.ip(), &head.headers, trusted);
        }
        let course = self.walk(head, body, &arrival, &mut visit);
        async move {
            let result = match course {
                Ok(Course::Forward(index, ready)) => self.forward(index, ready, &mut visit).await,
                // Boxed is what most requests do not do: its room would be part of each of them.
                Ok(Course::Refresh(held)) => {
                    let (head, body) = *held;
                    Box::pin(self.walk_refreshed(head, body, &arrival, &mut visit)).await
                }
                Ok(Course::Own(held)) => {
                    let (endpoint, head, body) = *held;
                    Box::pin(self.own(endpoint, &head, body, &mut visit)).await
                }
                Err(Stop::Keep(held)) => Box::pin(self.keep(*held, &mut visit)).await,
                Err(stop) => Err(stop),
            };
            send(self.conclude(result, visit))
        }
    }

    fn conclude(
        &self,
        result: Result<Response<Content>, Stop>,
        mut visit: Box<Visit>,
    ) -> Response<ReplyBody> {
        let mut response = match result {
            Ok(response) => response,
            Err(Stop::Reject(why)) => self.reject(&why, &mut visit, None),
            Err(Stop::LogIn(why)) => self.log_in(&why, &mut visit),
            Err(Stop::Keep(held)) => self.log_in(&held.why, &mut visit),
            Err(Stop::Preflight(allowed)) => rejected::preflight(*allowed, &mut visit),
        };
        self.finish(response.headers_mut(), &mut visit);
        let status = response.status().as_u16();
        if visit.outcome != "ok" {
            self.metrics.rejection(visit.outcome);
        }
        let telling = Telling { visit, status };
        response.map(|content| ReplyBody::new(content, telling))
    }
}

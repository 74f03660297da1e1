//! The checked settings that say what goes where: upstreams, routes, and what is expected of them.

use std::path::PathBuf;
use std::time::Duration;

use http::Method;
use http::header::HeaderName;

use super::{Algorithm, HostPattern, Manners, Origin, PathPattern, Times};

/// `[[upstream]]`
#[derive(Debug)]
pub struct Upstream {
    /// Named by routes, logs and metrics.
    pub name: String,
    /// At least one.
    pub servers: Servers,
    /// Whether and how its servers are spoken to by TLS.
    pub tls: Option<UpstreamTls>,
    /// Which HTTP they speak.
    pub http: UpstreamHttp,
    /// `Host` as the client sent it, or the server's own.
    pub host: HostPolicy,
    /// Names of the identity headers.
    pub identity: IdentityHeaders,
    /// A signed assertion, if wanted.
    pub assertion: Option<Assertion>,
    /// Client header names with `_` or `.` that this application needs (lower case).
    pub allowed_names: Vec<HeaderName>,
    /// How long it may take, unless a route says otherwise.
    pub times: Times,
    /// Idle connections kept, over all cores.
    pub pool_idle: usize,
    /// An idle connection is closed after this.
    pub pool_idle_timeout: Duration,
    /// Requests under way at once, over all cores; those beyond it wait.
    pub max_in_flight: usize,
    /// How many may wait; beyond it 503.
    pub queue: usize,
    /// How long one may wait; beyond it 503.
    pub queue_wait: Duration,
    /// The oldest that a WebSocket or a stream of events may become.
    pub max_stream_age: Option<Duration>,
}

/// Where an upstream's servers are.
#[derive(Debug, Clone)]
pub enum Servers {
    /// The built-in demonstration application.
    Demo,
    /// One or more `http://host:port`, or `https://host:port`.
    Http(Vec<Server>),
}

/// `upstream.tls`
#[derive(Debug, Clone, Default)]
pub struct UpstreamTls {
    /// PEM file of the authorities to believe; `None`: the system's.
    pub ca: Option<PathBuf>,
    /// The name that the servers must prove; `None`: each its own.
    pub name: Option<String>,
}

/// `upstream.http`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpstreamHttp {
    /// HTTP/1.1.
    One,
    /// HTTP/2, by ALPN or from the first byte on.
    Two,
    /// What ALPN agrees on.
    Auto,
}

/// One server of an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Name or address, as configured.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// `upstream.host`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostPolicy {
    /// The client's, canonical.
    Preserve,
    /// The server's own.
    Server,
}

/// Names under which an upstream learns who calls. `None`: it does not.
#[derive(Debug, Clone)]
pub struct IdentityHeaders {
    /// Login name. Default `x-auth-user`.
    pub user: Option<HeaderName>,
    /// Account id. Default `x-auth-id`.
    pub id: Option<HeaderName>,
    /// Display name. Default none: it makes tokens larger.
    pub name: Option<HeaderName>,
    /// Email. Default none.
    pub email: Option<HeaderName>,
    /// Roles, joined by commas. Default `x-auth-roles`.
    pub roles: Option<HeaderName>,
    /// Permissions, joined by commas. Default `x-auth-permissions`.
    pub permissions: Option<HeaderName>,
    /// Session id. Default `x-auth-session`.
    pub session: Option<HeaderName>,
    /// The app that minted the token. Default `x-auth-app`.
    pub app: Option<HeaderName>,
}

/// `upstream.assertion`: a short signed token that says who called.
#[derive(Debug, Clone)]
pub struct Assertion {
    /// Header that carries it. Default `x-auth-assertion`.
    pub header: HeaderName,
    /// `aud`.
    pub audience: String,
    /// Its life.
    pub ttl: Duration,
    /// ES256 or EdDSA.
    pub algorithm: Algorithm,
}

/// `[[route]]`
#[derive(Debug, Clone)]
pub struct Route {
    /// What logs and metrics call it: the `name` of the file, or its host and path.
    pub name: String,
    /// `None`: any host.
    pub host: Option<HostPattern>,
    /// Which paths.
    pub path: PathPattern,
    /// `None`: any method.
    pub methods: Option<Vec<Method>>,
    /// Who may.
    pub access: Access,
    /// Index into `Config::upstreams`.
    pub upstream: usize,
    /// Bytes of a request body.
    pub body_bytes: u64,
    /// How long the application may take over one of its requests.
    pub times: Times,
    /// What becomes of the fields of its messages.
    pub manners: Manners,
}

/// What a route asks of its caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Anyone; no credential is even looked at.
    Public,
    /// Anyone; a valid credential is made known to the upstream.
    Optional,
    /// A signed-in caller, with all of these.
    Required {
        /// Each must be held.
        permissions: Vec<String>,
        /// One of them must be held; none asked when empty.
        roles: Vec<String>,
    },
}

/// `[[expect]]`: what the routes must do with one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expect {
    /// The request's method.
    pub method: Method,
    /// The site that is asked; `None`: the public one.
    pub origin: Option<Origin>,
    /// Path and query, as a client would send them.
    pub target: String,
    /// Who asks.
    pub caller: ExpectCaller,
    /// What must come of it.
    pub outcome: Outcome,
}

/// `expect.as`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExpectCaller {
    /// Nobody that we know.
    Anonymous,
    /// A signed-in user with exactly these.
    User {
        /// Permissions held.
        permissions: Vec<String>,
        /// Roles held.
        roles: Vec<String>,
    },
}

/// `expect.outcome`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Forwarded by a public route: the upstream learns of nobody.
    Public,
    /// Forwarded, whatever the kind of route.
    Allow,
    /// Asked to sign in.
    Login,
    /// Known, and refused.
    Deny,
    /// No route leads there.
    NoRoute,
}

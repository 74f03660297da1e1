//! The sections that stand once for each application, route and expectation.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Algorithm, Cors, Headers, NameOrOff, Period, Preflight, Size};

/// An application behind us. Stands once for each.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Upstream {
    /// What routes, logs and metrics call it: 1 to 64 letters, digits, `_`, `-`. Each only once.
    pub name: String,
    /// Its servers, as `"http://HOST:PORT"`, or all as `"https://HOST:PORT"`; requests go to them in
    /// turn. `["demo"]` is the
    /// built-in demonstration application, which shows what an application behind the gateway
    /// receives.
    pub servers: Vec<String>,
    /// Which HTTP its servers speak. gRPC needs HTTP/2. Default: `"auto"` over TLS, where both sides
    /// agree on it, else `"1.1"`.
    pub http: Option<UpstreamHttp>,
    /// Whom to believe that they are an `https` server of this upstream.
    #[serde(default)]
    pub tls: UpstreamTls,
    /// Which `Host` it sees.
    #[serde(default = "host")]
    pub host: HostPolicy,
    /// Names of the headers that say who calls; `false`: not told. Whatever a client sends under
    /// these names is always removed.
    #[serde(default)]
    pub identity: Identity,
    /// A signed token that says who calls, for an application that does not trust its network.
    /// Default: none.
    pub assertion: Option<Assertion>,
    /// Names with `_` or `.` of client headers that this application needs; all others of that kind
    /// are removed, since many applications cannot tell `x_auth_user` from `x-auth-user`.
    #[serde(default)]
    pub allowed_names: Vec<String>,
    /// Until the connection stands, `"10ms"` to `"5m"`; beyond it 504.
    #[serde(default = "connect_timeout")]
    #[schemars(extend("x-minimum" = "10ms", "x-maximum" = "5m"))]
    pub connect_timeout: Period,
    /// From the sent request to the head of the response, `"10ms"` to `"1h"`; beyond it 504.
    #[serde(default = "minute")]
    #[schemars(extend("x-minimum" = "10ms", "x-maximum" = "1h"))]
    pub first_byte_timeout: Period,
    /// Between two pieces of a response body, `"10ms"` to `"1d"`; beyond it the response is cut off.
    #[serde(default = "minute")]
    #[schemars(extend("x-minimum" = "10ms", "x-maximum" = "1d"))]
    pub idle_timeout: Period,
    /// The whole exchange, from when a request has its place among those under way to the last byte of
    /// the response, `"10ms"` to `"30d"`; beyond it 504, or the response is cut off. WebSockets are not
    /// meant (`max_stream_age`). Default: any.
    #[schemars(extend("x-minimum" = "10ms", "x-maximum" = "30d"))]
    pub total_timeout: Option<Period>,
    /// Idle connections kept, over all cores, 0 to 100000.
    #[serde(default = "pool_idle")]
    #[schemars(range(max = 100_000))]
    pub pool_idle: u32,
    /// An idle connection is closed after this, up to `"1h"`. Keep it below the time after which the
    /// application closes them itself; the default suits servers that do so after 5 s.
    #[serde(default = "pool_idle_timeout")]
    #[schemars(extend("x-minimum" = "0s", "x-maximum" = "1h"))]
    pub pool_idle_timeout: Period,
    /// Requests under way at once, over all cores, 1 to 1000000; those beyond it wait.
    #[serde(default = "max_in_flight")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_in_flight: u32,
    /// How many requests may wait for their turn, over all cores, 0 to 100000; beyond it 503.
    #[serde(default = "queue")]
    #[schemars(range(max = 100_000))]
    pub queue: u32,
    /// How long a request may wait for its turn, `"10ms"` to `"1m"`; beyond it 503.
    #[serde(default = "queue_wait")]
    #[schemars(extend("x-minimum" = "10ms", "x-maximum" = "1m"))]
    pub queue_wait: Period,
    /// The oldest that a WebSocket, a stream of events or one of gRPC may become, `"1s"` to `"30d"`;
    /// then it is ended, and its client connects again. Default: any age.
    #[schemars(extend("x-minimum" = "1s", "x-maximum" = "30d"))]
    pub max_stream_age: Option<Period>,
}

fn queue() -> u32 {
    256
}

fn queue_wait() -> Period {
    Period::new("5s")
}

#[derive(Deserialize, Serialize, JsonSchema, Clone, Copy)]
pub(in crate::config) enum UpstreamHttp {
    /// HTTP/1.1
    #[serde(rename = "1.1")]
    One,
    /// HTTP/2; without TLS from the first byte on ("prior knowledge")
    #[serde(rename = "2")]
    Two,
    /// what both sides agree on (ALPN); only over TLS
    #[serde(rename = "auto")]
    Auto,
}

#[derive(Deserialize, Serialize, JsonSchema, Default)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct UpstreamTls {
    /// PEM file with the authorities to believe. Default: the system's.
    pub ca: Option<String>,
    /// The name that the servers' certificate must have. Default: the name in each one's URL.
    pub name: Option<String>,
}

fn host() -> HostPolicy {
    HostPolicy::Preserve
}

fn connect_timeout() -> Period {
    Period::new("5s")
}

fn minute() -> Period {
    Period::new("60s")
}

fn pool_idle() -> u32 {
    512
}

fn pool_idle_timeout() -> Period {
    Period::new("4s")
}

fn max_in_flight() -> u32 {
    1024
}

#[derive(Deserialize, Serialize, JsonSchema, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum HostPolicy {
    /// the client's
    Preserve,
    /// the server's own, from its URL
    Server,
}

#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Identity {
    /// Login name.
    pub user: NameOrOff,
    /// Account id.
    pub id: NameOrOff,
    /// Display name. A name here puts it into every access token.
    pub name: NameOrOff,
    /// Email. A name here puts it into every access token.
    pub email: NameOrOff,
    /// Roles, joined by commas.
    pub roles: NameOrOff,
    /// Permissions, joined by commas.
    pub permissions: NameOrOff,
    /// Session id.
    pub session: NameOrOff,
    /// The app that minted the token, if one did.
    pub app: NameOrOff,
}

impl Default for Identity {
    fn default() -> Self {
        let name = |name: &str| NameOrOff::Name(name.to_owned());
        Self {
            user: name("x-auth-user"),
            id: name("x-auth-id"),
            name: NameOrOff::Off(false),
            email: NameOrOff::Off(false),
            roles: name("x-auth-roles"),
            permissions: name("x-auth-permissions"),
            session: name("x-auth-session"),
            app: name("x-auth-app"),
        }
    }
}

#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Assertion {
    /// `aud`: how this application calls itself, 1 to 256 bytes.
    pub audience: String,
    /// Header that carries it.
    #[serde(default = "assertion_header")]
    pub header: String,
    /// Its life, `"1s"` to `"1h"`.
    #[serde(default = "minute")]
    #[schemars(extend("x-minimum" = "1s", "x-maximum" = "1h"))]
    pub ttl: Period,
    /// How it is signed; the public keys are at `/.well-known/jwks.json`.
    #[serde(default = "assertion_algorithm")]
    pub algorithm: AssertionAlgorithm,
}

fn assertion_header() -> String {
    "x-auth-assertion".to_owned()
}

fn assertion_algorithm() -> AssertionAlgorithm {
    AssertionAlgorithm::Es256
}

#[derive(Deserialize, Serialize, JsonSchema, Clone, Copy)]
pub(in crate::config) enum AssertionAlgorithm {
    /// ECDSA on P-256
    #[serde(rename = "ES256")]
    Es256,
    /// Ed25519
    #[serde(rename = "EdDSA")]
    EdDsa,
}

impl From<AssertionAlgorithm> for Algorithm {
    fn from(of: AssertionAlgorithm) -> Self {
        match of {
            AssertionAlgorithm::Es256 => Self::Es256,
            AssertionAlgorithm::EdDsa => Self::EdDsa,
        }
    }
}

/// Which requests go to which application, and who may send them. The most specific route wins
/// (exact host, then wildcard host, then any; a literal segment before `*` before `**`; named
/// methods before any), never the order of the file; two that tie are an error. What no route names
/// is closed.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Route {
    /// What logs and metrics call it, up to 128 characters. Default: its methods, host and path.
    pub name: Option<String>,
    /// `"app.example.org"`, or `"*.example.org"` for any one label before it. Default: any host.
    pub host: Option<String>,
    /// Which paths: literal segments, `*` for any one segment, `**` at the end for all that follows
    /// (`/a/**` is `/a`, `/a/` and all below). A trailing slash counts: `/a/` is not `/a`.
    pub path: String,
    /// Which methods, in capitals; `GET` brings `HEAD` with it. Default: any.
    pub methods: Option<Vec<String>>,
    /// Who may: `"public"`, `"optional"`, `"required"`, or a signed-in caller with all of some
    /// `permissions` and one of some `roles`.
    #[serde(default = "access")]
    pub access: Access,
    /// Name of the upstream. Default: the only one there is.
    pub upstream: Option<String>,
    /// Bytes of a request body, from 0 on; beyond it 413. Default: `limits.body_bytes`.
    pub body_bytes: Option<Size>,
    /// Until a connection to the application stands, `"10ms"` to `"5m"`; beyond it 504. Default: the
    /// upstream's.
    #[schemars(extend("x-minimum" = "10ms", "x-maximum" = "5m"))]
    pub connect_timeout: Option<Period>,
    /// From the sent request to the head of the response, `"10ms"` to `"1h"`; beyond it 504. Default:
    /// the upstream's.
    #[schemars(extend("x-minimum" = "10ms", "x-maximum" = "1h"))]
    pub first_byte_timeout: Option<Period>,
    /// Between two pieces of a response body, `"10ms"` to `"1d"`; beyond it the response is cut off.
    /// Default: the upstream's.
    #[schemars(extend("x-minimum" = "10ms", "x-maximum" = "1d"))]
    pub idle_timeout: Option<Period>,
    /// The whole exchange with the application, `"10ms"` to `"30d"`; beyond it 504, or the response is
    /// cut off. Default: the upstream's.
    #[schemars(extend("x-minimum" = "10ms", "x-maximum" = "30d"))]
    pub total_timeout: Option<Period>,
    /// The oldest login that suffices, `"1s"` to `"400d"`: with an older one a person is asked to
    /// log in again, and a program gets 401 `insufficient_user_authentication`. Default: any age.
    #[schemars(extend("x-minimum" = "1s", "x-maximum" = "400d"))]
    pub max_auth_age: Option<Period>,
    /// Taken off the front of the path before the application sees it: with `"/app"`, `/app/x` is
    /// `/x` there, and `X-Forwarded-Prefix: /app` says so. The route's path must lie below it.
    pub strip_prefix: Option<String>,
    /// Put before the path, after `strip_prefix`: with `"/v2"`, `/x` is `/v2/x` there.
    pub add_prefix: Option<String>,
    /// Which foreign pages may read the answers, refusals among them. Replaces what the application
    /// says of it. Default: that is between the page and the application.
    pub cors: Option<Cors>,
    /// Who answers a browser that asks whether a foreign page may send a request.
    #[serde(default)]
    pub preflight: Preflight,
    /// Fields that are taken out of messages or put into them.
    #[serde(default)]
    pub headers: Headers,
    /// Whether answers that lack them get `X-Content-Type-Options: nosniff`, `Referrer-Policy:
    /// strict-origin-when-cross-origin`, `X-Frame-Options: SAMEORIGIN` (unless the route is public
    /// or `cookies.same_site` is `"none"`), and `Strict-Transport-Security` if `tls.hsts` says so.
    #[serde(default = "yes")]
    pub security_headers: bool,
}

fn yes() -> bool {
    true
}

fn access() -> Access {
    Access::Named(AccessNamed::Required)
}

#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub(in crate::config) enum Access {
    Named(AccessNamed),
    Holding(Holding),
}

#[derive(Deserialize, Serialize, JsonSchema, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum AccessNamed {
    /// anyone; the application learns of nobody
    Public,
    /// anyone; the application learns who it is, if anybody is signed in
    Optional,
    /// anyone who is signed in
    Required,
}

#[derive(Deserialize, Serialize, JsonSchema, Default)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Holding {
    /// Each of these: asked for by a route, held by who asks in an expectation.
    pub permissions: Vec<String>,
    /// One of these is asked for by a route; each is held by who asks in an expectation.
    pub roles: Vec<String>,
}

/// A test of the routes: what must come of one request. Checked for form only as yet.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Expect {
    /// Method and path, or method and whole URL: `"GET /admin/users"`.
    pub request: String,
    /// Who asks: `"anonymous"`, `"user"` for someone signed in who holds nothing, or someone who
    /// holds exactly some `permissions` and `roles`.
    #[serde(default = "anonymous")]
    pub r#as: ExpectAs,
    /// What must come of it.
    pub outcome: Outcome,
}

fn anonymous() -> ExpectAs {
    ExpectAs::Named(ExpectNamed::Anonymous)
}

#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub(in crate::config) enum ExpectAs {
    Named(ExpectNamed),
    Holding(Holding),
}

#[derive(Deserialize, Serialize, JsonSchema, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum ExpectNamed {
    /// nobody
    Anonymous,
    /// someone signed in
    User,
}

#[derive(Deserialize, Serialize, JsonSchema, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum Outcome {
    /// forwarded by a public route
    Public,
    /// forwarded
    Allow,
    /// asked to sign in
    Login,
    /// refused, though signed in
    Deny,
    /// no route leads there
    NoRoute,
}

//! The checked settings: what `gateway.toml` means, in types in which the wrong thing cannot be
//! written.

mod attempts;
mod captcha;
mod characters;
mod check;
mod claims;
mod endpoint;
mod error;
mod file;
mod filter;
mod limits;
mod manners;
mod origin;
mod pages;
mod pattern;
mod reference;
mod routes;
mod shape;
mod store;
mod template;
mod times;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::header::{HeaderName, HeaderValue};
use ipnet::IpNet;

pub use attempts::{Act, Attempts, PerAct, Quota, Quotas};
pub use captcha::{Captcha, CaptchaWhen, Verifier, Widget};
pub use characters::Characters;
pub use claims::ClaimsProfile;
pub use endpoint::{CAPTCHA, Endpoint, Row, TOKENS};
pub use error::{ConfigError, Problem};
pub use filter::{BadFilter, log_filter};
pub use limits::Limits;
pub use manners::{Changes, Cors, CorsOrigins, Manners, Mapping};
pub use origin::{Origin, split_host_port};
pub use pages::Pages;
pub use pattern::{BadPattern, HostPattern, PathPattern, Segment};
pub use reference::{reference, schema_json};
pub use routes::{
    Access, Assertion, Expect, ExpectCaller, HostPolicy, IdentityHeaders, Outcome, Route, Server,
    Servers, Upstream, UpstreamHttp, UpstreamTls,
};
pub use shape::{Errors, FieldNames, REASONS, Shape, Shapes};
pub use store::{BadStoreUrl, Store, StoreUrl};
pub use template::{Filled, Piece, Template, Values};
pub use times::Times;

use crate::secret::Secret;

/// Everything the gateway was told, checked.
#[derive(Debug)]
pub struct Config {
    /// Addresses and the site's own name.
    pub listen: Listen,
    /// The certificate that clients see.
    pub tls: Tls,
    /// Where users, sessions and keys are kept.
    pub store: Store,
    /// Lifetimes and the refresh style.
    pub session: Session,
    /// Names and attributes of our cookies.
    pub cookies: Cookies,
    /// How tokens are signed.
    pub token: Tokens,
    /// Our own endpoints and the fields of a login.
    pub login: Login,
    /// What our own endpoints look like to clients.
    pub shapes: Shapes,
    /// How passwords are hashed and what is accepted as one.
    pub password: Password,
    /// How our own pages look.
    pub pages: Pages,
    /// What proves that a cookie-borne request was meant.
    pub csrf: Csrf,
    /// How often strangers may guess.
    pub attempts: Attempts,
    /// The check that a person is there, if there is one.
    pub captcha: Option<Captcha>,
    /// What one connection or request may cost.
    pub limits: Limits,
    /// The applications behind us.
    pub upstreams: Vec<Arc<Upstream>>,
    /// The routes, in the order of the file.
    pub routes: Vec<Route>,
    /// What is logged and where.
    pub log: Log,
    /// How long the record of what happened is kept.
    pub audit: Audit,
    /// The policy's own tests, in the order of the file.
    pub expects: Vec<Expect>,
    /// What is allowed and yet hardly meant. To be shown at start and by `check`.
    pub warnings: Vec<Problem>,
}

impl Config {
    /// Reads and checks the file at `path`. Relative paths within it start at its own folder, so
    /// that every command finds the same data whatever folder it is called from.
    ///
    /// # Errors
    /// The file is missing or unreadable, or all that is wrong with it at once.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::parse(&file::read(path)?, path)
    }

    /// Checks `text` as if it stood in the file at `path`.
    ///
    /// # Errors
    /// All that is wrong with it at once: unknown keys, wrong types and wrong values together. Errors
    /// of TOML's syntax stand alone, since nobody can tell what the rest means.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let wrong = |problems| ConfigError::Wrong { path: path.to_owned(), problems };
        let (file, lines, strange) = file::parse(text).map_err(wrong)?;
        let base = path.parent().unwrap_or(Path::new(""));
        check::check(file, lines, strange, base).map_err(wrong)
    }
}

/// `[listen]`
#[derive(Debug, Clone)]
pub struct Listen {
    /// The TLS listener.
    pub https: Option<SocketAddr>,
    /// Answers only with the way to https.
    pub http: Option<SocketAddr>,
    /// Health, readiness and metrics; never on the public listener.
    pub admin: Option<SocketAddr>,
    /// The whole gateway without TLS, on loopback only, for development.
    pub dev_http: Option<SocketAddr>,
    /// The site's own name: issuer, links, "same origin".
    pub public_url: Origin,
    /// Peers whose `X-Forwarded-*` and `Forwarded` are believed. Empty: nobody's.
    pub trusted_proxies: Vec<IpNet>,
    /// Peers that say by the PROXY protocol for whom they speak, and must say it.
    pub proxy_protocol: Vec<IpNet>,
    /// Runtimes that serve requests, one per core. Default: the number of cores.
    pub cores: NonZeroUsize,
    /// How long accepting goes on after the signal to stop, while readiness says 503.
    pub drain_delay: Duration,
    /// How long running requests may go on after the signal to stop.
    pub drain_timeout: Duration,
}

/// `[tls]`
#[derive(Debug, Clone)]
pub enum Tls {
    /// A certificate for `localhost` is made in this folder when it is missing.
    Development {
        /// Usually `certs`.
        folder: PathBuf,
    },
    /// The operator's own.
    Files {
        /// Certificate (PEM, the leaf first) and key (PEM: PKCS#8, SEC1 or PKCS#1); at least one
        /// pair, of which the first is for whoever names no host.
        pairs: Vec<(PathBuf, PathBuf)>,
        /// Whether a host that no certificate has ends the handshake.
        refuse_unknown: bool,
        /// Nothing older than TLS 1.3.
        only_13: bool,
        /// `Strict-Transport-Security`, if it is told.
        hsts: Option<HeaderValue>,
    },
}

/// `[session]`
#[derive(Debug, Clone)]
pub struct Session {
    /// Life of an access token, before the jitter shortens it.
    pub access_ttl: Duration,
    /// Absolute life of a session from its login on.
    pub refresh_ttl: Duration,
    /// A session that was not refreshed for this long has ended.
    pub idle_ttl: Duration,
    /// How long after a rotation its predecessor is answered with the same successor.
    pub reuse_grace: Duration,
    /// Whether a refresh spends its token. Off only for clients that cannot replace it.
    pub rotate: bool,
    /// Who refreshes.
    pub refresh: RefreshStyle,
    /// Up to this share (in percent) of `access_ttl` is taken off at random, so that expiries
    /// spread.
    pub jitter_percent: u8,
}

/// `session.refresh`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefreshStyle {
    /// The gateway refreshes in passing; clients need to know nothing.
    Silent,
    /// Only `POST <base>/refresh` does.
    Explicit,
    /// Nobody: there are no refresh tokens, and `refresh_ttl` and `idle_ttl` are `access_ttl`.
    Off,
}

/// `[cookies]`
#[derive(Debug, Clone)]
pub struct Cookies {
    /// The access cookie's whole name, prefix included.
    pub access: String,
    /// The refresh cookie's whole name, prefix included.
    pub refresh: String,
    /// The device cookie's whole name; `None`: browsers that have logged in before are not known.
    pub device: Option<String>,
    /// A cookie that may carry minted tokens. `None`: they are taken as Bearer only.
    pub minted: Option<String>,
    /// `Path` of the refresh cookie: `/` or the base path.
    pub refresh_path: String,
    /// Shares one login among the hosts below it.
    pub domain: Option<String>,
    /// `SameSite`.
    pub same_site: SameSite,
    /// `Secure`; off only on the plain development listener.
    pub secure: bool,
}

/// `cookies.same_site`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SameSite {
    /// Sent with navigations from elsewhere too.
    Lax,
    /// Sent with nothing from elsewhere.
    Strict,
    /// Always sent; for apps inside foreign frames.
    None,
}

/// `[token]`
#[derive(Debug, Clone)]
pub struct Tokens {
    /// `iss`. Default: `public_url`.
    pub issuer: String,
    /// `aud` of access tokens. Default: `public_url`.
    pub audience: String,
    /// How access tokens are signed. Refresh tokens are always HMAC: only we verify them.
    pub algorithm: Algorithm,
    /// Where the master secret comes from.
    pub keys: KeySource,
    /// A new key is made when the newest is older than this.
    pub rotate_every: Duration,
    /// `sub` only, or also `name` and `email` (they are put into the token only when a configured
    /// upstream asks for them, for the identity headers come from the token).
    pub profile_claims: bool,
    /// Which claims access tokens have, and under which names. `None`: all, under our own.
    pub claims: Option<ClaimsProfile>,
    /// What is minted for apps.
    pub minted: Minted,
}

/// `[token.minted]`
#[derive(Debug, Clone)]
pub struct Minted {
    /// `aud`. Default: that of access tokens, and `/minted`.
    pub audience: String,
    /// How they are signed. Default: as access tokens are.
    pub algorithm: Algorithm,
    /// Their life unless the app asks for another.
    pub ttl: Duration,
    /// The longest life that an app may ask for. Default: `ttl`.
    pub max_ttl: Duration,
    /// Which claims they have, and under which names. `None`: all, under our own.
    pub claims: Option<ClaimsProfile>,
    /// What upstreams are told as the name of an app's user.
    pub names: MintedNames,
}

/// `token.minted.names`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MintedNames {
    /// `app/user`, which no account of our own can be called.
    WithApp,
    /// What the app calls its user: for sites without accounts of their own.
    Bare,
}

/// A signature algorithm (RFC 7518 section 3.1, RFC 8037).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// HMAC with SHA-256.
    Hs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

/// `token.keys`
#[derive(Debug, Clone)]
pub enum KeySource {
    /// Made on first start, kept in the store, rotated.
    Store,
    /// One master secret from a file or an environment variable; the operator rotates it.
    Fixed(Secret<Vec<u8>>),
}

/// `[login]`
#[derive(Debug, Clone)]
pub struct Login {
    /// Base path of our endpoints, canonical, without a trailing slash. Default `/auth`.
    pub base: String,
    /// Field of the login body that names the account.
    pub identifier_field: String,
    /// Field of the login body that holds the secret.
    pub secret_field: String,
    /// How names are compared.
    pub case: NameCase,
    /// Whether the cookies of a login outlive the browser's run.
    pub remember: Remember,
    /// Hosts other than the request's own to which a login may lead back.
    pub return_hosts: Vec<String>,
    /// The name that the login page shows.
    pub site_name: String,
    /// Whether anybody may make an account.
    pub signup: bool,
    /// What a name may consist of that people choose for themselves; `None`: all that can be seen.
    pub name_characters: Option<Characters>,
    /// Names, as `login_key` compares them, that only the operator may give.
    pub reserved_names: Vec<String>,
}

/// `login.remember`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remember {
    /// As the login says.
    Ask,
    /// They do.
    Always,
    /// They do not.
    Never,
}

/// `login.case`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameCase {
    /// `Ada` and `ada` are one account.
    Fold,
    /// They are two.
    Exact,
}

/// `[password]`
#[derive(Debug, Clone)]
pub struct Password {
    /// Argon2id memory, KiB.
    pub memory_kib: u32,
    /// Argon2id passes.
    pub iterations: u32,
    /// Argon2id lanes.
    pub parallelism: u32,
    /// Threads that hash. Memory used is at most this times `memory_kib`.
    pub threads: NonZeroUsize,
    /// Logins that may wait for a thread; beyond it 503.
    pub queue: usize,
    /// How long a login may wait for a thread; beyond it 503.
    pub wait: Duration,
    /// Most bytes of any secret, new or presented.
    pub max_length: usize,
    /// `login.secret.kind`
    pub kind: SecretKind,
    /// `login.secret.min_length`: fewest characters of a new secret.
    pub min_length: usize,
    /// Which secrets are refused because everybody tries them first.
    pub blocklist: Blocking,
}

/// `login.secret.kind`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretKind {
    /// Any printable characters.
    Password,
    /// Digits only.
    Pin,
}

/// `login.secret.blocklist` and `password.blocklist`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Blocking {
    /// None are.
    Off,
    /// Those on the list that is compiled in.
    BuiltIn,
    /// Those in this file too.
    And(PathBuf),
}

/// `[csrf]`
#[derive(Debug, Clone)]
pub struct Csrf {
    /// Signals that count, any one of them.
    pub signals: Vec<CsrfSignal>,
    /// Foreign origins that may send cookie-borne requests.
    pub allowed_origins: Vec<Origin>,
    /// Whether the custom header outweighs a foreign `Origin`.
    pub header_suffices: bool,
    /// Whether a request that carries no signal at all passes.
    pub unmarked_passes: bool,
    /// Whether safe methods need a signal too.
    pub safe_methods: bool,
    /// 403, or 401 for sites that promise so.
    pub status: http::StatusCode,
}

/// One proof that a cookie-borne request was meant by our own pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CsrfSignal {
    /// `Origin` equal to the origin of this request's host, or allow-listed.
    Origin,
    /// `Origin` on the allow-list.
    AllowedOrigin,
    /// `Sec-Fetch-Site: same-origin`.
    FetchSite,
    /// A custom header with its exact value, which a foreign page cannot set without a preflight.
    Header {
        /// Usually `x-requested-with`.
        name: HeaderName,
        /// Compared byte for byte.
        value: HeaderValue,
    },
}

/// `[audit]`
#[derive(Debug, Clone)]
pub struct Audit {
    /// How long an event is kept.
    pub keep: Duration,
    /// Events kept at most.
    pub max_rows: u64,
}

/// `[log]`
#[derive(Debug, Clone)]
pub struct Log {
    /// Filter of the diagnostic log, as `tracing` directives. Default `info`.
    pub level: String,
    /// Form of both logs.
    pub format: LogFormat,
    /// Where access lines go.
    pub access: AccessLog,
}

/// `log.format`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One line of `key=value` for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// `log.access`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessLog {
    /// No access lines.
    Off,
    /// Standard output.
    Stdout,
    /// Appended to a file.
    File(PathBuf),
}

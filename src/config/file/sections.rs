//! The sections that stand once in the file. The doc comment of a field is its reference text: the
//! meaning, then the default where it is not a plain value, then the extremes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::accounts::{LoginSecret, reserved_names};
use super::{AccessClaims, Minted, NameOrOff, Period, SecretRef};

/// Where the gateway listens, and the site's own name. At least one of `https` and `dev_http`.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Listen {
    /// Address and port of the TLS listener, such as `"0.0.0.0:8443"`. Default: closed.
    pub https: Option<String>,
    /// Address and port of a plain listener that answers only with the way to `https`. Default:
    /// closed.
    pub http: Option<String>,
    /// Address and port of health, readiness and metrics, which are never on the public listener.
    /// Default: closed.
    pub admin: Option<String>,
    /// Loopback address and port on which the whole gateway runs without TLS, for development.
    /// Cookies then lose their prefix and `Secure`, and the gateway says so at start. Not together
    /// with `https` or `http`. Default: closed.
    pub dev_http: Option<String>,
    /// The site's own name, as a browser shows it: issuer of tokens, base of links, the meaning of
    /// "same origin". A whole origin without a path. Default: `https://localhost:PORT` with the
    /// development certificate, `http://localhost:PORT` on `dev_http`; else it must be set.
    pub public_url: Option<String>,
    /// Networks (`"10.0.0.0/8"`) or addresses of proxies before us, whose `Forwarded` and
    /// `X-Forwarded-*` are believed. Default: nobody's are.
    pub trusted_proxies: Vec<String>,
    /// Networks or addresses of load balancers that begin each connection with a PROXY header (v1
    /// or v2), which says who the client is. From them it must come; from others it is an error.
    pub proxy_protocol: Vec<String>,
    /// Runtimes that serve requests, 1 to 1024. Default: one per core of the machine.
    #[schemars(range(min = 1, max = 1024))]
    pub cores: Option<u32>,
    /// How long accepting goes on after the signal to stop, up to `"10m"`, while `/readyz` says 503: a
    /// load balancer needs some seconds to hear of it.
    #[schemars(extend("x-minimum" = "0s", "x-maximum" = "10m"))]
    pub drain_delay: Period,
    /// How long running requests may go on after that, up to `"1h"`. `"0s"` cuts them
    /// off.
    #[schemars(extend("x-minimum" = "0s", "x-maximum" = "1h"))]
    pub drain_timeout: Period,
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            https: None,
            http: None,
            admin: None,
            dev_http: None,
            public_url: None,
            trusted_proxies: Vec::new(),
            proxy_protocol: Vec::new(),
            cores: None,
            drain_delay: Period::new("0s"),
            drain_timeout: Period::new("30s"),
        }
    }
}

/// The certificate that clients see. Without this section a development certificate for
/// `localhost` is made in `certs/`.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Tls {
    /// PEM file with the certificate chain, the leaf first.
    pub certificate: String,
    /// PEM file with its private key: PKCS#8, SEC1 or PKCS#1.
    pub key: String,
    /// Further certificates, each with its key, chosen by the host that a client names: one that has
    /// it exactly before one with a wildcard.
    #[serde(default)]
    pub more: Vec<TlsPair>,
    /// What becomes of a client that names no host, or one that no certificate has.
    #[serde(default)]
    pub unknown_host: UnknownHost,
    /// The oldest TLS that is spoken.
    #[serde(default)]
    pub min_version: TlsVersion,
    /// How long browsers shall use nothing but https for the site's hosts
    /// (`Strict-Transport-Security`), up to `"800d"`; `"0s"`: not told. Never told with the
    /// development certificate.
    #[serde(default = "hsts")]
    #[schemars(extend("x-minimum" = "0s", "x-maximum" = "800d"))]
    pub hsts: Period,
}

#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct TlsPair {
    /// PEM file with the certificate chain, the leaf first.
    pub certificate: String,
    /// PEM file with its private key.
    pub key: String,
}

#[derive(Deserialize, Serialize, JsonSchema, Clone, Copy, Default)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum UnknownHost {
    /// it sees the first certificate
    #[default]
    Default,
    /// its handshake ends
    Refuse,
}

#[derive(Deserialize, Serialize, JsonSchema, Clone, Copy, Default)]
pub(in crate::config) enum TlsVersion {
    /// TLS 1.2 with forward secrecy and AEAD ciphers only
    #[default]
    #[serde(rename = "1.2")]
    OneTwo,
    /// TLS 1.3
    #[serde(rename = "1.3")]
    OneThree,
}

fn hsts() -> Period {
    Period::new("365d")
}

/// Lifetimes, and who refreshes.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Session {
    /// Life of an access token, `"1s"` to `"31d"`. It is checked without the store, so a longer one
    /// means more revocations kept in memory and older roles in use.
    #[schemars(extend("x-minimum" = "1s", "x-maximum" = "31d"))]
    pub access_ttl: Period,
    /// Life of a session from its login on, however busy it is; `access_ttl` to `"400d"`, beyond
    /// which browsers cut cookies off.
    #[schemars(extend("x-minimum" = "1s", "x-maximum" = "400d"))]
    pub refresh_ttl: Period,
    /// A session that was not refreshed for this long has ended; from `access_ttl` to
    /// `refresh_ttl`. Default: `"7d"`, or `refresh_ttl` if that is less.
    pub idle_ttl: Option<Period>,
    /// How long after a rotation the spent refresh token is answered with the same successor, for
    /// second tabs and lost responses; later it is taken for theft. At most half of `access_ttl`.
    /// Default: `"30s"`, or half of `access_ttl` if that is less.
    pub reuse_grace: Option<Period>,
    /// Whether a refresh spends its token. `false` is only for clients that cannot replace it: a
    /// stolen token then works, unseen, as long as the session.
    pub rotate: bool,
    /// Who refreshes.
    pub refresh: RefreshStyle,
    /// Up to this share of `access_ttl`, in percent, is taken off at random, so that expiries
    /// spread. 0 to 50.
    #[schemars(range(max = 50))]
    pub jitter: u8,
}

impl Default for Session {
    fn default() -> Self {
        Self {
            access_ttl: Period::new("5m"),
            refresh_ttl: Period::new("30d"),
            idle_ttl: None,
            reuse_grace: None,
            rotate: true,
            refresh: RefreshStyle::Silent,
            jitter: 5,
        }
    }
}

#[derive(Deserialize, Serialize, JsonSchema, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum RefreshStyle {
    /// the gateway, in passing: clients need to know nothing
    Silent,
    /// only `POST <base>/refresh`
    Explicit,
    /// nobody: there are no refresh tokens, and a session is over with its access token, whatever
    /// `refresh_ttl` and `idle_ttl` say
    Off,
}

/// Names and attributes of the gateway's cookies. Always `HttpOnly`, and `Secure` but on
/// `dev_http`.
#[derive(Deserialize, Serialize, JsonSchema, Default)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Cookies {
    /// Whole name of the access cookie. Default: `__Host-sallyport_access`; with `domain`
    /// `__Secure-sallyport_access`.
    pub access: Option<String>,
    /// Whole name of the refresh cookie. Default: `__Host-sallyport_refresh`; with `domain` or the
    /// explicit refresh style, whose cookie goes to `<base>` only, `__Secure-sallyport_refresh`.
    pub refresh: Option<String>,
    /// Whole name of the device cookie, by which a browser that has logged in before has guesses of
    /// its own (`attempts.per_device`); `false` for none. It outlives sessions and opens nothing.
    /// Default: `__Host-sallyport_device`; with `domain` `__Secure-sallyport_device`.
    pub device: Option<NameOrOff>,
    /// Whole name of a cookie that may carry a minted token, for sites that hand their users one.
    /// The gateway reads it when there is neither a Bearer token nor a cookie of a session, and
    /// never sets it. Default: minted tokens are taken as Bearer only.
    pub minted: Option<String>,
    /// Shares one login among this domain and all hosts below it; must hold the host of
    /// `listen.public_url`. Never a public suffix such as `co.uk`. Default: each host has a login of
    /// its own.
    pub domain: Option<String>,
    /// When browsers send the cookies along with requests that come from elsewhere.
    pub same_site: SameSite,
}

#[derive(Deserialize, Serialize, JsonSchema, Clone, Copy, Default)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum SameSite {
    /// with navigations
    #[default]
    Lax,
    /// never: a link from elsewhere finds nobody signed in
    Strict,
    /// always: for apps inside foreign frames
    None,
}

/// How tokens are signed.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Token {
    /// `iss` of all tokens, 1 to 256 bytes. Default: `listen.public_url`.
    pub issuer: Option<String>,
    /// `aud` of access tokens, 1 to 256 bytes. Default: `listen.public_url`.
    pub audience: Option<String>,
    /// How access tokens are signed. Refresh tokens are always HMAC: only the gateway reads them.
    pub algorithm: Algorithm,
    /// Where the keys come from: made on first start, kept in the store and rotated, or derived
    /// from one secret of at least 32 bytes that the operator keeps and rotates.
    pub keys: Keys,
    /// A new key is made when the newest is older than this, `"1m"` to `"400d"`. Older keys go on
    /// verifying until their last token has expired.
    #[schemars(extend("x-minimum" = "1m", "x-maximum" = "400d"))]
    pub rotate_every: Period,
    /// Exactly these claims are in access tokens, each under the name that is given here:
    /// `{ sub = "id", iat = "iat", exp = "exp", sid = "sid" }`. `sub`, `iat`, `exp` and `sid` are
    /// needed; what is lost without another is said there. A change ends no session: tokens of
    /// before are refreshed. Default: all claims, under their own names.
    pub claims: Option<AccessClaims>,
    /// Tokens that apps mint for their users.
    pub minted: Minted,
}

impl Default for Token {
    fn default() -> Self {
        Self {
            issuer: None,
            audience: None,
            algorithm: Algorithm::Hs256,
            keys: Keys::Named(KeysNamed::Store),
            rotate_every: Period::new("30d"),
            claims: None,
            minted: Minted::default(),
        }
    }
}

#[derive(Deserialize, Serialize, JsonSchema, Clone, Copy)]
pub(in crate::config) enum Algorithm {
    /// HMAC with SHA-256: the fastest, for tokens that only gateways verify
    #[serde(rename = "HS256")]
    Hs256,
    /// ECDSA on P-256: others may verify with the public keys at `/.well-known/jwks.json`
    #[serde(rename = "ES256")]
    Es256,
    /// Ed25519: likewise
    #[serde(rename = "EdDSA")]
    EdDsa,
}

#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub(in crate::config) enum Keys {
    Named(KeysNamed),
    Secret(SecretRef),
}

#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum KeysNamed {
    /// made on first start and kept in the store
    Store,
}

/// The gateway's own endpoints and the fields of a login.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Login {
    /// Path below which the gateway's own endpoints are, on every host; never `/` itself. Routes at
    /// or below it are never asked.
    pub base: String,
    /// Field of a login body that names the account. 1 to 64 letters, digits, `_`, `-`, `.`.
    pub identifier_field: String,
    /// Field of a login body that holds the secret; likewise.
    pub secret_field: String,
    /// How account names are compared.
    pub case: NameCase,
    /// Whether the cookies of a login outlive the browser's run.
    pub remember: Remember,
    /// Hosts (`host` or `host:port`) other than the request's own to which a login may lead back. List
    /// also a host to which the application itself sends a browser on right after a login: without
    /// script, Chromium holds the whole way against the login page's `form-action`, and stays there.
    pub return_hosts: Vec<String>,
    /// The name that the login page shows, up to 100 characters. Default: the host of
    /// `listen.public_url`.
    pub site_name: Option<String>,
    /// Whether anybody may make an account, at `<base>/signup`. Otherwise accounts are made by the
    /// operator, and by the links that `sallyport user invite` makes.
    pub signup: bool,
    /// What a name may consist of that people choose for themselves: single characters and ranges
    /// such as `"A-Za-z0-9_-"`, where a `-` at an edge is itself. Default: all that can be seen.
    pub name_characters: Option<String>,
    /// Names that nobody may choose who makes an account of their own. The operator may.
    pub reserved_names: Vec<String>,
    /// What a new secret must be like.
    pub secret: LoginSecret,
}

impl Default for Login {
    fn default() -> Self {
        Self {
            base: "/auth".to_owned(),
            identifier_field: "username".to_owned(),
            secret_field: "password".to_owned(),
            case: NameCase::Fold,
            remember: Remember::Ask,
            return_hosts: Vec::new(),
            site_name: None,
            signup: false,
            name_characters: None,
            reserved_names: reserved_names(),
            secret: LoginSecret::default(),
        }
    }
}

#[derive(Deserialize, Serialize, JsonSchema, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum NameCase {
    /// `Ada` and `ada` are one account
    Fold,
    /// they are two
    Exact,
}

#[derive(Deserialize, Serialize, JsonSchema, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum Remember {
    /// as the field `remember` of the login says; without it they do not
    Ask,
    /// they do, as long as the tokens in them
    Always,
    /// they do not
    Never,
}

/// What is logged, and where.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Log {
    /// Filter of the diagnostic log: a level, or directives such as `"info,sallyport=debug"`. What the
    /// library for HTTP/2 says of its clients' frames is told to `"info,h2=debug"` alone.
    pub level: String,
    /// Form of the diagnostic log and of access lines.
    pub format: LogFormat,
    /// Where access lines go, one for each request: `"stdout"`, `"off"`, or `{ file = "PATH" }`.
    pub access: AccessLog,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            format: LogFormat::Text,
            access: AccessLog::Named(AccessLogNamed::Stdout),
        }
    }
}

#[derive(Deserialize, Serialize, JsonSchema, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum LogFormat {
    /// one line of `key=value`, for people
    Text,
    /// one JSON object a line, for programs
    Json,
}

#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub(in crate::config) enum AccessLog {
    Named(AccessLogNamed),
    File(AccessLogFile),
}

#[derive(Deserialize, Serialize, JsonSchema, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum AccessLogNamed {
    /// standard output
    Stdout,
    /// none
    Off,
}

#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct AccessLogFile {
    /// A file that lines are appended to.
    pub file: String,
}

//! The one table from what went wrong to what the client is told. `docs/STATUS.md` says the same to
//! people, and a test compares the two.

use std::borrow::Cow;
use std::error::Error;
use std::time::Duration;

use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::body::ReadError;
use super::form::BodyError;
use super::host::HostError;
use super::path::PathError;

/// A cause, for the log only.
pub type Cause = Box<dyn Error + Send + Sync>;

/// Why a request is not answered by what it asked for. `Display` is for the log; what the client
/// may learn is [`Rejection::answer`].
#[derive(Debug, thiserror::Error)]
pub enum Rejection {
    /// The route would depend on whether `;` ends a segment, and applications differ in that.
    #[error("the path's parameters would change its route")]
    AmbiguousPath,
    /// The path has no canonical form.
    #[error("bad path")]
    BadPath(#[from] PathError),
    /// The host cannot be read.
    #[error("bad host")]
    BadHost(#[from] HostError),
    /// Where the request ends cannot be read in one way only.
    #[error("bad framing")]
    BadFraming,
    /// A field has a value that none may have.
    #[error("bad field")]
    BadField,
    /// The body of a request to one of our endpoints says nothing usable.
    #[error("bad body")]
    BadBody(#[from] BodyError),
    /// A field of a request to one of our endpoints has a value that the rules refuse. The text is
    /// told to the client: a whole sentence, without anything secret.
    #[error("validation: {0}")]
    Validation(Cow<'static, str>),
    /// A name or a secret that no account can have.
    #[error("unusable: {0:?}")]
    Unusable(Unusable),
    /// The name that was chosen is somebody's.
    #[error("name taken")]
    NameTaken,
    /// A one-time link that was used, is over, or never was.
    #[error("link spent")]
    LinkSpent,
    /// The password in use, asked for as proof by somebody who is logged in, is wrong.
    #[error("wrong password")]
    WrongPassword,
    /// The body has more bytes than allowed.
    #[error("body too large")]
    PayloadTooLarge,
    /// The head has more bytes or fields than allowed.
    #[error("head too large")]
    HeaderTooLarge,
    /// The client took too long to send its request.
    #[error("request timed out")]
    RequestTimeout,
    /// The client broke off while sending its body.
    #[error("the body broke off")]
    BodyBroken(#[source] Cause),
    /// No route has this host, path and method, or the endpoint does not exist.
    #[error("not found")]
    NotFound,
    /// The endpoint does not know the method. The text lists those that it knows.
    #[error("method not allowed")]
    MethodNotAllowed(Cow<'static, str>),
    /// The host is not served on this connection (RFC 9110 section 7.4).
    #[error("misdirected")]
    Misdirected,
    /// No credential, and one is needed.
    #[error("no credential")]
    MissingToken,
    /// A credential that cannot be read, or that contradicts another one.
    #[error("malformed credential")]
    Malformed,
    /// A credential that we did not make, or not for this use.
    #[error("invalid signature")]
    InvalidSignature,
    /// A credential whose time is over.
    #[error("expired")]
    Expired,
    /// A credential that was withdrawn.
    #[error("revoked")]
    TokenRevoked,
    /// The access token is gone or over; the refresh token would bring a new one.
    #[error("refresh required")]
    RefreshRequired,
    /// The session is over by its time, or unknown.
    #[error("session expired")]
    SessionExpired,
    /// The session was ended: by its owner, an administrator, or because of theft.
    #[error("session revoked")]
    SessionRevoked,
    /// A login that failed, whatever the cause.
    #[error("invalid credentials")]
    InvalidCredentials,
    /// The captcha was not solved.
    #[error("captcha failed")]
    CaptchaFailed,
    /// The captcha's service cannot be asked.
    #[error("the captcha cannot be checked")]
    CaptchaUnavailable(#[source] Cause),
    /// A cookie-borne request that nothing proves to be meant. The status is `csrf.status`.
    #[error("csrf guard")]
    CsrfGuard(StatusCode),
    /// The caller is known, and the route asks for a login that is not older than this.
    #[error("the login is older than {0:?}")]
    LoginTooOld(Duration),
    /// The caller is known and may not.
    #[error("forbidden")]
    Forbidden,
    /// Too many attempts.
    #[error("rate limited")]
    RateLimited {
        /// The limit that was met, in attempts.
        limit: u32,
        /// When the next attempt will be heard.
        retry_after: Duration,
    },
    /// A bounded queue of ours is full.
    #[error("busy")]
    Busy {
        /// When it may be worth trying again.
        retry_after: Duration,
    },
    /// The client has too many requests or streams under way.
    #[error("too many requests under way")]
    TooManyRequests,
    /// The store does not answer. No cookie is deleted for that.
    #[error("the store is unavailable")]
    StoreUnavailable(#[source] Cause),
    /// The gateway is stopping.
    #[error("stopping")]
    Stopping,
    /// The application cannot be reached.
    #[error("the upstream is unavailable")]
    UpstreamUnavailable(#[source] Cause),
    /// The application answered with something that is not HTTP.
    #[error("the upstream's answer is broken")]
    UpstreamInvalid(#[source] Cause),
    /// The application took too long.
    #[error("the upstream timed out")]
    UpstreamTimeout,
    /// The request has been here before.
    #[error("the request goes round in a circle")]
    Loop,
    /// The application has all the requests that it may have at once.
    #[error("the upstream is at its limit")]
    UpstreamBusy,
    /// A fault of ours.
    #[error("internal error")]
    Internal(#[source] Cause),
}

/// What is wrong with a name or a secret that was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unusable {
    /// The name has a form that no account can have.
    Name,
    /// The secret has too few characters.
    SecretTooShort {
        /// Characters needed.
        least: usize,
    },
    /// The secret has too many bytes.
    SecretTooLong {
        /// Bytes allowed.
        most: usize,
    },
    /// A PIN has something else than digits.
    SecretNotDigits,
    /// The secret has characters that nobody sees.
    SecretUnprintable,
    /// The secret is one of those that everybody tries first.
    SecretCommon,
    /// The secret and its confirmation differ.
    SecretsDiffer,
}

/// What the client is told, and what we call it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer<'a> {
    /// The status of the response.
    pub status: StatusCode,
    /// The stable code in its body, for programs.
    pub code: &'static str,
    /// One sentence in its body, for people.
    pub message: Cow<'a, str>,
    /// What logs and metrics call it: finer than the code.
    pub label: &'static str,
}

/// All labels, for the closed set of a metric.
pub const LABELS: &[&str] = &[
    "ambiguous_path",
    "bad_path",
    "bad_framing",
    "bad_field",
    "bad_host",
    "validation",
    "name_unusable",
    "secret_too_short",
    "secret_too_long",
    "secret_not_digits",
    "secret_unprintable",
    "secret_common",
    "secrets_differ",
    "name_taken",
    "link_spent",
    "wrong_password",
    "body_too_large",
    "head_too_large",
    "request_timeout",
    "body_broken",
    "not_found",
    "method_not_allowed",
    "misdirected",
    "missing_token",
    "malformed",
    "invalid_signature",
    "expired",
    "token_revoked",
    "refresh_required",
    "session_expired",
    "session_revoked",
    "invalid_credentials",
    "captcha_failed",
    "captcha_unavailable",
    "csrf_guard",
    "login_too_old",
    "forbidden",
    "rate_limited",
    "busy",
    "too_many_requests",
    "store_unavailable",
    "stopping",
    "upstream_unavailable",
    "upstream_invalid",
    "upstream_timeout",
    "upstream_busy",
    "loop",
    "internal_error",
    "media_type",
    "body_malformed",
    "body_no_object",
    "body_repeated",
    "body_fields",
    "body_nested",
    "body_type",
    "body_missing",
    "body_unknown",
];

/// After which a client may try again when the store or an upstream was not there.
const SHORT_WAIT: Duration = Duration::from_secs(2);

/// So many different waits are told, a second apart.
const SPREAD: u64 = 4;

impl Rejection {
    /// The table. It has no wildcard, so that nobody adds a rejection without deciding what the
    /// client may learn.
    #[expect(clippy::too_many_lines, reason = "a table is read as a table")]
    pub fn answer(&self) -> Answer<'_> {
        use StatusCode as S;
        let (status, code, message, label) = match self {
            Self::AmbiguousPath => (
                S::BAD_REQUEST,
                "bad_request",
                "The path can be read in more than one way.",
                "ambiguous_path",
            ),
            Self::BadPath(_) => (
                S::BAD_REQUEST,
                "bad_request",
                "The path can be read in more than one way.",
                "bad_path",
            ),
            Self::BadHost(_) => {
                (S::BAD_REQUEST, "bad_request", "The request does not name one host.", "bad_host")
            }
            Self::BadFraming => (
                S::BAD_REQUEST,
                "bad_request",
                "The request does not say where it ends.",
                "bad_framing",
            ),
            Self::BadField => (
                S::BAD_REQUEST,
                "bad_request",
                "A field of the request has no proper value.",
                "bad_field",
            ),
            Self::BadBody(error) => return of_body(error),
            Self::Validation(message) => {
                (S::BAD_REQUEST, "validation_error", &**message, "validation")
            }
            Self::Unusable(why) => return of_choice(*why),
            Self::NameTaken => (S::CONFLICT, "name_taken", "This name is taken.", "name_taken"),
            Self::LinkSpent => (
                S::GONE,
                "link_spent",
                "This link was used or is over; ask for a new one.",
                "link_spent",
            ),
            Self::WrongPassword => (
                S::FORBIDDEN,
                "wrong_password",
                "This is not the password in use.",
                "wrong_password",
            ),
            Self::PayloadTooLarge => (
                S::PAYLOAD_TOO_LARGE,
                "payload_too_large",
                "The body is larger than allowed.",
                "body_too_large",
            ),
            Self::HeaderTooLarge => (
                S::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "header_too_large",
                "The header fields are larger than allowed.",
                "head_too_large",
            ),
            Self::RequestTimeout => (
                S::REQUEST_TIMEOUT,
                "request_timeout",
                "The request took too long to arrive.",
                "request_timeout",
            ),
            Self::BodyBroken(_) => {
                (S::BAD_REQUEST, "bad_request", "The body did not arrive whole.", "body_broken")
            }
            Self::NotFound => (S::NOT_FOUND, "not_found", "There is nothing here.", "not_found"),
            Self::MethodNotAllowed(_) => (
                S::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "This method cannot be used here.",
                "method_not_allowed",
            ),
            Self::Misdirected => (
                S::MISDIRECTED_REQUEST,
                "misdirected",
                "This host is not served on this connection.",
                "misdirected",
            ),
            Self::MissingToken => {
                (S::UNAUTHORIZED, "missing_token", "Please log in.", "missing_token")
            }
            Self::Malformed => (
                S::UNAUTHORIZED,
                "malformed",
                "The credential cannot be read; please log in again.",
                "malformed",
            ),
            Self::InvalidSignature => (
                S::UNAUTHORIZED,
                "invalid_signature",
                "The credential is not valid; please log in again.",
                "invalid_signature",
            ),
            Self::Expired => (S::UNAUTHORIZED, "expired", "The credential has expired.", "expired"),
            Self::TokenRevoked => (
                S::UNAUTHORIZED,
                "token_revoked",
                "The credential was withdrawn; please log in again.",
                "token_revoked",
            ),
            Self::RefreshRequired => (
                S::UNAUTHORIZED,
                "refresh_required",
                "The access token must be refreshed.",
                "refresh_required",
            ),
            Self::SessionExpired => (
                S::UNAUTHORIZED,
                "session_expired",
                "The session is over; please log in again.",
                "session_expired",
            ),
            Self::SessionRevoked => (
                S::UNAUTHORIZED,
                "session_revoked",
                "The session was ended; please log in again.",
                "session_revoked",
            ),
            Self::InvalidCredentials => (
                S::UNAUTHORIZED,
                "invalid_credentials",
                "The name or the password is wrong.",
                "invalid_credentials",
            ),
            Self::CaptchaFailed => (
                S::BAD_REQUEST,
                "captcha_failed",
                "The captcha was not solved; please try again.",
                "captcha_failed",
            ),
            Self::CaptchaUnavailable(_) => (
                S::SERVICE_UNAVAILABLE,
                "captcha_unavailable",
                "The captcha cannot be checked at the moment; please try again shortly.",
                "captcha_unavailable",
            ),
            Self::CsrfGuard(status) => {
                (*status, "csrf_guard", "The request does not come from this site.", "csrf_guard")
            }
            // RFC 9470 section 3.
            Self::LoginTooOld(_) => (
                S::UNAUTHORIZED,
                "insufficient_user_authentication",
                "Please log in again to do this.",
                "login_too_old",
            ),
            Self::Forbidden => (S::FORBIDDEN, "forbidden", "You may not do this.", "forbidden"),
            Self::RateLimited { .. } => (
                S::TOO_MANY_REQUESTS,
                "rate_limited",
                "Too many attempts; please try again later.",
                "rate_limited",
            ),
            Self::Busy { .. } => (
                S::SERVICE_UNAVAILABLE,
                "busy",
                "Too much is going on; please try again shortly.",
                "busy",
            ),
            Self::TooManyRequests => (
                S::SERVICE_UNAVAILABLE,
                "busy",
                "Too many requests are under way; please try again shortly.",
                "too_many_requests",
            ),
            Self::StoreUnavailable(_) => (
                S::SERVICE_UNAVAILABLE,
                "store_unavailable",
                "This is not possible at the moment; please try again shortly.",
                "store_unavailable",
            ),
            Self::Stopping => (
                S::SERVICE_UNAVAILABLE,
                "stopping",
                "The gateway is restarting; please try again shortly.",
                "stopping",
            ),
            Self::UpstreamUnavailable(_) => (
                S::BAD_GATEWAY,
                "upstream_unavailable",
                "The application cannot be reached.",
                "upstream_unavailable",
            ),
            Self::UpstreamInvalid(_) => (
                S::BAD_GATEWAY,
                "upstream_invalid",
                "The application gave an answer that cannot be read.",
                "upstream_invalid",
            ),
            Self::UpstreamTimeout => (
                S::GATEWAY_TIMEOUT,
                "upstream_timeout",
                "The application took too long to answer.",
                "upstream_timeout",
            ),
            Self::UpstreamBusy => (
                S::SERVICE_UNAVAILABLE,
                "upstream_busy",
                "The application has too much to do; please try again shortly.",
                "upstream_busy",
            ),
            Self::Loop => (
                S::LOOP_DETECTED,
                "loop_detected",
                "The application leads back to the gateway.",
                "loop",
            ),
            Self::Internal(_) => (
                S::INTERNAL_SERVER_ERROR,
                "internal_error",
                "Something went wrong in the gateway.",
                "internal_error",
            ),
        };
        Answer { status, code, message: Cow::Borrowed(message), label }
    }

    /// Adds the fields that the answer needs beside those of its body: the cache rule,
    /// `WWW-Authenticate`, `Allow`, `Retry-After` and `RateLimit-*`. The status is that which the
    /// client is told; for `spread` see [`Rejection::retry_after`].
    pub fn add_fields(&self, status: StatusCode, spread: u64, headers: &mut HeaderMap) {
        // RFC 9111 section 5.2.2.5: an answer about a credential is nobody else's.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(challenge) = self.challenge(status) {
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        if let Self::MethodNotAllowed(methods) = self
            && let Ok(methods) = HeaderValue::from_str(methods)
        {
            // RFC 9110 section 15.5.6 demands it.
            headers.insert(header::ALLOW, methods);
        }
        if let Some(wait) = self.retry_after(spread) {
            headers.insert(header::RETRY_AFTER, whole_seconds(wait).into());
        }
        if let Self::RateLimited { limit, retry_after } = self {
            let field = HeaderName::from_static;
            headers.insert(field("ratelimit-limit"), (*limit).into());
            headers.insert(field("ratelimit-remaining"), 0_u16.into());
            headers.insert(field("ratelimit-reset"), whole_seconds(*retry_after).into());
        }
    }

    /// When it may be worth trying again. What many are refused at once is told with a different
    /// wait to each, by any number of theirs, so that they do not all come back at once.
    pub fn retry_after(&self, spread: u64) -> Option<Duration> {
        let apart = Duration::from_secs(spread % SPREAD);
        match self {
            Self::RateLimited { retry_after, .. } => Some(*retry_after),
            Self::Busy { retry_after } => Some(retry_after.saturating_add(apart)),
            _ if self.answer().status == StatusCode::SERVICE_UNAVAILABLE => {
                Some(SHORT_WAIT + apart)
            }
            _ => None,
        }
    }

    /// RFC 6750 section 3; never Basic, for which browsers would open a dialogue.
    fn challenge(&self, status: StatusCode) -> Option<HeaderValue> {
        if let Self::LoginTooOld(age) = self {
            // RFC 9470 section 3: what would suffice.
            let text = format!(
                "Bearer error=\"insufficient_user_authentication\", \
                 error_description=\"A more recent login is required\", max_age=\"{}\"",
                age.as_secs()
            );
            return HeaderValue::try_from(text).ok();
        }
        let challenge = match (status, self) {
            (
                StatusCode::UNAUTHORIZED,
                Self::Malformed
                | Self::InvalidSignature
                | Self::Expired
                | Self::TokenRevoked
                | Self::SessionExpired
                | Self::SessionRevoked,
            ) => Some("Bearer error=\"invalid_token\""),
            // Without an error code for whoever has shown nothing (RFC 6750 section 3.1).
            (StatusCode::UNAUTHORIZED, _) => Some("Bearer"),
            (StatusCode::FORBIDDEN, Self::Forbidden) => Some("Bearer error=\"insufficient_scope\""),
            _ => None,
        };
        challenge.map(HeaderValue::from_static)
    }
}

impl<E: Into<Cause>> From<ReadError<E>> for Rejection {
    fn from(error: ReadError<E>) -> Self {
        match error {
            ReadError::TooLarge => Self::PayloadTooLarge,
            ReadError::Broken(cause) => Self::BodyBroken(cause.into()),
        }
    }
}

/// The part of the table for bodies of our own endpoints. Names of fields that were asked for are
/// ours; what the client wrote is not repeated to it.
fn of_body(error: &BodyError) -> Answer<'_> {
    let (message, label) = match error {
        BodyError::MediaType => {
            return Answer {
                status: StatusCode::UNSUPPORTED_MEDIA_TYPE,
                code: "unsupported_media_type",
                message: "The body must be JSON or a form, in UTF-8.".into(),
                label: "media_type",
            };
        }
        BodyError::Malformed => ("The body cannot be read.".into(), "body_malformed"),
        BodyError::NotAnObject => ("The body must be an object.".into(), "body_no_object"),
        BodyError::Repeated => ("A field comes twice.".into(), "body_repeated"),
        BodyError::TooManyFields => ("There are too many fields.".into(), "body_fields"),
        BodyError::Nested => ("A field holds an object or a list.".into(), "body_nested"),
        BodyError::Unknown => ("There is a field that is not known here.".into(), "body_unknown"),
        BodyError::WrongType(name) => {
            (format!("The field `{name}` has the wrong type.").into(), "body_type")
        }
        BodyError::Missing(name) => {
            (format!("The field `{name}` is missing.").into(), "body_missing")
        }
    };
    Answer { status: StatusCode::BAD_REQUEST, code: "validation_error", message, label }
}

/// The part of the table for names and secrets that were chosen.
fn of_choice(why: Unusable) -> Answer<'static> {
    let (message, label) = match why {
        Unusable::Name => ("This name cannot be used.".into(), "name_unusable"),
        Unusable::SecretTooShort { least } => {
            (format!("The secret needs at least {least} characters.").into(), "secret_too_short")
        }
        Unusable::SecretTooLong { most } => {
            (format!("The secret has at most {most} bytes.").into(), "secret_too_long")
        }
        Unusable::SecretNotDigits => ("A PIN consists of digits.".into(), "secret_not_digits"),
        Unusable::SecretUnprintable => {
            ("The secret holds characters that nobody sees.".into(), "secret_unprintable")
        }
        Unusable::SecretCommon => {
            ("This secret is among the first that anybody would try.".into(), "secret_common")
        }
        Unusable::SecretsDiffer => {
            ("The secret and its confirmation differ.".into(), "secrets_differ")
        }
    };
    Answer { status: StatusCode::BAD_REQUEST, code: "validation_error", message, label }
}

/// Rounded up: who comes back too early is refused again.
fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)).max(1)
}

#[cfg(test)]
#[path = "reject_tests.rs"]
mod tests;

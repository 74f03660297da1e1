//! What our own endpoints look like to a site's clients: where each is, what its fields are called,
//! what it answers and how it refuses.

use std::collections::HashMap;
use std::sync::Arc;

use http::{Method, StatusCode};

use super::{Cors, Endpoint, Template};

/// The shape of every endpoint, and of all refusals.
#[derive(Debug)]
pub struct Shapes {
    /// In the order of [`Endpoint::ALL`].
    pub(super) endpoints: Vec<Shape>,
    /// `[errors]`
    pub errors: Errors,
}

/// `[endpoints.NAME]`
#[derive(Debug)]
pub struct Shape {
    /// Its whole path, canonical; `None`: it is off.
    pub path: Option<String>,
    /// It is at all that begins with its path.
    pub under: bool,
    /// It was moved away from `login.base`: other methods of its path are not ours.
    pub moved: bool,
    /// Its method.
    pub method: Method,
    /// What its fields are called.
    pub fields: Arc<FieldNames>,
    /// A valid access token is asked for first.
    pub access_required: bool,
    /// The status of its answer, if not its own.
    pub status: Option<StatusCode>,
    /// The body of its answer, if not its own.
    pub body: Option<Template>,
    /// Whether a new access token is set as a cookie.
    pub access_cookie: bool,
    /// Whether a new refresh token is set as a cookie.
    pub refresh_cookie: bool,
    /// Whether the cookie is set by which a browser is known again.
    pub device_cookie: bool,
    /// How it refuses, where that differs from `[errors]`.
    pub errors: Errors,
    /// Which foreign pages may read its answers. `None`: none.
    pub cors: Option<Cors>,
}

/// `[errors]`, or those of one endpoint.
#[derive(Debug, Default)]
pub struct Errors {
    /// The body, if not that of the next wider table.
    pub body: Option<Template>,
    /// Whether people get pages.
    pub pages: Option<bool>,
    /// `$message`, by code or label.
    pub messages: HashMap<String, Template>,
    /// `$code`, by code or label.
    pub codes: HashMap<String, String>,
    /// The status, by code or label.
    pub statuses: HashMap<String, StatusCode>,
}

/// What the fields of an endpoint's body are called on this site.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct FieldNames {
    pub(super) names: Vec<FieldName>,
    /// A body with any other field is refused.
    pub refuse_unknown: bool,
    /// A captcha's widget may write into the form.
    pub(super) widget: bool,
}

/// One field.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FieldName {
    /// Ours.
    pub(super) ours: &'static str,
    /// The site's: at least one.
    pub(super) theirs: Vec<String>,
    /// That of our own pages, unless it means something else on this site.
    pub(super) of_pages: Option<String>,
}

/// What the services' scripts put into the form around their widget, whatever it is that they are
/// asked to; hCaptcha's writes two of them.
const WIDGET_FIELDS: [&str; 3] =
    ["cf-turnstile-response", "h-captcha-response", "g-recaptcha-response"];

impl Shapes {
    /// The shape of `endpoint`.
    pub fn of(&self, endpoint: Endpoint) -> &Shape {
        self.endpoints.get(endpoint.index()).expect("there is one for each of Endpoint::ALL")
    }

    /// The path of `endpoint`, unless it is off.
    pub fn path(&self, endpoint: Endpoint) -> Option<&str> {
        self.of(endpoint).path.as_deref()
    }
}

impl FieldNames {
    /// What our field `name` may be called in a body, the site's names first; ours, if nothing else
    /// was said.
    pub fn of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let field = self.names.iter().find(|field| field.ours == name);
        let own = field.is_none().then_some(name);
        let given = field.into_iter().flat_map(|field| field.theirs.iter().chain(&field.of_pages));
        given.map(String::as_str).chain(own)
    }

    /// The name by which messages speak of our field `name`.
    pub fn first<'a>(&'a self, name: &'a str) -> &'a str {
        self.of(name).next().unwrap_or(name)
    }

    /// The site's names of each field.
    pub fn sets(&self) -> impl Iterator<Item = &[String]> {
        self.names.iter().map(|field| field.theirs.as_slice())
    }

    /// Whether the site has a field of this name.
    pub fn knows(&self, name: &str) -> bool {
        let of_widget = self.widget && WIDGET_FIELDS.contains(&name);
        let named = |field: &FieldName| {
            field.theirs.iter().chain(&field.of_pages).any(|known| known == name)
        };
        of_widget || self.names.iter().any(named)
    }
}

/// The values that refusals may name.
pub(super) const ERROR_VALUES: [&str; 7] =
    ["code", "message", "status", "login_url", "retry_after", "limit", "request_id"];

/// All codes and finer reasons of refusals, in order: the keys of `[errors]`. A test in `message`
/// holds it to the table of rejections.
pub const REASONS: &[&str] = &[
    "ambiguous_path",
    "bad_field",
    "bad_framing",
    "bad_host",
    "bad_path",
    "bad_request",
    "body_broken",
    "body_fields",
    "body_malformed",
    "body_missing",
    "body_nested",
    "body_no_object",
    "body_repeated",
    "body_too_large",
    "body_type",
    "body_unknown",
    "busy",
    "captcha_failed",
    "captcha_unavailable",
    "csrf_guard",
    "expired",
    "forbidden",
    "head_too_large",
    "header_too_large",
    "insufficient_user_authentication",
    "internal_error",
    "invalid_credentials",
    "invalid_signature",
    "link_spent",
    "login_too_old",
    "loop",
    "loop_detected",
    "malformed",
    "media_type",
    "method_not_allowed",
    "misdirected",
    "missing_token",
    "name_taken",
    "name_unusable",
    "not_found",
    "payload_too_large",
    "rate_limited",
    "refresh_required",
    "request_timeout",
    "secret_common",
    "secret_not_digits",
    "secret_too_long",
    "secret_too_short",
    "secret_unprintable",
    "secrets_differ",
    "session_expired",
    "session_revoked",
    "stopping",
    "store_unavailable",
    "token_revoked",
    "too_many_requests",
    "unsupported_media_type",
    "upstream_busy",
    "upstream_invalid",
    "upstream_timeout",
    "upstream_unavailable",
    "validation",
    "validation_error",
    "wrong_password",
];

//! Our answers as the site's clients know them: the one place in which `[endpoints]` and `[errors]`
//! change what an endpoint has said in our own words.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};
use serde::Serialize;
use serde_json::{Value, json};

use super::{Answered, Endpoint, Endpoints};
use crate::clock::Timestamp;
use crate::config::{Errors, Filled, TOKENS, Values};
use crate::message::cookies::Which;
use crate::message::reject::{Answer, Rejection};
use crate::session::Pair;

/// What a client is told of a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The status.
    pub status: StatusCode,
    /// Whether a person may be shown a page instead of the body.
    pub page: bool,
    /// What the site says of it, if it has words of its own.
    pub message: Option<String>,
    /// `Content-Type` of the body.
    pub content_type: HeaderValue,
    /// The body.
    pub body: Bytes,
    /// When to try again.
    pub retry_after: Option<Duration>,
}

/// What a refusal's body may tell beside the refusal itself.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances<'a> {
    /// Where a login would help.
    pub login_url: Option<&'a str>,
    /// The request's id.
    pub request_id: &'a str,
    /// The present moment.
    pub now: Timestamp,
    /// Differs from request to request; see [`Rejection::retry_after`].
    pub spread: u64,
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

impl Endpoints {
    /// What a client is told of `rejection`, by `endpoint` or on the way to an application.
    pub fn refusal(
        &self,
        rejection: &Rejection,
        endpoint: Option<Endpoint>,
        around: Circumstances<'_>,
    ) -> Told {
        let shapes = &self.config.shapes;
        let near = endpoint.map(|endpoint| &shapes.of(endpoint).errors);
        let tables = || near.into_iter().chain(std::iter::once(&shapes.errors));
        let answer = rejection.answer();
        let status = self.status(rejection, endpoint);
        let code = first(tables(), &answer, |errors, reason| errors.codes.get(reason));
        let code = code.map_or(answer.code, String::as_str);
        let login_url = around.login_url.filter(|_| answer.status == StatusCode::UNAUTHORIZED);
        let retry_after = rejection.retry_after(around.spread);
        let message = first(tables(), &answer, |errors, reason| errors.messages.get(reason));
        let body = tables().find_map(|errors| errors.body.as_ref());
        let mut told = Ours { error: code, message: &answer.message, login_url };
        let named = || {
            let mut named = told.named(status, around.request_id, retry_after);
            if let (Rejection::RateLimited { limit, .. }, Some(object)) =
                (rejection, named.as_object_mut())
            {
                object.insert("limit".to_owned(), (*limit).into());
            }
            named
        };
        let now = around.now.secs();
        // What needs no template is not made ready for one: strangers are refused by the thousand.
        let named = (message.is_some() || body.is_some()).then(named);
        let values = named.as_ref().map(|named| Values { named, now });
        let message = message.zip(values.as_ref()).map(|(message, values)| message.line(values));
        let (content_type, body) = match (body, named) {
            (Some(body), Some(mut named)) => {
                if let (Some(message), Some(object)) = (&message, named.as_object_mut()) {
                    object.insert("message".to_owned(), message.as_str().into());
                }
                written(body.fill(&Values { named: &named, now }))
            }
            _ => {
                told.message = message.as_deref().unwrap_or(told.message);
                // Texts cannot fail to be written to memory.
                (JSON, serde_json::to_vec(&told).unwrap_or_default().into())
            }
        };
        let page = tables().find_map(|errors| errors.pages).unwrap_or(true);
        Told { status, page, message, content_type, body, retry_after }
    }

    /// The status of a refusal.
    pub(super) fn status(&self, rejection: &Rejection, endpoint: Option<Endpoint>) -> StatusCode {
        let shapes = &self.config.shapes;
        let near = endpoint.map(|endpoint| &shapes.of(endpoint).errors);
        let tables = near.into_iter().chain(std::iter::once(&shapes.errors));
        let answer = rejection.answer();
        let status = first(tables, &answer, |errors, reason| errors.statuses.get(reason));
        status.copied().unwrap_or(answer.status)
    }

    /// The answer of `endpoint` in the shape that the config gives it. A page stays a page, and a
    /// step that leads on to another stays what it is.
    pub(super) fn shaped(
        &self,
        endpoint: Endpoint,
        (page, now): (bool, Timestamp),
        mut answered: Answered,
    ) -> Answered {
        let shape = self.config.shapes.of(endpoint);
        let mut values = answered.values.take();
        if let Some(pair) = answered.tokens.take() {
            // A browser has no other place for them.
            let wanted = |which| match which {
                Which::Access => page || shape.access_cookie,
                Which::Refresh => page || shape.refresh_cookie,
                Which::Device => page || shape.device_cookie,
            };
            answered.cookies.extend(self.cookies_of(&pair, now, wanted));
            answered.cookies.extend(answered.device.take().filter(|_| wanted(Which::Device)));
            answered.pair = Some((Arc::clone(&pair.claims), pair.issued_at));
            values = values.map(|values| with_tokens(values, &pair));
        }
        let Some(values) = values else { return answered };
        // Only of an answer that concludes: one that asks for a further step has other values.
        let done = answered.status != StatusCode::ACCEPTED;
        let body = shape.body.as_ref().filter(|_| done);
        let (content_type, body) = match body {
            Some(body) => written(body.fill(&Values { named: &values, now: now.secs() })),
            None => (JSON, without_tokens(values).to_string().into()),
        };
        answered.headers.insert(CONTENT_TYPE, content_type);
        answered.body = body;
        if let Some(status) = shape.status.filter(|_| done) {
            answered.status = status;
            if status == StatusCode::NO_CONTENT {
                // RFC 9110 section 15.3.5: it has none.
                answered.headers.remove(CONTENT_TYPE);
                answered.body = Bytes::new();
            }
        }
        answered
    }
}

/// The first that is said of a refusal: by the nearest table, and there by the finer reason.
fn first<'a, T>(
    tables: impl Iterator<Item = &'a Errors>,
    answer: &Answer<'_>,
    get: impl Fn(&'a Errors, &str) -> Option<&'a T>,
) -> Option<&'a T> {
    let mut said =
        tables.flat_map(|errors| [get(errors, answer.label), get(errors, answer.code)]).flatten();
    said.next()
}

fn written(filled: Filled) -> (HeaderValue, Bytes) {
    match filled {
        Filled::Json(json) => (JSON, json.into()),
        Filled::Text(text) => (TEXT, text.into()),
    }
}

/// The names of [`TOKENS`].
fn with_tokens(mut values: Value, pair: &Pair) -> Value {
    if let Some(named) = values.as_object_mut() {
        let mut name = |name: &str, value: Value| drop(named.insert(name.to_owned(), value));
        name("access_token", pair.access.as_str().into());
        name("access_expires_at", pair.access_expires_at().secs().into());
        // Who is to keep the one that they have is not told of another.
        if let Some(refresh) = &pair.refresh {
            name("refresh_token", refresh.as_str().into());
            name("refresh_expires_at", pair.refresh_expires_at.secs().into());
        }
    }
    values
}

/// What an answer says by itself: tokens stand in cookies unless the config wants them elsewhere.
fn without_tokens(mut values: Value) -> Value {
    if let Some(named) = values.as_object_mut() {
        for name in TOKENS {
            named.shift_remove(name);
        }
    }
    values
}

/// The body of a refusal unless the config has another.
#[derive(Serialize)]
struct Ours<'a> {
    error: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    login_url: Option<&'a str>,
}

impl Ours<'_> {
    /// The same and more, by the names that a template knows them by.
    fn named(&self, status: StatusCode, request_id: &str, retry_after: Option<Duration>) -> Value {
        let mut named = json!({
            "code": self.error,
            "message": self.message,
            "status": status.as_u16(),
            "request_id": request_id,
        });
        let mut name = |name: &str, value: Option<Value>| {
            if let (Some(object), Some(value)) = (named.as_object_mut(), value) {
                object.insert(name.to_owned(), value);
            }
        };
        name("login_url", self.login_url.map(Value::from));
        let seconds = |wait: Duration| {
            wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)).max(1)
        };
        name("retry_after", retry_after.map(|wait| seconds(wait).into()));
        named
    }
}

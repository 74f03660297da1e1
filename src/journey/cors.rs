//! Which foreign pages may read a route's answers (Fetch standard, section 3.2), our own refusals
//! among them: a page that is not told why cannot tell its user to log in.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, ORIGIN, VARY,
};
use http::request::Parts;
use http::{HeaderValue, Method};

use crate::config::{Cors, CorsOrigins};

/// A preflight carries no credential, by the Fetch standard, so it cannot be asked for one.
pub(super) fn is_preflight(head: &Parts) -> bool {
    head.method == Method::OPTIONS
        && head.headers.contains_key(ORIGIN)
        && head.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// The method that a preflight asks for: its route is the one that counts.
pub(super) fn wanted_method(head: &Parts) -> Option<Method> {
    let wanted = head.headers.get(ACCESS_CONTROL_REQUEST_METHOD)?;
    Method::from_bytes(wanted.as_bytes()).ok()
}

/// The origin that a request comes from, if it names one.
pub(super) fn origin(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut origins = headers.get_all(ORIGIN).iter();
    let first = origins.next()?;
    origins.next().is_none().then(|| first.clone())
}

/// What an answer says of who may read it, in the place of what the application said.
pub(super) fn tell(cors: &Cors, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
    for name in [
        ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_ALLOW_CREDENTIALS,
        ACCESS_CONTROL_EXPOSE_HEADERS,
    ] {
        headers.remove(name);
    }
    let Some(allowed) = allowed(cors, origin, headers) else { return };
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
    if cors.credentials {
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
    if let Some(expose) = &cors.expose {
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, expose.clone());
    }
}

/// The answer to a preflight; what it does not allow, it says by silence.
pub(super) fn tell_preflight(cors: &Cors, head: &Parts, headers: &mut HeaderMap) {
    let asked = [ACCESS_CONTROL_REQUEST_METHOD, ACCESS_CONTROL_REQUEST_HEADERS];
    for name in asked {
        headers.append(VARY, HeaderValue::from(name));
    }
    if allowed(cors, origin(&head.headers).as_ref(), &mut HeaderMap::new()).is_none() {
        return;
    }
    let wanted = |name| head.headers.get(name).cloned();
    let methods = cors.methods.clone().or_else(|| wanted(ACCESS_CONTROL_REQUEST_METHOD));
    if let Some(methods) = methods {
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
    }
    let fields = cors.headers.clone().or_else(|| wanted(ACCESS_CONTROL_REQUEST_HEADERS));
    if let Some(fields) = fields.filter(|fields| !fields.is_empty()) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, fields);
    }
    headers.insert(ACCESS_CONTROL_MAX_AGE, cors.max_age.clone());
}

/// The origin that is allowed, if this one is. A cache must know that others get another answer.
fn allowed(
    cors: &Cors,
    origin: Option<&HeaderValue>,
    headers: &mut HeaderMap,
) -> Option<HeaderValue> {
    match &cors.origins {
        CorsOrigins::Any => Some(HeaderValue::from_static("*")),
        CorsOrigins::These(allowed) => {
            headers.append(VARY, HeaderValue::from(ORIGIN));
            let origin = origin?;
            allowed.iter().any(|one| origin == one.as_str()).then(|| origin.clone())
        }
    }
}

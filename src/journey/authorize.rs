//! Step 4: access x caller -> permit, or the answer that the kind of request asks for: 401, 403,
//! or the way to the login page.

use std::time::Duration;

use http::header::{ACCEPT, CONTENT_TYPE, ORIGIN};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::Stop;
use super::admit::{Target, Visit};
use super::authenticate::{Credential, Source};
use crate::access::{CsrfFacts, Denied, Permit, csrf_guard};
use crate::clock::Timestamp;
use crate::config::{Access, Csrf};
use crate::message::present::{Field, Present};
use crate::message::reject::Rejection;

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// Asks `access` for the caller of `credential`, and for a login that is no older than `max_age`.
pub(super) fn authorize(
    access: &Access,
    max_age: Option<Duration>,
    credential: &mut Credential,
    now: Timestamp,
) -> Result<Permit, Stop> {
    let permit = Permit::grant(access, credential.caller()).map_err(|denied| match denied {
        Denied::Lacking => Stop::Reject(Rejection::Forbidden),
        Denied::Anonymous => Stop::LogIn(credential.take_reason()),
    })?;
    if let (Some(max_age), Some(identity)) = (max_age, permit.caller().identity())
        && now.since(identity.auth_time) > max_age
    {
        return Err(Stop::LogIn(Rejection::LoginTooOld(max_age)));
    }
    Ok(permit)
}

/// Whether a credential that came by `source` may be used by this request.
pub(super) fn guard(
    rule: &Csrf,
    head: &Parts,
    target: &Target<'_>,
    visit: &Visit,
    source: Source,
) -> Result<(), Rejection> {
    if source == Source::Bearer {
        return Ok(());
    }
    let safe = is_safe(&head.method);
    let websocket = visit.manner.asking.websocket;
    if safe && !websocket && !rule.safe_methods {
        return Ok(());
    }
    let facts = CsrfFacts {
        safe,
        websocket,
        own_origin: &target.origin(visit.secure),
        origins: head.headers.get_all(ORIGIN).iter().collect(),
        fetch_sites: head.headers.get_all(FETCH_SITE).iter().collect(),
    };
    let field = |name: &HeaderName| head.headers.get_all(name).iter().collect();
    if csrf_guard(rule, &facts, field) { Ok(()) } else { Err(Rejection::CsrfGuard(rule.status)) }
}

/// RFC 9110 section 9.2.1.
fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// A handshake to leave HTTP for WebSocket (RFC 6455 section 4.1), or anything that calls itself so.
fn is_websocket(headers: &HeaderMap) -> bool {
    headers.get_all(http::header::UPGRADE).iter().any(|value| {
        value.to_str().is_ok_and(|list| {
            list.split(',').any(|one| one.trim().eq_ignore_ascii_case("websocket"))
        })
    })
}

/// What kind of asking a request is, found out once for all who want to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asking {
    /// A handshake to leave HTTP for WebSocket.
    pub(super) websocket: bool,
    /// It fetches a page for a person, who can be led to another one.
    pub(super) navigation: bool,
    /// The answer will be looked at by a person: a browser's own form or link, not a script.
    pub(super) page: bool,
    /// A call of gRPC, whose caller reads a status of its own.
    pub(super) grpc: bool,
}

impl Asking {
    /// `present`: what there is of `headers`.
    pub(super) fn of(method: &Method, headers: &HeaderMap, present: Present) -> Self {
        let websocket = present.has(Field::Upgrade) && is_websocket(headers);
        let only = |field, name: &HeaderName| {
            let value = if present.has(field) { headers.get(name) } else { None };
            value.map(HeaderValue::as_bytes)
        };
        let mode = only(Field::FetchMode, &FETCH_MODE);
        let dest = only(Field::FetchDest, &FETCH_DEST);
        let html = || !websocket && present.has(Field::Accept) && accepts_html(headers);
        let page = !websocket && mode.map_or_else(html, |mode| mode == b"navigate");
        let navigation = match (mode, dest) {
            // A browser that says what it fetches is believed: only a whole document can be
            // replaced by a login page. Scripts, manifests and service workers are refused instead.
            (None, None) => page && matches!(*method, Method::GET | Method::HEAD),
            (mode, dest) => page && mode == Some(b"navigate") && dest == Some(b"document"),
        };
        let grpc = *method == Method::POST && is_grpc(headers);
        Self { websocket, navigation, page, grpc }
    }
}

/// `application/grpc`, with or without what follows it (`+proto`, `-web`).
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(names_grpc)
}

/// The same of a content type.
pub(super) fn names_grpc(kind: &HeaderValue) -> bool {
    kind.as_bytes().starts_with(b"application/grpc")
}

/// `text/html` by name: `*/*` is what scripts and tools send.
fn accepts_html(headers: &HeaderMap) -> bool {
    headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).any(|list| {
        list.split(',').any(|range| {
            let mut parts = range.split(';').map(str::trim);
            let named = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("text/html"));
            // RFC 9110 section 12.4.2: a weight of zero means "not acceptable".
            named && !parts.any(|weight| matches!(weight, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    fn asking(method: &Method, headers: &HeaderMap) -> Asking {
        Asking::of(method, headers, Present::of(headers))
    }

    #[test]
    fn fetch_metadata_decides_before_accept() {
        let html = ("accept", "text/html,*/*");
        let ask = |fields: &[_]| asking(&Method::GET, &headers(fields)).navigation;
        let document = [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document"), html];
        assert!(ask(&document));
        assert!(!ask(&[("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty"), html]));
        assert!(!ask(&[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe"), html]));
        assert!(!ask(&[("sec-fetch-dest", "manifest"), html]));
        assert!(!ask(&[("sec-fetch-dest", "serviceworker"), html]));
    }

    #[test]
    fn without_fetch_metadata_only_a_get_that_names_html_is_a_navigation() {
        let ask =
            |method: Method, accept| asking(&method, &headers(&[("accept", accept)])).navigation;
        assert!(ask(Method::GET, "application/xml, text/HTML;q=0.9"));
        assert!(ask(Method::HEAD, "text/html"));
        assert!(!ask(Method::GET, "*/*"));
        assert!(!ask(Method::GET, "text/html;q=0, */*"));
        assert!(!ask(Method::POST, "text/html"));
        assert!(!asking(&Method::GET, &HeaderMap::new()).navigation);
    }

    #[test]
    fn a_websocket_handshake_is_never_a_navigation() {
        let fields = headers(&[("upgrade", "WebSocket"), ("accept", "text/html")]);
        assert!(!asking(&Method::GET, &fields).navigation);
    }
}

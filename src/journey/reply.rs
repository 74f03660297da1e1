//! Step 7: what the client receives: the upstream's head without what belongs to one connection,
//! our cookies, and the id by which this answer can be found in the log.

use std::time::Duration;

use http::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_TYPE, SET_COOKIE, STRICT_TRANSPORT_SECURITY, UPGRADE, VIA,
};

use http::{HeaderMap, HeaderValue, Response, StatusCode, Version};

use super::admit::Visit;
use super::authorize::{is_grpc, names_grpc};
use super::body::{Content, Events, Stop};
use super::{Journey, cors};
use crate::config::Manners;
use crate::endpoints::tell_limit;
use crate::message::added::REQUEST_ID;
use crate::message::fields;
use crate::token::AccessClaims;
use crate::upstream::Inbound;

/// RFC 9111 section 5.2.2: a response that sets a cookie of ours belongs to one client only.
const PRIVATE: HeaderValue = HeaderValue::from_static("private, no-store");

/// Cookies are never late before this.
const SOON: Duration = Duration::from_secs(2);

/// An upstream's response on its way to the client.
///
/// `stop`: ends the body early, for a stream of events whose caller may not go on.
pub(super) fn from_upstream(inbound: Inbound, stop: Option<Stop>) -> Response<Content> {
    let (mut head, body) = inbound.into_parts();
    let via = if head.version == Version::HTTP_2 { "2 sallyport" } else { "1.1 sallyport" };
    head.headers.append(VIA, HeaderValue::from_static(via));
    head.version = Version::HTTP_11;
    let content = match stop {
        None => Content::Upstream(body),
        Some(stop) => {
            let grpc = is_grpc(&head.headers);
            Content::Events(Box::new(Events { body, stop, grpc }))
        }
    };
    Response::from_parts(head, content)
}

/// What its route says of an application's answer.
pub(super) fn dress(headers: &mut HeaderMap, manners: &Manners) {
    fields::change(headers, &manners.response);
    for (name, value) in &manners.security {
        headers.entry(name).or_insert_with(|| value.clone());
    }
}

/// `text/event-stream` lives as long as the page that reads it, and a stream of gRPC as long as its
/// two ends like: both may outlive their session.
pub(super) fn is_long_stream(inbound: &Inbound) -> bool {
    const EVENTS: &[u8] = b"text/event-stream";
    let Some(kind) = inbound.headers().get(CONTENT_TYPE) else { return false };
    let (name, parameters) = kind.as_bytes().split_at_checked(EVENTS.len()).unwrap_or_default();
    let events = name.eq_ignore_ascii_case(EVENTS)
        && matches!(parameters.trim_ascii_start(), [] | [b';', ..]);
    events || names_grpc(kind)
}

/// Our 101 for an upstream's.
pub(super) fn switching(inbound: &Inbound) -> Response<Content> {
    let mut response = Response::new(Content::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.clone_from(inbound.headers());
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    response
}

impl Journey {
    /// The last touch to every response, ours and the upstream's.
    pub(super) fn finish(&self, headers: &mut HeaderMap, visit: &mut Visit) {
        headers.insert(REQUEST_ID, visit.id_value());
        let manners = self.route_at(visit.route).map(|route| &route.manners);
        if let Some(hsts) = &self.hsts
            && visit.secure
            && !manners.is_some_and(|manners| manners.own_security)
        {
            // RFC 6797 section 7.1
            headers.entry(STRICT_TRANSPORT_SECURITY).or_insert_with(|| hsts.clone());
        }
        let shapes = &self.shared.config.shapes;
        let own = || visit.endpoint.and_then(|endpoint| shapes.of(endpoint).cors.as_ref());
        if let Some(cors) = manners.and_then(|manners| manners.cors.as_ref()).or_else(own) {
            cors::tell(cors, visit.origin.as_ref(), headers);
        }
        if let Some(allowance) = &visit.allowance {
            tell_limit(headers, allowance);
        }
        if visit.cookies.values.is_empty() || self.too_late(visit) {
            return;
        }
        for cookie in visit.cookies.values.drain(..) {
            headers.append(SET_COOKIE, cookie);
        }
        headers.insert(CACHE_CONTROL, PRIVATE);
    }

    /// A slow answer must not put an old token over a newer one, nor undo a logout or another
    /// login. A dropped cookie equals a lost response, and that is healed by the next refresh.
    fn too_late(&self, visit: &Visit) -> bool {
        // What we answer ourselves is not late, and a small grace must not forbid it.
        let latest = (self.shared.config.session.reuse_grace / 2).max(SOON);
        let now = self.shared.clock.now();
        let Some((claims, made)) = &visit.cookies.pair else {
            // What deletes cookies must not undo a login of the meantime either.
            return now.since(visit.now) >= latest;
        };
        let age = now.since(*made);
        let AccessClaims { session, token, subject, issued_at, .. } = &**claims;
        let user = subject.parse().ok();
        let revoked = self.shared.sessions.revoked();
        age >= latest || revoked.refuses(session.as_ref(), token, user.as_ref(), *issued_at)
    }
}

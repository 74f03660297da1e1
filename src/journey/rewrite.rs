//! Step 5: what the upstream receives. Everything that a client could forge is taken out, and what
//! we know is put in.

use std::rc::Rc;

use http::header::{AUTHORIZATION, CONNECTION, MAX_FORWARDS, TE, TRAILER, UPGRADE};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use http_body::Body as _;

use super::Journey;
use super::admit::{Asked, Visit};
use super::authenticate::{Credential, Source};
use super::socket::Handshake;
use crate::access::{Identity, Permit};
use crate::config::{Changes, HostPolicy, Mapping, Route, Upstream};
use crate::id::AppId;
use crate::message::added::{Added, Ready};
use crate::message::arrival::Arrival;
use crate::message::incoming::ClientBody;
use crate::message::present::{Field, Present};
use crate::message::reject::Rejection;
use crate::message::trailers::Trailing;
use crate::message::{cookies, fields, forwarded};
use crate::token::AssertionClaims;
use crate::upstream::{Outbound, Pace, RequestBody};

const PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

/// What goes to the upstream, and what must be kept until its answer.
pub(super) struct Rewritten {
    pub(super) outbound: Outbound,
    /// The switch to WebSocket that the client asks for, if it does.
    pub(super) handshake: Option<Box<Handshake>>,
}

/// What the steps before have made out.
pub(super) struct Facts<'a> {
    pub(super) route: &'a Route,
    pub(super) permit: &'a Permit,
    pub(super) credential: &'a Credential,
    pub(super) asked: Asked,
}

impl Journey {
    pub(super) fn rewrite(
        &self,
        mut head: Parts,
        body: ClientBody,
        known: Facts<'_>,
        arrival: &Arrival,
        visit: &mut Visit,
    ) -> Result<Rewritten, Rejection> {
        let config = &self.shared.config;
        let index = known.route.upstream;
        let (Some(upstream), Some(firewall)) =
            (config.upstreams.get(index), self.shared.firewalls.get(index))
        else {
            return Err(Rejection::Internal("the route has no upstream".into()));
        };
        if let Some(socket) = &visit.socket {
            socket.ask(&mut head.headers);
        }
        let handshake = asks_to_switch(&head, &body, visit)
            .then(|| visit.switch.take())
            .flatten()
            .and_then(|client| Handshake::of(&head.headers, client));
        let present = visit.present;
        if present.has(Field::Via) && self.shared.via.is_in(&head.headers) {
            return Err(Rejection::Loop);
        }
        let hops_left = match head.method {
            Method::OPTIONS => max_forwards(&head),
            _ => None,
        };
        let headers = &mut head.headers;
        if let Some(left) = hops_left {
            headers.insert(MAX_FORWARDS, HeaderValue::from(left.saturating_sub(1)));
        }
        // Trailers of the answer go on to whoever takes them. RFC 9113 section 8.2.2: the one thing of
        // this kind that HTTP/2 may say.
        let trailers =
            handshake.is_none() && present.has(Field::Te) && fields::lists(headers, TE, "trailers");
        let trailing =
            self.trailing(index, (head.version, &body), headers, &known.route.manners.request);
        let announced = match body.size_hint().exact() {
            Some(_) => None,
            None => trailing.as_ref().and_then(|trailing| trailing.announced(headers)),
        };
        let trusted = forwarded::is_trusted(arrival.peer.ip(), &config.listen.trusted_proxies);
        firewall.clean(headers, trusted);
        if trailers {
            headers.insert(TE, HeaderValue::from_static("trailers"));
            // RFC 9110 section 10.1.4: over HTTP/1.1 it is said to be of this hop.
            headers.insert(CONNECTION, HeaderValue::from_static("te"));
        }
        if let Some(announced) = announced {
            headers.insert(TRAILER, announced);
        }
        self.strip_credentials(headers, visit.present, known.credential);
        if handshake.is_some() {
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        }
        let mut added = Added::default();
        let via = self.shared.via.element(visit.h2);
        arrival.hop.tell(trusted.then_some(&mut *headers), &known.asked.host, via, &mut added);
        added.identify(visit.id_value());
        added.change(headers, &known.route.manners.request);
        self.introduce(&mut added, index, upstream, &known, visit)?;
        // Said beforehand to be too long: refused before the application hears of it.
        if body.size_hint().lower() > known.route.body_bytes {
            return Err(Rejection::PayloadTooLarge);
        }
        let limits = &config.limits;
        let body = RequestBody::new(
            (head.version, body),
            trailing,
            known.route.body_bytes,
            Pace { stall: limits.body_stall_timeout, rate: limits.body_min_rate },
            &self.deadlines,
        );
        let path = match &known.route.manners.mapping {
            None => known.asked.path,
            Some(mapping) => mapped(mapping, &known.asked.path, headers, &mut added)?,
        };
        let outbound = Outbound::new(known.permit, (head.method, path), head.headers, added, body);
        let outbound = match upstream.host {
            HostPolicy::Preserve => outbound.with_host(known.asked.host),
            HostPolicy::Server => outbound,
        };
        Ok(Rewritten { outbound, handshake })
    }

    /// Takes out what was said to us alone: who calls is said in other words from here on.
    fn strip_credentials(
        &self,
        headers: &mut HeaderMap,
        present: Present,
        credential: &Credential,
    ) {
        if present.has(Field::Cookie) {
            let ours = &self.shared.config.cookies;
            // What is not configured is no further name.
            let device = ours.device.as_ref().unwrap_or(&ours.access);
            let minted = ours.minted.as_ref().unwrap_or(&ours.access);
            cookies::strip(headers, &[&ours.access, &ours.refresh, device, minted]);
        }
        if matches!(credential, Credential::Valid(_, Source::Bearer)) {
            headers.remove(AUTHORIZATION);
        }
    }

    /// What of the trailers goes on of a body that can have any.
    fn trailing(
        &self,
        index: usize,
        (version, body): (Version, &ClientBody),
        headers: &HeaderMap,
        changes: &Changes,
    ) -> Option<Trailing> {
        let none = body.is_end_stream()
            // A length says where a message of HTTP/1.1 ends.
            || (version != Version::HTTP_2 && body.size_hint().exact().is_some());
        let pool = if none { None } else { self.pools.get(index) };
        pool.map(|pool| Trailing::new(Rc::clone(pool.firewall()), headers, changes))
    }

    /// Says who calls, if anybody does.
    fn introduce(
        &self,
        added: &mut Added,
        index: usize,
        upstream: &Upstream,
        known: &Facts<'_>,
        visit: &Visit,
    ) -> Result<(), Rejection> {
        let (Some(identity), Credential::Valid(remembered, _)) =
            (known.permit.caller().identity(), known.credential)
        else {
            return Ok(());
        };
        let ready = remembered.headers(index, || identity_headers(upstream, identity));
        added.introduce(ready);
        let Some(assertion) = &upstream.assertion else { return Ok(()) };
        // Used until half of its life is over, so that the upstream has time to verify it.
        let until = visit.now.plus(assertion.ttl / 2);
        let signed = remembered.assertion::<Rejection>(index, until, || {
            let expires_at = visit.now.plus(assertion.ttl);
            let claims = AssertionClaims {
                audience: &assertion.audience,
                subject: &identity.subject,
                session: identity.session,
                token: crate::id::TokenId::generate()
                    .map_err(|error| Rejection::Internal(error.into()))?,
                issued_at: visit.now,
                expires_at,
                preferred_username: &identity.login,
                name: identity.name.as_deref(),
                email: identity.email.as_deref(),
                roles: &identity.roles,
                permissions: &identity.permissions,
                auth_time: identity.auth_time,
            };
            let keyring = self.keyring.borrow();
            let signed = keyring.sign_assertion(assertion.algorithm, &claims, visit.now);
            let text = signed.map_err(|error| Rejection::Internal(error.into()))?;
            let value =
                HeaderValue::try_from(text).map_err(|error| Rejection::Internal(error.into()))?;
            Ok((value, expires_at))
        })?;
        added.push(assertion.header.clone(), signed);
        Ok(())
    }
}

/// Whether a request is a handshake for WebSocket. RFC 6455 section 4.1 knows it for GET on HTTP/1.1
/// only; over HTTP/2 it is RFC 8441's.
fn asks_to_switch(head: &Parts, body: &ClientBody, visit: &Visit) -> bool {
    // RFC 9110 section 7.8: what `Connection` does not list is no wish. A body before the switch would
    // be read by one and not by another.
    let wished = || {
        !visit.h2
            && head.version == Version::HTTP_11
            && body.is_end_stream()
            && fields::lists(&head.headers, CONNECTION, "upgrade")
    };
    head.method == Method::GET
        && visit.manner.asking.websocket
        && (visit.socket.is_some() || wished())
}

/// How many more proxies an `OPTIONS` may pass, if it says so in a way that can be read.
pub(super) fn max_forwards(head: &Parts) -> Option<u64> {
    head.headers.get(MAX_FORWARDS)?.to_str().ok()?.parse().ok()
}

/// The application's path, and what it is told of the difference.
fn mapped(
    mapping: &Mapping,
    path: &PathAndQuery,
    headers: &mut HeaderMap,
    added: &mut Added,
) -> Result<PathAndQuery, Rejection> {
    let internal = |error: http::Error| Rejection::Internal(error.into());
    if !mapping.strip.is_empty() {
        // Behind what a trusted proxy has taken off; from others the field does not come this far.
        let outer = headers.remove(PREFIX);
        let outer = outer.as_ref().and_then(|value| value.to_str().ok()).unwrap_or_default();
        let whole = HeaderValue::try_from(format!("{outer}{}", mapping.strip));
        added.push(PREFIX, whole.map_err(|error| internal(error.into()))?);
    }
    let mut text = mapping.apply(path.path());
    if let Some(query) = path.query() {
        text.push('?');
        text.push_str(query);
    }
    PathAndQuery::try_from(text).map_err(|error| internal(error.into()))
}

fn identity_headers(upstream: &Upstream, identity: &Identity) -> Ready {
    let names = &upstream.identity;
    let session = identity.session.map(|session| session.to_string());
    let texts = [
        (&names.user, Some(identity.login.as_str())),
        (&names.id, Some(identity.subject.as_str())),
        (&names.name, identity.name.as_deref()),
        (&names.email, identity.email.as_deref()),
        (&names.session, session.as_deref()),
        (&names.app, identity.app.as_ref().map(AppId::as_str)),
    ];
    let mut headers = HeaderMap::new();
    for (name, text) in texts {
        if let (Some(name), Some(text)) = (name, text.filter(|text| !text.is_empty())) {
            headers.insert(name, fields::percent_header_value(text));
        }
    }
    for (name, list) in
        [(&names.roles, &identity.roles), (&names.permissions, &identity.permissions)]
    {
        if let (Some(name), false) = (name, list.is_empty()) {
            headers.insert(name, fields::percent_header_value(&list.join(",")));
        }
    }
    Ready::new(headers.iter().map(|(name, value)| (name.clone(), value.clone())))
}

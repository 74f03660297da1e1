//! The journey's short end: our own endpoints.

use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Response, Version};
use http_body::Body as _;

use super::admit::{PendingCookies, Target, Visit};
use super::authenticate::{Credential, Known, Presented, Source};
use super::authorize;
use super::body::Content;
use super::{Journey, Stop, admit, cors};
use crate::access::{CsrfFacts, is_foreign};
use crate::endpoints::{Asked, Endpoint, Guard};
use crate::message::body::read_bounded;
use crate::message::form::{self, Fields};
use crate::message::incoming::ClientBody;
use crate::message::reject::Rejection;

impl Journey {
    /// Reads a request to one of our own endpoints whole, and has it answered.
    pub(super) async fn own(
        &self,
        endpoint: Endpoint,
        head: &Parts,
        body: ClientBody,
        visit: &mut Visit,
    ) -> Result<Response<Content>, Stop> {
        let shape = self.shared.config.shapes.of(endpoint);
        if shape.cors.is_some() {
            visit.origin = cors::origin(&head.headers);
        }
        let target = &admit::target(head, visit.secure)?;
        let presented = Presented::read(head, visit.present, &self.shared.config.cookies);
        self.own_guard(endpoint, head, target, &presented, visit)?;
        let mut credential = match endpoint.knows_caller() || shape.access_required {
            false => Credential::None(Rejection::MissingToken),
            true if endpoint.refreshes() => match self.authenticate(&presented, visit.now) {
                Known::Now(credential) => credential,
                Known::AfterRefresh => self.refresh(&presented, visit).await?,
            },
            true => self.recognise(&presented, visit.now),
        };
        visit.caller = credential.caller();
        if shape.access_required && !matches!(credential, Credential::Valid(..)) {
            return Err(credential.take_reason().into());
        }
        let fields = self.fields(endpoint, head, body).await?.named(Arc::clone(&shape.fields))?;
        let asked = Asked {
            endpoint,
            head,
            path: &target.path,
            fields,
            caller: credential.caller(),
            nobody: match credential {
                Credential::None(why) | Credential::Invalid(why) => Some(why),
                Credential::Valid(..) => None,
            },
            refresh: presented.refresh.read(),
            client: visit.client,
            own: target.origin(visit.secure),
            now: visit.now,
            page: visit.manner.asking.page,
            spread: visit.id.spread(),
        };
        let answered = match self.shared.endpoints.answer(asked).await {
            Ok(answered) => answered,
            Err(refused) => {
                if !refused.cookies.is_empty() {
                    visit.cookies = PendingCookies { values: refused.cookies, pair: None };
                }
                visit.allowance = refused.allowance;
                return Err(refused.rejection.into());
            }
        };
        if !answered.cookies.is_empty() {
            visit.cookies = PendingCookies { values: answered.cookies, pair: answered.pair };
        }
        let mut response = Response::new(Content::empty());
        *response.status_mut() = answered.status;
        *response.headers_mut() = answered.headers;
        if head.method == Method::HEAD {
            // RFC 9110 section 9.3.2: as for GET, but without the content.
            let length = HeaderValue::from(answered.body.len());
            response.headers_mut().insert(CONTENT_LENGTH, length);
        } else if !answered.body.is_empty() {
            *response.body_mut() = Content::Own(answered.body);
        }
        Ok(response)
    }

    /// The endpoint that the request to come is for.
    pub(super) fn endpoint_of_preflight(
        &self,
        target: &Target<'_>,
        head: &Parts,
    ) -> Option<Endpoint> {
        let wanted = cors::wanted_method(head)?;
        self.shared.endpoints.find(&target.path, &wanted).ok().flatten()
    }

    /// What its config allows foreign pages; without `cors` nothing.
    pub(super) fn own_preflight(
        &self,
        endpoint: Endpoint,
        head: &Parts,
        visit: &mut Visit,
    ) -> Stop {
        visit.origin = cors::origin(&head.headers);
        Stop::preflight(self.shared.config.shapes.of(endpoint).cors.as_ref(), head)
    }

    fn own_guard(
        &self,
        endpoint: Endpoint,
        head: &Parts,
        target: &Target<'_>,
        presented: &Presented<'_>,
        visit: &Visit,
    ) -> Result<(), Rejection> {
        let rule = &self.shared.config.csrf;
        match endpoint.guard() {
            Guard::Nothing => Ok(()),
            Guard::Cookie if presented.by_cookie() => {
                authorize::guard(rule, head, target, visit, Source::Cookie)
            }
            Guard::Cookie => Ok(()),
            Guard::Foreign => {
                let site = HeaderName::from_static("sec-fetch-site");
                let facts = CsrfFacts {
                    safe: false,
                    websocket: false,
                    own_origin: &target.origin(visit.secure),
                    origins: head.headers.get_all(http::header::ORIGIN).iter().collect(),
                    fetch_sites: head.headers.get_all(site).iter().collect(),
                };
                if is_foreign(rule, &facts) {
                    Err(Rejection::CsrfGuard(rule.status))
                } else {
                    Ok(())
                }
            }
        }
    }

    /// The fields of a body: read within its bounds of size and time.
    async fn fields(
        &self,
        endpoint: Endpoint,
        head: &Parts,
        body: ClientBody,
    ) -> Result<Fields, Rejection> {
        let limits = &self.shared.config.limits;
        let room = self.shared.endpoints.room_for_kept(endpoint, head);
        let reading = read_whole(head, body, limits.own_body_bytes.saturating_add(room));
        let body = self.deadlines.limit(limits.own_body_timeout, reading).await;
        let body = body.map_err(|_elapsed| Rejection::RequestTimeout)??;
        Ok(form::read(form::content_type(&head.headers)?, &body, form::MAX_FIELDS)?)
    }
}

/// Reads a body whole, at most `max_bytes` of it.
pub(super) async fn read_whole(
    head: &Parts,
    mut body: ClientBody,
    max_bytes: usize,
) -> Result<Bytes, Rejection> {
    let read = read_bounded(&mut body, max_bytes).await?;
    if head.version == Version::HTTP_2 && !body.is_end_stream() {
        // RFC 9113 section 8.1: hyper takes a stream that is reset without an error for a whole one.
        return Err(Rejection::BodyBroken("the stream was reset".into()));
    }
    Ok(read)
}

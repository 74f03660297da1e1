//! From a [`Rejection`] to a response: JSON for programs, a page for people, and the way to the
//! login page for those who can be led there.

use std::error::Error;

use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, LOCATION};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use super::admit::Visit;
use super::authorize::Asking;
use super::body::Content;
use super::{Journey, grpc};
use crate::endpoints::{self, AGAIN, Circumstances, Endpoint, WHY};
use crate::message::added::MARKER;
use crate::message::present::Present;
use crate::message::reject::Rejection;

/// What of a request decides the form of a refusal; kept because the request itself moves on.
#[derive(Debug, Clone)]
pub(super) struct Manner {
    pub(super) asking: Asking,
    /// The request has a body that nobody may have read to its end.
    body: bool,
    languages: Option<HeaderValue>,
}

impl Manner {
    pub(super) fn of(head: &Parts, present: Present, has_body: bool) -> Self {
        let asking = Asking::of(&head.method, &head.headers, present);
        let languages = || head.headers.get(http::header::ACCEPT_LANGUAGE).cloned();
        Self { asking, body: has_body, languages: asking.page.then(languages).flatten() }
    }

    /// Whether a body came with the request.
    pub(super) fn has_body(&self) -> bool {
        self.body
    }
}

impl Journey {
    /// The answer to somebody who must log in first.
    pub(super) fn log_in(&self, why: &Rejection, visit: &mut Visit) -> Response<Content> {
        let Some(login_url) = self.login_url(why, visit) else {
            return self.reject(why, visit, None);
        };
        if visit.manner.asking.navigation {
            visit.outcome = "login";
            let mut response = Response::new(Content::empty());
            *response.status_mut() = StatusCode::SEE_OTHER;
            let headers = response.headers_mut();
            if let Ok(location) = HeaderValue::try_from(login_url) {
                headers.insert(LOCATION, location);
            }
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            headers.insert(MARKER, HeaderValue::from_static("login"));
            close_if_unread(&mut response, visit);
            return response;
        }
        self.reject(why, visit, Some(&login_url))
    }

    /// Where the login page is, if there is one.
    fn login_url(&self, why: &Rejection, visit: &Visit) -> Option<String> {
        let mut url = self.shared.endpoints.path(Endpoint::LoginPage)?.to_owned();
        let mut lead = '?';
        // Asks though somebody is signed in.
        if matches!(why, Rejection::LoginTooOld(_)) {
            url.push_str(&format!("{lead}{AGAIN}=1"));
            lead = '&';
        }
        let navigation = visit.manner.asking.navigation;
        if let Some(ended) = endpoints::why(why).filter(|_| navigation) {
            url.push_str(&format!("{lead}{WHY}={ended}"));
            lead = '&';
        }
        // Where a person was; a script's or a handshake's address is nothing to come back to.
        if let Some(from) = visit.path.as_ref().filter(|_| navigation) {
            let from: String = form_urlencoded::byte_serialize(from.as_str().as_bytes()).collect();
            url.push_str(&format!("{lead}return_to={from}"));
        }
        Some(url)
    }

    /// The answer to a request that is refused.
    pub(super) fn reject(
        &self,
        rejection: &Rejection,
        visit: &mut Visit,
        login_url: Option<&str>,
    ) -> Response<Content> {
        let answer = rejection.answer();
        visit.outcome = answer.label;
        if let Some(cause) = rejection.source()
            && answer.status.is_server_error()
        {
            // Told once, here; the client gets the request id by which this line is found.
            tracing::warn!(
                request.id = %visit.id,
                outcome = answer.label,
                error = cause as &dyn Error,
                "a request failed on our side"
            );
        }
        let endpoints = &self.shared.endpoints;
        let id = visit.id.text();
        let (id, spread) = (id.as_str(), visit.id.spread());
        let around = Circumstances { login_url, request_id: id, now: visit.now, spread };
        let told = endpoints.refusal(rejection, visit.endpoint, around);
        let mut response = Response::new(Content::empty());
        *response.status_mut() = told.status;
        rejection.add_fields(told.status, spread, response.headers_mut());
        if visit.manner.asking.grpc {
            grpc::refuse(&answer, &mut response);
            response.headers_mut().insert(MARKER, HeaderValue::from_static(answer.code));
            close_if_unread(&mut response, visit);
            return response;
        }
        let text = if visit.manner.asking.page && told.page {
            endpoints.page_headers(response.headers_mut());
            let languages = visit.manner.languages.as_ref();
            let place = visit.path.as_ref().filter(|_| visit.method == Method::GET);
            let place = place.filter(|_| visit.manner.asking.navigation).map(|path| path.as_str());
            let page =
                endpoints.error_page(rejection, &told, id, (&visit.caller, place), languages);
            page.into()
        } else {
            response.headers_mut().insert(CONTENT_TYPE, told.content_type);
            told.body
        };
        let marker = HeaderValue::from_static(answer.code);
        response.headers_mut().insert(MARKER, marker);
        if visit.method != Method::HEAD {
            *response.body_mut() = Content::Own(text);
        }
        close_if_unread(&mut response, visit);
        if let Rejection::BadHost(_) | Rejection::BadFraming = rejection
            && !visit.h2
        {
            // Who writes such a head may have meant another end of it, too.
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// A request body that was not read to its end must not be taken for the next request. HTTP/2
/// resets the stream by itself.
pub(super) fn close_if_unread(response: &mut Response<Content>, visit: &Visit) {
    if visit.manner.body && !visit.h2 {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

/// What the route allows; without CORS settings "no", in the way in which a preflight is told so: by
/// the absence of every CORS field.
pub(super) fn preflight(allowed: HeaderMap, visit: &mut Visit) -> Response<Content> {
    visit.outcome = "preflight";
    let mut response = Response::new(Content::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    *response.headers_mut() = allowed;
    response.headers_mut().insert(MARKER, HeaderValue::from_static("preflight"));
    close_if_unread(&mut response, visit);
    response
}

//! From a [`Rejection`] to a response: JSON for programs, a page for people, and the way to the
//! login page for those who can be led there.

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode};

use super::Journey;
use super::admit::Visit;
use super::authorize::{accepts_html, is_navigation};
use super::body::Content;
use crate::message::reject::Rejection;

/// Says that an answer is the gateway's and not the application's.
const MARKER: HeaderName = HeaderName::from_static("x-sallyport");

/// What of a request decides the form of a refusal; kept because the request itself moves on.
#[derive(Debug, Clone)]
pub(super) struct Manner {
    navigation: bool,
    html: bool,
    head: bool,
    h2: bool,
    /// The request has a body that nobody may have read to its end.
    body: bool,
    /// The path and query as sent, to come back to.
    from: Option<http::uri::PathAndQuery>,
    languages: Option<HeaderValue>,
}

impl Manner {
    pub(super) fn of(head: &Parts, has_body: bool) -> Self {
        Self {
            navigation: is_navigation(&head.method, &head.headers),
            html: accepts_html(&head.headers),
            head: head.method == Method::HEAD,
            h2: head.version == http::Version::HTTP_2,
            body: has_body,
            from: head.uri.path_and_query().cloned(),
            languages: head.headers.get(http::header::ACCEPT_LANGUAGE).cloned(),
        }
    }
}

impl Journey {
    /// The answer to somebody who must log in first.
    pub(super) fn log_in(
        &self,
        why: &Rejection,
        manner: &Manner,
        visit: &mut Visit,
    ) -> Response<Content> {
        let login_url = self.login_url(manner);
        if manner.navigation {
            visit.outcome = "login";
            let mut response = Response::new(Content::empty());
            *response.status_mut() = StatusCode::SEE_OTHER;
            let headers = response.headers_mut();
            if let Ok(location) = HeaderValue::try_from(login_url) {
                headers.insert(LOCATION, location);
            }
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            headers.insert(MARKER, HeaderValue::from_static("login"));
            close_if_unread(&mut response, manner);
            return response;
        }
        self.reject(why, manner, visit, Some(&login_url))
    }

    fn login_url(&self, manner: &Manner) -> String {
        let base = &self.shared.config.login.base;
        match &manner.from {
            // Where a person was; a script's or a handshake's address is nothing to come back to.
            Some(from) if manner.navigation => {
                let from: String =
                    form_urlencoded::byte_serialize(from.as_str().as_bytes()).collect();
                format!("{base}/login?return_to={from}")
            }
            _ => format!("{base}/login"),
        }
    }

    /// The answer to a request that is refused.
    pub(super) fn reject(
        &self,
        rejection: &Rejection,
        manner: &Manner,
        visit: &mut Visit,
        login_url: Option<&str>,
    ) -> Response<Content> {
        visit.outcome = rejection.label();
        let status = self.status(rejection);
        let page = manner.html && manner.navigation;
        let text = if page {
            self.shared.endpoints.error_page(rejection, status, &visit.id.text(), manner.languages.as_ref())
        } else {
            rejection.json(login_url)
        };
        let text = if manner.head { String::new() } else { text };
        let mut response = Response::new(Content::Own(Bytes::from(text)));
        *response.status_mut() = status;
        let kind = if page { "text/html; charset=utf-8" } else { "application/json" };
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(MARKER, HeaderValue::from_static(rejection.code()));
        if page {
            self.shared.endpoints.page_headers(headers);
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, challenge(rejection));
        }
        if status == StatusCode::METHOD_NOT_ALLOWED {
            // RFC 9110 section 15.5.6. Which methods a route takes is told to nobody.
            headers.entry(ALLOW).or_insert(HeaderValue::from_static("GET, HEAD, POST"));
        }
        for (name, value) in rejection.limit_headers() {
            headers.insert(name, value);
        }
        if let Some(after) = rejection.retry_after() {
            headers.insert(RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
        }
        close_if_unread(&mut response, manner);
        response
    }

    fn status(&self, rejection: &Rejection) -> StatusCode {
        match rejection {
            Rejection::CsrfGuard => self.shared.config.csrf.status,
            other => other.status(),
        }
    }
}

/// RFC 6750 section 3: a request without any credential gets no error code.
fn challenge(rejection: &Rejection) -> HeaderValue {
    HeaderValue::from_static(match rejection {
        Rejection::MissingToken => "Bearer realm=\"sallyport\"",
        _ => "Bearer realm=\"sallyport\", error=\"invalid_token\"",
    })
}

/// A request body that was not read to its end must not be taken for the next request. HTTP/2
/// resets the stream by itself.
fn close_if_unread(response: &mut Response<Content>, manner: &Manner) {
    if manner.body && !manner.h2 {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

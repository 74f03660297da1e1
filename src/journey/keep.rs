//! A form of a person whose session has ended: kept over the login, if the operator wants that.

use http::header::ORIGIN;
use http::request::Parts as Head;
use http::{HeaderName, HeaderValue, Method, Response};

use super::admit::{self, Visit};
use super::body::Content;
use super::own::read_whole;
use super::{Journey, Stop};
use crate::config::Origin;
use crate::endpoints::FORM_BYTES;
use crate::message::added::MARKER;
use crate::message::incoming::ClientBody;
use crate::message::reject::Rejection;

/// A request that waits for its body to be read and kept.
#[derive(Debug)]
pub(super) struct Held {
    /// Why it needs a login.
    pub(super) why: Rejection,
    pub(super) head: Head,
    pub(super) body: ClientBody,
}

impl Journey {
    /// Whether a request that needs a login is a form to be kept. What a foreign page made a browser
    /// send is not, nor what no browser sent: keeping would let it borrow the person's later click.
    pub(super) fn may_keep(&self, head: &Head, visit: &Visit) -> bool {
        head.method == Method::POST
            && visit.manner.asking.navigation
            && is_own(head, visit)
            && self.shared.endpoints.may_keep(head)
    }

    /// Reads the form, and answers with the login page that holds it.
    pub(super) async fn keep(
        &self,
        held: Held,
        visit: &mut Visit,
    ) -> Result<Response<Content>, Stop> {
        let Held { why, head, body } = held;
        let limit = self.shared.config.limits.own_body_timeout;
        let read = self.deadlines.limit(limit, read_whole(&head, body, FORM_BYTES)).await;
        let Ok(Ok(body)) = read else { return Err(Stop::LogIn(why)) };
        let own = admit::target(&head, visit.secure)?.origin(visit.secure);
        let place = visit.path.as_ref().map_or("", |path| path.as_str());
        let kept = self.shared.endpoints.keep(&head, &own, place, visit.client, &body);
        let Some(answered) = kept else {
            return Err(Stop::LogIn(why));
        };
        visit.outcome = "login";
        let mut response = Response::new(Content::Own(answered.body));
        *response.status_mut() = answered.status;
        why.add_fields(answered.status, visit.id.spread(), response.headers_mut());
        response.headers_mut().extend(answered.headers);
        response.headers_mut().insert(MARKER, HeaderValue::from_static("login"));
        Ok(response)
    }
}

/// Both of what browsers say, each once and without doubt: stricter than the guard can be.
fn is_own(head: &Head, visit: &Visit) -> bool {
    let only = |name: &HeaderName| {
        let mut values = head.headers.get_all(name).iter();
        values.next().filter(|_| values.next().is_none()).and_then(|value| value.to_str().ok())
    };
    let Ok(target) = admit::target(head, visit.secure) else { return false };
    only(&HeaderName::from_static("sec-fetch-site")) == Some("same-origin")
        && only(&ORIGIN).and_then(Origin::parse) == Some(target.origin(visit.secure))
}

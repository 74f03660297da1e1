//! Refusals as a caller of gRPC reads them: HTTP always says 200, and the status is a field of its
//! own ("Trailers-Only" in the protocol's specification).

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};

use super::body::Content;
use crate::message::reject::Answer;
use crate::upstream::Ending;

const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// Of gRPC's statuses, `UNAUTHENTICATED`.
const UNAUTHENTICATED: u16 = 16;
/// And `UNAVAILABLE`: a caller tries again.
const UNAVAILABLE: u16 = 14;

/// Turns a refusal into gRPC's form.
pub(super) fn refuse(answer: &Answer<'_>, response: &mut Response<Content>) {
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.remove(CONTENT_LENGTH);
    headers.insert(STATUS, status(answer.status).into());
    // What our sentences hold needs no escaping; a `%` would.
    let message = answer.message.replace('%', "%25");
    if let Ok(message) = HeaderValue::try_from(message) {
        headers.insert(MESSAGE, message);
    }
}

/// The trailers of a stream that may not go on.
pub(super) fn ended(why: Ending) -> HeaderMap {
    let (status, message) = match why {
        Ending::Session => (UNAUTHENTICATED, "the session has ended"),
        Ending::Age => (UNAVAILABLE, "the stream is as old as it may be"),
        Ending::Stopping => (UNAVAILABLE, "the gateway stops"),
    };
    let mut trailers = HeaderMap::new();
    trailers.insert(STATUS, status.into());
    trailers.insert(MESSAGE, HeaderValue::from_static(message));
    trailers
}

/// What a refusal means in gRPC's words. A caller retries `UNAVAILABLE` and nothing else.
fn status(status: StatusCode) -> u16 {
    match status.as_u16() {
        // INVALID_ARGUMENT
        400 | 415 => 3,
        401 => UNAUTHENTICATED,
        // PERMISSION_DENIED
        403 => 7,
        // UNIMPLEMENTED: what no route names is no method.
        404 | 405 | 421 => 12,
        // DEADLINE_EXCEEDED
        408 | 504 => 4,
        // RESOURCE_EXHAUSTED
        413 | 429 | 431 => 8,
        502 | 503 => UNAVAILABLE,
        // INTERNAL
        _ => 13,
    }
}

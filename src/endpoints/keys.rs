//! `GET /.well-known/jwks.json`: the public keys (RFC 7517 section 5).

use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};

use super::{Answered, Endpoints};

impl Endpoints {
    pub(super) fn keys(&self) -> Answered {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/jwk-set+json"));
        // Shorter than the time by which a new key is published before it signs.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=60"));
        let body = self.sessions.keyring().borrow().jwks().into();
        Answered { headers, body, ..Answered::default() }
    }
}

//! The handshake of WebSocket: whose answer an application's 101 must be. Over HTTP/2 (RFC 8441) the
//! client asks for a stream, and the application is asked for a switch, as over HTTP/1.1.

use std::any::Any;
use std::rc::Rc;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    CONNECTION, HeaderMap, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE,
};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use hyper::ext::Protocol;

use super::body::Content;
use crate::id::TokenId;
use crate::message::arrival::Arrival;
use crate::message::incoming::Switch;

/// RFC 6455 section 1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A handshake that the application is asked, by its client over HTTP/1.1 or by us in its name.
#[derive(Debug)]
pub(super) struct Handshake {
    /// The client's end of the switch to come.
    pub(super) client: Switch,
    /// What only who has read this handshake can say.
    accept: HeaderValue,
}

impl Handshake {
    /// The handshake that these fields make. `None`: they have no key, or several, so that none could
    /// be answered rightly (RFC 6455 section 4.2.1).
    pub(super) fn of(headers: &HeaderMap, client: Switch) -> Option<Box<Self>> {
        let mut keys = headers.get_all(SEC_WEBSOCKET_KEY).iter();
        let (Some(key), None) = (keys.next(), keys.next()) else { return None };
        let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key.as_bytes(), GUID].concat());
        let accept = HeaderValue::try_from(STANDARD.encode(hash.as_ref())).ok()?;
        Some(Box::new(Self { client, accept }))
    }

    /// Whether the application has read our question (RFC 6455 section 4.1). A browser would find out
    /// by itself; who attacks would not tell.
    pub(super) fn is_answered(&self, headers: &HeaderMap) -> bool {
        let mut answers = headers.get_all(SEC_WEBSOCKET_ACCEPT).iter();
        (answers.next(), answers.next()) == (Some(&self.accept), None)
    }
}

/// What we ask the application in the name of a client of HTTP/2.
pub(super) struct Socket {
    key: HeaderValue,
    arrival: Rc<Arrival>,
}

impl Socket {
    /// Makes a handshake of HTTP/1.1 of an extended CONNECT for WebSocket. `None`: it is none, and
    /// stays as it is.
    pub(super) fn read(head: &mut Parts, arrival: &Rc<Arrival>) -> Option<Box<Self>> {
        if head.method != Method::CONNECT
            || head.extensions.get::<Protocol>().map(Protocol::as_str) != Some("websocket")
        {
            return None;
        }
        let random = TokenId::generate().ok()?;
        let key = STANDARD.encode(random.as_bytes());
        let key = HeaderValue::try_from(key).ok()?;
        head.method = Method::GET;
        head.headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        Some(Box::new(Self { key, arrival: Rc::clone(arrival) }))
    }

    /// Asks in the client's name.
    pub(super) fn ask(&self, headers: &mut HeaderMap) {
        headers.insert(SEC_WEBSOCKET_KEY, self.key.clone());
    }

    /// The application's 101 as HTTP/2 says it (RFC 8441 section 5), and what keeps the connection
    /// from being idle as long as the stream lives.
    pub(super) fn switched(&self, response: &mut Response<Content>) -> Option<Box<dyn Any>> {
        *response.status_mut() = StatusCode::OK;
        for name in [CONNECTION, UPGRADE, SEC_WEBSOCKET_ACCEPT] {
            response.headers_mut().remove(name);
        }
        self.arrival.hold.as_ref().map(|hold| hold())
    }
}

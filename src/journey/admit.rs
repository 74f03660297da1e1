//! Step 1: who is at the far end, what is asked of whom, in one canonical reading; or 400.

use std::borrow::Cow;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use http::header::{CONTENT_LENGTH, COOKIE, HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery};
use http::{HeaderValue, Method};
use http_body::Body;

use super::Journey;
use super::rejected::Manner;
use super::socket::Socket;
use crate::access::Caller;
use crate::clock::{Stopwatch, Timestamp};
use crate::config::{Endpoint, Origin};
use crate::message::arrival::Arrival;
use crate::message::host::{self, RequestHost};
use crate::message::incoming::{ClientBody, Switch};
use crate::message::path;
use crate::message::present::Present;
use crate::message::reject::Rejection;
use crate::observe::RequestId;
use crate::session::Allowance;
use crate::token::AccessClaims;

/// Stands in the line of a request that got no answer, as nginx writes it; it is never sent.
const CLIENT_GONE: u16 = 499;

/// What is known of a request, told in its access line when its answer has been sent.
pub(super) struct Visit {
    pub(super) journey: Rc<Journey>,
    /// Whether its line has been written.
    pub(super) told: bool,
    pub(super) watch: Stopwatch,
    pub(super) now: Timestamp,
    pub(super) id: RequestId,
    /// The same as a field value, once it was asked for.
    id_value: Option<HeaderValue>,
    pub(super) client: IpAddr,
    pub(super) secure: bool,
    pub(super) h2: bool,
    pub(super) method: Method,
    /// As sent, for the line; decisions are made on [`Target::host`].
    pub(super) host: Option<SentHost>,
    /// As sent, with the query; the line shows the path only.
    pub(super) path: Option<PathAndQuery>,
    pub(super) route: Option<usize>,
    pub(super) upstream: Option<usize>,
    pub(super) upstream_elapsed: Option<std::time::Duration>,
    pub(super) caller: Caller,
    pub(super) outcome: &'static str,
    /// `Set-Cookie` fields that ride on the response, with the moment they were made.
    pub(super) cookies: PendingCookies,
    /// Which of our own endpoints it asks.
    pub(super) endpoint: Option<Endpoint>,
    /// What is left of a limit that this request was counted against.
    pub(super) allowance: Option<Allowance>,
    /// Which fields came.
    pub(super) present: Present,
    /// What decides the form of a refusal.
    pub(super) manner: Manner,
    /// The client's end of a switch of protocols, if it can be had.
    pub(super) switch: Option<Switch>,
    /// The handshake that an extended CONNECT stands for.
    pub(super) socket: Option<Box<Socket>>,
    /// Whose page asks, where the route says who may read its answers.
    pub(super) origin: Option<HeaderValue>,
}

/// Cookies that wait for the response head.
#[derive(Debug, Default)]
pub(super) struct PendingCookies {
    pub(super) values: Vec<HeaderValue>,
    /// What they hold, and since when; `None` when they delete, which is never too late.
    pub(super) pair: Option<(Arc<AccessClaims>, Timestamp)>,
}

/// The host as the request carried it; a clone of either costs no allocation.
#[derive(Debug)]
pub(super) enum SentHost {
    Field(HeaderValue),
    Authority(Authority),
}

impl SentHost {
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Field(value) => value.to_str().unwrap_or(""),
            Self::Authority(authority) => authority.as_str(),
        }
    }
}

/// What a request asks for, canonical.
#[derive(Debug)]
pub(super) struct Target<'a> {
    pub(super) host: RequestHost<'a>,
    pub(super) path: Cow<'a, str>,
}

impl Target<'_> {
    /// The origin that this request was sent to, as its sender sees it.
    pub(super) fn origin(&self, secure: bool) -> Origin {
        Origin { https: secure, host: self.host.name.as_ref().to_owned(), port: self.host.port }
    }
}

impl Drop for Visit {
    /// A client that leaves before there is an answer takes its request with it: what the upstream
    /// may have done for it must still be in the log.
    fn drop(&mut self) {
        if !self.told {
            self.told = true;
            self.outcome = "client_gone";
            let journey = Rc::clone(&self.journey);
            journey.metrics.rejection(self.outcome);
            journey.tell(self, CLIENT_GONE, 0);
        }
    }
}

impl Visit {
    pub(super) fn new(
        journey: &Rc<Journey>,
        head: &Parts,
        body: &ClientBody,
        arrival: &Arrival,
        now: Timestamp,
        id: RequestId,
    ) -> Self {
        let present = Present::of(&head.headers);
        Self {
            journey: Rc::clone(journey),
            told: false,
            watch: Stopwatch::start(),
            now,
            id,
            id_value: None,
            client: arrival.peer.ip().to_canonical(),
            secure: arrival.secure,
            h2: arrival.h2,
            method: head.method.clone(),
            host: match head.headers.get(HOST) {
                Some(value) => Some(SentHost::Field(value.clone())),
                None => head.uri.authority().cloned().map(SentHost::Authority),
            },
            path: head.uri.path_and_query().cloned(),
            route: None,
            upstream: None,
            upstream_elapsed: None,
            caller: Caller::Anonymous,
            outcome: "ok",
            cookies: PendingCookies::default(),
            endpoint: None,
            allowance: None,
            present,
            manner: Manner::of(head, present, !body.is_end_stream()),
            switch: None,
            socket: None,
            origin: None,
        }
    }
}

impl Visit {
    /// The id as a field value: the upstream and the client are told the same.
    pub(super) fn id_value(&mut self) -> HeaderValue {
        let make = || self.journey.ids.value(self.id);
        self.id_value.get_or_insert_with(make).clone()
    }
}

/// Reads what is asked, or says why it cannot be read in one way only.
pub(super) fn target<'a>(head: &'a Parts, secure: bool) -> Result<Target<'a>, Rejection> {
    // RFC 9110 section 9.3.8: TRACE shows a request's fields to scripts; section 9.3.6: CONNECT
    // would make a tunnel of us.
    if head.method == Method::TRACE || head.method == Method::CONNECT {
        return Err(Rejection::MethodNotAllowed(
            "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS".into(),
        ));
    }
    let host = host::requested(&head.uri, &head.headers, secure)?;
    // `OPTIONS *` (RFC 9112 section 3.2.4) asks about the server, and it has nothing to tell.
    let path = path::canonical(head.uri.path())?;
    Ok(Target { host, path })
}

/// Whether a body of HTTP/1.1 ends where everybody sees its end: it was read by its last coding, which is
/// `chunked`.
pub(super) fn framing(head: &Parts) -> Result<(), Rejection> {
    let mut codings = head.headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        // RFC 9112 section 6.3 item 3: a length beside it "ought to be handled as an error".
        (Some(_), _) if head.headers.contains_key(CONTENT_LENGTH) => Err(Rejection::BadFraming),
        (Some(one), None) if one.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        // RFC 9112 section 6.1: another one that we do not know, or `chunked` twice.
        _ => Err(Rejection::BadFraming),
    }
}

/// What h2 lets in over HTTP/2, and hyper does not over HTTP/1.1: more than `most` fields, and values that
/// begin or end with a blank (RFC 9113 section 8.2.1), which each further reader would or would not cut off.
pub(super) fn fields(head: &Parts, most: usize) -> Result<(), Rejection> {
    // RFC 9113 section 8.2.3: a client may send each of its cookies in a field of its own.
    let cookies = head.headers.get_all(COOKIE).iter().count().saturating_sub(1);
    if head.headers.len().saturating_sub(cookies) > most {
        return Err(Rejection::HeaderTooLarge);
    }
    let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let padded = |value: &HeaderValue| {
        let bytes = value.as_bytes();
        blank(bytes.first()) || blank(bytes.last())
    };
    match head.headers.values().any(padded) {
        true => Err(Rejection::BadField),
        false => Ok(()),
    }
}

/// What is asked, as the upstream will read it.
pub(super) struct Asked {
    /// `Host`, canonical.
    pub(super) host: HeaderValue,
    /// The canonical path, and the query as it came.
    pub(super) path: PathAndQuery,
}

impl Asked {
    pub(super) fn of(
        target: &Target<'_>,
        head: &Parts,
        arrival: &Arrival,
    ) -> Result<Self, Rejection> {
        let default = if arrival.secure { 443 } else { 80 };
        let port = (target.host.port != default).then_some(target.host.port);
        let host = arrival.hop.host(&target.host.name, port);
        let host = host.map_err(|error| Rejection::Internal(error.into()))?;
        Ok(Self { host, path: forwarded_path(target, head)? })
    }
}

/// The path and query to forward: what came where the path is canonical already, else the
/// canonical path with the query that came.
fn forwarded_path(target: &Target<'_>, head: &Parts) -> Result<PathAndQuery, Rejection> {
    let sent = head.uri.path_and_query();
    match (&target.path, sent) {
        (Cow::Borrowed(_), Some(sent)) => Ok(sent.clone()),
        (path, sent) => {
            let text = match sent.and_then(PathAndQuery::query) {
                Some(query) => format!("{path}?{query}"),
                None => path.to_string(),
            };
            PathAndQuery::try_from(text).map_err(|error| Rejection::Internal(error.into()))
        }
    }
}

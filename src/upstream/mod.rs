//! From an [`Outbound`] to an [`Inbound`]: choose a server, find or make a connection, stream both
//! ways. Each core has its own [`Pool`]s; only the count of requests under way is shared.

mod body;
mod call;
mod connect;
pub mod demo;
mod frames;
mod http1;
mod http2;
#[cfg(fuzzing)]
pub mod memory;
mod pool;
mod tls;
mod upgrade;
mod wire;

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Response};

pub use body::{BodyFault, Pace, RequestBody, ResponseBody};
pub use call::{CallError, Service, ServiceError};
pub use http1::Fault;
#[cfg(fuzzing)]
pub use http1::read_answer;
pub use pool::{Load, Place, Pool};
pub use tls::{Trust, TrustError};
pub use upgrade::{Ending, Tunnel, tunnel};

use crate::access::Permit;
use crate::message::added::Added;
use crate::message::reject::Rejection;

/// The only thing that is ever sent to an upstream. Nobody makes one without a [`Permit`].
#[derive(Debug)]
pub struct Outbound(Box<Parts>);

/// What a request is made of. Boxed, so that whoever holds it while waiting stays small.
#[derive(Debug)]
struct Parts {
    method: Method,
    target: PathAndQuery,
    headers: HeaderMap,
    added: Added,
    host: Option<HeaderValue>,
    body: RequestBody,
}

impl Outbound {
    /// A request that has been rewritten for its upstream and may be sent: without the fields that
    /// concern one connection or that a client must not send.
    pub fn new(
        _proof: &Permit,
        (method, target): (Method, PathAndQuery),
        headers: HeaderMap,
        added: Added,
        body: RequestBody,
    ) -> Self {
        Self(Box::new(Parts { method, target, headers, added, host: None, body }))
    }

    /// Names the host in `Host`, in the place of the server's own name.
    #[must_use]
    pub fn with_host(mut self, host: HeaderValue) -> Self {
        self.0.host = Some(host);
        self
    }
}

/// An upstream's answer, without the fields that concern one connection; its connection goes back to the pool when the body has ended.
pub type Inbound = Response<ResponseBody>;

impl From<UpstreamError> for Rejection {
    fn from(error: UpstreamError) -> Self {
        match error {
            UpstreamError::Full => Self::UpstreamBusy,
            UpstreamError::ConnectTimeout
            | UpstreamError::FirstByteTimeout
            | UpstreamError::TotalTimeout => Self::UpstreamTimeout,
            error @ UpstreamError::Connect(_) => Self::UpstreamUnavailable(error.into()),
            error @ (UpstreamError::Broken(_) | UpstreamError::Stream(_)) => {
                Self::UpstreamInvalid(error.into())
            }
            UpstreamError::RequestBody(BodyFault::TooLarge) => Self::PayloadTooLarge,
            UpstreamError::RequestBody(BodyFault::Stalled) => Self::RequestTimeout,
            error @ UpstreamError::RequestBody(BodyFault::Broken) => Self::BodyBroken(error.into()),
        }
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// As many requests are under way as the config allows.
    #[error("too many requests are under way at this upstream")]
    Full,
    /// No server could be reached.
    #[error("no server could be reached: {0}")]
    Connect(#[source] std::io::Error),
    /// No server could be reached in time.
    #[error("connecting took longer than connect_timeout")]
    ConnectTimeout,
    /// The response head did not come in time.
    #[error("no response head within first_byte_timeout")]
    FirstByteTimeout,
    /// The exchange was not over in time.
    #[error("the exchange took longer than total_timeout")]
    TotalTimeout,
    /// The connection broke, or what came was no HTTP response.
    #[error("the upstream broke the exchange: {0}")]
    Broken(#[source] Fault),
    /// The stream was reset, or the HTTP/2 connection that it was on broke.
    #[error("the upstream broke the exchange: {0}")]
    Stream(#[source] hyper::Error),
    /// The client's body was over the limit, came too slowly, or broke off.
    #[error("the client's request body failed: {0:?}")]
    RequestBody(BodyFault),
}

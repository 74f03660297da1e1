//! From the wire to a request: accept under limits, TLS, HTTP/1.1 or HTTP/2 with limits. What a
//! request means is decided by the [`Journey`](crate::journey::Journey) that it is handed to.

mod accept;
pub mod certificate;
mod client;
mod connection;
mod frames;
mod guarded;
mod http1;
mod names;
mod pieces;
mod proxy_protocol;
mod pulse;
mod stall;
mod tls;

pub use accept::{Acceptor, Door, Socket, listen as bind, waiting};
pub use connection::{Connections, Kind, serve};
#[cfg(fuzzing)]
pub use http1::read_requests;
#[cfg(fuzzing)]
pub use proxy_protocol::read_proxy_header;
pub use tls::{Pair, TlsConfig, TlsError};

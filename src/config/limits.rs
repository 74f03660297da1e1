//! What one connection or request may cost.

use std::time::Duration;

/// `[limits]`: what one connection or request may cost.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections in all.
    pub connections: usize,
    /// Connections of one network (IPv4 /32, IPv6 /64).
    pub connections_per_network: usize,
    /// From accept to the end of the TLS handshake.
    pub handshake_timeout: Duration,
    /// From the first byte of a request head to its last.
    pub header_timeout: Duration,
    /// An idle connection is closed after this, and one whose client has ended its half and is sent
    /// nothing.
    pub keep_alive_timeout: Duration,
    /// Bytes of a request head, or of an HTTP/2 header list.
    pub header_bytes: usize,
    /// Fields in a request head.
    pub header_count: usize,
    /// Bytes of a forwarded request body, unless a route says otherwise.
    pub body_bytes: u64,
    /// Bytes of a body that one of our own endpoints reads.
    pub own_body_bytes: usize,
    /// The time in which one of our own endpoints must have its body.
    pub own_body_timeout: Duration,
    /// Requests of one connection; the last one is told so. 0: any.
    pub requests_per_connection: u32,
    /// HTTP/2 streams of one connection at a time.
    pub h2_streams: u32,
    /// Bytes by which a client may be ahead on one HTTP/2 stream.
    pub h2_stream_window: u32,
    /// The same for all streams of a connection together.
    pub h2_connection_window: u32,
    /// HTTP/2 streams that a client may reset within ten seconds.
    pub h2_resets: u32,
    /// HTTP/2 frames without content that a client may send within ten seconds.
    pub h2_empty_frames: u32,
    /// A client that takes none of a response for this long is cut off.
    pub write_stall_timeout: Duration,
    /// Bytes of its body that a client must send in each second that it is waited for, over the whole
    /// body, once that has been `body_stall_timeout`. 0: any.
    pub body_min_rate: u64,
    /// A client that sends none of its body for this long is cut off.
    pub body_stall_timeout: Duration,
}

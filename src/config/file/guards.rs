//! The sections that bound what strangers can do: passwords, the CSRF guard, limits.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Period, Size};

/// How passwords are hashed (Argon2id). The defaults are OWASP's
/// parameters; changed ones are taken up at each account's next login.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Password {
    /// Memory of one hash, a whole number of KiB, `"8KiB"` to `"1GiB"`, at least 8 KiB for each lane. Less
    /// than OWASP asks for is warned of.
    #[schemars(extend("x-minimum" = "8KiB", "x-maximum" = "1GiB"))]
    pub memory: Size,
    /// Passes over that memory, 1 to 100.
    #[schemars(range(min = 1, max = 100))]
    pub iterations: u32,
    /// Lanes, 1 to 64.
    #[schemars(range(min = 1, max = 64))]
    pub parallelism: u32,
    /// Threads that hash, 1 to 256; all hashing together never takes more memory than this times
    /// `memory`. Default: half of `listen.cores`, at least 1, so that a flood of logins leaves the
    /// other half to those already in.
    #[schemars(range(min = 1, max = 256))]
    pub threads: Option<u32>,
    /// Logins that may wait for a thread, 0 to 100000; beyond it the answer is 503 at once.
    #[schemars(range(max = 100_000))]
    pub queue: u32,
    /// How long a login may wait for a thread, up to `"1m"`; beyond it the answer is 503.
    #[schemars(extend("x-minimum" = "0s", "x-maximum" = "1m"))]
    pub wait: Period,
    /// Most bytes of any secret, new or presented, 64 to 65536. It only bounds what a stranger can
    /// make us hash.
    #[schemars(range(min = 64, max = 65_536))]
    pub max_length: u32,
    /// A file of further passwords to refuse, one a line, up to 64 MiB. Upper and lower case are
    /// the same, and blanks do not count. Default: only the list that is compiled in.
    pub blocklist: Option<String>,
}

impl Default for Password {
    fn default() -> Self {
        Self {
            memory: Size::new("19MiB"),
            iterations: 2,
            parallelism: 1,
            threads: None,
            queue: 128,
            wait: Period::new("5s"),
            max_length: 1024,
            blocklist: None,
        }
    }
}

/// What proves that a cookie-borne request with an unsafe method was meant by our own pages. Callers
/// with a Bearer token are exempt.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Csrf {
    /// Signals that count, any one of them: `"origin"`, `"allowed-origin"`, `"fetch-site"`, or a header with its exact
    /// value, `{ header = "x-requested-with", value = "XMLHttpRequest" }`. At least one.
    pub signals: Vec<Signal>,
    /// Foreign origins, whole (`"https://app.example.org"`), that may send cookie-borne requests.
    pub allowed_origins: Vec<String>,
    /// Whether the custom header outweighs a foreign `Origin`.
    pub header_suffices: bool,
    /// What becomes of a request that carries no signal at all.
    pub unmarked: Unmarked,
    /// Whether safe methods (GET, HEAD, OPTIONS) need a signal too.
    pub safe_methods: bool,
    /// Status of the refusal: 403, or 401 for clients that were promised that.
    pub status: u16,
}

impl Default for Csrf {
    fn default() -> Self {
        Self {
            signals: vec![
                Signal::Named(SignalNamed::Origin),
                Signal::Named(SignalNamed::FetchSite),
                Signal::Header(SignalHeader {
                    header: "x-requested-with".to_owned(),
                    value: "XMLHttpRequest".to_owned(),
                }),
            ],
            allowed_origins: Vec::new(),
            header_suffices: false,
            unmarked: Unmarked::Refuse,
            safe_methods: false,
            status: 403,
        }
    }
}

#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub(in crate::config) enum Signal {
    Named(SignalNamed),
    Header(SignalHeader),
}

#[derive(Deserialize, Serialize, JsonSchema, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum SignalNamed {
    /// `Origin` is that of the request's own host, or allow-listed
    Origin,
    /// `Origin` is allow-listed; the request's own host does not suffice
    AllowedOrigin,
    /// `Sec-Fetch-Site: same-origin`
    FetchSite,
}

/// A header that a foreign page cannot send without a preflight.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct SignalHeader {
    /// Its name.
    pub header: String,
    /// Its value, compared byte for byte.
    pub value: String,
}

#[derive(Deserialize, Serialize, JsonSchema, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum Unmarked {
    /// it is refused
    Refuse,
    /// it passes: for sites whose cookie callers are also scripts outside browsers
    Allow,
}

/// What one connection or request may cost. The defaults are meant for the open internet.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Limits {
    /// Connections in all, 1 to 1000000; more are closed.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub connections: u32,
    /// Connections of one network (IPv4 address, IPv6 /64), 1 to 1000000; more are closed. Give a
    /// proxy before us room.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub connections_per_network: u32,
    /// From accept to the end of the TLS handshake, `"100ms"` to `"1m"`.
    #[schemars(extend("x-minimum" = "100ms", "x-maximum" = "1m"))]
    pub handshake_timeout: Period,
    /// From the first byte of a request head to its last, `"100ms"` to `"1m"`.
    #[schemars(extend("x-minimum" = "100ms", "x-maximum" = "1m"))]
    pub header_timeout: Period,
    /// An idle connection is closed after this, `"1s"` to `"1h"`, and so is one whose client has ended
    /// its half and is sent nothing.
    #[schemars(extend("x-minimum" = "1s", "x-maximum" = "1h"))]
    pub keep_alive_timeout: Period,
    /// Bytes of a request head, or of an HTTP/2 header list, `"8KiB"` to `"256KiB"`; beyond it 431.
    #[schemars(extend("x-minimum" = "8KiB", "x-maximum" = "256KiB"))]
    pub header_bytes: Size,
    /// Fields in a request head, 16 to 512; beyond it 431.
    #[schemars(range(min = 16, max = 512))]
    pub header_count: u32,
    /// Bytes of a forwarded request body, from 0 on, unless its route says otherwise; beyond it 413. Bodies are
    /// streamed, never held.
    pub body_bytes: Size,
    /// Bytes of a body that one of our own endpoints reads, `"1KiB"` to `"1MiB"`; beyond it 413.
    #[schemars(extend("x-minimum" = "1KiB", "x-maximum" = "1MiB"))]
    pub own_body_bytes: Size,
    /// The time in which one of our own endpoints must have its body, `"100ms"` to `"1m"`.
    #[schemars(extend("x-minimum" = "100ms", "x-maximum" = "1m"))]
    pub own_body_timeout: Period,
    /// Requests of one connection, up to 4000000000; the last one is told so (`Connection: close`, or
    /// GOAWAY), and its client connects again. 0: any.
    #[schemars(range(max = 4_000_000_000_u32))]
    pub requests_per_connection: u32,
    /// HTTP/2 streams of one connection at a time, 1 to 1000.
    #[schemars(range(min = 1, max = 1000))]
    pub h2_streams: u32,
    /// Bytes that a client may send on one HTTP/2 stream before the application takes them,
    /// `"16KiB"` to `"64MiB"`. More is faster over long ways, and costs memory.
    #[schemars(extend("x-minimum" = "16KiB", "x-maximum" = "64MiB"))]
    pub h2_stream_window: Size,
    /// The same for all streams of a connection together, `"64KiB"` to `"64MiB"`: no connection holds
    /// more than this of what its client has sent.
    #[schemars(extend("x-minimum" = "64KiB", "x-maximum" = "64MiB"))]
    pub h2_connection_window: Size,
    /// HTTP/2 streams that a client may reset within ten seconds, 10 to 1000000; beyond it the
    /// connection is cut off.
    #[schemars(range(min = 10, max = 1_000_000))]
    pub h2_resets: u32,
    /// HTTP/2 frames that carry nothing (DATA and CONTINUATION without content, PRIORITY, SETTINGS,
    /// answers to a PING, unknown ones) that a client may send within ten seconds, 10 to 1000000;
    /// beyond it the connection is cut off.
    #[schemars(range(min = 10, max = 1_000_000))]
    pub h2_empty_frames: u32,
    /// A client that takes none of a response for this long is cut off, `"1s"` to `"1h"`.
    #[schemars(extend("x-minimum" = "1s", "x-maximum" = "1h"))]
    pub write_stall_timeout: Period,
    /// Bytes of its body that a client must send in each second in which it is waited for, on average,
    /// once it has been waited for as long as `body_stall_timeout`; a slower one is cut off. Waiting for
    /// the application does not count. `"0B"` (any rate) to `"1GiB"`.
    #[schemars(extend("x-minimum" = "0B", "x-maximum" = "1GiB"))]
    pub body_min_rate: Size,
    /// A client that sends none of its body for this long is cut off, `"1s"` to `"1h"`.
    #[schemars(extend("x-minimum" = "1s", "x-maximum" = "1h"))]
    pub body_stall_timeout: Period,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            connections_per_network: 256,
            handshake_timeout: Period::new("10s"),
            header_timeout: Period::new("10s"),
            keep_alive_timeout: Period::new("75s"),
            header_bytes: Size::new("32KiB"),
            header_count: 100,
            body_bytes: Size::new("10MiB"),
            own_body_bytes: Size::new("64KiB"),
            own_body_timeout: Period::new("10s"),
            requests_per_connection: 1_000_000,
            h2_streams: 100,
            h2_stream_window: Size::new("64KiB"),
            h2_connection_window: Size::new("1MiB"),
            h2_resets: 500,
            h2_empty_frames: 1000,
            write_stall_timeout: Period::new("30s"),
            body_min_rate: Size::new("64B"),
            body_stall_timeout: Period::new("30s"),
        }
    }
}

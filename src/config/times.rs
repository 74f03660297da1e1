//! How long an application may take.

use std::time::Duration;

/// The time limits of one exchange with an application. `[[upstream]]` sets them, a `[[route]]` may
/// set others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// Until a connection stands; beyond it 504.
    pub connect: Duration,
    /// From the sent request to the head of the response; beyond it 504.
    pub first_byte: Duration,
    /// Between two pieces of a response body, and how long a WebSocket may be silent.
    pub idle: Duration,
    /// The whole exchange, from a place at the application on. `None`: any. A WebSocket has its own
    /// limit, `upstream.max_stream_age`.
    pub total: Option<Duration>,
}

impl Default for Times {
    fn default() -> Self {
        let minute = Duration::from_mins(1);
        Self { connect: Duration::from_secs(5), first_byte: minute, idle: minute, total: None }
    }
}

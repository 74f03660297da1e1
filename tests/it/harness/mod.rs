//! What the suites are made of. Everything is real: sockets, processes, a browser. What is waited
//! for is waited for as an event with a deadline, never with a pause.

mod browser;
mod curl;
mod log;
mod upstream;

#[cfg(test)]
mod tests;

use std::time::Duration;

pub(crate) use browser::Browser;
pub(crate) use curl::curl;
pub(crate) use log::Log;
pub(crate) use upstream::{Request, Upstream, response};

/// How long a test waits for what must come at once. Long, for the machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

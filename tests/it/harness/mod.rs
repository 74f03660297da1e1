//! What the suites are made of. Everything is real: sockets, processes, a browser. What is waited
//! for is waited for as an event with a deadline, never with a pause.

mod answer;
mod browser;
mod client;
mod cluster;
mod curl;
mod disk;
pub(crate) mod frames;
mod gateway;
mod jar;
mod log;
mod pooler;
mod process;
mod relay;
mod upstream;
mod upstream2;
mod wire;

#[cfg(test)]
mod tests;

use std::time::Duration;

pub(crate) use answer::Answer;
pub(crate) use browser::{Browser, pictures};
pub(crate) use client::{Client, HOST, ORIGIN};
pub(crate) use cluster::Cluster;
use cluster::is_root;
pub(crate) use curl::curl;
pub(crate) use disk::Disk;
pub(crate) use frames::Taken;
pub(crate) use gateway::{ACCESS, ACCESS_TTL, DEVICE, Gate, PASSWORD, REFRESH, ROUTES};
pub(crate) use jar::Jar;
pub(crate) use log::Log;
pub(crate) use pooler::Pooler;
pub(crate) use process::{Process, add_user, sallyport, sallyport_in};
pub(crate) use relay::Relay;
pub(crate) use upstream::{Connection, Request, Upstream, response};
pub(crate) use upstream2::{AnyBody, Upstream2};
pub(crate) use wire::{Wire, is_timeout};

/// How long a test waits for what must come at once. Long, for the machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// How many cases a test of arbitrary input tries: more by hand, with `SALLYPORT_TEST_CASES`, and fewer
/// in a run of all tests.
#[expect(clippy::disallowed_methods, reason = "who runs the tests says how thoroughly")]
pub(crate) fn thoroughness(otherwise: usize) -> usize {
    std::env::var("SALLYPORT_TEST_CASES").map_or(otherwise, |cases| cases.parse().unwrap())
}

/// How often a gateway is killed by a test that does so: 200 times and more by hand, with
/// `SALLYPORT_TEST_KILLS`, and fewer in a run of all tests.
#[expect(clippy::disallowed_methods, reason = "who runs the tests says how thoroughly")]
pub(crate) fn kills(otherwise: usize) -> usize {
    std::env::var("SALLYPORT_TEST_KILLS").map_or(otherwise, |times| times.parse().unwrap())
}

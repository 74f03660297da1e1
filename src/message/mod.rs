//! The vocabulary of HTTP: pure functions on heads and bodies. No socket, no clock, no state.

pub mod added;
pub mod arrival;
pub mod body;
pub mod cookies;
pub mod fields;
pub mod form;
pub mod forwarded;
pub mod host;
pub mod http1;
pub mod incoming;
pub mod path;
pub mod present;
pub mod reject;
pub mod return_to;
pub mod trailers;
pub mod via;

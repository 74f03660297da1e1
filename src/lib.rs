//! Sallyport: a session-based auth gateway and TLS-terminating reverse proxy.
//!
//! The modules in the order in which a reader meets them; `docs/ARCHITECTURE.md` has the map, and
//! `tests/it/imports.rs` holds the arrows between them to it.
#![cfg_attr(test, allow(clippy::too_many_lines, reason = "a test reads from top to bottom"))]

pub mod cli;
pub mod gateway;

pub mod listen;

pub mod journey;

pub mod endpoints;
pub mod upstream;

pub mod session;

pub mod access;
pub mod captcha;
pub mod message;
pub mod observe;
pub mod store;
pub mod token;

pub mod clock;
pub mod config;
pub mod deadline;
pub mod id;
pub mod network;
pub mod secret;

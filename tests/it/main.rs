//! Everything that is tested from outside, in one binary:
//!
//! * `documents`: what the documents say of files, tests and configurations is so;
//! * `imports`: the walls between the rooms of `src/` stand;
//! * `access_table`, `spoofing`, `paths`: who is let in where, and in whose name;
//! * `sessions`: a login's whole life;
//! * `proxying`, `smuggling`: between the client and the application;
//! * `harness`: what the other suites are made of, with proofs of its own.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that meets the unexpected ends there and then"
)]

mod documents;
mod access_table;
mod harness;
mod imports;
mod paths;
mod proxying;
mod sessions;
mod smuggling;
mod spoofing;

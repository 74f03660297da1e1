//! Everything that is tested from outside, in one binary:
//!
//! * `documents`: what the documents say of files, tests and configurations is so;
//! * `imports`: the walls between the rooms of `src/` stand;
//! * `harness`: what the other suites are made of, with proofs of its own.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that meets the unexpected ends there and then"
)]

mod documents;
mod harness;
mod imports;

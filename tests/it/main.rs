//! Everything that is tested from outside, in one binary:
//!
//! * `documents`: what the documents say of files, tests and configurations is so;
//! * `imports`: the walls between the rooms of `src/` stand;
//! * `access_table`, `spoofing`, `paths`: who is let in where, and in whose name;
//! * `sessions`, `endings`, `rights`: a login's whole life, and what is taken in its midst;
//! * `accounts`: signup, setup, invite, reset, password, the list of one's sessions;
//! * `machines`: apps, and the tokens that they mint;
//! * `doors`, `names`: the listeners beside the gate; certificates;
//! * `proxying`, `trailers`, `forwarding`, `manners`, `http2`, `http2_rules`, `websocket`, `smuggling`, `misbehaving`,
//!   `misbehaving_h2`: between the client and the application;
//! * `times`, `half_closed`, `last_requests`, `stopping`: how long an application may take, and how connections end;
//! * `one_reading`: whatever is sent, what is received is what was judged;
//! * `real_servers`: nginx, Node and gRPC as people run them (`real/` has their files);
//! * `bad_input`, `captcha`, `csrf`, `limits`, `floods`, `navigation`: what strangers send, and where
//!   people are led;
//! * `life`, `visits`, `gallery`, `kept`: the pages in a real browser: a whole life, what lies beside
//!   it, every look, and a form that survives its session;
//! * `operator`, `processes`, `secrets`, `store_trouble`, `browser`, `examples`: the program as people
//!   run and use it;
//! * `replicas`, `hearing`, `poolers`, `outages`, `bad_store`: several gateways on one Postgres, and what befalls it;
//! * `replace`: other systems' clients, by config alone;
//! * `harness`: what the other suites are made of, with proofs of its own.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that meets the unexpected ends there and then"
)]

mod access_table;
mod accounts;
mod bad_input;
mod bad_store;
mod browser;
mod captcha;
mod csrf;
mod documents;
mod doors;
mod endings;
mod examples;
mod floods;
mod forwarding;
mod gallery;
mod half_closed;
mod harness;
mod hearing;
mod http2;
mod http2_rules;
mod imports;
mod kept;
mod last_requests;
mod life;
mod limits;
mod machines;
mod manners;
mod misbehaving;
mod misbehaving_h2;
mod names;
mod navigation;
mod one_reading;
mod operator;
mod outages;
mod paths;
mod poolers;
mod processes;
mod proxying;
mod real_servers;
mod replace;
mod replicas;
mod rights;
mod secrets;
mod sessions;
mod smuggling;
mod spoofing;
mod stopping;
mod store_trouble;
mod times;
mod trailers;
mod visits;
mod websocket;

//! What outside input can do to a service: tried, on each embedded store.
//!
//! Every row ends the same way: nothing panicked outside of a scripted handler, nothing was thrown
//! away, and a good message still gets through.

#![allow(unreachable_pub, reason = "a test program exports nothing")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod callers;
mod codecs;
mod declarations;
mod domain;
mod files;
mod handlers;
mod panics;
mod payloads;
mod secrets;
mod settings;
mod units;
mod words;
mod world;

#[allow(dead_code, reason = "the quickstart's own tests use the rest")]
#[path = "../quickstart/program.rs"]
mod program;

//! A store that fails in ways that nobody listed, under a running service: each message waits, and
//! takes effect once when the store works again.

#![allow(unreachable_pub, reason = "a test program exports nothing")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod domain;
mod sqlite;
mod world;

#[cfg(feature = "postgres")]
mod postgres;

//! Slow handlers: neither the other keys of a partition nor the other contexts of a process wait for
//! them, while each lane keeps its order and each message takes effect once.

#![cfg(feature = "sqlite")]
#![allow(unreachable_pub, reason = "a test program exports nothing")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::large_futures, reason = "a test runs once")]

mod contexts;
mod domain;
mod world;

#[cfg(feature = "rabbitmq")]
mod bounds;
#[cfg(feature = "rabbitmq")]
mod keys;

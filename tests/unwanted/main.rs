//! Messages that a build does not want: dropped and counted, unless another build handles them.

#![cfg(all(feature = "rabbitmq", feature = "postgres", feature = "sqlite"))]
#![allow(unreachable_pub, reason = "a test program exports nothing")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::large_futures, reason = "a test runs once")]

mod beside;
mod domain;
mod dropped;

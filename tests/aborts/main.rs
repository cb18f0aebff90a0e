//! Handlers that end their process, in processes of their own: few ends, then a dead letter, and all
//! other messages take effect once.

#![cfg(all(feature = "rabbitmq", feature = "postgres"))]
#![allow(unreachable_pub, reason = "a test program exports nothing")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::large_futures, reason = "a test runs once")]

mod alive;
mod innocents;
mod place;
mod poison;
mod state;
mod step;

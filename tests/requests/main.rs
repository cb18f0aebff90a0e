//! Request and reply between contexts through the public API, in one process and over a broker.

#![allow(unreachable_pub, reason = "a test program exports nothing")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod declarations;
mod domain;
mod process;
#[cfg(feature = "rabbitmq")]
mod rabbitmq;

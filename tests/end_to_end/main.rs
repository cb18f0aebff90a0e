//! The laws, end to end: a sender and a receiver in one service, on each embedded store.

#![allow(unreachable_pub, reason = "a test program exports nothing")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[cfg(feature = "postgres")]
mod clocks;
mod contexts;
mod domain;
mod effects;
mod failures;
mod faults;
mod fleet;
mod instances;
mod leases;
mod limits;
mod order;
mod outage;
mod replies;
mod shutdown;
mod unroutable;
mod world;

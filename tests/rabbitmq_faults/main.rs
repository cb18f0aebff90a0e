//! Faults of brokers and receivers: no message is lost, handled twice or out of order by key.
//!
//! The short form runs with the suite. The long one, with a cluster and larger numbers:
//! `./dev test --test rabbitmq_faults --run-ignored all`. What each fault did to the messages is
//! printed at the end.

#![cfg(all(feature = "rabbitmq", feature = "postgres"))]
#![allow(unreachable_pub, reason = "a test program exports nothing")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::large_futures, reason = "a test runs once")]

mod broker;
mod channels;
mod domain;
mod instances;
mod limit;
mod namesakes;
mod outcome;

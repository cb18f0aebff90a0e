//! What the store on PostgreSQL reports and keeps when something around it fails: one test for each
//! fault, on the real server.
#![cfg(feature = "postgres")]
#![expect(clippy::unwrap_used, reason = "a test may")]

mod addresses;
mod connections;
mod refusals;
mod servers;
mod support;
mod tls;
mod wakeup;
mod workload;

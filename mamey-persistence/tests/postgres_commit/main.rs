//! How units of work commit on PostgreSQL: together, in one trip, and through faults.
#![cfg(feature = "postgres")]
#![expect(clippy::unwrap_used, reason = "a test may")]

mod faults;
mod held;
mod model;
mod order;
mod support;
mod together;
mod trips;

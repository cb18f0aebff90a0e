//! Aggregates, and the repositories that load and save them.

mod aggregate;

pub use aggregate::{Aggregate, NewId, Versioned};

//! Aggregates, and the repositories that load and save them.

mod aggregate;
mod repository;

pub use aggregate::{Aggregate, Collection, Index, NewId, Versioned};
pub use repository::{ReadRepository, Repository};

//! Writes statements: conditions and orders of criteria, and values as PostgreSQL takes them.

pub(crate) mod bind;
pub(crate) mod filter;
pub(crate) mod values;

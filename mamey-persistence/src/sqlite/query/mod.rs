//! Writes statements: conditions and orders of criteria, and values as SQLite keeps them.

pub(crate) mod filter;
pub(crate) mod values;

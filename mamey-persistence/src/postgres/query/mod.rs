//! Writes statements: conditions and orders of criteria, and values as text.

pub(crate) mod filter;
pub(crate) mod text;

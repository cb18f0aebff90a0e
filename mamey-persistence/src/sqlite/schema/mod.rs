//! The tables of a file: the fixed ones by numbered steps, and one for each collection.

mod backfill;
pub(crate) mod collection;
pub(crate) mod migrate;
pub(crate) mod table;

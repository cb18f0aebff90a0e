//! What the SQL stores share, whatever their dialect.

pub(crate) mod errors;
pub(crate) mod filter;
pub(crate) mod loaded;
pub(crate) mod migration;
pub(crate) mod names;
pub(crate) mod outbox;
pub(crate) mod page;
pub(crate) mod rows;

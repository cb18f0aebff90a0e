//! What the store on PostgreSQL keeps in its schema, and how the schema changes while others write.
#![cfg(feature = "postgres")]
#![expect(clippy::unwrap_used, reason = "a test may")]

mod criteria;
mod inbox;
mod indexes;
mod migrators;
mod rights;
mod support;

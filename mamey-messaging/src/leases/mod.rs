//! The leases of a relay or a consumer: keeping them, and which partitions they assign.

mod assignment;
mod held;
mod keeper;

pub(crate) use assignment::{Assignment, Changes};
pub(crate) use held::Held;
pub(crate) use keeper::LeaseKeeper;

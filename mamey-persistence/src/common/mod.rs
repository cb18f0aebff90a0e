//! What all stores share: checks, limits of reads, errors, how partitions are shared out, and the
//! wake-up.

pub(crate) mod declared;
pub(crate) mod errors;
pub(crate) mod fields;
mod filters;
pub(crate) mod lease_shares;
pub(crate) mod loaded;
pub(crate) mod lock;
pub(crate) mod page;
pub(crate) mod wakeup;

//! What the transports share.

pub(crate) mod rejected_stats;
pub(crate) mod respond;
pub(crate) mod waiting;

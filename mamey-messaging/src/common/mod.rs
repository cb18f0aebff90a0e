//! What the transports share.

pub(crate) mod respond;
pub(crate) mod waiting;

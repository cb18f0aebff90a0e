//! What the transports share.

pub(crate) mod waiting;

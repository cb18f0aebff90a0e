//! What the consumer did with one message.

use std::time::Duration;

use mamey_core::transport::RejectReason;

/// What the consumer did with one message. A delivery is settled by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ConsumeOutcome {
    /// Its effect is committed.
    Handled,
    /// It was already handled or parked.
    Duplicate,
    /// It is parked, to be tried again after this pause.
    Parked(Duration),
    /// It is parked, due at once: an instance may have been handling it when that ended.
    ParkedSuspect,
    /// It is parked behind an earlier message of its lane.
    ParkedBehind,
    /// It is kept as a dead letter.
    DeadLettered,
    /// The transport is to keep it, for this reason.
    Rejected(RejectReason, String),
    /// Nothing was recorded: it stays where it came from.
    Returned,
}

impl ConsumeOutcome {
    /// Whether a message that was delivered is parked now.
    pub(super) const fn parks(&self) -> bool {
        matches!(self, Self::Parked(_) | Self::ParkedSuspect | Self::ParkedBehind)
    }

    /// Whether a message that was parked no longer is, so that the next of its lane is due.
    pub(super) const fn leaves_parking(&self) -> bool {
        matches!(self, Self::Handled | Self::Duplicate | Self::DeadLettered)
    }
}

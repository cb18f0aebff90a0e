//! What the consumer did with one message.

use std::time::Duration;

/// What the consumer did with one message. A delivery is settled by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ConsumeOutcome {
    /// Its effect is committed.
    Handled,
    /// It was already handled or parked.
    Duplicate,
    /// It is parked, to be tried again after this pause.
    Parked(Duration),
    /// It is parked behind an earlier message of its lane.
    ParkedBehind,
    /// It is kept as a dead letter.
    DeadLettered,
    /// The store can never keep it, for this reason.
    Rejected(String),
    /// Nothing was recorded: it stays where it came from.
    Returned,
}

impl ConsumeOutcome {
    /// Whether a message that was parked no longer is, so that the next of its lane is due.
    pub(super) const fn leaves_parking(&self) -> bool {
        matches!(self, Self::Handled | Self::Duplicate | Self::DeadLettered)
    }
}

//! The receipt: what a commit records of the message that is being handled.

use std::time::Duration;

use super::{DeadLetterReason, Failure};
use crate::message::{Envelope, MessageIdentity};

/// Where the message is stored until this commit.
///
/// Exhaustive: a store that did not handle one of them would handle messages twice or lose them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// With the transport: the commit records it in the inbox.
    Delivery,
    /// In parking: the commit removes it, which succeeds once.
    Parked,
}

/// What a commit records of the message that is being handled.
///
/// A store applies it as follows. From [`Origin::Delivery`] it inserts the identity into the inbox, and the
/// unit is a [`CommitOutcome::Duplicate`](super::CommitOutcome::Duplicate) when it is there; then, unless the outcome is to park, the
/// unit is [`CommitOutcome::LaneParked`](super::CommitOutcome::LaneParked) when another message of the lane is parked. From
/// [`Origin::Parked`] it takes the message out of parking, and the unit is a duplicate when it is
/// not there. In both cases nothing of the unit is kept.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Receipt {
    /// What the store knows the message by, in the inbox, in parking and among dead letters.
    pub identity: MessageIdentity,
    /// The message.
    pub envelope: Envelope,
    /// Where it is stored until now.
    pub origin: Origin,
    /// What becomes of it.
    pub outcome: Outcome,
}

impl Receipt {
    /// A receipt for `envelope`, whose identity is computed.
    #[must_use]
    pub fn new(envelope: Envelope, origin: Origin, outcome: Outcome) -> Self {
        Self::of(envelope.metadata.identity(), envelope, origin, outcome)
    }

    /// A receipt for `envelope`, whose identity is known.
    #[must_use]
    pub const fn of(
        identity: MessageIdentity,
        envelope: Envelope,
        origin: Origin,
        outcome: Outcome,
    ) -> Self {
        Self { identity, envelope, origin, outcome }
    }
}

/// What becomes of a message.
///
/// Exhaustive: a store that did not apply one of them would lose messages.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It takes effect: the rest of the unit is that effect.
    Handled,
    /// It waits in parking: at the end of its lane, or in its old position if it was parked before.
    Park {
        /// After how long the next attempt is due. The store adds it to its own time, because the
        /// clocks of instances differ.
        delay: Duration,
        /// How many attempts there were; 0 for a successor that only waits for its turn.
        attempts: u32,
        /// Why the last attempt failed.
        failure: Failure,
    },
    /// It is given up, and kept for an operator.
    DeadLetter {
        /// Why it was given up.
        reason: DeadLetterReason,
        /// How many attempts there were.
        attempts: u32,
        /// Why the last attempt failed.
        failure: Failure,
    },
}

//! The port to dead letters: messages that were given up and wait for an operator.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::Failure;
use crate::Result;
use crate::clock::Timestamp;
use crate::message::{Envelope, MessageIdentity};

/// Why a message became a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum DeadLetterReason {
    /// The handler's answer is final: a rejection or another error that a retry cannot fix.
    Refused,
    /// Every retry failed.
    Exhausted,
    /// The process ended each time while its handler ran.
    Aborted,
    /// Within its retry policy no build came that has a handler for it and reads its version and its
    /// payload.
    Unreadable,
    /// Another build's reason, which this one does not know; the failure's text names it.
    Unknown,
}

impl DeadLetterReason {
    /// The reason's stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Exhausted => "exhausted",
            Self::Aborted => "aborted",
            Self::Unreadable => "unreadable",
            Self::Unknown => "unknown",
        }
    }

    /// The reason of this stable name, if this build knows it.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Refused, Self::Exhausted, Self::Aborted, Self::Unreadable]
            .into_iter()
            .find(|reason| reason.as_str() == name)
    }
}

/// A message that was given up and waits for an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetter {
    /// What it is listed, replayed and discarded by.
    pub identity: MessageIdentity,
    /// The message as it was received.
    pub envelope: Envelope,
    /// Why it was given up.
    pub reason: DeadLetterReason,
    /// How many attempts there were.
    pub attempts: u32,
    /// When it was first parked, or given up if it was never parked.
    pub first_failed: Timestamp,
    /// When it was given up.
    pub last_failed: Timestamp,
    /// Why the last attempt failed.
    pub failure: Failure,
    /// Why this build cannot read the message, if it cannot: then the envelope holds its payload
    /// only. It can be replayed and discarded like any other.
    pub unreadable: Option<String>,
}

impl DeadLetter {
    /// A message that was given up without an attempt, at the epoch, whose identity is computed.
    #[must_use]
    pub fn new(envelope: Envelope, reason: DeadLetterReason, failure: Failure) -> Self {
        Self::of(envelope.metadata.identity(), envelope, reason, failure)
    }

    /// A message that was given up without an attempt, at the epoch, whose identity is known.
    #[must_use]
    pub const fn of(
        identity: MessageIdentity,
        envelope: Envelope,
        reason: DeadLetterReason,
        failure: Failure,
    ) -> Self {
        Self {
            identity,
            envelope,
            reason,
            failure,
            attempts: 0,
            first_failed: Timestamp::EPOCH,
            last_failed: Timestamp::EPOCH,
            unreadable: None,
        }
    }

    /// Why this build cannot read the message, if it cannot.
    #[must_use]
    pub fn with_unreadable(mut self, why: impl Into<Option<String>>) -> Self {
        self.unreadable = why.into();
        self
    }

    /// How many attempts there were.
    #[must_use]
    pub const fn with_attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }

    /// When it was first parked, or given up if it was never parked.
    #[must_use]
    pub const fn with_first_failed(mut self, first_failed: Timestamp) -> Self {
        self.first_failed = first_failed;
        self
    }

    /// When it was given up.
    #[must_use]
    pub const fn with_last_failed(mut self, last_failed: Timestamp) -> Self {
        self.last_failed = last_failed;
        self
    }
}

/// Reads, replays and discards dead letters, for operators and their tools.
#[async_trait]
pub trait DeadLetterStore: Send + Sync {
    /// Dead letters after the one with the identity `after`, in the order in which they were given up;
    /// from the first one when `after` is gone, so that a loop may replay or discard while it reads.
    /// One that cannot be read is listed as [unreadable](DeadLetter::unreadable).
    ///
    /// # Errors
    /// `Unavailable` and other errors of the store.
    async fn dead_letters(
        &self,
        after: Option<MessageIdentity>,
        limit: u32,
    ) -> Result<Vec<DeadLetter>>;

    /// One dead letter.
    ///
    /// # Errors
    /// `Unavailable` and other errors of the store.
    async fn dead_letter(&self, message: MessageIdentity) -> Result<Option<DeadLetter>>;

    /// Parks it again, due at once, ahead of its lane's parked messages, with its attempts and aborts set
    /// to 0.
    /// False when there is no such dead letter: of two concurrent replays, one returns true.
    ///
    /// # Errors
    /// `Unavailable` and other errors of the store.
    async fn replay_dead_letter(&self, message: MessageIdentity) -> Result<bool>;

    /// Deletes it. False when there is no such dead letter.
    ///
    /// # Errors
    /// `Unavailable` and other errors of the store.
    async fn discard_dead_letter(&self, message: MessageIdentity) -> Result<bool>;

    /// How many dead letters there are.
    ///
    /// # Errors
    /// `Unavailable` and other errors of the store.
    async fn dead_letter_count(&self) -> Result<u64>;
}

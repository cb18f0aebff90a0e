//! The ports to parking and dead letters: messages that failed, with their lanes kept in order.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::message::{Envelope, MessageIdentity, Partition};
use crate::{Error, Result};

/// The longest failure text that is stored, in bytes.
const FAILURE_BYTES_MAX: usize = 2048;

/// Why a message failed, as it is stored beside the message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Failure {
    /// The error's kind; see [`crate::ErrorKind::as_str`].
    pub kind: String,
    /// The rejection's code, if it was one.
    pub code: Option<String>,
    /// The error's text, cut to 2048 bytes.
    pub message: String,
}

impl Failure {
    /// A failure whose kind is named as by [`ErrorKind::as_str`](crate::ErrorKind::as_str).
    #[must_use]
    pub fn new(kind: String, message: String) -> Self {
        Self { kind, message, code: None }
    }

    /// The rejection's code, if it was one.
    #[must_use]
    pub fn with_code(mut self, code: impl Into<Option<String>>) -> Self {
        self.code = code.into();
        self
    }
}

impl Failure {
    /// Waiting behind an earlier message of the same lane.
    #[must_use]
    pub fn waiting() -> Self {
        let message = "waits behind an earlier message of its lane".to_owned();
        Self { kind: "waiting".to_owned(), code: None, message }
    }
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        let mut message = error.to_string();
        let end = message.floor_char_boundary(FAILURE_BYTES_MAX);
        message.truncate(end);
        let kind = error.kind().as_str().to_owned();
        Self { kind, code: error.code().map(str::to_owned), message }
    }
}

/// A message that waits in the store for its next attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ParkedMessage {
    /// What the store knows the message by.
    pub identity: MessageIdentity,
    /// The message.
    pub envelope: Envelope,
    /// How many attempts there were.
    pub attempts: u32,
    /// When it was first parked.
    pub since: Timestamp,
    /// When the next attempt is due.
    pub due: Timestamp,
    /// Why the last attempt failed.
    pub failure: Failure,
    /// Why this build cannot read the message, if it cannot: then the envelope holds its payload only,
    /// and the message waits for a build that can.
    pub unreadable: Option<String>,
}

impl ParkedMessage {
    /// A message without an attempt, parked and due at the epoch, whose identity is computed.
    #[must_use]
    pub fn new(envelope: Envelope, failure: Failure) -> Self {
        Self::of(envelope.metadata.identity(), envelope, failure)
    }

    /// A message without an attempt, parked and due at the epoch, whose identity is known.
    #[must_use]
    pub const fn of(identity: MessageIdentity, envelope: Envelope, failure: Failure) -> Self {
        Self {
            identity,
            envelope,
            failure,
            attempts: 0,
            since: Timestamp::EPOCH,
            due: Timestamp::EPOCH,
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

    /// When it was first parked.
    #[must_use]
    pub const fn with_since(mut self, since: Timestamp) -> Self {
        self.since = since;
        self
    }

    /// When the next attempt is due.
    #[must_use]
    pub const fn with_due(mut self, due: Timestamp) -> Self {
        self.due = due;
        self
    }
}

/// Reads parked messages. Only committed units park and unpark.
#[async_trait]
pub trait ParkingStore: Send + Sync {
    /// Heads of lanes, and messages without a key, of these partitions that are due now, by the store's
    /// clock, the longest due first. A lane's later messages are returned only after its head is gone. A message
    /// that cannot be read is returned as [unreadable](ParkedMessage::unreadable).
    ///
    /// # Errors
    /// `Unavailable` and other errors of the store.
    async fn due_parked(&self, partitions: &[Partition], limit: u32) -> Result<Vec<ParkedMessage>>;

    /// In how long the next head of these partitions is due, by the store's clock; zero if it is due
    /// already.
    ///
    /// # Errors
    /// `Unavailable` and other errors of the store.
    async fn next_due_in(&self, partitions: &[Partition]) -> Result<Option<Duration>>;

    /// How many messages are parked, successors included.
    ///
    /// # Errors
    /// `Unavailable` and other errors of the store.
    async fn parked_count(&self) -> Result<u64>;
}

/// Why a message became a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum DeadLetterReason {
    /// The handler's answer is final: a rejection or another error that a retry cannot fix.
    Refused,
    /// Every retry failed.
    Exhausted,
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
            Self::Unreadable => "unreadable",
            Self::Unknown => "unknown",
        }
    }

    /// The reason of this stable name, if this build knows it.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Refused, Self::Exhausted, Self::Unreadable]
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

    /// Parks it again, due at once, ahead of its lane's parked messages, with its attempts set to 0.
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

//! The port to parking: messages that wait for their next attempt, with their lanes kept in order.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::InstanceId;
use crate::clock::Timestamp;
use crate::message::{Envelope, MessageIdentity, Partition};
use crate::{Error, Result};

/// The longest failure text that is stored, in bytes.
const FAILURE_BYTES_MAX: usize = 2048;

/// The kind of the failure of a message that an instance may have been handling when it ended.
const SUSPECT: &str = "suspect";

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

    /// Waiting for its own handler, which runs.
    #[must_use]
    pub fn running() -> Self {
        let message = "its handler runs longer than others can wait for it".to_owned();
        Self { kind: "running".to_owned(), code: None, message }
    }

    /// Perhaps being handled when an instance ended, so that its next attempt is recorded before it
    /// begins.
    #[must_use]
    pub fn suspect() -> Self {
        let message = "an instance ended that may have been handling it; from parking, each attempt is \
                       recorded before it begins";
        Self { kind: SUSPECT.to_owned(), code: None, message: message.to_owned() }
    }

    /// Whether it is that of a [suspect](Self::suspect).
    #[must_use]
    pub fn is_suspect(&self) -> bool {
        self.kind == SUSPECT
    }

    /// The process ended so many times while the message's handler ran.
    #[must_use]
    pub fn aborted(aborts: u32) -> Self {
        let times = if aborts == 1 { "once".to_owned() } else { format!("{aborts} times") };
        let message = format!(
            "the process ended while its handler ran, {times}: it may abort, overflow its stack or \
             use too much memory"
        );
        Self { kind: "aborted".to_owned(), code: None, message }
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
    /// How many times a process ended while its handler ran.
    pub aborts: u32,
    /// Whether an [attempt began](ParkingStore::begin_parked) that is not over, by an instance that is
    /// no longer counted as alive and has not retired.
    pub abandoned: bool,
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
            aborts: 0,
            abandoned: false,
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

    /// How many times a process ended while its handler ran.
    #[must_use]
    pub const fn with_aborts(mut self, aborts: u32) -> Self {
        self.aborts = aborts;
        self
    }

    /// Whether an attempt began whose instance is gone.
    #[must_use]
    pub const fn with_abandoned(mut self, abandoned: bool) -> Self {
        self.abandoned = abandoned;
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

/// Reads parked messages, and records that an attempt begins. Only committed units park and unpark.
#[async_trait]
pub trait ParkingStore: Send + Sync {
    /// Heads of lanes, and messages without a key, of these partitions that are due now, by the store's
    /// clock: up to `limit` without [aborts](ParkedMessage::aborts), the longest due first, then at most
    /// one with aborts, which has the fewest. A lane's later messages are returned only after its head
    /// is gone. A message that cannot be read is returned as [unreadable](ParkedMessage::unreadable).
    ///
    /// # Errors
    /// `Unavailable` and other errors of the store.
    async fn due_parked(&self, partitions: &[Partition], limit: u32) -> Result<Vec<ParkedMessage>>;

    /// Records that `holder` begins an attempt at each of these messages, and returns those of which it
    /// may: that are still parked, and that no transaction under way holds.
    ///
    /// The attempt is over with the commit that takes the message out or parks it again, and when the
    /// holder [retires](super::LeaseStore::retire). Another holder may begin one meanwhile. If the
    /// holder is no longer counted as alive before, the message is
    /// [abandoned](ParkedMessage::abandoned).
    ///
    /// # Errors
    /// `Unavailable` and other errors of the store; then attempts may be recorded that did not begin.
    async fn begin_parked(
        &self,
        holder: InstanceId,
        messages: &[MessageIdentity],
    ) -> Result<Vec<MessageIdentity>>;

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

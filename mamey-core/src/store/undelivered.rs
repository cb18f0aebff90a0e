//! The port to undelivered messages: dead letters of the outbox, which were given up unpublished.

use async_trait::async_trait;

use super::{Failure, RecordId};
use crate::clock::Timestamp;
use crate::message::Envelope;
use crate::{Error, Result};

/// How many undelivered messages one call lists, replays or discards.
pub const UNDELIVERED_PAGE_MAX: u32 = 1000;

/// How many bytes of payload one call lists; a single message may be larger: 64 MiB.
pub const UNDELIVERED_PAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Why a message was given up before it was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UndeliveredReason {
    /// It had no route for as long as it was tried.
    Unroutable,
    /// It can never be published: it is too large, or the transport cannot carry it.
    Refused,
    /// For as long as it was tried no build came that can read its record.
    Unreadable,
    /// Another build's reason, which this one does not know; the failure's text names it.
    Unknown,
}

impl UndeliveredReason {
    /// The reason's stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unroutable => "unroutable",
            Self::Refused => "refused",
            Self::Unreadable => "unreadable",
            Self::Unknown => "unknown",
        }
    }

    /// The reason of this stable name, if this build knows it.
    ///
    /// ```
    /// use mamey::store::UndeliveredReason;
    ///
    /// assert_eq!(UndeliveredReason::parse("refused"), Some(UndeliveredReason::Refused));
    /// assert_eq!(UndeliveredReason::parse("out of fashion"), None);
    /// ```
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Unroutable, Self::Refused, Self::Unreadable]
            .into_iter()
            .find(|reason| reason.as_str() == name)
    }
}

/// A message that was given up before it was published, and waits for an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UndeliveredMessage {
    /// What it is listed, replayed and discarded by: its record in the outbox.
    pub id: RecordId,
    /// The message as it was sent.
    pub envelope: Envelope,
    /// Why it was given up.
    pub reason: UndeliveredReason,
    /// How often its publish has failed.
    pub attempts: u32,
    /// When its first failure was recorded.
    pub first_failed: Timestamp,
    /// When it was given up.
    pub last_failed: Timestamp,
    /// Why it failed the last time.
    pub failure: Failure,
    /// Why this build cannot read the message, if it cannot: then the envelope holds its payload
    /// only. It can be replayed and discarded like any other.
    pub unreadable: Option<String>,
}

impl UndeliveredMessage {
    /// A message that was given up without an attempt, at the epoch.
    #[must_use]
    pub const fn new(
        id: RecordId,
        envelope: Envelope,
        reason: UndeliveredReason,
        failure: Failure,
    ) -> Self {
        Self {
            id,
            envelope,
            reason,
            failure,
            attempts: 0,
            first_failed: Timestamp::EPOCH,
            last_failed: Timestamp::EPOCH,
            unreadable: None,
        }
    }

    /// How often its publish has failed.
    #[must_use]
    pub const fn with_attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }

    /// When its first failure was recorded.
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

    /// Why this build cannot read the message, if it cannot.
    #[must_use]
    pub fn with_unreadable(mut self, why: impl Into<Option<String>>) -> Self {
        self.unreadable = why.into();
        self
    }
}

/// Lists, replays and discards the messages that a context sent and that were given up before they
/// were published, for operators and their tools.
///
/// When a message is given up, the later ones of its key go on: their receivers see them without it.
#[async_trait]
pub trait UndeliveredStore: Send + Sync {
    /// Up to `limit` undelivered messages after the one with the id `after`, in the order in which they
    /// were given up; from the first one when `after` is gone, so that a loop may replay or discard
    /// while it reads. A page ends early at [`UNDELIVERED_PAGE_BYTES_MAX`]; an empty one is the last.
    /// One that cannot be read is listed as [unreadable](UndeliveredMessage::unreadable).
    ///
    /// # Errors
    /// `Invalid` for a limit above [`UNDELIVERED_PAGE_MAX`]; `Unavailable` and other errors of the
    /// store.
    async fn undelivered(
        &self,
        after: Option<RecordId>,
        limit: u32,
    ) -> Result<Vec<UndeliveredMessage>>;

    /// Sends them once more, and returns how many these were: of two concurrent replays of a message,
    /// one counts it.
    ///
    /// Each is a new record at the end of the outbox, so it comes after all that its key has sent
    /// meanwhile; among each other they keep their order. Its id is the same, so a receiver that got it
    /// after all handles it once. One that is given up again is listed again, with a new id.
    ///
    /// # Errors
    /// `Invalid` for more than [`UNDELIVERED_PAGE_MAX`] ids; `Unavailable` and other errors of the
    /// store. Then none or all were replayed.
    async fn replay_undelivered(&self, ids: &[RecordId]) -> Result<u64>;

    /// Deletes them, and returns how many these were.
    ///
    /// # Errors
    /// As [`UndeliveredStore::replay_undelivered`].
    async fn discard_undelivered(&self, ids: &[RecordId]) -> Result<u64>;

    /// How many undelivered messages there are.
    ///
    /// # Errors
    /// `Unavailable` and other errors of the store.
    async fn undelivered_count(&self) -> Result<u64>;
}

/// Checks what a call asks for.
///
/// # Errors
/// `Invalid` for more than [`UNDELIVERED_PAGE_MAX`] messages at a time.
pub fn check_undelivered_page(messages: usize) -> Result<()> {
    if messages <= usize::try_from(UNDELIVERED_PAGE_MAX).unwrap_or(usize::MAX) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "{messages} undelivered messages at a time are too many: ask for {UNDELIVERED_PAGE_MAX} at \
         most"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_reasons_are_stable_and_one_of_another_build_is_none_of_ours() {
        let all = [
            (UndeliveredReason::Unroutable, "unroutable"),
            (UndeliveredReason::Refused, "refused"),
            (UndeliveredReason::Unreadable, "unreadable"),
            (UndeliveredReason::Unknown, "unknown"),
        ];
        for (reason, name) in all {
            assert_eq!(reason.as_str(), name);
            let known = (reason != UndeliveredReason::Unknown).then_some(reason);
            assert_eq!(UndeliveredReason::parse(name), known);
        }
    }

    #[test]
    fn a_page_has_a_limit() {
        check_undelivered_page(1000).unwrap();
        assert!(check_undelivered_page(1001).unwrap_err().to_string().contains("1000"));
    }
}

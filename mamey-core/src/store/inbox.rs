//! The port to the inbox and to remembered replies: what has already taken effect.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::fingerprint::Fingerprint;
use crate::Result;
use crate::message::MessageIdentity;

/// The reply to a command, remembered under the caller's idempotency key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SavedReply {
    /// The command's name: keys of different commands do not clash.
    pub command: &'static str,
    /// The caller's key.
    pub key: String,
    /// What the command said, so that another request under this key is recognised.
    pub fingerprint: Fingerprint,
    /// The reply as JSON.
    pub body: Bytes,
}

impl SavedReply {
    /// The reply to `command` under `key`.
    #[must_use]
    pub const fn new(
        command: &'static str,
        key: String,
        fingerprint: Fingerprint,
        body: Bytes,
    ) -> Self {
        Self { command, key, fingerprint, body }
    }
}

/// What a store remembers under a command and a key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KnownReply {
    /// What the command said that was replied to.
    pub fingerprint: Fingerprint,
    /// The reply as JSON, as it was saved.
    pub body: Bytes,
}

impl KnownReply {
    /// A remembered reply.
    #[must_use]
    pub const fn new(fingerprint: Fingerprint, body: Bytes) -> Self {
        Self { fingerprint, body }
    }
}

/// Reads what has already taken effect. Only committed units write it.
#[async_trait]
pub trait InboxStore: Send + Sync {
    /// Whether this message has already taken effect, been parked or become a dead letter here.
    ///
    /// # Errors
    /// `Unavailable` and other errors of the store.
    async fn was_received(&self, message: MessageIdentity) -> Result<bool>;

    /// How many received messages are remembered: handled, parked and dead-lettered.
    ///
    /// # Errors
    /// `Unavailable` and other errors of the store.
    async fn received_count(&self) -> Result<u64>;

    /// The reply remembered for a command under a key, and the fingerprint of what was asked.
    ///
    /// # Errors
    /// `Unavailable` and other errors of the store.
    async fn saved_reply(&self, command: &str, key: &str) -> Result<Option<KnownReply>>;

    /// Forgets what was received or replied more than `window` ago, by the store's clock, and returns
    /// the number of entries. A parked message or dead letter is never forgotten, whatever its age.
    ///
    /// # Errors
    /// `Unavailable` and other errors of the store.
    async fn expire_inbox(&self, window: Duration) -> Result<u64>;
}

//! The port between a consumer, which receives messages, and the handlers.

mod custody;

use async_trait::async_trait;

use crate::message::{ContextName, Envelope, MessageIdentity};
use crate::store::CommitOutcome;
use crate::{Result, RetryPolicy};

pub use custody::{Custody, Locked, Move};

/// A message that is about to be handled.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Incoming<'a> {
    /// The message.
    pub envelope: &'a Envelope,
    /// The message's identity, computed once for all that need it.
    pub identity: MessageIdentity,
    /// Where it is stored: the commit of its effect asks there.
    pub custody: &'a Custody,
    /// Which run this is, counted from 1 over all deliveries and retries. Runs of builds that could
    /// not read the message do not count.
    pub attempt: u32,
    /// How many runs of builds that could not read the message came last.
    pub unread: u32,
}

impl<'a> Incoming<'a> {
    /// A message before its run number `attempt`.
    #[must_use]
    pub fn new(envelope: &'a Envelope, custody: &'a Custody, attempt: u32) -> Self {
        Self { envelope, identity: envelope.metadata.identity(), custody, attempt, unread: 0 }
    }

    /// How many runs of builds that could not read the message came last.
    #[must_use]
    pub const fn with_unread(mut self, unread: u32) -> Self {
        self.unread = unread;
        self
    }
}

/// Handles the messages of one bounded context.
#[async_trait]
pub trait Inbound: Send + Sync + 'static {
    /// The context.
    fn context(&self) -> &ContextName;

    /// The names of the messages it handles.
    fn handles(&self) -> Vec<&'static str>;

    /// How often a failed message of this name is retried.
    fn retry_policy(&self, name: &str) -> RetryPolicy;

    /// Runs the handler and commits what it did together with the message's receipt. During the
    /// commit the message's [`Custody`] is locked, and the receipt has the origin that it tells.
    ///
    /// `Ok` means that the store has answered: the effect is committed, was committed before, or
    /// must wait behind a parked message of its lane.
    ///
    /// # Errors
    /// The handler's or the commit's error; nothing of this run is stored. A panic of the handler
    /// is an error too. `Unreadable` when no handler takes the name or reads the version or the
    /// payload: the message waits for a build that does.
    ///
    /// # Cancellation
    /// Dropping the future before the commit has begun undoes everything. After that the commit
    /// continues on its own, and the inbox absorbs the redelivery.
    async fn handle(&self, incoming: Incoming<'_>) -> Result<CommitOutcome>;
}

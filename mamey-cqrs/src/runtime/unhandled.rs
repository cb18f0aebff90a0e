//! What becomes of messages that this build has no handler for: dropped, or kept for another build.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mamey_core::inbound::Incoming;
use mamey_core::message::ContextName;
use mamey_core::store::{CommitOutcome, Outcome, Receipt, Store, Subscription, UnitOfWork};
use mamey_core::{Backoff, Error, Result, RetryPolicy};

use super::message_counts::MessageCounts;

/// What a context does with messages that none of its builds handles and that it does not declare as
/// ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unhandled {
    /// Keeps them: they wait for a build with a handler as long as the retry policy says, and are then
    /// dead letters.
    #[default]
    Keep,
    /// Drops and counts them.
    Drop,
}

/// The pauses of a message that is not dropped yet because another build handles it. It has no last
/// one: the message is handled there, or dropped here when that build is gone.
const WANTED_ELSEWHERE: RetryPolicy =
    RetryPolicy::new(0, u32::MAX, Backoff::new(Duration::from_secs(1), Duration::from_secs(10)));

/// The messages of one context that this build has no handler for.
pub(crate) struct UnhandledMessages {
    context: ContextName,
    ignores: BTreeSet<&'static str>,
    others: Unhandled,
    dropped: Mutex<MessageCounts>,
    kept: Mutex<MessageCounts>,
}

impl UnhandledMessages {
    pub(crate) fn new(
        context: ContextName,
        ignores: BTreeSet<&'static str>,
        others: Unhandled,
    ) -> Self {
        Self { context, ignores, others, dropped: Mutex::default(), kept: Mutex::default() }
    }

    /// How many were dropped.
    pub(crate) fn dropped(&self) -> MessageCounts {
        lock(&self.dropped).clone()
    }

    /// How many were kept for another build.
    pub(crate) fn kept(&self) -> MessageCounts {
        lock(&self.kept).clone()
    }

    /// The policy of a message without a handler, if it is not the context's.
    pub(crate) fn retry_policy(&self, name: &str) -> Option<RetryPolicy> {
        self.drops(name).then_some(WANTED_ELSEWHERE)
    }

    /// Drops a message, or refuses it for another build.
    ///
    /// # Errors
    /// `Unreadable` when it is to be kept; the store's.
    pub(crate) async fn receive(
        &self,
        incoming: Incoming<'_>,
        store: &dyn Store,
    ) -> Result<CommitOutcome> {
        let name = &*incoming.envelope.metadata.name;
        let context = &self.context;
        if !self.drops(name) {
            self.count_kept(name, incoming.unread);
            return Err(Error::unreadable(format!(
                "context `{context}` has no handler for message `{name:.255}`: add `.on(…)`"
            )));
        }
        let declared = store.subscriptions(&[name]).await.map_err(Error::of_store)?;
        if declared.iter().any(Subscription::is_wanted) {
            return Err(Error::unreadable(format!(
                "context `{context}` does not want message `{name:.255}` in this build, and another \
                 build of it does: the message waits for that one"
            )));
        }
        self.drop_message(incoming, store).await
    }

    /// Takes a message as handled, without a handler.
    async fn drop_message(
        &self,
        incoming: Incoming<'_>,
        store: &dyn Store,
    ) -> Result<CommitOutcome> {
        let Incoming { envelope, identity, custody, .. } = incoming;
        let locked = custody.lock().await;
        let receipt = Receipt::of(identity, envelope.clone(), locked.origin(), Outcome::Handled);
        let unit = UnitOfWork::default().with_receipt(receipt);
        let outcome = store.commit(unit).await.map_err(Error::of_store)?;
        if matches!(outcome, CommitOutcome::Committed(_)) {
            self.count_dropped(&envelope.metadata.name);
        }
        Ok(outcome)
    }

    fn drops(&self, name: &str) -> bool {
        self.others == Unhandled::Drop || self.ignores.contains(name)
    }

    fn count_dropped(&self, message: &str) {
        if lock(&self.dropped).count(message) {
            tracing::warn!(
                context = %self.context,
                message,
                "a message arrived that the context does not want; it and all others are dropped"
            );
        }
    }

    /// Counts a message once, however many builds have tried it before, and says once for each name
    /// that nobody handles it: a binding of an earlier build stays, so there may be many more.
    fn count_kept(&self, message: &str, unread: u32) {
        if unread == 0 && lock(&self.kept).count(message) {
            tracing::error!(
                context = %self.context,
                message,
                "messages arrive that this build does not handle: add `.on(…)`, or `.ignores::<…>()` \
                 or `.forgets(…)` if no build wants them any more"
            );
        }
    }
}

fn lock(counts: &Mutex<MessageCounts>) -> MutexGuard<'_, MessageCounts> {
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

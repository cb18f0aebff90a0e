//! The port to subscriptions: which messages the builds of a context handle, and which they ignore.

use std::time::Duration;

use async_trait::async_trait;

use crate::Result;
use crate::message::{ContextName, Envelope};

/// How often an instance repeats its declaration.
pub const DECLARED_EVERY: Duration = Duration::from_secs(10);

/// How long an instance counts as running after its last declaration.
pub const DECLARED_FOR: Duration = Duration::from_secs(30);

/// How long messages wait for a build that handles them after its last declaration, where that build
/// is newer than one that ignores them: as long as the retry policy keeps what no build handles. It is
/// also the pause after which a declaration counts as a new decision.
pub const AWAITED_FOR: Duration = Duration::from_hours(1);

/// How long a context is sent messages, over a transport that does not reach it, after no instance has
/// hosted it: it is parked in the database until one does. A week.
pub const REMEMBERED_FOR: Duration = Duration::from_hours(7 * 24);

/// What a build declares of the messages of its context.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Declaration {
    /// Names of the messages that it handles.
    pub handles: Vec<&'static str>,
    /// Names of the messages that it knows and does not want.
    pub ignores: Vec<&'static str>,
    /// Whether it is reached by what its own process publishes only.
    pub in_process: bool,
}

impl Declaration {
    /// A build that handles and ignores messages of these names, over a transport that reaches it from
    /// other processes.
    #[must_use]
    pub const fn new(handles: Vec<&'static str>, ignores: Vec<&'static str>) -> Self {
        Self { handles, ignores, in_process: false }
    }

    /// Whether it is reached by what its own process publishes only.
    #[must_use]
    pub const fn with_in_process(mut self, in_process: bool) -> Self {
        self.in_process = in_process;
        self
    }
}

/// A time during which builds have declared the same of a message, without a pause of
/// [`AWAITED_FOR`]; by the store's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Declared {
    /// How long ago the first one declared it.
    pub since: Duration,
    /// How long ago the last one did.
    pub last: Duration,
}

impl Declared {
    /// First declared `since` ago, and last declared `last` ago.
    #[must_use]
    pub const fn new(since: Duration, last: Duration) -> Self {
        Self { since, last }
    }
}

/// What the builds of a context have declared of messages of one name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Subscription {
    /// The name.
    pub name: String,
    /// That they handle it.
    pub handled: Option<Declared>,
    /// That they ignore it.
    pub ignored: Option<Declared>,
}

impl Subscription {
    /// Messages of this name, of which nothing was declared.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), handled: None, ignored: None }
    }

    /// Since when, and until when, builds have handled it.
    #[must_use]
    pub fn with_handled(mut self, handled: impl Into<Option<Declared>>) -> Self {
        self.handled = handled.into();
        self
    }

    /// Since when, and until when, builds have ignored it.
    #[must_use]
    pub fn with_ignored(mut self, ignored: impl Into<Option<Declared>>) -> Self {
        self.ignored = ignored.into();
        self
    }

    /// Whether a build handles these messages, so that another one may not drop them.
    ///
    /// The decision that was made last counts. Where builds began to ignore the messages after others
    /// had begun to handle them, they are wanted as long as an instance of those others runs
    /// ([`DECLARED_FOR`]). Where it was the other way round, an instance that ignores them is of a build
    /// from before, and they are wanted until [`AWAITED_FOR`] after the last instance that handles them.
    ///
    /// ```
    /// use std::time::Duration;
    /// use mamey::store::{Declared, Subscription};
    ///
    /// let ago = |since, last| Declared::new(Duration::from_secs(since), Duration::from_secs(last));
    /// let removed = |last| {
    ///     Subscription::new("payments.taken").with_handled(ago(900, last)).with_ignored(ago(60, 0))
    /// };
    /// assert!(removed(5).is_wanted(), "the build with the handler still runs");
    /// assert!(!removed(50).is_wanted(), "it is gone");
    /// let added =
    ///     Subscription::new("payments.taken").with_handled(ago(60, 50)).with_ignored(ago(900, 0));
    /// assert!(added.is_wanted(), "the build with the handler is restarted");
    /// ```
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.is_wanted_for(AWAITED_FOR)
    }

    /// As [`Subscription::is_wanted`], for a context that no build here hosts: it may be one that was
    /// added and rolled back, and it is sent messages for [`REMEMBERED_FOR`].
    #[must_use]
    pub fn is_remembered(&self) -> bool {
        self.is_wanted_for(REMEMBERED_FOR)
    }

    fn is_wanted_for(&self, longest: Duration) -> bool {
        let Some(handled) = self.handled else { return false };
        let ignored_later = self.ignored.is_some_and(|ignored| ignored.since < handled.since);
        handled.last < if ignored_later { DECLARED_FOR } else { longest }
    }
}

/// A context of a database, and what its builds have declared of messages of one name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Subscriber {
    /// The context.
    pub context: ContextName,
    /// What was declared.
    pub subscription: Subscription,
}

impl Subscriber {
    /// What the builds of `context` have declared.
    #[must_use]
    pub const fn new(context: ContextName, subscription: Subscription) -> Self {
        Self { context, subscription }
    }
}

/// Remembers what the builds of a context declare of messages, so that none drops what another
/// handles, and brings messages to contexts that only other processes host.
#[async_trait]
pub trait SubscriptionStore: Send + Sync {
    /// Records that an instance runs whose build declares this, at this moment by the store's clock.
    /// Repeat it every [`DECLARED_EVERY`].
    ///
    /// A build declares what it handles before it subscribes: whoever drops a message asks first.
    ///
    /// # Errors
    /// `Unavailable` and other errors of the store.
    async fn declare_subscriptions(&self, declaration: &Declaration) -> Result<()>;

    /// What was declared of messages of these names; nothing for a name that no build has declared.
    /// It includes every declaration that was complete before the call.
    ///
    /// # Errors
    /// `Unavailable` and other errors of the store.
    async fn subscriptions(&self, names: &[&str]) -> Result<Vec<Subscription>>;

    /// What was declared of messages that are handled over an in-process transport, by all contexts of
    /// this database that the caller may read. It includes every declaration that was complete before the
    /// call.
    ///
    /// # Errors
    /// `Unavailable` and other errors of the store.
    async fn subscribers(&self) -> Result<Vec<Subscriber>>;

    /// Parks a message of this context for another one of the database, at the end of its lane and due
    /// at once, and marks it as received there. Nothing happens when that context has received it before.
    ///
    /// # Errors
    /// `NotFound` when the database has no such context; `Unavailable` and other errors of the store.
    async fn park_for(&self, to: &ContextName, envelope: &Envelope) -> Result<()>;
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn subscription(
        handled: Option<(Duration, Duration)>,
        ignored: Option<(Duration, Duration)>,
    ) -> Subscription {
        let declared = |(since, last)| Declared::new(since, last);
        Subscription::new("payments.taken")
            .with_handled(handled.map(declared))
            .with_ignored(ignored.map(declared))
    }

    #[test]
    fn what_nobody_handles_is_not_wanted() {
        assert!(!subscription(None, None).is_wanted());
        assert!(!subscription(None, Some((SECOND, SECOND))).is_wanted());
    }

    #[test]
    fn the_later_decision_says_how_long_a_silent_handler_is_waited_for() {
        let (old, new) = (AWAITED_FOR * 20, AWAITED_FOR * 10);
        for (handled, ignored, wanted_for) in [
            (old, Some((new, SECOND)), DECLARED_FOR),
            (new, Some((old, SECOND)), AWAITED_FOR),
            (new, Some((new, SECOND)), AWAITED_FOR),
            (new, None, AWAITED_FOR),
        ] {
            let after = |last| subscription(Some((handled, last)), ignored).is_wanted();
            assert!(after(wanted_for - SECOND), "{handled:?} {ignored:?}");
            assert!(!after(wanted_for), "{handled:?} {ignored:?}");
        }
    }

    #[test]
    fn a_context_that_is_hosted_nowhere_is_remembered_for_longer() {
        let (old, new) = (REMEMBERED_FOR * 3, REMEMBERED_FOR * 2);
        let after = |last| subscription(Some((old, last)), None).is_remembered();
        assert!(after(REMEMBERED_FOR - SECOND) && !after(REMEMBERED_FOR));
        let after = |last| subscription(Some((old, last)), Some((new, SECOND))).is_remembered();
        assert!(after(DECLARED_FOR - SECOND) && !after(DECLARED_FOR), "it is not wanted");
    }
}

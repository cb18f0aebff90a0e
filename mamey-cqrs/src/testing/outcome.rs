//! The outcome of a command, a query or a message, and what a test may expect of it.

use std::fmt;
use std::panic::Location;

use mamey_core::context::Cause;
use mamey_core::criteria::IndexValue;
use mamey_core::message::{ContextName, Envelope, Target};
use mamey_core::{Aggregate, Error, ErrorKind, ReadContext, Result};

use super::expected::{Comparable, ExpectedMessage, Listed};
use super::world::{World, or_panic};

/// The outcome of a call. Each expectation panics when it does not hold, and otherwise returns the
/// outcome for the next one.
///
/// ```
/// use mamey::testing::scenario;
/// use mamey::{BoundedContext, Command, Context, ErrorKind, Event, Rejection, Result};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Clone, Command)]
/// #[command(reply = u32)]
/// struct Ring { times: u32 }
///
/// #[derive(Event, Serialize, Deserialize)]
/// #[event(name = "bell.rung", key = times)]
/// struct Rung { times: u32 }
///
/// #[derive(Debug, thiserror::Error, Rejection)]
/// #[error("ring at least once")]
/// #[rejection(code = "bell.silent")]
/// struct Silent;
///
/// async fn ring(command: Ring, cx: &Context) -> Result<u32> {
///     if command.times == 0 {
///         return Err(Silent.into());
///     }
///     cx.publish(&Rung { times: command.times })?;
///     Ok(command.times)
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let bell = BoundedContext::new("bell").command(ring).publishes::<Rung>();
/// let mut scenario = scenario(bell).await;
/// let outcome = scenario.when(Ring { times: 3 }).await;
/// outcome.then_reply(3).then_publishes(&[&Rung { times: 3 }]);
/// let outcome = scenario.when(Ring { times: 0 }).await;
/// outcome.then_rejected("bell.silent").then_fails(ErrorKind::Rejected);
/// # }
/// ```
#[must_use = "an outcome proves nothing until something is expected of it"]
pub struct Outcome<R> {
    when: String,
    result: Result<R>,
    sent: Vec<Envelope>,
    world: World,
}

impl<R> Outcome<R> {
    pub(super) fn new(when: String, result: Result<R>, sent: Vec<Envelope>, world: World) -> Self {
        Self { when, result, sent, world }
    }

    /// It succeeded.
    #[track_caller]
    pub fn then_succeeds(&self) -> &Self {
        self.reply("to succeed");
        self
    }

    /// It succeeded, and the reply passes the assertions of `check`.
    #[track_caller]
    pub fn then_replies(&self, check: impl FnOnce(&R)) -> &Self {
        check(self.reply("a reply"));
        self
    }

    /// It succeeded with this reply.
    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "an expected value is written in place")]
    pub fn then_reply(&self, expected: R) -> &Self
    where
        R: PartialEq + fmt::Debug,
    {
        let reply = self.reply(&format!("the reply {expected:?}"));
        if *reply != expected {
            self.differs(&format_args!("the reply {expected:?}"), &format_args!("{reply:?}"));
        }
        self
    }

    /// It sent these messages to every subscriber, in this order, and no others.
    #[track_caller]
    pub fn then_publishes(&self, expected: &[&dyn ExpectedMessage]) -> &Self {
        self.compare_sent(&Target::Any, expected)
    }

    /// It sent these messages to the context `target`, in this order, and no others to it.
    #[track_caller]
    pub fn then_sends(&self, target: &str, expected: &[&dyn ExpectedMessage]) -> &Self {
        let target = Target::Service(or_panic(ContextName::new(target)));
        self.compare_sent(&target, expected)
    }

    /// It sent no message.
    #[track_caller]
    pub fn then_publishes_nothing(&self) -> &Self {
        let sent = self.sent(|_| true);
        if !sent.is_empty() {
            self.differs(&"no message", &Listed(&sent));
        }
        self
    }

    /// It was rejected with this code, and sent nothing.
    #[track_caller]
    pub fn then_rejected(&self, code: &str) -> &Self {
        let rejected = self
            .error()
            .is_some_and(|error| error.kind() == ErrorKind::Rejected && error.code() == Some(code));
        if !rejected {
            self.differs(&format_args!("the rejection `{code}`"), &self.summary());
        }
        self.then_publishes_nothing()
    }

    /// It failed with an error of this kind, and sent nothing.
    #[track_caller]
    pub fn then_fails(&self, kind: ErrorKind) -> &Self {
        if self.error().map(Error::kind) != Some(kind) {
            self.differs(&format_args!("an error of kind {kind}"), &self.summary());
        }
        self.then_publishes_nothing()
    }

    /// The aggregate with this id is stored, and passes the assertions of `check`.
    ///
    /// ```
    /// use mamey::testing::scenario;
    /// use mamey::{Aggregate, BoundedContext, Command, Context, Result};
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Clone, Command)]
    /// struct Open { id: String }
    ///
    /// #[derive(Clone, Command)]
    /// struct Close { id: String }
    ///
    /// #[derive(Aggregate, Serialize, Deserialize)]
    /// #[aggregate(collection = "accounts")]
    /// struct Account { #[aggregate(id)] id: String, cents: i64 }
    ///
    /// async fn open(command: Open, cx: &Context) -> Result<()> {
    ///     cx.repository().add(&Account { id: command.id, cents: 0 })
    /// }
    ///
    /// async fn close(command: Close, cx: &Context) -> Result<()> {
    ///     let accounts = cx.repository::<Account>();
    ///     let account = accounts.load(&command.id).await?;
    ///     accounts.remove(&account)
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let bank = BoundedContext::new("bank").aggregate::<Account>().command(open).command(close);
    /// let (mut scenario, id) = (scenario(bank).await, "a1".to_owned());
    /// let opened = scenario.when(Open { id: id.clone() }).await;
    /// opened.then_stored::<Account>(&id, |account| assert_eq!(account.cents, 0)).await;
    /// let closed = scenario.when(Close { id: id.clone() }).await;
    /// closed.then_absent::<Account>(&id).await;
    /// # }
    /// ```
    #[track_caller]
    pub fn then_stored<A: Aggregate>(
        &self,
        id: &A::Id,
        check: impl FnOnce(&A),
    ) -> impl Future<Output = &Self> {
        let at = Location::caller();
        async move {
            match self.stored::<A>(id).await {
                Some(aggregate) => check(&aggregate),
                None => self.differs_at(
                    at,
                    &format_args!("{}/{} to be stored", A::COLLECTION.name, id.to_value()),
                    &"it is absent",
                ),
            }
            self
        }
    }

    /// No aggregate with this id is stored.
    #[track_caller]
    pub fn then_absent<A: Aggregate>(&self, id: &A::Id) -> impl Future<Output = &Self> {
        let at = Location::caller();
        async move {
            if self.stored::<A>(id).await.is_some() {
                self.differs_at(
                    at,
                    &format_args!("{}/{} to be absent", A::COLLECTION.name, id.to_value()),
                    &"it is stored",
                );
            }
            self
        }
    }

    /// The error, if it failed.
    #[must_use]
    pub fn error(&self) -> Option<&Error> {
        self.result.as_ref().err()
    }

    /// The reply or the error.
    ///
    /// # Errors
    /// The error of the call.
    pub fn into_result(self) -> Result<R> {
        self.result
    }

    async fn stored<A: Aggregate>(&self, id: &A::Id) -> Option<A> {
        let context = ReadContext::new(self.world.scope(), Cause::default());
        let found = context.repository::<A>().get(id).await;
        or_panic(found).map(mamey_core::Versioned::into_inner)
    }

    #[track_caller]
    fn reply(&self, expected: &str) -> &R {
        match &self.result {
            Ok(reply) => reply,
            Err(_) => self.differs(&expected, &self.summary()),
        }
    }

    #[track_caller]
    fn compare_sent(&self, target: &Target, expected: &[&dyn ExpectedMessage]) -> &Self {
        let expected = expected.iter();
        let expected: Result<Vec<Comparable>> =
            expected.map(|message| Comparable::expected(target, *message)).collect();
        let expected = or_panic(expected);
        let sent = self.sent(|envelope| envelope.metadata.target == *target);
        if sent != expected {
            self.differs(&Listed(&expected), &Listed(&sent));
        }
        self
    }

    #[track_caller]
    fn sent(&self, which: impl Fn(&Envelope) -> bool) -> Vec<Comparable> {
        let sent = self.sent.iter().filter(|envelope| which(envelope));
        or_panic(sent.map(Comparable::sent).collect())
    }

    fn summary(&self) -> String {
        match &self.result {
            Ok(_) => "it succeeded".to_owned(),
            Err(error) => format!("it failed: {error:?}"),
        }
    }

    #[track_caller]
    fn differs(&self, expected: &dyn fmt::Display, actual: &dyn fmt::Display) -> ! {
        self.differs_at(Location::caller(), expected, actual)
    }

    fn differs_at(
        &self,
        at: &Location<'_>,
        expected: &dyn fmt::Display,
        actual: &dyn fmt::Display,
    ) -> ! {
        let (when, summary, actual) = (&self.when, self.summary(), actual.to_string());
        let outcome = match actual == summary {
            true => String::new(),
            false => format!("\n  outcome:  {summary}"),
        };
        panic!("{at}: {when}\n  expected: {expected}\n  actual:   {actual}{outcome}")
    }
}

impl<R> fmt::Debug for Outcome<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outcome")
            .field("when", &self.when)
            .field("summary", &self.summary())
            .finish_non_exhaustive()
    }
}
